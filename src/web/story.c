/* story.c - explain: everything that is known of a message, as JSON, or in words that can be read aloud: who gave it,
 * what each rule made of each recipient, every attempt, what was said, what comes next.  Also of messages that are
 * gone; and of sessions, where mail was refused before it was a message. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/code.h"
#include "base/date.h"
#include "frame/job.h"
#include "smtp/envelope.h"
#include "web/handlers.h"
#include "web/queue_words.h"
#include "web/reader.h"
#include "web/rows.h"
#include "web/summary.h"

enum { PART_MAX = 16 * 1024 * 1024, ROWS_MAX = 100000 };

/* A copy of what one frame said: its strs are in the arena. */
struct row {
    struct frame f;
    struct row *next;
};

struct story {
    struct http_req *r;
    uint32_t tag;
    bool text, found;
    struct buf envelope_bytes, transcript;
    struct envelope envelope;
    struct row *queue, **queue_end, *attempts, **attempts_end;
    size_t rows;
    struct arena arena;
    struct buf out;
};

static void story_free(struct story *s) {
    reader_cancel(s->tag);
    buf_free(&s->envelope_bytes);
    buf_free(&s->transcript);
    buf_free(&s->out);
    arena_free(&s->arena);
    free(s);
}

static void story_gone(void *arg) {
    story_free(arg);
}

/* ---- in words ---- */

static void put_when(struct buf *out, uint64_t us) {
    if (!us)
        return;
    size_t start = out->n;
    date_put_3339(out, (struct date){(int64_t)us, 0}, 0);
    for (size_t i = start; i < out->n; i++)
        if (out->p[i] == 'T' || out->p[i] == 'Z')
            out->p[i] = ' ';
}

static void put_plain(struct buf *out, str s) {
    escape_print(s, out);
}

static void put_sender(struct buf *out, str sender) {
    buf_char(out, '<');
    put_plain(out, sender);
    buf_char(out, '>');
}

static void tell_client(struct buf *out, const struct envelope *e) {
    buf_add(out, S("    client "));
    put_plain(out, e->client_address);
    if (e->helo.n) {
        buf_add(out, S(", calling itself "));
        put_plain(out, e->helo);
    }
    buf_add(out, S(", by "));
    put_plain(out, e->protocol);
    buf_add(out, S(" on listener "));
    put_plain(out, e->listener);
    if (e->tls_version.n) {
        buf_add(out, S(", encrypted with "));
        put_plain(out, e->tls_version);
    } else
        buf_add(out, S(", not encrypted"));
    buf_add(out, S("\n    "));
    if (e->account.n || e->auth_user.n) {
        buf_add(out, S("authenticated as "));
        put_plain(out, e->account.n ? e->account : e->auth_user);
    } else
        buf_add(out, S("not authenticated"));
}

static void tell_arrival(struct buf *out, const struct envelope *e) {
    put_when(out, e->received_us);
    buf_add(out, S("accepted from "));
    put_sender(out, e->sender);
    buf_char(out, '\n');
    tell_client(out, e);
    if (e->report_of.n) {
        buf_add(out, S("\n    a report about the message "));
        put_plain(out, e->report_of);
    }
    if (e->edited_size)
        buf_printf(out, "\n    changed on the way in: it is delivered with %llu bytes",
                   (unsigned long long)e->edited_size);
    buf_char(out, '\n');
}

static void tell_decision(struct buf *out, const struct envelope *e, size_t i) {
    const struct envelope_delivery *d = &e->deliveries[i];
    str asked = d->rcpt < e->rcpt_count ? e->rcpts[d->rcpt].address : STR_NONE;
    buf_add(out, S("\n"));
    put_sender(out, d->address);
    if (!str_eq(asked, d->address)) {
        buf_add(out, S(", which came of "));
        put_sender(out, asked);
    }
    buf_printf(out, "\n    %s", d->rule.n ? "route " : "built-in route");
    put_plain(out, d->rule);
    buf_printf(out, ": %s", queue_kind_word(d->kind));
    if (d->target.n) {
        buf_char(out, ' ');
        put_plain(out, d->target);
    }
    if (d->detail.n) {
        buf_add(out, S(", "));
        put_plain(out, d->detail);
    }
    str via = d->via, line;
    while (str_line(&via, &line)) {
        buf_add(out, S("\n    "));
        put_plain(out, line);
    }
    if (d->has_sender) {
        buf_add(out, S("\n    sent on in the name of "));
        put_sender(out, d->sender);
    }
    buf_char(out, '\n');
}

