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

/* Who may send a frame to whom, as bits: a frame may have several, and a link accepts several.
 * A worker is a role that is handed deliveries (JOB frames): delivery, filter, and smtpd for reports. */
enum frame_direction {
    FRAME_ANY = ~0,
    FRAME_TO_ROLE = 1 << 0,
    FRAME_TO_SUPERVISOR = 1 << 1,
    FRAME_SMTPD_TO_STORE = 1 << 2,
    FRAME_STORE_TO_SMTPD = 1 << 3,
    FRAME_READER_TO_STORE = 1 << 4,
    FRAME_STORE_TO_READER = 1 << 5,
    FRAME_HTTPD_TO_CONTENT = 1 << 6,
    FRAME_CONTENT_TO_HTTPD = 1 << 7,
    FRAME_WORKER_TO_STORE = 1 << 8,
    FRAME_STORE_TO_WORKER = 1 << 9,
    FRAME_TO_RESOLVER = 1 << 10,
    FRAME_FROM_RESOLVER = 1 << 11,
    FRAME_TO_KEYD = 1 << 12,
    FRAME_FROM_KEYD = 1 << 13,
    FRAME_KEYD_TO_STORE = 1 << 14,
    FRAME_STORE_TO_KEYD = 1 << 15,
    FRAME_HTTPD_TO_SMTPD = 1 << 16,
    FRAME_SMTPD_TO_HTTPD = 1 << 17,
};

enum role {
    ROLE_SUPERVISOR,
    ROLE_SMTPD,
    ROLE_STORE,
    ROLE_HTTPD,
    ROLE_CONTENT,
    ROLE_DELIVERY,
    ROLE_RESOLVER,
    ROLE_KEYD,
    ROLE_FILTER,
    ROLE_COUNT
};
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
