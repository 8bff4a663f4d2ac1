#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_free(struct buf *b) {
    free(b->p);
    *b = BUF(b->limit);
}

void buf_wipe(struct buf *b) {
    if (b->p)
        explicit_bzero(b->p, b->cap);
    buf_free(b);
}

void buf_reset(struct buf *b) {
    b->n = 0;
    b->full = false;
}

void buf_trim(struct buf *b) {
    if (b->n == b->cap)
        return;
    if (b->n == 0) {
        free(b->p);
        b->p = NULL;
        b->cap = 0;
        return;
    }
    char *p = realloc(b->p, b->n);
    if (p) {
        b->p = p;
        b->cap = b->n;
    }
}

char *buf_room(struct buf *b, size_t n) {
    if (n > b->limit || b->n > b->limit - n) {
        b->full = true;
        return NULL;
    }
    if (b->n + n > b->cap) {
        size_t cap = b->cap ? b->cap : 64;
        while (cap < b->n + n)
            cap *= 2;
        if (cap > b->limit)
            cap = b->limit;
        char *p = realloc(b->p, cap);
        if (!p) {
            b->full = true;
            return NULL;
        }
        b->p = p;
        b->cap = cap;
    }
    return b->p + b->n;
}

void buf_grew(struct buf *b, size_t n) {
    assert(n <= b->cap - b->n);
    b->n += n;
}

void buf_add(struct buf *b, str s) {
    if (s.n == 0)
        return;
    char *at = buf_room(b, s.n);
    if (!at)
        return;
    memcpy(at, s.p, s.n);
    b->n += s.n;
}

void buf_char(struct buf *b, char c) {
    buf_add(b, (str){&c, 1});
}

void buf_fill(struct buf *b, char c, size_t n) {
    char *at = n ? buf_room(b, n) : NULL;
    if (!at)
        return;
    memset(at, c, n);
    b->n += n;
}

void buf_printf(struct buf *b, const char *format, ...) {
    char small[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    assert(n >= 0);
    if ((size_t)n < sizeof small) {
        buf_add(b, (str){small, (size_t)n});
        return;
    }
    char *big = malloc((size_t)n + 1);
    if (!big) {
        b->full = true;
        return;
    }
    va_start(args, format);
    vsnprintf(big, (size_t)n + 1, format, args);
    va_end(args);
    buf_add(b, (str){big, (size_t)n});
    free(big);
}

static void put_int(struct buf *b, uint64_t v, size_t bytes) {
    char le[8];
    for (size_t i = 0; i < bytes; i++)
        le[i] = (char)(v >> (8 * i));
    buf_add(b, (str){le, bytes});
}

void buf_u8(struct buf *b, uint8_t v) {
    put_int(b, v, 1);
}
void buf_u16(struct buf *b, uint16_t v) {
    put_int(b, v, 2);
}
void buf_u32(struct buf *b, uint32_t v) {
    put_int(b, v, 4);
}
void buf_u64(struct buf *b, uint64_t v) {
    put_int(b, v, 8);
}

void buf_lstr(struct buf *b, str s) {
    assert(s.n <= UINT32_MAX);
    buf_u32(b, (uint32_t)s.n);
    buf_add(b, s);
}

void buf_drop(struct buf *b, size_t n) {
    assert(n <= b->n);
    if (n && n < b->n)
        memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}

void buf_shrink(struct buf *b, size_t n) {
    assert(n <= b->n);
    b->n = n;
}

str buf_str(const struct buf *b) {
    return (str){b->p, b->n};
}

const char *buf_cstr(struct buf *b) {
    char *at = buf_room(b, 1);
    if (!at)
        return "";
    *at = '\0';
    return b->p;
}

static bool take_int(str *s, uint64_t *v, size_t bytes) {
    if (s->n < bytes)
        return false;
    uint64_t x = 0;
    for (size_t i = 0; i < bytes; i++)
        x |= (uint64_t)(unsigned char)s->p[i] << (8 * i);
    *v = x;
    *s = str_tail(*s, bytes);
    return true;
}

bool take_u8(str *s, uint8_t *v) {
    uint64_t x;
    if (!take_int(s, &x, 1))
        return false;
    *v = (uint8_t)x;
    return true;
}

bool take_u16(str *s, uint16_t *v) {
    uint64_t x;
    if (!take_int(s, &x, 2))
        return false;
    *v = (uint16_t)x;
    return true;
}

bool take_u32(str *s, uint32_t *v) {
    uint64_t x;
    if (!take_int(s, &x, 4))
        return false;
    *v = (uint32_t)x;
    return true;
}

bool take_u64(str *s, uint64_t *v) {
    return take_int(s, v, 8);
}

bool take_lstr(str *s, str *v) {
    str rest = *s;
    uint32_t n;
    if (!take_u32(&rest, &n) || n > rest.n)
        return false;
    *v = str_head(rest, n);
    *s = str_tail(rest, n);
    return true;
}
