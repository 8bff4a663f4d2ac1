#include "sys/conn.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/list.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "sys/tls.h"

enum {
    READS_PER_TURN = 4,   /* then the others have their turn */
    ACCEPTS_PER_TURN = 8, /* likewise, and the other workers theirs */
    ACCEPT_PAUSE_MS = 500,
    OUT_KEEP = 1024,       /* an empty output buffer larger than this is given back */
    TLS_WRITE_MAX = 16384, /* one record */
};

struct conn {
    const struct conn_ops *ops;
    void *arg;
    SSL *ssl;
    struct event io, timer;
    struct list dirty; /* on `loop.dirty`: to be looked at in this turn */
    struct buf out;
    size_t sent;       /* of out */
    uint64_t deadline; /* monotonic ms, 0: none */
    uint64_t timer_at; /* when the timer fires, 0: not pending; may be earlier than the deadline */
    char reason[64];   /* for on_close */
    int fd;
    short mask;                /* what io waits for */
    uint8_t fault;             /* enum err for on_close */
    bool connecting, tls_next; /* the handshake begins once the output is flushed */
    bool handshaking, tls, paused, high;
    bool ended; /* the peer sends no more */
    bool more;  /* there may be bytes that no event will announce */
    bool write_wants_read, read_wants_write;
    bool half;          /* our end is to be shut */
    bool closing, shut; /* conn_close was called; our end is shut */
    bool broken;        /* to be freed with on_close (without it when closing) */
    bool busy;
};

_Static_assert(sizeof(struct conn) <= 512 + 64, "ten thousand idle connections");

/* One loop per process. */
static struct {
    struct event_base *base;
    struct event *turn;
    struct list dirty;
    bool active;
    char *space; /* CONN_READ_SIZE; no callback of ours reads, so one is enough */
} loop;

static void on_turn(evutil_socket_t fd, short what, void *arg);

static bool loop_use(struct event_base *base) {
    if (loop.base == base)
        return true;
    if (loop.turn)
        event_free(loop.turn);
    loop.turn = event_new(base, -1, 0, on_turn, NULL);
    if (!loop.space)
        loop.space = malloc(CONN_READ_SIZE);
    if (!loop.turn || !loop.space)
        return false;
    list_init(&loop.dirty);
    loop.base = base;
    loop.active = false;
    return true;
}

static void mark_dirty(struct conn *c) {
    if (list_empty(&c->dirty))
        list_add_tail(&loop.dirty, &c->dirty);
    if (!loop.active)
        event_active(loop.turn, 0, 0);
    loop.active = true;
}

static void conn_free(struct conn *c) {
    list_remove(&c->dirty);
    event_del(&c->io);
    event_del(&c->timer);
    SSL_free(c->ssl);
    buf_free(&c->out);
    close(c->fd);
    free(c);
}

static void fail(struct conn *c, enum err e, const char *reason) {
    if (c->broken)
        return;
    c->broken = true;
    c->fault = (uint8_t)e;
    snprintf(c->reason, sizeof c->reason, "%s", reason);
}

static void fail_errno(struct conn *c) {
    if (errno == EPIPE || errno == ECONNRESET)
        fail(c, ERR_CLOSED, "the peer has reset the connection");
    else
        fail(c, errno == ETIMEDOUT ? ERR_TIMEOUT : ERR_IO, strerror(errno));
}

