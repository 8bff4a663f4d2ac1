/* conf_check_blocks.c - what must be true of domains, accounts, aliases, routes, rewrites, sites and tests. */
#include <string.h>

#include "base/map.h"
#include "conf/conf_check.h"
#include "conf/conf_more.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- words they share ---- */

/* One of a list in a complaint: whole, or its beginning. */
#define SHOWN(s) STR_ARG(str_head((s), 80))

static bool listener_there(const struct conf *c, str name) {
    for (size_t i = 0; i < c->listen_count; i++)
        if (str_eq(c->listens[i].name, name))
            return true;
    return false;
}

static void check_listener(struct check *k, struct conf_place place, const char *kind, str title, str name) {
    struct conf_guess g = {.word = name};
    if (listener_there(k->c, name))
        return;
    for (size_t i = 0; i < k->c->listen_count; i++)
        conf_guess_try(&g, k->c->listens[i].name);
    COMPLAIN(k, place, "%s %.*s: there is no listen block %.*s%s%.*s%s", kind, STR_ARG(title), SHOWN(name),
             g.best.n ? " (did you mean \"" : "", STR_ARG(g.best), g.best.n ? "\"?)" : "");
}

static void check_listeners(struct check *k, struct conf_place place, const char *kind, str title,
                            const struct conf_list *l) {
    for (size_t i = 0; i < l->count; i++)
        check_listener(k, place, kind, title, l->list[i]);
}

static void check_emails(struct check *k, struct conf_place place, const char *kind, str title, const char *key,
                         const struct conf_list *l, bool domains) {
    for (size_t i = 0; i < l->count; i++) {
        str domain = l->list[i];
        if (!conf_email_good(l->list[i]) && !(domains && str_skip_char(&domain, '@') && conf_domain_good(domain)))
            COMPLAIN(k, place, "%s %.*s: %s: \"%.*s\" is not an address such as ada@example.org%s", kind,
                     STR_ARG(title), key, SHOWN(l->list[i]), domains ? ", nor @example.org for a whole domain" : "");
    }
}

static void check_sources(struct check *k, struct conf_place place, const char *kind, str title,
                          const struct conf_list *l) {
    struct conf_ip ip;
    for (size_t i = 0; i < l->count; i++)
        if (!conf_ip_parse(l->list[i], &ip))
            COMPLAIN(k, place, "%s %.*s: source: \"%.*s\" is not an address of this machine such as 192.0.2.1", kind,
                     STR_ARG(title), SHOWN(l->list[i]));
}

/* What is wrong with a pattern for addresses, or NULL. */
static const char *pattern_fault(str p, bool sender) {
    size_t at = str_rfind(p, '@');
    if (str_eq(p, S("<>")))
        return sender ? NULL : "<> is a sender, no recipient";
    if (str_starts(p, S("<")) || str_ends(p, S(">")))
        return "a pattern stands without < and >";
    if (at != SIZE_MAX && at + 1 == p.n)
        return "behind the @ a domain is missing";
    return NULL;
}

static void check_patterns(struct check *k, struct conf_place place, const char *kind, str title, const char *key,
                           const struct conf_list *l, bool sender) {
    for (size_t i = 0; i < l->count; i++) {
        const char *fault = pattern_fault(l->list[i], sender);
        if (fault)
            COMPLAIN(k, place, "%s %.*s: %s: \"%.*s\": %s", kind, STR_ARG(title), key, SHOWN(l->list[i]), fault);
    }
}

static bool field_name_good(str s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= 32 || s.p[i] == 127 || s.p[i] == ':')
            return false;
    return s.n > 0;
}

static bool field_good(str field) {
    str name;
    return str_cut(&field, ':', &name) && field_name_good(name);
}

/* ---- one of a name ---- */

/* Names that differ in case only are one to the directory. */
static void check_once(struct check *k, struct map *seen, const char *kind, str title, struct conf_place *place) {
    str key = arena_str(&k->c->arena, title);
    if (!key.p || k->c->arena.full) {
        k->nomem = true;
        return;
    }
    for (size_t i = 0; i < key.n; i++)
        ((char *)key.p)[i] = char_lower(key.p[i]);
    struct conf_place *first = map_get_str(seen, key);
    if (first)
        COMPLAIN(k, *place, "%s %.*s: there is one of this name already, in %s:%u", kind, STR_ARG(title),
                 first->where ? first->where : "", first->line);
    else if (!map_put_str(seen, key, place))
        k->nomem = true;
}

