/* mailbox.c - the folders of accounts over HTTP: what there is, what is in them, appending; and live transcripts. */
#include <assert.h>
#include <stdlib.h>

#include "base/date.h"
#include "mime/folder.h"
#include "mime/maildir.h"
#include "policy/directory.h"
#include "web/access.h"
#include "web/handlers.h"
#include "web/inject.h"
#include "web/reader.h"
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
    uint32_t tag;       /* of the question for the account; 0: it is answered */
    uint64_t flags, received_us;
    struct buf mailbox;
};

static void appending_free(struct appending *a) {
    buf_free(&a->mailbox);
    free(a);
}

static void appending_gone(void *arg) {
    struct appending *a = arg;
    a->r = NULL;
    if (!a->tag)
        return; /* on_appended comes */
    reader_cancel(a->tag);
    appending_free(a);
}

/* What is wrong with the message itself is not what keeps the server from taking any. */
static void refuse_append(struct http_req *r, enum err e, str text) {
    if (e == ERR_DENIED || e == ERR_SYNTAX)
        http_reply(r, 422, TEXT_TYPE, text);
    else
        answer_error(r, e, text);
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
        refuse_append(a->r, e, text);
    else if (a->r)
        http_reply(a->r, 200, JSON_TYPE, buf_str(&out));
    buf_free(&out);
    appending_free(a);
}

static void append(struct appending *a) {
    struct inject_mail m = {.mailbox = buf_str(&a->mailbox),
                            .flags = a->flags,
                            .received_us = a->received_us,
                            .client = S("api"),
                            .bytes = a->r->body};
    inject(&m, on_appended, a);
}

/* The account in its own spelling, in front of the folder. */
static void on_account(void *arg, const struct frame *f) {
    struct appending *a = arg;
    if (f->type == FRAME_ENTRY) {
        buf_printf(&a->mailbox, "%.*s/%.*s", STR_ARG(f->entry.key), STR_ARG(a->r->part));
        return;
    }
    a->tag = 0;
    if (f->type == FRAME_DONE && a->mailbox.n) {
        append(a);
        return;
    }
    a->r->on_gone = NULL;
    if (f->type == FRAME_FAILED && f->failed.err != ERR_NOT_FOUND && f->failed.err != ERR_SYNTAX)
        answer_error(a->r, (enum err)f->failed.err, f->failed.text);
    else
        http_error(a->r, 404, "There is no such account.");
    appending_free(a);
}

static bool take_received(const struct http_req *r, uint64_t *us) {
    struct buf text = BUF(64);
    struct date d = {0};
    bool good = !http_query(r->head->query, S("received"), &text) || date_parse_3339(buf_str(&text), &d);
    *us = d.us > 0 ? (uint64_t)d.us : 0;
    buf_free(&text);
    return good;
}

static const char *wrong_append(const struct http_req *r, uint64_t flags, uint64_t *received_us) {
    if (r->body.n == 0)
        return "The body must be the message.";
    if (!folder_name_valid(r->part))
        return "That is no name for a folder.";
    if (flags > MAILDIR_FLAGS)
        return "flags is a sum of 1 seen, 2 answered, 4 flagged, 8 draft, 16 deleted, 32 passed on.";
    if (!take_received(r, received_us))
        return "received is a time as 2026-11-23T07:16:34Z.";
    return NULL;
}

void mailbox_append(struct http_req *r) {
    uint64_t received_us = 0, flags = query_number(r, S("flags"), 0);
    const char *wrong = wrong_append(r, flags, &received_us);
    if (wrong) {
        http_error(r, 400, wrong);
        return;
    }
    struct appending *a = calloc(1, sizeof *a);
    assert(a);
    *a = (struct appending){.r = r, .flags = flags, .received_us = received_us, .mailbox = BUF(2048)};
    r->arg = a;
    r->on_gone = appending_gone;
    struct frame f = {.type = FRAME_ENTRY_GET, .entry_get = {0, DIRECTORY_ACCOUNT, r->id}};
    a->tag = reader_ask(&f, on_account, a);
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
