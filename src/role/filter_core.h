/* filter_core.h - the core of the filter role: jobs of the store on one side, posts to webhooks on the other.  Pure:
 * frames and answers in; frames and wishes (struct filter_ops) out.
 *
 *   JOB ... JOB_BODY -> gathering, until all that is posted is there
 *     -> looking (filter_host): the addresses of the URL's host, from the system's file of hosts or the resolver
 *     -> asking: JOB_INTENT, until JOB_GO
 *     -> posting, until filter_core_answered -> JOB_RESULT, JOB_TRANSCRIPT*, JOB_DONE
 * A job has one recipient (the queue gives webhooks no more), so that an attempt is one request with one id.
 * The host sets core->now_ms and core->wall_us before each call into the core. */
#ifndef ROLE_FILTER_CORE_H
#define ROLE_FILTER_CORE_H

#include "base/list.h"
#include "base/map.h"
#include "conf/conf_more.h"
#include "frame/frame.h"
#include "obs/events.h"
#include "policy/mx.h"
#include "policy/webhook.h"

enum {
    FILTER_ADDRESSES_MAX = 10,
    FILTER_CONNECT_MS = 30000,
    FILTER_MEMORY_MAX = 256 * 1024 * 1024, /* of messages being gathered and posted; further large ones wait */
};

struct filter_core;
struct filter_job;

/* What the core needs of its host. */
struct filter_ops {
    void (*to_store)(const struct frame *f);
    bool (*to_resolver)(const struct frame *f); /* false: there is none now */
    /* Posts job->request; then filter_core_answered, never before it has returned.  false: not even begun, w tells why.
     */
    bool (*post)(struct filter_job *j, struct why *w);
    bool (*is_sent)(const struct filter_job *j); /* is the whole request out? */
    void (*abandon)(struct filter_job *j);       /* no answer is wanted any more */
    void (*log)(enum event_id e, str id, str where, str text);
};

/* ---- the host of an URL ---- */

struct filter_host {
    str name;     /* A-labels, or an address without brackets */
    bool literal; /* it is an address */
    struct mx_known *known;
    size_t unanswered, rounds;
    uint64_t asked_ms;
    str addresses[FILTER_ADDRESSES_MAX];
    size_t count;
};

/* ---- a job ---- */

enum filter_state { FILTER_GATHERING, FILTER_LOOKING, FILTER_ASKING, FILTER_POSTING };

/* What the host is asked to post: texts of the job. */
struct filter_request {
    const char *url, *host; /* url: without login */
    const char *login;      /* "user:password"; "" for none */
    uint16_t port;
    const char *type; /* of the content */
    char id[WEBHOOK_ID_MAX], timestamp[24];
    const char *signature; /* "": unsigned */
    const char *extra[4];  /* further header lines; NULL ends */
    str body;
    uint64_t connect_ms, total_ms;
};

struct filter_job {
    struct filter_core *core;
    void *host_data; /* the host's own, while it is posted */
    struct list waiting;
    enum filter_state state;
    uint64_t id, size, wanted; /* wanted: bytes of the message that are gathered */
    uint64_t reserved, owed;
    uint32_t index;
    bool has_rcpt, started, cut, granting;
    str name, route, sender, recipient, shown; /* shown: the URL as people may see it */
    struct arena arena;
    struct buf envelope, message, post, transcript;
    struct conf_url url;
    enum conf_format format;
    uint64_t timeout_ms;
    struct filter_host host;
    struct filter_request request;
    char seen_address[80], seen_tls[96];
    uint64_t started_us;
};

struct filter_secret {
    str name;
    struct buf bytes;
    char space[];
};

struct filter_core {
    const struct filter_ops *ops;
    const struct conf *conf;
    uint64_t now_ms, wall_us;
    struct map jobs, questions, secrets;
    struct list waiting; /* jobs for whose messages there is no room yet */
    size_t job_count;
    uint64_t reserved, next_tag, seed;
    struct buf hosts; /* the system's file of hosts */
    bool draining;
};

void filter_core_init(struct filter_core *core, const struct filter_ops *ops, uint64_t seed, uint64_t map_seed);
void filter_core_free(struct filter_core *core);
void filter_core_secret(struct filter_core *core, str name, str bytes); /* "route.<name>.secret" */
void filter_core_configure(struct filter_core *core, const struct conf *c);
void filter_core_store(struct filter_core *core, const struct frame *f);
void filter_core_store_down(struct filter_core *core); /* every job is forgotten */
void filter_core_resolver(struct filter_core *core, const struct frame *f);
void filter_core_resolver_down(struct filter_core *core);
void filter_core_answered(struct filter_job *j, const struct webhook_answer *a, str address, str tls); /* j is gone */
void filter_core_tick(struct filter_core *core); /* once a second */
/* No new jobs: those that come are given back.  stop: those under way, too, unless the request is already out. */
void filter_core_drain(struct filter_core *core, bool stop);
bool filter_core_empty(const struct filter_core *core);

/* ---- among the parts ---- */

/* filter_host.c: asks until filter_job_found or filter_job_lost. */
void filter_host_find(struct filter_job *j);
void filter_host_told(struct filter_core *core, const struct frame_dns_told *f);
void filter_host_forget(struct filter_job *j); /* answers to its questions are for nobody */
void filter_host_resolver_down(struct filter_core *core);
void filter_host_tick(struct filter_job *j);

/* filter_core.c */
void filter_job_found(struct filter_job *j);
void filter_job_lost(struct filter_job *j, unsigned code, str text);
void filter_job_note(struct filter_job *j, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
