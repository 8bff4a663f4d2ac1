/* store_queue_inside.h - what the files of the queue's host share; "sq" in the names.
 *   store_queue.c         its life, news of the store, running, operators
 *   store_queue_rule.c    the configuration's words as options and rules of the queue
 *   store_queue_mail.c    messages: their entries, those kept in memory, what their senders are still to be told
 *   store_queue_job.c     a job: read, given to a worker, ended; what came of it
 *   store_queue_worker.c  workers: their frames, the sites they look up
 *   store_queue_report.c  what is too old or late; jobs that report it
 *   store_queue_open.c    the start: what is not over, and what an earlier process left in doubt */
#ifndef ROLE_STORE_QUEUE_INSIDE_H
#define ROLE_STORE_QUEUE_INSIDE_H

#include "base/list.h"
#include "base/map.h"
#include "queue/queue.h"
#include "role/store_queue.h"
#include "store/job_read.h"
#include "sys/link.h"
#include "sys/log.h"

enum {
    ACTIVE_MAX = 1000,          /* jobs at a time: each has a window of a body on its way */
    REPORTS_MAX = 20,           /* of them, reports */
    LOOKS_MAX = 1000,           /* records read to learn what a sender wants, at a time */
    REPORT_AGAIN_MS = 60000,    /* after a report that did not come to be */
    TRANSCRIPT_MAX = 64 * 1024, /* of an attempt */
    TEXT_MAX = 1000,
    FRESH_MAX = 64 * 1024 * 1024, /* bytes of new messages kept in memory for their first jobs */
    FRESH_MS = 10000,             /* one that had no job by then makes room for a newer one */
    REPORT_RCPTS = 1000,
    QUEUED_MAX = 4 * LINK_WINDOW, /* a worker further behind gets no more jobs */
};

struct mail {
    uint64_t num;
    struct journal_place place;
    uint32_t entries; /* of it in the queue */
    uint32_t holds;   /* jobs, outcomes and looks that know it */
    struct list owed; /* struct owed */
    struct list due;  /* in q->due or q->later while something is owed and no report is on its way */
    struct list jobs; /* struct job, by of_mail */
    uint64_t due_ms;
    char *id; /* once a report was begun */
    bool reporting;
    uint32_t active;     /* of its entries: in jobs */
    struct fresh *fresh; /* NULL: its record must be read */
};

/* A new message is handed on from memory: what was just written is not read again. */
struct fresh {
    struct list node; /* in q->fresh, the oldest first */
    struct mail *mail;
    struct record record;
    struct buf body;
    size_t bytes;
    uint64_t since_ms;
    char space[];
};

/* What a sender is still to be told of one recipient. */
struct owed {
    struct list node;
    uint32_t index, code;
    enum job_outcome what;
    uint64_t at_ms;
    str text, host;
    char space[];
};

struct result {
    enum job_outcome outcome; /* 0: none yet */
    uint32_t code;
    enum job_outcome owed;
    bool gone; /* an operator was faster */
    char *text;
};

struct job {
    struct job_read read; /* first */
    struct store_queue *q;
    struct mail *mail;
    struct list node, of_mail; /* of its worker, or q->parked */
    struct queue_worker *worker;
    struct result *results;
    uint64_t intent;
    uint64_t started_us;
    bool reading, asked, gone, ending, ended, moved; /* asked: an intent is being written; gone: GO was sent */
    bool look;
    enum job_outcome looking_for;
    struct buf transcript, done; /* done: the encoded JOB_DONE */
    size_t texts_used;
    char texts[];
};

struct site_ask {
    struct list node;
    uint64_t tag;
    struct queue_worker *worker; /* NULL: there is none */
    size_t n;
    char domain[];
};

struct queue_worker {
    struct list node;
    struct store_queue *q;
    void *peer;
    enum role role;
    struct list jobs;
    size_t job_count;
};

