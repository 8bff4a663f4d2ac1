#include "role/filter_core.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/code.h"
#include "mime/idna.h"
#include "mime/word.h"

enum {
    ARENA_MAX = 64 * 1024 * 1024,
    ENVELOPE_MAX = 16 * 1024 * 1024,
    GRANT_STEP = JOB_WINDOW / 2,
    SECRET_MAX = 64 * 1024,
    PREFIX_MAX = 128, /* ID.TIMESTAMP. before the body */
    TEXT_MAX = 2000,
};

/* ---- what is said of a job ---- */

static void put_line(struct filter_job *j, const char *direction, str text) {
    buf_add(&j->transcript, str_of(direction));
    escape_print(text, &j->transcript);
    buf_char(&j->transcript, '\n');
}

void filter_job_note(struct filter_job *j, const char *format, ...) {
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    put_line(j, "* ", str_of(line));
}

/* ---- room for messages ---- */

static uint64_t room_for(const struct filter_job *j) {
    return j->wanted / 2 * 5; /* as it came, in base64, and some */
}

static void send_grant(struct filter_job *j) {
    struct frame f = {.type = FRAME_JOB_MORE, .job_more = {j->id, j->owed}};
    j->core->ops->to_store(&f);
    j->owed = 0;
}

/* A message of a window is there already; a larger one waits for its turn, and the first one never does. */
static void reserve(struct filter_job *j) {
    struct filter_core *core = j->core;
    j->granting = core->reserved == 0 || core->reserved + room_for(j) <= FILTER_MEMORY_MAX;
    if (!j->granting)
        return;
    j->reserved = room_for(j);
    core->reserved += j->reserved;
    list_remove(&j->waiting);
}

static void release(struct filter_job *j) {
    struct filter_core *core = j->core;
    list_remove(&j->waiting);
    core->reserved -= j->reserved;
    j->reserved = 0;
    while (!list_empty(&core->waiting)) {
        struct filter_job *next = LIST_ENTRY(list_first(&core->waiting), struct filter_job, waiting);
        reserve(next);
        if (!next->granting)
            return;
        send_grant(next);
    }
}

static void want_more(struct filter_job *j, size_t n) {
    j->owed += n;
    if (j->size <= JOB_WINDOW)
        return;
    if (!j->granting && list_empty(&j->waiting)) {
        list_add_tail(&j->core->waiting, &j->waiting);
        reserve(j);
    }
    if (j->granting && j->owed >= GRANT_STEP)
        send_grant(j);
}

/* ---- the end ---- */

static void job_free(struct filter_job *j) {
    struct filter_core *core = j->core;
    assert(!j->host_data);
    filter_host_forget(j);
    release(j);
    (void)map_remove(&core->jobs, j->id);
    core->job_count--;
    arena_free(&j->arena);
    buf_free(&j->envelope);
    buf_free(&j->message);
    buf_free(&j->post);
    buf_free(&j->transcript);
    free(j);
}

static enum event_id event_of(enum job_outcome o) {
    switch (o) {
    case JOB_DELIVERED: return EV_DELIVERY_DONE;
    case JOB_FAILED: return EV_DELIVERY_FAILED;
    case JOB_UNKNOWN: return EV_DELIVERY_UNKNOWN;
    default: return EV_DELIVERY_DEFERRED;
    }
}

static void send_result(struct filter_job *j, const struct webhook_verdict *v, str text) {
    struct frame f = {.type = FRAME_JOB_RESULT, .job_result = {j->id, j->index, (uint8_t)v->outcome, v->code, text}};
    if (!j->has_rcpt)
        return;
    j->core->ops->to_store(&f);
    j->core->ops->log(event_of(v->outcome), j->name, j->shown, text);
}

static void end(struct filter_job *j, const struct webhook_verdict *v, str text) {
    send_result(j, v, text);
    FRAME_CHUNKS(buf_str(&j->transcript), piece) {
        struct frame f = {.type = FRAME_JOB_TRANSCRIPT, .job_transcript = {j->id, piece}};
        j->core->ops->to_store(&f);
    }
    struct frame f = {.type = FRAME_JOB_DONE,
                      .job_done = {j->id, (uint8_t)v->trouble, text, j->host.name, str_of(j->seen_address),
                                   str_of(j->seen_tls), STR_NONE, j->started_us, j->core->wall_us, false}};
    j->core->ops->to_store(&f);
    job_free(j);
}

