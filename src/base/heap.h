/* heap.h - which of many numbered things comes first: a heap of 64-bit keys (times).  Things are small numbers from 1
 * (those of a pool); the heap remembers where each stands, so any of them can be moved or removed. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include "base/str.h"

struct heap {
    uint64_t *keys;
    uint32_t *items;
    uint32_t *places; /* of a thing, from 1; 0: it is not in the heap */
    uint32_t count, room, places_room;
};

void heap_free(struct heap *h);
/* Room for this thing beside all that are in it: heap_set() of it cannot fail then, until heap_free(). */
bool heap_reserve(struct heap *h, uint32_t item) MUST_CHECK;
void heap_set(struct heap *h, uint32_t item, uint64_t key); /* puts it in, or changes its key */
void heap_remove(struct heap *h, uint32_t item);            /* nothing happens when it is not in */
bool heap_has(const struct heap *h, uint32_t item);
uint64_t heap_key(const struct heap *h, uint32_t item);
uint32_t heap_first(const struct heap *h);     /* the thing of the smallest key; 0: none */
uint64_t heap_first_key(const struct heap *h); /* UINT64_MAX: none */
size_t heap_bytes(const struct heap *h);

#endif
