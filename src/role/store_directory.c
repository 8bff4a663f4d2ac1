#include "role/store_directory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/fields.h"
#include "base/list.h"
#include "frame/job.h"
#include "policy/limits.h"

enum {
    KEY_MAX = 1024,
    FIELDS_MAX = FRAME_CHUNK - 2 * KEY_MAX,
    LIST_MAX = 4 * 1024 * 1024, /* bytes of one answer to ENTRY_LIST */
    LOOKUP_MAX = 1024 * 1024,
};

struct store_directory {
    struct store_directory_ops ops;
    void *arg;
    struct directory *directory;
    struct limits *limits;
    struct store *store;
    struct list waiting, running; /* struct change */
    struct arena arena;           /* of one lookup */
    struct buf out;
};

/* What was asked, then what it comes to. */
struct change {
    struct list node;
    void *peer; /* NULL: it has gone */
    uint32_t tag;
    enum directory_kind kind;
    bool remove;
    uint8_t how;
    struct buf key, fields;
};

struct store_directory *store_directory_new(const struct store_directory_ops *ops, void *arg, uint64_t seed) {
    struct store_directory *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->ops = *ops;
    s->arg = arg;
    s->arena = ARENA(LOOKUP_MAX);
    s->out = BUF(LOOKUP_MAX);
    list_init(&s->waiting);
    list_init(&s->running);
    s->directory = directory_new(seed);
    s->limits = limits_new(seed);
    if (s->directory && s->limits)
        return s;
    store_directory_free(s);
    return NULL;
}

static void change_free(struct change *c) {
    list_remove(&c->node);
    buf_free(&c->key);
    buf_wipe(&c->fields);
    free(c);
}

static void changes_free(struct list *l) {
    LIST_EACH_SAFE(l, node)
    change_free(LIST_ENTRY(node, struct change, node));
}

void store_directory_free(struct store_directory *s) {
    if (!s)
        return;
    changes_free(&s->waiting);
    changes_free(&s->running);
    directory_free(s->directory);
    limits_free(s->limits);
    arena_free(&s->arena);
    buf_wipe(&s->out);
    free(s);
}

struct directory *store_directory_entries(const struct store_directory *s) {
    return s->directory;
}

void store_directory_attach(struct store_directory *s, struct store *store) {
    s->store = store;
}

enum err store_directory_configure(struct store_directory *s, const struct conf *c, struct why *w) {
    enum err e = directory_conf(s->directory, c, w);
    if (!e)
        s->ops.changed(s->arg);
    return e;
}

/* ---- answers from memory ---- */

static void lookup(struct store_directory *s, void *peer, const struct frame_lookup *f) {
    struct directory_answer answer;
    directory_lookup(s->directory, f->address, f->user, &s->arena, &answer);
    buf_reset(&s->out);
    directory_answer_put(&s->out, &answer);
    struct frame out = {.type = FRAME_LOOKED_UP, .looked_up = {f->tag, buf_str(&s->out)}};
    s->ops.send(peer, &out);
    arena_reset(&s->arena);
}

static void limit_take(struct store_directory *s, void *peer, const struct frame_limit_take *f) {
    struct directory_answer a;
    struct why w = {{0}};
    enum err e;
    directory_lookup(s->directory, f->account, STR_NONE, &s->arena, &a);
    if (a.account.n) {
        struct limits_max max = {a.messages_hour, a.messages_day, a.recipients_hour, a.recipients_day};
        e = limits_take(s->limits, a.account, &max, s->ops.now_ms(s->arg), f->messages, f->recipients, &w);
    } else {
        e = why(&w, ERR_DENIED, "this account is no longer here");
    }
    struct frame out = {.type = FRAME_LIMIT_TAKEN, .limit_taken = {f->tag, (uint8_t)e, str_of(e ? w.text : "")}};
    s->ops.send(peer, &out);
    arena_reset(&s->arena);
}

static bool is_secret(enum directory_kind kind, str name) {
    return kind == DIRECTORY_ACCOUNT && (str_eq(name, S("password")) || str_starts(name, S("app.")));
}

/* The account's own password first, then those of its apps: one credential a line (mailauth/credential.h). */
static void put_credentials(struct buf *out, str fields) {
    str name, value;
    buf_add(out, fields_get(fields, S("password")));
    while (fields_take(&fields, &name, &value))
        if (str_starts(name, S("app.")) && out->n + value.n + 1 < FIELDS_MAX) {
            buf_add(out, out->n ? S("\n") : S(""));
            buf_add(out, value);
        }
}

