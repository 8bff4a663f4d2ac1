/* The core of smtpd against a store that is a table of frames: what is sent, and what its answers do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "role/smtpd_core.h"

#include <stdio.h>
#include <string.h>

static struct {
    struct buf names; /* of the frames that were sent: "mail_begin " ... */
    struct buf body, said;
    uint64_t mail;
    uint32_t messages;
    unsigned wakes;
    uint8_t random;
} host;

static void send_frame(const struct frame *f) {
    buf_printf(&host.names, "%s ", frame_name(f->type));
    if (f->type == FRAME_MAIL_BEGIN)
        host.mail = f->mail_begin.mail;
    if (f->type == FRAME_MAIL_BODY)
        buf_add(&host.body, f->mail_body.bytes);
    if (f->type == FRAME_SESSION_END)
        host.messages = f->session_end.messages;
}

static void random_fill(void *p, size_t n) {
    memset(p, ++host.random, n);
}

static void wake(struct smtpd_session *s) {
    (void)s;
    host.wakes++;
}

static bool no_binding(struct smtpd_session *s, uint8_t bytes[32]) {
    (void)s, (void)bytes;
    return false;
}

static void no_log(enum event_id e, struct smtpd_session *s, str detail) {
    (void)e, (void)s, (void)detail;
}

static bool has_tls(str listener) {
    (void)listener;
    return true;
}

static const struct smtpd_ops ops = {send_frame, random_fill, wake, no_binding, no_log};

static void open_core(struct smtpd_core *core, str text) {
    struct conf c;
    struct conf_errors errors = {0};
    memset(&host, 0, sizeof host);
    host.names = BUF(10000);
    host.body = BUF(1000000);
    host.said = BUF(100000);
    smtpd_core_init(core, &ops);
    assert_int_equal(conf_parse(text, "test", &c, &errors), OK);
    assert_int_equal(smtpd_core_configure(core, &c, STR_NONE, 1, has_tls, NULL), OK);
    conf_errors_free(&errors);
    conf_free(&c); /* the core keeps nothing of it but networks, which these tests do not have */
    smtpd_core_store_up(core);
}

static void close_core(struct smtpd_core *core) {
    smtpd_core_free(core);
    buf_free(&host.names);
    buf_free(&host.body);
    buf_free(&host.said);
}

static enum smtpd_do run(struct smtpd_session *s, str in) {
    enum smtpd_do what;
    do
        what = smtpd_session_run(s, &in, 1000);
    while (what == SMTPD_FLUSH);
    buf_reset(&host.said);
    buf_add(&host.said, buf_str(&s->smtp.out));
    smtp_server_sent(&s->smtp);
    return what;
}

static struct smtpd_session *client(struct smtpd_core *core, str address) {
    return smtpd_session_new(core, S("in"), address, 4242, S("192.0.2.1"), 25, 1000, 1800000000000000);
}

static bool said(str text) {
    return str_find_str(buf_str(&host.said), text) != SIZE_MAX;
}

static void expect_frames(str names) {
    if (!str_eq(buf_str(&host.names), names))
        print_error("frames: %.*s\n", STR_ARG(buf_str(&host.names)));
    assert_true(str_eq(buf_str(&host.names), names));
    buf_reset(&host.names);
}

static void done(struct smtpd_core *core, enum err e) {
    struct frame f = {FRAME_MAIL_DONE, .mail_done = {host.mail, (uint8_t)e, STR_NONE}};
    smtpd_core_frame(core, &f);
}

#define SANDBOX "mode sandbox\nlisten in {\naddress 127.0.0.1:25\n}\n"
#define MX                                                                                                             \
    "mode server\nsmtp_connections_per_client 2\nsmtp_messages_per_client 3\nlisten in {\naddress "                    \
    "127.0.0.1:25\npolicy mx\n}\n"
#define MAIL "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"

static void test_message(void **state) {
    (void)state;
    struct smtpd_core core;
    open_core(&core, S(SANDBOX));
    struct smtpd_session *s = client(&core, S("192.0.2.9"));
    assert_int_equal(run(s, STR_NONE), SMTPD_READ);
    /* The slices of one read are one frame. */
    assert_int_equal(run(s, S("HELO x\r\n" MAIL "one\r\n..two\r\n..three\r\n.\r\nQUIT\r\n")), SMTPD_WAIT);
    expect_frames(S("mail_begin mail_body mail_envelope mail_transcript mail_commit "));
    assert_true(str_eq(buf_str(&host.body), S("one\r\n.two\r\n.three\r\n")));
    assert_int_equal(run(s, STR_NONE), SMTPD_WAIT); /* nothing happens before the store's answer */
    done(&core, OK);
    assert_int_equal(host.wakes, 1);
    assert_int_equal(run(s, S("QUIT\r\n")), SMTPD_CLOSE);
    assert_true(said(S("250 2.0.0 Ok: queued as ")) && said(S("221 ")));
    smtpd_session_free(s);
    expect_frames(S("session_begin session_info session_transcript session_end "));
    assert_int_equal(host.messages, 1);
    close_core(&core);
}

static void test_large_body_is_cut(void **state) {
    (void)state;
    struct smtpd_core core;
    static char text[100000];
    memset(text, 'x', sizeof text);
    open_core(&core, S(SANDBOX));
    struct smtpd_session *s = client(&core, S("192.0.2.9"));
    (void)run(s, S("HELO x\r\n" MAIL));
    buf_reset(&host.names);
    assert_int_equal(run(s, str_n(text, sizeof text)), SMTPD_READ);
    expect_frames(S("mail_body mail_body "));
    smtpd_session_lost(s, "gone");
    assert_int_equal(run(s, STR_NONE), SMTPD_CLOSE);
    expect_frames(S("mail_abort "));
    smtpd_session_free(s);
    close_core(&core);
}

