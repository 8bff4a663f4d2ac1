#include "role/delivery_core.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/code.h"
#include "base/ip.h"
#include "conf/conf_net.h"
#include "mime/header.h"
#include "mime/header_ascii.h"

enum {
    JOB_MEMORY_MAX = 16 * 1024 * 1024, /* texts of one job: a thousand recipients with their answers */
    SPARE_JOBS_MAX = 64,
    SPARE_MEMORY_MAX = 64 * 1024, /* a job that has used more gives its memory back */
    RCPTS_MAX = 10000,
    RCPTS_FIRST = 4,
    GRANT_STEP = JOB_WINDOW / 4,
    ADDRESS_MAX = 1024,
    SECRET_MAX = 64 * 1024,
    INTERFACES_MAX = 1024 * 1024,
};

/* ---- what is said of a job ---- */

/* From its beginning on, in whole lines; where the room ends that is said, and nothing more. */
void delivery_job_tell(struct delivery_job *j, str lines) {
    static const str rest = S_INIT("* the rest is left out\n");
    struct buf *b = &j->transcript;
    size_t room = b->n + rest.n < b->limit ? b->limit - b->n - rest.n : 0;
    if (j->told)
        return;
    if (lines.n <= room) {
        buf_add(b, lines);
        return;
    }
    lines = str_head(lines, room);
    buf_add(b, str_head(lines, str_rfind(lines, '\n') + 1)); /* none: nothing */
    buf_add(b, rest);
    j->told = true;
}

void delivery_job_note(struct delivery_job *j, const char *format, ...) {
    char line[1024];
    struct buf b = BUF(5 * sizeof line);
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    buf_add(&b, S("* "));
    escape_print(str_of(line), &b);
    buf_char(&b, '\n');
    delivery_job_tell(j, buf_str(&b));
    buf_free(&b);
}

/* A text without a code of RFC 3463 gets one in front. */
void delivery_job_failure(struct delivery_job *j, enum job_trouble trouble, unsigned code, const char *status,
                          str text) {
    char space[1100];
    struct buf b = {.p = space, .cap = sizeof space, .limit = sizeof space};
    if (client_reply_status(text).n == 0)
        buf_printf(&b, "%s ", status);
    buf_add(&b, str_head(text, 1000));
    j->trouble = trouble;
    j->code = code;
    j->text = arena_str(&j->arena, buf_str(&b));
}

/* ---- jobs and their memory ---- */

static struct delivery_job *job_new(struct delivery_core *core) {
    struct list *node = list_first(&core->spare_jobs);
    struct delivery_job *j = node ? LIST_ENTRY(node, struct delivery_job, node) : calloc(1, sizeof *j);
    if (!j)
        return NULL;
    if (node) {
        list_remove(node);
        core->spare_count--;
        return j;
    }
    j->core = core;
    j->arena = ARENA(JOB_MEMORY_MAX);
    j->body = BUF(2 * JOB_WINDOW + FRAME_MAX);
    j->transcript = BUF(core->conf->transcript_max);
    list_init(&j->node);
    list_init(&j->pipes);
    return j;
}

static void job_destroy(struct delivery_job *j) {
    arena_free(&j->arena);
    buf_free(&j->body);
    buf_free(&j->transcript);
    free(j->rcpts);
    free(j);
}

/* What the next job finds: the memory, and nothing of this one. */
static void job_clean(struct delivery_job *j) {
    struct delivery_job clean = {.core = j->core,
                                 .arena = j->arena,
                                 .body = j->body,
                                 .transcript = j->transcript,
                                 .rcpts = j->rcpts,
                                 .rcpt_cap = j->rcpt_cap};
    *j = clean;
    arena_reset(&j->arena);
    buf_reset(&j->body);
    buf_reset(&j->transcript);
    j->transcript.limit = j->core->conf->transcript_max;
    list_init(&j->node);
    list_init(&j->pipes);
}

