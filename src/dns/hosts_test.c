#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "dns/hosts.h"

static const str text = S_INIT("127.0.0.1\tlocalhost\n"
                               "# 192.0.2.9 shop\n"
                               "  192.0.2.1  shop.example.org shop # the old one\r\n"
                               "2001:db8::1\tShop\n"
                               "192.0.2.2 webshop\n"
                               "192.0.2.3\n"
                               "\n"
                               "192.0.2.4 other #shop");

static void names_lead_to_addresses(void **state) {
    (void)state;
    static const struct {
        str name;
        size_t count;
        const char *first;
    } rows[] = {
        {S_INIT("shop"), 2, "192.0.2.1"},  {S_INIT("SHOP.example.org"), 1, "192.0.2.1"},
        {S_INIT("other"), 1, "192.0.2.4"}, {S_INIT("old"), 0, NULL},
        {S_INIT("192.0.2.3"), 0, NULL},    {S_INIT("localhost"), 1, "127.0.0.1"},
        {S_INIT("example.org"), 0, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        str found[4];
        assert_int_equal(hosts_find(text, rows[i].name, found, 4), rows[i].count);
        if (rows[i].count)
            assert_true(str_eq(found[0], str_of(rows[i].first)));
    }
}

static void no_more_than_wanted(void **state) {
    (void)state;
    str found[1];
    assert_int_equal(hosts_find(text, S("shop"), found, 1), 1);
    assert_int_equal(hosts_find(text, S("shop"), found, 0), 0);
    assert_int_equal(hosts_find(STR_NONE, S("shop"), found, 1), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_lead_to_addresses),
                                       cmocka_unit_test(no_more_than_wanted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
