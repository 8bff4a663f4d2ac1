/* cmd_sendmail.c - what other programs call as sendmail, mailq and newaliases: a message from the standard input to the
 * server's submission socket, or, while the server is down, into its spool.  Needs no privileges. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/code.h"
#include "cli/cli.h"
#include "cli/cli_conf.h"
#include "cli/send_run.h"
#include "cli/sendmail_input.h"
#include "cli/sendmail_spool.h"
#include "mime/mime_build.h"
#include "sys/whole.h"

#define SUBMIT_SOCKET "/run/penfold/submit"
#define SPOOL_FOLDER "/var/spool/penfold"

enum { MESSAGE_MAX = 1 << 30, MEMORY_MAX = 64 << 20, PARAMS_MAX = 1024, ANSWER_MS = 600000, CONNECT_MS = 10000 };

static const struct cli_option options[] = {
    {.name = "submit",
     .value = "SOCKET",
     .variable = "PENFOLD_SUBMIT",
     .sentence = "The server's Unix socket for submission. Without it the first one of the configuration, else "
                 "/run/penfold/submit."},
    {.name = "spool",
     .value = "DIR",
     .variable = "PENFOLD_SPOOL",
     .sentence = "Where mail is left while the server is down. Without it that of the configuration, else "
                 "/var/spool/penfold if it is there."},
};

const struct cli_page cli_sendmail_page = {
    .name = "sendmail",
    .operands = "[-t] [-i] [-f SENDER] [-bm|-bs|-bp] [ADDRESS...]",
    .operands_max = UINT_MAX,
    .sentence = "Take a message as other programs hand it to sendmail.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
};

/* What is asked for; texts point into argv, the environment or the arena. */
struct order {
    char mode; /* 'm' send, 's' speak SMTP, 'p' list the queue, 'i' aliases, 'q' run the queue */
    bool from_header, dot_is_text;
    const char *submit, *spool;
    str sender, name; /* sender.p NULL: the user's own address */
    str host;
    struct arena mem;
    struct buf params, rcpt_params;
    struct sendmail_rcpts rcpts, later; /* later: those the server did not take for now */
    struct buf message;
    bool refused;
};

