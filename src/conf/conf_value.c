/* conf_value.c - the values of conf.def's types: text in, field out, and back. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/code.h"
#include "conf/conf.h"

struct unit {
    str name;
    uint64_t factor;
};

/* Largest first; the first of equals is the one that is written. */
static const struct unit sizes[] = {
    {S_INIT("GiB"), UINT64_C(1) << 30},
    {S_INIT("G"), UINT64_C(1) << 30},
    {S_INIT("GB"), UINT64_C(1) << 30},
    {S_INIT("MiB"), UINT64_C(1) << 20},
    {S_INIT("M"), UINT64_C(1) << 20},
    {S_INIT("MB"), UINT64_C(1) << 20},
    {S_INIT("KiB"), UINT64_C(1) << 10},
    {S_INIT("K"), UINT64_C(1) << 10},
    {S_INIT("KB"), UINT64_C(1) << 10},
    {S_INIT("B"), 1},
    {S_INIT(""), 0},
};
static const struct unit durations[] = {
    {S_INIT("d"), 86400000}, {S_INIT("h"), 3600000}, {S_INIT("m"), 60000},
    {S_INIT("s"), 1000},     {S_INIT("ms"), 1},      {S_INIT(""), 0},
};

static void *field_of(const struct conf_row *row, const void *base) {
    return (char *)base + row->offset;
}

static void unit_put(struct buf *out, const struct unit *units, uint64_t n) {
    const struct unit *u = units;
    while (n % u->factor)
        u++;
    if (n == 0)
        buf_char(out, '0');
    else
        buf_printf(out, "%llu%.*s", (unsigned long long)(n / u->factor), STR_ARG(u->name));
}

static size_t digits(str s) {
    size_t n = 0;
    while (n < s.n && char_is_digit(s.p[n]))
        n++;
    return n;
}

static bool find_unit(const struct unit *units, str name, uint64_t *factor) {
    for (; units->factor; units++)
        if (str_ieq(units->name, name)) {
            *factor = units->factor;
            return true;
        }
    return false;
}

/* "50MiB", "1h30m": numbers with units, summed; 0 needs none. */
static bool unit_parse(const struct unit *units, str s, uint64_t *sum) {
    *sum = 0;
    if (str_eq(s, S("0")))
        return true;
    if (s.n == 0)
        return false;
    while (s.n) {
        uint64_t n, factor, product;
        size_t k = digits(s), end = k;
        while (end < s.n && char_is_alpha(s.p[end]))
            end++;
        if (!str_u64(str_head(s, k), &n) || !find_unit(units, str_sub(s, k, end - k), &factor) ||
            __builtin_mul_overflow(n, factor, &product) || __builtin_add_overflow(*sum, product, sum))
            return false;
        s = str_tail(s, end);
    }
    return true;
}

static bool bool_parse(str s, bool *value) {
    *value = str_eq(s, S("yes")) || str_eq(s, S("true")) || str_eq(s, S("on"));
    return *value || str_eq(s, S("no")) || str_eq(s, S("false")) || str_eq(s, S("off"));
}

static bool choice_parse(str type, str s, unsigned *value) {
    str word;
    for (size_t i = 0; conf_choice(type, i, &word); i++)
        if (str_eq(word, s)) {
            *value = (unsigned)i;
            return true;
        }
    return false;
}

static bool printable(str s) {
    for (size_t i = 0; i < s.n; i++)
        if (char_is_ctl(s.p[i]))
            return false;
    return true;
}

static bool number_parse(const struct conf_row *row, str s, uint64_t *n) {
    bool good = row->type == CONF_T_INT    ? str_u64(s, n)
                : row->type == CONF_T_SIZE ? unit_parse(sizes, s, n)
                                           : unit_parse(durations, s, n);
    return good && *n >= row->min && *n <= row->max;
}

