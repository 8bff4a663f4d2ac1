/* The queue's host over frames: mail goes in at one link, jobs come out at another; what is told and what is kept.  On
 * a disk in memory, with a clock that the test moves. */
#include "role/store_queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fields.h"
#include "role/store_core.h"
#include "smtp/envelope.h"
#include "store/file_fault.h"
#include "sys/clock.h"
#include "sys/log.h"

enum { PEERS = 4, START_MS = 1700000000 };

struct peer {
    struct core_link *link;
    struct buf got;
    size_t queued;
};

static struct bench {
    char dir[200];
    struct fault_disk *disk;
    struct store *store;
    struct store_core *core;
    struct store_queue *queue;
    struct conf conf;
    struct peer peers[PEERS];
    uint64_t now_ms;
    bool run;
} bench;

static void on_send(void *peer, const struct frame *f) {
    frame_put(&((struct peer *)peer)->got, f);
}
static size_t on_queued(void *peer) {
    return ((struct peer *)peer)->queued;
}
static void on_pause(void *peer, bool on) {
    (void)peer, (void)on;
}
static void on_soon(void *arg) {
    (void)arg;
}
static void on_run_soon(void *arg) {
    (void)arg;
    bench.run = true;
}
static uint64_t on_now(void *arg) {
    (void)arg;
    return bench.now_ms;
}

static void bench_start(void) {
    static const struct store_core_ops ops = {.send = on_send,
                                              .queued = on_queued,
                                              .pause = on_pause,
                                              .soon = on_soon,
                                              .run_soon = on_run_soon,
                                              .now_ms = on_now};
    struct why w = {0};
    struct store_options o = {.data = bench.dir,
                              .disk = fault_disk(bench.disk),
                              .segment_size = 1024 * 1024,
                              .big_min = 100 * 1024,
                              .memory_budget = 8 * 1024 * 1024,
                              .lag_max = 10000,
                              .message_max = 1024 * 1024,
                              .disk_reserve = 1,
                              .history_count = 1000,
                              .random_seed = 42};
    bench.core = store_core_new(&ops, NULL);
    assert_non_null(bench.core);
    bench.queue = store_core_queue(bench.core, &bench.conf, 7);
    assert_non_null(bench.queue);
    enum err e = store_open(&bench.store, &o, store_core_store_ops(), bench.core, &w);
    if (e)
        print_message("%s\n", w.text);
    assert_int_equal(e, OK);
    store_core_attach(bench.core, bench.store);
    assert_int_equal(store_queue_open(bench.queue, bench.store, &w), OK);
    bench.run = true;
}

