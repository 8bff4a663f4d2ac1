/* What the scheduler promises, call by call. */
#include "queue/queue_in.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR };
#define NOW (UINT64_C(1000) * DAY)

static const struct queue_options usual = {
    .seed = 1,
    .retry_ms = {5 * MINUTE, 10 * MINUTE, HOUR},
    .retry_count = 3,
    .window_start = 2,
    .window_max = 4,
    .recipients_max = 3,
    .active_max = 10,
    .late_ms = 4 * HOUR,
};

static struct queue_rule rule;
static unsigned rule_calls;

static struct queue_rule rule_of(void *arg, str site, str domain) {
    (void)arg;
    (void)site;
    (void)domain;
    rule_calls++;
    return rule;
}

static int new_queue(void **state) {
    rule = (struct queue_rule){0};
    rule_calls = 0;
    return queue_new((struct queue **)state, &usual, rule_of, NULL) == OK ? 0 : -1;
}

static int free_queue(void **state) {
    queue_check_invariants(*state);
    queue_free(*state);
    return 0;
}

static struct queue_entry entry(uint64_t num, uint32_t index, const char *domain) {
    return (struct queue_entry){.num = num,
                                .index = index,
                                .kind = JOB_RELAY,
                                .next_hop = str_of(domain),
                                .sender = S("ada@example.org"),
                                .created_ms = NOW,
                                .next_ms = NOW,
                                .expires_ms = NOW + 5 * (uint64_t)DAY};
}

static void add(struct queue *q, uint64_t num, uint32_t index, const char *domain) {
    struct queue_entry e = entry(num, index, domain);
    assert_int_equal(queue_add(q, &e, NOW), OK);
}

static struct queue_want next(struct queue *q, uint64_t now_ms) {
    struct queue_want w;
    enum queue_want_kind kind = queue_next(q, now_ms, &w);
    assert_int_equal(kind, w.kind);
    queue_check_invariants(q);
    return w;
}

/* The next want, with every question for a site answered by "a site of its own". */
static struct queue_want next_job(struct queue *q, uint64_t now_ms) {
    struct queue_want w = next(q, now_ms);
    for (; w.kind == QUEUE_WANT_SITE; w = next(q, now_ms))
        queue_site_told(q, w.tag, S(""), false, 3600, now_ms);
    return w;
}

static struct queue_want deliver(struct queue *q, uint64_t now_ms) {
    struct queue_want w = next_job(q, now_ms);
    assert_int_equal(w.kind, QUEUE_WANT_DELIVER);
    return w;
}

static void idle(struct queue *q, uint64_t now_ms) {
    assert_int_equal(next_job(q, now_ms).kind, QUEUE_IDLE);
    assert_true(queue_deadline(q) > now_ms);
}

static void end(struct queue *q, const struct queue_want *w, enum job_outcome outcome, enum job_trouble trouble,
                uint64_t now_ms) {
    for (size_t i = 0; i < w->index_count; i++)
        (void)queue_result(q, w->job, w->indices[i], outcome, now_ms);
    queue_done(q, w->job, trouble, now_ms);
    queue_check_invariants(q);
}

static struct queue_entry_state look(struct queue *q, uint64_t num, uint32_t index) {
    struct queue_entry_state s;
    assert_true(queue_look(q, num, index, &s));
    return s;
}

static void test_one_message(void **state) {
    struct queue *q = *state;
    idle(q, NOW);
    assert_true(queue_deadline(q) == UINT64_MAX);
    add(q, 7, 0, "b.example");
    struct queue_entry again = entry(7, 0, "c.example");
    assert_int_equal(queue_add(q, &again, NOW), ERR_EXISTS);
    struct queue_want w = next(q, NOW);
    assert_int_equal(w.kind, QUEUE_WANT_SITE);
    assert_true(str_eq(w.domain, S("b.example")));
    assert_int_equal(next(q, NOW).kind, QUEUE_IDLE);
    queue_site_told(q, w.tag, S("mx.b"), false, 300, NOW);
    w = next(q, NOW);
    assert_int_equal(w.kind, QUEUE_WANT_DELIVER);
    assert_int_equal(w.num, 7);
    assert_int_equal(w.index_count, 1);
    assert_int_equal(w.indices[0], 0);
    assert_int_equal(w.job_kind, JOB_RELAY);
    assert_true(str_eq(w.site, S("mx.b")) && str_eq(w.next_hop, S("b.example")));
    assert_false(w.probe);
    assert_int_equal(look(q, 7, 0).state, QUEUE_ACTIVE);
    assert_int_equal(queue_result(q, w.job, 0, JOB_DELIVERED, NOW), 0);
    queue_done(q, w.job, JOB_FINE, NOW);
    assert_int_equal(queue_count(q), 0);
    idle(q, NOW);
}

