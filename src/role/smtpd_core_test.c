/* The core of smtpd against a store that is a table of frames: what is sent, and what its answers do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "mime/edit.h"
#include "role/smtpd_core.h"
#include "role/smtpd_spool.h"
#include "frame/job.h"

#include <stdio.h>
#include <string.h>

enum { ASKED_MAX = 64 };

static struct {
    struct buf names; /* of the frames that were sent: "mail_begin " ... */
    struct buf body, said, envelope, traced;
    uint64_t mail;
    uint32_t messages;
    unsigned wakes;
    uint8_t random;
    struct directory *directory; /* that LOOKUP is answered from */
    struct {
        uint32_t tag;
        char address[300], user[100];
    } asked[ASKED_MAX];
    size_t asked_count;
    struct frame_limit_take limit;
    char limited[100];
    struct frame_auth_begin auth;
    struct frame_injected injected;
    char text[1000];
    struct frame_spool_done spool;
    struct frame_job_done job_done;
    uint64_t granted;
} host;

static void keep_lookup(const struct frame_lookup *f) {
    assert_true(host.asked_count < ASKED_MAX);
    host.asked[host.asked_count].tag = f->tag;
    snprintf(host.asked[host.asked_count].address, 300, "%.*s", STR_ARG(f->address));
    snprintf(host.asked[host.asked_count++].user, 100, "%.*s", STR_ARG(f->user));
}

