/* supervisor.c - the one that is started, binds, forks, watches, reloads and ends the others.  It parses nothing that
 * comes from the network.
 *
 *     supervisor sandbox|server PENFOLD ARG...
 *
 * Descriptor 3 is the configuration (conf_write's text); PENFOLD ARG... prints it anew, for SIGHUP; activated sockets
 * follow from 4 on (see cli/cli_conf.h).
 *
 *     checks -> store starts -> READY -> the others start -> all READY: banner, sd_notify
 *     SIGHUP: the command prints, everything new is opened, and only then anything changes
 *     SIGUSR2: likewise, and then the program of that name, perhaps a newer one, takes the listening sockets over
 *     SIGTERM, SIGINT: DRAIN smtpd -> STOP smtpd -> STOP httpd -> STOP content -> STOP store, each when the one before
 * has ended; a second one, or stop_timeout: SIGKILL */
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/code.h"
#include "role/super_listen.h"
#include "role/super_pipe.h"
#include "role/super_proc.h"
#include "role/super_secret.h"
#include "role/super_spool.h"
#include "role/super_want.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "sys/notify.h"
#include "sys/tls.h"
#include "sys/whole.h"

enum {
    CONF_FD = 3,
    START_FAILURES_MAX = 3, /* a role that dies so often before the first READY will not come */
    DRAIN_SANDBOX_MS = 1000,
    STORE_EXTRA_MS = 10000, /* the store may be syncing: its end is worth waiting for */
    FATAL_STOP_MS = 3000,
    TICKET_SECONDS = 12 * 3600,
    RELOAD_SECONDS = 30, /* for the command that prints the configuration */
    RELOAD_TEXT_MAX = 2 * CONF_FILE_MAX,
};

static struct {
    char **command; /* prints the configuration anew; NULL-terminated */
    struct conf *conf;
    struct buf text; /* conf, as the roles get it */
    struct super_listeners listeners;
    struct super_secrets secrets;
    struct listen_activated activated;
    struct super_procs procs;
    uint8_t tickets[TLS_TICKET_KEYS][TLS_TICKET_KEY];
    size_t ticket_count;
    uint64_t own_counted[EV_COUNT];
    bool metrics_changed;
    int terminal; /* the stderr we were started with: for a person; -1: it is still 2 */
    bool had_terminal;
    bool serving; /* all were ready once */
    int status;
    bool draining;           /* smtpd finishes what is open */
    enum role stopping_role; /* was told to stop; ROLE_SUPERVISOR: none yet */
    uint64_t patience_ms;    /* what is left for stopping when draining is over */
    struct event *stop_timer, *second_timer, *ticket_timer;
    bool killing;
    bool upgrading; /* when all have ended, the new program takes the sockets over */
} sup = {.terminal = -1, .text = {.limit = CONF_FILE_MAX}};

static const enum role stop_order[] = {ROLE_SMTPD,   ROLE_HTTPD, ROLE_DELIVERY, ROLE_FILTER,
                                       ROLE_CONTENT, ROLE_KEYD,  ROLE_RESOLVER, ROLE_STORE};

/* ---- saying things to a person ---- */

static void say(const char *text) {
    dprintf(sup.terminal >= 0 ? sup.terminal : STDERR_FILENO, "penfold: %s\n", text);
}

static void say_errors(struct conf_errors *errors) {
    struct buf out = BUF(64 * 1024);
    conf_errors_put(&out, errors);
    str rest = buf_str(&out), line;
    while (str_line(&rest, &line)) {
        char text[1024];
        snprintf(text, sizeof text, "%.*s", STR_ARG(line));
        say(text);
    }
    buf_free(&out);
}

static int exit_status(enum err e) {
    switch (e) {
    case OK: return 0;
    case ERR_EXISTS:
    case ERR_FULL:
    case ERR_TIMEOUT: return EX_TEMPFAIL;
    case ERR_DENIED: return EX_NOPERM;
    case ERR_IO: return EX_IOERR;
    case ERR_CORRUPT:
    case ERR_VERSION: return EX_DATAERR;
    case ERR_SYNTAX:
    case ERR_TLS:
    case ERR_NOT_FOUND: return EX_CONFIG;
    case ERR_NOMEM: return EX_OSERR;
    default: return EX_SOFTWARE;
    }
}

/* ---- configuration ---- */

static struct conf *parse(str text, struct conf_errors *errors) {
    struct conf *c = calloc(1, sizeof *c);
    if (c && conf_parse(text, "configuration", c, errors) == OK)
        return c;
    if (c)
        conf_free(c);
    free(c);
    return NULL;
}

