/* The commands of smtp_server.h, one function do_VERB each. */
#include "smtp/smtp_server.h"

#include "base/code.h"
#include "base/date.h"
#include "smtp/smtp_server_in.h"

#include <assert.h>
#include <string.h>

enum { AUTH_TEXT_MAX = 24 * 1024 };

/* ---- what may stand where ---- */

static enum smtp_reply_id no_recipient(const struct smtp_server *s) {
    return s->rcpt_failed && !s->config->lmtp ? SMTP_R_NO_VALID_RCPT : SMTP_R_NO_RCPT;
}

static enum smtp_reply_id out_of_order(const struct smtp_server *s, enum smtp_verb v) {
    bool needs_mail = v == SMTP_V_RCPT || v == SMTP_V_DATA || v == SMTP_V_BDAT;
    switch (s->state) {
    case SMTP_NEW: return s->config->lmtp ? SMTP_R_NO_LHLO : SMTP_R_NO_HELLO;
    case SMTP_READY: return needs_mail ? SMTP_R_NO_MAIL : SMTP_R_IN_TRANSACTION;
    case SMTP_MAIL: return needs_mail ? no_recipient(s) : SMTP_R_IN_TRANSACTION;
    case SMTP_CHUNK: return SMTP_R_IN_CHUNKS;
    default: return SMTP_R_IN_TRANSACTION;
    }
}

static bool tls_is_missing(const struct smtp_server *s) {
    return s->config->policy == SMTP_POLICY_SUBMISSION && s->config->tls == SMTP_TLS_STARTTLS && !s->tls;
}

/* RFC 3207 4, RFC 4954 4: what waits for TLS and authentication. */
static enum smtp_reply_id not_yet(const struct smtp_server *s, enum smtp_verb v) {
    if (v != SMTP_V_MAIL && v != SMTP_V_VRFY && v != SMTP_V_EXPN)
        return SMTP_R_NONE;
    if (tls_is_missing(s))
        return SMTP_R_TLS_FIRST;
    return s->config->auth == SMTP_AUTH_REQUIRED && !s->authenticated ? SMTP_R_AUTH_FIRST : SMTP_R_NONE;
}

static enum smtp_reply_id gate(const struct smtp_server *s, enum smtp_verb v) {
    if (s->config->lmtp && (v == SMTP_V_EHLO || v == SMTP_V_HELO))
        return SMTP_R_OTHER_HELLO_LMTP;
    if (!s->config->lmtp && v == SMTP_V_LHLO)
        return SMTP_R_OTHER_HELLO_SMTP;
    if (!smtp_cmd_allowed(v, s->state))
        return out_of_order(s, v);
    return not_yet(s, v);
}

/* ---- HELO, EHLO, LHLO ---- */

static str mechanisms(const struct smtp_server *s) {
    if (s->config->auth == SMTP_AUTH_NONE)
        return STR_NONE;
    return s->tls ? s->config->mechanisms_tls : s->config->mechanisms_plain;
}

static void hello_line(struct smtp_server *s, bool more, str keyword, str argument) {
    char space[512];
    struct buf b = {.p = space, .cap = sizeof space, .limit = sizeof space};
    buf_add(&b, keyword);
    if (argument.n) {
        buf_char(&b, ' ');
        buf_add(&b, argument);
    }
    smtp_server_say_text(s, 250, more, STR_NONE, buf_str(&b), STR_NONE);
}

static void hello_number(struct smtp_server *s, str keyword, const char *format, uint64_t v, uint64_t w) {
    char space[80];
    struct buf b = {.p = space, .cap = sizeof space, .limit = sizeof space};
    buf_printf(&b, "%s%llu", format, (unsigned long long)v);
    if (w)
        buf_printf(&b, " MAILMAX=%llu", (unsigned long long)w);
    hello_line(s, true, keyword, buf_str(&b));
}

/* What users may ask of us, and servers may not. */
static bool serves_users(const struct smtp_config *c) {
    return c->policy != SMTP_POLICY_MX;
}

/* RFC 4865 4: the longest hold as seconds, and as the moment it ends. */
static void hello_hold(struct smtp_server *s) {
    char space[80];
    struct buf b = {.p = space, .cap = sizeof space, .limit = sizeof space};
    uint64_t most = s->config->hold_max_ms;
    buf_printf(&b, "%llu ", (unsigned long long)(most / 1000));
    date_put_3339(&b, (struct date){(int64_t)(smtp_server_time_us(s) + most * 1000), 0}, 0);
    hello_line(s, true, S("FUTURERELEASE"), buf_str(&b));
}

