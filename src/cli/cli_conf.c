#include "cli/cli_conf.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mailauth/sasl_server.h"
#include "policy/directory.h"
#include "sys/listen.h"
#include "sys/tls.h"
#include "sys/whole.h"

enum { CONF_FD = 3, FIRST_ACTIVATED_FD = 3 /* sd_listen_fds(3) */ };

enum err cli_conf_load(const char *path, struct buf *text, struct why *w) {
    if (strcmp(path, "-") == 0)
        return whole_read_fd(STDIN_FILENO, "stdin", CONF_FILE_MAX, text, w);
    return whole_read_file(path, CONF_FILE_MAX, text, w);
}

/* ---- checks that need the system ---- */

struct check {
    struct conf *c;
    struct conf_errors *errors;
    bool failed;
};

#define COMPLAIN(k, place, ...)                                                                                        \
    do {                                                                                                               \
        conf_errors_add((k)->errors, (place).where, (place).line, __VA_ARGS__);                                        \
        (k)->failed = true;                                                                                            \
    } while (0)

/* Where relative paths of a place count from: the folder of its file, which has lines; else the current folder. */
static bool base_folder(const struct conf_place *place, char folder[PATH_MAX]) {
    char here[PATH_MAX], file[2 * PATH_MAX];
    if (!getcwd(here, sizeof here))
        return false;
    snprintf(file, sizeof file, "%s%s%s", place->line && place->where[0] == '/' ? "" : here,
             place->line && place->where[0] == '/' ? "" : "/", place->line ? place->where : "");
    char *slash = strrchr(file, '/');
    if (slash)
        *slash = '\0';
    return (size_t)snprintf(folder, PATH_MAX, "%s", file) < PATH_MAX;
}

static void make_absolute(struct check *k, const struct conf_place *place, str *path) {
    char folder[PATH_MAX];
    if (path->n == 0 || path->p[0] == '/' || str_eq(*path, S("none"))) /* none: as dns_anchor may say */
        return;
    if (!base_folder(place, folder)) {
        COMPLAIN(k, *place, "the current directory cannot be named: %s", strerror(errno));
        return;
    }
    struct buf whole = BUF(2 * PATH_MAX);
    buf_printf(&whole, "%s/%.*s", folder, STR_ARG(*path));
    str copy = arena_str(&k->c->arena, buf_str(&whole));
    if (copy.p)
        *path = copy;
    buf_free(&whole);
}

static void absolute_rows(struct check *k, const struct conf_row *rows, size_t n, void *base,
                          const struct conf_place *places) {
    for (size_t i = 0; i < n; i++)
        if (rows[i].type == CONF_T_PATH)
            make_absolute(k, &places[i], (str *)((char *)base + rows[i].offset));
}

static void absolute_paths(struct check *k) {
    absolute_rows(k, conf_rows, CONF_KEYS, k->c, k->c->places);
    for (size_t i = 0; i < conf_block_kind_count; i++) {
        const struct conf_block_kind *kind = &conf_block_kinds[i];
        void *block;
        for (size_t n = 0; (block = conf_block(k->c, kind, n)); n++)
            absolute_rows(k, kind->rows, kind->row_count, block,
                          (const struct conf_place *)((char *)block + kind->places));
    }
}

enum err cli_conf_absolute(struct conf *c, struct conf_errors *errors) {
    struct check k = {c, errors, false};
    absolute_paths(&k);
    return k.failed ? ERR_SYNTAX : OK;
}

static bool load_named(struct check *k, const struct conf_place *place, const char *key, str path, struct buf *text) {
    struct why w;
    struct stat st;
    if (path.n == 0)
        return false;
    if (stat(path.p, &st) == 0 && !S_ISREG(st.st_mode)) {
        COMPLAIN(k, *place, "%s: %s is no file", key, path.p);
        return false;
    }
    if (whole_read_file(path.p, CONF_FILE_MAX, text, &w) == OK)
        return true;
    COMPLAIN(k, *place, "%s: %s", key, w.text);
    return false;
}

/* A certificate and its key, once both can be read. */
static void check_pair(struct check *k, const struct conf_place *cert_place, const char *cert_key, str cert_file,
                       const struct conf_place *key_place, const char *key_key, str key_file) {
    struct buf cert = {0}, key = {0};
    struct why w;
    bool has_cert = load_named(k, cert_place, cert_key, cert_file, &cert);
    bool has_key = load_named(k, key_place, key_key, key_file, &key);
    if (has_cert && has_key && tls_check_pair(buf_str(&cert), buf_str(&key), cert_file.p, key_file.p, &w) != OK)
        COMPLAIN(k, *cert_place, "%s", w.text);
    buf_wipe(&cert);
    buf_wipe(&key);
}

