#include "cli/mail_source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mime/folder.h"
#include "mime/maildir.h"
#include "mime/mbox.h"
#include "sys/whole.h"

struct file {
    char *name;
    uint64_t time_s;
    bool fresh; /* in new */
};

struct folder {
    char *directory; /* "", ".Sent" */
    char *name;
};

struct mail_source {
    enum err (*next)(struct mail_source *s, struct mail_item *item, struct why *w);
    struct buf bytes, text; /* of the message at hand; its name */
    uint64_t done, total;
    /* a Maildir */
    int fd;
    struct folder *folders;
    size_t folder_count, at_folder; /* the one whose files are listed; from 1 */
    struct file *files;
    size_t file_count, at_file;
    int cur_fd, new_fd;
    /* an mbox */
    char *mbox_folder;
    void *map;
    size_t map_size;
    struct mbox_iter mbox;
    uint64_t number;
};

static char *copy(str s) {
    char *p = malloc(s.n + 1);
    if (p && s.n)
        memcpy(p, s.p, s.n);
    if (p)
        p[s.n] = '\0';
    return p;
}

/* Room for one more in an array that doubles. */
static bool grow(void **list, size_t count, size_t size) {
    if (count & (count - 1)) /* not at a power of two: there is room */
        return true;
    void *p = reallocarray(*list, count ? 2 * count : 1, size);
    if (p)
        *list = p;
    return p != NULL;
}

/* ---- Maildir ---- */

