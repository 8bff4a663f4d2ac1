#include "store/file_fault.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECTOR = 512, ENTRIES = 4096, DESCRIPTORS = 4096 };

struct inode {
    uint8_t *now, *kept; /* as a reader sees it; as the platter has it */
    size_t size, kept_size, room;
    uint8_t *dirty; /* a flag per sector */
};

struct entry {
    char path[256];
    struct inode *now, *kept; /* NULL: not there */
    bool is_dir;
};

struct fault_disk {
    struct disk disk; /* first: the ops get a pointer to it */
    pthread_mutex_t lock;
    struct entry entries[ENTRIES];
    size_t entry_count;
    struct inode *open[DESCRIPTORS];
    struct inode *all[ENTRIES * 4];
    size_t all_count;
    enum fault_kind kind;
    uint64_t calls, fail_from, fail_until, random, free_bytes;
    bool halved;
};

static struct fault_disk *of(struct disk *d) {
    return (struct fault_disk *)d;
}

uint64_t fault_random(struct fault_disk *f) {
    f->random ^= f->random << 13; /* xorshift64 */
    f->random ^= f->random >> 7;
    f->random ^= f->random << 17;
    return f->random;
}

/* Is this changing call to fail?  0 or the errno. */
static int fault_due(struct fault_disk *f) {
    f->calls++;
    if (f->kind == FAULT_NONE || f->calls < f->fail_from || f->calls >= f->fail_until)
        return 0;
    return f->kind == FAULT_EIO || f->kind == FAULT_POWER ? EIO : ENOSPC;
}

static struct entry *find(struct fault_disk *f, const char *path, bool make) {
    for (size_t i = 0; i < f->entry_count; i++)
        if (!strcmp(f->entries[i].path, path))
            return &f->entries[i];
    if (!make)
        return NULL;
    assert(f->entry_count < ENTRIES && strlen(path) < sizeof(f->entries[0].path));
    struct entry *e = &f->entries[f->entry_count++];
    memcpy(e->path, path, strlen(path) + 1);
    return e;
}

static struct inode *inode_new(struct fault_disk *f) {
    assert(f->all_count < sizeof(f->all) / sizeof(f->all[0]));
    struct inode **i = &f->all[f->all_count++];
    *i = calloc(1, sizeof(**i));
    assert(*i);
    return *i;
}

static void grow(struct inode *i, size_t size) {
    if (size > i->room) {
        size_t room = i->room ? i->room : 4096;
        while (room < size)
            room *= 2;
        i->now = realloc(i->now, room);
        i->kept = realloc(i->kept, room);
        i->dirty = realloc(i->dirty, room / SECTOR);
        assert(i->now && i->kept && i->dirty);
        memset(i->now + i->room, 0, room - i->room);
        memset(i->kept + i->room, 0, room - i->room);
        memset(i->dirty + i->room / SECTOR, 0, (room - i->room) / SECTOR);
        i->room = room;
    }
    if (size > i->size)
        i->size = size;
}

static int locked_open(struct fault_disk *f, const char *path, int flags) {
    struct entry *e = find(f, path, flags & O_CREAT);
    if (!e || (!e->now && !(flags & O_CREAT)))
        return -ENOENT;
    if (e->now && (flags & O_CREAT) && (flags & O_EXCL))
        return -EEXIST;
    if (!e->now) {
        int code = fault_due(f);
        if (code)
            return -code;
        e->now = inode_new(f);
    }
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        if (!f->open[fd]) {
            f->open[fd] = e->now;
            return fd;
        }
    return -EMFILE;
}

static ssize_t locked_pwritev(struct fault_disk *f, int fd, const struct iovec *parts, int count, uint64_t at) {
    assert(f->open[fd]);
    size_t all = 0;
    for (int p = 0; p < count; p++)
        all += parts[p].iov_len;
    int code = fault_due(f);
    if (code && (f->kind != FAULT_SHORT || f->halved || all < 2)) {
        if (f->kind != FAULT_POWER)
            return -code;
        all = fault_random(f) % (all + 1); /* the machine stops in the middle of it */
    } else if (code) {
        f->halved = true;
        all /= 2;
    }
    struct inode *i = f->open[fd];
    grow(i, at + all);
    size_t left = all, to = at;
    for (int p = 0; p < count && left; p++) {
        size_t n = parts[p].iov_len < left ? parts[p].iov_len : left;
        if (n)
            memcpy(i->now + to, parts[p].iov_base, n);
        to += n;
        left -= n;
    }
    for (size_t s = at / SECTOR; all && s <= (at + all - 1) / SECTOR; s++)
        i->dirty[s] = 1;
    return code && f->kind == FAULT_POWER ? -EIO : (ssize_t)all;
}

