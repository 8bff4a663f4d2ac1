/* The store as a whole: threads, database, big files; on the system's disk, and on one that fails. */
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "smtp/envelope.h"
#include "store/db_copy.h"
#include "store/file_fault.h"
#include "store/spare.h"
#include "store/store_check.h"
#include "sys/log.h"

enum { MAILS = 6000 };

/* SQLite's syncs are counted: on a fault disk everything else is memory. */
static atomic_uint syncs;
int fdatasync(int fd) {
    syncs++;
    return (int)syscall(SYS_fdatasync, fd);
}

struct mail {
    char id[ID_SIZE + 1];
    uint32_t size, seed;
    bool answered, gone;
    enum err e;
};

struct bench { /* a store, what was given to it, and what it said */
    char dir[200];
    struct store_options o;
    struct store *s;
    struct mail mails[MAILS];
    size_t count;
    enum err state;
    bool held;
    unsigned holds;
    struct buf answer;
    bool done;
    uint64_t pruned, fresh, truncated;
    uint32_t tag;
};

static void on_done(void *arg, void *owner, enum err e, const char *text) {
    struct mail *m = owner;
    (void)arg, (void)text;
    assert_false(m->answered);
    m->answered = true;
    m->e = e;
}
static void on_state(void *arg, enum err e, const char *text) {
    (void)text;
    ((struct bench *)arg)->state = e;
}
static void on_hold(void *arg, bool on) {
    struct bench *b = arg;
    b->held = on;
    b->holds += on;
}
static void on_answer(void *arg, struct request *r) {
    struct bench *b = arg;
    buf_add(&b->answer, buf_str(&r->out));
    b->done = r->done;
    if (!r->done)
        store_request_more(b->s, r);
}
static void on_changed(void *arg, const struct frame *f) {
    struct bench *b = arg;
    b->fresh += f->type == FRAME_CHANGED_NEW;
    b->truncated += f->type == FRAME_CHANGED_TRUNCATED;
    if (f->type == FRAME_CHANGED_PRUNED)
        b->pruned += f->changed_pruned.count;
}
static void on_soon(void *arg) {
    (void)arg;
}
static const struct store_ops ops = {on_done, on_state, on_hold, on_answer, on_changed, on_soon};

static enum err start(struct bench *b, struct why *w) {
    b->s = NULL;
    b->state = OK;
    return store_open(&b->s, &b->o, &ops, b, w);
}

static void restart(struct bench *b) {
    struct why w = {0};
    store_close(b->s);
    enum err e = start(b, &w);
    if (e)
        print_message("%s\n", w.text);
    assert_int_equal(e, OK);
}

