#include "web/summary.h"

#include <assert.h>
#include <event2/event.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/code.h"
#include "base/list.h"
#include "sys/log.h"
#include "web/reader.h"
#include "web/view.h"

enum { SUSPECTS_MAX = 64, SUMMARY_RAW_MAX = 4 * 1024 * 1024 };

struct summary {
    struct list node; /* in waiting, when it has no view yet */
    char id[ID_SIZE];
    struct view *view;
    struct buf json;
    uint32_t attachments;
    void (*done)(void *arg, str json);
    void *arg;
};

static struct {
    struct list waiting;
    size_t running;
    struct event *turn;
    /* Messages that were being read when the content role died: never asked again, lest one mail keeps killing it. */
    char suspects[SUSPECTS_MAX][ID_SIZE];
    size_t suspect_count;
} summaries;

static const str nothing =
    S_INIT("{\"MessageID\":\"\",\"From\":{\"Name\":\"\",\"Address\":\"\"},\"To\":[],\"Cc\":[],\"Bcc\":[],"
           "\"ReplyTo\":[],\"Subject\":\"\",\"Username\":\"\",\"Attachments\":0,\"Snippet\":\"\"}");

static bool is_suspect(const char id[ID_SIZE]) {
    size_t n = summaries.suspect_count < SUSPECTS_MAX ? summaries.suspect_count : SUSPECTS_MAX;
    for (size_t i = 0; i < n; i++)
        if (memcmp(summaries.suspects[i], id, ID_SIZE) == 0)
            return true;
    return false;
}

static void suspect(const char id[ID_SIZE]) {
    memcpy(summaries.suspects[summaries.suspect_count++ % SUSPECTS_MAX], id, ID_SIZE);
}

static void on_head(void *arg, const struct frame_view_head *head) {
    struct summary *s = arg;
    s->attachments = head->attachments;
}

static void on_out(void *arg, str bytes) {
    struct summary *s = arg;
    buf_add(&s->json, bytes);
}

/* A list row shows a line: of a hundred thousand bytes of subject or a thousand recipients the first will do. */
static void shorten_string(json_t *object, const char *name, size_t bytes_max) {
    json_t *v = json_object_get(object, name);
    str s = json_is_string(v) ? str_n(json_string_value(v), json_string_length(v)) : STR_NONE;
    if (s.n <= bytes_max)
        return;
    size_t n = bytes_max;
    while (n && ((unsigned char)s.p[n] & 0xc0) == 0x80) /* not within a character */
        n--;
    json_object_set_new(object, name, json_stringn(s.p, n));
}

static void shorten_person(json_t *person, size_t bytes_max) {
    shorten_string(person, "Name", bytes_max);
    shorten_string(person, "Address", bytes_max);
}

static void shorten(json_t *root, size_t bytes_max, size_t people_max) {
    static const char *const strings[] = {"MessageID", "Subject", "Username", "Snippet"};
    static const char *const lists[] = {"To", "Cc", "Bcc", "ReplyTo"};
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++)
        shorten_string(root, strings[i], bytes_max);
    shorten_person(json_object_get(root, "From"), bytes_max);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        json_t *list = json_object_get(root, lists[i]), *person;
        size_t k;
        while (json_array_size(list) > people_max)
            json_array_remove(list, json_array_size(list) - 1);
        json_array_foreach(list, k, person) shorten_person(person, bytes_max);
    }
}

/* Writes the object anew, shorter, until it fits a frame. */
static bool shorten_to_fit(json_t *root, struct buf *json) {
    static const struct { size_t bytes_max, people_max; } steps[] = {{4000, 100}, {1000, 20}, {200, 5}};
    for (size_t i = 0; json->n > SUMMARY_MAX && i < sizeof steps / sizeof steps[0]; i++) {
        shorten(root, steps[i].bytes_max, steps[i].people_max);
        char *text = json_dumps(root, JSON_COMPACT);
        buf_reset(json);
        buf_add(json, str_of(text));
        free(text);
    }
    return json->n > 2 && json->n <= SUMMARY_MAX;
}

