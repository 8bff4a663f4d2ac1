#include "base/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct thing {
    uint64_t value;
    struct pool_link link;
};
enum { MANY = 20000, LINK = offsetof(struct thing, link) };

static struct thing *thing_at(struct pool *p, uint32_t i) {
    return pool_at(p, i);
}

static void test_things_stay_where_they_are(void **state) {
    (void)state;
    struct pool p;
    pool_init(&p, sizeof(struct thing));
    assert_int_equal(pool_take(&p), 1);
    struct thing *first = thing_at(&p, 1);
    for (uint32_t i = 2; i <= MANY; i++) {
        assert_int_equal(pool_take(&p), i);
        thing_at(&p, i)->value = i;
    }
    assert_ptr_equal(first, thing_at(&p, 1));
    assert_int_equal(thing_at(&p, 777)->value, 777);
    assert_in_range(pool_bytes(&p), MANY * sizeof(struct thing), MANY * sizeof(struct thing) * 2);
    pool_free(&p);
}

static void test_given_back_is_taken_again_and_zeroed(void **state) {
    (void)state;
    struct pool p;
    pool_init(&p, sizeof(struct thing));
    for (int i = 0; i < 3; i++)
        thing_at(&p, pool_take(&p))->value = UINT64_MAX;
    pool_give(&p, 2);
    pool_give(&p, 1);
    assert_int_equal(pool_take(&p), 1);
    assert_int_equal(pool_take(&p), 2);
    assert_true(thing_at(&p, 1)->value == 0 && thing_at(&p, 2)->value == 0);
    assert_int_equal(p.live, 3);
    pool_free(&p);
}

static void test_the_last_one_frees_the_memory(void **state) {
    (void)state;
    struct pool p;
    pool_init(&p, sizeof(struct thing));
    for (uint32_t i = 1; i <= MANY; i++)
        assert_int_equal(pool_take(&p), i);
    for (uint32_t i = 1; i <= MANY; i++)
        pool_give(&p, i);
    assert_int_equal(pool_bytes(&p), 0);
    assert_int_equal(pool_take(&p), 1);
    pool_free(&p);
}

static void test_chains(void **state) {
    (void)state;
    static const uint32_t order[] = {3, 1, 4};
    struct pool p;
    struct pool_chain c = {0};
    pool_init(&p, sizeof(struct thing));
    for (uint32_t i = 1; i <= 4; i++)
        assert_int_equal(pool_take(&p), i);
    chain_add_tail(&p, LINK, &c, 1);
    chain_add_tail(&p, LINK, &c, 2);
    chain_add_tail(&p, LINK, &c, 4);
    chain_add_head(&p, LINK, &c, 3);
    chain_remove(&p, LINK, &c, 2);
    uint32_t at = c.first;
    for (size_t i = 0; i < 3; i++, at = thing_at(&p, at)->link.next)
        assert_int_equal(at, order[i]);
    assert_int_equal(at, 0);
    assert_int_equal(c.last, 4);
    for (size_t i = 0; i < 3; i++)
        chain_remove(&p, LINK, &c, order[i]);
    assert_true(c.first == 0 && c.last == 0);
    pool_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_things_stay_where_they_are),
        cmocka_unit_test(test_given_back_is_taken_again_and_zeroed),
        cmocka_unit_test(test_the_last_one_frees_the_memory),
        cmocka_unit_test(test_chains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
