#include "role/store_queue_inside.h"

#include <stdlib.h>
#include <string.h>

/* ---- sites ---- */

void sq_ask_worker(struct store_queue *q, struct site_ask *a) {
    struct frame f = {.type = FRAME_SITE_ASK, .site_ask = {a->tag, str_n(a->domain, a->n)}};
    a->worker = sq_worker_for(q, ROLE_DELIVERY);
    if (a->worker)
        q->ops.send(a->worker->peer, &f);
}

void sq_ask_site(struct store_queue *q, const struct queue_want *w) {
    struct site_ask *a = calloc(1, sizeof(*a) + w->domain.n);
    if (!a || !map_put(&q->asked, w->tag, a)) {
        free(a);
        queue_site_told(q->queue, w->tag, STR_NONE, true, 0, sq_now(q));
        return;
    }
    a->tag = w->tag;
    a->n = w->domain.n;
    memcpy(a->domain, w->domain.p, w->domain.n);
    list_add_tail(&q->asks, &a->node);
    sq_ask_worker(q, a);
}

/* A domain that has no servers, for good, is a site of its own: its jobs find that out and say so. */
static bool site_told(struct queue_worker *k, const struct frame_site_told *f) {
    struct store_queue *q = k->q;
    struct site_ask *a = map_get(&q->asked, f->tag);
    if (!a || a->worker != k)
        return false;
    bool failed = f->err != OK && f->err != ERR_NOT_FOUND;
    queue_site_told(q->queue, f->tag, f->err == OK ? f->site : STR_NONE, failed, f->ttl_s, sq_now(q));
    (void)map_remove(&q->asked, f->tag);
    list_remove(&a->node);
    free(a);
    q->ops.soon(q->arg);
    return true;
}
/* ---- frames of workers ---- */

struct queue_worker *store_queue_worker(struct store_queue *q, void *peer, enum role role) {
    struct queue_worker *k = calloc(1, sizeof(*k));
    if (!k)
        return NULL;
    *k = (struct queue_worker){.q = q, .peer = peer, .role = role};
    list_init(&k->jobs);
    list_add_tail(&q->workers, &k->node);
    LIST_EACH(&q->asks, node) {
        struct site_ask *a = LIST_ENTRY(node, struct site_ask, node);
        if (!a->worker)
            sq_ask_worker(q, a);
    }
    LIST_EACH_SAFE(&q->parked, node) {
        struct job *j = LIST_ENTRY(node, struct job, node);
        if (sq_role_of(j->read.kind) == role)
            sq_give(j, k);
    }
    q->ops.soon(q->arg);
    return k;
}

void store_queue_unworker(struct queue_worker *k) {
    struct store_queue *q = k->q;
    list_remove(&k->node);
    LIST_EACH_SAFE(&k->jobs, node)
    sq_job_end(LIST_ENTRY(node, struct job, node));
    LIST_EACH(&q->asks, node) {
        struct site_ask *a = LIST_ENTRY(node, struct site_ask, node);
        if (a->worker == k)
            sq_ask_worker(q, a);
    }
    free(k);
    store_queue_drained(q);
}

void store_queue_drained(struct store_queue *q) {
    q->stuck = false;
    q->ops.soon(q->arg);
}

static struct job *job_of(struct queue_worker *k, uint64_t number) {
    struct job *j = map_get(&k->q->jobs, number);
    return j && j->worker == k ? j : NULL;
}

static bool job_more(struct job *j, uint64_t bytes) {
    if (bytes > UINT64_MAX / 2 || j->read.grant > UINT64_MAX / 2)
        return false;
    j->read.grant += bytes;
    if (!j->reading && j->read.sent < j->read.size)
        sq_read_on(j);
    return true;
}

static bool job_intent(struct job *j) {
    struct frame go = {.type = FRAME_JOB_GO, .job_go = {j->read.job}};
    if (j->asked || sq_is_report(j))
        return false;
    if (j->gone) { /* at another host: the same recipients are in doubt */
        sq_send_job(j, &go);
        return true;
    }
    uint32_t *indices = calloc(j->read.rcpt_count, sizeof(*indices));
    struct intent i = {.num = j->read.num, .at_us = sq_now(j->q) * 1000, .host = j->read.site, .indices = indices};
    for (size_t k = 0; indices && k < j->read.rcpt_count; k++)
        if (!j->results[k].outcome && !j->results[k].gone)
            indices[i.count++] = j->read.rcpts[k].index;
    j->asked = true;
    if (!indices || store_intent(j->q->store, j, &i) != OK)
        store_queue_intent_done(j, ERR_NOMEM, 0);
    free(indices);
    return true;
}

static bool job_result(struct job *j, const struct frame_job_result *f) {
    if (f->outcome < JOB_DELIVERED || f->outcome > JOB_EXPANDED)
        return false;
    for (size_t i = 0; i < j->read.rcpt_count; i++) {
        struct result *r = &j->results[i];
        if (j->read.rcpts[i].index != f->index)
            continue;
        str text = str_head(f->text, TEXT_MAX);
        free(r->text);
        r->text = malloc(text.n + 1);
        if (r->text) {
            memcpy(r->text, text.n ? text.p : "", text.n);
            r->text[text.n] = 0;
        }
        r->outcome = (enum job_outcome)f->outcome;
        r->code = f->code;
        return true;
    }
    return false;
}

/* The worker that has just come free with its connection gets the next one of this site. */
static void next_of_site(struct queue_worker *k, const struct job *j) {
    struct store_queue *q = k->q;
    struct queue_want w;
    if (!q->draining && !q->stuck && queue_next_of_site(q->queue, j->read.site, sq_now(q), &w))
        sq_deliver(q, &w, k);
}

static bool job_done(struct queue_worker *k, struct job *j, const struct frame *f) {
    bool again = f->job_done.reusable && !sq_is_report(j);
    frame_put(&j->done, f);
    sq_job_end(j);
    if (again && j->ended)
        next_of_site(k, j);
    k->q->ops.soon(k->q->arg);
    return true;
}

bool store_queue_frame(struct queue_worker *k, const struct frame *f) {
    struct job *j;
    if (f->type == FRAME_SITE_TOLD)
        return site_told(k, &f->site_told);
    switch ((int)f->type) { /* the job is their first field */
    case FRAME_JOB_MORE:
    case FRAME_JOB_INTENT:
    case FRAME_JOB_RESULT:
    case FRAME_JOB_TRANSCRIPT:
    case FRAME_JOB_DONE: j = job_of(k, f->job_more.job); break;
    default: return false;
    }
    if (!j)
        return false;
    switch ((int)f->type) {
    case FRAME_JOB_MORE: return job_more(j, f->job_more.bytes);
    case FRAME_JOB_INTENT: return job_intent(j);
    case FRAME_JOB_RESULT: return job_result(j, &f->job_result);
    case FRAME_JOB_TRANSCRIPT: buf_add(&j->transcript, f->job_transcript.bytes); return true;
    default: return job_done(k, j, f);
    }
}
