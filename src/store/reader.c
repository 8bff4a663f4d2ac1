#include "store/reader.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "smtp/envelope.h"
#include "store/body.h"
#include "store/delivery_rows.h"
#include "store/reader_mailbox.h"
#include "store/reader_queue.h"
#include "store/record.h"

enum {
    LIST_PIECE = 200,
    MAILS_PIECE = 50,
    BLOCKS = 3, /* verified pieces of messages kept for the next READ */
    COMPACT_STEP = 1024 * 1024,
    RECORD_MAX = 64 * 1024 * 1024,
};

struct block { /* bytes that have passed their checksum */
    uint64_t num, index, used;
    struct buf bytes;
};

struct reader {
    struct db *db;
    struct disk *disk;
    char journal_dir[JOURNAL_PATH], big_dir[JOURNAL_PATH];
    struct buf record; /* the last one read */
    struct block blocks[BLOCKS];
    uint64_t clock;
    struct arena arena;
    struct body_reader *body;
};

/* ---- requests ---- */

static bool take_id(struct request *r, str id) {
    if (id.n > sizeof(r->id_space))
        id = STR_NONE; /* too long to be one: not found */
    if (id.n)
        memcpy(r->id_space, id.p, id.n);
    r->id = str_n(r->id_space, id.n);
    return true;
}

static bool take_ids(struct request *r, str ids) {
    buf_add(&r->ids, ids);
    return !r->ids.full && ids.n % ID_SIZE == 0;
}

static bool take_request(struct request *r, const struct frame *f) {
    switch ((int)f->type) {
    case FRAME_LIST:
        r->tag = f->list.tag;
        r->start = f->list.start;
        r->limit = f->list.limit ? f->list.limit : UINT64_MAX;
        r->before_ms = f->list.before_ms;
        r->cursor = INT64_MAX;
        return true;
    case FRAME_GET: r->tag = f->get.tag; return take_id(r, f->get.id);
    case FRAME_READ:
        r->tag = f->read.tag;
        r->offset = f->read.offset;
        r->length = f->read.length < READER_READ_MAX ? f->read.length : READER_READ_MAX;
        return take_id(r, f->read.id);
    case FRAME_MARK:
        r->tag = f->mark.tag;
        r->seen = f->mark.read;
        r->all = f->mark.all;
        return take_ids(r, f->mark.ids);
    case FRAME_DELETE:
        r->tag = f->delete.tag;
        r->all = f->delete.all;
        return take_ids(r, f->delete.ids);
    case FRAME_SESSION_GET: r->tag = f->session_get.tag; return take_id(r, f->session_get.id);
    case FRAME_READ_EDITED:
        r->tag = f->read_edited.tag;
        r->offset = f->read_edited.offset;
        r->length = f->read_edited.length < READER_READ_MAX ? f->read_edited.length : READER_READ_MAX;
        return take_id(r, f->read_edited.id);
    case FRAME_QUEUE_LIST:
        r->tag = f->queue_list.tag;
        r->cursor = f->queue_list.after;
        r->index = UINT32_MAX;
        r->limit = f->queue_list.limit ? f->queue_list.limit : UINT64_MAX;
        return reader_queue_filter(r, f->queue_list.filter);
    case FRAME_QUEUE_ACT:
        r->tag = f->queue_act.tag;
        r->action = f->queue_act.action;
        return r->action >= QUEUE_DO_HOLD && r->action <= QUEUE_DO_BOUNCE &&
               reader_queue_filter(r, f->queue_act.filter);
    case FRAME_STORY: r->tag = f->story.tag; return take_id(r, f->story.id);
    case FRAME_MAILBOX_LIST:
        r->tag = f->mailbox_list.tag;
        return reader_mailbox_take(r, f->mailbox_list.account, STR_NONE);
    case FRAME_MAILBOX_ROWS:
        r->tag = f->mailbox_rows.tag;
        r->index = f->mailbox_rows.after_uid;
        r->limit = f->mailbox_rows.limit ? f->mailbox_rows.limit : UINT64_MAX;
        return reader_mailbox_take(r, f->mailbox_rows.account, f->mailbox_rows.mailbox);
    case FRAME_STATS_GET: r->tag = f->stats_get.tag; return true;
    case FRAME_BACKUP_HOLD:
        r->tag = f->backup_hold.tag;
        r->limit = f->backup_hold.seconds;
        return true;
    case FRAME_BACKUP_LOOK:
        r->tag = f->backup_look.tag;
        r->start = f->backup_look.hold;
        return true;
    case FRAME_BACKUP_END:
        r->tag = f->backup_end.tag;
        r->start = f->backup_end.hold;
        return true;
    default: return false;
    }
}

