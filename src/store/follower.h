/* follower.h - the thread that brings the database up to the journal.  It takes what waits, in order, one transaction
 * for all of it, and reports each transaction with a note.  While it lags nobody waits for it but readers. A refused
 * transaction is tried again each second: nothing is lost, the journal has it.  A transaction with a mark or an
 * entry of the directory in it is synced before it is reported: no journal has these. */
#ifndef STORE_FOLLOWER_H
#define STORE_FOLLOWER_H

#include "base/code.h"
#include "base/map.h"
#include "store/directory_file.h"
#include "store/sqlite.h"
#include "store/thread.h"

enum op_kind {
    OP_PASSED, /* a record that changes nothing here */
    OP_ACCEPTED,
    OP_GONE,
    OP_GONE_BELOW,
    OP_MOVED,
    OP_SESSION,
    OP_SUMMARY,
    OP_MARK,
    OP_CHECKPOINT,
    OP_INTENT,
    OP_OUTCOME,
    OP_ACTED,
    OP_ENTRY,
};

struct op {
    struct list node;
    enum op_kind kind;
    struct journal_position after; /* where the journal is applied up to with this; seq 0: not of the journal */
    struct db_message message; /* ACCEPTED, MOVED (num, place; all in recovery), SUMMARY (id, attachments, summary) */
    struct db_session session;
    uint64_t num; /* GONE_BELOW; ENTRY: its result */
    struct {
        uint8_t kind;
        bool remove;
        str key, fields;
    } entry;                         /* ENTRY */
    struct buf bytes;                /* GONE: u64 numbers; MARK: ids; INTENT, OUTCOME, ACTED: the record's body */
    struct buf envelope, transcript; /* ACCEPTED, MOVED in recovery: with deliveries or a report; else empty */
    bool seen, all;                  /* MARK; CHECKPOINT: all = truncate */
    struct buf changed_ids;          /* MARK: its result */
    uint64_t changed;                /* MARK: how many these are */
    void *owner;                     /* MARK, ENTRY: whose answer */
    char text[];                     /* what the strs point into */
};

/* An op with room for texts; op_text() copies one in.  NULL: no memory. */
struct op *op_new(enum op_kind kind, size_t room);
str op_text(struct op *o, size_t *used, str s);
void op_free(struct op *o);

struct live_change {
    uint64_t epoch;
    int64_t bytes, count;
};

struct note {
    struct task task;
    struct db_state state;
    struct live_change *changes;
    size_t change_count, change_room;
    size_t ops;            /* how many were applied */
    size_t duplicates;     /* of them, messages whose id another one has */
    struct list marks;     /* ops that are done: MARK, ENTRY */
    uint64_t checkpointed; /* everything up to this seq is on stable storage in the database; 0: no news */
    bool checkpoint_tried;
    uint64_t big_bytes;            /* of big files that are gone */
    uint64_t retire, retire_count; /* up to this number the oldest must give way */
    enum err trouble;
    struct why why;
};

struct follower_limits {
    struct db_limits retain; /* created_before_ms unused */
    uint64_t retain_age_ms, retain_sessions, history_age_ms, history_count;
};

struct follower;

/* For recovery: applies in the caller's thread, in transactions of its own.  gone: NULL, or, where the database is made
 * again from nothing, the messages whose deletion was met so far: then a copy made by compaction stands for a message
 * whose first record is recycled. */
enum err follower_replay(struct db *db, struct op *o, struct note *n, struct map *gone, struct why *w) MUST_CHECK;

/* db: open for writing, the follower's until follower_stop(), as the directory's file is.  big_dir: whose files it
 * removes with their rows. */
enum err follower_start(struct follower **out, struct db *db, struct disk *disk, const char *big_dir,
                        struct directory_file *directory, const struct follower_limits *limits, struct outbox *o,
                        void (*on_note)(struct task *t, void *context), struct why *w) MUST_CHECK;
void follower_limits(struct follower *f, const struct follower_limits *limits);
/* On: big files stay when their rows go, until it is off and the next transaction is done. */
void follower_keep(struct follower *f, bool on);
void follower_push(struct follower *f, struct op *o);
void follower_hurry(struct follower *f); /* somebody waits for what was pushed: it waits for no company */
void follower_stop(struct follower *f); /* applies what waits, checkpoints, ends the thread; db is the caller's again */
void note_free(struct note *n);

#endif