static void send_frame(enum role to, const struct frame *f) {
    (void)to;
    buf_printf(&host.names, "%s ", frame_name(f->type));
    switch ((int)f->type) {
    case FRAME_MAIL_BEGIN:
        host.mail = f->mail_begin.mail;
        buf_reset(&host.envelope);
        break;
    case FRAME_MAIL_BODY: buf_add(&host.body, f->mail_body.bytes); break;
    case FRAME_MAIL_ENVELOPE: buf_add(&host.envelope, f->mail_envelope.bytes); break;
    case FRAME_SESSION_END: host.messages = f->session_end.messages; break;
    case FRAME_LOOKUP: keep_lookup(&f->lookup); break;
    case FRAME_LIMIT_TAKE:
        host.limit = f->limit_take;
        snprintf(host.limited, sizeof host.limited, "%.*s", STR_ARG(f->limit_take.account));
        break;
    case FRAME_AUTH_BEGIN: host.auth = f->auth_begin; break;
    case FRAME_JOB_DONE: host.job_done = f->job_done; break;
    case FRAME_JOB_MORE: host.granted += f->job_more.bytes; break;
    case FRAME_TRACE: buf_printf(&host.traced, "%.*s\n", STR_ARG(f->trace.line)); break;
    case FRAME_INJECTED:
        host.injected = f->injected;
        snprintf(host.text, sizeof host.text, "%.*s", STR_ARG(f->injected.text));
        break;
    case FRAME_SPOOL_DONE:
        host.spool = f->spool_done;
        snprintf(host.text, sizeof host.text, "%.*s", STR_ARG(f->spool_done.text));
        break;
    default: break;
    }
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

static uint64_t now_ms(void) {
    return 1000;
}

static uint64_t wall_us(void) {
    return 1800000000000000;
}

static const struct smtpd_ops ops = {send_frame, random_fill, now_ms, wall_us, wake, no_binding, no_log};

static void open_core(struct smtpd_core *core, str text) {
    struct conf c;
    struct conf_errors errors = {0};
    memset(&host, 0, sizeof host);
    host.names = BUF(100000);
    host.body = BUF(1000000);
    host.said = BUF(100000);
    host.envelope = BUF(1000000);
    host.traced = BUF(100000);
    smtpd_core_init(core, &ops);
    if (conf_parse(text, "test", &c, &errors) != OK) {
        struct buf out = BUF(10000);
        conf_errors_put(&out, &errors);
        print_error("%s", buf_cstr(&out));
        fail();
    }
    host.directory = directory_new(1);
    assert_int_equal(directory_conf(host.directory, &c, NULL), OK);
    assert_int_equal(smtpd_core_configure(core, &c, STR_NONE, 1, has_tls, NULL), OK);
    conf_errors_free(&errors);
    conf_free(&c); /* the core has its own */
    smtpd_core_up(core, ROLE_STORE);
    smtpd_core_up(core, ROLE_HTTPD);
    smtpd_core_up(core, ROLE_SUPERVISOR);
}

static void close_core(struct smtpd_core *core) {
    smtpd_core_free(core);
    directory_free(host.directory);
    struct buf *bufs[] = {&host.names, &host.body, &host.said, &host.envelope, &host.traced};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        buf_free(bufs[i]);
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

static struct smtpd_session *caller(struct smtpd_core *core, str listener, str address, str user, bool trusted) {
    struct smtpd_caller c = {listener, address, 4242, S("192.0.2.1"), 25, user, trusted};
    return smtpd_session_new(core, &c, 1000, 1800000000000000);
}

static struct smtpd_session *client(struct smtpd_core *core, str address) {
    return caller(core, S("in"), address, STR_NONE, false);
}

/* The store's side of the questions that are open; false: there were none. */
static bool answer(struct smtpd_core *core) {
    struct arena a = ARENA(1 << 20);
    struct buf bytes = BUF(1 << 20);
    size_t n = host.asked_count;
    host.asked_count = 0;
    for (size_t i = 0; i < n; i++) {
        struct directory_answer reply;
        directory_lookup(host.directory, str_of(host.asked[i].address), str_of(host.asked[i].user), &a, &reply);
        buf_reset(&bytes);
        directory_answer_put(&bytes, &reply);
        struct frame f = {FRAME_LOOKED_UP, .looked_up = {host.asked[i].tag, buf_str(&bytes)}};
        smtpd_core_frame(core, &f);
    }
    bool limit = host.limit.tag != 0;
    struct frame f = {FRAME_LIMIT_TAKEN, .limit_taken = {host.limit.tag, OK, STR_NONE}};
    host.limit.tag = 0;
    if (limit)
        smtpd_core_frame(core, &f);
    buf_free(&bytes);
    arena_free(&a);
    return n || limit;
}

/* Like run(), while the store answers what it is asked. */
static enum smtpd_do talk(struct smtpd_session *s, str in) {
    enum smtpd_do what;
    buf_reset(&host.said);
    do {
        what = smtpd_session_run(s, &in, 1000);
        buf_add(&host.said, buf_str(&s->smtp.out));
        smtp_server_sent(&s->smtp);
    } while (what == SMTPD_FLUSH || (what == SMTPD_WAIT && answer(s->core)));
    return what;
}

static void hang_up(struct smtpd_session *s) {
    smtpd_session_lost(s, "gone");
    assert_int_equal(run(s, STR_NONE), SMTPD_CLOSE);
    smtpd_session_free(s);
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
    "127.0.0.1:25\npolicy mx\n}\ndomain example.org {\n}\naccount b@example.org {\n}\n"
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
    smtpd_core_down(&core, ROLE_STORE);
    (void)run(s, S("y\r\n.\r\n"));
    assert_true(said(S("451 4.3.0 ")));
    (void)run(s, S(MAIL "RSET\r\n"));
    assert_true(said(S("451 4.3.0 ")));
    smtpd_core_up(&core, ROLE_STORE);
    assert_int_equal(run(s, S(MAIL "x\r\n.\r\n")), SMTPD_WAIT);
    smtpd_core_down(&core, ROLE_STORE);
    (void)run(s, STR_NONE);
    assert_true(said(S("451 4.3.0 ")));
    smtpd_core_up(&core, ROLE_STORE);
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
        (void)talk(s, S("HELO x\r\n" MAIL));
        assert_true(said(i < 3 ? S("354 ") : S("450 4.7.1 ")));
        (void)talk(near, S("HELO x\r\n" MAIL));
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

/* A sandbox with routes: they decide, and nothing else changes. */
static void test_a_sandbox_with_routes(void **state) {
    (void)state;
    struct smtpd_core core;
    struct arena a = ARENA(1 << 20);
    struct envelope e;
    open_core(&core, S("mode sandbox\nlisten in {\naddress 127.0.0.1:25\nauth offered\n}\n"
                       "route out {\nto *@allowed.example\naction relay\n}\n"));
    struct smtpd_session *s = client(&core, S("127.0.0.1"));
    (void)talk(s, S("EHLO x\r\nAUTH PLAIN AGFueQBib2R5\r\nMAIL FROM:<boss@example.com>\r\n"
                    "RCPT TO:<x@allowed.example>\r\nRCPT TO:<y@elsewhere.example>\r\nDATA\r\n\r\n.\r\n"));
    assert_true(said(S("235 ")));
    assert_int_equal(envelope_take(buf_str(&host.envelope), &a, &e), OK);
    assert_int_equal(e.delivery_count, 2);
    assert_int_equal(e.deliveries[0].kind, JOB_RELAY);
    assert_int_equal(e.deliveries[1].kind, JOB_CAPTURE);
    assert_int_equal(e.edits.n, 0);
    done(&core, OK);
    hang_up(s);
    arena_free(&a);
    close_core(&core);
}

/* ---- a server ---- */

#define SERVER                                                                                                         \
    "mode server\nhostname mx.example.org\nrelay_networks 10.0.0.0/8\n"                                                \
    "listen in {\naddress 127.0.0.1:25\npolicy mx\n}\n"                                                                \
    "listen any {\naddress 127.0.0.1:26\npolicy sandbox\n}\n"                                                          \
    "listen lmtp {\naddress 127.0.0.1:24\nprotocol lmtp\n}\n"                                                          \
    "listen users {\naddress 127.0.0.1:587\npolicy submission\n}\n"                                                    \
    "listen local {\naddress unix:/tmp/x\npolicy submission\n}\n"                                                      \
    "domain example.org {\n}\naccount ada@example.org {\n}\naccount b@example.org {\n}\n"                              \
    "account work@example.org {\n}\nalias team@example.org {\nto ada@example.org b@example.org far@example.net\n}\n"

static void taken_envelope(struct arena *a, struct envelope *e) {
    assert_int_equal(envelope_take(buf_str(&host.envelope), a, e), OK);
}

/* The message as its edits make it. */
static void edited(const struct envelope *e, struct buf *out) {
    struct edit_piece piece;
    for (uint64_t at = 0; edit_piece(e->edits, host.body.n, at, &piece);) {
        str bytes = piece.put.n ? piece.put : str_sub(buf_str(&host.body), (size_t)piece.from, (size_t)piece.n);
        buf_add(out, bytes);
        at += bytes.n;
    }
}

static bool has(str s, str part) {
    if (str_find_str(s, part) != SIZE_MAX)
        return true;
    print_error("no %.*s in: %.*s\n", STR_ARG(part), STR_ARG(s));
    return false;
}

static void test_a_mail_is_routed(void **state) {
    (void)state;
    struct smtpd_core core;
    struct arena a = ARENA(1 << 20);
    struct envelope e;
    open_core(&core, S(SERVER));
    struct smtpd_session *s = client(&core, S("192.0.2.9"));
    (void)talk(s, S("EHLO x.example.com\r\nMAIL FROM:<a@example.com>\r\n"));
    (void)talk(s, S("RCPT TO:<nobody@example.org>\r\nRCPT TO:<ada@example.net>\r\nRCPT TO:<team@example.org>\r\n"));
    assert_true(said(S("550 5.1.1 ")) && said(S("550 5.7.1 ")) && said(S("250 2.1.5 ")));
    assert_int_equal(talk(s, S("DATA\r\nReturn-Path: <forged@example.com>\r\nSubject: x\r\n\r\nhello\r\n.\r\n")),
                     SMTPD_WAIT);
    taken_envelope(&a, &e);
    assert_int_equal(e.rcpt_count, 1);
    assert_int_equal(e.delivery_count, 3);
    assert_int_equal(e.deliveries[0].kind, JOB_MAILBOX);
    assert_true(str_eq(e.deliveries[0].target, S("ada@example.org")));
    assert_int_equal(e.deliveries[2].kind, JOB_RELAY);
    assert_true(str_eq(e.deliveries[2].target, S("example.net")));
    /* the arrival stays, its view begins with our Received */
    struct buf view = BUF(10000);
    edited(&e, &view);
    assert_int_equal(view.n, e.edited_size);
    assert_true(str_starts(buf_str(&host.body), S("Return-Path:")));
    assert_true(str_starts(buf_str(&view), S("Received: from x.example.com ([192.0.2.9])\r\n\tby mx.example.org")));
    assert_true(has(buf_str(&view), S("with ESMTP\r\n\tid ")));
    assert_true(
        has(buf_str(&view), S("\r\n\tfor <team@example.org>;\r\n\tFri, 15 Jan 2027 08:00:00 +0000\r\nSubject: x")));
    done(&core, OK);
    assert_int_equal(talk(s, STR_NONE), SMTPD_READ);
    assert_true(said(S("250 2.0.0 ")));
    /* what is known is not asked again, until the directory changes */
    buf_reset(&host.names);
    (void)talk(s, S("MAIL FROM:<a@example.com>\r\nRCPT TO:<team@example.org>\r\n"));
    expect_frames(S(""));
    smtpd_core_frame(&core, &(struct frame){FRAME_DIRECTORY_CHANGED});
    (void)talk(s, S("RSET\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<ada@example.org>\r\nRCPT TO:<b@example.org>\r\n"));
    expect_frames(S("lookup lookup "));
    /* two recipients: neither is shown to the other */
    host.body.n = 0;
    (void)talk(s, S("DATA\r\nSubject: x\r\n\r\n.\r\n"));
    taken_envelope(&a, &e);
    assert_true(str_find_str(e.edits, S("for <")) == SIZE_MAX);
    done(&core, OK);
    hang_up(s);
    buf_free(&view);
    arena_free(&a);
    close_core(&core);
}

static void test_the_store_goes_while_it_is_asked(void **state) {
    (void)state;
    struct smtpd_core core;
    open_core(&core, S(SERVER));
    struct smtpd_session *s = client(&core, S("192.0.2.9")), *gone = client(&core, S("192.0.2.10"));
    assert_int_equal(run(gone, S("HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<ada@example.org>\r\n")), SMTPD_WAIT);
    hang_up(gone);
    assert_true(answer(&core)); /* to nobody */
    assert_int_equal(run(s, S("HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\n")), SMTPD_WAIT);
    smtpd_core_down(&core, ROLE_STORE);
    assert_int_equal(host.wakes, 1);
    (void)run(s, S("RCPT TO:<b@example.org>\r\n"));
    assert_true(said(S("451 4.3.0 Recipient cannot be checked now")));
    smtpd_core_up(&core, ROLE_STORE);
    (void)talk(s, S("RCPT TO:<b@example.org>\r\n"));
    assert_true(said(S("250 2.1.5 ")));
    /* an answer that is none */
    assert_int_equal(run(s, S("RCPT TO:<work@example.org>\r\n")), SMTPD_WAIT);
    struct frame f = {FRAME_LOOKED_UP, .looked_up = {host.asked[host.asked_count - 1].tag, S("junk")}};
    smtpd_core_frame(&core, &f);
    (void)run(s, STR_NONE);
    assert_true(said(S("451 4.3.0 ")));
    hang_up(s);
    close_core(&core);
}

/* mta.md's trick addresses, on every kind of listener: none goes out. */
static void test_no_open_relay(void **state) {
    (void)state;
    static const char *const tricks[] = {
        "victim@example.net",
        "victim%example.net@example.org",
        "example.net!victim@example.org",
        "@example.org:victim@example.net",
        "\"victim@example.net\"@example.org",
        "\"victim%example.net\"@example.org",
        "victim@example.net@example.org",
        "\"victim\"@example.net",
        "victim@[192.0.2.77]",
        "victim@[IPv6:2001:db8::77]",
        "victim@mx.example.org",
        "victim@localhost",
        "victim@sub.example.org",
        "victim@example.net.",
        "<victim@example.net>",
        "victim",
        "@example.net:",
        "victim%example.net",
        "example.org!example.net!victim@example.org",
        "victim%example.net@[127.0.0.1]",
        "victim@EXAMPLE.NET",
    };
    static const char *const senders[] = {"a@example.com", "ada@example.org", "", "postmaster@mx.example.org"};
    static const str listeners[] = {S_INIT("in"), S_INIT("any"), S_INIT("lmtp"), S_INIT("users"), S_INIT("local")};
    struct smtpd_core core;
    open_core(&core, S(SERVER));
    for (size_t l = 0; l < sizeof listeners / sizeof *listeners; l++)
        for (size_t k = 0; k < sizeof senders / sizeof *senders; k++)
            for (size_t i = 0; i < sizeof tricks / sizeof *tricks; i++) {
                struct smtpd_session *s = caller(&core, listeners[l], S("192.0.2.9"), STR_NONE, false);
                char text[500];
                snprintf(text, sizeof text, "%s x\r\nMAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n",
                         str_eq(listeners[l], S("lmtp")) ? "LHLO" : "EHLO", senders[k], tricks[i]);
                (void)talk(s, str_of(text));
                if (said(S("\r\n354 ")))
                    print_error("%s to %s\n", senders[k], tricks[i]);
                assert_false(said(S("\r\n354 ")));
                hang_up(s);
            }
    close_core(&core);
}

/* RFC 4409 3: a user's port is for users. */
static void test_submission_needs_a_user(void **state) {
    (void)state;
    struct smtpd_core core;
    open_core(&core, S(SERVER));
    struct smtpd_session *s = caller(&core, S("users"), S("10.0.0.1"), STR_NONE, false);
    (void)talk(s, S("EHLO x\r\nMAIL FROM:<ada@example.org>\r\n"));
    assert_true(said(S("530 5.7.0 ")));
    hang_up(s);
    close_core(&core);
}

static void test_keyd_judges_credentials(void **state) {
    (void)state;
    struct smtpd_core core;
    open_core(&core, S(SERVER));
    struct smtpd_session *s = caller(&core, S("users"), S("192.0.2.9"), STR_NONE, false);
    (void)talk(s, S("EHLO x\r\nAUTH SCRAM-SHA-256 biws\r\n"));
    assert_true(said(S("454 4.7.0 "))); /* it is not there */
    smtpd_core_up(&core, ROLE_KEYD);
    assert_int_equal(run(s, S("AUTH SCRAM-SHA-256 biws\r\n")), SMTPD_WAIT);
    struct frame c = {FRAME_AUTH_CHALLENGE, .auth_challenge = {host.auth.tag, S("go on")}};
    smtpd_core_frame(&core, &c);
    (void)run(s, STR_NONE);
    assert_true(said(S("334 Z28gb24=\r\n")));
    assert_int_equal(run(s, S("YQ==\r\n")), SMTPD_WAIT);
    struct frame no = {FRAME_AUTH_FAILED, .auth_failed = {host.auth.tag, SASL_BAD_CREDENTIALS, S("ada")}};
    smtpd_core_frame(&core, &no);
    (void)run(s, STR_NONE);
    assert_true(said(S("535 5.7.8 ")));
    /* one who gives up, and then sends mail: keyd is told, nothing of it is left */
    assert_int_equal(run(s, S("AUTH SCRAM-SHA-256 biws\r\n")), SMTPD_WAIT);
    c.auth_challenge.tag = host.auth.tag;
    smtpd_core_frame(&core, &c);
    (void)run(s, S("*\r\n"));
    buf_reset(&host.names);
    assert_int_equal(run(s, S("AUTH SCRAM-SHA-256 biws\r\n")), SMTPD_WAIT);
    expect_frames(S("auth_end auth_begin "));
    struct frame ok = {FRAME_AUTH_OK, .auth_ok = {host.auth.tag, S("ada"), S("ada@example.org")}};
    smtpd_core_frame(&core, &ok);
    (void)run(s, STR_NONE);
    assert_true(said(S("235 2.7.0 ")));
    /* his own address, another's */
    (void)talk(s, S("MAIL FROM:<b@example.org>\r\nMAIL FROM:<ada@example.org>\r\nRCPT TO:<x@example.net>\r\nDATA\r\n"));
    assert_true(said(S("553 5.7.1 ")) && said(S("354 ")));
    assert_string_equal(host.limited, "ada@example.org");
    hang_up(s);
    /* it goes while it is asked */
    s = caller(&core, S("users"), S("192.0.2.9"), STR_NONE, false);
    assert_int_equal(run(s, S("EHLO x\r\nAUTH SCRAM-SHA-256 biws\r\n")), SMTPD_WAIT);
    smtpd_core_down(&core, ROLE_KEYD);
    (void)run(s, STR_NONE);
    assert_true(said(S("454 4.7.0 ")));
    hang_up(s);
    close_core(&core);
}

static void test_local_users(void **state) {
    (void)state;
    static const struct {
        const char *user, *sender;
        bool trusted, good;
    } rows[] = {
        {"root", "anybody@example.com", true, true},
        {"work", "work@mx.example.org", false, true},
        {"work", "work@example.org", false, true}, /* his account's address */
        {"work", "", false, true},
        {"work", "ada@example.org", false, false},
        {"work", "root@mx.example.org", false, false},
        {"cron", "cron@mx.example.org", false, true}, /* no account */
        {"cron", "cron@example.org", false, false},
        {"cron", "ada@example.org", false, false},
    };
    struct smtpd_core core;
    open_core(&core, S(SERVER));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct smtpd_session *s = caller(&core, S("local"), S("unix"), str_of(rows[i].user), rows[i].trusted);
        char text[500];
        snprintf(text, sizeof text, "EHLO x\r\nMAIL FROM:<%s>\r\nRCPT TO:<far@example.net>\r\n", rows[i].sender);
        (void)talk(s, str_of(text));
        if (said(S("\r\n250 2.1.5 ")) != rows[i].good)
            print_error("%s as %s\n", rows[i].user, rows[i].sender);
        assert_true(said(S("\r\n250 2.1.5 ")) == rows[i].good);
        hang_up(s);
    }
    /* only where the socket is for users */
    struct smtpd_session *s = caller(&core, S("in"), S("unix"), S("root"), true);
    (void)talk(s, S("EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<far@example.net>\r\n"));
    assert_true(said(S("550 5.7.1 ")));
    hang_up(s);
    close_core(&core);
}

static void test_limits_of_an_account(void **state) {
    (void)state;
    struct smtpd_core core;
    open_core(&core, S(SERVER));
    struct smtpd_session *s = caller(&core, S("local"), S("unix"), S("work"), false);
    (void)talk(s,
               S("EHLO x\r\nMAIL FROM:<work@example.org>\r\nRCPT TO:<ada@example.org>\r\nRCPT TO:<b@example.org>\r\n"));
    assert_int_equal(run(s, S("DATA\r\n")), SMTPD_WAIT);
    assert_int_equal(host.limit.recipients, 2);
    struct frame no = {FRAME_LIMIT_TAKEN, .limit_taken = {host.limit.tag, ERR_LIMIT, S("100 messages an hour")}};
    smtpd_core_frame(&core, &no);
    (void)run(s, STR_NONE);
    assert_true(said(S("450 4.7.1 100 messages an hour\r\n")));
    assert_int_equal(run(s, S("DATA\r\n")), SMTPD_WAIT);
    smtpd_core_down(&core, ROLE_STORE);
    (void)run(s, STR_NONE);
    assert_true(said(S("451 4.3.0 ")));
    hang_up(s);
    close_core(&core);
}

#define HEADER_ROUTES                                                                                                  \
    SERVER "route spam {\nheader X-Spam: yes*\nto ada@example.org\naction reject\ncode 550\ntext no spam\n}\n"         \
           "route all {\nheader X-Worse: yes\naction reject\ntext worse\n}\n"

static void test_routes_that_see_the_header(void **state) {
    (void)state;
    struct smtpd_core core;
    struct arena a = ARENA(1 << 20);
    struct envelope e;
    open_core(&core, S(HEADER_ROUTES));
    struct smtpd_session *s = client(&core, S("192.0.2.9"));
    (void)talk(s, S("EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<ada@example.org>\r\nRCPT TO:<b@example.org>\r\n"));
    /* one refuses: he is returned, the other has it */
    assert_int_equal(talk(s, S("DATA\r\nX-Spam: yes, much\r\n\r\nX-Worse: yes\r\n.\r\n")), SMTPD_WAIT);
    taken_envelope(&a, &e);
    assert_int_equal(e.delivery_count, 2);
    assert_int_equal(e.deliveries[0].kind, JOB_REFUSED);
    assert_true(str_eq(e.deliveries[0].detail, S("550 5.7.1 no spam")));
    assert_int_equal(e.deliveries[1].kind, JOB_MAILBOX);
    done(&core, OK);
    (void)talk(s, STR_NONE);
    assert_true(said(S("250 2.0.0 ")));
    /* all refuse: the client is told, nothing is kept */
    buf_reset(&host.names);
    (void)talk(s, S("MAIL FROM:<a@example.com>\r\nRCPT TO:<ada@example.org>\r\nRCPT TO:<b@example.org>\r\n"
                    "DATA\r\nX-Worse: yes\r\n\r\n.\r\n"));
    assert_true(said(S("550 5.7.1 worse\r\n")));
    expect_frames(S("mail_begin mail_body mail_abort "));
    /* the directory changes while the message comes: it is asked again */
    (void)talk(s, S("MAIL FROM:<a@example.com>\r\nRCPT TO:<ada@example.org>\r\nDATA\r\nX: y\r\n"));
    smtpd_core_frame(&core, &(struct frame){FRAME_DIRECTORY_CHANGED});
    assert_int_equal(talk(s, S("\r\n.\r\n")), SMTPD_WAIT);
    taken_envelope(&a, &e);
    assert_int_equal(e.deliveries[0].kind, JOB_MAILBOX);
    done(&core, OK);
    hang_up(s);
    arena_free(&a);
    close_core(&core);
}

static void test_a_loop_ends(void **state) {
    (void)state;
    struct smtpd_core core;
    open_core(&core, S(SERVER));
    struct smtpd_session *s = client(&core, S("192.0.2.9"));
    (void)talk(s, S("EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<ada@example.org>\r\n"
                    "DATA\r\nDelivered-To: <Ada@example.org>\r\n\r\n.\r\n"));
    assert_true(said(S("554 5.4.6 delivered here before")));
    hang_up(s);
    close_core(&core);
}

static void test_what_the_header_says(void **state) {
    (void)state;
    struct smtpd_core core;
    struct arena a = ARENA(1 << 20);
    struct envelope e;
    open_core(&core, S(SERVER));
    struct smtpd_session *s = client(&core, S("192.0.2.9"));
    (void)talk(s, S("EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<ada@example.org>\r\n"
                    "DATA\r\nSubject: \xc3\xa4\r\nTLS-Required: no\r\n\r\n.\r\n"));
    taken_envelope(&a, &e);
    assert_int_equal(e.utf8, 1);
    assert_int_equal(e.require_tls, 2);
    done(&core, OK);
    hang_up(s);
    arena_free(&a);
    close_core(&core);
}

/* ---- from within ---- */

static void inject(struct smtpd_core *core, uint32_t tag, str user, str sender, str mailbox) {
    struct frame f = {FRAME_INJECT_BEGIN,
                      .inject_begin = {tag, user, S("api"), sender, STR_NONE, mailbox, S("127.0.0.1")}};
    smtpd_core_frame(core, &f);
}

static void inject_rcpt(struct smtpd_core *core, uint32_t tag, str address) {
    smtpd_core_frame(core, &(struct frame){FRAME_INJECT_RCPT, .inject_rcpt = {tag, address, STR_NONE}});
}

static void inject_text(struct smtpd_core *core, uint32_t tag, str text) {
    host.injected = (struct frame_injected){0};
    smtpd_core_frame(core, &(struct frame){FRAME_INJECT_BODY, .inject_body = {tag, text}});
    smtpd_core_frame(core, &(struct frame){FRAME_INJECT_END, .inject_end = {tag}});
    while (answer(core))
        ;
}

static void test_injection(void **state) {
    (void)state;
    struct smtpd_core core;
    struct arena a = ARENA(1 << 20);
    struct envelope e;
    open_core(&core, S(SERVER));
    inject(&core, 7, S("ada@example.org"), S("ada@example.org"), STR_NONE);
    inject_rcpt(&core, 7, S("b@example.org"));
    inject_rcpt(&core, 7, S("far@example.net"));
    inject_text(&core, 7, S("Subject: x\n\nhello\n"));
    assert_string_equal(host.limited, "ada@example.org");
    assert_int_equal(host.injected.tag, 0); /* not before it is durable */
    done(&core, OK);
    assert_int_equal(host.injected.tag, 7);
    assert_int_equal(host.injected.err, OK);
    taken_envelope(&a, &e);
    assert_true(str_eq(e.account, S("ada@example.org")));
    assert_true(str_eq(e.listener, S("api")));
    assert_int_equal(e.delivery_count, 2);
    assert_true(has(buf_str(&host.body), S("Subject: x\r\n\r\nhello\r\n")));
    /* who may not; one of several recipients; what could be a command */
    inject(&core, 8, S("ada@example.org"), S("b@example.org"), STR_NONE);
    inject_rcpt(&core, 8, S("b@example.org"));
    inject_text(&core, 8, S("x\r\n"));
    assert_int_equal(host.injected.err, ERR_DENIED);
    assert_true(has(str_of(host.text), S("553 5.7.1 ")));
    inject(&core, 9, S("ada@example.org"), S("ada@example.org"), STR_NONE);
    inject_rcpt(&core, 9, S("b@example.org"));
    inject_rcpt(&core, 9, S("nobody@example.org"));
    inject_text(&core, 9, S("x\r\n"));
    assert_int_equal(host.injected.err, ERR_DENIED);
    assert_true(has(str_of(host.text), S("<nobody@example.org>: 550 5.1.1 ")));
    inject(&core, 10, S("ada@example.org"), S("ada@example.org>\r\nRSET\r\n"), STR_NONE);
    assert_int_equal(host.injected.tag, 10);
    assert_int_equal(host.injected.err, ERR_SYNTAX);
    /* a copy for a folder: as it is, asked of nobody */
    buf_reset(&host.names);
    host.body.n = 0;
    inject(&core, 11, S("ada@example.org"), S("other@example.com"), S("ada@example.org/Sent"));
    smtpd_core_frame(&core, &(struct frame){FRAME_INJECT_APPEND, .inject_append = {11, 5, 1234567}});
    inject_text(&core, 11, S("Bcc: x@example.net\r\n\r\na\nb\rc"));
    done(&core, OK);
    assert_int_equal(host.injected.err, OK);
    taken_envelope(&a, &e);
    assert_int_equal(e.delivery_count, 1);
    assert_true(str_eq(e.deliveries[0].target, S("ada@example.org")) && str_eq(e.deliveries[0].detail, S("Sent")));
    assert_int_equal(e.edits.n, 0);
    assert_true(e.appended == 1 && e.append_flags == 5 && e.append_date_us == 1234567);
    assert_true(str_ends(buf_str(&host.body), S("\r\n\r\na\nb\rc")));
    assert_true(str_find_str(buf_str(&host.names), S("lookup")) == SIZE_MAX);
    inject(&core, 14, S("ada@example.org"), S("ada@example.org"), S("ada@example.org/a//b"));
    assert_true(host.injected.tag == 14 && host.injected.err == ERR_SYNTAX);
    /* given up, and httpd gone */
    inject(&core, 12, S("ada@example.org"), S("ada@example.org"), STR_NONE);
    inject_rcpt(&core, 12, S("b@example.org"));
    smtpd_core_frame(&core, &(struct frame){FRAME_INJECT_BODY, .inject_body = {12, S("x")}});
    smtpd_core_frame(&core, &(struct frame){FRAME_INJECT_CANCEL, .inject_cancel = {12}});
    inject(&core, 13, S("ada@example.org"), S("ada@example.org"), STR_NONE);
    smtpd_core_down(&core, ROLE_HTTPD);
    assert_int_equal(core.session_count, 0);
    arena_free(&a);
    close_core(&core);
}

/* RFC 6409 8: what a user's message is given, and what is cut; the arrival stays as it is. */
static void test_submission_edits(void **state) {
    (void)state;
    struct smtpd_core core;
    struct arena a = ARENA(1 << 20);
    struct buf view = BUF(10000);
    struct envelope e;
    open_core(&core, S(SERVER));
    inject(&core, 7, S("ada@example.org"), S("ada@example.org"), STR_NONE);
    inject_rcpt(&core, 7, S("b@example.org"));
    inject_text(&core, 7, S("Subject: x\r\nBcc: c@example.net\r\n\r\nhello\r\n"));
    done(&core, OK);
    taken_envelope(&a, &e);
    edited(&e, &view);
    assert_int_equal(view.n, e.edited_size);
    assert_true(str_starts(buf_str(&view), S("Received: from localhost ([127.0.0.1])\r\n\tby mx.example.org")));
    assert_true(has(buf_str(&view), S("\r\nDate: Fri, 15 Jan 2027 08:00:00 +0000\r\n")));
    assert_true(has(buf_str(&view), S("\r\nFrom: ada@example.org\r\n")) || has(buf_str(&view), S("\r\nFrom: <ada@")));
    assert_true(has(buf_str(&view), S("\r\nMessage-ID: <")));
    assert_true(has(buf_str(&view), S("\r\n\r\nhello\r\n")));
    assert_true(str_find_str(buf_str(&view), S("Bcc")) == SIZE_MAX);
    buf_free(&view);
    arena_free(&a);
    close_core(&core);
}

#define REWRITES                                                                                                       \
    SERVER                                                                                                             \
    "rewrite out {\nfrom *@old.example.org\nmatch *@old.example.org\nreplace $1@example.org\nwhere sender "            \
    "from\n}\n"                                                                                                        \
    "rewrite in {\nto *@old.example.org\nmatch *@old.example.org\nreplace $1@example.org\nwhere recipient to\n}\n"     \
    "rewrite tag {\nto local\nsubject [ours]\n}\n"

static void test_rewrites(void **state) {
    (void)state;
    struct smtpd_core core;
    struct arena a = ARENA(1 << 20);
    struct buf view = BUF(10000);
    struct envelope e;
    open_core(&core, S(REWRITES));
    struct smtpd_session *s = client(&core, S("192.0.2.9"));
    (void)talk(
        s, S("EHLO x\r\nMAIL FROM:<x@old.example.org>\r\nRCPT TO:<ada@old.example.org>\r\nRCPT TO:<b@example.org>\r\n"
             "DATA\r\nFrom: X <x@old.example.org>\r\nTo: ada@old.example.org\r\nSubject: hi\r\n\r\n.\r\n"));
    taken_envelope(&a, &e);
    assert_true(str_eq(e.sender, S("x@old.example.org"))); /* what was said stays */
    assert_int_equal(e.delivery_count, 2);
    assert_true(str_eq(e.deliveries[0].target, S("ada@example.org")));
    assert_true(e.deliveries[0].has_sender && str_eq(e.deliveries[0].sender, S("x@example.org")));
    edited(&e, &view);
    assert_true(has(buf_str(&view), S("\r\nFrom: X <x@example.org>\r\nTo: ada@example.org\r\nSubject: [ours] hi\r\n")));
    done(&core, OK);
    hang_up(s);
    buf_free(&view);
    arena_free(&a);
    close_core(&core);
}

static void test_forwarded_mail_gets_a_sender_of_ours(void **state) {
    (void)state;
    struct smtpd_core core;
    struct arena a = ARENA(1 << 20);
    struct envelope e;
    open_core(&core, S(SERVER));
    buf_add(&core.srs_secret, S("a secret of sixteen\n"));
    struct smtpd_session *s = client(&core, S("192.0.2.9"));
    (void)talk(s, S("EHLO x\r\nMAIL FROM:<x@example.com>\r\nRCPT TO:<team@example.org>\r\nDATA\r\n\r\n.\r\n"));
    taken_envelope(&a, &e);
    assert_false(e.deliveries[0].has_sender);
    assert_true(str_starts(e.deliveries[2].sender, S("SRS0=")) && str_ends(e.deliveries[2].sender, S("@example.org")));
    done(&core, OK);
    hang_up(s);
    arena_free(&a);
    close_core(&core);
}

/* ---- reports ---- */

static void job(struct smtpd_core *core, str sender, str params, uint8_t outcome, uint64_t size) {
    struct arena a = ARENA(1 << 16);
    struct buf bytes = BUF(1 << 16);
    struct envelope_rcpt rcpts[] = {{S("team@example.org"), S("ORCPT=rfc822;team@example.org")}};
    struct envelope_delivery deliveries[] = {{.kind = JOB_RELAY, .address = S("secret@example.net")},
                                             {.kind = JOB_RELAY, .address = S("far@example.net")}};
    struct envelope e = {.received_us = 1800000000000000, .sender = sender, .sender_params = params};
    e.rcpts = rcpts;
    e.rcpt_count = 1;
    e.deliveries = deliveries;
    e.delivery_count = 2;
    envelope_put(&bytes, &e);
    host.job_done = (struct frame_job_done){0};
    host.granted = 0;
    host.body.n = 0;
    struct frame j = {FRAME_JOB, .job = {.job = 77,
                                         .kind = JOB_REPORT,
                                         .id = S("OriginalOriginalOrigin"),
                                         .sender = sender,
                                         .sender_params = params,
                                         .size = size}};
    struct frame v = {FRAME_JOB_ENVELOPE, .job_envelope = {77, buf_str(&bytes)}};
    struct frame r = {FRAME_JOB_RCPT, .job_rcpt = {77, 1, S("far@example.net"), S(""), outcome, 550,
                                                   S("5.1.1 nobody here"), S("mx.example.net"), 1800000000000}};
    smtpd_core_frame(core, &j);
    smtpd_core_frame(core, &v);
    smtpd_core_frame(core, &r);
    buf_free(&bytes);
    arena_free(&a);
}

static void job_body(struct smtpd_core *core, str bytes) {
    struct frame f = {FRAME_JOB_BODY, .job_body = {77, bytes}};
    smtpd_core_frame(core, &f);
    while (answer(core))
        ;
}

#define ORIGINAL "Subject: the old one\r\nMessage-ID: <1@example.org>\r\n\r\nbody of it\r\n"

static void test_a_report(void **state) {
    (void)state;
    struct smtpd_core core;
    struct arena a = ARENA(1 << 20);
    struct envelope e;
    uint32_t index;
    open_core(&core, S(SERVER));
    job(&core, S("ada@example.org"), S("ENVID=abc"), JOB_FAILED, sizeof ORIGINAL - 1);
    job_body(&core, str_head(S(ORIGINAL), 20));
    assert_int_equal(host.granted, 20);
    job_body(&core, str_tail(S(ORIGINAL), 20));
    assert_int_equal(host.job_done.job, 0); /* not before it is durable */
    taken_envelope(&a, &e);
    assert_int_equal(e.sender.n, 0);
    assert_true(str_eq(e.report_of, S("OriginalOriginalOrigin")));
    assert_int_equal(e.report_kind, JOB_FAILED);
    str indices = e.report_rcpts;
    assert_true(take_u32(&indices, &index) && index == 1 && indices.n == 0);
    assert_int_equal(e.delivery_count, 1);
    assert_int_equal(e.deliveries[0].kind, JOB_MAILBOX);
    assert_true(str_eq(e.deliveries[0].target, S("ada@example.org")));
    str text = buf_str(&host.body);
    assert_true(has(text, S("To: ")) && has(text, S("Original-Envelope-Id: abc")) && has(text, S("body of it")));
    assert_true(has(text, S("nobody here")) && has(text, S("team@example.org")));
    assert_true(str_find_str(text, S("far@example.net")) == SIZE_MAX); /* where an alias led is not his to know */
    done(&core, OK);
    assert_int_equal(host.job_done.job, 77);
    assert_int_equal(host.job_done.trouble, JOB_FINE);
    /* RET=HDRS */
    job(&core, S("ada@example.org"), S("RET=HDRS"), JOB_FAILED, sizeof ORIGINAL - 1);
    job_body(&core, S(ORIGINAL));
    assert_true(has(buf_str(&host.body), S("the old one")));
    assert_true(str_find_str(buf_str(&host.body), S("body of it")) == SIZE_MAX);
    done(&core, ERR_FULL);
    assert_int_equal(host.job_done.trouble, JOB_OURS); /* another time */
    /* far away, by relay, though nobody has logged in */
    job(&core, S("x@example.com"), S(""), JOB_LATE, sizeof ORIGINAL - 1);
    job_body(&core, S(ORIGINAL));
    taken_envelope(&a, &e);
    assert_int_equal(e.deliveries[0].kind, JOB_RELAY);
    assert_int_equal(e.report_kind, JOB_LATE);
    done(&core, OK);
    /* of a report: to the postmaster, who is not here: it ends there */
    job(&core, S(""), S(""), JOB_FAILED, sizeof ORIGINAL - 1);
    job_body(&core, S(ORIGINAL));
    taken_envelope(&a, &e);
    assert_int_equal(e.deliveries[0].kind, JOB_DISCARD);
    assert_true(str_eq(e.rcpts[0].address, S("postmaster@example.org")));
    done(&core, OK);
    assert_int_equal(host.job_done.trouble, JOB_FINE);
    /* cancelled; and the store gone */
    job(&core, S("ada@example.org"), S(""), JOB_FAILED, sizeof ORIGINAL - 1);
    smtpd_core_frame(&core, &(struct frame){FRAME_JOB_CANCEL, .job_cancel = {77, ERR_CLOSED, S("")}});
    assert_int_equal(host.job_done.trouble, JOB_OURS);
    job(&core, S("ada@example.org"), S(""), JOB_FAILED, sizeof ORIGINAL - 1);
    smtpd_core_frame(&core, &(struct frame){FRAME_JOB_BODY, .job_body = {77, S(ORIGINAL)}});
    smtpd_core_down(&core, ROLE_STORE);
    assert_int_equal(core.session_count, 0);
    arena_free(&a);
    close_core(&core);
}

/* LMTP has an answer for each: who is refused for the header is told so, and nothing is returned (RFC 2033 4.2). */
static void test_lmtp_answers(void **state) {
    (void)state;
    struct smtpd_core core;
    struct arena a = ARENA(1 << 20);
    struct envelope e;
    open_core(&core, S(HEADER_ROUTES));
    struct smtpd_session *s = caller(&core, S("lmtp"), S("192.0.2.9"), STR_NONE, false);
    static const str mail =
        S_INIT("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<ada@example.org>\r\n"
               "RCPT TO:<b@example.org>\r\n");
    (void)talk(s, S("LHLO x\r\n"));
    (void)talk(s, mail);
    assert_int_equal(talk(s, S("DATA\r\nX-Spam: yes, much\r\n\r\nx\r\n.\r\n")), SMTPD_WAIT);
    taken_envelope(&a, &e);
    assert_int_equal(e.rcpt_count, 3);
    assert_int_equal(e.delivery_count, 2);
    assert_int_equal(e.deliveries[0].kind, JOB_MAILBOX);
    assert_int_equal(e.deliveries[1].kind, JOB_MAILBOX);
    assert_int_equal(e.deliveries[1].rcpt, 2);
    done(&core, OK);
    buf_reset(&host.said);
    (void)talk(s, STR_NONE);
    str said = buf_str(&host.said), line;
    static const str starts[] = {S_INIT("250 2.0.0 "), S_INIT("550 5.7.1 no spam"), S_INIT("250 2.0.0 ")};
    for (size_t i = 0; i < 3; i++) {
        assert_true(str_line(&said, &line));
        assert_true(str_starts(line, starts[i]));
    }
    assert_int_equal(said.n, 0);
    /* the store takes it for nobody: nobody is told otherwise */
    (void)talk(s, mail);
    assert_int_equal(talk(s, S("DATA\r\nX-Spam: yes, much\r\n\r\nx\r\n.\r\n")), SMTPD_WAIT);
    done(&core, ERR_IO);
    buf_reset(&host.said);
    (void)talk(s, STR_NONE);
    for (said = buf_str(&host.said); str_line(&said, &line);)
        assert_true(str_starts(line, S("451 ")));
    /* all are refused, each in his words */
    (void)talk(s, mail);
    buf_reset(&host.said);
    (void)talk(s, S("DATA\r\nX-Spam: yes, much\r\nX-Worse: yes\r\n\r\nx\r\n.\r\n"));
    assert_true(has(buf_str(&host.said), S("550 5.7.1 worse\r\n550 5.7.1 no spam\r\n550 5.7.1 worse\r\n")));
    hang_up(s);
    arena_free(&a);
    close_core(&core);
}

static void spool(struct smtpd_core *core, str user, bool trusted, str text) {
    host.spool = (struct frame_spool_done){0};
    struct smtpd_spool *p = smtpd_spool_new(core, 5, user, trusted);
    assert_non_null(p);
    smtpd_spool_add(p, text);
    smtpd_spool_run(p, OK);
    while (answer(core))
        ;
}

static void test_the_spool(void **state) {
    (void)state;
    struct smtpd_core core;
    struct arena a = ARENA(1 << 20);
    struct envelope e;
    open_core(&core, S(SERVER));
    spool(&core, S("cron"), false,
          S("EHLO x\nMAIL FROM:<cron@mx.example.org>\nRCPT TO:<ada@example.org>\nRCPT TO:<nobody@example.org>\nDATA\n"
            "Subject: x\n\n..hello\n.\nQUIT\n"));
    done(&core, OK);
    assert_int_equal(host.spool.tag, 5);
    assert_int_equal(host.spool.err, OK);
    taken_envelope(&a, &e);
    assert_int_equal(e.delivery_count, 2); /* one is returned: nobody is there to be told */
    assert_int_equal(e.deliveries[1].kind, JOB_REFUSED);
    assert_true(has(e.deliveries[1].detail, S("550 5.1.1 ")));
    assert_true(has(buf_str(&host.body), S("\r\n\r\n.hello\r\n")));
    spool(&core, S("cron"), false, S("EHLO x\nMAIL FROM:<ada@example.org>\nRCPT TO:<ada@example.org>\nDATA\nx\n.\n"));
    assert_int_equal(host.spool.err, ERR_DENIED);
    spool(&core, S("cron"), false, S("EHLO x\n"));
    assert_int_equal(host.spool.err, ERR_SYNTAX);
    spool(&core, S("cron"), false, S("EHLO x\nMAIL FROM:<>\nRCPT TO:<ada@example.org>\nDATA\ncut off"));
    assert_int_equal(host.spool.err, ERR_SYNTAX);
    /* not now: nothing is committed, for it will come again whole */
    spool(&core, S("cron"), false, S("EHLO x\nMAIL FROM:<>\nRCPT TO:<ada@example.org>\nDATA\nx\n.\n"));
    done(&core, ERR_FULL);
    assert_int_equal(host.spool.err, ERR_FULL);
    smtpd_core_down(&core, ROLE_STORE);
    spool(&core, S("cron"), false, S("EHLO x\nMAIL FROM:<>\nRCPT TO:<work@example.org>\nDATA\nx\n.\n"));
    assert_int_equal(host.spool.err, ERR_IO);
    assert_int_equal(core.session_count, 0);
    arena_free(&a);
    close_core(&core);
}

static void test_traces(void **state) {
    (void)state;
    struct smtpd_core core;
    open_core(&core, S(SERVER));
    struct smtpd_session *early = client(&core, S("192.0.2.9")), *other = client(&core, S("198.51.100.7"));
    struct frame on = {FRAME_TRACE_ON, .trace_on = {3, S("192.0.2.")}}, off = {FRAME_TRACE_OFF, .trace_off = {3}};
    smtpd_core_frame(&core, &on);
    struct smtpd_session *late = client(&core, S("192.0.2.10"));
    (void)run(early, S("HELO early\r\n"));
    (void)run(other, S("HELO other\r\n"));
    (void)run(late, S("HELO late\r\n"));
    assert_true(has(buf_str(&host.traced), S("C: HELO early\n")) && has(buf_str(&host.traced), S("C: HELO late\n")));
    assert_true(str_find_str(buf_str(&host.traced), S("other")) == SIZE_MAX);
    smtpd_core_frame(&core, &off);
    (void)run(early, S("HELO again\r\n"));
    assert_true(str_find_str(buf_str(&host.traced), S("again")) == SIZE_MAX);
    hang_up(early);
    hang_up(other);
    hang_up(late);
    close_core(&core);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message),
        cmocka_unit_test(test_large_body_is_cut),
        cmocka_unit_test(test_store_trouble),
        cmocka_unit_test(test_limits_bind_strangers),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_messages_of_a_stranger_are_counted),
        cmocka_unit_test(test_a_sandbox_with_routes),
        cmocka_unit_test(test_a_mail_is_routed),
        cmocka_unit_test(test_the_store_goes_while_it_is_asked),
        cmocka_unit_test(test_no_open_relay),
        cmocka_unit_test(test_submission_needs_a_user),
        cmocka_unit_test(test_keyd_judges_credentials),
        cmocka_unit_test(test_local_users),
        cmocka_unit_test(test_limits_of_an_account),
        cmocka_unit_test(test_routes_that_see_the_header),
        cmocka_unit_test(test_lmtp_answers),
        cmocka_unit_test(test_a_loop_ends),
        cmocka_unit_test(test_what_the_header_says),
        cmocka_unit_test(test_injection),
        cmocka_unit_test(test_submission_edits),
        cmocka_unit_test(test_rewrites),
        cmocka_unit_test(test_forwarded_mail_gets_a_sender_of_ours),
        cmocka_unit_test(test_a_report),
        cmocka_unit_test(test_the_spool),
        cmocka_unit_test(test_traces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
