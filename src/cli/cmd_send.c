/* cmd_send.c - penfold send: one message, or many, to an SMTP or LMTP server, and what it said. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/code.h"
#include "cli/cli.h"
#include "cli/send_run.h"
#include "mime/mime_build.h"
#include "sys/clock.h"
#include "sys/whole.h"

static const struct cli_option options[] = {
    {.name = "server",
     .letter = 's',
     .value = "HOST:PORT",
     .fallback = "127.0.0.1:1025",
     .variable = "PENFOLD_SERVER",
     .sentence = "The server; a value with a slash is a Unix socket."},
    {.name = "from",
     .letter = 'f',
     .value = "ADDRESS",
     .fallback = "penfold@localhost",
     .sentence = "The sender, as address or as \"Name <address>\"; <> is the null sender."},
    {.name = "to", .letter = 't', .value = "ADDRESS", .repeatable = true, .sentence = "A recipient; repeatable."},
    {.name = "subject", .value = "TEXT", .sentence = "The subject."},
    {.name = "body", .value = "TEXT", .sentence = "The plain text."},
    {.name = "html", .value = "TEXT", .sentence = "The HTML text; with --body both are sent as alternatives."},
    {.name = "attach", .value = "FILE", .repeatable = true, .sentence = "A file to attach; repeatable."},
    {.name = "header",
     .value = "FIELD",
     .repeatable = true,
     .sentence = "A further header field, \"Name: value\"; repeatable."},
    {.name = "data",
     .value = "FILE",
     .sentence = "A whole message to send as it is (line ends become CRLF); - is the standard input."},
    {.name = "tls", .words = "none|starttls|implicit", .fallback = "none", .sentence = "How TLS begins."},
    {.name = "insecure", .sentence = "Do not verify the server's certificate."},
    {.name = "ca-file",
     .value = "FILE",
     .sentence = "Trust the certificates of this PEM file instead of the system's."},
    {.name = "auth",
     .value = "USER:PASS",
     .variable = "PENFOLD_AUTH",
     .sentence = "Authenticate; only under TLS unless told otherwise."},
    {.name = "mech",
     .words = "SCRAM-SHA-256-PLUS|SCRAM-SHA-256|PLAIN|LOGIN|OAUTHBEARER|XOAUTH2",
     .sentence = "The mechanism of --auth; the best one that takes a password when not given."},
    {.name = "auth-insecure",
     .sentence = "Allow --auth to show the password without TLS; an explicit --tls none does, too."},
    {.name = "ehlo", .value = "NAME", .sentence = "The name to greet with; this host's when not given."},
    {.name = "lmtp", .sentence = "Speak LMTP."},
    {.name = "param",
     .value = "KEY=VALUE",
     .repeatable = true,
     .sentence = "A parameter of MAIL, or of RCPT for NOTIFY and ORCPT; repeatable."},
    {.name = "no-pipelining", .sentence = "Wait for each answer before the next command."},
    {.name = "count", .value = "N", .min = 1, .max = 100000000, .fallback = "1", .sentence = "Messages to send."},
    {.name = "connections",
     .value = "N",
     .min = 1,
     .max = 1000,
     .fallback = "1",
     .sentence = "Connections to spread them over."},
    {.name = "timeout",
     .value = "SECONDS",
     .min = 1,
     .max = 3600,
     .fallback = "60",
     .sentence = "The longest wait for any single answer."},
    {.name = "total-timeout",
     .value = "SECONDS",
     .min = 1,
     .max = 1000000,
     .fallback = "3600",
     .sentence = "The longest time for everything."},
    {.name = "transcript", .sentence = "Print the conversation also when several messages are sent."},
    {.name = "quiet", .letter = 'q', .sentence = "Print no conversation, only what went wrong."},
    {.name = "json", .sentence = "Print no conversation, but one line of JSON with the result."},
};

const struct cli_page cli_send_page = {
    .name = "send",
    .operands = "",
    .sentence = "Send a message by SMTP and show the conversation.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
};

enum { DATA_MAX = 1 << 30, TEXT_MAX = 16384, MANY = 100 };

/* All that the options ask for.  Strings point into argv or into the arena. */
struct order {
    const struct cli_args *args;
    struct send_plan plan;
    struct arena mem;
    struct mime_build mail;
    struct buf data; /* --data */
    bool has_data;
    struct buf *files;
    unsigned file_count;
    char name[256]; /* of this host */
};

