/* The core without a network: the test is its store, its resolver, its clock and the servers it calls. */
#include "role/delivery_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { RCPTS = 3, CALLS_MAX = 64, JOBS_MAX = 8 };

static struct {
    struct delivery_core core;
    struct conf conf;
    struct delivery_call *calls[CALLS_MAX]; /* that are open */
    size_t call_count, calls_made;
    struct buf sent; /* by all calls, what no server has read yet */
    struct buf transcript;
    size_t unsent;
    uint64_t asked[CALLS_MAX];
    size_t asked_count;
    struct {
        unsigned done, results[RCPTS], trouble;
        uint8_t outcome[RCPTS];
        char text[RCPTS][300];
        uint64_t granted;
        bool intent;
    } jobs[JOBS_MAX];
    bool leave; /* JOB_GO at once */
} host;

static void to_store(const struct frame *f) {
    switch ((int)f->type) {
    case FRAME_JOB_RESULT:
        assert_true(f->job_result.index < RCPTS);
        host.jobs[f->job_result.job].results[f->job_result.index]++;
        host.jobs[f->job_result.job].outcome[f->job_result.index] = f->job_result.outcome;
        snprintf(host.jobs[f->job_result.job].text[f->job_result.index], 300, "%.*s", STR_ARG(f->job_result.text));
        break;
    case FRAME_JOB_DONE:
        host.jobs[f->job_done.job].done++;
        host.jobs[f->job_done.job].trouble = f->job_done.trouble;
        break;
    case FRAME_JOB_MORE: host.jobs[f->job_more.job].granted += f->job_more.bytes; break;
    case FRAME_JOB_INTENT: host.jobs[f->job_intent.job].intent = true; break;
    case FRAME_JOB_TRANSCRIPT: buf_add(&host.transcript, f->job_transcript.bytes); break;
    }
}

static bool to_resolver(const struct frame *f) {
    assert_true(host.asked_count < CALLS_MAX);
    host.asked[host.asked_count++] = f->dns_ask.tag;
    return true;
}

static void to_supervisor(const struct frame *f) {
    (void)f;
}

static void fill(void *p, size_t n) {
    memset(p, 7, n);
}

static bool call_connect(struct delivery_call *c, struct why *w) {
    (void)w;
    assert_true(host.call_count < CALLS_MAX);
    host.calls[host.call_count++] = c;
    host.calls_made++;
    c->host_data = &host;
    return true;
}

static void call_write(struct delivery_call *c, str bytes) {
    assert_ptr_equal(c->host_data, &host);
    buf_add(&host.sent, bytes);
}

static size_t call_unsent(struct delivery_call *c) {
    (void)c;
    return host.unsent;
}

static void call_tls(struct delivery_call *c, bool enforce) {
    (void)c, (void)enforce;
}

static void call_deadline(struct delivery_call *c, uint64_t ms) {
    (void)c, (void)ms;
}

static void forget(struct delivery_call *c) {
    for (size_t i = 0; i < host.call_count; i++)
        if (host.calls[i] == c) {
            host.calls[i] = host.calls[--host.call_count];
            return;
        }
    fail_msg("a call that was never made");
}

static void call_close(struct delivery_call *c) {
    forget(c);
    c->host_data = NULL;
}

static void no_log(enum event_id e, str id, str where, str text) {
    (void)e, (void)id, (void)where, (void)text;
}

static const struct delivery_ops ops = {.to_store = to_store,
                                        .to_resolver = to_resolver,
                                        .to_supervisor = to_supervisor,
                                        .random = fill,
                                        .connect = call_connect,
                                        .write = call_write,
                                        .unsent = call_unsent,
                                        .tls = call_tls,
                                        .deadline = call_deadline,
                                        .close = call_close,
                                        .log = no_log};

static void configure(str text) {
    struct conf_errors errors = {0};
    struct conf old = host.conf;
    assert_int_equal(conf_parse(text, "test", &host.conf, &errors), OK);
    conf_errors_free(&errors);
    delivery_core_configure(&host.core, &host.conf);
    conf_free(&old);
}

