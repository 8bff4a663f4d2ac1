#include "policy/glob.h"

size_t glob_stars(str pattern) {
    size_t n = 0;
    for (size_t i = 0; i < pattern.n; i++)
        n += pattern.p[i] == '*';
    return n;
}

struct walk {
    str *stars;
    size_t star_max, star_count;
};

static void star_set(struct walk *w, size_t star, str text) {
    if (star >= w->star_max)
        return;
    w->stars[star] = text;
    w->star_count = star + 1;
}

/* Only the last star is ever tried again: what stood before it matched as early as it could, and no later place would
 * leave more to the rest. */
bool glob_match(str pattern, str s, str *stars, size_t star_max, size_t *star_count) {
    struct walk w = {stars, stars ? star_max : 0, 0};
    size_t p = 0, i = 0, star = 0, star_p = SIZE_MAX, star_i = 0;
    while (i < s.n || p < pattern.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star++;
            star_p = p++;
            star_i = i;
            star_set(&w, star - 1, str_sub(s, i, 0));
        } else if (p < pattern.n && i < s.n && char_lower(pattern.p[p]) == char_lower(s.p[i])) {
            p++;
            i++;
        } else if (star_p != SIZE_MAX && star_i < s.n) {
            p = star_p + 1;
            i = ++star_i;
            size_t from = star <= w.star_max && star ? (size_t)(w.stars[star - 1].p - s.p) : 0;
            star_set(&w, star - 1, str_sub(s, from, star_i - from));
        } else {
            return false;
        }
    }
    if (star_count)
        *star_count = w.star_count;
    return true;
}
