#include "mime/address.h"

#include "base/code.h"
#include "mime/charset.h"
#include "mime/word.h"

enum { WORD_LOOK_MAX = 400 };

void address_iter_free(struct address_iter *it) {
    buf_free(&it->phrase);
    buf_free(&it->bare);
    buf_free(&it->comment);
    buf_free(&it->name);
    buf_free(&it->address);
    buf_free(&it->group);
}

void address_split(str address, str *local, str *domain) {
    size_t at = str_rfind(address, '@');
    *local = str_head(address, at);
    *domain = at == SIZE_MAX ? STR_NONE : str_tail(address, at + 1);
}

bool address_same(str a, str b) {
    return str_ieq(a, b);
}

int address_cmp(str a, str b) {
    size_t n = a.n < b.n ? a.n : b.n;
    for (size_t i = 0; i < n; i++) {
        char x = char_lower(a.p[i]), y = char_lower(b.p[i]);
        if (x != y)
            return x < y ? -1 : 1;
    }
    return a.n < b.n ? -1 : a.n > b.n;
}

static void start_entry(struct address_iter *it) {
    it->angle = it->closed = it->quoted = it->bare_done = false;
    it->word_from = it->word_to = 0;
    buf_reset(&it->phrase);
    buf_reset(&it->bare);
    buf_reset(&it->comment);
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* A nested comment; its text without the outer parentheses becomes a candidate for the name. */
static void take_comment(struct address_iter *it) {
    unsigned depth = 0;
    size_t n = 0;
    buf_reset(&it->comment);
    for (; n < it->rest.n; n++) {
        char c = it->rest.p[n];
        if (c == ')' && --depth == 0) {
            n++;
            break;
        }
        if (c == '\\' && n + 1 < it->rest.n)
            c = it->rest.p[++n];
        else if (c == '(' && depth++ == 0)
            continue;
        buf_char(&it->comment, c);
    }
    it->rest = str_tail(it->rest, n);
}

static void put_phrase_char(struct address_iter *it, char c) {
    if (!it->closed && !it->angle)
        buf_char(&it->phrase, c);
}

/* Bytes of what may be the address, and where they stand in the list. */
static void put_bare(struct address_iter *it, str bytes, const char *from, const char *to) {
    if (it->bare.n == 0)
        it->raw_from = from;
    it->raw_to = to;
    buf_add(&it->bare, bytes);
}

/* A quoted string is part of a name or a local part: kept for both, unescaped and as it stands. */
static void take_quoted(struct address_iter *it) {
    size_t n = 1;
    bool inside = !it->closed;
    if (inside)
        put_bare(it, S("\""), it->rest.p, it->rest.p + 1);
    for (; n < it->rest.n && it->rest.p[n] != '"'; n++) {
        char c = it->rest.p[n];
        bool pair = c == '\\' && n + 1 < it->rest.n;
        if (pair)
            c = it->rest.p[++n];
        if (c == '\r' || c == '\n')
            continue;
        if (inside && (c == '"' || c == '\\'))
            buf_char(&it->bare, '\\');
        if (inside)
            buf_char(&it->bare, c);
        put_phrase_char(it, c);
    }
    it->rest = str_tail(it->rest, n + 1);
    if (inside)
        put_bare(it, S("\""), it->rest.p, it->rest.p);
    it->quoted = true;
    it->word_to = it->phrase.n;
}

static void take_literal(struct address_iter *it) {
    for (;;) {
        char c = it->rest.p[0];
        if (!is_blank(c) && !it->closed) {
            put_bare(it, str_n(&c, 1), it->rest.p, it->rest.p + 1);
            put_phrase_char(it, c);
        }
        it->rest = str_tail(it->rest, 1);
        if (c == ']' || it->rest.n == 0 || str_has(S(",;<>"), it->rest.p[0]))
            break;
    }
    it->word_to = it->phrase.n;
}

/* The length of an encoded word at the front, which may hold what is special elsewhere: =?utf-8?Q?Doe,_Jane?= */
static size_t encoded_word(str s) {
    s = str_head(s, WORD_LOOK_MAX);
    unsigned marks = 0;
    for (size_t n = 2; n < s.n && !is_blank(s.p[n]); n++)
        if (s.p[n] == '?' && ++marks > 2 && n + 1 < s.n && s.p[n + 1] == '=')
            return n + 2;
    return 0;
}

/* A comma is missing: "a@b c@d". */
static bool next_is_address(str rest) {
    size_t n = 0;
    while (n < rest.n && !is_blank(rest.p[n]) && !str_has(S("<>,;\"("), rest.p[n]))
        n++;
    return str_has(str_head(rest, n), '@') && (n == rest.n || rest.p[n] != '<');
}

/* Blanks between two words; true when the entry ends with them.  Not around dots and "@", where obsolete syntax allows
 * them (RFC 5322 4.4). */
static bool take_blanks(struct address_iter *it) {
    char before = it->bare.n ? it->bare.p[it->bare.n - 1] : '\0';
    while (it->rest.n && is_blank(it->rest.p[0]))
        it->rest = str_tail(it->rest, 1);
    if (it->rest.n == 0 || it->closed)
        return false;
    char next = it->rest.p[0];
    if (it->phrase.n)
        put_phrase_char(it, ' ');
    if (it->angle || before == '.' || before == '@' || next == '.' || next == '@' || str_has(S("<,;:("), next))
        return false;
    /* A new word.  The one before was a name, unless it was an address: then this is chatter, or the next address. */
    if (str_has(buf_str(&it->bare), '@')) {
        it->bare_done = true;
        return next_is_address(it->rest);
    }
    buf_reset(&it->bare);
    it->word_from = it->word_to = it->phrase.n;
    it->quoted = false;
    return false;
}

/* n bytes, which may stand behind a backslash that began at `from`. */
static void take_text(struct address_iter *it, const char *from, size_t n) {
    str text = str_head(it->rest, n);
    it->rest = str_tail(it->rest, n);
    if (it->closed)
        return;
    if (!it->angle)
        buf_add(&it->phrase, text);
    if (it->bare_done && !it->angle)
        return;
    put_bare(it, text, from, text.p + text.n);
    it->word_to = it->phrase.n;
}

static void start_group(struct address_iter *it) {
    it->in_group = true;
    buf_reset(&it->group);
    word_decode(buf_str(&it->phrase), &it->group);
    start_entry(it);
}

static void take_colon(struct address_iter *it) {
    str bare = buf_str(&it->bare);
    it->rest = str_tail(it->rest, 1);
    if (it->angle && str_starts(bare, S("@")))
        buf_reset(&it->bare); /* the end of a route: <@a,@b:c@d> */
    else if (it->angle && str_ieq(bare, S("mailto")))
        buf_reset(&it->bare);
    else if (!it->angle && !str_has(bare, '@'))
        start_group(it);
    else if (!it->closed)
        put_bare(it, S(":"), it->rest.p - 1, it->rest.p);
}

/* One step inside an entry; true when it is over. */
static bool step(struct address_iter *it) {
    char c = it->rest.p[0];
    const char *from = it->rest.p;
    size_t n = 1;
    switch (c) {
    case ' ':
    case '\t':
    case '\r':
    case '\n': return take_blanks(it);
    case '(': take_comment(it); return false;
    case '"': take_quoted(it); return false;
    case '[': take_literal(it); return false;
    case ':': take_colon(it); return false;
    case '<':
        if (it->closed)
            return true; /* a comma is missing */
        it->angle = true;
        it->bare_done = false;
        buf_reset(&it->bare);
        it->rest = str_tail(it->rest, 1);
        return false;
    case '>':
        it->closed = it->closed || it->angle;
        it->rest = str_tail(it->rest, 1);
        return false;
    case ';': it->rest = str_tail(it->rest, 1); return true;
    case ',':
        it->rest = str_tail(it->rest, 1);
        if (it->angle && !it->closed && str_starts(buf_str(&it->bare), S("@"))) {
            buf_reset(&it->bare);
            return false;
        }
        return true;
    case '=':
        n = !it->angle && str_starts(it->rest, S("=?")) ? encoded_word(it->rest) : 1;
        take_text(it, from, n ? n : 1);
        return false;
    default:
        if (c == '\\' && it->rest.n > 1)
            it->rest = str_tail(it->rest, 1);
        if (char_is_ctl(it->rest.p[0]))
            it->rest = str_tail(it->rest, 1);
        else
            take_text(it, from, 1);
        return false;
    }
}

static void put_address(str bare, struct buf *out) {
    struct buf utf8 = BUF(bare.n * 3);
    charset_guess(bare, &utf8);
    word_clean(buf_str(&utf8), out);
    buf_free(&utf8);
}

/* What was collected becomes name and address; false when there is nothing in it. */
static bool finish_entry(struct address_iter *it, struct address *a) {
    str phrase = str_trim(buf_str(&it->phrase)), bare = buf_str(&it->bare);
    buf_reset(&it->name);
    buf_reset(&it->address);
    /* Without "<": the word with the "@" is the address, and so is a lone word ("root"). */
    bool lone = it->word_from == 0 && !it->quoted;
    bool has_at = str_has(str_tail(bare, str_rfind(bare, '"') + 1), '@'); /* one inside of quotes is none */
    bool is_address = it->angle || has_at || lone;
    if (!it->angle && is_address) {
        if (it->word_from)
            word_decode(str_head(buf_str(&it->phrase), it->word_from), &it->name);
    } else {
        word_decode(phrase, &it->name);
    }
    if (it->name.n == 0)
        word_decode(buf_str(&it->comment), &it->name);
    if (is_address)
        put_address(bare, &it->address);
    a->name = str_trim(buf_str(&it->name));
    a->address = buf_str(&it->address);
    a->group = it->in_group ? buf_str(&it->group) : STR_NONE;
    a->raw = a->address.n ? str_n(it->raw_from, (size_t)(it->raw_to - it->raw_from)) : STR_NONE;
    address_split(a->address, &a->local, &a->domain);
    /* A comment alone is nobody: "undisclosed-recipients: (nobody) ;" */
    return a->address.n || (a->name.n && phrase.n);
}

bool address_next(struct address_iter *it, struct address *a) {
    while (it->rest.n && it->count < ADDRESS_LIST_MAX) {
        bool over = false, group_ends = false;
        start_entry(it);
        while (it->rest.n && !over) {
            group_ends = it->rest.p[0] == ';';
            over = step(it);
        }
        bool found = finish_entry(it, a);
        if (over && group_ends)
            it->in_group = false;
        if (found) {
            it->count++;
            return true;
        }
    }
    return false;
}
