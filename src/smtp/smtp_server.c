#include "smtp/smtp_server.h"

#include "smtp/proxy.h"
#include "smtp/smtp_server_in.h"

#include <assert.h>
#include <string.h>

enum {
    OUT_MAX = 64 * 1024,
    OUT_ENOUGH = 8 * 1024,          /* the host may send this much before more is said */
    AUTH_LINE_MAX = 16 * 1024 + 64, /* base64 of 12288 bytes, RFC 4954 4, and "AUTH mechanism " */
    SESSION_MEMORY_MAX = 32 * 1024,
    MAIL_MEMORY_BASE = 64 * 1024,
    RCPT_MEMORY = 1024,
    HOST_MS = 600 * 1000, /* the most a host may take to answer, RFC 5321 4.5.3.2.6 */
    DELAY_MS = 1000,
    DRAIN_MS = 1000,
    TLS_HANDSHAKE_BYTE = 0x16, /* a TLS record that holds a ClientHello begins so */
};

/* ---- saying ---- */

void smtp_server_say_text(struct smtp_server *s, unsigned code, bool more, str status, str text, str detail) {
    size_t from = s->out.n;
    smtp_reply_put(&s->out, code, more, status, text, detail);
    smtp_transcript_line(&s->transcript, s->now_ms - s->start_ms, 'S', str_tail(buf_str(&s->out), from));
    buf_add(&s->out, S("\r\n"));
}

/* False: it was one too many, which has been said. */
static bool count_error(struct smtp_server *s, enum smtp_reply_id id) {
    const struct smtp_reply *r = smtp_reply_of(id);
    if (r->code >= 400)
        s->last_error = id;
    if (!r->counts)
        return true;
    s->errors++;
    if (s->errors >= s->config->errors_max) {
        r = smtp_reply_of(SMTP_R_ERRORS_MANY);
        smtp_server_end(s, "too many errors");
        smtp_server_say_text(s, r->code, false, r->status, r->text, STR_NONE);
        return false;
    }
    if (s->errors >= s->config->errors_slow)
        s->delay_ms = s->now_ms + DELAY_MS;
    return true;
}

void smtp_server_say(struct smtp_server *s, enum smtp_reply_id id, str detail) {
    const struct smtp_reply *r = smtp_reply_of(id);
    if (count_error(s, id))
        smtp_server_say_text(s, r->code, false, r->status, r->text, detail);
}

static bool has_status(str text) {
    return text.n > 2 && (text.p[0] == '2' || text.p[0] == '4' || text.p[0] == '5') && text.p[1] == '.';
}

static void say_words(struct smtp_server *s, enum smtp_reply_id id, unsigned code, str text) {
    const struct smtp_reply *r = smtp_reply_of(id);
    str status = !code || r->code == code ? r->status : code < 500 ? S("4.7.1") : S("5.7.1");
    if (!text.n)
        text = r->text;
    smtp_server_say_text(s, code ? code : r->code, false, has_status(text) ? STR_NONE : status, text, STR_NONE);
}

void smtp_server_say_no(struct smtp_server *s, enum smtp_reply_id id) {
    if (count_error(s, id))
        say_words(s, id, s->answer.code, s->answer.text);
}

void smtp_server_note(struct smtp_server *s, str text) {
    smtp_transcript_line(&s->transcript, s->now_ms - s->start_ms, '*', text);
}

void smtp_server_end(struct smtp_server *s, const char *reason) {
    if (s->mode == SMTP_MODE_END)
        return;
    s->mode = SMTP_MODE_END;
    s->reason = reason;
}

void smtp_server_greet(struct smtp_server *s) {
    const struct smtp_config *c = s->config;
    char space[512];
    struct buf words = {.p = space, .cap = sizeof space, .limit = sizeof space};
    buf_add(&words, str_head(c->hostname, 255));
    buf_add(&words, c->lmtp ? S(" LMTP ") : S(" ESMTP "));
    buf_add(&words, str_head(c->greeting, 200));
    smtp_server_say_text(s, 220, false, STR_NONE, str_trim(buf_str(&words)), STR_NONE);
    s->mode = SMTP_MODE_COMMAND;
    s->state = SMTP_NEW;
    s->phase_ms = s->now_ms;
}

