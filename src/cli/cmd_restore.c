/* cmd_restore.c - penfold restore: a data directory made of a backup, checked before it is one.
 *
 * Everything is made in DATA/restore.tmp: copied, compared with the list, opened as a server opens it, and checked as
 * `penfold store check` does.  Then its parts are moved up, the database last; until then DATA/penfold.db is a file
 * that no server takes for one, so that nobody starts on half of it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/code.h"
#include "cli/backup_files.h"
#include "cli/cli.h"
#include "cli/cli_conf.h"
#include "cli/cli_progress.h"
#include "store/store.h"
#include "store/store_check.h"
#include "sys/clock.h"
#include "sys/log.h"

enum { MARKER = 4096, BIG_MIN = 1024 * 1024, SEGMENT_MIN = 64 * 1024 };

static const struct cli_option options[] = {
    {.name = "data",
     .value = "DIR",
     .variable = "PENFOLD_DATA",
     .sentence = "The data directory to make: missing or empty. Without it that of --config, else "
                 "$XDG_STATE_HOME/penfold or ~/.local/state/penfold."},
    {.name = "config",
     .letter = 'c',
     .value = "FILE",
     .variable = "PENFOLD_CONFIG",
     .sentence = "The configuration that names the data directory, and the user to whom root gives it."},
    {.name = "hold",
     .sentence =
         "Hold every delivery that waits, until penfold queue release: for when the server that was copied went "
         "on after the backup, and what it has delivered since must not be delivered again."},
    {.name = "json", .sentence = "Tell the result as JSON."},
};

const struct cli_page cli_restore_page = {
    .name = "restore",
    .operands = "DIR",
    .operands_min = 1,
    .operands_max = 1,
    .sentence = "Make a data directory of what penfold backup has copied, and check it.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
};

static const char folder_name[] = "restore.tmp";
static const char marker[] = "This data directory is being restored, or that was interrupted: it is not whole.\n";
static const char held_text[] = "held when it was restored: it may have been delivered after the backup was made";

struct restore {
    const struct cli_args *args;
    const char *source;
    char data[PATH_MAX], making[PATH_MAX + 16];
    int from, to, into; /* the backup, the data directory, restore.tmp */
    bool begun;         /* there is something to undo */
    struct backup_list list;
    struct cli_progress progress;
    uint64_t done;
    uint64_t messages, waiting;
    struct store_check_result check;
};

/* ---- copying ---- */

static enum err on_piece(void *arg, uint64_t bytes, struct why *w) {
    struct restore *r = arg;
    (void)w;
    r->done += bytes;
    cli_progress_bytes(&r->progress, S("copying"), r->done, r->list.bytes);
    return OK;
}

static enum err copy_file(struct restore *r, const struct backup_file *listed, int from, int to, struct why *w) {
    struct backup_file f = *listed;
    enum err e = backup_copy(from, to, UINT64_MAX, &f, on_piece, r, w);
    if (e == ERR_NOT_FOUND)
        return why(w, ERR_CORRUPT, "%s/%s is missing in the backup", backup_folder_name(f.folder), f.name);
    if (e || (f.size == listed->size && memcmp(f.sum, listed->sum, sizeof f.sum) == 0))
        return e;
    return why(w, ERR_CORRUPT, "%s%s%s is not what was written there when the backup was made",
               backup_folder_name(f.folder), f.folder ? "/" : "", f.name);
}

static enum err copy_folder(struct restore *r, enum backup_folder which, struct why *w) {
    int from = backup_folder_open(r->from, which, false), to = backup_folder_open(r->into, which, true);
    enum err e = to < 0 ? disk_error(errno, w, "create", backup_folder_name(which)) : OK;
    for (size_t i = 0; !e && i < r->list.count; i++) {
        const struct backup_file *f = &r->list.files[i];
        if (f->folder == which && from < 0)
            e = why(w, ERR_CORRUPT, "the folder %s is missing in the backup", backup_folder_name(which));
        else if (f->folder == which)
            e = copy_file(r, f, from, to, w);
    }
    if (!e && fsync(to) != 0)
        e = disk_error(errno, w, "sync", backup_folder_name(which));
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
    return e;
}

static bool is_listed(const struct restore *r, enum backup_folder which) {
    for (size_t i = 0; i < r->list.count; i++)
        if (r->list.files[i].folder == which)
            return true;
    return false;
}

static enum err copy_all(struct restore *r, struct why *w) {
    enum err e = OK;
    for (int i = BACKUP_TOP; !e && i < BACKUP_FOLDERS; i++)
        if (i <= BACKUP_BIG || is_listed(r, (enum backup_folder)i))
            e = copy_folder(r, (enum backup_folder)i, w);
    cli_progress_clear(&r->progress);
    return e;
}

/* ---- as a server would open it ---- */

