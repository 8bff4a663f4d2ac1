/* The sendmail spool against an smtpd that is this file. */
#include "role/super_spool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { GREEDY = 4001, MODEST = 4002, FILES = 40, TURNS = 100 };

static struct {
    char dir[100];
    struct super_procs procs;
    struct link *smtpd;
    unsigned greedy, modest;
} w;

static void on_frame(void *arg, struct link *l, const struct frame *f, int fd) {
    (void)arg, (void)l;
    bool greedy = f->spooled.uid == GREEDY;
    struct frame_spool_done done = {f->spooled.tag, greedy ? ERR_LIMIT : OK, S("")};
    close(fd);
    w.greedy += greedy;
    w.modest += !greedy;
    super_spool_done(&w.procs.list[0], &done);
}

static void on_close(void *arg, struct link *l) {
    (void)arg, (void)l;
}

static void put_file(int number, uid_t uid) {
    char path[200];
    snprintf(path, sizeof path, "%s/%d.smtp", w.dir, number);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fchown(fd, uid, uid), 0);
    close(fd);
}

static void open_all(void) {
    static const struct link_ops ops = {.on_frame = on_frame, .on_close = on_close};
    int fd[2];
    snprintf(w.dir, sizeof w.dir, "/tmp/penfold-spool-XXXXXX");
    assert_non_null(mkdtemp(w.dir));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    w.procs.base = event_base_new();
    w.procs.count = 1;
    w.procs.list[0] = (struct super_proc){.role = ROLE_SMTPD, .ready = true};
    w.procs.list[0].link = link_open(w.procs.base, fd[0], FRAME_TO_SUPERVISOR, &ops, NULL);
    w.smtpd = link_open(w.procs.base, fd[1], FRAME_TO_ROLE, &ops, NULL);
}

static void close_all(void) {
    char path[200];
    super_spool_configure(&w.procs, &(struct conf){.spool = S("")});
    for (int i = 0; i <= FILES; i++) {
        snprintf(path, sizeof path, "%s/%d.smtp", w.dir, i);
        (void)unlink(path);
    }
    rmdir(w.dir);
    link_close(w.procs.list[0].link);
    link_close(w.smtpd);
    event_base_free(w.procs.base);
}

/* Whose account has reached its limit leaves more than can be in hand at a time, and they come first. */
static void nobody_holds_up_others(void **state) {
    (void)state;
    if (geteuid() != 0)
        skip();
    open_all();
    for (int i = 0; i < FILES; i++)
        put_file(i, GREEDY);
    struct conf c = {.spool = str_of(w.dir)};
    super_spool_configure(&w.procs, &c);
    super_spool_look(&w.procs);
    for (int i = 0; i < TURNS; i++)
        event_base_loop(w.procs.base, EVLOOP_NONBLOCK);
    assert_true(w.greedy > 0 && w.greedy < FILES); /* tried, and then left for a while */
    put_file(FILES, MODEST);
    for (int i = 0; i < TURNS; i++)
        event_base_loop(w.procs.base, EVLOOP_NONBLOCK);
    assert_int_equal(w.modest, 1);
    assert_true(w.greedy < FILES);
    close_all();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(nobody_holds_up_others)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
