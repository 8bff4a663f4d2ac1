#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <event2/event.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sys/clock.h"
#include "sys/conn.h"
#include "sys/log.h"
#include "sys/tls.h"

static struct event_base *base;
static struct tls_set *set;
static SSL_CTX *client_context;

/* A server's side as a test sees it, and the client's descriptor. */
struct side {
    struct conn *conn;
    int fd;
    struct buf got;
    bool ended, tls, drained, deadline, closed, close_on_read, tls_on_read;
    enum err fault;
    char reason[80];
};

static void on_read(void *arg, struct conn *c, str bytes) {
    struct side *s = arg;
    buf_add(&s->got, bytes);
    if (s->tls_on_read) {
        conn_write(c, S("220 go\r\n"));
        conn_start_tls(c, tls_set_context(set, S("smtp")));
        s->tls_on_read = false;
    } else if (s->close_on_read) {
        conn_write(c, S("221 bye\r\n"));
        conn_close(c);
        s->conn = NULL;
    }
}

static void on_end(void *arg, struct conn *c) {
    (void)c;
    ((struct side *)arg)->ended = true;
}

static void on_tls(void *arg, struct conn *c) {
    (void)c;
    ((struct side *)arg)->tls = true;
}

static void on_drained(void *arg, struct conn *c) {
    (void)c;
    ((struct side *)arg)->drained = true;
}

static void on_deadline(void *arg, struct conn *c) {
    (void)c;
    ((struct side *)arg)->deadline = true;
}

static void on_close(void *arg, struct conn *c, enum err e, const char *reason) {
    struct side *s = arg;
    (void)c;
    s->closed = true;
    s->conn = NULL;
    s->fault = e;
    strncpy(s->reason, reason, sizeof s->reason - 1);
}

static const struct conn_ops ops = {on_read, on_end, on_tls, on_drained, on_deadline, on_close};
static const struct conn_ops ops_no_end = {on_read, NULL, NULL, NULL, on_deadline, on_close};

static void turns(int n) {
    while (n-- > 0)
        event_base_loop(base, EVLOOP_NONBLOCK);
}

static void open_side(struct side *s, const struct conn_ops *with) {
    int fd[2];
    *s = (struct side){.got = {.limit = 4 * 1024 * 1024}};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    fcntl(fd[0], F_SETFL, O_NONBLOCK);
    s->fd = fd[0];
    s->conn = conn_open(base, fd[1], with, s);
    assert_non_null(s->conn);
}

static void close_side(struct side *s) {
    if (s->conn)
        conn_abort(s->conn);
    close(s->fd);
    turns(3);
    buf_free(&s->got);
}

static void expect(int fd, const char *text) {
    char space[256] = "";
    ssize_t n = read(fd, space, sizeof space - 1);
    assert_int_equal(n, strlen(text));
    assert_string_equal(space, text);
}

static void bytes_go_both_ways(void **state) {
    struct side s;
    (void)state;
    open_side(&s, &ops);
    assert_int_equal(write(s.fd, "EHLO x\r\n", 8), 8);
    conn_write(s.conn, S("220 hello\r\n"));
    conn_write(s.conn, S("and more\r\n"));
    turns(2);
    assert_true(str_eq(buf_str(&s.got), S("EHLO x\r\n")));
    expect(s.fd, "220 hello\r\nand more\r\n");
    assert_int_equal(conn_unsent(s.conn), 0);
    close_side(&s);
}

static void a_paused_one_reads_nothing(void **state) {
    struct side s;
    (void)state;
    open_side(&s, &ops);
    conn_pause(s.conn);
    assert_int_equal(write(s.fd, "x", 1), 1);
    turns(3);
    assert_int_equal(s.got.n, 0);
    conn_resume(s.conn);
    turns(3);
    assert_int_equal(s.got.n, 1);
    close_side(&s);
}

static void close_sends_what_was_written(void **state) {
    struct side s;
    (void)state;
    open_side(&s, &ops);
    s.close_on_read = true;
    assert_int_equal(write(s.fd, "QUIT\r\n", 6), 6);
    turns(3);
    assert_int_equal(write(s.fd, "more\r\n", 6), 6); /* nobody's any more, but no reset either */
    turns(3);
    expect(s.fd, "221 bye\r\n");
    expect(s.fd, "");
    assert_false(s.closed);
    close_side(&s);
}

