#include "web/api.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/code.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "web/access.h"
#include "web/assets.h"
#include "web/changes.h"
#include "web/handlers.h"
#include "web/hash.h"
#include "web/inject.h"
#include "web/reader.h"
#include "web/summary.h"
#include "web/view.h"
#include "web/ws.h"

enum { METRICS_MAX = 1024 * 1024 };

static struct {
    const struct conf *conf;
    struct buf metrics;
    uint64_t started_ms;
} api;

/* ---- routes ---- */

static const struct route {
    enum http_method method;
    str pattern;
    void (*handler)(struct http_req *r);
    enum access_right right;
} routes[] = {
#define ROUTE(method, pattern, handler, right, sentence) {HTTP_##method, S_INIT(pattern), handler, RIGHT_##right},
#include "web/routes.def"
#undef ROUTE
};
enum { ROUTE_COUNT = sizeof routes / sizeof routes[0] };

/* "{ID}.html" against "abc.html/...": a variable takes what stands before the literal behind it, and no '/'; but
 * {Folder}, the last one, takes all. */
static bool take_variable(str *pattern, str *path, struct http_req *r) {
    str name;
    str_skip_char(pattern, '{');
    bool closed = str_cut(pattern, '}', &name);
    assert(closed);
    str segment = str_eq(name, S("Folder")) ? *path : str_head(*path, str_find(*path, '/'));
    str literal = str_head(*pattern, str_find(*pattern, '/'));
    if (segment.n <= literal.n || !str_ends(segment, literal))
        return false;
    str value = str_head(segment, segment.n - literal.n);
    if (str_eq(name, S("ID")))
        r->id = value;
    else
        r->part = value;
    *path = str_tail(*path, value.n);
    return true;
}

static bool route_matches(const struct route *route, struct http_req *r) {
    str pattern = route->pattern, path = r->path;
    while (pattern.n) {
        if (pattern.p[0] == '{') {
            if (!take_variable(&pattern, &path, r))
                return false;
            continue;
        }
        str literal = str_head(pattern, str_find(pattern, '{'));
        if (!str_skip(&path, literal))
            return false;
        pattern = str_tail(pattern, literal.n);
    }
    return path.n == 0;
}

/* The methods an address knows, with HEAD for GET. */
static unsigned methods_of(struct http_req *r) {
    unsigned methods = 0;
    for (size_t i = 0; i < ROUTE_COUNT; i++)
        if (route_matches(&routes[i], r))
            methods |= routes[i].method == HTTP_GET ? HTTP_GET | HTTP_HEAD : routes[i].method;
    return methods;
}

static void not_allowed(struct http_req *r, unsigned methods) {
    struct buf allow = BUF(128);
    for (unsigned m = HTTP_GET; m < HTTP_OTHER; m <<= 1)
        if (methods & m)
            buf_printf(&allow, "%s%s", allow.n ? ", " : "", http_method_name((enum http_method)m));
    http_header(r, "Allow", buf_str(&allow));
    buf_free(&allow);
    http_error(r, 405, "Method Not Allowed");
}

static bool serve_asset(struct http_req *r, str path);

static void dispatch(struct http_req *r) {
    enum http_method method = r->head->method == HTTP_HEAD ? HTTP_GET : r->head->method;
    for (size_t i = 0; i < ROUTE_COUNT; i++)
        if (routes[i].method == method && route_matches(&routes[i], r)) {
            access_check(r, routes[i].right, routes[i].handler);
            return;
        }
    unsigned methods = methods_of(r);
    if (methods)
        not_allowed(r, methods);
    else if (method != HTTP_GET || !serve_asset(r, r->path))
        http_error(r, 404, "404 page not found");
}

/* ---- who may ask ---- */

/* The sandboxed HTML of a mail has no origin; browsers say so ("null") when it loads the images that lie in the same
 * message.  It gets them to show, not to read: without Access-Control-Allow-Origin no script sees them.  Ids cannot be
 * guessed, "latest" could be. */
static bool is_embedded_part(const struct http_req *r) {
    str path = r->path;
    return r->head->method == HTTP_GET && str_eq(r->head->origin, S("null")) &&
           str_skip(&path, S("/api/v1/message/")) && id_valid(str_head(path, ID_SIZE)) &&
           str_starts(str_tail(path, ID_SIZE), S("/part/"));
}

/* A page of another origin may not read or change anything here.  Browsers say where a request comes from: by Origin,
 * and for requests without one by Sec-Fetch-Site. */
static bool from_elsewhere(const struct http_req *r) {
    bool api_address =
        str_starts(r->path, S("/api/")) || (str_starts(r->path, S("/view/")) && str_ends(r->path, S(".html")));
    bool changes = !(r->head->method & (HTTP_GET | HTTP_HEAD | HTTP_OPTIONS));
    if ((api_address || changes) && !http_origin_is_own(r->head))
        return !is_embedded_part(r);
    return changes && str_ieq(http_head_field(r->head, S("Sec-Fetch-Site")), S("cross-site"));
}

