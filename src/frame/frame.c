#include "frame/frame.h"

#include <assert.h>
#include <string.h>

const char *role_name(enum role r) {
    static const char *const names[ROLE_COUNT] = {"supervisor", "smtpd",    "store", "httpd", "content",
                                                  "delivery",   "resolver", "keyd",  "filter"};
    return (unsigned)r < ROLE_COUNT ? names[r] : "unknown";
}

enum frame_direction frame_direction(enum frame_type type) {
    switch (type) {
#define FRAME(NAME, name, number, direction, fields)                                                                   \
    case FRAME_##NAME:                                                                                                 \
        return FRAME_##direction;
#include "frame/frames.def"
#undef FRAME
    }
    return FRAME_ANY;
}

const char *frame_name(enum frame_type type) {
    switch (type) {
#define FRAME(NAME, name, number, direction, fields)                                                                   \
    case FRAME_##NAME:                                                                                                 \
        return #name;
#include "frame/frames.def"
#undef FRAME
    }
    return "unknown";
}

static void put_fields(struct buf *out, const struct frame *f) {
    switch (f->type) {
#define U8(x) buf_u8(out, v->x);
#define U32(x) buf_u32(out, v->x);
#define U64(x) buf_u64(out, v->x);
#define STR(x) buf_lstr(out, v->x);
#define FRAME(NAME, name, number, direction, fields)                                                                   \
    case FRAME_##NAME: {                                                                                               \
        const struct frame_##name *v = &f->name;                                                                       \
        fields break;                                                                                                  \
    }
#include "frame/frames.def"
#undef FRAME
#undef U8
#undef U32
#undef U64
#undef STR
    }
}

void frame_put(struct buf *out, const struct frame *f) {
    size_t start = out->n;
    buf_u32(out, 0);
    buf_u16(out, (uint16_t)f->type);
    buf_u8(out, FRAME_VERSION);
    buf_u8(out, 0);
    put_fields(out, f);
    if (out->full)
        return;
    size_t length = out->n - start;
    assert(length <= FRAME_MAX);
    for (size_t i = 0; i < 4; i++)
        out->p[start + i] = (char)(length >> (8 * i));
}

static bool take_fields(str *s, struct frame *f) {
    switch (f->type) {
#define U8(x) &&take_u8(s, &v->x)
#define U32(x) &&take_u32(s, &v->x)
#define U64(x) &&take_u64(s, &v->x)
#define STR(x) &&take_lstr(s, &v->x)
#define FRAME(NAME, name, number, direction, fields)                                                                   \
    case FRAME_##NAME: {                                                                                               \
        struct frame_##name *v = &f->name;                                                                             \
        return true fields;                                                                                            \
    }
#include "frame/frames.def"
#undef FRAME
#undef U8
#undef U32
#undef U64
#undef STR
    }
    return false; /* a type that no row has */
}

enum err frame_take(str *in, struct frame *f) {
    str s = *in;
    uint32_t length;
    uint16_t type;
    uint8_t version, zero;
    if (!take_u32(&s, &length))
        return ERR_MORE;
    if (length < FRAME_HEADER || length > FRAME_MAX)
        return ERR_LIMIT;
    if (in->n < length)
        return ERR_MORE;
    s = str_sub(*in, 4, length - 4);
    if (!take_u16(&s, &type) || !take_u8(&s, &version) || !take_u8(&s, &zero))
        return ERR_CORRUPT;
    if (version != FRAME_VERSION)
        return ERR_VERSION;
    memset(f, 0, sizeof *f);
    f->type = (enum frame_type)type;
    if (zero != 0 || !take_fields(&s, f) || s.n != 0)
        return ERR_CORRUPT;
    *in = str_tail(*in, length);
    return OK;
}
