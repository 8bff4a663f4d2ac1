/* cmd_backup.c - penfold backup: a copy of a data directory, of a running server or of one that is stopped.
 *
 * The files are read and written here: the store's process may write in its own directory alone, and need not know
 * where backups go.  It is asked to hold still (store/store_backup.c says in which order what is copied), and looked at
 * again and again, so that its hold ends soon after this process does.  Without a server its lock is held instead. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/code.h"
#include "cli/backup_files.h"
#include "cli/cli.h"
#include "cli/cli_conf.h"
#include "cli/cli_http.h"
#include "cli/cli_progress.h"
#include "store/db_copy.h"
#include "store/store_check.h"
#include "sys/clock.h"

enum { SYNC_EVERY = 64 * 1024 * 1024 };

static const struct cli_option options[] = {
    CLI_HTTP_ADMIN_OPTION,
    {.name = "data",
     .value = "DIR",
     .variable = "PENFOLD_DATA",
     .sentence = "The data directory: copied as it lies there when no server uses it. Without this and --config the "
                 "running server tells it."},
    {.name = "config",
     .letter = 'c',
     .value = "FILE",
     .variable = "PENFOLD_CONFIG",
     .sentence = "The configuration that names the data directory."},
    {.name = "lease",
     .value = "SECONDS",
     .min = 1,
     .max = 3600,
     .fallback = "60",
     .sentence = "How long the server goes on holding what this command copies when it hears nothing of it any more."},
    {.name = "json", .sentence = "Tell the result as JSON."},
};

const struct cli_page cli_backup_page = {
    .name = "backup",
    .operands = "DIR",
    .operands_min = 1,
    .operands_max = 1,
    .sentence = "Copy a data directory, of a running server or a stopped one, into an empty directory.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
};

struct backup {
    const struct cli_args *args;
    const char *target;
    bool made; /* the target; else it was there, and empty */
    char data[PATH_MAX];
    int from, to, lock; /* lock: -1 where a server runs */
    uint64_t hold;      /* 0: none, or none any more */
    uint64_t look_ms;   /* when to look again */
    json_t *segments;   /* as of the last look */
    uint64_t db_size, db_done, db_synced;
    struct backup_list list;
    struct cli_progress progress;
    uint64_t done, all; /* bytes, about */
    int told;           /* the status of what was said on stderr already */
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number) {
    (void)number;
    interrupted = 1;
}

static void catch_signals(void) {
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGHUP, &a, NULL);
}

/* ---- the server ---- */

static json_t *ask(struct backup *b, const char *method, const char *path, str body, const char *missing) {
    struct buf answer = BUF(CLI_HTTP_ANSWER_MAX);
    json_error_t error;
    cli_progress_clear(&b->progress); /* it may complain */
    b->told = cli_http_ask(b->args, method, path, body, missing, &answer);
    json_t *root = b->told ? NULL : json_loadb(answer.p ? answer.p : "", answer.n, 0, &error);
    if (!b->told && !root)
        b->told = cli_error(b->args->page, EX_PROTOCOL, "the answer of %s cannot be read", cli_text(b->args, "url"));
    buf_free(&answer);
    return root;
}

static enum err told(struct why *w) {
    return why(w, ERR_CLOSED, "told already");
}

static enum err hold(struct backup *b, bool data_named, struct why *w) {
    char body[64];
    snprintf(body, sizeof body, "{\"Seconds\":%llu}", (unsigned long long)cli_number(b->args, "lease"));
    json_t *root = ask(b, "POST", "/api/v1/admin/backup", str_of(body), NULL);
    if (!root)
        return told(w);
    const char *data = json_string_value(json_object_get(root, "Data"));
    b->hold = (uint64_t)json_integer_value(json_object_get(root, "Hold"));
    b->list.segment_size = (uint64_t)json_integer_value(json_object_get(root, "SegmentSize"));
    bool good = b->hold && data && strlen(data) < sizeof b->data;
    if (good && !data_named)
        snprintf(b->data, sizeof b->data, "%s", data);
    json_decref(root);
    return good ? OK : why(w, ERR_IO, "the server's answer makes no sense");
}

static void hold_path(const struct backup *b, char path[96]) {
    snprintf(path, 96, "/api/v1/admin/backup/%llu", (unsigned long long)b->hold);
}

