#include "sys/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/log.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true /* their run time opens /proc and forks a symbolizer */
#else
#define SANITIZED false
#endif

static void missing(const char *what, const char *reason) {
    log_event(EV_SANDBOX_MISSING, LOG_STR("protection", str_of(what)), LOG_STR("why", str_of(reason)), LOG_END);
}

static void raise_descriptor_limit(void) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

void sandbox_begin(void) {
    raise_descriptor_limit();
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        missing("no_new_privs", strerror(errno));
    if (geteuid() == 0 && !SANITIZED)
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

void sandbox_outlive_not(int signal_number) {
    prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0);
}

enum err sandbox_drop_root(const char *user, bool must, struct why *w) {
    if (geteuid() != 0)
        return OK;
    const struct passwd *p = getpwnam(user);
    if (!p && must)
        return why(w, ERR_NOT_FOUND, "there is no user \"%s\" to run as: create it (useradd --system %s) or set `user`",
                   user, user);
    if (!p) {
        missing("another user than root", "the user does not exist");
        return OK;
    }
    if (setgroups(0, NULL) != 0 || setresgid(p->pw_gid, p->pw_gid, p->pw_gid) != 0 ||
        setresuid(p->pw_uid, p->pw_uid, p->pw_uid) != 0)
        return why(w, ERR_DENIED, "cannot become the user \"%s\": %s", user, strerror(errno));
    if (!SANITIZED)
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* a change of user resets it */
    return OK;
}

/* ---- Landlock (by number: the C library has no wrappers, and Debian's headers know only the oldest ABI) ---- */

enum {
    ABI_REFER = 2,
    ABI_TRUNCATE = 3,
    ABI_NET = 4,
    ABI_IOCTL = 5,
    ABI_SCOPE = 6,
};
#define FS_REFER (1ULL << 13)
#define FS_TRUNCATE (1ULL << 14)
#define FS_IOCTL_DEV (1ULL << 15)
#define NET_BIND_TCP (1ULL << 0)
#define NET_CONNECT_TCP (1ULL << 1)
#define SCOPE_ABSTRACT_UNIX (1ULL << 0)
#define SCOPE_SIGNAL (1ULL << 1)

struct ruleset { /* struct landlock_ruleset_attr as of ABI 6; older kernels take its front */
    uint64_t fs, net, scoped;
};

static long landlock_create(const void *attr, size_t size, unsigned flags) {
    return syscall(SYS_landlock_create_ruleset, attr, size, flags);
}

static uint64_t all_file_rights(long abi) {
    uint64_t rights = (1ULL << 13) - 1; /* ABI 1: execute ... make symlink */
    if (abi >= ABI_REFER)
        rights |= FS_REFER;
    if (abi >= ABI_TRUNCATE)
        rights |= FS_TRUNCATE;
    if (abi >= ABI_IOCTL)
        rights |= FS_IOCTL_DEV;
    return rights;
}

static bool allow_below(int rules, const char *path, uint64_t rights) {
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return false;
    struct landlock_path_beneath_attr at = {.allowed_access = rights, .parent_fd = fd};
    long n = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &at, 0);
    close(fd);
    return n == 0;
}

static const char *restrict_files(const char *directory, bool connects, long abi) {
    struct ruleset r = {.fs = all_file_rights(abi)};
    size_t size = sizeof r.fs;
    if (abi >= ABI_NET) {
        r.net = connects ? 0 : NET_BIND_TCP | NET_CONNECT_TCP; /* who connects may have to bind a source address */
        size = offsetof(struct ruleset, scoped);
    }
    if (abi >= ABI_SCOPE) {
        r.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
        size = sizeof r;
    }
    int rules = (int)landlock_create(&r, size, 0);
    if (rules < 0)
        return strerror(errno);
    const char *fault = NULL;
    uint64_t never = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
                     LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO;
    if (directory && !allow_below(rules, directory, r.fs & ~never))
        fault = "the data directory cannot be named to it";
    if (directory)
        (void)allow_below(rules, "/dev/urandom", LANDLOCK_ACCESS_FS_READ_FILE); /* SQLite's seed; it can do without */
    if (!fault && syscall(SYS_landlock_restrict_self, rules, 0) != 0)
        fault = strerror(errno);
    close(rules);
    return fault;
}

