/* sendmail_input.h - the message as a program hands it to sendmail, made fit to send: CRLF line ends, the end at a lone
 * dot, the mbox line before it dropped, a From field when there is none, and the recipients that its header names. */
#ifndef CLI_SENDMAIL_INPUT_H
#define CLI_SENDMAIL_INPUT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

/* dot_ends: a line with nothing but a dot is the end (without -i).  ERR_SYNTAX: a NUL in it. */
enum err sendmail_message(str input, bool dot_ends, struct buf *out, struct why *w) MUST_CHECK;

/* Puts `From: name <address>` before the message unless it has one. */
enum err sendmail_add_from(struct buf *message, str name, str address, struct why *w) MUST_CHECK;

struct sendmail_rcpts {
    str *list; /* in the arena, each once */
    size_t count, capacity;
    struct arena *mem;
    bool full;
};

/* One address, or a list of them as in a To field; `host` is added to those that have no domain. */
void sendmail_add_rcpts(struct sendmail_rcpts *r, str list, str host);
/* Of To, Cc and Bcc; of Resent-To, -Cc and -Bcc when there are such (RFC 5322 3.6.6). */
void sendmail_header_rcpts(struct sendmail_rcpts *r, str message, str host);

#endif
