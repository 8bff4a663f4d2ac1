#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smtp/smtp_server.h"

#include <malloc.h>
#include <string.h>

static const struct smtp_config config = {.listener = S_INIT("smtp"),
                                          .hostname = S_INIT("mail.example"),
                                          .greeting = S_INIT("Penfold"),
                                          .policy = SMTP_POLICY_SANDBOX,
                                          .tls = SMTP_TLS_STARTTLS,
                                          .auth = SMTP_AUTH_OFFERED,
                                          .mechanisms_plain = S_INIT("PLAIN"),
                                          .mechanisms_tls = S_INIT("PLAIN"),
                                          .command_max = 2048,
                                          .transcript_max = 65536,
                                          .header_max = 262144,
                                          .message_max = 1000000,
                                          .rcpt_max = 1000,
                                          .errors_slow = 10,
                                          .errors_max = 20,
                                          .hops_max = 50,
                                          .command_ms = 300000,
                                          .data_ms = 180000,
                                          .message_ms = 3600000,
                                          .session_ms = 86400000,
                                          .handshake_ms = 60000};

static void open_server(struct smtp_server *s) {
    struct smtp_peer peer = {.session = S("SESSION"), .client_address = S("192.0.2.9"), .xclient = true};
    smtp_server_init(s, &config, &peer, 1000, 1800000000000000);
}

/* Feeds and answers everything with yes; leaves the last code said in *code. */
static void feed(struct smtp_server *s, str in, unsigned *code) {
    for (;;) {
        enum smtp_want want = smtp_server_step(s, &in, 1000);
        str out = buf_str(&s->out), line;
        while (str_line(&out, &line))
            *code = (unsigned)(line.p[0] - '0') * 100 + (unsigned)(line.p[1] - '0') * 10 + (unsigned)(line.p[2] - '0');
        smtp_server_sent(s);
        if (want == SMTP_WANT_STARTTLS)
            smtp_server_tls(s, S("TLSv1.3"), S("x"), S(""));
        else if (want == SMTP_WANT_MAIL || want == SMTP_WANT_RCPT || want == SMTP_WANT_COMMIT ||
                 want == SMTP_WANT_BEGIN)
            smtp_server_answer(s, OK, S("ID"));
        else if (want == SMTP_WANT_AUTH)
            smtp_server_auth_ok(s, S("user"));
        else if (want == SMTP_WANT_INPUT || want == SMTP_WANT_CLOSE)
            return;
    }
}

#define HELLO "EHLO c.example\r\n"
#define MAIL HELLO "MAIL FROM:<a@example.com>\r\n"
#define RCPT MAIL "RCPT TO:<b@example.org>\r\n"
#define CHUNK RCPT "BDAT 2\r\nhi"
enum { STATES = 7 };
static const str setups[STATES] = {
    S_INIT(""),
    S_INIT(HELLO),
    S_INIT(MAIL),
    S_INIT(RCPT),
    S_INIT(CHUNK),
    S_INIT(HELLO "STARTTLS\r\n"),
    S_INIT(HELLO "AUTH PLAIN AGEAYg==\r\n"),
};

/* Every command in every state:         new, hello, mail, rcpt, chunk, after STARTTLS, after AUTH */
static const struct {
    str command;
    unsigned code[STATES];
} rows[] = {
    {S_INIT("HELO c\r\n"), {250, 250, 250, 250, 250, 250, 250}},
    {S_INIT("EHLO c\r\n"), {250, 250, 250, 250, 250, 250, 250}},
    {S_INIT("LHLO c\r\n"), {500, 500, 500, 500, 500, 500, 500}},
    {S_INIT("MAIL FROM:<a@b>\r\n"), {503, 250, 503, 503, 503, 503, 250}},
    {S_INIT("RCPT TO:<a@b>\r\n"), {503, 503, 250, 250, 503, 503, 503}},
    {S_INIT("DATA\r\n"), {503, 503, 503, 354, 503, 503, 503}},
    {S_INIT("BDAT 2\r\nab"), {503, 503, 503, 250, 250, 503, 503}},
    {S_INIT("BDAT 2 LAST\r\nab"), {503, 503, 503, 250, 250, 503, 503}},
    {S_INIT("RSET\r\n"), {250, 250, 250, 250, 250, 250, 250}},
    {S_INIT("NOOP\r\n"), {250, 250, 250, 250, 250, 250, 250}},
    {S_INIT("VRFY a\r\n"), {252, 252, 252, 252, 252, 252, 252}},
    {S_INIT("EXPN a\r\n"), {502, 502, 502, 502, 502, 502, 502}},
    {S_INIT("HELP\r\n"), {214, 214, 214, 214, 214, 214, 214}},
    {S_INIT("QUIT\r\n"), {221, 221, 221, 221, 221, 221, 221}},
    {S_INIT("STARTTLS\r\n"), {503, 220, 503, 503, 503, 503, 220}},
    {S_INIT("AUTH PLAIN AGEAYg==\r\n"), {503, 235, 503, 503, 503, 503, 503}},
    {S_INIT("XCLIENT ADDR=192.0.2.8\r\n"), {220, 220, 503, 503, 503, 220, 220}},
    {S_INIT("WHAT\r\n"), {500, 500, 500, 500, 500, 500, 500}},
};

