#include "cli/send_run.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/code.h"
#include "sys/tls.h"

enum { READ_SIZE = 16384, REPLY_TEXTS_MAX = 1 << 22, MESSAGE_MAX = 1 << 30, PROGRESS_MS = 200 };

enum phase { CONNECTING, SHAKING, TALKING, OVER };

struct run;

/* One connection and the mail it carries. */
struct call {
    struct run *run;
    unsigned number;
    enum phase phase;
    int fd;
    short events;
    SSL *ssl;
    struct addrinfo *next; /* to try when this address fails */
    int64_t phase_end_ms;  /* while the client is not asked: CONNECTING, SHAKING */
    int64_t start_us;
    struct smtp_client client;
    uint8_t binding[TLS_BINDING_SIZE];
    bool has_mail;
    struct smtp_client_mail mail;
    struct smtp_client_rcpt *rcpts;
    struct arena texts;
    struct buf space;
    str message;
    size_t message_at;
};

struct run {
    const struct send_plan *plan;
    struct send_result *result;
    SSL_CTX *tls;
    struct addrinfo *addresses;
    struct call *calls;
    unsigned live;
    uint64_t next; /* number of the next message */
    int64_t progress_ms;
    struct why trouble; /* a message could not be made */
    bool stopped;
};

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static int64_t now_ms(void) {
    return now_us() / 1000;
}

/* ---- what the person sees ---- */

/* The server's words are escaped: it does not get at the terminal. */
static void show(struct call *c, char direction, str text) {
    struct buf line = BUF(16384);
    if (!c->run->plan->transcript)
        return;
    if (c->run->plan->connections > 1)
        buf_printf(&line, "[%u] ", c->number);
    buf_printf(&line, "%9.1f ms %c ", (double)(now_us() - c->start_us) / 1000, direction);
    escape_print(text, &line);
    buf_char(&line, '\n');
    fwrite(line.p, 1, line.n, stdout);
    fflush(stdout);
    buf_free(&line);
}

__attribute__((format(printf, 2, 3))) static void remark(struct call *c, const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    show(c, '*', str_of(text));
}

static void show_transcript(struct call *c) {
    str rest = buf_str(&c->client.transcript), line;
    while (str_cut(&rest, '\n', &line))
        show(c, line.n ? line.p[0] : ' ', str_tail(line, 2));
    buf_reset(&c->client.transcript);
}

static void show_progress(struct run *r) {
    if (!r->plan->progress || now_ms() < r->progress_ms)
        return;
    r->progress_ms = now_ms() + PROGRESS_MS;
    fprintf(stderr, "\r%" PRIu64 " of %" PRIu64 " sent", r->result->sent, r->plan->count);
}

/* ---- results ---- */

static void report_rcpt(struct send_result *result, const struct smtp_client_rcpt *r) {
    struct buf *b = &result->reports;
    if (result->report_count++ >= SEND_REPORTS_MAX)
        return;
    buf_add(b, b->n ? S(",{\"address\":\"") : S("{\"address\":\""));
    escape_json(r->address, b);
    buf_printf(b, "\",\"outcome\":\"%s\",\"code\":%u,\"text\":\"", smtp_client_outcome_name(r->outcome), r->code);
    escape_json(r->text, b);
    buf_add(b, S("\"}"));
}

static void report_problem(struct send_result *result, const struct smtp_client_rcpt *r) {
    struct buf *b = &result->problems;
    if (r->outcome == SMTP_CLIENT_DELIVERED || result->problem_count++ >= SEND_REPORTS_MAX)
        return;
    escape_print(r->address, b);
    buf_printf(b, ": %s: ", smtp_client_outcome_name(r->outcome));
    if (r->code)
        buf_printf(b, "%u ", r->code);
    escape_print(r->text, b);
    buf_char(b, '\n');
}

static void mail_done(struct call *c) {
    struct send_result *result = c->run->result;
    if (!c->has_mail)
        return;
    c->has_mail = false;
    result->sent += c->mail.delivered == c->mail.rcpt_count;
    for (size_t i = 0; i < c->mail.rcpt_count; i++) {
        result->rcpts[c->rcpts[i].outcome]++;
        report_rcpt(result, &c->rcpts[i]);
        report_problem(result, &c->rcpts[i]);
        if (c->run->plan->told)
            c->run->plan->told(c->run->plan->arg, &c->rcpts[i]);
    }
    show_progress(c->run);
}