struct request *request_new(const struct frame *f, void *owner) {
    struct request *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->type = f->type;
    r->owner = owner;
    r->ids = BUF(FRAME_MAX);
    r->nums = BUF(FRAME_MAX);
    r->out = BUF(READER_STEP + 8 * FRAME_MAX);
    list_init(&r->node);
    list_init(&r->task.node);
    r->task.run = reader_run;
    if (take_request(r, f))
        return r;
    request_free(r);
    return NULL;
}

void request_free(struct request *r) {
    buf_free(&r->ids);
    buf_free(&r->nums);
    buf_free(&r->out);
    buf_free(&r->filter);
    free(r);
}

void request_fail(struct request *r, enum err e, const char *text) {
    frame_put(&r->out,
              &(struct frame){.type = FRAME_FAILED, .failed = {r->tag, (uint8_t)e, str_head(str_of(text), 1000)}});
    r->failed = e;
    r->done = true;
}

static void put_done(struct request *r, uint64_t count) {
    frame_put(&r->out, &(struct frame){.type = FRAME_DONE, .done = {r->tag, count, r->state.total, r->state.unread}});
    r->done = true;
}

static void put_row(struct request *r, const struct db_message *m) {
    struct frame f = {.type = FRAME_ROW};
    f.row = (struct frame_row){.tag = r->tag,
                               .num = m->num,
                               .id = m->id,
                               .created_ms = m->created_ms,
                               .size = m->size,
                               .seen = m->seen,
                               .attachments = (uint32_t)m->attachments,
                               .session = m->session,
                               .summary = str_head(m->summary, FRAME_CHUNK)};
    frame_put(&r->out, &f);
}

static void put_pieces(struct request *r, enum frame_type type, str value) {
    FRAME_CHUNKS(value, piece) {
        struct frame f = {.type = type, .envelope = {r->tag, piece}};
        if (type == FRAME_TRANSCRIPT)
            f.transcript = (struct frame_transcript){r->tag, piece};
        frame_put(&r->out, &f);
    }
}

/* ---- what a row refers to ---- */

static enum err read_record(struct reader *x, const struct db_message *m, struct record *record, struct why *w) {
    char path[JOURNAL_PATH];
    journal_path(path, x->journal_dir, m->place.epoch);
    int fd = -1;
    enum err e = disk_open(x->disk, path, O_RDONLY, &fd, w);
    if (e)
        return e;
    struct journal_record r;
    e = journal_read(x->disk, fd, path, &m->place, &x->record, &r, w);
    x->disk->ops->close(x->disk, fd);
    if (e)
        return e;
    uint64_t num = r.place.seq;
    if (r.type == JOURNAL_MOVED && !take_u64(&r.body, &num))
        return why(w, ERR_CORRUPT, "%s: a moved record without its number", path);
    e = num == m->num ? record_take(r.body, record) : ERR_CORRUPT;
    return e ? why(w, e, "%s: the record at offset %llu is not that of the message", path,
                   (unsigned long long)m->place.offset)
             : OK;
}

/* Its row and its record.  Between the two it may be moved or deleted: then the row is asked once more. */
static enum err get(struct reader *x, str id, struct db_message *m, struct record *record, struct why *w) {
    for (int attempt = 0;; attempt++) {
        enum err e = db_get(x->db, id, m, w);
        if (e)
            return e;
        e = read_record(x, m, record, w);
        if (e == OK || attempt == 1)
            return e;
    }
}

