/* messages.c - the list of messages: reading it in pages, marking and deleting. */
#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/code.h"
#include "web/handlers.h"
#include "web/reader.h"
#include "web/summary.h"

enum {
    ROWS_MAX = 100, /* asked of the store at once; longer lists are streamed in such pages */
    LIMIT_DEFAULT = 50,
    IDS_PER_FRAME = FRAME_CHUNK / ID_SIZE,
};

/* ---- reading ---- */

struct row {
    struct frame_row row;
    char id[ID_SIZE];
    struct buf text; /* its summary */
    struct summary *making;
    struct list_answer *answer;
};

struct list_answer {
    struct http_req *r;
    uint32_t tag;
    uint64_t start, limit, before_ms; /* limit 0: all */
    uint64_t asked, sent, last_num;   /* rows asked for so far, rows written, the last row's number */
    uint64_t total, unread;
    size_t page_asked, count, making;
    bool streaming, ended, waiting;
    struct buf out;
    struct row rows[ROWS_MAX];
};

static void ask_page(struct list_answer *l);

static void rows_free(struct list_answer *l) {
    for (size_t i = 0; i < l->count; i++) {
        if (l->rows[i].making)
            summary_cancel(l->rows[i].making);
        buf_free(&l->rows[i].text);
    }
    l->count = 0;
}

static void list_free(struct list_answer *l) {
    rows_free(l);
    reader_cancel(l->tag);
    buf_free(&l->out);
    free(l);
}

static void on_gone(void *arg) {
    list_free(arg);
}

static void put_end(struct list_answer *l) {
    unsigned long long total = l->total, unread = l->unread;
    buf_printf(&l->out,
               "],\"total\":%llu,\"unread\":%llu,\"count\":%llu,\"messages_count\":%llu,\"messages_unread\":%llu,"
               "\"start\":%llu,\"tags\":[]}",
               total, unread, (unsigned long long)l->sent, total, unread, (unsigned long long)l->start);
}

static void list_end(struct list_answer *l) {
    struct http_req *r = l->r;
    r->on_gone = r->on_drained = NULL;
    put_end(l);
    if (l->streaming) {
        http_write(r, buf_str(&l->out));
        http_end(r);
    } else {
        http_reply(r, 200, JSON_TYPE, buf_str(&l->out));
    }
    list_free(l);
}

static void list_fail(struct list_answer *l, enum err e, str text) {
    struct http_req *r = l->r;
    r->on_gone = r->on_drained = NULL;
    if (l->streaming)
        http_abort(r);
    else
        answer_error(r, e, text);
    list_free(l);
}

/* More pages follow: what is there goes out, and the next page is asked for when the client has taken it. */
static void list_go_on(struct list_answer *l) {
    if (!l->streaming)
        http_begin(l->r, 200, JSON_TYPE, HTTP_LENGTH_UNKNOWN);
    l->streaming = true;
    http_write(l->r, buf_str(&l->out));
    buf_reset(&l->out);
    l->waiting = http_pending(l->r) > HTTP_PENDING_MAX;
    if (!l->waiting)
        ask_page(l);
}

static void on_drained(void *arg) {
    struct list_answer *l = arg;
    if (!l->waiting)
        return;
    l->waiting = false;
    ask_page(l);
}

static void page_whole(struct list_answer *l) {
    for (size_t i = 0; i < l->count; i++) {
        if (l->sent++)
            buf_char(&l->out, ',');
        summary_put(&l->out, &l->rows[i].row, buf_str(&l->rows[i].text));
    }
    rows_free(l);
    if (l->ended)
        list_end(l);
    else
        list_go_on(l);
}

static void on_summary(void *arg, str json) {
    struct row *row = arg;
    struct list_answer *l = row->answer;
    row->making = NULL;
    buf_add(&row->text, json);
    if (--l->making == 0)
        page_whole(l);
}

static void page_listed(struct list_answer *l) {
    for (size_t i = 0; i < l->count; i++) {
        struct row *row = &l->rows[i];
        if (row->text.n)
            continue;
        row->making = summary_start(row->row.id, on_summary, row);
        l->making++;
    }
    if (l->making == 0)
        page_whole(l);
}

