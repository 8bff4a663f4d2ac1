#include "role/store_queue_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void job_finish(struct job *j);

/* ---- jobs: their life ---- */

/* A job's texts are its own: a thread reads them. */
str sq_keep_text(struct job *j, str s) {
    char *p = j->texts + j->texts_used;
    if (s.n)
        memcpy(p, s.p, s.n);
    j->texts_used += s.n;
    return str_n(p, s.n);
}

struct job *sq_job_new(struct store_queue *q, struct mail *m, uint64_t number, size_t rcpts, size_t room) {
    struct job *j = calloc(1, sizeof(*j) + room + q->postmaster.n);
    if (!j)
        return NULL;
    j->read.rcpts = calloc(rcpts, sizeof(*j->read.rcpts));
    j->results = calloc(rcpts, sizeof(*j->results));
    if (!j->read.rcpts || !j->results || !map_put(&q->jobs, number, j)) {
        free(j->read.rcpts);
        free(j->results);
        free(j);
        return NULL;
    }
    j->q = q;
    j->mail = m;
    j->read.job = number;
    j->read.num = m->num;
    j->read.rcpt_count = rcpts;
    j->read.postmaster = sq_keep_text(j, buf_str(&q->postmaster));
    j->transcript = BUF(TRANSCRIPT_MAX);
    j->done = BUF(FRAME_MAX + 16);
    list_init(&j->node);
    list_add_tail(&m->jobs, &j->of_mail);
    m->holds++;
    q->job_count++;
    return j;
}

void sq_job_free(struct job *j) {
    struct store_queue *q = j->q;
    struct mail *m = j->mail;
    (void)map_remove(&q->jobs, j->read.job);
    for (size_t i = 0; i < j->read.rcpt_count; i++)
        free(j->results[i].text);
    list_remove(&j->node);
    list_remove(&j->of_mail);
    buf_free(&j->read.out);
    buf_free(&j->transcript);
    buf_free(&j->done);
    free(j->read.rcpts);
    free(j->results);
    free(j);
    m->holds--;
    q->job_count--;
    sq_mail_settle(q, m);
    q->ops.soon(q->arg);
}

static void job_detach(struct job *j) {
    if (j->worker)
        j->worker->job_count--;
    j->worker = NULL;
    list_remove(&j->node);
}

bool sq_is_report(const struct job *j) {
    return j->read.kind == JOB_REPORT;
}

str sq_job_id(const struct job *j) {
    return str_n(j->read.id, j->read.id[0] ? ID_SIZE : 0);
}

void sq_send_job(struct job *j, const struct frame *f) {
    if (j->worker)
        j->q->ops.send(j->worker->peer, f);
}

void sq_cancel(struct job *j, enum err e, const char *text) {
    struct frame f = {.type = FRAME_JOB_CANCEL,
                      .job_cancel = {j->read.job, (uint8_t)e, str_head(str_of(text), TEXT_MAX)}};
    sq_send_job(j, &f);
}
/* ---- jobs: reading ---- */

static void read_done(struct task *t, void *context);

void sq_read_on(struct job *j) {
    j->reading = true;
    j->read.place = j->mail->place;
    j->read.task = (struct task){.run = job_read_run, .done = read_done};
    store_read(j->q->store, &j->read.task);
}

static void read_failed(struct job *j) {
    bool again = !j->moved && j->read.place.epoch != j->mail->place.epoch;
    if (again && !j->ending) { /* compaction was faster */
        j->moved = true;
        sq_read_on(j);
        return;
    }
    log_event(EV_QUEUE_UNREADABLE, LOG_STR("id", sq_job_id(j)), LOG_NUM("message", j->read.num), LOG_WHY(&j->read.why),
              LOG_END);
    if (j->read.begin)
        sq_job_end(j); /* the worker knows nothing of it */
    else
        sq_cancel(j, j->read.e, "the message cannot be read");
}

static void remember_id(struct job *j) {
    struct mail *m = j->mail;
    if (m->id || !(m->id = malloc(ID_SIZE)))
        return;
    memcpy(m->id, j->read.id, ID_SIZE);
    bool put = map_put_str(&j->q->ids, str_n(m->id, ID_SIZE), m);
    assert(put); /* a report that is not recognized would be made again */
}

static void read_done(struct task *t, void *context) {
    struct job *j = (struct job *)t;
    struct frame f;
    (void)context;
    j->reading = false;
    if (j->look) {
        sq_look_end(j);
        return;
    }
    if (j->read.e && !j->ending) {
        read_failed(j);
        return;
    }
    if (sq_is_report(j) && !j->read.e)
        remember_id(j);
    if (!j->ending)
        for (str frames = buf_str(&j->read.out); frames.n && frame_take(&frames, &f) == OK;)
            sq_send_job(j, &f);
    j->read.begin = false;
    buf_free(&j->read.out);
    if (j->ending)
        job_finish(j);
    else if (j->read.grant && j->read.sent < j->read.size)
        sq_read_on(j);
}
/* ---- jobs: to a worker ---- */

