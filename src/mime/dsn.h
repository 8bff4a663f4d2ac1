/* dsn.h - delivery status notifications: what became of a message, in words for the person who sent it and in fields
 * for programs (RFC 3461 6, 3464, 6522, 6533).  Pure. The report is `head`, then bytes of the original message (what
 * dsn_returns() says), then `tail`: so that the original can be streamed between.  Its envelope sender is the null one.
 * What others said (replies, parameters) is untrusted: it comes out without controls, cut at a length, on lines of its
 * own. */
#ifndef MIME_DSN_H
#define MIME_DSN_H

#include "base/buf.h"
#include "base/date.h"
#include "base/err.h"

enum dsn_action { /* RFC 3464 2.3.3 */
                  DSN_FAILED,
                  DSN_DELAYED,
                  DSN_DELIVERED,
                  DSN_RELAYED, /* to a server that makes no reports */
                  DSN_EXPANDED,
};
const char *dsn_action_name(enum dsn_action a); /* "failed" */

struct dsn_rcpt {
    enum dsn_action action;
    str address;         /* as the sender of the message may see it */
    str orcpt;           /* value of ORCPT as given: "rfc822;a+2Bb@c"; may be empty */
    str status;          /* "5.1.1"; empty: from text, or of code */
    unsigned code;       /* of the reply; 0: no server said so, text is our own sentence */
    str text;            /* "5.1.1 no such user", without the code; several lines are separated by '\n' */
    str remote;          /* name of the server that replied or was tried; may be empty */
    struct date attempt; /* the last one; us 0: there was none */
    struct date until;   /* DELAYED: when it is given up */
    struct date next;    /* DELAYED: the next attempt; us 0: not told */
};

enum dsn_returns {
    DSN_RETURNS_NOTHING,
    DSN_RETURNS_HEADER, /* the header section, its empty line included or not */
    DSN_RETURNS_WHOLE,
};

struct dsn {
    str host;        /* our name */
    str to;          /* the original's envelope sender */
    str message_id;  /* of the report, "id@host" */
    str boundary;    /* letters and digits, random: the original must not hold it */
    struct date now; /* of the report */
    struct date arrival;
    str id;                  /* of the original in the queue: what an operator will ask for; may be empty */
    str envid;               /* value of ENVID as given (xtext); may be empty */
    str original_message_id; /* value of its Message-ID field; may be empty */
    str original_subject;    /* decoded (word_decode), for the person; may be empty */
    const struct dsn_rcpt *rcpts;
    size_t rcpt_count;
    enum dsn_returns returns;
    bool eight_bit; /* bytes above 127 in what is returned */
    bool utf8;      /* the sender can read SMTPUTF8: it was used to send the original, or `to` needs it */
};

/* RET=HDRS and size against the configured limit; whole messages come back of failures only (RFC 3461 6.2). */
enum dsn_returns dsn_returns(const struct dsn_rcpt *rcpts, size_t count, bool header_only, uint64_t size,
                             uint64_t size_max);

/* Appends to both.  ERR_SYNTAX: host, to, message_id or boundary cannot stand in a header; ERR_FULL: a limit of the
 * bufs was reached. */
enum err dsn_build(const struct dsn *d, struct buf *head, struct buf *tail, struct why *w) MUST_CHECK;

/* Does the report need SMTPUTF8 to be sent? */
bool dsn_is_utf8(const struct dsn *d);

#endif
