/* keyd's core against a store, threads and smtpds that are this file: who is let in, and how often it may be tried. */
#include "role/keyd_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { MAX = 20 };

static struct world {
    struct keyd_core *core;
    struct keyd_peer *peer;
    struct keyd_work *work[MAX];
    uint64_t asked[MAX];
    size_t works, asks, challenges, good, bad, unavailable;
    bool no_store;
} w;

static void on_send(void *peer, const struct frame *f) {
    (void)peer;
    w.challenges += f->type == FRAME_AUTH_CHALLENGE;
    w.good += f->type == FRAME_AUTH_OK;
    w.bad += f->type == FRAME_AUTH_FAILED && f->auth_failed.failure == SASL_BAD_CREDENTIALS;
    w.unavailable += f->type == FRAME_AUTH_FAILED && f->auth_failed.failure == SASL_UNAVAILABLE;
}

static bool on_ask(void *arg, const struct frame *f) {
    (void)arg;
    assert_true(w.asks < MAX);
    w.asked[w.asks++] = f->credential_ask.tag;
    return !w.no_store;
}

static bool on_work(void *arg, struct keyd_work *work) {
    (void)arg;
    assert_true(w.works < MAX);
    w.work[w.works++] = work;
    return true;
}

static void on_random(void *p, size_t n) {
    memset(p, 7, n);
}

static uint64_t on_now(void *arg) {
    (void)arg;
    return 1000000;
}

static void on_log(enum event_id e, str client, str account) {
    (void)e, (void)client, (void)account;
}

static int open_core(void **state) {
    static const struct keyd_ops ops = {on_send, on_ask, on_work, on_random, on_now, on_log};
    (void)state;
    w = (struct world){.core = keyd_core_new(&ops, NULL)};
    assert_non_null(w.core);
    keyd_core_failures_max(w.core, 3);
    keyd_core_secret(w.core, S("secret"));
    w.peer = keyd_core_peer(w.core, &w);
    assert_non_null(w.peer);
    return 0;
}

static int close_core(void **state) {
    (void)state;
    assert_int_equal(keyd_core_open(w.core), 0);
    keyd_core_free(w.core);
    return 0;
}

static void begin(uint64_t tag, str mechanism, str response, str client) {
    struct frame f = {.type = FRAME_AUTH_BEGIN,
                      .auth_begin = {tag, mechanism, response.n > 0, response, STR_NONE, client}};
    assert_true(keyd_core_frame(w.peer, &f));
}

#define PLAIN S("\0ada@example.org\0guess")

static void answer_asks(enum err e) {
    for (size_t i = 0; i < w.asks; i++)
        keyd_core_credential(w.core, &(struct frame_credential){.tag = w.asked[i],
                                                                .err = (uint8_t)e,
                                                                .account = e ? STR_NONE : S("ada@example.org"),
                                                                .credential = e ? STR_NONE : S("x")});
    w.asks = 0;
}

static void end_work(size_t i, bool good) {
    w.work[i]->good = good;
    keyd_core_worked(w.core, w.work[i]);
}

static void the_right_password_is_let_in(void **state) {
    (void)state;
    begin(1, S("PLAIN"), PLAIN, S("192.0.2.1"));
    answer_asks(OK);
    end_work(0, true);
    assert_int_equal(w.good, 1);
}

/* All of them were begun before the first had failed. */
static void many_at_a_time_have_no_more_tries(void **state) {
    (void)state;
    static const str clients[] = {S_INIT("192.0.2.1"), S_INIT("192.0.2.2"), S_INIT("192.0.2.3"),
                                  S_INIT("192.0.2.4"), S_INIT("192.0.2.5"), S_INIT("192.0.2.6")};
    enum { COUNT = sizeof clients / sizeof *clients };
    for (size_t i = 0; i < COUNT; i++)
        begin(i + 1, S("PLAIN"), PLAIN, clients[i]);
    answer_asks(OK);
    assert_int_equal(w.works, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        end_work(i, i + 1 == COUNT); /* the last guess is right: nobody learns it */
    assert_int_equal(w.bad, 3);
    assert_int_equal(w.unavailable, COUNT - 3);
    assert_int_equal(w.good, 0);
}

static void so_have_proofs(void **state) {
    (void)state;
    enum { COUNT = 6 };
    struct frame f = {.type = FRAME_AUTH_STEP};
    for (uint64_t i = 1; i <= COUNT; i++)
        begin(i, S("SCRAM-SHA-256"), S("n,,n=ada@example.org,r=abcdefgh"), S("192.0.2.1"));
    answer_asks(ERR_NOT_FOUND);
    assert_int_equal(w.challenges, COUNT);
    for (uint64_t i = 1; i <= COUNT; i++) {
        f.auth_step = (struct frame_auth_step){i, S("c=biws,r=wrong,p=d3Jvbmc=")};
        assert_true(keyd_core_frame(w.peer, &f));
    }
    assert_int_equal(w.good, 0);
    assert_int_equal(w.bad, 3);
    assert_int_equal(w.unavailable, COUNT - 3);
}

static void the_store_goes(void **state) {
    (void)state;
    begin(1, S("PLAIN"), PLAIN, S("192.0.2.1"));
    begin(2, S("PLAIN"), PLAIN, S("192.0.2.1"));
    keyd_core_store_gone(w.core);
    assert_int_equal(w.unavailable, 2);
    answer_asks(OK); /* too late */
    w.no_store = true;
    begin(3, S("PLAIN"), PLAIN, S("192.0.2.1"));
    assert_int_equal(w.unavailable, 3);
}

/* The client hangs up while a thread looks at its password. */
static void ended_while_it_is_hashed(void **state) {
    (void)state;
    begin(1, S("PLAIN"), PLAIN, S("192.0.2.1"));
    answer_asks(OK);
    struct frame f = {.type = FRAME_AUTH_END, .auth_end = {1}};
    assert_true(keyd_core_frame(w.peer, &f));
    begin(1, S("PLAIN"), PLAIN, S("192.0.2.1")); /* the number is free again */
    answer_asks(OK);
    end_work(0, true);
    assert_int_equal(w.good, 0);
    end_work(1, false);
    assert_int_equal(w.bad, 1);
}

int main(void) {
#define ROW(f) cmocka_unit_test_setup_teardown(f, open_core, close_core)
    const struct CMUnitTest tests[] = {ROW(the_right_password_is_let_in), ROW(many_at_a_time_have_no_more_tries),
                                       ROW(so_have_proofs), ROW(the_store_goes), ROW(ended_while_it_is_hashed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
