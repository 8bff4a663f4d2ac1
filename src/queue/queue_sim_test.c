/* Simulated days of the scheduler in virtual time: sites that are slow, dead, limited or many.  Prints the numbers that
 * docs/queue.md quotes; each is also asserted as what the scheduler promises. */
#include "base/heap.h"
#include "queue/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR };
enum { SITES_MAX = 128, TALKS_MAX = 4096, CONNECT_MS = 30 * SECOND, REFUSE_MS = 50, ASK_MS = 20 };

struct sim_site {
    char name[32];
    unsigned latency_ms; /* of a transaction, up to half more or less */
    unsigned limit;      /* connections above it get 421; 0: none */
    uint64_t dead_until_ms;
    bool defers; /* 451 to everybody */
    unsigned open, open_most;
    uint64_t attempts, probes, refused, recipients, last_ms, most_ms; /* the last one; the 9,000th */
};

struct talk {
    uint64_t job, num;
    struct sim_site *site;
    uint32_t indices[QUEUE_JOB_RCPTS_MAX];
    size_t count;
    enum job_outcome outcome;
    enum job_trouble trouble;
    bool counted; /* among the open connections of its site */
};

struct sim {
    struct queue *q;
    struct queue_options o;
    struct queue_rule rule;
    uint64_t now_ms, start_ms, random, places; /* places: jobs begun */
    struct sim_site sites[SITES_MAX];
    size_t site_count;
    struct talk *talks;
    uint32_t free_talks[TALKS_MAX], free_count;
    struct heap ends;
    uint64_t delivered, deferred, late, expired, asked;
    uint64_t late_at, expired_at;
    uint64_t watched, watched_places, watched_at; /* a message, and when its job began */
    uint64_t begun[4096];                         /* times of the first jobs */
    size_t begun_count;
    bool reuse, rolls_up;
};

static struct queue_rule rule_of(void *arg, str site, str domain) {
    (void)site;
    (void)domain;
    return ((struct sim *)arg)->rule;
}

static struct sim *sim_new(struct queue_rule rule, uint64_t active_max) {
    struct sim *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->talks = calloc(TALKS_MAX, sizeof *s->talks);
    assert_non_null(s->talks);
    for (uint32_t i = 1; i < TALKS_MAX; i++)
        s->free_talks[s->free_count++] = i;
    s->rule = rule;
    s->now_ms = s->start_ms = UINT64_C(1764000000000);
    s->o = (struct queue_options){
        .seed = 42,
        .retry_ms = {5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 40 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR},
        .retry_count = 7,
        .window_start = 5,
        .window_max = 20,
        .recipients_max = 50,
        .active_max = active_max,
        .late_ms = 4 * HOUR,
    };
    assert_int_equal(queue_new(&s->q, &s->o, rule_of, s), OK);
    return s;
}

static void sim_free(struct sim *s) {
    queue_free(s->q);
    heap_free(&s->ends);
    free(s->talks);
    free(s);
}

static struct sim_site *add_site(struct sim *s, const char *name, unsigned latency_ms) {
    struct sim_site *site = &s->sites[s->site_count++];
    assert_true(s->site_count <= SITES_MAX);
    *site = (struct sim_site){.latency_ms = latency_ms};
    snprintf(site->name, sizeof site->name, "%s", name);
    return site;
}

static struct sim_site *site_named(struct sim *s, str name) {
    for (size_t i = 0; i < s->site_count; i++)
        if (str_eq(str_of(s->sites[i].name), name))
            return &s->sites[i];
    fail_msg("no site %.*s", STR_ARG(name));
    return NULL;
}

static void add_rcpt(struct sim *s, uint64_t num, uint32_t index, const char *domain) {
    struct queue_entry e = {.num = num,
                            .index = index,
                            .kind = JOB_RELAY,
                            .next_hop = str_of(domain),
                            .sender = S("news@example.org"),
                            .created_ms = s->now_ms,
                            .next_ms = s->now_ms,
                            .expires_ms = s->now_ms + 5 * (uint64_t)DAY};
    assert_int_equal(queue_add(s->q, &e, s->now_ms), OK);
}

