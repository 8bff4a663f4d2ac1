#include "web/view.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "sys/clock.h"
#include "sys/link.h"
#include "web/reader.h"

enum {
    ENVELOPE_MAX = 8 * 1024 * 1024,
    ARGUMENT_MAX = 256,
};

/* LOOKUP -> (MARKING) -> WAITING (for a turn) -> FEEDING -> FED -> done */
enum view_state { VIEW_S_LOOKUP, VIEW_S_MARKING, VIEW_S_WAITING, VIEW_S_FEEDING, VIEW_S_FED };

struct view {
    struct list node; /* in views.waiting or views.running */
    enum view_state state;
    enum view_kind kind;
    const struct view_ops *ops;
    void *arg;
    char id[ID_SIZE];
    size_t id_size;
    char argument[ARGUMENT_MAX];
    size_t argument_size;
    bool mark_read, seen, paused, found;
    uint32_t store_tag; /* the pending question, or 0 */
    uint32_t tag;       /* towards content */
    uint64_t offset, size;
    uint64_t ahead; /* bytes of the body that content has not yet done with */
    uint64_t room;  /* bytes of output that content may still send */
    struct buf envelope;
};

static struct {
    struct event_base *base;
    struct link *link;
    struct map running; /* tag -> struct view */
    struct list running_list, waiting, looking;
    size_t begun_count, paused_count; /* of those in running_list */
    uint32_t last_tag;
    struct event *turn; /* gives waiting views their turn, or their end */
} views;

static void feed(struct view *v);

static void view_free(struct view *v) {
    reader_cancel(v->store_tag);
    list_remove(&v->node);
    if (v->tag) {
        map_remove(&views.running, v->tag);
        views.begun_count--;
        views.paused_count -= v->paused;
        event_active(views.turn, EV_TIMEOUT, 0);
    }
    buf_free(&v->envelope);
    free(v);
}

static void finish(struct view *v, enum err e, str text) {
    const struct view_ops *ops = v->ops;
    void *arg = v->arg;
    char copy[512]; /* text may lie in what ends here */
    text = str_head(text, sizeof copy);
    if (text.n)
        memcpy(copy, text.p, text.n);
    view_free(v);
    ops->done(arg, e, str_n(copy, text.n));
}

static void send_cancel(const struct view *v) {
    struct frame f = {.type = FRAME_VIEW_CANCEL, .view_cancel = {v->tag}};
    if (v->tag && views.link)
        link_send(views.link, &f);
}

static void fail(struct view *v, enum err e, str text) {
    send_cancel(v);
    finish(v, e, text);
}

void view_cancel(struct view *v) {
    send_cancel(v);
    view_free(v);
}

/* ---- feeding the content role ---- */

static void send_end(struct view *v) {
    struct frame f = {.type = FRAME_VIEW_END, .view_end = {v->tag}};
    link_send(views.link, &f);
    v->state = VIEW_S_FED;
}

static void on_bytes(void *arg, const struct frame *f) {
    struct view *v = arg;
    v->store_tag = 0;
    if (f->type == FRAME_FAILED) {
        fail(v, (enum err)f->failed.err, f->failed.text);
        return;
    }
    str bytes = f->type == FRAME_BYTES ? f->bytes.bytes : STR_NONE;
    if (bytes.n == 0 || bytes.n > FRAME_CHUNK) {
        fail(v, ERR_CORRUPT, S("The store gave no bytes of this message."));
        return;
    }
    struct frame body = {.type = FRAME_VIEW_BODY, .view_body = {v->tag, bytes}};
    link_send(views.link, &body);
    v->offset += bytes.n;
    v->ahead += bytes.n;
    feed(v);
}

static bool content_is_full(void) {
    return link_queued(views.link) > LINK_WINDOW;
}

/* The next piece, when nothing stands against it; called again whenever something has changed. */
static void feed(struct view *v) {
    if (v->state != VIEW_S_FEEDING || v->store_tag || v->paused || v->ahead >= VIEW_WINDOW || content_is_full())
        return;
    if (v->offset >= v->size || v->offset >= view_bytes(v->kind)) {
        send_end(v);
        return;
    }
    struct frame f = {.type = FRAME_READ, .read = {0, str_n(v->id, v->id_size), v->offset, FRAME_CHUNK}};
    v->store_tag = reader_ask(&f, on_bytes, v);
}

