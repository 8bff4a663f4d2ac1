/* What must be true of the scheduler between two calls. */
#include "queue/queue_in.h"

#include <assert.h>

struct counts {
    uint64_t ready, active, waiting, batches, parked;
};

static uint32_t chain_length(const struct pool *p, size_t link_at, const struct pool_chain *c) {
    uint32_t n = 0, before = 0;
    for (uint32_t i = c->first; i; n++) {
        const struct pool_link *l = (const struct pool_link *)((const char *)pool_at(p, i) + link_at);
        assert(l->prev == before);
        before = i;
        i = l->next;
    }
    assert(c->last == before);
    return n;
}

static void check_entry(const struct queue *q, uint32_t i, struct counts *n) {
    const struct entry *e = entry_at(q, i);
    const struct batch *b = batch_at(q, e->batch);
    uint64_t alarm = time_alarm(q, i);
    assert(entry_find(q, message_at(q, b->message)->num, e->index) == i);
    assert(heap_has(&q->alarms, i) == (alarm != UINT64_MAX));
    assert(alarm == UINT64_MAX || heap_key(&q->alarms, i) == alarm);
    assert(!(e->flags & ENTRY_TO_HOLD) || e->state == ENTRY_ACTIVE);
    n->ready += e->state == ENTRY_READY;
    n->active += e->state == ENTRY_ACTIVE;
    n->waiting += e->state == ENTRY_WAITING || e->state == ENTRY_READY || e->state == ENTRY_HELD;
}

static struct counts check_entries(const struct queue *q) {
    struct counts n = {0};
    for (uint32_t i = 1; i <= q->entries.top; i++)
        if (entry_at(q, i)->state != ENTRY_NONE)
            check_entry(q, i, &n);
    assert(n.active == q->active_entries);
    assert(q->entry_table.count == q->entries.live);
    return n;
}

static void check_batch(const struct queue *q, const struct batch *b, struct counts *n) {
    const struct hop *h = hop_at(q, b->hop);
    assert(b->entries > 0 && b->ready <= b->entries);
    assert(chain_length(&q->entries, LINK_OF(entry), &b->ready_ones) == b->ready);
    assert((b->ready > 0) == (b->place != BATCH_NOWHERE));
    assert(b->place != BATCH_PARKED || h->state != HOP_KNOWN);
    n->batches += b->place == BATCH_IN_LINE;
    n->parked += b->place == BATCH_PARKED;
    n->ready += b->ready;
}

static void check_batches(const struct queue *q, const struct counts *of_entries) {
    struct counts n = {0};
    for (uint32_t i = 1; i <= q->batches.top; i++)
        if (batch_at(q, i)->message)
            check_batch(q, batch_at(q, i), &n);
    for (uint32_t i = 1; i <= q->hops.top; i++)
        if (hop_at(q, i)->route.p)
            n.parked -= chain_length(&q->batches, LINK_OF(batch), &hop_at(q, i)->parked);
    for (uint32_t i = 1; i <= q->sites.top; i++)
        if (site_at(q, i)->domain.p)
            n.batches -= site_at(q, i)->in_lines;
    assert(n.parked == 0 && n.batches == 0 && n.ready == of_entries->ready);
}

static void check_hop(const struct queue *q, uint32_t i) {
    const struct hop *h = hop_at(q, i);
    assert(h->kind == JOB_RELAY || h->state == HOP_KNOWN);
    assert(h->state != HOP_KNOWN || h->site);
    assert(h->state != HOP_KNOWN || !h->parked.first);
    assert(h->state != HOP_TO_ASK || h->parked.first);
    assert(heap_has(&q->hop_times, i) == (h->state == HOP_FAILED && h->parked.first));
}

static void check_hops(const struct queue *q, const struct counts *of_entries) {
    uint64_t waiting = 0;
    for (uint32_t i = 1; i <= q->hops.top; i++) {
        if (!hop_at(q, i)->route.p)
            continue;
        check_hop(q, i);
        waiting += hop_at(q, i)->waiting;
    }
    assert(waiting == of_entries->waiting);
    assert(chain_length(&q->hops, LINK_OF(hop), &q->idle_hops) == q->idle_count);
    assert(q->hop_table.count == q->hops.live);
}

static void check_lines(const struct queue *q, const struct site *s) {
    uint32_t n = 0;
    for (unsigned tier = 0; tier < TIERS; tier++)
        for (unsigned size = 0; size < SIZES; size++) {
            uint32_t here = chain_length(&q->batches, LINK_OF(batch), &s->lines[tier][size]);
            assert((here > 0) == (s->tiers_used[tier] >> size & 1));
            n += here;
        }
    assert(n == s->in_lines);
    assert((uint64_t)s->lent * 4 <= s->taken);
}

/* A site with mail and room is in the ring or has a time: it cannot be forgotten. */
static void check_site(const struct queue *q, uint32_t i) {
    const struct site *s = site_at(q, i);
    bool timed = heap_has(&q->site_times, i), room = s->active < (s->dead ? 1 : s->window / ONE);
    assert(s->hops || s->active || s->in_lines);
    assert(!(timed && s->in_ring));
    assert((timed || s->in_ring) == (s->in_lines > 0 && room));
    assert(s->window >= ONE);
    check_lines(q, s);
}

static void check_sites(const struct queue *q) {
    uint64_t active = 0, waiting = 0;
    for (uint32_t i = 1; i <= q->sites.top; i++) {
        if (!site_at(q, i)->domain.p)
            continue;
        check_site(q, i);
        active += site_at(q, i)->active;
        waiting += site_at(q, i)->waiting;
    }
    for (uint32_t i = 1; i <= q->hops.top; i++)
        if (hop_at(q, i)->route.p && hop_at(q, i)->site)
            waiting -= hop_at(q, i)->waiting;
    assert(active == q->active && q->jobs.live == q->active && waiting == 0);
}

void queue_check_invariants(const struct queue *q) {
    struct counts n = check_entries(q);
    check_batches(q, &n);
    check_hops(q, &n);
    check_sites(q);
}
