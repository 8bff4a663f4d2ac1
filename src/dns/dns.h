/* dns.h - names and answers of the DNS, as the resolver tells them.  Pure.
 * An answer is what one question came to, CNAMEs followed; it travels encoded, and is checked again by who reads it. */
#ifndef DNS_DNS_H
#define DNS_DNS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum dns_type {
    DNS_A = 1,
    DNS_NS = 2,
    DNS_CNAME = 5,
    DNS_PTR = 12,
    DNS_MX = 15,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_TLSA = 52
};

enum dns_status {
    DNS_FOUND,   /* records */
    DNS_NO_DATA, /* the name is there, records of this type are not */
    DNS_NO_NAME, /* NXDOMAIN */
    DNS_FAILED,  /* SERVFAIL, timeout, no server: not known for now */
    DNS_BOGUS,   /* does not validate: as FAILED, and told so */
};

struct dns_record {
    uint32_t preference; /* MX */
    str value; /* A, AAAA: the address as text; MX, PTR, NS: a name, lower case, without trailing dot ("" is the root);
                  TXT: its strings joined; else the raw bytes */
};

struct dns_answer {
    str name;
    uint32_t type;
    enum dns_status status;
    bool secure; /* validated by DNSSEC */
    uint32_t ttl_s;
    str canonical; /* behind the CNAMEs; the name itself when there were none */
    str text;      /* FAILED, BOGUS: why, in words */
    struct dns_record *records;
    size_t record_count;
};

enum { DNS_RECORDS_MAX = 256, DNS_VALUE_MAX = 8192, DNS_CNAME_MAX = 8 };

void dns_answer_put(struct buf *out, const struct dns_answer *a);
enum err dns_answer_take(str bytes, struct arena *a, struct dns_answer *out) MUST_CHECK; /* ERR_CORRUPT, ERR_NOMEM */

/* A host or domain name as may be asked for: labels of 1 to 63, 253 in all, letters digits - _, UTF-8 refused (use the
 * A-label).  ERR_SYNTAX. */
enum err dns_name_check(str name) MUST_CHECK;

/* A packet of the wire (RFC 1035 4) with the answer to name and type.  secure is the caller's.  ERR_CORRUPT. */
enum err dns_packet_take(str packet, str name, uint32_t type, struct arena *a, struct dns_answer *out) MUST_CHECK;

#endif
