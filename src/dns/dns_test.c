#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "dns/dns.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- packets built by hand ---- */

static void be16(struct buf *b, unsigned v) {
    buf_u8(b, (uint8_t)(v >> 8));
    buf_u8(b, (uint8_t)v);
}

/* "a.b" in wire form; "" is the root. */
static void wire_name(struct buf *b, str name) {
    while (name.n) {
        size_t dot = str_find(name, '.');
        str label = str_head(name, dot);
        buf_u8(b, (uint8_t)label.n);
        buf_add(b, label);
        name = dot == SIZE_MAX ? STR_NONE : str_tail(name, dot + 1);
    }
    buf_u8(b, 0);
}

static void head(struct buf *b, unsigned flags, unsigned answers, unsigned authorities, const char *name,
                 unsigned type) {
    be16(b, 0x1234);
    be16(b, flags);
    be16(b, 1);
    be16(b, answers);
    be16(b, authorities);
    be16(b, 0);
    wire_name(b, str_of(name));
    be16(b, type);
    be16(b, 1);
}

static void record(struct buf *b, const char *name, unsigned type, uint32_t ttl, str data) {
    wire_name(b, str_of(name));
    be16(b, type);
    be16(b, 1);
    be16(b, ttl >> 16);
    be16(b, ttl & 0xffff);
    be16(b, (unsigned)data.n);
    buf_add(b, data);
}

static void record_name(struct buf *b, const char *name, unsigned type, uint32_t ttl, const char *target) {
    struct buf data = BUF(1024);
    wire_name(&data, str_of(target));
    record(b, name, type, ttl, buf_str(&data));
    buf_free(&data);
}

static void record_mx(struct buf *b, const char *name, unsigned preference, const char *target) {
    struct buf data = BUF(1024);
    be16(&data, preference);
    wire_name(&data, str_of(target));
    record(b, name, DNS_MX, 300, buf_str(&data));
    buf_free(&data);
}

enum { ANSWER = 0x8180, NXDOMAIN = 0x8183, SERVFAIL = 0x8182 };

struct got {
    struct buf b;
    struct arena arena;
    struct dns_answer a;
};
#define GOT ((struct got){.b = BUF(128 * 1024), .arena = ARENA(1 << 20)})

static enum err take(struct got *g, const char *name, uint32_t type) {
    return dns_packet_take(buf_str(&g->b), str_of(name), type, &g->arena, &g->a);
}

static void done(struct got *g) {
    buf_free(&g->b);
    arena_free(&g->arena);
}

#define assert_str(s, text) assert_true(str_eq((s), S(text)))

/* ---- names ---- */

