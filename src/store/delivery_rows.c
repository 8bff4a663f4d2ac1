#include "store/delivery_rows.h"

#include "store/sqlite_impl.h"

/* ---- what a delivery is from the start ---- */

bool delivery_local(enum job_kind kind) {
    return kind <= JOB_REFUSED;
}

str delivery_sender(const struct envelope *v, size_t index) {
    const struct envelope_delivery *d = &v->deliveries[index];
    return d->has_sender ? d->sender : v->sender;
}

bool envelope_captured(const struct envelope *v) {
    bool captured = v->delivery_count == 0;
    for (size_t i = 0; i < v->delivery_count; i++)
        captured |= v->deliveries[i].kind == JOB_CAPTURE;
    return captured;
}

static str params_of(const struct envelope *v, size_t index) {
    uint32_t rcpt = v->deliveries[index].rcpt;
    return rcpt < v->rcpt_count ? v->rcpts[rcpt].params : STR_NONE;
}

static struct delivery_fate refused_fate(struct delivery_fate f, str detail) {
    str text = detail, word;
    uint64_t code = 0;
    if (str_word(&text, &word) && str_u64(word, &code) && code >= 400 && code <= 599)
        f.text = text;
    else {
        f.text = detail;
        code = 550;
    }
    f.state = QUEUE_REPORTING;
    f.owed = JOB_FAILED;
    f.code = (uint32_t)code;
    f.open = true;
    return f;
}

struct delivery_fate delivery_fate(const struct envelope *v, size_t index, uint64_t created_ms) {
    const struct envelope_delivery *d = &v->deliveries[index];
    uint64_t hold_ms = v->hold_until_us / 1000;
    struct delivery_fate f = {.state = QUEUE_DELIVERED};
    if (d->kind == JOB_REFUSED)
        return refused_fate(f, d->detail);
    if (delivery_local((enum job_kind)d->kind)) {
        if (v->sender.n && notify_wants(params_of(v, index), JOB_DELIVERED))
            f.owed = JOB_DELIVERED;
        f.open = f.owed != 0;
        return f;
    }
    f.state = QUEUE_WAITING;
    f.open = true;
    f.next_ms = hold_ms > created_ms ? hold_ms : created_ms;
    f.expires_ms = (v->deliver_by_mode & 3) == 2 ? v->deliver_by_us / 1000 : 0;
    f.late_told = v->sender.n == 0 || !notify_wants(params_of(v, index), JOB_LATE);
    return f;
}

/* ---- messages go when nothing refers to them ---- */

static enum err release(struct db *db, uint64_t num, uint64_t refs, db_freed_each *freed, void *arg, struct why *w) {
    struct query q;
    bool more = false;
    enum err e = refs ? query_begin(db, SQL_MESSAGE_RELEASE, &q, w) : OK;
    if (e || !refs)
        return e;
    bind_u64(&q, num);
    bind_u64(&q, refs);
    e = query_row(&q, &more, w);
    struct db_freed f = {0};
    if (!e && more) {
        f.segment = column_u64(&q);
        f.length = column_u64(&q);
        f.big = column_u64(&q);
        f.size = column_u64(&q);
    }
    query_end(&q);
    if (e)
        return e;
    if (more) {
        freed(arg, &f);
        return OK;
    }
    e = query_begin(db, SQL_MESSAGE_REFS, &q, w);
    if (e)
        return e;
    bind_u64(&q, num);
    bind_u64(&q, refs);
    return query_run(&q, w);
}

/* ---- acceptance ---- */

static enum err story_add(struct db *db, const struct db_message *m, const struct envelope *v, str envelope,
                          str transcript, struct why *w) {
    struct query q;
    enum err e = query_begin(db, SQL_STORY_ADD, &q, w);
    if (e)
        return e;
    bind_u64(&q, m->num);
    bind_text(&q, m->id);
    bind_u64(&q, m->created_ms);
    bind_u64(&q, m->size);
    bind_text(&q, v->sender);
    bind_blob(&q, envelope);
    bind_blob(&q, transcript);
    return query_run(&q, w);
}