static void half_close_is_told(void **state) {
    struct side s;
    (void)state;
    open_side(&s, &ops);
    assert_int_equal(write(s.fd, "QUIT\r\n", 6), 6);
    shutdown(s.fd, SHUT_WR);
    turns(3);
    assert_int_equal(s.got.n, 6);
    assert_true(s.ended);
    conn_write(s.conn, S("221\r\n"));
    conn_close(s.conn);
    s.conn = NULL;
    turns(3);
    expect(s.fd, "221\r\n");
    close_side(&s);
    open_side(&s, &ops_no_end);
    shutdown(s.fd, SHUT_WR);
    turns(3);
    assert_true(s.closed);
    assert_int_equal(s.fault, ERR_CLOSED);
    close_side(&s);
}

static void a_peer_that_does_not_read_is_ended(void **state) {
    static char much[64 * 1024];
    struct side s;
    (void)state;
    open_side(&s, &ops);
    for (int i = 0; i < 20 && s.conn; i++) {
        conn_write(s.conn, str_n(much, sizeof much));
        turns(1);
    }
    assert_true(s.closed);
    assert_int_equal(s.fault, ERR_LIMIT);
    close_side(&s);
}

static void drained_is_told_once_it_is(void **state) {
    static char much[CONN_UNSENT_MAX - 1024];
    static char space[512 * 1024];
    struct side s;
    (void)state;
    open_side(&s, &ops);
    for (int i = 0; i < 2; i++) {
        conn_write(s.conn, str_n(much, sizeof much));
        turns(1);
        while (read(s.fd, space, sizeof space) > 0)
            turns(2);
    }
    assert_true(s.drained);
    assert_int_equal(conn_unsent(s.conn), 0);
    close_side(&s);
}

static void run_until(const bool *done) {
    uint64_t end = clock_mono_ms() + 5000;
    while (!*done && clock_mono_ms() < end)
        event_base_loop(base, EVLOOP_ONCE);
}

static void deadlines_come_and_can_be_moved(void **state) {
    struct side s, t;
    (void)state;
    open_side(&s, &ops);
    open_side(&t, &ops);
    uint64_t start = clock_mono_ms();
    conn_deadline(s.conn, 20);
    conn_deadline(s.conn, 60); /* later */
    conn_deadline(t.conn, 10);
    conn_deadline(t.conn, 0); /* never */
    run_until(&s.deadline);
    assert_true(s.deadline);
    assert_in_range(clock_mono_ms() - start, 60, 1000);
    assert_false(t.deadline);
    s.deadline = false;
    conn_deadline(s.conn, 5000);
    conn_deadline(s.conn, 10); /* sooner */
    run_until(&s.deadline);
    assert_in_range(clock_mono_ms() - start, 70, 1500);
    close_side(&s);
    close_side(&t);
}

/* ---- TLS ---- */

static SSL *client(int fd, const char *name) {
    struct why w;
    SSL *ssl = SSL_new(client_context);
    SSL_set_fd(ssl, fd);
    assert_int_equal(tls_client_name(ssl, name, &w), OK);
    SSL_set_connect_state(ssl);
    return ssl;
}

static bool client_handshake(SSL *ssl) {
    for (int i = 0; i < 20; i++) {
        if (SSL_do_handshake(ssl) == 1) {
            turns(2);
            return true;
        }
        turns(2);
    }
    return false;
}

static void tls_speaks_and_binds(void **state) {
    uint8_t ours[TLS_BINDING_SIZE], theirs[TLS_BINDING_SIZE];
    struct side s;
    char space[64] = "";
    (void)state;
    open_side(&s, &ops);
    SSL *ssl = client(s.fd, "localhost");
    conn_start_tls(s.conn, tls_set_context(set, S("smtps")));
    assert_true(client_handshake(ssl));
    assert_true(s.tls && conn_is_tls(s.conn));
    assert_string_equal(conn_tls_version(s.conn), "TLSv1.3");
    assert_string_equal(conn_tls_name(s.conn), "localhost");
    assert_int_equal(SSL_write(ssl, "EHLO\r\n", 6), 6);
    turns(2);
    assert_true(str_eq(buf_str(&s.got), S("EHLO\r\n")));
    conn_write(s.conn, S("250 ok\r\n"));
    turns(2);
    assert_int_equal(SSL_read(ssl, space, sizeof space), 8);
    assert_true(tls_binding(conn_ssl(s.conn), ours) && tls_binding(ssl, theirs));
    assert_memory_equal(ours, theirs, sizeof ours);
    conn_close(s.conn);
    s.conn = NULL;
    turns(2);
    assert_int_equal(SSL_read(ssl, space, sizeof space), 0);
    assert_int_equal(SSL_get_error(ssl, 0), SSL_ERROR_ZERO_RETURN); /* close_notify came */
    SSL_free(ssl);
    close_side(&s);
}

