/* Any order of calls keeps what must be true; a removed recipient never comes again, and no recipient is in two jobs.
 */
#include "queue/queue_in.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NUMS = 8, INDICES = 16, JOBS = 64, GONE = 255 };

struct run {
    struct queue *q;
    const uint8_t *at, *end;
    uint64_t now_ms;
    uint64_t jobs[JOBS], tags[JOBS];
    size_t job_count, tag_count;
    bool in[NUMS][INDICES], active[NUMS][INDICES];
};

struct fuzz_job {
    uint64_t number, num;
    size_t count;
    uint32_t indices[INDICES];
};
static struct fuzz_job told[JOBS];

static uint8_t byte(struct run *r) {
    return r->at < r->end ? *r->at++ : 0;
}

static struct queue_rule rule_of(void *arg, str site, str domain) {
    (void)arg;
    (void)domain;
    if (site.n == 1 && site.p[0] == 'r')
        return (struct queue_rule){.rate_count = 3, .rate_ms = 1000};
    return (struct queue_rule){.window_max = (unsigned)site.n % 4, .recipients_max = (unsigned)site.n % 3};
}

static struct queue_options options(uint8_t by) {
    return (struct queue_options){.seed = 7,
                                  .retry_ms = {by & 1 ? 0 : 1000, 2000, 10000},
                                  .retry_count = 1 + by % 3,
                                  .window_start = 1 + by % 4,
                                  .window_max = 1 + by % 7,
                                  .recipients_max = 1 + by % 5,
                                  .active_max = by % 9,
                                  .late_ms = by & 8 ? 5000 : 0};
}

static void add(struct run *r) {
    static const char *hops[] = {"a.example", "b.example", "c.example", "[192.0.2.1]", ""};
    static const enum job_kind kinds[] = {JOB_RELAY, JOB_RELAY, JOB_SMARTHOST, JOB_LMTP, JOB_PIPE, JOB_WEBHOOK};
    uint8_t what = byte(r), when = byte(r), how = byte(r);
    struct queue_entry e = {.num = what % NUMS,
                            .index = what / NUMS % INDICES,
                            .kind = kinds[how % 6],
                            .next_hop = str_of(hops[how / 6 % 5]),
                            .sender = how & 64 ? S("s") : S(""),
                            .created_ms = r->now_ms,
                            .next_ms = r->now_ms + (when & 1 ? when * 20u : 0),
                            .expires_ms = r->now_ms + 1000u * (when / 2),
                            .attempts = when % 3,
                            .priority = how % 20,
                            .held = how > 240};
    bool *in = &r->in[e.num][e.index];
    assert(queue_add(r->q, &e, r->now_ms) == (*in ? ERR_EXISTS : OK));
    *in = true;
}

static void job_told(struct run *r, const struct queue_want *w) {
    assert(r->job_count < JOBS && w->index_count > 0 && w->index_count <= INDICES);
    struct fuzz_job *j = &told[r->job_count];
    *j = (struct fuzz_job){.number = w->job, .num = w->num, .count = w->index_count};
    memcpy(j->indices, w->indices, w->index_count * sizeof *w->indices);
    for (size_t i = 0; i < j->count; i++) {
        assert(r->in[j->num][j->indices[i]]);
        assert(!r->active[j->num][j->indices[i]]);
        r->active[j->num][j->indices[i]] = true;
    }
    r->jobs[r->job_count++] = w->job;
}

static void handle(struct run *r, const struct queue_want *w) {
    switch (w->kind) {
    case QUEUE_IDLE: assert(queue_deadline(r->q) > r->now_ms); return;
    case QUEUE_WANT_SITE:
        if (r->tag_count < JOBS)
            r->tags[r->tag_count++] = w->tag;
        return;
    case QUEUE_WANT_DELIVER: job_told(r, w); return;
    case QUEUE_WANT_LATE: assert(r->in[w->num][w->indices[0]]); return;
    case QUEUE_WANT_EXPIRE:
        for (size_t i = 0; i < w->index_count; i++) {
            assert(r->in[w->num][w->indices[i]]);
            assert(queue_remove(r->q, w->num, w->indices[i]));
            r->in[w->num][w->indices[i]] = false;
        }
        return;
    }
}

