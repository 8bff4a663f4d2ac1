#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "policy/mx.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* The world's DNS, a line each: NAME TYPE VALUE (MX: PREFERENCE HOST); several lines make one answer.
 * "!failed", "!bogus": that is the answer; "=NAME" at the front: an alias of it; "+": validated. */
static const char *const zone[] = {
    "two.example MX 20 b.example",
    "two.example MX 10 a.example",
    "a.example A 192.0.2.1",
    "b.example A 192.0.2.2",
    "b.example AAAA 2001:db8::2",
    "upper.example MX 10 a.example", /* asked as UPPER.Example */
    "sure.example MX + 10 sure.mx.example",
    "sure.mx.example A + 192.0.2.3",
    "sure.mx.example AAAA +",
    "half.example MX + 10 a.example",
    "implicit.example A 192.0.2.4",
    "implicit.example AAAA 2001:db8::4",
    "nothing.example TXT x",
    "null.example MX 0 .",
    "nullish.example MX 0 .",
    "nullish.example MX 5 a.example",
    "servfail.example MX !failed",
    "bogus.example MX !bogus",
    "equal.example MX 10 e1.example",
    "equal.example MX 10 e2.example",
    "equal.example MX 10 e3.example",
    "equal.example MX 5 a.example",
    "e1.example A 192.0.2.11",
    "e2.example A 192.0.2.12",
    "e3.example A 192.0.2.13",
    "self.example MX 10 a.example",
    "self.example MX 20 us.example",
    "self.example MX 20 b.example",
    "self.example MX 30 e1.example",
    "us.example A 198.51.100.7",
    "onlyself.example MX 10 us.example",
    "onlyself.example MX 10 a.example",
    "byaddress.example MX 10 a.example",
    "byaddress.example MX 20 b.example",
    "byaddress.example MX 20 secretly-us.example",
    "byaddress.example MX 30 e1.example",
    "secretly-us.example A 198.51.100.7",
    "onlyaddress.example MX 10 secretly-us.example",
    "alias-mx.example MX 10 cname.example",
    "cname.example A =a.example 192.0.2.1",
    "alias.example MX =two.example 10 a.example",
    "alias-implicit.example MX =implicit.example",
    "literal.example MX 10 192.0.2.9",
    "literal.example MX 20 a.example",
    "literal-only.example MX 10 192.0.2.9",
    "odd.example MX 10 a\\032b.example",
    "local.example MX 10 localhost",
    "local.example MX 20 a.example",
    "local-only.example MX 10 localhost",
    "local2.example MX 10 mx.localhost",
    "mx.localhost A 127.0.0.1",
    "loop4.example MX 10 l4.example",
    "l4.example A 127.1.2.3",
    "loop6.example MX 10 l6.example",
    "l6.example AAAA ::1",
    "loopm.example MX 10 lm.example",
    "lm.example AAAA ::ffff:127.0.0.1",
    "zero.example MX 10 z.example",
    "z.example A 0.0.0.0",
    "z.example AAAA ::",
    "mixed.example MX 10 m.example",
    "m.example A 127.0.0.1",
    "m.example A 192.0.2.5",
    "loopa.example A 127.0.0.1",
    "half-down.example MX 10 down.example",
    "half-down.example MX 20 a.example",
    "down.example A !failed",
    "down.example AAAA !failed",
    "all-down.example MX 10 down.example",
    "one-family.example MX 10 of.example",
    "of.example A 192.0.2.6",
    "of.example AAAA !failed",
    "bogus-host.example MX 10 bh.example",
    "bh.example A !bogus",
    "gone-host.example MX 10 gone.invalid-host.example",
    "gone-and-down.example MX 10 gone.invalid-host.example",
    "gone-and-down.example MX 20 down.example",
    "twice.example MX 20 a.example",
    "twice.example MX 10 A.example",
    "many.example MX 10 many.mx.example",
    "many.mx.example A 192.0.2.21",
    "many.mx.example A 192.0.2.22",
    "many.mx.example A 192.0.2.23",
    "many.mx.example A 192.0.2.24",
    "many.mx.example A 192.0.2.25",
    "many.mx.example A 192.0.2.26",
    "many.mx.example AAAA 2001:db8::21",
    "many.mx.example AAAA 2001:db8::22",
    "localhost A 127.0.0.1",
};

