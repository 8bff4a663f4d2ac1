#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/fields.h"
#include "policy/directory.h"

/* ---- keys ---- */

static const struct {
    str address;
    enum err e;
    str key;
} keys[] = {
    {S_INIT("Ada@Example.ORG"), OK, S_INIT("ada@example.org")},
    {S_INIT("ada@example.org."), OK, S_INIT("ada@example.org")},
    {S_INIT("\"ada\"@example.org"), OK, S_INIT("ada@example.org")},
    {S_INIT("\"a\\da\"@example.org"), OK, S_INIT("ada@example.org")},
    {S_INIT("\"Ada Love\"@example.org"), OK, S_INIT("\"ada love\"@example.org")},
    {S_INIT("\"a@b\"@example.org"), OK, S_INIT("\"a@b\"@example.org")},
    {S_INIT("\"a..b\"@example.org"), OK, S_INIT("\"a..b\"@example.org")},
    {S_INIT("\"a\\\"b\"@example.org"), OK, S_INIT("\"a\\\"b\"@example.org")},
    {S_INIT("ada@b\xc3\xbc\x63her.example"), OK, S_INIT("ada@xn--bcher-kva.example")},
    {S_INIT("\xc3\xa4@example.org"), OK, S_INIT("\xc3\xa4@example.org")},
    {S_INIT("ada@[192.0.2.1]"), OK, S_INIT("ada@[192.0.2.1]")},
    {S_INIT("ada@[IPv6:2001:DB8::1]"), OK, S_INIT("ada@[ipv6:2001:db8::1]")},
    {S_INIT("Postmaster"), OK, S_INIT("postmaster")},
    {S_INIT("a%b@example.org"), OK, S_INIT("a%b@example.org")},
    {S_INIT("a!b@example.org"), OK, S_INIT("a!b@example.org")},
    {S_INIT(""), ERR_SYNTAX, S_INIT("")},
    {S_INIT("@example.org"), ERR_SYNTAX, S_INIT("")},
    {S_INIT("ada@"), ERR_SYNTAX, S_INIT("")},
    {S_INIT("ada@."), ERR_SYNTAX, S_INIT("")},
    {S_INIT("ada@a..b"), ERR_SYNTAX, S_INIT("")},
    {S_INIT("a b@example.org"), ERR_SYNTAX, S_INIT("")},
    {S_INIT("a..b@example.org"), ERR_SYNTAX, S_INIT("")},
    {S_INIT("a@b@example.org"), ERR_SYNTAX, S_INIT("")},
    {S_INIT("\"a@example.org"), ERR_SYNTAX, S_INIT("")},
    {S_INIT("\"a\"b@example.org"), ERR_SYNTAX, S_INIT("")},
    {S_INIT("a\n@example.org"), ERR_SYNTAX, S_INIT("")},
    {S_INIT("\xff@example.org"), ERR_SYNTAX, S_INIT("")},
    {S_INIT("a234567890123456789012345678901234567890123456789012345678901234X@example.org"), ERR_LIMIT, S_INIT("")},
};

static void test_keys(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct buf out = BUF(500);
        enum err e = address_key(keys[i].address, &out);
        if (e != keys[i].e || !str_eq(buf_str(&out), keys[i].key))
            fail_msg("row %zu: %s, \"%s\"", i, err_name(e), buf_cstr(&out));
        buf_free(&out);
    }
}

/* ---- a configuration ---- */

static const char conf_text[] = "account_messages_hour 100\n"
                                "postmaster boss@elsewhere.example\n"
                                "domain Example.ORG {\n}\n"
                                "domain example.net {\n alias_of example.org\n}\n"
                                "domain catch.example {\n catch_all ada@example.org\n}\n"
                                "domain plain.example {\n separator \"\"\n}\n"
                                "domain xn--bcher-kva.example {\n}\n"
                                "account Ada@example.org {\n senders \"bea@elsewhere.example, @lists.example\"\n"
                                " messages_hour 7\n quota 1KiB\n}\n"
                                "account bob@example.org {\n}\n"
                                "account x+y@example.org {\n}\n"
                                "account ada@plain.example {\n}\n"
                                "account ada@b\xc3\xbc\x63her.example {\n}\n"
                                "alias team@example.org {\n to \"ada@example.org, bob@example.org x@y.example\"\n}\n"
                                "alias bob@example.org {\n to carl@elsewhere.example\n keep yes\n}\n"
                                "alias sales@example.org {\n to s@elsewhere.example\n senders bob@example.org\n}\n"
                                "alias catch@catch.example {\n to ada@example.org\n}\n";