#define CONF                                                                                                           \
    S("mode sandbox\nhostname client.example.org\nroute r {\nto *@example.com\naction smarthost\nhost 192.0.2.1\n}\n")

static void open_core(void) {
    memset(&host, 0, sizeof host);
    host.sent = BUF(1 << 20);
    host.transcript = BUF(1 << 20);
    host.leave = true;
    delivery_core_init(&host.core, &ops);
    host.core.now_ms = 1000000;
    conf_defaults(&host.conf);
    configure(CONF);
}

static void close_core(void) {
    delivery_core_free(&host.core);
    assert_int_equal(host.call_count, 0);
    conf_free(&host.conf);
    buf_free(&host.sent);
    buf_free(&host.transcript);
}

/* ---- the store's side ---- */

static void begin_job(uint64_t number, enum job_kind kind, str hop, uint32_t flags, uint64_t size) {
    static const str addresses[RCPTS] = {S_INIT("1@d"), S_INIT("2@d"), S_INIT("3@d")};
    struct frame f = {FRAME_JOB, .job = {.job = number,
                                         .kind = (uint8_t)kind,
                                         .id = S("x"),
                                         .route = S("r"),
                                         .next_hop = hop,
                                         .sender = S("a@b"),
                                         .flags = flags,
                                         .size = size}};
    memset(&host.jobs[number], 0, sizeof host.jobs[number]);
    delivery_core_store(&host.core, &f);
    for (uint32_t i = 0; i < RCPTS; i++) {
        struct frame r = {FRAME_JOB_RCPT, .job_rcpt = {.job = number, .index = i, .address = addresses[i]}};
        delivery_core_store(&host.core, &r);
    }
}

static void give_body(uint64_t number, str bytes) {
    struct frame f = {FRAME_JOB_BODY, .job_body = {number, bytes}};
    delivery_core_store(&host.core, &f);
}

static void give_leave(uint64_t number) {
    if (!host.leave || !host.jobs[number].intent || host.jobs[number].done)
        return;
    host.jobs[number].intent = false;
    struct frame f = {FRAME_JOB_GO, .job_go = {number}};
    delivery_core_store(&host.core, &f);
}

static void cancel(uint64_t number) {
    struct frame f = {FRAME_JOB_CANCEL, .job_cancel = {.job = number}};
    delivery_core_store(&host.core, &f);
}

static const str message = S_INIT("Subject: x\r\n\r\nhi\r\n");

static void job(uint64_t number, enum job_kind kind, uint32_t flags) {
    begin_job(number, kind, S("192.0.2.1"), flags, message.n);
    give_body(number, message);
}

/* Every job that is over has told of each recipient once, of the whole once, and in words that mean something. */
static void check_jobs(void) {
    for (size_t n = 1; n < JOBS_MAX; n++) {
        assert_true(host.jobs[n].done <= 1);
        for (size_t i = 0; i < RCPTS; i++)
            assert_int_equal(host.jobs[n].results[i], host.jobs[n].done);
    }
}

/* ---- a server, which says each time what it is told to ---- */

struct server {
    const char *turns[12]; /* to the connection, and to each burst of what the client says */
};

static const struct server plain = {{"220 hi\r\n", "250 hi\r\n", "250 mail\r\n", "250 r1\r\n", "550 5.1.1 r2\r\n",
                                     "250 r3\r\n", "354 go\r\n", "250 2.0.0 taken\r\n"}};
static const struct server piping = {{"220 hi\r\n", "250-hi\r\n250 PIPELINING\r\n",
                                      "250 mail\r\n250 r1\r\n550 5.1.1 r2\r\n250 r3\r\n354 go\r\n",
                                      "250 2.0.0 taken\r\n"}};
static const struct server lmtp = {{"220 hi\r\n", "250-hi\r\n250 PIPELINING\r\n",
                                    "250 mail\r\n250 r1\r\n550 5.1.1 r2\r\n250 r3\r\n354 go\r\n",
                                    "250 2.0.0 one\r\n450 4.2.2 three\r\n"}};

