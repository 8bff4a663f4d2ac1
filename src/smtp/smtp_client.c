#include "smtp/smtp_client.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/code.h"

enum state {
    S_GREETING,
    S_EHLO,
    S_HELO,
    S_STARTTLS,
    S_HANDSHAKE,
    S_AUTH,
    S_READY,
    S_MAIL,
    S_BODY,
    S_HELD,
    S_FINAL,
    S_RSET,
    S_QUIT,
    S_END,
    STATES
};

enum {
    OUT_MAX = 4 * SMTP_CLIENT_BODY_MAX, /* a piece of the body may double, and stands behind another */
    GROUP_BYTES = 16384,                /* pipelined commands wait from here on until some are written */
    TRANSCRIPT_MAX = 262144,
    ADDRESS_MAX = 1024,
    PARAMS_MAX = 1024,
    CHUNKED_MIN = 65536, /* smaller messages gain nothing from BDAT */
    INITIAL_MAX =
        480, /* longer initial responses wait for the first challenge: RFC 4954 section 4, RFC 5321 4.5.3.1.4 */
};

#define SECONDS(n) ((n)*INT64_C(1000))

/* RFC 5321 4.5.3.2; what it does not name is ours. */
static const int64_t timeouts[STATES] = {
    [S_GREETING] = SECONDS(300), [S_EHLO] = SECONDS(300),  [S_HELO] = SECONDS(300), [S_STARTTLS] = SECONDS(120),
    [S_HANDSHAKE] = SECONDS(60), [S_AUTH] = SECONDS(300),  [S_MAIL] = SECONDS(300), [S_BODY] = SECONDS(180),
    [S_HELD] = SECONDS(120),     [S_FINAL] = SECONDS(600), [S_RSET] = SECONDS(60),  [S_QUIT] = SECONDS(10),
};

static const char *const awaited[STATES] = {
    [S_GREETING] = "the greeting",
    [S_EHLO] = "the answer to EHLO",
    [S_HELO] = "the answer to HELO",
    [S_STARTTLS] = "the answer to STARTTLS",
    [S_HANDSHAKE] = "the TLS handshake",
    [S_AUTH] = "the answer to AUTH",
    [S_READY] = "nothing",
    [S_MAIL] = "the answers to MAIL, RCPT and DATA",
    [S_BODY] = "the server to read",
    [S_HELD] = "leave to end the message",
    [S_FINAL] = "the answer to the message",
    [S_RSET] = "the answer to RSET",
    [S_QUIT] = "the answer to QUIT",
    [S_END] = "nothing",
};

static void check_invariants(const struct smtp_client *c) {
    assert(c->state < STATES);
    assert(c->state >= S_MAIL && c->state <= S_FINAL ? c->mail != NULL || c->failed : true);
    assert(c->answered <= c->sent);
    assert(!c->mail || c->sent <= c->mail->rcpt_count + 2);
    assert(!c->failed || c->failure.trouble != SMTP_CLIENT_FINE);
}

static void enter(struct smtp_client *c, enum state state) {
    c->state = state;
    c->phase_new = true;
}

/* ---- the transcript ---- */

static void note(struct smtp_client *c, const char *direction, str line) {
    if (!c->config.transcript)
        return;
    buf_add(&c->transcript, str_of(direction));
    buf_add(&c->transcript, line);
    buf_char(&c->transcript, '\n');
}

static void note_reply(struct smtp_client *c) {
    str text = buf_str(&c->reply.text);
    for (unsigned i = 1; c->config.transcript && i <= c->reply.lines; i++) {
        str line = text;
        (void)str_cut(&text, '\n', &line);
        buf_printf(&c->transcript, "< %u%c", c->reply.code, i < c->reply.lines ? '-' : ' ');
        note(c, "", line);
    }
}

static void command(struct smtp_client *c, str line) {
    buf_add(&c->out, line);
    buf_add(&c->out, S("\r\n"));
    note(c, "> ", line);
}

/* ---- outcomes ---- */

/* A code that nobody has heard of means what its first digit does (RFC 5321 4.2.1 and 4.3.2). */
static bool positive(unsigned code) {
    return code >= 200 && code < 300;
}

static bool intermediate(unsigned code) {
    return code >= 300 && code < 400;
}

static enum smtp_client_outcome outcome_of(unsigned code) {
    return code < 300 ? SMTP_CLIENT_DELIVERED : code < 500 ? SMTP_CLIENT_DEFERRED : SMTP_CLIENT_REFUSED;
}

static void decide(struct smtp_client *c, struct smtp_client_rcpt *r, enum smtp_client_outcome o, unsigned code,
                   str text) {
    r->outcome = o;
    r->code = code;
    r->text = arena_str(c->mail->mem, text);
    c->mail->delivered += o == SMTP_CLIENT_DELIVERED;
    c->mail->refused += o == SMTP_CLIENT_REFUSED;
}

static void decide_all(struct smtp_client *c, enum smtp_client_outcome from, enum smtp_client_outcome to, unsigned code,
                       str text) {
    for (size_t i = 0; i < c->mail->rcpt_count; i++)
        if (c->mail->rcpts[i].outcome == from)
            decide(c, &c->mail->rcpts[i], to, code, text);
}

/* ---- the end, for a bad reason ---- */

static void fail(struct smtp_client *c, enum smtp_client_trouble trouble, unsigned code, const char *sentence,
                 str detail) {
    if (c->failed)
        return;
    c->failed = true;
    c->failure.trouble = trouble;
    c->failure.code = code;
    (void)why(&c->failure.why, OK, "%s%s%.*s", sentence, detail.n ? ": " : "", (int)(detail.n > 300 ? 300 : detail.n),
              detail.p ? detail.p : "");
    if (!c->mail)
        return;
    /* Once the message is out the server may have it: nobody knows, unless it said no. */
    bool unknown = c->state == S_FINAL && trouble != SMTP_CLIENT_SAID_NO;
    str text = str_of(c->failure.why.text);
    decide_all(c, SMTP_CLIENT_ACCEPTED, unknown ? SMTP_CLIENT_UNKNOWN : SMTP_CLIENT_DEFERRED, code, text);
    decide_all(c, SMTP_CLIENT_PENDING, SMTP_CLIENT_DEFERRED, code, text);
    c->mail = NULL;
}

