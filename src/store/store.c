#include "store/store.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "store/directory_db.h"
#include "store/store_impl.h"
#include "sys/log.h"

enum {
    PATIENCE_MS = 500,        /* a reader waits so long for the database, then gets what there is */
    STATS_MS = 100,           /* between two CHANGED_STATS */
    LOOK_EVERY = 1024 * 1024, /* of what came: a second is long enough to fill the reserve */
    TURN_MIN = 256 * 1024,    /* a segment with less in it is not worth leaving */
    REPLAY_BATCH = 1000,
    LOCK_PATIENCE_MS = 2000,
};

uint64_t store_now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t mono_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

enum io_source { IO_JOURNAL, IO_SEGMENT, IO_DATABASE, IO_COMPACTION };

/* The log gets what is wrong when it begins, not each time it is met. */
static void tell_io(struct store *s, enum io_source source, enum err e, const struct why *w) {
    unsigned bit = 1u << source;
    if (e && !(s->io_told & bit))
        log_event(EV_STORE_IO, LOG_WHY(w), LOG_END);
    s->io_told = e ? s->io_told | bit : s->io_told & ~bit;
}

/* ---- from records of the journal to ops of the follower ---- */

/* Has it deliveries, or is it a report?  One that cannot be read is told by who applies it. */
static bool routed(str envelope) {
    struct envelope v;
    struct arena a = ARENA(256 * 1024 * 1024);
    bool is = envelope_take(envelope, &a, &v) == OK && (v.delivery_count || v.report_of.n);
    arena_free(&a);
    return is;
}

static struct op *message_op(enum op_kind kind, uint64_t num, str body, const struct journal_record *r, struct why *w) {
    struct record record;
    if (record_take(body, &record) != OK)
        return NULL;
    struct op *o = op_new(kind, record.id.n + record.session.n);
    if (!o) {
        (void)why(w, ERR_NOMEM, "no memory");
        return NULL;
    }
    size_t used = 0;
    o->message = (struct db_message){
        .num = num, .created_ms = record.created_ms, .size = record.size, .place = r->place, .big = record.big};
    o->message.id = op_text(o, &used, record.id);
    o->message.session = op_text(o, &used, record.session);
    if (routed(record.envelope)) {
        buf_add(&o->envelope, record.envelope);
        buf_add(&o->transcript, record.transcript);
        assert(!o->envelope.full && !o->transcript.full);
    }
    return o;
}

static struct op *body_op(enum op_kind kind, str body) {
    struct op *o = op_new(kind, 0);
    if (!o)
        return NULL;
    buf_add(&o->bytes, body);
    assert(!o->bytes.full);
    return o;
}

static struct op *record_op(const struct journal_record *r, struct why *w) {
    struct op *o = NULL;
    str body = r->body;
    uint64_t num = 0;
    switch (r->type) {
    case JOURNAL_START: o = op_new(OP_PASSED, 0); break;
    case JOURNAL_ACCEPTED: o = message_op(OP_ACCEPTED, r->place.seq, body, r, w); break;
    case JOURNAL_GONE: o = body_op(OP_GONE, body); break;
    case JOURNAL_GONE_BELOW:
        o = op_new(OP_GONE_BELOW, 0);
        if (o && !take_u64(&body, &o->num))
            o->kind = OP_PASSED;
        break;
    case JOURNAL_MOVED:
        if (take_u64(&body, &num))
            o = message_op(OP_MOVED, num, body, r, w);
        break;
    case JOURNAL_INTENT: o = body_op(OP_INTENT, body); break;
    case JOURNAL_OUTCOME: o = body_op(OP_OUTCOME, body); break;
    case JOURNAL_ACTED: o = body_op(OP_ACTED, body); break;
    }
    if (o)
        o->after = (struct journal_position){r->place.seq, r->place.epoch, r->place.offset + r->place.length};
    return o;
}

/* ---- opening ---- */

struct replay {
    struct store *s;
    struct note note;
    uint64_t open; /* records in the transaction */
    uint64_t records;
    bool fresh;      /* the database has seen nothing of the journal */
    struct map gone; /* while it is made again */
};

static enum err replay_end(struct replay *p, struct why *w) {
    if (!p->open)
        return OK;
    p->open = 0;
    return db_commit(p->s->db, w);
}

static enum err replay_one(void *arg, const struct journal_record *r, struct why *w) {
    struct replay *p = arg;
    struct op *o = record_op(r, w);
    if (!o)
        return why(w, ERR_VERSION, "record %llu of the journal is of a kind that this Penfold does not know (type %d)",
                   (unsigned long long)r->place.seq, (int)r->type);
    enum err e = p->open ? OK : db_begin(p->s->db, false, w);
    if (!e)
        e = follower_replay(p->s->db, o, &p->note, p->fresh ? &p->gone : NULL, w);
    op_free(o);
    p->records += r->type != JOURNAL_START;
    return e || ++p->open < REPLAY_BATCH ? e : replay_end(p, w);
}

/* A killed server's store may still be ending while the next one starts: freeing a large queue takes a moment. */
static bool take_lock(int fd) {
    const struct timespec step = {.tv_nsec = 10 * 1000 * 1000};
    for (uint64_t until = mono_ms() + LOCK_PATIENCE_MS;; nanosleep(&step, NULL)) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        if (errno != EWOULDBLOCK || mono_ms() >= until)
            return false;
    }
}