static enum err delivery_add(struct db *db, const struct db_message *m, const struct envelope *v, size_t i,
                             const struct delivery_fate *f, struct why *w) {
    const struct envelope_delivery *d = &v->deliveries[i];
    struct query q;
    enum err e = query_begin(db, SQL_DELIVERY_ADD, &q, w);
    if (e)
        return e;
    bind_u64(&q, m->num);
    bind_u64(&q, i);
    bind_u64(&q, d->kind);
    bind_u64(&q, f->state);
    bind_u64(&q, f->open);
    bind_u64(&q, f->owed);
    bind_u64(&q, f->late_told);
    bind_u64(&q, v->priority);
    bind_u64(&q, f->code);
    bind_u64(&q, m->created_ms);
    bind_u64(&q, f->next_ms);
    bind_u64(&q, f->expires_ms);
    bind_text(&q, d->address);
    bind_text(&q, delivery_sender(v, i));
    bind_text(&q, d->target);
    bind_text(&q, d->rule);
    bind_text(&q, f->text);
    return query_run(&q, w);
}

static enum err mailbox_put(struct db *db, const struct db_message *m, const struct envelope *v, size_t i,
                            struct why *w) {
    const struct envelope_delivery *d = &v->deliveries[i];
    struct db_mailbox_put p = {.account = d->target,
                               .folder = d->detail,
                               .make = d->rule.n > 0 || v->appended,
                               .num = m->num,
                               .size = v->edited_size ? v->edited_size : m->size,
                               .received_ms = m->created_ms,
                               .date_ms = v->append_date_us ? v->append_date_us / 1000 : m->created_ms,
                               .flags = v->append_flags,
                               .index = (uint32_t)i};
    return db_mailbox_deliver(db, &p, w);
}

static const char doubt[] = "the database was made again: this may have been delivered already";

static enum err deliveries_add(struct db *db, const struct db_message *m, const struct envelope *v, bool doubtful,
                               struct why *w) {
    enum err e = OK;
    for (size_t i = 0; !e && i < v->delivery_count; i++) {
        struct delivery_fate f = delivery_fate(v, i, m->created_ms);
        if (doubtful && f.state == QUEUE_WAITING) {
            f.state = QUEUE_HELD;
            f.text = str_of(doubt);
        }
        e = delivery_add(db, m, v, i, &f, w);
        if (!e && v->deliveries[i].kind == JOB_MAILBOX)
            e = mailbox_put(db, m, v, i, w);
    }
    return e;
}

static uint64_t refs_of(const struct envelope *v, uint64_t created_ms) {
    uint64_t refs = envelope_captured(v);
    for (size_t i = 0; i < v->delivery_count; i++)
        refs += v->deliveries[i].kind == JOB_MAILBOX ? 1u + delivery_fate(v, i, created_ms).open
                                                     : delivery_fate(v, i, created_ms).open;
    return refs;
}

static enum err num_of(struct db *db, str id, uint64_t *num, struct why *w) {
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_NUM_OF, &q, w);
    if (e)
        return e;
    bind_text(&q, id);
    e = query_row(&q, &more, w);
    *num = !e && more ? column_u64(&q) : 0;
    query_end(&q);
    return e;
}

static enum err pair_run(struct db *db, enum sql which, uint64_t num, uint32_t index, bool *changed, struct why *w) {
    struct query q;
    enum err e = query_begin(db, which, &q, w);
    if (e)
        return e;
    bind_u64(&q, num);
    bind_u64(&q, index);
    e = query_run(&q, w);
    *changed = !e && sqlite3_changes(db->sqlite) > 0;
    return e;
}

/* A report is accepted: with that its recipients are over, or their delay is told.  Never one without the other. */
static enum err report_told(struct db *db, const struct envelope *v, db_freed_each *freed, void *arg, struct why *w) {
    uint64_t num = 0, over = 0;
    uint32_t index = 0;
    bool changed = false, late = v->report_kind == JOB_LATE;
    enum err e = num_of(db, v->report_of, &num, w);
    if (e || !num)
        return e;
    for (str s = v->report_rcpts; !e && take_u32(&s, &index);) {
        e = pair_run(db, late ? SQL_DELIVERY_LATE_TOLD : SQL_DELIVERY_TOLD, num, index, &changed, w);
        over += changed && !late;
    }
    return e ? e : release(db, num, over, freed, arg, w);
}