/* Mail that arrives between two pages shifts the list: rows that were sent already are left out. */
static void keep_row(struct list_answer *l, const struct frame_row *from) {
    if (l->count == ROWS_MAX || from->id.n != ID_SIZE || (l->last_num && from->num >= l->last_num))
        return;
    struct row *row = &l->rows[l->count++];
    *row = (struct row){.row = *from, .text = BUF(SUMMARY_MAX), .answer = l};
    memcpy(row->id, from->id.p, ID_SIZE);
    row->row.id = str_n(row->id, ID_SIZE);
    buf_add(&row->text, from->summary);
    l->last_num = from->num;
}

static void on_list(void *arg, const struct frame *f) {
    struct list_answer *l = arg;
    switch ((int)f->type) {
    case FRAME_ROW:
        l->asked++;
        l->page_asked++;
        keep_row(l, &f->row);
        break;
    case FRAME_DONE:
        l->tag = 0;
        l->total = f->done.total;
        l->unread = f->done.unread;
        l->ended = l->page_asked < ROWS_MAX || (l->limit && l->asked >= l->limit);
        page_listed(l);
        break;
    case FRAME_FAILED:
        l->tag = 0;
        list_fail(l, (enum err)f->failed.err, f->failed.text);
        break;
    default: break;
    }
}

static void ask_page(struct list_answer *l) {
    uint64_t n = l->limit && l->limit - l->asked < ROWS_MAX ? l->limit - l->asked : ROWS_MAX;
    struct frame f = {.type = FRAME_LIST, .list = {0, l->start + l->asked, n, l->before_ms}};
    l->page_asked = 0;
    l->tag = reader_ask(&f, on_list, l);
}

/* "2026-11-23", "2026-11-23T06:13:31Z", "2026/11/23 06:13", or seconds or milliseconds since 1970; 0 when it is no
 * date. */
static uint64_t parse_before(str text) {
    static const char *const formats[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M",
                                          "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M",    "%Y-%m-%d",
                                          "%Y/%m/%d"};
    uint64_t number;
    if (str_u64(text, &number))
        return number > UINT64_C(100000000000) ? number : number * 1000;
    struct buf b = BUF(64);
    buf_add(&b, text);
    const char *c = buf_cstr(&b);
    uint64_t ms = 0;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0] && !ms; i++) {
        struct tm tm = {0};
        if (!strptime(c, formats[i], &tm))
            continue;
        time_t t = timegm(&tm);
        ms = t > 0 ? (uint64_t)t * 1000 : 0;
    }
    buf_free(&b);
    return ms;
}

void messages_list(struct http_req *r) {
    struct list_answer *l = calloc(1, sizeof *l);
    if (!l) {
        answer_error(r, ERR_NOMEM, STR_NONE);
        return;
    }
    struct buf before = BUF(64);
    if (http_query(r->head->query, S("before"), &before))
        l->before_ms = parse_before(buf_str(&before));
    buf_free(&before);
    l->r = r;
    l->start = query_number(r, S("start"), 0);
    l->limit = query_number(r, S("limit"), LIMIT_DEFAULT);
    l->out = BUF(ROWS_MAX * (SUMMARY_MAX + 1024));
    buf_add(&l->out, S("{\"messages\":["));
    r->arg = l;
    r->on_gone = on_gone;
    r->on_drained = on_drained;
    ask_page(l);
}

/* ---- changing ---- */

struct change {
    bool has_ids, read;
    char *ids; /* ID_SIZE bytes each */
    size_t id_count;
    bool search;
};

struct pending {
    struct http_req *r; /* NULL: the client has gone, the change goes on */
    size_t frames;
    enum err e;
    struct buf text;
};

/* Keys match whatever their case, as clients of this API expect. */
static json_t *member(json_t *object, const char *name) {
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        if (str_ieq(str_of(key), str_of(name)))
            return value;
    }
    return NULL;
}