/* ---- domains, accounts, aliases ---- */

static void check_domain(struct check *k, const struct conf_domain *d) {
    if (!conf_domain_good(d->title))
        COMPLAIN(k, d->place, "domain %.*s: a domain is written example.org, without @ or a dot at its end",
                 SHOWN(d->title));
    if (d->alias_of.n && !conf_domain_good(d->alias_of))
        COMPLAIN(k, PLACE(d, CONF_DOMAIN_KEY_alias_of), "domain %.*s: alias_of: \"%.*s\" is not a domain",
                 SHOWN(d->title), SHOWN(d->alias_of));
    if (str_ieq(d->alias_of, d->title))
        COMPLAIN(k, PLACE(d, CONF_DOMAIN_KEY_alias_of), "domain %.*s: alias_of names itself", SHOWN(d->title));
    if (d->alias_of.n && d->catch_all.n)
        COMPLAIN(k, PLACE(d, CONF_DOMAIN_KEY_catch_all),
                 "domain %.*s: with alias_of, catch_all has no effect: set it at %.*s", SHOWN(d->title),
                 SHOWN(d->alias_of));
    if (d->catch_all.n && !conf_email_good(d->catch_all))
        COMPLAIN(k, PLACE(d, CONF_DOMAIN_KEY_catch_all), "domain %.*s: catch_all: \"%.*s\" is not an address",
                 SHOWN(d->title), SHOWN(d->catch_all));
    for (size_t i = 0; i < d->separator.n; i++)
        if (char_is_alnum(d->separator.p[i]) || (d->separator.p[i] & 0x80) || strchr("@\".\\ ", d->separator.p[i])) {
            COMPLAIN(k, PLACE(d, CONF_DOMAIN_KEY_separator),
                     "domain %.*s: separator: a separator is a character such as + - _ =", SHOWN(d->title));
            break;
        }
}

static void check_title(struct check *k, const char *kind, str title, struct conf_place place) {
    if (!conf_email_good(title))
        COMPLAIN(k, place, "%s %.*s: its name is an address such as ada@example.org", kind, SHOWN(title));
}

/* A password in clear is a mistake that should not work. */
static void check_account(struct check *k, const struct conf_account *a) {
    check_title(k, "account", a->title, a->place);
    if (a->password.n && !memchr("${", a->password.p[0], 2) && !str_starts(a->password, S("SCRAM-")))
        COMPLAIN(k, PLACE(a, CONF_ACCOUNT_KEY_password),
                 "account %.*s: password is no hash; penfold account hash makes one", SHOWN(a->title));
    check_emails(k, PLACE(a, CONF_ACCOUNT_KEY_senders), "account", a->title, "senders", &a->senders, true);
}

static void check_alias(struct check *k, const struct conf_alias *a) {
    check_title(k, "alias", a->title, a->place);
    if (!a->to.count && !AT(a, CONF_ALIAS_KEY_to).where)
        COMPLAIN(k, a->place, "alias %.*s: to is missing: the addresses it stands for", SHOWN(a->title));
    check_emails(k, PLACE(a, CONF_ALIAS_KEY_to), "alias", a->title, "to", &a->to, false);
    check_emails(k, PLACE(a, CONF_ALIAS_KEY_senders), "alias", a->title, "senders", &a->senders, false);
}

/* ---- routes ---- */

#define ON(action) (1u << CONF_ACTION_##action)
#define OUT (ON(RELAY) | ON(SMARTHOST))

