#include "role/store_core.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "sys/clock.h"
#include "sys/link.h"

enum {
    INFO_MAX = 64 * 1024,
    TRANSCRIPT_MAX = 16 * 1024 * 1024,     /* the configuration's limit is smtpd's to keep; this one is ours */
    OPEN_MAX = 100000,                     /* mails, sessions or requests of one link: more than any honest peer has */
    SESSION_BYTES_MAX = 256 * 1024 * 1024, /* of all open sessions of a link; beyond, transcripts are cut */
    NEWS_QUEUE_MAX = 4 * 1024 * 1024,      /* a subscriber further behind gets one "read it again" instead */
};

struct store_core {
    struct store_core_ops ops;
    void *arg;
    struct store *store;
    struct store_queue *queue;         /* NULL: none */
    struct store_directory *directory; /* NULL: none */
    struct list links;
    bool holding, queue_full;
    enum err state;
    struct why state_text;
};

struct core_link {
    struct list node;
    struct store_core *core;
    void *peer;
    bool brings_mail, subscribed, missed;
    struct queue_worker *worker; /* NULL: it is none */
    struct map mails, sessions;
    struct list asks;
    size_t ask_count;
    uint64_t session_bytes;
};

struct core_mail {
    uint64_t number;
    struct core_link *link;
    struct store_mail *mail;
    bool committed;
};

struct core_session {
    uint64_t number, started_ms;
    char id[ID_SIZE];
    struct buf info, transcript;
};

struct core_ask {
    struct list node;
    struct core_link *link;
    struct request *request;
    bool parked; /* ours until the link has room */
};

/* ---- mails ---- */

static struct core_mail *mail_of(struct core_link *l, uint64_t number) {
    struct core_mail *m = map_get(&l->mails, number);
    return m && !m->committed ? m : NULL;
}

static bool mail_begin(struct core_link *l, const struct frame_mail_begin *f) {
    if (map_get(&l->mails, f->mail) || l->mails.used >= OPEN_MAX)
        return false;
    struct core_mail *m = calloc(1, sizeof(*m));
    if (!m)
        return false;
    m->number = f->mail;
    m->link = l;
    m->mail = store_mail_begin(l->core->store, m, f->id, f->size_hint);
    if (m->mail && map_put(&l->mails, f->mail, m))
        return true;
    if (m->mail)
        store_mail_abort(m->mail);
    free(m);
    return false;
}

static bool mail_piece(struct core_link *l, uint64_t number, str bytes, void (*add)(struct store_mail *m, str bytes)) {
    struct core_mail *m = mail_of(l, number);
    if (m)
        add(m->mail, bytes);
    return m != NULL;
}

static bool mail_commit(struct core_link *l, uint64_t number) {
    struct core_mail *m = mail_of(l, number);
    if (!m)
        return false;
    m->committed = true;
    store_mail_commit(m->mail); /* may answer at once */
    return true;
}

/* Too late an abort is no fault: the peer's client went while the store was syncing. */
static bool mail_abort(struct core_link *l, uint64_t number) {
    struct core_mail *m = mail_of(l, number);
    if (!m)
        return true;
    store_mail_abort(m->mail);
    (void)map_remove(&l->mails, number);
    free(m);
    return true;
}

static void on_mail_done(void *arg, void *owner, enum err e, const char *text) {
    struct core_mail *m = owner;
    (void)arg;
    if (!m)
        return;
    struct core_link *l = m->link;
    struct frame f = {.type = FRAME_MAIL_DONE, .mail_done = {m->number, (uint8_t)e, str_of(e ? text : "")}};
    l->core->ops.send(l->peer, &f);
    (void)map_remove(&l->mails, m->number);
    free(m);
}

/* ---- sessions ---- */

static bool session_begin(struct core_link *l, const struct frame_session_begin *f) {
    if (map_get(&l->sessions, f->session) || !id_valid(f->id) || l->sessions.used >= OPEN_MAX)
        return false;
    struct core_session *s = calloc(1, sizeof(*s));
    if (!s)
        return false;
    s->number = f->session;
    s->started_ms = clock_wall_us() / 1000;
    memcpy(s->id, f->id.p, ID_SIZE);
    s->info = BUF(INFO_MAX);
    s->transcript = BUF(TRANSCRIPT_MAX);
    if (map_put(&l->sessions, f->session, s))
        return true;
    free(s);
    return false;
}

static void session_free(struct core_link *l, struct core_session *s) {
    l->session_bytes -= s->info.n + s->transcript.n;
    buf_free(&s->info);
    buf_free(&s->transcript);
    free(s);
}

