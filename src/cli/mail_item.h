/* mail_item.h - one message on its way between an account's folders and files: its bytes with CRLF line ends, and what
 * is kept beside them. */
#ifndef CLI_MAIL_ITEM_H
#define CLI_MAIL_ITEM_H

#include "base/str.h"

enum { MAIL_ITEM_MAX = 512 * 1024 * 1024 };

struct mail_item {
    str folder; /* "INBOX", "Archive/2026" */
    str name;   /* in files: which one it is, for a person; in an account: "ID.UID", letters, digits and a dot */
    str bytes;
    unsigned flags;       /* mime/maildir.h */
    uint64_t received_us; /* 0: not told */
};

#endif
