#include "role/super_proc.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/clock.h"
#include "sys/log.h"

enum {
    CONTROL_FD = 3,
    EXEC_FAILED = 127,
    SILENT_MS = 5000, /* a process that has closed its control link is nobody's: so long it may take to end */
};

static struct super_procs *all; /* for libevent's callbacks; there is one supervisor */

uint64_t super_backoff_ms(uint64_t last_ms, uint64_t lived_ms) {
    if (last_ms == 0 || lived_ms >= SUPER_HEALTHY_MS)
        return SUPER_BACKOFF_MIN_MS;
    return last_ms * 2 < SUPER_BACKOFF_MAX_MS ? last_ms * 2 : SUPER_BACKOFF_MAX_MS;
}

static void set_timer(struct super_proc *p, uint64_t ms) {
    struct timeval t = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    event_add(p->timer, &t);
}

/* ---- wires between roles ---- */

static bool wired(enum role a, enum role b) {
    static const enum role pairs[][2] = {
        {ROLE_SMTPD, ROLE_STORE},  {ROLE_HTTPD, ROLE_STORE},     {ROLE_HTTPD, ROLE_CONTENT},
        {ROLE_HTTPD, ROLE_SMTPD},  {ROLE_HTTPD, ROLE_KEYD},      {ROLE_SMTPD, ROLE_KEYD},
        {ROLE_KEYD, ROLE_STORE},   {ROLE_DELIVERY, ROLE_STORE},  {ROLE_DELIVERY, ROLE_RESOLVER},
        {ROLE_FILTER, ROLE_STORE}, {ROLE_FILTER, ROLE_RESOLVER},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if ((pairs[i][0] == a && pairs[i][1] == b) || (pairs[i][0] == b && pairs[i][1] == a))
            return true;
    return false;
}

static void send_peer(struct super_proc *to, const struct super_proc *other, int fd) {
    struct frame f = {.type = FRAME_PEER, .peer = {.role = (uint8_t)other->role, .instance = other->instance}};
    link_send_fd(to->link, &f, fd);
}

static void wire(struct super_proc *a, struct super_proc *b) {
    int fd[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) != 0) {
        log_event(EV_ROLE_WIRE_FAILED, LOG_STR("why", str_of(strerror(errno))), LOG_END);
        return;
    }
    send_peer(a, b, fd[0]);
    send_peer(b, a, fd[1]);
    close(fd[0]);
    close(fd[1]);
}

static void wire_all(struct super_procs *s, struct super_proc *p) {
    for (size_t i = 0; i < s->count; i++) {
        struct super_proc *q = &s->list[i];
        if (q != p && q->running && q->link && wired(p->role, q->role))
            wire(p, q);
    }
}

/* ---- the child ---- */

static _Noreturn void become(const struct super_procs *s, const struct super_proc *p, int control, pid_t parent) {
    char path[sizeof s->folder + 32];
    char *argv[] = {(char *)role_name(p->role), NULL};
    snprintf(path, sizeof path, "%s/%s", s->folder, role_name(p->role));
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* until the role knows what it does when we are gone */
    if (getppid() != parent)
        _exit(EXEC_FAILED);
    int null = open("/dev/null", O_RDWR);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        if (null > STDERR_FILENO)
            close(null);
    }
    if (control == CONTROL_FD)
        fcntl(control, F_SETFD, 0);
    else
        dup2(control, CONTROL_FD);
    execv(path, argv);
    fprintf(stderr, "penfold: %s: %s\n", path, strerror(errno));
    _exit(EXEC_FAILED);
}