static void fail_reply(struct smtp_client *c, enum smtp_client_trouble trouble, const char *sentence) {
    fail(c, trouble, c->reply.code, sentence, buf_str(&c->reply.text));
}

static void fail_awaiting(struct smtp_client *c, enum smtp_client_trouble trouble, const char *sentence) {
    char text[128];
    struct buf b = {.p = text, .cap = sizeof text, .limit = sizeof text};
    buf_printf(&b, "%s, awaiting %s", sentence, awaited[c->state]);
    fail(c, trouble, 0, buf_cstr(&b), STR_NONE);
}

static void unexpected(struct smtp_client *c) {
    fail_reply(c, SMTP_CLIENT_PROTOCOL, "a reply that makes no sense here");
}

/* ---- EHLO ---- */

static const struct {
    str keyword;
    unsigned offer;
} keywords[] = {
    {S_INIT("PIPELINING"), SMTP_OFFERS_PIPELINING},
    {S_INIT("SIZE"), SMTP_OFFERS_SIZE},
    {S_INIT("8BITMIME"), SMTP_OFFERS_8BITMIME},
    {S_INIT("SMTPUTF8"), SMTP_OFFERS_SMTPUTF8},
    {S_INIT("STARTTLS"), SMTP_OFFERS_STARTTLS},
    {S_INIT("DSN"), SMTP_OFFERS_DSN},
    {S_INIT("CHUNKING"), SMTP_OFFERS_CHUNKING},
    {S_INIT("REQUIRETLS"), SMTP_OFFERS_REQUIRETLS},
    {S_INIT("ENHANCEDSTATUSCODES"), SMTP_OFFERS_ENHANCEDSTATUSCODES},
    {S_INIT("BINARYMIME"), SMTP_OFFERS_BINARYMIME},
    {S_INIT("MT-PRIORITY"), SMTP_OFFERS_PRIORITY},
};

/* RFC 9422; what is no number says nothing. */
static void offer_limits(struct smtp_client *c, str words) {
    for (str word; str_word(&words, &word);) {
        uint64_t n;
        if (str_iskip(&word, S("MAILMAX=")) && str_u64(word, &n))
            c->mail_max = n;
        else if (str_iskip(&word, S("RCPTMAX=")) && str_u64(word, &n))
            c->rcpt_max = n;
    }
}

static void offer_mechanisms(struct smtp_client *c, str names) {
    for (str name; str_word(&names, &name);) {
        const struct sasl_mechanism *m = sasl_mechanism_find(name);
        if (m)
            c->mechanisms |= 1u << m->id;
    }
}

static void offer(struct smtp_client *c, str line) {
    str keyword;
    if (str_iskip(&line, S("AUTH ")) || str_iskip(&line, S("AUTH="))) { /* the second: servers from before RFC 2554 */
        offer_mechanisms(c, line);
        return;
    }
    if (!str_word(&line, &keyword))
        return;
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (str_ieq(keyword, keywords[i].keyword))
            c->offers |= keywords[i].offer;
    if (str_ieq(keyword, S("LIMITS")))
        offer_limits(c, line);
    if (str_ieq(keyword, S("SIZE")) && !str_u64(str_trim(line), &c->size_max))
        c->size_max = 0;
}

/* Everything said before TLS is forgotten (RFC 3207 4.2). */
static void hello(struct smtp_client *c, const char *verb, enum state state) {
    char line[300];
    struct buf b = {.p = line, .cap = sizeof line, .limit = sizeof line};
    c->offers = c->mechanisms = 0;
    c->size_max = c->mail_max = c->rcpt_max = 0;
    buf_printf(&b, "%s %.*s", verb, STR_ARG(c->config.helo));
    command(c, buf_str(&b));
    enter(c, state);
}

static void greet(struct smtp_client *c) {
    hello(c, c->config.lmtp ? "LHLO" : "EHLO", S_EHLO);
}

/* ---- AUTH, RFC 4954 ---- */

static bool mechanism_fits(const struct smtp_client *c, const struct sasl_mechanism *m) {
    if (!(c->mechanisms & 1u << m->id))
        return false;
    if (c->config.mechanism)
        return c->config.mechanism == m;
    return !(m->flags & SASL_F_TOKEN) && (c->config.binding.n > 0 || !(m->flags & SASL_F_BINDING));
}

static const struct sasl_mechanism *choose_mechanism(struct smtp_client *c) {
    bool shown = false;
    for (size_t i = 0; i < SASL_COUNT; i++) {
        const struct sasl_mechanism *m = &sasl_mechanisms[i];
        if (!mechanism_fits(c, m))
            continue;
        if (!(m->flags & SASL_F_PLAINTEXT) || c->tls || c->config.secret_in_clear)
            return m;
        shown = true;
    }
    if (shown)
        fail(c, SMTP_CLIENT_NO_AUTH, 0, "the server offers only AUTH that shows the password, and there is no TLS",
             STR_NONE);
    else if (c->mechanisms == 0)
        fail(c, SMTP_CLIENT_NO_AUTH, 0, "the server does not offer AUTH", STR_NONE);
    else
        fail(c, SMTP_CLIENT_NO_AUTH, 0, "the server does not offer a fitting AUTH mechanism", STR_NONE);
    return NULL;
}

static void auth_response(struct smtp_client *c, const char *before) {
    buf_add(&c->out, str_of(before));
    base64_encode(buf_str(&c->sasl.response), &c->out);
    buf_add(&c->out, S("\r\n"));
}

