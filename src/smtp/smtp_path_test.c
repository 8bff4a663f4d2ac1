#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smtp/smtp_path.h"

#include <stdio.h>
#include <string.h>

struct row {
    str text;
    enum smtp_path_fault fault;
    str address; /* when good */
};

static const struct row reverse_rows[] = {
    {S_INIT("<>"), SMTP_PATH_GOOD, S_INIT("")},
    {S_INIT("<a@example.com>"), SMTP_PATH_GOOD, S_INIT("a@example.com")},
    {S_INIT("  <a@example.com>"), SMTP_PATH_GOOD, S_INIT("a@example.com")},
    {S_INIT("<@a.example,@b.example:u@c.example>"), SMTP_PATH_GOOD, S_INIT("u@c.example")},
    {S_INIT("<\"a b>\\\"c\"@example.com>"), SMTP_PATH_GOOD, S_INIT("\"a b>\\\"c\"@example.com")},
    {S_INIT("<\"\"@example.com>"), SMTP_PATH_GOOD, S_INIT("\"\"@example.com")},
    {S_INIT("<u%v!w@local.example>"), SMTP_PATH_GOOD, S_INIT("u%v!w@local.example")},
    {S_INIT("<u@[192.0.2.1]>"), SMTP_PATH_GOOD, S_INIT("u@[192.0.2.1]")},
    {S_INIT("<u@[192.000.002.001]>"), SMTP_PATH_GOOD, S_INIT("u@[192.000.002.001]")}, /* RFC 5321 4.1.3: Snum */
    {S_INIT("<u@[IPv6:2001:db8::1]>"), SMTP_PATH_GOOD, S_INIT("u@[IPv6:2001:db8::1]")},
    {S_INIT("<u@[ipv6:::]>"), SMTP_PATH_GOOD, S_INIT("u@[ipv6:::]")},
    {S_INIT("<u@my_host>"), SMTP_PATH_GOOD, S_INIT("u@my_host")},
    {S_INIT("<\xc3\xa4@b\xc3\xbc.example>"), SMTP_PATH_GOOD, S_INIT("\xc3\xa4@b\xc3\xbc.example")},
    {S_INIT("a@example.com"), SMTP_PATH_NO_BRACKETS, S_INIT("")},
    {S_INIT(""), SMTP_PATH_NO_BRACKETS, S_INIT("")},
    {S_INIT("<"), SMTP_PATH_LOCAL, S_INIT("")},
    {S_INIT("<a"), SMTP_PATH_LOCAL, S_INIT("")},
    {S_INIT("<a>"), SMTP_PATH_NO_DOMAIN, S_INIT("")},
    {S_INIT("<Postmaster>"), SMTP_PATH_NO_DOMAIN, S_INIT("")},
    {S_INIT("<a@example.com"), SMTP_PATH_DOMAIN, S_INIT("")},
    {S_INIT("<a@>"), SMTP_PATH_DOMAIN, S_INIT("")},
    {S_INIT("<@example.com>"), SMTP_PATH_DOMAIN, S_INIT("")},
    {S_INIT("<@a.example:>"), SMTP_PATH_LOCAL, S_INIT("")},
    {S_INIT("<.a@example.com>"), SMTP_PATH_LOCAL, S_INIT("")},
    {S_INIT("<a.@example.com>"), SMTP_PATH_LOCAL, S_INIT("")},
    {S_INIT("<a..b@example.com>"), SMTP_PATH_LOCAL, S_INIT("")},
    {S_INIT("<a b@example.com>"), SMTP_PATH_LOCAL, S_INIT("")},
    {S_INIT("<a(c)@example.com>"), SMTP_PATH_LOCAL, S_INIT("")},
    {S_INIT("<\"a@example.com>"), SMTP_PATH_LOCAL, S_INIT("")},
    {S_INIT("<\"a\\\n\"@example.com>"), SMTP_PATH_LOCAL, S_INIT("")},
    {S_INIT("<a@b@example.com>"), SMTP_PATH_DOMAIN, S_INIT("")},
    {S_INIT("<a@example.com.>"), SMTP_PATH_DOMAIN, S_INIT("")},
    {S_INIT("<a@example..com>"), SMTP_PATH_DOMAIN, S_INIT("")},
    {S_INIT("<a@-example.com>"), SMTP_PATH_DOMAIN, S_INIT("")},
    {S_INIT("<a@example-.com>"), SMTP_PATH_DOMAIN, S_INIT("")},
    {S_INIT("<a@exa mple.com>"), SMTP_PATH_DOMAIN, S_INIT("")},
    {S_INIT("<a@[192.0.2.256]>"), SMTP_PATH_DOMAIN, S_INIT("")},
    {S_INIT("<a@[192.0.2]>"), SMTP_PATH_DOMAIN, S_INIT("")},
    {S_INIT("<a@[IPv6:1::2::3]>"), SMTP_PATH_DOMAIN, S_INIT("")},
    {S_INIT("<a@[IPv6:1:2:3:4:5:6:7]>"), SMTP_PATH_DOMAIN, S_INIT("")},
    {S_INIT("<a@[IPv6:1:2:3:4:5:6:7:8:9]>"), SMTP_PATH_DOMAIN, S_INIT("")},
    {S_INIT("<a@[]>"), SMTP_PATH_DOMAIN, S_INIT("")},
    {S_INIT("<\xff@example.com>"), SMTP_PATH_LOCAL, S_INIT("")},
};

