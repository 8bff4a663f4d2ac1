/* delivery_core.h - the core of the delivery role: jobs of the store on one side, conversations with other servers on
 * the other.  Pure: frames, bytes and time in; frames, bytes and wishes (struct delivery_ops) out.
 *
 *   JOB ... JOB_BODY -> where is it to go (delivery_where) -> a call that is idle and of the same lane, or a new one:
 *     connecting -> [TLS] -> greeting ... READY -> the mail -> READY: idle, for the next job of its lane -> QUIT
 *   A host that cannot be used before the body has begun is left for the next one of the list; what a server says of
 *   MAIL, RCPT and DATA counts, also when it says "later".  Afterwards: JOB_RESULT*, JOB_TRANSCRIPT*, JOB_DONE.
 *
 * A lane is everything that must be equal for two jobs to share a connection: kind, route, site, TLS, port, source, and
 * the configuration that these were read from.
 * Parts: delivery_core.c jobs and frames; delivery_where.c hosts and addresses; delivery_call.c conversations;
 * delivery_convert.c messages for servers that take less; delivery_pipe.c commands; delivery_policy.c what the
 * configuration says of a job.
 * The host sets core->now_ms and core->wall_us before each call into the core. */
#ifndef ROLE_DELIVERY_CORE_H
#define ROLE_DELIVERY_CORE_H

#include "base/list.h"
#include "base/map.h"
#include "conf/conf.h"
#include "frame/frame.h"
#include "frame/job.h"
#include "obs/events.h"
#include "policy/mx.h"
#include "smtp/smtp_client.h"

enum {
    DELIVERY_CALLS_MAX = 10000,
    DELIVERY_TARGETS_MAX = 10, /* addresses tried in one attempt */
    DELIVERY_IDLE_MS = 5000,   /* a connection without a mail is kept so long */
    DELIVERY_CONNECT_MS = 30000,
    DELIVERY_DEAD_MS = 60000, /* an address that did not answer is asked last for so long */
    DELIVERY_HOST_MAX = 256,
    DELIVERY_ADDRESS_MAX = 128, /* also "unix:/path" */
};

struct delivery_core;
struct delivery_call;
struct delivery_convert;
struct delivery_pipe;

/* What the core needs of its host. */
struct delivery_ops {
    void (*to_store)(const struct frame *f);
    bool (*to_resolver)(const struct frame *f); /* false: there is none now */
    void (*to_supervisor)(const struct frame *f);
    void (*random)(void *p, size_t n);
    /* Connections.  connect: to c->address, c->port from c->source; then delivery_call_connected or _lost, never before
     * it has returned.  false: the system says no at once, w tells why. */
    bool (*connect)(struct delivery_call *c, struct why *w);
    void (*write)(struct delivery_call *c, str bytes);
    size_t (*unsent)(struct delivery_call *c);
    void (*tls)(struct delivery_call *c, bool enforce); /* handshake as caller of c->host; then delivery_call_secured */
    void (*deadline)(struct delivery_call *c, uint64_t ms); /* from now, 0: none; then delivery_call_expire */
    void (*close)(struct delivery_call *c);                 /* c is gone afterwards */
    /* Commands: bytes for its input; end: no more will come. */
    void (*pipe_write)(struct delivery_pipe *p, str bytes);
    size_t (*pipe_unsent)(struct delivery_pipe *p);
    void (*pipe_end)(struct delivery_pipe *p);
    void (*pipe_close)(struct delivery_pipe *p); /* p is gone afterwards */
    void (*log)(enum event_id e, str id, str where, str text);
};

/* ---- where a job may go ---- */

struct delivery_target {
    str host;      /* its name, for TLS and reports */
    str address;   /* as text, or "unix:/path" */
    uint16_t port; /* 0: what the policy says */
};

/* What the DNS (or a list of the configuration) said of one name; shared by all that ask for it, kept for a while. */
struct delivery_where {
    str key; /* "mx example.org", "host mx1:2525 mx2" */
    bool exchangers;
    str name; /* the domain or the list */
    struct arena arena;
    struct mx_known *known;
    size_t unanswered, rounds;
    size_t users; /* jobs that work on its targets */
    bool ready;
    enum err err; /* ready: OK, ERR_NOT_FOUND for good, else for now */
    unsigned code;
    str text, site;
    uint32_t ttl_s;
    struct delivery_target *targets;
    size_t target_count;
    uint64_t expires_ms, asked_ms;
    struct list jobs;    /* that wait for it */
    uint64_t *site_tags; /* SITE_ASKs that wait for it */
    size_t site_count;
    bool detached; /* too old, lives on for its users */
    struct buf story;
};

/* ---- what the configuration says of a job ---- */

