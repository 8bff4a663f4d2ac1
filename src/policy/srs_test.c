#include "policy/srs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const str secrets[] = {S_INIT("new secret"), S_INIT("old secret")};
static const struct srs ours = {.secrets = secrets, .secret_count = 2, .domain = S_INIT("fwd.example"), .day = 20000};

static void forward(const struct srs *s, const char *sender, struct buf *out) {
    buf_reset(out);
    assert_int_equal(srs_forward(s, str_of(sender), out), OK);
}

static void test_there_and_back(void **state) {
    (void)state;
    static const char *const senders[] = {"ann@example.org",
                                          "a=b@example.org",
                                          "\"a b\"@example.org",
                                          "\"a\\\"@b\"@example.org",
                                          "j\xc3\xbc@example.org",
                                          "srs0@x",
                                          "-x@y"};
    for (size_t i = 0; i < sizeof senders / sizeof *senders; i++) {
        struct buf there = BUF(300), back = BUF(300);
        forward(&ours, senders[i], &there);
        assert_true(str_ends(buf_str(&there), S("@fwd.example")));
        assert_int_equal(srs_reverse(&ours, buf_str(&there), &back), OK);
        assert_string_equal(buf_cstr(&back), senders[i]);
        buf_free(&there);
        buf_free(&back);
    }
}

static void test_others_change_case(void **state) {
    (void)state;
    struct buf there = BUF(300), back = BUF(300);
    forward(&ours, "ann@example.org", &there);
    for (size_t i = 0; i < there.n; i++)
        there.p[i] = char_lower(there.p[i]);
    assert_int_equal(srs_reverse(&ours, buf_str(&there), &back), OK);
    assert_string_equal(buf_cstr(&back), "ann@example.org");
    buf_free(&there);
    buf_free(&back);
}

static void test_forwarded_twice(void **state) {
    (void)state;
    struct srs second = ours;
    struct buf one = BUF(300), two = BUF(300), three = BUF(300), back = BUF(300);
    second.domain = S("b.example");
    forward(&ours, "ann@x.org", &one);
    forward(&second, buf_cstr(&one), &two);
    assert_true(str_starts(buf_str(&two), S("SRS1=")));
    assert_int_equal(srs_reverse(&second, buf_str(&two), &back), OK);
    assert_string_equal(buf_cstr(&back), buf_cstr(&one)); /* to the first forwarder */
    /* a third one leaves the second out */
    struct srs third = ours;
    third.domain = S("c.example");
    forward(&third, buf_cstr(&two), &three);
    buf_reset(&back);
    assert_int_equal(srs_reverse(&third, buf_str(&three), &back), OK);
    assert_string_equal(buf_cstr(&back), buf_cstr(&one));
    /* others separate with + */
    buf_reset(&one);
    buf_add(&one, S("SRS0+abcd=ab=x.org=ann@a.example"));
    forward(&second, buf_cstr(&one), &two);
    buf_reset(&back);
    assert_int_equal(srs_reverse(&second, buf_str(&two), &back), OK);
    assert_string_equal(buf_cstr(&back), buf_cstr(&one));
    buf_free(&one);
    buf_free(&two);
    buf_free(&three);
    buf_free(&back);
}

static void test_age_and_secrets(void **state) {
    (void)state;
    struct buf there = BUF(300), back = BUF(300);
    struct srs later = ours, old = ours, stranger = ours;
    old.secrets = secrets + 1;
    old.secret_count = 1;
    forward(&old, "ann@example.org", &there);
    assert_int_equal(srs_reverse(&ours, buf_str(&there), &back), OK); /* all secrets verify */
    forward(&ours, "ann@example.org", &there);
    assert_int_equal(srs_reverse(&old, buf_str(&there), &back), ERR_DENIED);
    stranger.secret_count = 0;
    assert_int_equal(srs_reverse(&stranger, buf_str(&there), &back), ERR_DENIED);
    assert_int_equal(srs_forward(&stranger, S("a@b"), &back), ERR_NOMEM);
    later.day = ours.day + SRS_DAYS_MAX;
    assert_int_equal(srs_reverse(&later, buf_str(&there), &back), OK);
    later.day++;
    assert_int_equal(srs_reverse(&later, buf_str(&there), &back), ERR_TIMEOUT);
    later.day = ours.day - 1; /* made in the future */
    assert_int_equal(srs_reverse(&later, buf_str(&there), &back), ERR_TIMEOUT);
    for (size_t i = 0; i < there.n - 12; i++) { /* any change of what is before the @ */
        if (there.p[i] == '@')
            break;
        struct buf changed = BUF(300);
        buf_add(&changed, buf_str(&there));
        changed.p[i] = changed.p[i] == 'x' ? 'y' : 'x';
        assert_int_not_equal(srs_reverse(&ours, buf_str(&changed), &back), OK);
        buf_free(&changed);
    }
    buf_free(&there);
    buf_free(&back);
}

static void test_not_ours(void **state) {
    (void)state;
    static const struct {
        const char *address;
        enum err reverse, forward;
    } rows[] = {
        {"", ERR_NOT_FOUND, ERR_UNSUPPORTED},
        {"ann", ERR_NOT_FOUND, ERR_UNSUPPORTED},
        {"ann@[192.0.2.1]", ERR_NOT_FOUND, ERR_UNSUPPORTED},
        {"ann@example.org", ERR_NOT_FOUND, OK},
        {"SRS0@x", ERR_NOT_FOUND, OK},
        {"SRS0=@x", ERR_SYNTAX, OK},
        {"SRS0=a=b=c@x", ERR_SYNTAX, OK},
        {"SRS0=aaaaa=aa=c=d@x", ERR_DENIED, OK},
        {"SRS1=@x", ERR_SYNTAX, OK},
        {"SRS1=aaaaa=host=@x", ERR_DENIED, OK},
        {"SRS1=aaaaa==@x", ERR_SYNTAX, OK},
        {"a-local-part-that-is-long-by-itself@and-with.a.domain.that.is.long.example", ERR_NOT_FOUND, ERR_LIMIT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf out = BUF(300);
        assert_int_equal(srs_reverse(&ours, str_of(rows[i].address), &out), rows[i].reverse);
        assert_int_equal(out.n, 0);
        assert_int_equal(srs_forward(&ours, str_of(rows[i].address), &out), rows[i].forward);
        buf_free(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),  cmocka_unit_test(test_others_change_case),
        cmocka_unit_test(test_forwarded_twice), cmocka_unit_test(test_age_and_secrets),
        cmocka_unit_test(test_not_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
