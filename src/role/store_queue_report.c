#include "role/store_queue_inside.h"

#include <assert.h>
#include <stdlib.h>

/* ---- too old, and late ---- */

void sq_look(struct store_queue *q, const struct queue_want *w, enum job_outcome what) {
    struct mail *m = map_get(&q->mails, w->num);
    uint64_t number = ++q->next_report | UINT64_C(1) << 63;
    struct job *j = m ? sq_job_new(q, m, number, w->index_count, 0) : NULL;
    if (!j)
        return;
    j->look = j->read.look = true;
    j->looking_for = what;
    for (size_t i = 0; i < w->index_count; i++) {
        j->read.rcpts[i].index = w->indices[i];
        if (what == JOB_EXPIRED) {
            struct queue_entry_state was = {0};
            (void)queue_look(q->queue, m->num, w->indices[i], &was);
            j->read.rcpts[i].code = was.attempts;
            sq_leave(q, m, w->indices[i]);
        }
    }
    q->look_count++;
    sq_read_on(j);
}

static void owe_late(struct job *j) {
    for (size_t i = 0; i < j->read.rcpt_count; i++) {
        struct job_rcpt *r = &j->read.rcpts[i];
        struct queue_entry_state is;
        bool waits = queue_look(j->q->queue, j->read.num, r->index, &is);
        if (!j->read.e && waits && sq_may_tell(j, r, JOB_LATE))
            sq_owe(j->q, j->mail, r->index, JOB_LATE, 0, STR_NONE, STR_NONE, sq_now(j->q));
    }
    j->q->look_count--;
    sq_job_free(j);
}

/* One that cannot be read is returned without being asked: its sender's wishes are in what cannot be read. */
void sq_look_end(struct job *j) {
    if (j->looking_for == JOB_LATE) {
        owe_late(j);
        return;
    }
    struct outcome o = {.num = j->read.num, .cause = OUTCOME_CLOCK, .started_us = sq_now(j->q) * 1000};
    o.rows = calloc(j->read.rcpt_count, sizeof(*o.rows));
    assert(o.rows);
    for (size_t i = 0; i < j->read.rcpt_count; i++) {
        struct result *s = &j->results[i];
        if (s->gone)
            continue;
        s->outcome = JOB_EXPIRED;
        s->owed = sq_owed_for(j, i, JOB_EXPIRED);
        o.rows[o.row_count] = (struct outcome_row){.index = j->read.rcpts[i].index,
                                                   .attempts = j->read.rcpts[i].code,
                                                   .outcome = JOB_EXPIRED,
                                                   .owed = s->owed,
                                                   .state = s->owed ? QUEUE_REPORTING : QUEUE_EXPIRED};
        sq_count(j, &o.rows[o.row_count++]);
    }
    j->ended = true;
    sq_put_outcome(j, &o);
    free(o.rows);
    sq_look_at_fill(j->q);
}

/* ---- reports ---- */

/* The end of a report that brought nothing: another time. */
void sq_report_end(struct job *j) {
    struct store_queue *q = j->q;
    struct mail *m = j->mail;
    q->report_count--;
    m->reporting = false;
    if (!list_empty(&m->owed)) {
        m->due_ms = sq_now(q) + REPORT_AGAIN_MS;
        list_remove(&m->due);
        list_add_tail(&q->later, &m->due);
    }
    sq_job_free(j);
}

/* All that is owed of one kind: late, or over.  What is over goes first. */
static struct job *report_new(struct store_queue *q, struct mail *m) {
    size_t all = 0, late = 0, room = 0;
    LIST_EACH(&m->owed, node) {
        struct owed *o = LIST_ENTRY(node, struct owed, node);
        all++;
        late += o->what == JOB_LATE;
        room += o->text.n + o->host.n;
    }
    bool only_late = late == all;
    size_t n = only_late ? late : all - late, i = 0;
    n = n < REPORT_RCPTS ? n : REPORT_RCPTS;
    struct job *j = sq_job_new(q, m, ++q->next_report | UINT64_C(1) << 63, n, room);
    if (!j)
        return NULL;
    LIST_EACH(&m->owed, node) {
        struct owed *o = LIST_ENTRY(node, struct owed, node);
        if (i == n || (o->what == JOB_LATE) != only_late)
            continue;
        j->read.rcpts[i++] = (struct job_rcpt){.index = o->index,
                                               .state = (uint8_t)o->what,
                                               .code = o->code,
                                               .at_ms = o->at_ms,
                                               .text = sq_keep_text(j, o->text),
                                               .host = sq_keep_text(j, o->host)};
    }
    j->read.kind = JOB_REPORT;
    j->read.body_max = q->conf->bounce_size_max;
    return j;
}

void sq_report_due(struct store_queue *q) {
    uint64_t now = sq_now(q);
    LIST_EACH_SAFE(&q->later, node) {
        struct mail *m = LIST_ENTRY(node, struct mail, due);
        if (m->due_ms > now)
            break;
        list_remove(node);
        list_add_tail(&q->due, node);
    }
    while (q->report_count < REPORTS_MAX && !list_empty(&q->due) && !q->draining) {
        struct queue_worker *k = sq_worker_for(q, ROLE_SMTPD);
        struct mail *m = LIST_ENTRY(list_first(&q->due), struct mail, due);
        struct job *j = k ? report_new(q, m) : NULL;
        if (!j)
            return; /* no smtpd yet, or no memory: at the next run */
        list_remove(&m->due);
        m->reporting = true;
        q->report_count++;
        sq_give(j, k);
    }
}