static void job_free(struct delivery_job *j) {
    struct delivery_core *core = j->core;
    assert(!j->call && list_empty(&j->node) && j->pipe_count == 0);
    delivery_convert_end(j);
    map_remove(&core->jobs, j->id);
    core->job_count--;
    if (j->where)
        delivery_where_release(core, j->where);
    if (core->spare_count == SPARE_JOBS_MAX || j->arena.used > SPARE_MEMORY_MAX || j->body.cap > 2 * SPARE_MEMORY_MAX) {
        job_destroy(j);
        return;
    }
    job_clean(j);
    list_add_head(&core->spare_jobs, &j->node);
    core->spare_count++;
}

/* ---- the end ---- */

void delivery_job_decide(struct delivery_job *j, enum smtp_client_outcome o, unsigned code, str text) {
    str kept = arena_str(&j->arena, text);
    for (size_t i = 0; i < j->rcpt_count; i++) {
        struct smtp_client_rcpt *r = &j->rcpts[i];
        if (r->outcome > SMTP_CLIENT_ACCEPTED)
            continue;
        r->outcome = o;
        r->code = code;
        r->text = kept;
    }
}

static enum job_outcome outcome_of(const struct smtp_client_rcpt *r) {
    switch (r->outcome) {
    case SMTP_CLIENT_DELIVERED: return r->unreported ? JOB_RELAYED : JOB_DELIVERED;
    case SMTP_CLIENT_REFUSED: return JOB_FAILED;
    case SMTP_CLIENT_UNKNOWN: return JOB_UNKNOWN;
    default: return JOB_DEFERRED;
    }
}

static enum event_id event_of(enum job_outcome o) {
    switch (o) {
    case JOB_DELIVERED:
    case JOB_RELAYED: return EV_DELIVERY_DONE;
    case JOB_FAILED: return EV_DELIVERY_FAILED;
    case JOB_UNKNOWN: return EV_DELIVERY_UNKNOWN;
    default: return EV_DELIVERY_DEFERRED;
    }
}

static void send_result(struct delivery_job *j, size_t i) {
    const struct smtp_client_rcpt *r = &j->rcpts[i];
    enum job_outcome o = outcome_of(r);
    struct frame f = {.type = FRAME_JOB_RESULT,
                      .job_result = {j->id, r->index, (uint8_t)o, r->code, str_head(r->text, FRAME_CHUNK / 2)}};
    j->core->ops->to_store(&f);
    j->core->ops->log(event_of(o), j->name, str_of(j->seen.address), r->text);
}

static void send_transcript(struct delivery_job *j) {
    FRAME_CHUNKS(buf_str(&j->transcript), piece) {
        struct frame f = {.type = FRAME_JOB_TRANSCRIPT, .job_transcript = {j->id, piece}};
        j->core->ops->to_store(&f);
    }
}

void delivery_job_end(struct delivery_job *j, bool reusable) {
    for (size_t i = 0; i < j->rcpt_count; i++)
        send_result(j, i);
    send_transcript(j);
    struct frame f = {.type = FRAME_JOB_DONE,
                      .job_done = {j->id, (uint8_t)j->trouble, j->text, str_of(j->seen.host), str_of(j->seen.address),
                                   str_of(j->seen.tls), str_of(j->seen.source), j->started_us, j->core->wall_us,
                                   reusable}};
    j->core->ops->to_store(&f);
    job_free(j);
}

static void give_back(struct delivery_job *j, const char *text) {
    delivery_job_failure(j, JOB_OURS, 0, "4.3.2", str_of(text));
    delivery_job_decide(j, SMTP_CLIENT_DEFERRED, 0, j->text);
    delivery_job_end(j, false);
}

/* ---- the body ---- */

void delivery_job_intent(struct delivery_job *j) {
    if (j->intent)
        return;
    j->intent = true;
    struct frame f = {.type = FRAME_JOB_INTENT, .job_intent = {j->id}};
    j->core->ops->to_store(&f);
}

