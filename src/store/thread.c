#include "store/thread.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { STACK = 512 * 1024 };

enum err thread_start(pthread_t *t, void *(*body)(void *), void *arg, struct why *w) {
    pthread_attr_t attr;
    sigset_t all, old;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int r = pthread_create(t, &attr, body, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return r ? why(w, ERR_NOMEM, "cannot start a thread: %s", strerror(r)) : OK;
}

enum err outbox_open(struct outbox *o, void *context, struct why *w) {
    list_init(&o->tasks);
    o->context = context;
    pthread_mutex_init(&o->lock, NULL);
    o->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return o->fd < 0 ? why(w, ERR_IO, "eventfd: %s", strerror(errno)) : OK;
}

void outbox_close(struct outbox *o) {
    if (o->fd >= 0)
        close(o->fd);
    o->fd = -1;
}

void outbox_put(struct outbox *o, struct task *t) {
    pthread_mutex_lock(&o->lock);
    bool first = list_empty(&o->tasks);
    list_add_tail(&o->tasks, &t->node);
    pthread_mutex_unlock(&o->lock);
    uint64_t one = 1;
    while (first && write(o->fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

static struct task *take(pthread_mutex_t *lock, struct list *tasks) {
    pthread_mutex_lock(lock);
    struct list *n = list_first(tasks);
    if (n)
        list_remove(n);
    pthread_mutex_unlock(lock);
    return n ? LIST_ENTRY(n, struct task, node) : NULL;
}

void outbox_run(struct outbox *o) {
    uint64_t count;
    while (read(o->fd, &count, sizeof(count)) < 0 && errno == EINTR)
        ;
    for (struct task *t; (t = take(&o->lock, &o->tasks));)
        t->done(t, o->context);
}

static void *work(void *arg) {
    struct worker *k = arg;
    for (;;) {
        pthread_mutex_lock(&k->lock);
        while (list_empty(&k->tasks) && !k->stop)
            pthread_cond_wait(&k->wake, &k->lock);
        bool end = list_empty(&k->tasks);
        pthread_mutex_unlock(&k->lock);
        if (end)
            return NULL;
        struct task *t = take(&k->lock, &k->tasks);
        t->run(t, k->context);
        outbox_put(k->outbox, t);
    }
}

enum err worker_start(struct worker *k, struct outbox *o, void *context, struct why *w) {
    *k = (struct worker){.outbox = o, .context = context};
    list_init(&k->tasks);
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->wake, NULL);
    enum err e = thread_start(&k->thread, work, k, w);
    k->running = e == OK;
    return e;
}

void worker_push(struct worker *k, struct task *t) {
    pthread_mutex_lock(&k->lock);
    list_add_tail(&k->tasks, &t->node);
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->lock);
}

void worker_stop(struct worker *k) {
    if (!k->running)
        return;
    pthread_mutex_lock(&k->lock);
    k->stop = true;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->lock);
    pthread_join(k->thread, NULL);
    k->running = false;
}
