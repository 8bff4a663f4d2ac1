/* smtpd_spool.h - a file of the sendmail command's spool: SMTP commands (EHLO, MAIL, RCPT, DATA, lines, dot ...), said
 * one by one in a session from within.  SPOOL_DONE tells the supervisor: OK, all of it is accepted; ERR_SYNTAX or
 * ERR_DENIED, it never will be; else it may be tried again.  Recipients that are refused are returned by a report, for
 * nobody waits for a reply. */
#ifndef ROLE_SMTPD_SPOOL_H
#define ROLE_SMTPD_SPOOL_H

#include "role/smtpd_core.h"

struct smtpd_spool;

/* NULL: it was answered at once.  user, trusted: whose file it is, as of a caller. */
struct smtpd_spool *smtpd_spool_new(struct smtpd_core *core, uint64_t tag, str user, bool trusted);
bool smtpd_spool_add(struct smtpd_spool *p, str bytes); /* false: it is too large already */
/* The file is whole (or, with an error, could not be read): from now on it ends by itself, with SPOOL_DONE. */
void smtpd_spool_run(struct smtpd_spool *p, enum err e);

#endif
