/* store_core.h - the store as its peers see it: frames in, frames out; which mails, sessions and requests each link has
 * open; who subscribed.  It makes no system call: the links are the host's (struct store_core_ops), the disk is the
 * store's (store/store.h).
 *
 * A mail of a link:   BEGIN -> open -> COMMIT -> waiting for the store -> MAIL_DONE
 *                                  \-> ABORT                  (the link closes: finished without an answer) */
#ifndef ROLE_STORE_CORE_H
#define ROLE_STORE_CORE_H

#include "frame/frame.h"
#include "role/store_directory.h"
#include "role/store_queue.h"
#include "store/store.h"

struct store_core;
struct core_link;

struct store_core_ops {
    void (*send)(void *peer, const struct frame *f);
    size_t (*queued)(void *peer); /* bytes that wait to be sent */
    void (*pause)(void *peer, bool on);
    void (*soon)(void *arg); /* call store_commit() when this turn's frames are in */
    /* Where there is a queue: call store_queue_run() in this turn; and the wall clock, NULL: the system's. */
    void (*run_soon)(void *arg);
    uint64_t (*now_ms)(void *arg);
};

struct store_core *store_core_new(const struct store_core_ops *ops, void *arg);
void store_core_free(struct store_core *c);

/* What store_open() wants, and the store once it is open. */
const struct store_ops *store_core_store_ops(void);
void store_core_attach(struct store_core *c, struct store *s);

/* A queue, before the store is opened; the core's.  After the store is attached: store_queue_open(). */
struct store_queue *store_core_queue(struct store_core *c, const struct conf *conf, uint64_t seed);

/* The directory, before the store is opened; the core's.  Attach the store to it, too. */
struct store_directory *store_core_directory(struct store_core *c, uint64_t seed);

struct core_link *store_core_link(struct store_core *c, void *peer, bool brings_mail);
/* This link's peer takes jobs, too: DELIVERY, FILTER, SMTPD.  False: no memory. */
bool store_core_worker(struct core_link *l, enum role role) MUST_CHECK;
/* False: the peer broke the protocol; drop it (and tell with store_core_unlink). */
bool store_core_frame(struct core_link *l, const struct frame *f) MUST_CHECK;
void store_core_drained(struct core_link *l);
void store_core_unlink(struct core_link *l);

#endif
