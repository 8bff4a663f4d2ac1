/* proxy.h - the PROXY protocol header a load balancer writes before the client's first byte, versions 1 and 2.
 * Give it all bytes received so far, again with more while it says ERR_MORE; what stands behind the header belongs to
 * the client.  Only for peers that are configured to send it: anybody else could lie about where he comes from.
 * Pure: no I/O, no allocation. */
#ifndef SMTP_PROXY_H
#define SMTP_PROXY_H

#include "base/err.h"

enum {
    PROXY_V1_MAX = 107,            /* with CRLF */
    PROXY_V2_MAX = 2048,           /* all of it: 16 bytes, addresses, TLVs */
    PROXY_SIZE_MAX = PROXY_V2_MAX, /* never more bytes than this are needed */
    PROXY_ADDRESS_SIZE = 109,
};

enum proxy_family { PROXY_NONE, PROXY_INET, PROXY_INET6, PROXY_UNIX };

struct proxy_header {
    unsigned version;         /* 1 or 2 */
    size_t size;              /* bytes of the header */
    bool local;               /* v1 UNKNOWN, v2 LOCAL or an unknown family: the connection's own addresses hold */
    enum proxy_family family; /* PROXY_NONE when local */
    char source[PROXY_ADDRESS_SIZE]; /* text, as inet_ntop writes it; a path (may be empty) when PROXY_UNIX */
    char destination[PROXY_ADDRESS_SIZE];
    uint16_t source_port, destination_port;
};

/* OK; ERR_MORE: incomplete; ERR_SYNTAX: this is no header (also: bad checksum TLV); ERR_LIMIT: too long.  The last two
 * end the connection without a word. */
enum err proxy_parse(str bytes, struct proxy_header *h) MUST_CHECK;

#endif
