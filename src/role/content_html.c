#include "role/content_html.h"

#include "base/code.h"

#include <libxml/HTMLparser.h>
#include <string.h>

enum { CID_MAX = 512, LINK_MAX = 64 * 1024, ENTITY_MAX = 32, HREF_MAX = 2048, META_MAX = 2048, NAME_MAX_SIZE = 16 };

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f';
}

/* --- entities --- */

static size_t numeric_entity(str s, uint32_t *c) {
    size_t n = 2;
    bool hex = s.n > 2 && char_lower(s.p[2]) == 'x';
    uint32_t v = 0;
    size_t first = n += hex;
    for (; n < s.n && n < ENTITY_MAX; n++) {
        char d = char_lower(s.p[n]);
        uint32_t digit = char_is_digit(d)              ? (uint32_t)(d - '0')
                         : hex && d >= 'a' && d <= 'f' ? (uint32_t)(d - 'a') + 10
                                                       : 99;
        if (digit == 99)
            break;
        v = v > 0x110000 ? v : v * (hex ? 16 : 10) + digit;
    }
    if (n == first)
        return 0;
    *c = v == 0 || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff) ? 0xfffd : v;
    return n + (n < s.n && s.p[n] == ';');
}

/* The character reference at the front of s ("&..."): its length, or 0 when it is none. */
static size_t entity(str s, uint32_t *c) {
    char name[ENTITY_MAX];
    size_t n = 0;
    if (s.n > 2 && s.p[1] == '#')
        return numeric_entity(s, c);
    while (n + 1 < s.n && n + 1 < sizeof name && char_is_alnum(s.p[n + 1])) {
        name[n] = s.p[n + 1];
        n++;
    }
    name[n] = '\0';
    if (n == 0 || n + 1 >= s.n || s.p[n + 1] != ';')
        return 0;
    const htmlEntityDesc *e = htmlEntityLookup((const xmlChar *)name);
    if (!e && strcmp(name, "apos") != 0)
        return 0;
    *c = e ? e->value : '\'';
    return n + 2;
}

static void put_decoded(str s, struct buf *out) {
    while (s.n) {
        uint32_t c;
        size_t n = s.p[0] == '&' ? entity(s, &c) : 0;
        if (n)
            utf8_put(out, c);
        else
            buf_char(out, s.p[0]);
        s = str_tail(s, n ? n : 1);
    }
}

/* --- cid: links --- */

/* Does a link start at `at`?  Before it: = or ( , a quote, few blanks. */
static bool link_starts(str html, size_t at) {
    size_t look = at < 8 ? at : 8;
    str before = str_trim(str_sub(html, at - look, look));
    if (before.n && (before.p[before.n - 1] == '"' || before.p[before.n - 1] == '\''))
        before.n--;
    before = str_trim(before);
    if (str_iends(before, S("&quot;")))
        before = str_head(before, before.n - 6);
    return before.n && (before.p[before.n - 1] == '=' || before.p[before.n - 1] == '(');
}

static bool put_link(str raw, content_cid_fn *lookup, void *arg, struct buf *out) {
    struct buf url = BUF(CID_MAX), id = BUF(CID_MAX);
    put_decoded(raw, &url);
    percent_decode(buf_str(&url), &id); /* RFC 2392 */
    bool known = lookup(arg, buf_str(&id), out);
    buf_free(&url);
    buf_free(&id);
    return known;
}

