/* cmd_show.c - penfold show: one message of a running Penfold. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/code.h"
#include "cli/cli.h"
#include "cli/cli_http.h"

static const struct cli_option options[] = {
    CLI_HTTP_URL_OPTION,
    {.name = "raw", .sentence = "The bytes as they arrived."},
    {.name = "session", .sentence = "The SMTP session that brought it, with its transcript."},
    {.name = "headers", .sentence = "The header fields."},
    {.name = "text", .sentence = "The text, made from the HTML when it has none."},
    {.name = "html", .sentence = "The HTML."},
    {.name = "json", .sentence = "The JSON of the API."},
};

const struct cli_page cli_show_page = {
    .name = "show",
    .operands = "ID|latest",
    .operands_min = 1,
    .operands_max = 1,
    .sentence = "Show a message of a running Penfold.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
};

struct show {
    const struct cli_args *args;
    const char *id;
    char missing[128];
};

/* To a terminal only what is harmless there; to a file or a pipe the very bytes. */
static int print(str text) {
    struct buf clean = BUF(CLI_HTTP_ANSWER_MAX);
    if (isatty(STDOUT_FILENO)) {
        cli_clean(text, &clean);
        text = buf_str(&clean);
    }
    fwrite(text.p, 1, text.n, stdout);
    buf_free(&clean);
    return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}

static int pass_on(const struct show *s, const char *path) {
    if (!isatty(STDOUT_FILENO))
        return cli_http_copy(s->args, path, s->missing, stdout);
    struct buf answer = BUF(CLI_HTTP_ANSWER_MAX);
    int status = cli_http_get(s->args, path, s->missing, &answer);
    if (status == EX_OK)
        status = print(buf_str(&answer));
    buf_free(&answer);
    return status;
}

static str text_of(json_t *object, const char *name) {
    json_t *v = json_object_get(object, name);
    return json_is_string(v) ? str_n(json_string_value(v), json_string_length(v)) : STR_NONE;
}

static void put_line(struct buf *out, const char *label, str text) {
    if (text.n == 0)
        return;
    buf_printf(out, "%-16s", label);
    cli_cell(text, 0, out);
    buf_char(out, '\n');
}

static void put_person(struct buf *out, json_t *person) {
    str name = text_of(person, "Name");
    if (name.n)
        buf_printf(out, "%.*s <%.*s>", STR_ARG(name), STR_ARG(text_of(person, "Address")));
    else
        buf_add(out, text_of(person, "Address"));
}

static void put_people(struct buf *out, const char *label, json_t *people) {
    struct buf line = BUF(1024 * 1024);
    size_t i;
    json_t *person;
    if (json_is_object(people))
        put_person(&line, people);
    json_array_foreach(people, i, person) {
        if (i)
            buf_add(&line, S(", "));
        put_person(&line, person);
    }
    put_line(out, label, buf_str(&line));
    buf_free(&line);
}

static void put_attachments(struct buf *out, json_t *list) {
    size_t i;
    json_t *a;
    json_array_foreach(list, i, a) {
        struct buf line = BUF(8192);
        buf_printf(&line, "%.*s (%.*s, %lld bytes, part %.*s)", STR_ARG(text_of(a, "FileName")),
                   STR_ARG(text_of(a, "ContentType")), (long long)json_integer_value(json_object_get(a, "Size")),
                   STR_ARG(text_of(a, "PartID")));
        put_line(out, "Attachment:", buf_str(&line));
        buf_free(&line);
    }
}

/* What its sender's framing did wrong (RFC 5321 2.3.8, 4.5.3.1.6), from the envelope. */
static void put_faults(struct buf *out, json_t *envelope) {
    static const struct {
        const char *name, *words;
    } faults[] = {{"BareCR", "lone CR"}, {"BareLF", "lone LF"}, {"NUL", "NUL"}, {"LongLines", "lines over 998 bytes"}};
    struct buf line = BUF(256);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        long long n = (long long)json_integer_value(json_object_get(envelope, faults[i].name));
        if (n)
            buf_printf(&line, "%s%lld %s", line.n ? ", " : "", n, faults[i].words);
    }
    put_line(out, "Framing faults:", buf_str(&line));
    buf_free(&line);
}

static void put_faults_of(const struct show *s, struct buf *out, str id) {
    char path[128];
    struct buf answer = BUF(CLI_HTTP_ANSWER_MAX);
    json_error_t error;
    snprintf(path, sizeof path, "/api/v1/message/%.*s/envelope", STR_ARG(id));
    if (cli_http_get(s->args, path, s->missing, &answer) == EX_OK) {
        json_t *envelope = json_loadb(answer.p, answer.n, JSON_ALLOW_NUL, &error);
        put_faults(out, envelope);
        json_decref(envelope);
    }
    buf_free(&answer);
}

