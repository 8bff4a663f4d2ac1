/* cmd_entry.c - penfold account, alias, domain: who is here, told to the running server, or to its database when none
 * runs.  What a setting means is told by penfold.conf(5): an entry has those that its block in the configuration would
 * have.
 * Passwords come from the terminal or from stdin, never from the command line, which everybody on the machine can read.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/cli_directory.h"
#include "cli/cli_http.h"
#include "cli/cli_table.h"
#include "mailauth/credential.h"
#include "sys/clock.h"

#define JSON_OPTION                                                                                                    \
    { .name = "json", .sentence = "As the JSON of the API." }

static const struct cli_option account_options[] = {
    CLI_DIRECTORY_OPTIONS,
    {.name = "app",
     .value = "NAME",
     .sentence = "For password: one of the account's further passwords, for a program."},
    {.name = "password-stdin", .sentence = "Read the password from stdin, its first line."},
    JSON_OPTION,
};
static const struct cli_option entry_options[] = {CLI_DIRECTORY_OPTIONS, JSON_OPTION};

#define COUNT(a) (sizeof(a) / sizeof *(a))

const struct cli_page cli_account_page = {
    .name = "account",
    .operands = "list | add|set|remove|show|password ADDRESS [KEY=VALUE...] | hash",
    .operands_min = 1,
    .operands_max = 100,
    .sentence = "Make, change, list and remove the accounts of a server.",
    .options = account_options,
    .option_count = COUNT(account_options),
};
const struct cli_page cli_alias_page = {
    .name = "alias",
    .operands = "list | add|set|remove|show ADDRESS [KEY=VALUE...]",
    .operands_min = 1,
    .operands_max = 100,
    .sentence = "Make, change, list and remove the aliases of a server.",
    .options = entry_options,
    .option_count = COUNT(entry_options),
};
const struct cli_page cli_domain_page = {
    .name = "domain",
    .operands = "list | add|set|remove|show DOMAIN [KEY=VALUE...]",
    .operands_min = 1,
    .operands_max = 100,
    .sentence = "Make, change, list and remove the local domains of a server.",
    .options = entry_options,
    .option_count = COUNT(entry_options),
};

struct kind {
    const struct cli_page *page;
    enum directory_kind kind;
    const struct cli_column columns[4];
    size_t column_count;
};
static const struct kind kinds[] = {
    {&cli_account_page,
     DIRECTORY_ACCOUNT,
     {{"Key", 24, 0}, {"name", 12, 0}, {"HasPassword", 11, 11}, {"quota", 8, 8}},
     4},
    {&cli_alias_page, DIRECTORY_ALIAS, {{"Key", 24, 0}, {"to", 24, 0}, {"keep", 4, 4}}, 3},
    {&cli_domain_page, DIRECTORY_DOMAIN, {{"Key", 24, 0}, {"alias_of", 16, 0}, {"catch_all", 16, 0}}, 3},
};

/* ---- passwords ---- */

static bool ask_line(const char *prompt, struct buf *line) {
    struct termios was, quiet;
    char text[CREDENTIAL_PASSWORD_MAX + 2];
    bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &was) == 0;
    if (terminal) {
        fprintf(stderr, "%s: ", prompt);
        quiet = was;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    }
    bool good = fgets(text, sizeof text, stdin) != NULL;
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
        fputc('\n', stderr);
    }
    if (good)
        buf_add(line, str_head(str_of(text), strcspn(text, "\r\n")));
    explicit_bzero(text, sizeof text);
    return good && line->n > 0;
}

static int ask_password(const struct cli_args *args, struct buf *password) {
    struct buf again = BUF(CREDENTIAL_PASSWORD_MAX);
    bool twice = isatty(STDIN_FILENO) && !cli_flag(args, "password-stdin");
    int status = EX_OK;
    if (!isatty(STDIN_FILENO) && !cli_flag(args, "password-stdin"))
        status = cli_usage_error(args->page, "there is no terminal to ask for the password: give it on stdin, with "
                                             "--password-stdin");
    else if (!ask_line("Password", password))
        status = cli_error(args->page, EX_NOINPUT, "no password was given");
    else if (twice && (!ask_line("Again", &again) || !str_eq(buf_str(password), buf_str(&again))))
        status = cli_error(args->page, EX_DATAERR, "these were two different passwords");
    buf_wipe(&again);
    return status;
}

static int print_hash(const struct cli_args *args) {
    struct buf password = BUF(CREDENTIAL_PASSWORD_MAX), line = BUF(CREDENTIAL_MAX);
    uint8_t random[CREDENTIAL_RANDOM];
    struct why w;
    int status = ask_password(args, &password);
    random_bytes(random, sizeof random);
    if (status == EX_OK && credential_make(buf_str(&password), random, &line, &w) != OK)
        status = cli_error(args->page, EX_DATAERR, "%s", w.text);
    if (status == EX_OK)
        puts(buf_cstr(&line));
    buf_wipe(&password);
    buf_wipe(&line);
    return status;
}

/* ---- entries ---- */

