/* store.h - where mail is kept: the interface of the one writer.  All calls belong to the thread of the loop; what
 * takes long happens in threads of the store's own, whose news come when store_fd() is readable.
 *
 *     mail:     begin -> envelope, transcript, body in pieces -> commit -> ops.mail_done, once
 *               or abort at any time before commit
 *     turn:     store_commit() at the end of each turn of the loop: everything that waits is appended, synced once,
 * answered reading:  store_request() -> ops.answer, perhaps several times -> the last one has r->done
 *
 * A mail that was answered OK is on stable storage.  One that was answered otherwise left nothing behind.  A mark that
 * was answered is on stable storage too.  What these promises do not reach:
 *   - A disk that took a group, has answered nothing but errors since, and then the process ends: the refused group may
 *     come back (journal_unsure()).  Its big files stay until the next start for that reason.
 *   - Sessions and summaries are synced with the next checkpoint or mark: a power cut may take the last ones.
 *   - The directory's entries are in the database, and a second time in a file (directory_file.h): both must be lost.
 *   - A database that was removed is made again from the journal, from compacted copies too: no message is lost, but
 * what was read and the sessions are; and where segments have been recycled (EV_STORE_GAPS), messages that were deleted
 *     one by one may be back.
 *   - A second message under the id of another one is in the journal but not in the list (EV_STORE_DUPLICATE).
 *   - Mail stops at the reserve.  On a disk whose reserve others have taken, too, opening, listing and deleting live on
 *     the spare (spare.h); when that is used up and the disk still full, a deletion is answered ERR_FULL, and opening
 *     fails with a sentence.
 *   - On a full disk space comes back by segments: deleting everything helps, and so does deleting half of what lies in
 *     a segment if there is room to copy the other half. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "store/delivery_rows.h"
#include "store/reader.h"

struct store;
struct store_mail;

struct store_options {
    const char *data;  /* the directory; it exists */
    struct disk *disk; /* disk_system(), or a test's.  The database is always SQLite's own files */
    uint64_t segment_size, big_min, memory_budget, lag_max;
    uint64_t retain_count, retain_age_ms, retain_bytes, retain_sessions, history_age_ms, history_count;
    uint64_t message_max, disk_reserve;
    uint64_t random_seed;
    const char *hold_all;        /* NULL, or why each delivery that waits is held, once it is open */
    struct directory *directory; /* NULL, or what is filled with the entries of the database while it opens */
};

/* A message that is on stable storage, with deliveries, or a report. */
struct store_accepted {
    uint64_t num, created_ms, size;
    str id;
    struct journal_place place;
    const struct envelope *envelope;
    str envelope_bytes;
    struct buf *body; /* of a message in memory, else NULL; the callee may take it, and leaves an empty one */
};

struct store_ops {
    /* OK, or why not.  The mail is over; owner is what store_mail_begin() was given (NULL after store_mail_forget()).
     */
    void (*mail_done)(void *arg, void *owner, enum err e, const char *text);
    /* Is mail accepted?  ERR_FULL, ERR_IO: refuse it before DATA.  Told when it changes. */
    void (*state)(void *arg, enum err e, const char *text);
    /* The database lags: take nothing more from those who bring mail (true), go on (false). */
    void (*hold)(void *arg, bool on);
    /* Some frames of the answer are in r->out.  Done: r is freed on return.  Else it is the callee's, to give back with
     * store_request_more() when there is room for more. */
    void (*answer)(void *arg, struct request *r);
    void (*changed)(void *arg, const struct frame *f); /* a CHANGED_* frame for all who subscribed */
    void (*soon)(void *arg);                           /* something waits for store_commit() */

    /* For the queue's host; NULL where there is none.  All of them speak of what is on stable storage. */
    void (*accepted)(void *arg, const struct store_accepted *a);
    void (*moved)(void *arg, uint64_t num, const struct journal_place *place);
    void (*intent_done)(void *arg, void *owner, enum err e, uint64_t seq); /* not OK: it was not written */
    void (*outcome_done)(void *arg, void *owner);                          /* they are tried until they are written */
    void (*acted)(void *arg, const struct acted *a);
    bool (*is_active)(void *arg, uint64_t num, uint32_t index); /* does a worker have it? */

    /* An entry of the directory is on stable storage: num is its row's, 0 when it was removed. */
    void (*entry_done)(void *arg, void *owner, uint64_t num);
};

enum err store_open(struct store **out, const struct store_options *o, const struct store_ops *ops, void *arg,
                    struct why *w) MUST_CHECK;
void store_set_limits(struct store *s, const struct store_options *o); /* of retention, disk and lag */
void store_close(struct store *s);                                     /* commits what waits, applies it, checkpoints */

int store_fd(struct store *s);
void store_news(struct store *s); /* when it is readable */
void store_commit(struct store *s);
void store_second(struct store *s); /* each second: space, repair, recycling, compaction */
bool store_impatient(
    const struct store *s); /* a request waits for the database: call store_moment() every 50 ms or so */
void store_moment(struct store *s);

struct store_mail *store_mail_begin(struct store *s, void *owner, str id, uint64_t size_hint);
/* What goes wrong in these is kept and answered at commit. */
void store_mail_body(struct store_mail *m, str bytes);
void store_mail_envelope(struct store_mail *m, str bytes);
void store_mail_transcript(struct store_mail *m, str bytes);
void store_mail_commit(struct store_mail *m);
void store_mail_abort(struct store_mail *m);  /* before commit; m is gone */
void store_mail_forget(struct store_mail *m); /* after commit: it will be finished, but nobody waits */

/* Deliveries, for the queue's host.  An intent or outcome is written with the next group. */
enum err store_deliveries(struct store *s, db_delivery_each *each, void *arg,
                          struct why *w) MUST_CHECK; /* those that are not over; before anything else */
enum err store_intents(struct store *s, db_intent_each *each, void *arg, struct why *w) MUST_CHECK;
enum err store_intent(struct store *s, void *owner, const struct intent *i) MUST_CHECK;
enum err store_outcome(struct store *s, void *owner, const struct outcome *o) MUST_CHECK;
/* Work on records in a thread of its own: context is the struct body_reader (store/body.h). */
void store_read(struct store *s, struct task *t);

void store_session(struct store *s, const struct db_session *session);
void store_summary(struct store *s, str id, uint32_t attachments, str json);
/* A row of the directory, or its end; key and fields are copied.  Answered once, by ops.entry_done; not at all when the
 * store closes before. */
enum err store_entry(struct store *s, void *owner, uint8_t kind, str key, str fields, bool remove) MUST_CHECK;
void store_request(struct store *s, struct request *r); /* takes it over */
void store_request_more(struct store *s, struct request *r);

struct store_sums { /* for tests and metrics */
    struct journal_position journal;
    struct db_state db;
    uint64_t disk_bytes, memory, segments;
};
struct store_sums store_sums(struct store *s);

#endif
