/* worker.h - what the hosts of the roles that are handed jobs over the network share (delivery, filter): the links to
 * store and resolver, a tick each second, and leaving once nothing is under way any more. */
#ifndef ROLE_WORKER_H
#define ROLE_WORKER_H

#include "sys/role.h"
#include "sys/tls.h"

/* The core's side.  down: the other process is gone; a new link may follow. */
struct worker_ops {
    void (*store)(const struct frame *f);
    void (*store_down)(void);
    void (*resolver)(const struct frame *f);
    void (*resolver_down)(void);
    void (*tick)(void);
    void (*drain)(bool stop); /* no new jobs; stop: those that have not begun to send end, too */
    bool (*empty)(void);      /* no job under way, nothing left to close */
};

void worker_init(const struct worker_ops *ops); /* before role_main(); ops must stay */
/* Once, when the role is configured first: events, and a client's TLS context with the system's authorities; without
 * any that is logged and no server verifies. */
enum err worker_start(struct why *w) MUST_CHECK;
struct ssl_ctx_st *worker_tls(void); /* the worker's own; there from worker_start() on */

void worker_to_store(const struct frame *f); /* dropped while there is no store */
bool worker_to_resolver(const struct frame *f);
void worker_look(void); /* after anything that may have been the last thing under way */

/* For struct role_ops. */
void worker_peer(enum role peer, uint32_t instance, int fd);
void worker_drain(void);
void worker_stop(void); /* what is out already gets its answer; the supervisor bounds the wait */

#endif
