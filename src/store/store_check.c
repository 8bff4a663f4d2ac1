#include "store/store_check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/code.h"
#include "store/record.h"
#include "store/sqlite.h"

enum { PIECE = 500, TELL_EVERY = 10000 };

struct check {
    const char *data;
    char journal_dir[JOURNAL_PATH], big_dir[JOURNAL_PATH], db_path[JOURNAL_PATH];
    uint64_t segment_size;
    store_check_report *report;
    void *arg;
    struct store_check_result *result;
    struct disk *disk;
    struct db *db;
    struct db_state state, counted;
    uint64_t cursor, rows, open_epoch;
    int fd;
    struct buf record, block;
};

__attribute__((format(printf, 3, 4))) static void say(struct check *c, bool fault, const char *format, ...) {
    char line[700];
    va_list ap;
    va_start(ap, format);
    vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);
    c->result->faults += fault;
    c->report(c->arg, fault, line);
}

/* ---- the journal by itself ---- */

static enum err journal_one(void *arg, const struct journal_record *r, struct why *w) {
    struct check *c = arg;
    struct record record;
    str body = r->body;
    uint64_t num = 0;
    (void)w;
    bool whole = r->type != JOURNAL_MOVED || take_u64(&body, &num);
    if (whole && (r->type == JOURNAL_ACCEPTED || r->type == JOURNAL_MOVED))
        whole = record_take(body, &record) == OK;
    if (!whole)
        say(c, true, "journal: record %llu passes its checksum, but its content cannot be read",
            (unsigned long long)r->place.seq);
    if (++c->result->records % TELL_EVERY == 0)
        say(c, false, "journal: %llu records", (unsigned long long)c->result->records);
    return OK;
}

static enum err check_journal(struct check *c, struct why *w) {
    struct journal_recovery found;
    enum err e = journal_verify(c->disk, c->journal_dir, c->segment_size, c->state.applied, journal_one, c, &found, w);
    if (e == ERR_CORRUPT) {
        say(c, true, "%s", w->text);
        return OK;
    }
    if (!e)
        say(c, false, "journal: %llu records are sound", (unsigned long long)c->result->records);
    return e;
}

/* ---- what the database refers to ---- */

static bool open_segment(struct check *c, uint64_t epoch, char path[JOURNAL_PATH]) {
    struct why w;
    journal_path(path, c->journal_dir, epoch);
    if (c->fd >= 0 && c->open_epoch == epoch)
        return true;
    if (c->fd >= 0)
        c->disk->ops->close(c->disk, c->fd);
    c->fd = -1;
    c->open_epoch = epoch;
    return disk_open(c->disk, path, O_RDONLY, &c->fd, &w) == OK;
}

static bool check_block(struct check *c, int fd, const char *path, uint64_t at, size_t n, uint32_t sum) {
    struct why w;
    size_t got = 0;
    buf_reset(&c->block);
    char *p = buf_room(&c->block, RECORD_BLOCK);
    return p && disk_read(c->disk, fd, p, n, at, &got, path, &w) == OK && got == n && crc32c(0, str_n(p, n)) == sum;
}

static void check_big(struct check *c, const struct db_message *m, const struct record *r) {
    char path[JOURNAL_PATH];
    struct why w;
    int fd = -1;
    snprintf(path, sizeof(path), "%.480s/%016llx", c->big_dir, (unsigned long long)r->big);
    c->result->big_files++;
    enum err e = disk_open(c->disk, path, O_RDONLY, &fd, &w);
    if (e == ERR_NOT_FOUND)
        say(c, true, "message %.*s: its file %s is missing", STR_ARG(m->id), path);
    else if (e)
        say(c, true, "message %.*s: %s", STR_ARG(m->id), w.text);
    if (e)
        return;
    if (c->disk->ops->size(c->disk, fd) != (int64_t)r->size)
        say(c, true, "message %.*s: %s is not %llu bytes long", STR_ARG(m->id), path, (unsigned long long)r->size);
    str sums = r->bytes;
    uint32_t sum = 0;
    for (uint64_t at = 0; at < r->size && take_u32(&sums, &sum); at += RECORD_BLOCK) {
        size_t n = r->size - at < RECORD_BLOCK ? (size_t)(r->size - at) : RECORD_BLOCK;
        if (check_block(c, fd, path, at, n, sum))
            continue;
        say(c, true, "message %.*s: %s fails its check at offset %llu", STR_ARG(m->id), path, (unsigned long long)at);
        break;
    }
    c->disk->ops->close(c->disk, fd);
}

