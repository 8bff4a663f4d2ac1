#include "base/map.h"

#include <assert.h>
#include <stdlib.h>

static uint64_t mix(uint64_t x) {
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdULL;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ULL;
    return x ^ (x >> 33);
}

static uint64_t usable(uint64_t h) {
    return h < 2 ? h + 2 : h;
}

static uint64_t hash_int(const struct map *m, uint64_t key) {
    return usable(mix(key ^ m->seed));
}

static uint64_t hash_str(const struct map *m, str s) {
    uint64_t h = m->seed ^ (s.n * 0x9e3779b97f4a7c15ULL);
    for (size_t i = 0; i < s.n; i++)
        h = mix(h ^ (unsigned char)s.p[i]) + i;
    return usable(mix(h));
}

static struct map_slot *find(const struct map *m, uint64_t hash, uint64_t key, str name) {
    if (m->size == 0)
        return NULL;
    for (size_t i = hash & (m->size - 1);; i = (i + 1) & (m->size - 1)) {
        struct map_slot *s = &m->slots[i];
        if (s->hash == 0)
            return NULL;
        if (s->hash == hash && s->key == key && str_eq(s->name, name))
            return s;
    }
}

static void place(struct map *m, struct map_slot slot) {
    size_t i = slot.hash & (m->size - 1);
    while (m->slots[i].hash > 1)
        i = (i + 1) & (m->size - 1);
    if (m->slots[i].hash == 1)
        m->dead--;
    m->slots[i] = slot;
    m->used++;
}

static bool grow(struct map *m) {
    if ((m->used + m->dead + 1) * 4 < m->size * 3)
        return true;
    struct map old = *m;
    m->size = old.size < 16 ? 16 : (old.used * 2 >= old.size ? old.size * 2 : old.size);
    m->slots = calloc(m->size, sizeof *m->slots);
    if (!m->slots) {
        *m = old;
        return false;
    }
    m->used = m->dead = 0;
    for (size_t i = 0; i < old.size; i++)
        if (old.slots[i].hash > 1)
            place(m, old.slots[i]);
    free(old.slots);
    return true;
}

static bool put(struct map *m, struct map_slot slot) {
    assert(slot.value);
    struct map_slot *s = find(m, slot.hash, slot.key, slot.name);
    if (s) {
        *s = slot;
        return true;
    }
    if (!grow(m))
        return false;
    place(m, slot);
    return true;
}

static void *removed(struct map *m, struct map_slot *s) {
    if (!s)
        return NULL;
    void *value = s->value;
    *s = (struct map_slot){.hash = 1};
    m->used--;
    m->dead++;
    return value;
}

void map_free(struct map *m) {
    free(m->slots);
    *m = MAP(m->seed);
}

void *map_get(const struct map *m, uint64_t key) {
    struct map_slot *s = find(m, hash_int(m, key), key, STR_NONE);
    return s ? s->value : NULL;
}

bool map_put(struct map *m, uint64_t key, void *value) {
    return put(m, (struct map_slot){.hash = hash_int(m, key), .key = key, .value = value});
}

void *map_remove(struct map *m, uint64_t key) {
    return removed(m, find(m, hash_int(m, key), key, STR_NONE));
}

void *map_get_str(const struct map *m, str name) {
    struct map_slot *s = find(m, hash_str(m, name), 0, name);
    return s ? s->value : NULL;
}

bool map_put_str(struct map *m, str name, void *value) {
    return put(m, (struct map_slot){.hash = hash_str(m, name), .name = name, .value = value});
}

void *map_remove_str(struct map *m, str name) {
    return removed(m, find(m, hash_str(m, name), 0, name));
}

void *map_next(const struct map *m, size_t *at) {
    while (*at < m->size) {
        const struct map_slot *s = &m->slots[(*at)++];
        if (s->hash > 1)
            return s->value;
    }
    return NULL;
}
