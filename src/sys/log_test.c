#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sys/log.h"

/* What `body` writes to stderr. */
static const char *written(void (*body)(void)) {
    static char space[32 * 1024];
    int p[2], before = dup(STDERR_FILENO);
    assert_int_equal(pipe(p), 0);
    dup2(p[1], STDERR_FILENO);
    body();
    dup2(before, STDERR_FILENO);
    close(before);
    close(p[1]);
    ssize_t n = read(p[0], space, sizeof space - 1);
    close(p[0]);
    space[n > 0 ? n : 0] = '\0';
    return space;
}

static void one(void) {
    log_event(EV_STORE_FULL, LOG_STR("path", S("a \"b\"\n\x01\xff")), LOG_NUM("free", -5), LOG_END);
}

static void text_is_escaped(void **state) {
    (void)state;
    log_setup("smtpd", 3, LOG_TEXT, EVENT_INFO);
    const char *line = written(one);
    assert_int_equal(line[10], 'T');
    assert_int_equal(line[23], 'Z');
    assert_string_equal(line + 24, " error smtpd[3] store_full: no space: new mail is refused with 452 until there is "
                                   "path=\"a \\\"b\\\"\\n\\x01\\xff\" free=-5\n");
}

static void json_is_json(void **state) {
    (void)state;
    log_setup("store", LOG_NO_INSTANCE, LOG_JSON, EVENT_INFO);
    const char *line = written(one);
    assert_non_null(strstr(line, "\"role\":\"store\",\"event\":\"store_full\",\"text\":\"no space"));
    assert_non_null(strstr(line, ",\"path\":\"a \\\"b\\\"\\n\\u0001"));
    assert_non_null(strstr(line, ",\"free\":-5}\n"));
}

static void systemd_gets_priorities(void **state) {
    (void)state;
    log_setup("store", LOG_NO_INSTANCE, LOG_JOURNAL, EVENT_INFO);
    assert_true(strncmp(written(one), "<3>store store_full: ", 21) == 0);
}

static void quiet(void) {
    log_event(EV_SMTP_CONNECT, LOG_END); /* debug */
}

static void below_the_level_is_counted_only(void **state) {
    (void)state;
    log_setup("smtpd", 0, LOG_TEXT, EVENT_INFO);
    uint64_t before = log_count(EV_SMTP_CONNECT);
    assert_string_equal(written(quiet), "");
    assert_int_equal(log_count(EV_SMTP_CONNECT), before + 1);
}

static void huge(void) {
    static char much[20000];
    memset(much, '\x01', sizeof much); /* four bytes each when escaped */
    str s = str_n(much, sizeof much);
    log_event(EV_STORE_FULL, LOG_STR("a", s), LOG_STR("b", s), LOG_STR("c", s), LOG_NUM("n", 7), LOG_END);
}

static void a_line_stays_a_line(void **state) {
    (void)state;
    log_setup("smtpd", 0, LOG_JSON, EVENT_INFO);
    const char *line = written(huge);
    assert_true(strlen(line) <= 8192);
    assert_int_equal(strcspn(line, "\n"), strlen(line) - 1);
    assert_non_null(strstr(line, "\"a\":\""));
    assert_non_null(strstr(line, "\"n\":7}\n"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_escaped),         cmocka_unit_test(json_is_json),
        cmocka_unit_test(systemd_gets_priorities), cmocka_unit_test(below_the_level_is_counted_only),
        cmocka_unit_test(a_line_stays_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
