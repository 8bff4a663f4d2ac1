/* Times of entries: the next attempt, the delay notice, the end. */
#include "queue/queue_in.h"

static uint64_t random_next(struct queue *q) {
    return hash_u64(q->o.seed, q->random++);
}

static uint64_t later(uint64_t at, uint64_t by) {
    return at > UINT64_MAX - by ? UINT64_MAX : at + by;
}

/* A tenth to each side, so that what failed together does not come back together. */
static uint64_t spread(struct queue *q, uint64_t ms) {
    uint64_t tenth = ms / 10;
    return ms - tenth + random_next(q) % (2 * tenth + 1);
}

uint64_t time_retry(struct queue *q, uint32_t attempts) {
    size_t last = q->o.retry_count - 1, at = attempts ? attempts - 1 : 0;
    return spread(q, q->o.retry_ms[at < last ? at : last]);
}

/* What its sender asked to hold back is not late before its time has come. */
static uint64_t late_at(const struct queue *q, const struct entry *e) {
    uint64_t since = message_at(q, batch_at(q, e->batch)->message)->created_ms;
    if (!q->o.late_ms || e->flags & ENTRY_LATE_ASKED)
        return UINT64_MAX;
    if (e->attempts == 0 && e->next_ms > since)
        since = e->next_ms;
    return later(since, q->o.late_ms);
}

bool time_is_late(const struct queue *q, const struct entry *e) {
    return late_at(q, e) <= q->now_ms;
}

uint64_t time_alarm(const struct queue *q, uint32_t entry) {
    const struct entry *e = entry_at(q, entry);
    if (e->state != ENTRY_WAITING && e->state != ENTRY_READY)
        return UINT64_MAX;
    uint64_t at = batch_at(q, e->batch)->expires_ms, late = late_at(q, e);
    if (late < at)
        at = late;
    return e->state == ENTRY_WAITING && e->next_ms < at ? e->next_ms : at;
}

void time_set_alarm(struct queue *q, uint32_t entry) {
    uint64_t at = time_alarm(q, entry);
    if (at == UINT64_MAX)
        heap_remove(&q->alarms, entry);
    else
        heap_set(&q->alarms, entry, at);
}
