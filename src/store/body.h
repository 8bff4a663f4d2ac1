/* body.h - the bytes of messages by their place in the journal, in a thread of its own: no database is asked.  It keeps
 * the last record and the last block, so that a body read in pieces is read once. */
#ifndef STORE_BODY_H
#define STORE_BODY_H

#include "store/journal.h"
#include "store/record.h"

struct body_reader;
enum err body_open(struct body_reader **out, struct disk *d, const char *journal_dir, const char *big_dir,
                   struct why *w) MUST_CHECK;
void body_close(struct body_reader *b);

/* The record of message num; its strs are valid until the next call.  ERR_CORRUPT also when it was moved meanwhile. */
enum err body_record(struct body_reader *b, uint64_t num, const struct journal_place *place, struct record *r,
                     struct why *w) MUST_CHECK;
/* b NULL: a record that is in memory, and no big one. Appends up to n bytes of the message as it arrived; every byte
 * has passed its checksum.  Less only at its end. */
enum err body_read(struct body_reader *b, const struct record *r, uint64_t offset, uint64_t n, struct buf *out,
                   struct why *w) MUST_CHECK;
/* Likewise of the view that its edits (mime/edit.h) make. */
enum err body_view(struct body_reader *b, const struct record *r, str edits, uint64_t offset, uint64_t n,
                   struct buf *out, struct why *w) MUST_CHECK;

#endif