static void starttls_answers_in_plain_first(void **state) {
    struct side s;
    (void)state;
    open_side(&s, &ops);
    s.tls_on_read = true;
    assert_int_equal(write(s.fd, "STARTTLS\r\n", 10), 10);
    turns(3);
    expect(s.fd, "220 go\r\n");
    SSL *ssl = client(s.fd, "127.0.0.1");
    assert_true(client_handshake(ssl));
    assert_true(s.tls);
    SSL_free(ssl);
    close_side(&s);
}

static void rubbish_instead_of_a_handshake_is_an_error(void **state) {
    struct side s;
    (void)state;
    open_side(&s, &ops);
    conn_start_tls(s.conn, tls_set_context(set, S("smtps")));
    assert_int_equal(write(s.fd, "EHLO example.com\r\n", 18), 18);
    turns(3);
    assert_true(s.closed);
    assert_int_equal(s.fault, ERR_TLS);
    assert_true(s.reason[0]);
    close_side(&s);
}

static void old_versions_are_refused(void **state) {
    struct side s;
    (void)state;
    open_side(&s, &ops);
    conn_start_tls(s.conn, tls_set_context(set, S("smtps")));
    SSL *ssl = client(s.fd, "localhost");
    SSL_set_min_proto_version(ssl, TLS1_VERSION);
    SSL_set_max_proto_version(ssl, TLS1_1_VERSION);
    SSL_set_cipher_list(ssl, "ALL:@SECLEVEL=0");
    assert_false(client_handshake(ssl));
    SSL_free(ssl);
    close_side(&s);
}

static int save_session(SSL *ssl, SSL_SESSION *session) {
    (void)ssl;
    SSL_SESSION **kept = SSL_CTX_get_app_data(client_context);
    SSL_SESSION_free(*kept);
    *kept = session;
    return 1;
}

/* Another worker with the same ticket keys resumes the session; one without them makes a full handshake. */
static void tickets_are_shared(void **state) {
    SSL_SESSION *session = NULL;
    char space[8];
    (void)state;
    SSL_CTX_set_session_cache_mode(client_context, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_set_app_data(client_context, &session);
    SSL_CTX_sess_set_new_cb(client_context, save_session);
    for (int i = 0; i < 2; i++) {
        struct side s;
        open_side(&s, &ops);
        conn_start_tls(s.conn, tls_set_context(set, i ? S("default") : S("smtps")));
        SSL *ssl = client(s.fd, "localhost");
        if (session)
            SSL_set_session(ssl, session);
        assert_true(client_handshake(ssl));
        SSL_read(ssl, space, sizeof space); /* takes the ticket */
        assert_int_equal(SSL_session_reused(ssl), i);
        SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* else the session counts as spoilt */
        SSL_free(ssl);
        close_side(&s);
    }
    SSL_SESSION_free(session);
    SSL_CTX_sess_set_new_cb(client_context, NULL);
}

static void a_reload_does_not_touch_sessions(void **state) {
    struct why w;
    struct side s;
    (void)state;
    open_side(&s, &ops);
    conn_start_tls(s.conn, tls_set_context(set, S("smtps")));
    SSL *ssl = client(s.fd, "localhost");
    assert_true(client_handshake(ssl));
    assert_int_equal(tls_set_load(set, &w), OK);
    assert_int_equal(SSL_write(ssl, "x", 1), 1);
    turns(2);
    assert_int_equal(s.got.n, 1);
    SSL_free(ssl);
    close_side(&s);
}

static size_t heap_used(void) {
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

static void idle_ones_are_small(void **state) {
    enum { N = 50 };
    static struct side plain[N], tls[N];
    static SSL *ssl[N];
    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    skip();
#endif
    size_t before = heap_used();
    for (int i = 0; i < N; i++) {
        open_side(&plain[i], &ops);
        conn_write(plain[i].conn, S("220 hello\r\n"));
        conn_deadline(plain[i].conn, 300000);
    }
    turns(2);
    size_t each = (heap_used() - before) / N;
    print_message("an idle plain connection: %zu bytes of heap\n", each);
    assert_in_range(each, 100, 2048);
    size_t clients = 0;
    before = heap_used();
    for (int i = 0; i < N; i++) {
        open_side(&tls[i], &ops);
        conn_start_tls(tls[i].conn, tls_set_context(set, S("smtps")));
        size_t at = heap_used();
        ssl[i] = client(tls[i].fd, "localhost");
        clients += heap_used() - at;
        assert_true(client_handshake(ssl[i]));
    }
    size_t both = (heap_used() - before) / N; /* both ends are in this process: the bound is generous to neither */
    print_message("an idle TLS connection: %zu bytes of heap, both ends\n", both);
    assert_in_range(both, 1000, 64 * 1024);
    (void)clients;
    for (int i = 0; i < N; i++) {
        SSL_free(ssl[i]);
        close_side(&plain[i]);
        close_side(&tls[i]);
    }
}

/* ---- accepting ---- */

static int accepted[64];
static size_t accepted_count;

static void on_accept(void *arg, int fd) {
    (void)arg;
    accepted[accepted_count++] = fd;
}

static int dial(int listener) {
    struct sockaddr_in a;
    socklen_t n = sizeof a;
    getsockname(listener, (struct sockaddr *)&a, &n);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, n), 0);
    return fd;
}

