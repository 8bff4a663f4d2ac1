/* Jobs: made of a batch, ended by results. */
#include "queue/queue_in.h"

#include <assert.h>
#include <stdlib.h>

/* ---- making one */

static size_t job_size(uint32_t count) {
    return count * 2 * sizeof(uint32_t);
}

static uint32_t job_make(struct queue *q, uint32_t count) {
    uint32_t *room = malloc(job_size(count)), i = room ? pool_take(&q->jobs) : 0;
    if (!i) {
        free(room);
        return 0;
    }
    *job_at(q, i) =
        (struct job){.number = ++q->serial << 32 | i, .count = count, .entries = room, .indices = room + count};
    q->job_bytes += job_size(count);
    return i;
}

static void job_fill(struct queue *q, uint32_t job, struct batch *b) {
    struct job *j = job_at(q, job);
    for (uint32_t i = 0; i < j->count; i++) {
        uint32_t entry = b->ready_ones.first;
        j->entries[i] = entry;
        j->indices[i] = entry_at(q, entry)->index;
        entry_at(q, entry)->job = job;
        entry_set_state(q, entry, ENTRY_ACTIVE);
    }
}

static void job_tell(const struct queue *q, uint32_t job, const struct batch *b, struct queue_want *w) {
    const struct job *j = job_at(q, job);
    const struct hop *h = hop_at(q, b->hop);
    *w = (struct queue_want){.kind = QUEUE_WANT_DELIVER,
                             .job = j->number,
                             .num = j->num,
                             .job_kind = h->kind,
                             .next_hop = h->next_hop,
                             .route = h->route,
                             .site = site_at(q, j->site)->name,
                             .indices = j->indices,
                             .index_count = j->count,
                             .probe = j->probe};
}

static void batch_back(struct queue *q, uint32_t batch) {
    if (batch_at(q, batch)->ready > 0)
        hop_send(q, batch);
}

/* The batch has just been taken out of its line. */
static bool job_of_batch(struct queue *q, uint32_t site, uint32_t batch, struct queue_want *w) {
    struct batch *b = batch_at(q, batch);
    unsigned max = hop_at(q, b->hop)->kind == JOB_WEBHOOK ? 1 : site_recipients_max(q, site_at(q, site));
    uint32_t job = job_make(q, b->ready < max ? b->ready : max);
    if (!job) {
        batch_back(q, batch);
        return false;
    }
    struct job *j = job_at(q, job);
    j->num = message_at(q, b->message)->num;
    j->site = site;
    j->probe = site_at(q, site)->dead;
    job_fill(q, job, b);
    site_begin(q, site);
    batch_back(q, batch);
    job_tell(q, job, b, w);
    return true;
}

/* What is in line here may be served elsewhere by now, or its answer is too old. */
bool job_of_site(struct queue *q, uint32_t site, struct queue_want *w) {
    for (;;) {
        uint32_t batch = line_take(q, site);
        if (!batch) {
            site_place(q, site);
            return false;
        }
        if (hop_is_at(q, batch_at(q, batch)->hop, site))
            return job_of_batch(q, site, batch, w);
        hop_send(q, batch);
    }
}

/* ---- alarms */

static void tell_one(const struct queue *q, uint32_t entry, enum queue_want_kind kind, struct queue_want *w) {
    const struct entry *e = entry_at(q, entry);
    const struct batch *b = batch_at(q, e->batch);
    const struct hop *h = hop_at(q, b->hop);
    *w = (struct queue_want){.kind = kind,
                             .num = message_at(q, b->message)->num,
                             .job_kind = h->kind,
                             .next_hop = h->next_hop,
                             .route = h->route,
                             .site = h->site ? site_at(q, h->site)->name : S(""),
                             .indices = q->told,
                             .index_count = 1};
    q->told[0] = e->index;
}

static enum queue_want_kind alarm_of(const struct queue *q, uint32_t entry) {
    const struct entry *e = entry_at(q, entry);
    if (batch_at(q, e->batch)->expires_ms <= q->now_ms)
        return QUEUE_WANT_EXPIRE;
    return time_is_late(q, e) ? QUEUE_WANT_LATE : QUEUE_IDLE;
}

static void alarm_told(struct queue *q, uint32_t entry, enum queue_want_kind kind) {
    if (kind == QUEUE_WANT_EXPIRE) {
        entry_set_state(q, entry, ENTRY_OVER);
        return;
    }
    entry_at(q, entry)->flags |= ENTRY_LATE_ASKED;
    time_set_alarm(q, entry);
}

static bool alarm_is_due(const struct queue *q) {
    return heap_first_key(&q->alarms) <= q->now_ms;
}

/* Recipients of one batch that come to their end together are told together. */
static void tell_more(struct queue *q, uint32_t batch, enum queue_want_kind kind, struct queue_want *w) {
    while (w->index_count < QUEUE_JOB_RCPTS_MAX && alarm_is_due(q)) {
        uint32_t entry = heap_first(&q->alarms);
        if (entry_at(q, entry)->batch != batch || alarm_of(q, entry) != kind)
            return;
        q->told[w->index_count++] = entry_at(q, entry)->index;
        alarm_told(q, entry, kind);
    }
}

/* Those whose time has come get ready; at most so many at a time, as others wait for a place meanwhile. */
enum { WAKE_MAX = 1000 };

static bool wake(struct queue *q, struct queue_want *w) {
    for (unsigned i = 0; i < WAKE_MAX && alarm_is_due(q); i++) {
        uint32_t entry = heap_first(&q->alarms);
        enum queue_want_kind kind = alarm_of(q, entry);
        if (kind == QUEUE_IDLE) {
            entry_set_state(q, entry, ENTRY_READY);
            continue;
        }
        tell_one(q, entry, kind, w);
        alarm_told(q, entry, kind);
        tell_more(q, entry_at(q, entry)->batch, kind, w);
        return true;
    }
    return false;
}