str delivery_job_body(struct delivery_job *j, size_t max, bool *last) {
    str piece = str_sub(buf_str(&j->body), j->body_at, max);
    *last = j->consumed + piece.n >= j->total;
    return piece;
}

static void grant(struct delivery_job *j, size_t n) {
    j->owed += n;
    if (j->owed < GRANT_STEP || j->total <= JOB_WINDOW)
        return;
    struct frame f = {.type = FRAME_JOB_MORE, .job_more = {j->id, j->owed}};
    j->core->ops->to_store(&f);
    j->owed = 0;
}

void delivery_job_used(struct delivery_job *j, size_t n) {
    j->body_at += n;
    j->consumed += n;
    if (j->body_at == j->body.n) {
        buf_reset(&j->body);
        j->body_at = 0;
    }
    grant(j, n);
}

/* ---- the beginning ---- */

static bool room_for_rcpt(struct delivery_job *j) {
    if (j->rcpt_count < j->rcpt_cap)
        return true;
    size_t cap = j->rcpt_cap ? j->rcpt_cap * 2 : RCPTS_FIRST;
    struct smtp_client_rcpt *rcpts = realloc(j->rcpts, cap * sizeof *rcpts);
    if (!rcpts)
        return false;
    j->rcpts = rcpts;
    j->rcpt_cap = cap;
    return true;
}

/* What has a form in ASCII can go where SMTPUTF8 is not known: a domain has, a local part has not (RFC 6531 3.6). */
static str ascii_form(struct delivery_job *j, str address) {
    char space[ADDRESS_MAX];
    struct buf b = {.p = space, .cap = sizeof space, .limit = sizeof space};
    if (utf8_is_ascii(address) || header_ascii_address(address, &b) != OK || b.full)
        return STR_NONE;
    return arena_str(&j->arena, buf_str(&b));
}

static void on_rcpt(struct delivery_job *j, const struct frame_job_rcpt *f) {
    if (j->started || j->rcpt_count == RCPTS_MAX || !room_for_rcpt(j))
        return; /* without a result it is deferred */
    j->rcpts[j->rcpt_count++] = (struct smtp_client_rcpt){.address = arena_str(&j->arena, f->address),
                                                          .params = arena_str(&j->arena, f->params),
                                                          .ascii = ascii_form(j, f->address),
                                                          .index = f->index};
}

static void on_job(struct delivery_core *core, const struct frame_job *f) {
    struct delivery_job *j = map_get(&core->jobs, f->job) ? NULL : job_new(core);
    if (!j)
        return;
    j->id = f->job;
    j->kind = (enum job_kind)f->kind;
    j->flags = f->flags;
    j->size = j->total = f->size;
    j->name = arena_str(&j->arena, f->id);
    j->route = arena_str(&j->arena, f->route);
    j->next_hop = arena_str(&j->arena, f->next_hop);
    j->site = arena_str(&j->arena, f->site);
    j->sender = arena_str(&j->arena, f->sender);
    j->params = arena_str(&j->arena, f->sender_params);
    j->started_us = core->wall_us;
    if (map_put(&core->jobs, j->id, j)) {
        core->job_count++;
        return;
    }
    job_destroy(j);
}

/* Lines that only the last station puts (RFC 5321 4.4), and only on what it hands over. */
static void put_prefix(struct delivery_job *j) {
    if (j->kind != JOB_LMTP && j->kind != JOB_PIPE)
        return;
    size_t before = j->body.n;
    buf_printf(&j->body, "Return-Path: <%.*s>\r\n", STR_ARG(j->sender));
    if (j->rcpt_count == 1)
        buf_printf(&j->body, "Delivered-To: %.*s\r\n", STR_ARG(j->rcpts[0].address));
    j->total += j->body.n - before;
    if (!utf8_is_ascii(str_tail(buf_str(&j->body), before)))
        j->flags |= JOB_UTF8;
}

