/* cmd_log.c - penfold log: the lines of the server's log, wherever its configuration says they go. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/cli_conf.h"

static const struct cli_option options[] = {
    {.name = "config",
     .letter = 'c',
     .value = "FILE",
     .variable = "PENFOLD_CONFIG",
     .fallback = CLI_CONF_FILE,
     .sentence = "The server's configuration."},
    {.name = "follow", .letter = 'f', .sentence = "Go on with what comes, until interrupted."},
    {.name = "lines",
     .letter = 'n',
     .value = "N",
     .min = 0,
     .max = 1000000,
     .fallback = "50",
     .sentence = "How many of the newest lines to begin with."},
    {.name = "grep",
     .letter = 'g',
     .value = "TEXT",
     .sentence = "Only lines that contain it: an id, an address, an event."},
};

const struct cli_page cli_log_page = {
    .name = "log",
    .operands = "",
    .sentence = "Show the server's log, and follow it.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
};

enum { STEP = 64 * 1024, LINE_MAX_BYTES = 1024 * 1024 };

struct tail {
    const struct cli_args *args;
    const char *path;
    int fd;
    struct buf line; /* begun, not ended */
};

static void show_line(const struct tail *t, str line) {
    const char *wanted = cli_text(t->args, "grep");
    if (wanted && str_find_str(line, str_of(wanted)) == SIZE_MAX)
        return;
    fwrite(line.p, 1, line.n, stdout);
    putchar('\n');
}

static void show_new(struct tail *t) {
    char space[STEP];
    for (ssize_t n; (n = read(t->fd, space, sizeof space)) > 0;) {
        str rest = str_n(space, (size_t)n), head;
        while (str_cut(&rest, '\n', &head)) {
            buf_add(&t->line, head);
            show_line(t, buf_str(&t->line));
            buf_reset(&t->line);
        }
        buf_add(&t->line, rest);
    }
    fflush(stdout);
}

/* To where the last `lines` lines that are wanted begin: counted from the end, block by block. */
static void seek_lines(struct tail *t, uint64_t lines) {
    const char *wanted = cli_text(t->args, "grep");
    off_t end = lseek(t->fd, 0, SEEK_END), at = end;
    char space[STEP];
    uint64_t seen = 0;
    if (wanted) { /* what is not wanted does not count: all of it is looked through */
        lseek(t->fd, 0, SEEK_SET);
        return;
    }
    while (at > 0 && seen <= lines) {
        size_t n = at > STEP ? STEP : (size_t)at;
        at -= (off_t)n;
        if (pread(t->fd, space, n, at) != (ssize_t)n)
            break;
        for (size_t i = n; i-- > 0;)
            if (space[i] == '\n' && ++seen > lines) {
                lseek(t->fd, at + (off_t)i + 1, SEEK_SET);
                return;
            }
    }
    lseek(t->fd, 0, SEEK_SET);
}

/* The file may be moved away and made anew (log rotation): then the new one goes on. */
static void reopen(struct tail *t) {
    struct stat now, then;
    if (stat(t->path, &now) != 0 || fstat(t->fd, &then) != 0 || now.st_ino == then.st_ino)
        return;
    int fd = open(t->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    show_new(t);
    close(t->fd);
    t->fd = fd;
}

static int follow(struct tail *t) {
    char space[4096];
    int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    char folder[4096];
    const char *slash = strrchr(t->path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - t->path + 1) : 1, slash ? t->path : ".");
    if (watch < 0 || inotify_add_watch(watch, folder, IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0)
        return cli_error(t->args->page, EX_OSERR, "%s: %s", folder, strerror(errno));
    for (;;) {
        struct pollfd p = {watch, POLLIN, 0};
        show_new(t);
        if (ferror(stdout))
            return EX_IOERR;
        if (poll(&p, 1, -1) < 0 && errno != EINTR)
            return EX_OSERR;
        while (read(watch, space, sizeof space) > 0)
            ;
        reopen(t);
    }
}

static int show_file(const struct cli_args *args, const char *path) {
    struct tail t = {.args = args, .path = path, .line = BUF(LINE_MAX_BYTES)};
    t.fd = open(path, O_RDONLY | O_CLOEXEC);
    if (t.fd < 0)
        return cli_error(args->page, EX_NOINPUT, "%s: %s", path, strerror(errno));
    seek_lines(&t, cli_number(args, "lines"));
    show_new(&t);
    int status = cli_flag(args, "follow") ? follow(&t) : EX_OK;
    close(t.fd);
    buf_free(&t.line);
    return status;
}

static int show_journal(const struct cli_args *args) {
    char lines[32];
    const char *argv[10] = {"journalctl", "--unit=penfold", "--output=cat"};
    size_t n = 3;
    snprintf(lines, sizeof lines, "--lines=%llu", (unsigned long long)cli_number(args, "lines"));
    argv[n++] = lines;
    if (cli_flag(args, "follow"))
        argv[n++] = "--follow";
    struct buf grep = BUF(4096);
    if (cli_text(args, "grep")) { /* journalctl takes a regular expression: every character for itself */
        buf_add(&grep, S("--grep="));
        for (const char *c = cli_text(args, "grep"); *c; c++) {
            if (!char_is_alnum(*c) && !((unsigned char)*c & 0x80))
                buf_char(&grep, '\\');
            buf_char(&grep, *c);
        }
        argv[n++] = buf_cstr(&grep);
    }
    execvp(argv[0], (char **)(uintptr_t)argv);
    return cli_error(args->page, EX_UNAVAILABLE, "journalctl: %s", strerror(errno));
}

static int with_conf(const struct cli_args *args, const struct conf *c) {
    switch (c->log) {
    case CONF_LOG_FILE: return show_file(args, c->log_file.p);
    case CONF_LOG_JOURNAL: return show_journal(args);
    default: break;
    }
    if (access("/run/systemd/system", F_OK) == 0)
        return show_journal(args); /* what a unit writes to stderr is there, too */
    return cli_error(args->page, EX_UNAVAILABLE,
                     "the log goes where the server was started: set log to file or journal to see it here");
}

static int run(const struct cli_args *args) {
    struct conf c;
    struct conf_errors errors = {0};
    struct buf text = {0};
    struct why w;
    int status = EX_OK;
    conf_defaults(&c);
    if (cli_conf_load(cli_text(args, "config"), &text, &w) != OK)
        status = cli_error(args->page, EX_NOINPUT, "%s", w.text);
    else if (conf_read(buf_str(&text), cli_text(args, "config"), &c, &errors) != OK)
        status = cli_conf_complain(&errors, EX_CONFIG);
    else
        status = with_conf(args, &c);
    buf_free(&text);
    conf_errors_free(&errors);
    conf_free(&c);
    return status;
}

int cmd_log(int argc, char **argv) {
    struct cli_args args;
    int status = cli_parse(&cli_log_page, argc, argv, &args);
    if (status == CLI_GO_ON)
        status = run(&args);
    cli_args_free(&args);
    return status;
}
