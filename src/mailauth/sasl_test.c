#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "mailauth/sasl_client.h"
#include "mailauth/sasl_server.h"

static struct sasl_user users[] = {
    {S_INIT("joe"), S_INIT("pencil")},
    {S_INIT("ann@example.org"), S_INIT("tok.en-1=")},
    {S_INIT("j\xc3\xb6rg, a=b"), S_INIT("p\xc3\xa4ss:word")},
};
static const struct sasl_policy table = {.users = users, .user_count = sizeof users / sizeof *users};
static const struct sasl_policy any = {.any = true};

/* Those whose credentials are kept, with passwords as SCRAM wants them. */
static const struct sasl_policy stored = {.stored = true};
static const struct {
    str name, password;
} kept[] = {{S_INIT("joe"), S_INIT("pencil")}, {S_INIT("j\xc3\xb6rg, a=b"), S_INIT("p\xc3\xa4ss:word")}};

/* The host of an exchange: it says what is kept, and is not asked twice. */
static enum sasl_result host(struct sasl_server *s, enum sasl_result r) {
    static const uint8_t some[CREDENTIAL_RANDOM] = "0123456789abcdef0123456789abcdef0123456789abcdef";
    if (r != SASL_WANT_CREDENTIAL && r != SASL_WANT_VERDICT)
        return r;
    struct buf credential = BUF(CREDENTIAL_MAX);
    struct credential_scram scram;
    bool known = false;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (str_eq(kept[i].name, buf_str(&s->user))) {
            assert_int_equal(credential_make(kept[i].password, some, &credential, NULL), OK);
            known = true;
        }
    if (r == SASL_WANT_VERDICT) {
        bool good = known && credential_verify(buf_str(&credential), buf_str(&s->password));
        r = sasl_server_verdict(s, good ? SASL_OK : SASL_BAD_CREDENTIALS);
        assert_int_equal(s->password.n, 0);
    } else {
        assert_true(known ? credential_scram(buf_str(&credential), &scram)
                          : credential_scram_nobody(S("secret"), buf_str(&s->user), &scram));
        r = sasl_server_credential(s, &scram, known);
    }
    buf_free(&credential);
    assert_true(r != SASL_WANT_CREDENTIAL && r != SASL_WANT_VERDICT);
    return r;
}