void content_html_cid(str html, content_cid_fn *lookup, void *arg, struct buf *out) {
    size_t done = 0, at = 0;
    struct buf link = BUF(LINK_MAX);
    for (;;) {
        size_t colon = str_find(str_tail(html, at), ':');
        if (colon == SIZE_MAX)
            break;
        at += colon + 1;
        if (at < 4 || !str_ieq(str_sub(html, at - 4, 3), S("cid")) || !link_starts(html, at - 4))
            continue;
        size_t n = 0;
        str rest = str_head(str_tail(html, at), CID_MAX);
        /* A ":" ends it too: no id has one (RFC 5322 3.6.4), and so no byte is looked at for two links. */
        while (n < rest.n && !is_space(rest.p[n]) && !str_has(S("\"'<>():"), rest.p[n]))
            n++;
        size_t quote = str_ifind_str(str_head(rest, n), S("&quot;"));
        n = quote < n ? quote : n;
        buf_reset(&link);
        if (!put_link(str_head(rest, n), lookup, arg, &link))
            continue;
        buf_add(out, str_sub(html, done, at - 4 - done));
        buf_add(out, buf_str(&link));
        at += n;
        done = at;
    }
    buf_free(&link);
    buf_add(out, str_tail(html, done));
}

/* --- text --- */

struct text {
    struct buf *out;
    unsigned lines; /* line ends due before the next character */
    bool space;     /* one blank is due */
    bool pre;
    struct buf href;
    size_t link_start; /* where the text of the link began in out */
};

struct tag {
    char name[NAME_MAX_SIZE]; /* lower case, cut */
    size_t name_size;
    bool end;
    str href, alt;
    size_t length; /* "<" to ">" */
};

enum tag_effect { NOTHING, LINE, PARAGRAPH, BREAK, CELL, ITEM, RULE, PRE, LINK, IMAGE, RAW };

static const struct {
    str name;
    enum tag_effect effect;
} tags[] = {
    {S_INIT("a"), LINK},       {S_INIT("address"), LINE}, {S_INIT("article"), LINE}, {S_INIT("blockquote"), PARAGRAPH},
    {S_INIT("body"), LINE},    {S_INIT("br"), BREAK},     {S_INIT("center"), LINE},  {S_INIT("dd"), LINE},
    {S_INIT("div"), LINE},     {S_INIT("dl"), LINE},      {S_INIT("dt"), LINE},      {S_INIT("footer"), LINE},
    {S_INIT("form"), LINE},    {S_INIT("h1"), PARAGRAPH}, {S_INIT("h2"), PARAGRAPH}, {S_INIT("h3"), PARAGRAPH},
    {S_INIT("h4"), PARAGRAPH}, {S_INIT("h5"), PARAGRAPH}, {S_INIT("h6"), PARAGRAPH}, {S_INIT("header"), LINE},
    {S_INIT("hr"), RULE},      {S_INIT("img"), IMAGE},    {S_INIT("li"), ITEM},      {S_INIT("main"), LINE},
    {S_INIT("ol"), PARAGRAPH}, {S_INIT("p"), PARAGRAPH},  {S_INIT("pre"), PRE},      {S_INIT("script"), RAW},
    {S_INIT("section"), LINE}, {S_INIT("style"), RAW},    {S_INIT("table"), LINE},   {S_INIT("td"), CELL},
    {S_INIT("template"), RAW}, {S_INIT("th"), CELL},      {S_INIT("title"), RAW},    {S_INIT("tr"), LINE},
    {S_INIT("ul"), PARAGRAPH},
};

static enum tag_effect effect_of(const struct tag *t) {
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (str_eq(str_n(t->name, t->name_size), tags[i].name))
            return tags[i].effect;
    return NOTHING;
}

static void due_lines(struct text *t, unsigned lines) {
    t->lines = t->lines > lines ? t->lines : lines;
    t->space = false;
}

static void put_due(struct text *t) {
    if (t->out->n) {
        buf_fill(t->out, '\n', t->lines);
        if (!t->lines && t->space)
            buf_char(t->out, ' ');
    }
    t->lines = 0;
    t->space = false;
}