static int print_message(const struct show *s, json_t *m) {
    struct buf out = BUF(CLI_HTTP_ANSWER_MAX);
    put_line(&out, "ID:", text_of(m, "ID"));
    put_people(&out, "From:", json_object_get(m, "From"));
    put_people(&out, "To:", json_object_get(m, "To"));
    put_people(&out, "Cc:", json_object_get(m, "Cc"));
    put_people(&out, "Bcc:", json_object_get(m, "Bcc"));
    put_people(&out, "Reply-To:", json_object_get(m, "ReplyTo"));
    put_line(&out, "Date:", text_of(m, "Date"));
    put_line(&out, "Subject:", text_of(m, "Subject"));
    put_attachments(&out, json_object_get(m, "Inline"));
    put_attachments(&out, json_object_get(m, "Attachments"));
    if (id_valid(text_of(m, "ID")))
        put_faults_of(s, &out, text_of(m, "ID"));
    buf_char(&out, '\n');
    buf_add(&out, text_of(m, "Text"));
    if (out.n && out.p[out.n - 1] != '\n')
        buf_char(&out, '\n');
    int status = print(buf_str(&out));
    buf_free(&out);
    return status;
}

static void put_session(struct buf *out, json_t *s) {
    static const char *const fields[] = {"ID",         "Started",   "Ended",         "Reason",
                                         "Listener",   "Protocol",  "ClientAddress", "Helo",
                                         "TLSVersion", "TLSCipher", "AuthUser"};
    char label[32];
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        snprintf(label, sizeof label, "%s:", fields[i]);
        put_line(out, label, text_of(s, fields[i]));
    }
    buf_char(out, '\n');
    buf_add(out, text_of(s, "Transcript"));
}

static int print_session(const struct show *s, json_t *root) {
    (void)s;
    struct buf out = BUF(CLI_HTTP_ANSWER_MAX);
    put_session(&out, root);
    int status = print(buf_str(&out));
    buf_free(&out);
    return status;
}

static int print_headers(const struct show *s, json_t *root) {
    (void)s;
    struct buf out = BUF(CLI_HTTP_ANSWER_MAX);
    const char *name;
    json_t *values, *value;
    size_t i;
    json_object_foreach(root, name, values) {
        json_array_foreach(values, i, value) {
            buf_printf(&out, "%s: %.*s\n", name, (int)json_string_length(value), json_string_value(value));
        }
    }
    int status = print(buf_str(&out));
    buf_free(&out);
    return status;
}

static int with_json(const struct show *s, const char *path, int (*use)(const struct show *s, json_t *root)) {
    struct buf answer = BUF(CLI_HTTP_ANSWER_MAX);
    json_error_t error;
    int status = cli_http_get(s->args, path, s->missing, &answer);
    if (status == EX_OK) {
        json_t *root = json_loadb(answer.p, answer.n, JSON_ALLOW_NUL, &error);
        status = json_is_object(root) ? use(s, root)
                                      : cli_error(s->args->page, EX_UNAVAILABLE, "%s does not answer as a Penfold does",
                                                  cli_text(s->args, "url"));
        json_decref(root);
    }
    buf_free(&answer);
    return status;
}

/* One row per view: the flag, the address around the id, and who prints it (NULL: as it comes). */
static const struct view {
    const char *flag, *before, *after;
    int (*use)(const struct show *s, json_t *root);
} views[] = {
    {"raw", "/api/v1/message/", "/raw", NULL},
    {"session", "/api/v1/message/", "/session", print_session},
    {"headers", "/api/v1/message/", "/headers", print_headers},
    {"text", "/view/", ".txt", NULL},
    {"html", "/view/", ".html", NULL},
    {"json", "/api/v1/message/", "", NULL},
};

static int run(const struct cli_args *args) {
    static const struct view whole = {NULL, "/api/v1/message/", "", print_message};
    const struct view *view = &whole;
    struct show s = {.args = args, .id = args->operands[0]};
    if (!id_valid(str_of(s.id)) && strcmp(s.id, "latest") != 0)
        return cli_usage_error(args->page, "\"%.60s\" is not the id of a message (22 letters and digits, or latest)",
                               s.id);
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        if (!cli_flag(args, views[i].flag))
            continue;
        if (view != &whole)
            return cli_usage_error(args->page, "--%s and --%s: one view at a time", view->flag, views[i].flag);
        view = &views[i];
    }
    bool html = view->flag && strcmp(view->flag, "html") == 0;
    if (strcmp(s.id, "latest") == 0)
        snprintf(s.missing, sizeof s.missing, "there are no messages%s", html ? ", or the latest has no HTML" : "");
    else
        snprintf(s.missing, sizeof s.missing, "there is no message %s%s", s.id, html ? ", or it has no HTML" : "");
    char path[128];
    snprintf(path, sizeof path, "%s%s%s", view->before, s.id, view->after);
    return view->use ? with_json(&s, path, view->use) : pass_on(&s, path);
}

int cmd_show(int argc, char **argv) {
    struct cli_args args;
    int status = cli_parse(&cli_show_page, argc, argv, &args);
    if (status == CLI_GO_ON)
        status = run(&args);
    cli_args_free(&args);
    return status;
}
