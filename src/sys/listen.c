#include "sys/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { FIRST_ACTIVATED_FD = 4 };

static socklen_t ip_sockaddr(const struct conf_address *a, struct sockaddr_storage *s) {
    memset(s, 0, sizeof *s);
    if (a->ip.version == 4) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)s;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(a->port);
        memcpy(&v4->sin_addr, a->ip.bytes, 4);
        return sizeof *v4;
    }
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)s;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(a->port);
    memcpy(&v6->sin6_addr, a->ip.bytes, 16);
    return sizeof *v6;
}

static enum err bind_failed(const struct conf_address *a, struct why *w) {
    int reason = errno;
    struct buf text = BUF(256);
    conf_address_put(&text, a);
    const char *address = buf_cstr(&text);
    enum err e;
    if (reason == EADDRINUSE)
        e = why(w, ERR_EXISTS, "another program listens on %s", address);
    else if (reason == EACCES && a->kind == CONF_ADDRESS_IP && a->port < 1024)
        e = why(w, ERR_DENIED, "%s: ports below 1024 need root, CAP_NET_BIND_SERVICE or a systemd socket", address);
    else if (reason == EADDRNOTAVAIL)
        e = why(w, ERR_NOT_FOUND, "%s is not an address of this machine", address);
    else
        e = why(w, reason == EACCES || reason == EPERM ? ERR_DENIED : ERR_IO, "cannot listen on %s: %s", address,
                strerror(reason));
    buf_free(&text);
    return e;
}

static enum err open_ip(const struct conf_address *a, int *fd, struct why *w) {
    struct sockaddr_storage s;
    socklen_t size = ip_sockaddr(a, &s);
    int one = 1;
    *fd = socket(s.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return bind_failed(a, w);
    setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (s.ss_family == AF_INET6)
        setsockopt(*fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(*fd, (struct sockaddr *)&s, size) == 0 && listen(*fd, LISTEN_BACKLOG) == 0)
        return OK;
    enum err e = bind_failed(a, w);
    close(*fd);
    return e;
}

/* A socket file outlives its program.  Nobody answers: it is left over and may go. */
static enum err clear_stale(const struct conf_address *a, const struct sockaddr_un *s, struct why *w) {
    struct stat st;
    if (lstat(s->sun_path, &st) != 0)
        return OK;
    if (!S_ISSOCK(st.st_mode))
        return why(w, ERR_EXISTS, "%s exists and is not a socket", s->sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int n = fd < 0 ? -1 : connect(fd, (const struct sockaddr *)s, sizeof *s);
    int reason = errno;
    if (fd >= 0)
        close(fd);
    if (n != 0 && reason == ECONNREFUSED && unlink(s->sun_path) == 0)
        return OK;
    errno = n == 0 || reason == EAGAIN ? EADDRINUSE : reason == ECONNREFUSED ? errno : reason;
    return bind_failed(a, w);
}

static enum err open_unix(const struct conf_address *a, int *fd, struct why *w) {
    struct sockaddr_un s = {.sun_family = AF_UNIX};
    if (a->path.n >= sizeof s.sun_path)
        return why(w, ERR_LIMIT, "%.*s: the path of a socket may have %zu bytes", STR_ARG(a->path),
                   sizeof s.sun_path - 1);
    memcpy(s.sun_path, a->path.p, a->path.n);
    enum err e = clear_stale(a, &s, w);
    if (e != OK)
        return e;
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return bind_failed(a, w);
    mode_t old = umask(0177);
    int n = bind(*fd, (struct sockaddr *)&s, sizeof s);
    umask(old);
    if (n == 0 && chmod(s.sun_path, a->mode ? a->mode : 0660) == 0 && listen(*fd, LISTEN_BACKLOG) == 0)
        return OK;
    e = bind_failed(a, w);
    close(*fd);
    return e;
}

enum err listen_open(const struct conf_address *a, int *fd, struct why *w) {
    return a->kind == CONF_ADDRESS_UNIX ? open_unix(a, fd, w) : open_ip(a, fd, w);
}

/* False: a socket of another family. */
static bool socket_address(int fd, struct conf_address *a, struct sockaddr_storage *s) {
    socklen_t size = sizeof *s;
    memset(s, 0, sizeof *s);
    *a = (struct conf_address){0};
    if (getsockname(fd, (struct sockaddr *)s, &size) != 0)
        return false;
    if (s->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)s;
        *a = (struct conf_address){.kind = CONF_ADDRESS_IP, .ip.version = 4, .port = ntohs(v4->sin_port)};
        memcpy(a->ip.bytes, &v4->sin_addr, 4);
    } else if (s->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)s;
        *a = (struct conf_address){.kind = CONF_ADDRESS_IP, .ip.version = 6, .port = ntohs(v6->sin6_port)};
        memcpy(a->ip.bytes, &v6->sin6_addr, 16);
    } else if (s->ss_family == AF_UNIX) {
        const struct sockaddr_un *un = (const struct sockaddr_un *)s;
        size_t n = strnlen(un->sun_path, sizeof un->sun_path);
        *a = (struct conf_address){.kind = CONF_ADDRESS_UNIX, .path = {un->sun_path, n}};
    }
    return a->kind != CONF_ADDRESS_NONE;
}

void listen_address(int fd, struct buf *out) {
    struct conf_address a;
    struct sockaddr_storage s;
    if (socket_address(fd, &a, &s))
        conf_address_put(out, &a);
}

static bool same_address(int fd, const struct conf_address *a) {
    struct conf_address b;
    struct sockaddr_storage s;
    if (!socket_address(fd, &b, &s) || a->kind != b.kind)
        return false;
    if (a->kind == CONF_ADDRESS_UNIX)
        return str_eq(a->path, b.path);
    return a->port == b.port && a->ip.version == b.ip.version && memcmp(a->ip.bytes, b.ip.bytes, 16) == 0;
}

static bool env_number(const char *name, uint64_t *value) {
    return str_u64(str_of(getenv(name)), value);
}

void listen_activated_read(struct listen_activated *l) {
    uint64_t pid, count;
    memset(l, 0, sizeof *l);
    if (!env_number("LISTEN_PID", &pid) || pid != (uint64_t)getpid() || !env_number("LISTEN_FDS", &count) ||
        count > LISTEN_ACTIVATED_MAX)
        return;
    str names = str_of(getenv("LISTEN_FDNAMES"));
    for (size_t i = 0; i < count; i++) {
        str name = names;
        if (str_cut(&names, ':', &name) == false)
            names = STR_NONE;
        l->list[i].fd = FIRST_ACTIVATED_FD + (int)i;
        snprintf(l->list[i].name, sizeof l->list[i].name, "%.*s", STR_ARG(name));
        fcntl(l->list[i].fd, F_SETFD, FD_CLOEXEC);
        fcntl(l->list[i].fd, F_SETFL, fcntl(l->list[i].fd, F_GETFL) | O_NONBLOCK);
    }
    l->count = count;
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

int listen_activated_take(struct listen_activated *l, str name, const struct conf_address *a) {
    for (size_t i = 0; i < l->count; i++) {
        int fd = l->list[i].fd;
        if (fd < 0 || (!str_eq(str_of(l->list[i].name), name) && !same_address(fd, a)))
            continue;
        l->list[i].fd = -1;
        return fd;
    }
    return -1;
}
