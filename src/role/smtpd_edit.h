/* smtpd_edit.h - what a message becomes on its way through us, as recorded edits (mime/edit.h) beside its bytes: the
 * Received field in front (RFC 5321 4.4), a Return-Path that is not ours to believe cut, and what submission and
 * rewrite rules change in the header. */
#ifndef ROLE_SMTPD_EDIT_H
#define ROLE_SMTPD_EDIT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "mime/header.h"
#include "policy/rewrite.h"
#include "smtp/envelope.h"

/* The value of the Received field of the message whose envelope this is, folded: `for` only when there is one
 * recipient, for others must not learn of each other. */
void smtpd_received_put(struct buf *out, const struct envelope *e, str hostname);

struct smtpd_edit {
    struct envelope *envelope; /* gets edits and edited_size */
    uint64_t size;             /* of all that came */
    str header;                /* its header section; empty: it is not known, and only Received is added */
    str hostname;
    bool submission;         /* a user's: Date, Message-ID and From added where there are none, Bcc cut */
    const struct conf *conf; /* whose rewrite rules are applied, for these recipients; NULL: none */
    const struct rewrite_ask *asks;
    size_t ask_count;
};
/* The edits' bytes go into the arena.  ERR_NOMEM and the like, with a sentence. */
enum err smtpd_edit(const struct smtpd_edit *a, struct arena *mem, struct why *w) MUST_CHECK;

bool smtpd_header_is_utf8(str header); /* has a byte above 127 */
/* RFC 8689 5: TLS-Required: No */
bool smtpd_header_tls_optional(str header);
/* The next address it has been delivered to before (RFC 5321 6.3, RFC 9228); false: there is none. */
bool smtpd_header_delivered_to(struct header_iter *it, str *address);

#endif
