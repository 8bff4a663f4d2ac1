#include "role/smtpd_report.h"

#include "frame/job.h"
#include "mime/dsn.h"
#include "mime/header.h"
#include "mime/word.h"
#include "role/smtpd_inject.h"
#include "role/smtpd_inside.h"

#include <stdlib.h>
#include <string.h>

enum {
    RCPTS_MAX = 10000,
    MEMORY_MAX = 64 * 1024 * 1024, /* envelope, recipients */
    HEAD_MAX = 8 * 1024 * 1024,    /* what the report says, beside what it returns */
    WORDS_MAX = 2000,
    HELLO_REPLIES = 3, /* greeting, EHLO, MAIL */
};

struct smtpd_report {
    struct smtpd_inside inside;
    struct smtpd_core *core;
    uint64_t job, size; /* of the whole message */
    struct arena arena;
    struct buf envelope_bytes, body;
    str id, sender, sender_params; /* of the message that is told of */
    struct dsn_rcpt *rcpts;
    uint32_t *indices;
    uint8_t *outcomes;
    size_t count, cap;
    struct buf told; /* indices, as the envelope has them */
    str to;
    bool built, last_resort, accepted, data, quits;
    bool utf8, eight_bit;
    unsigned replies;
    struct buf head, tail;
    str original; /* the part of body that is returned */
};

/* ---- the end ---- */

static void report_free(struct smtpd_report *r) {
    map_remove(&r->core->reports, r->job);
    smtpd_inside_end(&r->inside);
    struct buf *bufs[] = {&r->envelope_bytes, &r->body, &r->told, &r->head, &r->tail};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        buf_free(bufs[i]);
    free(r->rcpts);
    free(r->indices);
    free(r->outcomes);
    arena_free(&r->arena);
    free(r);
}

static void say_done(struct smtpd_core *core, uint64_t job, bool good, str text) {
    struct frame f = {
        FRAME_JOB_DONE,
        .job_done = {.job = job, .trouble = good ? JOB_FINE : JOB_OURS, .text = str_head(text, WORDS_MAX)}};
    smtpd_core_send(core, ROLE_STORE, &f);
}

static void give_up(struct smtpd_report *r, str text) {
    say_done(r->core, r->job, false, text);
    report_free(r);
}

/* ---- the report ---- */

static enum dsn_action action_of(uint8_t outcome) {
    switch (outcome) {
    case JOB_LATE: return DSN_DELAYED;
    case JOB_DELIVERED: return DSN_DELIVERED;
    case JOB_RELAYED: return DSN_RELAYED;
    case JOB_EXPANDED: return DSN_EXPANDED;
    default: return DSN_FAILED;
    }
}

/* What the sender wrote is what he is told of: where an alias led is not his to know. */
static void name_rcpts(struct smtpd_report *r, const struct envelope *e) {
    uint64_t expire_us = r->core->generation->conf->queue_expire * 1000;
    for (size_t i = 0; i < r->count; i++) {
        struct dsn_rcpt *d = &r->rcpts[i];
        struct smtp_params p;
        if (r->indices[i] >= e->delivery_count || e->deliveries[r->indices[i]].rcpt >= e->rcpt_count)
            continue;
        const struct envelope_rcpt *given = &e->rcpts[e->deliveries[r->indices[i]].rcpt];
        d->address = given->address;
        if (smtp_params_parse(given->params, SMTP_PARAM_RCPT, &p) == OK)
            d->orcpt = p.orcpt;
        if (d->action == DSN_DELAYED)
            d->until = (struct date){(int64_t)(e->received_us + expire_us), 0};
    }
}

static str field(struct smtpd_report *r, str header, str name, bool words) {
    struct header h;
    struct buf text = BUF(WORDS_MAX);
    if (!header_find(header, name, &h))
        return STR_NONE;
    if (words)
        word_decode(str_head(h.value, WORDS_MAX / 2), &text);
    else
        header_unfold(str_head(h.value, WORDS_MAX / 2), &text);
    str s = arena_str(&r->arena, buf_str(&text));
    buf_free(&text);
    return s;
}