static void conf_drop(struct conf *c) {
    if (c)
        conf_free(c);
    free(c);
}

static bool set(struct conf *c, const char *key, const char *value, struct conf_errors *errors) {
    return conf_set(c, str_of(key), str_of(value), "supervisor", errors) == OK;
}

static unsigned cores(void) {
    cpu_set_t cpus;
    return sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? (unsigned)CPU_COUNT(&cpus) : 1;
}

static bool resolve_workers(struct conf *c, struct conf_errors *errors) {
    char number[32];
    snprintf(number, sizeof number, "%u", c->workers ? (unsigned)c->workers : cores());
    return set(c, "workers", number, errors);
}

/* Could the user of the roles work in the data directory? */
static bool user_reaches(const struct passwd *p, const char *path) {
    gid_t gid = getegid();
    if (setegid(p->pw_gid) != 0 || seteuid(p->pw_uid) != 0)
        return false;
    bool ok = faccessat(AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS) == 0;
    return seteuid(0) == 0 && setegid(gid) == 0 && ok;
}

/* A directory that root (or systemd's StateDirectory=) has just made is given to the user; one with something in it is
 * somebody's decision. */
static bool give_if_empty(const struct passwd *p, const char *path) {
    struct stat st;
    DIR *d = stat(path, &st) == 0 && st.st_uid == 0 ? opendir(path) : NULL;
    bool empty = d;
    for (const struct dirent *e; d && empty && (e = readdir(d));)
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    if (d)
        closedir(d);
    return empty && chown(path, p->pw_uid, p->pw_gid) == 0;
}

/* Root's roles become another user.  Where that cannot be, a sandbox goes on as root and says so; a server does not. */
static bool resolve_user(struct conf *c, struct conf_errors *errors) {
    char user[64], reason[256];
    if (geteuid() != 0)
        return true;
    snprintf(user, sizeof user, "%.*s", STR_ARG(c->user));
    const struct passwd *p = getpwnam(user);
    if (p && (user_reaches(p, c->data.p) || (give_if_empty(p, c->data.p) && user_reaches(p, c->data.p))))
        return true;
    if (p)
        snprintf(reason, sizeof reason, "the user %s cannot write to %.*s", user, STR_ARG(str_head(c->data, 150)));
    else
        snprintf(reason, sizeof reason, "there is no user %s", user);
    if (c->mode == CONF_MODE_SANDBOX) {
        if (!sup.conf) /* said once, not at every reload */
            log_event(EV_SANDBOX_MISSING, LOG_STR("protection", S("another user than root")),
                      LOG_STR("why", str_of(reason)), LOG_END);
        return set(c, "user", "root", errors);
    }
    if (p)
        conf_errors_add(errors, NULL, 0, "data: %s: chown -R %s it", reason, user);
    else
        conf_errors_add(errors, NULL, 0, "user: %s: create it (useradd --system %s) or set another", reason, user);
    return false;
}

/* Each missing parent too.  Two supervisors may do it at once: EEXIST is fine. */
static enum err make_directory(const char *path, struct why *w) {
    char space[PATH_MAX];
    if (snprintf(space, sizeof space, "%s", path) >= (int)sizeof space)
        return why(w, ERR_LIMIT, "data: the path is too long");
    for (char *slash = space + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(space, 0700);
        *slash = '/';
    }
    if (mkdir(space, 0700) == 0 || errno == EEXIST)
        return OK;
    return why(w, ERR_IO, "data: cannot make the directory %s: %s", path, strerror(errno));
}

static bool check_data(const struct conf *c, struct conf_errors *errors, int *status) {
    struct why w = {0};
    struct stat st;
    if (make_directory(c->data.p, &w) != OK) {
        conf_errors_add(errors, NULL, 0, "%s", w.text);
        *status = *status ? *status : EX_CANTCREAT;
        return false;
    }
    if (stat(c->data.p, &st) == 0 && !S_ISDIR(st.st_mode))
        conf_errors_add(errors, NULL, 0, "data: %s is not a directory", c->data.p);
    else if (access(c->data.p, R_OK | W_OK | X_OK) != 0)
        conf_errors_add(errors, NULL, 0, "data: the directory %s is not writable: %s", c->data.p, strerror(errno));
    else
        return true;
    *status = *status ? *status : EX_NOPERM;
    return false;
}

