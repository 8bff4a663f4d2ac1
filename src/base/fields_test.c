#include "base/fields.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void merge_replaces_adds_removes(void **state) {
    (void)state;
    struct buf old = BUF(1000), changes = BUF(1000), out = BUF(1000);
    fields_put(&old, S("a"), S("1"));
    fields_put(&old, S("b"), S("2"));
    fields_put(&old, S("c"), S("3"));
    fields_put(&changes, S("b"), S("two"));
    fields_put(&changes, S("c"), S(""));
    fields_put(&changes, S("d"), S("4"));
    fields_merge(&out, buf_str(&old), buf_str(&changes));
    assert_true(fields_valid(buf_str(&out)));
    assert_true(str_eq(fields_get(buf_str(&out), S("a")), S("1")));
    assert_true(str_eq(fields_get(buf_str(&out), S("b")), S("two")));
    assert_true(str_eq(fields_get(buf_str(&out), S("d")), S("4")));
    str value;
    assert_false(fields_find(buf_str(&out), S("c"), &value));
    buf_free(&old);
    buf_free(&changes);
    buf_free(&out);
}

static void damaged_or_doubled_is_not_valid(void **state) {
    (void)state;
    struct buf b = BUF(1000);
    fields_put(&b, S("a"), S("1"));
    assert_true(fields_valid(buf_str(&b)));
    for (size_t n = 1; n < b.n; n++)
        assert_false(fields_valid(str_head(buf_str(&b), n)));
    fields_put(&b, S("a"), S("2"));
    assert_false(fields_valid(buf_str(&b)));
    buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(merge_replaces_adds_removes),
                                       cmocka_unit_test(damaged_or_doubled_is_not_valid)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
