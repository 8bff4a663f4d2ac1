#include "role/store_queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "queue/queue.h"
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
    FRESH_MAX = 32 * 1024 * 1024, /* bytes of new messages kept in memory for their first jobs */
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
    char *id;                /* once a report was begun */
    bool reporting, brought; /* brought: its report was accepted */
    uint32_t active;         /* of its entries: in jobs */
    struct fresh *fresh;     /* NULL: its record must be read */
};

/* A new message is handed on from memory: what was just written is not read again. */
struct fresh {
    struct list node; /* in q->fresh, the oldest first */
    struct mail *mail;
    struct record record;
    struct buf body;
    size_t bytes;
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

static uint64_t now_of(const struct store_queue *q) {
    return q->ops.now_ms(q->arg);
}

/* ---- settings ---- */

static bool star_match(str pattern, str s) {
    while (pattern.n && pattern.p[0] != '*') {
        if (!s.n || char_lower(pattern.p[0]) != char_lower(s.p[0]))
            return false;
        pattern = str_tail(pattern, 1);
        s = str_tail(s, 1);
    }
    if (!pattern.n)
        return s.n == 0;
    pattern = str_tail(pattern, 1);
    for (;; s = str_tail(s, 1)) {
        if (star_match(pattern, s))
            return true;
        if (!s.n)
            return false;
    }
}

/* "100/1m": so many in this time. */
static void take_rate(str rate, struct queue_rule *r) {
    static const struct {
        str unit;
        uint64_t ms;
    } units[] = {
        {S_INIT("ms"), 1}, {S_INIT("s"), 1000}, {S_INIT("m"), 60000}, {S_INIT("h"), 3600000}, {S_INIT("d"), 86400000}};
    str count = STR_NONE;
    uint64_t n = 0, per = 0;
    if (!str_cut(&rate, '/', &count) || !str_u64(count, &n))
        return;
    size_t digits = 0;
    while (digits < rate.n && char_is_digit(rate.p[digits]))
        digits++;
    if (digits && !str_u64(str_head(rate, digits), &per))
        return;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (str_eq(str_tail(rate, digits), units[i].unit)) {
            r->rate_count = n;
            r->rate_ms = (digits ? per : 1) * units[i].ms;
        }
}

static bool site_matches(const struct conf_site *b, str site, str domain) {
    for (size_t i = 0; i < b->match.count; i++)
        if (star_match(b->match.list[i], site) || star_match(b->match.list[i], domain))
            return true;
    return false;
}

static struct queue_rule rule_of(void *arg, str site, str domain) {
    const struct conf *c = ((struct store_queue *)arg)->conf;
    struct queue_rule r = {0};
    for (size_t i = 0; i < c->site_count; i++)
        if (site_matches(&c->sites[i], site, domain)) {
            r.window_max = (unsigned)c->sites[i].concurrency;
            r.recipients_max = (unsigned)c->sites[i].recipients;
            take_rate(c->sites[i].rate, &r);
            break;
        }
    return r;
}

static uint64_t wait_ms(str word) {
    struct queue_rule r = {0};
    char text[40];
    size_t n = word.n < sizeof(text) - 3 ? word.n : sizeof(text) - 3;
    memcpy(text, "1/", 2);
    memcpy(text + 2, word.p, n);
    take_rate(str_n(text, n + 2), &r);
    return r.rate_ms;
}

static struct queue_options options_of(const struct conf *c, uint64_t seed) {
    struct queue_options o = {.seed = seed,
                              .window_start = (unsigned)c->site_concurrency_start,
                              .window_max = (unsigned)c->site_concurrency_max,
                              .recipients_max = (unsigned)c->site_recipients_max,
                              .active_max = ACTIVE_MAX,
                              .late_ms = c->queue_delay_notice};
    for (size_t i = 0; i < c->queue_retry.count && o.retry_count < QUEUE_RETRIES_MAX; i++)
        if (wait_ms(c->queue_retry.list[i]))
            o.retry_ms[o.retry_count++] = wait_ms(c->queue_retry.list[i]);
    if (!o.retry_count)
        o.retry_ms[o.retry_count++] = 300000;
    return o;
}

static void take_postmaster(struct store_queue *q) {
    buf_reset(&q->postmaster);
    if (q->conf->postmaster.n)
        buf_add(&q->postmaster, q->conf->postmaster);
    else if (q->conf->domain_count)
        buf_printf(&q->postmaster, "postmaster@%.*s", STR_ARG(q->conf->domains[0].title));
}

struct store_queue *store_queue_new(const struct store_queue_ops *ops, void *arg, const struct conf *c, uint64_t seed) {
    struct queue_options o = options_of(c, seed);
    struct store_queue *q = calloc(1, sizeof(*q));
    if (!q)
        return NULL;
    q->ops = *ops;
    q->arg = arg;
    q->conf = c;
    q->mails = q->jobs = q->asked = q->ids = MAP(seed);
    q->postmaster = BUF(1000);
    list_init(&q->workers);
    list_init(&q->parked);
    list_init(&q->asks);
    list_init(&q->due);
    list_init(&q->later);
    list_init(&q->fresh);
    q->arena = ARENA(256 * 1024 * 1024);
    take_postmaster(q);
    if (queue_new(&q->queue, &o, rule_of, q) == OK)
        return q;
    free(q);
    return NULL;
}

void store_queue_configure(struct store_queue *q, const struct conf *c) {
    struct queue_options o = options_of(c, q->mails.seed);
    q->conf = c;
    take_postmaster(q);
    queue_configure(q->queue, &o);
    q->ops.soon(q->arg);
}

static void look_at_fill(struct store_queue *q) {
    uint64_t count = queue_count(q->queue), most = q->conf->queue_recipients_max;
    bool full = count >= (q->full ? most - most / 20 : most);
    if (full == q->full)
        return;
    q->full = full;
    if (full)
        log_event(EV_QUEUE_FULL, LOG_NUM("recipients", count), LOG_END);
    q->ops.full(q->arg, full);
}

/* ---- mails ---- */

static struct mail *mail_new(struct store_queue *q, uint64_t num, const struct journal_place *place) {
    struct mail *m = map_get(&q->mails, num);
    if (m)
        return m;
    m = calloc(1, sizeof(*m));
    assert(m); /* better to end and to load again than to forget one */
    m->num = num;
    m->place = *place;
    list_init(&m->owed);
    list_init(&m->due);
    list_init(&m->jobs);
    bool put = map_put(&q->mails, num, m);
    assert(put);
    return m;
}

static void fresh_drop(struct store_queue *q, struct mail *m) {
    struct fresh *f = m->fresh;
    if (!f)
        return;
    m->fresh = NULL;
    q->fresh_bytes -= f->bytes;
    list_remove(&f->node);
    buf_free(&f->body);
    free(f);
}

static void fresh_keep(struct store_queue *q, struct mail *m, const struct store_accepted *a) {
    if (!a->body || a->body->n > JOB_WINDOW || !m->entries)
        return;
    size_t n = ID_SIZE + a->envelope_bytes.n;
    struct fresh *f = calloc(1, sizeof(*f) + n);
    if (!f)
        return;
    memcpy(f->space, a->id.p, ID_SIZE);
    memcpy(f->space + ID_SIZE, a->envelope_bytes.p, a->envelope_bytes.n);
    f->mail = m;
    f->body = *a->body;
    *a->body = BUF(0);
    f->bytes = n + f->body.cap;
    f->record = (struct record){.id = str_n(f->space, ID_SIZE),
                                .size = f->body.n,
                                .envelope = str_n(f->space + ID_SIZE, a->envelope_bytes.n),
                                .bytes = buf_str(&f->body)};
    m->fresh = f;
    list_add_tail(&q->fresh, &f->node);
    q->fresh_bytes += f->bytes;
    while (q->fresh_bytes > FRESH_MAX)
        fresh_drop(q, LIST_ENTRY(list_first(&q->fresh), struct fresh, node)->mail);
}

static void mail_settle(struct store_queue *q, struct mail *m) {
    if (m->entries || m->holds || !list_empty(&m->owed))
        return;
    (void)map_remove(&q->mails, m->num);
    if (m->id)
        (void)map_remove_str(&q->ids, str_n(m->id, ID_SIZE));
    list_remove(&m->due);
    fresh_drop(q, m);
    free(m->id);
    free(m);
}

static void owed_free(struct owed *o) {
    list_remove(&o->node);
    free(o);
}

static struct owed *owed_find(struct mail *m, uint32_t index, bool late) {
    LIST_EACH(&m->owed, node) {
        struct owed *o = LIST_ENTRY(node, struct owed, node);
        if (o->index == index && (o->what == JOB_LATE) == late)
            return o;
    }
    return NULL;
}

static void owe(struct store_queue *q, struct mail *m, uint32_t index, enum job_outcome what, uint32_t code, str text,
                str host, uint64_t at_ms) {
    text = str_head(text, TEXT_MAX);
    host = str_head(host, TEXT_MAX);
    struct owed *o = calloc(1, sizeof(*o) + text.n + host.n);
    assert(o);
    *o = (struct owed){.index = index, .code = code, .what = what, .at_ms = at_ms};
    if (text.n)
        memcpy(o->space, text.p, text.n);
    if (host.n)
        memcpy(o->space + text.n, host.p, host.n);
    o->text = str_n(o->space, text.n);
    o->host = str_n(o->space + text.n, host.n);
    list_add_tail(&m->owed, &o->node);
    if (list_empty(&m->due) && !m->reporting)
        list_add_tail(&q->due, &m->due);
    q->ops.soon(q->arg);
}

/* It is over in another way than its sender was to be told. */
static void forget_owed(struct mail *m, uint32_t index, bool late) {
    struct owed *o = owed_find(m, index, late);
    if (o)
        owed_free(o);
    if (list_empty(&m->owed))
        list_remove(&m->due);
}

/* ---- entries ---- */

static void enter(struct store_queue *q, struct mail *m, const struct queue_entry *e) {
    enum err err = queue_add(q->queue, e, now_of(q));
    assert(err == OK || err == ERR_EXISTS);
    m->entries += err == OK;
}

static void leave(struct store_queue *q, struct mail *m, uint32_t index) {
    if (queue_remove(q->queue, m->num, index))
        m->entries--;
}

static uint64_t expiry(const struct store_queue *q, uint64_t given_ms, uint64_t created_ms, str sender) {
    return given_ms ? given_ms : created_ms + (sender.n ? q->conf->queue_expire : q->conf->queue_bounce_expire);
}

/* What is over with the report: accepted together. */
static void told(struct store_queue *q, const struct envelope *v) {
    struct mail *m = map_get_str(&q->ids, v->report_of);
    uint32_t index = 0;
    if (!m)
        return;
    for (str s = v->report_rcpts; take_u32(&s, &index);)
        forget_owed(m, index, v->report_kind == JOB_LATE);
    m->brought = m->reporting;
    log_event(EV_REPORT_SENT, LOG_STR("id", v->report_of), LOG_END);
    mail_settle(q, m);
}

void store_queue_accepted(struct store_queue *q, const struct store_accepted *a) {
    const struct envelope *v = a->envelope;
    struct mail *m = mail_new(q, a->num, &a->place);
    for (size_t i = 0; i < v->delivery_count; i++) {
        const struct envelope_delivery *d = &v->deliveries[i];
        struct delivery_fate f = delivery_fate(v, i, a->created_ms);
        str sender = delivery_sender(v, i);
        struct queue_entry e = {.num = a->num,
                                .index = (uint32_t)i,
                                .kind = (enum job_kind)d->kind,
                                .next_hop = d->target,
                                .route = d->rule,
                                .sender = sender,
                                .created_ms = a->created_ms,
                                .next_ms = f.next_ms,
                                .expires_ms = expiry(q, f.expires_ms, a->created_ms, v->sender),
                                .priority = (uint8_t)v->priority,
                                .late_told = f.late_told};
        if (f.owed)
            owe(q, m, (uint32_t)i, f.owed, f.code, f.text, STR_NONE, a->created_ms);
        else if (f.open)
            enter(q, m, &e);
    }
    fresh_keep(q, m, a);
    mail_settle(q, m);
    if (v->report_of.n)
        told(q, v);
    look_at_fill(q);
    q->ops.soon(q->arg);
}

void store_queue_moved(struct store_queue *q, uint64_t num, const struct journal_place *place) {
    struct mail *m = map_get(&q->mails, num);
    if (m)
        m->place = *place;
}

/* ---- jobs: their life ---- */

/* A job's texts are its own: a thread reads them. */
static str keep_text(struct job *j, str s) {
    char *p = j->texts + j->texts_used;
    if (s.n)
        memcpy(p, s.p, s.n);
    j->texts_used += s.n;
    return str_n(p, s.n);
}

static struct job *job_new(struct store_queue *q, struct mail *m, uint64_t number, size_t rcpts, size_t room) {
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
    j->read.postmaster = keep_text(j, buf_str(&q->postmaster));
    j->transcript = BUF(TRANSCRIPT_MAX);
    j->done = BUF(FRAME_MAX + 16);
    list_init(&j->node);
    list_add_tail(&m->jobs, &j->of_mail);
    m->holds++;
    q->job_count++;
    return j;
}

static void job_free(struct job *j) {
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
    mail_settle(q, m);
    q->ops.soon(q->arg);
}

static void job_detach(struct job *j) {
    if (j->worker)
        j->worker->job_count--;
    j->worker = NULL;
    list_remove(&j->node);
}

static bool is_report(const struct job *j) {
    return j->read.kind == JOB_REPORT;
}

static str job_id(const struct job *j) {
    return str_n(j->read.id, j->read.id[0] ? ID_SIZE : 0);
}

static void job_finish(struct job *j);

static void send_job(struct job *j, const struct frame *f) {
    if (j->worker)
        j->q->ops.send(j->worker->peer, f);
}

static void cancel(struct job *j, enum err e, const char *text) {
    struct frame f = {.type = FRAME_JOB_CANCEL,
                      .job_cancel = {j->read.job, (uint8_t)e, str_head(str_of(text), TEXT_MAX)}};
    send_job(j, &f);
}

/* ---- jobs: reading ---- */

static void job_end(struct job *j);
static void read_done(struct task *t, void *context);

static void read_on(struct job *j) {
    j->reading = true;
    j->read.place = j->mail->place;
    j->read.task = (struct task){.run = job_read_run, .done = read_done};
    store_read(j->q->store, &j->read.task);
}

static void read_failed(struct job *j) {
    bool again = !j->moved && j->read.place.epoch != j->mail->place.epoch;
    if (again && !j->ending) { /* compaction was faster */
        j->moved = true;
        read_on(j);
        return;
    }
    log_event(EV_QUEUE_UNREADABLE, LOG_STR("id", job_id(j)), LOG_NUM("message", j->read.num), LOG_WHY(&j->read.why),
              LOG_END);
    if (j->read.begin)
        job_end(j); /* the worker knows nothing of it */
    else
        cancel(j, j->read.e, "the message cannot be read");
}

static void remember_id(struct job *j) {
    struct mail *m = j->mail;
    if (m->id || !(m->id = malloc(ID_SIZE)))
        return;
    memcpy(m->id, j->read.id, ID_SIZE);
    bool put = map_put_str(&j->q->ids, str_n(m->id, ID_SIZE), m);
    assert(put); /* a report that is not recognized would be made again */
}

static void look_end(struct job *j);

static void read_done(struct task *t, void *context) {
    struct job *j = (struct job *)t;
    struct frame f;
    (void)context;
    j->reading = false;
    if (j->look) {
        look_end(j);
        return;
    }
    if (j->read.e && !j->ending) {
        read_failed(j);
        return;
    }
    if (is_report(j) && !j->read.e)
        remember_id(j);
    if (!j->ending)
        for (str frames = buf_str(&j->read.out); frames.n && frame_take(&frames, &f) == OK;)
            send_job(j, &f);
    j->read.begin = false;
    buf_free(&j->read.out);
    if (j->ending)
        job_finish(j);
    else if (j->read.grant && j->read.sent < j->read.size)
        read_on(j);
}

/* ---- jobs: to a worker ---- */

static enum role role_of(uint8_t kind) {
    return kind == JOB_REPORT ? ROLE_SMTPD : kind == JOB_WEBHOOK ? ROLE_FILTER : ROLE_DELIVERY;
}

static struct queue_worker *worker_for(struct store_queue *q, enum role role) {
    struct queue_worker *best = NULL;
    LIST_EACH(&q->workers, node) {
        struct queue_worker *k = LIST_ENTRY(node, struct queue_worker, node);
        if (k->role == role && (!best || k->job_count < best->job_count))
            best = k;
    }
    return best;
}

static void put_fresh(struct job_read *r, const struct frame *f) {
    send_job((struct job *)r, f);
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
        fresh_drop(j->q, m);
    if (is_report(j))
        remember_id(j);
    if (j->read.grant && j->read.sent < j->read.size)
        read_on(j);
}

static void give(struct job *j, struct queue_worker *k) {
    list_remove(&j->node);
    j->worker = k;
    list_add_tail(k ? &k->jobs : &j->q->parked, &j->node);
    if (!k)
        return;
    k->job_count++;
    j->started_us = now_of(j->q) * 1000;
    j->read.begin = true;
    j->read.grant = JOB_WINDOW;
    if (j->mail->fresh)
        hand_on(j);
    else
        read_on(j);
    j->q->stuck |= j->q->ops.queued(k->peer) > QUEUED_MAX;
}

static void deliver(struct store_queue *q, const struct queue_want *w, struct queue_worker *k) {
    struct mail *m = map_get(&q->mails, w->num);
    struct job *j = m ? job_new(q, m, w->job, w->index_count, w->next_hop.n + w->route.n + w->site.n) : NULL;
    if (!j) {
        queue_done(q->queue, w->job, JOB_OURS, now_of(q));
        return;
    }
    j->read.kind = (uint8_t)w->job_kind;
    j->read.next_hop = keep_text(j, w->next_hop);
    j->read.route = keep_text(j, w->route);
    j->read.site = keep_text(j, w->site);
    j->read.body_max = UINT64_MAX;
    for (size_t i = 0; i < w->index_count; i++)
        j->read.rcpts[i].index = w->indices[i];
    m->active += (uint32_t)w->index_count;
    give(j, k ? k : worker_for(q, role_of(j->read.kind)));
}

/* ---- what came of it ---- */

/* A message with the null sender is never answered (RFC 5321 6.1): the postmaster gets what cannot be returned, but
 * never about what could not be brought to him. */
static bool may_tell(const struct job *j, const struct job_rcpt *r, enum job_outcome what) {
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

static enum job_outcome owed_for(const struct job *j, size_t i, enum job_outcome outcome) {
    bool tell = outcome == JOB_FAILED || outcome == JOB_EXPIRED || outcome == JOB_RELAYED || outcome == JOB_EXPANDED ||
                (outcome == JOB_DELIVERED && !makes_its_own(j->read.kind));
    return tell && may_tell(j, &j->read.rcpts[i], outcome) ? outcome : (enum job_outcome)0;
}

static void count(const struct job *j, const struct outcome_row *r) {
    static const enum event_id events[] = {
        [JOB_DELIVERED] = EV_QUEUE_DELIVERED, [JOB_RELAYED] = EV_QUEUE_DELIVERED, [JOB_EXPANDED] = EV_QUEUE_DELIVERED,
        [JOB_DEFERRED] = EV_QUEUE_DEFERRED,   [JOB_FAILED] = EV_QUEUE_BOUNCED,    [JOB_EXPIRED] = EV_QUEUE_EXPIRED,
        [JOB_UNKNOWN] = EV_QUEUE_UNKNOWN};
    if ((size_t)r->outcome >= sizeof(events) / sizeof(events[0]) || !events[r->outcome])
        return;
    log_event(events[r->outcome], LOG_STR("id", job_id(j)), LOG_NUM("recipient", r->index),
              LOG_STR("site", j->read.site), LOG_NUM("code", r->code), LOG_STR("text", r->text), LOG_END);
    if (r->outcome == JOB_FAILED && !j->read.has_sender && !r->owed)
        log_event(EV_QUEUE_DOUBLE_BOUNCE, LOG_STR("id", job_id(j)), LOG_END);
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
    r.next_ms = queue_result(q->queue, j->read.job, r.index, r.outcome, now_of(q));
    r.owed = s->owed = owed_for(j, i, r.outcome);
    bool again = r.outcome == JOB_DEFERRED || r.outcome == JOB_UNKNOWN;
    j->mail->entries -= !again;
    r.state = r.outcome == JOB_DEFERRED  ? QUEUE_WAITING
              : r.outcome == JOB_UNKNOWN ? QUEUE_UNKNOWN
              : r.outcome != JOB_FAILED  ? QUEUE_DELIVERED
              : r.owed                   ? QUEUE_REPORTING
                                         : QUEUE_BOUNCED;
    count(j, &r);
    return r;
}

static void put_outcome(struct job *j, const struct outcome *o) {
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
                                   .ended_us = now_of(j->q) * 1000};
}

/* What has come to be owed meanwhile is told at once; one that brought nothing another time. */
static void report_end(struct job *j) {
    struct store_queue *q = j->q;
    struct mail *m = j->mail;
    q->report_count--;
    m->reporting = false;
    if (!list_empty(&m->owed)) {
        m->due_ms = now_of(q) + REPORT_AGAIN_MS;
        list_remove(&m->due);
        list_add_tail(m->brought ? &q->due : &q->later, &m->due);
    }
    m->brought = false;
    job_free(j);
}

static void job_finish(struct job *j) {
    struct store_queue *q = j->q;
    if (j->reading || j->asked || j->ended)
        return;
    j->ended = true;
    if (is_report(j)) {
        report_end(j);
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
    put_outcome(j, &o);
    free(o.rows);
    j->mail->active -= (uint32_t)j->read.rcpt_count;
    queue_done(q->queue, j->read.job, (enum job_trouble)d.trouble, now_of(q));
    look_at_fill(q);
}

static void job_end(struct job *j) {
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
            forget_owed(j->mail, j->read.rcpts[i].index, true);
        if (s->owed && !s->gone)
            owe(j->q, j->mail, j->read.rcpts[i].index, s->owed, s->code, s->text ? str_of(s->text) : STR_NONE, d.host,
                now_of(j->q));
    }
    if (j->look)
        j->q->look_count--;
    job_free(j);
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
        cancel(j, e, "the intent could not be written");
        return;
    }
    j->gone = true;
    struct frame f = {.type = FRAME_JOB_GO, .job_go = {j->read.job}};
    send_job(j, &f);
}

