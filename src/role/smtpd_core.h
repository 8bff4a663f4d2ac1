/* smtpd_core.h - the core of the smtpd role, the one place where mail comes in: sessions on one side, frames to the
 * other roles on the other.  Pure: bytes, frames and time in; frames, bytes and the one thing the host must do out (so
 * that a simulator can run it).
 *
 *   client bytes --> smtpd_session_run() --> s->smtp.out, and what to do:
 *     READ     send the output; more input when it comes        FLUSH    send, run again when it is taken
 *     WAIT     send; run again when told by on_wake             DELAY    send nothing before the deadline
 *     TLS      send, then handshake; smtpd_session_tls()        CLOSE    send and close; smtpd_session_free()
 *   After each: the next smtpd_session_deadline().  What run() leaves of the input the host keeps for the next run.
 *
 * A message is MAIL_BEGIN, MAIL_BODY..., MAIL_ENVELOPE, MAIL_TRANSCRIPT, MAIL_COMMIT, or MAIL_ABORT; the store answers
 * MAIL_DONE.  A session that ends is SESSION_BEGIN, SESSION_INFO, SESSION_TRANSCRIPT, SESSION_END.
 *
 * In a server mail is routed (smtpd_route.h) and edited (smtpd_edit.h), logins are keyd's to judge (smtpd_auth.c).  A
 * sandbox without routes takes everything as it comes.  Mail from within goes the same way, through a session without a
 * socket (smtpd_inside.h): what httpd injects, reports, and the spool of the sendmail command.
 *
 * Who comes by a unix socket with policy submission is known by the system (SO_PEERCRED) and needs no password.  As
 * operators expect it of a sendmail command: root and the service's own user may send as anybody; others as
 * NAME@<hostname>, and, where NAME is an account of the first local domain, as whatever that account may send as. The
 * null sender is everybody's (so that mail readers can return receipts). */
#ifndef ROLE_SMTPD_CORE_H
#define ROLE_SMTPD_CORE_H

#include "base/code.h"
#include "base/list.h"
#include "base/map.h"
#include "frame/frame.h"
#include "obs/events.h"
#include "role/smtpd_directory.h"
#include "role/smtpd_generation.h"

struct smtpd_session;

/* What the core needs of its host. */
struct smtpd_ops {
    void (*send)(enum role to, const struct frame *f); /* only called while that role is up */
    void (*random)(void *p, size_t n);
    uint64_t (*now_ms)(void); /* for sessions from within, which the core runs itself */
    uint64_t (*wall_us)(void);
    void (*on_wake)(struct smtpd_session *s); /* run it again */
    /* tls-exporter bytes of the session's connection; false: there are none. */
    bool (*binding)(struct smtpd_session *s, uint8_t binding[32]);
    void (*log)(enum event_id e, struct smtpd_session *s, str detail); /* detail may be empty */
};

struct smtpd_core {
    const struct smtpd_ops *ops;
    struct smtpd_generation *generation; /* the newest; NULL before configure */
    struct buf srs_secret;               /* for the senders of forwarded mail; empty: they stay as they are */
    struct list sessions;
    size_t session_count;
    struct map mails;   /* number -> session */
    struct map waiting; /* limit_tag or auth_tag -> session */
    struct map clients; /* address -> struct smtpd_client, those that limits bind */
    struct smtpd_directory directory;
    struct map injections; /* tag -> struct smtpd_injection */
    struct map reports;    /* job -> struct smtpd_report */
    struct list traces;
    uint64_t hour; /* of the last look for clients that are forgotten */
    uint64_t next_number;
    uint32_t next_tag;
    bool up[ROLE_COUNT];
    enum err store_state;
    struct buf body; /* of the session that runs: pieces of its message, not sent yet */
    struct buf space;
    bool draining;
};

/* What a session waits for. */
enum smtpd_wait {
    SMTPD_FOR_NOTHING,
    SMTPD_FOR_STORE, /* MAIL_DONE */
    SMTPD_FOR_DIRECTORY,
    SMTPD_FOR_LIMIT,
    SMTPD_FOR_KEYD
};