static const char *take_ids(json_t *list, struct change *c) {
    size_t n = json_array_size(list);
    c->has_ids = n > 0;
    c->ids = n ? malloc(n * ID_SIZE) : NULL;
    for (size_t i = 0; i < n; i++) {
        json_t *id = json_array_get(list, i);
        if (!json_is_string(id) || !c->ids)
            return "IDs must be a list of strings";
        str s = str_n(json_string_value(id), json_string_length(id));
        if (id_valid(s)) /* ids that no message has are ignored */
            memcpy(c->ids + ID_SIZE * c->id_count++, s.p, ID_SIZE);
    }
    return NULL;
}

static const char *take_object(json_t *root, struct change *c) {
    if (json_is_null(root))
        return NULL;
    if (!json_is_object(root))
        return "the body must be a JSON object";
    json_t *ids = member(root, "IDs"), *read = member(root, "Read"), *search = member(root, "Search");
    if (ids && !json_is_null(ids) && !json_is_array(ids))
        return "IDs must be a list of strings";
    if (read && !json_is_null(read) && !json_is_boolean(read))
        return "Read must be true or false";
    if (search && !json_is_null(search) && !json_is_string(search))
        return "Search must be a string";
    c->read = json_is_true(read);
    c->search = json_string_length(search) > 0;
    return take_ids(ids, c);
}

/* NULL, or what is wrong with the body.  An empty body is an empty object; one that is not JSON changes nothing. */
static const char *take_body(str body, struct change *c, struct why *w) {
    json_error_t error;
    *c = (struct change){0};
    if (str_trim(body).n == 0)
        return NULL;
    json_t *root = json_loadb(body.p, body.n, JSON_DECODE_ANY, &error);
    if (!root) {
        (void)why(w, ERR_SYNTAX, "the body is not JSON: %s", error.text);
        return w->text;
    }
    const char *wrong = take_object(root, c);
    json_decref(root);
    return wrong;
}

static void change_gone(void *arg) {
    struct pending *p = arg;
    p->r = NULL;
}

static void pending_over(struct pending *p) {
    if (p->r) {
        p->r->on_gone = NULL;
        if (p->e)
            answer_error(p->r, p->e, buf_str(&p->text));
        else
            http_reply(p->r, 200, TEXT_TYPE, S("ok"));
    }
    buf_free(&p->text);
    free(p);
}

static void on_changed(void *arg, const struct frame *f) {
    struct pending *p = arg;
    if (f->type == FRAME_FAILED && !p->e) {
        p->e = (enum err)f->failed.err;
        buf_add(&p->text, f->failed.text);
    }
    if ((f->type == FRAME_FAILED || f->type == FRAME_DONE) && --p->frames == 0)
        pending_over(p);
}

static void ask_change(struct pending *p, bool mark, bool read, bool everything, str ids) {
    struct frame f = {.type = FRAME_DELETE, .delete = {0, everything, ids}};
    if (mark)
        f = (struct frame){.type = FRAME_MARK, .mark = {0, read, everything, ids}};
    p->frames++;
    (void)reader_ask(&f, on_changed, p);
}

static void make_change(struct http_req *r, const struct change *c, bool mark) {
    struct pending *p = calloc(1, sizeof *p);
    assert(p);
    p->r = r;
    p->text = BUF(1024);
    r->arg = p;
    r->on_gone = change_gone;
    if (!c->has_ids)
        ask_change(p, mark, c->read, true, STR_NONE);
    for (size_t i = 0; i < c->id_count; i += IDS_PER_FRAME) {
        size_t n = c->id_count - i < IDS_PER_FRAME ? c->id_count - i : IDS_PER_FRAME;
        ask_change(p, mark, c->read, false, str_n(c->ids + i * ID_SIZE, n * ID_SIZE));
    }
    if (p->frames == 0)
        pending_over(p);
}

static void change(struct http_req *r, bool mark) {
    struct change c;
    struct why w;
    const char *wrong = take_body(r->body, &c, &w);
    if (!wrong && mark && c.search)
        wrong =
            c.has_ids ? "You may specify either IDs or a search query, not both" : "Search is not offered: give IDs";
    if (wrong)
        http_error(r, 400, wrong);
    else
        make_change(r, &c, mark);
    free(c.ids);
}

void messages_mark(struct http_req *r) {
    change(r, true);
}

void messages_delete(struct http_req *r) {
    change(r, false);
}
