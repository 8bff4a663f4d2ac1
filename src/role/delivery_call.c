#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "role/delivery_core.h"

enum {
    UNSENT_HIGH = 64 * 1024, /* a server that does not read is not written to */
    CONFIG_MEMORY_MAX = 16 * 1024,
    LANE_MAX = 1024,
    MAIL_MS = 3600 * 1000, /* for one mail in all, and a second more for each KiB of it */
    NOTE_REASON = 300,
};

/* ---- addresses that do not answer ---- */

static str dead_key(struct delivery_dead *d, const char *address, uint16_t port) {
    snprintf(d->space, sizeof d->space, "%s %u", address, port);
    return str_of(d->space);
}

static bool is_dead(const struct delivery_core *core, const char *address, uint16_t port) {
    struct delivery_dead key;
    const struct delivery_dead *d = map_get_str(&core->dead, dead_key(&key, address, port));
    return d && d->until_ms > core->now_ms;
}

static void mark_dead(struct delivery_core *core, const char *address, uint16_t port) {
    struct delivery_dead *d = calloc(1, sizeof *d);
    if (!d)
        return;
    d->key = dead_key(d, address, port);
    struct delivery_dead *old = map_remove_str(&core->dead, d->key);
    free(old);
    d->until_ms = core->now_ms + DELIVERY_DEAD_MS;
    if (!map_put_str(&core->dead, d->key, d))
        free(d);
}

static void mark_alive(struct delivery_core *core, const char *address, uint16_t port) {
    struct delivery_dead key;
    if (core->dead.used)
        free(map_remove_str(&core->dead, dead_key(&key, address, port)));
}

/* ---- lanes ---- */

/* False: longer than any of ours, so this job shares nothing. */
static bool lane_key(const struct delivery_job *j, const struct delivery_policy *p, struct buf *key) {
    buf_printf(key, "%llu %u %u %d %d %d ", (unsigned long long)j->core->generation, (unsigned)j->kind, p->port,
               (int)p->tls, p->verify, (j->flags & JOB_REQUIRE_TLS) != 0);
    for (size_t i = 0; p->source && i < p->source->count; i++) {
        buf_add(key, p->source->list[i]);
        buf_char(key, ' ');
    }
    buf_char(key, '\n');
    buf_add(key, j->route);
    buf_char(key, '\n');
    buf_add(key, j->site.n ? j->site : j->next_hop);
    if (j->site.n >= MX_SITE_MAX) { /* cut, with a checksum behind it: not a name that nobody else could have */
        buf_char(key, '\n');
        buf_add(key, j->next_hop);
    }
    return !key->full;
}

static struct delivery_lane *lane_of(struct delivery_core *core, str key) {
    struct delivery_lane *l = map_get_str(&core->lanes, key);
    if (l)
        return l;
    l = calloc(1, sizeof *l + key.n);
    if (!l)
        return NULL;
    memcpy(l->text, key.p, key.n);
    l->key = str_n(l->text, key.n);
    list_init(&l->idle);
    if (map_put_str(&core->lanes, l->key, l))
        return l;
    free(l);
    return NULL;
}

static void lane_leave(struct delivery_core *core, struct delivery_lane *l) {
    if (--l->calls > 0)
        return;
    map_remove_str(&core->lanes, l->key);
    free(l);
}

/* ---- the end of a call ---- */

static void take_transcript(struct delivery_call *c) {
    if (c->job)
        delivery_job_tell(c->job, buf_str(&c->client.transcript));
    buf_reset(&c->client.transcript);
}

static void call_free(struct delivery_call *c) {
    struct delivery_core *core = c->core;
    assert(!c->job);
    list_remove(&c->node);
    list_remove(&c->idle);
    core->call_count--;
    if (c->host_data)
        core->ops->close(c);
    if (c->has_client)
        smtp_client_free(&c->client);
    lane_leave(core, c->lane);
    arena_wipe(&c->arena);
    free(c);
}

static struct delivery_job *take_job(struct delivery_call *c) {
    struct delivery_job *j = c->job;
    c->job = NULL;
    c->sent = false;
    if (j)
        j->call = NULL;
    return j;
}

void delivery_call_abandon(struct delivery_call *c, const char *reason) {
    take_transcript(c);
    delivery_job_note(c->job, "given up: %s", reason);
    (void)take_job(c);
    call_free(c);
}