static enum err accept_envelope(struct db *db, const struct db_message *given, const struct envelope *v, str envelope,
                                str transcript, bool doubtful, db_freed_each *freed, void *arg, struct why *w) {
    struct db_message m = *given;
    m.captured = envelope_captured(v);
    m.refs = refs_of(v, m.created_ms);
    enum err e = db_accept(db, &m, w);
    if (!e && v->delivery_count)
        e = story_add(db, &m, v, envelope, transcript, w);
    if (!e)
        e = deliveries_add(db, &m, v, doubtful, w);
    if (!e && m.refs == 0) /* everything is over already */
        e = release(db, m.num, 1, freed, arg, w);
    return e || !v->report_of.n ? e : report_told(db, v, freed, arg, w);
}

enum err db_accept_routed(struct db *db, const struct db_message *m, str envelope, str transcript, bool doubtful,
                          db_freed_each *freed, void *arg, struct why *w) {
    struct envelope v;
    enum err e = envelope_take(envelope, &db->arena, &v);
    e = e ? why(w, e, "the envelope of message %.*s cannot be read", STR_ARG(m->id))
          : accept_envelope(db, m, &v, envelope, transcript, doubtful, freed, arg, w);
    arena_reset(&db->arena);
    return e;
}

/* ---- intents, outcomes, acts ---- */

static enum err unreadable(enum err e, const char *what, uint64_t seq, struct why *w) {
    return why(w, e, "journal: the %s %llu cannot be read", what, (unsigned long long)seq);
}

enum err db_intent(struct db *db, uint64_t seq, str body, struct why *w) {
    struct intent i;
    struct query q;
    struct buf indices = BUF(16 * 1024 * 1024);
    enum err e = intent_take(body, &db->arena, &i);
    if (e)
        e = unreadable(e, "intent", seq, w);
    else
        e = query_begin(db, SQL_INTENT_ADD, &q, w);
    if (!e) {
        for (size_t k = 0; k < i.count; k++)
            buf_u32(&indices, i.indices[k]);
        bind_u64(&q, seq);
        bind_u64(&q, i.num);
        bind_u64(&q, i.at_us);
        bind_text(&q, i.host);
        bind_blob(&q, buf_str(&indices));
        e = query_run(&q, w);
    }
    buf_free(&indices);
    arena_reset(&db->arena);
    return e;
}

static bool is_open(const struct outcome_row *r) {
    return r->owed || r->state == QUEUE_WAITING || r->state == QUEUE_HELD || r->state == QUEUE_UNKNOWN ||
           r->state == QUEUE_REPORTING;
}

static enum err outcome_row(struct db *db, const struct outcome *o, const struct outcome_row *r, uint64_t *over,
                            struct why *w) {
    struct query q;
    enum err e = query_begin(db, SQL_DELIVERY_OUTCOME, &q, w);
    if (e)
        return e;
    bind_u64(&q, o->num);
    bind_u64(&q, r->index);
    bind_u64(&q, r->state);
    bind_u64(&q, is_open(r));
    bind_u64(&q, r->owed);
    bind_u64(&q, r->late_told);
    bind_u64(&q, r->attempts);
    bind_u64(&q, r->next_ms);
    bind_u64(&q, r->code);
    bind_text(&q, r->text);
    bind_text(&q, o->host);
    e = query_run(&q, w);
    *over += !e && sqlite3_changes(db->sqlite) > 0 && !is_open(r);
    return e;
}

static enum err attempt_add(struct db *db, uint64_t seq, const struct outcome *o, struct why *w) {
    struct query q;
    struct buf results = BUF(64 * 1024 * 1024);
    enum err e = query_begin(db, SQL_ATTEMPT_ADD, &q, w);
    if (e)
        return e;
    outcome_results_put(&results, o);
    bind_u64(&q, seq);
    bind_u64(&q, o->num);
    bind_u64(&q, o->started_us);
    bind_u64(&q, o->ended_us);
    bind_text(&q, o->host);
    bind_text(&q, o->address);
    bind_text(&q, o->tls);
    bind_text(&q, o->source);
    bind_text(&q, o->text);
    bind_blob(&q, buf_str(&results));
    bind_blob(&q, o->transcript);
    e = query_run(&q, w);
    buf_free(&results);
    return e;
}

static enum err apply_outcome(struct db *db, uint64_t seq, const struct outcome *o, db_freed_each *freed, void *arg,
                              struct why *w) {
    uint64_t over = 0;
    enum err e = OK;
    for (size_t i = 0; !e && i < o->row_count; i++)
        e = outcome_row(db, o, &o->rows[i], &over, w);
    if (!e && o->cause != OUTCOME_CLOCK)
        e = attempt_add(db, seq, o, w);
    return e ? e : release(db, o->num, over, freed, arg, w);
}

