#include "store/outcome.h"

#include "smtp/smtp_param.h"

enum { FORMAT = 1 };

/* ---- writing ---- */

void intent_put(struct buf *out, const struct intent *i) {
    buf_u8(out, FORMAT);
    buf_u64(out, i->num);
    buf_u64(out, i->at_us);
    buf_lstr(out, i->host);
    buf_u32(out, (uint32_t)i->count);
    for (size_t k = 0; k < i->count; k++)
        buf_u32(out, i->indices[k]);
}

static void row_put(struct buf *out, const struct outcome_row *r) {
    buf_u32(out, r->index);
    buf_u8(out, (uint8_t)r->outcome);
    buf_u8(out, (uint8_t)r->state);
    buf_u8(out, (uint8_t)r->owed);
    buf_u8(out, r->late_told);
    buf_u32(out, r->attempts);
    buf_u32(out, r->code);
    buf_u64(out, r->next_ms);
    buf_lstr(out, r->text);
}

void outcome_put(struct buf *out, const struct outcome *o) {
    const str texts[] = {o->text, o->host, o->address, o->tls, o->source, o->transcript};
    buf_u8(out, FORMAT);
    buf_u64(out, o->num);
    buf_u64(out, o->intent);
    buf_u8(out, (uint8_t)o->cause);
    buf_u8(out, (uint8_t)o->trouble);
    buf_u64(out, o->started_us);
    buf_u64(out, o->ended_us);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        buf_lstr(out, texts[i]);
    buf_u32(out, (uint32_t)o->row_count);
    for (size_t i = 0; i < o->row_count; i++)
        row_put(out, &o->rows[i]);
}

void acted_put(struct buf *out, const struct acted *a) {
    buf_u8(out, FORMAT);
    buf_u8(out, (uint8_t)a->action);
    buf_u64(out, a->at_ms);
    buf_lstr(out, a->pairs);
}

/* ---- reading ---- */

static enum err take_format(str *s) {
    uint8_t format = 0;
    if (!take_u8(s, &format))
        return ERR_CORRUPT;
    return format == FORMAT ? OK : ERR_VERSION;
}

enum err intent_take(str s, struct arena *a, struct intent *i) {
    uint32_t count = 0;
    *i = (struct intent){0};
    enum err e = take_format(&s);
    if (e)
        return e;
    if (!take_u64(&s, &i->num) || !take_u64(&s, &i->at_us) || !take_lstr(&s, &i->host) || !take_u32(&s, &count) ||
        s.n / 4 < count)
        return ERR_CORRUPT;
    uint32_t *indices = arena_alloc(a, (count + 1) * sizeof(*indices));
    if (!indices)
        return ERR_NOMEM;
    for (uint32_t k = 0; k < count; k++)
        if (!take_u32(&s, &indices[k]))
            return ERR_CORRUPT;
    i->indices = indices;
    i->count = count;
    return OK;
}

static bool row_take(str *s, struct outcome_row *r) {
    uint8_t outcome = 0, state = 0, owed = 0, late = 0;
    bool good = take_u32(s, &r->index) && take_u8(s, &outcome) && take_u8(s, &state) && take_u8(s, &owed) &&
                take_u8(s, &late) && take_u32(s, &r->attempts) && take_u32(s, &r->code) && take_u64(s, &r->next_ms) &&
                take_lstr(s, &r->text);
    r->outcome = (enum job_outcome)outcome;
    r->state = (enum queue_state)state;
    r->owed = (enum job_outcome)owed;
    r->late_told = late;
    return good;
}

enum err outcome_take(str s, struct arena *a, struct outcome *o) {
    enum { ROW_LEAST = 28 };
    uint8_t cause = 0, trouble = 0;
    uint32_t count = 0;
    *o = (struct outcome){0};
    enum err e = take_format(&s);
    if (e)
        return e;
    if (!take_u64(&s, &o->num) || !take_u64(&s, &o->intent) || !take_u8(&s, &cause) || !take_u8(&s, &trouble) ||
        !take_u64(&s, &o->started_us) || !take_u64(&s, &o->ended_us) || !take_lstr(&s, &o->text) ||
        !take_lstr(&s, &o->host) || !take_lstr(&s, &o->address) || !take_lstr(&s, &o->tls) ||
        !take_lstr(&s, &o->source) || !take_lstr(&s, &o->transcript) || !take_u32(&s, &count) ||
        s.n / ROW_LEAST < count)
        return ERR_CORRUPT;
    o->cause = (enum outcome_cause)cause;
    o->trouble = (enum job_trouble)trouble;
    o->rows = arena_alloc(a, (count + 1) * sizeof(*o->rows));
    if (!o->rows)
        return ERR_NOMEM;
    for (; o->row_count < count; o->row_count++)
        if (!row_take(&s, &o->rows[o->row_count]))
            return ERR_CORRUPT;
    return OK;
}

enum err acted_take(str s, struct acted *a) {
    uint8_t action = 0;
    *a = (struct acted){0};
    enum err e = take_format(&s);
    if (e)
        return e;
    if (!take_u8(&s, &action) || !take_u64(&s, &a->at_ms) || !take_lstr(&s, &a->pairs) || a->pairs.n % ACTED_PAIR)
        return ERR_CORRUPT;
    a->action = (enum queue_action)action;
    return OK;
}

void outcome_results_put(struct buf *out, const struct outcome *o) {
    for (size_t i = 0; i < o->row_count; i++) {
        const struct outcome_row *r = &o->rows[i];
        buf_u32(out, r->index);
        buf_u8(out, (uint8_t)r->outcome);
        buf_u32(out, r->code);
        buf_lstr(out, r->text);
    }
}

bool outcome_results_take(str *s, struct outcome_row *r) {
    uint8_t outcome = 0;
    *r = (struct outcome_row){0};
    bool good = take_u32(s, &r->index) && take_u8(s, &outcome) && take_u32(s, &r->code) && take_lstr(s, &r->text);
    r->outcome = (enum job_outcome)outcome;
    return good;
}

/* ---- NOTIFY ---- */

bool notify_wants(str params, enum job_outcome what) {
    struct smtp_params p;
    unsigned asked = smtp_params_parse(params, SMTP_PARAM_RCPT, &p) == OK ? p.notify : 0;
    if (!asked)
        asked = SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY;
    switch (what) {
    case JOB_FAILED:
    case JOB_EXPIRED: return asked & SMTP_NOTIFY_FAILURE;
    case JOB_LATE: return asked & SMTP_NOTIFY_DELAY;
    default: return asked & SMTP_NOTIFY_SUCCESS;
    }
}