static void auth_begin(struct smtp_client *c) {
    char line[64];
    struct buf b = {.p = line, .cap = sizeof line, .limit = sizeof line};
    struct sasl_account account = {c->config.user, c->config.secret, c->config.host, c->config.port, c->config.binding};
    const struct sasl_mechanism *m = choose_mechanism(c);
    if (!m)
        return;
    if (!sasl_client_start(&c->sasl, m, &account)) {
        fail(c, SMTP_CLIENT_NO_AUTH, 0, c->sasl.problem ? c->sasl.problem : "AUTH cannot begin", STR_NONE);
        return;
    }
    enter(c, S_AUTH);
    buf_printf(&b, "AUTH %.*s", STR_ARG(m->name));
    c->sasl_first = c->sasl.initial && c->sasl.response.n * 4 / 3 > INITIAL_MAX;
    if (!c->sasl.initial || c->sasl_first) {
        command(c, buf_str(&b));
        return;
    }
    buf_add(&c->out, buf_str(&b));
    auth_response(c, c->sasl.response.n ? " " : " =");
    buf_add(&b, S(" ****"));
    note(c, "> ", buf_str(&b));
}

static void auth_challenge(struct smtp_client *c) {
    struct buf decoded = BUF(SASL_MESSAGE_MAX);
    bool good = base64_decode(str_trim(buf_str(&c->reply.text)), &decoded) && !decoded.full;
    if (!good)
        fail(c, SMTP_CLIENT_PROTOCOL, c->reply.code, "a challenge that is not base64", STR_NONE);
    else if (!c->sasl_first && !sasl_client_step(&c->sasl, buf_str(&decoded)))
        fail(c, SMTP_CLIENT_PROTOCOL, c->reply.code, c->sasl.problem, STR_NONE);
    else {
        c->sasl_first = false;
        auth_response(c, "");
        note(c, "> ", S("****"));
        c->phase_new = true;
    }
    buf_free(&decoded);
}

static void on_auth(struct smtp_client *c) {
    if (intermediate(c->reply.code)) {
        auth_challenge(c);
        return;
    }
    if (!positive(c->reply.code)) {
        fail_reply(c, SMTP_CLIENT_AUTH_REFUSED, "AUTH was refused");
        return;
    }
    if (!sasl_client_accept(&c->sasl)) {
        fail(c, SMTP_CLIENT_PROTOCOL, c->reply.code, c->sasl.problem, STR_NONE);
        return;
    }
    sasl_client_end(&c->sasl);
    enter(c, S_READY);
}

/* ---- before the first mail ---- */

static void after_hello(struct smtp_client *c) {
    enum smtp_client_tls want = c->config.tls;
    bool starttls = !c->tls && (want == SMTP_CLIENT_TLS_IF_OFFERED || want == SMTP_CLIENT_TLS_REQUIRED);
    if (starttls && (c->offers & SMTP_OFFERS_STARTTLS)) {
        command(c, S("STARTTLS"));
        enter(c, S_STARTTLS);
    } else if (!c->tls && want == SMTP_CLIENT_TLS_REQUIRED) {
        fail(c, SMTP_CLIENT_NO_TLS, 0, "the server does not offer STARTTLS", STR_NONE);
    } else if (c->config.user.n) {
        auth_begin(c);
    } else {
        enter(c, S_READY);
    }
}

static void on_greeting(struct smtp_client *c) {
    if (c->reply.code == 220)
        greet(c);
    else if (c->reply.code >= 400)
        fail_reply(c, SMTP_CLIENT_SAID_NO, "the server greets with a refusal");
    else
        unexpected(c);
}

static void on_ehlo(struct smtp_client *c) {
    str text = buf_str(&c->reply.text), line;
    if (c->reply.code >= 500 && !c->config.lmtp) { /* RFC 5321 3.2 */
        hello(c, "HELO", S_HELO);
        return;
    }
    if (!positive(c->reply.code)) {
        c->reply.code >= 400 ? fail_reply(c, SMTP_CLIENT_SAID_NO, "the server refuses our name") : unexpected(c);
        return;
    }
    for (bool first = true; text.n > 0; first = false) {
        line = text;
        if (!str_cut(&text, '\n', &line))
            text = STR_NONE;
        if (!first) /* the first line is the server's name */
            offer(c, str_trim(line));
    }
    after_hello(c);
}

static void on_helo(struct smtp_client *c) {
    if (positive(c->reply.code))
        after_hello(c);
    else if (c->reply.code >= 400)
        fail_reply(c, SMTP_CLIENT_SAID_NO, "the server refuses our name");
    else
        unexpected(c);
}

static void on_starttls(struct smtp_client *c) {
    if (positive(c->reply.code)) {
        enter(c, S_HANDSHAKE);
    } else if (c->reply.code < 400) {
        unexpected(c);
    } else if (c->config.tls == SMTP_CLIENT_TLS_REQUIRED) {
        fail_reply(c, SMTP_CLIENT_NO_TLS, "STARTTLS was refused");
    } else {
        c->config.tls = SMTP_CLIENT_TLS_NONE;
        after_hello(c);
    }
}

/* ---- a mail ---- */

static bool has_param(str params, str keyword) {
    for (str word; str_word(&params, &word);)
        if (str_istarts(word, keyword) && (word.n == keyword.n || word.p[keyword.n] == '='))
            return true;
    return false;
}

static bool takes_utf8(const struct smtp_client *c) {
    return c->offers & SMTP_OFFERS_SMTPUTF8;
}

/* The form in which an address goes to this server; false: it has none. */
static bool address_form(const struct smtp_client *c, str *address, str ascii) {
    if (takes_utf8(c) || utf8_is_ascii(*address))
        return true;
    *address = ascii;
    return c->config.relay && ascii.n > 0;
}

static bool mail_is_utf8(const struct smtp_client_mail *mail) {
    bool ascii = utf8_is_ascii(mail->sender) && !mail->utf8;
    for (size_t i = 0; ascii && i < mail->rcpt_count; i++)
        ascii = utf8_is_ascii(mail->rcpts[i].address);
    return !ascii;
}