enum err db_outcome(struct db *db, uint64_t seq, str body, uint64_t *intent, db_freed_each *freed, void *arg,
                    struct why *w) {
    struct outcome o;
    enum err e = outcome_take(body, &db->arena, &o);
    *intent = e ? 0 : o.intent;
    e = e ? unreadable(e, "outcome", seq, w) : apply_outcome(db, seq, &o, freed, arg, w);
    arena_reset(&db->arena);
    return e;
}

enum err db_intent_end(struct db *db, uint64_t seq, struct why *w) {
    return run_num(db, SQL_INTENT_END, seq, w);
}

static enum sql sql_of(enum queue_action action) {
    switch (action) {
    case QUEUE_DO_HOLD: return SQL_DELIVERY_HOLD;
    case QUEUE_DO_RELEASE: return SQL_DELIVERY_RELEASE;
    case QUEUE_DO_RETRY: return SQL_DELIVERY_RETRY;
    case QUEUE_DO_DELETE: return SQL_DELIVERY_DELETE;
    case QUEUE_DO_BOUNCE: return SQL_DELIVERY_BOUNCE;
    }
    return SQL_COUNT;
}

static enum err act_on(struct db *db, const struct acted *a, uint64_t num, uint32_t index, bool *changed,
                       struct why *w) {
    struct query q;
    enum err e = query_begin(db, sql_of(a->action), &q, w);
    if (e)
        return e;
    bind_u64(&q, num);
    bind_u64(&q, index);
    if (a->action == QUEUE_DO_RELEASE || a->action == QUEUE_DO_RETRY)
        bind_u64(&q, a->at_ms);
    e = query_run(&q, w);
    *changed = !e && sqlite3_changes(db->sqlite) > 0;
    return e;
}

enum err db_acted(struct db *db, str body, db_freed_each *freed, void *arg, struct why *w) {
    struct acted a;
    uint64_t num = 0;
    uint32_t index = 0;
    bool changed = false;
    enum err e = acted_take(body, &a);
    if (e || sql_of(a.action) == SQL_COUNT)
        return why(w, e ? e : ERR_VERSION, "journal: an operator's act cannot be read");
    for (str s = a.pairs; !e && take_u64(&s, &num) && take_u32(&s, &index);) {
        e = act_on(db, &a, num, index, &changed, w);
        if (!e && changed && a.action == QUEUE_DO_DELETE)
            e = release(db, num, 1, freed, arg, w);
    }
    return e;
}

enum err db_hold_all(struct db *db, str text, struct why *w) {
    struct query q;
    enum err e = query_begin(db, SQL_DELIVERY_DOUBT, &q, w);
    if (e)
        return e;
    bind_text(&q, text);
    return query_run(&q, w);
}

/* ---- history ---- */

static enum err count_stories(struct db *db, struct story_prune *p, struct why *w) {
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_STORY_COUNT, &q, w);
    if (!e)
        e = query_row(&q, &more, w);
    if (e)
        return e;
    p->count = more ? column_u64(&q) : 0;
    p->counted = true;
    query_end(&q);
    return OK;
}

static enum err forget(struct db *db, uint64_t num, struct why *w) {
    enum err e = run_num(db, SQL_STORY_DELETE, num, w);
    if (!e)
        e = run_num(db, SQL_STORY_DELIVERIES, num, w);
    return e ? e : run_num(db, SQL_STORY_ATTEMPTS, num, w);
}

enum err db_story_prune(struct db *db, struct story_prune *p, struct why *w) {
    enum { LOOK = 200 };
    uint64_t old[LOOK], created_ms, num;
    size_t count = 0, seen = 0;
    struct query q;
    bool more = false;
    enum err e = p->counted ? OK : count_stories(db, p, w);
    if (!e)
        e = query_begin(db, SQL_STORY_OLD, &q, w);
    if (e)
        return e;
    bind_u64(&q, p->cursor);
    bind_u64(&q, LOOK);
    uint64_t over = p->most && p->count > p->most ? p->count - p->most : 0;
    while (!(e = query_row(&q, &more, w)) && more) {
        num = column_u64(&q);
        created_ms = column_u64(&q);
        seen++;
        if (count >= over && created_ms >= p->created_before_ms)
            break;
        old[count++] = num;
        p->cursor = num;
    }
    query_end(&q);
    for (size_t i = 0; !e && i < count; i++)
        e = forget(db, old[i], w);
    p->count -= p->count < count ? p->count : count;
    if (seen < LOOK)
        p->cursor = 0;
    return e;
}