/* ---- too old, and late ---- */

static void look(struct store_queue *q, const struct queue_want *w, enum job_outcome what) {
    struct mail *m = map_get(&q->mails, w->num);
    uint64_t number = ++q->next_report | UINT64_C(1) << 63;
    struct job *j = m ? job_new(q, m, number, w->index_count, 0) : NULL;
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
            leave(q, m, w->indices[i]);
        }
    }
    q->look_count++;
    read_on(j);
}

static void owe_late(struct job *j) {
    for (size_t i = 0; i < j->read.rcpt_count; i++) {
        struct job_rcpt *r = &j->read.rcpts[i];
        struct queue_entry_state is;
        bool waits = queue_look(j->q->queue, j->read.num, r->index, &is);
        if (!j->read.e && waits && may_tell(j, r, JOB_LATE))
            owe(j->q, j->mail, r->index, JOB_LATE, 0, STR_NONE, STR_NONE, now_of(j->q));
    }
    j->q->look_count--;
    job_free(j);
}

/* One that cannot be read is returned without being asked: its sender's wishes are in what cannot be read. */
static void look_end(struct job *j) {
    if (j->looking_for == JOB_LATE) {
        owe_late(j);
        return;
    }
    struct outcome o = {.num = j->read.num, .cause = OUTCOME_CLOCK, .started_us = now_of(j->q) * 1000};
    o.rows = calloc(j->read.rcpt_count, sizeof(*o.rows));
    assert(o.rows);
    for (size_t i = 0; i < j->read.rcpt_count; i++) {
        struct result *s = &j->results[i];
        if (s->gone)
            continue;
        s->outcome = JOB_EXPIRED;
        s->owed = owed_for(j, i, JOB_EXPIRED);
        o.rows[o.row_count] = (struct outcome_row){.index = j->read.rcpts[i].index,
                                                   .attempts = j->read.rcpts[i].code,
                                                   .outcome = JOB_EXPIRED,
                                                   .owed = s->owed,
                                                   .state = s->owed ? QUEUE_REPORTING : QUEUE_EXPIRED};
        count(j, &o.rows[o.row_count++]);
    }
    j->ended = true;
    put_outcome(j, &o);
    free(o.rows);
    look_at_fill(j->q);
}

