/* sandbox.h - what a role gives up before it meets a stranger.  Every protection is probed; what the kernel does not
 * have is logged once (SANDBOX_MISSING) and done without.
 *     begin       first thing in main: no_new_privs, no core dump of secrets, as many descriptors as the limit allows
 *     drop_root   becomes the configured user for good
 *     files       Landlock: nothing at all, or only what is below one directory
 *     close       seccomp: an allow-list per role; everything else is EPERM, execve and ptrace are death
 *     outlive_not the kernel ends this process when its parent is gone */
#ifndef SYS_SANDBOX_H
#define SYS_SANDBOX_H

#include "base/err.h"
#include "frame/frame.h"

void sandbox_begin(void);
/* Only root has something to drop.  A missing user is an error for a server; a sandbox goes on as root, with a warning.
 */
enum err sandbox_drop_root(const char *user, bool must, struct why *w) MUST_CHECK;
/* For the calling thread and those it starts later.  directory NULL: no file access whatever. */
void sandbox_files(const char *directory, bool connects); /* connects: it may call others by TCP */
void sandbox_close(enum role r);                          /* all threads */
void sandbox_outlive_not(int signal);

#endif
