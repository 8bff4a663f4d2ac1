/* super_spool.h - the directory where the sendmail command leaves mail while the server is down or unreachable: watched
 * by the supervisor, who opens each file and hands it to an smtpd as a session of SMTP commands from that user.
 *
 * The directory is writable by everybody and sticky (mode 1733): nobody can list it or take another's file away.  A
 * file counts when it is an ordinary one with one name, not written by others, and is called *.smtp (what is being
 * written is not).  It is read as what its owner said, and removed when all of it is accepted; one that cannot be is
 * renamed to *.bad and the log says why. */
#ifndef ROLE_SUPER_SPOOL_H
#define ROLE_SUPER_SPOOL_H

#include "conf/conf.h"
#include "role/super_proc.h"

/* Watches c->spool from now on (it may have changed or be empty); makes the directory when it is missing. */
void super_spool_configure(struct super_procs *s, const struct conf *c);
void super_spool_done(const struct super_proc *p, const struct frame_spool_done *f);
void super_spool_orphaned(const struct super_proc *p); /* what it had in hand is tried again */
void super_spool_look(struct super_procs *s);          /* each few seconds, and when the directory changed */

#endif
