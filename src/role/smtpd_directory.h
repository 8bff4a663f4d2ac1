/* smtpd_directory.h - what the store's directory has said of addresses, kept for the next mail; and those who wait for
 * what it has not said yet.  Bounded; all of it is forgotten when the directory changes or the store goes.
 *
 *     a = smtpd_directory_get(core, address, user)        known: the caller's to unref
 *     smtpd_directory_ask(core, &asker, address, user)    else: later asker.on_answer for each, and once all have come
 *                                                         (or none will: asker.failed) asker.on_known */
#ifndef ROLE_SMTPD_DIRECTORY_H
#define ROLE_SMTPD_DIRECTORY_H

#include "base/list.h"
#include "base/map.h"
#include "frame/frame.h"
#include "policy/directory.h"

struct smtpd_core;

struct smtpd_answer {
    struct list node; /* of smtpd_directory.order */
    unsigned refs;
    bool kept; /* by the directory */
    struct arena arena;
    struct directory_answer answer;
    str key;
};

struct smtpd_directory {
    struct map answers; /* address and user -> struct smtpd_answer */
    struct list order;  /* used longest ago first */
    size_t count;
    struct map asks; /* tag -> struct smtpd_ask */
};

struct smtpd_asker {
    struct list asks; /* struct smtpd_ask */
    bool failed;
    void (*on_answer)(struct smtpd_asker *a, struct smtpd_answer *answer); /* may keep a reference */
    void (*on_known)(struct smtpd_asker *a);
};

void smtpd_directory_init(struct smtpd_directory *d, uint64_t random_seed);
void smtpd_directory_free(struct smtpd_directory *d);

struct smtpd_answer *smtpd_directory_get(struct smtpd_core *core, str address, str user);
void smtpd_answer_ref(struct smtpd_answer *a);
void smtpd_answer_unref(struct smtpd_answer *a);

void smtpd_asker_init(struct smtpd_asker *a);
bool smtpd_asker_waits(const struct smtpd_asker *a);
/* Wants no more answers. */
void smtpd_asker_end(struct smtpd_core *core, struct smtpd_asker *a);
/* ERR_DOWN: the store is; ERR_NOMEM. */
enum err smtpd_directory_ask(struct smtpd_core *core, struct smtpd_asker *a, str address, str user) MUST_CHECK;

void smtpd_directory_told(struct smtpd_core *core, const struct frame_looked_up *f);
void smtpd_directory_forget(struct smtpd_core *core); /* every answer */
void smtpd_directory_down(struct smtpd_core *core);   /* nobody will answer */

#endif