static void session_store(struct core_link *l, struct core_session *s, uint64_t ended_ms, uint32_t messages,
                          str reason) {
    struct db_session d = {.id = str_n(s->id, ID_SIZE),
                           .reason = reason,
                           .info = buf_str(&s->info),
                           .transcript = buf_str(&s->transcript),
                           .started_ms = s->started_ms,
                           .ended_ms = ended_ms,
                           .messages = messages};
    store_session(l->core->store, &d);
}

static bool session_end(struct core_link *l, const struct frame_session_end *f) {
    struct core_session *s = map_remove(&l->sessions, f->session);
    if (!s)
        return false;
    session_store(l, s, f->ended_ms, f->messages, f->reason);
    session_free(l, s);
    return true;
}

static bool session_piece(struct core_link *l, uint64_t number, str bytes, size_t which) {
    struct core_session *s = map_get(&l->sessions, number);
    if (s && l->session_bytes + bytes.n <= SESSION_BYTES_MAX) {
        struct buf *b = (struct buf *)((char *)s + which);
        size_t before = b->n;
        buf_add(b, bytes);
        l->session_bytes += b->n - before;
    }
    return s != NULL;
}

/* ---- requests ---- */

static void ask_end(struct core_ask *a) {
    list_remove(&a->node);
    a->link->ask_count--;
    free(a);
}

static bool ask(struct core_link *l, const struct frame *f) {
    struct core_ask *a = l->ask_count < OPEN_MAX ? calloc(1, sizeof(*a)) : NULL;
    if (!a)
        return false;
    a->link = l;
    a->request = request_new(f, a);
    if (!a->request) {
        free(a);
        return false;
    }
    list_add_tail(&l->asks, &a->node);
    l->ask_count++;
    store_request(l->core->store, a->request); /* may answer at once */
    return true;
}

/* The queue knows more of what waits than its row; and whether it is what was asked for. */
static bool complete_row(struct store_core *c, struct request *r, struct frame *f) {
    uint8_t wanted = r->state_wanted;
    if (f->type == FRAME_DONE && r->type == FRAME_QUEUE_LIST)
        f->done.count -= r->start; /* of rows left out */
    if (f->type != FRAME_QUEUE_ROW || !c->queue)
        return true;
    store_queue_look(c->queue, &f->queue_row);
    bool out = (wanted == QUEUE_ACTIVE || wanted == QUEUE_WAITING) && f->queue_row.state != wanted;
    r->start += out;
    return !out;
}

static void on_answer(void *arg, struct request *r) {
    struct core_ask *a = r->owner;
    struct core_link *l = a->link;
    (void)arg;
    struct frame f;
    for (str frames = buf_str(&r->out); frames.n && frame_take(&frames, &f) == OK;) {
        if (!complete_row(l->core, r, &f))
            continue;
        l->core->ops.send(l->peer, &f);
    }
    if (r->done)
        ask_end(a);
    else if (l->core->ops.queued(l->peer) > LINK_WINDOW)
        a->parked = true;
    else
        store_request_more(l->core->store, r);
}

static void ask_cancel(struct core_ask *a) {
    if (a->parked)
        request_free(a->request);
    else
        a->request->owner = NULL; /* the store ends it */
    ask_end(a);
}

static bool cancel(struct core_link *l, uint32_t tag) {
    LIST_EACH_SAFE(&l->asks, node) {
        struct core_ask *a = LIST_ENTRY(node, struct core_ask, node);
        if (a->request->tag == tag)
            ask_cancel(a);
    }
    return true;
}

static bool summary(struct core_link *l, const struct frame_summary_put *f) {
    store_summary(l->core->store, f->id, f->attachments, f->json);
    return true;
}

/* ---- news ---- */

static bool subscribe(struct core_link *l, bool on) {
    l->subscribed = on;
    return true;
}

static void on_changed(void *arg, const struct frame *f) {
    struct store_core *c = arg;
    LIST_EACH(&c->links, node) {
        struct core_link *l = LIST_ENTRY(node, struct core_link, node);
        if (!l->subscribed)
            continue;
        l->missed |= c->ops.queued(l->peer) > NEWS_QUEUE_MAX;
        if (!l->missed)
            c->ops.send(l->peer, f);
    }
}

static void send_state(struct core_link *l) {
    struct store_core *c = l->core;
    struct frame f = {.type = FRAME_STORE_STATE, .store_state = {(uint8_t)c->state, str_of(c->state_text.text)}};
    if (!c->state && c->queue_full)
        f.store_state = (struct frame_store_state){ERR_FULL, S("the queue is full")};
    c->ops.send(l->peer, &f);
}

static void tell_state(struct store_core *c) {
    LIST_EACH(&c->links, node) {
        struct core_link *l = LIST_ENTRY(node, struct core_link, node);
        if (l->brings_mail)
            send_state(l);
    }
}