static void attack(struct smtp_server *s, enum smtp_reply_id reply, const char *reason) {
    s->attack = true;
    if (reply)
        smtp_server_say(s, reply, STR_NONE);
    smtp_server_end(s, reason);
}

/* ---- the transaction ---- */

static void forget_mail(struct smtp_server *s) {
    struct envelope *e = &s->envelope;
    e->id = e->protocol = e->sender = e->sender_params = STR_NONE;
    e->mail_us = e->rcpt_us = e->data_us = e->received_us = 0;
    e->bare_cr = e->bare_lf = e->nul = e->long_lines = e->eight_bit = 0;
    e->transaction = e->chunking = 0;
    e->priority = e->hold_until_us = e->deliver_by_us = e->deliver_by_mode = 0;
    e->require_tls = e->utf8 = e->binary = 0;
    e->edits = e->account = STR_NONE;
    e->edited_size = 0;
    e->deliveries = NULL;
    e->delivery_count = 0;
    s->final.refusals = NULL;
    e->rcpts = NULL;
    e->rcpt_count = s->rcpt_cap = 0;
    s->rcpt = (struct envelope_rcpt){0};
    s->fault = SMTP_R_NONE;
    s->fault_text = STR_NONE;
    s->over = false;
    s->size = s->size_hint = 0;
    s->utf8 = s->binary = s->rcpt_failed = false;
    arena_reset(&s->mail);
    if (s->state > SMTP_READY)
        s->state = SMTP_READY;
}

enum smtp_want smtp_server_reset(struct smtp_server *s) {
    bool begun = s->begun;
    s->begun = false;
    forget_mail(s);
    return begun ? SMTP_WANT_ABORT : SMTP_GO_ON;
}

uint64_t smtp_server_time_us(const struct smtp_server *s) {
    return s->wall_us + (s->now_ms - s->start_ms) * 1000;
}

/* RFC 3848, RFC 6531 4.3. */
str smtp_server_protocol(struct smtp_server *s) {
    char space[16];
    struct buf b = {.p = space, .cap = sizeof space, .limit = sizeof space};
    if (!s->esmtp && !s->config->lmtp)
        return S("SMTP");
    buf_add(&b, s->config->lmtp ? (s->utf8 ? S("UTF8LMTP") : S("LMTP")) : (s->utf8 ? S("UTF8SMTP") : S("ESMTP")));
    if (s->tls)
        buf_char(&b, 'S');
    if (s->authenticated && !s->known)
        buf_char(&b, 'A');
    return arena_str(&s->mail, buf_str(&b));
}

enum smtp_reply_id smtp_server_refusal(enum err e) {
    return e == ERR_FULL ? SMTP_R_STORE_FULL : e == ERR_LIMIT ? SMTP_R_MESSAGES_MANY : SMTP_R_STORE_ERROR;
}

/* The answer to the final dot: one, or in LMTP one for each recipient.  These may be many: said one a turn, so that the
 * host can send in between. */
static enum smtp_want answer_message(struct smtp_server *s, enum smtp_reply_id id) {
    s->final.id = id;
    s->final.left = s->config->lmtp && s->envelope.rcpt_count ? s->envelope.rcpt_count : 1;
    s->mode = SMTP_MODE_ANSWER;
    s->phase_ms = s->now_ms;
    return SMTP_GO_ON;
}

/* The answer that is next is this recipient's alone; NULL: it is everybody's. */
static const struct smtp_refusal *own_answer(const struct smtp_server *s) {
    if (!s->final.refusals || (s->final.id != SMTP_R_QUEUED && s->final.id != SMTP_R_MESSAGE_REFUSED))
        return NULL;
    const struct smtp_refusal *r = &s->final.refusals[s->envelope.rcpt_count - s->final.left];
    return r->code ? r : NULL;
}

