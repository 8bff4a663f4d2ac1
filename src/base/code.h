/* code.h - small codings: base64 (RFC 4648), hex, base62 identifiers, crc32c (RFC 3720 B.4), UTF-8 (RFC 3629). */
#ifndef BASE_CODE_H
#define BASE_CODE_H

#include "base/buf.h"

/* Strict: the standard alphabet, padded, nothing else.  False leaves a partial result in out. */
bool base64_decode(str s, struct buf *out) MUST_CHECK;
void base64_encode(str s, struct buf *out);

void hex_encode(str s, struct buf *out); /* lower case */
bool hex_decode(str s, struct buf *out) MUST_CHECK;
int hex_value(char digit); /* of either case; -1: it is none */

/* Appends s with every %XX undone (RFC 3986 2.1); a "%" that begins none stands for itself. */
void percent_decode(str s, struct buf *out);

/* A public identifier: 22 characters of [0-9A-Za-z] from 16 random bytes. */
enum { ID_SIZE = 22 };
void id_encode(const uint8_t random[16], char id[ID_SIZE]);
bool id_valid(str s);

/* crc32c of s continued from crc (start with 0). */
uint32_t crc32c(uint32_t crc, str s);

/* The length of the well-formed UTF-8 character at the front of s (1 to 4), or 0. */
size_t utf8_char(str s, uint32_t *code_point);
bool utf8_valid(str s);
bool utf8_is_ascii(str s); /* no byte above 127 */
void utf8_put(struct buf *out, uint32_t code_point);
/* Appends s; every byte that is not part of well-formed UTF-8 becomes U+FFFD. */
void utf8_clean(str s, struct buf *out);

/* May stand in a line for people as it is: no control (C0, DEL, C1), and nothing that breaks the line or turns its text
 * around (UAX #9: separators, marks, embeddings, isolates). */
bool utf8_shows(uint32_t code_point);

/* Appends s for a log line or a terminal: printable ASCII and well-formed UTF-8 beyond U+00A0 as it is, the rest
 * (controls, quotes, backslash, stray bytes) as \r \n \t \" \\ or \xHH. */
void escape_print(str s, struct buf *out);
/* Appends s as the inside of a JSON string (RFC 8259), stray bytes as U+FFFD. */
void escape_json(str s, struct buf *out);
/* Appends s for HTML text and double-quoted attributes. */
void escape_html(str s, struct buf *out);

#endif
