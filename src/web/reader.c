#include "web/reader.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/map.h"
#include "sys/clock.h"
#include "sys/link.h"

struct question {
    struct list node; /* in `refused`, when there was no link to ask over */
    uint32_t tag;
    enum frame_type asked;
    reader_answer *answer;
    void *arg;
};

static struct {
    struct event_base *base;
    struct link *link;
    struct map questions; /* tag -> struct question */
    struct list refused;
    struct event *refuse;
    uint32_t last_tag;
    void (*on_change)(const struct frame *f);
    void (*on_link)(void);
} reader;

/* Every row that carries a tag has it first; these are the ones a reader asks with or is answered by. */
static uint32_t *tag_of(struct frame *f) {
    switch (f->type) {
    case FRAME_LIST: return &f->list.tag;
    case FRAME_GET: return &f->get.tag;
    case FRAME_READ: return &f->read.tag;
    case FRAME_MARK: return &f->mark.tag;
    case FRAME_DELETE: return &f->delete.tag;
    case FRAME_SESSION_GET: return &f->session_get.tag;
    case FRAME_STATS_GET: return &f->stats_get.tag;
    case FRAME_ROW: return &f->row.tag;
    case FRAME_ENVELOPE: return &f->envelope.tag;
    case FRAME_TRANSCRIPT: return &f->transcript.tag;
    case FRAME_BYTES: return &f->bytes.tag;
    case FRAME_SESSION: return &f->session.tag;
    case FRAME_SESSION_MAIL: return &f->session_mail.tag;
    case FRAME_STATS: return &f->stats.tag;
    case FRAME_DONE: return &f->done.tag;
    case FRAME_FAILED: return &f->failed.tag;
    case FRAME_READ_EDITED: return &f->read_edited.tag;
    case FRAME_ENTRY_PUT: return &f->entry_put.tag;
    case FRAME_ENTRY_DELETE: return &f->entry_delete.tag;
    case FRAME_ENTRY_LIST: return &f->entry_list.tag;
    case FRAME_ENTRY_GET: return &f->entry_get.tag;
    case FRAME_QUEUE_LIST: return &f->queue_list.tag;
    case FRAME_QUEUE_ACT: return &f->queue_act.tag;
    case FRAME_SITE_LIST: return &f->site_list.tag;
    case FRAME_STORY: return &f->story.tag;
    case FRAME_MAILBOX_LIST: return &f->mailbox_list.tag;
    case FRAME_MAILBOX_ROWS: return &f->mailbox_rows.tag;
    case FRAME_ENTRY: return &f->entry.tag;
    case FRAME_QUEUE_ROW: return &f->queue_row.tag;
    case FRAME_SITE_ROW: return &f->site_row.tag;
    case FRAME_ATTEMPT: return &f->attempt.tag;
    case FRAME_MAILBOX: return &f->mailbox.tag;
    case FRAME_MAILBOX_ROW: return &f->mailbox_row.tag;
    case FRAME_BACKUP_HOLD: return &f->backup_hold.tag;
    case FRAME_BACKUP_LOOK: return &f->backup_look.tag;
    case FRAME_BACKUP_END: return &f->backup_end.tag;
    case FRAME_BACKUP_HELD: return &f->backup_held.tag;
    case FRAME_BACKUP_SEGMENT: return &f->backup_segment.tag;
    default: return NULL;
    }
}

static bool is_last(enum frame_type t) {
    return t == FRAME_BYTES || t == FRAME_STATS || t == FRAME_DONE || t == FRAME_FAILED;
}

/* May this frame be an answer, or a part of one?  Whoever asked relies on it. */
static bool is_answer_to(enum frame_type asked, enum frame_type t) {
    if (t == FRAME_FAILED)
        return true;
    switch ((int)asked) {
    case FRAME_LIST: return t == FRAME_ROW || t == FRAME_DONE;
    case FRAME_GET: return t == FRAME_ROW || t == FRAME_ENVELOPE || t == FRAME_TRANSCRIPT || t == FRAME_DONE;
    case FRAME_READ_EDITED:
    case FRAME_READ: return t == FRAME_BYTES;
    case FRAME_ENTRY_LIST:
    case FRAME_ENTRY_GET: return t == FRAME_ENTRY || t == FRAME_DONE;
    case FRAME_QUEUE_LIST: return t == FRAME_QUEUE_ROW || t == FRAME_DONE;
    case FRAME_SITE_LIST: return t == FRAME_SITE_ROW || t == FRAME_DONE;
    case FRAME_STORY:
        return t == FRAME_ROW || t == FRAME_ENVELOPE || t == FRAME_TRANSCRIPT || t == FRAME_QUEUE_ROW ||
               t == FRAME_ATTEMPT || t == FRAME_SESSION || t == FRAME_DONE;
    case FRAME_MAILBOX_LIST: return t == FRAME_MAILBOX || t == FRAME_DONE;
    case FRAME_MAILBOX_ROWS: return t == FRAME_MAILBOX_ROW || t == FRAME_DONE;
    case FRAME_BACKUP_HOLD: return t == FRAME_BACKUP_HELD || t == FRAME_DONE;
    case FRAME_BACKUP_LOOK: return t == FRAME_BACKUP_SEGMENT || t == FRAME_DONE;
    case FRAME_SESSION_GET:
        return t == FRAME_SESSION || t == FRAME_SESSION_MAIL || t == FRAME_TRANSCRIPT || t == FRAME_DONE;
    case FRAME_STATS_GET: return t == FRAME_STATS;
    default: return t == FRAME_DONE; /* MARK, DELETE */
    }
}

