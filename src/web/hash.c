#include "web/hash.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/list.h"
#include "sys/link.h"

struct hashing {
    struct list node;
    uint32_t tag;
    void (*done)(void *arg, enum err e, str credential);
    void *arg;
};

static struct {
    struct event_base *base;
    struct event *fail;
    struct link *link;
    struct list waiting, lost;
    uint32_t last_tag;
} hash;

static void finish(struct hashing *h, enum err e, str credential) {
    list_remove(&h->node);
    h->done(h->arg, e, credential);
    free(h);
}

static void on_fail(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    while (!list_empty(&hash.lost))
        finish(LIST_ENTRY(list_first(&hash.lost), struct hashing, node), ERR_DOWN, STR_NONE);
}

static void on_frame(void *arg, struct link *l, const struct frame *f, int fd) {
    (void)arg, (void)l;
    if (fd >= 0)
        close(fd);
    LIST_EACH(&hash.waiting, node) {
        struct hashing *h = LIST_ENTRY(node, struct hashing, node);
        if (f->type == FRAME_HASHED && h->tag == f->hashed.tag) {
            finish(h, (enum err)f->hashed.err, f->hashed.credential);
            return;
        }
    }
}

static void lose_all(void) {
    LIST_EACH_SAFE(&hash.waiting, node) {
        list_remove(node);
        list_add_tail(&hash.lost, node);
    }
    event_active(hash.fail, EV_TIMEOUT, 0);
}

static void on_close(void *arg, struct link *l) {
    (void)arg;
    if (l != hash.link)
        return;
    hash.link = NULL;
    lose_all();
}

void hash_start_all(struct event_base *base) {
    hash.base = base;
    list_init(&hash.waiting);
    list_init(&hash.lost);
    hash.fail = evtimer_new(base, on_fail, NULL);
    assert(hash.fail);
}

void hash_link(int fd) {
    static const struct link_ops ops = {.on_frame = on_frame, .on_close = on_close};
    if (hash.link) {
        link_close(hash.link);
        lose_all();
    }
    hash.link = link_open(hash.base, fd, FRAME_FROM_KEYD, &ops, NULL);
    assert(hash.link);
}

void hash_stop_all(void) {
    if (hash.link)
        link_close(hash.link);
    hash.link = NULL;
    lose_all();
    on_fail(-1, 0, NULL);
    event_free(hash.fail);
}

void hash_ask(str password, void (*done)(void *arg, enum err e, str credential), void *arg) {
    struct hashing *h = calloc(1, sizeof *h);
    assert(h);
    *h = (struct hashing){.tag = ++hash.last_tag, .done = done, .arg = arg};
    if (hash.link && password.n <= 1024) {
        list_add_tail(&hash.waiting, &h->node);
        link_send(hash.link, &(struct frame){.type = FRAME_HASH, .hash = {h->tag, password}});
        return;
    }
    list_add_tail(&hash.lost, &h->node);
    event_active(hash.fail, EV_TIMEOUT, 0);
}