void sandbox_files(const char *directory, bool connects) {
    if (SANITIZED)
        return;
    long abi = landlock_create(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    const char *fault = abi >= 1 ? restrict_files(directory, connects, abi) : strerror(errno);
    if (fault)
        missing("landlock", fault);
}

/* ---- seccomp ---- */

#define CALL(name) SCMP_SYS(name)

/* What a loop over descriptors it already has cannot do without. */
static const int common_calls[] = {
    CALL(read),
    CALL(write),
    CALL(readv),
    CALL(writev),
    CALL(close),
    CALL(recvfrom),
    CALL(recvmsg),
    CALL(sendto),
    CALL(sendmsg),
    CALL(shutdown),
    CALL(poll),
    CALL(ppoll),
    CALL(epoll_wait),
    CALL(epoll_pwait),
    CALL(epoll_pwait2),
    CALL(epoll_ctl),
    CALL(dup2),
    CALL(dup3),
    CALL(fstat),
    CALL(lseek),
    CALL(getsockopt),
    CALL(setsockopt),
    CALL(getsockname),
    CALL(getpeername),
    CALL(brk),

    CALL(munmap),
    CALL(mremap),
    CALL(madvise),
    CALL(futex),
    CALL(clock_gettime),
    CALL(gettimeofday),
    CALL(time),
    CALL(clock_nanosleep),
    CALL(nanosleep),
    CALL(getrandom),
    CALL(getpid),
    CALL(gettid),
    CALL(getuid),
    CALL(geteuid),
    CALL(getgid),
    CALL(getegid),
    CALL(rt_sigaction),
    CALL(rt_sigprocmask),
    CALL(rt_sigreturn),
    CALL(sigaltstack),
    CALL(alarm),
    CALL(exit),
    CALL(exit_group),
    CALL(restart_syscall),
    CALL(sched_yield),
    CALL(rseq),
    CALL(uname),
    CALL(sysinfo),
    CALL(getrusage),
    CALL(tgkill),
    CALL(set_robust_list),
    CALL(membarrier),
    CALL(prlimit64),
    CALL(getrlimit),
    CALL(pipe2),
    CALL(eventfd2),
};

static const int accept_calls[] = {CALL(accept4)};

/* Those that go out to the network. */
static const int connect_calls[] = {CALL(socket), CALL(connect), CALL(bind), CALL(sendmmsg), CALL(recvmmsg)};

/* The store's files (its directory only: Landlock), locks, syncs. */
static const int file_calls[] = {
    CALL(open),      CALL(openat),     CALL(openat2),    CALL(creat),
    CALL(stat),      CALL(lstat),      CALL(newfstatat), CALL(statx),
    CALL(access),    CALL(faccessat),  CALL(faccessat2), CALL(pread64),
    CALL(pwrite64),  CALL(preadv),     CALL(pwritev),    CALL(preadv2),
    CALL(pwritev2),  CALL(fsync),      CALL(fdatasync),  CALL(sync_file_range),
    CALL(ftruncate), CALL(truncate),   CALL(fallocate),  CALL(fadvise64),
    CALL(rename),    CALL(renameat),   CALL(renameat2),  CALL(unlink),
    CALL(unlinkat),  CALL(rmdir),      CALL(mkdir),      CALL(mkdirat),
    CALL(link),      CALL(linkat),     CALL(flock),      CALL(getdents64),
    CALL(statfs),    CALL(fstatfs),    CALL(fchmod),     CALL(fchown),
    CALL(getcwd),    CALL(readlink),   CALL(readlinkat), CALL(copy_file_range),
    CALL(sendfile),  CALL(utimensat),  CALL(umask),      CALL(chmod),
    CALL(dup),       CALL(msync),      CALL(mincore),    CALL(sched_getaffinity),
    CALL(getppid),   CALL(ioprio_set),
};

static int allow_all(scmp_filter_ctx c, const int *calls, size_t n) {
    int e = 0;
    for (size_t i = 0; i < n; i++) {
        int one = seccomp_rule_add(c, SCMP_ACT_ALLOW, calls[i], 0);
        if (one != 0 && one != -EDOM) /* -EDOM: this machine has no such call */
            e = one;
    }
    return e;
}

#define ALLOW(c, calls) allow_all((c), (calls), sizeof(calls) / sizeof *(calls))

/* fcntl without locks and leases for those without files; with them for the store. */
static int allow_fcntl(scmp_filter_ctx c, bool files) {
    static const unsigned ordinary[] = {F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC};
    if (files)
        return seccomp_rule_add(c, SCMP_ACT_ALLOW, CALL(fcntl), 0);
    int e = 0;
    for (size_t i = 0; i < sizeof ordinary / sizeof *ordinary; i++)
        e |= seccomp_rule_add(c, SCMP_ACT_ALLOW, CALL(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, ordinary[i]));
    return e;
}

/* Threads yes, processes no: clone3 hides its flags behind a pointer, so it is "unknown" and libc falls back. */
static int allow_threads(scmp_filter_ctx c) {
    return seccomp_rule_add(c, SCMP_ACT_ALLOW, CALL(clone), 1,
                            SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)) |
           seccomp_rule_add(c, SCMP_ACT_ERRNO(ENOSYS), CALL(clone3), 0);
}

