#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_compare(void **state) {
    (void)state;
    assert_true(str_eq(STR_NONE, S("")));
    assert_false(str_eq(S("a"), S("A")));
    assert_true(str_ieq(S("aZ{"), S("Az{")));
    assert_false(str_ieq(S("@"), S("`"))); /* 0x40 and 0x60 are no letters */
    assert_int_equal(str_cmp(S("a"), S("ab")), -1);
    assert_int_equal(str_cmp(S(""), STR_NONE), 0);
    assert_true(str_cmp(S("\x80"), S("a")) > 0);
    assert_true(str_starts(S("abc"), S("")));
    assert_false(str_starts(S("a"), S("ab")));
    assert_true(str_iends(S("x.EML"), S(".eml")));
}

static void test_find(void **state) {
    (void)state;
    assert_int_equal(str_find(S("abca"), 'a'), 0);
    assert_int_equal(str_rfind(S("abca"), 'a'), 3);
    assert_true(str_find(STR_NONE, 'a') == SIZE_MAX);
    assert_int_equal(str_find_str(S("aab"), S("ab")), 1);
    assert_true(str_find_str(S("ab"), S("abc")) == SIZE_MAX);
    assert_int_equal(str_ifind_str(S("xCharSet"), S("charset")), 1);
    assert_int_equal(str_find_str(STR_NONE, S("")), 0);
}

static void test_parts_are_clamped(void **state) {
    (void)state;
    str s = S("abc");
    assert_int_equal(str_head(s, SIZE_MAX).n, 3);
    assert_int_equal(str_tail(s, SIZE_MAX).n, 0);
    assert_ptr_equal(str_tail(s, 9).p, s.p + 3);
    assert_true(str_eq(str_sub(s, 1, 1), S("b")));
    assert_int_equal(str_sub(STR_NONE, 2, 3).n, 0);
    assert_true(str_eq(str_trim(S(" \t\r\n a b \r\n")), S("a b")));
    assert_int_equal(str_trim(S(" \n ")).n, 0);
}

static void test_eating(void **state) {
    (void)state;
    str s = S("key: value"), head;
    assert_false(str_skip(&s, S("Key")));
    assert_true(str_iskip(&s, S("K")));
    assert_false(str_cut(&s, '!', &head));
    assert_true(str_cut(&s, ':', &head));
    assert_true(str_eq(head, S("ey")));
    assert_int_equal(str_skip_spaces(&s), 1);
    assert_false(str_skip_char(&s, 'x'));
    assert_true(str_eq(s, S("value")));
}

static void test_words_and_lines(void **state) {
    (void)state;
    str s = S("  a\t bc "), w;
    assert_true(str_word(&s, &w) && str_eq(w, S("a")));
    assert_true(str_word(&s, &w) && str_eq(w, S("bc")));
    assert_false(str_word(&s, &w));
    s = S("one\r\n\ntwo\rx");
    assert_true(str_line(&s, &w) && str_eq(w, S("one")));
    assert_true(str_line(&s, &w) && w.n == 0);
    assert_true(str_line(&s, &w) && str_eq(w, S("two\rx")));
    assert_false(str_line(&s, &w));
}

static void test_u64(void **state) {
    (void)state;
    static const struct {
        str s;
        bool ok;
        uint64_t v;
    } rows[] = {
        {S_INIT("0"), true, 0},
        {S_INIT("18446744073709551615"), true, UINT64_MAX},
        {S_INIT("18446744073709551616"), false, 0},
        {S_INIT("99999999999999999999999"), false, 0},
        {S_INIT(""), false, 0},
        {S_INIT("-1"), false, 0},
        {S_INIT("1 "), false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t v = 0;
        assert_int_equal(str_u64(rows[i].s, &v), rows[i].ok);
        assert_true(v == rows[i].v);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare),           cmocka_unit_test(test_find),
        cmocka_unit_test(test_parts_are_clamped), cmocka_unit_test(test_eating),
        cmocka_unit_test(test_words_and_lines),   cmocka_unit_test(test_u64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