/* Between fork and exec the child has our signal handlers, which write into our loop: it gets no signal there. */
static pid_t fork_role(const struct super_procs *s, const struct super_proc *p, int control) {
    static const int ours[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP};
    sigset_t every, before;
    pid_t parent = getpid();
    sigfillset(&every);
    sigprocmask(SIG_SETMASK, &every, &before);
    pid_t pid = fork();
    if (pid == 0)
        for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
            signal(ours[i], SIG_DFL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (pid == 0)
        become(s, p, control, parent);
    return pid;
}

/* ---- the end of a life ---- */

static struct log_field end_word(const struct super_proc *p) {
    if (WIFSIGNALED(p->status))
        return LOG_NUM("signal", WTERMSIG(p->status));
    return LOG_NUM("status", WEXITSTATUS(p->status));
}

static void crashed(struct super_procs *s, struct super_proc *p) {
    p->backoff_ms = super_backoff_ms(p->backoff_ms, clock_mono_ms() - p->started_ms);
    log_event(EV_ROLE_CRASH, LOG_STR("which", str_of(role_name(p->role))), LOG_NUM("number", p->instance), end_word(p),
              LOG_NUM("restart_in_ms", s->stopping ? 0 : p->backoff_ms), LOG_END);
    if (s->stopping)
        return;
    s->metrics.restarts[p->role]++;
    set_timer(p, p->backoff_ms);
}

static void check_ended(struct super_procs *s, struct super_proc *p) {
    if (!p->running || p->pid != 0 || p->link)
        return;
    p->running = false;
    s->metrics.processes[p->role]--;
    event_del(p->timer);
    p->failures = p->ready ? 0 : p->failures + 1;
    if (p->told)
        log_event(EV_ROLE_EXIT, LOG_STR("which", str_of(role_name(p->role))), LOG_NUM("number", p->instance),
                  end_word(p), LOG_END);
    else
        crashed(s, p);
    p->ready = false;
    s->ops->on_end(p);
}

bool super_proc_reaped(struct super_procs *s, pid_t pid, int status) {
    for (size_t i = 0; i < s->count; i++) {
        struct super_proc *p = &s->list[i];
        if (p->pid != pid)
            continue;
        p->pid = 0;
        p->status = status;
        check_ended(s, p);
        return true;
    }
    return false;
}

static void on_close(void *arg, struct link *l) {
    (void)l;
    struct super_proc *p = arg;
    p->link = NULL;
    if (p->pid)
        set_timer(p, SILENT_MS);
    check_ended(all, p);
}

static void on_timer(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct super_proc *p = arg;
    if (!p->running && !all->stopping) {
        super_proc_start(all, p);
    } else if (p->pid && !p->link) {
        log_event(EV_ROLE_STUCK, LOG_STR("which", str_of(role_name(p->role))), LOG_NUM("number", p->instance), LOG_END);
        super_proc_kill(p);
    }
}

void super_proc_kill(struct super_proc *p) {
    if (p->pid)
        kill(p->pid, SIGKILL);
}

/* ---- what it says ---- */

static void on_frame(void *arg, struct link *l, const struct frame *f, int fd) {
    (void)l, (void)fd;
    struct super_proc *p = arg;
    switch ((int)f->type) {
    case FRAME_READY:
        p->ready = p->was_ready = true;
        all->ops->on_ready(p);
        break;
    case FRAME_FATAL: all->ops->on_fatal(p, (enum err)f->fatal.err, f->fatal.text); break;
    case FRAME_COUNTERS:
        if (metrics_add(&all->metrics, p->counted, f->counters.values))
            all->ops->on_counters();
        break;
    default: all->ops->on_other(p, f);
    }
}

/* ---- starting ---- */

struct super_proc *super_proc_want(struct super_procs *s, enum role r, uint32_t instance) {
    all = s;
    for (size_t i = 0; i < s->count; i++)
        if (s->list[i].role == r && s->list[i].instance == instance)
            return &s->list[i];
    if (s->count == SUPER_PROCS_MAX)
        return NULL;
    struct super_proc *p = &s->list[s->count];
    *p = (struct super_proc){.role = r, .instance = instance};
    p->timer = event_new(s->base, -1, 0, on_timer, p);
    p->counted = calloc(EV_COUNT, sizeof *p->counted);
    if (!p->timer || !p->counted)
        return NULL;
    s->count++;
    return p;
}

static bool open_control(struct super_procs *s, struct super_proc *p, int *theirs) {
    static const struct link_ops ops = {.on_frame = on_frame, .on_close = on_close};
    int fd[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0)
        return false;
    p->link = link_open(s->base, fd[0], FRAME_TO_SUPERVISOR, &ops, p);
    *theirs = fd[1];
    if (p->link)
        return true;
    close(fd[0]);
    close(fd[1]);
    return false;
}

/* For want of descriptors, memory or processes: the same back-off as for a crash. */
static void start_failed(struct super_proc *p) {
    log_event(EV_ROLE_START_FAILED, LOG_STR("which", str_of(role_name(p->role))),
              LOG_STR("why", str_of(strerror(errno))), LOG_END);
    p->backoff_ms = super_backoff_ms(p->backoff_ms, 0);
    set_timer(p, p->backoff_ms);
}

void super_proc_start(struct super_procs *s, struct super_proc *p) {
    int theirs;
    if (p->running || s->stopping)
        return;
    if (!open_control(s, p, &theirs)) {
        start_failed(p);
        return;
    }
    p->pid = fork_role(s, p, theirs);
    close(theirs);
    if (p->pid < 0) {
        p->pid = 0;
        link_close(p->link);
        p->link = NULL;
        start_failed(p);
        return;
    }
    p->running = true;
    p->told = false;
    p->started_ms = clock_mono_ms();
    memset(p->counted, 0, EV_COUNT * sizeof *p->counted);
    s->metrics.processes[p->role]++;
    log_event(EV_ROLE_START, LOG_STR("which", str_of(role_name(p->role))), LOG_NUM("number", p->instance),
              LOG_NUM("pid", p->pid), LOG_END);
    s->ops->setup(p);
    wire_all(s, p);
    link_send(p->link, &(struct frame){.type = FRAME_GO, .go = {.instance = p->instance, .run_id = str_of(s->run_id)}});
}

/* ---- talking to it ---- */

void super_proc_tell(struct super_proc *p, enum frame_type type) {
    p->told = true;
    event_del(p->timer);
    if (p->running && p->link)
        link_send(p->link, &(struct frame){.type = type});
}

size_t super_proc_running(const struct super_procs *s, enum role r) {
    return s->metrics.processes[r];
}

void super_proc_send_secret(struct super_proc *p, str name, str bytes) {
    for (;;) {
        str piece = str_head(bytes, FRAME_CHUNK);
        link_send(p->link, &(struct frame){.type = FRAME_SECRET, .secret = {.name = name, .bytes = piece}});
        bytes = str_tail(bytes, piece.n);
        if (piece.n < FRAME_CHUNK)
            return;
    }
}

void super_proc_send_metrics(struct super_proc *p, str text) {
    for (;;) {
        str piece = str_head(text, FRAME_CHUNK);
        link_send(p->link, &(struct frame){.type = FRAME_METRICS, .metrics = {.text = piece}});
        text = str_tail(text, piece.n);
        if (piece.n < FRAME_CHUNK)
            return;
    }
}
