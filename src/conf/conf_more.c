#include "conf/conf_more.h"

#include <string.h>

static bool duration(str s, uint64_t *ms) {
    static const struct conf_row row = {.type = CONF_T_DURATION, .min = 1, .max = UINT64_MAX};
    return conf_row_take(&row, s, NULL, ms, NULL) == OK;
}

bool conf_rate_parse(str s, uint64_t *count, uint64_t *ms) {
    str number;
    return str_cut(&s, '/', &number) && str_u64(number, count) && *count > 0 && duration(s, ms);
}

bool conf_durations(const struct conf_list *l, uint64_t *ms, size_t max, size_t *count) {
    *count = 0;
    for (size_t i = 0; i < l->count && i < max; i++) {
        if (!duration(l->list[i], &ms[i]))
            return false;
        ++*count;
    }
    return true;
}

static bool port_parse(str s, uint16_t *port) {
    uint64_t n;
    if (s.n > 5 || !str_u64(s, &n) || n == 0 || n > 65535)
        return false;
    *port = (uint16_t)n;
    return true;
}

bool conf_host_parse(str s, struct conf_host *h) {
    struct conf_ip ip;
    *h = (struct conf_host){.host = S(""), .path = S("")};
    if (str_skip(&s, S("unix:"))) {
        h->path = s;
        return s.n > 1 && s.n <= 107 && s.p[0] == '/';
    }
    if (str_skip_char(&s, '[')) {
        if (!str_cut(&s, ']', &h->host) || !conf_ip_parse(h->host, &ip) || !str_has(h->host, ':'))
            return false;
        return s.n == 0 || (str_skip_char(&s, ':') && port_parse(s, &h->port));
    }
    size_t colon = str_find(s, ':');
    h->host = str_head(s, colon == SIZE_MAX ? s.n : colon);
    return conf_domain_good(h->host) && (colon == SIZE_MAX || port_parse(str_tail(s, colon + 1), &h->port));
}

static bool url_bytes_good(str s) {
    for (size_t i = 0; i < s.n; i++)
        if (char_is_ctl(s.p[i]) || strchr(" #\\\"<>", s.p[i]))
            return false;
    return true;
}

static bool url_host(str authority, struct conf_url *u) {
    struct conf_host h;
    size_t at = str_rfind(authority, '@');
    if (at != SIZE_MAX) {
        u->login = str_head(authority, at);
        authority = str_tail(authority, at + 1);
    }
    if (!conf_host_parse(authority, &h) || h.path.n)
        return false;
    u->host = h.host;
    u->port = h.port ? h.port : u->tls ? 443 : 80;
    return true;
}

bool conf_url_parse(str s, struct conf_url *u) {
    size_t n = 0;
    *u = (struct conf_url){.login = S(""), .query = S("")};
    u->tls = str_skip(&s, S("https://"));
    if ((!u->tls && !str_skip(&s, S("http://"))) || !url_bytes_good(s))
        return false;
    while (n < s.n && s.p[n] != '/' && s.p[n] != '?')
        n++;
    u->place = str_tail(s, n);
    size_t mark = str_find(u->place, '?');
    if (mark != SIZE_MAX)
        u->query = str_tail(u->place, mark + 1);
    return url_host(str_head(s, n), u);
}

static bool label_good(str s) {
    if (s.n == 0 || s.p[0] == '-' || s.p[s.n - 1] == '-')
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!char_is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_' && !(s.p[i] & 0x80))
            return false;
    return true;
}

bool conf_domain_good(str s) {
    str label;
    if (s.n > 255)
        return false;
    while (str_cut(&s, '.', &label))
        if (!label_good(label))
            return false;
    return label_good(s);
}

bool conf_email_good(str s) {
    size_t at = str_rfind(s, '@');
    if (at == SIZE_MAX || at == 0 || s.p[0] == '<')
        return false;
    str local = str_head(s, at), domain = str_tail(s, at + 1);
    bool quoted = str_starts(local, S("\"")) && str_ends(local, S("\"")) && local.n > 2;
    return (quoted || !str_has(local, '@')) &&
           (conf_domain_good(domain) || (str_starts(domain, S("[")) && str_ends(domain, S("]"))));
}
