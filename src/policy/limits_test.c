#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "policy/limits.h"

#define MINUTES(n) ((uint64_t)(n)*60 * 1000)
#define HOURS(n) MINUTES(60 * (n))

static const uint64_t start = HOURS(400000) + 1; /* long after 1970, at the start of a step */

static const struct limits_max ten_an_hour = {.messages_hour = 10};

static enum err take(struct limits *l, const struct limits_max *max, uint64_t at, uint32_t messages, uint32_t rcpts,
                     struct why *w) {
    return limits_take(l, S("ada@example.org"), max, start + at, messages, rcpts, w);
}

static void test_hour(void **state) {
    (void)state;
    struct limits *l = limits_new(1);
    struct why w;
    for (int i = 0; i < 10; i++)
        assert_int_equal(take(l, &ten_an_hour, MINUTES(i), 1, 1000, &w), OK);
    assert_int_equal(take(l, &ten_an_hour, MINUTES(10), 1, 1, &w), ERR_LIMIT);
    assert_string_equal(w.text,
                        "this account has reached its limit of 10 messages in an hour: try again in 55 minutes");
    assert_int_equal(limits_take(l, S("bob@example.org"), &ten_an_hour, start, 1, 1, &w), OK); /* his own count */
    assert_int_equal(take(l, &ten_an_hour, MINUTES(64), 1, 1, &w), ERR_LIMIT);
    for (int i = 0; i < 5; i++) /* those of the first five minutes are an hour old */
        assert_int_equal(take(l, &ten_an_hour, MINUTES(65), 1, 1, &w), OK);
    assert_int_equal(take(l, &ten_an_hour, MINUTES(65), 1, 1, &w), ERR_LIMIT);
    limits_free(l);
}

/* What the sentence says holds: at that time there is room, a minute before there is not. */
static void test_come_again(void **state) {
    (void)state;
    for (unsigned spread = 1; spread < 13; spread++) {
        struct limits *l = limits_new(1);
        struct why w;
        uint64_t at = 0;
        unsigned minutes = 0;
        while (take(l, &ten_an_hour, at, 1, 1, &w) == OK)
            at += MINUTES(spread);
        if (spread > 6) { /* 10 in more than an hour: no limit is met */
            limits_free(l);
            fail_msg("%u", spread);
        }
        assert_int_equal(sscanf(strstr(w.text, "again in "), "again in %u minute", &minutes), 1);
        assert_int_equal(take(l, &ten_an_hour, at + MINUTES(minutes) - MINUTES(1), 1, 1, &w), ERR_LIMIT);
        assert_int_equal(take(l, &ten_an_hour, at + MINUTES(minutes), 1, 1, &w), OK);
        limits_free(l);
        if (spread == 6)
            break;
    }
}

/* In no hour are there more than ten, however they come. */
static void test_sliding(void **state) {
    (void)state;
    struct limits *l = limits_new(1);
    struct why w;
    uint64_t taken[2000] = {0};
    size_t count = 0;
    for (uint64_t at = 0; at < HOURS(24); at += MINUTES(1) + 17)
        if (take(l, &ten_an_hour, at, 1, 1, &w) == OK)
            taken[count++] = at;
    assert_true(count > 200); /* and it is not much stricter than it must be */
    for (size_t i = 10; i < count; i++)
        assert_true(taken[i] - taken[i - 10] > HOURS(1));
    limits_free(l);
}

static void test_day_and_recipients(void **state) {
    (void)state;
    struct limits *l = limits_new(1);
    const struct limits_max max = {.messages_day = 3, .recipients_hour = 100, .recipients_day = 150};
    struct why w;
    assert_int_equal(take(l, &max, 0, 1, 101, &w), ERR_LIMIT);
    assert_string_equal(w.text, "too many recipients at once: this account may send to 100 in an hour");
    assert_int_equal(take(l, &max, 0, 1, 100, &w), OK); /* what was refused is not counted */
    assert_int_equal(take(l, &max, 0, 1, 1, &w), ERR_LIMIT);
    assert_int_equal(take(l, &max, HOURS(2), 1, 50, &w), OK);
    assert_int_equal(take(l, &max, HOURS(4), 1, 1, &w), ERR_LIMIT);
    assert_string_equal(w.text, "this account has reached its limit of 150 recipients in a day: try again in 21 hours");
    assert_int_equal(take(l, &max, HOURS(4), 1, 0, &w), OK);
    assert_int_equal(take(l, &max, HOURS(5), 1, 0, &w), ERR_LIMIT);
    assert_int_equal(take(l, &max, HOURS(25), 1, 100, &w), OK);
    limits_free(l);
}

static void test_none(void **state) {
    (void)state;
    struct limits *l = limits_new(1);
    const struct limits_max none = {0};
    struct why w;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(take(l, &none, 0, 1000000, 1000000, &w), OK);
    limits_free(l);
}

static void test_forgets(void **state) {
    (void)state;
    struct limits *l = limits_new(1);
    struct why w;
    char name[32];
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "u%d@example.org", i);
        assert_int_equal(limits_take(l, str_of(name), &ten_an_hour, start, 1, 1, &w), OK);
    }
    assert_int_equal(limits_count(l), 5000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(take(l, &ten_an_hour, HOURS(26 + i), 1, 1, &w), OK);
    assert_int_equal(limits_count(l), 1);
    limits_free(l);
}

static void test_clock_set_back(void **state) {
    (void)state;
    struct limits *l = limits_new(1);
    struct why w;
    assert_int_equal(take(l, &ten_an_hour, HOURS(3), 10, 1, &w), OK);
    assert_int_equal(take(l, &ten_an_hour, 0, 1, 1, &w), ERR_LIMIT);
    assert_int_equal(limits_take(l, S("x"), &ten_an_hour, 0, 1, 1, &w), OK);
    limits_free(l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hour),           cmocka_unit_test(test_come_again),
        cmocka_unit_test(test_sliding),        cmocka_unit_test(test_day_and_recipients),
        cmocka_unit_test(test_none),           cmocka_unit_test(test_forgets),
        cmocka_unit_test(test_clock_set_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