/* Of a mail that is passed on. */
static const struct {
    str keyword;
    unsigned offer;
} passed[] = {
    {S_INIT("RET"), SMTP_OFFERS_DSN},
    {S_INIT("ENVID"), SMTP_OFFERS_DSN},
    {S_INIT("NOTIFY"), SMTP_OFFERS_DSN},
    {S_INIT("ORCPT"), SMTP_OFFERS_DSN},
    {S_INIT("MT-PRIORITY"), SMTP_OFFERS_PRIORITY},
};

static bool passes(const struct smtp_client *c, str param) {
    str keyword = str_head(param, str_find(param, '='));
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
        if (str_ieq(keyword, passed[i].keyword))
            return (c->offers & passed[i].offer) != 0;
    return false;
}

/* Of ORCPT=utf-8;… (RFC 6533 section 3): \x{FC} for a character that the server does not take. */
static void put_embedded(struct buf *b, str word) {
    while (word.n) {
        uint32_t code;
        size_t n = utf8_char(word, &code);
        if (n > 1)
            buf_printf(b, "\\x{%X}", code);
        else
            buf_char(b, (unsigned char)word.p[0] < 128 ? word.p[0] : '?');
        word = str_tail(word, n ? n : 1);
    }
}

static void put_params(const struct smtp_client *c, struct buf *b, str params) {
    if (params.n && !c->config.relay)
        buf_printf(b, " %.*s", STR_ARG(params));
    for (str word; c->config.relay && str_word(&params, &word);) {
        if (!passes(c, word))
            continue;
        buf_char(b, ' ');
        takes_utf8(c) ? buf_add(b, word) : put_embedded(b, word);
    }
}

/* Said by us, unless the caller says it himself. */
static bool ours(const struct smtp_client *c, str keyword) {
    return c->config.relay || !has_param(c->mail->params, keyword);
}

static str body_type(const struct smtp_client *c) {
    const struct smtp_client_mail *m = c->mail;
    if ((m->convert & SMTP_CLIENT_CONVERT_BODY) || !ours(c, S("BODY")))
        return STR_NONE;
    if (m->binary && (c->offers & SMTP_OFFERS_BINARYMIME))
        return S(" BODY=BINARYMIME");
    /* Without 8BITMIME the message goes as it is when no relay is at work (RFC 6152 section 3 would have it bounced):
     * servers that damage the eighth bit have died out, servers that do not say so have not. */
    return m->eight_bit && (c->offers & SMTP_OFFERS_8BITMIME) ? S(" BODY=8BITMIME") : STR_NONE;
}

/* The line of a command goes straight to the output, and from there into the transcript. */
static void end_command(struct smtp_client *c, size_t from) {
    str line = str_tail(buf_str(&c->out), from);
    note(c, "> ", line);
    buf_add(&c->out, S("\r\n"));
}

static void put_mail(struct smtp_client *c) {
    const struct smtp_client_mail *m = c->mail;
    struct buf *b = &c->out;
    size_t from = b->n;
    str sender = m->sender;
    (void)address_form(c, &sender, m->sender_ascii);
    buf_printf(b, "MAIL FROM:<%.*s>", STR_ARG(sender));
    if (m->size && !m->convert && (c->offers & SMTP_OFFERS_SIZE) && ours(c, S("SIZE")))
        buf_printf(b, " SIZE=%" PRIu64, m->size);
    buf_add(b, body_type(c));
    if (takes_utf8(c) && mail_is_utf8(m) && ours(c, S("SMTPUTF8")))
        buf_add(b, S(" SMTPUTF8"));
    if (m->require_tls && ours(c, S("REQUIRETLS")))
        buf_add(b, S(" REQUIRETLS"));
    put_params(c, b, m->params);
    end_command(c, from);
}

static bool wants_success(str params) {
    for (str word; str_word(&params, &word);)
        if (str_iskip(&word, S("NOTIFY=")) && str_ifind_str(word, S("SUCCESS")) != SIZE_MAX)
            return true;
    return false;
}

static void put_rcpt(struct smtp_client *c, struct smtp_client_rcpt *r) {
    size_t from = c->out.n;
    r->unreported = c->config.relay && !(c->offers & SMTP_OFFERS_DSN) && wants_success(r->params);
    str address = r->address;
    (void)address_form(c, &address, r->ascii);
    buf_printf(&c->out, "RCPT TO:<%.*s>", STR_ARG(address));
    put_params(c, &c->out, r->params);
    end_command(c, from);
}

static bool pipelining(const struct smtp_client *c) {
    return (c->offers & SMTP_OFFERS_PIPELINING) && !c->config.no_pipelining;
}

/* Nothing more of the group is worth sending. */
static bool group_over(const struct smtp_client *c) {
    if (c->mail_refused || c->sent == c->rcpts + (c->chunking ? 1 : 2))
        return true;
    return c->answered == c->rcpts + 1 && c->mail->accepted == 0;
}

static void put_group(struct smtp_client *c) {
    size_t rcpts = c->rcpts;
    while (!group_over(c) && (pipelining(c) ? c->out.n < GROUP_BYTES : c->sent == c->answered)) {
        if (c->sent == 0)
            put_mail(c);
        else if (c->sent <= rcpts)
            put_rcpt(c, &c->mail->rcpts[c->sent - 1]);
        else
            command(c, S("DATA"));
        c->sent++;
    }
}

/* The mail is through.  A transaction that the server holds half open is taken back first. */
static void mail_over(struct smtp_client *c, bool open) {
    c->mail = NULL;
    c->sent = c->answered = c->chunks = 0;
    if (open)
        command(c, S("RSET"));
    enter(c, open ? S_RSET : S_READY);
}

static void on_mail_answer(struct smtp_client *c) {
    if (c->reply.code < 300)
        return;
    c->mail_refused = true;
    decide_all(c, SMTP_CLIENT_PENDING, outcome_of(c->reply.code), c->reply.code, buf_str(&c->reply.text));
}