static int open_log(const struct conf *c, struct conf_errors *errors) {
    int fd = open(c->log_file.p, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        conf_errors_add(errors, NULL, 0, "log_file: %s: %s", c->log_file.p, strerror(errno));
    return fd;
}

static void setup_log(const struct conf *c) {
    enum log_format format = c->log == CONF_LOG_JOURNAL              ? LOG_JOURNAL
                             : c->log_format == CONF_LOG_FORMAT_JSON ? LOG_JSON
                                                                     : LOG_TEXT;
    log_setup("supervisor", LOG_NO_INSTANCE, format, (enum event_level)c->log_level);
}

/* Everything that can be wrong is found before anything is changed. */
struct plan {
    struct conf *conf;
    struct super_listeners listeners;
    struct super_secrets secrets;
    int log_fd;
};

static bool make_plan(struct plan *p, str text, struct conf_errors *errors, int *status) {
    enum err first = OK;
    p->log_fd = -1;
    p->conf = parse(text, errors);
    if (!p->conf) {
        *status = EX_CONFIG;
        return false;
    }
    struct conf *c = p->conf;
    bool ok = resolve_workers(c, errors);
    if (check_data(c, errors, status))
        ok &= resolve_user(c, errors) & super_secret_load(&p->secrets, c, errors);
    else
        ok = false;
    if (c->log == CONF_LOG_FILE)
        ok &= (p->log_fd = open_log(c, errors)) >= 0;
    bool bound = super_listen_prepare(&p->listeners, &sup.listeners, c, &sup.activated, errors, &first);
    if (ok && bound)
        return true;
    if (*status == 0)
        *status = bound ? EX_CONFIG : first == ERR_EXISTS ? EX_UNAVAILABLE : exit_status(first);
    if (bound)
        super_listen_abandon(&p->listeners);
    super_secret_free(&p->secrets);
    if (p->log_fd >= 0)
        close(p->log_fd);
    conf_drop(c);
    return false;
}

static void take_log(const struct plan *p) {
    setup_log(p->conf);
    if (p->log_fd < 0)
        return;
    if (sup.terminal < 0)
        sup.terminal = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, CONF_FD);
    dup2(p->log_fd, STDERR_FILENO);
    for (size_t i = 0; i < sup.procs.count; i++)
        if (sup.procs.list[i].link)
            link_send_fd(sup.procs.list[i].link, &(struct frame){.type = FRAME_LOG_FD}, p->log_fd);
    close(p->log_fd);
}

static void take_plan(struct plan *p) {
    take_log(p);
    super_listen_commit(&sup.listeners, &p->listeners);
    super_secret_free(&sup.secrets);
    sup.secrets = p->secrets;
    conf_drop(sup.conf);
    sup.conf = p->conf;
    buf_reset(&sup.text);
    conf_write(&sup.text, sup.conf);
}

/* ---- what roles are given ---- */

static void send_config(struct super_proc *p) {
    FRAME_CHUNKS(buf_str(&sup.text), piece)
    link_send(p->link, &(struct frame){.type = FRAME_CONFIG, .config = {.text = piece}});
}

static void send_tickets(struct super_proc *p) {
    super_proc_send_secret(p, S("ticket"), str_n(sup.tickets, sup.ticket_count * TLS_TICKET_KEY));
}

static void send_secrets(struct super_proc *p) {
    for (size_t i = 0; i < sup.secrets.count; i++)
        if (super_wants_secret(p->role, str_of(sup.secrets.list[i].name)))
            super_proc_send_secret(p, str_of(sup.secrets.list[i].name), buf_str(&sup.secrets.list[i].bytes));
    if (super_wants_secret(p->role, S("ticket")))
        send_tickets(p);
}

static void send_listeners(struct super_proc *p, bool only_new) {
    for (size_t i = 0; i < sup.listeners.count; i++) {
        const struct super_listener *s = &sup.listeners.list[i];
        if (p->role != (s->http ? ROLE_HTTPD : ROLE_SMTPD) || (only_new && s->kept))
            continue;
        struct frame f = {.type = FRAME_LISTENER, .listener = {.name = str_of(s->name)}};
        link_send_fd(p->link, &f, s->fd);
    }
}

static void send_metrics(void) {
    char space[EV_COUNT * sizeof(uint64_t)];
    struct buf values = {.p = space, .cap = sizeof space, .limit = sizeof space};
    for (size_t i = 0; i < EV_COUNT; i++)
        buf_u64(&values, log_count((enum event_id)i));
    bool ok = metrics_add(&sup.procs.metrics, sup.own_counted, buf_str(&values));
    struct buf text = BUF(256 * 1024);
    metrics_put(&text, &sup.procs.metrics);
    for (size_t i = 0; i < sup.procs.count && ok; i++)
        if (sup.procs.list[i].role == ROLE_HTTPD && sup.procs.list[i].link)
            super_proc_send_metrics(&sup.procs.list[i], buf_str(&text));
    buf_free(&text);
    sup.metrics_changed = false;
}

