#include "mime/downgrade.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static enum err convert(unsigned mode, str in, size_t step, struct buf *out, struct downgrade *d) {
    enum err e = OK;
    downgrade_init(d, mode);
    for (; in.n && e == OK; in = str_tail(in, step))
        e = downgrade_put(d, str_head(in, step), out);
    if (e == OK)
        e = downgrade_end(d, out);
    downgrade_free(d);
    return e;
}

static void check(unsigned mode, const char *in, const char *expected) {
    for (size_t step = 1; step < 200; step += 66) {
        struct buf out = BUF(1 << 20);
        struct downgrade d;
        assert_int_equal(convert(mode, str_of(in), step, &out, &d), OK);
        assert_string_equal(buf_cstr(&out), expected);
        buf_free(&out);
    }
}

static void refused(unsigned mode, const char *in, bool address) {
    struct buf out = BUF(1 << 20);
    struct downgrade d;
    assert_int_equal(convert(mode, str_of(in), 7, &out, &d), ERR_UNSUPPORTED);
    assert_int_equal(d.address, address);
    buf_free(&out);
}

static void test_text(void **state) {
    (void)state;
    check(DOWNGRADE_EIGHT_BIT,
          "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
          "Subject: s\r\n\r\n\xc3\xbc = x\r\n",
          "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
          "Content-Transfer-Encoding: quoted-printable\r\nSubject: s\r\n\r\n=C3=BC =3D x\r\n");
    /* from before MIME */
    check(DOWNGRADE_EIGHT_BIT, "Subject: s\r\n\r\n\xfc\r\n",
          "Subject: s\r\nContent-Transfer-Encoding: quoted-printable\r\nMIME-Version: 1.0\r\n"
          "Content-Type: text/plain; charset=unknown-8bit\r\n\r\n=FC\r\n");
}

static void test_multipart(void **state) {
    (void)state;
    check(DOWNGRADE_EIGHT_BIT,
          "Content-Type: multipart/mixed; boundary=b\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
          "pre\xc3\xa4mble\r\n--b\r\n\r\n\xc3\xbc\r\n--b\r\nContent-Type: image/x\r\nContent-Transfer-Encoding: "
          "binary\r\n\r\n\xff\n\r\n--b\r\nContent-Type: image/x\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n"
          "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\n\xc3\xbc\r\n--b--\r\n",
          "Content-Type: multipart/mixed; boundary=b\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
          "pre??mble\r\n--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC\r\n--b\r\n"
          "Content-Type: image/x\r\nContent-Transfer-Encoding: base64\r\n\r\n/wo=\r\n--b\r\nContent-Type: image/x\r\n"
          "Content-Transfer-Encoding: base64\r\n\r\nQUJD\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
          "Subject: in\r\nContent-Transfer-Encoding: quoted-printable\r\nMIME-Version: 1.0\r\n"
          "Content-Type: text/plain; charset=unknown-8bit\r\n\r\n=C3=BC\r\n--b--\r\n");
}

static void test_signed(void **state) {
    (void)state;
    static const char seven[] =
        "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nx = y\r\n"
        "--b\r\nContent-Type: application/pgp-signature\r\n\r\n-----\r\n--b--\r\n";
    check(DOWNGRADE_EIGHT_BIT | DOWNGRADE_LINES, seven, seven);
    refused(DOWNGRADE_EIGHT_BIT, "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xc3\xbc\r\n--b--\r\n",
            false);
    refused(DOWNGRADE_EIGHT_BIT, "Content-Type: message/delivery-status\r\n\r\n\xc3\xbc\r\n", false);
}

/* Without BINARYMIME a signed part must be lines; that they are long harms nobody. */
static void test_signed_binary(void **state) {
    (void)state;
    static const unsigned binary = DOWNGRADE_EIGHT_BIT | DOWNGRADE_BINARY | DOWNGRADE_LINES;
    static const char *const bad[] = {"a\nb\r\n", "a\rb\r\n", "a\r"};
    char text[400], longer[1200] = "";
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n%s\r\n--b--\r\n",
                 bad[i]);
        refused(binary, text, false);
        check(DOWNGRADE_EIGHT_BIT, text, text);
    }
    memset(longer, 'x', 1000);
    char message[1400];
    snprintf(message, sizeof message, "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n%s\r\n--b--\r\n",
             longer);
    refused(binary, message, false);
    check(DOWNGRADE_EIGHT_BIT | DOWNGRADE_LINES, message, message);
    check(binary, "Content-Type: image/x\r\nContent-Transfer-Encoding: binary\r\n\r\na\n",
          "Content-Type: image/x\r\nContent-Transfer-Encoding: base64\r\nMIME-Version: 1.0\r\n\r\nYQo=\r\n");
}

