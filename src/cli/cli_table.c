#include "cli/cli_table.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli_http.h"

enum { GAP = 2, COLUMNS_MAX = 16, CELL_MAX = 64 * 1024 };

static void cell_text(json_t *v, struct buf *out) {
    if (json_is_string(v))
        buf_add(out, str_n(json_string_value(v), json_string_length(v)));
    else if (json_is_integer(v))
        buf_printf(out, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        buf_printf(out, "%.1f", json_real_value(v));
    else if (json_is_boolean(v))
        buf_add(out, json_is_true(v) ? S("yes") : S("no"));
    else if (json_is_array(v))
        buf_printf(out, "%zu", json_array_size(v));
}

/* "2026-11-23T07:16:34.082Z" needs no more than its first 19 characters, with a space. */
static void shorten_time(struct buf *b) {
    if (b->n == 24 && b->p[10] == 'T' && b->p[23] == 'Z') {
        b->p[10] = ' ';
        buf_shrink(b, 19);
    }
}

static void widths(const struct cli_column *columns, size_t count, unsigned terminal, unsigned w[COLUMNS_MAX]) {
    unsigned used = 0, sharing = 0;
    for (size_t i = 0; i < count; i++) {
        w[i] = columns[i].width_max ? columns[i].width_max : columns[i].width_min;
        used += w[i] + GAP;
        sharing += columns[i].width_max == 0;
    }
    unsigned rest = terminal > used ? terminal - used : 0;
    for (size_t i = 0; i < count; i++)
        if (columns[i].width_max == 0)
            w[i] += rest / sharing;
}

static void put_cell(struct buf *out, str text, unsigned width, bool last) {
    unsigned used = cli_cell(text, width, out);
    if (last)
        buf_char(out, '\n');
    else if (width)
        buf_fill(out, ' ', width - used + GAP);
    else
        buf_char(out, '\t');
}

static void put_rows(struct buf *out, json_t *rows, const struct cli_column *columns, size_t count) {
    unsigned w[COLUMNS_MAX] = {0}, terminal = cli_columns();
    struct buf text = BUF(CELL_MAX);
    size_t i;
    json_t *row;
    if (terminal) {
        widths(columns, count, terminal, w);
        for (size_t c = 0; c < count; c++)
            put_cell(out, str_of(columns[c].name), w[c], c + 1 == count);
    }
    json_array_foreach(rows, i, row) {
        for (size_t c = 0; c < count; c++) {
            buf_reset(&text);
            cell_text(json_object_get(row, columns[c].name), &text);
            shorten_time(&text);
            put_cell(out, buf_str(&text), w[c], c + 1 == count);
        }
    }
    buf_free(&text);
}

static int put_table(json_t *rows, const struct cli_column *columns, size_t count, const char *nothing) {
    struct buf out = BUF(CLI_HTTP_ANSWER_MAX);
    if (json_array_size(rows) == 0 && cli_columns())
        puts(nothing);
    else
        put_rows(&out, rows, columns, count);
    fwrite(out.p ? out.p : "", 1, out.n, stdout);
    buf_free(&out);
    return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}

int cli_table_put(const struct cli_args *args, json_t *rows, const char *array, const struct cli_column *columns,
                  size_t count, const char *nothing) {
    if (!cli_flag(args, "json"))
        return put_table(rows, columns, count, nothing);
    json_t *root = json_pack("{sOsI}", array, rows, "Count", (json_int_t)json_array_size(rows));
    json_dumpf(root, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(root);
    return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}

int cli_table_print(const struct cli_args *args, const char *path, const char *array, const struct cli_column *columns,
                    size_t count, const char *nothing) {
    if (cli_flag(args, "json")) {
        int status = cli_http_copy(args, path, NULL, stdout);
        if (status == EX_OK)
            putchar('\n');
        return status;
    }
    struct buf answer = BUF(CLI_HTTP_ANSWER_MAX);
    int status = cli_http_get(args, path, "there is no such thing", &answer);
    json_error_t error;
    json_t *root = status == EX_OK ? json_loadb(answer.p, answer.n, JSON_ALLOW_NUL, &error) : NULL;
    json_t *rows = json_object_get(root, array);
    if (status == EX_OK && !json_is_array(rows))
        status = cli_error(args->page, EX_UNAVAILABLE, "%s does not answer as a Penfold does", cli_text(args, "url"));
    else if (status == EX_OK)
        status = put_table(rows, columns, count, nothing);
    json_decref(root);
    buf_free(&answer);
    return status;
}

int cli_explain(const struct cli_args *args, const char *id) {
    struct buf path = BUF(1024), answer = BUF(CLI_HTTP_ANSWER_MAX), shown = BUF(CLI_HTTP_ANSWER_MAX);
    buf_add(&path, S("/api/v1/admin/explain/"));
    cli_http_escape(str_of(id), &path);
    buf_add(&path, cli_flag(args, "json") ? STR_NONE : S("?format=text"));
    int status =
        cli_http_get(args, buf_cstr(&path),
                     "no such message or session is known, and none was within the time that they are kept", &answer);
    if (status == EX_OK) {
        cli_clean(buf_str(&answer), &shown);
        fwrite(shown.p, 1, shown.n, stdout);
        if (cli_flag(args, "json"))
            putchar('\n');
    }
    buf_free(&path);
    buf_free(&answer);
    buf_free(&shown);
    return fflush(stdout) == 0 ? status : EX_IOERR;
}
