#include "mime/mime.h"
#include "role/content_core.h"
#include "smtp/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* An ugly mail: 8-bit header, two texts, HTML with a cid: picture, an attachment with a coded name, LF here and there.
 */
static const char ugly[] =
    "From: =?utf-8?Q?J=C3=BCrgen?= <j@x.example>\r\n"
    "To: a@x.example, \"B, C\" <b@x.example>\r\nCc: g: c@x.example;\r\n"
    "subject: Gr\xfc\xdf"
    "e\r\n =?utf-8?B?4oKs?=\r\n"
    "Message-ID: <id@x.example>\r\nDate: Mon, 23 Nov 2026 07:13:31 +0100\r\n"
    "List-Unsubscribe: <mailto:u@x>, <https://x/u>\r\nX-Two: 1\r\nX-Two: 2\n"
    "Content-Type: multipart/mixed; boundary=m\r\n\r\n"
    "--m\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n"
    "--a\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    "Hallo =FC=\r\nber\r\n--a\r\nContent-Type: text/html\r\n\r\n<p>Hi<img src=\"cid:p@x\">\r\n--a--\r\n"
    "--m\r\nContent-Type: image/png\r\nContent-ID: <p@x>\r\nContent-Disposition: inline\r\nContent-Transfer-Encoding: "
    "base64\r\n\r\nAAEC\r\n"
    "--m\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; "
    "filename*=utf-8''%c3%bc.pdf\r\n\r\nabc\r\n"
    "--m\r\n\r\nsecond\r\n--m--\r\n";

static struct envelope_rcpt rcpts[] = {{S_INIT("A@x.example"), S_INIT("")}, {S_INIT("hidden@x.example"), S_INIT("")}};

/* The whole output of a view, given in pieces of `step` bytes; how it ended in *e. */
static char *view(unsigned kind, const char *argument, str mail, size_t step, enum err *e) {
    static struct buf all;
    struct buf coded = BUF(10000);
    struct envelope env = {
        .sender = S("s@x.example"), .auth_user = S("u"), .received_us = 1, .rcpts = rcpts, .rcpt_count = 2};
    struct content *c = content_new(kind, str_of(argument));
    buf_free(&all);
    all.limit = 1 << 24;
    envelope_put(&coded, &env);
    content_envelope(c, buf_str(&coded));
    for (; mail.n; mail = str_tail(mail, step)) {
        content_body(c, str_head(mail, step));
        buf_add(&all, content_out(c));
        content_taken(c);
    }
    content_end(c);
    buf_add(&all, content_out(c));
    assert_true(content_result(c)->done);
    *e = content_result(c)->err;
    content_free(c);
    buf_free(&coded);
    (void)buf_cstr(&all);
    return all.p ? all.p : (char *)"";
}

static void check(unsigned kind, const char *argument, const char *expected) {
    enum err e;
    for (size_t step = 1; step < 100000; step = step * 9 + 1) {
        assert_string_equal(view(kind, argument, str_of(ugly), step, &e), expected);
        assert_int_equal(e, OK);
    }
}

#define PEOPLE                                                                                                         \
    "{\"MessageID\":\"id@x.example\",\"From\":{\"Name\":\"J\xc3\xbcrgen\",\"Address\":\"j@x.example\"},"               \
    "\"To\":[{\"Name\":\"\",\"Address\":\"a@x.example\"},{\"Name\":\"B, C\",\"Address\":\"b@x.example\"}],"            \
    "\"Cc\":[{\"Name\":\"\",\"Address\":\"c@x.example\"}],\"Bcc\":[{\"Name\":\"\",\"Address\":\"hidden@x.example\"}]," \
    "\"ReplyTo\":[],"

static void test_summary(void **state) {
    (void)state;
    check(VIEW_SUMMARY, "",
          PEOPLE "\"Subject\":\"Gr\xc3\xbc\xc3\x9f"
                 "e \xe2\x82\xac\",\"Username\":\"u\",\"Attachments\":1,"
                 "\"Snippet\":\"Hallo \xc3\xbc"
                 "ber second\"}");
}