static void fail_tls(struct conn *c) {
    char space[sizeof c->reason];
    unsigned long e = ERR_peek_last_error();
    if (ERR_GET_REASON(e) == SSL_R_CERTIFICATE_VERIFY_FAILED)
        fail(c, ERR_TLS, conn_tls_verdict(c));
    else if (e == 0 || ERR_GET_REASON(e) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        fail(c, ERR_CLOSED, c->tls ? "the peer is gone" : "the peer left during the TLS handshake");
    else
        fail(c, ERR_TLS, tls_reason(space, sizeof space));
    ERR_clear_error();
}

static bool unsent(const struct conn *c) {
    return c->sent < c->out.n;
}

/* ---- events ---- */

static short wanted(const struct conn *c) {
    bool read = c->closing ? c->shut : !c->paused && !c->ended && !c->tls_next;
    bool write = unsent(c) && !c->handshaking && !c->write_wants_read;
    if (c->connecting)
        return EV_WRITE;
    if (c->handshaking)
        read = !c->read_wants_write;
    if (c->write_wants_read)
        read = true;
    if (c->read_wants_write)
        write = true;
    return (short)((read ? EV_READ : 0) | (write ? EV_WRITE : 0));
}

static void on_io(evutil_socket_t fd, short what, void *arg);

static void update_events(struct conn *c) {
    short mask = wanted(c);
    if (mask == c->mask)
        return;
    event_del(&c->io);
    c->mask = mask;
    event_assign(&c->io, loop.base, c->fd, (short)(mask | EV_PERSIST), on_io, c);
    if (mask && event_add(&c->io, NULL) != 0)
        fail(c, ERR_NOMEM, "no memory");
}

/* The one place where a conn ends; last in everything the loop calls. */
static void settle(struct conn *c) {
    if (!c->broken)
        update_events(c);
    if (!c->broken)
        return;
    if (!c->closing) {
        c->busy = true;
        c->ops->on_close(c->arg, c, (enum err)c->fault, c->reason);
    }
    conn_free(c);
}

/* ---- reading ---- */

/* >0 bytes, 0 nothing now, -1 the end (ended or broken is set). */
static ssize_t read_plain(struct conn *c) {
    ssize_t n = recv(c->fd, loop.space, CONN_READ_SIZE, 0);
    c->more = n == CONN_READ_SIZE;
    if (n > 0)
        return n;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n == 0)
        c->ended = true;
    else
        fail_errno(c);
    return -1;
}

/* Records are small (16 KiB at most): several go into one on_read. */
static ssize_t read_tls(struct conn *c) {
    size_t n = 0;
    c->more = false;
    c->read_wants_write = false;
    while (n < CONN_READ_SIZE) {
        ERR_clear_error();
        int got = SSL_read(c->ssl, loop.space + n, (int)(CONN_READ_SIZE - n));
        if (got > 0) {
            n += (size_t)got;
            continue;
        }
        int e = SSL_get_error(c->ssl, got);
        if (e == SSL_ERROR_WANT_WRITE)
            c->read_wants_write = true;
        else if (e == SSL_ERROR_ZERO_RETURN)
            c->ended = true;
        else if (e == SSL_ERROR_SYSCALL && errno != 0)
            fail_errno(c);
        else if (e != SSL_ERROR_WANT_READ)
            fail_tls(c);
        return n ? (ssize_t)n : c->ended || c->broken ? -1 : 0;
    }
    c->more = true;
    return (ssize_t)n;
}

static bool may_read(const struct conn *c) {
    return !c->paused && !c->ended && !c->broken && !c->closing && !c->handshaking && !c->tls_next;
}

static void tell_end(struct conn *c) {
    if (c->closing || (c->broken && c->fault != OK))
        return;
    if (c->ops->on_end)
        c->ops->on_end(c->arg, c);
    else
        fail(c, ERR_CLOSED, "the peer has closed the connection");
}

/* A broken connection may have brought bytes first: those are delivered before on_close. */
static void do_read(struct conn *c) {
    for (int i = 0; i < READS_PER_TURN && may_read(c); i++) {
        ssize_t n = c->tls ? read_tls(c) : read_plain(c);
        bool ended = c->ended;
        if (n > 0)
            c->ops->on_read(c->arg, c, str_n(loop.space, (size_t)n));
        if (ended)
            tell_end(c);
        if (n <= 0 || !c->more)
            break;
    }
    if (c->more && may_read(c) && c->tls)
        mark_dirty(c);
}

/* The peer's last words after our end is shut: unread bytes would turn our close into a reset that may overtake our
 * reply on its way to the peer. */
static void drain_rest(struct conn *c) {
    for (int i = 0; i < READS_PER_TURN; i++) {
        ssize_t n = recv(c->fd, loop.space, CONN_READ_SIZE, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            fail(c, ERR_CLOSED, "");
            return;
        }
    }
}

/* ---- writing ---- */

