/* Sites: how many connections, how fast, and whether it lives. */
#include "queue/queue_in.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A dead site is asked at least so often: one attempt costs little, mail that waits for hours costs more. */
enum { DEAD_MAX_MS = 60 * 60 * 1000 };
enum { NS_IN_MS = 1000 * 1000 };
/* Where a site said 421 before, growing is so much slower. */
enum { KNEE_SLOWER = 32 };

static unsigned window_max(const struct queue *q, const struct site *s) {
    return s->rule.window_max ? s->rule.window_max : q->o.window_max;
}

unsigned site_recipients_max(const struct queue *q, const struct site *s) {
    unsigned max = s->rule.recipients_max ? s->rule.recipients_max : q->o.recipients_max;
    return max < QUEUE_JOB_RCPTS_MAX ? max : QUEUE_JOB_RCPTS_MAX;
}

static void set_window(const struct queue *q, struct site *s, uint64_t to) {
    uint64_t max = window_max(q, s) * (uint64_t)ONE;
    s->window = to > max ? max : to < ONE ? ONE : to;
}

/* 1/sqrt(window): the largest root whose square is at most 10^18 / window. */
static uint64_t step(uint64_t window) {
    uint64_t square = UINT64_C(1000000000000000000) / window, root = 0;
    for (uint64_t bit = UINT64_C(1) << 20; bit; bit >>= 1)
        if ((root | bit) * (root | bit) <= square)
            root |= bit;
    return root;
}

static void window_anew(const struct queue *q, struct site *s) {
    uint64_t start = q->o.window_start * (uint64_t)ONE;
    s->cohorts = 0;
    set_window(q, s, start < s->knee ? start : s->knee);
}

/* ---- coming and going */

static uint32_t hash_of(const struct queue *q, str name) {
    return (uint32_t)hash_str(q->o.seed, name);
}

uint32_t site_find(const struct queue *q, str name) {
    uint32_t i = table_first(&q->site_table, hash_of(q, name));
    while (i && !str_eq(site_at(q, i)->name, name))
        i = table_next(&q->site_table, i);
    return i;
}

static void ask_rule(struct queue *q, struct site *s) {
    s->rule = q->rule ? q->rule(q->rule_arg, s->name, s->domain) : (struct queue_rule){0};
}

static uint32_t site_take(struct queue *q, str name, str domain) {
    char *text = malloc(name.n + domain.n + 1);
    uint32_t i = text ? pool_take(&q->sites) : 0;
    if (!i || !heap_reserve(&q->site_times, i) || !table_put(&q->site_table, i, hash_of(q, name))) {
        if (i)
            pool_give(&q->sites, i);
        free(text);
        return 0;
    }
    memcpy(text, name.n ? name.p : "", name.n);
    memcpy(text + name.n, domain.n ? domain.p : "", domain.n);
    struct site *s = site_at(q, i);
    *s = (struct site){.name = str_n(text, name.n), .domain = str_n(text + name.n, domain.n)};
    q->name_bytes += name.n + domain.n + 1;
    s->knee = UINT64_MAX;
    ask_rule(q, s);
    window_anew(q, s);
    return i;
}

uint32_t site_for(struct queue *q, str name, str domain) {
    uint32_t i = site_find(q, name);
    return i ? i : site_take(q, name, domain);
}

static void site_end_if_unused(struct queue *q, uint32_t site) {
    struct site *s = site_at(q, site);
    if (s->hops || s->active || s->in_lines)
        return;
    assert(!s->in_ring && !heap_has(&q->site_times, site));
    table_remove(&q->site_table, site);
    q->name_bytes -= s->name.n + s->domain.n + 1;
    free((char *)s->name.p);
    pool_give(&q->sites, site);
}

void site_leave(struct queue *q, uint32_t site) {
    site_at(q, site)->hops--;
    site_end_if_unused(q, site);
}

/* ---- the ring and the times */

static bool has_room(const struct site *s) {
    return s->active < (s->dead ? 1 : s->window / ONE);
}

static uint64_t may_at(const struct site *s) {
    uint64_t rate_ms = s->rule.rate_count ? s->rate_at_ns / NS_IN_MS : 0;
    return s->dead && s->retry_ms > rate_ms ? s->retry_ms : rate_ms;
}

static void ring_set(struct queue *q, uint32_t site, bool in) {
    struct site *s = site_at(q, site);
    if (s->in_ring == in)
        return;
    s->in_ring = in;
    if (in)
        chain_add_tail(&q->sites, LINK_OF(site), &q->ring, site);
    else
        chain_remove(&q->sites, LINK_OF(site), &q->ring, site);
}

