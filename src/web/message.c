/* message.c - one message: its views, made by the content role and passed on as they come, and its raw bytes. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/code.h"
#include "sys/log.h"
#include "web/handlers.h"
#include "web/reader.h"
#include "web/summary.h"
#include "web/view.h"

enum { TYPE_MAX = 128, FILENAME_MAX = 1024 };

struct kind {
    enum view_kind view;
    const char *type;   /* NULL: the content role says */
    bool join;          /* a JSON object to which the store's fields are added */
    bool mark;          /* looking is reading */
    const char *absent; /* what a 404 says when the message is there */
};

struct answer {
    struct http_req *r;
    struct view *view;
    const struct kind *kind;
    bool latest, found, begun;
    char id[ID_SIZE];
    uint64_t size;
    char type[TYPE_MAX];
    struct buf filename; /* as a header has it: percent-encoded */
};

bool id_or_latest(str id) {
    return id_valid(id) || str_eq(id, S("latest"));
}

void answer_no_message(struct http_req *r) {
    http_error(r, 404,
               str_eq(r->id, S("latest")) || str_starts(r->path, S("/view/")) ? "Message not found"
                                                                              : "404 page not found");
}

void answer_error(struct http_req *r, enum err e, str text) {
    static const unsigned statuses[ERR_COUNT] = {
        [ERR_NOT_FOUND] = 404, [ERR_CLOSED] = 503, [ERR_IO] = 503,     [ERR_FULL] = 503, [ERR_UNSUPPORTED] = 503,
        [ERR_TIMEOUT] = 503,   [ERR_NOMEM] = 503,  [ERR_DENIED] = 503, [ERR_DOWN] = 503,
    };
    unsigned status = e < ERR_COUNT && statuses[e] ? statuses[e] : 500;
    http_reply(r, status, TEXT_TYPE, text.n ? text : str_of(err_name(e < ERR_COUNT ? e : ERR_CORRUPT)));
}

/* ---- headers made from what a mail says ---- */

/* "type/subtype" of RFC 9110 tokens; anything else is just bytes. */
static void keep_type(struct answer *a, str type) {
    size_t slash = str_find(type, '/');
    bool good = slash > 0 && slash < type.n - 1 && type.n < TYPE_MAX;
    for (size_t i = 0; good && i < type.n; i++)
        good = i == slash || char_is_alnum(type.p[i]) || (type.p[i] && strchr("!#$&^_.+-", type.p[i]));
    if (!good)
        type = S("application/octet-stream");
    memcpy(a->type, type.p, type.n);
    a->type[type.n] = '\0';
}

static void percent_encode(str s, struct buf *out) {
    for (size_t i = 0; i < s.n; i++)
        if (char_is_alnum(s.p[i]) || (s.p[i] && strchr("-._~", s.p[i])))
            buf_char(out, s.p[i]);
        else
            buf_printf(out, "%%%02X", (unsigned char)s.p[i]);
}

static void put_disposition(struct http_req *r, const char *what, str filename) {
    struct buf b = BUF(4 * FILENAME_MAX);
    buf_add(&b, str_of(what));
    if (filename.n)
        buf_printf(&b, "; filename=\"%.*s\"", STR_ARG(filename));
    http_header(r, "Content-Disposition", buf_str(&b));
    buf_free(&b);
}

/* A part may be shown inside the sandboxed HTML of its message, which has an origin of its own ("null"), so a part
 * must be embeddable from there.  Its id cannot be guessed by strangers; "latest" can, so that stays at home. */
static void put_part_headers(struct answer *a) {
    if (!a->latest)
        http_header(a->r, "Cross-Origin-Resource-Policy", S("cross-origin"));
    put_disposition(a->r, query_is(a->r, S("dl"), S("1")) ? "attachment" : "inline", buf_str(&a->filename));
}

/* The mail's HTML is a stranger's page: no scripts, no forms, no origin, nothing from outside unless asked for. */
static void put_html_policy(struct http_req *r) {
    bool remote = query_is(r, S("remote"), S("1"));
    struct buf b = BUF(1024);
    buf_add(&b, S("sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; "
                  "font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; img-src "));
    buf_add(&b, remote ? S("* data:") : S("'self' data:"));
    http_header(r, "Content-Security-Policy", buf_str(&b));
    buf_free(&b);
}

/* ---- views ---- */

static void answer_free(struct answer *a) {
    buf_free(&a->filename);
    free(a);
}

static void on_gone(void *arg) {
    struct answer *a = arg;
    if (a->view)
        view_cancel(a->view);
    answer_free(a);
}

static void on_drained(void *arg) {
    struct answer *a = arg;
    if (http_begun(a->r))
        view_resume(a->view);
}

