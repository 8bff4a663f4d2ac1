#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_aligned_and_zeroed(void **state) {
    (void)state;
    struct arena a = ARENA(100000);
    for (size_t n = 1; n < 200; n++) {
        char *p = arena_alloc(&a, n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, n);
    }
    arena_reset(&a);
    assert_int_equal(a.used, 0);
    char *again = arena_alloc(&a, 100);
    assert_int_equal(again[0] | again[99], 0);
    arena_free(&a);
}

static void test_limit(void **state) {
    (void)state;
    struct arena a = ARENA(64);
    assert_non_null(arena_alloc(&a, 40));
    assert_null(arena_alloc(&a, 40));
    assert_true(a.full);
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_int_equal(arena_str(&a, S("0123456789012345678901234567890")).n, 0);
    arena_reset(&a);
    assert_false(a.full);
    assert_non_null(arena_alloc(&a, 64));
    arena_free(&a);
    assert_int_equal(a.limit, 64);
}

static void test_strings(void **state) {
    (void)state;
    struct arena a = ARENA(10000);
    char from[] = "abc";
    str s = arena_str(&a, str_n(from, 3)), none = arena_str(&a, STR_NONE);
    from[0] = 'x';
    assert_string_equal(s.p, "abc");
    assert_int_equal(none.n, 0);
    assert_non_null(none.p);
    assert_non_null(arena_alloc(&a, 9000)); /* a chunk of its own */
    assert_string_equal(s.p, "abc");
    arena_free(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_aligned_and_zeroed),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
