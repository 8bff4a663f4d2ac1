/* charset.h - text in the charset a mail names, as UTF-8.
 * Pure.  us-ascii, utf-8, iso-8859-1 and windows-1252 are converted here, everything else by ICU (whose tables are
 * touched only then).  What cannot be converted becomes U+FFFD; the output is always well-formed UTF-8. */
#ifndef MIME_CHARSET_H
#define MIME_CHARSET_H

#include "base/buf.h"

/* Appends `bytes` as UTF-8.  False: nobody knows this charset; bytes above 127 became U+FFFD.
 * An empty name, "us-ascii" and "unknown-8bit" with bytes above 127 in them are guessed as charset_guess() does:
 * such bytes cannot be what the label says (iso-8859-1 means windows-1252, as in the WHATWG's standard). */
bool charset_to_utf8(str charset, str bytes, struct buf *out);

/* Unlabelled bytes: UTF-8 when they are well-formed, else windows-1252. */
void charset_guess(str bytes, struct buf *out);

bool charset_known(str charset);

/* Whether bytes, in pieces, are text of their charset.  Charsets that nobody knows, and labels that name none, have no
 * wrong bytes; "us-ascii" has half of them.
 *     charset_check_begin(&k, label);  charset_check_put(&k, piece)*;  bool ok = charset_check_end(&k); */
struct charset_check {
    bool wrong;
    bool (*put)(struct charset_check *k, str bytes, bool last); /* NULL: everything is right */
    char carry[4];                                              /* UTF-8: the beginning of a character */
    size_t carried;
    struct UConverter *icu;
};
void charset_check_begin(struct charset_check *k, str charset);
void charset_check_put(struct charset_check *k, str bytes);
bool charset_check_end(struct charset_check *k); /* gives everything back */

#endif
