/* keyd_core.h - who proves that he is who: SASL exchanges of many smtpds over credentials that the store keeps, and
 * hashes for new passwords.  Pure: links, threads and the clock are the host's (struct keyd_ops).
 *
 *   AUTH_BEGIN --> exchange --(wants)--> CREDENTIAL_ASK --CREDENTIAL--> SCRAM: the exchange goes on
 *                     |                                            \--> PLAIN, LOGIN: work --> worked --> OK or FAILED
 *                     +--> CHALLENGE --AUTH_STEP--> ...            AUTH_END, the link closes: it is forgotten
 *
 * Everything that is wrong about a user, a password or an identity is one and the same answer, after the same work.
 * After auth_failures_max failures of a client or an account nothing is looked at for a while: SASL_UNAVAILABLE, also
 * for exchanges that had begun before. */
#ifndef ROLE_KEYD_CORE_H
#define ROLE_KEYD_CORE_H

#include "frame/frame.h"
#include "mailauth/sasl_server.h"
#include "obs/events.h"

struct keyd_core;
struct keyd_peer;

/* Hashing, for a thread of its own: it has everything it needs, and nothing is shared. */
struct keyd_work {
    struct keyd_work *next; /* the host's */
    uint64_t number;        /* the core's: which exchange, or which hash */
    enum keyd_work_kind { KEYD_VERIFY, KEYD_NOBODY, KEYD_HASH } kind;
    struct buf password, credential; /* credential: HASH: the result */
    uint8_t random[CREDENTIAL_RANDOM];
    bool good;    /* VERIFY: its result */
    enum err err; /* HASH: its result */
};
void keyd_work_run(struct keyd_work *w);
void keyd_work_free(struct keyd_work *w);

struct keyd_ops {
    void (*send)(void *peer, const struct frame *f);
    bool (*ask)(void *arg, const struct frame *f); /* to the store; false: it is not there */
    bool (*work)(void *arg, struct keyd_work *w);  /* takes it over; false: too much waits, it is still the caller's */
    void (*random)(void *bytes, size_t n);
    uint64_t (*now_ms)(void *arg);
    void (*log)(enum event_id e, str client, str account);
};

struct keyd_core *keyd_core_new(const struct keyd_ops *ops, void *arg);
void keyd_core_free(struct keyd_core *c); /* with every peer */
void keyd_core_failures_max(struct keyd_core *c, uint64_t max);
void keyd_core_secret(struct keyd_core *c, str secret); /* for the salts of those who are not here; copied */

struct keyd_peer *keyd_core_peer(struct keyd_core *c, void *peer); /* NULL: no memory */
/* False: it broke the protocol, drop it (and tell with keyd_core_unpeer). */
bool keyd_core_frame(struct keyd_peer *p, const struct frame *f) MUST_CHECK;
void keyd_core_unpeer(struct keyd_peer *p);

void keyd_core_credential(struct keyd_core *c, const struct frame_credential *f);
void keyd_core_store_gone(struct keyd_core *c);
void keyd_core_worked(struct keyd_core *c, struct keyd_work *w); /* its thread is done with it: the core's again */
size_t keyd_core_open(const struct keyd_core *c);                /* exchanges and hashes that are not over */

#endif
