#include "role/store_queue_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- the start ---- */

/* An intent without an outcome: what it names is in doubt. */
struct doubt {
    struct doubt *next; /* of the same message */
    uint64_t seq, num, at_us;
    str host, indices;
    struct outcome_row *rows;
    size_t count;
    char space[];
};

struct loading {
    struct store_queue *q;
    struct map doubts;
    struct buf texts;
};

static enum err load_intent(void *arg, uint64_t seq, uint64_t num, uint64_t at_us, str host, str indices) {
    struct loading *l = arg;
    struct doubt *d = calloc(1, sizeof(*d) + host.n + indices.n);
    if (!d)
        return ERR_NOMEM;
    *d = (struct doubt){.next = map_get(&l->doubts, num), .seq = seq, .num = num, .at_us = at_us};
    d->rows = calloc(indices.n / 4 + 1, sizeof(*d->rows));
    memcpy(d->space, host.n ? host.p : "", host.n);
    memcpy(d->space + host.n, indices.n ? indices.p : "", indices.n);
    d->host = str_n(d->space, host.n);
    d->indices = str_n(d->space + host.n, indices.n);
    return d->rows && map_put(&l->doubts, num, d) ? OK : ERR_NOMEM;
}

static struct doubt *doubt_of(struct loading *l, uint64_t num, uint32_t index) {
    uint32_t is;
    for (struct doubt *d = map_get(&l->doubts, num); d; d = d->next)
        for (str s = d->indices; take_u32(&s, &is);)
            if (is == index)
                return d;
    return NULL;
}

static enum err load_delivery(void *arg, const struct db_delivery *d) {
    struct loading *l = arg;
    struct store_queue *q = l->q;
    struct journal_place place = d->place;
    struct mail *m = sq_mail_new(q, d->num, &place);
    struct queue_entry e = {.num = d->num,
                            .index = d->index,
                            .kind = d->kind,
                            .next_hop = d->target,
                            .route = d->rule,
                            .sender = d->sender,
                            .created_ms = d->created_ms,
                            .next_ms = d->next_ms,
                            .expires_ms = sq_expiry(q, d->expires_ms, d->created_ms, d->sender),
                            .attempts = d->attempts,
                            .priority = d->priority,
                            .held = d->state == QUEUE_HELD,
                            .late_told = d->late_told};
    struct doubt *doubt = d->owed ? NULL : doubt_of(l, d->num, d->index);
    if (d->owed) {
        sq_owe(q, m, d->index, d->owed, d->code, d->text, d->host, d->next_ms ? d->next_ms : d->created_ms);
        return OK;
    }
    if (doubt) {
        e.attempts++;
        e.next_ms = sq_now(q) + sq_wait_ms(q->conf->queue_retry.count ? q->conf->queue_retry.list[0] : S("5m"));
        doubt->rows[doubt->count++] = (struct outcome_row){.index = d->index,
                                                           .attempts = e.attempts,
                                                           .outcome = JOB_UNKNOWN,
                                                           .state = QUEUE_UNKNOWN, /* one that is held stays so */
                                                           .late_told = d->late_told,
                                                           .next_ms = e.next_ms,
                                                           .text = S("sent whole; the answer is not known")};
        log_event(EV_QUEUE_UNKNOWN, LOG_STR("id", d->id), LOG_NUM("recipient", d->index), LOG_END);
    }
    sq_enter(q, m, &e);
    return OK;
}

static enum err settle_doubts(struct loading *l) {
    size_t at = 0;
    enum err e = OK;
    for (struct doubt *d; (d = map_next(&l->doubts, &at));)
        for (struct doubt *next; d; d = next) {
            struct outcome o = {.num = d->num,
                                .intent = d->seq,
                                .cause = OUTCOME_LOST,
                                .trouble = JOB_BROKEN,
                                .started_us = d->at_us,
                                .ended_us = d->at_us,
                                .text = S("Penfold ended before the answer came"),
                                .host = d->host,
                                .rows = d->rows,
                                .row_count = d->count};
            if (!e)
                e = store_outcome(l->q->store, NULL, &o);
            next = d->next;
            free(d->rows);
            free(d);
        }
    map_free(&l->doubts);
    return e;
}

enum err store_queue_open(struct store_queue *q, struct store *s, struct why *w) {
    struct loading l = {.q = q, .doubts = MAP(q->mails.seed)};
    q->store = s;
    enum err e = store_intents(s, load_intent, &l, w);
    if (!e)
        e = store_deliveries(s, load_delivery, &l, w);
    enum err settled = settle_doubts(&l);
    if (!e && settled)
        e = why(w, settled, "no memory for the queue");
    if (!e && queue_count(q->queue))
        log_event(EV_QUEUE_LOADED, LOG_NUM("recipients", queue_count(q->queue)), LOG_END);
    sq_look_at_fill(q);
    return e;
}