static void on_rcpt_answer(struct smtp_client *c, struct smtp_client_rcpt *r) {
    unsigned code = c->reply.code;
    if (r->outcome != SMTP_CLIENT_PENDING) /* MAIL was refused, and that was said */
        return;
    if (code < 300) {
        r->outcome = SMTP_CLIENT_ACCEPTED;
        c->mail->accepted++;
        return;
    }
    /* 552 here is what old servers say for too many recipients (RFC 5321 4.5.3.1.10) */
    decide(c, r, code == 552 ? SMTP_CLIENT_DEFERRED : outcome_of(code), code, buf_str(&c->reply.text));
}

static void begin_body(struct smtp_client *c) {
    enter(c, S_BODY);
    c->body_sent = 0;
    c->line_start = true;
    c->after_cr = false;
}

static void on_data_answer(struct smtp_client *c) {
    unsigned code = c->reply.code;
    if (intermediate(code)) {
        begin_body(c);
        if (c->mail->accepted == 0) { /* sent along before that was known: an empty message for nobody, RFC 2920 3.1 */
            command(c, S("."));
            enter(c, S_FINAL);
        }
    } else if (code < 400) {
        unexpected(c);
    } else {
        decide_all(c, SMTP_CLIENT_ACCEPTED, outcome_of(code), code, buf_str(&c->reply.text));
        mail_over(c, !c->mail_refused);
    }
}

static void on_mail(struct smtp_client *c) {
    size_t at = c->answered, rcpts = c->rcpts;
    if (at >= c->sent) {
        unexpected(c);
        return;
    }
    if (intermediate(c->reply.code) && at <= rcpts) {
        unexpected(c);
        return;
    }
    c->answered++;
    c->phase_new = true;
    if (at == 0)
        on_mail_answer(c);
    else if (at <= rcpts)
        on_rcpt_answer(c, &c->mail->rcpts[at - 1]);
    else {
        on_data_answer(c);
        return;
    }
    if (c->answered < c->sent || !group_over(c))
        return;
    if (c->chunking && c->mail->accepted > 0)
        begin_body(c);
    else
        mail_over(c, !c->mail_refused);
}

/* A chunk was refused, and with it the mail (RFC 3030 section 2): the answers to what is on its way are of no use. */
static void refused_chunk(struct smtp_client *c, size_t stale) {
    decide_all(c, SMTP_CLIENT_ACCEPTED, outcome_of(c->reply.code), c->reply.code, buf_str(&c->reply.text));
    mail_over(c, true);
    c->stale = stale;
}

/* The server spoke before we were through: a refusal is a refusal, but the rest of the message would be read as
 * commands. */
static void on_body(struct smtp_client *c) {
    if (c->chunks > 0 && positive(c->reply.code)) {
        c->chunks--;
        c->phase_new = true;
        return;
    }
    if (c->chunks > 0 && c->reply.code >= 400) {
        refused_chunk(c, c->chunks - 1);
        return;
    }
    if (c->reply.code < 400) {
        unexpected(c);
        return;
    }
    decide_all(c, SMTP_CLIENT_ACCEPTED, outcome_of(c->reply.code), c->reply.code, buf_str(&c->reply.text));
    fail_reply(c, SMTP_CLIENT_SAID_NO, "the server refused in the middle of the message");
}

static void on_final(struct smtp_client *c) {
    unsigned code = c->reply.code;
    str text = buf_str(&c->reply.text);
    struct smtp_client_mail *m = c->mail;
    if (intermediate(code)) {
        unexpected(c);
        return;
    }
    if (c->chunks > 0 && code >= 400) {
        refused_chunk(c, c->chunks);
        return;
    }
    if (c->chunks > 0) {
        c->chunks--;
        c->phase_new = true;
        return;
    }
    if (!c->config.lmtp || m->accepted == 0) {
        decide_all(c, SMTP_CLIENT_ACCEPTED, outcome_of(code), code, text);
        mail_over(c, false);
        return;
    }
    /* RFC 2033 4.2: one reply for each recipient that was accepted, in their order */
    while (m->rcpts[c->final].outcome != SMTP_CLIENT_ACCEPTED)
        c->final++;
    decide(c, &m->rcpts[c->final++], outcome_of(code), code, text);
    c->phase_new = true;
    for (size_t i = c->final; i < m->rcpt_count; i++)
        if (m->rcpts[i].outcome == SMTP_CLIENT_ACCEPTED)
            return;
    mail_over(c, false);
}

static void on_rset(struct smtp_client *c) {
    if (c->stale > 0)
        c->stale--;
    else
        positive(c->reply.code) ? enter(c, S_READY) : unexpected(c);
}

static void on_quit(struct smtp_client *c) {
    enter(c, S_END); /* whatever it said */
}

/* ---- input ---- */

static const struct {
    void (*reply)(struct smtp_client *);
    bool lock_step; /* the command must be on its way before its answer comes */
} rows[STATES] = {
    [S_GREETING] = {on_greeting, true}, [S_EHLO] = {on_ehlo, true},  [S_HELO] = {on_helo, true},
    [S_STARTTLS] = {on_starttls, true}, [S_AUTH] = {on_auth, true},  [S_READY] = {unexpected, true},
    [S_MAIL] = {on_mail, false},        [S_BODY] = {on_body, false}, [S_HELD] = {on_body, false},
    [S_FINAL] = {on_final, true},       [S_RSET] = {on_rset, true},  [S_QUIT] = {on_quit, false},
    [S_END] = {on_quit, false},
};

/* Only a refusal may come before the end of the message has left. */
static void on_early_reply(struct smtp_client *c) {
    if (c->state != S_FINAL || c->reply.code < 400) {
        fail_reply(c, SMTP_CLIENT_PROTOCOL, "an answer before the question");
        return;
    }
    decide_all(c, SMTP_CLIENT_ACCEPTED, outcome_of(c->reply.code), c->reply.code, buf_str(&c->reply.text));
    fail_reply(c, SMTP_CLIENT_SAID_NO, "the server refused in the middle of the message");
}