static struct block *find_block(struct reader *x, uint64_t num, uint64_t index) {
    for (int i = 0; i < BLOCKS; i++)
        if (x->blocks[i].bytes.n && x->blocks[i].num == num && x->blocks[i].index == index) {
            x->blocks[i].used = ++x->clock;
            return &x->blocks[i];
        }
    return NULL;
}

static struct block *oldest_block(struct reader *x) {
    struct block *b = &x->blocks[0];
    for (int i = 1; i < BLOCKS; i++)
        if (x->blocks[i].used < b->used)
            b = &x->blocks[i];
    return b;
}

static enum err read_big_block(struct reader *x, const struct record *record, uint64_t index, struct buf *out,
                               struct why *w) {
    char path[JOURNAL_PATH];
    snprintf(path, sizeof(path), "%.480s/%016llx", x->big_dir, (unsigned long long)record->big);
    uint64_t from = index * RECORD_BLOCK, left = record->size > from ? record->size - from : 0;
    size_t n = left < RECORD_BLOCK ? (size_t)left : RECORD_BLOCK, got = 0;
    int fd = -1;
    enum err e = disk_open(x->disk, path, O_RDONLY, &fd, w);
    if (e)
        return e;
    char *p = buf_room(out, n);
    e = p ? disk_read(x->disk, fd, p, n, from, &got, path, w) : why(w, ERR_NOMEM, "no memory");
    x->disk->ops->close(x->disk, fd);
    if (e)
        return e;
    str sums = str_tail(record->bytes, 4 * index);
    uint32_t sum = 0;
    if (n && !take_u32(&sums, &sum))
        sum = ~sum;
    if (got != n || crc32c(0, str_n(p, n)) != sum)
        return why(w, ERR_CORRUPT, "%s fails its check at offset %llu", path, (unsigned long long)from);
    buf_grew(out, n);
    return OK;
}

static enum err load_block(struct reader *x, str id, struct db_message *m, uint64_t index, struct block **out,
                           struct why *w) {
    struct record record;
    enum err e = get(x, id, m, &record, w);
    if (e)
        return e;
    struct block *b = oldest_block(x);
    buf_reset(&b->bytes);
    b->bytes.limit = RECORD_MAX;
    if (record.big)
        e = read_big_block(x, &record, index, &b->bytes, w);
    else
        buf_add(&b->bytes, str_sub(record.bytes, index * RECORD_BLOCK, RECORD_BLOCK));
    b->num = m->num;
    b->index = index;
    b->used = ++x->clock;
    if (e)
        buf_reset(&b->bytes);
    *out = b;
    return e ? e : b->bytes.full ? why(w, ERR_NOMEM, "no memory") : OK;
}

/* ---- the answers ---- */

struct listing {
    struct request *r;
    uint64_t rows;
};

static enum err list_row(void *arg, const struct db_message *m) {
    struct listing *l = arg;
    put_row(l->r, m);
    l->rows++;
    l->r->cursor = m->num;
    return OK;
}

static enum err run_list(struct reader *x, struct request *r, struct why *w) {
    while (r->count < r->limit && r->out.n < READER_STEP) {
        struct listing l = {r, 0};
        uint64_t want = r->limit - r->count < LIST_PIECE ? r->limit - r->count : LIST_PIECE;
        enum err e = db_list(x->db, r->cursor, r->before_ms, want, r->start, list_row, &l, w);
        if (e)
            return e;
        r->count += l.rows;
        r->start = 0;
        if (l.rows < want)
            r->limit = r->count;
    }
    if (r->count >= r->limit)
        put_done(r, r->count);
    return OK;
}

static enum err run_get(struct reader *x, struct request *r, struct why *w) {
    struct db_message m;
    struct record record;
    enum err e = get(x, r->id, &m, &record, w);
    if (e)
        return e;
    r->out.limit += record.envelope.n + record.transcript.n + 65536; /* in one go: both are bounded by the record */
    put_row(r, &m);
    put_pieces(r, FRAME_ENVELOPE, record.envelope);
    put_pieces(r, FRAME_TRANSCRIPT, record.transcript);
    put_done(r, 1);
    return OK;
}

