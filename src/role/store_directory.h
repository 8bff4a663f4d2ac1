/* store_directory.h - who is here, for those who ask the store: the directory in memory, in front of the table of the
 * database.  LOOKUP, CREDENTIAL_ASK, LIMIT_TAKE, ENTRY_LIST and ENTRY_GET are answered at once; ENTRY_PUT and
 * ENTRY_DELETE when they are on stable storage, and only then does memory have them.  It makes no system call.
 *
 *   ENTRY_PUT --> waiting --(no change runs that it may depend on)--> checked --> store --entry_done--> DONE
 *                                                                        \--> FAILED, with a sentence
 *
 * Entries go out with "configured" = "yes" when the configuration file has them; passwords never go to a reader. */
#ifndef ROLE_STORE_DIRECTORY_H
#define ROLE_STORE_DIRECTORY_H

#include "frame/frame.h"
#include "policy/directory.h"
#include "store/store.h"

struct store_directory;

struct store_directory_ops {
    void (*send)(void *peer, const struct frame *f);
    void (*changed)(void *arg); /* every smtpd must forget what it knows */
    uint64_t (*now_ms)(void *arg);
};

struct store_directory *store_directory_new(const struct store_directory_ops *ops, void *arg, uint64_t seed);
void store_directory_free(struct store_directory *s);                       /* after store_close() */
struct directory *store_directory_entries(const struct store_directory *s); /* for store_open() to fill */
void store_directory_attach(struct store_directory *s, struct store *store);
/* Its blocks and limits; on an error the old ones hold. */
enum err store_directory_configure(struct store_directory *s, const struct conf *c, struct why *w) MUST_CHECK;

bool store_directory_wants(enum frame_type type);
void store_directory_frame(struct store_directory *s, void *peer, const struct frame *f); /* one that it wants */
void store_directory_forget(struct store_directory *s, void *peer);                       /* it has gone */

/* News of the store. */
void store_directory_entry_done(struct store_directory *s, void *owner, uint64_t num);
void store_directory_accepted(struct store_directory *s, const struct store_accepted *a);

#endif