static void say_extensions(struct smtp_server *s) {
    const struct smtp_config *c = s->config;
    static const str always[] = {S_INIT("PIPELINING"), S_INIT("8BITMIME"), S_INIT("BINARYMIME"),
                                 S_INIT("CHUNKING"),   S_INIT("SMTPUTF8"), S_INIT("DSN")};
    smtp_server_say_text(s, 250, true, STR_NONE, str_head(c->hostname, SMTP_DOMAIN_MAX), STR_NONE);
    hello_number(s, S("SIZE"), "", c->message_max, 0);
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        hello_line(s, true, always[i], STR_NONE);
    hello_number(s, S("LIMITS"), "RCPTMAX=", c->rcpt_max, c->mail_max);
    if (c->tls == SMTP_TLS_STARTTLS && !s->tls)
        hello_line(s, true, S("STARTTLS"), STR_NONE);
    if (mechanisms(s).n)
        hello_line(s, true, S("AUTH"), mechanisms(s));
    if (s->tls)
        hello_line(s, true, S("REQUIRETLS"), STR_NONE);
    if (serves_users(c) && c->hold_max_ms)
        hello_hold(s);
    if (serves_users(c)) {
        hello_line(s, true, S("DELIVERBY"), STR_NONE);
        hello_line(s, true, S("MT-PRIORITY"), STR_NONE);
    }
    if (s->may_xclient)
        hello_line(s, true, S("XCLIENT"), S("NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"));
    hello_line(s, false, S("ENHANCEDSTATUSCODES"), STR_NONE);
}

static enum smtp_want hello(struct smtp_server *s, const struct smtp_cmd *cmd, bool extended) {
    enum smtp_want want = smtp_server_reset(s);
    buf_reset(&s->helo);
    buf_add(&s->helo, cmd->arg);
    s->envelope.helo = buf_str(&s->helo);
    s->esmtp = extended;
    s->state = SMTP_READY;
    if (extended)
        say_extensions(s);
    else
        smtp_server_say_text(s, 250, false, STR_NONE, s->config->hostname, STR_NONE);
    return want;
}

static enum smtp_want do_HELO(struct smtp_server *s, const struct smtp_cmd *cmd) {
    return hello(s, cmd, false);
}
static enum smtp_want do_EHLO(struct smtp_server *s, const struct smtp_cmd *cmd) {
    return hello(s, cmd, true);
}
static enum smtp_want do_LHLO(struct smtp_server *s, const struct smtp_cmd *cmd) {
    return hello(s, cmd, true);
}

/* ---- MAIL, RCPT ---- */

static enum smtp_reply_id param_reply(enum err e) {
    return e == ERR_UNSUPPORTED ? SMTP_R_PARAM_UNKNOWN : e == ERR_EXISTS ? SMTP_R_PARAM_TWICE : SMTP_R_PARAM_SYNTAX;
}

/* A parameter whose extension is not offered; NULL: none. */
static const char *not_offered(const struct smtp_server *s, const struct smtp_params *p) {
    bool users = serves_users(s->config);
    if (p->requiretls && !s->tls)
        return "REQUIRETLS";
    if ((p->hold_s || p->hold_until_us) && (!users || !s->config->hold_max_ms))
        return p->hold_s ? "HOLDFOR" : "HOLDUNTIL";
    if (p->by_mode && !users)
        return "BY";
    return p->priority && !users ? "MT-PRIORITY" : NULL;
}

/* False: held longer than is offered. */
static bool take_params(struct smtp_server *s, const struct smtp_params *p) {
    struct envelope *e = &s->envelope;
    int64_t now = (int64_t)smtp_server_time_us(s), most = (int64_t)s->config->hold_max_ms * 1000;
    int64_t hold = p->hold_s ? now + (int64_t)p->hold_s * 1000000 : p->hold_until_us;
    int64_t by = now + p->by_s * 1000000;
    if (hold > now + most)
        return false;
    e->hold_until_us = hold > now ? (uint64_t)hold : 0;
    e->deliver_by_us = !p->by_mode ? 0 : by > 0 ? (uint64_t)by : 1;
    e->deliver_by_mode = p->by_mode;
    e->priority = p->priority;
    e->require_tls = p->requiretls;
    return true;
}

