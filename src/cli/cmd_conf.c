/* cmd_conf.c - penfold conf: looks at configurations, changes none. */
#include <stdio.h>
#include <string.h>

#include "base/code.h"
#include "cli/cli.h"
#include "cli/cli_conf.h"
#include "policy/route_trial.h"

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
    for (size_t k = 0; k < conf_block_kind_count; k++) {
        const struct conf_block_kind *kind = &conf_block_kinds[k];
        buf_printf(out, "%s#%.*s NAME {\n", k ? "\n" : "", STR_ARG(kind->name));
        for (size_t i = 0; i < kind->row_count; i++)
            put_default(out, "    ", &kind->rows[i]);
        buf_add(out, S("#}\n"));
    }
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

static void json_rows(struct buf *out, str name, const struct conf_row *rows, size_t n) {
    buf_printf(out, "\"%.*s\":[", STR_ARG(name));
    for (size_t i = 0; i < n; i++)
        json_row(out, &rows[i], i == 0);
    buf_add(out, S("]"));
}

static void defaults_json(struct buf *out) {
    buf_add(out, S("{"));
    json_rows(out, S("settings"), conf_rows, CONF_KEYS);
    for (size_t k = 0; k < conf_block_kind_count; k++) {
        buf_add(out, S(",\n"));
        json_rows(out, conf_block_kinds[k].name, conf_block_kinds[k].rows, conf_block_kinds[k].row_count);
    }
    buf_add(out, S("}\n"));
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

/* penfold conf defaults --mdoc [KIND], for tools/mkman. */
static void defaults_mdoc_of(struct buf *out, const char *name) {
    const struct conf_row *rows = conf_rows;
    size_t n = CONF_KEYS;
    for (size_t k = 0; name && k < conf_block_kind_count; k++)
        if (str_eq(conf_block_kinds[k].name, str_of(name))) {
            rows = conf_block_kinds[k].rows;
            n = conf_block_kinds[k].row_count;
        }
    defaults_mdoc(out, rows, n);
}

static int conf_defaults_command(const struct cli_args *args) {
    struct buf out = BUF(1024 * 1024);
    if (cli_flag(args, "mdoc"))
        defaults_mdoc_of(&out, args->operand_count == 2 ? args->operands[1] : NULL);
    else if (args->operand_count > 1)
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

static void show_json_blocks(struct buf *out, const struct conf *c, const struct conf_block_kind *kind) {
    const char *block;
    buf_printf(out, ",\"%.*s\":[", STR_ARG(kind->name));
    for (size_t i = 0; (block = conf_block(c, kind, i)); i++) {
        const str *title = (const str *)block;
        buf_add(out, i ? S(",{") : S("{"));
        json_member(out, "name", *title, true);
        buf_add(out, S("\"settings\":["));
        show_json_rows(out, kind->rows, kind->row_count, block, (const struct conf_place *)(block + kind->places));
        buf_add(out, S("]}"));
    }
    buf_add(out, S("]"));
}

static void show_json(struct buf *out, const struct conf *c) {
    buf_add(out, S("{\"settings\":["));
    show_json_rows(out, conf_rows, CONF_KEYS, c, c->places);
    buf_add(out, S("]"));
    for (size_t k = 0; k < conf_block_kind_count; k++)
        show_json_blocks(out, c, &conf_block_kinds[k]);
    buf_add(out, S("}\n"));
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

/* ---- test blocks ---- */

static void put_failure(struct buf *out, const struct conf_test *t, const char *what, str got, str story) {
    buf_printf(out, "%s:%u: test %.*s failed: %s\n    expected: %.*s\n    got: %.*s\n    because:\n",
               t->place.where ? t->place.where : "", t->place.line, STR_ARG(t->title), what, STR_ARG(t->expect),
               STR_ARG(got));
    for (str line; str_line(&story, &line);)
        buf_printf(out, "      %.*s\n", STR_ARG(line));
}

/* What came of a test that does not hold goes into `out`. */
static bool run_test(const struct conf *c, const struct directory *dir, const struct conf_test *t, struct buf *out) {
    struct arena a = ARENA(16 * 1024 * 1024);
    struct buf story = BUF(256 * 1024), outcome = BUF(64 * 1024);
    struct route_decision d = {.story = &story};
    struct why w = {"out of memory"};
    enum err e = route_trial_test(c, dir, t, &a, &d);
    if (e == OK)
        e = route_expected(t->expect, &d, &w);
    route_outcome_put(&outcome, &d);
    if (e != OK)
        put_failure(out, t, w.text, buf_str(&outcome), buf_str(&story));
    buf_free(&story);
    buf_free(&outcome);
    arena_free(&a);
    return e == OK;
}

static int tell_tests(const struct look *l, struct buf *failures, size_t failed) {
    if (failed) {
        fwrite(failures->p, 1, failures->n, stderr);
        fprintf(stderr, "%s: %zu of %zu tests failed\n", l->file, failed, l->c.test_count);
        return EX_CONFIG;
    }
    if (l->c.test_count)
        printf("%s: no errors, %zu test%s passed\n", l->file, l->c.test_count, l->c.test_count == 1 ? "" : "s");
    else
        printf("%s: no errors\n", l->file);
    return EX_OK;
}

/* The directory is that of the file's blocks: what the database knows is not asked. */
static int run_tests(struct look *l) {
    struct why w = {"out of memory"};
    struct buf failures = BUF(16 * 1024 * 1024);
    struct directory *dir = directory_new(0);
    size_t failed = 0;
    int status = EX_CONFIG;
    if (!dir || directory_conf(dir, &l->c, &w) != OK) {
        cli_error(l->args->page, EX_CONFIG, "%s", w.text);
    } else {
        for (size_t i = 0; i < l->c.test_count; i++)
            failed += !run_test(&l->c, dir, &l->c.tests[i], &failures);
        status = tell_tests(l, &failures, failed);
    }
    directory_free(dir);
    buf_free(&failures);
    return status;
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
        status = run_tests(&l);
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
