/* buf.h - output that grows up to a limit.  Append without checking; ask `full` once, at the end.
 * What does not fit is dropped whole (an append is all or nothing) and `full` is set.
 * The buf owns its memory: buf_free() ends it; buf_reset() keeps the memory for the next use. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/str.h"

struct buf {
    char *p;
    size_t n;     /* bytes in use */
    size_t cap;   /* bytes owned */
    size_t limit; /* bytes allowed */
    bool full;    /* something did not fit (or memory ran out) since the last reset */
};

#define BUF(max) ((struct buf){.limit = (max)})

void buf_free(struct buf *b);
void buf_wipe(struct buf *b);  /* buf_free() for secrets: nothing of them stays in memory that is not ours */
void buf_reset(struct buf *b); /* empty, memory kept, full cleared */
void buf_trim(struct buf *b);  /* gives back memory that is not in use */

void buf_add(struct buf *b, str s);
void buf_char(struct buf *b, char c);
void buf_fill(struct buf *b, char c, size_t n);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Little-endian integers, as frames and records have them. */
void buf_u8(struct buf *b, uint8_t v);
void buf_u16(struct buf *b, uint16_t v);
void buf_u32(struct buf *b, uint32_t v);
void buf_u64(struct buf *b, uint64_t v);
void buf_lstr(struct buf *b, str s); /* u32 length, then the bytes */

/* Room for n more bytes at the end, to be written by the caller and then counted in with
 * buf_grew(); NULL (and full set) when the limit or memory does not allow it. */
char *buf_room(struct buf *b, size_t n);
void buf_grew(struct buf *b, size_t n);

void buf_drop(struct buf *b, size_t n);   /* n bytes off the front */
void buf_shrink(struct buf *b, size_t n); /* keep only the first n bytes */
str buf_str(const struct buf *b);         /* a view, valid until the next append */
const char *buf_cstr(struct buf *b);      /* NUL-terminated view ("" when there is no room for the NUL) */

/* Reading what buf_u8.. wrote: eat from the front of *s; false when it is too short. */
bool take_u8(str *s, uint8_t *v) MUST_CHECK;
bool take_u16(str *s, uint16_t *v) MUST_CHECK;
bool take_u32(str *s, uint32_t *v) MUST_CHECK;
bool take_u64(str *s, uint64_t *v) MUST_CHECK;
bool take_lstr(str *s, str *v) MUST_CHECK;

#endif