static void defer(struct filter_job *j, enum job_trouble trouble, unsigned code, str text) {
    struct webhook_verdict v = {JOB_DEFERRED, trouble, code};
    char kept[TEXT_MAX]; /* text may be the job's */
    snprintf(kept, sizeof kept, "%.*s", STR_ARG(text));
    put_line(j, "* ", str_of(kept));
    end(j, &v, str_of(kept));
}

static void give_back(struct filter_job *j, const char *text) {
    defer(j, JOB_OURS, 0, str_of(text));
}

void filter_job_lost(struct filter_job *j, unsigned code, str text) {
    defer(j, JOB_NO_HOST, code, text);
}

/* ---- what is posted ---- */

static const struct conf_route *route_of(const struct filter_job *j) {
    const struct conf *c = j->core->conf;
    for (size_t i = 0; i < c->route_count; i++)
        if (str_eq(c->routes[i].title, j->route) && c->routes[i].action == CONF_ACTION_WEBHOOK)
            return &c->routes[i];
    return NULL;
}

static void put_authority(const struct filter_job *j, str host, struct buf *out) {
    bool bare6 = str_has(host, ':');
    buf_printf(out, "%s://%s%.*s%s", j->url.tls ? "https" : "http", bare6 ? "[" : "", STR_ARG(host), bare6 ? "]" : "");
    if (j->url.port != (j->url.tls ? 443 : 80))
        buf_printf(out, ":%u", j->url.port);
    if (!str_starts(j->url.place, S("/")))
        buf_char(out, '/');
}

/* For people and records: what stands behind the "?" and before the "@" may be secret. */
static str shown_url(struct filter_job *j) {
    struct buf b = BUF(4096);
    put_authority(j, j->url.host, &b);
    buf_add(&b, str_head(j->url.place, str_find(j->url.place, '?')));
    str s = arena_str(&j->arena, buf_str(&b));
    buf_free(&b);
    return s;
}

static const char *kept(struct filter_job *j, struct buf *b) {
    str s = arena_str(&j->arena, buf_str(b));
    buf_free(b);
    return s.n ? s.p : "";
}

static void fill_place(struct filter_job *j) {
    struct buf url = BUF(4096), login = BUF(4096);
    put_authority(j, j->host.name, &url);
    buf_add(&url, j->url.place);
    percent_decode(j->url.login, &login);
    j->request.url = kept(j, &url);
    j->request.login = kept(j, &login);
    j->request.host = j->host.name.p;
    j->request.port = j->url.port;
    j->request.total_ms = j->timeout_ms;
    j->request.connect_ms = j->timeout_ms < FILTER_CONNECT_MS ? j->timeout_ms : FILTER_CONNECT_MS;
}

static const char *header_line(struct filter_job *j, const char *name, str value) {
    struct buf b = BUF(4096);
    buf_printf(&b, "%s: ", name);
    word_clean(value, &b);
    return kept(j, &b);
}

/* Beside a message alone its envelope has no other place. */
static void fill_headers(struct filter_job *j) {
    bool json = j->format == CONF_FORMAT_JSON;
    j->request.type = json ? "application/json" : j->cut ? "text/rfc822-headers" : "message/rfc822";
    if (json)
        return;
    j->request.extra[0] = header_line(j, "Penfold-Id", j->name);
    j->request.extra[1] = header_line(j, "Penfold-From", j->sender);
    j->request.extra[2] = header_line(j, "Penfold-To", j->recipient);
}

