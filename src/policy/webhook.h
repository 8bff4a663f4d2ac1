/* webhook.h - what a webhook is posted, how that is signed, and what an answer means.  Pure.
 * The form is that of the Standard Webhooks (standardwebhooks.com): one event for one recipient of one message, with
 *     webhook-id:         the same for every attempt, so that a receiver recognizes what it has already
 *     webhook-timestamp:  of this attempt, seconds since 1970
 *     webhook-signature:  "v1," and the base64 of HMAC-SHA256 over ID.TIMESTAMP.BODY; several, with blanks between */
#ifndef POLICY_WEBHOOK_H
#define POLICY_WEBHOOK_H

#include "base/buf.h"
#include "base/err.h"
#include "frame/job.h"
#include "smtp/envelope.h"

enum {
    WEBHOOK_ID_MAX = 40,
    WEBHOOK_SECRETS_MAX = 8,
    WEBHOOK_SAID_MAX = 4096,         /* of an answer's body that is kept */
    WEBHOOK_ROOM = 16 * 1024 * 1024, /* what the JSON may need beside the message in it: long lists of addresses */
};

/* ---- what is posted ---- */

struct webhook_post {
    str id; /* of the message */
    str route, sender, recipient;
    uint64_t size;                   /* of the message */
    const struct envelope *envelope; /* session, client, time */
    str message;                     /* all of it, or, cut, its header */
    bool cut;
};

/* How many bytes of the message are its header, with the empty line behind it; 0: its end is not there. */
size_t webhook_header_size(str message);

/* Appends "<id of the message>_<index of the recipient>". */
void webhook_id(str message, uint32_t index, struct buf *out);

/* Appends the JSON object:
 * {"type":"message.received","timestamp":"2026-11-23T07:16:34.082832Z","data":{"id":…,"route":…,
 *  "envelope":{"from":…,"to":…},"client":{"address":…,"helo":…,"user":…,"protocol":…,"tls":…},"size":…,
 *  "message_id":…,"date":… or null,"subject":…,"from":[{"name":…,"address":…}],"to":[…],"cc":[…],"reply_to":[…],
 *  "complete":true,"raw":"<base64>"}} */
void webhook_json(const struct webhook_post *p, struct buf *out);

/* ---- the signature ---- */

/* Appends the signatures of `signed_text` (ID.TIMESTAMP.BODY) by every line of `secrets`: whsec_ and base64, or the
 * bytes of the line as they are.  ERR_SYNTAX with a sentence: a line is none of these, or there is none. */
enum err webhook_sign(str secrets, str signed_text, struct buf *out, struct why *w) MUST_CHECK;

/* ---- the answer ---- */

enum webhook_end {
    WEBHOOK_ANSWERED,
    WEBHOOK_NO_CONNECT,
    WEBHOOK_NO_TLS,
    WEBHOOK_TIMEOUT, /* connected, but no answer in time */
    WEBHOOK_BROKEN,  /* the connection was lost */
    WEBHOOK_NONSENSE /* what came is not HTTP */
};

struct webhook_answer {
    enum webhook_end end;
    unsigned status; /* of HTTP, ANSWERED */
    bool sent;       /* not ANSWERED: the whole request was out */
    str said;        /* the answer's body, or its front */
    str reason;      /* not ANSWERED: in words */
    str wait;        /* the value of Retry-After */
};

struct webhook_verdict {
    enum job_outcome outcome;
    enum job_trouble trouble;
    unsigned code; /* as a reply of SMTP would have it */
};

/* Appends to text "5.3.0 the webhook answered 400: ...", on one line, fit to be shown. */
struct webhook_verdict webhook_judge(const struct webhook_answer *a, struct buf *text);

#endif
