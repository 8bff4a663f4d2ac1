/* conf_more.h - what stands inside some texts of the configuration: rates, lists of durations, hosts, names.  Pure. */
#ifndef CONF_CONF_MORE_H
#define CONF_CONF_MORE_H

#include "conf/conf.h"

/* "100/1m": so many in so many milliseconds, neither is 0. */
bool conf_rate_parse(str s, uint64_t *count, uint64_t *ms) MUST_CHECK;

/* "5m 10m 1h", the first max of them; false: one is no duration, or is 0. */
bool conf_durations(const struct conf_list *l, uint64_t *ms, size_t max, size_t *count) MUST_CHECK;

/* A next hop as routes name it: HOST[:PORT], 192.0.2.1[:PORT], [V6ADDRESS][:PORT] or unix:/PATH.  Results point into
 * s; port is 0 when there is none, path is empty unless it is a unix socket. */
struct conf_host {
    str host; /* without brackets */
    str path;
    uint16_t port;
};
bool conf_host_parse(str s, struct conf_host *h) MUST_CHECK;

/* Where something is posted: http[s]://[USER:PASSWORD@]HOST[:PORT][/PATH][?QUERY], without blanks, controls and a
 * fragment.  Results point into s; port is what is meant also when none is written. */
struct conf_url {
    bool tls;
    str login; /* USER:PASSWORD as written; empty: none */
    str host;  /* without brackets */
    uint16_t port;
    str place; /* from the path on; may be empty */
    str query; /* what of place is behind its "?" */
};
bool conf_url_parse(str s, struct conf_url *u) MUST_CHECK;

/* Labels of letters, digits, hyphens and UTF-8 with single dots between them: what the directory may find invalid yet,
 * but a person did not mistype. */
bool conf_domain_good(str s);
bool conf_email_good(str s); /* something, the last @, a good domain or a literal */

#endif