static void test_store_trouble(void **state) {
    (void)state;
    struct smtpd_core core;
    struct frame full = {FRAME_STORE_STATE, .store_state = {ERR_FULL, STR_NONE}};
    struct frame fine = {FRAME_STORE_STATE, .store_state = {OK, STR_NONE}};
    open_core(&core, S(SANDBOX));
    struct smtpd_session *s = client(&core, S("192.0.2.9"));
    smtpd_core_frame(&core, &full);
    (void)run(s, S("HELO x\r\n" MAIL "RSET\r\n"));
    assert_true(said(S("452 4.3.1 ")));
    smtpd_core_frame(&core, &fine);
    /* refused at the commit */
    assert_int_equal(run(s, S(MAIL "x\r\n.\r\n")), SMTPD_WAIT);
    done(&core, ERR_FULL);
    (void)run(s, STR_NONE);
    assert_true(said(S("452 4.3.1 ")));
    /* lost while the body comes, and while it waits */
    (void)run(s, S(MAIL "x\r\n"));
    smtpd_core_store_down(&core);
    (void)run(s, S("y\r\n.\r\n"));
    assert_true(said(S("451 4.3.0 ")));
    (void)run(s, S(MAIL "RSET\r\n"));
    assert_true(said(S("451 4.3.0 ")));
    smtpd_core_store_up(&core);
    assert_int_equal(run(s, S(MAIL "x\r\n.\r\n")), SMTPD_WAIT);
    smtpd_core_store_down(&core);
    (void)run(s, STR_NONE);
    assert_true(said(S("451 4.3.0 ")));
    smtpd_core_store_up(&core);
    assert_int_equal(run(s, S(MAIL "x\r\n.\r\n")), SMTPD_WAIT);
    done(&core, OK);
    (void)run(s, STR_NONE);
    assert_true(said(S("250 2.0.0 ")));
    /* an answer to nobody */
    done(&core, OK);
    smtpd_session_lost(s, "gone");
    assert_int_equal(run(s, STR_NONE), SMTPD_CLOSE);
    smtpd_session_free(s);
    close_core(&core);
}

static void test_limits_bind_strangers(void **state) {
    (void)state;
    struct smtpd_core core;
    struct smtpd_session *s[4], *near[4];
    open_core(&core, S(MX));
    for (size_t i = 0; i < 4; i++) {
        s[i] = client(&core, i < 3 ? S("192.0.2.9") : S("192.0.2.10"));
        near[i] = client(&core, S("127.0.0.1"));
    }
    for (size_t i = 0; i < 4; i++) {
        enum smtpd_do what = run(s[i], STR_NONE);
        assert_int_equal(what, i == 2 ? SMTPD_CLOSE : SMTPD_READ);
        assert_true(said(i == 2 ? S("421 4.7.0 ") : S("220 ")));
        assert_int_equal(run(near[i], STR_NONE), SMTPD_READ);
    }
    for (size_t i = 0; i < 4; i++) {
        smtpd_session_free(s[i]);
        smtpd_session_free(near[i]);
    }
    close_core(&core);
}

static void test_messages_of_a_stranger_are_counted(void **state) {
    (void)state;
    struct smtpd_core core;
    open_core(&core, S(MX));
    for (int i = 0; i < 5; i++) { /* a connection each: the count outlives them */
        struct smtpd_session *s = client(&core, S("192.0.2.9")), *near = client(&core, S("127.0.0.1"));
        (void)run(s, S("HELO x\r\n" MAIL));
        assert_true(said(i < 3 ? S("354 ") : S("450 4.7.1 ")));
        (void)run(near, S("HELO x\r\n" MAIL));
        assert_true(said(S("354 ")));
        smtpd_session_lost(s, "gone");
        smtpd_session_lost(near, "gone");
        assert_int_equal(run(s, STR_NONE), SMTPD_CLOSE);
        assert_int_equal(run(near, STR_NONE), SMTPD_CLOSE);
        smtpd_session_free(s);
        smtpd_session_free(near);
    }
    close_core(&core);
}

static void test_drain(void **state) {
    (void)state;
    struct smtpd_core core;
    open_core(&core, S(SANDBOX));
    struct smtpd_session *idle = client(&core, S("192.0.2.9")), *busy = client(&core, S("192.0.2.9"));
    (void)run(idle, S("HELO x\r\n"));
    (void)run(busy, S("HELO x\r\n" MAIL "x\r\n"));
    smtpd_core_drain(&core, 1000);
    smtpd_session_expire(idle, 3000);
    smtpd_session_expire(busy, 3000);
    assert_int_equal(run(idle, STR_NONE), SMTPD_CLOSE);
    assert_true(said(S("421 4.3.2 ")));
    assert_int_equal(run(busy, S(".\r\n")), SMTPD_WAIT);
    done(&core, OK);
    assert_int_equal(run(busy, STR_NONE), SMTPD_READ);
    smtpd_session_expire(busy, 3000);
    assert_int_equal(run(busy, STR_NONE), SMTPD_CLOSE);
    smtpd_session_free(idle);
    smtpd_session_free(busy);
    close_core(&core);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message),       cmocka_unit_test(test_large_body_is_cut),
        cmocka_unit_test(test_store_trouble), cmocka_unit_test(test_limits_bind_strangers),
        cmocka_unit_test(test_drain),         cmocka_unit_test(test_messages_of_a_stranger_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
