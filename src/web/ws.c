#include "web/ws.h"

#include <assert.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <wslay/wslay.h>

#include "base/code.h"
#include "sys/log.h"

enum {
    OUTPUT_MAX = 64 * 1024, /* handed to the socket's buffer; more waits in wslay's queue, where it is counted */
    MESSAGE_MAX = 4096,     /* from a client, who has nothing to say */
    KEY_SIZE = 24,          /* 16 bytes in base64 */
};

struct ws {
    struct list node;
    struct http_conn *conn;
    struct bufferevent *bev;
    wslay_event_context_ptr wslay;
};

static struct {
    struct list clients;
    size_t count;
    struct event *ping;
    void (*on_count)(size_t clients);
} all;

size_t ws_count(void) {
    return all.count;
}

static void ws_free(struct ws *w) {
    list_remove(&w->node);
    wslay_event_context_free(w->wslay);
    free(w);
    all.on_count(--all.count);
}

static void ws_end(struct ws *w) {
    struct http_conn *c = w->conn;
    ws_free(w);
    http_conn_end(c);
}

/* The server ends the connection. */
static void on_conn_end(void *arg) {
    ws_free(arg);
}

static ssize_t wslay_recv(wslay_event_context_ptr ctx, uint8_t *p, size_t n, int flags, void *arg) {
    struct ws *w = arg;
    (void)flags;
    size_t got = bufferevent_read(w->bev, p, n);
    if (got == 0) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    return (ssize_t)got;
}

static ssize_t wslay_send(wslay_event_context_ptr ctx, const uint8_t *p, size_t n, int flags, void *arg) {
    struct ws *w = arg;
    struct evbuffer *out = bufferevent_get_output(w->bev);
    (void)flags;
    if (evbuffer_get_length(out) >= OUTPUT_MAX) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    evbuffer_add(out, p, n);
    return (ssize_t)n;
}

/* Moves what can be moved; false: the websocket has ended (and w with it). */
static bool pump(struct ws *w, bool readable) {
    bool failed = (readable && wslay_event_recv(w->wslay) != 0) || wslay_event_send(w->wslay) != 0;
    bool closing = !wslay_event_want_read(w->wslay) && !wslay_event_want_write(w->wslay) &&
                   evbuffer_get_length(bufferevent_get_output(w->bev)) == 0;
    if (!failed && !closing && wslay_event_get_queued_msg_count(w->wslay) <= WS_QUEUED_MAX)
        return true;
    ws_end(w);
    return false;
}

static void on_read(struct bufferevent *bev, void *arg) {
    (void)bev;
    (void)pump(arg, true);
}

static void on_write(struct bufferevent *bev, void *arg) {
    (void)bev;
    (void)pump(arg, false);
}

static void on_event(struct bufferevent *bev, short what, void *arg) {
    (void)bev, (void)what;
    ws_end(arg);
}

static void on_ping(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    struct wslay_event_msg ping = {.opcode = WSLAY_PING};
    LIST_EACH_SAFE(&all.clients, node) {
        struct ws *w = LIST_ENTRY(node, struct ws, node);
        (void)wslay_event_queue_msg(w->wslay, &ping);
        (void)pump(w, false);
    }
}

void ws_broadcast(str text) {
    struct wslay_event_msg msg = {.opcode = WSLAY_TEXT_FRAME, .msg = (const uint8_t *)text.p, .msg_length = text.n};
    LIST_EACH_SAFE(&all.clients, node) {
        struct ws *w = LIST_ENTRY(node, struct ws, node);
        (void)wslay_event_queue_msg(w->wslay, &msg);
        (void)pump(w, false);
    }
}

void ws_start_all(struct event_base *base, void (*on_count)(size_t clients)) {
    struct timeval every = {WS_PING_MS / 1000, 0};
    list_init(&all.clients);
    all.on_count = on_count;
    all.ping = event_new(base, -1, EV_PERSIST, on_ping, NULL);
    assert(all.ping);
    event_add(all.ping, &every);
}

void ws_stop_all(void) {
    LIST_EACH_SAFE(&all.clients, node)
    ws_end(LIST_ENTRY(node, struct ws, node));
    event_free(all.ping);
}

static bool key_valid(str key) {
    struct buf decoded = BUF(KEY_SIZE);
    bool valid = key.n == KEY_SIZE && base64_decode(key, &decoded) && decoded.n == 16;
    buf_free(&decoded);
    return valid;
}

/* RFC 6455 4.2.2; false: no memory. */
static bool put_answer(struct buf *out, str key) {
    struct buf text = BUF(128);
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    buf_add(&text, key);
    buf_add(&text, S("258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    bool ok = EVP_Digest(text.p, text.n, digest, &size, EVP_sha1(), NULL) == 1;
    buf_free(&text);
    buf_add(
        out,
        S("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "));
    base64_encode(str_n(digest, size), out);
    buf_add(out, S("\r\n\r\n"));
    return ok && !out->full;
}

static void open_client(struct http_req *r, struct ws *w, str answer) {
    w->conn = r->conn;
    w->bev = http_take_over(r, answer, on_conn_end, w);
    struct timeval read_limit = {WS_READ_MS / 1000, 0}, write_limit = {HTTP_WRITE_MS / 1000, 0};
    bufferevent_set_timeouts(w->bev, &read_limit, &write_limit);
    bufferevent_setwatermark(w->bev, EV_WRITE, OUTPUT_MAX / 2, 0);
    bufferevent_setcb(w->bev, on_read, on_write, on_event, w);
    bufferevent_enable(w->bev, EV_READ | EV_WRITE);
    list_add_tail(&all.clients, &w->node);
    all.on_count(++all.count);
    log_event(EV_HTTP_WEBSOCKET, LOG_NUM("clients", all.count), LOG_END);
    bufferevent_trigger(w->bev, EV_READ,
                        BEV_OPT_DEFER_CALLBACKS | BEV_TRIG_IGNORE_WATERMARKS); /* sent ahead of the 101 */
}

void ws_accept(struct http_req *r) {
    static const struct wslay_event_callbacks callbacks = {.recv_callback = wslay_recv, .send_callback = wslay_send};
    const struct http_head *h = r->head;
    str key = http_head_field(h, S("Sec-WebSocket-Key"));
    if (h->method != HTTP_GET || h->minor == 0 || !http_head_has_token(h, S("Upgrade"), S("websocket")) ||
        !http_head_has_token(h, S("Connection"), S("upgrade"))) {
        http_header(r, "Upgrade", S("websocket"));
        http_error(r, 426, "This address speaks the websocket protocol only.");
        return;
    }
    if (!str_eq(http_head_field(h, S("Sec-WebSocket-Version")), S("13"))) {
        http_header(r, "Sec-WebSocket-Version", S("13"));
        http_error(r, 426, "Only version 13 of the websocket protocol is spoken here.");
        return;
    }
    struct ws *w = key_valid(key) ? calloc(1, sizeof *w) : NULL;
    if (!w || wslay_event_context_server_init(&w->wslay, &callbacks, w) != 0) {
        free(w);
        http_error(r, 400, "Sec-WebSocket-Key is not what RFC 6455 asks for.");
        return;
    }
    wslay_event_config_set_max_recv_msg_length(w->wslay, MESSAGE_MAX);
    struct buf answer = BUF(512);
    if (put_answer(&answer, key)) {
        open_client(r, w, buf_str(&answer));
    } else {
        wslay_event_context_free(w->wslay);
        free(w);
        http_error(r, 503, "No memory for a websocket now.");
    }
    buf_free(&answer);
}