/* ---- small things ---- */

static bool no_controls(str s) {
    for (size_t i = 0; i < s.n; i++)
        if (char_is_ctl(s.p[i]))
            return false;
    return true;
}

static int read_all(const char *path, struct buf *out) {
    struct why w;
    enum err e = strcmp(path, "-") == 0 ? whole_read_fd(STDIN_FILENO, "stdin", DATA_MAX, out, &w)
                                        : whole_read_file(path, DATA_MAX, out, &w);
    return e == OK ? CLI_GO_ON : cli_error(&cli_send_page, EX_NOINPUT, "%s", w.text);
}

/* ---- options into the plan ---- */

static int take_server(struct order *o) {
    const char *text = cli_text(o->args, "server");
    str host = str_of(text), port = S("25");
    if (strchr(text, '/')) {
        o->plan.path = text;
        return CLI_GO_ON;
    }
    size_t colon = str_rfind(host, ':');
    if (str_skip(&host, S("["))) { /* [::1]:25 */
        str rest = host;
        if (!str_cut(&rest, ']', &host) || (rest.n && !str_skip(&rest, S(":"))))
            return cli_usage_error(&cli_send_page, "--server: \"%s\" is no host and port", text);
        if (rest.n)
            port = rest;
    } else if (colon != SIZE_MAX && str_find(host, ':') == colon) { /* two colons: an IPv6 address alone */
        port = str_tail(host, colon + 1);
        host = str_head(host, colon);
    }
    uint64_t number;
    if (host.n == 0 || !str_u64(port, &number) || number < 1 || number > 65535)
        return cli_usage_error(&cli_send_page, "--server: \"%s\" is no host and port", text);
    o->plan.host = arena_str(&o->mem, host).p;
    o->plan.port = arena_str(&o->mem, port).p;
    o->plan.config.host = host;
    o->plan.config.port = (unsigned)number;
    return CLI_GO_ON;
}

static int take_addresses(struct order *o) {
    unsigned n = cli_count(o->args, "to");
    str name, *to = arena_alloc(&o->mem, (n + 1) * sizeof *to), *rcpts = arena_alloc(&o->mem, (n + 1) * sizeof *rcpts);
    if (n == 0)
        return cli_usage_error(&cli_send_page, "a recipient is missing: --to ADDRESS");
    if (!to || !rcpts)
        return cli_error(&cli_send_page, EX_OSERR, "too many recipients");
    for (unsigned i = 0; i < n; i++) {
        to[i] = str_of(cli_item(o->args, "to", i));
        mime_build_mailbox(to[i], &name, &rcpts[i]);
        if (rcpts[i].n == 0 || !no_controls(to[i]))
            return cli_usage_error(&cli_send_page, "--to: no address, or a control character in it");
    }
    o->mail.from = str_of(cli_text(o->args, "from"));
    mime_build_mailbox(o->mail.from, &name, &o->plan.sender);
    if (!no_controls(o->mail.from))
        return cli_usage_error(&cli_send_page, "--from: a control character");
    if (o->plan.sender.n == 0)
        o->mail.from = STR_NONE;
    o->mail.to = to;
    o->mail.to_count = o->plan.rcpt_count = n;
    o->plan.rcpts = rcpts;
    return CLI_GO_ON;
}

static int take_params(struct order *o) {
    struct buf mail = BUF(1024), rcpt = BUF(1024);
    int status = CLI_GO_ON;
    for (unsigned i = 0; i < cli_count(o->args, "param") && status == CLI_GO_ON; i++) {
        str p = str_of(cli_item(o->args, "param", i));
        bool to_rcpt = str_istarts(p, S("NOTIFY=")) || str_istarts(p, S("ORCPT="));
        struct buf *b = to_rcpt ? &rcpt : &mail;
        if (p.n == 0 || !no_controls(p) || str_has(p, ' '))
            status = cli_usage_error(&cli_send_page, "--param: an empty value, a space or a control character");
        if (b->n)
            buf_char(b, ' ');
        buf_add(b, p);
    }
    if (status == CLI_GO_ON && (mail.full || rcpt.full))
        status = cli_usage_error(&cli_send_page, "--param: more than 1024 bytes");
    o->plan.params = arena_str(&o->mem, buf_str(&mail));
    o->plan.rcpt_params = arena_str(&o->mem, buf_str(&rcpt));
    buf_free(&mail);
    buf_free(&rcpt);
    return status;
}