static const char lost[] = "the server has let go of what was being copied, for it was restarted, its disk is full, or "
                           "it did not hear of this command for longer than --lease says: there is no backup";

static enum err look(struct backup *b, struct why *w) {
    char path[96];
    hold_path(b, path);
    json_t *root = ask(b, "GET", path, STR_NONE, lost);
    if (!root) {
        b->hold = 0;
        return told(w);
    }
    json_decref(b->segments);
    b->segments = json_incref(json_object_get(root, "Segments"));
    json_decref(root);
    b->look_ms = clock_mono_ms() + cli_number(b->args, "lease") * 1000 / 4;
    return json_is_array(b->segments) ? OK : why(w, ERR_IO, "the server's answer makes no sense");
}

/* It lasted until here: nothing that the copy speaks of went meanwhile. */
static enum err let_go(struct backup *b, struct why *w) {
    char path[96];
    if (!b->hold)
        return OK;
    hold_path(b, path);
    b->hold = 0;
    json_t *root = ask(b, "DELETE", path, STR_NONE, lost);
    json_decref(root);
    return root ? OK : told(w);
}

/* ---- copying ---- */

static enum err on_piece(void *arg, uint64_t bytes, struct why *w) {
    struct backup *b = arg;
    b->done += bytes;
    cli_progress_bytes(&b->progress, S("copying"), b->done, b->all);
    if (interrupted)
        return why(w, ERR_CLOSED, "interrupted: there is no backup");
    return b->hold && clock_mono_ms() >= b->look_ms ? look(b, w) : OK;
}

/* Now and then, so that the sync at the end is no long one. */
static enum err sync_database(struct backup *b, struct why *w) {
    if (b->db_done - b->db_synced < SYNC_EVERY)
        return OK;
    int fd = openat(b->to, "penfold.db", O_RDONLY | O_CLOEXEC);
    bool good = fd >= 0 && fdatasync(fd) == 0;
    int code = errno;
    if (fd >= 0)
        close(fd);
    b->db_synced = b->db_done;
    return good ? OK : disk_error(code, w, "sync", "penfold.db");
}

static enum err on_pages(void *arg, uint64_t done, uint64_t all, struct why *w) {
    struct backup *b = arg;
    uint64_t bytes = all ? (uint64_t)((double)b->db_size * (double)done / (double)all) : 0;
    uint64_t more = bytes > b->db_done ? bytes - b->db_done : 0;
    b->db_done += more;
    enum err e = sync_database(b, w);
    return e ? e : on_piece(b, more, w);
}

static enum err no_piece(void *arg, uint64_t bytes, struct why *w) {
    (void)bytes;
    return on_piece(arg, 0, w); /* counted when it was copied */
}

/* Behind the database is not the journal that it followed: that of another directory, perhaps. */
static enum err applied_is_there(const struct backup *b, const struct journal_position *applied, struct why *w) {
    char name[32];
    size_t i;
    json_t *v;
    if (!b->segments || !applied->epoch)
        return OK;
    snprintf(name, sizeof name, "%016llx.log", (unsigned long long)applied->epoch);
    json_array_foreach(b->segments, i, v) {
        const char *is = json_string_value(json_object_get(v, "Name"));
        if (is && strcmp(is, name) == 0)
            return OK;
    }
    return why(w, ERR_CORRUPT, "%s is not the data directory of the server that answers", b->data);
}

static enum err copy_database(struct backup *b, struct why *w) {
    char from[PATH_MAX + 16], to[PATH_MAX + 16];
    struct journal_position applied;
    struct backup_file f = {.folder = BACKUP_TOP, .name = "penfold.db"};
    snprintf(from, sizeof from, "%s/penfold.db", b->data);
    snprintf(to, sizeof to, "%s/penfold.db", b->target);
    enum err e = db_copy(from, to, on_pages, b, &applied, w);
    if (!e && b->hold)
        e = look(b, w); /* the journal's position: behind what the database knows */
    if (!e)
        e = applied_is_there(b, &applied, w);
    if (!e)
        e = backup_sum(b->to, &f, no_piece, b, w);
    return e ? e : backup_list_add(&b->list, &f, w);
}

struct folder {
    struct backup *b;
    enum backup_folder which;
    int from, to;
};

