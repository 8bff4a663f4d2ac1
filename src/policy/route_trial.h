/* route_trial.h - a recipient put to the routes with a directory at hand, and what was expected of it: for `penfold
 * route` and the test blocks of a configuration.  Pure. */
#ifndef POLICY_ROUTE_TRIAL_H
#define POLICY_ROUTE_TRIAL_H

#include "policy/route.h"

/* As RCPT would: the recipient's syntax, then route_decide() until the directory has answered all its questions.
 * OK, ERR_NOMEM. */
enum err route_trial(const struct conf *c, const struct directory *dir, const struct route_ask *ask, struct arena *a,
                     struct route_decision *d) MUST_CHECK;
/* The same for a test block; the story may be asked for in d. */
enum err route_trial_test(const struct conf *c, const struct directory *dir, const struct conf_test *t, struct arena *a,
                          struct route_decision *d) MUST_CHECK;
/* The listener of a question that names none: the first one that serves users when somebody is authenticated, else the
 * first one that serves other servers, else the first one that takes mail; empty: there is none. */
str route_trial_listener(const struct conf *c, bool authenticated);

/* "mailbox ada@example.org/Junk, relay far.example", "reject 550 5.1.1 no such address here". */
void route_outcome_put(struct buf *out, const struct route_decision *d);
/* "mailbox", of the delivery's kind. */
const char *route_ending_name(uint32_t job_kind);

/* Is the outcome what a test's expect says?  Items separated by commas: an ending (mailbox, relay, smarthost, lmtp,
 * capture, pipe, webhook, discard, refused), alone or with what it leads to, stars allowed (ada@example.org,
 * ada@example.org/Junk, far.example); accept; reject, alone or with a code or a beginning of the reply; route NAME: the
 * rule that decided.  Every ending must be there, and where endings are named, no other one.
 * ERR_SYNTAX: it is no expectation, *w says why.  ERR_NOT_FOUND: it did not come so, *w says what is amiss. */
enum err route_expected(str expect, const struct route_decision *d, struct why *w) MUST_CHECK;

#endif
