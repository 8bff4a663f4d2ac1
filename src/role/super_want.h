/* super_want.h - which roles a configuration needs, how many of each, and which secret goes to which.  Pure. */
#ifndef ROLE_SUPER_WANT_H
#define ROLE_SUPER_WANT_H

#include "conf/conf.h"
#include "frame/frame.h"

/* How many processes of this role there are to be; workers is resolved (not 0). */
unsigned super_want(enum role r, const struct conf *c);
bool super_wants_secret(enum role r, str name); /* by the names of SECRET frames */

#endif
