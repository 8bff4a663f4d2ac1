#include "mime/header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_fields(void **state) {
    (void)state;
    struct header_iter it =
        HEADER_ITER(S("A: b\r\nSubject : folded\r\n text\r\n\ttab\njunk here\r\nE:\r\n\r\nBody: x\r\n"));
    struct header h;
    assert_true(header_next(&it, &h) && str_eq(h.name, S("A")) && str_eq(h.value, S("b")) && h.length == 6);
    assert_true(header_next(&it, &h) && str_eq(h.name, S("Subject")));
    assert_true(h.offset == 6 && str_eq(h.value, S("folded\r\n text\r\n\ttab")));
    struct buf b = BUF(100);
    header_unfold(h.value, &b);
    assert_string_equal(buf_cstr(&b), "folded text\ttab");
    assert_true(header_next(&it, &h) && h.name.n == 0 && str_eq(h.value, S("junk here")));
    assert_true(header_next(&it, &h) && str_eq(h.name, S("E")) && h.value.n == 0);
    assert_false(header_next(&it, &h));
    assert_true(header_find(it.block, S("SUBJECT"), &h));
    assert_false(header_find(it.block, S("Body"), &h));
    buf_free(&b);
}

static void test_params(void **state) {
    (void)state;
    static const struct {
        const char *in, *out; /* out: NULL when there is none */
    } rows[] = {
        {"a; filename=\"a b.txt\"", "a b.txt"},
        {"a; FileName = x", "x"},
        {"a; filename=\"x\\\"y\\\\z\"", "x\"y\\z"},
        {"a; filename=\"C:\\dir\\f\"", "C:\\dir\\f"},
        {"a (c; filename=no); filename (c) = (d) yes (e)", "yes"},
        {"a; x=\"; filename=no\"; filename=yes", "yes"},
        {"a; filename=one; filename=two", "one"},
        {"a; filename=my file.txt; x=y", "my file.txt"},
        {"a;filename=x;", "x"},
        {"a; filename=", ""},
        {"a; filename", NULL},
        {"a; name=x", NULL},
        {"filename=x", NULL},
        {"", NULL},
        /* RFC 2231 */
        {"a; filename*=utf-8''%e2%82%ac.txt; filename=x", "\xe2\x82\xac.txt"},
        {"a; filename*0=ab; filename*1*=%20c; filename*2=\"d\"", "ab cd"},
        {"a; filename*1=b; filename*0*=iso-8859-1'en'%fc", "\xc3\xbc"
                                                           "b"},
        {"a; filename*0=a; filename*2=c", "a"},
        {"a; filename*=nothing%20special", "nothing special"},
        {"a; filename*999=x", NULL},
        /* RFC 2047 where it is not allowed */
        {"a; filename==?utf-8?Q?=C3=BC.txt?=", "\xc3\xbc.txt"},
        {"a; filename=\"=?utf-8?Q?a?=\r\n =?utf-8?Q?b?=\"", "ab"},
        {"a; filename=\"\xfc\x01\x7f.txt\"", "\xc3\xbc.txt"},
        {"a; filename=\"open", "open"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf b = BUF(1000);
        bool found = header_param(str_of(rows[i].in), S("filename"), &b);
        assert_string_equal(found ? buf_cstr(&b) : "none", rows[i].out ? rows[i].out : "none");
        buf_free(&b);
    }
}

static void test_tokens(void **state) {
    (void)state;
    struct buf b = BUF(100);
    assert_true(str_eq(header_token(S(" (a(b)\\)) text/plain(c); x")), S("text/plain")));
    assert_int_equal(header_token(S("((((")).n, 0);
    header_canonical_name(S("mIME-vERSION"), &b);
    assert_string_equal(buf_cstr(&b), "Mime-Version");
    buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_params),
        cmocka_unit_test(test_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
