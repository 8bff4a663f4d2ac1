#include "store/follower.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store/delivery_rows.h"
#include "store/directory_db.h"
#include "sys/clock.h"

enum {
    BATCH = 5000, /* ops that wait for no more company */
    SWEEP = 250,  /* rows the broom takes with one transaction */
    RETIRE_LOOK = 20000,
    PRUNE_EVERY = 200, /* sessions or stories put between two looks at the old ones */
    RELIEF_MS = 50,    /* after a full disk was given the log of the database, or a piece of the spare */
    RELIEF_MAX = 10,
    RETRY_MS = 1000,
    PACE_MS = 250, /* between two transactions: under load each is larger, and they share the pages they write */
};

struct follower {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct list ops; /* under the lock, as is what follows */
    size_t waiting;  /* of them */
    bool stop, keep;
    bool hurry;    /* somebody waits for what is in ops */
    bool answered; /* among ops is one that somebody waits for and no journal has */
    struct follower_limits limits;

    struct db *db;
    struct disk *disk;
    struct directory_file *directory;
    char big_dir[JOURNAL_PATH];
    struct outbox *outbox;
    void (*on_note)(struct task *t, void *context);
    uint64_t began_ms; /* the last transaction */
    struct chores {
        bool sweeping;
        uint64_t retiring; /* asked for, not yet come back as GONE_BELOW */
        uint64_t prune_cursor, sessions_put, stories_put;
        struct story_prune stories;
    } chores;          /* of transactions that are committed; a refused one leaves no trace here either */
    struct buf doomed; /* u64 names of big files whose rows this transaction deletes */
    struct buf kept;   /* likewise, of those that a backup may still want */
};

struct op *op_new(enum op_kind kind, size_t room) {
    struct op *o = calloc(1, sizeof(*o) + room);
    if (!o)
        return NULL;
    o->kind = kind;
    o->bytes.limit = o->changed_ids.limit = o->envelope.limit = o->transcript.limit = 64 * 1024 * 1024;
    list_init(&o->node);
    return o;
}

str op_text(struct op *o, size_t *used, str s) {
    char *p = o->text + *used;
    if (s.n)
        memcpy(p, s.p, s.n);
    *used += s.n;
    return str_n(p, s.n);
}

void op_free(struct op *o) {
    buf_free(&o->bytes);
    buf_free(&o->changed_ids);
    buf_free(&o->envelope);
    buf_free(&o->transcript);
    free(o);
}

void note_free(struct note *n) {
    LIST_EACH_SAFE(&n->marks, node) {
        list_remove(node);
        op_free(LIST_ENTRY(node, struct op, node));
    }
    free(n->changes);
    free(n);
}

static struct note *note_new(void) {
    struct note *n = calloc(1, sizeof(*n));
    if (n)
        list_init(&n->marks);
    return n;
}

/* ---- what lives where ---- */

static void change(struct note *n, uint64_t epoch, int64_t bytes, int64_t count) {
    for (size_t i = n->change_count; i-- > 0;)
        if (n->changes[i].epoch == epoch) {
            n->changes[i].bytes += bytes;
            n->changes[i].count += count;
            return;
        }
    if (n->change_count == n->change_room) {
        size_t room = n->change_room ? 2 * n->change_room : 8;
        struct live_change *more = realloc(n->changes, room * sizeof(*more));
        assert(more); /* a lost change would recycle what lives: better to end here and recover */
        n->changes = more;
        n->change_room = room;
    }
    n->changes[n->change_count++] = (struct live_change){epoch, bytes, count};
}

struct applying {
    struct db *db;
    struct note *note;
    struct buf *doomed; /* NULL: big files stay (recovery looks for strays anyway) */
    struct map *gone;   /* of follower_replay() */
    struct map intents; /* struct op, by seq: those whose end has not been met in this transaction */
    bool late;          /* intents wait for the end of the transaction: most have theirs in it, and need no row */
};

static void on_freed(void *arg, const struct db_freed *f) {
    struct applying *a = arg;
    change(a->note, f->segment, -(int64_t)f->length, -1);
    if (f->big && a->doomed) {
        buf_u64(a->doomed, f->big);
        a->note->big_bytes += f->size;
    }
}

/* ---- one op ---- */

static enum err accept_one(struct applying *a, struct op *o, struct why *w) {
    if (o->envelope.n)
        return db_accept_routed(a->db, &o->message, buf_str(&o->envelope), buf_str(&o->transcript), o->kind == OP_MOVED,
                                on_freed, a, w);
    o->message.captured = true;
    o->message.refs = 1;
    return db_accept(a->db, &o->message, w);
}

