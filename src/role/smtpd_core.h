/* smtpd_core.h - the core of the smtpd role: sessions on one side, frames to the store on the other.  Pure: bytes,
 * frames and time in; frames, bytes and the one thing the host must do out (so that a simulator can run it).
 *
 *   client bytes --> smtpd_session_run() --> s->smtp.out, and what to do:
 *     READ     send the output; more input when it comes        FLUSH    send, run again when it is taken
 *     WAIT     send; run again when told by on_wake             DELAY    send nothing before the deadline
 *     TLS      send, then handshake; smtpd_session_tls()        CLOSE    send and close; smtpd_session_free()
 *   After each: the next smtpd_session_deadline().  What run() leaves of the input the host keeps for the next run.
 *
 * A message is MAIL_BEGIN, MAIL_BODY..., MAIL_ENVELOPE, MAIL_TRANSCRIPT, MAIL_COMMIT, or MAIL_ABORT; the store answers
 * MAIL_DONE.  A session that ends is SESSION_BEGIN, SESSION_INFO, SESSION_TRANSCRIPT, SESSION_END. */
#ifndef ROLE_SMTPD_CORE_H
#define ROLE_SMTPD_CORE_H

#include "base/code.h"
#include "base/list.h"
#include "base/map.h"
#include "conf/conf.h"
#include "frame/frame.h"
#include "mailauth/sasl_server.h"
#include "obs/events.h"
#include "smtp/smtp_server.h"

struct smtpd_session;

/* What the core needs of its host. */
struct smtpd_ops {
    void (*send)(const struct frame *f); /* to the store; only called while it is up */
    void (*random)(void *p, size_t n);
    void (*on_wake)(struct smtpd_session *s); /* run it again */
    /* tls-exporter bytes of the session's connection; false: there are none. */
    bool (*binding)(struct smtpd_session *s, uint8_t binding[32]);
    void (*log)(enum event_id e, struct smtpd_session *s, str detail); /* detail may be empty */
};

struct smtpd_listener {
    struct smtp_config smtp;
    struct conf_networks proxy, xclient; /* texts of the configuration: valid until the next one */
};

/* One configuration; lives until its last session has ended. */
struct smtpd_generation {
    struct list node;
    size_t refs;
    struct arena arena;
    struct sasl_policy users;
    struct smtpd_listener *listeners;
    size_t listener_count;
    size_t connections_max, connections_per_client;
    uint64_t messages_per_client; /* in an hour; 0: any number */
};

struct smtpd_core {
    const struct smtpd_ops *ops;
    struct smtpd_generation *generation; /* the newest; NULL before configure */
    struct list sessions;
    size_t session_count;
    struct map mails;   /* number -> session */
    struct map clients; /* address -> struct smtpd_client, those that limits bind */
    uint64_t hour;      /* of the last look for clients that are forgotten */
    uint64_t next_number;
    bool store_up;
    enum err store_state;
    struct buf body; /* of the session that runs: pieces of its message, not sent yet */
    struct buf space;
    bool draining;
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
    bool waits;      /* for MAIL_DONE */
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

/* NULL: no memory or no such listener.  Run it at once with no input.  One that is refused says so and closes. */
struct smtpd_session *smtpd_session_new(struct smtpd_core *core, str listener, str client, uint16_t client_port,
                                        str server, uint16_t server_port, uint64_t now_ms, uint64_t wall_us);
enum smtpd_do smtpd_session_run(struct smtpd_session *s, str *in, uint64_t now_ms) MUST_CHECK;
void smtpd_session_tls(struct smtpd_session *s, str version, str cipher, str server_name); /* then run */
void smtpd_session_lost(struct smtpd_session *s, const char *reason);                      /* then run */
void smtpd_session_expire(struct smtpd_session *s, uint64_t now_ms);                       /* then run */
uint64_t smtpd_session_deadline(const struct smtpd_session *s);
/* After CLOSE: the SESSION frames are sent, its memory is gone. */
void smtpd_session_free(struct smtpd_session *s);

/* From the store. */
void smtpd_core_frame(struct smtpd_core *core, const struct frame *f);
void smtpd_core_store_up(struct smtpd_core *core);
void smtpd_core_store_down(struct smtpd_core *core); /* what it had not acknowledged is answered 451 */

void smtpd_core_drain(struct smtpd_core *core, uint64_t now_ms);

#endif
