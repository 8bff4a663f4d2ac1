#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "mailauth/auth_failures.h"

#define MINUTES(n) ((uint64_t)(n)*60 * 1000)

static const uint64_t start = MINUTES(30000000);

static const struct {
    const char *fails, *asks; /* who fails three times, and who is then asked for */
    bool over;
} clients[] = {
    {"192.0.2.1", "192.0.2.1", true},
    {"192.0.2.1", "192.0.2.2", false},
    {"192.0.2.1", "::ffff:192.0.2.1", true},
    {"2001:db8::1", "2001:db8::ffff:2", true}, /* one /64 is one client */
    {"2001:db8::1", "2001:db8:0:1::1", false},
    {"127.0.0.1", "127.0.0.1", false},
    {"127.8.0.1", "127.8.0.1", false},
    {"::1", "::1", false},
    {"::ffff:127.0.0.1", "::ffff:127.0.0.1", false},
    {"unix", "unix", false},
    {"", "", false},
};

static void test_clients(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof clients / sizeof *clients; i++) {
        struct auth_failures *f = auth_failures_new(1);
        for (int n = 0; n < 3; n++)
            (void)auth_failures_add(f, AUTH_FAILURES_CLIENT, str_of(clients[i].fails), 3, start);
        if (auth_failures_over(f, AUTH_FAILURES_CLIENT, str_of(clients[i].asks), 3, start) != clients[i].over)
            fail_msg("row %zu", i);
        assert_false(auth_failures_over(f, AUTH_FAILURES_ACCOUNT, str_of(clients[i].asks), 3, start));
        assert_false(auth_failures_over(f, AUTH_FAILURES_CLIENT, str_of(clients[i].asks), 0, start)); /* no limit */
        auth_failures_free(f);
    }
}

static void test_ten_minutes(void **state) {
    (void)state;
    struct auth_failures *f = auth_failures_new(1);
    str ada = S("ada@example.org");
    assert_false(auth_failures_add(f, AUTH_FAILURES_ACCOUNT, ada, 3, start));
    assert_false(auth_failures_add(f, AUTH_FAILURES_ACCOUNT, S("ADA@example.org"), 3, start + MINUTES(5)));
    assert_true(auth_failures_add(f, AUTH_FAILURES_ACCOUNT, ada, 3, start + MINUTES(9)));
    assert_true(auth_failures_over(f, AUTH_FAILURES_ACCOUNT, ada, 3, start + MINUTES(10)));
    assert_false(auth_failures_over(f, AUTH_FAILURES_ACCOUNT, ada, 3, start + MINUTES(11)));
    assert_true(auth_failures_add(f, AUTH_FAILURES_ACCOUNT, ada, 3, start + MINUTES(11)));
    auth_failures_forget(f, AUTH_FAILURES_ACCOUNT, ada);
    assert_false(auth_failures_over(f, AUTH_FAILURES_ACCOUNT, ada, 1, start + MINUTES(11)));
    auth_failures_free(f);
}

/* Many strangers cost bounded memory, and old ones are forgotten. */
static void test_many(void **state) {
    (void)state;
    struct auth_failures *f = auth_failures_new(1);
    char name[40];
    for (unsigned i = 0; i < 300000; i++) {
        snprintf(name, sizeof name, "10.%u.%u.%u", i >> 16 & 255, i >> 8 & 255, i & 255);
        (void)auth_failures_add(f, AUTH_FAILURES_CLIENT, str_of(name), 1, start + MINUTES(i / 10000));
    }
    assert_true(auth_failures_over(f, AUTH_FAILURES_CLIENT, str_of(name), 1, start + MINUTES(30)));
    assert_false(auth_failures_over(f, AUTH_FAILURES_CLIENT, S("10.0.0.1"), 1, start + MINUTES(30)));
    auth_failures_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_clients), cmocka_unit_test(test_ten_minutes),
                                       cmocka_unit_test(test_many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