static void test_message(void **state) {
    (void)state;
    check(VIEW_MESSAGE, "",
          PEOPLE "\"ReturnPath\":\"s@x.example\",\"Subject\":\"Gr\xc3\xbc\xc3\x9f"
                 "e \xe2\x82\xac\","
                 "\"ListUnsubscribe\":{\"Header\":\"\\u003cmailto:u@x>, "
                 "\\u003chttps://x/u>\",\"Links\":[\"mailto:u@x\",\"https://x/u\"],"
                 "\"Errors\":\"\",\"HeaderPost\":\"\"},\"Date\":\"2026-11-23T07:13:31+01:00\",\"Username\":\"u\","
                 "\"Text\":\"Hallo \xc3\xbc"
                 "ber\\nsecond\",\"HTML\":\"\\u003cp>Hi\\u003cimg src=\\\"cid:p@x\\\">\","
                 "\"Inline\":[{\"PartID\":\"2\",\"FileName\":\"p@x\",\"ContentType\":\"image/"
                 "png\",\"ContentID\":\"p@x\",\"Size\":3,"
                 "\"Checksums\":{\"MD5\":\"b95f67f61ebb03619622d798f45fc2d3\",\"SHA1\":"
                 "\"0c7a623fd2bbc05b06423be359e4021d36e721ad\","
                 "\"SHA256\":\"ae4b3280e56e2faf83f414a6e3dabe9d5fbe18976544c05fed121accb85b53fc\"}}],"
                 "\"Attachments\":[{\"PartID\":\"3\",\"FileName\":\"\xc3\xbc.pdf\",\"ContentType\":\"application/"
                 "pdf\",\"ContentID\":\"\",\"Size\":3,"
                 "\"Checksums\":{\"MD5\":\"900150983cd24fb0d6963f7d28e17f72\",\"SHA1\":"
                 "\"a9993e364706816aba3e25717850c26c9cd0d89d\","
                 "\"SHA256\":\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"}}]}");
}

static void test_parts_and_bodies(void **state) {
    (void)state;
    enum err e;
    check(VIEW_PART, "3", "abc");
    check(VIEW_PART, "1.2", "<p>Hi<img src=\"cid:p@x\">");
    check(VIEW_HTML, "P&/", "<p>Hi<img src=\"P&amp;/2\">");
    check(VIEW_TEXT, "",
          "Hallo \xc3\xbc"
          "ber\nsecond");
    (void)view(VIEW_PART, "9", str_of(ugly), 1000, &e);
    assert_int_equal(e, ERR_NOT_FOUND);
    (void)view(VIEW_HTML, "", S("A: b\r\n\r\nx"), 1000, &e);
    assert_int_equal(e, ERR_NOT_FOUND);
    assert_string_equal(view(VIEW_TEXT, "", S("Content-Type: text/html\r\n\r\n<p>a<p>b"), 1000, &e), "a\n\nb\n");
}

static void test_headers(void **state) {
    (void)state;
    enum err e;
    assert_string_equal(view(VIEW_HEADERS, "", S("x-b: 2\r\nSubject: a\r\n\tb\r\njunk\r\n"), 1, &e),
                        "{\"X-B\":[\"2\"],\"Subject\":[\"a b\"]}");
    assert_string_equal(
        view(VIEW_HEADERS, "", S("Received: 1\r\nTo: x\r\nRECEIVED: 2\r\nA: b\r\nto: y\r\n\r\n"), 7, &e),
        "{\"Received\":[\"1\",\"2\"],\"To\":[\"x\",\"y\"],\"A\":[\"b\"]}");
    assert_non_null(strstr(view(VIEW_HEADERS, "", str_of(ugly), 50, &e), "\"X-Two\":[\"1\",\"2\"],\"Content-Type\""));
    assert_string_equal(view(VIEW_HEADERS, "", S(""), 1, &e), "{}");
}

static void test_structure(void **state) {
    (void)state;
    enum err e;
    const char *json = view(VIEW_STRUCTURE, "", str_of(ugly), 77, &e);
    assert_non_null(strstr(json, "\"Name\":\"header-8bit\""));
    assert_non_null(strstr(json, "\"Name\":\"bare-lf\""));
    assert_non_null(strstr(json, "\"Name\":\"missing-mime-version\""));
    assert_non_null(strstr(json, "\"PartID\":\"1.2\",\"ContentType\":\"text/html\""));
    int depth = 0;
    for (; *json; json++)
        depth += (*json == '{' || *json == '[') - (*json == '}' || *json == ']');
    assert_int_equal(depth, 0);
    json = view(VIEW_STRUCTURE, "", S("Date: x\r\nFrom: a\r\nFrom: b\r\n\r\n"), 77, &e);
    assert_non_null(strstr(json, "\"duplicate-from\""));
    assert_non_null(strstr(json, "\"bad-date\""));
    assert_non_null(strstr(json, "\"missing-message-id\""));
}

