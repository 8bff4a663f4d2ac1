/* spare.h - room that is kept for the day when the disk is full: a file that holds nothing, <data>/spare.  Mail never
 * gets it; it is given up, piece by piece, so that a deletion, the database or a start can write, and made again when
 * there is room. */
#ifndef STORE_SPARE_H
#define STORE_SPARE_H

#include "store/journal.h"

enum { SPARE_MAX = 8 * 1024 * 1024, SPARE_PIECE = 1024 * 1024 };

uint64_t spare_size(uint64_t reserve); /* how large it is beside such a reserve; 0: none */
/* Makes it, unless it is there and whole.  Takes as long as writing it takes. */
enum err spare_make(struct disk *d, const char *data, uint64_t size, struct why *w) MUST_CHECK;
bool spare_give_up(struct disk *d, const char *data); /* a piece; false: there is nothing left of it */
/* Before a store is opened: where not even a piece is free, free segments of the journal go, then pieces of the spare.
 */
void spare_make_way(struct disk *d, const char *data, const char *journal_dir);

#endif
