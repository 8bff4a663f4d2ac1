/* load.c - asks one SMTP server for as much as it can take: N connections, a total of messages, every reply checked.
 * One thread, edge-triggered epoll, each write prepared beforehand, so that the generator costs little beside the
 * server.
 *
 * With PIPELINING a message is two exchanges, and the second carries the next message's commands (RFC 2920 3.1: the
 * content may be the first of a group):
 *     -> MAIL RCPT DATA           <- 250 250 354
 *     -> content . MAIL RCPT DATA <- 250 250 250 354      ...      -> content . QUIT <- 250 221
 * Prints one line of JSON.  Exit status 0: every message was taken. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"

enum {
    LINE = 512,
    READ = 16384,
    EVENTS = 256,
    CONNECTIONS_MAX = 20000,
    MESSAGES_MAX = 100000000,
    SIZE_MAX_BYTES = 1 << 28
};

struct options {
    const char *from, *to, *helo;
    unsigned long connections, messages, per_connection, size, timeout;
    bool tls, latency, no_pipelining;
};

/* What is sent, made once. */
enum piece { EHLO, MAIL, RCPT, DATA, GROUP, BODY, BODY_GROUP, BODY_QUIT, QUIT, PIECES };

struct conn {
    int fd;
    SSL *ssl;
    bool shaken, pipelining;
    const char *expect;           /* the replies that are to come, a letter each: see replies[] */
    str out;                      /* still to be written */
    bool dot;                     /* out ends a message: when it is written, the clock for the answer starts */
    unsigned long taken, claimed; /* messages of this connection: answered 250, and begun but not answered */
    int64_t dot_us;               /* when the last dot was written */
    char line[LINE];
    size_t line_n;
};

static struct options o = {.from = "bench@bench.test",
                           .to = "sink@bench.test",
                           .helo = "load.bench.test",
                           .connections = 1,
                           .messages = 1,
                           .size = 1024,
                           .timeout = 60};
static struct buf pieces[PIECES];
static struct conn *conns;
static SSL_CTX *tls;
static struct sockaddr_storage address;
static socklen_t address_size;
static int epoll_fd;
static unsigned long begun, sent, failed, live;
static uint32_t *latency_us;
static char first_failure[LINE];

static const struct {
    char letter;
    const char *code;
} replies[] = {{'g', "220"}, {'e', "250"}, {'m', "250"}, {'r', "250"}, {'d', "354"}, {'f', "250"}, {'q', "221"}};

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static void die(const char *what) {
    fprintf(stderr, "load: %s\n", what);
    exit(2);
}

/* ---- connections ---- */

static void conn_open(struct conn *c);

static void conn_close(struct conn *c) {
    SSL_free(c->ssl);
    close(c->fd);
    failed += c->claimed;
    live--;
    *c = (struct conn){.fd = -1};
    if (begun < o.messages)
        conn_open(c);
}

/* A connection that failed before it began a message takes one along, or a dead server would be asked for ever. */
static void conn_fail(struct conn *c, const char *what, const char *detail) {
    if (!*first_failure)
        snprintf(first_failure, sizeof first_failure, "%s%.400s", what, detail);
    if (c->claimed == 0 && c->taken == 0 && begun < o.messages) {
        begun++;
        c->claimed++;
    }
    conn_close(c);
}

static bool connect_to(struct conn *c) {
    int one = 1;
    c->fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die(strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (struct sockaddr *)&address, address_size) != 0 && errno != EINPROGRESS)
        return false;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e) != 0)
        die(strerror(errno));
    return true;
}

static void conn_open(struct conn *c) {
    *c = (struct conn){.expect = "g", .shaken = !o.tls};
    if (!connect_to(c))
        die(strerror(errno));
    live++;
    if (!o.tls)
        return;
    c->ssl = SSL_new(tls);
    if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1)
        die("no memory for TLS");
    SSL_set_connect_state(c->ssl);
}

/* ---- writing ---- */

