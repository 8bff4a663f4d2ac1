#include "mime/downgrade.h"

#include <assert.h>

#include "base/arena.h"
#include "base/code.h"
#include "mime/edit.h"
#include "mime/header_ascii.h"
#include "mime/header_edit.h"

enum {
    SLICE = 16 * 1024,
    WINDOW_MAX = 4 * MIME_HEADER_MAX,
    HEADER_OUT_MAX = 16 * MIME_HEADER_MAX,
    HEADER_MEMORY_MAX = 32 * 1024 * 1024,
    LINE_LENGTH_MAX = 998,
};

void downgrade_init(struct downgrade *d, unsigned mode) {
    *d = (struct downgrade){.mode = mode, .window = BUF(WINDOW_MAX), .leaf = MIME_NONE, .decoded = BUF(WINDOW_MAX)};
    mime_init(&d->parser);
    transfer_init(&d->decode, TRANSFER_IDENTITY);
}

void downgrade_free(struct downgrade *d) {
    mime_free(&d->parser);
    buf_free(&d->window);
    buf_free(&d->decoded);
    buf_free(&d->decode.blanks);
}

static void fail(struct downgrade *d, enum err e, const char *sentence) {
    if (d->failed == OK)
        d->failed = why(&d->why, e, "%s", sentence);
}

/* ---- output ---- */

static void write_out(struct downgrade *d, str s, struct buf *out) {
    if (s.n == 0)
        return;
    buf_add(out, s);
    d->last[0] = s.n > 1 ? s.p[s.n - 2] : d->last[1];
    d->last[1] = s.p[s.n - 1];
}

/* The bytes of the message up to an offset, which are written now or never. */
static str take_to(struct downgrade *d, uint64_t offset) {
    assert(offset >= d->done && offset - d->done <= d->window.n - d->window_at);
    str s = str_sub(buf_str(&d->window), d->window_at, (size_t)(offset - d->done));
    d->window_at += s.n;
    d->done = offset;
    return s;
}

static void count_line(struct downgrade *d, char c) {
    d->line = c == '\n' ? 0 : d->line + (c != '\r');
}

/* Every line end is CRLF, and no line too long; a NUL would be lost. */
static bool is_line_text(const struct downgrade *d, char c) {
    return c != '\0' && (c == '\n') == d->after_cr && d->line <= LINE_LENGTH_MAX;
}

/* Bytes that nothing is done to; what the server cannot take must not be among them. */
static void write_raw(struct downgrade *d, str s, struct buf *out) {
    for (size_t i = 0; i < s.n; i++) {
        count_line(d, s.p[i]);
        if ((d->mode & DOWNGRADE_EIGHT_BIT) && (unsigned char)s.p[i] > 127)
            fail(d, ERR_UNSUPPORTED, "a part that may not be changed has bytes above 127");
        if ((d->mode & DOWNGRADE_BINARY) && !is_line_text(d, s.p[i]))
            fail(d, ERR_UNSUPPORTED, "a part that may not be changed is binary");
        d->after_cr = s.p[i] == '\r';
    }
    write_out(d, s, out);
}

/* What stands between the parts: boundaries, and text that nobody shows. */
static void write_between(struct downgrade *d, str s, struct buf *out) {
    for (size_t i = 0; i < s.n; i++) {
        char c = (d->mode & DOWNGRADE_EIGHT_BIT) && (unsigned char)s.p[i] > 127 ? '?' : s.p[i];
        count_line(d, c);
        if ((d->mode & DOWNGRADE_LINES) && c != '\r' && d->line > LINE_LENGTH_MAX) {
            write_out(d, S("\r\n"), out);
            d->line = 1;
        }
        write_out(d, str_n(&c, 1), out);
    }
}

/* ---- what is done with a part ---- */

/* Inside of what is signed or encrypted as it stands (RFC 1847 2.1). */
static bool sealed(const struct downgrade *d, const struct mime_part *p) {
    while (p->parent != MIME_NONE) {
        p = &d->parser.parts[p->parent];
        if (mime_is(p, S("multipart"), S("signed")) || mime_is(p, S("multipart"), S("encrypted")))
            return true;
    }
    return false;
}

static bool has_fault(const struct mime_part *p, enum mime_fault f) {
    return p->faults & 1u << f;
}

/* A multipart or message that could not be looked into must not be encoded (RFC 2045 6.4; but message/global and its
 * kin may, RFC 6532 3.7), and an encoding that nobody knows not be undone. */
