/* maildir.h - one file a message: what its name says, and the names of Maildir++ folders, the message in it.
 * Pure. */
#ifndef MIME_MAILDIR_H
#define MIME_MAILDIR_H

#include "base/buf.h"

enum maildir_flag {
    MAILDIR_SEEN = 1,
    MAILDIR_ANSWERED = 2,
    MAILDIR_FLAGGED = 4,
    MAILDIR_DRAFT = 8,
    MAILDIR_DELETED = 16,
    MAILDIR_PASSED = 32, /* forwarded or bounced */
    MAILDIR_FLAGS = 63,
};

struct maildir_name {
    uint64_t time_s; /* of delivery; 0: not told */
    uint64_t size;   /* ",S="; 0: not told */
    unsigned flags;
};

/* The name of a file in cur or new.  False: it begins with a dot and is no message. */
bool maildir_name_read(str name, struct maildir_name *n);
/* Appends a name for cur: `unique` is letters and digits. */
void maildir_name_put(const struct maildir_name *n, str unique, str host, struct buf *out);

/* "Sent/2024" is ".Sent.2024" (names in modified UTF-7, dots in them coded, too), "" and "INBOX" are the directory
 * itself: "".  False: a name that cannot be one (empty levels, controls, too long); nothing is appended then. */
bool maildir_folder_put(str folder, struct buf *out);
/* Back; a directory that is no folder ("cur", "tmp", ".") is false. */
bool maildir_folder_read(str directory, struct buf *out);

/* Line ends: CRLF in a message, LF in its file.  A file whose first line ends in CRLF stays as it is; else each lone LF
 * becomes CRLF. */
void maildir_message_read(str file, struct buf *out);
/* CRLF becomes LF.  A message with a lone CR or LF stays as it is; then, too, reading makes the same of it again,
 * unless it is the first line that ends so. */
void maildir_message_put(str message, struct buf *out);

#endif