/* For which actions a setting means something, and for which it must be given. */
static const struct {
    enum conf_route_key key;
    unsigned means, needed;
    const char *what;
} route_settings[] = {
    {CONF_ROUTE_KEY_folder, ON(MAILBOX), 0, NULL},
    {CONF_ROUTE_KEY_account, ON(MAILBOX), 0, NULL},
    {CONF_ROUTE_KEY_host, ON(SMARTHOST) | ON(LMTP), ON(SMARTHOST) | ON(LMTP), "the server to hand it to"},
    {CONF_ROUTE_KEY_tls, OUT | ON(LMTP), 0, NULL},
    {CONF_ROUTE_KEY_user, ON(SMARTHOST), 0, NULL},
    {CONF_ROUTE_KEY_password_file, ON(SMARTHOST), 0, NULL},
    {CONF_ROUTE_KEY_source, OUT, 0, NULL},
    {CONF_ROUTE_KEY_address, ON(FORWARD), ON(FORWARD), "the addresses it goes to"},
    {CONF_ROUTE_KEY_command, ON(PIPE), ON(PIPE), "the program to run"},
    {CONF_ROUTE_KEY_run_as, ON(PIPE), 0, NULL},
    {CONF_ROUTE_KEY_timeout, ON(PIPE) | ON(WEBHOOK), 0, NULL},
    {CONF_ROUTE_KEY_url, ON(WEBHOOK), ON(WEBHOOK), "where to post it"},
    {CONF_ROUTE_KEY_secret_file, ON(WEBHOOK), 0, NULL},
    {CONF_ROUTE_KEY_format, ON(WEBHOOK), 0, NULL},
    {CONF_ROUTE_KEY_post_max, ON(WEBHOOK), 0, NULL},
    {CONF_ROUTE_KEY_code, ON(REJECT), 0, NULL},
    {CONF_ROUTE_KEY_text, ON(REJECT), 0, NULL},
};

static const struct conf_row *route_row(enum conf_route_key key) {
    static const struct conf_block_kind *kind;
    for (size_t i = 0; !kind; i++)
        if (str_eq(conf_block_kinds[i].name, S("route")))
            kind = &conf_block_kinds[i];
    return &kind->rows[key];
}

static void check_meaning(struct check *k, const struct conf_route *r) {
    str action = STR_NONE;
    if (!conf_choice(S("action"), r->action, &action))
        return;
    for (size_t i = 0; i < COUNT(route_settings); i++) {
        const struct conf_row *row = route_row(route_settings[i].key);
        bool given = !conf_row_is_default(row, r), tried = AT(r, route_settings[i].key).where != NULL;
        if (given && !(route_settings[i].means & 1u << r->action))
            COMPLAIN(k, AT(r, route_settings[i].key), "route %.*s: %.*s means nothing to the action %.*s",
                     STR_ARG(r->title), STR_ARG(row->name), STR_ARG(action));
        if (!given && !tried && (route_settings[i].needed & 1u << r->action))
            COMPLAIN(k, r->place, "route %.*s: %.*s is missing: %s", STR_ARG(r->title), STR_ARG(row->name),
                     route_settings[i].what);
    }
}

/* Does a pattern leave anybody out? */
static bool names_everybody(const struct conf_list *patterns) {
    for (size_t i = 0; i < patterns->count; i++) {
        size_t at = str_rfind(patterns->list[i], '@'), n = 0;
        str domain = at == SIZE_MAX ? patterns->list[i] : str_tail(patterns->list[i], at + 1);
        while (n < domain.n && strchr("*.", domain.p[n]))
            n++;
        if (n == domain.n)
            return true;
    }
    return false;
}

static bool whole_internet(const struct conf_networks *n) {
    for (size_t i = 0; i < n->count; i++)
        if (!n->list[i].local && n->list[i].prefix == 0)
            return true;
    return false;
}

static void check_open_relay(struct check *k, const struct conf_route *r) {
    bool to = r->to.count && !names_everybody(&r->to), client = r->client.count && !whole_internet(&r->client);
    if (!(1u << r->action & OUT) || r->auth == CONF_YESNO_YES || to || client)
        return;
    COMPLAIN(k, PLACE(r, CONF_ROUTE_KEY_action),
             "route %.*s: this would send anybody's mail to anywhere, an open relay: set auth yes, or name in to or "
             "client whom it is for",
             STR_ARG(r->title));
}

static void check_route_hosts(struct check *k, const struct conf_route *r) {
    struct conf_host h;
    for (size_t i = 0; i < r->host.count; i++) {
        bool good = conf_host_parse(r->host.list[i], &h);
        if (!good)
            COMPLAIN(k, PLACE(r, CONF_ROUTE_KEY_host),
                     "route %.*s: host: \"%.*s\" is not HOST, HOST:PORT, [V6ADDRESS]:PORT or unix:/PATH",
                     STR_ARG(r->title), SHOWN(r->host.list[i]));
        else if (r->action == CONF_ACTION_LMTP && !h.path.n && !h.port)
            COMPLAIN(k, PLACE(r, CONF_ROUTE_KEY_host), "route %.*s: host: %.*s needs a port: LMTP has none of its own",
                     STR_ARG(r->title), SHOWN(r->host.list[i]));
    }
}