static void check_auth_file(struct check *k) {
    const struct conf *c = k->c;
    const struct conf_place *place = &c->places[CONF_KEY_auth_file];
    struct buf text = {0};
    struct arena a = ARENA(16 * CONF_FILE_MAX);
    struct sasl_policy policy = {0};
    struct why w;
    if (load_named(k, place, "auth_file", c->auth_file, &text) &&
        sasl_users_parse(buf_str(&text), &a, &policy, &w) != OK)
        COMPLAIN(k, *place, "auth_file: %s: %s", c->auth_file.p, w.text);
    buf_wipe(&text);
    arena_wipe(&a);
}

static void check_folder(struct check *k, const struct conf_place *place, const char *key, str path, bool parent) {
    char folder[PATH_MAX];
    struct stat st;
    if (path.n == 0 || path.n >= sizeof folder)
        return;
    memcpy(folder, path.p, path.n + 1);
    char *slash = strrchr(folder, '/');
    if (parent && slash)
        slash[slash == folder] = '\0';
    if (stat(folder, &st) != 0) {
        if (parent || errno != ENOENT)
            COMPLAIN(k, *place, "%s: %s: %s", key, folder, strerror(errno));
    } else if (!S_ISDIR(st.st_mode))
        COMPLAIN(k, *place, "%s: %s is no directory", key, folder);
}

/* A sandbox without the user goes on as root (sys/sandbox.h), unless the user was asked for. */
static void check_user(struct check *k) {
    struct conf_place place = k->c->places[CONF_KEY_user];
    bool needed = place.where || k->c->mode == CONF_MODE_SERVER;
    if (needed && geteuid() == 0 && !getpwnam(k->c->user.p))
        COMPLAIN(k, place, "user: there is no user \"%s\" on this system: create it, or set `user`", k->c->user.p);
}

static bool may(const struct stat *st, const struct passwd *pw, mode_t bits) {
    mode_t shift = st->st_uid == pw->pw_uid ? 6 : st->st_gid == pw->pw_gid ? 3 : 0;
    return pw->pw_uid == 0 || (st->st_mode >> shift & bits) == bits;
}

/* The first folder on the way to path (the last one is path itself) that the user cannot use; false: there is none. */
static bool find_obstacle(str path, const struct passwd *pw, char folder[PATH_MAX]) {
    struct stat st;
    for (size_t n = 1; n <= path.n && n < PATH_MAX; n++) {
        if (n < path.n && path.p[n] != '/')
            continue;
        snprintf(folder, PATH_MAX, "%.*s", (int)n, path.p);
        if (stat(folder, &st) != 0)
            return false; /* to be made */
        if (!may(&st, pw, n == path.n ? 7 : 1))
            return true;
    }
    return false;
}

/* The roles of root run as another user, who must get at the data.  A sandbox in root's home rather stays root. */
static void check_reach(struct check *k) {
    struct conf *c = k->c;
    const struct passwd *pw = geteuid() == 0 ? getpwnam(c->user.p) : NULL;
    char folder[PATH_MAX];
    if (!pw || !find_obstacle(c->data, pw, folder))
        return;
    if (c->mode == CONF_MODE_SANDBOX && !c->places[CONF_KEY_user].where) {
        if (conf_set(c, S("user"), S("root"), "--data", k->errors) != OK)
            k->failed = true;
        return;
    }
    COMPLAIN(k, c->places[CONF_KEY_data], "data: the user %s cannot use %s", c->user.p, folder);
}

/* Secrets of routes: there, a file, and readable. */
static void check_secret_files(struct check *k) {
    for (size_t i = 0; i < k->c->route_count; i++) {
        const struct conf_route *r = &k->c->routes[i];
        struct buf secret = {0};
        load_named(k, &r->places[CONF_ROUTE_KEY_password_file], "password_file", r->password_file, &secret);
        buf_wipe(&secret);
        secret = (struct buf){0};
        load_named(k, &r->places[CONF_ROUTE_KEY_secret_file], "secret_file", r->secret_file, &secret);
        buf_wipe(&secret);
    }
}

/* What the directory makes of the blocks: accounts without their domain, aliases in circles ... */
static void check_directory(struct check *k) {
    struct why w;
    struct directory *dir = directory_new(0);
    if (!dir || directory_conf(dir, k->c, &w) != OK)
        COMPLAIN(k, ((struct conf_place){NULL, 0}), "%s", dir ? w.text : "out of memory");
    directory_free(dir);
}