static void add_mailing(struct sim *s, uint64_t num, uint32_t count, const char *domain) {
    for (uint32_t i = 0; i < count; i++)
        add_rcpt(s, num, i, domain);
}

static uint64_t dice(struct sim *s, uint64_t below) {
    s->random = s->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (s->random >> 33) % below;
}

/* What the site makes of an attempt that begins now, and how long it takes. */
static unsigned meet(struct sim *s, struct sim_site *site, struct talk *t) {
    site->attempts++;
    if (site->dead_until_ms > s->now_ms) {
        t->outcome = JOB_DEFERRED;
        t->trouble = JOB_NO_CONNECT;
        return CONNECT_MS;
    }
    if (site->limit && site->open >= site->limit) {
        site->refused++;
        t->outcome = JOB_DEFERRED;
        t->trouble = JOB_BUSY;
        return REFUSE_MS;
    }
    t->counted = true;
    t->outcome = site->defers ? JOB_DEFERRED : JOB_DELIVERED;
    t->trouble = JOB_FINE;
    if (++site->open > site->open_most)
        site->open_most = site->open;
    return site->latency_ms / 2 + (unsigned)dice(s, site->latency_ms + 1);
}

static void begin(struct sim *s, const struct queue_want *w) {
    assert_true(s->free_count > 0 && w->index_count <= QUEUE_JOB_RCPTS_MAX);
    uint32_t at = s->free_talks[--s->free_count];
    struct talk *t = &s->talks[at];
    t->job = w->job;
    t->num = w->num;
    t->site = site_named(s, w->site);
    t->count = w->index_count;
    t->counted = false;
    memcpy(t->indices, w->indices, w->index_count * sizeof *w->indices);
    t->site->probes += w->probe;
    s->places++;
    if (s->begun_count < sizeof s->begun / sizeof *s->begun)
        s->begun[s->begun_count++] = s->now_ms;
    if (w->num == s->watched && !s->watched_at) {
        s->watched_at = s->now_ms;
        s->watched_places = s->places - s->watched_places - 1;
    }
    assert_true(heap_reserve(&s->ends, at));
    heap_set(&s->ends, at, s->now_ms + meet(s, t->site, t));
}

static void answer(struct sim *s, const struct queue_want *w) {
    s->asked++;
    queue_site_told(s->q, w->tag, s->rolls_up ? S("hosted") : S(""), false, 3600, s->now_ms);
}

static void handle(struct sim *s, const struct queue_want *w) {
    switch (w->kind) {
    case QUEUE_IDLE: return;
    case QUEUE_WANT_SITE: answer(s, w); return;
    case QUEUE_WANT_DELIVER: begin(s, w); return;
    case QUEUE_WANT_LATE:
        s->late += w->index_count;
        s->late_at = s->now_ms;
        return;
    case QUEUE_WANT_EXPIRE:
        s->expired += w->index_count;
        s->expired_at = s->now_ms;
        for (size_t i = 0; i < w->index_count; i++)
            assert_true(queue_remove(s->q, w->num, w->indices[i]));
        return;
    }
}

static void end_first(struct sim *s) {
    uint32_t at = heap_first(&s->ends);
    struct talk *t = &s->talks[at];
    heap_remove(&s->ends, at);
    t->site->open -= t->counted;
    for (size_t i = 0; i < t->count; i++)
        queue_result(s->q, t->job, t->indices[i], t->outcome, s->now_ms);
    if (t->outcome == JOB_DELIVERED) {
        s->delivered += t->count;
        t->site->recipients += t->count;
        t->site->last_ms = s->now_ms;
        if (t->site->recipients == 9000)
            t->site->most_ms = s->now_ms;
    } else {
        s->deferred++;
    }
    queue_done(s->q, t->job, t->trouble, s->now_ms);
    s->free_talks[s->free_count++] = at;
    struct queue_want w;
    if (s->reuse && t->trouble == JOB_FINE && queue_next_of_site(s->q, str_of(t->site->name), s->now_ms, &w))
        begin(s, &w);
}

static void hand_out(struct sim *s) {
    struct queue_want w;
    while (queue_next(s->q, s->now_ms, &w) != QUEUE_IDLE)
        handle(s, &w);
}