static enum err apply_accepted(struct applying *a, struct op *o, struct why *w) {
    enum err e = accept_one(a, o, w);
    if (e == ERR_EXISTS) { /* the first one keeps it, this one is not alive: whoever gave the ids must know */
        a->note->duplicates++;
        return OK;
    }
    if (!e)
        change(a->note, o->message.place.epoch, (int64_t)o->message.place.length, 1);
    return e;
}

static enum err apply_gone(struct applying *a, struct op *o, struct why *w) {
    uint64_t num = 0;
    enum err e = OK;
    for (str s = buf_str(&o->bytes); !e && take_u64(&s, &num);) {
        e = db_gone(a->db, num, on_freed, a, w);
        if (!e && a->gone && !map_put(a->gone, num, a))
            e = why(w, ERR_NOMEM, "no memory to rebuild the database");
    }
    return e;
}

static enum err apply_moved(struct applying *a, struct op *o, struct why *w) {
    struct journal_place was;
    enum err e = db_moved(a->db, o->message.num, &o->message.place, &was, w);
    bool lost = !was.length && a->gone && o->message.num > db_state(a->db)->gone_below;
    if (!e && lost && !map_get(a->gone, o->message.num))
        return apply_accepted(a, o, w);
    if (!e && was.length) {
        change(a->note, was.epoch, -(int64_t)was.length, -1);
        change(a->note, o->message.place.epoch, (int64_t)o->message.place.length, 1);
    }
    return e;
}

static enum err mark_one(struct applying *a, struct op *o, str id, struct why *w) {
    bool did = false;
    enum err e = db_seen(a->db, id, o->seen, &did, w);
    if (!e && did) {
        o->changed++;
        buf_add(&o->changed_ids, id);
    }
    return e;
}

/* All: in pieces, as this walks the table it changes. */
static enum err mark_all(struct applying *a, struct op *o, struct why *w) {
    struct buf ids = BUF(1000 * ID_SIZE);
    uint64_t at = 0;
    enum err e;
    while (!(e = db_unlike(a->db, o->seen, &at, &ids, w)) && ids.n) {
        for (str s = buf_str(&ids); !e && s.n; s = str_tail(s, ID_SIZE))
            e = mark_one(a, o, str_head(s, ID_SIZE), w);
        buf_reset(&ids);
        if (e)
            break;
    }
    buf_free(&ids);
    return e;
}

static enum err apply_mark(struct applying *a, struct op *o, struct why *w) {
    enum err e = OK;
    o->changed = 0;
    buf_reset(&o->changed_ids);
    if (o->all)
        return mark_all(a, o, w);
    for (str s = buf_str(&o->bytes); !e && s.n >= ID_SIZE; s = str_tail(s, ID_SIZE))
        e = mark_one(a, o, str_head(s, ID_SIZE), w);
    return e;
}

static enum err apply_intent(struct applying *a, struct op *o, struct why *w) {
    if (a->late && map_put(&a->intents, o->after.seq, o))
        return OK;
    return db_intent(a->db, o->after.seq, buf_str(&o->bytes), w);
}

static enum err apply_outcome(struct applying *a, struct op *o, struct why *w) {
    uint64_t intent = 0;
    enum err e = db_outcome(a->db, o->after.seq, buf_str(&o->bytes), &intent, on_freed, a, w);
    if (e || !intent || map_remove(&a->intents, intent))
        return e;
    return db_intent_end(a->db, intent, w);
}

static enum err write_intents(struct applying *a, struct why *w) {
    enum err e = OK;
    size_t at = 0;
    for (struct op *o; !e && (o = map_next(&a->intents, &at));)
        e = db_intent(a->db, o->after.seq, buf_str(&o->bytes), w);
    return e;
}

static enum err apply_entry(struct applying *a, struct op *o, struct why *w) {
    if (o->entry.remove)
        return db_entry_delete(a->db, o->entry.kind, o->entry.key, w);
    return db_entry_put(a->db, o->entry.kind, o->entry.key, o->entry.fields, clock_wall_us() / 1000, &o->num, w);
}

