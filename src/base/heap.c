#include "base/heap.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { FANOUT = 4 }; /* four children share a cache line: half the levels of a binary heap */

void heap_free(struct heap *h) {
    free(h->keys);
    free(h->items);
    free(h->places);
    *h = (struct heap){0};
}

static uint32_t more(uint32_t room, uint32_t wanted) {
    uint32_t next = room + room / 4 + 16;
    return next < wanted ? wanted : next;
}

static bool grow_places(struct heap *h, uint32_t item) {
    if (item < h->places_room)
        return true;
    uint32_t room = more(h->places_room, item + 1);
    uint32_t *places = realloc(h->places, room * sizeof *places);
    if (!places)
        return false;
    memset(places + h->places_room, 0, (room - h->places_room) * sizeof *places);
    h->places = places;
    h->places_room = room;
    return true;
}

/* Every thing that has a place may come in at once. */
static bool grow_room(struct heap *h) {
    if (h->room >= h->places_room)
        return true;
    uint64_t *keys = realloc(h->keys, h->places_room * sizeof *keys);
    if (keys)
        h->keys = keys;
    uint32_t *items = realloc(h->items, h->places_room * sizeof *items);
    if (items)
        h->items = items;
    if (!keys || !items)
        return false;
    h->room = h->places_room;
    return true;
}

bool heap_reserve(struct heap *h, uint32_t item) {
    assert(item);
    return grow_places(h, item) && grow_room(h);
}

static void put(struct heap *h, uint32_t at, uint64_t key, uint32_t item) {
    h->keys[at] = key;
    h->items[at] = item;
    h->places[item] = at + 1;
}

static uint32_t rise(struct heap *h, uint32_t at, uint64_t key) {
    while (at > 0 && h->keys[(at - 1) / FANOUT] > key) {
        uint32_t parent = (at - 1) / FANOUT;
        put(h, at, h->keys[parent], h->items[parent]);
        at = parent;
    }
    return at;
}

static uint32_t smallest_child(const struct heap *h, uint32_t at) {
    uint32_t first = at * FANOUT + 1, best = first;
    for (uint32_t i = first + 1; i < h->count && i < first + FANOUT; i++)
        if (h->keys[i] < h->keys[best])
            best = i;
    return best;
}

static uint32_t sink(struct heap *h, uint32_t at, uint64_t key) {
    for (;;) {
        uint32_t child = smallest_child(h, at);
        if (child >= h->count || h->keys[child] >= key)
            return at;
        put(h, at, h->keys[child], h->items[child]);
        at = child;
    }
}

static void settle(struct heap *h, uint32_t at, uint64_t key, uint32_t item) {
    uint32_t risen = rise(h, at, key);
    put(h, risen == at ? sink(h, at, key) : risen, key, item);
}

void heap_set(struct heap *h, uint32_t item, uint64_t key) {
    assert(item && item < h->places_room);
    if (h->places[item]) {
        settle(h, h->places[item] - 1, key, item);
        return;
    }
    assert(h->count < h->room);
    put(h, rise(h, h->count++, key), key, item);
}

void heap_remove(struct heap *h, uint32_t item) {
    if (!heap_has(h, item))
        return;
    uint32_t at = h->places[item] - 1, last = --h->count;
    h->places[item] = 0;
    if (at != last)
        settle(h, at, h->keys[last], h->items[last]);
}

bool heap_has(const struct heap *h, uint32_t item) {
    return item < h->places_room && h->places[item];
}

uint64_t heap_key(const struct heap *h, uint32_t item) {
    assert(heap_has(h, item));
    return h->keys[h->places[item] - 1];
}

uint32_t heap_first(const struct heap *h) {
    return h->count ? h->items[0] : 0;
}

uint64_t heap_first_key(const struct heap *h) {
    return h->count ? h->keys[0] : UINT64_MAX;
}

size_t heap_bytes(const struct heap *h) {
    return h->room * (sizeof *h->keys + sizeof *h->items) + h->places_room * sizeof *h->places;
}
