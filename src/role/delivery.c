/* delivery.c - the host of delivery_core.h: connections to other servers, TLS, deadlines, commands' sockets and the
 * links to store and resolver. */
#include "role/delivery_core.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "sys/conn.h"
#include "sys/log.h"
#include "sys/role.h"
#include "sys/tls.h"

enum { FLUSH_MS = 2000 };

static struct {
    struct delivery_core core;
    struct link *store, *resolver;
    SSL_CTX *tls;
    struct event *second, *leave;
    bool draining;
} host;

/* Before anything is handed to the core. */
static struct delivery_core *core_now(void) {
    host.core.now_ms = clock_mono_ms();
    host.core.wall_us = clock_wall_us();
    return &host.core;
}

static void leave_when_empty(void) {
    if (host.draining && delivery_core_empty(&host.core))
        event_active(host.leave, EV_TIMEOUT, 0);
}

/* ---- connections ---- */

static void on_connected(void *arg, struct conn *conn) {
    struct conn_address local;
    core_now();
    conn_local_address(conn_fd(conn), &local);
    delivery_call_connected(arg, str_of(local.text));
}

static void on_read(void *arg, struct conn *conn, str bytes) {
    (void)conn;
    core_now();
    delivery_call_input(arg, bytes);
}

static void on_end(void *arg, struct conn *conn) {
    (void)conn;
    core_now();
    delivery_call_closed(arg);
}

static void on_tls(void *arg, struct conn *conn) {
    uint8_t binding[TLS_BINDING_SIZE];
    core_now();
    bool bound = tls_binding(conn_ssl(conn), binding);
    delivery_call_secured(arg, str_of(conn_tls_version(conn)), str_of(conn_tls_cipher(conn)),
                          str_of(conn_tls_verdict(conn)), bound ? binding : NULL);
}

static void on_drained(void *arg, struct conn *conn) {
    (void)conn;
    core_now();
    delivery_call_drained(arg);
}

static void on_deadline(void *arg, struct conn *conn) {
    (void)conn;
    core_now();
    delivery_call_expire(arg);
}

static void on_close(void *arg, struct conn *conn, enum err e, const char *reason) {
    (void)conn;
    core_now();
    delivery_call_lost(arg, e, reason);
    leave_when_empty();
}

static const struct conn_ops conn_ops = {.on_read = on_read,
                                         .on_end = on_end,
                                         .on_tls = on_tls,
                                         .on_drained = on_drained,
                                         .on_deadline = on_deadline,
                                         .on_close = on_close,
                                         .on_connected = on_connected};

static bool call_connect(struct delivery_call *c, struct why *w) {
    c->host_data = conn_connect(role_base(), c->address, c->port, c->source, &conn_ops, c, w);
    return c->host_data != NULL;
}

static void call_write(struct delivery_call *c, str bytes) {
    conn_write(c->host_data, bytes);
}

static size_t call_unsent(struct delivery_call *c) {
    return conn_unsent(c->host_data);
}

static void call_tls(struct delivery_call *c, bool enforce) {
    bool literal = c->host[0] == '['; /* a certificate has the address itself */
    conn_call_tls(c->host_data, host.tls, literal ? c->address : c->host, enforce);
}

static void call_deadline(struct delivery_call *c, uint64_t ms) {
    conn_deadline(c->host_data, ms);
}

static void call_close(struct delivery_call *c) {
    conn_close(c->host_data);
    c->host_data = NULL;
    leave_when_empty();
}

/* ---- commands ---- */

static void pipe_read(void *arg, struct conn *conn, str bytes) {
    (void)conn;
    core_now();
    delivery_pipe_said(arg, bytes);
}

/* It prints no more; it may still read. */
static void pipe_end_of_words(void *arg, struct conn *conn) {
    (void)conn;
    core_now();
    delivery_pipe_silent(arg);
}

static void pipe_on_drained(void *arg, struct conn *conn) {
    (void)conn;
    core_now();
    delivery_pipe_drained(arg);
}

static void pipe_on_close(void *arg, struct conn *conn, enum err e, const char *reason) {
    (void)conn, (void)e, (void)reason;
    core_now();
    delivery_pipe_lost(arg);
}

static const struct conn_ops pipe_ops = {
    .on_read = pipe_read, .on_end = pipe_end_of_words, .on_drained = pipe_on_drained, .on_close = pipe_on_close};

static void pipe_write(struct delivery_pipe *p, str bytes) {
    conn_write(p->host_data, bytes);
}

static size_t pipe_unsent(struct delivery_pipe *p) {
    return conn_unsent(p->host_data);
}

static void pipe_end(struct delivery_pipe *p) {
    conn_half_close(p->host_data);
}

static void pipe_close(struct delivery_pipe *p) {
    conn_abort(p->host_data);
    p->host_data = NULL;
}

static void on_supervisor(const struct frame *f, int fd) {
    struct delivery_pipe *started = NULL;
    delivery_core_supervisor(core_now(), f, &started);
    if (!started) {
        if (fd >= 0)
            close(fd);
        leave_when_empty();
        return;
    }
    started->host_data = conn_open(role_base(), fd, &pipe_ops, started);
    started->closed = started->silent = started->host_data == NULL;
    delivery_pipe_feed(started->job);
}

/* ---- links ---- */

static void to_store(const struct frame *f) {
    if (host.store)
        link_send(host.store, f);
}

static bool to_resolver(const struct frame *f) {
    if (host.resolver)
        link_send(host.resolver, f);
    return host.resolver != NULL;
}

static void log_job(enum event_id e, str id, str where, str text) {
    log_event(e, LOG_STR("id", id), LOG_STR("host", where), LOG_STR("text", text), LOG_END);
}