/* To that time, or until the queue is empty. */
static void run_until(struct sim *s, uint64_t until_ms) {
    hand_out(s);
    while (queue_count(s->q) > 0) {
        uint64_t ends = heap_first_key(&s->ends), next = queue_deadline(s->q);
        uint64_t at = ends < next ? ends : next;
        if (at > until_ms)
            break;
        s->now_ms = at;
        if (ends == at)
            end_first(s);
        hand_out(s);
    }
    if (until_ms != UINT64_MAX)
        s->now_ms = until_ms;
}

static void watch(struct sim *s, uint64_t num) {
    s->watched = num;
    s->watched_at = 0;
    s->watched_places = s->places;
}

/* ---- 1: a mailing and small ones */

static void single_beside_mailing(uint64_t after_ms) {
    struct sim *s = sim_new((struct queue_rule){0}, 0);
    struct sim_site *site = add_site(s, "big.example", SECOND);
    add_mailing(s, 1, 100000, "big.example");
    if (after_ms)
        run_until(s, s->now_ms + after_ms);
    watch(s, 2);
    uint64_t came = s->now_ms;
    add_rcpt(s, 2, 0, "big.example");
    run_until(s, UINT64_MAX);
    printf("one message, %3u s after a mailing of 100,000 (2,000 jobs) began: %u places and %.2f s until its turn; "
           "the mailing takes %.0f s\n",
           (unsigned)(after_ms / SECOND), (unsigned)s->watched_places, (double)(s->watched_at - came) / SECOND,
           (double)(site->last_ms - s->start_ms) / SECOND);
    assert_in_range(s->watched_places, 0, 4);
    assert_int_equal(s->delivered, 100001);
    sim_free(s);
}

static void test_single_beside_mailing(void **state) {
    (void)state;
    single_beside_mailing(0);
    single_beside_mailing(10 * SECOND);
    single_beside_mailing(60 * SECOND);
}

/* How long the mailing takes when a small message comes every so often (0: none comes). */
static uint64_t mailing_time(unsigned every_ms) {
    struct sim *s = sim_new((struct queue_rule){0}, 0);
    add_site(s, "big.example", SECOND);
    add_mailing(s, 1, 100000, "big.example");
    struct queue_entry_state look;
    uint64_t num = 2, took = 0, last_in = 99999;
    while (queue_look(s->q, 1, (uint32_t)last_in, &look)) {
        if (every_ms)
            add_rcpt(s, num++, 0, "big.example");
        run_until(s, s->now_ms + (every_ms ? every_ms : 10));
    }
    took = s->now_ms - s->start_ms;
    sim_free(s);
    return took;
}

static void test_mailing_is_slowed_by_a_quarter(void **state) {
    (void)state;
    static const unsigned every_ms[] = {500, 200, 100, 50, 20};
    uint64_t alone = mailing_time(0);
    for (size_t i = 0; i < sizeof every_ms / sizeof *every_ms; i++) {
        double factor = (double)mailing_time(every_ms[i]) / (double)alone;
        printf("a small message every %3u ms (the site takes one job each 50 ms): the mailing takes %.3f of its time\n",
               every_ms[i], factor);
        assert_true(factor < 1.26);
    }
}

/* ---- 2: 421 above a limit */

static double share_deferred(unsigned limit, unsigned latency_ms) {
    struct sim *s = sim_new((struct queue_rule){0}, 0);
    struct sim_site *site = add_site(s, "strict.example", latency_ms);
    site->limit = limit;
    for (uint64_t num = 1; num <= 10000; num++)
        add_rcpt(s, num, 0, "strict.example");
    run_until(s, UINT64_MAX);
    assert_int_equal(s->delivered, 10000);
    double share = (double)site->refused / (double)site->attempts;
    printf(
        "421 above %2u connections, %4u ms a message: %5.2f %% of %u attempts deferred, %.1f of %u connections used\n",
        limit, latency_ms, 100 * share, (unsigned)site->attempts,
        9000.0 * latency_ms / (double)(site->most_ms - s->start_ms), limit);
    sim_free(s);
    return share;
}

