/* Whose turn it is within a site: Postfix's idea of lent places, in our way.
 *
 * The oldest batch of the highest priority goes first, and goes on: mail leaves in the order it came.  But when its
 * message is of many recipients, each four jobs of it earn one place for a batch of a shorter message, which then goes
 * before it.  So a long one takes at most 5/4 of its time, whatever else comes, and a short one waits for four jobs at
 * most, not for a hundred thousand recipients. */
#include "queue/queue_in.h"

#include <assert.h>

enum { JOBS_FOR_A_PLACE = 4 };

static uint8_t size_of(uint32_t recipients) {
    uint8_t size = 0;
    for (; recipients > 1 && size < SIZES - 1; recipients = (recipients + 3) / 4)
        size++;
    return size;
}

static bool before(uint32_t a, uint32_t b) {
    return (int32_t)(a - b) < 0;
}

static struct pool_chain *line_of(struct queue *q, const struct batch *b) {
    return &site_at(q, b->site)->lines[b->tier][b->size];
}

void line_add(struct queue *q, uint32_t site, uint32_t batch) {
    struct batch *b = batch_at(q, batch);
    struct site *s = site_at(q, site);
    assert(b->place == BATCH_NOWHERE && b->ready > 0);
    b->site = site;
    b->size = size_of(message_at(q, b->message)->ready);
    b->place = BATCH_IN_LINE;
    struct pool_chain *line = line_of(q, b);
    /* What comes back after a job of its own stands where it stood. */
    if (line->first && before(b->order, batch_at(q, line->first)->order))
        chain_add_head(&q->batches, LINK_OF(batch), line, batch);
    else
        chain_add_tail(&q->batches, LINK_OF(batch), line, batch);
    s->tiers_used[b->tier] |= 1u << b->size;
    if (s->in_lines++ == 0)
        site_place(q, site);
}

static void out(struct queue *q, uint32_t batch) {
    struct batch *b = batch_at(q, batch);
    struct site *s = site_at(q, b->site);
    struct pool_chain *line = line_of(q, b);
    chain_remove(&q->batches, LINK_OF(batch), line, batch);
    if (!line->first)
        s->tiers_used[b->tier] &= ~(1u << b->size);
    b->place = BATCH_NOWHERE;
    s->in_lines--;
}

void line_remove(struct queue *q, uint32_t batch) {
    uint32_t site = batch_at(q, batch)->site;
    out(q, batch);
    if (site_at(q, site)->in_lines == 0)
        site_place(q, site);
}

static uint32_t oldest_of(const struct queue *q, const struct site *s, unsigned tier) {
    uint32_t best = 0;
    for (unsigned left = s->tiers_used[tier]; left; left &= left - 1) {
        uint32_t i = s->lines[tier][__builtin_ctz(left)].first;
        if (!best || before(batch_at(q, i)->order, batch_at(q, best)->order))
            best = i;
    }
    return best;
}

static uint32_t oldest(const struct queue *q, const struct site *s) {
    uint32_t found = 0;
    for (unsigned i = 0; !found && i < TIERS; i++)
        found = oldest_of(q, s, TIERS - 1 - i);
    return found;
}

/* The shortest that is shorter than size; among equals the higher priority, then the older. */
static uint32_t shorter(const struct site *s, unsigned size) {
    for (unsigned i = 0; i < size; i++)
        for (unsigned k = 0; k < TIERS; k++)
            if (s->lines[TIERS - 1 - k][i].first)
                return s->lines[TIERS - 1 - k][i].first;
    return 0;
}

static bool may_lend(const struct site *s, uint64_t num) {
    return s->lender == num && (uint64_t)(s->lent + 1) * JOBS_FOR_A_PLACE <= s->taken;
}

static void count_taken(struct site *s, uint64_t num) {
    if (s->lender != num) {
        s->lender = num;
        s->taken = s->lent = 0;
    }
    s->taken++;
}

uint32_t line_take(struct queue *q, uint32_t site) {
    struct site *s = site_at(q, site);
    uint32_t batch = oldest(q, s), other = 0;
    if (!batch)
        return 0;
    const struct batch *b = batch_at(q, batch);
    uint64_t num = message_at(q, b->message)->num;
    if (b->size > 0 && may_lend(s, num))
        other = shorter(s, b->size);
    if (other)
        s->lent++;
    else if (b->size > 0)
        count_taken(s, num);
    batch = other ? other : batch;
    out(q, batch);
    return batch;
}