static void test_names(void **state) {
    (void)state;
    static const char l63[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    static const struct {
        const char *name;
        bool good;
    } rows[] = {
        {"example.org", true},
        {"a", true},
        {"_25._tcp.mx.example.org", true},
        {"xn--bcher-kva.example", true},
        {"1.2.3.4", true},
        {"", false},
        {".", false},
        {"example.org.", false},
        {".example.org", false},
        {"a..b", false},
        {"a b", false},
        {"b\xc3\xbc"
         "cher.example",
         false},
        {"a\\046b", false},
        {"a/b", false},
        {"[192.0.2.1]", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(dns_name_check(str_of(rows[i].name)) == OK, rows[i].good);
    char name[300];
    snprintf(name, sizeof name, "%sa.org", l63);
    assert_int_equal(dns_name_check(str_of(name)), ERR_SYNTAX);
    snprintf(name, sizeof name, "%s.%s.%s.%.61s", l63, l63, l63, l63);
    assert_int_equal(dns_name_check(str_of(name)), OK);
    snprintf(name, sizeof name, "%s.%s.%s.%.62s", l63, l63, l63, l63);
    assert_int_equal(dns_name_check(str_of(name)), ERR_SYNTAX);
}

static void test_types(void **state) {
    (void)state;
    uint32_t type = 0;
    assert_true(dns_type_parse(S("mx"), &type) && type == DNS_MX);
    assert_true(dns_type_parse(S("TYPE257"), &type) && type == 257);
    assert_false(dns_type_parse(S("TYPE0"), &type));
    assert_false(dns_type_parse(S("TYPE65536"), &type));
    assert_false(dns_type_parse(S("MXX"), &type));
    assert_string_equal(dns_type_name(DNS_TLSA), "TLSA");
    assert_string_equal(dns_type_name(99), "");
    assert_string_equal(dns_status_name(DNS_BOGUS), "bogus");
}

/* ---- what packets say ---- */

static void test_mx(void **state) {
    (void)state;
    struct got g = GOT;
    head(&g.b, ANSWER, 2, 0, "Example.ORG", DNS_MX);
    record_mx(&g.b, "EXAMPLE.org", 20, "MX2.Example.org");
    record_mx(&g.b, "example.org", 10, "");
    assert_int_equal(take(&g, "example.org", DNS_MX), OK);
    assert_int_equal(g.a.status, DNS_FOUND);
    assert_int_equal(g.a.record_count, 2);
    assert_int_equal(g.a.records[0].preference, 20);
    assert_str(g.a.records[0].value, "mx2.example.org");
    assert_str(g.a.records[1].value, "");
    assert_int_equal(g.a.ttl_s, 300);
    assert_str(g.a.canonical, "example.org");
    done(&g);
}

static void test_addresses(void **state) {
    (void)state;
    struct got g = GOT;
    head(&g.b, ANSWER, 1, 0, "a.example", DNS_A);
    record(&g.b, "a.example", DNS_A, 60, S("\xc0\0\2\1"));
    assert_int_equal(take(&g, "a.example", DNS_A), OK);
    assert_str(g.a.records[0].value, "192.0.2.1");
    buf_reset(&g.b);
    head(&g.b, ANSWER, 1, 0, "a.example", DNS_AAAA);
    record(&g.b, "a.example", DNS_AAAA, 60, S("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"));
    assert_int_equal(take(&g, "a.example", DNS_AAAA), OK);
    assert_str(g.a.records[0].value, "2001:db8::1");
    buf_reset(&g.b);
    head(&g.b, ANSWER, 1, 0, "a.example", DNS_A);
    record(&g.b, "a.example", DNS_A, 60, S("\xc0\0\2"));
    assert_int_equal(take(&g, "a.example", DNS_A), ERR_CORRUPT);
    done(&g);
}

static void test_text_is_joined(void **state) {
    (void)state;
    struct got g = GOT;
    head(&g.b, ANSWER, 2, 0, "t.example", DNS_TXT);
    record(&g.b, "t.example", DNS_TXT, 60, S("\7v=spf1 \0\4-all"));
    record(&g.b, "t.example", DNS_TXT, 60, S(""));
    assert_int_equal(take(&g, "t.example", DNS_TXT), OK);
    assert_str(g.a.records[0].value, "v=spf1 -all");
    assert_str(g.a.records[1].value, "");
    buf_reset(&g.b);
    head(&g.b, ANSWER, 1, 0, "t.example", DNS_TXT);
    record(&g.b, "t.example", DNS_TXT, 60, S("\x0bv=spf1 "));
    assert_int_equal(take(&g, "t.example", DNS_TXT), ERR_CORRUPT);
    done(&g);
}

/* 64 KiB of one text: no such text means anything to mail. */
static void test_text_without_end(void **state) {
    (void)state;
    struct got g = GOT;
    struct buf data = BUF(64 * 1024);
    while (data.n < 60000) {
        buf_u8(&data, 255);
        buf_fill(&data, 'x', 255);
    }
    head(&g.b, ANSWER, 2, 0, "t.example", DNS_TXT);
    record(&g.b, "t.example", DNS_TXT, 60, buf_str(&data));
    record(&g.b, "t.example", DNS_TXT, 60, S("\2hi"));
    assert_int_equal(take(&g, "t.example", DNS_TXT), OK);
    assert_int_equal(g.a.record_count, 1);
    assert_str(g.a.records[0].value, "hi");
    buf_free(&data);
    done(&g);
}

static void test_too_many_records(void **state) {
    (void)state;
    struct got g = GOT;
    head(&g.b, ANSWER, DNS_RECORDS_MAX + 1, 0, "m.example", DNS_MX);
    for (unsigned i = 0; i < DNS_RECORDS_MAX + 1; i++)
        record_mx(&g.b, "m.example", i, "h.example");
    assert_int_equal(take(&g, "m.example", DNS_MX), ERR_LIMIT);
    done(&g);
}

/* Names of 250 bytes made of a few by compression must not grow past a frame. */
static void test_compression_does_not_inflate(void **state) {
    (void)state;
    static const char label[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct got g = GOT;
    char name[260];
    snprintf(name, sizeof name, "%s.%s.%s.%.58s", label, label, label, label);
    head(&g.b, ANSWER, 256, 0, name, DNS_NS);
    for (unsigned i = 0; i < 256; i++) {
        buf_add(&g.b, S("\xc0\x0c"));
        be16(&g.b, DNS_NS);
        be16(&g.b, 1);
        be16(&g.b, 0);
        be16(&g.b, 60);
        be16(&g.b, 2);
        buf_add(&g.b, S("\xc0\x0c"));
    }
    assert_int_equal(take(&g, name, DNS_NS), ERR_LIMIT);
    done(&g);
}

static void test_aliases(void **state) {
    (void)state;
    struct got g = GOT;
    head(&g.b, ANSWER, 3, 0, "www.example", DNS_A);
    record(&g.b, "end.example", DNS_A, 600, S("\xc0\0\2\1")); /* in any order */
    record_name(&g.b, "www.example", DNS_CNAME, 30, "Mid.example");
    record_name(&g.b, "mid.example", DNS_CNAME, 90, "end.example");
    assert_int_equal(take(&g, "www.example", DNS_A), OK);
    assert_str(g.a.canonical, "end.example");
    assert_str(g.a.records[0].value, "192.0.2.1");
    assert_int_equal(g.a.ttl_s, 30);
    done(&g);
}

static void test_alias_to_nothing(void **state) {
    (void)state;
    struct got g = GOT;
    head(&g.b, NXDOMAIN, 1, 0, "www.example", DNS_A);
    record_name(&g.b, "www.example", DNS_CNAME, 30, "gone.example");
    assert_int_equal(take(&g, "www.example", DNS_A), OK);
    assert_int_equal(g.a.status, DNS_NO_NAME);
    assert_str(g.a.canonical, "gone.example");
    done(&g);
}

static void test_alias_loop(void **state) {
    (void)state;
    struct got g = GOT;
    head(&g.b, ANSWER, 2, 0, "a.example", DNS_A);
    record_name(&g.b, "a.example", DNS_CNAME, 30, "b.example");
    record_name(&g.b, "b.example", DNS_CNAME, 30, "a.example");
    assert_int_equal(take(&g, "a.example", DNS_A), OK);
    assert_int_equal(g.a.status, DNS_FAILED);
    done(&g);
}

/* The chain may have DNS_CNAME_MAX links and no more. */
static void test_alias_chain(void **state) {
    (void)state;
    for (unsigned links = DNS_CNAME_MAX; links <= DNS_CNAME_MAX + 1; links++) {
        struct got g = GOT;
        char from[32], to[32];
        head(&g.b, ANSWER, links + 1, 0, "n0.example", DNS_A);
        for (unsigned i = 0; i < links; i++) {
            snprintf(from, sizeof from, "n%u.example", i);
            snprintf(to, sizeof to, "n%u.example", i + 1);
            record_name(&g.b, from, DNS_CNAME, 30, to);
        }
        snprintf(to, sizeof to, "n%u.example", links);
        record(&g.b, to, DNS_A, 60, S("\xc0\0\2\1"));
        assert_int_equal(take(&g, "n0.example", DNS_A), OK);
        assert_int_equal(g.a.status, links == DNS_CNAME_MAX ? DNS_FOUND : DNS_FAILED);
        done(&g);
    }
}

/* What somebody else's name says in our answer is not for us, nor are the other sections. */
static void test_only_the_answer(void **state) {
    (void)state;
    struct got g = GOT;
    head(&g.b, ANSWER, 1, 1, "a.example", DNS_A);
    record(&g.b, "bank.example", DNS_A, 60, S("\xc0\0\2\1"));
    record(&g.b, "a.example", DNS_A, 60, S("\xc0\0\2\1"));
    assert_int_equal(take(&g, "a.example", DNS_A), OK);
    assert_int_equal(g.a.status, DNS_NO_DATA);
    assert_int_equal(g.a.record_count, 0);
    done(&g);
}

static void test_negative_ttl(void **state) {
    (void)state;
    struct got g = GOT;
    head(&g.b, NXDOMAIN, 0, 1, "no.example", DNS_MX);
    record(&g.b, "example", 6, 3600,
           S("\0\0"
             "\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\x78"));
    assert_int_equal(take(&g, "no.example", DNS_MX), OK);
    assert_int_equal(g.a.status, DNS_NO_NAME);
    assert_int_equal(g.a.ttl_s, 120);
    done(&g);
}

static void test_refusals(void **state) {
    (void)state;
    static const unsigned flags[] = {SERVFAIL, 0x8185, 0x818f, ANSWER | 0x0200};
    for (size_t i = 0; i < COUNT(flags); i++) {
        struct got g = GOT;
        head(&g.b, flags[i], 0, 0, "a.example", DNS_A);
        assert_int_equal(take(&g, "a.example", DNS_A), OK);
        assert_int_equal(g.a.status, DNS_FAILED);
        assert_true(g.a.text.n > 0);
        done(&g);
    }
}

static void test_odd_names_are_escaped(void **state) {
    (void)state;
    struct got g = GOT;
    head(&g.b, ANSWER, 1, 0, "a.example", DNS_MX);
    record(&g.b, "a.example", DNS_MX, 60, S("\0\12\7a.b\\\n \xff\0"));
    assert_int_equal(take(&g, "a.example", DNS_MX), OK);
    assert_str(g.a.records[0].value, "a\\046b\\092\\010\\032\\255");
    assert_int_equal(dns_name_check(g.a.records[0].value), ERR_SYNTAX);
    done(&g);
}

/* ---- packets that are none ---- */

static void test_damage(void **state) {
    (void)state;
    static const struct {
        const char *what;
        str data; /* of an MX record that begins at 27 + 21: its data at 48 */
    } rows[] = {
        {"a pointer to itself", S_INIT("\0\12\xc0\x32")},
        {"a pointer forward", S_INIT("\0\12\xc0\xff")},
        {"a label and a pointer back to it", S_INIT("\0\12\1a\xc0\x32")},
        {"a label longer than what is left", S_INIT("\0\12\x3f"
                                                    "abc")},
        {"an unknown kind of label", S_INIT("\0\12\x80"
                                            "abc")},
        {"no end of the name", S_INIT("\0\12\3abc")},
        {"bytes behind the name", S_INIT("\0\12\3abc\0x")},
        {"half a preference", S_INIT("\0")},
        {"nothing", S_INIT("")},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct got g = GOT;
        head(&g.b, ANSWER, 1, 0, "a.example", DNS_MX);
        record(&g.b, "a.example", DNS_MX, 60, rows[i].data);
        if (take(&g, "a.example", DNS_MX) != ERR_CORRUPT)
            fail_msg("%s was taken", rows[i].what);
        done(&g);
    }
}

static void test_not_our_question(void **state) {
    (void)state;
    struct got g = GOT;
    head(&g.b, ANSWER, 0, 0, "b.example", DNS_A);
    assert_int_equal(take(&g, "a.example", DNS_A), ERR_CORRUPT);
    assert_int_equal(take(&g, "b.example", DNS_MX), ERR_CORRUPT);
    buf_reset(&g.b);
    head(&g.b, 0x0100, 0, 0, "a.example", DNS_A); /* a question, no answer */
    assert_int_equal(take(&g, "a.example", DNS_A), ERR_CORRUPT);
    done(&g);
}

static void test_cut_anywhere(void **state) {
    (void)state;
    struct got g = GOT;
    head(&g.b, ANSWER, 2, 0, "a.example", DNS_MX);
    record_mx(&g.b, "a.example", 10, "mx.a.example");
    record_mx(&g.b, "a.example", 20, "mx2.a.example");
    str whole = buf_str(&g.b);
    for (size_t n = 0; n < whole.n; n++)
        assert_int_equal(dns_packet_take(str_head(whole, n), S("a.example"), DNS_MX, &g.arena, &g.a), ERR_CORRUPT);
    assert_int_equal(take(&g, "a.example", DNS_MX), OK);
    done(&g);
}

/* ---- coded ---- */

static void test_coded(void **state) {
    (void)state;
    struct dns_record records[] = {{10, S_INIT("mx.example.org")}, {0, S_INIT("")}};
    struct dns_answer in = {.name = S("example.org"),
                            .type = DNS_MX,
                            .secure = true,
                            .ttl_s = 77,
                            .canonical = S("example.org"),
                            .records = records,
                            .record_count = 2};
    struct buf b = BUF(4096);
    struct arena a = ARENA(1 << 20);
    struct dns_answer out;
    dns_answer_put(&b, &in);
    assert_int_equal(dns_answer_take(buf_str(&b), &a, &out), OK);
    assert_true(out.secure && out.ttl_s == 77 && out.record_count == 2);
    assert_true(str_eq(out.records[0].value, records[0].value) && out.records[0].preference == 10);
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(dns_answer_take(str_head(buf_str(&b), n), &a, &out), ERR_CORRUPT);
    buf_u8(&b, 0);
    assert_int_equal(dns_answer_take(buf_str(&b), &a, &out), ERR_CORRUPT);
    buf_free(&b);
    arena_free(&a);
}

static void test_coded_is_checked(void **state) {
    (void)state;
    static const struct {
        uint32_t type;
        enum dns_status status;
        str value;
    } rows[] = {
        {DNS_A, DNS_FOUND, S_INIT("192.0.2.256")},   {DNS_AAAA, DNS_FOUND, S_INIT("192.0.2.1")},
        {DNS_MX, DNS_FOUND, S_INIT("Mx.example")},   {DNS_MX, DNS_FOUND, S_INIT("a\r\nb")},
        {DNS_MX, DNS_NO_NAME, S_INIT("mx.example")}, {DNS_MX, (enum dns_status)9, S_INIT("mx.example")},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct dns_record r = {.value = rows[i].value};
        struct dns_answer in = {.name = S("a.example"),
                                .type = rows[i].type,
                                .status = rows[i].status,
                                .canonical = S("a.example"),
                                .records = &r,
                                .record_count = 1};
        struct buf b = BUF(4096);
        struct arena a = ARENA(1 << 20);
        struct dns_answer out;
        dns_answer_put(&b, &in);
        assert_int_equal(dns_answer_take(buf_str(&b), &a, &out), ERR_CORRUPT);
        buf_free(&b);
        arena_free(&a);
    }
}

static void test_failed(void **state) {
    (void)state;
    struct buf b = BUF(4096);
    struct arena a = ARENA(1 << 20);
    struct dns_answer in, out;
    assert_int_equal(dns_answer_failed(S("A.example"), DNS_A, DNS_BOGUS, S("signature expired"), &a, &in), OK);
    dns_answer_put(&b, &in);
    assert_int_equal(dns_answer_take(buf_str(&b), &a, &out), OK);
    assert_int_equal(out.status, DNS_BOGUS);
    assert_str(out.name, "a.example");
    assert_str(out.text, "signature expired");
    buf_free(&b);
    arena_free(&a);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_mx),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_text_is_joined),
        cmocka_unit_test(test_text_without_end),
        cmocka_unit_test(test_too_many_records),
        cmocka_unit_test(test_compression_does_not_inflate),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_alias_to_nothing),
        cmocka_unit_test(test_alias_loop),
        cmocka_unit_test(test_alias_chain),
        cmocka_unit_test(test_only_the_answer),
        cmocka_unit_test(test_negative_ttl),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_odd_names_are_escaped),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_not_our_question),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_coded),
        cmocka_unit_test(test_coded_is_checked),
        cmocka_unit_test(test_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
