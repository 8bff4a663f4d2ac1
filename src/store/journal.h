/* journal.h - the authority of the store: records behind each other in segments, one writer, one sync per group.
 *
 * <dir>/<16 hex>.log is a segment, named by its epoch: a counter (high half) and a random number (low half, so that no
 * sender can forge a record inside his mail).  Segments are zero-filled once and recycled (<16 hex>.free) for ever.
 * A record is 40 bytes of header and a body padded to 8, all integers little-endian:
 *   u32 magic  u32 crc32c of all that follows, padding included  u8 type  u8 version  u16 0  u32 body length
 *   u64 seq  u64 epoch  u64 durable: the highest seq that was known to be synced when this was written
 * seq goes up by one from record to record.  Only START may leap; it stands at the front of every segment and where
 * writing went on after a restart, and says where the chain before it ends:  u64 epoch  u64 end  u64 last seq.
 * So what a failed write left behind lies outside the chain and never comes back, and a segment that has a successor
 * has a known end.  The last one ends at its first bad record: a torn tail if no valid record anywhere claims that this
 * seq was durable, damage otherwise.  Damage is reported, never cut.
 *
 * After a failed write or sync the same pages are never synced again: the group is answered with the error and the
 * chain goes on in a fresh segment.  Where that fails too, the first header of the group is zeroed and nothing is
 * accepted until journal_repair() succeeds.  Only where all three fail and then the process ends (a disk that took the
 * group, and has answered nothing but errors since) a refused group comes back: journal_unsure() tells.
 * All calls belong to one thread, but journal_prepare() and journal_read(). */
#ifndef STORE_JOURNAL_H
#define STORE_JOURNAL_H

#include "base/buf.h"
#include "store/file.h"

enum { JOURNAL_HEADER = 40, JOURNAL_PATH = 512, JOURNAL_START_SIZE = JOURNAL_HEADER + 24 };

enum journal_type { /* stored: never reuse a number */
                    JOURNAL_START = 1,
                    JOURNAL_ACCEPTED = 2,   /* store/record.h */
                    JOURNAL_GONE = 3,       /* u64 numbers of messages */
                    JOURNAL_GONE_BELOW = 4, /* u64: this number and all smaller ones */
                    JOURNAL_MOVED = 5,      /* a copy of an accepted record, made by compaction */
                    JOURNAL_INTENT = 6,     /* store/outcome.h, as the next two */
                    JOURNAL_OUTCOME = 7,
                    JOURNAL_ACTED = 8,
};

struct journal_place {
    uint64_t seq, epoch, offset;
    uint64_t length; /* header, body and padding */
};

struct journal_record {
    enum journal_type type;
    struct journal_place place;
    uint64_t durable;
    str body;
};

struct journal_position { /* behind a record */
    uint64_t seq, epoch, offset;
};

struct journal_segment {
    uint64_t epoch;
    uint64_t start_seq, last_seq;
    uint64_t end;  /* bytes in use; 0: unknown (older than a recycled one) */
    uint64_t live; /* bytes of records that the database refers to */
    uint64_t live_count;
    uint64_t dead_at; /* applied seq when the last live one went */
    bool compacting;
};

struct journal_recovery {
    uint64_t records, torn_bytes;
    uint64_t last_seq;
    uint64_t gaps; /* places in the chain where segments were recycled */
};

struct journal;

/* Called for each record behind `applied`, in order; an error ends the recovery. */
typedef enum err journal_each(void *arg, const struct journal_record *r, struct why *w);

/* Opens and recovers; all zero `applied`: from the oldest segment.  ERR_CORRUPT: damage; the sentence names file and
 * offset.  After OK everything given to `each` is on stable storage. */
enum err journal_open(struct journal **j, struct disk *d, const char *dir, uint64_t segment_size, uint64_t random_seed,
                      struct journal_position applied, journal_each *each, void *arg, struct journal_recovery *found,
                      struct why *w) MUST_CHECK;
