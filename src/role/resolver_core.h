/* resolver_core.h - the questions that the resolver has been asked: identical ones are asked once, so many are on their
 * way at a time and the rest waits in order, none waits for ever.  Pure; who sends them and brings answers is the host.
 *
 *     resolver_core_ask(...)                       as questions come
 *     while ((q = resolver_core_next(c))) ...      start each; its answer may come at once or later
 *     while (resolver_core_asker(q, &peer, &tag))  an answer is there: tell everybody who asked ...
 *     resolver_core_done(c, q)                     ... and it is over */
#ifndef ROLE_RESOLVER_CORE_H
#define ROLE_RESOLVER_CORE_H

#include "base/err.h"
#include "base/list.h"
#include "base/str.h"

enum {
    RESOLVER_ACTIVE_MAX = 256,    /* questions on their way */
    RESOLVER_WAITING_MAX = 50000, /* askers, of all questions */
    RESOLVER_PATIENCE_MS = 30000, /* then who asked is told that it failed */
};

struct resolver_question {
    struct list node;   /* among those that wait, or are on their way */
    struct list askers; /* the core's */
    str key;            /* the core's */
    str name;           /* lower case, NUL behind it */
    uint32_t type;
    uint64_t deadline_ms;
    bool active;
};

struct resolver_core;
struct resolver_core *resolver_core_new(uint64_t random_seed); /* NULL: no memory */
void resolver_core_free(struct resolver_core *c);

/* peer: any number of the host's.  ERR_SYNTAX: not a name that may be asked for; ERR_LIMIT: too many wait; ERR_NOMEM.
 */
enum err resolver_core_ask(struct resolver_core *c, uint64_t peer, uint64_t tag, str name, uint32_t type,
                           uint64_t now_ms) MUST_CHECK;
/* The next one to start, from now on active; NULL: none, or enough are on their way. */
struct resolver_question *resolver_core_next(struct resolver_core *c);
/* Takes one who asked off the question; false: no more. */
bool resolver_core_asker(struct resolver_core *c, struct resolver_question *q, uint64_t *peer, uint64_t *tag);
void resolver_core_done(struct resolver_core *c, struct resolver_question *q); /* frees it */
/* One with askers that are out of patience, NULL: none.  The host tells them; one that is not active is then done. */
struct resolver_question *resolver_core_expired(struct resolver_core *c, uint64_t now_ms);
void resolver_core_forget(struct resolver_core *c, uint64_t peer); /* nobody is there to be told */
void resolver_core_restart(struct resolver_core *c); /* what was on its way is lost: all is to be started again */
size_t resolver_core_waiting(const struct resolver_core *c); /* askers */

#endif