/* No more code than there is. */
static int allow_memory(scmp_filter_ctx c) {
    return seccomp_rule_add(c, SCMP_ACT_ALLOW, CALL(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) |
           seccomp_rule_add(c, SCMP_ACT_ALLOW, CALL(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

/* FIONBIO, FIONREAD and nothing else (a terminal's input could be forged with others). */
static int allow_ioctl(scmp_filter_ctx c) {
    return seccomp_rule_add(c, SCMP_ACT_ALLOW, CALL(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, FIONBIO)) |
           seccomp_rule_add(c, SCMP_ACT_ALLOW, CALL(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, FIONREAD));
}

/* prctl only to name threads. */
static int allow_prctl(scmp_filter_ctx c) {
    return seccomp_rule_add(c, SCMP_ACT_ALLOW, CALL(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
}

static int deadly(scmp_filter_ctx c) {
    return seccomp_rule_add(c, SCMP_ACT_KILL_PROCESS, CALL(execve), 0) |
           seccomp_rule_add(c, SCMP_ACT_KILL_PROCESS, CALL(execveat), 0) |
           seccomp_rule_add(c, SCMP_ACT_KILL_PROCESS, CALL(ptrace), 0);
}

static int add_rules(scmp_filter_ctx c, enum role r) {
    bool files = r == ROLE_STORE;
    int e = ALLOW(c, common_calls);
    e |= allow_fcntl(c, files) | allow_threads(c) | allow_memory(c) | allow_ioctl(c) | allow_prctl(c) | deadly(c);
    if (files)
        e |= ALLOW(c, file_calls);
    if (r == ROLE_SMTPD || r == ROLE_HTTPD)
        e |= ALLOW(c, accept_calls);
    if (r == ROLE_DELIVERY || r == ROLE_RESOLVER || r == ROLE_FILTER)
        e |= ALLOW(c, connect_calls);
    return e;
}

void sandbox_close(enum role r) {
    if (SANITIZED)
        return;
    scmp_filter_ctx c = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!c) {
        missing("seccomp", "no memory");
        return;
    }
    int e = seccomp_attr_set(c, SCMP_FLTATR_CTL_TSYNC, 1); /* all threads, also those that are running */
    if (e == 0)
        e = add_rules(c, r);
    if (e == 0)
        e = seccomp_load(c);
    if (e != 0)
        missing("seccomp", strerror(-e));
    seccomp_release(c);
}
