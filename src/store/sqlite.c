#include "store/sqlite_impl.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const sql_text[SQL_COUNT] = {
#define SQL(NAME, text) text,
#include "store/statements.def"
#undef SQL
};

static const char *const schema[] = {
#define SCHEMA(version, text) text,
#include "store/schema.def"
#undef SCHEMA
};
enum { SCHEMA_VERSION = sizeof(schema) / sizeof(schema[0]) };

enum err db_refused(struct db *db, struct why *w) {
    int code = sqlite3_errcode(db->sqlite);
    int more = sqlite3_extended_errcode(db->sqlite); /* its shared memory is a file, which cannot grow on a full disk */
    enum err e = code == SQLITE_FULL || more == SQLITE_IOERR_SHMSIZE ? ERR_FULL
                 : code == SQLITE_CORRUPT || code == SQLITE_NOTADB   ? ERR_CORRUPT
                 : code == SQLITE_NOMEM                              ? ERR_NOMEM
                                                                     : ERR_IO;
    return why(w, e, "database: %s (%d)", sqlite3_errmsg(db->sqlite), more);
}

/* ---- a statement: bind in order, then step ---- */

enum err query_begin(struct db *db, enum sql which, struct query *q, struct why *w) {
    sqlite3_stmt **s = &db->statements[which];
    *q = (struct query){.db = db};
    if (!*s && sqlite3_prepare_v3(db->sqlite, sql_text[which], -1, SQLITE_PREPARE_PERSISTENT, s, NULL) != SQLITE_OK)
        return db_refused(db, w);
    sqlite3_reset(*s);
    *q = (struct query){db, *s, 1};
    return OK;
}

void bind_u64(struct query *q, uint64_t v) {
    sqlite3_bind_int64(q->s, q->next++, (sqlite3_int64)v);
}

void bind_text(struct query *q, str v) {
    sqlite3_bind_text(q->s, q->next++, v.n ? v.p : "", (int)v.n, SQLITE_STATIC);
}

void bind_blob(struct query *q, str v) {
    sqlite3_bind_blob(q->s, q->next++, v.n ? v.p : "", (int)v.n, SQLITE_STATIC);
}

uint64_t column_u64(struct query *q) {
    return (uint64_t)sqlite3_column_int64(q->s, q->next++);
}

str column_text(struct query *q) {
    const void *p = sqlite3_column_blob(q->s, q->next);
    return str_n(p, (size_t)sqlite3_column_bytes(q->s, q->next++));
}

/* A row: *more is true and the columns can be taken. */
enum err query_row(struct query *q, bool *more, struct why *w) {
    int r = sqlite3_step(q->s);
    q->next = 0;
    *more = r == SQLITE_ROW;
    if (r == SQLITE_ROW || r == SQLITE_DONE)
        return OK;
    enum err e = db_refused(q->db, w);
    sqlite3_reset(q->s);
    return e;
}

void query_end(struct query *q) {
    sqlite3_reset(q->s);
    sqlite3_clear_bindings(q->s);
}

enum err query_run(struct query *q, struct why *w) {
    bool more;
    enum err e = query_row(q, &more, w);
    query_end(q);
    return e;
}

static enum err run(struct db *db, enum sql which, struct why *w) {
    struct query q;
    enum err e = query_begin(db, which, &q, w);
    return e ? e : query_run(&q, w);
}

enum err run_num(struct db *db, enum sql which, uint64_t a, struct why *w) {
    struct query q;
    enum err e = query_begin(db, which, &q, w);
    if (e)
        return e;
    bind_u64(&q, a);
    return query_run(&q, w);
}

static enum err text_run(struct db *db, const char *text, struct why *w) {
    return sqlite3_exec(db->sqlite, text, NULL, NULL, NULL) == SQLITE_OK ? OK : db_refused(db, w);
}

/* ---- opening ---- */

