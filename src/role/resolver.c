/* resolver - asks the DNS for the others: the host of resolver_core over libunbound, on the role's own loop.
 * libunbound reads no file: anchors, root servers and resolv.conf come as secrets (sys/dns_files.h), so that a reload
 * works within the sandbox. */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unbound-event.h>
#include <unbound.h>
#include <unistd.h>

#include "base/code.h"
#include "base/ip.h"
#include "dns/dns.h"
#include "role/resolver_core.h"
#include "sys/dns_files.h"
#include "sys/log.h"
#include "sys/role.h"

enum {
    CLASS_IN = 1,
    RCODE_SERVFAIL = 2,
    RCODE_NXDOMAIN = 3,
    ANSWER_ARENA = 4 * 1024 * 1024,
    REASON_MAX = 400,
    DEFAULT_PORT = 53,
};

enum { UB_INSECURE, UB_BOGUS, UB_SECURE }; /* unbound-event.h: sec */

struct asker {
    struct list node;
    struct link *link;
    uint64_t number;
};

static struct {
    struct resolver_core *core;
    struct ub_ctx *dns;
    struct event *second;
    struct list askers;
    uint64_t last_number;
    struct buf files[DNS_FILES]; /* as they came */
    struct buf settled;          /* what dns was made of: the settings and files, behind each other */
    bool replacing;              /* answers that come are libunbound's farewell: all will be asked anew */
    bool starting;               /* answers that come at once do not start further questions */
} host = {.files = {{.limit = DNS_FILE_MAX}, {.limit = DNS_FILE_MAX}, {.limit = DNS_FILE_MAX}},
          .settled = {.limit = 4 * DNS_FILE_MAX}};

/* ---- answers ---- */

static void tell(uint64_t peer, uint64_t tag, str answer) {
    LIST_EACH(&host.askers, node) {
        struct asker *a = LIST_ENTRY(node, struct asker, node);
        if (a->number != peer)
            continue;
        struct frame f = {.type = FRAME_DNS_TOLD, .dns_told = {.tag = tag, .answer = answer}};
        link_send(a->link, &f);
        return;
    }
}

/* Without memory (a NULL) the answer is empty: to who asked that is a failure. */
static void tell_all(struct resolver_question *q, const struct dns_answer *a) {
    uint64_t peer, tag;
    struct buf coded = BUF(DNS_ANSWER_MAX);
    if (a)
        dns_answer_put(&coded, a);
    while (resolver_core_asker(host.core, q, &peer, &tag))
        tell(peer, tag, coded.full ? S("") : buf_str(&coded));
    buf_free(&coded);
}

/* Words that may come from strangers' zones, for a log or a report. */
static enum err failed(const struct resolver_question *q, enum dns_status status, const char *text, struct arena *a,
                       struct dns_answer *out) {
    struct buf clean = BUF(REASON_MAX * 4);
    escape_print(str_head(str_of(text), REASON_MAX), &clean);
    enum err e = dns_answer_failed(q->name, q->type, status, buf_str(&clean), a, out);
    buf_free(&clean);
    return e;
}

static enum err read_packet(const struct resolver_question *q, int rcode, str packet, struct arena *a,
                            struct dns_answer *out) {
    if (rcode == RCODE_NXDOMAIN && packet.n == 0)
        return failed(q, DNS_NO_NAME, "", a, out);
    if (rcode != 0 && rcode != RCODE_NXDOMAIN)
        return failed(q, DNS_FAILED,
                      rcode == RCODE_SERVFAIL ? "no server gave an answer (SERVFAIL)" : "the servers refuse to answer",
                      a, out);
    enum err e = dns_packet_take(packet, q->name, q->type, a, out);
    if (e == ERR_CORRUPT)
        return failed(q, DNS_FAILED, "the answer is damaged", a, out);
    return e == ERR_LIMIT ? failed(q, DNS_FAILED, "the answer is larger than any that is taken", a, out) : e;
}

static void log_answer(const struct resolver_question *q, const struct dns_answer *a) {
    log_event(a->status == DNS_BOGUS ? EV_DNS_BOGUS : EV_DNS_ANSWER, LOG_STR("name", q->name), LOG_NUM("type", q->type),
              LOG_STR("status", str_of(dns_status_name(a->status))), LOG_STR("why", a->text), LOG_END);
}

static void start_questions(void);

