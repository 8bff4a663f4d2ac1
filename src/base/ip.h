/* ip.h - IP addresses as text: IPv4, IPv6 (RFC 4291 2.2), written as RFC 5952 wants them.  Pure, no allocation.
 * Strict: no blanks, brackets, zones or shortened forms; hexadecimal in either case. */
#ifndef BASE_IP_H
#define BASE_IP_H

#include "base/str.h"

enum { IP4_SIZE = 4, IP6_SIZE = 16, IP_TEXT_SIZE = 46 };

/* 192.0.2.1; a number with a leading zero is octal to some, and refused. */
bool ip4_parse(str s, uint8_t out[IP4_SIZE]) MUST_CHECK;
/* The same, but 192.000.002.001 is decimal (RFC 5321 4.1.3: Snum). */
bool ip4_parse_padded(str s, uint8_t out[IP4_SIZE]) MUST_CHECK;
/* 2001:db8::1, ::ffff:192.0.2.1 */
bool ip6_parse(str s, uint8_t out[IP6_SIZE]) MUST_CHECK;

/* NUL-terminated. */
void ip4_text(const uint8_t ip[IP4_SIZE], char out[IP_TEXT_SIZE]);
void ip6_text(const uint8_t ip[IP6_SIZE], char out[IP_TEXT_SIZE]);

/* IPv4 inside IPv6, ::ffff:192.0.2.1 (RFC 4291 2.5.5.2): the last four bytes are the address. */
bool ip6_is_mapped(const uint8_t ip[IP6_SIZE]);

#endif
