#include "base/code.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_base64(void **state) {
    (void)state;
    static const struct {
        str plain, coded;
    } rows[] = {/* RFC 4648 10 */
                {S_INIT(""), S_INIT("")},
                {S_INIT("f"), S_INIT("Zg==")},
                {S_INIT("fo"), S_INIT("Zm8=")},
                {S_INIT("foo"), S_INIT("Zm9v")},
                {S_INIT("foobar"), S_INIT("Zm9vYmFy")},
                {S_INIT("\xff\xfe\0"), S_INIT("//4A")}};
    static const char *const wrong[] = {
        "Z", "Zg=", "Zg", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm9v\n", "Zm-_", "=m9v"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf b = BUF(100), d = BUF(100);
        base64_encode(rows[i].plain, &b);
        assert_true(str_eq(buf_str(&b), rows[i].coded));
        assert_true(base64_decode(rows[i].coded, &d));
        assert_true(str_eq(buf_str(&d), rows[i].plain));
        buf_free(&b);
        buf_free(&d);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct buf d = BUF(100);
        assert_false(base64_decode(str_of(wrong[i]), &d));
        buf_free(&d);
    }
}

static void test_hex(void **state) {
    (void)state;
    struct buf b = BUF(100), d = BUF(100);
    hex_encode(S("\x00\xaf"), &b);
    assert_string_equal(buf_cstr(&b), "00af");
    assert_true(hex_decode(S("00aF"), &d));
    assert_true(str_eq(buf_str(&d), S("\x00\xaf")));
    assert_false(hex_decode(S("0"), &d));
    assert_false(hex_decode(S("0g"), &d));
    buf_reset(&d);
    percent_decode(S("%41%c3%BC%4%zz%25%"), &d);
    assert_true(str_eq(buf_str(&d), S("A\xc3\xbc%4%zz%%")));
    buf_free(&b);
    buf_free(&d);
}

static void test_id(void **state) {
    (void)state;
    uint8_t most[16], none[16] = {0};
    char a[ID_SIZE], b[ID_SIZE];
    memset(most, 255, sizeof most);
    id_encode(most, a);
    id_encode(none, b);
    assert_true(id_valid(str_n(a, ID_SIZE)) && id_valid(str_n(b, ID_SIZE)));
    assert_memory_not_equal(a, b, ID_SIZE);
    assert_false(id_valid(S("0123456789012345678901")) == false);
    assert_false(id_valid(S("012345678901234567890/")));
    assert_false(id_valid(S("012345678901234567890")));
}

static void test_crc32c(void **state) {
    (void)state;
    char zeros[32] = {0};
    assert_int_equal(crc32c(0, S("123456789")), 0xe3069283);
    assert_int_equal(crc32c(0, str_n(zeros, 32)), 0x8a9136aa); /* RFC 3720 B.4 */
    assert_int_equal(crc32c(crc32c(0, S("1234")), S("56789")), 0xe3069283);
    assert_int_equal(crc32c(7, STR_NONE), 7);
}

static void test_utf8(void **state) {
    (void)state;
    static const char *const wrong[] = {"\x80",
                                        "\xc0\x80",
                                        "\xc1\xbf",
                                        "\xe0\x80\x80",
                                        "\xe0\x9f\xbf",
                                        "\xed\xa0\x80",
                                        "\xf0\x80\x80\x80",
                                        "\xf4\x90\x80\x80",
                                        "\xf5\x80\x80\x80",
                                        "\xff",
                                        "\xe2\x82",
                                        "a\xc3("};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(utf8_valid(str_of(wrong[i])));
    assert_true(utf8_valid(S("a\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf")));
    for (uint32_t c = 0; c < 0x110000; c += 97) {
        struct buf b = BUF(8);
        uint32_t back = 0;
        if (c >= 0xd800 && c < 0xe000)
            continue;
        utf8_put(&b, c);
        assert_int_equal(utf8_char(buf_str(&b), &back), b.n);
        assert_int_equal(back, c);
        buf_free(&b);
    }
    struct buf b = BUF(100);
    utf8_clean(S("a\xff\xc3\xbc\xe2\x82"), &b);
    assert_string_equal(buf_cstr(&b), "a\xef\xbf\xbd\xc3\xbc\xef\xbf\xbd\xef\xbf\xbd");
    buf_free(&b);
}

static void test_escapes(void **state) {
    (void)state;
    static const struct {
        void (*escape)(str, struct buf *);
        str in;
        const char *out;
    } rows[] = {
        {escape_print, S_INIT("a\"b\\\r\n\t\x1b\x7f\0"), "a\\\"b\\\\\\r\\n\\t\\x1b\\x7f\\x00"},
        {escape_print, S_INIT("\xc3\xbc\xff\xc2\x85"), "\xc3\xbc\\xff\\xc2\\x85"},
        {escape_print, S_INIT("\xe2\x80\xae\xe2\x81\xa6"), "\\xe2\\x80\\xae\\xe2\\x81\\xa6"}, /* turns text around */
        {escape_json, S_INIT("\"\\\n\x01</\xc3\xbc\xff"), "\\\"\\\\\\n\\u0001\\u003c/\xc3\xbc\\ufffd"},
        {escape_json, S_INIT("\xe2\x80\xa8"), "\\u2028"},
        {escape_json, S_INIT("\x7f\xc2\x9b\xc2\xa0"), "\\u007f\\u009b\xc2\xa0"},
        {escape_html, S_INIT("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf b = BUF(1000);
        rows[i].escape(rows[i].in, &b);
        assert_string_equal(buf_cstr(&b), rows[i].out);
        buf_free(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64), cmocka_unit_test(test_hex),  cmocka_unit_test(test_id),
        cmocka_unit_test(test_crc32c), cmocka_unit_test(test_utf8), cmocka_unit_test(test_escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
