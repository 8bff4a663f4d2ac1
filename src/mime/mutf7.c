#include "mime/mutf7.h"

#include "base/code.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/* ---- encode ---- */

struct bits {
    uint32_t held;
    unsigned count;
};

static void put_unit(struct bits *b, unsigned unit, struct buf *out) {
    b->held = (b->held & 0x3f) << 16 | unit;
    b->count += 16;
    while (b->count >= 6) {
        b->count -= 6;
        buf_char(out, alphabet[b->held >> b->count & 0x3f]);
    }
}

static void put_code_point(struct bits *b, uint32_t c, struct buf *out) {
    if (c >= 0x10000) {
        put_unit(b, 0xd800 + ((c - 0x10000) >> 10), out);
        put_unit(b, 0xdc00 + ((c - 0x10000) & 0x3ff), out);
    } else {
        put_unit(b, c, out);
    }
}

static void end_run(struct bits *b, struct buf *out) {
    if (b->count)
        buf_char(out, alphabet[b->held << (6 - b->count) & 0x3f]);
    buf_char(out, '-');
    *b = (struct bits){0};
}

bool mutf7_encode(str s, struct buf *out) {
    struct bits b = {0};
    bool run = false;
    while (s.n) {
        uint32_t c;
        size_t n = utf8_char(s, &c);
        if (n == 0)
            return false;
        bool plain = c >= 32 && c < 127;
        if (run && plain)
            end_run(&b, out);
        if (!run && !plain)
            buf_char(out, '&');
        run = !plain;
        if (run)
            put_code_point(&b, c, out);
        else
            buf_add(out, c == '&' ? S("&-") : str_head(s, 1));
        s = str_tail(s, n);
    }
    if (run)
        end_run(&b, out);
    return true;
}

/* ---- decode ---- */

/* Units of UTF-16 put together; false: half a pair. */
static bool take_unit(uint32_t unit, uint32_t *high, struct buf *out) {
    if (*high) {
        if (unit < 0xdc00 || unit > 0xdfff)
            return false;
        utf8_put(out, 0x10000 + ((*high - 0xd800) << 10) + (unit - 0xdc00));
        *high = 0;
        return true;
    }
    if (unit >= 0xd800 && unit <= 0xdbff) {
        *high = unit;
        return true;
    }
    if (unit == 0 || (unit >= 0xdc00 && unit <= 0xdfff))
        return false;
    utf8_put(out, unit);
    return true;
}

static bool decode_run(str run, struct buf *out) {
    struct bits b = {0};
    uint32_t high = 0;
    for (size_t i = 0; i < run.n; i++) {
        size_t value = str_find(str_n(alphabet, 64), run.p[i]);
        if (value == SIZE_MAX)
            return false;
        b.held = b.held << 6 | (uint32_t)value;
        b.count += 6;
        if (b.count < 16)
            continue;
        b.count -= 16;
        if (!take_unit(b.held >> b.count & 0xffff, &high, out))
            return false;
        b.held &= (1u << b.count) - 1;
    }
    return high == 0 && b.count < 6 && b.held == 0;
}

bool mutf7_decode(str s, struct buf *out) {
    while (s.n) {
        str run;
        char c = s.p[0];
        if (c < 32 || c == 127)
            return false;
        s = str_tail(s, 1);
        if (c != '&') {
            buf_char(out, c);
            continue;
        }
        if (!str_cut(&s, '-', &run))
            return false;
        if (run.n == 0)
            buf_char(out, '&');
        else if (!decode_run(run, out))
            return false;
    }
    return true;
}