/* One exchange as lines: what the client sends, and what must come of it. */
static const struct {
    const struct sasl_policy *policy;
    const char *mechanism;
    str responses[4]; /* the first is the initial one; p == NULL: none */
    enum sasl_result result;
    enum sasl_failure failure;
    const char *user;
} exchanges[] = {
    {&table, "PLAIN", {S_INIT("\0joe\0pencil")}, SASL_DONE, SASL_OK, "joe"},
    {&table, "PLAIN", {S_INIT("joe\0joe\0pencil")}, SASL_DONE, SASL_OK, "joe"},
    {&table, "PLAIN", {{0}, S_INIT("\0joe\0pencil")}, SASL_DONE, SASL_OK, "joe"},
    {&table, "PLAIN", {S_INIT("ann\0joe\0pencil")}, SASL_FAILED, SASL_BAD_CREDENTIALS, "joe"}, /* somebody else */
    {&table, "PLAIN", {S_INIT("\0joe\0pencil2")}, SASL_FAILED, SASL_BAD_CREDENTIALS, "joe"},
    {&table, "PLAIN", {S_INIT("\0joe\0pencilpencil")}, SASL_FAILED, SASL_BAD_CREDENTIALS, "joe"},
    {&table, "PLAIN", {S_INIT("\0joe\0penci")}, SASL_FAILED, SASL_BAD_CREDENTIALS, "joe"},
    {&table, "PLAIN", {S_INIT("\0jim\0an unknown user has this secret")}, SASL_FAILED, SASL_BAD_CREDENTIALS, "jim"},
    {&table, "PLAIN", {S_INIT("\0joe\0")}, SASL_FAILED, SASL_MALFORMED, ""},
    {&table, "PLAIN", {S_INIT("\0\0pencil")}, SASL_FAILED, SASL_MALFORMED, ""},
    {&table, "PLAIN", {S_INIT("\0joe\0pencil\0")}, SASL_FAILED, SASL_MALFORMED, ""},
    {&table, "PLAIN", {S_INIT("joe\0pencil")}, SASL_FAILED, SASL_MALFORMED, ""},
    {&table, "PLAIN", {S_INIT("\0\0joe\0pencil")}, SASL_FAILED, SASL_MALFORMED, ""},
    {&table, "PLAIN", {S_INIT("")}, SASL_FAILED, SASL_MALFORMED, ""},
    {&stored, "PLAIN", {S_INIT("\0joe\0pencil")}, SASL_DONE, SASL_OK, "joe"},
    {&stored, "PLAIN", {S_INIT("joe\0joe\0pencil")}, SASL_DONE, SASL_OK, "joe"},
    {&stored, "PLAIN", {S_INIT("ann\0joe\0pencil")}, SASL_FAILED, SASL_BAD_CREDENTIALS, "joe"},
    {&stored, "PLAIN", {S_INIT("\0joe\0pencil2")}, SASL_FAILED, SASL_BAD_CREDENTIALS, "joe"},
    {&stored, "PLAIN", {S_INIT("\0jim\0pencil")}, SASL_FAILED, SASL_BAD_CREDENTIALS, "jim"},
    {&stored, "PLAIN", {S_INIT("joe\0pencil")}, SASL_FAILED, SASL_MALFORMED, ""},
    {&stored, "PLAIN", {S_INIT("\0joe\0")}, SASL_FAILED, SASL_MALFORMED, ""},
    {&stored, "LOGIN", {{0}, S_INIT("joe"), S_INIT("pencil")}, SASL_DONE, SASL_OK, "joe"},
    {&stored, "LOGIN", {{0}, S_INIT("joe"), S_INIT("pen")}, SASL_FAILED, SASL_BAD_CREDENTIALS, "joe"},
    {&stored, "SCRAM-SHA-256", {S_INIT("n,,n=joe,r=abc"), S_INIT("garbage")}, SASL_FAILED, SASL_MALFORMED, "joe"},
    {&stored, "SCRAM-SHA-256", {S_INIT("n,,r=abc")}, SASL_FAILED, SASL_MALFORMED, ""},
    {&stored, "SCRAM-SHA-256", {S_INIT("n,,n=,r=abc")}, SASL_FAILED, SASL_MALFORMED, ""},
    {&stored, "SCRAM-SHA-256", {S_INIT("n,,n=j=o,r=abc")}, SASL_FAILED, SASL_MALFORMED, ""},
    {&stored, "SCRAM-SHA-256", {S_INIT("n,,m=x,n=joe,r=abc")}, SASL_FAILED, SASL_MALFORMED, ""},
    {&stored, "SCRAM-SHA-256", {{0}, S_INIT("")}, SASL_FAILED, SASL_MALFORMED, ""},
    {&any, "PLAIN", {S_INIT("\0who\0ever")}, SASL_DONE, SASL_OK, "who"},
    {&any, "PLAIN", {S_INIT("x\0who\0ever")}, SASL_FAILED, SASL_BAD_CREDENTIALS, "who"},
    {&any, "PLAIN", {S_INIT("\0wh\no\0ever")}, SASL_FAILED, SASL_MALFORMED, ""},
    {&any, "PLAIN", {S_INIT("\0wh\xff\0ever")}, SASL_FAILED, SASL_MALFORMED, ""},
    {&table, "LOGIN", {{0}, S_INIT("joe"), S_INIT("pencil")}, SASL_DONE, SASL_OK, "joe"},
    {&table, "login", {S_INIT("joe"), S_INIT("pencil")}, SASL_DONE, SASL_OK, "joe"},
    {&table, "LOGIN", {S_INIT("joe"), S_INIT("Pencil")}, SASL_FAILED, SASL_BAD_CREDENTIALS, "joe"},
    {&table, "LOGIN", {S_INIT("jo\0e")}, SASL_FAILED, SASL_MALFORMED, ""},
    {&table, "LOGIN", {S_INIT("joe"), S_INIT("")}, SASL_FAILED, SASL_MALFORMED, "joe"},
    {&any, "LOGIN", {{0}, S_INIT("joe"), S_INIT("x")}, SASL_DONE, SASL_OK, "joe"},
    {&table,
     "XOAUTH2",
     {S_INIT("user=ann@example.org\1auth=Bearer tok.en-1=\1\1")},
     SASL_DONE,
     SASL_OK,
     "ann@example.org"},
    {&table,
     "XOAUTH2",
     {S_INIT("user=ann@example.org\1auth=Bearer wrong\1\1"), S_INIT("")},
     SASL_FAILED,
     SASL_BAD_CREDENTIALS,
     "ann@example.org"},
    {&any, "XOAUTH2", {S_INIT("user=a\1auth=Bearer x\1")}, SASL_FAILED, SASL_MALFORMED, "a"},
    {&any, "XOAUTH2", {S_INIT("user=a\1auth=Basic x\1\1")}, SASL_FAILED, SASL_MALFORMED, "a"},
    {&any, "XOAUTH2", {S_INIT("user=a\1auth=Bearer x\1\1y")}, SASL_FAILED, SASL_MALFORMED, "a"},
    {&any, "XOAUTH2", {S_INIT("user=a\1auth=Bearer x y\1\1")}, SASL_FAILED, SASL_MALFORMED, "a"},
    {&table,
     "OAUTHBEARER",
     {S_INIT("n,a=ann@example.org,\1host=h\1port=25\1auth=Bearer tok.en-1=\1\1")},
     SASL_DONE,
     SASL_OK,
     "ann@example.org"},
    {&table,
     "OAUTHBEARER",
     {{0}, S_INIT("n,a=ann@example.org,\1auth=bearer wrong\1\1"), S_INIT("\1")},
     SASL_FAILED,
     SASL_BAD_CREDENTIALS,
     "ann@example.org"},
    {&any, "OAUTHBEARER", {S_INIT("n,,\1auth=Bearer x\1\1")}, SASL_DONE, SASL_OK, ""},
    {&any, "OAUTHBEARER", {S_INIT("y,a=a=2Cb=3Dc,\1auth=Bearer x\1\1")}, SASL_DONE, SASL_OK, "a,b=c"},
    {&any, "OAUTHBEARER", {S_INIT("n,a=a=2c,\1auth=Bearer x\1\1")}, SASL_FAILED, SASL_MALFORMED, ""},
    {&any, "OAUTHBEARER", {S_INIT("p=tls-unique,,\1auth=Bearer x\1\1")}, SASL_FAILED, SASL_MALFORMED, ""},
    {&any, "OAUTHBEARER", {S_INIT("n,,\1auth=Bearer x\1auth=Bearer y\1\1")}, SASL_FAILED, SASL_MALFORMED, ""},
    {&any, "OAUTHBEARER", {S_INIT("n,,\1\1")}, SASL_FAILED, SASL_MALFORMED, ""},
    {&table, "SCRAM-SHA-256", {S_INIT("n,,n=joe,r=abc"), S_INIT("garbage")}, SASL_FAILED, SASL_MALFORMED, "joe"},
    {&table, "SCRAM-SHA-256", {{0}, S_INIT("")}, SASL_FAILED, SASL_MALFORMED, ""},
    {&table, "SCRAM-SHA-256", {S_INIT("garbage")}, SASL_FAILED, SASL_MALFORMED, ""},
    {&table, "SCRAM-SHA-256", {S_INIT("n,,n=jo\0e,r=abc")}, SASL_FAILED, SASL_MALFORMED, ""},
};

