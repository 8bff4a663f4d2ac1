/* store_check.h - `penfold store check`: reads everything and changes nothing.  Every record's checksum, every
 * reference from the database into the journal and to big files, the checksums of those, the counters, and SQLite's own
 * check. */
#ifndef STORE_STORE_CHECK_H
#define STORE_STORE_CHECK_H

#include "base/err.h"

struct store_check_result {
    uint64_t messages, records, big_files; /* looked at */
    uint64_t faults;
};

/* One line for a person: progress, or a fault. */
typedef void store_check_report(void *arg, bool fault, const char *line);

/* OK: looked at everything, result->faults says how it is.  Else it could not be checked at all: ERR_EXISTS a running
 * instance holds it, ERR_NOT_FOUND there is no store, ERR_VERSION a newer one, ERR_IO.
 * segment_size: conf->journal_segment_size. */
enum err store_check(const char *data, uint64_t segment_size, store_check_report *report, void *arg,
                     struct store_check_result *result, struct why *w) MUST_CHECK;

/* As long as *fd is open no instance can start on the directory.  ERR_EXISTS, ERR_NOT_FOUND as above. */
enum err store_check_lock(const char *data, int *fd, struct why *w) MUST_CHECK;

#endif
