#include "conf/conf_net.h"

#include "base/ip.h"

#include <string.h>

enum { UNIX_PATH_MAX_LENGTH = 107 }; /* sockaddr_un.sun_path without its NUL */

static bool small_number(str s, size_t digits_max, uint64_t max, uint64_t *n) {
    return s.n > 0 && s.n <= digits_max && str_u64(s, n) && *n <= max;
}

static void unmap(struct conf_ip *ip) {
    const uint8_t *v4 = ip->bytes + IP6_SIZE - IP4_SIZE;
    struct conf_ip inner = {.version = 4, .bytes = {v4[0], v4[1], v4[2], v4[3]}};
    if (ip->version == 6 && ip6_is_mapped(ip->bytes))
        *ip = inner;
}

bool conf_ip_parse(str s, struct conf_ip *ip) {
    *ip = (struct conf_ip){0};
    if (ip4_parse(s, ip->bytes))
        ip->version = 4;
    else if (ip6_parse(s, ip->bytes))
        ip->version = 6;
    unmap(ip);
    return ip->version != 0;
}

void conf_ip_put(struct buf *out, const struct conf_ip *ip) {
    char text[IP_TEXT_SIZE];
    (ip->version == 4 ? ip4_text : ip6_text)(ip->bytes, text);
    buf_add(out, str_of(text));
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