static int take_auth(struct order *o) {
    struct smtp_client_config *c = &o->plan.config;
    const char *mech = cli_text(o->args, "mech");
    str secret = str_of(cli_text(o->args, "auth"));
    if (mech)
        c->mechanism = sasl_mechanism_find(str_of(mech));
    if (secret.n == 0)
        return mech ? cli_usage_error(&cli_send_page, "--mech without --auth") : CLI_GO_ON;
    if (!str_cut(&secret, ':', &c->user) || c->user.n == 0)
        return cli_usage_error(&cli_send_page, "--auth: not USER:PASS");
    c->secret = secret;
    c->secret_in_clear = cli_flag(o->args, "auth-insecure") || o->plan.path ||
                         (c->tls == SMTP_CLIENT_TLS_NONE && cli_source(o->args, "tls"));
    return CLI_GO_ON;
}

static int take_connection(struct order *o) {
    struct smtp_client_config *c = &o->plan.config;
    const char *tls = cli_text(o->args, "tls"), *ehlo = cli_text(o->args, "ehlo");
    c->tls = strcmp(tls, "none") == 0       ? SMTP_CLIENT_TLS_NONE
             : strcmp(tls, "starttls") == 0 ? SMTP_CLIENT_TLS_REQUIRED
                                            : SMTP_CLIENT_TLS_ACTIVE;
    c->helo = str_of(ehlo ? ehlo : o->name);
    c->lmtp = cli_flag(o->args, "lmtp");
    c->no_pipelining = cli_flag(o->args, "no-pipelining");
    c->phase_max_ms = (int64_t)cli_number(o->args, "timeout") * 1000;
    c->total_ms = (int64_t)cli_number(o->args, "total-timeout") * 1000;
    o->plan.connect_ms = c->phase_max_ms < 30000 ? c->phase_max_ms : 30000;
    o->plan.verify = !cli_flag(o->args, "insecure");
    o->plan.ca_file = cli_text(o->args, "ca-file");
    o->plan.count = cli_number(o->args, "count");
    o->plan.connections = (unsigned)cli_number(o->args, "connections");
    if (o->plan.connections > o->plan.count)
        o->plan.connections = (unsigned)o->plan.count;
    if (c->helo.n == 0 || c->helo.n > 255 || !no_controls(c->helo))
        return cli_usage_error(&cli_send_page, "--ehlo: empty, too long or with a control character");
    return CLI_GO_ON;
}

static void take_output(struct order *o) {
    bool silent = cli_flag(o->args, "quiet") || cli_flag(o->args, "json");
    o->plan.transcript = !silent && (o->plan.count == 1 || cli_flag(o->args, "transcript"));
    o->plan.progress = !silent && !o->plan.transcript && o->plan.count >= MANY && isatty(STDERR_FILENO);
}

static int take_headers(struct order *o) {
    unsigned n = cli_count(o->args, "header");
    str *headers = arena_alloc(&o->mem, (n + 1) * sizeof *headers);
    if (!headers)
        return cli_error(&cli_send_page, EX_OSERR, "too many header fields");
    for (unsigned i = 0; i < n; i++)
        headers[i] = str_of(cli_item(o->args, "header", i));
    o->mail.headers = headers;
    o->mail.header_count = n;
    return CLI_GO_ON;
}

static int take_files(struct order *o) {
    unsigned n = cli_count(o->args, "attach");
    struct mime_build_file *files = arena_alloc(&o->mem, (n + 1) * sizeof *files);
    o->files = calloc(n + 1, sizeof *o->files);
    if (!files || !o->files)
        return cli_error(&cli_send_page, EX_OSERR, "too many files");
    for (unsigned i = 0; i < n; i++) {
        const char *path = cli_item(o->args, "attach", i), *slash = strrchr(path, '/');
        o->files[i] = (struct buf){0};
        o->file_count++;
        int status = read_all(path, &o->files[i]);
        if (status != CLI_GO_ON)
            return status;
        files[i] = (struct mime_build_file){.name = str_of(slash ? slash + 1 : path), .bytes = buf_str(&o->files[i])};
    }
    o->mail.files = files;
    o->mail.file_count = n;
    return CLI_GO_ON;
}