static void answer_failed(struct question *q, enum err e, str sentence) {
    struct frame f = {.type = FRAME_FAILED, .failed = {q->tag, (uint8_t)e, sentence}};
    q->answer(q->arg, &f);
    free(q);
}

static void fail_all(void) {
    struct map lost = reader.questions;
    reader.questions = MAP(lost.seed);
    size_t at = 0;
    for (struct question *q; (q = map_next(&lost, &at)) != NULL;)
        list_add_tail(&reader.refused, &q->node);
    map_free(&lost);
    event_active(reader.refuse, EV_TIMEOUT, 0);
}

static void on_refuse(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    while (!list_empty(&reader.refused)) {
        struct question *q = LIST_ENTRY(list_first(&reader.refused), struct question, node);
        list_remove(&q->node);
        answer_failed(q, ERR_CLOSED, S("The store is not running. Try again in a moment."));
    }
}

static void on_frame(void *arg, struct link *l, const struct frame *f, int fd) {
    (void)arg, (void)l, (void)fd;
    struct frame copy = *f;
    uint32_t *tag = tag_of(&copy);
    if (!tag) {
        reader.on_change(f);
        return;
    }
    struct question *q = map_get(&reader.questions, *tag);
    if (!q)
        return; /* cancelled meanwhile */
    if (!is_answer_to(q->asked, f->type)) {
        map_remove(&reader.questions, q->tag);
        answer_failed(q, ERR_CORRUPT, S("The store's answer makes no sense."));
        return;
    }
    reader_answer *answer = q->answer;
    void *to = q->arg;
    if (is_last(f->type)) {
        map_remove(&reader.questions, q->tag);
        free(q);
    }
    answer(to, f);
}

static void on_close(void *arg, struct link *l) {
    (void)arg;
    if (l != reader.link)
        return;
    reader.link = NULL;
    fail_all();
    reader.on_link();
}

void reader_start(struct event_base *base, void (*on_change)(const struct frame *f), void (*on_link)(void)) {
    uint64_t seed;
    random_bytes(&seed, sizeof seed);
    reader.base = base;
    reader.on_change = on_change;
    reader.on_link = on_link;
    reader.questions = MAP(seed);
    list_init(&reader.refused);
    reader.refuse = evtimer_new(base, on_refuse, NULL);
    assert(reader.refuse);
}

void reader_link(int fd) {
    static const struct link_ops ops = {.on_frame = on_frame, .on_close = on_close};
    if (reader.link) {
        link_close(reader.link);
        fail_all();
    }
    reader.link = link_open(reader.base, fd, FRAME_STORE_TO_READER, &ops, NULL);
    assert(reader.link);
    reader.on_link();
}

bool reader_up(void) {
    return reader.link != NULL;
}

void reader_stop(void) {
    if (reader.link)
        link_close(reader.link);
    reader.link = NULL;
    fail_all();
    on_refuse(-1, 0, NULL);
    map_free(&reader.questions);
    event_free(reader.refuse);
}

uint32_t reader_ask(struct frame *f, reader_answer *answer, void *arg) {
    struct question *q = calloc(1, sizeof *q);
    assert(q);
    do
        q->tag = ++reader.last_tag;
    while (q->tag == 0 || map_get(&reader.questions, q->tag));
    q->asked = f->type;
    q->answer = answer;
    q->arg = arg;
    *tag_of(f) = q->tag;
    if (reader.link) {
        bool kept = map_put(&reader.questions, q->tag, q);
        assert(kept);
        list_init(&q->node);
        link_send(reader.link, f);
    } else {
        list_add_tail(&reader.refused, &q->node);
        event_active(reader.refuse, EV_TIMEOUT, 0);
    }
    return q->tag;
}

static struct question *refused_question(uint32_t tag) {
    LIST_EACH(&reader.refused, node) {
        struct question *q = LIST_ENTRY(node, struct question, node);
        if (q->tag == tag)
            return q;
    }
    return NULL;
}

void reader_cancel(uint32_t tag) {
    struct question *q = tag ? map_remove(&reader.questions, tag) : NULL;
    if (q) {
        struct frame f = {.type = FRAME_CANCEL, .cancel = {tag}};
        if (reader.link)
            link_send(reader.link, &f);
    } else if ((q = tag ? refused_question(tag) : NULL) != NULL) {
        list_remove(&q->node);
    }
    free(q);
}

void reader_tell(const struct frame *f) {
    if (reader.link)
        link_send(reader.link, f);
}
