/* mailbox_known.h - what is in a folder already, for an import that passes over equal messages.  Two are equal when all
 * their bytes are (SHA-256); each that is there stands for one that comes, so copies stay as many as they were. */
#ifndef CLI_MAILBOX_KNOWN_H
#define CLI_MAILBOX_KNOWN_H

#include "cli/mailbox_api.h"

struct mailbox_known;

/* Lists the folder; its messages are read when one of the same size comes, each once. */
int mailbox_known_new(struct mailbox_known **out, const struct cli_args *args, str account, str folder) MUST_CHECK;
int mailbox_known_take(struct mailbox_known *k, str bytes, bool *known) MUST_CHECK;
void mailbox_known_free(struct mailbox_known *k); /* NULL too */

#endif
