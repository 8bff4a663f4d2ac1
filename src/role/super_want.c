#include "role/super_want.h"

static bool has_protocol(const struct conf *c, bool http) {
    for (size_t i = 0; i < c->listen_count; i++)
        if ((c->listens[i].protocol == CONF_PROTOCOL_HTTP) == http)
            return true;
    return false;
}

static bool has_action(const struct conf *c, enum conf_action action) {
    for (size_t i = 0; i < c->route_count; i++)
        if (c->routes[i].action == action)
            return true;
    return false;
}

/* A server may send anything anywhere: its accounts relay, its reports go out.  A sandbox only what a route of its own
 * says. */
static bool delivers(const struct conf *c) {
    return c->mode == CONF_MODE_SERVER || has_action(c, CONF_ACTION_RELAY) || has_action(c, CONF_ACTION_SMARTHOST) ||
           has_action(c, CONF_ACTION_LMTP) || has_action(c, CONF_ACTION_FORWARD) || has_action(c, CONF_ACTION_PIPE);
}

unsigned super_want(enum role r, const struct conf *c) {
    bool server = c->mode == CONF_MODE_SERVER;
    switch (r) {
    case ROLE_STORE: return 1;
    case ROLE_SMTPD: return (unsigned)c->workers;
    case ROLE_HTTPD:
    case ROLE_CONTENT: return has_protocol(c, true);
    case ROLE_DELIVERY: return delivers(c) ? (unsigned)c->delivery_workers : 0;
    case ROLE_RESOLVER: return delivers(c) || has_action(c, CONF_ACTION_WEBHOOK);
    case ROLE_KEYD: return server;
    case ROLE_FILTER: return has_action(c, CONF_ACTION_WEBHOOK);
    default: return 0;
    }
}

bool super_wants_secret(enum role r, str name) {
    static const struct {
        enum role role;
        str start, end;
    } rows[] = {
        {ROLE_SMTPD, S_INIT("tls."), S_INIT("")},
        {ROLE_SMTPD, S_INIT("auth"), S_INIT("")},
        {ROLE_SMTPD, S_INIT("ticket"), S_INIT("")},
        {ROLE_SMTPD, S_INIT("srs"), S_INIT("")},
        {ROLE_RESOLVER, S_INIT("dns."), S_INIT("")},
        {ROLE_KEYD, S_INIT("keyd"), S_INIT("")},
        {ROLE_DELIVERY, S_INIT("route."), S_INIT(".password")},
        {ROLE_FILTER, S_INIT("route."), S_INIT(".secret")},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].role == r && str_starts(name, rows[i].start) && str_ends(name, rows[i].end))
            return true;
    return false;
}
