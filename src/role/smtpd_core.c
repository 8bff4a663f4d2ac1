#include "role/smtpd_core.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    HOUR_MS = 3600 * 1000,
    CLIENTS_KEPT = 65536,         /* beyond: addresses without a connection are forgotten at once */
    SPACE_MAX = 32 * 1024 * 1024, /* an envelope or transcript while it is being cut into frames */
    SPACE_KEPT = 64 * 1024,
    CONFIG_MEMORY_MAX = 4 * 1024 * 1024,
    MECHANISMS_MAX = 256,
};

/* Connections of one address. */
/* One address that limits bind; kept without connections until the hour of its messages is over. */
struct smtpd_client {
    size_t count;            /* of connections */
    uint64_t hour, messages; /* begun in that hour */
    str address;
    char text[];
};

/* ---- configuration ---- */

static enum smtp_policy policy_of(enum conf_policy p) {
    return p == CONF_POLICY_MX           ? SMTP_POLICY_MX
           : p == CONF_POLICY_SUBMISSION ? SMTP_POLICY_SUBMISSION
                                         : SMTP_POLICY_SANDBOX;
}

static enum smtp_framing framing_of(enum conf_framing f) {
    return f == CONF_FRAMING_REJECT      ? SMTP_FRAMING_REJECT
           : f == CONF_FRAMING_NORMALIZE ? SMTP_FRAMING_NORMALIZE
                                         : SMTP_FRAMING_KEEP;
}

static str mechanisms_of(struct smtpd_generation *g, bool binding, bool plaintext) {
    struct buf b = BUF(MECHANISMS_MAX);
    sasl_server_list(&g->users, binding, plaintext, &b);
    str list = arena_str(&g->arena, buf_str(&b));
    buf_free(&b);
    return list;
}

static void fill_listener(struct smtpd_generation *g, struct smtpd_listener *l, const struct conf *c,
                          const struct conf_listen *from, bool has_tls) {
    bool sandbox = from->policy == CONF_POLICY_SANDBOX;
    bool waits_for_tls = !sandbox && from->tls == CONF_TLS_STARTTLS;
    l->proxy = from->proxy;
    l->xclient = from->xclient;
    l->smtp = (struct smtp_config){
        .listener = arena_str(&g->arena, from->name),
        .hostname = arena_str(&g->arena, c->hostname.n ? c->hostname : S("localhost")),
        .greeting = arena_str(&g->arena, c->greeting),
        .lmtp = from->protocol == CONF_PROTOCOL_LMTP,
        .policy = policy_of(from->policy),
        .tls = !has_tls ? SMTP_TLS_NONE : (enum smtp_tls_mode)from->tls,
        .auth = (enum smtp_auth_mode)from->auth,
        .framing = framing_of(from->framing),
        .mechanisms_plain = waits_for_tls ? STR_NONE : mechanisms_of(g, false, sandbox),
        .mechanisms_tls = mechanisms_of(g, true, true),
        .command_max = c->smtp_command_max,
        .transcript_max = c->transcript_max,
        .header_max = c->smtp_header_max,
        .message_max = c->smtp_message_max,
        .rcpt_max = (unsigned)c->smtp_recipients_max,
        .mail_max = (unsigned)c->smtp_transactions_max,
        .errors_slow = (unsigned)c->smtp_errors_slow,
        .errors_max = (unsigned)c->smtp_errors_max,
        .hops_max = (unsigned)c->smtp_hops_max,
        .command_ms = c->smtp_command_timeout,
        .data_ms = c->smtp_data_timeout,
        .message_ms = c->smtp_message_timeout,
        .session_ms = c->smtp_session_timeout,
        .handshake_ms = c->tls_handshake_timeout,
        .hold_max_ms = c->queue_hold_max,
    };
}

static void generation_unref(struct smtpd_generation *g) {
    assert(g->refs > 0);
    if (--g->refs)
        return;
    arena_free(&g->arena);
    free(g);
}

