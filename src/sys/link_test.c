#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sys/link.h"
#include "sys/log.h"

/* One end of a link as a test sees it. */
struct end {
    struct link *link;
    size_t frames, bytes, batches, drained;
    bool closed, pause_at_first;
    enum frame_type last;
    int fds[4]; /* that rode along */
    size_t fd_count;
};

static struct event_base *base;

static void on_frame(void *arg, struct link *l, const struct frame *f, int fd) {
    struct end *e = arg;
    e->frames++;
    e->last = f->type;
    if (f->type == FRAME_MAIL_BODY)
        e->bytes += f->mail_body.bytes.n;
    if (fd >= 0)
        e->fds[e->fd_count++] = fd;
    if (e->pause_at_first)
        link_pause(l);
}

static void on_close(void *arg, struct link *l) {
    struct end *e = arg;
    (void)l;
    e->closed = true;
    e->link = NULL;
}

static void on_drained(void *arg, struct link *l) {
    (void)l;
    ((struct end *)arg)->drained++;
}

static void on_batch(void *arg, struct link *l) {
    (void)l;
    ((struct end *)arg)->batches++;
}

static const struct link_ops ops = {on_frame, on_close, on_drained, on_batch};

static void turns(int n) {
    while (n-- > 0)
        event_base_loop(base, EVLOOP_NONBLOCK);
}

