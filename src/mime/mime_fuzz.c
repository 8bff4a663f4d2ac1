/* The structure does not depend on how the bytes were cut, bodies stand where the offsets say, limits hold. */
#include "mime/mime.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
    struct mime m;
    struct buf bodies;
    struct buf order;
};

/* Every piece of a body is put down with the number of its part. */
static void run(struct result *r, str bytes, size_t cut) {
    r->bodies = BUF(64 << 20);
    r->order = BUF(1 << 20);
    mime_init(&r->m);
    uint64_t at = 0;
    for (size_t done = 0;; done += cut) {
        str in = str_sub(bytes, done, cut);
        bool last = done + cut >= bytes.n;
        enum mime_event e;
        while ((e = mime_next(&r->m, &in, last)) != MIME_INPUT && e != MIME_DONE) {
            struct mime_part *p = mime_part(&r->m);
            if (e == MIME_PART) {
                buf_u32(&r->order, r->m.current);
                buf_u64(&r->order, r->m.header.n);
                assert(p->header_offset + p->header_length == p->body_offset && p->body_offset <= bytes.n);
                assert(str_eq(r->m.header, str_sub(bytes, p->header_offset, r->m.header.n)));
                at = p->body_offset;
                continue;
            }
            assert(!p->container);
            assert(str_eq(r->m.piece, str_sub(bytes, at, r->m.piece.n)));
            at += r->m.piece.n;
            buf_add(&r->bodies, r->m.piece);
        }
        assert(in.n == 0);
        if (last)
            return;
    }
}

static void check_tree(const struct mime *m, size_t size) {
    uint64_t leaves = 0;
    assert(m->count >= 1 && m->count <= MIME_PARTS_MAX && m->offset == size);
    for (uint32_t i = 0; i < m->count; i++) {
        const struct mime_part *p = &m->parts[i];
        assert(p->depth <= MIME_DEPTH_MAX && p->body_offset + p->body_length <= size);
        assert(p->lines <= p->body_length);
        leaves += p->container ? 0 : p->body_length;
        if (i == 0)
            continue;
        const struct mime_part *up = &m->parts[p->parent];
        assert(p->parent < i && up->container && p->number <= up->children);
        assert(p->header_offset >= up->body_offset);
        assert(p->body_offset + p->body_length <= up->body_offset + up->body_length);
    }
    assert(leaves <= size);
}

static void check_same(const struct result *a, const struct result *b) {
    assert(a->m.count == b->m.count);
    assert(str_eq(buf_str(&a->bodies), buf_str(&b->bodies)));
    assert(str_eq(buf_str(&a->order), buf_str(&b->order)));
    for (uint32_t i = 0; i < a->m.count; i++) {
        const struct mime_part *p = &a->m.parts[i], *q = &b->m.parts[i];
        assert(p->body_offset == q->body_offset && p->body_length == q->body_length && p->lines == q->lines);
        assert(p->faults == q->faults && p->container == q->container && p->parent == q->parent);
        assert(str_eq(p->type, q->type) && str_eq(p->filename, q->filename));
    }
    for (int f = 0; f < MIME_FAULT_COUNT; f++)
        assert(a->m.faults[f].count == b->m.faults[f].count && a->m.faults[f].first == b->m.faults[f].first);
}

static void end(struct result *r) {
    mime_free(&r->m);
    buf_free(&r->bodies);
    buf_free(&r->order);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const size_t cuts[] = {1, 2, 7, 100};
    str bytes = str_n(data, size);
    struct result whole;
    run(&whole, bytes, size ? size : 1);
    check_tree(&whole.m, size);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < whole.m.count; i++)
        sum += whole.m.parts[i].container ? 0 : whole.m.parts[i].body_length;
    assert(sum == whole.bodies.n);
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        struct result cut;
        run(&cut, bytes, cuts[i]);
        check_same(&whole, &cut);
        end(&cut);
    }
    end(&whole);
    return 0;
}
