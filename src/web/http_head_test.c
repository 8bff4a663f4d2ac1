#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "web/http_head.h"
#include "base/code.h"

#define GET "GET / HTTP/1.1\r\n"
#define H "Host: localhost\r\n"

/* What each head is answered with; 0: taken. */
static const struct {
    str head;
    unsigned status;
} heads[] = {
    {S_INIT(GET H "\r\n"), 0},
    {S_INIT("\r\n" GET H "\r\n"), 0},                            /* RFC 9112 2.2 */
    {S_INIT("GET http://localhost/x HTTP/1.1\r\n" H "\r\n"), 0}, /* 3.2.2 absolute-form */
    {S_INIT("OPTIONS * HTTP/1.1\r\n" H "\r\n"), 0},
    {S_INIT("GET /?a=b%20c HTTP/1.0\r\n" H "\r\n"), 0},
    {S_INIT("PUT / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\n"), 0},
    {S_INIT("PUT / HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n\r\n"), 0},
    {S_INIT(GET H "Cookie: a=\"b\"\r\nX-\x21: \xc3\xbc\r\n\r\n"), 0},
    {S_INIT("GET / HTTP/1.1\r\nHost: [::1]:8025\r\n\r\n"), 0},
    {S_INIT(GET "\r\n"), 400},     /* no Host */
    {S_INIT(GET H H "\r\n"), 400}, /* two */
    {S_INIT(GET "Host : localhost\r\n\r\n"), 400},
    {S_INIT(GET " Host: localhost\r\n\r\n"), 400},
    {S_INIT(GET "Host: a b\r\n\r\n"), 400},
    {S_INIT(GET "Host: a/b\r\n\r\n"), 400},
    {S_INIT(GET "Host: u@a\r\n\r\n"), 400},
    {S_INIT(GET "Host: a:80:80\r\n\r\n"), 400},
    {S_INIT(GET "Host: a:99999\r\n\r\n"), 400},
    {S_INIT(GET "Host: [::1\r\n\r\n"), 400},
    {S_INIT(GET "Host:\r\n\r\n"), 400},
    {S_INIT("GET http://other/x HTTP/1.1\r\n" H "\r\n"), 400},
    {S_INIT(GET H "X: a\r\n b\r\n\r\n"), 400}, /* obs-fold */
    {S_INIT(GET H "X\r\n\r\n"), 400},
    {S_INIT(GET H ": x\r\n\r\n"), 400},
    {S_INIT(GET H "X: a\001\r\n\r\n"), 400},
    {S_INIT("GET /a b HTTP/1.1\r\n" H "\r\n"), 400},
    {S_INIT("GET /\t HTTP/1.1\r\n" H "\r\n"), 400},
    {S_INIT("GET /\xc3\xbc HTTP/1.1\r\n" H "\r\n"), 400},
    {S_INIT("GET /#x HTTP/1.1\r\n" H "\r\n"), 400},
    {S_INIT("GET x HTTP/1.1\r\n" H "\r\n"), 400},
    {S_INIT("GET * HTTP/1.1\r\n" H "\r\n"), 400},
    {S_INIT("GET  / HTTP/1.1\r\n" H "\r\n"), 400},
    {S_INIT("GET /\r\n" H "\r\n"), 400},
    {S_INIT("G@T / HTTP/1.1\r\n" H "\r\n"), 400},
    {S_INIT("GET / http/1.1\r\n" H "\r\n"), 400},
    {S_INIT("GET / HTTP/2.0\r\n" H "\r\n"), 505},
    {S_INIT("GET / HTTP/1.2\r\n" H "\r\n"), 505},
    {S_INIT("PUT / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"), 400},
    {S_INIT("PUT / HTTP/1.1\r\n" H "Content-Length: 5, 5\r\n\r\n"), 400},
    {S_INIT("PUT / HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\n"), 400},
    {S_INIT("PUT / HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\n"), 400},
    {S_INIT("PUT / HTTP/1.1\r\n" H "Content-Length: 0x5\r\n\r\n"), 400},
    {S_INIT("PUT / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n"), 400},
    {S_INIT("PUT / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\n"), 400},
    {S_INIT("PUT / HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), 400},
    {S_INIT("PUT / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n"), 400},
    {S_INIT("PUT / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n"), 400},
    {S_INIT("PUT / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), 400},
    {S_INIT("PUT / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n"), 400},
    {S_INIT(GET H "Origin: http://a\r\nOrigin: http://b\r\n\r\n"), 400},
};

static void test_heads(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct http_head h;
        struct why w = {0};
        unsigned status = http_head_parse(heads[i].head, &h, &w);
        if (status != heads[i].status)
            fail_msg("%.*s gives %u (%s), not %u", STR_ARG(heads[i].head), status, w.text, heads[i].status);
        assert_true(status == 0 || w.text[0]);
    }
}

static enum err scan_in(str s, size_t step, size_t *total) {
    struct http_scan scan = {0};
    enum err e = ERR_MORE;
    *total = 0;
    while (s.n && e == ERR_MORE) {
        size_t used;
        e = http_scan(&scan, str_head(s, step), &used);
        *total += used;
        s = str_tail(s, used);
    }
    return e;
}

static void test_scan(void **state) {
    (void)state;
    static const struct {
        str bytes;
        enum err e;
        size_t n;
    } rows[] = {
        {S_INIT("GET / HTTP/1.1\r\nA: b\r\n\r\nmore"), OK, 24},   {S_INIT("\r\nGET / HTTP/1.1\r\n\r\n"), OK, 20},
        {S_INIT("GET / HTTP/1.1\r\nA: b\r\n"), ERR_MORE, 22},     {S_INIT("GET / HTTP/1.1\nA: b\n\n"), ERR_SYNTAX, 15},
        {S_INIT("GET / HTTP/1.1\rA: b\r\n\r\n"), ERR_SYNTAX, 16}, {S_INIT("GET /\0 HTTP/1.1\r\n\r\n"), ERR_SYNTAX, 6},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t step = 1; step < 50; step += 7) {
            size_t n;
            assert_int_equal(scan_in(rows[i].bytes, step, &n), rows[i].e);
            assert_int_equal(n, rows[i].n);
        }
    static char big[HTTP_HEAD_MAX + 10];
    memset(big, 'a', sizeof big);
    size_t n;
    assert_int_equal(scan_in(str_n(big, sizeof big), 1000, &n), ERR_LIMIT);
    assert_int_equal(n, HTTP_HEAD_MAX);
}

static void test_chunked(void **state) {
    (void)state;
    static const struct {
        str bytes;
        enum err e;
        str body;
    } rows[] = {
        {S_INIT("3\r\nabc\r\n0\r\n\r\n"), OK, S_INIT("abc")},
        {S_INIT("3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"), OK, S_INIT("abc0123456789")},
        {S_INIT("0\r\n\r\n"), OK, S_INIT("")},
        {S_INIT("3\r\nab"), ERR_MORE, S_INIT("ab")},
        {S_INIT("3;x=y\r\nabc\r\n0\r\n\r\n"), ERR_SYNTAX, S_INIT("")},
        {S_INIT("3\nabc\r\n0\r\n\r\n"), ERR_SYNTAX, S_INIT("")},
        {S_INIT("\r\n"), ERR_SYNTAX, S_INIT("")},
        {S_INIT("-1\r\n"), ERR_SYNTAX, S_INIT("")},
        {S_INIT("123456789\r\n"), ERR_SYNTAX, S_INIT("")},
        {S_INIT("3\r\nabcd\r\n"), ERR_SYNTAX, S_INIT("abc")},
        {S_INIT("0\r\nX: y\r\n\r\n"), ERR_SYNTAX, S_INIT("")},
        {S_INIT("ff\r\n"), ERR_MORE, S_INIT("")},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t step = 1; step < 40; step += 3) {
            struct http_head h = {.chunked = true};
            struct http_body b;
            struct buf out = BUF(100);
            enum err e = ERR_MORE;
            http_body_begin(&b, &h);
            for (str s = rows[i].bytes; s.n && e == ERR_MORE;) {
                size_t used;
                e = http_body_take(&b, str_head(s, step), &used, &out);
                s = str_tail(s, used);
            }
            assert_int_equal(e, rows[i].e);
            assert_true(str_eq(buf_str(&out), rows[i].body));
            buf_free(&out);
        }
}

static void test_hosts(void **state) {
    (void)state;
    static const str names[] = {S_INIT("mail.example"), S_INIT("")};
    static const struct {
        str host;
        bool allowed;
    } rows[] = {
        {S_INIT("localhost"), true},    {S_INIT("LocalHost."), true},    {S_INIT("a.localhost"), true},
        {S_INIT("127.0.0.1"), true},    {S_INIT("[::1]"), true},         {S_INIT("192.168.0.7"), true},
        {S_INIT("Mail.Example"), true}, {S_INIT("evil.example"), false}, {S_INIT("127.0.0.1.evil.example"), false},
        {S_INIT("1.2.3"), false},       {S_INIT("1.2.3.256"), false},    {S_INIT("localhost.evil"), false},
        {S_INIT("xlocalhost"), false},  {S_INIT("[::1"), false},         {S_INIT("[evil.example]"), false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(http_host_allowed(rows[i].host, names, 2), rows[i].allowed);
}

static void check_query(const char *query, const char *name, const char *value) {
    struct buf out = BUF(100);
    assert_int_equal(http_query(str_of(query), str_of(name), &out), value != NULL);
    assert_true(str_eq(buf_str(&out), str_of(value)));
    buf_free(&out);
}

static void test_query_and_path(void **state) {
    (void)state;
    check_query("a=1&b=2", "b", "2");
    check_query("ab=1", "a", NULL);
    check_query("a", "a", "");
    check_query("a=x%20y+z%zz", "a", "x y z%zz");
    check_query("", "a", NULL);
    static const struct {
        const char *path, *decoded;
    } rows[] = {{"/", "/"},      {"//a///b", "/a/b"}, {"/a%20b", "/a b"}, {"/a%2fb", NULL},
                {"/a%00", NULL}, {"/a%", NULL},       {"/%zz", NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf out = BUF(100);
        assert_int_equal(http_path_decode(str_of(rows[i].path), &out), rows[i].decoded != NULL);
        if (rows[i].decoded)
            assert_true(str_eq(buf_str(&out), str_of(rows[i].decoded)));
        buf_free(&out);
    }
}

static void test_tokens_and_origin(void **state) {
    (void)state;
    struct http_head h;
    struct why w;
    assert_int_equal(http_head_parse(S(GET H "Accept-Encoding: br;q=1.0, gzip;q=0.5\r\nAccept-Encoding: x;q=0\r\n"
                                             "Connection: keep-alive, Upgrade\r\nOrigin: http://localhost\r\n\r\n"),
                                     &h, &w),
                     0);
    assert_true(http_head_has_token(&h, S("Accept-Encoding"), S("gzip")));
    assert_false(http_head_has_token(&h, S("Accept-Encoding"), S("x")));
    assert_true(http_head_has_token(&h, S("connection"), S("upgrade")));
    assert_true(http_origin_is_own(&h));
    assert_false(h.close);
    h.origin = S("http://localhost:1");
    assert_false(http_origin_is_own(&h));
    h.origin = S("null");
    assert_false(http_origin_is_own(&h));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads), cmocka_unit_test(test_scan),           cmocka_unit_test(test_chunked),
        cmocka_unit_test(test_hosts), cmocka_unit_test(test_query_and_path), cmocka_unit_test(test_tokens_and_origin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
