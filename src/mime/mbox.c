#include "mime/mbox.h"

#include "mime/header.h"
#include "mime/maildir.h"

enum { FROM_LINE_MAX = 1000, SENDER_MAX = 320 };

static const str from_ = S_INIT("From ");

/* ---- reading ---- */

/* "12:34" somewhere in it: a sentence that begins with From seldom has that. */
static bool has_time(str line) {
    for (size_t i = 2; i + 2 < line.n; i++)
        if (line.p[i] == ':' && char_is_digit(line.p[i - 1]) && char_is_digit(line.p[i + 1]) &&
            char_is_digit(line.p[i + 2]))
            return true;
    return false;
}

static bool is_from_line(str s) {
    str line;
    return str_starts(s, from_) && str_line(&s, &line) && line.n <= FROM_LINE_MAX && has_time(line);
}

/* The length of an empty line at the front. */
static size_t empty_line(str s) {
    return str_starts(s, S("\r\n")) ? 2 : str_starts(s, S("\n"));
}

/* Where the message at the front ends: at an empty line before a From line, or with the file. */
static size_t message_end(str s) {
    size_t at = 0;
    for (;;) {
        str rest = str_tail(s, at);
        size_t empty = empty_line(rest);
        if (empty && is_from_line(str_tail(rest, empty)))
            return at;
        if (empty && empty == rest.n) /* the last line of the file */
            return at;
        size_t n = str_find(rest, '\n');
        if (n == SIZE_MAX)
            return s.n;
        at += n + 1;
    }
}

static size_t fields_end(str s) {
    struct header_iter it = HEADER_ITER(s);
    struct header h;
    while (header_next(&it, &h) && h.name.n)
        ;
    return it.at;
}

static size_t header_end(str s) {
    size_t at = fields_end(s);
    return at + empty_line(str_tail(s, at));
}

/* The end that Content-Length tells, when it can be right; else 0. */
static size_t counted_end(str s) {
    size_t body = header_end(s);
    struct header h;
    uint64_t length;
    if (!header_find(str_head(s, body), S("Content-Length"), &h) || !str_u64(str_trim(h.value), &length) ||
        length > s.n - body)
        return 0;
    str rest = str_tail(s, body + (size_t)length);
    size_t empty = empty_line(rest);
    bool right = rest.n == 0 || empty == rest.n || (empty && is_from_line(str_tail(rest, empty)));
    return right ? body + (size_t)length : 0;
}

/* Our writer's two fields stand in front of all of the message's own, which may be called the same. */
static bool is_ours(str raw, size_t *length) {
    str rest = raw, status, more;
    bool ours = str_line(&rest, &status) && str_line(&rest, &more) &&
                (str_eq(status, S("Status: O")) || str_eq(status, S("Status: RO"))) &&
                str_starts(more, S("X-Status: "));
    *length = raw.n - rest.n;
    return ours;
}

static void read_from_line(str line, struct mbox_message *m) {
    str rest = str_tail(line, from_.n);
    if (!str_word(&rest, &m->sender))
        m->sender = STR_NONE;
    if (!date_parse(rest, &m->date))
        m->date = (struct date){0};
}

bool mbox_next(struct mbox_iter *it, struct mbox_message *m) {
    str line;
    while (it->rest.n && !is_from_line(it->rest)) {
        size_t n = str_find(it->rest, '\n');
        it->rest = str_tail(it->rest, n == SIZE_MAX ? n : n + 1);
    }
    *m = (struct mbox_message){0};
    if (!str_line(&it->rest, &line))
        return false;
    read_from_line(line, m);
    size_t front, end = 0;
    m->ours = is_ours(it->rest, &front);
    if (!m->ours)
        end = counted_end(it->rest);
    m->counted = end > 0;
    if (!m->counted)
        end = message_end(it->rest);
    m->raw = str_head(it->rest, end);
    m->flags = mbox_flags(str_head(m->raw, m->ours ? front : header_end(m->raw)));
    if (m->ours)
        m->raw = str_tail(m->raw, front);
    it->rest = str_tail(it->rest, end);
    return true;
}

/* How many ">" before "From "; SIZE_MAX: it is no such line. */
static size_t quotes(str line) {
    size_t n = 0;
    while (n < line.n && line.p[n] == '>')
        n++;
    return str_starts(str_tail(line, n), from_) ? n : SIZE_MAX;
}

void mbox_unquote(str raw, enum mbox_quoting quoting, struct buf *out) {
    str line;
    while (str_line(&raw, &line)) {
        size_t n = quotes(line);
        bool quoted = n != SIZE_MAX && (quoting == MBOX_QUOTES_RD ? n >= 1 : quoting == MBOX_QUOTES_O && n == 1);
        buf_add(out, str_tail(line, quoted));
        buf_add(out, S("\r\n"));
    }
}