/* What was done to the message for that server. */
static void tell_conversion(struct buf *out, str transcript) {
    for (str line; str_line(&transcript, &line);)
        if (str_starts(line, S("* converted"))) {
            buf_add(out, S("        "));
            put_plain(out, str_tail(line, 2));
            buf_char(out, '\n');
        }
}

static void tell_attempt(struct buf *out, const struct frame_attempt *a) {
    buf_add(out, S("    "));
    put_when(out, a->started_us);
    buf_add(out, str_of(queue_outcome_word(a->outcome)));
    if (a->host.n || a->address.n) {
        buf_add(out, S(" at "));
        put_plain(out, a->host);
        buf_add(out, S(" ["));
        put_plain(out, a->address);
        buf_char(out, ']');
        buf_add(out, a->tls.n ? S(" with ") : S(" not encrypted"));
        put_plain(out, a->tls);
    }
    if (a->code || a->text.n) {
        buf_add(out, S(": "));
        if (a->code)
            buf_printf(out, "%u ", a->code);
        put_plain(out, a->text);
    }
    if (a->ended_us > a->started_us)
        buf_printf(out, " (%.1f s)", (double)(a->ended_us - a->started_us) / 1e6);
    buf_char(out, '\n');
    tell_conversion(out, a->transcript);
}

static void tell_state(struct buf *out, const struct frame_queue_row *q) {
    buf_printf(out, "    now: %s", queue_state_word(q->state));
    if (q->state == QUEUE_WAITING || q->state == QUEUE_UNKNOWN || q->state == QUEUE_HELD) {
        if (q->next_ms && q->state != QUEUE_HELD) {
            buf_add(out, S(", next attempt "));
            put_when(out, q->next_ms * 1000);
        }
        if (q->expires_ms) {
            buf_add(out, S(", given up "));
            put_when(out, q->expires_ms * 1000);
        }
    }
    if (q->state == QUEUE_UNKNOWN)
        buf_add(out, S("\n    the end of the last attempt is not known: it may arrive twice"));
    buf_char(out, '\n');
}

static bool is_local(unsigned kind) {
    return kind == JOB_MAILBOX || kind == JOB_CAPTURE || kind == JOB_DISCARD;
}

static void tell_recipient(struct story *s, size_t i) {
    struct buf *out = &s->out;
    bool told = false;
    tell_decision(out, &s->envelope, i);
    for (const struct row *a = s->attempts; a; a = a->next)
        if (a->f.attempt.index == i)
            tell_attempt(out, &a->f.attempt);
    for (const struct row *q = s->queue; q; q = q->next)
        if (q->f.queue_row.index == i) {
            tell_state(out, &q->f.queue_row);
            told = true;
        }
    if (!told && is_local(s->envelope.deliveries[i].kind))
        buf_add(out, S("    now: delivered, when it was accepted\n"));
}

static void tell_said(struct story *s, const char *heading) {
    str rest = buf_str(&s->transcript), line;
    buf_printf(&s->out, "\n%s\n", heading);
    while (str_line(&rest, &line)) {
        buf_add(&s->out, S("    "));
        put_plain(&s->out, line);
        buf_char(&s->out, '\n');
    }
}

static void tell_session(struct story *s, const struct frame_session *f) {
    struct buf *out = &s->out;
    struct envelope e;
    buf_add(out, S("Session "));
    put_plain(out, f->id);
    buf_char(out, '\n');
    put_when(out, f->started_ms * 1000);
    buf_add(out, S("began; it ended: "));
    put_plain(out, f->reason);
    if (f->messages)
        buf_printf(out, "; messages accepted: %u\n", f->messages);
    else
        buf_add(out, S("; no message was accepted\n"));
    if (envelope_take(f->info, &s->arena, &e) == OK) {
        tell_client(out, &e);
        buf_char(out, '\n');
    }
}