static void test_exchanges(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof exchanges / sizeof *exchanges; i++) {
        struct sasl_server s = {0};
        const str *responses = exchanges[i].responses;
        const struct sasl_mechanism *m = sasl_mechanism_find(str_of(exchanges[i].mechanism));
        assert_non_null(m);
        enum sasl_result r =
            sasl_server_start(&s, exchanges[i].policy, m, STR_NONE, responses[0].p ? &responses[0] : NULL);
        r = host(&s, r);
        for (size_t j = 1; j < 4 && responses[j].p && r == SASL_CHALLENGE; j++)
            r = host(&s, sasl_server_step(&s, responses[j]));
        if (r != exchanges[i].result || (r == SASL_FAILED && s.failure != exchanges[i].failure))
            fail_msg("row %zu: result %d failure %d", i, r, s.failure);
        if (!str_eq(buf_str(&s.user), str_of(exchanges[i].user)))
            fail_msg("row %zu: user %.*s", i, STR_ARG(buf_str(&s.user)));
        sasl_server_end(&s);
    }
}

static void test_too_long(void **state) {
    (void)state;
    static char big[SASL_MESSAGE_MAX + 1];
    struct sasl_server s = {0};
    str first = str_n(big, sizeof big);
    assert_int_equal(sasl_server_start(&s, &any, sasl_mechanism_find(S("PLAIN")), STR_NONE, &first), SASL_FAILED);
    assert_int_equal(s.failure, SASL_TOO_LONG);
    sasl_server_end(&s);
    sasl_server_end(&s);
}

