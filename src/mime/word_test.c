#include "mime/word.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    str in;
    const char *out;
} rows[] = {
    {S_INIT("plain"), "plain"},
    {S_INIT("=?utf-8?Q?a_b=21?="), "a b!"},
    {S_INIT("=?UTF-8?b?w7w=?="), "\xc3\xbc"},
    /* RFC 2047 8 */
    {S_INIT("(=?ISO-8859-1?Q?a?=)"), "(a)"},
    {S_INIT("(=?ISO-8859-1?Q?a?= b)"), "(a b)"},
    {S_INIT("(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)"), "(ab)"},
    {S_INIT("(=?ISO-8859-1?Q?a?=\r\n     =?ISO-8859-1?Q?b?=)"), "(ab)"},
    {S_INIT("(=?ISO-8859-1?Q?a_?= =?ISO-8859-2?Q?b?=)"), "(a b)"},
    /* a character cut between two words */
    {S_INIT("=?utf-8?Q?a=C3?= =?utf-8?Q?=BC?= x"), "a\xc3\xbc x"},
    {S_INIT("=?utf-8?B?4oI=?= =?utf-8?B?rA==?="), "\xe2\x82\xac"},
    {S_INIT("=?iso-2022-jp?B?GyRCJDMbKEI=?= =?iso-2022-jp?B?GyRCJDMbKEI=?="), "\xe3\x81\x93\xe3\x81\x93"},
    {S_INIT("=?us-ascii*en?Q?hi?="), "hi"}, /* RFC 2231 5 */
    {S_INIT("=?gb2312?B?xOO6ww==?="), "\xe4\xbd\xa0\xe5\xa5\xbd"},
    {S_INIT("=?windows-1252?q?=80?= =?iso-8859-1?q?=e4?="), "\xe2\x82\xac\xc3\xa4"},
    {S_INIT("=?nope?Q?=FF=41?="), "\xef\xbf\xbd"
                                  "A"},
    /* what is no word stays */
    {S_INIT("=?utf-8?Q?no end"), "=?utf-8?Q?no end"},
    {S_INIT("=?utf-8?X?a?="), "=?utf-8?X?a?="},
    {S_INIT("=??Q?a?="), "=??Q?a?="},
    {S_INIT("a =? b =?utf-8?q?=zz?="), "a =? b =zz"},
    /* no controls, whoever encoded them */
    {S_INIT("=?utf-8?Q?a=0D=0ABcc:_x=00=1B?="), "a  Bcc: x"},
    {S_INIT("a\r\n b\0\x1b\x7f\xc2\x85"), "a b"},
    {S_INIT("a\rb"), "a b"},
    /* raw bytes */
    {S_INIT("\xc3\xbc"), "\xc3\xbc"},
    {S_INIT("\xfc\x80"), "\xc3\xbc\xe2\x82\xac"},
};

static void test_rows(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf b = BUF(1000);
        word_decode(rows[i].in, &b);
        assert_string_equal(buf_cstr(&b), rows[i].out);
        buf_free(&b);
    }
}

/* 256 KiB of beginnings, ends, and words: each must take milliseconds, not minutes. */
static void test_linear(void **state) {
    (void)state;
    static const char *const units[] = {"=?a?q?", "?=", "=?a?q?b?=", "=?a?q?b?= ", "=?", "=?x?y?"};
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        struct buf in = BUF(1 << 18), out = BUF(1 << 20);
        while (!in.full)
            buf_add(&in, str_of(units[u]));
        word_decode(buf_str(&in), &out);
        assert_false(out.full);
        buf_free(&in);
        buf_free(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_linear)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