enum role sq_role_of(uint8_t kind) {
    return kind == JOB_REPORT ? ROLE_SMTPD : kind == JOB_WEBHOOK ? ROLE_FILTER : ROLE_DELIVERY;
}

struct queue_worker *sq_worker_for(struct store_queue *q, enum role role) {
    struct queue_worker *best = NULL;
    LIST_EACH(&q->workers, node) {
        struct queue_worker *k = LIST_ENTRY(node, struct queue_worker, node);
        if (k->role == role && (!best || k->job_count < best->job_count))
            best = k;
    }
    return best;
}

static void put_fresh(struct job_read *r, const struct frame *f) {
    sq_send_job((struct job *)r, f);
}

static void hand_on(struct job *j) {
    struct mail *m = j->mail;
    j->read.put = put_fresh;
    job_read_fresh(&j->read, &m->fresh->record, &j->q->arena);
    if (j->read.e) {
        read_failed(j);
        return;
    }
    j->read.begin = false;
    if (m->active >= m->entries)
        sq_fresh_drop(j->q, m);
    if (sq_is_report(j))
        remember_id(j);
    if (j->read.grant && j->read.sent < j->read.size)
        sq_read_on(j);
}

void sq_give(struct job *j, struct queue_worker *k) {
    list_remove(&j->node);
    j->worker = k;
    list_add_tail(k ? &k->jobs : &j->q->parked, &j->node);
    if (!k)
        return;
    k->job_count++;
    j->started_us = sq_now(j->q) * 1000;
    j->read.begin = true;
    j->read.grant = JOB_WINDOW;
    if (j->mail->fresh)
        hand_on(j);
    else
        sq_read_on(j);
    j->q->stuck |= j->q->ops.queued(k->peer) > QUEUED_MAX;
}

void sq_deliver(struct store_queue *q, const struct queue_want *w, struct queue_worker *k) {
    struct mail *m = map_get(&q->mails, w->num);
    struct job *j = m ? sq_job_new(q, m, w->job, w->index_count, w->next_hop.n + w->route.n + w->site.n) : NULL;
    if (!j) {
        queue_done(q->queue, w->job, JOB_OURS, sq_now(q));
        return;
    }
    j->read.kind = (uint8_t)w->job_kind;
    j->read.next_hop = sq_keep_text(j, w->next_hop);
    j->read.route = sq_keep_text(j, w->route);
    j->read.site = sq_keep_text(j, w->site);
    j->read.body_max = UINT64_MAX;
    for (size_t i = 0; i < w->index_count; i++)
        j->read.rcpts[i].index = w->indices[i];
    m->active += (uint32_t)w->index_count;
    sq_give(j, k ? k : sq_worker_for(q, sq_role_of(j->read.kind)));
}
/* ---- what came of it ---- */

/* A message with the null sender is never answered (RFC 5321 6.1): the postmaster gets what cannot be returned, but
 * never about what could not be brought to him. */
bool sq_may_tell(const struct job *j, const struct job_rcpt *r, enum job_outcome what) {
    unsigned bit = what == JOB_FAILED || what == JOB_EXPIRED ? JOB_WANTS_FAILURE
                   : what == JOB_LATE                        ? JOB_WANTS_DELAY
                                                             : JOB_WANTS_SUCCESS;
    if (j->read.has_sender)
        return r->wants & bit;
    return bit == JOB_WANTS_FAILURE && j->q->postmaster.n && !r->to_postmaster;
}

static bool makes_its_own(uint8_t kind) { /* the server it went to is asked to report */
    return kind == JOB_RELAY || kind == JOB_SMARTHOST;
}

enum job_outcome sq_owed_for(const struct job *j, size_t i, enum job_outcome outcome) {
    bool tell = outcome == JOB_FAILED || outcome == JOB_EXPIRED || outcome == JOB_RELAYED || outcome == JOB_EXPANDED ||
                (outcome == JOB_DELIVERED && !makes_its_own(j->read.kind));
    return tell && sq_may_tell(j, &j->read.rcpts[i], outcome) ? outcome : (enum job_outcome)0;
}

void sq_count(const struct job *j, const struct outcome_row *r) {
    static const enum event_id events[] = {
        [JOB_DELIVERED] = EV_QUEUE_DELIVERED, [JOB_RELAYED] = EV_QUEUE_DELIVERED, [JOB_EXPANDED] = EV_QUEUE_DELIVERED,
        [JOB_DEFERRED] = EV_QUEUE_DEFERRED,   [JOB_FAILED] = EV_QUEUE_BOUNCED,    [JOB_EXPIRED] = EV_QUEUE_EXPIRED,
        [JOB_UNKNOWN] = EV_QUEUE_UNKNOWN};
    if ((size_t)r->outcome >= sizeof(events) / sizeof(events[0]) || !events[r->outcome])
        return;
    log_event(events[r->outcome], LOG_STR("id", sq_job_id(j)), LOG_NUM("recipient", r->index),
              LOG_STR("site", j->read.site), LOG_NUM("code", r->code), LOG_STR("text", r->text), LOG_END);
    if (r->outcome == JOB_FAILED && !j->read.has_sender && !r->owed)
        log_event(EV_QUEUE_DOUBLE_BOUNCE, LOG_STR("id", sq_job_id(j)), LOG_END);
}

