/* header.h - a block of header fields (RFC 5322 2.2), field by field, and the parameters of structured ones
 * (RFC 2045 5.1, RFC 2231).  Pure.  Results point into the block; only decoded text goes into a buf.
 * Line ends are CRLF or LF; obsolete space before the colon is forgiven. */
#ifndef MIME_HEADER_H
#define MIME_HEADER_H

#include "base/buf.h"

struct header {
    str name;      /* without colon and blanks; empty: the line is no field and stands whole in value */
    str value;     /* folded as it came, without the blank behind the colon and the last line end */
    size_t offset; /* of the field in the block */
    size_t length; /* with its folded lines and the last line end */
};

struct header_iter {
    str block;
    size_t at;
};

#define HEADER_ITER(block_) ((struct header_iter){.block = (block_)})

/* The next field; false at the end of the block or at an empty line. */
bool header_next(struct header_iter *it, struct header *h);

/* The first field of that name. */
bool header_find(str block, str name, struct header *h);

/* Is `line` (without line end) the first line of a field?  *name gets its name. */
bool header_line_name(str line, str *name);

/* Appends the value on one line: line ends of folding removed, the blanks kept (RFC 5322 2.2.3). */
void header_unfold(str value, struct buf *out);

/* The first token of a structured value, comments and blanks around it cut: "text/plain" of
 * "text/plain; charset=utf-8". */
str header_token(str value);

/* Appends the parameter as UTF-8: quotes undone, RFC 2231 pieces joined and their charset converted, RFC 2047 words
 * (which are not allowed there, but common) decoded, controls removed.  Of duplicates the first counts.
 * False: there is no such parameter. */
bool header_param(str value, str name, struct buf *out);

/* The next parameter off the front of *value (at first all of it): its name as it is written, RFC 2231's stars
 * included.
 */
bool header_param_next(str *value, str *name);

/* "content-type" becomes "Content-Type": the form in which Go and many clients show it. */
void header_canonical_name(str name, struct buf *out);

#endif