static void on_second(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    if (sup.metrics_changed)
        send_metrics();
    if (sup.serving)
        super_spool_look(&sup.procs);
}

/* A new key seals from now on; the older ones still open what they have sealed. */
static void make_ticket_key(void) {
    memmove(sup.tickets[1], sup.tickets[0], sizeof sup.tickets - sizeof sup.tickets[0]);
    random_bytes(sup.tickets[0], sizeof sup.tickets[0]);
    if (sup.ticket_count < TLS_TICKET_KEYS)
        sup.ticket_count++;
}

static void on_ticket(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    make_ticket_key();
    for (size_t i = 0; i < sup.procs.count; i++)
        if (sup.procs.list[i].role == ROLE_SMTPD && sup.procs.list[i].link)
            send_tickets(&sup.procs.list[i]);
}

/* ---- the end ---- */

static void set_timer(struct event *e, uint64_t ms) {
    struct timeval t = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    event_add(e, &t);
}

static void tell_role(enum role r, enum frame_type type) {
    for (size_t i = 0; i < sup.procs.count; i++)
        if (sup.procs.list[i].role == r)
            super_proc_tell(&sup.procs.list[i], type);
}

static void kill_all(void) {
    for (size_t i = 0; i < sup.procs.count; i++)
        super_proc_kill(&sup.procs.list[i]);
}

/* The first role in the order of stopping that still runs is told to stop; with none left it is over. */
static void stop_next(void) {
    for (size_t i = 0; i < sizeof stop_order / sizeof *stop_order; i++) {
        enum role r = stop_order[i];
        if (super_proc_running(&sup.procs, r) == 0)
            continue;
        if (sup.stopping_role == r)
            return;
        sup.stopping_role = r;
        tell_role(r, FRAME_STOP);
        return;
    }
    event_base_loopbreak(sup.procs.base);
}

static void drain_ended(void) {
    sup.draining = false;
    set_timer(sup.stop_timer, sup.patience_ms ? sup.patience_ms : 1);
    stop_next();
}

static void stop_begin(uint64_t timeout_ms) {
    if (sup.procs.stopping)
        return;
    sup.procs.stopping = true;
    notify_stopping();
    uint64_t drain = timeout_ms / 2;
    if (sup.conf->mode == CONF_MODE_SANDBOX && drain > DRAIN_SANDBOX_MS)
        drain = DRAIN_SANDBOX_MS;
    sup.patience_ms = timeout_ms - drain;
    sup.draining = super_proc_running(&sup.procs, ROLE_SMTPD) > 0 && drain > 0;
    if (sup.draining) {
        tell_role(ROLE_SMTPD, FRAME_DRAIN);
        set_timer(sup.stop_timer, drain);
    } else {
        drain_ended();
    }
}

/* First the end of draining, then the end of patience: all but the store, which may still be syncing, and at last it.
 */
static void on_stop_timer(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    if (sup.draining) {
        drain_ended();
        return;
    }
    for (size_t i = 0; i < sup.procs.count; i++) {
        struct super_proc *p = &sup.procs.list[i];
        if (!p->pid || (p->role == ROLE_STORE && !sup.killing))
            continue;
        log_event(EV_ROLE_STUCK, LOG_STR("which", str_of(role_name(p->role))), LOG_NUM("number", p->instance), LOG_END);
        super_proc_kill(p);
    }
    sup.killing = true;
    set_timer(sup.stop_timer, STORE_EXTRA_MS);
}

static void give_up(int status, const char *text) {
    if (sup.procs.stopping)
        return;
    say(text);
    sup.status = status;
    stop_begin(FATAL_STOP_MS);
}

static void on_terminate(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    if (sup.procs.stopping) {
        kill_all();
        return;
    }
    stop_begin(sup.conf->stop_timeout);
}

/* ---- the beginning ---- */

static void want(enum role r, uint32_t instance) {
    struct super_proc *p = super_proc_want(&sup.procs, r, instance);
    if (p)
        super_proc_start(&sup.procs, p);
    else
        give_up(EX_OSERR, "no memory for another process");
}

/* The store is there already: it is what the others wait for. */
static void start_others(void) {
    for (enum role r = ROLE_SMTPD; r < ROLE_COUNT; r++)
        for (uint32_t i = 0; i < super_want(r, sup.conf); i++)
            want(r, i);
}

static bool all_ready(void) {
    for (size_t i = 0; i < sup.procs.count; i++)
        if (!sup.procs.list[i].ready)
            return false;
    return sup.procs.count > 1;
}

