#include "smtp/proxy.h"

#include <assert.h>
#include <string.h>

#include "base/code.h"
#include "base/ip.h"

static const char v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

enum { V2_FIXED = 16, TLV_CRC32C = 0x03 };

/* A decimal number as the protocol wants it: no sign, no leading zero, at most max. */
static bool number(str s, unsigned max, unsigned *value) {
    uint64_t v;
    if (s.n == 0 || s.n > 5 || (s.n > 1 && s.p[0] == '0') || !str_u64(s, &v) || v > max)
        return false;
    *value = (unsigned)v;
    return true;
}

/* PROXY_ADDRESS_SIZE holds an address, and the path of a unix socket. */
static_assert((int)PROXY_ADDRESS_SIZE >= (int)IP_TEXT_SIZE, "addresses fit");

static bool address_v1(enum proxy_family family, str s, char out[PROXY_ADDRESS_SIZE]) {
    uint8_t a[IP6_SIZE];
    if (family == PROXY_INET ? !ip4_parse(s, a) : !ip6_parse(s, a))
        return false;
    (family == PROXY_INET ? ip4_text : ip6_text)(a, out);
    return true;
}

/* ---- version 1: one line ---- */

static bool port_v1(str s, uint16_t *port) {
    unsigned v;
    if (!number(s, 65535, &v))
        return false;
    *port = (uint16_t)v;
    return true;
}

static enum err line_v1(str line, struct proxy_header *h) {
    str source, destination, port;
    if (str_eq(line, S("UNKNOWN")) || str_starts(line, S("UNKNOWN "))) {
        h->local = true; /* the rest of the line is to be ignored */
        return OK;
    }
    if (str_skip(&line, S("TCP4 ")))
        h->family = PROXY_INET;
    else if (str_skip(&line, S("TCP6 ")))
        h->family = PROXY_INET6;
    else
        return ERR_SYNTAX;
    if (!str_cut(&line, ' ', &source) || !str_cut(&line, ' ', &destination) || !str_cut(&line, ' ', &port))
        return ERR_SYNTAX;
    if (!address_v1(h->family, source, h->source) || !address_v1(h->family, destination, h->destination) ||
        !port_v1(port, &h->source_port) || !port_v1(line, &h->destination_port))
        return ERR_SYNTAX;
    return OK;
}

static enum err parse_v1(str bytes, struct proxy_header *h) {
    str window = str_head(bytes, PROXY_V1_MAX);
    size_t end = str_find(window, '\n');
    if (end == SIZE_MAX)
        return window.n == PROXY_V1_MAX ? ERR_LIMIT : ERR_MORE;
    str line = str_head(window, end);
    if (!str_ends(line, S("\r")))
        return ERR_SYNTAX;
    line.n--;
    if (str_has(line, '\r') || str_has(line, '\0') || !str_skip(&line, S("PROXY ")))
        return ERR_SYNTAX;
    h->version = 1;
    h->size = end + 1;
    return line_v1(line, h);
}

/* ---- version 2: binary ---- */

static unsigned u16_be(str s, size_t at) {
    assert(at + 2 <= s.n);
    return (unsigned)(uint8_t)s.p[at] << 8 | (uint8_t)s.p[at + 1];
}

static const struct {
    uint8_t code;
    enum proxy_family family;
    size_t address_size, size;
} families[] = {
    {0x11, PROXY_INET, IP4_SIZE, 12},
    {0x21, PROXY_INET6, IP6_SIZE, 36},
    {0x31, PROXY_UNIX, 108, 216},
};

/* One of the two addresses at the front of *s. */
static void address_v2(enum proxy_family family, const char *p, size_t size, char out[PROXY_ADDRESS_SIZE]) {
    uint8_t a[IP6_SIZE];
    if (family == PROXY_UNIX) { /* NUL-padded path; an abstract one (leading NUL) has no text */
        memcpy(out, p, size);
        out[size] = '\0';
        return;
    }
    memcpy(a, p, size);
    (family == PROXY_INET ? ip4_text : ip6_text)(a, out);
}

/* The checksum covers the whole header with its own four bytes as zeros. */
static bool checksum_good(str header, size_t value_at) {
    uint32_t want = (uint32_t)u16_be(header, value_at) << 16 | u16_be(header, value_at + 2);
    uint32_t crc = crc32c(0, str_head(header, value_at));
    crc = crc32c(crc, S("\0\0\0\0"));
    return crc32c(crc, str_tail(header, value_at + 4)) == want;
}

/* The TLVs must fill the header exactly; only the checksum means something to us. */
static enum err tlvs(str header, size_t at) {
    while (at < header.n) {
        if (header.n - at < 3 || header.n - at - 3 < u16_be(header, at + 1))
            return ERR_SYNTAX;
        unsigned size = u16_be(header, at + 1);
        if (header.p[at] == TLV_CRC32C && (size != 4 || !checksum_good(header, at + 3)))
            return ERR_SYNTAX;
        at += 3 + size;
    }
    return OK;
}

static enum err addresses_v2(str header, struct proxy_header *h) {
    uint8_t code = (uint8_t)header.p[13];
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        size_t n = families[i].address_size;
        if (families[i].code != code)
            continue;
        if (header.n < V2_FIXED + families[i].size)
            return ERR_SYNTAX;
        h->family = families[i].family;
        address_v2(h->family, header.p + V2_FIXED, n, h->source);
        address_v2(h->family, header.p + V2_FIXED + n, n, h->destination);
        if (h->family != PROXY_UNIX) {
            h->source_port = (uint16_t)u16_be(header, V2_FIXED + 2 * n);
            h->destination_port = (uint16_t)u16_be(header, V2_FIXED + 2 * n + 2);
        }
        return tlvs(header, V2_FIXED + families[i].size);
    }
    if (code != 0) /* datagrams, reserved */
        return ERR_SYNTAX;
    h->local = true; /* the family is unspecified: the rest cannot be told apart */
    return OK;
}

static enum err parse_v2(str bytes, struct proxy_header *h) {
    if (bytes.n < V2_FIXED)
        return ERR_MORE;
    uint8_t command = (uint8_t)bytes.p[12];
    size_t size = V2_FIXED + u16_be(bytes, 14);
    if (command != 0x20 && command != 0x21)
        return ERR_SYNTAX;
    if (size > PROXY_V2_MAX)
        return ERR_LIMIT;
    if (bytes.n < size)
        return ERR_MORE;
    h->version = 2;
    h->size = size;
    if (command == 0x20) {
        h->local = true;
        return OK;
    }
    return addresses_v2(str_head(bytes, size), h);
}

enum err proxy_parse(str bytes, struct proxy_header *h) {
    *h = (struct proxy_header){0};
    str v1 = S("PROXY "), v2 = str_n(v2_signature, sizeof v2_signature);
    if (str_starts(bytes, v1))
        return parse_v1(bytes, h);
    if (str_starts(bytes, v2))
        return parse_v2(bytes, h);
    return str_starts(v1, bytes) || str_starts(v2, bytes) ? ERR_MORE : ERR_SYNTAX;
}