static void pair(struct end *smtpd, struct end *store) {
    int fd[2];
    *smtpd = *store = (struct end){0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    smtpd->link = link_open(base, fd[0], FRAME_STORE_TO_SMTPD, &ops, smtpd);
    store->link = link_open(base, fd[1], FRAME_SMTPD_TO_STORE, &ops, store);
    assert_true(smtpd->link && store->link);
}

static void unpair(struct end *a, struct end *b) {
    if (a->link)
        link_close(a->link);
    if (b->link)
        link_close(b->link);
}

static void send_body(struct end *e, size_t n) {
    static char bytes[FRAME_CHUNK];
    memset(bytes, 'x', sizeof bytes);
    link_send(e->link, &(struct frame){.type = FRAME_MAIL_BODY, .mail_body = {1, str_n(bytes, n)}});
}

static void frames_of_one_turn_come_as_one_batch(void **state) {
    struct end a, b;
    (void)state;
    pair(&a, &b);
    for (int i = 0; i < 100; i++)
        send_body(&a, 100);
    turns(2);
    assert_int_equal(b.frames, 100);
    assert_int_equal(b.bytes, 10000);
    assert_int_equal(b.batches, 1);
    unpair(&a, &b);
}

static void a_paused_receiver_holds_the_sender_back(void **state) {
    struct end a, b;
    (void)state;
    pair(&a, &b);
    link_pause(b.link);
    size_t sent = 0;
    for (; sent < 4 * (size_t)LINK_WINDOW; sent += FRAME_CHUNK)
        send_body(&a, FRAME_CHUNK);
    turns(100);
    assert_int_equal(b.frames, 0);
    assert_true(link_queued(a.link) > 2 * LINK_WINDOW);
    assert_int_equal(a.drained, 0);
    link_resume(b.link);
    turns(200);
    assert_int_equal(b.bytes, sent);
    assert_int_equal(link_queued(a.link), 0);
    assert_int_equal(a.drained, 1);
    unpair(&a, &b);
}

static void pausing_within_on_frame_takes_effect_at_once(void **state) {
    struct end a, b;
    (void)state;
    pair(&a, &b);
    b.pause_at_first = true;
    for (int i = 0; i < 5; i++)
        send_body(&a, 10);
    for (int i = 1; i <= 5; i++) {
        turns(3);
        assert_int_equal(b.frames, i);
        link_resume(b.link);
    }
    unpair(&a, &b);
}

static void credit_passes_a_paused_link(void **state) {
    struct end a, b;
    struct frame done = {.type = FRAME_MAIL_DONE, .mail_done = {.mail = 1}};
    (void)state;
    pair(&a, &b);
    link_pause(a.link); /* does not take answers, but may go on sending */
    link_send(b.link, &done);
    for (size_t sent = 0; sent < 8 * (size_t)LINK_WINDOW; sent += FRAME_CHUNK)
        send_body(&a, FRAME_CHUNK);
    turns(300);
    assert_int_equal(link_queued(a.link), 0);
    assert_int_equal(a.frames, 0);
    link_resume(a.link);
    turns(2);
    assert_int_equal(a.frames, 1);
    unpair(&a, &b);
}

static void a_wrong_direction_closes_only_that_link(void **state) {
    struct end a, b, c, d;
    (void)state;
    pair(&a, &b);
    pair(&c, &d);
    uint64_t dropped = log_count(EV_LINK_DROPPED);
    link_send(a.link, &(struct frame){.type = FRAME_READY});
    send_body(&c, 1);
    turns(3);
    assert_true(b.closed);
    assert_int_equal(b.frames, 0);
    assert_int_equal(log_count(EV_LINK_DROPPED), dropped + 1);
    assert_true(a.closed); /* by the end of file */
    assert_int_equal(d.frames, 1);
    unpair(&a, &b);
    unpair(&c, &d);
}

static void malformed_bytes_close_the_link(void **state) {
    static const char *const rubbish[] = {"\xff\xff\xff\xff\x01\x00\x01\x00", "\x08\x00\x00\x00\x24\x00\x09\x00",
                                          "\x02\x00\x00\x00\x24\x00\x01\x00", "\x08\x00\x00\x00\x24\x00\x01\x00",
                                          "\x08\x00\x00\x00\xee\xee\x01\x00"};
    (void)state;
    for (size_t i = 0; i < sizeof rubbish / sizeof *rubbish; i++) {
        struct end b = {0};
        int fd[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
        b.link = link_open(base, fd[1], FRAME_SMTPD_TO_STORE, &ops, &b);
        assert_int_equal(write(fd[0], rubbish[i], 8), 8);
        turns(2);
        assert_true(b.closed);
        assert_int_equal(b.frames, 0);
        close(fd[0]);
    }
}

static void too_much_credit_closes_the_link(void **state) {
    struct end b = {0};
    struct buf bytes = BUF(64);
    int fd[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    b.link = link_open(base, fd[1], FRAME_SMTPD_TO_STORE, &ops, &b);
    frame_put(&bytes, &(struct frame){.type = FRAME_CREDIT, .credit = {.bytes = UINT64_MAX}});
    assert_int_equal(write(fd[0], bytes.p, bytes.n), bytes.n);
    turns(2);
    assert_true(b.closed);
    buf_free(&bytes);
    close(fd[0]);
}

/* A frame in pieces of one byte is the same frame. */
static void frames_may_come_byte_by_byte(void **state) {
    struct end b = {0};
    struct buf bytes = BUF(1024);
    int fd[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    b.link = link_open(base, fd[1], FRAME_SMTPD_TO_STORE, &ops, &b);
    frame_put(&bytes, &(struct frame){.type = FRAME_MAIL_BODY, .mail_body = {1, S("hello")}});
    frame_put(&bytes, &(struct frame){.type = FRAME_MAIL_COMMIT, .mail_commit = {1}});
    for (size_t i = 0; i < bytes.n; i++) {
        assert_int_equal(write(fd[0], bytes.p + i, 1), 1);
        turns(1);
    }
    assert_int_equal(b.frames, 2);
    assert_int_equal(b.bytes, 5);
    close(fd[0]);
    turns(2);
    assert_true(b.closed);
    buf_free(&bytes);
}

static void descriptors_ride_with_their_frames(void **state) {
    struct end a, b;
    int fd[2], p[2];
    char c = 0;
    (void)state;
    a = b = (struct end){0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    assert_int_equal(pipe(p), 0);
    a.link = link_open(base, fd[0], FRAME_TO_SUPERVISOR, &ops, &a);
    b.link = link_open(base, fd[1], FRAME_TO_ROLE, &ops, &b);
    link_send(a.link, &(struct frame){.type = FRAME_CONFIG, .config = {S("x")}});
    link_send_fd(a.link, &(struct frame){.type = FRAME_LISTENER, .listener = {S("smtp")}}, p[0]);
    link_send_fd(a.link, &(struct frame){.type = FRAME_PEER, .peer = {1, 2}}, p[1]);
    link_send(a.link, &(struct frame){.type = FRAME_STOP});
    close(p[0]);
    close(p[1]);
    turns(6);
    assert_int_equal(b.frames, 4);
    assert_int_equal(b.last, FRAME_STOP);
    assert_int_equal(b.fd_count, 2);
    assert_int_equal(write(b.fds[1], "!", 1), 1);
    assert_int_equal(read(b.fds[0], &c, 1), 1);
    assert_int_equal(c, '!');
    close(b.fds[0]);
    close(b.fds[1]);
    unpair(&a, &b);
}

static void flush_waits_for_credit(void **state) {
    struct end a, b;
    (void)state;
    pair(&a, &b);
    link_pause(b.link);
    for (size_t sent = 0; sent < 2 * (size_t)LINK_WINDOW; sent += FRAME_CHUNK)
        send_body(&a, FRAME_CHUNK);
    assert_int_equal(link_flush(a.link, 20), ERR_TIMEOUT);
    unpair(&a, &b);
    pair(&a, &b);
    send_body(&a, 10);
    assert_int_equal(link_flush(a.link, 1000), OK);
    turns(2);
    assert_int_equal(b.frames, 1);
    unpair(&a, &b);
}

/* What the peer sent before it went is still delivered. */
static void last_words_are_heard(void **state) {
    struct end a, b;
    (void)state;
    pair(&a, &b);
    send_body(&a, 10);
    link_close(a.link);
    a.link = NULL;
    turns(1);
    if (b.link)
        link_send(b.link, &(struct frame){.type = FRAME_MAIL_DONE}); /* into a broken pipe */
    turns(3);
    assert_int_equal(b.frames, 1);
    assert_true(b.closed);
}

static int setup(void **state) {
    (void)state;
    log_setup("test", LOG_NO_INSTANCE, LOG_TEXT, EVENT_ERROR + 1); /* faults are what is tested: silence */
    base = event_base_new();
    return base ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    event_base_free(base);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_of_one_turn_come_as_one_batch),
        cmocka_unit_test(a_paused_receiver_holds_the_sender_back),
        cmocka_unit_test(pausing_within_on_frame_takes_effect_at_once),
        cmocka_unit_test(credit_passes_a_paused_link),
        cmocka_unit_test(a_wrong_direction_closes_only_that_link),
        cmocka_unit_test(malformed_bytes_close_the_link),
        cmocka_unit_test(too_much_credit_closes_the_link),
        cmocka_unit_test(frames_may_come_byte_by_byte),
        cmocka_unit_test(descriptors_ride_with_their_frames),
        cmocka_unit_test(flush_waits_for_credit),
        cmocka_unit_test(last_words_are_heard),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