static void put_char(struct text *t, str c) {
    bool blank = c.n == 1 && is_space(c.p[0]);
    if (blank && t->pre) {
        if (c.p[0] == '\n')
            due_lines(t, t->lines + 1);
        else if (c.p[0] != '\r') {
            put_due(t);
            buf_add(t->out, c);
        }
    } else if (blank) {
        t->space = true;
    } else if (c.n > 1 || !char_is_ctl(c.p[0])) {
        put_due(t);
        buf_add(t->out, c);
    }
}

static void put_code_point(struct text *t, uint32_t c) {
    struct buf one = BUF(4);
    utf8_put(&one, c == 0xa0 ? ' ' : c);
    put_char(t, buf_str(&one));
    buf_free(&one);
}

static void put_text(struct text *t, str s) {
    while (s.n) {
        uint32_t c = 0;
        size_t n = s.p[0] == '&' ? entity(s, &c) : 0;
        if (n) {
            put_code_point(t, c);
        } else {
            n = utf8_char(s, &c);
            put_char(t, n ? str_head(s, n) : S("\xef\xbf\xbd"));
            n = n ? n : 1;
        }
        s = str_tail(s, n);
    }
}

/* One attribute at *s; false at the end of the tag. */
static bool next_attribute(str *s, str *name, str *value) {
    size_t n = 0;
    while (s->n && (is_space(s->p[0]) || s->p[0] == '/'))
        *s = str_tail(*s, 1);
    while (n < s->n && !is_space(s->p[n]) && s->p[n] != '>' && s->p[n] != '/' && (s->p[n] != '=' || n == 0))
        n++;
    if (n == 0)
        return false;
    *name = str_head(*s, n);
    *value = STR_NONE;
    *s = str_tail(*s, n);
    str rest = *s;
    while (rest.n && is_space(rest.p[0]))
        rest = str_tail(rest, 1);
    if (!str_skip_char(&rest, '='))
        return true;
    while (rest.n && is_space(rest.p[0]))
        rest = str_tail(rest, 1);
    char quote = rest.n ? rest.p[0] : '\0';
    if (quote == '"' || quote == '\'') {
        rest = str_tail(rest, 1);
        *value = str_head(rest, str_find(rest, quote));
        *s = str_tail(rest, value->n + 1);
        return true;
    }
    for (n = 0; n < rest.n && !is_space(rest.p[n]) && rest.p[n] != '>';)
        n++;
    *value = str_head(rest, n);
    *s = str_tail(rest, n);
    return true;
}

/* The tag at the front of s, which starts with "<" and a letter or "</" and a letter. */
static void take_tag(str s, struct tag *t) {
    str rest = str_tail(s, 1), name, value;
    *t = (struct tag){0};
    t->end = str_skip_char(&rest, '/');
    size_t n = 0;
    for (; n < rest.n && !is_space(rest.p[n]) && rest.p[n] != '>' && rest.p[n] != '/'; n++)
        if (t->name_size < sizeof t->name)
            t->name[t->name_size++] = char_lower(rest.p[n]);
    rest = str_tail(rest, n);
    while (next_attribute(&rest, &name, &value)) {
        if (str_ieq(name, S("href")) && !t->href.n)
            t->href = value;
        else if (str_ieq(name, S("alt")) && !t->alt.n)
            t->alt = value;
    }
    str_skip_char(&rest, '>');
    t->length = s.n - rest.n;
}

static bool worth_showing(str href) {
    static const str schemes[] = {S_INIT("http://"), S_INIT("https://"), S_INIT("mailto:"), S_INIT("tel:"),
                                  S_INIT("ftp://")};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (str_istarts(href, schemes[i]))
            return true;
    return false;
}

static void end_link(struct text *t) {
    str href = buf_str(&t->href), shown = str_trim(str_tail(buf_str(t->out), t->link_start));
    if (href.n == 0)
        return;
    str bare = href;
    str_iskip(&bare, S("mailto:"));
    if (!str_ieq(shown, href) && !str_ieq(shown, bare)) {
        t->space = t->space || shown.n;
        put_text(t, shown.n ? S("(") : S(""));
        put_text(t, href);
        put_text(t, shown.n ? S(")") : S(""));
    }
    buf_reset(&t->href);
}