static void credential(struct store_directory *s, void *peer, const struct frame_credential_ask *f) {
    struct directory_entry e;
    buf_reset(&s->out);
    if (directory_account(s->directory, f->user, &e))
        put_credentials(&s->out, e.fields);
    struct frame out = {.type = FRAME_CREDENTIAL, .credential = {f->tag, ERR_NOT_FOUND, STR_NONE, STR_NONE}};
    if (s->out.n)
        out.credential = (struct frame_credential){f->tag, OK, e.key, buf_str(&s->out)};
    s->ops.send(peer, &out);
    buf_wipe(&s->out);
    s->out = BUF(LOOKUP_MAX);
}

/* ---- reading entries ---- */

/* That there is a password may be known, which one may not. */
static void put_fields(struct buf *out, const struct directory_entry *e) {
    str name, value;
    for (str rest = e->fields; fields_take(&rest, &name, &value);)
        fields_put(out, name, is_secret(e->kind, name) ? S("set") : value);
    if (e->from_conf)
        fields_put(out, S("configured"), S("yes"));
}

static size_t send_entry(struct store_directory *s, void *peer, uint32_t tag, const struct directory_entry *e) {
    buf_reset(&s->out);
    put_fields(&s->out, e);
    struct frame out = {.type = FRAME_ENTRY, .entry = {tag, (uint8_t)e->kind, e->key, buf_str(&s->out)}};
    s->ops.send(peer, &out);
    return s->out.n;
}

static void send_done(struct store_directory *s, void *peer, uint32_t tag, uint64_t count) {
    struct frame out = {.type = FRAME_DONE, .done = {.tag = tag, .count = count}};
    s->ops.send(peer, &out);
}

static void send_failed(struct store_directory *s, void *peer, uint32_t tag, enum err e, const struct why *w) {
    struct frame out = {.type = FRAME_FAILED, .failed = {tag, (uint8_t)e, str_of(w->text)}};
    s->ops.send(peer, &out);
}

static bool kind_good(uint8_t kind) {
    return kind >= DIRECTORY_DOMAIN && kind <= DIRECTORY_TOKEN;
}

static void fail_kind(struct store_directory *s, void *peer, uint32_t tag) {
    struct why w;
    enum err e = why(&w, ERR_SYNTAX, "no such kind of entry");
    send_failed(s, peer, tag, e, &w);
}

static void entry_list(struct store_directory *s, void *peer, const struct frame_entry_list *f) {
    struct directory_entry e = {.key = f->after};
    uint64_t count = 0;
    size_t sent = 0;
    if (!kind_good(f->kind)) {
        fail_kind(s, peer, f->tag);
        return;
    }
    while ((!f->limit || count < f->limit) && sent < LIST_MAX &&
           directory_next(s->directory, (enum directory_kind)f->kind, f->prefix, e.key, &e)) {
        sent += send_entry(s, peer, f->tag, &e);
        count++;
    }
    send_done(s, peer, f->tag, count);
}

static void entry_get(struct store_directory *s, void *peer, const struct frame_entry_get *f) {
    struct directory_entry e;
    struct why w;
    if (!kind_good(f->kind)) {
        fail_kind(s, peer, f->tag);
    } else if (directory_get(s->directory, (enum directory_kind)f->kind, f->key, &e)) {
        send_entry(s, peer, f->tag, &e);
        send_done(s, peer, f->tag, 1);
    } else {
        enum err missing =
            why(&w, ERR_NOT_FOUND, "there is no such %s", directory_kind_name((enum directory_kind)f->kind));
        send_failed(s, peer, f->tag, missing, &w);
    }
}

/* ---- changing entries ---- */

static bool same_entry(const struct change *a, const struct change *b) {
    return a->kind == b->kind && str_eq(buf_str(&a->key), buf_str(&b->key));
}

/* Checks look at the entry itself and at domains: what may still change those must be done before. */
static bool must_wait(const struct store_directory *s, const struct change *c) {
    LIST_EACH(&s->running, node) {
        const struct change *other = LIST_ENTRY(node, struct change, node);
        if (c->kind == DIRECTORY_DOMAIN || other->kind == DIRECTORY_DOMAIN || same_entry(c, other))
            return true;
    }
    return false;
}

static enum err check(struct store_directory *s, struct change *c, struct why *w) {
    struct buf key = BUF(KEY_MAX), fields = BUF(FIELDS_MAX);
    enum err e = c->remove ? directory_check_remove(s->directory, c->kind, buf_str(&c->key), &key, w)
                           : directory_check_put(s->directory, c->kind, buf_str(&c->key), buf_str(&c->fields), c->how,
                                                 &key, &fields, w);
    buf_free(&c->key);
    buf_wipe(&c->fields);
    c->key = key;
    c->fields = fields;
    return e;
}

