/* Entries, and the batches and messages that they make: counted in, counted out. */
#include "queue/queue_in.h"

#include <assert.h>

static uint32_t entry_hash(const struct queue *q, uint64_t num, uint32_t index) {
    return (uint32_t)hash_u64(q->o.seed + index * UINT64_C(0x9e3779b97f4a7c15), num);
}

uint32_t entry_find(const struct queue *q, uint64_t num, uint32_t index) {
    for (uint32_t i = table_first(&q->entry_table, entry_hash(q, num, index)); i; i = table_next(&q->entry_table, i)) {
        const struct entry *e = entry_at(q, i);
        if (e->index == index && message_at(q, batch_at(q, e->batch)->message)->num == num)
            return i;
    }
    return 0;
}

/* ---- messages */

static uint32_t message_find(const struct queue *q, uint64_t num, uint32_t hash) {
    uint32_t i = table_first(&q->message_table, hash);
    while (i && message_at(q, i)->num != num)
        i = table_next(&q->message_table, i);
    return i;
}

static uint32_t message_for(struct queue *q, const struct queue_entry *from) {
    uint32_t hash = (uint32_t)hash_u64(q->o.seed, from->num), i = message_find(q, from->num, hash);
    if (i)
        return i;
    i = pool_take(&q->messages);
    if (!i)
        return 0;
    if (!table_put(&q->message_table, i, hash)) {
        pool_give(&q->messages, i);
        return 0;
    }
    *message_at(q, i) = (struct message){.num = from->num, .created_ms = from->created_ms};
    return i;
}

static void message_leave(struct queue *q, uint32_t message) {
    if (message_at(q, message)->entries > 0)
        return;
    table_remove(&q->message_table, message);
    pool_give(&q->messages, message);
}

/* ---- batches */

static uint32_t batch_hash(const struct batch *b) {
    return (uint32_t)hash_u64(b->sender, (uint64_t)b->message << 32 | b->hop);
}

static bool same_batch(const struct batch *a, const struct batch *b) {
    return a->message == b->message && a->hop == b->hop && a->sender == b->sender && a->expires_ms == b->expires_ms &&
           a->priority == b->priority;
}

static uint32_t batch_find(const struct queue *q, const struct batch *like) {
    uint32_t i = table_first(&q->batch_table, batch_hash(like));
    while (i && !same_batch(batch_at(q, i), like))
        i = table_next(&q->batch_table, i);
    return i;
}

static uint32_t batch_for(struct queue *q, const struct batch *like) {
    uint32_t i = batch_find(q, like);
    if (i)
        return i;
    i = pool_take(&q->batches);
    if (!i)
        return 0;
    if (!table_put(&q->batch_table, i, batch_hash(like))) {
        pool_give(&q->batches, i);
        return 0;
    }
    *batch_at(q, i) = *like;
    hop_used(q, like->hop);
    return i;
}

static void batch_leave(struct queue *q, uint32_t batch) {
    const struct batch *b = batch_at(q, batch);
    if (b->entries > 0)
        return;
    assert(b->place == BATCH_NOWHERE && b->ready == 0);
    table_remove(&q->batch_table, batch);
    hop_unused(q, b->hop);
    pool_give(&q->batches, batch);
}

/* RFC 6710 lets a server know fewer levels than 19: three are easy to foretell. */
static uint8_t tier_of(uint8_t priority) {
    return priority < 10 ? 0 : priority == 10 ? 1 : 2;
}

static uint32_t batch_of_entry(struct queue *q, const struct queue_entry *from, uint32_t message) {
    uint8_t priority = from->priority ? from->priority : 10;
    struct batch like = {.sender = hash_str(q->o.seed, from->sender),
                         .expires_ms = from->expires_ms,
                         .message = message,
                         .hop = hop_for(q, from->kind, from->next_hop, from->route),
                         .priority = priority,
                         .tier = tier_of(priority)};
    return like.hop ? batch_for(q, &like) : 0;
}

/* ---- entries */