struct world {
    struct arena arena;
    struct mx_known *known;
};

static str rest_of(const char *line, str name, const char *type) {
    str s = str_of(line), word;
    if (!str_word(&s, &word) || !str_ieq(word, name) || !str_word(&s, &word) || !str_eq(word, str_of(type)))
        return STR_NONE;
    return str_trim(s);
}

static void add_record(struct dns_answer *a, str value) {
    str word;
    uint64_t preference = 0;
    if (value.n && value.p[0] == '!') {
        a->status = str_eq(value, S("!bogus")) ? DNS_BOGUS : DNS_FAILED;
        a->text = S("words of the resolver");
        return;
    }
    if (str_skip_char(&value, '=')) {
        assert_true(str_word(&value, &word));
        a->canonical = word;
    }
    a->secure |= str_skip_char(&value, '+');
    value = str_trim(value);
    if (!value.n)
        return;
    if (a->type == DNS_MX)
        assert_true(str_word(&value, &word) && str_u64(word, &preference));
    value = str_trim(value);
    a->records[a->record_count].preference = (uint32_t)preference;
    a->records[a->record_count++].value = str_eq(value, S(".")) ? S("") : value;
    a->status = DNS_FOUND;
}

static void answer(struct world *w, str name, uint32_t type) {
    struct dns_answer *a = arena_alloc(&w->arena, sizeof *a);
    struct mx_known *k = arena_alloc(&w->arena, sizeof *k);
    bool there = false;
    *a = (struct dns_answer){.name = name, .type = type, .status = DNS_NO_DATA, .canonical = name, .ttl_s = 300};
    a->records = arena_alloc(&w->arena, COUNT(zone) * sizeof *a->records);
    for (size_t i = 0; i < COUNT(zone); i++) {
        str line = str_of(zone[i]), owner, value = rest_of(zone[i], name, dns_type_name(type));
        there |= str_word(&line, &owner) && str_ieq(owner, name);
        if (value.p)
            add_record(a, value);
    }
    if (!there)
        a->status = DNS_NO_NAME;
    *k = (struct mx_known){a, w->known};
    w->known = k;
}

static const str own_names[] = {S_INIT("us.example"), S_INIT("mail.us.example")};
static const str own_addresses[] = {S_INIT("198.51.100.7"), S_INIT("2001:db8:f::7")};
static const struct mx_options ordinary = {.own_names = own_names,
                                           .own_name_count = COUNT(own_names),
                                           .own_addresses = own_addresses,
                                           .own_address_count = COUNT(own_addresses),
                                           .seed = 1};

typedef enum err (*decide)(str, const struct mx_options *, const struct mx_known *, struct arena *, struct mx_result *);

static enum err ask_and_retry(struct world *w, decide f, str domain, const struct mx_options *o, struct mx_result *r) {
    enum err e;
    unsigned rounds = 0;
    while ((e = f(domain, o, w->known, &w->arena, r)) == ERR_MORE) {
        assert_true(r->missing_count > 0 && r->host_count == 0);
        assert_true(++rounds <= 2);
        for (size_t i = 0; i < r->missing_count; i++)
            answer(w, r->missing[i].name, r->missing[i].type);
    }
    return e;
}

/* "10 a.example 192.0.2.1, ..." or "550 5.1.2" */
static str put_result(struct buf *out, enum err e, const struct mx_result *r) {
    for (size_t i = 0; i < r->host_count; i++) {
        buf_printf(out, "%s%u %.*s", i ? ", " : "", r->hosts[i].preference, STR_ARG(r->hosts[i].name));
        for (size_t k = 0; k < r->hosts[i].address_count; k++)
            buf_printf(out, " %.*s", STR_ARG(r->hosts[i].addresses[k]));
    }
    if (e == OK)
        return buf_str(out);
    assert_true(r->code >= 500 ? e == ERR_NOT_FOUND : e == ERR_DOWN);
    buf_printf(out, "%u %.*s", r->code, STR_ARG(str_head(r->text, str_find(r->text, ' '))));
    return buf_str(out);
}