/* ---- the end of a call ---- */

static void hang_up(struct call *c) {
    struct send_result *result = c->run->result;
    struct smtp_client_failure *f = &c->client.failure;
    if (c->phase == OVER)
        return;
    show_transcript(c);
    mail_done(c);
    if (f->trouble != SMTP_CLIENT_FINE) {
        remark(c, "%s", f->why.text);
        result->failures++;
        if (f->trouble > result->failure.trouble)
            result->failure = *f;
    }
    if (c->ssl && f->trouble == SMTP_CLIENT_FINE)
        SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    c->ssl = NULL;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->phase = OVER;
    c->run->live--;
}

static void give_up(struct call *c, enum smtp_client_trouble trouble, const char *sentence) {
    smtp_client_broken(&c->client, trouble, sentence);
    hang_up(c);
}

/* ---- bytes ---- */

enum { IO_AGAIN = -1, IO_BROKEN = -2 };

static ssize_t tls_outcome(struct call *c, int rc) {
    switch (SSL_get_error(c->ssl, rc)) {
    case SSL_ERROR_WANT_READ: c->events |= POLLIN; return IO_AGAIN;
    case SSL_ERROR_WANT_WRITE: c->events |= POLLOUT; return IO_AGAIN;
    case SSL_ERROR_ZERO_RETURN: return 0;
    default: return IO_BROKEN;
    }
}

static ssize_t io_read(struct call *c, char *p, size_t n) {
    ERR_clear_error();
    if (c->ssl) {
        int rc = SSL_read(c->ssl, p, (int)n);
        return rc > 0 ? rc : tls_outcome(c, rc);
    }
    ssize_t got = recv(c->fd, p, n, MSG_DONTWAIT);
    if (got >= 0)
        return got;
    c->events |= POLLIN;
    return errno == EAGAIN || errno == EINTR ? IO_AGAIN : IO_BROKEN;
}

static ssize_t io_write(struct call *c, str s) {
    ERR_clear_error();
    if (c->ssl) {
        int rc = SSL_write(c->ssl, s.p, (int)s.n);
        return rc > 0 ? rc : tls_outcome(c, rc) == IO_AGAIN ? IO_AGAIN : IO_BROKEN;
    }
    ssize_t put = send(c->fd, s.p, s.n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put >= 0)
        return put;
    c->events |= POLLOUT;
    return errno == EAGAIN || errno == EINTR ? IO_AGAIN : IO_BROKEN;
}

static void broken(struct call *c) {
    char text[128];
    if (errno == 0 || c->ssl)
        snprintf(text, sizeof text, "the connection broke");
    else
        snprintf(text, sizeof text, "the connection broke: %s", strerror(errno));
    smtp_client_broken(&c->client, SMTP_CLIENT_NETWORK, text);
}

/* Takes what the server has said; false: nothing for now. */
static bool take_input(struct call *c) {
    char space[READ_SIZE];
    ssize_t n = io_read(c, space, sizeof space);
    if (n == IO_AGAIN)
        return false;
    if (n > 0)
        smtp_client_input(&c->client, str_n(space, (size_t)n));
    else if (n == 0)
        smtp_client_closed(&c->client);
    else
        broken(c);
    return true;
}

/* False: neither can it be written nor is there anything to read. */
static bool put_output(struct call *c) {
    ssize_t n = io_write(c, buf_str(&c->client.out));
    if (n > 0) {
        smtp_client_wrote(&c->client, (size_t)n);
        return true;
    }
    if (take_input(c)) /* also when writing failed: the server may have said why before it closed */
        return true;
    if (n == IO_BROKEN) {
        broken(c);
        return true;
    }
    return false;
}

/* ---- connecting ---- */

static void talk(struct call *c);

static void talk_or_shake(struct call *c);