static void check_files(struct check *k) {
    struct conf *c = k->c;
    check_pair(k, &c->places[CONF_KEY_tls_certificate], "tls_certificate", c->tls_certificate,
               &c->places[CONF_KEY_tls_key], "tls_key", c->tls_key);
    for (size_t i = 0; i < c->listen_count; i++) {
        struct conf_listen *l = &c->listens[i];
        check_pair(k, &l->places[CONF_LISTEN_KEY_certificate], "certificate", l->certificate,
                   &l->places[CONF_LISTEN_KEY_key], "key", l->key);
        if (l->address.kind == CONF_ADDRESS_UNIX)
            check_folder(k, &l->places[CONF_LISTEN_KEY_address], "address", l->address.path, true);
    }
    check_auth_file(k);
    check_secret_files(k);
    check_folder(k, &c->places[CONF_KEY_log_file], "log_file", c->log_file, true);
    check_folder(k, &c->places[CONF_KEY_data], "data", c->data, false);
    check_user(k);
    check_reach(k);
}

enum err cli_conf_check(struct conf *c, struct conf_errors *errors) {
    struct check k = {c, errors, false};
    enum err e = conf_check(c, errors);
    if (e == ERR_NOMEM)
        return e;
    absolute_paths(&k);
    check_files(&k);
    if (e == OK)
        check_directory(&k);
    return e == OK && k.failed ? ERR_SYNTAX : e;
}

int cli_conf_complain(struct conf_errors *errors, int status) {
    struct buf out = BUF(1024 * 1024);
    conf_errors_put(&out, errors);
    if (out.n == 0)
        buf_add(&out, S("penfold: out of memory\n"));
    fwrite(out.p, 1, out.n, stderr);
    buf_free(&out);
    return status;
}

/* ---- what the system fills in ---- */

void cli_conf_state_home(char *path, size_t size) {
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (!home || !*home) {
        const struct passwd *pw = getpwuid(geteuid());
        home = pw ? pw->pw_dir : "";
    }
    if (state && state[0] == '/') /* the XDG base directory specification has relative ones ignored */
        snprintf(path, size, "%s/penfold", state);
    else
        snprintf(path, size, "%s%s", home, *home ? "/.local/state/penfold" : "");
}

static int read_named(const struct cli_args *args, struct conf *c, struct buf *text, struct conf_errors *errors) {
    const char *file = cli_text(args, "config");
    struct why w;
    if (file && cli_conf_load(file, text, &w) != OK)
        return cli_error(args->page, EX_NOINPUT, "%s", w.text);
    if (file && conf_read(buf_str(text), file, c, errors) != OK)
        return cli_conf_complain(errors, EX_CONFIG);
    return CLI_GO_ON;
}

int cli_conf_run(const struct cli_page *page, int argc, char **argv,
                 int (*run)(const struct cli_args *args, struct conf *c)) {
    struct cli_args args;
    struct conf c;
    struct conf_errors errors = {0};
    struct buf text = {0};
    int status = cli_parse(page, argc, argv, &args);
    conf_defaults(&c);
    if (status == CLI_GO_ON)
        status = read_named(&args, &c, &text, &errors);
    if (status == CLI_GO_ON)
        status = run(&args, &c);
    buf_free(&text);
    conf_errors_free(&errors);
    conf_free(&c);
    cli_args_free(&args);
    return status;
}

const char *cli_conf_data(const struct cli_args *args, const struct conf *c, char home[PATH_MAX]) {
    if (cli_text(args, "data"))
        return cli_text(args, "data");
    if (cli_text(args, "config"))
        return c->data.p;
    cli_conf_state_home(home, PATH_MAX);
    return home;
}

static bool hostname_valid(const char *name) {
    for (const char *c = name; *c; c++)
        if (!char_is_alnum(*c) && *c != '-' && *c != '.')
            return false;
    return *name && *name != '-' && *name != '.';
}

enum err cli_conf_fill_hostname(struct conf *c, struct conf_errors *errors) {
    char name[256] = "";
    if (c->hostname.n)
        return OK;
    if (gethostname(name, sizeof name - 1) != 0 || !hostname_valid(name))
        snprintf(name, sizeof name, "localhost");
    return conf_set(c, S("hostname"), str_of(name), "the system's name", errors);
}