/* "http://127.0.0.1:8025"; an address that means every one is no address to go to. */
static void print_url(const char *address) {
    const char *port = strrchr(address, ':');
    bool any = strncmp(address, "0.0.0.0:", 8) == 0 || strncmp(address, "[::]:", 5) == 0;
    if (strncmp(address, "unix:", 5) == 0)
        printf("  Web page and API  %s\n", address);
    else
        printf("  Web page and API  http://%s%s\n", any ? "localhost" : address, any ? port : "");
}

static const struct conf_listen *listen_conf(const char *name) {
    for (size_t i = 0; i < sup.conf->listen_count; i++)
        if (str_eq(sup.conf->listens[i].name, str_of(name)))
            return &sup.conf->listens[i];
    return NULL;
}

static void print_listener(const struct super_listener *s) {
    const struct conf_listen *l = listen_conf(s->name);
    if (s->http)
        print_url(s->actual);
    else if (l && l->protocol == CONF_PROTOCOL_LMTP)
        printf("  LMTP              %s\n", s->actual);
    else if (l && l->tls == CONF_TLS_IMPLICIT)
        printf("  SMTP over TLS     %s\n", s->actual);
    else
        printf("  SMTP              %s\n", s->actual);
}

static bool in_path(str folder) {
    str rest = str_of(getenv("PATH")), one;
    while (str_cut(&rest, ':', &one))
        if (str_eq(one, folder))
            return true;
    return str_eq(rest, folder);
}

/* "penfold" as the user would have to type it here. */
static void print_program(void) {
    char here[PATH_MAX];
    str program = sup.command ? str_of(sup.command[0]) : S("penfold");
    size_t slash = str_rfind(program, '/');
    str folder = str_of(getcwd(here, sizeof here));
    str rest = program;
    if (slash != SIZE_MAX && in_path(str_head(program, slash)))
        program = str_tail(program, slash + 1);
    else if (folder.n > 1 && str_skip(&rest, folder) && str_skip_char(&rest, '/'))
        program = rest;
    printf("%.*s", STR_ARG(program));
}

static const struct super_listener *first_smtp(void) {
    for (size_t i = 0; i < sup.listeners.count; i++) {
        const struct conf_listen *l = listen_conf(sup.listeners.list[i].name);
        if (l && l->protocol == CONF_PROTOCOL_SMTP && l->address.kind == CONF_ADDRESS_IP)
            return &sup.listeners.list[i];
    }
    return NULL;
}

static void print_banner(void) {
    const struct super_listener *s = first_smtp();
    printf("Penfold %s sandbox: every message is caught here, none is sent on.\n\n", PENFOLD_VERSION);
    for (size_t i = 0; i < sup.listeners.count; i++)
        print_listener(&sup.listeners.list[i]);
    printf("  Data              %s\n\n", sup.conf->data.p);
    if (s) {
        const struct conf_listen *l = listen_conf(s->name);
        printf("Send a first message:\n  ");
        print_program();
        printf(" send --server %s%s --from a@example.com --to b@example.com --subject Hello --body Hi\n\n", s->actual,
               l->tls == CONF_TLS_IMPLICIT ? " --tls implicit --insecure" : "");
    }
    printf("Ctrl-C stops it.\n");
    fflush(stdout);
}

static void announce(void) {
    for (size_t i = 0; i < sup.listeners.count; i++)
        log_event(EV_LISTENING, LOG_STR("listener", str_of(sup.listeners.list[i].name)),
                  LOG_STR("address", str_of(sup.listeners.list[i].actual)), LOG_END);
    if (sup.conf->mode == CONF_MODE_SANDBOX)
        print_banner();
    log_event(EV_START, LOG_STR("version", S(PENFOLD_VERSION)), LOG_STR("data", sup.conf->data), LOG_END);
    notify_ready("serving");
}

/* ---- what processes tell ---- */

static void on_setup(struct super_proc *p) {
    send_config(p);
    send_secrets(p);
    send_listeners(p, false);
    sup.metrics_changed = true;
}

static void on_ready(struct super_proc *p) {
    if (p->role == ROLE_STORE && !sup.serving)
        start_others();
    if (sup.serving || sup.procs.stopping || !all_ready())
        return;
    sup.serving = true;
    announce();
}

static void on_fatal(struct super_proc *p, enum err e, str text) {
    char line[640];
    if (sup.procs.stopping)
        return;
    snprintf(line, sizeof line, "%s: %.*s", role_name(p->role), STR_ARG(text));
    p->told = true;
    give_up(exit_status(e) ? exit_status(e) : EX_SOFTWARE, line);
}