static enum err lock(struct store *s, struct why *w) {
    char path[JOURNAL_PATH];
    snprintf(path, sizeof(path), "%s/lock", s->data);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0)
        return disk_error(errno, w, "open", path);
    if (!take_lock(s->lock_fd)) {
        char pid[24] = "";
        ssize_t n = pread(s->lock_fd, pid, sizeof(pid) - 1, 0);
        if (errno != EWOULDBLOCK && n < 0)
            return disk_error(errno, w, "lock", path);
        return why(w, ERR_EXISTS, "another penfold (pid %s) uses %s", n > 0 ? pid : "unknown", s->data);
    }
    spare_make_way(s->disk, s->data, s->journal_dir);
    char pid[24];
    int n = snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    if (ftruncate(s->lock_fd, 0) < 0 || pwrite(s->lock_fd, pid, (size_t)n, 0) != n)
        return disk_error(errno, w, "write", path);
    return OK;
}

static enum err make_directories(struct store *s, struct why *w) {
    enum err e = disk_mkdir(s->disk, s->journal_dir, w);
    if (!e)
        e = disk_mkdir(s->disk, s->big_dir, w);
    return e ? e : disk_sync_dir(s->disk, s->data, w);
}

static void note_segment(void *arg, uint64_t epoch, uint64_t bytes, uint64_t count, uint64_t big_bytes) {
    struct store *s = arg;
    journal_live(s->journal, epoch, (int64_t)bytes, (int64_t)count, 0);
    s->big_bytes += big_bytes;
}

static void stray(void *arg, const char *name) {
    struct store *s = arg;
    char path[JOURNAL_PATH], *end = NULL;
    uint64_t big = strtoull(name, &end, 16);
    bool known = true;
    struct why w;
    if (big > s->big_counter)
        s->big_counter = big;
    if (end != name + 16 || db_big_known(s->db, big, &known, &w) != OK || known)
        return;
    big_path(s, big, path);
    (void)s->disk->ops->unlink(s->disk, path); /* of a message that never was accepted, or is gone */
}

static void tell_recovery(struct store *s, const struct replay *p, const struct journal_recovery *found) {
    if (p->records)
        log_event(EV_STORE_REPLAYED, LOG_NUM("records", p->records), LOG_END);
    if (found->torn_bytes)
        log_event(EV_STORE_TORN, LOG_STR("data", str_of(s->data)), LOG_END);
    if (p->records && p->fresh)
        log_event(EV_STORE_REBUILT, LOG_STR("data", str_of(s->data)), LOG_END);
    if (p->records && p->fresh && found->gaps)
        log_event(EV_STORE_GAPS, LOG_NUM("gaps", found->gaps), LOG_END);
    if (p->note.duplicates)
        log_event(EV_STORE_DUPLICATE, LOG_NUM("messages", p->note.duplicates), LOG_END);
}

/* What was delivered may be told in segments that are gone, or after the backup was made: rather an operator decides
 * than that it is sent twice. */
static enum err hold_all(struct store *s, const char *text, struct why *w) {
    enum err e = db_begin(s->db, true, w);
    if (!e)
        e = db_hold_all(s->db, str_of(text), w);
    return e ? e : db_commit(s->db, w);
}

static enum err hold_doubtful(struct store *s, bool doubtful, struct why *w) {
    enum err e = doubtful ? hold_all(s, "the database was made again: this may have been delivered already", w) : OK;
    return e || !s->options.hold_all ? e : hold_all(s, s->options.hold_all, w);
}

static enum err recover(struct store *s, struct why *w) {
    struct journal_recovery found;
    struct replay p = {.s = s, .fresh = db_state(s->db)->applied.seq == 0, .gone = MAP(s->options.random_seed)};
    list_init(&p.note.marks);
    enum err e = journal_open(&s->journal, s->disk, s->journal_dir, s->options.segment_size, s->options.random_seed,
                              db_state(s->db)->applied, replay_one, &p, &found, w);
    if (!e)
        e = replay_end(&p, w);
    else if (p.open)
        db_rollback(s->db);
    free(p.note.changes);
    map_free(&p.gone);
    if (e)
        return e;
    tell_recovery(s, &p, &found);
    e = hold_doubtful(s, p.records && p.fresh && found.gaps, w);
    if (!e)
        e = db_segments(s->db, note_segment, s, w);
    int r = e ? 0 : s->disk->ops->names(s->disk, s->big_dir, stray, s);
    return r < 0 ? disk_error(r, w, "read the directory", s->big_dir) : e;
}

static struct follower_limits limits_of(const struct store_options *o) {
    /* The bytes of messages lie in segments that are not full and have spares: leave room for that. */
    uint64_t spare = 4 * o->segment_size < o->retain_bytes / 4 ? 4 * o->segment_size : o->retain_bytes / 4;
    return (struct follower_limits){.retain = {.count = o->retain_count, .bytes = o->retain_bytes - spare},
                                    .retain_age_ms = o->retain_age_ms,
                                    .retain_sessions = o->retain_sessions,
                                    .history_age_ms = o->history_age_ms,
                                    .history_count = o->history_count};
}

static void on_note(struct task *t, void *context);