static struct bench *bench_make(void) {
    struct bench *b = calloc(1, sizeof(*b));
    snprintf(b->dir, sizeof(b->dir), "%s/penfold-store-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(b->dir));
    b->o = (struct store_options){.data = b->dir,
                                  .disk = disk_system(),
                                  .segment_size = 1024 * 1024,
                                  .big_min = 100 * 1024,
                                  .memory_budget = 64 * 1024 * 1024,
                                  .lag_max = 20000,
                                  .message_max = 50 * 1024 * 1024,
                                  .disk_reserve = 1,
                                  .random_seed = 42};
    b->answer = BUF(512u * 1024 * 1024);
    return b;
}

static struct bench *bench_new(void) {
    struct bench *b = bench_make();
    struct why w = {0};
    assert_int_equal(start(b, &w), OK);
    return b;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static void bench_free(struct bench *b) {
    store_close(b->s);
    buf_free(&b->answer);
    assert_int_equal(nftw(b->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    free(b);
}

/* The first file that matches below the directory. */
static void matching(struct bench *b, const char *pattern, char path[400]) {
    glob_t g;
    snprintf(path, 400, "%s/%s", b->dir, pattern);
    assert_int_equal(glob(path, 0, NULL, &g), 0);
    snprintf(path, 400, "%s", g.gl_pathv[0]);
    globfree(&g);
}

static void fill(char *p, uint32_t seed, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        seed = seed * 1664525 + 1013904223;
        p[i] = (char)(seed >> 24);
    }
}

static void turn(struct bench *b) {
    struct pollfd p = {store_fd(b->s), POLLIN, 0};
    store_commit(b->s);
    if (poll(&p, 1, 20) > 0)
        store_news(b->s);
    store_moment(b->s);
}

static struct store_mail *begin(struct bench *b, uint32_t size, struct mail **out) {
    struct mail *m = &b->mails[b->count++];
    uint8_t random[16];
    for (size_t i = 0; i < 16; i++)
        random[i] = (uint8_t)(rand() >> 4);
    memset(m, 0, sizeof(*m));
    id_encode(random, m->id);
    m->size = size;
    m->seed = (uint32_t)b->count;
    *out = m;
    struct store_mail *s = store_mail_begin(b->s, m, str_n(m->id, ID_SIZE), 0);
    assert_non_null(s);
    struct envelope v = {.sender = S("a@b"), .session = S("SESSIONSESSIONSESSION1"), .received_us = 1700000000000000};
    struct buf e = BUF(1000);
    envelope_put(&e, &v);
    store_mail_envelope(s, buf_str(&e));
    buf_free(&e);
    store_mail_transcript(s, S("C: DATA\n"));
    return s;
}

static struct mail *give(struct bench *b, uint32_t size) {
    struct mail *m;
    struct store_mail *s = begin(b, size, &m);
    char *body = malloc(size + 1);
    fill(body, m->seed, size);
    for (uint32_t at = 0; at < size; at += 50000)
        store_mail_body(s, str_n(body + at, size - at < 50000 ? size - at : 50000));
    free(body);
    store_mail_commit(s);
    return m;
}

static void wait_for(struct bench *b, const struct mail *m) {
    for (int i = 0; i < 1000 && !m->answered; i++)
        turn(b);
    assert_true(m->answered);
}

static struct mail *put(struct bench *b, uint32_t size) {
    struct mail *m = give(b, size);
    wait_for(b, m);
    return m;
}

static void ask(struct bench *b, struct frame *f) {
    struct request *r = request_new(f, b);
    assert_non_null(r);
    buf_reset(&b->answer);
    b->done = false;
    store_request(b->s, r);
    for (int i = 0; i < 1000 && !b->done; i++)
        turn(b);
    assert_true(b->done);
}

static struct frame last_frame(struct bench *b) {
    struct frame f = {0}, last = {0};
    for (str s = buf_str(&b->answer); s.n && frame_take(&s, &f) == OK;)
        last = f;
    return last;
}

static uint64_t list_count(struct bench *b) {
    ask(b, &(struct frame){.type = FRAME_LIST, .list = {.tag = 1}});
    struct frame f = last_frame(b);
    assert_int_equal(f.type, FRAME_DONE);
    uint64_t rows = 0;
    struct frame row;
    for (str s = buf_str(&b->answer); s.n && frame_take(&s, &row) == OK;)
        rows += row.type == FRAME_ROW;
    assert_int_equal(rows, f.done.count);
    assert_int_equal(f.done.count, f.done.total);
    return f.done.count;
}

static enum err fetch(struct bench *b, const char *id, struct buf *out) {
    uint64_t at = 0, size = 1;
    buf_reset(out);
    while (at < size) {
        struct frame q = {.type = FRAME_READ, .read = {2, str_of(id), at, READER_READ_MAX}};
        ask(b, &q);
        struct frame f = last_frame(b);
        if (f.type == FRAME_FAILED)
            return (enum err)f.failed.err;
        assert_int_equal(f.type, FRAME_BYTES);
        size = f.bytes.size;
        if (size == 0)
            return OK;
        assert_true(f.bytes.bytes.n > 0);
        buf_add(out, f.bytes.bytes);
        at += f.bytes.bytes.n;
    }
    return OK;
}

static void assert_there(struct bench *b, const struct mail *m) {
    struct buf got = BUF(100u * 1024 * 1024);
    char *expected = malloc(m->size + 1);
    fill(expected, m->seed, m->size);
    assert_int_equal(fetch(b, m->id, &got), OK);
    assert_int_equal(got.n, m->size);
    assert_memory_equal(got.p ? got.p : "", expected, m->size);
    free(expected);
    buf_free(&got);
}

static void assert_absent(struct bench *b, const struct mail *m) {
    struct buf got = BUF(1024u * 1024);
    assert_int_equal(fetch(b, m->id, &got), ERR_NOT_FOUND);
    buf_free(&got);
}

static char said[8000]; /* by the last check */

static void tell(void *arg, bool fault, const char *line) {
    (void)arg;
    size_t n = strlen(said);
    if (fault)
        snprintf(said + n, sizeof(said) - n, "%s\n", line);
}

static uint64_t check_faults(struct bench *b) { /* closes and opens again */
    struct store_check_result r;
    struct why w = {0};
    said[0] = 0;
    store_close(b->s);
    enum err e = store_check(b->dir, b->o.segment_size, tell, NULL, &r, &w);
    if (e)
        print_message("%s\n", w.text);
    assert_int_equal(e, OK);
    assert_int_equal(start(b, &w), OK);
    return r.faults;
}

/* ---- the ordinary ---- */

static void what_is_accepted_can_be_read(void **state) {
    (void)state;
    struct bench *b = bench_new();
    static const uint32_t sizes[] = {0, 1, 100, 10240, 99999, 102400, 102401, 1048576, 1048577, 3000000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct mail *m = put(b, sizes[i]);
        assert_int_equal(m->e, OK);
        assert_there(b, m);
    }
    assert_int_equal(list_count(b), b->count);
    assert_int_equal(b->fresh, b->count);
    restart(b);
    for (size_t i = 0; i < b->count; i++)
        assert_there(b, &b->mails[i]);
    assert_int_equal(check_faults(b), 0);
    bench_free(b);
}

static void get_tells_all(void **state) {
    (void)state;
    struct bench *b = bench_new();
    struct mail *m = put(b, 500);
    ask(b, &(struct frame){.type = FRAME_GET, .get = {3, S("latest")}});
    struct frame f;
    str s = buf_str(&b->answer);
    assert_int_equal(frame_take(&s, &f), OK);
    assert_int_equal(f.type, FRAME_ROW);
    assert_memory_equal(f.row.id.p, m->id, ID_SIZE);
    assert_int_equal(f.row.created_ms, 1700000000000);
    assert_int_equal(frame_take(&s, &f), OK);
    assert_int_equal(f.type, FRAME_ENVELOPE);
    assert_int_equal(frame_take(&s, &f), OK);
    assert_int_equal(f.type, FRAME_TRANSCRIPT);
    assert_true(str_eq(f.transcript.bytes, S("C: DATA\n")));
    assert_int_equal(last_frame(b).type, FRAME_DONE);
    bench_free(b);
}

static void marks_and_summaries_stay(void **state) {
    (void)state;
    struct bench *b = bench_new();
    for (int i = 0; i < 5; i++)
        put(b, 100);
    ask(b, &(struct frame){.type = FRAME_MARK, .mark = {4, 1, 0, str_n(b->mails[2].id, ID_SIZE)}});
    struct frame f = last_frame(b);
    assert_int_equal(f.done.count, 1);
    assert_int_equal(f.done.unread, 4);
    ask(b, &(struct frame){.type = FRAME_MARK, .mark = {4, 1, 1, STR_NONE}});
    assert_int_equal(last_frame(b).done.unread, 0);
    ask(b, &(struct frame){.type = FRAME_MARK, .mark = {4, 0, 1, STR_NONE}});
    assert_int_equal(last_frame(b).done.unread, 5);
    store_summary(b->s, str_n(b->mails[0].id, ID_SIZE), 3, S("{}"));
    assert_int_equal(check_faults(b), 0);
    ask(b, &(struct frame){.type = FRAME_GET, .get = {3, str_n(b->mails[0].id, ID_SIZE)}});
    str s = buf_str(&b->answer);
    assert_int_equal(frame_take(&s, &f), OK);
    assert_int_equal(f.row.attachments, 3);
    assert_true(str_eq(f.row.summary, S("{}")));
    bench_free(b);
}

/* They live in the database alone: answered is synced.  Messages are in the journal and cost the database none. */
static void marks_are_durable(void **state) {
    (void)state;
    struct bench *b = bench_make();
    struct fault_disk *f = fault_disk_new(4);
    struct why w;
    b->o.disk = fault_disk(f);
    assert_int_equal(start(b, &w), OK);
    put(b, 100);
    list_count(b);
    unsigned before = syncs;
    put(b, 100);
    list_count(b);
    assert_int_equal(syncs, before);
    ask(b, &(struct frame){.type = FRAME_MARK, .mark = {4, 1, 0, str_n(b->mails[0].id, ID_SIZE)}});
    assert_int_equal(last_frame(b).done.count, 1);
    assert_true(syncs > before);
    before = syncs;
    put(b, 100);
    list_count(b);
    assert_int_equal(syncs, before);
    bench_free(b);
    fault_disk_free(f);
}

/* Deleted and marked in one transaction: what is no longer counted is not counted off again. */
static void the_deleted_are_not_marked(void **state) {
    (void)state;
    struct bench *b = bench_make();
    struct why w;
    char path[400];
    struct db *db;
    bool changed = true;
    snprintf(path, sizeof(path), "%s/alone.db", b->dir);
    assert_int_equal(db_open(&db, path, DB_WRITE, &w), OK);
    assert_int_equal(db_begin(db, false, &w), OK);
    struct db_message m = {.num = 5, .id = S("0123456789abcdefghijkl"), .session = STR_NONE};
    m.captured = true;
    m.refs = 1;
    assert_int_equal(db_accept(db, &m, &w), OK);
    assert_int_equal(db_gone_below(db, 5, &w), OK);
    assert_int_equal(db_seen(db, m.id, true, &changed, &w), OK);
    assert_false(changed);
    assert_int_equal(db_state(db)->unread, 0);
    assert_int_equal(db_commit(db, &w), OK);
    db_close(db);
    bench_free(b);
}

static struct mail *put_as(struct bench *b, const char *id) {
    struct mail *m;
    store_mail_abort(begin(b, 3, &m));
    struct store_mail *s = store_mail_begin(b->s, m, str_of(id), 0);
    struct envelope v = {.sender = S("a@b")};
    struct buf e = BUF(1000);
    envelope_put(&e, &v);
    store_mail_envelope(s, buf_str(&e));
    buf_free(&e);
    store_mail_body(s, S("abc"));
    store_mail_commit(s);
    wait_for(b, m);
    return m;
}

/* Its giver's fault: the first message keeps the id, and a person is told. */
static void an_id_is_given_once(void **state) {
    (void)state;
    struct bench *b = bench_new();
    struct mail *first = put(b, 100);
    uint64_t told = log_count(EV_STORE_DUPLICATE);
    put_as(b, first->id);
    assert_int_equal(list_count(b), 1);
    assert_there(b, first);
    assert_int_equal(log_count(EV_STORE_DUPLICATE), told + 1);
    assert_int_equal(check_faults(b), 0);
    bench_free(b);
}

static void sessions_are_kept_with_their_mails(void **state) {
    (void)state;
    struct bench *b = bench_new();
    put(b, 10);
    put(b, 20);
    struct db_session d = {.id = S("SESSIONSESSIONSESSION1"),
                           .reason = S("quit"),
                           .info = S("info"),
                           .transcript = S("C: QUIT\n"),
                           .started_ms = 5,
                           .ended_ms = 6,
                           .messages = 2};
    struct frame q = {.type = FRAME_SESSION_GET, .session_get = {5, d.id}};
    ask(b, &q); /* it lasts still: known by its messages */
    assert_int_equal(last_frame(b).type, FRAME_DONE);
    store_session(b->s, &d);
    struct mail *m = put(b, 1); /* the database is behind the session with this */
    assert_there(b, m);
    ask(b, &q);
    struct frame f;
    struct buf talk = BUF(1000);
    unsigned mails = 0;
    for (str s = buf_str(&b->answer); s.n && frame_take(&s, &f) == OK;) {
        if (f.type == FRAME_SESSION)
            assert_true(str_eq(f.session.reason, S("quit")) && f.session.messages == 2);
        mails += f.type == FRAME_SESSION_MAIL;
        if (f.type == FRAME_TRANSCRIPT)
            buf_add(&talk, f.transcript.bytes);
    }
    assert_int_equal(mails, 3);
    assert_true(str_eq(buf_str(&talk), S("C: DATA\nC: DATA\nC: DATA\nC: QUIT\n")));
    ask(b, &(struct frame){.type = FRAME_SESSION_GET, .session_get = {5, S("SESSIONSESSIONSESSION9")}});
    assert_int_equal(last_frame(b).failed.err, ERR_NOT_FOUND);
    buf_free(&talk);
    bench_free(b);
}

static void an_abort_leaves_nothing(void **state) {
    (void)state;
    struct bench *b = bench_new();
    struct mail *m;
    struct store_mail *s = begin(b, 300000, &m);
    char *body = calloc(1, 300000);
    store_mail_body(s, str_n(body, 300000));
    store_mail_abort(s);
    free(body);
    assert_int_equal(list_count(b), 0);
    assert_int_equal(store_sums(b->s).memory, 0);
    bench_free(b);
}

static void memory_is_bounded(void **state) {
    (void)state;
    struct bench *b = bench_make();
    struct why w;
    b->o.memory_budget = 1024 * 1024;
    assert_int_equal(start(b, &w), OK);
    enum { OPEN = 40, PIECE = 45000 };
    struct store_mail *s[OPEN];
    struct mail *m[OPEN];
    char body[2 * PIECE];
    for (int i = 0; i < OPEN; i++)
        s[i] = begin(b, 2 * PIECE, &m[i]);
    for (int half = 0; half < 2; half++)
        for (int i = 0; i < OPEN; i++) {
            fill(body, m[i]->seed, sizeof(body));
            store_mail_body(s[i], str_n(body + half * PIECE, PIECE));
            assert_true(store_sums(b->s).memory <= b->o.memory_budget + 128 * 1024);
        }
    for (int i = 0; i < OPEN; i++)
        store_mail_commit(s[i]);
    for (int i = 0; i < OPEN; i++) {
        wait_for(b, m[i]);
        assert_there(b, m[i]);
    }
    assert_int_equal(store_sums(b->s).memory, 0);
    bench_free(b);
}

/* ---- deletion, retention, recycling, compaction ---- */

static void deleted_is_gone(void **state) {
    (void)state;
    struct bench *b = bench_new();
    for (int i = 0; i < 20; i++)
        give(b, i % 5 ? 1000 : 150000);
    for (int i = 0; i < 20; i++)
        wait_for(b, &b->mails[i]);
    struct buf ids = BUF(1000);
    for (int i = 0; i < 20; i += 2)
        buf_add(&ids, str_n(b->mails[i].id, ID_SIZE));
    ask(b, &(struct frame){.type = FRAME_DELETE, .delete = {6, 0, buf_str(&ids)}});
    assert_int_equal(last_frame(b).done.count, 10);
    assert_int_equal(list_count(b), 10);
    for (int i = 0; i < 20; i++)
        i % 2 ? assert_there(b, &b->mails[i]) : assert_absent(b, &b->mails[i]);
    assert_int_equal(check_faults(b), 0);
    assert_int_equal(list_count(b), 10);
    ask(b, &(struct frame){.type = FRAME_DELETE, .delete = {6, 1, STR_NONE}});
    assert_int_equal(list_count(b), 0);
    assert_int_equal(b->truncated, 1);
    struct mail *m = put(b, 10);
    assert_int_equal(list_count(b), 1);
    assert_int_equal(check_faults(b), 0);
    assert_there(b, m);
    buf_free(&ids);
    bench_free(b);
}

static void wait_until(struct bench *b, bool (*reached)(struct bench *b)) {
    for (time_t end = time(NULL) + 30; !reached(b) && time(NULL) < end;) {
        store_second(b->s);
        turn(b);
    }
    assert_true(reached(b));
}

static bool one_segment(struct bench *b) {
    return store_sums(b->s).segments <= 2;
}

static void deleted_space_comes_back(void **state) {
    (void)state;
    struct bench *b = bench_new();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 300; i++)
            give(b, 20000);
        wait_for(b, &b->mails[b->count - 1]);
        assert_true(store_sums(b->s).segments >= 5);
        ask(b, &(struct frame){.type = FRAME_DELETE, .delete = {6, 1, STR_NONE}});
        wait_until(b, one_segment);
    }
    assert_int_equal(check_faults(b), 0);
    bench_free(b);
}

/* ---- backups ---- */

static uint64_t hold(struct bench *b, uint32_t seconds) {
    ask(b, &(struct frame){.type = FRAME_BACKUP_HOLD, .backup_hold = {7, seconds}});
    struct frame f;
    str s = buf_str(&b->answer);
    assert_int_equal(frame_take(&s, &f), OK);
    assert_int_equal(f.type, FRAME_BACKUP_HELD);
    assert_true(str_eq(f.backup_held.data, str_of(b->dir)));
    return f.backup_held.hold;
}

static enum err end_hold(struct bench *b, uint64_t id) {
    ask(b, &(struct frame){.type = FRAME_BACKUP_END, .backup_end = {7, id}});
    struct frame f = last_frame(b);
    return f.type == FRAME_FAILED ? (enum err)f.failed.err : OK;
}

static size_t file_count(struct bench *b, const char *pattern) {
    char path[400];
    glob_t g;
    snprintf(path, 400, "%s/%s", b->dir, pattern);
    size_t n = glob(path, 0, NULL, &g) == 0 ? g.gl_pathc : 0;
    globfree(&g);
    return n;
}

static bool no_big_file(struct bench *b) {
    return file_count(b, "big/*") == 0;
}

static void what_a_backup_holds_stays(void **state) {
    (void)state;
    struct bench *b = bench_new();
    for (int i = 0; i < 100; i++)
        put(b, i % 50 ? 20000 : 200000);
    uint64_t first = hold(b, 60), second = hold(b, 60), segments = store_sums(b->s).segments;
    ask(b, &(struct frame){.type = FRAME_DELETE, .delete = {6, 1, STR_NONE}});
    for (int i = 0; i < 100; i++) { /* as long as it takes without them */
        store_second(b->s);
        turn(b);
    }
    assert_int_equal(end_hold(b, first), OK);
    assert_int_equal(end_hold(b, first), ERR_NOT_FOUND);
    for (int i = 0; i < 20; i++) {
        store_second(b->s);
        turn(b);
    }
    assert_true(store_sums(b->s).segments >= segments);
    assert_int_equal(file_count(b, "big/*"), 2);
    assert_int_equal(end_hold(b, second), OK);
    wait_until(b, one_segment);
    wait_until(b, no_big_file);
    assert_int_equal(check_faults(b), 0);
    bench_free(b);
}

static bool hold_lost(struct bench *b) {
    (void)b;
    return log_count(EV_STORE_HOLD_LOST) > 0;
}

/* Whoever does not look any more has gone; then the deleted gives its room back. */
static void a_hold_runs_out(void **state) {
    (void)state;
    struct bench *b = bench_new();
    for (int i = 0; i < 100; i++)
        give(b, 20000);
    wait_for(b, &b->mails[b->count - 1]);
    uint64_t id = hold(b, 1);
    ask(b, &(struct frame){.type = FRAME_DELETE, .delete = {6, 1, STR_NONE}});
    wait_until(b, hold_lost);
    wait_until(b, one_segment);
    ask(b, &(struct frame){.type = FRAME_BACKUP_LOOK, .backup_look = {7, id}});
    assert_int_equal(last_frame(b).failed.err, ERR_NOT_FOUND);
    assert_int_equal(end_hold(b, id), ERR_NOT_FOUND);
    bench_free(b);
}

static void backups_are_few(void **state) {
    (void)state;
    struct bench *b = bench_new();
    for (int i = 0; i < 4; i++)
        hold(b, 60);
    ask(b, &(struct frame){.type = FRAME_BACKUP_HOLD, .backup_hold = {7, 60}});
    assert_int_equal(last_frame(b).failed.err, ERR_EXISTS);
    bench_free(b);
}

/* Mail comes between any two pages of the copy. */
struct copying {
    struct bench *b;
    unsigned steps;
};

static enum err mail_between(void *arg, uint64_t done, uint64_t all, struct why *w) {
    struct copying *c = arg;
    (void)w;
    assert_true(done <= all);
    c->steps++;
    put(c->b, 1000);
    return OK;
}

static void copy_file(const char *from, const char *to, uint64_t bytes) {
    struct why w;
    struct disk *d = disk_system();
    struct buf all = BUF(64 * 1024 * 1024);
    int in = -1, out = -1;
    size_t got = 0;
    assert_int_equal(disk_open(d, from, O_RDONLY, &in, &w), OK);
    assert_int_equal(disk_open(d, to, O_RDWR | O_CREAT | O_EXCL, &out, &w), OK);
    assert_non_null(buf_room(&all, bytes));
    assert_int_equal(disk_read(d, in, all.p, bytes, 0, &got, from, &w), OK);
    struct iovec part = {all.p, got};
    assert_int_equal(disk_write(d, out, &part, 1, 0, to, &w), OK);
    d->ops->close(d, in);
    d->ops->close(d, out);
    buf_free(&all);
}

static void copy_big(struct bench *b, struct bench *to) {
    enum { LARGEST = 1024 * 1024 };
    char path[400], dir[400];
    glob_t g;
    struct why w;
    snprintf(dir, sizeof(dir), "%.300s/big", to->dir);
    assert_int_equal(disk_mkdir(disk_system(), dir, &w), OK);
    snprintf(path, sizeof(path), "%.300s/big/*", b->dir);
    assert_int_equal(glob(path, 0, NULL, &g), 0);
    for (size_t i = 0; i < g.gl_pathc; i++) {
        snprintf(path, sizeof(path), "%.300s%s", dir, strrchr(g.gl_pathv[i], '/'));
        copy_file(g.gl_pathv[i], path, LARGEST);
    }
    globfree(&g);
}

static void copy_segments(struct bench *b, struct bench *to, uint64_t id) {
    struct frame f;
    struct why w;
    char from_path[JOURNAL_PATH], to_path[JOURNAL_PATH], dir[300];
    snprintf(dir, sizeof(dir), "%s/journal", to->dir);
    assert_int_equal(disk_mkdir(disk_system(), dir, &w), OK);
    ask(b, &(struct frame){.type = FRAME_BACKUP_LOOK, .backup_look = {7, id}});
    for (str s = buf_str(&b->answer); s.n && frame_take(&s, &f) == OK;) {
        if (f.type != FRAME_BACKUP_SEGMENT)
            continue;
        snprintf(dir, sizeof(dir), "%s/journal", b->dir);
        journal_path(from_path, dir, f.backup_segment.epoch);
        snprintf(dir, sizeof(dir), "%s/journal", to->dir);
        journal_path(to_path, dir, f.backup_segment.epoch);
        assert_true(f.backup_segment.bytes > 0);
        copy_file(from_path, to_path, f.backup_segment.bytes);
    }
}

/* So that the database is more than one piece. */
static void give_sessions(struct bench *b, int count) {
    enum { TALK = 1000000 };
    char *talk = calloc(1, TALK), id[ID_SIZE + 1];
    for (int i = 0; i < count; i++) {
        snprintf(id, sizeof(id), "SESSION%015d", i);
        struct db_session d = {
            .id = str_of(id), .reason = S("quit"), .info = S("info"), .transcript = str_n(talk, TALK), .messages = 2};
        store_session(b->s, &d);
    }
    free(talk);
    put(b, 1); /* readers wait for it, and so for them */
}

static int64_t count_sessions(struct bench *b) {
    char path[400];
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    snprintf(path, sizeof(path), "%s/penfold.db", b->dir);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM session", -1, &q, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    int64_t count = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    sqlite3_close(db);
    return count;
}

/* Sessions without a message tell what was refused; they are looked at each 200 sessions. */
static void sessions_are_kept_for_a_time(void **state) {
    (void)state;
    struct bench *b = bench_make();
    struct why w = {0};
    struct timespec t;
    char id[ID_SIZE + 1];
    b->o.history_age_ms = 3600 * 1000;
    assert_int_equal(start(b, &w), OK);
    clock_gettime(CLOCK_REALTIME, &t);
    uint64_t now = (uint64_t)t.tv_sec * 1000;
    for (int i = 0; i < 200; i++) {
        snprintf(id, sizeof(id), "SESSION%015d", i);
        struct db_session d = {
            .id = str_of(id), .reason = S("quit"), .ended_ms = i < 150 ? now - 2 * 3600 * 1000 : now};
        store_session(b->s, &d);
    }
    put(b, 1);
    assert_int_equal(list_count(b), 1); /* the reader waited for the sessions, too */
    assert_int_equal(count_sessions(b), 50);
    bench_free(b);
}

/* What store_backup.c says, while mail comes and goes at every step of it. */
static void a_copy_has_all_that_was_accepted_before(void **state) {
    (void)state;
    struct bench *b = bench_new(), *to = bench_make();
    struct why w = {0};
    char from_path[400], to_path[400];
    for (int i = 0; i < 300; i++)
        put(b, i % 50 ? 10000 : 200000);
    give_sessions(b, 20);
    size_t before = b->count;
    list_count(b);
    uint64_t id = hold(b, 60);
    ask(b, &(struct frame){.type = FRAME_DELETE, .delete = {6, 0, str_n(b->mails[0].id, ID_SIZE)}});
    list_count(b);
    struct copying c = {b, 0};
    struct journal_position applied;
    snprintf(from_path, sizeof(from_path), "%s/penfold.db", b->dir);
    snprintf(to_path, sizeof(to_path), "%s/penfold.db", to->dir);
    assert_int_equal(db_copy(from_path, to_path, mail_between, &c, &applied, &w), OK);
    assert_true(c.steps > 2 && applied.seq > 0);
    size_t during = b->count;
    ask(b, &(struct frame){.type = FRAME_DELETE, .delete = {6, 0, str_n(b->mails[1].id, ID_SIZE)}});
    copy_segments(b, to, id);
    put(b, 1000); /* too late */
    ask(b, &(struct frame){.type = FRAME_DELETE, .delete = {6, 1, STR_NONE}});
    for (int i = 0; i < 50; i++) {
        store_second(b->s);
        turn(b);
    }
    copy_big(b, to);
    assert_int_equal(end_hold(b, id), OK);
    assert_int_equal(start(to, &w), OK);
    assert_int_equal(list_count(to), during - 2);
    for (size_t i = 2; i < during; i++)
        assert_there(to, &b->mails[i]);
    assert_true(during > before);
    assert_absent(to, &b->mails[0]);
    assert_absent(to, &b->mails[1]);
    assert_absent(to, &b->mails[during]);
    put(to, 1000);
    assert_int_equal(check_faults(to), 0);
    bench_free(to);
    bench_free(b);
}

static void compaction_keeps_the_living(void **state) {
    (void)state;
    struct bench *b = bench_new();
    for (int i = 0; i < 400; i++)
        give(b, 20000);
    wait_for(b, &b->mails[b->count - 1]);
    assert_true(store_sums(b->s).segments >= 7);
    struct buf ids = BUF(10000);
    for (int i = 0; i < 400; i++)
        if (i % 20)
            buf_add(&ids, str_n(b->mails[i].id, ID_SIZE));
    ask(b, &(struct frame){.type = FRAME_DELETE, .delete = {6, 0, buf_str(&ids)}});
    wait_until(b, one_segment);
    for (int i = 0; i < 400; i += 20)
        assert_there(b, &b->mails[i]);
    assert_int_equal(check_faults(b), 0);
    assert_int_equal(list_count(b), 20);
    for (int i = 0; i < 400; i += 20)
        assert_there(b, &b->mails[i]);
    buf_free(&ids);
    bench_free(b);
}

static bool retired(struct bench *b) {
    return store_sums(b->s).db.total <= 50 && store_sums(b->s).db.applied.seq >= store_sums(b->s).journal.seq;
}

static void the_oldest_give_way(void **state) {
    (void)state;
    struct bench *b = bench_make();
    struct why w;
    b->o.retain_count = 50;
    assert_int_equal(start(b, &w), OK);
    for (int i = 0; i < 200; i++)
        put(b, 100);
    wait_until(b, retired);
    assert_int_equal(list_count(b), 50);
    assert_int_equal(b->pruned, 150);
    assert_absent(b, &b->mails[149]);
    assert_there(b, &b->mails[150]);
    assert_int_equal(check_faults(b), 0);
    bench_free(b);
}

static bool small(struct bench *b) {
    return store_sums(b->s).db.bytes <= 8 * 1024 * 1024;
}

static void bytes_are_bounded(void **state) {
    (void)state;
    struct bench *b = bench_make();
    struct why w;
    b->o.retain_bytes = 8 * 1024 * 1024;
    assert_int_equal(start(b, &w), OK);
    for (int i = 0; i < 100; i++)
        put(b, 200000);
    wait_until(b, small);
    assert_there(b, &b->mails[99]);
    assert_absent(b, &b->mails[0]);
    assert_int_equal(check_faults(b), 0);
    bench_free(b);
}

static bool none(struct bench *b) {
    return store_sums(b->s).db.total == 0;
}

static void the_old_go(void **state) {
    (void)state;
    struct bench *b = bench_make();
    struct why w;
    b->o.retain_age_ms = 1000;
    assert_int_equal(start(b, &w), OK);
    put(b, 100); /* received in 2023 */
    wait_until(b, none);
    bench_free(b);
}

static bool let_go(struct bench *b) {
    return !b->held;
}

static void a_lagging_database_holds_acceptance(void **state) {
    (void)state;
    struct bench *b = bench_make();
    struct why w;
    b->o.lag_max = 50;
    assert_int_equal(start(b, &w), OK);
    for (int i = 0; i < 500; i++)
        give(b, 10);
    store_commit(b->s);
    assert_true(b->holds > 0);
    wait_until(b, let_go);
    bench_free(b);
}

/* ---- bad days ---- */

static void no_space_is_said_before(void **state) {
    (void)state;
    struct bench *b = bench_make();
    struct fault_disk *f = fault_disk_new(3);
    struct why w;
    b->o.disk = fault_disk(f);
    assert_int_equal(start(b, &w), OK);
    fault_space(f, 0);
    store_second(b->s);
    assert_int_equal(b->state, ERR_FULL);
    fault_space(f, 1ull << 40);
    store_second(b->s);
    assert_int_equal(b->state, OK);
    bench_free(b);
    fault_disk_free(f);
}

/* Mail that is on its way stops at half the reserve, and what does not need space still works. */
static void mail_on_its_way_leaves_the_reserve(void **state) {
    (void)state;
    struct bench *b = bench_make();
    struct fault_disk *f = fault_disk_new(3);
    struct why w;
    b->o.disk = fault_disk(f);
    b->o.disk_reserve = 4 * 1024 * 1024;
    fault_space(f, 64 * 1024 * 1024);
    assert_int_equal(start(b, &w), OK);
    assert_int_equal(put(b, 1000)->e, OK);
    fault_space(f, 3 * 1024 * 1024);
    assert_int_equal(put(b, 3000000)->e, OK); /* it was begun before, and looked at on the way: half is left */
    assert_int_equal(b->state, ERR_FULL);
    fault_space(f, 1024 * 1024);
    assert_int_equal(put(b, 3000000)->e, ERR_FULL);
    ask(b, &(struct frame){.type = FRAME_DELETE, .delete = {9, 1, STR_NONE}});
    assert_int_equal(last_frame(b).type, FRAME_DONE);
    assert_int_equal(list_count(b), 0);
    fault_space(f, 64 * 1024 * 1024);
    store_second(b->s);
    assert_int_equal(b->state, OK);
    assert_int_equal(put(b, 3000000)->e, OK);
    bench_free(b);
    fault_disk_free(f);
}

static void spare_comes_and_goes_in_pieces(void **state) {
    (void)state;
    struct fault_disk *f = fault_disk_new(5);
    struct disk *d = fault_disk(f);
    struct why w;
    assert_int_equal(spare_size(0), 0);
    assert_int_equal(spare_size(5000), 4096);
    assert_int_equal(spare_size(1ull << 40), SPARE_MAX);
    assert_false(spare_give_up(d, "/data"));
    for (int round = 0; round < 2; round++) {
        assert_int_equal(spare_make(d, "/data", 2 * SPARE_PIECE + 4096, &w), OK);
        for (int i = 0; i < 3; i++)
            assert_true(spare_give_up(d, "/data"));
        assert_false(spare_give_up(d, "/data"));
    }
    fault_set(f, FAULT_ENOSPC, 10, 1);
    assert_int_equal(spare_make(d, "/data", SPARE_MAX, &w), ERR_FULL);
    assert_false(spare_give_up(d, "/data")); /* half of one is none */
    fault_disk_free(f);
}

static void remove_database(struct bench *b) {
    static const char *const ends[] = {"", "-wal", "-shm"};
    char path[400];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/penfold.db%s", b->dir, ends[i]);
        (void)remove(path);
    }
}

