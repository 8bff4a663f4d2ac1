#include "base/str.h"

#include <string.h>

str str_of(const char *c_string) {
    return c_string ? (str){c_string, strlen(c_string)} : STR_NONE;
}

str str_n(const void *p, size_t n) {
    return (str){p, n};
}

bool str_eq(str a, str b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool str_ieq(str a, str b) {
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (char_lower(a.p[i]) != char_lower(b.p[i]))
            return false;
    return true;
}

int str_cmp(str a, str b) {
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    if (c)
        return c;
    return a.n < b.n ? -1 : a.n > b.n;
}

bool str_starts(str s, str prefix) {
    return s.n >= prefix.n && str_eq(str_head(s, prefix.n), prefix);
}

bool str_istarts(str s, str prefix) {
    return s.n >= prefix.n && str_ieq(str_head(s, prefix.n), prefix);
}

bool str_ends(str s, str suffix) {
    return s.n >= suffix.n && str_eq(str_tail(s, s.n - suffix.n), suffix);
}

bool str_iends(str s, str suffix) {
    return s.n >= suffix.n && str_ieq(str_tail(s, s.n - suffix.n), suffix);
}

size_t str_find(str s, char c) {
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;
    return at ? (size_t)(at - s.p) : SIZE_MAX;
}

size_t str_rfind(str s, char c) {
    const char *at = s.n ? memrchr(s.p, c, s.n) : NULL;
    return at ? (size_t)(at - s.p) : SIZE_MAX;
}

size_t str_find_str(str s, str needle) {
    if (needle.n == 0)
        return 0;
    const char *at = s.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
    return at ? (size_t)(at - s.p) : SIZE_MAX;
}

size_t str_ifind_str(str s, str needle) {
    for (size_t i = 0; i + needle.n <= s.n; i++)
        if (str_ieq(str_sub(s, i, needle.n), needle))
            return i;
    return SIZE_MAX;
}

bool str_has(str s, char c) {
    return str_find(s, c) != SIZE_MAX;
}

str str_head(str s, size_t n) {
    return (str){s.p, n < s.n ? n : s.n};
}

str str_tail(str s, size_t from) {
    if (from >= s.n)
        return (str){s.p ? s.p + s.n : NULL, 0};
    return (str){s.p + from, s.n - from};
}

str str_sub(str s, size_t from, size_t n) {
    return str_head(str_tail(s, from), n);
}

static bool is_trimmed(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

str str_trim(str s) {
    while (s.n && is_trimmed(s.p[0]))
        s = str_tail(s, 1);
    while (s.n && is_trimmed(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool str_skip(str *s, str prefix) {
    if (!str_starts(*s, prefix))
        return false;
    *s = str_tail(*s, prefix.n);
    return true;
}

bool str_iskip(str *s, str prefix) {
    if (!str_istarts(*s, prefix))
        return false;
    *s = str_tail(*s, prefix.n);
    return true;
}

bool str_skip_char(str *s, char c) {
    if (s->n == 0 || s->p[0] != c)
        return false;
    *s = str_tail(*s, 1);
    return true;
}

size_t str_skip_spaces(str *s) {
    size_t n = 0;
    while (n < s->n && char_is_space(s->p[n]))
        n++;
    *s = str_tail(*s, n);
    return n;
}

bool str_cut(str *s, char c, str *head) {
    size_t at = str_find(*s, c);
    if (at == SIZE_MAX)
        return false;
    *head = str_head(*s, at);
    *s = str_tail(*s, at + 1);
    return true;
}

bool str_word(str *s, str *word) {
    str_skip_spaces(s);
    size_t n = 0;
    while (n < s->n && !char_is_space(s->p[n]))
        n++;
    if (n == 0)
        return false;
    *word = str_head(*s, n);
    *s = str_tail(*s, n);
    str_skip_spaces(s);
    return true;
}

bool str_line(str *s, str *line) {
    if (s->n == 0)
        return false;
    if (!str_cut(s, '\n', line)) {
        *line = *s;
        *s = str_tail(*s, s->n);
        return true;
    }
    if (line->n && line->p[line->n - 1] == '\r')
        line->n--;
    return true;
}

bool str_u64(str s, uint64_t *value) {
    uint64_t v = 0;
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!char_is_digit(s.p[i]))
            return false;
        unsigned d = (unsigned)(s.p[i] - '0');
        if (v > (UINT64_MAX - d) / 10)
            return false;
        v = v * 10 + d;
    }
    *value = v;
    return true;
}