/* As far as its header is there. */
bool delivery_job_signed(const struct delivery_job *j) {
    struct header h;
    return header_find(buf_str(&j->body), S("DKIM-Signature"), &h);
}

/* Most servers take long lines, whatever RFC 5321 4.5.3.1.6 says; every one sees a signature that does not hold. */
static bool shortens_lines(struct delivery_job *j) {
    if (!(j->flags & JOB_LONG_LINES))
        return false;
    bool keeps = delivery_job_signed(j);
    if (keeps)
        delivery_job_note(j, "lines over 998 bytes go as they are, for the message has a DKIM-Signature");
    return !keeps;
}

static void fill_mail(struct delivery_job *j) {
    j->mail = (struct smtp_client_mail){
        .sender = j->sender,
        .sender_ascii = ascii_form(j, j->sender),
        .params = j->params,
        .rcpts = j->rcpts,
        .rcpt_count = j->rcpt_count,
        .size = j->total,
        .eight_bit = (j->flags & (JOB_EIGHT_BIT | JOB_UTF8)) != 0,
        .utf8 = (j->flags & JOB_UTF8) != 0,
        .binary = (j->flags & JOB_BINARY) != 0,
        .long_lines = j->kind != JOB_PIPE && shortens_lines(j),
        .require_tls = (j->flags & JOB_REQUIRE_TLS) != 0,
        .mem = &j->arena,
    };
}

void delivery_job_look(struct delivery_job *j) {
    struct delivery_core *core = j->core;
    j->where = delivery_where_get(core, j->kind == JOB_RELAY, j->next_hop);
    if (!j->where) {
        give_back(j, "no memory to find the next host");
        return;
    }
    j->where->users++;
    if (j->where->ready)
        delivery_job_ready(j);
    else
        list_add_tail(&j->where->jobs, &j->node);
}

static void begin(struct delivery_job *j) {
    fill_mail(j);
    if (j->arena.full || j->body.full)
        give_back(j, "no memory for the job");
    else if (j->core->draining)
        give_back(j, "this process is about to end");
    else if (j->kind == JOB_PIPE)
        delivery_pipe_begin(j);
    else if (j->kind != JOB_RELAY && j->kind != JOB_SMARTHOST && j->kind != JOB_LMTP)
        give_back(j, "a job of another kind of worker");
    else if (!delivery_call_reuse(j))
        delivery_job_look(j);
}

static void note_story(struct delivery_job *j) {
    str story = buf_str(&j->where->story), line;
    while (str_line(&story, &line))
        delivery_job_note(j, "%.*s", STR_ARG(line));
}

void delivery_job_ready(struct delivery_job *j) {
    const struct delivery_where *w = j->where;
    note_story(j);
    if (w->err == OK) {
        /* What the store was told may be old, and a domain's owner may have lied then or now: policy, and who else gets
         * mail by this connection, go by where it leads. */
        if (w->exchangers)
            j->site = arena_str(&j->arena, w->site);
        delivery_call_next(j);
        return;
    }
    bool good = w->err == ERR_NOT_FOUND;
    delivery_job_failure(j, good ? JOB_FINE : JOB_NO_HOST, w->code, good ? "5.1.2" : "4.4.3", w->text);
    delivery_job_decide(j, good ? SMTP_CLIENT_REFUSED : SMTP_CLIENT_DEFERRED, w->code, j->text);
    delivery_job_end(j, false);
}

static void feed(struct delivery_job *j) {
    if (j->call)
        delivery_call_run(j->call);
    else if (j->pipe_count)
        delivery_pipe_feed(j);
}

/* The first piece of the body says that all recipients are told. */
static void on_body(struct delivery_job *j, str bytes) {
    bool first = !j->started;
    if (first)
        put_prefix(j);
    if (j->body_at) {
        buf_drop(&j->body, j->body_at);
        j->body_at = 0;
    }
    buf_add(&j->body, bytes);
    j->started = true;
    first ? begin(j) : feed(j);
}

