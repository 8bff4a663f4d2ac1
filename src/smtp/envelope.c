#include "smtp/envelope.h"

enum { TAG_RCPT = 1, TAG_DELIVERY = 200 };

static void put_str(struct buf *out, uint8_t tag, str s) {
    if (s.n == 0)
        return;
    buf_u8(out, tag);
    buf_lstr(out, s);
}

static void put_num(struct buf *out, uint8_t tag, uint64_t v) {
    if (v == 0)
        return;
    buf_u8(out, tag);
    buf_u32(out, 8);
    buf_u64(out, v);
}

static void put_delivery(struct buf *out, const struct envelope_delivery *d) {
    const str texts[] = {d->address, d->sender, d->target, d->detail, d->rule, d->via};
    size_t size = 9;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        size += 4 + texts[i].n;
    buf_u8(out, TAG_DELIVERY);
    buf_u32(out, (uint32_t)size);
    buf_u32(out, d->rcpt);
    buf_u32(out, d->kind);
    buf_u8(out, d->has_sender);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        buf_lstr(out, texts[i]);
}

void envelope_put(struct buf *out, const struct envelope *e) {
#define STR(tag, name) put_str(out, tag, e->name);
#define NUM(tag, name) put_num(out, tag, e->name);
#include "smtp/envelope.def"
#undef STR
#undef NUM
    for (size_t i = 0; i < e->rcpt_count; i++) {
        const struct envelope_rcpt *r = &e->rcpts[i];
        buf_u8(out, TAG_RCPT);
        buf_u32(out, (uint32_t)(8 + r->address.n + r->params.n));
        buf_lstr(out, r->address);
        buf_lstr(out, r->params);
    }
    for (size_t i = 0; i < e->delivery_count; i++)
        put_delivery(out, &e->deliveries[i]);
}

static bool take_num(str s, uint64_t *v) {
    return take_u64(&s, v) && s.n == 0;
}

static bool take_rcpt(str s, struct envelope_rcpt *r) {
    return take_lstr(&s, &r->address) && take_lstr(&s, &r->params) && s.n == 0;
}

/* What a later Penfold adds behind these is skipped. */
static bool take_delivery(str s, struct envelope_delivery *d) {
    uint8_t has_sender;
    bool good = take_u32(&s, &d->rcpt) && take_u32(&s, &d->kind) && take_u8(&s, &has_sender) &&
                take_lstr(&s, &d->address) && take_lstr(&s, &d->sender) && take_lstr(&s, &d->target) &&
                take_lstr(&s, &d->detail) && take_lstr(&s, &d->rule) && take_lstr(&s, &d->via);
    d->has_sender = good && has_sender;
    return good;
}

static enum err count_rows(str s, size_t *rcpts, size_t *deliveries) {
    uint8_t tag;
    str value;
    *rcpts = *deliveries = 0;
    while (s.n) {
        if (!take_u8(&s, &tag) || !take_lstr(&s, &value))
            return ERR_CORRUPT;
        *rcpts += tag == TAG_RCPT;
        *deliveries += tag == TAG_DELIVERY;
    }
    return OK;
}

static bool take_field(struct envelope *e, uint8_t tag, str value) {
    switch (tag) {
#define STR(tag, name)                                                                                                 \
    case tag:                                                                                                          \
        e->name = value;                                                                                               \
        return true;
#define NUM(tag, name)                                                                                                 \
    case tag:                                                                                                          \
        return take_num(value, &e->name);
#include "smtp/envelope.def"
#undef STR
#undef NUM
    case TAG_RCPT: return take_rcpt(value, &e->rcpts[e->rcpt_count++]);
    case TAG_DELIVERY: return take_delivery(value, &e->deliveries[e->delivery_count++]);
    default: return true;
    }
}

enum err envelope_take(str bytes, struct arena *a, struct envelope *e) {
    size_t rcpts, deliveries;
    *e = (struct envelope){0};
    enum err err = count_rows(bytes, &rcpts, &deliveries);
    if (err)
        return err;
    e->rcpts = rcpts ? arena_alloc(a, rcpts * sizeof *e->rcpts) : NULL;
    e->deliveries = deliveries ? arena_alloc(a, deliveries * sizeof *e->deliveries) : NULL;
    if ((rcpts && !e->rcpts) || (deliveries && !e->deliveries))
        return ERR_NOMEM;
    while (bytes.n) {
        uint8_t tag;
        str value;
        if (!take_u8(&bytes, &tag) || !take_lstr(&bytes, &value) || !take_field(e, tag, value))
            return ERR_CORRUPT;
    }
    return OK;
}
