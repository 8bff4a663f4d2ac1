/* cmd_sandbox.c - penfold sandbox: catches and shows every message.  penfold serve: the same program from a file. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_conf.h"

#define PRINT_CONF                                                                                                     \
    { .name = "print-conf", .hidden = true, .sentence = "Print the configuration in its canonical form and exit." }
#define SET                                                                                                            \
    {                                                                                                                  \
        .name = "set", .value = "KEY=VALUE", .repeatable = true,                                                       \
        .sentence = "Any setting of penfold.conf(5), or one of a listen block as listen.NAME.KEY=VALUE."               \
    }

/* An option that is a setting. */
#define SETTING(option, value_name, env, text)                                                                         \
    { .name = option, .value = value_name, .variable = env, .sentence = text }

static const struct cli_option sandbox_options[] = {
    SETTING("data", "DIR", "PENFOLD_DATA",
            "Where mail is kept. Without it: $XDG_STATE_HOME/penfold, or ~/.local/state/penfold."),
    {.name = "smtp",
     .value = "ADDRESS:PORT|off",
     .variable = "PENFOLD_SMTP",
     .fallback = "127.0.0.1:1025",
     .sentence = "SMTP, with STARTTLS and AUTH offered. A port alone means 127.0.0.1."},
    {.name = "smtps",
     .value = "ADDRESS:PORT|off",
     .variable = "PENFOLD_SMTPS",
     .fallback = "127.0.0.1:1465",
     .sentence = "SMTP over TLS."},
    {.name = "lmtp",
     .value = "ADDRESS:PORT|off",
     .variable = "PENFOLD_LMTP",
     .fallback = "off",
     .sentence = "LMTP; unix:/PATH for a socket."},
    {.name = "http",
     .value = "ADDRESS:PORT|off",
     .variable = "PENFOLD_HTTP",
     .fallback = "127.0.0.1:8025",
     .sentence = "The web page and the API."},
    {.name = "config",
     .letter = 'c',
     .value = "FILE",
     .variable = "PENFOLD_CONFIG",
     .sentence = "Read settings from this file first; options outrank it."},
    SETTING("hostname", "NAME", "PENFOLD_HOSTNAME", "The name in the SMTP greeting."),
    SETTING("auth-file", "FILE", "PENFOLD_AUTH_FILE",
            "Accept only these users, a user:password on each line, and offer SCRAM. Without it any credentials do."),
    SETTING("max-size", "SIZE", "PENFOLD_MAX_SIZE", "Largest message, with its unit: 50MiB."),
    SETTING("retain-count", "N", "PENFOLD_RETAIN_COUNT", "Keep at most so many messages; 0: any number."),
    SETTING("retain-age", "TIME", "PENFOLD_RETAIN_AGE", "Keep messages at most so long: 7d, 12h; 0: for ever."),
    SETTING("retain-bytes", "SIZE", "PENFOLD_RETAIN_BYTES", "Keep at most so many bytes: 10GiB; 0: any number."),
    SETTING("workers", "N", "PENFOLD_WORKERS", "SMTP processes; 0: one per core."),
    SETTING("tls-cert", "FILE", "PENFOLD_TLS_CERT",
            "The certificate chain (PEM) to use instead of the one the sandbox makes for itself."),
    SETTING("tls-key", "FILE", "PENFOLD_TLS_KEY", "The private key (PEM) of --tls-cert."),
    SETTING("proxy", "NETWORKS", "PENFOLD_PROXY", "Who must begin with a PROXY header: addresses, networks, unix."),
    SETTING("xclient", "NETWORKS", "PENFOLD_XCLIENT", "Who may use XCLIENT: addresses, networks, unix."),
    SETTING("framing", "keep|reject|normalize", "PENFOLD_FRAMING",
            "What becomes of a lone CR, LF or NUL in a message. A sandbox keeps and shows it."),
    SETTING("http-hosts", "NAMES", "PENFOLD_HTTP_HOSTS",
            "Names the web page may be asked for under, beside localhost."),
    SETTING("user", "NAME", "PENFOLD_USER", "Who to run as when started by root."),
    SETTING("log", "stderr|file|journal", "PENFOLD_LOG", "Where log lines go."),
    SETTING("log-file", "FILE", "PENFOLD_LOG_FILE", "The file of --log file."),
    SETTING("log-format", "text|json", "PENFOLD_LOG_FORMAT", "How log lines look."),
    SETTING("log-level", "debug|info|warning|error", "PENFOLD_LOG_LEVEL", "The least important level that is logged."),
    SET,
    PRINT_CONF,
};

const struct cli_page cli_sandbox_page = {
    .name = "sandbox",
    .operands = "",
    .sentence = "Catch every message that is sent to it, and show it.",
    .options = sandbox_options,
    .option_count = sizeof sandbox_options / sizeof *sandbox_options,
};