static struct outcome_row row_of(struct job *j, size_t i, enum job_outcome fallback, str text) {
    struct store_queue *q = j->q;
    struct result *s = &j->results[i];
    struct queue_entry_state was = {0};
    (void)queue_look(q->queue, j->read.num, j->read.rcpts[i].index, &was);
    if (!s->outcome)
        s->outcome = fallback;
    struct outcome_row r = {.index = j->read.rcpts[i].index,
                            .attempts = was.attempts + 1,
                            .code = s->code,
                            .outcome = s->outcome,
                            .text = s->text ? str_of(s->text) : str_head(text, TEXT_MAX)};
    r.next_ms = queue_result(q->queue, j->read.job, r.index, r.outcome, sq_now(q));
    r.owed = s->owed = sq_owed_for(j, i, r.outcome);
    bool again = r.outcome == JOB_DEFERRED || r.outcome == JOB_UNKNOWN;
    j->mail->entries -= !again;
    r.state = r.outcome == JOB_DEFERRED  ? QUEUE_WAITING
              : r.outcome == JOB_UNKNOWN ? QUEUE_UNKNOWN
              : r.outcome != JOB_FAILED  ? QUEUE_DELIVERED
              : r.owed                   ? QUEUE_REPORTING
                                         : QUEUE_BOUNCED;
    sq_count(j, &r);
    return r;
}

void sq_put_outcome(struct job *j, const struct outcome *o) {
    enum err e = store_outcome(j->q->store, j, o);
    if (e == ERR_LIMIT) { /* too long for a record: without what was said */
        struct outcome less = *o;
        less.transcript = STR_NONE;
        e = store_outcome(j->q->store, j, &less);
    }
    assert(e == OK); /* better to end: it is unknown, then, and not forgotten */
}

static struct frame_job_done done_of(const struct job *j) {
    struct frame f;
    str s = buf_str(&j->done);
    if (s.n && frame_take(&s, &f) == OK)
        return f.job_done;
    return (struct frame_job_done){.trouble = JOB_OURS,
                                   .text = S("the process that delivered it ended"),
                                   .started_us = j->started_us,
                                   .ended_us = sq_now(j->q) * 1000};
}

static void job_finish(struct job *j) {
    struct store_queue *q = j->q;
    if (j->reading || j->asked || j->ended)
        return;
    j->ended = true;
    if (sq_is_report(j)) {
        sq_report_end(j);
        return;
    }
    struct frame_job_done d = done_of(j);
    struct outcome o = {.num = j->read.num,
                        .intent = j->intent,
                        .cause = OUTCOME_ATTEMPT,
                        .trouble = (enum job_trouble)d.trouble,
                        .started_us = d.started_us,
                        .ended_us = d.ended_us,
                        .text = d.text,
                        .host = d.host,
                        .address = d.address,
                        .tls = d.tls,
                        .source = d.source,
                        .transcript = buf_str(&j->transcript)};
    o.rows = calloc(j->read.rcpt_count + 1, sizeof(*o.rows));
    assert(o.rows);
    for (size_t i = 0; i < j->read.rcpt_count; i++)
        if (!j->results[i].gone)
            o.rows[o.row_count++] = row_of(j, i, j->gone ? JOB_UNKNOWN : JOB_DEFERRED, d.text);
    sq_put_outcome(j, &o);
    free(o.rows);
    j->mail->active -= (uint32_t)j->read.rcpt_count;
    queue_done(q->queue, j->read.job, (enum job_trouble)d.trouble, sq_now(q));
    sq_look_at_fill(q);
}

void sq_job_end(struct job *j) {
    j->ending = true;
    job_detach(j);
    job_finish(j);
}

/* Written: now its sender may be told. */
void store_queue_outcome_done(void *owner) {
    struct job *j = owner;
    if (!j)
        return; /* of an earlier process */
    struct frame_job_done d = done_of(j);
    for (size_t i = 0; i < j->read.rcpt_count; i++) {
        struct result *s = &j->results[i];
        bool over = s->outcome != JOB_DEFERRED && s->outcome != JOB_UNKNOWN;
        if (over && !s->gone)
            sq_forget_owed(j->mail, j->read.rcpts[i].index, true);
        if (s->owed && !s->gone)
            sq_owe(j->q, j->mail, j->read.rcpts[i].index, s->owed, s->code, s->text ? str_of(s->text) : STR_NONE,
                   d.host, sq_now(j->q));
    }
    if (j->look)
        j->q->look_count--;
    sq_job_free(j);
}

void store_queue_intent_done(void *owner, enum err e, uint64_t seq) {
    struct job *j = owner;
    j->asked = false;
    j->intent = e ? 0 : seq;
    if (j->ending) {
        job_finish(j);
        return;
    }
    if (e) {
        sq_cancel(j, e, "the intent could not be written");
        return;
    }
    j->gone = true;
    struct frame f = {.type = FRAME_JOB_GO, .job_go = {j->read.job}};
    sq_send_job(j, &f);
}