static void test_connection_limit(void **state) {
    (void)state;
    assert_true(share_deferred(5, 200) < 0.05);
    assert_true(share_deferred(5, 1000) < 0.05);
    assert_true(share_deferred(1, 1000) < 0.05);
    assert_true(share_deferred(2, 1000) < 0.05);
    assert_true(share_deferred(12, 1000) < 0.05);
}

/* ---- 3: a dead site */

static uint64_t others_take(struct sim *s, bool beside_dead) {
    for (int i = 0; i < 100; i++) {
        char name[32];
        snprintf(name, sizeof name, "live%d.example", i);
        add_site(s, name, 500);
    }
    struct sim_site *dead = add_site(s, "dead.example", 500);
    dead->dead_until_ms = UINT64_MAX;
    for (uint64_t num = 1; beside_dead && num <= 100000; num++)
        add_rcpt(s, num, 0, "dead.example");
    for (uint64_t num = 0; num < 10000; num++)
        add_rcpt(s, 200000 + num, 0, s->sites[num % 100].name);
    run_until(s, s->now_ms + 10 * MINUTE);
    assert_int_equal(s->delivered, 10000);
    uint64_t last = 0;
    for (size_t i = 0; i < 100; i++)
        last = s->sites[i].last_ms > last ? s->sites[i].last_ms : last;
    return last - s->start_ms;
}

static void test_dead_site(void **state) {
    (void)state;
    struct sim *without = sim_new((struct queue_rule){0}, 500), *s = sim_new((struct queue_rule){0}, 500);
    uint64_t alone = others_take(without, false), beside = others_take(s, true);
    struct sim_site *dead = &s->sites[100];
    printf("10,000 messages to 100 live sites: %.1f s alone, %.1f s beside 100,000 for a dead one\n",
           (double)alone / SECOND, (double)beside / SECOND);
    assert_true(beside * 10 <= alone * 11);
    run_until(s, s->start_ms + DAY);
    printf("a dead site with 100,000 messages: %u attempts in a day, %u of them probes\n", (unsigned)dead->attempts,
           (unsigned)dead->probes);
    assert_in_range(dead->attempts, 10, 60);
    run_until(s, UINT64_MAX);
    printf("... %u attempts in five days; %u told late, %u expired\n", (unsigned)dead->attempts, (unsigned)s->late,
           (unsigned)s->expired);
    assert_int_equal(s->expired, 100000);
    assert_int_equal(s->late, 100000);
    sim_free(without);
    sim_free(s);
}

static void test_dead_site_comes_back(void **state) {
    (void)state;
    struct sim *s = sim_new((struct queue_rule){0}, 0);
    struct sim_site *site = add_site(s, "back.example", 200);
    site->dead_until_ms = s->now_ms + 6 * HOUR;
    for (uint64_t num = 1; num <= 100000; num++)
        add_rcpt(s, num, 0, "back.example");
    run_until(s, site->dead_until_ms);
    uint64_t failed = site->attempts;
    run_until(s, UINT64_MAX);
    printf("back after 6 h: %u failed attempts for 100,000 messages; all delivered %.0f min after it came back\n",
           (unsigned)failed, (double)(site->last_ms - site->dead_until_ms) / MINUTE);
    assert_in_range(failed, 5, 20);
    assert_int_equal(s->delivered, 100000);
    sim_free(s);
}

/* ---- 4: rates */

static void rate_is_kept(unsigned count, uint64_t ms) {
    struct sim *s = sim_new((struct queue_rule){.rate_count = count, .rate_ms = ms}, 0);
    add_site(s, "rate.example", 100);
    for (uint64_t num = 1; num <= 2000; num++)
        add_rcpt(s, num, 0, "rate.example");
    run_until(s, UINT64_MAX);
    assert_int_equal(s->begun_count, 2000);
    size_t most = 0;
    for (size_t first = 0, i = 0; i < s->begun_count; i++) {
        while (s->begun[i] - s->begun[first] >= ms)
            first++;
        most = i - first + 1 > most ? i - first + 1 : most;
    }
    double fair = 1999.0 * (double)ms / count, took = (double)(s->begun[1999] - s->begun[0]);
    printf("rate %u in %.0f s: at most %u in any such span, 2,000 messages in %.2f of the shortest time\n", count,
           (double)ms / SECOND, (unsigned)most, took / fair);
    assert_in_range(most, 1, count);
    assert_true(took < fair * 1.01 + 1);
    sim_free(s);
}