/* As journal_open, but changes nothing, and knows no more than `applied.seq` as a floor: every segment from its front.
 */
enum err journal_verify(struct disk *d, const char *dir, uint64_t segment_size, struct journal_position applied,
                        journal_each *each, void *arg, struct journal_recovery *found, struct why *w) MUST_CHECK;
void journal_close(struct journal *j);

/* Adds a record to the group; the parts must stay until journal_commit().  ERR_MORE: commit first, then add again.
 * ERR_LIMIT: larger than a record may be.  ERR_IO, ERR_FULL: nothing can be written at present. */
enum err journal_add(struct journal *j, enum journal_type type, const struct iovec *parts, int count,
                     struct journal_place *place, struct why *w) MUST_CHECK;
/* Writes and syncs the group.  OK: it is on stable storage.  Else none of it is, and none will come back unless
 * journal_unsure(). */
enum err journal_commit(struct journal *j, struct why *w) MUST_CHECK;
enum err journal_broken(const struct journal *j); /* why nothing can be written at present, or OK */
bool journal_unsure(const struct journal *j);     /* the last refused group came back if the process ended now */
enum err journal_repair(struct journal *j, struct why *w) MUST_CHECK;
/* Goes on in a fresh segment, between two groups: so the current one can be recycled when nothing in it is alive. */
enum err journal_turn(struct journal *j, struct why *w) MUST_CHECK;
uint64_t journal_record_max(const struct journal *j); /* of a body */
uint64_t journal_durable(const struct journal *j);    /* the highest synced seq */
struct journal_position journal_position(const struct journal *j);

/* The next segment, made ahead of need in another thread: want -> prepare -> prepared. */
struct journal_job {
    struct disk *disk;
    char dir[JOURNAL_PATH];
    uint64_t epoch, reuse, size; /* reuse: epoch of a free segment, or 0 */
    enum err result;
    struct why why;
};
/* False: there is one, or one is being made, or it would need more than `room` bytes of the disk: then the journal
 * grows a file as it writes, and stops where the disk is full, not one segment earlier. */
bool journal_want(struct journal *j, uint64_t room, struct journal_job *job);
void journal_prepare(struct journal_job *job);
void journal_prepared(struct journal *j, const struct journal_job *job);

/* What is alive.  The database tells what it refers to; a segment is recycled only when that is nothing and a synced
 * checkpoint has passed everything in it and every deletion of what was in it. */
void journal_live(struct journal *j, uint64_t epoch, int64_t bytes, int64_t count, uint64_t applied_seq);
size_t journal_recycle(struct journal *j, uint64_t checkpointed_seq);   /* how many are free now */
bool journal_recyclable(const struct journal *j, uint64_t applied_seq); /* a checkpoint would free something */
/* The segment most worth copying, with less than live_max bytes alive, or NULL; only among those whose records are all
 * applied. */
struct journal_segment *journal_mostly_dead(struct journal *j, uint64_t applied_seq, uint64_t live_max);
struct journal_segment *journal_current(struct journal *j);
/* Gives a segment that holds nothing, free or made ahead, back to the disk; false: there is none. */
bool journal_shrink(struct journal *j);
struct journal_segment *journal_find(struct journal *j, uint64_t epoch);
uint64_t journal_disk_bytes(const struct journal *j);
size_t journal_segments(const struct journal *j);
const struct journal_segment *journal_nth(const struct journal *j, size_t i); /* oldest first; the last is written to */

/* Reads and checks one record; the body is in `out`.  ERR_CORRUPT when it is not (or no longer) what `place` says;
 * place->seq 0 means any.  For any thread. */
void journal_path(char path[JOURNAL_PATH], const char *dir, uint64_t epoch);
enum err journal_read(struct disk *d, int fd, const char *path, const struct journal_place *place, struct buf *out,
                      struct journal_record *r, struct why *w) MUST_CHECK;

#endif
