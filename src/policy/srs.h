/* srs.h - the sender rewriting scheme: mail that is forwarded goes out with a sender of our own domain, so that SPF
 * holds and what is returned finds its way back.  Pure. ann@example.org            -> SRS0=HASH=TT=example.org=ann@ours
 *     SRS0=…@other               ->  SRS1=HASH=other==…@ours       forwarded twice: we return it to the first forwarder
 * The hash (HMAC-SHA256 with our secret) keeps strangers from making such addresses, so that nobody can send through us
 * by way of returned mail; TT is the day, and after SRS_DAYS_MAX of them it is too old.  Case of letters is not looked
 * at, as others on the way change it. */
#ifndef POLICY_SRS_H
#define POLICY_SRS_H

#include "base/buf.h"
#include "base/err.h"

enum { SRS_DAYS_MAX = 21, SRS_LOCAL_MAX = 64 /* RFC 5321 4.5.3.1.1 */ };

struct srs {
    const str *secrets; /* the first signs, all of them verify: so a secret can be changed */
    size_t secret_count;
    str domain;   /* ours, for the rewritten sender */
    uint32_t day; /* since 1970 */
};

/* Appends the sender to use.  ERR_UNSUPPORTED: no sender that can be rewritten (the null sender, one without a domain
 * or with an address literal); ERR_LIMIT: its local part would be longer than servers take; ERR_NOMEM. */
enum err srs_forward(const struct srs *s, str sender, struct buf *out) MUST_CHECK;

/* Appends the address that a returned mail to `address` goes to.  ERR_NOT_FOUND: it is not such an address; ERR_SYNTAX:
 * it begins like one and is none; ERR_DENIED: we have not made it; ERR_TIMEOUT: we have, but too long ago. */
enum err srs_reverse(const struct srs *s, str address, struct buf *out) MUST_CHECK;

#endif
