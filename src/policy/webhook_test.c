#include "policy/webhook.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void what_is_posted(void **state) {
    (void)state;
    struct envelope v = {.received_us = 1795613794082832,
                         .client_address = S("192.0.2.1"),
                         .helo = S("c\"x"),
                         .protocol = S("ESMTPS"),
                         .tls_version = S("TLSv1.3")};
    struct webhook_post p = {.id = S("abc"),
                             .route = S("hook"),
                             .sender = STR_NONE,
                             .recipient = S("o@example.org"),
                             .size = 17,
                             .envelope = &v,
                             .message =
                                 S("Subject: =?utf-8?q?=C3=BC?=\r\n \x01\"x\r\nFrom: A <a@b>, c@d\r\n\r\nh\xff")};
    struct buf out = BUF(10000);
    webhook_json(&p, &out);
    assert_string_equal(
        buf_cstr(&out),
        "{\"type\":\"message.received\",\"timestamp\":\"2026-11-25T13:36:34.082832Z\",\"data\":{\"id\":\"abc\","
        "\"route\":\"hook\",\"envelope\":{\"from\":\"\",\"to\":\"o@example.org\"},\"client\":{\"address\":\"192.0.2."
        "1\","
        "\"helo\":\"c\\\"x\",\"user\":\"\",\"protocol\":\"ESMTPS\",\"tls\":\"TLSv1.3\"},\"size\":17,\"message_id\":"
        "\"\","
        "\"date\":null,\"subject\":\"\xc3\xbc \\\"x\",\"from\":[{\"name\":\"A\",\"address\":\"a@b\"},{\"name\":\"\","
        "\"address\":\"c@d\"}],\"to\":[],\"cc\":[],\"reply_to\":[],\"complete\":true,\"raw\":"
        "\"U3ViamVjdDogPT91dGYtOD9xPz1DMz1CQz89DQogASJ4DQpGcm9tOiBBIDxhQGI+LCBjQGQNCg0KaP8=\"}}");
    p.cut = true;
    buf_reset(&out);
    webhook_json(&p, &out);
    assert_true(str_find_str(buf_str(&out), S("\"complete\":false")) != SIZE_MAX);
    buf_free(&out);
}

