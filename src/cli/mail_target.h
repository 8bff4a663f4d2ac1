/* mail_target.h - messages into a Maildir (folders below it as Maildir++ has them) or an mbox file.  What is there
 * already is never written over. */
#ifndef CLI_MAIL_TARGET_H
#define CLI_MAIL_TARGET_H

#include "base/buf.h"
#include "base/err.h"
#include "cli/mail_item.h"

struct mail_target;

/* The directory is made when it is missing.  single: its one folder goes into the directory itself. */
enum err mail_target_maildir(struct mail_target **out, const char *directory, bool single, struct why *w) MUST_CHECK;
/* "-": stdout.  ERR_EXISTS: such a file is there; it is made, whole, by mail_target_finish(). */
enum err mail_target_mbox(struct mail_target **out, const char *file, struct why *w) MUST_CHECK;

/* The messages that follow are of this folder.  ERR_SYNTAX: a name that a Maildir cannot have. */
enum err mail_target_folder(struct mail_target *t, str folder, struct why *w) MUST_CHECK;
/* Is that message there, from an earlier export?  Then it need not be put. */
bool mail_target_has(const struct mail_target *t, const struct mail_item *item);
enum err mail_target_put(struct mail_target *t, const struct mail_item *item, struct why *w) MUST_CHECK;
/* OK: what was put is on the disk. */
enum err mail_target_finish(struct mail_target *t, struct why *w) MUST_CHECK;
void mail_target_free(struct mail_target *t); /* NULL too.  An mbox that is not finished is removed */

#endif
