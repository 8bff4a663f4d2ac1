/* role.h - what all roles but the supervisor share: the loop, the control link on descriptor 3, configuration,
 * sandbox, counters, orderly end.  A role is an executable whose main() is
 *     int main(void) { return role_main(&smtpd_role); }
 * Order of calls: secret/listener/peer as they come, then configure once GO arrives; after the first successful
 * configure the sandbox is closed (sys/sandbox.h: afterwards no socket, no file; threads start in configure) and READY
 * is sent.  A role whose supervisor is gone gets stop() too.  On reload the same again: configure takes over what has
 * changed without dropping a session. */
#ifndef SYS_ROLE_H
#define SYS_ROLE_H

#include "conf/conf.h"
#include "sys/clock.h"
#include "sys/link.h"

struct role_ops {
    enum role role;
    /* All is optional but configure. */
    void (*secret)(str name, str bytes);                     /* whole, not chunks; valid until return */
    void (*listener)(str name, int fd);                      /* a listening socket (non-blocking), now the role's */
    void (*peer)(enum role peer, uint32_t instance, int fd); /* make a link of it; the role's */
    enum err (*configure)(const struct conf *c, bool first, struct why *w); /* c lives until the next configure */
    void (*drain)(void);       /* stop accepting; call role_exit() when the last session has ended */
    void (*stop)(void);        /* finish now; call role_exit() (may be later, bounded by the supervisor) */
    void (*metrics)(str text); /* httpd: the newest sums */
    /* Further frames of the supervisor (PIPE_*, SPOOLED); a descriptor that rides along is the role's, else -1. */
    void (*other)(const struct frame *f, int fd);
    bool needs_files; /* true: this role works on files below conf->data (store) */
};

int role_main(const struct role_ops *ops);

struct event_base *role_base(void);
uint32_t role_instance(void);          /* 0, 1, ... among those of its kind; known from GO on */
str role_run_id(void);                 /* of this run of the supervisor; known from GO on */
void role_send(const struct frame *f); /* to the supervisor; nowhere when it is gone */
void role_exit(int status);            /* leave the loop; role_main returns */
/* Tell a person, through the supervisor, why this role cannot go on (the supervisor ends everything), and exit at
 * once, without returning.  From the thread of the loop only. */
_Noreturn void role_fatal(enum err e, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