static void on_go(struct delivery_job *j) {
    j->go = true;
    if (j->call)
        smtp_client_final(&j->call->client);
    feed(j);
}

/* The message is out: what the other side says of it is worth waiting for. */
static bool too_late(const struct delivery_job *j) {
    return j->go && j->out;
}

static void cancel(struct delivery_job *j, const char *text) {
    if (too_late(j))
        return;
    if (j->where && !list_empty(&j->node))
        list_remove(&j->node);
    if (j->call)
        delivery_call_abandon(j->call, text);
    delivery_pipe_end_all(j);
    give_back(j, text);
}

void delivery_core_store(struct delivery_core *core, const struct frame *f) {
    struct delivery_job *j;
    switch ((int)f->type) {
    case FRAME_JOB: on_job(core, &f->job); break;
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
            cancel(j, "cancelled");
        break;
    case FRAME_SITE_ASK: delivery_where_ask_site(core, f->site_ask.tag, f->site_ask.domain); break;
    default: break; /* JOB_ENVELOPE is for reports and webhooks */
    }
}

/* Nobody is there to whom an outcome could be told.  What is out is out; the new store finds an intent without an
 * outcome. */
void delivery_core_store_down(struct delivery_core *core) {
    for (size_t at = 0;;) {
        struct delivery_job *j = map_next(&core->jobs, &at);
        if (!j)
            return;
        if (!list_empty(&j->node))
            list_remove(&j->node);
        if (j->call)
            delivery_call_abandon(j->call, "the store is gone");
        delivery_pipe_end_all(j);
        job_free(j);
    }
}

void delivery_core_resolver(struct delivery_core *core, const struct frame *f) {
    if (f->type == FRAME_DNS_TOLD)
        delivery_where_told(core, &f->dns_told);
}

void delivery_core_resolver_down(struct delivery_core *core) {
    delivery_where_resolver_down(core);
}

void delivery_core_supervisor(struct delivery_core *core, const struct frame *f, struct delivery_pipe **started) {
    delivery_pipe_supervisor(core, f, started);
}

/* ---- the whole ---- */

/* A message without a byte has no piece that says so. */
static void begin_empty_jobs(struct delivery_core *core) {
    size_t at = 0;
    for (struct delivery_job *j; (j = map_next(&core->jobs, &at));)
        if (!j->started && j->size == 0 && j->rcpt_count > 0)
            on_body(j, STR_NONE);
}

static void sweep_dead(struct delivery_core *core, bool all) {
    size_t at = 0;
    for (struct delivery_dead *d; (d = map_next(&core->dead, &at));)
        if (all || d->until_ms <= core->now_ms) {
            map_remove_str(&core->dead, d->key);
            free(d);
        }
}

void delivery_core_tick(struct delivery_core *core) {
    begin_empty_jobs(core);
    delivery_pipe_sweep(core);
    delivery_where_sweep(core, false);
    sweep_dead(core, false);
    if (core->draining)
        delivery_call_sweep(core, false);
}

void delivery_core_drain(struct delivery_core *core, bool stop) {
    core->draining = true;
    delivery_call_sweep(core, false);
    for (size_t at = 0; stop;) {
        struct delivery_job *j = map_next(&core->jobs, &at);
        if (!j)
            return;
        cancel(j, "the server stops");
    }
}

bool delivery_core_empty(const struct delivery_core *core) {
    return core->job_count == 0 && core->call_count == 0;
}

static void free_secrets(struct delivery_core *core) {
    size_t at = 0;
    for (struct delivery_secret *s; (s = map_next(&core->secrets, &at));) {
        buf_wipe(&s->bytes);
        free(s);
    }
    map_free(&core->secrets);
}

