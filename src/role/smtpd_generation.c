#include "role/smtpd_generation.h"

#include <assert.h>
#include <stdlib.h>

enum { CONFIG_MEMORY_MAX = 4 * 1024 * 1024, MECHANISMS_MAX = 256 };

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

static str mechanisms_of(struct smtpd_generation *g, bool tls, bool plaintext) {
    struct buf b = BUF(MECHANISMS_MAX);
    if (g->keyd)
        return !plaintext ? S("SCRAM-SHA-256")
               : tls      ? S("SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN")
                          : S("SCRAM-SHA-256 PLAIN LOGIN");
    sasl_server_list(&g->users, tls, plaintext, &b);
    str list = arena_str(&g->arena, buf_str(&b));
    buf_free(&b);
    return list;
}

/* What all listeners have alike. */
static struct smtp_config common_config(struct smtpd_generation *g, const struct conf *c) {
    return (struct smtp_config){
        .hostname = arena_str(&g->arena, c->hostname.n ? c->hostname : S("localhost")),
        .greeting = arena_str(&g->arena, c->greeting),
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

/* Submission is for users who have said who they are, whatever the block says of auth. */
static enum smtp_auth_mode auth_of(const struct conf *c, const struct conf_listen *l) {
    bool must = c->mode == CONF_MODE_SERVER && l->policy == CONF_POLICY_SUBMISSION;
    return must ? SMTP_AUTH_REQUIRED : (enum smtp_auth_mode)l->auth;
}

static void fill_listener(struct smtpd_generation *g, struct smtpd_listener *l, const struct conf_listen *from,
                          bool has_tls) {
    bool sandbox = from->policy == CONF_POLICY_SANDBOX;
    bool waits_for_tls = !sandbox && from->tls == CONF_TLS_STARTTLS;
    l->proxy = from->proxy;
    l->xclient = from->xclient;
    l->smtp = common_config(g, g->conf);
    l->smtp.listener = from->name;
    l->smtp.lmtp = from->protocol == CONF_PROTOCOL_LMTP;
    l->smtp.policy = policy_of(from->policy);
    l->smtp.tls = !has_tls ? SMTP_TLS_NONE : (enum smtp_tls_mode)from->tls;
    l->smtp.auth = auth_of(g->conf, from);
    l->smtp.framing = framing_of(from->framing);
    l->smtp.mechanisms_plain = waits_for_tls ? STR_NONE : mechanisms_of(g, false, sandbox);
    l->smtp.mechanisms_tls = mechanisms_of(g, true, true);
}

/* Nobody from within tries to wear us out, or falls asleep. */
static void fill_inside(struct smtpd_generation *g) {
    struct smtp_config *smtp = &g->inside.smtp;
    *smtp = common_config(g, g->conf);
    smtp->listener = S("inside");
    smtp->policy = SMTP_POLICY_SUBMISSION;
    smtp->framing = SMTP_FRAMING_NORMALIZE;
    smtp->mail_max = 0;
    smtp->errors_slow = smtp->errors_max = 1000000;
    smtp->command_ms = smtp->data_ms = smtp->message_ms = smtp->session_ms = UINT64_MAX / 4;
}

static enum err copy_conf(struct smtpd_generation *g, const struct conf *c, struct why *w) {
    struct conf_errors errors = {0};
    struct buf text = BUF(2 * CONF_FILE_MAX);
    conf_write(&text, c);
    g->conf = calloc(1, sizeof *g->conf);
    enum err e = g->conf && !text.full ? conf_parse(buf_str(&text), "configuration", g->conf, &errors) : ERR_NOMEM;
    if (e)
        e = why(w, e, "the configuration cannot be taken over: %s", errors.count ? errors.list[0].text.p : err_name(e));
    conf_errors_free(&errors);
    buf_free(&text);
    return e;
}

static enum err fill(struct smtpd_generation *g, str users, unsigned workers, bool (*has_tls)(str listener),
                     struct why *w) {
    const struct conf *c = g->conf;
    enum err e = OK;
    bool server = c->mode == CONF_MODE_SERVER;
    g->edits = server;
    g->routes = server || c->route_count;
    g->keyd = users.p == NULL && server;
    g->users.any = users.p == NULL && !server;
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
        fill_listener(g, &g->listeners[g->listener_count++], l, has_tls(l->name));
    }
    fill_inside(g);
    return g->arena.full ? why(w, ERR_NOMEM, "no memory for the configuration") : OK;
}

enum err smtpd_generation_new(const struct conf *c, str users, unsigned workers, bool (*has_tls)(str listener),
                              struct smtpd_generation **out, struct why *w) {
    struct smtpd_generation *g = calloc(1, sizeof *g);
    if (!g)
        return why(w, ERR_NOMEM, "no memory for the configuration");
    g->refs = 1;
    g->arena = ARENA(CONFIG_MEMORY_MAX);
    enum err e = copy_conf(g, c, w);
    if (!e)
        e = fill(g, users, workers, has_tls, w);
    if (e)
        smtpd_generation_unref(g);
    else
        *out = g;
    return e;
}

void smtpd_generation_unref(struct smtpd_generation *g) {
    assert(g->refs > 0);
    if (--g->refs)
        return;
    if (g->conf)
        conf_free(g->conf);
    free(g->conf);
    arena_free(&g->arena);
    free(g);
}

struct smtpd_listener *smtpd_generation_listener(struct smtpd_generation *g, str name) {
    for (size_t i = 0; g && i < g->listener_count; i++)
        if (str_eq(g->listeners[i].smtp.listener, name))
            return &g->listeners[i];
    return NULL;
}
