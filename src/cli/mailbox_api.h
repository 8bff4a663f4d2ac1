/* mailbox_api.h - the folders of an account over the HTTP interface.  As cli_http.h: what fails is told on stderr, the
 * result is the exit status. */
#ifndef CLI_MAILBOX_API_H
#define CLI_MAILBOX_API_H

#include <jansson.h>

#include "cli/cli_options.h"
#include "cli/mail_item.h"

/* The account as it is kept, behind the address somebody typed. */
int mailbox_account(const struct cli_args *args, const char *address, struct buf *account) MUST_CHECK;
/* The array of its folders, objects with Name and Messages; to be decref'ed. */
int mailbox_folders(const struct cli_args *args, str account, json_t **folders) MUST_CHECK;

/* The messages of a folder, a page of them in memory. */
struct mailbox_rows {
    const struct cli_args *args;
    str account, folder;
    json_t *page;
    size_t at;
    uint64_t after;
};
struct mailbox_row {
    const char *id; /* until the next one */
    uint64_t uid, size, received_us;
    unsigned flags;
};
/* EX_OK; row->id NULL: there is no more, or no such folder. */
int mailbox_rows_next(struct mailbox_rows *m, struct mailbox_row *row) MUST_CHECK;
void mailbox_rows_end(struct mailbox_rows *m);

/* Its bytes, as they were delivered.  EX_DATAERR, told to nobody: it is not there any more. */
int mailbox_fetch(const struct cli_args *args, const char *id, struct buf *bytes) MUST_CHECK;
/* EX_OK: it is on stable storage.  EX_DATAERR: it is refused, with what was said. */
int mailbox_append(const struct cli_args *args, str account, const struct mail_item *item,
                   struct buf *refusal) MUST_CHECK;

#endif