static void out_of_descriptors_pauses_accepting(void **state) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct rlimit before, tight;
    struct conn_address who;
    int listener = socket(AF_INET, SOCK_STREAM, 0), clients[3];
    (void)state;
    assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(listener, 10), 0);
    struct acceptor *acceptor = acceptor_open(base, listener, on_accept, NULL);
    clients[0] = dial(listener);
    turns(2);
    assert_int_equal(accepted_count, 1);
    conn_peer_address(accepted[0], &who);
    assert_string_equal(who.text, "127.0.0.1");
    assert_true(who.port > 0);
    for (int i = 1; i < 3; i++)
        clients[i] = dial(listener);
    getrlimit(RLIMIT_NOFILE, &before);
    tight = before;
    int lowest = dup(listener); /* the next free number: at this limit there is none */
    close(lowest);
    tight.rlim_cur = (rlim_t)lowest;
    setrlimit(RLIMIT_NOFILE, &tight);
    uint64_t paused = log_count(EV_ACCEPT_PAUSED);
    turns(20);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(log_count(EV_ACCEPT_PAUSED), paused + 1); /* no spinning */
    bool never = false;
    uint64_t end = clock_mono_ms() + 3000;
    while (accepted_count < 3 && !never && clock_mono_ms() < end)
        event_base_loop(base, EVLOOP_ONCE);
    assert_int_equal(accepted_count, 3);
    acceptor_close(acceptor);
    for (int i = 0; i < 3; i++) {
        close(clients[i]);
        close(accepted[i]);
    }
}

static int setup(void **state) {
    struct why w;
    struct buf cert = BUF(64 * 1024), key = BUF(64 * 1024);
    uint8_t ticket[TLS_TICKET_KEY];
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    log_setup("test", LOG_NO_INSTANCE, LOG_TEXT, EVENT_ERROR + 1); /* faults are what is tested: silence */
    base = event_base_new();
    set = tls_set_new();
    if (tls_self_signed(S("mail.example"), &cert, &key, &w) != OK ||
        tls_check_pair(buf_str(&cert), buf_str(&key), "c", "k", &w) != OK)
        return -1;
    random_bytes(ticket, sizeof ticket);
    if (!tls_set_secret(set, S("tls.default.cert"), buf_str(&cert)) ||
        !tls_set_secret(set, S("tls.default.key"), buf_str(&key)) ||
        !tls_set_secret(set, S("ticket"), str_n(ticket, sizeof ticket)) || tls_set_load(set, &w) != OK)
        return -1;
    client_context = tls_client_context(false, NULL, &w);
    buf_free(&cert);
    buf_free(&key);
    return client_context ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    tls_set_free(set);
    SSL_CTX_free(client_context);
    event_base_free(base);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_both_ways),
        cmocka_unit_test(a_paused_one_reads_nothing),
        cmocka_unit_test(close_sends_what_was_written),
        cmocka_unit_test(half_close_is_told),
        cmocka_unit_test(a_peer_that_does_not_read_is_ended),
        cmocka_unit_test(drained_is_told_once_it_is),
        cmocka_unit_test(deadlines_come_and_can_be_moved),
        cmocka_unit_test(tls_speaks_and_binds),
        cmocka_unit_test(starttls_answers_in_plain_first),
        cmocka_unit_test(rubbish_instead_of_a_handshake_is_an_error),
        cmocka_unit_test(old_versions_are_refused),
        cmocka_unit_test(tickets_are_shared),
        cmocka_unit_test(a_reload_does_not_touch_sessions),
        cmocka_unit_test(idle_ones_are_small),
        cmocka_unit_test(out_of_descriptors_pauses_accepting),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