static void put_cors(struct http_req *r) {
    if (!str_starts(r->path, S("/api/")))
        return;
    if (r->head->origin.n && http_origin_is_own(r->head))
        http_header(r, "Access-Control-Allow-Origin", r->head->origin);
    http_header(r, "Access-Control-Allow-Methods", S("GET, POST, DELETE, PUT, OPTIONS"));
    http_header(r, "Access-Control-Allow-Headers", S("*"));
}

void api_request(struct http_req *r) {
    if (from_elsewhere(r)) {
        log_event(EV_HTTP_REFUSED, LOG_NUM("status", 403), LOG_STR("why", S("another origin")),
                  LOG_STR("origin", r->head->origin), LOG_END);
        http_error(r, 403, "Blocked due to CORS violation");
        return;
    }
    put_cors(r);
    if (r->head->method == HTTP_OPTIONS && str_starts(r->path, S("/api/v1/")))
        http_reply(r, 200, TEXT_TYPE, STR_NONE);
    else
        dispatch(r);
}

/* ---- queries ---- */

uint64_t query_number(const struct http_req *r, str name, uint64_t fallback) {
    struct buf b = BUF(64);
    uint64_t value;
    bool good = http_query(r->head->query, name, &b) && str_u64(buf_str(&b), &value) && value <= INT64_MAX;
    buf_free(&b);
    return good ? value : fallback;
}

bool query_is(const struct http_req *r, str name, str wanted) {
    struct buf b = BUF(64);
    bool is = http_query(r->head->query, name, &b) && str_eq(buf_str(&b), wanted);
    buf_free(&b);
    return is;
}

/* ---- the page ---- */

static const struct asset *find_asset(str path) {
    for (size_t i = 0; i < asset_count; i++)
        if (str_eq(assets[i].path, path))
            return &assets[i];
    return NULL;
}

/* What the page may do: its own scripts, styles and addresses, and frames of mail from here. */
static void put_page_policy(struct http_req *r) {
    struct buf b = BUF(1024);
    str host = r->head->authority; /* known names and addresses only: http.c has looked */
    buf_printf(&b,
               "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
               "manifest-src 'self'; "
               "frame-src 'self'; connect-src 'self' ws://%.*s wss://%.*s; base-uri 'none'; form-action 'none'; "
               "frame-ancestors 'self'",
               STR_ARG(host), STR_ARG(host));
    http_header(r, "Content-Security-Policy", buf_str(&b));
    buf_free(&b);
}

/* For the rare client that takes no gzip. */
static void reply_unpacked(struct http_req *r, const struct asset *a) {
    enum { GZIP_WINDOW = 15 + 16 };
    struct buf out = BUF(a->size);
    char *room = buf_room(&out, a->size);
    z_stream z = {.next_in = (unsigned char *)(uintptr_t)a->gzip.p, .avail_in = (unsigned)a->gzip.n};
    bool good = room && inflateInit2(&z, GZIP_WINDOW) == Z_OK;
    if (good) {
        z.next_out = (unsigned char *)room;
        z.avail_out = (unsigned)a->size;
        good = inflate(&z, Z_FINISH) == Z_STREAM_END;
        inflateEnd(&z);
        buf_grew(&out, good ? a->size : 0);
    }
    if (good)
        http_reply(r, 200, a->type, buf_str(&out));
    else
        answer_error(r, ERR_NOMEM, STR_NONE);
    buf_free(&out);
}

static bool serve_asset(struct http_req *r, str path) {
    const struct asset *a = find_asset(path);
    if (!a)
        return false;
    bool named_by_content = str_starts(path, S("/app-"));
    put_page_policy(r);
    http_header(r, "ETag", a->etag);
    http_header(r, "Cache-Control", named_by_content ? S("public, max-age=31536000, immutable") : S("no-cache"));
    if (str_eq(http_head_field(r->head, S("If-None-Match")), a->etag)) {
        http_reply(r, 304, NULL, STR_NONE);
    } else if (http_head_has_token(r->head, S("Accept-Encoding"), S("gzip"))) {
        http_header(r, "Content-Encoding", S("gzip"));
        http_reply(r, 200, a->type, a->gzip);
    } else {
        reply_unpacked(r, a);
    }
    return true;
}

void api_page(struct http_req *r) {
    if (!serve_asset(r, S("/index.html")))
        http_error(r, 404, "404 page not found");
}

struct latest {
    struct http_req *r;
    uint32_t tag;
    char place[sizeof "/view/" + ID_SIZE];
};

