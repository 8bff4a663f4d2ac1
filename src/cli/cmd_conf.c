/* cmd_conf.c - penfold conf: looks at configurations, changes none. */
#include <stdio.h>
#include <string.h>

#include "base/code.h"
#include "cli/cli.h"
#include "cli/cli_conf.h"

static const struct cli_option options[] = {
    {.name = "json", .sentence = "As JSON."},
    {.name = "mdoc", .hidden = true, .sentence = "As the tables of penfold.conf(5)."},
};

const struct cli_page cli_conf_page = {
    .name = "conf",
    .operands = "check FILE | show [FILE] | defaults",
    .operands_min = 1,
    .operands_max = 2,
    .sentence = "Check a configuration, show what it changes, or list all settings.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
};

static int print(struct buf *out) {
    fwrite(out->p, 1, out->n, stdout);
    buf_free(out);
    return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}

/* ---- defaults ---- */

static void comment(struct buf *out, const char *indent, const struct conf_row *row) {
    struct buf values = BUF(1024);
    conf_row_values(&values, row);
    buf_printf(out, "%s# %.*s\n%s# (%s)\n", indent, STR_ARG(row->sentence), indent, buf_cstr(&values));
    buf_free(&values);
}

static void put_default(struct buf *out, const char *indent, const struct conf_row *row) {
    bool quoted = row->type == CONF_T_TEXT || row->type == CONF_T_PATH || row->fallback.n == 0;
    comment(out, indent, row);
    buf_printf(out, "%s#%.*s %s%.*s%s\n\n", indent, STR_ARG(row->name), quoted ? "\"" : "", STR_ARG(row->fallback),
               quoted ? "\"" : "");
}

static void defaults_text(struct buf *out) {
    for (size_t i = 0; i < CONF_KEYS; i++)
        put_default(out, "", &conf_rows[i]);
    buf_add(out, S("#listen NAME {\n"));
    for (size_t i = 0; i < CONF_LISTEN_KEYS; i++)
        put_default(out, "    ", &conf_listen_rows[i]);
    buf_add(out, S("#}\n"));
}

static void json_member(struct buf *out, const char *name, str value, bool more) {
    buf_printf(out, "\"%s\":\"", name);
    escape_json(value, out);
    buf_add(out, more ? S("\",") : S("\""));
}

static void json_row(struct buf *out, const struct conf_row *row, bool first) {
    struct buf values = BUF(1024);
    conf_row_values(&values, row);
    buf_add(out, first ? S("\n  {") : S(",\n  {"));
    json_member(out, "name", row->name, true);
    json_member(out, "default", row->fallback, true);
    json_member(out, "values", buf_str(&values), true);
    json_member(out, "sentence", row->sentence, false);
    buf_add(out, S("}"));
    buf_free(&values);
}

static void defaults_json(struct buf *out) {
    buf_add(out, S("{\"settings\":["));
    for (size_t i = 0; i < CONF_KEYS; i++)
        json_row(out, &conf_rows[i], i == 0);
    buf_add(out, S("],\n\"listen\":["));
    for (size_t i = 0; i < CONF_LISTEN_KEYS; i++)
        json_row(out, &conf_listen_rows[i], i == 0);
    buf_add(out, S("]}\n"));
}

static void mdoc_row(struct buf *out, const struct conf_row *row) {
    struct buf values = BUF(1024);
    conf_row_values(&values, row);
    buf_printf(out, ".It Ic %.*s\n", STR_ARG(row->name));
    cli_mdoc_text(out, row->sentence);
    buf_printf(out, "Takes %s", buf_cstr(&values));
    if (row->fallback.n)
        buf_printf(out, "; the default is\n.Ql %.*s .\n", STR_ARG(row->fallback));
    else
        buf_add(out, S("; by default it is empty.\n"));
    buf_free(&values);
}

static void defaults_mdoc(struct buf *out, const struct conf_row *rows, size_t n) {
    buf_add(out, S(".Bl -tag -width Ds\n"));
    for (size_t i = 0; i < n; i++)
        mdoc_row(out, &rows[i]);
    buf_add(out, S(".El\n"));
}

