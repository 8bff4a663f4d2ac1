#include "web/http.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "sys/log.h"

enum {
    READ_AHEAD_MAX = 64 * 1024,
    LINGER_MS = 2000,
    BODY_MS = 60 * 1000, /* for a whole request body */
    GZIP_MIN = 1024,
    GZIP_LEVEL = 4,
    GZIP_MEMORY = 7,
    ACCEPT_PAUSE_MS = 100,
    HEADER_LINES_MAX = 8 * 1024,
    LISTENER_NAME_MAX = 64,
};

/*            head whole        body whole          answered                    closing
 *   IDLE --> HEAD ----------> BODY -------------> HANDLING -> (IDLE again) --> LINGER: all is written, the write side
 * is first byte                                      \--> TAKEN (websocket)            shut, what still comes is thrown
 * away */
enum conn_state { CONN_IDLE, CONN_HEAD, CONN_BODY, CONN_HANDLING, CONN_LINGER, CONN_TAKEN, CONN_DEAD };

struct http_listener {
    struct list node;
    struct http_server *server;
    struct evconnlistener *listener;
    struct event *resume;
    bool local;
    size_t name_size;
    char name[LISTENER_NAME_MAX];
};

struct http_server {
    struct event_base *base;
    void (*on_request)(struct http_req *r);
    struct http_settings settings;
    struct list listeners, conns, dead;
    size_t count;
    struct event *reaper;
    void (*on_empty)(void); /* set: draining */
};

struct http_conn {
    struct list node;
    struct http_server *server;
    struct bufferevent *bev;
    struct event *timer;
    enum conn_state state;
    bool local, eof, close, in_read;
    size_t name_size; /* of its listener */
    char name[LISTENER_NAME_MAX];
    bool begun, chunked, no_body; /* of the answer */
    struct http_scan scan;
    struct http_body framing;
    struct http_head head;
    struct buf head_bytes, body, path, headers;
    struct http_req req;
    z_stream *gzip;
    void (*on_end)(void *arg); /* TAKEN */
    void *on_end_arg;
};