static enum smtp_want do_MAIL(struct smtp_server *s, const struct smtp_cmd *cmd) {
    const struct smtp_config *c = s->config;
    struct smtp_params p;
    if (s->draining)
        return smtp_server_refuse(s, SMTP_R_SHUTDOWN, "shutdown"), SMTP_GO_ON;
    if (c->mail_max && s->transactions >= c->mail_max)
        return smtp_server_refuse(s, SMTP_R_MAIL_MANY, "too many messages"), SMTP_GO_ON;
    enum err e = smtp_params_parse(cmd->params, SMTP_PARAM_MAIL, &p);
    if (e)
        return smtp_server_say(s, param_reply(e), p.bad), SMTP_GO_ON;
    if (not_offered(s, &p))
        return smtp_server_say(s, SMTP_R_PARAM_UNKNOWN, str_of(not_offered(s, &p))), SMTP_GO_ON;
    if (cmd->path.utf8 && !p.smtputf8)
        return smtp_server_reply(s, SMTP_R_NEEDS_UTF8);
    if (p.size > c->message_max)
        return smtp_server_reply(s, SMTP_R_TOO_BIG);
    if (!take_params(s, &p))
        return smtp_server_reset(s), smtp_server_say(s, SMTP_R_PARAM_SYNTAX, S("held longer than offered")), SMTP_GO_ON;
    s->envelope.sender = arena_str(&s->mail, cmd->path.address);
    s->envelope.sender_params = arena_str(&s->mail, cmd->params);
    if (s->mail.full)
        return smtp_server_reset(s), smtp_server_reply(s, SMTP_R_MEMORY);
    s->envelope.mail_us = smtp_server_time_us(s);
    s->envelope.transaction = ++s->transactions;
    s->utf8 = p.smtputf8;
    s->binary = p.body == SMTP_BODY_BINARYMIME;
    s->size_hint = p.size;
    return SMTP_WANT_MAIL;
}

enum smtp_want smtp_server_after_mail(struct smtp_server *s) {
    s->phase_ms = s->now_ms;
    if (s->answer.e == OK) {
        s->state = SMTP_MAIL;
        return smtp_server_reply(s, SMTP_R_SENDER_OK);
    }
    smtp_server_say_no(s, s->answer.e == ERR_DENIED ? SMTP_R_SENDER_REFUSED : SMTP_R_SENDER_LATER);
    smtp_server_reset(s);
    return SMTP_GO_ON;
}

static enum smtp_want refuse_rcpt(struct smtp_server *s, enum smtp_reply_id id, str detail) {
    s->rcpt_failed = true;
    smtp_server_say(s, id, detail);
    return SMTP_GO_ON;
}

static enum smtp_want do_RCPT(struct smtp_server *s, const struct smtp_cmd *cmd) {
    struct smtp_params p;
    enum err e = smtp_params_parse(cmd->params, SMTP_PARAM_RCPT, &p);
    if (e)
        return refuse_rcpt(s, param_reply(e), p.bad);
    if (cmd->path.utf8 && !s->utf8)
        return refuse_rcpt(s, SMTP_R_NEEDS_UTF8, STR_NONE);
    if (s->envelope.rcpt_count >= s->config->rcpt_max)
        return refuse_rcpt(s, SMTP_R_RCPT_MANY, STR_NONE);
    s->rcpt = (struct envelope_rcpt){arena_str(&s->mail, cmd->path.address), arena_str(&s->mail, cmd->params)};
    if (s->mail.full)
        return refuse_rcpt(s, SMTP_R_MEMORY, STR_NONE);
    return SMTP_WANT_RCPT;
}

static bool add_rcpt(struct smtp_server *s) {
    struct envelope *e = &s->envelope;
    if (e->rcpt_count == s->rcpt_cap) {
        size_t cap = s->rcpt_cap ? s->rcpt_cap * 2 : 4;
        struct envelope_rcpt *more = arena_alloc(&s->mail, cap * sizeof *more);
        if (!more)
            return false;
        if (e->rcpt_count)
            memcpy(more, e->rcpts, e->rcpt_count * sizeof *more);
        e->rcpts = more;
        s->rcpt_cap = cap;
    }
    e->rcpts[e->rcpt_count++] = s->rcpt;
    return true;
}

