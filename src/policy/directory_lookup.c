/* directory_lookup.c - what the directory says of an address, and how that travels. */
#include <stdio.h>
#include <string.h>

#include "base/fields.h"
#include "policy/directory_impl.h"

enum { KEY_MAX = 1024, DOMAIN_DEPTH_MAX = 8, ADDRESS_MAX = 1000 };

struct lookup {
    const struct directory *d;
    struct arena *a;
    struct directory_answer *out;
};

/* ---- domains ---- */

static str first_domain(const struct directory *d) {
    if (d->first_domain.n)
        return buf_str(&d->first_domain);
    const struct directory_shelf *s = &d->layers[LAYER_DB].shelves[DIRECTORY_DOMAIN];
    const struct directory_item *first = NULL;
    for (size_t i = 0; i < s->count; i++)
        if (!first || s->list[i]->num < first->num)
            first = s->list[i];
    return first ? first->key : STR_NONE;
}

static const struct directory_item *domain_item(const struct directory *d, str domain) {
    bool from_conf;
    return directory_find(d, DIRECTORY_DOMAIN, domain, &from_conf);
}

/* The domain whose addresses these are as well: NULL at the end of the chain. */
static const struct directory_item *alias_of(const struct directory *d, const struct directory_item *domain) {
    char room[KEY_MAX];
    struct buf key = {.p = room, .cap = sizeof(room), .limit = sizeof(room)};
    str target = fields_get(domain->fields, S("alias_of"));
    if (!target.n || directory_key(DIRECTORY_DOMAIN, target, &key, NULL))
        return NULL;
    return domain_item(d, buf_str(&key));
}

/* The local part without its detail: false when it has none. */
static bool detail_cut(const struct directory_item *domain, str local, str *base, str *detail) {
    str separators;
    if (!fields_find(domain->fields, S("separator"), &separators))
        separators = S("+");
    if (str_starts(local, S("\"")))
        return false;
    for (size_t i = 1; i < local.n; i++)
        if (str_has(separators, local.p[i])) {
            *base = str_head(local, i);
            *detail = str_tail(local, i + 1);
            return true;
        }
    return false;
}

/* ---- accounts and aliases ---- */

struct found {
    const struct directory_item *account, *alias;
};

static bool find_address(const struct directory *d, str local, str domain, struct found *f) {
    char room[KEY_MAX];
    struct buf key = {.p = room, .cap = sizeof(room), .limit = sizeof(room)};
    bool from_conf;
    buf_add(&key, local);
    buf_char(&key, '@');
    buf_add(&key, domain);
    f->account = directory_find(d, DIRECTORY_ACCOUNT, buf_str(&key), &from_conf);
    f->alias = directory_find(d, DIRECTORY_ALIAS, buf_str(&key), &from_conf);
    return f->account || f->alias;
}

/* Exactly, without the detail, then in the domain that this one is an alias of.  *domain is where it was found. */
static bool find_anywhere(const struct directory *d, str local, const struct directory_item **domain, str *detail,
                          struct found *f) {
    str base;
    for (unsigned depth = 0; *domain && depth < DOMAIN_DEPTH_MAX; depth++) {
        *detail = STR_NONE;
        if (find_address(d, local, (*domain)->key, f))
            return true;
        if (detail_cut(*domain, local, &base, detail) && find_address(d, base, (*domain)->key, f))
            return true;
        *domain = alias_of(d, *domain);
    }
    return false;
}

static uint64_t number(const struct directory_item *account, str field, uint64_t otherwise) {
    uint64_t n;
    str value = fields_get(account->fields, field);
    return str_u64(value, &n) && n ? n : otherwise;
}

static uint64_t quota_of(const struct directory_item *account) {
    struct conf_account c = {.quota = 0};
    struct arena a = ARENA(1024);
    const struct conf_block_kind *block = directory_block_kind(DIRECTORY_ACCOUNT);
    str value = fields_get(account->fields, S("quota"));
    if (value.n && conf_row_take(&block->rows[CONF_ACCOUNT_KEY_quota], value, &a, &c, NULL))
        c.quota = 0;
    arena_free(&a);
    return c.quota;
}