static struct directory *directory_of(const char *text) {
    struct conf c;
    struct conf_errors errors = {0};
    struct buf said = BUF(4096);
    struct why w;
    struct directory *d = directory_new(42);
    assert_non_null(d);
    if (conf_parse(str_of(text), "test", &c, &errors) != OK) {
        conf_errors_put(&said, &errors);
        fail_msg("%s", buf_cstr(&said));
    }
    if (directory_conf(d, &c, &w) != OK)
        fail_msg("%s", w.text);
    conf_errors_free(&errors);
    conf_free(&c);
    buf_free(&said);
    return d;
}

static void fields(struct buf *out, const char *name, const char *value) {
    fields_put(out, str_of(name), str_of(value));
}

static void add(struct directory *d, enum directory_kind kind, const char *key, const char *name, const char *value,
                uint64_t num) {
    struct buf f = BUF(1000);
    if (name)
        fields(&f, name, value);
    assert_int_equal(directory_put(d, kind, str_of(key), buf_str(&f), num), OK);
    buf_free(&f);
}

/* ---- lookups ---- */

static const struct {
    const char *address;
    enum directory_status status;
    const char *account, *detail, *targets, *via;
} lookups[] = {
    {"ada@example.org", DIRECTORY_IS_ACCOUNT, "ada@example.org", "", "", ""},
    {"ADA@EXAMPLE.org", DIRECTORY_IS_ACCOUNT, "ada@example.org", "", "", ""},
    {"ada+Lists@example.org", DIRECTORY_IS_ACCOUNT, "ada@example.org", "lists", "", ""},
    {"ada+a+b@example.org", DIRECTORY_IS_ACCOUNT, "ada@example.org", "a+b", "", ""},
    {"x+y@example.org", DIRECTORY_IS_ACCOUNT, "x+y@example.org", "", "", ""}, /* exactly goes first */
    {"+lists@example.org", DIRECTORY_UNKNOWN, "", "", "", ""},
    {"ada-lists@example.org", DIRECTORY_UNKNOWN, "", "", "", ""},
    {"ada+lists@plain.example", DIRECTORY_UNKNOWN, "", "", "", ""},
    {"\"ada\"@example.org", DIRECTORY_IS_ACCOUNT, "ada@example.org", "", "", ""},
    {"ada@example.net", DIRECTORY_IS_ACCOUNT, "ada@example.org", "", "", "alias_of example.org"},
    {"team@example.net", DIRECTORY_IS_ALIAS, "", "", "ada@example.org bob@example.org x@y.example",
     "alias team@example.org"},
    {"team+x@example.org", DIRECTORY_IS_ALIAS, "", "x", "ada@example.org bob@example.org x@y.example",
     "alias team@example.org"},
    {"bob@example.org", DIRECTORY_IS_ALIAS, "bob@example.org", "", "carl@elsewhere.example", "alias bob@example.org"},
    {"who@example.org", DIRECTORY_UNKNOWN, "", "", "", ""},
    {"who@catch.example", DIRECTORY_IS_ALIAS, "", "", "ada@example.org", "catch_all of catch.example"},
    {"who@elsewhere.example", DIRECTORY_NOT_LOCAL, "", "", "", ""},
    {"ada@XN--BCHER-KVA.example", DIRECTORY_IS_ACCOUNT, "ada@xn--bcher-kva.example", "", "", ""},
    {"ada@b\xc3\x9c\x63her.example", DIRECTORY_IS_ACCOUNT, "ada@xn--bcher-kva.example", "", "", ""},
    {"Postmaster", DIRECTORY_IS_ALIAS, "", "", "boss@elsewhere.example", "postmaster"},
    {"postmaster@plain.example", DIRECTORY_IS_ALIAS, "", "", "boss@elsewhere.example", "postmaster"},
    {"ada", DIRECTORY_IS_ACCOUNT, "ada@example.org", "", "", ""},
    {"who", DIRECTORY_UNKNOWN, "", "", "", ""},
    {"", DIRECTORY_NOT_LOCAL, "", "", "", ""},
    {"@", DIRECTORY_NOT_LOCAL, "", "", "", ""},
    /* what relays were fooled with: the domain is what stands behind the last @, and nothing else */
    {"ada%example.org@elsewhere.example", DIRECTORY_NOT_LOCAL, "", "", "", ""},
    {"victim%elsewhere.example@example.org", DIRECTORY_UNKNOWN, "", "", "", ""},
    {"elsewhere.example!victim@example.org", DIRECTORY_UNKNOWN, "", "", "", ""},
    {"\"victim@elsewhere.example\"@example.org", DIRECTORY_UNKNOWN, "", "", "", ""},
    {"victim@elsewhere.example@example.org", DIRECTORY_NOT_LOCAL, "", "", "", ""},
    {"ada@example.org.elsewhere.example", DIRECTORY_NOT_LOCAL, "", "", "", ""},
    {"ada@[127.0.0.1]", DIRECTORY_NOT_LOCAL, "", "", "", ""},
};

