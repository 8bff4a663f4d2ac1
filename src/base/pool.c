#include "base/pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 64 * 1024 };

void pool_init(struct pool *p, size_t item_size) {
    assert(item_size >= sizeof(uint32_t) && item_size <= CHUNK_BYTES);
    *p = (struct pool){.item_size = item_size};
    while ((item_size << (p->shift + 1)) <= CHUNK_BYTES)
        p->shift++;
}

void pool_free(struct pool *p) {
    for (uint32_t i = 0; i < p->chunk_count; i++)
        free(p->chunks[i]);
    free(p->chunks);
    pool_init(p, p->item_size);
}

static bool add_chunk(struct pool *p) {
    if (p->chunk_count == p->chunk_room) {
        uint32_t room = p->chunk_room ? p->chunk_room * 2 : 8;
        char **more = realloc(p->chunks, room * sizeof *more);
        if (!more)
            return false;
        p->chunks = more;
        p->chunk_room = room;
    }
    p->chunks[p->chunk_count] = calloc((size_t)1 << p->shift, p->item_size);
    if (!p->chunks[p->chunk_count])
        return false;
    p->chunk_count++;
    return true;
}

uint32_t pool_take(struct pool *p) {
    uint32_t item = p->free_first;
    if (item) {
        memcpy(&p->free_first, pool_at(p, item), sizeof p->free_first);
        memset(pool_at(p, item), 0, sizeof p->free_first);
        p->live++;
        return item;
    }
    if (p->top == p->chunk_count << p->shift && !add_chunk(p))
        return 0;
    p->live++;
    return ++p->top;
}

void pool_give(struct pool *p, uint32_t item) {
    assert(item && item <= p->top && p->live > 0);
    if (--p->live == 0 && p->chunk_count > 1) {
        pool_free(p);
        return;
    }
    memset(pool_at(p, item), 0, p->item_size);
    memcpy(pool_at(p, item), &p->free_first, sizeof p->free_first);
    p->free_first = item;
}

size_t pool_bytes(const struct pool *p) {
    return p->chunk_count * (p->item_size << p->shift) + p->chunk_room * sizeof *p->chunks;
}

static struct pool_link *link_of(const struct pool *p, size_t link_at, uint32_t item) {
    return (struct pool_link *)((char *)pool_at(p, item) + link_at);
}

void chain_add_tail(const struct pool *p, size_t link_at, struct pool_chain *c, uint32_t item) {
    *link_of(p, link_at, item) = (struct pool_link){.prev = c->last};
    *(c->last ? &link_of(p, link_at, c->last)->next : &c->first) = item;
    c->last = item;
}

void chain_add_head(const struct pool *p, size_t link_at, struct pool_chain *c, uint32_t item) {
    *link_of(p, link_at, item) = (struct pool_link){.next = c->first};
    *(c->first ? &link_of(p, link_at, c->first)->prev : &c->last) = item;
    c->first = item;
}

void chain_remove(const struct pool *p, size_t link_at, struct pool_chain *c, uint32_t item) {
    struct pool_link *l = link_of(p, link_at, item);
    *(l->prev ? &link_of(p, link_at, l->prev)->next : &c->first) = l->next;
    *(l->next ? &link_of(p, link_at, l->next)->prev : &c->last) = l->prev;
    *l = (struct pool_link){0};
}