static enum err apply(struct applying *a, struct op *o, struct why *w) {
    enum err e = OK;
    switch (o->kind) {
    case OP_PASSED: break;
    case OP_ACCEPTED: e = apply_accepted(a, o, w); break;
    case OP_GONE: e = apply_gone(a, o, w); break;
    case OP_GONE_BELOW: e = db_gone_below(a->db, o->num, w); break;
    case OP_MOVED: e = apply_moved(a, o, w); break;
    case OP_SESSION: e = db_session_put(a->db, &o->session, w); break;
    case OP_SUMMARY:
        e = db_summary(a->db, o->message.id, (uint32_t)o->message.attachments, o->message.summary, w);
        break;
    case OP_MARK: e = apply_mark(a, o, w); break;
    case OP_CHECKPOINT: break;
    case OP_ENTRY: e = apply_entry(a, o, w); break;
    case OP_INTENT: e = apply_intent(a, o, w); break;
    case OP_OUTCOME: e = apply_outcome(a, o, w); break;
    case OP_ACTED: e = db_acted(a->db, buf_str(&o->bytes), on_freed, a, w); break;
    }
    if (!e && o->after.seq) {
        assert(o->after.seq > db_state(a->db)->applied.seq);
        db_state(a->db)->applied = o->after;
    }
    return e;
}

enum err follower_replay(struct db *db, struct op *o, struct note *n, struct map *gone, struct why *w) {
    struct applying a = {.db = db, .note = n, .gone = gone};
    return apply(&a, o, w);
}

/* ---- one transaction ---- */

struct taken {
    struct list ops;
    struct follower_limits limits;
    bool durable; /* before it is reported */
};

static uint64_t wall_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static enum err retire(struct follower *f, const struct follower_limits *l, struct note *n, struct why *w) {
    struct db_limits limits = l->retain;
    const struct db_state *s = db_state(f->db);
    uint64_t now = wall_ms();
    limits.created_before_ms = l->retain_age_ms && now > l->retain_age_ms ? now - l->retain_age_ms : 0;
    bool over = (limits.count && s->total > limits.count) || (limits.bytes && s->bytes > limits.bytes) ||
                limits.created_before_ms;
    if (!over || f->chores.retiring > s->gone_below)
        return OK;
    enum err e = db_retire(f->db, &limits, RETIRE_LOOK, &n->retire, &n->retire_count, w);
    if (!e && n->retire)
        f->chores.retiring = n->retire;
    return e;
}

static uint64_t history_begins_ms(const struct follower_limits *l) {
    uint64_t now = wall_ms();
    return l->history_age_ms && now > l->history_age_ms ? now - l->history_age_ms : 0;
}

static enum err prune_stories(struct follower *f, const struct follower_limits *l, struct why *w) {
    f->chores.stories.created_before_ms = history_begins_ms(l);
    f->chores.stories.most = l->history_count;
    f->chores.stories.count += f->chores.stories_put;
    f->chores.stories_put = 0;
    return db_story_prune(f->db, &f->chores.stories, w);
}

static enum err housekeeping(struct follower *f, const struct follower_limits *l, struct applying *a, struct why *w) {
    bool clean = false;
    enum err e = OK;
    if (f->chores.sweeping) {
        e = db_sweep(f->db, SWEEP, on_freed, a, &clean, w);
        f->chores.sweeping = !clean;
    }
    if (!e && f->chores.sessions_put >= PRUNE_EVERY) {
        e = db_session_prune(f->db, l->retain_sessions, history_begins_ms(l), &f->chores.prune_cursor, w);
        f->chores.sessions_put = 0;
    }
    if (!e && f->chores.stories_put >= PRUNE_EVERY)
        e = prune_stories(f, l, w);
    return e ? e : retire(f, l, a->note, w);
}

/* Somebody waits for it, and no journal has it. */
static bool is_answered(const struct op *o) {
    return o->kind == OP_MARK || o->kind == OP_ENTRY;
}

static enum err transact(struct follower *f, struct taken *t, struct note *n, struct why *w) {
    struct applying a = {.db = f->db, .note = n, .doomed = &f->doomed, .late = true};
    const struct follower_limits *l = &t->limits;
    struct list *ops = &t->ops;
    struct chores before = f->chores;
    buf_reset(&f->doomed);
    if (list_empty(ops) && !f->chores.sweeping) /* woken by the clock: nothing to write */
        return retire(f, l, n, w);
    enum err e = db_begin(f->db, t->durable, w);
    LIST_EACH(ops, node) {
        if (e)
            break;
        struct op *o = LIST_ENTRY(node, struct op, node);
        e = apply(&a, o, w);
        f->chores.sweeping |= o->kind == OP_GONE_BELOW;
        f->chores.sessions_put += o->kind == OP_SESSION;
        f->chores.stories_put += o->kind == OP_ACCEPTED && o->envelope.n;
    }
    if (!e)
        e = write_intents(&a, w);
    if (!e)
        e = housekeeping(f, l, &a, w);
    if (!e)
        e = db_commit(f->db, w);
    if (e) {
        db_rollback(f->db);
        f->chores = before;
    }
    map_free(&a.intents);
    return e;
}