static enum err put_body(struct filter_job *j, struct why *w) {
    struct envelope v;
    struct webhook_post p = {.id = j->name,
                             .route = j->route,
                             .sender = j->sender,
                             .recipient = j->recipient,
                             .size = j->size,
                             .envelope = &v,
                             .message = buf_str(&j->message),
                             .cut = j->cut};
    if (j->format == CONF_FORMAT_MESSAGE) {
        buf_add(&j->post, p.message);
        return OK;
    }
    if (envelope_take(buf_str(&j->envelope), &j->arena, &v) != OK)
        return why(w, ERR_CORRUPT, "4.3.0 the envelope of the message cannot be read");
    webhook_json(&p, &j->post);
    return OK;
}

static enum err put_signature(struct filter_job *j, struct why *w) {
    char name[CONF_NAME_MAX + 32];
    struct why reason;
    const struct conf_route *r = route_of(j);
    j->request.signature = "";
    if (!r || !r->secret_file.n)
        return OK;
    snprintf(name, sizeof name, "route.%.*s.secret", STR_ARG(j->route));
    const struct filter_secret *secret = map_get_str(&j->core->secrets, str_of(name));
    struct buf out = BUF(WEBHOOK_SECRETS_MAX * 64);
    enum err e = webhook_sign(secret ? buf_str(&secret->bytes) : STR_NONE, buf_str(&j->post), &out, &reason);
    j->request.signature = kept(j, &out);
    return e ? why(w, e, "4.3.5 the post cannot be signed: %s", reason.text) : OK;
}

/* ID.TIMESTAMP.BODY in one piece: the signature is over all of it, the body is its end. */
static enum err build(struct filter_job *j, struct why *w) {
    struct filter_request *r = &j->request;
    struct buf id = {.p = r->id, .cap = sizeof r->id, .limit = sizeof r->id - 1};
    webhook_id(j->name, j->index, &id);
    snprintf(r->timestamp, sizeof r->timestamp, "%llu", (unsigned long long)(j->core->wall_us / 1000000));
    j->post = BUF(PREFIX_MAX + WEBHOOK_ROOM + j->message.n / 3 * 4 + 4);
    buf_printf(&j->post, "%s.%s.", r->id, r->timestamp);
    size_t prefix = j->post.n;
    enum err e = put_body(j, w);
    if (!e)
        e = put_signature(j, w);
    if (!e && (j->post.full || j->arena.full))
        e = why(w, ERR_NOMEM, "4.3.0 no memory for what is to be posted");
    r->body = str_tail(buf_str(&j->post), prefix);
    buf_free(&j->message);
    buf_free(&j->envelope);
    return e;
}

/* ---- from gathering to posting ---- */

void filter_job_found(struct filter_job *j) {
    struct why w = {0};
    fill_place(j);
    fill_headers(j);
    if (build(j, &w) != OK) {
        defer(j, JOB_OURS, 451, str_of(w.text));
        return;
    }
    j->state = FILTER_ASKING;
    struct frame f = {.type = FRAME_JOB_INTENT, .job_intent = {j->id}};
    j->core->ops->to_store(&f);
}

static void note_request(struct filter_job *j) {
    const struct filter_request *r = &j->request;
    filter_job_note(j, "posting to %.*s", STR_ARG(j->shown));
    put_line(j, "> webhook-id: ", str_of(r->id));
    put_line(j, "> webhook-timestamp: ", str_of(r->timestamp));
    put_line(j, "> content-type: ", str_of(r->type));
    buf_printf(&j->transcript, "> (%zu bytes, %s)\n", r->body.n, *r->signature ? "signed" : "not signed");
}

static void on_go(struct filter_job *j) {
    struct why w = {0};
    if (j->state != FILTER_ASKING)
        return;
    j->state = FILTER_POSTING;
    note_request(j);
    if (!j->core->ops->post(j, &w))
        defer(j, JOB_OURS, 451, str_of(w.text));
}

static void note_answer(struct filter_job *j, const struct webhook_answer *a) {
    str said = str_head(a->said, WEBHOOK_SAID_MAX), line;
    if (*j->seen_address)
        filter_job_note(j, "connected to %s%s%s", j->seen_address, *j->seen_tls ? ", " : "", j->seen_tls);
    if (a->end != WEBHOOK_ANSWERED)
        return;
    buf_printf(&j->transcript, "< HTTP %u\n", a->status);
    while (str_line(&said, &line))
        put_line(j, "< ", line);
}

