/* A whole session fed at once and byte by byte must say the same, accept the same messages and end alike.
 * The first byte chooses the listener: policy, TLS, AUTH, LMTP, PROXY, XCLIENT. */
#include "smtp/smtp_server.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
    struct buf said, body, messages;
    const char *reason;
    uint64_t now;
};

static struct smtp_config config_of(uint8_t choice) {
    return (struct smtp_config){.listener = S("smtp"),
                                .hostname = S("mail.example"),
                                .greeting = S("Penfold"),
                                .lmtp = choice & 1,
                                .policy = (enum smtp_policy)((choice >> 1 & 3) % 3),
                                .framing = (enum smtp_framing)((choice >> 1 & 3) % 3),
                                .tls = choice & 8 ? SMTP_TLS_STARTTLS : SMTP_TLS_NONE,
                                .auth = choice & 16 ? SMTP_AUTH_OFFERED : SMTP_AUTH_NONE,
                                .mechanisms_plain = S("PLAIN LOGIN"),
                                .mechanisms_tls = S("PLAIN LOGIN"),
                                .command_max = 512,
                                .transcript_max = 2048,
                                .header_max = 200,
                                .message_max = 1000,
                                .rcpt_max = 5,
                                .mail_max = choice & 128 ? 3 : 0,
                                .errors_slow = 10,
                                .errors_max = 20,
                                .hops_max = 5,
                                .command_ms = 300000,
                                .data_ms = 180000,
                                .message_ms = 3600000,
                                .session_ms = 86400000,
                                .handshake_ms = 60000};
}

/* PLAIN takes one response, LOGIN two; a user that begins with "x" is refused. */
static void answer_auth(struct smtp_server *s) {
    if (!s->auth.has_response || (s->auth.first && str_eq(s->auth.mechanism, S("LOGIN"))))
        smtp_server_auth_challenge(s, S("go on"));
    else if (str_starts(s->auth.response, S("x")))
        smtp_server_auth_failed(s, SMTP_AUTH_BAD);
    else
        smtp_server_auth_ok(s, S("user"));
}

static bool step(struct smtp_server *s, str *in, struct result *r) {
    switch (smtp_server_step(s, in, r->now)) {
    case SMTP_WANT_INPUT: assert(in->n == 0); return false;
    case SMTP_WANT_STARTTLS: smtp_server_tls(s, S("TLSv1.3"), S(""), S("")); return true;
    case SMTP_WANT_BODY: buf_add(&r->body, s->body); return true;
    case SMTP_WANT_ABORT: buf_reset(&r->body); return true;
    case SMTP_WANT_MAIL:
        smtp_server_answer(s, str_starts(s->envelope.sender, S("no@")) ? ERR_DENIED : OK, S(""));
        return true;
    case SMTP_WANT_RCPT:
        if (str_starts(s->rcpt.address, S("x@")))
            smtp_server_refusal_answer(s, 550, S("nobody"));
        else
            smtp_server_answer(s, str_starts(s->rcpt.address, S("no@")) ? ERR_DENIED : OK, S(""));
        return true;
    case SMTP_WANT_BEGIN: smtp_server_answer(s, s->size_hint == 7 ? ERR_FULL : OK, S("ID")); return true;
    case SMTP_WANT_COMMIT:
        buf_lstr(&r->messages, buf_str(&r->body));
        buf_reset(&r->body);
        envelope_put(&r->messages, &s->envelope);
        smtp_server_answer(s, s->size_hint == 8 ? ERR_IO : OK, S(""));
        return true;
    case SMTP_WANT_AUTH: answer_auth(s); return true;
    case SMTP_WANT_DELAY: r->now = smtp_server_deadline(s); return true;
    case SMTP_WANT_FLUSH:
        buf_add(&r->said, buf_str(&s->out));
        smtp_server_sent(s);
        return true;
    default: return false;
    }
}

static void talk(uint8_t choice, str in, size_t piece, struct result *r) {
    struct smtp_config config = config_of(choice);
    struct smtp_peer peer = {.session = S("S"),
                             .client_address = S("192.0.2.1"),
                             .server_address = S("192.0.2.2"),
                             .proxy = choice & 32,
                             .xclient = choice & 64};
    struct smtp_server s;
    str none = STR_NONE;
    *r = (struct result){.said = BUF(1 << 24), .body = BUF(1 << 24), .messages = BUF(1 << 24), .now = 1000};
    smtp_server_init(&s, &config, &peer, r->now, 1800000000000000);
    while (step(&s, &none, r))
        ;
    while (in.n && s.want != SMTP_WANT_CLOSE) {
        str part = str_head(in, piece);
        in = str_tail(in, part.n);
        while (step(&s, &part, r))
            ;
    }
    if (s.want != SMTP_WANT_CLOSE)
        smtp_server_lost(&s, "gone");
    while (s.want != SMTP_WANT_CLOSE && step(&s, &none, r))
        ;
    assert(s.want == SMTP_WANT_CLOSE);
    buf_add(&r->said, buf_str(&s.out));
    r->reason = s.reason;
    smtp_server_free(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct result whole, bytes;
    if (size < 1 || size > 20000)
        return 0;
    /* A handshake takes place between feeds: what stands behind STARTTLS in one piece cannot be the same in two. */
    str in = str_n(data + 1, size - 1);
    uint8_t choice = data[0];
    if (str_ifind_str(in, S("STARTTLS")) != SIZE_MAX)
        choice &= (uint8_t)~8;
    talk(choice, in, in.n, &whole);
    talk(choice, in, 1, &bytes);
    assert(str_eq(buf_str(&whole.said), buf_str(&bytes.said)));
    assert(str_eq(buf_str(&whole.messages), buf_str(&bytes.messages)));
    assert(whole.reason == bytes.reason);
    struct result *results[] = {&whole, &bytes};
    for (size_t i = 0; i < 2; i++) {
        buf_free(&results[i]->said);
        buf_free(&results[i]->body);
        buf_free(&results[i]->messages);
    }
    return 0;
}