static int conf_defaults_command(const struct cli_args *args) {
    struct buf out = BUF(1024 * 1024);
    if (cli_flag(args, "mdoc")) {
        bool listen = args->operand_count == 2 && strcmp(args->operands[1], "listen") == 0;
        defaults_mdoc(&out, listen ? conf_listen_rows : conf_rows, listen ? CONF_LISTEN_KEYS : CONF_KEYS);
    } else if (args->operand_count > 1)
        return cli_usage_error(args->page, "\"%s\" is too much: defaults takes no file", args->operands[1]);
    else if (cli_flag(args, "json"))
        defaults_json(&out);
    else
        defaults_text(&out);
    return print(&out);
}

/* ---- check and show ---- */

static void show_json_rows(struct buf *out, const struct conf_row *rows, size_t n, const void *base,
                           const struct conf_place *places) {
    bool first = true;
    for (size_t i = 0; i < n; i++) {
        if (conf_row_is_default(&rows[i], base))
            continue;
        struct buf value = BUF(CONF_FILE_MAX);
        conf_row_put(&value, &rows[i], base);
        buf_add(out, first ? S("{") : S(",{"));
        json_member(out, "name", rows[i].name, true);
        json_member(out, "value", buf_str(&value), false);
        if (places[i].line)
            buf_printf(out, ",\"line\":%u", places[i].line);
        buf_add(out, S("}"));
        buf_free(&value);
        first = false;
    }
}

static void show_json(struct buf *out, const struct conf *c) {
    buf_add(out, S("{\"settings\":["));
    show_json_rows(out, conf_rows, CONF_KEYS, c, c->places);
    buf_add(out, S("],\"listen\":["));
    for (size_t i = 0; i < c->listen_count; i++) {
        const struct conf_listen *l = &c->listens[i];
        buf_printf(out, "%s{\"name\":\"%.*s\",\"settings\":[", i ? "," : "", STR_ARG(l->name));
        show_json_rows(out, conf_listen_rows, CONF_LISTEN_KEYS, l, l->places);
        buf_add(out, S("]}"));
    }
    buf_add(out, S("]}\n"));
}

struct look {
    const struct cli_args *args;
    const char *file;
    struct buf text;
    struct conf c;
    struct conf_errors errors;
};

/* Reads and checks; EX_OK, or the status after the complaints. */
static int look_at(struct look *l) {
    struct why w;
    conf_defaults(&l->c);
    if (cli_conf_load(l->file, &l->text, &w) != OK)
        return cli_error(l->args->page, EX_NOINPUT, "%s", w.text);
    enum err e = conf_read(buf_str(&l->text), strcmp(l->file, "-") == 0 ? "stdin" : l->file, &l->c, &l->errors);
    enum err checked = cli_conf_check(&l->c, &l->errors);
    return e || checked ? cli_conf_complain(&l->errors, EX_CONFIG) : EX_OK;
}

static int show(struct look *l) {
    struct buf out = BUF(4 * CONF_FILE_MAX);
    if (cli_flag(l->args, "json"))
        show_json(&out, &l->c);
    else
        conf_write(&out, &l->c);
    return print(&out);
}

static int with_file(const struct cli_args *args, bool shows) {
    struct look l = {.args = args, .file = args->operand_count > 1 ? args->operands[1] : CLI_CONF_FILE};
    int status = look_at(&l);
    if (status == EX_OK && shows)
        status = show(&l);
    else if (status == EX_OK)
        printf("%s: no errors\n", l.file);
    conf_errors_free(&l.errors);
    conf_free(&l.c);
    buf_free(&l.text);
    return status;
}

static int run(const struct cli_args *args) {
    const char *action = args->operands[0];
    if (strcmp(action, "defaults") == 0)
        return conf_defaults_command(args);
    if (strcmp(action, "show") == 0)
        return with_file(args, true);
    if (strcmp(action, "check") != 0)
        return cli_usage_error(args->page, "\"%s\" is not one of check, show, defaults", action);
    if (args->operand_count < 2)
        return cli_usage_error(args->page, "check needs a file, or - for stdin");
    return with_file(args, false);
}

int cmd_conf(int argc, char **argv) {
    struct cli_args args;
    int status = cli_parse(&cli_conf_page, argc, argv, &args);
    if (status == CLI_GO_ON)
        status = run(&args);
    cli_args_free(&args);
    return status;
}
