/* cli_options.h - options of a subcommand as a table: parsing, environment variables, help and manual come from the
 * same rows.
 *
 *     static const struct cli_option options[] = {
 *         {.name = "server", .value = "HOST:PORT", .fallback = "127.0.0.1:1025", .variable = "PENFOLD_SERVER",
 *          .sentence = "Where to send to."},
 *         {.name = "to", .value = "ADDRESS", .repeatable = true, .sentence = "A recipient."},
 *         {.name = "tls", .words = "none|starttls|implicit", .fallback = "none", .sentence = "How TLS begins."},
 *         {.name = "count", .value = "N", .min = 1, .max = 1000000, .fallback = "1", .sentence = "Messages to send."},
 *         {.name = "insecure", .sentence = "Do not verify the certificate."},
 *     };
 *     const struct cli_page cli_send_page = {
 *         .name = "send", .operands = "", .sentence = "Send a message by SMTP.",
 *         .options = options, .option_count = sizeof options / sizeof *options};
 *
 *     int cmd_send(int argc, char **argv) {          argv[0] is "send"
 *         struct cli_args args;
 *         int status = cli_parse(&cli_send_page, argc, argv, &args);
 *         if (status == CLI_GO_ON)
 *             status = send(&args);                  cli_text(&args, "server"), cli_item(&args, "to", i), ...
 *         cli_args_free(&args);                      always
 *         return status;
 *     }
 *
 * Written --name VALUE, --name=VALUE or -x VALUE; -- ends the options.  The command line goes before the environment,
 * the environment before .fallback; an empty variable is as good as none, and is one value: only the command line
 * repeats. All mistakes are told at once on stderr, then the status is 64.
 * --help prints the page and is status 0. */
#ifndef CLI_CLI_OPTIONS_H
#define CLI_CLI_OPTIONS_H

#include <sysexits.h>

#include "base/buf.h"

struct cli_option {
    const char *name;     /* without the dashes */
    char letter;          /* also -c; 0: none */
    const char *value;    /* what its value is called in the help; NULL (and no words): a flag without a value */
    const char *words;    /* the values allowed, "a|b|c"; NULL: any */
    uint64_t min, max;    /* max not 0: the value is a number of this range; cli_number gives it */
    const char *fallback; /* the value when there is none; NULL: none */
    const char *variable; /* environment variable; NULL: none.  A flag's is yes or no */
    bool repeatable;      /* may be given several times; else the last one counts */
    bool hidden;          /* not in help and manual */
    const char *sentence;
};

struct cli_page {
    const char *name;     /* of the subcommand */
    const char *operands; /* as in the usage line: "ID...", "" */
    unsigned operands_min, operands_max;
    const char *sentence;
    const struct cli_option *options;
    unsigned option_count;
};

struct cli_value {
    const char *text;
    const char *source; /* "--smtp" or "PENFOLD_SMTP", NULL: the fallback */
};

struct cli_values {
    struct cli_value *list;
    unsigned count;
};

struct cli_args {
    const struct cli_page *page;
    struct cli_values *values; /* one per option */
    char (*spelled)[64];       /* "--name", likewise */
    char **operands;           /* point into argv */
    unsigned operand_count;
};

enum { CLI_GO_ON = -1 };

/* CLI_GO_ON, or the status to exit with.  Values point into argv and the environment. */
int cli_parse(const struct cli_page *page, int argc, char **argv, struct cli_args *args) MUST_CHECK;
void cli_args_free(struct cli_args *args);

/* By name; an unknown name is our mistake (assert). */
bool cli_flag(const struct cli_args *args, const char *name);
const char *cli_text(const struct cli_args *args, const char *name); /* the last value, or NULL */
uint64_t cli_number(const struct cli_args *args, const char *name);  /* of an option with max; 0 without a value */
unsigned cli_count(const struct cli_args *args, const char *name);   /* values, the fallback counts as one */
const char *cli_item(const struct cli_args *args, const char *name, unsigned i);
const char *cli_source(const struct cli_args *args, const char *name); /* of the last value; NULL: fallback or none */

/* "penfold send: SENTENCE\n" and a hint at --help on stderr; returns EX_USAGE. */
int cli_usage_error(const struct cli_page *page, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "penfold send: SENTENCE\n" on stderr; returns status. */
int cli_error(const struct cli_page *page, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

void cli_page_help(struct buf *out, const struct cli_page *page);
/* A sentence or several as mdoc text, each on a line of its own. */
void cli_mdoc_text(struct buf *out, str text);
void cli_page_mdoc(struct buf *out, const struct cli_page *page); /* the list of options, for tools/mkman */

#endif