static void connected(struct call *c) {
    int one = 1;
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (c->run->plan->path)
        remark(c, "connected to %s", c->run->plan->path);
    else
        remark(c, "connected to %s port %s", c->run->plan->host, c->run->plan->port);
    talk_or_shake(c);
}

static int try_address(struct call *c, const struct sockaddr *address, socklen_t size) {
    c->fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        return errno;
    c->events = POLLOUT;
    c->phase = CONNECTING;
    c->phase_end_ms = now_ms() + c->run->plan->connect_ms;
    return connect(c->fd, address, size) == 0 || errno == EINPROGRESS ? 0 : errno;
}

/* The next address that lets itself be tried; with none left the call is over. */
static void try_next(struct call *c, const char *reason) {
    char sentence[300];
    while (c->next) {
        struct addrinfo *a = c->next;
        if (c->fd >= 0)
            close(c->fd);
        c->next = a->ai_next;
        int failed = try_address(c, a->ai_addr, a->ai_addrlen);
        if (!failed)
            return;
        reason = strerror(failed);
    }
    snprintf(sentence, sizeof sentence, "cannot connect to %s port %s: %s", c->run->plan->host, c->run->plan->port,
             reason);
    give_up(c, SMTP_CLIENT_NETWORK, sentence);
}

static void connect_result(struct call *c) {
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    if (error)
        try_next(c, strerror(error));
    else
        connected(c);
}

static void connect_path(struct call *c, const char *path) {
    char sentence[300];
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int failed = ENAMETOOLONG;
    if (strlen(path) < sizeof a.sun_path) {
        memcpy(a.sun_path, path, strlen(path) + 1);
        failed = try_address(c, (struct sockaddr *)&a, sizeof a);
    }
    if (!failed) {
        connected(c);
        return;
    }
    snprintf(sentence, sizeof sentence, "cannot connect to %.150s: %s", path, strerror(failed));
    give_up(c, SMTP_CLIENT_NETWORK, sentence);
}

/* ---- TLS ---- */

static void shake(struct call *c) {
    char space[128], sentence[300];
    ERR_clear_error();
    int rc = SSL_connect(c->ssl);
    c->events = 0;
    if (rc == 1) {
        str binding = tls_binding(c->ssl, c->binding) ? str_n(c->binding, sizeof c->binding) : STR_NONE;
        remark(c, "%s %s, certificate %s", SSL_get_version(c->ssl), SSL_get_cipher_name(c->ssl),
               c->run->plan->verify ? "verified" : "not verified");
        c->phase = TALKING;
        if (c->run->plan->config.tls == SMTP_CLIENT_TLS_ACTIVE)
            c->client.config.binding = binding;
        else
            smtp_client_tls(&c->client, binding);
        talk(c);
        return;
    }
    if (tls_outcome(c, rc) == IO_AGAIN)
        return;
    long verify = SSL_get_verify_result(c->ssl);
    if (c->run->plan->verify && verify != X509_V_OK)
        snprintf(sentence, sizeof sentence, "the server's certificate: %s", X509_verify_cert_error_string(verify));
    else if (ERR_peek_error() == 0)
        snprintf(sentence, sizeof sentence, "TLS handshake: the server closed the connection");
    else
        snprintf(sentence, sizeof sentence, "TLS handshake: %s", tls_reason(space, sizeof space));
    give_up(c, SMTP_CLIENT_BAD_TLS, sentence);
}

static void begin_tls(struct call *c) {
    struct why w = {0};
    c->phase = SHAKING;
    c->phase_end_ms = now_ms() + c->run->plan->connect_ms;
    c->ssl = SSL_new(c->run->tls);
    if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1) {
        give_up(c, SMTP_CLIENT_BAD_TLS, "no memory for TLS");
        return;
    }
    SSL_set_mode(c->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    const char *host = c->run->plan->path ? "localhost" : c->run->plan->host;
    if (tls_client_name(c->ssl, host, &w) != OK)
        give_up(c, SMTP_CLIENT_BAD_TLS, w.text);
    else
        shake(c);
}

