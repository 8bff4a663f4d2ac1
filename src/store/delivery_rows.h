/* delivery_rows.h - the rows of what is delivered: deliveries, intents, attempts, stories, mailboxes.  They follow the
 * journal as all of the database does (sqlite.h): each call below that writes stands in the transaction of its record.
 *
 *   open = 1   the delivery is not over: it waits, is held, or its sender is still to be told (owed).  It counts in
 *              its message's refs; when these are 0 the message goes, and its deliveries, attempts and story stay for
 *              as long as history is kept. */
#ifndef STORE_DELIVERY_ROWS_H
#define STORE_DELIVERY_ROWS_H

#include "smtp/envelope.h"
#include "store/outcome.h"
#include "store/sqlite.h"

/* What becomes of a delivery in the moment its message is accepted: nothing else must be known. */
struct delivery_fate {
    enum queue_state state;
    enum job_outcome owed;
    bool open, late_told;
    uint32_t code;
    str text;
    uint64_t next_ms, expires_ms; /* expires_ms 0: as the configuration says */
};
struct delivery_fate delivery_fate(const struct envelope *v, size_t index, uint64_t created_ms);
str delivery_sender(const struct envelope *v, size_t index);
bool envelope_captured(const struct envelope *v); /* is it in the inbox? */
bool delivery_local(enum job_kind kind);          /* over with the acceptance */

/* A message with deliveries, a report, or both.  doubtful: what would go out is held for an operator instead.
 * ERR_EXISTS: its id is taken. */
enum err db_accept_routed(struct db *db, const struct db_message *m, str envelope, str transcript, bool doubtful,
                          db_freed_each *freed, void *arg, struct why *w) MUST_CHECK;
enum err db_intent(struct db *db, uint64_t seq, str body, struct why *w) MUST_CHECK;
enum err db_intent_end(struct db *db, uint64_t seq, struct why *w) MUST_CHECK;
/* *intent: the seq of the intent that it ends, 0: none; its row is the caller's to end. */
enum err db_outcome(struct db *db, uint64_t seq, str body, uint64_t *intent, db_freed_each *freed, void *arg,
                    struct why *w) MUST_CHECK;
enum err db_acted(struct db *db, str body, db_freed_each *freed, void *arg, struct why *w) MUST_CHECK;
enum err db_hold_all(struct db *db, str text, struct why *w) MUST_CHECK; /* holds everything that waits */
/* Forgets stories of messages that are gone: those before created_before_ms, and the oldest of more than `most`. */
struct story_prune {
    uint64_t created_before_ms, most; /* 0: none */
    uint64_t cursor, count;           /* kept for the next time; count: of stories */
    bool counted;
};
enum err db_story_prune(struct db *db, struct story_prune *p, struct why *w) MUST_CHECK;

/* ---- mailbox_rows.c ---- */
struct db_mailbox_put {
    str account, folder; /* folder empty: INBOX */
    bool make;           /* make the folder when it is not there; else INBOX */
    uint64_t num, size, received_ms;
    uint64_t date_ms, flags; /* the message's date in the folder, and its marks: mime/maildir.h */
    uint32_t index;
};
enum err db_mailbox_deliver(struct db *db, const struct db_mailbox_put *p, struct why *w) MUST_CHECK;

/* ---- reading ---- */
struct db_delivery { /* texts are valid until return */
    uint64_t num;
    uint32_t index, attempts, code;
    enum job_kind kind;
    enum queue_state state;
    enum job_outcome owed;
    bool open, late_told;
    uint8_t priority;
    uint64_t created_ms, next_ms, expires_ms, size;
    str address, sender, target, rule, text, host, id;
    struct journal_place place;
};
typedef enum err db_delivery_each(void *arg, const struct db_delivery *d);
enum db_delivery_which { DB_OPEN, DB_EVERY, DB_OF_MESSAGE };
/* Those behind (num, index), of any message or of `num` alone; index UINT32_MAX: behind all of num.  Ends with what
 * `each` returns when that is not OK. */
enum err db_deliveries(struct db *db, enum db_delivery_which which, uint64_t num, uint32_t index,
                       db_delivery_each *each, void *arg, struct why *w) MUST_CHECK;
typedef enum err db_intent_each(void *arg, uint64_t seq, uint64_t num, uint64_t at_us, str host, str indices);
enum err db_intents(struct db *db, db_intent_each *each, void *arg, struct why *w) MUST_CHECK;

struct db_story {
    uint64_t num, created_ms, size;
    str sender, envelope, transcript; /* until db_done() */
};
enum err db_story_get(struct db *db, str id, struct db_story *s, struct why *w) MUST_CHECK; /* ERR_NOT_FOUND */
struct db_attempt {
    uint64_t seq, started_us, ended_us;
    str host, address, tls, source, text, results, transcript;
};
typedef enum err db_attempt_each(void *arg, const struct db_attempt *a);
enum err db_attempts(struct db *db, uint64_t num, uint64_t after_seq, db_attempt_each *each, void *arg,
                     struct why *w) MUST_CHECK;

/* ---- looking into mailboxes ---- */
struct db_mailbox {
    uint64_t id, messages, unseen, bytes;
    uint32_t uidvalidity, uidnext;
    str name, role; /* until the callback returns */
};
struct db_mailbox_message {
    uint32_t uid;
    str id; /* likewise */
    uint64_t flags, size, received_ms;
};
typedef enum err db_mailbox_each(void *arg, const struct db_mailbox *m);
typedef enum err db_mailbox_message_each(void *arg, const struct db_mailbox_message *m);
/* Those of an account behind the one with id `after`, in the order they were made; an error of each ends it. */
enum err db_mailboxes(struct db *db, str account, uint64_t after, db_mailbox_each *each, void *arg,
                      struct why *w) MUST_CHECK;
/* The messages of one, by UID.  ERR_NOT_FOUND: there is no such mailbox. */
enum err db_mailbox_messages(struct db *db, str account, str name, uint32_t after, db_mailbox_message_each *each,
                             void *arg, struct why *w) MUST_CHECK;

#endif