/* Our client against our server: the result of the server, with what the client thinks of it. */
static const struct sasl_policy *talk_policy = &table;

static enum sasl_result talk(const char *mechanism, str user, str secret, str client_binding, str server_binding,
                             bool *client_good) {
    const struct sasl_mechanism *m = sasl_mechanism_find(str_of(mechanism));
    struct sasl_account account = {user, secret, S("mail.example.org"), 587, client_binding};
    struct sasl_client c;
    struct sasl_server s = {0};
    str initial;
    *client_good = sasl_client_start(&c, m, &account);
    initial = buf_str(&c.response);
    enum sasl_result r = sasl_server_start(&s, talk_policy, m, server_binding, c.initial ? &initial : NULL);
    r = host(&s, r);
    for (int i = 0; *client_good && r == SASL_CHALLENGE && i < 5; i++) {
        *client_good = sasl_client_step(&c, buf_str(&s.challenge));
        r = host(&s, sasl_server_step(&s, buf_str(&c.response)));
    }
    if (r == SASL_DONE) {
        *client_good = *client_good && sasl_client_accept(&c);
        assert_true(str_eq(buf_str(&s.user), user));
    }
    sasl_client_end(&c);
    sasl_server_end(&s);
    return r;
}

static void test_client_and_server(void **state) {
    (void)state;
    bool good;
    for (size_t m = 0; m < SASL_COUNT; m++)
        for (size_t u = 0; u < table.user_count; u++) {
            const char *name = sasl_mechanisms[m].name.p;
            str cb = sasl_mechanisms[m].flags & SASL_F_BINDING ? S("channel") : STR_NONE;
            if ((sasl_mechanisms[m].flags & SASL_F_TOKEN) && u != 1)
                continue;
            if (talk(name, users[u].name, users[u].secret, cb, cb, &good) != SASL_DONE || !good)
                fail_msg("%s does not let user %zu in", name, u);
            if (talk(name, users[u].name, S("wrong"), cb, cb, &good) != SASL_FAILED)
                fail_msg("%s lets user %zu in with a wrong secret", name, u);
            if (talk(name, S("nobody"), S("an unknown user has this secret"), cb, cb, &good) != SASL_FAILED)
                fail_msg("%s lets an unknown user in", name);
        }
}

/* The same with what is kept in place of passwords, and with the names that need it quoted. */
static void test_stored(void **state) {
    (void)state;
    bool good;
    talk_policy = &stored;
    for (size_t m = 0; m < SASL_COUNT; m++) {
        const char *name = sasl_mechanisms[m].name.p;
        str cb = sasl_mechanisms[m].flags & SASL_F_BINDING ? S("channel") : STR_NONE;
        if (!sasl_server_offers(&stored, &sasl_mechanisms[m], true))
            continue;
        for (size_t u = 0; u < sizeof kept / sizeof *kept; u++) {
            if (talk(name, kept[u].name, kept[u].password, cb, cb, &good) != SASL_DONE || !good)
                fail_msg("%s does not let user %zu in", name, u);
            if (talk(name, kept[u].name, S("wrong"), cb, cb, &good) != SASL_FAILED)
                fail_msg("%s lets user %zu in with a wrong password", name, u);
        }
        if (talk(name, S("nobody"), S("pencil"), cb, cb, &good) != SASL_FAILED)
            fail_msg("%s lets an unknown user in", name);
        if (cb.n && talk(name, S("joe"), S("pencil"), cb, S("other"), &good) != SASL_FAILED)
            fail_msg("%s does not see who stands between", name);
    }
    talk_policy = &table;
}

