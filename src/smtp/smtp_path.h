/* smtp_path.h - the address between < and > of MAIL and RCPT (RFC 5321 4.1.2, 4.1.3; RFC 6531 3.3).
 * Strict where the RFC is: dots, quotes, lengths (64 octets before the @, 255 behind it, 256 in all with < and >).
 * Three things are taken beyond the grammar, because senders have them: spaces before "<", a source route (read over,
 * as RFC 5321 appendix C asks), and "_" in a domain.  Whether non-ASCII is allowed is the caller's: see `utf8`. Pure:
 * no allocation.  Results point into the input. */
#ifndef SMTP_SMTP_PATH_H
#define SMTP_SMTP_PATH_H

#include "base/err.h"

enum { SMTP_LOCAL_MAX = 64, SMTP_DOMAIN_MAX = 255, SMTP_PATH_MAX = 256, SMTP_LABEL_MAX = 63 };

struct smtp_path {
    str address; /* as given, without <>, without the source route; empty: the null path */
    str local;   /* as given, quotes included */
    str domain;  /* as given; a literal with its brackets; empty for Postmaster alone */
    bool utf8;   /* some byte is above 127: only after SMTPUTF8 */
    bool routed; /* there was a source route */
};

enum smtp_path_fault {
    SMTP_PATH_GOOD,
    SMTP_PATH_NO_BRACKETS,
    SMTP_PATH_LOCAL,
    SMTP_PATH_DOMAIN,
    SMTP_PATH_NO_DOMAIN,
    SMTP_PATH_LENGTH,
    SMTP_PATH_NULL, /* <> where it may not stand */
};
const char *smtp_path_fault_text(enum smtp_path_fault f);

enum smtp_path_kind { SMTP_REVERSE, /* of MAIL: <> is allowed */ SMTP_FORWARD /* of RCPT: <Postmaster> is allowed */ };

/* Takes the path off the front of *s; what follows is left to the caller.  On a fault *s is untouched. */
enum smtp_path_fault smtp_path_take(str *s, enum smtp_path_kind kind, struct smtp_path *path) MUST_CHECK;

bool smtp_domain_valid(str s);          /* labels, A or U, no trailing dot */
bool smtp_address_literal_valid(str s); /* with its brackets, RFC 5321 4.1.3 */

bool smtp_ip_valid(str s); /* 192.0.2.1 or 2001:db8::1, bare */

#endif
