/* main.c - the one command a person sees: penfold SUBCOMMAND. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "conf/conf.h"

/* Every subcommand: its function and its page, from which help and manual come. */
static const struct command {
    int (*run)(int argc, char **argv);
    const struct cli_page *page;
} commands[] = {
    {cmd_sandbox, &cli_sandbox_page}, {cmd_serve, &cli_serve_page},
    {cmd_send, &cli_send_page},       {cmd_list, &cli_list_page},
    {cmd_show, &cli_show_page},       {cmd_conf, &cli_conf_page},
    {cmd_store, &cli_store_page},     {cmd_account, &cli_account_page},
    {cmd_alias, &cli_alias_page},     {cmd_domain, &cli_domain_page},
    {cmd_queue, &cli_queue_page},     {cmd_explain, &cli_explain_page},
    {cmd_trace, &cli_trace_page},     {cmd_token, &cli_token_page},
    {cmd_log, &cli_log_page},         {cmd_dns, &cli_dns_page},
    {cmd_mx, &cli_mx_page},           {cmd_init, &cli_init_page},
    {cmd_route, &cli_route_page},     {cmd_sendmail, &cli_sendmail_page},
    {cmd_mailbox, &cli_mailbox_page}, {cmd_backup, &cli_backup_page},
    {cmd_restore, &cli_restore_page},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static int print(struct buf *out, FILE *to) {
    fwrite(out->p, 1, out->n, to);
    buf_free(out);
    return fflush(to) == 0 ? EX_OK : EX_IOERR;
}

static void overview(struct buf *out) {
    buf_add(out, S("Usage: penfold COMMAND [ARGUMENT]...\n"
                   "One SMTP system: takes mail, keeps it safe and shows it.\n\nCommands:\n"));
    for (size_t i = 0; i < COMMANDS; i++)
        buf_printf(out, "  %-10s %s\n", commands[i].page->name, commands[i].page->sentence);
    buf_add(out, S("\npenfold COMMAND --help tells more of one, penfold --version says which this is.\n"));
}

static const struct command *find(const char *name) {
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].page->name, name) == 0)
            return &commands[i];
    return NULL;
}

static int unknown(const char *name) {
    struct conf_guess g = {.word = str_of(name)};
    for (size_t i = 0; i < COMMANDS; i++)
        conf_guess_try(&g, str_of(commands[i].page->name));
    conf_guess_try(&g, S("help"));
    fprintf(stderr, "penfold: there is no command \"%.60s\"", name);
    if (g.best.n)
        fprintf(stderr, " (did you mean \"%.*s\"?)", STR_ARG(g.best));
    fprintf(stderr, "\nTry \"penfold --help\".\n");
    return EX_USAGE;
}

/* penfold help [--mdoc] [COMMAND]; --mdoc is how tools/mkman gets its tables, alone it lists the commands. */
static int help(int argc, char **argv) {
    struct buf out = BUF(1024 * 1024);
    bool mdoc = argc > 1 && strcmp(argv[1], "--mdoc") == 0;
    const char *name = argc > 1 + mdoc ? argv[1 + mdoc] : NULL;
    const struct command *c = name ? find(name) : NULL;
    if (name && !c)
        return unknown(name);
    if (!c && mdoc)
        for (size_t i = 0; i < COMMANDS; i++)
            buf_printf(&out, ".It Xr penfold-%s 1\n%s\n", commands[i].page->name, commands[i].page->sentence);
    else if (!c)
        overview(&out);
    else if (mdoc)
        cli_page_mdoc(&out, c->page);
    else
        cli_page_help(&out, c->page);
    return print(&out, stdout);
}

/* Linked under these names, penfold is what other programs expect behind them. */
static bool called_as_sendmail(const char *argv0) {
    static const char *const names[] = {"sendmail", "mailq", "newaliases"};
    const char *slash = strrchr(argv0, '/'), *name = slash ? slash + 1 : argv0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

int main(int argc, char **argv) {
    struct buf out = BUF(64 * 1024);
    if (argc > 0 && called_as_sendmail(argv[0]))
        return cmd_sendmail(argc, argv);
    if (argc < 2) {
        overview(&out);
        print(&out, stderr);
        return EX_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0)
        return puts("penfold " PENFOLD_VERSION) >= 0 && fflush(stdout) == 0 ? EX_OK : EX_IOERR;
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
        return help(argc - 1, argv + 1);
    const struct command *c = find(name);
    return c ? c->run(argc - 1, argv + 1) : unknown(name);
}