static void bench_open(const char *settings) {
    struct conf_errors errors = {0};
    bench = (struct bench){.disk = fault_disk_new(5), .now_ms = START_MS};
    snprintf(bench.dir, sizeof(bench.dir), "%s/penfold-queue-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(bench.dir));
    conf_defaults(&bench.conf);
    enum err e = conf_read(str_of(settings), "test", &bench.conf, &errors);
    assert_int_equal(e, OK);
    conf_errors_free(&errors);
    bench_start();
}

static void drop_peer(struct peer *p) {
    if (p->link)
        store_core_unlink(p->link);
    p->link = NULL;
    buf_reset(&p->got);
    p->queued = 0;
}

static void bench_stop(void) {
    for (int i = 0; i < PEERS; i++)
        drop_peer(&bench.peers[i]);
    store_close(bench.store);
    store_core_free(bench.core);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static void bench_close(void) {
    bench_stop();
    for (int i = 0; i < PEERS; i++)
        buf_free(&bench.peers[i].got);
    fault_disk_free(bench.disk);
    conf_free(&bench.conf);
    assert_int_equal(nftw(bench.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static struct peer *peer(int i, enum role role) {
    struct peer *p = &bench.peers[i];
    p->got.limit = 256u * 1024 * 1024;
    p->link = store_core_link(bench.core, p, role == ROLE_SMTPD);
    assert_non_null(p->link);
    if (role != ROLE_HTTPD)
        assert_true(store_core_worker(p->link, role));
    return p;
}

static void turn(int wait_ms) {
    struct pollfd p = {store_fd(bench.store), POLLIN, 0};
    if (bench.run || store_queue_deadline(bench.queue) <= bench.now_ms) {
        bench.run = false;
        store_queue_run(bench.queue);
    }
    store_commit(bench.store);
    if (poll(&p, 1, wait_ms) > 0)
        store_news(bench.store);
    store_moment(bench.store);
}

static void settle(void) {
    for (int i = 0; i < 15; i++)
        turn(3);
}

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

static struct frame wait_for(struct peer *p, enum frame_type type, unsigned count) {
    struct frame last = {0};
    for (int i = 0; i < 500 && count_of(p, type, &last) < count; i++)
        turn(5);
    if (count_of(p, type, &last) != count)
        fail_msg("%s: %u, not %u", frame_name(type), count_of(p, type, &last), count);
    return last;
}

/* ---- mail ---- */

static char last_id[ID_SIZE + 1];

static str new_id(void) {
    static uint8_t random[16];
    for (int i = 0; i < 16 && !++random[i]; i++)
        ;
    id_encode(random, last_id);
    return str_n(last_id, ID_SIZE);
}

struct sent {
    const char *sender, *params; /* of every recipient */
    enum job_kind kinds[8];
    const char *targets[8];
    size_t count;
    uint64_t body; /* bytes */
    str report_of, report_rcpts;
    enum job_outcome report_kind;
    uint64_t hold_ms, by_ms;
};

static void put_envelope(struct buf *out, const struct sent *m) {
    struct envelope_rcpt rcpts[8];
    struct envelope_delivery deliveries[8];
    struct envelope v = {.sender = str_of(m->sender),
                         .received_us = bench.now_ms * 1000,
                         .rcpts = rcpts,
                         .deliveries = deliveries,
                         .rcpt_count = m->count,
                         .delivery_count = m->count,
                         .report_of = m->report_of,
                         .report_rcpts = m->report_rcpts,
                         .report_kind = m->report_kind,
                         .hold_until_us = m->hold_ms ? (bench.now_ms + m->hold_ms) * 1000 : 0,
                         .deliver_by_us = m->by_ms ? (bench.now_ms + m->by_ms) * 1000 : 0,
                         .deliver_by_mode = m->by_ms ? 2 : 0};
    static const char *const addresses[] = {"a@x.test", "b@x.test", "c@x.test", "d@x.test",
                                            "e@x.test", "f@x.test", "g@x.test", "h@x.test"};
    for (size_t i = 0; i < m->count; i++) {
        rcpts[i] = (struct envelope_rcpt){str_of(addresses[i]), str_of(m->params ? m->params : "")};
        deliveries[i] = (struct envelope_delivery){
            .rcpt = (uint32_t)i, .kind = m->kinds[i], .address = str_of(addresses[i]), .target = str_of(m->targets[i])};
    }
    envelope_put(out, &v);
}

static void put_mail(struct peer *p, uint64_t number, const struct sent *m) {
    struct buf e = BUF(60000);
    put_envelope(&e, m);
    assert_true(give(p, (struct frame){.type = FRAME_MAIL_BEGIN, .mail_begin = {number, new_id(), 0}}));
    assert_true(give(p, (struct frame){.type = FRAME_MAIL_ENVELOPE, .mail_envelope = {number, buf_str(&e)}}));
    char *body = malloc(m->body + 1);
    memset(body, 'x', m->body);
    FRAME_CHUNKS(str_n(body, m->body), piece)
    assert_true(give(p, (struct frame){.type = FRAME_MAIL_BODY, .mail_body = {number, piece}}));
    assert_true(give(p, (struct frame){.type = FRAME_MAIL_COMMIT, .mail_commit = {number}}));
    free(body);
    buf_free(&e);
}

static void mail(struct peer *p, uint64_t number, const struct sent *m) {
    put_mail(p, number, m);
    unsigned before = count_of(p, FRAME_MAIL_DONE, NULL);
    struct frame f = wait_for(p, FRAME_MAIL_DONE, before + 1);
    assert_int_equal(f.mail_done.err, OK);
}

static const struct sent relayed = {
    .sender = "s@y.test", .kinds = {JOB_RELAY}, .targets = {"x.test"}, .count = 1, .body = 5000};

/* ---- a worker ---- */

static void tell_site(struct peer *k) {
    struct frame f = wait_for(k, FRAME_SITE_ASK, 1);
    assert_true(str_eq(f.site_ask.domain, S("x.test")));
    assert_true(give(k, (struct frame){.type = FRAME_SITE_TOLD,
                                       .site_told = {f.site_ask.tag, OK, 0, S("mx.x.test"), STR_NONE, 3600}}));
}

static uint64_t wait_job(struct peer *k, unsigned count) {
    return wait_for(k, FRAME_JOB, count).job.job;
}

static void intent(struct peer *k, uint64_t job) {
    unsigned before = count_of(k, FRAME_JOB_GO, NULL);
    assert_true(give(k, (struct frame){.type = FRAME_JOB_INTENT, .job_intent = {job}}));
    assert_int_equal(count_of(k, FRAME_JOB_GO, NULL), before); /* not before it is synced */
    assert_int_equal(wait_for(k, FRAME_JOB_GO, before + 1).job_go.job, job);
}

static void result(struct peer *k, uint64_t job, uint32_t index, enum job_outcome outcome) {
    uint32_t code = outcome == JOB_DELIVERED ? 250 : outcome == JOB_FAILED ? 550 : 450;
    assert_true(give(k, (struct frame){.type = FRAME_JOB_RESULT,
                                       .job_result = {job, index, (uint8_t)outcome, code, S("so said the server")}}));
}

static void done(struct peer *k, uint64_t job, enum job_trouble trouble) {
    struct frame f = {.type = FRAME_JOB_DONE};
    f.job_done = (struct frame_job_done){.job = job,
                                         .trouble = (uint8_t)trouble,
                                         .host = S("mx.x.test"),
                                         .address = S("192.0.2.1"),
                                         .started_us = bench.now_ms * 1000,
                                         .ended_us = bench.now_ms * 1000 + 5};
    assert_true(give(k, (struct frame){.type = FRAME_JOB_TRANSCRIPT, .job_transcript = {job, S("S: 220\n")}}));
    assert_true(give(k, f));
}

/* ---- what is kept ---- */

struct rows {
    unsigned rows, attempts, transcripts;
    uint8_t states[8], outcomes[8];
};

/* OK, or why not; the answers to other questions may come meanwhile. */
static bool answered(struct peer *reader, uint32_t tag, enum err *e) {
    struct frame f;
    for (str s = buf_str(&reader->got); s.n && frame_take(&s, &f) == OK;) {
        *e = f.type == FRAME_FAILED ? (enum err)f.failed.err : OK;
        if ((f.type == FRAME_FAILED && f.failed.tag == tag) || (f.type == FRAME_DONE && f.done.tag == tag))
            return true;
    }
    return false;
}

static enum err ask_story(struct peer *reader, const char *id) {
    enum err e = OK;
    buf_reset(&reader->got);
    assert_true(give(reader, (struct frame){.type = FRAME_STORY, .story = {9, str_of(id)}}));
    for (int i = 0; i < 500 && !answered(reader, 9, &e); i++)
        turn(5);
    assert_true(answered(reader, 9, &e));
    return e;
}

static struct rows story(struct peer *reader, const char *id) {
    struct rows r = {0};
    struct frame f;
    assert_int_equal(ask_story(reader, id), OK);
    for (str s = buf_str(&reader->got); s.n && frame_take(&s, &f) == OK;) {
        if (f.type == FRAME_QUEUE_ROW && f.queue_row.index < 8) {
            r.rows++;
            r.states[f.queue_row.index] = f.queue_row.state;
        }
        if (f.type == FRAME_ATTEMPT && f.attempt.index < 8) {
            r.attempts++;
            r.outcomes[f.attempt.index] = f.attempt.outcome;
            r.transcripts += f.attempt.transcript.n > 0;
        }
    }
    return r;
}

static uint64_t queued(struct peer *reader) {
    struct frame f;
    buf_reset(&reader->got);
    assert_true(give(reader, (struct frame){.type = FRAME_QUEUE_LIST, .queue_list = {9, STR_NONE, 0, 1000}}));
    f = wait_for(reader, FRAME_DONE, 1);
    assert_int_equal(count_of(reader, FRAME_QUEUE_ROW, NULL), f.done.count);
    return f.done.count;
}

static uint64_t messages(void) { /* bytes of live records */
    return store_sums(bench.store).db.total;
}

/* ---- the thin path ---- */

static void a_message_is_delivered(void **state) {
    (void)state;
    bench_open("");
    struct peer *smtpd = peer(0, ROLE_SMTPD), *k = peer(1, ROLE_DELIVERY), *reader = peer(2, ROLE_HTTPD);
    mail(smtpd, 1, &relayed);
    tell_site(k);
    uint64_t job = wait_job(k, 1);
    struct frame f = wait_for(k, FRAME_JOB_RCPT, 1);
    assert_true(str_eq(f.job_rcpt.address, S("a@x.test")));
    assert_int_equal(wait_for(k, FRAME_JOB_BODY, 1).job_body.bytes.n, 5000);
    (void)count_of(k, FRAME_JOB, &f);
    assert_true(str_eq(f.job.sender, S("s@y.test")));
    assert_true(str_eq(f.job.next_hop, S("x.test")));
    assert_true(str_eq(f.job.site, S("mx.x.test")));
    assert_int_equal(f.job.size, 5000);
    assert_int_equal(queued(reader), 1);
    intent(k, job);
    result(k, job, 0, JOB_DELIVERED);
    done(k, job, JOB_FINE);
    settle();
    assert_int_equal(store_queue_jobs(bench.queue), 0);
    assert_int_equal(store_queue_count(bench.queue), 0);
    assert_int_equal(queued(reader), 0);
    struct rows r = story(reader, last_id);
    assert_int_equal(r.rows, 1);
    assert_int_equal(r.states[0], QUEUE_DELIVERED);
    assert_int_equal(r.attempts, 1);
    assert_int_equal(r.transcripts, 1);
    assert_int_equal(messages(), 0); /* it never was in the inbox */
    bench_close();
}

static void the_rest_of_a_body_is_granted(void **state) {
    (void)state;
    bench_open("");
    struct peer *smtpd = peer(0, ROLE_SMTPD), *k = peer(1, ROLE_DELIVERY);
    struct sent m = relayed;
    for (m.body = 90 * 1024; m.body <= 500 * 1024; m.body += 410 * 1024) { /* in the journal; in a file of its own */
        uint64_t got = 0;
        struct frame f;
        mail(smtpd, m.body, &m);
        if (m.body == 90 * 1024)
            tell_site(k);
        uint64_t job = wait_job(k, 1);
        settle();
        for (str s = buf_str(&k->got); s.n && frame_take(&s, &f) == OK;)
            got += f.type == FRAME_JOB_BODY ? f.job_body.bytes.n : 0;
        assert_int_equal(got, JOB_WINDOW); /* unasked */
        assert_true(give(k, (struct frame){.type = FRAME_JOB_MORE, .job_more = {job, 1000000}}));
        settle();
        got = 0;
        for (str s = buf_str(&k->got); s.n && frame_take(&s, &f) == OK;)
            got += f.type == FRAME_JOB_BODY ? f.job_body.bytes.n : 0;
        assert_int_equal(got, m.body);
        intent(k, job);
        result(k, job, 0, JOB_DELIVERED);
        done(k, job, JOB_FINE);
        settle();
        assert_int_equal(store_queue_count(bench.queue), 0);
        buf_reset(&k->got);
    }
    bench_close();
}

static void what_is_deferred_is_tried_again(void **state) {
    (void)state;
    bench_open("queue_retry 5m 10m\n");
    struct peer *smtpd = peer(0, ROLE_SMTPD), *k = peer(1, ROLE_DELIVERY), *reader = peer(2, ROLE_HTTPD);
    mail(smtpd, 1, &relayed);
    tell_site(k);
    uint64_t job = wait_job(k, 1);
    result(k, job, 0, JOB_DEFERRED);
    done(k, job, JOB_FINE);
    settle();
    assert_int_equal(count_of(k, FRAME_JOB, NULL), 1);
    assert_int_equal(queued(reader), 1);
    bench.now_ms += 6 * 60000;
    job = wait_job(k, 2);
    intent(k, job);
    result(k, job, 0, JOB_DELIVERED);
    done(k, job, JOB_FINE);
    settle();
    struct rows r = story(reader, last_id);
    assert_int_equal(r.states[0], QUEUE_DELIVERED);
    assert_int_equal(r.attempts, 2);
    bench_close();
}

static void a_restart_forgets_nothing(void **state) {
    (void)state;
    bench_open("queue_retry 5m 10m\n");
    struct peer *smtpd = peer(0, ROLE_SMTPD), *k = peer(1, ROLE_DELIVERY);
    mail(smtpd, 1, &relayed);
    tell_site(k);
    uint64_t job = wait_job(k, 1);
    result(k, job, 0, JOB_DEFERRED);
    done(k, job, JOB_FINE);
    settle();
    bench_stop();
    bench_start();
    assert_int_equal(store_queue_count(bench.queue), 1);
    k = peer(1, ROLE_DELIVERY);
    settle();
    assert_int_equal(k->got.n, 0); /* its time stays what it was */
    bench.now_ms += 6 * 60000;
    tell_site(k);
    job = wait_job(k, 1);
    intent(k, job);
    result(k, job, 0, JOB_DELIVERED);
    done(k, job, JOB_FINE);
    settle();
    bench_stop();
    bench_start();
    assert_int_equal(store_queue_count(bench.queue), 0);
    bench_close();
}

static void reports(struct peer *smtpd, const char *of, str indices, enum job_outcome kind) {
    struct sent m = {.sender = "",
                     .kinds = {JOB_MAILBOX},
                     .targets = {"s@y.test"},
                     .count = 1,
                     .body = 100,
                     .report_of = str_of(of),
                     .report_rcpts = indices,
                     .report_kind = kind};
    mail(smtpd, 99, &m);
}

static void a_failure_is_reported_once(void **state) {
    (void)state;
    bench_open("bounce_size_max 1KiB\n");
    struct peer *smtpd = peer(0, ROLE_SMTPD), *k = peer(1, ROLE_DELIVERY), *reader = peer(2, ROLE_HTTPD);
    struct frame f;
    char id[ID_SIZE + 1];
    struct sent m = relayed;
    m.count = 3;
    m.kinds[1] = m.kinds[2] = JOB_RELAY;
    m.targets[1] = m.targets[2] = "x.test";
    mail(smtpd, 1, &m);
    memcpy(id, last_id, sizeof(id));
    tell_site(k);
    uint64_t job = wait_job(k, 1);
    intent(k, job);
    result(k, job, 0, JOB_DELIVERED);
    result(k, job, 1, JOB_FAILED);
    result(k, job, 2, JOB_FAILED);
    done(k, job, JOB_FINE);
    f = wait_for(smtpd, FRAME_JOB, 1);
    assert_int_equal(f.job.kind, JOB_REPORT);
    assert_true(str_eq(f.job.sender, S("s@y.test")));
    uint64_t report = f.job.job;
    f = wait_for(smtpd, FRAME_JOB_RCPT, 2);
    assert_int_equal(f.job_rcpt.state, JOB_FAILED);
    assert_int_equal(f.job_rcpt.code, 550);
    assert_true(str_eq(f.job_rcpt.text, S("so said the server")));
    assert_true(count_of(smtpd, FRAME_JOB_ENVELOPE, NULL) > 0);
    assert_int_equal(count_of(smtpd, FRAME_JOB_BODY, &f), 2);
    assert_int_equal(f.job_body.bytes.n, 0); /* the end of what is returned */
    struct rows r = story(reader, id);
    assert_int_equal(r.states[0], QUEUE_DELIVERED);
    assert_int_equal(r.states[1], QUEUE_REPORTING);
    done(smtpd, report, JOB_OURS); /* it could not: again after a while */
    settle();
    assert_int_equal(count_of(smtpd, FRAME_JOB, NULL), 1);
    bench.now_ms += 61000;
    report = wait_job(smtpd, 2);
    reports(smtpd, id, S("\1\0\0\0\2\0\0\0"), JOB_FAILED);
    done(smtpd, report, JOB_FINE);
    settle();
    bench.now_ms += 1000000;
    settle();
    assert_int_equal(count_of(smtpd, FRAME_JOB, NULL), 2);
    r = story(reader, id);
    assert_int_equal(r.states[1], QUEUE_BOUNCED);
    assert_int_equal(r.states[2], QUEUE_BOUNCED);
    assert_int_equal(store_queue_jobs(bench.queue), 0);
    bench_close();
}

/* Two transactions of one message: the second fails while the report of the first is being built. */
static void what_fails_meanwhile_is_reported_at_once(void **state) {
    (void)state;
    bench_open("site_recipients_max 1\n");
    struct peer *smtpd = peer(0, ROLE_SMTPD), *k = peer(1, ROLE_DELIVERY);
    char id[ID_SIZE + 1];
    struct sent m = relayed;
    m.count = 2;
    m.kinds[1] = JOB_RELAY;
    m.targets[1] = "x.test";
    mail(smtpd, 1, &m);
    memcpy(id, last_id, sizeof(id));
    tell_site(k);
    uint64_t second = wait_job(k, 2), first = 0;
    struct frame f;
    for (str s = buf_str(&k->got); !first && s.n && frame_take(&s, &f) == OK;)
        first = f.type == FRAME_JOB ? f.job.job : 0;
    result(k, first, 0, JOB_FAILED);
    done(k, first, JOB_FINE);
    uint64_t report = wait_job(smtpd, 1);
    result(k, second, 1, JOB_FAILED);
    done(k, second, JOB_FINE);
    settle();
    assert_int_equal(count_of(smtpd, FRAME_JOB, NULL), 1);
    reports(smtpd, id, S("\0\0\0\0"), JOB_FAILED);
    done(smtpd, report, JOB_FINE);
    report = wait_job(smtpd, 2);
    reports(smtpd, id, S("\1\0\0\0"), JOB_FAILED);
    done(smtpd, report, JOB_FINE);
    settle();
    assert_int_equal(store_queue_jobs(bench.queue), 0);
    bench_close();
}

static void too_old_is_returned(void **state) {
    (void)state;
    bench_open("queue_expire 1h\nqueue_delay_notice 20m\n");
    struct peer *smtpd = peer(0, ROLE_SMTPD), *k = peer(1, ROLE_DELIVERY), *reader = peer(2, ROLE_HTTPD);
    struct frame f;
    char id[ID_SIZE + 1];
    mail(smtpd, 1, &relayed);
    memcpy(id, last_id, sizeof(id));
    tell_site(k);
    uint64_t job = wait_job(k, 1);
    result(k, job, 0, JOB_DEFERRED);
    done(k, job, JOB_NO_CONNECT);
    settle();
    bench.now_ms += 21 * 60000;
    settle();
    f = wait_for(smtpd, FRAME_JOB, 1);
    assert_int_equal(f.job.kind, JOB_REPORT);
    uint64_t report = f.job.job;
    assert_int_equal(wait_for(smtpd, FRAME_JOB_RCPT, 1).job_rcpt.state, JOB_LATE);
    reports(smtpd, id, S("\0\0\0\0"), JOB_LATE);
    done(smtpd, report, JOB_FINE);
    settle();
    struct frame last;
    if (count_of(k, FRAME_JOB, &last) > 1) { /* meanwhile its time had come */
        done(k, last.job.job, JOB_NO_CONNECT);
        settle();
    }
    assert_int_equal(queued(reader), 1);
    bench.now_ms += 45 * 60000;
    report = wait_job(smtpd, 2);
    assert_int_equal(wait_for(smtpd, FRAME_JOB_RCPT, 2).job_rcpt.state, JOB_EXPIRED);
    assert_int_equal(story(reader, id).states[0], QUEUE_REPORTING);
    reports(smtpd, id, S("\0\0\0\0"), JOB_EXPIRED);
    done(smtpd, report, JOB_FINE);
    settle();
    assert_int_equal(story(reader, id).states[0], QUEUE_EXPIRED);
    assert_int_equal(store_queue_count(bench.queue), 0);
    bench_close();
}

/* Longer than mail may wait is not too old before its first attempt; and nobody asks for more time than all have. */
static void held_back_and_late(void **state) {
    (void)state;
    const uint64_t day = 24 * 3600 * 1000;
    bench_open("");
    struct peer *smtpd = peer(0, ROLE_SMTPD), *k = peer(1, ROLE_DELIVERY), *reader = peer(2, ROLE_HTTPD);
    struct sent held = relayed, by = relayed;
    held.hold_ms = 30 * day;
    by.by_ms = 10000 * day;
    mail(smtpd, 1, &held);
    char id[ID_SIZE + 1];
    memcpy(id, last_id, sizeof(id));
    mail(smtpd, 2, &by);
    settle();
    bench.now_ms += 10 * day;
    settle();
    assert_int_equal(story(reader, id).states[0], QUEUE_WAITING);
    assert_int_not_equal(story(reader, last_id).states[0], QUEUE_WAITING);
    bench.now_ms += 20 * day;
    settle();
    tell_site(k);
    (void)wait_job(k, 1);
    bench_close();
}

static void nobody_is_told_who_does_not_want_it(void **state) {
    (void)state;
    bench_open("");
    struct peer *smtpd = peer(0, ROLE_SMTPD), *k = peer(1, ROLE_DELIVERY), *reader = peer(2, ROLE_HTTPD);
    struct sent quiet = relayed, null = relayed;
    quiet.params = "NOTIFY=NEVER";
    null.sender = "";
    const struct sent *rows[] = {&quiet, &null};
    for (unsigned i = 0; i < 2; i++) {
        mail(smtpd, i + 1, rows[i]);
        if (i == 0)
            tell_site(k);
        uint64_t job = wait_job(k, i + 1);
        result(k, job, 0, JOB_FAILED);
        done(k, job, JOB_FINE);
        settle();
        assert_int_equal(count_of(smtpd, FRAME_JOB, NULL), 0);
        assert_int_equal(story(reader, last_id).states[0], QUEUE_BOUNCED);
    }
    bench_close();
}

static void success_is_told_where_it_is_asked_for(void **state) {
    (void)state;
    bench_open("");
    struct peer *smtpd = peer(0, ROLE_SMTPD), *reader = peer(2, ROLE_HTTPD);
    char id[ID_SIZE + 1];
    struct sent m = {.sender = "s@y.test",
                     .params = "NOTIFY=SUCCESS,FAILURE",
                     .kinds = {JOB_MAILBOX},
                     .targets = {"ada@x.test"},
                     .count = 1,
                     .body = 10};
    mail(smtpd, 1, &m);
    memcpy(id, last_id, sizeof(id));
    uint64_t report = wait_job(smtpd, 1);
    assert_int_equal(wait_for(smtpd, FRAME_JOB_RCPT, 1).job_rcpt.state, JOB_DELIVERED);
    reports(smtpd, id, S("\0\0\0\0"), JOB_DELIVERED);
    done(smtpd, report, JOB_FINE);
    settle();
    assert_int_equal(story(reader, id).states[0], QUEUE_DELIVERED);
    assert_int_equal(store_queue_jobs(bench.queue), 0);
    bench_close();
}

static uint64_t act(struct peer *reader, enum queue_action action, const char *name, const char *value) {
    struct buf filter = BUF(1000);
    fields_put(&filter, str_of(name), str_of(value));
    buf_reset(&reader->got);
    assert_true(
        give(reader, (struct frame){.type = FRAME_QUEUE_ACT, .queue_act = {3, (uint8_t)action, buf_str(&filter)}}));
    buf_free(&filter);
    return wait_for(reader, FRAME_DONE, 1).done.count;
}

static void operators_act(void **state) {
    (void)state;
    bench_open("");
    struct peer *smtpd = peer(0, ROLE_SMTPD), *k = peer(1, ROLE_DELIVERY), *reader = peer(2, ROLE_HTTPD);
    mail(smtpd, 1, &relayed);
    tell_site(k);
    uint64_t job = wait_job(k, 1);
    result(k, job, 0, JOB_DEFERRED);
    done(k, job, JOB_FINE);
    settle();
    assert_int_equal(act(reader, QUEUE_DO_HOLD, "recipient", "nobody@*"), 0);
    assert_int_equal(act(reader, QUEUE_DO_HOLD, "recipient", "a@*"), 1);
    bench.now_ms += 20 * 60000;
    settle();
    assert_int_equal(count_of(k, FRAME_JOB, NULL), 1);
    assert_int_equal(act(reader, QUEUE_DO_RELEASE, "state", "held"), 1);
    job = wait_job(k, 2);
    assert_int_equal(act(reader, QUEUE_DO_HOLD, "state", "waiting"), 0); /* it is on its way */
    assert_int_equal(act(reader, QUEUE_DO_HOLD, "state", "active"), 1);
    result(k, job, 0, JOB_DEFERRED);
    done(k, job, JOB_FINE);
    settle();
    bench_stop();
    bench_start();
    smtpd = peer(0, ROLE_SMTPD);
    k = peer(1, ROLE_DELIVERY);
    reader = peer(2, ROLE_HTTPD);
    bench.now_ms += 20 * 60000;
    settle();
    assert_int_equal(count_of(k, FRAME_JOB, NULL), 0); /* still held */
    assert_int_equal(story(reader, last_id).states[0], QUEUE_HELD);
    assert_int_equal(act(reader, QUEUE_DO_RELEASE, "domain", "x.test"), 1);
    tell_site(k);
    job = wait_job(k, 1);
    assert_int_equal(act(reader, QUEUE_DO_DELETE, "id", last_id), 1);
    assert_int_equal(count_of(k, FRAME_JOB_CANCEL, NULL), 1);
    done(k, job, JOB_OURS);
    settle();
    assert_int_equal(story(reader, last_id).states[0], QUEUE_DELETED);
    assert_int_equal(store_queue_count(bench.queue), 0);
    assert_int_equal(store_queue_jobs(bench.queue), 0);
    bench_close();
}

/* Deleted while it waits for a worker, or while its body is read: the worker has not heard of it when it is told. */
static void deleted_before_it_is_given(void **state) {
    (void)state;
    bench_open("queue_retry 5m\n");
    struct peer *smtpd = peer(0, ROLE_SMTPD), *k = peer(1, ROLE_DELIVERY), *reader = peer(2, ROLE_HTTPD);
    mail(smtpd, 1, &relayed);
    tell_site(k);
    drop_peer(k);
    settle();
    bench.now_ms += 6 * 60000;
    settle();
    assert_int_equal(act(reader, QUEUE_DO_DELETE, "id", last_id), 1);
    k = peer(1, ROLE_DELIVERY);
    uint64_t job = wait_job(k, 1);
    assert_true(give(k, (struct frame){.type = FRAME_JOB_INTENT, .job_intent = {job}}));
    (void)wait_for(k, FRAME_JOB_CANCEL, 1);
    settle();
    assert_int_equal(count_of(k, FRAME_JOB_GO, NULL), 0);
    done(k, job, JOB_OURS);
    settle();
    assert_int_equal(story(reader, last_id).states[0], QUEUE_DELETED);
    assert_int_equal(store_queue_jobs(bench.queue), 0);
    bench_close();
}

static void a_worker_that_goes(void **state) {
    (void)state;
    bench_open("queue_retry 5m\n");
    struct peer *smtpd = peer(0, ROLE_SMTPD), *k = peer(1, ROLE_DELIVERY), *reader = peer(2, ROLE_HTTPD);
    char id[ID_SIZE + 1];
    mail(smtpd, 1, &relayed);
    memcpy(id, last_id, sizeof(id));
    drop_peer(k); /* asked for the site */
    k = peer(1, ROLE_DELIVERY);
    tell_site(k);
    uint64_t job = wait_job(k, 1);
    drop_peer(k);
    settle();
    assert_int_equal(story(reader, id).outcomes[0], JOB_DEFERRED);
    bench.now_ms += 6 * 60000;
    settle(); /* a job without a worker waits for one */
    k = peer(1, ROLE_DELIVERY);
    job = wait_job(k, 1);
    intent(k, job);
    drop_peer(k);
    settle();
    struct rows r = story(reader, id);
    assert_int_equal(r.states[0], QUEUE_UNKNOWN);
    assert_int_equal(r.attempts, 2);
    bench_close();
}

static int stories_kept(void) {
    char path[250];
    sqlite3 *sqlite = NULL;
    sqlite3_stmt *s = NULL;
    snprintf(path, sizeof(path), "%s/penfold.db", bench.dir);
    assert_int_equal(sqlite3_open(path, &sqlite), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(sqlite, "SELECT count(*) FROM story", -1, &s, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    int count = sqlite3_column_int(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(sqlite);
    return count;
}

/* Each refused transaction was one more count of its stories, until history seemed full and was forgotten. */
static void a_full_disk_forgets_no_history(void **state) {
    (void)state;
    enum { COUNTED = 210, BLOCKED = 500, TRIES_MS = 2500, LAST = 210 };
    static const struct sent gone = {
        .sender = "s@y.test", .kinds = {JOB_DISCARD}, .targets = {""}, .count = 1, .body = 9};
    struct rlimit old, none_at_all = {0, 0};
    uint64_t n = 0;
    bench_open("");
    struct peer *smtpd = peer(0, ROLE_SMTPD), *reader = peer(2, ROLE_HTTPD);
    while (n < COUNTED)
        put_mail(smtpd, ++n, &gone);
    (void)wait_for(smtpd, FRAME_MAIL_DONE, (unsigned)n);
    assert_int_equal(ask_story(reader, last_id), OK);
    getrlimit(RLIMIT_FSIZE, &old);
    none_at_all.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &none_at_all);
    while (n < COUNTED + BLOCKED)
        put_mail(smtpd, ++n, &gone);
    for (uint64_t from = clock_mono_ms(); clock_mono_ms() < from + TRIES_MS;)
        turn(20);
    setrlimit(RLIMIT_FSIZE, &old);
    while (n < COUNTED + BLOCKED + LAST)
        put_mail(smtpd, ++n, &gone);
    (void)wait_for(smtpd, FRAME_MAIL_DONE, (unsigned)n);
    assert_int_equal(ask_story(reader, last_id), OK);
    assert_int_equal(stories_kept(), n);
    bench_close();
}

static void the_queue_is_full(void **state) {
    (void)state;
    bench_open("queue_recipients_max 3\n");
    struct peer *smtpd = peer(0, ROLE_SMTPD), *k = peer(1, ROLE_DELIVERY);
    struct frame f;
    for (unsigned i = 1; i <= 3; i++)
        mail(smtpd, i, &relayed);
    (void)count_of(smtpd, FRAME_STORE_STATE, &f);
    assert_int_equal(f.store_state.err, ERR_FULL);
    tell_site(k);
    uint64_t job = wait_job(k, 3);
    result(k, job, 0, JOB_FAILED);
    done(k, job, JOB_FINE);
    settle();
    (void)count_of(smtpd, FRAME_STORE_STATE, &f);
    assert_int_equal(f.store_state.err, OK);
    bench_close();
}

static void odd_frames_drop_the_worker(void **state) {
    (void)state;
    bench_open("");
    struct peer *smtpd = peer(0, ROLE_SMTPD), *k = peer(1, ROLE_DELIVERY), *reader = peer(2, ROLE_HTTPD);
    mail(smtpd, 1, &relayed);
    tell_site(k);
    uint64_t job = wait_job(k, 1);
    struct frame rows[] = {
        {.type = FRAME_JOB_MORE, .job_more = {job + 1, 1}},
        {.type = FRAME_JOB_MORE, .job_more = {job, UINT64_MAX}},
        {.type = FRAME_JOB_INTENT, .job_intent = {0}},
        {.type = FRAME_JOB_RESULT, .job_result = {job, 7, JOB_DELIVERED, 250, STR_NONE}},
        {.type = FRAME_JOB_RESULT, .job_result = {job, 0, JOB_LATE, 250, STR_NONE}},
        {.type = FRAME_JOB_RESULT, .job_result = {job, 0, 0, 250, STR_NONE}},
        {.type = FRAME_JOB_DONE, .job_done = {.job = 5}},
        {.type = FRAME_SITE_TOLD, .site_told = {.tag = 77}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (give(k, rows[i]))
            fail_msg("row %zu was taken", i);
        if (give(reader, rows[i]))
            fail_msg("row %zu was taken from a reader", i);
    }
    bench_close();
}

/* ---- killed at every step ---- */

/* Another server and an smtpd, which answer by themselves: what was taken over there, and how often. */
enum { PLAYED_MAX = 8, RCPTS = 5 };

static struct played {
    char id[ID_SIZE + 1];
    unsigned taken[RCPTS], tried[RCPTS];
    bool accepted;
} played[PLAYED_MAX];
static size_t played_count;

struct playing {
    uint64_t job;
    size_t mail;
    uint32_t indices[RCPTS];
    size_t count;
    bool report;
    enum job_outcome kind;
    uint64_t brings; /* the report's number as a mail */
};
static struct playing playing[100];
static uint64_t mail_number;

static size_t played_of(str id) {
    for (size_t i = 0; i < played_count; i++)
        if (str_eq(id, str_of(played[i].id)))
            return i;
    return SIZE_MAX;
}

static struct playing *playing_of(uint64_t job) {
    for (size_t i = 0; i < sizeof(playing) / sizeof(playing[0]); i++)
        if (playing[i].job == job)
            return &playing[i];
    return NULL;
}

/* 0 is taken, 1 refused, 2 and 4 taken the second time, 3 never. */
static enum job_outcome outcome_of(struct playing *g, uint32_t index) {
    unsigned tried = played[g->mail].tried[index]++;
    if (index == 1)
        return JOB_FAILED;
    return index == 0 || (index != 3 && tried > 0) ? JOB_DELIVERED : JOB_DEFERRED;
}

static void play_go(struct peer *k, struct playing *g) {
    for (size_t i = 0; i < g->count; i++) {
        enum job_outcome o = outcome_of(g, g->indices[i]);
        played[g->mail].taken[g->indices[i]] += o == JOB_DELIVERED;
        result(k, g->job, g->indices[i], o);
    }
    done(k, g->job, JOB_FINE);
    g->job = 0;
}

static void play_report(struct peer *p, struct playing *g) {
    struct buf indices = BUF(100);
    for (size_t i = 0; i < g->count; i++)
        buf_u32(&indices, g->indices[i]);
    struct sent m = {.sender = "",
                     .kinds = {JOB_MAILBOX},
                     .targets = {"s@y.test"},
                     .count = 1,
                     .body = 100,
                     .report_of = str_of(played[g->mail].id),
                     .report_rcpts = buf_str(&indices),
                     .report_kind = g->kind};
    g->brings = ++mail_number;
    put_mail(p, g->brings, &m);
    buf_free(&indices);
}

static void play_frame(struct peer *p, const struct frame *f) {
    struct playing *g = NULL;
    switch ((int)f->type) {
    case FRAME_SITE_ASK:
        assert_true(give(p, (struct frame){.type = FRAME_SITE_TOLD,
                                           .site_told = {f->site_ask.tag, OK, 0, S("mx"), STR_NONE, 3600}}));
        break;
    case FRAME_JOB:
        g = playing_of(0);
        *g = (struct playing){.job = f->job.job, .mail = played_of(f->job.id), .report = f->job.kind == JOB_REPORT};
        assert_true(g->mail != SIZE_MAX);
        break;
    case FRAME_JOB_RCPT:
        g = playing_of(f->job_rcpt.job);
        g->indices[g->count++] = f->job_rcpt.index;
        g->kind = (enum job_outcome)f->job_rcpt.state;
        break;
    case FRAME_JOB_BODY:
        g = playing_of(f->job_body.job);
        if (g->report)
            play_report(p, g);
        else
            assert_true(give(p, (struct frame){.type = FRAME_JOB_INTENT, .job_intent = {g->job}}));
        break;
    case FRAME_JOB_GO: play_go(p, playing_of(f->job_go.job)); break;
    case FRAME_JOB_CANCEL:
        g = playing_of(f->job_cancel.job);
        if (g) {
            done(p, g->job, JOB_OURS);
            g->job = 0;
        }
        break;
    case FRAME_MAIL_DONE:
        for (size_t i = 0; i < sizeof(playing) / sizeof(playing[0]); i++)
            if (playing[i].job && playing[i].brings == f->mail_done.mail) {
                done(p, playing[i].job, f->mail_done.err ? JOB_OURS : JOB_FINE);
                playing[i].job = 0;
            }
        for (size_t i = 0; i < played_count; i++)
            if (f->mail_done.mail == 1000 + i)
                played[i].accepted = f->mail_done.err == OK;
        break;
    }
}

static void play(unsigned turns) {
    for (unsigned i = 0; i < turns; i++) {
        turn(i % 4 == 3 ? 2 : 0);
        for (int k = 0; k < 2; k++) {
            struct peer *p = &bench.peers[k];
            struct buf got = p->got;
            struct frame f;
            p->got = BUF(256u * 1024 * 1024);
            for (str s = buf_str(&got); p->link && s.n && frame_take(&s, &f) == OK;)
                play_frame(p, &f);
            buf_free(&got);
        }
    }
}

static void play_peers(void) {
    memset(playing, 0, sizeof(playing));
    peer(0, ROLE_SMTPD);
    peer(1, ROLE_DELIVERY);
    peer(2, ROLE_HTTPD);
}

static void ask_act(enum queue_action action, const char *recipient) {
    struct buf filter = BUF(1000);
    fields_put(&filter, S("recipient"), str_of(recipient));
    assert_true(give(&bench.peers[2],
                     (struct frame){.type = FRAME_QUEUE_ACT, .queue_act = {3, (uint8_t)action, buf_str(&filter)}}));
    buf_free(&filter);
}

static void play_mail(void) {
    struct sent m = {.sender = "s@y.test", .count = RCPTS, .body = 300};
    for (int i = 0; i < RCPTS; i++) {
        m.kinds[i] = JOB_RELAY;
        m.targets[i] = "x.test";
    }
    put_mail(&bench.peers[0], 1000 + played_count, &m);
    memcpy(played[played_count++].id, last_id, sizeof(last_id));
}

/* Accept, deliver, bounce, hold, try again, release, expire. */
static void play_scenario(void) {
    play_mail();
    play(12);
    ask_act(QUEUE_DO_HOLD, "e@*");
    play_mail();
    play(12);
    ask_act(QUEUE_DO_RETRY, "c@*");
    play(12);
    ask_act(QUEUE_DO_RELEASE, "e@*");
    play(12);
    bench.now_ms += 6 * 60000;
    play(24);
}

/* Until nothing is on its way at this moment of the clock. */
static void play_quiet(void) {
    for (int i = 0, quiet = 0; i < 1000 && quiet < 3; i++) {
        play(1);
        if (store_queue_jobs(bench.queue))
            turn(1); /* its threads take their time */
        if (i % 50 == 0)
            store_second(bench.store);
        bool busy = store_queue_jobs(bench.queue) || store_queue_deadline(bench.queue) <= bench.now_ms || bench.run;
        quiet = busy ? 0 : quiet + 1;
    }
}

static void play_to_the_end(void) {
    enum err e;
    for (int i = 0; i < 40; i++) {
        bench.now_ms += 6 * 60000;
        if (i == 1) { /* the hold may have been kept, and its release not */
            buf_reset(&bench.peers[2].got);
            ask_act(QUEUE_DO_RELEASE, "*");
            for (int k = 0; k < 500 && !answered(&bench.peers[2], 3, &e); k++)
                play(4);
        }
        play_quiet();
        if (i > 13 && !store_queue_count(bench.queue) && store_queue_deadline(bench.queue) == UINT64_MAX)
            return;
    }
    fail_msg("%llu wait, %zu jobs", (unsigned long long)store_queue_count(bench.queue), store_queue_jobs(bench.queue));
}

/* How often a report tells of it, how often its attempts ended in doubt. */
struct counted {
    unsigned reports[RCPTS], doubts[RCPTS];
};

static struct counted count_kept(const char *id) {
    struct counted c = {0};
    char path[300];
    snprintf(path, sizeof(path), "%s/penfold.db", bench.dir);
    sqlite3 *sqlite = NULL;
    sqlite3_stmt *s = NULL;
    struct arena a = ARENA(1024 * 1024);
    assert_int_equal(sqlite3_open(path, &sqlite), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(sqlite, "SELECT envelope FROM story", -1, &s, NULL), SQLITE_OK);
    while (sqlite3_step(s) == SQLITE_ROW) {
        struct envelope v;
        uint32_t index = 0;
        str bytes = str_n(sqlite3_column_blob(s, 0), (size_t)sqlite3_column_bytes(s, 0));
        assert_int_equal(envelope_take(bytes, &a, &v), OK);
        if (str_eq(v.report_of, str_of(id)) && v.report_kind != JOB_LATE)
            for (str r = v.report_rcpts; take_u32(&r, &index);)
                c.reports[index]++;
    }
    sqlite3_finalize(s);
    assert_int_equal(sqlite3_prepare_v2(sqlite,
                                        "SELECT results FROM attempt, story ON attempt.num=story.num WHERE story.id=?",
                                        -1, &s, NULL),
                     SQLITE_OK);
    sqlite3_bind_text(s, 1, id, ID_SIZE, SQLITE_STATIC);
    while (sqlite3_step(s) == SQLITE_ROW) {
        struct outcome_row row;
        for (str r = str_n(sqlite3_column_blob(s, 0), (size_t)sqlite3_column_bytes(s, 0));
             outcome_results_take(&r, &row);)
            c.doubts[row.index] += row.outcome == JOB_UNKNOWN;
    }
    sqlite3_finalize(s);
    sqlite3_close(sqlite);
    arena_free(&a);
    return c;
}

static void assert_each_has_one_end(uint64_t at, enum fault_kind kind) {
    static const uint8_t ends[RCPTS] = {QUEUE_DELIVERED, QUEUE_BOUNCED, QUEUE_DELIVERED, QUEUE_EXPIRED,
                                        QUEUE_DELIVERED};
    for (size_t i = 0; i < played_count; i++) {
        struct played *p = &played[i];
        struct peer *reader = &bench.peers[2];
        if (ask_story(reader, p->id) != OK) {
            assert_false(p->accepted);
            continue;
        }
        struct rows r = story(reader, p->id);
        struct counted c = count_kept(p->id);
        for (int n = 0; n < RCPTS; n++) {
            unsigned reports = ends[n] != QUEUE_DELIVERED;
            bool late_end = r.states[n] == QUEUE_EXPIRED && p->taken[n] == 0; /* it was held too long */
            if (r.states[n] != ends[n] && !late_end)
                fail_msg("fault %d at %llu: mail %zu recipient %d is in state %u", (int)kind, (unsigned long long)at, i,
                         n, r.states[n]);
            if (c.reports[n] != (late_end ? 1 : reports))
                fail_msg("fault %d at %llu: mail %zu recipient %d is reported %u times", (int)kind,
                         (unsigned long long)at, i, n, c.reports[n]);
            if (r.states[n] == QUEUE_DELIVERED && (p->taken[n] == 0 || p->taken[n] > 1 + c.doubts[n]))
                fail_msg("fault %d at %llu: mail %zu recipient %d came %u times, %u of them in doubt", (int)kind,
                         (unsigned long long)at, i, n, p->taken[n], c.doubts[n]);
        }
    }
}

/* True: the fault came within the scenario. */
static bool play_with(enum fault_kind kind, uint64_t at) {
    bench_open("queue_retry 5m\nqueue_expire 1h\nqueue_delay_notice 0\n");
    memset(played, 0, sizeof(played));
    played_count = mail_number = 0;
    play_peers();
    uint64_t before = fault_calls(bench.disk);
    fault_set(bench.disk, kind, at, kind == FAULT_POWER ? 0 : 2);
    play_scenario();
    bool came = fault_calls(bench.disk) - before >= at;
    if (kind == FAULT_POWER) {
        bench_stop();
        fault_power_cut(bench.disk);
        bench_start();
        play_peers();
    } else
        fault_set(bench.disk, FAULT_NONE, 0, 0);
    play_to_the_end();
    assert_each_has_one_end(at, kind);
    bench_close();
    return came;
}

static void every_kill_leaves_one_end(void **state) {
    (void)state;
    static const enum fault_kind kinds[] = {FAULT_POWER, FAULT_EIO, FAULT_ENOSPC, FAULT_SHORT};
    const char *soak = getenv("SOAK");
    uint64_t step = soak && *soak == '1' ? 1 : 3;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        uint64_t at = 1;
        while (play_with(kinds[i], at))
            at += i == 0 ? 1 : step;
        print_message("fault %d: %llu calls\n", (int)kinds[i], (unsigned long long)at - 1);
        assert_true(at > 10);
    }
}

int main(void) {
    log_setup("test", 0, LOG_TEXT, (enum event_level)(EVENT_ERROR + 1));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_delivered),
        cmocka_unit_test(the_rest_of_a_body_is_granted),
        cmocka_unit_test(what_is_deferred_is_tried_again),
        cmocka_unit_test(a_restart_forgets_nothing),
        cmocka_unit_test(a_failure_is_reported_once),
        cmocka_unit_test(what_fails_meanwhile_is_reported_at_once),
        cmocka_unit_test(too_old_is_returned),
        cmocka_unit_test(held_back_and_late),
        cmocka_unit_test(nobody_is_told_who_does_not_want_it),
        cmocka_unit_test(success_is_told_where_it_is_asked_for),
        cmocka_unit_test(operators_act),
        cmocka_unit_test(deleted_before_it_is_given),
        cmocka_unit_test(a_worker_that_goes),
        cmocka_unit_test(a_full_disk_forgets_no_history),
        cmocka_unit_test(the_queue_is_full),
        cmocka_unit_test(odd_frames_drop_the_worker),
        cmocka_unit_test(every_kill_leaves_one_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
