#include "conf/conf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/code.h"
#include "base/map.h"

/* ---- the tables ---- */

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define SECONDS(n) (UINT64_C(1000) * (n))
#define HOURS(n) SECONDS(UINT64_C(3600) * (n))
#define DAYS(n) HOURS(UINT64_C(24) * (n))

#define T_BOOL CONF_T_BOOL, S_INIT("")
#define T_INT CONF_T_INT, S_INIT("")
#define T_SIZE CONF_T_SIZE, S_INIT("")
#define T_DURATION CONF_T_DURATION, S_INIT("")
#define T_TEXT CONF_T_TEXT, S_INIT("")
#define T_PATH CONF_T_PATH, S_INIT("")
#define T_ENUM(type) CONF_T_ENUM, S_INIT(#type)
#define T_ADDRESS CONF_T_ADDRESS, S_INIT("")
#define T_NETWORKS CONF_T_NETWORKS, S_INIT("")
#define T_LIST CONF_T_LIST, S_INIT("")
#define ROW(owner, name, type, fallback, min, max, sentence)                                                           \
    {S_INIT(#name), T_##type, S_INIT(fallback), min, max, S_INIT(sentence), offsetof(struct owner, name)},

const struct conf_row conf_rows[CONF_KEYS] = {
#define CONF(name, type, fallback, min, max, sentence) ROW(conf, name, type, fallback, min, max, sentence)
#include "conf/conf.def"
};

const struct conf_row conf_listen_rows[CONF_LISTEN_KEYS] = {
#define LISTEN(name, type, fallback, min, max, sentence) ROW(conf_listen, name, type, fallback, min, max, sentence)
#include "conf/conf.def"
};

static const struct conf_row domain_rows[CONF_DOMAIN_KEYS] = {
#define DOMAIN(name, type, fallback, min, max, sentence) ROW(conf_domain, name, type, fallback, min, max, sentence)
#include "conf/conf.def"
};

static const struct conf_row account_rows[CONF_ACCOUNT_KEYS] = {
#define ACCOUNT(name, type, fallback, min, max, sentence) ROW(conf_account, name, type, fallback, min, max, sentence)
#include "conf/conf.def"
};

static const struct conf_row alias_rows[CONF_ALIAS_KEYS] = {
#define ALIAS(name, type, fallback, min, max, sentence) ROW(conf_alias, name, type, fallback, min, max, sentence)
#include "conf/conf.def"
};

static const struct conf_row route_rows[CONF_ROUTE_KEYS] = {
#define ROUTE(name, type, fallback, min, max, sentence) ROW(conf_route, name, type, fallback, min, max, sentence)
#include "conf/conf.def"
};

static const struct conf_row rewrite_rows[CONF_REWRITE_KEYS] = {
#define REWRITE(name, type, fallback, min, max, sentence) ROW(conf_rewrite, name, type, fallback, min, max, sentence)
#include "conf/conf.def"
};

static const struct conf_row site_rows[CONF_SITE_KEYS] = {
#define SITE(name, type, fallback, min, max, sentence) ROW(conf_site, name, type, fallback, min, max, sentence)
#include "conf/conf.def"
};

static const struct conf_row test_rows[CONF_TEST_KEYS] = {
#define TEST(name, type, fallback, min, max, sentence) ROW(conf_test, name, type, fallback, min, max, sentence)
#include "conf/conf.def"
};

static const struct choice {
    str type;
    unsigned value;
    str word;
} choices[] = {
#define CHOICE(type, CONSTANT, word) {S_INIT(#type), CONF_##CONSTANT, S_INIT(word)},
#include "conf/conf.def"
};
enum { CHOICES = sizeof choices / sizeof *choices };

static bool name_title(str s) {
    return conf_name_valid(s);
}

/* What it means is the directory's affair: here it only must be one word that can be written and read again. */
static bool word_title(str s) {
    if (s.n == 0 || s.n > CONF_TITLE_MAX || !utf8_valid(s))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (char_is_ctl(s.p[i]) || strchr(" \t\"\\{}#", s.p[i]))
            return false;
    return true;
}

#define NAME_IS "1 to 32 of the characters a-z 0-9 _ -"
#define BLOCK(kind, KIND, array, max, title, title_is)                                                                 \
    {                                                                                                                  \
        S_INIT(#kind), kind##_rows, CONF_##KIND##_KEYS, sizeof(struct conf_##kind), offsetof(struct conf, array),      \
            offsetof(struct conf, kind##_count), max, offsetof(struct conf_##kind, places), title, title_is            \
    }
#define listen_rows conf_listen_rows

/* A new kind of block is a new row. */
const struct conf_block_kind conf_block_kinds[] = {
    BLOCK(listen, LISTEN, listens, CONF_LISTENS_MAX, name_title, NAME_IS),
    BLOCK(domain, DOMAIN, domains, CONF_BLOCKS_MAX, word_title, "a domain"),
    BLOCK(account, ACCOUNT, accounts, CONF_BLOCKS_MAX, word_title, "an address"),
    BLOCK(alias, ALIAS, aliases, CONF_BLOCKS_MAX, word_title, "an address"),
    BLOCK(route, ROUTE, routes, CONF_RULES_MAX, name_title, NAME_IS),
    BLOCK(rewrite, REWRITE, rewrites, CONF_RULES_MAX, name_title, NAME_IS),
    BLOCK(site, SITE, sites, CONF_RULES_MAX, word_title, "a word"),
    BLOCK(test, TEST, tests, CONF_RULES_MAX, name_title, NAME_IS),
};
enum { BLOCK_KINDS = sizeof conf_block_kinds / sizeof *conf_block_kinds };
const size_t conf_block_kind_count = BLOCK_KINDS;

struct block_head { /* what every block begins with */
    str title;
    struct conf_place place;
};

/* The outermost level, seen as a block. */
static const struct conf_block_kind top_kind = {
    .rows = conf_rows, .row_count = CONF_KEYS, .places = offsetof(struct conf, places)};

static struct conf_place *places_of(const struct conf_block_kind *kind, void *base) {
    return (struct conf_place *)((char *)base + kind->places);
}

static size_t *count_of(const struct conf *c, const struct conf_block_kind *kind) {
    return (size_t *)((char *)c + kind->count);
}

static char **list_of(const struct conf *c, const struct conf_block_kind *kind) {
    return (char **)((char *)c + kind->list);
}

void *conf_block(const struct conf *c, const struct conf_block_kind *kind, size_t i) {
    return i < *count_of(c, kind) ? *list_of(c, kind) + i * kind->size : NULL;
}

/* ---- errors ---- */

void conf_errors_add(struct conf_errors *errors, const char *where, unsigned line, const char *format, ...) {
    if (!errors->list) {
        errors->arena.limit = 1024 * 1024;
        errors->list = arena_alloc(&errors->arena, CONF_ERRORS_MAX * sizeof *errors->list);
    }
    if (!errors->list || errors->count == CONF_ERRORS_MAX) {
        errors->more++;
        return;
    }
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    unsigned order = (unsigned)errors->count, group = order;
    for (unsigned i = 0; i < order && group == order; i++)
        if (where && errors->list[i].where && strcmp(errors->list[i].where, where) == 0)
            group = errors->list[i].group;
    errors->list[errors->count++] =
        (struct conf_error){where, line, group, order, arena_str(&errors->arena, str_of(text))};
}

static int compare(unsigned a, unsigned b) {
    return a < b ? -1 : a > b;
}

static int error_order(const void *va, const void *vb) {
    const struct conf_error *a = va, *b = vb;
    int c = compare(a->group, b->group);
    if (!c)
        c = compare(a->line, b->line);
    return c ? c : compare(a->order, b->order);
}

void conf_errors_put(struct buf *out, struct conf_errors *errors) {
    if (errors->count)
        qsort(errors->list, errors->count, sizeof *errors->list, error_order);
    for (size_t i = 0; i < errors->count; i++) {
        const struct conf_error *e = &errors->list[i];
        if (e->where)
            buf_printf(out, "%s:", e->where);
        if (e->where && e->line)
            buf_printf(out, "%u:", e->line);
        buf_printf(out, "%s%.*s\n", e->where ? " " : "", STR_ARG(e->text));
    }
    if (errors->more)
        buf_printf(out, "and %zu more\n", errors->more);
}

void conf_errors_free(struct conf_errors *errors) {
    arena_free(&errors->arena);
    *errors = (struct conf_errors){0};
}

/* ---- guesses ---- */

/* Optimal string alignment distance: insertions, deletions, changes, neighbours swapped.  Words over 40 bytes are far.
 */
static unsigned distance(str a, str b) {
    enum { LONGEST = 40, FAR = 1000 };
    unsigned rows[3][LONGEST + 1];
    if (a.n > LONGEST || b.n > LONGEST)
        return FAR;
    for (unsigned j = 0; j <= b.n; j++)
        rows[0][j] = j;
    for (unsigned i = 1; i <= a.n; i++) {
        unsigned *now = rows[i % 3], *before = rows[(i + 2) % 3], *older = rows[(i + 1) % 3];
        now[0] = i;
        for (unsigned j = 1; j <= b.n; j++) {
            bool same = char_lower(a.p[i - 1]) == char_lower(b.p[j - 1]);
            unsigned best = before[j - 1] + !same;
            best = before[j] + 1 < best ? before[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1] && older[j - 2] + 1 < best)
                best = older[j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[a.n % 3][b.n];
}

void conf_guess_try(struct conf_guess *g, str candidate) {
    unsigned d = distance(g->word, candidate), allowed = 1 + (unsigned)(candidate.n / 4);
    if (d <= allowed && d < candidate.n && (g->best.n == 0 || d < g->distance)) {
        g->best = candidate;
        g->distance = d;
    }
}

/* ---- rows and choices ---- */

bool conf_choice(str type, size_t i, str *word) {
    for (size_t k = 0; k < CHOICES; k++)
        if (str_eq(choices[k].type, type) && choices[k].value == i) {
            *word = choices[k].word;
            return true;
        }
    return false;
}

bool conf_row_is_default(const struct conf_row *row, const void *base) {
    struct buf now = BUF(CONF_FILE_MAX), then = BUF(CONF_FILE_MAX);
    conf_row_put(&now, row, base);
    buf_add(&then, row->fallback);
    bool same = str_eq(buf_str(&now), buf_str(&then));
    buf_free(&now);
    buf_free(&then);
    return same;
}

static const struct conf_row *find_row(const struct conf_block_kind *kind, str name) {
    for (size_t i = 0; i < kind->row_count; i++)
        if (str_eq(kind->rows[i].name, name))
            return &kind->rows[i];
    return NULL;
}

static void fill_defaults(const struct conf_block_kind *kind, struct arena *a, void *base) {
    for (size_t i = 0; i < kind->row_count; i++) {
        struct conf_row row = kind->rows[i];
        if (row.fallback.n == 0) /* of a setting that must be given: who needs it finds it empty */
            row.min = 0;
        enum err e = conf_row_take(&row, row.fallback, a, base, NULL);
        assert(e == OK || e == ERR_NOMEM); /* a default that is no value is our mistake */
    }
}

void conf_defaults(struct conf *c) {
    *c = (struct conf){.arena = ARENA(128 * MIB)};
    fill_defaults(&top_kind, &c->arena, c);
}

void conf_free(struct conf *c) {
    arena_free(&c->arena);
    *c = (struct conf){0};
}

/* ---- setting a value ---- */

struct spot { /* where a value comes from, and where complaints go */
    const char *where;
    unsigned line;
    struct conf_errors *errors;
};

static void complain_unknown(const struct conf_block_kind *kind, str key, const struct spot *at) {
    struct conf_guess g = {.word = key};
    for (size_t i = 0; i < kind->row_count; i++)
        conf_guess_try(&g, kind->rows[i].name);
    if (kind == &top_kind)
        for (size_t i = 0; i < BLOCK_KINDS; i++)
            conf_guess_try(&g, conf_block_kinds[i].name);
    struct buf shown = BUF(256);
    escape_print(str_head(key, 60), &shown);
    conf_errors_add(at->errors, at->where, at->line, "unknown setting \"%s\"%s%.*s%s%.*s%s", buf_cstr(&shown),
                    kind->name.n ? " of a " : "", STR_ARG(kind->name), g.best.n ? " (did you mean \"" : "",
                    STR_ARG(g.best), g.best.n ? "\"?)" : "");
    buf_free(&shown);
}

static enum err set_value(struct conf *c, const struct conf_block_kind *kind, void *base, str key, str value,
                          const struct spot *at) {
    const struct conf_row *row = find_row(kind, key);
    if (!row) {
        complain_unknown(kind, key, at);
        return ERR_SYNTAX;
    }
    struct why w;
    enum err e = conf_row_take(row, value, &c->arena, base, &w);
    if (e == ERR_NOMEM)
        return e;
    places_of(kind, base)[row - kind->rows] = (struct conf_place){at->where, at->line};
    if (e)
        conf_errors_add(at->errors, at->where, at->line, "%.*s: %s", STR_ARG(row->name), w.text);
    return e ? ERR_SYNTAX : OK;
}

enum err conf_set(struct conf *c, str key, str value, const char *where, struct conf_errors *errors) {
    return set_value(c, &top_kind, c, key, value, &(struct spot){where, 0, errors});
}

enum err conf_listen_set(struct conf *c, struct conf_listen *l, str key, str value, const char *where,
                         struct conf_errors *errors) {
    return set_value(c, &conf_block_kinds[0], l, key, value, &(struct spot){where, 0, errors});
}

bool conf_name_valid(str s) {
    if (s.n == 0 || s.n > CONF_NAME_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!char_is_digit(s.p[i]) && !(s.p[i] >= 'a' && s.p[i] <= 'z') && s.p[i] != '_' && s.p[i] != '-')
            return false;
    return true;
}

static bool grow(struct conf *c, const struct conf_block_kind *kind) {
    size_t n = *count_of(c, kind);
    if (n & (n - 1) || n == kind->max) /* room is made when n is 0 or a power of two */
        return n < kind->max;
    char *more = arena_alloc(&c->arena, (n ? 2 * n : 1) * kind->size);
    if (!more)
        return false;
    if (n)
        memcpy(more, *list_of(c, kind), n * kind->size);
    *list_of(c, kind) = more;
    return true;
}

/* The block of that (valid) title; NULL: there is none. */
static struct block_head *find_block(const struct conf *c, const struct conf_block_kind *kind, str title) {
    struct block_head *h;
    for (size_t i = 0; (h = conf_block(c, kind, i)); i++)
        if (str_eq(h->title, title))
            return h;
    return NULL;
}

/* NULL: no memory or too many. */
static struct block_head *new_block(struct conf *c, const struct conf_block_kind *kind, str title, const char *where) {
    if (!grow(c, kind))
        return NULL;
    struct block_head *h = (struct block_head *)(*list_of(c, kind) + *count_of(c, kind) * kind->size);
    memset(h, 0, kind->size);
    h->title = arena_str(&c->arena, title);
    h->place.where = where;
    fill_defaults(kind, &c->arena, h);
    if (c->arena.full)
        return NULL;
    ++*count_of(c, kind);
    return h;
}

struct conf_listen *conf_listen_named(struct conf *c, str name, const char *where) {
    assert(conf_name_valid(name));
    struct block_head *h = find_block(c, &conf_block_kinds[0], name);
    return (struct conf_listen *)(h ? h : new_block(c, &conf_block_kinds[0], name, where));
}

/* ---- reading ---- */

struct reader {
    struct conf *c;
    struct spot at;
    const struct conf_block_kind *kind;
    void *base;        /* what settings go into; NULL: a block that was refused, whose settings are only skipped */
    unsigned block_at; /* line of the open block; 0: none is open */
    bool failed;
    struct map titles[BLOCK_KINDS]; /* of blocks: their index + 1 */
};

static void complain(struct reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void complain(struct reader *r, const char *format, ...) {
    struct why w;
    va_list args;
    va_start(args, format);
    vsnprintf(w.text, sizeof w.text, format, args);
    va_end(args);
    conf_errors_add(r->at.errors, r->at.where, r->at.line, "%s", w.text);
    r->failed = true;
}

/* A comment begins with # at the start or behind a space, outside of quotes. */
static str without_comment(str s) {
    bool quoted = false;
    for (size_t i = 0; i < s.n; i++) {
        if (quoted && s.p[i] == '\\')
            i++;
        else if (s.p[i] == '"' && (quoted || i == 0 || char_is_space(s.p[i - 1])))
            quoted = !quoted;
        else if (!quoted && s.p[i] == '#' && (i == 0 || char_is_space(s.p[i - 1])))
            return str_head(s, i);
    }
    return s;
}

/* The inside of a quoted string into out; false with a complaint. */
static bool unquote(struct reader *r, str s, struct buf *out) {
    size_t i = 1;
    for (; i < s.n && s.p[i] != '"'; i++) {
        if (s.p[i] == '\\') {
            i++;
            if (i == s.n || (s.p[i] != '"' && s.p[i] != '\\')) {
                complain(r, "in quotes a \\ stands only before \" or \\");
                return false;
            }
        }
        buf_char(out, s.p[i]);
    }
    if (i >= s.n) {
        complain(r, "the closing quote is missing");
        return false;
    }
    if (i + 1 != s.n) {
        complain(r, "nothing may stand behind the closing quote");
        return false;
    }
    return true;
}

static void read_setting(struct reader *r, str key, str value) {
    const struct conf_row *row = find_row(r->kind, key);
    if (row && r->base) {
        const struct conf_place *p = &places_of(r->kind, r->base)[row - r->kind->rows];
        if (p->where == r->at.where && p->line)
            complain(r, "%.*s is set twice, first in line %u", STR_ARG(key), p->line);
    }
    struct buf inside = BUF(CONF_FILE_MAX);
    bool good = true;
    if (!r->base)
        good = false;
    else if (row && value.n == 0) {
        complain(r, "%.*s has no value (an empty one is written \"\")", STR_ARG(key));
        good = false;
    } else if (str_starts(value, S("\""))) {
        good = unquote(r, value, &inside);
        value = buf_str(&inside);
    }
    if (good && set_value(r->c, r->kind, r->base, key, value, &r->at) != OK)
        r->failed = true;
    buf_free(&inside);
}

static bool index_blocks(struct reader *r, size_t kind, size_t from) {
    struct block_head *h;
    for (size_t i = from; (h = conf_block(r->c, &conf_block_kinds[kind], i)); i++)
        if (!map_put_str(&r->titles[kind], h->title, (void *)(uintptr_t)(i + 1)))
            return false;
    return true;
}

/* The block of that (valid) title, or a new one; NULL: no memory or too many. */
static struct block_head *block_named(struct reader *r, const struct conf_block_kind *kind, str title) {
    struct map *titles = &r->titles[kind - conf_block_kinds];
    uintptr_t found = (uintptr_t)map_get_str(titles, title);
    if (found)
        return conf_block(r->c, kind, found - 1);
    size_t count = *count_of(r->c, kind);
    struct block_head *h = new_block(r->c, kind, title, r->at.where);
    return h && index_blocks(r, (size_t)(kind - conf_block_kinds), count) ? h : NULL;
}

static void begin_block(struct reader *r, const struct conf_block_kind *kind, str name) {
    if (r->block_at)
        complain(r, "the } of the block that begins in line %u is missing", r->block_at);
    r->kind = kind;
    r->base = NULL;
    r->block_at = r->at.line;
    if (!kind->title(name)) {
        complain(r, "a %.*s has a name of %s", STR_ARG(kind->name), kind->title_is);
        return;
    }
    struct block_head *base = block_named(r, kind, name);
    if (!base) {
        complain(r, "too many blocks");
        return;
    }
    struct conf_place *p = &base->place;
    if (p->line && p->where == r->at.where) {
        complain(r, "there is a %.*s %.*s already, in line %u", STR_ARG(kind->name), STR_ARG(name), p->line);
        return;
    }
    *p = (struct conf_place){r->at.where, r->at.line};
    r->base = base;
}

static void end_block(struct reader *r) {
    if (!r->block_at)
        complain(r, "there is no block that this } ends");
    r->kind = &top_kind;
    r->base = r->c;
    r->block_at = 0;
}

/* `KIND NAME {`, or a known kind of block whose brace is missing. */
static bool read_block_line(struct reader *r, str key, str value) {
    const struct conf_block_kind *kind = NULL;
    for (size_t i = 0; i < BLOCK_KINDS; i++)
        if (str_eq(conf_block_kinds[i].name, key))
            kind = &conf_block_kinds[i];
    bool brace = str_ends(value, S("{"));
    if (!brace && r->block_at && find_row(r->kind, key)) /* the setting `account` of a route is no block */
        return false;
    if (!kind && brace && !find_row(r->kind, key)) {
        complain_unknown(&top_kind, key, &r->at);
        r->failed = true;
        r->block_at = r->at.line;
        r->base = NULL;
        return true;
    }
    if (!kind)
        return false;
    if (!brace)
        complain(r, "a block begins with %.*s NAME { on one line", STR_ARG(key));
    begin_block(r, kind, str_trim(str_head(value, value.n - brace)));
    return true;
}

static void read_line(struct reader *r, str line) {
    str rest = str_trim(without_comment(line)), key;
    if (rest.n == 0)
        return;
    if (str_eq(rest, S("}"))) {
        end_block(r);
        return;
    }
    str_word(&rest, &key);
    if (!read_block_line(r, key, rest))
        read_setting(r, key, rest);
}

static enum err read_all(struct reader *r, str text) {
    struct conf *c = r->c;
    for (str line; !c->arena.full && str_line(&text, &line);) {
        r->at.line++;
        read_line(r, line);
    }
    if (c->arena.full)
        return ERR_NOMEM;
    if (r->block_at) {
        r->at.line = r->block_at;
        complain(r, "the } of this block is missing");
    }
    return r->failed ? ERR_SYNTAX : OK;
}

enum err conf_read(str text, const char *file, struct conf *c, struct conf_errors *errors) {
    struct reader r = {.c = c, .at = {file, 0, errors}, .kind = &top_kind, .base = c};
    enum err e = OK;
    if (text.n > CONF_FILE_MAX) {
        complain(&r, "a configuration has at most %d bytes", (int)CONF_FILE_MAX);
        return ERR_LIMIT;
    }
    for (size_t i = 0; i < BLOCK_KINDS; i++)
        if (!index_blocks(&r, i, 0))
            e = ERR_NOMEM;
    if (!e)
        e = read_all(&r, text);
    for (size_t i = 0; i < BLOCK_KINDS; i++)
        map_free(&r.titles[i]);
    return e;
}

enum err conf_parse(str text, const char *file, struct conf *c, struct conf_errors *errors) {
    conf_defaults(c);
    enum err e = conf_read(text, file, c, errors);
    if (e != OK && e != ERR_SYNTAX)
        return e;
    enum err checked = conf_check(c, errors);
    return e ? e : checked;
}

/* ---- writing ---- */

static void write_row(struct buf *out, const char *indent, const struct conf_row *row, const void *base) {
    if (conf_row_is_default(row, base))
        return;
    struct buf value = BUF(CONF_FILE_MAX);
    conf_row_put(&value, row, base);
    buf_printf(out, "%s%.*s ", indent, STR_ARG(row->name));
    bool quote = row->type == CONF_T_TEXT || row->type == CONF_T_PATH || row->type == CONF_T_ADDRESS ||
                 row->type == CONF_T_LIST || !value.n;
    if (quote)
        buf_char(out, '"');
    str s = buf_str(&value);
    for (size_t i = 0; i < s.n; i++) {
        if (quote && (s.p[i] == '"' || s.p[i] == '\\'))
            buf_char(out, '\\');
        buf_char(out, s.p[i]);
    }
    if (quote)
        buf_char(out, '"');
    buf_char(out, '\n');
    buf_free(&value);
}

void conf_write(struct buf *out, const struct conf *c) {
    for (size_t i = 0; i < CONF_KEYS; i++)
        write_row(out, "", &conf_rows[i], c);
    for (size_t k = 0; k < BLOCK_KINDS; k++) {
        const struct conf_block_kind *kind = &conf_block_kinds[k];
        const struct block_head *h;
        for (size_t i = 0; (h = conf_block(c, kind, i)); i++) {
            buf_printf(out, "%.*s %.*s {\n", STR_ARG(kind->name), STR_ARG(h->title));
            for (size_t row = 0; row < kind->row_count; row++)
                write_row(out, "    ", &kind->rows[row], h);
            buf_add(out, S("}\n"));
        }
    }
}
