#include "store/body.h"

#include <stdio.h>
#include <stdlib.h>

#include "mime/edit.h"

struct body_reader {
    struct disk *disk;
    char journal_dir[JOURNAL_PATH], big_dir[JOURNAL_PATH];
    int fd; /* of the last segment */
    uint64_t epoch;
    struct buf bytes; /* the last record */
    struct journal_place place;
    struct record record;
    uint64_t num; /* 0: none */
    struct buf block;
    uint64_t big, index; /* of the last block */
};

enum err body_open(struct body_reader **out, struct disk *d, const char *journal_dir, const char *big_dir,
                   struct why *w) {
    struct body_reader *b = calloc(1, sizeof(*b));
    if (!b)
        return why(w, ERR_NOMEM, "no memory");
    b->disk = d;
    b->fd = -1;
    b->bytes = BUF(4ull << 30);
    b->block = BUF(RECORD_BLOCK);
    snprintf(b->journal_dir, sizeof(b->journal_dir), "%s", journal_dir);
    snprintf(b->big_dir, sizeof(b->big_dir), "%s", big_dir);
    *out = b;
    return OK;
}

static void close_segment(struct body_reader *b) {
    if (b->fd >= 0)
        b->disk->ops->close(b->disk, b->fd);
    b->fd = -1;
}

void body_close(struct body_reader *b) {
    if (!b)
        return;
    close_segment(b);
    buf_free(&b->bytes);
    buf_free(&b->block);
    free(b);
}

static enum err open_segment(struct body_reader *b, uint64_t epoch, const char *path, struct why *w) {
    if (b->fd >= 0 && b->epoch == epoch)
        return OK;
    close_segment(b);
    b->epoch = epoch;
    return disk_open(b->disk, path, O_RDONLY, &b->fd, w);
}

static enum err load_record(struct body_reader *b, uint64_t num, const struct journal_place *place, struct why *w) {
    char path[JOURNAL_PATH];
    struct journal_record r;
    journal_path(path, b->journal_dir, place->epoch);
    b->num = 0;
    enum err e = open_segment(b, place->epoch, path, w);
    if (!e)
        e = journal_read(b->disk, b->fd, path, place, &b->bytes, &r, w);
    if (e) {
        close_segment(b); /* recycled under another name, perhaps */
        return e;
    }
    uint64_t is = r.place.seq;
    if ((r.type == JOURNAL_MOVED && !take_u64(&r.body, &is)) || is != num || record_take(r.body, &b->record) != OK)
        return why(w, ERR_CORRUPT, "%s: the record at offset %llu is not that of the message", path,
                   (unsigned long long)place->offset);
    b->num = num;
    b->place = *place;
    return OK;
}

enum err body_record(struct body_reader *b, uint64_t num, const struct journal_place *place, struct record *r,
                     struct why *w) {
    bool known = b->num == num && b->place.epoch == place->epoch && b->place.offset == place->offset;
    enum err e = known ? OK : load_record(b, num, place, w);
    if (!e)
        *r = b->record;
    return e;
}

/* ---- big files ---- */

static enum err load_block(struct body_reader *b, const struct record *r, uint64_t index, struct why *w) {
    char path[JOURNAL_PATH];
    uint64_t from = index * RECORD_BLOCK, left = r->size - from;
    size_t n = left < RECORD_BLOCK ? (size_t)left : RECORD_BLOCK, got = 0;
    int fd = -1;
    if (b->big == r->big && b->index == index)
        return OK;
    snprintf(path, sizeof(path), "%.480s/%016llx", b->big_dir, (unsigned long long)r->big);
    b->big = 0;
    buf_reset(&b->block);
    enum err e = disk_open(b->disk, path, O_RDONLY, &fd, w);
    if (e)
        return e;
    char *p = buf_room(&b->block, n);
    e = p ? disk_read(b->disk, fd, p, n, from, &got, path, w) : why(w, ERR_NOMEM, "no memory");
    b->disk->ops->close(b->disk, fd);
    if (e)
        return e;
    str sums = str_tail(r->bytes, 4 * index);
    uint32_t sum = 0;
    if (got != n || !take_u32(&sums, &sum) || crc32c(0, str_n(p, n)) != sum)
        return why(w, ERR_CORRUPT, "%s fails its check at offset %llu", path, (unsigned long long)from);
    buf_grew(&b->block, n);
    b->big = r->big;
    b->index = index;
    return OK;
}

static enum err read_big(struct body_reader *b, const struct record *r, uint64_t at, uint64_t n, struct buf *out,
                         struct why *w) {
    while (n) {
        enum err e = load_block(b, r, at / RECORD_BLOCK, w);
        if (e)
            return e;
        str piece = str_sub(buf_str(&b->block), at % RECORD_BLOCK, n);
        buf_add(out, piece);
        at += piece.n;
        n -= piece.n;
    }
    return OK;
}

/* ---- bytes ---- */

enum err body_read(struct body_reader *b, const struct record *r, uint64_t at, uint64_t n, struct buf *out,
                   struct why *w) {
    enum err e = OK;
    if (at >= r->size)
        return OK;
    n = r->size - at < n ? r->size - at : n;
    if (r->big)
        e = read_big(b, r, at, n, out, w);
    else
        buf_add(out, str_sub(r->bytes, at, n));
    return e ? e : out->full ? why(w, ERR_NOMEM, "no memory") : OK;
}

enum err body_view(struct body_reader *b, const struct record *r, str edits, uint64_t at, uint64_t n, struct buf *out,
                   struct why *w) {
    struct edit_piece piece;
    enum err e = OK;
    if (edits.n == 0)
        return body_read(b, r, at, n, out, w);
    while (!e && n && edit_piece(edits, r->size, at, &piece)) {
        uint64_t has = piece.put.n ? piece.put.n : piece.n, take = has < n ? has : n;
        if (piece.put.n)
            buf_add(out, str_head(piece.put, take));
        else
            e = body_read(b, r, piece.from, take, out, w);
        at += take;
        n -= take;
    }
    return e ? e : out->full ? why(w, ERR_NOMEM, "no memory") : OK;
}
