/* sasl_client.h - the client's side of a SASL exchange (RFC 4422).
 *
 *     start  ->  [initial response]  ->  step(challenge)  ->  response  ->  ...  ->  the server says yes: accept
 * Bytes here are decoded; base64 is the caller's.  Whether the secret may be shown to this server is the caller's
 * decision too (SASL_F_PLAINTEXT).  Pure: no I/O, no clock (libgsasl draws its nonces from the system). */
#ifndef MAILAUTH_SASL_CLIENT_H
#define MAILAUTH_SASL_CLIENT_H

#include "base/buf.h"
#include "mailauth/sasl_mech.h"

struct sasl_account {
    str user, secret; /* neither with NUL; the secret is the token for OAUTHBEARER and XOAUTH2 */
    str host;         /* of the server, told in OAUTHBEARER; may be empty */
    unsigned port;
    str binding; /* tls-exporter bytes (RFC 9266); used by -PLUS mechanisms only */
};

struct sasl_client {
    const struct sasl_mechanism *mechanism;
    struct sasl_account account; /* views of the caller's bytes */
    unsigned state;
    bool initial;        /* response holds an initial response */
    struct buf response; /* the bytes to send, may be empty */
    const char *problem; /* a sentence when a function said false */
    struct buf binding;
    void *library, *exchange;
};

/* False: this cannot be done (problem says why).  *c must not move until sasl_client_end(). */
bool sasl_client_start(struct sasl_client *c, const struct sasl_mechanism *m,
                       const struct sasl_account *account) MUST_CHECK;
/* A challenge came; the answer is in response.  False: it makes no sense; cancel with "*". */
bool sasl_client_step(struct sasl_client *c, str challenge) MUST_CHECK;
/* The server said yes.  False: it has not proven that it knows the password (SCRAM), do not believe it. */
bool sasl_client_accept(struct sasl_client *c) MUST_CHECK;
void sasl_client_end(struct sasl_client *c); /* also on a zeroed struct, also twice */

#endif
