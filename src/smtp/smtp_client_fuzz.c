/* Any bytes for a server.  The first byte chooses the configuration, the second the size of the pieces; the client must
 * come to an end, and must have decided about every recipient. */
#include <assert.h>

#include "smtp/smtp_client.h"

enum { RCPTS = 3, STEPS_MAX = 100000 };

static const struct smtp_client_config configs[] = {
    {.helo = S_INIT("me"), .transcript = true},
    {.helo = S_INIT("me"), .lmtp = true},
    {.helo = S_INIT("me"), .tls = SMTP_CLIENT_TLS_REQUIRED, .user = S_INIT("joe"), .secret = S_INIT("pencil")},
    {.helo = S_INIT("me"),
     .tls = SMTP_CLIENT_TLS_IF_OFFERED,
     .user = S_INIT("joe"),
     .secret = S_INIT("p"),
     .secret_in_clear = true},
    {.helo = S_INIT("me"), .relay = true, .ask_final = true},
    {.helo = S_INIT("me"), .relay = true, .lmtp = true},
};

static void check(const struct smtp_client_mail *m) {
    size_t delivered = 0;
    for (size_t i = 0; i < RCPTS; i++) {
        assert(m->rcpts[i].outcome > SMTP_CLIENT_ACCEPTED);
        delivered += m->rcpts[i].outcome == SMTP_CLIENT_DELIVERED;
    }
    assert(delivered == m->delivered);
}

static void feed(struct smtp_client *c, str *server, size_t piece) {
    str part = str_head(*server, piece);
    *server = str_tail(*server, part.n);
    part.n ? smtp_client_input(c, part) : smtp_client_closed(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    struct arena mem = ARENA(1 << 20);
    bool wide = data[0] & 32;
    struct smtp_client_rcpt rcpts[RCPTS] = {{.address = S("1@d")},
                                            {.address = wide ? S("\xc3\xbc@d") : S("2@d")},
                                            {.address = wide ? S("3@\xc3\xbc") : S("3@d"), .ascii = S("3@xn--tda")}};
    struct smtp_client_mail mail = {.sender = S("a@b"),
                                    .rcpts = rcpts,
                                    .rcpt_count = RCPTS,
                                    .utf8 = wide,
                                    .binary = wide && (data[0] & 16),
                                    .size = wide ? 100000 : 0,
                                    .mem = &mem};
    struct smtp_client c;
    str server = str_n(data + 2, size - 2);
    size_t piece = data[1] ? data[1] : size, mails = 0, steps = 0;
    enum smtp_client_want want;
    smtp_client_init(&c, &configs[data[0] % (sizeof configs / sizeof *configs)], 0);
    while ((want = smtp_client_step(&c, 0)) != SMTP_CLIENT_DONE && want != SMTP_CLIENT_FAILED) {
        steps++;
        assert(steps < STEPS_MAX);
        if (want == SMTP_CLIENT_OUTPUT) {
            smtp_client_wrote(&c, c.out.n);
        } else if (want == SMTP_CLIENT_INPUT) {
            feed(&c, &server, piece);
        } else if (want == SMTP_CLIENT_STARTTLS) {
            smtp_client_tls(&c, S("binding"));
        } else if (want == SMTP_CLIENT_FINAL) {
            if (data[0] & 64)
                smtp_client_final(&c);
        } else if (want == SMTP_CLIENT_BODY) {
            if (data[0] & 128)
                smtp_client_give_up(&c, SMTP_CLIENT_REFUSED, S("5.6.3 no"));
            else
                smtp_client_body(&c, S(".hello\nworld\r"), true);
        } else if (mails++ == 2) {
            check(&mail);
            smtp_client_quit(&c);
        } else {
            enum err e = smtp_client_send(&c, &mail, NULL);
            assert(e == OK);
        }
    }
    if (mails > 0)
        check(&mail);
    smtp_client_free(&c);
    arena_free(&mem);
    return 0;
}
