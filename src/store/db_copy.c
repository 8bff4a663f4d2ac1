#include "store/db_copy.h"

#include "store/sqlite_impl.h"

enum { PIECE = 1024 /* pages */ };

struct copy {
    struct db *from;
    sqlite3 *to;
    sqlite3_backup *backup;
    db_copy_step *step;
    void *arg;
};

static enum err refused(sqlite3 *to, const char *path, struct why *w) {
    int code = sqlite3_errcode(to);
    return why(w, code == SQLITE_FULL ? ERR_FULL : ERR_IO, "%s: %s", path, sqlite3_errmsg(to));
}

/* Its journal would be for going back to nothing: who copies starts again instead. */
static enum err open_target(struct copy *c, const char *path, struct why *w) {
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    if (sqlite3_open_v2(path, &c->to, flags, NULL) != SQLITE_OK ||
        sqlite3_exec(c->to, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF", NULL, NULL, NULL) != SQLITE_OK)
        return refused(c->to, path, w);
    return OK;
}

static enum err copy_pages(struct copy *c, const char *path, struct why *w) {
    enum err e = OK;
    int r;
    c->backup = sqlite3_backup_init(c->to, "main", c->from->sqlite, "main");
    if (!c->backup)
        return refused(c->to, path, w);
    do {
        r = sqlite3_backup_step(c->backup, PIECE);
        uint64_t all = (uint64_t)sqlite3_backup_pagecount(c->backup);
        uint64_t left = (uint64_t)sqlite3_backup_remaining(c->backup);
        if (r == SQLITE_OK || r == SQLITE_DONE)
            e = c->step(c->arg, all - left, all, w);
    } while (r == SQLITE_OK && !e);
    int end = sqlite3_backup_finish(c->backup);
    if (!e && (r != SQLITE_DONE || end != SQLITE_OK))
        return refused(c->to, path, w);
    return e;
}

/* Within a transaction that has read: it sees the same state to the end, and no writer makes it begin anew. */
static enum err copy_snapshot(struct copy *c, const char *path, struct journal_position *applied, struct why *w) {
    struct db_state s;
    if (sqlite3_exec(c->from->sqlite, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
        return db_refused(c->from, w);
    enum err e = db_reload(c->from, &s, w);
    if (!e)
        e = copy_pages(c, path, w);
    *applied = s.applied;
    (void)sqlite3_exec(c->from->sqlite, "ROLLBACK", NULL, NULL, NULL);
    return e;
}

enum err db_copy(const char *from, const char *to, db_copy_step *step, void *arg, struct journal_position *applied,
                 struct why *w) {
    struct copy c = {.step = step, .arg = arg};
    enum err e = db_open(&c.from, from, DB_READ, w);
    *applied = (struct journal_position){0};
    if (!e)
        e = open_target(&c, to, w);
    if (!e)
        e = copy_snapshot(&c, to, applied, w);
    if (sqlite3_close(c.to) != SQLITE_OK && !e)
        e = why(w, ERR_IO, "%s: it cannot be closed", to);
    db_close(c.from);
    return e;
}
