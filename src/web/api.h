/* api.h - the REST API, the websocket and the page: every request that http.h has read comes to api_request. */
#ifndef WEB_API_H
#define WEB_API_H

#include "conf/conf.h"
#include "web/http.h"

void api_start(struct event_base *base);
void api_configure(const struct conf *c); /* c lives until the next call */
void api_metrics_text(str text);          /* the newest sums of all roles, as Prometheus text */
void api_request(struct http_req *r);
void api_stop(void);

#endif
