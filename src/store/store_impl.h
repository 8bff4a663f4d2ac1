/* store_impl.h - what store.c and store_mail.c share; nobody else includes it. */
#ifndef STORE_STORE_IMPL_H
#define STORE_STORE_IMPL_H

#include "base/arena.h"
#include "store/body.h"
#include "store/follower.h"
#include "store/journal.h"
#include "store/record.h"
#include "store/spare.h"
#include "store/store.h"

enum item_kind { ITEM_MAIL, ITEM_GONE, ITEM_GONE_BELOW, ITEM_MOVED, ITEM_INTENT, ITEM_OUTCOME, ITEM_ACTED };

/* What waits for the next group. */
struct item {
    struct list node;
    enum item_kind kind;
    struct journal_place place;
    struct request *request; /* GONE, GONE_BELOW: whose answer; NULL for retention */
    struct buf nums;         /* GONE: a piece of the numbers */
    bool last;               /* GONE: the piece with which the request is done */
    bool again;              /* GONE, GONE_BELOW: tried a second time */
    char num[8];             /* GONE_BELOW, MOVED: little-endian */
    uint64_t number, count;  /* the same; how many give way */
    struct buf body;         /* MOVED, INTENT, OUTCOME, ACTED */
    void *owner;             /* INTENT, OUTCOME: of the queue's host */
};

struct hold { /* of a backup; id 0: none */
    uint64_t id, seconds, until_ms;
};
enum { HOLDS = 4 };

struct store_mail {
    struct item item; /* first */
    struct task task; /* syncing its big file */
    struct store *store;
    void *owner;
    char id[ID_SIZE], session[64];
    size_t session_n;
    uint64_t created_ms, size, size_hint;
    struct buf body, envelope, transcript, head;
    uint64_t big; /* name of its file; 0: in memory */
    int fd;
    uint64_t hinted;
    uint32_t block_sum;
    struct buf sums;                   /* crc32c of each MiB, for a big one */
    bool committing, routed, captured; /* routed: it has deliveries, or is a report */
    enum err fault;
    struct why why;
};

struct store {
    struct store_options options;
    struct store_ops ops;
    void *arg;
    char data[400], journal_dir[JOURNAL_PATH], big_dir[JOURNAL_PATH], db_path[JOURNAL_PATH];
    int lock_fd;
    struct disk *disk;
    struct journal *journal;
    struct db *db;
    struct follower *follower;
    struct directory_file directory;
    struct reader *reader;
    struct outbox outbox;
    struct body_reader *body;
    struct worker reading, preparing, syncing, bodies;
    struct journal_job job;
    struct task job_task;
    struct task spare_task;
    enum err spare_result;
    uint64_t spare_bytes;
    struct compaction compaction;
    bool compacting;
    uint64_t compact_after;

    struct list waiting;            /* items for the next group */
    struct list refused;            /* outcomes that could not be written: again each second */
    size_t moves_waiting;           /* of the running compaction */
    struct list held;               /* requests that wait for the database */
    size_t asking;                  /* requests in the reader's hands */
    struct db_state applied;        /* as of the last note */
    uint64_t checkpointed;          /* seq up to which the database is on stable storage, as far as was told */
    uint64_t last_pushed;           /* seq of the last op given to the follower */
    uint64_t behind;                /* ops the follower has not applied yet */
    uint64_t retire, retire_count;  /* a retention that could not be written: again next second */
    uint64_t retired, retired_wait; /* not yet told to the log; seconds since */
    bool holding, checkpointing, closing;
    bool unprepared; /* the next segment could not be made */
    bool spare, spare_making;
    unsigned io_told; /* bits of enum io_source: told to the log, and not well since */
    enum err state, disk_state;
    uint64_t since_look;       /* bytes that came since the last look at the disk's space */
    uint64_t free_bytes, room; /* at the last look; room: how much of it is above the reserve */
    bool exhausted;            /* less than half the reserve: mail that is on its way is refused, too */
    uint64_t memory, big_bytes, big_counter;
    uint64_t stats_told_ms;
    bool stats_due;
    struct hold holds[HOLDS];
    struct arena arena;
};

/* store_mail.c */
void mail_parts(struct store_mail *m, struct iovec parts[4]);
void mail_answer(struct store_mail *m, enum err e, const char *text); /* and free it */
struct op *mail_op(struct store_mail *m);
void big_path(const struct store *s, uint64_t big, char path[JOURNAL_PATH]);
/* store.c */
void store_wait(struct store *s, struct item *i);
void store_came(struct store *s, size_t bytes); /* of mail: is there still space? */
uint64_t store_now_ms(void);
void store_push(struct store *s, struct op *o, const struct journal_place *place);
void store_hold_request(struct store *s, struct request *r, uint64_t seq);
void store_answer(struct store *s, struct request *r);
void store_recycle(struct store *s); /* what the last checkpoint has made free, unless it is held */
/* store_backup.c */
bool backup_wants(const struct request *r);
void backup_request(struct store *s, struct request *r);
void backup_second(struct store *s);
bool backup_holds(const struct store *s);
/* store_deliver.c */
enum err deliver_add(struct store *s, struct item *i, struct why *w);
void deliver_finish(struct store *s, struct item *i, enum err e, const char *text);
void deliver_accepted(struct store *s, struct store_mail *m);
void deliver_again(struct store *s);
void deliver_act(struct store *s, struct request *r);
void deliver_drop(struct store *s);

#endif