static void begin(struct view *v) {
    do
        v->tag = ++views.last_tag;
    while (v->tag == 0 || map_get(&views.running, v->tag));
    bool kept = map_put(&views.running, v->tag, v);
    assert(kept);
    views.begun_count++;
    v->room = VIEW_WINDOW;
    list_remove(&v->node);
    list_add_tail(&views.running_list, &v->node);
    v->state = VIEW_S_FEEDING;
    struct frame f = {.type = FRAME_VIEW_BEGIN,
                      .view_begin = {v->tag, (uint8_t)v->kind, str_n(v->argument, v->argument_size), v->size}};
    link_send(views.link, &f);
    FRAME_CHUNKS(buf_str(&v->envelope), piece) {
        struct frame e = {.type = FRAME_VIEW_ENVELOPE, .view_envelope = {v->tag, piece}};
        link_send(views.link, &e);
    }
    buf_free(&v->envelope);
    feed(v);
}

static bool has_turn(void) {
    return views.begun_count < VIEWS_BEGUN_MAX && views.begun_count - views.paused_count < VIEWS_RUNNING_MAX;
}

/* Waiting views get their turn; without a content role, their end. */
static void on_turn(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    while (!list_empty(&views.waiting) && (!views.link || has_turn())) {
        struct view *v = LIST_ENTRY(list_first(&views.waiting), struct view, node);
        if (views.link)
            begin(v);
        else
            finish(v, ERR_DOWN, S("The role that reads mail is not running. Try again in a moment."));
    }
}

static void wait_turn(struct view *v) {
    v->state = VIEW_S_WAITING;
    list_remove(&v->node);
    list_add_tail(&views.waiting, &v->node);
    event_active(views.turn, EV_TIMEOUT, 0);
}

/* ---- the store ---- */

static void on_marked(void *arg, const struct frame *f) {
    struct view *v = arg;
    (void)f; /* a message that could not be marked read is shown all the same */
    v->store_tag = 0;
    wait_turn(v);
}

static void take_row(struct view *v, const struct frame_row *row) {
    if (row->id.n != ID_SIZE)
        return;
    memcpy(v->id, row->id.p, ID_SIZE);
    v->id_size = ID_SIZE;
    v->size = row->size;
    v->seen = row->seen;
    v->found = true;
    if (v->ops->row)
        v->ops->row(v->arg, row);
}

static void looked_up(struct view *v) {
    v->store_tag = 0;
    if (!v->found || v->envelope.full) {
        finish(v, ERR_CORRUPT, S("The store's answer was incomplete."));
    } else if (v->mark_read && !v->seen) {
        struct frame f = {.type = FRAME_MARK, .mark = {0, 1, 0, str_n(v->id, v->id_size)}};
        v->state = VIEW_S_MARKING;
        v->store_tag = reader_ask(&f, on_marked, v);
    } else {
        wait_turn(v);
    }
}

static void on_lookup(void *arg, const struct frame *f) {
    struct view *v = arg;
    switch ((int)f->type) {
    case FRAME_ROW: take_row(v, &f->row); break;
    case FRAME_ENVELOPE: buf_add(&v->envelope, f->envelope.bytes); break;
    case FRAME_DONE: looked_up(v); break;
    case FRAME_FAILED:
        v->store_tag = 0;
        finish(v, (enum err)f->failed.err, f->failed.text);
        break;
    default: break;
    }
}

struct view *view_start(enum view_kind kind, str id, str argument, bool mark_read, const struct view_ops *ops,
                        void *arg) {
    struct view *v = calloc(1, sizeof *v);
    assert(v && id.n <= ID_SIZE);
    v->kind = kind;
    v->ops = ops;
    v->arg = arg;
    v->mark_read = mark_read;
    v->envelope = BUF(ENVELOPE_MAX);
    view_argument(v, argument);
    list_add_tail(&views.looking, &v->node);
    struct frame f = {.type = FRAME_GET, .get = {0, id}};
    v->store_tag = reader_ask(&f, on_lookup, v);
    return v;
}