static enum err run_read(struct reader *x, struct request *r, struct why *w) {
    struct db_message m;
    enum err e = db_get(x->db, r->id, &m, w);
    if (e)
        return e;
    struct frame f = {.type = FRAME_BYTES, .bytes = {.tag = r->tag, .offset = r->offset}};
    uint64_t index = r->offset / RECORD_BLOCK, at = r->offset % RECORD_BLOCK;
    if (r->offset < m.size && r->length) {
        struct block *b = find_block(x, m.num, index);
        e = b ? OK : load_block(x, r->id, &m, index, &b, w);
        if (e)
            return e;
        f.bytes.bytes = str_sub(buf_str(&b->bytes), at, r->length);
    }
    f.bytes.size = m.size;  /* of what was read: "latest" may be another one by now */
    frame_put(&r->out, &f); /* at the end of a block it is short: the asker goes on behind it */
    r->done = true;
    return OK;
}

/* As it is delivered: with its recorded edits. */
static enum err run_read_edited(struct reader *x, struct request *r, struct why *w) {
    struct db_message m;
    struct record record;
    struct envelope v;
    struct buf bytes = BUF(READER_READ_MAX);
    enum err e = db_get(x->db, r->id, &m, w);
    if (!e)
        e = body_record(x->body, m.num, &m.place, &record, w);
    if (!e && envelope_take(record.envelope, &x->arena, &v) != OK)
        e = why(w, ERR_CORRUPT, "the envelope of a message cannot be read");
    uint64_t size = !e && v.edits.n ? v.edited_size : m.size;
    if (!e && r->offset < size)
        e = body_view(x->body, &record, v.edits, r->offset, r->length, &bytes, w);
    struct frame f = {.type = FRAME_BYTES, .bytes = {r->tag, r->offset, size, buf_str(&bytes)}};
    if (!e)
        frame_put(&r->out, &f);
    r->done = true;
    buf_free(&bytes);
    arena_reset(&x->arena);
    return e;
}

static enum err story_begin(struct reader *x, struct request *r, struct why *w) {
    struct db_story s;
    struct db_message m;
    enum err e = db_story_get(x->db, r->id, &s, w);
    if (e == ERR_NOT_FOUND)
        return run_get(x, r, w); /* captured and not routed: what is known of it stands with it */
    if (e)
        return e;
    r->out.limit += s.envelope.n + s.transcript.n + 65536;
    if (db_get(x->db, r->id, &m, w) == OK)
        put_row(r, &m);
    put_pieces(r, FRAME_ENVELOPE, s.envelope);
    put_pieces(r, FRAME_TRANSCRIPT, s.transcript);
    r->before_ms = s.num;
    r->index = UINT32_MAX;
    r->stage = 1;
    return OK;
}

static enum err run_story(struct reader *x, struct request *r, struct why *w) {
    bool over = false;
    if (r->stage == 0)
        return story_begin(x, r, w);
    enum err e = reader_story_rows(x->db, r, &over, w);
    if (!e && over)
        put_done(r, 1);
    return e;
}

static enum err run_delete(struct reader *x, struct request *r, struct why *w) {
    struct db_message m;
    for (str s = buf_str(&r->ids); s.n; s = str_tail(s, ID_SIZE)) {
        enum err e = db_get(x->db, str_head(s, ID_SIZE), &m, w);
        if (e && e != ERR_NOT_FOUND)
            return e;
        if (!e && m.captured)
            buf_u64(&r->nums, m.num);
    }
    r->count = r->nums.n / 8;
    return OK; /* the loop makes it durable and answers */
}

/* The parts of a session: its row (or, while it lasts, what its first message knows of it), its messages, what was said
 * with each of them, and what no message carried. */
enum session_stage { SESSION_HEAD, SESSION_NAMES, SESSION_TALK, SESSION_REST };

struct mails {
    struct reader *reader;
    struct request *request;
    struct why *w;
    struct db_message last;
    uint64_t rows;
};

static enum err name_mail(void *arg, const struct db_message *m) {
    struct mails *a = arg;
    struct frame f = {.type = FRAME_SESSION_MAIL, .session_mail = {a->request->tag, m->id}};
    frame_put(&a->request->out, &f);
    a->request->cursor = m->num;
    a->rows++;
    return OK;
}

