/* smtp_client.h - the client's side of an SMTP or LMTP conversation (RFC 5321, 2033), without I/O.
 *
 *     init -> loop: switch (smtp_client_step(c, now)) {
 *       OUTPUT    write the bytes of c->out, say how many: smtp_client_wrote()
 *       INPUT     read, hand over: smtp_client_input()
 *       STARTTLS  shake hands on the connection: smtp_client_tls()
 *       READY     the connection is set up, or a mail is through: smtp_client_send() or smtp_client_quit()
 *       BODY      the next piece of the message: smtp_client_body()
 *       FINAL     (config.ask_final) once, as the body begins: the message is not ended before smtp_client_final()
 *       DONE      close     FAILED  close; c->failure says why, each recipient's outcome is set }
 * Bytes from the server may be handed over at any time, and should be: a server may say 421 while we write.  When the
 * server closes: smtp_client_closed(); when something else goes wrong: smtp_client_broken(); when
 * smtp_client_deadline() has passed: smtp_client_expire().  Times are milliseconds of any steady clock.
 *
 *     GREETING -> EHLO [-> HELO] -> [STARTTLS -> HANDSHAKE -> EHLO ->] [AUTH ->] READY
 *     READY -> MAIL -> BODY [-> HELD] -> FINAL -> READY          HELD: smtp_client_final() is awaited; of a short body
 *                                                            nothing is out yet: it goes with its end
 *     READY -> QUIT -> END        MAIL, BODY, HELD, FINAL -> RSET -> READY (refused)
 * Pure: no clock; memory in bufs of its own and in the mail's arena. */
#ifndef SMTP_SMTP_CLIENT_H
#define SMTP_SMTP_CLIENT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "mailauth/sasl_client.h"
#include "smtp/client_reply.h"

enum smtp_client_want {
    SMTP_CLIENT_OUTPUT,
    SMTP_CLIENT_INPUT,
    SMTP_CLIENT_STARTTLS,
    SMTP_CLIENT_READY,
    SMTP_CLIENT_BODY,
    SMTP_CLIENT_FINAL,
    SMTP_CLIENT_DONE,
    SMTP_CLIENT_FAILED
};

enum smtp_client_tls {
    SMTP_CLIENT_TLS_NONE,       /* never */
    SMTP_CLIENT_TLS_IF_OFFERED, /* STARTTLS when the server has it */
    SMTP_CLIENT_TLS_REQUIRED,   /* STARTTLS or fail */
    SMTP_CLIENT_TLS_ACTIVE,     /* the connection began with TLS */
};

struct smtp_client_config {
    bool lmtp;
    str helo; /* our name */
    enum smtp_client_tls tls;
    str user, secret;                       /* empty user: no AUTH */
    const struct sasl_mechanism *mechanism; /* NULL: the best one that takes a password */
    bool secret_in_clear;                   /* the secret may be shown without TLS */
    str host;                               /* the server's, for OAUTHBEARER */
    unsigned port;
    str binding;        /* tls-exporter bytes when tls is ACTIVE */
    bool no_pipelining; /* one command at a time even when more is offered */
    bool no_chunking;   /* DATA even when BDAT is offered */
    bool ask_final;     /* want FINAL */
    /* Parameters are those a client gave us: they are passed on where the server offers their extension, what is ours
     * to say (SIZE, BODY, SMTPUTF8, REQUIRETLS) is said anew, the rest is dropped.  And nothing goes where it is not
     * taken: the host converts the message (mail.convert), an address without a form in ASCII is refused. */
    bool relay;
    bool transcript;      /* fill c->transcript */
    int64_t phase_max_ms; /* caps the timeouts of RFC 5321 4.5.3.2; 0: they hold as they are */
    int64_t total_ms;     /* for the whole conversation; 0: none */
};