/* ---- reports ---- */

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
    struct job *j = job_new(q, m, ++q->next_report | UINT64_C(1) << 63, n, room);
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
                                               .text = keep_text(j, o->text),
                                               .host = keep_text(j, o->host)};
    }
    j->read.kind = JOB_REPORT;
    j->read.body_max = q->conf->bounce_size_max;
    return j;
}

static void report_due(struct store_queue *q) {
    uint64_t now = now_of(q);
    LIST_EACH_SAFE(&q->later, node) {
        struct mail *m = LIST_ENTRY(node, struct mail, due);
        if (m->due_ms > now)
            break;
        list_remove(node);
        list_add_tail(&q->due, node);
    }
    while (q->report_count < REPORTS_MAX && !list_empty(&q->due) && !q->draining) {
        struct queue_worker *k = worker_for(q, ROLE_SMTPD);
        struct mail *m = LIST_ENTRY(list_first(&q->due), struct mail, due);
        struct job *j = k ? report_new(q, m) : NULL;
        if (!j)
            return; /* no smtpd yet, or no memory: at the next run */
        list_remove(&m->due);
        m->reporting = true;
        q->report_count++;
        give(j, k);
    }
}

/* ---- sites ---- */

static void ask_worker(struct store_queue *q, struct site_ask *a) {
    struct frame f = {.type = FRAME_SITE_ASK, .site_ask = {a->tag, str_n(a->domain, a->n)}};
    a->worker = worker_for(q, ROLE_DELIVERY);
    if (a->worker)
        q->ops.send(a->worker->peer, &f);
}