void filter_core_answered(struct filter_job *j, const struct webhook_answer *a, str address, str tls) {
    struct buf text = BUF(TEXT_MAX * 4);
    snprintf(j->seen_address, sizeof j->seen_address, "%.*s", STR_ARG(address));
    snprintf(j->seen_tls, sizeof j->seen_tls, "%.*s", STR_ARG(tls));
    struct webhook_verdict v = webhook_judge(a, &text);
    note_answer(j, a);
    put_line(j, "* ", buf_str(&text));
    end(j, &v, buf_str(&text));
    buf_free(&text);
}

/* ---- gathering ---- */

/* Of a message that is too large its header goes, or what is there of one that is too large itself. */
static bool is_gathered(struct filter_job *j) {
    if (!j->cut)
        return j->message.n >= j->wanted;
    size_t n = webhook_header_size(buf_str(&j->message));
    if (!n && j->message.n < j->wanted)
        return false;
    buf_shrink(&j->message, n ? n : j->wanted);
    return true;
}

static void gather(struct filter_job *j, str bytes) {
    buf_add(&j->message, bytes);
    if (j->message.full)
        give_back(j, "4.3.0 no memory for the message");
    else if (!is_gathered(j))
        want_more(j, bytes.n);
    else {
        j->state = FILTER_LOOKING;
        filter_host_find(j);
    }
}

static bool begin(struct filter_job *j) {
    const struct conf_route *r = route_of(j);
    if (j->core->draining) {
        give_back(j, "4.3.2 this process is about to end");
        return false;
    }
    str url = r ? arena_str(&j->arena, r->url) : STR_NONE;
    if (!r || !conf_url_parse(url, &j->url)) {
        defer(j, JOB_OURS, 451, S("4.3.5 there is no such webhook in the configuration now"));
        return false;
    }
    j->shown = shown_url(j);
    j->format = r->format;
    j->timeout_ms = r->timeout;
    j->cut = j->size > r->post_max;
    j->wanted = j->cut ? r->post_max : j->size;
    j->message = BUF(j->wanted + FRAME_MAX + JOB_WINDOW);
    return true;
}

/* The first piece of the body says that the recipient is told. */
static void on_body(struct filter_job *j, str bytes) {
    if (j->state != FILTER_GATHERING)
        return; /* more than is wanted */
    if (!j->started) {
        j->started = true;
        if (!begin(j))
            return;
    }
    gather(j, bytes);
}

static void on_job(struct filter_core *core, const struct frame_job *f) {
    struct filter_job *j = map_get(&core->jobs, f->job) ? NULL : calloc(1, sizeof *j);
    if (!j)
        return;
    *j = (struct filter_job){.core = core,
                             .id = f->job,
                             .size = f->size,
                             .arena = ARENA(ARENA_MAX),
                             .envelope = BUF(ENVELOPE_MAX),
                             .transcript = BUF(core->conf->transcript_max),
                             .started_us = core->wall_us};
    list_init(&j->waiting);
    j->name = arena_str(&j->arena, f->id);
    j->route = arena_str(&j->arena, f->route);
    j->sender = arena_str(&j->arena, f->sender);
    if (!map_put(&core->jobs, j->id, j)) {
        arena_free(&j->arena);
        free(j);
        return;
    }
    core->job_count++;
}

/* One recipient is one post; further ones keep no result here, so they come again. */
static void on_rcpt(struct filter_job *j, const struct frame_job_rcpt *f) {
    if (j->has_rcpt)
        return;
    j->has_rcpt = true;
    j->index = f->index;
    j->recipient = arena_str(&j->arena, f->address);
}

/* A request that is out already gets its answer. */
static void cancel(struct filter_job *j, const char *text) {
    const struct filter_ops *ops = j->core->ops;
    if (j->host_data && ops->is_sent(j))
        return;
    if (j->host_data)
        ops->abandon(j);
    give_back(j, text);
}

/* ---- from outside ---- */