static void on_state(void *arg, enum err e, const char *text) {
    struct store_core *c = arg;
    c->state = why(&c->state_text, e, "%s", text);
    tell_state(c);
}

static void on_hold(void *arg, bool on) {
    struct store_core *c = arg;
    c->holding = on;
    LIST_EACH(&c->links, node) {
        struct core_link *l = LIST_ENTRY(node, struct core_link, node);
        if (l->brings_mail)
            c->ops.pause(l->peer, on);
    }
}

static void on_soon(void *arg) {
    struct store_core *c = arg;
    c->ops.soon(c->arg);
}

/* ---- the queue ---- */

static void on_accepted(void *arg, const struct store_accepted *a) {
    struct store_core *c = arg;
    if (c->queue)
        store_queue_accepted(c->queue, a);
    if (c->directory)
        store_directory_accepted(c->directory, a);
}

static void on_moved(void *arg, uint64_t num, const struct journal_place *place) {
    struct store_core *c = arg;
    if (c->queue)
        store_queue_moved(c->queue, num, place);
}

static void on_intent_done(void *arg, void *owner, enum err e, uint64_t seq) {
    (void)arg;
    store_queue_intent_done(owner, e, seq);
}

static void on_outcome_done(void *arg, void *owner) {
    (void)arg;
    store_queue_outcome_done(owner);
}

static bool on_is_active(void *arg, uint64_t num, uint32_t index) {
    struct store_core *c = arg;
    return c->queue && store_queue_active(c->queue, num, index);
}

static void on_acted(void *arg, const struct acted *a) {
    struct store_core *c = arg;
    if (c->queue)
        store_queue_acted(c->queue, a);
}

static void queue_send(void *peer, const struct frame *f) {
    struct core_link *l = peer;
    l->core->ops.send(l->peer, f);
}

static size_t queue_queued(void *peer) {
    struct core_link *l = peer;
    return l->core->ops.queued(l->peer);
}

static void queue_soon(void *arg) {
    struct store_core *c = arg;
    if (c->ops.run_soon)
        c->ops.run_soon(c->arg);
}

static void queue_full(void *arg, bool on) {
    struct store_core *c = arg;
    c->queue_full = on;
    tell_state(c);
}

static uint64_t queue_now(void *arg) {
    struct store_core *c = arg;
    return c->ops.now_ms ? c->ops.now_ms(c->arg) : clock_wall_us() / 1000;
}

struct store_queue *store_core_queue(struct store_core *c, const struct conf *conf, uint64_t seed) {
    static const struct store_queue_ops ops = {
        .send = queue_send, .queued = queue_queued, .soon = queue_soon, .full = queue_full, .now_ms = queue_now};
    c->queue = store_queue_new(&ops, c, conf, seed);
    return c->queue;
}

bool store_core_worker(struct core_link *l, enum role role) {
    if (l->core->queue)
        l->worker = store_queue_worker(l->core->queue, l, role);
    return l->worker || !l->core->queue;
}

/* ---- the directory ---- */

static void directory_changed(void *arg) {
    struct store_core *c = arg;
    struct frame f = {.type = FRAME_DIRECTORY_CHANGED};
    LIST_EACH(&c->links, node) {
        struct core_link *l = LIST_ENTRY(node, struct core_link, node);
        if (l->brings_mail)
            c->ops.send(l->peer, &f);
    }
}

static void on_entry_done(void *arg, void *owner, uint64_t num) {
    struct store_core *c = arg;
    store_directory_entry_done(c->directory, owner, num);
}

struct store_directory *store_core_directory(struct store_core *c, uint64_t seed) {
    static const struct store_directory_ops ops = {
        .send = queue_send, .changed = directory_changed, .now_ms = queue_now};
    c->directory = store_directory_new(&ops, c, seed);
    return c->directory;
}

static bool ask_directory(struct core_link *l, const struct frame *f) {
    if (l->core->directory)
        store_directory_frame(l->core->directory, l, f);
    return l->core->directory != NULL;
}

static void put_site(void *arg, const struct frame *f) {
    queue_send(arg, f);
}

static bool list_sites(struct core_link *l, uint32_t tag) {
    struct frame f = {.type = FRAME_DONE, .done = {.tag = tag}};
    if (l->core->queue)
        f.done.count = store_queue_sites(l->core->queue, tag, put_site, l);
    queue_send(l, &f);
    return true;
}

static bool is_job(const struct frame *f) {
    return frame_direction(f->type) == FRAME_WORKER_TO_STORE;
}

const struct store_ops *store_core_store_ops(void) {
    static const struct store_ops ops = {.mail_done = on_mail_done,
                                         .accepted = on_accepted,
                                         .moved = on_moved,
                                         .intent_done = on_intent_done,
                                         .outcome_done = on_outcome_done,
                                         .acted = on_acted,
                                         .is_active = on_is_active,
                                         .entry_done = on_entry_done,
                                         .state = on_state,
                                         .hold = on_hold,
                                         .answer = on_answer,
                                         .changed = on_changed,
                                         .soon = on_soon};
    return &ops;
}

