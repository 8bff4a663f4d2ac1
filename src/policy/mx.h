/* mx.h - which hosts take the mail of a domain, and at which addresses (RFC 5321 5.1, RFC 7505).  Pure, and asks and
 * retries: what is not known yet is listed in missing, ERR_MORE is returned, and the caller comes again once it knows
 * it.  The answers are one snapshot for one evaluation.
 *
 *     struct mx_result r = {.story = NULL};
 *     while (mx_decide(domain, &options, known, &arena, &r) == ERR_MORE)
 *         ask r.missing[0 .. r.missing_count) of the resolver, chain the answers to `known`
 *
 * Rules: hosts by preference, equal ones shuffled by the seed; no MX record: the domain itself; the one record "."
 * takes no mail; our own name or address cuts the list at its preference; a host that is an alias (CNAME) is followed,
 * and told; one that is an address, is no host name, or is or leads to this machine's loopback is left out, and told.
 */
#ifndef POLICY_MX_H
#define POLICY_MX_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "dns/dns.h"

enum {
    MX_HOSTS_MAX = 20,
    MX_ADDRESSES_MAX = 5,                  /* of one host */
    MX_MISSING_MAX = 2 * MX_HOSTS_MAX + 1, /* questions at a time */
    MX_SITE_MAX = 255,                     /* bytes of a site's name */
};

struct mx_known {
    const struct dns_answer *answer;
    struct mx_known *next;
};

struct mx_options {
    const str *own_names; /* host names of this server, lower case */
    size_t own_name_count;
    const str *own_addresses; /* its addresses as text */
    size_t own_address_count;
    uint64_t seed;       /* shuffles hosts of equal preference */
    bool allow_loopback; /* hosts may be localhost, loopback or unspecified addresses (tests, one machine) */
    bool no_ipv4, no_ipv6;
};

struct mx_question {
    str name;
    uint32_t type;
};

struct mx_host {
    str name;                        /* lower case; of a literal: "[192.0.2.1]" as text */
    uint32_t preference;             /* 0 for implicit ones */
    str addresses[MX_ADDRESSES_MAX]; /* as text, IPv6 and IPv4 in turns, IPv6 first */
    size_t address_count;            /* at least 1 */
    bool secure;                     /* the addresses were validated by DNSSEC */
    str canonical;                   /* where the name is an alias: what it leads to; else empty */
};

struct mx_result {
    struct buf *story; /* in: NULL, or where to tell in words what became of each record, a line each */
    struct mx_host *hosts;
    size_t host_count;
    bool secure;    /* the list of hosts was validated by DNSSEC */
    bool implicit;  /* there is no MX record: the domain's own addresses */
    unsigned code;  /* ERR_NOT_FOUND: 5xx, ERR_DOWN: 4xx ... */
    str text;       /* ... and "5.1.10 example.org takes no mail (null MX)" */
    str site;       /* the hosts as one name: domains that have it share their servers.  Set as soon as the MX records
                       are known, also with ERR_MORE; empty: the domain has none */
    uint32_t ttl_s; /* the shortest of the answers that were used */
    struct mx_question missing[MX_MISSING_MAX];
    size_t missing_count;
};

/* domain: as in an address, also a literal [192.0.2.1] or [IPv6:2001:db8::1]; names in any case, A-labels.
 * OK: at least one host.  ERR_MORE: see missing.  ERR_NOT_FOUND: undeliverable for good.  ERR_DOWN: not known for now.
 * ERR_NOMEM.  Results live in the arena or point into the answers. */
enum err mx_decide(str domain, const struct mx_options *o, const struct mx_known *known, struct arena *a,
                   struct mx_result *r) MUST_CHECK;

/* A host named by the configuration (smarthost, LMTP): a name or an address, with or without brackets; no MX records
 * are asked for, loopback is allowed, our own name too.  It never fails for good: 451 4.3.5 where a person must act. */
enum err mx_decide_host(str host, const struct mx_options *o, const struct mx_known *known, struct arena *a,
                        struct mx_result *r) MUST_CHECK;

#endif
