#include "role/store_queue_inside.h"

#include <string.h>

/* ---- settings ---- */

static bool star_match(str pattern, str s) {
    while (pattern.n && pattern.p[0] != '*') {
        if (!s.n || char_lower(pattern.p[0]) != char_lower(s.p[0]))
            return false;
        pattern = str_tail(pattern, 1);
        s = str_tail(s, 1);
    }
    if (!pattern.n)
        return s.n == 0;
    pattern = str_tail(pattern, 1);
    for (;; s = str_tail(s, 1)) {
        if (star_match(pattern, s))
            return true;
        if (!s.n)
            return false;
    }
}

/* "100/1m": so many in this time. */
static void take_rate(str rate, struct queue_rule *r) {
    static const struct {
        str unit;
        uint64_t ms;
    } units[] = {
        {S_INIT("ms"), 1}, {S_INIT("s"), 1000}, {S_INIT("m"), 60000}, {S_INIT("h"), 3600000}, {S_INIT("d"), 86400000}};
    str count = STR_NONE;
    uint64_t n = 0, per = 0;
    if (!str_cut(&rate, '/', &count) || !str_u64(count, &n))
        return;
    size_t digits = 0;
    while (digits < rate.n && char_is_digit(rate.p[digits]))
        digits++;
    if (digits && !str_u64(str_head(rate, digits), &per))
        return;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (str_eq(str_tail(rate, digits), units[i].unit)) {
            r->rate_count = n;
            r->rate_ms = (digits ? per : 1) * units[i].ms;
        }
}

static bool site_matches(const struct conf_site *b, str site, str domain) {
    for (size_t i = 0; i < b->match.count; i++)
        if (star_match(b->match.list[i], site) || star_match(b->match.list[i], domain))
            return true;
    return false;
}

struct queue_rule sq_rule_of(void *arg, str site, str domain) {
    const struct conf *c = ((struct store_queue *)arg)->conf;
    struct queue_rule r = {0};
    for (size_t i = 0; i < c->site_count; i++)
        if (site_matches(&c->sites[i], site, domain)) {
            r.window_max = (unsigned)c->sites[i].concurrency;
            r.recipients_max = (unsigned)c->sites[i].recipients;
            take_rate(c->sites[i].rate, &r);
            break;
        }
    return r;
}

uint64_t sq_wait_ms(str word) {
    struct queue_rule r = {0};
    char text[40];
    size_t n = word.n < sizeof(text) - 3 ? word.n : sizeof(text) - 3;
    memcpy(text, "1/", 2);
    memcpy(text + 2, word.p, n);
    take_rate(str_n(text, n + 2), &r);
    return r.rate_ms;
}

struct queue_options sq_options(const struct conf *c, uint64_t seed) {
    struct queue_options o = {.seed = seed,
                              .window_start = (unsigned)c->site_concurrency_start,
                              .window_max = (unsigned)c->site_concurrency_max,
                              .recipients_max = (unsigned)c->site_recipients_max,
                              .active_max = ACTIVE_MAX,
                              .late_ms = c->queue_delay_notice};
    for (size_t i = 0; i < c->queue_retry.count && o.retry_count < QUEUE_RETRIES_MAX; i++)
        if (sq_wait_ms(c->queue_retry.list[i]))
            o.retry_ms[o.retry_count++] = sq_wait_ms(c->queue_retry.list[i]);
    if (!o.retry_count)
        o.retry_ms[o.retry_count++] = 300000;
    return o;
}

void sq_take_postmaster(struct store_queue *q) {
    buf_reset(&q->postmaster);
    if (q->conf->postmaster.n)
        buf_add(&q->postmaster, q->conf->postmaster);
    else if (q->conf->domain_count)
        buf_printf(&q->postmaster, "postmaster@%.*s", STR_ARG(q->conf->domains[0].title));
}