static struct delivery_call *current(void) {
    return host.call_count ? host.calls[host.call_count - 1] : NULL;
}

static void say(str words) {
    buf_reset(&host.sent);
    if (current())
        delivery_call_input(current(), words);
    for (uint64_t n = 1; n < JOBS_MAX; n++)
        give_leave(n);
}

static void answer_call(void) {
    delivery_call_connected(current(), S("192.0.2.9"));
}

/* Turns from `from` on, as many as `count`. */
static void serve(const struct server *s, size_t from, size_t count) {
    for (size_t i = from; i < from + count && i < sizeof s->turns / sizeof *s->turns && s->turns[i]; i++) {
        if (i == 0 && current() && current()->state == DELIVERY_CONNECTING)
            answer_call();
        say(str_of(s->turns[i]));
    }
}

static size_t turns_of(const struct server *s) {
    size_t n = 0;
    while (n < sizeof s->turns / sizeof *s->turns && s->turns[n])
        n++;
    return n;
}

static void expect(uint64_t number, enum job_outcome one, enum job_outcome two, enum job_outcome three) {
    assert_int_equal(host.jobs[number].done, 1);
    check_jobs();
    assert_int_equal(host.jobs[number].outcome[0], one);
    assert_int_equal(host.jobs[number].outcome[1], two);
    assert_int_equal(host.jobs[number].outcome[2], three);
}

static void test_it_goes_well(void **state) {
    (void)state;
    open_core();
    job(1, JOB_SMARTHOST, 0);
    serve(&plain, 0, 12);
    expect(1, JOB_DELIVERED, JOB_FAILED, JOB_DELIVERED);
    job(2, JOB_SMARTHOST, 0); /* by the same connection */
    serve(&plain, 2, 12);
    expect(2, JOB_DELIVERED, JOB_FAILED, JOB_DELIVERED);
    assert_int_equal(host.calls_made, 1);
    job(3, JOB_LMTP, 0);
    serve(&lmtp, 0, 12);
    expect(3, JOB_DELIVERED, JOB_FAILED, JOB_DEFERRED);
    close_core();
}

/* ---- whatever happens, at whatever moment ---- */

static void on_closed(void) {
    delivery_call_closed(current());
}
static void on_lost(void) {
    struct delivery_call *c = current();
    forget(c);
    delivery_call_lost(c, ERR_CLOSED, "reset");
}
static void on_expire(void) {
    delivery_call_expire(current());
}
static void on_cancel(void) {
    cancel(1);
}
static void on_store_down(void) {
    delivery_core_store_down(&host.core);
}
static void on_stop(void) {
    delivery_core_drain(&host.core, true);
}
static void on_drain(void) {
    delivery_core_drain(&host.core, false);
}
static void on_reload(void) {
    configure(CONF);
}
static void on_tick(void) {
    host.core.now_ms += 700000;
    delivery_core_tick(&host.core);
}
static void on_drained(void) {
    delivery_call_drained(current());
}

static const struct {
    void (*act)(void);
    const char *words; /* or the server says this */
} mishaps[] = {
    {.act = on_closed},
    {.act = on_lost},
    {.act = on_expire},
    {.act = on_cancel},
    {.act = on_store_down},
    {.act = on_stop},
    {.act = on_drain},
    {.act = on_reload},
    {.act = on_tick},
    {.act = on_drained},
    {.words = "421 bye\r\n"},
    {.words = "354 go\r\n"},
    {.words = "250 ok\r\n"},
    {.words = "250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n"},
    {.words = "550 no\r\n"},
    {.words = "550 no\r\n354 go\r\n250 ok\r\n"},
    {.words = "450 later\r\n421 bye\r\n"},
    {.words = "250-a\r\n550 b\r\n"},
    {.words = "250-a"},
    {.words = "\r\n"},
    {.words = "999 what\r\n"},
    {.words = "334 QUJD\r\n"},
    {.words = "220 go\r\n"},
    {.words = "250-x\r\n250-LIMITS RCPTMAX=0 MAILMAX=0\r\n250-SIZE 99999999999999999999999\r\n250-AUTH \xff\xfe\r\n"
              "250-\x1b[2J\r\n250 STARTTLS\r\n"},
    {.words = "250-x\r\n250-LIMITS RCPTMAX=1\r\n250 SIZE 1\r\n"},
};

