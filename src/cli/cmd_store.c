/* cmd_store.c - penfold store: looks after a data directory that no instance is using. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_conf.h"
#include "store/store_check.h"

static const struct cli_option options[] = {
    {.name = "data",
     .value = "DIR",
     .variable = "PENFOLD_DATA",
     .sentence = "The data directory. Without it that of --config, else $XDG_STATE_HOME/penfold or "
                 "~/.local/state/penfold."},
    {.name = "config",
     .letter = 'c',
     .value = "FILE",
     .variable = "PENFOLD_CONFIG",
     .sentence = "The configuration that the directory was written under."},
    {.name = "quiet", .letter = 'q', .sentence = "Print faults only."},
};

const struct cli_page cli_store_page = {
    .name = "store",
    .operands = "check",
    .operands_min = 1,
    .operands_max = 1,
    .sentence = "Verify every checksum, reference and counter of a data directory.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
};

static void report(void *arg, bool fault, const char *line) {
    const struct cli_args *args = arg;
    if (fault || !cli_flag(args, "quiet"))
        fprintf(fault ? stderr : stdout, "%s%s\n", fault ? "fault: " : "", line);
}

static int status_of(enum err e) {
    switch (e) {
    case ERR_EXISTS: return EX_TEMPFAIL;
    case ERR_NOT_FOUND: return EX_NOINPUT;
    case ERR_VERSION: return EX_DATAERR;
    case ERR_DENIED: return EX_NOPERM;
    default: return EX_IOERR;
    }
}

static int check(const struct cli_args *args, const char *data, uint64_t segment_size) {
    struct store_check_result result = {0};
    struct why w;
    enum err e = store_check(data, segment_size, report, (void *)args, &result, &w);
    if (e)
        return cli_error(args->page, status_of(e), "%s", w.text);
    if (result.faults || !cli_flag(args, "quiet"))
        printf("%s: %llu messages, %llu records, %llu big files, %llu faults\n", data,
               (unsigned long long)result.messages, (unsigned long long)result.records,
               (unsigned long long)result.big_files, (unsigned long long)result.faults);
    return result.faults ? EX_DATAERR : EX_OK;
}

static int with_conf(const struct cli_args *args, struct conf *c) {
    char home[PATH_MAX];
    if (strcmp(args->operands[0], "check") != 0)
        return cli_usage_error(args->page, "\"%s\" is not check", args->operands[0]);
    return check(args, cli_conf_data(args, c, home), c->journal_segment_size);
}

int cmd_store(int argc, char **argv) {
    return cli_conf_run(&cli_store_page, argc, argv, with_conf);
}
