#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "role/super_listen.h"
#include "role/super_proc.h"
#include "role/super_secret.h"
#include "role/super_want.h"

static void back_off_doubles_and_is_forgiven(void **state) {
    static const struct {
        uint64_t last, lived, next;
    } rows[] = {
        {0, 0, 100},       {100, 10, 200},        {200, 0, 400},       {6400, 5, 10000},
        {10000, 9, 10000}, {10000, 59999, 10000}, {10000, 60000, 100},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(super_backoff_ms(rows[i].last, rows[i].lived), rows[i].next);
}

static void parse(struct conf *c, const char *text) {
    struct conf_errors errors = {0};
    assert_int_equal(conf_parse(str_of(text), "test", c, &errors), OK);
    conf_errors_free(&errors);
}

static const struct super_listener *named(const struct super_listeners *s, const char *name) {
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->list[i].name, name) == 0)
            return &s->list[i];
    return NULL;
}

#define LISTEN_BLOCK(name, address) "listen " name " {\naddress " address "\n}\n"

static void the_next_table_keeps_what_stays(void **state) {
    static struct super_listeners now, next;
    static struct listen_activated none;
    struct conf one, two, bad;
    struct conf_errors errors = {0};
    enum err first = OK;
    char text[512];
    (void)state;
    parse(&one, "mode sandbox\n" LISTEN_BLOCK("a", "127.0.0.1:0") LISTEN_BLOCK("b", "127.0.0.2:0"));
    assert_true(super_listen_prepare(&next, &now, &one, &none, &errors, &first));
    super_listen_commit(&now, &next);
    int a = named(&now, "a")->fd;
    assert_int_not_equal(one.listens[0].address.port, 0); /* the configuration has the real one */

    snprintf(text, sizeof text, "mode sandbox\n" LISTEN_BLOCK("a", "127.0.0.1:0") LISTEN_BLOCK("c", "%s"),
             named(&now, "b")->actual);
    parse(&two, text);
    assert_true(super_listen_prepare(&next, &now, &two, &none, &errors, &first));
    assert_true(named(&next, "a")->kept && named(&next, "a")->fd == a);
    assert_false(named(&next, "c")->kept); /* another name: its roles do not have it yet */
    assert_true(named(&next, "c")->taken);
    super_listen_commit(&now, &next);
    assert_null(named(&now, "b"));

    parse(&bad, "mode sandbox\n" LISTEN_BLOCK("a", "127.0.0.1:0") LISTEN_BLOCK("d", "192.0.2.1:1025"));
    assert_false(super_listen_prepare(&next, &now, &bad, &none, &errors, &first));
    assert_int_equal(first, ERR_NOT_FOUND);
    assert_int_equal(named(&now, "a")->fd, a);
    struct stat st;
    assert_int_equal(fstat(a, &st), 0); /* the old table is as it was */
    super_listen_close(&now);
    conf_errors_free(&errors);
    conf_free(&one);
    conf_free(&two);
    conf_free(&bad);
}

static void a_sandbox_makes_its_own_certificate(void **state) {
    struct super_secrets one, two;
    struct conf_errors errors = {0};
    struct conf c;
    char folder[] = "/tmp/penfold-super-XXXXXX", text[256], path[256];
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(text, sizeof text, "mode sandbox\ndata %s\nlisten s {\naddress 127.0.0.1:0\ntls implicit\n}\n", folder);
    parse(&c, text);
    assert_true(super_secret_load(&one, &c, &errors));
    assert_int_equal(one.count, 2);
    assert_string_equal(one.list[0].name, "tls.default.cert");
    assert_string_equal(one.list[1].name, "tls.default.key");
    assert_true(super_secret_load(&two, &c, &errors));
    assert_true(str_eq(buf_str(&one.list[0].bytes), buf_str(&two.list[0].bytes)));
    super_secret_free(&one);
    super_secret_free(&two);
    static const char *const files[] = {"tls/cert.pem", "tls/key.pem"};
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        assert_int_equal(unlink(path), 0);
    }
    snprintf(path, sizeof path, "%s/tls", folder);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(folder), 0);
    conf_errors_free(&errors);
    conf_free(&c);
}

static void roles_follow_the_configuration(void **state) {
    (void)state;
    static const struct {
        const char *text;
        unsigned counts[ROLE_COUNT];
    } rows[] = {
        {"mode sandbox\nworkers 2\n", {[ROLE_STORE] = 1, [ROLE_SMTPD] = 2}},
        {"mode sandbox\nworkers 1\nlisten w {\nprotocol http\naddress 127.0.0.1:8025\n}\n",
         {[ROLE_STORE] = 1, [ROLE_SMTPD] = 1, [ROLE_HTTPD] = 1, [ROLE_CONTENT] = 1}},
        {"mode sandbox\nworkers 1\nroute hook {\naction webhook\nurl http://h/\n}\n",
         {[ROLE_STORE] = 1, [ROLE_SMTPD] = 1, [ROLE_RESOLVER] = 1, [ROLE_FILTER] = 1}},
        {"workers 2\ndelivery_workers 3\n",
         {[ROLE_STORE] = 1, [ROLE_SMTPD] = 2, [ROLE_DELIVERY] = 3, [ROLE_RESOLVER] = 1, [ROLE_KEYD] = 1}},
        {"mode sandbox\nworkers 1\nroute out {\nto *@example.org\naction smarthost\nhost mail.example.org\n}\n"
         "route hook {\naction webhook\nurl http://127.0.0.1/\n}\n",
         {[ROLE_STORE] = 1, [ROLE_SMTPD] = 1, [ROLE_DELIVERY] = 1, [ROLE_RESOLVER] = 1, [ROLE_FILTER] = 1}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct conf c;
        struct conf_errors errors = {0};
        assert_int_equal(conf_parse(str_of(rows[i].text), "test", &c, &errors), OK);
        for (enum role r = ROLE_SMTPD; r < ROLE_COUNT; r++)
            assert_int_equal(super_want(r, &c), rows[i].counts[r]);
        conf_errors_free(&errors);
        conf_free(&c);
    }
}

/* A key goes to the role that works with it and to nobody else. */
static void secrets_go_to_their_role_alone(void **state) {
    (void)state;
    static const struct {
        str name;
        enum role role;
    } rows[] = {
        {S_INIT("tls.default.key"), ROLE_SMTPD},
        {S_INIT("auth"), ROLE_SMTPD},
        {S_INIT("ticket"), ROLE_SMTPD},
        {S_INIT("srs"), ROLE_SMTPD},
        {S_INIT("keyd"), ROLE_KEYD},
        {S_INIT("dns.anchor"), ROLE_RESOLVER},
        {S_INIT("route.a.password"), ROLE_DELIVERY},
        {S_INIT("route.hook.secret"), ROLE_FILTER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (enum role r = ROLE_SMTPD; r < ROLE_COUNT; r++)
            assert_int_equal(super_wants_secret(r, rows[i].name), r == rows[i].role);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(back_off_doubles_and_is_forgiven),    cmocka_unit_test(the_next_table_keeps_what_stays),
        cmocka_unit_test(a_sandbox_makes_its_own_certificate), cmocka_unit_test(roles_follow_the_configuration),
        cmocka_unit_test(secrets_go_to_their_role_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
