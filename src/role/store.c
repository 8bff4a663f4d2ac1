/* The store role: links of the others, a timer, and store/store.h under role/store_core.h. */
#include "role/store_core.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sys/log.h"
#include "sys/role.h"

enum { MOMENT_MS = 25, PEERS_EARLY = 1024, GOODBYE_MS = 1000 };

struct peer {
    struct list node;
    struct link *link;
    struct core_link *core;
};

static struct {
    struct store_core *core;
    struct store *store;
    char data[4096];
    struct list peers;
    struct store_queue *queue;
    struct store_directory *directory;
    struct event *commit, *news, *second, *moment, *run, *deadline;
    struct {
        enum role role;
        int fd;
    } early[PEERS_EARLY]; /* peers that came before the store was open */
    size_t early_count;
} host;

/* ---- what waits ---- */

static void look_for_moment(void) {
    const struct timeval soon = {0, MOMENT_MS * 1000};
    if (store_impatient(host.store) && !evtimer_pending(host.moment, NULL))
        evtimer_add(host.moment, &soon);
}

static void on_commit(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    store_commit(host.store);
    look_for_moment();
}

static void on_news(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    store_news(host.store);
    look_for_moment();
}

static void on_moment(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    store_moment(host.store);
    look_for_moment();
}

static void on_second(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    store_second(host.store);
    look_for_moment();
}

/* Behind everything that is active in this turn of the loop, as the commit is. */
static void core_run_soon(void *arg) {
    (void)arg;
    if (host.run)
        event_active(host.run, EV_TIMEOUT, 0);
}

static void on_run(evutil_socket_t fd, short what, void *arg) {
    enum { LONGEST_MS = 3600000 };
    (void)fd, (void)what, (void)arg;
    store_queue_run(host.queue);
    uint64_t now = clock_wall_us() / 1000, at = store_queue_deadline(host.queue);
    uint64_t wait = at <= now ? 1 : at - now < LONGEST_MS ? at - now : LONGEST_MS;
    struct timeval t = {(time_t)(wait / 1000), (suseconds_t)(wait % 1000 * 1000)};
    evtimer_add(host.deadline, &t);
}

/* Behind everything that is active in this turn of the loop: so all of it shares one sync. */
static void core_soon(void *arg) {
    (void)arg;
    if (host.commit)
        event_active(host.commit, EV_TIMEOUT, 0);
}

/* ---- links ---- */

static void core_send(void *peer, const struct frame *f) {
    link_send(((struct peer *)peer)->link, f);
}

static size_t core_queued(void *peer) {
    return link_queued(((struct peer *)peer)->link);
}

static void core_pause(void *peer, bool on) {
    if (on)
        link_pause(((struct peer *)peer)->link);
    else
        link_resume(((struct peer *)peer)->link);
}

static void peer_free(struct peer *p) {
    if (p->core)
        store_core_unlink(p->core);
    list_remove(&p->node);
    free(p);
}

static void on_frame(void *arg, struct link *l, const struct frame *f, int fd) {
    struct peer *p = arg;
    (void)fd;
    if (store_core_frame(p->core, f)) {
        look_for_moment();
        return;
    }
    log_event(EV_LINK_DROPPED, LOG_STR("frame", str_of(frame_name(f->type))), LOG_END);
    peer_free(p);
    link_close(l);
}

static void on_close(void *arg, struct link *l) {
    (void)l;
    peer_free(arg);
}

static void on_drained(void *arg, struct link *l) {
    (void)l;
    store_core_drained(((struct peer *)arg)->core);
}

static enum frame_direction incoming_of(enum role role) {
    switch ((int)role) {
    case ROLE_SMTPD: return FRAME_SMTPD_TO_STORE | FRAME_WORKER_TO_STORE;
    case ROLE_DELIVERY:
    case ROLE_FILTER: return FRAME_WORKER_TO_STORE;
    case ROLE_KEYD: return FRAME_KEYD_TO_STORE;
    default: return FRAME_READER_TO_STORE;
    }
}

static void open_peer(enum role role, int fd) {
    static const struct link_ops ops = {.on_frame = on_frame, .on_close = on_close, .on_drained = on_drained};
    bool brings_mail = role == ROLE_SMTPD;
    struct peer *p = calloc(1, sizeof(*p));
    if (!p) {
        close(fd);
        return;
    }
    list_add_tail(&host.peers, &p->node);
    p->link = link_open(role_base(), fd, incoming_of(role), &ops, p);
    p->core = p->link ? store_core_link(host.core, p, brings_mail) : NULL;
    bool works = incoming_of(role) & FRAME_WORKER_TO_STORE;
    if (p->core && (!works || store_core_worker(p->core, role)))
        return;
    if (p->link)
        link_close(p->link);
    else
        close(fd);
    peer_free(p);
}