static ssize_t put(struct conn *c) {
    if (!c->ssl)
        return send(c->fd, c->out.p, c->out.n, MSG_NOSIGNAL);
    int n = SSL_write(c->ssl, c->out.p, c->out.n > INT32_MAX ? INT32_MAX : (int)c->out.n);
    if (n > 0)
        return n;
    int e = SSL_get_error(c->ssl, n);
    errno = e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ? EAGAIN : EPIPE;
    return -1;
}

/* False: the connection is broken. */
static bool flush(struct conn *c) {
    while (c->out.n > 0) {
        if (c->dot) /* before the write that may bring the dot, or the answer could be there first */
            c->dot_us = now_us();
        ssize_t n = put(c);
        if (n < 0)
            return errno == EAGAIN;
        c->out = str_tail(c->out, (size_t)n);
    }
    c->dot = false;
    return true;
}

static void say(struct conn *c, enum piece p, const char *expect) {
    c->out = buf_str(&pieces[p]);
    c->expect = expect;
    c->dot = p == BODY || p == BODY_GROUP || p == BODY_QUIT;
}

/* ---- the conversation ---- */

static bool more_here(const struct conn *c) {
    return begun < o.messages && (o.per_connection == 0 || c->taken + c->claimed < o.per_connection);
}

static bool claim(struct conn *c) {
    if (!more_here(c))
        return false;
    begun++;
    c->claimed++;
    return true;
}

static void next_message(struct conn *c) {
    if (!claim(c))
        say(c, QUIT, "q");
    else if (c->pipelining)
        say(c, GROUP, "mrd");
    else
        say(c, MAIL, "m");
}

static void content(struct conn *c) {
    if (!c->pipelining)
        say(c, BODY, "f");
    else if (claim(c))
        say(c, BODY_GROUP, "fmrd");
    else
        say(c, BODY_QUIT, "fq");
}

static void taken(struct conn *c) {
    latency_us[sent++] = (uint32_t)(now_us() - c->dot_us);
    c->taken++;
    c->claimed--;
}

/* The last line of a good reply has come.  False: the connection is over. */
static bool on_reply(struct conn *c, char letter) {
    bool last = *++c->expect == '\0';
    if (letter == 'f')
        taken(c);
    if (letter == 'q') {
        conn_close(c);
        return false;
    }
    if (!last)
        return true;
    switch (letter) {
    case 'g': say(c, EHLO, "e"); break;
    case 'e': next_message(c); break;
    case 'm': say(c, RCPT, "r"); break;
    case 'r': say(c, DATA, "d"); break;
    case 'd': content(c); break;
    default: next_message(c); break;
    }
    return true;
}

static const char *code_of(char letter) {
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++)
        if (replies[i].letter == letter)
            return replies[i].code;
    return "";
}

/* One line, without its LF, NUL behind it.  False: the connection is over. */
static bool on_line(struct conn *c) {
    char letter = *c->expect;
    if (letter == '\0' || strncmp(c->line, code_of(letter), 3) != 0) {
        conn_fail(c, "unexpected reply: ", c->line);
        return false;
    }
    if (letter == 'e' && strncasecmp(c->line + 4, "PIPELINING", 10) == 0)
        c->pipelining = !o.no_pipelining;
    return c->line[3] == '-' || on_reply(c, letter);
}

static bool on_input(struct conn *c, const char *p, size_t n) {
    while (n > 0) {
        const char *end = memchr(p, '\n', n);
        size_t part = end ? (size_t)(end - p) : n, room = sizeof c->line - 1 - c->line_n;
        size_t keep = part < room ? part : room;
        memcpy(c->line + c->line_n, p, keep);
        c->line_n += keep;
        p += part + (end != NULL);
        n -= part + (end != NULL);
        if (!end)
            return true;
        c->line[c->line_n] = '\0';
        c->line_n = 0;
        if (!on_line(c))
            return false;
    }
    return true;
}

