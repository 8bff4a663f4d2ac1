#include "store/directory_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "store/directory_file.h"
#include "store/file.h"
#include "store/sqlite_impl.h"
#include "sys/clock.h"

enum { KEY_MAX = 1024, FIELDS_MAX = 60 * 1024 };

/* ---- rows ---- */

enum err db_entry_put(struct db *db, uint8_t kind, str key, str fields, uint64_t changed_ms, uint64_t *num,
                      struct why *w) {
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_ENTRY_PUT, &q, w);
    if (e)
        return e;
    bind_u64(&q, kind);
    bind_text(&q, key);
    bind_blob(&q, fields);
    bind_u64(&q, changed_ms);
    e = query_row(&q, &more, w);
    *num = !e && more ? column_u64(&q) : 0;
    query_end(&q);
    return e;
}

enum err db_entry_delete(struct db *db, uint8_t kind, str key, struct why *w) {
    struct query q;
    enum err e = query_begin(db, SQL_ENTRY_DELETE, &q, w);
    if (e)
        return e;
    bind_u64(&q, kind);
    bind_text(&q, key);
    return query_run(&q, w);
}

enum err db_entry_again(struct db *db, uint8_t kind, str key, str fields, uint64_t changed_ms, uint64_t num,
                        struct why *w) {
    struct query q;
    enum err e = query_begin(db, SQL_ENTRY_AGAIN, &q, w);
    if (e)
        return e;
    bind_u64(&q, num);
    bind_u64(&q, kind);
    bind_text(&q, key);
    bind_blob(&q, fields);
    bind_u64(&q, changed_ms);
    return query_run(&q, w);
}

enum err db_entries(struct db *db, db_entry_each *each, void *arg, struct why *w) {
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_ENTRIES, &q, w);
    while (!e && !(e = query_row(&q, &more, w)) && more) {
        struct db_entry entry = {.num = column_u64(&q), .kind = (uint8_t)column_u64(&q)};
        entry.key = column_text(&q);
        entry.fields = column_text(&q);
        e = each(arg, &entry);
    }
    query_end(&q);
    return e;
}

struct loading {
    struct directory *directory;
    struct why *w;
};

static enum err load_entry(void *arg, const struct db_entry *entry) {
    struct loading *l = arg;
    enum directory_kind kind = (enum directory_kind)entry->kind;
    if (kind < DIRECTORY_DOMAIN || kind > DIRECTORY_TOKEN)
        return OK; /* of a later version that went back: its rows stay */
    enum err e = directory_put(l->directory, kind, entry->key, entry->fields, entry->num);
    return e ? why(l->w, e == ERR_NOMEM ? e : ERR_CORRUPT, "database: %s %.*s: %s", directory_kind_name(kind),
                   STR_ARG(entry->key), err_name(e))
             : OK;
}

static enum err load_use(struct db *db, struct directory *d, struct why *w) {
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_OWNERS, &q, w);
    while (!e && !(e = query_row(&q, &more, w)) && more) {
        str name = column_text(&q);
        if (directory_use(d, name, column_u64(&q)) != OK)
            e = why(w, ERR_NOMEM, "no memory for the directory");
    }
    query_end(&q);
    return e;
}

enum err db_entries_load(struct db *db, struct directory *d, struct why *w) {
    struct loading l = {d, w};
    enum err e = db_entries(db, load_entry, &l, w);
    return e ? e : load_use(db, d, w);
}

enum err directory_db_read(struct directory *d, const char *data, struct why *w) {
    char path[JOURNAL_PATH];
    struct db *db = NULL;
    if ((size_t)snprintf(path, sizeof(path), "%s/penfold.db", data) >= sizeof(path))
        return why(w, ERR_LIMIT, "%s: this path is too long for a data directory", data);
    if (access(path, R_OK) != 0)
        return errno == ENOENT || errno == ENOTDIR ? why(w, ERR_NOT_FOUND, "there is no database in %s", data)
                                                   : disk_error(errno, w, "open", path);
    enum err e = db_open(&db, path, DB_CHECK, w);
    if (!e)
        e = db_entries_load(db, d, w);
    db_close(db);
    return e;
}

