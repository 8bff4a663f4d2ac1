/* thread.h - a thread that runs tasks one by one, and the way their results come back to the thread of the loop.
 * A task belongs to the worker from worker_push() until its `done` is called by outbox_run(). */
#ifndef STORE_THREAD_H
#define STORE_THREAD_H

#include <pthread.h>

#include "base/err.h"
#include "base/list.h"

struct task {
    struct list node;
    void (*run)(struct task *t, void *context);  /* in the worker */
    void (*done)(struct task *t, void *context); /* in the loop's thread, with the outbox's context */
};

struct outbox {
    pthread_mutex_t lock;
    struct list tasks;
    int fd; /* an eventfd: readable when something waits */
    void *context;
};

enum err outbox_open(struct outbox *o, void *context, struct why *w) MUST_CHECK;
void outbox_close(struct outbox *o);
void outbox_put(struct outbox *o, struct task *t);
void outbox_run(struct outbox *o); /* calls `done` of all that wait */

struct worker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct list tasks;
    struct outbox *outbox;
    void *context;
    bool running, stop;
};

enum err worker_start(struct worker *k, struct outbox *o, void *context, struct why *w) MUST_CHECK;
void worker_push(struct worker *k, struct task *t);
void worker_stop(struct worker *k); /* runs what was pushed, then ends the thread */

/* A thread with a small stack and no signals. */
enum err thread_start(pthread_t *t, void *(*body)(void *), void *arg, struct why *w) MUST_CHECK;

#endif