static enum err fill_generation(struct smtpd_generation *g, const struct conf *c, str users, unsigned workers,
                                bool (*has_tls)(str listener), struct why *w) {
    enum err e = OK;
    g->users.any = users.p == NULL && c->mode == CONF_MODE_SANDBOX;
    if (users.p)
        e = sasl_users_parse(users, &g->arena, &g->users, w);
    if (e)
        return e;
    g->connections_max = c->smtp_connections_max / (workers ? workers : 1);
    g->connections_max += g->connections_max == 0;
    g->connections_per_client = c->smtp_connections_per_client;
    g->messages_per_client = c->smtp_messages_per_client;
    g->listeners = arena_alloc(&g->arena, (c->listen_count + 1) * sizeof *g->listeners);
    for (size_t i = 0; g->listeners && i < c->listen_count; i++) {
        const struct conf_listen *l = &c->listens[i];
        if (l->protocol == CONF_PROTOCOL_HTTP)
            continue;
        if (l->tls == CONF_TLS_IMPLICIT && !has_tls(l->name))
            return why(w, ERR_TLS, "listen %.*s: there is no certificate", STR_ARG(l->name));
        fill_listener(g, &g->listeners[g->listener_count++], c, l, has_tls(l->name));
    }
    return g->arena.full ? why(w, ERR_NOMEM, "no memory for the configuration") : OK;
}

enum err smtpd_core_configure(struct smtpd_core *core, const struct conf *c, str users, unsigned workers,
                              bool (*has_tls)(str listener), struct why *w) {
    struct smtpd_generation *g = calloc(1, sizeof *g);
    if (!g)
        return why(w, ERR_NOMEM, "no memory for the configuration");
    g->refs = 1;
    g->arena = ARENA(CONFIG_MEMORY_MAX);
    enum err e = fill_generation(g, c, users, workers, has_tls, w);
    if (e) {
        generation_unref(g);
        return e;
    }
    if (core->generation)
        generation_unref(core->generation);
    core->generation = g;
    return OK;
}

/* ---- frames to the store ---- */

static void send_frame(struct smtpd_core *core, const struct frame *f) {
    if (core->store_up)
        core->ops->send(f);
}

static void send_body(struct smtpd_session *s) {
    struct smtpd_core *core = s->core;
    if (core->body.n && s->mail) {
        struct frame f = {FRAME_MAIL_BODY, .mail_body = {s->mail, buf_str(&core->body)}};
        send_frame(core, &f);
    }
    buf_reset(&core->body);
}

/* Small pieces become one frame; a large one need not be copied before it is framed. */
static void add_body(struct smtpd_session *s, str piece) {
    struct smtpd_core *core = s->core;
    while (piece.n) {
        str part = str_head(piece, FRAME_CHUNK - core->body.n);
        buf_add(&core->body, part);
        piece = str_tail(piece, part.n);
        if (core->body.n == FRAME_CHUNK || core->body.full)
            send_body(s);
    }
}

static void forget_mail(struct smtpd_session *s) {
    if (s->mail)
        map_remove(&s->core->mails, s->mail);
    s->mail = 0;
    s->waits = false;
}

static void new_id(struct smtpd_core *core, char id[ID_SIZE]) {
    uint8_t bytes[16];
    core->ops->random(bytes, sizeof bytes);
    id_encode(bytes, id);
}

/* One scratch buffer for all that is cut into chunks; large ones are not kept. */
static struct buf *scratch(struct smtpd_core *core) {
    buf_reset(&core->space);
    if (core->space.cap > SPACE_KEPT)
        buf_free(&core->space);
    return &core->space;
}

/* ---- what the conversation wants ---- */

static bool take_message(struct smtpd_session *s);

static void begin_mail(struct smtpd_session *s) {
    struct smtpd_core *core = s->core;
    char id[ID_SIZE];
    if (!core->store_up || core->store_state) {
        enum err e = core->store_up ? core->store_state : ERR_IO;
        smtp_server_answer(&s->smtp, e, STR_NONE);
        return;
    }
    if (!take_message(s)) {
        core->ops->log(EV_SMTP_REFUSED, s, S("too many messages of this client"));
        smtp_server_answer(&s->smtp, ERR_LIMIT, STR_NONE);
        return;
    }
    s->mail = ++core->next_number;
    if (!map_put(&core->mails, s->mail, s)) {
        s->mail = 0;
        smtp_server_answer(&s->smtp, ERR_NOMEM, STR_NONE);
        return;
    }
    new_id(core, id);
    struct frame f = {FRAME_MAIL_BEGIN, .mail_begin = {s->mail, str_n(id, ID_SIZE), s->smtp.size_hint}};
    send_frame(core, &f);
    smtp_server_answer(&s->smtp, OK, str_n(id, ID_SIZE));
}