static const struct cli_option serve_options[] = {
    {.name = "config",
     .letter = 'c',
     .value = "FILE",
     .variable = "PENFOLD_CONFIG",
     .fallback = CLI_CONF_FILE,
     .sentence = "The configuration."},
    SET,
    PRINT_CONF,
};

const struct cli_page cli_serve_page = {
    .name = "serve",
    .operands = "",
    .sentence = "Run the mail server that a configuration file describes.",
    .options = serve_options,
    .option_count = sizeof serve_options / sizeof *serve_options,
};

/* Options that are global settings under another name. */
static const struct {
    const char *option;
    str key;
} settings[] = {
    {"data", S_INIT("data")},
    {"hostname", S_INIT("hostname")},
    {"auth-file", S_INIT("auth_file")},
    {"max-size", S_INIT("smtp_message_max")},
    {"retain-count", S_INIT("retain_count")},
    {"retain-age", S_INIT("retain_age")},
    {"retain-bytes", S_INIT("retain_bytes")},
    {"workers", S_INIT("workers")},
    {"tls-cert", S_INIT("tls_certificate")},
    {"tls-key", S_INIT("tls_key")},
    {"http-hosts", S_INIT("http_hosts")},
    {"user", S_INIT("user")},
    {"log", S_INIT("log")},
    {"log-file", S_INIT("log_file")},
    {"log-format", S_INIT("log_format")},
    {"log-level", S_INIT("log_level")},
};

/* The listeners of a sandbox; each is also the option that says where. */
static const struct {
    const char *name;
    str protocol, tls, auth;
} listeners[] = {
    {"smtp", S_INIT("smtp"), S_INIT("starttls"), S_INIT("offered")},
    {"smtps", S_INIT("smtp"), S_INIT("implicit"), S_INIT("offered")},
    {"lmtp", S_INIT("lmtp"), S_INIT("starttls"), S_INIT("offered")},
    {"http", S_INIT("http"), S_INIT("none"), S_INIT("none")},
};
enum { LISTENERS = sizeof listeners / sizeof *listeners };

/* Options that are settings of every SMTP and LMTP listener. */
static const struct {
    const char *option;
    str key;
} listen_settings[] = {
    {"proxy", S_INIT("proxy")},
    {"xclient", S_INIT("xclient")},
    {"framing", S_INIT("framing")},
};

struct start {
    const struct cli_args *args;
    struct conf *c;
    struct conf_errors *errors;
    struct buf text; /* of the file */
    bool bad_option, bad_file, no_file;
};

static void note(struct start *s, enum err e) {
    s->bad_option |= e != OK;
}

/* "1025" and ":1025" are ports of 127.0.0.1. */
static const char *with_host(const char *address, char space[32]) {
    str s = str_of(address);
    uint64_t port;
    str_skip_char(&s, ':');
    if (!str_u64(s, &port) || s.n > 5)
        return address;
    snprintf(space, 32, "127.0.0.1:%.*s", STR_ARG(s));
    return space;
}

static void set_listen(struct start *s, struct conf_listen *l, str key, str value, const char *where) {
    note(s, conf_listen_set(s->c, l, key, value, where, s->errors));
}

/* A listener that the file does not describe is made from the table; one that it does only moves when told to. */
static void apply_listener(struct start *s, size_t i) {
    const char *name = listeners[i].name, *source = cli_source(s->args, name);
    size_t before = s->c->listen_count;
    char space[32];
    struct conf_listen *l = conf_listen_named(s->c, str_of(name), source ? source : name);
    if (!l) {
        note(s, ERR_NOMEM);
        return;
    }
    bool fresh = s->c->listen_count > before;
    if (fresh) {
        set_listen(s, l, S("protocol"), listeners[i].protocol, name);
        set_listen(s, l, S("tls"), listeners[i].tls, name);
        set_listen(s, l, S("auth"), listeners[i].auth, name);
    }
    if (fresh || source)
        set_listen(s, l, S("address"), str_of(with_host(cli_text(s->args, name), space)), source ? source : name);
}

static void apply_listen_setting(struct start *s, const char *option, str key) {
    const char *value = cli_text(s->args, option);
    if (!value)
        return;
    for (size_t i = 0; i < s->c->listen_count; i++) {
        struct conf_listen *l = &s->c->listens[i];
        if (l->protocol == CONF_PROTOCOL_HTTP)
            continue;
        enum err e = conf_listen_set(s->c, l, key, str_of(value), cli_source(s->args, option), s->errors);
        note(s, e);
        if (e)
            return; /* once is enough */
    }
}