static void on_answer(void *arg, int rcode, void *packet, int size, int sec, char *why_bogus, int limited) {
    struct resolver_question *q = arg;
    struct arena a = ARENA(ANSWER_ARENA);
    struct dns_answer answer;
    (void)limited;
    if (host.replacing)
        return;
    enum err e = sec == UB_BOGUS
                     ? failed(q, DNS_BOGUS, why_bogus ? why_bogus : "the signatures do not validate", &a, &answer)
                     : read_packet(q, rcode, str_n(packet, packet && size > 0 ? (size_t)size : 0), &a, &answer);
    if (e == OK) {
        answer.secure = sec == UB_SECURE && answer.status < DNS_FAILED;
        log_answer(q, &answer);
    }
    tell_all(q, e == OK ? &answer : NULL);
    resolver_core_done(host.core, q);
    arena_free(&a);
    start_questions();
}

/* Gives an answer without having asked. */
static void give_up(struct resolver_question *q, const char *text) {
    struct arena a = ARENA(ANSWER_ARENA);
    struct dns_answer answer;
    tell_all(q, failed(q, DNS_FAILED, text, &a, &answer) == OK ? &answer : NULL);
    arena_free(&a);
}

/* An answer from the cache comes within the call. */
static void start_questions(void) {
    struct resolver_question *q;
    if (host.starting)
        return;
    host.starting = true;
    while ((q = resolver_core_next(host.core)) != NULL) {
        int e = ub_resolve_event(host.dns, q->name.p, (int)q->type, CLASS_IN, q, on_answer, NULL);
        if (e == 0)
            continue;
        give_up(q, ub_strerror(e));
        resolver_core_done(host.core, q);
    }
    host.starting = false;
}

static void on_second(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    struct resolver_question *q;
    while ((q = resolver_core_expired(host.core, clock_mono_ms())) != NULL) {
        give_up(q, "no answer in time");
        if (!q->active)
            resolver_core_done(host.core, q);
    }
}

/* ---- libunbound ---- */

static const struct {
    const char *name, *value;
} options[] = {
    {"do-not-query-localhost:", "no"},    /* a server of one's own may well be here */
    {"local-zone:", "test. transparent"}, /* a network may well have names there */
    {"unblock-lan-zones:", "yes"},        /* who has a server for his network means it ... */
    {"insecure-lan-zones:", "yes"},       /* ... and nobody signs it */
    {"val-log-level:", "2"},              /* words for why an answer is bogus */
    {"infra-keep-probing:", "yes"},       /* a server that was down is seen again soon */
    {"prefetch:", "yes"},
    {"num-queries-per-thread:", "512"},
    {"outgoing-range:", "512"},
    {"outgoing-num-tcp:", "32"},
    {"msg-cache-size:", "16m"},
    {"rrset-cache-size:", "32m"},
    {"key-cache-size:", "4m"},
    {"neg-cache-size:", "2m"},
    {"cache-max-negative-ttl:", "3600"},
};

static enum err dns_error(int e, const char *what, str value, struct why *w) {
    return why(w, e == UB_NOMEM ? ERR_NOMEM : ERR_SYNTAX, "%s: \"%.*s\": %s", what, STR_ARG(str_head(value, 200)),
               ub_strerror(e));
}

static enum err set_options(struct ub_ctx *dns, struct why *w) {
    ub_ctx_debugout(dns, NULL); /* what it has to say comes with the answers */
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        int e = ub_ctx_set_option(dns, options[i].name, options[i].value);
        if (e)
            return dns_error(e, options[i].name, str_of(options[i].value), w);
    }
    return OK;
}

/* A line for each anchor, as zones and dnssec tools write them; ";" begins a comment. */
static enum err set_anchors(struct ub_ctx *dns, str text, struct why *w) {
    char record[4096];
    for (str line; str_line(&text, &line);) {
        line = str_trim(str_head(line, str_find(line, ';')));
        if (line.n == 0)
            continue;
        int n = snprintf(record, sizeof record, "%.*s", STR_ARG(line));
        int e = n < (int)sizeof record ? ub_ctx_add_ta(dns, record) : UB_SYNTAX;
        if (e)
            return dns_error(e, "dns_anchor", line, w);
    }
    return OK;
}