static void on_end(struct super_proc *p) {
    char line[128];
    super_pipe_orphaned(p);
    super_spool_orphaned(p);
    sup.metrics_changed = true;
    if (sup.procs.stopping) {
        if (!sup.draining)
            stop_next();
        else if (super_proc_running(&sup.procs, ROLE_SMTPD) == 0)
            drain_ended();
        return;
    }
    if (p->was_ready || p->failures < START_FAILURES_MAX)
        return;
    snprintf(line, sizeof line, "%s does not start: it ended %u times before it was ready", role_name(p->role),
             p->failures);
    give_up(EX_SOFTWARE, line);
}

static void on_counters(void) {
    sup.metrics_changed = true;
}

static void on_other(struct super_proc *p, const struct frame *f) {
    switch ((int)f->type) {
    case FRAME_PIPE_RUN:
        if (p->role == ROLE_DELIVERY)
            super_pipe_run(sup.conf, p, &f->pipe_run);
        break;
    case FRAME_PIPE_KILL: super_pipe_kill(p, f->pipe_kill.tag); break;
    case FRAME_SPOOL_DONE: super_spool_done(p, &f->spool_done); break;
    default: break; /* CREDIT is the link's; link.c has checked the direction */
    }
}

/* ---- reload ---- */

static struct {
    pid_t pid; /* of the command, 0: none is running or it was reaped */
    int status;
    bool active, again, upgrade;
    struct event *out_ev, *err_ev, *timer;
    struct buf out, err; /* what it said */
} reload = {.out = {.limit = RELOAD_TEXT_MAX}, .err = {.limit = 64 * 1024}};

static void refuse(str text) {
    log_event(EV_RELOAD_REFUSED, LOG_STR("why", str_trim(text)), LOG_END);
}

/* What only a new start can change stays as it is, and the log says so. */
static bool keep(struct conf *c, const char *key, str before, str now, struct conf_errors *errors) {
    char value[PATH_MAX];
    if (str_eq(before, now))
        return true;
    log_event(EV_KEPT_SETTING, LOG_STR("setting", str_of(key)), LOG_END);
    snprintf(value, sizeof value, "%.*s", STR_ARG(before));
    return set(c, key, value, errors);
}

static bool keep_settings(struct conf *c, struct conf_errors *errors) {
    char before[32], now[32];
    snprintf(before, sizeof before, "%u", (unsigned)sup.conf->workers);
    snprintf(now, sizeof now, "%u", c->workers ? (unsigned)c->workers : cores());
    c->mode = sup.conf->mode;
    return keep(c, "data", sup.conf->data, c->data, errors) && keep(c, "workers", str_of(before), str_of(now), errors);
}

/* The text as it is to be: what cannot change is put back before the plan is made, so that nothing is touched for it.
 */
static bool settled_text(str text, struct buf *out, struct conf_errors *errors) {
    struct conf *c = parse(text, errors);
    bool ok = c && keep_settings(c, errors);
    if (ok)
        conf_write(out, c);
    conf_drop(c);
    return ok && !out->full;
}

static void reload_roles(void) {
    for (size_t i = 0; i < sup.procs.count; i++) {
        struct super_proc *p = &sup.procs.list[i];
        if (!p->running || !p->link)
            continue;
        send_config(p);
        send_secrets(p);
        send_listeners(p, true);
        struct frame go = {.type = FRAME_GO, .go = {.instance = p->instance, .run_id = str_of(sup.procs.run_id)}};
        link_send(p->link, &go);
    }
    start_others(); /* a first web listener or webhook may have come */
}

static void apply_reload(str text) {
    static struct plan plan;
    struct conf_errors errors = {0};
    struct buf settled = BUF(CONF_FILE_MAX);
    int status = 0;
    plan = (struct plan){.log_fd = -1, .listeners.count = 0};
    if (settled_text(text, &settled, &errors) && make_plan(&plan, buf_str(&settled), &errors, &status)) {
        take_plan(&plan);
        super_spool_configure(&sup.procs, sup.conf);
        reload_roles();
        log_event(EV_RELOAD, LOG_END);
    } else {
        struct buf all = BUF(16 * 1024);
        conf_errors_put(&all, &errors);
        refuse(buf_str(&all));
        buf_free(&all);
    }
    buf_free(&settled);
    conf_errors_free(&errors);
}

static void reload_begin(void);

/* ---- upgrade ---- */

static void upgrade_begin(void) {
    log_event(EV_UPGRADE, LOG_END);
    sup.upgrading = true;
    stop_begin(sup.conf->drain_timeout);
}

