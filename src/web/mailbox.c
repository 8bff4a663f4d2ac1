/* mailbox.c - the folders of accounts over HTTP: what there is, what is in them, appending; and live transcripts. */
#include <assert.h>
#include <stdlib.h>

#include "web/access.h"
#include "web/handlers.h"
#include "web/inject.h"
#include "web/rows.h"

/* ---- folders ---- */

static void put_mailbox(struct buf *out, const struct frame *f) {
    const struct frame_mailbox *m = &f->mailbox;
    buf_char(out, '{');
    json_text(out, "Name", m->name);
    json_text(out, "Role", m->role);
    json_number(out, "UIDValidity", m->uidvalidity);
    json_number(out, "UIDNext", m->uidnext);
    json_number(out, "Messages", m->messages);
    json_number(out, "Unseen", m->unseen);
    json_number(out, "Bytes", m->bytes);
    buf_char(out, '}');
}

static void put_row(struct buf *out, const struct frame *f) {
    const struct frame_mailbox_row *m = &f->mailbox_row;
    buf_char(out, '{');
    json_number(out, "UID", m->uid);
    json_text(out, "ID", m->id);
    json_number(out, "Flags", m->flags);
    json_number(out, "Size", m->size);
    json_moment(out, "Received", m->received_ms);
    buf_char(out, '}');
}

void mailbox_list(struct http_req *r) {
    static const struct rows_kind rows = {
        .name = "Mailboxes", .row = FRAME_MAILBOX, .put = put_mailbox, .missing = "There is no such account."};
    struct frame f = {.type = FRAME_MAILBOX_LIST, .mailbox_list = {0, r->id}};
    rows_reply(r, &f, &rows);
}

void mailbox_rows(struct http_req *r) {
    static const struct rows_kind rows = {
        .name = "Messages", .row = FRAME_MAILBOX_ROW, .put = put_row, .missing = "There is no such folder."};
    struct frame f = {.type = FRAME_MAILBOX_ROWS};
    f.mailbox_rows = (struct frame_mailbox_rows){0, r->id, r->part, (uint32_t)query_number(r, S("after"), 0),
                                                 (uint32_t)query_number(r, S("limit"), 1000)};
    rows_reply(r, &f, &rows);
}

/* ---- appending ---- */

struct appending {
    struct http_req *r; /* NULL: the client has gone */
};

static void appending_gone(void *arg) {
    ((struct appending *)arg)->r = NULL;
}

static void on_appended(void *arg, enum err e, str id, str text) {
    struct appending *a = arg;
    struct buf out = BUF(1024);
    if (a->r)
        a->r->on_gone = NULL;
    buf_char(&out, '{');
    json_text(&out, "ID", id);
    buf_char(&out, '}');
    if (a->r && e)
        answer_error(a->r, e, text);
    else if (a->r)
        http_reply(a->r, 200, JSON_TYPE, buf_str(&out));
    buf_free(&out);
    free(a);
}

void mailbox_append(struct http_req *r) {
    struct buf mailbox = BUF(2048);
    buf_printf(&mailbox, "%.*s/%.*s", STR_ARG(r->id), STR_ARG(r->part));
    if (r->body.n == 0) {
        http_error(r, 400, "The body must be the message.");
    } else {
        struct appending *a = calloc(1, sizeof *a);
        assert(a);
        a->r = r;
        r->arg = a;
        r->on_gone = appending_gone;
        struct inject_mail m = {.mailbox = buf_str(&mailbox), .client = S("api"), .bytes = r->body};
        inject(&m, on_appended, a);
    }
    buf_free(&mailbox);
}

/* ---- transcripts as they happen ---- */

struct following {
    struct http_req *r;
    struct inject_trace *trace;
};

static void following_gone(void *arg) {
    struct following *w = arg;
    inject_trace_end(w->trace);
    free(w);
}

/* A reader who is too slow misses lines: the sessions are not held up for him. */
static void on_line(void *arg, str session, str text) {
    struct following *w = arg;
    struct buf line = BUF(128 * 1024);
    if (http_pending(w->r) > HTTP_PENDING_MAX)
        return;
    buf_printf(&line, "%.*s ", STR_ARG(session));
    buf_add(&line, text);
    buf_char(&line, '\n');
    http_write(w->r, buf_str(&line));
    buf_free(&line);
}

void trace_follow(struct http_req *r) {
    struct buf filter = BUF(256);
    struct following *w = calloc(1, sizeof *w);
    assert(w);
    (void)http_query(r->head->query, S("filter"), &filter);
    w->r = r;
    http_begin(r, 200, TEXT_TYPE, HTTP_LENGTH_UNKNOWN);
    r->arg = w;
    r->on_gone = following_gone;
    w->trace = inject_trace(buf_str(&filter), on_line, w);
    buf_free(&filter);
}
