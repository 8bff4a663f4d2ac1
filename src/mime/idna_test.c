#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "mime/idna.h"

static const struct {
    str domain, ascii; /* empty: there is none */
} rows[] = {
    {S_INIT("Example.ORG"), S_INIT("example.org")},
    {S_INIT("b\xc3\xbc\x63her.example"), S_INIT("xn--bcher-kva.example")},
    {S_INIT("B\xc3\x9c\x43HER.Example"), S_INIT("xn--bcher-kva.example")},
    {S_INIT("XN--BCHER-KVA.example"), S_INIT("xn--bcher-kva.example")},
    {S_INIT("\xe4\xbe\x8b\xe3\x81\x88.\xe3\x83\x86\xe3\x82\xb9\xe3\x83\x88"), S_INIT("xn--r8jz45g.xn--zckzah")},
    {S_INIT("fa\xc3\x9f.de"), S_INIT("xn--fa-hia.de")},
    {S_INIT("a\xff.example"), S_INIT("")},
    {S_INIT("\xe2\x80\x8d.example"), S_INIT("")}, /* a joiner that joins nothing */
    {S_INIT("a\xef\xbc\xa0"
            "b.example"),
     S_INIT("")}, /* a wide @ */
    {S_INIT(""), S_INIT("")},
};

static void test_ascii(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf out = BUF(300);
        bool good = idna_ascii(rows[i].domain, &out);
        if (good != (rows[i].ascii.n > 0) || !str_eq(buf_str(&out), rows[i].ascii))
            fail_msg("row %zu: %s", i, buf_cstr(&out));
        buf_free(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ascii)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
