/* mime.h - the structure of a message (RFC 2045, 2046, 5322) in one pass, as offsets.
 * Pure, iterative, linear in time whatever comes, memory bounded by the limits below.  Bytes go in as they arrive, in
 * any pieces; the result does not depend on how they were cut.  Nothing is an error: beyond a limit a part is an
 * opaque leaf, and what is wrong with a mail is a counted fault.
 *
 *     str in = ...;                        MIME_INPUT   in is used up: give more, or call with last = true
 *     switch (mime_next(&m, &in, false))   MIME_PART    the header of mime_part(&m) is complete; m.header has its bytes
 *                                          MIME_BODY    m.piece: the next bytes of the body of that (leaf) part
 *                                          MIME_DONE    only with last = true: all parts have their lengths
 *
 * Line ends are CRLF or LF.  The line end before a boundary belongs to the boundary. */
#ifndef MIME_MIME_H
#define MIME_MIME_H

#include "base/arena.h"
#include "base/buf.h"
#include "mime/transfer.h"

enum {
    MIME_DEPTH_MAX = 64,
    MIME_PARTS_MAX = 4000,
    MIME_HEADER_MAX = 256 * 1024,
    MIME_BOUNDARY_MAX = 512, /* RFC 2046 5.1.1 says 70 */
    MIME_LINE_MAX = 1024,    /* a longer line is no boundary */
    MIME_STRINGS_MAX = 4 * 1024 * 1024,
    MIME_NONE = UINT32_MAX,
};

enum mime_event { MIME_INPUT, MIME_PART, MIME_BODY, MIME_DONE };

/* MIME_FAULT(NAME, name, sentence) */
#define MIME_FAULTS(X)                                                                                                 \
    X(BARE_LF, "bare-lf", "a line ends with LF alone (RFC 5322 2.3)")                                                  \
    X(BARE_CR, "bare-cr", "a CR without LF (RFC 5322 2.3)")                                                            \
    X(NUL, "nul", "a NUL byte")                                                                                        \
    X(LONG_LINE, "long-line", "a line of more than 998 bytes (RFC 5322 2.1.1)")                                        \
    X(HEADER_EIGHT_BIT, "header-8bit", "bytes above 127 in a header (allowed by SMTPUTF8 only, RFC 6532)")             \
    X(HEADER_JUNK, "header-junk", "a line in a header that is no field (RFC 5322 2.2)")                                \
    X(HEADER_END, "header-end", "no empty line between header and body (RFC 5322 2.1)")                                \
    X(HEADER_LIMIT, "header-limit", "a header of more than 256 KiB: not looked at")                                    \
    X(DUPLICATE, "duplicate-field", "a field that may stand once stands twice")                                        \
    X(BAD_TYPE, "bad-type", "a Content-Type without type/subtype (RFC 2045 5.1)")                                      \
    X(BAD_ENCODING, "bad-encoding", "an unknown Content-Transfer-Encoding (RFC 2045 6.1)")                             \
    X(ENCODED_CONTAINER, "encoded-container", "a multipart or message with an encoding (RFC 2045 6.4)")                \
    X(NO_BOUNDARY, "no-boundary", "a multipart without a usable boundary (RFC 2046 5.1.1)")                            \
    X(LONG_BOUNDARY, "long-boundary", "a boundary of more than 70 characters (RFC 2046 5.1.1)")                        \
    X(NO_CLOSE, "no-close", "a multipart without its closing boundary (RFC 2046 5.1.1)")                               \
    X(NO_PARTS, "no-parts", "a multipart without parts (RFC 2046 5.1)")                                                \
    X(DEPTH_LIMIT, "depth-limit", "nested deeper than 64: not looked into")                                            \
    X(PARTS_LIMIT, "parts-limit", "more than 4,000 parts: the rest is not looked into")                                \
    X(STRINGS_LIMIT, "strings-limit", "types and names of parts of more than 4 MiB: the rest is not told")             \
    X(BAD_CHARSET, "charset-invalid", "text with bytes that the charset it names does not have (RFC 2046 4.1.2)")

enum mime_fault {
#define X(NAME, name, sentence) MIME_FAULT_##NAME,
    MIME_FAULTS(X)
#undef X
        MIME_FAULT_COUNT
};
const char *mime_fault_name(enum mime_fault f);
const char *mime_fault_sentence(enum mime_fault f);

struct mime_part {
    uint64_t header_offset, header_length; /* the empty line included */
    uint64_t body_offset, body_length;
    uint64_t lines;  /* of the body; a last one without line end counts */
    uint32_t parent; /* MIME_NONE: the message itself */
    uint32_t number; /* the how many-th child of its parent, from 1 */
    uint32_t depth;  /* 0: the message itself */
    uint32_t children;
    uint32_t faults; /* bits 1 << MIME_FAULT_* of its header and structure */
    bool container;  /* a multipart, or a message whose header and parts follow; else a leaf, whose body is given */
    enum transfer_encoding encoding;
    /* Lower case type and subtype; the others as UTF-8 without controls.  Empty: not given. */
    str type, subtype, charset, disposition, filename, content_id, boundary;
    str encoding_name; /* as given */
    /* inside */
    uint64_t newlines;
    bool multipart, closed;
};

struct mime {
    struct mime_part *parts;
    uint32_t count;
    uint32_t current; /* the part of the last event */
    str header;       /* with MIME_PART: its header block, cut at MIME_HEADER_MAX; valid until the next call */
    str piece;        /* with MIME_BODY */
    struct {
        uint64_t count, first; /* how often; offset of the first one */
    } faults[MIME_FAULT_COUNT];
    uint64_t offset; /* bytes taken so far */
    bool no_memory;  /* strings or parts were given up: the structure is incomplete */

    /* inside */
    uint32_t capacity;
    uint32_t open[MIME_DEPTH_MAX];
    uint32_t open_count;
    unsigned state;
    bool bol, cr, blind, enter, over, checked, ended, first_line;
    unsigned eol; /* bytes of a line end that is not given yet */
    uint64_t newlines, line_at, line_newlines, line_size, line_before;
    uint64_t scan_line;
    char scan_last;
    size_t header_line;
    char hold[MIME_LINE_MAX];
    size_t held;
    struct buf head, spill;
    unsigned replay;
    bool replay_ends;
    unsigned replay_eol;
    uint64_t replay_at, replay_newlines, replay_size;
    str queue[3];
    unsigned queue_first, queue_count;
    struct arena strings;
};

void mime_init(struct mime *m);
enum mime_event mime_next(struct mime *m, str *in, bool last);
void mime_free(struct mime *m);

struct mime_part *mime_part(const struct mime *m); /* the current one */

/* What the caller has found in the body of a part. */
void mime_body_fault(struct mime *m, uint32_t part, enum mime_fault f);

/* Right after MIME_PART: do not look into this part, give its body as that of a leaf. */
void mime_keep(struct mime *m);

bool mime_is(const struct mime_part *p, str type, str subtype); /* an empty subtype is any */

/* "2.1": the numbers on the way down; "0" is the message itself. */
void mime_path(const struct mime *m, uint32_t part, struct buf *out);

#endif
