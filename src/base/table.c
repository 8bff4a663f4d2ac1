#include "base/table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS_MIN = 16 };

void table_free(struct table *t) {
    free(t->buckets);
    free(t->nodes);
    *t = (struct table){0};
}

static uint32_t power_below(uint32_t n) {
    return UINT32_C(1) << (31 - __builtin_clz(n));
}

/* Buckets below (count - power) are split already: they and their new halves go by one bit more. */
static uint32_t bucket_of(const struct table *t, uint32_t hash) {
    uint32_t power = power_below(t->bucket_count), at = hash & (power * 2 - 1);
    return at < t->bucket_count ? at : at - power;
}

static bool grow_buckets(struct table *t) {
    if (t->bucket_count < t->bucket_room)
        return true;
    uint32_t room = t->bucket_room ? t->bucket_room * 2 : BUCKETS_MIN;
    uint32_t *more = realloc(t->buckets, room * sizeof *more);
    if (!more)
        return false;
    memset(more + t->bucket_room, 0, (room - t->bucket_room) * sizeof *more);
    t->buckets = more;
    t->bucket_room = room;
    if (!t->bucket_count)
        t->bucket_count = BUCKETS_MIN;
    return true;
}

static bool grow_nodes(struct table *t, uint32_t item) {
    if (item < t->node_room)
        return true;
    uint32_t room = t->node_room + t->node_room / 4 + 16;
    if (room <= item)
        room = item + 1;
    struct table_node *more = realloc(t->nodes, room * sizeof *more);
    if (!more)
        return false;
    t->nodes = more;
    t->node_room = room;
    return true;
}

static void hang(struct table *t, uint32_t item) {
    uint32_t *bucket = &t->buckets[bucket_of(t, t->nodes[item].hash)];
    t->nodes[item].next = *bucket;
    *bucket = item;
}

static void split_one(struct table *t) {
    uint32_t power = power_below(t->bucket_count), old = t->bucket_count - power;
    uint32_t item = t->buckets[old];
    t->buckets[old] = 0;
    t->bucket_count++;
    while (item) {
        uint32_t next = t->nodes[item].next;
        hang(t, item);
        item = next;
    }
}

bool table_put(struct table *t, uint32_t item, uint32_t hash) {
    assert(item);
    if (!grow_nodes(t, item) || !grow_buckets(t))
        return false;
    t->nodes[item].hash = hash;
    hang(t, item);
    if (++t->count > t->bucket_count)
        split_one(t);
    return true;
}

void table_remove(struct table *t, uint32_t item) {
    uint32_t *at = &t->buckets[bucket_of(t, t->nodes[item].hash)];
    while (*at != item)
        at = &t->nodes[*at].next;
    *at = t->nodes[item].next;
    t->count--;
}

static uint32_t same_hash(const struct table *t, uint32_t item, uint32_t hash) {
    while (item && t->nodes[item].hash != hash)
        item = t->nodes[item].next;
    return item;
}

uint32_t table_first(const struct table *t, uint32_t hash) {
    return t->count ? same_hash(t, t->buckets[bucket_of(t, hash)], hash) : 0;
}

uint32_t table_next(const struct table *t, uint32_t item) {
    return same_hash(t, t->nodes[item].next, t->nodes[item].hash);
}

size_t table_bytes(const struct table *t) {
    return t->bucket_room * sizeof *t->buckets + t->node_room * sizeof *t->nodes;
}

uint64_t hash_u64(uint64_t seed, uint64_t value) {
    uint64_t x = (value ^ seed) + UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t hash_str(uint64_t seed, str s) {
    uint64_t h = hash_u64(seed, s.n), word;
    for (; s.n >= sizeof word; s = str_tail(s, sizeof word)) {
        memcpy(&word, s.p, sizeof word);
        h = hash_u64(h, word);
    }
    word = 0;
    if (s.n)
        memcpy(&word, s.p, s.n);
    return hash_u64(h, word);
}
