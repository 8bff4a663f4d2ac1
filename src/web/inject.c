#include "web/inject.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "sys/link.h"

enum { WORKERS_MAX = 256, FILTER_MAX = 256, LATE_MS = 55 * 1000 };

struct injection {
    struct list node;
    uint32_t tag;
    unsigned instance;
    struct event *timer;
    void (*done)(void *arg, enum err e, str id, str text);
    void *arg;
};

struct inject_trace {
    struct list node;
    uint32_t tag;
    char filter[FILTER_MAX];
    size_t filter_size;
    void (*line)(void *arg, str session, str text);
    void *arg;
};

static struct {
    struct event_base *base;
    struct event *fail;
    struct link *links[WORKERS_MAX];
    struct list waiting, lost, traces;
    uint32_t last_tag;
    unsigned last_worker;
} state;

static void finish(struct injection *i, enum err e, str id, str text) {
    list_remove(&i->node);
    if (i->timer)
        event_free(i->timer);
    i->done(i->arg, e, id, text);
    free(i);
}

static void on_fail(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    while (!list_empty(&state.lost))
        finish(LIST_ENTRY(list_first(&state.lost), struct injection, node), ERR_DOWN, STR_NONE,
               S("No SMTP process could take it. Try again in a moment."));
}

static void on_late(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    finish(arg, ERR_TIMEOUT, STR_NONE, S("No answer in time: it may have been accepted."));
}

static void lose(unsigned instance) {
    LIST_EACH_SAFE(&state.waiting, node) {
        struct injection *i = LIST_ENTRY(node, struct injection, node);
        if (i->instance != instance)
            continue;
        list_remove(node);
        list_add_tail(&state.lost, node);
    }
    event_active(state.fail, EV_TIMEOUT, 0);
}

static void on_injected(const struct frame_injected *f) {
    LIST_EACH(&state.waiting, node) {
        struct injection *i = LIST_ENTRY(node, struct injection, node);
        if (i->tag == f->tag) {
            finish(i, (enum err)f->err, f->id, f->text);
            return;
        }
    }
}

static void on_trace(const struct frame_trace *f) {
    LIST_EACH_SAFE(&state.traces, node) {
        struct inject_trace *t = LIST_ENTRY(node, struct inject_trace, node);
        if (t->tag == f->tag) {
            t->line(t->arg, f->session, f->line);
            return;
        }
    }
}

static void on_frame(void *arg, struct link *l, const struct frame *f, int fd) {
    (void)arg, (void)l;
    if (fd >= 0)
        close(fd);
    if (f->type == FRAME_INJECTED)
        on_injected(&f->injected);
    else if (f->type == FRAME_TRACE)
        on_trace(&f->trace);
}

static void on_close(void *arg, struct link *l) {
    unsigned instance = (unsigned)(uintptr_t)arg;
    if (state.links[instance] != l)
        return;
    state.links[instance] = NULL;
    lose(instance);
}

static void trace_on(struct link *l, const struct inject_trace *t) {
    struct frame f = {.type = FRAME_TRACE_ON, .trace_on = {t->tag, str_n(t->filter, t->filter_size)}};
    link_send(l, &f);
}

void inject_start_all(struct event_base *base) {
    state.base = base;
    list_init(&state.waiting);
    list_init(&state.lost);
    list_init(&state.traces);
    state.fail = evtimer_new(base, on_fail, NULL);
    assert(state.fail);
}

void inject_link(unsigned instance, int fd) {
    static const struct link_ops ops = {.on_frame = on_frame, .on_close = on_close};
    if (instance >= WORKERS_MAX) {
        close(fd);
        return;
    }
    if (state.links[instance]) {
        link_close(state.links[instance]);
        lose(instance);
    }
    state.links[instance] = link_open(state.base, fd, FRAME_SMTPD_TO_HTTPD, &ops, (void *)(uintptr_t)instance);
    assert(state.links[instance]);
    LIST_EACH(&state.traces, node)
    trace_on(state.links[instance], LIST_ENTRY(node, struct inject_trace, node));
}

void inject_stop_all(void) {
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        if (state.links[i]) {
            link_close(state.links[i]);
            state.links[i] = NULL;
            lose(i);
        }
    on_fail(-1, 0, NULL);
    event_free(state.fail);
}

static struct link *next_worker(unsigned *instance) {
    for (unsigned i = 1; i <= WORKERS_MAX; i++) {
        unsigned at = (state.last_worker + i) % WORKERS_MAX;
        if (!state.links[at])
            continue;
        *instance = state.last_worker = at;
        return state.links[at];
    }
    return NULL;
}

static void send_mail(struct link *l, uint32_t tag, const struct inject_mail *m) {
    struct frame f = {.type = FRAME_INJECT_BEGIN};
    f.inject_begin = (struct frame_inject_begin){.tag = tag,
                                                 .user = m->user,
                                                 .listener = S("api"),
                                                 .sender = m->sender,
                                                 .mailbox = m->mailbox,
                                                 .client = m->client};
    link_send(l, &f);
    if (m->mailbox.n)
        link_send(l, &(struct frame){.type = FRAME_INJECT_APPEND, .inject_append = {tag, m->flags, m->received_us}});
    for (size_t i = 0; i < m->recipient_count; i++) {
        struct frame r = {.type = FRAME_INJECT_RCPT, .inject_rcpt = {tag, m->recipients[i], STR_NONE}};
        link_send(l, &r);
    }
    FRAME_CHUNKS(m->bytes, piece) {
        struct frame b = {.type = FRAME_INJECT_BODY, .inject_body = {tag, piece}};
        link_send(l, &b);
    }
    link_send(l, &(struct frame){.type = FRAME_INJECT_END, .inject_end = {tag}});
}

void inject(const struct inject_mail *m, void (*done)(void *arg, enum err e, str id, str text), void *arg) {
    struct timeval late = {LATE_MS / 1000, 0};
    struct injection *i = calloc(1, sizeof *i);
    assert(i);
    *i = (struct injection){.tag = ++state.last_tag, .done = done, .arg = arg};
    struct link *l = next_worker(&i->instance);
    if (!l) {
        list_add_tail(&state.lost, &i->node);
        event_active(state.fail, EV_TIMEOUT, 0);
        return;
    }
    list_add_tail(&state.waiting, &i->node);
    i->timer = evtimer_new(state.base, on_late, i);
    if (i->timer)
        event_add(i->timer, &late);
    send_mail(l, i->tag, m);
}

struct inject_trace *inject_trace(str filter, void (*line)(void *arg, str session, str text), void *arg) {
    struct inject_trace *t = calloc(1, sizeof *t);
    assert(t);
    *t = (struct inject_trace){.tag = ++state.last_tag, .line = line, .arg = arg};
    t->filter_size = filter.n < FILTER_MAX ? filter.n : FILTER_MAX;
    if (t->filter_size)
        memcpy(t->filter, filter.p, t->filter_size);
    list_add_tail(&state.traces, &t->node);
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        if (state.links[i])
            trace_on(state.links[i], t);
    return t;
}

void inject_trace_end(struct inject_trace *t) {
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        if (state.links[i])
            link_send(state.links[i], &(struct frame){.type = FRAME_TRACE_OFF, .trace_off = {t->tag}});
    list_remove(&t->node);
    free(t);
}
