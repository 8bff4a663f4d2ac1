#include "mime/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* What comes out, as "name|address" joined by "; ". */
static const struct {
    const char *in, *out;
} rows[] = {
    {"a@b.c", "|a@b.c"},
    {"John Doe <a@b.c>, \"Doe, Jane\" <j@d>", "John Doe|a@b.c; Doe, Jane|j@d"},
    {"a@b.c (Full Name)", "Full Name|a@b.c"},
    {"", ""},
    {"<>", ""},
    {" , ,, ", ""},
    /* groups, RFC 5322 3.4 */
    {"undisclosed-recipients:;", ""},
    {"undisclosed-recipients: (nobody) ;", ""},
    {"A Group:Ed <e@x>,j@y;, z@z", "Ed|e@x; |j@y; |z@z"},
    /* obsolete forms, RFC 5322 4.4 */
    {"<@x,@y:u@v>", "|u@v"},
    {"a . b @ c . d", "|a.b@c.d"},
    {"Mary Smith <@node.test:mary@example.net>, , jdoe@test . example",
     "Mary Smith|mary@example.net; |jdoe@test.example"},
    {"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "Pete|pete@silly.test"},
    /* what mail programs write */
    {"=?utf-8?Q?Doe,_J=C3=BCrgen?= <x@y>", "Doe, J\xc3\xbcrgen|x@y"},
    {"\"=?utf-8?B?w7w=?=\" <x@y>", "\xc3\xbc|x@y"},
    {"\"quoted local\"@ex.org", "|\"quoted local\"@ex.org"},
    {"\"a\\\"b\" <\"c\\\\d\"@e>", "a\"b|\"c\\\\d\"@e"},
    {"user@[192.0.2.1]", "|user@[192.0.2.1]"},
    {"J. R. Doe <jd@x.org>", "J. R. Doe|jd@x.org"},
    {"J. R. Doe jd@x.org", "J. R. Doe|jd@x.org"},
    {"root", "|root"},
    {"John Doe", "John Doe|"},
    {"a@b.c <d@e.f>", "a@b.c|d@e.f"},
    {"a@b; c@d", "|a@b; |c@d"},
    {"a@b c@d", "|a@b; |c@d"},
    {"a <b@c> <d@e>", "a|b@c; |d@e"},
    {"A <a@b, B <c@d>", "A|a@b; B|c@d"},
    {"<mailto:a@b>", "|a@b"},
    {"x@y z", "|x@y"},
    {"\xfcml <a@b>", "\xc3\xbcml|a@b"},
    {"J\xc3\xbc <\xc3\xbc@\xc3\xbc.de>", "J\xc3\xbc|\xc3\xbc@\xc3\xbc.de"},
    {"a\r\n b\r\n <c@d>", "a b|c@d"},
    {"x\x1bz <a\x01@b>", "xz|a@b"},
    {"\"unclosed <a@b>", "unclosed <a@b>|"},
    {"(unclosed", ""},
};

static void test_rows(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf out = BUF(1000);
        struct address_iter it = ADDRESS_ITER(str_of(rows[i].in));
        struct address a;
        while (address_next(&it, &a))
            buf_printf(&out, "%s%.*s|%.*s", out.n ? "; " : "", STR_ARG(a.name), STR_ARG(a.address));
        assert_string_equal(buf_cstr(&out), rows[i].out);
        address_iter_free(&it);
        buf_free(&out);
    }
}

static void test_groups_have_names(void **state) {
    (void)state;
    struct address_iter it = ADDRESS_ITER(S("=?utf-8?q?Gr=C3=BC?=: a@b; c@d"));
    struct address a;
    assert_true(address_next(&it, &a) && str_eq(a.group, S("Gr\xc3\xbc")) && str_eq(a.local, S("a")));
    assert_true(address_next(&it, &a) && a.group.n == 0 && str_eq(a.domain, S("d")));
    assert_false(address_next(&it, &a));
    address_iter_free(&it);
}

static void test_limits(void **state) {
    (void)state;
    struct buf list = BUF(1 << 20);
    for (int i = 0; i < ADDRESS_LIST_MAX + 10; i++)
        buf_add(&list, S("a@b,"));
    struct address_iter it = ADDRESS_ITER(buf_str(&list));
    struct address a;
    size_t n = 0;
    while (address_next(&it, &a))
        n++;
    assert_int_equal(n, ADDRESS_LIST_MAX);
    address_iter_free(&it);
    buf_reset(&list);
    buf_fill(&list, '(', 200000); /* as deep as it is long */
    it = ADDRESS_ITER(buf_str(&list));
    assert_false(address_next(&it, &a));
    address_iter_free(&it);
    buf_reset(&list);
    buf_fill(&list, 'x', 200000);
    it = ADDRESS_ITER(buf_str(&list));
    assert_true(address_next(&it, &a) && a.address.n <= ADDRESS_SIZE_MAX);
    address_iter_free(&it);
    buf_free(&list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_groups_have_names),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