static void start_link(struct text *t, const struct tag *tag) {
    end_link(t);
    if (tag->href.n > HREF_MAX)
        return;
    put_decoded(str_trim(tag->href), &t->href);
    if (!worth_showing(buf_str(&t->href)))
        buf_reset(&t->href);
    t->link_start = t->out->n;
}

static void apply(struct text *t, const struct tag *tag) {
    switch (effect_of(tag)) {
    case NOTHING:
    case RAW: break;
    case LINE: due_lines(t, 1); break;
    case PARAGRAPH: due_lines(t, 2); break;
    case BREAK: due_lines(t, t->lines < 2 ? t->lines + 1 : 2); break;
    case CELL: t->space = true; break;
    case ITEM:
        due_lines(t, 1);
        if (!tag->end)
            put_text(t, S("* "));
        break;
    case RULE:
        due_lines(t, 1);
        put_text(t, S("----"));
        due_lines(t, 1);
        break;
    case PRE:
        due_lines(t, 2);
        t->pre = !tag->end;
        break;
    case LINK:
        if (tag->end)
            end_link(t);
        else
            start_link(t, tag);
        break;
    case IMAGE:
        if (!tag->end)
            put_text(t, tag->alt);
        break;
    }
}

/* Behind the end of a comment, declaration or instruction at the front of s ("<!" or "<?"). */
static size_t skip_markup(str s) {
    size_t end;
    if (str_starts(s, S("<!--"))) {
        end = str_find_str(str_tail(s, 4), S("-->"));
        return end == SIZE_MAX ? s.n : 4 + end + 3;
    }
    end = str_find(s, '>');
    return end == SIZE_MAX ? s.n : end + 1;
}

/* Up to the "</name" that ends a raw element. */
static size_t skip_raw(str s, const struct tag *t) {
    for (size_t at = 0;; at += 2) {
        size_t end = str_find_str(str_tail(s, at), S("</"));
        if (end == SIZE_MAX)
            return s.n;
        at += end;
        if (str_istarts(str_tail(s, at + 2), str_n(t->name, t->name_size)))
            return at;
    }
}

static size_t take_markup(struct text *t, str s) {
    struct tag tag;
    char next = s.n > 1 ? s.p[1] : '\0';
    if (next == '!' || next == '?')
        return skip_markup(s);
    bool is_tag = char_is_alpha(next) || (next == '/' && s.n > 2 && char_is_alpha(s.p[2]));
    if (!is_tag) {
        put_char(t, S("<"));
        return 1;
    }
    take_tag(s, &tag);
    apply(t, &tag);
    if (!tag.end && effect_of(&tag) == RAW)
        return tag.length + skip_raw(str_tail(s, tag.length), &tag);
    return tag.length;
}

void content_html_text(str html, struct buf *out) {
    struct text t = {.out = out, .href = BUF(HREF_MAX)};
    while (html.n && !out->full) {
        size_t n = str_find(html, '<');
        put_text(&t, str_head(html, n));
        html = str_tail(html, n < html.n ? n : html.n);
        if (html.n)
            html = str_tail(html, take_markup(&t, html));
    }
    end_link(&t);
    buf_free(&t.href);
    if (out->n)
        buf_char(out, '\n');
}

str content_html_charset(str html) {
    html = str_head(html, META_MAX);
    size_t at = str_ifind_str(html, S("charset="));
    if (at == SIZE_MAX)
        return STR_NONE;
    str rest = str_tail(html, at + 8);
    if (!str_skip_char(&rest, '"'))
        str_skip_char(&rest, '\'');
    size_t n = 0;
    while (n < rest.n && (char_is_alnum(rest.p[n]) || str_has(S("-_:."), rest.p[n])))
        n++;
    return str_head(rest, n);
}
