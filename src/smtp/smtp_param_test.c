#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "smtp/smtp_param.h"

static const struct {
    enum smtp_param_where where;
    str text;
    enum err e;
} rows[] = {
    {SMTP_PARAM_MAIL, S_INIT(""), OK},
    {SMTP_PARAM_MAIL, S_INIT("SIZE=0"), OK},
    {SMTP_PARAM_MAIL, S_INIT(" size=18446744073709551615 "), OK},
    {SMTP_PARAM_MAIL, S_INIT("SIZE=18446744073709551616"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("SIZE=-1"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("SIZE="), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("SIZE"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("SIZE=1 size=1"), ERR_EXISTS},
    {SMTP_PARAM_MAIL, S_INIT("BODY=8bitmime SMTPUTF8 RET=FULL ENVID=QQ314159 REQUIRETLS"), OK},
    {SMTP_PARAM_MAIL, S_INIT("BODY=8BIT"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("SMTPUTF8=YES"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("REQUIRETLS="), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("RET=BODY"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("ENVID=a+2Bb"), OK},
    {SMTP_PARAM_MAIL, S_INIT("ENVID=a+2bb"), ERR_SYNTAX}, /* hex digits are upper case, RFC 3461 4 */
    {SMTP_PARAM_MAIL, S_INIT("ENVID=a+0D+0Ab"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("ENVID=a=b"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("ENVID=+"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("AUTH=<>"), OK},
    {SMTP_PARAM_MAIL, S_INIT("AUTH=e+3Dmc2@example.com"), OK},
    {SMTP_PARAM_MAIL, S_INIT("AUTH=a+0A"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("AUTO=10"), ERR_UNSUPPORTED},
    {SMTP_PARAM_MAIL, S_INIT("HOLDFOR=10"), OK},
    {SMTP_PARAM_MAIL, S_INIT("HOLDFOR=0"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("HOLDFOR=1000000000"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("HOLDUNTIL=2027-01-15T09:00:00Z"), OK},
    {SMTP_PARAM_MAIL, S_INIT("HOLDUNTIL=tomorrow"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("HOLDUNTIL"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("HOLDFOR=10 HOLDUNTIL=2027-01-15T09:00:00Z"), ERR_SYNTAX}, /* one of them, RFC 4865 6 */
    {SMTP_PARAM_MAIL, S_INIT("HOLDUNTIL=2027-01-15T09:00:00Z HOLDFOR=10"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("BY=120;R"), OK},
    {SMTP_PARAM_MAIL, S_INIT("BY=-120;nt"), OK},
    {SMTP_PARAM_MAIL, S_INIT("BY=+1;RT"), OK},
    {SMTP_PARAM_MAIL, S_INIT("BY=0;R"), ERR_SYNTAX}, /* RFC 2852 4 */
    {SMTP_PARAM_MAIL, S_INIT("BY=-1;RT"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("BY=120"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("BY=120;"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("BY=;N"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("BY=1;X"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("BY=1;NX"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("BY=1;NTT"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("BY=1000000000;N"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("MT-PRIORITY=-9"), OK},
    {SMTP_PARAM_MAIL, S_INIT("MT-PRIORITY=10"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("MT-PRIORITY=--1"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("MT-PRIORITY"), ERR_SYNTAX},
    {SMTP_PARAM_RCPT, S_INIT("BY=120;R"), ERR_UNSUPPORTED},
    {SMTP_PARAM_MAIL, S_INIT("NOTIFY=NEVER"), ERR_UNSUPPORTED},
    {SMTP_PARAM_RCPT, S_INIT("SIZE=1"), ERR_UNSUPPORTED},
    {SMTP_PARAM_RCPT, S_INIT("NOTIFY=NEVER"), OK},
    {SMTP_PARAM_RCPT, S_INIT("NOTIFY=success,Failure,DELAY ORCPT=rfc822;bob@example.com"), OK},
    {SMTP_PARAM_RCPT, S_INIT("NOTIFY=NEVER,FAILURE"), ERR_SYNTAX},
    {SMTP_PARAM_RCPT, S_INIT("NOTIFY=SUCCESS,SUCCESS"), ERR_SYNTAX},
    {SMTP_PARAM_RCPT, S_INIT("NOTIFY=SUCCESS,"), ERR_SYNTAX},
    {SMTP_PARAM_RCPT, S_INIT("ORCPT=bob@example.com"), ERR_SYNTAX},
    {SMTP_PARAM_RCPT, S_INIT("ORCPT=rfc822;"), ERR_SYNTAX},
    {SMTP_PARAM_RCPT, S_INIT("ORCPT=rfc822;a+0D+0ARCPT"), ERR_SYNTAX},
    {SMTP_PARAM_RCPT, S_INIT("ORCPT=rfc 822;a"), ERR_SYNTAX},
    {SMTP_PARAM_RCPT, S_INIT("ORCPT=rfc822;j+C3+BCrgen@example.com"), OK}, /* as Postfix writes it */
    {SMTP_PARAM_RCPT, S_INIT("ORCPT=rfc822;j+FCrgen@example.com"), ERR_SYNTAX},
    {SMTP_PARAM_RCPT, S_INIT("ORCPT=rfc822;j+7Frgen@example.com"), ERR_SYNTAX},
    {SMTP_PARAM_RCPT, S_INIT("ORCPT=rfc822;j+C3"), ERR_SYNTAX},
    {SMTP_PARAM_MAIL, S_INIT("ENVID=j+C3+BCrgen"), ERR_SYNTAX},
    {SMTP_PARAM_RCPT, S_INIT("ORCPT=utf-8;\xc3\xa4@example.com"), OK},
    {SMTP_PARAM_RCPT, S_INIT("ORCPT=utf-8;\xff"), ERR_SYNTAX},
};

static void test_rows(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct smtp_params p;
        enum err e = smtp_params_parse(rows[i].text, rows[i].where, &p);
        if (e != rows[i].e)
            print_error("%.*s\n", STR_ARG(rows[i].text));
        assert_int_equal(e, rows[i].e);
        assert_true((e != OK) == (p.bad.n > 0));
    }
}

static void test_values(void **state) {
    (void)state;
    struct smtp_params p;
    assert_int_equal(smtp_params_parse(S("SIZE=12 BODY=BINARYMIME RET=HDRS"), SMTP_PARAM_MAIL, &p), OK);
    assert_int_equal(p.size, 12);
    assert_int_equal(p.body, SMTP_BODY_BINARYMIME);
    assert_int_equal(p.ret, SMTP_RET_HDRS);
    assert_int_equal(smtp_params_parse(S("NOTIFY=DELAY,SUCCESS"), SMTP_PARAM_RCPT, &p), OK);
    assert_int_equal(p.notify, SMTP_NOTIFY_DELAY | SMTP_NOTIFY_SUCCESS);
    assert_int_equal(smtp_params_parse(S("BY=-30;NT MT-PRIORITY=-3 HOLDFOR=60"), SMTP_PARAM_MAIL, &p), OK);
    assert_int_equal(p.by_s, -30);
    assert_int_equal(p.by_mode, 5);
    assert_int_equal(p.priority, 7);
    assert_int_equal(p.hold_s, 60);
}

static void test_too_many(void **state) {
    (void)state;
    static char text[SMTP_PARAMS_MAX + 2];
    struct smtp_params p;
    memset(text, ' ', sizeof text);
    memcpy(text, "SIZE=1", 6);
    memcpy(text + SMTP_PARAMS_MAX - 8, "RET=HDRS", 8);
    assert_int_equal(smtp_params_parse(str_n(text, SMTP_PARAMS_MAX), SMTP_PARAM_MAIL, &p), OK);
    memset(text + SMTP_PARAMS_MAX - 8, ' ', 8);
    memcpy(text + SMTP_PARAMS_MAX - 7, "RET=HDRS", 8);
    assert_int_equal(smtp_params_parse(str_n(text, SMTP_PARAMS_MAX + 1), SMTP_PARAM_MAIL, &p), ERR_SYNTAX);
    assert_true(p.bad.n > 0 && p.bad.n < 100);
}

static void test_xtext(void **state) {
    (void)state;
    struct buf b = BUF(100);
    assert_true(smtp_xtext_decode(S("a+2Bb+3D"), &b));
    assert_true(str_eq(buf_str(&b), S("a+b=")));
    buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_values),
                                       cmocka_unit_test(test_too_many), cmocka_unit_test(test_xtext)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
