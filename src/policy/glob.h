/* glob.h - patterns with stars, as routes, rewrite rules and sites have them.  Pure, no allocation. */
#ifndef POLICY_GLOB_H
#define POLICY_GLOB_H

#include "base/str.h"

enum { GLOB_STARS_MAX = 9 }; /* $1 to $9 */

/* A * stands for any text, also none; every other byte for itself, without regard to ASCII case.  Of several ways to
 * match, each star takes the shortest text that lets the rest match.  *star_count: how many of stars were filled, the
 * first star_max at most; both may be NULL.  Time is the product of both lengths at most, whatever the pattern is. */
bool glob_match(str pattern, str s, str *stars, size_t star_max, size_t *star_count);

size_t glob_stars(str pattern); /* how many it has */

#endif
