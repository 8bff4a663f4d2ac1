#include "store/job_read.h"

#include <string.h>

#include "store/delivery_rows.h"

enum { OUT_MAX = 64 * 1024 * 1024, ENVELOPE_ARENA = 256 * 1024 * 1024 };

static uint32_t flags_of(const struct envelope *v) {
    return (v->eight_bit ? JOB_EIGHT_BIT : 0u) | (v->utf8 ? JOB_UTF8 : 0u) |
           (v->require_tls == 1 ? JOB_REQUIRE_TLS : 0u) | (v->require_tls == 2 ? JOB_TLS_OPTIONAL : 0u) |
           (v->binary ? JOB_BINARY : 0u) | (v->long_lines ? JOB_LONG_LINES : 0u);
}

static str params_of(const struct envelope *v, uint32_t index) {
    uint32_t rcpt = index < v->delivery_count ? v->deliveries[index].rcpt : UINT32_MAX;
    return rcpt < v->rcpt_count ? v->rcpts[rcpt].params : STR_NONE;
}

static void look_at(struct job_read *j, const struct envelope *v) {
    for (size_t i = 0; i < j->rcpt_count; i++) {
        struct job_rcpt *r = &j->rcpts[i];
        str params = params_of(v, r->index);
        r->wants = (uint8_t)((notify_wants(params, JOB_FAILED) ? JOB_WANTS_FAILURE : 0) |
                             (notify_wants(params, JOB_DELIVERED) ? JOB_WANTS_SUCCESS : 0) |
                             (notify_wants(params, JOB_LATE) ? JOB_WANTS_DELAY : 0));
        r->to_postmaster = r->index < v->delivery_count && str_ieq(v->deliveries[r->index].address, j->postmaster);
    }
    j->has_sender = v->sender.n > 0;
}

/* A report is about what the sender gave; every other job carries the sender its recipients are to see. */
static str sender_of(const struct job_read *j, const struct envelope *v) {
    uint32_t index = j->rcpt_count ? j->rcpts[0].index : UINT32_MAX;
    return j->kind == JOB_REPORT || index >= v->delivery_count ? v->sender : delivery_sender(v, index);
}

static void put(struct job_read *j, const struct frame *f) {
    if (j->put)
        j->put(j, f);
    else
        frame_put(&j->out, f);
}

static void put_begin(struct job_read *j, const struct envelope *v, const struct record *r, uint64_t view_size) {
    struct frame f = {.type = FRAME_JOB};
    f.job = (struct frame_job){.job = j->job,
                               .kind = j->kind,
                               .id = r->id,
                               .route = j->route,
                               .next_hop = j->next_hop,
                               .site = j->site,
                               .sender = sender_of(j, v),
                               .size = view_size,
                               .flags = flags_of(v),
                               .sender_params = v->sender_params};
    put(j, &f);
    if (j->kind == JOB_REPORT || j->kind == JOB_WEBHOOK)
        FRAME_CHUNKS(r->envelope, piece) {
            struct frame e = {.type = FRAME_JOB_ENVELOPE, .job_envelope = {j->job, piece}};
            put(j, &e);
        }
    for (size_t i = 0; i < j->rcpt_count; i++) {
        const struct job_rcpt *c = &j->rcpts[i];
        struct frame e = {.type = FRAME_JOB_RCPT};
        e.job_rcpt = (struct frame_job_rcpt){.job = j->job,
                                             .index = c->index,
                                             .address = v->deliveries[c->index].address,
                                             .params = params_of(v, c->index),
                                             .state = c->state,
                                             .code = c->code,
                                             .text = c->text,
                                             .host = c->host,
                                             .at_ms = c->at_ms};
        put(j, &e);
    }
}

static enum err put_body(struct body_reader *b, struct job_read *j, const struct envelope *v, const struct record *r) {
    struct buf bytes = BUF(FRAME_CHUNK);
    enum err e = OK;
    while (!e && j->grant && j->sent < j->size) {
        uint64_t left = j->size - j->sent, n = left < j->grant ? left : j->grant;
        buf_reset(&bytes);
        e = body_view(b, r, v->edits, j->sent, n < FRAME_CHUNK ? n : FRAME_CHUNK, &bytes, &j->why);
        if (!e && bytes.n == 0)
            e = why(&j->why, ERR_CORRUPT, "the message ends before its size");
        if (e)
            break;
        struct frame f = {.type = FRAME_JOB_BODY, .job_body = {j->job, buf_str(&bytes)}};
        put(j, &f);
        j->sent += bytes.n;
        j->grant -= bytes.n < j->grant ? bytes.n : j->grant;
    }
    buf_free(&bytes);
    return e;
}

static enum err read_job(struct body_reader *b, struct job_read *j, const struct record *r, struct arena *a) {
    struct envelope v;
    enum err e = envelope_take(r->envelope, a, &v);
    if (e)
        return why(&j->why, e, "the envelope of message %.*s cannot be read", STR_ARG(r->id));
    for (size_t i = 0; i < j->rcpt_count; i++)
        if (j->rcpts[i].index >= v.delivery_count)
            return why(&j->why, ERR_CORRUPT, "message %.*s has no recipient %u", STR_ARG(r->id), j->rcpts[i].index);
    uint64_t view_size = v.edits.n ? v.edited_size : r->size;
    memcpy(j->id, r->id.p, ID_SIZE);
    look_at(j, &v);
    if (j->look)
        return OK;
    j->size = view_size < j->body_max ? view_size : j->body_max;
    if (j->begin)
        put_begin(j, &v, r, view_size);
    return put_body(b, j, &v, r);
}

void job_read_run(struct task *t, void *context) {
    struct job_read *j = (struct job_read *)t;
    struct body_reader *b = context;
    struct record r;
    struct arena a = ARENA(ENVELOPE_ARENA);
    j->out.limit = OUT_MAX;
    buf_reset(&j->out);
    j->put = NULL;
    j->e = body_record(b, j->num, &j->place, &r, &j->why);
    if (!j->e)
        j->e = read_job(b, j, &r, &a);
    if (!j->e && j->out.full)
        j->e = why(&j->why, ERR_NOMEM, "no memory for a job");
    arena_free(&a);
}

void job_read_fresh(struct job_read *j, const struct record *r, struct arena *a) {
    j->e = read_job(NULL, j, r, a);
    arena_reset(a);
}
