/* sendmail_spool.h - what the sendmail command leaves behind while the server is down: a file of SMTP commands (EHLO,
 * MAIL, RCPT, DATA and the message with its dots doubled), which the server says to itself when it is back.
 * The directory is writable by everybody, sticky, and lists nothing (mode 1733); the file belongs to who sent it, 0600.
 */
#ifndef CLI_SENDMAIL_SPOOL_H
#define CLI_SENDMAIL_SPOOL_H

#include "base/buf.h"
#include "base/err.h"

struct sendmail_mail {
    str helo, sender;
    str params;      /* of MAIL: "RET=HDRS" */
    str rcpt_params; /* of each RCPT: "NOTIFY=NEVER" */
    const str *rcpts;
    size_t rcpt_count;
    str message; /* line ends CRLF */
};

/* OK: it is on stable storage under its final name, whatever happens then.  Otherwise nothing is left. */
enum err sendmail_spool_write(const char *directory, const struct sendmail_mail *mail, struct why *w) MUST_CHECK;

/* The commands alone. */
void sendmail_spool_text(const struct sendmail_mail *mail, struct buf *out);

#endif