static void latest_gone(void *arg) {
    struct latest *l = arg;
    reader_cancel(l->tag);
    free(l);
}

static void on_latest(void *arg, const struct frame *f) {
    struct latest *l = arg;
    if (f->type == FRAME_ROW && f->row.id.n == ID_SIZE) {
        memcpy(l->place, "/view/", 6);
        memcpy(l->place + 6, f->row.id.p, ID_SIZE);
    }
    if (f->type != FRAME_DONE && f->type != FRAME_FAILED)
        return;
    l->r->on_gone = NULL;
    if (f->type == FRAME_DONE) {
        http_header(l->r, "Location", l->place[0] ? str_of(l->place) : S("/"));
        http_reply(l->r, 302, NULL, STR_NONE);
    } else {
        answer_error(l->r, (enum err)f->failed.err, f->failed.text);
    }
    free(l);
}

void api_view_latest(struct http_req *r) {
    struct latest *l = calloc(1, sizeof *l);
    assert(l);
    struct frame f = {.type = FRAME_LIST, .list = {0, 0, 1, 0}};
    l->r = r;
    r->arg = l;
    r->on_gone = latest_gone;
    l->tag = reader_ask(&f, on_latest, l);
}

/* ---- what stands still ---- */

void api_webui(struct http_req *r) {
    http_reply(
        r, 200, JSON_TYPE,
        S("{\"Label\":\"\",\"MessageRelay\":{\"Enabled\":false,\"SMTPServer\":\"\",\"ReturnPath\":\"\","
          "\"AllowedRecipients\":\"\","
          "\"BlockedRecipients\":\"\",\"OverrideFrom\":\"\",\"PreserveMessageIDs\":false,\"RecipientAllowlist\":\"\"},"
          "\"SpamAssassin\":false,\"ChaosEnabled\":false,\"DuplicatesIgnored\":false,\"HideDeleteAllButton\":false}"));
}

static void put_listener(struct buf *out, const struct conf_listen *l) {
    static const char *const tls[] = {
        [CONF_TLS_NONE] = "none", [CONF_TLS_STARTTLS] = "starttls", [CONF_TLS_IMPLICIT] = "implicit"};
    struct buf address = BUF(8192);
    conf_address_put(&address, &l->address);
    buf_add(out, str_of(out->n > 1 ? ",{\"Name\":" : "{\"Name\":"));
    json_str(out, l->name);
    buf_add(out, S(",\"Protocol\":"));
    json_str(out, str_of(l->protocol == CONF_PROTOCOL_LMTP ? "lmtp" : "smtp"));
    buf_add(out, S(",\"Address\":"));
    json_str(out, buf_str(&address));
    buf_printf(out, ",\"TLS\":\"%s\"}", tls[l->tls]);
    buf_free(&address);
}

void api_listeners(struct http_req *r) {
    struct buf out = BUF(1024 * 1024);
    buf_char(&out, '[');
    for (size_t i = 0; i < api.conf->listen_count; i++)
        if (api.conf->listens[i].protocol != CONF_PROTOCOL_HTTP)
            put_listener(&out, &api.conf->listens[i]);
    buf_char(&out, ']');
    http_reply(r, 200, JSON_TYPE, buf_str(&out));
    buf_free(&out);
}

void api_tags(struct http_req *r) {
    http_reply(r, 200, JSON_TYPE, S("[]"));
}

void api_events(struct http_req *r) {
    ws_accept(r);
}

void api_livez(struct http_req *r) {
    http_reply(r, 200, TEXT_TYPE, S("ok"));
}

/* ---- what the store counts ---- */

struct stats_answer {
    struct http_req *r;
    uint32_t tag;
    void (*put)(struct buf *out, const struct frame_stats *s);
    const char *type;
};

static void stats_gone(void *arg) {
    struct stats_answer *s = arg;
    reader_cancel(s->tag);
    free(s);
}

static void on_stats(void *arg, const struct frame *f) {
    struct stats_answer *s = arg;
    s->r->on_gone = NULL;
    if (f->type == FRAME_STATS) {
        struct buf out = BUF(METRICS_MAX + 64 * 1024);
        s->put(&out, &f->stats);
        http_reply(s->r, 200, s->type, buf_str(&out));
        buf_free(&out);
    } else if (f->type == FRAME_FAILED) {
        answer_error(s->r, (enum err)f->failed.err, f->failed.text);
    } else {
        answer_error(s->r, ERR_CORRUPT, STR_NONE);
    }
    free(s);
}

static void with_stats(struct http_req *r, const char *type,
                       void (*put)(struct buf *out, const struct frame_stats *s)) {
    struct stats_answer *s = calloc(1, sizeof *s);
    assert(s);
    struct frame f = {.type = FRAME_STATS_GET};
    *s = (struct stats_answer){.r = r, .put = put, .type = type};
    r->arg = s;
    r->on_gone = stats_gone;
    s->tag = reader_ask(&f, on_stats, s);
}

