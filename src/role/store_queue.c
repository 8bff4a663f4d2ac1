#include "role/store_queue_inside.h"

#include <assert.h>
#include <stdlib.h>

struct store_queue *store_queue_new(const struct store_queue_ops *ops, void *arg, const struct conf *c, uint64_t seed) {
    struct queue_options o = sq_options(c, seed);
    struct store_queue *q = calloc(1, sizeof(*q));
    if (!q)
        return NULL;
    q->ops = *ops;
    q->arg = arg;
    q->conf = c;
    q->mails = q->jobs = q->asked = q->ids = MAP(seed);
    q->postmaster = BUF(1000);
    list_init(&q->workers);
    list_init(&q->parked);
    list_init(&q->asks);
    list_init(&q->due);
    list_init(&q->later);
    list_init(&q->fresh);
    q->arena = ARENA(256 * 1024 * 1024);
    sq_take_postmaster(q);
    if (queue_new(&q->queue, &o, sq_rule_of, q) == OK)
        return q;
    free(q);
    return NULL;
}

void store_queue_configure(struct store_queue *q, const struct conf *c) {
    struct queue_options o = sq_options(c, q->mails.seed);
    q->conf = c;
    sq_take_postmaster(q);
    queue_configure(q->queue, &o);
    q->ops.soon(q->arg);
}

void sq_look_at_fill(struct store_queue *q) {
    uint64_t count = queue_count(q->queue), most = q->conf->queue_recipients_max;
    bool full = count >= (q->full ? most - most / 20 : most);
    if (full == q->full)
        return;
    q->full = full;
    if (full)
        log_event(EV_QUEUE_FULL, LOG_NUM("recipients", count), LOG_END);
    q->ops.full(q->arg, full);
}
/* What is over with the report: accepted together. */
static void told(struct store_queue *q, const struct envelope *v) {
    struct mail *m = map_get_str(&q->ids, v->report_of);
    uint32_t index = 0;
    if (!m)
        return;
    for (str s = v->report_rcpts; take_u32(&s, &index);)
        sq_forget_owed(m, index, v->report_kind == JOB_LATE);
    log_event(EV_REPORT_SENT, LOG_STR("id", v->report_of), LOG_END);
    sq_mail_settle(q, m);
}

void store_queue_accepted(struct store_queue *q, const struct store_accepted *a) {
    const struct envelope *v = a->envelope;
    struct mail *m = sq_mail_new(q, a->num, &a->place);
    for (size_t i = 0; i < v->delivery_count; i++) {
        const struct envelope_delivery *d = &v->deliveries[i];
        struct delivery_fate f = delivery_fate(v, i, a->created_ms);
        str sender = delivery_sender(v, i);
        struct queue_entry e = {.num = a->num,
                                .index = (uint32_t)i,
                                .kind = (enum job_kind)d->kind,
                                .next_hop = d->target,
                                .route = d->rule,
                                .sender = sender,
                                .created_ms = a->created_ms,
                                .next_ms = f.next_ms,
                                .expires_ms = sq_expiry(q, f.expires_ms, a->created_ms, v->sender),
                                .priority = (uint8_t)v->priority,
                                .late_told = f.late_told};
        if (f.owed)
            sq_owe(q, m, (uint32_t)i, f.owed, f.code, f.text, STR_NONE, a->created_ms);
        else if (f.open)
            sq_enter(q, m, &e);
    }
    sq_fresh_keep(q, m, a);
    sq_mail_settle(q, m);
    if (v->report_of.n)
        told(q, v);
    sq_look_at_fill(q);
    q->ops.soon(q->arg);
}

void store_queue_moved(struct store_queue *q, uint64_t num, const struct journal_place *place) {
    struct mail *m = map_get(&q->mails, num);
    if (m)
        m->place = *place;
}
/* ---- running ---- */

void store_queue_run(struct store_queue *q) {
    struct queue_want w;
    enum queue_want_kind kind = QUEUE_WANT_SITE;
    while (kind != QUEUE_IDLE && !q->stuck && !q->draining && q->look_count < LOOKS_MAX) {
        kind = queue_next(q->queue, sq_now(q), &w);
        switch (kind) {
        case QUEUE_WANT_SITE: sq_ask_site(q, &w); break;
        case QUEUE_WANT_DELIVER: sq_deliver(q, &w, NULL); break;
        case QUEUE_WANT_EXPIRE: sq_look(q, &w, JOB_EXPIRED); break;
        case QUEUE_WANT_LATE: sq_look(q, &w, JOB_LATE); break;
        case QUEUE_IDLE: break;
        }
    }
    sq_report_due(q);
}

uint64_t store_queue_deadline(const struct store_queue *q) {
    bool waits = q->stuck || q->draining || q->look_count >= LOOKS_MAX; /* for news, not for a time */
    uint64_t at = waits ? UINT64_MAX : queue_deadline(q->queue);
    if (!list_empty(&q->later)) {
        uint64_t due = LIST_ENTRY(q->later.next, struct mail, due)->due_ms;
        at = due < at ? due : at;
    }
    return at;
}

