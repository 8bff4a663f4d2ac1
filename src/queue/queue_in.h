/* queue_in.h - what the scheduler's files share.
 *
 *     message ----< batch >---- hop >---- site          batch = the recipients of one message that may share a job
 *                     |
 *                   entry (one recipient)
 *
 * An entry is WAITING for a time (alarm in q->alarms), READY (in its batch's chain), ACTIVE (in a job), HELD, or OVER
 * (its end was told to the host).  A batch with READY entries stands in a line of its site, or is parked at its hop
 * while the site is not known.  A site stands in the ring when something of it may be delivered now, in q->site_times
 * when only time keeps it from that, else nowhere: the end of a job or a new batch brings it back (site_place()). */
#ifndef QUEUE_QUEUE_IN_H
#define QUEUE_QUEUE_IN_H

#include "base/heap.h"
#include "base/pool.h"
#include "base/table.h"
#include "queue/queue.h"

enum { ONE = 1000 * 1000 };

enum entry_state { ENTRY_NONE, ENTRY_WAITING, ENTRY_READY, ENTRY_ACTIVE, ENTRY_HELD, ENTRY_OVER };
enum entry_flag { ENTRY_LATE_ASKED = 1, ENTRY_UNKNOWN = 2, ENTRY_TO_HOLD = 4 };

struct entry {
    uint64_t next_ms;
    uint32_t batch, index;
    struct pool_link link; /* of the ready ones of its batch */
    uint32_t job;          /* ACTIVE */
    uint16_t attempts;
    uint8_t state, flags;
};

struct message {
    uint64_t num, created_ms;
    uint32_t entries, ready; /* over all its batches */
};

enum batch_place { BATCH_NOWHERE, BATCH_PARKED, BATCH_IN_LINE };

/* Lines of a site: by priority (low, normal, high) and by size (each four times the one below). */
enum { TIERS = 3, SIZES = 8 };

struct batch {
    uint64_t sender, expires_ms; /* sender: hashed */
    uint32_t message, hop, site; /* site: whose line it stands in */
    struct pool_chain ready_ones;
    uint32_t entries, ready;
    struct pool_link link;
    uint32_t order; /* when it came into line */
    uint8_t priority, tier, size, place;
};

enum hop_state { HOP_NEW, HOP_TO_ASK, HOP_ASKED, HOP_FAILED, HOP_KNOWN };

struct hop {
    uint64_t serial, known_until_ms;
    enum job_kind kind;
    enum hop_state state;
    str next_hop, route; /* one allocation, next_hop first */
    uint32_t site, failures;
    uint32_t batches, waiting;
    struct pool_chain parked;
    struct pool_link link; /* TO_ASK: of those to ask; without batches: of the idle ones */
};

struct site {
    str name, domain; /* one allocation, name first */
    struct queue_rule rule;
    uint32_t hops, active, in_lines; /* batches in_lines */
    uint64_t waiting;
    uint64_t window, knee, cohorts; /* in millionths (ONE) */
    bool dead, in_ring;
    uint32_t deaths;
    uint64_t retry_ms, rate_at_ns;
    uint64_t lender;            /* the message that lends places to shorter ones, */
    uint32_t taken, lent;       /* those it took itself, and lent */
    uint32_t tiers_used[TIERS]; /* bits of sizes */
    struct pool_chain lines[TIERS][SIZES];
    struct pool_link link; /* of the ring */
};

struct job {
    uint64_t number;
    uint64_t num;
    uint32_t site, count, seek;
    bool probe;
    uint32_t *entries; /* 0: it has a result, or left the queue */
    uint32_t *indices; /* in the same allocation */
};

struct queue {
    struct queue_options o;
    queue_rule_of *rule;
    void *rule_arg;
    uint64_t now_ms, random, serial;
    uint64_t active, active_entries; /* jobs, recipients in them */
    uint32_t order;
    struct pool entries, messages, batches, hops, sites, jobs;
    struct table entry_table, message_table, batch_table, hop_table, site_table;
    struct heap alarms, hop_times, site_times;
    struct pool_chain to_ask, idle_hops, ring;
    uint32_t idle_count;
    uint32_t *told; /* the indices of the last want that is no job */
    size_t name_bytes, job_bytes;
};