/* KEY=VALUE behind the address; an empty value removes the setting. */
static int take_settings(const struct cli_args *args, json_t *entry) {
    for (unsigned i = 2; i < args->operand_count; i++) {
        str rest = str_of(args->operands[i]), key;
        if (!str_cut(&rest, '=', &key) || key.n == 0)
            return cli_usage_error(args->page, "\"%s\" is not KEY=VALUE", args->operands[i]);
        if (str_eq(key, S("password")) || str_istarts(key, S("app")))
            return cli_usage_error(args->page, "passwords are not given on the command line: use `account password`");
        json_t *value = rest.n ? json_stringn(rest.p, rest.n) : json_null();
        if (!value || json_object_setn_new(entry, key.p, key.n, value) != 0)
            return cli_usage_error(args->page, "\"%s\" is not text", args->operands[i]);
    }
    return EX_OK;
}

static int set_password(const struct cli_args *args, json_t *entry) {
    struct buf password = BUF(CREDENTIAL_PASSWORD_MAX), name = BUF(512);
    const char *app = args->page == &cli_account_page ? cli_text(args, "app") : NULL;
    int status = ask_password(args, &password);
    if (app)
        buf_printf(&name, "app_password.%s", app);
    else
        buf_add(&name, S("password"));
    if (status == EX_OK && json_object_set_new(entry, buf_cstr(&name), json_stringn(password.p, password.n)) != 0)
        status = cli_error(args->page, EX_DATAERR, "the password is not UTF-8");
    buf_wipe(&password);
    buf_free(&name);
    return status;
}

/* The password is asked for first: while the database is open no server can start. */
static int put(const struct cli_args *args, const struct kind *k, enum cli_directory_how how, bool password) {
    struct cli_directory *d = NULL;
    json_t *entry = json_object();
    int status = take_settings(args, entry);
    if (status == EX_OK && password)
        status = set_password(args, entry);
    if (status == EX_OK)
        status = cli_directory_open(args, &d);
    if (status == EX_OK)
        status = cli_directory_put(d, k->kind, args->operands[1], entry, how);
    cli_directory_close(d);
    json_decref(entry);
    return status;
}

static int show(const struct cli_args *args, const struct kind *k) {
    struct cli_directory *d = NULL;
    struct buf shown = BUF(CLI_HTTP_ANSWER_MAX);
    json_t *entry = NULL;
    int status = cli_directory_open(args, &d);
    if (status == EX_OK)
        status = cli_directory_get(d, k->kind, args->operands[1], &entry);
    char *text = entry ? json_dumps(entry, cli_flag(args, "json") ? JSON_COMPACT : JSON_INDENT(2)) : NULL;
    if (text) {
        cli_clean(str_of(text), &shown);
        printf("%.*s\n", STR_ARG(buf_str(&shown)));
    }
    free(text);
    json_decref(entry);
    buf_free(&shown);
    cli_directory_close(d);
    return status;
}

static int list(const struct cli_args *args, const struct kind *k) {
    struct cli_directory *d = NULL;
    json_t *entries = NULL;
    int status = cli_directory_open(args, &d);
    if (status == EX_OK)
        status = cli_directory_list(d, k->kind, &entries);
    if (status == EX_OK)
        status = cli_table_put(args, entries, "Entries", k->columns, k->column_count, "There are none.");
    json_decref(entries);
    cli_directory_close(d);
    return status;
}

static int remove_entry(const struct cli_args *args, const struct kind *k) {
    struct cli_directory *d = NULL;
    int status = cli_directory_open(args, &d);
    if (status == EX_OK)
        status = cli_directory_remove(d, k->kind, args->operands[1]);
    cli_directory_close(d);
    return status;
}

static int run(const struct cli_args *args, const struct kind *k) {
    const char *what = args->operands[0];
    bool account = k->page == &cli_account_page;
    if (strcmp(what, "list") == 0 && args->operand_count == 1)
        return list(args, k);
    if (account && strcmp(what, "hash") == 0 && args->operand_count == 1)
        return print_hash(args);
    if (args->operand_count < 2)
        return cli_usage_error(args->page, "say %s", args->page->operands);
    if (strcmp(what, "add") == 0)
        return put(args, k, CLI_DIRECTORY_NEW, account);
    if (strcmp(what, "set") == 0)
        return put(args, k, CLI_DIRECTORY_OLD, false);
    if (account && strcmp(what, "password") == 0)
        return put(args, k, CLI_DIRECTORY_OLD, true);
    if (strcmp(what, "show") == 0)
        return show(args, k);
    if (strcmp(what, "remove") == 0)
        return remove_entry(args, k);
    return cli_usage_error(args->page, "there is no \"%s %s\"", args->page->name, what);
}

static int entry_command(const struct kind *k, int argc, char **argv) {
    struct cli_args args;
    int status = cli_parse(k->page, argc, argv, &args);
    if (status == CLI_GO_ON)
        status = run(&args, k);
    cli_args_free(&args);
    return status;
}

int cmd_account(int argc, char **argv) {
    return entry_command(&kinds[0], argc, argv);
}

int cmd_alias(int argc, char **argv) {
    return entry_command(&kinds[1], argc, argv);
}

int cmd_domain(int argc, char **argv) {
    return entry_command(&kinds[2], argc, argv);
}
