#include "store/directory_file.h"

#include <stdio.h>

#include "base/code.h"
#include "sys/clock.h"

enum { FILE_MAX = 1024 * 1024 * 1024, SLACK = 64 * 1024, HEAD = 8 /* of a record: crc and length */ };

static const char magic[4] = {'P', 'F', 'D', '1'};

void directory_file_init(struct directory_file *f, struct disk *d, const char *data) {
    *f = (struct directory_file){.disk = d, .data = data};
    snprintf(f->path, sizeof(f->path), "%.480s/directory", data);
    snprintf(f->next, sizeof(f->next), "%.480s/directory.new", data);
}

/* ---- records ---- */

void directory_file_put(struct buf *out, uint8_t kind, str key, str fields, uint64_t num, bool removed) {
    struct buf body = BUF(key.n + fields.n + 64);
    buf_u64(&body, num);
    buf_char(&body, (char)kind);
    buf_char(&body, (char)removed);
    buf_lstr(&body, key);
    buf_lstr(&body, fields);
    char length[4];
    for (int i = 0; i < 4; i++)
        length[i] = (char)(body.n >> (8 * i));
    buf_u32(out, crc32c(crc32c(0, str_n(length, sizeof(length))), buf_str(&body)));
    buf_add(out, str_n(length, sizeof(length)));
    buf_add(out, buf_str(&body));
    out->full |= body.full;
    buf_wipe(&body);
}

struct change {
    uint64_t num;
    uint8_t kind, removed;
    str key, fields;
};

static bool take_change(str *s, struct change *c) {
    uint32_t crc = 0, length = 0;
    str rest = *s;
    if (!take_u32(&rest, &crc))
        return false;
    str checked = rest;
    if (!take_u32(&rest, &length) || length > rest.n || crc32c(0, str_head(checked, 4 + (size_t)length)) != crc)
        return false;
    str body = str_head(rest, length);
    *s = str_tail(rest, length);
    return take_u64(&body, &c->num) && take_u8(&body, &c->kind) && take_u8(&body, &c->removed) &&
           take_lstr(&body, &c->key) && take_lstr(&body, &c->fields);
}

/* ---- reading ---- */

static enum err read_whole(const struct directory_file *f, struct buf *out, struct why *w) {
    int fd = -1;
    size_t got = 0;
    enum err e = disk_open(f->disk, f->path, O_RDONLY, &fd, w);
    if (e)
        return e == ERR_NOT_FOUND ? OK : e;
    int64_t size = f->disk->ops->size(f->disk, fd);
    char *p = size > 0 ? buf_room(out, (size_t)size) : NULL;
    if (size < 0)
        e = disk_error((int)size, w, "look at", f->path);
    else if (size > 0)
        e = p ? disk_read(f->disk, fd, p, (size_t)size, 0, &got, f->path, w) : why(w, ERR_NOMEM, "no memory");
    if (!e)
        buf_grew(out, got);
    f->disk->ops->close(f->disk, fd);
    return e;
}

static enum err recall_all(struct db *db, str changes, struct why *w) {
    struct change c = {0};
    uint64_t now = clock_wall_us() / 1000;
    enum err e = OK;
    while (!e && take_change(&changes, &c))
        e = c.removed ? db_entry_delete(db, c.kind, c.key, w)
                      : db_entry_again(db, c.kind, c.key, c.fields, now, c.num, w);
    return e;
}

static enum err count_row(void *arg, const struct db_entry *entry) {
    (void)entry;
    ++*(uint64_t *)arg;
    return OK;
}

enum err directory_file_recall(const struct directory_file *f, struct db *db, uint64_t *rows, struct why *w) {
    struct buf bytes = BUF(FILE_MAX);
    *rows = 0;
    enum err e = db_entries(db, count_row, rows, w);
    bool has_some = *rows > 0;
    *rows = 0;
    if (!e && !has_some)
        e = read_whole(f, &bytes, w);
    str changes = buf_str(&bytes);
    if (!e && str_skip(&changes, str_n(magic, sizeof(magic)))) {
        e = db_begin(db, true, w);
        if (!e)
            e = recall_all(db, changes, w);
        if (!e)
            e = db_commit(db, w);
        if (e)
            db_rollback(db);
        else
            e = db_entries(db, count_row, rows, w);
    }
    buf_wipe(&bytes);
    return e;
}

/* ---- writing ---- */

static enum err put_row(void *arg, const struct db_entry *entry) {
    directory_file_put(arg, entry->kind, entry->key, entry->fields, entry->num, false);
    return ((struct buf *)arg)->full ? ERR_NOMEM : OK;
}

static enum err write_at(struct directory_file *f, const char *path, int flags, str bytes, uint64_t at, struct why *w) {
    int fd = -1;
    struct iovec part = {(void *)bytes.p, bytes.n};
    enum err e = disk_open(f->disk, path, flags, &fd, w);
    if (e)
        return e;
    e = disk_write(f->disk, fd, &part, 1, at, path, w);
    if (!e)
        e = disk_sync(f->disk, fd, path, w);
    int closed = f->disk->ops->close(f->disk, fd);
    return e || closed >= 0 ? e : disk_error(closed, w, "close", path);
}

static enum err replace(struct directory_file *f, str bytes, struct why *w) {
    (void)f->disk->ops->unlink(f->disk, f->next); /* of an interrupted life; else it is not there */
    enum err e = write_at(f, f->next, O_RDWR | O_CREAT | O_EXCL, bytes, 0, w);
    if (!e)
        e = disk_rename(f->disk, f->next, f->path, w);
    return e ? e : disk_sync_dir(f->disk, f->data, w);
}

static enum err remove_it(struct directory_file *f, struct why *w) {
    int r = f->disk->ops->unlink(f->disk, f->path);
    if (disk_error(r, w, "remove", f->path) == ERR_NOT_FOUND && r < 0)
        return OK;
    return r < 0 ? disk_error(r, w, "remove", f->path) : disk_sync_dir(f->disk, f->data, w);
}

enum err directory_file_make(struct directory_file *f, struct db *db, struct why *w) {
    struct buf bytes = BUF(FILE_MAX);
    buf_add(&bytes, str_n(magic, sizeof(magic)));
    enum err e = db_entries(db, put_row, &bytes, w);
    if (e == ERR_NOMEM)
        e = why(w, e, "no memory for the directory");
    bool none = bytes.n == sizeof(magic);
    if (!e)
        e = none ? remove_it(f, w) : replace(f, buf_str(&bytes), w);
    f->behind = e != OK;
    if (!e)
        f->size = f->made = none ? 0 : bytes.n;
    buf_wipe(&bytes);
    return e;
}

enum err directory_file_add(struct directory_file *f, struct db *db, str changes, struct why *w) {
    if (f->size == 0 || f->behind || f->size > SLACK + 2 * f->made)
        return directory_file_make(f, db, w);
    enum err e = write_at(f, f->path, O_RDWR, changes, f->size, w);
    f->behind = e != OK;
    if (!e)
        f->size += changes.n;
    return e;
}