/* Nobody can tell a user that is not here from one with another password: the same salt each time, then the same no. */
static void test_stranger(void **state) {
    (void)state;
    char seen[2][200] = {{0}};
    talk_policy = &stored;
    for (int i = 0; i < 2; i++) {
        struct sasl_server s = {0};
        str first = S("n,,n=stranger,r=abcdefgh");
        enum sasl_result r =
            host(&s, sasl_server_start(&s, &stored, sasl_mechanism_find(S("SCRAM-SHA-256")), STR_NONE, &first));
        assert_int_equal(r, SASL_CHALLENGE);
        str salt = str_tail(buf_str(&s.challenge), str_find_str(buf_str(&s.challenge), S(",s=")));
        assert_true(salt.n > 20 && salt.n < sizeof seen[i]);
        memcpy(seen[i], salt.p, salt.n);
        sasl_server_end(&s);
    }
    assert_string_equal(seen[0], seen[1]);
    talk_policy = &table;
}

/* A client may go, and the host may be down, while a verdict is out. */
static void test_given_up(void **state) {
    (void)state;
    struct sasl_server s = {0};
    str first = S("\0joe\0pencil"), scram = S("n,,n=joe,r=abcdefgh");
    const struct sasl_mechanism *m = sasl_mechanism_find(S("PLAIN"));
    assert_int_equal(sasl_server_start(&s, &stored, m, STR_NONE, &first), SASL_WANT_VERDICT);
    sasl_server_end(&s);
    assert_int_equal(sasl_server_start(&s, &stored, m, STR_NONE, &first), SASL_WANT_VERDICT);
    assert_int_equal(sasl_server_verdict(&s, SASL_UNAVAILABLE), SASL_FAILED);
    assert_int_equal(s.failure, SASL_UNAVAILABLE);
    sasl_server_end(&s);
    m = sasl_mechanism_find(S("SCRAM-SHA-256"));
    assert_int_equal(sasl_server_start(&s, &stored, m, STR_NONE, &scram), SASL_WANT_CREDENTIAL);
    assert_int_equal(sasl_server_verdict(&s, SASL_UNAVAILABLE), SASL_FAILED);
    sasl_server_end(&s);
}

static void test_binding(void **state) {
    (void)state;
    bool good;
    str joe = S("joe"), pencil = S("pencil");
    /* a man in the middle has two different TLS connections */
    assert_int_equal(talk("SCRAM-SHA-256-PLUS", joe, pencil, S("one"), S("two"), &good), SASL_FAILED);
    assert_int_equal(talk("SCRAM-SHA-256", joe, pencil, S("one"), STR_NONE, &good), SASL_DONE);
    assert_int_equal(talk("SCRAM-SHA-256", joe, pencil, STR_NONE, S("one"), &good), SASL_DONE);
}

/* A client that could bind was told that the server cannot: somebody between them (RFC 5802 section 6). */
static void test_downgrade(void **state) {
    (void)state;
    const struct sasl_mechanism *m = sasl_mechanism_find(S("SCRAM-SHA-256"));
    str first = S("y,,n=joe,r=abcdefgh");
    struct sasl_server s = {0};
    assert_int_equal(sasl_server_start(&s, &table, m, S("one"), &first), SASL_FAILED);
    sasl_server_end(&s);
    assert_int_equal(sasl_server_start(&s, &table, m, STR_NONE, &first), SASL_CHALLENGE);
    sasl_server_end(&s);
}

