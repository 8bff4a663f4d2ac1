/* smtp_server.h - the server's side of SMTP (RFC 5321) and LMTP (RFC 2033), complete, without I/O: bytes and time in,
 * bytes out, and the one thing it wants next.
 *
 *     smtp_server_init(&s, config, &peer, now_ms, wall_us);
 *     loop:  want = smtp_server_step(&s, &in, now_ms)      eats from the front of in; what is left is for the next step
 *       INPUT     all of in is eaten: send s.out, give more when it comes, or expire() at the deadline
 *       BODY      s.body is the next piece of the message (valid until the next step): hand it on, step again
 *       ABORT     the message that began is over: forget it, step again
 *       MAIL      s.envelope.sender: may he send?         smtp_server_answer(), step again
 *       RCPT      s.rcpt: may it receive?                 smtp_server_answer(), step again
 *       BEGIN     a message will come: is there room?     smtp_server_answer() with OK and the message's id
 *       COMMIT    the message is complete, s.envelope too: send s.out; smtp_server_answer() once it is durable or not
 *       AUTH      s.auth is the client's next response:   smtp_server_auth_*()
 *       STARTTLS  send s.out, then do the handshake:      smtp_server_tls(), or lost()
 *       FLUSH     send s.out, wait until the peer takes it, step again
 *       DELAY     send nothing until the deadline, then step
 *       CLOSE     send s.out and close; step no more
 * Answers may come at once or later; until then no step is made.  Deadlines hold in every wait: when
 * smtp_server_deadline() has come call smtp_server_expire() and step.
 *
 * The conversation keeps a partial command line, the envelope and its own transcript; it never keeps bytes of messages.
 * An idle session costs about 2.5 KiB.  The config is shared and must outlive it. */
#ifndef SMTP_SMTP_SERVER_H
#define SMTP_SMTP_SERVER_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "smtp/envelope.h"
#include "smtp/smtp_cmd.h"
#include "smtp/smtp_data.h"
#include "smtp/smtp_param.h"
#include "smtp/smtp_reply.h"
#include "smtp/smtp_transcript.h"

enum smtp_policy { SMTP_POLICY_SANDBOX, SMTP_POLICY_MX, SMTP_POLICY_SUBMISSION };
enum smtp_tls_mode { SMTP_TLS_NONE, SMTP_TLS_STARTTLS, SMTP_TLS_IMPLICIT };
enum smtp_auth_mode { SMTP_AUTH_NONE, SMTP_AUTH_OFFERED, SMTP_AUTH_REQUIRED };

/* Of a listener. */
struct smtp_config {
    str listener, hostname, greeting;
    bool lmtp;
    enum smtp_policy policy;
    enum smtp_tls_mode tls;
    enum smtp_auth_mode auth;
    enum smtp_framing framing;
    /* "SCRAM-SHA-256 PLAIN LOGIN": what AUTH offers without TLS, and under it.  Empty: nothing. */
    str mechanisms_plain, mechanisms_tls;
    size_t command_max, transcript_max;
    uint64_t header_max, message_max;
    unsigned rcpt_max, mail_max /* 0: any */, errors_slow, errors_max, hops_max;
    uint64_t command_ms, data_ms, message_ms, session_ms, handshake_ms;
    uint64_t hold_max_ms; /* FUTURERELEASE; 0: not offered */
};

/* Of a connection; copied. */
struct smtp_peer {
    str session, client_address, server_address;
    uint16_t client_port, server_port;
    bool proxy;   /* begins with a PROXY header */
    bool xclient; /* may use XCLIENT */
    str user;     /* the system says who it is: authenticated from the start; empty: nobody does */
};

enum smtp_want {
    SMTP_WANT_INPUT,
    SMTP_WANT_BODY,
    SMTP_WANT_ABORT,
    SMTP_WANT_MAIL,
    SMTP_WANT_RCPT,
    SMTP_WANT_BEGIN,
    SMTP_WANT_COMMIT,
    SMTP_WANT_AUTH,
    SMTP_WANT_STARTTLS,
    SMTP_WANT_FLUSH,
    SMTP_WANT_DELAY,
    SMTP_WANT_CLOSE,
    SMTP_WANTS
};

/* What one recipient of LMTP is told of a message that others got (RFC 2033 4.2). */
struct smtp_refusal {
    unsigned code;
    str text;
};

/* How input is read. */
enum smtp_mode {
    SMTP_MODE_START,
    SMTP_MODE_PROXY,
    SMTP_MODE_COMMAND,
    SMTP_MODE_AUTH,
    SMTP_MODE_DATA,
    SMTP_MODE_CHUNK,
    SMTP_MODE_TLS,
    SMTP_MODE_ANSWER, /* not at all: the answer to a message is being said */
    SMTP_MODE_END
};

enum smtp_auth_failure { SMTP_AUTH_MALFORMED, SMTP_AUTH_TOO_LONG, SMTP_AUTH_BAD, SMTP_AUTH_UNAVAILABLE };

struct smtp_server {
    const struct smtp_config *config;
    struct buf out; /* the host takes it: smtp_server_sent() */
    struct smtp_transcript transcript;

