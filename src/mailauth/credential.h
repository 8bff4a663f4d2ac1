/* credential.h - a password as it is kept: never as itself.  Pure (libxcrypt and libgsasl compute; randomness is an
 * argument).
 *
 * A credential is one line of words: a hash of crypt(5), and what SCRAM-SHA-256 needs (RFC 5803's form, as PostgreSQL
 * and others write it, too).  Either may be missing: without a hash there is no PLAIN and LOGIN, without the other no
 * SCRAM.
 *     $y$j9T$uWsu...$gQ2...
 * SCRAM-SHA-256$16384:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPL... An account may have
 * several, one a line: its own, then those of its apps.  Any hash may match; SCRAM, which must choose before it has
 * heard anything, uses the first that can. */
#ifndef MAILAUTH_CREDENTIAL_H
#define MAILAUTH_CREDENTIAL_H

#include "base/buf.h"
#include "base/err.h"

enum {
    CREDENTIAL_MAX = 1000,         /* bytes of one */
    CREDENTIAL_PASSWORD_MAX = 500, /* bytes of a password */
    CREDENTIAL_RANDOM = 48,        /* random bytes that making one takes */
    CREDENTIAL_ITERATIONS = 16384, /* of SCRAM's keys */
};

/* yescrypt at its usual cost (16 MiB, some 50 ms), and SCRAM.  ERR_SYNTAX: a password that nobody can have (empty, a
 * NUL in it, too long); ERR_NOMEM. */
enum err credential_make(str password, const uint8_t random[CREDENTIAL_RANDOM], struct buf *out,
                         struct why *w) MUST_CHECK;
/* Is the line one that somebody can log in with? */
bool credential_valid(str line);

/* Does the password match one of them?  Takes as long as the hashes that do not match. */
bool credential_verify(str lines, str password) MUST_CHECK;
/* The same work for nobody: who is not here, or has no password.  Always false. */
bool credential_verify_nobody(str password);

struct credential_scram { /* as libgsasl wants them: texts */
    char iterations[12], salt[100], stored_key[48], server_key[48];
};
bool credential_scram(str lines, struct credential_scram *out) MUST_CHECK; /* false: there is none */
/* What a name has that is not here, the same each time it is asked, so that it cannot be told from one that is.
 * False: no memory. */
bool credential_scram_nobody(str secret, str name, struct credential_scram *out) MUST_CHECK;

#endif