struct delivery_policy {
    enum smtp_client_tls tls;
    bool verify, opportunistic; /* the certificate must be good; plain is better than nothing */
    bool lmtp;
    uint16_t port;
    unsigned messages; /* of one connection */
    str user, secret;
    const struct conf_list *source; /* valid until the next configure */
};

/* ---- a job ---- */

struct delivery_job {
    struct delivery_core *core;
    struct list node; /* of where->jobs, or the core's spare ones */
    uint64_t id;
    enum job_kind kind;
    uint32_t flags;
    uint64_t size, total; /* total: with the lines that are put before it */
    str name, route, next_hop, site, sender, params;
    struct arena arena;
    struct smtp_client_mail mail;
    struct smtp_client_rcpt *rcpts;
    size_t rcpt_count, rcpt_cap;
    struct buf body; /* window of it; at: what of that has been used */
    size_t body_at;
    struct delivery_convert *convert;     /* NULL: it goes as it is */
    uint64_t consumed, owed;              /* bytes used; of those not yet granted anew */
    bool started, body_begun, intent, go; /* intent: JOB_INTENT was sent */
    bool out;                             /* the message was handed over to the last byte */
    bool plain;                           /* TLS has failed with this target: once without */
    bool retried;                         /* an idle connection had died: once more, with a fresh one */
    bool gone_for_good;                   /* every host so far has said that it takes no mail at all */
    bool cancelled;
    struct delivery_where *where;
    size_t target, tries; /* of where->targets: the next one */
    bool dead_too;        /* second round: also addresses that have not answered lately */
    struct delivery_call *call;
    struct list pipes;
    size_t pipe_count;
    struct buf transcript;
    bool told; /* there is no room in it for more */
    enum job_trouble trouble;
    unsigned code; /* of the last failure */
    str text;
    struct { /* where it was tried last */
        char host[DELIVERY_HOST_MAX], address[DELIVERY_ADDRESS_MAX + 8], tls[96], source[64];
    } seen;
    uint64_t started_us;
};

/* ---- a connection ---- */

struct delivery_lane {
    str key;
    struct list idle; /* calls, the latest used first */
    size_t calls;
    char text[];
};

enum delivery_call_state { DELIVERY_CONNECTING, DELIVERY_SHAKING, DELIVERY_TALKING, DELIVERY_IDLE };

struct delivery_call {
    struct delivery_core *core;
    void *host_data; /* the host's own */
    struct list node, idle;
    struct delivery_lane *lane;
    struct delivery_job *job;
    enum delivery_call_state state;
    struct smtp_client client;
    bool has_client, secured, sent; /* sent: the client has the job's mail */
    bool lmtp, verify, opportunistic, running;
    unsigned messages, messages_max;
    char host[DELIVERY_HOST_MAX], address[DELIVERY_ADDRESS_MAX], source[64], tls[96];
    uint16_t port;
    uint8_t binding[32];
    bool has_binding;
    struct arena arena; /* texts of the client's configuration */
    struct smtp_client_config config;
};

/* A command that gets one recipient's copy. */
struct delivery_pipe {
    void *host_data;
    struct list node;
    struct delivery_job *job;
    size_t rcpt;
    uint64_t tag;
    uint64_t deadline_ms;
    bool started, ended, closed; /* ended: its input is complete; closed: it takes no more */
    bool silent;                 /* it prints no more */
    bool exited, signaled;       /* it has ended, with this status or by this signal */
    uint32_t status;
    struct buf said; /* what it printed */
};

/* An address that has not answered. */
struct delivery_dead {
    str key; /* "192.0.2.1 25" */
    uint64_t until_ms;
    char space[DELIVERY_ADDRESS_MAX + 8];
};

struct delivery_secret {
    str name;
    struct buf bytes;
    char space[];
};

struct delivery_core {
    const struct delivery_ops *ops;
    const struct conf *conf;
    uint64_t now_ms, wall_us;
    char hostname[DELIVERY_HOST_MAX]; /* the system's, for when the setting is empty */
    struct buf interfaces;            /* its addresses, as words */
    struct arena own_arena;
    str *own_addresses; /* those of the interfaces and of the listeners: who leads there leads to us */
    size_t own_address_count;
    struct map jobs, wheres, questions, lanes, dead, pipes, secrets;
    struct list calls, spare_jobs;
    size_t job_count, call_count, spare_count;
    uint64_t next_tag, seed, generation; /* generation: of the configuration */
    bool draining;
};