static void join(const struct directory_answer *a, struct buf *out) {
    for (size_t i = 0; i < a->target_count; i++)
        buf_printf(out, "%s%.*s", i ? " " : "", STR_ARG(a->targets[i]));
}

static void check_answer(size_t row, const struct directory_answer *a) {
    struct buf targets = BUF(1000);
    join(a, &targets);
    if (a->status != lookups[row].status || !str_eq(a->account, str_of(lookups[row].account)) ||
        !str_eq(a->detail, str_of(lookups[row].detail)) || !str_eq(a->via, str_of(lookups[row].via)) ||
        !str_eq(buf_str(&targets), str_of(lookups[row].targets)) || !str_eq(a->address, str_of(lookups[row].address)))
        fail_msg("row %zu (%s): status %d account %.*s detail %.*s via %.*s targets %s", row, lookups[row].address,
                 a->status, STR_ARG(a->account), STR_ARG(a->detail), STR_ARG(a->via), buf_cstr(&targets));
    buf_free(&targets);
}

/* Each answer is as it should be, here and at the other end of a link. */
static void test_lookups(void **state) {
    (void)state;
    struct directory *d = directory_of(conf_text);
    for (size_t i = 0; i < sizeof lookups / sizeof *lookups; i++) {
        struct arena a = ARENA(65536);
        struct buf wire = BUF(65536);
        struct directory_answer answer, told;
        directory_lookup(d, str_of(lookups[i].address), STR_NONE, &a, &answer);
        check_answer(i, &answer);
        directory_answer_put(&wire, &answer);
        assert_int_equal(directory_answer_take(buf_str(&wire), &a, &told), OK);
        check_answer(i, &told);
        assert_int_equal(told.keep, answer.keep);
        assert_int_equal(told.messages_hour, answer.messages_hour);
        for (size_t n = 0; n < wire.n; n++)
            assert_int_equal(directory_answer_take(str_head(buf_str(&wire), n), &a, &told), ERR_CORRUPT);
        buf_free(&wire);
        arena_free(&a);
    }
    directory_free(d);
}

static const struct {
    const char *user, *address;
    bool may;
} senders[] = {
    {"ada@example.org", "ada@example.org", true},
    {"ada@example.org", "Ada+lists@example.org", true},
    {"ada@example.org", "ada@example.net", true}, /* alias_of */
    {"ada@example.org", "bea@elsewhere.example", true},
    {"ada@example.org", "anybody@lists.example", true},
    {"ada@example.org", "anybody@sub.lists.example", false},
    {"ada@example.org", "bob@example.org", false},
    {"ada@example.org", "team@example.org", true}, /* is one of its targets */
    {"ada@example.org", "catch@catch.example", true},
    {"ada@example.org", "who@catch.example", false}, /* to receive by catch_all is not to send */
    {"ada@example.org", "sales@example.org", false},
    {"bob@example.org", "sales@example.org", true},
    {"bob@example.org", "bob@example.org", true}, /* an alias with keep */
    {"bob@example.org", "bea@elsewhere.example", false},
    {"bob", "bob@example.org", true},
    {"", "ada@example.org", false},
    {"who@example.org", "who@example.org", false},
    {"ada@example.org", "", false},
};

static void test_may_send(void **state) {
    (void)state;
    struct directory *d = directory_of(conf_text);
    for (size_t i = 0; i < sizeof senders / sizeof *senders; i++) {
        struct arena a = ARENA(65536);
        struct directory_answer answer;
        directory_lookup(d, str_of(senders[i].address), str_of(senders[i].user), &a, &answer);
        if (answer.may_send != senders[i].may)
            fail_msg("%s as %s", senders[i].user, senders[i].address);
        arena_free(&a);
    }
    directory_free(d);
}