static void test_recipients_share_a_job(void **state) {
    struct queue *q = *state;
    for (uint32_t i = 0; i < 5; i++)
        add(q, 1, i, i == 1 ? "other.example" : "b.example");
    size_t seen = 0;
    for (int i = 0; i < 3; i++) {
        struct queue_want w = deliver(q, NOW);
        assert_in_range(w.index_count, 1, 3);
        seen += w.index_count;
        assert_true(str_eq(w.next_hop, S("other.example")) == (w.indices[0] == 1));
    }
    assert_int_equal(seen, 5);
    idle(q, NOW);
}

/* Neither another sender nor another route nor another kind nor another message shares one. */
static void test_what_never_shares_a_job(void **state) {
    struct queue *q = *state;
    rule.window_max = 10;
    struct queue_options o = usual;
    o.window_start = 10;
    queue_configure(q, &o);
    struct queue_entry e[5];
    for (uint32_t i = 0; i < 5; i++)
        e[i] = entry(1, i, "b.example");
    e[1].sender = S("srs0=x@example.org");
    e[2].route = S("partner");
    e[3].kind = JOB_SMARTHOST;
    e[4].num = 2;
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(queue_add(q, &e[i], NOW), OK);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(deliver(q, NOW).index_count, 1);
    idle(q, NOW);
}

static void test_only_relaying_asks_for_a_site(void **state) {
    static const struct {
        enum job_kind kind;
        str site;
    } rows[] = {
        {JOB_SMARTHOST, S_INIT("smarthost:there")},
        {JOB_LMTP, S_INIT("lmtp:there")},
        {JOB_PIPE, S_INIT("pipe:there")},
        {JOB_WEBHOOK, S_INIT("webhook:there")},
    };
    struct queue *q = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct queue_entry e = entry(i + 1, 0, "there");
        e.kind = rows[i].kind;
        assert_int_equal(queue_add(q, &e, NOW), OK);
        struct queue_want w = next(q, NOW);
        assert_int_equal(w.kind, QUEUE_WANT_DELIVER);
        assert_int_equal(w.job_kind, rows[i].kind);
        assert_true(str_eq(w.site, rows[i].site));
    }
}

/* An attempt at a webhook is one request with one id, whoever else the message goes to. */
static void test_recipients_of_a_webhook_travel_alone(void **state) {
    struct queue *q = *state;
    for (uint32_t i = 0; i < 3; i++) {
        struct queue_entry e = entry(1, i, "there");
        e.kind = JOB_WEBHOOK;
        assert_int_equal(queue_add(q, &e, NOW), OK);
    }
    for (uint32_t i = 0; i < 3; i++) {
        struct queue_want w = deliver(q, NOW);
        assert_int_equal(w.index_count, 1);
        assert_int_equal(w.indices[0], i);
        end(q, &w, JOB_DELIVERED, JOB_FINE, NOW);
    }
    idle(q, NOW);
}

static void test_an_answer_holds_for_its_ttl(void **state) {
    struct queue *q = *state;
    add(q, 1, 0, "b.example");
    struct queue_want w = next(q, NOW);
    queue_site_told(q, w.tag, S("mx"), false, 300, NOW);
    w = next(q, NOW);
    end(q, &w, JOB_DELIVERED, JOB_FINE, NOW);
    add(q, 2, 0, "b.example");
    w = next(q, NOW + 299 * SECOND);
    assert_int_equal(w.kind, QUEUE_WANT_DELIVER);
    end(q, &w, JOB_DELIVERED, JOB_FINE, NOW + 299 * SECOND);
    add(q, 3, 0, "b.example");
    assert_int_equal(next(q, NOW + 300 * SECOND).kind, QUEUE_WANT_SITE);
}

