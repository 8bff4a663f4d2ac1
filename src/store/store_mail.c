#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/envelope.h"
#include "store/store_impl.h"

enum { HINT_EVERY = 4 * 1024 * 1024, ENVELOPE_MAX = 16 * 1024 * 1024 };

void big_path(const struct store *s, uint64_t big, char path[JOURNAL_PATH]) {
    snprintf(path, JOURNAL_PATH, "%.480s/%016llx", s->big_dir, (unsigned long long)big);
}

static void fault(struct store_mail *m, enum err e, const char *text) {
    if (m->fault)
        return;
    m->fault = e;
    (void)why(&m->why, e, "%s", text);
}

/* One of the mail's buffers has changed its size. */
static void count_memory(struct store_mail *m, const struct buf *b, size_t before) {
    m->store->memory += b->cap;
    m->store->memory -= before;
}

static void counted_free(struct store_mail *m, struct buf *b) {
    size_t before = b->cap;
    buf_free(b);
    count_memory(m, b, before);
}

static void mail_free(struct store_mail *m) {
    counted_free(m, &m->body);
    counted_free(m, &m->envelope);
    counted_free(m, &m->transcript);
    buf_free(&m->head);
    buf_free(&m->sums);
    free(m);
}

static void big_close(struct store_mail *m) {
    if (m->fd >= 0)
        m->store->disk->ops->close(m->store->disk, m->fd);
    m->fd = -1;
}

static void big_drop(struct store_mail *m) {
    if (!m->big)
        return;
    char path[JOURNAL_PATH];
    big_path(m->store, m->big, path);
    big_close(m);
    (void)m->store->disk->ops->unlink(m->store->disk, path); /* what stays is a stray, found at the next start */
}

/* ---- bytes ---- */

static void big_write(struct store_mail *m, str bytes) {
    char path[JOURNAL_PATH];
    struct disk *d = m->store->disk;
    big_path(m->store, m->big, path);
    struct iovec part = {(void *)bytes.p, bytes.n};
    enum err e = disk_write(d, m->fd, &part, 1, m->size, path, &m->why);
    if (e)
        m->fault = e;
    while (bytes.n) { /* a checksum for each block, as readers read them */
        size_t room = RECORD_BLOCK - m->size % RECORD_BLOCK;
        str piece = str_head(bytes, room);
        m->block_sum = crc32c(m->block_sum, piece);
        m->size += piece.n;
        bytes = str_tail(bytes, piece.n);
        if (piece.n == room) {
            buf_u32(&m->sums, m->block_sum);
            m->block_sum = 0;
        }
    }
    if (m->size - m->hinted >= HINT_EVERY) {
        d->ops->hint(d, m->fd);
        m->hinted = m->size;
    }
}

/* From memory into a file of its own. */
static void go_big(struct store_mail *m) {
    struct store *s = m->store;
    char path[JOURNAL_PATH];
    m->big = ++s->big_counter;
    big_path(s, m->big, path);
    enum err e = disk_open(s->disk, path, O_RDWR | O_CREAT | O_EXCL, &m->fd, &m->why);
    if (e) {
        m->fault = e;
        m->big = 0;
    } else {
        m->size = 0;
        big_write(m, buf_str(&m->body));
    }
    counted_free(m, &m->body);
}

struct store_mail *store_mail_begin(struct store *s, void *owner, str id, uint64_t size_hint) {
    struct store_mail *m = calloc(1, sizeof(*m));
    if (!m)
        return NULL;
    m->store = s;
    m->owner = owner;
    m->fd = -1;
    m->size_hint = size_hint;
    m->created_ms = store_now_ms();
    m->body = BUF(s->options.big_min);
    m->envelope = m->transcript =
        BUF(s->options.segment_size / 4 < ENVELOPE_MAX ? s->options.segment_size / 4 : ENVELOPE_MAX);
    m->head = BUF(RECORD_HEAD_MAX + sizeof(m->session));
    m->sums = BUF(1024 * 1024);
    list_init(&m->item.node);
    if (id_valid(id))
        memcpy(m->id, id.p, ID_SIZE);
    else
        fault(m, ERR_SYNTAX, "a message without a valid id");
    return m;
}

void store_mail_body(struct store_mail *m, str bytes) {
    struct store *s = m->store;
    assert(!m->committing);
    if (m->fault || bytes.n == 0)
        return;
    store_came(s, bytes.n);
    if (s->exhausted) {
        fault(m, ERR_FULL, "no space for mail");
        return;
    }
    if (m->size + bytes.n > s->options.message_max + s->options.message_max / 8 + 65536) {
        fault(m, ERR_LIMIT, "the message is larger than allowed");
        return;
    }
    bool too_big = m->size_hint >= s->options.big_min || m->size + bytes.n > s->options.big_min;
    if (!m->big && (too_big || s->memory + bytes.n > s->options.memory_budget))
        go_big(m);
    if (m->fault)
        return;
    if (m->big) {
        big_write(m, bytes);
        return;
    }
    size_t before = m->body.cap;
    if (m->size == 0 && m->size_hint > bytes.n)
        (void)buf_room(&m->body, m->size_hint);
    m->body.full = false; /* the hint is only a hint */
    buf_add(&m->body, bytes);
    count_memory(m, &m->body, before);
    m->size += bytes.n;
    if (m->body.full)
        fault(m, ERR_NOMEM, "no memory for the message");
}