/* listen.NAME.KEY=VALUE */
static void apply_set_listen(struct start *s, str path, str value) {
    str name;
    if (!str_cut(&path, '.', &name) || !conf_name_valid(name)) {
        conf_errors_add(s->errors, "--set", 0,
                        "a setting of a listen block is written listen.NAME.KEY=VALUE, NAME of a-z 0-9 _ -");
        s->bad_option = true;
        return;
    }
    struct conf_listen *l = conf_listen_named(s->c, name, "--set");
    if (l)
        set_listen(s, l, path, value, "--set");
    else
        note(s, ERR_NOMEM);
}

static void apply_sets(struct start *s) {
    for (unsigned i = 0; i < cli_count(s->args, "set"); i++) {
        str value = str_of(cli_item(s->args, "set", i)), key;
        if (!str_cut(&value, '=', &key)) {
            conf_errors_add(s->errors, "--set", 0, "\"%.*s\" is not KEY=VALUE", STR_ARG(str_head(value, 100)));
            s->bad_option = true;
        } else if (str_skip(&key, S("listen.")))
            apply_set_listen(s, key, value);
        else
            note(s, conf_set(s->c, key, value, "--set", s->errors));
    }
}

static void apply_sandbox(struct start *s) {
    char home[PATH_MAX];
    cli_conf_state_home(home, sizeof home);
    if (!s->c->places[CONF_KEY_data].where && !cli_text(s->args, "data") && *home)
        note(s, conf_set(s->c, S("data"), str_of(home), "--data", s->errors));
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (cli_text(s->args, settings[i].option))
            note(s, conf_set(s->c, settings[i].key, str_of(cli_text(s->args, settings[i].option)),
                             cli_source(s->args, settings[i].option), s->errors));
    for (size_t i = 0; i < LISTENERS; i++)
        apply_listener(s, i);
    for (size_t i = 0; i < sizeof listen_settings / sizeof *listen_settings; i++)
        apply_listen_setting(s, listen_settings[i].option, listen_settings[i].key);
}

static void read_config(struct start *s, const char *file) {
    struct why w;
    if (cli_conf_load(file, &s->text, &w) != OK) {
        conf_errors_add(s->errors, NULL, 0, "%s", w.text);
        s->no_file = true;
    } else if (conf_read(buf_str(&s->text), strcmp(file, "-") == 0 ? "stdin" : file, s->c, s->errors) != OK)
        s->bad_file = true;
}

/* Options, file and checks into one struct conf; EX_OK, or the status after all complaints have been printed. */
static int build(struct start *s, str mode) {
    const char *file = cli_text(s->args, "config");
    enum err checked;
    conf_defaults(s->c);
    if (file)
        read_config(s, file);
    if (str_eq(mode, S("sandbox")))
        apply_sandbox(s);
    apply_sets(s);
    note(s, conf_set(s->c, S("mode"), mode, NULL, s->errors)); /* last: the subcommand decides */
    checked = cli_conf_check(s->c, s->errors);
    if (!s->no_file && !s->bad_option && !s->bad_file && checked == OK)
        return EX_OK;
    return cli_conf_complain(s->errors, s->no_file ? EX_NOINPUT : s->bad_option || !file ? EX_USAGE : EX_CONFIG);
}

static int print_conf(const struct conf *c) {
    struct buf out = BUF(2 * CONF_FILE_MAX);
    conf_write(&out, c);
    fwrite(out.p, 1, out.n, stdout);
    buf_free(&out);
    return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}

static int start(struct start *s, str mode, int argc, char **argv) {
    const struct cli_page *page = s->args->page;
    struct why w;
    int status = build(s, mode);
    if (status)
        return status;
    if (cli_conf_fill_hostname(s->c, s->errors) != OK)
        return cli_conf_complain(s->errors, EX_OSERR);
    if (cli_flag(s->args, "print-conf"))
        return print_conf(s->c);
    if (s->c->listen_count == 0)
        return cli_error(page, EX_USAGE, "there is nothing to listen on");
    enum err e = cli_conf_make_data(s->c, &w);
    if (e)
        return cli_error(page, e == ERR_DENIED ? EX_NOPERM : EX_CANTCREAT, "%s", w.text);
    return cli_conf_launch(page, s->c, argc, argv);
}

static int run(const struct cli_page *page, str mode, int argc, char **argv) {
    struct cli_args args;
    struct conf c = {0};
    struct conf_errors errors = {0};
    struct start s = {.args = &args, .c = &c, .errors = &errors};
    int status = cli_parse(page, argc, argv, &args);
    if (status == CLI_GO_ON)
        status = start(&s, mode, argc, argv);
    buf_free(&s.text);
    conf_errors_free(&errors);
    conf_free(&c);
    cli_args_free(&args);
    return status;
}

int cmd_sandbox(int argc, char **argv) {
    return run(&cli_sandbox_page, S("sandbox"), argc, argv);
}

int cmd_serve(int argc, char **argv) {
    return run(&cli_serve_page, S("server"), argc, argv);
}
