#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "policy/route_trial.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const char conf_text[] = "listen web {\naddress 127.0.0.1:80\nprotocol http\n}\n"
                                "listen sub {\naddress 127.0.0.1:587\npolicy submission\n}\n"
                                "listen mx {\naddress 127.0.0.1:25\npolicy mx\n}\n"
                                "domain example.org {\n}\n"
                                "account ada@example.org {\n}\n"
                                "alias team@example.org {\nto ada@example.org eve@far.example\n}\n"
                                "route junk {\nheader \"X-Spam: yes\"\naction mailbox\nfolder Junk\n}\n"
                                "route no {\nto no@example.org\naction reject\ncode 451\ntext \"4.7.1 not now\"\n}\n"
                                "route sub {\nlistener sub\naction capture\n}\n";

/* A test block against the configuration above: "" when it holds, else the sentence. */
static void expectations(void **state) {
    (void)state;
    static const struct {
        const char *test, *said;
    } rows[] = {
        {"to ada@example.org\nexpect mailbox", ""},
        {"to ada@example.org\nexpect accept", ""},
        {"to ada@example.org\nexpect mailbox ada@example.org", ""},
        {"to ada@example.org\nexpect mailbox *@example.org", ""},
        {"to ada@example.org\nexpect mailbox ada@example.org/INBOX", ""},
        {"to ada+x@example.org\nexpect mailbox ada@example.org/x", ""},
        {"to ada@example.org\nexpect mailbox bob@example.org", "mailbox bob@example.org did not come"},
        {"to ada@example.org\nexpect relay", "relay did not come"},
        {"to ada@example.org\nheader X-Spam: Yes\nexpect route junk, mailbox ada@example.org/Junk", ""},
        {"to ada@example.org\nexpect route junk", "route junk did not come"},
        {"to team@example.org\nexpect mailbox ada@example.org, relay far.example", ""},
        {"to team@example.org\nexpect mailbox", "relay eve@far.example came, too"},
        {"to team@example.org\nexpect accept", ""},
        {"to no@example.org\nexpect reject", ""},
        {"to no@example.org\nexpect reject 451", ""},
        {"to no@example.org\nexpect reject 451 4.7.1, route no", ""},
        {"to no@example.org\nexpect reject 550", "reject 550 did not come"},
        {"to x@far.example\nexpect reject 550 5.7.1", ""},
        {"to x@far.example\nexpect accept", "accept did not come"},
        {"to x@far.example\nuser ada@example.org\nexpect capture", ""}, /* the listener that serves users */
        {"to x@far.example\nuser ada@example.org\nlistener mx\nexpect relay far.example", ""},
        {"to @a.example:x@far.example\nexpect reject 550", ""},
        {"to <ada@example.org>\nfrom <>\nexpect mailbox", ""},
        {"to a..b@example.org\nexpect reject 553", ""},
        {"to ada@example.org\nexpect postbox",
         "expect: \"postbox\" is not one of mailbox, relay, smarthost, lmtp, capture, pipe, webhook, discard, refused, "
         "accept, reject, route NAME"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct conf c;
        struct conf_errors errors = {0};
        struct buf text = BUF(1 << 16);
        struct why w = {""};
        struct arena a = ARENA(1 << 20);
        struct directory *dir = directory_new(1);
        struct route_decision d = {0};
        buf_printf(&text, "%stest t {\n%s\n}\n", conf_text, rows[i].test);
        assert_int_equal(conf_parse(buf_str(&text), "f", &c, &errors), OK);
        assert_int_equal(directory_conf(dir, &c, &w), OK);
        assert_int_equal(route_trial_test(&c, dir, &c.tests[0], &a, &d), OK);
        enum err e = route_expected(c.tests[0].expect, &d, &w);
        if ((e == OK) != !*rows[i].said)
            fprintf(stderr, "row %zu: %s\n", i, rows[i].test);
        assert_int_equal(e == OK, !*rows[i].said);
        if (e)
            assert_string_equal(w.text, rows[i].said);
        conf_free(&c);
        conf_errors_free(&errors);
        directory_free(dir);
        arena_free(&a);
        buf_free(&text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(expectations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