/* ---- reading ---- */

static struct db_delivery take_delivery(struct query *q) {
    struct db_delivery d = {.num = column_u64(q)};
    d.index = (uint32_t)column_u64(q);
    d.kind = (enum job_kind)column_u64(q);
    d.state = (enum queue_state)column_u64(q);
    d.open = column_u64(q) != 0;
    d.owed = (enum job_outcome)column_u64(q);
    d.late_told = column_u64(q) != 0;
    d.attempts = (uint32_t)column_u64(q);
    d.priority = (uint8_t)column_u64(q);
    d.code = (uint32_t)column_u64(q);
    d.created_ms = column_u64(q);
    d.next_ms = column_u64(q);
    d.expires_ms = column_u64(q);
    d.address = column_text(q);
    d.sender = column_text(q);
    d.target = column_text(q);
    d.rule = column_text(q);
    d.text = column_text(q);
    d.host = column_text(q);
    d.place.epoch = column_u64(q);
    d.place.offset = column_u64(q);
    d.place.length = column_u64(q);
    d.id = column_text(q);
    d.size = column_u64(q);
    return d;
}

enum err db_deliveries(struct db *db, enum db_delivery_which which, uint64_t num, uint32_t index,
                       db_delivery_each *each, void *arg, struct why *w) {
    static const enum sql texts[] = {
        [DB_OPEN] = SQL_DELIVERY_OPEN, [DB_EVERY] = SQL_DELIVERY_ALL, [DB_OF_MESSAGE] = SQL_DELIVERY_OF};
    struct query q;
    bool more = false;
    enum err e = query_begin(db, texts[which], &q, w);
    if (e)
        return e;
    bind_u64(&q, num);
    sqlite3_bind_int64(q.s, 2, index == UINT32_MAX && which == DB_OF_MESSAGE ? -1 : (sqlite3_int64)index);
    while (!(e = query_row(&q, &more, w)) && more) {
        struct db_delivery d = take_delivery(&q);
        if ((e = each(arg, &d)))
            break;
    }
    query_end(&q);
    return e;
}

enum err db_intents(struct db *db, db_intent_each *each, void *arg, struct why *w) {
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_INTENTS, &q, w);
    if (e)
        return e;
    while (!(e = query_row(&q, &more, w)) && more) {
        uint64_t seq = column_u64(&q), num = column_u64(&q), at_us = column_u64(&q);
        str host = column_text(&q), indices = column_text(&q);
        if ((e = each(arg, seq, num, at_us, host, indices)))
            break;
    }
    query_end(&q);
    return e;
}

/* Stays open behind the row, as db_get(). */
enum err db_story_get(struct db *db, str id, struct db_story *s, struct why *w) {
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_STORY_GET, &q, w);
    if (e)
        return e;
    bind_text(&q, id);
    e = query_row(&q, &more, w);
    if (e)
        return e;
    if (!more) {
        query_end(&q);
        return why(w, ERR_NOT_FOUND, "no such message");
    }
    s->num = column_u64(&q);
    s->created_ms = column_u64(&q);
    s->size = column_u64(&q);
    s->sender = column_text(&q);
    s->envelope = column_text(&q);
    s->transcript = column_text(&q);
    return OK;
}

enum err db_attempts(struct db *db, uint64_t num, uint64_t after_seq, db_attempt_each *each, void *arg, struct why *w) {
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_ATTEMPTS_OF, &q, w);
    if (e)
        return e;
    bind_u64(&q, num);
    bind_u64(&q, after_seq);
    while (!(e = query_row(&q, &more, w)) && more) {
        struct db_attempt a = {.seq = column_u64(&q)};
        a.started_us = column_u64(&q);
        a.ended_us = column_u64(&q);
        a.host = column_text(&q);
        a.address = column_text(&q);
        a.tls = column_text(&q);
        a.source = column_text(&q);
        a.text = column_text(&q);
        a.results = column_text(&q);
        a.transcript = column_text(&q);
        if ((e = each(arg, &a)))
            break;
    }
    query_end(&q);
    return e;
}