struct smtpd_session {
    struct smtp_server smtp;
    struct list node; /* of core->sessions */
    struct smtpd_core *core;
    struct smtpd_generation *generation;
    struct smtpd_listener *listener;
    void *host;      /* the host's own */
    uint64_t number; /* in SESSION frames */
    uint64_t mail;   /* in MAIL frames; 0: none on its way */
    enum smtpd_wait waits;
    uint32_t limit_tag, auth_tag;
    bool limit_taken;            /* for this message */
    bool keyd;                   /* an exchange with it, by auth_tag, is not over */
    bool local, trusted;         /* known by the system; root or the like */
    str account;                 /* authenticated; empty: none */
    struct smtpd_route *route;   /* of its mail; NULL: nothing is routed */
    struct smtpd_inside *inside; /* NULL: it comes from a socket */
    struct sasl_server *sasl;
    struct smtpd_client *client; /* NULL: no limit binds it */
    char id[ID_SIZE];
};

enum smtpd_do { SMTPD_READ, SMTPD_WAIT, SMTPD_FLUSH, SMTPD_DELAY, SMTPD_TLS, SMTPD_CLOSE };

void smtpd_core_init(struct smtpd_core *core, const struct smtpd_ops *ops);
void smtpd_core_free(struct smtpd_core *core); /* all sessions have been freed */

/* New sessions have the new configuration.  has_tls: is there a certificate for this listener?  users: the auth file's
 * text, p NULL: none.  ERR_SYNTAX with a sentence: everything stays as it was. */
enum err smtpd_core_configure(struct smtpd_core *core, const struct conf *c, str users, unsigned workers,
                              bool (*has_tls)(str listener), struct why *w) MUST_CHECK;

/* Who connects, and where. */
struct smtpd_caller {
    str listener, client;
    uint16_t client_port;
    str server;
    uint16_t server_port;
    str user;     /* by a unix socket: the login name; empty: not known */
    bool trusted; /* root, or whom the service runs as */
};

/* NULL: no memory or no such listener.  Run it at once with no input.  One that is refused says so and closes. */
struct smtpd_session *smtpd_session_new(struct smtpd_core *core, const struct smtpd_caller *caller, uint64_t now_ms,
                                        uint64_t wall_us);
enum smtpd_do smtpd_session_run(struct smtpd_session *s, str *in, uint64_t now_ms) MUST_CHECK;
void smtpd_session_tls(struct smtpd_session *s, str version, str cipher, str server_name); /* then run */
void smtpd_session_lost(struct smtpd_session *s, const char *reason);                      /* then run */
void smtpd_session_expire(struct smtpd_session *s, uint64_t now_ms);                       /* then run */
uint64_t smtpd_session_deadline(const struct smtpd_session *s);
/* After CLOSE: the SESSION frames are sent, its memory is gone. */
void smtpd_session_free(struct smtpd_session *s);

/* From the store, keyd or httpd. */
void smtpd_core_frame(struct smtpd_core *core, const struct frame *f);
/* A role can be reached; or it is gone: what the store had not acknowledged is answered 451, what keyd judged 454. */
void smtpd_core_up(struct smtpd_core *core, enum role peer);
void smtpd_core_down(struct smtpd_core *core, enum role peer);

/* Is there anything that must be finished before the process may end? */
bool smtpd_core_busy(const struct smtpd_core *core);
void smtpd_core_drain(struct smtpd_core *core, uint64_t now_ms);

/* ---- for the other files of smtpd ---- */

void smtpd_core_send(struct smtpd_core *core, enum role to, const struct frame *f);
uint32_t smtpd_core_tag(struct smtpd_core *core);
/* A session whose caller is `inside`; on its listener's own configuration. */
struct smtpd_session *smtpd_session_inside(struct smtpd_core *core, struct smtpd_inside *inside,
                                           const struct smtpd_caller *caller, struct smtpd_listener *l);
void smtpd_session_answered(struct smtpd_session *s); /* the want has been answered: it may run */
void smtpd_session_known(struct smtpd_session *s);    /* the directory has said what was asked: judge anew */
bool smtpd_session_over(const struct smtpd_session *s);

#endif