/* The fields without those that a program that kept the mailbox put there. */
static void put_fields(str header, enum mbox_quoting quoting, struct buf *out) {
    struct header_iter it = HEADER_ITER(header);
    struct header h;
    while (header_next(&it, &h))
        if (!str_ieq(h.name, S("Status")) && !str_ieq(h.name, S("X-Status")))
            mbox_unquote(str_sub(header, h.offset, h.length), quoting, out);
}

void mbox_message_put(const struct mbox_message *m, struct buf *out) {
    enum mbox_quoting quoting = m->counted ? MBOX_QUOTES_NONE : MBOX_QUOTES_RD;
    size_t fields = m->ours ? 0 : fields_end(m->raw);
    put_fields(str_head(m->raw, fields), quoting, out);
    mbox_unquote(str_tail(m->raw, fields), quoting, out);
}

static const struct {
    const char *field;
    char letter;
    enum maildir_flag flag;
} statuses[] = {{"Status", 'R', MAILDIR_SEEN},
                {"X-Status", 'A', MAILDIR_ANSWERED},
                {"X-Status", 'F', MAILDIR_FLAGGED},
                {"X-Status", 'T', MAILDIR_DRAFT},
                {"X-Status", 'D', MAILDIR_DELETED}};
enum { STATUSES = sizeof statuses / sizeof *statuses };

unsigned mbox_flags(str header) {
    unsigned flags = 0;
    struct header h;
    for (size_t i = 0; i < STATUSES; i++)
        if (header_find(header, str_of(statuses[i].field), &h) && str_has(h.value, statuses[i].letter))
            flags |= statuses[i].flag;
    return flags;
}

/* ---- writing ---- */

/* "Thu Jan  1 00:00:00 1970", UTC. */
static void asctime_put(struct date d, struct buf *out) {
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct date_civil c = date_civil((struct date){.us = d.us});
    buf_printf(out, "%s %s %2u %02u:%02u:%02u %04d", days[c.weekday % 7], months[(c.month - 1) % 12], c.day, c.hour,
               c.minute, c.second, c.year);
}

static void status_put(unsigned flags, struct buf *out) {
    buf_add(out, flags & MAILDIR_SEEN ? S("Status: RO\n") : S("Status: O\n"));
    buf_add(out, S("X-Status: "));
    for (size_t i = 1; i < STATUSES; i++)
        if (flags & statuses[i].flag)
            buf_char(out, statuses[i].letter);
    buf_char(out, '\n');
}

void mbox_write_begin(struct mbox_writer *w, str sender, struct date date, unsigned flags, struct buf *out) {
    *w = (struct mbox_writer){0};
    buf_add(out, from_);
    sender = sender.n ? str_head(sender, SENDER_MAX) : S("MAILER-DAEMON");
    for (size_t i = 0; i < sender.n; i++)
        buf_char(out, (unsigned char)sender.p[i] <= 32 || sender.p[i] == 127 ? '-' : sender.p[i]);
    buf_char(out, ' ');
    asctime_put(date, out);
    buf_char(out, '\n');
    status_put(flags, out);
}

/* What was held of the beginning of a line, with one more ">" when it is a From line. */
static void release(struct mbox_writer *w, struct buf *out) {
    if (w->matched == from_.n)
        buf_char(out, '>');
    buf_fill(out, '>', w->quotes);
    buf_add(out, str_head(from_, w->matched));
    w->quotes = w->matched = 0;
    w->inside = true;
}

static void put_byte(struct mbox_writer *w, char c, struct buf *out) {
    if (!w->inside && c == '>' && w->matched == 0) {
        w->quotes++;
        return;
    }
    if (!w->inside && c == from_.p[w->matched]) {
        if (++w->matched == from_.n)
            release(w, out);
        return;
    }
    if (!w->inside)
        release(w, out);
    buf_char(out, c);
    w->inside = c != '\n';
}

void mbox_write_put(struct mbox_writer *w, str bytes, struct buf *out) {
    for (size_t i = 0; i < bytes.n; i++) {
        char c = bytes.p[i];
        if (w->cr && c != '\n')
            put_byte(w, '\r', out);
        w->cr = c == '\r';
        if (!w->cr)
            put_byte(w, c, out);
    }
}

void mbox_write_end(struct mbox_writer *w, struct buf *out) {
    if (w->cr)
        put_byte(w, '\r', out);
    if (w->quotes || w->matched)
        release(w, out);
    if (w->inside)
        buf_char(out, '\n');
    buf_char(out, '\n');
    *w = (struct mbox_writer){0};
}
