#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "policy/glob.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void matches(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool match;
        const char *stars; /* joined by | */
    } rows[] = {
        {"", "", true, ""},
        {"", "a", false, ""},
        {"a", "", false, ""},
        {"a", "A", true, ""},
        {"*", "", true, ""},
        {"*", "anything", true, "anything"},
        {"**", "ab", true, "|ab"},
        {"*@example.org", "ada@Example.ORG", true, "ada"},
        {"*@example.org", "ada@example.org.evil", false, ""},
        {"*@example.org", "ada@xexample.org", false, ""},
        {"*@*.example.org", "ada@a.b.example.org", true, "ada|a.b"},
        {"*@*.example.org", "ada@example.org", false, ""},
        {"a*b*c", "abbbcc", true, "|bbc"},
        {"a*b*c", "axbyc", true, "x|y"},
        {"*aab", "aaaab", true, "aa"},
        {"a?c", "abc", false, ""}, /* a question mark is one */
        {"\xc3\xa4*", "\xc3\xa4x", true, "x"},
        {"*************x", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false, ""},
        {"*1*2*3*4*5*6*7*8*9*10*", "a1b2c3d4e5f6g7h8i9j10k", true, "a|b|c|d|e|f|g|h|i"}, /* nine are kept */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        str stars[GLOB_STARS_MAX];
        size_t n = 0;
        char joined[200] = "";
        bool match = glob_match(str_of(rows[i].pattern), str_of(rows[i].text), stars, GLOB_STARS_MAX, &n);
        if (match != rows[i].match)
            fprintf(stderr, "row %zu: %s %s\n", i, rows[i].pattern, rows[i].text);
        assert_int_equal(match, rows[i].match);
        assert_int_equal(glob_match(str_of(rows[i].pattern), str_of(rows[i].text), NULL, 0, NULL), match);
        for (size_t k = 0; match && k < n; k++)
            snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s%.*s", k ? "|" : "",
                     STR_ARG(stars[k]));
        if (match)
            assert_string_equal(joined, rows[i].stars);
    }
    assert_int_equal(glob_stars(str_of("*@*.x")), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(matches)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