static void test_no_answer_is_asked_for_again(void **state) {
    struct queue *q = *state;
    add(q, 1, 0, "b.example");
    struct queue_want w = next(q, NOW);
    queue_site_told(q, w.tag, S(""), true, 0, NOW);
    queue_site_told(q, w.tag, S("late answer"), false, 9, NOW); /* nobody asked */
    idle(q, NOW);
    add(q, 2, 0, "b.example"); /* waits with the first */
    idle(q, NOW + 4 * MINUTE);
    assert_int_equal(look(q, 1, 0).attempts, 0);
    assert_in_range(queue_deadline(q), NOW + 5 * MINUTE * 9 / 10, NOW + 5 * MINUTE * 11 / 10);
    assert_int_equal(next(q, queue_deadline(q)).kind, QUEUE_WANT_SITE);
}

static void test_an_operator_does_not_wait_for_an_answer(void **state) {
    struct queue *q = *state;
    add(q, 1, 0, "b.example");
    struct queue_want w = next(q, NOW);
    queue_site_told(q, w.tag, S(""), true, 0, NOW);
    assert_true(queue_retry_now(q, 1, 0, NOW + 1));
    assert_int_equal(next(q, NOW + 1).kind, QUEUE_WANT_SITE);
}

/* What was in line at one site goes to the other when the answer changes. */
static void test_a_domain_moves(void **state) {
    struct queue *q = *state;
    for (uint64_t num = 1; num <= 4; num++)
        add(q, num, 0, "b.example");
    struct queue_want w = next(q, NOW);
    queue_site_told(q, w.tag, S("old"), false, 60, NOW);
    struct queue_want first = next(q, NOW), second = next(q, NOW);
    assert_true(str_eq(second.site, S("old")));
    idle(q, NOW); /* window 2 */
    end(q, &first, JOB_DELIVERED, JOB_FINE, NOW + 2 * MINUTE);
    w = next(q, NOW + 2 * MINUTE);
    assert_int_equal(w.kind, QUEUE_WANT_SITE);
    queue_site_told(q, w.tag, S("new"), false, 60, NOW + 2 * MINUTE);
    for (int i = 0; i < 2; i++) {
        w = next(q, NOW + 2 * MINUTE);
        assert_int_equal(w.kind, QUEUE_WANT_DELIVER);
        assert_true(str_eq(w.site, S("new")));
    }
    end(q, &second, JOB_DELIVERED, JOB_FINE, NOW + 2 * MINUTE);
}

static void test_deferred_comes_again(void **state) {
    struct queue *q = *state;
    uint64_t now = NOW, ideal[] = {5 * MINUTE, 10 * MINUTE, HOUR, HOUR};
    add(q, 1, 0, "b.example");
    for (size_t i = 0; i < 4; i++) {
        struct queue_want w = deliver(q, now);
        uint64_t at = queue_result(q, w.job, 0, i == 2 ? JOB_UNKNOWN : JOB_DEFERRED, now);
        queue_done(q, w.job, JOB_FINE, now);
        assert_in_range(at - now, ideal[i] * 9 / 10, ideal[i] * 11 / 10);
        assert_int_equal(look(q, 1, 0).attempts, i + 1);
        assert_true(look(q, 1, 0).next_ms == at);
        assert_int_equal(look(q, 1, 0).state, i == 2 ? QUEUE_UNKNOWN : QUEUE_WAITING);
        idle(q, at - 1);
        now = at;
    }
}

static void test_no_result_is_deferred(void **state) {
    struct queue *q = *state;
    add(q, 1, 0, "b.example");
    add(q, 1, 1, "b.example");
    struct queue_want w = deliver(q, NOW);
    assert_int_equal(w.index_count, 2);
    assert_int_equal(queue_result(q, w.job, 1, JOB_FAILED, NOW), 0);
    queue_done(q, w.job, JOB_BROKEN, NOW);
    assert_int_equal(look(q, 1, 0).attempts, 1);
    assert_int_equal(queue_count(q), 1);
    queue_done(q, w.job, JOB_FINE, NOW);                             /* it is over */
    assert_int_equal(queue_result(q, w.job, 0, JOB_FAILED, NOW), 0); /* and says nothing any more */
    assert_int_equal(queue_count(q), 1);
}

