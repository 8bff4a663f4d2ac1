#include "policy/directory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/fields.h"
#include "mime/idna.h"
#include "policy/directory_impl.h"

enum { KEY_MAX = 1024, FIELDS_MAX = 128 * 1024 };

const char *directory_kind_name(enum directory_kind kind) {
    static const char *const names[DIRECTORY_KINDS] = {"", "domain", "account", "alias", "token"};
    return kind <= DIRECTORY_TOKEN ? names[kind] : "";
}

const struct conf_block_kind *directory_block_kind(enum directory_kind kind) {
    for (size_t i = 0; i < conf_block_kind_count; i++)
        if (str_eq(conf_block_kinds[i].name, str_of(directory_kind_name(kind))))
            return &conf_block_kinds[i];
    return NULL;
}

/* ---- a shelf ---- */

/* Where the key stands, or would. */
static size_t place_of(const struct directory_shelf *s, str key, bool *there) {
    size_t low = 0, high = s->count;
    *there = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = str_cmp(s->list[middle]->key, key);
        if (c == 0) {
            *there = true;
            return middle;
        }
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct directory_item *item_new(str key, str fields, uint64_t num) {
    struct directory_item *i = malloc(sizeof(*i) + key.n + fields.n);
    if (!i)
        return NULL;
    memcpy(i->bytes, key.p, key.n);
    if (fields.n)
        memcpy(i->bytes + key.n, fields.p, fields.n);
    i->num = num;
    i->key = str_n(i->bytes, key.n);
    i->fields = str_n(i->bytes + key.n, fields.n);
    return i;
}

/* Fields hold credentials. */
static void item_free(struct directory_item *i) {
    explicit_bzero(i->bytes, i->key.n + i->fields.n);
    free(i);
}

static bool shelf_room(struct directory_shelf *s) {
    if (s->count < s->room)
        return true;
    size_t room = s->room ? 2 * s->room : 16;
    struct directory_item **more = realloc(s->list, room * sizeof(*more));
    if (!more)
        return false;
    s->list = more;
    s->room = room;
    return true;
}

static enum err shelf_put(struct directory_shelf *s, str key, str fields, uint64_t num) {
    bool there;
    size_t at = place_of(s, key, &there);
    struct directory_item *i = item_new(key, fields, num);
    if (!i || (!there && !shelf_room(s))) {
        free(i);
        return ERR_NOMEM;
    }
    if (there) {
        item_free(s->list[at]);
    } else {
        memmove(s->list + at + 1, s->list + at, (s->count - at) * sizeof(*s->list));
        s->count++;
    }
    s->list[at] = i;
    return OK;
}

static void layer_free(struct directory_layer *l) {
    for (size_t kind = 0; kind < DIRECTORY_KINDS; kind++) {
        for (size_t i = 0; i < l->shelves[kind].count; i++)
            item_free(l->shelves[kind].list[i]);
        free(l->shelves[kind].list);
    }
    *l = (struct directory_layer){0};
}

/* ---- the directory ---- */

struct directory *directory_new(uint64_t random_seed) {
    struct directory *d = calloc(1, sizeof(*d));
    if (!d)
        return NULL;
    d->used = MAP(random_seed);
    d->first_domain = BUF(KEY_MAX);
    d->postmaster = BUF(KEY_MAX);
    return d;
}

void directory_free(struct directory *d) {
    size_t at = 0;
    if (!d)
        return;
    for (struct directory_used *u; (u = map_next(&d->used, &at));)
        free(u);
    map_free(&d->used);
    for (size_t i = 0; i < LAYERS; i++)
        layer_free(&d->layers[i]);
    buf_free(&d->first_domain);
    buf_free(&d->postmaster);
    free(d);
}

const struct directory_item *directory_find(const struct directory *d, enum directory_kind kind, str key,
                                            bool *from_conf) {
    for (size_t i = 0; i < LAYERS; i++) {
        bool there;
        const struct directory_shelf *s = &d->layers[i].shelves[kind];
        size_t at = place_of(s, key, &there);
        *from_conf = i == LAYER_CONF;
        if (there)
            return s->list[at];
    }
    return NULL;
}

enum err directory_put(struct directory *d, enum directory_kind kind, str key, str fields, uint64_t num) {
    struct buf k = BUF(KEY_MAX);
    enum err e = directory_key(kind, key, &k, NULL);
    if (!e)
        e = shelf_put(&d->layers[num ? LAYER_DB : LAYER_CONF].shelves[kind], buf_str(&k), fields, num);
    buf_free(&k);
    return e;
}

bool directory_remove(struct directory *d, enum directory_kind kind, str key) {
    struct directory_shelf *s = &d->layers[LAYER_DB].shelves[kind];
    struct buf k = BUF(KEY_MAX);
    bool there = false;
    size_t at = 0;
    if (directory_key(kind, key, &k, NULL) == OK)
        at = place_of(s, buf_str(&k), &there);
    buf_free(&k);
    if (!there)
        return false;
    item_free(s->list[at]);
    s->count--;
    memmove(s->list + at, s->list + at + 1, (s->count - at) * sizeof(*s->list));
    return true;
}

static struct directory_entry entry_of(const struct directory_item *i, enum directory_kind kind, bool from_conf) {
    return (struct directory_entry){kind, i->key, i->fields, i->num, from_conf};
}

bool directory_get(const struct directory *d, enum directory_kind kind, str key, struct directory_entry *e) {
    struct buf k = BUF(KEY_MAX);
    bool from_conf = false;
    const struct directory_item *i = NULL;
    if (directory_key(kind, key, &k, NULL) == OK)
        i = directory_find(d, kind, buf_str(&k), &from_conf);
    buf_free(&k);
    if (i)
        *e = entry_of(i, kind, from_conf);
    return i != NULL;
}

/* The first of a shelf that is behind `after` and not before the prefix. */
static const struct directory_item *shelf_next(const struct directory_shelf *s, str prefix, str after) {
    bool there = false;
    size_t at = str_cmp(after, prefix) < 0 ? place_of(s, prefix, &there) : place_of(s, after, &there);
    if (there && str_eq(s->list[at]->key, after))
        at++;
    return at < s->count && str_starts(s->list[at]->key, prefix) ? s->list[at] : NULL;
}

bool directory_next(const struct directory *d, enum directory_kind kind, str prefix, str after,
                    struct directory_entry *e) {
    const struct directory_item *of_conf = shelf_next(&d->layers[LAYER_CONF].shelves[kind], prefix, after);
    const struct directory_item *of_db = shelf_next(&d->layers[LAYER_DB].shelves[kind], prefix, after);
    bool conf_first = of_conf && (!of_db || str_cmp(of_conf->key, of_db->key) <= 0);
    const struct directory_item *i = conf_first ? of_conf : of_db;
    if (i)
        *e = entry_of(i, kind, conf_first);
    return i != NULL;
}

static struct directory_used *use_of(struct directory *d, str account) {
    struct directory_used *u = map_get_str(&d->used, account);
    if (u)
        return u;
    u = calloc(1, sizeof(*u) + account.n);
    if (!u)
        return NULL;
    memcpy(u->name, account.p, account.n);
    u->account = str_n(u->name, account.n);
    if (map_put_str(&d->used, u->account, u))
        return u;
    free(u);
    return NULL;
}

enum err directory_use(struct directory *d, str account, uint64_t bytes) {
    struct directory_used *u = use_of(d, account);
    if (!u)
        return ERR_NOMEM;
    u->bytes = bytes;
    return OK;
}

/* Without memory the quota is a little larger until the next start. */
void directory_used_more(struct directory *d, str account, uint64_t bytes) {
    struct directory_used *u = account.n ? use_of(d, account) : NULL;
    if (u)
        u->bytes += bytes;
}

/* ---- what is an entry ---- */

bool directory_word(str *list, str *word) {
    while (list->n && (char_is_space(*list->p) || *list->p == ','))
        *list = str_tail(*list, 1);
    size_t n = 0;
    while (n < list->n && !char_is_space(list->p[n]) && list->p[n] != ',')
        n++;
    *word = str_head(*list, n);
    *list = str_tail(*list, n);
    return n > 0;
}

/* One value of the kind of its block, whatever the block; nothing is kept. */
static enum err check_value(const struct conf_block_kind *block, const struct conf_row *row, str value, struct why *w) {
    struct arena a = ARENA(512 * 1024);
    struct why inner = {{0}};
    void *base = arena_alloc(&a, block->size);
    enum err e = base ? conf_row_take(row, value, &a, base, &inner) : ERR_NOMEM;
    arena_free(&a);
    return e ? why(w, e, "%.*s: %.400s", STR_ARG(row->name), e == ERR_NOMEM ? "no memory" : inner.text) : OK;
}

static enum err check_unknown(const struct conf_block_kind *block, str name, struct why *w) {
    struct conf_guess g = {.word = name};
    for (size_t i = 0; i < block->row_count; i++)
        conf_guess_try(&g, block->rows[i].name);
    return why(w, ERR_SYNTAX, "a%s %.*s has no field \"%.*s\"%s%.*s%s", str_starts(block->name, S("a")) ? "n" : "",
               STR_ARG(block->name), STR_ARG(str_head(name, 60)), g.best.n ? " (did you mean \"" : "", STR_ARG(g.best),
               g.best.n ? "\"?)" : "");
}

/* An app password: "app." and the name of a block. */
static bool is_app_password(enum directory_kind kind, str name) {
    return kind == DIRECTORY_ACCOUNT && str_skip(&name, S("app.")) && conf_name_valid(name);
}

static const struct conf_row *row_of(const struct conf_block_kind *block, str name) {
    for (size_t i = 0; i < block->row_count; i++)
        if (str_eq(block->rows[i].name, name))
            return &block->rows[i];
    return NULL;
}

static enum err check_block_field(enum directory_kind kind, str name, str value, struct why *w) {
    const struct conf_block_kind *block = directory_block_kind(kind);
    const struct conf_row *row = row_of(block, name);
    if (!row && is_app_password(kind, name))
        row = row_of(block, S("password"));
    return row ? check_value(block, row, value, w) : check_unknown(block, name, w);
}

static enum err check_token_field(str name, str value, struct why *w) {
    static const str roles[] = {S_INIT("admin"), S_INIT("operator"), S_INIT("reader"), S_INIT("send")};
    if (!str_eq(name, S("name")) && !str_eq(name, S("role")) && !str_eq(name, S("account")))
        return why(w, ERR_SYNTAX, "a token has no field \"%.*s\"", STR_ARG(str_head(name, 60)));
    if (value.n > 320)
        return why(w, ERR_LIMIT, "%.*s: a text of at most 320 bytes", STR_ARG(name));
    if (!str_eq(name, S("role")))
        return OK;
    for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++)
        if (str_eq(value, roles[i]))
            return OK;
    return why(w, ERR_SYNTAX, "the role of a token is admin, operator, reader or send");
}