static void check_credentials(struct check *k, const struct conf_route *r) {
    if (!r->user.n != !r->password_file.n)
        COMPLAIN(k, PLACE(r, r->user.n ? CONF_ROUTE_KEY_user : CONF_ROUTE_KEY_password_file), "route %.*s: %s",
                 STR_ARG(r->title),
                 r->user.n ? "user needs password_file beside it" : "password_file needs user beside it");
    if (r->user.n && r->tls == CONF_ROUTE_TLS_NONE)
        COMPLAIN(k, PLACE(r, CONF_ROUTE_KEY_tls), "route %.*s: a password is not sent without TLS", STR_ARG(r->title));
}

static void check_pipe(struct check *k, const struct conf_route *r) {
    if (r->command.n && r->command.p[0] != '/')
        COMPLAIN(k, PLACE(r, CONF_ROUTE_KEY_command), "route %.*s: command begins with the program's whole path",
                 STR_ARG(r->title));
    if (str_eq(r->run_as, S("root")) || str_eq(r->run_as, S("0")))
        COMPLAIN(k, PLACE(r, CONF_ROUTE_KEY_run_as), "route %.*s: no command ever runs as root: name another user",
                 STR_ARG(r->title));
}

static void check_reject(struct check *k, const struct conf_route *r) {
    char class = r->code < 500 ? '4' : '5';
    str t = r->text;
    if (t.n > 4 && char_is_digit(t.p[0]) && t.p[1] == '.' && char_is_digit(t.p[2]) && t.p[0] != class)
        COMPLAIN(k, PLACE(r, CONF_ROUTE_KEY_text), "route %.*s: text begins with a code %c.x.x, but the reply's is %u",
                 STR_ARG(r->title), t.p[0], (unsigned)r->code);
    if (r->code == 421 || r->code == 521)
        COMPLAIN(k, PLACE(r, CONF_ROUTE_KEY_code), "route %.*s: code %u ends a whole session; take 450 or 550",
                 STR_ARG(r->title), (unsigned)r->code);
}

static void check_route(struct check *k, const struct conf_route *r) {
    struct conf_url url;
    check_meaning(k, r);
    check_open_relay(k, r);
    check_patterns(k, PLACE(r, CONF_ROUTE_KEY_from), "route", r->title, "from", &r->from, true);
    check_patterns(k, PLACE(r, CONF_ROUTE_KEY_to), "route", r->title, "to", &r->to, false);
    check_listeners(k, PLACE(r, CONF_ROUTE_KEY_listener), "route", r->title, &r->listener);
    if (r->size_max && r->size_min > r->size_max)
        COMPLAIN(k, PLACE(r, CONF_ROUTE_KEY_size_min), "route %.*s: size_min is above size_max", STR_ARG(r->title));
    if (r->header.n && !field_good(r->header))
        COMPLAIN(k, PLACE(r, CONF_ROUTE_KEY_header), "route %.*s: header is written Name: pattern", STR_ARG(r->title));
    if (r->copy && (r->action == CONF_ACTION_REJECT || r->action == CONF_ACTION_DISCARD))
        COMPLAIN(k, PLACE(r, CONF_ROUTE_KEY_copy), "route %.*s: a copy that is rejected or discarded is none",
                 STR_ARG(r->title));
    if (r->account.n && !conf_email_good(r->account))
        COMPLAIN(k, PLACE(r, CONF_ROUTE_KEY_account), "route %.*s: account: \"%.*s\" is not an address",
                 STR_ARG(r->title), SHOWN(r->account));
    if (r->url.n && !str_starts(r->url, S("http://")) && !str_starts(r->url, S("https://")))
        COMPLAIN(k, PLACE(r, CONF_ROUTE_KEY_url), "route %.*s: url begins with https:// or http://", STR_ARG(r->title));
    else if (r->url.n && !conf_url_parse(r->url, &url))
        COMPLAIN(k, PLACE(r, CONF_ROUTE_KEY_url),
                 "route %.*s: url is not https://[USER:PASSWORD@]HOST[:PORT][/PATH][?QUERY]", STR_ARG(r->title));
    check_emails(k, PLACE(r, CONF_ROUTE_KEY_address), "route", r->title, "address", &r->address, false);
    check_sources(k, PLACE(r, CONF_ROUTE_KEY_source), "route", r->title, &r->source);
    check_route_hosts(k, r);
    check_credentials(k, r);
    check_pipe(k, r);
    check_reject(k, r);
}