/* The value of penfold_events_total{event="name"} in the newest sums. */
static uint64_t metric(const char *event) {
    struct buf key = BUF(128);
    buf_printf(&key, "event=\"%s\"} ", event);
    size_t at = str_find_str(buf_str(&api.metrics), buf_str(&key));
    str rest = at == SIZE_MAX ? STR_NONE : str_tail(buf_str(&api.metrics), at + key.n);
    uint64_t value = 0;
    bool good = str_u64(str_trim(str_head(rest, str_find(rest, '\n'))), &value);
    buf_free(&key);
    return good ? value : 0;
}

static void put_info(struct buf *out, const struct frame_stats *s) {
    struct mallinfo2 memory = mallinfo2();
    buf_add(out, S("{\"Version\":\"" PENFOLD_VERSION "\",\"LatestVersion\":\"disabled\",\"Database\":"));
    struct buf path = BUF(8192);
    buf_add(&path, api.conf->data);
    buf_add(&path, S("/penfold.db"));
    json_str(out, buf_str(&path));
    buf_free(&path);
    buf_printf(out, ",\"DatabaseSize\":%llu,\"Messages\":%llu,\"Unread\":%llu,\"Tags\":{},\"RuntimeStats\":{",
               (unsigned long long)s->disk_bytes, (unsigned long long)s->total, (unsigned long long)s->unread);
    buf_printf(
        out,
        "\"Uptime\":%llu,\"Memory\":%llu,\"MessagesDeleted\":%llu,\"SMTPAccepted\":%llu,\"SMTPAcceptedSize\":%llu,",
        (unsigned long long)(clock_mono_ms() - api.started_ms) / 1000,
        (unsigned long long)(memory.uordblks + memory.hblkhd), (unsigned long long)s->deleted,
        (unsigned long long)s->accepted, (unsigned long long)s->accepted_bytes);
    buf_printf(out, "\"SMTPRejected\":%llu,\"SMTPIgnored\":0}}", (unsigned long long)metric("smtp_rejected"));
}

void api_info(struct http_req *r) {
    with_stats(r, JSON_TYPE, put_info);
}

static void put_gauge(struct buf *out, const char *name, const char *type, const char *sentence, uint64_t value) {
    buf_printf(out, "# HELP penfold_%s %s\n# TYPE penfold_%s %s\npenfold_%s %llu\n", name, sentence, name, type, name,
               (unsigned long long)value);
}

static void put_metrics(struct buf *out, const struct frame_stats *s) {
    buf_add(out, buf_str(&api.metrics));
    put_gauge(out, "messages", "gauge", "Messages that are kept.", s->total);
    put_gauge(out, "messages_unread", "gauge", "Messages that nobody has read.", s->unread);
    put_gauge(out, "messages_bytes", "gauge", "Bytes of the messages that are kept.", s->bytes);
    put_gauge(out, "store_disk_bytes", "gauge", "Bytes the store takes on disk.", s->disk_bytes);
    put_gauge(out, "messages_accepted_total", "counter", "Messages accepted since the start.", s->accepted);
    put_gauge(out, "messages_accepted_bytes_total", "counter", "Bytes of messages accepted since the start.",
              s->accepted_bytes);
    put_gauge(out, "messages_deleted_total", "counter", "Messages deleted since the start.", s->deleted);
}

void api_metrics(struct http_req *r) {
    with_stats(r, "text/plain; version=0.0.4; charset=utf-8", put_metrics);
}

static void put_ready(struct buf *out, const struct frame_stats *s) {
    (void)s;
    buf_add(out, S("ok"));
}

void api_readyz(struct http_req *r) {
    with_stats(r, TEXT_TYPE, put_ready);
}

/* ---- life ---- */

void api_start(struct event_base *base) {
    api.metrics = BUF(METRICS_MAX);
    api.started_ms = clock_mono_ms();
    reader_start(base, changes_frame, changes_linked);
    view_start_all(base);
    hash_start_all(base);
    inject_start_all(base);
    summary_start_all(base);
    changes_start_all(base);
    ws_start_all(base, changes_clients);
}

void api_configure(const struct conf *c) {
    api.conf = c;
    access_configure(c);
}

void api_metrics_text(str text) {
    buf_reset(&api.metrics);
    buf_add(&api.metrics, text);
}

void api_stop(void) {
    ws_stop_all();
    changes_stop_all();
    view_stop_all();
    hash_stop_all();
    inject_stop_all();
    reader_stop();
    summary_stop_all();
    buf_free(&api.metrics);
}