#define LINK_OF(type) offsetof(struct type, link)

static inline struct entry *entry_at(const struct queue *q, uint32_t i) {
    return pool_at(&q->entries, i);
}
static inline struct message *message_at(const struct queue *q, uint32_t i) {
    return pool_at(&q->messages, i);
}
static inline struct batch *batch_at(const struct queue *q, uint32_t i) {
    return pool_at(&q->batches, i);
}
static inline struct hop *hop_at(const struct queue *q, uint32_t i) {
    return pool_at(&q->hops, i);
}
static inline struct site *site_at(const struct queue *q, uint32_t i) {
    return pool_at(&q->sites, i);
}
static inline struct job *job_at(const struct queue *q, uint32_t i) {
    return pool_at(&q->jobs, i);
}

/* queue_time.c: the schedule. */
uint64_t time_retry(struct queue *q, uint32_t attempts); /* the spread wait after so many attempts */
uint64_t time_alarm(const struct queue *q, uint32_t entry);
void time_set_alarm(struct queue *q, uint32_t entry);
bool time_is_late(const struct queue *q, const struct entry *e);

/* queue_entry.c: entries, batches, messages. */
uint32_t entry_find(const struct queue *q, uint64_t num, uint32_t index);
uint32_t entry_new(struct queue *q, const struct queue_entry *e); /* 0: no memory; in no state yet */
void entry_set_state(struct queue *q, uint32_t entry, enum entry_state state);
void entry_wait(struct queue *q, uint32_t entry); /* WAITING or READY, as its time says */
void entry_free(struct queue *q, uint32_t entry);
struct site *entry_site(const struct queue *q, uint32_t entry); /* NULL: not known */

/* queue_hop.c: next hops, and which site serves them. */
uint32_t hop_for(struct queue *q, enum job_kind kind, str next_hop, str route); /* 0: no memory */
void hop_used(struct queue *q, uint32_t hop);
void hop_unused(struct queue *q, uint32_t hop);
void hop_count_waiting(struct queue *q, uint32_t hop, int change);
void hop_send(struct queue *q, uint32_t batch); /* to the line of its site, or parked */
void hop_unpark(struct queue *q, uint32_t batch);
bool hop_is_at(const struct queue *q, uint32_t hop, uint32_t site);
void hop_ask_due(struct queue *q);
void hop_ask_now(struct queue *q, uint32_t hop);
bool hop_want(struct queue *q, struct queue_want *w);
void hop_free_all(struct queue *q);

/* queue_site.c: windows, rates, health, the ring. */
uint32_t site_find(const struct queue *q, str name);      /* 0: none */
uint32_t site_for(struct queue *q, str name, str domain); /* 0: no memory */
void site_leave(struct queue *q, uint32_t site);          /* a hop less */
void site_place(struct queue *q, uint32_t site);
void site_due(struct queue *q);
void site_wake(struct queue *q, uint32_t site);
void site_begin(struct queue *q, uint32_t site);
void site_end(struct queue *q, uint32_t site, enum job_trouble trouble, bool probe);
unsigned site_recipients_max(const struct queue *q, const struct site *s);
void site_ask_rules(struct queue *q);

/* queue_line.c: whose turn it is within a site. */
void line_add(struct queue *q, uint32_t site, uint32_t batch);
void line_remove(struct queue *q, uint32_t batch);
uint32_t line_take(struct queue *q, uint32_t site); /* out of its line; 0: nobody is in line */

/* queue_job.c */
bool job_of_site(struct queue *q, uint32_t site, struct queue_want *w);
void job_forget(struct queue *q, uint32_t entry); /* an active entry leaves the queue: its result is ignored */
uint32_t job_find(const struct queue *q, uint64_t number);

/* Everything that must be true between two calls; for tests. */
void queue_check_invariants(const struct queue *q);

#endif
