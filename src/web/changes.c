#include "web/changes.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "base/code.h"
#include "base/list.h"
#include "web/reader.h"
#include "web/summary.h"
#include "web/ws.h"

enum {
    STATS_DELAY_MS = 250, /* of a burst of changes, one stats event */
    ARRIVALS_MAX = 200,   /* more waiting to be told one by one: "read the list again" instead */
    DELETED_MAX = 200,    /* likewise for deletions at once */
    EVENT_MAX = SUMMARY_MAX + 2048,
};

/* A message that arrived and waits for its summary; told in the order of arrival. */
struct arrival {
    struct list node;
    char id[ID_SIZE];
    struct frame_row row;
    struct summary *making;
    bool ready;
    struct buf json;
};

static struct {
    struct list arrivals;
    size_t arrival_count;
    size_t clients;
    struct event *stats;
    uint32_t stats_tag;
    bool subscribed;
} changes;

static void tell(const char *type, str data) {
    struct buf b = BUF(EVENT_MAX);
    buf_printf(&b, "{\"Type\":\"%s\",\"Data\":", type);
    buf_add(&b, data);
    buf_char(&b, '}');
    if (!b.full)
        ws_broadcast(buf_str(&b));
    buf_free(&b);
}

static void tell_id(const char *type, str id, const char *more) {
    struct buf b = BUF(256);
    buf_add(&b, S("{\"ID\":"));
    json_str(&b, id);
    buf_add(&b, str_of(more));
    buf_char(&b, '}');
    if (!b.full)
        tell(type, buf_str(&b));
    buf_free(&b);
}

/* ---- arrivals ---- */

static void arrival_free(struct arrival *a) {
    if (a->making)
        summary_cancel(a->making);
    list_remove(&a->node);
    buf_free(&a->json);
    free(a);
    changes.arrival_count--;
}

static void forget_arrivals(void) {
    while (!list_empty(&changes.arrivals))
        arrival_free(LIST_ENTRY(list_first(&changes.arrivals), struct arrival, node));
}

static void on_summary(void *arg, str json) {
    struct arrival *a = arg;
    a->making = NULL;
    a->ready = true;
    summary_put(&a->json, &a->row, json);
    while (!list_empty(&changes.arrivals)) {
        struct arrival *first = LIST_ENTRY(list_first(&changes.arrivals), struct arrival, node);
        if (!first->ready)
            return;
        tell("new", buf_str(&first->json));
        arrival_free(first);
    }
}

static void arrived(const struct frame_changed_new *f) {
    if (f->id.n != ID_SIZE)
        return;
    if (changes.arrival_count == ARRIVALS_MAX) {
        forget_arrivals();
        tell("prune", S("null"));
    }
    struct arrival *a = calloc(1, sizeof *a);
    assert(a);
    memcpy(a->id, f->id.p, ID_SIZE);
    a->row = (struct frame_row){.id = str_n(a->id, ID_SIZE), .created_ms = f->created_ms, .size = f->size};
    a->json = BUF(EVENT_MAX);
    changes.arrival_count++;
    list_add_tail(&changes.arrivals, &a->node);
    a->making = summary_start(a->row.id, on_summary, a);
}

/* ---- counts ---- */

static void on_stats(void *arg, const struct frame *f) {
    (void)arg;
    changes.stats_tag = 0;
    if (f->type != FRAME_STATS)
        return;
    struct buf b = BUF(256);
    buf_printf(&b, "{\"Total\":%llu,\"Unread\":%llu,\"Version\":\"%s\"}", (unsigned long long)f->stats.total,
               (unsigned long long)f->stats.unread, PENFOLD_VERSION);
    tell("stats", buf_str(&b));
    buf_free(&b);
}

static void on_stats_due(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    struct frame f = {.type = FRAME_STATS_GET};
    if (!changes.stats_tag && changes.clients)
        changes.stats_tag = reader_ask(&f, on_stats, NULL);
}

static void stats_soon(void) {
    struct timeval tv = {0, STATS_DELAY_MS * 1000};
    if (!evtimer_pending(changes.stats, NULL))
        event_add(changes.stats, &tv);
}

/* ---- what the store says ---- */

static void deleted(str ids) {
    if (ids.n / ID_SIZE > DELETED_MAX) {
        tell("prune", S("null"));
        return;
    }
    for (; ids.n >= ID_SIZE; ids = str_tail(ids, ID_SIZE))
        tell_id("delete", str_head(ids, ID_SIZE), "");
}

void changes_frame(const struct frame *f) {
    if (!changes.clients)
        return;
    switch ((int)f->type) {
    case FRAME_CHANGED_NEW: arrived(&f->changed_new); break;
    case FRAME_CHANGED_SEEN:
        tell_id("update", f->changed_seen.id, f->changed_seen.seen ? ",\"Read\":true" : ",\"Read\":false");
        break;
    case FRAME_CHANGED_DELETED: deleted(f->changed_deleted.ids); break;
    case FRAME_CHANGED_PRUNED: tell("prune", S("null")); break;
    case FRAME_CHANGED_TRUNCATED: tell("truncate", S("null")); break;
    default: break;
    }
    stats_soon();
}

static void subscribe(bool on) {
    struct frame f = {.type = FRAME_SUBSCRIBE, .subscribe = {on}};
    if (on == changes.subscribed || !reader_up())
        return;
    changes.subscribed = on;
    reader_tell(&f);
}

void changes_linked(void) {
    changes.subscribed = false;
    if (!reader_up() || !changes.clients)
        return;
    subscribe(true);
    tell("prune", S("null")); /* what happened without the link is unknown */
    stats_soon();
}

void changes_clients(size_t count) {
    bool more = count > changes.clients;
    changes.clients = count;
    subscribe(count > 0);
    if (more)
        stats_soon();
    if (count == 0)
        forget_arrivals();
}

void changes_start_all(struct event_base *base) {
    list_init(&changes.arrivals);
    changes.stats = evtimer_new(base, on_stats_due, NULL);
    assert(changes.stats);
}

void changes_stop_all(void) {
    forget_arrivals();
    reader_cancel(changes.stats_tag);
    event_free(changes.stats);
}
