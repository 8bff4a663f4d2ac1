#include "cli/backup_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/code.h"
#include "base/date.h"
#include "store/file.h"
#include "sys/whole.h"

enum { PIECE = 1024 * 1024, BLOCK = 4096, LIST_MAX = 1024 * 1024 * 1024, DEPTH = 3 };

static const char list_name[] = "backup.json", list_new[] = "backup.json.new";

static const char *const folders[BACKUP_FOLDERS] = {[BACKUP_TOP] = "",
                                                    [BACKUP_JOURNAL] = "journal",
                                                    [BACKUP_BIG] = "big",
                                                    [BACKUP_SECRETS] = "secrets",
                                                    [BACKUP_TLS] = "tls"};

const char *backup_folder_name(enum backup_folder folder) {
    return folders[folder];
}

int backup_folder_open(int dir, enum backup_folder folder, bool make) {
    if (folder == BACKUP_TOP)
        return openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (make && mkdirat(dir, folders[folder], 0700) != 0 && errno != EEXIST)
        return -1;
    return openat(dir, folders[folder], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* ---- one file ---- */

struct copying {
    int from, to; /* to -1: only the digest */
    uint64_t limit, at;
    EVP_MD_CTX *digest;
    char *space;
    bool wrote;
    backup_piece *piece;
    void *arg;
};

static bool is_zero(const char *p, size_t n) {
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* How many bytes from here on are blocks of zeros alone, or blocks that are not. */
static size_t alike(const char *p, size_t n, bool *zeros) {
    size_t run = 0;
    while (run < n) {
        size_t block = n - run < BLOCK ? n - run : BLOCK;
        bool zero = is_zero(p + run, block);
        if (run && zero != *zeros)
            break;
        *zeros = zero;
        run += block;
    }
    return run;
}

static enum err write_out(struct copying *c, str bytes, const char *name, struct why *w) {
    enum err e = OK;
    while (bytes.n && !e) {
        bool zeros = false;
        size_t run = alike(bytes.p, bytes.n, &zeros);
        struct iovec part = {(void *)bytes.p, run};
        c->wrote |= !zeros;
        e = zeros ? OK : disk_write(disk_system(), c->to, &part, 1, c->at, name, w);
        c->at += run;
        bytes = str_tail(bytes, run);
    }
    return e;
}

static enum err copy_pieces(struct copying *c, struct backup_file *f, struct why *w) {
    while (f->size < c->limit) {
        size_t want = c->limit - f->size < PIECE ? (size_t)(c->limit - f->size) : PIECE, got = 0;
        enum err e = disk_read(disk_system(), c->from, c->space, want, f->size, &got, f->name, w);
        if (!e && EVP_DigestUpdate(c->digest, c->space, got) != 1)
            e = why(w, ERR_NOMEM, "no memory");
        if (!e && c->to >= 0)
            e = write_out(c, str_n(c->space, got), f->name, w);
        f->size += got;
        if (!e)
            e = c->piece(c->arg, got, w);
        if (e || got < want)
            return e;
    }
    return OK;
}

/* The descriptors are closed.  A file that is shorter than its limit has changed under us. */
static enum err copy_open(struct copying *c, struct backup_file *f, struct why *w) {
    struct stat st;
    unsigned n = 0;
    enum err e = OK;
    f->size = 0;
    if (fstat(c->from, &st) != 0 || !S_ISREG(st.st_mode))
        return why(w, ERR_CORRUPT, "%s is not a plain file", f->name);
    c->digest = EVP_MD_CTX_new();
    c->space = malloc(PIECE);
    if (!c->digest || !c->space || EVP_DigestInit_ex(c->digest, EVP_sha256(), NULL) != 1)
        e = why(w, ERR_NOMEM, "no memory");
    if (!e)
        e = copy_pieces(c, f, w);
    if (!e && c->limit != UINT64_MAX && f->size < c->limit)
        e = why(w, ERR_CORRUPT, "%s is shorter than it must be", f->name);
    if (!e && c->to >= 0 && ftruncate(c->to, (off_t)f->size) != 0) /* a hole at the end */
        e = disk_error(errno, w, "write", f->name);
    if (!e && fsync(c->to >= 0 ? c->to : c->from) != 0)
        e = disk_error(errno, w, "sync", f->name);
    if (!e && EVP_DigestFinal_ex(c->digest, f->sum, &n) != 1)
        e = why(w, ERR_NOMEM, "no memory");
    f->zeros = !c->wrote;
    EVP_MD_CTX_free(c->digest);
    free(c->space);
    return e;
}

/* Without waiting for who would write into a pipe of that name. */
static enum err open_plain(int dir, const char *name, int *fd, struct why *w) {
    *fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    return *fd < 0 ? disk_error(errno, w, "open", name) : OK;
}

enum err backup_copy(int from, int to, uint64_t limit, struct backup_file *f, backup_piece *piece, void *arg,
                     struct why *w) {
    struct copying c = {.to = -1, .limit = limit, .piece = piece, .arg = arg};
    enum err e = open_plain(from, f->name, &c.from, w);
    if (e)
        return e;
    c.to = openat(to, f->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    e = c.to < 0 ? disk_error(errno, w, "create", f->name) : copy_open(&c, f, w);
    close(c.from);
    if (c.to >= 0 && close(c.to) != 0 && !e)
        e = disk_error(errno, w, "close", f->name);
    return e;
}

enum err backup_sum(int dir, struct backup_file *f, backup_piece *piece, void *arg, struct why *w) {
    struct copying c = {.to = -1, .limit = UINT64_MAX, .piece = piece, .arg = arg};
    enum err e = open_plain(dir, f->name, &c.from, w);
    if (e)
        return e;
    e = copy_open(&c, f, w);
    close(c.from);
    return e;
}

/* ---- folders ---- */

static DIR *open_listing(int dir) {
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* with a position of its own */
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d && fd >= 0)
        close(fd);
    return d;
}

static bool is_name(const char *name) {
    return strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

enum err backup_names(int dir, backup_each *each, void *arg, struct why *w) {
    DIR *d = dir < 0 ? NULL : open_listing(dir);
    enum err e = OK;
    if (dir < 0)
        return OK;
    if (!d)
        return disk_error(errno, w, "read the directory", ".");
    errno = 0;
    for (const struct dirent *entry; !e && (entry = readdir(d)); errno = 0) {
        struct stat st;
        if (entry->d_name[0] != '.' && strlen(entry->d_name) < BACKUP_NAME &&
            fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            e = each(arg, entry->d_name, (uint64_t)st.st_size, w);
    }
    if (!e && errno)
        e = disk_error(errno, w, "read the directory", ".");
    closedir(d);
    return e;
}

bool backup_is_empty(int dir) {
    DIR *d = open_listing(dir);
    bool empty = d != NULL;
    for (const struct dirent *e; empty && (e = readdir(d));)
        empty = !is_name(e->d_name);
    if (d)
        closedir(d);
    return empty;
}

static void clear(int dir, int depth) {
    DIR *d = open_listing(dir);
    for (const struct dirent *e; d && (e = readdir(d));) {
        if (!is_name(e->d_name) || unlinkat(dir, e->d_name, 0) == 0)
            continue;
        int below = depth ? openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
        if (below < 0)
            continue;
        clear(below, depth - 1);
        close(below);
        (void)unlinkat(dir, e->d_name, AT_REMOVEDIR);
    }
    if (d)
        closedir(d);
}

void backup_clear(int dir) {
    clear(dir, DEPTH);
}

/* ---- the list ---- */

enum err backup_list_add(struct backup_list *l, const struct backup_file *f, struct why *w) {
    if (l->count == l->room) {
        size_t room = l->room ? 2 * l->room : 64;
        struct backup_file *more = realloc(l->files, room * sizeof *more);
        if (!more)
            return why(w, ERR_NOMEM, "no memory");
        l->files = more;
        l->room = room;
    }
    l->files[l->count++] = *f;
    l->bytes += f->size;
    return OK;
}

void backup_list_free(struct backup_list *l) {
    free(l->files);
    *l = (struct backup_list){0};
}

static void put_file(struct buf *out, const struct backup_file *f) {
    buf_add(out, S("{\"Name\":\""));
    if (f->folder)
        buf_printf(out, "%s/", folders[f->folder]);
    escape_json(str_of(f->name), out);
    buf_printf(out, "\",\"Size\":%llu,\"SHA256\":\"", (unsigned long long)f->size);
    hex_encode(str_n((const char *)f->sum, sizeof f->sum), out);
    buf_add(out, S("\"}"));
}

static void put_list(struct buf *out, const struct backup_list *l) {
    buf_printf(out, "{\"Penfold\":\"%s\",\"Format\":%d,\"Made\":\"", PENFOLD_VERSION, BACKUP_FORMAT);
    date_put_3339(out, (struct date){(int64_t)l->made_ms * 1000, 0}, 0);
    buf_printf(out, "\",\"SegmentSize\":%llu,\"Bytes\":%llu,\"Files\":[\n", (unsigned long long)l->segment_size,
               (unsigned long long)l->bytes);
    for (size_t i = 0; i < l->count; i++) {
        put_file(out, &l->files[i]);
        buf_add(out, i + 1 < l->count ? S(",\n") : S("\n"));
    }
    buf_add(out, S("]}\n"));
}

static enum err write_whole(int dir, const char *name, str bytes, struct why *w) {
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    struct iovec part = {(void *)bytes.p, bytes.n};
    if (fd < 0)
        return disk_error(errno, w, "create", name);
    enum err e = disk_write(disk_system(), fd, &part, 1, 0, name, w);
    if (!e && fsync(fd) != 0)
        e = disk_error(errno, w, "sync", name);
    if (close(fd) != 0 && !e)
        e = disk_error(errno, w, "close", name);
    return e;
}

enum err backup_list_write(const struct backup_list *l, int dir, struct why *w) {
    struct buf out = BUF(LIST_MAX);
    put_list(&out, l);
    enum err e = out.full ? why(w, ERR_NOMEM, "no memory") : write_whole(dir, list_new, buf_str(&out), w);
    if (!e && renameat(dir, list_new, dir, list_name) != 0)
        e = disk_error(errno, w, "rename", list_new);
    if (!e && fsync(dir) != 0)
        e = disk_error(errno, w, "sync", list_name);
    buf_free(&out);
    return e;
}

/* A backup may come from anywhere: no name leads out of its folder. */
static bool take_name(const char *text, struct backup_file *f) {
    const char *slash = strchr(text, '/'), *name = slash ? slash + 1 : text;
    size_t n = slash ? (size_t)(slash - text) : 0;
    if (!*name || *name == '.' || strchr(name, '/') || strlen(name) >= sizeof f->name)
        return false;
    snprintf(f->name, sizeof f->name, "%s", name);
    for (int i = 0; i < BACKUP_FOLDERS; i++)
        if (strlen(folders[i]) == n && memcmp(folders[i], text, n) == 0) {
            f->folder = (enum backup_folder)i;
            return f->folder != BACKUP_TOP || strcmp(name, "penfold.db") == 0;
        }
    return false;
}

static bool take_file(json_t *v, struct backup_file *f) {
    const char *name = json_string_value(json_object_get(v, "Name"));
    const char *sum = json_string_value(json_object_get(v, "SHA256"));
    json_t *size = json_object_get(v, "Size");
    struct buf bytes = BUF(sizeof f->sum);
    *f = (struct backup_file){0};
    bool good = name && sum && json_is_integer(size) && json_integer_value(size) >= 0 && take_name(name, f) &&
                hex_decode(str_of(sum), &bytes) && bytes.n == sizeof f->sum;
    if (good) {
        memcpy(f->sum, bytes.p, sizeof f->sum);
        f->size = (uint64_t)json_integer_value(size);
    }
    buf_free(&bytes);
    return good;
}

static enum err take_list(struct backup_list *l, json_t *root, struct why *w) {
    json_int_t format = json_integer_value(json_object_get(root, "Format"));
    json_int_t segment = json_integer_value(json_object_get(root, "SegmentSize"));
    json_t *files = json_object_get(root, "Files"), *v;
    size_t i, databases = 0;
    if (format > BACKUP_FORMAT)
        return why(w, ERR_VERSION, "this backup was made by a newer Penfold (its format is %lld, this one knows %d)",
                   (long long)format, BACKUP_FORMAT);
    if (format < 1 || segment < 1 || !json_is_array(files))
        return why(w, ERR_CORRUPT, "%s cannot be read", list_name);
    l->segment_size = (uint64_t)segment;
    json_array_foreach(files, i, v) {
        struct backup_file f;
        if (!take_file(v, &f))
            return why(w, ERR_CORRUPT, "%s: file %zu of its list makes no sense", list_name, i + 1);
        enum err e = backup_list_add(l, &f, w);
        if (e)
            return e;
        databases += f.folder == BACKUP_TOP;
    }
    return databases == 1 ? OK : why(w, ERR_CORRUPT, "%s names no penfold.db", list_name);
}

enum err backup_list_read(struct backup_list *l, int dir, struct why *w) {
    struct buf text = {0};
    json_error_t error;
    int fd = -1;
    *l = (struct backup_list){0};
    if (open_plain(dir, list_name, &fd, w) == ERR_NOT_FOUND)
        return why(w, ERR_NOT_FOUND, "there is no %s: this is no backup, or one that was not finished", list_name);
    if (fd < 0)
        return why(w, ERR_IO, "%s cannot be read", list_name);
    enum err e = whole_read_fd(fd, list_name, LIST_MAX, &text, w);
    json_t *root = e ? NULL : json_loadb(text.p ? text.p : "", text.n, 0, &error);
    if (!e)
        e = root ? take_list(l, root, w) : why(w, ERR_CORRUPT, "%s is damaged: %s", list_name, error.text);
    json_decref(root);
    buf_free(&text);
    close(fd);
    return e;
}