void store_queue_drain(struct store_queue *q) {
    q->draining = true;
}

size_t store_queue_jobs(const struct store_queue *q) {
    return q->job_count;
}
/* ---- operators ---- */

static bool drop_result(struct mail *m, uint32_t index) {
    bool all = false;
    LIST_EACH(&m->jobs, node) {
        struct job *j = LIST_ENTRY(node, struct job, of_mail);
        if (sq_is_report(j))
            continue;
        all = true;
        for (size_t i = 0; i < j->read.rcpt_count; i++) {
            j->results[i].gone |= j->read.rcpts[i].index == index;
            all &= j->results[i].gone;
        }
        if (all && !j->ended)
            sq_cancel(j, ERR_CLOSED, "an operator ended it");
    }
    return all;
}

static void act(struct store_queue *q, struct mail *m, uint32_t index, enum queue_action action) {
    uint64_t now = sq_now(q);
    struct queue_entry_state is;
    bool queued = queue_look(q->queue, m->num, index, &is);
    switch (action) {
    case QUEUE_DO_HOLD: (void)queue_hold(q->queue, m->num, index, true, now); break;
    case QUEUE_DO_RELEASE: (void)queue_hold(q->queue, m->num, index, false, now); break;
    case QUEUE_DO_RETRY: (void)queue_retry_now(q->queue, m->num, index, now); break;
    case QUEUE_DO_DELETE:
    case QUEUE_DO_BOUNCE:
        if (!queued && action == QUEUE_DO_BOUNCE)
            break;
        (void)drop_result(m, index);
        sq_leave(q, m, index);
        sq_forget_owed(m, index, true);
        sq_forget_owed(m, index, false);
        if (action == QUEUE_DO_BOUNCE)
            sq_owe(q, m, index, JOB_FAILED, 554, S("5.4.7 given up by an operator"), STR_NONE, now);
        break;
    }
}

void store_queue_acted(struct store_queue *q, const struct acted *a) {
    uint64_t num = 0;
    uint32_t index = 0;
    for (str s = a->pairs; take_u64(&s, &num) && take_u32(&s, &index);) {
        struct mail *m = map_get(&q->mails, num);
        if (!m)
            continue;
        m->holds++;
        act(q, m, index, a->action);
        m->holds--;
        sq_mail_settle(q, m);
    }
    sq_look_at_fill(q);
    q->ops.soon(q->arg);
}

bool store_queue_active(const struct store_queue *q, uint64_t num, uint32_t index) {
    struct queue_entry_state is;
    return queue_look(q->queue, num, index, &is) && is.state == QUEUE_ACTIVE;
}

void store_queue_look(const struct store_queue *q, struct frame_queue_row *row) {
    struct queue_entry_state is;
    if (!queue_look(q->queue, row->num, row->index, &is))
        return;
    row->state = (uint8_t)is.state;
    row->next_ms = is.next_ms;
    row->attempts = is.attempts;
    row->site = is.site;
}

uint64_t store_queue_sites(const struct store_queue *q, uint32_t tag, void (*put)(void *arg, const struct frame *f),
                           void *arg) {
    struct queue_site_state s;
    uint64_t count = 0;
    size_t at = 0;
    while (queue_site_next(q->queue, &at, &s)) {
        struct frame f = {.type = FRAME_SITE_ROW};
        f.site_row = (struct frame_site_row){.tag = tag,
                                             .site = s.site,
                                             .waiting = s.waiting,
                                             .active = s.active,
                                             .window = s.window_milli,
                                             .retry_ms = s.retry_ms,
                                             .dead = s.dead};
        put(arg, &f);
        count++;
    }
    return count;
}

uint64_t store_queue_count(const struct store_queue *q) {
    return queue_count(q->queue);
}
/* ---- the end ---- */

static void mail_drop(struct mail *m) {
    LIST_EACH_SAFE(&m->owed, node)
    sq_owed_free(LIST_ENTRY(node, struct owed, node));
    if (m->fresh)
        buf_free(&m->fresh->body);
    free(m->fresh);
    free(m->id);
    free(m);
}

/* The store is closed and its threads have ended: nothing is read or written any more. */
void store_queue_free(struct store_queue *q) {
    size_t at = 0;
    for (struct job *j; (j = map_next(&q->jobs, &at));) {
        for (size_t i = 0; i < j->read.rcpt_count; i++)
            free(j->results[i].text);
        buf_free(&j->read.out);
        buf_free(&j->transcript);
        buf_free(&j->done);
        free(j->read.rcpts);
        free(j->results);
        free(j);
    }
    at = 0;
    for (struct mail *m; (m = map_next(&q->mails, &at));)
        mail_drop(m);
    at = 0;
    for (struct site_ask *a; (a = map_next(&q->asked, &at));)
        free(a);
    map_free(&q->jobs);
    map_free(&q->mails);
    map_free(&q->asked);
    map_free(&q->ids);
    buf_free(&q->postmaster);
    arena_free(&q->arena);
    queue_free(q->queue);
    free(q);
}
