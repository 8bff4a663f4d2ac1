#include "smtp/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define STR(tag, name) +1
#define NUM(tag, name) +1
enum {
    ROWS = 0
#include "smtp/envelope.def"
};
#undef STR
#undef NUM

static struct envelope_rcpt rcpts[] = {
    {S_INIT("a@b.example"), S_INIT("NOTIFY=NEVER ORCPT=rfc822;a@b")},
    {S_INIT("Postmaster"), S_INIT("")},
};

static struct envelope whole(void) {
    uint64_t n = 1;
    struct envelope e = {.rcpts = rcpts, .rcpt_count = 2};
#define STR(tag, name) e.name = S("value of " #name);
#define NUM(tag, name) e.name = UINT64_MAX - n++;
#include "smtp/envelope.def"
#undef STR
#undef NUM
    return e;
}

static void test_every_field_there_and_back(void **state) {
    (void)state;
    struct envelope e = whole(), back;
    struct buf b = BUF(10000);
    struct arena a = ARENA(10000);
    envelope_put(&b, &e);
    assert_int_equal(envelope_take(buf_str(&b), &a, &back), OK);
#define STR(tag, name) assert_true(str_eq(e.name, back.name));
#define NUM(tag, name) assert_true(e.name == back.name);
#include "smtp/envelope.def"
#undef STR
#undef NUM
    assert_int_equal(back.rcpt_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(str_eq(rcpts[i].address, back.rcpts[i].address));
        assert_true(str_eq(rcpts[i].params, back.rcpts[i].params));
    }
    buf_free(&b);
    arena_free(&a);
}

static void test_empty(void **state) {
    (void)state;
    struct envelope e = {0}, back;
    struct buf b = BUF(100);
    struct arena a = ARENA(100);
    envelope_put(&b, &e);
    assert_int_equal(b.n, 0);
    assert_int_equal(envelope_take(STR_NONE, &a, &back), OK);
    assert_int_equal(back.rcpt_count, 0);
    assert_int_equal(back.sender.n, 0);
    arena_free(&a);
}

static void test_unknown_tags_are_skipped(void **state) {
    (void)state;
    struct envelope back;
    struct buf b = BUF(100);
    struct arena a = ARENA(100);
    buf_u8(&b, 255);
    buf_lstr(&b, S("of the future"));
    buf_u8(&b, 17);
    buf_lstr(&b, S("s@x"));
    assert_int_equal(envelope_take(buf_str(&b), &a, &back), OK);
    assert_true(str_eq(back.sender, S("s@x")));
    buf_free(&b);
    arena_free(&a);
}

/* Every cut and every changed byte is read without harm; what is cut inside of a field is damaged. */
static void test_damage(void **state) {
    (void)state;
    struct envelope e = whole(), back;
    struct buf b = BUF(10000);
    struct arena a = ARENA(10000);
    envelope_put(&b, &e);
    size_t good = 0;
    for (size_t n = 0; n <= b.n; n++) {
        enum err err = envelope_take(str_head(buf_str(&b), n), &a, &back);
        assert_true(err == OK || err == ERR_CORRUPT);
        good += err == OK;
        arena_reset(&a);
    }
    assert_int_equal(good, 2 + ROWS + 1); /* at the ends of fields: none, each of the rows, each recipient */
    for (size_t i = 0; i < b.n; i++) {
        b.p[i] = (char)(b.p[i] ^ 0x80);
        (void)!envelope_take(buf_str(&b), &a, &back);
        b.p[i] = (char)(b.p[i] ^ 0x80);
        arena_reset(&a);
    }
    struct arena small = ARENA(8);
    assert_int_equal(envelope_take(buf_str(&b), &small, &back), ERR_NOMEM);
    buf_free(&b);
    arena_free(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field_there_and_back),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_unknown_tags_are_skipped),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
