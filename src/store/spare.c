#include "store/spare.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/code.h"

enum { PIECE = 64 * 1024, BLOCK = 4096 };

static void spare_path(char path[JOURNAL_PATH], const char *data) {
    snprintf(path, JOURNAL_PATH, "%.480s/spare", data);
}

uint64_t spare_size(uint64_t reserve) {
    return (reserve < SPARE_MAX ? reserve : SPARE_MAX) / BLOCK * BLOCK;
}

/* Written, not only made longer: a hole is no room. */
static enum err fill(struct disk *d, int fd, uint64_t size, const char *path, struct why *w) {
    static const char zeros[PIECE];
    enum err e = OK;
    for (uint64_t at = 0; !e && at < size; at += PIECE) {
        struct iovec part = {(void *)zeros, size - at < PIECE ? size - at : PIECE};
        e = disk_write(d, fd, &part, 1, at, path, w);
    }
    return e ? e : disk_sync(d, fd, path, w);
}

enum err spare_make(struct disk *d, const char *data, uint64_t size, struct why *w) {
    char path[JOURNAL_PATH];
    int fd = -1;
    spare_path(path, data);
    enum err e = disk_open(d, path, O_RDWR | O_CREAT, &fd, w);
    if (e)
        return e;
    if (d->ops->size(d, fd) != (int64_t)size)
        e = fill(d, fd, size, path, w);
    d->ops->close(d, fd);
    if (e)
        (void)d->ops->unlink(d, path); /* half of it would pass for none at the next start */
    return e;
}

bool spare_give_up(struct disk *d, const char *data) {
    char path[JOURNAL_PATH];
    struct why w;
    int fd = -1;
    spare_path(path, data);
    if (disk_open(d, path, O_RDWR, &fd, &w) != OK)
        return false;
    int64_t size = d->ops->size(d, fd);
    bool given = size > 0 && d->ops->truncate(d, fd, size > SPARE_PIECE ? (uint64_t)size - SPARE_PIECE : 0) == 0;
    d->ops->close(d, fd);
    return given;
}

static bool no_piece_free(struct disk *d, const char *data) {
    uint64_t free_bytes = 0, total = 0;
    return d->ops->space(d, data, &free_bytes, &total) >= 0 && free_bytes < SPARE_PIECE;
}

struct clearing {
    struct disk *disk;
    const char *dir;
};

static void drop_free(void *arg, const char *name) {
    struct clearing *c = arg;
    char path[JOURNAL_PATH];
    if (!str_ends(str_of(name), S(".free")))
        return;
    snprintf(path, sizeof(path), "%.400s/%.80s", c->dir, name);
    (void)c->disk->ops->unlink(c->disk, path); /* what stays is a free segment still */
}

void spare_make_way(struct disk *d, const char *data, const char *journal_dir) {
    struct clearing c = {d, journal_dir};
    if (no_piece_free(d, data))
        (void)d->ops->names(d, journal_dir, drop_free, &c); /* not there before the first start */
    while (no_piece_free(d, data) && spare_give_up(d, data))
        ;
}
