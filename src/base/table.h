/* table.h - finds numbered things (those of a pool) by the hash of their key.  The table knows hashes, not keys: who
 * asks goes through the things of one hash and compares.  It grows by one bucket at a time, so that no single insertion
 * takes long (linear hashing).
 *
 *     for (uint32_t i = table_first(t, hash); i; i = table_next(t, i))
 *         if (is_it(i)) ... */
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include "base/str.h"

struct table_node {
    uint32_t next, hash;
};

struct table {
    uint32_t *buckets;
    uint32_t bucket_count, bucket_room; /* in use; allocated */
    struct table_node *nodes;           /* by thing */
    uint32_t node_room, count;
};

void table_free(struct table *t);
bool table_put(struct table *t, uint32_t item, uint32_t hash) MUST_CHECK; /* not in it yet; false: no memory */
void table_remove(struct table *t, uint32_t item);                        /* is in it */
uint32_t table_first(const struct table *t, uint32_t hash);               /* 0: none */
uint32_t table_next(const struct table *t, uint32_t item);
size_t table_bytes(const struct table *t);

uint64_t hash_u64(uint64_t seed, uint64_t value);
uint64_t hash_str(uint64_t seed, str s);

#endif