/* Every word of the list is an address, or, where that may be, an @domain. */
static enum err check_addresses(str field, str list, bool domains_too, struct why *w) {
    struct buf key = BUF(KEY_MAX);
    enum err e = OK;
    for (str word; !e && directory_word(&list, &word);) {
        bool is_domain = domains_too && str_skip_char(&word, '@');
        buf_reset(&key);
        struct why inner;
        e = directory_key(is_domain ? DIRECTORY_DOMAIN : DIRECTORY_ALIAS, word, &key, &inner);
        if (e)
            e = why(w, e, "%.*s: %.400s", STR_ARG(field), inner.text);
    }
    buf_free(&key);
    return e;
}

static enum err check_domain_there(const struct directory *d, str domain, struct why *w) {
    bool from_conf;
    return directory_find(d, DIRECTORY_DOMAIN, domain, &from_conf)
               ? OK
               : why(w, ERR_NOT_FOUND, "there is no domain %.*s here: add it first", STR_ARG(domain));
}

/* alias_of: there, and neither itself nor one that leads back to it. */
static enum err check_alias_of(const struct directory *d, str key, str target, struct why *w) {
    struct buf k = BUF(KEY_MAX);
    bool from_conf;
    enum err e = directory_key(DIRECTORY_DOMAIN, target, &k, w);
    if (!e && !str_eq(buf_str(&k), key))
        e = check_domain_there(d, buf_str(&k), w);
    for (unsigned depth = 0; !e; depth++) {
        if (str_eq(buf_str(&k), key) || depth > 100) {
            e = why(w, ERR_SYNTAX, "alias_of: %.*s would be an alias of itself", STR_ARG(key));
            break;
        }
        const struct directory_item *i = directory_find(d, DIRECTORY_DOMAIN, buf_str(&k), &from_conf);
        str next = i ? fields_get(i->fields, S("alias_of")) : STR_NONE;
        if (!next.n)
            break;
        buf_reset(&k);
        e = directory_key(DIRECTORY_DOMAIN, next, &k, w);
    }
    buf_free(&k);
    return e;
}

