#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/envelope.h"
#include "store/store_impl.h"

/* ---- items of the group ---- */

static enum journal_type type_of(enum item_kind kind) {
    return kind == ITEM_INTENT ? JOURNAL_INTENT : kind == ITEM_OUTCOME ? JOURNAL_OUTCOME : JOURNAL_ACTED;
}

static enum op_kind op_of(enum item_kind kind) {
    return kind == ITEM_INTENT ? OP_INTENT : kind == ITEM_OUTCOME ? OP_OUTCOME : OP_ACTED;
}

enum err deliver_add(struct store *s, struct item *i, struct why *w) {
    struct iovec part = {i->body.p, i->body.n};
    return journal_add(s->journal, type_of(i->kind), &part, 1, &i->place, w);
}

static struct item *body_item(struct store *s, enum item_kind kind, void *owner) {
    struct item *i = calloc(1, sizeof(*i));
    if (!i)
        return NULL;
    i->kind = kind;
    i->owner = owner;
    i->body = BUF(journal_record_max(s->journal));
    return i;
}

static void item_free(struct item *i) {
    buf_free(&i->body);
    free(i);
}

static enum err wait_for(struct store *s, struct item *i) {
    if (i->body.full) {
        item_free(i);
        return ERR_LIMIT;
    }
    store_wait(s, i);
    return OK;
}

enum err store_intent(struct store *s, void *owner, const struct intent *intent) {
    struct item *i = body_item(s, ITEM_INTENT, owner);
    if (!i)
        return ERR_NOMEM;
    intent_put(&i->body, intent);
    return wait_for(s, i);
}

enum err store_outcome(struct store *s, void *owner, const struct outcome *o) {
    struct item *i = body_item(s, ITEM_OUTCOME, owner);
    if (!i)
        return ERR_NOMEM;
    outcome_put(&i->body, o);
    return wait_for(s, i);
}

/* The body goes with the op. */
static void push_body(struct store *s, struct item *i) {
    struct op *o = op_new(op_of(i->kind), 0);
    assert(o);
    o->bytes = i->body;
    o->bytes.limit = 64 * 1024 * 1024;
    i->body = BUF(0);
    store_push(s, o, &i->place);
}

static void finish_intent(struct store *s, struct item *i, enum err e) {
    if (!e)
        push_body(s, i);
    s->ops.intent_done(s->arg, i->owner, e, i->place.seq);
    item_free(i);
}

/* What came of an attempt must be kept: until it is, nobody is told, and the recipient is not tried again. */
static void finish_outcome(struct store *s, struct item *i, enum err e) {
    if (e && !s->closing) {
        list_add_tail(&s->refused, &i->node);
        return;
    }
    if (!e) {
        push_body(s, i);
        s->ops.outcome_done(s->arg, i->owner);
    }
    item_free(i);
}

static void finish_acted(struct store *s, struct item *i, enum err e, const char *text) {
    struct request *r = i->request;
    struct acted a;
    if (!e && s->ops.acted && acted_take(buf_str(&i->body), &a) == OK)
        s->ops.acted(s->arg, &a);
    if (!e)
        push_body(s, i);
    if (e && !r->failed)
        request_fail(r, e, text);
    if (i->last && r->failed)
        store_answer(s, r);
    else if (i->last)
        store_hold_request(s, r, i->place.seq);
    item_free(i);
}

void deliver_finish(struct store *s, struct item *i, enum err e, const char *text) {
    switch ((int)i->kind) {
    case ITEM_INTENT: finish_intent(s, i, e); break;
    case ITEM_OUTCOME: finish_outcome(s, i, e); break;
    case ITEM_ACTED: finish_acted(s, i, e, text); break;
    }
}

void deliver_again(struct store *s) {
    LIST_EACH_SAFE(&s->refused, node) {
        list_remove(node);
        store_wait(s, LIST_ENTRY(node, struct item, node));
    }
}

void deliver_drop(struct store *s) {
    LIST_EACH_SAFE(&s->refused, node) {
        list_remove(node);
        item_free(LIST_ENTRY(node, struct item, node));
    }
}

/* ---- acceptance ---- */

void deliver_accepted(struct store *s, struct store_mail *m) {
    struct envelope v;
    if (s->ops.accepted && envelope_take(buf_str(&m->envelope), &s->arena, &v) == OK) {
        struct store_accepted a = {.num = m->item.place.seq,
                                   .created_ms = m->created_ms,
                                   .size = m->size,
                                   .id = str_n(m->id, ID_SIZE),
                                   .place = m->item.place,
                                   .envelope = &v,
                                   .envelope_bytes = buf_str(&m->envelope),
                                   .body = m->big ? NULL : &m->body};
        size_t before = m->body.cap;
        s->ops.accepted(s->arg, &a);
        s->memory -= before - m->body.cap;
    }
    arena_reset(&s->arena);
}

/* ---- operators ---- */

static void act_piece(struct store *s, struct request *r, str pairs, bool last) {
    struct item *i = body_item(s, ITEM_ACTED, NULL);
    assert(i); /* half of an act would be worse than a restart */
    struct acted a = {.action = (enum queue_action)r->action, .at_ms = store_now_ms(), .pairs = pairs};
    acted_put(&i->body, &a);
    assert(!i->body.full);
    i->request = r;
    i->last = last;
    store_wait(s, i);
}

/* Waiting or on its way: the queue's host knows. */
static void keep_those_in_state(struct store *s, struct request *r) {
    struct buf kept = BUF(r->nums.limit);
    uint64_t num = 0;
    uint32_t index = 0;
    if (!s->ops.is_active || (r->state_wanted != QUEUE_ACTIVE && r->state_wanted != QUEUE_WAITING))
        return;
    for (str p = buf_str(&r->nums); take_u64(&p, &num) && take_u32(&p, &index);)
        if (s->ops.is_active(s->arg, num, index) == (r->state_wanted == QUEUE_ACTIVE)) {
            buf_u64(&kept, num);
            buf_u32(&kept, index);
        }
    buf_free(&r->nums);
    r->nums = kept;
}

/* r->nums: what the reader found. */
void deliver_act(struct store *s, struct request *r) {
    size_t piece = s->options.segment_size / 8 / ACTED_PAIR * ACTED_PAIR;
    keep_those_in_state(s, r);
    str pairs = buf_str(&r->nums);
    r->stage = 1;
    r->count = pairs.n / ACTED_PAIR;
    for (; pairs.n > piece; pairs = str_tail(pairs, piece))
        act_piece(s, r, str_head(pairs, piece), false);
    act_piece(s, r, pairs, true);
}

/* ---- at the start ---- */

enum err store_deliveries(struct store *s, db_delivery_each *each, void *arg, struct why *w) {
    struct db *db = NULL;
    enum err e = db_open(&db, s->db_path, DB_READ, w);
    if (!e)
        e = db_deliveries(db, DB_OPEN, 0, UINT32_MAX, each, arg, w);
    db_close(db);
    return e;
}

enum err store_intents(struct store *s, db_intent_each *each, void *arg, struct why *w) {
    struct db *db = NULL;
    enum err e = db_open(&db, s->db_path, DB_READ, w);
    if (!e)
        e = db_intents(db, each, arg, w);
    db_close(db);
    return e;
}

void store_read(struct store *s, struct task *t) {
    worker_push(&s->bodies, t);
}