static void test_limits_and_quota(void **state) {
    (void)state;
    struct directory *d = directory_of(conf_text);
    struct arena a = ARENA(65536);
    struct directory_answer ada, bob;
    directory_lookup(d, S("ada@example.org"), STR_NONE, &a, &ada);
    directory_lookup(d, S("bob@example.org"), STR_NONE, &a, &bob);
    assert_int_equal(ada.messages_hour, 7);
    assert_int_equal(bob.messages_hour, 100);
    assert_int_equal(bob.messages_day, 0);
    assert_false(ada.full);
    assert_int_equal(directory_use(d, S("ada@example.org"), 1023), OK);
    assert_int_equal(directory_use(d, S("bob@example.org"), 100000), OK);
    directory_lookup(d, S("ada@example.org"), STR_NONE, &a, &ada);
    directory_lookup(d, S("bob@example.org"), STR_NONE, &a, &bob);
    assert_false(ada.full);
    assert_false(bob.full);
    assert_int_equal(directory_use(d, S("ada@example.org"), 1024), OK);
    directory_lookup(d, S("ada@example.org"), STR_NONE, &a, &ada);
    assert_true(ada.full);
    arena_free(&a);
    directory_free(d);
}

static void test_login_names(void **state) {
    (void)state;
    struct directory *d = directory_of(conf_text);
    struct directory_entry e;
    assert_true(directory_account(d, S("ada"), &e));
    assert_true(str_eq(e.key, S("ada@example.org")));
    assert_true(directory_account(d, S("ADA@example.NET"), &e));
    assert_true(str_eq(e.key, S("ada@example.org")));
    assert_true(directory_account(d, S("bob@example.org"), &e)); /* though its mail goes elsewhere */
    assert_false(directory_account(d, S("team@example.org"), &e));
    assert_false(directory_account(d, S("who@catch.example"), &e));
    assert_false(directory_account(d, S("ada+x@example.org"), &e));
    directory_free(d);
}

/* ---- entries ---- */

static void test_database_behind_configuration(void **state) {
    (void)state;
    struct directory *d = directory_of("domain example.org {\n}\naccount ada@example.org {\n name File\n}\n");
    struct directory_entry e;
    add(d, DIRECTORY_ACCOUNT, "Ada@example.org", "name", "Database", 3);
    add(d, DIRECTORY_ACCOUNT, "bob@example.org", "name", "Bob", 4);
    assert_true(directory_get(d, DIRECTORY_ACCOUNT, S("ADA@example.org"), &e));
    assert_true(e.from_conf && e.num == 0 && str_eq(fields_get(e.fields, S("name")), S("File")));
    assert_true(directory_get(d, DIRECTORY_ACCOUNT, S("bob@example.org"), &e));
    assert_true(!e.from_conf && e.num == 4);
    add(d, DIRECTORY_ACCOUNT, "bob@example.org", "name", "Robert", 4);
    assert_true(directory_get(d, DIRECTORY_ACCOUNT, S("bob@example.org"), &e));
    assert_true(str_eq(fields_get(e.fields, S("name")), S("Robert")));
    assert_true(directory_remove(d, DIRECTORY_ACCOUNT, S("bob@example.org")));
    assert_false(directory_remove(d, DIRECTORY_ACCOUNT, S("bob@example.org")));
    assert_false(directory_get(d, DIRECTORY_ACCOUNT, S("bob@example.org"), &e));
    directory_free(d);
}

/* A new configuration replaces the old one's entries and leaves those of the database. */
static void test_again(void **state) {
    (void)state;
    struct conf c;
    struct conf_errors errors = {0};
    struct why w;
    struct directory_entry e;
    struct directory *d = directory_of("domain a.example {\n}\naccount ada@a.example {\n}\n");
    add(d, DIRECTORY_DOMAIN, "b.example", NULL, NULL, 1);
    assert_int_equal(conf_parse(S("domain c.example {\n}\naccount ada@missing.example {\n}\n"), "t", &c, &errors), OK);
    assert_int_equal(directory_conf(d, &c, &w), ERR_NOT_FOUND);
    assert_non_null(strstr(w.text, "t:3:"));
    conf_free(&c);
    assert_true(directory_get(d, DIRECTORY_ACCOUNT, S("ada@a.example"), &e));
    assert_int_equal(conf_parse(S("domain c.example {\n}\naccount ada@b.example {\n}\n"), "t", &c, &errors), OK);
    assert_int_equal(directory_conf(d, &c, &w), OK);
    conf_free(&c);
    assert_false(directory_get(d, DIRECTORY_ACCOUNT, S("ada@a.example"), &e));
    assert_false(directory_get(d, DIRECTORY_DOMAIN, S("a.example"), &e));
    assert_true(directory_get(d, DIRECTORY_DOMAIN, S("b.example"), &e));
    assert_true(directory_get(d, DIRECTORY_ACCOUNT, S("ada@b.example"), &e));
    conf_errors_free(&errors);
    directory_free(d);
}

