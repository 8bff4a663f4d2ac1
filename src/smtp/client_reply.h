/* client_reply.h - a server's replies, read in any pieces (RFC 5321 4.2).  Forgiving where it is harmless (a bare LF
 * ends a line, the text is any bytes), strict where it is not (codes, continuation), bounded everywhere.
 * Pure.  The reply owns its text. */
#ifndef SMTP_CLIENT_REPLY_H
#define SMTP_CLIENT_REPLY_H

#include "base/buf.h"
#include "base/err.h"

enum {
    CLIENT_REPLY_LINE_MAX = 2048,   /* of a line this much is kept, the rest is dropped */
    CLIENT_REPLY_TEXT_MAX = 16384,  /* and of all lines together */
    CLIENT_REPLY_BYTES_MAX = 65536, /* longer: ERR_LIMIT */
    CLIENT_REPLY_LINES_MAX = 100,   /* more: ERR_LIMIT */
};

struct client_reply {
    unsigned code;
    unsigned lines;
    struct buf text; /* the lines without code and separator, '\n' between them */
    struct buf line; /* the one being read */
    size_t bytes;
    bool done;
};

#define CLIENT_REPLY_INIT                                                                                              \
    ((struct client_reply){.text = BUF(CLIENT_REPLY_TEXT_MAX), .line = BUF(CLIENT_REPLY_LINE_MAX)})

/* Eats from the front of *bytes.  OK: a whole reply is there, it stays until the next call; ERR_MORE: all was eaten;
 * ERR_SYNTAX: this is no reply; ERR_LIMIT.  After the last two the connection is of no use. */
enum err client_reply_push(struct client_reply *r, str *bytes) MUST_CHECK;
void client_reply_free(struct client_reply *r);

/* "5.1.1" when the text begins with an enhanced status code (RFC 3463), else empty. */
str client_reply_status(str text);

#endif