enum smtp_client_outcome {
    SMTP_CLIENT_PENDING,   /* not asked yet */
    SMTP_CLIENT_ACCEPTED,  /* RCPT was answered 2xx, the message is not through */
    SMTP_CLIENT_DELIVERED, /* the server has taken it over */
    SMTP_CLIENT_DEFERRED,  /* try again later */
    SMTP_CLIENT_REFUSED,   /* trying again is of no use */
    SMTP_CLIENT_UNKNOWN,   /* the message was sent whole, the answer never came */
};

struct smtp_client_rcpt {
    str address, params; /* in: without <>; "NOTIFY=NEVER" as it goes out */
    str ascii;           /* in, relay: of an address with bytes above 127 its form in ASCII, where it has one */
    uint32_t index;      /* the host's own: recipients may change their places */
    enum smtp_client_outcome outcome;
    unsigned code;   /* of the reply that decided; 0: nobody's, text is ours */
    str text;        /* in the mail's arena */
    bool unreported; /* NOTIFY=SUCCESS was wanted (relay), and this server makes no reports: RFC 3461 5.2.2 */
};

/* What the host does to the message as it hands it over, because this server would not take it as it is. */
enum smtp_client_convert {
    SMTP_CLIENT_CONVERT_BODY = 1,   /* no byte above 127 in bodies: no 8BITMIME (RFC 6152) */
    SMTP_CLIENT_CONVERT_BINARY = 2, /* and lines where there are none: no BINARYMIME (RFC 3030); never without BODY */
    SMTP_CLIENT_CONVERT_HEADER = 4, /* no byte above 127 in headers: no SMTPUTF8 (RFC 6531) */
    SMTP_CLIENT_CONVERT_LINES = 8,  /* no line over 998 bytes (RFC 5321 4.5.3.1.6), where that can be */
};

struct smtp_client_mail {
    /* in; must stay until READY or FAILED */
    str sender, params;
    str sender_ascii; /* as that of a recipient */
    struct smtp_client_rcpt *rcpts;
    size_t rcpt_count;
    uint64_t size;     /* bytes of the message, 0: not known */
    bool eight_bit;    /* the message has bytes above 127 */
    bool utf8;         /* its header has; addresses that have are seen without being told */
    bool binary;       /* BINARYMIME (RFC 3030): lines mean nothing */
    bool long_lines;   /* relay: lines over 998 bytes, which are to be made shorter */
    bool require_tls;  /* RFC 8689 */
    int64_t total_ms;  /* for this mail, 0: none */
    struct arena *mem; /* for the texts of the replies */
    /* out */
    size_t accepted, delivered, refused; /* refused: for good; the rest is DEFERRED or UNKNOWN */
    unsigned convert;                    /* relay: enum smtp_client_convert, set by smtp_client_send */
    size_t nul_dropped;                  /* NULs are not sent: RFC 5321 has no way to */
};

enum smtp_client_trouble {
    SMTP_CLIENT_FINE,
    SMTP_CLIENT_NETWORK,      /* closed or broken by the other side */
    SMTP_CLIENT_TIMEOUT,      /* */
    SMTP_CLIENT_PROTOCOL,     /* the server does not speak SMTP */
    SMTP_CLIENT_SAID_NO,      /* it does, and does not want us (code) */
    SMTP_CLIENT_NO_TLS,       /* TLS is required and was not to be had */
    SMTP_CLIENT_BAD_TLS,      /* handshake or certificate */
    SMTP_CLIENT_NO_AUTH,      /* no mechanism that could be used here */
    SMTP_CLIENT_AUTH_REFUSED, /* the credentials were not taken (code) */
};

struct smtp_client_failure {
    enum smtp_client_trouble trouble;
    unsigned code; /* of the reply, 0: there was none */
    struct why why;
};

