#include "store/journal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/code.h"

enum {
    MAGIC = 0x314a4650, /* "PFJ1" */
    VERSION = 1,
    CRC_FROM = 8, /* the crc covers all behind itself */
    FREE_MAX = 2, /* free segments that are kept */
    WINDOW = 1024 * 1024,
    BLOCK = 4096, /* what a direct write is aligned to and a multiple of */
    STAGE = 1024 * 1024,
    GROUP_PARTS = 8192,
};
#define RECORD_READ_MAX (4ull << 30)

struct position {
    uint64_t epoch, end, seq;
};

struct journal {
    struct disk *disk;
    char dir[JOURNAL_PATH];
    uint64_t segment_size, random;
    struct journal_segment *segments; /* on the chain, by epoch; the last one is written to */
    size_t count, room;
    uint64_t free[16];
    size_t free_count;
    uint64_t newest;   /* highest epoch ever given out */
    uint64_t prepared; /* epoch of the segment made ahead, or 0 */
    bool preparing;

    struct position good; /* end of what is synced */
    struct position tip;  /* end of the group being built */
    int fd;               /* of tip.epoch */
    int old_fd;           /* of good.epoch while the group lies in a new segment; else -1 */
    uint64_t last_seq;    /* highest ever given out, lost groups included */
    enum err broken;
    struct why broken_why;
    struct position spoiled; /* where a refused group may stand that no START has leapt over yet; epoch 0: nowhere */

    struct iovec *parts;
    size_t part_count, part_room;
    char (*headers)[JOURNAL_HEADER];
    size_t header_count, header_room;
    char start_body[24];

    char *stage;      /* STAGE bytes, aligned: what is written goes through here */
    size_t staged;    /* bytes in it that are not yet written */
    char tail[BLOCK]; /* the synced bytes of the block that good.end lies in */
};

/* ---- the format ---- */

static void put32(char *p, uint32_t v) {
    for (int i = 0; i < 4; i++)
        p[i] = (char)(v >> (8 * i));
}

static void put64(char *p, uint64_t v) {
    for (int i = 0; i < 8; i++)
        p[i] = (char)(v >> (8 * i));
}

static uint64_t padded(uint64_t n) {
    return (n + 7) & ~7ull;
}

static void header_put(char h[JOURNAL_HEADER], enum journal_type type, uint32_t length, uint64_t seq, uint64_t epoch,
                       uint64_t durable) {
    memset(h, 0, JOURNAL_HEADER);
    put32(h, MAGIC);
    h[8] = (char)type;
    h[9] = VERSION;
    put32(h + 12, length);
    put64(h + 16, seq);
    put64(h + 24, epoch);
    put64(h + 32, durable);
}

struct header {
    uint32_t crc, length;
    struct journal_record record;
};

/* Is this, by its looks, the header of a record of that epoch that fits into `room` bytes? */
static bool header_take(const char *p, uint64_t epoch, uint64_t room, struct header *h) {
    str s = str_n(p, JOURNAL_HEADER);
    uint32_t magic = 0;
    uint8_t type = 0, version = 0;
    uint16_t zero = 0;
    struct journal_record *r = &h->record;
    bool whole = take_u32(&s, &magic) && take_u32(&s, &h->crc) && take_u8(&s, &type) && take_u8(&s, &version) &&
                 take_u16(&s, &zero) && take_u32(&s, &h->length) && take_u64(&s, &r->place.seq) &&
                 take_u64(&s, &r->place.epoch) && take_u64(&s, &r->durable);
    r->type = (enum journal_type)type;
    r->place.length = JOURNAL_HEADER + padded(h->length);
    return whole && magic == MAGIC && version == VERSION && zero == 0 && r->place.epoch == epoch &&
           r->place.length <= room;
}

static bool body_valid(const char *p, const struct header *h) {
    return crc32c(0, str_n(p + CRC_FROM, h->record.place.length - CRC_FROM)) == h->crc;
}

static bool start_take(str body, struct position *before) {
    return take_u64(&body, &before->epoch) && take_u64(&body, &before->end) && take_u64(&body, &before->seq) &&
           body.n == 0;
}

void journal_path(char path[JOURNAL_PATH], const char *dir, uint64_t epoch) {
    snprintf(path, JOURNAL_PATH, "%.480s/%016llx.log", dir, (unsigned long long)epoch);
}

static void free_path(char path[JOURNAL_PATH], const char *dir, uint64_t epoch) {
    snprintf(path, JOURNAL_PATH, "%.480s/%016llx.free", dir, (unsigned long long)epoch);
}

enum err journal_read(struct disk *d, int fd, const char *path, const struct journal_place *place, struct buf *out,
                      struct journal_record *r, struct why *w) {
    buf_reset(out);
    char *p = buf_room(out, place->length);
    if (!p)
        return why(w, ERR_NOMEM, "%s: no memory for a record of %llu bytes", path, (unsigned long long)place->length);
    size_t got = 0;
    enum err e = disk_read(d, fd, p, place->length, place->offset, &got, path, w);
    if (e)
        return e;
    struct header h;
    if (got < JOURNAL_HEADER || got < place->length || !header_take(p, place->epoch, got, &h) ||
        h.record.place.length != place->length || (place->seq && h.record.place.seq != place->seq) ||
        !body_valid(p, &h))
        return why(w, ERR_CORRUPT, "%s: the record at offset %llu fails its check", path,
                   (unsigned long long)place->offset);
    buf_grew(out, place->length);
    *r = h.record;
    r->place.offset = place->offset;
    r->body = str_n(p + JOURNAL_HEADER, h.length);
    return OK;
}

