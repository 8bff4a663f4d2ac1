/* super_proc.h - the supervisor's children: one struct per process that should be running, its start, its control link,
 * its wires to the others, its end and its next start.
 *
 *     waiting --start--> starting --READY--> ready --told--> ending --+
 *        ^                  |                  |                      |
 *        +---- back-off ----+----- crash ------+        super_ops.on_end (told, or a crash)
 *
 * A process has ended when it is reaped and its control link has been read to the end: no COUNTERS are lost. */
#ifndef ROLE_SUPER_PROC_H
#define ROLE_SUPER_PROC_H

#include <sys/types.h>

#include "sys/link.h"
#include "sys/metrics.h"

enum {
    SUPER_WORKERS_MAX = 256,
    SUPER_PROCS_MAX = 2 * SUPER_WORKERS_MAX,
    SUPER_BACKOFF_MIN_MS = 100,
    SUPER_BACKOFF_MAX_MS = 10000,
    SUPER_HEALTHY_MS = 60000, /* a life this long forgives the crashes before */
};

struct super_proc {
    enum role role;
    uint32_t instance;
    pid_t pid; /* 0: none, or reaped */
    struct link *link;
    struct event *timer; /* the next start; or the end of patience with a process that closed its link */
    int status;          /* as waitpid(2) told it */
    bool running;        /* from the start until the end as above */
    bool ready;
    bool told;         /* to end */
    bool was_ready;    /* in any of its lives */
    unsigned failures; /* lives in a row that ended before READY */
    uint64_t started_ms, backoff_ms;
    uint64_t *counted; /* EV_COUNT values of this life */
};

struct super_ops {
    void (*setup)(struct super_proc *p); /* just started: send configuration and listeners; wires and GO follow */
    void (*on_ready)(struct super_proc *p);
    void (*on_fatal)(struct super_proc *p, enum err e, str text);
    void (*on_end)(struct super_proc *p); /* told, or crashed: then its next start is on its way already */
    void (*on_counters)(void);
    void (*on_other)(struct super_proc *p, const struct frame *f); /* what concerns neither its life nor its counters */
};

struct super_procs {
    struct event_base *base;
    const struct super_ops *ops;
    struct super_proc list[SUPER_PROCS_MAX];
    size_t count;
    struct metrics metrics;
    char folder[4096]; /* of the executables */
    char run_id[32];
    bool stopping; /* nothing is started any more */
};

/* Must there be such a process from now on?  NULL: no memory or too many. */
struct super_proc *super_proc_want(struct super_procs *s, enum role r, uint32_t instance);
void super_proc_start(struct super_procs *s, struct super_proc *p);
/* A child was reaped; false: none of ours. */
bool super_proc_reaped(struct super_procs *s, pid_t pid, int status);
void super_proc_tell(struct super_proc *p, enum frame_type type); /* DRAIN or STOP */
void super_proc_kill(struct super_proc *p);
size_t super_proc_running(const struct super_procs *s, enum role r);

/* SECRET and METRICS in chunks; the last one is shorter than the longest (see role.c). */
void super_proc_send_secret(struct super_proc *p, str name, str bytes);
void super_proc_send_metrics(struct super_proc *p, str text);

uint64_t super_backoff_ms(uint64_t last_ms, uint64_t lived_ms); /* pure */

#endif
