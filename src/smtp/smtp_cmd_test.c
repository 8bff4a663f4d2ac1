#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smtp/smtp_cmd.h"

static const struct {
    str line;
    enum err e;
    enum smtp_verb verb;
} rows[] = {
    {S_INIT("EHLO example.com"), OK, SMTP_V_EHLO},
    {S_INIT("ehlo [127.0.0.1]"), OK, SMTP_V_EHLO},
    {S_INIT("EHLO"), ERR_SYNTAX, SMTP_V_EHLO},
    {S_INIT("EHLO a b"), ERR_SYNTAX, SMTP_V_EHLO},
    {S_INIT("MAIL FROM:<a@b>"), OK, SMTP_V_MAIL},
    {S_INIT("mail from: <a@b>  SIZE=1 "), OK, SMTP_V_MAIL}, /* the space is not in the grammar, but in the world */
    {S_INIT("MAIL FROM:<a@b>x"), ERR_SYNTAX, SMTP_V_MAIL},
    {S_INIT("MAIL FROM <a@b>"), ERR_SYNTAX, SMTP_V_MAIL},
    {S_INIT("MAIL <a@b>"), ERR_SYNTAX, SMTP_V_MAIL},
    {S_INIT("MAIL TO:<a@b>"), ERR_SYNTAX, SMTP_V_MAIL},
    {S_INIT("MAIL"), ERR_SYNTAX, SMTP_V_MAIL},
    {S_INIT("RCPT TO:<c@d>"), OK, SMTP_V_RCPT},
    {S_INIT("RCPT TO:<c@d>x"), ERR_SYNTAX, SMTP_V_RCPT}, /* junk after the path, RFC 5321 4.1.2 */
    {S_INIT("DATA"), OK, SMTP_V_DATA},
    {S_INIT("DATA "), OK, SMTP_V_DATA},
    {S_INIT("DATA x"), ERR_SYNTAX, SMTP_V_DATA},
    {S_INIT("DATA\v"), ERR_NOT_FOUND, SMTP_V_UNKNOWN},
    {S_INIT("BDAT 0"), OK, SMTP_V_BDAT},
    {S_INIT("BDAT 18446744073709551615 last"), OK, SMTP_V_BDAT},
    {S_INIT("BDAT 18446744073709551616"), ERR_LIMIT, SMTP_V_BDAT},
    {S_INIT("BDAT +5"), ERR_SYNTAX, SMTP_V_BDAT},
    {S_INIT("BDAT"), ERR_SYNTAX, SMTP_V_BDAT},
    {S_INIT("BDAT 5 LAST x"), ERR_SYNTAX, SMTP_V_BDAT},
    {S_INIT("NOOP"), OK, SMTP_V_NOOP},
    {S_INIT("NOOP some words"), OK, SMTP_V_NOOP},
    {S_INIT("RSET x"), ERR_SYNTAX, SMTP_V_RSET},
    {S_INIT("VRFY"), ERR_SYNTAX, SMTP_V_VRFY},
    {S_INIT("HELP"), OK, SMTP_V_HELP},
    {S_INIT("AUTH PLAIN"), OK, SMTP_V_AUTH},
    {S_INIT("AUTH PLAIN  AGEAYg=="), OK, SMTP_V_AUTH},
    {S_INIT("AUTH PLAIN a b"), ERR_SYNTAX, SMTP_V_AUTH},
    {S_INIT("AUTH"), ERR_SYNTAX, SMTP_V_AUTH},
    {S_INIT("GET / HTTP/1.1"), ERR_UNSUPPORTED, SMTP_V_UNKNOWN},
    {S_INIT("MAILFROM:<a@b>"), ERR_NOT_FOUND, SMTP_V_UNKNOWN},
    {S_INIT(""), ERR_NOT_FOUND, SMTP_V_UNKNOWN},
    {S_INIT("   "), ERR_NOT_FOUND, SMTP_V_UNKNOWN},
};

static void test_rows(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct smtp_cmd cmd;
        enum err e = smtp_cmd_parse(rows[i].line, &cmd);
        if (e != rows[i].e || cmd.verb != rows[i].verb)
            print_error("%.*s\n", STR_ARG(rows[i].line));
        assert_int_equal(e, rows[i].e);
        assert_int_equal(cmd.verb, rows[i].verb);
    }
}

static void test_parts(void **state) {
    (void)state;
    struct smtp_cmd cmd;
    assert_int_equal(smtp_cmd_parse(S("MAIL FROM:<a@b>  SIZE=1  BODY=7BIT "), &cmd), OK);
    assert_true(str_eq(cmd.path.address, S("a@b")) && str_eq(cmd.params, S("SIZE=1  BODY=7BIT")));
    assert_int_equal(smtp_cmd_parse(S("BDAT 007 LAST"), &cmd), OK);
    assert_true(cmd.size == 7 && cmd.last);
    assert_int_equal(smtp_cmd_parse(S("AUTH LOGIN ="), &cmd), OK);
    assert_true(cmd.has_initial && str_eq(cmd.initial, S("=")) && str_eq(cmd.arg, S("LOGIN")));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_parts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