static void on_row(void *arg, const struct frame_row *row) {
    struct answer *a = arg;
    memcpy(a->id, row->id.p, ID_SIZE);
    a->size = row->size;
    a->found = true;
    if (a->kind->view != VIEW_HTML)
        return;
    struct buf prefix = BUF(128);
    buf_printf(&prefix, "../api/v1/message/%.*s/part/", ID_SIZE, a->id);
    view_argument(a->view, buf_str(&prefix));
    buf_free(&prefix);
}

static void on_head(void *arg, const struct frame_view_head *head) {
    struct answer *a = arg;
    if (a->kind->type || a->begun)
        return;
    keep_type(a, head->type);
    buf_reset(&a->filename);
    percent_encode(head->filename, &a->filename);
}

static void begin(struct answer *a) {
    a->begun = true;
    if (a->kind->view == VIEW_PART)
        put_part_headers(a);
    if (a->kind->view == VIEW_HTML)
        put_html_policy(a->r);
    http_begin(a->r, 200, a->kind->type ? a->kind->type : a->type, HTTP_LENGTH_UNKNOWN);
}

/* {"ID":…,"Size":…,"Tags":[], and then the object of the content role without its brace. */
static void write_joined(struct answer *a, str piece) {
    struct buf b = BUF(256);
    buf_add(&b, S("{\"ID\":"));
    json_str(&b, str_n(a->id, ID_SIZE));
    buf_printf(&b, ",\"Tags\":[],\"Size\":%llu,", (unsigned long long)a->size);
    http_write(a->r, buf_str(&b));
    buf_free(&b);
    http_write(a->r, str_tail(piece, 1));
}

static void on_out(void *arg, str bytes) {
    struct answer *a = arg;
    bool first = !a->begun;
    if (bytes.n == 0)
        return;
    if (first)
        begin(a);
    if (first && a->kind->join)
        write_joined(a, bytes);
    else
        http_write(a->r, bytes);
    if (http_pending(a->r) > HTTP_PENDING_MAX)
        view_pause(a->view);
}

static void fail(struct answer *a, enum err e, str text) {
    struct http_req *r = a->r;
    if (e != ERR_NOT_FOUND)
        log_event(EV_VIEW_FAILED, LOG_STR("id", a->found ? str_n(a->id, ID_SIZE) : r->id),
                  LOG_STR("error", str_of(err_name(e))), LOG_STR("why", text), LOG_END);
    if (a->begun)
        http_abort(r); /* a cut connection is the only way left to say that this is not all */
    else if (e == ERR_NOT_FOUND && !a->found)
        answer_no_message(r);
    else if (e == ERR_NOT_FOUND)
        http_error(r, 404, a->kind->absent);
    else
        answer_error(r, e, text);
}

/* In the page's frame (embed=1) links open elsewhere.  A base element works wherever it stands, and the first one that
 * names a target counts, so that at the end nothing of the mail's own is disturbed. */
static void end_embedded(struct answer *a) {
    if (a->kind->view == VIEW_HTML && query_is(a->r, S("embed"), S("1")))
        http_write(a->r, S("<base target=\"_blank\">"));
}

static void on_done(void *arg, enum err e, str text) {
    struct answer *a = arg;
    struct http_req *r = a->r;
    a->view = NULL;
    r->on_gone = r->on_drained = NULL;
    if (e == OK && !a->begun && a->kind->join)
        e = ERR_CORRUPT;
    if (e) {
        fail(a, e, text);
    } else {
        if (!a->begun)
            begin(a);
        end_embedded(a);
        http_end(r);
    }
    answer_free(a);
}

static void start(struct http_req *r, const struct kind *kind) {
    static const struct view_ops ops = {.row = on_row, .head = on_head, .out = on_out, .done = on_done};
    struct answer *a = id_or_latest(r->id) ? calloc(1, sizeof *a) : NULL;
    if (!a) {
        answer_no_message(r);
        return;
    }
    a->r = r;
    a->kind = kind;
    a->latest = str_eq(r->id, S("latest"));
    a->filename = BUF(3 * FILENAME_MAX);
    keep_type(a, STR_NONE);
    r->arg = a;
    r->on_gone = on_gone;
    r->on_drained = on_drained;
    a->view = view_start(kind->view, r->id, r->part, kind->mark && r->head->method == HTTP_GET, &ops, a);
}

void message_json(struct http_req *r) {
    static const struct kind kind = {VIEW_MESSAGE, JSON_TYPE, true, true, "404 page not found"};
    start(r, &kind);
}

void message_headers(struct http_req *r) {
    static const struct kind kind = {VIEW_HEADERS, JSON_TYPE, false, false, "404 page not found"};
    start(r, &kind);
}

void message_structure(struct http_req *r) {
    static const struct kind kind = {VIEW_STRUCTURE, JSON_TYPE, false, false, "404 page not found"};
    start(r, &kind);
}

void message_part(struct http_req *r) {
    static const struct kind kind = {VIEW_PART, NULL, false, false, "404 page not found"};
    start(r, &kind);
}

