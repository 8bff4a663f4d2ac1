#include "role/content_html.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_text(void **state) {
    (void)state;
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"", ""},
        {"plain", "plain\n"},
        {"<p>a</p><p>b</p>c<br>d", "a\n\nb\n\nc\nd\n"},
        {"<div>a<div>b</div></div>\r\n  c  d", "a\nb\nc d\n"},
        {"a &amp; b &lt;&#8364;&#x20ac;&nbsp;x&nope;&", "a & b <\xe2\x82\xac\xe2\x82\xac x&nope;&\n"},
        {"<a href=\"https://x.example/?a=1&amp;b=2\">click</a>!", "click (https://x.example/?a=1&b=2)!\n"},
        {"<a href=http://x/>http://x/</a> <a href='mailto:a@b'>a@b</a>", "http://x/ a@b\n"},
        {"<a href=javascript:alert(1)>x</a><a href=https://y><img src=i></a>", "xhttps://y\n"},
        {"<ul><li>a<li>b</ul>", "* a\n* b\n"},
        {"<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc\n"},
        {"<style>p{}</style>x<script>if (a<b) '</p>'</script>y<title>t</title>", "xy\n"},
        {"a<!-- <p>x</p> -->b<!doctype html>c<?php ?>d", "abcd\n"},
        {"<pre>a\n  b</pre>c", "a\n  b\n\nc\n"},
        {"<img alt=\"a &lt; b\" src=x><img src=y>", "a < b\n"},
        {"1 < 2 <3", "1 < 2 <3\n"},
        {"<script>never closed <p>", ""},
        {"<!-- never closed", ""},
        {"x<a href=\"never closed", "x\n"},
        {"a\x01\x7f"
         "b",
         "ab\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf b = BUF(10000);
        content_html_text(str_of(rows[i].in), &b);
        assert_string_equal(buf_cstr(&b), rows[i].out);
        buf_free(&b);
    }
}

static bool lookup(void *arg, str id, struct buf *out) {
    (void)arg;
    if (!str_eq(id, S("x@y")))
        return false;
    buf_add(out, S("P/1"));
    return true;
}

static void test_cid(void **state) {
    (void)state;
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"<img src=\"cid:x@y\" alt=a>", "<img src=\"P/1\" alt=a>"},
        {"<img SRC = 'CID:x@y'><img src=cid:x@y>", "<img SRC = 'P/1'><img src=P/1>"},
        {"<td background=\"cid:x%40y\"><b style='background:url(cid:x@y)'>",
         "<td background=\"P/1\"><b style='background:url(P/1)'>"},
        {"<b style=\"background:url(&quot;cid:x@y&quot;)\">", "<b style=\"background:url(&quot;P/1&quot;)\">"},
        {"<img src=\"cid:other\"> cid:x@y acid:x@y", "<img src=\"cid:other\"> cid:x@y acid:x@y"},
        {"src=\"cid:", "src=\"cid:"},
        {"cid:x@y", "cid:x@y"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf b = BUF(10000);
        content_html_cid(str_of(rows[i].in), lookup, NULL, &b);
        assert_string_equal(buf_cstr(&b), rows[i].out);
        buf_free(&b);
    }
}

/* Two MiB of each: must take milliseconds, not minutes. */
static void test_linear(void **state) {
    (void)state;
    static const char *const units[] = {
        "<div>", "<b>",   "</i>",    "<",      "<a href=\"", "<script>", "<!--", "</", "&", "&#", "<a href=http://x>",
        "cid:",  "=cid:", "<a b=c ", "<p a='", "<script></"};
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        struct buf in = BUF(2 << 20), out = BUF(32 << 20), same = BUF(4 << 20);
        while (!in.full)
            buf_add(&in, str_of(units[u]));
        content_html_text(buf_str(&in), &out);
        content_html_cid(buf_str(&in), lookup, NULL, &same);
        assert_int_equal(same.n, in.n);
        buf_free(&in);
        buf_free(&out);
        buf_free(&same);
    }
}

static void test_charset(void **state) {
    (void)state;
    assert_true(str_eq(content_html_charset(S("<meta charset=\"koi8-r\">")), S("koi8-r")));
    assert_true(str_eq(content_html_charset(S("<META content='text/html; CHARSET=x'>")), S("x")));
    assert_int_equal(content_html_charset(S("<p>")).n, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_cid),
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_charset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
