#include "cli/cli_options.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"

enum { HELP_WIDTH = 80, HELP_INDENT = 8 };

static bool is_flag(const struct cli_option *o) {
    return !o->value && !o->words;
}

/* ---- saying what is wrong ---- */

static void say(const struct cli_page *page, const char *format, va_list args) {
    char text[2048];
    vsnprintf(text, sizeof text, format, args);
    fprintf(stderr, "penfold %s: %s\n", page->name, text);
}

int cli_error(const struct cli_page *page, int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(page, format, args);
    va_end(args);
    return status;
}

int cli_usage_error(const struct cli_page *page, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(page, format, args);
    va_end(args);
    fprintf(stderr, "Try \"penfold %s --help\".\n", page->name);
    return EX_USAGE;
}

/* ---- parsing ---- */

struct parse {
    struct cli_args *args;
    char **argv;
    int argc, at;
    bool failed, help, only_operands;
    bool unknown; /* an unknown option: its value may look like an operand */
};

static void mistake(struct parse *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void mistake(struct parse *p, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(p->args->page, format, args);
    va_end(args);
    p->failed = true;
}

/* One of the words of "a|b|c". */
static bool among(const char *words, const char *value) {
    str rest = str_of(words), word;
    while (str_cut(&rest, '|', &word))
        if (str_eq(word, str_of(value)))
            return true;
    return str_eq(rest, str_of(value));
}

static bool truth(const char *value, bool *yes) {
    *yes = among("yes|true|on|1", value);
    return *yes || among("no|false|off|0", value);
}

static bool value_fits(struct parse *p, const struct cli_option *o, const struct cli_value *v) {
    uint64_t n;
    bool yes;
    if (is_flag(o) && v->text && !truth(v->text, &yes))
        mistake(p, "%s: \"%s\" is not yes or no", v->source, v->text);
    else if (o->words && !among(o->words, v->text))
        mistake(p, "%s: \"%s\" is not one of %s", v->source, v->text, o->words);
    else if (o->max && (!str_u64(str_of(v->text), &n) || n < o->min || n > o->max))
        mistake(p, "%s: \"%s\" is not a number from %llu to %llu", v->source, v->text, (unsigned long long)o->min,
                (unsigned long long)o->max);
    else
        return true;
    return false;
}

static void add_value(struct parse *p, const struct cli_option *o, struct cli_value v) {
    if (v.source && !value_fits(p, o, &v))
        return;
    struct cli_values *values = &p->args->values[o - p->args->page->options];
    if (values->count && !o->repeatable)
        values->count = 0;
    struct cli_value *list = realloc(values->list, (values->count + 1) * sizeof *list);
    if (!list) {
        mistake(p, "out of memory");
        return;
    }
    values->list = list;
    list[values->count++] = v;
}

static const struct cli_option *find_option(const struct cli_page *page, str name) {
    for (unsigned i = 0; i < page->option_count; i++)
        if (str_eq(str_of(page->options[i].name), name))
            return &page->options[i];
    return NULL;
}

static const struct cli_option *find_letter(const struct cli_page *page, char letter) {
    for (unsigned i = 0; i < page->option_count; i++)
        if (letter && page->options[i].letter == letter)
            return &page->options[i];
    return NULL;
}

static void unknown_option(struct parse *p, str name) {
    p->unknown = true;
    struct conf_guess g = {.word = name};
    for (unsigned i = 0; i < p->args->page->option_count; i++)
        if (!p->args->page->options[i].hidden)
            conf_guess_try(&g, str_of(p->args->page->options[i].name));
    if (g.best.n)
        mistake(p, "unknown option --%.*s (did you mean --%.*s?)", STR_ARG(name), STR_ARG(g.best));
    else
        mistake(p, "unknown option --%.*s", STR_ARG(name));
}

/* `rest` is what stands behind = or behind the letter; NULL: nothing. */
static void take_option(struct parse *p, const struct cli_option *o, const char *spelled, const char *rest) {
    if (is_flag(o)) {
        if (rest)
            mistake(p, "%s takes no value", spelled);
        else
            add_value(p, o, (struct cli_value){NULL, spelled});
        return;
    }
    if (!rest && p->at + 1 < p->argc)
        rest = p->argv[++p->at];
    if (!rest)
        mistake(p, "%s needs a value (%s)", spelled, o->value ? o->value : o->words);
    else
        add_value(p, o, (struct cli_value){rest, spelled});
}

static const char *spell(struct parse *p, const struct cli_option *o) {
    char *name = p->args->spelled[o - p->args->page->options];
    snprintf(name, sizeof *p->args->spelled, "--%s", o->name);
    return name;
}

static void take_long(struct parse *p, const char *word) {
    str name = str_of(word);
    const char *rest = NULL;
    size_t equals = str_find(name, '=');
    if (equals != SIZE_MAX) {
        rest = word + equals + 1;
        name = str_head(name, equals);
    }
    if (str_eq(name, S("help"))) {
        p->help = true;
        return;
    }
    const struct cli_option *o = find_option(p->args->page, name);
    if (o)
        take_option(p, o, spell(p, o), rest);
    else
        unknown_option(p, name);
}

static void take_short(struct parse *p, const char *word) {
    if (strcmp(word, "h") == 0) {
        p->help = true;
        return;
    }
    const struct cli_option *o = find_letter(p->args->page, word[0]);
    if (!o || (is_flag(o) && word[1]))
        mistake(p, "unknown option -%s", word);
    else
        take_option(p, o, spell(p, o), word[1] ? word + 1 : NULL);
}

static void take_word(struct parse *p, char *word) {
    if (!p->only_operands && strcmp(word, "--") == 0)
        p->only_operands = true;
    else if (!p->only_operands && strncmp(word, "--", 2) == 0)
        take_long(p, word + 2);
    else if (!p->only_operands && word[0] == '-' && word[1])
        take_short(p, word + 1);
    else
        p->args->operands[p->args->operand_count++] = word;
}

static void take_elsewhere(struct parse *p) {
    for (unsigned i = 0; i < p->args->page->option_count; i++) {
        const struct cli_option *o = &p->args->page->options[i];
        const char *value = o->variable && !p->args->values[i].count ? getenv(o->variable) : NULL;
        if (value && *value)
            add_value(p, o, (struct cli_value){value, o->variable});
        else if (!p->args->values[i].count && o->fallback)
            add_value(p, o, (struct cli_value){o->fallback, NULL});
    }
}

static void check_operands(struct parse *p) {
    const struct cli_page *page = p->args->page;
    if (p->unknown)
        return;
    if (p->args->operand_count > page->operands_max)
        mistake(p, "\"%s\" is too much%s%s", p->args->operands[page->operands_max],
                *page->operands ? ": the operands are " : "", page->operands);
    else if (p->args->operand_count < page->operands_min)
        mistake(p, "missing: %s", page->operands);
}

static int print_help(const struct cli_page *page) {
    struct buf out = BUF(256 * 1024);
    cli_page_help(&out, page);
    fwrite(out.p, 1, out.n, stdout);
    buf_free(&out);
    return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}

int cli_parse(const struct cli_page *page, int argc, char **argv, struct cli_args *args) {
    *args = (struct cli_args){.page = page};
    args->values = calloc(page->option_count + 1, sizeof *args->values);
    args->spelled = calloc(page->option_count + 1, sizeof *args->spelled);
    args->operands = calloc((size_t)argc + 1, sizeof *args->operands);
    if (!args->values || !args->spelled || !args->operands)
        return cli_error(page, EX_OSERR, "out of memory");
    struct parse p = {.args = args, .argv = argv, .argc = argc};
    for (p.at = 1; p.at < argc; p.at++)
        take_word(&p, argv[p.at]);
    if (p.help)
        return print_help(page);
    take_elsewhere(&p);
    check_operands(&p);
    if (!p.failed)
        return CLI_GO_ON;
    fprintf(stderr, "Try \"penfold %s --help\".\n", page->name);
    return EX_USAGE;
}

void cli_args_free(struct cli_args *args) {
    for (unsigned i = 0; args->values && i < args->page->option_count; i++)
        free(args->values[i].list);
    free(args->values);
    free(args->spelled);
    free(args->operands);
    *args = (struct cli_args){0};
}

/* ---- results ---- */

static const struct cli_values *values_of(const struct cli_args *args, const char *name) {
    const struct cli_option *o = find_option(args->page, str_of(name));
    assert(o);
    return &args->values[o - args->page->options];
}

static const struct cli_value *last_of(const struct cli_args *args, const char *name) {
    const struct cli_values *v = values_of(args, name);
    return v->count ? &v->list[v->count - 1] : NULL;
}

bool cli_flag(const struct cli_args *args, const char *name) {
    const struct cli_value *v = last_of(args, name);
    bool yes;
    return v && (!v->text || (truth(v->text, &yes) && yes));
}

const char *cli_text(const struct cli_args *args, const char *name) {
    const struct cli_value *v = last_of(args, name);
    return v ? v->text : NULL;
}

uint64_t cli_number(const struct cli_args *args, const char *name) {
    const char *text = cli_text(args, name);
    uint64_t n = 0;
    return text && str_u64(str_of(text), &n) ? n : 0;
}

unsigned cli_count(const struct cli_args *args, const char *name) {
    return values_of(args, name)->count;
}

const char *cli_item(const struct cli_args *args, const char *name, unsigned i) {
    const struct cli_values *v = values_of(args, name);
    return i < v->count ? v->list[i].text : NULL;
}

const char *cli_source(const struct cli_args *args, const char *name) {
    const struct cli_value *v = last_of(args, name);
    return v ? v->source : NULL;
}

/* ---- help and manual ---- */

static void wrap(struct buf *out, str text) {
    size_t column = 0;
    for (str word; str_word(&text, &word);) {
        if (column && column + 1 + word.n > HELP_WIDTH) {
            buf_char(out, '\n');
            column = 0;
        }
        if (column == 0) {
            buf_fill(out, ' ', HELP_INDENT);
            column = HELP_INDENT;
        } else {
            buf_char(out, ' ');
            column++;
        }
        buf_add(out, word);
        column += word.n;
    }
    buf_char(out, '\n');
}

static const char *value_name(const struct cli_option *o) {
    return o->value ? o->value : o->words;
}

static void option_help(struct buf *out, const struct cli_option *o) {
    buf_add(out, S("  "));
    if (o->letter)
        buf_printf(out, "-%c, ", o->letter);
    buf_printf(out, "--%s%s%s%s\n", o->name, is_flag(o) ? "" : " ", is_flag(o) ? "" : value_name(o),
               o->repeatable ? " ..." : "");
    struct buf text = BUF(4096);
    buf_add(&text, str_of(o->sentence));
    if (o->fallback && *o->fallback)
        buf_printf(&text, " Default: %s.", o->fallback);
    if (o->variable)
        buf_printf(&text, " Environment: %s.", o->variable);
    wrap(out, buf_str(&text));
    buf_free(&text);
}

void cli_page_help(struct buf *out, const struct cli_page *page) {
    buf_printf(out, "Usage: penfold %s%s%s%s\n%s\n", page->name, page->option_count ? " [OPTION]..." : "",
               *page->operands ? " " : "", page->operands, page->sentence);
    if (page->option_count)
        buf_add(out, S("\nOptions:\n"));
    for (unsigned i = 0; i < page->option_count; i++)
        if (!page->options[i].hidden)
            option_help(out, &page->options[i]);
    buf_printf(out, "\nMore: man penfold-%s\n", page->name);
}

/* No line may begin with a control character, a backslash is \e, a sentence ends its line. */
void cli_mdoc_text(struct buf *out, str s) {
    if (str_starts(s, S(".")) || str_starts(s, S("'")))
        buf_add(out, S("\\&"));
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\')
            buf_add(out, S("\\e"));
        else if (s.p[i] == ' ' && i && s.p[i - 1] == '.')
            buf_char(out, '\n');
        else
            buf_char(out, s.p[i]);
    }
    buf_char(out, '\n');
}

