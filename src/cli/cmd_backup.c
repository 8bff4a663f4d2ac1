/* cmd_backup.c - penfold backup: a consistent copy of the store while it runs; penfold restore: that copy as a new data
 * directory, checked before anything is said. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/cli_http.h"
#include "store/store_check.h"

static const struct cli_option backup_options[] = {
    CLI_HTTP_ADMIN_OPTION,
};

const struct cli_page cli_backup_page = {
    .name = "backup",
    .operands = "DIR",
    .operands_min = 1,
    .operands_max = 1,
    .sentence = "Copy the store of a running server into an empty directory.",
    .options = backup_options,
    .option_count = sizeof backup_options / sizeof *backup_options,
};

static const struct cli_option restore_options[] = {
    {.name = "data",
     .value = "DIR",
     .variable = "PENFOLD_DATA",
     .sentence = "The new data directory: missing or empty."},
    {.name = "segment-size",
     .value = "BYTES",
     .min = 1,
     .max = UINT64_C(1) << 32,
     .fallback = "67108864",
     .sentence = "The journal_segment_size of the server that was copied."},
};

const struct cli_page cli_restore_page = {
    .name = "restore",
    .operands = "DIR",
    .operands_min = 1,
    .operands_max = 1,
    .sentence = "Make a data directory of what penfold backup copied, and check it.",
    .options = restore_options,
    .option_count = sizeof restore_options / sizeof *restore_options,
};

static int backup(const struct cli_args *args) {
    char path[PATH_MAX];
    struct buf answer = BUF(64 * 1024);
    const char *directory = args->operands[0];
    if (directory[0] != '/') {
        char here[PATH_MAX];
        if (!getcwd(here, sizeof here) || snprintf(path, sizeof path, "%s/%s", here, directory) >= (int)sizeof path)
            return cli_error(args->page, EX_OSERR, "the directory's whole name cannot be told");
        directory = path;
    }
    json_t *root = json_pack("{ss}", "Directory", directory);
    char *body = json_dumps(root, JSON_COMPACT);
    int status = cli_http_ask(args, "POST", "/api/v1/admin/backup", str_of(body), NULL, &answer);
    free(body);
    json_decref(root);
    buf_free(&answer);
    return status;
}

int cmd_backup(int argc, char **argv) {
    struct cli_args args;
    int status = cli_parse(&cli_backup_page, argc, argv, &args);
    if (status == CLI_GO_ON)
        status = backup(&args);
    cli_args_free(&args);
    return status;
}

/* ---- restore ---- */

static bool copy_bytes(int from, int to) {
    char space[256 * 1024];
    ssize_t n;
    while ((n = read(from, space, sizeof space)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        for (ssize_t done = 0; n > 0 && done < n;) {
            ssize_t w = write(to, space + done, (size_t)(n - done));
            if (w < 0 && errno != EINTR)
                return false;
            done += w > 0 ? w : 0;
        }
        if (n < 0)
            return false;
    }
    return fsync(to) == 0;
}

static bool copy_file(int from_dir, int to_dir, const char *name) {
    int from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    int to = from >= 0 ? openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    bool ok = to >= 0 && copy_bytes(from, to);
    int reason = errno;
    if (from >= 0)
        close(from);
    if (to >= 0 && close(to) != 0)
        ok = false;
    errno = reason;
    return ok;
}

/* One level below the directory: journal/, big/, secrets/, tls/. */
static bool copy_folder(int from_dir, int to_dir, int depth) {
    DIR *d = fdopendir(dup(from_dir));
    bool ok = d != NULL;
    for (const struct dirent *e; ok && (e = readdir(d));) {
        struct stat st;
        if (e->d_name[0] == '.' || fstatat(from_dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (S_ISREG(st.st_mode)) {
            ok = copy_file(from_dir, to_dir, e->d_name);
        } else if (S_ISDIR(st.st_mode) && depth == 0) {
            int from = openat(from_dir, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            ok = from >= 0 && mkdirat(to_dir, e->d_name, 0700) == 0;
            int to = ok ? openat(to_dir, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
            ok = to >= 0 && copy_folder(from, to, depth + 1);
            if (from >= 0)
                close(from);
            if (to >= 0)
                close(to);
        }
    }
    int reason = errno;
    if (d)
        closedir(d);
    ok = ok && fsync(to_dir) == 0;
    errno = ok ? errno : reason;
    return ok;
}

static bool is_empty(const char *path) {
    DIR *d = opendir(path);
    bool empty = d != NULL;
    for (const struct dirent *e; empty && (e = readdir(d));)
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    if (d)
        closedir(d);
    return empty;
}

static void report(void *arg, bool fault, const char *line) {
    (void)arg;
    if (fault)
        fprintf(stderr, "fault: %s\n", line);
}

static int restore(const struct cli_args *args) {
    const char *from_path = args->operands[0], *to_path = cli_text(args, "data");
    if (!to_path)
        return cli_usage_error(args->page, "say where to: --data DIR");
    if (mkdir(to_path, 0700) != 0 && (errno != EEXIST || !is_empty(to_path)))
        return cli_error(args->page, EX_CANTCREAT, "%s: %s", to_path,
                         errno == EEXIST ? "is not empty; nothing was changed" : strerror(errno));
    int from = open(from_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int to = from >= 0 ? open(to_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    bool ok = to >= 0 && faccessat(from, "penfold.db", R_OK, 0) == 0 && copy_folder(from, to, 0);
    int reason = errno;
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
    if (!ok)
        return cli_error(args->page, EX_IOERR, "%s could not be copied to %s: %s", from_path, to_path,
                         strerror(reason));
    struct store_check_result result = {0};
    struct why w;
    enum err e = store_check(to_path, cli_number(args, "segment-size"), report, NULL, &result, &w);
    if (e)
        return cli_error(args->page, EX_DATAERR, "%s", w.text);
    printf("%s: %llu messages, %llu records, %llu faults\n", to_path, (unsigned long long)result.messages,
           (unsigned long long)result.records, (unsigned long long)result.faults);
    return result.faults ? EX_DATAERR : EX_OK;
}

int cmd_restore(int argc, char **argv) {
    struct cli_args args;
    int status = cli_parse(&cli_restore_page, argc, argv, &args);
    if (status == CLI_GO_ON)
        status = restore(&args);
    cli_args_free(&args);
    return status;
}