static void check(decide f, const char *domain, const struct mx_options *o, const char *want) {
    struct world w = {.arena = ARENA(1 << 20)};
    struct mx_result r = {.story = NULL};
    struct buf got = BUF(4096);
    enum err e = ask_and_retry(&w, f, str_of(domain), o, &r);
    str text = put_result(&got, e, &r);
    if (!str_eq(text, str_of(want)))
        fail_msg("%s: %.*s (%.*s), not %s", domain, STR_ARG(text), STR_ARG(r.text), want);
    buf_free(&got);
    arena_free(&w.arena);
}

static void test_rules(void **state) {
    (void)state;
    static const struct {
        const char *domain, *want;
    } rows[] = {
        {"two.example", "10 a.example 192.0.2.1, 20 b.example 2001:db8::2 192.0.2.2"},
        {"UPPER.Example.", "10 a.example 192.0.2.1"},
        /* no MX record */
        {"implicit.example", "0 implicit.example 2001:db8::4 192.0.2.4"},
        {"nothing.example", "550 5.1.2"},
        {"absent.example", "550 5.1.2"},
        /* RFC 7505 */
        {"null.example", "556 5.1.10"},
        {"nullish.example", "5 a.example 192.0.2.1"},
        /* for now */
        {"servfail.example", "451 4.4.3"},
        {"bogus.example", "451 4.7.5"},
        {"half-down.example", "20 a.example 192.0.2.1"},
        {"all-down.example", "451 4.4.3"},
        {"gone-and-down.example", "451 4.4.3"},
        {"bogus-host.example", "451 4.7.5"},
        {"one-family.example", "10 of.example 192.0.2.6"},
        /* ourselves */
        {"self.example", "10 a.example 192.0.2.1"},
        {"onlyself.example", "554 5.4.6"},
        {"byaddress.example", "10 a.example 192.0.2.1"},
        {"onlyaddress.example", "554 5.4.6"},
        {"us.example", "554 5.4.6"},
        {"secretly-us.example", "554 5.4.6"},
        {"[198.51.100.7]", "554 5.4.6"},
        /* aliases */
        {"alias-mx.example", "10 cname.example 192.0.2.1"},
        {"alias.example", "10 a.example 192.0.2.1"},
        {"alias-implicit.example", "0 implicit.example 2001:db8::4 192.0.2.4"},
        /* hosts that are none */
        {"literal.example", "20 a.example 192.0.2.1"},
        {"literal-only.example", "550 5.4.4"},
        {"odd.example", "550 5.4.4"},
        {"gone-host.example", "550 5.4.4"},
        /* this machine */
        {"local.example", "20 a.example 192.0.2.1"},
        {"local-only.example", "550 5.4.4"},
        {"local2.example", "550 5.4.4"},
        {"loop4.example", "550 5.4.4"},
        {"loop6.example", "550 5.4.4"},
        {"loopm.example", "550 5.4.4"},
        {"zero.example", "550 5.4.4"},
        {"loopa.example", "550 5.4.4"},
        {"mixed.example", "10 m.example 192.0.2.5"},
        {"localhost", "550 5.4.4"},
        {"[127.0.0.1]", "550 5.4.4"},
        {"[IPv6:::1]", "550 5.4.4"},
        {"[0.0.0.0]", "550 5.4.4"},
        {"[IPv6:::ffff:127.0.0.1]", "550 5.4.4"},
        /* literals */
        {"[192.0.2.9]", "0 [192.0.2.9] 192.0.2.9"},
        {"[192.000.002.009]", "0 [192.0.2.9] 192.0.2.9"},
        {"[IPv6:2001:DB8::9]", "0 [2001:db8::9] 2001:db8::9"},
        {"[ipv6:2001:db8::9]", "0 [2001:db8::9] 2001:db8::9"},
        {"[2001:db8::9]", "550 5.1.2"},
        {"[IPv6:192.0.2.1]", "550 5.1.2"},
        {"[x]", "550 5.1.2"},
        {"[]", "550 5.1.2"},
        {"[", "550 5.1.2"},
        /* names that are none */
        {"", "550 5.1.2"},
        {"a..b", "550 5.1.2"},
        {"a b.example", "550 5.1.2"},
        {"b\xc3\xbc"
         "cher.example",
         "550 5.1.2"},
        /* bounds */
        {"twice.example", "10 a.example 192.0.2.1"},
        {"many.example", "10 many.mx.example 2001:db8::21 192.0.2.21 2001:db8::22 192.0.2.22 192.0.2.23"},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        check(mx_decide, rows[i].domain, &ordinary, rows[i].want);
}

static void test_options(void **state) {
    (void)state;
    struct mx_options loopback = {.allow_loopback = true}, no6 = {.no_ipv6 = true}, no4 = {.no_ipv4 = true};
    check(mx_decide, "loop4.example", &loopback, "10 l4.example 127.1.2.3");
    check(mx_decide, "local-only.example", &loopback, "10 localhost 127.0.0.1");
    check(mx_decide, "[127.0.0.1]", &loopback, "0 [127.0.0.1] 127.0.0.1");
    check(mx_decide, "implicit.example", &no6, "0 implicit.example 192.0.2.4");
    check(mx_decide, "implicit.example", &no4, "0 implicit.example 2001:db8::4");
    check(mx_decide, "a.example", &no4, "550 5.1.2");
    check(mx_decide, "[192.0.2.9]", &no4, "550 5.4.4");
}

static void test_smarthost(void **state) {
    (void)state;
    static const struct {
        const char *host, *want;
    } rows[] = {
        {"b.example", "0 b.example 2001:db8::2 192.0.2.2"},
        {"B.Example", "0 b.example 2001:db8::2 192.0.2.2"},
        {"localhost", "0 localhost 127.0.0.1"},
        {"us.example", "0 us.example 198.51.100.7"},
        {"127.0.0.1", "0 [127.0.0.1] 127.0.0.1"},
        {"::1", "0 [::1] ::1"},
        {"[::1]", "0 [::1] ::1"},
        {"[IPv6:::1]", "0 [::1] ::1"},
        {"two.example", "451 4.3.5"}, /* it has mail exchangers, but is no host */
        {"absent.example", "451 4.3.5"},
        {"down.example", "451 4.4.3"},
        {"a b", "451 4.3.5"},
        {"", "451 4.3.5"},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        check(mx_decide_host, rows[i].host, &ordinary, rows[i].want);
}

/* Each of three equal hosts comes first for a fair share of the seeds, behind the better one; one seed, one order. */
static void test_shuffle(void **state) {
    (void)state;
    unsigned first[3] = {0};
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct mx_options o = ordinary;
        struct world w = {.arena = ARENA(1 << 20)};
        struct mx_result r = {.story = NULL}, again = {.story = NULL};
        o.seed = seed;
        assert_int_equal(ask_and_retry(&w, mx_decide, S("equal.example"), &o, &r), OK);
        assert_int_equal(r.host_count, 4);
        assert_true(str_eq(r.hosts[0].name, S("a.example")));
        first[r.hosts[1].name.p[1] - '1']++;
        assert_int_equal(mx_decide(S("equal.example"), &o, w.known, &w.arena, &again), OK);
        for (size_t i = 0; i < 4; i++)
            assert_true(str_eq(r.hosts[i].name, again.hosts[i].name));
        arena_free(&w.arena);
    }
    for (size_t i = 0; i < 3; i++)
        assert_in_range(first[i], 60, 140);
}

static void test_what_is_known(void **state) {
    (void)state;
    struct world w = {.arena = ARENA(1 << 20)};
    struct buf story = BUF(4096);
    struct mx_result r = {.story = &story};
    assert_int_equal(ask_and_retry(&w, mx_decide, S("sure.example"), &ordinary, &r), OK);
    assert_true(r.secure && r.hosts[0].secure && !r.implicit && r.ttl_s == 300);
    assert_int_equal(ask_and_retry(&w, mx_decide, S("half.example"), &ordinary, &r), OK);
    assert_true(r.secure && !r.hosts[0].secure);
    assert_int_equal(ask_and_retry(&w, mx_decide, S("implicit.example"), &ordinary, &r), OK);
    assert_true(r.implicit && str_eq(r.site, S("implicit.example")));
    buf_reset(&story);
    assert_int_equal(ask_and_retry(&w, mx_decide, S("alias-mx.example"), &ordinary, &r), OK);
    assert_true(str_eq(r.hosts[0].canonical, S("a.example")));
    assert_true(str_find_str(buf_str(&story), S("cname.example is an alias of a.example")) != SIZE_MAX);
    buf_free(&story);
    arena_free(&w.arena);
}

/* The site is known with the records, before any address is; in one order, without regard to preferences. */
static void test_site(void **state) {
    (void)state;
    struct world w = {.arena = ARENA(1 << 20)};
    struct mx_result r = {.story = NULL};
    assert_int_equal(mx_decide(S("equal.example"), &ordinary, w.known, &w.arena, &r), ERR_MORE);
    assert_true(r.site.n == 0 && r.missing_count == 1);
    answer(&w, S("equal.example"), DNS_MX);
    assert_int_equal(mx_decide(S("equal.example"), &ordinary, w.known, &w.arena, &r), ERR_MORE);
    assert_true(str_eq(r.site, S("a.example e1.example e2.example e3.example")));
    assert_int_equal(r.missing_count, 8);
    answer(&w, S("null.example"), DNS_MX);
    assert_int_equal(mx_decide(S("null.example"), &ordinary, w.known, &w.arena, &r), ERR_NOT_FOUND);
    assert_int_equal(r.site.n, 0);
    arena_free(&w.arena);
}

/* A hundred hosts: twenty are looked up; the name of the site stays short and tells two such sets apart. */
static void test_a_hundred(void **state) {
    (void)state;
    struct arena a = ARENA(1 << 20);
    struct dns_record records[100];
    char names[100][32];
    str sites[2];
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 100; i++) {
            snprintf(names[i], sizeof names[i], "host%02u.%s.example", i, i == 99 && round ? "other" : "same");
            records[i] = (struct dns_record){i / 10, str_of(names[i])};
        }
        struct dns_answer mx = {.name = S("d.example"),
                                .type = DNS_MX,
                                .canonical = S("d.example"),
                                .records = records,
                                .record_count = 100};
        struct mx_known known = {.answer = &mx};
        struct mx_result r = {.story = NULL};
        assert_int_equal(mx_decide(S("d.example"), &ordinary, &known, &a, &r), ERR_MORE);
        assert_int_equal(r.missing_count, 2 * MX_HOSTS_MAX);
        assert_int_equal(r.site.n, MX_SITE_MAX);
        sites[round] = r.site;
    }
    assert_false(str_eq(sites[0], sites[1]));
    arena_free(&a);
}

static void test_no_memory(void **state) {
    (void)state;
    struct world w = {.arena = ARENA(1 << 20)};
    struct mx_result r = {.story = NULL};
    assert_int_equal(ask_and_retry(&w, mx_decide, S("two.example"), &ordinary, &r), OK);
    for (size_t limit = 0; limit < 4096; limit += 16) {
        struct arena small = ARENA(limit);
        enum err e = mx_decide(S("two.example"), &ordinary, w.known, &small, &r);
        assert_true(e == ERR_NOMEM || e == OK);
        arena_free(&small);
    }
    arena_free(&w.arena);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),     cmocka_unit_test(test_options),       cmocka_unit_test(test_smarthost),
        cmocka_unit_test(test_shuffle),   cmocka_unit_test(test_what_is_known), cmocka_unit_test(test_site),
        cmocka_unit_test(test_a_hundred), cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
