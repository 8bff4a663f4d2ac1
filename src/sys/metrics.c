#include "sys/metrics.h"

bool metrics_add(struct metrics *m, uint64_t *last, str values) {
    if (values.n != EV_COUNT * sizeof *last)
        return false;
    for (size_t i = 0; i < EV_COUNT; i++) {
        uint64_t now;
        if (!take_u64(&values, &now))
            return false;
        m->events[i] += now - last[i];
        last[i] = now;
    }
    return true;
}

static void put_head(struct buf *out, const char *name, const char *type, const char *help) {
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_roles(struct buf *out, const char *name, const uint64_t *values) {
    for (size_t r = ROLE_SMTPD; r < ROLE_COUNT; r++)
        buf_printf(out, "%s{role=\"%s\"} %llu\n", name, role_name((enum role)r), (unsigned long long)values[r]);
}

void metrics_put(struct buf *out, const struct metrics *m) {
    put_head(out, "penfold_events_total", "counter", "Events, as they are named in the log.");
    for (size_t i = 0; i < EV_COUNT; i++)
        buf_printf(out, "penfold_events_total{event=\"%s\"} %llu\n", event_name((enum event_id)i),
                   (unsigned long long)m->events[i]);
    put_head(out, "penfold_role_restarts_total", "counter", "Processes that ended unexpectedly and were replaced.");
    put_roles(out, "penfold_role_restarts_total", m->restarts);
    put_head(out, "penfold_role_processes", "gauge", "Processes that are running.");
    put_roles(out, "penfold_role_processes", m->processes);
    put_head(out, "penfold_start_time_seconds", "gauge", "When this run began, in seconds since 1970.");
    buf_printf(out, "penfold_start_time_seconds %llu\n", (unsigned long long)m->started_s);
    put_head(out, "penfold_info", "gauge", "The version that is running.");
    buf_printf(out, "penfold_info{version=\"" PENFOLD_VERSION "\"} 1\n");
}
