/* What the configuration says of a site. */
#include "role/store_queue_inside.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* A smarthost expects our mail and may have more connections than a stranger's site, unless its block says otherwise.
 */
static void connections_to_a_site(void **state) {
    (void)state;
    str patterns[] = {S("slow.example:25")};
    struct conf_site block = {.match = {patterns, 1}, .concurrency = 3};
    struct conf c = {.smarthost_concurrency_max = 50};
    struct store_queue q = {.conf = &c};
    assert_int_equal(sq_rule_of(&q, S("smarthost:slow.example:25"), S("slow.example:25")).window_max, 50);
    assert_int_equal(sq_rule_of(&q, S("lmtp:unix:/run/lmtp"), S("unix:/run/lmtp")).window_max, 50);
    assert_int_equal(sq_rule_of(&q, S("mx.example.org"), S("example.org")).window_max, 0);
    assert_int_equal(sq_rule_of(&q, S("pipe:spam"), S("spam")).window_max, 0);
    c.sites = &block;
    c.site_count = 1;
    assert_int_equal(sq_rule_of(&q, S("smarthost:slow.example:25"), S("slow.example:25")).window_max, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(connections_to_a_site)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