static bool write_once(struct conn *c) {
    str s = str_tail(buf_str(&c->out), c->sent);
    if (!c->tls) {
        ssize_t n = send(c->fd, s.p, s.n, MSG_NOSIGNAL);
        if (n > 0)
            c->sent += (size_t)n;
        else if (n < 0 && errno != EAGAIN && errno != EINTR)
            fail_errno(c);
        return n > 0;
    }
    ERR_clear_error();
    c->write_wants_read = false;
    int n = SSL_write(c->ssl, s.p, s.n < TLS_WRITE_MAX ? (int)s.n : TLS_WRITE_MAX);
    if (n > 0) {
        c->sent += (size_t)n;
        return true;
    }
    int e = SSL_get_error(c->ssl, n);
    if (e == SSL_ERROR_WANT_READ)
        c->write_wants_read = true;
    else if (e == SSL_ERROR_SYSCALL && errno != 0)
        fail_errno(c);
    else if (e != SSL_ERROR_WANT_WRITE)
        fail_tls(c);
    return false;
}

static void output_is_empty(struct conn *c) {
    buf_reset(&c->out);
    c->sent = 0;
    if (c->out.cap > OUT_KEEP)
        buf_trim(&c->out);
    bool was_high = c->high;
    c->high = false;
    if (was_high && c->ops->on_drained && !c->closing)
        c->ops->on_drained(c->arg, c);
}

static void shut_our_end(struct conn *c) {
    if (c->shut)
        return;
    c->shut = true;
    if (c->tls) {
        ERR_clear_error();
        SSL_shutdown(c->ssl); /* close_notify; the peer's is not waited for (RFC 8446 6.1) */
        ERR_clear_error();
    }
    shutdown(c->fd, SHUT_WR);
    if (c->ended)
        fail(c, ERR_CLOSED, "");
}

/* ---- TLS ---- */

static void do_handshake(struct conn *c) {
    ERR_clear_error();
    errno = 0;
    c->read_wants_write = false;
    int n = SSL_do_handshake(c->ssl);
    if (n == 1) {
        c->handshaking = false;
        c->tls = true;
        if (c->ops->on_tls && !c->closing)
            c->ops->on_tls(c->arg, c);
        do_read(c); /* what came with the last flight is inside OpenSSL already */
        return;
    }
    int e = SSL_get_error(c->ssl, n);
    if (e == SSL_ERROR_WANT_WRITE)
        c->read_wants_write = true;
    else if (e == SSL_ERROR_SYSCALL && errno != 0)
        fail_errno(c);
    else if (e != SSL_ERROR_WANT_READ)
        fail_tls(c);
}

static void begin_handshake(struct conn *c) {
    c->tls_next = false;
    c->handshaking = true;
    do_handshake(c);
}

static void do_write(struct conn *c) {
    if (c->connecting)
        return;
    while (unsent(c) && !c->broken && !c->handshaking)
        if (!write_once(c))
            return;
    if (c->broken || c->handshaking)
        return;
    if (c->out.n)
        output_is_empty(c);
    if (c->tls_next && !c->broken && !unsent(c))
        begin_handshake(c);
    if (c->half && !unsent(c) && !c->closing)
        shutdown(c->fd, SHUT_WR);
    if (c->closing && !unsent(c))
        shut_our_end(c);
}

/* ---- calling ---- */

static void do_connect(struct conn *c) {
    int e = 0;
    socklen_t size = sizeof e;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &size) != 0)
        e = errno;
    c->connecting = false;
    if (e)
        fail(c, e == ETIMEDOUT ? ERR_TIMEOUT : ERR_IO, strerror(e));
    else if (c->ops->on_connected && !c->closing)
        c->ops->on_connected(c->arg, c);
}

/* ---- called by the loop ---- */

static void on_io(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    struct conn *c = arg;
    c->busy = true;
    if (c->connecting)
        do_connect(c);
    else if (c->handshaking)
        do_handshake(c);
    else if (c->closing && c->shut)
        drain_rest(c);
    else if ((what & EV_READ) || c->read_wants_write)
        do_read(c);
    if (!c->broken)
        do_write(c);
    c->busy = false;
    settle(c);
}