/* What comes from the content role was made from mail: take it into our answers only if it is one JSON object. */
static bool is_fit(struct buf *json) {
    json_error_t error;
    json_t *root = json->n > 2 && json->p[0] == '{' ? json_loadb(json->p, json->n, JSON_ALLOW_NUL, &error) : NULL;
    bool fit = root != NULL && json_is_object(root) && shorten_to_fit(root, json);
    json_decref(root);
    return fit;
}

static void start_waiting(void);

static void finish(struct summary *s, str json) {
    s->done(s->arg, json);
    buf_free(&s->json);
    free(s);
}

static void on_done(void *arg, enum err e, str text) {
    struct summary *s = arg;
    summaries.running--;
    if (e == OK && (s->json.full || !is_fit(&s->json)))
        e = ERR_CORRUPT;
    str json = buf_str(&s->json);
    if (e == OK) {
        struct frame f = {.type = FRAME_SUMMARY_PUT, .summary_put = {str_n(s->id, ID_SIZE), s->attachments, json}};
        reader_tell(&f);
    } else {
        log_event(EV_VIEW_FAILED, LOG_STR("id", str_n(s->id, ID_SIZE)), LOG_STR("error", str_of(err_name(e))),
                  LOG_STR("why", text), LOG_END);
        if (e == ERR_IO)
            suspect(s->id);
        json = nothing;
    }
    finish(s, json);
    start_waiting();
}

static void start_waiting(void) {
    static const struct view_ops ops = {.head = on_head, .out = on_out, .done = on_done};
    while (summaries.running < SUMMARIES_RUNNING_MAX && !list_empty(&summaries.waiting)) {
        struct summary *s = LIST_ENTRY(list_first(&summaries.waiting), struct summary, node);
        list_remove(&s->node);
        if (is_suspect(s->id)) {
            finish(s, nothing);
            continue;
        }
        summaries.running++;
        s->view = view_start(VIEW_SUMMARY, str_n(s->id, ID_SIZE), STR_NONE, false, &ops, s);
    }
}

static void on_turn(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    start_waiting();
}

void summary_start_all(struct event_base *base) {
    list_init(&summaries.waiting);
    summaries.turn = evtimer_new(base, on_turn, NULL);
    assert(summaries.turn);
}

void summary_stop_all(void) {
    event_free(summaries.turn);
}

struct summary *summary_start(str id, void (*done)(void *arg, str json), void *arg) {
    struct summary *s = calloc(1, sizeof *s);
    assert(s && id.n == ID_SIZE);
    memcpy(s->id, id.p, ID_SIZE);
    s->json = BUF(SUMMARY_RAW_MAX);
    s->done = done;
    s->arg = arg;
    list_init(&s->node);
    list_add_tail(&summaries.waiting, &s->node);
    event_active(summaries.turn, EV_TIMEOUT, 0);
    return s;
}

void summary_cancel(struct summary *s) {
    list_remove(&s->node);
    if (s->view) {
        view_cancel(s->view);
        summaries.running--;
    }
    buf_free(&s->json);
    free(s);
    event_active(summaries.turn, EV_TIMEOUT, 0);
}

void json_str(struct buf *out, str s) {
    buf_char(out, '"');
    escape_json(s, out);
    buf_char(out, '"');
}

void json_time_ms(struct buf *out, uint64_t ms) {
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    if (ms == 0 || !gmtime_r(&seconds, &tm)) {
        buf_add(out, S("null"));
        return;
    }
    buf_printf(out, "\"%04d-%02d-%02dT%02d:%02d:%02d.%03uZ\"", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
               tm.tm_min, tm.tm_sec, (unsigned)(ms % 1000));
}

void summary_put(struct buf *out, const struct frame_row *row, str summary) {
    buf_add(out, S("{\"ID\":"));
    json_str(out, row->id);
    buf_printf(out, ",\"Read\":%s,\"Created\":", row->seen ? "true" : "false");
    json_time_ms(out, row->created_ms);
    buf_printf(out, ",\"Size\":%llu,\"Tags\":[],", (unsigned long long)row->size);
    buf_add(out, str_tail(summary.n > 2 ? summary : nothing, 1));
}
