#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "mailauth/credential.h"

static const uint8_t some[CREDENTIAL_RANDOM] = "0123456789abcdef0123456789abcdef0123456789abcdef";

static void test_make(void **state) {
    (void)state;
    struct buf one = BUF(CREDENTIAL_MAX), two = BUF(2 * CREDENTIAL_MAX);
    struct credential_scram s;
    struct why w;
    uint8_t other[CREDENTIAL_RANDOM];
    memcpy(other, some, sizeof other);
    other[0]++;
    assert_int_equal(credential_make(S("pencil"), some, &one, &w), OK);
    assert_true(str_starts(buf_str(&one), S("$y$")));
    assert_true(credential_valid(buf_str(&one)));
    assert_true(credential_verify(buf_str(&one), S("pencil")));
    assert_false(credential_verify(buf_str(&one), S("pencil2")));
    assert_false(credential_verify(buf_str(&one), S("penci")));
    assert_false(credential_verify(buf_str(&one), S("")));
    assert_true(credential_scram(buf_str(&one), &s));
    assert_string_equal(s.iterations, "16384");
    assert_int_equal(credential_make(S("pencil"), other, &two, &w), OK);
    assert_false(str_eq(buf_str(&one), buf_str(&two)));
    buf_char(&two, '\n');
    assert_int_equal(credential_make(S("an app's"), other, &two, &w), OK);
    assert_true(credential_verify(buf_str(&two), S("pencil")));
    assert_true(credential_verify(buf_str(&two), S("an app's")));
    assert_false(credential_verify(buf_str(&two), S("another app's")));
    assert_int_equal(credential_make(S(""), some, &two, &w), ERR_SYNTAX);
    assert_int_equal(credential_make(S("a\0b"), some, &two, &w), ERR_SYNTAX);
    buf_free(&one);
    buf_free(&two);
}

/* What others made, as crypt(5) and their own manuals show. */
static const struct {
    str credential, password;
    bool good;
} rows[] = {
    {S_INIT("$1$abcd0123$9Qcg8DyviekV3tDGMZynJ1"), S_INIT("Xy01@#\x01\x02\x80\x7f\xff\r\n\x81\t !"), true},
    {S_INIT("$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"), S_INIT("Hello world!"), true},
    {S_INIT("$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"),
     S_INIT("Hello world!"), true},
    {S_INIT("$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"),
     S_INIT("hello world!"), false},
    {S_INIT("$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"), S_INIT("U*U"), true},
    {S_INIT("$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"), S_INIT("U*V"), false},
    {S_INIT("$y$"), S_INIT("x"), false},
    {S_INIT("$"), S_INIT("x"), false},
    {S_INIT("*0"), S_INIT("x"), false},
    {S_INIT("x"), S_INIT("x"), false}, /* a password as itself is none */
    {S_INIT(""), S_INIT("x"), false},
};

static void test_others(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (credential_verify(rows[i].credential, rows[i].password) != rows[i].good)
            fail_msg("row %zu", i);
    assert_false(credential_verify_nobody(S("x")));
}

/* RFC 7677's example: user, pencil. */
static void test_scram(void **state) {
    (void)state;
    static const char *const bad[] = {
        "SCRAM-SHA-256$0:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "SCRAM-SHA-256$99999999:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "SCRAM-SHA-256$4096:$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=",
    };
    struct credential_scram s;
    assert_true(credential_scram(S("$1$x$y\n"
                                   "$1$x$y SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
                                   "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
                                   "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="),
                                 &s));
    assert_string_equal(s.iterations, "4096");
    assert_string_equal(s.salt, "W22ZaJ0SNY7soEsUEjb6gQ==");
    assert_string_equal(s.stored_key, "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=");
    assert_string_equal(s.server_key, "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(credential_scram(str_of(bad[i]), &s));
        assert_false(credential_valid(str_of(bad[i])));
    }
}

/* A stranger's salt is always his, looks like any other, and is nobody else's, nor that of another server. */
static void test_nobody(void **state) {
    (void)state;
    struct credential_scram a, again, b, elsewhere;
    assert_true(credential_scram_nobody(S("secret"), S("ada@example.org"), &a));
    assert_true(credential_scram_nobody(S("secret"), S("ADA@example.org"), &again));
    assert_true(credential_scram_nobody(S("secret"), S("bob@example.org"), &b));
    assert_true(credential_scram_nobody(S("another secret"), S("ada@example.org"), &elsewhere));
    assert_string_equal(a.salt, again.salt);
    assert_string_not_equal(a.salt, b.salt);
    assert_string_not_equal(a.salt, elsewhere.salt);
    assert_string_not_equal(a.stored_key, b.stored_key);
    assert_int_equal(strlen(a.salt), 24);
    assert_string_equal(a.iterations, "16384");
}

/* Two ways to type the same letter are one password. */
static void test_prepared(void **state) {
    (void)state;
    struct buf b = BUF(CREDENTIAL_MAX);
    struct why w;
    assert_int_equal(credential_make(S("p\xc3\xa4ss"), some, &b, &w), OK);
    assert_true(credential_verify(buf_str(&b), S("p\xc3\xa4ss")));
    assert_true(credential_verify(buf_str(&b), S("pa\xcc\x88ss")));
    assert_false(credential_verify(buf_str(&b), S("pass")));
    buf_reset(&b);
    assert_int_equal(credential_make(S("\xff\xfe"), some, &b, &w), OK); /* no text at all, and still a password */
    assert_true(credential_verify(buf_str(&b), S("\xff\xfe")));
    buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_make),   cmocka_unit_test(test_others),   cmocka_unit_test(test_scram),
        cmocka_unit_test(test_nobody), cmocka_unit_test(test_prepared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