static void option_mdoc(struct buf *out, const struct cli_option *o) {
    buf_add(out, S(".It "));
    if (o->letter)
        buf_printf(out, "Fl %c , ", o->letter);
    buf_printf(out, "Fl -%s", o->name);
    if (!is_flag(o)) {
        buf_add(out, S(" Ar "));
        for (const char *c = value_name(o); *c; c++)
            buf_add(out, *c == '|' ? S(" | ") : str_n(c, 1));
    }
    buf_add(out, o->repeatable ? S(" ...\n") : S("\n"));
    cli_mdoc_text(out, str_of(o->sentence));
    if (o->fallback && *o->fallback)
        buf_printf(out, "The default is\n.Ql %s .\n", o->fallback);
}

static void variables_mdoc(struct buf *out, const struct cli_page *page) {
    for (unsigned i = 0; i < page->option_count; i++) {
        const struct cli_option *o = &page->options[i];
        if (o->variable && !o->hidden)
            buf_printf(out, ".It Ev %s\nas\n.Fl -%s\n", o->variable, o->name);
    }
}

void cli_page_mdoc(struct buf *out, const struct cli_page *page) {
    buf_add(out, S(".Bl -tag -width Ds\n"));
    for (unsigned i = 0; i < page->option_count; i++)
        if (!page->options[i].hidden)
            option_mdoc(out, &page->options[i]);
    buf_add(out, S(".It Fl h , Fl -help\nPrint a summary and exit.\n.El\n"));
    bool any = false;
    for (unsigned i = 0; i < page->option_count; i++)
        any |= page->options[i].variable && !page->options[i].hidden;
    if (!any)
        return;
    buf_add(out, S(".Pp\nVariables of the environment, which the command line outranks:\n.Bl -tag -width Ds\n"));
    variables_mdoc(out, page);
    buf_add(out, S(".El\n"));
}