enum smtp_client_offer {
    SMTP_OFFERS_PIPELINING = 1,
    SMTP_OFFERS_SIZE = 2,
    SMTP_OFFERS_8BITMIME = 4,
    SMTP_OFFERS_SMTPUTF8 = 8,
    SMTP_OFFERS_STARTTLS = 16,
    SMTP_OFFERS_DSN = 32,
    SMTP_OFFERS_CHUNKING = 64,
    SMTP_OFFERS_REQUIRETLS = 128,
    SMTP_OFFERS_ENHANCEDSTATUSCODES = 256,
    SMTP_OFFERS_BINARYMIME = 512,
    SMTP_OFFERS_PRIORITY = 1024, /* MT-PRIORITY, RFC 6710 */
};

struct smtp_client {
    struct smtp_client_config config;
    unsigned state;
    bool tls, failed;
    struct buf out;        /* to be written */
    struct buf transcript; /* "> EHLO x\n", "< 250 ok\n" …: drain it whenever you like; secrets are masked */
    struct smtp_client_failure failure;
    unsigned offers;             /* what EHLO said last */
    unsigned mechanisms;         /* bit 1 << sasl_id */
    uint64_t size_max;           /* SIZE of EHLO; 0: none told */
    uint64_t mail_max, rcpt_max; /* LIMITS (RFC 9422): mails of a connection, recipients of a mail; 0: none told */
    struct client_reply reply;
    struct sasl_client sasl;
    bool sasl_first; /* the initial response waits for the first challenge */
    /* the mail in hand: commands 0 = MAIL, 1 … n = RCPT, n + 1 = DATA */
    struct smtp_client_mail *mail;
    size_t rcpts;                 /* n: as many as the server takes at a time */
    size_t sent, answered, final; /* commands sent, commands answered, recipients with a final answer (LMTP) */
    bool mail_refused, line_start, after_cr;
    bool chunking;             /* BDAT, and there is no DATA command */
    bool final_asked, may_end; /* FINAL was wanted, smtp_client_final() was called */
    size_t chunks;             /* sent and not answered, the last one not counted */
    size_t stale;              /* RSET: answers to a mail that is over */
    struct buf chunk;
    uint64_t body_sent;
    int64_t started_ms, mail_ms, phase_ms; /* when the conversation, the mail and the phase began */
    bool phase_new;
};

void smtp_client_init(struct smtp_client *c, const struct smtp_client_config *config, int64_t now_ms);
void smtp_client_free(struct smtp_client *c);

enum smtp_client_want smtp_client_step(struct smtp_client *c, int64_t now_ms);
int64_t smtp_client_deadline(const struct smtp_client *c); /* INT64_MAX: none */

void smtp_client_wrote(struct smtp_client *c, size_t n);
void smtp_client_input(struct smtp_client *c, str bytes);
void smtp_client_tls(struct smtp_client *c, str binding); /* the handshake is done; binding as in sasl_client.h */

/* ERR_SYNTAX: an address or parameter that cannot be put on the wire (controls); ERR_LIMIT: too long, or no recipient.
 * The connection stays READY. */
enum err smtp_client_send(struct smtp_client *c, struct smtp_client_mail *mail, struct why *w) MUST_CHECK;
enum { SMTP_CLIENT_BODY_MAX = 32768 }; /* bytes at once */
/* Line ends are made CRLF (a lone CR or LF, too), dots are doubled, a last line end is added when missing; but binary
 * goes as it is. */
void smtp_client_body(struct smtp_client *c, str bytes, bool last);
void smtp_client_final(struct smtp_client *c); /* no harm when the mail is over already */
/* The message cannot be converted: all that is open gets this outcome.  READY, if the server has not seen the mail or
 * it can be taken back; else DONE, for only the end of the connection ends DATA without an end of the message. */
void smtp_client_give_up(struct smtp_client *c, enum smtp_client_outcome o, str text);
void smtp_client_quit(struct smtp_client *c);

void smtp_client_closed(struct smtp_client *c);
void smtp_client_broken(struct smtp_client *c, enum smtp_client_trouble trouble, const char *sentence);
void smtp_client_expire(struct smtp_client *c);

const char *smtp_client_outcome_name(enum smtp_client_outcome o);

#endif