static enum err start_threads(struct store *s, struct why *w) {
    struct follower_limits limits = limits_of(&s->options);
    enum err e = outbox_open(&s->outbox, s, w);
    if (!e)
        e = reader_open(&s->reader, s->db_path, s->disk, s->journal_dir, s->big_dir, w);
    if (!e)
        e = follower_start(&s->follower, s->db, s->disk, s->big_dir, &s->directory, &limits, &s->outbox, on_note, w);
    if (!e)
        e = worker_start(&s->reading, &s->outbox, s->reader, w);
    if (!e)
        e = worker_start(&s->preparing, &s->outbox, s, w);
    if (!e)
        e = worker_start(&s->syncing, &s->outbox, s, w);
    if (!e)
        e = body_open(&s->body, s->disk, s->journal_dir, s->big_dir, w);
    if (!e)
        e = worker_start(&s->bodies, &s->outbox, s->body, w);
    return e;
}

static void want_segment(struct store *s);
static void want_spare(struct store *s);
static void look_at_space(struct store *s);
static uint64_t reserve_now(struct store *s);

/* Behind is better than not open: it is tried again with the first transaction. */
static enum err open_directory(struct store *s, struct why *w) {
    uint64_t rows = 0;
    struct why said;
    enum err e = db_state(s->db)->applied.seq == 0 ? directory_file_recall(&s->directory, s->db, &rows, w) : OK;
    if (rows)
        log_event(EV_STORE_RECALLED, LOG_NUM("entries", rows), LOG_END);
    if (!e)
        tell_io(s, IO_DATABASE, directory_file_make(&s->directory, s->db, &said), &said);
    return e;
}

static enum err try_files(struct store *s, struct why *w) {
    enum err e = db_open(&s->db, s->db_path, DB_WRITE, w);
    if (!e) /* its name too: marks are nowhere else */
        e = disk_sync_dir(s->disk, s->data, w);
    if (e)
        return e;
    db_wal_max(s->db, reserve_now(s) / 2); /* copying it takes room, too */
    e = open_directory(s, w);
    if (!e)
        e = recover(s, w);
    return e || !s->options.directory ? e : db_entries_load(s->db, s->options.directory, w);
}

/* On a full disk with all of the spare, if it takes that. */
static enum err open_files(struct store *s, struct why *w) {
    enum err e;
    while ((e = try_files(s, w)) == ERR_FULL && spare_give_up(s->disk, s->data)) {
        journal_close(s->journal);
        db_close(s->db);
        s->journal = NULL;
        s->db = NULL;
        s->big_bytes = 0;
    }
    return e;
}

enum err store_open(struct store **out, const struct store_options *o, const struct store_ops *ops, void *arg,
                    struct why *w) {
    if (strlen(o->data) >= sizeof(((struct store *)0)->data))
        return why(w, ERR_LIMIT, "%s: this path is too long for a data directory", o->data);
    struct store *s = calloc(1, sizeof(*s));
    if (!s)
        return why(w, ERR_NOMEM, "no memory");
    s->options = *o;
    if (s->options.big_min > o->segment_size / 4)
        s->options.big_min = o->segment_size / 4;
    s->ops = *ops;
    s->arg = arg;
    s->disk = o->disk;
    s->lock_fd = s->outbox.fd = -1;
    s->arena = ARENA(64 * 1024 * 1024);
    list_init(&s->waiting);
    list_init(&s->held);
    list_init(&s->refused);
    snprintf(s->data, sizeof(s->data), "%s", o->data);
    s->options.data = s->data;
    snprintf(s->journal_dir, JOURNAL_PATH, "%s/journal", s->data);
    snprintf(s->big_dir, JOURNAL_PATH, "%s/big", s->data);
    snprintf(s->db_path, JOURNAL_PATH, "%s/penfold.db", s->data);
    directory_file_init(&s->directory, s->disk, s->data);
    mallopt(M_ARENA_MAX, 2);
    enum err e = lock(s, w);
    if (!e)
        e = make_directories(s, w);
    if (!e)
        e = open_files(s, w);
    if (!e) {
        s->applied = *db_state(s->db);
        e = start_threads(s, w);
    }
    if (e) {
        store_close(s);
        return e;
    }
    log_event(EV_STORE_OPEN, LOG_STR("data", str_of(s->data)), LOG_NUM("messages", s->applied.total), LOG_END);
    look_at_space(s);
    want_spare(s);
    want_segment(s);
    *out = s;
    return OK;
}

void store_set_limits(struct store *s, const struct store_options *o) {
    s->options.retain_count = o->retain_count;
    s->options.retain_age_ms = o->retain_age_ms;
    s->options.retain_bytes = o->retain_bytes;
    s->options.retain_sessions = o->retain_sessions;
    s->options.history_age_ms = o->history_age_ms;
    s->options.history_count = o->history_count;
    s->options.disk_reserve = o->disk_reserve;
    s->options.message_max = o->message_max;
    s->options.memory_budget = o->memory_budget;
    s->options.lag_max = o->lag_max;
    struct follower_limits limits = limits_of(&s->options);
    follower_limits(s->follower, &limits);
}

void store_push(struct store *s, struct op *o, const struct journal_place *place) {
    assert(o); /* without memory for what is durable already it is better to end and to recover */
    if (place) {
        o->after = (struct journal_position){place->seq, place->epoch, place->offset + place->length};
        s->last_pushed = place->seq;
    }
    s->behind++;
    follower_push(s->follower, o);
}

/* ---- what is told ---- */