static enum err check_meaning(const struct directory *d, enum directory_kind kind, str key, str fields, struct why *w) {
    str local, domain = STR_NONE, to = fields_get(fields, S("to")), alias_of = fields_get(fields, S("alias_of"));
    struct why inner = {{0}};
    enum err e = OK;
    if (kind == DIRECTORY_ACCOUNT || kind == DIRECTORY_ALIAS) {
        (void)address_cut(key, &local, &domain);
        e = check_domain_there(d, domain, &inner);
    }
    if (!e && kind == DIRECTORY_DOMAIN && alias_of.n)
        e = check_alias_of(d, key, alias_of, &inner);
    if (!e)
        e = check_addresses(S("catch_all"), fields_get(fields, S("catch_all")), false, &inner);
    if (!e && kind != DIRECTORY_TOKEN)
        e = check_addresses(S("senders"), fields_get(fields, S("senders")), kind == DIRECTORY_ACCOUNT, &inner);
    if (!e)
        e = check_addresses(S("to"), to, false, &inner);
    if (!e && to.n > DIRECTORY_TARGETS_MAX)
        e = why(&inner, ERR_LIMIT, "to: at most %d bytes of addresses", DIRECTORY_TARGETS_MAX);
    str word;
    if (!e && kind == DIRECTORY_ALIAS && !directory_word(&to, &word))
        e = why(&inner, ERR_SYNTAX, "an alias needs `to`, the addresses its mail goes to");
    return e ? why(w, e, "%s", inner.text) : OK;
}

