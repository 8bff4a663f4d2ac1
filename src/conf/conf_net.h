/* conf_net.h - addresses and networks as text: IPv4, IPv6 (RFC 4291 2.2), unix sockets.  Pure.
 * IPv4 inside IPv6 (::ffff:192.0.2.1) is one and the same as IPv4. */
#ifndef CONF_CONF_NET_H
#define CONF_CONF_NET_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

struct conf_ip {
    uint8_t version; /* 4 or 6 */
    uint8_t bytes[16];
};

/* Where to listen. */
enum conf_address_kind {
    CONF_ADDRESS_NONE, /* not set */
    CONF_ADDRESS_OFF,
    CONF_ADDRESS_IP,
    CONF_ADDRESS_UNIX
};

struct conf_address {
    enum conf_address_kind kind;
    struct conf_ip ip;
    uint16_t port; /* 0: any free one */
    str path;      /* of a unix socket; NUL behind it */
    uint16_t mode; /* of its file; 0: not given */
};

struct conf_network {
    bool local; /* "unix": whoever comes by a unix socket */
    struct conf_ip ip;
    uint8_t prefix; /* bits */
};

struct conf_networks {
    struct conf_network *list;
    size_t count;
};

bool conf_ip_parse(str s, struct conf_ip *ip) MUST_CHECK; /* no brackets, no zone */
void conf_ip_put(struct buf *out, const struct conf_ip *ip);
bool conf_ip_loopback(const struct conf_ip *ip);

/* "127.0.0.1:25", "localhost:25", "[::1]:25", "unix:/path", "unix:/path:0660", "off". ERR_SYNTAX with a sentence. */
enum err conf_address_parse(str s, struct arena *a, struct conf_address *address, struct why *w) MUST_CHECK;
void conf_address_put(struct buf *out, const struct conf_address *address);

/* "10.0.0.0/8, ::1 unix": separated by commas or spaces.  ERR_SYNTAX, ERR_LIMIT with a sentence, ERR_NOMEM. */
enum err conf_networks_parse(str s, size_t max, struct arena *a, struct conf_networks *n, struct why *w) MUST_CHECK;
void conf_networks_put(struct buf *out, const struct conf_networks *n);

/* Is the client ("192.0.2.1", "2001:db8::1", "unix") in one of the networks?  What is no address is in none. */
bool conf_network_match(const struct conf_networks *n, str address);

#endif