/* "50" where "50MiB" was meant deserves its own words. */
static const char *missing_unit(const struct conf_row *row, str s) {
    uint64_t n;
    return (row->type == CONF_T_SIZE || row->type == CONF_T_DURATION) && str_u64(s, &n) && n ? "has no unit; it must be"
                                                                                             : "is not";
}

static enum err refuse(const struct conf_row *row, str value, struct why *w) {
    struct buf shown = BUF(512), values = BUF(512);
    escape_print(str_head(value, 60), &shown);
    conf_row_values(&values, row);
    enum err e = why(w, ERR_SYNTAX, "\"%s%s\" %s %s", buf_cstr(&shown), value.n > 60 ? "..." : "",
                     missing_unit(row, value), buf_cstr(&values));
    buf_free(&shown);
    buf_free(&values);
    return e;
}

static enum err text_take(const struct conf_row *row, str value, struct arena *a, str *field, struct why *w) {
    if (value.n < row->min || value.n > row->max || !printable(value) ||
        (row->type == CONF_T_TEXT && !utf8_valid(value)))
        return refuse(row, value, w);
    *field = arena_str(a, value);
    return a->full ? ERR_NOMEM : OK;
}

static bool list_word(str *s, str *word) {
    while (s->n && (char_is_space(*s->p) || *s->p == ','))
        *s = str_tail(*s, 1);
    size_t n = 0;
    while (n < s->n && !char_is_space(s->p[n]) && s->p[n] != ',')
        n++;
    *word = str_head(*s, n);
    *s = str_tail(*s, n);
    return n > 0;
}

static enum err list_take(str value, struct arena *a, struct conf_list *field) {
    struct conf_list l = {0};
    str word;
    for (str rest = value; list_word(&rest, &word);)
        l.count++;
    l.list = l.count ? arena_alloc(a, l.count * sizeof *l.list) : NULL;
    if (l.count && !l.list)
        return ERR_NOMEM;
    str rest = value;
    for (size_t i = 0; i < l.count && list_word(&rest, &word); i++)
        l.list[i] = arena_str(a, word);
    *field = l;
    return a->full ? ERR_NOMEM : OK;
}

/* Addresses and networks say themselves what is wrong; the value goes before it. */
static enum err with_value(enum err e, str value, struct why *w) {
    if (e == OK || e == ERR_NOMEM || !w)
        return e;
    struct why inner = *w;
    struct buf shown = BUF(512);
    escape_print(str_head(value, 60), &shown);
    why(w, ERR_SYNTAX, "\"%s%s\": %.300s", buf_cstr(&shown), value.n > 60 ? "..." : "", inner.text);
    buf_free(&shown);
    return ERR_SYNTAX;
}

enum err conf_row_take(const struct conf_row *row, str value, struct arena *a, void *base, struct why *w) {
    void *field = field_of(row, base);
    uint64_t n;
    unsigned choice;
    bool truth;
    struct conf_address address;
    struct conf_networks networks;
    enum err e;
    switch (row->type) {
    case CONF_T_BOOL:
        if (!bool_parse(value, &truth))
            return refuse(row, value, w);
        *(bool *)field = truth;
        return OK;
    case CONF_T_INT:
    case CONF_T_SIZE:
    case CONF_T_DURATION:
        if (!number_parse(row, value, &n))
            return refuse(row, value, w);
        *(uint64_t *)field = n;
        return OK;
    case CONF_T_TEXT:
    case CONF_T_PATH: return text_take(row, value, a, field, w);
    case CONF_T_ENUM:
        if (!choice_parse(row->choice, value, &choice))
            return refuse(row, value, w);
        *(unsigned *)field = choice;
        return OK;
    case CONF_T_ADDRESS:
        if (!printable(value))
            return refuse(row, value, w);
        e = conf_address_parse(value, a, &address, w);
        if (e)
            return with_value(e, value, w);
        *(struct conf_address *)field = address;
        return OK;
    case CONF_T_LIST:
        if (value.n < row->min || value.n > row->max || !printable(value) || !utf8_valid(value))
            return refuse(row, value, w);
        return list_take(value, a, field);
    case CONF_T_NETWORKS:
        if (!printable(value))
            return refuse(row, value, w);
        e = conf_networks_parse(value, row->max, a, &networks, w);
        if (e)
            return with_value(e, value, w);
        *(struct conf_networks *)field = networks;
        return OK;
    }
    assert(!"a type without a parser");
    return ERR_UNSUPPORTED;
}