/* ---- recovery: which segments there are, and how they follow each other ---- */

static uint64_t next_random(struct journal *j) {
    j->random += 0x9e3779b97f4a7c15u; /* splitmix64 over the seed of the host */
    uint64_t z = j->random;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t next_epoch(struct journal *j) {
    j->newest = ((j->newest >> 32) + 1) << 32 | (uint32_t)next_random(j);
    return j->newest;
}

static bool name_take(str name, const char *suffix, uint64_t *epoch) {
    if (name.n < 17 || !str_eq(str_tail(name, 16), str_of(suffix)))
        return false;
    *epoch = 0;
    for (size_t i = 0; i < 16; i++) {
        char c = name.p[i];
        if (!char_is_digit(c) && !(c >= 'a' && c <= 'f'))
            return false;
        *epoch = *epoch << 4 | (uint64_t)(char_is_digit(c) ? c - '0' : c - 'a' + 10);
    }
    return true;
}

static bool segment_reserve(struct journal *j) {
    if (j->count < j->room)
        return true;
    size_t room = j->room ? 2 * j->room : 16;
    struct journal_segment *more = realloc(j->segments, room * sizeof(*more));
    if (!more)
        return false;
    j->segments = more;
    j->room = room;
    return true;
}

static struct journal_segment *segment_add(struct journal *j, uint64_t epoch) {
    if (!segment_reserve(j))
        return NULL;
    struct journal_segment *s = &j->segments[j->count++];
    *s = (struct journal_segment){.epoch = epoch};
    return s;
}

static void segment_remove(struct journal *j, size_t i) {
    memmove(&j->segments[i], &j->segments[i + 1], (j->count - i - 1) * sizeof(j->segments[0]));
    j->count--;
}

struct scan {
    struct journal *j;
    bool change; /* false: look only */
    bool nomem;
    struct buf bytes;
    journal_each *each;
    void *arg;
    struct journal_recovery *found;
    struct journal_position applied;
    uint64_t ghost; /* the highest seq of a valid record behind the end */
};

static void note_name(void *arg, const char *name) {
    struct scan *s = arg;
    struct journal *j = s->j;
    uint64_t epoch = 0;
    char path[JOURNAL_PATH];
    if (name_take(str_of(name), ".log", &epoch))
        s->nomem |= !segment_add(j, epoch);
    else if (name_take(str_of(name), ".free", &epoch) && j->free_count < sizeof(j->free) / sizeof(j->free[0]))
        j->free[j->free_count++] = epoch;
    else if (s->change && str_ends(str_of(name), S(".tmp"))) {
        snprintf(path, sizeof(path), "%.400s/%.80s", j->dir, name);
        (void)j->disk->ops->unlink(j->disk, path); /* half prepared: only space */
    }
    if (epoch > j->newest)
        j->newest = epoch;
}

static int by_epoch(const void *a, const void *b) {
    uint64_t x = ((const struct journal_segment *)a)->epoch, y = ((const struct journal_segment *)b)->epoch;
    return x < y ? -1 : x > y;
}

/* Reads the record at `offset`, not beyond `end`.  *valid tells whether it is one. */
static enum err record_at(struct scan *s, int fd, const char *path, uint64_t epoch, uint64_t offset, uint64_t end,
                          bool *valid, struct journal_record *r, struct why *w) {
    char head[JOURNAL_HEADER];
    size_t got = 0;
    *valid = false;
    enum err e = disk_read(s->j->disk, fd, head, sizeof(head), offset, &got, path, w);
    struct header h;
    if (e || got < sizeof(head) || offset > end || !header_take(head, epoch, end - offset, &h))
        return e;
    struct journal_place place = {.epoch = epoch, .offset = offset, .length = h.record.place.length};
    e = journal_read(s->j->disk, fd, path, &place, &s->bytes, r, w);
    *valid = e == OK;
    return e == ERR_CORRUPT ? OK : e;
}

/* The size of the file, not the configured one: that may have changed since. */
static uint64_t size_of(struct scan *s, int fd) {
    int64_t size = s->j->disk->ops->size(s->j->disk, fd);
    return size < 0 ? 0 : (uint64_t)size;
}

/* Searches for valid records of this epoch at or behind `from`, at every place where one could begin. */
static enum err search(struct scan *s, int fd, const char *path, uint64_t epoch, uint64_t from, uint64_t *seq_max,
                       uint64_t *durable_max, struct why *w) {
    char *window = malloc(WINDOW + JOURNAL_HEADER);
    if (!window)
        return why(w, ERR_NOMEM, "%s: no memory", path);
    enum err e = OK;
    uint64_t size = size_of(s, fd);
    for (uint64_t at = padded(from); !e && at < size; at += WINDOW) {
        size_t got = 0;
        e = disk_read(s->j->disk, fd, window, WINDOW + JOURNAL_HEADER, at, &got, path, w);
        for (size_t i = 0; !e && i < WINDOW && i + JOURNAL_HEADER <= got; i += 8) {
            struct header h;
            bool valid = false;
            struct journal_record r;
            static const char magic[4] = {'P', 'F', 'J', '1'}; /* MAGIC as it lies on the disk */
            if (memcmp(window + i, magic, 4) != 0 || !header_take(window + i, epoch, size - at - i, &h))
                continue;
            e = record_at(s, fd, path, epoch, at + i, size, &valid, &r, w);
            if (e || !valid)
                continue;
            *seq_max = r.place.seq > *seq_max ? r.place.seq : *seq_max;
            *durable_max = r.durable > *durable_max ? r.durable : *durable_max;
        }
        if (got < WINDOW + JOURNAL_HEADER)
            break;
    }
    free(window);
    return e;
}

static enum err damage(const struct scan *s, struct why *w, const char *path, uint64_t offset, uint64_t seq) {
    if (!s->change)
        return why(w, ERR_CORRUPT, "%s is damaged at offset %llu: record %llu had been acknowledged and cannot be read",
                   path, (unsigned long long)offset, (unsigned long long)seq);
    return why(
        w, ERR_CORRUPT,
        "%s is damaged at offset %llu: record %llu had been acknowledged and cannot be read; nothing was changed. "
        "Run `penfold store check` on the data directory, then restore it from a backup or a healthy disk",
        path, (unsigned long long)offset, (unsigned long long)seq);
}

/* Reads the START at the front of segment i.  *started tells whether there is one. */
static enum err segment_head(struct scan *s, size_t i, bool *started, struct position *before, struct why *w) {
    struct journal_segment *g = &s->j->segments[i];
    char path[JOURNAL_PATH];
    journal_path(path, s->j->dir, g->epoch);
    int fd = -1;
    enum err e = disk_open(s->j->disk, path, O_RDONLY, &fd, w);
    if (e)
        return e;
    struct journal_record r;
    e = record_at(s, fd, path, g->epoch, 0, size_of(s, fd), started, &r, w);
    *started = *started && r.type == JOURNAL_START && start_take(r.body, before);
    if (*started)
        g->start_seq = g->last_seq = r.place.seq;
    s->j->disk->ops->close(s->j->disk, fd);
    return e;
}

/* A segment without a valid front: never used, or damaged?  It is damaged if a record in it knows that one behind
 * `last_seq` was durable, or if the database has seen one. */
static enum err unstarted_is_unused(struct scan *s, uint64_t epoch, uint64_t last_seq, struct why *w) {
    char path[JOURNAL_PATH];
    journal_path(path, s->j->dir, epoch);
    int fd = -1;
    enum err e = disk_open(s->j->disk, path, O_RDONLY, &fd, w);
    if (e)
        return e;
    uint64_t seq = 0, durable = 0;
    e = search(s, fd, path, epoch, 0, &seq, &durable, w);
    s->j->disk->ops->close(s->j->disk, fd);
    if (!e && (durable > last_seq || s->applied.epoch == epoch))
        return damage(s, w, path, 0, last_seq + 1);
    s->ghost = seq > s->ghost ? seq : s->ghost;
    return e;
}

static void drop(struct journal *j, uint64_t epoch) {
    char path[JOURNAL_PATH];
    journal_path(path, j->dir, epoch);
    (void)j->disk->ops->unlink(j->disk, path); /* it stays off the chain if this fails */
}

/* Takes off the list what is not on the chain: segments made ahead (behind the last START) go to `ahead`, those left
 * by failed writes are dropped.  Each remaining one learns its end from its successor. */
static enum err find_chain(struct scan *s, uint64_t ahead[], size_t *ahead_count, size_t ahead_max, struct why *w) {
    struct journal *j = s->j;
    uint64_t above = UINT64_MAX; /* epochs from here on, up to the known successor, are not on the chain */
    struct position before = {0};
    bool have_successor = false;
    *ahead_count = 0;
    for (size_t i = j->count; i-- > 0;) {
        struct journal_segment *g = &j->segments[i];
        bool started = false, on_chain = !have_successor || g->epoch <= above;
        struct position mine = {0};
        enum err e = on_chain ? segment_head(s, i, &started, &mine, w) : OK;
        if (e)
            return e;
        if (have_successor && on_chain && !started) {
            char path[JOURNAL_PATH];
            journal_path(path, j->dir, g->epoch);
            return damage(s, w, path, 0, before.seq);
        }
        if (!on_chain && s->change)
            drop(j, g->epoch);
        if (!started) {
            if (!have_successor && *ahead_count < ahead_max)
                ahead[(*ahead_count)++] = g->epoch;
            segment_remove(j, i);
            continue;
        }
        if (have_successor && before.epoch == g->epoch) {
            g->end = before.end;
            g->last_seq = before.seq;
        } else
            s->found->gaps += have_successor;
        have_successor = true;
        before = mine;
        above = mine.epoch;
    }
    s->found->gaps += before.epoch != 0;
    return OK;
}

/* ---- recovery: reading the records ---- */

static enum err tail(struct scan *s, struct journal_segment *g, int fd, const char *path, uint64_t at, uint64_t seq,
                     struct why *w) {
    uint64_t seq_max = 0, durable = 0;
    enum err e = search(s, fd, path, g->epoch, at, &seq_max, &durable, w);
    if (e)
        return e;
    if (durable >= seq || s->applied.seq >= seq)
        return damage(s, w, path, at, seq);
    s->ghost = seq_max > s->ghost ? seq_max : s->ghost;
    if (seq_max)
        s->found->torn_bytes += 1;
    g->end = at;
    g->last_seq = seq - 1;
    return OK;
}

/* One record was read: is it the one that must stand here? */
static bool follows(const struct journal_record *r, uint64_t epoch, uint64_t at, uint64_t seq) {
    struct position before;
    if (r->type != JOURNAL_START)
        return r->place.seq == seq;
    return r->place.seq >= seq && start_take(r->body, &before) &&
           (at == 0 || (before.epoch == epoch && before.end == at));
}

static enum err scan_records(struct scan *s, struct journal_segment *g, int fd, const char *path, uint64_t at,
                             uint64_t seq, struct why *w) {
    uint64_t end = g->end ? g->end : size_of(s, fd);
    while (at < end) {
        struct journal_record r;
        bool valid = false;
        enum err e = record_at(s, fd, path, g->epoch, at, end, &valid, &r, w);
        if (e)
            return e;
        if (!valid || !follows(&r, g->epoch, at, seq))
            break;
        if (r.place.seq > s->applied.seq || !s->change) {
            e = s->each ? s->each(s->arg, &r, w) : OK;
            if (e)
                return e;
            s->found->records++;
        }
        seq = r.place.seq + 1;
        at += r.place.length;
    }
    if (g->end)
        return at == g->end && seq == g->last_seq + 1 ? OK : damage(s, w, path, at, seq);
    return tail(s, g, fd, path, at, seq, w);
}

static enum err scan_segment(struct scan *s, size_t i, uint64_t at, uint64_t seq, struct why *w) {
    struct journal_segment *g = &s->j->segments[i];
    char path[JOURNAL_PATH];
    journal_path(path, s->j->dir, g->epoch);
    int fd = -1;
    enum err e = disk_open(s->j->disk, path, s->change ? O_RDWR : O_RDONLY, &fd, w);
    if (e)
        return e;
    /* What a killed process had written but not synced may lie in the page cache only: pin it before it counts. */
    e = s->change ? disk_sync(s->j->disk, fd, path, w) : OK;
    if (!e)
        e = scan_records(s, g, fd, path, at, seq, w);
    s->j->disk->ops->close(s->j->disk, fd);
    return e;
}

/* An old segment whose successor was recycled: its end is not known, and everything in it has been applied long ago. */
static bool end_unknown(const struct journal *j, size_t i) {
    return i + 1 < j->count && j->segments[i].end == 0;
}

static enum err scan_all(struct scan *s, struct why *w) {
    struct journal *j = s->j;
    size_t first = 0;
    bool from_applied = s->applied.epoch != 0 && s->change;
    while (from_applied && first < j->count && j->segments[first].epoch != s->applied.epoch)
        first++;
    if (s->applied.epoch && from_applied && first == j->count)
        return why(w, ERR_CORRUPT,
                   "%s/%016llx.log is missing: the database was following it.  Run `penfold store check` on the data "
                   "directory, then restore it from a backup",
                   j->dir, (unsigned long long)s->applied.epoch);
    for (size_t i = first; i < j->count; i++) {
        struct journal_segment *g = &j->segments[i];
        bool resumed = from_applied && i == first;
        if (end_unknown(j, i) && !resumed) {
            /* Read what is there; the database's references are checked one by one elsewhere. */
            uint64_t floor = s->applied.seq;
            s->applied.seq = 0;
            struct journal_recovery rest = *s->found;
            enum err e = scan_segment(s, i, 0, g->start_seq, w);
            s->applied.seq = floor;
            rest.records = s->found->records;
            *s->found = rest;
            if (e)
                return e;
            continue;
        }
        enum err e =
            scan_segment(s, i, resumed ? s->applied.offset : 0, resumed ? s->applied.seq + 1 : g->start_seq, w);
        if (e)
            return e;
    }
    return OK;
}

static enum err recover(struct scan *s, uint64_t ahead[], size_t *ahead_count, size_t ahead_max, struct why *w) {
    struct journal *j = s->j;
    int r = j->disk->ops->names(j->disk, j->dir, note_name, s);
    if (r < 0)
        return disk_error(r, w, "read the directory", j->dir);
    if (s->nomem)
        return why(w, ERR_NOMEM, "%s: no memory", j->dir);
    if (j->count)
        qsort(j->segments, j->count, sizeof(j->segments[0]), by_epoch);
    enum err e = find_chain(s, ahead, ahead_count, ahead_max, w);
    if (!e)
        e = scan_all(s, w);
    uint64_t last = j->count ? j->segments[j->count - 1].last_seq : 0;
    for (size_t i = 0; !e && i < *ahead_count; i++)
        e = unstarted_is_unused(s, ahead[i], last, w);
    s->found->last_seq = last;
    return e;
}

/* ---- opening ---- */

/* The block that writing goes on in, for direct writes are of whole blocks. */
static enum err read_tail(struct journal *j, struct why *w) {
    char path[JOURNAL_PATH];
    size_t got = 0, n = j->good.end % BLOCK;
    int fd = -1;
    journal_path(path, j->dir, j->good.epoch);
    enum err e = disk_open(j->disk, path, O_RDONLY, &fd, w);
    if (e)
        return e;
    e = disk_read(j->disk, fd, j->tail, n, j->good.end - n, &got, path, w);
    j->disk->ops->close(j->disk, fd);
    return e || got == n ? e : why(w, ERR_CORRUPT, "%s has become shorter", path);
}

static enum err open_last(struct journal *j, uint64_t ghost, struct why *w) {
    struct journal_segment *g = &j->segments[j->count - 1];
    char path[JOURNAL_PATH];
    journal_path(path, j->dir, g->epoch);
    j->last_seq = g->last_seq > ghost ? g->last_seq : ghost;
    j->good = (struct position){g->epoch, g->end, g->last_seq};
    j->tip = j->good;
    enum err e = read_tail(j, w);
    return e ? e : disk_open(j->disk, path, O_RDWR | O_DIRECT, &j->fd, w);
}

static enum err begin_here(struct journal *j, struct why *w);

static enum err open_chain(struct journal *j, uint64_t ghost, struct why *w) {
    if (j->count) {
        enum err e = open_last(j, ghost, w);
        if (e)
            return e;
    }
    enum err e = begin_here(j, w);
    return e ? e : journal_commit(j, w);
}

static void recall_ahead(struct journal *j, const uint64_t ahead[], size_t count) {
    uint64_t last = j->count ? j->segments[j->count - 1].epoch : 0;
    for (size_t i = 0; i < count; i++) {
        char path[JOURNAL_PATH];
        journal_path(path, j->dir, ahead[i]);
        if (!j->prepared && ahead[i] > last)
            j->prepared = ahead[i]; /* newest first: the later ones are spares of a past failure */
        else
            (void)j->disk->ops->unlink(j->disk, path);
    }
}

static struct journal *journal_new(struct disk *d, const char *dir, uint64_t segment_size, uint64_t seed) {
    struct journal *j = calloc(1, sizeof(*j));
    if (!j)
        return NULL;
    j->disk = d;
    j->segment_size = segment_size;
    j->random = seed;
    j->fd = j->old_fd = -1;
    j->stage = aligned_alloc(BLOCK, STAGE);
    if (!j->stage) {
        free(j);
        return NULL;
    }
    snprintf(j->dir, sizeof(j->dir), "%s", dir);
    return j;
}

enum err journal_open(struct journal **out, struct disk *d, const char *dir, uint64_t segment_size,
                      uint64_t random_seed, struct journal_position applied, journal_each *each, void *arg,
                      struct journal_recovery *found, struct why *w) {
    struct journal *j = journal_new(d, dir, segment_size, random_seed);
    if (!j)
        return why(w, ERR_NOMEM, "no memory");
    *found = (struct journal_recovery){0};
    struct scan s = {.j = j,
                     .change = true,
                     .bytes = BUF(RECORD_READ_MAX),
                     .each = each,
                     .arg = arg,
                     .found = found,
                     .applied = applied};
    uint64_t ahead[16];
    size_t ahead_count = 0;
    enum err e = recover(&s, ahead, &ahead_count, 16, w);
    if (!e) {
        recall_ahead(j, ahead, ahead_count);
        if (j->last_seq < applied.seq)
            j->last_seq = j->good.seq = applied.seq;
        e = open_chain(j, s.ghost > applied.seq ? s.ghost : applied.seq, w);
    }
    buf_free(&s.bytes);
    if (e)
        journal_close(j);
    else
        *out = j;
    return e;
}

enum err journal_verify(struct disk *d, const char *dir, uint64_t segment_size, struct journal_position applied,
                        journal_each *each, void *arg, struct journal_recovery *found, struct why *w) {
    struct journal *j = journal_new(d, dir, segment_size, 0);
    if (!j)
        return why(w, ERR_NOMEM, "no memory");
    *found = (struct journal_recovery){0};
    struct scan s = {
        .j = j, .bytes = BUF(RECORD_READ_MAX), .each = each, .arg = arg, .found = found, .applied = applied};
    uint64_t ahead[16];
    size_t ahead_count = 0;
    enum err e = recover(&s, ahead, &ahead_count, 16, w);
    buf_free(&s.bytes);
    journal_close(j);
    return e;
}

void journal_close(struct journal *j) {
    if (!j)
        return;
    if (j->fd >= 0)
        j->disk->ops->close(j->disk, j->fd);
    if (j->old_fd >= 0)
        j->disk->ops->close(j->disk, j->old_fd);
    free(j->segments);
    free(j->parts);
    free(j->headers);
    free(j->stage);
    free(j);
}

/* ---- writing ---- */

uint64_t journal_record_max(const struct journal *j) {
    return j->segment_size - JOURNAL_START_SIZE - JOURNAL_HEADER - 8;
}

uint64_t journal_durable(const struct journal *j) {
    return j->good.seq;
}

struct journal_position journal_position(const struct journal *j) {
    return (struct journal_position){j->good.seq, j->good.epoch, j->good.end};
}

enum err journal_broken(const struct journal *j) {
    return j->broken;
}

static bool more_parts(struct journal *j, size_t n) {
    if (j->part_count + n + 2 <= j->part_room)
        return true;
    size_t room = j->part_room ? j->part_room : 64;
    while (room < j->part_count + n + 2)
        room *= 2;
    struct iovec *more = realloc(j->parts, room * sizeof(*more));
    if (!more)
        return false;
    j->parts = more;
    j->part_room = room;
    return true;
}

/* The parts point at headers by number until the group is written: the array may move. */
static bool more_headers(struct journal *j) {
    if (j->header_count < j->header_room)
        return true;
    size_t room = j->header_room ? 2 * j->header_room : 64;
    void *more = realloc(j->headers, room * sizeof(*j->headers));
    if (!more)
        return false;
    j->headers = more;
    j->header_room = room;
    return true;
}

static enum err append(struct journal *j, enum journal_type type, const struct iovec *parts, int count,
                       struct journal_place *place, struct why *w) {
    static const char zeros[8];
    size_t length = 0;
    for (int i = 0; i < count; i++)
        length += parts[i].iov_len;
    size_t padding = padded(length) - length;
    if (!more_parts(j, (size_t)count) || !more_headers(j))
        return why(w, ERR_NOMEM, "no memory for the journal's group");
    char *h = j->headers[j->header_count];
    uint64_t seq = j->last_seq + 1;
    header_put(h, type, (uint32_t)length, seq, j->tip.epoch, j->good.seq);
    uint32_t crc = crc32c(0, str_n(h + CRC_FROM, JOURNAL_HEADER - CRC_FROM));
    j->parts[j->part_count++] = (struct iovec){NULL, JOURNAL_HEADER};
    for (int i = 0; i < count; i++) {
        crc = crc32c(crc, str_n(parts[i].iov_base, parts[i].iov_len));
        if (parts[i].iov_len)
            j->parts[j->part_count++] = parts[i];
    }
    crc = crc32c(crc, str_n(zeros, padding));
    if (padding)
        j->parts[j->part_count++] = (struct iovec){(void *)zeros, padding};
    put32(h + 4, crc);
    j->header_count++;
    j->last_seq = seq;
    *place = (struct journal_place){seq, j->tip.epoch, j->tip.end, JOURNAL_HEADER + length + padding};
    j->tip.end += place->length;
    j->tip.seq = seq;
    return OK;
}

static enum err append_start(struct journal *j, struct why *w) {
    put64(j->start_body, j->good.epoch);
    put64(j->start_body + 8, j->good.end);
    put64(j->start_body + 16, j->good.seq);
    struct iovec part = {j->start_body, sizeof(j->start_body)};
    struct journal_place place;
    return append(j, JOURNAL_START, &part, 1, &place, w);
}

/* Opens the segment that comes next: the one made ahead, or else a new one that grows as it is written. */
static enum err open_next(struct journal *j, uint64_t *epoch, int *fd, struct why *w) {
    char path[JOURNAL_PATH];
    if (j->prepared) {
        *epoch = j->prepared;
        j->prepared = 0;
        journal_path(path, j->dir, *epoch);
        return disk_open(j->disk, path, O_RDWR | O_DIRECT, fd, w);
    }
    *epoch = next_epoch(j);
    journal_path(path, j->dir, *epoch);
    enum err e = disk_open(j->disk, path, O_RDWR | O_CREAT | O_EXCL | O_DIRECT, fd, w);
    if (e)
        return e;
    e = disk_sync_dir(j->disk, j->dir, w);
    if (!e)
        return OK;
    j->disk->ops->close(j->disk, *fd);
    (void)j->disk->ops->unlink(j->disk, path);
    return e;
}

static void group_forget(struct journal *j) {
    j->part_count = j->header_count = 0;
}

/* The segment of the tip took a failed write: it is never written again.  If it is a new one, it goes altogether. */
static void group_abandon(struct journal *j) {
    group_forget(j);
    if (j->fd >= 0)
        j->disk->ops->close(j->disk, j->fd);
    if (j->tip.epoch != j->good.epoch) {
        char path[JOURNAL_PATH];
        journal_path(path, j->dir, j->tip.epoch);
        (void)j->disk->ops->unlink(j->disk, path); /* if this fails it is off the chain all the same */
    }
    j->fd = j->old_fd;
    j->old_fd = -1;
    j->tip = j->good;
}

static enum err roll(struct journal *j, struct why *w) {
    assert(j->header_count == 0 && j->old_fd < 0);
    uint64_t epoch = 0;
    int fd = -1;
    if (!segment_reserve(j)) /* now, for after the sync nothing may fail */
        return why(w, ERR_NOMEM, "no memory for the journal");
    enum err e = open_next(j, &epoch, &fd, w);
    if (e)
        return e;
    j->old_fd = j->fd;
    j->fd = fd;
    j->tip = (struct position){epoch, 0, j->good.seq};
    e = append_start(j, w);
    if (e)
        group_abandon(j);
    return e;
}

/* After opening: say where the chain ends now, in the same segment when there is room. */
static enum err begin_here(struct journal *j, struct why *w) {
    if (j->fd < 0 || j->good.end + JOURNAL_START_SIZE > j->segment_size)
        return roll(j, w);
    return append_start(j, w);
}

enum err journal_add(struct journal *j, enum journal_type type, const struct iovec *parts, int count,
                     struct journal_place *place, struct why *w) {
    if (j->broken)
        return why(w, j->broken, "%s", j->broken_why.text);
    uint64_t size = 0;
    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    if (size > journal_record_max(j))
        return why(w, ERR_LIMIT, "a record of %llu bytes does not fit into a journal segment",
                   (unsigned long long)size);
    size = JOURNAL_HEADER + padded(size);
    bool fits = j->tip.end + size <= j->segment_size;
    if (j->header_count && (!fits || j->part_count + (size_t)count + 2 > GROUP_PARTS))
        return ERR_MORE;
    enum err e = fits ? OK : roll(j, w);
    return e ? e : append(j, type, parts, count, place, w);
}

static enum err stage_write(struct journal *j, uint64_t *at, const char *path, struct why *w) {
    size_t whole = (j->staged + BLOCK - 1) / BLOCK * BLOCK;
    memset(j->stage + j->staged, 0, whole - j->staged);
    struct iovec part = {j->stage, whole};
    enum err e = disk_write(j->disk, j->fd, &part, 1, *at, path, w);
    *at += whole;
    return e;
}

static enum err stage_add(struct journal *j, const char *p, size_t n, uint64_t *at, const char *path, struct why *w) {
    while (n) {
        size_t room = STAGE - j->staged, piece = n < room ? n : room;
        memcpy(j->stage + j->staged, p, piece);
        j->staged += piece;
        p += piece;
        n -= piece;
        if (j->staged < STAGE)
            break;
        enum err e = stage_write(j, at, path, w);
        if (e)
            return e;
        j->staged = 0;
    }
    return OK;
}

/* Written past the page cache: nobody reads most of it soon, and pages for it cost the kernel more than this copy.  The
 * block in which the last group ended is written again as it is, with the new bytes behind it. */
static enum err group_write(struct journal *j, struct why *w) {
    char path[JOURNAL_PATH];
    journal_path(path, j->dir, j->tip.epoch);
    size_t header = 0;
    for (size_t i = 0; i < j->part_count; i++)
        if (!j->parts[i].iov_base)
            j->parts[i].iov_base = j->headers[header++];
    uint64_t from = j->tip.epoch == j->good.epoch ? j->good.end : 0;
    j->staged = from % BLOCK;
    memcpy(j->stage, j->tail, j->staged);
    uint64_t at = from - j->staged;
    enum err e = OK;
    for (size_t i = 0; !e && i < j->part_count; i++)
        e = stage_add(j, j->parts[i].iov_base, j->parts[i].iov_len, &at, path, w);
    if (!e && j->staged)
        e = stage_write(j, &at, path, w);
    return e ? e : disk_sync(j->disk, j->fd, path, w);
}

static void group_done(struct journal *j) {
    if (j->tip.epoch != j->good.epoch) {
        struct journal_segment *s = segment_add(j, j->tip.epoch);
        assert(s); /* roll() made room */
        str h = str_n(j->headers[0] + 16, 8);
        bool whole = take_u64(&h, &s->start_seq);
        assert(whole);
    }
    struct journal_segment *s = &j->segments[j->count - 1];
    s->end = j->tip.end;
    s->last_seq = j->tip.seq;
    if (j->old_fd >= 0)
        j->disk->ops->close(j->disk, j->old_fd);
    j->old_fd = -1;
    j->good = j->tip;
    memcpy(j->tail, j->stage + j->staged / BLOCK * BLOCK, j->staged % BLOCK);
    group_forget(j);
}

static enum err group_flush(struct journal *j, struct why *w) {
    enum err e = group_write(j, w);
    if (!e)
        group_done(j);
    return e;
}

/* Until a START says that the chain goes on elsewhere, a refused group that is whole would be taken for the tail: make
 * its first header none.  Where that fails as well it is tried with each repair. */
static void spoil(struct journal *j) {
    static const char zeros[JOURNAL_HEADER];
    char path[JOURNAL_PATH];
    struct why w;
    int fd = -1;
    if (!j->spoiled.epoch)
        return;
    journal_path(path, j->dir, j->spoiled.epoch);
    enum err e = disk_open(j->disk, path, O_RDWR, &fd, &w);
    if (!e) {
        struct iovec part = {(void *)zeros, sizeof(zeros)};
        e = disk_write(j->disk, fd, &part, 1, j->spoiled.end, path, &w);
        e = e ? e : disk_sync(j->disk, fd, path, &w);
        j->disk->ops->close(j->disk, fd);
    } else if (e == ERR_NOT_FOUND) /* a new segment, removed already: let it stay so */
        e = disk_sync_dir(j->disk, j->dir, &w);
    if (!e)
        j->spoiled = (struct position){0};
}

bool journal_unsure(const struct journal *j) {
    return j->spoiled.epoch != 0;
}

enum err journal_repair(struct journal *j, struct why *w) {
    if (!j->broken)
        return OK;
    if (j->header_count)
        group_forget(j);
    enum err e = roll(j, w);
    if (!e) {
        e = group_flush(j, w);
        if (e)
            group_abandon(j);
    }
    if (e) {
        j->broken = e;
        if (w)
            j->broken_why = *w;
        spoil(j);
        return e;
    }
    j->broken = OK;
    j->spoiled = (struct position){0};
    return OK;
}

enum err journal_commit(struct journal *j, struct why *w) {
    if (j->header_count == 0)
        return OK;
    enum err e = group_flush(j, w);
    if (!e)
        return OK;
    j->spoiled = (struct position){j->tip.epoch, j->tip.epoch == j->good.epoch ? j->good.end : 0, 0};
    group_abandon(j);
    j->broken = e;
    j->broken_why = w ? *w : (struct why){"the disk refused a write"};
    struct why again;
    enum err repaired = journal_repair(j, &again);
    assert(repaired == OK || j->broken); /* if not now, then when the host asks again */
    return e;
}

enum err journal_turn(struct journal *j, struct why *w) {
    assert(j->header_count == 0);
    if (j->broken)
        return why(w, j->broken, "%s", j->broken_why.text);
    enum err e = roll(j, w);
    return e ? e : journal_commit(j, w);
}

/* ---- the next segment ---- */

bool journal_want(struct journal *j, uint64_t room, struct journal_job *job) {
    if (j->prepared || j->preparing || (!j->free_count && room < j->segment_size))
        return false;
    *job = (struct journal_job){.disk = j->disk, .epoch = next_epoch(j), .size = j->segment_size};
    memcpy(job->dir, j->dir, sizeof(job->dir));
    if (j->free_count)
        job->reuse = j->free[--j->free_count];
    j->preparing = true;
    return true;
}

static enum err fill(struct journal_job *job, const char *path) {
    int fd = -1;
    struct disk *d = job->disk;
    enum err e = disk_open(d, path, O_RDWR | O_CREAT | O_DIRECT, &fd, &job->why);
    char *zeros = e ? NULL : aligned_alloc(BLOCK, WINDOW);
    if (zeros)
        memset(zeros, 0, WINDOW);
    else if (!e)
        e = ERR_NOMEM;
    for (uint64_t at = 0; !e && at < job->size; at += WINDOW) {
        struct iovec part = {zeros, job->size - at < WINDOW ? job->size - at : WINDOW};
        e = disk_write(d, fd, &part, 1, at, path, &job->why);
    }
    if (!e)
        e = disk_sync(d, fd, path, &job->why);
    free(zeros);
    if (fd >= 0)
        d->ops->close(d, fd);
    return e;
}

void journal_prepare(struct journal_job *job) {
    char from[JOURNAL_PATH], to[JOURNAL_PATH];
    struct disk *d = job->disk;
    journal_path(to, job->dir, job->epoch);
    job->result = OK;
    if (job->reuse)
        free_path(from, job->dir, job->reuse);
    else {
        snprintf(from, sizeof(from), "%.480s/next.tmp", job->dir);
        job->result = fill(job, from);
    }
    if (!job->result)
        job->result = disk_rename(d, from, to, &job->why);
    if (!job->result)
        job->result = disk_sync_dir(d, job->dir, &job->why);
    if (job->result) {
        (void)d->ops->unlink(d, from);
        (void)d->ops->unlink(d, to);
    }
}

void journal_prepared(struct journal *j, const struct journal_job *job) {
    j->preparing = false;
    if (job->result)
        return;
    if (job->epoch > j->tip.epoch && !j->prepared) {
        j->prepared = job->epoch;
        return;
    }
    char path[JOURNAL_PATH]; /* the writer could not wait and went on in a younger one */
    journal_path(path, j->dir, job->epoch);
    (void)j->disk->ops->unlink(j->disk, path);
}

/* ---- what is alive ---- */

struct journal_segment *journal_find(struct journal *j, uint64_t epoch) {
    for (size_t i = j->count; i-- > 0;)
        if (j->segments[i].epoch == epoch)
            return &j->segments[i];
    return NULL;
}

void journal_live(struct journal *j, uint64_t epoch, int64_t bytes, int64_t count, uint64_t applied_seq) {
    struct journal_segment *s = journal_find(j, epoch);
    if (!s)
        return;
    s->live += (uint64_t)bytes;
    s->live_count += (uint64_t)count;
    if (count < 0)
        s->dead_at = applied_seq;
}

/* The successor's START must be behind the checkpoint too: recovery begins where the database stands, and that must not
 * be a place in a segment that is gone. */
static bool is_free_at(const struct journal *j, size_t i, uint64_t seq) {
    const struct journal_segment *s = &j->segments[i];
    return i + 1 < j->count && s->live_count == 0 && seq >= s->dead_at && seq >= j->segments[i + 1].start_seq;
}

bool journal_recyclable(const struct journal *j, uint64_t applied_seq) {
    for (size_t i = 0; i + 1 < j->count; i++)
        if (is_free_at(j, i, applied_seq))
            return true;
    return false;
}

static bool retire(struct journal *j, uint64_t epoch) {
    char from[JOURNAL_PATH], to[JOURNAL_PATH];
    journal_path(from, j->dir, epoch);
    free_path(to, j->dir, epoch);
    if (j->free_count >= FREE_MAX)
        return j->disk->ops->unlink(j->disk, from) == 0;
    if (j->disk->ops->rename(j->disk, from, to) < 0)
        return false;
    j->free[j->free_count++] = epoch;
    return true;
}

size_t journal_recycle(struct journal *j, uint64_t checkpointed_seq) {
    size_t freed = 0;
    for (size_t i = 0; i + 1 < j->count;)
        if (is_free_at(j, i, checkpointed_seq) && retire(j, j->segments[i].epoch)) {
            segment_remove(j, i);
            freed++;
        } else
            i++;
    return freed;
}

bool journal_shrink(struct journal *j) {
    char path[JOURNAL_PATH];
    if (j->free_count)
        free_path(path, j->dir, j->free[--j->free_count]);
    else if (j->prepared) {
        journal_path(path, j->dir, j->prepared);
        j->prepared = 0;
    } else
        return false;
    (void)j->disk->ops->unlink(j->disk, path); /* where this fails it is a free or unused one at the next start */
    return true;
}

struct journal_segment *journal_current(struct journal *j) {
    return &j->segments[j->count - 1];
}

struct journal_segment *journal_mostly_dead(struct journal *j, uint64_t applied_seq, uint64_t live_max) {
    struct journal_segment *best = NULL;
    for (size_t i = 0; i + 1 < j->count; i++) {
        struct journal_segment *s = &j->segments[i];
        bool worth = s->live_count && s->live < live_max && applied_seq >= s->last_seq && !s->compacting;
        if (worth && (!best || s->live < best->live))
            best = s;
    }
    return best;
}

uint64_t journal_disk_bytes(const struct journal *j) {
    return (j->count + j->free_count + (j->prepared != 0)) * j->segment_size;
}

size_t journal_segments(const struct journal *j) {
    return j->count;
}

const struct journal_segment *journal_nth(const struct journal *j, size_t i) {
    return &j->segments[i];
}