static void tell_all(struct story *s) {
    buf_add(&s->out, S("Message "));
    put_plain(&s->out, s->envelope.id.n ? s->envelope.id : s->r->id);
    buf_char(&s->out, '\n');
    tell_arrival(&s->out, &s->envelope);
    for (size_t i = 0; i < s->envelope.delivery_count; i++)
        tell_recipient(s, i);
    if (s->envelope.delivery_count == 0)
        buf_add(&s->out, S("\nkept in the inbox of the page\n"));
    if (s->transcript.n)
        tell_said(s, "The session that brought it:");
}

/* ---- as JSON ---- */

static void put_attempt(struct buf *out, const struct frame_attempt *a) {
    buf_char(out, '{');
    json_number(out, "Index", a->index);
    json_moment(out, "Started", a->started_us / 1000);
    json_moment(out, "Ended", a->ended_us / 1000);
    json_text(out, "Outcome", str_of(queue_outcome_word(a->outcome)));
    json_number(out, "Code", a->code);
    json_text(out, "Text", a->text);
    json_text(out, "Host", a->host);
    json_text(out, "Address", a->address);
    json_text(out, "TLS", a->tls);
    json_text(out, "Source", a->source);
    json_text(out, "Transcript", a->transcript);
    buf_char(out, '}');
}

static void put_delivery(struct buf *out, const struct envelope_delivery *d) {
    buf_char(out, '{');
    json_number(out, "Recipient", d->rcpt);
    json_text(out, "Address", d->address);
    json_text(out, "Action", str_of(queue_kind_word(d->kind)));
    json_text(out, "Target", d->target);
    json_text(out, "Detail", d->detail);
    json_text(out, "Route", d->rule);
    json_text(out, "Via", d->via);
    if (d->has_sender)
        json_text(out, "Sender", d->sender);
    buf_char(out, '}');
}

static void put_all(struct story *s) {
    struct buf *out = &s->out;
    const struct envelope *e = &s->envelope;
    buf_char(out, '{');
    json_text(out, "ID", e->id);
    json_text(out, "Session", e->session);
    json_text(out, "Sender", e->sender);
    json_text(out, "Client", e->client_address);
    json_text(out, "Helo", e->helo);
    json_text(out, "Listener", e->listener);
    json_text(out, "Protocol", e->protocol);
    json_text(out, "TLS", e->tls_version);
    json_text(out, "Account", e->account);
    json_text(out, "ReportOf", e->report_of);
    json_moment(out, "Received", e->received_us / 1000);
    json_name(out, "Recipients");
    buf_char(out, '[');
    for (size_t i = 0; i < e->rcpt_count; i++) {
        buf_add(out, i ? S(",") : STR_NONE);
        json_str(out, e->rcpts[i].address);
    }
    buf_char(out, ']');
    json_name(out, "Deliveries");
    buf_char(out, '[');
    for (size_t i = 0; i < e->delivery_count; i++) {
        buf_add(out, i ? S(",") : STR_NONE);
        put_delivery(out, &e->deliveries[i]);
    }
    buf_char(out, ']');
    json_name(out, "Queue");
    buf_char(out, '[');
    for (const struct row *q = s->queue; q; q = q->next) {
        queue_row_json(out, &q->f);
        buf_add(out, q->next ? S(",") : STR_NONE);
    }
    buf_char(out, ']');
    json_name(out, "Attempts");
    buf_char(out, '[');
    for (const struct row *a = s->attempts; a; a = a->next) {
        put_attempt(out, &a->f.attempt);
        buf_add(out, a->next ? S(",") : STR_NONE);
    }
    buf_char(out, ']');
    json_text(out, "Transcript", buf_str(&s->transcript));
    buf_char(out, '}');
}

/* ---- the answer ---- */

static void story_whole(struct story *s) {
    struct http_req *r = s->r;
    enum err e = envelope_take(buf_str(&s->envelope_bytes), &s->arena, &s->envelope);
    if (e == OK && s->text)
        tell_all(s);
    else if (e == OK)
        put_all(s);
    if (e || s->out.full || s->arena.full)
        answer_error(r, e ? e : ERR_LIMIT, S("What is stored of this message cannot be told."));
    else
        http_reply(r, 200, s->text ? TEXT_TYPE : JSON_TYPE, buf_str(&s->out));
}

static struct row *keep_row(struct story *s, const struct frame *f) {
    struct row *row = s->rows++ < ROWS_MAX ? arena_alloc(&s->arena, sizeof *row) : NULL;
    if (row)
        row->f = *f;
    return row;
}