static void ask_site(struct store_queue *q, const struct queue_want *w) {
    struct site_ask *a = calloc(1, sizeof(*a) + w->domain.n);
    if (!a || !map_put(&q->asked, w->tag, a)) {
        free(a);
        queue_site_told(q->queue, w->tag, STR_NONE, true, 0, now_of(q));
        return;
    }
    a->tag = w->tag;
    a->n = w->domain.n;
    memcpy(a->domain, w->domain.p, w->domain.n);
    list_add_tail(&q->asks, &a->node);
    ask_worker(q, a);
}

/* A domain that has no servers, for good, is a site of its own: its jobs find that out and say so. */
static bool site_told(struct queue_worker *k, const struct frame_site_told *f) {
    struct store_queue *q = k->q;
    struct site_ask *a = map_get(&q->asked, f->tag);
    if (!a || a->worker != k)
        return false;
    bool failed = f->err != OK && f->err != ERR_NOT_FOUND;
    queue_site_told(q->queue, f->tag, f->err == OK ? f->site : STR_NONE, failed, f->ttl_s, now_of(q));
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
            ask_worker(q, a);
    }
    LIST_EACH_SAFE(&q->parked, node) {
        struct job *j = LIST_ENTRY(node, struct job, node);
        if (role_of(j->read.kind) == role)
            give(j, k);
    }
    q->ops.soon(q->arg);
    return k;
}

