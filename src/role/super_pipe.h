/* super_pipe.h - commands of pipe routes, run for the delivery role: the supervisor alone may fork and change users.
 * The command is what the configuration says, argument by argument, never a shell; what came from mail is in its
 * environment (SENDER, RECIPIENT, MESSAGE_ID) and its input, nowhere else.  It has one socket for input, output and
 * errors, a clean environment, a session of its own, and no other descriptor. */
#ifndef ROLE_SUPER_PIPE_H
#define ROLE_SUPER_PIPE_H

#include "conf/conf.h"
#include "role/super_proc.h"

enum { SUPER_PIPES_MAX = 100 };

/* PIPE_RUN and PIPE_KILL from p; answers PIPE_STARTED, later PIPE_ENDED. */
void super_pipe_run(const struct conf *c, struct super_proc *p, const struct frame_pipe_run *f);
void super_pipe_kill(const struct super_proc *p, uint64_t tag);
bool super_pipe_reaped(pid_t pid, int status);        /* false: none of these */
void super_pipe_orphaned(const struct super_proc *p); /* its role has ended: so do its commands */

#endif