static enum err pragma(struct db *db, const char *text, int64_t *value, struct why *w) {
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(db->sqlite, text, -1, &s, NULL) != SQLITE_OK)
        return db_refused(db, w);
    int r = sqlite3_step(s);
    *value = r == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    sqlite3_finalize(s);
    return r == SQLITE_ROW || r == SQLITE_DONE ? OK : db_refused(db, w);
}

static enum err migrate(struct db *db, int64_t version, struct why *w) {
    enum err e = text_run(db, "BEGIN IMMEDIATE", w);
    for (int64_t v = version; !e && v < SCHEMA_VERSION; v++)
        e = text_run(db, schema[v], w);
    char set[64];
    snprintf(set, sizeof(set), "PRAGMA user_version=%d", SCHEMA_VERSION);
    if (!e)
        e = text_run(db, set, w);
    if (!e)
        e = text_run(db, "COMMIT", w);
    return e;
}

static const char writer_settings[] =
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA secure_delete=OFF;"
    "PRAGMA wal_autocheckpoint=16000; PRAGMA cache_size=-16384; PRAGMA temp_store=MEMORY";
static const char reader_settings[] = "PRAGMA query_only=ON; PRAGMA cache_size=-2048; PRAGMA temp_store=MEMORY";

static enum err set_up(struct db *db, const char *path, enum db_mode mode, struct why *w) {
    sqlite3_busy_timeout(db->sqlite, 10000);
    int64_t version = 0;
    enum err e = pragma(db, "PRAGMA user_version", &version, w);
    if (e)
        return e;
    if (version > SCHEMA_VERSION)
        return why(w, ERR_VERSION,
                   "%s was written by a newer Penfold (its schema is %lld, this one knows %d): use that version, or "
                   "another data directory",
                   path, (long long)version, SCHEMA_VERSION);
    if (mode != DB_WRITE)
        return version == SCHEMA_VERSION
                   ? text_run(db, reader_settings, w)
                   : why(w, ERR_VERSION, "%s has schema %lld: start Penfold once to bring it to %d", path,
                         (long long)version, SCHEMA_VERSION);
    e = text_run(db, writer_settings, w);
    return e || version == SCHEMA_VERSION ? e : migrate(db, version, w);
}

static enum err name_the_file(const char *path, enum err e, struct why *w) {
    struct why said = *w;
    return why(w, e, "%s: %s", path, said.text);
}

enum err db_open(struct db **out, const char *path, enum db_mode mode, struct why *w) {
    struct db *db = calloc(1, sizeof(*db));
    if (!db)
        return why(w, ERR_NOMEM, "no memory");
    db->arena = ARENA(256 * 1024 * 1024);
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_READWRITE | (mode == DB_WRITE ? SQLITE_OPEN_CREATE : 0);
    enum err e = OK;
    if (sqlite3_open_v2(path, &db->sqlite, flags, NULL) != SQLITE_OK) {
        int code = sqlite3_errcode(db->sqlite);
        e = why(w, code == SQLITE_NOMEM ? ERR_NOMEM : ERR_IO, "%s: %s", path, sqlite3_errmsg(db->sqlite));
    }
    if (!e && mode == DB_CHECK) /* the last to close would copy the log into the database */
        sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (!e)
        e = set_up(db, path, mode, w);
    if (!e)
        e = db_reload(db, &db->state, w);
    if (e == ERR_CORRUPT)
        e = name_the_file(path, e, w);
    if (e)
        db_close(db);
    else
        *out = db;
    return e;
}

void db_close(struct db *db) {
    if (!db)
        return;
    for (int i = 0; i < SQL_COUNT; i++)
        sqlite3_finalize(db->statements[i]);
    sqlite3_close(db->sqlite);
    arena_free(&db->arena);
    free(db);
}

struct db_state *db_state(struct db *db) {
    return &db->state;
}

