#include "mime/dsn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/code.h"
#include "mime/mime.h"

static const struct date noon = {.us = INT64_C(1764072000000000)}; /* 25 Nov 2025 12:00 */

static struct dsn report(const struct dsn_rcpt *rcpts, size_t count) {
    return (struct dsn){
        .host = S("mx.example.org"),
        .to = S("ann@example.org"),
        .message_id = S("r1@mx.example.org"),
        .boundary = S("B0"),
        .now = noon,
        .arrival = noon,
        .id = S("abc"),
        .rcpts = rcpts,
        .rcpt_count = count,
        .returns = DSN_RETURNS_HEADER,
    };
}

static str build(const struct dsn *d, str original, struct buf *out) {
    struct buf tail = BUF(1000);
    struct why w = {0};
    assert_int_equal(dsn_build(d, out, &tail, &w), OK);
    buf_add(out, original);
    buf_add(out, buf_str(&tail));
    buf_free(&tail);
    return buf_str(out);
}

static void has(str report_text, const char *s) {
    if (str_find_str(report_text, str_of(s)) == SIZE_MAX)
        fail_msg("not in the report: %s\n%.*s", s, STR_ARG(report_text));
}

static void has_not(str report_text, const char *s) {
    assert_int_equal(str_find_str(report_text, str_of(s)), SIZE_MAX);
}

/* The types of its parts, one after the other. */
static void types(str message, struct buf *out) {
    struct mime m;
    enum mime_event e;
    mime_init(&m);
    while ((e = mime_next(&m, &message, true)) != MIME_DONE)
        if (e == MIME_PART)
            buf_printf(out, "%.*s/%.*s ", STR_ARG(mime_part(&m)->type), STR_ARG(mime_part(&m)->subtype));
    for (unsigned i = 0; i < MIME_FAULT_COUNT; i++)
        assert_int_equal(m.faults[i].count, 0);
    mime_free(&m);
}

static void test_failure(void **state) {
    (void)state;
    struct dsn_rcpt r = {.action = DSN_FAILED,
                         .address = S("bob@example.net"),
                         .orcpt = S("rfc822;Bob+2Bx@example.net"),
                         .code = 550,
                         .text = S("5.1.1 <bob@example.net>: no such user\nsecond line"),
                         .remote = S("mx.example.net"),
                         .attempt = noon};
    struct dsn d = report(&r, 1);
    struct buf out = BUF(1 << 20), kinds = BUF(1000);
    d.envid = S("QQ+2B1");
    d.original_message_id = S("<m1@example.org>");
    d.original_subject = S("Lunch");
    str text = build(&d, S("Subject: Lunch\r\n"), &out);
    has(text, "From: \"Mail Delivery System\" <MAILER-DAEMON@mx.example.org>\r\nTo: <ann@example.org>\r\n");
    has(text, "Subject: Your message could not be delivered\r\n");
    has(text, "Auto-Submitted: auto-replied\r\n");
    has(text, "In-Reply-To: <m1@example.org>\r\n");
    has(text, "Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"=_B0\"\r\n");
    has(text, "    Subject: Lunch\r\n");
    has(text, "There is no mailbox with this address.");
    has(text, "The server mx.example.net answered:\r\n        550 5.1.1 <bob@example.net>: no such user\r\n"
              "        550 second line\r\n");
    has(text, "What you can do: Check the address");
    has(text, "Original-Envelope-Id: QQ+1\r\nReporting-MTA: dns; mx.example.org\r\n");
    has(text, "Arrival-Date: Tue, 25 Nov 2025 12:00:00 +0000\r\n");
    has(text, "\r\n\r\nOriginal-Recipient: rfc822; Bob+x@example.net\r\nFinal-Recipient: rfc822; bob@example.net\r\n"
              "Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.example.net\r\n"
              "Diagnostic-Code: smtp; 550 5.1.1 <bob@example.net>: no such user second\r\n line\r\n"
              "Last-Attempt-Date: Tue, 25 Nov 2025 12:00:00 +0000\r\n");
    has_not(text, "Will-Retry-Until");
    types(text, &kinds);
    assert_string_equal(buf_cstr(&kinds), "multipart/report text/plain message/delivery-status text/rfc822-headers ");
    buf_free(&kinds);
    buf_free(&out);
}