static void talk_or_shake(struct call *c) {
    if (c->run->plan->config.tls == SMTP_CLIENT_TLS_ACTIVE) {
        begin_tls(c);
        return;
    }
    c->phase = TALKING;
    talk(c);
}

/* ---- the conversation ---- */

/* Is there anything above 127 in the header?  Then the message goes as SMTPUTF8 where that is offered. */
static bool header_is_utf8(str message) {
    size_t end = str_find_str(message, S("\n\r\n"));
    str header = end == SIZE_MAX ? message : str_head(message, end);
    return !utf8_is_ascii(header) && utf8_valid(header);
}

static bool next_mail(struct call *c) {
    struct run *r = c->run;
    const struct send_plan *plan = r->plan;
    if (r->stopped || r->next == plan->count)
        return false;
    enum err e = plan->message(plan->arg, r->next, &c->space, &c->message, &r->trouble);
    if (e != OK) {
        r->stopped = true;
        return false;
    }
    r->next++;
    r->result->tried++;
    arena_reset(&c->texts);
    for (size_t i = 0; i < plan->rcpt_count; i++)
        c->rcpts[i] = (struct smtp_client_rcpt){.address = plan->rcpts[i], .params = plan->rcpt_params};
    c->mail = (struct smtp_client_mail){
        .sender = plan->sender,
        .params = plan->params,
        .rcpts = c->rcpts,
        .rcpt_count = plan->rcpt_count,
        .size = c->message.n,
        .eight_bit = !utf8_is_ascii(c->message),
        .utf8 = (c->client.offers & SMTP_OFFERS_SMTPUTF8) && header_is_utf8(c->message),
        .mem = &c->texts,
    };
    c->message_at = 0;
    return true;
}

static void ready(struct call *c) {
    mail_done(c);
    if (!next_mail(c)) {
        smtp_client_quit(&c->client);
        return;
    }
    if (smtp_client_send(&c->client, &c->mail, &c->run->trouble) == OK) {
        c->has_mail = true;
        return;
    }
    c->run->stopped = true;
    smtp_client_quit(&c->client);
}

static void give_body(struct call *c) {
    str piece = str_sub(c->message, c->message_at, SMTP_CLIENT_BODY_MAX);
    c->message_at += piece.n;
    smtp_client_body(&c->client, piece, c->message_at == c->message.n);
}

/* Until it would have to wait. */
static void talk(struct call *c) {
    bool going = true;
    c->events = 0;
    while (going) {
        switch (smtp_client_step(&c->client, now_ms())) {
        case SMTP_CLIENT_OUTPUT: going = put_output(c); break;
        case SMTP_CLIENT_INPUT: going = take_input(c); break;
        case SMTP_CLIENT_READY: ready(c); break;
        case SMTP_CLIENT_BODY: give_body(c); break;
        case SMTP_CLIENT_FINAL: smtp_client_final(&c->client); break;
        case SMTP_CLIENT_STARTTLS:
            show_transcript(c);
            begin_tls(c);
            return;
        case SMTP_CLIENT_DONE:
        case SMTP_CLIENT_FAILED: hang_up(c); return;
        }
        show_transcript(c);
    }
    c->events |= POLLIN;
}

/* ---- the loop ---- */

static int64_t deadline(const struct call *c) {
    int64_t own = smtp_client_deadline(&c->client);
    if (c->phase == TALKING)
        return own;
    int64_t total = c->client.config.total_ms ? c->client.started_ms + c->client.config.total_ms : INT64_MAX;
    return c->phase_end_ms < total ? c->phase_end_ms : total;
}

static void expire(struct call *c) {
    if (c->phase == CONNECTING && now_ms() >= c->phase_end_ms) {
        try_next(c, strerror(ETIMEDOUT));
    } else if (c->phase == SHAKING) {
        give_up(c, SMTP_CLIENT_TIMEOUT, "no time left, awaiting the TLS handshake");
    } else {
        smtp_client_expire(&c->client);
        hang_up(c);
    }
}

static void advance(struct call *c) {
    if (c->phase == CONNECTING)
        connect_result(c);
    else if (c->phase == SHAKING)
        shake(c);
    else
        talk(c);
}