/* The header section of what came, its empty line included, or as much of it as came in whole lines. */
static str header_part(str body) {
    str rest = body, line;
    while (str_line(&rest, &line))
        if (line.n == 0)
            break;
    size_t n = body.n - rest.n;
    if (rest.n == 0 && body.n && body.p[body.n - 1] != '\n')
        n = str_rfind(body, '\n') == SIZE_MAX ? 0 : str_rfind(body, '\n') + 1;
    return str_head(body, n);
}

static str new_name(struct smtpd_report *r) {
    uint8_t bytes[16];
    char id[ID_SIZE];
    r->core->ops->random(bytes, sizeof bytes);
    id_encode(bytes, id);
    return arena_str(&r->arena, str_n(id, ID_SIZE));
}

static str message_id(struct smtpd_report *r, str name, str host) {
    struct buf b = BUF(WORDS_MAX);
    buf_printf(&b, "%.*s@%.*s", STR_ARG(name), STR_ARG(host));
    str s = arena_str(&r->arena, buf_str(&b));
    buf_free(&b);
    return s;
}

static enum err build(struct smtpd_report *r, const struct envelope *e, struct why *w) {
    const struct smtpd_generation *g = r->core->generation;
    struct smtp_params p;
    bool parsed = smtp_params_parse(r->sender_params, SMTP_PARAM_MAIL, &p) == OK;
    str header = header_part(buf_str(&r->body)), name = new_name(r), host = g->inside.smtp.hostname;
    enum dsn_returns returns =
        dsn_returns(r->rcpts, r->count, parsed && p.ret == SMTP_RET_HDRS, r->size, r->body.limit);
    r->original = returns == DSN_RETURNS_WHOLE ? buf_str(&r->body) : returns == DSN_RETURNS_HEADER ? header : STR_NONE;
    r->utf8 = e->utf8 || !utf8_is_ascii(r->to);
    r->eight_bit = !utf8_is_ascii(r->original);
    struct dsn d = {.host = host,
                    .to = r->to,
                    .message_id = message_id(r, name, host),
                    .boundary = new_name(r),
                    .now = {(int64_t)r->core->ops->wall_us(), 0},
                    .arrival = {(int64_t)e->received_us, 0},
                    .id = r->id,
                    .envid = parsed ? p.envid : STR_NONE,
                    .original_message_id = field(r, header, S("Message-ID"), false),
                    .original_subject = field(r, header, S("Subject"), true),
                    .rcpts = r->rcpts,
                    .rcpt_count = r->count,
                    .returns = returns,
                    .eight_bit = r->eight_bit,
                    .utf8 = r->utf8};
    enum err err = dsn_build(&d, &r->head, &r->tail, w);
    r->utf8 = dsn_is_utf8(&d);
    return err;
}

/* ---- the conversation ---- */

static void say_rcpt(struct smtpd_report *r, str address) {
    smtpd_inside_say(&r->inside, S("RCPT TO:<"));
    smtpd_inside_say(&r->inside, address);
    smtpd_inside_say(&r->inside, S(">\r\n"));
}

static void say_message(struct smtpd_report *r) {
    char space[40];
    struct buf b = {.p = space, .cap = sizeof space, .limit = sizeof space};
    buf_printf(&b, "BDAT %zu LAST\r\n", r->head.n + r->original.n + r->tail.n);
    smtpd_inside_say(&r->inside, buf_str(&b));
    smtpd_inside_say(&r->inside, buf_str(&r->head));
    smtpd_inside_say(&r->inside, r->original);
    smtpd_inside_say(&r->inside, buf_str(&r->tail));
    r->data = true;
}

