#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/code.h"
#include "mime/mime_build.h"

#define UML "\xc3\xbc"

static const struct {
    str in;
    const char *out;
} subjects[] = {
    {S_INIT("hello"), "hello"},
    {S_INIT(""), ""},
    {S_INIT("t" UML "r"), "=?UTF-8?Q?t=C3=BCr?="},
    {S_INIT("=?no word?="), "=?UTF-8?Q?=3D=3Fno_word=3F=3D?="},
    {S_INIT("a\xff"), "=?UTF-8?B?Ye+/vQ==?="},
    {S_INIT("\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"), "=?UTF-8?B?5pel5pys6Kqe?="},
    {S_INIT("1234567890 1234567890 1234567890 1234567890 1234567890 1234567890 1234567890"),
     "1234567890 1234567890 1234567890 1234567890 1234567890 1234567890\r\n 1234567890"},
};

static void test_unstructured(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) {
        struct buf out = BUF(4096);
        mime_build_unstructured(subjects[i].in, 9, &out);
        assert_string_equal(buf_cstr(&out), subjects[i].out);
        buf_free(&out);
    }
}

/* No word is longer than 75 bytes, no line longer than 76, and no character is cut. */
static void test_long_words(void **state) {
    (void)state;
    struct buf in = BUF(4096), out = BUF(16384);
    for (int i = 0; i < 300; i++)
        buf_add(&in, i % 3 ? S(UML) : S("\xf0\x9f\x93\xae "));
    mime_build_unstructured(buf_str(&in), 9, &out);
    str rest = buf_str(&out);
    for (str line; str_line(&rest, &line);) {
        assert_in_range(line.n, 1, 76);
        line = str_trim(line);
        assert_in_range(line.n, 1, 75);
        assert_true(str_skip(&line, S("=?UTF-8?B?")) && str_ends(line, S("?=")));
        struct buf word = BUF(128);
        assert_true(base64_decode(str_head(line, line.n - 2), &word));
        assert_true(utf8_valid(buf_str(&word)));
        buf_free(&word);
    }
    buf_free(&in);
    buf_free(&out);
}

static const struct {
    str in;
    const char *name, *address;
} mailboxes[] = {
    {S_INIT("a@b"), "", "a@b"},
    {S_INIT(" Ann <a@b> "), "Ann", "a@b"},
    {S_INIT("\"Ann, B\" <a@b>"), "Ann, B", "a@b"},
    {S_INIT("<a@b>"), "", "a@b"},
    {S_INIT("<>"), "", ""},
    {S_INIT("\" <a@b>"), "\"", "a@b"},
};

static void test_mailbox(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof mailboxes / sizeof *mailboxes; i++) {
        str name, address;
        mime_build_mailbox(mailboxes[i].in, &name, &address);
        assert_true(str_eq(name, str_of(mailboxes[i].name)));
        assert_true(str_eq(address, str_of(mailboxes[i].address)));
    }
}

static void build(const struct mime_build *m, const char *want) {
    struct buf out = BUF(1 << 20);
    struct mime_build with = *m;
    with.date = (struct date){0};
    with.random = S("R");
    with.message_id = S("1@x");
    assert_int_equal(mime_build_message(&with, &out, NULL), OK);
    assert_string_equal(buf_cstr(&out), want);
    buf_free(&out);
}

#define DATE "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n"
#define ID "Message-ID: <1@x>\r\nMIME-Version: 1.0\r\n"
#define PLAIN "Content-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"

static void test_simple(void **state) {
    (void)state;
    static const str to[] = {S_INIT("J" UML "rg <j@d>"), S_INIT("A, B <b@d>")};
    build(&(struct mime_build){.from = S("a@b"), .to = to, .to_count = 2, .subject = S("hi"), .text = S("one\ntwo")},
          DATE "From: a@b\r\nTo: =?UTF-8?Q?J=C3=BCrg?= <j@d>, \"A, B\" <b@d>\r\nSubject: hi\r\n" ID PLAIN
               "one\r\ntwo\r\n");
}

static void test_given_headers(void **state) {
    (void)state;
    static const str headers[] = {S_INIT("date: now"), S_INIT("X-Y:t" UML "r"), S_INIT("Message-ID: <2@y>")};
    build(&(struct mime_build){.headers = headers, .header_count = 3},
          "MIME-Version: 1.0\r\ndate: now\r\nX-Y: =?UTF-8?Q?t=C3=BCr?=\r\nMessage-ID: <2@y>\r\n" PLAIN);
}

static void test_alternative_and_file(void **state) {
    (void)state;
    static const struct mime_build_file file = {.name = S_INIT("t" UML "r.png"), .bytes = S_INIT("\x89PNG")};
    build(&(struct mime_build){.text = S("t" UML "r = a \n"), .html = S("<p>"), .files = &file, .file_count = 1},
          DATE ID "Content-Type: multipart/mixed;\r\n boundary=\"=_mixed_R\"\r\n"
                  "\r\n--=_mixed_R\r\n"
                  "Content-Type: multipart/alternative;\r\n boundary=\"=_alternative_R\"\r\n"
                  "\r\n--=_alternative_R\r\n"
                  "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
                  "t=C3=BCr =3D a=20\r\n"
                  "\r\n--=_alternative_R\r\n"
                  "Content-Type: text/html; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n\r\n<p>\r\n"
                  "\r\n--=_alternative_R--\r\n"
                  "\r\n--=_mixed_R\r\n"
                  "Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n"
                  "Content-Disposition: attachment;\r\n filename*=UTF-8''t%C3%BCr.png\r\n\r\niVBORw==\r\n"
                  "\r\n--=_mixed_R--\r\n");
}

static void test_bad(void **state) {
    (void)state;
    static const str injected = S_INIT("X: a\r\nBcc: b@c"), nameless = S_INIT("no colon");
    struct buf out = BUF(1000);
    struct mime_build bad[] = {
        {.subject = S("a\nb")},
        {.from = S("a\rb")},
        {.to = &injected, .to_count = 1},
        {.headers = &injected, .header_count = 1},
        {.headers = &nameless, .header_count = 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(mime_build_message(&bad[i], &out, NULL), ERR_SYNTAX);
    static char big[2000];
    memset(big, 'x', sizeof big);
    assert_int_equal(mime_build_message(&(struct mime_build){.text = str_n(big, sizeof big)}, &out, NULL), ERR_FULL);
    buf_free(&out);
}

/* Every line fits, whatever the text. */
static void test_line_lengths(void **state) {
    (void)state;
    char text[3000];
    uint32_t x = 1;
    struct buf out = BUF(1 << 20);
    for (size_t i = 0; i < sizeof text; i++) {
        x = x * 1103515245 + 12345;
        text[i] = (x >> 16) % 8 ? (char)('a' + (x >> 20) % 26) : (char)(1 + (x >> 20) % 126);
    }
    assert_int_equal(mime_build_message(&(struct mime_build){.text = str_n(text, sizeof text)}, &out, NULL), OK);
    str rest = buf_str(&out);
    for (str line; str_line(&rest, &line);)
        assert_true(line.n <= 76);
    buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unstructured),  cmocka_unit_test(test_long_words),
        cmocka_unit_test(test_mailbox),       cmocka_unit_test(test_simple),
        cmocka_unit_test(test_given_headers), cmocka_unit_test(test_alternative_and_file),
        cmocka_unit_test(test_bad),           cmocka_unit_test(test_line_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
