/* sasl_server.h - the server's side of a SASL exchange (RFC 4422), for SMTP, IMAP and POP3 alike.
 *
 *     start(mechanism, initial response or NULL)  -->  CHALLENGE (s->challenge)  -->  step(response)  --> ...
 *          WANT_CREDENTIAL (s->user)               -->  credential(...)           --> ...
 *          WANT_VERDICT (s->user, s->password)     -->  verdict(...)              --> ...
 *          DONE (s->user), or FAILED (s->failure)
 *
 * Only a policy with stored credentials wants something.  Bytes here are decoded: base64, and "*" (the client gives
 * up: sasl_server_end), are the caller's. Pure: no I/O, no clock (libgsasl draws its nonces from the system). */
#ifndef MAILAUTH_SASL_SERVER_H
#define MAILAUTH_SASL_SERVER_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "mailauth/credential.h"
#include "mailauth/sasl_mech.h"

struct sasl_user {
    str name, secret; /* the secret is the password, or the token for OAUTHBEARER and XOAUTH2 */
};

/* Who is let in: anybody (the sandbox: the name is recorded), those whose credentials the host keeps, or those in the
 * table. */
struct sasl_policy {
    bool any, stored;
    struct sasl_user *users;
    size_t user_count;
};

enum { SASL_NAME_MAX = 255, SASL_SECRET_MAX = 1024, SASL_USERS_MAX = 10000 };

/* Lines of "user:secret"; empty lines and lines starting with # are skipped.  Names without controls, secrets not
 * empty, no name twice.  Everything is copied into the arena.  On error the sentence names the line. */
enum err sasl_users_parse(str text, struct arena *a, struct sasl_policy *policy, struct why *w) MUST_CHECK;

/* Whether the mechanism can be offered: not SCRAM when anybody is let in, not -PLUS without channel binding. */
bool sasl_server_offers(const struct sasl_policy *policy, const struct sasl_mechanism *m, bool has_binding);
/* "SCRAM-SHA-256 PLAIN LOGIN": the argument of EHLO's AUTH; with plaintext false those that show the secret are left
 * out.  Nothing is appended when none is left. */
void sasl_server_list(const struct sasl_policy *policy, bool has_binding, bool plaintext, struct buf *out);

enum sasl_result {
    SASL_CHALLENGE,
    SASL_DONE,
    SASL_FAILED,
    SASL_WANT_CREDENTIAL, /* SCRAM: what is kept of s->user? */
    SASL_WANT_VERDICT,    /* PLAIN, LOGIN: is s->password that of s->user? */
};

enum sasl_failure {
    SASL_OK,
    SASL_MALFORMED,       /* 501 5.5.2: not what the mechanism has here */
    SASL_TOO_LONG,        /* 500 5.5.6: over SASL_MESSAGE_MAX */
    SASL_BAD_CREDENTIALS, /* 535 5.7.8: unknown user, wrong secret, foreign authorization identity: one answer for all
                           */
    SASL_UNAVAILABLE,     /* 454 4.7.0: no memory, library trouble */
};

struct sasl_server {
    const struct sasl_policy *policy; /* the caller's, must outlive the exchange */
    const struct sasl_mechanism *mechanism;
    unsigned state;
    struct buf challenge; /* CHALLENGE: the bytes to send, may be empty */
    struct buf user;      /* DONE: who it is; FAILED: who it claimed to be, if that was seen.  UTF-8, no controls */
    enum sasl_failure failure;
    struct buf binding;       /* base64 of the channel binding bytes */
    void *library, *exchange; /* libgsasl's, SCRAM only */

    /* stored credentials */
    bool wanting, known, foreign; /* foreign: it would act for somebody else */
    struct buf password;          /* WANT_VERDICT */
    struct buf held;              /* the response that waits for a credential */
    struct credential_scram scram;
};

/* Begins an exchange in *s (its old contents must have been ended or zeroed); *s must not move until its end.  binding:
 * what RFC 9266's tls-exporter gives for this connection, empty without TLS.  The mechanism must be one that
 * sasl_server_offers(). */
enum sasl_result sasl_server_start(struct sasl_server *s, const struct sasl_policy *policy,
                                   const struct sasl_mechanism *mechanism, str binding, const str *initial) MUST_CHECK;
enum sasl_result sasl_server_step(struct sasl_server *s, str response) MUST_CHECK;
/* The answer to WANT_CREDENTIAL.  known false: nobody is let in with it (credential_scram_nobody()). */
enum sasl_result sasl_server_credential(struct sasl_server *s, const struct credential_scram *scram,
                                        bool known) MUST_CHECK;
/* The answer to WANT_VERDICT: SASL_OK, BAD_CREDENTIALS or UNAVAILABLE.  A foreign identity is refused only now, so that
 * nobody can tell it from a wrong password.  SASL_UNAVAILABLE may also answer WANT_CREDENTIAL. */
enum sasl_result sasl_server_verdict(struct sasl_server *s, enum sasl_failure verdict) MUST_CHECK;
void sasl_server_end(struct sasl_server *s); /* frees; allowed at any time, also on a zeroed struct, also twice */

#endif