/* ---- a call that came to nothing ---- */

static enum job_trouble trouble_of(const struct smtp_client_failure *f, bool sent) {
    if (f->code == 421 || (f->trouble == SMTP_CLIENT_SAID_NO && f->code < 500))
        return JOB_BUSY;
    return sent ? JOB_BROKEN : JOB_HANDSHAKE;
}

static const char *status_of(const struct smtp_client_failure *f) {
    switch (f->trouble) {
    case SMTP_CLIENT_NETWORK:
    case SMTP_CLIENT_TIMEOUT: return "4.4.2";
    case SMTP_CLIENT_PROTOCOL: return "4.5.0";
    case SMTP_CLIENT_SAID_NO: return "4.3.2";
    case SMTP_CLIENT_NO_TLS:
    case SMTP_CLIENT_BAD_TLS: return "4.7.4";
    case SMTP_CLIENT_NO_AUTH:
    case SMTP_CLIENT_AUTH_REFUSED: return "4.7.8";
    default: return "4.4.0";
    }
}

/* RFC 7504: "there is no mail service here" of a greeting. */
static bool takes_no_mail(const struct smtp_client_failure *f) {
    return f->trouble == SMTP_CLIENT_SAID_NO && (f->code == 521 || f->code == 556);
}

static void next_target(struct delivery_job *j) {
    j->target++;
    j->plain = false;
    delivery_call_next(j);
}

/* Why the job may go on with the host it had. */
static bool again_same(struct delivery_job *j, const struct smtp_client_failure *f, bool reused, bool opportunistic) {
    if (reused && !j->retried) { /* it had gone to sleep, which says nothing of the host */
        j->retried = true;
        return true;
    }
    if (f->trouble == SMTP_CLIENT_BAD_TLS && opportunistic && !j->plain) {
        delivery_job_note(j, "once more, without TLS");
        j->plain = true;
        return true;
    }
    return false;
}

/* Before the body has begun another host may have it; afterwards the client has decided about every recipient. */
static void failed(struct delivery_job *j, const struct smtp_client_failure *f, bool sent, bool reused,
                   bool opportunistic) {
    char text[1000];
    delivery_job_note(j, "%s", f->why.text);
    if (f->trouble == SMTP_CLIENT_BAD_TLS)
        j->core->ops->log(EV_DELIVERY_TLS_FAILED, j->name, str_of(j->seen.address), str_of(f->why.text));
    snprintf(text, sizeof text, "%s, %s: %s", j->seen.host, j->seen.address, f->why.text);
    delivery_job_failure(j, trouble_of(f, sent), f->code, status_of(f), str_of(text));
    if (j->body_begun) {
        delivery_job_decide(j, SMTP_CLIENT_DEFERRED, f->code, j->text);
        delivery_job_end(j, false);
        return;
    }
    if (again_same(j, f, reused, opportunistic)) {
        delivery_call_next(j);
        return;
    }
    j->gone_for_good &= takes_no_mail(f);
    next_target(j);
}

/* The client's conversation has ended, well or badly; or there never was one. */
static void over(struct delivery_call *c, const struct smtp_client_failure *f) {
    struct smtp_client_failure kept = *f;
    bool sent = c->sent, reused = c->messages > 0, opportunistic = c->opportunistic;
    take_transcript(c);
    struct delivery_job *j = take_job(c);
    call_free(c);
    if (j && sent && kept.trouble == SMTP_CLIENT_FINE) /* the mail was given up, and only so the message with it */
        delivery_job_end(j, false);
    else if (j)
        failed(j, &kept, sent, reused, opportunistic);
}

static void not_connected(struct delivery_call *c, const char *reason) {
    char text[1000];
    struct delivery_job *j = take_job(c);
    mark_dead(c->core, c->address, c->port);
    snprintf(text, sizeof text, "%s, %s: %s", c->host, j->seen.address, reason);
    call_free(c);
    delivery_job_note(j, "%s", reason);
    delivery_job_failure(j, JOB_NO_CONNECT, 0, "4.4.1", str_of(text));
    j->gone_for_good = false;
    next_target(j);
}

static void no_tls(struct delivery_call *c, const char *reason) {
    struct smtp_client_failure f = {.trouble = SMTP_CLIENT_BAD_TLS};
    (void)why(&f.why, OK, "TLS: %.*s", NOTE_REASON, reason);
    over(c, &f);
}

/* ---- calling ---- */