static uint32_t entry_take(struct queue *q, const struct queue_entry *from) {
    uint32_t i = pool_take(&q->entries);
    if (!i)
        return 0;
    if (heap_reserve(&q->alarms, i) && table_put(&q->entry_table, i, entry_hash(q, from->num, from->index)))
        return i;
    pool_give(&q->entries, i);
    return 0;
}

uint32_t entry_new(struct queue *q, const struct queue_entry *from) {
    uint32_t message = message_for(q, from);
    if (!message)
        return 0;
    uint32_t batch = batch_of_entry(q, from, message), entry = batch ? entry_take(q, from) : 0;
    if (!entry) {
        if (batch)
            batch_leave(q, batch);
        message_leave(q, message);
        return 0;
    }
    *entry_at(q, entry) = (struct entry){
        .batch = batch,
        .index = from->index,
        .next_ms = from->next_ms,
        .attempts = (uint16_t)(from->attempts < UINT16_MAX ? from->attempts : UINT16_MAX),
        .flags = from->late_told ? ENTRY_LATE_ASKED : 0,
    };
    batch_at(q, batch)->entries++;
    message_at(q, message)->entries++;
    return entry;
}

/* An empty queue gives back what a full one took. */
static void tables_shrink(struct queue *q) {
    enum { KEPT = 4096 };
    if (q->entries.live > 0 || q->alarms.room < KEPT)
        return;
    table_free(&q->entry_table);
    table_free(&q->batch_table);
    table_free(&q->message_table);
    heap_free(&q->alarms);
}

void entry_free(struct queue *q, uint32_t entry) {
    uint32_t batch = entry_at(q, entry)->batch, message = batch_at(q, batch)->message;
    entry_set_state(q, entry, ENTRY_NONE);
    table_remove(&q->entry_table, entry);
    pool_give(&q->entries, entry);
    batch_at(q, batch)->entries--;
    message_at(q, message)->entries--;
    batch_leave(q, batch);
    message_leave(q, message);
    tables_shrink(q);
}

/* ---- states */

static bool waits(enum entry_state s) {
    return s == ENTRY_WAITING || s == ENTRY_READY || s == ENTRY_HELD;
}

static void batch_out(struct queue *q, uint32_t batch) {
    if (batch_at(q, batch)->place == BATCH_IN_LINE)
        line_remove(q, batch);
    else if (batch_at(q, batch)->place == BATCH_PARKED)
        hop_unpark(q, batch);
}

static void leave_ready(struct queue *q, uint32_t entry) {
    uint32_t batch = entry_at(q, entry)->batch;
    struct batch *b = batch_at(q, batch);
    chain_remove(&q->entries, LINK_OF(entry), &b->ready_ones, entry);
    message_at(q, b->message)->ready--;
    if (--b->ready == 0)
        batch_out(q, batch);
}

static void enter_ready(struct queue *q, uint32_t entry) {
    uint32_t batch = entry_at(q, entry)->batch;
    struct batch *b = batch_at(q, batch);
    chain_add_tail(&q->entries, LINK_OF(entry), &b->ready_ones, entry);
    message_at(q, b->message)->ready++;
    if (b->ready++ == 0) {
        b->order = q->order++;
        hop_send(q, batch);
    }
}

void entry_set_state(struct queue *q, uint32_t entry, enum entry_state state) {
    struct entry *e = entry_at(q, entry);
    enum entry_state old = e->state;
    e->state = (uint8_t)state;
    if (waits(state) != waits(old))
        hop_count_waiting(q, batch_at(q, e->batch)->hop, waits(state) ? 1 : -1);
    if (old == ENTRY_READY)
        leave_ready(q, entry);
    if (state == ENTRY_READY)
        enter_ready(q, entry);
    q->active_entries += (state == ENTRY_ACTIVE) - (old == ENTRY_ACTIVE);
    time_set_alarm(q, entry);
}

void entry_wait(struct queue *q, uint32_t entry) {
    entry_set_state(q, entry, entry_at(q, entry)->next_ms > q->now_ms ? ENTRY_WAITING : ENTRY_READY);
}

struct site *entry_site(const struct queue *q, uint32_t entry) {
    uint32_t site = hop_at(q, batch_at(q, entry_at(q, entry)->batch)->hop)->site;
    return site ? site_at(q, site) : NULL;
}
