#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_limit_is_all_or_nothing(void **state) {
    (void)state;
    struct buf b = BUF(5);
    buf_add(&b, S("abc"));
    buf_add(&b, S("def"));
    assert_true(b.full);
    assert_int_equal(b.n, 3);
    buf_add(&b, S("de")); /* what fits still goes in; full stays */
    assert_true(b.full && str_eq(buf_str(&b), S("abcde")));
    assert_string_equal(buf_cstr(&b), ""); /* no room for the NUL */
    buf_reset(&b);
    assert_false(b.full);
    buf_fill(&b, 'x', 5);
    assert_true(!b.full && str_eq(buf_str(&b), S("xxxxx")));
    buf_free(&b);
    assert_int_equal(b.limit, 5);
}

static void test_printf_beyond_its_small_space(void **state) {
    (void)state;
    struct buf b = BUF(10000);
    buf_printf(&b, "%0300d|", 7);
    assert_int_equal(b.n, 301);
    buf_reset(&b);
    buf_printf(&b, "%0255d", 7);
    buf_printf(&b, "%0256d", 7);
    assert_int_equal(b.n, 511);
    assert_int_equal(b.p[510], '7');
    buf_free(&b);
}

static void test_drop_shrink_trim(void **state) {
    (void)state;
    struct buf b = BUF(100);
    buf_add(&b, S("abcdef"));
    buf_drop(&b, 2);
    assert_string_equal(buf_cstr(&b), "cdef");
    buf_shrink(&b, 1);
    buf_trim(&b);
    assert_int_equal(b.cap, 1);
    buf_drop(&b, 1);
    buf_trim(&b);
    assert_null(b.p);
    assert_string_equal(buf_cstr(&b), "");
    buf_free(&b);
}

static void test_integers_there_and_back(void **state) {
    (void)state;
    struct buf b = BUF(100);
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    str s, text;
    buf_u8(&b, 0xfe);
    buf_u16(&b, 0xfedc);
    buf_u32(&b, 0xfedcba98);
    buf_u64(&b, 0xfedcba9876543210);
    buf_lstr(&b, S("xyz"));
    s = buf_str(&b);
    assert_int_equal((unsigned char)s.p[1], 0xdc); /* little-endian */
    assert_true(take_u8(&s, &u8) && u8 == 0xfe);
    assert_true(take_u16(&s, &u16) && u16 == 0xfedc);
    assert_true(take_u32(&s, &u32) && u32 == 0xfedcba98);
    assert_true(take_u64(&s, &u64) && u64 == 0xfedcba9876543210);
    str before = s = str_head(s, 6); /* a length that promises more than there is */
    assert_false(take_lstr(&s, &text));
    assert_ptr_equal(s.p, before.p);
    assert_int_equal(s.n, before.n);
    assert_false(take_u64(&s, &u64));
    buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limit_is_all_or_nothing),
        cmocka_unit_test(test_printf_beyond_its_small_space),
        cmocka_unit_test(test_drop_shrink_trim),
        cmocka_unit_test(test_integers_there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