/* Listening sockets to 3, 4, ... as a service manager would hand them over: clients wait in their backlog meanwhile. */
static bool place_listeners(struct buf *names) {
    size_t n = sup.listeners.count;
    for (size_t i = 0; i < n; i++) {
        int aside = fcntl(sup.listeners.list[i].fd, F_DUPFD_CLOEXEC, CONF_FD + (int)n);
        if (aside < 0)
            return false;
        sup.listeners.list[i].fd = aside;
        buf_printf(names, "%s%s", i ? ":" : "", sup.listeners.list[i].name);
    }
    for (size_t i = 0; i < n; i++)
        if (dup2(sup.listeners.list[i].fd, CONF_FD + (int)i) < 0)
            return false;
    return true;
}

/* The program of the same name, whatever it is by now; this process stays what the service manager watches. */
static void become_new(void) {
    char count[16], pid[16];
    struct buf names = BUF(64 * 1024);
    snprintf(count, sizeof count, "%zu", sup.listeners.count);
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    bool ok = place_listeners(&names) && setenv("LISTEN_FDS", count, 1) == 0 && setenv("LISTEN_PID", pid, 1) == 0 &&
              setenv("LISTEN_FDNAMES", buf_cstr(&names), 1) == 0;
    size_t n = 0; /* the command prints the configuration: without that word it serves */
    for (char **word = sup.command; ok && *word; word++)
        if (strcmp(*word, "--print-conf") != 0)
            sup.command[n++] = *word;
    sup.command[n] = NULL;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (ok)
        execv(sup.command[0], sup.command);
    say(strerror(errno));
    sup.status = EX_OSERR;
}

static void reload_check(void) {
    if (!reload.active || reload.pid || reload.out_ev || reload.err_ev)
        return;
    reload.active = false;
    event_del(reload.timer);
    if (sup.procs.stopping)
        return;
    bool good = WIFEXITED(reload.status) && WEXITSTATUS(reload.status) == 0 && !reload.out.full;
    if (good && reload.upgrade)
        upgrade_begin();
    else if (good)
        apply_reload(buf_str(&reload.out));
    else
        refuse(reload.err.n ? buf_str(&reload.err) : S("the configuration could not be read"));
    buf_free(&reload.out);
    buf_free(&reload.err);
    reload.upgrade = false;
    if (sup.procs.stopping)
        return;
    notify_ready("serving");
    if (reload.again)
        reload_begin();
}

static void read_into(int fd, struct buf *b, struct event **e) {
    char space[16 * 1024];
    ssize_t n = read(fd, space, sizeof space);
    if (n > 0)
        buf_add(b, str_n(space, (size_t)n));
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    event_free(*e);
    *e = NULL;
    close(fd);
    reload_check();
}

static void on_reload_out(evutil_socket_t fd, short what, void *arg) {
    (void)what, (void)arg;
    read_into(fd, &reload.out, &reload.out_ev);
}

static void on_reload_err(evutil_socket_t fd, short what, void *arg) {
    (void)what, (void)arg;
    read_into(fd, &reload.err, &reload.err_ev);
}

static void on_reload_timer(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    if (reload.pid)
        kill(reload.pid, SIGKILL);
}

static _Noreturn void become_command(int out, int err) {
    signal(SIGPIPE, SIG_DFL);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    execv(sup.command[0], sup.command);
    fprintf(stderr, "%s: %s\n", sup.command[0], strerror(errno));
    _exit(EX_UNAVAILABLE);
}

static struct event *watch(int fd, event_callback_fn callback) {
    struct event *e = event_new(sup.procs.base, fd, EV_READ | EV_PERSIST, callback, NULL);
    evutil_make_socket_nonblocking(fd);
    if (e)
        event_add(e, NULL);
    else
        close(fd);
    return e;
}

static void reload_begin(void) {
    int out[2], err[2];
    reload.again = reload.active;
    if (reload.active)
        return;
    notify_reloading();
    if (!sup.command) {
        apply_reload(buf_str(&sup.text)); /* certificates, passwords, log file */
        notify_ready("serving");
        return;
    }
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) {
        refuse(str_of(strerror(errno)));
        return;
    }
    sigset_t every, before;
    sigfillset(&every);
    sigprocmask(SIG_SETMASK, &every, &before);
    reload.pid = fork();
    if (reload.pid == 0) {
        for (int s = 1; s < NSIG; s++)
            signal(s, SIG_DFL);
        sigprocmask(SIG_SETMASK, &before, NULL);
        become_command(out[1], err[1]);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(out[1]);
    close(err[1]);
    reload.status = -1;
    if (reload.pid < 0)
        reload.pid = 0;
    reload.active = true;
    reload.out_ev = watch(out[0], on_reload_out);
    reload.err_ev = watch(err[0], on_reload_err);
    set_timer(reload.timer, RELOAD_SECONDS * 1000);
}