static void test_removed_while_active(void **state) {
    struct queue *q = *state;
    add(q, 1, 0, "b.example");
    struct queue_want w = deliver(q, NOW);
    assert_true(queue_remove(q, 1, 0));
    assert_false(queue_remove(q, 1, 0));
    add(q, 1, 0, "b.example"); /* the same name again: the old job does not speak of it */
    assert_int_equal(queue_result(q, w.job, 0, JOB_DELIVERED, NOW), 0);
    queue_done(q, w.job, JOB_FINE, NOW);
    assert_int_equal(look(q, 1, 0).attempts, 0);
    w = deliver(q, NOW);
    end(q, &w, JOB_DELIVERED, JOB_FINE, NOW);
    assert_int_equal(queue_count(q), 0);
}

static void test_hold(void **state) {
    struct queue *q = *state;
    struct queue_entry e = entry(1, 0, "b.example");
    e.held = true;
    assert_int_equal(queue_add(q, &e, NOW), OK);
    idle(q, NOW + 30 * (uint64_t)DAY); /* no time ends it */
    assert_int_equal(look(q, 1, 0).state, QUEUE_HELD);
    assert_false(queue_retry_now(q, 1, 0, NOW));
    assert_true(queue_hold(q, 1, 0, false, NOW));
    struct queue_want w = deliver(q, NOW);
    assert_true(queue_hold(q, 1, 0, true, NOW)); /* while active: the attempt goes on */
    end(q, &w, JOB_DEFERRED, JOB_FINE, NOW);
    assert_int_equal(look(q, 1, 0).state, QUEUE_HELD);
    idle(q, NOW + DAY);
    assert_true(queue_hold(q, 1, 0, false, NOW + DAY));
    next_job(q, NOW + DAY);
    assert_false(queue_hold(q, 1, 9, true, NOW));
}

static void test_late_and_expired(void **state) {
    struct queue *q = *state;
    struct queue_options o = usual;
    o.retry_ms[0] = 30 * (uint64_t)DAY;
    queue_configure(q, &o);
    for (uint32_t i = 0; i < 3; i++)
        add(q, 1, i, "b.example");
    struct queue_want w = deliver(q, NOW);
    end(q, &w, JOB_DEFERRED, JOB_FINE, NOW);
    idle(q, NOW + 4 * HOUR - 1);
    w = next(q, NOW + 4 * HOUR);
    assert_int_equal(w.kind, QUEUE_WANT_LATE);
    assert_int_equal(w.index_count, 3); /* one notice for all of them */
    idle(q, NOW + 5 * DAY - 1ull);
    w = next(q, NOW + 5 * (uint64_t)DAY);
    assert_int_equal(w.kind, QUEUE_WANT_EXPIRE);
    assert_int_equal(w.num, 1);
    assert_int_equal(w.index_count, 3);
    idle(q, NOW + 6 * (uint64_t)DAY); /* asked once */
    assert_int_equal(look(q, 1, 0).state, QUEUE_REPORTING);
    for (uint32_t i = 0; i < 3; i++)
        assert_true(queue_remove(q, 1, i));
}

/* A message that its sender holds back is not late before its time, and one whose notice went out is not late again. */
static void test_not_late(void **state) {
    struct queue *q = *state;
    struct queue_entry later = entry(1, 0, "b.example"), told = entry(2, 0, "b.example");
    later.next_ms = NOW + DAY;
    told.late_told = true;
    told.next_ms = NOW + 2 * DAY;
    told.attempts = 3;
    assert_int_equal(queue_add(q, &later, NOW), OK);
    assert_int_equal(queue_add(q, &told, NOW), OK);
    idle(q, NOW + DAY - 1);
    struct queue_want w = deliver(q, NOW + DAY);
    assert_int_equal(w.num, 1);
    end(q, &w, JOB_DELIVERED, JOB_FINE, NOW + DAY);
    w = deliver(q, NOW + 2 * DAY);
    assert_int_equal(w.num, 2);
}

static void test_window(void **state) {
    struct queue *q = *state;
    struct queue_want w[8];
    for (uint64_t num = 1; num <= 40; num++)
        add(q, num, 0, "b.example");
    size_t n = 0;
    while (next_job(q, NOW).kind == QUEUE_WANT_DELIVER)
        n++;
    assert_int_equal(n, 2); /* window_start */
    struct queue_site_state s;
    size_t at = 0;
    assert_true(queue_site_next(q, &at, &s));
    assert_int_equal(s.window_milli, 2000);
    assert_int_equal(s.active, 2);
    assert_int_equal(s.waiting, 38);
    assert_false(queue_site_next(q, &at, &s));
    (void)w;
}

