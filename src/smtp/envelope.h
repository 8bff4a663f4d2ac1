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

/* One recipient as the routes made it: one ending.  One recipient of the client may become several (aliases, copies).
 */
struct envelope_delivery {
    uint32_t rcpt; /* index of the recipient it came from */
    uint32_t kind; /* enum job_kind */
    str address;   /* who gets it there */
    str sender;    /* the envelope sender to use when it differs (SRS): see has_sender */
    str target;    /* MAILBOX: the account; RELAY: the domain; SMARTHOST, LMTP: HOST:PORT list; else the route's name */
    str detail;    /* MAILBOX: the folder, "" is INBOX; REFUSED: "550 text" */
    str rule;      /* the route block that decided; "" for the built-in ones */
    str via;       /* how it came here, for explain: "alias a@b -> c@d" lines */
    bool has_sender;
};

struct envelope {
#define STR(tag, name) str name;
#define NUM(tag, name) uint64_t name;
#include "smtp/envelope.def"
#undef STR
#undef NUM
    struct envelope_rcpt *rcpts;
    size_t rcpt_count;
    struct envelope_delivery *deliveries; /* every decision that was made: nothing is routed again after a crash */
    size_t delivery_count;
};

void envelope_put(struct buf *out, const struct envelope *e);

/* Strs point into `bytes`; the arrays of recipients and deliveries are in the arena.  ERR_CORRUPT, ERR_NOMEM. */
enum err envelope_take(str bytes, struct arena *a, struct envelope *e) MUST_CHECK;

#endif
