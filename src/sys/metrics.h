/* metrics.h - the sums of all roles' counters as text for GET /metrics, in the exposition format of Prometheus.
 * The supervisor sums COUNTERS frames over all roles, also over those that have ended, and sends the text to httpd
 * (METRICS frames) at most once a second, when something has changed:
 *     penfold_events_total{event="smtp_connect"} 12       one line per row of events.def
 *     penfold_role_restarts_total{role="smtpd"} 0         crashes that were followed by a new start
 *     penfold_role_processes{role="smtpd"} 2              running now
 *     penfold_start_time_seconds 1795413600
 *     penfold_info{version="0.1.0"} 1
 * httpd appends what it knows itself (the store's totals). Pure. */
#ifndef SYS_METRICS_H
#define SYS_METRICS_H

#include "frame/frame.h"
#include "obs/events.h"

struct metrics {
    uint64_t events[EV_COUNT];
    uint64_t restarts[ROLE_COUNT];
    uint64_t processes[ROLE_COUNT];
    uint64_t started_s;
};

/* Adds what a role has counted since its last COUNTERS frame: `last` (EV_COUNT values, zero at its start) is brought up
 * to date.  False: not the values of this program's events.def. */
bool metrics_add(struct metrics *m, uint64_t *last, str values) MUST_CHECK;
void metrics_put(struct buf *out, const struct metrics *m);

#endif
