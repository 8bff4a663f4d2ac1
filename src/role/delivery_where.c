#include <stdlib.h>
#include <string.h>

#include "role/delivery_core.h"

enum {
    MEMORY_MAX = 1024 * 1024, /* of one name */
    KEY_MAX = 4096,
    ROUNDS_MAX = 8, /* of asking for what is missing */
    KEEP_MIN_S = 5,
    KEEP_MAX_S = 300,
    KEEP_FAILED_S = 30, /* the schedule of the queue is what spreads attempts; this only joins those of one moment */
    ANSWER_MS = 60000,
    KEPT_MAX = 50000,
};

/* One question to the resolver. */
struct question {
    struct delivery_where *where;
    uint64_t tag;
    uint32_t type;
    char name[];
};

/* ---- the end of asking ---- */

static void keep_for(struct delivery_core *core, struct delivery_where *w) {
    uint64_t s = w->err != OK ? KEEP_FAILED_S : w->ttl_s;
    if (w->err == OK && s < KEEP_MIN_S)
        s = KEEP_MIN_S;
    if (s > KEEP_MAX_S)
        s = KEEP_MAX_S;
    w->expires_ms = core->now_ms + s * 1000;
}

static void tell_sites(struct delivery_core *core, struct delivery_where *w) {
    for (size_t i = 0; i < w->site_count; i++) {
        struct frame f = {.type = FRAME_SITE_TOLD,
                          .site_told = {w->site_tags[i], (uint8_t)w->err, w->code, w->site, w->text, w->ttl_s}};
        core->ops->to_store(&f);
    }
    free(w->site_tags);
    w->site_tags = NULL;
    w->site_count = 0;
}

static void settle(struct delivery_core *core, struct delivery_where *w, enum err e, unsigned code, str text) {
    w->ready = true;
    w->err = e;
    w->code = code;
    w->text = arena_str(&w->arena, text);
    keep_for(core, w);
    tell_sites(core, w);
    while (!list_empty(&w->jobs)) {
        struct delivery_job *j = LIST_ENTRY(list_first(&w->jobs), struct delivery_job, node);
        list_remove(&j->node);
        delivery_job_ready(j);
    }
}

static void give_up(struct delivery_core *core, struct delivery_where *w, const char *text) {
    settle(core, w, ERR_DOWN, 451, str_of(text));
}

/* ---- how long it lives ---- */

static void where_free(struct delivery_core *core, struct delivery_where *w) {
    if (!w->detached)
        map_remove_str(&core->wheres, w->key);
    arena_free(&w->arena);
    buf_free(&w->story);
    free(w->site_tags);
    free(w->targets);
    free(w);
}

static bool in_use(const struct delivery_where *w) {
    return w->unanswered > 0 || !list_empty(&w->jobs) || w->site_count > 0 || w->users > 0;
}

/* One thing less needs it. */
static void let_go(struct delivery_core *core, struct delivery_where *w) {
    if (w->detached && !in_use(w))
        where_free(core, w);
}

void delivery_where_release(struct delivery_core *core, struct delivery_where *w) {
    w->users--;
    let_go(core, w);
}

/* ---- targets ---- */

static void add_target(struct delivery_where *w, str host, str address, uint16_t port) {
    if (w->target_count == MX_HOSTS_MAX * MX_ADDRESSES_MAX || host.n >= DELIVERY_HOST_MAX ||
        address.n >= DELIVERY_ADDRESS_MAX)
        return;
    w->targets[w->target_count++] = (struct delivery_target){host, address, port};
}

/* Of every host its first address, then of every host the next ones: a dead host costs one wait, not five.  But hosts
 * of different preference stay in their order. */
static void add_hosts(struct delivery_where *w, const struct mx_result *r, uint16_t port) {
    for (size_t first = 0, end; first < r->host_count; first = end) {
        for (end = first; end < r->host_count && r->hosts[end].preference == r->hosts[first].preference;)
            end++;
        for (size_t a = 0; a < MX_ADDRESSES_MAX; a++)
            for (size_t h = first; h < end; h++)
                if (a < r->hosts[h].address_count)
                    add_target(w, r->hosts[h].name, r->hosts[h].addresses[a], port);
    }
}

static struct mx_options options(const struct delivery_core *core, str *own) {
    *own = core->conf->hostname.n ? core->conf->hostname : str_of(core->hostname);
    return (struct mx_options){.own_names = own,
                               .own_name_count = own->n > 0,
                               .own_addresses = core->own_addresses,
                               .own_address_count = core->own_address_count,
                               .seed = core->seed,
                               .allow_loopback = core->conf->relay_loopback};
}