static void commit_mail(struct smtpd_session *s) {
    struct smtpd_core *core = s->core;
    send_body(s);
    struct buf *b = scratch(core);
    envelope_put(b, &s->smtp.envelope);
    if (b->full || !s->mail) {
        enum err e = s->mail ? ERR_NOMEM : ERR_IO;
        struct frame gone = {FRAME_MAIL_ABORT, .mail_abort = {s->mail}};
        if (s->mail)
            send_frame(core, &gone);
        forget_mail(s);
        smtp_server_answer(&s->smtp, e, STR_NONE);
        return;
    }
    FRAME_CHUNKS(buf_str(b), envelope) {
        struct frame f = {FRAME_MAIL_ENVELOPE, .mail_envelope = {s->mail, envelope}};
        send_frame(core, &f);
    }
    b = scratch(core);
    smtp_transcript_take(&s->smtp.transcript, b);
    FRAME_CHUNKS(buf_str(b), text) {
        struct frame f = {FRAME_MAIL_TRANSCRIPT, .mail_transcript = {s->mail, text}};
        send_frame(core, &f);
    }
    struct frame f = {FRAME_MAIL_COMMIT, .mail_commit = {s->mail}};
    send_frame(core, &f);
    s->waits = true;
}

static void abort_mail(struct smtpd_session *s) {
    struct frame f = {FRAME_MAIL_ABORT, .mail_abort = {s->mail}};
    buf_reset(&s->core->body);
    if (!s->mail)
        return;
    send_frame(s->core, &f);
    s->core->ops->log(EV_SMTP_ABORTED, s, STR_NONE);
    forget_mail(s);
}

static void end_auth(struct smtpd_session *s) {
    if (!s->sasl)
        return;
    sasl_server_end(s->sasl);
    free(s->sasl);
    s->sasl = NULL;
}

static enum sasl_result start_auth(struct smtpd_session *s) {
    uint8_t bytes[32];
    const struct smtp_server *smtp = &s->smtp;
    bool bound = s->core->ops->binding(s, bytes);
    return sasl_server_start(s->sasl, &s->generation->users, sasl_mechanism_find(smtp->auth.mechanism),
                             bound ? str_n(bytes, sizeof bytes) : STR_NONE,
                             smtp->auth.has_response ? &smtp->auth.response : NULL);
}

static void step_auth(struct smtpd_session *s) {
    static const enum smtp_auth_failure failures[] = {[SASL_OK] = SMTP_AUTH_UNAVAILABLE,
                                                      [SASL_MALFORMED] = SMTP_AUTH_MALFORMED,
                                                      [SASL_TOO_LONG] = SMTP_AUTH_TOO_LONG,
                                                      [SASL_BAD_CREDENTIALS] = SMTP_AUTH_BAD,
                                                      [SASL_UNAVAILABLE] = SMTP_AUTH_UNAVAILABLE};
    bool first = s->smtp.auth.first;
    if (first)
        end_auth(s);
    if (first)
        s->sasl = calloc(1, sizeof *s->sasl);
    if (!s->sasl) {
        smtp_server_auth_failed(&s->smtp, SMTP_AUTH_UNAVAILABLE);
        return;
    }
    enum sasl_result r = first ? start_auth(s) : sasl_server_step(s->sasl, s->smtp.auth.response);
    if (r == SASL_CHALLENGE) {
        smtp_server_auth_challenge(&s->smtp, buf_str(&s->sasl->challenge));
        return;
    }
    s->core->ops->log(r == SASL_DONE ? EV_SMTP_AUTH : EV_SMTP_AUTH_FAILED, s, buf_str(&s->sasl->user));
    if (r == SASL_DONE)
        smtp_server_auth_ok(&s->smtp, buf_str(&s->sasl->user));
    else
        smtp_server_auth_failed(&s->smtp, failures[s->sasl->failure]);
    end_auth(s);
}