static void test_first_domain(void **state) {
    (void)state;
    struct directory *d = directory_of("");
    struct directory_entry e;
    assert_false(directory_account(d, S("ada"), &e));
    add(d, DIRECTORY_DOMAIN, "b.example", NULL, NULL, 1);
    add(d, DIRECTORY_DOMAIN, "a.example", NULL, NULL, 2);
    add(d, DIRECTORY_ACCOUNT, "ada@b.example", NULL, NULL, 3);
    assert_true(directory_account(d, S("ada"), &e)); /* that was first, not that sorts first */
    directory_free(d);
}

static void test_next(void **state) {
    (void)state;
    static const char *const order[] = {"ab@b.example", "ada@a.example", "adb@a.example", "z@a.example"};
    struct directory *d = directory_of("domain a.example {\n}\ndomain b.example {\n}\n"
                                       "account z@a.example {\n}\naccount ada@a.example {\n}\n");
    struct directory_entry e = {0};
    size_t n = 0;
    add(d, DIRECTORY_ACCOUNT, "adb@a.example", NULL, NULL, 1);
    add(d, DIRECTORY_ACCOUNT, "ada@a.example", NULL, NULL, 2); /* the file's stands before it */
    add(d, DIRECTORY_ACCOUNT, "ab@b.example", NULL, NULL, 3);
    while (directory_next(d, DIRECTORY_ACCOUNT, STR_NONE, e.key, &e)) {
        assert_true(n < 4);
        assert_true(str_eq(e.key, str_of(order[n])));
        assert_int_equal(e.from_conf, n == 1 || n == 3);
        n++;
    }
    assert_int_equal(n, 4);
    e.key = STR_NONE;
    for (n = 0; directory_next(d, DIRECTORY_ACCOUNT, S("ad"), e.key, &e); n++)
        assert_true(str_starts(e.key, S("ad")));
    assert_int_equal(n, 2);
    directory_free(d);
}

static const struct {
    enum directory_kind kind;
    const char *key, *name, *value;
    enum err e;
} checks[] = {
    {DIRECTORY_DOMAIN, "new.example", NULL, NULL, OK},
    {DIRECTORY_DOMAIN, "new.example", "alias_of", "example.org", OK},
    {DIRECTORY_DOMAIN, "new.example", "alias_of", "missing.example", ERR_NOT_FOUND},
    {DIRECTORY_DOMAIN, "example.org", "alias_of", "example.org", ERR_SYNTAX},
    {DIRECTORY_DOMAIN, "example.org", "alias_of", "example.net", ERR_SYNTAX}, /* which is an alias of it */
    {DIRECTORY_DOMAIN, "new.example", "catch_all", "ada@example.org", OK},
    {DIRECTORY_DOMAIN, "new.example", "catch_all", "ada", ERR_SYNTAX},
    {DIRECTORY_DOMAIN, "new example", NULL, NULL, ERR_SYNTAX},
    {DIRECTORY_DOMAIN, "[192.0.2.1]", NULL, NULL, ERR_SYNTAX},
    {DIRECTORY_DOMAIN, "new.example", "quota", "1MiB", ERR_SYNTAX},
    {DIRECTORY_ACCOUNT, "new@example.org", NULL, NULL, OK},
    {DIRECTORY_ACCOUNT, "new@missing.example", NULL, NULL, ERR_NOT_FOUND},
    {DIRECTORY_ACCOUNT, "new", NULL, NULL, ERR_SYNTAX},
    {DIRECTORY_ACCOUNT, "new@example.org", "quota", "1GiB", OK},
    {DIRECTORY_ACCOUNT, "new@example.org", "quota", "1", ERR_SYNTAX},
    {DIRECTORY_ACCOUNT, "new@example.org", "qouta", "1GiB", ERR_SYNTAX},
    {DIRECTORY_ACCOUNT, "new@example.org", "app.phone", "$y$...", OK},
    {DIRECTORY_ACCOUNT, "new@example.org", "app.My Phone", "$y$...", ERR_SYNTAX},
    {DIRECTORY_ACCOUNT, "new@example.org", "senders", "a@b.example @c.example", OK},
    {DIRECTORY_ACCOUNT, "new@example.org", "senders", "a", ERR_SYNTAX},
    {DIRECTORY_ALIAS, "new@example.org", "to", "a@b.example", OK},
    {DIRECTORY_ALIAS, "new@example.org", "to", "a@b.example, ,c@d.example", OK},
    {DIRECTORY_ALIAS, "new@example.org", "to", ", ,", ERR_SYNTAX},
    {DIRECTORY_ALIAS, "new@example.org", NULL, NULL, ERR_SYNTAX},
    {DIRECTORY_ALIAS, "new@example.org", "to", "a@b.example c", ERR_SYNTAX},
    {DIRECTORY_TOKEN, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "role", "admin", OK},
    {DIRECTORY_TOKEN, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "role", "root", ERR_SYNTAX},
    {DIRECTORY_TOKEN, "secret", "role", "admin", ERR_SYNTAX},
    {0, "x", NULL, NULL, ERR_SYNTAX},
};