static void where_a_header_ends(void **state) {
    (void)state;
    static const struct {
        str text;
        size_t n;
    } rows[] = {
        {S_INIT("a: b\r\n\r\nbody\r\n\r\n"), 8},
        {S_INIT("a: b\n\nbody"), 6},
        {S_INIT("a: b\r\nc: d"), 0},
        {S_INIT("a: b\r\n"), 0},
        {S_INIT("a: b\r\n\r"), 0},
        {S_INIT("\r\nbody"), 2},
        {S_INIT("\n"), 1},
        {S_INIT(""), 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(webhook_header_size(rows[i].text), rows[i].n);
}

static void an_id_is_of_message_and_recipient(void **state) {
    (void)state;
    char space[WEBHOOK_ID_MAX];
    struct buf id = {.p = space, .cap = sizeof space, .limit = sizeof space};
    webhook_id(S("0123456789abcdefghijkl"), UINT32_MAX, &id);
    assert_false(id.full);
    assert_string_equal(buf_cstr(&id), "0123456789abcdefghijkl_4294967295");
}

/* The secret, the text and its signature are those of the specification's reference libraries. */
static void signatures(void **state) {
    (void)state;
    static const str text = S_INIT("msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}");
    static const struct {
        const char *secrets;
        enum err e;
        const char *out;
    } rows[] = {
        {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", OK, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {"plain text\n", OK, "v1,jqwBeuO37ldYigaSHqcC7YjqBJtOOulPztOWrj1DjXA="},
        {"\n whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\r\n\nplain text", OK,
         "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1,jqwBeuO37ldYigaSHqcC7YjqBJtOOulPztOWrj1DjXA="},
        {"", ERR_SYNTAX, ""},
        {"\n \n", ERR_SYNTAX, ""},
        {"whsec_", ERR_SYNTAX, ""},
        {"whsec_not base64", ERR_SYNTAX, ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf out = BUF(1000);
        struct why w;
        assert_int_equal(webhook_sign(str_of(rows[i].secrets), text, &out, &w), rows[i].e);
        if (!rows[i].e)
            assert_string_equal(buf_cstr(&out), rows[i].out);
        buf_free(&out);
    }
}

static void what_answers_mean(void **state) {
    (void)state;
    static const struct {
        unsigned status;
        enum job_outcome outcome;
        enum job_trouble trouble;
        unsigned code;
        const char *text;
    } rows[] = {
        {200, JOB_DELIVERED, JOB_FINE, 250, "2.0.0 the webhook answered 200: said"},
        {204, JOB_DELIVERED, JOB_FINE, 250, "2.0.0 the webhook answered 204: said"},
        {302, JOB_DEFERRED, JOB_FINE, 451, "4.3.5 the webhook answered 302, a redirect, which is not followed: said"},
        {400, JOB_FAILED, JOB_FINE, 554, "5.3.0 the webhook answered 400: said"},
        {401, JOB_DEFERRED, JOB_FINE, 451, "4.7.8 the webhook answered 401: said"},
        {403, JOB_FAILED, JOB_FINE, 550, "5.7.1 the webhook answered 403: said"},
        {404, JOB_FAILED, JOB_FINE, 550, "5.1.1 the webhook answered 404: said"},
        {408, JOB_DEFERRED, JOB_FINE, 451, "4.4.2 the webhook answered 408: said"},
        {409, JOB_DEFERRED, JOB_FINE, 451, "4.3.0 the webhook answered 409: said"},
        {410, JOB_FAILED, JOB_FINE, 550, "5.1.6 the webhook answered 410: said"},
        {413, JOB_FAILED, JOB_FINE, 552, "5.3.4 the webhook answered 413: said"},
        {418, JOB_FAILED, JOB_FINE, 554, "5.3.0 the webhook answered 418: said"},
        {425, JOB_DEFERRED, JOB_FINE, 451, "4.3.0 the webhook answered 425: said"},
        {429, JOB_DEFERRED, JOB_BUSY, 451, "4.3.2 the webhook answered 429: said"},
        {500, JOB_DEFERRED, JOB_FINE, 451, "4.3.0 the webhook answered 500: said"},
        {503, JOB_DEFERRED, JOB_BUSY, 451, "4.3.2 the webhook answered 503: said"},
        {507, JOB_DEFERRED, JOB_FINE, 452, "4.3.1 the webhook answered 507: said"},
        {599, JOB_DEFERRED, JOB_FINE, 451, "4.3.0 the webhook answered 599: said"},
        {999, JOB_DEFERRED, JOB_FINE, 451, "4.5.0 the webhook answered 999: said"},
        {0, JOB_DEFERRED, JOB_FINE, 451, "4.5.0 the webhook answered 0: said"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct webhook_answer a = {.status = rows[i].status, .said = S(" said\r\n")};
        struct buf text = BUF(1000);
        struct webhook_verdict v = webhook_judge(&a, &text);
        assert_string_equal(buf_cstr(&text), rows[i].text);
        assert_int_equal(v.outcome, rows[i].outcome);
        assert_int_equal(v.trouble, rows[i].trouble);
        assert_int_equal(v.code, rows[i].code);
        buf_free(&text);
    }
}

static void what_no_answer_means(void **state) {
    (void)state;
    static const struct {
        enum webhook_end end;
        bool sent;
        enum job_outcome outcome;
        enum job_trouble trouble;
        const char *text;
    } rows[] = {
        {WEBHOOK_NO_CONNECT, false, JOB_DEFERRED, JOB_NO_CONNECT, "4.4.1 the webhook could not be reached: why"},
        {WEBHOOK_NO_TLS, false, JOB_DEFERRED, JOB_HANDSHAKE, "4.7.5 no TLS with the webhook: why"},
        {WEBHOOK_TIMEOUT, false, JOB_DEFERRED, JOB_BROKEN, "4.4.2 the webhook did not answer in time: why"},
        {WEBHOOK_TIMEOUT, true, JOB_UNKNOWN, JOB_BROKEN, "4.4.2 the webhook did not answer in time: why"},
        {WEBHOOK_BROKEN, true, JOB_UNKNOWN, JOB_BROKEN, "4.4.2 the connection to the webhook broke: why"},
        {WEBHOOK_NONSENSE, true, JOB_UNKNOWN, JOB_HANDSHAKE, "4.5.0 the webhook does not speak HTTP: why"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct webhook_answer a = {.end = rows[i].end, .sent = rows[i].sent, .reason = S("why")};
        struct buf text = BUF(1000);
        struct webhook_verdict v = webhook_judge(&a, &text);
        assert_string_equal(buf_cstr(&text), rows[i].text);
        assert_int_equal(v.outcome, rows[i].outcome);
        assert_int_equal(v.trouble, rows[i].trouble);
        assert_int_equal(v.code, 451);
        buf_free(&text);
    }
}

static void what_is_said_is_shown_on_one_line(void **state) {
    (void)state;
    char much[20000];
    memset(much, 'x', sizeof much);
    struct webhook_answer a = {.status = 503,
                               .said = S("a\r\n2.0.0 b\x1b[31m\xff\\"),
                               .wait = S("\x1b"
                                         "120")};
    struct buf text = BUF(4000);
    (void)webhook_judge(&a, &text);
    assert_string_equal(buf_cstr(&text),
                        "4.3.2 the webhook answered 503 (Retry-After \\x1b120): a  2.0.0 b[31m\xef\xbf\xbd\\\\");
    buf_reset(&text);
    a.said = str_n(much, sizeof much);
    (void)webhook_judge(&a, &text);
    assert_true(text.n < 700 && !text.full);
    buf_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_posted),
        cmocka_unit_test(where_a_header_ends),
        cmocka_unit_test(an_id_is_of_message_and_recipient),
        cmocka_unit_test(signatures),
        cmocka_unit_test(what_answers_mean),
        cmocka_unit_test(what_no_answer_means),
        cmocka_unit_test(what_is_said_is_shown_on_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