static void test_reverse(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof reverse_rows / sizeof *reverse_rows; i++) {
        const struct row *r = &reverse_rows[i];
        struct smtp_path p;
        str s = r->text;
        enum smtp_path_fault fault = smtp_path_take(&s, SMTP_REVERSE, &p);
        if (fault != r->fault || (fault == SMTP_PATH_GOOD && !str_eq(p.address, r->address)))
            print_error("%.*s: fault %d\n", STR_ARG(r->text), (int)fault);
        assert_int_equal(fault, r->fault);
        assert_true(fault || (str_eq(p.address, r->address) && s.n == 0));
        assert_true(!fault || s.n == r->text.n);
    }
}

static void test_forward(void **state) {
    (void)state;
    struct smtp_path p;
    str s = S("<postMaster> x");
    assert_int_equal(smtp_path_take(&s, SMTP_FORWARD, &p), SMTP_PATH_GOOD);
    assert_true(str_eq(p.address, S("postMaster")) && str_eq(s, S(" x")));
    s = S("<>");
    assert_int_equal(smtp_path_take(&s, SMTP_FORWARD, &p), SMTP_PATH_NULL);
}

/* RFC 5321 4.5.3.1: 64 octets before the @, 63 a label, 256 in all with the brackets. */
static enum smtp_path_fault of_lengths(size_t local, size_t label, size_t domain) {
    char text[1024];
    size_t n = 0;
    text[n++] = '<';
    memset(text + n, 'a', local);
    n += local;
    text[n++] = '@';
    for (size_t i = 0; i < domain; i++)
        text[n++] = (i + 1) % (label + 1) ? 'd' : '.';
    if (text[n - 1] == '.')
        text[n - 1] = 'd';
    text[n++] = '>';
    struct smtp_path p;
    str s = str_n(text, n);
    return smtp_path_take(&s, SMTP_REVERSE, &p);
}

static void test_lengths(void **state) {
    (void)state;
    assert_int_equal(of_lengths(64, 10, 20), SMTP_PATH_GOOD);
    assert_int_equal(of_lengths(65, 10, 20), SMTP_PATH_LENGTH);
    assert_int_equal(of_lengths(1, 63, 63), SMTP_PATH_GOOD);
    assert_int_equal(of_lengths(1, 64, 64), SMTP_PATH_DOMAIN);
    assert_int_equal(of_lengths(1, 9, 252), SMTP_PATH_GOOD); /* 256 */
    assert_int_equal(of_lengths(2, 9, 252), SMTP_PATH_LENGTH);
    assert_int_equal(of_lengths(1, 9, 256), SMTP_PATH_LENGTH);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reverse), cmocka_unit_test(test_forward),
                                       cmocka_unit_test(test_lengths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