static const struct delivery_ops core_ops = {
    .to_store = to_store,
    .to_resolver = to_resolver,
    .to_supervisor = role_send,
    .random = random_bytes,
    .connect = call_connect,
    .write = call_write,
    .unsent = call_unsent,
    .tls = call_tls,
    .deadline = call_deadline,
    .close = call_close,
    .pipe_write = pipe_write,
    .pipe_unsent = pipe_unsent,
    .pipe_end = pipe_end,
    .pipe_close = pipe_close,
    .log = log_job,
};

static void on_store_frame(void *arg, struct link *l, const struct frame *f, int fd) {
    (void)arg, (void)l;
    if (fd >= 0)
        close(fd);
    delivery_core_store(core_now(), f);
}

static void on_store_batch(void *arg, struct link *l) {
    (void)arg, (void)l;
    leave_when_empty();
}

static void on_store_close(void *arg, struct link *l) {
    (void)arg;
    if (l != host.store)
        return;
    host.store = NULL;
    delivery_core_store_down(core_now());
    leave_when_empty();
}

static void on_resolver_frame(void *arg, struct link *l, const struct frame *f, int fd) {
    (void)arg, (void)l;
    if (fd >= 0)
        close(fd);
    delivery_core_resolver(core_now(), f);
}

static void on_resolver_close(void *arg, struct link *l) {
    (void)arg;
    if (l != host.resolver)
        return;
    host.resolver = NULL;
    delivery_core_resolver_down(core_now());
}

static const struct link_ops store_ops = {
    .on_frame = on_store_frame, .on_close = on_store_close, .on_batch = on_store_batch};
static const struct link_ops resolver_ops = {.on_frame = on_resolver_frame, .on_close = on_resolver_close};

static void use_store(int fd) {
    struct link *old = host.store;
    host.store = NULL;
    if (old) {
        delivery_core_store_down(core_now());
        link_close(old);
    }
    host.store = link_open(role_base(), fd, FRAME_STORE_TO_WORKER, &store_ops, NULL);
    if (!host.store)
        close(fd);
}

static void use_resolver(int fd) {
    struct link *old = host.resolver;
    host.resolver = NULL;
    if (old) {
        delivery_core_resolver_down(core_now());
        link_close(old);
    }
    host.resolver = link_open(role_base(), fd, FRAME_FROM_RESOLVER, &resolver_ops, NULL);
    if (!host.resolver)
        close(fd);
}

static void on_peer(enum role peer, uint32_t instance, int fd) {
    (void)instance;
    if (peer == ROLE_STORE)
        use_store(fd);
    else if (peer == ROLE_RESOLVER)
        use_resolver(fd);
    else
        close(fd);
}

/* ---- the role ---- */

static void on_second(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    delivery_core_tick(core_now());
    leave_when_empty();
}

static void on_leave(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    if (!delivery_core_empty(&host.core))
        return;
    if (host.store && link_flush(host.store, FLUSH_MS) != OK)
        log_event(EV_LINK_DROPPED, LOG_STR("peer", S("store")), LOG_END);
    role_exit(EX_OK);
}

static void on_secret(str name, str bytes) {
    delivery_core_secret(&host.core, name, bytes);
}

/* Before the sandbox closes, which asks the system nothing of its interfaces. */
static void tell_interfaces(void) {
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) != 0) {
        log_event(EV_DELIVERY_NO_INTERFACES, LOG_STR("text", str_of(strerror(errno))), LOG_END);
        return;
    }
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        char text[INET6_ADDRSTRLEN];
        int family = i->ifa_addr ? i->ifa_addr->sa_family : AF_UNSPEC;
        const void *address = family == AF_INET    ? (const void *)&((const struct sockaddr_in *)i->ifa_addr)->sin_addr
                              : family == AF_INET6 ? &((const struct sockaddr_in6 *)i->ifa_addr)->sin6_addr
                                                   : NULL;
        if (address && inet_ntop(family, address, text, sizeof text))
            delivery_core_interface(&host.core, str_of(text));
    }
    freeifaddrs(all);
}

static enum err prepare(struct why *w) {
    static const struct timeval second = {.tv_sec = 1};
    host.tls = tls_client_context(false, NULL, w);
    if (!host.tls)
        return ERR_TLS;
    if (!tls_load_authorities(host.tls))
        log_event(EV_DELIVERY_TLS_FAILED, LOG_STR("text", S("no certificate authorities: no server can be verified")),
                  LOG_END);
    host.second = event_new(role_base(), -1, EV_PERSIST, on_second, NULL);
    host.leave = evtimer_new(role_base(), on_leave, NULL);
    if (host.second && host.leave && event_add(host.second, &second) == 0)
        return OK;
    return why(w, ERR_NOMEM, "no memory");
}

static enum err configure(const struct conf *c, bool first, struct why *w) {
    if (first && gethostname(host.core.hostname, sizeof host.core.hostname - 1) != 0)
        memcpy(host.core.hostname, "localhost", sizeof "localhost");
    if (first)
        tell_interfaces();
    delivery_core_configure(core_now(), c);
    return first ? prepare(w) : OK;
}

static void drain(void) {
    host.draining = true;
    delivery_core_drain(core_now(), false);
    leave_when_empty();
}

/* A message that is out already gets its answer; the supervisor bounds the wait. */
static void stop(void) {
    host.draining = true;
    delivery_core_drain(core_now(), true);
    leave_when_empty();
}

static const struct role_ops delivery_role = {
    .role = ROLE_DELIVERY,
    .secret = on_secret,
    .peer = on_peer,
    .configure = configure,
    .drain = drain,
    .stop = stop,
    .other = on_supervisor,
};

int main(void) {
    delivery_core_init(&host.core, &core_ops);
    return role_main(&delivery_role);
}