static void settle(struct inode *i, size_t sector) {
    memcpy(i->kept + sector * SECTOR, i->now + sector * SECTOR, SECTOR);
    i->dirty[sector] = 0;
}

static int locked_sync(struct fault_disk *f, int fd) {
    struct inode *i = f->open[fd];
    assert(i);
    int code = fault_due(f);
    for (size_t s = 0; s < i->room / SECTOR; s++)
        if (i->dirty[s]) {
            if (!code || fault_random(f) % 2)
                settle(i, s);
            else if (f->kind != FAULT_POWER)
                i->dirty[s] = 0; /* Linux: after a failed sync the page counts as clean and its data may be lost */
        }
    if (code)
        return -code;
    i->kept_size = i->size;
    return 0;
}

static bool in_dir(const char *path, const char *dir) {
    size_t n = strlen(dir);
    return !strncmp(path, dir, n) && path[n] == '/' && !strchr(path + n + 1, '/');
}

static int locked_sync_dir(struct fault_disk *f, const char *path) {
    int code = fault_due(f);
    if (code)
        return -code;
    for (size_t k = 0; k < f->entry_count; k++)
        if (in_dir(f->entries[k].path, path))
            f->entries[k].kept = f->entries[k].now;
    return 0;
}

static int locked_rename(struct fault_disk *f, const char *from, const char *to) {
    struct entry *a = find(f, from, false);
    if (!a || !a->now)
        return -ENOENT;
    int code = fault_due(f);
    if (code)
        return -code;
    find(f, to, true)->now = a->now;
    find(f, from, false)->now = NULL;
    return 0;
}

static int locked_unlink(struct fault_disk *f, const char *path) {
    struct entry *e = find(f, path, false);
    if (!e || !e->now)
        return -ENOENT;
    int code = fault_due(f);
    if (code)
        return -code;
    e->now = NULL;
    return 0;
}

#define LOCKED(expression)                                                                                             \
    struct fault_disk *f = of(d);                                                                                      \
    pthread_mutex_lock(&f->lock);                                                                                      \
    __typeof__(expression) result = (expression);                                                                      \
    pthread_mutex_unlock(&f->lock);                                                                                    \
    return result

static int fault_open(struct disk *d, const char *path, int flags) {
    LOCKED(locked_open(f, path, flags));
}
static ssize_t fault_pwritev(struct disk *d, int fd, const struct iovec *parts, int count, uint64_t at) {
    LOCKED(locked_pwritev(f, fd, parts, count, at));
}
static int fault_sync(struct disk *d, int fd) {
    LOCKED(locked_sync(f, fd));
}
static int fault_sync_dir(struct disk *d, const char *path) {
    LOCKED(locked_sync_dir(f, path));
}
static int fault_rename(struct disk *d, const char *from, const char *to) {
    LOCKED(locked_rename(f, from, to));
}
static int fault_unlink(struct disk *d, const char *path) {
    LOCKED(locked_unlink(f, path));
}

static int fault_close(struct disk *d, int fd) {
    struct fault_disk *f = of(d);
    pthread_mutex_lock(&f->lock);
    f->open[fd] = NULL;
    pthread_mutex_unlock(&f->lock);
    return 0;
}

static void fault_hint(struct disk *d, int fd) {
    (void)d;
    (void)fd;
}

static ssize_t locked_pread(struct fault_disk *f, int fd, void *p, size_t n, uint64_t at) {
    struct inode *i = f->open[fd];
    assert(i);
    if (at >= i->size)
        return 0;
    n = n < i->size - at ? n : i->size - at;
    memcpy(p, i->now + at, n);
    return (ssize_t)n;
}
static ssize_t fault_pread(struct disk *d, int fd, void *p, size_t n, uint64_t at) {
    LOCKED(locked_pread(f, fd, p, n, at));
}

static int fault_mkdir(struct disk *d, const char *path) {
    struct entry *e = find(of(d), path, true);
    if (e->is_dir)
        return -EEXIST;
    e->is_dir = true;
    return 0;
}