/* The terminal of a sandbox is gone: so is the person. */
static void on_hangup(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    if (sup.had_terminal && !isatty(STDIN_FILENO))
        stop_begin(sup.conf->stop_timeout);
    else if (!sup.procs.stopping)
        reload_begin();
}

/* The new program reads the configuration first: what it cannot read, it does not get to serve. */
static void on_upgrade(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    if (sup.procs.stopping || !sup.command || reload.active)
        return;
    reload.upgrade = true;
    reload_begin();
}

static void on_child(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid == reload.pid) {
            reload.pid = 0;
            reload.status = status;
            reload_check();
        } else if (!super_pipe_reaped(pid, status)) {
            super_proc_reaped(&sup.procs, pid, status);
        }
    }
}

/* ---- main ---- */

static bool find_folder(void) {
    ssize_t n = readlink("/proc/self/exe", sup.procs.folder, sizeof sup.procs.folder - 1);
    if (n <= 0)
        return false;
    sup.procs.folder[n] = '\0';
    char *slash = strrchr(sup.procs.folder, '/');
    *slash = '\0';
    return true;
}

static bool add_signal(int number, event_callback_fn callback) {
    struct event *e = evsignal_new(sup.procs.base, number, callback, NULL);
    return e && event_add(e, NULL) == 0;
}

static bool make_loop(void) {
    static const struct super_ops ops = {.setup = on_setup,
                                         .on_ready = on_ready,
                                         .on_fatal = on_fatal,
                                         .on_end = on_end,
                                         .on_counters = on_counters,
                                         .on_other = on_other};
    static const struct timeval second = {.tv_sec = 1}, half_day = {.tv_sec = TICKET_SECONDS};
    struct event_base *base = event_base_new();
    if (!base)
        return false;
    sup.procs.base = base;
    sup.procs.ops = &ops;
    sup.stop_timer = event_new(base, -1, 0, on_stop_timer, NULL);
    sup.second_timer = event_new(base, -1, EV_PERSIST, on_second, NULL);
    sup.ticket_timer = event_new(base, -1, EV_PERSIST, on_ticket, NULL);
    reload.timer = event_new(base, -1, 0, on_reload_timer, NULL);
    return sup.stop_timer && sup.second_timer && sup.ticket_timer && reload.timer &&
           event_add(sup.second_timer, &second) == 0 && event_add(sup.ticket_timer, &half_day) == 0 &&
           add_signal(SIGCHLD, on_child) && add_signal(SIGTERM, on_terminate) && add_signal(SIGINT, on_terminate) &&
           add_signal(SIGHUP, on_hangup) && add_signal(SIGUSR2, on_upgrade);
}

static void make_run_id(void) {
    uint8_t random[16];
    char id[ID_SIZE];
    random_bytes(random, sizeof random);
    id_encode(random, id);
    snprintf(sup.procs.run_id, sizeof sup.procs.run_id, "%.*s", ID_SIZE, id);
    sup.procs.metrics.started_s = clock_wall_us() / 1000000;
}

static int prepare(void) {
    static struct plan plan;
    struct conf_errors errors = {0};
    struct buf text = BUF(CONF_FILE_MAX);
    int status = 0;
    if (whole_read_fd(CONF_FD, "the configuration", CONF_FILE_MAX, &text, NULL) != OK) {
        say("the supervisor is started by penfold, not by hand");
        return EX_USAGE;
    }
    close(CONF_FD);
    if (make_plan(&plan, buf_str(&text), &errors, &status))
        take_plan(&plan);
    else
        say_errors(&errors);
    conf_errors_free(&errors);
    buf_free(&text);
    return status;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    sup.command = argc > 2 ? argv + 2 : NULL;
    sup.had_terminal = isatty(STDIN_FILENO);
    log_setup("supervisor", LOG_NO_INSTANCE, LOG_TEXT, EVENT_INFO);
    notify_init();
    listen_activated_read(&sup.activated);
    int status = prepare();
    if (status != 0)
        return status;
    make_run_id();
    make_ticket_key();
    if (!find_folder() || !make_loop()) {
        say("no memory for the event loop");
        return EX_OSERR;
    }
    super_spool_configure(&sup.procs, sup.conf);
    want(ROLE_STORE, 0);
    event_base_dispatch(sup.procs.base);
    if (sup.upgrading && sup.status == 0)
        become_new();
    super_listen_close(&sup.listeners);
    log_event(EV_STOPPED, LOG_END);
    return sup.status;
}