/* A server that says yes without having proven anything must not be believed. */
static void test_unproven(void **state) {
    (void)state;
    struct sasl_account account = {S("joe"), S("pencil")};
    struct sasl_client c;
    assert_true(sasl_client_start(&c, sasl_mechanism_find(S("SCRAM-SHA-256")), &account));
    assert_false(sasl_client_accept(&c));
    assert_false(sasl_client_step(&c, S("r=short,s=AAAA,i=4096")));
    assert_non_null(c.problem);
    sasl_client_end(&c);
    assert_true(sasl_client_start(&c, sasl_mechanism_find(S("PLAIN")), &account));
    assert_true(str_eq(buf_str(&c.response), S("\0joe\0pencil")));
    assert_false(sasl_client_step(&c, S("more")));
    sasl_client_end(&c);
}

static const struct {
    str text;
    enum err e;
    size_t users;
} files[] = {
    {S_INIT("joe:pencil\n# remark\n\nann:a:b:c\r\n"), OK, 2},
    {S_INIT(""), OK, 0},
    {S_INIT("joe"), ERR_SYNTAX, 0},
    {S_INIT("joe:\n"), ERR_SYNTAX, 0},
    {S_INIT(":x\n"), ERR_SYNTAX, 0},
    {S_INIT("jo\te:x\n"), ERR_SYNTAX, 0},
    {S_INIT("joe:a\0b\n"), ERR_SYNTAX, 0},
    {S_INIT("joe:a\njoe:b\n"), ERR_EXISTS, 0},
};

static void test_users(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct arena a = ARENA(1 << 16);
        struct sasl_policy policy;
        struct why w;
        if (sasl_users_parse(files[i].text, &a, &policy, &w) != files[i].e)
            fail_msg("row %zu", i);
        if (files[i].e == OK)
            assert_int_equal(policy.user_count, files[i].users);
        if (files[i].users == 2)
            assert_true(str_eq(policy.users[1].secret, S("a:b:c")));
        arena_free(&a);
    }
}

static void test_list(void **state) {
    (void)state;
    struct buf b = BUF(256);
    sasl_server_list(&any, true, true, &b);
    assert_string_equal(buf_cstr(&b), "OAUTHBEARER XOAUTH2 PLAIN LOGIN");
    buf_reset(&b);
    sasl_server_list(&table, true, false, &b);
    assert_string_equal(buf_cstr(&b), "SCRAM-SHA-256-PLUS SCRAM-SHA-256");
    buf_reset(&b);
    sasl_server_list(&table, false, true, &b);
    assert_string_equal(buf_cstr(&b), "SCRAM-SHA-256 OAUTHBEARER XOAUTH2 PLAIN LOGIN");
    buf_reset(&b);
    sasl_server_list(&any, true, false, &b);
    assert_int_equal(b.n, 0);
    sasl_server_list(&stored, true, true, &b);
    assert_string_equal(buf_cstr(&b), "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN");
    buf_free(&b);
}

/* RFC 5802 section 9: a hostile server asks for work without end. */
static void test_scram_iterations_are_bounded(void **state) {
    (void)state;
    static const struct {
        const char *iterations;
        bool good;
    } rows[] = {{"4096", true},
                {"600000", true},
                {"1000001", false},
                {"2147483647", false},
                {"99999999999999999999", false},
                {"", false},
                {"4096,x=y,i=2147483647", false}};
    struct sasl_account account = {.user = S("joe"), .secret = S("pencil")};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sasl_client c;
        struct buf challenge = BUF(500);
        assert_true(sasl_client_start(&c, sasl_mechanism_find(S("SCRAM-SHA-256")), &account));
        str first = buf_str(&c.response);
        str nonce = str_tail(first, str_find_str(first, S("r=")));
        buf_printf(&challenge, "%.*sabc,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=%s", STR_ARG(nonce), rows[i].iterations);
        assert_int_equal(sasl_client_step(&c, buf_str(&challenge)), rows[i].good);
        assert_true(rows[i].good || c.problem);
        sasl_client_end(&c);
        buf_free(&challenge);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exchanges),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_client_and_server),
        cmocka_unit_test(test_binding),
        cmocka_unit_test(test_stored),
        cmocka_unit_test(test_stranger),
        cmocka_unit_test(test_given_up),
        cmocka_unit_test(test_unproven),
        cmocka_unit_test(test_users),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_downgrade),
        cmocka_unit_test(test_scram_iterations_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