static int take_data(struct order *o) {
    static const char *const others[] = {"subject", "body", "html", "attach", "header"};
    const char *path = cli_text(o->args, "data");
    if (!path)
        return CLI_GO_ON;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (cli_count(o->args, others[i]))
            return cli_usage_error(&cli_send_page, "--data is a whole message: --%s does not go with it", others[i]);
    o->has_data = true;
    int status = read_all(path, &o->data);
    if (status != CLI_GO_ON)
        return status;
    if (str_has(buf_str(&o->data), '\0')) /* RFC 5321 has no way to carry it */
        return cli_error(&cli_send_page, EX_DATAERR, "%s: a NUL in the message", path);
    return CLI_GO_ON;
}

static int take_message(struct order *o) {
    int status = take_data(o);
    if (status != CLI_GO_ON || o->has_data)
        return status;
    o->mail.subject = str_of(cli_text(o->args, "subject"));
    o->mail.text = str_of(cli_text(o->args, "body"));
    o->mail.html = str_of(cli_text(o->args, "html"));
    status = take_headers(o);
    return status == CLI_GO_ON ? take_files(o) : status;
}

/* The host's own name, or what RFC 5321 4.1.3 has for those without. */
static void own_name(struct order *o) {
    if (gethostname(o->name, sizeof o->name - 1) != 0 || !no_controls(str_of(o->name)) || !*o->name)
        memcpy(o->name, "localhost", sizeof "localhost");
    o->name[sizeof o->name - 1] = '\0';
}

static int take_options(struct order *o) {
    static int (*const steps[])(struct order *) = {take_server,     take_addresses, take_params,
                                                   take_connection, take_auth,      take_message};
    own_name(o);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        int status = steps[i](o);
        if (status != CLI_GO_ON)
            return status;
    }
    take_output(o);
    return o->mem.full ? cli_error(&cli_send_page, EX_OSERR, "the options are too long") : CLI_GO_ON;
}

/* ---- messages ---- */

static enum err make_message(void *arg, uint64_t number, struct buf *space, str *bytes, struct why *w) {
    struct order *o = arg;
    uint8_t random[16];
    char id[ID_SIZE], message_id[ID_SIZE + 1 + sizeof o->name];
    (void)number;
    if (o->has_data) {
        *bytes = buf_str(&o->data);
        return OK;
    }
    random_bytes(random, sizeof random);
    id_encode(random, id);
    snprintf(message_id, sizeof message_id, "%.*s@%s", ID_SIZE, id, o->name);
    struct mime_build mail = o->mail;
    mail.message_id = str_of(message_id);
    mail.random = str_n(id, ID_SIZE);
    mail.date.us = (int64_t)clock_wall_us();
    buf_reset(space);
    enum err e = mime_build_message(&mail, space, w);
    *bytes = buf_str(space);
    return e;
}

/* ---- the result ---- */

static void print(struct buf *b, FILE *to) {
    if (b->n)
        fwrite(b->p, 1, b->n, to);
    buf_free(b);
}

static const int trouble_status[] = {
    [SMTP_CLIENT_FINE] = EX_OK,           [SMTP_CLIENT_NETWORK] = EX_TEMPFAIL, [SMTP_CLIENT_TIMEOUT] = EX_TEMPFAIL,
    [SMTP_CLIENT_PROTOCOL] = EX_PROTOCOL, [SMTP_CLIENT_NO_TLS] = EX_PROTOCOL,  [SMTP_CLIENT_BAD_TLS] = EX_PROTOCOL,
    [SMTP_CLIENT_NO_AUTH] = EX_NOPERM,
};

static const char *const trouble_name[] = {
    [SMTP_CLIENT_FINE] = "none",         [SMTP_CLIENT_NETWORK] = "network", [SMTP_CLIENT_TIMEOUT] = "timeout",
    [SMTP_CLIENT_PROTOCOL] = "protocol", [SMTP_CLIENT_SAID_NO] = "refused", [SMTP_CLIENT_NO_TLS] = "no-tls",
    [SMTP_CLIENT_BAD_TLS] = "bad-tls",   [SMTP_CLIENT_NO_AUTH] = "no-auth", [SMTP_CLIENT_AUTH_REFUSED] = "auth",
};

static int failure_status(const struct smtp_client_failure *f) {
    bool later = f->code >= 400 && f->code < 500;
    if (f->trouble == SMTP_CLIENT_SAID_NO)
        return later ? EX_TEMPFAIL : EX_UNAVAILABLE;
    if (f->trouble == SMTP_CLIENT_AUTH_REFUSED)
        return later ? EX_TEMPFAIL : EX_NOPERM;
    return trouble_status[f->trouble];
}