static enum smtp_want say_answer(struct smtp_server *s, str *in) {
    (void)in;
    const struct smtp_refusal *own = own_answer(s);
    if (own) /* no error of the client: a list of many must not end in the middle of its answers */
        say_words(s, SMTP_R_MESSAGE_REFUSED, own->code, own->text);
    else if (s->final.id == SMTP_R_QUEUED)
        smtp_server_say(s, SMTP_R_QUEUED, s->envelope.id);
    else
        smtp_server_say_no(s, s->final.id);
    if (--s->final.left || s->mode == SMTP_MODE_END)
        return SMTP_GO_ON;
    s->mode = SMTP_MODE_COMMAND;
    s->phase_ms = s->now_ms;
    return smtp_server_reset(s);
}

static enum smtp_want after_commit(struct smtp_server *s) {
    s->messages += s->answer.e == OK;
    if (s->answer.code)
        return answer_message(s, SMTP_R_MESSAGE_REFUSED);
    return answer_message(s, s->answer.e == OK ? SMTP_R_QUEUED : smtp_server_refusal(s->answer.e));
}

static void complete_envelope(struct smtp_server *s) {
    struct envelope *e = &s->envelope;
    e->protocol = smtp_server_protocol(s);
    e->received_us = smtp_server_time_us(s);
    e->bare_cr = s->data.bare_cr;
    e->bare_lf = s->data.bare_lf;
    e->nul = s->data.nul;
    e->long_lines = s->data.long_lines;
    e->eight_bit = s->data.eight_bit;
    e->utf8 = s->utf8;
    e->binary = s->binary;
}

static void note_bytes(struct smtp_server *s, uint64_t n, const char *what) {
    char space[64];
    struct buf b = {.p = space, .cap = sizeof space, .limit = sizeof space};
    buf_printf(&b, "%llu bytes of %s", (unsigned long long)n, what);
    smtp_server_note(s, buf_str(&b));
}

/* What forbids the message, as far as it is known. */
static enum smtp_reply_id judge(const struct smtp_server *s) {
    const struct smtp_config *c = s->config;
    if (s->size > c->message_max)
        return SMTP_R_TOO_BIG;
    if (s->header.hops > c->hops_max)
        return SMTP_R_HOPS;
    if (s->header.size > c->header_max && c->policy != SMTP_POLICY_SANDBOX)
        return SMTP_R_HEADER_BIG;
    return SMTP_R_NONE;
}

/* A slice of the message: to the host, unless the message is refused already. */
static enum smtp_want take_slice(struct smtp_server *s, str slice) {
    s->size += slice.n;
    if (!s->header.done)
        smtp_header_feed(&s->header, slice);
    if (s->fault || s->over)
        return SMTP_GO_ON;
    s->over = judge(s) != SMTP_R_NONE;
    if (!s->over) {
        s->body = slice;
        return SMTP_WANT_BODY;
    }
    s->begun = false;
    return SMTP_WANT_ABORT;
}

/* The same however the bytes were cut: a message that is over several limits is judged by all that came. */
static enum smtp_reply_id verdict(const struct smtp_server *s) {
    return s->fault ? s->fault : judge(s);
}

/* The last byte has come. */
static enum smtp_want message_complete(struct smtp_server *s) {
    if (verdict(s)) {
        s->answer.e = ERR_IO;
        s->answer.code = 0;
        s->answer.text = s->fault ? s->fault_text : STR_NONE;
        return answer_message(s, verdict(s));
    }
    complete_envelope(s);
    s->begun = false;
    s->phase_ms = s->now_ms;
    return SMTP_WANT_COMMIT;
}

static enum smtp_want raw_message(struct smtp_server *s) {
    attack(s, SMTP_R_RAW_MESSAGE, "lone CR, LF or NUL in a message");
    return SMTP_GO_ON;
}

static enum smtp_want read_data(struct smtp_server *s, str *in) {
    str slice;
    if (in->n)
        s->phase_ms = s->now_ms;
    switch (smtp_data_step(&s->data, in, &slice)) {
    case SMTP_DATA_MORE: return SMTP_WANT_INPUT;
    case SMTP_DATA_SLICE: return take_slice(s, slice);
    case SMTP_DATA_FAULT: return raw_message(s);
    case SMTP_DATA_END: break;
    }
    note_bytes(s, s->size, "message");
    return message_complete(s);
}

