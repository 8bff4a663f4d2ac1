#include "store/file.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int negative(int result) {
    return result < 0 ? -errno : result;
}

static int sys_open(struct disk *d, const char *path, int flags) {
    (void)d;
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EINVAL && (flags & O_DIRECT)) /* a file system that cannot: the page cache will do */
        fd = open(path, (flags & ~(O_DIRECT | O_EXCL)) | O_CLOEXEC, 0600);
    return negative(fd);
}

static int sys_close(struct disk *d, int fd) {
    (void)d;
    return negative(close(fd));
}

/* A device with blocks larger than ours: the file is written through the page cache from now on. */
static bool not_direct(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_DIRECT) && fcntl(fd, F_SETFL, flags & ~O_DIRECT) == 0;
}

static ssize_t sys_pwritev(struct disk *d, int fd, const struct iovec *parts, int count, uint64_t at) {
    (void)d;
    ssize_t n = pwritev(fd, parts, count, (off_t)at);
    if (n < 0 && errno == EINVAL && not_direct(fd))
        n = pwritev(fd, parts, count, (off_t)at);
    return n < 0 ? -errno : n;
}

static ssize_t sys_pread(struct disk *d, int fd, void *p, size_t n, uint64_t at) {
    (void)d;
    ssize_t got = pread(fd, p, n, (off_t)at);
    return got < 0 ? -errno : got;
}

static int sys_sync(struct disk *d, int fd) {
    (void)d;
    return negative(fdatasync(fd));
}

static void sys_hint(struct disk *d, int fd) {
    (void)d;
    (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* its errors come again at fdatasync */
}

static int sys_sync_dir(struct disk *d, const char *path) {
    (void)d;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int result = negative(fsync(fd));
    close(fd);
    return result;
}

static int sys_rename(struct disk *d, const char *from, const char *to) {
    (void)d;
    return negative(rename(from, to));
}

static int sys_unlink(struct disk *d, const char *path) {
    (void)d;
    return negative(unlink(path));
}

static int sys_mkdir(struct disk *d, const char *path) {
    (void)d;
    return negative(mkdir(path, 0700));
}

static int sys_truncate(struct disk *d, int fd, uint64_t size) {
    (void)d;
    return negative(ftruncate(fd, (off_t)size));
}

static int64_t sys_size(struct disk *d, int fd) {
    (void)d;
    struct stat s;
    return fstat(fd, &s) < 0 ? -errno : s.st_size;
}

static int sys_names(struct disk *d, const char *dir, void (*each)(void *arg, const char *name), void *arg) {
    (void)d;
    DIR *open_dir = opendir(dir);
    if (!open_dir)
        return -errno;
    errno = 0;
    for (struct dirent *e; (e = readdir(open_dir)); errno = 0)
        if (e->d_name[0] != '.')
            each(arg, e->d_name);
    int result = -errno;
    closedir(open_dir);
    return result;
}

static int sys_space(struct disk *d, const char *path, uint64_t *free_bytes, uint64_t *total_bytes) {
    (void)d;
    struct statvfs s;
    if (statvfs(path, &s) < 0)
        return -errno;
    *free_bytes = (uint64_t)s.f_bavail * s.f_frsize;
    *total_bytes = (uint64_t)s.f_blocks * s.f_frsize;
    return 0;
}

static const struct disk_ops sys_ops = {
    .open = sys_open,
    .close = sys_close,
    .pwritev = sys_pwritev,
    .pread = sys_pread,
    .sync = sys_sync,
    .hint = sys_hint,
    .sync_dir = sys_sync_dir,
    .rename = sys_rename,
    .unlink = sys_unlink,
    .mkdir = sys_mkdir,
    .truncate = sys_truncate,
    .size = sys_size,
    .names = sys_names,
    .space = sys_space,
};

struct disk *disk_system(void) {
    static struct disk system_disk = {&sys_ops};
    return &system_disk;
}

enum err disk_error(int code, struct why *w, const char *doing, const char *path) {
    if (code < 0)
        code = -code;
    enum err e = code == ENOSPC || code == EDQUOT                   ? ERR_FULL
                 : code == ENOENT                                   ? ERR_NOT_FOUND
                 : code == EEXIST                                   ? ERR_EXISTS
                 : code == EACCES || code == EPERM || code == EROFS ? ERR_DENIED
                                                                    : ERR_IO;
    return why(w, e, "%s: %s: %s", path, doing, strerror(code));
}

/* Takes `written` bytes off the front of the parts; returns how many parts are used up. */
static int advance(struct iovec *parts, int count, size_t written) {
    int used = 0;
    while (used < count && written >= parts[used].iov_len)
        written -= parts[used++].iov_len;
    if (used < count) {
        parts[used].iov_base = (char *)parts[used].iov_base + written;
        parts[used].iov_len -= written;
    }
    return used;
}

enum err disk_write(struct disk *d, int fd, struct iovec *parts, int count, uint64_t at, const char *path,
                    struct why *w) {
    while (count > 0) {
        ssize_t n = d->ops->pwritev(d, fd, parts, count < IOV_MAX ? count : IOV_MAX, at);
        if (n == -EINTR)
            continue;
        if (n < 0)
            return disk_error((int)n, w, "write", path);
        int used = advance(parts, count, (size_t)n);
        if (n == 0 && used == 0)
            return disk_error(ENOSPC, w, "write", path);
        parts += used;
        count -= used;
        at += (uint64_t)n;
    }
    return OK;
}

enum err disk_read(struct disk *d, int fd, void *p, size_t n, uint64_t at, size_t *got, const char *path,
                   struct why *w) {
    *got = 0;
    while (*got < n) {
        ssize_t r = d->ops->pread(d, fd, (char *)p + *got, n - *got, at + *got);
        if (r == -EINTR)
            continue;
        if (r < 0)
            return disk_error((int)r, w, "read", path);
        if (r == 0)
            break;
        *got += (size_t)r;
    }
    return OK;
}

enum err disk_open(struct disk *d, const char *path, int flags, int *fd, struct why *w) {
    *fd = d->ops->open(d, path, flags);
    return *fd < 0 ? disk_error(*fd, w, flags & O_CREAT ? "create" : "open", path) : OK;
}

enum err disk_sync(struct disk *d, int fd, const char *path, struct why *w) {
    int r = d->ops->sync(d, fd);
    return r < 0 ? disk_error(r, w, "sync", path) : OK;
}

enum err disk_sync_dir(struct disk *d, const char *path, struct why *w) {
    int r = d->ops->sync_dir(d, path);
    return r < 0 ? disk_error(r, w, "sync", path) : OK;
}

enum err disk_rename(struct disk *d, const char *from, const char *to, struct why *w) {
    int r = d->ops->rename(d, from, to);
    return r < 0 ? disk_error(r, w, "rename", from) : OK;
}

enum err disk_mkdir(struct disk *d, const char *path, struct why *w) {
    int r = d->ops->mkdir(d, path);
    return r < 0 && r != -EEXIST ? disk_error(r, w, "create", path) : OK;
}
