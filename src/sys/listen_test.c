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

#include "sys/listen.h"
#include "sys/metrics.h"

static char folder[] = "/tmp/penfold-listen-XXXXXX";
static struct arena arena = {.limit = 64 * 1024};

static struct conf_address address(const char *before, const char *middle, const char *behind) {
    struct conf_address a;
    struct why w;
    char text[256];
    snprintf(text, sizeof text, "%s%s%s", before, middle, behind);
    assert_int_equal(conf_address_parse(str_of(text), &arena, &a, &w), OK);
    return a;
}

static void a_port_in_use_is_told(void **state) {
    struct conf_address a = address("127.0.0.1:0", "", "");
    struct buf real = BUF(256);
    struct why w;
    int fd, other;
    (void)state;
    assert_int_equal(listen_open(&a, &fd, &w), OK);
    listen_address(fd, &real);
    assert_true(str_starts(buf_str(&real), S("127.0.0.1:")) && !str_ends(buf_str(&real), S(":0")));
    a = address("", buf_cstr(&real), "");
    assert_int_equal(listen_open(&a, &other, &w), ERR_EXISTS);
    assert_non_null(strstr(w.text, "another program listens on 127.0.0.1:"));
    close(fd);
    a = address("192.0.2.1:1025", "", "");
    assert_int_equal(listen_open(&a, &other, &w), ERR_NOT_FOUND);
    buf_free(&real);
}

static void only_a_stale_socket_file_is_replaced(void **state) {
    struct conf_address a = address("unix:", folder, "/s:0600"), file = address("unix:", folder, "/f");
    struct stat st;
    struct why w;
    char path[256];
    int fd, other;
    (void)state;
    assert_int_equal(listen_open(&a, &fd, &w), OK);
    snprintf(path, sizeof path, "%s/s", folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(listen_open(&a, &other, &w), ERR_EXISTS);
    close(fd);
    assert_int_equal(listen_open(&a, &fd, &w), OK); /* nobody answers any more */
    close(fd);
    unlink(path);
    snprintf(path, sizeof path, "%s/f", folder);
    fclose(fopen(path, "w"));
    assert_int_equal(listen_open(&file, &fd, &w), ERR_EXISTS);
    assert_int_equal(stat(path, &st), 0);
    unlink(path);
}

static void activated_sockets_are_found_by_name_and_address(void **state) {
    static struct listen_activated l;
    struct conf_address a = address("127.0.0.1:0", "", ""), b;
    struct buf real = BUF(256);
    struct why w;
    int fd[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(listen_open(&a, &fd[i], &w), OK);
        l.list[i].fd = fd[i];
    }
    l.count = 2;
    memcpy(l.list[0].name, "smtp", 5);
    memcpy(l.list[1].name, "unknown", 8);
    listen_address(fd[1], &real);
    b = address("", buf_cstr(&real), "");
    assert_int_equal(listen_activated_take(&l, S("http"), &a), -1);
    assert_int_equal(listen_activated_take(&l, S("smtp"), &a), fd[0]);
    assert_int_equal(listen_activated_take(&l, S("smtp"), &a), -1);
    assert_int_equal(listen_activated_take(&l, S("smtps"), &b), fd[1]);
    close(fd[0]);
    close(fd[1]);
    buf_free(&real);
}

static void counters_of_all_lives_are_summed(void **state) {
    struct metrics m = {.processes[ROLE_SMTPD] = 2, .restarts[ROLE_STORE] = 1};
    uint64_t one[EV_COUNT] = {0}, two[EV_COUNT] = {0};
    struct buf values = BUF(64 * 1024), text = BUF(64 * 1024);
    (void)state;
    for (size_t i = 0; i < EV_COUNT; i++)
        buf_u64(&values, 10 + i);
    assert_true(metrics_add(&m, one, buf_str(&values)));
    assert_true(metrics_add(&m, one, buf_str(&values))); /* the same again: nothing new */
    assert_true(metrics_add(&m, two, buf_str(&values))); /* another process */
    assert_int_equal(m.events[1], 22);
    assert_false(metrics_add(&m, one, str_head(buf_str(&values), values.n - 1)));
    metrics_put(&text, &m);
    assert_true(str_find_str(buf_str(&text), S("\npenfold_events_total{event=\"start\"} 20\n")) != SIZE_MAX);
    assert_true(str_find_str(buf_str(&text), S("\npenfold_role_processes{role=\"smtpd\"} 2\n")) != SIZE_MAX);
    assert_true(str_find_str(buf_str(&text), S("\npenfold_role_restarts_total{role=\"store\"} 1\n")) != SIZE_MAX);
    buf_free(&values);
    buf_free(&text);
}

static int setup(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    arena_free(&arena);
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_port_in_use_is_told),
        cmocka_unit_test(only_a_stale_socket_file_is_replaced),
        cmocka_unit_test(activated_sockets_are_found_by_name_and_address),
        cmocka_unit_test(counters_of_all_lives_are_summed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
