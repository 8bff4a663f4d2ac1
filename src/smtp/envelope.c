#include "smtp/envelope.h"

enum { TAG_RCPT = 1 };

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
}

static bool take_num(str s, uint64_t *v) {
    return take_u64(&s, v) && s.n == 0;
}

static bool take_rcpt(str s, struct envelope_rcpt *r) {
    return take_lstr(&s, &r->address) && take_lstr(&s, &r->params) && s.n == 0;
}

static enum err count_rcpts(str s, size_t *count) {
    uint8_t tag;
    str value;
    *count = 0;
    while (s.n) {
        if (!take_u8(&s, &tag) || !take_lstr(&s, &value))
            return ERR_CORRUPT;
        *count += tag == TAG_RCPT;
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
    default: return true;
    }
}

enum err envelope_take(str bytes, struct arena *a, struct envelope *e) {
    size_t count;
    *e = (struct envelope){0};
    enum err err = count_rcpts(bytes, &count);
    if (err)
        return err;
    e->rcpts = count ? arena_alloc(a, count * sizeof *e->rcpts) : NULL;
    if (count && !e->rcpts)
        return ERR_NOMEM;
    while (bytes.n) {
        uint8_t tag;
        str value;
        if (!take_u8(&bytes, &tag) || !take_lstr(&bytes, &value) || !take_field(e, tag, value))
            return ERR_CORRUPT;
    }
    return OK;
}