/* Made again from the journal alone, also from the copies that compaction made of what lay in recycled segments. */
static void a_lost_database_is_made_again(void **state) {
    (void)state;
    struct bench *b = bench_new();
    for (int i = 0; i < 400; i++)
        give(b, i == 20 ? 150000 : 20000);
    wait_for(b, &b->mails[b->count - 1]);
    struct buf ids = BUF(10000);
    for (int i = 0; i < 400; i++)
        if (i % 20)
            buf_add(&ids, str_n(b->mails[i].id, ID_SIZE));
    ask(b, &(struct frame){.type = FRAME_DELETE, .delete = {6, 0, buf_str(&ids)}});
    wait_until(b, one_segment);
    ask(b, &(struct frame){.type = FRAME_DELETE, .delete = {6, 0, str_n(b->mails[40].id, ID_SIZE)}});
    uint64_t rebuilt = log_count(EV_STORE_REBUILT), gaps = log_count(EV_STORE_GAPS);
    restart(b);
    assert_int_equal(log_count(EV_STORE_REBUILT), rebuilt);
    struct why w = {0};
    store_close(b->s);
    remove_database(b);
    assert_int_equal(start(b, &w), OK);
    assert_int_equal(log_count(EV_STORE_REBUILT), rebuilt + 1);
    assert_int_equal(log_count(EV_STORE_GAPS), gaps + 1);
    for (int i = 0; i < 400; i += 20)
        if (i != 40)
            assert_there(b, &b->mails[i]);
    assert_absent(b, &b->mails[40]);
    assert_int_equal(list_count(b), 19);
    assert_int_equal(check_faults(b), 0);
    buf_free(&ids);
    bench_free(b);
}