static void test_window_grows_to_its_maximum(void **state) {
    struct queue *q = *state;
    uint64_t jobs[8];
    size_t n = 0, most = 0;
    for (uint64_t num = 1; num <= 60; num++)
        add(q, num, 0, "b.example");
    while (queue_count(q) > 0) {
        for (struct queue_want w; (w = next_job(q, NOW)).kind == QUEUE_WANT_DELIVER;)
            jobs[n++] = w.job;
        most = n > most ? n : most;
        assert_true(n > 0);
        (void)queue_result(q, jobs[0], 0, JOB_DELIVERED, NOW);
        queue_done(q, jobs[0], JOB_FINE, NOW);
        jobs[0] = jobs[--n];
    }
    assert_int_equal(most, 4); /* window_max */
}

/* A site that cannot be reached is asked by one attempt at a time; what waits for it makes no attempts of its own. */
static void test_dead_site(void **state) {
    struct queue *q = *state;
    for (uint64_t num = 1; num <= 100; num++)
        add(q, num, 0, "b.example");
    struct queue_want first = deliver(q, NOW), second = deliver(q, NOW);
    end(q, &first, JOB_DEFERRED, JOB_NO_CONNECT, NOW);
    end(q, &second, JOB_DEFERRED, JOB_NO_CONNECT, NOW);
    idle(q, NOW);
    struct queue_site_state s;
    size_t at = 0;
    assert_true(queue_site_next(q, &at, &s) && s.dead);
    assert_in_range(s.retry_ms - NOW, 5 * MINUTE * 9 / 10, 5 * MINUTE * 11 / 10);
    assert_true(look(q, 50, 0).next_ms == s.retry_ms);
    idle(q, s.retry_ms - 1 < look(q, 1, 0).next_ms ? s.retry_ms - 1 : NOW);
    struct queue_want probe = deliver(q, s.retry_ms);
    assert_true(probe.probe);
    assert_int_equal(next_job(q, s.retry_ms).kind, QUEUE_IDLE);
    end(q, &probe, JOB_DELIVERED, JOB_FINE, s.retry_ms);
    assert_false(deliver(q, s.retry_ms).probe); /* it lives: all may go */
    assert_false(deliver(q, s.retry_ms).probe);
}

static void test_an_operator_probes_at_once(void **state) {
    struct queue *q = *state;
    for (uint64_t num = 1; num <= 4; num++)
        add(q, num, 0, "b.example");
    struct queue_want first = deliver(q, NOW), second = deliver(q, NOW);
    end(q, &first, JOB_DEFERRED, JOB_HANDSHAKE, NOW);
    end(q, &second, JOB_DEFERRED, JOB_HANDSHAKE, NOW);
    idle(q, NOW);
    assert_true(queue_retry_now(q, 4, 0, NOW));
    assert_true(deliver(q, NOW).probe);
    idle(q, NOW);
}

static void test_trouble_of_ours_says_nothing_of_the_site(void **state) {
    struct queue *q = *state;
    for (uint64_t num = 1; num <= 20; num++)
        add(q, num, 0, "b.example");
    for (int i = 0; i < 20; i++) {
        struct queue_want w = deliver(q, NOW);
        assert_false(w.probe);
        end(q, &w, JOB_DEFERRED, JOB_OURS, NOW);
    }
}

static void test_priority(void **state) {
    struct queue *q = *state;
    static const uint8_t priorities[] = {0, 5, 12, 10, 19};
    static const uint64_t order[] = {3, 5, 1, 4, 2};
    struct queue_options o = usual;
    o.window_start = o.window_max = 1;
    queue_configure(q, &o);
    for (uint64_t num = 1; num <= 5; num++) {
        struct queue_entry e = entry(num, 0, "b.example");
        e.priority = priorities[num - 1];
        assert_int_equal(queue_add(q, &e, NOW), OK);
    }
    for (size_t i = 0; i < 5; i++) {
        struct queue_want w = deliver(q, NOW);
        assert_int_equal(w.num, order[i]);
        end(q, &w, JOB_DELIVERED, JOB_FINE, NOW);
    }
}

static void test_one_goes_before_the_rest_of_many(void **state) {
    struct queue *q = *state;
    struct queue_options o = usual;
    o.window_start = o.window_max = 1;
    queue_configure(q, &o);
    for (uint32_t i = 0; i < 60; i++)
        add(q, 1, i, "b.example");
    add(q, 2, 0, "b.example");
    add(q, 3, 0, "b.example");
    static const uint64_t order[] = {1, 1, 1, 1, 2, 1, 1, 1, 1, 3, 1};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        struct queue_want w = deliver(q, NOW);
        assert_int_equal(w.num, order[i]);
        end(q, &w, JOB_DELIVERED, JOB_FINE, NOW);
    }
}