static void quit(struct smtpd_report *r) {
    r->quits = true;
    smtpd_inside_say(&r->inside, S("QUIT\r\n"));
}

static str postmaster(struct smtpd_report *r) {
    const struct conf *c = r->core->generation->conf;
    struct buf b = BUF(WORDS_MAX);
    if (c->postmaster.n || !c->domain_count)
        return c->postmaster;
    buf_printf(&b, "postmaster@%.*s", STR_ARG(c->domains[0].title));
    str s = arena_str(&r->arena, buf_str(&b));
    buf_free(&b);
    return s;
}

/* A sender who cannot be reached: his postmaster is told; and where there is none, nobody: the report is forgotten, and
 * with it what it tells of, for it would come for ever. */
static void next_resort(struct smtpd_report *r) {
    str other = postmaster(r);
    bool again = !r->last_resort && other.n && !str_ieq(other, r->to);
    r->inside.forgets = !again;
    if (!again)
        r->core->ops->log(EV_REPORT_FORGOTTEN, r->inside.session, r->id);
    r->last_resort = true;
    say_rcpt(r, again ? other : r->to);
}

static void on_reply(struct smtpd_inside *c, unsigned code, str text) {
    struct smtpd_report *r = LIST_ENTRY(c, struct smtpd_report, inside);
    if (code == 0) {
        say_done(r->core, r->job, r->accepted, text);
        report_free(r);
        return;
    }
    if (r->quits)
        return;
    r->replies++;
    if (r->data) {
        r->accepted = code < 300;
        quit(r);
    } else if (r->replies > HELLO_REPLIES && code >= 500 && !c->forgets) {
        next_resort(r);
    } else if (code >= 400) {
        quit(r);
    } else if (r->replies > HELLO_REPLIES) {
        say_message(r);
    } else if (r->replies == HELLO_REPLIES) {
        say_rcpt(r, r->to);
    }
}

static void start(struct smtpd_report *r) {
    struct smtpd_inside *c = &r->inside;
    c->on_reply = on_reply;
    c->internal = true;
    c->report_of = r->id;
    c->report_rcpts = buf_str(&r->told);
    c->report_kind = r->outcomes[0];
    enum err e = smtpd_inside_begin(r->core, c, S("report"), S(""), S(""), false, STR_NONE);
    if (e) {
        give_up(r, S("no session could begin"));
        return;
    }
    smtpd_inside_say(c, S("EHLO localhost\r\nMAIL FROM:<>"));
    smtpd_inside_say(c, r->utf8 ? S(" SMTPUTF8") : S(""));
    smtpd_inside_say(c, r->eight_bit || r->utf8 ? S(" BODY=8BITMIME\r\n") : S("\r\n"));
    smtpd_inside_run(c);
}

static void begin_report(struct smtpd_report *r) {
    struct envelope e;
    struct why w = {0};
    r->built = true;
    if (!r->count || r->told.full || envelope_take(buf_str(&r->envelope_bytes), &r->arena, &e) != OK) {
        give_up(r, S("the message that is told of cannot be read"));
        return;
    }
    r->to = r->sender.n ? r->sender : postmaster(r);
    name_rcpts(r, &e);
    if (build(r, &e, &w) == OK)
        start(r);
    else
        give_up(r, str_of(w.text));
}

/* ---- the frames ---- */

static void on_job(struct smtpd_core *core, const struct frame_job *f) {
    struct smtpd_report *r = f->kind == JOB_REPORT && core->generation ? calloc(1, sizeof *r) : NULL;
    if (!r || !map_put(&core->reports, f->job, r)) {
        free(r);
        say_done(core, f->job, false, S("no report can be made of this"));
        return;
    }
    uint64_t most = core->generation->conf->bounce_size_max;
    *r = (struct smtpd_report){.core = core,
                               .job = f->job,
                               .size = f->size,
                               .arena = ARENA(MEMORY_MAX),
                               .envelope_bytes = BUF(MEMORY_MAX),
                               .body = BUF(f->size < most ? f->size : most),
                               .told = BUF(RCPTS_MAX * 4),
                               .head = BUF(HEAD_MAX),
                               .tail = BUF(HEAD_MAX)};
    r->id = arena_str(&r->arena, f->id);
    r->sender = arena_str(&r->arena, f->sender);
    r->sender_params = arena_str(&r->arena, f->sender_params);
}

