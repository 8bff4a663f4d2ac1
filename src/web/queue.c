/* queue.c - what waits and where, over HTTP: the queue, what an operator does with it, the sites. */
#include <jansson.h>

#include "base/fields.h"
#include "frame/job.h"
#include "web/handlers.h"
#include "web/queue_words.h"
#include "web/rows.h"

enum { FILTER_MAX = 8 * 1024 };

static const char *const filters[] = {"id", "sender", "recipient", "domain", "state", "route"};
enum { FILTERS = sizeof filters / sizeof *filters };

static const char *const actions[] = {[QUEUE_DO_HOLD] = "hold",
                                      [QUEUE_DO_RELEASE] = "release",
                                      [QUEUE_DO_RETRY] = "retry",
                                      [QUEUE_DO_DELETE] = "delete",
                                      [QUEUE_DO_BOUNCE] = "bounce"};

static const char *const states[] = {
    [QUEUE_WAITING] = "waiting",     [QUEUE_ACTIVE] = "active",       [QUEUE_HELD] = "held",
    [QUEUE_DELIVERED] = "delivered", [QUEUE_BOUNCED] = "bounced",     [QUEUE_EXPIRED] = "expired",
    [QUEUE_DELETED] = "deleted",     [QUEUE_REPORTING] = "reporting", [QUEUE_UNKNOWN] = "unknown",
};

static const char *const outcomes[] = {
    [JOB_DELIVERED] = "delivered", [JOB_DEFERRED] = "deferred",   [JOB_FAILED] = "failed",
    [JOB_UNKNOWN] = "unknown",     [JOB_RELAYED] = "relayed",     [JOB_EXPANDED] = "expanded",
    [JOB_LATE] = "late",           [JOB_CANCELLED] = "cancelled", [JOB_EXPIRED] = "expired",
};

static const char *const kinds[] = {
    [JOB_MAILBOX] = "mailbox", [JOB_CAPTURE] = "capture",     [JOB_DISCARD] = "discard", [JOB_REFUSED] = "reject",
    [JOB_RELAY] = "relay",     [JOB_SMARTHOST] = "smarthost", [JOB_LMTP] = "lmtp",       [JOB_PIPE] = "pipe",
    [JOB_WEBHOOK] = "webhook", [JOB_REPORT] = "report",
};

#define WORD(table, i) ((i) < sizeof(table) / sizeof *(table) && (table)[i] ? (table)[i] : "unknown")

const char *queue_state_word(unsigned state) {
    return WORD(states, state);
}

const char *queue_outcome_word(unsigned outcome) {
    return WORD(outcomes, outcome);
}

const char *queue_kind_word(unsigned kind) {
    return WORD(kinds, kind);
}

void queue_row_json(struct buf *out, const struct frame *f) {
    const struct frame_queue_row *q = &f->queue_row;
    buf_char(out, '{');
    json_text(out, "ID", q->id);
    json_number(out, "Index", q->index);
    json_text(out, "Sender", q->sender);
    json_text(out, "Recipient", q->address);
    json_text(out, "Action", str_of(queue_kind_word(q->action)));
    json_text(out, "Route", q->route);
    json_text(out, "NextHop", q->next_hop);
    json_text(out, "Site", q->site);
    json_text(out, "State", str_of(queue_state_word(q->state)));
    json_number(out, "Attempts", q->attempts);
    json_moment(out, "Created", q->created_ms);
    json_moment(out, "NextAttempt", q->next_ms);
    json_moment(out, "Expires", q->expires_ms);
    json_number(out, "Size", q->size);
    json_text(out, "LastAnswer", q->text);
    buf_char(out, '}');
}

void queue_list(struct http_req *r) {
    static const struct rows_kind rows = {.name = "Queue", .row = FRAME_QUEUE_ROW, .put = queue_row_json};
    struct buf filter = BUF(FILTER_MAX), value = BUF(FILTER_MAX);
    for (size_t i = 0; i < FILTERS; i++) {
        buf_reset(&value);
        if (http_query(r->head->query, str_of(filters[i]), &value) && value.n)
            fields_put(&filter, str_of(filters[i]), buf_str(&value));
    }
    struct frame f = {.type = FRAME_QUEUE_LIST};
    f.queue_list = (struct frame_queue_list){0, buf_str(&filter), query_number(r, S("after"), 0),
                                             (uint32_t)query_number(r, S("limit"), 1000)};
    rows_reply(r, &f, &rows);
    buf_free(&filter);
    buf_free(&value);
}

/* An empty object is everything: it must be said, an empty body is a mistake. */
static const char *take_filter(str body, struct buf *filter) {
    json_error_t error;
    json_t *root = json_loadb(body.p ? body.p : "", body.n, 0, &error), *v;
    const char *wrong = json_is_object(root) ? NULL : "The body must be a JSON object: the filter, {} for all.", *name;
    json_object_foreach(root, name, v) {
        bool known = false;
        for (size_t i = 0; i < FILTERS; i++)
            known |= str_ieq(str_of(filters[i]), str_of(name));
        if (!known || !json_is_string(v))
            wrong = "A filter has id, sender, recipient, domain, state or route, each a text.";
        else
            for (size_t i = 0; i < FILTERS; i++)
                if (str_ieq(str_of(filters[i]), str_of(name)))
                    fields_put(filter, str_of(filters[i]), str_n(json_string_value(v), json_string_length(v)));
    }
    json_decref(root);
    return wrong;
}

void queue_act(struct http_req *r) {
    struct buf filter = BUF(FILTER_MAX);
    unsigned action = 0;
    for (unsigned i = QUEUE_DO_HOLD; i <= QUEUE_DO_BOUNCE; i++)
        if (str_eq(r->id, str_of(actions[i])))
            action = i;
    const char *wrong = take_filter(r->body, &filter);
    if (!action)
        http_error(r, 404, "What can be done is hold, release, retry, delete and bounce.");
    else if (wrong)
        http_error(r, 400, wrong);
    else {
        struct frame f = {.type = FRAME_QUEUE_ACT, .queue_act = {0, (uint8_t)action, buf_str(&filter)}};
        rows_done(r, &f);
    }
    buf_free(&filter);
}

static void put_site(struct buf *out, const struct frame *f) {
    const struct frame_site_row *s = &f->site_row;
    buf_char(out, '{');
    json_text(out, "Site", s->site);
    json_number(out, "Waiting", s->waiting);
    json_number(out, "Active", s->active);
    json_name(out, "Window");
    buf_printf(out, "%.3f", (double)s->window / 1000);
    json_bool(out, "Dead", s->dead);
    json_moment(out, "RetryAt", s->retry_ms);
    json_text(out, "LastAnswer", s->text);
    buf_char(out, '}');
}

void sites_list(struct http_req *r) {
    static const struct rows_kind rows = {.name = "Sites", .row = FRAME_SITE_ROW, .put = put_site};
    struct frame f = {.type = FRAME_SITE_LIST};
    rows_reply(r, &f, &rows);
}
