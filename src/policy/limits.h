/* limits.h - how much an account has sent in the last hour and day, and whether it may send more.  Pure: time is an
 * argument.  The windows slide in steps of five minutes and of an hour; a piece counts whole until its last moment is
 * out of the window, so nobody sends more than his limit in any hour or day. */
#ifndef POLICY_LIMITS_H
#define POLICY_LIMITS_H

#include "base/err.h"

struct limits_max { /* 0: any number */
    uint64_t messages_hour, messages_day, recipients_hour, recipients_day;
};

struct limits;
struct limits *limits_new(uint64_t random_seed); /* NULL: no memory */
void limits_free(struct limits *l);

/* OK: they are counted.  ERR_LIMIT: nothing is counted, and the sentence tells which limit it is and when to come
 * again.  ERR_NOMEM. */
enum err limits_take(struct limits *l, str account, const struct limits_max *max, uint64_t now_ms, uint32_t messages,
                     uint32_t recipients, struct why *w) MUST_CHECK;
size_t limits_count(const struct limits *l); /* accounts that are remembered: those that sent within a day */

#endif
