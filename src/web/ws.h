/* ws.h - the websocket of /api/events (RFC 6455, framed by wslay): what is broadcast goes to every client; what clients
 * say is read and forgotten.  A client that lets too much queue up is cut. */
#ifndef WEB_WS_H
#define WEB_WS_H

#include "web/http.h"

enum { WS_QUEUED_MAX = 256, WS_PING_MS = 54 * 1000, WS_READ_MS = 120 * 1000 };

void ws_start_all(struct event_base *base, void (*on_count)(size_t clients));
void ws_stop_all(void);

/* Answers the request: 101, and it is a websocket; or an error. */
void ws_accept(struct http_req *r);
void ws_broadcast(str text);
size_t ws_count(void);

#endif