/* Those that are ready for sure: their alarms are for queue_next() to tell. */
static void wake_ready(struct queue *q) {
    for (unsigned i = 0; i < WAKE_MAX && alarm_is_due(q); i++) {
        uint32_t entry = heap_first(&q->alarms);
        if (alarm_of(q, entry) != QUEUE_IDLE)
            return;
        entry_set_state(q, entry, ENTRY_READY);
    }
}

/* ---- what is next */

static bool is_full(const struct queue *q) {
    return q->o.active_max && q->active >= q->o.active_max;
}

static bool job_of_any(struct queue *q, struct queue_want *w) {
    while (!is_full(q) && q->ring.first) {
        uint32_t site = q->ring.first;
        if (job_of_site(q, site, w))
            return true;
        if (q->ring.first == site)
            return false; /* no memory: later */
    }
    return false;
}

enum queue_want_kind queue_next(struct queue *q, uint64_t now_ms, struct queue_want *w) {
    *w = (struct queue_want){.kind = QUEUE_IDLE};
    q->now_ms = now_ms;
    do {
        hop_ask_due(q);
        site_due(q);
        if (wake(q, w) || hop_want(q, w) || job_of_any(q, w))
            return w->kind;
    } while (alarm_is_due(q) || q->to_ask.first); /* more to wake, or an answer was found too old */
    return QUEUE_IDLE;
}

/* The last free place belongs to whose turn it is in the ring. */
bool queue_next_of_site(struct queue *q, str name, uint64_t now_ms, struct queue_want *w) {
    *w = (struct queue_want){.kind = QUEUE_IDLE};
    q->now_ms = now_ms;
    wake_ready(q);
    site_due(q);
    uint32_t site = site_find(q, name);
    if (!site || !site_at(q, site)->in_ring || is_full(q))
        return false;
    bool last = q->o.active_max && q->active + 1 >= q->o.active_max;
    if (last && q->ring.first != site)
        return false;
    return job_of_site(q, site, w);
}

uint64_t queue_deadline(const struct queue *q) {
    if (q->to_ask.first || (q->ring.first && !is_full(q)))
        return q->now_ms;
    uint64_t at = heap_first_key(&q->alarms), hop = heap_first_key(&q->hop_times);
    uint64_t site = heap_first_key(&q->site_times);
    at = hop < at ? hop : at;
    return site < at ? site : at;
}

/* ---- ending one */

uint32_t job_find(const struct queue *q, uint64_t number) {
    uint32_t i = (uint32_t)number;
    return i && i <= q->jobs.top && job_at(q, i)->entries && job_at(q, i)->number == number ? i : 0;
}

static uint32_t *slot_of(struct job *j, uint32_t index) {
    for (uint32_t i = 0; i < j->count; i++, j->seek++) {
        uint32_t at = j->seek % j->count;
        if (j->indices[at] == index) {
            j->seek = at + 1;
            return &j->entries[at];
        }
    }
    return NULL;
}

void job_forget(struct queue *q, uint32_t entry) {
    const struct entry *e = entry_at(q, entry);
    uint32_t *slot = slot_of(job_at(q, e->job), e->index);
    assert(slot && *slot == entry);
    *slot = 0;
}

static bool tries_again(enum job_outcome outcome) {
    return outcome == JOB_DEFERRED || outcome == JOB_UNKNOWN;
}

static uint64_t again(struct queue *q, uint32_t entry, enum job_outcome outcome) {
    struct entry *e = entry_at(q, entry);
    e->attempts += e->attempts < UINT16_MAX;
    e->next_ms = q->now_ms + time_retry(q, e->attempts);
    const struct site *s = entry_site(q, entry);
    if (s && s->dead && s->retry_ms > e->next_ms)
        e->next_ms = s->retry_ms;
    bool hold = e->flags & ENTRY_TO_HOLD;
    e->flags &= (uint8_t) ~(ENTRY_TO_HOLD | ENTRY_UNKNOWN);
    e->flags |= outcome == JOB_UNKNOWN ? ENTRY_UNKNOWN : 0;
    uint64_t next_ms = e->next_ms;
    if (hold)
        entry_set_state(q, entry, ENTRY_HELD);
    else
        entry_wait(q, entry);
    return next_ms;
}

uint64_t queue_result(struct queue *q, uint64_t number, uint32_t index, enum job_outcome outcome, uint64_t now_ms) {
    q->now_ms = now_ms;
    uint32_t job = job_find(q, number);
    uint32_t *slot = job ? slot_of(job_at(q, job), index) : NULL;
    if (!slot || !*slot)
        return 0;
    uint32_t entry = *slot;
    *slot = 0;
    if (tries_again(outcome))
        return again(q, entry, outcome);
    entry_free(q, entry);
    return 0;
}

static void job_free(struct queue *q, uint32_t job) {
    struct job *j = job_at(q, job);
    q->job_bytes -= job_size(j->count);
    free(j->entries);
    pool_give(&q->jobs, job);
}

void queue_done(struct queue *q, uint64_t number, enum job_trouble trouble, uint64_t now_ms) {
    q->now_ms = now_ms;
    uint32_t job = job_find(q, number);
    if (!job)
        return;
    struct job *j = job_at(q, job);
    for (uint32_t i = 0; i < j->count; i++)
        if (j->entries[i])
            again(q, j->entries[i], JOB_DEFERRED);
    site_end(q, j->site, trouble, j->probe);
    job_free(q, job);
}