static enum err copy_file(struct folder *d, const char *name, uint64_t limit, struct why *w) {
    struct backup_file f = {.folder = d->which};
    snprintf(f.name, sizeof f.name, "%s", name);
    enum err e = backup_copy(d->from, d->to, limit, &f, on_piece, d->b, w);
    if (!e && f.zeros && d->which == BACKUP_JOURNAL) /* made ahead, and not in use */
        return unlinkat(d->to, name, 0) == 0 ? OK : disk_error(errno, w, "remove", name);
    if (e == ERR_NOT_FOUND && d->which == BACKUP_BIG && d->b->lock < 0)
        return OK; /* of a message that was on its way, and was not accepted */
    return e ? e : backup_list_add(&d->b->list, &f, w);
}

static enum err copy_named(void *arg, const char *name, uint64_t size, struct why *w) {
    struct folder *d = arg;
    (void)size;
    if (d->which == BACKUP_JOURNAL && !str_ends(str_of(name), S(".log")))
        return OK; /* free ones hold nothing */
    return copy_file(d, name, UINT64_MAX, w);
}

static enum err copy_segments(struct folder *d, struct why *w) {
    json_t *segments = json_incref(d->b->segments), *v;
    enum err e = OK;
    size_t i;
    json_array_foreach(segments, i, v) {
        const char *name = json_string_value(json_object_get(v, "Name"));
        uint64_t bytes = (uint64_t)json_integer_value(json_object_get(v, "Bytes"));
        if (!e && (!name || strchr(name, '/') || strlen(name) >= BACKUP_NAME))
            e = why(w, ERR_IO, "the server's answer makes no sense");
        if (!e)
            e = copy_file(d, name, bytes ? bytes : UINT64_MAX, w);
    }
    json_decref(segments);
    return e;
}

static enum err copy_folder(struct backup *b, enum backup_folder which, struct why *w) {
    struct folder d = {.b = b, .which = which, .to = -1};
    d.from = backup_folder_open(b->from, which, false);
    if (d.from < 0 && errno == ENOENT && which != BACKUP_JOURNAL)
        return OK;
    if (d.from < 0)
        return disk_error(errno, w, "open", backup_folder_name(which));
    d.to = backup_folder_open(b->to, which, true);
    enum err e = d.to < 0                                 ? disk_error(errno, w, "create", backup_folder_name(which))
                 : which == BACKUP_JOURNAL && b->lock < 0 ? copy_segments(&d, w)
                                                          : backup_names(d.from, copy_named, &d, w);
    if (!e && fsync(d.to) != 0)
        e = disk_error(errno, w, "sync", backup_folder_name(which));
    if (d.to >= 0)
        close(d.to);
    close(d.from);
    return e;
}

/* ---- beginning and end ---- */

static enum err add_size(void *arg, const char *name, uint64_t size, struct why *w) {
    (void)w;
    if (!str_ends(str_of(name), S(".free")))
        *(uint64_t *)arg += size;
    return OK;
}

/* About: the last segment is not full. */
static uint64_t guess_bytes(struct backup *b) {
    struct stat st;
    struct why w;
    uint64_t bytes = 0;
    if (fstatat(b->from, "penfold.db", &st, AT_SYMLINK_NOFOLLOW) == 0)
        bytes = b->db_size = (uint64_t)st.st_size;
    for (int i = BACKUP_JOURNAL; i < BACKUP_FOLDERS; i++) {
        int fd = backup_folder_open(b->from, (enum backup_folder)i, false);
        enum err e = backup_names(fd, add_size, &bytes, &w);
        if (fd >= 0)
            close(fd);
        if (e)
            break;
    }
    return bytes;
}

