#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "conf/conf_net.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* In, and as it is written; NULL: refused. */
struct pair {
    const char *in, *out;
};

static void addresses(void **state) {
    (void)state;
    static const struct pair rows[] = {
        {"0.0.0.0", "0.0.0.0"},
        {"255.255.255.255", "255.255.255.255"},
        {"::", "::"},
        {"::1", "::1"},
        {"1::", "1::"},
        {"2001:DB8:0:0:8:800:200C:417A", "2001:db8::8:800:200c:417a"},
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"}, /* RFC 5952 4.2.2: one zero group stays */
        {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"}, /* RFC 5952 4.2.3: the first of equals */
        {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
        {"1:0:0:0:0:0:0:0", "1::"},
        {"::ffff:192.0.2.1", "192.0.2.1"},
        {"::ffff:c000:201", "192.0.2.1"},
        {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
        {"", NULL},
        {"1.2.3", NULL},
        {"1.2.3.4.5", NULL},
        {"1.2.3.256", NULL},
        {"1.2.3.04", NULL},
        {"1.2.3.4 ", NULL},
        {"1..2.3", NULL},
        {":", NULL},
        {":::", NULL},
        {":1", NULL},
        {"1:", NULL},
        {"1::2::3", NULL},
        {"1:2:3:4:5:6:7", NULL},
        {"1:2:3:4:5:6:7:8:9", NULL},
        {"1:2:3:4:5:6:7:8::", NULL},
        {"12345::", NULL},
        {"g::", NULL},
        {"1.2.3.4::", NULL},
        {"1:2:3:4:5:6:7:1.2.3.4", NULL},
        {"fe80::1%eth0", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct conf_ip ip;
        struct buf out = BUF(100);
        bool good = conf_ip_parse(str_of(rows[i].in), &ip);
        if (good)
            conf_ip_put(&out, &ip);
        assert_string_equal(good ? buf_cstr(&out) : "refused", rows[i].out ? rows[i].out : "refused");
        buf_free(&out);
    }
}

static void listening(void **state) {
    (void)state;
    static const struct pair rows[] = {
        {"", ""},
        {"off", "off"},
        {"127.0.0.1:25", "127.0.0.1:25"},
        {"localhost:0", "127.0.0.1:0"},
        {"[::]:25", "[::]:25"},
        {"unix:/run/a.sock", "unix:/run/a.sock"},
        {"unix:/run/a.sock:0600", "unix:/run/a.sock:0600"},
        {"unix:/run/a:b", "unix:/run/a:b"},
        {"unix:relative", NULL},
        {"unix:", NULL},
        {"unix:/", NULL},
        {"::1:25", NULL},
        {"[127.0.0.1]:25", NULL},
        {"[::1]", NULL},
        {"127.0.0.1:", NULL},
        {"127.0.0.1:65536", NULL},
        {"127.0.0.1:-1", NULL},
        {"example.org:25", NULL},
        {":25", NULL},
        {"25", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct conf_address a;
        struct arena arena = ARENA(10000);
        struct buf out = BUF(300);
        struct why w;
        bool good = conf_address_parse(str_of(rows[i].in), &arena, &a, &w) == OK;
        if (good)
            conf_address_put(&out, &a);
        assert_string_equal(good ? buf_cstr(&out) : "refused", rows[i].out ? rows[i].out : "refused");
        buf_free(&out);
        arena_free(&arena);
    }
}

static void networks(void **state) {
    (void)state;
    static const struct pair rows[] = {
        {"", ""},
        {" , ", ""},
        {"10.0.0.0/8,::1 unix", "10.0.0.0/8, ::1, unix"},
        {"0.0.0.0/0", "0.0.0.0/0"},
        {"::/0", "::/0"},
        {"::ffff:10.0.0.0/104", "10.0.0.0/8"},
        {"10.0.0.1/32", "10.0.0.1"},
        {"10.0.0.1/8", NULL},
        {"10.0.0.0/33", NULL},
        {"10.0.0.0/", NULL},
        {"10.0.0.0/08x", NULL},
        {"2001:db8::/129", NULL},
        {"example.org", NULL},
        {"1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1", NULL}, /* more than five */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct conf_networks n;
        struct arena arena = ARENA(10000);
        struct buf out = BUF(300);
        struct why w;
        bool good = conf_networks_parse(str_of(rows[i].in), 5, &arena, &n, &w) == OK;
        if (good)
            conf_networks_put(&out, &n);
        assert_string_equal(good ? buf_cstr(&out) : "refused", rows[i].out ? rows[i].out : "refused");
        buf_free(&out);
        arena_free(&arena);
    }
}

static void matching(void **state) {
    (void)state;
    static const struct {
        const char *networks, *address;
        bool in;
    } rows[] = {
        {"", "127.0.0.1", false},
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1", "127.0.0.2", false},
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"192.0.2.128/25", "192.0.2.129", true},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"0.0.0.0/0", "1.2.3.4", true},
        {"0.0.0.0/0", "::1", false},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"::1 unix", "unix", true},
        {"::1", "unix", false},
        {"unix", "127.0.0.1", false},
        {"0.0.0.0/0, ::/0, unix", "not an address", false},
        {"0.0.0.0/0, ::/0, unix", "", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct conf_networks n;
        struct arena arena = ARENA(10000);
        assert_int_equal(conf_networks_parse(str_of(rows[i].networks), 5, &arena, &n, NULL), OK);
        assert_int_equal(conf_network_match(&n, str_of(rows[i].address)), rows[i].in);
        arena_free(&arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(listening),
        cmocka_unit_test(networks),
        cmocka_unit_test(matching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
