/* keyd - the only role that sees passwords beside what is kept of them: the host of keyd_core.  Hashing is done by two
 * threads with a short queue: who floods it makes logins wait or fail, and nothing else. */
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/list.h"
#include "role/keyd_core.h"
#include "sys/log.h"
#include "sys/role.h"

enum { THREADS = 2, QUEUE_MAX = 64, STACK_SIZE = 256 * 1024 };

struct peer {
    struct list node;
    struct link *link;
    struct keyd_peer *core; /* NULL: the store */
};

static struct {
    struct keyd_core *core;
    struct list peers;
    struct peer *store;
    struct event *done_event, *leave;
    bool draining;

    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct keyd_work *first, *last; /* under the lock, as are waiting and done */
    size_t waiting;
    struct keyd_work *done;
    int done_fd;
} host = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .done_fd = -1};

/* ---- the threads ---- */

static struct keyd_work *take_work(void) {
    pthread_mutex_lock(&host.lock);
    while (!host.first)
        pthread_cond_wait(&host.wake, &host.lock);
    struct keyd_work *w = host.first;
    host.first = w->next;
    host.waiting--;
    pthread_mutex_unlock(&host.lock);
    return w;
}

static void give_back(struct keyd_work *w) {
    pthread_mutex_lock(&host.lock);
    w->next = host.done;
    host.done = w;
    pthread_mutex_unlock(&host.lock);
    ssize_t n = write(host.done_fd, &(uint64_t){1}, sizeof(uint64_t));
    (void)n; /* a counter that is full wakes the loop as well */
}

static void *hash_on(void *arg) {
    (void)arg;
    for (;;) {
        struct keyd_work *w = take_work();
        keyd_work_run(w);
        give_back(w);
    }
    return NULL;
}

static enum err start_threads(struct why *w) {
    pthread_attr_t a;
    pthread_t t;
    sigset_t all, before;
    int code = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the loop's */
    pthread_attr_init(&a);
    pthread_attr_setstacksize(&a, STACK_SIZE);
    pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
    for (int i = 0; !code && i < THREADS; i++)
        code = pthread_create(&t, &a, hash_on, NULL);
    pthread_attr_destroy(&a);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code ? why(w, ERR_NOMEM, "a thread could not be started: %s", strerror(code)) : OK;
}

/* ---- what the core wants ---- */

static void core_send(void *peer, const struct frame *f) {
    link_send(((struct peer *)peer)->link, f);
}

static bool core_ask(void *arg, const struct frame *f) {
    (void)arg;
    if (host.store)
        link_send(host.store->link, f);
    return host.store != NULL;
}

static bool core_work(void *arg, struct keyd_work *w) {
    (void)arg;
    pthread_mutex_lock(&host.lock);
    bool room = host.waiting < QUEUE_MAX;
    if (room) {
        w->next = NULL;
        if (host.first)
            host.last->next = w;
        else
            host.first = w;
        host.last = w;
        host.waiting++;
        pthread_cond_signal(&host.wake);
    }
    pthread_mutex_unlock(&host.lock);
    return room;
}

static uint64_t core_now(void *arg) {
    (void)arg;
    return clock_mono_ms();
}

static void core_log(enum event_id e, str client, str account) {
    log_event(e, LOG_STR("client", client), LOG_STR("account", account), LOG_END);
}

/* ---- peers ---- */

static void look_whether_done(void) {
    if (host.draining && keyd_core_open(host.core) == 0)
        event_active(host.leave, EV_TIMEOUT, 0);
}

static void peer_free(struct peer *p) {
    if (p->core)
        keyd_core_unpeer(p->core);
    if (host.store == p) {
        host.store = NULL;
        keyd_core_store_gone(host.core);
    }
    list_remove(&p->node);
    free(p);
    look_whether_done();
}

static void on_done(evutil_socket_t fd, short what, void *arg) {
    uint64_t count;
    (void)what, (void)arg;
    ssize_t n = read(fd, &count, sizeof(count));
    (void)n;
    pthread_mutex_lock(&host.lock);
    struct keyd_work *done = host.done;
    host.done = NULL;
    pthread_mutex_unlock(&host.lock);
    while (done) {
        struct keyd_work *w = done;
        done = w->next;
        keyd_core_worked(host.core, w);
    }
    look_whether_done();
}

