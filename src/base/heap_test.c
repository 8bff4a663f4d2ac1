#include "base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MANY = 3000 };

static uint64_t dice(uint64_t *random) {
    *random = *random * UINT64_C(6364136223846793005) + 1;
    return *random >> 40;
}

static void put(struct heap *h, uint32_t item, uint64_t key) {
    assert_true(heap_reserve(h, item));
    heap_set(h, item, key);
}

static void test_empty(void **state) {
    (void)state;
    struct heap h = {0};
    assert_int_equal(heap_first(&h), 0);
    assert_true(heap_first_key(&h) == UINT64_MAX);
    assert_false(heap_has(&h, 1));
    heap_remove(&h, 1);
}

static void test_comes_out_in_order(void **state) {
    (void)state;
    struct heap h = {0};
    uint64_t random = 1, last = 0;
    for (uint32_t i = MANY; i > 0; i--)
        put(&h, i, dice(&random));
    for (uint32_t left = MANY; left > 0; left--) {
        assert_int_equal(h.count, left);
        assert_true(heap_first_key(&h) >= last);
        assert_true(heap_key(&h, heap_first(&h)) == heap_first_key(&h));
        last = heap_first_key(&h);
        heap_remove(&h, heap_first(&h));
    }
    heap_free(&h);
}

/* Against a plain array that is searched. */
static void test_keys_change_and_things_leave(void **state) {
    (void)state;
    enum { THINGS = 60 };
    struct heap h = {0};
    uint64_t random = 7, keys[THINGS + 1];
    for (uint32_t i = 0; i <= THINGS; i++)
        keys[i] = UINT64_MAX;
    for (int step = 0; step < 20000; step++) {
        uint32_t item = 1 + (uint32_t)(dice(&random) % THINGS);
        bool out = dice(&random) % 3 == 0;
        keys[item] = out ? UINT64_MAX : dice(&random) % 100;
        if (out)
            heap_remove(&h, item);
        else
            put(&h, item, keys[item]);
        uint64_t smallest = UINT64_MAX;
        for (uint32_t i = 1; i <= THINGS; i++)
            smallest = keys[i] < smallest ? keys[i] : smallest;
        assert_true(heap_first_key(&h) == smallest);
        assert_true(heap_has(&h, item) == !out);
    }
    heap_free(&h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_comes_out_in_order),
        cmocka_unit_test(test_keys_change_and_things_leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