static void tell_state(struct store *s) {
    enum err e = s->disk_state, broken = journal_broken(s->journal);
    if (broken)
        e = e == ERR_FULL || broken == ERR_FULL ? ERR_FULL : ERR_IO;
    if (e == s->state)
        return;
    s->state = e;
    if (e)
        log_event(e == ERR_FULL ? EV_STORE_FULL : EV_STORE_IO, LOG_STR("data", str_of(s->data)), LOG_END);
    else
        log_event(EV_STORE_ROOM, LOG_STR("data", str_of(s->data)), LOG_END);
    s->ops.state(s->arg, e, e == ERR_FULL ? "no space for mail" : e ? "the disk refuses to write" : "");
}

static uint64_t reserve(const struct store_options *o, uint64_t total) {
    const uint64_t gib = 1ull << 30;
    uint64_t part = total / 20 < gib ? total / 20 : gib, message = o->message_max + o->message_max / 2;
    return o->disk_reserve ? o->disk_reserve : part > message ? part : message;
}

static uint64_t reserve_now(struct store *s) {
    uint64_t free_bytes = 0, total = 0;
    int r = s->disk->ops->space(s->disk, s->data, &free_bytes, &total);
    return reserve(&s->options, r < 0 ? 0 : total);
}

static void checkpoint(struct store *s, bool truncate) {
    struct op *o = s->checkpointing ? NULL : op_new(OP_CHECKPOINT, 0);
    if (!o)
        return;
    o->all = truncate;
    s->checkpointing = true;
    store_push(s, o, NULL);
}

/* Below the reserve no segment is kept that holds nothing; and the log of the database goes while there is room for the
 * copy.  A full disk must have a little more than the reserve to be one no longer, or its state changed all the time.
 */
static void look_at_space(struct store *s) {
    uint64_t total = 0, kept = 0, need = 0;
    bool was_full = s->disk_state == ERR_FULL;
    int r;
    do {
        r = s->disk->ops->space(s->disk, s->data, &s->free_bytes, &total);
        kept = reserve(&s->options, total);
        need = kept + (was_full ? LOOK_EVERY : 0);
    } while (r >= 0 && s->free_bytes < need && journal_shrink(s->journal));
    s->since_look = 0;
    s->spare_bytes = spare_size(kept);
    s->exhausted = r >= 0 && s->free_bytes < kept / 2;
    s->room = r >= 0 && s->free_bytes > need ? s->free_bytes - need : 0;
    s->disk_state = r < 0 ? ERR_IO : s->free_bytes < need ? ERR_FULL : OK;
    if (s->disk_state == ERR_FULL && !was_full)
        checkpoint(s, true);
}

void store_came(struct store *s, size_t bytes) {
    s->since_look += bytes;
    if (s->since_look >= LOOK_EVERY)
        look_at_space(s);
}

/* ---- the spare ---- */

static void spare_run(struct task *t, void *context) {
    struct store *s = context;
    struct why w;
    (void)t;
    s->spare_result = spare_make(s->disk, s->data, s->spare_bytes, &w);
}

static void spare_done(struct task *t, void *context) {
    struct store *s = context;
    (void)t;
    s->spare_making = false;
    s->spare = s->spare_result == OK; /* else it is tried again when there is room */
}

static void want_spare(struct store *s) {
    if (s->spare || s->spare_making || s->spare_bytes == 0 || s->room < s->spare_bytes)
        return;
    s->spare_making = true;
    s->room -= s->spare_bytes;
    s->spare_task = (struct task){.run = spare_run, .done = spare_done};
    worker_push(&s->preparing, &s->spare_task);
}

static void give_up_spare(struct store *s) {
    (void)spare_give_up(s->disk, s->data);
    s->spare = false;
}

static void look_at_lag(struct store *s) {
    uint64_t lag = s->behind;
    bool hold = lag > (s->holding ? s->options.lag_max / 2 : s->options.lag_max);
    if (hold == s->holding)
        return;
    s->holding = hold;
    if (hold)
        log_event(EV_STORE_LAG, LOG_NUM("records", lag), LOG_END);
    s->ops.hold(s->arg, hold);
}

/* ---- the next segment ---- */

static void segment_make(struct task *t, void *context) {
    (void)t;
    journal_prepare(&((struct store *)context)->job);
}

static void segment_made(struct task *t, void *context) {
    (void)t;
    struct store *s = context;
    journal_prepared(s->journal, &s->job);
    s->unprepared = s->job.result != OK; /* tried again each second; until then the journal grows files as it writes */
    tell_io(s, IO_SEGMENT, s->job.result, &s->job.why);
}

static void want_segment(struct store *s) {
    if (s->unprepared || !journal_want(s->journal, s->room, &s->job))
        return;
    s->job_task = (struct task){.run = segment_make, .done = segment_made};
    worker_push(&s->preparing, &s->job_task);
}

/* ---- the group ---- */

void store_wait(struct store *s, struct item *i) {
    bool first = list_empty(&s->waiting);
    list_add_tail(&s->waiting, &i->node);
    if (first)
        s->ops.soon(s->arg);
}

static enum err item_add(struct store *s, struct item *i, struct why *w) {
    struct iovec parts[4];
    switch (i->kind) {
    case ITEM_MAIL:
        mail_parts((struct store_mail *)i, parts);
        return journal_add(s->journal, JOURNAL_ACCEPTED, parts, 4, &i->place, w);
    case ITEM_GONE:
        parts[0] = (struct iovec){i->nums.p, i->nums.n};
        return journal_add(s->journal, JOURNAL_GONE, parts, 1, &i->place, w);
    case ITEM_GONE_BELOW:
        parts[0] = (struct iovec){i->num, 8};
        return journal_add(s->journal, JOURNAL_GONE_BELOW, parts, 1, &i->place, w);
    case ITEM_MOVED:
        parts[0] = (struct iovec){i->num, 8};
        parts[1] = (struct iovec){i->body.p, i->body.n};
        return journal_add(s->journal, JOURNAL_MOVED, parts, 2, &i->place, w);
    default: return deliver_add(s, i, w);
    }
}