static int fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int fail(int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("sendmail: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return status;
}

static bool no_controls(str s) {
    for (size_t i = 0; i < s.n; i++)
        if (char_is_ctl(s.p[i]))
            return false;
    return true;
}

/* ---- where to ---- */

/* Who may not read the configuration does without: its defaults are ours. */
static void read_conf(struct order *o) {
    struct conf c;
    struct conf_errors errors = {0};
    struct buf text = {0};
    struct why w;
    const char *path = getenv("PENFOLD_CONFIG");
    if (cli_conf_load(path && *path ? path : CLI_CONF_FILE, &text, &w) != OK) {
        buf_free(&text);
        return;
    }
    if (conf_parse(buf_str(&text), CLI_CONF_FILE, &c, &errors) == OK) {
        o->host = arena_str(&o->mem, c.hostname);
        if (!o->spool && c.spool.n)
            o->spool = arena_str(&o->mem, c.spool).p;
        for (size_t i = 0; i < c.listen_count && !o->submit; i++)
            if (c.listens[i].policy == CONF_POLICY_SUBMISSION && c.listens[i].protocol == CONF_PROTOCOL_SMTP &&
                c.listens[i].address.path.n)
                o->submit = arena_str(&o->mem, c.listens[i].address.path).p;
    }
    conf_errors_free(&errors);
    conf_free(&c);
    buf_free(&text);
}

static const char *from_environment(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static void find_places(struct order *o) {
    static char name[256];
    if (!o->submit)
        o->submit = from_environment("PENFOLD_SUBMIT");
    if (!o->spool)
        o->spool = from_environment("PENFOLD_SPOOL");
    read_conf(o);
    if (!o->submit)
        o->submit = SUBMIT_SOCKET;
    if (!o->spool && access(SPOOL_FOLDER, W_OK | X_OK) == 0)
        o->spool = SPOOL_FOLDER;
    if (o->host.n == 0 && gethostname(name, sizeof name - 1) == 0)
        o->host = str_of(name);
    if (o->host.n == 0 || !no_controls(o->host) || str_has(o->host, ' '))
        o->host = S("localhost");
    if (str_starts(str_of(o->submit), S("unix:")))
        o->submit += 5;
}

/* ---- options ---- */

static int bad_option(const char *what, const char *value) {
    return fail(EX_USAGE, "%s: \"%.100s\" is not known here", what, value);
}

static void add_param(struct buf *b, const char *key, str value) {
    buf_printf(b, "%s%s=%.*s", b->n ? " " : "", key, STR_ARG(value));
}

static int take_notify(struct order *o, const char *text) {
    str rest = str_of(text), word;
    do {
        if (!str_cut(&rest, ',', &word)) {
            word = rest;
            rest = STR_NONE;
        }
        if (!str_ieq(word, S("never")) && !str_ieq(word, S("success")) && !str_ieq(word, S("failure")) &&
            !str_ieq(word, S("delay")))
            return bad_option("-N", text);
    } while (rest.n);
    buf_reset(&o->rcpt_params);
    add_param(&o->rcpt_params, "NOTIFY", str_of(text));
    return CLI_GO_ON;
}

/* RFC 3461 4: xtext. */
static int take_envid(struct order *o, const char *text) {
    struct buf b = BUF(300);
    for (const char *p = text; *p; p++)
        if (*p > 32 && *p < 127 && *p != '+' && *p != '=')
            buf_char(&b, *p);
        else
            buf_printf(&b, "+%02X", (unsigned char)*p);
    if (b.n == 0 || b.n > 100 || !no_controls(str_of(text)))
        return bad_option("-V", text);
    add_param(&o->params, "ENVID", buf_str(&b));
    buf_free(&b);
    return CLI_GO_ON;
}

static int take_mode(struct order *o, const char *text) {
    if (strlen(text) != 1 || !strchr("mspi", text[0]))
        return fail(EX_USAGE, "-b%.20s is not offered%s", text, text[0] == 'd' ? ": penfold serve is the server" : "");
    o->mode = text[0];
    return CLI_GO_ON;
}

static int take_sender(struct order *o, const char *text) {
    str name;
    mime_build_mailbox(str_of(text), &name, &o->sender);
    if (!o->sender.p || str_eq(o->sender, S("<>")))
        o->sender = S("");
    return no_controls(o->sender) ? CLI_GO_ON : fail(EX_USAGE, "-f: a control character");
}

/* -i is -oi; the other -o options say what is so here anyway. */
static int take_option(struct order *o, int letter, const char *value) {
    switch (letter) {
    case 't': o->from_header = true; return CLI_GO_ON;
    case 'i': o->dot_is_text = true; return CLI_GO_ON;
    case 'o': o->dot_is_text = o->dot_is_text || strcmp(value, "i") == 0; return CLI_GO_ON;
    case 'f':
    case 'r': return take_sender(o, value);
    case 'F': o->name = str_of(value); return CLI_GO_ON;
    case 'b': return take_mode(o, value);
    case 'N': return take_notify(o, value);
    case 'V': return take_envid(o, value);
    case 'q': o->mode = 'q'; return CLI_GO_ON;
    case 'I': o->mode = 'i'; return CLI_GO_ON;
    case 'R':
        if (strcasecmp(value, "hdrs") != 0 && strcasecmp(value, "full") != 0)
            return bad_option("-R", value);
        add_param(&o->params, "RET", str_of(value));
        return CLI_GO_ON;
    default: return CLI_GO_ON; /* harmless: of a daemon, a debugger, or told by the message itself */
    }
}

static void print_help(void) {
    struct buf out = BUF(64 * 1024);
    cli_page_help(&out, &cli_sendmail_page);
    fwrite(out.p, 1, out.n, stdout);
    buf_free(&out);
}

enum { LONG_SUBMIT = 256, LONG_SPOOL, LONG_HELP };

static int take_options(struct order *o, int argc, char **argv) {
    static const struct option longs[] = {{"submit", required_argument, NULL, LONG_SUBMIT},
                                          {"spool", required_argument, NULL, LONG_SPOOL},
                                          {"help", no_argument, NULL, LONG_HELP},
                                          {0}};
    int letter, status = CLI_GO_ON;
    optind = 0;
    opterr = 0;
    /* Options end at the first address: what a program puts behind it is never one. */
    while (status == CLI_GO_ON &&
           (letter = getopt_long(argc, argv, "+A:B:b:C:cd::E:e:F:f:Gh:IiL:M:mN:nO:o:p:q::R:r:sTtUV:vX:x", longs,
                                 NULL)) != -1) {
        if (letter == LONG_SUBMIT)
            o->submit = optarg;
        else if (letter == LONG_SPOOL)
            o->spool = optarg;
        else if (letter == LONG_HELP)
            print_help();
        else if (letter == '?')
            status = fail(EX_USAGE, "unknown option, or one without its value: %.100s", argv[optind - 1]);
        else
            status = take_option(o, letter, optarg);
        if (letter == LONG_HELP)
            return EX_OK;
    }
    return status;
}

/* ---- the message ---- */

static void own_address(struct order *o) {
    const struct passwd *user = getpwuid(getuid());
    struct buf b = BUF(1024);
    if (o->sender.p)
        return;
    if (user && *user->pw_name)
        buf_printf(&b, "%s@%.*s", user->pw_name, STR_ARG(o->host));
    else
        buf_printf(&b, "uid-%u@%.*s", (unsigned)getuid(), STR_ARG(o->host));
    o->sender = arena_str(&o->mem, buf_str(&b));
    buf_free(&b);
}

static void add_domain(struct order *o) {
    struct buf b = BUF(1024);
    if (o->sender.n == 0 || str_has(o->sender, '@'))
        return;
    buf_printf(&b, "%.*s@%.*s", STR_ARG(o->sender), STR_ARG(o->host));
    o->sender = arena_str(&o->mem, buf_str(&b));
    buf_free(&b);
}

static int read_message(struct order *o) {
    struct buf input = {0};
    struct why w = {0};
    enum err e = whole_read_fd(STDIN_FILENO, "the message", MESSAGE_MAX, &input, &w);
    int status = e == OK ? CLI_GO_ON : e == ERR_LIMIT ? EX_DATAERR : EX_IOERR;
    if (status == CLI_GO_ON && sendmail_message(buf_str(&input), !o->dot_is_text, &o->message, &w) != OK)
        status = EX_DATAERR;
    if (status == CLI_GO_ON && o->sender.n && sendmail_add_from(&o->message, o->name, o->sender, &w) != OK)
        status = EX_DATAERR;
    buf_free(&input);
    return status == CLI_GO_ON ? status : fail(status, "%s", w.text);
}

static int take_rcpts(struct order *o, int argc, char **argv) {
    for (int i = optind; i < argc; i++)
        sendmail_add_rcpts(&o->rcpts, str_of(argv[i]), o->host);
    if (o->from_header)
        sendmail_header_rcpts(&o->rcpts, buf_str(&o->message), o->host);
    if (o->rcpts.full || o->mem.full)
        return fail(EX_DATAERR, "too many recipients");
    return o->rcpts.count ? CLI_GO_ON : fail(EX_USAGE, "nobody is named as recipient");
}

/* ---- sending ---- */

static enum err give_message(void *arg, uint64_t number, struct buf *space, str *bytes, struct why *w) {
    struct order *o = arg;
    (void)number, (void)space, (void)w;
    *bytes = buf_str(&o->message);
    return OK;
}

/* Unknown: it was sent whole and the answer never came.  Twice is better than never. */
static void told(void *arg, const struct smtp_client_rcpt *r) {
    struct order *o = arg;
    if (r->outcome == SMTP_CLIENT_REFUSED)
        o->refused = true;
    else if (r->outcome != SMTP_CLIENT_DELIVERED)
        o->later.list[o->later.count++] = r->address;
}

static int spool_later(struct order *o, const char *reason) {
    struct why w;
    struct sendmail_mail m = {.helo = o->host,
                              .sender = o->sender,
                              .params = buf_str(&o->params),
                              .rcpt_params = buf_str(&o->rcpt_params),
                              .rcpts = o->later.list,
                              .rcpt_count = o->later.count,
                              .message = buf_str(&o->message)};
    if (!o->spool)
        return fail(EX_TEMPFAIL, "%s, and there is no spool to leave the message in", reason);
    for (size_t i = 0; i < m.rcpt_count; i++)
        if (!no_controls(m.rcpts[i]))
            return fail(EX_DATAERR, "a control character in an address");
    if (sendmail_spool_write(o->spool, &m, &w) != OK)
        return fail(EX_TEMPFAIL, "%s, and the message could not be left for it: %s", reason, w.text);
    return o->refused ? EX_UNAVAILABLE : EX_OK;
}

static void print_problems(const struct send_result *r) {
    if (r->problems.n)
        fwrite(r->problems.p, 1, r->problems.n, stderr);
}

/* A server that is there and does not want us is not asked again by way of the spool. */
static int finish(struct order *o, const struct send_result *r) {
    const struct smtp_client_failure *f = &r->failure;
    bool for_good = f->trouble == SMTP_CLIENT_SAID_NO && f->code >= 500;
    if (r->tried == 0 || (o->later.count == o->rcpts.count && f->trouble != SMTP_CLIENT_FINE)) {
        if (for_good)
            return fail(EX_UNAVAILABLE, "%s", f->why.text);
        for (size_t i = 0; i < o->rcpts.count; i++)
            o->later.list[i] = o->rcpts.list[i];
        o->later.count = o->rcpts.count;
    }
    if (o->refused)
        print_problems(r);
    if (o->later.count)
        return spool_later(o, f->trouble == SMTP_CLIENT_FINE ? "the server takes no mail for now" : f->why.text);
    return o->refused ? EX_UNAVAILABLE : EX_OK;
}

static int send_message(struct order *o) {
    struct send_result result;
    struct why w = {0};
    struct send_plan plan = {.config = {.helo = o->host, .tls = SMTP_CLIENT_TLS_NONE, .phase_max_ms = ANSWER_MS},
                             .path = o->submit,
                             .connect_ms = CONNECT_MS,
                             .sender = o->sender,
                             .params = buf_str(&o->params),
                             .rcpts = o->rcpts.list,
                             .rcpt_count = o->rcpts.count,
                             .rcpt_params = buf_str(&o->rcpt_params),
                             .count = 1,
                             .connections = 1,
                             .message = give_message,
                             .told = told,
                             .arg = o};
    o->later.list = arena_alloc(&o->mem, (o->rcpts.count + 1) * sizeof *o->later.list);
    if (!o->later.list)
        return fail(EX_OSERR, "no memory");
    enum err e = send_run(&plan, &result, &w);
    int status = e == OK ? finish(o, &result) : fail(e == ERR_SYNTAX ? EX_DATAERR : EX_OSERR, "%s", w.text);
    send_result_free(&result);
    return status;
}

static int take_message(struct order *o, int argc, char **argv) {
    own_address(o);
    add_domain(o);
    int status = read_message(o);
    if (status == CLI_GO_ON)
        status = take_rcpts(o, argc, argv);
    return status == CLI_GO_ON ? send_message(o) : status;
}

/* ---- -bs: SMTP on the standard input and output ---- */

static int connect_socket(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof a.sun_path)
        return -1;
    memcpy(a.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* False: the side that was read has ended, or the other one does not take it. */
static bool copy_some(int from, int to) {
    char space[16384];
    ssize_t n = read(from, space, sizeof space);
    if (n < 0 && errno == EINTR)
        return true;
    for (ssize_t done = 0; done < n;) {
        ssize_t put = write(to, space + done, (size_t)(n - done));
        if (put < 0 && errno != EINTR)
            return false;
        done += put > 0 ? put : 0;
    }
    return n > 0;
}

static int speak_smtp(const struct order *o) {
    int fd = connect_socket(o->submit);
    if (fd < 0) {
        puts("421 4.3.2 The mail server is not running\r");
        return EX_TEMPFAIL;
    }
    struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    while (poll(fds, 2, -1) >= 0 || errno == EINTR) {
        if (fds[0].revents && !copy_some(STDIN_FILENO, fd)) {
            shutdown(fd, SHUT_WR);
            fds[0].fd = -1;
        }
        if (fds[1].revents && !copy_some(fd, STDOUT_FILENO))
            break;
    }
    close(fd);
    return EX_OK;
}

/* ---- the queue ---- */

/* The command that shows the queue need not be part of a build of this one (its tests leave it out). */
__attribute__((weak)) int cmd_queue(int argc, char **argv);

static int queue(const char *action) {
    char command[] = "queue", word[16];
    snprintf(word, sizeof word, "%s", action);
    char *argv[] = {command, word, NULL};
    return cmd_queue ? cmd_queue(2, argv) : fail(EX_UNAVAILABLE, "this Penfold has no queue to look at");
}

/* ---- the whole ---- */

static int run(struct order *o, int argc, char **argv) {
    switch (o->mode) {
    case 'p': return queue("list");
    case 'q': return queue("flush");
    case 'i': return EX_OK; /* aliases are in use as soon as they are written: nothing is compiled */
    case 's': return speak_smtp(o);
    default: return take_message(o, argc, argv);
    }
}

int cmd_sendmail(int argc, char **argv) {
    const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
    struct order o = {.mode = strcmp(name, "mailq") == 0        ? 'p'
                              : strcmp(name, "newaliases") == 0 ? 'i'
                                                                : 'm',
                      .mem = ARENA(MEMORY_MAX),
                      .params = BUF(PARAMS_MAX),
                      .rcpt_params = BUF(PARAMS_MAX),
                      .message = BUF(MESSAGE_MAX)};
    o.rcpts.mem = o.later.mem = &o.mem;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is a failed write, not an end without a word */
    int status = take_options(&o, argc, argv);
    if (status == CLI_GO_ON) {
        find_places(&o);
        status = run(&o, argc, argv);
    }
    buf_free(&o.params);
    buf_free(&o.rcpt_params);
    buf_free(&o.message);
    arena_free(&o.mem);
    return status;
}