static void mishap(size_t i) {
    if (mishaps[i].words)
        say(str_of(mishaps[i].words));
    else if (current() || mishaps[i].act == on_tick || mishaps[i].act == on_stop)
        mishaps[i].act();
}

static void play(const struct server *s, enum job_kind kind, size_t at, size_t i, uint32_t flags) {
    open_core();
    job(1, kind, flags);
    if (at)
        serve(s, 0, at);
    mishap(i);
    serve(s, at, 12); /* the server goes on as if nothing had been, with whoever is there */
    mishap(i);
    bool forgotten = mishaps[i].act == on_store_down;
    check_jobs();
    job(2, kind, flags); /* the next one comes to an end as well, well or badly */
    serve(s, 0, 12);
    delivery_core_drain(&host.core, true);
    while (current())
        delivery_call_expire(current());
    check_jobs();
    assert_int_equal(host.jobs[1].done, forgotten ? host.jobs[1].done : 1);
    assert_int_equal(host.jobs[2].done, 1);
    assert_true(delivery_core_empty(&host.core));
    close_core();
}

static void test_mishaps(void **state) {
    (void)state;
    static const struct {
        const struct server *server;
        enum job_kind kind;
        uint32_t flags;
    } rows[] = {{&plain, JOB_SMARTHOST, 0},
                {&piping, JOB_SMARTHOST, 0},
                {&lmtp, JOB_LMTP, 0},
                {&piping, JOB_SMARTHOST, JOB_EIGHT_BIT}};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (size_t at = 0; at <= turns_of(rows[r].server); at++)
            for (size_t i = 0; i < sizeof mishaps / sizeof *mishaps; i++)
                play(rows[r].server, rows[r].kind, at, i, rows[r].flags);
}

/* Once the dot is out nobody may say "try again" of what the server may have. */
static void test_unknown(void **state) {
    (void)state;
    for (size_t i = 0; i < 3; i++) { /* closed, lost, expired */
        open_core();
        job(1, JOB_SMARTHOST, 0);
        serve(&piping, 0, 3);
        mishap(i);
        expect(1, JOB_UNKNOWN, JOB_FAILED, JOB_UNKNOWN);
        close_core();
    }
    open_core(); /* and it is waited for, whoever wants to end */
    job(1, JOB_SMARTHOST, 0);
    serve(&piping, 0, 3);
    cancel(1);
    delivery_core_drain(&host.core, true);
    assert_int_equal(host.jobs[1].done, 0);
    serve(&piping, 3, 1);
    expect(1, JOB_DELIVERED, JOB_FAILED, JOB_DELIVERED);
    close_core();
}

/* Without leave the dot is not said; what is converted and not handed over yet is not out. */
static void test_no_leave(void **state) {
    (void)state;
    open_core();
    host.leave = false;
    job(1, JOB_SMARTHOST, 0);
    serve(&piping, 0, 3);
    assert_true(host.jobs[1].intent);
    assert_int_equal(str_find_str(buf_str(&host.sent), S("\r\n.\r\n")), SIZE_MAX);
    cancel(1);
    expect(1, JOB_DEFERRED, JOB_FAILED, JOB_DEFERRED);
    close_core();
    open_core();
    struct buf large = BUF(100000);
    buf_add(&large, S("Subject: x\r\n\r\n"));
    while (large.n < 60000)
        buf_add(&large, S("\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\r\n"));
    begin_job(1, JOB_SMARTHOST, S("192.0.2.1"), JOB_EIGHT_BIT, large.n);
    give_body(1, buf_str(&large));
    host.unsent = 1 << 20; /* the server does not read */
    serve(&piping, 0, 3);
    cancel(1);
    assert_int_equal(host.jobs[1].done, 1);
    buf_free(&large);
    close_core();
}