enum smtp_want smtp_server_after_rcpt(struct smtp_server *s) {
    enum smtp_reply_id id = s->answer.e == ERR_DENIED ? SMTP_R_RCPT_REFUSED : SMTP_R_RCPT_LATER;
    s->phase_ms = s->now_ms;
    if (s->answer.e) {
        s->rcpt_failed = true;
        smtp_server_say_no(s, id);
        return SMTP_GO_ON;
    }
    if (!add_rcpt(s))
        return refuse_rcpt(s, SMTP_R_MEMORY, STR_NONE);
    if (!s->envelope.rcpt_us)
        s->envelope.rcpt_us = smtp_server_time_us(s);
    s->state = SMTP_RCPT;
    return smtp_server_reply(s, SMTP_R_RCPT_OK);
}

/* ---- DATA, BDAT ---- */

static void start_message(struct smtp_server *s, enum smtp_data_kind kind) {
    smtp_data_init(&s->data, s->config->framing, kind);
    smtp_header_init(&s->header);
    s->size = 0;
    s->message_ms = s->phase_ms = s->now_ms;
    s->envelope.data_us = smtp_server_time_us(s);
    s->envelope.chunking = kind != SMTP_DATA_DOTS;
}

static enum smtp_want do_DATA(struct smtp_server *s, const struct smtp_cmd *cmd) {
    (void)cmd;
    if (s->binary)
        return smtp_server_reply(s, SMTP_R_BINARY_DATA);
    start_message(s, SMTP_DATA_DOTS);
    return SMTP_WANT_BEGIN;
}

static enum smtp_want do_BDAT(struct smtp_server *s, const struct smtp_cmd *cmd) {
    s->chunk.left = s->chunk.size = cmd->size;
    s->chunk.last = cmd->last;
    s->chunk.refused = SMTP_R_NONE;
    s->mode = SMTP_MODE_CHUNK;
    if (s->state == SMTP_CHUNK)
        return SMTP_GO_ON;
    start_message(s, s->binary ? SMTP_DATA_BINARY : SMTP_DATA_TEXT);
    s->state = SMTP_CHUNK;
    return SMTP_WANT_BEGIN;
}

/* A chunk that belongs to no message: its bytes come all the same, and must not be taken for commands. */
static enum smtp_want refuse_chunk(struct smtp_server *s, const struct smtp_cmd *cmd, enum smtp_reply_id why) {
    s->chunk.left = s->chunk.size = cmd->size;
    s->chunk.last = cmd->last;
    s->chunk.refused = why;
    s->mode = SMTP_MODE_CHUNK;
    s->message_ms = s->phase_ms = s->now_ms;
    return SMTP_GO_ON;
}

enum smtp_want smtp_server_after_begin(struct smtp_server *s) {
    bool chunk = s->mode == SMTP_MODE_CHUNK;
    s->phase_ms = s->now_ms;
    if (s->answer.e == OK) {
        s->begun = true;
        s->envelope.id = s->answer.text;
        assert(s->envelope.id.n || s->mail.full);
        if (s->mail.full)
            s->fault = SMTP_R_MEMORY;
    } else if (chunk) {
        s->fault = smtp_server_refusal(s->answer.e);
        s->fault_text = s->answer.text;
    } else {
        smtp_server_say_no(s, smtp_server_refusal(s->answer.e));
        s->refused_text = true;
        return SMTP_GO_ON;
    }
    if (chunk)
        return SMTP_GO_ON;
    s->mode = SMTP_MODE_DATA;
    return smtp_server_reply(s, SMTP_R_GO_AHEAD);
}

/* ---- the small ones ---- */

static enum smtp_want do_RSET(struct smtp_server *s, const struct smtp_cmd *cmd) {
    (void)cmd;
    smtp_server_say(s, SMTP_R_OK, STR_NONE);
    return smtp_server_reset(s);
}

static enum smtp_want do_NOOP(struct smtp_server *s, const struct smtp_cmd *cmd) {
    (void)cmd;
    return smtp_server_reply(s, SMTP_R_OK);
}

static enum smtp_want do_VRFY(struct smtp_server *s, const struct smtp_cmd *cmd) {
    (void)cmd;
    return smtp_server_reply(s, SMTP_R_VRFY);
}

static enum smtp_want do_EXPN(struct smtp_server *s, const struct smtp_cmd *cmd) {
    (void)cmd;
    return smtp_server_reply(s, SMTP_R_EXPN);
}