static void test_rates(void **state) {
    (void)state;
    rate_is_kept(100, MINUTE);
    rate_is_kept(7, 10 * SECOND);
    rate_is_kept(1000, HOUR);
}

/* ---- 5: MX roll-up */

static void test_roll_up(void **state) {
    (void)state;
    struct sim *s = sim_new((struct queue_rule){0}, 0);
    s->rolls_up = true;
    struct sim_site *site = add_site(s, "hosted", 300);
    for (uint32_t i = 0; i < 5000; i++) {
        char domain[32];
        snprintf(domain, sizeof domain, "d%u.example", (unsigned)(i % 50));
        add_rcpt(s, i / 10, i % 10, domain);
    }
    run_until(s, UINT64_MAX);
    printf("50 domains of one site: %u questions, at most %u connections, %u recipients delivered\n",
           (unsigned)s->asked, site->open_most, (unsigned)s->delivered);
    assert_int_equal(s->asked, 50);
    assert_int_equal(site->open_most, 20);
    assert_int_equal(s->delivered, 5000);
    sim_free(s);
}

/* ---- 6: the schedule */

static void test_schedule(void **state) {
    (void)state;
    struct sim *s = sim_new((struct queue_rule){0}, 0);
    struct sim_site *site = add_site(s, "grey.example", 0);
    site->defers = true;
    add_rcpt(s, 1, 0, "grey.example");
    run_until(s, UINT64_MAX);
    printf("one message, always deferred: waits of");
    for (size_t i = 1; i < s->begun_count; i++) {
        uint64_t wait = s->begun[i] - s->begun[i - 1], ideal = s->o.retry_ms[i < 7 ? i - 1 : 6];
        assert_in_range(wait, ideal * 9 / 10, ideal * 11 / 10);
        if (i < 9)
            printf(" %.1f", (double)wait / MINUTE);
    }
    printf(" ... min, %u attempts; late after %.2f h, expired after %.2f h\n", (unsigned)s->begun_count,
           (double)(s->late_at - s->start_ms) / HOUR, (double)(s->expired_at - s->start_ms) / HOUR);
    assert_int_equal(s->late, 1);
    assert_int_equal(s->expired, 1);
    assert_int_equal(s->late_at - s->start_ms, 4 * HOUR);
    assert_int_equal(s->expired_at - s->start_ms, 5 * (uint64_t)DAY);
    sim_free(s);
}

/* What failed in one second does not come back in one. */
static void test_spread(void **state) {
    (void)state;
    enum { COUNT = 3000, WAIT_S = 5 * 60 };
    struct sim *s = sim_new((struct queue_rule){.window_max = 1000}, 0);
    s->o.window_start = s->o.window_max = 4000;
    queue_configure(s->q, &s->o);
    s->rule.window_max = 4000;
    queue_configure(s->q, &s->o);
    add_site(s, "grey.example", 0)->defers = true;
    for (uint64_t num = 1; num <= COUNT; num++)
        add_rcpt(s, num, 0, "grey.example");
    run_until(s, s->now_ms + SECOND);
    unsigned in_second[WAIT_S * 2] = {0}, most = 0;
    for (uint64_t num = 1; num <= COUNT; num++) {
        struct queue_entry_state look;
        assert_true(queue_look(s->q, num, 0, &look));
        assert_int_equal(look.attempts, 1);
        unsigned *n = &in_second[(look.next_ms - s->start_ms) / SECOND];
        most = ++*n > most ? *n : most;
    }
    printf("%d messages deferred in one second come back over a minute, at most %u in a second\n", COUNT, most);
    assert_in_range(most, 1, COUNT / 20);
    sim_free(s);
}

/* ---- 7: fairness between sites */

