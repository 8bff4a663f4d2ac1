/* cmd_queue.c - penfold queue: what waits, where, and what an operator does with it. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_http.h"
#include "cli/cli_table.h"

static const struct cli_option options[] = {
    CLI_HTTP_ADMIN_OPTION,
    {.name = "id", .value = "ID", .sentence = "Only this message."},
    {.name = "from", .value = "PATTERN", .sentence = "Only of this sender; a * is any text."},
    {.name = "to", .value = "PATTERN", .sentence = "Only for this recipient; a * is any text."},
    {.name = "domain", .value = "DOMAIN", .sentence = "Only for this domain."},
    {.name = "state", .words = "waiting|active|held|unknown|reporting", .sentence = "Only what is in this state."},
    {.name = "route", .value = "NAME", .sentence = "Only what this route block sends."},
    {.name = "limit", .value = "N", .min = 1, .max = 1000000, .fallback = "1000", .sentence = "How many rows at most."},
    {.name = "all", .sentence = "For hold, release, retry, delete and bounce: everything, when nothing narrows it."},
    {.name = "json", .sentence = "As the JSON of the API."},
};

const struct cli_page cli_queue_page = {
    .name = "queue",
    .operands = "list|show|sites|flush|retry|hold|release|bounce|delete [ID...]",
    .operands_min = 1,
    .operands_max = 1000,
    .sentence = "Show what waits for delivery, and hold, release, retry, return or delete it.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
};

/* The option's name and the filter's. */
static const char *const filters[][2] = {{"id", "id"},         {"from", "sender"}, {"to", "recipient"},
                                         {"domain", "domain"}, {"state", "state"}, {"route", "route"}};
enum { FILTERS = sizeof filters / sizeof *filters };

static void queue_path(const struct cli_args *args, struct buf *path) {
    buf_printf(path, "/api/v1/admin/queue?limit=%llu", (unsigned long long)cli_number(args, "limit"));
    for (size_t i = 0; i < FILTERS; i++) {
        const char *value = cli_text(args, filters[i][0]);
        if (!value)
            continue;
        buf_printf(path, "&%s=", filters[i][1]);
        cli_http_escape(str_of(value), path);
    }
}

static int list(const struct cli_args *args) {
    static const struct cli_column columns[] = {{"ID", 22, 22},       {"State", 9, 9},    {"Sender", 10, 0},
                                                {"Recipient", 10, 0}, {"Attempts", 8, 8}, {"NextAttempt", 19, 19},
                                                {"LastAnswer", 10, 0}};
    struct buf path = BUF(8192);
    queue_path(args, &path);
    int status =
        cli_table_print(args, buf_cstr(&path), "Queue", columns, sizeof columns / sizeof *columns, "Nothing waits.");
    buf_free(&path);
    return status;
}

static int sites(const struct cli_args *args) {
    static const struct cli_column columns[] = {{"Site", 20, 0},      {"Waiting", 8, 8}, {"Active", 7, 7},
                                                {"Window", 7, 7},     {"Dead", 5, 5},    {"RetryAt", 19, 19},
                                                {"LastAnswer", 10, 0}};
    return cli_table_print(args, "/api/v1/admin/sites", "Sites", columns, sizeof columns / sizeof *columns,
                           "No site is known.");
}

static int act(const struct cli_args *args, const char *action, json_t *filter) {
    struct buf path = BUF(256), answer = BUF(64 * 1024);
    char *body = json_dumps(filter, JSON_COMPACT);
    buf_printf(&path, "/api/v1/admin/queue/%s", action);
    int status = body ? cli_http_ask(args, "POST", buf_cstr(&path), str_of(body), NULL, &answer) : EX_OSERR;
    json_error_t error;
    json_t *root = status == EX_OK ? json_loadb(answer.p, answer.n, 0, &error) : NULL;
    if (root)
        printf("%lld\n", (long long)json_integer_value(json_object_get(root, "Count")));
    json_decref(root);
    free(body);
    buf_free(&path);
    buf_free(&answer);
    return status;
}

static json_t *filter_of(const struct cli_args *args) {
    json_t *filter = json_object();
    for (size_t i = 0; i < FILTERS; i++)
        if (cli_text(args, filters[i][0]))
            json_object_set_new(filter, filters[i][1], json_string(cli_text(args, filters[i][0])));
    return filter;
}

/* Each id on the command line, or what the options say; all of it only with --all. */
static int act_on(const struct cli_args *args, const char *action, bool all_is_fine) {
    int status = EX_OK;
    json_t *filter = filter_of(args);
    if (args->operand_count == 1 && json_object_size(filter) == 0 && !all_is_fine && !cli_flag(args, "all")) {
        json_decref(filter);
        return cli_usage_error(args->page, "%s what? Name ids, narrow it with an option, or say --all",
                               args->operands[0]);
    }
    for (unsigned i = 1; i < args->operand_count && status == EX_OK; i++) {
        json_object_set_new(filter, "id", json_string(args->operands[i]));
        status = act(args, action, filter);
    }
    if (args->operand_count == 1)
        status = act(args, action, filter);
    json_decref(filter);
    return status;
}

static int show(const struct cli_args *args) {
    int status = args->operand_count > 1 ? EX_OK : cli_usage_error(args->page, "show which message?");
    for (unsigned i = 1; i < args->operand_count && status == EX_OK; i++)
        status = cli_explain(args, args->operands[i]);
    return status;
}

static int run(const struct cli_args *args) {
    static const char *const acts[] = {"retry", "hold", "release", "bounce", "delete"};
    const char *what = args->operands[0];
    if (strcmp(what, "list") == 0)
        return list(args);
    if (strcmp(what, "sites") == 0)
        return sites(args);
    if (strcmp(what, "show") == 0)
        return show(args);
    if (strcmp(what, "flush") == 0)
        return act_on(args, "retry", true);
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
        if (strcmp(what, acts[i]) == 0)
            return act_on(args, what, false);
    return cli_usage_error(args->page, "there is no \"queue %s\"", what);
}

int cmd_queue(int argc, char **argv) {
    struct cli_args args;
    int status = cli_parse(&cli_queue_page, argc, argv, &args);
    if (status == CLI_GO_ON)
        status = run(&args);
    cli_args_free(&args);
    return status;
}