static void unlink_all(struct follower *f, const struct buf *names) {
    char path[JOURNAL_PATH];
    uint64_t big = 0;
    for (str s = buf_str(names); take_u64(&s, &big);) {
        snprintf(path, sizeof(path), "%.480s/%016llx", f->big_dir, (unsigned long long)big);
        (void)f->disk->ops->unlink(f->disk, path); /* what stays is found as a stray at the next start */
    }
}

static void unlink_doomed(struct follower *f) {
    pthread_mutex_lock(&f->lock);
    bool keep = f->keep;
    pthread_mutex_unlock(&f->lock);
    if (keep) {
        buf_add(&f->kept, buf_str(&f->doomed));
        return;
    }
    unlink_all(f, &f->kept);
    unlink_all(f, &f->doomed);
    buf_reset(&f->kept);
}

static void finish(struct follower *f, struct list *ops, struct note *n) {
    bool checkpoint = false, truncate = false;
    LIST_EACH_SAFE(ops, node) {
        struct op *o = LIST_ENTRY(node, struct op, node);
        list_remove(node);
        n->ops++;
        checkpoint |= o->kind == OP_CHECKPOINT;
        truncate |= o->kind == OP_CHECKPOINT && o->all;
        if (is_answered(o))
            list_add_tail(&n->marks, node);
        else
            op_free(o);
    }
    unlink_doomed(f);
    n->state = *db_state(f->db);
    if (!checkpoint)
        return;
    bool all = false;
    n->checkpoint_tried = true;
    n->trouble = db_checkpoint(f->db, truncate, &all, &n->why);
    if (!n->trouble && all)
        n->checkpointed = n->state.applied.seq;
}

/* The database has them, so they count whatever comes of this; what could not be written is tried again behind each
 * transaction. */
static void second_copy(struct follower *f, struct note *n) {
    struct buf changes = BUF(64 * 1024 * 1024);
    struct why w;
    LIST_EACH(&n->marks, node) {
        const struct op *o = LIST_ENTRY(node, struct op, node);
        if (o->kind == OP_ENTRY)
            directory_file_put(&changes, o->entry.kind, o->entry.key, o->entry.fields, o->num, o->entry.remove);
    }
    f->directory->behind |= changes.full;
    enum err e =
        changes.n || f->directory->behind ? directory_file_add(f->directory, f->db, buf_str(&changes), &w) : OK;
    if (e) {
        n->trouble = e;
        n->why = w;
    }
    buf_wipe(&changes);
}

static void report(struct follower *f, struct note *n) {
    n->task.done = f->on_note;
    outbox_put(f->outbox, &n->task);
}

/* ---- the thread ---- */

/* By the steady clock: whoever sets the other one back would make a wait of a moment one of hours. */
static void wake_init(pthread_cond_t *wake) {
    pthread_condattr_t a;
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(wake, &a);
    pthread_condattr_destroy(&a);
}

