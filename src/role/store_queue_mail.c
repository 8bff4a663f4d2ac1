#include "role/store_queue_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- mails ---- */

struct mail *sq_mail_new(struct store_queue *q, uint64_t num, const struct journal_place *place) {
    struct mail *m = map_get(&q->mails, num);
    if (m)
        return m;
    m = calloc(1, sizeof(*m));
    assert(m); /* better to end and to load again than to forget one */
    m->num = num;
    m->place = *place;
    list_init(&m->owed);
    list_init(&m->due);
    list_init(&m->jobs);
    bool put = map_put(&q->mails, num, m);
    assert(put);
    return m;
}

void sq_fresh_drop(struct store_queue *q, struct mail *m) {
    struct fresh *f = m->fresh;
    if (!f)
        return;
    m->fresh = NULL;
    q->fresh_bytes -= f->bytes;
    list_remove(&f->node);
    buf_free(&f->body);
    free(f);
}

/* The oldest are delivered next: they stay, unless their site lets them wait. */
static bool fresh_room(struct store_queue *q, size_t bytes, uint64_t now_ms) {
    while (q->fresh_bytes + bytes > FRESH_MAX) {
        struct fresh *oldest = list_empty(&q->fresh) ? NULL : LIST_ENTRY(list_first(&q->fresh), struct fresh, node);
        if (!oldest || now_ms < oldest->since_ms + FRESH_MS)
            return false;
        sq_fresh_drop(q, oldest->mail);
    }
    return true;
}

void sq_fresh_keep(struct store_queue *q, struct mail *m, const struct store_accepted *a) {
    size_t n = ID_SIZE + a->envelope_bytes.n;
    uint64_t now = sq_now(q);
    if (!a->body || a->body->n > JOB_WINDOW || !m->entries || !fresh_room(q, n + a->body->cap, now))
        return;
    struct fresh *f = calloc(1, sizeof(*f) + n);
    if (!f)
        return;
    memcpy(f->space, a->id.p, ID_SIZE);
    memcpy(f->space + ID_SIZE, a->envelope_bytes.p, a->envelope_bytes.n);
    f->mail = m;
    f->body = *a->body;
    *a->body = BUF(0);
    f->bytes = n + f->body.cap;
    f->since_ms = now;
    f->record = (struct record){.id = str_n(f->space, ID_SIZE),
                                .size = f->body.n,
                                .envelope = str_n(f->space + ID_SIZE, a->envelope_bytes.n),
                                .bytes = buf_str(&f->body)};
    m->fresh = f;
    list_add_tail(&q->fresh, &f->node);
    q->fresh_bytes += f->bytes;
}

void sq_mail_settle(struct store_queue *q, struct mail *m) {
    if (m->entries || m->holds || !list_empty(&m->owed))
        return;
    (void)map_remove(&q->mails, m->num);
    if (m->id)
        (void)map_remove_str(&q->ids, str_n(m->id, ID_SIZE));
    list_remove(&m->due);
    sq_fresh_drop(q, m);
    free(m->id);
    free(m);
}

void sq_owed_free(struct owed *o) {
    list_remove(&o->node);
    free(o);
}

static struct owed *owed_find(struct mail *m, uint32_t index, bool late) {
    LIST_EACH(&m->owed, node) {
        struct owed *o = LIST_ENTRY(node, struct owed, node);
        if (o->index == index && (o->what == JOB_LATE) == late)
            return o;
    }
    return NULL;
}

void sq_owe(struct store_queue *q, struct mail *m, uint32_t index, enum job_outcome what, uint32_t code, str text,
            str host, uint64_t at_ms) {
    text = str_head(text, TEXT_MAX);
    host = str_head(host, TEXT_MAX);
    struct owed *o = calloc(1, sizeof(*o) + text.n + host.n);
    assert(o);
    *o = (struct owed){.index = index, .code = code, .what = what, .at_ms = at_ms};
    if (text.n)
        memcpy(o->space, text.p, text.n);
    if (host.n)
        memcpy(o->space + text.n, host.p, host.n);
    o->text = str_n(o->space, text.n);
    o->host = str_n(o->space + text.n, host.n);
    list_add_tail(&m->owed, &o->node);
    if (list_empty(&m->due) && !m->reporting)
        list_add_tail(&q->due, &m->due);
    q->ops.soon(q->arg);
}

/* It is over in another way than its sender was to be told. */
void sq_forget_owed(struct mail *m, uint32_t index, bool late) {
    struct owed *o = owed_find(m, index, late);
    if (o)
        sq_owed_free(o);
    if (list_empty(&m->owed))
        list_remove(&m->due);
}
/* ---- entries ---- */

void sq_enter(struct store_queue *q, struct mail *m, const struct queue_entry *e) {
    enum err err = queue_add(q->queue, e, sq_now(q));
    assert(err == OK || err == ERR_EXISTS);
    m->entries += err == OK;
}

void sq_leave(struct store_queue *q, struct mail *m, uint32_t index) {
    if (queue_remove(q->queue, m->num, index))
        m->entries--;
}

uint64_t sq_expiry(const struct store_queue *q, uint64_t given_ms, uint64_t created_ms, str sender) {
    return given_ms ? given_ms : created_ms + (sender.n ? q->conf->queue_expire : q->conf->queue_bounce_expire);
}
