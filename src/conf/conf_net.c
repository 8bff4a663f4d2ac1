#include "conf/conf_net.h"

#include <string.h>

enum { UNIX_PATH_MAX_LENGTH = 107 }; /* sockaddr_un.sun_path without its NUL */

static const uint8_t v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool small_number(str s, size_t digits_max, uint64_t max, uint64_t *n) {
    return s.n > 0 && s.n <= digits_max && str_u64(s, n) && *n <= max;
}

static bool v4_parse(str s, uint8_t out[4]) {
    for (unsigned i = 0; i < 4; i++) {
        str part = s;
        uint64_t n;
        if (i < 3 && !str_cut(&s, '.', &part))
            return false;
        if (!small_number(part, 3, 255, &n) || (part.n > 1 && part.p[0] == '0')) /* 010 is octal to some: refused */
            return false;
        out[i] = (uint8_t)n;
    }
    return true;
}

static bool hex_group(str s, unsigned *value) {
    if (s.n == 0 || s.n > 4)
        return false;
    *value = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = char_lower(s.p[i]);
        if (char_is_digit(c))
            *value = *value * 16 + (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            *value = *value * 16 + (unsigned)(c - 'a' + 10);
        else
            return false;
    }
    return true;
}

/* Groups separated by colons, the last of them may be an IPv4 address; *n bytes are written.  An empty s is no group.
 */
static bool groups_parse(str s, bool v4_may_end, uint8_t out[16], size_t *n) {
    *n = 0;
    if (s.n == 0)
        return true;
    for (bool more = true; more;) {
        str group = s;
        unsigned value;
        more = str_cut(&s, ':', &group);
        if (!more && v4_may_end && str_has(group, '.')) {
            if (*n > 12 || !v4_parse(group, out + *n))
                return false;
            *n += 4;
            return true;
        }
        if (*n > 14 || !hex_group(group, &value))
            return false;
        out[(*n)++] = (uint8_t)(value >> 8);
        out[(*n)++] = (uint8_t)value;
    }
    return true;
}

static bool v6_parse(str s, uint8_t out[16]) {
    uint8_t front[16], back[16];
    size_t front_n, back_n, gap = str_find_str(s, S("::"));
    if (gap == SIZE_MAX) {
        return groups_parse(s, true, out, &front_n) && front_n == 16;
    }
    if (!groups_parse(str_head(s, gap), false, front, &front_n) ||
        !groups_parse(str_tail(s, gap + 2), true, back, &back_n) || front_n + back_n > 14)
        return false;
    memset(out, 0, 16);
    memcpy(out, front, front_n);
    memcpy(out + 16 - back_n, back, back_n);
    return true;
}

static void unmap(struct conf_ip *ip) {
    if (ip->version != 6 || memcmp(ip->bytes, v4_mapped, sizeof v4_mapped) != 0)
        return;
    uint8_t v4[4];
    memcpy(v4, ip->bytes + 12, 4);
    *ip = (struct conf_ip){.version = 4};
    memcpy(ip->bytes, v4, 4);
}

bool conf_ip_parse(str s, struct conf_ip *ip) {
    *ip = (struct conf_ip){0};
    if (v4_parse(s, ip->bytes)) {
        ip->version = 4;
        return true;
    }
    if (!str_has(s, ':') || !v6_parse(s, ip->bytes))
        return false;
    ip->version = 6;
    unmap(ip);
    return true;
}

static unsigned group_at(const struct conf_ip *ip, unsigned i) {
    return (unsigned)ip->bytes[2 * i] << 8 | ip->bytes[2 * i + 1];
}

/* The longest run of at least two zero groups (RFC 5952 4.2), the first of equals. */
static void longest_zeros(const struct conf_ip *ip, unsigned *from, unsigned *length) {
    *from = *length = 0;
    for (unsigned i = 0; i < 8; i++) {
        unsigned n = 0;
        while (i + n < 8 && group_at(ip, i + n) == 0)
            n++;
        if (n > 1 && n > *length) {
            *from = i;
            *length = n;
        }
    }
}