static void on_reply(struct smtp_client *c) {
    note_reply(c);
    if (c->reply.code == 421 && c->state != S_QUIT)
        fail_reply(c, SMTP_CLIENT_SAID_NO, "the server closes");
    else if (rows[c->state].lock_step && c->out.n > 0 && c->chunks + c->stale == 0)
        on_early_reply(c);
    else
        rows[c->state].reply(c);
}

static void on_garbage(struct smtp_client *c, enum err e) {
    note(c, "< ", str_head(buf_str(&c->reply.line), 200));
    if (c->state == S_QUIT)
        enter(c, S_END);
    else if (e == ERR_LIMIT)
        fail(c, SMTP_CLIENT_PROTOCOL, 0, "a reply without end", STR_NONE);
    else
        fail(c, SMTP_CLIENT_PROTOCOL, 0, "not an SMTP reply", str_head(buf_str(&c->reply.line), 200));
}

void smtp_client_input(struct smtp_client *c, str bytes) {
    while (bytes.n > 0 && !c->failed && c->state != S_END) {
        if (c->state == S_HANDSHAKE) { /* somebody slipped it in before TLS could protect it */
            fail(c, SMTP_CLIENT_PROTOCOL, 0, "bytes behind the answer to STARTTLS", STR_NONE);
            break;
        }
        enum err e = client_reply_push(&c->reply, &bytes);
        if (e == OK)
            on_reply(c);
        else if (e != ERR_MORE)
            on_garbage(c, e);
    }
    check_invariants(c);
}

void smtp_client_closed(struct smtp_client *c) {
    if (c->state == S_QUIT || c->state == S_END)
        enter(c, S_END);
    else
        fail_awaiting(c, SMTP_CLIENT_NETWORK, "the server closed the connection");
}

void smtp_client_broken(struct smtp_client *c, enum smtp_client_trouble trouble, const char *sentence) {
    if (c->state == S_QUIT)
        enter(c, S_END);
    else
        fail(c, trouble, 0, sentence, STR_NONE);
}

void smtp_client_expire(struct smtp_client *c) {
    if (c->state == S_QUIT)
        enter(c, S_END);
    else
        fail_awaiting(c, SMTP_CLIENT_TIMEOUT, "no time left");
}

void smtp_client_tls(struct smtp_client *c, str binding) {
    assert(c->state == S_HANDSHAKE);
    c->tls = true;
    c->config.binding = binding;
    greet(c);
}

/* ---- output ---- */

void smtp_client_wrote(struct smtp_client *c, size_t n) {
    buf_drop(&c->out, n);
    if (n > 0 && c->state == S_BODY)
        c->phase_new = true;
}

static bool wire_safe(str s) {
    for (size_t i = 0; i < s.n; i++)
        if (char_is_ctl(s.p[i]))
            return false;
    return true;
}

static enum err check_words(str address, str ascii, str params, struct why *w) {
    if (address.n > ADDRESS_MAX || ascii.n > ADDRESS_MAX || params.n > PARAMS_MAX)
        return why(w, ERR_LIMIT, "an address or its parameters are longer than %d bytes", ADDRESS_MAX);
    if (!wire_safe(address) || !wire_safe(ascii) || !wire_safe(params))
        return why(w, ERR_SYNTAX, "a control character in an address or its parameters");
    return OK;
}

/* What the server told us beforehand that it will not take. */
static bool hopeless(struct smtp_client *c) {
    struct smtp_client_mail *m = c->mail;
    str text = STR_NONE, sender = m->sender;
    if (m->require_tls && !(c->tls && (c->offers & SMTP_OFFERS_REQUIRETLS)))
        text = S("5.7.30 the mail requires TLS on its whole way (REQUIRETLS), which the server does not offer");
    else if (c->size_max && m->size > c->size_max)
        text = S("5.3.4 the message is larger than the server takes");
    else if (!address_form(c, &sender, m->sender_ascii))
        text = S("5.6.7 the sender's address needs SMTPUTF8, which the server does not offer");
    else if (m->utf8 && !takes_utf8(c) && !c->config.relay)
        text = S("5.6.7 the mail needs SMTPUTF8, which the server does not offer");
    if (text.n)
        decide_all(c, SMTP_CLIENT_PENDING, SMTP_CLIENT_REFUSED, 0, text);
    return text.n > 0;
}

/* LMTP answers BDAT in a way of its own (RFC 3030 section 2): not worth it. */
static bool may_chunk(const struct smtp_client *c) {
    return (c->offers & SMTP_OFFERS_CHUNKING) && !c->config.no_chunking && !c->config.lmtp;
}

static bool takes_binary(const struct smtp_client *c) {
    return (c->offers & SMTP_OFFERS_BINARYMIME) && may_chunk(c);
}

/* As it is to be sent to this server.  Where bodies must be ASCII, so must the headers inside of them; what is
 * converted at all is binary no more. */
static unsigned conversion(const struct smtp_client *c) {
    const struct smtp_client_mail *m = c->mail;
    bool header = m->utf8 && !takes_utf8(c), body = m->eight_bit && !(c->offers & SMTP_OFFERS_8BITMIME);
    unsigned how = 0;
    if (!c->config.relay || (m->binary && takes_binary(c) && !header))
        return 0;
    if (m->binary)
        how = SMTP_CLIENT_CONVERT_BODY | SMTP_CLIENT_CONVERT_BINARY | SMTP_CLIENT_CONVERT_LINES;
    if (body)
        how |= SMTP_CLIENT_CONVERT_BODY;
    if (m->long_lines)
        how |= SMTP_CLIENT_CONVERT_LINES;
    if (header || ((how & SMTP_CLIENT_CONVERT_BODY) && !takes_utf8(c)))
        how |= SMTP_CLIENT_CONVERT_HEADER;
    return how;
}

static bool worth_chunking(const struct smtp_client *c) {
    const struct smtp_client_mail *m = c->mail;
    bool binary = m->binary && !(m->convert & SMTP_CLIENT_CONVERT_BINARY);
    return may_chunk(c) && (binary || (m->size >= CHUNKED_MIN && pipelining(c)));
}