static enum smtp_want chunk_complete(struct smtp_server *s) {
    str slice;
    enum smtp_data_event event = SMTP_DATA_END;
    if (s->chunk.last && !s->chunk.refused)
        event = smtp_data_finish(&s->data, &slice);
    if (event == SMTP_DATA_SLICE)
        return take_slice(s, slice);
    if (event == SMTP_DATA_FAULT)
        return raw_message(s);
    note_bytes(s, s->chunk.size, "a chunk");
    s->mode = SMTP_MODE_COMMAND;
    s->phase_ms = s->now_ms;
    if (s->chunk.refused)
        return smtp_server_reply(s, s->chunk.refused);
    if (s->chunk.last)
        return message_complete(s);
    if (verdict(s))
        say_words(s, verdict(s), 0, s->fault ? s->fault_text : STR_NONE);
    else
        smtp_server_say(s, SMTP_R_OK, STR_NONE);
    return SMTP_GO_ON;
}

static enum smtp_want read_chunk(struct smtp_server *s, str *in) {
    str piece = str_head(*in, s->chunk.left < in->n ? (size_t)s->chunk.left : in->n), slice;
    size_t before = piece.n;
    if (s->chunk.left == 0)
        return chunk_complete(s);
    if (in->n == 0)
        return SMTP_WANT_INPUT;
    s->phase_ms = s->now_ms;
    if (s->chunk.refused) {
        s->chunk.left -= before;
        *in = str_tail(*in, before);
        return SMTP_GO_ON;
    }
    enum smtp_data_event event = smtp_data_step(&s->data, &piece, &slice);
    s->chunk.left -= before - piece.n;
    *in = str_tail(*in, before - piece.n);
    if (event == SMTP_DATA_FAULT)
        return raw_message(s);
    return event == SMTP_DATA_SLICE ? take_slice(s, slice) : SMTP_GO_ON;
}

/* ---- lines ---- */

/* Without its LF. */
static size_t line_max(const struct smtp_server *s, str line) {
    bool auth = s->mode == SMTP_MODE_AUTH || str_istarts(line, S("AUTH "));
    return (auth && s->config->command_max < AUTH_LINE_MAX ? AUTH_LINE_MAX : s->config->command_max) - 1;
}

static bool line_is_raw(str line) {
    return line.n == 0 || line.p[line.n - 1] != '\r' || str_find(line, '\r') != line.n - 1 || str_has(line, '\0');
}

/* Keeps the beginning of a line until its end comes; a line that is too long is only measured. */
static void keep_line(struct smtp_server *s, str piece) {
    if (piece.n == 0)
        return;
    s->last_byte = piece.p[piece.n - 1];
    if (s->discard_line)
        return;
    buf_add(&s->line, piece);
    if (s->line.full || s->line.n > line_max(s, buf_str(&s->line))) {
        s->discard_line = true;
        buf_free(&s->line);
    }
}

static enum smtp_want line_too_long(struct smtp_server *s) {
    bool raw = s->last_byte != '\r', auth = s->mode == SMTP_MODE_AUTH;
    s->discard_line = false;
    smtp_server_note(s, S("a line that is too long"));
    if (raw) {
        attack(s, SMTP_R_LINE_RAW, "lone CR, LF or NUL in a command");
        return SMTP_GO_ON;
    }
    s->mode = SMTP_MODE_COMMAND;
    return smtp_server_reply(s, auth ? SMTP_R_AUTH_LONG : SMTP_R_LINE_LONG);
}

static enum smtp_want whole_line(struct smtp_server *s, str line) {
    s->phase_ms = s->now_ms;
    if (line_is_raw(line)) {
        smtp_transcript_line(&s->transcript, s->now_ms - s->start_ms, 'C',
                             s->mode == SMTP_MODE_AUTH ? S("********") : line);
        attack(s, SMTP_R_LINE_RAW, "lone CR, LF or NUL in a command");
        return SMTP_GO_ON;
    }
    line.n--;
    return s->mode == SMTP_MODE_AUTH ? smtp_server_auth_line(s, line) : smtp_server_command(s, line);
}

