/* smtpd_inject.h - messages from httpd (POST /api/v1/send, imports): INJECT_BEGIN, INJECT_RCPT..., INJECT_BODY...,
 * INJECT_END, answered by INJECTED.  They go through a session from within, so limits, routes and edits are those of
 * submission.  All or nothing: one recipient that is refused refuses the message, with his address in the text. */
#ifndef ROLE_SMTPD_INJECT_H
#define ROLE_SMTPD_INJECT_H

#include "role/smtpd_core.h"

bool smtpd_inject_frame(struct smtpd_core *core, const struct frame *f); /* false: not one of these */
void smtpd_injections_down(struct smtpd_core *core);

/* What a reply of SMTP means to who has no socket. */
enum err smtpd_reply_err(unsigned code);
/* May it stand in a command?  No controls, no blanks in an address. */
bool smtpd_text_fits(str s, bool blanks);

#endif