/* ---- rewrites ---- */

static bool where_word(str s) {
    static const str words[] = {S_INIT("sender"), S_INIT("recipient"), S_INIT("from"), S_INIT("to")};
    for (size_t i = 0; i < COUNT(words); i++)
        if (str_eq(words[i], s))
            return true;
    return false;
}

/* $3 with two stars in match would be nothing. */
static void check_dollars(struct check *k, const struct conf_rewrite *r) {
    unsigned stars = 0;
    for (size_t i = 0; i < r->match.n; i++)
        stars += r->match.p[i] == '*';
    for (size_t i = 0; i < r->replace.n; i++) {
        if (r->replace.p[i] != '$')
            continue;
        char digit = i + 1 < r->replace.n ? r->replace.p[i + 1] : 0;
        if (digit < '1' || digit > '9' || (unsigned)(digit - '0') > stars) {
            COMPLAIN(k, PLACE(r, CONF_REWRITE_KEY_replace),
                     "rewrite %.*s: replace: a $ stands before a number from 1 to the count of stars in match, here %u",
                     STR_ARG(r->title), stars);
            return;
        }
    }
}

static void check_field(struct check *k, const struct conf_rewrite *r, enum conf_rewrite_key key, str field) {
    if (field.n && !field_good(field))
        COMPLAIN(k, PLACE(r, key), "rewrite %.*s: %s is written Name: value", STR_ARG(r->title),
                 key == CONF_REWRITE_KEY_add ? "add" : "set");
}

static void check_rewrite(struct check *k, const struct conf_rewrite *r) {
    bool does = r->match.n || r->replace.n || r->add.n || r->set.n || r->remove.count || r->subject.n;
    if (!does)
        COMPLAIN(k, r->place, "rewrite %.*s: it does nothing: set match and replace, or add, set, remove or subject",
                 STR_ARG(r->title));
    if (!r->match.n != !r->replace.n)
        COMPLAIN(k, PLACE(r, r->match.n ? CONF_REWRITE_KEY_match : CONF_REWRITE_KEY_replace), "rewrite %.*s: %s",
                 STR_ARG(r->title), r->match.n ? "match needs replace beside it" : "replace needs match beside it");
    check_dollars(k, r);
    for (size_t i = 0; i < r->where.count; i++)
        if (!where_word(r->where.list[i]))
            COMPLAIN(k, PLACE(r, CONF_REWRITE_KEY_where),
                     "rewrite %.*s: where: \"%.*s\" is not one of sender, recipient, from, to", STR_ARG(r->title),
                     SHOWN(r->where.list[i]));
    for (size_t i = 0; i < r->remove.count; i++)
        if (!field_name_good(r->remove.list[i]))
            COMPLAIN(k, PLACE(r, CONF_REWRITE_KEY_remove), "rewrite %.*s: remove: \"%.*s\" is no name of a field",
                     STR_ARG(r->title), SHOWN(r->remove.list[i]));
    check_field(k, r, CONF_REWRITE_KEY_add, r->add);
    check_field(k, r, CONF_REWRITE_KEY_set, r->set);
    check_patterns(k, PLACE(r, CONF_REWRITE_KEY_from), "rewrite", r->title, "from", &r->from, true);
    check_patterns(k, PLACE(r, CONF_REWRITE_KEY_to), "rewrite", r->title, "to", &r->to, false);
    check_listeners(k, PLACE(r, CONF_REWRITE_KEY_listener), "rewrite", r->title, &r->listener);
}

/* ---- sites and tests ---- */