void filter_core_store(struct filter_core *core, const struct frame *f) {
    struct filter_job *j;
    switch ((int)f->type) {
    case FRAME_JOB: on_job(core, &f->job); break;
    case FRAME_JOB_ENVELOPE:
        if ((j = map_get(&core->jobs, f->job_envelope.job)) != NULL)
            buf_add(&j->envelope, f->job_envelope.bytes);
        break;
    case FRAME_JOB_RCPT:
        if ((j = map_get(&core->jobs, f->job_rcpt.job)) != NULL)
            on_rcpt(j, &f->job_rcpt);
        break;
    case FRAME_JOB_BODY:
        if ((j = map_get(&core->jobs, f->job_body.job)) != NULL)
            on_body(j, f->job_body.bytes);
        break;
    case FRAME_JOB_GO:
        if ((j = map_get(&core->jobs, f->job_go.job)) != NULL)
            on_go(j);
        break;
    case FRAME_JOB_CANCEL:
        if ((j = map_get(&core->jobs, f->job_cancel.job)) != NULL)
            cancel(j, "4.3.2 cancelled");
        break;
    default: break; /* SITE_ASK is for the delivery role */
    }
}

/* Nobody is there to whom an outcome could be told; the new store finds an intent without one. */
void filter_core_store_down(struct filter_core *core) {
    for (size_t at = 0;;) {
        struct filter_job *j = map_next(&core->jobs, &at);
        if (!j)
            return;
        list_remove(&j->waiting);
        if (j->host_data)
            core->ops->abandon(j);
        job_free(j);
    }
}

void filter_core_resolver(struct filter_core *core, const struct frame *f) {
    if (f->type == FRAME_DNS_TOLD)
        filter_host_told(core, &f->dns_told);
}

void filter_core_resolver_down(struct filter_core *core) {
    filter_host_resolver_down(core);
}

/* A message without a byte has no piece that says that all is there. */
void filter_core_tick(struct filter_core *core) {
    size_t at = 0;
    for (struct filter_job *j; (j = map_next(&core->jobs, &at));) {
        if (!j->started && j->size == 0 && j->has_rcpt)
            on_body(j, STR_NONE);
        else if (j->state == FILTER_LOOKING)
            filter_host_tick(j);
    }
}

void filter_core_drain(struct filter_core *core, bool stop) {
    core->draining = true;
    size_t at = 0;
    for (struct filter_job *j; stop && (j = map_next(&core->jobs, &at));)
        cancel(j, "4.3.2 the server stops");
}

bool filter_core_empty(const struct filter_core *core) {
    return core->job_count == 0;
}

void filter_core_secret(struct filter_core *core, str name, str bytes) {
    struct filter_secret *s = map_get_str(&core->secrets, name);
    if (!s) {
        s = calloc(1, sizeof *s + name.n);
        if (!s)
            return;
        memcpy(s->space, name.p, name.n);
        s->name = str_n(s->space, name.n);
        if (!map_put_str(&core->secrets, s->name, s)) {
            free(s);
            return;
        }
    }
    buf_wipe(&s->bytes);
    s->bytes = BUF(SECRET_MAX);
    buf_add(&s->bytes, bytes);
}

void filter_core_configure(struct filter_core *core, const struct conf *c) {
    core->conf = c;
}

void filter_core_init(struct filter_core *core, const struct filter_ops *ops, uint64_t seed, uint64_t map_seed) {
    *core = (struct filter_core){.ops = ops, .next_tag = 1, .seed = seed, .hosts = BUF(1024 * 1024)};
    core->jobs = core->questions = core->secrets = MAP(map_seed);
    list_init(&core->waiting);
}

void filter_core_free(struct filter_core *core) {
    size_t at = 0;
    filter_core_store_down(core);
    for (struct filter_secret *s; (s = map_next(&core->secrets, &at));) {
        buf_wipe(&s->bytes);
        free(s);
    }
    at = 0;
    for (void *q; (q = map_next(&core->questions, &at));)
        free(q);
    map_free(&core->secrets);
    map_free(&core->questions);
    map_free(&core->jobs);
    buf_free(&core->hosts);
}
