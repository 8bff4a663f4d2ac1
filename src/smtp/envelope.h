/* envelope.h - what is known of a message beside its bytes (RFC 5321 2.3.1): who gave it, to whom, over what
 * session.  Kept with the message for ever, so its coding is tagged: a reader skips tags it does not know.
 * Pure.  A SESSION_INFO frame carries the same struct with no sender and no recipients. */
#ifndef SMTP_ENVELOPE_H
#define SMTP_ENVELOPE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

struct envelope_rcpt {
    str address; /* as given, without <>, "Postmaster" may stand alone */
    str params;  /* "NOTIFY=NEVER ORCPT=rfc822;a@b": as given */
};

struct envelope {
#define STR(tag, name) str name;
#define NUM(tag, name) uint64_t name;
#include "smtp/envelope.def"
#undef STR
#undef NUM
    struct envelope_rcpt *rcpts;
    size_t rcpt_count;
};

void envelope_put(struct buf *out, const struct envelope *e);

/* Strs point into `bytes`; the array of recipients is in the arena.  ERR_CORRUPT, ERR_NOMEM. */
enum err envelope_take(str bytes, struct arena *a, struct envelope *e) MUST_CHECK;

#endif
