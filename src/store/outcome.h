/* outcome.h - the bodies of the journal's records about deliveries, and what a recipient's NOTIFY asks for.  Pure.
 *   INTENT   before the last word of a transaction is said to another server: these recipients, there
 *   OUTCOME  what an attempt, or the clock, made of recipients: everything that is to be true of them afterwards
 *   ACTED    what an operator did to recipients of many messages
 * Replaying them computes nothing anew: times, states and counts are said, not derived. */
#ifndef STORE_OUTCOME_H
#define STORE_OUTCOME_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "frame/job.h"

struct intent {
    uint64_t num, at_us;
    str host;
    const uint32_t *indices;
    size_t count;
};

enum outcome_cause {                      /* stored: never reuse a number */
                     OUTCOME_ATTEMPT = 1, /* a worker's */
                     OUTCOME_LOST = 2,    /* an intent without an end, found after a restart */
                     OUTCOME_CLOCK = 3,   /* too old; or nobody wants to be told */
};

struct outcome_row {
    uint32_t index, attempts, code;
    enum job_outcome outcome; /* 0: none, only what follows changes */
    enum queue_state state;
    enum job_outcome owed; /* what its sender is still to be told; 0: nothing */
    bool late_told;
    uint64_t next_ms;
    str text;
};

struct outcome {
    uint64_t num;
    uint64_t intent; /* seq of the record that this ends; 0: none */
    enum outcome_cause cause;
    enum job_trouble trouble;
    uint64_t started_us, ended_us;
    str text, host, address, tls, source, transcript;
    struct outcome_row *rows;
    size_t row_count;
};

struct acted {
    enum queue_action action;
    uint64_t at_ms;
    str pairs; /* u64 number, u32 index: again and again, in order of numbers */
};
enum { ACTED_PAIR = 12 };

void intent_put(struct buf *out, const struct intent *i);
void outcome_put(struct buf *out, const struct outcome *o);
void acted_put(struct buf *out, const struct acted *a);
/* Strs point into `body`, arrays are in the arena.  ERR_CORRUPT, ERR_VERSION, ERR_NOMEM. */
enum err intent_take(str body, struct arena *a, struct intent *i) MUST_CHECK;
enum err outcome_take(str body, struct arena *a, struct outcome *o) MUST_CHECK;
enum err acted_take(str body, struct acted *a) MUST_CHECK;

/* What of an attempt is kept in its row: index, outcome, code and text of each recipient. */
void outcome_results_put(struct buf *out, const struct outcome *o);
bool outcome_results_take(str *s, struct outcome_row *row) MUST_CHECK;

/* Is the recipient's sender to be told of it?  NOTIFY of its parameters (RFC 3461 4.1); without one, of failures and
 * delays. */
bool notify_wants(str rcpt_params, enum job_outcome what);

#endif