static void on_mail_done(void *arg, void *owner, enum err e, const char *text) {
    (void)arg, (void)owner, (void)e, (void)text;
}
static void on_state(void *arg, enum err e, const char *text) {
    (void)arg, (void)e, (void)text;
}
static void on_hold(void *arg, bool on) {
    (void)arg, (void)on;
}
static void on_answer(void *arg, struct request *r) {
    (void)arg, (void)r;
}
static void on_changed(void *arg, const struct frame *f) {
    (void)arg, (void)f;
}
static void on_soon(void *arg) {
    (void)arg;
}

static enum err count_one(void *arg, const struct db_delivery *d) {
    (void)d;
    ++*(uint64_t *)arg;
    return OK;
}

/* Replays what the database had not seen when it was copied.  No limit of retention: nothing goes here. */
static enum err open_once(struct restore *r, struct why *w) {
    static const struct store_ops ops = {.mail_done = on_mail_done,
                                         .state = on_state,
                                         .hold = on_hold,
                                         .answer = on_answer,
                                         .changed = on_changed,
                                         .soon = on_soon};
    struct store_options o = {.data = r->making,
                              .disk = disk_system(),
                              .segment_size = r->list.segment_size,
                              .big_min = BIG_MIN,
                              .memory_budget = BIG_MIN,
                              .lag_max = 1000,
                              .message_max = BIG_MIN,
                              .disk_reserve = 1,
                              .hold_all = cli_flag(r->args, "hold") ? held_text : NULL};
    struct store *s = NULL;
    random_bytes(&o.random_seed, sizeof o.random_seed);
    log_setup("restore", 0, LOG_TEXT, EVENT_WARNING);
    enum err e = store_open(&s, &o, &ops, r, w);
    if (e)
        return e;
    r->messages = store_sums(s).db.total;
    e = store_deliveries(s, count_one, &r->waiting, w);
    store_close(s);
    return e;
}

static void on_check(void *arg, bool fault, const char *line) {
    (void)arg;
    if (fault)
        fprintf(stderr, "fault: %s\n", line);
}

static enum err check(struct restore *r, struct why *w) {
    enum err e = store_check(r->making, r->list.segment_size, on_check, r, &r->check, w);
    return e || r->check.faults == 0
               ? e
               : why(w, ERR_CORRUPT, "the backup has %llu faults, told above", (unsigned long long)r->check.faults);
}

/* ---- making it the data directory ---- */

static enum err put_marker(struct restore *r, struct why *w) {
    char text[MARKER] = "";
    memcpy(text, marker, sizeof marker);
    int fd = openat(r->to, "penfold.db", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool good = fd >= 0 && write(fd, text, sizeof text) == (ssize_t)sizeof text && fsync(fd) == 0;
    int code = errno;
    if (fd >= 0)
        close(fd);
    return good ? OK : disk_error(code, w, "write", "penfold.db");
}

/* To whom the data directory belongs, where root makes it. */
static enum err give(int dir, const struct stat *owner, bool deep, struct why *w) {
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
    enum err e = d && fchown(dir, owner->st_uid, owner->st_gid) == 0 ? OK : disk_error(errno, w, "give", ".");
    for (const struct dirent *entry; !e && (entry = readdir(d));) {
        if (entry->d_name[0] == '.')
            continue;
        int fd = openat(dir, entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) != 0 || fchown(fd, owner->st_uid, owner->st_gid) != 0)
            e = disk_error(errno, w, "give", entry->d_name);
        else if (S_ISDIR(st.st_mode) && deep)
            e = give(fd, owner, false, w);
        if (fd >= 0)
            close(fd);
    }
    if (d)
        closedir(d);
    else if (copy >= 0)
        close(copy);
    return e;
}

static enum err move_up(struct restore *r, const char *name, struct why *w) {
    return renameat(r->into, name, r->to, name) == 0 ? OK : disk_error(errno, w, "rename", name);
}

/* The database last; with it the directory is one. */
static enum err move_all(struct restore *r, struct why *w) {
    int copy = openat(r->into, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
    enum err e = d ? OK : disk_error(errno, w, "read the directory", folder_name);
    for (const struct dirent *entry; !e && (entry = readdir(d));)
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, "penfold.db") != 0)
            e = move_up(r, entry->d_name, w);
    if (d)
        closedir(d);
    if (!e)
        e = disk_sync_dir(disk_system(), r->data, w);
    if (!e)
        e = move_up(r, "penfold.db", w);
    if (!e && unlinkat(r->to, folder_name, AT_REMOVEDIR) != 0)
        e = disk_error(errno, w, "remove", folder_name);
    return e ? e : disk_sync_dir(disk_system(), r->data, w);
}