static enum err open_target(struct backup *b, struct why *w) {
    b->made = mkdir(b->target, 0700) == 0;
    if (!b->made && errno != EEXIST)
        return why(w, ERR_DENIED, "it cannot be made: %s", strerror(errno));
    b->to = open(b->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (b->to < 0)
        return why(w, ERR_DENIED, "%s", strerror(errno));
    return b->made || backup_is_empty(b->to) ? OK : why(w, ERR_EXISTS, "it is not empty; nothing was changed");
}

static enum err open_source(struct backup *b, const char *named, struct why *w) {
    enum err e = ERR_EXISTS;
    if (named && strlen(named) >= sizeof b->data)
        return why(w, ERR_LIMIT, "%s: this path is too long for a data directory", named);
    if (named) {
        snprintf(b->data, sizeof b->data, "%s", named);
        e = store_check_lock(named, &b->lock, w);
    }
    if (e == ERR_EXISTS) {
        b->lock = -1;
        e = hold(b, named != NULL, w);
    }
    if (e)
        return e;
    b->from = open(b->data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return b->from < 0 ? why(w, ERR_DENIED, "the data directory %s cannot be read: %s", b->data, strerror(errno)) : OK;
}

static enum err sync_parent(const char *path, struct why *w) {
    char parent[PATH_MAX + 4];
    snprintf(parent, sizeof parent, "%.*s/..", PATH_MAX - 1, path);
    return disk_sync_dir(disk_system(), parent, w);
}

static enum err copy_all(struct backup *b, struct why *w) {
    b->all = guess_bytes(b);
    enum err e = copy_database(b, w);
    for (int i = BACKUP_JOURNAL; !e && i < BACKUP_FOLDERS; i++)
        e = copy_folder(b, (enum backup_folder)i, w);
    if (!e)
        e = let_go(b, w);
    if (!e)
        e = backup_list_write(&b->list, b->to, w);
    if (!e)
        e = sync_parent(b->target, w);
    cli_progress_clear(&b->progress);
    return e;
}

static int status_of(enum err e) {
    switch (e) {
    case ERR_EXISTS:
    case ERR_DENIED: return EX_CANTCREAT;
    case ERR_NOT_FOUND: return EX_NOINPUT;
    case ERR_VERSION:
    case ERR_CORRUPT: return EX_DATAERR;
    case ERR_CLOSED: return EX_TEMPFAIL;
    default: return EX_IOERR;
    }
}

static int report(const struct backup *b) {
    char size[32];
    struct buf path = BUF(6 * PATH_MAX);
    escape_json(str_of(b->target), &path);
    cli_progress_size(size, b->list.bytes);
    if (cli_flag(b->args, "json"))
        printf("{\"Directory\":\"%s\",\"Files\":%zu,\"Bytes\":%llu,\"Running\":%s}\n", buf_cstr(&path), b->list.count,
               (unsigned long long)b->list.bytes, b->lock < 0 ? "true" : "false");
    else
        printf("%s: %zu files, %s, of %s %s\n", b->target, b->list.count, size,
               b->lock < 0 ? "the running server in" : "the stopped server in", b->data);
    buf_free(&path);
    return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}

/* Half a backup must not be taken for one, and on a full disk its room is wanted. */
static void undo(struct backup *b) {
    char path[96];
    struct buf answer = BUF(4096);
    if (b->to >= 0)
        backup_clear(b->to);
    if (b->made)
        (void)rmdir(b->target);
    hold_path(b, path);
    if (b->hold && cli_http_ask(b->args, "DELETE", path, STR_NONE, NULL, &answer) == EX_OK)
        b->hold = 0;
    buf_free(&answer);
}

static int run(struct backup *b, const char *named) {
    struct why w = {0};
    catch_signals();
    umask(077);
    enum err e = open_target(b, &w);
    if (e)
        return cli_error(b->args->page, status_of(e), "%s: %s", b->target, w.text);
    e = open_source(b, named, &w);
    if (!e) {
        b->list.made_ms = clock_wall_us() / 1000;
        e = copy_all(b, &w);
    }
    int status = !e        ? report(b)
                 : b->told ? b->told
                           : cli_error(b->args->page, status_of(e), "%s: %s", b->target, w.text);
    if (e)
        undo(b);
    return status;
}

static void close_all(struct backup *b) {
    const int fds[] = {b->from, b->to, b->lock};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    json_decref(b->segments);
    backup_list_free(&b->list);
}

static int with_conf(const struct cli_args *args, struct conf *c) {
    struct backup b = {.args = args, .target = args->operands[0], .from = -1, .to = -1, .lock = -1};
    char home[PATH_MAX];
    if (strlen(b.target) >= PATH_MAX)
        return cli_usage_error(args->page, "the path is too long");
    b.list.segment_size = c->journal_segment_size;
    int status = run(&b, cli_text(args, "config") || cli_text(args, "data") ? cli_conf_data(args, c, home) : NULL);
    close_all(&b);
    return status;
}

int cmd_backup(int argc, char **argv) {
    return cli_conf_run(&cli_backup_page, argc, argv, with_conf);
}
