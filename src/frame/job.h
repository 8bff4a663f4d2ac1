/* job.h - the words of JOB frames: what a worker is asked to do, and what came of it.  Stored: never reuse a number. */
#ifndef FRAME_JOB_H
#define FRAME_JOB_H

enum { JOB_WINDOW = 64 * 1024 }; /* bytes of a body that are sent unasked */

/* What is done with a recipient of a message (the action of its route).  LOCAL ones never become a job. */
enum job_kind {
    JOB_MAILBOX = 1, /* local: into a mailbox, within the acceptance */
    JOB_CAPTURE,     /* local: into the inbox of the page */
    JOB_DISCARD,     /* local: it is delivered by being forgotten */
    JOB_REFUSED,     /* local: a rule that saw the header said no; it is returned */
    JOB_RELAY,       /* next_hop is a domain: its mail exchangers */
    JOB_SMARTHOST,   /* next_hop is the route's */
    JOB_LMTP,
    JOB_PIPE,
    JOB_WEBHOOK,
    JOB_REPORT, /* to smtpd: build the report (RFC 3464) and bring it as a message whose envelope names report_of */
};

enum job_flag {
    JOB_EIGHT_BIT = 1,   /* bytes above 127 in it */
    JOB_UTF8 = 2,        /* header or addresses need SMTPUTF8 */
    JOB_REQUIRE_TLS = 4, /* RFC 8689 */
    JOB_TLS_OPTIONAL = 8 /* TLS-Required: No */,
    JOB_BINARY = 16,
    JOB_LONG_LINES = 32, /* over 998 bytes */
};

enum job_outcome {
    JOB_DELIVERED = 1,
    JOB_DEFERRED,  /* try again later */
    JOB_FAILED,    /* trying again is of no use */
    JOB_UNKNOWN,   /* sent whole, the answer never came */
    JOB_RELAYED,   /* delivered to a server that makes no reports itself (RFC 3461 5.2.2) */
    JOB_EXPANDED,  /* became other recipients */
    JOB_LATE,      /* for a delay notice */
    JOB_CANCELLED, /* by an operator */
    JOB_EXPIRED,
};

/* What an attempt says of the site, beside the recipients. */
enum job_trouble {
    JOB_FINE,       /* it took part in the conversation */
    JOB_NO_HOST,    /* DNS had no answer for now */
    JOB_NO_CONNECT, /* no host could be reached */
    JOB_HANDSHAKE,  /* greeting, EHLO, TLS, AUTH went wrong */
    JOB_BUSY,       /* 421 or the like: too many connections or messages */
    JOB_BROKEN,     /* lost within a conversation that had begun */
    JOB_OURS,       /* no fault of the site: cancelled, no memory, shutdown */
};

/* Of one recipient. */
enum queue_state {
    QUEUE_WAITING = 1, /* for its time */
    QUEUE_ACTIVE,      /* a worker has it */
    QUEUE_HELD,        /* an operator holds it, or its sender until a time (FUTURERELEASE) */
    QUEUE_DELIVERED,
    QUEUE_BOUNCED,   /* failed for good, and reported where that was asked for */
    QUEUE_EXPIRED,   /* likewise, of age */
    QUEUE_DELETED,   /* by an operator */
    QUEUE_REPORTING, /* failed or expired; the report is not on stable storage yet */
    QUEUE_UNKNOWN,   /* waiting again after an attempt whose end is not known */
};

enum queue_action { QUEUE_DO_HOLD = 1, QUEUE_DO_RELEASE, QUEUE_DO_RETRY, QUEUE_DO_DELETE, QUEUE_DO_BOUNCE };

#endif
