/* queue.h - the scheduler: what is delivered next, where, and when it is tried again.  Pure: time is an argument; it
 * holds no text of a message, and about 100 bytes a recipient.
 *
 *     queue_add() for every delivery that is not over          queue_next(q, now, &want) until QUEUE_IDLE:
 *       SITE     which site serves want.domain?                 queue_site_told()
 *       DELIVER  a job: some recipients of one message          queue_done() for the job, after queue_result() for each
 *       EXPIRE   this recipient is too old                      the host reports it, queue_remove()
 *       LATE     its sender is to be told of the delay          the host reports it; asked once (it comes again only
 * after queue_add) and again when queue_deadline() has come or something was told.
 *
 *   message --- entries (recipients) --- next hop (domain, smarthost, LMTP server, pipe, webhook) --- site
 * Domains served by the same mail exchangers are one site: they share its window, its rate, its health (MX roll-up).
 *
 * - Window of a site: starts at 5, moves by 1/sqrt(N) up with a good attempt and down with a bad one, at most 20. Where
 *   a site said 421 the window grows 32 times slower.
 * - A site where connecting or shaking hands fails, a whole window of times, is dead for a while (one attempt at a time
 *   finds out: a probe; at least once an hour); the mail for it waits without attempts of its own.
 * - Jobs of one site take turns: a message with few recipients goes before the rest of one with many, which it slows by
 *   at most a quarter (delivery slots); priorities (RFC 6710) go first within that.
 * - Rates are GCRA without bursts, per site: each job is a message.
 * - Retry: options.retry with 10% of spread, from the message's own attempts; never sooner than the site's. */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include "base/buf.h"
#include "base/err.h"
#include "frame/job.h"

struct queue;

enum { QUEUE_RETRIES_MAX = 32, QUEUE_JOB_RCPTS_MAX = 1000 };

struct queue_options {
    uint64_t seed;
    uint64_t retry_ms[QUEUE_RETRIES_MAX];
    size_t retry_count;
    unsigned window_start, window_max; /* connections to a site */
    unsigned recipients_max;           /* of a job */
    uint64_t active_max;               /* jobs at a time over all sites */
    uint64_t late_ms;                  /* after which LATE is wanted; 0: never */
};

/* What a site block says; 0: the options hold. */
struct queue_rule {
    unsigned window_max, recipients_max;
    uint64_t rate_count, rate_ms; /* at most so many messages in this time; 0: any number */
};
/* Called when a site is first seen and after queue_configure(). domain: one that it serves. */
typedef struct queue_rule queue_rule_of(void *arg, str site, str domain);

/* One recipient of a message; (num, index) is its name. */
struct queue_entry {
    uint64_t num;
    uint32_t index;
    enum job_kind kind;
    str next_hop; /* RELAY: the domain; else host list, or the route's name: with the kind and route its identity */
    str route;    /* block that decided, "" built-in: entries of different routes never share a job */
    str sender;   /* only compared (hashed): entries with different senders never share a job */
    uint64_t created_ms; /* of the message: that of its first entry counts */
    uint64_t next_ms, expires_ms;
    uint32_t attempts;
    uint8_t priority; /* 1 to 19, 10 is normal; 0: normal */
    bool held;        /* an operator's hold, no time ends it */
    bool late_told;   /* LATE was reported, or is not wanted */
};

enum queue_want_kind { QUEUE_IDLE, QUEUE_WANT_SITE, QUEUE_WANT_DELIVER, QUEUE_WANT_EXPIRE, QUEUE_WANT_LATE };

struct queue_want {
    enum queue_want_kind kind;
    str domain;   /* SITE; valid until the next call */
    uint64_t tag; /* SITE: to give back */
    uint64_t job; /* DELIVER: its number */
    uint64_t num; /* DELIVER, EXPIRE, LATE: the message */
    enum job_kind job_kind;
    str next_hop, route, site;
    uint32_t *indices; /* its recipients; valid until the next call */
    size_t index_count;
    bool probe; /* DELIVER: the site is dead, this finds out whether it still is */
};

enum err queue_new(struct queue **out, const struct queue_options *o, queue_rule_of *rule, void *arg) MUST_CHECK;
void queue_free(struct queue *q);
void queue_configure(struct queue *q, const struct queue_options *o); /* rules are asked for anew */

enum err queue_add(struct queue *q, const struct queue_entry *e,
                   uint64_t now_ms) MUST_CHECK; /* ERR_NOMEM, ERR_EXISTS */
/* Out of the queue: delivered, returned, deleted.  Active ones too: their job goes on, its result is ignored. */
bool queue_remove(struct queue *q, uint64_t num, uint32_t index);
bool queue_hold(struct queue *q, uint64_t num, uint32_t index, bool on, uint64_t now_ms);
bool queue_retry_now(struct queue *q, uint64_t num, uint32_t index, uint64_t now_ms); /* also wakes its site */

enum queue_want_kind queue_next(struct queue *q, uint64_t now_ms, struct queue_want *w) MUST_CHECK;
uint64_t queue_deadline(const struct queue *q); /* UINT64_MAX: none */

/* site empty: the domain is a site of its own.  failed: no answer for now, asked again by the retry schedule. */
void queue_site_told(struct queue *q, uint64_t tag, str site, bool failed, uint32_t ttl_s, uint64_t now_ms);

/* What came of one recipient of a job: DELIVERED and the like and FAILED take it out of the queue; DEFERRED and UNKNOWN
 * give it its next time, which is returned (0: it is out). */
uint64_t queue_result(struct queue *q, uint64_t job, uint32_t index, enum job_outcome outcome, uint64_t now_ms);
/* The end of a job: those without a result are DEFERRED.  The freed place may be used at once: call queue_next(). */
void queue_done(struct queue *q, uint64_t job, enum job_trouble trouble, uint64_t now_ms);
/* Like queue_next, but only a job of the site whose job has just ended, for the worker that has a connection to it. */
bool queue_next_of_site(struct queue *q, str site, uint64_t now_ms, struct queue_want *w) MUST_CHECK;

struct queue_site_state {
    str site;
    uint64_t waiting, active;
    unsigned window_milli; /* thousandths of a connection */
    uint64_t retry_ms;     /* dead until */
    bool dead;
};
/* Walks the sites: *at 0 at first; false at the end. */
bool queue_site_next(const struct queue *q, size_t *at, struct queue_site_state *out);
struct queue_entry_state {
    uint64_t next_ms;
    enum queue_state state;
    str site;
    uint32_t attempts;
};
bool queue_look(const struct queue *q, uint64_t num, uint32_t index, struct queue_entry_state *out);
uint64_t queue_count(const struct queue *q);
uint64_t queue_bytes(const struct queue *q); /* of memory */

#endif
