/* handlers.h - what the files of the API share: the handlers of routes.def, and how errors are answered. */
#ifndef WEB_HANDLERS_H
#define WEB_HANDLERS_H

#include "frame/frame.h"
#include "web/http.h"

#define ROUTE(method, pattern, handler, right, sentence) void handler(struct http_req *r);
#include "web/routes.def"
#undef ROUTE

#define JSON_TYPE "application/json"
#define TEXT_TYPE "text/plain; charset=utf-8"

bool id_or_latest(str id);

/* 404 for an id that is no message's: texts as clients of this API know them. */
void answer_no_message(struct http_req *r);
/* The world's error as a status with a sentence. */
void answer_error(struct http_req *r, enum err e, str text);

/* A question of the query with a number; `fallback` when it is absent or no number. */
uint64_t query_number(const struct http_req *r, str name, uint64_t fallback);
bool query_is(const struct http_req *r, str name, str value);

#endif
