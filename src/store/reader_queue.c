#include "store/reader_queue.h"

#include "base/fields.h"
#include "policy/glob.h"
#include "store/delivery_rows.h"

enum { PICK_MAX = 64 * 1024 * 1024, TEXT_MAX = 1000, NAME_TEXT = 500, TALK_MAX = 50 * 1024 };

static const struct {
    str word;
    enum queue_state state;
} states[] = {
    {S_INIT("waiting"), QUEUE_WAITING},     {S_INIT("active"), QUEUE_ACTIVE},       {S_INIT("held"), QUEUE_HELD},
    {S_INIT("delivered"), QUEUE_DELIVERED}, {S_INIT("bounced"), QUEUE_BOUNCED},     {S_INIT("expired"), QUEUE_EXPIRED},
    {S_INIT("deleted"), QUEUE_DELETED},     {S_INIT("reporting"), QUEUE_REPORTING}, {S_INIT("unknown"), QUEUE_UNKNOWN},
};

/* ---- filters ---- */

bool reader_queue_filter(struct request *r, str filter) {
    str word = fields_get(filter, S("state"));
    r->filter = BUF(FRAME_MAX);
    buf_add(&r->filter, filter);
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        if (str_ieq(word, states[i].word))
            r->state_wanted = states[i].state;
    if (word.n && !r->state_wanted)
        r->state_wanted = UINT8_MAX; /* no such state: nothing fits */
    return fields_valid(filter);
}

static bool star_match(str pattern, str s) {
    return glob_match(pattern, s, NULL, 0, NULL);
}

static bool fits_text(str filter, str name, str value) {
    str pattern;
    return !fields_find(filter, name, &pattern) || star_match(pattern, value);
}

static bool fits_sender(str filter, str sender) {
    str pattern;
    if (!fields_find(filter, S("sender"), &pattern))
        return true;
    return str_eq(pattern, S("<>")) ? sender.n == 0 : star_match(pattern, sender);
}

static bool fits_domain(str filter, const struct db_delivery *d) {
    str pattern;
    size_t at = str_rfind(d->address, '@');
    if (!fields_find(filter, S("domain"), &pattern))
        return true;
    return star_match(pattern, at == SIZE_MAX ? STR_NONE : str_tail(d->address, at + 1)) ||
           star_match(pattern, d->target);
}

/* Who is on his way now the loop knows, not the database. */
static bool fits_state(uint8_t wanted, const struct db_delivery *d) {
    if (!wanted)
        return true;
    if (wanted == QUEUE_ACTIVE)
        return d->state == QUEUE_WAITING || d->state == QUEUE_UNKNOWN;
    return d->state == (enum queue_state)wanted;
}

static bool fits(const struct request *r, const struct db_delivery *d) {
    str f = buf_str(&r->filter);
    return fits_state(r->state_wanted, d) && fits_text(f, S("id"), d->id) && fits_sender(f, d->sender) &&
           fits_text(f, S("recipient"), d->address) && fits_domain(f, d) && fits_text(f, S("route"), d->rule);
}

/* ---- lists ---- */

static void put_queue_row(struct request *r, const struct db_delivery *d) {
    struct frame f = {.type = FRAME_QUEUE_ROW};
    f.queue_row = (struct frame_queue_row){.tag = r->tag,
                                           .num = d->num,
                                           .id = d->id,
                                           .index = d->index,
                                           .sender = str_head(d->sender, TEXT_MAX),
                                           .address = str_head(d->address, TEXT_MAX),
                                           .next_hop = str_head(d->target, 5 * TEXT_MAX),
                                           .site = str_head(d->host, NAME_TEXT),
                                           .route = str_head(d->rule, NAME_TEXT),
                                           .action = (uint8_t)d->kind,
                                           .state = (uint8_t)d->state,
                                           .created_ms = d->created_ms,
                                           .next_ms = d->next_ms,
                                           .expires_ms = d->expires_ms,
                                           .attempts = d->attempts,
                                           .size = d->size,
                                           .text = str_head(d->text, TEXT_MAX)};
    frame_put(&r->out, &f);
}

static enum err list_one(void *arg, const struct db_delivery *d) {
    struct request *r = arg;
    if (r->out.n >= READER_STEP || r->count >= r->limit)
        return ERR_MORE;
    r->cursor = d->num;
    r->index = d->index;
    if (!fits(r, d))
        return OK;
    put_queue_row(r, d);
    r->count++;
    return OK;
}