static void on_frame(void *arg, struct link *l, const struct frame *f, int fd) {
    struct peer *p = arg;
    if (fd >= 0)
        close(fd);
    bool good = true;
    if (p->core)
        good = keyd_core_frame(p->core, f);
    else if (f->type == FRAME_CREDENTIAL)
        keyd_core_credential(host.core, &f->credential);
    if (!good) {
        log_event(EV_LINK_DROPPED, LOG_STR("frame", str_of(frame_name(f->type))), LOG_END);
        peer_free(p);
        link_close(l);
        return;
    }
    look_whether_done();
}

static void on_close(void *arg, struct link *l) {
    (void)l;
    peer_free(arg);
}

static void make_core(void) {
    static const struct keyd_ops ops = {.send = core_send,
                                        .ask = core_ask,
                                        .work = core_work,
                                        .random = random_bytes,
                                        .now_ms = core_now,
                                        .log = core_log};
    uint8_t secret[32];
    if (host.core)
        return;
    host.core = keyd_core_new(&ops, NULL);
    if (!host.core)
        role_fatal(ERR_NOMEM, "no memory");
    random_bytes(secret, sizeof(secret)); /* until the one that outlives this process comes */
    keyd_core_secret(host.core, str_n(secret, sizeof(secret)));
    explicit_bzero(secret, sizeof(secret));
}

static void on_peer(enum role role, uint32_t instance, int fd) {
    static const struct link_ops ops = {.on_frame = on_frame, .on_close = on_close};
    (void)instance;
    make_core();
    struct peer *p = calloc(1, sizeof(*p));
    if (!p) {
        close(fd);
        return;
    }
    list_add_tail(&host.peers, &p->node);
    bool is_store = role == ROLE_STORE;
    p->link = link_open(role_base(), fd, is_store ? FRAME_STORE_TO_KEYD : FRAME_TO_KEYD, &ops, p);
    p->core = p->link && !is_store ? keyd_core_peer(host.core, p) : NULL;
    if (p->link && is_store) {
        if (host.store) /* it is about to close: what was asked there is not answered any more */
            keyd_core_store_gone(host.core);
        host.store = p;
    }
    if (p->link && (is_store || p->core))
        return;
    if (p->link)
        link_close(p->link);
    else
        close(fd);
    peer_free(p);
}

static void on_secret(str name, str bytes) {
    make_core();
    if (str_eq(name, S("keyd")))
        keyd_core_secret(host.core, bytes);
}

/* ---- beginning and end ---- */

static void on_leave(evutil_socket_t fd, short what, void *arg) {
    enum { LAST_WORDS_MS = 1000 };
    (void)fd, (void)what, (void)arg;
    LIST_EACH(&host.peers, node)
    if (link_flush(LIST_ENTRY(node, struct peer, node)->link, LAST_WORDS_MS) != OK)
        log_event(EV_LINK_DROPPED, LOG_STR("fault", S("it does not read its last answers")), LOG_END);
    role_exit(EX_OK);
}

static enum err configure(const struct conf *c, bool first, struct why *w) {
    make_core();
    keyd_core_failures_max(host.core, c->auth_failures_max);
    if (!first)
        return OK;
    host.done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (host.done_fd < 0)
        return why(w, ERR_IO, "eventfd: %s", strerror(errno));
    host.done_event = event_new(role_base(), host.done_fd, EV_READ | EV_PERSIST, on_done, NULL);
    host.leave = evtimer_new(role_base(), on_leave, NULL);
    if (!host.done_event || !host.leave || event_add(host.done_event, NULL) < 0)
        return why(w, ERR_NOMEM, "no memory for events");
    return start_threads(w);
}

static void drain(void) {
    host.draining = true;
    look_whether_done();
}

static void stop(void) {
    role_exit(EX_OK);
}

static const struct role_ops keyd_role = {
    .role = ROLE_KEYD, .secret = on_secret, .peer = on_peer, .configure = configure, .drain = drain, .stop = stop};

int main(void) {
    list_init(&host.peers);
    return role_main(&keyd_role);
}
