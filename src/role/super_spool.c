#include "role/super_spool.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/clock.h"
#include "sys/log.h"

enum { IN_HAND_MAX = 16, NAMES_MAX = 64, OWNERS_MAX = 64, AGAIN_MS = 30000 };

static struct {
    char path[PATH_MAX];
    int dir, watch;
    struct event *event;
    struct super_procs *procs;
    uint64_t next_tag, quiet_until_ms;
    struct in_hand {
        uint64_t tag; /* 0: the row is free */
        const struct super_proc *owner;
        uid_t uid;
        char name[NAMES_MAX];
    } hand[IN_HAND_MAX];
    struct quiet {
        uid_t uid;
        uint64_t until_ms;
    } quiet[OWNERS_MAX]; /* whose mail is for later: nobody holds up the mail of others */
} spool = {.dir = -1, .watch = -1};

static bool good_name(const char *name) {
    str s = str_of(name);
    if (s.n >= NAMES_MAX || !str_ends(s, S(".smtp")) || str_starts(s, S(".")))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!char_is_alnum(s.p[i]) && !memchr(".-_", s.p[i], 3))
            return false;
    return true;
}

static bool busy(const char *name) {
    for (size_t i = 0; i < IN_HAND_MAX; i++)
        if (spool.hand[i].tag && strcmp(spool.hand[i].name, name) == 0)
            return true;
    return false;
}

static struct in_hand *free_row(void) {
    for (size_t i = 0; i < IN_HAND_MAX; i++)
        if (!spool.hand[i].tag)
            return &spool.hand[i];
    return NULL;
}

static bool is_quiet(uid_t uid) {
    for (size_t i = 0; i < OWNERS_MAX; i++)
        if (spool.quiet[i].uid == uid && clock_mono_ms() < spool.quiet[i].until_ms)
            return true;
    return false;
}

static void be_quiet(uid_t uid) {
    uint64_t now = clock_mono_ms(), until = now + AGAIN_MS;
    for (size_t i = 0; i < OWNERS_MAX; i++)
        if (spool.quiet[i].until_ms <= now) {
            spool.quiet[i] = (struct quiet){uid, until};
            return;
        }
    spool.quiet_until_ms = until; /* so many: the store is full or the like */
}

static struct super_proc *an_smtpd(void) {
    for (size_t i = 0; i < spool.procs->count; i++) {
        struct super_proc *p = &spool.procs->list[i];
        if (p->role == ROLE_SMTPD && p->ready && p->link && !p->told)
            return p;
    }
    return NULL;
}

static void refuse(const char *name, const char *reason) {
    char bad[NAMES_MAX + 8];
    snprintf(bad, sizeof bad, "%s.bad", name);
    (void)renameat(spool.dir, name, spool.dir, bad);
    log_event(EV_SPOOL_REFUSED, LOG_STR("file", str_of(bad)), LOG_STR("why", str_of(reason)), LOG_END);
}

/* Never through a link, never a device, never a file with a second name somewhere else. */
static int open_file(const char *name, struct stat *st) {
    int fd = openat(spool.dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno != ELOOP && errno != ENXIO) /* a link, a socket: it stays what it is */
        return -1;
    if (fd >= 0 && fstat(fd, st) == 0 && S_ISREG(st->st_mode) && st->st_nlink == 1 && !(st->st_mode & 022))
        return fd;
    if (fd >= 0)
        close(fd);
    refuse(name, "it is no ordinary file of one user");
    return -1;
}

static void hand_over(const char *name, struct super_proc *p, struct in_hand *row) {
    struct stat st;
    int fd = open_file(name, &st);
    if (fd < 0)
        return;
    if (is_quiet(st.st_uid)) {
        close(fd);
        return;
    }
    *row = (struct in_hand){.tag = ++spool.next_tag, .owner = p, .uid = st.st_uid};
    snprintf(row->name, sizeof row->name, "%s", name);
    struct frame f = {.type = FRAME_SPOOLED, .spooled = {row->tag, str_of(row->name), (uint32_t)st.st_uid}};
    link_send_fd(p->link, &f, fd);
    close(fd);
}

void super_spool_look(struct super_procs *s) {
    struct super_proc *p = spool.dir >= 0 && !s->stopping ? an_smtpd() : NULL;
    if (!p || clock_mono_ms() < spool.quiet_until_ms)
        return;
    int fd = openat(spool.dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        if (fd >= 0)
            close(fd);
        return;
    }
    struct in_hand *row;
    for (const struct dirent *e; (e = readdir(d)) && (row = free_row());)
        if (good_name(e->d_name) && !busy(e->d_name))
            hand_over(e->d_name, p, row);
    closedir(d);
}

static void on_change(evutil_socket_t fd, short what, void *arg) {
    char space[4096];
    (void)what, (void)arg;
    while (read(fd, space, sizeof space) > 0)
        ;
    super_spool_look(spool.procs);
}

static void forget(void) {
    if (spool.event)
        event_free(spool.event);
    if (spool.watch >= 0)
        close(spool.watch);
    if (spool.dir >= 0)
        close(spool.dir);
    spool.event = NULL;
    spool.watch = spool.dir = -1;
    spool.path[0] = '\0';
}

static void watch(struct super_procs *s, str path) {
    snprintf(spool.path, sizeof spool.path, "%.*s", STR_ARG(path));
    if (mkdir(spool.path, 0700) == 0)
        (void)chmod(spool.path, 01733);
    spool.dir = open(spool.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    spool.watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (spool.dir >= 0 && spool.watch >= 0 &&
        inotify_add_watch(spool.watch, spool.path, IN_MOVED_TO | IN_CLOSE_WRITE) >= 0)
        spool.event = event_new(s->base, spool.watch, EV_READ | EV_PERSIST, on_change, NULL);
    if (!spool.event || event_add(spool.event, NULL) != 0) {
        log_event(EV_SPOOL_REFUSED, LOG_STR("file", str_of(spool.path)), LOG_STR("why", str_of(strerror(errno))),
                  LOG_END);
        forget();
    }
}

void super_spool_configure(struct super_procs *s, const struct conf *c) {
    spool.procs = s;
    if (str_eq(str_of(spool.path), c->spool))
        return;
    forget();
    if (c->spool.n)
        watch(s, c->spool);
}

void super_spool_done(const struct super_proc *p, const struct frame_spool_done *f) {
    for (size_t i = 0; i < IN_HAND_MAX; i++) {
        struct in_hand *row = &spool.hand[i];
        if (row->tag != f->tag || row->owner != p)
            continue;
        char reason[256];
        snprintf(reason, sizeof reason, "%.*s", STR_ARG(f->text));
        if (f->err == OK)
            (void)unlinkat(spool.dir, row->name, 0);
        else if (f->err == ERR_SYNTAX || f->err == ERR_DENIED)
            refuse(row->name, reason);
        else
            be_quiet(row->uid);
        *row = (struct in_hand){0};
    }
    super_spool_look(spool.procs);
}

void super_spool_orphaned(const struct super_proc *p) {
    for (size_t i = 0; i < IN_HAND_MAX; i++)
        if (spool.hand[i].owner == p)
            spool.hand[i] = (struct in_hand){0};
}
