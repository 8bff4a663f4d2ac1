/* mime_build.h - a message from its parts: header, text, HTML, attachments (RFC 5322, 2045-2047, 2231).
 * What comes out is 7-bit, CRLF-ended, with no line over 78 bytes where that can be had: it passes every server.
 * Pure: date and randomness are given.  Text that is not UTF-8 is made so (U+FFFD for stray bytes). */
#ifndef MIME_MIME_BUILD_H
#define MIME_MIME_BUILD_H

#include "base/buf.h"
#include "base/date.h"
#include "base/err.h"

struct mime_build_file {
    str name; /* without folders */
    str type; /* "image/png"; empty: told by the name's end */
    str bytes;
};

struct mime_build {
    str from;      /* "Ann <ann@example.org>" or an address alone; empty: no From field */
    const str *to; /* likewise */
    size_t to_count;
    str subject;
    const str *headers; /* further fields, "Name: value" each; one that is here is not made up by us */
    size_t header_count;
    str text, html; /* both empty: an empty text */
    const struct mime_build_file *files;
    size_t file_count;
    struct date date;
    str message_id; /* without <> */
    str random;     /* letters and digits for the boundaries */
};

/* Appends the message to out.  ERR_SYNTAX: a control character in a header value or a name that is none; ERR_FULL:
 * out's limit was reached. */
enum err mime_build_message(const struct mime_build *m, struct buf *out, struct why *w) MUST_CHECK;

/* Splits "Ann <ann@example.org>" into name (quotes removed) and address; an address alone has an empty name. */
void mime_build_mailbox(str mailbox, str *name, str *address);

/* The value of an unstructured header field on lines of its own, `column` bytes being used on the first. */
void mime_build_unstructured(str value, size_t column, struct buf *out);

/* A display name: atoms, a quoted string, or encoded words; `column` as above, the new one is returned. */
size_t mime_build_phrase(str name, size_t column, struct buf *out);

/* A parameter behind a structured value, on a line of its own: ";\r\n name=..."; RFC 2231's form where it has to be.
 * The value is UTF-8 without controls. */
void mime_build_parameter(str name, str value, struct buf *out);

str mime_build_type(str file_name); /* "application/octet-stream" when the end says nothing */

#endif
