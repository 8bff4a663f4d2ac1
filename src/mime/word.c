#include "mime/word.h"

#include "base/code.h"
#include "mime/charset.h"
#include "mime/transfer.h"

enum { CHARSET_SIZE_MAX = 60 };

struct word {
    str charset;
    char encoding; /* 'q' or 'b' */
    str text;
    size_t length; /* of all, "=?" to "?=" */
};

/* NEVER: there is no end of a word in the rest, so there is no word in it either and nobody needs to look again; a
 * header of nothing but beginnings costs no more than any other. */
enum parsed { WORD, NO_WORD, NEVER };

/* s starts with "=?".  The charset may carry a language (RFC 2231 5). */
static enum parsed parse_word(str s, struct word *w) {
    str rest = str_tail(s, 2), near = str_head(rest, CHARSET_SIZE_MAX + 4), charset, encoding;
    if (!str_cut(&near, '?', &charset) || charset.n == 0 || !str_cut(&near, '?', &encoding) || encoding.n != 1)
        return NO_WORD;
    rest = str_tail(rest, charset.n + 3);
    w->charset = str_head(charset, str_find(charset, '*'));
    w->encoding = char_lower(encoding.p[0]);
    if (w->encoding != 'q' && w->encoding != 'b')
        return NO_WORD;
    size_t end = str_find_str(rest, S("?="));
    if (end == SIZE_MAX)
        return NEVER;
    w->text = str_head(rest, end);
    w->length = (size_t)(rest.p - s.p) + end + 2;
    return WORD;
}

static void decode_q(str text, struct buf *out) {
    while (text.n) {
        char c = text.p[0];
        size_t n = 1;
        if (c == '_') {
            c = ' ';
        } else if (c == '=' && text.n >= 3 && hex_value(text.p[1]) >= 0 && hex_value(text.p[2]) >= 0) {
            c = (char)(hex_value(text.p[1]) << 4 | hex_value(text.p[2]));
            n = 3;
        }
        buf_char(out, c);
        text = str_tail(text, n);
    }
}

static void decode_text(const struct word *w, struct buf *out) {
    if (w->encoding == 'q')
        decode_q(w->text, out);
    else
        transfer_decode(TRANSFER_BASE64, w->text, out);
}

void word_clean(str text, struct buf *out) {
    while (text.n) {
        uint32_t c;
        size_t n = utf8_char(text, &c);
        if (n == 0)
            utf8_put(out, 0xfffd);
        else if (c == '\t' || c == '\r' || c == '\n')
            buf_char(out, ' ');
        else if (c >= 32 && (c < 127 || c >= 0xa0))
            buf_add(out, str_head(text, n));
        text = str_tail(text, n ? n : 1);
    }
}

static void put_converted(str charset, str bytes, struct buf *out) {
    struct buf utf8 = BUF(bytes.n * 4 + 16);
    charset_to_utf8(charset, bytes, &utf8);
    word_clean(buf_str(&utf8), out);
    buf_free(&utf8);
}

/* Text between words: line ends of folding vanish, the blanks stay (RFC 5322 2.2.3). */
static void put_plain(str text, struct buf *out) {
    struct buf guessed = BUF(text.n * 3 + 16);
    struct buf unfolded = BUF(text.n + 1);
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool fold = (c == '\r' || c == '\n') && (i + 1 == text.n || str_has(S(" \t\r\n"), text.p[i + 1]));
        if (!fold)
            buf_char(&unfolded, c);
    }
    charset_guess(buf_str(&unfolded), &guessed);
    word_clean(buf_str(&guessed), out);
    buf_free(&guessed);
    buf_free(&unfolded);
}

static size_t blanks(str s) {
    size_t n = 0;
    while (n < s.n && str_has(S(" \t\r\n"), s.p[n]))
        n++;
    return n;
}

/* Charsets that switch by escapes begin and end in ASCII in each word (RFC 2047 3, RFC 1468); joined, there would be
 * escapes with nothing between them, which ICU takes for an attack. */
static bool has_shifts(str charset) {
    return str_istarts(charset, S("iso-2022")) || str_istarts(charset, S("hz"));
}

/* The word w at the front of s and those that follow it; neighbours of the same charset are converted as one. */
static size_t take_words(str s, struct word w, struct buf *out) {
    struct word next;
    size_t used = 0;
    struct buf bytes = BUF(s.n);
    for (;;) {
        used += w.length;
        decode_text(&w, &bytes);
        size_t gap = blanks(str_tail(s, used));
        str rest = str_tail(s, used + gap);
        bool more = str_starts(rest, S("=?")) && parse_word(rest, &next) == WORD;
        if (!more || !str_ieq(next.charset, w.charset) || has_shifts(w.charset)) {
            put_converted(w.charset, buf_str(&bytes), out);
            buf_reset(&bytes);
        }
        if (!more)
            break;
        used += gap; /* blanks between two words are not shown (RFC 2047 6.2) */
        w = next;
    }
    buf_free(&bytes);
    return used;
}

void word_decode(str value, struct buf *out) {
    str rest = str_trim(value);
    size_t plain = 0; /* bytes at the front of rest that are no word */
    struct word w;
    for (;;) {
        size_t at = str_find_str(str_tail(rest, plain), S("=?"));
        enum parsed parsed = at == SIZE_MAX ? NEVER : parse_word(str_tail(rest, plain + at), &w);
        if (parsed == NEVER)
            break;
        plain += at;
        if (parsed == NO_WORD) {
            plain += 2;
            continue;
        }
        put_plain(str_head(rest, plain), out);
        rest = str_tail(rest, plain);
        rest = str_tail(rest, take_words(rest, w, out));
        plain = 0;
    }
    put_plain(rest, out);
}