void view_argument(struct view *v, str argument) {
    v->argument_size = argument.n < ARGUMENT_MAX ? argument.n : ARGUMENT_MAX;
    if (v->argument_size)
        memcpy(v->argument, argument.p, v->argument_size);
}

/* In steps of half a window, so that a stream costs few frames. */
static void grant(struct view *v) {
    uint64_t bytes = VIEW_WINDOW - v->room;
    if (v->paused || bytes < VIEW_WINDOW / 2)
        return;
    struct frame f = {.type = FRAME_VIEW_MORE, .view_more = {v->tag, bytes}};
    link_send(views.link, &f);
    v->room = VIEW_WINDOW;
}

void view_pause(struct view *v) {
    assert(v->tag);
    if (v->paused)
        return;
    v->paused = true;
    views.paused_count++;
    event_active(views.turn, EV_TIMEOUT, 0);
}

void view_resume(struct view *v) {
    if (!v->paused)
        return;
    v->paused = false;
    views.paused_count--;
    grant(v);
    feed(v);
}

/* ---- the link ---- */

static void take_out(struct view *v, str bytes) {
    if (bytes.n > v->room) {
        fail(v, ERR_CORRUPT, S("The role that reads mail said more than it was asked for."));
        return;
    }
    v->room -= bytes.n;
    v->ops->out(v->arg, bytes);
    grant(v);
}

static void take_taken(struct view *v, uint64_t bytes) {
    v->ahead -= bytes < v->ahead ? bytes : v->ahead;
    feed(v);
}

static void on_frame(void *arg, struct link *l, const struct frame *f, int fd) {
    (void)arg, (void)l, (void)fd;
    struct view *v;
    switch ((int)f->type) {
    case FRAME_VIEW_HEAD:
        v = map_get(&views.running, f->view_head.tag);
        if (v && v->ops->head)
            v->ops->head(v->arg, &f->view_head);
        return;
    case FRAME_VIEW_OUT:
        v = map_get(&views.running, f->view_out.tag);
        if (v)
            take_out(v, f->view_out.bytes);
        return;
    case FRAME_VIEW_TAKEN:
        v = map_get(&views.running, f->view_taken.tag);
        if (v)
            take_taken(v, f->view_taken.bytes);
        return;
    case FRAME_VIEW_DONE:
        v = map_get(&views.running, f->view_done.tag);
        if (v)
            finish(v, f->view_done.err < ERR_COUNT ? (enum err)f->view_done.err : ERR_CORRUPT, f->view_done.text);
        return;
    default: return;
    }
}

static void on_drained(void *arg, struct link *l) {
    (void)arg, (void)l;
    LIST_EACH_SAFE(&views.running_list, node) /* feed() ends nothing */
    feed(LIST_ENTRY(node, struct view, node));
}

static void fail_running(void) {
    while (!list_empty(&views.running_list))
        finish(LIST_ENTRY(list_first(&views.running_list), struct view, node), ERR_IO,
               S("The role that reads mail has stopped. Try again in a moment."));
}

static void on_close(void *arg, struct link *l) {
    (void)arg;
    if (l != views.link)
        return;
    views.link = NULL;
    fail_running();
    event_active(views.turn, EV_TIMEOUT, 0);
}

void view_start_all(struct event_base *base) {
    uint64_t seed;
    random_bytes(&seed, sizeof seed);
    views.base = base;
    views.running = MAP(seed);
    list_init(&views.running_list);
    list_init(&views.waiting);
    list_init(&views.looking);
    views.turn = evtimer_new(base, on_turn, NULL);
    assert(views.turn);
}

void view_link(int fd) {
    static const struct link_ops ops = {.on_frame = on_frame, .on_close = on_close, .on_drained = on_drained};
    struct link *old = views.link;
    views.link = NULL;
    if (old) {
        link_close(old);
        fail_running();
    }
    views.link = link_open(views.base, fd, FRAME_CONTENT_TO_HTTPD, &ops, NULL);
    assert(views.link);
    event_active(views.turn, EV_TIMEOUT, 0);
}

bool view_up(void) {
    return views.link != NULL;
}

void view_stop_all(void) {
    if (views.link)
        link_close(views.link);
    views.link = NULL;
    fail_running();
    on_turn(-1, 0, NULL);
    map_free(&views.running);
    event_free(views.turn);
}
