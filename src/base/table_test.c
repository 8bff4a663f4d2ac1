#include "base/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MANY = 5000 };

static uint32_t hash_of(uint32_t item) {
    return (uint32_t)hash_u64(3, item);
}

static bool has(const struct table *t, uint32_t item, uint32_t hash) {
    uint32_t i = table_first(t, hash);
    while (i && i != item)
        i = table_next(t, i);
    return i != 0;
}

static void test_many_come_and_go(void **state) {
    (void)state;
    struct table t = {0};
    assert_int_equal(table_first(&t, 1), 0);
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 1; i <= MANY; i++) {
            assert_true(table_put(&t, i, hash_of(i)));
            assert_true(has(&t, i, hash_of(i)) && has(&t, 1, hash_of(1)));
            assert_false(has(&t, i + 1, hash_of(i + 1)));
        }
        for (uint32_t i = 1; i <= MANY; i++) {
            assert_true(has(&t, i, hash_of(i)));
            table_remove(&t, i);
            assert_false(has(&t, i, hash_of(i)));
        }
        assert_int_equal(t.count, 0);
    }
    table_free(&t);
}

static void test_one_hash_for_many(void **state) {
    (void)state;
    struct table t = {0};
    for (uint32_t i = 1; i <= 100; i++)
        assert_true(table_put(&t, i, i % 2 ? 5 : 5 + 1024));
    unsigned odd = 0;
    for (uint32_t i = table_first(&t, 5); i; i = table_next(&t, i), odd++)
        assert_int_equal(i % 2, 1);
    assert_int_equal(odd, 50);
    table_free(&t);
}

static void test_hashes(void **state) {
    (void)state;
    assert_true(hash_str(1, S("example.org")) == hash_str(1, S("example.org")));
    assert_true(hash_str(1, S("example.org")) != hash_str(2, S("example.org")));
    assert_true(hash_str(1, S("a\0")) != hash_str(1, S("a")));
    assert_true(hash_str(1, STR_NONE) == hash_str(1, S("")));
    assert_true(hash_str(1, S("12345678")) != hash_str(1, S("12345679")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_come_and_go),
        cmocka_unit_test(test_one_hash_for_many),
        cmocka_unit_test(test_hashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