enum err directory_check(const struct directory *d, enum directory_kind kind, str key, str fields, struct why *w) {
    struct buf k = BUF(KEY_MAX);
    str name, value;
    if (kind < DIRECTORY_DOMAIN || kind > DIRECTORY_TOKEN)
        return why(w, ERR_SYNTAX, "no such kind of entry");
    enum err e = directory_key(kind, key, &k, w);
    if (!e && !fields_valid(fields))
        e = why(w, ERR_SYNTAX, "the fields are damaged, or one is given twice");
    for (str rest = fields; !e && fields_take(&rest, &name, &value);)
        e = kind == DIRECTORY_TOKEN ? check_token_field(name, value, w) : check_block_field(kind, name, value, w);
    if (!e)
        e = check_meaning(d, kind, buf_str(&k), fields, w);
    buf_free(&k);
    return e;
}

static enum err of_the_configuration(enum directory_kind kind, str key, struct why *w) {
    return why(w, ERR_DENIED, "%s %.*s stands in the configuration file: change it there", directory_kind_name(kind),
               STR_ARG(key));
}

enum err directory_check_put(const struct directory *d, enum directory_kind kind, str key, str changes, unsigned how,
                             struct buf *new_key, struct buf *new_fields, struct why *w) {
    bool from_conf = false;
    if (kind < DIRECTORY_DOMAIN || kind > DIRECTORY_TOKEN)
        return why(w, ERR_SYNTAX, "no such kind of entry");
    if (!fields_valid(changes))
        return why(w, ERR_SYNTAX, "the fields are damaged, or one is given twice");
    enum err e = directory_key(kind, key, new_key, w);
    if (e)
        return e;
    str k = buf_str(new_key);
    const struct directory_item *old = directory_find(d, kind, k, &from_conf);
    if (old && from_conf)
        return of_the_configuration(kind, k, w);
    if (old && how == 1)
        return why(w, ERR_EXISTS, "%s %.*s is there already", directory_kind_name(kind), STR_ARG(k));
    if (!old && how == 2)
        return why(w, ERR_NOT_FOUND, "there is no %s %.*s", directory_kind_name(kind), STR_ARG(k));
    fields_merge(new_fields, old ? old->fields : STR_NONE, changes);
    if (new_fields->full)
        return why(w, ERR_LIMIT, "that is too much for one entry");
    return directory_check(d, kind, k, buf_str(new_fields), w);
}

static bool in_domain(const struct directory *d, enum directory_kind kind, str domain) {
    str local, its;
    for (size_t layer = 0; layer < LAYERS; layer++)
        for (size_t i = 0; i < d->layers[layer].shelves[kind].count; i++)
            if (address_cut(d->layers[layer].shelves[kind].list[i]->key, &local, &its) && str_eq(its, domain))
                return true;
    return false;
}

enum err directory_check_remove(const struct directory *d, enum directory_kind kind, str key, struct buf *its_key,
                                struct why *w) {
    bool from_conf = false;
    if (kind < DIRECTORY_DOMAIN || kind > DIRECTORY_TOKEN)
        return why(w, ERR_SYNTAX, "no such kind of entry");
    enum err e = directory_key(kind, key, its_key, w);
    if (e)
        return e;
    str k = buf_str(its_key);
    if (!directory_find(d, kind, k, &from_conf))
        return why(w, ERR_NOT_FOUND, "there is no %s %.*s", directory_kind_name(kind), STR_ARG(k));
    if (from_conf)
        return of_the_configuration(kind, k, w);
    if (kind == DIRECTORY_DOMAIN && (in_domain(d, DIRECTORY_ACCOUNT, k) || in_domain(d, DIRECTORY_ALIAS, k)))
        return why(w, ERR_EXISTS, "domain %.*s has accounts or aliases: remove them first", STR_ARG(k));
    return OK;
}

