/* The store as its peers see it, on a disk in memory: which frames are answered how, and that no order of them harms.
 */
#include "role/store_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <ftw.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "smtp/envelope.h"
#include "store/file_fault.h"
#include "sys/link.h"
#include "sys/log.h"

enum { PEERS = 4 };

struct peer {
    struct core_link *link; /* NULL: not there */
    struct buf got;         /* frames */
    size_t queued;
    bool paused;
};

struct bench {
    char dir[200];
    struct fault_disk *disk;
    struct store *store;
    struct store_core *core;
    struct peer peers[PEERS];
    unsigned soon;
};

static struct bench bench;

static void on_send(void *peer, const struct frame *f) {
    frame_put(&((struct peer *)peer)->got, f);
}
static size_t on_queued(void *peer) {
    return ((struct peer *)peer)->queued;
}
static void on_pause(void *peer, bool on) {
    ((struct peer *)peer)->paused = on;
}
static void on_soon(void *arg) {
    (void)arg;
    bench.soon++;
}

static void bench_open(uint64_t lag_max) {
    static const struct store_core_ops ops = {on_send, on_queued, on_pause, on_soon};
    struct why w = {0};
    bench = (struct bench){.disk = fault_disk_new(5)};
    snprintf(bench.dir, sizeof(bench.dir), "%s/penfold-core-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(bench.dir));
    struct store_options o = {.data = bench.dir,
                              .disk = fault_disk(bench.disk),
                              .segment_size = 1024 * 1024,
                              .big_min = 100 * 1024,
                              .memory_budget = 8 * 1024 * 1024,
                              .lag_max = lag_max,
                              .message_max = 1024 * 1024,
                              .disk_reserve = 1,
                              .random_seed = 42};
    bench.core = store_core_new(&ops, NULL);
    assert_non_null(bench.core);
    assert_int_equal(store_open(&bench.store, &o, store_core_store_ops(), bench.core, &w), OK);
    store_core_attach(bench.core, bench.store);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static void drop_peer(struct peer *p) {
    if (p->link)
        store_core_unlink(p->link);
    p->link = NULL;
    buf_reset(&p->got);
    p->queued = 0;
    p->paused = false;
}

static void bench_close(void) {
    for (int i = 0; i < PEERS; i++) {
        drop_peer(&bench.peers[i]);
        buf_free(&bench.peers[i].got);
    }
    store_close(bench.store);
    store_core_free(bench.core);
    fault_disk_free(bench.disk);
    assert_int_equal(nftw(bench.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static struct peer *peer(int i, bool brings_mail) {
    struct peer *p = &bench.peers[i];
    p->got.limit = 256u * 1024 * 1024;
    p->link = store_core_link(bench.core, p, brings_mail);
    assert_non_null(p->link);
    return p;
}

static void turn(int wait_ms) {
    struct pollfd p = {store_fd(bench.store), POLLIN, 0};
    store_commit(bench.store);
    if (poll(&p, 1, wait_ms) > 0)
        store_news(bench.store);
    store_moment(bench.store);
}

/* True: taken.  False: this would drop the link. */
static bool give(struct peer *p, struct frame f) {
    return store_core_frame(p->link, &f);
}

static unsigned count_of(struct peer *p, enum frame_type type, struct frame *last) {
    struct frame f;
    unsigned n = 0;
    for (str s = buf_str(&p->got); s.n && frame_take(&s, &f) == OK;)
        if (f.type == type) {
            n++;
            if (last)
                *last = f;
        }
    return n;
}

static void wait_for(struct peer *p, enum frame_type type, unsigned count, struct frame *last) {
    for (int i = 0; i < 1000 && count_of(p, type, last) < count; i++)
        turn(10);
    assert_int_equal(count_of(p, type, last), count);
}

/* ---- frames ---- */

#define BEGIN(n, the_id) ((struct frame){.type = FRAME_MAIL_BEGIN, .mail_begin = {(n), (the_id), 0}})
#define BODY(n, text) ((struct frame){.type = FRAME_MAIL_BODY, .mail_body = {(n), (text)}})
#define ENVELOPE(n, text) ((struct frame){.type = FRAME_MAIL_ENVELOPE, .mail_envelope = {(n), (text)}})
#define COMMIT(n) ((struct frame){.type = FRAME_MAIL_COMMIT, .mail_commit = {(n)}})
#define ABORT(n) ((struct frame){.type = FRAME_MAIL_ABORT, .mail_abort = {(n)}})
#define SESSION(n, the_id) ((struct frame){.type = FRAME_SESSION_BEGIN, .session_begin = {(n), (the_id)}})
#define SESSION_TALK(n, text) ((struct frame){.type = FRAME_SESSION_TRANSCRIPT, .session_transcript = {(n), (text)}})
#define SESSION_END(n) ((struct frame){.type = FRAME_SESSION_END, .session_end = {(n), 9, 0, S("quit")}})
#define LIST(tag) ((struct frame){.type = FRAME_LIST, .list = {(tag), 0, 0, 0}})
#define CANCEL(tag) ((struct frame){.type = FRAME_CANCEL, .cancel = {(tag)}})

static str new_id(void) {
    static char id[ID_SIZE + 1];
    static uint8_t random[16];
    for (int i = 0; i < 16 && !++random[i]; i++)
        ;
    id_encode(random, id);
    return str_n(id, ID_SIZE);
}

static str envelope(void) {
    static char space[500];
    struct envelope v = {.sender = S("a@b")};
    struct buf b = BUF(sizeof(space));
    envelope_put(&b, &v);
    memcpy(space, b.p, b.n);
    str s = str_n(space, b.n);
    buf_free(&b);
    return s;
}

static void give_mail(struct peer *p, uint64_t number, str body) {
    assert_true(give(p, BEGIN(number, new_id())));
    assert_true(give(p, BODY(number, body)));
    assert_true(give(p, ENVELOPE(number, envelope())));
    assert_true(give(p, COMMIT(number)));
}

static uint64_t total(struct peer *reader) {
    struct frame f = {0};
    buf_reset(&reader->got);
    assert_true(give(reader, (struct frame){.type = FRAME_LIST, .list = {77, 0, 1, 0}}));
    wait_for(reader, FRAME_DONE, 1, &f);
    buf_reset(&reader->got);
    return f.done.total;
}

/* ---- mails ---- */

static void a_mail_is_answered_once(void **state) {
    (void)state;
    bench_open(1000);
    struct peer *p = peer(0, true), *reader = peer(1, false);
    struct frame f;
    assert_int_equal(count_of(p, FRAME_STORE_STATE, &f), 1);
    assert_int_equal(f.store_state.err, OK);
    assert_int_equal(count_of(reader, FRAME_STORE_STATE, NULL), 0);
    give_mail(p, 7, S("hello"));
    assert_int_equal(bench.soon, 1);
    assert_int_equal(count_of(p, FRAME_MAIL_DONE, NULL), 0); /* not before it is synced */
    wait_for(p, FRAME_MAIL_DONE, 1, &f);
    assert_int_equal(f.mail_done.mail, 7);
    assert_int_equal(f.mail_done.err, OK);
    give_mail(p, 7, S("the number is free again"));
    wait_for(p, FRAME_MAIL_DONE, 2, &f);
    assert_int_equal(total(reader), 2);
    bench_close();
}

static void numbers_belong_to_their_link(void **state) {
    (void)state;
    bench_open(1000);
    struct peer *a = peer(0, true), *b = peer(1, true), *reader = peer(2, false);
    assert_true(give(a, BEGIN(1, new_id())));
    assert_true(give(b, BEGIN(1, new_id())));
    assert_true(give(a, ABORT(1)));
    assert_true(give(b, BODY(1, S("x"))));
    assert_true(give(b, ENVELOPE(1, envelope())));
    assert_true(give(b, COMMIT(1)));
    wait_for(b, FRAME_MAIL_DONE, 1, NULL);
    assert_int_equal(count_of(a, FRAME_MAIL_DONE, NULL), 0);
    assert_int_equal(total(reader), 1);
    bench_close();
}

static void what_went_wrong_is_answered_at_the_end(void **state) {
    (void)state;
    bench_open(1000);
    struct peer *p = peer(0, true), *reader = peer(1, false);
    struct frame f;
    assert_true(give(p, BEGIN(1, S("no id"))));
    assert_true(give(p, BODY(1, S("x"))));
    assert_true(give(p, COMMIT(1)));
    wait_for(p, FRAME_MAIL_DONE, 1, &f);
    assert_int_equal(f.mail_done.err, ERR_SYNTAX);
    assert_true(give(p, BEGIN(2, new_id())));
    assert_true(give(p, ENVELOPE(2, S("\xff\xff\xff\xff"))));
    assert_true(give(p, COMMIT(2)));
    wait_for(p, FRAME_MAIL_DONE, 2, &f);
    assert_int_equal(f.mail_done.mail, 2);
    assert_int_not_equal(f.mail_done.err, OK);
    char *large = calloc(1, 60000);
    assert_true(give(p, BEGIN(3, new_id())));
    for (int i = 0; i < 25; i++)
        assert_true(give(p, BODY(3, str_n(large, 60000))));
    assert_true(give(p, ENVELOPE(3, envelope())));
    assert_true(give(p, COMMIT(3)));
    free(large);
    wait_for(p, FRAME_MAIL_DONE, 3, &f);
    assert_int_equal(f.mail_done.err, ERR_LIMIT);
    assert_int_equal(total(reader), 0);
    assert_int_equal(store_sums(bench.store).memory, 0);
    bench_close();
}

static void a_link_that_goes(void **state) {
    (void)state;
    bench_open(1000);
    struct peer *p = peer(0, true), *reader = peer(1, false);
    give_mail(p, 1, S("committed: kept, though nobody hears of it"));
    assert_true(give(p, BEGIN(2, new_id())));
    assert_true(give(p, BODY(2, S("half"))));
    drop_peer(p);
    for (int i = 0; i < 20; i++)
        turn(1);
    assert_int_equal(p->got.n, 0);
    assert_int_equal(total(reader), 1);
    assert_int_equal(store_sums(bench.store).memory, 0);
    bench_close();
}

/* ---- frames that nobody of ours sends ---- */

static void odd_frames_drop_the_link(void **state) {
    (void)state;
    bench_open(1000);
    str id = S("0123456789abcdefghijkl");
    struct {
        unsigned count;
        struct frame before[3], odd;
    } rows[] = {
        {0, {{0}}, BODY(1, S("x"))},
        {0, {{0}}, ENVELOPE(1, S("x"))},
        {0, {{0}}, COMMIT(1)},
        {1, {BEGIN(1, new_id())}, BEGIN(1, new_id())},
        {1, {BEGIN(1, new_id())}, COMMIT(2)},
        {2, {BEGIN(1, new_id()), ABORT(1)}, BODY(1, S("x"))},
        {3, {BEGIN(1, new_id()), ENVELOPE(1, envelope()), COMMIT(1)}, COMMIT(1)},
        {3, {BEGIN(1, new_id()), ENVELOPE(1, envelope()), COMMIT(1)}, BODY(1, S("x"))},
        {3, {BEGIN(1, new_id()), ENVELOPE(1, envelope()), COMMIT(1)}, BEGIN(1, new_id())},
        {0, {{0}}, SESSION(1, S("no id"))},
        {0, {{0}}, SESSION(1, S("!!!!!!!!!!!!!!!!!!!!!!"))},
        {1, {SESSION(1, id)}, SESSION(1, id)},
        {1, {SESSION(1, id)}, SESSION_TALK(2, S("x"))},
        {0, {{0}}, SESSION_END(1)},
        {2, {SESSION(1, id), SESSION_END(1)}, SESSION_END(1)},
        {0, {{0}}, {.type = FRAME_MARK, .mark = {1, 1, 0, S("not a multiple of 22")}}},
        {0, {{0}}, {.type = FRAME_DELETE, .delete = {1, 0, S("x")}}},
        {0, {{0}}, {.type = FRAME_DONE}},
        {0, {{0}}, {.type = (enum frame_type)9999}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct peer *p = peer(0, true);
        for (unsigned k = 0; k < rows[i].count; k++)
            assert_true(give(p, rows[i].before[k]));
        if (give(p, rows[i].odd))
            fail_msg("row %zu was taken", i);
        drop_peer(p);
        turn(1);
    }
    bench_close();
}

static void harmless_frames_are_taken(void **state) {
    (void)state;
    bench_open(1000);
    struct peer *p = peer(0, true);
    assert_true(give(p, ABORT(5))); /* it was answered while this was on its way */
    give_mail(p, 1, S("x"));
    assert_true(give(p, ABORT(1))); /* too late */
    wait_for(p, FRAME_MAIL_DONE, 1, NULL);
    assert_true(give(p, CANCEL(99)));
    assert_true(give(p, (struct frame){.type = FRAME_SUMMARY_PUT, .summary_put = {S("no id"), 1, S("{}")}}));
    assert_true(give(p, (struct frame){.type = FRAME_GET, .get = {3, S("much longer than any id of ours could be")}}));
    struct frame f;
    wait_for(p, FRAME_FAILED, 1, &f);
    assert_int_equal(f.failed.err, ERR_NOT_FOUND);
    bench_close();
}

static void open_sessions_are_limited(void **state) {
    (void)state;
    bench_open(1000);
    struct peer *p = peer(0, true);
    str id = S("0123456789abcdefghijkl");
    uint64_t n = 0;
    while (n < 1000000 && give(p, SESSION(n, id)))
        n++;
    assert_int_equal(n, 100000);
    drop_peer(p);
    bench_close();
}

/* ---- answers ---- */

static void fill_mails(struct peer *p, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        give_mail(p, i, S("x"));
    wait_for(p, FRAME_MAIL_DONE, count, NULL);
    buf_reset(&p->got);
}

static void settle_store(void) {
    for (int i = 0; i < 10; i++)
        turn(10);
}

static void a_slow_reader_is_waited_for(void **state) {
    (void)state;
    enum { COUNT = 4000 };
    bench_open(100000);
    struct peer *p = peer(0, true), *reader = peer(1, false);
    struct frame f;
    fill_mails(p, COUNT);
    assert_int_equal(total(reader), COUNT);
    reader->queued = LINK_WINDOW + 1;
    assert_true(give(reader, LIST(1)));
    settle_store();
    unsigned rows = count_of(reader, FRAME_ROW, NULL);
    assert_true(rows > 0 && rows < COUNT); /* one step, then it waits */
    assert_int_equal(count_of(reader, FRAME_DONE, NULL), 0);
    store_core_drained(reader->link);
    settle_store();
    assert_true(count_of(reader, FRAME_ROW, NULL) > rows);
    reader->queued = 0;
    store_core_drained(reader->link);
    wait_for(reader, FRAME_DONE, 1, &f);
    assert_int_equal(f.done.count, COUNT);
    assert_int_equal(count_of(reader, FRAME_ROW, NULL), COUNT);
    bench_close();
}

static void a_cancelled_answer_ends(void **state) {
    (void)state;
    bench_open(100000);
    struct peer *p = peer(0, true), *reader = peer(1, false);
    fill_mails(p, 4000);
    assert_int_equal(total(reader), 4000);
    assert_true(give(reader, LIST(1)));
    assert_true(give(reader, CANCEL(1))); /* in the reader's hands */
    settle_store();
    assert_int_equal(reader->got.n, 0);
    reader->queued = LINK_WINDOW + 1;
    assert_true(give(reader, LIST(2)));
    settle_store();
    assert_true(give(reader, CANCEL(2))); /* waiting for room */
    buf_reset(&reader->got);
    store_core_drained(reader->link);
    settle_store();
    assert_int_equal(reader->got.n, 0);
    assert_true(give(reader, LIST(3)));
    settle_store();
    drop_peer(reader); /* the same, at the end of a link */
    settle_store();
    bench_close();
}

static void news_come_to_those_who_asked(void **state) {
    (void)state;
    bench_open(1000);
    struct peer *p = peer(0, true), *reader = peer(1, false), *deaf = peer(2, false);
    assert_true(give(reader, (struct frame){.type = FRAME_SUBSCRIBE, .subscribe = {1}}));
    give_mail(p, 1, S("x"));
    wait_for(reader, FRAME_CHANGED_NEW, 1, NULL);
    assert_int_equal(count_of(deaf, FRAME_CHANGED_NEW, NULL), 0);
    reader->queued = 100u * 1024 * 1024;
    give_mail(p, 2, S("x"));
    wait_for(p, FRAME_MAIL_DONE, 2, NULL);
    reader->queued = 0;
    give_mail(p, 3, S("x"));
    wait_for(p, FRAME_MAIL_DONE, 3, NULL);
    assert_int_equal(count_of(reader, FRAME_CHANGED_NEW, NULL), 1);
    store_core_drained(reader->link);
    assert_int_equal(count_of(reader, FRAME_CHANGED_PRUNED, NULL), 1); /* "read it again", for both */
    give_mail(p, 4, S("x"));
    wait_for(reader, FRAME_CHANGED_NEW, 2, NULL);
    bench_close();
}

static void the_state_is_told(void **state) {
    (void)state;
    bench_open(1000);
    struct peer *p = peer(0, true);
    struct frame f;
    fault_space(bench.disk, 0);
    store_second(bench.store);
    assert_int_equal(count_of(p, FRAME_STORE_STATE, &f), 2);
    assert_int_equal(f.store_state.err, ERR_FULL);
    struct peer *late = peer(1, true);
    assert_int_equal(count_of(late, FRAME_STORE_STATE, &f), 1);
    assert_int_equal(f.store_state.err, ERR_FULL);
    fault_space(bench.disk, 1ull << 40);
    store_second(bench.store);
    assert_int_equal(count_of(p, FRAME_STORE_STATE, &f), 3);
    assert_int_equal(f.store_state.err, OK);
    bench_close();
}

static void a_lagging_database_holds_those_who_bring_mail(void **state) {
    (void)state;
    bench_open(20);
    struct peer *p = peer(0, true), *reader = peer(1, false);
    for (unsigned i = 0; i < 300; i++)
        give_mail(p, i, S("x"));
    store_commit(bench.store);
    assert_true(p->paused);
    assert_false(reader->paused);
    struct peer *late = peer(2, true);
    assert_true(late->paused);
    for (int i = 0; i < 1000 && (p->paused || late->paused); i++)
        turn(10);
    assert_false(p->paused || late->paused);
    bench_close();
}

/* ---- anything, in any order ---- */

static str some_id(char ids[][ID_SIZE], unsigned count) {
    return rand() % 8 ? str_n(ids[(unsigned)rand() % count], ID_SIZE) : S("latest");
}

static struct frame any_frame(char ids[][ID_SIZE], unsigned count) {
    static char bytes[50000];
    uint64_t n = (uint64_t)rand() % 4;
    uint32_t tag = (uint32_t)rand() % 4;
    str id = some_id(ids, count), one = str_n(ids[(unsigned)rand() % count], ID_SIZE);
    switch (rand() % 22) {
    case 0:
    case 1: return BEGIN(n, one);
    case 2:
    case 3: return BODY(n, str_n(bytes, (size_t)rand() % sizeof(bytes)));
    case 4:
    case 5: return ENVELOPE(n, rand() % 10 ? envelope() : S("x"));
    case 6:
    case 7: return COMMIT(n);
    case 8: return ABORT(n);
    case 9: return SESSION(n, one);
    case 10: return SESSION_TALK(n, str_n(bytes, (size_t)rand() % 1000));
    case 11: return SESSION_END(n);
    case 12: return LIST(tag);
    case 13: return CANCEL(tag);
    case 14: return (struct frame){.type = FRAME_GET, .get = {tag, id}};
    case 15: return (struct frame){.type = FRAME_READ, .read = {tag, id, (uint64_t)rand() % 200000, 60000}};
    case 16: return (struct frame){.type = FRAME_MARK, .mark = {tag, rand() % 2, rand() % 8 == 0, one}};
    case 17: return (struct frame){.type = FRAME_DELETE, .delete = {tag, rand() % 20 == 0, one}};
    case 18: return (struct frame){.type = FRAME_SUMMARY_PUT, .summary_put = {one, 1, S("{}")}};
    case 19: return (struct frame){.type = FRAME_SESSION_GET, .session_get = {tag, one}};
    case 20: return (struct frame){.type = FRAME_SUBSCRIBE, .subscribe = {rand() % 2}};
    default: return (struct frame){.type = FRAME_STATS_GET, .stats_get = {tag}};
    }
}

static void step(char ids[][ID_SIZE], unsigned count) {
    struct peer *p = &bench.peers[rand() % PEERS];
    if (!p->link)
        p = peer((int)(p - bench.peers), rand() % 2);
    struct frame f = any_frame(ids, count);
    if (!store_core_frame(p->link, &f) && rand() % 4 == 0)
        drop_peer(p);
    if (p->link && rand() % 8 == 0) {
        p->queued = rand() % 2 ? 0 : 2 * LINK_WINDOW;
        store_core_drained(p->link);
    }
    if (rand() % 200 == 0)
        drop_peer(p);
    if (rand() % 16 == 0)
        turn(rand() % 2);
    if (rand() % 300 == 0)
        store_second(bench.store);
    if (p->got.n > 8u * 1024 * 1024)
        buf_reset(&p->got);
}

/* The counters say what the rows say. */
static void assert_counted(struct peer *reader) {
    struct frame f;
    uint64_t unread = 0;
    assert_true(give(reader, LIST(5)));
    wait_for(reader, FRAME_DONE, 1, NULL);
    for (str s = buf_str(&reader->got); s.n && frame_take(&s, &f) == OK;)
        unread += f.type == FRAME_ROW && !f.row.seen;
    assert_int_equal(unread, f.done.unread);
    assert_int_equal(count_of(reader, FRAME_ROW, NULL), f.done.total);
}

static void any_order_is_survived(void **state) {
    (void)state;
    enum { IDS = 3000 };
    static char ids[IDS][ID_SIZE];
    for (int i = 0; i < IDS; i++)
        memcpy(ids[i], new_id().p, ID_SIZE);
    srand(11);
    bench_open(200);
    const char *soak = getenv("SOAK");
    int steps = soak && *soak == '1' ? 1000000 : 30000;
    for (int i = 0; i < steps; i++)
        step(ids, IDS);
    for (int i = 0; i < PEERS; i++)
        drop_peer(&bench.peers[i]);
    settle_store();
    assert_int_equal(store_sums(bench.store).memory, 0);
    struct peer *p = peer(0, true), *reader = peer(1, false);
    uint64_t before = total(reader);
    give_mail(p, 1, S("as ever"));
    wait_for(p, FRAME_MAIL_DONE, 1, NULL);
    assert_int_equal(total(reader), before + 1);
    assert_counted(reader);
    bench_close();
}

int main(void) {
    log_setup("test", 0, LOG_TEXT, (enum event_level)(EVENT_ERROR + 1));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mail_is_answered_once),
        cmocka_unit_test(numbers_belong_to_their_link),
        cmocka_unit_test(what_went_wrong_is_answered_at_the_end),
        cmocka_unit_test(a_link_that_goes),
        cmocka_unit_test(odd_frames_drop_the_link),
        cmocka_unit_test(harmless_frames_are_taken),
        cmocka_unit_test(open_sessions_are_limited),
        cmocka_unit_test(a_slow_reader_is_waited_for),
        cmocka_unit_test(a_cancelled_answer_ends),
        cmocka_unit_test(news_come_to_those_who_asked),
        cmocka_unit_test(the_state_is_told),
        cmocka_unit_test(a_lagging_database_holds_those_who_bring_mail),
        cmocka_unit_test(any_order_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