static void log_errors(struct smtpd_session *s) {
    enum smtp_reply_id id = s->smtp.last_error;
    s->smtp.last_error = SMTP_R_NONE;
    if (id && id != SMTP_R_SHUTDOWN && id != SMTP_R_TIMEOUT)
        s->core->ops->log(EV_SMTP_REJECTED, s, smtp_reply_of(id)->text);
}

/* Steps until the host is needed. */
static enum smtpd_do run_steps(struct smtpd_session *s, str *in, uint64_t now_ms) {
    for (;;) {
        switch (smtp_server_step(&s->smtp, in, now_ms)) {
        case SMTP_WANT_INPUT: return SMTPD_READ;
        case SMTP_WANT_BODY: add_body(s, s->smtp.body); break;
        case SMTP_WANT_ABORT: abort_mail(s); break;
        case SMTP_WANT_MAIL: smtp_server_answer(&s->smtp, OK, STR_NONE); break;
        case SMTP_WANT_RCPT: smtp_server_answer(&s->smtp, OK, STR_NONE); break; /* one route: capture */
        case SMTP_WANT_BEGIN: begin_mail(s); break;
        case SMTP_WANT_COMMIT:
            commit_mail(s);
            if (s->waits)
                return SMTPD_WAIT;
            break;
        case SMTP_WANT_AUTH: step_auth(s); break;
        case SMTP_WANT_STARTTLS: return SMTPD_TLS;
        case SMTP_WANT_FLUSH: return SMTPD_FLUSH;
        case SMTP_WANT_DELAY: return SMTPD_DELAY;
        case SMTP_WANT_CLOSE: return SMTPD_CLOSE;
        default: assert(!"a want");
        }
    }
}

enum smtpd_do smtpd_session_run(struct smtpd_session *s, str *in, uint64_t now_ms) {
    if (s->waits && s->smtp.mode != SMTP_MODE_END)
        return SMTPD_WAIT;
    enum smtpd_do what = run_steps(s, in, now_ms);
    send_body(s);
    log_errors(s);
    return what;
}

/* ---- sessions ---- */

static struct smtpd_listener *find_listener(struct smtpd_generation *g, str name) {
    for (size_t i = 0; g && i < g->listener_count; i++)
        if (str_eq(g->listeners[i].smtp.listener, name))
            return &g->listeners[i];
    return NULL;
}

static bool is_near(str address) {
    struct conf_ip ip;
    return str_eq(address, S("unix")) || (conf_ip_parse(address, &ip) && conf_ip_loopback(&ip));
}

/* Limits bind strangers on an MX listener; balancers speak for many. */
static bool is_bound(const struct smtpd_listener *l, str client) {
    return l->smtp.policy == SMTP_POLICY_MX && !is_near(client) && !conf_network_match(&l->proxy, client) &&
           !conf_network_match(&l->xclient, client);
}

static struct smtpd_client *client_ref(struct smtpd_core *core, str address) {
    struct smtpd_client *c = map_get_str(&core->clients, address);
    if (!c) {
        c = calloc(1, sizeof *c + address.n);
        if (!c)
            return NULL;
        memcpy(c->text, address.p, address.n);
        c->address = str_n(c->text, address.n);
        if (!map_put_str(&core->clients, c->address, c)) {
            free(c);
            return NULL;
        }
    }
    c->count++;
    return c;
}

static void client_forget(struct smtpd_core *core, struct smtpd_client *c) {
    map_remove_str(&core->clients, c->address);
    free(c);
}

static void client_unref(struct smtpd_core *core, struct smtpd_client *c) {
    if (c && --c->count == 0 && (c->messages == 0 || core->clients.used > CLIENTS_KEPT))
        client_forget(core, c);
}

static void forget_old_clients(struct smtpd_core *core, uint64_t hour) {
    struct smtpd_client *c;
    size_t at = 0;
    if (core->hour == hour)
        return;
    core->hour = hour;
    while ((c = map_next(&core->clients, &at)))
        if (c->count == 0 && c->hour != hour)
            client_forget(core, c);
}

