#include "smtp/smtp_transcript.h"

#include "base/code.h"

#include <string.h>

enum { LINE_SHOWN_MAX = 2048, KEPT_MEMORY_MAX = 2048 };

void smtp_transcript_init(struct smtp_transcript *t, size_t limit) {
    *t = (struct smtp_transcript){.head = BUF(limit / 2), .tail = BUF(limit - limit / 2)};
}

void smtp_transcript_free(struct smtp_transcript *t) {
    buf_free(&t->head);
    buf_free(&t->tail);
}

static bool is_plain(str s) {
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 32 || (unsigned char)s.p[i] >= 127 || s.p[i] == '\\')
            return false;
    return true;
}

static void escape(str s, struct buf *out) {
    uint32_t c;
    while (s.n) {
        size_t n = utf8_char(s, &c);
        bool shown = n && c >= 32 && c != '\\' && (c < 127 || c > 0xa0);
        if (shown)
            buf_add(out, str_head(s, n));
        else if (n == 1 && c == '\\')
            buf_add(out, S("\\\\"));
        else
            buf_printf(out, "\\x%02x", (unsigned char)s.p[0]);
        s = str_tail(s, shown ? n : 1);
    }
}

static void put_number(struct buf *out, uint64_t v) {
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    buf_add(out, str_n(digits + at, sizeof digits - at));
}

void smtp_transcript_put(struct buf *out, uint64_t ms, char who, str text) {
    put_number(out, ms);
    char intro[] = {' ', who, ':', ' '};
    buf_add(out, str_n(intro, sizeof intro));
    str shown = str_head(text, LINE_SHOWN_MAX);
    if (is_plain(shown))
        buf_add(out, shown);
    else
        escape(shown, out);
    if (shown.n < text.n)
        buf_printf(out, " ... (%zu bytes)", text.n);
    buf_char(out, '\n');
}

/* Drops whole lines off the front of the tail until at most half of it is left. */
static void make_room(struct smtp_transcript *t) {
    size_t drop = t->tail.n - t->tail.limit / 2;
    size_t end = str_find(str_tail(buf_str(&t->tail), drop), '\n');
    drop = end == SIZE_MAX ? t->tail.n : drop + end + 1;
    buf_drop(&t->tail, drop);
    t->left_out += drop;
}

static bool try_line(struct buf *b, uint64_t ms, char who, str text) {
    size_t before = b->n;
    smtp_transcript_put(b, ms, who, text);
    if (!b->full)
        return true;
    buf_shrink(b, before);
    b->full = false;
    return false;
}

void smtp_transcript_line(struct smtp_transcript *t, uint64_t ms, char who, str text) {
    if (t->tap)
        t->tap(t->tap_arg, ms, who, text);
    if (t->tail.n == 0 && t->left_out == 0 && try_line(&t->head, ms, who, text))
        return;
    if (try_line(&t->tail, ms, who, text))
        return;
    if (t->tail.n > t->tail.limit / 2)
        make_room(t);
    if (!try_line(&t->tail, ms, who, text))
        t->left_out += text.n;
}

void smtp_transcript_take(struct smtp_transcript *t, struct buf *out) {
    buf_add(out, buf_str(&t->head));
    if (t->left_out)
        buf_printf(out, "... %llu bytes left out ...\n", (unsigned long long)t->left_out);
    buf_add(out, buf_str(&t->tail));
    buf_reset(&t->head);
    buf_reset(&t->tail);
    if (t->head.cap > KEPT_MEMORY_MAX)
        buf_trim(&t->head);
    buf_trim(&t->tail);
    t->left_out = 0;
}
