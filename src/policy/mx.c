#include "policy/mx.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/code.h"
#include "base/ip.h"
#include "conf/conf_net.h"

/* A mail exchanger as its record names it. */
struct candidate {
    str name;
    uint32_t preference;
};

struct choice {
    str domain;
    const struct mx_options *o;
    const struct mx_known *known;
    struct arena *arena;
    struct mx_result *r;
    struct candidate *list;
    size_t count;
    bool configured; /* the host of a route, not of somebody's domain */
    bool own_cut;    /* our name or address took hosts off the list */
    bool ttl_known;  /* r->ttl_s is one */
    bool unanswered; /* a host's addresses are not known for now ... */
    bool bogus;      /* ... because they do not validate */
    str trouble;     /* the first thing that was wrong, for when nothing is left */
};

/* ---- words ---- */

static str words(struct choice *c, const char *format, va_list args) {
    char text[1024];
    vsnprintf(text, sizeof text, format, args);
    return arena_str(c->arena, str_of(text));
}

static void tell(struct choice *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void tell(struct choice *c, const char *format, ...) {
    va_list args;
    va_start(args, format);
    str text = words(c, format, args);
    va_end(args);
    if (c->r->story)
        buf_printf(c->r->story, "%.*s\n", STR_ARG(text));
}

/* As tell, and it is what the sender hears when no host is left. */
static void blame(struct choice *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void blame(struct choice *c, const char *format, ...) {
    va_list args;
    va_start(args, format);
    str text = words(c, format, args);
    va_end(args);
    if (c->r->story)
        buf_printf(c->r->story, "%.*s\n", STR_ARG(text));
    if (!c->trouble.n)
        c->trouble = text;
}

static enum err refuse(struct choice *c, enum err e, unsigned code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static enum err refuse(struct choice *c, enum err e, unsigned code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    c->r->text = words(c, format, args);
    va_end(args);
    c->r->code = code;
    c->r->hosts = NULL;
    c->r->host_count = 0;
    if (c->r->story)
        buf_printf(c->r->story, "%u %.*s\n", code, STR_ARG(c->r->text));
    return c->arena->full ? ERR_NOMEM : e;
}

/* ---- answers ---- */

static bool listed(const struct mx_result *r, str name, uint32_t type) {
    for (size_t i = 0; i < r->missing_count; i++)
        if (r->missing[i].type == type && str_ieq(r->missing[i].name, name))
            return true;
    return false;
}

/* NULL: it is missing now. */
static const struct dns_answer *ask(struct choice *c, str name, uint32_t type) {
    for (const struct mx_known *k = c->known; k; k = k->next)
        if (k->answer->type == type && str_ieq(k->answer->name, name))
            return k->answer;
    if (!listed(c->r, name, type) && c->r->missing_count < MX_MISSING_MAX)
        c->r->missing[c->r->missing_count++] = (struct mx_question){name, type};
    return NULL;
}

static void use_ttl(struct choice *c, const struct dns_answer *a) {
    if (a->status >= DNS_FAILED || (a->ttl_s == 0 && a->status != DNS_FOUND))
        return;
    if (!c->ttl_known || a->ttl_s < c->r->ttl_s)
        c->r->ttl_s = a->ttl_s;
    c->ttl_known = true;
}

static enum err unknown_for_now(struct choice *c, bool bogus, str why) {
    const char *code = bogus ? "4.7.5" : "4.4.3";
    return refuse(c, ERR_DOWN, 451, "%s the DNS does not say now where mail for %.*s goes%s%.*s", code,
                  STR_ARG(c->domain), why.n ? ": " : "", STR_ARG(why));
}

/* ---- which hosts ---- */

static bool among(const str *list, size_t count, str s) {
    for (size_t i = 0; i < count; i++)
        if (str_ieq(list[i], s))
            return true;
    return false;
}

static bool own_name(const struct choice *c, str name) {
    return among(c->o->own_names, c->o->own_name_count, name);
}

static bool is_localhost(str name) {
    return str_ieq(name, S("localhost")) || str_iends(name, S(".localhost")) ||
           str_ieq(name, S("localhost.localdomain"));
}

static bool may_be_host(struct choice *c, const struct dns_record *r) {
    struct conf_ip ip;
    if (r->value.n == 0)
        tell(c, "MX %u \".\" beside others says nothing", r->preference);
    else if (conf_ip_parse(r->value, &ip))
        blame(c, "MX %u %.*s is an address, not a host name", r->preference, STR_ARG(r->value));
    else if (dns_name_check(r->value) != OK)
        blame(c, "MX %u is no host name", r->preference);
    else if (is_localhost(r->value) && !c->o->allow_loopback)
        blame(c, "MX %u %.*s would be this machine", r->preference, STR_ARG(r->value));
    else
        return true;
    return false;
}

static void add_candidate(struct choice *c, const struct dns_record *r) {
    for (size_t i = 0; i < c->count; i++) {
        if (!str_ieq(c->list[i].name, r->value))
            continue;
        if (r->preference < c->list[i].preference)
            c->list[i].preference = r->preference;
        return;
    }
    c->list[c->count++] = (struct candidate){r->value, r->preference};
}

static void keep_better(struct choice *c, uint32_t preference) {
    size_t kept = 0;
    for (size_t i = 0; i < c->count; i++)
        if (c->list[i].preference < preference)
            c->list[kept++] = c->list[i];
    c->count = kept;
    c->own_cut = true;
}

/* RFC 5321 5.1: ourselves, and all that are no better, would be a loop. */
static void cut_own_names(struct choice *c) {
    bool found = false;
    uint32_t own = 0;
    for (size_t i = 0; i < c->count; i++) {
        if (!own_name(c, c->list[i].name) || (found && c->list[i].preference >= own))
            continue;
        own = c->list[i].preference;
        found = true;
    }
    if (!found)
        return;
    tell(c, "preference %u is this server's: it and what is behind it are left out", own);
    keep_better(c, own);
}

static int by_name(const void *a, const void *b) {
    return str_cmp(((const struct candidate *)a)->name, ((const struct candidate *)b)->name);
}

static uint64_t next_random(uint64_t *state) { /* splitmix64 */
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static void swap(struct candidate *a, struct candidate *b) {
    struct candidate t = *a;
    *a = *b;
    *b = t;
}

/* From an order that only the names decide; so one seed gives one order, however the records came. */
static void shuffle(struct choice *c) {
    uint64_t state = c->o->seed;
    for (size_t i = c->count; i > 1; i--)
        swap(&c->list[i - 1], &c->list[next_random(&state) % i]);
}

static void sort_by_preference(struct choice *c) { /* stable: the shuffle stays */
    for (size_t i = 1; i < c->count; i++)
        for (size_t k = i; k > 0 && c->list[k - 1].preference > c->list[k].preference; k--)
            swap(&c->list[k - 1], &c->list[k]);
}

/* Names in order, joined; a long one keeps its front and ends in a checksum of all of it. */
static void name_site(struct choice *c) {
    struct buf all = BUF(DNS_RECORDS_MAX * (DNS_NAME_MAX + 1));
    for (size_t i = 0; i < c->count; i++) {
        if (i)
            buf_char(&all, ' ');
        buf_add(&all, c->list[i].name);
    }
    if (all.n > MX_SITE_MAX) {
        uint32_t sum = crc32c(0, buf_str(&all));
        buf_shrink(&all, MX_SITE_MAX - 9);
        buf_printf(&all, " %08x", sum);
    }
    c->r->site = arena_str(c->arena, buf_str(&all));
    if (all.full)
        c->arena->full = true;
    buf_free(&all);
}

/* ---- which addresses ---- */

static bool is_this_machine(const struct conf_ip *ip) {
    static const uint8_t unspecified[16];
    bool none = ip->version == 4 ? ip->bytes[0] == 0 : memcmp(ip->bytes, unspecified, sizeof unspecified) == 0;
    return none || conf_ip_loopback(ip);
}

static bool own_address(const struct choice *c, const struct conf_ip *ip) {
    struct conf_ip own;
    for (size_t i = 0; i < c->o->own_address_count; i++)
        if (conf_ip_parse(c->o->own_addresses[i], &own) && memcmp(&own, ip, sizeof own) == 0)
            return true;
    return false;
}

enum address_use { ADDRESS_GOOD, ADDRESS_REFUSED, ADDRESS_OURS };

static enum address_use judge(struct choice *c, str host, str address) {
    struct conf_ip ip;
    if (!conf_ip_parse(address, &ip))
        return ADDRESS_REFUSED;
    if (own_address(c, &ip))
        return ADDRESS_OURS;
    if (!is_this_machine(&ip) || c->o->allow_loopback)
        return ADDRESS_GOOD;
    blame(c, "%.*s has the address %.*s, which would be this machine", STR_ARG(host), STR_ARG(address));
    return ADDRESS_REFUSED;
}

/* The addresses of one family that may be used. */
struct family {
    str good[MX_ADDRESSES_MAX];
    size_t count;
};

enum host_use { HOST_GOOD, HOST_USELESS, HOST_OURS, HOST_UNANSWERED };

struct lookup {
    struct mx_host *host;
    bool asked, answered, insecure, ours;
    const struct dns_answer *failed;
};

static void take_family(struct choice *c, struct lookup *l, uint32_t type, struct family *f) {
    const struct dns_answer *a = ask(c, l->host->name, type);
    if (!a) {
        l->asked = true;
        return;
    }
    use_ttl(c, a);
    l->insecure |= !a->secure;
    if (a->status >= DNS_FAILED)
        l->failed = a;
    if (a->canonical.n && !str_ieq(a->canonical, l->host->name))
        l->host->canonical = a->canonical;
    for (size_t i = 0; i < a->record_count && f->count < MX_ADDRESSES_MAX; i++) {
        enum address_use use = judge(c, l->host->name, a->records[i].value);
        l->ours |= use == ADDRESS_OURS;
        if (use == ADDRESS_GOOD)
            f->good[f->count++] = a->records[i].value;
    }
}

static void in_turns(struct mx_host *h, const struct family *v6, const struct family *v4) {
    for (size_t i = 0; i < MX_ADDRESSES_MAX; i++) {
        if (i < v6->count && h->address_count < MX_ADDRESSES_MAX)
            h->addresses[h->address_count++] = v6->good[i];
        if (i < v4->count && h->address_count < MX_ADDRESSES_MAX)
            h->addresses[h->address_count++] = v4->good[i];
    }
}

static void tell_host(struct choice *c, const struct mx_host *h) {
    if (h->canonical.n)
        tell(c, "%.*s is an alias of %.*s; a mail exchanger should not be (RFC 2181 10.3)", STR_ARG(h->name),
             STR_ARG(h->canonical));
    for (size_t i = 0; i < h->address_count; i++)
        tell(c, "%u %.*s: %.*s", h->preference, STR_ARG(h->name), STR_ARG(h->addresses[i]));
}

static enum host_use no_address(struct choice *c, const struct lookup *l) {
    const struct mx_host *h = l->host;
    if (!l->failed) {
        (c->r->implicit ? tell : blame)(c, "%.*s has no address that can be used", STR_ARG(h->name));
        return HOST_USELESS;
    }
    c->unanswered = true;
    c->bogus |= l->failed->status == DNS_BOGUS;
    blame(c, "the addresses of %.*s are not known now: %.*s", STR_ARG(h->name), STR_ARG(l->failed->text));
    return HOST_UNANSWERED;
}

static enum host_use look_up(struct choice *c, struct mx_host *h) {
    struct lookup l = {.host = h};
    struct family v6 = {.count = 0}, v4 = {.count = 0};
    if (!c->o->no_ipv6)
        take_family(c, &l, DNS_AAAA, &v6);
    if (!c->o->no_ipv4)
        take_family(c, &l, DNS_A, &v4);
    if (l.asked)
        return HOST_UNANSWERED;
    h->secure = !l.insecure;
    if (l.ours) {
        tell(c, "%.*s has an address of this server: preference %u and what is behind it are left out",
             STR_ARG(h->name), h->preference);
        return HOST_OURS;
    }
    in_turns(h, &v6, &v4);
    if (!h->address_count)
        return no_address(c, &l);
    tell_host(c, h);
    return HOST_GOOD;
}

/* Candidates are in order: one that is ourselves ends the list, and takes its equals that stood before it along. */
static void cut_own_address(struct choice *c, uint32_t preference) {
    while (c->r->host_count && c->r->hosts[c->r->host_count - 1].preference >= preference)
        c->r->host_count--;
    c->own_cut = true;
}

static void look_up_all(struct choice *c) {
    for (size_t i = 0; i < c->count; i++) {
        struct mx_host *h = &c->r->hosts[c->r->host_count];
        *h = (struct mx_host){.name = c->list[i].name, .preference = c->list[i].preference};
        enum host_use use = look_up(c, h);
        if (use == HOST_GOOD)
            c->r->host_count++;
        if (use != HOST_OURS)
            continue;
        cut_own_address(c, c->list[i].preference);
        return;
    }
}

static enum err nothing_left(struct choice *c) {
    if (c->unanswered)
        return unknown_for_now(c, c->bogus, c->trouble);
    if (c->configured) /* a slip of the operator is no reason to return mail */
        return refuse(c, ERR_DOWN, 451, "4.3.5 the server of the route cannot be used: %.*s", STR_ARG(c->trouble));
    if (c->own_cut)
        return refuse(c, ERR_NOT_FOUND, 554, "5.4.6 mail for %.*s would come back to this server: a loop",
                      STR_ARG(c->domain));
    if (c->r->implicit && c->count && !c->trouble.n)
        return refuse(c, ERR_NOT_FOUND, 550, "5.1.2 %.*s has neither a mail exchanger nor an address",
                      STR_ARG(c->domain));
    return refuse(c, ERR_NOT_FOUND, 550, "5.4.4 no server of %.*s can be used%s%.*s", STR_ARG(c->domain),
                  c->trouble.n ? ": " : "", STR_ARG(c->trouble));
}

/* The candidates, in order and no more than MX_HOSTS_MAX, become hosts with addresses. */
static enum err find_addresses(struct choice *c) {
    c->r->hosts = c->count ? arena_alloc(c->arena, c->count * sizeof *c->r->hosts) : NULL;
    if (c->arena->full)
        return ERR_NOMEM;
    look_up_all(c);
    if (c->r->missing_count) {
        c->r->hosts = NULL;
        c->r->host_count = 0;
        return ERR_MORE;
    }
    if (c->arena->full)
        return ERR_NOMEM;
    return c->r->host_count ? OK : nothing_left(c);
}

/* ---- a domain ---- */

static enum err use_records(struct choice *c, const struct dns_answer *mx) {
    if (mx->record_count == 1 && mx->records[0].value.n == 0)
        return refuse(c, ERR_NOT_FOUND, 556, "5.1.10 %.*s takes no mail (null MX)", STR_ARG(c->domain));
    c->list = arena_alloc(c->arena, mx->record_count * sizeof *c->list);
    if (!c->list)
        return ERR_NOMEM;
    for (size_t i = 0; i < mx->record_count; i++)
        if (may_be_host(c, &mx->records[i]))
            add_candidate(c, &mx->records[i]);
    cut_own_names(c);
    qsort(c->list, c->count, sizeof *c->list, by_name);
    name_site(c);
    shuffle(c);
    sort_by_preference(c);
    if (c->count > MX_HOSTS_MAX) {
        tell(c, "of %zu mail exchangers the first %d are tried", c->count, MX_HOSTS_MAX);
        c->count = MX_HOSTS_MAX;
    }
    return find_addresses(c);
}

static enum err use_one(struct choice *c, str name) {
    c->list = arena_alloc(c->arena, sizeof *c->list);
    if (!c->list)
        return ERR_NOMEM;
    c->list[c->count++] = (struct candidate){name, 0};
    name_site(c);
    return find_addresses(c);
}

static enum err use_domain_itself(struct choice *c, const struct dns_answer *mx) {
    str name = mx->canonical.n ? mx->canonical : c->domain;
    c->r->implicit = true;
    tell(c, "%.*s has no mail exchanger: its own address is used", STR_ARG(name));
    if (dns_name_check(name) != OK)
        return refuse(c, ERR_NOT_FOUND, 550, "5.1.2 %.*s leads to what is no host name", STR_ARG(c->domain));
    c->own_cut = own_name(c, name);
    bool here = is_localhost(name) && !c->o->allow_loopback;
    if (here)
        blame(c, "%.*s would be this machine", STR_ARG(name));
    if (here || c->own_cut)
        return nothing_left(c);
    return use_one(c, name);
}

static void tell_records(struct choice *c, const struct dns_answer *mx) {
    if (!str_ieq(mx->canonical, c->domain))
        tell(c, "%.*s is an alias of %.*s", STR_ARG(c->domain), STR_ARG(mx->canonical));
    for (size_t i = 0; i < mx->record_count; i++)
        tell(c, "MX of %.*s: %u %.*s%s", STR_ARG(mx->canonical), mx->records[i].preference,
             STR_ARG(mx->records[i].value), mx->secure ? " (validated)" : "");
}

static enum err use_answer(struct choice *c, const struct dns_answer *mx) {
    c->r->secure = mx->secure;
    use_ttl(c, mx);
    tell_records(c, mx);
    switch (mx->status) {
    case DNS_FOUND: return use_records(c, mx);
    case DNS_NO_DATA: return use_domain_itself(c, mx);
    case DNS_NO_NAME: return refuse(c, ERR_NOT_FOUND, 550, "5.1.2 there is no domain %.*s", STR_ARG(c->domain));
    case DNS_FAILED:
    case DNS_BOGUS: break;
    }
    return unknown_for_now(c, mx->status == DNS_BOGUS, mx->text);
}

/* ---- literals ---- */

static bool literal_address(str inside, struct conf_ip *ip) {
    if (str_iskip(&inside, S("IPv6:")))
        return conf_ip_parse(inside, ip) && str_has(inside, ':');
    *ip = (struct conf_ip){.version = 4};
    return ip4_parse_padded(inside, ip->bytes);
}

/* The address is the host. */
static enum err use_address(struct choice *c, const struct conf_ip *ip) {
    struct buf text = BUF(IP_TEXT_SIZE);
    conf_ip_put(&text, ip);
    struct mx_host *h = arena_alloc(c->arena, sizeof *h);
    str address = arena_str(c->arena, buf_str(&text));
    buf_free(&text);
    if (!h || c->arena->full)
        return ERR_NOMEM;
    enum address_use use = judge(c, c->domain, address);
    c->own_cut = use == ADDRESS_OURS;
    bool family_off = ip->version == 4 ? c->o->no_ipv4 : c->o->no_ipv6;
    if (use == ADDRESS_GOOD && family_off)
        blame(c, "IPv%u is not used here", ip->version);
    if (use != ADDRESS_GOOD || family_off)
        return nothing_left(c);
    *h = (struct mx_host){.addresses = {address}, .address_count = 1};
    char name[IP_TEXT_SIZE + 2];
    snprintf(name, sizeof name, "[%.*s]", STR_ARG(address));
    h->name = c->r->site = arena_str(c->arena, str_of(name));
    c->r->hosts = h;
    c->r->host_count = 1;
    tell_host(c, h);
    return c->arena->full ? ERR_NOMEM : OK;
}

static enum err use_literal(struct choice *c, str inside) {
    struct conf_ip ip;
    if (!literal_address(inside, &ip))
        return refuse(c, ERR_NOT_FOUND, 550, "5.1.2 the address literal is of no kind that is known");
    return use_address(c, &ip);
}

/* ---- from outside ---- */

static str lower(struct choice *c, str s) {
    str copy = arena_str(c->arena, s);
    for (size_t i = 0; i < copy.n; i++)
        ((char *)copy.p)[i] = char_lower(copy.p[i]); /* ours, made just now */
    return copy;
}

static struct choice begin(str domain, const struct mx_options *o, const struct mx_known *known, struct arena *a,
                           struct mx_result *r) {
    struct choice c = {.o = o, .known = known, .arena = a, .r = r};
    *r = (struct mx_result){.story = r->story};
    if (str_ends(domain, S(".")))
        domain = str_head(domain, domain.n - 1);
    c.domain = lower(&c, domain);
    return c;
}

static bool in_brackets(str s, str *inside) {
    *inside = s.n >= 2 ? str_sub(s, 1, s.n - 2) : S("");
    return str_starts(s, S("[")) && str_ends(s, S("]"));
}

enum err mx_decide(str domain, const struct mx_options *o, const struct mx_known *known, struct arena *a,
                   struct mx_result *r) {
    struct choice c = begin(domain, o, known, a, r);
    str inside;
    if (a->full)
        return ERR_NOMEM;
    if (in_brackets(c.domain, &inside))
        return use_literal(&c, inside);
    if (dns_name_check(c.domain) != OK)
        return refuse(&c, ERR_NOT_FOUND, 550, "5.1.2 what stands behind the @ is no domain name");
    const struct dns_answer *mx = ask(&c, c.domain, DNS_MX);
    return mx ? use_answer(&c, mx) : ERR_MORE;
}

enum err mx_decide_host(str host, const struct mx_options *o, const struct mx_known *known, struct arena *a,
                        struct mx_result *r) {
    struct mx_options any = *o;
    any.own_name_count = any.own_address_count = 0;
    any.allow_loopback = true;
    struct choice c = begin(host, &any, known, a, r);
    c.configured = true;
    struct conf_ip ip;
    str inside = c.domain;
    if (a->full)
        return ERR_NOMEM;
    if (in_brackets(c.domain, &inside))
        (void)str_iskip(&inside, S("IPv6:"));
    else
        inside = c.domain;
    if (conf_ip_parse(inside, &ip))
        return use_address(&c, &ip);
    if (dns_name_check(c.domain) != OK)
        return refuse(&c, ERR_DOWN, 451, "4.3.5 the server of the route has no name that can be looked up");
    return use_one(&c, c.domain);
}
