#include "role/delivery_core.h"

#include <stdio.h>

enum { PORT_SMTP = 25, PORT_LMTP = 24, PORT_SUBMISSION = 587, PORT_SUBMISSIONS = 465 };

bool delivery_pattern(str pattern, str name) {
    if (str_eq(pattern, S("*")))
        return true;
    (void)str_skip(&pattern, S("*"));
    if (str_starts(pattern, S(".")))
        return name.n > pattern.n && str_iends(name, pattern);
    return str_ieq(pattern, name);
}

/* A site is known by the domain of the recipients and by its mail exchangers, which are the words of its name. */
static bool site_matches(const struct conf_site *s, const struct delivery_job *j) {
    for (size_t i = 0; i < s->match.count; i++) {
        str words = j->site;
        if (delivery_pattern(s->match.list[i], j->next_hop))
            return true;
        for (str word; str_word(&words, &word);)
            if (delivery_pattern(s->match.list[i], word))
                return true;
    }
    return false;
}

static const struct conf_site *site_of(const struct conf *c, const struct delivery_job *j) {
    for (size_t i = 0; j->kind == JOB_RELAY && i < c->site_count; i++)
        if (site_matches(&c->sites[i], j))
            return &c->sites[i];
    return NULL;
}

static const struct conf_route *route_of(const struct conf *c, const struct delivery_job *j) {
    for (size_t i = 0; j->route.n && i < c->route_count; i++)
        if (str_eq(c->routes[i].title, j->route))
            return &c->routes[i];
    return NULL;
}

static enum conf_route_tls tls_of(const struct conf_route *r, const struct conf_site *s) {
    if (r && r->tls != CONF_ROUTE_TLS_AUTO)
        return r->tls;
    if (s && s->tls != CONF_ROUTE_TLS_AUTO)
        return s->tls;
    /* A password is shown only to who has proved his name (RFC 8314 section 5): TLS alone protects from listeners, not
     * from who answers in the server's place. */
    return r && r->user.n ? CONF_ROUTE_TLS_VERIFY : CONF_ROUTE_TLS_OPPORTUNISTIC;
}

static const struct {
    enum smtp_client_tls tls;
    bool verify, opportunistic;
} tls_rows[] = {
    [CONF_ROUTE_TLS_AUTO] = {SMTP_CLIENT_TLS_IF_OFFERED, false, true},
    [CONF_ROUTE_TLS_NONE] = {SMTP_CLIENT_TLS_NONE, false, false},
    [CONF_ROUTE_TLS_OPPORTUNISTIC] = {SMTP_CLIENT_TLS_IF_OFFERED, false, true},
    [CONF_ROUTE_TLS_REQUIRED] = {SMTP_CLIENT_TLS_REQUIRED, false, false},
    [CONF_ROUTE_TLS_VERIFY] = {SMTP_CLIENT_TLS_REQUIRED, true, false},
    [CONF_ROUTE_TLS_IMPLICIT] = {SMTP_CLIENT_TLS_ACTIVE, false, false},
};

static uint16_t port_of(const struct delivery_job *j, const struct delivery_policy *p, const struct conf_site *s) {
    if (j->kind == JOB_LMTP)
        return PORT_LMTP;
    if (s)
        return (uint16_t)s->port;
    if (p->tls == SMTP_CLIENT_TLS_ACTIVE)
        return PORT_SUBMISSIONS;
    return p->user.n ? PORT_SUBMISSION : PORT_SMTP;
}

static void login(const struct delivery_core *core, const struct conf_route *r, struct delivery_policy *p) {
    char name[CONF_NAME_MAX + 32];
    const struct delivery_secret *secret;
    if (!r || !r->user.n)
        return;
    snprintf(name, sizeof name, "route.%.*s.password", STR_ARG(r->title));
    secret = map_get_str(&core->secrets, str_of(name));
    p->user = r->user;
    p->verify = p->verify || p->tls == SMTP_CLIENT_TLS_ACTIVE; /* likewise */
    p->secret = secret ? buf_str(&secret->bytes) : STR_NONE;
}

void delivery_policy_of(const struct delivery_core *core, const struct delivery_job *j, struct delivery_policy *p) {
    const struct conf *c = core->conf;
    const struct conf_route *r = route_of(c, j);
    const struct conf_site *s = site_of(c, j);
    enum conf_route_tls tls = tls_of(r, s);
    *p = (struct delivery_policy){
        .tls = tls_rows[tls].tls,
        .verify = tls_rows[tls].verify,
        .opportunistic = tls_rows[tls].opportunistic,
        .lmtp = j->kind == JOB_LMTP,
        .messages = (unsigned)(s && s->connection_messages ? s->connection_messages : c->site_connection_messages),
        .source = r && r->source.count   ? &r->source
                  : s && s->source.count ? &s->source
                                         : NULL,
    };
    if (j->kind == JOB_SMARTHOST)
        login(core, r, p);
    /* RFC 8689 section 4.2.1: TLS with a server that proves who it is, or not at all. */
    if (j->flags & JOB_REQUIRE_TLS) {
        p->verify = true;
        p->opportunistic = false;
        if (p->tls != SMTP_CLIENT_TLS_ACTIVE)
            p->tls = SMTP_CLIENT_TLS_REQUIRED;
    }
    p->port = port_of(j, p, s);
}