static void finish_mail(struct store *s, struct item *i, enum err e, const char *text) {
    struct store_mail *m = (struct store_mail *)i;
    if (!e && m->routed)
        deliver_accepted(s, m);
    if (!e)
        store_push(s, mail_op(m), &i->place);
    if (!e && m->captured) {
        struct frame f = {.type = FRAME_CHANGED_NEW};
        f.changed_new = (struct frame_changed_new){i->place.seq, str_n(m->id, ID_SIZE), m->created_ms, m->size,
                                                   str_n(m->session, m->session_n)};
        s->ops.changed(s->arg, &f);
    }
    mail_answer(m, e, text);
}

void store_hold_request(struct store *s, struct request *r, uint64_t seq) {
    r->need_seq = seq;
    r->deadline_ms = mono_ms() + PATIENCE_MS;
    list_add_tail(&s->held, &r->node);
    follower_hurry(s->follower);
}

/* Once it is answered it may be in the reader's hands again: look first. */
void store_answer(struct store *s, struct request *r) {
    bool over = r->done || !r->owner;
    if (r->owner)
        s->ops.answer(s->arg, r);
    if (over)
        request_free(r);
}

static void tell_deleted(struct store *s, str ids) {
    for (; ids.n; ids = str_tail(ids, 2000 * ID_SIZE)) {
        struct frame f = {.type = FRAME_CHANGED_DELETED, .changed_deleted = {str_head(ids, 2000 * ID_SIZE)}};
        s->ops.changed(s->arg, &f);
    }
}

static void finish_gone(struct store *s, struct item *i, enum err e, const char *text) {
    struct request *r = i->request;
    if (!e) {
        struct op *o = op_new(OP_GONE, 0);
        assert(o);
        o->bytes = i->nums;
        o->bytes.limit = 64 * 1024 * 1024;
        i->nums = (struct buf){0};
        store_push(s, o, &i->place);
        log_event(EV_STORE_DELETED, LOG_NUM("messages", r->count), LOG_END);
        tell_deleted(s, buf_str(&r->ids));
        store_hold_request(s, r, i->place.seq);
    } else {
        request_fail(r, e, text);
        store_answer(s, r);
    }
    buf_free(&i->nums);
    free(i);
}

static void finish_gone_below(struct store *s, struct item *i, enum err e, const char *text) {
    struct request *r = i->request;
    if (!e) {
        struct op *o = op_new(OP_GONE_BELOW, 0);
        assert(o);
        o->num = i->number;
        store_push(s, o, &i->place);
        if (r)
            log_event(EV_STORE_DELETED, LOG_NUM("messages", i->count), LOG_END);
        else
            s->retired += i->count; /* with each message in a full store: the log gets the sum of a while */
        struct frame f = {.type = r ? FRAME_CHANGED_TRUNCATED : FRAME_CHANGED_PRUNED};
        if (!r)
            f.changed_pruned.count = i->count;
        s->ops.changed(s->arg, &f);
    }
    if (r && !e)
        store_hold_request(s, r, i->place.seq);
    else if (!r && e) {
        s->retire = i->number;
        s->retire_count = i->count;
    } else if (r) {
        request_fail(r, e, text);
        store_answer(s, r);
    }
    free(i);
}

static void compact_on(struct store *s);

static void finish_moved(struct store *s, struct item *i, enum err e) {
    if (!e) {
        struct op *o = op_new(OP_MOVED, 0);
        assert(o);
        o->message.num = i->number;
        o->message.place = i->place;
        store_push(s, o, &i->place);
        if (s->ops.moved)
            s->ops.moved(s->arg, i->number, &i->place);
    } else
        s->compaction.end = true; /* no room to copy to: another time */
    buf_free(&i->body);
    free(i);
    s->moves_waiting--;
    compact_on(s);
}

/* A deletion that found no space gets the spare: who cannot delete can never help himself. */
static bool try_again(struct store *s, struct item *i, enum err e) {
    struct why w;
    if (e != ERR_FULL || i->again || (i->kind != ITEM_GONE && i->kind != ITEM_GONE_BELOW))
        return false;
    give_up_spare(s);
    if (journal_repair(s->journal, &w) != OK)
        return false;
    i->again = true;
    store_wait(s, i);
    return true;
}

static void item_finish(struct store *s, struct item *i, enum err e, const char *text) {
    if (try_again(s, i, e))
        return;
    switch (i->kind) {
    case ITEM_MAIL: finish_mail(s, i, e, text); break;
    case ITEM_GONE: finish_gone(s, i, e, text); break;
    case ITEM_GONE_BELOW: finish_gone_below(s, i, e, text); break;
    case ITEM_MOVED: finish_moved(s, i, e); break;
    default: deliver_finish(s, i, e, text); break;
    }
}

static void group_end(struct store *s, struct list *group) {
    struct why w = {0};
    enum err e = journal_commit(s->journal, &w);
    if (e || !list_empty(group)) /* nothing written is no sign of health */
        tell_io(s, IO_JOURNAL, e, &w);
    LIST_EACH_SAFE(group, node) {
        list_remove(node);
        item_finish(s, LIST_ENTRY(node, struct item, node), e, w.text);
    }
}

