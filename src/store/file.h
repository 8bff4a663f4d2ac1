/* file.h - the store's only door to files.  A disk is a table of the few calls the store makes; the system's is one,
 * file_fault.h is another: files in memory whose calls fail when a test says so and whose unsynced data a power cut
 * takes. The calls return -errno where they fail; the helpers below turn that into enum err and a sentence. Calls may
 * come from any thread. */
#ifndef STORE_FILE_H
#define STORE_FILE_H

#include <fcntl.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"

struct disk;

struct disk_ops {
    int (*open)(struct disk *d, const char *path, int flags); /* a number for the calls below; O_CREAT makes it 0600 */
    int (*close)(struct disk *d, int fd);
    ssize_t (*pwritev)(struct disk *d, int fd, const struct iovec *parts, int count, uint64_t at);
    ssize_t (*pread)(struct disk *d, int fd, void *p, size_t n, uint64_t at);
    int (*sync)(struct disk *d, int fd);  /* fdatasync: data and length */
    void (*hint)(struct disk *d, int fd); /* start writing back, do not wait */
    int (*sync_dir)(struct disk *d, const char *path);
    int (*rename)(struct disk *d, const char *from, const char *to);
    int (*unlink)(struct disk *d, const char *path);
    int (*mkdir)(struct disk *d, const char *path);
    int (*truncate)(struct disk *d, int fd, uint64_t size);
    int64_t (*size)(struct disk *d, int fd);
    int (*names)(struct disk *d, const char *dir, void (*each)(void *arg, const char *name), void *arg);
    int (*space)(struct disk *d, const char *path, uint64_t *free_bytes, uint64_t *total_bytes);
};

struct disk {
    const struct disk_ops *ops;
};

struct disk *disk_system(void);

/* ENOSPC and EDQUOT are ERR_FULL, ENOENT is ERR_NOT_FOUND, EEXIST ERR_EXISTS, EACCES and EROFS ERR_DENIED, others
 * ERR_IO. */
enum err disk_error(int code, struct why *w, const char *doing, const char *path);

/* All of it, or an error; a write that comes back short is continued.  parts are used up. */
enum err disk_write(struct disk *d, int fd, struct iovec *parts, int count, uint64_t at, const char *path,
                    struct why *w) MUST_CHECK;
/* Up to n bytes; *got is less only at the end of the file. */
enum err disk_read(struct disk *d, int fd, void *p, size_t n, uint64_t at, size_t *got, const char *path,
                   struct why *w) MUST_CHECK;
enum err disk_open(struct disk *d, const char *path, int flags, int *fd, struct why *w) MUST_CHECK;
enum err disk_sync(struct disk *d, int fd, const char *path, struct why *w) MUST_CHECK;
enum err disk_sync_dir(struct disk *d, const char *path, struct why *w) MUST_CHECK;
enum err disk_rename(struct disk *d, const char *from, const char *to, struct why *w) MUST_CHECK;
enum err disk_mkdir(struct disk *d, const char *path, struct why *w) MUST_CHECK; /* OK when it is there */

#endif