/* ADDRESS, ADDRESS:PORT, [V6ADDRESS]:PORT to libunbound's ADDRESS@PORT. */
static enum err add_server(struct ub_ctx *dns, str word, struct why *w) {
    struct conf_address address;
    struct arena a = ARENA(1024);
    char text[IP_TEXT_SIZE + 8];
    struct buf ip = BUF(IP_TEXT_SIZE);
    bool bare = conf_ip_parse(word, &address.ip);
    enum err e = bare ? OK : conf_address_parse(word, &a, &address, NULL);
    if (e == OK && !bare && address.kind != CONF_ADDRESS_IP)
        e = ERR_SYNTAX;
    if (e == OK)
        conf_ip_put(&ip, &address.ip);
    snprintf(text, sizeof text, "%.*s@%u", STR_ARG(buf_str(&ip)), bare ? (unsigned)DEFAULT_PORT : address.port);
    buf_free(&ip);
    arena_free(&a);
    if (e)
        return why(w, e, "dns: \"%.*s\" is not ADDRESS or ADDRESS:PORT", STR_ARG(str_head(word, 200)));
    int fault = ub_ctx_set_fwd(dns, text);
    return fault ? dns_error(fault, "dns", word, w) : OK;
}

static enum err set_listed_servers(struct ub_ctx *dns, str list, struct why *w) {
    enum err e = OK;
    for (str word; e == OK && str_word(&list, &word);)
        e = add_server(dns, word, w);
    return e;
}

/* resolv.conf(5); an address with a zone (fe80::1%eth0) is left to who can reach it. */
static enum err set_system_servers(struct ub_ctx *dns, str text, struct why *w) {
    unsigned count = 0;
    struct conf_ip ip;
    for (str line, word; str_line(&text, &line);) {
        if (!str_word(&line, &word) || !str_eq(word, S("nameserver")) || !str_word(&line, &word) ||
            !conf_ip_parse(word, &ip))
            continue;
        enum err e = add_server(dns, word, w);
        if (e != OK)
            return e;
        count++;
    }
    return count ? OK : add_server(dns, S("127.0.0.1"), w);
}

/* The addresses of root.hints: a stub for the root that primes itself from the root. */
static enum err set_hints(struct ub_ctx *dns, str text, struct why *w) {
    for (str line; str_line(&text, &line);) {
        str word, last = STR_NONE;
        struct conf_ip ip;
        char address[IP_TEXT_SIZE];
        line = str_head(line, str_find(line, ';'));
        while (str_word(&line, &word))
            last = word;
        if (!conf_ip_parse(last, &ip))
            continue;
        snprintf(address, sizeof address, "%.*s", STR_ARG(last));
        int e = ub_ctx_set_stub(dns, ".", address, 1);
        if (e)
            return dns_error(e, "root.hints", last, w);
    }
    return OK;
}

static void on_trial(void *arg, int rcode, void *packet, int size, int sec, char *why_bogus, int limited) {
    (void)arg, (void)rcode, (void)packet, (void)size, (void)sec, (void)why_bogus, (void)limited;
}

/* The first question makes libunbound build all it has: this one, which it answers by itself, finds its faults now. */
static enum err build(struct ub_ctx *dns, struct why *w) {
    int e = ub_resolve_event(dns, "localhost", DNS_A, CLASS_IN, NULL, on_trial, NULL);
    if (e)
        return why(w, ERR_SYNTAX, "the resolver cannot work with dns and dns_anchor as they are: %s", ub_strerror(e));
    return OK;
}

static enum err set_up(struct ub_ctx *dns, const struct conf *c, struct why *w) {
    enum err e = set_options(dns, w);
    if (e == OK)
        e = set_anchors(dns, buf_str(&host.files[DNS_FILE_ANCHOR]), w);
    if (e == OK && c->dns.n == 0)
        e = set_hints(dns, buf_str(&host.files[DNS_FILE_HINTS]), w);
    else if (e == OK && str_eq(c->dns, S("system")))
        e = set_system_servers(dns, buf_str(&host.files[DNS_FILE_SERVERS]), w);
    else if (e == OK)
        e = set_listed_servers(dns, c->dns, w);
    return e == OK ? build(dns, w) : e;
}

/* Everything a context is made of, to see whether it has changed. */
static void describe(struct buf *out, const struct conf *c) {
    buf_lstr(out, c->dns);
    buf_lstr(out, c->dns_anchor);
    for (int f = 0; f < DNS_FILES; f++)
        buf_lstr(out, buf_str(&host.files[f]));
}