void store_commit(struct store *s) {
    struct list group;
    list_init(&group);
    for (struct list *n; (n = list_first(&s->waiting));) {
        struct why w = {0};
        struct item *i = LIST_ENTRY(n, struct item, node);
        enum err e = item_add(s, i, &w);
        if (e == ERR_MORE) {
            group_end(s, &group);
            continue;
        }
        list_remove(n);
        if (e)
            item_finish(s, i, e, w.text);
        else
            list_add_tail(&group, n);
    }
    group_end(s, &group);
    want_segment(s);
    look_at_lag(s);
    tell_state(s);
}

/* ---- requests ---- */

static void reading_done(struct task *t, void *context) {
    struct request *r = (struct request *)t;
    struct store *s = context;
    s->asking--;
    if (r->type == FRAME_QUEUE_ACT && !r->done) {
        deliver_act(s, r);
        return;
    }
    if (r->type == FRAME_DELETE && !r->done && r->nums.n) {
        struct item *i = calloc(1, sizeof(*i));
        if (!i) {
            request_fail(r, ERR_NOMEM, "no memory");
            store_answer(s, r);
            return;
        }
        i->kind = ITEM_GONE;
        i->request = r;
        i->nums = r->nums;
        r->nums = BUF(0);
        r->stage = 1;
        store_wait(s, i);
        return;
    }
    if (r->type == FRAME_DELETE && !r->done) {
        struct frame f = {.type = FRAME_DONE, .done = {r->tag, 0, r->state.total, r->state.unread}};
        frame_put(&r->out, &f);
        r->done = true;
    }
    store_answer(s, r);
}

static void ask_reader(struct store *s, struct request *r) {
    r->task.done = reading_done;
    s->asking++;
    worker_push(&s->reading, &r->task);
}

static void answer_stats(struct store *s, struct request *r) {
    const struct db_state *d = &s->applied;
    struct frame f = {.type = FRAME_STATS};
    f.stats =
        (struct frame_stats){r->tag,     d->total,    d->unread,         d->bytes,
                             d->deleted, d->accepted, d->accepted_bytes, journal_disk_bytes(s->journal) + s->big_bytes};
    frame_put(&r->out, &f);
    r->done = true;
    store_answer(s, r);
}

static void answer_deleted(struct store *s, struct request *r) {
    struct frame f = {.type = FRAME_DONE, .done = {r->tag, r->count, s->applied.total, s->applied.unread}};
    frame_put(&r->out, &f);
    r->done = true;
    store_answer(s, r);
}

static void put_number(char p[8], uint64_t v) {
    for (int i = 0; i < 8; i++)
        p[i] = (char)(v >> (8 * i));
}

static struct item *gone_below_item(uint64_t number, uint64_t count, struct request *r) {
    struct item *i = calloc(1, sizeof(*i));
    if (!i)
        return NULL;
    i->kind = ITEM_GONE_BELOW;
    i->request = r;
    i->number = number;
    i->count = count;
    put_number(i->num, number);
    return i;
}

static void delete_all(struct store *s, struct request *r) {
    struct item *i = gone_below_item(journal_durable(s->journal), s->applied.total, r);
    if (!i) {
        request_fail(r, ERR_NOMEM, "no memory");
        store_answer(s, r);
        return;
    }
    r->count = s->applied.total;
    r->stage = 1;
    store_wait(s, i);
}

static void mark(struct store *s, struct request *r) {
    struct op *o = op_new(OP_MARK, 0);
    if (!o) {
        request_fail(r, ERR_NOMEM, "no memory");
        store_answer(s, r);
        return;
    }
    o->seen = r->seen;
    o->all = r->all;
    o->bytes = r->ids;
    o->bytes.limit = 64 * 1024 * 1024;
    r->ids = BUF(0);
    o->owner = r;
    s->asking++;
    store_push(s, o, NULL);
}

static void dispatch(struct store *s, struct request *r) {
    if (!r->owner)
        request_free(r);
    else if (r->type == FRAME_STATS_GET)
        answer_stats(s, r);
    else if ((r->type == FRAME_DELETE || r->type == FRAME_QUEUE_ACT) && r->stage == 1)
        answer_deleted(s, r);
    else if (r->type == FRAME_DELETE && r->all)
        delete_all(s, r);
    else
        ask_reader(s, r);
}

void store_request(struct store *s, struct request *r) {
    if (backup_wants(r))
        backup_request(s, r);
    else if (r->type == FRAME_MARK) /* follows what is accepted in the database's own order */
        mark(s, r);
    else if (s->applied.applied.seq >= s->last_pushed)
        dispatch(s, r);
    else
        store_hold_request(s, r, s->last_pushed);
}

void store_request_more(struct store *s, struct request *r) {
    buf_reset(&r->out);
    ask_reader(s, r);
}

static void release_held(struct store *s) {
    uint64_t now = list_empty(&s->held) ? 0 : mono_ms();
    LIST_EACH_SAFE(&s->held, node) {
        struct request *r = LIST_ENTRY(node, struct request, node);
        if (s->applied.applied.seq < r->need_seq && now < r->deadline_ms)
            continue;
        list_remove(node);
        dispatch(s, r);
    }
}

static void tell_stats(struct store *s) {
    uint64_t now = mono_ms();
    if (!s->stats_due || now - s->stats_told_ms < STATS_MS)
        return;
    s->stats_due = false;
    s->stats_told_ms = now;
    struct frame f = {.type = FRAME_CHANGED_STATS, .changed_stats = {s->applied.total, s->applied.unread}};
    s->ops.changed(s->arg, &f);
}

