/* mail_source.h - messages out of a Maildir (with the folders of Maildir++ below it) or an mbox file, one at a time.
 * Names come from strangers: nothing is followed out of the directory, and what is no file or no folder's name is told
 * and passed over. */
#ifndef CLI_MAIL_SOURCE_H
#define CLI_MAIL_SOURCE_H

#include "base/buf.h"
#include "base/err.h"
#include "cli/mail_item.h"

struct mail_source;

/* folder: all of its messages go there, and no folders below are looked at; NULL: each to its own. */
enum err mail_source_maildir(struct mail_source **out, const char *directory, const char *folder,
                             struct why *w) MUST_CHECK;
/* "-": stdin, kept in a temporary file.  folder NULL: INBOX. */
enum err mail_source_mbox(struct mail_source **out, const char *file, const char *folder, struct why *w) MUST_CHECK;
void mail_source_free(struct mail_source *s); /* NULL too */

/* OK: the next message, its strs valid until the next call.  ERR_NOT_FOUND: there is no more.  Others: this one cannot
 * be read (item has its folder and name, *w says why), and the call after it goes on. */
enum err mail_source_next(struct mail_source *s, struct mail_item *item, struct why *w) MUST_CHECK;
/* How far it is: files or bytes. */
void mail_source_progress(const struct mail_source *s, uint64_t *done, uint64_t *total);

#endif