static void start(struct store_directory *s, struct change *c) {
    struct why w = {{0}};
    enum err e = check(s, c, &w);
    if (!e) {
        e = store_entry(s->store, c, (uint8_t)c->kind, buf_str(&c->key), buf_str(&c->fields), c->remove);
        if (e)
            e = why(&w, e, "no memory");
    }
    list_remove(&c->node);
    if (!e) {
        list_add_tail(&s->running, &c->node);
        return;
    }
    if (c->peer)
        send_failed(s, c->peer, c->tag, e, &w);
    change_free(c);
}

static void start_waiting(struct store_directory *s) {
    while (!list_empty(&s->waiting)) {
        struct change *c = LIST_ENTRY(list_first(&s->waiting), struct change, node);
        if (must_wait(s, c))
            return;
        start(s, c);
    }
}

static void change(struct store_directory *s, void *peer, uint32_t tag, uint8_t kind, str key, str fields, uint8_t how,
                   bool remove) {
    struct why w;
    if (!kind_good(kind)) {
        fail_kind(s, peer, tag);
        return;
    }
    struct change *c = calloc(1, sizeof(*c));
    if (!c) {
        enum err e = why(&w, ERR_NOMEM, "no memory");
        send_failed(s, peer, tag, e, &w);
        return;
    }
    *c = (struct change){.peer = peer, .tag = tag, .kind = (enum directory_kind)kind, .remove = remove, .how = how};
    c->key = BUF(KEY_MAX);
    c->fields = BUF(FRAME_MAX);
    list_init(&c->node);
    list_add_tail(&s->waiting, &c->node);
    buf_add(&c->fields, fields);
    enum err e = directory_key(c->kind, key, &c->key, &w);
    if (e) {
        send_failed(s, peer, tag, e, &w);
        change_free(c);
        return;
    }
    start_waiting(s);
}

void store_directory_entry_done(struct store_directory *s, void *owner, uint64_t num) {
    struct change *c = owner;
    if (c->remove)
        (void)directory_remove(s->directory, c->kind, buf_str(&c->key));
    else {
        enum err e = directory_put(s->directory, c->kind, buf_str(&c->key), buf_str(&c->fields), num);
        assert(e == OK); /* memory that says something else than the disk is worse than a restart */
    }
    if (c->kind != DIRECTORY_TOKEN)
        s->ops.changed(s->arg);
    if (c->peer)
        send_done(s, c->peer, c->tag, 1);
    change_free(c);
    start_waiting(s);
}

static void forget_in(struct list *l, const void *peer) {
    LIST_EACH(l, node) {
        struct change *c = LIST_ENTRY(node, struct change, node);
        if (c->peer == peer)
            c->peer = NULL;
    }
}

void store_directory_forget(struct store_directory *s, void *peer) {
    forget_in(&s->waiting, peer);
    forget_in(&s->running, peer);
}

/* ---- frames ---- */

bool store_directory_wants(enum frame_type type) {
    static const enum frame_type types[] = {FRAME_LOOKUP,    FRAME_LIMIT_TAKE,   FRAME_CREDENTIAL_ASK, FRAME_ENTRY_LIST,
                                            FRAME_ENTRY_GET, FRAME_ENTRY_DELETE, FRAME_ENTRY_PUT};
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
        if (types[i] == type)
            return true;
    return false;
}

void store_directory_frame(struct store_directory *s, void *peer, const struct frame *f) {
    const struct frame_entry_put *put = &f->entry_put;
    const struct frame_entry_delete *gone = &f->entry_delete;
    switch ((int)f->type) {
    case FRAME_LOOKUP: lookup(s, peer, &f->lookup); return;
    case FRAME_LIMIT_TAKE: limit_take(s, peer, &f->limit_take); return;
    case FRAME_CREDENTIAL_ASK: credential(s, peer, &f->credential_ask); return;
    case FRAME_ENTRY_LIST: entry_list(s, peer, &f->entry_list); return;
    case FRAME_ENTRY_GET: entry_get(s, peer, &f->entry_get); return;
    case FRAME_ENTRY_PUT: change(s, peer, put->tag, put->kind, put->key, put->fields, put->how, false); return;
    case FRAME_ENTRY_DELETE: change(s, peer, gone->tag, gone->kind, gone->key, STR_NONE, 0, true); return;
    default: assert(!"a frame it does not want");
    }
}

/* What went into mailboxes counts against their quotas at once; the database's own sums are read at the next start. */
void store_directory_accepted(struct store_directory *s, const struct store_accepted *a) {
    const struct envelope *v = a->envelope;
    uint64_t size = v->edited_size ? v->edited_size : a->size;
    for (size_t i = 0; i < v->delivery_count; i++)
        if (v->deliveries[i].kind == JOB_MAILBOX)
            directory_used_more(s->directory, v->deliveries[i].target, size);
}
