#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/ip.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* In, and as it is written; NULL: refused. */
struct pair {
    const char *in, *out;
};

static void test_ip4(void **state) {
    (void)state;
    static const struct pair rows[] = {
        {"0.0.0.0", "0.0.0.0"},
        {"255.255.255.255", "255.255.255.255"},
        {"192.0.2.1", "192.0.2.1"},
        {"", NULL},
        {"1.2.3", NULL},
        {"1.2.3.", NULL},
        {"1.2.3.4.", NULL},
        {"1.2.3.4.5", NULL},
        {"1.2.3.256", NULL},
        {"1.2.3.04", NULL},
        {"1.2.3.00", NULL},
        {"1.2.3.1000", NULL},
        {"1.2.3.4 ", NULL},
        {" 1.2.3.4", NULL},
        {"1..2.3", NULL},
        {"1.2.3.-4", NULL},
        {"1.2.3.+4", NULL},
        {"0x1.2.3.4", NULL},
        {"16909060", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t ip[IP4_SIZE];
        char text[IP_TEXT_SIZE] = "refused";
        if (ip4_parse(str_of(rows[i].in), ip))
            ip4_text(ip, text);
        assert_string_equal(text, rows[i].out ? rows[i].out : "refused");
    }
}

static void test_padded(void **state) {
    (void)state;
    uint8_t ip[IP4_SIZE];
    assert_true(ip4_parse_padded(S("192.000.02.010"), ip));
    assert_memory_equal(ip, "\xc0\0\2\12", 4);
    assert_false(ip4_parse_padded(S("192.0000.2.1"), ip));
    assert_false(ip4_parse_padded(S("192.0.2.256"), ip));
}

static void test_ip6(void **state) {
    (void)state;
    static const struct pair rows[] = {
        {"::", "::"},
        {"::1", "::1"},
        {"1::", "1::"},
        {"2001:DB8:0:0:8:800:200C:417A", "2001:db8::8:800:200c:417a"},
        {"2001:0db8::0001", "2001:db8::1"},               /* RFC 5952 4.1 */
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"}, /* 4.2.2: one zero group stays */
        {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},          /* 4.2.3: the longest */
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},    /* 4.2.3: the first of equals */
        {"1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"},
        {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
        {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
        {"1:0:0:0:0:0:0:0", "1::"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
        {"::ffff:192.0.2.1", "::ffff:192.0.2.1"}, /* 5 */
        {"::ffff:c000:201", "::ffff:192.0.2.1"},
        {"::fffe:192.0.2.1", "::fffe:c000:201"},
        {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
        {"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"},
        {"", NULL},
        {":", NULL},
        {":::", NULL},
        {":1", NULL},
        {"1:", NULL},
        {"1::2:", NULL},
        {":1::2", NULL},
        {"1:::2", NULL},
        {"1::2::3", NULL},
        {"1:2:3:4:5:6:7", NULL},
        {"1:2:3:4:5:6:7:8:9", NULL},
        {"1:2:3:4:5:6:7:8::", NULL},
        {"1:2:3:4::5:6:7:8", NULL}, /* :: stands for at least one group */
        {"12345::", NULL},
        {"g::", NULL},
        {"1.2.3.4", NULL},
        {"1.2.3.4::", NULL},
        {"::1.2.3.4:5", NULL},
        {"::1.2.3.04", NULL},
        {"1:2:3:4:5:6:7:1.2.3.4", NULL},
        {"[::1]", NULL},
        {"fe80::1%eth0", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t ip[IP6_SIZE];
        char text[IP_TEXT_SIZE] = "refused";
        if (ip6_parse(str_of(rows[i].in), ip))
            ip6_text(ip, text);
        assert_string_equal(text, rows[i].out ? rows[i].out : "refused");
    }
}

static void test_mapped(void **state) {
    (void)state;
    uint8_t ip[IP6_SIZE];
    assert_true(ip6_parse(S("::ffff:192.0.2.1"), ip) && ip6_is_mapped(ip));
    assert_true(ip6_parse(S("::192.0.2.1"), ip) && !ip6_is_mapped(ip));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ip4),
        cmocka_unit_test(test_padded),
        cmocka_unit_test(test_ip6),
        cmocka_unit_test(test_mapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