void conf_ip_put(struct buf *out, const struct conf_ip *ip) {
    if (ip->version == 4) {
        buf_printf(out, "%u.%u.%u.%u", ip->bytes[0], ip->bytes[1], ip->bytes[2], ip->bytes[3]);
        return;
    }
    unsigned from, length;
    longest_zeros(ip, &from, &length);
    for (unsigned i = 0; i < 8; i++) {
        if (length && i == from) {
            buf_add(out, S("::"));
            i += length - 1;
            continue;
        }
        buf_printf(out, "%s%x", i && i != from + length ? ":" : (i && !length ? ":" : ""), group_at(ip, i));
    }
}

bool conf_ip_loopback(const struct conf_ip *ip) {
    static const uint8_t v6_loopback[16] = {[15] = 1};
    return ip->version == 4 ? ip->bytes[0] == 127 : memcmp(ip->bytes, v6_loopback, 16) == 0;
}

static bool octal_mode(str s, uint16_t *mode) {
    if (s.n < 3 || s.n > 4)
        return false;
    unsigned value = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '7')
            return false;
        value = value * 8 + (unsigned)(s.p[i] - '0');
    }
    *mode = (uint16_t)value;
    return value > 0 && value <= 0777;
}

static enum err unix_parse(str s, struct arena *a, struct conf_address *address, struct why *w) {
    size_t colon = str_rfind(s, ':');
    if (colon != SIZE_MAX && octal_mode(str_tail(s, colon + 1), &address->mode))
        s = str_head(s, colon);
    if (!str_starts(s, S("/")) || s.n < 2 || s.n > UNIX_PATH_MAX_LENGTH)
        return why(w, ERR_SYNTAX, "the path of a unix socket begins with / and has at most %d bytes",
                   (int)UNIX_PATH_MAX_LENGTH);
    address->kind = CONF_ADDRESS_UNIX;
    address->path = arena_str(a, s);
    return a->full ? ERR_NOMEM : OK;
}

enum err conf_address_parse(str s, struct arena *a, struct conf_address *address, struct why *w) {
    *address = (struct conf_address){.path = S("")};
    if (s.n == 0)
        return OK;
    if (str_ieq(s, S("off"))) {
        address->kind = CONF_ADDRESS_OFF;
        return OK;
    }
    if (str_skip(&s, S("unix:")))
        return unix_parse(s, a, address, w);

    size_t colon = str_rfind(s, ':');
    uint64_t port;
    if (colon == SIZE_MAX || !small_number(str_tail(s, colon + 1), 5, 65535, &port))
        return why(w, ERR_SYNTAX, "an address ends in a colon and a port from 0 to 65535");
    str host = str_head(s, colon);
    bool brackets = str_starts(host, S("[")) && str_ends(host, S("]"));
    if (str_ieq(host, S("localhost")))
        host = S("127.0.0.1");
    else if (brackets)
        host = str_sub(host, 1, host.n - 2);
    else if (str_has(host, ':'))
        return why(w, ERR_SYNTAX, "an IPv6 address stands in brackets: [::1]:25");
    if (!conf_ip_parse(host, &address->ip) || (brackets && !str_has(host, ':')))
        return why(w, ERR_SYNTAX, "the host is an IPv4 address, an IPv6 address in brackets, or localhost");
    address->kind = CONF_ADDRESS_IP;
    address->port = (uint16_t)port;
    return OK;
}

void conf_address_put(struct buf *out, const struct conf_address *address) {
    switch (address->kind) {
    case CONF_ADDRESS_NONE: return;
    case CONF_ADDRESS_OFF: buf_add(out, S("off")); return;
    case CONF_ADDRESS_UNIX:
        buf_printf(out, "unix:%.*s", STR_ARG(address->path));
        if (address->mode)
            buf_printf(out, ":%04o", address->mode);
        return;
    case CONF_ADDRESS_IP:
        buf_add(out, address->ip.version == 6 ? S("[") : S(""));
        conf_ip_put(out, &address->ip);
        buf_printf(out, "%s:%u", address->ip.version == 6 ? "]" : "", address->port);
        return;
    }
}

