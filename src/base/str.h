/* str.h - bytes from outside: pointer and length, by value, never NUL-terminated, never freed.
 * Whoever gave the bytes owns them; a str is only a view.  Cut it, skip it, compare it; nothing
 * outside src/base indexes it without a bound check of its own. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct str {
    const char *p;
    size_t n;
} str;

/* A str of a string literal, and a str as the two arguments of "%.*s". */
#define S(lit) ((str){(lit), sizeof(lit) - 1})
#define S_INIT(lit)                                                                                                    \
    { (lit), sizeof(lit) - 1 }
#define STR_ARG(s) (int)(s).n, (s).p
#define STR_NONE ((str){NULL, 0})

#define MUST_CHECK __attribute__((warn_unused_result))

str str_of(const char *c_string); /* NULL gives an empty str */
str str_n(const void *p, size_t n);

bool str_eq(str a, str b);
bool str_ieq(str a, str b); /* ASCII case folding, as protocols want it */
int str_cmp(str a, str b);  /* memcmp order, shorter first */
bool str_starts(str s, str prefix);
bool str_istarts(str s, str prefix);
bool str_ends(str s, str suffix);
bool str_iends(str s, str suffix);

/* Positions; SIZE_MAX when absent. */
size_t str_find(str s, char c);
size_t str_rfind(str s, char c);
size_t str_find_str(str s, str needle);
size_t str_ifind_str(str s, str needle);
bool str_has(str s, char c);

/* Parts, clamped to what is there. */
str str_head(str s, size_t n);
str str_tail(str s, size_t from);
str str_sub(str s, size_t from, size_t n);
str str_trim(str s); /* SP, HTAB, CR, LF at both ends */

/* Eat from the front of *s; false leaves *s as it was. */
bool str_skip(str *s, str prefix);
bool str_iskip(str *s, str prefix);
bool str_skip_char(str *s, char c);
size_t str_skip_spaces(str *s); /* SP and HTAB; how many */

/* head = what stands before the first c, *s = what stands behind it; false (both untouched) when
 * there is no c. */
bool str_cut(str *s, char c, str *head);

/* The next word up to SP or HTAB; *s loses it and the spaces behind it.  False at the end. */
bool str_word(str *s, str *word);

/* The next line without its CRLF or LF; *s loses both.  False at the end. */
bool str_line(str *s, str *line);

/* All of s is a decimal number without sign; no overflow. */
bool str_u64(str s, uint64_t *value) MUST_CHECK;

static inline bool char_is_digit(char c) {
    return c >= '0' && c <= '9';
}
static inline bool char_is_alpha(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
static inline bool char_is_alnum(char c) {
    return char_is_digit(c) || char_is_alpha(c);
}
static inline bool char_is_space(char c) {
    return c == ' ' || c == '\t';
}
static inline bool char_is_ctl(char c) {
    return (unsigned char)c < 32 || c == 127;
}
static inline char char_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}
static inline char char_upper(char c) {
    return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}

#endif
