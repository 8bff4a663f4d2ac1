#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/log.h"
#include "sys/sandbox.h"

#if defined(__SANITIZE_ADDRESS__)
#define SKIP_SANITIZED() skip()
#else
#define SKIP_SANITIZED() (void)0
#endif

/* Runs in a child of its own; true in the child is status 0 here.  A signal is 100 + its number. */
static int in_child(bool (*body)(void)) {
    int status;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(body() ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? 100 + WTERMSIG(status) : WEXITSTATUS(status);
}

static bool refused(long result) {
    return result < 0 && (errno == EPERM || errno == EACCES);
}

static char folder[] = "/tmp/penfold-sandbox-XXXXXX";

static void enter(enum role r) {
    sandbox_begin();
    sandbox_files(r == ROLE_STORE ? folder : NULL, r == ROLE_DELIVERY);
    sandbox_close(r);
}

static bool smtpd_can_do_nothing_else(void) {
    int one[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, one) != 0)
        return false;
    enter(ROLE_SMTPD);
    char *p = malloc(10 * 1024 * 1024); /* what it does need */
    bool alive = p && write(one[0], "x", 1) == 1 && read(one[1], p, 1) == 1;
    free(p);
    return alive && refused(open("/etc/passwd", O_RDONLY)) && refused(open("/tmp/x", O_WRONLY | O_CREAT, 0600)) &&
           refused(socket(AF_INET, SOCK_STREAM, 0)) && refused(fork()) && refused(kill(getppid(), 0)) &&
           refused(prctl(PR_SET_DUMPABLE, 1)) && refused(unlink("/tmp/x"));
}

static bool store_has_its_directory_only(void) {
    char path[256];
    enter(ROLE_STORE);
    snprintf(path, sizeof path, "%s/journal", folder);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    bool ok = fd >= 0 && write(fd, "x", 1) == 1 && fdatasync(fd) == 0 && ftruncate(fd, 0) == 0 && unlink(path) == 0;
    return ok && refused(open("/etc/passwd", O_RDONLY)) && refused(open("/tmp/x", O_WRONLY | O_CREAT, 0600)) &&
           refused(socket(AF_UNIX, SOCK_STREAM, 0)) && refused(accept4(0, NULL, NULL, 0));
}

static void *nothing(void *arg) {
    return arg;
}

static bool threads_may_be_started(void) {
    pthread_t t;
    void *result = NULL;
    enter(ROLE_STORE);
    return pthread_create(&t, NULL, nothing, folder) == 0 && pthread_join(t, &result) == 0 && result == folder;
}

static bool exec_is_death(void) {
    char *argv[] = {"true", NULL};
    enter(ROLE_HTTPD);
    execv("/bin/true", argv);
    return false;
}

static bool outlived(void) {
    sandbox_begin();
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
}

static void roles_get_what_they_need_and_no_more(void **state) {
    (void)state;
    SKIP_SANITIZED();
    assert_int_equal(in_child(smtpd_can_do_nothing_else), 0);
    assert_int_equal(in_child(store_has_its_directory_only), 0);
    assert_int_equal(in_child(threads_may_be_started), 0);
    assert_int_equal(in_child(exec_is_death), 100 + SIGSYS);
    assert_int_equal(in_child(outlived), 0);
}

static bool as_user_nobody(void) {
    struct why w;
    return sandbox_drop_root("nobody", true, &w) == OK && geteuid() != 0 && setuid(0) != 0;
}

static bool user_is_missing(void) {
    struct why w = {0};
    return sandbox_drop_root("no-such-user", true, &w) == ERR_NOT_FOUND && strstr(w.text, "no-such-user") &&
           sandbox_drop_root("no-such-user", false, &w) == OK && geteuid() == 0;
}

static void root_is_dropped_for_good(void **state) {
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(in_child(as_user_nobody), 0);
    assert_int_equal(in_child(user_is_missing), 0);
}

static int setup(void **state) {
    (void)state;
    log_setup("test", LOG_NO_INSTANCE, LOG_TEXT, EVENT_ERROR);
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roles_get_what_they_need_and_no_more),
        cmocka_unit_test(root_is_dropped_for_good),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