static bool is_ip6(str address) {
    return str_has(address, ':') && !str_starts(address, S("unix:"));
}

/* One of the configured ones that fits the address, in turns; none fits: the system chooses. */
static void choose_source(struct delivery_call *c, const struct conf_list *list) {
    size_t fits = 0, chosen;
    bool v6 = is_ip6(str_of(c->address));
    for (size_t i = 0; list && i < list->count; i++)
        fits += is_ip6(list->list[i]) == v6;
    if (fits == 0 || str_starts(str_of(c->address), S("unix:")))
        return;
    chosen = c->core->next_tag++ % fits;
    for (size_t i = 0; i < list->count; i++)
        if (is_ip6(list->list[i]) == v6 && chosen-- == 0)
            snprintf(c->source, sizeof c->source, "%.*s", STR_ARG(list->list[i]));
}

static void fill_config(struct delivery_call *c, const struct delivery_policy *p, bool plain) {
    const struct delivery_core *core = c->core;
    str hostname = core->conf->hostname.n ? core->conf->hostname : str_of(core->hostname);
    c->config = (struct smtp_client_config){
        .lmtp = p->lmtp,
        .helo = arena_str(&c->arena, hostname.n ? hostname : S("localhost")),
        .tls = plain ? SMTP_CLIENT_TLS_NONE : p->tls,
        .user = arena_str(&c->arena, p->user),
        .secret = arena_str(&c->arena, p->secret),
        .host = str_of(c->host),
        .port = c->port,
        .transcript = true,
        .ask_final = true,
        .relay = true,
    };
    c->lmtp = p->lmtp;
    c->verify = p->verify;
    c->opportunistic = p->opportunistic;
    c->messages_max = p->messages;
}

static void see(struct delivery_call *c) {
    struct delivery_job *j = c->job;
    bool path = str_starts(str_of(c->address), S("unix:"));
    snprintf(j->seen.host, sizeof j->seen.host, "%s", c->host);
    snprintf(j->seen.address, sizeof j->seen.address,
             path                         ? "%s"
             : is_ip6(str_of(c->address)) ? "[%s]:%u"
                                          : "%s:%u",
             c->address, c->port);
    snprintf(j->seen.tls, sizeof j->seen.tls, "%s", c->tls);
    snprintf(j->seen.source, sizeof j->seen.source, "%s", c->source);
}

static struct delivery_call *call_new(struct delivery_job *j, const struct delivery_policy *p,
                                      const struct delivery_target *t) {
    struct delivery_core *core = j->core;
    char space[LANE_MAX];
    struct buf key = {.p = space, .cap = sizeof space, .limit = sizeof space};
    if (core->call_count == DELIVERY_CALLS_MAX)
        return NULL;
    if (!lane_key(j, p, &key)) {
        buf_reset(&key);
        buf_printf(&key, "%llu", (unsigned long long)core->next_tag++);
    }
    struct delivery_call *c = calloc(1, sizeof *c);
    struct delivery_lane *l = c ? lane_of(core, buf_str(&key)) : NULL;
    if (!l) {
        free(c);
        return NULL;
    }
    c->core = core;
    c->lane = l;
    l->calls++;
    c->arena = ARENA(CONFIG_MEMORY_MAX);
    list_init(&c->idle);
    list_add_tail(&core->calls, &c->node);
    core->call_count++;
    snprintf(c->host, sizeof c->host, "%.*s", STR_ARG(t->host));
    snprintf(c->address, sizeof c->address, "%.*s", STR_ARG(t->address));
    c->port = t->port ? t->port : p->port;
    choose_source(c, p->source);
    fill_config(c, p, j->plain);
    return c;
}

/* A call is under way; false: not to this one. */
static bool dial(struct delivery_job *j, const struct delivery_policy *p, const struct delivery_target *t) {
    struct why w = {0};
    struct delivery_call *c = call_new(j, p, t);
    if (!c) {
        delivery_job_failure(j, JOB_OURS, 0, "4.3.2", S("too many connections, or no memory for one more"));
        return false;
    }
    c->job = j;
    j->call = c;
    j->tries++;
    see(c);
    delivery_job_note(j, "connecting to %s, %s%s%s", c->host, j->seen.address, *c->source ? " from " : "", c->source);
    if (!c->arena.full && j->core->ops->connect(c, &w)) {
        j->core->ops->deadline(c, DELIVERY_CONNECT_MS);
        return true;
    }
    mark_dead(j->core, c->address, c->port);
    (void)take_job(c);
    call_free(c);
    delivery_job_note(j, "%s", w.text);
    delivery_job_failure(j, JOB_NO_CONNECT, 0, "4.4.1", str_of(w.text));
    return false;
}