static int poll_wait_ms(int64_t at) {
    int64_t wait = at - now_ms();
    return wait < 0 ? 0 : wait > 60000 ? 60000 : (int)wait;
}

static void loop(struct run *r, struct pollfd *fds) {
    while (r->live > 0) {
        int64_t at = INT64_MAX;
        for (unsigned i = 0; i < r->plan->connections; i++) {
            struct call *c = &r->calls[i];
            bool on = c->phase != OVER;
            fds[i] = (struct pollfd){.fd = on ? c->fd : -1, .events = c->events};
            if (on && deadline(c) < at)
                at = deadline(c);
        }
        if (poll(fds, r->plan->connections, poll_wait_ms(at)) < 0 && errno != EINTR)
            return;
        for (unsigned i = 0; i < r->plan->connections; i++) {
            struct call *c = &r->calls[i];
            if (c->phase != OVER && fds[i].revents)
                advance(c);
            if (c->phase != OVER && now_ms() >= deadline(c))
                expire(c);
        }
    }
}

static void call_begin(struct run *r, unsigned i) {
    struct call *c = &r->calls[i];
    *c = (struct call){
        .run = r,
        .number = i + 1,
        .fd = -1,
        .start_us = now_us(),
        .texts = ARENA(REPLY_TEXTS_MAX),
        .space = BUF(MESSAGE_MAX),
        .next = r->addresses,
    };
    struct smtp_client_config config = r->plan->config;
    config.transcript = r->plan->transcript;
    smtp_client_init(&c->client, &config, now_ms());
    r->live++;
    c->rcpts = calloc(r->plan->rcpt_count, sizeof *c->rcpts);
    if (!c->rcpts)
        give_up(c, SMTP_CLIENT_NETWORK, "no memory");
    else if (r->plan->path)
        connect_path(c, r->plan->path);
    else
        try_next(c, "no address");
}

static void call_end(struct call *c) {
    smtp_client_free(&c->client);
    arena_free(&c->texts);
    buf_free(&c->space);
    free(c->rcpts);
}

static enum err resolve(struct run *r, struct why *w) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    if (r->plan->path)
        return OK;
    int rc = getaddrinfo(r->plan->host, r->plan->port, &hints, &r->addresses);
    if (rc == 0)
        return OK;
    r->result->no_host = rc == EAI_NONAME;
    return why(w, ERR_NOT_FOUND, "%s: %s", r->plan->host, gai_strerror(rc));
}

static enum err run_calls(struct run *r, struct why *w) {
    unsigned n = r->plan->connections;
    struct pollfd *fds = calloc(n, sizeof *fds);
    r->calls = calloc(n, sizeof *r->calls);
    if (!fds || !r->calls) {
        free(fds);
        free(r->calls);
        return why(w, ERR_NOMEM, "no memory for %u connections", n);
    }
    for (unsigned i = 0; i < n; i++)
        call_begin(r, i);
    loop(r, fds);
    for (unsigned i = 0; i < n; i++)
        call_end(&r->calls[i]);
    free(fds);
    free(r->calls);
    return r->stopped ? why(w, ERR_SYNTAX, "%s", r->trouble.text) : OK;
}

enum err send_run(const struct send_plan *plan, struct send_result *result, struct why *w) {
    struct run r = {.plan = plan, .result = result};
    int64_t start = now_us();
    *result = (struct send_result){.reports = BUF(1 << 20), .problems = BUF(1 << 20)};
    enum err e = resolve(&r, w);
    if (e != OK)
        return e;
    bool tls = plan->config.tls != SMTP_CLIENT_TLS_NONE;
    r.tls = tls ? tls_client_context(plan->verify, plan->ca_file, w) : NULL;
    e = tls && !r.tls ? ERR_TLS : run_calls(&r, w);
    SSL_CTX_free(r.tls);
    if (r.addresses)
        freeaddrinfo(r.addresses);
    if (plan->progress)
        fputs("\r\033[K", stderr);
    result->seconds = (double)(now_us() - start) / 1e6;
    return e;
}

void send_result_free(struct send_result *r) {
    buf_free(&r->reports);
    buf_free(&r->problems);
}
