/* map.h - a hash table from 64-bit keys or from strings to pointers.  Open addressing; the map owns
 * its slots and nothing else: values and string keys belong to the caller and must outlive their
 * entry.  Seed it with random bytes where keys come from outside. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/str.h"

struct map_slot {
    uint64_t hash; /* 0 = never used, 1 = removed */
    uint64_t key;
    str name;
    void *value;
};

struct map {
    struct map_slot *slots;
    size_t size, used, dead; /* size is a power of two */
    uint64_t seed;
};

#define MAP(random_seed) ((struct map){.seed = (random_seed)})

void map_free(struct map *m);

void *map_get(const struct map *m, uint64_t key);                  /* NULL when absent */
bool map_put(struct map *m, uint64_t key, void *value) MUST_CHECK; /* replaces; false: no memory */
void *map_remove(struct map *m, uint64_t key);                     /* the value, or NULL */

void *map_get_str(const struct map *m, str name);
bool map_put_str(struct map *m, str name, void *value) MUST_CHECK;
void *map_remove_str(struct map *m, str name);

/* Walks all values: start with *at = 0; NULL at the end.  Do not put while walking. */
void *map_next(const struct map *m, size_t *at);

#endif