/* Writes what this turn's callbacks have said, and goes on with bytes that OpenSSL holds. */
static void on_turn(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    struct list now;
    loop.active = false;
    if (list_empty(&loop.dirty))
        return;
    now = loop.dirty; /* those marked from here on belong to the next turn */
    now.next->prev = &now;
    now.prev->next = &now;
    list_init(&loop.dirty);
    for (struct list *node; (node = list_first(&now));) {
        struct conn *c = LIST_ENTRY(node, struct conn, dirty);
        list_remove(node);
        c->busy = true;
        if (!c->broken && c->more && c->tls)
            do_read(c);
        if (!c->broken)
            do_write(c);
        c->busy = false;
        settle(c);
    }
}

static void set_timer(struct conn *c, uint64_t now, uint64_t at) {
    uint64_t ms = at > now ? at - now : 1;
    struct timeval t = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    c->timer_at = at;
    if (event_add(&c->timer, &t) != 0)
        fail(c, ERR_NOMEM, "no memory for a timer");
}

static void on_timer(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct conn *c = arg;
    uint64_t now = clock_mono_ms();
    c->timer_at = 0;
    if (c->deadline == 0)
        return;
    c->busy = true;
    if (now < c->deadline) {
        set_timer(c, now, c->deadline);
    } else if (c->closing) {
        fail(c, ERR_TIMEOUT, "");
    } else {
        c->deadline = 0;
        c->ops->on_deadline(c->arg, c);
        if (!c->broken)
            do_write(c);
    }
    c->busy = false;
    settle(c);
}

/* ---- what the header promises ---- */

static struct conn *open_as(struct event_base *base, int fd, const struct conn_ops *ops, void *arg, bool connecting) {
    struct conn *c = loop_use(base) ? malloc(sizeof *c) : NULL;
    if (!c) {
        close(fd);
        return NULL;
    }
    *c = (struct conn){.ops = ops, .arg = arg, .fd = fd, .out = {.limit = CONN_UNSENT_MAX}, .connecting = connecting};
    list_init(&c->dirty);
    evutil_make_socket_nonblocking(fd);
    c->mask = wanted(c);
    event_assign(&c->timer, base, -1, 0, on_timer, c);
    event_assign(&c->io, base, fd, (short)(c->mask | EV_PERSIST), on_io, c);
    if (event_add(&c->io, NULL) == 0)
        return c;
    close(fd);
    free(c);
    return NULL;
}

struct conn *conn_open(struct event_base *base, int fd, const struct conn_ops *ops, void *arg) {
    return open_as(base, fd, ops, arg, false);
}

struct any_address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un unix_;
    };
    socklen_t size;
};

static bool any_address(struct any_address *a, const char *text, uint16_t port) {
    static const char prefix[] = "unix:";
    memset(a, 0, sizeof *a);
    if (inet_pton(AF_INET, text, &a->v4.sin_addr) == 1) {
        a->v4.sin_family = AF_INET;
        a->v4.sin_port = htons(port);
        a->size = sizeof a->v4;
    } else if (inet_pton(AF_INET6, text, &a->v6.sin6_addr) == 1) {
        a->v6.sin6_family = AF_INET6;
        a->v6.sin6_port = htons(port);
        a->size = sizeof a->v6;
    } else if (strncmp(text, prefix, sizeof prefix - 1) == 0 && strlen(text) < sizeof a->unix_.sun_path) {
        a->unix_.sun_family = AF_UNIX;
        strncpy(a->unix_.sun_path, text + sizeof prefix - 1, sizeof a->unix_.sun_path - 1);
        a->size = sizeof a->unix_;
    }
    return a->size > 0;
}

static int call_socket(const struct any_address *to, const char *source) {
    struct any_address from;
    int one = 1;
    int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || to->any.sa_family == AF_UNIX)
        return fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (!source || !*source)
        return fd;
#ifdef IP_BIND_ADDRESS_NO_PORT
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one); /* the port is chosen with the whole pair */
#endif
    if (any_address(&from, source, 0) && bind(fd, &from.any, from.size) == 0)
        return fd;
    int e = errno;
    close(fd);
    errno = e ? e : EADDRNOTAVAIL;
    return -1;
}