static enum smtp_want read_line(struct smtp_server *s, str *in) {
    if (in->n == 0) {
        buf_trim(&s->line);
        return SMTP_WANT_INPUT;
    }
    if (s->line.n == 0 && !s->discard_line && in->p[0] == TLS_HANDSHAKE_BYTE) {
        attack(s, s->config->tls == SMTP_TLS_STARTTLS ? SMTP_R_TLS_ON_PLAIN : SMTP_R_TLS_ON_PLAIN_NONE,
               "TLS where plain text was expected");
        return SMTP_GO_ON;
    }
    size_t end = str_find(*in, '\n');
    str piece = str_head(*in, end);
    bool direct = s->line.n == 0 && !s->discard_line && end != SIZE_MAX && end <= line_max(s, piece);
    if (!direct)
        keep_line(s, piece);
    *in = str_tail(*in, end == SIZE_MAX ? in->n : end + 1);
    if (end == SIZE_MAX)
        return SMTP_GO_ON;
    if (s->discard_line)
        return line_too_long(s);
    enum smtp_want want = whole_line(s, direct ? piece : buf_str(&s->line));
    buf_reset(&s->line);
    return want;
}

/* ---- before and around the commands ---- */

static enum smtp_want begin(struct smtp_server *s) {
    if (s->config->tls == SMTP_TLS_IMPLICIT && !s->tls) {
        s->mode = SMTP_MODE_TLS;
        s->phase_ms = s->now_ms;
        return SMTP_WANT_STARTTLS;
    }
    smtp_server_greet(s);
    return SMTP_GO_ON;
}

static enum smtp_want read_start(struct smtp_server *s, str *in) {
    if (s->may_proxy) {
        s->mode = SMTP_MODE_PROXY;
        return SMTP_GO_ON;
    }
    if (in->n && s->config->tls != SMTP_TLS_IMPLICIT)
        smtp_server_note(s, S("the client spoke before the greeting"));
    return begin(s);
}

static void take_proxy(struct smtp_server *s, const struct proxy_header *h) {
    struct envelope *e = &s->envelope;
    if (h->local)
        return;
    bool unix_socket = h->family == PROXY_UNIX;
    e->proxy_address = e->client_address;
    e->client_address = unix_socket ? S("unix") : arena_str(&s->session, str_of(h->source));
    e->server_address = unix_socket ? S("unix") : arena_str(&s->session, str_of(h->destination));
    e->client_port = h->source_port;
    e->server_port = h->destination_port;
}

static enum smtp_want read_proxy(struct smtp_server *s, str *in) {
    struct proxy_header h;
    if (in->n == 0)
        return SMTP_WANT_INPUT;
    size_t before = s->line.n;
    str piece = str_head(*in, PROXY_SIZE_MAX - before);
    buf_add(&s->line, piece);
    enum err e = proxy_parse(buf_str(&s->line), &h);
    if (e == ERR_MORE && s->line.n < PROXY_SIZE_MAX) {
        *in = str_tail(*in, piece.n);
        return SMTP_WANT_INPUT;
    }
    if (e != OK || h.size < before) {
        smtp_server_note(s, S("no PROXY header where one must be"));
        attack(s, SMTP_R_NONE, "bad PROXY header");
        return SMTP_GO_ON;
    }
    *in = str_tail(*in, h.size - before);
    take_proxy(s, &h);
    buf_free(&s->line);
    return begin(s);
}

/* Only the handshake may come now: anything readable was sent before it, perhaps by somebody else (RFC 3207 4.2). */
static enum smtp_want read_tls(struct smtp_server *s, str *in) {
    if (in->n == 0 || s->config->tls == SMTP_TLS_IMPLICIT)
        return SMTP_WANT_STARTTLS;
    note_bytes(s, in->n, "plain text after STARTTLS, discarded");
    *in = str_tail(*in, in->n);
    attack(s, SMTP_R_NONE, "bytes after STARTTLS");
    return SMTP_GO_ON;
}

static enum smtp_want after_tls(struct smtp_server *s) {
    if (s->config->tls == SMTP_TLS_IMPLICIT) {
        smtp_server_greet(s);
        return SMTP_GO_ON;
    }
    s->mode = SMTP_MODE_COMMAND;
    s->state = SMTP_NEW;
    s->phase_ms = s->now_ms;
    buf_free(&s->helo);
    s->envelope.helo = STR_NONE;
    return SMTP_GO_ON;
}

