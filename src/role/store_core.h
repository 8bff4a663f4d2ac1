/* store_core.h - the store as its peers see it: frames in, frames out; which mails, sessions and requests each link has
 * open; who subscribed.  It makes no system call: the links are the host's (struct store_core_ops), the disk is the
 * store's (store/store.h).
 *
 * A mail of a link:   BEGIN -> open -> COMMIT -> waiting for the store -> MAIL_DONE
 *                                  \-> ABORT                  (the link closes: finished without an answer) */
#ifndef ROLE_STORE_CORE_H
#define ROLE_STORE_CORE_H

#include "frame/frame.h"
#include "store/store.h"

struct store_core;
struct core_link;

struct store_core_ops {
    void (*send)(void *peer, const struct frame *f);
    size_t (*queued)(void *peer); /* bytes that wait to be sent */
    void (*pause)(void *peer, bool on);
    void (*soon)(void *arg); /* call store_commit() when this turn's frames are in */
};

struct store_core *store_core_new(const struct store_core_ops *ops, void *arg);
void store_core_free(struct store_core *c);

/* What store_open() wants, and the store once it is open. */
const struct store_ops *store_core_store_ops(void);
void store_core_attach(struct store_core *c, struct store *s);

struct core_link *store_core_link(struct store_core *c, void *peer, bool brings_mail);
/* False: the peer broke the protocol; drop it (and tell with store_core_unlink). */
bool store_core_frame(struct core_link *l, const struct frame *f) MUST_CHECK;
void store_core_drained(struct core_link *l);
void store_core_unlink(struct core_link *l);

#endif