struct conn *conn_connect(struct event_base *base, const char *address, uint16_t port, const char *source,
                          const struct conn_ops *ops, void *arg, struct why *w) {
    struct any_address to;
    if (!any_address(&to, address, port)) {
        (void)why(w, ERR_SYNTAX, "\"%s\" is no address", address);
        return NULL;
    }
    int fd = call_socket(&to, source);
    if (fd < 0) {
        (void)why(w, ERR_IO, source && *source ? "from %s: %s" : "%s%s", source ? source : "", strerror(errno));
        return NULL;
    }
    if (connect(fd, &to.any, to.size) != 0 && errno != EINPROGRESS) {
        (void)why(w, ERR_IO, "%s", strerror(errno));
        close(fd);
        return NULL;
    }
    struct conn *c = open_as(base, fd, ops, arg, true);
    if (!c)
        (void)why(w, ERR_NOMEM, "no memory");
    return c;
}

void conn_set_ops(struct conn *c, const struct conn_ops *ops, void *arg) {
    c->ops = ops;
    c->arg = arg;
}

void conn_write(struct conn *c, str bytes) {
    assert(!c->closing && !c->half);
    if (c->broken)
        return;
    if (c->sent && c->sent >= c->out.n / 2) {
        buf_drop(&c->out, c->sent);
        c->sent = 0;
    }
    buf_add(&c->out, bytes);
    if (c->out.full)
        fail(c, ERR_LIMIT, "the peer does not take our replies");
    if (conn_unsent(c) > CONN_UNSENT_HIGH)
        c->high = true;
    mark_dirty(c);
}

size_t conn_unsent(const struct conn *c) {
    return c->out.n - c->sent;
}

static bool prepare_tls(struct conn *c, SSL_CTX *context) {
    assert(!c->ssl && !c->closing);
    mark_dirty(c);
    c->ssl = SSL_new(context);
    c->tls_next = c->ssl && SSL_set_fd(c->ssl, c->fd) == 1;
    if (!c->tls_next)
        fail(c, ERR_NOMEM, "no memory for TLS");
    return c->tls_next;
}

void conn_start_tls(struct conn *c, struct ssl_ctx_st *context) {
    if (prepare_tls(c, context))
        SSL_set_accept_state(c->ssl);
}

void conn_call_tls(struct conn *c, struct ssl_ctx_st *context, const char *host, bool enforce) {
    if (!prepare_tls(c, context))
        return;
    SSL_set_verify(c->ssl, enforce ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    SSL_set_connect_state(c->ssl);
    if (tls_client_name(c->ssl, host, NULL) != OK && enforce)
        fail(c, ERR_TLS, "that name cannot be in a certificate");
}

void conn_pause(struct conn *c) {
    c->paused = true;
    if (!c->busy)
        mark_dirty(c);
}

void conn_resume(struct conn *c) {
    if (!c->paused)
        return;
    c->paused = false;
    c->more = true; /* whatever has come meanwhile */
    mark_dirty(c);
}

void conn_deadline(struct conn *c, uint64_t ms) {
    c->deadline = 0;
    if (ms == 0)
        return;
    uint64_t now = clock_mono_ms();
    c->deadline = now + ms;
    if (c->timer_at == 0 || c->timer_at > c->deadline)
        set_timer(c, now, c->deadline);
}

void conn_half_close(struct conn *c) {
    assert(!c->ssl && !c->closing);
    c->half = true;
    mark_dirty(c);
}

void conn_close(struct conn *c) {
    assert(!c->closing);
    c->closing = true;
    c->tls_next = false;
    if (c->handshaking || c->connecting)
        fail(c, ERR_CLOSED, "");
    conn_deadline(c, CONN_LINGER_MS);
    mark_dirty(c);
}

void conn_abort(struct conn *c) {
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    c->closing = true;
    fail(c, ERR_CLOSED, "");
    mark_dirty(c);
}

bool conn_is_tls(const struct conn *c) {
    return c->tls;
}

struct ssl_st *conn_ssl(const struct conn *c) {
    return c->ssl;
}

const char *conn_tls_verdict(const struct conn *c) {
    long verdict = c->ssl ? SSL_get_verify_result(c->ssl) : X509_V_OK;
    return verdict == X509_V_OK ? "" : X509_verify_cert_error_string(verdict);
}

int conn_fd(const struct conn *c) {
    return c->fd;
}

const char *conn_tls_version(const struct conn *c) {
    return c->tls ? SSL_get_version(c->ssl) : "";
}

const char *conn_tls_cipher(const struct conn *c) {
    return c->tls ? SSL_get_cipher_name(c->ssl) : "";
}

const char *conn_tls_name(const struct conn *c) {
    const char *name = c->tls ? SSL_get_servername(c->ssl, TLSEXT_NAMETYPE_host_name) : NULL;
    return name ? name : "";
}

/* ---- addresses ---- */

static void address_text(const struct sockaddr_storage *s, struct conn_address *a) {
    memset(a, 0, sizeof *a);
    if (s->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)s;
        inet_ntop(AF_INET, &v4->sin_addr, a->text, sizeof a->text);
        a->port = ntohs(v4->sin_port);
    } else if (s->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)s;
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
            inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, a->text, sizeof a->text);
        else
            inet_ntop(AF_INET6, &v6->sin6_addr, a->text, sizeof a->text);
        a->port = ntohs(v6->sin6_port);
    } else {
        memcpy(a->text, "unix", sizeof "unix");
    }
}