struct store_queue {
    struct store_queue_ops ops;
    void *arg;
    const struct conf *conf;
    struct store *store;
    struct queue *queue;
    struct map mails, jobs, asked, ids; /* ids: of mails of which a report was begun */
    struct list workers, parked, asks, due, later, fresh;
    size_t fresh_bytes;
    struct arena arena;
    uint64_t next_report; /* numbers of report jobs: their top bit is set */
    size_t job_count, report_count, look_count;
    struct buf postmaster;
    bool full, draining, stuck; /* stuck: a worker must read first */
};

static inline uint64_t sq_now(const struct store_queue *q) { /* wall clock, ms */
    return q->ops.now_ms(q->arg);
}

void sq_look_at_fill(struct store_queue *q); /* after the queue grew or shrank: full or not full is told */

/* ---- rules ---- */
queue_rule_of sq_rule_of;
uint64_t sq_wait_ms(str word); /* "5m"; 0: none */
struct queue_options sq_options(const struct conf *c, uint64_t seed);
void sq_take_postmaster(struct store_queue *q);

/* ---- messages ---- */
struct mail *sq_mail_new(struct store_queue *q, uint64_t num,
                         const struct journal_place *place); /* or the one there is */
void sq_mail_settle(struct store_queue *q, struct mail *m);  /* frees it when nothing is left of it */
void sq_fresh_keep(struct store_queue *q, struct mail *m,
                   const struct store_accepted *a); /* takes a->body if there is room */
void sq_fresh_drop(struct store_queue *q, struct mail *m);
void sq_enter(struct store_queue *q, struct mail *m, const struct queue_entry *e);
void sq_leave(struct store_queue *q, struct mail *m, uint32_t index);
uint64_t sq_expiry(const struct store_queue *q, uint64_t given_ms, uint64_t created_ms,
                   str sender); /* given 0: by the configuration */
void sq_owe(struct store_queue *q, struct mail *m, uint32_t index, enum job_outcome what, uint32_t code, str text,
            str host, uint64_t at_ms);
void sq_owed_free(struct owed *o);
/* It is over in another way than its sender was to be told. */
void sq_forget_owed(struct mail *m, uint32_t index, bool late);

/* ---- jobs ---- */
struct job *sq_job_new(struct store_queue *q, struct mail *m, uint64_t number, size_t rcpts,
                       size_t room);    /* room: for sq_keep_text() */
str sq_keep_text(struct job *j, str s); /* a job's texts are its own: a thread reads them */
void sq_job_free(struct job *j);
void sq_job_end(struct job *j); /* its worker is done with it, or gone; it lives until its outcome is written */
bool sq_is_report(const struct job *j);
str sq_job_id(const struct job *j);
void sq_send_job(struct job *j, const struct frame *f); /* to its worker, if it has one */
void sq_cancel(struct job *j, enum err e, const char *text);
void sq_read_on(struct job *j);
void sq_give(struct job *j, struct queue_worker *k); /* NULL: parked until there is one */
void sq_deliver(struct store_queue *q, const struct queue_want *w, struct queue_worker *k); /* NULL: the least busy */
enum job_outcome sq_owed_for(const struct job *j, size_t i,
                             enum job_outcome outcome); /* what the sender is to be told, 0: nothing */
bool sq_may_tell(const struct job *j, const struct job_rcpt *r, enum job_outcome what);
void sq_count(const struct job *j, const struct outcome_row *r); /* log and metrics */
void sq_put_outcome(struct job *j, const struct outcome *o);

/* ---- workers ---- */
enum role sq_role_of(uint8_t kind); /* of the workers that take this kind of job */
struct queue_worker *sq_worker_for(struct store_queue *q, enum role role); /* NULL: there is none */
void sq_ask_site(struct store_queue *q, const struct queue_want *w);
void sq_ask_worker(struct store_queue *q, struct site_ask *a);

/* ---- too old, late, reports ---- */
void sq_look(struct store_queue *q, const struct queue_want *w, enum job_outcome what); /* EXPIRED or LATE */
void sq_look_end(struct job *j);
void sq_report_due(struct store_queue *q);
void sq_report_end(struct job *j);

#endif