static void test_delay_and_success(void **state) {
    (void)state;
    struct dsn_rcpt r[] = {
        {.action = DSN_DELAYED, .address = S("late@x"), .text = S("connection refused"), .until = noon, .next = noon},
        {.action = DSN_DELIVERED, .address = S("in@x")},
        {.action = DSN_RELAYED, .address = S("on@x"), .code = 250, .text = S("2.1.5 ok")},
        {.action = DSN_EXPANDED, .address = S("many@x")},
    };
    struct dsn d = report(r, 4);
    struct buf out = BUF(1 << 20);
    str text = build(&d, S("A: b\r\n"), &out);
    has(text, "Subject: Your message is late\r\n");
    has(text, "You will be told if it could not be delivered by: Tue, 25 Nov 2025");
    has(text, "Final-Recipient: rfc822; late@x\r\nAction: delayed\r\nStatus: 4.0.0\r\n"
              "Diagnostic-Code: X-Penfold; connection refused\r\nWill-Retry-Until: Tue, 25 Nov 2025");
    has(text, "Final-Recipient: rfc822; in@x\r\nAction: delivered\r\nStatus: 2.0.0\r\n");
    has(text, "Final-Recipient: rfc822; on@x\r\nAction: relayed\r\nStatus: 2.1.5\r\n");
    has(text, "Final-Recipient: rfc822; many@x\r\nAction: expanded\r\nStatus: 2.0.0\r\n");
    buf_free(&out);
}