/* No bits may be set behind the prefix: 10.0.0.1/8 is more likely a mistake than a wish. */
static bool host_bits_clear(const struct conf_ip *ip, unsigned prefix) {
    for (unsigned bit = prefix; bit < (ip->version == 4 ? 32u : 128u); bit++)
        if (ip->bytes[bit / 8] & (0x80 >> bit % 8))
            return false;
    return true;
}

static enum err network_parse(str s, struct conf_network *n, struct why *w) {
    *n = (struct conf_network){0};
    if (str_ieq(s, S("unix"))) {
        n->local = true;
        return OK;
    }
    str text = s, host = s;
    uint64_t prefix;
    bool has_prefix = str_cut(&s, '/', &host), was_v6 = str_has(host, ':');
    if (!conf_ip_parse(host, &n->ip))
        return why(w, ERR_SYNTAX, "\"%.*s\" is neither an address nor a network such as 10.0.0.0/8 nor unix",
                   STR_ARG(str_head(text, 60)));
    unsigned bits = was_v6 ? 128 : 32;
    if (!has_prefix)
        prefix = bits;
    else if (!small_number(s, 3, bits, &prefix))
        return why(w, ERR_SYNTAX, "the prefix of %.*s is a number from 0 to %u", STR_ARG(str_head(text, 60)), bits);
    if (was_v6 && n->ip.version == 4) { /* ::ffff:a.b.c.d/120 */
        if (prefix < 96)
            return why(w, ERR_SYNTAX, "%.*s: write an IPv4 network as such", STR_ARG(str_head(text, 60)));
        prefix -= 96;
    }
    if (!host_bits_clear(&n->ip, (unsigned)prefix))
        return why(w, ERR_SYNTAX, "%.*s has bits set behind its prefix", STR_ARG(str_head(text, 60)));
    n->prefix = (uint8_t)prefix;
    return OK;
}

static bool is_separator(char c) {
    return char_is_space(c) || c == ',';
}

static bool next_item(str *s, str *item) {
    while (s->n && is_separator(s->p[0]))
        *s = str_tail(*s, 1);
    size_t n = 0;
    while (n < s->n && !is_separator(s->p[n]))
        n++;
    *item = str_head(*s, n);
    *s = str_tail(*s, n);
    return n > 0;
}

enum err conf_networks_parse(str s, size_t max, struct arena *a, struct conf_networks *n, struct why *w) {
    *n = (struct conf_networks){0};
    size_t count = 0;
    str rest = s, item;
    while (next_item(&rest, &item))
        count++;
    if (count > max)
        return why(w, ERR_LIMIT, "at most %zu networks", max);
    if (count == 0)
        return OK;
    n->list = arena_alloc(a, count * sizeof *n->list);
    if (!n->list)
        return ERR_NOMEM;
    while (next_item(&s, &item)) {
        enum err e = network_parse(item, &n->list[n->count], w);
        if (e)
            return e;
        n->count++;
    }
    return OK;
}

void conf_networks_put(struct buf *out, const struct conf_networks *n) {
    for (size_t i = 0; i < n->count; i++) {
        const struct conf_network *one = &n->list[i];
        buf_add(out, i ? S(", ") : S(""));
        if (one->local) {
            buf_add(out, S("unix"));
            continue;
        }
        conf_ip_put(out, &one->ip);
        if (one->prefix != (one->ip.version == 4 ? 32 : 128))
            buf_printf(out, "/%u", one->prefix);
    }
}

static bool contains(const struct conf_network *n, const struct conf_ip *ip) {
    if (n->local || n->ip.version != ip->version)
        return false;
    unsigned whole = n->prefix / 8, rest = n->prefix % 8;
    if (memcmp(n->ip.bytes, ip->bytes, whole) != 0)
        return false;
    return rest == 0 || ((n->ip.bytes[whole] ^ ip->bytes[whole]) >> (8 - rest)) == 0;
}

bool conf_network_match(const struct conf_networks *n, str address) {
    struct conf_ip ip;
    bool local = str_eq(address, S("unix"));
    if (!local && !conf_ip_parse(address, &ip))
        return false;
    for (size_t i = 0; i < n->count; i++)
        if (local ? n->list[i].local : contains(&n->list[i], &ip))
            return true;
    return false;
}
