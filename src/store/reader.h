/* reader.h - answers to those who read, in a thread with a database connection of its own.  A request is a cursor: each
 * run in the thread appends some frames to `out`, at most about READER_STEP bytes, and remembers where it was; the loop
 * sends them and pushes the request again when the link has room.  So an answer may be of any length. */
#ifndef STORE_READER_H
#define STORE_READER_H

#include "base/code.h"
#include "frame/frame.h"
#include "store/sqlite.h"
#include "store/thread.h"

enum { READER_STEP = 256 * 1024, READER_READ_MAX = 60 * 1024 };

struct request {
    struct task task;
    struct list node; /* for whoever holds it in the loop's thread */
    enum frame_type type;
    uint32_t tag;
    void *owner;          /* whose it is; NULL: nobody waits any more */
    uint64_t need_seq;    /* not before the database is applied up to here ... */
    uint64_t deadline_ms; /* ... or this moment */
    char id_space[ID_SIZE];
    str id;
    struct buf ids;                           /* DELETE: ids in */
    struct buf nums;                          /* DELETE: u64 numbers out */
    uint64_t start, limit, before_ms, offset; /* BACKUP_*: start is the hold, limit its seconds */
    uint32_t length;
    bool all, seen;
    uint8_t action;         /* QUEUE_ACT */
    struct buf filter;      /* QUEUE_LIST, QUEUE_ACT: fields */
    uint8_t state_wanted;   /* by the filter; 0: any */
    uint32_t index;         /* QUEUE_LIST, STORY: with the cursor */
    uint64_t cursor, count; /* LIST, SESSION_GET */
    unsigned stage;
    struct db_state state; /* as of this run */
    struct buf out;        /* frames */
    bool done;
    enum err failed; /* said in a FAILED frame already */
};

/* NULL: no memory, or not a request. */
struct request *request_new(const struct frame *f, void *owner);
void request_free(struct request *r);
void request_fail(struct request *r, enum err e, const char *text); /* its whole answer */

/* Copying what lives in a mostly dead segment: a task of the same thread. */
struct compaction {
    struct task task;
    uint64_t epoch, offset; /* where to go on; moved behind what was read */
    struct buf records;     /* u64 num, u32 length, body: again and again */
    bool end;
    enum err result;
    struct why why;
};

struct reader;
enum err reader_open(struct reader **out, const char *db_path, struct disk *d, const char *journal_dir,
                     const char *big_dir, struct why *w) MUST_CHECK;
void reader_close(struct reader *r);
void reader_run(struct task *t, void *context);     /* a struct request; context: the struct reader */
void reader_compact(struct task *t, void *context); /* a struct compaction */

#endif