static enum err talk_of_mail(void *arg, const struct db_message *m) {
    struct mails *a = arg;
    struct record record;
    a->request->cursor = m->num;
    a->rows++;
    if (a->request->out.n > READER_STEP)
        return ERR_MORE;
    if (read_record(a->reader, m, &record, a->w) == OK) /* moved or gone meanwhile: the talk is shown without it */
        put_pieces(a->request, FRAME_TRANSCRIPT, record.transcript);
    return OK;
}

static enum err first_mail(void *arg, const struct db_message *m) {
    struct mails *a = arg;
    a->last = *m;
    a->rows++;
    return OK;
}

static void put_session(struct request *r, const struct db_session *s) {
    struct frame f = {.type = FRAME_SESSION};
    f.session = (struct frame_session){r->tag,
                                       r->id,
                                       s->started_ms,
                                       s->ended_ms,
                                       s->messages,
                                       str_head(s->reason, 1000),
                                       str_head(s->info, FRAME_CHUNK)};
    frame_put(&r->out, &f);
}

static enum err living_session(struct reader *x, struct request *r, struct why *w) {
    struct mails a = {.reader = x, .request = r, .w = w};
    enum err e = db_session_mails(x->db, r->id, 0, 1, first_mail, &a, w);
    if (e)
        return e;
    if (!a.rows)
        return why(w, ERR_NOT_FOUND, "no such session");
    struct record record;
    e = read_record(x, &a.last, &record, w);
    if (e)
        return e;
    struct envelope v;
    struct buf info = BUF(FRAME_CHUNK);
    e = envelope_take(record.envelope, &x->arena, &v);
    if (!e) {
        struct db_session s = {.started_ms = v.connected_us / 1000};
        v.sender = v.sender_params = STR_NONE;
        v.rcpt_count = 0;
        envelope_put(&info, &v);
        s.info = buf_str(&info);
        put_session(r, &s);
    }
    arena_reset(&x->arena);
    buf_free(&info);
    return e ? why(w, e, "the envelope of a message cannot be read") : OK;
}

static enum err session_head(struct reader *x, struct request *r, struct why *w) {
    struct db_session s;
    enum err e = db_session_get(x->db, r->id, &s, w);
    if (e == ERR_NOT_FOUND)
        return living_session(x, r, w);
    if (!e)
        put_session(r, &s);
    return e;
}

static enum err session_rest(struct reader *x, struct request *r, struct why *w) {
    struct db_session s;
    enum err e = db_session_get(x->db, r->id, &s, w);
    if (e && e != ERR_NOT_FOUND)
        return e;
    if (!e) {
        r->out.limit += s.transcript.n + 65536;
        put_pieces(r, FRAME_TRANSCRIPT, s.transcript);
    }
    put_done(r, r->count);
    return OK;
}

static enum err session_pieces(struct reader *x, struct request *r, db_message_each *each, struct why *w) {
    while (r->out.n < READER_STEP) {
        struct mails a = {.reader = x, .request = r, .w = w};
        r->out.limit += (size_t)RECORD_MAX; /* each adds one transcript at most, and stops when the step is full */
        enum err e = db_session_mails(x->db, r->id, r->cursor, MAILS_PIECE, each, &a, w);
        r->out.limit -= (size_t)RECORD_MAX;
        if (e == ERR_MORE) {
            r->cursor--; /* this one again: it was not put */
            return OK;
        }
        if (e)
            return e;
        if (each == name_mail)
            r->count += a.rows;
        if (a.rows < MAILS_PIECE) {
            r->stage++;
            r->cursor = 0;
            return OK;
        }
    }
    return OK;
}

static enum err run_session(struct reader *x, struct request *r, struct why *w) {
    enum err e = OK;
    switch (r->stage) {
    case SESSION_HEAD:
        e = session_head(x, r, w);
        r->stage = SESSION_NAMES;
        return e;
    case SESSION_NAMES: return session_pieces(x, r, name_mail, w);
    case SESSION_TALK: return session_pieces(x, r, talk_of_mail, w);
    default: return session_rest(x, r, w);
    }
}

