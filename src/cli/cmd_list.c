/* cmd_list.c - penfold list: the newest messages of a running Penfold, as a table or as the API's JSON. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_http.h"

static const struct cli_option options[] = {
    CLI_HTTP_URL_OPTION,
    {.name = "limit",
     .value = "N",
     .min = 0,
     .max = 1000000,
     .fallback = "20",
     .sentence = "How many, the newest first; 0: all."},
    {.name = "json", .sentence = "As the JSON of the API."},
};

const struct cli_page cli_list_page = {
    .name = "list",
    .operands = "",
    .sentence = "List the messages of a running Penfold, the newest first.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
};

enum { ID_COLUMNS = 22, TIME_COLUMNS = 16, GAP = 2, SENDER_MAX = 28 };

static str text_of(json_t *object, const char *name) {
    json_t *v = json_object_get(object, name);
    return json_is_string(v) ? str_n(json_string_value(v), json_string_length(v)) : STR_NONE;
}

/* The first of the addresses that has one, and how many more there are. */
static void put_people(struct buf *out, json_t *people) {
    json_t *first = json_is_array(people) ? json_array_get(people, 0) : people;
    buf_add(out, text_of(first, "Address"));
    if (json_array_size(people) > 1)
        buf_printf(out, " +%zu", json_array_size(people) - 1);
}

/* Blind recipients are all there is when the header names none. */
static void put_recipients(struct buf *out, json_t *m) {
    static const char *const fields[] = {"To", "Cc", "Bcc"};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0] && out->n == 0; i++)
        if (json_array_size(json_object_get(m, fields[i])) > 0)
            put_people(out, json_object_get(m, fields[i]));
}

/* Without a terminal: columns are separated by one tab and whole, for other programs. */
static void put_cell(struct buf *out, str text, unsigned width) {
    unsigned used = cli_cell(text, width, out);
    if (!width)
        buf_char(out, '\t');
    else
        buf_fill(out, ' ', width - used + GAP);
}

static void put_row(struct buf *out, json_t *m, unsigned columns) {
    unsigned rest = columns ? columns - ID_COLUMNS - TIME_COLUMNS - 4 * GAP : 0;
    unsigned person = rest / 4 < SENDER_MAX ? rest / 4 : SENDER_MAX;
    struct buf from = BUF(4096), to = BUF(4096), when = BUF(64);
    str created = text_of(m, "Created");
    bool unread = columns && !json_is_true(json_object_get(m, "Read"));
    put_people(&from, json_object_get(m, "From"));
    put_recipients(&to, m);
    buf_printf(&when, "%.10s %.5s", created.n >= 16 ? created.p : "----------",
               created.n >= 16 ? created.p + 11 : "--:--");
    if (unread)
        buf_add(out, S("\033[1m"));
    put_cell(out, text_of(m, "ID"), columns ? ID_COLUMNS : 0);
    put_cell(out, buf_str(&when), columns ? TIME_COLUMNS : 0);
    put_cell(out, buf_str(&from), person);
    put_cell(out, buf_str(&to), person);
    cli_cell(text_of(m, "Subject"), columns ? rest - 2 * person : 0, out);
    buf_add(out, unread ? S("\033[0m\n") : S("\n"));
    buf_free(&from);
    buf_free(&to);
    buf_free(&when);
}

static int print_table(const struct cli_args *args, str text) {
    json_error_t error;
    json_t *root = json_loadb(text.p, text.n, JSON_ALLOW_NUL, &error), *messages = json_object_get(root, "messages");
    if (!json_is_array(messages)) {
        json_decref(root);
        return cli_error(args->page, EX_UNAVAILABLE, "%s does not answer as a Penfold does", cli_text(args, "url"));
    }
    unsigned columns = cli_columns();
    struct buf out = BUF(CLI_HTTP_ANSWER_MAX);
    size_t i;
    json_t *m;
    json_array_foreach(messages, i, m) put_row(&out, m, columns);
    if (i == 0 && columns)
        buf_add(&out, S("No messages.\n"));
    fwrite(out.p, 1, out.n, stdout);
    buf_free(&out);
    json_decref(root);
    return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}

static int list(const struct cli_args *args) {
    char path[128];
    snprintf(path, sizeof path, "/api/v1/messages?limit=%llu", (unsigned long long)cli_number(args, "limit"));
    if (cli_flag(args, "json")) {
        int status = cli_http_copy(args, path, NULL, stdout);
        if (status == EX_OK)
            putchar('\n');
        return status;
    }
    struct buf answer = BUF(CLI_HTTP_ANSWER_MAX);
    int status = cli_http_get(args, path, NULL, &answer);
    if (status == EX_OK)
        status = print_table(args, buf_str(&answer));
    buf_free(&answer);
    return status;
}

int cmd_list(int argc, char **argv) {
    struct cli_args args;
    int status = cli_parse(&cli_list_page, argc, argv, &args);
    if (status == CLI_GO_ON)
        status = list(&args);
    cli_args_free(&args);
    return status;
}