void conn_peer_address(int fd, struct conn_address *a) {
    struct sockaddr_storage s = {0};
    socklen_t n = sizeof s;
    getpeername(fd, (struct sockaddr *)&s, &n);
    address_text(&s, a);
}

void conn_local_address(int fd, struct conn_address *a) {
    struct sockaddr_storage s = {0};
    socklen_t n = sizeof s;
    getsockname(fd, (struct sockaddr *)&s, &n);
    address_text(&s, a);
}

/* ---- listening ---- */

struct acceptor {
    struct event *io, *timer;
    int fd;
    void (*on_accept)(void *arg, int fd);
    void *arg;
    bool paused, starved; /* by our side; for want of descriptors */
    bool busy, closed;
};

static void acceptor_free(struct acceptor *a) {
    event_free(a->io);
    event_free(a->timer);
    close(a->fd);
    free(a);
}

static void starve(struct acceptor *a) {
    static const struct timeval pause = {.tv_usec = ACCEPT_PAUSE_MS * 1000};
    log_event(EV_ACCEPT_PAUSED, LOG_STR("why", str_of(strerror(errno))), LOG_END);
    a->starved = true;
    event_del(a->io);
    event_add(a->timer, &pause);
}

static void on_acceptable(evutil_socket_t listener, short what, void *arg) {
    (void)listener, (void)what;
    struct acceptor *a = arg;
    a->busy = true;
    for (int i = 0; i < ACCEPTS_PER_TURN && !a->paused && !a->closed; i++) {
        int one = 1;
        int fd = accept4(a->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
            starve(a);
            break;
        }
        if (fd < 0 && errno == EAGAIN)
            break;
        if (fd < 0)
            continue; /* that client is gone already (accept(2), "Error handling") */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* of no use, and no harm, on a unix socket */
        a->on_accept(a->arg, fd);
    }
    a->busy = false;
    if (a->closed)
        acceptor_free(a);
}

static void on_fed(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct acceptor *a = arg;
    a->starved = false;
    if (!a->paused)
        event_add(a->io, NULL);
}

struct acceptor *acceptor_open(struct event_base *base, int fd, void (*on_accept)(void *arg, int fd), void *arg) {
    struct acceptor *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    *a = (struct acceptor){.fd = fd, .on_accept = on_accept, .arg = arg};
    evutil_make_socket_nonblocking(fd);
    a->io = event_new(base, fd, EV_READ | EV_PERSIST, on_acceptable, a);
    a->timer = event_new(base, -1, 0, on_fed, a);
    if (a->io && a->timer && event_add(a->io, NULL) == 0)
        return a;
    if (a->io)
        event_free(a->io);
    if (a->timer)
        event_free(a->timer);
    free(a);
    return NULL;
}

void acceptor_pause(struct acceptor *a) {
    a->paused = true;
    event_del(a->io);
}

void acceptor_resume(struct acceptor *a) {
    a->paused = false;
    if (!a->starved)
        event_add(a->io, NULL);
}

void acceptor_close(struct acceptor *a) {
    a->closed = true;
    if (!a->busy)
        acceptor_free(a);
}