static void test_matrix(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t k = 0; k < STATES; k++) {
            struct smtp_server s;
            unsigned code = 0;
            open_server(&s);
            feed(&s, setups[k], &code);
            feed(&s, rows[i].command, &code);
            if (code != rows[i].code[k])
                print_error("%.*s in state %zu: %u\n", STR_ARG(rows[i].command), k, code);
            assert_int_equal(code, rows[i].code[k]);
            smtp_server_free(&s);
        }
}

/* After EHLO a session waits in less than 3 KiB, and so it does between messages. */
static void test_idle_memory(void **state) {
    (void)state;
    unsigned code = 0;
    size_t before = mallinfo2().uordblks;
    struct smtp_server s;
    open_server(&s);
    feed(&s, S(HELLO), &code);
    size_t idle = mallinfo2().uordblks - before + sizeof s;
    assert_in_range(idle, 1, 3 * 1024);
    feed(&s, S("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nx\r\n.\r\nNOO"), &code);
    struct buf taken = BUF(1 << 20);
    smtp_transcript_take(&s.transcript, &taken);
    buf_free(&taken);
    idle = mallinfo2().uordblks - before + sizeof s;
    assert_in_range(idle, 1, 4 * 1024);
    smtp_server_free(&s);
}

static void test_deadlines(void **state) {
    (void)state;
    unsigned code = 0;
    struct smtp_server s;
    str none = STR_NONE;
    open_server(&s);
    feed(&s, S(HELLO), &code);
    assert_int_equal(smtp_server_deadline(&s), 1000 + 300000);
    feed(&s, S("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"), &code);
    assert_int_equal(smtp_server_deadline(&s), 1000 + 180000);
    smtp_server_expire(&s, 1000 + 179999);
    assert_int_equal(smtp_server_step(&s, &none, 1000 + 179999), SMTP_WANT_INPUT);
    smtp_server_expire(&s, 1000 + 180000);
    assert_int_equal(smtp_server_step(&s, &none, 1000 + 180000), SMTP_WANT_ABORT);
    assert_int_equal(smtp_server_step(&s, &none, 1000 + 180000), SMTP_WANT_CLOSE);
    assert_true(str_starts(buf_str(&s.out), S("421 4.4.2 ")));
    assert_string_equal(s.reason, "timeout");
    smtp_server_free(&s);
}

/* The head and the tail stay, whole lines, and the gap is told. */
static void test_transcript(void **state) {
    (void)state;
    struct smtp_transcript t;
    struct buf out = BUF(10000);
    smtp_transcript_init(&t, 400);
    for (unsigned i = 0; i < 1000; i++) {
        char text[40];
        struct buf b = {.p = text, .cap = sizeof text, .limit = sizeof text};
        buf_printf(&b, "line %u\r\x01\\", i);
        smtp_transcript_line(&t, i, 'C', buf_str(&b));
    }
    smtp_transcript_take(&t, &out);
    assert_true(out.n < 500);
    assert_true(str_starts(buf_str(&out), S("0 C: line 0\\x0d\\x01\\\\\n1 C: ")));
    assert_true(str_find_str(buf_str(&out), S(" bytes left out ...\n")) != SIZE_MAX);
    assert_true(str_ends(buf_str(&out), S("999 C: line 999\\x0d\\x01\\\\\n")));
    smtp_transcript_free(&t);
    buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_matrix), cmocka_unit_test(test_idle_memory),
                                       cmocka_unit_test(test_deadlines), cmocka_unit_test(test_transcript)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