static void test_statuses(void **state) {
    (void)state;
    static const struct {
        enum dsn_action action;
        const char *status;
        unsigned code;
        const char *text, *told, *meaning;
    } rows[] = {
        {DSN_FAILED, "", 550, "no", "5.0.0", "did not take the message"},
        {DSN_FAILED, "", 450, "busy", "4.0.0", "did not take the message"}, /* of age */
        {DSN_FAILED, "", 0, "no route", "5.0.0", "did not take the message"},
        {DSN_FAILED, "4.4.7", 0, "5.1.1 x", "4.4.7", "ran out"},
        {DSN_FAILED, "", 552, "5.2.2 full", "5.2.2", "mailbox is full"},
        {DSN_FAILED, "", 552, "5.22222.2", "5.0.0", "did not take"},
        {DSN_FAILED, "", 552, "5.3.4x", "5.0.0", "did not take"},
        {DSN_FAILED, "", 554, "5.7.26 dmarc", "5.7.26", "refuses the message"},
        {DSN_FAILED, "", 550, "5.1.10 null MX", "5.1.10", "does not take\r\n    mail"},
        {DSN_DELAYED, "", 550, "5.1.1 x", "4.1.1", "no mailbox"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dsn_rcpt r = {.action = rows[i].action,
                             .address = S("a@b"),
                             .status = str_of(rows[i].status),
                             .code = rows[i].code,
                             .text = str_of(rows[i].text)};
        struct dsn d = report(&r, 1);
        struct buf out = BUF(1 << 20);
        char field[64];
        snprintf(field, sizeof field, "\r\nStatus: %s\r\n", rows[i].told);
        str text = build(&d, STR_NONE, &out);
        has(text, field);
        has(text, rows[i].meaning);
        buf_free(&out);
    }
}

static void test_what_others_say_is_harmless(void **state) {
    (void)state;
    struct dsn_rcpt r = {.action = DSN_FAILED,
                         .address = S("a@b\r\nX: y"),
                         .orcpt = S("rfc822;a+0D+0AX: z"),
                         .code = 550,
                         .text = S("no\r\n\r\n--=_B0\r\nX-Injected: 1\x1b[31m \xff \xe2\x80\xae\xc3\xbc\0z"),
                         .remote = S("evil\r\nX-Evil: 1")};
    struct dsn d = report(&r, 1);
    struct buf out = BUF(1 << 20), kinds = BUF(1000);
    str text = build(&d, STR_NONE, &out);
    has_not(text, "\nX-Injected");
    has_not(text, "\nX: ");
    has_not(text, "\nX-Evil");
    has_not(text, "\x1b");
    has(text, "charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n"); /* the u with dots, for the person */
    assert_true(utf8_is_ascii(text));
    types(text, &kinds);
    assert_string_equal(buf_cstr(&kinds), "multipart/report text/plain message/delivery-status text/rfc822-headers ");
    d.to = S("a@b\r\nBcc: x@y");
    struct buf head = BUF(1 << 20), tail = BUF(1000);
    struct why w;
    assert_int_equal(dsn_build(&d, &head, &tail, &w), ERR_SYNTAX);
    assert_int_equal(head.n, 0);
    buf_free(&kinds);
    buf_free(&out);
    buf_free(&head);
    buf_free(&tail);
}

static void test_utf8(void **state) {
    (void)state;
    struct dsn_rcpt r = {.action = DSN_FAILED,
                         .address = S("j\xc3\xbc@x.example"),
                         .orcpt = S("utf-8;j\\x{FC}@x.example"),
                         .code = 550,
                         .text = S("5.1.1 gr\xc3\xbc\xc3\x9f")};
    struct dsn d = report(&r, 1);
    struct buf out = BUF(1 << 20), kinds = BUF(1000);
    d.utf8 = true;
    d.returns = DSN_RETURNS_WHOLE;
    assert_true(dsn_is_utf8(&d));
    str text = build(&d, S("Subject: \xc3\xbc\r\n\r\nx\r\n"), &out);
    has(text, "report-type=global-delivery-status;");
    has(text, "Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n");
    has(text, "Original-Recipient: utf-8; j\\x{FC}@x.example\r\nFinal-Recipient: utf-8; j\xc3\xbc@x.example\r\n");
    has(text, "Content-Type: message/global\r\n");
    /* where the sender cannot read UTF-8 */
    buf_reset(&out);
    d.utf8 = false;
    d.returns = DSN_RETURNS_HEADER;
    assert_false(dsn_is_utf8(&d));
    text = build(&d, S("A: b\r\n"), &out);
    has(text, "Final-Recipient: utf-8; j\\x{FC}@x.example\r\n");
    has(text, "Diagnostic-Code: smtp; 550 5.1.1 gr??\r\n");
    assert_true(utf8_is_ascii(text));
    /* an original recipient of the type rfc822 that is none, as Postfix hands it on */
    buf_reset(&out);
    r.orcpt = S("rfc822;j+C3+BC@x.example");
    text = build(&d, S("A: b\r\n"), &out);
    has(text, "Original-Recipient: utf-8; j\\x{FC}@x.example\r\n");
    buf_free(&kinds);
    buf_free(&out);
}

static void test_what_is_returned(void **state) {
    (void)state;
    struct dsn_rcpt failed = {.action = DSN_FAILED}, late = {.action = DSN_DELAYED};
    assert_int_equal(dsn_returns(&failed, 1, false, 100, 100), DSN_RETURNS_WHOLE);
    assert_int_equal(dsn_returns(&failed, 1, false, 101, 100), DSN_RETURNS_HEADER);
    assert_int_equal(dsn_returns(&failed, 1, true, 1, 100), DSN_RETURNS_HEADER);
    assert_int_equal(dsn_returns(&late, 1, false, 1, 100), DSN_RETURNS_HEADER);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failure),  cmocka_unit_test(test_delay_and_success),
        cmocka_unit_test(test_statuses), cmocka_unit_test(test_what_others_say_is_harmless),
        cmocka_unit_test(test_utf8),     cmocka_unit_test(test_what_is_returned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
