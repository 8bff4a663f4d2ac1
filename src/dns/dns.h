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

enum {
    DNS_NAME_MAX = 253, /* as text, without trailing dot */
    DNS_RECORDS_MAX = 256,
    DNS_VALUE_MAX = 8192,       /* a longer TXT is nothing that mail knows: left out */
    DNS_ANSWER_MAX = 56 * 1024, /* encoded: one frame */
    DNS_CNAME_MAX = 8,
    DNS_TTL_MAX_S = 7 * 24 * 3600,
};

const char *dns_status_name(enum dns_status status); /* "found" */
/* "MX" of 15 and back, in either case, also "TYPE15"; false, "": it has no name here. */
const char *dns_type_name(uint32_t type);
bool dns_type_parse(str name, uint32_t *type) MUST_CHECK;

/* What the question came to without a packet: FAILED, BOGUS.  The texts are copied. */
enum err dns_answer_failed(str name, uint32_t type, enum dns_status status, str text, struct arena *a,
                           struct dns_answer *out) MUST_CHECK;

void dns_answer_put(struct buf *out, const struct dns_answer *a);
enum err dns_answer_take(str bytes, struct arena *a, struct dns_answer *out) MUST_CHECK; /* ERR_CORRUPT, ERR_NOMEM */

/* A host or domain name as may be asked for: labels of 1 to 63, 253 in all, letters digits - _, UTF-8 refused (use the
 * A-label).  ERR_SYNTAX. */
enum err dns_name_check(str name) MUST_CHECK;

/* A packet of the wire (RFC 1035 4) with the answer to name and type.  secure is the caller's.  A response code other
 * than NOERROR and NXDOMAIN, and more than DNS_CNAME_MAX aliases, are FAILED with their words.  Names with bytes no
 * host name has come as \DDD, so that dns_name_check refuses them.
 * ERR_CORRUPT: no such packet; ERR_LIMIT: more than is taken here; ERR_NOMEM. */
enum err dns_packet_take(str packet, str name, uint32_t type, struct arena *a, struct dns_answer *out) MUST_CHECK;

#endif