/* "mx1.example.org:2525", "[2001:db8::1]:25", "2001:db8::1" */
static str take_port(str host, uint16_t *port) {
    size_t colon = str_rfind(host, ':');
    uint64_t n;
    bool bare6 = colon != SIZE_MAX && str_find(host, ':') != colon && !str_starts(host, S("["));
    if (colon == SIZE_MAX || bare6 || !str_u64(str_tail(host, colon + 1), &n) || n == 0 || n > 65535)
        return host;
    *port = (uint16_t)n;
    return str_head(host, colon);
}

static void use_ttl(struct delivery_where *w, const struct mx_result *r) {
    if (r->ttl_s && r->ttl_s < w->ttl_s)
        w->ttl_s = r->ttl_s;
}

/* What is worst of several hosts does not count while one of them is good. */
static enum err one_host(struct delivery_core *core, struct delivery_where *w, str word, struct mx_result *r) {
    str own;
    uint16_t port = 0;
    struct mx_options o = options(core, &own);
    str host = take_port(word, &port);
    if (str_starts(word, S("unix:"))) {
        add_target(w, S("localhost"), word, 0);
        return OK;
    }
    if (str_ieq(host, S("localhost"))) {
        add_target(w, host, S("127.0.0.1"), port);
        add_target(w, host, S("::1"), port);
        return OK;
    }
    enum err e = mx_decide_host(host, &o, w->known, &w->arena, r);
    if (e != OK)
        return e;
    use_ttl(w, r);
    add_hosts(w, r, port);
    return OK;
}

static void add_missing(struct mx_result *all, const struct mx_result *r) {
    for (size_t i = 0; i < r->missing_count && all->missing_count < MX_MISSING_MAX; i++)
        all->missing[all->missing_count++] = r->missing[i];
}

static enum err host_list(struct delivery_core *core, struct delivery_where *w, struct mx_result *all) {
    enum err last = ERR_DOWN;
    str words = w->name;
    all->code = 451;
    all->text = S("4.3.5 the route names no host");
    for (str word; str_word(&words, &word);) {
        struct mx_result r = {.story = &w->story};
        while (str_ends(word, S(",")))
            word.n--;
        enum err e = one_host(core, w, word, &r);
        add_missing(all, &r);
        if (e == ERR_NOMEM)
            return e;
        if (e != OK && e != ERR_MORE) {
            all->code = r.code;
            all->text = r.text;
            last = e;
        }
    }
    if (all->missing_count)
        return ERR_MORE;
    return w->target_count ? OK : last;
}

static enum err exchangers(struct delivery_core *core, struct delivery_where *w, struct mx_result *r) {
    str own;
    struct mx_options o = options(core, &own);
    enum err e = mx_decide(w->name, &o, w->known, &w->arena, r);
    if (e == ERR_MORE)
        return e;
    use_ttl(w, r);
    w->site = arena_str(&w->arena, r->site);
    if (e == OK)
        add_hosts(w, r, 0);
    return e;
}

/* ---- asking ---- */

static bool put_question(struct delivery_core *core, struct delivery_where *w, const struct mx_question *missing) {
    struct question *q = malloc(sizeof *q + missing->name.n);
    if (!q)
        return false;
    q->where = w;
    q->type = missing->type;
    q->tag = core->next_tag++;
    memcpy(q->name, missing->name.p, missing->name.n);
    struct frame f = {.type = FRAME_DNS_ASK, .dns_ask = {q->tag, missing->name, missing->type}};
    if (map_put(&core->questions, q->tag, q) && core->ops->to_resolver(&f)) {
        w->unanswered++;
        return true;
    }
    map_remove(&core->questions, q->tag);
    free(q);
    return false;
}

static bool ask_missing(struct delivery_core *core, struct delivery_where *w, const struct mx_result *r) {
    for (size_t i = 0; i < r->missing_count; i++)
        if (!put_question(core, w, &r->missing[i]))
            return false;
    return w->unanswered > 0;
}

static void evaluate(struct delivery_core *core, struct delivery_where *w) {
    struct mx_result r = {.story = &w->story};
    w->target_count = 0;
    w->ttl_s = KEEP_MAX_S;
    buf_reset(&w->story);
    enum err e = w->exchangers ? exchangers(core, w, &r) : host_list(core, w, &r);
    if (w->arena.full)
        give_up(core, w, "4.3.0 no memory for the hosts of that domain");
    else if (e == ERR_MORE && w->rounds++ == ROUNDS_MAX)
        give_up(core, w, "4.4.3 the DNS leads on without end");
    else if (e == ERR_MORE && !ask_missing(core, w, &r))
        give_up(core, w, "4.4.3 the resolver does not answer now");
    else if (e != ERR_MORE)
        settle(core, w, e, e == OK ? 0 : r.code, e == OK ? STR_NONE : r.text);
}

