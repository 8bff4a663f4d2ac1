/* pool.h - many things of one size, each known by a small number instead of a pointer: half the bytes, and other
 * tables (heap.h, table.h) can be arrays beside it.  Things never move; memory comes in chunks and is given back when
 * the pool is freed, or its last thing is. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/str.h"

struct pool {
    size_t item_size; /* at least 4 */
    unsigned shift;   /* of things in a chunk */
    char **chunks;
    uint32_t chunk_count, chunk_room;
    uint32_t top, free_first, live;
};

/* A ring-less double list of things of one pool: 0 is nobody. */
struct pool_link {
    uint32_t next, prev;
};
struct pool_chain {
    uint32_t first, last;
};

void pool_init(struct pool *p, size_t item_size);
void pool_free(struct pool *p);
uint32_t pool_take(struct pool *p) MUST_CHECK; /* zeroed; 0: no memory */
void pool_give(struct pool *p, uint32_t item); /* its bytes are zeroed, but for the first 4 */
size_t pool_bytes(const struct pool *p);

static inline void *pool_at(const struct pool *p, uint32_t item) {
    uint32_t i = item - 1;
    return p->chunks[i >> p->shift] + (i & ((1u << p->shift) - 1)) * p->item_size;
}

/* link_at: where the struct pool_link stands in a thing, by offsetof. */
void chain_add_tail(const struct pool *p, size_t link_at, struct pool_chain *c, uint32_t item);
void chain_add_head(const struct pool *p, size_t link_at, struct pool_chain *c, uint32_t item);
void chain_remove(const struct pool *p, size_t link_at, struct pool_chain *c, uint32_t item);

#endif