bool store_impatient(const struct store *s) {
    return !list_empty(&s->held) || s->stats_due;
}

void store_moment(struct store *s) {
    release_held(s);
    tell_stats(s);
}

/* ---- news of the follower ---- */

static void tell_seen(struct store *s, const struct op *o) {
    enum { EACH_MAX = 200 };
    if (o->changed > EACH_MAX) {
        struct frame f = {.type = FRAME_CHANGED_PRUNED, .changed_pruned = {0}};
        s->ops.changed(s->arg, &f);
        return;
    }
    for (str ids = buf_str(&o->changed_ids); ids.n >= ID_SIZE; ids = str_tail(ids, ID_SIZE)) {
        struct frame f = {.type = FRAME_CHANGED_SEEN, .changed_seen = {str_head(ids, ID_SIZE), o->seen}};
        s->ops.changed(s->arg, &f);
    }
}

static void marks_done(struct store *s, struct note *n) {
    LIST_EACH(&n->marks, node) {
        struct op *o = LIST_ENTRY(node, struct op, node);
        struct request *r = o->owner;
        if (o->kind == OP_ENTRY) {
            s->ops.entry_done(s->arg, o->owner, o->num);
            continue;
        }
        s->asking--;
        tell_seen(s, o);
        struct frame f = {.type = FRAME_DONE, .done = {r->tag, o->changed, n->state.total, n->state.unread}};
        frame_put(&r->out, &f);
        r->done = true;
        store_answer(s, r);
    }
}

static void retire(struct store *s, uint64_t number, uint64_t count) {
    if (!number)
        return;
    struct item *i = gone_below_item(number, count, NULL);
    assert(i);
    store_wait(s, i);
}

void store_recycle(struct store *s) {
    size_t freed = backup_holds(s) ? 0 : journal_recycle(s->journal, s->checkpointed);
    if (freed)
        log_event(EV_STORE_RECYCLED, LOG_NUM("segments", freed), LOG_END);
}

static void on_note(struct task *t, void *context) {
    struct note *n = (struct note *)t;
    struct store *s = context;
    for (size_t i = 0; i < n->change_count; i++)
        journal_live(s->journal, n->changes[i].epoch, n->changes[i].bytes, n->changes[i].count, n->state.applied.seq);
    s->stats_due |= s->applied.total != n->state.total || s->applied.unread != n->state.unread;
    s->applied = n->state;
    s->behind -= n->ops;
    s->big_bytes = s->big_bytes > n->big_bytes ? s->big_bytes - n->big_bytes : 0;
    if (n->duplicates)
        log_event(EV_STORE_DUPLICATE, LOG_NUM("messages", n->duplicates), LOG_END);
    if (n->checkpoint_tried)
        s->checkpointing = false;
    if (n->checkpointed) {
        s->checkpointed = n->checkpointed;
        store_recycle(s);
    }
    tell_io(s, IO_DATABASE, n->trouble, &n->why);
    if (n->trouble == ERR_FULL)
        give_up_spare(s);
    retire(s, n->retire, n->retire_count);
    marks_done(s, n);
    note_free(n);
}

void store_news(struct store *s) {
    outbox_run(&s->outbox);
    release_held(s);
    tell_stats(s);
    look_at_lag(s);
}

/* ---- compaction ---- */

static void compact_end(struct store *s) {
    struct journal_segment *g = journal_find(s->journal, s->compaction.epoch);
    tell_io(s, IO_COMPACTION, s->compaction.result, &s->compaction.why);
    if (!s->compaction.result) { /* else a record cannot be read: `penfold store check` tells; do not try for ever */
        log_event(EV_STORE_COMPACTED, LOG_NUM("epoch", s->compaction.epoch), LOG_END);
        if (g)
            g->compacting = false;
    }
    s->compacting = false;
    s->compact_after = s->last_pushed; /* before that what is alive is not known anew */
    buf_free(&s->compaction.records);
}

static void moves_read(struct task *t, void *context);

static void compact_on(struct store *s) {
    if (!s->compacting || s->moves_waiting)
        return;
    if (s->compaction.end || s->closing) {
        compact_end(s);
        return;
    }
    s->compaction.task = (struct task){.run = reader_compact, .done = moves_read};
    s->asking++;
    worker_push(&s->reading, &s->compaction.task);
}

static void moves_read(struct task *t, void *context) {
    (void)t;
    struct store *s = context;
    uint64_t number = 0;
    str body;
    s->asking--;
    for (str r = buf_str(&s->compaction.records); take_u64(&r, &number) && take_lstr(&r, &body);) {
        struct item *i = calloc(1, sizeof(*i));
        assert(i);
        i->kind = ITEM_MOVED;
        i->number = number;
        put_number(i->num, number);
        i->body = BUF(body.n);
        buf_add(&i->body, body);
        assert(!i->body.full);
        s->moves_waiting++;
        store_wait(s, i);
    }
    compact_on(s);
}

/* On a full disk less than mostly dead is worth a copy, if there is room for it: it comes back doubled at least. */
static uint64_t compact_max(const struct store *s) {
    uint64_t size = s->options.segment_size;
    if (s->state == OK)
        return size / 4;
    return size / 2 < s->free_bytes / 2 ? size / 2 : s->free_bytes / 2;
}

