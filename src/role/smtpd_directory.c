#include "role/smtpd_directory.h"

#include "role/smtpd_core.h"

#include <stdlib.h>

enum {
    ANSWERS_KEPT = 4096,
    ANSWER_MEMORY_MAX = 1024 * 1024, /* of an alias with very many targets */
    KEY_MAX = 4096,
};

struct smtpd_ask {
    struct list node; /* of its asker */
    struct smtpd_asker *asker;
    uint32_t tag;
    str key;
    char text[];
};

/* ---- answers ---- */

void smtpd_answer_ref(struct smtpd_answer *a) {
    a->refs++;
}

void smtpd_answer_unref(struct smtpd_answer *a) {
    if (--a->refs)
        return;
    arena_free(&a->arena);
    free(a);
}

static void drop(struct smtpd_directory *d, struct smtpd_answer *a) {
    map_remove_str(&d->answers, a->key);
    list_remove(&a->node);
    a->kept = false;
    d->count--;
    smtpd_answer_unref(a);
}

static void keep(struct smtpd_directory *d, struct smtpd_answer *a) {
    struct smtpd_answer *old = map_get_str(&d->answers, a->key);
    if (old)
        drop(d, old);
    if (d->count >= ANSWERS_KEPT)
        drop(d, LIST_ENTRY(list_first(&d->order), struct smtpd_answer, node));
    if (!map_put_str(&d->answers, a->key, a))
        return;
    list_add_tail(&d->order, &a->node);
    a->kept = true;
    a->refs++;
    d->count++;
}

/* The user stands first: an address may have any byte, a user's name has no NUL. */
static bool make_key(struct buf *b, str address, str user) {
    buf_add(b, user);
    buf_char(b, '\0');
    buf_add(b, address);
    return !b->full;
}

struct smtpd_answer *smtpd_directory_get(struct smtpd_core *core, str address, str user) {
    char space[KEY_MAX];
    struct buf key = {.p = space, .cap = sizeof space, .limit = sizeof space};
    struct smtpd_directory *d = &core->directory;
    struct smtpd_answer *a = make_key(&key, address, user) ? map_get_str(&d->answers, buf_str(&key)) : NULL;
    if (!a)
        return NULL;
    list_remove(&a->node);
    list_add_tail(&d->order, &a->node);
    a->refs++;
    return a;
}

/* ---- who waits ---- */

void smtpd_asker_init(struct smtpd_asker *a) {
    list_init(&a->asks);
    a->failed = false;
}

bool smtpd_asker_waits(const struct smtpd_asker *a) {
    return !list_empty(&a->asks);
}

static void ask_end(struct smtpd_directory *d, struct smtpd_ask *ask) {
    map_remove(&d->asks, ask->tag);
    list_remove(&ask->node);
    free(ask);
}

void smtpd_asker_end(struct smtpd_core *core, struct smtpd_asker *a) {
    while (!list_empty(&a->asks))
        ask_end(&core->directory, LIST_ENTRY(list_first(&a->asks), struct smtpd_ask, node));
}

enum err smtpd_directory_ask(struct smtpd_core *core, struct smtpd_asker *a, str address, str user) {
    struct smtpd_ask *ask = NULL;
    if (!core->up[ROLE_STORE])
        return ERR_DOWN;
    struct buf key = {0};
    if (address.n + user.n < KEY_MAX)
        ask = calloc(1, sizeof *ask + address.n + user.n + 1);
    if (!ask)
        return ERR_NOMEM;
    key = (struct buf){.p = ask->text, .cap = address.n + user.n + 1, .limit = address.n + user.n + 1};
    *ask = (struct smtpd_ask){.asker = a, .tag = smtpd_core_tag(core)};
    if (!make_key(&key, address, user) || !map_put(&core->directory.asks, ask->tag, ask)) {
        free(ask);
        return ERR_NOMEM;
    }
    ask->key = buf_str(&key);
    list_add_tail(&a->asks, &ask->node);
    struct frame f = {FRAME_LOOKUP, .lookup = {ask->tag, address, user}};
    smtpd_core_send(core, ROLE_STORE, &f);
    return OK;
}

/* ---- from the store ---- */

static str address_of(str key) {
    return str_tail(key, str_find(key, '\0') + 1);
}

static struct smtpd_answer *take_answer(str key, str bytes) {
    struct smtpd_answer *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    list_init(&a->node);
    a->refs = 1;
    a->arena = ARENA(ANSWER_MEMORY_MAX);
    a->key = arena_str(&a->arena, key);
    str copy = arena_str(&a->arena, bytes);
    if (!a->arena.full && directory_answer_take(copy, &a->arena, &a->answer) == OK &&
        str_eq(a->answer.address, address_of(a->key)))
        return a;
    smtpd_answer_unref(a);
    return NULL;
}

void smtpd_directory_told(struct smtpd_core *core, const struct frame_looked_up *f) {
    struct smtpd_directory *d = &core->directory;
    struct smtpd_ask *ask = map_get(&d->asks, f->tag);
    if (!ask)
        return; /* who asked has ended meanwhile */
    struct smtpd_asker *asker = ask->asker;
    struct smtpd_answer *a = take_answer(ask->key, f->answer);
    ask_end(d, ask);
    if (a) {
        keep(d, a);
        asker->on_answer(asker, a);
        smtpd_answer_unref(a);
    }
    asker->failed = asker->failed || !a;
    if (!smtpd_asker_waits(asker))
        asker->on_known(asker);
}

void smtpd_directory_forget(struct smtpd_core *core) {
    struct smtpd_directory *d = &core->directory;
    while (!list_empty(&d->order))
        drop(d, LIST_ENTRY(list_first(&d->order), struct smtpd_answer, node));
}

void smtpd_directory_down(struct smtpd_core *core) {
    struct smtpd_ask *ask;
    size_t at = 0;
    smtpd_directory_forget(core);
    while ((ask = map_next(&core->directory.asks, &at))) {
        struct smtpd_asker *asker = ask->asker;
        smtpd_asker_end(core, asker);
        asker->failed = true;
        asker->on_known(asker);
        at = 0;
    }
}

void smtpd_directory_init(struct smtpd_directory *d, uint64_t random_seed) {
    *d = (struct smtpd_directory){.answers = MAP(random_seed), .asks = MAP(random_seed)};
    list_init(&d->order);
}

void smtpd_directory_free(struct smtpd_directory *d) {
    while (!list_empty(&d->order))
        drop(d, LIST_ENTRY(list_first(&d->order), struct smtpd_answer, node));
    map_free(&d->answers);
    map_free(&d->asks);
}
