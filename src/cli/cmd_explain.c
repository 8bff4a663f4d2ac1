/* cmd_explain.c - penfold explain: the whole story of a message in plain words; penfold trace: sessions as they happen.
 */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/cli_http.h"
#include "cli/cli_table.h"

static const struct cli_option explain_options[] = {
    CLI_HTTP_ADMIN_OPTION,
    {.name = "json", .sentence = "As the JSON of the API."},
};

const struct cli_page cli_explain_page = {
    .name = "explain",
    .operands = "ID...",
    .operands_min = 1,
    .operands_max = 1000,
    .sentence = "Tell the whole story of a message, or of a session in which mail was refused.",
    .options = explain_options,
    .option_count = sizeof explain_options / sizeof *explain_options,
};

static const struct cli_option trace_options[] = {
    CLI_HTTP_ADMIN_OPTION,
    {.name = "filter",
     .value = "TEXT",
     .sentence = "Only sessions whose client, listener, user or addresses contain it."},
};

const struct cli_page cli_trace_page = {
    .name = "trace",
    .operands = "",
    .sentence = "Show what clients and server say to each other, as it happens, until interrupted.",
    .options = trace_options,
    .option_count = sizeof trace_options / sizeof *trace_options,
};

int cmd_explain(int argc, char **argv) {
    struct cli_args args;
    int status = cli_parse(&cli_explain_page, argc, argv, &args);
    if (status == CLI_GO_ON)
        status = EX_OK;
    else
        args.operand_count = 0;
    for (unsigned i = 0; i < args.operand_count && status == EX_OK; i++)
        status = cli_explain(&args, args.operands[i]);
    cli_args_free(&args);
    return status;
}

static int trace(const struct cli_args *args) {
    struct buf path = BUF(4096);
    buf_add(&path, S("/api/v1/admin/trace?filter="));
    if (cli_text(args, "filter"))
        cli_http_escape(str_of(cli_text(args, "filter")), &path);
    int status = cli_http_follow(args, buf_cstr(&path), stdout);
    buf_free(&path);
    return status;
}

int cmd_trace(int argc, char **argv) {
    struct cli_args args;
    int status = cli_parse(&cli_trace_page, argc, argv, &args);
    if (status == CLI_GO_ON)
        status = trace(&args);
    cli_args_free(&args);
    return status;
}