static void no_target_left(struct delivery_job *j) {
    if (!j->text.n)
        delivery_job_failure(j, JOB_NO_HOST, 0, "4.4.1", S("there is no address to try"));
    delivery_job_decide(j, j->gone_for_good ? SMTP_CLIENT_REFUSED : SMTP_CLIENT_DEFERRED, j->code, j->text);
    delivery_job_end(j, false);
}

/* Those that did not answer lately come last. */
static bool dial_one(struct delivery_job *j, const struct delivery_policy *p) {
    const struct delivery_where *w = j->where;
    for (; j->target < w->target_count && j->tries < DELIVERY_TARGETS_MAX; j->target++) {
        const struct delivery_target *t = &w->targets[j->target];
        uint16_t port = t->port ? t->port : p->port;
        if (!j->plain && is_dead(j->core, t->address.p, port) != j->dead_too)
            continue;
        if (dial(j, p, t))
            return true;
        j->gone_for_good = false;
        j->plain = false;
    }
    return false;
}

void delivery_call_next(struct delivery_job *j) {
    struct delivery_policy p;
    if (!j->where) {
        delivery_job_look(j);
        return;
    }
    delivery_policy_of(j->core, j, &p);
    if (j->tries == 0)
        j->gone_for_good = true;
    if (dial_one(j, &p))
        return;
    if (j->tries == 0) {
        j->dead_too = true;
        j->target = 0;
        if (dial_one(j, &p))
            return;
    }
    no_target_left(j);
}

/* ---- talking ---- */

static void start_client(struct delivery_call *c) {
    c->state = DELIVERY_TALKING;
    smtp_client_init(&c->client, &c->config, (int64_t)c->core->now_ms);
    c->has_client = true;
    delivery_call_run(c);
}

static void shake(struct delivery_call *c) {
    c->state = DELIVERY_SHAKING;
    c->core->ops->tls(c, c->verify);
    c->core->ops->deadline(c, c->core->conf->tls_handshake_timeout);
}

void delivery_call_connected(struct delivery_call *c, str source) {
    snprintf(c->source, sizeof c->source, "%.*s", STR_ARG(source));
    see(c);
    mark_alive(c->core, c->address, c->port);
    if (c->config.tls == SMTP_CLIENT_TLS_ACTIVE)
        shake(c);
    else
        start_client(c);
}

void delivery_call_secured(struct delivery_call *c, str version, str cipher, str verdict, const uint8_t *binding) {
    snprintf(c->tls, sizeof c->tls, "%.*s %.*s%s", STR_ARG(version), STR_ARG(cipher), verdict.n ? "" : " verified");
    c->secured = true;
    if (binding)
        memcpy(c->binding, binding, sizeof c->binding);
    c->has_binding = binding != NULL;
    str bytes = binding ? str_n(c->binding, sizeof c->binding) : STR_NONE;
    see(c);
    delivery_job_note(c->job, "%.*s %.*s, certificate: %.*s", STR_ARG(version), STR_ARG(cipher),
                      STR_ARG(verdict.n ? verdict : S("verified")));
    if (!c->has_client) {
        c->config.binding = bytes;
        start_client(c);
        return;
    }
    c->state = DELIVERY_TALKING;
    smtp_client_tls(&c->client, bytes);
    delivery_call_run(c);
}

static bool flush(struct delivery_call *c) {
    if (c->core->ops->unsent(c) > UNSENT_HIGH)
        return false;
    str out = buf_str(&c->client.out);
    c->core->ops->write(c, out);
    smtp_client_wrote(&c->client, out.n);
    return true;
}

static enum err next_piece(struct delivery_job *j, str *piece, bool *last, struct why *w) {
    if (!j->mail.convert) {
        *piece = delivery_job_body(j, SMTP_CLIENT_BODY_MAX, last);
        return OK;
    }
    if (!j->convert && delivery_convert_begin(j) != OK)
        return why(w, ERR_NOMEM, "4.3.0 no memory to convert the message");
    return delivery_convert_next(j, SMTP_CLIENT_BODY_MAX, piece, last, w);
}

