/* Next hops, and the question which site serves a domain. */
#include "queue/queue_in.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* An answer holds at least so long, or a ttl of 0 would be asked for before each job. */
enum { KNOWN_MIN_MS = 30 * 1000 };
/* Hops without mail that are remembered for what is known of their sites. */
enum { IDLE_MAX = 4096 };

static uint32_t hop_hash(const struct queue *q, enum job_kind kind, str next_hop, str route) {
    return (uint32_t)hash_str(hash_str(q->o.seed + kind, next_hop), route);
}

static uint32_t hop_find(const struct queue *q, enum job_kind kind, str next_hop, str route, uint32_t hash) {
    for (uint32_t i = table_first(&q->hop_table, hash); i; i = table_next(&q->hop_table, i)) {
        const struct hop *h = hop_at(q, i);
        if (h->kind == kind && str_eq(h->next_hop, next_hop) && str_eq(h->route, route))
            return i;
    }
    return 0;
}

/* ---- sites of hops */

static void site_changes(struct queue *q, struct hop *h, uint32_t site) {
    uint32_t old = h->site;
    if (old == site)
        return;
    h->site = site;
    if (site) {
        site_at(q, site)->hops++;
        site_at(q, site)->waiting += h->waiting;
    }
    if (old) {
        site_at(q, old)->waiting -= h->waiting;
        site_leave(q, old);
    }
}

static str kind_word(enum job_kind kind) {
    switch (kind) {
    case JOB_SMARTHOST: return S("smarthost");
    case JOB_LMTP: return S("lmtp");
    case JOB_PIPE: return S("pipe");
    case JOB_WEBHOOK: return S("webhook");
    default: return S("other");
    }
}

/* Only relaying has sites that must be asked for. */
static bool knows_at_once(struct queue *q, struct hop *h) {
    if (h->kind == JOB_RELAY)
        return true;
    struct buf name = BUF(64 * 1024);
    buf_printf(&name, "%.*s:%.*s", STR_ARG(kind_word(h->kind)), STR_ARG(h->next_hop));
    uint32_t site = name.full ? 0 : site_for(q, buf_str(&name), h->next_hop);
    buf_free(&name);
    if (!site)
        return false;
    site_changes(q, h, site);
    h->state = HOP_KNOWN;
    h->known_until_ms = UINT64_MAX;
    return true;
}

/* ---- coming and going */

static void idle_set(struct queue *q, uint32_t hop, bool idle) {
    if (idle)
        chain_add_tail(&q->hops, LINK_OF(hop), &q->idle_hops, hop);
    else
        chain_remove(&q->hops, LINK_OF(hop), &q->idle_hops, hop);
    q->idle_count += idle ? 1 : UINT32_MAX;
}

static size_t text_size(const struct hop *h) {
    return h->next_hop.n + h->route.n + 1;
}

static uint32_t hop_make(struct queue *q, enum job_kind kind, str next_hop, str route) {
    char *text = malloc(next_hop.n + route.n + 1);
    uint32_t i = text ? pool_take(&q->hops) : 0;
    if (!i || !heap_reserve(&q->hop_times, i)) {
        if (i)
            pool_give(&q->hops, i);
        free(text);
        return 0;
    }
    memcpy(text, next_hop.n ? next_hop.p : "", next_hop.n);
    memcpy(text + next_hop.n, route.n ? route.p : "", route.n);
    *hop_at(q, i) = (struct hop){.serial = ++q->serial,
                                 .kind = kind,
                                 .state = HOP_NEW,
                                 .next_hop = str_n(text, next_hop.n),
                                 .route = str_n(text + next_hop.n, route.n)};
    return i;
}

static void hop_end(struct queue *q, uint32_t hop) {
    struct hop *h = hop_at(q, hop);
    site_changes(q, h, 0);
    heap_remove(&q->hop_times, hop);
    free((char *)h->next_hop.p);
    pool_give(&q->hops, hop);
}

/* A hop that is not used yet is idle. */
uint32_t hop_for(struct queue *q, enum job_kind kind, str next_hop, str route) {
    uint32_t hash = hop_hash(q, kind, next_hop, route), i = hop_find(q, kind, next_hop, route, hash);
    if (i)
        return i;
    i = hop_make(q, kind, next_hop, route);
    if (!i)
        return 0;
    if (!knows_at_once(q, hop_at(q, i)) || !table_put(&q->hop_table, i, hash)) {
        hop_end(q, i);
        return 0;
    }
    q->name_bytes += text_size(hop_at(q, i));
    idle_set(q, i, true);
    return i;
}

static void forget_oldest(struct queue *q) {
    uint32_t hop = q->idle_hops.first;
    idle_set(q, hop, false);
    table_remove(&q->hop_table, hop);
    q->name_bytes -= text_size(hop_at(q, hop));
    hop_end(q, hop);
}

void hop_used(struct queue *q, uint32_t hop) {
    if (hop_at(q, hop)->batches++ == 0)
        idle_set(q, hop, false);
}

void hop_unused(struct queue *q, uint32_t hop) {
    struct hop *h = hop_at(q, hop);
    if (--h->batches > 0)
        return;
    assert(h->waiting == 0 && !h->parked.first && h->state != HOP_TO_ASK);
    idle_set(q, hop, true);
    if (q->idle_count > IDLE_MAX)
        forget_oldest(q);
}

void hop_count_waiting(struct queue *q, uint32_t hop, int change) {
    struct hop *h = hop_at(q, hop);
    h->waiting += (uint32_t)change;
    if (h->site)
        site_at(q, h->site)->waiting += (uint64_t)(int64_t)change;
}