/* The database has no room (the journal, in memory here, has): mail is accepted, and with the next second after there
 * is room everything is shown and answered. */
static void a_refused_transaction_is_tried_again(void **state) {
    (void)state;
    struct bench *b = bench_make();
    struct fault_disk *f = fault_disk_new(4);
    struct why w;
    b->o.disk = fault_disk(f);
    assert_int_equal(start(b, &w), OK);
    put(b, 100);
    assert_int_equal(list_count(b), 1);
    struct rlimit old, none_at_all = {0, 0};
    getrlimit(RLIMIT_FSIZE, &old);
    none_at_all.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &none_at_all);
    uint64_t told = log_count(EV_STORE_IO);
    for (int i = 0; i < 50; i++)
        assert_int_equal(put(b, 100)->e, OK);
    struct request *r =
        request_new(&(struct frame){.type = FRAME_MARK, .mark = {4, 1, 0, str_n(b->mails[7].id, ID_SIZE)}}, b);
    buf_reset(&b->answer);
    b->done = false;
    store_request(b->s, r);
    for (int i = 0; i < 200 && log_count(EV_STORE_IO) == told; i++)
        turn(b);
    assert_int_equal(log_count(EV_STORE_IO), told + 1);
    assert_false(b->done);
    setrlimit(RLIMIT_FSIZE, &old);
    for (int i = 0; i < 200 && !b->done; i++)
        turn(b);
    assert_true(b->done);
    assert_int_equal(last_frame(b).done.count, 1);
    assert_int_equal(last_frame(b).done.unread, 50);
    assert_int_equal(list_count(b), 51);
    for (size_t i = 0; i < b->count; i++)
        assert_there(b, &b->mails[i]);
    bench_free(b);
    fault_disk_free(f);
}

