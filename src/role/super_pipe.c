#include "role/super_pipe.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGS_MAX = 64, TEXT_MAX = 4096, CANNOT_RUN = 126 };

static struct pipe_run {
    pid_t pid; /* 0: the row is free */
    int fd; /* a copy of the role's end: should the role die, its command must not take that for the end of its input */
    struct super_proc *owner;
    uint64_t tag;
} pipes[SUPER_PIPES_MAX];

static void answer(struct super_proc *p, uint64_t tag, enum err e, const char *text, int fd) {
    struct frame f = {.type = FRAME_PIPE_STARTED, .pipe_started = {tag, (uint8_t)e, str_of(text)}};
    /* This frame always carries a descriptor (sys/link.h): with an error it is one that nobody reads. */
    link_send_fd(p->link, &f, fd >= 0 ? fd : STDERR_FILENO);
}

static const struct conf_route *route_named(const struct conf *c, str name) {
    for (size_t i = 0; i < c->route_count; i++)
        if (str_eq(c->routes[i].title, name) && c->routes[i].action == CONF_ACTION_PIPE)
            return &c->routes[i];
    return NULL;
}

/* "NAME=value" with a NUL behind it; what has a NUL inside would end early, so it does not go in at all. */
static char *variable(const char *name, str value) {
    size_t size = strlen(name) + value.n + 2;
    char *text = malloc(size);
    if (!text)
        return NULL;
    if (str_has(value, '\0'))
        value = STR_NONE;
    snprintf(text, size, "%s=%.*s", name, STR_ARG(value));
    return text;
}

/* Everything is made before the fork: between fork and exec only system calls. */
struct command {
    char text[TEXT_MAX];
    char *argv[ARGS_MAX + 1];
    char *env[8];
    bool change_user;
    uid_t uid;
    gid_t gid;
    pid_t supervisor;
    char user[64], home[256];
};

static bool split(struct command *m, str text) {
    size_t n = 0;
    str word;
    snprintf(m->text, sizeof m->text, "%.*s", STR_ARG(text));
    for (str rest = str_of(m->text); str_word(&rest, &word) && n < ARGS_MAX;) {
        m->argv[n++] = (char *)word.p;
        ((char *)word.p)[word.n] = '\0';
    }
    return n > 0;
}

static enum err take_user(struct command *m, const struct conf_route *r, struct why *w) {
    const struct passwd *p = r->run_as.n ? getpwnam(r->run_as.p) : getpwuid(geteuid());
    if (!p)
        return why(w, ERR_NOT_FOUND, "route %s: there is no user %s", r->title.p, r->run_as.p);
    if (geteuid() == 0 && p->pw_uid == 0)
        return why(w, ERR_DENIED, "route %s: commands never run as root: set run_as", r->title.p);
    if (geteuid() != 0 && p->pw_uid != geteuid())
        return why(w, ERR_DENIED, "route %s: only root can run a command as %s", r->title.p, r->run_as.p);
    m->change_user = geteuid() == 0;
    m->uid = p->pw_uid;
    m->gid = p->pw_gid;
    snprintf(m->user, sizeof m->user, "%s", p->pw_name);
    snprintf(m->home, sizeof m->home, "%s", p->pw_dir);
    return OK;
}

static bool take_environment(struct command *m, const struct frame_pipe_run *f) {
    size_t n = 0;
    m->env[n++] = variable("PATH", S("/usr/local/bin:/usr/bin:/bin"));
    m->env[n++] = variable("HOME", str_of(m->home));
    m->env[n++] = variable("USER", str_of(m->user));
    m->env[n++] = variable("SENDER", f->sender);
    m->env[n++] = variable("RECIPIENT", f->recipient);
    m->env[n++] = variable("MESSAGE_ID", f->id);
    for (size_t i = 0; i < n; i++)
        if (!m->env[i])
            return false;
    return true;
}

static void command_free(struct command *m) {
    for (size_t i = 0; i < sizeof m->env / sizeof *m->env; i++)
        free(m->env[i]);
}

