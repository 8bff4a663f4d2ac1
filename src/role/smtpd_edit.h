/* smtpd_edit.h - what a message becomes on its way through us, as recorded edits (mime/edit.h) beside its bytes: the
 * Received field in front (RFC 5321 4.4), a Return-Path that is not ours to believe cut, and what submission and
 * rewrite rules change in the header. */
#ifndef ROLE_SMTPD_EDIT_H
#define ROLE_SMTPD_EDIT_H

#include "base/buf.h"
#include "base/err.h"
#include "smtp/envelope.h"

/* The Received field of the message whose envelope this is, with its CRLF: `for` only when there is one recipient, for
 * others must not learn of each other. */
void smtpd_received_put(struct buf *out, const struct envelope *e, str hostname);

/* All edits of a message into its envelope, their bytes into the arena.  size: of all that came; header: its header
 * section.  ERR_NOMEM. */
enum err smtpd_edit(struct envelope *e, uint64_t size, str hostname, str header, struct arena *a) MUST_CHECK;

bool smtpd_header_is_utf8(str header); /* has a byte above 127 */
/* RFC 8689 5: TLS-Required: No */
bool smtpd_header_tls_optional(str header);
/* Has it been delivered to this address before (RFC 5321 6.3, RFC 9228)? */
bool smtpd_header_delivered_to(str header, str address);

#endif