static void keep_queue_row(struct story *s, const struct frame *f) {
    struct row *row = keep_row(s, f);
    if (!row)
        return;
    struct frame_queue_row *q = &row->f.queue_row;
    str *texts[] = {&q->id, &q->sender, &q->address, &q->next_hop, &q->site, &q->route, &q->text};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        *texts[i] = arena_str(&s->arena, *texts[i]);
    *s->queue_end = row;
    s->queue_end = &row->next;
}

static void keep_attempt(struct story *s, const struct frame *f) {
    struct row *row = keep_row(s, f);
    if (!row)
        return;
    struct frame_attempt *a = &row->f.attempt;
    str *texts[] = {&a->text, &a->host, &a->address, &a->tls, &a->source, &a->transcript};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        *texts[i] = arena_str(&s->arena, *texts[i]);
    *s->attempts_end = row;
    s->attempts_end = &row->next;
}

/* ---- no message: a session? ---- */

static void answer_unknown(struct http_req *r) {
    http_error(r, 404, "No such message or session is known, and none was within the time that they are kept.");
}

static void session_whole(struct story *s) {
    tell_said(s, "What was said:");
    if (s->out.full)
        answer_error(s->r, ERR_LIMIT, S("What is stored of this session cannot be told."));
    else
        http_reply(s->r, 200, TEXT_TYPE, buf_str(&s->out));
}

static void on_session(void *arg, const struct frame *f) {
    struct story *s = arg;
    switch ((int)f->type) {
    case FRAME_SESSION:
        s->found = true;
        tell_session(s, &f->session);
        break;
    case FRAME_TRANSCRIPT: buf_add(&s->transcript, f->transcript.bytes); break;
    case FRAME_DONE:
    case FRAME_FAILED:
        s->tag = 0;
        s->r->on_gone = NULL;
        if (s->found && f->type == FRAME_DONE)
            session_whole(s);
        else
            http_error(s->r, 404,
                       "No such message or session is known, and none was within the time that they are kept.");
        story_free(s);
        break;
    default: break;
    }
}

/* As JSON it has the shape that it has elsewhere. */
static void ask_session(struct story *s) {
    struct http_req *r = s->r;
    if (s->text && id_valid(r->id)) {
        struct frame f = {.type = FRAME_SESSION_GET, .session_get = {0, r->id}};
        s->tag = reader_ask(&f, on_session, s);
        return;
    }
    r->on_gone = NULL;
    story_free(s);
    if (id_valid(r->id))
        session_json(r);
    else
        answer_unknown(r);
}

static void on_story(void *arg, const struct frame *f) {
    struct story *s = arg;
    switch ((int)f->type) {
    case FRAME_ROW: s->found = true; break;
    case FRAME_ENVELOPE:
        s->found = true;
        buf_add(&s->envelope_bytes, f->envelope.bytes);
        break;
    case FRAME_TRANSCRIPT: buf_add(&s->transcript, f->transcript.bytes); break;
    case FRAME_QUEUE_ROW: keep_queue_row(s, f); break;
    case FRAME_ATTEMPT: keep_attempt(s, f); break;
    case FRAME_DONE:
    case FRAME_FAILED:
        s->tag = 0;
        if (!s->found && (f->type == FRAME_DONE || f->failed.err == ERR_NOT_FOUND)) {
            ask_session(s);
            break;
        }
        s->r->on_gone = NULL;
        if (f->type == FRAME_DONE)
            story_whole(s);
        else
            answer_error(s->r, (enum err)f->failed.err, f->failed.text);
        story_free(s);
        break;
    default: break;
    }
}

void story_get(struct http_req *r) {
    if (!id_or_latest(r->id)) {
        answer_no_message(r);
        return;
    }
    struct story *s = calloc(1, sizeof *s);
    assert(s);
    *s = (struct story){.r = r,
                        .text = query_is(r, S("format"), S("text")),
                        .envelope_bytes = BUF(PART_MAX),
                        .transcript = BUF(PART_MAX),
                        .arena = ARENA(8 * PART_MAX),
                        .out = BUF(8 * PART_MAX)};
    s->queue_end = &s->queue;
    s->attempts_end = &s->attempts;
    r->arg = s;
    r->on_gone = story_gone;
    struct frame f = {.type = FRAME_STORY, .story = {0, r->id}};
    s->tag = reader_ask(&f, on_story, s);
}