static void check_site(struct check *k, const struct conf_site *s) {
    uint64_t count, ms;
    if (!s->match.count && !AT(s, CONF_SITE_KEY_match).where)
        COMPLAIN(k, s->place, "site %.*s: match is missing: the domains or mail exchangers it is for",
                 STR_ARG(s->title));
    for (size_t i = 0; i < s->match.count; i++)
        if (str_has(s->match.list[i], '@'))
            COMPLAIN(k, PLACE(s, CONF_SITE_KEY_match), "site %.*s: match: \"%.*s\" is an address; a domain is wanted",
                     STR_ARG(s->title), SHOWN(s->match.list[i]));
    if (s->rate.n && !conf_rate_parse(s->rate, &count, &ms))
        COMPLAIN(k, PLACE(s, CONF_SITE_KEY_rate), "site %.*s: rate is written NUMBER/DURATION, as 100/1m",
                 STR_ARG(s->title));
    check_sources(k, PLACE(s, CONF_SITE_KEY_source), "site", s->title, &s->source);
}

static void check_test(struct check *k, const struct conf_test *t) {
    struct conf_ip ip;
    if (!t->to.n && !AT(t, CONF_TEST_KEY_to).where)
        COMPLAIN(k, t->place, "test %.*s: to is missing: the recipient", STR_ARG(t->title));
    if (!t->expect.n && !AT(t, CONF_TEST_KEY_expect).where)
        COMPLAIN(k, t->place, "test %.*s: expect is missing: what must come of it", STR_ARG(t->title));
    if (!str_eq(t->client, S("unix")) && !conf_ip_parse(t->client, &ip))
        COMPLAIN(k, PLACE(t, CONF_TEST_KEY_client), "test %.*s: client: \"%.*s\" is neither an address nor unix",
                 STR_ARG(t->title), SHOWN(t->client));
    if (t->listener.n)
        check_listener(k, PLACE(t, CONF_TEST_KEY_listener), "test", t->title, t->listener);
    if (t->header.n && !field_good(t->header))
        COMPLAIN(k, PLACE(t, CONF_TEST_KEY_header), "test %.*s: header is written Name: value", STR_ARG(t->title));
}

/* ---- all of them ---- */

static void check_mail_settings(struct check *k) {
    const struct conf *c = k->c;
    enum { WAITS_MAX = 1000 };
    uint64_t waits[WAITS_MAX];
    size_t count;
    if (!c->queue_retry.count || !conf_durations(&c->queue_retry, waits, WAITS_MAX, &count))
        COMPLAIN(k, AT(c, CONF_KEY_queue_retry),
                 "queue_retry is a list of durations above 0, each with its unit: 5m 20m 1h");
    if (whole_internet(&c->relay_networks))
        COMPLAIN(k, AT(c, CONF_KEY_relay_networks),
                 "relay_networks: a network of all addresses would make an open relay");
    if (c->postmaster.n && !conf_email_good(c->postmaster))
        COMPLAIN(k, AT(c, CONF_KEY_postmaster), "postmaster: \"%.*s\" is not an address", SHOWN(c->postmaster));
    if (c->site_concurrency_start > c->site_concurrency_max)
        COMPLAIN(k,
                 AT(c, AT(c, CONF_KEY_site_concurrency_start).where ? CONF_KEY_site_concurrency_start
                                                                    : CONF_KEY_site_concurrency_max),
                 "site_concurrency_start is above site_concurrency_max");
}

void conf_check_blocks(struct check *k) {
    struct conf *c = k->c;
    struct map domains = MAP(0), accounts = MAP(0), aliases = MAP(0);
    check_mail_settings(k);
    for (size_t i = 0; i < c->domain_count; i++) {
        check_domain(k, &c->domains[i]);
        check_once(k, &domains, "domain", c->domains[i].title, &c->domains[i].place);
    }
    for (size_t i = 0; i < c->account_count; i++) {
        check_account(k, &c->accounts[i]);
        check_once(k, &accounts, "account", c->accounts[i].title, &c->accounts[i].place);
    }
    for (size_t i = 0; i < c->alias_count; i++) {
        check_alias(k, &c->aliases[i]);
        check_once(k, &aliases, "alias", c->aliases[i].title, &c->aliases[i].place);
    }
    for (size_t i = 0; i < c->route_count; i++)
        check_route(k, &c->routes[i]);
    for (size_t i = 0; i < c->rewrite_count; i++)
        check_rewrite(k, &c->rewrites[i]);
    for (size_t i = 0; i < c->site_count; i++)
        check_site(k, &c->sites[i]);
    for (size_t i = 0; i < c->test_count; i++)
        check_test(k, &c->tests[i]);
    map_free(&domains);
    map_free(&accounts);
    map_free(&aliases);
}
