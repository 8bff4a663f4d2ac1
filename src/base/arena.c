#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_FIRST = 480, CHUNK_NEXT = 4064 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, size;
    alignas(max_align_t) char bytes[];
};

static struct arena_chunk *chunk_new(struct arena *a, size_t n) {
    size_t size = a->chunks ? CHUNK_NEXT : CHUNK_FIRST;
    if (size < n)
        size = n;
    struct arena_chunk *c = malloc(sizeof *c + size);
    if (!c)
        return NULL;
    *c = (struct arena_chunk){.next = a->chunks, .size = size};
    a->chunks = c;
    return c;
}

void *arena_alloc(struct arena *a, size_t n) {
    size_t align = alignof(max_align_t);
    if (n > a->limit || a->used > a->limit - n) {
        a->full = true;
        return NULL;
    }
    n = (n + align - 1) / align * align;
    struct arena_chunk *c = a->chunks;
    if (!c || c->size - c->used < n)
        c = chunk_new(a, n);
    if (!c) {
        a->full = true;
        return NULL;
    }
    void *p = c->bytes + c->used;
    c->used += n;
    a->used += n;
    memset(p, 0, n);
    return p;
}

str arena_str(struct arena *a, str s) {
    char *p = arena_alloc(a, s.n + 1);
    if (!p)
        return STR_NONE;
    if (s.n)
        memcpy(p, s.p, s.n);
    return (str){p, s.n};
}

void arena_reset(struct arena *a) {
    while (a->chunks && a->chunks->next) {
        struct arena_chunk *c = a->chunks;
        a->chunks = c->next;
        free(c);
    }
    if (a->chunks && a->chunks->size > CHUNK_NEXT) {
        free(a->chunks);
        a->chunks = NULL;
    }
    if (a->chunks)
        a->chunks->used = 0;
    a->used = 0;
    a->full = false;
}

void arena_free(struct arena *a) {
    while (a->chunks) {
        struct arena_chunk *c = a->chunks;
        a->chunks = c->next;
        free(c);
    }
    *a = ARENA(a->limit);
}

void arena_wipe(struct arena *a) {
    for (struct arena_chunk *c = a->chunks; c; c = c->next)
        explicit_bzero(c->bytes, c->used);
    arena_free(a);
}