static int locked_truncate(struct fault_disk *f, int fd, uint64_t size) {
    int code = fault_due(f);
    if (code)
        return -code;
    if (size < f->open[fd]->size) /* only the spare is cut, and what it holds is nothing */
        f->open[fd]->size = size;
    else
        grow(f->open[fd], size);
    return 0;
}
static int fault_truncate(struct disk *d, int fd, uint64_t size) {
    LOCKED(locked_truncate(f, fd, size));
}

static int64_t fault_size(struct disk *d, int fd) {
    LOCKED((int64_t)f->open[fd]->size);
}

static int fault_names(struct disk *d, const char *dir, void (*each)(void *arg, const char *name), void *arg) {
    struct fault_disk *f = of(d);
    for (size_t k = 0; k < f->entry_count; k++)
        if (f->entries[k].now && in_dir(f->entries[k].path, dir))
            each(arg, strrchr(f->entries[k].path, '/') + 1);
    return 0;
}

static int fault_statvfs(struct disk *d, const char *path, uint64_t *free_bytes, uint64_t *total_bytes) {
    (void)path;
    *free_bytes = of(d)->free_bytes;
    *total_bytes = 1ull << 40;
    return 0;
}

static const struct disk_ops fault_ops = {
    .open = fault_open,
    .close = fault_close,
    .pwritev = fault_pwritev,
    .pread = fault_pread,
    .sync = fault_sync,
    .hint = fault_hint,
    .sync_dir = fault_sync_dir,
    .rename = fault_rename,
    .unlink = fault_unlink,
    .mkdir = fault_mkdir,
    .truncate = fault_truncate,
    .size = fault_size,
    .names = fault_names,
    .space = fault_statvfs,
};

struct fault_disk *fault_disk_new(uint64_t seed) {
    struct fault_disk *f = calloc(1, sizeof(*f));
    assert(f);
    f->disk.ops = &fault_ops;
    f->random = seed * 0x9e3779b97f4a7c15u + 1;
    f->free_bytes = 1ull << 39;
    pthread_mutex_init(&f->lock, NULL);
    return f;
}

void fault_disk_free(struct fault_disk *f) {
    for (size_t k = 0; k < f->all_count; k++) {
        free(f->all[k]->now);
        free(f->all[k]->kept);
        free(f->all[k]->dirty);
        free(f->all[k]);
    }
    free(f);
}

struct disk *fault_disk(struct fault_disk *f) {
    return &f->disk;
}

void fault_set(struct fault_disk *f, enum fault_kind kind, uint64_t at, uint64_t times) {
    pthread_mutex_lock(&f->lock);
    f->kind = kind;
    f->fail_from = f->calls + at;
    f->fail_until = times && kind != FAULT_POWER ? f->fail_from + times : UINT64_MAX;
    f->halved = false;
    pthread_mutex_unlock(&f->lock);
}

uint64_t fault_calls(const struct fault_disk *f) {
    return f->calls;
}

void fault_space(struct fault_disk *f, uint64_t free_bytes) {
    f->free_bytes = free_bytes;
}

static void inode_power_cut(struct fault_disk *f, struct inode *i) {
    size_t size = i->kept_size;
    for (size_t s = 0; s < i->room / SECTOR; s++)
        if (i->dirty[s] && fault_random(f) % 2) {
            settle(i, s);
            if (i->size >= s * SECTOR && size < (s + 1) * SECTOR && fault_random(f) % 2)
                size = i->size < (s + 1) * SECTOR ? i->size : (s + 1) * SECTOR;
        }
    if (i->room) {
        memset(i->kept + size, 0, i->room - size);
        memcpy(i->now, i->kept, i->room);
        memset(i->dirty, 0, i->room / SECTOR);
    }
    i->size = i->kept_size = size;
}

void fault_power_cut(struct fault_disk *f) {
    fault_process_death(f);
    for (size_t k = 0; k < f->all_count; k++)
        inode_power_cut(f, f->all[k]);
    for (size_t k = 0; k < f->entry_count; k++) {
        struct entry *e = &f->entries[k];
        if (e->now != e->kept && fault_random(f) % 2)
            e->kept = e->now;
        e->now = e->kept;
    }
}

void fault_process_death(struct fault_disk *f) {
    memset(f->open, 0, sizeof(f->open));
    f->kind = FAULT_NONE;
}

bool fault_flip(struct fault_disk *f, const char *path, uint64_t offset, unsigned bit) {
    struct entry *e = find(f, path, false);
    if (!e || !e->now || offset >= e->now->size)
        return false;
    e->now->now[offset] ^= (uint8_t)(1u << bit);
    e->now->kept[offset] ^= (uint8_t)(1u << bit);
    return true;
}