/* Is there one more message for this client in this hour? */
static bool take_message(struct smtpd_session *s) {
    struct smtpd_client *c = s->client;
    uint64_t hour = s->smtp.now_ms / HOUR_MS, most = s->generation->messages_per_client;
    if (!c || most == 0)
        return true;
    if (c->hour != hour)
        c->messages = 0;
    c->hour = hour;
    if (c->messages >= most)
        return false;
    c->messages++;
    return true;
}

static void apply_limits(struct smtpd_session *s, str client) {
    struct smtpd_core *core = s->core;
    struct smtpd_generation *g = s->generation;
    forget_old_clients(core, s->smtp.now_ms / HOUR_MS);
    if (is_bound(s->listener, client)) {
        s->client = client_ref(core, client);
        if (!s->client || s->client->count > g->connections_per_client)
            smtp_server_refuse(&s->smtp, SMTP_R_CONNECTIONS_MANY, "too many connections of this client");
    }
    if (core->session_count > g->connections_max)
        smtp_server_refuse(&s->smtp, SMTP_R_CONNECTIONS_MANY, "too many connections");
    if (core->draining)
        smtp_server_refuse(&s->smtp, SMTP_R_SHUTDOWN, "shutdown");
    if (s->smtp.mode == SMTP_MODE_END)
        core->ops->log(EV_SMTP_REFUSED, s, str_of(s->smtp.reason));
}

struct smtpd_session *smtpd_session_new(struct smtpd_core *core, str listener, str client, uint16_t client_port,
                                        str server, uint16_t server_port, uint64_t now_ms, uint64_t wall_us) {
    struct smtpd_listener *l = find_listener(core->generation, listener);
    struct smtpd_session *s = l ? calloc(1, sizeof *s) : NULL;
    if (!s)
        return NULL;
    s->core = core;
    s->generation = core->generation;
    s->generation->refs++;
    s->listener = l;
    s->number = ++core->next_number;
    new_id(core, s->id);
    struct smtp_peer peer = {.session = str_n(s->id, ID_SIZE),
                             .client_address = client,
                             .server_address = server,
                             .client_port = client_port,
                             .server_port = server_port,
                             .proxy = conf_network_match(&l->proxy, client),
                             .xclient = conf_network_match(&l->xclient, client)};
    smtp_server_init(&s->smtp, &l->smtp, &peer, now_ms, wall_us);
    list_add_tail(&core->sessions, &s->node);
    core->session_count++;
    core->ops->log(EV_SMTP_CONNECT, s, STR_NONE);
    apply_limits(s, client);
    return s;
}

void smtpd_session_tls(struct smtpd_session *s, str version, str cipher, str server_name) {
    smtp_server_tls(&s->smtp, version, cipher, server_name);
    s->core->ops->log(EV_SMTP_TLS, s, version);
}

void smtpd_session_lost(struct smtpd_session *s, const char *reason) {
    smtp_server_lost(&s->smtp, reason);
}

void smtpd_session_expire(struct smtpd_session *s, uint64_t now_ms) {
    bool ended = s->smtp.mode == SMTP_MODE_END;
    smtp_server_expire(&s->smtp, now_ms);
    if (!ended && s->smtp.mode == SMTP_MODE_END && str_eq(str_of(s->smtp.reason), S("timeout")))
        s->core->ops->log(EV_SMTP_TIMEOUT, s, str_of(s->smtp.reason));
}

uint64_t smtpd_session_deadline(const struct smtpd_session *s) {
    return smtp_server_deadline(&s->smtp);
}