/* ---- asking */

static void to_ask(struct queue *q, uint32_t hop, enum hop_state state) {
    struct hop *h = hop_at(q, hop);
    if (h->state == HOP_TO_ASK)
        chain_remove(&q->hops, LINK_OF(hop), &q->to_ask, hop);
    heap_remove(&q->hop_times, hop);
    h->state = state;
    if (state == HOP_TO_ASK)
        chain_add_tail(&q->hops, LINK_OF(hop), &q->to_ask, hop);
}

/* A failed one keeps its time while nothing waits for it; so does an answer. */
static void look_again(struct queue *q, uint32_t hop) {
    struct hop *h = hop_at(q, hop);
    if (h->state == HOP_KNOWN && h->known_until_ms <= q->now_ms)
        h->state = HOP_NEW;
    if (h->state == HOP_FAILED && h->known_until_ms <= q->now_ms)
        h->state = HOP_NEW;
    if (h->state == HOP_NEW)
        to_ask(q, hop, HOP_TO_ASK);
    if (h->state == HOP_FAILED)
        heap_set(&q->hop_times, hop, h->known_until_ms);
}

static void park(struct queue *q, uint32_t batch) {
    struct batch *b = batch_at(q, batch);
    assert(b->place == BATCH_NOWHERE);
    chain_add_tail(&q->batches, LINK_OF(batch), &hop_at(q, b->hop)->parked, batch);
    b->place = BATCH_PARKED;
}

void hop_unpark(struct queue *q, uint32_t batch) {
    struct batch *b = batch_at(q, batch);
    struct hop *h = hop_at(q, b->hop);
    chain_remove(&q->batches, LINK_OF(batch), &h->parked, batch);
    b->place = BATCH_NOWHERE;
    if (h->parked.first)
        return;
    heap_remove(&q->hop_times, b->hop);
    if (h->state == HOP_TO_ASK)
        to_ask(q, b->hop, HOP_NEW);
}

void hop_send(struct queue *q, uint32_t batch) {
    uint32_t hop = batch_at(q, batch)->hop;
    look_again(q, hop);
    if (hop_at(q, hop)->state == HOP_KNOWN)
        line_add(q, hop_at(q, hop)->site, batch);
    else
        park(q, batch);
}

bool hop_is_at(const struct queue *q, uint32_t hop, uint32_t site) {
    const struct hop *h = hop_at(q, hop);
    return h->state == HOP_KNOWN && h->known_until_ms > q->now_ms && h->site == site;
}

void hop_ask_due(struct queue *q) {
    while (heap_first_key(&q->hop_times) <= q->now_ms)
        to_ask(q, heap_first(&q->hop_times), HOP_TO_ASK);
}

void hop_ask_now(struct queue *q, uint32_t hop) {
    struct hop *h = hop_at(q, hop);
    if (h->state == HOP_FAILED && h->parked.first)
        to_ask(q, hop, HOP_TO_ASK);
}

bool hop_want(struct queue *q, struct queue_want *w) {
    uint32_t hop = q->to_ask.first;
    if (!hop)
        return false;
    to_ask(q, hop, HOP_ASKED);
    struct hop *h = hop_at(q, hop);
    *w = (struct queue_want){.kind = QUEUE_WANT_SITE, .domain = h->next_hop, .tag = h->serial << 32 | hop};
    return true;
}

/* ---- being told */

static uint32_t hop_of_tag(const struct queue *q, uint64_t tag) {
    uint32_t hop = (uint32_t)tag;
    if (!hop || hop > q->hops.top)
        return 0;
    const struct hop *h = hop_at(q, hop);
    return h->state == HOP_ASKED && h->serial << 32 == (tag & ~UINT64_C(0xffffffff)) ? hop : 0;
}

static void told_nothing(struct queue *q, uint32_t hop) {
    struct hop *h = hop_at(q, hop);
    h->state = HOP_FAILED;
    h->known_until_ms = q->now_ms + time_retry(q, ++h->failures);
    if (h->parked.first)
        heap_set(&q->hop_times, hop, h->known_until_ms);
}

static void send_parked(struct queue *q, uint32_t hop) {
    struct hop *h = hop_at(q, hop);
    for (uint32_t batch; (batch = h->parked.first) != 0;) {
        hop_unpark(q, batch);
        line_add(q, h->site, batch);
    }
}

void queue_site_told(struct queue *q, uint64_t tag, str site, bool failed, uint32_t ttl_s, uint64_t now_ms) {
    q->now_ms = now_ms;
    uint32_t hop = hop_of_tag(q, tag);
    if (!hop)
        return;
    struct hop *h = hop_at(q, hop);
    uint32_t found = failed ? 0 : site_for(q, site.n ? site : h->next_hop, h->next_hop);
    if (!found) {
        told_nothing(q, hop);
        return;
    }
    site_changes(q, h, found);
    h->state = HOP_KNOWN;
    h->failures = 0;
    uint64_t ttl_ms = ttl_s * UINT64_C(1000);
    h->known_until_ms = now_ms + (ttl_ms < KNOWN_MIN_MS ? KNOWN_MIN_MS : ttl_ms);
    send_parked(q, hop);
}

void hop_free_all(struct queue *q) {
    for (uint32_t i = 1; i <= q->hops.top; i++)
        if (hop_at(q, i)->route.p)
            free((char *)hop_at(q, i)->next_hop.p);
    for (uint32_t i = 1; i <= q->sites.top; i++)
        if (site_at(q, i)->domain.p)
            free((char *)site_at(q, i)->name.p);
}