static bool is_of_protocol(const struct smtp_server *s, enum smtp_verb v) {
    if (v == SMTP_V_LHLO)
        return s->config->lmtp;
    if (v == SMTP_V_HELO || v == SMTP_V_EHLO)
        return !s->config->lmtp;
    return v != SMTP_V_XCLIENT || s->may_xclient;
}

static enum smtp_want do_HELP(struct smtp_server *s, const struct smtp_cmd *cmd) {
    for (enum smtp_verb v = SMTP_V_UNKNOWN + 1; v < SMTP_VERBS; v++)
        if (is_of_protocol(s, v) && (cmd->arg.n == 0 || str_ieq(cmd->arg, smtp_cmd_name(v))))
            smtp_server_say_text(s, 214, true, S("2.0.0"), smtp_cmd_syntax(v), STR_NONE);
    smtp_server_say_text(s, 214, false, S("2.0.0"), S("RFC 5321 has the rest"), STR_NONE);
    return SMTP_GO_ON;
}

static enum smtp_want do_QUIT(struct smtp_server *s, const struct smtp_cmd *cmd) {
    (void)cmd;
    smtp_server_say(s, SMTP_R_BYE, STR_NONE);
    smtp_server_end(s, "quit");
    return SMTP_GO_ON;
}

static enum smtp_want do_STARTTLS(struct smtp_server *s, const struct smtp_cmd *cmd) {
    (void)cmd;
    if (s->tls)
        return smtp_server_reply(s, SMTP_R_TLS_ALREADY);
    if (s->config->tls != SMTP_TLS_STARTTLS)
        return smtp_server_reply(s, SMTP_R_TLS_NOT_OFFERED);
    smtp_server_say(s, SMTP_R_TLS_GO, STR_NONE);
    s->mode = SMTP_MODE_TLS;
    return SMTP_WANT_STARTTLS;
}

/* ---- AUTH, RFC 4954 ---- */

/* The word of the list that it is: it lives as long as the config. */
static str offered_mechanism(const struct smtp_server *s, str name) {
    str list = mechanisms(s), word;
    while (str_word(&list, &word))
        if (str_ieq(word, name))
            return word;
    return STR_NONE;
}

static enum smtp_want ask_auth(struct smtp_server *s, str base64, bool first, bool has_response) {
    buf_reset(&s->sasl);
    s->auth.first = first;
    s->auth.has_response = has_response;
    bool empty = first && str_eq(base64, S("="));
    if (has_response && !empty && !base64_decode(base64, &s->sasl)) {
        s->mode = SMTP_MODE_COMMAND;
        buf_free(&s->sasl);
        return smtp_server_reply(s, SMTP_R_AUTH_BASE64);
    }
    s->auth.response = buf_str(&s->sasl);
    return SMTP_WANT_AUTH;
}

static enum smtp_want do_AUTH(struct smtp_server *s, const struct smtp_cmd *cmd) {
    const struct smtp_config *c = s->config;
    if (s->authenticated)
        return smtp_server_reply(s, SMTP_R_AUTH_ALREADY);
    bool later = c->auth != SMTP_AUTH_NONE && c->tls == SMTP_TLS_STARTTLS && !s->tls && !c->mechanisms_plain.n;
    if (later)
        return smtp_server_reply(s, SMTP_R_TLS_FIRST);
    if (mechanisms(s).n == 0)
        return smtp_server_reply(s, SMTP_R_AUTH_NOT_OFFERED);
    s->auth.mechanism = offered_mechanism(s, cmd->arg);
    if (s->auth.mechanism.n == 0)
        return smtp_server_reply(s, SMTP_R_AUTH_MECHANISM);
    return ask_auth(s, cmd->initial, true, cmd->has_initial);
}

enum smtp_want smtp_server_auth_line(struct smtp_server *s, str line) {
    bool cancelled = str_eq(line, S("*"));
    smtp_transcript_line(&s->transcript, s->now_ms - s->start_ms, 'C', cancelled ? line : S("********"));
    s->mode = SMTP_MODE_COMMAND;
    return cancelled ? smtp_server_reply(s, SMTP_R_AUTH_CANCELLED) : ask_auth(s, line, false, true);
}

