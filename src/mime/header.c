#include "mime/header.h"

#include "base/code.h"
#include "mime/charset.h"
#include "mime/word.h"

enum { SEGMENTS_MAX = 256 };

bool header_line_name(str line, str *name) {
    size_t n = 0;
    while (n < line.n && (unsigned char)line.p[n] > 32 && line.p[n] != ':' && line.p[n] != 127)
        n++;
    size_t colon = n;
    while (colon < line.n && char_is_space(line.p[colon])) /* RFC 5322 4.5: obsolete */
        colon++;
    if (n == 0 || colon == line.n || line.p[colon] != ':')
        return false;
    *name = str_head(line, n);
    return true;
}

/* The end of the field at the front: behind its last folded line. */
static size_t field_length(str s) {
    size_t n = 0;
    do {
        size_t end = str_find(str_tail(s, n), '\n');
        if (end == SIZE_MAX)
            return s.n;
        n += end + 1;
    } while (n < s.n && char_is_space(s.p[n]));
    return n;
}

static str without_line_end(str s) {
    if (s.n && s.p[s.n - 1] == '\n')
        s.n--;
    if (s.n && s.p[s.n - 1] == '\r')
        s.n--;
    return s;
}

bool header_next(struct header_iter *it, struct header *h) {
    str rest = str_tail(it->block, it->at);
    if (rest.n == 0 || str_starts(rest, S("\n")) || str_starts(rest, S("\r\n")))
        return false;
    size_t n = field_length(rest);
    *h = (struct header){.offset = it->at, .length = n, .value = without_line_end(str_head(rest, n))};
    it->at += n;
    if (header_line_name(h->value, &h->name)) {
        h->value = str_tail(h->value, str_find(h->value, ':') + 1);
        str_skip_spaces(&h->value);
    }
    return true;
}

bool header_find(str block, str name, struct header *h) {
    struct header_iter it = HEADER_ITER(block);
    while (header_next(&it, h))
        if (str_ieq(h->name, name))
            return true;
    return false;
}

void header_unfold(str value, struct buf *out) {
    while (value.n) {
        size_t n = str_find(value, '\n');
        if (n == SIZE_MAX) {
            buf_add(out, value);
            return;
        }
        buf_add(out, without_line_end(str_head(value, n + 1)));
        value = str_tail(value, n + 1);
    }
}

/* Blanks, line ends and comments at the front. */
static void skip_cfws(str *s) {
    unsigned depth = 0;
    size_t n = 0;
    for (; n < s->n; n++) {
        char c = s->p[n];
        if (c == '(')
            depth++;
        else if (depth && c == ')')
            depth--;
        else if (depth && c == '\\')
            n++;
        else if (!depth && !char_is_space(c) && c != '\r' && c != '\n')
            break;
    }
    *s = str_tail(*s, n < s->n ? n : s->n);
}

str header_token(str value) {
    skip_cfws(&value);
    size_t n = 0;
    while (n < value.n && !str_has(S(" \t\r\n;("), value.p[n]))
        n++;
    return str_head(value, n);
}

struct param {
    str name;
    str value; /* raw: inside of the quotes */
    bool quoted;
};

/* Inside of a quoted string; *s stands behind its first quote, and behind its last afterwards. */
static str take_quoted(str *s) {
    size_t n = 0;
    while (n < s->n && s->p[n] != '"')
        n += s->p[n] == '\\' && n + 1 < s->n ? 2 : 1;
    str inside = str_head(*s, n);
    *s = str_tail(*s, n + 1);
    return inside;
}

/* A value without quotes may hold spaces, as in filename=my file.txt: it lasts up to the ";". */
static str take_unquoted(str *s) {
    size_t n = 0;
    while (n < s->n && s->p[n] != ';')
        n++;
    str value = str_head(*s, n);
    *s = str_tail(*s, n);
    if (value.n && value.p[value.n - 1] == ')' && str_has(value, '('))
        value = str_head(value, str_find(value, '('));
    return str_trim(value);
}

static void skip_to_semicolon(str *s) {
    while (s->n && s->p[0] != ';') {
        if (s->p[0] == '(')
            skip_cfws(s);
        else if (str_skip_char(s, '"'))
            take_quoted(s);
        else
            *s = str_tail(*s, 1);
    }
}

static bool next_param(str *s, struct param *p) {
    for (;;) {
        skip_to_semicolon(s);
        if (!str_skip_char(s, ';'))
            return false;
        skip_cfws(s);
        size_t n = 0;
        while (n < s->n && !str_has(S("=; \t\r\n(\""), s->p[n]))
            n++;
        p->name = str_head(*s, n);
        str rest = str_tail(*s, n);
        skip_cfws(&rest);
        if (n == 0 || !str_skip_char(&rest, '='))
            continue;
        skip_cfws(&rest);
        p->quoted = str_skip_char(&rest, '"');
        p->value = p->quoted ? take_quoted(&rest) : take_unquoted(&rest);
        *s = rest;
        return true;
    }
}