static enum err finish(struct restore *r, struct why *w) {
    struct stat owner;
    if (fstat(r->to, &owner) != 0)
        return disk_error(errno, w, "look at", r->data);
    enum err e = geteuid() == 0 ? give(r->into, &owner, true, w) : OK;
    return e ? e : move_all(r, w);
}

/* ---- all of it ---- */

static enum err make_target(struct restore *r, const struct conf *c, struct why *w) {
    enum err e = cli_conf_make_data(c, w);
    if (e)
        return e;
    r->to = open(r->data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->to < 0)
        return why(w, ERR_DENIED, "the data directory cannot be read: %s", strerror(errno));
    if (!backup_is_empty(r->to))
        return why(w, ERR_EXISTS, "the data directory is not empty; nothing was changed");
    r->begun = true;
    e = put_marker(r, w);
    if (!e && mkdirat(r->to, folder_name, 0700) != 0)
        e = disk_error(errno, w, "create", folder_name);
    r->into = e ? -1 : openat(r->to, folder_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return e || r->into >= 0 ? e : disk_error(errno, w, "open", folder_name);
}

static enum err read_list(struct restore *r, struct why *w) {
    r->from = open(r->source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->from < 0)
        return why(w, ERR_NOT_FOUND, "it cannot be read: %s", strerror(errno));
    enum err e = backup_list_read(&r->list, r->from, w);
    bool sane = r->list.segment_size >= SEGMENT_MIN && r->list.segment_size <= UINT32_MAX;
    return e || sane ? e : why(w, ERR_CORRUPT, "the list of the backup makes no sense");
}

static enum err steps(struct restore *r, struct why *w) {
    enum err e = copy_all(r, w);
    if (!e)
        e = open_once(r, w);
    if (!e)
        e = check(r, w);
    return e ? e : finish(r, w);
}

static int status_of(enum err e) {
    switch (e) {
    case ERR_NOT_FOUND: return EX_NOINPUT;
    case ERR_CORRUPT:
    case ERR_VERSION: return EX_DATAERR;
    case ERR_EXISTS:
    case ERR_DENIED: return EX_CANTCREAT;
    default: return EX_IOERR;
    }
}

static void tell_waiting(const struct restore *r) {
    if (!r->waiting)
        return;
    printf("recipients that wait for their delivery: %" PRIu64 "\n%s\n", r->waiting,
           cli_flag(r->args, "hold")
               ? "They are held: look at them with penfold queue list, let them go with penfold queue release."
               : "They are tried when the server starts.  What was delivered after the backup was made would be "
                 "delivered again; --hold keeps them back.");
}

static int report(const struct restore *r) {
    struct buf path = BUF(6 * PATH_MAX);
    escape_json(str_of(r->data), &path);
    if (cli_flag(r->args, "json")) {
        printf("{\"Data\":\"%s\",\"Messages\":%" PRIu64 ",\"Inbox\":%" PRIu64 ",\"Records\":%" PRIu64
               ",\"BigFiles\":%" PRIu64 ",\"Waiting\":%" PRIu64 ",\"Held\":%s}\n",
               buf_cstr(&path), r->check.messages, r->messages, r->check.records, r->check.big_files, r->waiting,
               cli_flag(r->args, "hold") ? "true" : "false");
    } else {
        printf("%s: %" PRIu64 " messages, %" PRIu64 " records, %" PRIu64 " big files, no faults\n", r->data,
               r->check.messages, r->check.records, r->check.big_files);
        tell_waiting(r);
    }
    buf_free(&path);
    return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}

static int run(struct restore *r, const struct conf *c) {
    struct why w = {0};
    umask(077);
    enum err e = read_list(r, &w);
    if (e)
        return cli_error(r->args->page, status_of(e), "%s: %s", r->source, w.text);
    e = make_target(r, c, &w);
    if (!e)
        e = steps(r, &w);
    if (!e)
        return report(r);
    int status = cli_error(r->args->page, status_of(e), "%s: %s", r->data, w.text);
    if (r->begun)
        backup_clear(r->to);
    return status;
}

static void close_all(struct restore *r) {
    const int fds[] = {r->from, r->to, r->into};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    backup_list_free(&r->list);
}

static int with_conf(const struct cli_args *args, struct conf *c) {
    struct restore r = {.args = args, .source = args->operands[0], .from = -1, .to = -1, .into = -1};
    char home[PATH_MAX];
    const char *data = cli_conf_data(args, c, home);
    if (snprintf(r.data, sizeof r.data, "%s", data) >= (int)sizeof r.data)
        return cli_usage_error(args->page, "the path is too long");
    snprintf(r.making, sizeof r.making, "%s/%s", r.data, folder_name);
    c->data = str_of(r.data);
    int status = run(&r, c);
    close_all(&r);
    return status;
}

int cmd_restore(int argc, char **argv) {
    return cli_conf_run(&cli_restore_page, argc, argv, with_conf);
}