enum err db_reload(struct db *db, struct db_state *s, struct why *w) {
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_STATE_GET, &q, w);
    if (!e)
        e = query_row(&q, &more, w);
    if (e)
        return e;
    if (!more)
        return why(w, ERR_CORRUPT, "database: its state row is missing");
    s->applied.seq = column_u64(&q);
    s->applied.epoch = column_u64(&q);
    s->applied.offset = column_u64(&q);
    s->gone_below = column_u64(&q);
    s->total = column_u64(&q);
    s->unread = column_u64(&q);
    s->bytes = column_u64(&q);
    s->deleted = column_u64(&q);
    s->accepted = column_u64(&q);
    s->accepted_bytes = column_u64(&q);
    query_end(&q);
    return OK;
}

/* ---- writing ---- */

enum err db_begin(struct db *db, bool durable, struct why *w) {
    db->before = db->state;
    if (durable != db->durable) { /* not possible within a transaction */
        enum err e = text_run(db, durable ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", w);
        if (e)
            return e;
        db->durable = durable;
    }
    return run(db, SQL_BEGIN, w);
}

enum err db_commit(struct db *db, struct why *w) {
    struct query q;
    enum err e = query_begin(db, SQL_STATE_SET, &q, w);
    if (e)
        return e;
    const struct db_state *s = &db->state;
    bind_u64(&q, s->applied.seq);
    bind_u64(&q, s->applied.epoch);
    bind_u64(&q, s->applied.offset);
    bind_u64(&q, s->gone_below);
    bind_u64(&q, s->total);
    bind_u64(&q, s->unread);
    bind_u64(&q, s->bytes);
    bind_u64(&q, s->deleted);
    bind_u64(&q, s->accepted);
    bind_u64(&q, s->accepted_bytes);
    e = query_run(&q, w);
    return e ? e : run(db, SQL_COMMIT, w);
}

void db_rollback(struct db *db) {
    if (!sqlite3_get_autocommit(db->sqlite))
        (void)sqlite3_exec(db->sqlite, "ROLLBACK", NULL, NULL, NULL);
    db->state = db->before;
}

enum err db_accept(struct db *db, const struct db_message *m, struct why *w) {
    struct query q;
    enum err e = query_begin(db, SQL_MESSAGE_ADD, &q, w);
    if (e)
        return e;
    bind_u64(&q, m->num);
    bind_text(&q, m->id);
    bind_u64(&q, m->created_ms);
    bind_u64(&q, m->size);
    bind_u64(&q, m->place.epoch);
    bind_u64(&q, m->place.offset);
    bind_u64(&q, m->place.length);
    bind_u64(&q, m->big);
    bind_text(&q, m->session);
    bind_u64(&q, m->captured);
    bind_u64(&q, m->refs);
    e = query_run(&q, w);
    if (e)
        return e;
    if (sqlite3_changes(db->sqlite) == 0)
        return why(w, ERR_EXISTS, "message %.*s is there already", STR_ARG(m->id));
    if (m->captured) {
        db->state.total++;
        db->state.unread++;
        db->state.bytes += m->size;
    }
    db->state.accepted++;
    db->state.accepted_bytes += m->size;
    return OK;
}

/* Out of the inbox; what else refers to it keeps it. */
static enum err uncapture(struct db *db, uint64_t num, uint64_t refs, const struct db_freed *f, db_freed_each *freed,
                          void *arg, struct why *w) {
    enum err e = run_num(db, refs > 1 ? SQL_MESSAGE_UNCAPTURE : SQL_MESSAGE_DELETE, num, w);
    if (!e && refs <= 1)
        freed(arg, f);
    return e;
}

enum err db_gone(struct db *db, uint64_t num, db_freed_each *freed, void *arg, struct why *w) {
    if (num <= db->state.gone_below)
        return OK;
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_MESSAGE_PLACE, &q, w);
    if (e)
        return e;
    bind_u64(&q, num);
    e = query_row(&q, &more, w);
    if (e)
        return e;
    struct db_freed f = {0};
    uint64_t seen = 0, captured = 0, refs = 0;
    if (more) {
        f.segment = column_u64(&q);
        (void)column_u64(&q);
        f.length = column_u64(&q);
        f.big = column_u64(&q);
        seen = column_u64(&q);
        f.size = column_u64(&q);
        captured = column_u64(&q);
        refs = column_u64(&q);
    }
    query_end(&q);
    if (!captured)
        return OK;
    e = uncapture(db, num, refs, &f, freed, arg, w);
    if (e)
        return e;
    db->state.total--;
    db->state.unread -= !seen;
    db->state.bytes -= f.size;
    db->state.deleted++;
    return OK;
}

