/* sasl_mech.h - the SASL mechanisms Penfold speaks, best first (RFC 4422; PLAIN RFC 4616, SCRAM RFC 7677, OAUTHBEARER
 * RFC 7628, LOGIN and XOAUTH2 by custom).  Pure. */
#ifndef MAILAUTH_SASL_MECH_H
#define MAILAUTH_SASL_MECH_H

#include "base/str.h"

enum sasl_id {
    SASL_SCRAM_SHA_256_PLUS,
    SASL_SCRAM_SHA_256,
    SASL_OAUTHBEARER,
    SASL_XOAUTH2,
    SASL_PLAIN,
    SASL_LOGIN,
    SASL_COUNT
};

enum sasl_flag {
    SASL_F_PLAINTEXT = 1, /* the secret crosses the wire readable: only under TLS, or where told so */
    SASL_F_PASSWORD = 2,  /* the server must know the password (it proves that it does) */
    SASL_F_BINDING = 4,   /* needs channel binding bytes of the TLS connection */
    SASL_F_TOKEN = 8,     /* the secret is a bearer token, not a password */
};

struct sasl_mechanism {
    str name;
    enum sasl_id id;
    unsigned flags;
};

extern const struct sasl_mechanism sasl_mechanisms[SASL_COUNT];

const struct sasl_mechanism *sasl_mechanism_find(str name); /* any case; NULL: not ours */

enum { SASL_MESSAGE_MAX = 12288 }; /* decoded bytes of one challenge or response, RFC 4954 section 4 */

#endif