/* What the charset of a text does not have is a fault of that part. */
static void test_bytes_of_another_charset(void **state) {
    (void)state;
    static const struct {
        str head, body;
        bool wrong;
    } rows[] = {
        {S_INIT("text/plain; charset=UTF-8"), S_INIT("gr\xfc\xdf"), true},
        {S_INIT("text/plain; charset=UTF-8"), S_INIT("gr\xfcsse"), true},
        {S_INIT("text/plain; charset=UTF-8"), S_INIT("\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80"), false},
        {S_INIT("text/plain; charset=UTF-8"), S_INIT("\xe2\x82"), true}, /* cut */
        {S_INIT("text/plain; charset=UTF-8"), S_INIT("\x80"), true},
        {S_INIT("text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: quoted-printable"), S_INIT("=E9"), true},
        {S_INIT("text/html; charset=us-ascii"), S_INIT("\xc3\xbc"), true},
        {S_INIT("text/plain; charset=iso-8859-1"), S_INIT("\x80\xff"), false},
        {S_INIT("text/plain; charset=unknown-8bit"), S_INIT("\xff"), false},
        {S_INIT("text/plain; charset=nobody-knows"), S_INIT("\xff"), false},
        {S_INIT("text/plain"), S_INIT("\xff"), false},
        {S_INIT("text/plain; charset=iso-2022-jp"), S_INIT("\x1b$B$3\x1b(B"), false},
        {S_INIT("text/plain; charset=shift_jis"), S_INIT("\x82\xb1\x82"), true},
        {S_INIT("text/plain; charset=euc-jp"), S_INIT("\xa4\xb3"), false},
        {S_INIT("application/x; charset=utf-8"), S_INIT("\xff"), false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t step = 1; step < 100; step += 96) {
            struct buf mail = BUF(1000);
            enum err e;
            buf_printf(&mail, "MIME-Version: 1.0\r\nContent-Type: %.*s\r\n\r\n", STR_ARG(rows[i].head));
            buf_add(&mail, rows[i].body);
            const char *json = view(VIEW_STRUCTURE, "", buf_str(&mail), step, &e);
            const char *part = strstr(json, "\"Parts\"");
            assert_int_equal(e, OK);
            assert_int_equal(strstr(json, "\"Name\":\"charset-invalid\"") != NULL, rows[i].wrong);
            assert_int_equal(strstr(part, "\"charset-invalid\"") != NULL, rows[i].wrong);
            buf_free(&mail);
        }
}

static void test_snippet_is_cut_between_characters(void **state) {
    (void)state;
    enum err e;
    struct buf mail = BUF(10000), expected = BUF(1000);
    buf_add(&mail, S("Content-Type: text/plain; charset=utf-8\r\n\r\na"));
    buf_add(&expected, S("\"Snippet\":\"a"));
    for (int i = 0; i < 300; i++)
        buf_add(&mail, S("\xc3\xbc"));
    for (int i = 0; i < 99; i++)
        buf_add(&expected, S("\xc3\xbc"));
    buf_add(&expected, S("...\"}"));
    assert_non_null(strstr(view(VIEW_SUMMARY, "", buf_str(&mail), 1000, &e), buf_cstr(&expected)));
    buf_free(&mail);
    buf_free(&expected);
}

static void test_refusals(void **state) {
    (void)state;
    assert_null(content_new(0, STR_NONE));
    assert_null(content_new(VIEW_KIND_COUNT, STR_NONE));
    char longest[5000] = {0};
    assert_null(content_new(VIEW_PART, str_n(longest, sizeof longest)));
    struct content *c = content_new(VIEW_MESSAGE, STR_NONE);
    content_envelope(c, S("\x11\xff"));
    content_end(c);
    assert_int_equal(content_result(c)->err, ERR_CORRUPT);
    content_free(c);
}

/* Only the first of equal recipients is told, whatever their case, and thousands of them cost no more than a sort. */
static void test_blind_recipients(void **state) {
    enum { MANY = 100000 };
    (void)state;
    struct buf names = BUF(MANY * 16), mail = BUF(MANY * 4), coded = BUF(MANY * 40);
    struct envelope_rcpt *many = calloc(MANY, sizeof *many);
    assert_non_null(many);
    for (int i = 0; i < 60000; i++)
        buf_add(&mail, i % 9999 ? S("a@b,") : S("\r\nTo: "));
    buf_add(&mail, S("x@y\r\n\r\n"));
    str headers = str_tail(buf_str(&mail), 2);
    for (int i = 0; i < MANY; i++)
        buf_printf(&names, "r%07d@b", i / 2);
    for (int i = 0; i < MANY; i++)
        many[i].address = str_sub(buf_str(&names), (size_t)i * 10, 10);
    many[0].address = S("A@B");
    many[1].address = S("blind@b");
    many[2].address = S("BLIND@b");
    struct envelope env = {.rcpts = many, .rcpt_count = MANY};
    envelope_put(&coded, &env);
    struct content *c = content_new(VIEW_SUMMARY, STR_NONE);
    for (str rest = buf_str(&coded); rest.n; rest = str_tail(rest, 60000))
        content_envelope(c, str_head(rest, 60000));
    content_body(c, headers);
    clock_t start = clock();
    content_end(c);
    assert_true(clock() - start < 3 * CLOCKS_PER_SEC);
    assert_int_equal(content_result(c)->err, OK);
    str bcc = str_tail(content_out(c), str_find_str(content_out(c), S("\"Bcc\":")));
    assert_true(
        str_starts(bcc, S("\"Bcc\":[{\"Name\":\"\",\"Address\":\"blind@b\"},{\"Name\":\"\",\"Address\":\"r0000001@b\"},"
                          "{\"Name\":\"\",\"Address\":\"r0000002@b\"},")));
    content_free(c);
    free(many);
    buf_free(&names);
    buf_free(&mail);
    buf_free(&coded);
}

/* A message inside that is one part too many is a leaf like any other. */
static void test_message_at_the_limit_of_parts(void **state) {
    (void)state;
    enum err e;
    struct buf mail = BUF(1 << 20);
    buf_add(&mail, S("Content-Type: multipart/mixed; boundary=b\r\n\r\n"));
    for (int i = 0; i < MIME_PARTS_MAX - 2; i++)
        buf_add(&mail, S("--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nx  \r\n"));
    buf_add(&mail, S("--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: z\r\n\r\n=41  \r\n--b--\r\n"));
    assert_string_equal(view(VIEW_PART, "3999", buf_str(&mail), 1000, &e), "Subject: z\r\n\r\n=41  ");
    const char *json = strstr(view(VIEW_STRUCTURE, "", buf_str(&mail), 1000, &e), "\"PartID\":\"3999\"");
    assert_non_null(json);
    assert_non_null(strstr(json, "\"Size\":19,\"EncodingFaults\":0,\"Faults\":[\"parts-limit\"]"));
    buf_free(&mail);
}

static struct content *text_view(size_t size) {
    static char piece[60000];
    struct content *c = content_new(VIEW_TEXT, STR_NONE);
    struct envelope env = {.received_us = 1};
    struct buf coded = BUF(1000);
    memset(piece, 'x', sizeof piece);
    envelope_put(&coded, &env);
    content_envelope(c, buf_str(&coded));
    buf_free(&coded);
    content_body(c, S("Subject: x\r\n\r\n"));
    for (size_t n = 0; n < size && !content_result(c)->done; n += sizeof piece)
        content_body(c, str_n(piece, sizeof piece));
    return c;
}

static bool ends_well(struct content *c) {
    content_end(c);
    bool good = content_result(c)->err == OK;
    assert_true(good || content_result(c)->err == ERR_FULL);
    content_free(c);
    return good;
}

/* Large views together are bounded; small ones, and one that is large alone, are not refused. */
static void test_budget(void **state) {
    (void)state;
    enum { MANY = 40, LARGE = VIEW_TEXT_MAX };
    struct content *all[MANY];
    assert_int_equal(content_held(), 0);
    for (size_t i = 0; i < MANY; i++) {
        all[i] = text_view(LARGE);
        assert_true(content_held() <= VIEW_TOTAL_MAX + (i + 1) * 2 * VIEW_SMALL); /* buffers double */
        assert_true(i > 3 || content_result(all[i])->err == OK);
    }
    assert_int_equal(content_result(all[MANY - 1])->err, ERR_FULL);
    assert_true(ends_well(text_view(10000)));
    for (int i = 1; i < MANY; i++)
        content_free(all[i]);
    assert_true(ends_well(all[0]));
    assert_int_equal(content_held(), 0);
    assert_true(ends_well(text_view(10 * LARGE)));
}

static int prepare(void **state) {
    (void)state;
    /* A reader's first question may come before the role has been configured. */
    struct content *early = content_new(VIEW_TEXT, STR_NONE);
    if (!early)
        return 1;
    content_free(early);
    return content_prepare();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_summary),
        cmocka_unit_test(test_message),
        cmocka_unit_test(test_parts_and_bodies),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_bytes_of_another_charset),
        cmocka_unit_test(test_structure),
        cmocka_unit_test(test_snippet_is_cut_between_characters),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_blind_recipients),
        cmocka_unit_test(test_message_at_the_limit_of_parts),
        cmocka_unit_test(test_budget),
    };
    return cmocka_run_group_tests(tests, prepare, NULL);
}