enum err db_gone_below(struct db *db, uint64_t num, struct why *w) {
    if (num <= db->state.gone_below)
        return OK;
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_BELOW_SUMS, &q, w);
    if (e)
        return e;
    bind_u64(&q, db->state.gone_below);
    bind_u64(&q, num);
    e = query_row(&q, &more, w);
    if (e)
        return e;
    assert(more);
    uint64_t count = column_u64(&q);
    db->state.total -= count;
    db->state.deleted += count;
    db->state.unread -= column_u64(&q);
    db->state.bytes -= column_u64(&q);
    db->state.gone_below = num;
    query_end(&q);
    return OK;
}

struct swept {
    uint64_t num, refs;
    struct db_freed freed;
};

enum err db_sweep(struct db *db, unsigned limit, db_freed_each *freed, void *arg, bool *done, struct why *w) {
    struct swept rows[256];
    unsigned count = 0, most = sizeof(rows) / sizeof(rows[0]);
    struct query q;
    bool more = false;
    *done = true;
    enum err e = query_begin(db, SQL_BELOW_NEXT, &q, w);
    if (e)
        return e;
    bind_u64(&q, db->state.gone_below);
    bind_u64(&q, limit < most ? limit : most);
    while (!(e = query_row(&q, &more, w)) && more) {
        struct swept *r = &rows[count++];
        r->num = column_u64(&q);
        r->freed.segment = column_u64(&q);
        r->freed.length = column_u64(&q);
        r->freed.big = column_u64(&q);
        r->freed.size = column_u64(&q);
        r->refs = column_u64(&q);
    }
    query_end(&q);
    for (unsigned i = 0; !e && i < count; i++)
        e = uncapture(db, rows[i].num, rows[i].refs, &rows[i].freed, freed, arg, w);
    *done = count == 0;
    return e;
}

enum err db_moved(struct db *db, uint64_t num, const struct journal_place *to, struct journal_place *was,
                  struct why *w) {
    struct query q;
    bool more = false;
    *was = (struct journal_place){0};
    enum err e = query_begin(db, SQL_MESSAGE_PLACE, &q, w);
    if (e)
        return e;
    bind_u64(&q, num);
    e = query_row(&q, &more, w);
    if (!e && more) {
        was->epoch = column_u64(&q);
        was->offset = column_u64(&q);
        was->length = column_u64(&q);
    }
    query_end(&q);
    if (e || !more)
        return e;
    e = query_begin(db, SQL_MESSAGE_MOVE, &q, w);
    if (e)
        return e;
    bind_u64(&q, to->epoch);
    bind_u64(&q, to->offset);
    bind_u64(&q, to->length);
    bind_u64(&q, num);
    return query_run(&q, w);
}

enum err db_seen(struct db *db, str id, bool seen, bool *changed, struct why *w) {
    struct query q;
    *changed = false;
    enum err e = query_begin(db, SQL_MESSAGE_SEEN, &q, w);
    if (e)
        return e;
    bind_u64(&q, seen);
    bind_text(&q, id);
    bind_u64(&q, db->state.gone_below); /* of this transaction, not of the last one */
    e = query_run(&q, w);
    if (e)
        return e;
    *changed = sqlite3_changes(db->sqlite) > 0;
    if (*changed)
        db->state.unread += seen ? UINT64_MAX : 1;
    return OK;
}