/* Every changing call of small and big mails fails in every way: never OK for what is gone after a power cut, nothing
 * left of a refused one, and service resumes. */
static void one_bad_day(enum fault_kind kind, uint64_t at, uint64_t times) {
    struct bench *b = bench_make();
    struct fault_disk *f = fault_disk_new(at * 7 + kind);
    struct why w = {0};
    b->o.disk = fault_disk(f);
    b->o.segment_size = 256 * 1024;
    b->o.big_min = 20000;
    assert_int_equal(start(b, &w), OK);
    fault_set(f, kind, at, times);
    for (int i = 0; i < 12; i++) {
        give(b, i % 3 == 2 ? 60000 : 15000);
        if (i % 4 == 3)
            for (int k = i - 3; k <= i; k++)
                wait_for(b, &b->mails[k]);
    }
    if (kind != FAULT_POWER) {
        fault_set(f, FAULT_NONE, 1, 0);
        store_second(b->s);
        assert_int_equal(b->state, OK);
        assert_int_equal(put(b, 15000)->e, OK);
        assert_int_equal(put(b, 60000)->e, OK);
        assert_int_equal(put(b, 240000)->e, OK);
    }
    store_close(b->s);
    fault_power_cut(f);
    remove_database(b); /* it did not reach the disk either: everything comes from the journal */
    enum err e = start(b, &w);
    if (e)
        print_message("kind %d at %llu: %s\n", kind, (unsigned long long)at, w.text);
    assert_int_equal(e, OK);
    for (size_t i = 0; i < b->count; i++)
        if (b->mails[i].e == OK)
            assert_there(b, &b->mails[i]);
        else if (kind != FAULT_POWER)
            assert_absent(b, &b->mails[i]);
    bench_free(b);
    fault_disk_free(f);
}