static const struct {
    unsigned status;
    const char *words;
} statuses[] = {
    {200, "OK"},
    {204, "No Content"},
    {302, "Found"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {413, "Content Too Large"},
    {422, "Unprocessable Content"},
    {426, "Upgrade Required"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
};

const char *http_status_words(unsigned status) {
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        if (statuses[i].status == status)
            return statuses[i].words;
    return "Status";
}

/* ---- the life of a connection ---- */

static void set_timer(struct http_conn *c, unsigned ms) {
    struct timeval tv = {ms / 1000, (ms % 1000) * 1000};
    event_add(c->timer, &tv);
}

static void gzip_end(struct http_conn *c) {
    if (!c->gzip)
        return;
    deflateEnd(c->gzip);
    free(c->gzip);
    c->gzip = NULL;
}

/* Marks; reap() is the one place that frees. */
static void conn_kill(struct http_conn *c) {
    if (c->state == CONN_DEAD)
        return;
    enum conn_state was = c->state;
    c->state = CONN_DEAD;
    bufferevent_disable(c->bev, EV_READ | EV_WRITE);
    bufferevent_setcb(c->bev, NULL, NULL, NULL, NULL);
    event_del(c->timer);
    list_remove(&c->node);
    list_add_tail(&c->server->dead, &c->node);
    event_active(c->server->reaper, EV_TIMEOUT, 0);
    if (was == CONN_HANDLING && c->req.on_gone)
        c->req.on_gone(c->req.arg);
    if (was == CONN_TAKEN && c->on_end)
        c->on_end(c->on_end_arg);
}

static void conn_free(struct http_conn *c) {
    list_remove(&c->node);
    c->server->count--;
    gzip_end(c);
    bufferevent_free(c->bev);
    event_free(c->timer);
    buf_free(&c->head_bytes);
    buf_free(&c->body);
    buf_free(&c->path);
    buf_free(&c->headers);
    free(c);
}

static void reap(struct http_server *s) {
    while (!list_empty(&s->dead))
        conn_free(LIST_ENTRY(list_first(&s->dead), struct http_conn, node));
}

static void on_reap(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct http_server *s = arg;
    reap(s);
    if (s->count == 0 && s->on_empty)
        s->on_empty();
}

/* All that was to be said is said: end our side, and wait a little for the client to end his, since closing with
 * unread bytes would reset the connection and destroy the answer on its way. */
static void conn_linger(struct http_conn *c) {
    c->state = CONN_LINGER;
    set_timer(c, LINGER_MS);
    shutdown(bufferevent_getfd(c->bev), SHUT_WR);
    if (c->eof)
        conn_kill(c);
}

static void conn_next(struct http_conn *c);

/* The answer is complete. */
static void request_over(struct http_conn *c) {
    assert(c->state == CONN_HANDLING);
    log_event(EV_HTTP_REQUEST, LOG_STR("method", str_of(http_method_name(c->head.method))),
              LOG_STR("path", c->req.path), LOG_END);
    gzip_end(c);
    c->req = (struct http_req){0};
    c->begun = false;
    c->scan = (struct http_scan){0};
    buf_free(&c->head_bytes); /* an idle connection holds nothing */
    buf_free(&c->body);
    buf_free(&c->path);
    buf_free(&c->headers);
    c->state = CONN_IDLE;
    set_timer(c, c->server->settings.idle_ms);
    conn_next(c);
}

/* ---- answers ---- */

void http_header(struct http_req *r, const char *name, str value) {
    buf_printf(&r->conn->headers, "%s: %.*s\r\n", name, STR_ARG(value));
}

static bool type_is_text(const char *type) {
    return strncmp(type, "text/", 5) == 0 || strncmp(type, "application/json", 16) == 0;
}

static bool may_gzip(const struct http_conn *c, const char *type, int64_t length) {
    return type && type_is_text(type) && (length == HTTP_LENGTH_UNKNOWN || length >= GZIP_MIN) &&
           str_ifind_str(buf_str(&c->headers), S("Content-Encoding:")) == SIZE_MAX &&
           http_head_has_token(&c->head, S("Accept-Encoding"), S("gzip"));
}

static void gzip_begin(struct http_conn *c) {
    enum { GZIP_WINDOW = 15 + 16 }; /* zlib: 16 more means a gzip wrapper */
    c->gzip = calloc(1, sizeof *c->gzip);
    if (c->gzip &&
        deflateInit2(c->gzip, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(c->gzip);
        c->gzip = NULL;
    }
}

static void put_piece(struct http_conn *c, str bytes) {
    struct evbuffer *out = bufferevent_get_output(c->bev);
    if (bytes.n == 0)
        return;
    if (c->chunked)
        evbuffer_add_printf(out, "%zx\r\n", bytes.n);
    evbuffer_add(out, bytes.p, bytes.n);
    if (c->chunked)
        evbuffer_add(out, "\r\n", 2);
}

static void put_gzip(struct http_conn *c, str bytes, int flush) {
    unsigned char space[16 * 1024];
    c->gzip->next_in = (unsigned char *)(uintptr_t)bytes.p;
    c->gzip->avail_in = (unsigned)bytes.n;
    do {
        c->gzip->next_out = space;
        c->gzip->avail_out = sizeof space;
        int z = deflate(c->gzip, flush);
        assert(z == Z_OK || z == Z_STREAM_END || z == Z_BUF_ERROR);
        put_piece(c, str_n(space, sizeof space - c->gzip->avail_out));
    } while (c->gzip->avail_out == 0);
}

/* Headers every answer has.  Handlers add their own policy; this one lets nothing happen. */
static void put_common(struct http_conn *c, struct evbuffer *out) {
    str own = buf_str(&c->headers);
    evbuffer_add_printf(out, "Referrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n"
                             "Cross-Origin-Opener-Policy: same-origin\r\n");
    if (str_ifind_str(own, S("Cross-Origin-Resource-Policy:")) == SIZE_MAX)
        evbuffer_add_printf(out, "Cross-Origin-Resource-Policy: same-origin\r\n");
    if (str_ifind_str(own, S("Content-Security-Policy:")) == SIZE_MAX)
        evbuffer_add_printf(out, "Content-Security-Policy: sandbox; default-src 'none'; frame-ancestors 'self'\r\n");
    if (str_ifind_str(own, S("Cache-Control:")) == SIZE_MAX)
        evbuffer_add_printf(out, "Cache-Control: no-store\r\n");
    evbuffer_add(out, own.p, own.n);
}

void http_begin(struct http_req *r, unsigned status, const char *type, int64_t length) {
    struct http_conn *c = r->conn;
    struct evbuffer *out = bufferevent_get_output(c->bev);
    assert(c->state == CONN_HANDLING && !c->begun);
    c->begun = true;
    c->no_body = c->head.method == HTTP_HEAD || status == 304 || status == 204;
    event_del(c->timer);
    bool gzip = may_gzip(c, type, length);
    c->chunked = (gzip || length == HTTP_LENGTH_UNKNOWN) && c->head.minor == 1;
    if ((gzip || length == HTTP_LENGTH_UNKNOWN) && !c->chunked)
        c->close = true; /* HTTP/1.0: the end of the connection is the end of the answer */
    evbuffer_add_printf(out, "HTTP/1.1 %u %s\r\n", status, http_status_words(status));
    if (type)
        evbuffer_add_printf(out, "Content-Type: %s\r\n", type);
    if (type && type_is_text(type))
        evbuffer_add_printf(out, "Vary: Accept-Encoding\r\n");
    if (gzip)
        evbuffer_add_printf(out, "Content-Encoding: gzip\r\n");
    if (c->chunked)
        evbuffer_add_printf(out, "Transfer-Encoding: chunked\r\n");
    else if (!gzip && length != HTTP_LENGTH_UNKNOWN && status != 304 && status != 204)
        evbuffer_add_printf(out, "Content-Length: %lld\r\n", (long long)length);
    put_common(c, out);
    evbuffer_add_printf(out, "Connection: %s\r\n\r\n", c->close ? "close" : "keep-alive");
    if (gzip && !c->no_body)
        gzip_begin(c);
    assert(!gzip || c->no_body ||
           c->gzip); /* out of memory here is the end of the process, as everywhere in libevent's */
}

void http_write(struct http_req *r, str bytes) {
    struct http_conn *c = r->conn;
    assert(c->state == CONN_HANDLING && c->begun);
    if (c->no_body || bytes.n == 0)
        return;
    if (c->gzip)
        put_gzip(c, bytes, Z_NO_FLUSH);
    else
        put_piece(c, bytes);
}

void http_end(struct http_req *r) {
    struct http_conn *c = r->conn;
    assert(c->state == CONN_HANDLING && c->begun);
    if (c->gzip)
        put_gzip(c, STR_NONE, Z_FINISH);
    if (c->chunked && !c->no_body)
        evbuffer_add(bufferevent_get_output(c->bev), "0\r\n\r\n", 5);
    request_over(c);
}

void http_abort(struct http_req *r) {
    r->on_gone = NULL;
    conn_kill(r->conn);
}

void http_reply(struct http_req *r, unsigned status, const char *type, str body) {
    http_begin(r, status, type, (int64_t)body.n);
    http_write(r, body);
    http_end(r);
}

void http_error(struct http_req *r, unsigned status, const char *sentence) {
    http_reply(r, status, "text/plain; charset=utf-8", str_of(sentence));
}

size_t http_pending(const struct http_req *r) {
    return evbuffer_get_length(bufferevent_get_output(r->conn->bev));
}

bool http_begun(const struct http_req *r) {
    return r->conn->begun;
}

struct bufferevent *http_take_over(struct http_req *r, str answer, void (*on_end)(void *arg), void *arg) {
    struct http_conn *c = r->conn;
    assert(c->state == CONN_HANDLING && !c->begun);
    event_del(c->timer);
    bufferevent_write(c->bev, answer.p, answer.n);
    c->state = CONN_TAKEN;
    c->on_end = on_end;
    c->on_end_arg = arg;
    return c->bev;
}

void http_conn_end(struct http_conn *c) {
    c->on_end = NULL;
    conn_kill(c);
}

/* ---- requests ---- */

/* A request that is not HTTP as it should be: say why, and hear no more of this client. */
static void refuse(struct http_conn *c, unsigned status, const char *sentence) {
    struct evbuffer *out = bufferevent_get_output(c->bev);
    log_event(EV_HTTP_REFUSED, LOG_NUM("status", status), LOG_STR("why", str_of(sentence)), LOG_END);
    evbuffer_add_printf(out, "HTTP/1.1 %u %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n",
                        status, http_status_words(status), strlen(sentence));
    put_common(c, out);
    evbuffer_add_printf(out, "Connection: close\r\n\r\n%s", sentence);
    c->close = true;
    c->state = CONN_IDLE;
    set_timer(c, HTTP_WRITE_MS);
}

static void handle(struct http_conn *c) {
    c->state = CONN_HANDLING;
    c->close = c->head.close || c->server->on_empty != NULL;
    c->req = (struct http_req){.conn = c, .head = &c->head, .path = buf_str(&c->path), .body = buf_str(&c->body)};
    set_timer(c, HTTP_ANSWER_MS);
    c->server->on_request(&c->req);
}

/* Whoever may do anything may also send large messages; nobody else makes us hold them. */
static size_t body_max_of(const struct http_conn *c) {
    struct http_req r = {.conn = (struct http_conn *)(uintptr_t)c};
    uint32_t uid;
    size_t most = c->server->settings.local_body_max;
    bool ours = http_peer_user(&r, &uid) && (uid == 0 || uid == geteuid());
    return ours && most > HTTP_BODY_MAX ? most : HTTP_BODY_MAX;
}

static void head_whole(struct http_conn *c) {
    struct why w;
    unsigned status = http_head_parse(buf_str(&c->head_bytes), &c->head, &w);
    if (status) {
        refuse(c, status, w.text);
        return;
    }
    const struct http_settings *set = &c->server->settings;
    if (!c->local && !http_host_allowed(c->head.host, set->hosts, set->host_count)) {
        refuse(c, 400, "this Host is not served here; name it in http_hosts if it should be");
        return;
    }
    c->path = BUF(HTTP_HEAD_MAX);
    c->headers = BUF(HEADER_LINES_MAX);
    if (!http_path_decode(c->head.path, &c->path)) {
        refuse(c, 400, "bad percent-encoding in the request target");
        return;
    }
    size_t body_max = body_max_of(c);
    if (!c->head.chunked && c->head.length > body_max) {
        refuse(c, 413, "the request body is too large");
        return;
    }
    c->body = BUF(body_max);
    if (!c->head.chunked && c->head.length == 0) {
        handle(c);
        return;
    }
    c->state = CONN_BODY;
    set_timer(c, BODY_MS);
    http_body_begin(&c->framing, &c->head);
    if (c->head.wants_continue)
        evbuffer_add_printf(bufferevent_get_output(c->bev), "HTTP/1.1 100 Continue\r\n\r\n");
}

/* The bytes that lie together at the front of the input. */
static str front(struct evbuffer *in) {
    struct evbuffer_iovec v;
    return evbuffer_peek(in, -1, NULL, &v, 1) >= 1 ? str_n(v.iov_base, v.iov_len) : STR_NONE;
}

static void read_head(struct http_conn *c, struct evbuffer *in) {
    str piece = front(in);
    size_t used;
    if (c->state == CONN_IDLE) {
        c->state = CONN_HEAD;
        c->head_bytes = BUF(HTTP_HEAD_MAX);
        set_timer(c, c->server->settings.header_ms);
    }
    enum err e = http_scan(&c->scan, piece, &used);
    buf_add(&c->head_bytes, str_head(piece, used));
    evbuffer_drain(in, used);
    if (e == OK)
        head_whole(c);
    else if (e == ERR_LIMIT || c->head_bytes.full)
        refuse(c, 431, "the request head is too long");
    else if (e != ERR_MORE)
        refuse(c, 400, "a bare CR, bare LF or NUL in the request head");
}

static void read_body(struct http_conn *c, struct evbuffer *in) {
    size_t used;
    enum err e = http_body_take(&c->framing, front(in), &used, &c->body);
    evbuffer_drain(in, used);
    if (e == OK)
        handle(c);
    else if (e == ERR_LIMIT)
        refuse(c, 413, "the request body is too large");
    else if (e != ERR_MORE)
        refuse(c, 400, "the request body is not coded as it says");
}

/* Works off what has come, one request after the other, until one has to wait. */
static void conn_next(struct http_conn *c) {
    struct evbuffer *in = bufferevent_get_input(c->bev), *out = bufferevent_get_output(c->bev);
    if (c->in_read)
        return; /* the loop below goes on when this returns */
    c->in_read = true;
    while (!c->close && c->state <= CONN_BODY && evbuffer_get_length(in)) {
        if (c->state == CONN_IDLE && evbuffer_get_length(out) > HTTP_PENDING_MAX)
            break; /* who sends requests must also take answers */
        if (c->state == CONN_BODY)
            read_body(c, in);
        else
            read_head(c, in);
    }
    c->in_read = false;
    if (c->state == CONN_LINGER)
        evbuffer_drain(in, evbuffer_get_length(in));
    if (c->eof && c->state <= CONN_BODY)
        c->close = true;
    if (c->close && c->state <= CONN_BODY && evbuffer_get_length(out) == 0)
        conn_linger(c);
    if (c->close && c->state <= CONN_BODY)
        evbuffer_drain(in, evbuffer_get_length(in));
}

static void on_read(struct bufferevent *bev, void *arg) {
    (void)bev;
    conn_next(arg);
}

static void on_write(struct bufferevent *bev, void *arg) {
    struct http_conn *c = arg;
    if (c->state == CONN_HANDLING) {
        if (c->req.on_drained && evbuffer_get_length(bufferevent_get_output(bev)) < HTTP_PENDING_MAX)
            c->req.on_drained(c->req.arg);
        return;
    }
    conn_next(c);
}

static void on_event(struct bufferevent *bev, short what, void *arg) {
    struct http_conn *c = arg;
    if (what & BEV_EVENT_EOF && (c->state == CONN_HANDLING || c->state == CONN_IDLE) && !c->eof) {
        /* A client may end its side and still wait for the answer (RFC 9112 9.6). */
        c->eof = true;
        c->close = c->close || c->state == CONN_IDLE;
        bufferevent_disable(bev, EV_READ);
        conn_next(c);
        return;
    }
    conn_kill(c);
}

static void on_timer(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct http_conn *c = arg;
    if (c->state == CONN_HEAD || c->state == CONN_BODY) {
        refuse(c, 408, "the request took too long");
        return;
    }
    if (c->state != CONN_HANDLING) {
        conn_kill(c);
        return;
    }
    if (c->req.on_gone)
        c->req.on_gone(c->req.arg);
    c->req.on_gone = c->req.on_drained = NULL;
    http_error(&c->req, 503, "No answer in time. Try again.");
}

/* ---- the server ---- */

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int n, void *arg) {
    struct http_listener *listener = arg;
    struct http_server *s = listener->server;
    struct http_conn *c = s->count < s->settings.connections_max ? calloc(1, sizeof *c) : NULL;
    (void)l, (void)sa, (void)n;
    if (!c) {
        static const char busy[] = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        (void)!send(fd, busy, sizeof busy - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        close(fd);
        log_event(EV_HTTP_REFUSED, LOG_NUM("status", 503), LOG_STR("why", S("too many connections")), LOG_END);
        return;
    }
    c->server = s;
    c->local = listener->local;
    c->name_size = listener->name_size;
    memcpy(c->name, listener->name, listener->name_size);
    c->bev = bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE);
    c->timer = evtimer_new(s->base, on_timer, c);
    if (!c->bev || !c->timer) {
        if (c->bev)
            bufferevent_free(c->bev);
        else
            close(fd);
        if (c->timer)
            event_free(c->timer);
        free(c);
        return;
    }
    s->count++;
    list_add_tail(&s->conns, &c->node);
    struct timeval write_limit = {HTTP_WRITE_MS / 1000, 0};
    bufferevent_set_timeouts(c->bev, NULL, &write_limit);
    bufferevent_setwatermark(c->bev, EV_READ, 0, READ_AHEAD_MAX);
    bufferevent_setwatermark(c->bev, EV_WRITE, HTTP_PENDING_MAX / 2, 0);
    bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
    set_timer(c, s->settings.idle_ms);
}

static void on_resume(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct http_listener *l = arg;
    evconnlistener_enable(l->listener);
}

/* Out of descriptors: accepting again at once would spin. */
static void on_accept_error(struct evconnlistener *listener, void *arg) {
    struct http_listener *l = arg;
    struct timeval pause = {0, ACCEPT_PAUSE_MS * 1000};
    evconnlistener_disable(listener);
    event_add(l->resume, &pause);
    log_event(EV_ACCEPT_PAUSED, LOG_STR("why", str_of(strerror(errno))), LOG_END);
}

struct http_server *http_server_new(struct event_base *base, void (*on_request)(struct http_req *r)) {
    struct http_server *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->base = base;
    s->on_request = on_request;
    s->settings = (struct http_settings){.connections_max = 1000, .header_ms = 10000, .idle_ms = 60000};
    list_init(&s->listeners);
    list_init(&s->conns);
    list_init(&s->dead);
    s->reaper = evtimer_new(base, on_reap, s);
    assert(s->reaper);
    return s;
}

void http_server_set(struct http_server *s, const struct http_settings *settings) {
    s->settings = *settings;
    LIST_EACH(&s->listeners, node) {
        struct http_listener *l = LIST_ENTRY(node, struct http_listener, node);
        if (!evtimer_pending(l->resume, NULL))
            evconnlistener_enable(l->listener);
    }
}

static void listener_free(struct http_listener *l) {
    list_remove(&l->node);
    evconnlistener_free(l->listener);
    event_free(l->resume);
    free(l);
}

void http_server_keep(struct http_server *s, bool (*keep)(void *arg, str name), void *arg) {
    LIST_EACH_SAFE(&s->listeners, node) {
        struct http_listener *l = LIST_ENTRY(node, struct http_listener, node);
        if (!keep(arg, str_n(l->name, l->name_size)))
            listener_free(l);
    }
}

static bool is_not(void *arg, str name) {
    return !str_eq(name, *(str *)arg);
}

static bool none(void *arg, str name) {
    (void)arg, (void)name;
    return false;
}

bool http_server_listen(struct http_server *s, str name, int fd, bool local) {
    struct http_listener *l = calloc(1, sizeof *l);
    if (!l || name.n > LISTENER_NAME_MAX) {
        free(l);
        return false;
    }
    l->server = s;
    l->local = local;
    l->name_size = name.n;
    memcpy(l->name, name.p, name.n);
    evutil_make_socket_nonblocking(fd);
    l->listener = evconnlistener_new(s->base, on_accept, l,
                                     LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_DISABLED, 0, fd);
    l->resume = evtimer_new(s->base, on_resume, l);
    assert(l->listener && l->resume);
    evconnlistener_set_error_cb(l->listener, on_accept_error);
    http_server_keep(s, is_not, &name);
    list_add_tail(&s->listeners, &l->node);
    return true;
}

void http_server_drain(struct http_server *s, void (*on_empty)(void)) {
    http_server_keep(s, none, NULL);
    s->on_empty = on_empty;
    event_active(s->reaper, EV_TIMEOUT, 0);
    LIST_EACH_SAFE(&s->conns, node) {
        struct http_conn *c = LIST_ENTRY(node, struct http_conn, node);
        if (c->state == CONN_TAKEN ||
            (c->state == CONN_IDLE && evbuffer_get_length(bufferevent_get_output(c->bev)) == 0))
            conn_kill(c);
        else
            c->close = c->close || c->state == CONN_IDLE || c->state == CONN_HANDLING; /* else handle() will */
    }
}

size_t http_server_connections(const struct http_server *s) {
    return s->count;
}

void http_server_free(struct http_server *s) {
    http_server_keep(s, none, NULL);
    LIST_EACH_SAFE(&s->conns, node)
    conn_kill(LIST_ENTRY(node, struct http_conn, node));
    reap(s);
    event_free(s->reaper);
    free(s);
}

str http_listener(const struct http_req *r) {
    return str_n(r->conn->name, r->conn->name_size);
}

bool http_peer_user(const struct http_req *r, uint32_t *uid) {
    struct ucred who;
    socklen_t n = sizeof who;
    if (!r->conn->local || getsockopt(bufferevent_getfd(r->conn->bev), SOL_SOCKET, SO_PEERCRED, &who, &n) != 0)
        return false;
    *uid = who.uid;
    return true;
}