static void forget_files(void) {
    for (int f = 0; f < DNS_FILES; f++)
        buf_free(&host.files[f]);
}

static enum err replace(const struct conf *c, struct why *w) {
    struct ub_ctx *dns = ub_ctx_create_event(role_base());
    enum err e = dns ? set_up(dns, c, w) : why(w, ERR_NOMEM, "no memory for the resolver");
    if (e != OK) {
        ub_ctx_delete(dns);
        return e;
    }
    if (host.files[DNS_FILE_ANCHOR].n == 0 && !str_eq(c->dns_anchor, S("none")))
        log_event(EV_DNS_UNVALIDATED, LOG_END);
    host.replacing = true;
    ub_ctx_delete(host.dns);
    host.replacing = false;
    host.dns = dns;
    resolver_core_restart(host.core);
    return OK;
}

static enum err take_dns(const struct conf *c, struct why *w) {
    struct buf now = BUF(host.settled.limit);
    describe(&now, c);
    enum err e = host.dns && str_eq(buf_str(&now), buf_str(&host.settled)) ? OK : replace(c, w);
    if (e == OK) {
        buf_free(&host.settled);
        host.settled = now;
    } else {
        buf_free(&now);
    }
    forget_files();
    if (e == OK)
        start_questions();
    return e;
}

/* ---- the role ---- */

static void ask(struct asker *a, const struct frame_dns_ask *f) {
    enum err e = resolver_core_ask(host.core, a->number, f->tag, f->name, f->type, clock_mono_ms());
    if (e == OK) {
        start_questions();
        return;
    }
    struct arena arena = ARENA(4096);
    struct dns_answer answer = {.status = DNS_FAILED};
    struct buf coded = BUF(4096);
    if (e == ERR_LIMIT &&
        dns_answer_failed(f->name, f->type, DNS_FAILED, S("too many questions wait"), &arena, &answer) == OK)
        dns_answer_put(&coded, &answer); /* else it stays empty: a failure, and of the asker's making */
    tell(a->number, f->tag, coded.full ? S("") : buf_str(&coded));
    buf_free(&coded);
    arena_free(&arena);
}

static void on_frame(void *arg, struct link *l, const struct frame *f, int fd) {
    (void)l;
    if (fd >= 0)
        close(fd);
    if (f->type == FRAME_DNS_ASK)
        ask(arg, &f->dns_ask);
}

static void on_close(void *arg, struct link *l) {
    struct asker *a = arg;
    (void)l;
    list_remove(&a->node);
    resolver_core_forget(host.core, a->number);
    free(a);
}

static void on_peer(enum role peer, uint32_t instance, int fd) {
    static const struct link_ops ops = {.on_frame = on_frame, .on_close = on_close};
    (void)peer, (void)instance;
    struct asker *a = calloc(1, sizeof *a);
    if (a)
        a->link = link_open(role_base(), fd, FRAME_TO_RESOLVER, &ops, a);
    if (!a || !a->link) {
        close(fd);
        free(a);
        return;
    }
    a->number = ++host.last_number;
    list_add_tail(&host.askers, &a->node);
}

static void on_secret(str name, str bytes) {
    for (int f = 0; f < DNS_FILES; f++) {
        if (!str_eq(name, str_of(dns_file_secret((enum dns_file)f))))
            continue;
        buf_reset(&host.files[f]);
        buf_add(&host.files[f], bytes);
    }
}

static enum err configure(const struct conf *c, bool first, struct why *w) {
    static const struct timeval second = {.tv_sec = 1};
    uint64_t seed;
    if (!first)
        return take_dns(c, w);
    random_bytes(&seed, sizeof seed);
    host.core = resolver_core_new(seed);
    host.second = event_new(role_base(), -1, EV_PERSIST, on_second, NULL);
    if (!host.core || !host.second || event_add(host.second, &second) != 0)
        return why(w, ERR_NOMEM, "no memory");
    return take_dns(c, w);
}

static void stop(void) {
    role_exit(EX_OK);
}

static const struct role_ops resolver_role = {
    .role = ROLE_RESOLVER,
    .secret = on_secret,
    .peer = on_peer,
    .configure = configure,
    .drain = stop,
    .stop = stop,
};

int main(void) {
    list_init(&host.askers);
    return role_main(&resolver_role);
}
