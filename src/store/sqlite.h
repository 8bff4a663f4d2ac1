/* sqlite.h - the database that follows the journal: one row per message, and sessions.  A struct db is one connection
 * and belongs to one thread; one connection writes, others read.  Bodies, envelopes and transcripts stay in the
 * journal: a row says where. Every change stands in a transaction that also stores how far the journal is applied, so
 * that after a crash exactly what is missing is applied again. */
#ifndef STORE_SQLITE_H
#define STORE_SQLITE_H

#include "base/buf.h"
#include "base/err.h"
#include "store/journal.h"

struct db;

struct db_state {
    struct journal_position applied;
    uint64_t gone_below; /* messages up to this number are gone, though their rows may still wait for the broom */
    uint64_t total, unread, bytes;
    uint64_t deleted, accepted, accepted_bytes; /* since the store was made */
};

struct db_message {
    uint64_t num, created_ms, size, attachments;
    struct journal_place place;
    uint64_t big, refs;
    bool seen, captured;      /* captured: in the inbox; what is not is counted, listed and retired nowhere */
    str id, session, summary; /* valid until the next call with this db */
};

struct db_session {
    str id, reason, info, transcript;
    uint64_t started_ms, ended_ms;
    uint32_t messages;
};

enum db_mode { DB_WRITE, DB_READ, DB_CHECK };

/* DB_WRITE makes or migrates it.  ERR_VERSION: made by a newer Penfold. */
enum err db_open(struct db **out, const char *path, enum db_mode mode, struct why *w) MUST_CHECK;
void db_close(struct db *db);
struct db_state *db_state(struct db *db); /* the writer's own copy, stored by db_commit() */
enum err db_reload(struct db *db, struct db_state *s, struct why *w) MUST_CHECK; /* as it is now, for readers */

/* ---- writing ---- */
/* durable: db_commit() returns when it is on stable storage, for what no journal can bring back. */
enum err db_begin(struct db *db, bool durable, struct why *w) MUST_CHECK;
enum err db_commit(struct db *db, struct why *w) MUST_CHECK;
void db_rollback(struct db *db); /* forgets the transaction and what it did to the state */

/* A row went: so much is no longer alive in that segment, and this big file is nobody's. */
struct db_freed {
    uint64_t segment, length, big, size;
};
typedef void db_freed_each(void *arg, const struct db_freed *f);

enum err db_accept(struct db *db, const struct db_message *m, struct why *w) MUST_CHECK;
enum err db_gone(struct db *db, uint64_t num, db_freed_each *freed, void *arg, struct why *w) MUST_CHECK;
enum err db_gone_below(struct db *db, uint64_t num, struct why *w) MUST_CHECK;
/* The broom: deletes up to `limit` rows below gone_below; *done when none is left. */
enum err db_sweep(struct db *db, unsigned limit, db_freed_each *freed, void *arg, bool *done, struct why *w) MUST_CHECK;
/* *was is where it lay before; length 0: there is no such message any more. */
enum err db_moved(struct db *db, uint64_t num, const struct journal_place *to, struct journal_place *was,
                  struct why *w) MUST_CHECK;
enum err db_seen(struct db *db, str id, bool seen, bool *changed, struct why *w) MUST_CHECK;
/* Up to 1,000 messages behind *num whose mark differs; ids gets 22 bytes each.  Empty: no more. */
enum err db_unlike(struct db *db, bool seen, uint64_t *num, struct buf *ids, struct why *w) MUST_CHECK;
enum err db_summary(struct db *db, str id, uint32_t attachments, str json, struct why *w) MUST_CHECK;
enum err db_session_put(struct db *db, const struct db_session *s, struct why *w) MUST_CHECK;
/* Keeps the newest `keep` sessions without a message (0: any number), of them those that ended no earlier than that
 * (0: any time), and looks at some with messages: those whose messages are gone go too. */
enum err db_session_prune(struct db *db, uint64_t keep, uint64_t ended_before_ms, uint64_t *cursor,
                          struct why *w) MUST_CHECK;

struct db_limits {
    uint64_t count, bytes, created_before_ms; /* 0: none */
};
/* Up to which number must the oldest give way?  *num 0: none must.  Looks at `look` rows at most. */
enum err db_retire(struct db *db, const struct db_limits *limits, uint64_t look, uint64_t *num, uint64_t *count,
                   struct why *w) MUST_CHECK;
void db_wal_max(struct db *db, uint64_t bytes); /* its log is copied into it when it is so large */
/* Copies the log of the database into it and syncs.  *all: everything committed is on stable storage. */
enum err db_checkpoint(struct db *db, bool truncate, bool *all, struct why *w) MUST_CHECK;

/* ---- reading ---- */
typedef enum err db_message_each(void *arg, const struct db_message *m);
enum err db_list(struct db *db, uint64_t below_num, uint64_t before_ms, uint64_t limit, uint64_t skip,
                 db_message_each *each, void *arg, struct why *w) MUST_CHECK;
/* The texts of db_get and db_session_get are valid until db_done(), which must follow: until then they hold the log. */
enum err db_get(struct db *db, str id, struct db_message *m, struct why *w) MUST_CHECK; /* "latest"; ERR_NOT_FOUND */
enum err db_session_get(struct db *db, str id, struct db_session *s, struct why *w) MUST_CHECK;
void db_done(struct db *db);
enum err db_session_mails(struct db *db, str session, uint64_t after, uint64_t limit, db_message_each *each, void *arg,
                          struct why *w) MUST_CHECK;
enum err db_all(struct db *db, uint64_t after, uint64_t limit, db_message_each *each, void *arg,
                struct why *w) MUST_CHECK;
enum err db_in_segment(struct db *db, uint64_t epoch, uint64_t from_offset, uint64_t limit, db_message_each *each,
                       void *arg, struct why *w) MUST_CHECK;
typedef void db_segment_each(void *arg, uint64_t epoch, uint64_t bytes, uint64_t count, uint64_t big_bytes);
enum err db_segments(struct db *db, db_segment_each *each, void *arg, struct why *w) MUST_CHECK;
enum err db_big_known(struct db *db, uint64_t big, bool *known, struct why *w) MUST_CHECK;
enum err db_integrity(struct db *db, struct why *w) MUST_CHECK; /* SQLite's own check */

#endif
