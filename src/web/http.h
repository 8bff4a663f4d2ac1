/* http.h - an HTTP/1.1 server on libevent's buffered sockets, behind the strict reading of http_head.h.
 * One request of a connection is in hand at a time; what a client sends ahead waits in its socket.  A handler gets a
 * struct http_req and answers it now or later, whole (http_reply) or in pieces (http_begin, http_write, http_end).
 * The request belongs to the connection: it is over with http_reply, http_end or http_abort, or when on_gone is called.
 * After any of these the handler forgets it. */
#ifndef WEB_HTTP_H
#define WEB_HTTP_H

#include "base/list.h"
#include "web/http_head.h"

struct event_base;
struct bufferevent;
struct http_server;
struct http_conn;

enum {
    HTTP_BODY_MAX = 5 * 1024 * 1024,
    HTTP_PENDING_MAX = 128 * 1024, /* a stream writes no more while so many bytes wait for the client */
    HTTP_ANSWER_MS = 60 * 1000,    /* a handler that has not begun to answer by then is answered for: 503 */
    HTTP_WRITE_MS = 60 * 1000,     /* a client that takes nothing for so long is cut */
};

struct http_req {
    struct http_conn *conn;
    const struct http_head *head;
    str path; /* decoded */
    str body;
    str id, part; /* what stood in the place of {ID} and {PartID} */
    /* Of the handler that answers later. */
    void (*on_gone)(void *arg);    /* the client went away, or waited too long: drop everything about it */
    void (*on_drained)(void *arg); /* http_pending has come below HTTP_PENDING_MAX */
    void *arg;
};

struct http_settings {
    unsigned connections_max;
    unsigned header_ms, idle_ms;
    const str *hosts; /* names a Host header may have beside localhost and addresses; the caller's, for as long as the
                         server */
    size_t host_count;
    size_t local_body_max; /* of a request by a unix socket from root or our own user; others: HTTP_BODY_MAX */
};

struct http_server *http_server_new(struct event_base *base, void (*on_request)(struct http_req *r));
void http_server_set(struct http_server *s, const struct http_settings *settings);
/* Takes fd, in place of an older one of that name; accepts after the next http_server_set.  local: a unix socket, where
 * no browser comes: no Host check. */
bool http_server_listen(struct http_server *s, str name, int fd, bool local);
void http_server_keep(struct http_server *s, bool (*keep)(void *arg, str name),
                      void *arg); /* closes the other listeners */
/* Idle connections and websockets end now, the others after their answer; on_empty comes when the last one has ended.
 */
void http_server_drain(struct http_server *s, void (*on_empty)(void));
size_t http_server_connections(const struct http_server *s);
void http_server_free(struct http_server *s);

/* Over which listener it came; by a unix socket: from which user.  False: it came by another one. */
str http_listener(const struct http_req *r);
bool http_peer_user(const struct http_req *r, uint32_t *uid);

/* A header of the answer, before it begins.  Values must be free of controls. */
void http_header(struct http_req *r, const char *name, str value);

void http_reply(struct http_req *r, unsigned status, const char *type, str body);
/* An error as text/plain. */
void http_error(struct http_req *r, unsigned status, const char *sentence);

enum { HTTP_LENGTH_UNKNOWN = -1 };
void http_begin(struct http_req *r, unsigned status, const char *type, int64_t length);
void http_write(struct http_req *r, str bytes);
void http_end(struct http_req *r);
void http_abort(struct http_req *r); /* cuts the connection: the answer cannot be completed */
size_t http_pending(const struct http_req *r);
bool http_begun(const struct http_req *r);

/* The connection leaves HTTP after these bytes: its socket is the caller's to use, with callbacks of his own,
 * until http_conn_end.  http_server_free ends it by on_end. */
struct bufferevent *http_take_over(struct http_req *r, str answer, void (*on_end)(void *arg), void *arg);
void http_conn_end(struct http_conn *c);

const char *http_status_words(unsigned status);

#endif
