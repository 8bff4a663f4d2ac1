/* rows.h - the shape of most answers of the administrative part: ask the store, put each row of its answer into a JSON
 * array, reply with the whole at the end.  {"Queue":[...],"Count":2} */
#ifndef WEB_ROWS_H
#define WEB_ROWS_H

#include "frame/frame.h"
#include "web/http.h"

enum { ROWS_JSON_MAX = 64 * 1024 * 1024 };

struct rows_kind {
    const char *name;    /* of the array; NULL: a single object, 404 when there is none */
    enum frame_type row; /* the frames that are rows */
    void (*put)(struct buf *out, const struct frame *f); /* one as JSON */
    const char *missing;                                 /* the sentence of the 404 */
};

/* kind lives for ever.  f's tag is filled in. */
void rows_reply(struct http_req *r, struct frame *f, const struct rows_kind *kind);
/* The same for what has no rows: {"Count":n} when it is done. */
void rows_done(struct http_req *r, struct frame *f);

/* ,"Name":value with the comma unless it is the first of its object. */
void json_name(struct buf *out, const char *name);
void json_text(struct buf *out, const char *name, str value);
void json_number(struct buf *out, const char *name, uint64_t value);
void json_moment(struct buf *out, const char *name, uint64_t ms); /* RFC 3339; null for 0 */
void json_bool(struct buf *out, const char *name, bool value);

#endif
