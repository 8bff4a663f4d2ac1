#include "sys/whole.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* A stream of n bytes, which has come to its end. */
static int stream(size_t n) {
    int fds[2];
    char space[512];
    memset(space, 'x', sizeof space);
    assert_true(n <= sizeof space && pipe(fds) == 0 && write(fds[1], space, n) == (ssize_t)n);
    close(fds[1]);
    return fds[0];
}

static void test_streams(void **state) {
    (void)state;
    static const struct {
        size_t bytes, max;
        enum err e;
    } rows[] = {{0, 0, OK},          {0, 10, OK},       {9, 10, OK},         {10, 10, OK},
                {11, 10, ERR_LIMIT}, {1, 0, ERR_LIMIT}, {500, 10, ERR_LIMIT}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf b = {0};
        struct why w;
        int fd = stream(rows[i].bytes);
        assert_int_equal(whole_read_fd(fd, "it", rows[i].max, &b, &w), rows[i].e);
        if (rows[i].e == OK)
            assert_int_equal(b.n, rows[i].bytes);
        else
            assert_non_null(strstr(w.text, "it: larger than"));
        close(fd);
        buf_free(&b);
    }
}

static void test_files(void **state) {
    (void)state;
    struct buf b = {0};
    struct why w;
    assert_int_equal(whole_read_file("/nowhere/at/all", 10, &b, &w), ERR_NOT_FOUND);
    assert_string_equal(w.text, "/nowhere/at/all: No such file or directory");
    assert_int_equal(whole_read_file("/", 10, &b, &w), ERR_IO);
    assert_string_equal(w.text, "/: Is a directory");
    assert_int_equal(whole_read_file("/dev/zero", 1 << 20, &b, NULL), ERR_LIMIT);
    buf_reset(&b);
    assert_int_equal(whole_read_file("/proc/self/stat", 1 << 20, &b, &w), OK);
    assert_true(b.n > 10);
    buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_streams), cmocka_unit_test(test_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
