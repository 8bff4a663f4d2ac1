#include "role/smtpd_core.h"

#include "base/ip.h"
#include "role/smtpd_auth.h"
#include "role/smtpd_inject.h"
#include "role/smtpd_inside.h"
#include "role/smtpd_report.h"
#include "role/smtpd_route.h"
#include "role/smtpd_trace.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    HOUR_MS = 3600 * 1000,
    CLIENTS_KEPT = 65536,         /* beyond: addresses without a connection are forgotten at once */
    SPACE_MAX = 32 * 1024 * 1024, /* an envelope or transcript while it is being cut into frames */
    SPACE_KEPT = 64 * 1024,
    SECRET_MAX = 64 * 1024,
};

/* One address that limits bind; kept without connections until the hour of its messages is over. */
struct smtpd_client {
    size_t count;            /* of connections */
    uint64_t hour, messages; /* begun in that hour */
    str address;
    char text[];
};

/* ---- configuration ---- */

enum err smtpd_core_configure(struct smtpd_core *core, const struct conf *c, str users, unsigned workers,
                              bool (*has_tls)(str listener), struct why *w) {
    struct smtpd_generation *g;
    enum err e = smtpd_generation_new(c, users, workers, has_tls, &g, w);
    if (e)
        return e;
    if (core->generation)
        smtpd_generation_unref(core->generation);
    core->generation = g;
    smtpd_directory_forget(core);
    return OK;
}

/* ---- frames to the store ---- */

void smtpd_core_send(struct smtpd_core *core, enum role to, const struct frame *f) {
    if (core->up[to])
        core->ops->send(to, f);
}

uint32_t smtpd_core_tag(struct smtpd_core *core) {
    return ++core->next_tag;
}

static void send_frame(struct smtpd_core *core, const struct frame *f) {
    smtpd_core_send(core, ROLE_STORE, f);
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
    s->limit_taken = false;
    if (s->waits == SMTPD_FOR_STORE)
        s->waits = SMTPD_FOR_NOTHING;
}

