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

#endif