static void next(struct run *r) {
    struct queue_want w;
    if (r->job_count == JOBS)
        return;
    uint8_t by = byte(r);
    if (by & 1) {
        (void)!queue_next(r->q, r->now_ms, &w);
        handle(r, &w);
    } else if (queue_next_of_site(r->q, S("site"), r->now_ms, &w)) {
        handle(r, &w);
    }
}

static void tell(struct run *r) {
    static const char *sites[] = {"site", "r", "", "other"};
    uint8_t by = byte(r);
    uint64_t tag = r->tag_count ? r->tags[--r->tag_count] : by;
    queue_site_told(r->q, tag, str_of(sites[by % 4]), by > 200, by % 60, r->now_ms);
}

static void result(struct run *r, const struct fuzz_job *j, uint32_t index, enum job_outcome outcome) {
    struct queue_entry_state s;
    bool there = queue_look(r->q, j->num, index, &s), was = r->active[j->num][index];
    uint64_t at = queue_result(r->q, j->number, index, outcome, r->now_ms);
    if (there && was && s.state == QUEUE_ACTIVE && at == 0)
        r->in[j->num][index] = false;
    assert(queue_look(r->q, j->num, index, &s) == r->in[j->num][index]);
    r->active[j->num][index] = false;
}

static void done(struct run *r) {
    uint8_t by = byte(r);
    if (!r->job_count) {
        queue_done(r->q, by, JOB_FINE, r->now_ms);
        return;
    }
    size_t at = by % r->job_count;
    struct fuzz_job j = told[at];
    for (size_t i = 0; i < j.count; i++) {
        uint8_t outcome = byte(r);
        if (j.indices[i] == GONE)
            continue;
        if (outcome < 128 && r->active[j.num][j.indices[i]])
            result(r, &j, j.indices[i], JOB_DELIVERED + outcome % 9);
        r->active[j.num][j.indices[i]] = false;
    }
    queue_done(r->q, j.number, (enum job_trouble)(byte(r) % 7), r->now_ms);
    told[at] = told[--r->job_count];
}

static void operate(struct run *r) {
    uint8_t by = byte(r), what = byte(r);
    uint64_t num = by % NUMS;
    uint32_t index = by / NUMS % INDICES;
    switch (what % 5) {
    case 0:
        /* Its number may come again, but not while a job of ours still knows it. */
        if (r->active[num][index])
            return;
        assert(queue_remove(r->q, num, index) == r->in[num][index]);
        r->in[num][index] = false;
        return;
    case 1: (void)queue_hold(r->q, num, index, true, r->now_ms); return;
    case 2: (void)queue_hold(r->q, num, index, false, r->now_ms); return;
    case 3: (void)queue_retry_now(r->q, num, index, r->now_ms); return;
    default: {
        struct queue_options o = options(what);
        queue_configure(r->q, &o);
    }
    }
}

/* Removed while active: it is gone at once, and what its job says later changes nothing. */
static void remove_active(struct run *r) {
    if (!r->job_count)
        return;
    struct fuzz_job *j = &told[byte(r) % r->job_count];
    uint32_t *slot = &j->indices[byte(r) % j->count], index = *slot;
    if (index == GONE || !r->active[j->num][index])
        return;
    *slot = GONE;
    assert(queue_remove(r->q, j->num, index));
    r->in[j->num][index] = r->active[j->num][index] = false;
    assert(queue_result(r->q, j->number, index, JOB_DEFERRED, r->now_ms) == 0);
}

static void step(struct run *r) {
    switch (byte(r) % 8) {
    case 0:
    case 1: add(r); break;
    case 2:
    case 3: next(r); break;
    case 4: tell(r); break;
    case 5: done(r); break;
    case 6: operate(r); break;
    case 7:
        r->now_ms += byte(r) * 37u;
        remove_active(r);
        break;
    }
    queue_check_invariants(r->q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct run r = {.at = data, .end = data + size, .now_ms = 1000000};
    struct queue_options o = options(byte(&r));
    if (queue_new(&r.q, &o, rule_of, NULL))
        return 0;
    while (r.at < r.end)
        step(&r);
    queue_free(r.q);
    return 0;
}
