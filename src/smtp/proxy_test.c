#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/code.h"
#include "smtp/proxy.h"

static const struct {
    str in;
    enum err e;
    const char *source;
    unsigned port;
    bool local;
} v1[] = {
    {S_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 4242 25\r\n"), OK, "192.0.2.1", 4242, false},
    {S_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 0 65535\r\nEHLO x\r\n"), OK, "192.0.2.1", 0, false},
    {S_INIT("PROXY TCP6 2001:DB8:0::1 ::1 1 2\r\n"), OK, "2001:db8::1", 1, false},
    {S_INIT("PROXY TCP6 1:0:0:2:0:0:0:3 :: 1 2\r\n"), OK, "1:0:0:2::3", 1, false},
    {S_INIT("PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n"), OK, "::ffff:1.2.3.4", 1, false},
    {S_INIT("PROXY TCP6 1:2:3:4:5:6:7:8 1:: 1 2\r\n"), OK, "1:2:3:4:5:6:7:8", 1, false},
    {S_INIT("PROXY UNKNOWN\r\n"), OK, "", 0, true},
    {S_INIT("PROXY UNKNOWN whatever it likes\r\n"), OK, "", 0, true},
    {S_INIT("PROXY UNKNOWNX\r\n"), ERR_SYNTAX},
    {S_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 4242 25\n"), ERR_SYNTAX},    /* bare LF */
    {S_INIT("PROXY TCP4 192.0.2.1\r192.0.2.2 4242 25\r\n"), ERR_SYNTAX}, /* bare CR */
    {S_INIT("PROXY TCP4  192.0.2.1 192.0.2.2 4242 25\r\n"), ERR_SYNTAX}, /* two spaces */
    {S_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 4242 25 \r\n"), ERR_SYNTAX}, /* junk behind */
    {S_INIT("PROXY TCP4 192.0.2.256 192.0.2.2 4242 25\r\n"), ERR_SYNTAX},
    {S_INIT("PROXY TCP4 192.0.2.01 192.0.2.2 4242 25\r\n"), ERR_SYNTAX}, /* octal or not: nobody knows */
    {S_INIT("PROXY TCP4 192.0.2 192.0.2.2 4242 25\r\n"), ERR_SYNTAX},
    {S_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 65536 25\r\n"), ERR_SYNTAX},
    {S_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 +1 25\r\n"), ERR_SYNTAX},
    {S_INIT("PROXY TCP4 ::1 ::1 1 25\r\n"), ERR_SYNTAX},
    {S_INIT("PROXY TCP6 192.0.2.1 ::1 1 25\r\n"), ERR_SYNTAX},
    {S_INIT("PROXY TCP6 1:2:3:4:5:6:7 ::1 1 25\r\n"), ERR_SYNTAX},
    {S_INIT("PROXY TCP6 1:2:3:4:5:6:7:8:9 ::1 1 25\r\n"), ERR_SYNTAX},
    {S_INIT("PROXY TCP6 1::2::3 ::1 1 25\r\n"), ERR_SYNTAX},
    {S_INIT("PROXY TCP6 12345::1 ::1 1 25\r\n"), ERR_SYNTAX},
    {S_INIT("PROXY TCP6 ::1%eth0 ::1 1 25\r\n"), ERR_SYNTAX},
    {S_INIT("PROXY TCP6 1: ::1 1 25\r\n"), ERR_SYNTAX},
    {S_INIT("PROXY TCP5 ::1 ::1 1 25\r\n"), ERR_SYNTAX},
    {S_INIT("proxy TCP6 ::1 ::1 1 25\r\n"), ERR_SYNTAX},
    {S_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 4242"), ERR_MORE},
    {S_INIT("PRO"), ERR_MORE},
    {S_INIT(""), ERR_MORE},
    {S_INIT("EHLO"), ERR_SYNTAX},
    {S_INIT("PROXY UNKNOWN 67890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567"
            "89\r\n"),
     ERR_LIMIT},
};

/* Every prefix of a good header must ask for more. */
static void prefixes(str in, size_t size) {
    struct proxy_header h;
    for (size_t n = 0; n < size; n++)
        assert_int_equal(proxy_parse(str_head(in, n), &h), ERR_MORE);
}

static void test_v1(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof v1 / sizeof *v1; i++) {
        struct proxy_header h;
        if (proxy_parse(v1[i].in, &h) != v1[i].e)
            fail_msg("row %zu: %.*s", i, STR_ARG(v1[i].in));
        if (v1[i].e != OK)
            continue;
        assert_int_equal(h.version, 1);
        assert_int_equal(h.size, str_find(v1[i].in, '\n') + 1);
        assert_int_equal(h.local, v1[i].local);
        assert_string_equal(h.source, v1[i].source);
        assert_int_equal(h.source_port, v1[i].port);
        prefixes(v1[i].in, h.size);
    }
}

static struct buf v2_make(uint8_t command, uint8_t family, str body) {
    struct buf b = BUF(8192);
    buf_add(&b, S("\r\n\r\n\0\r\nQUIT\n"));
    buf_u8(&b, command);
    buf_u8(&b, family);
    buf_u8(&b, (uint8_t)(body.n >> 8));
    buf_u8(&b, (uint8_t)body.n);
    buf_add(&b, body);
    return b;
}

#define V4 "\xc0\x00\x02\x01\x7f\x00\x00\x01\x10\x92\x00\x19"

static const struct {
    uint8_t command, family;
    str body;
    enum err e;
    enum proxy_family want;
    const char *source;
} v2[] = {
    {0x21, 0x11, S_INIT(V4), OK, PROXY_INET, "192.0.2.1"},
    {0x21, 0x11, S_INIT(V4 "\x04\x00\x02ok"), OK, PROXY_INET, "192.0.2.1"},
    {0x21, 0x11, S_INIT(V4 "\x04\x00\x03ok"), ERR_SYNTAX},               /* a TLV longer than the header */
    {0x21, 0x11, S_INIT(V4 "\x04\x00"), ERR_SYNTAX},                     /* half a TLV */
    {0x21, 0x11, S_INIT(V4 "\x03\x00\x04\x01\x02\x03\x04"), ERR_SYNTAX}, /* wrong checksum */
    {0x21, 0x11, S_INIT(V4 "\x03\x00\x01\x01"), ERR_SYNTAX},
    {0x21, 0x11, S_INIT("short"), ERR_SYNTAX},
    {0x21, 0x21, S_INIT("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\x10\x92\0\x19"), OK,
     PROXY_INET6, "2001:db8::1"},
    {0x20, 0x00, S_INIT(""), OK, PROXY_NONE, ""},
    {0x20, 0x11, S_INIT("junk that LOCAL may carry"), OK, PROXY_NONE, ""},
    {0x21, 0x00, S_INIT("anything"), OK, PROXY_NONE, ""},
    {0x21, 0x12, S_INIT(V4), ERR_SYNTAX}, /* datagrams */
    {0x22, 0x11, S_INIT(V4), ERR_SYNTAX}, /* unknown command */
    {0x11, 0x11, S_INIT(V4), ERR_SYNTAX}, /* unknown version */
};

static void test_v2(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof v2 / sizeof *v2; i++) {
        struct proxy_header h;
        struct buf b = v2_make(v2[i].command, v2[i].family, v2[i].body);
        size_t size = b.n;
        buf_add(&b, S("EHLO x\r\n"));
        if (proxy_parse(buf_str(&b), &h) != v2[i].e)
            fail_msg("row %zu", i);
        if (v2[i].e == OK) {
            assert_int_equal(h.version, 2);
            assert_int_equal(h.size, size);
            assert_int_equal(h.family, v2[i].want);
            assert_int_equal(h.local, v2[i].want == PROXY_NONE);
            assert_string_equal(h.source, v2[i].source);
            prefixes(buf_str(&b), size);
        }
        if (v2[i].want == PROXY_INET) {
            assert_int_equal(h.source_port, 4242);
            assert_int_equal(h.destination_port, 25);
        }
        buf_free(&b);
    }
}

static void test_v2_unix(void **state) {
    (void)state;
    char body[216] = "/run/client";
    struct proxy_header h;
    memset(body + 108, 'x', 108); /* no NUL at all */
    struct buf b = v2_make(0x21, 0x31, str_n(body, sizeof body));
    assert_int_equal(proxy_parse(buf_str(&b), &h), OK);
    assert_string_equal(h.source, "/run/client");
    assert_int_equal(strlen(h.destination), 108);
    buf_free(&b);
}

static void test_v2_checksum(void **state) {
    (void)state;
    struct proxy_header h;
    struct buf b = v2_make(0x21, 0x11, S(V4 "\x03\x00\x04\x00\x00\x00\x00"));
    uint32_t crc = crc32c(0, buf_str(&b));
    for (size_t i = 0; i < 4; i++)
        b.p[b.n - 4 + i] = (char)(crc >> (24 - 8 * i));
    assert_int_equal(proxy_parse(buf_str(&b), &h), OK);
    b.p[20]++;
    assert_int_equal(proxy_parse(buf_str(&b), &h), ERR_SYNTAX);
    buf_free(&b);
}

static void test_v2_length(void **state) {
    (void)state;
    static const char zeros[4096];
    struct proxy_header h;
    struct buf b = v2_make(0x20, 0, str_n(zeros, PROXY_V2_MAX - 16));
    assert_int_equal(proxy_parse(buf_str(&b), &h), OK);
    buf_free(&b);
    b = v2_make(0x20, 0, str_n(zeros, PROXY_V2_MAX - 15));
    assert_int_equal(proxy_parse(str_head(buf_str(&b), 16), &h), ERR_LIMIT);
    buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v1),          cmocka_unit_test(test_v2),        cmocka_unit_test(test_v2_unix),
        cmocka_unit_test(test_v2_checksum), cmocka_unit_test(test_v2_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
