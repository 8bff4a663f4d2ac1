#include <stdlib.h>

#include "conf/conf_net.h"
#include "dns/hosts.h"
#include "mime/idna.h"
#include "role/filter_core.h"

enum {
    ROUNDS_MAX = 8, /* of asking for what is missing */
    ANSWER_MS = 60000,
};

/* One question to the resolver. */
struct question {
    struct filter_job *job; /* NULL: nobody wants it any more */
};

static void add(struct filter_host *h, str address) {
    struct conf_ip ip;
    if (h->count < FILTER_ADDRESSES_MAX && conf_ip_parse(address, &ip))
        h->addresses[h->count++] = address;
}

/* Addresses, this machine, and what the system's file knows need no DNS. */
static bool known_at_once(struct filter_job *j) {
    struct filter_host *h = &j->host;
    struct conf_ip ip;
    str found[FILTER_ADDRESSES_MAX];
    h->literal = conf_ip_parse(h->name, &ip);
    if (h->literal) {
        add(h, h->name);
        return true;
    }
    size_t n = hosts_find(buf_str(&j->core->hosts), h->name, found, FILTER_ADDRESSES_MAX);
    for (size_t i = 0; i < n; i++)
        add(h, found[i]);
    if (!h->count && str_ieq(h->name, S("localhost"))) {
        add(h, S("127.0.0.1"));
        add(h, S("::1"));
    }
    return h->count > 0;
}

static bool ask(struct filter_job *j, const struct mx_question *missing) {
    struct filter_core *core = j->core;
    struct question *q = malloc(sizeof *q);
    uint64_t tag = core->next_tag++;
    if (!q)
        return false;
    *q = (struct question){j};
    struct frame f = {.type = FRAME_DNS_ASK, .dns_ask = {tag, missing->name, missing->type}};
    if (map_put(&core->questions, tag, q) && core->ops->to_resolver(&f)) {
        j->host.unanswered++;
        return true;
    }
    (void)map_remove(&core->questions, tag);
    free(q);
    return false;
}

static bool ask_missing(struct filter_job *j, const struct mx_result *r) {
    for (size_t i = 0; i < r->missing_count; i++)
        if (!ask(j, &r->missing[i]))
            return false;
    return j->host.unanswered > 0;
}

static void give_up(struct filter_job *j, const char *text) {
    filter_host_forget(j);
    filter_job_lost(j, 451, str_of(text));
}

static void take_hosts(struct filter_job *j, const struct mx_result *r) {
    for (size_t h = 0; h < r->host_count; h++)
        for (size_t a = 0; a < r->hosts[h].address_count; a++)
            add(&j->host, r->hosts[h].addresses[a]);
    filter_job_found(j);
}

static void tell(struct filter_job *j, struct buf *story) {
    str text = buf_str(story), line;
    while (str_line(&text, &line))
        filter_job_note(j, "%.*s", STR_ARG(line));
}

static void decide(struct filter_job *j) {
    struct buf story = BUF(4096);
    struct mx_options o = {.seed = j->core->seed, .allow_loopback = true};
    struct mx_result r = {.story = &story};
    enum err e = mx_decide_host(j->host.name, &o, j->host.known, &j->arena, &r);
    if (e != ERR_MORE)
        tell(j, &story);
    buf_free(&story);
    if (j->arena.full || e == ERR_NOMEM)
        give_up(j, "4.3.0 no memory to look for the webhook");
    else if (e == OK)
        take_hosts(j, &r);
    else if (e != ERR_MORE)
        filter_job_lost(j, r.code, r.text);
    else if (j->host.rounds++ == ROUNDS_MAX)
        give_up(j, "4.4.3 the DNS leads on without end");
    else if (!ask_missing(j, &r))
        give_up(j, "4.4.3 the resolver does not answer now");
}

void filter_host_find(struct filter_job *j) {
    struct buf name = BUF(IDNA_DOMAIN_MAX);
    struct conf_ip ip;
    bool good = conf_ip_parse(j->url.host, &ip) || idna_ascii(j->url.host, &name);
    j->host = (struct filter_host){.asked_ms = j->core->now_ms};
    j->host.name = arena_str(&j->arena, name.n ? buf_str(&name) : j->url.host);
    buf_free(&name);
    if (!good)
        give_up(j, "4.3.5 the host of the URL has no name that can be looked up");
    else if (known_at_once(j))
        filter_job_found(j);
    else
        decide(j);
}

static void take_answer(struct filter_job *j, str bytes) {
    struct mx_known *k = arena_alloc(&j->arena, sizeof *k);
    struct dns_answer *a = arena_alloc(&j->arena, sizeof *a);
    str copy = arena_str(&j->arena, bytes);
    if (k && a && dns_answer_take(copy, &j->arena, a) == OK) {
        *k = (struct mx_known){a, j->host.known};
        j->host.known = k;
    }
    if (--j->host.unanswered == 0)
        decide(j);
}

void filter_host_told(struct filter_core *core, const struct frame_dns_told *f) {
    struct question *q = map_remove(&core->questions, f->tag);
    if (!q)
        return;
    if (q->job)
        take_answer(q->job, f->answer);
    free(q);
}

void filter_host_forget(struct filter_job *j) {
    size_t at = 0;
    for (struct question *q; j->host.unanswered && (q = map_next(&j->core->questions, &at));)
        if (q->job == j) {
            q->job = NULL;
            j->host.unanswered--;
        }
}

void filter_host_tick(struct filter_job *j) {
    if (j->core->now_ms - j->host.asked_ms > ANSWER_MS)
        give_up(j, "4.4.3 the resolver does not answer in time");
}

void filter_host_resolver_down(struct filter_core *core) {
    uint64_t seed = core->questions.seed;
    struct map lost = core->questions;
    size_t at = 0;
    core->questions = MAP(seed);
    for (struct question *q; (q = map_next(&lost, &at));) {
        struct filter_job *j = q->job;
        free(q);
        if (!j)
            continue;
        struct filter_host *h = &j->host;
        if (--h->unanswered == 0)
            filter_job_lost(j, 451, S("4.4.3 the resolver has gone away"));
    }
    map_free(&lost);
}
