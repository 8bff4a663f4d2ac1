/* The scheduler's door: what is in it, and what an operator does to it. */
#include "queue/queue_in.h"

#include <assert.h>
#include <stdlib.h>

static void check_options(const struct queue_options *o) {
    assert(o->retry_count > 0 && o->retry_count <= QUEUE_RETRIES_MAX);
    assert(o->window_start > 0 && o->window_max > 0 && o->recipients_max > 0);
}

enum err queue_new(struct queue **out, const struct queue_options *o, queue_rule_of *rule, void *arg) {
    check_options(o);
    struct queue *q = calloc(1, sizeof *q);
    uint32_t *told = malloc(QUEUE_JOB_RCPTS_MAX * sizeof *told);
    *out = q;
    if (!q || !told) {
        free(q);
        free(told);
        *out = NULL;
        return ERR_NOMEM;
    }
    q->o = *o;
    q->rule = rule;
    q->rule_arg = arg;
    q->told = told;
    pool_init(&q->entries, sizeof(struct entry));
    pool_init(&q->messages, sizeof(struct message));
    pool_init(&q->batches, sizeof(struct batch));
    pool_init(&q->hops, sizeof(struct hop));
    pool_init(&q->sites, sizeof(struct site));
    pool_init(&q->jobs, sizeof(struct job));
    return OK;
}

static void free_tables(struct queue *q) {
    struct table *tables[] = {&q->entry_table, &q->message_table, &q->batch_table, &q->hop_table, &q->site_table};
    struct heap *heaps[] = {&q->alarms, &q->hop_times, &q->site_times};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        table_free(tables[i]);
    for (size_t i = 0; i < sizeof heaps / sizeof *heaps; i++)
        heap_free(heaps[i]);
}

static void free_pools(struct queue *q) {
    struct pool *pools[] = {&q->entries, &q->messages, &q->batches, &q->hops, &q->sites, &q->jobs};
    for (size_t i = 0; i < sizeof pools / sizeof *pools; i++)
        pool_free(pools[i]);
}

void queue_free(struct queue *q) {
    if (!q)
        return;
    for (uint32_t i = 1; i <= q->jobs.top; i++)
        if (job_at(q, i)->entries)
            free(job_at(q, i)->entries);
    hop_free_all(q);
    free_tables(q);
    free_pools(q);
    free(q->told);
    free(q);
}

static void alarms_anew(struct queue *q) {
    for (uint32_t i = 1; i <= q->entries.top; i++)
        if (entry_at(q, i)->state != ENTRY_NONE)
            time_set_alarm(q, i);
}

/* The seed made the hashes: it stays. */
void queue_configure(struct queue *q, const struct queue_options *o) {
    check_options(o);
    bool late_changes = o->late_ms != q->o.late_ms;
    uint64_t seed = q->o.seed;
    q->o = *o;
    q->o.seed = seed;
    site_ask_rules(q);
    if (late_changes)
        alarms_anew(q);
}

enum err queue_add(struct queue *q, const struct queue_entry *e, uint64_t now_ms) {
    q->now_ms = now_ms;
    if (entry_find(q, e->num, e->index))
        return ERR_EXISTS;
    uint32_t entry = entry_new(q, e);
    if (!entry)
        return ERR_NOMEM;
    if (e->held)
        entry_set_state(q, entry, ENTRY_HELD);
    else
        entry_wait(q, entry);
    return OK;
}

bool queue_remove(struct queue *q, uint64_t num, uint32_t index) {
    uint32_t entry = entry_find(q, num, index);
    if (!entry)
        return false;
    if (entry_at(q, entry)->state == ENTRY_ACTIVE)
        job_forget(q, entry);
    entry_free(q, entry);
    return true;
}

static bool release(struct queue *q, uint32_t entry) {
    struct entry *e = entry_at(q, entry);
    bool to_hold = e->flags & ENTRY_TO_HOLD;
    e->flags &= (uint8_t)~ENTRY_TO_HOLD;
    if (e->state != ENTRY_HELD)
        return to_hold;
    entry_wait(q, entry);
    return true;
}