static void forget_route(struct smtpd_session *s) {
    s->smtp.envelope.deliveries = NULL;
    s->smtp.envelope.delivery_count = 0;
    s->smtp.envelope.edits = STR_NONE;
    smtpd_route_free(s->route);
    s->route = NULL;
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

/* The answers to MAIL and RCPT that a decision gives. */
static void answer_decision(struct smtpd_session *s, enum err e) {
    const struct smtpd_route *r = s->route;
    if (e == ERR_MORE)
        s->waits = SMTPD_FOR_DIRECTORY;
    else if (e == ERR_DENIED && r->code)
        smtp_server_refusal_answer(&s->smtp, r->code, r->text);
    else
        smtp_server_answer(&s->smtp, e, STR_NONE);
}

static void judge_mail(struct smtpd_session *s) {
    bool asked = s->route && s->waits == SMTPD_FOR_DIRECTORY;
    s->waits = SMTPD_FOR_NOTHING;
    if (!s->generation->routes) {
        smtp_server_answer(&s->smtp, OK, STR_NONE);
        return;
    }
    if (!asked) {
        s->limit_taken = false; /* for a message that the store then had no room for */
        forget_route(s);
        s->route = smtpd_route_new(s);
    }
    if (s->route)
        answer_decision(s, smtpd_route_sender(s->route));
    else
        smtp_server_answer(&s->smtp, ERR_NOMEM, STR_NONE);
}

static void judge_rcpt(struct smtpd_session *s) {
    s->waits = SMTPD_FOR_NOTHING;
    if (s->route)
        answer_decision(s, smtpd_route_rcpt(s->route));
    else
        smtp_server_answer(&s->smtp, OK, STR_NONE); /* one route: capture */
}

static bool take_message(struct smtpd_session *s);

/* True: the store's word on the account's limits is on its way. */
static bool ask_limit(struct smtpd_session *s) {
    struct smtpd_core *core = s->core;
    bool ours = s->inside && (s->inside->internal || s->inside->folder.n);
    if (!s->route || !s->account.n || s->limit_taken || ours)
        return false;
    s->limit_tag = smtpd_core_tag(core);
    if (!map_put(&core->waiting, s->limit_tag, s))
        return false;
    s->waits = SMTPD_FOR_LIMIT;
    struct frame f = {FRAME_LIMIT_TAKE,
                      .limit_take = {s->limit_tag, s->account, 1, (uint32_t)s->smtp.envelope.rcpt_count}};
    send_frame(core, &f);
    return true;
}

static void begin_mail(struct smtpd_session *s) {
    struct smtpd_core *core = s->core;
    char id[ID_SIZE];
    if (!core->up[ROLE_STORE] || core->store_state) {
        enum err e = core->up[ROLE_STORE] ? core->store_state : ERR_IO;
        smtp_server_answer(&s->smtp, e, STR_NONE);
        return;
    }
    if (!s->limit_taken && !take_message(s)) {
        core->ops->log(EV_SMTP_REFUSED, s, S("too many messages of this client"));
        smtp_server_answer(&s->smtp, ERR_LIMIT, STR_NONE);
        return;
    }
    if (ask_limit(s))
        return;
    s->mail = ++core->next_number;
    if (!map_put(&core->mails, s->mail, s)) {
        s->mail = 0;
        smtp_server_answer(&s->smtp, ERR_NOMEM, STR_NONE);
        return;
    }
    new_id(core, id);
    if (s->inside)
        smtpd_inside_began(s->inside, id);
    struct frame f = {FRAME_MAIL_BEGIN, .mail_begin = {s->mail, str_n(id, ID_SIZE), s->smtp.size_hint}};
    send_frame(core, &f);
    smtp_server_answer(&s->smtp, OK, str_n(id, ID_SIZE));
}

static void limit_taken(struct smtpd_core *core, const struct frame_limit_taken *f) {
    struct smtpd_session *s = map_remove(&core->waiting, f->tag);
    if (!s || s->waits != SMTPD_FOR_LIMIT || s->limit_tag != f->tag)
        return;
    s->waits = SMTPD_FOR_NOTHING;
    if (smtpd_session_over(s))
        return;
    s->limit_taken = f->err == OK;
    if (s->limit_taken)
        begin_mail(s);
    else
        smtp_server_answer(&s->smtp, f->err < ERR_COUNT ? f->err : ERR_IO, f->text);
    if (f->err == ERR_LIMIT)
        core->ops->log(EV_SMTP_REFUSED, s, S("the account's limit is reached"));
    smtpd_session_answered(s);
}

static void drop_mail(struct smtpd_session *s) {
    struct frame gone = {FRAME_MAIL_ABORT, .mail_abort = {s->mail}};
    if (s->mail)
        send_frame(s->core, &gone);
    forget_mail(s);
    forget_route(s);
}

static void send_mail(struct smtpd_session *s, struct buf *b) {
    struct smtpd_core *core = s->core;
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
}

static void commit_mail(struct smtpd_session *s) {
    s->waits = SMTPD_FOR_NOTHING;
    send_body(s);
    enum err e = s->route && s->mail ? smtpd_route_finish(s->route) : OK;
    if (e == ERR_MORE) {
        s->waits = SMTPD_FOR_DIRECTORY;
        return;
    }
    struct buf *b = scratch(s->core);
    envelope_put(b, &s->smtp.envelope);
    if (!e && !s->mail)
        e = ERR_IO;
    if (!e && b->full)
        e = ERR_NOMEM;
    if (e) {
        answer_decision(s, e);
        drop_mail(s);
        return;
    }
    send_mail(s, b);
    forget_route(s);
    s->waits = SMTPD_FOR_STORE;
}

static void abort_mail(struct smtpd_session *s) {
    buf_reset(&s->core->body);
    if (s->mail)
        s->core->ops->log(EV_SMTP_ABORTED, s, STR_NONE);
    drop_mail(s);
}

static void take_body(struct smtpd_session *s) {
    if (s->route)
        smtpd_route_body(s->route, s->smtp.body);
    add_body(s, s->smtp.body);
}

static void log_errors(struct smtpd_session *s) {
    enum smtp_reply_id id = s->smtp.last_error;
    s->smtp.last_error = SMTP_R_NONE;
    if (id && id != SMTP_R_SHUTDOWN && id != SMTP_R_TIMEOUT)
        s->core->ops->log(EV_SMTP_REJECTED, s, smtp_reply_of(id)->text);
}

/* What the host of the conversation answers, at once or, when the session waits, later. */
static void judge(struct smtpd_session *s, enum smtp_want want) {
    switch (want) {
    case SMTP_WANT_BODY: take_body(s); break;
    case SMTP_WANT_ABORT: abort_mail(s); break;
    case SMTP_WANT_MAIL: judge_mail(s); break;
    case SMTP_WANT_RCPT: judge_rcpt(s); break;
    case SMTP_WANT_BEGIN: begin_mail(s); break;
    case SMTP_WANT_COMMIT: commit_mail(s); break;
    case SMTP_WANT_AUTH: smtpd_auth_step(s); break;
    default: assert(!"a want");
    }
}

/* Steps until the host is needed. */
static enum smtpd_do run_steps(struct smtpd_session *s, str *in, uint64_t now_ms) {
    for (;;) {
        enum smtp_want want = smtp_server_step(&s->smtp, in, now_ms);
        switch (want) {
        case SMTP_WANT_INPUT: return SMTPD_READ;
        case SMTP_WANT_STARTTLS: return SMTPD_TLS;
        case SMTP_WANT_FLUSH: return SMTPD_FLUSH;
        case SMTP_WANT_DELAY: return SMTPD_DELAY;
        case SMTP_WANT_CLOSE: return SMTPD_CLOSE;
        default: judge(s, want);
        }
        if (s->waits)
            return SMTPD_WAIT;
    }
}

enum smtpd_do smtpd_session_run(struct smtpd_session *s, str *in, uint64_t now_ms) {
    if (s->waits && !smtpd_session_over(s))
        return SMTPD_WAIT;
    enum smtpd_do what = run_steps(s, in, now_ms);
    send_body(s);
    log_errors(s);
    return what;
}

bool smtpd_session_over(const struct smtpd_session *s) {
    return s->smtp.mode == SMTP_MODE_END;
}

void smtpd_session_answered(struct smtpd_session *s) {
    if (s->waits)
        return;
    if (s->inside)
        smtpd_inside_run(s->inside);
    else
        s->core->ops->on_wake(s);
}

void smtpd_session_known(struct smtpd_session *s) {
    if (s->waits != SMTPD_FOR_DIRECTORY || smtpd_session_over(s))
        return;
    judge(s, s->smtp.want);
    smtpd_session_answered(s);
}

/* ---- sessions ---- */

static bool is_near(str address) {
    struct conf_ip ip;
    return str_eq(address, S("unix")) || (conf_ip_parse(address, &ip) && conf_ip_loopback(&ip));
}

/* Limits bind strangers on an MX listener; balancers speak for many. */
static bool is_bound(const struct smtpd_listener *l, str client) {
    return l->smtp.policy == SMTP_POLICY_MX && !is_near(client) && !conf_network_match(&l->proxy, client) &&
           !conf_network_match(&l->xclient, client);
}

/* Of IPv6 a customer has at least a /64: with it he is one client, as he is for failed logins. */
static str client_of(str address, char space[IP_TEXT_SIZE]) {
    uint8_t ip[IP6_SIZE];
    if (!ip6_parse(address, ip) || ip6_is_mapped(ip))
        return address;
    memset(ip + IP6_SIZE / 2, 0, IP6_SIZE / 2);
    ip6_text(ip, space);
    return str_of(space);
}

static struct smtpd_client *client_ref(struct smtpd_core *core, str address) {
    char space[IP_TEXT_SIZE];
    address = client_of(address, space);
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

/* Whom the system knows: only on a socket for users, and only when nobody speaks for others there. */
static bool is_local(const struct smtpd_listener *l, const struct smtpd_caller *c) {
    return c->user.n && l->smtp.policy == SMTP_POLICY_SUBMISSION && str_eq(c->client, S("unix")) &&
           !conf_network_match(&l->proxy, c->client);
}

static struct smtpd_session *session_new(struct smtpd_core *core, struct smtpd_listener *l,
                                         const struct smtpd_caller *c, bool local, uint64_t now_ms, uint64_t wall_us) {
    struct smtpd_session *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->core = core;
    s->generation = core->generation;
    s->generation->refs++;
    s->listener = l;
    s->number = ++core->next_number;
    s->local = local;
    s->trusted = local && c->trusted;
    new_id(core, s->id);
    struct smtp_peer peer = {.session = str_n(s->id, ID_SIZE),
                             .client_address = c->client,
                             .server_address = c->server,
                             .client_port = c->client_port,
                             .server_port = c->server_port,
                             .proxy = conf_network_match(&l->proxy, c->client),
                             .xclient = conf_network_match(&l->xclient, c->client),
                             .user = local ? c->user : STR_NONE};
    smtp_server_init(&s->smtp, &l->smtp, &peer, now_ms, wall_us);
    list_add_tail(&core->sessions, &s->node);
    core->session_count++;
    smtpd_trace_session(s);
    core->ops->log(EV_SMTP_CONNECT, s, STR_NONE);
    return s;
}

struct smtpd_session *smtpd_session_new(struct smtpd_core *core, const struct smtpd_caller *c, uint64_t now_ms,
                                        uint64_t wall_us) {
    struct smtpd_listener *l = smtpd_generation_listener(core->generation, c->listener);
    bool local = l && core->generation->routes && is_local(l, c);
    struct smtpd_session *s = l ? session_new(core, l, c, local, now_ms, wall_us) : NULL;
    if (s)
        apply_limits(s, c->client);
    return s;
}

struct smtpd_session *smtpd_session_inside(struct smtpd_core *core, struct smtpd_inside *inside,
                                           const struct smtpd_caller *c, struct smtpd_listener *l) {
    struct smtpd_session *s = session_new(core, l, c, c->user.n > 0, core->ops->now_ms(), core->ops->wall_us());
    if (s)
        s->inside = inside;
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
    e->account = s->account;
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
    forget_route(s);
    send_session(s);
    if (s->waits != SMTPD_FOR_STORE) /* it ended between the last byte and the decision: nobody will finish its mail */
        drop_mail(s);
    forget_mail(s);
    if (s->waits == SMTPD_FOR_LIMIT)
        map_remove(&core->waiting, s->limit_tag);
    smtpd_auth_end(s);
    client_unref(core, s->client);
    smtp_server_free(&s->smtp);
    list_remove(&s->node);
    core->session_count--;
    smtpd_generation_unref(s->generation);
    free(s);
}

/* ---- from the store ---- */

static void mail_done(struct smtpd_core *core, uint64_t mail, enum err e) {
    struct smtpd_session *s = map_get(&core->mails, mail);
    if (!s)
        return; /* its session has ended meanwhile */
    bool waits = s->waits == SMTPD_FOR_STORE && !smtpd_session_over(s);
    forget_mail(s);
    if (!waits) {
        smtp_server_mail_lost(&s->smtp, e ? e : ERR_IO);
        return;
    }
    smtp_server_answer(&s->smtp, e, STR_NONE);
    core->ops->log(e ? EV_SMTP_REJECTED : EV_SMTP_ACCEPTED, s, e ? str_of(err_name(e)) : s->smtp.envelope.id);
    smtpd_session_answered(s);
}

void smtpd_core_frame(struct smtpd_core *core, const struct frame *f) {
    switch ((int)f->type) {
    case FRAME_MAIL_DONE:
        mail_done(core, f->mail_done.mail, f->mail_done.err < ERR_COUNT ? f->mail_done.err : ERR_IO);
        break;
    case FRAME_STORE_STATE: core->store_state = f->store_state.err < ERR_COUNT ? f->store_state.err : ERR_IO; break;
    case FRAME_LOOKED_UP: smtpd_directory_told(core, &f->looked_up); break;
    case FRAME_DIRECTORY_CHANGED: smtpd_directory_forget(core); break;
    case FRAME_LIMIT_TAKEN: limit_taken(core, &f->limit_taken); break;
    default:
        if (!smtpd_auth_frame(core, f) && !smtpd_inject_frame(core, f) && !smtpd_trace_frame(core, f))
            smtpd_report_frame(core, f);
    }
}

void smtpd_core_up(struct smtpd_core *core, enum role peer) {
    core->up[peer] = true;
    if (peer == ROLE_STORE)
        core->store_state = OK;
}

/* Who waits for a limit is told that it cannot be known now. */
static void limits_down(struct smtpd_core *core) {
    struct smtpd_session *s;
    for (size_t at = 0; (s = map_next(&core->waiting, &at));) {
        struct frame_limit_taken f = {s->limit_tag, ERR_IO, STR_NONE};
        if (s->waits != SMTPD_FOR_LIMIT)
            continue;
        limit_taken(core, &f);
        at = 0;
    }
}

static void store_down(struct smtpd_core *core) {
    LIST_EACH_SAFE(&core->sessions, node) {
        struct smtpd_session *s = LIST_ENTRY(node, struct smtpd_session, node);
        if (s->mail)
            mail_done(core, s->mail, ERR_IO);
    }
    smtpd_directory_down(core);
    limits_down(core);
    smtpd_reports_down(core);
}

void smtpd_core_down(struct smtpd_core *core, enum role peer) {
    core->up[peer] = false;
    if (peer == ROLE_STORE)
        store_down(core);
    if (peer == ROLE_KEYD)
        smtpd_auth_down(core);
    if (peer == ROLE_HTTPD)
        smtpd_injections_down(core), smtpd_traces_down(core);
}

bool smtpd_core_busy(const struct smtpd_core *core) {
    LIST_EACH((struct list *)&core->sessions, node) {
        const struct smtpd_session *s = LIST_ENTRY(node, struct smtpd_session, node);
        if (!s->inside || s->waits == SMTPD_FOR_STORE)
            return true;
    }
    return false;
}

void smtpd_core_drain(struct smtpd_core *core, uint64_t now_ms) {
    core->draining = true;
    LIST_EACH(&core->sessions, node)
    smtp_server_drain(&LIST_ENTRY(node, struct smtpd_session, node)->smtp, now_ms);
}

void smtpd_core_init(struct smtpd_core *core, const struct smtpd_ops *ops) {
    uint64_t seeds[3];
    ops->random(seeds, sizeof seeds);
    *core = (struct smtpd_core){.ops = ops,
                                .mails = MAP(seeds[0]),
                                .waiting = MAP(seeds[0]),
                                .injections = MAP(seeds[0]),
                                .reports = MAP(seeds[0]),
                                .clients = MAP(seeds[1]),
                                .srs_secret = BUF(SECRET_MAX),
                                .body = BUF(FRAME_CHUNK),
                                .space = BUF(SPACE_MAX)};
    list_init(&core->sessions);
    list_init(&core->traces);
    smtpd_directory_init(&core->directory, seeds[2]);
}

void smtpd_core_free(struct smtpd_core *core) {
    smtpd_injections_down(core);
    smtpd_reports_down(core);
    smtpd_traces_down(core);
    assert(core->session_count == 0);
    if (core->generation)
        smtpd_generation_unref(core->generation);
    smtpd_directory_free(&core->directory);
    map_free(&core->mails);
    map_free(&core->waiting);
    map_free(&core->injections);
    map_free(&core->reports);
    size_t at = 0;
    for (struct smtpd_client *c; (c = map_next(&core->clients, &at));)
        free(c);
    map_free(&core->clients);
    buf_wipe(&core->srs_secret);
    buf_free(&core->body);
    buf_free(&core->space);
}
