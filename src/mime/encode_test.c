#include "mime/encode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void encode(enum transfer_encoding e, str in, size_t step, struct buf *out) {
    struct encode c = ENCODE(e);
    for (; in.n; in = str_tail(in, step))
        encode_put(&c, str_head(in, step), out);
    encode_end(&c, out);
}

static void test_quoted_printable(void **state) {
    (void)state;
    static const struct {
        str in;
        const char *out;
    } rows[] = {
        {S_INIT(""), ""},
        {S_INIT("a=b\r\n"), "a=3Db\r\n"},
        {S_INIT("\xc3\xbc\t\r\n"), "=C3=BC=09\r\n"},
        {S_INIT("a  \r\n"), "a =20\r\n"},
        {S_INIT("end "), "end=20"},
        {S_INIT("a\rb\nc\r\r\n"), "a=0Db=0Ac=0D\r\n"},
        {S_INIT(".\r\nFrom x\r\nnot From."), "=2E\r\n=46rom x\r\nnot From."},
        {S_INIT("\0\x7f"), "=00=7F"},
        {S_INIT("0123456789012345678901234567890123456789012345678901234567890123456789012345\r\n"),
         "012345678901234567890123456789012345678901234567890123456789012345678901234=\r\n5\r\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t step = 1; step < 4; step++) {
            struct buf out = BUF(1000);
            encode(TRANSFER_QUOTED_PRINTABLE, rows[i].in, step, &out);
            assert_string_equal(buf_cstr(&out), rows[i].out);
            buf_free(&out);
        }
}

static void test_base64(void **state) {
    (void)state;
    struct buf in = BUF(1000);
    for (unsigned n = 0; n < 200; n++, buf_char(&in, (char)n))
        for (size_t step = 1; step < 70; step++) {
            struct buf out = BUF(1000), back = BUF(1000);
            encode(TRANSFER_BASE64, buf_str(&in), step, &out);
            str rest = buf_str(&out), line;
            assert_false(str_ends(rest, S("\r\n")));
            while (str_line(&rest, &line))
                assert_true(line.n <= 76 && (rest.n == 0 || line.n == 76));
            transfer_decode(TRANSFER_BASE64, buf_str(&out), &back);
            assert_true(str_eq(buf_str(&back), buf_str(&in)));
            buf_free(&out);
            buf_free(&back);
        }
    buf_free(&in);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quoted_printable),
        cmocka_unit_test(test_base64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