static void test_connection_is_used_again(void **state) {
    struct queue *q = *state;
    add(q, 1, 0, "a.example");
    add(q, 2, 0, "a.example");
    add(q, 3, 0, "b.example");
    struct queue_want w = deliver(q, NOW), more;
    end(q, &w, JOB_DELIVERED, JOB_FINE, NOW);
    assert_true(queue_next_of_site(q, w.site, NOW, &more));
    assert_int_equal(more.num, 2);
    end(q, &more, JOB_DELIVERED, JOB_FINE, NOW);
    assert_false(queue_next_of_site(q, S("a.example"), NOW, &more));
    assert_false(queue_next_of_site(q, S("nobody.example"), NOW, &more));
}

/* With one place for all, a kept connection does not keep the others waiting. */
static void test_the_last_place_goes_round(void **state) {
    struct queue *q = *state;
    struct queue_options o = usual;
    o.active_max = 1;
    queue_configure(q, &o);
    for (uint64_t num = 1; num <= 4; num++)
        add(q, num, 0, num % 2 ? "a.example" : "b.example");
    struct queue_want w = deliver(q, NOW), more;
    idle(q, NOW);
    queue_result(q, w.job, 0, JOB_DELIVERED, NOW);
    queue_done(q, w.job, JOB_FINE, NOW);
    assert_false(queue_next_of_site(q, S("a.example"), NOW, &more));
    assert_true(queue_next_of_site(q, S("b.example"), NOW, &more));
}

static void test_rules_change_live(void **state) {
    struct queue *q = *state;
    rule.window_max = 1;
    for (uint64_t num = 1; num <= 9; num++)
        add(q, num, 0, "b.example");
    deliver(q, NOW);
    idle(q, NOW);
    assert_int_equal(rule_calls, 1);
    rule = (struct queue_rule){.window_max = 3, .rate_count = 1, .rate_ms = 10 * SECOND};
    queue_configure(q, &usual);
    assert_int_equal(rule_calls, 2);
    struct queue_site_state s;
    size_t at = 0;
    assert_true(queue_site_next(q, &at, &s));
    assert_int_equal(s.window_milli, 1000); /* it grows again by itself */
    struct queue_options o = usual;
    o.late_ms = MINUTE;
    queue_configure(q, &o);
    assert_true(queue_deadline(q) == NOW + MINUTE);
}

/* The same calls and the same seed: the same times. */
static void test_deterministic(void **state) {
    (void)state;
    uint64_t at[2];
    for (int i = 0; i < 2; i++) {
        struct queue *q;
        assert_int_equal(queue_new(&q, &usual, rule_of, NULL), OK);
        add(q, 1, 0, "b.example");
        struct queue_want w = deliver(q, NOW);
        at[i] = queue_result(q, w.job, 0, JOB_DEFERRED, NOW);
        queue_free(q);
    }
    assert_true(at[0] == at[1]);
}

#define T(f) cmocka_unit_test_setup_teardown(f, new_queue, free_queue)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_one_message),
        T(test_recipients_share_a_job),
        T(test_what_never_shares_a_job),
        T(test_only_relaying_asks_for_a_site),
        T(test_recipients_of_a_webhook_travel_alone),
        T(test_an_answer_holds_for_its_ttl),
        T(test_no_answer_is_asked_for_again),
        T(test_an_operator_does_not_wait_for_an_answer),
        T(test_a_domain_moves),
        T(test_deferred_comes_again),
        T(test_no_result_is_deferred),
        T(test_removed_while_active),
        T(test_hold),
        T(test_late_and_expired),
        T(test_not_late),
        T(test_window),
        T(test_window_grows_to_its_maximum),
        T(test_dead_site),
        T(test_an_operator_probes_at_once),
        T(test_trouble_of_ours_says_nothing_of_the_site),
        T(test_priority),
        T(test_one_goes_before_the_rest_of_many),
        T(test_connection_is_used_again),
        T(test_the_last_place_goes_round),
        T(test_rules_change_live),
        cmocka_unit_test(test_deterministic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