static void maybe_compact(struct store *s) {
    bool may =
        !s->compacting && !backup_holds(s) && !journal_broken(s->journal) && s->applied.applied.seq >= s->compact_after;
    struct journal_segment *g = may ? journal_mostly_dead(s->journal, s->applied.applied.seq, compact_max(s)) : NULL;
    if (!g)
        return;
    g->compacting = s->compacting = true;
    s->compaction = (struct compaction){.epoch = g->epoch, .records = BUF(s->options.segment_size + 1024 * 1024)};
    compact_on(s);
}

/* ---- each second ---- */

/* On a full disk also for the space that the log of the database takes. */
static void maybe_checkpoint(struct store *s) {
    bool full = s->disk_state == ERR_FULL, free_soon = !backup_holds(s);
    if ((free_soon && journal_recyclable(s->journal, s->applied.applied.seq)) ||
        (full && s->applied.applied.seq > s->checkpointed))
        checkpoint(s, full);
}

/* On a full disk the segment that is written to may be what holds the space: it is left, so that it can be recycled. */
static void maybe_turn(struct store *s) {
    struct journal_segment *g = journal_current(s->journal);
    struct op *o = NULL;
    struct why w;
    if (s->disk_state != ERR_FULL || s->free_bytes < TURN_MIN || s->applied.applied.seq < s->last_pushed ||
        g->end < TURN_MIN || g->live > g->end / 2)
        return;
    if (journal_turn(s->journal, &w) != OK || !(o = op_new(OP_PASSED, 0)))
        return; /* without the op recycling waits for the next record */
    o->after = journal_position(s->journal);
    s->last_pushed = o->after.seq;
    store_push(s, o, NULL);
}

static void tell_retired(struct store *s) {
    enum { EVERY = 10 };
    if (!s->retired || ++s->retired_wait < EVERY)
        return;
    log_event(EV_STORE_RETIRED, LOG_NUM("messages", s->retired), LOG_END);
    s->retired = s->retired_wait = 0;
}

void store_second(struct store *s) {
    struct why w;
    tell_retired(s);
    look_at_space(s);
    backup_second(s);
    enum err e = journal_repair(s->journal, &w);
    if (e)
        tell_io(s, IO_JOURNAL, e, &w);
    s->unprepared = false;
    deliver_again(s);
    want_spare(s);
    want_segment(s);
    uint64_t again = s->retire;
    s->retire = 0;
    retire(s, again, s->retire_count);
    maybe_turn(s);
    maybe_checkpoint(s);
    maybe_compact(s);
    release_held(s);
    tell_stats(s);
    look_at_lag(s);
    tell_state(s);
}

/* ---- the end ---- */

int store_fd(struct store *s) {
    return s->outbox.fd;
}

static void drop_requests(struct list *l) {
    LIST_EACH_SAFE(l, node) {
        list_remove(node);
        request_free(LIST_ENTRY(node, struct request, node));
    }
}

void store_close(struct store *s) {
    if (!s)
        return;
    worker_stop(&s->syncing);
    worker_stop(&s->preparing);
    worker_stop(&s->bodies);
    if (s->reading.running) {
        s->closing = true;
        outbox_run(&s->outbox);
        store_commit(s);
        worker_stop(&s->reading);
        outbox_run(&s->outbox);
        store_commit(s);
    }
    follower_stop(s->follower);
    if (s->outbox.fd >= 0) {
        s->follower = NULL;
        list_init(&s->waiting);
        outbox_run(&s->outbox);
    }
    drop_requests(&s->held);
    outbox_close(&s->outbox);
    reader_close(s->reader);
    body_close(s->body);
    deliver_drop(s);
    db_close(s->db);
    journal_close(s->journal);
    buf_free(&s->compaction.records);
    arena_free(&s->arena);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    free(s);
}

void store_session(struct store *s, const struct db_session *from) {
    struct op *o = op_new(OP_SESSION, from->id.n + from->reason.n + from->info.n + from->transcript.n);
    if (!o)
        return; /* a session's record is worth less than the process */
    size_t used = 0;
    o->session = *from;
    o->session.id = op_text(o, &used, from->id);
    o->session.reason = op_text(o, &used, from->reason);
    o->session.info = op_text(o, &used, from->info);
    o->session.transcript = op_text(o, &used, from->transcript);
    store_push(s, o, NULL);
}

enum err store_entry(struct store *s, void *owner, uint8_t kind, str key, str fields, bool remove) {
    struct op *o = op_new(OP_ENTRY, key.n + fields.n);
    if (!o)
        return ERR_NOMEM;
    size_t used = 0;
    o->entry.kind = kind;
    o->entry.remove = remove;
    o->entry.key = op_text(o, &used, key);
    o->entry.fields = op_text(o, &used, fields);
    o->owner = owner;
    store_push(s, o, NULL);
    return OK;
}

void store_summary(struct store *s, str id, uint32_t attachments, str json) {
    struct op *o = op_new(OP_SUMMARY, id.n + json.n);
    if (!o)
        return;
    size_t used = 0;
    o->message.id = op_text(o, &used, id);
    o->message.summary = op_text(o, &used, json);
    o->message.attachments = attachments;
    store_push(s, o, NULL);
}

struct store_sums store_sums(struct store *s) {
    return (struct store_sums){.journal = journal_position(s->journal),
                               .db = s->applied,
                               .disk_bytes = journal_disk_bytes(s->journal) + s->big_bytes,
                               .memory = s->memory,
                               .segments = journal_segments(s->journal)};
}
