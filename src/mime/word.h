/* word.h - encoded words (RFC 2047): header text as people read it.
 * Pure.  Liberal: words inside quoted strings, too long, with spaces in Q text, next to other text are decoded;
 * what is no encoded word stays visible.  Adjacent words are joined, a character that was cut between two words is
 * put together again.  Bytes above 127 outside of words are taken as charset_guess() does.
 * The output is well-formed UTF-8 without CR, LF, NUL and other controls (they become spaces or vanish). */
#ifndef MIME_WORD_H
#define MIME_WORD_H

#include "base/buf.h"

/* Appends the folded value of a header, or a phrase, decoded. */
void word_decode(str value, struct buf *out);

/* Appends text on one line: TAB, CR and LF become spaces, other controls (C0, DEL, C1) vanish, what is not UTF-8
 * becomes U+FFFD. */
void word_clean(str text, struct buf *out);

#endif