static void fair_between_sites(bool reuse) {
    struct sim *s = sim_new((struct queue_rule){0}, 100);
    s->reuse = reuse;
    for (int i = 0; i < 100; i++) {
        char name[32];
        snprintf(name, sizeof name, "s%d.example", i);
        add_site(s, name, 500);
        for (uint32_t k = 0; k < 500u * (1 + (unsigned)i % 10); k++)
            add_rcpt(s, (uint64_t)i * 10000 + k, 0, name);
    }
    run_until(s, s->now_ms + 100 * SECOND);
    uint64_t least = UINT64_MAX, most = 0;
    for (size_t i = 0; i < 100; i++) {
        uint64_t n = s->sites[i].recipients;
        least = n < least ? n : least;
        most = n > most ? n : most;
    }
    printf(
        "100 sites with 500 to 5,000 messages each, 100 connections in all, %s: after 100 s %u to %u delivered each\n",
        reuse ? "connections kept" : "a new one each", (unsigned)least, (unsigned)most);
    assert_true(least * 13 >= most * 10);
    sim_free(s);
}

static void test_fair_between_sites(void **state) {
    (void)state;
    fair_between_sites(false);
    fair_between_sites(true);
}

/* ---- 8: a million */

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void million(const char *what, uint32_t rcpts, uint32_t domains, bool waiting) {
    enum { MILLION = 1000000 };
    struct sim *s = sim_new((struct queue_rule){0}, 0);
    double began = seconds();
    for (uint32_t i = 0; i < MILLION; i++) {
        char domain[32];
        int n = snprintf(domain, sizeof domain, "domain%u.example", (unsigned)(i % domains));
        struct queue_entry e = {.num = 1 + i / rcpts,
                                .index = i % rcpts,
                                .kind = JOB_RELAY,
                                .next_hop = str_n(domain, (size_t)n),
                                .sender = S("news@example.org"),
                                .created_ms = s->now_ms,
                                .next_ms = s->now_ms + (waiting ? 1 + i * 7919ull % HOUR : 0),
                                .expires_ms = s->now_ms + 5 * (uint64_t)DAY};
        assert_int_equal(queue_add(s->q, &e, s->now_ms), OK);
    }
    double added = seconds();
    uint64_t bytes = queue_bytes(s->q), operations = 0, per_job = 0;
    s->now_ms += HOUR;
    for (struct queue_want w; queue_count(s->q) > 0;) {
        enum queue_want_kind kind = queue_next(s->q, s->now_ms, &w);
        operations++;
        assert_int_not_equal(kind, QUEUE_IDLE);
        if (kind == QUEUE_WANT_SITE)
            queue_site_told(s->q, w.tag, S(""), false, 3600, s->now_ms);
        if (kind != QUEUE_WANT_DELIVER)
            continue;
        for (size_t i = 0; i < w.index_count; i++)
            queue_result(s->q, w.job, w.indices[i], JOB_DELIVERED, s->now_ms);
        operations += w.index_count + 1;
        per_job++;
        queue_done(s->q, w.job, JOB_FINE, s->now_ms);
    }
    double over = seconds() - added;
    printf("a million recipients, %s: %.0f bytes each, added in %.2f s; delivered in %.2f s (%u jobs, %.1f million "
           "operations/s); empty: %u KiB\n",
           what, (double)bytes / MILLION, added - began, over, (unsigned)per_job, (double)operations / over / 1e6,
           (unsigned)(queue_bytes(s->q) / 1024));
    sim_free(s);
}

static void test_million(void **state) {
    (void)state;
    million("one mailing to one domain, ready", 1000000, 1, false);
    million("one mailing to 1,000 domains, ready", 1000000, 1000, false);
    million("three a message, 10,000 domains, ready", 3, 10000, false);
    million("one a message, 10,000 domains, ready", 1, 10000, false);
    million("one a message, 10,000 domains, waiting", 1, 10000, true);
    million("one a message, each its own domain, ready", 1, 1000000, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_beside_mailing),
        cmocka_unit_test(test_mailing_is_slowed_by_a_quarter),
        cmocka_unit_test(test_connection_limit),
        cmocka_unit_test(test_dead_site),
        cmocka_unit_test(test_dead_site_comes_back),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_roll_up),
        cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_spread),
        cmocka_unit_test(test_fair_between_sites),
        cmocka_unit_test(test_million),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