enum err db_unlike(struct db *db, bool seen, uint64_t *num, struct buf *ids, struct why *w) {
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_MESSAGE_SEEN_NEXT, &q, w);
    if (e)
        return e;
    bind_u64(&q, seen);
    bind_u64(&q, *num > db->state.gone_below ? *num : db->state.gone_below);
    while (!(e = query_row(&q, &more, w)) && more) {
        *num = column_u64(&q);
        buf_add(ids, column_text(&q));
    }
    query_end(&q);
    return e;
}

enum err db_summary(struct db *db, str id, uint32_t attachments, str json, struct why *w) {
    struct query q;
    enum err e = query_begin(db, SQL_MESSAGE_SUMMARY, &q, w);
    if (e)
        return e;
    bind_u64(&q, attachments);
    bind_text(&q, json);
    bind_text(&q, id);
    return query_run(&q, w);
}

enum err db_session_put(struct db *db, const struct db_session *s, struct why *w) {
    struct query q;
    enum err e = query_begin(db, SQL_SESSION_ADD, &q, w);
    if (e)
        return e;
    bind_text(&q, s->id);
    bind_u64(&q, s->started_ms);
    bind_u64(&q, s->ended_ms);
    bind_u64(&q, s->messages);
    bind_text(&q, s->reason);
    bind_blob(&q, s->info);
    bind_blob(&q, s->transcript);
    return query_run(&q, w);
}

static enum err prune_empty(struct db *db, uint64_t keep, struct why *w) {
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_SESSION_OLD, &q, w);
    if (e)
        return e;
    bind_u64(&q, keep);
    e = query_row(&q, &more, w);
    uint64_t old = !e && more ? column_u64(&q) : 0;
    query_end(&q);
    return e || !old ? e : run_num(db, SQL_SESSION_PRUNE, old, w);
}

static enum err has_mail(struct db *db, str session, bool *has, struct why *w) {
    struct query q;
    *has = true;
    enum err e = query_begin(db, SQL_SESSION_MAILS, &q, w);
    if (e)
        return e;
    bind_text(&q, session);
    bind_u64(&q, 0);
    bind_u64(&q, 1);
    e = query_row(&q, has, w);
    query_end(&q);
    return e;
}

static enum err prune_orphans(struct db *db, uint64_t *cursor, struct why *w) {
    enum { LOOK = 200 };
    uint64_t orphans[LOOK];
    size_t seen = 0, count = 0;
    struct query q;
    bool more = false, has = true;
    enum err e = query_begin(db, SQL_SESSION_ORPHANS, &q, w);
    if (e)
        return e;
    bind_u64(&q, *cursor);
    bind_u64(&q, LOOK);
    while (!(e = query_row(&q, &more, w)) && more && !e) {
        seen++;
        *cursor = column_u64(&q);
        e = has_mail(db, column_text(&q), &has, w);
        if (!e && !has)
            orphans[count++] = *cursor;
        if (e)
            break;
    }
    query_end(&q);
    for (size_t i = 0; !e && i < count; i++)
        e = run_num(db, SQL_SESSION_DELETE, orphans[i], w);
    if (seen < LOOK)
        *cursor = 0;
    return e;
}

enum err db_session_prune(struct db *db, uint64_t keep, uint64_t ended_before_ms, uint64_t *cursor, struct why *w) {
    enum err e = keep ? prune_empty(db, keep, w) : OK;
    if (!e && ended_before_ms)
        e = run_num(db, SQL_SESSION_AGED, ended_before_ms, w);
    return e ? e : prune_orphans(db, cursor, w);
}