static void on_peer(enum role role, uint32_t instance, int fd) {
    (void)instance;
    if (host.store)
        open_peer(role, fd);
    else if (host.early_count < PEERS_EARLY) {
        host.early[host.early_count].role = role;
        host.early[host.early_count++].fd = fd;
    } else
        close(fd);
}

/* ---- beginning and end ---- */

static struct store_options options_of(const struct conf *c) {
    struct store_options o = {.data = host.data,
                              .disk = disk_system(),
                              .segment_size = c->journal_segment_size,
                              .big_min = c->body_big_min,
                              .memory_budget = c->memory_budget,
                              .lag_max = c->lag_max,
                              .retain_count = c->retain_count,
                              .retain_age_ms = c->retain_age,
                              .retain_bytes = c->retain_bytes,
                              .retain_sessions = c->retain_sessions,
                              .history_age_ms = c->history_age,
                              .history_count = c->history_count,
                              .message_max = c->smtp_message_max,
                              .disk_reserve = c->disk_reserve};
    random_bytes(&o.random_seed, sizeof(o.random_seed));
    return o;
}

static enum err start_events(struct why *w) {
    static const struct timeval second = {1, 0};
    struct event_base *base = role_base();
    host.commit = event_new(base, -1, 0, on_commit, NULL);
    host.news = event_new(base, store_fd(host.store), EV_READ | EV_PERSIST, on_news, NULL);
    host.second = event_new(base, -1, EV_PERSIST, on_second, NULL);
    host.moment = evtimer_new(base, on_moment, NULL);
    host.run = event_new(base, -1, 0, on_run, NULL);
    host.deadline = evtimer_new(base, on_run, NULL);
    if (!host.run || !host.deadline || !host.commit || !host.news || !host.second || !host.moment ||
        event_add(host.news, NULL) < 0 || event_add(host.second, &second) < 0)
        return why(w, ERR_NOMEM, "no memory for events");
    return OK;
}

static enum err first(const struct conf *c, struct why *w) {
    static const struct store_core_ops ops = {
        .send = core_send, .queued = core_queued, .pause = core_pause, .soon = core_soon, .run_soon = core_run_soon};
    struct store_options o = options_of(c);
    host.core = store_core_new(&ops, NULL);
    host.queue = host.core ? store_core_queue(host.core, c, o.random_seed) : NULL;
    host.directory = host.core ? store_core_directory(host.core, o.random_seed) : NULL;
    if (!host.queue || !host.directory)
        return why(w, ERR_NOMEM, "no memory");
    o.directory = store_directory_entries(host.directory);
    enum err e = store_open(&host.store, &o, store_core_store_ops(), host.core, w);
    if (!e)
        e = start_events(w);
    if (e)
        return e;
    store_core_attach(host.core, host.store);
    store_directory_attach(host.directory, host.store);
    e = store_directory_configure(host.directory, c, w); /* its domains may be those of the database */
    if (!e)
        e = store_queue_open(host.queue, host.store, w);
    if (e)
        return e;
    core_run_soon(NULL);
    store_second(host.store);
    for (size_t i = 0; i < host.early_count; i++)
        open_peer(host.early[i].role, host.early[i].fd);
    host.early_count = 0;
    return OK;
}

static enum err on_configure(const struct conf *c, bool is_first, struct why *w) {
    if (!is_first) {
        struct store_options o = options_of(c);
        enum err e = store_directory_configure(host.directory, c, w); /* the one that may refuse it goes first */
        if (e)
            return e;
        store_set_limits(host.store, &o);
        store_queue_configure(host.queue, c);
        return OK;
    }
    list_init(&host.peers);
    if (c->data.n >= sizeof(host.data))
        return why(w, ERR_LIMIT, "the path of the data directory is too long");
    snprintf(host.data, sizeof(host.data), "%.*s", STR_ARG(c->data));
    return first(c, w);
}

/* Everything that came is committed and answered, then the store closes. */
static void on_stop(void) {
    store_commit(host.store);
    LIST_EACH_SAFE(&host.peers, node) {
        struct peer *p = LIST_ENTRY(node, struct peer, node);
        struct link *l = p->link;
        if (link_flush(l, GOODBYE_MS) != OK)
            log_event(EV_LINK_DROPPED, LOG_STR("fault", S("it does not read its last answers")), LOG_END);
        peer_free(p);
        link_close(l);
    }
    event_free(host.run);
    event_free(host.deadline);
    host.run = NULL;
    event_free(host.commit);
    host.commit = NULL; /* store_close() commits what still comes */
    event_free(host.news);
    event_free(host.second);
    event_free(host.moment);
    store_close(host.store);
    host.store = NULL;
    store_core_free(host.core);
    role_exit(0);
}

static const struct role_ops store_role = {
    .role = ROLE_STORE, .peer = on_peer, .configure = on_configure, .stop = on_stop, .needs_files = true};

int main(void) {
    return role_main(&store_role);
}
