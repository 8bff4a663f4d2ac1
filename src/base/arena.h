/* arena.h - memory with one end.  What is allocated lives until arena_reset() or arena_free().
 * Small first chunk, so that an idle session stays small; a limit, so that a hostile one does too.
 * Allocation beyond the limit (or without memory) returns NULL / an empty str and sets `full`:
 * check it once per step, as with buf. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/str.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* newest first */
    size_t used;                /* bytes handed out */
    size_t limit;
    bool full;
};

#define ARENA(max) ((struct arena){.limit = (max)})

void *arena_alloc(struct arena *a, size_t n); /* zeroed, aligned for any type */
str arena_str(struct arena *a, str s);        /* a copy, NUL behind it for debuggers and C APIs */
void arena_reset(struct arena *a);            /* all is over; the first chunk is kept */
void arena_free(struct arena *a);
void arena_wipe(struct arena *a); /* arena_free() for secrets */

#endif