/* The recipients say it best; a connection's failure when none of them was asked, or messages are left over. */
static int result_status(const struct order *o, const struct send_result *r) {
    if (r->rcpts[SMTP_CLIENT_REFUSED])
        return EX_UNAVAILABLE;
    int status = failure_status(&r->failure);
    if (r->failure.trouble == SMTP_CLIENT_PROTOCOL || r->tried < o->plan.count)
        return status ? status : EX_TEMPFAIL;
    return r->rcpts[SMTP_CLIENT_DEFERRED] || r->rcpts[SMTP_CLIENT_UNKNOWN] ? EX_TEMPFAIL : EX_OK;
}

static void print_json(const struct order *o, const struct send_result *r, int status) {
    struct buf b = BUF(2 << 20);
    buf_printf(&b, "{\"status\":%d,\"messages\":%" PRIu64 ",\"sent\":%" PRIu64 ",\"seconds\":%.3f,\"recipients\":{",
               status, o->plan.count, r->sent, r->seconds);
    for (int i = SMTP_CLIENT_DELIVERED; i <= SMTP_CLIENT_UNKNOWN; i++)
        buf_printf(&b, "%s\"%s\":%" PRIu64, i > SMTP_CLIENT_DELIVERED ? "," : "",
                   smtp_client_outcome_name((enum smtp_client_outcome)i), r->rcpts[i]);
    buf_printf(&b, "},\"failures\":%" PRIu64 ",\"failure\":{\"kind\":\"%s\",\"code\":%u,\"text\":\"", r->failures,
               trouble_name[r->failure.trouble], r->failure.code);
    escape_json(str_of(r->failure.why.text), &b);
    buf_add(&b, S("\"},\"results\":["));
    buf_add(&b, buf_str(&r->reports));
    buf_add(&b, S("]}\n"));
    print(&b, stdout);
}

static void print_problems(const struct order *o, const struct send_result *r) {
    struct buf b = BUF(2 << 20);
    buf_add(&b, buf_str(&r->problems));
    if (r->problem_count > SEND_REPORTS_MAX)
        buf_printf(&b, "and %u recipients more\n", r->problem_count - SEND_REPORTS_MAX);
    if (r->failure.trouble != SMTP_CLIENT_FINE) {
        buf_add(&b, S("penfold send: "));
        escape_print(str_of(r->failure.why.text), &b);
        if (r->failures > 1)
            buf_printf(&b, " (and %" PRIu64 " connections more failed)", r->failures - 1);
        buf_char(&b, '\n');
    }
    print(&b, stderr);
    if (!cli_flag(o->args, "quiet"))
        printf("%" PRIu64 " of %" PRIu64 " sent in %.3f s\n", r->sent, o->plan.count, r->seconds);
}

static int carry_out(struct order *o) {
    struct send_result result;
    struct why w = {0};
    o->plan.message = make_message;
    o->plan.arg = o;
    enum err e = send_run(&o->plan, &result, &w);
    int status = EX_OK;
    if (e == OK)
        status = result_status(o, &result);
    else
        status = cli_error(&cli_send_page,
                           result.no_host       ? EX_NOHOST
                           : e == ERR_SYNTAX    ? EX_USAGE
                           : e == ERR_TLS       ? EX_NOINPUT
                           : e == ERR_NOT_FOUND ? EX_TEMPFAIL
                                                : EX_OSERR,
                           "%s", w.text);
    if (cli_flag(o->args, "json"))
        print_json(o, &result, status);
    else if (e == OK)
        print_problems(o, &result);
    send_result_free(&result);
    return status;
}

int cmd_send(int argc, char **argv) {
    struct cli_args args;
    struct order o = {
        .args = &args,
        .mem = ARENA(1 << 22),
    };
    int status = cli_parse(&cli_send_page, argc, argv, &args);
    signal(SIGPIPE, SIG_IGN);
    if (status == CLI_GO_ON)
        status = take_options(&o);
    if (status == CLI_GO_ON)
        status = carry_out(&o);
    for (unsigned i = 0; i < o.file_count; i++)
        buf_free(&o.files[i]);
    free(o.files);
    buf_free(&o.data);
    arena_free(&o.mem);
    cli_args_free(&args);
    return status;
}
