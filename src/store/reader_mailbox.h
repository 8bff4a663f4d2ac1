/* reader_mailbox.h - requests that look into mailboxes, for reader.c.  r->filter holds the account, r->ids the mailbox,
 * r->index and r->cursor where to go on. */
#ifndef STORE_READER_MAILBOX_H
#define STORE_READER_MAILBOX_H

#include "store/reader.h"

bool reader_mailbox_take(struct request *r, str account, str mailbox); /* false: too long */
enum err reader_mailbox_list(struct db *db, struct request *r, struct why *w) MUST_CHECK;
enum err reader_mailbox_rows(struct db *db, struct request *r, struct why *w) MUST_CHECK;

#endif