static void wait_ms(struct follower *f, uint64_t ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + ms % 1000 * 1000000;
    until.tv_sec += (time_t)(ms / 1000 + ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    pthread_cond_timedwait(&f->wake, &f->lock, &until);
}

/* A message that comes alone is applied at once; in a stream of them the next transaction waits for company, unless
 * somebody waits for it. */
static void pace(struct follower *f) {
    uint64_t now = clock_mono_ms();
    while (now - f->began_ms < PACE_MS && !f->stop && !f->hurry && f->waiting < BATCH) {
        wait_ms(f, PACE_MS - (now - f->began_ms));
        now = clock_mono_ms();
    }
    f->began_ms = now;
}

/* What waits; waits for it, unless there is something to do without. */
static bool take_ops(struct follower *f, struct taken *t) {
    pthread_mutex_lock(&f->lock);
    while (list_empty(&f->ops) && !f->stop && !f->chores.sweeping && !f->limits.retain_age_ms)
        pthread_cond_wait(&f->wake, &f->lock);
    if (list_empty(&f->ops) && !f->stop && !f->chores.sweeping)
        wait_ms(f, 1000); /* the clock alone may make a message too old */
    if (!list_empty(&f->ops))
        pace(f);
    list_move(&t->ops, &f->ops);
    t->durable = f->answered;
    t->limits = f->limits;
    f->waiting = 0;
    f->hurry = f->answered = false;
    bool end = f->stop && list_empty(&t->ops);
    pthread_mutex_unlock(&f->lock);
    return !end;
}

/* False: stopped while the database refuses.  What is not applied will be, at the next start. */
static bool may_try_again(struct follower *f, uint64_t ms) {
    pthread_mutex_lock(&f->lock);
    if (!f->stop)
        wait_ms(f, ms);
    bool again = !f->stop;
    pthread_mutex_unlock(&f->lock);
    return again;
}

static void give_back(struct follower *f, struct list *ops) {
    pthread_mutex_lock(&f->lock);
    list_move(&f->ops, ops);
    pthread_mutex_unlock(&f->lock);
}

/* On a full disk the log of the database is room: copied into it and cut.  Returns how long to wait before the next
 * try; in that time the host may give up its spare. */
static uint64_t relieve(struct follower *f, enum err e, unsigned tries) {
    struct why w;
    bool all = false;
    if (e != ERR_FULL)
        return RETRY_MS;
    e = db_checkpoint(f->db, true, &all, &w);
    (void)e; /* the spare alone may be enough */
    return tries < RELIEF_MAX ? RELIEF_MS : RETRY_MS;
}

static void *follow(void *arg) {
    struct follower *f = arg;
    struct taken t;
    list_init(&t.ops);
    while (take_ops(f, &t)) {
        struct note *n = note_new();
        assert(n);
        struct why w = {0};
        enum err e;
        unsigned tries = 0;
        while ((e = transact(f, &t, n, &w))) {
            n->change_count = n->duplicates = 0;
            n->big_bytes = n->retire = 0;
            n->trouble = e;
            n->why = w;
            n->state = *db_state(f->db);
            report(f, n);
            if (!may_try_again(f, relieve(f, e, tries++))) {
                give_back(f, &t.ops);
                return NULL;
            }
            n = note_new();
            assert(n); /* better to end and to recover than to stand still */
        }
        finish(f, &t.ops, n);
        second_copy(f, n);
        report(f, n);
    }
    return NULL;
}

enum err follower_start(struct follower **out, struct db *db, struct disk *disk, const char *big_dir,
                        struct directory_file *directory, const struct follower_limits *limits, struct outbox *o,
                        void (*on_note)(struct task *t, void *context), struct why *w) {
    struct follower *f = calloc(1, sizeof(*f));
    if (!f)
        return why(w, ERR_NOMEM, "no memory");
    f->db = db;
    f->disk = disk;
    f->directory = directory;
    f->limits = *limits;
    f->outbox = o;
    f->on_note = on_note;
    f->chores.sweeping = db_state(db)->gone_below > 0;
    f->doomed = f->kept = BUF(1024 * 1024 * 16);
    snprintf(f->big_dir, sizeof(f->big_dir), "%s", big_dir);
    list_init(&f->ops);
    pthread_mutex_init(&f->lock, NULL);
    wake_init(&f->wake);
    enum err e = thread_start(&f->thread, follow, f, w);
    if (e)
        free(f);
    else
        *out = f;
    return e;
}

void follower_limits(struct follower *f, const struct follower_limits *limits) {
    pthread_mutex_lock(&f->lock);
    f->limits = *limits;
    pthread_mutex_unlock(&f->lock);
}

void follower_keep(struct follower *f, bool on) {
    pthread_mutex_lock(&f->lock);
    f->keep = on;
    pthread_mutex_unlock(&f->lock);
}

void follower_push(struct follower *f, struct op *o) {
    pthread_mutex_lock(&f->lock);
    bool first = list_empty(&f->ops);
    list_add_tail(&f->ops, &o->node);
    f->waiting++;
    f->answered |= is_answered(o);
    f->hurry |= is_answered(o);
    if (first || f->hurry || f->waiting == BATCH)
        pthread_cond_signal(&f->wake);
    pthread_mutex_unlock(&f->lock);
}

void follower_hurry(struct follower *f) {
    pthread_mutex_lock(&f->lock);
    f->hurry = true;
    pthread_cond_signal(&f->wake);
    pthread_mutex_unlock(&f->lock);
}

void follower_stop(struct follower *f) {
    if (!f)
        return;
    struct why w;
    bool all;
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    pthread_cond_signal(&f->wake);
    pthread_mutex_unlock(&f->lock);
    pthread_join(f->thread, NULL);
    enum err e = db_checkpoint(f->db, true, &all, &w);
    (void)e; /* not done now, it is done at the next start */
    LIST_EACH_SAFE(&f->ops, node) {
        list_remove(node);
        op_free(LIST_ENTRY(node, struct op, node));
    }
    buf_free(&f->doomed);
    buf_free(&f->kept);
    free(f);
}