static bool hold(struct queue *q, uint32_t entry) {
    struct entry *e = entry_at(q, entry);
    if (e->state == ENTRY_OVER)
        return false;
    if (e->state == ENTRY_ACTIVE)
        e->flags |= ENTRY_TO_HOLD;
    else
        entry_set_state(q, entry, ENTRY_HELD);
    return true;
}

bool queue_hold(struct queue *q, uint64_t num, uint32_t index, bool on, uint64_t now_ms) {
    q->now_ms = now_ms;
    uint32_t entry = entry_find(q, num, index);
    if (!entry)
        return false;
    return on ? hold(q, entry) : release(q, entry);
}

bool queue_retry_now(struct queue *q, uint64_t num, uint32_t index, uint64_t now_ms) {
    q->now_ms = now_ms;
    uint32_t entry = entry_find(q, num, index);
    struct entry *e = entry ? entry_at(q, entry) : NULL;
    if (!e || (e->state != ENTRY_WAITING && e->state != ENTRY_READY))
        return false;
    if (e->state == ENTRY_WAITING) {
        e->next_ms = now_ms;
        entry_set_state(q, entry, ENTRY_READY);
    }
    uint32_t hop = batch_at(q, e->batch)->hop, site = hop_at(q, hop)->site;
    hop_ask_now(q, hop);
    if (site)
        site_wake(q, site);
    return true;
}

bool queue_site_next(const struct queue *q, size_t *at, struct queue_site_state *out) {
    while (*at < q->sites.top) {
        const struct site *s = site_at(q, (uint32_t)++ * at);
        if (!s->domain.p)
            continue;
        *out = (struct queue_site_state){.site = s->name,
                                         .waiting = s->waiting,
                                         .active = s->active,
                                         .window_milli = (unsigned)(s->window / 1000),
                                         .retry_ms = s->dead ? s->retry_ms : 0,
                                         .dead = s->dead};
        return true;
    }
    return false;
}

static enum queue_state shown(const struct entry *e) {
    switch ((enum entry_state)e->state) {
    case ENTRY_ACTIVE: return QUEUE_ACTIVE;
    case ENTRY_HELD: return QUEUE_HELD;
    case ENTRY_OVER: return QUEUE_REPORTING;
    default: return e->flags & ENTRY_UNKNOWN ? QUEUE_UNKNOWN : QUEUE_WAITING;
    }
}

bool queue_look(const struct queue *q, uint64_t num, uint32_t index, struct queue_entry_state *out) {
    uint32_t entry = entry_find(q, num, index);
    if (!entry)
        return false;
    const struct entry *e = entry_at(q, entry);
    const struct site *s = entry_site(q, entry);
    *out = (struct queue_entry_state){
        .next_ms = s && s->dead && s->retry_ms > e->next_ms ? s->retry_ms : e->next_ms,
        .state = shown(e),
        .site = s ? s->name : S(""),
        .attempts = e->attempts,
    };
    return true;
}

uint64_t queue_count(const struct queue *q) {
    return q->entries.live;
}

uint64_t queue_bytes(const struct queue *q) {
    const struct pool *pools[] = {&q->entries, &q->messages, &q->batches, &q->hops, &q->sites, &q->jobs};
    const struct table *tables[] = {&q->entry_table, &q->message_table, &q->batch_table, &q->hop_table, &q->site_table};
    uint64_t bytes = sizeof *q + q->name_bytes + q->job_bytes + QUEUE_JOB_RCPTS_MAX * sizeof *q->told;
    for (size_t i = 0; i < sizeof pools / sizeof *pools; i++)
        bytes += pool_bytes(pools[i]);
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        bytes += table_bytes(tables[i]);
    return bytes + heap_bytes(&q->alarms) + heap_bytes(&q->hop_times) + heap_bytes(&q->site_times);
}
