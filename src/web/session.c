/* session.c - what is known beside the bytes: the envelope of a message, and the session with its transcript. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/code.h"
#include "smtp/envelope.h"
#include "web/handlers.h"
#include "web/reader.h"
#include "web/summary.h"

enum {
    ENVELOPE_MAX = 8 * 1024 * 1024,
    TRANSCRIPT_MAX = 32 * 1024 * 1024,
    ID_LISTS_MAX = 4 * 1024 * 1024,
    JSON_MAX = 256 * 1024 * 1024, /* escaping makes up to six bytes of one */
};

struct lookup {
    struct http_req *r;
    uint32_t tag;
    enum { WANT_ENVELOPE, WANT_SESSION_OF, WANT_SESSION } want;
    bool found;
    char session[ID_SIZE];
    struct buf envelope, transcript, mails, json;
};

static void lookup_free(struct lookup *k) {
    reader_cancel(k->tag);
    buf_free(&k->envelope);
    buf_free(&k->transcript);
    buf_free(&k->mails);
    buf_free(&k->json);
    free(k);
}

static void on_gone(void *arg) {
    lookup_free(arg);
}

static void lookup_end(struct lookup *k, enum err e, str text) {
    struct http_req *r = k->r;
    r->on_gone = NULL;
    if (e == ERR_NOT_FOUND)
        answer_no_message(r);
    else if (e || k->json.full)
        answer_error(r, e ? e : ERR_LIMIT, text);
    else
        http_reply(r, 200, JSON_TYPE, buf_str(&k->json));
    lookup_free(k);
}

/* ---- the envelope as JSON ---- */

/* "client_address" -> "ClientAddress", "tls_version" -> "TLSVersion". */
static void put_name(struct buf *out, str name) {
    static const str capitals[] = {S_INIT("id"), S_INIT("tls"), S_INIT("cr"), S_INIT("lf"), S_INIT("nul")};
    buf_char(out, '"');
    for (bool more = true; more;) {
        str word = name;
        more = str_cut(&name, '_', &word);
        bool capital = false;
        for (size_t i = 0; i < sizeof capitals / sizeof capitals[0]; i++)
            capital |= str_eq(word, capitals[i]);
        for (size_t i = 0; i < word.n; i++)
            buf_char(out, i == 0 || capital ? char_upper(word.p[i]) : word.p[i]);
    }
    buf_add(out, S("\":"));
}

static void put_time_us(struct buf *out, uint64_t us) {
    time_t seconds = (time_t)(us / 1000000);
    struct tm tm;
    if (us == 0 || !gmtime_r(&seconds, &tm))
        buf_add(out, S("null"));
    else
        buf_printf(out, "\"%04d-%02d-%02dT%02d:%02d:%02d.%06uZ\"", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                   tm.tm_hour, tm.tm_min, tm.tm_sec, (unsigned)(us % 1000000));
}

static void put_str(struct buf *out, str name, str value) {
    put_name(out, name);
    json_str(out, value);
    buf_char(out, ',');
}

/* Microseconds are times, "chunking" and "xclient" are yes or no, the rest are numbers. */
static void put_num(struct buf *out, str name, uint64_t value) {
    if (str_ends(name, S("_us"))) {
        put_name(out, str_head(name, name.n - 3));
        put_time_us(out, value);
    } else {
        put_name(out, name);
        if (str_eq(name, S("chunking")) || str_eq(name, S("xclient")))
            buf_add(out, str_of(value ? "true" : "false"));
        else
            buf_printf(out, "%llu", (unsigned long long)value);
    }
    buf_char(out, ',');
}

static void put_rcpts(struct buf *out, const struct envelope *e) {
    buf_add(out, S("\"Recipients\":["));
    for (size_t i = 0; i < e->rcpt_count; i++) {
        buf_add(out, str_of(i ? ",{\"Address\":" : "{\"Address\":"));
        json_str(out, e->rcpts[i].address);
        buf_add(out, S(",\"Params\":"));
        json_str(out, e->rcpts[i].params);
        buf_char(out, '}');
    }
    buf_char(out, ']');
}

/* All fields of envelope.def; `of_session` leaves out what only a message has. */
static void put_fields(struct buf *out, const struct envelope *e, bool of_session) {
    static const str mail_only[] = {S_INIT("id"),
                                    S_INIT("session"),
                                    S_INIT("sender"),
                                    S_INIT("sender_params"),
                                    S_INIT("mail_us"),
                                    S_INIT("rcpt_us"),
                                    S_INIT("data_us"),
                                    S_INIT("received_us"),
                                    S_INIT("bare_cr"),
                                    S_INIT("bare_lf"),
                                    S_INIT("nul"),
                                    S_INIT("long_lines"),
                                    S_INIT("eight_bit"),
                                    S_INIT("transaction"),
                                    S_INIT("chunking"),
                                    S_INIT("priority"),
                                    S_INIT("hold_until_us"),
                                    S_INIT("deliver_by_us"),
                                    S_INIT("deliver_by_mode"),
                                    S_INIT("require_tls"),
                                    S_INIT("utf8"),
                                    S_INIT("edits"),
                                    S_INIT("edited_size"),
                                    S_INIT("report_of"),
                                    S_INIT("report_rcpts"),
                                    S_INIT("report_kind"),
                                    S_INIT("account"),
                                    S_INIT("binary"),
                                    S_INIT("appended"),
                                    S_INIT("append_flags"),
                                    S_INIT("append_date_us")};
    struct {
        str name, text;
        uint64_t number;
        bool is_text;
    } fields[] = {
#define STR(tag, name) {S_INIT(#name), e->name, 0, true},
#define NUM(tag, name) {S_INIT(#name), STR_NONE, e->name, false},
#include "smtp/envelope.def"
#undef STR
#undef NUM
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        bool skip = false;
        for (size_t k = 0; of_session && k < sizeof mail_only / sizeof mail_only[0]; k++)
            skip |= str_eq(fields[i].name, mail_only[k]);
        if (skip)
            continue;
        if (fields[i].is_text)
            put_str(out, fields[i].name, fields[i].text);
        else
            put_num(out, fields[i].name, fields[i].number);
    }
}

