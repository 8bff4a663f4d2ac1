/* backup.c - holds of the store over HTTP, for penfold backup (store/store_backup.c says what they are). */
#include <jansson.h>

#include "web/handlers.h"
#include "web/rows.h"

enum { SECONDS = 60, SECONDS_MAX = 3600 };

static void put_held(struct buf *out, const struct frame *f) {
    buf_char(out, '{');
    json_number(out, "Hold", f->backup_held.hold);
    json_text(out, "Data", f->backup_held.data);
    json_number(out, "SegmentSize", f->backup_held.segment_size);
    buf_char(out, '}');
}

/* An epoch has 64 bits, a number of JSON 53: it is told as the name of its file. */
static void put_segment(struct buf *out, const struct frame *f) {
    char name[32];
    snprintf(name, sizeof name, "%016llx.log", (unsigned long long)f->backup_segment.epoch);
    buf_char(out, '{');
    json_text(out, "Name", str_of(name));
    json_number(out, "Bytes", f->backup_segment.bytes);
    buf_char(out, '}');
}

/* No body: the usual time. */
static bool take_seconds(str body, uint32_t *seconds) {
    json_error_t error;
    *seconds = SECONDS;
    if (body.n == 0)
        return true;
    json_t *root = json_loadb(body.p, body.n, 0, &error), *v = json_object_get(root, "Seconds");
    json_int_t n = json_integer_value(v);
    bool good = json_is_object(root) && (!v || (json_is_integer(v) && n >= 1 && n <= SECONDS_MAX));
    if (good && v)
        *seconds = (uint32_t)n;
    json_decref(root);
    return good;
}

void backup_hold(struct http_req *r) {
    static const struct rows_kind one = {
        .row = FRAME_BACKUP_HELD, .put = put_held, .missing = "The store holds nothing."};
    uint32_t seconds;
    if (!take_seconds(r->body, &seconds)) {
        http_error(r, 400, "The body may be a JSON object with Seconds, from 1 to 3600.");
        return;
    }
    struct frame f = {.type = FRAME_BACKUP_HOLD, .backup_hold = {0, seconds}};
    rows_reply(r, &f, &one);
}

static bool take_hold(struct http_req *r, uint64_t *hold) {
    if (str_u64(r->id, hold) && *hold)
        return true;
    http_error(r, 404, "A hold is a number, as it was told.");
    return false;
}

void backup_look(struct http_req *r) {
    static const struct rows_kind rows = {.name = "Segments",
                                          .row = FRAME_BACKUP_SEGMENT,
                                          .put = put_segment,
                                          .missing = "This backup is not held any more."};
    struct frame f = {.type = FRAME_BACKUP_LOOK};
    if (!take_hold(r, &f.backup_look.hold))
        return;
    rows_reply(r, &f, &rows);
}

void backup_end(struct http_req *r) {
    struct frame f = {.type = FRAME_BACKUP_END};
    if (!take_hold(r, &f.backup_end.hold))
        return;
    rows_done(r, &f);
}
