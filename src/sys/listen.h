/* listen.h - the listening sockets: bound here, or handed over by the service manager (socket activation,
 * sd_listen_fds(3)), by the name of the listen block or by its address. */
#ifndef SYS_LISTEN_H
#define SYS_LISTEN_H

#include "conf/conf_net.h"

enum { LISTEN_BACKLOG = 4096, LISTEN_ACTIVATED_MAX = 64 };

/* A listening, non-blocking, close-on-exec socket.  A unix socket's file that nobody answers on is replaced.
 * ERR_EXISTS: somebody listens there; ERR_DENIED: not allowed; ERR_NOT_FOUND: not an address of this machine. */
enum err listen_open(const struct conf_address *a, int *fd, struct why *w) MUST_CHECK;

/* The address it really has (a port 0 was replaced), as conf_address_put writes it: "127.0.0.1:40123". */
void listen_address(int fd, struct buf *out);

/* What the service manager has handed over, read once from the environment, which is cleaned.  It numbers them from 3
 * on; `penfold` has moved them up by one, since 3 is the configuration (cli/cli_conf.h). */
struct listen_activated {
    size_t count;
    struct {
        int fd; /* -1: taken */
        char name[64];
    } list[LISTEN_ACTIVATED_MAX];
};
void listen_activated_read(struct listen_activated *l);
/* The socket of that name, or, unnamed, of that address; -1: none.  The caller's from now on. */
int listen_activated_take(struct listen_activated *l, str name, const struct conf_address *a);

#endif