static void test_checks(void **state) {
    (void)state;
    struct directory *d = directory_of(conf_text);
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        struct buf f = BUF(1000);
        struct why w = {{0}};
        if (checks[i].name)
            fields(&f, checks[i].name, checks[i].value);
        enum err e = directory_check(d, checks[i].kind, str_of(checks[i].key), buf_str(&f), &w);
        if (e != checks[i].e || (e && !w.text[0]))
            fail_msg("row %zu: %s: %s", i, err_name(e), w.text);
        buf_free(&f);
    }
    directory_free(d);
}

static void test_changes(void **state) {
    (void)state;
    struct directory *d = directory_of("domain example.org {\n}\naccount file@example.org {\n}\n");
    struct buf change = BUF(1000), key = BUF(1000), merged = BUF(1000);
    struct why w;
    add(d, DIRECTORY_ACCOUNT, "ada@example.org", "name", "Ada", 3);
    fields(&change, "quota", "1GiB");
#define PUT(who, how)                                                                                                  \
    (buf_reset(&key), buf_reset(&merged),                                                                              \
     directory_check_put(d, DIRECTORY_ACCOUNT, S(who), buf_str(&change), how, &key, &merged, &w))
    assert_int_equal(PUT("ADA@Example.org", 0), OK);
    assert_string_equal(buf_cstr(&key), "ada@example.org");
    assert_true(str_eq(fields_get(buf_str(&merged), S("name")), S("Ada")));
    assert_true(str_eq(fields_get(buf_str(&merged), S("quota")), S("1GiB")));
    assert_int_equal(PUT("ada@example.org", 1), ERR_EXISTS);
    assert_int_equal(PUT("ada@example.org", 2), OK);
    assert_int_equal(PUT("new@example.org", 1), OK);
    assert_int_equal(PUT("new@example.org", 2), ERR_NOT_FOUND);
    assert_int_equal(PUT("file@example.org", 0), ERR_DENIED);
    buf_reset(&change);
    fields(&change, "name", "");
    assert_int_equal(PUT("ada@example.org", 0), OK);
    assert_int_equal(merged.n, 0);
#define REMOVE(kind, what) (buf_reset(&key), directory_check_remove(d, kind, S(what), &key, &w))
    add(d, DIRECTORY_DOMAIN, "b.example", NULL, NULL, 4);
    assert_int_equal(REMOVE(DIRECTORY_DOMAIN, "b.example"), OK);
    add(d, DIRECTORY_ALIAS, "a@b.example", "to", "x@y.example", 5);
    assert_int_equal(REMOVE(DIRECTORY_DOMAIN, "b.example"), ERR_EXISTS);
    assert_int_equal(REMOVE(DIRECTORY_DOMAIN, "example.org"), ERR_DENIED);
    assert_int_equal(REMOVE(DIRECTORY_ACCOUNT, "who@example.org"), ERR_NOT_FOUND);
    assert_int_equal(REMOVE(DIRECTORY_ACCOUNT, "ada@example.org"), OK);
    buf_free(&change);
    buf_free(&key);
    buf_free(&merged);
    directory_free(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),        cmocka_unit_test(test_lookups),
        cmocka_unit_test(test_may_send),    cmocka_unit_test(test_limits_and_quota),
        cmocka_unit_test(test_login_names), cmocka_unit_test(test_database_behind_configuration),
        cmocka_unit_test(test_again),       cmocka_unit_test(test_first_domain),
        cmocka_unit_test(test_next),        cmocka_unit_test(test_checks),
        cmocka_unit_test(test_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