static void send_session(struct smtpd_session *s) {
    struct smtpd_core *core = s->core;
    struct envelope *e = &s->smtp.envelope;
    const char *reason = s->smtp.reason ? s->smtp.reason : "";
    e->rcpts = NULL;
    e->rcpt_count = 0;
    e->id = e->sender = e->sender_params = STR_NONE;
    e->protocol = smtp_server_protocol(&s->smtp);
    struct frame begin = {FRAME_SESSION_BEGIN, .session_begin = {s->number, str_n(s->id, ID_SIZE)}};
    send_frame(core, &begin);
    struct buf *b = scratch(core);
    envelope_put(b, e);
    FRAME_CHUNKS(buf_str(b), info) {
        struct frame f = {FRAME_SESSION_INFO, .session_info = {s->number, info}};
        send_frame(core, &f);
    }
    b = scratch(core);
    smtp_transcript_take(&s->smtp.transcript, b);
    FRAME_CHUNKS(buf_str(b), text) {
        struct frame f = {FRAME_SESSION_TRANSCRIPT, .session_transcript = {s->number, text}};
        send_frame(core, &f);
    }
    struct frame end = {FRAME_SESSION_END, .session_end = {s->number, smtp_server_time_us(&s->smtp) / 1000,
                                                           s->smtp.messages, str_of(reason)}};
    send_frame(core, &end);
}

void smtpd_session_free(struct smtpd_session *s) {
    struct smtpd_core *core = s->core;
    if (s->smtp.attack)
        core->ops->log(EV_SMTP_ATTACK, s, str_of(s->smtp.reason));
    core->ops->log(EV_SMTP_DISCONNECT, s, str_of(s->smtp.reason));
    send_session(s);
    forget_mail(s);
    end_auth(s);
    client_unref(core, s->client);
    smtp_server_free(&s->smtp);
    list_remove(&s->node);
    core->session_count--;
    generation_unref(s->generation);
    free(s);
}

/* ---- from the store ---- */

static void mail_done(struct smtpd_core *core, uint64_t mail, enum err e) {
    struct smtpd_session *s = map_get(&core->mails, mail);
    if (!s)
        return; /* its session has ended meanwhile */
    bool waits = s->waits && s->smtp.mode != SMTP_MODE_END;
    forget_mail(s);
    if (!waits) {
        smtp_server_mail_lost(&s->smtp, e ? e : ERR_IO);
        return;
    }
    smtp_server_answer(&s->smtp, e, STR_NONE);
    core->ops->log(e ? EV_SMTP_REJECTED : EV_SMTP_ACCEPTED, s, e ? str_of(err_name(e)) : s->smtp.envelope.id);
    core->ops->on_wake(s);
}

void smtpd_core_frame(struct smtpd_core *core, const struct frame *f) {
    switch ((int)f->type) {
    case FRAME_MAIL_DONE:
        mail_done(core, f->mail_done.mail, f->mail_done.err < ERR_COUNT ? f->mail_done.err : ERR_IO);
        break;
    case FRAME_STORE_STATE: core->store_state = f->store_state.err < ERR_COUNT ? f->store_state.err : ERR_IO; break;
    default: break;
    }
}

void smtpd_core_store_up(struct smtpd_core *core) {
    core->store_up = true;
    core->store_state = OK;
}

void smtpd_core_store_down(struct smtpd_core *core) {
    core->store_up = false;
    LIST_EACH_SAFE(&core->sessions, node) {
        struct smtpd_session *s = LIST_ENTRY(node, struct smtpd_session, node);
        if (s->mail)
            mail_done(core, s->mail, ERR_IO);
    }
}

void smtpd_core_drain(struct smtpd_core *core, uint64_t now_ms) {
    core->draining = true;
    LIST_EACH(&core->sessions, node)
    smtp_server_drain(&LIST_ENTRY(node, struct smtpd_session, node)->smtp, now_ms);
}

void smtpd_core_init(struct smtpd_core *core, const struct smtpd_ops *ops) {
    uint64_t seeds[2];
    ops->random(seeds, sizeof seeds);
    *core = (struct smtpd_core){.ops = ops,
                                .mails = MAP(seeds[0]),
                                .clients = MAP(seeds[1]),
                                .body = BUF(FRAME_CHUNK),
                                .space = BUF(SPACE_MAX)};
    list_init(&core->sessions);
}

void smtpd_core_free(struct smtpd_core *core) {
    assert(core->session_count == 0);
    if (core->generation)
        generation_unref(core->generation);
    map_free(&core->mails);
    size_t at = 0;
    for (struct smtpd_client *c; (c = map_next(&core->clients, &at));)
        free(c);
    map_free(&core->clients);
    buf_free(&core->body);
    buf_free(&core->space);
}
