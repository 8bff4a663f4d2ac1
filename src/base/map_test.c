#include "base/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static int values[3000];

static void test_many_come_and_go(void **state) {
    (void)state;
    struct map m = MAP(42);
    for (int round = 0; round < 5; round++) {
        for (uint64_t k = 0; k < 3000; k++)
            assert_true(map_put(&m, k * 7919, &values[k]));
        for (uint64_t k = 0; k < 3000; k++)
            assert_ptr_equal(map_get(&m, k * 7919), &values[k]);
        assert_null(map_get(&m, 1));
        for (uint64_t k = 0; k < 3000; k++)
            if (k % 3)
                assert_ptr_equal(map_remove(&m, k * 7919), &values[k]);
        assert_int_equal(m.used, 1000);
    }
    assert_true(m.size <= 16384); /* removed slots are taken again */
    map_free(&m);
}

static void test_replaces(void **state) {
    (void)state;
    struct map m = MAP(0);
    assert_null(map_get(&m, 0));
    assert_null(map_remove(&m, 0));
    assert_true(map_put(&m, 0, &values[0]));
    assert_true(map_put(&m, 0, &values[1]));
    assert_int_equal(m.used, 1);
    assert_ptr_equal(map_get(&m, 0), &values[1]);
    map_free(&m);
}

static void test_names(void **state) {
    (void)state;
    struct map m = MAP(1);
    assert_true(map_put_str(&m, S("one"), &values[1]));
    assert_true(map_put_str(&m, S(""), &values[2]));
    assert_true(map_put_str(&m, S("one\0x"), &values[3]));
    assert_ptr_equal(map_get_str(&m, S("one")), &values[1]);
    assert_ptr_equal(map_get_str(&m, STR_NONE), &values[2]);
    assert_null(map_get_str(&m, S("on")));
    assert_ptr_equal(map_remove_str(&m, S("one")), &values[1]);
    assert_null(map_get_str(&m, S("one")));
    map_free(&m);
}

static void test_walk_may_remove(void **state) {
    (void)state;
    struct map m = MAP(9);
    size_t at = 0, seen = 0;
    for (uint64_t k = 1; k <= 100; k++)
        assert_true(map_put(&m, k, &values[k]));
    for (int *v; (v = map_next(&m, &at)) != NULL; seen++)
        assert_ptr_equal(map_remove(&m, (uint64_t)(v - values)), v);
    assert_int_equal(seen, 100);
    assert_int_equal(m.used, 0);
    map_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_come_and_go),
        cmocka_unit_test(test_replaces),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_walk_may_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