static void say_challenge(struct smtp_server *s) {
    struct buf text = BUF(AUTH_TEXT_MAX);
    base64_encode(buf_str(&s->sasl), &text);
    smtp_server_say_text(s, 334, false, STR_NONE, buf_str(&text), STR_NONE);
    buf_free(&text);
}

enum smtp_want smtp_server_after_auth(struct smtp_server *s) {
    static const enum smtp_reply_id failures[] = {
        [SMTP_AUTH_MALFORMED] = SMTP_R_AUTH_MALFORMED,
        [SMTP_AUTH_TOO_LONG] = SMTP_R_AUTH_LONG,
        [SMTP_AUTH_BAD] = SMTP_R_AUTH_BAD,
        [SMTP_AUTH_UNAVAILABLE] = SMTP_R_AUTH_LATER,
    };
    s->phase_ms = s->now_ms;
    if (s->answer.e == ERR_MORE) {
        say_challenge(s);
        s->mode = SMTP_MODE_AUTH;
        return SMTP_GO_ON;
    }
    if (s->sasl.n)
        explicit_bzero(s->sasl.p, s->sasl.n);
    buf_free(&s->sasl);
    s->mode = SMTP_MODE_COMMAND;
    if (s->answer.e)
        return smtp_server_reply(s, failures[s->auth_failure]);
    s->authenticated = true;
    return smtp_server_reply(s, SMTP_R_AUTH_OK);
}

/* ---- XCLIENT, as Postfix defined it ---- */

struct xclient {
    str addr, port, helo, login, proto, destaddr, destport, name;
};

