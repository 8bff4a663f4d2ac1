/* db_copy.h - a copy of the database as one transaction sees it, while others write to it. */
#ifndef STORE_DB_COPY_H
#define STORE_DB_COPY_H

#include "store/journal.h"

/* Between two pieces: how many pages are copied.  Its error ends the copying and is returned. */
typedef enum err db_copy_step(void *arg, uint64_t done, uint64_t all, struct why *w);

/* Makes the file `to`, which must not be there; *applied tells up to where the copy has followed the journal.  Nothing
 * is synced.  What a failure leaves of `to` is the caller's to remove. */
enum err db_copy(const char *from, const char *to, db_copy_step *step, void *arg, struct journal_position *applied,
                 struct why *w) MUST_CHECK;

#endif
