#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "dns/dns.h"
#include "role/resolver_core.h"

static void ask(struct resolver_core *c, uint64_t peer, uint64_t tag, const char *name, uint32_t type, uint64_t now) {
    assert_int_equal(resolver_core_ask(c, peer, tag, str_of(name), type, now), OK);
}

static void test_identical_ones_are_asked_once(void **state) {
    (void)state;
    struct resolver_core *c = resolver_core_new(1);
    uint64_t peer, tag;
    ask(c, 1, 10, "a.example", DNS_A, 0);
    ask(c, 2, 20, "A.Example", DNS_A, 0);
    ask(c, 1, 11, "a.example", DNS_AAAA, 0);
    struct resolver_question *q = resolver_core_next(c), *other = resolver_core_next(c);
    assert_true(str_eq(q->name, S("a.example")) && q->type == DNS_A && other->type == DNS_AAAA);
    assert_null(resolver_core_next(c));
    ask(c, 3, 30, "a.example", DNS_A, 0); /* while it is on its way */
    assert_null(resolver_core_next(c));
    assert_true(resolver_core_asker(c, q, &peer, &tag) && peer == 1 && tag == 10);
    assert_true(resolver_core_asker(c, q, &peer, &tag) && peer == 2 && tag == 20);
    assert_true(resolver_core_asker(c, q, &peer, &tag) && peer == 3 && tag == 30);
    assert_false(resolver_core_asker(c, q, &peer, &tag));
    resolver_core_done(c, q);
    ask(c, 1, 12, "a.example", DNS_A, 0); /* answered: a new one */
    assert_non_null(resolver_core_next(c));
    resolver_core_free(c);
}

static void test_so_many_at_a_time(void **state) {
    (void)state;
    struct resolver_core *c = resolver_core_new(1);
    struct resolver_question *q = NULL, *last = NULL;
    char name[32];
    for (unsigned i = 0; i < RESOLVER_ACTIVE_MAX + 2; i++) {
        snprintf(name, sizeof name, "n%u.example", i);
        ask(c, 1, i, name, DNS_A, 0);
    }
    for (unsigned i = 0; (q = resolver_core_next(c)); i++, last = q)
        assert_true(i < RESOLVER_ACTIVE_MAX);
    resolver_core_done(c, last);
    q = resolver_core_next(c);
    snprintf(name, sizeof name, "n%d.example", RESOLVER_ACTIVE_MAX);
    assert_true(str_eq(q->name, str_of(name)));
    assert_null(resolver_core_next(c));
    resolver_core_free(c);
}

static void test_refused(void **state) {
    (void)state;
    struct resolver_core *c = resolver_core_new(1);
    assert_int_equal(resolver_core_ask(c, 1, 1, S("a b"), DNS_A, 0), ERR_SYNTAX);
    assert_int_equal(resolver_core_ask(c, 1, 1, S(""), DNS_A, 0), ERR_SYNTAX);
    assert_int_equal(resolver_core_ask(c, 1, 1, S("a.example"), 0, 0), ERR_SYNTAX);
    assert_int_equal(resolver_core_ask(c, 1, 1, S("a.example"), 65536, 0), ERR_SYNTAX);
    for (unsigned i = 0; i < RESOLVER_WAITING_MAX; i++)
        ask(c, 1, i, "a.example", DNS_A, 0);
    assert_int_equal(resolver_core_ask(c, 1, 1, S("b.example"), DNS_A, 0), ERR_LIMIT);
    resolver_core_forget(c, 1);
    assert_int_equal(resolver_core_waiting(c), 0);
    resolver_core_free(c);
}

static void test_patience(void **state) {
    (void)state;
    struct resolver_core *c = resolver_core_new(1);
    uint64_t peer, tag;
    ask(c, 1, 1, "a.example", DNS_A, 0);
    struct resolver_question *q = resolver_core_next(c);
    assert_null(resolver_core_expired(c, RESOLVER_PATIENCE_MS - 1));
    assert_ptr_equal(resolver_core_expired(c, RESOLVER_PATIENCE_MS), q);
    assert_true(resolver_core_asker(c, q, &peer, &tag));
    assert_null(resolver_core_expired(c, RESOLVER_PATIENCE_MS)); /* told; it goes on */
    ask(c, 1, 2, "a.example", DNS_A, 40000);                     /* waits for the same, from now */
    assert_null(resolver_core_next(c));
    assert_null(resolver_core_expired(c, 40000 + RESOLVER_PATIENCE_MS - 1));
    assert_ptr_equal(resolver_core_expired(c, 40000 + RESOLVER_PATIENCE_MS), q);
    resolver_core_free(c);
}

static void test_a_peer_goes(void **state) {
    (void)state;
    struct resolver_core *c = resolver_core_new(1);
    uint64_t peer, tag;
    ask(c, 1, 1, "a.example", DNS_A, 0);
    ask(c, 2, 2, "a.example", DNS_A, 0);
    struct resolver_question *q = resolver_core_next(c);
    ask(c, 1, 3, "b.example", DNS_A, 0);
    resolver_core_forget(c, 1);
    assert_null(resolver_core_next(c)); /* nobody wants b.example */
    assert_true(resolver_core_asker(c, q, &peer, &tag) && peer == 2);
    assert_false(resolver_core_asker(c, q, &peer, &tag));
    resolver_core_free(c);
}

static void test_restart(void **state) {
    (void)state;
    struct resolver_core *c = resolver_core_new(1);
    ask(c, 1, 1, "a.example", DNS_A, 0);
    ask(c, 2, 2, "b.example", DNS_A, 0);
    ask(c, 1, 3, "c.example", DNS_A, 0);
    for (unsigned i = 0; i < 3; i++)
        assert_non_null(resolver_core_next(c));
    resolver_core_forget(c, 2);
    resolver_core_restart(c);
    assert_true(str_eq(resolver_core_next(c)->name, S("a.example")));
    assert_true(str_eq(resolver_core_next(c)->name, S("c.example")));
    assert_null(resolver_core_next(c));
    resolver_core_free(c);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identical_ones_are_asked_once),
        cmocka_unit_test(test_so_many_at_a_time),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_patience),
        cmocka_unit_test(test_a_peer_goes),
        cmocka_unit_test(test_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