static void answer_account(const struct lookup *l, const struct directory_item *account) {
    struct directory_answer *out = l->out;
    const struct directory_limits *limits = &l->d->limits;
    const struct directory_used *used = map_get_str(&l->d->used, account->key);
    uint64_t quota = used ? quota_of(account) : 0;
    out->account = arena_str(l->a, account->key);
    out->num = account->num;
    out->full = quota && used->bytes >= quota;
    out->messages_hour = number(account, S("messages_hour"), limits->messages_hour);
    out->messages_day = number(account, S("messages_day"), limits->messages_day);
    out->recipients_hour = number(account, S("recipients_hour"), limits->recipients_hour);
    out->recipients_day = number(account, S("recipients_day"), limits->recipients_day);
}

static void answer_targets(const struct lookup *l, str list) {
    str word;
    size_t count = 0;
    for (str rest = list; directory_word(&rest, &word);)
        count++;
    l->out->targets = arena_alloc(l->a, (count + 1) * sizeof(*l->out->targets));
    for (str rest = list; l->out->targets && directory_word(&rest, &word);)
        l->out->targets[l->out->target_count++] = arena_str(l->a, word);
}

static void via(const struct lookup *l, const char *what, str of) {
    struct buf text = BUF(2 * KEY_MAX);
    buf_printf(&text, "%s%.*s", what, STR_ARG(of));
    l->out->via = arena_str(l->a, buf_str(&text));
    buf_free(&text);
}

static void answer_found(const struct lookup *l, const struct found *f) {
    if (!f->alias) {
        l->out->status = DIRECTORY_IS_ACCOUNT;
        answer_account(l, f->account);
        return;
    }
    l->out->status = DIRECTORY_IS_ALIAS;
    answer_targets(l, fields_get(f->alias->fields, S("to")));
    via(l, "alias ", f->alias->key);
    str keep = fields_get(f->alias->fields, S("keep"));
    l->out->keep = f->account && (str_eq(keep, S("yes")) || str_eq(keep, S("true")) || str_eq(keep, S("on")));
    if (l->out->keep)
        answer_account(l, f->account);
}

/* ---- what stands in for an address that is not there ---- */

static bool same_address(str a, str b) {
    char room_a[KEY_MAX], room_b[KEY_MAX];
    struct buf key_a = {.p = room_a, .cap = sizeof(room_a), .limit = sizeof(room_a)};
    struct buf key_b = {.p = room_b, .cap = sizeof(room_b), .limit = sizeof(room_b)};
    return !address_key(a, &key_a) && !address_key(b, &key_b) && str_eq(buf_str(&key_a), buf_str(&key_b));
}

static bool answer_stand_in(const struct lookup *l, str key, str target, const char *what, str of) {
    if (!target.n || same_address(target, key))
        return false;
    l->out->status = DIRECTORY_IS_ALIAS;
    answer_targets(l, target);
    via(l, what, of);
    return true;
}

/* RFC 5321 4.5.1: mail to the postmaster of every domain is taken. */
static bool answer_missing(const struct lookup *l, str key, str local, const struct directory_item *domain) {
    if (str_eq(local, S("postmaster")) && answer_stand_in(l, key, buf_str(&l->d->postmaster), "postmaster", STR_NONE))
        return true;
    for (unsigned depth = 0; domain && depth < DOMAIN_DEPTH_MAX; depth++) {
        str target = fields_get(domain->fields, S("catch_all"));
        if (answer_stand_in(l, key, target, "catch_all of ", domain->key))
            return true;
        domain = alias_of(l->d, domain);
    }
    return false;
}

/* ---- who may send as it ---- */

static bool listed(str list, str key, str domain, bool domains_too) {
    char room[KEY_MAX];
    struct buf other = {.p = room, .cap = sizeof(room), .limit = sizeof(room)};
    for (str word; directory_word(&list, &word);) {
        bool is_domain = domains_too && str_skip_char(&word, '@');
        buf_reset(&other);
        if (directory_key(is_domain ? DIRECTORY_DOMAIN : DIRECTORY_ALIAS, word, &other, NULL) == OK &&
            str_eq(buf_str(&other), is_domain ? domain : key))
            return true;
    }
    return false;
}

static bool may_send(const struct lookup *l, str user, str key, str domain, const struct found *f) {
    struct directory_entry account;
    if (!user.n || !directory_account(l->d, user, &account))
        return false;
    if (f->account && str_eq(f->account->key, account.key))
        return true;
    if (listed(fields_get(account.fields, S("senders")), key, domain, true))
        return true;
    return f->alias && (listed(fields_get(f->alias->fields, S("to")), account.key, STR_NONE, false) ||
                        listed(fields_get(f->alias->fields, S("senders")), account.key, STR_NONE, false));
}

/* ---- the answer ---- */