static enum smtp_want read_end(struct smtp_server *s, str *in) {
    *in = str_tail(*in, in->n);
    if (s->begun) {
        s->begun = false;
        return SMTP_WANT_ABORT;
    }
    return SMTP_WANT_CLOSE;
}

typedef enum smtp_want reader(struct smtp_server *s, str *in);
static reader *const readers[] = {
    [SMTP_MODE_START] = read_start, [SMTP_MODE_PROXY] = read_proxy, [SMTP_MODE_COMMAND] = read_line,
    [SMTP_MODE_AUTH] = read_line,   [SMTP_MODE_DATA] = read_data,   [SMTP_MODE_CHUNK] = read_chunk,
    [SMTP_MODE_TLS] = read_tls,     [SMTP_MODE_END] = read_end,     [SMTP_MODE_ANSWER] = say_answer,
};

typedef enum smtp_want resumer(struct smtp_server *s);
static resumer *const resumers[SMTP_WANTS] = {
    [SMTP_WANT_MAIL] = smtp_server_after_mail,   [SMTP_WANT_RCPT] = smtp_server_after_rcpt,
    [SMTP_WANT_BEGIN] = smtp_server_after_begin, [SMTP_WANT_COMMIT] = after_commit,
    [SMTP_WANT_AUTH] = smtp_server_after_auth,   [SMTP_WANT_STARTTLS] = after_tls,
};

static void check_invariants(const struct smtp_server *s) {
    assert(s->state != SMTP_RCPT || s->envelope.rcpt_count > 0);
    assert(s->state >= SMTP_MAIL || s->envelope.rcpt_count == 0);
    assert(s->state >= SMTP_READY || !s->begun || s->mode == SMTP_MODE_END);
    assert(s->mode != SMTP_MODE_DATA || s->begun || s->fault || s->over || s->want == SMTP_WANT_COMMIT);
    assert(s->want != SMTP_WANT_BODY || (s->body.n && s->begun && !s->fault && !s->over));
    assert(s->want != SMTP_WANT_COMMIT || (!s->begun && !s->fault && !s->over && s->envelope.id.n));
    assert(s->want != SMTP_WANT_CLOSE || (s->mode == SMTP_MODE_END && s->reason));
    assert(!s->out.full);
}

static enum smtp_want turn(struct smtp_server *s, str *in) {
    if (s->out.n > OUT_ENOUGH && s->mode != SMTP_MODE_END)
        return SMTP_WANT_FLUSH;
    if (s->delay_ms > s->now_ms && s->mode != SMTP_MODE_END)
        return SMTP_WANT_DELAY;
    s->delay_ms = 0;
    return readers[s->mode](s, in);
}

static enum smtp_want resume(struct smtp_server *s) {
    if (s->mode == SMTP_MODE_END || !s->answered)
        return SMTP_GO_ON;
    s->answered = false;
    return resumers[s->want](s);
}

enum smtp_want smtp_server_step(struct smtp_server *s, str *in, uint64_t now_ms) {
    assert(s->want != SMTP_WANT_CLOSE);
    if (now_ms > s->now_ms)
        s->now_ms = now_ms;
    bool waits = resumers[s->want] != NULL;
    assert(!waits || s->answered || s->mode == SMTP_MODE_END || s->want == SMTP_WANT_STARTTLS);
    enum smtp_want want = waits ? resume(s) : SMTP_GO_ON;
    while (want == SMTP_GO_ON)
        want = turn(s, in);
    if (want == SMTP_WANT_STARTTLS && in->n && s->config->tls != SMTP_TLS_IMPLICIT)
        for (want = SMTP_GO_ON; want == SMTP_GO_ON;)
            want = turn(s, in);
    s->want = want;
    check_invariants(s);
    return want;
}

void smtp_server_sent(struct smtp_server *s) {
    buf_reset(&s->out);
    if (s->out.cap > 512)
        buf_trim(&s->out);
}

/* ---- what the host says ---- */

static void set_answer(struct smtp_server *s, enum err e, unsigned code, str text) {
    s->answer.e = e;
    s->answer.code = code;
    s->answer.text = text.n ? arena_str(&s->mail, text) : STR_NONE;
    s->answered = true;
}