/* ---- without a server ---- */

struct directory_db {
    int lock_fd;
    struct db *db;
    struct directory *directory;
    struct directory_file file;
    char data[];
};

static enum err lock(const char *data, int *fd, struct why *w) {
    char path[JOURNAL_PATH], pid[24] = "";
    snprintf(path, sizeof(path), "%.480s/lock", data);
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0)
        return errno == ENOENT ? why(w, ERR_NOT_FOUND, "there is no data directory %s", data)
                               : disk_error(errno, w, "open", path);
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
        return OK;
    ssize_t n = pread(*fd, pid, sizeof(pid) - 1, 0);
    return why(w, ERR_EXISTS, "another penfold (pid %s) uses %s", n > 0 ? pid : "unknown", data);
}

enum err directory_db_open(struct directory_db **out, const char *data, struct why *w) {
    char path[JOURNAL_PATH];
    uint64_t rows = 0;
    if (strlen(data) > 400)
        return why(w, ERR_LIMIT, "%s: this path is too long for a data directory", data);
    struct directory_db *o = calloc(1, sizeof(*o) + strlen(data) + 1);
    if (!o)
        return why(w, ERR_NOMEM, "no memory");
    o->lock_fd = -1;
    memcpy(o->data, data, strlen(data) + 1);
    directory_file_init(&o->file, disk_system(), o->data);
    o->directory = directory_new(clock_mono_ms());
    enum err e = o->directory ? lock(data, &o->lock_fd, w) : why(w, ERR_NOMEM, "no memory");
    snprintf(path, sizeof(path), "%s/penfold.db", data);
    if (!e)
        e = db_open(&o->db, path, DB_WRITE, w);
    if (!e && db_state(o->db)->applied.seq == 0) /* it may have been lost */
        e = directory_file_recall(&o->file, o->db, &rows, w);
    if (!e)
        e = db_entries_load(o->db, o->directory, w);
    if (e)
        directory_db_close(o);
    else
        *out = o;
    return e;
}

struct directory *directory_db_directory(struct directory_db *o) {
    return o->directory;
}

void directory_db_close(struct directory_db *o) {
    if (!o)
        return;
    db_close(o->db);
    directory_free(o->directory);
    if (o->lock_fd >= 0)
        close(o->lock_fd);
    free(o);
}

static enum err write_entry(struct directory_db *o, enum directory_kind kind, str key, str fields, struct why *w) {
    uint64_t num = 0;
    enum err e = db_begin(o->db, true, w);
    if (!e)
        e = db_entry_put(o->db, (uint8_t)kind, key, fields, clock_wall_us() / 1000, &num, w);
    if (!e)
        e = db_commit(o->db, w);
    if (e) {
        db_rollback(o->db);
        return e;
    }
    e = directory_put(o->directory, kind, key, fields, num);
    return e ? why(w, e, "no memory") : directory_file_make(&o->file, o->db, w);
}

enum err directory_db_put(struct directory_db *o, enum directory_kind kind, str key, str changes, unsigned how,
                          struct why *w) {
    struct buf k = BUF(KEY_MAX), fields = BUF(FIELDS_MAX);
    enum err e = directory_check_put(o->directory, kind, key, changes, how, &k, &fields, w);
    if (!e)
        e = write_entry(o, kind, buf_str(&k), buf_str(&fields), w);
    buf_free(&k);
    buf_wipe(&fields);
    return e;
}

enum err directory_db_remove(struct directory_db *o, enum directory_kind kind, str key, struct why *w) {
    struct buf k = BUF(KEY_MAX);
    enum err e = directory_check_remove(o->directory, kind, key, &k, w);
    if (!e)
        e = db_begin(o->db, true, w);
    if (!e) {
        e = db_entry_delete(o->db, (uint8_t)kind, buf_str(&k), w);
        if (!e)
            e = db_commit(o->db, w);
        if (e)
            db_rollback(o->db);
        else
            (void)directory_remove(o->directory, kind, buf_str(&k));
    }
    if (!e)
        e = directory_file_make(&o->file, o->db, w);
    buf_free(&k);
    return e;
}
