/* auth_failures.h - who failed to log in how often in the last ten minutes: addresses of clients, and accounts.  Pure:
 * time is an argument.  An IPv6 client is its /64; who comes from this machine (loopback, unix) is not counted. */
#ifndef MAILAUTH_AUTH_FAILURES_H
#define MAILAUTH_AUTH_FAILURES_H

#include "base/err.h"

enum auth_failures_of { AUTH_FAILURES_CLIENT, AUTH_FAILURES_ACCOUNT };

struct auth_failures;
struct auth_failures *auth_failures_new(uint64_t random_seed); /* NULL: no memory */
void auth_failures_free(struct auth_failures *f);

/* Has it failed `max` times (0: never enough)?  Names in any case. */
bool auth_failures_over(const struct auth_failures *f, enum auth_failures_of of, str name, uint64_t max,
                        uint64_t now_ms);
/* True: with this one it has reached max. */
bool auth_failures_add(struct auth_failures *f, enum auth_failures_of of, str name, uint64_t max, uint64_t now_ms);
void auth_failures_forget(struct auth_failures *f, enum auth_failures_of of, str name); /* it got in */

#endif
