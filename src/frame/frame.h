/* frame.h - typed frames between roles: rows of frames.def as structs, to bytes and back.
 * Pure.  On the wire: u32 length of the whole frame (header included, at most FRAME_MAX), u16 type,
 * u8 version, u8 zero, then the fields in the order of the row, integers little-endian, STR as u32 length and bytes.
 * The peer is not trusted: a frame decodes exactly, to its last byte, or the link is dropped. */
#ifndef FRAME_FRAME_H
#define FRAME_FRAME_H

#include "base/buf.h"
#include "base/err.h"

enum {
    FRAME_MAX = 64 * 1024,
    FRAME_HEADER = 8,
    FRAME_VERSION = 1,
    FRAME_CHUNK = 60 * 1024, /* the longest piece of a long value a sender puts into one frame */
};

enum frame_direction {
    FRAME_ANY,
    FRAME_TO_ROLE,
    FRAME_TO_SUPERVISOR,
    FRAME_SMTPD_TO_STORE,
    FRAME_STORE_TO_SMTPD,
    FRAME_READER_TO_STORE,
    FRAME_STORE_TO_READER,
    FRAME_HTTPD_TO_CONTENT,
    FRAME_CONTENT_TO_HTTPD,
};

enum role { ROLE_SUPERVISOR, ROLE_SMTPD, ROLE_STORE, ROLE_HTTPD, ROLE_CONTENT, ROLE_COUNT };
const char *role_name(enum role r); /* "smtpd": also the name of its executable */

enum frame_type {
#define FRAME(NAME, name, number, direction, fields) FRAME_##NAME = (number),
#include "frame/frames.def"
#undef FRAME
};

#define U8(x) uint8_t x;
#define U32(x) uint32_t x;
#define U64(x) uint64_t x;
#define STR(x) str x;
#define FRAME(NAME, name, number, direction, fields)                                                                   \
    struct frame_##name {                                                                                              \
        fields                                                                                                         \
    };
#include "frame/frames.def"
#undef FRAME
#undef U8
#undef U32
#undef U64
#undef STR

struct frame {
    enum frame_type type;
    union {
#define FRAME(NAME, name, number, direction, fields) struct frame_##name name;
#include "frame/frames.def"
#undef FRAME
    };
};

/* Appends the frame to out.  It is our mistake (assert) to build one over FRAME_MAX: cut long values into chunks. */
void frame_put(struct buf *out, const struct frame *f);

/* Takes one frame off the front of *in.  OK: f is filled, its strs point into *in.  ERR_MORE: not all of it is
 * there yet (*in untouched).  ERR_VERSION, ERR_LIMIT, ERR_CORRUPT: drop the peer. */
enum err frame_take(str *in, struct frame *f) MUST_CHECK;

enum frame_direction frame_direction(enum frame_type type);
const char *frame_name(enum frame_type type); /* "mail_begin" */

/* for (each chunk `piece` of the str value): not entered for an empty value. */
#define FRAME_CHUNKS(value, piece)                                                                                     \
    for (str piece##_rest = (value), piece = str_head(piece##_rest, FRAME_CHUNK); piece.n;                             \
         piece##_rest = str_tail(piece##_rest, piece.n), piece = str_head(piece##_rest, FRAME_CHUNK))

#endif