static void every_failing_call(void **state) {
    (void)state;
    const char *soak = getenv("SOAK");
    uint64_t step = soak && *soak == '1' ? 1 : 4;
    for (uint64_t at = 1; at < 60; at += step) {
        one_bad_day(FAULT_EIO, at, 1);
        one_bad_day(FAULT_ENOSPC, at, 3);
        one_bad_day(FAULT_SHORT, at + 1, 2);
        one_bad_day(FAULT_POWER, at + 2, 0);
    }
}

static void *end_soon(void *arg) {
    const struct timespec moment = {.tv_nsec = 100 * 1000 * 1000};
    nanosleep(&moment, NULL);
    close(*(int *)arg);
    return NULL;
}

static void one_that_is_ending_is_waited_for(void **state) {
    (void)state;
    struct bench *b = bench_new();
    struct why w = {0};
    char path[300];
    pthread_t thread;
    store_close(b->s);
    snprintf(path, sizeof(path), "%s/lock", b->dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(pthread_create(&thread, NULL, end_soon, &fd), 0);
    assert_int_equal(store_open(&b->s, &b->o, &ops, b, &w), OK);
    pthread_join(thread, NULL);
    bench_free(b);
}

static void a_second_instance_is_refused(void **state) {
    (void)state;
    struct bench *b = bench_new();
    struct store *other = NULL;
    struct why w = {0};
    assert_int_equal(store_open(&other, &b->o, &ops, b, &w), ERR_EXISTS);
    char expected[300];
    snprintf(expected, sizeof(expected), "another penfold (pid %ld) uses %s", (long)getpid(), b->dir);
    assert_string_equal(w.text, expected);
    struct store_check_result r;
    assert_int_equal(store_check(b->dir, b->o.segment_size, tell, NULL, &r, &w), ERR_EXISTS);
    bench_free(b);
}

static void a_newer_database_is_refused(void **state) {
    (void)state;
    struct bench *b = bench_new();
    struct why w = {0};
    char path[400];
    put(b, 10);
    store_close(b->s);
    snprintf(path, sizeof(path), "%s/penfold.db", b->dir);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=999", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(start(b, &w), ERR_VERSION);
    assert_non_null(strstr(w.text, "newer Penfold"));
    b->s = NULL;
    bench_free(b);
}

static void no_directory_is_said(void **state) {
    (void)state;
    struct bench *b = bench_make();
    struct why w = {0};
    b->o.data = "/proc/self/nothing";
    assert_int_not_equal(start(b, &w), OK);
    assert_non_null(strstr(w.text, "/proc/self/nothing"));
    b->o.data = b->dir;
    b->s = NULL;
    bench_free(b);
}

static void flip(const char *path, long offset) {
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    fseek(file, offset, SEEK_SET);
    int c = fgetc(file);
    fseek(file, offset, SEEK_SET);
    fputc(c ^ 1, file);
    fclose(file);
}

/* A line of the check that begins with this message and ends like this. */
static void assert_said(const struct mail *m, const char *end) {
    char start[100];
    snprintf(start, sizeof(start), "message %s: ", m->id);
    const char *p = strstr(said, start);
    for (; p; p = strstr(p + 1, start)) {
        const char *found = strstr(p, end);
        if (found && found < strchr(p, '\n') + 1)
            return;
    }
    fail_msg("\"%s…%s\" is missing in: %s", start, end, said);
}

static void damage_is_found(void **state) {
    (void)state;
    struct bench *b = bench_new();
    struct mail *small_one = put(b, 1000), *big = put(b, 300000), *fine = put(b, 1000);
    ask(b, &(struct frame){.type = FRAME_LIST, .list = {.tag = 1}});
    char path[400];
    matching(b, "journal/*.log", path);
    flip(path, 64 + 300);
    snprintf(path, sizeof(path), "%s/big/0000000000000001", b->dir);
    flip(path, 250000);
    struct buf got = BUF(1024 * 1024);
    assert_int_equal(fetch(b, small_one->id, &got), ERR_CORRUPT);
    assert_int_equal(fetch(b, big->id, &got), ERR_CORRUPT);
    buf_free(&got);
    assert_there(b, fine);
    assert_int_equal(check_faults(b), 3);
    assert_non_null(strstr(said, "is damaged at offset 64: record 2 had been acknowledged and cannot be read\n"));
    assert_said(small_one, ".log: the record at offset 64 fails its check\n");
    assert_said(big, "/big/0000000000000001 fails its check at offset 0\n");
    assert_null(strstr(said, "store check")); /* whoever reads this is running it */
    assert_there(b, fine);
    bench_free(b);
}

static void sql(struct bench *b, const char *text) {
    char path[400];
    snprintf(path, sizeof(path), "%s/penfold.db", b->dir);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void wrong_references_are_found(void **state) {
    (void)state;
    struct bench *b = bench_new();
    struct mail *big = put(b, 300000), *shorter = put(b, 300000), *other = put(b, 1000), *nowhere = put(b, 1000);
    put(b, 1000);
    list_count(b);
    char path[400], text[400];
    snprintf(path, sizeof(path), "%s/big/0000000000000001", b->dir);
    assert_int_equal(remove(path), 0);
    snprintf(path, sizeof(path), "%s/big/0000000000000002", b->dir);
    assert_int_equal(truncate(path, 299999), 0);
    store_close(b->s);
    b->s = NULL;
    sql(b, "UPDATE state SET unread=7");
    snprintf(text, sizeof(text), "UPDATE message SET size=999 WHERE id='%s'", other->id);
    sql(b, text);
    snprintf(text, sizeof(text), "UPDATE message SET segment=4711 WHERE id='%s'", nowhere->id);
    sql(b, text);
    assert_int_equal(check_faults(b), 7);
    assert_said(big, "/big/0000000000000001 is missing\n");
    assert_said(shorter, "/big/0000000000000002 is not 300000 bytes long\n");
    assert_said(other, " is another one\n");
    assert_said(nowhere, ": its journal segment ");
    assert_non_null(strstr(said, "the counter of unread messages says 7, there are 5\n"));
    assert_non_null(strstr(said, "the counter of bytes says 603000, there are 602999\n"));
    bench_free(b);
}

static void no_store_is_said(void **state) {
    (void)state;
    struct bench *b = bench_make();
    struct store_check_result r;
    struct why w = {0};
    assert_int_equal(store_check(b->dir, b->o.segment_size, tell, NULL, &r, &w), ERR_NOT_FOUND);
    assert_non_null(strstr(w.text, "holds no store of Penfold"));
    bench_free(b);
}

int main(void) {
    log_setup("test", 0, LOG_TEXT, (enum event_level)(EVENT_ERROR + 1)); /* the log of the faults is not the test's */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_accepted_can_be_read),
        cmocka_unit_test(get_tells_all),
        cmocka_unit_test(marks_and_summaries_stay),
        cmocka_unit_test(marks_are_durable),
        cmocka_unit_test(the_deleted_are_not_marked),
        cmocka_unit_test(an_id_is_given_once),
        cmocka_unit_test(sessions_are_kept_with_their_mails),
        cmocka_unit_test(an_abort_leaves_nothing),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(deleted_is_gone),
        cmocka_unit_test(deleted_space_comes_back),
        cmocka_unit_test(what_a_backup_holds_stays),
        cmocka_unit_test(a_hold_runs_out),
        cmocka_unit_test(backups_are_few),
        cmocka_unit_test(a_copy_has_all_that_was_accepted_before),
        cmocka_unit_test(compaction_keeps_the_living),
        cmocka_unit_test(the_oldest_give_way),
        cmocka_unit_test(bytes_are_bounded),
        cmocka_unit_test(the_old_go),
        cmocka_unit_test(a_lagging_database_holds_acceptance),
        cmocka_unit_test(no_space_is_said_before),
        cmocka_unit_test(mail_on_its_way_leaves_the_reserve),
        cmocka_unit_test(spare_comes_and_goes_in_pieces),
        cmocka_unit_test(a_lost_database_is_made_again),
        cmocka_unit_test(sessions_are_kept_for_a_time),
        cmocka_unit_test(a_refused_transaction_is_tried_again),
        cmocka_unit_test(every_failing_call),
        cmocka_unit_test(one_that_is_ending_is_waited_for),
        cmocka_unit_test(a_second_instance_is_refused),
        cmocka_unit_test(a_newer_database_is_refused),
        cmocka_unit_test(no_directory_is_said),
        cmocka_unit_test(damage_is_found),
        cmocka_unit_test(wrong_references_are_found),
        cmocka_unit_test(no_store_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