/* The address as a key, with the first local domain when it has none. */
static bool full_key(const struct directory *d, str address, struct buf *key, str *local, str *domain) {
    if (address.n > ADDRESS_MAX || address_key(address, key))
        return false;
    if (!address_cut(buf_str(key), local, domain)) {
        str first = first_domain(d);
        if (!first.n)
            return false;
        buf_char(key, '@');
        buf_add(key, first);
    }
    return !key->full && address_cut(buf_str(key), local, domain);
}

void directory_lookup(const struct directory *d, str address, str user, struct arena *a, struct directory_answer *out) {
    char room[KEY_MAX];
    struct buf key = {.p = room, .cap = sizeof(room), .limit = sizeof(room)};
    struct lookup l = {d, a, out};
    struct found f = {0};
    str local, domain, detail = STR_NONE;
    *out = (struct directory_answer){.address = arena_str(a, str_head(address, ADDRESS_MAX))};
    if (!full_key(d, address, &key, &local, &domain))
        return;
    const struct directory_item *there = domain_item(d, domain), *home = there;
    if (there && find_anywhere(d, local, &there, &detail, &f)) {
        answer_found(&l, &f);
        out->detail = arena_str(a, detail);
        if (there != home && f.account && !f.alias)
            via(&l, "alias_of ", there->key);
    } else if (home && !answer_missing(&l, buf_str(&key), local, home)) {
        out->status = DIRECTORY_UNKNOWN;
    }
    out->may_send = may_send(&l, user, buf_str(&key), domain, &f);
}

bool directory_account(const struct directory *d, str name, struct directory_entry *e) {
    char room[KEY_MAX];
    struct buf key = {.p = room, .cap = sizeof(room), .limit = sizeof(room)};
    str local, domain;
    struct found f;
    if (!full_key(d, name, &key, &local, &domain))
        return false;
    const struct directory_item *home = domain_item(d, domain);
    for (unsigned depth = 0; home && depth < DOMAIN_DEPTH_MAX; depth++) {
        if (find_address(d, local, home->key, &f) && f.account)
            return directory_get(d, DIRECTORY_ACCOUNT, f.account->key, e);
        home = alias_of(d, home);
    }
    return false;
}

/* ---- on the wire ---- */

void directory_answer_put(struct buf *out, const struct directory_answer *a) {
    struct buf targets = BUF(2 * DIRECTORY_TARGETS_MAX);
    for (size_t i = 0; i < a->target_count; i++) {
        buf_add(&targets, i ? S(" ") : S(""));
        buf_add(&targets, a->targets[i]); /* whatever is in it */
    }
    buf_u8(out, (uint8_t)a->status);
    buf_u8(out, (uint8_t)(a->keep | a->may_send << 1 | a->full << 2));
    buf_u64(out, a->num);
    buf_u64(out, a->messages_hour);
    buf_u64(out, a->messages_day);
    buf_u64(out, a->recipients_hour);
    buf_u64(out, a->recipients_day);
    buf_lstr(out, a->address);
    buf_lstr(out, a->account);
    buf_lstr(out, a->detail);
    buf_lstr(out, a->via);
    buf_lstr(out, buf_str(&targets));
    buf_free(&targets);
}

static str take_text(str *s, struct arena *a, bool *good) {
    str text = STR_NONE;
    *good = *good && take_lstr(s, &text);
    return *good ? arena_str(a, text) : STR_NONE;
}

enum err directory_answer_take(str bytes, struct arena *a, struct directory_answer *out) {
    uint8_t status = 0, flags = 0;
    struct lookup l = {NULL, a, out};
    *out = (struct directory_answer){0};
    bool good = take_u8(&bytes, &status) && take_u8(&bytes, &flags) && take_u64(&bytes, &out->num) &&
                take_u64(&bytes, &out->messages_hour) && take_u64(&bytes, &out->messages_day) &&
                take_u64(&bytes, &out->recipients_hour) && take_u64(&bytes, &out->recipients_day);
    out->address = take_text(&bytes, a, &good);
    out->account = take_text(&bytes, a, &good);
    out->detail = take_text(&bytes, a, &good);
    out->via = take_text(&bytes, a, &good);
    str targets = take_text(&bytes, a, &good);
    if (!good || bytes.n || status > DIRECTORY_IS_ALIAS || flags > 7)
        return ERR_CORRUPT;
    out->status = status;
    out->keep = flags & 1;
    out->may_send = flags & 2;
    out->full = flags & 4;
    answer_targets(&l, targets);
    return a->full ? ERR_NOMEM : OK;
}