static ssize_t get(struct conn *c, char *p, size_t n) {
    if (!c->ssl)
        return recv(c->fd, p, n, 0);
    int got = SSL_read(c->ssl, p, (int)n);
    if (got > 0)
        return got;
    int e = SSL_get_error(c->ssl, got);
    errno = e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ? EAGAIN : EPIPE;
    return e == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

static bool shake(struct conn *c) {
    if (c->shaken)
        return true;
    int rc = SSL_do_handshake(c->ssl);
    c->shaken = rc == 1;
    if (c->shaken)
        return true;
    int e = SSL_get_error(c->ssl, rc);
    if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE)
        conn_fail(c, "TLS handshake failed", "");
    return false;
}

static const char *socket_error(const struct conn *c) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    return strerror(error);
}

static void on_event(struct conn *c, uint32_t events) {
    char space[READ];
    if (c->fd < 0)
        return;
    if (events & EPOLLERR) {
        conn_fail(c, "connection: ", socket_error(c));
        return;
    }
    if (!shake(c))
        return;
    for (;;) {
        if (!flush(c)) {
            conn_fail(c, "writing: ", strerror(errno));
            return;
        }
        ssize_t n = get(c, space, sizeof space);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            conn_fail(c, "the server closed the connection", "");
            return;
        }
        if (!on_input(c, space, (size_t)n))
            return;
        /* A short read has emptied the socket: the next byte is a new event (epoll(7)).  Not so with TLS. */
        if (!c->ssl && c->out.n == 0 && (size_t)n < sizeof space)
            return;
    }
}

static void run(void) {
    struct epoll_event events[EVENTS];
    for (unsigned long i = 0; i < o.connections; i++)
        conn_open(&conns[i]);
    while (live > 0) {
        int n = epoll_wait(epoll_fd, events, EVENTS, (int)o.timeout * 1000);
        if (n == 0) {
            snprintf(first_failure, sizeof first_failure, "nothing happened for %lu s", o.timeout);
            failed += o.messages - sent - failed;
            return;
        }
        for (int i = 0; i < n; i++)
            on_event(events[i].data.ptr, events[i].events);
    }
}

/* ---- before and after ---- */

static void make_body(struct buf *b) {
    buf_printf(b,
               "From: <%s>\r\nTo: <%s>\r\nSubject: load\r\nDate: Mon, 23 Nov 2026 06:13:31 +0000\r\n"
               "Message-ID: <load@bench.test>\r\n\r\n",
               o.from, o.to);
    while (b->n + 2 < o.size) {
        size_t left = o.size - b->n - 2;
        buf_fill(b, (char)('a' + b->n % 26), left < 76 ? left : 76);
        buf_add(b, S("\r\n"));
    }
    buf_add(b, S(".\r\n"));
}

static void make_pieces(void) {
    for (int i = 0; i < PIECES; i++)
        pieces[i] = BUF(SIZE_MAX_BYTES + 4096);
    buf_printf(&pieces[EHLO], "EHLO %s\r\n", o.helo);
    buf_printf(&pieces[MAIL], "MAIL FROM:<%s>\r\n", o.from);
    buf_printf(&pieces[RCPT], "RCPT TO:<%s>\r\n", o.to);
    buf_add(&pieces[DATA], S("DATA\r\n"));
    buf_add(&pieces[QUIT], S("QUIT\r\n"));
    make_body(&pieces[BODY]);
    static const struct {
        enum piece whole, parts[3];
        unsigned count;
    } sums[] = {{GROUP, {MAIL, RCPT, DATA}, 3}, {BODY_GROUP, {BODY, GROUP}, 2}, {BODY_QUIT, {BODY, QUIT}, 2}};
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++)
        for (unsigned j = 0; j < sums[i].count; j++)
            buf_add(&pieces[sums[i].whole], buf_str(&pieces[sums[i].parts[j]]));
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double at_ms(double part) {
    return sent ? latency_us[(size_t)((double)(sent - 1) * part)] / 1000.0 : 0;
}

