#include "web/rows.h"

#include <assert.h>
#include <stdlib.h>

#include "web/handlers.h"
#include "web/reader.h"
#include "web/summary.h"

struct rows {
    struct http_req *r;
    uint32_t tag;
    const struct rows_kind *kind;
    struct buf json;
    uint64_t count;
};

static void rows_free(struct rows *k) {
    reader_cancel(k->tag);
    buf_free(&k->json);
    free(k);
}

static void rows_gone(void *arg) {
    rows_free(arg);
}

static void rows_whole(struct rows *k, uint64_t done_count) {
    struct http_req *r = k->r;
    bool single = k->kind && !k->kind->name;
    if (k->kind && k->kind->name)
        buf_printf(&k->json, "],\"Count\":%llu}", (unsigned long long)k->count);
    else if (!k->kind)
        buf_printf(&k->json, "{\"Count\":%llu}", (unsigned long long)done_count);
    if (single && k->count == 0)
        http_error(r, 404, k->kind->missing);
    else if (k->json.full)
        answer_error(r, ERR_LIMIT, S("The answer is too large: ask for less, with limit."));
    else
        http_reply(r, 200, JSON_TYPE, buf_str(&k->json));
}

/* What an operator asked for can be wrong in more ways than what a reader looks at. */
static void refuse(struct http_req *r, enum err e, str text) {
    static const unsigned statuses[ERR_COUNT] = {
        [ERR_EXISTS] = 409, [ERR_DENIED] = 403, [ERR_SYNTAX] = 400, [ERR_LIMIT] = 400};
    if (e < ERR_COUNT && statuses[e])
        http_reply(r, statuses[e], TEXT_TYPE, text);
    else
        answer_error(r, e, text);
}

static void on_row(void *arg, const struct frame *f) {
    struct rows *k = arg;
    if (k->kind && f->type == k->kind->row) {
        if (k->count++)
            buf_char(&k->json, ',');
        k->kind->put(&k->json, f);
        return;
    }
    if (f->type != FRAME_DONE && f->type != FRAME_FAILED)
        return;
    k->tag = 0;
    k->r->on_gone = NULL;
    if (f->type == FRAME_FAILED && f->failed.err == ERR_NOT_FOUND && k->kind && k->kind->missing)
        http_error(k->r, 404, k->kind->missing);
    else if (f->type == FRAME_FAILED)
        refuse(k->r, (enum err)f->failed.err, f->failed.text);
    else
        rows_whole(k, f->done.count);
    rows_free(k);
}

void rows_reply(struct http_req *r, struct frame *f, const struct rows_kind *kind) {
    struct rows *k = calloc(1, sizeof *k);
    assert(k);
    k->r = r;
    k->kind = kind;
    k->json = BUF(ROWS_JSON_MAX);
    if (kind && kind->name)
        buf_printf(&k->json, "{\"%s\":[", kind->name);
    r->arg = k;
    r->on_gone = rows_gone;
    k->tag = reader_ask(f, on_row, k);
}

void rows_done(struct http_req *r, struct frame *f) {
    rows_reply(r, f, NULL);
}

void json_name(struct buf *out, const char *name) {
    char last = out->n ? out->p[out->n - 1] : '{';
    buf_printf(out, "%s\"%s\":", last == '{' || last == '[' ? "" : ",", name);
}

void json_text(struct buf *out, const char *name, str value) {
    json_name(out, name);
    json_str(out, value);
}

void json_number(struct buf *out, const char *name, uint64_t value) {
    json_name(out, name);
    buf_printf(out, "%llu", (unsigned long long)value);
}

void json_moment(struct buf *out, const char *name, uint64_t ms) {
    json_name(out, name);
    if (ms)
        json_time_ms(out, ms);
    else
        buf_add(out, S("null"));
}

void json_bool(struct buf *out, const char *name, bool value) {
    json_name(out, name);
    buf_add(out, value ? S("true") : S("false"));
}