static void test_lines(void **state) {
    (void)state;
    struct buf in = BUF(1 << 16), out = BUF(1 << 16), back = BUF(1 << 16);
    struct downgrade d;
    buf_add(&in, S("MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n"));
    buf_fill(&in, 'x', 5000);
    buf_add(&in, S("\r\n"));
    assert_int_equal(convert(DOWNGRADE_LINES, buf_str(&in), 1000, &out, &d), OK);
    str rest = buf_str(&out), line;
    while (str_line(&rest, &line))
        assert_true(line.n <= 76);
    str body = str_tail(buf_str(&out), str_find_str(buf_str(&out), S("\r\n\r\n")) + 4);
    transfer_decode(TRANSFER_QUOTED_PRINTABLE, body, &back);
    assert_int_equal(back.n, 5002);
    buf_free(&in);
    buf_free(&out);
    buf_free(&back);
}

static void test_utf8_header(void **state) {
    (void)state;
    check(
        DOWNGRADE_UTF8,
        "From: J\xc3\xbcrgen <j@b\xc3\xbc"
        "cher.example>\r\nTo: a@b, \"\xc3\xbc, x\" <c@d>\r\n"
        "Subject: Gr\xc3\xbc\xc3\x9f"
        "e\r\nX-Plain: as  it was\r\nMessage-ID: <\xc3\xbc@x>\r\n"
        "Content-Type: text/plain; charset=utf-8; name=\"\xc3\xbc.txt\"\r\n\r\n\xc3\xbc\r\n",
        "From: =?UTF-8?Q?J=C3=BCrgen?=\r\n <j@xn--bcher-kva.example>\r\n"
        "To: <a@b>,\r\n =?UTF-8?B?w7wsIHg=?=\r\n <c@d>\r\nSubject: =?UTF-8?B?R3LDvMOfZQ==?=\r\nX-Plain: as  it was\r\n"
        "Message-ID: <?@x>\r\nContent-Type: text/plain;\r\n charset=\"utf-8\";\r\n name*=UTF-8''%C3%BC.txt\r\n\r\n"
        "\xc3\xbc\r\n");
    refused(DOWNGRADE_UTF8, "From: <j\xc3\xbc@example.org>\r\n\r\nx\r\n", true);
    check(DOWNGRADE_UTF8, "To: gr\xc3\xbcn: a@b, c@d;, e@f\r\n\r\nx\r\n",
          "To: =?UTF-8?Q?gr=C3=BCn?=:\r\n <a@b>,\r\n <c@d>;,\r\n <e@f>\r\n\r\nx\r\n");
}

static void test_odd_messages(void **state) {
    (void)state;
    /* a report about an address in UTF-8 (RFC 6533) reaches who has an old server */
    check(DOWNGRADE_EIGHT_BIT | DOWNGRADE_UTF8,
          "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: "
          "message/global-delivery-status\r\n\r\n\xc3\xbc\r\n--b--\r\n",
          "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/global-delivery-status\r\n"
          "Content-Transfer-Encoding: base64\r\n\r\nw7w=\r\n--b--\r\n");
    check(DOWNGRADE_UTF8, "", "\r\n");
    check(DOWNGRADE_EIGHT_BIT, "no header at all",
          "Content-Transfer-Encoding: quoted-printable\r\nMIME-Version: 1.0\r\n"
          "Content-Type: text/plain; charset=unknown-8bit\r\n\r\nno header at all\r\n");
    check(0, "A: b\r\n\r\n\xff", "A: b\r\n\r\n\xff\r\n");
    check(DOWNGRADE_LINES, "A: b\r\n\r\nx\r\n",
          "A: b\r\nContent-Transfer-Encoding: quoted-printable\r\nMIME-Version: 1.0\r\n\r\nx\r\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),          cmocka_unit_test(test_multipart),   cmocka_unit_test(test_signed),
        cmocka_unit_test(test_lines),         cmocka_unit_test(test_utf8_header), cmocka_unit_test(test_odd_messages),
        cmocka_unit_test(test_signed_binary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
