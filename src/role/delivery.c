/* delivery.c - the host of delivery_core.h: connections to other servers, TLS, deadlines and commands' sockets. */
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
#include <unistd.h>

#include "role/worker.h"
#include "sys/conn.h"
#include "sys/log.h"
#include "sys/role.h"

static struct delivery_core delivery;

/* Before anything is handed to the core. */
static struct delivery_core *core_now(void) {
    delivery.now_ms = clock_mono_ms();
    delivery.wall_us = clock_wall_us();
    return &delivery;
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
    worker_look();
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
    conn_call_tls(c->host_data, worker_tls(), literal ? c->address : c->host, enforce);
}

static void call_deadline(struct delivery_call *c, uint64_t ms) {
    conn_deadline(c->host_data, ms);
}

static void call_close(struct delivery_call *c) {
    conn_close(c->host_data);
    c->host_data = NULL;
    worker_look();
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
        worker_look();
        return;
    }
    started->host_data = conn_open(role_base(), fd, &pipe_ops, started);
    started->closed = started->silent = started->host_data == NULL;
    delivery_pipe_feed(started->job);
}

/* ---- what the core asks, and is told ---- */

static void log_job(enum event_id e, str id, str where, str text) {
    log_event(e, LOG_STR("id", id), LOG_STR("host", where), LOG_STR("text", text), LOG_END);
}

static const struct delivery_ops core_ops = {
    .to_store = worker_to_store,
    .to_resolver = worker_to_resolver,
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

static void on_store(const struct frame *f) {
    delivery_core_store(core_now(), f);
}

static void on_store_down(void) {
    delivery_core_store_down(core_now());
}

static void on_resolver(const struct frame *f) {
    delivery_core_resolver(core_now(), f);
}

static void on_resolver_down(void) {
    delivery_core_resolver_down(core_now());
}

static void on_tick(void) {
    delivery_core_tick(core_now());
}

static void on_drain(bool stop) {
    delivery_core_drain(core_now(), stop);
}

static bool is_empty(void) {
    return delivery_core_empty(&delivery);
}

static const struct worker_ops worker_ops = {.store = on_store,
                                             .store_down = on_store_down,
                                             .resolver = on_resolver,
                                             .resolver_down = on_resolver_down,
                                             .tick = on_tick,
                                             .drain = on_drain,
                                             .empty = is_empty};

/* ---- the role ---- */

static void on_secret(str name, str bytes) {
    delivery_core_secret(&delivery, name, bytes);
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
            delivery_core_interface(&delivery, str_of(text));
    }
    freeifaddrs(all);
}

static enum err configure(const struct conf *c, bool first, struct why *w) {
    if (first && gethostname(delivery.hostname, sizeof delivery.hostname - 1) != 0)
        memcpy(delivery.hostname, "localhost", sizeof "localhost");
    if (first)
        tell_interfaces();
    delivery_core_configure(core_now(), c);
    return first ? worker_start(w) : OK;
}

static const struct role_ops delivery_role = {
    .role = ROLE_DELIVERY,
    .secret = on_secret,
    .peer = worker_peer,
    .configure = configure,
    .drain = worker_drain,
    .stop = worker_stop,
    .other = on_supervisor,
};

int main(void) {
    worker_init(&worker_ops);
    delivery_core_init(&delivery, &core_ops);
    return role_main(&delivery_role);
}