static void give_up(struct delivery_call *c, enum err e, const struct why *w) {
    str text = arena_str(&c->job->arena, str_of(w->text));
    delivery_job_note(c->job, "%s", w->text);
    smtp_client_give_up(&c->client, e == ERR_NOMEM ? SMTP_CLIENT_DEFERRED : SMTP_CLIENT_REFUSED, text);
}

/* False: the next piece has not come from the store yet. */
static bool give_body(struct delivery_call *c) {
    struct delivery_job *j = c->job;
    struct why w = {0};
    bool last = false;
    str piece;
    enum err e = next_piece(j, &piece, &last, &w);
    if (e != OK) {
        give_up(c, e, &w);
        return true;
    }
    if (piece.n == 0 && !last) {
        if (c->client.out.n)
            flush(c);
        return false;
    }
    j->body_begun = true;
    j->out = last;
    smtp_client_body(&c->client, piece, last);
    if (!j->convert)
        delivery_job_used(j, piece.n);
    return true;
}

static void ask_leave(struct delivery_call *c) {
    delivery_job_intent(c->job);
    if (c->job->go)
        smtp_client_final(&c->client);
}

static bool is_used_up(const struct delivery_call *c) {
    return c->core->draining || c->messages >= c->messages_max ||
           (c->client.mail_max && c->messages >= c->client.mail_max);
}

static void mail_done(struct delivery_call *c) {
    take_transcript(c);
    struct delivery_job *j = take_job(c);
    c->messages++;
    j->trouble = JOB_FINE;
    j->text = STR_NONE;
    delivery_job_end(j, !is_used_up(c));
}

/* For the story of the message, which shows lines that begin so: who reads a copy that differs from what was accepted
 * shall know why. */
static void note_conversion(struct delivery_call *c) {
    struct delivery_job *j = c->job;
    unsigned how = j->mail.convert;
    take_transcript(c);
    if (how & SMTP_CLIENT_CONVERT_BODY)
        delivery_job_note(j, "converted to 7-bit: the server does not offer %s",
                          how & SMTP_CLIENT_CONVERT_BINARY ? "BINARYMIME" : "8BITMIME");
    if ((how & SMTP_CLIENT_CONVERT_HEADER) && j->mail.utf8)
        delivery_job_note(j, "converted to an ASCII header: the server does not offer SMTPUTF8");
    if ((how & SMTP_CLIENT_CONVERT_LINES) && !(how & SMTP_CLIENT_CONVERT_BODY))
        delivery_job_note(j, "converted for its lines over 998 bytes");
    if (delivery_job_signed(j))
        delivery_job_note(j, "converted, so that its DKIM-Signature may not hold any more");
}

static void prepare_conversion(struct delivery_call *c) {
    struct why w = {0};
    if (!c->client.mail || !c->job->mail.convert)
        return;
    enum err e = delivery_convert_try(c->job, &w);
    if (e == OK)
        note_conversion(c);
    else
        give_up(c, e, &w);
}

static void begin_mail(struct delivery_call *c) {
    struct delivery_job *j = c->job;
    struct why w = {0};
    j->mail.total_ms = MAIL_MS + (int64_t)(j->total / 1024 * 1000);
    if (smtp_client_send(&c->client, &j->mail, &w) == OK) {
        c->sent = true;
        prepare_conversion(c);
        return;
    }
    delivery_job_failure(j, JOB_FINE, 0, "5.1.3", str_of(w.text));
    delivery_job_decide(j, SMTP_CLIENT_REFUSED, 0, j->text);
    (void)take_job(c);
    delivery_job_end(j, !is_used_up(c));
}

/* False: nothing to do for now. */
static bool ready(struct delivery_call *c) {
    if (c->sent)
        mail_done(c);
    else if (c->job)
        begin_mail(c);
    else if (is_used_up(c))
        smtp_client_quit(&c->client);
    else {
        c->state = DELIVERY_IDLE;
        list_add_head(&c->lane->idle, &c->idle);
        return false;
    }
    return true;
}

static void set_deadline(struct delivery_call *c) {
    int64_t at = smtp_client_deadline(&c->client), now = (int64_t)c->core->now_ms;
    uint64_t ms = at == INT64_MAX ? 0 : at > now ? (uint64_t)(at - now) : 1;
    c->core->ops->deadline(c, c->state == DELIVERY_IDLE ? DELIVERY_IDLE_MS : ms);
}