void smtp_server_answer(struct smtp_server *s, enum err e, str text) {
    assert(s->want == SMTP_WANT_MAIL || s->want == SMTP_WANT_RCPT || s->want == SMTP_WANT_BEGIN ||
           s->want == SMTP_WANT_COMMIT);
    set_answer(s, e, 0, text);
}

void smtp_server_refusal_answer(struct smtp_server *s, unsigned code, str text) {
    assert(s->want == SMTP_WANT_MAIL || s->want == SMTP_WANT_RCPT || s->want == SMTP_WANT_COMMIT);
    assert(code >= 400 && code <= 599);
    set_answer(s, ERR_DENIED, code, text);
}

bool smtp_server_refuse_rcpt(struct smtp_server *s, size_t index, unsigned code, str text) {
    assert(s->want == SMTP_WANT_COMMIT && index < s->envelope.rcpt_count && code >= 400 && code <= 599);
    if (!s->config->lmtp)
        return false;
    if (!s->final.refusals)
        s->final.refusals = arena_alloc(&s->mail, s->envelope.rcpt_count * sizeof *s->final.refusals);
    if (!s->final.refusals)
        return false;
    s->final.refusals[index] = (struct smtp_refusal){code, text.n ? arena_str(&s->mail, text) : STR_NONE};
    return true;
}

void smtp_server_auth_challenge(struct smtp_server *s, str challenge) {
    assert(s->want == SMTP_WANT_AUTH);
    buf_reset(&s->sasl);
    buf_add(&s->sasl, challenge);
    s->answer.e = ERR_MORE;
    s->answered = true;
}

void smtp_server_auth_ok(struct smtp_server *s, str user) {
    assert(s->want == SMTP_WANT_AUTH);
    s->envelope.auth_user = arena_str(&s->session, user);
    s->envelope.auth_mechanism = arena_str(&s->session, s->auth.mechanism);
    s->answer.e = s->session.full ? ERR_NOMEM : OK;
    s->auth_failure = SMTP_AUTH_UNAVAILABLE;
    s->answered = true;
}

void smtp_server_auth_failed(struct smtp_server *s, enum smtp_auth_failure failure) {
    assert(s->want == SMTP_WANT_AUTH);
    s->auth_failure = failure;
    s->answer.e = ERR_DENIED;
    s->answered = true;
}

void smtp_server_tls(struct smtp_server *s, str version, str cipher, str server_name) {
    assert(s->want == SMTP_WANT_STARTTLS);
    s->tls = s->answered = true;
    s->envelope.tls_version = arena_str(&s->session, version);
    s->envelope.tls_cipher = arena_str(&s->session, cipher);
    s->envelope.tls_server_name = arena_str(&s->session, server_name);
    s->envelope.handshake_us = smtp_server_time_us(s);
    char space[256];
    struct buf b = {.p = space, .cap = sizeof space, .limit = sizeof space};
    buf_printf(&b, "%.*s %.*s", STR_ARG(version), STR_ARG(cipher));
    smtp_server_note(s, buf_str(&b));
}

void smtp_server_mail_lost(struct smtp_server *s, enum err e) {
    if (!s->begun)
        return;
    s->begun = false;
    if (!s->fault)
        s->fault = smtp_server_refusal(e);
}

bool smtp_server_in_mail(const struct smtp_server *s) {
    return s->begun || s->want == SMTP_WANT_COMMIT;
}

void smtp_server_lost(struct smtp_server *s, const char *reason) {
    if (s->mode == SMTP_MODE_END)
        return;
    smtp_server_note(s, str_of(reason));
    smtp_server_end(s, reason);
}

void smtp_server_refuse(struct smtp_server *s, enum smtp_reply_id reply, const char *reason) {
    if (s->mode == SMTP_MODE_END)
        return;
    if (s->mode != SMTP_MODE_TLS && s->mode != SMTP_MODE_PROXY)
        smtp_server_say(s, reply, STR_NONE);
    else
        smtp_server_note(s, str_of(reason));
    smtp_server_end(s, reason);
}