    enum smtp_want want;       /* the last one given */
    str body;                  /* BODY */
    struct envelope_rcpt rcpt; /* RCPT */
    struct {
        str mechanism, response;
        bool first, has_response; /* first of its exchange; there was a response at all */
    } auth;
    struct envelope envelope;      /* COMMIT: complete; else what is known so far */
    const char *reason;            /* CLOSE: why, for SESSION_END */
    unsigned messages;             /* accepted */
    enum smtp_reply_id last_error; /* the last reply of 4xx or 5xx; the host may clear it */
    bool attack;                   /* it ended for bytes that no mail client sends */

    /* From here on private. */
    enum smtp_state state;
    enum smtp_mode mode;
    bool esmtp, tls, authenticated, known /* authenticated by the system */, may_xclient, may_proxy;
    bool answered, begun, discard_line, draining, refused_text, refused_auth, utf8, binary, rcpt_failed;
    char last_byte; /* of a line that is discarded */
    struct buf line;
    struct buf sasl;
    struct buf helo;
    struct arena session, mail;
    size_t rcpt_cap;
    unsigned errors, transactions;
    struct {
        enum err e;
        unsigned code; /* 0: that of the error */
        str text;
    } answer;
    enum smtp_auth_failure auth_failure;
    enum smtp_reply_id fault; /* of the host: what the message will be answered, whatever else comes */
    str fault_text;           /* in these words, if any */
    bool over;                /* the message is over a limit; the host has forgotten it */
    struct smtp_data data;
    struct smtp_header header;
    uint64_t size, size_hint;
    struct {
        enum smtp_reply_id id;
        size_t left;
        struct smtp_refusal *refusals; /* NULL, or one for each recipient; code 0: he is not refused */
    } final;                           /* ANSWER */
    struct {
        uint64_t left;
        uint64_t size;
        bool last;
        enum smtp_reply_id refused; /* it is no part of a message, but read over, and answered so */
    } chunk;
    uint64_t now_ms, start_ms, wall_us, phase_ms, message_ms, delay_ms, drain_ms;
};

void smtp_server_init(struct smtp_server *s, const struct smtp_config *config, const struct smtp_peer *peer,
                      uint64_t now_ms, uint64_t wall_us);
void smtp_server_free(struct smtp_server *s);

enum smtp_want smtp_server_step(struct smtp_server *s, str *in, uint64_t now_ms) MUST_CHECK;
/* The host has taken s->out: empties it. */
void smtp_server_sent(struct smtp_server *s);

/* To MAIL: OK, ERR_DENIED (553), else 451.  To RCPT: OK, ERR_DENIED (550), else 451.  To BEGIN: OK with the id,
 * ERR_FULL (452), ERR_LIMIT (450), else 451.  To COMMIT: OK, ERR_FULL, else 451.  With an error the text, if any, is
 * the reply's words. */
void smtp_server_answer(struct smtp_server *s, enum err e, str text);
/* Likewise, to MAIL, RCPT and COMMIT: no, with this code and text ("5.1.1 no such address here"; a text without a
 * status code gets one). */
void smtp_server_refusal_answer(struct smtp_server *s, unsigned code, str text);
/* Before the answer to COMMIT, in LMTP: this recipient is refused whatever is said to the others.  False: it cannot be
 * said here (SMTP has one answer for all; no memory). */
bool smtp_server_refuse_rcpt(struct smtp_server *s, size_t index, unsigned code, str text) MUST_CHECK;
void smtp_server_auth_challenge(struct smtp_server *s, str challenge); /* decoded */
void smtp_server_auth_ok(struct smtp_server *s, str user);
void smtp_server_auth_failed(struct smtp_server *s, enum smtp_auth_failure why);
/* Answer to STARTTLS; empty texts are fine. */
void smtp_server_tls(struct smtp_server *s, str version, str cipher, str server_name);

/* The store has lost the message that began: it will be answered 452 (ERR_FULL) or 451, its bytes are read over. */
void smtp_server_mail_lost(struct smtp_server *s, enum err e);
bool smtp_server_in_mail(const struct smtp_server *s); /* between BEGIN and the answer to COMMIT or ABORT */

/* The peer is gone, or must go; the next step gives ABORT or CLOSE.  reason lives for ever. */
void smtp_server_lost(struct smtp_server *s, const char *reason);
/* Says it with this reply and ends, likewise. */
void smtp_server_refuse(struct smtp_server *s, enum smtp_reply_id reply, const char *reason);
/* The service is going down: 421 when the transaction is over, or in a second or so when there is none. */
void smtp_server_drain(struct smtp_server *s, uint64_t now_ms);

uint64_t smtp_server_deadline(const struct smtp_server *s);      /* UINT64_MAX: none */
void smtp_server_expire(struct smtp_server *s, uint64_t now_ms); /* does nothing before its time */
uint64_t smtp_server_time_us(const struct smtp_server *s);       /* wall clock of the last step */

/* How mail comes now: "ESMTPS"; lives as long as the transaction. */
str smtp_server_protocol(struct smtp_server *s);

/* What happened, for the transcript ("TLSv1.3 ..."). */
void smtp_server_note(struct smtp_server *s, str text);

#endif