void delivery_core_init(struct delivery_core *core, const struct delivery_ops *ops);
void delivery_core_free(struct delivery_core *core);
void delivery_core_secret(struct delivery_core *core, str name, str bytes); /* "route.<name>.password" */
void delivery_core_interface(struct delivery_core *core, str address);      /* of this machine; before configure */
void delivery_core_configure(struct delivery_core *core, const struct conf *c);
void delivery_core_store(struct delivery_core *core, const struct frame *f);
void delivery_core_store_down(struct delivery_core *core); /* every job is forgotten */
void delivery_core_resolver(struct delivery_core *core, const struct frame *f);
void delivery_core_resolver_down(struct delivery_core *core);
void delivery_core_supervisor(struct delivery_core *core, const struct frame *f, struct delivery_pipe **started);
void delivery_core_tick(struct delivery_core *core); /* once a second */
/* No new jobs: those that come are given back.  stop: those under way, too, unless the message is already out. */
void delivery_core_drain(struct delivery_core *core, bool stop);
bool delivery_core_empty(const struct delivery_core *core);

void delivery_call_connected(struct delivery_call *c, str source);
void delivery_call_secured(struct delivery_call *c, str version, str cipher, str verdict, const uint8_t *binding);
void delivery_call_input(struct delivery_call *c, str bytes);
void delivery_call_drained(struct delivery_call *c);
void delivery_call_closed(struct delivery_call *c); /* the peer sends no more */
void delivery_call_expire(struct delivery_call *c);
/* The connection is gone already: nothing more is asked of the host for it, and c is gone afterwards. */
void delivery_call_lost(struct delivery_call *c, enum err e, const char *reason);

void delivery_pipe_said(struct delivery_pipe *p, str bytes);
void delivery_pipe_drained(struct delivery_pipe *p);
void delivery_pipe_silent(struct delivery_pipe *p); /* it prints no more: may free p */
void delivery_pipe_lost(struct delivery_pipe *p);   /* it has closed its end: likewise */

/* ---- among the parts ---- */

/* delivery_policy.c */
void delivery_policy_of(const struct delivery_core *core, const struct delivery_job *j, struct delivery_policy *p);
bool delivery_pattern(str pattern, str name); /* "example.org", "*.example.org" or ".example.org" */

/* delivery_where.c */
struct delivery_where *delivery_where_get(struct delivery_core *core, bool exchangers, str name); /* NULL: no memory */
void delivery_where_release(struct delivery_core *core, struct delivery_where *w);
void delivery_where_ask_site(struct delivery_core *core, uint64_t tag, str domain);
void delivery_where_told(struct delivery_core *core, const struct frame_dns_told *f);
void delivery_where_resolver_down(struct delivery_core *core);
void delivery_where_sweep(struct delivery_core *core, bool all);

/* delivery_call.c */
void delivery_call_next(struct delivery_job *j); /* the next target of the job, or its end */
bool delivery_call_reuse(struct delivery_job *j);
void delivery_call_run(struct delivery_call *c);
void delivery_call_abandon(struct delivery_call *c, const char *reason); /* its job is given up */
void delivery_call_sweep(struct delivery_core *core, bool all);

/* delivery_convert.c: the message, converted as the client asks (job.mail.convert).  ERR_UNSUPPORTED: it cannot be;
 * ERR_NOMEM: not now; w is a text with its status. */
enum err delivery_convert_try(struct delivery_job *j, struct why *w) MUST_CHECK; /* what is there, before MAIL */
enum err delivery_convert_begin(struct delivery_job *j) MUST_CHECK;
/* The next piece, good until the next call; empty and not last: more has to come from the store first. */
enum err delivery_convert_next(struct delivery_job *j, size_t max, str *piece, bool *last, struct why *w) MUST_CHECK;
void delivery_convert_end(struct delivery_job *j);

/* delivery_pipe.c */
void delivery_pipe_begin(struct delivery_job *j);
void delivery_pipe_feed(struct delivery_job *j);
void delivery_pipe_supervisor(struct delivery_core *core, const struct frame *f, struct delivery_pipe **started);
void delivery_pipe_end_all(struct delivery_job *j);
void delivery_pipe_sweep(struct delivery_core *core);

/* delivery_core.c */
void delivery_job_look(struct delivery_job *j);            /* where does it go? */
void delivery_job_ready(struct delivery_job *j);           /* where it goes is known */
void delivery_job_tell(struct delivery_job *j, str lines); /* for the transcript */
void delivery_job_note(struct delivery_job *j, const char *format, ...) __attribute__((format(printf, 2, 3)));
void delivery_job_failure(struct delivery_job *j, enum job_trouble trouble, unsigned code, const char *status,
                          str text);
bool delivery_job_signed(const struct delivery_job *j); /* before the body has begun */
void delivery_job_intent(struct delivery_job *j);
str delivery_job_body(struct delivery_job *j, size_t max, bool *last); /* the next piece that is there */
void delivery_job_used(struct delivery_job *j, size_t n);
/* Those without an outcome get this one. */
void delivery_job_decide(struct delivery_job *j, enum smtp_client_outcome o, unsigned code, str text);
void delivery_job_end(struct delivery_job *j, bool reusable); /* results, transcript, JOB_DONE; j is gone */

#endif