static _Noreturn void become(const struct command *m, int fd) {
    static const struct rlimit none = {0, 0};
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    setsid();
    setrlimit(RLIMIT_CORE, &none);
    if (m->change_user && (initgroups(m->user, m->gid) != 0 || setresgid(m->gid, m->gid, m->gid) != 0 ||
                           setresuid(m->uid, m->uid, m->uid) != 0))
        _exit(CANNOT_RUN);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != m->supervisor) /* it ends as the roles do */
        _exit(CANNOT_RUN);
    if (chdir(m->home) != 0 && chdir("/") != 0)
        _exit(CANNOT_RUN);
    for (int to = 0; to <= STDERR_FILENO; to++)
        if (dup2(fd, to) < 0)
            _exit(CANNOT_RUN);
    close_range(STDERR_FILENO + 1, ~0u, 0);
    execve(m->argv[0], m->argv, m->env);
    dprintf(STDERR_FILENO, "%s: %s\n", m->argv[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : CANNOT_RUN);
}

static pid_t start(const struct command *m, int fd) {
    sigset_t every, before;
    sigfillset(&every);
    sigprocmask(SIG_SETMASK, &every, &before);
    pid_t pid = fork();
    if (pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        become(m, fd);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return pid;
}

static struct pipe_run *free_row(void) {
    for (size_t i = 0; i < SUPER_PIPES_MAX; i++)
        if (pipes[i].pid == 0)
            return &pipes[i];
    return NULL;
}

static enum err prepare(struct command *m, const struct conf *c, const struct frame_pipe_run *f, struct why *w) {
    const struct conf_route *r = route_named(c, f->route);
    if (!r)
        return why(w, ERR_NOT_FOUND, "there is no pipe route of that name any more");
    if (!split(m, r->command))
        return why(w, ERR_SYNTAX, "route %s has no command", r->title.p);
    enum err e = take_user(m, r, w);
    if (e == OK && !take_environment(m, f))
        e = why(w, ERR_NOMEM, "no memory");
    return e;
}

void super_pipe_run(const struct conf *c, struct super_proc *p, const struct frame_pipe_run *f) {
    struct command m = {.supervisor = getpid()};
    struct why w = {0};
    int fd[2] = {-1, -1};
    struct pipe_run *row = free_row();
    enum err e = row ? prepare(&m, c, f, &w) : why(&w, ERR_LIMIT, "too many commands are running");
    if (e == OK && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0)
        e = why(&w, ERR_IO, "%s", strerror(errno));
    pid_t pid = e == OK ? start(&m, fd[1]) : -1;
    if (e == OK && pid < 0)
        e = why(&w, ERR_IO, "%s", strerror(errno));
    if (e == OK)
        *row = (struct pipe_run){pid, fd[0], p, f->tag};
    answer(p, f->tag, e, w.text, e == OK ? fd[0] : -1);
    if (fd[1] >= 0)
        close(fd[1]);
    if (e != OK && fd[0] >= 0)
        close(fd[0]);
    command_free(&m);
}

/* Its group, or itself when it is not yet one. */
static void kill_run(const struct pipe_run *r) {
    kill(-r->pid, SIGKILL);
    kill(r->pid, SIGKILL);
}

void super_pipe_kill(const struct super_proc *p, uint64_t tag) {
    for (size_t i = 0; i < SUPER_PIPES_MAX; i++)
        if (pipes[i].pid && pipes[i].owner == p && pipes[i].tag == tag)
            kill_run(&pipes[i]);
}

void super_pipe_orphaned(const struct super_proc *p) {
    for (size_t i = 0; i < SUPER_PIPES_MAX; i++)
        if (pipes[i].pid && pipes[i].owner == p) {
            kill_run(&pipes[i]);
            pipes[i].owner = NULL;
        }
}

bool super_pipe_reaped(pid_t pid, int status) {
    for (size_t i = 0; i < SUPER_PIPES_MAX; i++) {
        struct pipe_run *r = &pipes[i];
        if (r->pid != pid)
            continue;
        bool signaled = WIFSIGNALED(status);
        uint32_t code = (uint32_t)(signaled ? WTERMSIG(status) : WEXITSTATUS(status));
        struct frame f = {.type = FRAME_PIPE_ENDED, .pipe_ended = {r->tag, code, signaled}};
        if (r->owner && r->owner->link)
            link_send(r->owner->link, &f);
        close(r->fd);
        *r = (struct pipe_run){0};
        return true;
    }
    return false;
}
