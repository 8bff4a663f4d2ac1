#include "role/super_listen.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void put_text(char space[SUPER_LISTEN_ADDRESS], const struct buf *b) {
    snprintf(space, SUPER_LISTEN_ADDRESS, "%.*s", STR_ARG(buf_str(b)));
}

static const struct super_listener *find(const struct super_listeners *old, const char *asked) {
    for (size_t i = 0; i < old->count; i++)
        if (strcmp(old->list[i].asked, asked) == 0 || strcmp(old->list[i].actual, asked) == 0)
            return &old->list[i];
    return NULL;
}

/* What a person can do about it: in a sandbox the listeners have the names of their options. */
static void complain(struct conf_errors *errors, const struct conf *c, const struct conf_listen *l, enum err e,
                     const struct why *w) {
    static const char *const options[] = {"smtp", "smtps", "lmtp", "http"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (e == ERR_EXISTS && c->mode == CONF_MODE_SANDBOX && str_eq(l->name, str_of(options[i]))) {
            conf_errors_add(errors, NULL, 0, "listen %.*s: %s; choose another with --%s", STR_ARG(l->name), w->text,
                            options[i]);
            return;
        }
    conf_errors_add(errors, NULL, 0, "listen %.*s: %s%s", STR_ARG(l->name), w->text,
                    e == ERR_EXISTS ? "; choose another address" : "");
}

static enum err get_socket(struct super_listener *s, const struct super_listeners *old, const struct conf_listen *l,
                           struct listen_activated *activated, struct why *w) {
    const struct super_listener *before = find(old, s->asked);
    if (before) {
        s->fd = before->fd;
        s->file = before->file;
        s->taken = true;
        s->kept = strcmp(before->name, s->name) == 0 && before->http == s->http;
        snprintf(s->actual, sizeof s->actual, "%s", before->actual);
        return OK;
    }
    s->fd = listen_activated_take(activated, l->name, &l->address);
    if (s->fd >= 0)
        return OK;
    enum err e = listen_open(&l->address, &s->fd, w);
    s->file = e == OK && l->address.kind == CONF_ADDRESS_UNIX;
    return e;
}

static enum err prepare_one(struct super_listener *s, const struct super_listeners *old, struct conf *c,
                            struct conf_listen *l, struct listen_activated *activated, struct why *w) {
    struct buf text = BUF(SUPER_LISTEN_ADDRESS - 1);
    *s = (struct super_listener){.http = l->protocol == CONF_PROTOCOL_HTTP};
    snprintf(s->name, sizeof s->name, "%.*s", STR_ARG(l->name));
    conf_address_put(&text, &l->address);
    put_text(s->asked, &text);
    enum err e = get_socket(s, old, l, activated, w);
    if (e == OK && !s->actual[0]) {
        buf_reset(&text);
        listen_address(s->fd, &text);
        put_text(s->actual, &text);
    }
    if (e == OK && l->address.kind == CONF_ADDRESS_IP && strcmp(s->asked, s->actual) != 0)
        e = conf_listen_set(c, l, S("address"), str_of(s->actual), "the system's choice", NULL);
    buf_free(&text);
    return e;
}

bool super_listen_prepare(struct super_listeners *next, const struct super_listeners *old, struct conf *c,
                          struct listen_activated *activated, struct conf_errors *errors, enum err *first) {
    bool ok = true;
    next->count = 0;
    for (size_t i = 0; i < c->listen_count; i++) {
        struct why w = {0};
        enum err e = prepare_one(&next->list[next->count], old, c, &c->listens[i], activated, &w);
        if (e == OK) {
            next->count++;
            continue;
        }
        complain(errors, c, &c->listens[i], e, &w);
        if (*first == OK)
            *first = e;
        ok = false;
    }
    if (!ok)
        super_listen_abandon(next);
    return ok;
}

static void close_one(struct super_listener *s) {
    close(s->fd);
    if (s->file)
        unlink(s->actual + sizeof "unix:" - 1);
}

void super_listen_abandon(struct super_listeners *next) {
    for (size_t i = 0; i < next->count; i++)
        if (!next->list[i].taken)
            close_one(&next->list[i]);
    next->count = 0;
}

void super_listen_commit(struct super_listeners *now, struct super_listeners *next) {
    for (size_t i = 0; i < now->count; i++) {
        bool lives = false;
        for (size_t j = 0; j < next->count; j++)
            lives |= next->list[j].fd == now->list[i].fd;
        if (!lives)
            close_one(&now->list[i]);
    }
    memcpy(now->list, next->list, next->count * sizeof now->list[0]); /* the rest was never touched: no memory for it */
    now->count = next->count;
}

void super_listen_close(struct super_listeners *now) {
    for (size_t i = 0; i < now->count; i++)
        close_one(&now->list[i]);
    now->count = 0;
}