static void check_reference(struct check *c, const struct db_message *m) {
    char path[JOURNAL_PATH];
    struct why w;
    struct journal_record r;
    struct record record;
    if (!open_segment(c, m->place.epoch, path)) {
        say(c, true, "message %.*s: its journal segment %s is missing", STR_ARG(m->id), path);
        return;
    }
    enum err e = journal_read(c->disk, c->fd, path, &m->place, &c->record, &r, &w);
    if (e) {
        say(c, true, "message %.*s: %s", STR_ARG(m->id), w.text);
        return;
    }
    uint64_t num = r.place.seq;
    if ((r.type == JOURNAL_MOVED && !take_u64(&r.body, &num)) || record_take(r.body, &record) || num != m->num ||
        !str_eq(record.id, m->id) || record.size != m->size || record.big != m->big) {
        say(c, true, "message %.*s: the record at %s offset %llu is another one", STR_ARG(m->id), path,
            (unsigned long long)m->place.offset);
        return;
    }
    if (record.big)
        check_big(c, m, &record);
}

static enum err check_row(void *arg, const struct db_message *m) {
    struct check *c = arg;
    c->cursor = m->num;
    c->rows++;
    bool inbox = m->captured && m->num > c->state.gone_below;
    if (!inbox && m->refs == m->captured)
        return OK; /* deleted; the row waits for the broom */
    if (inbox) {
        c->counted.total++;
        c->counted.unread += !m->seen;
        c->counted.bytes += m->size;
    }
    check_reference(c, m);
    if (++c->result->messages % TELL_EVERY == 0)
        say(c, false, "messages: %llu", (unsigned long long)c->result->messages);
    return OK;
}

static void check_counter(struct check *c, const char *what, uint64_t stored, uint64_t counted) {
    if (stored != counted)
        say(c, true, "the counter of %s says %llu, there are %llu", what, (unsigned long long)stored,
            (unsigned long long)counted);
}

static enum err check_rows(struct check *c, struct why *w) {
    enum err e = OK;
    do {
        c->rows = 0;
        e = db_all(c->db, c->cursor, PIECE, check_row, c, w);
    } while (!e && c->rows == PIECE);
    if (e)
        return e;
    check_counter(c, "messages", c->state.total, c->counted.total);
    check_counter(c, "unread messages", c->state.unread, c->counted.unread);
    check_counter(c, "bytes", c->state.bytes, c->counted.bytes);
    say(c, false, "messages: %llu looked at, %llu of them in files of their own",
        (unsigned long long)c->result->messages, (unsigned long long)c->result->big_files);
    return OK;
}

/* ---- all of it ---- */

static enum err check_open(struct check *c, struct why *w) {
    enum err e = db_open(&c->db, c->db_path, DB_CHECK, w);
    if (e)
        return e;
    e = db_reload(c->db, &c->state, w);
    if (!e && db_integrity(c->db, w))
        say(c, true, "%s", w->text);
    if (!e)
        e = check_journal(c, w);
    if (!e)
        e = check_rows(c, w);
    db_close(c->db);
    return e;
}

enum err store_check_lock(const char *data, int *fd, struct why *w) {
    char path[JOURNAL_PATH], pid[24] = "";
    snprintf(path, sizeof(path), "%.480s/lock", data);
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0)
        return errno == ENOENT ? why(w, ERR_NOT_FOUND, "%s holds no store of Penfold", data)
                               : disk_error(errno, w, "open", path);
    if (flock(*fd, LOCK_SH | LOCK_NB) == 0)
        return OK;
    ssize_t n = pread(*fd, pid, sizeof(pid) - 1, 0);
    close(*fd);
    return why(w, ERR_EXISTS, "another penfold (pid %s) uses %s: stop it first", n > 0 ? pid : "unknown", data);
}

enum err store_check(const char *data, uint64_t segment_size, store_check_report *report, void *arg,
                     struct store_check_result *result, struct why *w) {
    struct check c = {.data = data,
                      .segment_size = segment_size,
                      .report = report,
                      .arg = arg,
                      .result = result,
                      .disk = disk_system(),
                      .fd = -1,
                      .record = BUF(4ull << 30),
                      .block = BUF(RECORD_BLOCK)};
    *result = (struct store_check_result){0};
    if (strlen(data) > 400)
        return why(w, ERR_LIMIT, "%s: this path is too long for a data directory", data);
    snprintf(c.journal_dir, JOURNAL_PATH, "%s/journal", data);
    snprintf(c.big_dir, JOURNAL_PATH, "%s/big", data);
    snprintf(c.db_path, JOURNAL_PATH, "%s/penfold.db", data);
    int fd = -1;
    enum err e = store_check_lock(data, &fd, w);
    if (e)
        return e;
    e = check_open(&c, w);
    if (c.fd >= 0)
        c.disk->ops->close(c.disk, c.fd);
    buf_free(&c.record);
    buf_free(&c.block);
    close(fd);
    return e;
}