enum err db_retire(struct db *db, const struct db_limits *limits, uint64_t look, uint64_t *num, uint64_t *count,
                   struct why *w) {
    const struct db_state *s = &db->state;
    uint64_t total = s->total, bytes = s->bytes;
    *num = *count = 0;
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_OLDEST, &q, w);
    if (e)
        return e;
    bind_u64(&q, s->gone_below);
    bind_u64(&q, look);
    while (!(e = query_row(&q, &more, w)) && more) {
        uint64_t row = column_u64(&q), created_ms = column_u64(&q);
        (void)column_u64(&q);
        (void)column_u64(&q);
        uint64_t size = column_u64(&q);
        bool keep = (!limits->count || total <= limits->count) && (!limits->bytes || bytes <= limits->bytes) &&
                    created_ms >= limits->created_before_ms;
        if (keep)
            break;
        *num = row;
        ++*count;
        total--;
        bytes -= size;
    }
    query_end(&q);
    return e;
}

void db_wal_max(struct db *db, uint64_t bytes) {
    enum { PAGE = 4096, LEAST = 1000, MOST = 16000 };
    uint64_t pages = bytes / PAGE;
    sqlite3_wal_autocheckpoint(db->sqlite, pages < LEAST ? LEAST : pages > MOST ? MOST : (int)pages);
}

enum err db_checkpoint(struct db *db, bool truncate, bool *all, struct why *w) {
    int log = 0, done = 0;
    int r = sqlite3_wal_checkpoint_v2(db->sqlite, NULL,
                                      truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, &log, &done);
    *all = r == SQLITE_OK && log == done;
    return r == SQLITE_OK || r == SQLITE_BUSY ? OK : db_refused(db, w);
}

/* ---- reading ---- */

void db_done(struct db *db) {
    static const enum sql kept_open[] = {SQL_LATEST, SQL_GET, SQL_SESSION_GET, SQL_STORY_GET};
    for (size_t i = 0; i < sizeof(kept_open) / sizeof(kept_open[0]); i++)
        sqlite3_reset(db->statements[kept_open[i]]);
}

static struct db_message take_listed(struct query *q) {
    struct db_message m = {.num = column_u64(q)};
    m.id = column_text(q);
    m.created_ms = column_u64(q);
    m.size = column_u64(q);
    m.seen = column_u64(q) != 0;
    m.attachments = column_u64(q);
    m.session = column_text(q);
    m.summary = column_text(q);
    return m;
}

enum err db_list(struct db *db, uint64_t below_num, uint64_t before_ms, uint64_t limit, uint64_t skip,
                 db_message_each *each, void *arg, struct why *w) {
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_LIST, &q, w);
    if (e)
        return e;
    bind_u64(&q, below_num);
    bind_u64(&q, before_ms);
    bind_u64(&q, limit);
    bind_u64(&q, skip);
    while (!(e = query_row(&q, &more, w)) && more) {
        struct db_message m = take_listed(&q);
        if ((e = each(arg, &m)))
            break;
    }
    query_end(&q);
    return e;
}

/* The statement stays open behind the row, so that its texts stay valid until the next call. */
enum err db_get(struct db *db, str id, struct db_message *m, struct why *w) {
    struct query q;
    bool more = false, latest = str_eq(id, S("latest"));
    enum err e = query_begin(db, latest ? SQL_LATEST : SQL_GET, &q, w);
    if (e)
        return e;
    if (!latest)
        bind_text(&q, id);
    e = query_row(&q, &more, w);
    if (e)
        return e;
    if (!more) {
        query_end(&q);
        return why(w, ERR_NOT_FOUND, "no such message");
    }
    *m = take_listed(&q);
    m->place.epoch = column_u64(&q);
    m->place.offset = column_u64(&q);
    m->place.length = column_u64(&q);
    m->big = column_u64(&q);
    m->captured = column_u64(&q) != 0;
    return OK;
}

enum err db_session_get(struct db *db, str id, struct db_session *s, struct why *w) {
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_SESSION_GET, &q, w);
    if (e)
        return e;
    bind_text(&q, id);
    e = query_row(&q, &more, w);
    if (e)
        return e;
    if (!more) {
        query_end(&q);
        return why(w, ERR_NOT_FOUND, "no such session");
    }
    s->started_ms = column_u64(&q);
    s->ended_ms = column_u64(&q);
    s->messages = (uint32_t)column_u64(&q);
    s->reason = column_text(&q);
    s->info = column_text(&q);
    s->transcript = column_text(&q);
    return OK;
}