static bool grow(struct smtpd_report *r) {
    if (r->count < r->cap)
        return true;
    size_t cap = r->cap ? r->cap * 2 : 16;
    struct dsn_rcpt *rcpts = realloc(r->rcpts, cap * sizeof *rcpts);
    if (rcpts)
        r->rcpts = rcpts;
    uint32_t *indices = realloc(r->indices, cap * sizeof *indices);
    if (indices)
        r->indices = indices;
    uint8_t *outcomes = realloc(r->outcomes, cap);
    if (outcomes)
        r->outcomes = outcomes;
    if (rcpts && indices && outcomes)
        r->cap = cap;
    return r->count < r->cap;
}

static void on_rcpt(struct smtpd_report *r, const struct frame_job_rcpt *f) {
    if (r->built || r->count == RCPTS_MAX || !grow(r))
        return; /* told of next time */
    r->rcpts[r->count] = (struct dsn_rcpt){.action = action_of(f->state),
                                           .address = arena_str(&r->arena, f->address),
                                           .code = f->code,
                                           .text = arena_str(&r->arena, f->text),
                                           .remote = arena_str(&r->arena, f->host),
                                           .attempt = {(int64_t)f->at_ms * 1000, 0}};
    r->indices[r->count] = f->index;
    r->outcomes[r->count++] = f->state;
    buf_u32(&r->told, f->index);
    if (r->size == 0)
        begin_report(r);
}

static void on_body(struct smtpd_report *r, str bytes) {
    if (r->built)
        return;
    buf_add(&r->body, str_head(bytes, r->body.limit - r->body.n));
    if (bytes.n == 0) /* the store sends less than we would take: its configuration is another */
        r->body.limit = r->body.n;
    if (r->body.n == r->body.limit) {
        begin_report(r);
        return;
    }
    struct frame f = {FRAME_JOB_MORE, .job_more = {r->job, bytes.n}};
    smtpd_core_send(r->core, ROLE_STORE, &f);
}

static uint64_t job_of(const struct frame *f) {
    switch ((int)f->type) {
    case FRAME_JOB_ENVELOPE: return f->job_envelope.job;
    case FRAME_JOB_RCPT: return f->job_rcpt.job;
    case FRAME_JOB_BODY: return f->job_body.job;
    default: return f->job_cancel.job;
    }
}

bool smtpd_report_frame(struct smtpd_core *core, const struct frame *f) {
    struct smtpd_report *r;
    switch ((int)f->type) {
    case FRAME_JOB: on_job(core, &f->job); return true;
    case FRAME_JOB_ENVELOPE:
    case FRAME_JOB_RCPT:
    case FRAME_JOB_BODY:
    case FRAME_JOB_CANCEL: r = map_get(&core->reports, job_of(f)); break;
    default: return false;
    }
    if (!r)
        return true; /* it is over */
    switch ((int)f->type) {
    case FRAME_JOB_ENVELOPE: buf_add(&r->envelope_bytes, f->job_envelope.bytes); break;
    case FRAME_JOB_RCPT: on_rcpt(r, &f->job_rcpt); break;
    case FRAME_JOB_BODY: on_body(r, f->job_body.bytes); break;
    default: give_up(r, S("cancelled"));
    }
    return true;
}

void smtpd_reports_down(struct smtpd_core *core) {
    struct smtpd_report *r;
    for (size_t at = 0; (r = map_next(&core->reports, &at)); at = 0)
        report_free(r);
}