void store_queue_unworker(struct queue_worker *k) {
    struct store_queue *q = k->q;
    list_remove(&k->node);
    LIST_EACH_SAFE(&k->jobs, node)
    job_end(LIST_ENTRY(node, struct job, node));
    LIST_EACH(&q->asks, node) {
        struct site_ask *a = LIST_ENTRY(node, struct site_ask, node);
        if (a->worker == k)
            ask_worker(q, a);
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
        read_on(j);
    return true;
}

static bool job_intent(struct job *j) {
    struct frame go = {.type = FRAME_JOB_GO, .job_go = {j->read.job}};
    if (j->asked || is_report(j))
        return false;
    if (j->gone) { /* at another host: the same recipients are in doubt */
        send_job(j, &go);
        return true;
    }
    uint32_t *indices = calloc(j->read.rcpt_count, sizeof(*indices));
    struct intent i = {.num = j->read.num, .at_us = now_of(j->q) * 1000, .host = j->read.site, .indices = indices};
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
    if (!q->draining && !q->stuck && queue_next_of_site(q->queue, j->read.site, now_of(q), &w))
        deliver(q, &w, k);
}

static bool job_done(struct queue_worker *k, struct job *j, const struct frame *f) {
    bool again = f->job_done.reusable && !is_report(j);
    frame_put(&j->done, f);
    job_end(j);
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

/* ---- running ---- */

void store_queue_run(struct store_queue *q) {
    struct queue_want w;
    enum queue_want_kind kind = QUEUE_WANT_SITE;
    while (kind != QUEUE_IDLE && !q->stuck && !q->draining && q->look_count < LOOKS_MAX) {
        kind = queue_next(q->queue, now_of(q), &w);
        switch (kind) {
        case QUEUE_WANT_SITE: ask_site(q, &w); break;
        case QUEUE_WANT_DELIVER: deliver(q, &w, NULL); break;
        case QUEUE_WANT_EXPIRE: look(q, &w, JOB_EXPIRED); break;
        case QUEUE_WANT_LATE: look(q, &w, JOB_LATE); break;
        case QUEUE_IDLE: break;
        }
    }
    report_due(q);
}

uint64_t store_queue_deadline(const struct store_queue *q) {
    bool waits = q->stuck || q->draining || q->look_count >= LOOKS_MAX; /* for news, not for a time */
    uint64_t at = waits ? UINT64_MAX : queue_deadline(q->queue);
    if (!list_empty(&q->later)) {
        uint64_t due = LIST_ENTRY(q->later.next, struct mail, due)->due_ms;
        at = due < at ? due : at;
    }
    return at;
}

void store_queue_drain(struct store_queue *q) {
    q->draining = true;
}

size_t store_queue_jobs(const struct store_queue *q) {
    return q->job_count;
}

/* ---- operators ---- */

static bool drop_result(struct mail *m, uint32_t index) {
    bool all = false;
    LIST_EACH(&m->jobs, node) {
        struct job *j = LIST_ENTRY(node, struct job, of_mail);
        if (is_report(j))
            continue;
        all = true;
        for (size_t i = 0; i < j->read.rcpt_count; i++) {
            j->results[i].gone |= j->read.rcpts[i].index == index;
            all &= j->results[i].gone;
        }
        if (all && !j->ended)
            cancel(j, ERR_CLOSED, "an operator ended it");
    }
    return all;
}

static void act(struct store_queue *q, struct mail *m, uint32_t index, enum queue_action action) {
    uint64_t now = now_of(q);
    struct queue_entry_state is;
    bool queued = queue_look(q->queue, m->num, index, &is);
    switch (action) {
    case QUEUE_DO_HOLD: (void)queue_hold(q->queue, m->num, index, true, now); break;
    case QUEUE_DO_RELEASE: (void)queue_hold(q->queue, m->num, index, false, now); break;
    case QUEUE_DO_RETRY: (void)queue_retry_now(q->queue, m->num, index, now); break;
    case QUEUE_DO_DELETE:
    case QUEUE_DO_BOUNCE:
        if (!queued && action == QUEUE_DO_BOUNCE)
            break;
        (void)drop_result(m, index);
        leave(q, m, index);
        forget_owed(m, index, true);
        forget_owed(m, index, false);
        if (action == QUEUE_DO_BOUNCE)
            owe(q, m, index, JOB_FAILED, 554, S("5.4.7 given up by an operator"), STR_NONE, now);
        break;
    }
}

void store_queue_acted(struct store_queue *q, const struct acted *a) {
    uint64_t num = 0;
    uint32_t index = 0;
    for (str s = a->pairs; take_u64(&s, &num) && take_u32(&s, &index);) {
        struct mail *m = map_get(&q->mails, num);
        if (!m)
            continue;
        m->holds++;
        act(q, m, index, a->action);
        m->holds--;
        mail_settle(q, m);
    }
    look_at_fill(q);
    q->ops.soon(q->arg);
}

bool store_queue_active(const struct store_queue *q, uint64_t num, uint32_t index) {
    struct queue_entry_state is;
    return queue_look(q->queue, num, index, &is) && is.state == QUEUE_ACTIVE;
}

void store_queue_look(const struct store_queue *q, struct frame_queue_row *row) {
    struct queue_entry_state is;
    if (!queue_look(q->queue, row->num, row->index, &is))
        return;
    row->state = (uint8_t)is.state;
    row->next_ms = is.next_ms;
    row->attempts = is.attempts;
    row->site = is.site;
}

uint64_t store_queue_sites(const struct store_queue *q, uint32_t tag, void (*put)(void *arg, const struct frame *f),
                           void *arg) {
    struct queue_site_state s;
    uint64_t count = 0;
    size_t at = 0;
    while (queue_site_next(q->queue, &at, &s)) {
        struct frame f = {.type = FRAME_SITE_ROW};
        f.site_row = (struct frame_site_row){.tag = tag,
                                             .site = s.site,
                                             .waiting = s.waiting,
                                             .active = s.active,
                                             .window = s.window_milli,
                                             .retry_ms = s.retry_ms,
                                             .dead = s.dead};
        put(arg, &f);
        count++;
    }
    return count;
}

uint64_t store_queue_count(const struct store_queue *q) {
    return queue_count(q->queue);
}

/* ---- the start ---- */

/* An intent without an outcome: what it names is in doubt. */
struct doubt {
    struct doubt *next; /* of the same message */
    uint64_t seq, num, at_us;
    str host, indices;
    struct outcome_row *rows;
    size_t count;
    char space[];
};

struct loading {
    struct store_queue *q;
    struct map doubts;
    struct buf texts;
};

static enum err load_intent(void *arg, uint64_t seq, uint64_t num, uint64_t at_us, str host, str indices) {
    struct loading *l = arg;
    struct doubt *d = calloc(1, sizeof(*d) + host.n + indices.n);
    if (!d)
        return ERR_NOMEM;
    *d = (struct doubt){.next = map_get(&l->doubts, num), .seq = seq, .num = num, .at_us = at_us};
    d->rows = calloc(indices.n / 4 + 1, sizeof(*d->rows));
    memcpy(d->space, host.n ? host.p : "", host.n);
    memcpy(d->space + host.n, indices.n ? indices.p : "", indices.n);
    d->host = str_n(d->space, host.n);
    d->indices = str_n(d->space + host.n, indices.n);
    return d->rows && map_put(&l->doubts, num, d) ? OK : ERR_NOMEM;
}

static struct doubt *doubt_of(struct loading *l, uint64_t num, uint32_t index) {
    uint32_t is;
    for (struct doubt *d = map_get(&l->doubts, num); d; d = d->next)
        for (str s = d->indices; take_u32(&s, &is);)
            if (is == index)
                return d;
    return NULL;
}

static enum err load_delivery(void *arg, const struct db_delivery *d) {
    struct loading *l = arg;
    struct store_queue *q = l->q;
    struct journal_place place = d->place;
    struct mail *m = mail_new(q, d->num, &place);
    struct queue_entry e = {.num = d->num,
                            .index = d->index,
                            .kind = d->kind,
                            .next_hop = d->target,
                            .route = d->rule,
                            .sender = d->sender,
                            .created_ms = d->created_ms,
                            .next_ms = d->next_ms,
                            .expires_ms = expiry(q, d->expires_ms, d->created_ms, d->sender),
                            .attempts = d->attempts,
                            .priority = d->priority,
                            .held = d->state == QUEUE_HELD,
                            .late_told = d->late_told};
    struct doubt *doubt = d->owed ? NULL : doubt_of(l, d->num, d->index);
    if (d->owed) {
        owe(q, m, d->index, d->owed, d->code, d->text, d->host, d->next_ms ? d->next_ms : d->created_ms);
        return OK;
    }
    if (doubt) {
        e.attempts++;
        e.next_ms = now_of(q) + wait_ms(q->conf->queue_retry.count ? q->conf->queue_retry.list[0] : S("5m"));
        doubt->rows[doubt->count++] = (struct outcome_row){.index = d->index,
                                                           .attempts = e.attempts,
                                                           .outcome = JOB_UNKNOWN,
                                                           .state = QUEUE_UNKNOWN, /* one that is held stays so */
                                                           .late_told = d->late_told,
                                                           .next_ms = e.next_ms,
                                                           .text = S("sent whole; the answer is not known")};
        log_event(EV_QUEUE_UNKNOWN, LOG_STR("id", d->id), LOG_NUM("recipient", d->index), LOG_END);
    }
    enter(q, m, &e);
    return OK;
}

static enum err settle_doubts(struct loading *l) {
    size_t at = 0;
    enum err e = OK;
    for (struct doubt *d; (d = map_next(&l->doubts, &at));)
        for (struct doubt *next; d; d = next) {
            struct outcome o = {.num = d->num,
                                .intent = d->seq,
                                .cause = OUTCOME_LOST,
                                .trouble = JOB_BROKEN,
                                .started_us = d->at_us,
                                .ended_us = d->at_us,
                                .text = S("Penfold ended before the answer came"),
                                .host = d->host,
                                .rows = d->rows,
                                .row_count = d->count};
            if (!e)
                e = store_outcome(l->q->store, NULL, &o);
            next = d->next;
            free(d->rows);
            free(d);
        }
    map_free(&l->doubts);
    return e;
}

enum err store_queue_open(struct store_queue *q, struct store *s, struct why *w) {
    struct loading l = {.q = q, .doubts = MAP(q->mails.seed)};
    q->store = s;
    enum err e = store_intents(s, load_intent, &l, w);
    if (!e)
        e = store_deliveries(s, load_delivery, &l, w);
    enum err settled = settle_doubts(&l);
    if (!e && settled)
        e = why(w, settled, "no memory for the queue");
    if (!e && queue_count(q->queue))
        log_event(EV_QUEUE_LOADED, LOG_NUM("recipients", queue_count(q->queue)), LOG_END);
    look_at_fill(q);
    return e;
}

/* ---- the end ---- */

static void mail_drop(struct mail *m) {
    LIST_EACH_SAFE(&m->owed, node)
    owed_free(LIST_ENTRY(node, struct owed, node));
    if (m->fresh)
        buf_free(&m->fresh->body);
    free(m->fresh);
    free(m->id);
    free(m);
}

/* The store is closed and its threads have ended: nothing is read or written any more. */
void store_queue_free(struct store_queue *q) {
    size_t at = 0;
    for (struct job *j; (j = map_next(&q->jobs, &at));) {
        for (size_t i = 0; i < j->read.rcpt_count; i++)
            free(j->results[i].text);
        buf_free(&j->read.out);
        buf_free(&j->transcript);
        buf_free(&j->done);
        free(j->read.rcpts);
        free(j->results);
        free(j);
    }
    at = 0;
    for (struct mail *m; (m = map_next(&q->mails, &at));)
        mail_drop(m);
    at = 0;
    for (struct site_ask *a; (a = map_next(&q->asked, &at));)
        free(a);
    map_free(&q->jobs);
    map_free(&q->mails);
    map_free(&q->asked);
    map_free(&q->ids);
    buf_free(&q->postmaster);
    arena_free(&q->arena);
    queue_free(q->queue);
    free(q);
}