void smtp_server_drain(struct smtp_server *s, uint64_t now_ms) {
    if (!s->draining)
        s->drain_ms = now_ms + DRAIN_MS;
    s->draining = true;
}

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static uint64_t phase_deadline(const struct smtp_server *s) {
    const struct smtp_config *c = s->config;
    if (s->want == SMTP_WANT_COMMIT || s->want == SMTP_WANT_BEGIN || s->want == SMTP_WANT_RCPT ||
        s->want == SMTP_WANT_MAIL || s->want == SMTP_WANT_AUTH)
        return s->phase_ms + HOST_MS;
    switch (s->mode) {
    case SMTP_MODE_TLS:
    case SMTP_MODE_PROXY: return s->phase_ms + c->handshake_ms;
    case SMTP_MODE_DATA:
    case SMTP_MODE_CHUNK: return earlier(s->phase_ms + c->data_ms, s->message_ms + c->message_ms);
    default: return s->phase_ms + c->command_ms;
    }
}

static bool may_be_drained(const struct smtp_server *s) {
    return s->draining && s->state <= SMTP_READY && s->mode != SMTP_MODE_DATA && s->mode != SMTP_MODE_CHUNK;
}

/* When it must end, however busy. */
static uint64_t hard_deadline(const struct smtp_server *s) {
    uint64_t d = earlier(phase_deadline(s), s->start_ms + s->config->session_ms);
    return may_be_drained(s) ? earlier(d, s->drain_ms) : d;
}

uint64_t smtp_server_deadline(const struct smtp_server *s) {
    if (s->mode == SMTP_MODE_END)
        return UINT64_MAX;
    return s->want == SMTP_WANT_DELAY ? earlier(hard_deadline(s), s->delay_ms) : hard_deadline(s);
}

void smtp_server_expire(struct smtp_server *s, uint64_t now_ms) {
    if (s->mode == SMTP_MODE_END || now_ms < hard_deadline(s))
        return;
    s->now_ms = now_ms > s->now_ms ? now_ms : s->now_ms;
    if (may_be_drained(s) && now_ms >= s->drain_ms)
        smtp_server_refuse(s, SMTP_R_SHUTDOWN, "shutdown");
    else
        smtp_server_refuse(s, SMTP_R_TIMEOUT, "timeout");
}

/* ---- life ---- */

void smtp_server_init(struct smtp_server *s, const struct smtp_config *config, const struct smtp_peer *peer,
                      uint64_t now_ms, uint64_t wall_us) {
    *s = (struct smtp_server){
        .config = config,
        .out = BUF(OUT_MAX),
        .line = BUF(AUTH_LINE_MAX < config->command_max ? config->command_max + 1 : AUTH_LINE_MAX + 1),
        .sasl = BUF(AUTH_LINE_MAX),
        .helo = BUF(SMTP_DOMAIN_MAX),
        .session = ARENA(SESSION_MEMORY_MAX),
        .mail = ARENA(MAIL_MEMORY_BASE + config->rcpt_max * (size_t)RCPT_MEMORY),
        .may_proxy = peer->proxy,
        .may_xclient = peer->xclient,
        .now_ms = now_ms,
        .start_ms = now_ms,
        .phase_ms = now_ms,
        .wall_us = wall_us};
    smtp_transcript_init(&s->transcript, config->transcript_max);
    s->envelope.session = arena_str(&s->session, peer->session);
    s->envelope.listener = config->listener;
    s->envelope.client_address = arena_str(&s->session, peer->client_address);
    s->envelope.client_port = peer->client_port;
    s->envelope.server_address = arena_str(&s->session, peer->server_address);
    s->envelope.server_port = peer->server_port;
    s->envelope.connected_us = wall_us;
    s->known = s->authenticated = peer->user.n > 0;
    s->envelope.auth_user = arena_str(&s->session, peer->user);
    s->envelope.auth_mechanism = peer->user.n ? S("EXTERNAL") : STR_NONE;
}

void smtp_server_free(struct smtp_server *s) {
    buf_free(&s->out);
    buf_free(&s->line);
    buf_free(&s->sasl);
    buf_free(&s->helo);
    smtp_transcript_free(&s->transcript);
    arena_free(&s->session);
    arena_free(&s->mail);
}