static void take_answer(struct delivery_core *core, struct question *q, str bytes) {
    struct delivery_where *w = q->where;
    struct mx_known *k = arena_alloc(&w->arena, sizeof *k);
    struct dns_answer *a = arena_alloc(&w->arena, sizeof *a);
    str copy = arena_str(&w->arena, bytes);
    free(q);
    if (w->unanswered > 0)
        w->unanswered--;
    if (w->ready) { /* it was given up meanwhile */
        let_go(core, w);
        return;
    }
    if (k && a && dns_answer_take(copy, &w->arena, a) == OK) {
        *k = (struct mx_known){a, w->known};
        w->known = k;
    }
    if (w->unanswered == 0)
        evaluate(core, w);
}

void delivery_where_told(struct delivery_core *core, const struct frame_dns_told *f) {
    struct question *q = map_remove(&core->questions, f->tag);
    if (q)
        take_answer(core, q, f->answer);
}

void delivery_where_resolver_down(struct delivery_core *core) {
    for (size_t at = 0;;) {
        struct question *q = map_next(&core->questions, &at);
        if (!q)
            break;
        struct delivery_where *w = q->where;
        w->unanswered--;
        if (!w->ready)
            give_up(core, w, "4.4.3 the resolver has gone away");
        let_go(core, w);
        free(q);
    }
    uint64_t seed = core->questions.seed;
    map_free(&core->questions);
    core->questions = MAP(seed);
}

/* ---- the table ---- */

/* It is too old for those who come now, and has to live on for those who work with it. */
static void retire(struct delivery_core *core, struct delivery_where *w) {
    if (!in_use(w)) {
        where_free(core, w);
        return;
    }
    map_remove_str(&core->wheres, w->key);
    w->detached = true;
}

static struct delivery_where *where_new(struct delivery_core *core, bool mx, str name, str key) {
    struct delivery_where *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    *w = (struct delivery_where){.exchangers = mx, .arena = ARENA(MEMORY_MAX), .story = BUF(16384)};
    list_init(&w->jobs);
    w->key = arena_str(&w->arena, key);
    w->name = arena_str(&w->arena, name);
    w->asked_ms = core->now_ms;
    w->targets = calloc(MX_HOSTS_MAX * MX_ADDRESSES_MAX, sizeof *w->targets);
    if (w->targets && !w->arena.full && map_put_str(&core->wheres, w->key, w))
        return w;
    arena_free(&w->arena);
    free(w->targets);
    free(w);
    return NULL;
}

struct delivery_where *delivery_where_get(struct delivery_core *core, bool mx, str name) {
    char space[KEY_MAX];
    struct buf key = {.p = space, .cap = sizeof space, .limit = sizeof space};
    buf_add(&key, mx ? S("mx ") : S("host "));
    for (size_t i = 0; i < name.n; i++)
        buf_char(&key, char_lower(str_sub(name, i, 1).p[0]));
    if (key.full)
        return NULL;
    struct delivery_where *w = map_get_str(&core->wheres, buf_str(&key));
    if (w && w->ready && w->expires_ms <= core->now_ms) {
        retire(core, w);
        w = NULL;
    }
    if (w)
        return w;
    w = where_new(core, mx, name, buf_str(&key));
    if (w)
        evaluate(core, w);
    return w;
}

static void refuse_site(struct delivery_core *core, uint64_t tag) {
    struct frame f = {.type = FRAME_SITE_TOLD,
                      .site_told = {tag, ERR_NOMEM, 451, STR_NONE, S("4.3.0 no memory"), KEEP_MIN_S}};
    core->ops->to_store(&f);
}

void delivery_where_ask_site(struct delivery_core *core, uint64_t tag, str domain) {
    struct delivery_where *w = delivery_where_get(core, true, domain);
    uint64_t *tags = w ? realloc(w->site_tags, (w->site_count + 1) * sizeof *tags) : NULL;
    if (!tags) {
        refuse_site(core, tag);
        return;
    }
    w->site_tags = tags;
    w->site_tags[w->site_count++] = tag;
    if (w->ready)
        tell_sites(core, w);
}

/* What is old goes; what was asked and never answered is given up. */
void delivery_where_sweep(struct delivery_core *core, bool all) {
    size_t at = 0, kept = core->wheres.used;
    for (struct delivery_where *w; (w = map_next(&core->wheres, &at));) {
        if (!w->ready && core->now_ms - w->asked_ms > ANSWER_MS)
            give_up(core, w, "4.4.3 the resolver does not answer in time");
        bool old = w->ready && (w->expires_ms <= core->now_ms || kept > KEPT_MAX);
        if (!all && (!old || in_use(w)))
            continue;
        where_free(core, w);
        kept--;
    }
    for (at = 0; all;) {
        struct question *q = map_next(&core->questions, &at);
        if (!q)
            break;
        free(q);
    }
    if (all)
        map_free(&core->questions);
}
