#include "sys/notify.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_un manager;
static socklen_t manager_size; /* 0: there is none */

void notify_init(void) {
    const char *path = getenv("NOTIFY_SOCKET");
    size_t n = path ? strlen(path) : 0;
    if (n >= 2 && n < sizeof manager.sun_path && (path[0] == '/' || path[0] == '@')) {
        manager.sun_family = AF_UNIX;
        memcpy(manager.sun_path, path, n);
        if (path[0] == '@')
            manager.sun_path[0] = '\0'; /* an abstract name */
        manager_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    }
    unsetenv("NOTIFY_SOCKET");
}

static void tell(const char *text) {
    int fd = manager_size ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
    if (fd < 0)
        return;
    (void)!sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&manager, manager_size);
    close(fd);
}

void notify_ready(const char *status) {
    char text[256];
    snprintf(text, sizeof text, "READY=1\nSTATUS=%s", status);
    tell(text);
}

void notify_reloading(void) {
    char text[128];
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000);
    tell(text);
}

void notify_stopping(void) {
    tell("STOPPING=1");
}
