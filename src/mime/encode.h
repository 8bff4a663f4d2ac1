/* encode.h - Content-Transfer-Encoding done (RFC 2045 6.7, 6.8), streaming: every byte comes back as it was when it is
 * decoded.  Pure.
 * Quoted-printable is for text: CRLF stays a line end, a CR or LF alone is encoded, and so are a "." and "From " at the
 * beginning of a line, which others on the way might change.  No line is longer than 76. */
#ifndef MIME_ENCODE_H
#define MIME_ENCODE_H

#include "base/buf.h"
#include "mime/transfer.h"

struct encode {
    enum transfer_encoding encoding; /* BASE64, QUOTED_PRINTABLE, or IDENTITY: bytes pass */
    /* inside */
    char held[3];
    unsigned held_count;
    size_t column;
};

#define ENCODE(encoding_) ((struct encode){.encoding = (encoding_)})

void encode_put(struct encode *c, str in, struct buf *out);
/* What is held; there is no line end behind it. */
void encode_end(struct encode *c, struct buf *out);

#endif