enum err cli_conf_make_data(const struct conf *c, struct why *w) {
    char path[PATH_MAX];
    if (c->data.n >= sizeof path)
        return why(w, ERR_LIMIT, "data: the path is too long");
    memcpy(path, c->data.p, c->data.n + 1);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, geteuid() == 0 ? 0755 : 0700) != 0 && errno != EEXIST) /* root's are for another user */
            return why(w, ERR_IO, "the data directory cannot be made: %s: %s", path, strerror(errno));
        *slash = '/';
    }
    if (mkdir(path, 0700) == 0) {
        const struct passwd *pw = geteuid() == 0 ? getpwnam(c->user.p) : NULL;
        if (pw && chown(path, pw->pw_uid, pw->pw_gid) != 0)
            return why(w, ERR_IO, "%s: %s", path, strerror(errno));
        return OK;
    }
    if (errno != EEXIST)
        return why(w, ERR_IO, "the data directory cannot be made: %s: %s", path, strerror(errno));
    if (access(path, R_OK | W_OK | X_OK) != 0)
        return why(w, ERR_DENIED, "the data directory is not usable: %s: %s", path, strerror(errno));
    return OK;
}

/* ---- the supervisor ---- */

static bool usable(const char *path) {
    return access(path, X_OK) == 0;
}

static bool find_role(const char *role, char path[PATH_MAX], char self[PATH_MAX]) {
    const char *named = getenv("PENFOLD_LIBEXEC");
    ssize_t n = readlink("/proc/self/exe", self, PATH_MAX - 1);
    if (n < 0)
        return false;
    self[n] = '\0';
    int folder = (int)(strrchr(self, '/') - self);
    if (named && *named)
        return snprintf(path, PATH_MAX, "%s/%s", named, role) < PATH_MAX && usable(path);
    return (snprintf(path, PATH_MAX, "%.*s/libexec/penfold/%s", folder, self, role) < PATH_MAX && usable(path)) ||
           (snprintf(path, PATH_MAX, "%.*s/../libexec/penfold/%s", folder, self, role) < PATH_MAX && usable(path));
}

bool cli_conf_find_role(const char *role, char path[PATH_MAX]) {
    char self[PATH_MAX];
    return find_role(role, path, self);
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

static int conf_memory_file(const struct conf *c) {
    struct buf text = BUF(2 * CONF_FILE_MAX);
    conf_write(&text, c);
    int fd = text.full ? -1 : memfd_create("penfold.conf", MFD_CLOEXEC);
    if (fd >= 0 && (!write_all(fd, buf_str(&text)) || lseek(fd, 0, SEEK_SET) != 0)) {
        close(fd);
        fd = -1;
    }
    buf_free(&text);
    return fd;
}

/* How many sockets the service manager gave to this very process (sd_listen_fds(3)). */
static int activated_sockets(void) {
    uint64_t pid, n;
    if (!str_u64(str_of(getenv("LISTEN_PID")), &pid) || !str_u64(str_of(getenv("LISTEN_FDS")), &n) ||
        pid != (uint64_t)getpid())
        return 0;
    return n > LISTEN_ACTIVATED_MAX ? 0 : (int)n;
}

/* Descriptor 3 for the configuration; activated sockets move up by one, the last one first. */
static bool place_descriptors(int conf_fd) {
    int first = FIRST_ACTIVATED_FD, sockets = activated_sockets();
    int aside = fcntl(conf_fd, F_DUPFD_CLOEXEC, first + sockets + 1);
    if (aside < 0)
        return false;
    for (int fd = first + sockets - 1; fd >= first; fd--)
        if (dup2(fd, fd + 1) < 0)
            return false;
    return dup2(aside, CONF_FD) == CONF_FD;
}

int cli_conf_launch(const struct cli_page *page, const struct conf *c, int argc, char **argv) {
    char path[PATH_MAX], self[PATH_MAX];
    if (!find_role("supervisor", path, self))
        return cli_error(page, EX_SOFTWARE,
                         "the supervisor is not installed beside this program (libexec/penfold/supervisor)");
    int fd = conf_memory_file(c);
    if (fd < 0 || !place_descriptors(fd))
        return cli_error(page, EX_OSERR, "the configuration cannot be handed over: %s", strerror(errno));

    char **list = calloc((size_t)argc + 5, sizeof *list);
    if (!list)
        return cli_error(page, EX_OSERR, "out of memory");
    int n = 0;
    list[n++] = "supervisor";
    list[n++] = c->mode == CONF_MODE_SANDBOX ? "sandbox" : "server";
    list[n++] = self;
    list[n++] = argv[0];
    list[n++] = "--print-conf";
    for (int i = 1; i < argc; i++)
        list[n++] = argv[i];
    execv(path, list);
    int status = cli_error(page, EX_OSERR, "%s: %s", path, strerror(errno));
    free(list);
    return status;
}