/* Until it would have to wait. */
void delivery_call_run(struct delivery_call *c) {
    bool going = true;
    if (c->state != DELIVERY_TALKING)
        return;
    while (going) {
        switch (smtp_client_step(&c->client, (int64_t)c->core->now_ms)) {
        case SMTP_CLIENT_OUTPUT: going = flush(c); break;
        case SMTP_CLIENT_INPUT: going = false; break;
        case SMTP_CLIENT_READY: going = ready(c); break;
        case SMTP_CLIENT_BODY: going = give_body(c); break;
        case SMTP_CLIENT_FINAL: ask_leave(c); break;
        case SMTP_CLIENT_STARTTLS:
            take_transcript(c);
            shake(c);
            return;
        case SMTP_CLIENT_DONE:
        case SMTP_CLIENT_FAILED: over(c, &c->client.failure); return;
        }
    }
    set_deadline(c);
}

/* An idle connection of the same lane takes the job. */
bool delivery_call_reuse(struct delivery_job *j) {
    struct delivery_policy p;
    char space[LANE_MAX];
    struct buf key = {.p = space, .cap = sizeof space, .limit = sizeof space};
    delivery_policy_of(j->core, j, &p);
    if (!lane_key(j, &p, &key))
        return false;
    struct delivery_lane *l = map_get_str(&j->core->lanes, buf_str(&key));
    if (!l || list_empty(&l->idle))
        return false;
    struct delivery_call *c = LIST_ENTRY(list_first(&l->idle), struct delivery_call, idle);
    list_remove(&c->idle);
    c->state = DELIVERY_TALKING;
    c->job = j;
    j->call = c;
    see(c);
    delivery_job_note(j, "connected to %s, %s, message %u of this connection%s%s", c->host, j->seen.address,
                      c->messages + 1, *c->tls ? ", " : "", c->tls);
    delivery_call_run(c);
    return true;
}

static void wake_idle(struct delivery_call *c) {
    if (c->state != DELIVERY_IDLE)
        return;
    list_remove(&c->idle);
    c->state = DELIVERY_TALKING;
}

void delivery_call_input(struct delivery_call *c, str bytes) {
    if (!c->has_client || c->state == DELIVERY_SHAKING)
        return;
    wake_idle(c); /* a server that speaks unasked has nothing good to say */
    smtp_client_input(&c->client, bytes);
    delivery_call_run(c);
}

void delivery_call_drained(struct delivery_call *c) {
    delivery_call_run(c);
}

void delivery_call_closed(struct delivery_call *c) {
    if (c->state == DELIVERY_SHAKING) {
        no_tls(c, "the server closed the connection");
        return;
    }
    if (!c->has_client)
        return;
    wake_idle(c);
    smtp_client_closed(&c->client);
    delivery_call_run(c);
}

void delivery_call_expire(struct delivery_call *c) {
    switch (c->state) {
    case DELIVERY_CONNECTING: not_connected(c, "no answer in time"); return;
    case DELIVERY_SHAKING: no_tls(c, "no end of the handshake in time"); return;
    case DELIVERY_IDLE:
        wake_idle(c);
        smtp_client_quit(&c->client);
        break;
    case DELIVERY_TALKING: smtp_client_expire(&c->client); break;
    }
    delivery_call_run(c);
}

void delivery_call_lost(struct delivery_call *c, enum err e, const char *reason) {
    char text[NOTE_REASON];
    c->host_data = NULL;
    if (c->state == DELIVERY_CONNECTING) {
        not_connected(c, reason);
        return;
    }
    if (c->state == DELIVERY_SHAKING) {
        no_tls(c, reason);
        return;
    }
    wake_idle(c);
    snprintf(text, sizeof text, e == ERR_TLS ? "TLS: %s" : "the connection broke: %s", reason);
    smtp_client_broken(&c->client, SMTP_CLIENT_NETWORK, text);
    over(c, &c->client.failure);
}

void delivery_call_sweep(struct delivery_core *core, bool all) {
    LIST_EACH_SAFE(&core->calls, node) {
        struct delivery_call *c = LIST_ENTRY(node, struct delivery_call, node);
        if (all) {
            (void)take_job(c);
            call_free(c);
        } else if (c->state == DELIVERY_IDLE) {
            delivery_call_expire(c);
        }
    }
}
