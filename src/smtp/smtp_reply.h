/* smtp_reply.h - the replies with fixed words, from smtp_reply.def, and how a reply is written.  Pure. */
#ifndef SMTP_SMTP_REPLY_H
#define SMTP_SMTP_REPLY_H

#include "base/buf.h"

enum smtp_reply_id {
    SMTP_R_NONE,
#define REPLY(NAME, code, status, errors, text) SMTP_R_##NAME,
#include "smtp/smtp_reply.def"
#undef REPLY
    SMTP_REPLIES
};

struct smtp_reply {
    uint16_t code;
    bool counts;
    str status, text;
};

const struct smtp_reply *smtp_reply_of(enum smtp_reply_id id);

/* "250 2.0.0 Ok" without CRLF, with '-' for ' ' when more lines follow.  status and detail may be empty; bytes of the
 * detail that are not printable become '?', so that nobody's bytes make a line of their own. */
void smtp_reply_put(struct buf *out, unsigned code, bool more, str status, str text, str detail);

#endif