/* However the store cuts the message, the same goes out. */
static void test_converted_in_pieces(void **state) {
    (void)state;
    static const str eight =
        S_INIT("Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n.\xc3\xbc\r\n.\r\n");
    static const str want = S_INIT("Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                                   "Content-Transfer-Encoding: quoted-printable\r\n\r\n=2E=C3=BC\r\n=2E\r\n.\r\n");
    for (size_t step = 1; step < 120; step += 17) {
        open_core();
        begin_job(1, JOB_SMARTHOST, S("192.0.2.1"), JOB_EIGHT_BIT, eight.n);
        str rest = eight;
        give_body(1, str_head(rest, step));
        rest = str_tail(rest, step);
        serve(&piping, 0, 3);
        for (; rest.n; rest = str_tail(rest, step))
            give_body(1, str_head(rest, step));
        give_leave(1);
        assert_true(str_eq(buf_str(&host.sent), want));
        serve(&piping, 3, 1);
        expect(1, JOB_DELIVERED, JOB_FAILED, JOB_DELIVERED);
        assert_true(str_find_str(buf_str(&host.transcript), S("* converted to 7-bit: ")) != SIZE_MAX);
        close_core();
    }
}

/* ---- names ---- */

static void tell(uint64_t tag) {
    struct frame f = {FRAME_DNS_TOLD, .dns_told = {tag, S("no answer at all")}};
    delivery_core_resolver(&host.core, &f);
}

/* Answers that come when nobody waits for them any more: the name was given up, looked up anew, and forgotten. */
static void test_late_answers(void **state) {
    (void)state;
    open_core();
    begin_job(1, JOB_RELAY, S("example.com"), 0, message.n);
    give_body(1, message);
    assert_true(host.asked_count > 0);
    size_t first = host.asked_count;
    host.core.now_ms += 61000;
    delivery_core_tick(&host.core);
    expect(1, JOB_DEFERRED, JOB_DEFERRED, JOB_DEFERRED);
    assert_int_equal(host.jobs[1].trouble, JOB_NO_HOST);
    host.core.now_ms += 31000;
    begin_job(2, JOB_RELAY, S("example.com"), 0, message.n);
    give_body(2, message);
    assert_true(host.asked_count > first);
    for (size_t i = 0; i < first; i++)
        tell(host.asked[i]);
    assert_int_equal(host.jobs[2].done, 0);
    delivery_core_resolver_down(&host.core);
    expect(2, JOB_DEFERRED, JOB_DEFERRED, JOB_DEFERRED);
    close_core();
}

/* ---- what is told ---- */

/* A long conversation is told from its beginning, as far as there is room: not left out as a whole. */
static void test_long_transcript(void **state) {
    (void)state;
    open_core();
    struct buf reply = BUF(1 << 16);
    host.conf.transcript_max = 20000;
    job(1, JOB_SMARTHOST, 0);
    serve(&piping, 0, 2);
    buf_add(&reply, S("250 mail\r\n"));
    for (size_t i = 0; i < RCPTS; i++)
        for (size_t line = 0; line < 20; line++) {
            buf_printf(&reply, "550%c", line < 19 ? '-' : ' ');
            buf_fill(&reply, 'x', 800);
            buf_add(&reply, S("\r\n"));
        }
    buf_add(&reply, S("503 no\r\n"));
    say(buf_str(&reply));
    say(S("250 reset\r\n"));
    expect(1, JOB_FAILED, JOB_FAILED, JOB_FAILED);
    assert_true(str_find_str(buf_str(&host.transcript), S("> MAIL FROM:<a@b>")) != SIZE_MAX);
    assert_true(str_ends(buf_str(&host.transcript), S("\n* the rest is left out\n")));
    assert_in_range(host.transcript.n, 15000, 20000);
    buf_free(&reply);
    close_core();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_goes_well),
        cmocka_unit_test(test_mishaps),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_no_leave),
        cmocka_unit_test(test_late_answers),
        cmocka_unit_test(test_long_transcript),
        cmocka_unit_test(test_converted_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