static void report(double seconds) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    double cpu =
        (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    qsort(latency_us, sent, sizeof *latency_us, by_value);
    printf("{\"sent\":%lu,\"failed\":%lu,\"seconds\":%.4f,\"rate\":%.1f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,", sent, failed,
           seconds, (double)sent / seconds, at_ms(0.5), at_ms(0.99));
    if (o.latency)
        printf("\"min_ms\":%.3f,\"p90_ms\":%.3f,\"p999_ms\":%.3f,\"max_ms\":%.3f,", at_ms(0), at_ms(0.9), at_ms(0.999),
               at_ms(1));
    printf("\"cpu_seconds\":%.4f}\n", cpu);
    if (*first_failure)
        fprintf(stderr, "load: the first failure: %s\n", first_failure);
}

static void resolve(char *server) {
    char *colon = strrchr(server, ':');
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (!colon)
        die("--server HOST:PORT");
    *colon = '\0';
    if (*server == '[' && colon > server && colon[-1] == ']') {
        colon[-1] = '\0';
        server++;
    }
    int rc = getaddrinfo(server, colon + 1, &hints, &found);
    if (rc != 0)
        die(gai_strerror(rc));
    address_size = found->ai_addrlen;
    memcpy(&address, found->ai_addr, address_size);
    freeaddrinfo(found);
}

static unsigned long number(const char *text, unsigned long max) {
    uint64_t v;
    if (!str_u64(str_of(text), &v) || v > max)
        die("a number is out of range");
    return (unsigned long)v;
}

static void take_options(int argc, char **argv) {
    static const struct option names[] = {{"server", 1, 0, 's'},
                                          {"connections", 1, 0, 'c'},
                                          {"messages", 1, 0, 'm'},
                                          {"per-connection", 1, 0, 'k'},
                                          {"size", 1, 0, 'z'},
                                          {"tls", 1, 0, 't'},
                                          {"latency", 0, 0, 'l'},
                                          {"no-pipelining", 0, 0, 'n'},
                                          {"timeout", 1, 0, 'w'},
                                          {"from", 1, 0, 'f'},
                                          {"to", 1, 0, 'r'},
                                          {"ehlo", 1, 0, 'e'},
                                          {0}};
    int letter;
    bool server = false;
    while ((letter = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (letter) {
        case 's':
            resolve(optarg);
            server = true;
            break;
        case 'c': o.connections = number(optarg, CONNECTIONS_MAX); break;
        case 'm': o.messages = number(optarg, MESSAGES_MAX); break;
        case 'k': o.per_connection = number(optarg, MESSAGES_MAX); break;
        case 'z': o.size = number(optarg, SIZE_MAX_BYTES); break;
        case 't': o.tls = strcmp(optarg, "implicit") == 0; break;
        case 'l': o.latency = true; break;
        case 'n': o.no_pipelining = true; break;
        case 'w': o.timeout = number(optarg, 3600); break;
        case 'f': o.from = optarg; break;
        case 'r': o.to = optarg; break;
        case 'e': o.helo = optarg; break;
        default: exit(64);
        }
    }
    if (!server || !o.messages || !o.connections || !o.timeout)
        die("load --server HOST:PORT [--connections N] [--messages TOTAL] [--per-connection K] [--size BYTES]\n"
            "          [--tls none|implicit] [--latency] [--no-pipelining] [--timeout SECONDS] [--from A] [--to A] "
            "[--ehlo NAME]");
    if (o.connections > o.messages)
        o.connections = o.messages;
}

static void prepare_tls(void) {
    if (!o.tls)
        return;
    tls = SSL_CTX_new(TLS_client_method());
    if (!tls)
        die("no memory for TLS");
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(tls, 1);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    take_options(argc, argv);
    struct rlimit files = {o.connections + 64, o.connections + 64}, now;
    if (getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_cur < files.rlim_cur)
        setrlimit(RLIMIT_NOFILE, &files);
    prepare_tls();
    make_pieces();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    conns = calloc(o.connections, sizeof *conns);
    latency_us = calloc(o.messages, sizeof *latency_us);
    if (epoll_fd < 0 || !conns || !latency_us)
        die("no memory");
    int64_t start = now_us();
    run();
    report((double)(now_us() - start) / 1e6);
    return failed || sent != o.messages;
}
