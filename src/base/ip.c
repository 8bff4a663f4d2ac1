#include "base/ip.h"

#include "base/code.h"

#include <stdio.h>
#include <string.h>

enum { GROUPS = IP6_SIZE / 2 };

static const uint8_t mapped_prefix[IP6_SIZE - IP4_SIZE] = {[10] = 0xff, [11] = 0xff};

static bool quad_parse(str s, bool padded, uint8_t out[IP4_SIZE]) {
    for (unsigned i = 0; i < IP4_SIZE; i++) {
        str part = s;
        uint64_t n;
        if (i + 1 < IP4_SIZE && !str_cut(&s, '.', &part))
            return false;
        if (part.n > 3 || !str_u64(part, &n) || n > 255 || (!padded && part.n > 1 && part.p[0] == '0'))
            return false;
        out[i] = (uint8_t)n;
    }
    return true;
}

bool ip4_parse(str s, uint8_t out[IP4_SIZE]) {
    return quad_parse(s, false, out);
}

bool ip4_parse_padded(str s, uint8_t out[IP4_SIZE]) {
    return quad_parse(s, true, out);
}

static bool group_parse(str s, uint8_t out[2]) {
    unsigned value = 0;
    if (s.n == 0 || s.n > 4)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        int digit = hex_value(s.p[i]);
        if (digit < 0)
            return false;
        value = value << 4 | (unsigned)digit;
    }
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
    return true;
}

/* Groups between colons, none in an empty s; the last may be an IPv4 address where the whole address ends.  *n bytes
 * are written. */
static bool groups_parse(str s, bool at_end, uint8_t out[IP6_SIZE], size_t *n) {
    *n = 0;
    for (bool more = s.n > 0; more;) {
        str group = s;
        more = str_cut(&s, ':', &group);
        if (!more && at_end && str_has(group, '.')) {
            if (*n + IP4_SIZE > IP6_SIZE || !ip4_parse(group, out + *n))
                return false;
            *n += IP4_SIZE;
            return true;
        }
        if (*n + 2 > IP6_SIZE || !group_parse(group, out + *n))
            return false;
        *n += 2;
    }
    return true;
}

bool ip6_parse(str s, uint8_t out[IP6_SIZE]) {
    uint8_t front[IP6_SIZE], back[IP6_SIZE];
    size_t front_n, back_n, gap = str_find_str(s, S("::"));
    if (gap == SIZE_MAX)
        return groups_parse(s, true, out, &front_n) && front_n == IP6_SIZE;
    if (!groups_parse(str_head(s, gap), false, front, &front_n) ||
        !groups_parse(str_tail(s, gap + 2), true, back, &back_n) || front_n + back_n + 2 > IP6_SIZE)
        return false;
    memset(out, 0, IP6_SIZE);
    memcpy(out, front, front_n);
    memcpy(out + IP6_SIZE - back_n, back, back_n);
    return true;
}

bool ip6_is_mapped(const uint8_t ip[IP6_SIZE]) {
    return memcmp(ip, mapped_prefix, sizeof mapped_prefix) == 0;
}

void ip4_text(const uint8_t ip[IP4_SIZE], char out[IP_TEXT_SIZE]) {
    snprintf(out, IP_TEXT_SIZE, "%u.%u.%u.%u", ip[0], ip[1], ip[2], ip[3]);
}

static unsigned group_at(const uint8_t ip[IP6_SIZE], unsigned i) {
    return (unsigned)ip[2 * i] << 8 | ip[2 * i + 1];
}

/* The longest run of two or more zero groups, the first of equals (RFC 5952 4.2); length 0: none. */
static void longest_zeros(const uint8_t ip[IP6_SIZE], unsigned *from, unsigned *length) {
    *from = *length = 0;
    for (unsigned i = 0; i < GROUPS; i++) {
        unsigned n = 0;
        while (i + n < GROUPS && group_at(ip, i + n) == 0)
            n++;
        if (n > 1 && n > *length) {
            *from = i;
            *length = n;
        }
    }
}

void ip6_text(const uint8_t ip[IP6_SIZE], char out[IP_TEXT_SIZE]) {
    unsigned from, length;
    size_t at = 0;
    if (ip6_is_mapped(ip)) { /* RFC 5952 5 */
        snprintf(out, IP_TEXT_SIZE, "::ffff:%u.%u.%u.%u", ip[12], ip[13], ip[14], ip[15]);
        return;
    }
    longest_zeros(ip, &from, &length);
    for (unsigned i = 0; i < GROUPS;) {
        bool gap = length && i == from, first = i == 0 || (length && i == from + length);
        if (gap)
            at += (size_t)snprintf(out + at, IP_TEXT_SIZE - at, "::");
        else
            at += (size_t)snprintf(out + at, IP_TEXT_SIZE - at, "%s%x", first ? "" : ":", group_at(ip, i));
        i += gap ? length : 1;
    }
}