enum err db_session_mails(struct db *db, str session, uint64_t after, uint64_t limit, db_message_each *each, void *arg,
                          struct why *w) {
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_SESSION_MAILS, &q, w);
    if (e)
        return e;
    bind_text(&q, session);
    bind_u64(&q, after);
    bind_u64(&q, limit);
    while (!(e = query_row(&q, &more, w)) && more) {
        struct db_message m = {.num = column_u64(&q)};
        m.id = column_text(&q);
        m.place.epoch = column_u64(&q);
        m.place.offset = column_u64(&q);
        m.place.length = column_u64(&q);
        m.created_ms = column_u64(&q);
        if ((e = each(arg, &m)))
            break;
    }
    query_end(&q);
    return e;
}

enum err db_all(struct db *db, uint64_t after, uint64_t limit, db_message_each *each, void *arg, struct why *w) {
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_ALL, &q, w);
    if (e)
        return e;
    bind_u64(&q, after);
    bind_u64(&q, limit);
    while (!(e = query_row(&q, &more, w)) && more) {
        struct db_message m = {.num = column_u64(&q)};
        m.place.epoch = column_u64(&q);
        m.place.offset = column_u64(&q);
        m.place.length = column_u64(&q);
        m.big = column_u64(&q);
        m.size = column_u64(&q);
        m.id = column_text(&q);
        m.seen = column_u64(&q) != 0;
        m.captured = column_u64(&q) != 0;
        m.refs = column_u64(&q);
        if ((e = each(arg, &m)))
            break;
    }
    query_end(&q);
    return e;
}

enum err db_in_segment(struct db *db, uint64_t epoch, uint64_t from_offset, uint64_t limit, db_message_each *each,
                       void *arg, struct why *w) {
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_SEGMENT_NEXT, &q, w);
    if (e)
        return e;
    bind_u64(&q, epoch);
    bind_u64(&q, from_offset);
    bind_u64(&q, limit);
    while (!(e = query_row(&q, &more, w)) && more) {
        struct db_message m = {.num = column_u64(&q), .place.epoch = epoch};
        m.place.offset = column_u64(&q);
        m.place.length = column_u64(&q);
        if ((e = each(arg, &m)))
            break;
    }
    query_end(&q);
    return e;
}

enum err db_segments(struct db *db, db_segment_each *each, void *arg, struct why *w) {
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_SEGMENTS, &q, w);
    if (e)
        return e;
    while (!(e = query_row(&q, &more, w)) && more) {
        uint64_t epoch = column_u64(&q), bytes = column_u64(&q), count = column_u64(&q);
        each(arg, epoch, bytes, count, column_u64(&q));
    }
    query_end(&q);
    return e;
}

enum err db_big_known(struct db *db, uint64_t big, bool *known, struct why *w) {
    struct query q;
    enum err e = query_begin(db, SQL_BIG_EXISTS, &q, w);
    if (e)
        return e;
    bind_u64(&q, big);
    e = query_row(&q, known, w);
    query_end(&q);
    return e;
}

enum err db_integrity(struct db *db, struct why *w) {
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(db->sqlite, "PRAGMA integrity_check(1)", -1, &s, NULL) != SQLITE_OK)
        return db_refused(db, w);
    int r = sqlite3_step(s);
    const char *said = r == SQLITE_ROW ? (const char *)sqlite3_column_text(s, 0) : sqlite3_errmsg(db->sqlite);
    enum err e =
        r == SQLITE_ROW && said && !strcmp(said, "ok") ? OK : why(w, ERR_CORRUPT, "database: %s", said ? said : "");
    sqlite3_finalize(s);
    return e;
}