void conf_row_put(struct buf *out, const struct conf_row *row, const void *base) {
    const void *field = field_of(row, base);
    str word = STR_NONE;
    switch (row->type) {
    case CONF_T_BOOL: buf_add(out, *(const bool *)field ? S("yes") : S("no")); return;
    case CONF_T_INT: buf_printf(out, "%llu", (unsigned long long)*(const uint64_t *)field); return;
    case CONF_T_SIZE: unit_put(out, sizes, *(const uint64_t *)field); return;
    case CONF_T_DURATION: unit_put(out, durations, *(const uint64_t *)field); return;
    case CONF_T_TEXT:
    case CONF_T_PATH: buf_add(out, *(const str *)field); return;
    case CONF_T_ENUM:
        if (conf_choice(row->choice, *(const unsigned *)field, &word))
            buf_add(out, word);
        return;
    case CONF_T_ADDRESS: conf_address_put(out, field); return;
    case CONF_T_NETWORKS: conf_networks_put(out, field); return;
    case CONF_T_LIST:
        for (size_t i = 0; i < ((const struct conf_list *)field)->count; i++)
            buf_printf(out, "%s%.*s", i ? " " : "", STR_ARG(((const struct conf_list *)field)->list[i]));
        return;
    }
}

static void range_put(struct buf *out, const struct conf_row *row, const struct unit *units) {
    buf_add(out, S(" from "));
    unit_put(out, units, row->min);
    buf_add(out, S(" to "));
    unit_put(out, units, row->max);
}

static void choices_put(struct buf *out, str type) {
    str word;
    for (size_t i = 0; conf_choice(type, i, &word); i++)
        buf_printf(out, "%s%.*s", i ? ", " : "one of ", STR_ARG(word));
}

void conf_row_values(struct buf *out, const struct conf_row *row) {
    const char *what = row->type == CONF_T_PATH ? "a path" : "a text";
    switch (row->type) {
    case CONF_T_BOOL: buf_add(out, S("yes or no")); return;
    case CONF_T_INT:
        buf_printf(out, "a number from %llu to %llu", (unsigned long long)row->min, (unsigned long long)row->max);
        return;
    case CONF_T_SIZE:
        buf_add(out, S("a size with a unit (B KiB MiB GiB)"));
        range_put(out, row, sizes);
        return;
    case CONF_T_DURATION:
        buf_add(out, S("a duration with a unit (ms s m h d)"));
        range_put(out, row, durations);
        return;
    case CONF_T_TEXT:
    case CONF_T_PATH:
        if (row->min)
            buf_printf(out, "%s of %llu to %llu bytes", what, (unsigned long long)row->min,
                       (unsigned long long)row->max);
        else
            buf_printf(out, "%s of at most %llu bytes", what, (unsigned long long)row->max);
        return;
    case CONF_T_ENUM: choices_put(out, row->choice); return;
    case CONF_T_ADDRESS: buf_add(out, S("ADDRESS:PORT, [V6ADDRESS]:PORT, unix:/PATH[:MODE] or off")); return;
    case CONF_T_LIST:
        buf_printf(out, "words separated by commas or spaces, %llu to %llu bytes", (unsigned long long)row->min,
                   (unsigned long long)row->max);
        return;
    case CONF_T_NETWORKS:
        buf_add(out, S("addresses, networks (10.0.0.0/8) or unix, separated by commas or spaces"));
        return;
    }
}
