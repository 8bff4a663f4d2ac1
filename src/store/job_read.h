/* job_read.h - from the journal to a worker: the frames of a job, made in the thread that reads bodies, a window of the
 * body at a time.  Also what the queue's host must know of recipients and does not keep in memory.
 *
 *     fill in what is `in` -> store_read() -> task.done: e, out (frames, to be sent in order), sent, size
 *     again with begin = false and a new grant, until sent == size */
#ifndef STORE_JOB_READ_H
#define STORE_JOB_READ_H

#include "base/arena.h"
#include "base/code.h"
#include "frame/frame.h"
#include "store/body.h"
#include "store/thread.h"

enum { JOB_WANTS_FAILURE = 1, JOB_WANTS_SUCCESS = 2, JOB_WANTS_DELAY = 4 };

struct job_rcpt {
    uint32_t index; /* in */
    uint8_t state;  /* in, of a report: what is told, enum job_outcome, and what was said */
    uint32_t code;
    uint64_t at_ms;
    str text, host;
    uint8_t wants;      /* out: of what its sender wants to be told */
    bool to_postmaster; /* out: it is his address */
};

struct job_read {
    struct task task; /* first; run is job_read_run */
    /* in */
    uint64_t job, num;
    struct journal_place place;
    uint8_t kind; /* enum job_kind */
    str next_hop, route, site, postmaster;
    struct job_rcpt *rcpts;
    size_t rcpt_count;
    bool begin, look; /* begin: what stands before the body, too; look: no frames */
    uint64_t grant, body_max;
    /* in and out */
    uint64_t sent;
    /* out */
    uint64_t size; /* of the body that is sent */
    char id[ID_SIZE];
    bool has_sender;
    void (*put)(struct job_read *j, const struct frame *f); /* NULL: into out */
    struct buf out;
    enum err e;
    struct why why;
};

void job_read_run(struct task *t, void *context); /* context: the struct body_reader */
/* The same at once, of a record that is in memory; frames go to j->put. */
void job_read_fresh(struct job_read *j, const struct record *r, struct arena *a);

#endif
