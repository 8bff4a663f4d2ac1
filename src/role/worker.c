#include "role/worker.h"

#include <event2/event.h>
#include <sysexits.h>
#include <unistd.h>

#include "sys/link.h"
#include "sys/log.h"

enum { FLUSH_MS = 2000 };

static struct {
    const struct worker_ops *ops;
    struct link *store, *resolver;
    struct ssl_ctx_st *tls;
    struct event *second, *leave;
    bool draining;
} worker;

void worker_look(void) {
    if (worker.draining && worker.ops->empty())
        event_active(worker.leave, EV_TIMEOUT, 0);
}

static void on_leave(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    if (!worker.ops->empty())
        return;
    if (worker.store && link_flush(worker.store, FLUSH_MS) != OK)
        log_event(EV_LINK_DROPPED, LOG_STR("peer", S("store")), LOG_END);
    role_exit(EX_OK);
}

static void on_second(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    worker.ops->tick();
    worker_look();
}

/* ---- links ---- */

void worker_to_store(const struct frame *f) {
    if (worker.store)
        link_send(worker.store, f);
}

bool worker_to_resolver(const struct frame *f) {
    if (worker.resolver)
        link_send(worker.resolver, f);
    return worker.resolver != NULL;
}

static void on_store_frame(void *arg, struct link *l, const struct frame *f, int fd) {
    (void)arg, (void)l;
    if (fd >= 0)
        close(fd);
    worker.ops->store(f);
}

static void on_store_batch(void *arg, struct link *l) {
    (void)arg, (void)l;
    worker_look();
}

static void on_store_close(void *arg, struct link *l) {
    (void)arg;
    if (l != worker.store)
        return;
    worker.store = NULL;
    worker.ops->store_down();
    worker_look();
}

static void on_resolver_frame(void *arg, struct link *l, const struct frame *f, int fd) {
    (void)arg, (void)l;
    if (fd >= 0)
        close(fd);
    worker.ops->resolver(f);
}

static void on_resolver_close(void *arg, struct link *l) {
    (void)arg;
    if (l != worker.resolver)
        return;
    worker.resolver = NULL;
    worker.ops->resolver_down();
}

static const struct link_ops store_ops = {
    .on_frame = on_store_frame, .on_close = on_store_close, .on_batch = on_store_batch};
static const struct link_ops resolver_ops = {.on_frame = on_resolver_frame, .on_close = on_resolver_close};

/* A new process behind the link: what the old one was asked is answered by nobody. */
static void use(struct link **mine, int fd, enum frame_direction from, const struct link_ops *ops, void (*down)(void)) {
    struct link *old = *mine;
    *mine = NULL;
    if (old) {
        down();
        link_close(old);
    }
    *mine = link_open(role_base(), fd, from, ops, NULL);
    if (!*mine)
        close(fd);
}

void worker_peer(enum role peer, uint32_t instance, int fd) {
    (void)instance;
    if (peer == ROLE_STORE)
        use(&worker.store, fd, FRAME_STORE_TO_WORKER, &store_ops, worker.ops->store_down);
    else if (peer == ROLE_RESOLVER)
        use(&worker.resolver, fd, FRAME_FROM_RESOLVER, &resolver_ops, worker.ops->resolver_down);
    else
        close(fd);
}

/* ---- the role ---- */

void worker_init(const struct worker_ops *ops) {
    worker.ops = ops;
}

enum err worker_start(struct why *w) {
    static const struct timeval second = {.tv_sec = 1};
    worker.tls = tls_client_context(false, NULL, w);
    if (!worker.tls)
        return ERR_TLS;
    if (!tls_load_authorities(worker.tls))
        log_event(EV_DELIVERY_TLS_FAILED, LOG_STR("text", S("no certificate authorities: no server can be verified")),
                  LOG_END);
    worker.second = event_new(role_base(), -1, EV_PERSIST, on_second, NULL);
    worker.leave = evtimer_new(role_base(), on_leave, NULL);
    if (worker.second && worker.leave && event_add(worker.second, &second) == 0)
        return OK;
    return why(w, ERR_NOMEM, "no memory");
}

struct ssl_ctx_st *worker_tls(void) {
    return worker.tls;
}

static void drain(bool stop) {
    worker.draining = true;
    worker.ops->drain(stop);
    worker_look();
}

void worker_drain(void) {
    drain(false);
}

void worker_stop(void) {
    drain(true);
}