/* Recipients whose address has no form here go behind the others, and get their answer. */
static void part_rcpts(struct smtp_client *c) {
    struct smtp_client_mail *m = c->mail;
    c->rcpts = 0;
    for (size_t i = 0; i < m->rcpt_count; i++) {
        struct smtp_client_rcpt r = m->rcpts[i];
        if (!address_form(c, &r.address, r.ascii))
            continue;
        r = m->rcpts[c->rcpts];
        m->rcpts[c->rcpts++] = m->rcpts[i];
        m->rcpts[i] = r;
    }
    for (size_t i = c->rcpts; i < m->rcpt_count; i++)
        decide(c, &m->rcpts[i], SMTP_CLIENT_REFUSED, 0,
               S("5.6.7 the address needs SMTPUTF8, which the server does not offer"));
}

/* Those beyond what the server takes at a time have to come again. */
static void limit_rcpts(struct smtp_client *c) {
    struct smtp_client_mail *m = c->mail;
    size_t all = c->rcpts;
    if (c->rcpt_max && c->rcpts > c->rcpt_max)
        c->rcpts = (size_t)c->rcpt_max;
    for (size_t i = c->rcpts; i < all; i++)
        decide(c, &m->rcpts[i], SMTP_CLIENT_DEFERRED, 0, S("4.5.3 more recipients than the server takes at a time"));
}

enum err smtp_client_send(struct smtp_client *c, struct smtp_client_mail *mail, struct why *w) {
    assert(c->state == S_READY && !c->failed);
    enum err e = check_words(mail->sender, mail->sender_ascii, mail->params, w);
    for (size_t i = 0; e == OK && i < mail->rcpt_count; i++)
        e = check_words(mail->rcpts[i].address, mail->rcpts[i].ascii, mail->rcpts[i].params, w);
    if (e != OK)
        return e;
    if (mail->rcpt_count == 0)
        return why(w, ERR_LIMIT, "no recipient");
    mail->accepted = mail->delivered = mail->refused = mail->nul_dropped = 0;
    for (size_t i = 0; i < mail->rcpt_count; i++) {
        mail->rcpts[i].outcome = SMTP_CLIENT_PENDING;
        mail->rcpts[i].code = 0;
        mail->rcpts[i].text = STR_NONE;
        mail->rcpts[i].unreported = false;
    }
    c->mail = mail;
    c->sent = c->answered = c->final = c->rcpts = 0;
    c->mail_refused = c->final_asked = false;
    c->may_end = !c->config.ask_final;
    mail->convert = conversion(c);
    c->chunking = worth_chunking(c);
    if (!hopeless(c))
        part_rcpts(c);
    if (c->rcpts == 0) {
        mail_over(c, false);
        return OK;
    }
    limit_rcpts(c);
    enter(c, S_MAIL);
    c->mail_ms = -1;
    return OK;
}

/* ---- the body ---- */

static struct buf *body_out(struct smtp_client *c) {
    return c->chunking ? &c->chunk : &c->out;
}

static void end_line(struct smtp_client *c) {
    buf_add(body_out(c), S("\r\n"));
    c->line_start = true;
    c->after_cr = false;
}

static const bool special[256] = {['\r'] = true, ['\n'] = true, ['\0'] = true};

/* Up to the next CR, LF or NUL.  Blocks first: the compiler compares 16 bytes at a time. */
static size_t plain_run(str s) {
    enum { BLOCK = 32 };
    size_t n = 0;
    for (; s.n - n >= BLOCK; n += BLOCK) {
        unsigned char found = 0;
        for (size_t i = 0; i < BLOCK; i++)
            found |= (unsigned char)(s.p[n + i] == '\r') | (unsigned char)(s.p[n + i] == '\n') |
                     (unsigned char)(s.p[n + i] == '\0');
        if (found)
            break;
    }
    while (n < s.n && !special[(unsigned char)s.p[n]])
        n++;
    return n;
}

/* What goes out as it is: whole lines too, as long as none begins with a dot. */
static size_t regular_run(str s) {
    size_t n = 0;
    for (;;) {
        n += plain_run(str_tail(s, n));
        bool crlf = s.n - n > 2 && s.p[n] == '\r' && s.p[n + 1] == '\n';
        if (!crlf || s.p[n + 2] == '.')
            return n;
        n += 2;
    }
}

static void put_run(struct smtp_client *c, str run) {
    if (run.n == 0)
        return;
    if (c->line_start && run.p[0] == '.' && !c->chunking) /* RFC 5321 4.5.2 */
        buf_char(body_out(c), '.');
    buf_add(body_out(c), run);
    c->line_start = run.p[run.n - 1] == '\n';
}

static void put_special(struct smtp_client *c, char what) {
    if (what == '\n')
        end_line(c);
    else if (what == '\r')
        c->after_cr = true; /* until we see what follows */
    else
        c->mail->nul_dropped++;
}

static void put_lines(struct smtp_client *c, str bytes, bool last) {
    while (bytes.n > 0) {
        if (c->after_cr) {
            (void)str_skip_char(&bytes, '\n');
            end_line(c);
            continue;
        }
        str run = str_head(bytes, regular_run(bytes));
        put_run(c, run);
        if (run.n < bytes.n)
            put_special(c, bytes.p[run.n]);
        bytes = str_tail(bytes, run.n + 1);
    }
    if (last && (c->after_cr || !c->line_start))
        end_line(c);
}

static void put_chunk(struct smtp_client *c, bool last) {
    char line[48];
    struct buf b = {.p = line, .cap = sizeof line, .limit = sizeof line};
    if (c->chunk.full)
        fail(c, SMTP_CLIENT_NETWORK, 0, "no memory", STR_NONE);
    buf_printf(&b, "BDAT %zu%s", c->chunk.n, last ? " LAST" : "");
    command(c, buf_str(&b));
    buf_add(&c->out, buf_str(&c->chunk));
    c->body_sent += c->chunk.n;
    c->chunks += !last;
    buf_reset(&c->chunk);
}

