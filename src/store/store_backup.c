/* Holds: what a backup of a running store needs of it.  The copying is done by who asked, who reads the files himself:
 * this process writes nowhere but in its own directory.  In this order it comes out right:
 *     hold            from now on no segment is recycled and no big file removed
 *     database        copied as one transaction saw it, which says how far it had applied the journal
 *     look            the journal's position, which is behind that
 *     journal, big    segments up to the position; files of big messages
 *     end             still held?  Then everything that the copy speaks of is in it
 * Opening the copy replays the journal from where the copied database stands to the position, as after a crash. */
#include "store/store_impl.h"
#include "sys/clock.h"
#include "sys/log.h"

enum { SECONDS_MIN = 1, SECONDS_MAX = 3600, SEGMENT_FRAME = 64 };

bool backup_wants(const struct request *r) {
    return r->type == FRAME_BACKUP_HOLD || r->type == FRAME_BACKUP_LOOK || r->type == FRAME_BACKUP_END;
}

bool backup_holds(const struct store *s) {
    for (int i = 0; i < HOLDS; i++)
        if (s->holds[i].id)
            return true;
    return false;
}

/* 0 finds a free one. */
static struct hold *find(struct store *s, uint64_t id) {
    for (int i = 0; i < HOLDS; i++)
        if (s->holds[i].id == id)
            return &s->holds[i];
    return NULL;
}

/* The last one gone, what waited for it happens: recycling here, the removal of files behind the next transaction. */
static void release(struct store *s, struct hold *h) {
    *h = (struct hold){0};
    if (backup_holds(s))
        return;
    follower_keep(s->follower, false);
    store_push(s, op_new(OP_PASSED, 0), NULL);
    store_recycle(s);
}

static void done(struct store *s, struct request *r, uint64_t count) {
    struct frame f = {.type = FRAME_DONE, .done = {.tag = r->tag, .count = count}};
    frame_put(&r->out, &f);
    r->done = true;
    store_answer(s, r);
}

static void refuse(struct store *s, struct request *r, enum err e, const char *text) {
    request_fail(r, e, text);
    store_answer(s, r);
}

static void hold(struct store *s, struct request *r) {
    struct hold *h = find(s, 0);
    if (s->disk_state == ERR_FULL) {
        refuse(s, r, ERR_FULL, "the server's disk is full: a backup would keep it from making room");
        return;
    }
    if (!h) {
        refuse(s, r, ERR_EXISTS, "other backups are running");
        return;
    }
    while (!h->id) {
        random_bytes(&h->id, sizeof(h->id));
        h->id >>= 11; /* so that it is a number in JSON, too */
    }
    h->seconds = r->limit < SECONDS_MIN ? SECONDS_MIN : r->limit > SECONDS_MAX ? SECONDS_MAX : r->limit;
    h->until_ms = clock_mono_ms() + h->seconds * 1000;
    follower_keep(s->follower, true);
    log_event(EV_STORE_HELD, LOG_NUM("hold", h->id), LOG_END);
    struct frame f = {.type = FRAME_BACKUP_HELD};
    f.backup_held = (struct frame_backup_held){r->tag, h->id, str_of(s->data), s->options.segment_size};
    frame_put(&r->out, &f);
    done(s, r, 1);
}

static void look(struct store *s, struct request *r, struct hold *h) {
    size_t count = journal_segments(s->journal);
    struct journal_position end = journal_position(s->journal);
    h->until_ms = clock_mono_ms() + h->seconds * 1000;
    r->out.limit += count * SEGMENT_FRAME;
    for (size_t i = 0; i < count; i++) {
        const struct journal_segment *g = journal_nth(s->journal, i);
        struct frame f = {.type = FRAME_BACKUP_SEGMENT};
        f.backup_segment = (struct frame_backup_segment){r->tag, g->epoch, g->epoch == end.epoch ? end.offset : g->end};
        frame_put(&r->out, &f);
    }
    done(s, r, count);
}

void backup_request(struct store *s, struct request *r) {
    struct hold *h = r->start ? find(s, r->start) : NULL;
    if (r->type == FRAME_BACKUP_HOLD) {
        hold(s, r);
    } else if (!h) {
        refuse(s, r, ERR_NOT_FOUND, "this backup is not held any more");
    } else if (r->type == FRAME_BACKUP_LOOK) {
        look(s, r, h);
    } else {
        log_event(EV_STORE_RELEASED, LOG_NUM("hold", h->id), LOG_END);
        release(s, h);
        done(s, r, 1);
    }
}

/* Mail goes before backups: on a full disk what they hold is given back. */
void backup_second(struct store *s) {
    uint64_t now = clock_mono_ms();
    for (int i = 0; i < HOLDS; i++) {
        struct hold *h = &s->holds[i];
        if (!h->id || (now < h->until_ms && s->disk_state != ERR_FULL))
            continue;
        log_event(EV_STORE_HOLD_LOST, LOG_NUM("hold", h->id), LOG_END);
        release(s, h);
    }
}
