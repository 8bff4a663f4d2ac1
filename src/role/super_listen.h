/* super_listen.h - the supervisor's table of listening sockets, and how it becomes the next one at a reload: first
 * everything new is opened, and only when all of it could be, the old table ends. */
#ifndef ROLE_SUPER_LISTEN_H
#define ROLE_SUPER_LISTEN_H

#include "conf/conf.h"
#include "sys/listen.h"

enum { SUPER_LISTEN_ADDRESS = 256 };

struct super_listener {
    char name[CONF_NAME_MAX + 1];
    char asked[SUPER_LISTEN_ADDRESS];  /* as configured; the port may be 0 */
    char actual[SUPER_LISTEN_ADDRESS]; /* as bound */
    int fd;
    bool http;
    bool kept;  /* the socket was in the table before under the same name: its roles have it already */
    bool taken; /* the socket was in the table before */
    bool file;  /* of a unix socket that is ours: to be removed */
};

struct super_listeners {
    struct super_listener list[CONF_LISTENS_MAX];
    size_t count;
};

/* Fills `next` from the configuration, reusing sockets of `old` and activated ones.  False: complaints in errors, and
 * what was opened is closed.  Where a port was 0 the configuration gets the real one. */
bool super_listen_prepare(struct super_listeners *next, const struct super_listeners *old, struct conf *c,
                          struct listen_activated *activated, struct conf_errors *errors, enum err *first) MUST_CHECK;
void super_listen_abandon(struct super_listeners *next);                             /* without commit */
void super_listen_commit(struct super_listeners *now, struct super_listeners *next); /* now becomes next */
void super_listen_close(struct super_listeners *now);

#endif