static bool leaf_stays(const struct mime_part *p) {
    bool message = mime_is(p, S("message"), STR_NONE) && !str_starts(p->subtype, S("global"));
    bool composite = mime_is(p, S("multipart"), STR_NONE) || message;
    bool known =
        p->encoding == TRANSFER_IDENTITY || p->encoding == TRANSFER_BASE64 || p->encoding == TRANSFER_QUOTED_PRINTABLE;
    return has_fault(p, MIME_FAULT_HEADER_LIMIT) || !known || (composite && p->encoding == TRANSFER_IDENTITY);
}

/* The encoding a leaf gets. */
static enum transfer_encoding encoding_for(const struct mime_part *p) {
    if (p->encoding != TRANSFER_IDENTITY)
        return p->encoding;
    return mime_is(p, S("text"), STR_NONE) ? TRANSFER_QUOTED_PRINTABLE : TRANSFER_BASE64;
}

static bool bodies_change(const struct downgrade *d) {
    return d->mode & (DOWNGRADE_EIGHT_BIT | DOWNGRADE_LINES);
}

/* ---- headers ---- */

/* Of the message itself or one in it, not of a part of a multipart: these need MIME-Version. */
static bool heads_message(const struct downgrade *d, const struct mime_part *p) {
    return p->parent == MIME_NONE || !d->parser.parts[p->parent].multipart;
}

static enum err declare_encoding(struct downgrade *d, const struct mime_part *p, struct header_edit *h, struct why *w) {
    str there;
    if (p->container) {
        bool wide = str_ieq(p->encoding_name, S("8bit")) || str_ieq(p->encoding_name, S("binary"));
        bool change = wide && (d->mode & DOWNGRADE_EIGHT_BIT);
        return change ? header_edit_set_text(h, S("Content-Transfer-Encoding"), S("7bit"), w) : OK;
    }
    if (!bodies_change(d) || leaf_stays(p) || p->encoding != TRANSFER_IDENTITY)
        return OK;
    enum err e = header_edit_set_text(h, S("Content-Transfer-Encoding"), str_of(transfer_name(encoding_for(p))), w);
    if (e != OK || !heads_message(d, p))
        return e;
    if (!header_edit_get(h, S("MIME-Version"), &there))
        e = header_edit_add(h, HEADER_EDIT_END, S("MIME-Version"), S("1.0"), w);
    bool eight = d->mode & DOWNGRADE_EIGHT_BIT; /* RFC 1428 3: from before MIME; else nothing is said that was not */
    if (e == OK && eight && !header_edit_get(h, S("Content-Type"), &there))
        e = header_edit_add(h, HEADER_EDIT_END, S("Content-Type"), S("text/plain; charset=unknown-8bit"), w);
    return e;
}

static enum err edit_header(struct downgrade *d, const struct mime_part *p, struct header_edit *h, struct why *w) {
    if (!utf8_is_ascii(p->boundary) && d->mode)
        return why(w, ERR_UNSUPPORTED, "a boundary with bytes above 127");
    enum err e = declare_encoding(d, p, h, w);
    if (e != OK || !(d->mode & DOWNGRADE_UTF8))
        return e;
    if (p->container && mime_is(p, S("message"), S("global")))
        e = header_edit_set_text(h, S("Content-Type"), S("message/rfc822"), w);
    if (e == OK) {
        e = header_ascii(h, w);
        d->address = e == ERR_UNSUPPORTED;
    }
    return e;
}

static void write_edited(struct downgrade *d, str header, str list, struct buf *out) {
    struct edit_piece p;
    for (uint64_t at = 0; edit_piece(list, header.n, at, &p); at += p.put.n ? p.put.n : p.n)
        write_out(d, p.put.n ? p.put : str_sub(header, (size_t)p.from, (size_t)p.n), out);
}