/* ---- the configuration's blocks ---- */

struct block_head { /* what every block of a configuration begins with */
    str title;
    struct conf_place place;
};

static enum err at_place(const struct conf_place *p, enum err e, const struct why *inner, struct why *w) {
    return why(w, e, "%s:%u: %.400s", p->where ? p->where : "configuration", p->line, inner->text);
}

static int item_order(const void *a, const void *b) {
    return str_cmp((*(struct directory_item *const *)a)->key, (*(struct directory_item *const *)b)->key);
}

static enum err block_add(struct directory_shelf *s, enum directory_kind kind, const void *block, struct why *w) {
    const struct conf_block_kind *rows = directory_block_kind(kind);
    const struct block_head *h = block;
    struct buf key = BUF(KEY_MAX), fields = BUF(FIELDS_MAX), value = BUF(FIELDS_MAX);
    struct why inner = {{0}};
    enum err e = directory_key(kind, h->title, &key, &inner);
    if (e)
        e = at_place(&h->place, e, &inner, w);
    for (size_t i = 0; !e && i < rows->row_count; i++) {
        if (conf_row_is_default(&rows->rows[i], block))
            continue;
        buf_reset(&value);
        conf_row_put(&value, &rows->rows[i], block);
        fields_put(&fields, rows->rows[i].name, buf_str(&value));
    }
    struct directory_item *item = e ? NULL : item_new(buf_str(&key), buf_str(&fields), 0);
    if (!e && (!item || !shelf_room(s) || fields.full))
        e = why(w, ERR_NOMEM, "no memory for the directory");
    if (!e)
        s->list[s->count++] = item;
    else if (item)
        item_free(item);
    buf_free(&key);
    buf_wipe(&fields);
    buf_wipe(&value);
    return e;
}

static enum err shelf_of_conf(struct directory_shelf *s, enum directory_kind kind, const struct conf *c,
                              struct why *w) {
    const struct conf_block_kind *rows = directory_block_kind(kind);
    const void *block;
    enum err e = OK;
    for (size_t i = 0; !e && (block = conf_block(c, rows, i)); i++)
        e = block_add(s, kind, block, w);
    if (e)
        return e;
    if (s->count)
        qsort(s->list, s->count, sizeof(*s->list), item_order);
    for (size_t i = 1; i < s->count; i++)
        if (str_eq(s->list[i - 1]->key, s->list[i]->key))
            return why(w, ERR_EXISTS, "there are two blocks %s %.*s", directory_kind_name(kind),
                       STR_ARG(s->list[i]->key));
    return OK;
}

static enum err check_layer(const struct directory *d, const struct conf *c, struct why *w) {
    struct why inner = {{0}};
    enum err e = OK;
    for (enum directory_kind kind = DIRECTORY_DOMAIN; kind <= DIRECTORY_ALIAS; kind++) {
        const struct block_head *h;
        for (size_t i = 0; !e && (h = conf_block(c, directory_block_kind(kind), i)); i++) {
            struct directory_entry entry;
            bool there = directory_get(d, kind, h->title, &entry);
            assert(there);
            e = directory_check(d, kind, entry.key, entry.fields, &inner);
            if (e)
                e = at_place(&h->place, e, &inner, w);
        }
    }
    return e;
}

static void take_settings(struct directory *d, const struct conf *c) {
    d->limits = (struct directory_limits){c->account_messages_hour, c->account_messages_day, c->account_recipients_hour,
                                          c->account_recipients_day};
    buf_reset(&d->first_domain);
    buf_reset(&d->postmaster);
    if (c->domain_count && directory_key(DIRECTORY_DOMAIN, c->domains[0].title, &d->first_domain, NULL))
        buf_reset(&d->first_domain);
    buf_add(&d->postmaster, c->postmaster);
}

enum err directory_conf(struct directory *d, const struct conf *c, struct why *w) {
    struct directory_layer before = d->layers[LAYER_CONF];
    enum err e = OK;
    d->layers[LAYER_CONF] = (struct directory_layer){0};
    for (enum directory_kind kind = DIRECTORY_DOMAIN; !e && kind <= DIRECTORY_ALIAS; kind++)
        e = shelf_of_conf(&d->layers[LAYER_CONF].shelves[kind], kind, c, w);
    if (!e)
        e = check_layer(d, c, w);
    if (e) {
        layer_free(&d->layers[LAYER_CONF]);
        d->layers[LAYER_CONF] = before;
        return e;
    }
    layer_free(&before);
    take_settings(d, c);
    return OK;
}