static int open_directory(int fd, const char *name) {
    return openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* A directory of its own to walk through; NULL: it is not there. */
static DIR *walk(int fd) {
    int again = fd < 0 ? -1 : openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = again < 0 ? NULL : fdopendir(again);
    if (!d && again >= 0)
        close(again);
    return d;
}

static bool is_maildir(int fd) {
    struct stat st;
    return fstatat(fd, "cur", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode) &&
           fstatat(fd, "new", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static enum err add_folder(struct mail_source *s, str directory, str name, struct why *w) {
    if (!grow((void **)&s->folders, s->folder_count, sizeof *s->folders))
        return why(w, ERR_NOMEM, "out of memory");
    struct folder *f = &s->folders[s->folder_count++];
    *f = (struct folder){copy(directory), copy(name)};
    return f->directory && f->name ? OK : why(w, ERR_NOMEM, "out of memory");
}

static bool holds_mail(int fd, const char *directory) {
    int below = open_directory(fd, directory);
    bool good = below >= 0 && is_maildir(below);
    if (below >= 0)
        close(below);
    return good;
}

static enum err add_below(struct mail_source *s, const char *directory, struct why *w) {
    struct buf name = BUF(4096);
    enum err e = OK;
    bool hidden = directory[0] == '.' && strcmp(directory, ".") != 0 && strcmp(directory, "..") != 0;
    if (hidden && holds_mail(s->fd, directory)) {
        if (maildir_folder_read(str_of(directory), &name) && folder_name_valid(buf_str(&name)))
            e = add_folder(s, str_of(directory), buf_str(&name), w);
        else
            e = add_folder(s, str_of(directory), STR_NONE, w); /* told when its turn comes */
    }
    buf_free(&name);
    return e;
}

static int by_folder(const void *a, const void *b) {
    const struct folder *x = a, *y = b;
    return strcmp(x->directory, y->directory);
}

static enum err add_folders(struct mail_source *s, struct why *w) {
    DIR *d = walk(s->fd);
    enum err e = d ? OK : why(w, ERR_IO, "%s", strerror(errno));
    for (struct dirent *entry; !e && (entry = readdir(d));)
        e = add_below(s, entry->d_name, w);
    if (d)
        closedir(d);
    if (s->folder_count)
        qsort(s->folders, s->folder_count, sizeof *s->folders, by_folder);
    return e;
}

/* Each name in the directory that may be a message; each NULL: they are counted alone. */
static enum err each_file(int fd, bool fresh, struct mail_source *s, uint64_t *count, struct why *w) {
    struct maildir_name n;
    DIR *d = walk(fd);
    enum err e = OK;
    for (struct dirent *entry; d && !e && (entry = readdir(d));) {
        if (!maildir_name_read(str_of(entry->d_name), &n))
            continue;
        ++*count;
        if (!s)
            continue;
        if (!grow((void **)&s->files, s->file_count, sizeof *s->files))
            e = why(w, ERR_NOMEM, "out of memory");
        else
            s->files[s->file_count++] = (struct file){copy(str_of(entry->d_name)), n.time_s, fresh};
        if (!e && !s->files[s->file_count - 1].name)
            e = why(w, ERR_NOMEM, "out of memory");
    }
    if (d)
        closedir(d);
    return e;
}

static void open_folder(const struct mail_source *s, const struct folder *f, int *cur, int *fresh) {
    int fd = f->directory[0] ? open_directory(s->fd, f->directory) : dup(s->fd);
    *cur = fd < 0 ? -1 : open_directory(fd, "cur");
    *fresh = fd < 0 ? -1 : open_directory(fd, "new");
    if (fd >= 0)
        close(fd);
}

static void count_files(struct mail_source *s) {
    for (size_t i = 0; i < s->folder_count; i++) {
        int cur, fresh;
        open_folder(s, &s->folders[i], &cur, &fresh);
        (void)!each_file(cur, false, NULL, &s->total, NULL);
        (void)!each_file(fresh, true, NULL, &s->total, NULL);
        if (cur >= 0)
            close(cur);
        if (fresh >= 0)
            close(fresh);
    }
}

static void close_folder(struct mail_source *s) {
    for (size_t i = 0; i < s->file_count; i++)
        free(s->files[i].name);
    free(s->files);
    s->files = NULL;
    s->file_count = s->at_file = 0;
    if (s->cur_fd >= 0)
        close(s->cur_fd);
    if (s->new_fd >= 0)
        close(s->new_fd);
    s->cur_fd = s->new_fd = -1;
}

/* As they came: by the time in their names. */
static int by_time(const void *a, const void *b) {
    const struct file *x = a, *y = b;
    if (x->time_s != y->time_s)
        return x->time_s < y->time_s ? -1 : 1;
    return strcmp(x->name, y->name);
}

static enum err list_folder(struct mail_source *s, const struct folder *f, struct why *w) {
    uint64_t count = 0;
    open_folder(s, f, &s->cur_fd, &s->new_fd);
    if (s->cur_fd < 0 || s->new_fd < 0)
        return why(w, ERR_IO, "the folder cannot be read: %s", strerror(errno));
    enum err e = each_file(s->cur_fd, false, s, &count, w);
    if (!e)
        e = each_file(s->new_fd, true, s, &count, w);
    if (s->file_count)
        qsort(s->files, s->file_count, sizeof *s->files, by_time);
    return e;
}

/* A name in a Maildir may be anything: a device, a link to somewhere else. */
static enum err read_message(struct mail_source *s, const struct file *f, uint64_t *received_us, struct why *w) {
    struct buf whole = {0};
    struct stat st;
    int fd = openat(f->fresh ? s->new_fd : s->cur_fd, f->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    enum err e = OK;
    if (fd < 0)
        return why(w, ERR_IO, "%s", errno == ELOOP ? "it is a link" : strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        e = why(w, ERR_SYNTAX, "it is no file");
    else
        e = whole_read_fd(fd, "it", MAIL_ITEM_MAX, &whole, w);
    close(fd);
    if (!e && whole.n == 0)
        e = why(w, ERR_SYNTAX, "it is empty");
    if (!e)
        maildir_message_read(buf_str(&whole), &s->bytes);
    if (!e && s->bytes.full)
        e = why(w, ERR_LIMIT, "it is too large");
    if (!e)
        *received_us =
            st.st_mtim.tv_sec > 0 ? (uint64_t)st.st_mtim.tv_sec * 1000000 + (uint64_t)st.st_mtim.tv_nsec / 1000 : 0;
    buf_free(&whole);
    return e;
}

static enum err next_folder(struct mail_source *s, struct mail_item *item, struct why *w) {
    close_folder(s);
    if (s->at_folder == s->folder_count)
        return ERR_NOT_FOUND;
    const struct folder *f = &s->folders[s->at_folder++];
    item->name = str_of(f->directory);
    if (!f->name[0])
        return why(w, ERR_SYNTAX, "that is no name for a folder");
    return list_folder(s, f, w);
}

static enum err maildir_next(struct mail_source *s, struct mail_item *item, struct why *w) {
    struct maildir_name n;
    while (s->at_file == s->file_count) {
        enum err e = next_folder(s, item, w);
        if (e)
            return e;
    }
    const struct folder *folder = &s->folders[s->at_folder - 1];
    const struct file *f = &s->files[s->at_file++];
    s->done++;
    (void)!maildir_name_read(str_of(f->name), &n);
    buf_printf(&s->text, "%s%s%s/%s", folder->directory, folder->directory[0] ? "/" : "", f->fresh ? "new" : "cur",
               f->name);
    item->folder = str_of(folder->name);
    item->name = buf_str(&s->text);
    item->flags = n.flags;
    enum err e = read_message(s, f, &item->received_us, w);
    item->bytes = buf_str(&s->bytes);
    return e;
}

static struct mail_source *source_new(void) {
    struct mail_source *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->bytes = BUF(MAIL_ITEM_MAX);
    s->text = BUF(8192);
    s->fd = s->cur_fd = s->new_fd = -1;
    return s;
}

enum err mail_source_maildir(struct mail_source **out, const char *directory, const char *folder, struct why *w) {
    struct mail_source *s = source_new();
    enum err e = OK;
    if (!s)
        return why(w, ERR_NOMEM, "out of memory");
    s->next = maildir_next;
    s->fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->fd < 0)
        e = why(w, ERR_NOT_FOUND, "%s: %s", directory, strerror(errno));
    if (!e && is_maildir(s->fd))
        e = add_folder(s, STR_NONE, folder ? str_of(folder) : S("INBOX"), w);
    if (!e && !folder)
        e = add_folders(s, w);
    if (!e && s->folder_count == 0)
        e = why(w, ERR_NOT_FOUND, "%s is no Maildir: it has no cur and new", directory);
    if (!e)
        count_files(s);
    if (e)
        mail_source_free(s);
    else
        *out = s;
    return e;
}

/* ---- mbox ---- */

/* What cannot be mapped is copied to a file that nobody else sees. */
static int spool(int fd) {
    static char piece[64 * 1024];
    FILE *f = tmpfile();
    int kept = f ? dup(fileno(f)) : -1;
    ssize_t n = 0;
    while (kept >= 0 && (n = read(fd, piece, sizeof piece)) > 0)
        if (write(kept, piece, (size_t)n) != n)
            break;
    if (f)
        fclose(f);
    if (kept >= 0 && n == 0)
        return kept;
    if (kept >= 0)
        close(kept);
    return -1;
}

static enum err map_file(struct mail_source *s, int fd, const char *name, struct why *w) {
    struct stat st;
    int spooled = -1;
    if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
        if (S_ISDIR(st.st_mode))
            return why(w, ERR_SYNTAX, "%s is a directory; is it a --maildir?", name);
        fd = spooled = spool(fd);
    }
    if (fd < 0 || fstat(fd, &st) != 0)
        return why(w, ERR_IO, "%s cannot be kept in a temporary file: %s", name, strerror(errno));
    s->map_size = (size_t)st.st_size;
    s->map = s->map_size ? mmap(NULL, s->map_size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    if (spooled >= 0)
        close(spooled);
    if (s->map == MAP_FAILED) {
        s->map = NULL;
        return why(w, ERR_IO, "%s: %s", name, strerror(errno));
    }
    if (s->map)
        madvise(s->map, s->map_size, MADV_SEQUENTIAL);
    s->mbox.rest = str_n(s->map, s->map_size);
    s->total = s->map_size;
    return OK;
}

static enum err mbox_read(struct mail_source *s, struct mail_item *item, struct why *w) {
    struct mbox_message m;
    if (!mbox_next(&s->mbox, &m)) {
        s->done = s->total;
        if (s->number || s->total == 0)
            return ERR_NOT_FOUND;
        s->number = 1; /* said once */
        return why(w, ERR_SYNTAX, "it is no mbox: there is no \"From \" line in it");
    }
    s->done = s->total - s->mbox.rest.n;
    buf_printf(&s->text, "message %llu", (unsigned long long)++s->number);
    item->name = buf_str(&s->text);
    mbox_message_put(&m, &s->bytes);
    item->bytes = buf_str(&s->bytes);
    item->flags = m.flags;
    item->received_us = m.date.us > 0 ? (uint64_t)m.date.us : 0;
    if (s->bytes.full)
        return why(w, ERR_LIMIT, "it is too large");
    return item->bytes.n ? OK : why(w, ERR_SYNTAX, "it is empty");
}

static enum err mbox_source_next(struct mail_source *s, struct mail_item *item, struct why *w) {
    item->folder = str_of(s->mbox_folder);
    item->name = S("mbox");
    return mbox_read(s, item, w);
}

enum err mail_source_mbox(struct mail_source **out, const char *file, const char *folder, struct why *w) {
    bool is_stdin = strcmp(file, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return why(w, ERR_NOT_FOUND, "%s: %s", file, strerror(errno));
    struct mail_source *s = source_new();
    enum err e = s ? OK : why(w, ERR_NOMEM, "out of memory");
    if (!e) {
        s->next = mbox_source_next;
        s->mbox_folder = copy(folder ? str_of(folder) : S("INBOX"));
        e = s->mbox_folder ? map_file(s, fd, is_stdin ? "stdin" : file, w) : why(w, ERR_NOMEM, "out of memory");
    }
    if (!is_stdin)
        close(fd);
    if (e)
        mail_source_free(s);
    else
        *out = s;
    return e;
}

/* ---- both ---- */

enum err mail_source_next(struct mail_source *s, struct mail_item *item, struct why *w) {
    *item = (struct mail_item){0};
    buf_reset(&s->bytes);
    buf_reset(&s->text);
    return s->next(s, item, w);
}

void mail_source_progress(const struct mail_source *s, uint64_t *done, uint64_t *total) {
    *done = s->done;
    *total = s->total;
}

void mail_source_free(struct mail_source *s) {
    if (!s)
        return;
    close_folder(s);
    for (size_t i = 0; i < s->folder_count; i++) {
        free(s->folders[i].directory);
        free(s->folders[i].name);
    }
    free(s->folders);
    if (s->fd >= 0)
        close(s->fd);
    if (s->map)
        munmap(s->map, s->map_size);
    free(s->mbox_folder);
    buf_free(&s->bytes);
    buf_free(&s->text);
    free(s);
}
