#include "role/resolver_core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "dns/dns.h"

struct asker {
    struct list node;
    uint64_t peer, tag;
};

struct resolver_core {
    struct map by_key;
    struct list waiting, active;
    size_t active_count, asker_count;
};

struct resolver_core *resolver_core_new(uint64_t random_seed) {
    struct resolver_core *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->by_key = MAP(random_seed);
    list_init(&c->waiting);
    list_init(&c->active);
    return c;
}

static void drop_asker(struct resolver_core *c, struct asker *a) {
    list_remove(&a->node);
    c->asker_count--;
    free(a);
}

void resolver_core_done(struct resolver_core *c, struct resolver_question *q) {
    LIST_EACH_SAFE(&q->askers, node)
    drop_asker(c, LIST_ENTRY(node, struct asker, node));
    map_remove_str(&c->by_key, q->key);
    list_remove(&q->node);
    c->active_count -= q->active;
    free(q);
}

static void free_all(struct resolver_core *c, struct list *questions) {
    LIST_EACH_SAFE(questions, node)
    resolver_core_done(c, LIST_ENTRY(node, struct resolver_question, node));
}

void resolver_core_free(struct resolver_core *c) {
    if (!c)
        return;
    free_all(c, &c->waiting);
    free_all(c, &c->active);
    map_free(&c->by_key);
    free(c);
}

enum { KEY_SIZE = DNS_NAME_MAX + 16 };

/* "15 example.org" */
static str make_key(char space[KEY_SIZE], str name, uint32_t type) {
    int n = snprintf(space, KEY_SIZE, "%u %.*s", (unsigned)type, STR_ARG(name));
    for (int i = 0; i < n; i++)
        space[i] = char_lower(space[i]);
    return str_n(space, (size_t)n);
}

/* The key and the name, which is its end, stand behind the struct. */
static struct resolver_question *question_new(struct resolver_core *c, str key, str name, uint32_t type) {
    struct resolver_question *q = calloc(1, sizeof *q + key.n + 1);
    if (!q)
        return NULL;
    char *text = (char *)(q + 1);
    memcpy(text, key.p, key.n);
    q->key = str_n(text, key.n);
    q->name = str_tail(q->key, key.n - name.n);
    q->type = type;
    list_init(&q->askers);
    if (!map_put_str(&c->by_key, q->key, q)) {
        free(q);
        return NULL;
    }
    list_add_tail(&c->waiting, &q->node);
    return q;
}

enum err resolver_core_ask(struct resolver_core *c, uint64_t peer, uint64_t tag, str name, uint32_t type,
                           uint64_t now_ms) {
    char space[KEY_SIZE];
    if (dns_name_check(name) != OK || type == 0 || type > UINT16_MAX)
        return ERR_SYNTAX;
    if (c->asker_count >= RESOLVER_WAITING_MAX)
        return ERR_LIMIT;
    str key = make_key(space, name, type);
    struct asker *a = calloc(1, sizeof *a);
    struct resolver_question *q = map_get_str(&c->by_key, key);
    if (a && !q)
        q = question_new(c, key, name, type);
    if (!a || !q) {
        free(a);
        return ERR_NOMEM;
    }
    if (list_empty(&q->askers)) /* a new one, or one that has gone on for longer than anybody waited */
        q->deadline_ms = now_ms + RESOLVER_PATIENCE_MS;
    *a = (struct asker){.peer = peer, .tag = tag};
    list_add_tail(&q->askers, &a->node);
    c->asker_count++;
    return OK;
}

struct resolver_question *resolver_core_next(struct resolver_core *c) {
    struct list *first = list_first(&c->waiting);
    if (!first || c->active_count >= RESOLVER_ACTIVE_MAX)
        return NULL;
    struct resolver_question *q = LIST_ENTRY(first, struct resolver_question, node);
    list_remove(&q->node);
    list_add_tail(&c->active, &q->node);
    q->active = true;
    c->active_count++;
    return q;
}

bool resolver_core_asker(struct resolver_core *c, struct resolver_question *q, uint64_t *peer, uint64_t *tag) {
    struct list *first = list_first(&q->askers);
    if (!first)
        return false;
    struct asker *a = LIST_ENTRY(first, struct asker, node);
    *peer = a->peer;
    *tag = a->tag;
    drop_asker(c, a);
    return true;
}

static struct resolver_question *expired_among(struct list *questions, uint64_t now_ms) {
    LIST_EACH(questions, node) {
        struct resolver_question *q = LIST_ENTRY(node, struct resolver_question, node);
        if (!list_empty(&q->askers) && now_ms >= q->deadline_ms)
            return q;
    }
    return NULL;
}

struct resolver_question *resolver_core_expired(struct resolver_core *c, uint64_t now_ms) {
    struct resolver_question *q = expired_among(&c->active, now_ms);
    return q ? q : expired_among(&c->waiting, now_ms);
}

static void forget_among(struct resolver_core *c, struct list *questions, uint64_t peer) {
    LIST_EACH_SAFE(questions, node) {
        struct resolver_question *q = LIST_ENTRY(node, struct resolver_question, node);
        LIST_EACH_SAFE(&q->askers, one) {
            struct asker *a = LIST_ENTRY(one, struct asker, node);
            if (a->peer == peer)
                drop_asker(c, a);
        }
        if (!q->active && list_empty(&q->askers))
            resolver_core_done(c, q);
    }
}

void resolver_core_forget(struct resolver_core *c, uint64_t peer) {
    forget_among(c, &c->active, peer);
    forget_among(c, &c->waiting, peer);
}

void resolver_core_restart(struct resolver_core *c) {
    for (struct list *last; (last = c->active.prev) != &c->active;) {
        struct resolver_question *q = LIST_ENTRY(last, struct resolver_question, node);
        list_remove(&q->node);
        list_add_head(&c->waiting, &q->node);
        q->active = false;
        c->active_count--;
        if (list_empty(&q->askers))
            resolver_core_done(c, q);
    }
}

size_t resolver_core_waiting(const struct resolver_core *c) {
    return c->asker_count;
}