void reader_run(struct task *t, void *context) {
    struct request *r = (struct request *)t;
    struct reader *x = context;
    struct why w = {0};
    enum err e = db_reload(x->db, &r->state, &w);
    if (!e)
        switch ((int)r->type) {
        case FRAME_LIST: e = run_list(x, r, &w); break;
        case FRAME_GET: e = run_get(x, r, &w); break;
        case FRAME_READ: e = run_read(x, r, &w); break;
        case FRAME_DELETE: e = run_delete(x, r, &w); break;
        case FRAME_SESSION_GET: e = run_session(x, r, &w); break;
        case FRAME_READ_EDITED: e = run_read_edited(x, r, &w); break;
        case FRAME_QUEUE_LIST: e = reader_queue_list(x->db, r, &w); break;
        case FRAME_QUEUE_ACT: e = reader_queue_pick(x->db, r, &w); break;
        case FRAME_STORY: e = run_story(x, r, &w); break;
        case FRAME_MAILBOX_LIST: e = reader_mailbox_list(x->db, r, &w); break;
        case FRAME_MAILBOX_ROWS: e = reader_mailbox_rows(x->db, r, &w); break;
        default: assert(!"a request that is answered elsewhere");
        }
    db_done(x->db);
    if (!e && r->out.full)
        e = why(&w, ERR_NOMEM, "no memory for the answer");
    if (e)
        request_fail(r, e, w.text);
}

/* ---- compaction ---- */

struct copying {
    struct reader *reader;
    struct compaction *c;
};

static enum err copy_one(void *arg, const struct db_message *m) {
    struct copying *a = arg;
    struct compaction *c = a->c;
    if (c->records.n >= COMPACT_STEP)
        return ERR_MORE;
    char path[JOURNAL_PATH];
    struct reader *x = a->reader;
    journal_path(path, x->journal_dir, m->place.epoch);
    int fd = -1;
    struct journal_record r;
    enum err e = disk_open(x->disk, path, O_RDONLY, &fd, &c->why);
    if (e)
        return e;
    e = journal_read(x->disk, fd, path, &m->place, &x->record, &r, &c->why);
    x->disk->ops->close(x->disk, fd);
    if (e)
        return e;
    uint64_t num;
    if (r.type == JOURNAL_MOVED && !take_u64(&r.body, &num))
        return ERR_CORRUPT;
    buf_u64(&c->records, m->num);
    buf_lstr(&c->records, r.body);
    c->offset = m->place.offset + m->place.length;
    return c->records.full ? ERR_NOMEM : OK;
}

void reader_compact(struct task *t, void *context) {
    struct compaction *c = (struct compaction *)t;
    struct copying a = {context, c};
    struct why w;
    uint64_t before = c->offset;
    buf_reset(&c->records);
    c->result = db_in_segment(a.reader->db, c->epoch, c->offset, 1000, copy_one, &a, &w);
    if (c->result == ERR_MORE)
        c->result = OK;
    c->end = c->result != OK || c->offset == before;
}

/* ---- opening ---- */

enum err reader_open(struct reader **out, const char *db_path, struct disk *d, const char *journal_dir,
                     const char *big_dir, struct why *w) {
    struct reader *x = calloc(1, sizeof(*x));
    if (!x)
        return why(w, ERR_NOMEM, "no memory");
    x->disk = d;
    x->record = BUF(4ull << 30);
    x->arena = ARENA(16 * 1024 * 1024);
    snprintf(x->journal_dir, sizeof(x->journal_dir), "%s", journal_dir);
    snprintf(x->big_dir, sizeof(x->big_dir), "%s", big_dir);
    enum err e = body_open(&x->body, d, journal_dir, big_dir, w);
    if (!e)
        e = db_open(&x->db, db_path, DB_READ, w);
    if (e) {
        body_close(x->body);
        free(x);
    } else
        *out = x;
    return e;
}

void reader_close(struct reader *x) {
    if (!x)
        return;
    db_close(x->db);
    body_close(x->body);
    buf_free(&x->record);
    arena_free(&x->arena);
    for (int i = 0; i < BLOCKS; i++)
        buf_free(&x->blocks[i].bytes);
    free(x);
}
