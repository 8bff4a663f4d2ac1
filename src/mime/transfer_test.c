#include "mime/transfer.h"
#include "mime/charset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    enum transfer_encoding e;
    str in, out;
    unsigned faults;
} rows[] = {
    {TRANSFER_BASE64, S_INIT("aGVs\r\nbG8="), S_INIT("hello"), 0},
    {TRANSFER_BASE64, S_INIT("aGVsbG8"), S_INIT("hello"), 0}, /* no padding */
    {TRANSFER_BASE64, S_INIT("aGk=aGk="), S_INIT("hihi"), 0}, /* bodies pasted together */
    {TRANSFER_BASE64, S_INIT("a!G*k="), S_INIT("hi"), 2},
    {TRANSFER_BASE64, S_INIT("_-8="), S_INIT("\xff\xef"), 0}, /* RFC 4648 5 */
    {TRANSFER_BASE64, S_INIT("a"), S_INIT(""), 1},
    {TRANSFER_QUOTED_PRINTABLE, S_INIT("a=3Db=\r\nc=e4"), S_INIT("a=bc\xe4"), 0},
    {TRANSFER_QUOTED_PRINTABLE, S_INIT("a \t\r\nb\n"), S_INIT("a\r\nb\n"), 0}, /* RFC 2045 6.7 (3) */
    {TRANSFER_QUOTED_PRINTABLE, S_INIT("a= \t\r\nb=\nc="), S_INIT("abc"), 0},
    {TRANSFER_QUOTED_PRINTABLE, S_INIT("=zz=4"), S_INIT("=zz=4"), 2},
    {TRANSFER_QUOTED_PRINTABLE, S_INIT("a b=20\r\n"), S_INIT("a b \r\n"), 0},
    {TRANSFER_UUENCODE, S_INIT("x\r\nbegin 644 a\r\n#86)C\r\n`\r\nend\r\nrest"), S_INIT("abc"), 0},
    {TRANSFER_IDENTITY, S_INIT("a=3D\r\n"), S_INIT("a=3D\r\n"), 0},
    {TRANSFER_UNKNOWN, S_INIT("a=3D\r\n"), S_INIT("a=3D\r\n"), 0},
};

/* Everything twice: at once, and byte by byte. */
static void test_rows(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t step = 1; step <= 1000; step += 999) {
            struct buf out = BUF(1000);
            struct transfer t;
            transfer_init(&t, rows[i].e);
            for (str in = rows[i].in; in.n; in = str_tail(in, step))
                transfer_put(&t, str_head(in, step), &out);
            transfer_end(&t, &out);
            assert_true(str_eq(buf_str(&out), rows[i].out));
            assert_int_equal(t.faults, rows[i].faults);
            buf_free(&out);
        }
}

static void test_names(void **state) {
    (void)state;
    assert_int_equal(transfer_named(S(" BASE64 (c)")), TRANSFER_BASE64);
    assert_int_equal(transfer_named(S("\"quoted-printable\";")), TRANSFER_QUOTED_PRINTABLE);
    assert_int_equal(transfer_named(S("")), TRANSFER_IDENTITY);
    assert_int_equal(transfer_named(S("rot13")), TRANSFER_UNKNOWN);
}

static void test_charsets(void **state) {
    (void)state;
    static const struct {
        const char *charset, *in, *out;
        bool known;
    } sets[] = {
        {"us-ascii", "a\xfc", "a\xc3\xbc", true},
        {"", "\xc3\xbc", "\xc3\xbc", true},
        {"UTF8", "a\xff", "a\xef\xbf\xbd", true},
        {"latin1", "\x80\xfc", "\xe2\x82\xac\xc3\xbc", true},
        {"\"ISO-8859-15\"", "\xa4", "\xe2\x82\xac", true},
        {"koi8-r", "\xf0", "\xd0\x9f", true},
        {"shift_jis", "\x82\xb1", "\xe3\x81\x93", true},
        {"euc-kr", "\xb0\xa1", "\xea\xb0\x80", true},
        {"utf-7", "+AOQ-", "\xc3\xa4", true},
        {"gb18030", "\x95\x32\x82\x36", "\xf0\xa0\x80\x80", true}, /* beyond U+FFFF */
        {"big5", "\xa4\xa4", "\xe4\xb8\xad", true},
        {"no-such-charset", "a\xff", "a\xef\xbf\xbd", false},
        {"utf-8,version=2", "a", "a", false},
        {"scsu", "a", "a", false},
    };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        struct buf out = BUF(1000);
        assert_int_equal(charset_to_utf8(str_of(sets[i].charset), str_of(sets[i].in), &out), sets[i].known);
        assert_string_equal(buf_cstr(&out), sets[i].out);
        assert_int_equal(charset_known(str_of(sets[i].charset)), sets[i].known);
        buf_free(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_charsets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
