/* transfer.h - Content-Transfer-Encoding undone (RFC 2045 6): base64, quoted-printable, uuencode; streaming.
 * Pure.  Liberal: what does not belong is skipped (base64) or left as it stands (quoted-printable), and counted as
 * a fault.  The output is never longer than the input of all calls so far and two bytes. */
#ifndef MIME_TRANSFER_H
#define MIME_TRANSFER_H

#include "base/buf.h"

enum transfer_encoding {
    TRANSFER_IDENTITY, /* 7bit, 8bit, binary, none */
    TRANSFER_BASE64,
    TRANSFER_QUOTED_PRINTABLE,
    TRANSFER_UUENCODE,
    TRANSFER_UNKNOWN, /* passed through as it is (RFC 2045 6.4: treat as application/octet-stream) */
};

/* The encoding of a Content-Transfer-Encoding value; comments and spaces around it are forgiven. */
enum transfer_encoding transfer_named(str name);
const char *transfer_name(enum transfer_encoding e);

struct transfer {
    enum transfer_encoding encoding;
    uint64_t faults; /* bytes or lines that did not follow the encoding */
    /* inside */
    uint32_t bits;
    unsigned count;
    unsigned state;
    bool ended;
    char hold[72]; /* one incomplete escape or uuencoded line */
    size_t held;
    struct buf blanks; /* spaces that vanish when the line ends here (RFC 2045 6.7 (3)) */
};

void transfer_init(struct transfer *t, enum transfer_encoding e);
void transfer_put(struct transfer *t, str in, struct buf *out); /* out's limit is the caller's */
void transfer_end(struct transfer *t, struct buf *out); /* what is still held; the transfer can be inited again */

/* All at once. */
void transfer_decode(enum transfer_encoding e, str in, struct buf *out);

#endif
