#include "cli/mail_target.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mime/address.h"
#include "mime/header.h"
#include "mime/maildir.h"
#include "mime/mbox.h"

enum { DIRECTORY_MODE = 0700, FILE_MODE = 0600, NAME_MAX_BYTES = 255 };

struct mail_target {
    struct buf bytes;
    /* a Maildir */
    int fd;
    bool single;
    int tmp_fd, cur_fd; /* of the folder at hand */
    char **there;       /* in order: names of its messages, up to their flags */
    size_t there_count;
    /* an mbox */
    FILE *stream;
    char *file, *unfinished; /* NULL: stdout */
};

static enum err io(struct why *w, const char *what) {
    return why(w, errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO, "%s: %s", what, strerror(errno));
}

static struct mail_target *target_new(void) {
    struct mail_target *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->bytes = BUF(2 * (size_t)MAIL_ITEM_MAX);
    t->fd = t->tmp_fd = t->cur_fd = -1;
    return t;
}

/* ---- Maildir ---- */

/* Never through a link: what stands in the directory may be somebody else's. */
static int make_directory(int fd, const char *name) {
    if (mkdirat(fd, name, DIRECTORY_MODE) != 0 && errno != EEXIST)
        return -1;
    return openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

enum err mail_target_maildir(struct mail_target **out, const char *directory, bool single, struct why *w) {
    struct mail_target *t = target_new();
    if (!t)
        return why(w, ERR_NOMEM, "out of memory");
    t->single = single;
    if (mkdir(directory, DIRECTORY_MODE) == 0 || errno == EEXIST)
        t->fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (t->fd < 0) {
        enum err e = io(w, directory);
        mail_target_free(t);
        return e;
    }
    *out = t;
    return OK;
}

static void leave_folder(struct mail_target *t) {
    for (size_t i = 0; i < t->there_count; i++)
        free(t->there[i]);
    free(t->there);
    t->there = NULL;
    t->there_count = 0;
    if (t->tmp_fd >= 0)
        close(t->tmp_fd);
    if (t->cur_fd >= 0)
        close(t->cur_fd);
    t->tmp_fd = t->cur_fd = -1;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names up to their flags: these may have changed since. */
static enum err list_there(struct mail_target *t, int fd, struct why *w) {
    int again = fd < 0 ? -1 : openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = again < 0 ? NULL : fdopendir(again);
    if (!d)
        return io(w, "the folder cannot be read");
    enum err e = OK;
    for (struct dirent *entry; !e && (entry = readdir(d));) {
        entry->d_name[strcspn(entry->d_name, ":")] = '\0';
        if ((t->there_count & (t->there_count - 1)) == 0) {
            void *p = reallocarray(t->there, t->there_count ? 2 * t->there_count : 1, sizeof *t->there);
            e = p ? OK : why(w, ERR_NOMEM, "out of memory");
            t->there = p ? p : t->there;
        }
        char *name = e ? NULL : strdup(entry->d_name);
        if (name)
            t->there[t->there_count++] = name;
        else
            e = why(w, ERR_NOMEM, "out of memory");
    }
    closedir(d);
    return e;
}

static enum err enter(struct mail_target *t, int fd, bool below, struct why *w) {
    int fresh = make_directory(fd, "new"), mark = -1;
    t->cur_fd = make_directory(fd, "cur");
    t->tmp_fd = make_directory(fd, "tmp");
    if (below)
        mark = openat(fd, "maildirfolder", O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    bool good = fresh >= 0 && t->cur_fd >= 0 && t->tmp_fd >= 0 && (mark >= 0 || !below);
    enum err e = good ? OK : io(w, "the folder cannot be made");
    if (!e)
        e = list_there(t, t->cur_fd, w);
    if (!e)
        e = list_there(t, fresh, w);
    if (t->there_count)
        qsort(t->there, t->there_count, sizeof *t->there, by_name);
    if (fresh >= 0)
        close(fresh);
    if (mark >= 0)
        close(mark);
    return e;
}

enum err mail_target_folder(struct mail_target *t, str folder, struct why *w) {
    struct buf name = BUF(NAME_MAX_BYTES + 1);
    enum err e = OK;
    if (t->stream)
        return OK;
    leave_folder(t);
    if (!t->single && !maildir_folder_put(folder, &name))
        e = why(w, ERR_SYNTAX, "a Maildir cannot have a folder of this name");
    int fd = e ? -1 : name.n ? make_directory(t->fd, buf_cstr(&name)) : dup(t->fd);
    if (!e && fd < 0)
        e = io(w, "the folder cannot be made");
    if (!e)
        e = enter(t, fd, name.n > 0, w);
    if (fd >= 0)
        close(fd);
    buf_free(&name);
    return e;
}

/* The same each time: from the message's id, and its UID in the folder. */
static void file_name(const struct mail_item *item, uint64_t size, struct buf *out) {
    struct maildir_name n = {.time_s = item->received_us / 1000000, .size = size, .flags = item->flags};
    maildir_name_put(&n, item->name, S("penfold"), out);
}

bool mail_target_has(const struct mail_target *t, const struct mail_item *item) {
    struct buf name = BUF(NAME_MAX_BYTES + 1);
    bool found = false;
    file_name(item, 0, &name);
    buf_shrink(&name, str_find(buf_str(&name), ':'));
    const char *wanted = buf_cstr(&name);
    size_t low = 0, high = t->there_count, n = strlen(wanted);
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strncmp(t->there[mid], wanted, n);
        if (order == 0 && (t->there[mid][n] == '\0' || t->there[mid][n] == ',')) {
            found = true;
            break;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    buf_free(&name);
    return found;
}

static bool write_all(int fd, str s) {
    while (s.n) {
        ssize_t n = write(fd, s.p, s.n);
        if (n < 0 && errno != EINTR)
            return false;
        s = str_tail(s, n > 0 ? (size_t)n : 0);
    }
    return true;
}

static bool write_file(int fd, str bytes, uint64_t received_us) {
    struct timespec when[2] = {{.tv_nsec = UTIME_NOW}};
    when[1] = (struct timespec){(time_t)(received_us / 1000000), (long)(received_us % 1000000 * 1000)};
    return write_all(fd, bytes) && futimens(fd, when) == 0;
}

static enum err put_file(struct mail_target *t, const char *name, uint64_t received_us, struct why *w) {
    unlinkat(t->tmp_fd, name, 0); /* of an export that was interrupted */
    int fd = openat(t->tmp_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    bool good = fd >= 0 && write_file(fd, buf_str(&t->bytes), received_us);
    if (fd >= 0 && close(fd) != 0)
        good = false;
    if (good && renameat(t->tmp_fd, name, t->cur_fd, name) == 0)
        return OK;
    enum err e = io(w, name);
    unlinkat(t->tmp_fd, name, 0);
    return e;
}

static enum err maildir_put(struct mail_target *t, const struct mail_item *item, struct why *w) {
    struct buf name = BUF(NAME_MAX_BYTES + 1);
    maildir_message_put(item->bytes, &t->bytes);
    if (t->bytes.full)
        return why(w, ERR_LIMIT, "the message is too large");
    file_name(item, t->bytes.n, &name);
    enum err e = put_file(t, buf_cstr(&name), item->received_us, w);
    buf_free(&name);
    return e;
}

/* ---- mbox ---- */

static enum err open_unfinished(struct mail_target *t, const char *file, struct why *w) {
    struct stat st;
    if (lstat(file, &st) == 0)
        return why(w, ERR_EXISTS, "%s is there already", file);
    t->file = strdup(file);
    if (!t->file || asprintf(&t->unfinished, "%s.XXXXXX", file) < 0) {
        t->unfinished = NULL; /* asprintf leaves anything in it */
        return why(w, ERR_NOMEM, "out of memory");
    }
    int fd = mkostemp(t->unfinished, O_CLOEXEC);
    t->stream = fd < 0 ? NULL : fdopen(fd, "w");
    if (t->stream)
        return OK;
    enum err e = io(w, file);
    if (fd >= 0) {
        close(fd);
        unlink(t->unfinished);
    }
    free(t->unfinished);
    t->unfinished = NULL;
    return e;
}

enum err mail_target_mbox(struct mail_target **out, const char *file, struct why *w) {
    struct mail_target *t = target_new();
    enum err e = OK;
    if (!t)
        return why(w, ERR_NOMEM, "out of memory");
    if (strcmp(file, "-") == 0)
        t->stream = stdout;
    else
        e = open_unfinished(t, file, w);
    if (e)
        mail_target_free(t);
    else
        *out = t;
    return e;
}

/* Whom the message came from, for the From line: what the last server wrote down, else what the header says. */
static void sender_of(str message, struct buf *out) {
    struct header h;
    struct address a;
    if (!header_find(message, S("Return-Path"), &h) && !header_find(message, S("From"), &h))
        return;
    struct address_iter it = ADDRESS_ITER(h.value);
    if (address_next(&it, &a))
        buf_add(out, a.address);
    address_iter_free(&it);
}

static enum err mbox_put(struct mail_target *t, const struct mail_item *item, struct why *w) {
    struct mbox_writer writer;
    struct buf sender = BUF(ADDRESS_SIZE_MAX);
    sender_of(item->bytes, &sender);
    mbox_write_begin(&writer, buf_str(&sender), (struct date){.us = (int64_t)item->received_us}, item->flags,
                     &t->bytes);
    mbox_write_put(&writer, item->bytes, &t->bytes);
    mbox_write_end(&writer, &t->bytes);
    buf_free(&sender);
    if (t->bytes.full)
        return why(w, ERR_LIMIT, "the message is too large");
    if (fwrite(t->bytes.p, 1, t->bytes.n, t->stream) != t->bytes.n)
        return io(w, t->file ? t->file : "stdout");
    return OK;
}

static enum err finish_mbox(struct mail_target *t, struct why *w) {
    const char *name = t->file ? t->file : "stdout";
    if (fflush(t->stream) != 0)
        return io(w, name);
    if (!t->file)
        return OK;
    /* Its other name goes with mail_target_free(). */
    return fsync(fileno(t->stream)) == 0 && link(t->unfinished, t->file) == 0 && syncfs(fileno(t->stream)) == 0
               ? OK
               : io(w, name);
}

/* ---- both ---- */

enum err mail_target_put(struct mail_target *t, const struct mail_item *item, struct why *w) {
    buf_reset(&t->bytes);
    return t->stream ? mbox_put(t, item, w) : maildir_put(t, item, w);
}

enum err mail_target_finish(struct mail_target *t, struct why *w) {
    if (t->stream)
        return finish_mbox(t, w);
    return syncfs(t->fd) == 0 ? OK : io(w, "the Maildir cannot be written to the disk");
}

void mail_target_free(struct mail_target *t) {
    if (!t)
        return;
    leave_folder(t);
    if (t->fd >= 0)
        close(t->fd);
    if (t->stream && t->stream != stdout)
        fclose(t->stream);
    if (t->unfinished)
        unlink(t->unfinished);
    free(t->unfinished);
    free(t->file);
    buf_free(&t->bytes);
    free(t);
}