static enum err put_envelope(struct buf *out, str bytes) {
    struct arena a = ARENA(ENVELOPE_MAX);
    struct envelope e;
    enum err err = envelope_take(bytes, &a, &e);
    if (!err) {
        buf_char(out, '{');
        put_fields(out, &e, false);
        put_rcpts(out, &e);
        buf_char(out, '}');
    }
    arena_free(&a);
    return err;
}

/* ---- the session as JSON ---- */

static enum err put_session(struct lookup *k, const struct frame_session *s) {
    struct arena a = ARENA(ENVELOPE_MAX);
    struct envelope e;
    enum err err = envelope_take(s->info, &a, &e);
    struct buf *out = &k->json;
    if (!err) {
        buf_add(out, S("{\"ID\":"));
        json_str(out, s->id);
        buf_add(out, S(",\"Started\":"));
        json_time_ms(out, e.connected_us ? e.connected_us / 1000 : s->started_ms);
        buf_add(out, S(",\"Ended\":"));
        json_time_ms(out, s->ended_ms);
        buf_add(out, S(",\"Reason\":"));
        json_str(out, s->reason);
        buf_char(out, ',');
        put_fields(out, &e, true);
    }
    arena_free(&a);
    return err;
}

static void add_mail(struct lookup *k, str id) {
    if (k->mails.n)
        buf_char(&k->mails, ',');
    json_str(&k->mails, id);
}

static void session_whole(struct lookup *k) {
    if (!k->found) {
        lookup_end(k, ERR_NOT_FOUND, STR_NONE);
        return;
    }
    buf_add(&k->json, S("\"Messages\":["));
    buf_add(&k->json, buf_str(&k->mails));
    buf_add(&k->json, S("],\"Transcript\":"));
    json_str(&k->json, buf_str(&k->transcript));
    buf_char(&k->json, '}');
    lookup_end(k, OK, STR_NONE);
}

static void on_session(void *arg, const struct frame *f) {
    struct lookup *k = arg;
    enum err e = OK;
    switch ((int)f->type) {
    case FRAME_SESSION:
        k->found = true;
        e = put_session(k, &f->session);
        if (e)
            lookup_end(k, e, S("What is stored of this session cannot be read."));
        break;
    case FRAME_SESSION_MAIL: add_mail(k, f->session_mail.id); break;
    case FRAME_TRANSCRIPT: buf_add(&k->transcript, f->transcript.bytes); break;
    case FRAME_DONE:
        k->tag = 0;
        session_whole(k);
        break;
    case FRAME_FAILED:
        k->tag = 0;
        lookup_end(k, (enum err)f->failed.err, f->failed.text);
        break;
    default: break;
    }
}

static void ask_session(struct lookup *k, str id) {
    struct frame f = {.type = FRAME_SESSION_GET, .session_get = {0, id}};
    k->want = WANT_SESSION;
    k->tag = reader_ask(&f, on_session, k);
}

/* ---- by message ---- */

static void message_whole(struct lookup *k) {
    if (!k->found) {
        lookup_end(k, ERR_NOT_FOUND, STR_NONE);
    } else if (k->want == WANT_SESSION_OF) {
        ask_session(k, str_n(k->session, ID_SIZE));
    } else {
        enum err e = k->envelope.full ? ERR_LIMIT : put_envelope(&k->json, buf_str(&k->envelope));
        lookup_end(k, e, e ? S("What is stored of this envelope cannot be read.") : STR_NONE);
    }
}

static void on_message(void *arg, const struct frame *f) {
    struct lookup *k = arg;
    switch ((int)f->type) {
    case FRAME_ROW:
        k->found = k->want == WANT_ENVELOPE || f->row.session.n == ID_SIZE;
        if (f->row.session.n == ID_SIZE)
            memcpy(k->session, f->row.session.p, ID_SIZE);
        break;
    case FRAME_ENVELOPE: buf_add(&k->envelope, f->envelope.bytes); break;
    case FRAME_DONE:
        k->tag = 0;
        message_whole(k);
        break;
    case FRAME_FAILED:
        k->tag = 0;
        lookup_end(k, (enum err)f->failed.err, f->failed.text);
        break;
    default: break;
    }
}

static struct lookup *lookup_new(struct http_req *r) {
    struct lookup *k = calloc(1, sizeof *k);
    assert(k);
    k->r = r;
    k->envelope = BUF(ENVELOPE_MAX);
    k->transcript = BUF(TRANSCRIPT_MAX);
    k->mails = BUF(ID_LISTS_MAX);
    k->json = BUF(JSON_MAX);
    r->arg = k;
    r->on_gone = on_gone;
    return k;
}

static void by_message(struct http_req *r, int want) {
    if (!id_or_latest(r->id)) {
        answer_no_message(r);
        return;
    }
    struct lookup *k = lookup_new(r);
    k->want = want;
    struct frame f = {.type = FRAME_GET, .get = {0, r->id}};
    k->tag = reader_ask(&f, on_message, k);
}

void session_envelope(struct http_req *r) {
    by_message(r, WANT_ENVELOPE);
}

void session_of_message(struct http_req *r) {
    by_message(r, WANT_SESSION_OF);
}

void session_json(struct http_req *r) {
    if (!id_valid(r->id)) {
        answer_no_message(r);
        return;
    }
    ask_session(lookup_new(r), r->id);
}