void message_html(struct http_req *r) {
    static const struct kind kind = {VIEW_HTML, "text/html; charset=utf-8", false, true,
                                     "This message does not contain a HTML part"};
    start(r, &kind);
}

void message_text(struct http_req *r) {
    static const struct kind kind = {VIEW_TEXT, TEXT_TYPE, false, true, "This message does not contain a text part"};
    start(r, &kind);
}

/* ---- raw ---- */

struct raw {
    struct http_req *r;
    char id[ID_SIZE];
    bool found, begun, edited; /* edited: with its recorded edits, as it is delivered */
    uint32_t tag;
    uint64_t offset, size;
};

static void raw_gone(void *arg) {
    struct raw *raw = arg;
    reader_cancel(raw->tag);
    free(raw);
}

static void raw_fail(struct raw *raw, enum err e, str text) {
    raw->r->on_gone = raw->r->on_drained = NULL;
    if (raw->begun)
        http_abort(raw->r);
    else if (e == ERR_NOT_FOUND)
        answer_no_message(raw->r);
    else
        answer_error(raw->r, e, text);
    free(raw);
}

static void raw_begin(struct raw *raw) {
    struct http_req *r = raw->r;
    raw->begun = true;
    if (query_is(r, S("dl"), S("1"))) {
        struct buf name = BUF(64);
        buf_printf(&name, "%.*s.eml", ID_SIZE, raw->id);
        put_disposition(r, "attachment", buf_str(&name));
        buf_free(&name);
    }
    http_begin(r, 200, TEXT_TYPE, (int64_t)raw->size);
}

static void raw_end(struct raw *raw) {
    raw->r->on_gone = raw->r->on_drained = NULL;
    http_end(raw->r);
    free(raw);
}

static void raw_pull(struct raw *raw);

static void on_raw_bytes(void *arg, const struct frame *f) {
    struct raw *raw = arg;
    raw->tag = 0;
    if (f->type == FRAME_FAILED) {
        raw_fail(raw, (enum err)f->failed.err, f->failed.text);
        return;
    }
    if (f->type != FRAME_BYTES || (f->bytes.bytes.n == 0 && raw->offset < f->bytes.size)) {
        raw_fail(raw, ERR_CORRUPT, S("The store gave no bytes of this message."));
        return;
    }
    if (!raw->begun) {
        raw->size = f->bytes.size;
        raw_begin(raw);
    }
    http_write(raw->r, f->bytes.bytes);
    raw->offset += f->bytes.bytes.n;
    if (raw->offset >= raw->size || raw->r->head->method == HTTP_HEAD)
        raw_end(raw);
    else
        raw_pull(raw);
}

/* The next piece, once the client has taken enough of the last ones. */
static void raw_pull(struct raw *raw) {
    if (raw->tag || http_pending(raw->r) > HTTP_PENDING_MAX)
        return;
    struct frame f = {.type = FRAME_READ, .read = {0, str_n(raw->id, ID_SIZE), raw->offset, FRAME_CHUNK}};
    if (raw->edited)
        f = (struct frame){.type = FRAME_READ_EDITED,
                           .read_edited = {0, str_n(raw->id, ID_SIZE), raw->offset, FRAME_CHUNK}};
    raw->tag = reader_ask(&f, on_raw_bytes, raw);
}

static void raw_drained(void *arg) {
    raw_pull(arg);
}

static void on_raw_row(void *arg, const struct frame *f) {
    struct raw *raw = arg;
    if (f->type == FRAME_ROW && f->row.id.n == ID_SIZE) {
        memcpy(raw->id, f->row.id.p, ID_SIZE);
        raw->found = true;
    }
    if (f->type != FRAME_FAILED && f->type != FRAME_DONE)
        return;
    raw->tag = 0;
    if (f->type == FRAME_FAILED)
        raw_fail(raw, (enum err)f->failed.err, f->failed.text);
    else if (!raw->found)
        raw_fail(raw, ERR_NOT_FOUND, STR_NONE);
    else
        raw_pull(raw);
}

void message_raw(struct http_req *r) {
    struct raw *raw = id_or_latest(r->id) ? calloc(1, sizeof *raw) : NULL;
    if (!raw) {
        answer_no_message(r);
        return;
    }
    raw->r = r;
    raw->edited = query_is(r, S("edited"), S("1"));
    r->arg = raw;
    r->on_gone = raw_gone;
    r->on_drained = raw_drained;
    if (id_valid(r->id)) {
        memcpy(raw->id, r->id.p, ID_SIZE);
        raw_pull(raw);
        return;
    }
    /* "latest" may change between two pieces: find out which one it is now. */
    struct frame f = {.type = FRAME_LIST, .list = {0, 0, 1, 0}};
    raw->tag = reader_ask(&f, on_raw_row, raw);
}
