/* smtpd_route.h - what is decided about the mail of a session: whether its sender may send it, and where each
 * recipient's goes (policy/rewrite.h, then policy/route.h over what the store's directory says).  It keeps the header
 * while the message streams, for rules that look at it.
 * Functions that return ERR_MORE have asked the directory: smtpd_session_known() follows, then call them again. */
#ifndef ROLE_SMTPD_ROUTE_H
#define ROLE_SMTPD_ROUTE_H

#include "policy/rewrite.h"
#include "policy/route.h"
#include "role/smtpd_core.h"

struct smtpd_decided; /* of one recipient */

enum { SMTPD_SECRETS_MAX = 8 }; /* of senders of forwarded mail */

struct smtpd_route {
    struct smtpd_session *session;
    struct smtpd_asker asker;
    struct smtpd_known *known; /* answers this decision rests on */
    struct arena arena;        /* what was decided */
    struct arena work;         /* what is being decided */
    struct buf header;
    bool header_over;
    uint8_t *header_said; /* to each rule; NULL until it is asked */
    str sender;           /* that the mail goes on with, without <> */
    bool sender_local;    /* as it came; known where rewrite rules ask */
    struct srs srs;
    str secrets[SMTPD_SECRETS_MAX];
    struct smtpd_decided *decided;
    size_t count, cap;
    struct map made; /* what is to be done, to the index of the first recipient it is done for */
    size_t next;     /* finish: the recipient that is looked at */
    unsigned code;   /* ERR_DENIED: the answer */
    str text;
};

struct smtpd_route *smtpd_route_new(struct smtpd_session *s); /* at MAIL; NULL: no memory */
void smtpd_route_free(struct smtpd_route *r);

/* OK, ERR_DENIED, ERR_MORE; else it cannot be told now. */
enum err smtpd_route_sender(struct smtpd_route *r) MUST_CHECK;
/* Of s->smtp.rcpt.  Likewise; ERR_DENIED with code and text. */
enum err smtpd_route_rcpt(struct smtpd_route *r) MUST_CHECK;
void smtpd_route_body(struct smtpd_route *r, str piece);
/* The message is complete: likewise.  OK: the envelope has its deliveries and edits, which live as long as r. */
enum err smtpd_route_finish(struct smtpd_route *r) MUST_CHECK;

#endif