static str *xclient_attribute(struct xclient *x, str name) {
    const struct {
        str name;
        str *value;
    } rows[] = {{S("ADDR"), &x->addr},         {S("PORT"), &x->port},   {S("HELO"), &x->helo},
                {S("LOGIN"), &x->login},       {S("PROTO"), &x->proto}, {S("DESTADDR"), &x->destaddr},
                {S("DESTPORT"), &x->destport}, {S("NAME"), &x->name}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (str_ieq(name, rows[i].name))
            return rows[i].value;
    return NULL;
}

static bool xclient_take(struct smtp_server *s, str word, struct xclient *x) {
    char space[512];
    struct buf value = {.p = space, .cap = sizeof space, .limit = sizeof space};
    str name;
    if (!str_cut(&word, '=', &name))
        return false;
    str *slot = xclient_attribute(x, name);
    if (!slot || slot->p || !smtp_xtext_decode(word, &value) || value.full)
        return false;
    str v = buf_str(&value);
    bool unknown = str_ieq(v, S("[UNAVAILABLE]")) || str_ieq(v, S("[TEMPUNAVAIL]"));
    *slot = unknown ? S("") : arena_str(&s->session, v);
    return slot->p != NULL;
}

static bool xclient_address(str v, str *address) {
    str_iskip(&v, S("IPV6:"));
    if (v.n && !smtp_ip_valid(v))
        return false;
    *address = v;
    return true;
}

static bool xclient_port(str v, uint64_t *port) {
    *port = 0;
    return v.n == 0 || (str_u64(v, port) && *port <= UINT16_MAX);
}

/* The values take effect only when all are good. */
static bool xclient_apply(struct smtp_server *s, const struct xclient *x) {
    struct envelope e = s->envelope;
    if (x->addr.p && (!xclient_address(x->addr, &e.client_address) || !x->addr.n))
        return false;
    if (x->destaddr.p && !xclient_address(x->destaddr, &e.server_address))
        return false;
    if ((x->port.p && !xclient_port(x->port, &e.client_port)) ||
        (x->destport.p && !xclient_port(x->destport, &e.server_port)))
        return false;
    if (x->addr.p && !e.proxy_address.n)
        e.proxy_address = s->envelope.client_address;
    e.xclient = 1;
    if (x->login.p)
        e.auth_user = x->login;
    s->envelope = e;
    s->authenticated = x->login.p ? x->login.n > 0 : s->authenticated;
    return true;
}

static enum smtp_want do_XCLIENT(struct smtp_server *s, const struct smtp_cmd *cmd) {
    struct xclient x = {0};
    str rest = cmd->arg, word;
    if (!s->may_xclient)
        return smtp_server_reply(s, SMTP_R_XCLIENT_DENIED);
    while (str_word(&rest, &word))
        if (!xclient_take(s, word, &x))
            return smtp_server_say(s, SMTP_R_XCLIENT_SYNTAX, word), SMTP_GO_ON;
    if (!xclient_apply(s, &x))
        return smtp_server_reply(s, SMTP_R_XCLIENT_SYNTAX);
    smtp_server_reset(s);
    buf_reset(&s->helo);
    buf_add(&s->helo, str_head(x.helo, SMTP_DOMAIN_MAX));
    s->envelope.helo = buf_str(&s->helo);
    smtp_server_greet(s);
    return SMTP_GO_ON;
}

/* ---- one line ---- */

typedef enum smtp_want verb_handler(struct smtp_server *s, const struct smtp_cmd *cmd);
static verb_handler *const handlers[SMTP_VERBS] = {
#define VERB(NAME, argument, states, syntax) [SMTP_V_##NAME] = do_##NAME,
#include "smtp/smtp_cmd.def"
#undef VERB
};

/* Credentials are not shown, nor what might be some: lines that follow an AUTH which was refused. */
static void note_command(struct smtp_server *s, const struct smtp_cmd *cmd, str line) {
    char space[80];
    struct buf b = {.p = space, .cap = sizeof space, .limit = sizeof space};
    bool secret = s->refused_auth && cmd->verb == SMTP_V_UNKNOWN;
    if (cmd->verb == SMTP_V_AUTH && (cmd->has_initial || cmd->arg.n == 0)) {
        buf_printf(&b, "AUTH %.*s ********", STR_ARG(str_head(cmd->arg, 40)));
        line = buf_str(&b);
    } else if (secret) {
        line = S("********");
    }
    smtp_transcript_line(&s->transcript, s->now_ms - s->start_ms, 'C', line);
}

static enum smtp_want unknown_command(struct smtp_server *s, enum err e) {
    if (e == ERR_UNSUPPORTED) {
        s->attack = true;
        return smtp_server_refuse(s, SMTP_R_HTTP, "HTTP"), SMTP_GO_ON;
    }
    if (s->refused_text) {
        s->attack = true;
        return smtp_server_refuse(s, SMTP_R_TEXT_AS_COMMANDS, "message text as commands"), SMTP_GO_ON;
    }
    return smtp_server_reply(s, SMTP_R_UNKNOWN);
}

static enum smtp_want bad_argument(struct smtp_server *s, const struct smtp_cmd *cmd) {
    if (cmd->verb == SMTP_V_MAIL && cmd->fault)
        smtp_server_say(s, SMTP_R_BAD_SENDER, str_of(smtp_path_fault_text(cmd->fault)));
    else if (cmd->verb == SMTP_V_RCPT && cmd->fault)
        return refuse_rcpt(s, SMTP_R_BAD_RCPT, str_of(smtp_path_fault_text(cmd->fault)));
    else
        smtp_server_say(s, SMTP_R_SYNTAX, smtp_cmd_syntax(cmd->verb));
    return SMTP_GO_ON;
}

static enum smtp_want refuse_command(struct smtp_server *s, const struct smtp_cmd *cmd, enum smtp_reply_id why) {
    if (cmd->verb == SMTP_V_BDAT)
        return refuse_chunk(s, cmd, why);
    s->refused_text = cmd->verb == SMTP_V_DATA;
    return smtp_server_reply(s, why);
}

enum smtp_want smtp_server_command(struct smtp_server *s, str line) {
    struct smtp_cmd cmd;
    enum err e = smtp_cmd_parse(line, &cmd);
    note_command(s, &cmd, line);
    if (e == ERR_NOT_FOUND || e == ERR_UNSUPPORTED)
        return unknown_command(s, e);
    s->refused_text = s->refused_auth = false;
    if (cmd.verb == SMTP_V_BDAT && e) {
        s->attack = true;
        return smtp_server_refuse(s, SMTP_R_BDAT_SYNTAX, "bad BDAT"), SMTP_GO_ON;
    }
    enum smtp_reply_id why = gate(s, cmd.verb);
    if (why)
        return refuse_command(s, &cmd, why);
    if (e)
        return bad_argument(s, &cmd);
    enum smtp_want want = handlers[cmd.verb](s, &cmd);
    s->refused_auth = cmd.verb == SMTP_V_AUTH && want == SMTP_GO_ON;
    if (cmd.verb == SMTP_V_DATA && want == SMTP_GO_ON)
        s->refused_text = true;
    return want;
}