static void end_body(struct smtp_client *c) {
    if (c->chunking) {
        put_chunk(c, true);
        enter(c, S_FINAL);
        return;
    }
    buf_add(&c->out, S(".\r\n"));
    enter(c, S_FINAL);
    if (c->config.transcript)
        buf_printf(&c->transcript, "> (%" PRIu64 " bytes)\n> .\n", c->body_sent);
}

void smtp_client_body(struct smtp_client *c, str bytes, bool last) {
    assert(c->state == S_BODY && c->mail && bytes.n <= SMTP_CLIENT_BODY_MAX);
    size_t before = c->out.n;
    if (c->chunking && c->mail->binary && !c->mail->convert)
        buf_add(&c->chunk, bytes);
    else
        put_lines(c, bytes, last);
    if (!c->chunking)
        c->body_sent += c->out.n - before;
    else if (c->chunk.n > 0 && !last) /* the last one says so, when it may */
        put_chunk(c, false);
    if (last && c->may_end)
        end_body(c);
    else if (last)
        enter(c, S_HELD);
}

void smtp_client_final(struct smtp_client *c) {
    if (!c->mail || c->failed)
        return;
    c->may_end = true;
    if (c->state == S_HELD)
        end_body(c);
}

void smtp_client_give_up(struct smtp_client *c, enum smtp_client_outcome o, str text) {
    size_t chunks = c->chunks;
    if (!c->mail || c->failed)
        return;
    decide_all(c, SMTP_CLIENT_PENDING, o, 0, text);
    decide_all(c, SMTP_CLIENT_ACCEPTED, o, 0, text);
    if (c->state == S_MAIL && c->sent == 0) {
        mail_over(c, false);
    } else if (c->chunking) {
        mail_over(c, true);
        c->stale = chunks;
    } else {
        c->mail = NULL;
        enter(c, S_END);
    }
}

void smtp_client_quit(struct smtp_client *c) {
    assert(c->state == S_READY && !c->failed);
    command(c, S("QUIT"));
    enter(c, S_QUIT);
}

/* ---- the host's view ---- */

void smtp_client_init(struct smtp_client *c, const struct smtp_client_config *config, int64_t now_ms) {
    assert(wire_safe(config->helo) && config->helo.n > 0 && config->helo.n <= 255);
    *c = (struct smtp_client){
        .config = *config,
        .state = S_GREETING,
        .tls = config->tls == SMTP_CLIENT_TLS_ACTIVE,
        .out = BUF(OUT_MAX),
        .transcript = BUF(TRANSCRIPT_MAX),
        .chunk = BUF(OUT_MAX),
        .reply = CLIENT_REPLY_INIT,
        .started_ms = now_ms,
        .phase_ms = now_ms,
    };
}

void smtp_client_free(struct smtp_client *c) {
    buf_wipe(&c->out); /* AUTH went through it */
    buf_free(&c->transcript);
    buf_free(&c->chunk);
    client_reply_free(&c->reply);
    sasl_client_end(&c->sasl);
}

/* One chunk at a time where commands must wait for their answers. */
static bool wants_body(const struct smtp_client *c) {
    if (c->state != S_BODY || c->out.n >= SMTP_CLIENT_BODY_MAX)
        return false;
    return !c->chunking || pipelining(c) || c->chunks == 0;
}

/* A short body waits for the leave to end it, and goes out together with its end. */
static bool worth_holding(const struct smtp_client *c) {
    return c->state == S_HELD && c->out.n <= SMTP_CLIENT_BODY_MAX;
}

static enum smtp_client_want want(const struct smtp_client *c) {
    if (c->failed)
        return SMTP_CLIENT_FAILED;
    if (c->state == S_END)
        return SMTP_CLIENT_DONE;
    if (c->state == S_BODY && !c->may_end && !c->final_asked)
        return SMTP_CLIENT_FINAL;
    if (wants_body(c))
        return SMTP_CLIENT_BODY;
    if (c->out.n > 0 && !worth_holding(c))
        return SMTP_CLIENT_OUTPUT;
    if (c->state == S_HANDSHAKE)
        return SMTP_CLIENT_STARTTLS;
    return c->state == S_READY ? SMTP_CLIENT_READY : SMTP_CLIENT_INPUT;
}

enum smtp_client_want smtp_client_step(struct smtp_client *c, int64_t now_ms) {
    if (c->state == S_MAIL && !c->failed)
        put_group(c);
    if (c->out.full)
        fail(c, SMTP_CLIENT_NETWORK, 0, "no memory", STR_NONE);
    if (c->phase_new)
        c->phase_ms = now_ms;
    c->phase_new = false;
    if (c->mail && c->mail_ms < 0)
        c->mail_ms = now_ms;
    check_invariants(c);
    enum smtp_client_want w = want(c);
    c->final_asked |= w == SMTP_CLIENT_FINAL;
    return w;
}

int64_t smtp_client_deadline(const struct smtp_client *c) {
    int64_t phase = timeouts[c->state], at = INT64_MAX;
    if (c->config.phase_max_ms && phase > c->config.phase_max_ms)
        phase = c->config.phase_max_ms;
    if (phase)
        at = c->phase_ms + phase;
    if (c->mail && c->mail->total_ms && c->mail_ms >= 0 && c->mail_ms + c->mail->total_ms < at)
        at = c->mail_ms + c->mail->total_ms;
    if (c->config.total_ms && c->started_ms + c->config.total_ms < at)
        at = c->started_ms + c->config.total_ms;
    return at;
}

const char *smtp_client_outcome_name(enum smtp_client_outcome o) {
    static const char *const names[] = {
        [SMTP_CLIENT_PENDING] = "pending",   [SMTP_CLIENT_ACCEPTED] = "accepted", [SMTP_CLIENT_DELIVERED] = "delivered",
        [SMTP_CLIENT_DEFERRED] = "deferred", [SMTP_CLIENT_REFUSED] = "refused",   [SMTP_CLIENT_UNKNOWN] = "unknown",
    };
    return names[o];
}