/* ---- links ---- */

struct store_core *store_core_new(const struct store_core_ops *ops, void *arg) {
    struct store_core *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->ops = *ops;
    c->arg = arg;
    list_init(&c->links);
    return c;
}

void store_core_free(struct store_core *c) {
    assert(list_empty(&c->links));
    if (c->queue)
        store_queue_free(c->queue);
    store_directory_free(c->directory);
    free(c);
}

void store_core_attach(struct store_core *c, struct store *s) {
    c->store = s;
}

struct core_link *store_core_link(struct store_core *c, void *peer, bool brings_mail) {
    struct core_link *l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->core = c;
    l->peer = peer;
    l->brings_mail = brings_mail;
    list_init(&l->asks);
    list_add_tail(&c->links, &l->node);
    random_bytes(&l->mails.seed, sizeof(l->mails.seed));
    l->sessions.seed = l->mails.seed;
    if (brings_mail) {
        send_state(l);
        c->ops.pause(peer, c->holding);
    }
    return l;
}

bool store_core_frame(struct core_link *l, const struct frame *f) {
    if (is_job(f))
        return l->worker && store_queue_frame(l->worker, f);
    if (store_directory_wants(f->type))
        return ask_directory(l, f);
    switch ((int)f->type) {
    case FRAME_MAIL_BEGIN: return mail_begin(l, &f->mail_begin);
    case FRAME_MAIL_BODY: return mail_piece(l, f->mail_body.mail, f->mail_body.bytes, store_mail_body);
    case FRAME_MAIL_ENVELOPE: return mail_piece(l, f->mail_envelope.mail, f->mail_envelope.bytes, store_mail_envelope);
    case FRAME_MAIL_TRANSCRIPT:
        return mail_piece(l, f->mail_transcript.mail, f->mail_transcript.bytes, store_mail_transcript);
    case FRAME_MAIL_COMMIT: return mail_commit(l, f->mail_commit.mail);
    case FRAME_MAIL_ABORT: return mail_abort(l, f->mail_abort.mail);
    case FRAME_SESSION_BEGIN: return session_begin(l, &f->session_begin);
    case FRAME_SESSION_INFO:
        return session_piece(l, f->session_info.session, f->session_info.bytes, offsetof(struct core_session, info));
    case FRAME_SESSION_TRANSCRIPT:
        return session_piece(l, f->session_transcript.session, f->session_transcript.bytes,
                             offsetof(struct core_session, transcript));
    case FRAME_SESSION_END: return session_end(l, &f->session_end);
    case FRAME_SUMMARY_PUT: return summary(l, &f->summary_put);
    case FRAME_SUBSCRIBE: return subscribe(l, f->subscribe.on);
    case FRAME_CANCEL: return cancel(l, f->cancel.tag);
    case FRAME_SITE_LIST: return list_sites(l, f->site_list.tag);
    default: return ask(l, f);
    }
}

void store_core_drained(struct core_link *l) {
    if (l->worker)
        store_queue_drained(l->core->queue);
    if (l->missed) {
        struct frame f = {.type = FRAME_CHANGED_PRUNED};
        l->missed = false;
        l->core->ops.send(l->peer, &f);
    }
    LIST_EACH_SAFE(&l->asks, node) {
        struct core_ask *a = LIST_ENTRY(node, struct core_ask, node);
        if (!a->parked)
            continue;
        a->parked = false;
        store_request_more(l->core->store, a->request);
    }
}

static void drop_mails(struct core_link *l) {
    size_t at = 0;
    for (struct core_mail *m; (m = map_next(&l->mails, &at));) {
        if (m->committed)
            store_mail_forget(m->mail);
        else
            store_mail_abort(m->mail);
        free(m);
    }
    map_free(&l->mails);
}

/* What is known of the sessions of a peer that went is kept. */
static void drop_sessions(struct core_link *l) {
    size_t at = 0;
    for (struct core_session *s; (s = map_next(&l->sessions, &at));) {
        session_store(l, s, clock_wall_us() / 1000, 0, S("the SMTP process ended"));
        session_free(l, s);
    }
    map_free(&l->sessions);
}

void store_core_unlink(struct core_link *l) {
    if (l->worker)
        store_queue_unworker(l->worker);
    if (l->core->directory)
        store_directory_forget(l->core->directory, l);
    drop_mails(l);
    drop_sessions(l);
    LIST_EACH_SAFE(&l->asks, node)
    ask_cancel(LIST_ENTRY(node, struct core_ask, node));
    list_remove(&l->node);
    free(l);
}