static bool wants_history(uint8_t state) {
    return state == QUEUE_DELIVERED || state == QUEUE_BOUNCED || state == QUEUE_EXPIRED || state == QUEUE_DELETED;
}

enum err reader_queue_list(struct db *db, struct request *r, struct why *w) {
    enum db_delivery_which which = wants_history(r->state_wanted) ? DB_EVERY : DB_OPEN;
    enum err e = db_deliveries(db, which, r->cursor, r->index, list_one, r, w);
    if (e == ERR_MORE && r->count < r->limit)
        return OK; /* this step is full */
    if (e && e != ERR_MORE)
        return e;
    struct frame f = {.type = FRAME_DONE, .done = {r->tag, r->count, r->state.total, r->state.unread}};
    frame_put(&r->out, &f);
    r->done = true;
    return OK;
}

/* ---- operators ---- */

static bool may(uint8_t action, const struct db_delivery *d) {
    bool waits = !d->owed && (d->state == QUEUE_WAITING || d->state == QUEUE_UNKNOWN);
    switch (action) {
    case QUEUE_DO_HOLD:
    case QUEUE_DO_RETRY: return waits;
    case QUEUE_DO_RELEASE: return d->state == QUEUE_HELD;
    case QUEUE_DO_DELETE: return true;
    case QUEUE_DO_BOUNCE: return waits || d->state == QUEUE_HELD;
    default: return false;
    }
}

static enum err pick_one(void *arg, const struct db_delivery *d) {
    struct request *r = arg;
    if (!fits(r, d) || !may(r->action, d))
        return OK;
    buf_u64(&r->nums, d->num);
    buf_u32(&r->nums, d->index);
    return r->nums.full ? ERR_NOMEM : OK;
}

enum err reader_queue_pick(struct db *db, struct request *r, struct why *w) {
    r->nums.limit = PICK_MAX;
    enum err e = db_deliveries(db, DB_OPEN, 0, UINT32_MAX, pick_one, r, w);
    return e == ERR_NOMEM ? why(w, e, "too many at a time: use a narrower filter") : e;
}

/* ---- stories ---- */

static enum err story_row(void *arg, const struct db_delivery *d) {
    struct request *r = arg;
    if (r->out.n >= READER_STEP)
        return ERR_MORE;
    put_queue_row(r, d);
    r->index = d->index;
    return OK;
}

/* What was said stands with the first of its recipients. */
static enum err story_attempt(void *arg, const struct db_attempt *a) {
    struct request *r = arg;
    struct outcome_row row;
    if (r->out.n >= READER_STEP)
        return ERR_MORE;
    str talk = str_head(a->transcript, TALK_MAX);
    for (str s = a->results; s.n && outcome_results_take(&s, &row); talk = STR_NONE) {
        struct frame f = {.type = FRAME_ATTEMPT};
        f.attempt = (struct frame_attempt){.tag = r->tag,
                                           .index = row.index,
                                           .started_us = a->started_us,
                                           .ended_us = a->ended_us,
                                           .outcome = (uint8_t)row.outcome,
                                           .code = row.code,
                                           .text = str_head(row.text.n ? row.text : a->text, TEXT_MAX),
                                           .host = str_head(a->host, NAME_TEXT),
                                           .address = str_head(a->address, NAME_TEXT),
                                           .tls = str_head(a->tls, NAME_TEXT),
                                           .source = str_head(a->source, NAME_TEXT),
                                           .transcript = talk};
        frame_put(&r->out, &f);
    }
    r->cursor = a->seq;
    return OK;
}

enum err reader_story_rows(struct db *db, struct request *r, bool *over, struct why *w) {
    enum { ROWS = 1, ATTEMPTS };
    enum err e = OK;
    *over = false;
    r->out.limit += 16 * 1024 * 1024; /* one attempt may have a thousand recipients */
    if (r->stage == ROWS) {
        e = db_deliveries(db, DB_OF_MESSAGE, r->before_ms, r->index, story_row, r, w);
        if (!e)
            r->stage = ATTEMPTS;
    }
    if (!e && r->stage == ATTEMPTS) {
        e = db_attempts(db, r->before_ms, r->cursor, story_attempt, r, w);
        *over = !e;
    }
    return e == ERR_MORE ? OK : e;
}
