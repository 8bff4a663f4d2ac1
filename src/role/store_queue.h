/* store_queue.h - the queue's host in the store: it owns struct queue, hands jobs to workers over their links, has
 * intents and outcomes written, and sees that senders are told.  It makes no system call; the store's thread reads
 * bodies, the host's timer calls store_queue_run().
 *
 *   accepted --> queue --> job: read --> JOB... --> worker --INTENT--> journal --> GO --> RESULT, DONE --> journal
 *                  ^                                                                                |
 *                  +---- deferred, unknown <-----------------------------------------------------+-+--> delivered: over
 *                                                                                                  |
 *        over <-- the report is accepted <-- JOB (REPORT) to an smtpd <-- owed: failed, expired, late, success
 *
 * What is known of a message here is its place in the journal and what is owed to its sender: no text of it. */
#ifndef ROLE_STORE_QUEUE_H
#define ROLE_STORE_QUEUE_H

#include "conf/conf.h"
#include "frame/frame.h"
#include "store/store.h"

struct store_queue;
struct queue_worker;

struct store_queue_ops {
    void (*send)(void *peer, const struct frame *f);
    size_t (*queued)(void *peer); /* bytes that wait to be sent */
    void (*soon)(void *arg);      /* call store_queue_run() in this turn */
    void (*full)(void *arg, bool on);
    uint64_t (*now_ms)(void *arg); /* wall clock */
};

/* conf: valid until store_queue_configure(). */
struct store_queue *store_queue_new(const struct store_queue_ops *ops, void *arg, const struct conf *c, uint64_t seed);
void store_queue_configure(struct store_queue *q, const struct conf *c);
/* Loads what is not over, and ends what an earlier process left in doubt. */
enum err store_queue_open(struct store_queue *q, struct store *s, struct why *w) MUST_CHECK;
void store_queue_drain(struct store_queue *q); /* no new jobs */
size_t store_queue_jobs(const struct store_queue *q);
void store_queue_free(struct store_queue *q); /* after store_close() */

void store_queue_run(struct store_queue *q);
uint64_t store_queue_deadline(const struct store_queue *q); /* wall clock; UINT64_MAX: none */

/* role: DELIVERY, FILTER, or SMTPD (for reports). */
struct queue_worker *store_queue_worker(struct store_queue *q, void *peer, enum role role);
/* False: the peer broke the protocol. */
bool store_queue_frame(struct queue_worker *k, const struct frame *f) MUST_CHECK;
void store_queue_unworker(struct queue_worker *k); /* its jobs are deferred, or unknown */
void store_queue_drained(struct store_queue *q);   /* a worker that was behind has read */

/* News of the store (store/store.h). */
void store_queue_accepted(struct store_queue *q, const struct store_accepted *a);
void store_queue_moved(struct store_queue *q, uint64_t num, const struct journal_place *place);
void store_queue_intent_done(void *owner, enum err e, uint64_t seq);
void store_queue_outcome_done(void *owner);
void store_queue_acted(struct store_queue *q, const struct acted *a);

/* Operating: what the queue knows beside the row; SITE_ROW frames, and how many. */
bool store_queue_active(const struct store_queue *q, uint64_t num, uint32_t index);
void store_queue_look(const struct store_queue *q, struct frame_queue_row *row);
uint64_t store_queue_sites(const struct store_queue *q, uint32_t tag, void (*put)(void *arg, const struct frame *f),
                           void *arg);
uint64_t store_queue_count(const struct store_queue *q);

#endif
