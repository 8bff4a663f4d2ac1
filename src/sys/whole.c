#include "sys/whole.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { STEP = 64 * 1024 };

enum err whole_read_fd(int fd, const char *name, size_t max, struct buf *out, struct why *w) {
    assert(out->n == 0 && max < SIZE_MAX);
    out->limit = max + 1; /* a byte too many tells that there are more */
    while (out->n <= max) {
        size_t step = out->limit - out->n < STEP ? out->limit - out->n : STEP;
        char *room = buf_room(out, step);
        if (!room)
            return why(w, ERR_NOMEM, "%s: no memory", name);
        ssize_t n = read(fd, room, step);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return why(w, ERR_IO, "%s: %s", name, strerror(errno));
        if (n == 0)
            return OK;
        buf_grew(out, (size_t)n);
    }
    return why(w, ERR_LIMIT, "%s: larger than %zu bytes", name, max);
}

enum err whole_read_file(const char *path, size_t max, struct buf *out, struct why *w) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return why(w, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: %s", path, strerror(errno));
    enum err e = whole_read_fd(fd, path, max, out, w);
    close(fd);
    return e;
}