bool header_param_next(str *value, str *name) {
    struct param p = {0};
    bool found = next_param(value, &p);
    *name = p.name;
    return found;
}

/* --- RFC 2231 --- */

struct segment {
    struct param param;
    unsigned number;
    bool encoded; /* name*N* : %XX in it */
};

/* Is p "name", "name*", "name*N", "name*N*"? */
static bool match_segment(str name, const struct param *p, struct segment *g, bool *whole) {
    str rest = p->name;
    uint64_t number = 0;
    *whole = false;
    *g = (struct segment){.param = *p};
    if (!str_iskip(&rest, name))
        return false;
    if (rest.n == 0) {
        *whole = true;
        return true;
    }
    if (!str_skip_char(&rest, '*'))
        return false;
    if (rest.n && rest.p[rest.n - 1] == '*') {
        g->encoded = true;
        rest.n--;
    } else if (rest.n == 0) {
        g->encoded = true;
        return true;
    }
    if (!str_u64(rest, &number) || number >= SEGMENTS_MAX)
        return false;
    g->number = (unsigned)number;
    return true;
}

static void put_unquoted(const struct param *p, struct buf *out) {
    str s = p->value;
    while (s.n) {
        /* "C:\dir\file": a backslash that escapes nothing special stands for itself, as its senders mean it. */
        if (p->quoted && s.n >= 2 && s.p[0] == '\\' && (s.p[1] == '"' || s.p[1] == '\\'))
            s = str_tail(s, 1);
        buf_char(out, s.p[0]);
        s = str_tail(s, 1);
    }
}

/* charset'language'text of the first segment; false when there are no such quotes. */
static bool cut_charset(str *s, str *charset) {
    str rest = *s, language;
    if (!str_cut(&rest, '\'', charset) || !str_cut(&rest, '\'', &language))
        return false;
    *s = rest;
    return true;
}

/* Segments 0, 1, 2 ... until one is missing. */
static void join_segments(const struct segment *g, const size_t *index, struct buf *out) {
    str charset = STR_NONE;
    struct buf bytes = BUF(out->limit), utf8 = BUF(out->limit);
    for (unsigned i = 0; i < SEGMENTS_MAX && index[i]; i++) {
        struct segment one = g[index[i] - 1];
        if (i == 0 && one.encoded)
            (void)cut_charset(&one.param.value, &charset);
        if (one.encoded)
            percent_decode(one.param.value, &bytes);
        else
            put_unquoted(&one.param, &bytes);
    }
    charset_to_utf8(charset, buf_str(&bytes), &utf8);
    /* Words of RFC 2047 cut into RFC 2231 pieces exist as well. */
    if (charset.n == 0 && str_find_str(buf_str(&utf8), S("=?")) != SIZE_MAX)
        word_decode(buf_str(&utf8), out);
    else
        word_clean(buf_str(&utf8), out);
    buf_free(&bytes);
    buf_free(&utf8);
}

static void put_plain_value(const struct param *p, struct buf *out) {
    struct buf raw = BUF(out->limit);
    put_unquoted(p, &raw);
    if (str_find_str(buf_str(&raw), S("=?")) != SIZE_MAX) {
        word_decode(buf_str(&raw), out);
    } else {
        struct buf unfolded = BUF(out->limit), utf8 = BUF(out->limit);
        header_unfold(buf_str(&raw), &unfolded);
        charset_guess(buf_str(&unfolded), &utf8);
        word_clean(buf_str(&utf8), out);
        buf_free(&unfolded);
        buf_free(&utf8);
    }
    buf_free(&raw);
}

bool header_param(str value, str name, struct buf *out) {
    struct segment segments[SEGMENTS_MAX], g;
    size_t index[SEGMENTS_MAX] = {0}; /* number of a segment: its place in segments, plus 1 */
    size_t count = 0;
    struct param p, plain = {0};
    bool has_plain = false, whole;
    while (next_param(&value, &p)) {
        if (!match_segment(name, &p, &g, &whole))
            continue;
        if (whole) {
            plain = has_plain ? plain : p;
            has_plain = true;
        } else if (count < SEGMENTS_MAX && !index[g.number]) {
            segments[count++] = g;
            index[g.number] = count;
        }
    }
    /* RFC 6266 4.3: the extended form is the better one when both are there. */
    if (index[0])
        join_segments(segments, index, out);
    else if (has_plain)
        put_plain_value(&plain, out);
    return index[0] || has_plain;
}

void header_canonical_name(str name, struct buf *out) {
    bool upper = true;
    for (size_t i = 0; i < name.n; i++) {
        buf_char(out, upper ? char_upper(name.p[i]) : char_lower(name.p[i]));
        upper = name.p[i] == '-';
    }
}