static void write_header(struct downgrade *d, const struct mime_part *p, struct buf *out) {
    str raw = take_to(d, p->body_offset), header = str_head(raw, d->parser.header.n);
    struct arena mem = ARENA(HEADER_MEMORY_MAX);
    struct buf list = BUF(HEADER_OUT_MAX);
    struct header_edit h;
    struct why w = {0};
    if (has_fault(p, MIME_FAULT_HEADER_LIMIT) || sealed(d, p)) {
        if ((d->mode & DOWNGRADE_UTF8) && !utf8_is_ascii(raw))
            fail(d, ERR_UNSUPPORTED, "a header that may not be changed has bytes above 127");
        write_out(d, raw, out);
        d->line = 0;
        return;
    }
    header_edit_begin(&h, header, &mem);
    enum err e = edit_header(d, p, &h, &w);
    if (e == OK)
        e = header_edit_finish(&h, &list);
    if (e == OK) {
        write_edited(d, header, buf_str(&list), out);
        write_out(d, str_tail(raw, header.n), out);
        /* A header of nothing gets its empty line when fields came into it; so does one that ran into its body. */
        if (list.n && raw.n == header.n)
            write_out(d, S("\r\n"), out);
    } else {
        fail(d, e, w.text[0] ? w.text : err_name(e));
    }
    d->line = 0;
    buf_free(&list);
    arena_free(&mem);
}

/* ---- bodies ---- */

static void leaf_begins(struct downgrade *d, const struct mime_part *p) {
    d->leaf = d->parser.current;
    d->raw = !bodies_change(d) || leaf_stays(p) || sealed(d, p);
    d->after_cr = false;
    transfer_init(&d->decode, p->encoding);
    d->encode = ENCODE(encoding_for(p));
}

static void recode(struct downgrade *d, struct buf *out) {
    size_t before = out->n;
    encode_put(&d->encode, buf_str(&d->decoded), out);
    if (out->n > before) {
        d->last[0] = out->n > 1 ? out->p[out->n - 2] : 0;
        d->last[1] = out->p[out->n - 1];
    }
    if (d->decoded.full)
        fail(d, ERR_NOMEM, "no memory");
    buf_reset(&d->decoded);
}

static void leaf_piece(struct downgrade *d, str piece, struct buf *out) {
    if (d->raw) {
        write_raw(d, piece, out);
        return;
    }
    transfer_put(&d->decode, piece, &d->decoded);
    recode(d, out);
}

static void leaf_ends(struct downgrade *d, struct buf *out) {
    struct buf tail = BUF(SLICE);
    if (d->leaf == MIME_NONE)
        return;
    d->leaf = MIME_NONE;
    if (d->raw && d->after_cr && (d->mode & DOWNGRADE_BINARY))
        fail(d, ERR_UNSUPPORTED, "a part that may not be changed is binary");
    if (d->raw)
        return;
    transfer_end(&d->decode, &d->decoded);
    recode(d, out);
    encode_end(&d->encode, &tail);
    write_out(d, buf_str(&tail), out);
    buf_free(&tail);
    d->line = 0;
}

/* ---- the walk ---- */

static void part_begins(struct downgrade *d, struct buf *out) {
    const struct mime_part *p = mime_part(&d->parser);
    leaf_ends(d, out);
    write_between(d, take_to(d, p->header_offset), out);
    write_header(d, p, out);
    if (!p->container)
        leaf_begins(d, p);
}

static void message_ends(struct downgrade *d, struct buf *out) {
    leaf_ends(d, out);
    write_between(d, take_to(d, d->parser.offset), out);
    if (d->last[0] != '\r' || d->last[1] != '\n')
        write_out(d, S("\r\n"), out);
}

static void feed(struct downgrade *d, str in, bool last, struct buf *out) {
    enum mime_event e;
    buf_drop(&d->window, d->window_at);
    d->window_at = 0;
    buf_add(&d->window, in);
    if (d->window.full) {
        fail(d, ERR_UNSUPPORTED, "more between the parts of a message than can be looked at");
        return;
    }
    while (d->failed == OK && (e = mime_next(&d->parser, &in, last)) != MIME_INPUT) {
        if (e == MIME_PART)
            part_begins(d, out);
        else if (e == MIME_BODY)
            leaf_piece(d, take_to(d, d->done + d->parser.piece.n), out);
        if (e != MIME_DONE)
            continue;
        message_ends(d, out);
        break;
    }
    if (d->parser.no_memory)
        fail(d, ERR_NOMEM, "no memory");
    if (out->full)
        fail(d, ERR_FULL, "no room for what is converted");
}

enum err downgrade_put(struct downgrade *d, str in, struct buf *out) {
    for (; in.n && d->failed == OK; in = str_tail(in, SLICE))
        feed(d, str_head(in, SLICE), false, out);
    return d->failed;
}

enum err downgrade_end(struct downgrade *d, struct buf *out) {
    if (d->failed == OK)
        feed(d, STR_NONE, true, out);
    return d->failed;
}