/* Bodies go to files when memory is short; these cannot, so twice the budget is the end. */
static void beside_add(struct store_mail *m, struct buf *b, str bytes) {
    struct store *s = m->store;
    size_t before = b->cap;
    if (s->memory + bytes.n > 2 * s->options.memory_budget)
        fault(m, ERR_FULL, "too much mail is on its way");
    if (m->fault)
        return;
    buf_add(b, bytes);
    count_memory(m, b, before);
}

void store_mail_envelope(struct store_mail *m, str bytes) {
    beside_add(m, &m->envelope, bytes);
}

void store_mail_transcript(struct store_mail *m, str bytes) {
    beside_add(m, &m->transcript, bytes);
}

/* ---- the end ---- */

void mail_answer(struct store_mail *m, enum err e, const char *text) {
    struct store *s = m->store;
    bool may_return = m->item.place.seq && journal_unsure(s->journal); /* then not without its file: a stray, for now */
    if (e && !may_return)
        big_drop(m);
    else if (!e && m->big)
        s->big_bytes += m->size;
    s->ops.mail_done(s->arg, m->owner, e, text);
    mail_free(m);
}

static void read_envelope(struct store_mail *m) {
    struct envelope v;
    enum err e = envelope_take(buf_str(&m->envelope), &m->store->arena, &v);
    if (e)
        fault(m, e, "the envelope cannot be read");
    else {
        m->session_n = v.session.n < sizeof(m->session) ? v.session.n : 0;
        if (m->session_n)
            memcpy(m->session, v.session.p, m->session_n);
        if (v.received_us)
            m->created_ms = v.received_us / 1000;
        m->routed = v.delivery_count || v.report_of.n;
        m->captured = envelope_captured(&v);
    }
    arena_reset(&m->store->arena);
}

static void make_head(struct store_mail *m) {
    struct record r = {.id = str_n(m->id, ID_SIZE),
                       .session = str_n(m->session, m->session_n),
                       .created_ms = m->created_ms,
                       .size = m->size,
                       .big = m->big};
    record_put_head(&m->head, &r, (uint32_t)m->envelope.n, (uint32_t)m->transcript.n);
}

void mail_parts(struct store_mail *m, struct iovec parts[4]) {
    struct buf *bytes = m->big ? &m->sums : &m->body;
    struct buf *all[4] = {&m->head, &m->envelope, &m->transcript, bytes};
    for (int i = 0; i < 4; i++)
        parts[i] = (struct iovec){all[i]->p, all[i]->n};
}

struct op *mail_op(struct store_mail *m) {
    struct op *o = op_new(OP_ACCEPTED, ID_SIZE + m->session_n);
    if (!o)
        return NULL;
    size_t used = 0;
    o->message.num = m->item.place.seq;
    o->message.id = op_text(o, &used, str_n(m->id, ID_SIZE));
    o->message.session = op_text(o, &used, str_n(m->session, m->session_n));
    o->message.created_ms = m->created_ms;
    o->message.size = m->size;
    o->message.big = m->big;
    o->message.place = m->item.place;
    if (m->routed) { /* theirs from now on */
        m->store->memory -= m->envelope.cap + m->transcript.cap;
        o->envelope = m->envelope;
        o->transcript = m->transcript;
        m->envelope = m->transcript = BUF(0);
    }
    return o;
}

static struct store_mail *of_task(struct task *t) {
    return (struct store_mail *)((char *)t - offsetof(struct store_mail, task));
}

/* In a thread: its bytes, and its name in the directory, reach stable storage before the journal speaks of them. */
static void big_sync(struct task *t, void *context) {
    struct store_mail *m = of_task(t);
    struct store *s = context;
    char path[JOURNAL_PATH];
    big_path(s, m->big, path);
    enum err e = disk_sync(s->disk, m->fd, path, &m->why);
    if (!e) {
        int r = s->disk->ops->close(s->disk, m->fd);
        m->fd = -1;
        e = r < 0 ? disk_error(r, &m->why, "close", path) : OK;
    }
    if (!e)
        e = disk_sync_dir(s->disk, s->big_dir, &m->why);
    m->fault = e;
}

static void big_synced(struct task *t, void *context) {
    struct store_mail *m = of_task(t);
    struct store *s = context;
    if (m->fault)
        mail_answer(m, m->fault, m->why.text);
    else
        store_wait(s, &m->item);
}

void store_mail_commit(struct store_mail *m) {
    struct store *s = m->store;
    assert(!m->committing);
    m->committing = true;
    if (m->envelope.full || m->transcript.full)
        fault(m, ERR_LIMIT, "the envelope or the transcript is larger than a record may be");
    if (!m->fault)
        read_envelope(m);
    if (m->big && m->size % RECORD_BLOCK)
        buf_u32(&m->sums, m->block_sum);
    if (m->fault) {
        mail_answer(m, m->fault, m->why.text);
        return;
    }
    make_head(m);
    if (!m->big) {
        store_wait(s, &m->item);
        return;
    }
    m->task.run = big_sync;
    m->task.done = big_synced;
    worker_push(&s->syncing, &m->task);
}

void store_mail_abort(struct store_mail *m) {
    assert(!m->committing);
    big_drop(m);
    mail_free(m);
}

void store_mail_forget(struct store_mail *m) {
    m->owner = NULL;
}