void site_place(struct queue *q, uint32_t site) {
    const struct site *s = site_at(q, site);
    bool wanted = s->in_lines > 0 && has_room(s);
    uint64_t at = may_at(s);
    ring_set(q, site, wanted && at <= q->now_ms);
    if (wanted && at > q->now_ms)
        heap_set(&q->site_times, site, at);
    else
        heap_remove(&q->site_times, site);
    site_end_if_unused(q, site);
}

void site_due(struct queue *q) {
    while (heap_first_key(&q->site_times) <= q->now_ms)
        site_place(q, heap_first(&q->site_times));
}

void site_wake(struct queue *q, uint32_t site) {
    site_at(q, site)->retry_ms = 0;
    site_place(q, site);
}

void site_ask_rules(struct queue *q) {
    for (uint32_t i = 1; i <= q->sites.top; i++) {
        struct site *s = site_at(q, i);
        if (!s->domain.p)
            continue;
        ask_rule(q, s);
        set_window(q, s, s->window);
        site_place(q, i);
    }
}

/* ---- what attempts teach */

/* GCRA without a burst: so no span of rate_ms ever holds more than rate_count. */
static void count_rate(const struct queue *q, struct site *s) {
    if (!s->rule.rate_count)
        return;
    uint64_t now_ns = q->now_ms * NS_IN_MS, count = s->rule.rate_count;
    uint64_t between_ns = (s->rule.rate_ms * NS_IN_MS + count - 1) / count;
    s->rate_at_ns = (s->rate_at_ns > now_ns ? s->rate_at_ns : now_ns) + between_ns;
}

/* It goes behind the other sites of the ring. */
void site_begin(struct queue *q, uint32_t site) {
    struct site *s = site_at(q, site);
    s->active++;
    q->active++;
    count_rate(q, s);
    ring_set(q, site, false);
    site_place(q, site);
}

/* Two more than where it said 421 went well: that was long ago. */
static void grow(const struct queue *q, struct site *s) {
    if (s->active + 1 < s->window / ONE)
        return; /* not used, nothing learned */
    if (s->knee != UINT64_MAX && s->window >= s->knee + 2 * ONE)
        s->knee = UINT64_MAX;
    set_window(q, s, s->window + step(s->window) / (s->window >= s->knee ? KNEE_SLOWER : 1));
}

static void went_well(const struct queue *q, struct site *s) {
    s->cohorts = 0;
    if (!s->dead) {
        grow(q, s);
        return;
    }
    s->dead = false;
    s->deaths = 0;
    s->retry_ms = 0;
    window_anew(q, s);
}

static void dies(struct queue *q, struct site *s) {
    uint64_t wait = time_retry(q, ++s->deaths);
    s->dead = true;
    s->retry_ms = q->now_ms + (wait < DEAD_MAX_MS ? wait : DEAD_MAX_MS);
}

static void shrink(const struct queue *q, struct site *s, bool busy) {
    uint64_t to = s->window - step(s->window), whole = s->window / ONE;
    if (busy) {
        s->knee = (whole > 1 ? whole - 1 : 1) * ONE;
        to = to < s->knee ? to : s->knee;
    }
    set_window(q, s, to);
}

/* Dead: a whole window of attempts, none good between them, did not get as far as a conversation.  A site that is too
 * busy for one more connection while it has others of ours is not. */
static void went_badly(struct queue *q, struct site *s, bool busy, bool probe) {
    if (!busy || s->active == 1)
        s->cohorts += (uint64_t)ONE * ONE / s->window;
    shrink(q, s, busy);
    if (probe || (!s->dead && s->cohorts >= ONE))
        dies(q, s);
}

static void learn(struct queue *q, struct site *s, enum job_trouble trouble, bool probe) {
    switch (trouble) {
    case JOB_FINE: went_well(q, s); return;
    case JOB_NO_HOST:
    case JOB_NO_CONNECT:
    case JOB_HANDSHAKE: went_badly(q, s, false, probe); return;
    case JOB_BUSY: went_badly(q, s, true, probe); return;
    case JOB_BROKEN:
        if (probe)
            went_well(q, s);
        shrink(q, s, false);
        return;
    case JOB_OURS:
        if (probe)
            s->retry_ms = q->now_ms + time_retry(q, 1);
        return;
    }
}

void site_end(struct queue *q, uint32_t site, enum job_trouble trouble, bool probe) {
    struct site *s = site_at(q, site);
    assert(s->active > 0 && q->active > 0);
    learn(q, s, trouble, probe);
    s->active--;
    q->active--;
    site_place(q, site);
}