void delivery_core_secret(struct delivery_core *core, str name, str bytes) {
    struct delivery_secret *s = map_get_str(&core->secrets, name);
    if (!s) {
        s = calloc(1, sizeof *s + name.n);
        if (!s)
            return;
        memcpy(s->space, name.p, name.n);
        s->name = str_n(s->space, name.n);
        s->bytes = BUF(SECRET_MAX);
        if (!map_put_str(&core->secrets, s->name, s)) {
            free(s);
            return;
        }
    }
    buf_wipe(&s->bytes);
    s->bytes = BUF(SECRET_MAX);
    buf_add(&s->bytes, bytes);
}

void delivery_core_interface(struct delivery_core *core, str address) {
    buf_add(&core->interfaces, address);
    buf_char(&core->interfaces, ' ');
}

/* Loopback is everybody's, and has a setting of its own. */
static void add_own(struct delivery_core *core, const struct conf_ip *ip) {
    static const uint8_t any[sizeof ip->bytes];
    char space[IP_TEXT_SIZE + 4];
    struct buf text = {.p = space, .cap = sizeof space, .limit = sizeof space};
    if (conf_ip_loopback(ip) || memcmp(ip->bytes, any, sizeof any) == 0)
        return;
    conf_ip_put(&text, ip);
    core->own_addresses[core->own_address_count++] = arena_str(&core->own_arena, buf_str(&text));
}

static void know_own_addresses(struct delivery_core *core, const struct conf *c) {
    size_t count = c->listen_count;
    str words = buf_str(&core->interfaces), word;
    struct conf_ip ip;
    while (str_word(&words, &word))
        count++;
    arena_reset(&core->own_arena);
    core->own_address_count = 0;
    core->own_addresses = arena_alloc(&core->own_arena, (count + 1) * sizeof *core->own_addresses);
    if (!core->own_addresses)
        return;
    for (words = buf_str(&core->interfaces); str_word(&words, &word);)
        if (conf_ip_parse(word, &ip))
            add_own(core, &ip);
    for (size_t i = 0; i < c->listen_count; i++)
        if (c->listens[i].address.kind == CONF_ADDRESS_IP)
            add_own(core, &c->listens[i].address.ip);
}

/* Names that were looked up under the old settings are looked up anew, and no connection made under them gets another
 * mail: it may have another user's name, another source, less TLS. */
void delivery_core_configure(struct delivery_core *core, const struct conf *c) {
    size_t at = 0;
    core->conf = c;
    core->generation++;
    know_own_addresses(core, c);
    for (struct delivery_where *w; (w = map_next(&core->wheres, &at));)
        w->expires_ms = 0;
    delivery_call_sweep(core, false);
}

void delivery_core_init(struct delivery_core *core, const struct delivery_ops *ops) {
    uint64_t seed[2];
    *core = (struct delivery_core){.ops = ops, .next_tag = 1};
    ops->random(seed, sizeof seed);
    core->seed = seed[0];
    core->interfaces = BUF(INTERFACES_MAX);
    core->own_arena = ARENA(INTERFACES_MAX);
    core->jobs = core->wheres = core->questions = core->lanes = core->dead = core->pipes = core->secrets = MAP(seed[1]);
    list_init(&core->calls);
    list_init(&core->spare_jobs);
}

void delivery_core_free(struct delivery_core *core) {
    delivery_core_store_down(core);
    delivery_call_sweep(core, true);
    delivery_where_sweep(core, true);
    sweep_dead(core, true);
    free_secrets(core);
    buf_free(&core->interfaces);
    arena_free(&core->own_arena);
    LIST_EACH_SAFE(&core->spare_jobs, node) {
        job_destroy(LIST_ENTRY(node, struct delivery_job, node));
    }
    map_free(&core->jobs);
    map_free(&core->wheres);
    map_free(&core->lanes);
    map_free(&core->dead);
    map_free(&core->pipes);
}
