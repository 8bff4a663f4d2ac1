#include "mime/mime.h"

#include "base/code.h"
#include "mime/header.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_SIZE_MAX = 998, NAME_LOOK = 1000, PARAM_MAX = 4096 };

/* What the bytes at hand are: a header, the body of a leaf, or what stands before, between and behind parts. */
enum state { HEADER, BODY, BETWEEN };

/* A line that ended a header and is to be looked at again as what it is. */
enum replay { REPLAY_NONE, REPLAY_CONTENT, REPLAY_BOUNDARY };

static const struct {
    const char *name, *sentence;
} fault_texts[MIME_FAULT_COUNT] = {
#define X(NAME, name, sentence) [MIME_FAULT_##NAME] = {name, sentence},
    MIME_FAULTS(X)
#undef X
};

const char *mime_fault_name(enum mime_fault f) {
    return fault_texts[f].name;
}

const char *mime_fault_sentence(enum mime_fault f) {
    return fault_texts[f].sentence;
}

static void fault(struct mime *m, enum mime_fault f, uint64_t offset) {
    if (m->faults[f].count++ == 0)
        m->faults[f].first = offset;
}

static void part_fault(struct mime *m, struct mime_part *p, enum mime_fault f) {
    p->faults |= 1u << f;
    fault(m, f, p->header_offset);
}

void mime_body_fault(struct mime *m, uint32_t part, enum mime_fault f) {
    m->parts[part].faults |= 1u << f;
    fault(m, f, m->parts[part].body_offset);
}

struct mime_part *mime_part(const struct mime *m) {
    return &m->parts[m->current];
}

bool mime_is(const struct mime_part *p, str type, str subtype) {
    return str_eq(p->type, type) && (subtype.n == 0 || str_eq(p->subtype, subtype));
}

void mime_path(const struct mime *m, uint32_t part, struct buf *out) {
    uint32_t numbers[MIME_DEPTH_MAX + 1];
    size_t n = 0;
    for (uint32_t at = part; m->parts[at].parent != MIME_NONE; at = m->parts[at].parent)
        numbers[n++] = m->parts[at].number;
    if (n == 0)
        buf_char(out, '0');
    while (n--)
        buf_printf(out, n ? "%u." : "%u", (unsigned)numbers[n]);
}

/* --- parts --- */

/* False at a limit.  What does not fit is text of the part before. */
static bool new_part(struct mime *m, uint32_t parent, uint64_t offset) {
    if (m->count == MIME_PARTS_MAX)
        return false;
    if (m->count == m->capacity) {
        uint32_t capacity = m->capacity ? m->capacity * 2 : 4;
        struct mime_part *p = realloc(m->parts, capacity * sizeof *p);
        if (!p) {
            m->no_memory = true;
            return false;
        }
        m->parts = p;
        m->capacity = capacity;
    }
    m->current = m->count++;
    struct mime_part *p = mime_part(m);
    *p = (struct mime_part){.header_offset = offset, .body_offset = offset, .parent = parent};
    if (parent != MIME_NONE) {
        p->number = ++m->parts[parent].children;
        p->depth = m->parts[parent].depth + 1;
    }
    m->state = HEADER;
    m->over = m->checked = false;
    m->first_line = true;
    m->header_line = 0;
    buf_reset(&m->head);
    return true;
}

void mime_init(struct mime *m) {
    *m = (struct mime){
        .bol = true, .head = BUF(MIME_HEADER_MAX), .spill = BUF(MIME_HEADER_MAX), .strings = ARENA(MIME_STRINGS_MAX)};
    if (!new_part(m, MIME_NONE, 0))
        m->ended = true; /* no memory: nothing will be seen */
}

void mime_free(struct mime *m) {
    free(m->parts);
    buf_free(&m->head);
    buf_free(&m->spill);
    arena_free(&m->strings);
    m->parts = NULL;
    m->count = m->capacity = 0;
}

static str keep_str(struct mime *m, str s) {
    if (s.n == 0)
        return STR_NONE;
    str copy = arena_str(&m->strings, s);
    if (!copy.p) {
        m->no_memory = true;
        part_fault(m, mime_part(m), MIME_FAULT_STRINGS_LIMIT);
    }
    return copy;
}

static str keep_lower(struct mime *m, str s) {
    char lower[128];
    s = str_head(s, sizeof lower);
    for (size_t i = 0; i < s.n; i++)
        lower[i] = char_lower(s.p[i]);
    return keep_str(m, str_n(lower, s.n));
}

static str keep_param(struct mime *m, str value, str name) {
    struct buf out = BUF(PARAM_MAX);
    str kept = header_param(value, name, &out) ? keep_str(m, str_trim(buf_str(&out))) : STR_NONE;
    buf_free(&out);
    return kept;
}

static void set_type(struct mime *m, struct mime_part *p, str type, str subtype) {
    p->type = keep_lower(m, type);
    p->subtype = keep_lower(m, subtype);
}

static bool is_token(str s) {
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= 32 || (unsigned char)s.p[i] > 126 || str_has(S("()<>@,;:\\\"/[]?="), s.p[i]))
            return false;
    return s.n > 0;
}

static void read_type(struct mime *m, struct mime_part *p, str value) {
    str token = header_token(value), type;
    if (!str_cut(&token, '/', &type) || !is_token(type) || !is_token(token)) {
        part_fault(m, p, MIME_FAULT_BAD_TYPE);
        return;
    }
    set_type(m, p, type, token);
    p->charset = keep_param(m, value, S("charset"));
    if (p->filename.n == 0)
        p->filename = keep_param(m, value, S("name"));
    if (str_eq(p->type, S("multipart")))
        p->boundary = keep_param(m, value, S("boundary"));
}

static void read_encoding(struct mime *m, struct mime_part *p, str value) {
    str name = header_token(value);
    p->encoding = transfer_named(value);
    if (p->encoding == TRANSFER_UNKNOWN)
        part_fault(m, p, MIME_FAULT_BAD_ENCODING);
    if (utf8_is_ascii(name))
        p->encoding_name = keep_lower(m, name);
}

static void read_disposition(struct mime *m, struct mime_part *p, str value) {
    str name = keep_param(m, value, S("filename"));
    p->disposition = keep_lower(m, header_token(value));
    if (name.n)
        p->filename = name;
}

static void read_content_id(struct mime *m, struct mime_part *p, str value) {
    struct buf id = BUF(PARAM_MAX);
    header_unfold(str_trim(value), &id);
    str s = str_trim(buf_str(&id));
    if (str_skip_char(&s, '<'))
        s = str_head(s, str_find(s, '>'));
    if (utf8_valid(s))
        p->content_id = keep_str(m, str_trim(s));
    buf_free(&id);
}

static const struct {
    str name;
    void (*read)(struct mime *, struct mime_part *, str value);
} fields[] = {
    {S_INIT("Content-Type"), read_type},
    {S_INIT("Content-Transfer-Encoding"), read_encoding},
    {S_INIT("Content-Disposition"), read_disposition},
    {S_INIT("Content-ID"), read_content_id},
};
enum { FIELD_COUNT = sizeof fields / sizeof *fields };

static void read_fields(struct mime *m, struct mime_part *p) {
    struct header_iter it = HEADER_ITER(m->header);
    struct header h;
    bool seen[FIELD_COUNT] = {0};
    while (header_next(&it, &h))
        for (size_t i = 0; i < FIELD_COUNT; i++) {
            if (!str_ieq(h.name, fields[i].name))
                continue;
            if (seen[i])
                part_fault(m, p, MIME_FAULT_DUPLICATE);
            else
                fields[i].read(m, p, h.value);
            seen[i] = true;
        }
}

static void default_type(struct mime *m, struct mime_part *p) {
    /* RFC 2046 5.1.5: inside of a digest parts are messages unless they say otherwise. */
    bool digest = p->parent != MIME_NONE && mime_is(&m->parts[p->parent], S("multipart"), S("digest"));
    if (digest && !(p->faults & 1u << MIME_FAULT_BAD_TYPE))
        set_type(m, p, S("message"), S("rfc822"));
    else
        set_type(m, p, S("text"), S("plain"));
}

static bool is_message(const struct mime_part *p) {
    return mime_is(p, S("message"), S("rfc822")) || mime_is(p, S("message"), S("global"));
}

static void decide_container(struct mime *m, struct mime_part *p) {
    bool encoded = p->encoding != TRANSFER_IDENTITY && p->encoding != TRANSFER_UNKNOWN;
    p->multipart = str_eq(p->type, S("multipart"));
    if (!p->multipart && !is_message(p))
        return;
    if (encoded)
        part_fault(m, p, MIME_FAULT_ENCODED_CONTAINER);
    if (p->multipart) {
        /* The label is wrong: boundaries stand in the clear whatever it says. */
        p->encoding = TRANSFER_IDENTITY;
        encoded = false;
        if (p->boundary.n > 70)
            part_fault(m, p, MIME_FAULT_LONG_BOUNDARY);
        if (p->boundary.n == 0 || p->boundary.n > MIME_BOUNDARY_MAX) {
            part_fault(m, p, MIME_FAULT_NO_BOUNDARY);
            return;
        }
    }
    if (p->depth >= MIME_DEPTH_MAX)
        part_fault(m, p, MIME_FAULT_DEPTH_LIMIT);
    else if (!p->multipart && !encoded && m->count == MIME_PARTS_MAX) /* said now: the host is to see a leaf */
        part_fault(m, p, MIME_FAULT_PARTS_LIMIT);
    else if (!encoded)
        p->container = true;
}

/* The header is complete; the body begins at `body_offset`.  The part is entered at the next call, so that the host
 * may say mime_keep(). */
static enum mime_event finish_header(struct mime *m, size_t size, uint64_t body_offset, uint64_t newlines) {
    struct mime_part *p = mime_part(m);
    m->header = str_head(buf_str(&m->head), size);
    p->body_offset = body_offset;
    p->header_length = body_offset - p->header_offset;
    p->newlines = newlines;
    if (!utf8_is_ascii(m->header))
        part_fault(m, p, MIME_FAULT_HEADER_EIGHT_BIT);
    if (m->over) {
        part_fault(m, p, MIME_FAULT_HEADER_LIMIT);
        set_type(m, p, S("application"), S("octet-stream"));
    } else {
        read_fields(m, p);
        if (p->type.n == 0)
            default_type(m, p);
        decide_container(m, p);
    }
    m->enter = true;
    return MIME_PART;
}

void mime_keep(struct mime *m) {
    assert(m->enter);
    mime_part(m)->container = false;
}

static void enter_part(struct mime *m) {
    struct mime_part *p = mime_part(m);
    uint32_t index = m->current;
    m->enter = false;
    m->state = BODY;
    if (!p->container)
        return;
    m->open[m->open_count++] = index;
    if (p->multipart) {
        m->state = BETWEEN;
    } else if (!new_part(m, index, p->body_offset)) { /* no memory */
        m->open_count--;
        p->container = false;
    }
}

static void close_part(struct mime *m, uint32_t index, uint64_t end, uint64_t newlines, bool open_line) {
    struct mime_part *p = &m->parts[index];
    p->body_length = end > p->body_offset ? end - p->body_offset : 0;
    if (p->body_length)
        p->lines = newlines - p->newlines + open_line;
    if (p->container && p->multipart && !p->closed)
        part_fault(m, p, MIME_FAULT_NO_CLOSE);
    if (p->container && p->multipart && p->children == 0)
        part_fault(m, p, MIME_FAULT_NO_PARTS);
}

/* Closes everything that is open inside of the first `level` containers. */
static void close_above(struct mime *m, uint32_t level, uint64_t end, uint64_t newlines, bool open_line) {
    if (m->state == BODY)
        close_part(m, m->current, end, newlines, open_line);
    while (m->open_count > level)
        close_part(m, m->open[--m->open_count], end, newlines, open_line);
}

/* --- boundaries --- */

/* The innermost open multipart whose boundary the line is, as its place in open plus 1; 0: none. */
static uint32_t match_boundary(const struct mime *m, str line, bool *closing) {
    if (!str_skip(&line, S("--")))
        return 0;
    while (line.n && (char_is_space(line.p[line.n - 1]) || line.p[line.n - 1] == '\r'))
        line.n--;
    for (uint32_t i = m->open_count; i-- > 0;) {
        const struct mime_part *p = &m->parts[m->open[i]];
        if (!p->multipart || p->closed || !str_starts(line, p->boundary))
            continue;
        str rest = str_tail(line, p->boundary.n);
        *closing = str_eq(rest, S("--"));
        if (rest.n == 0 || *closing)
            return i + 1;
    }
    return 0;
}

static bool boundaries_matter(const struct mime *m) {
    return m->open_count && !m->blind;
}

/* The line that began at m->line_at is the boundary of open[level - 1]. */
static void at_boundary(struct mime *m, uint32_t level, bool closing) {
    uint32_t container = m->open[level - 1];
    bool room = closing || m->count < MIME_PARTS_MAX;
    if (!room) {
        m->blind = true;
        part_fault(m, &m->parts[container], MIME_FAULT_PARTS_LIMIT);
        return;
    }
    close_above(m, level, m->line_at - m->eol, m->line_newlines - (m->eol ? 1 : 0), m->eol && m->line_before);
    m->eol = 0;
    m->current = container;
    if (closing) {
        m->parts[container].closed = true;
        m->state = BETWEEN;
    } else if (!new_part(m, container, m->offset)) {
        m->blind = true;
        m->state = BETWEEN;
    }
}

/* --- content --- */

static void queue_piece(struct mime *m, str piece) {
    if (piece.n == 0)
        return;
    assert(m->queue_count < sizeof m->queue / sizeof *m->queue);
    m->queue[m->queue_count++] = piece;
}

static str eol_bytes(unsigned eol) {
    return eol == 2 ? S("\r\n") : eol == 1 ? S("\n") : STR_NONE;
}

static void start_line(struct mime *m) {
    m->bol = true;
    m->line_before = m->line_size;
    m->line_size = 0;
    m->line_at = m->offset;
    m->line_newlines = m->newlines;
}

static void body_content(struct mime *m, str piece, bool ends, unsigned eol) {
    if (m->state == BODY) {
        if (piece.n || ends)
            queue_piece(m, eol_bytes(m->eol));
        queue_piece(m, piece);
    }
    if (piece.n || ends)
        m->eol = ends ? eol : 0;
}

/* The line at hand is no field: the header ended before it. */
static enum mime_event header_ends_early(struct mime *m, bool ends, unsigned eol) {
    str line = str_tail(buf_str(&m->head), m->header_line);
    line.n -= ends ? eol : 0;
    buf_reset(&m->spill);
    buf_add(&m->spill, line);
    m->replay = REPLAY_CONTENT;
    m->replay_ends = ends;
    m->replay_eol = eol;
    m->replay_at = m->line_at;
    m->replay_newlines = m->line_newlines;
    m->replay_size = m->line_size;
    part_fault(m, mime_part(m), MIME_FAULT_HEADER_END);
    return finish_header(m, m->header_line, m->line_at, m->line_newlines);
}

static bool may_stand_in_header(struct mime *m, str line) {
    str name;
    if (header_line_name(str_head(line, NAME_LOOK), &name))
        return true;
    bool mbox = m->first_line && (str_starts(line, S("From ")) || str_starts(line, S(">From ")));
    bool folded = line.n && char_is_space(line.p[0]);
    if (mbox || (folded && m->first_line))
        part_fault(m, mime_part(m), MIME_FAULT_HEADER_JUNK);
    return mbox || folded;
}

/* What does not fit is cut at the same byte however the input came. */
static void add_to_head(struct mime *m, str s) {
    str fits = str_head(s, MIME_HEADER_MAX - m->head.n);
    if (!m->over)
        buf_add(&m->head, fits);
    m->over = m->over || fits.n < s.n || m->head.full;
}

/* A piece of a header line; MIME_PART when the header is over with it, else MIME_INPUT. */
static enum mime_event header_content(struct mime *m, str piece, bool ends, unsigned eol) {
    if (ends && m->line_size == 0)
        return finish_header(m, m->head.n, m->offset, m->newlines);
    add_to_head(m, piece);
    if (ends)
        add_to_head(m, eol_bytes(eol));
    if (!m->over && !m->checked && (ends || m->line_size >= NAME_LOOK)) {
        str line = str_tail(buf_str(&m->head), m->header_line);
        line.n -= ends ? eol : 0;
        if (!may_stand_in_header(m, line))
            return header_ends_early(m, ends, eol);
        m->checked = true;
    }
    if (ends) {
        m->header_line = m->head.n;
        m->checked = m->first_line = false;
    }
    return MIME_INPUT;
}

static enum mime_event content(struct mime *m, str piece, bool ends, unsigned eol) {
    if (m->state == HEADER)
        return header_content(m, piece, ends, eol);
    body_content(m, piece, ends, eol);
    return MIME_INPUT;
}

/* --- bytes in --- */

static void scan(struct mime *m, str s) {
    char last = m->scan_last;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '\n') {
            if (last != '\r')
                fault(m, MIME_FAULT_BARE_LF, m->offset + i);
            m->newlines++;
            m->scan_line = 0;
        } else {
            if (last == '\r')
                fault(m, MIME_FAULT_BARE_CR, m->offset + i - 1);
            if (c == '\0')
                fault(m, MIME_FAULT_NUL, m->offset + i);
            /* The CR of a line end does not count; a lone one is a fault of its own. */
            if (c != '\r' && ++m->scan_line == LINE_SIZE_MAX + 1)
                fault(m, MIME_FAULT_LONG_LINE, m->offset + i);
        }
        last = c;
    }
    m->scan_last = last;
}

static str take(struct mime *m, str *in, size_t n) {
    str taken = str_head(*in, n);
    scan(m, taken);
    m->offset += taken.n;
    *in = str_tail(*in, n);
    return taken;
}

/* The end of a line that may be a boundary, or that certainly is none. */
static enum mime_event held_line(struct mime *m, bool ends) {
    str line = {m->hold, m->held};
    unsigned eol = ends ? (line.n > 1 && line.p[line.n - 2] == '\r' ? 2 : 1) : 0;
    bool closing = false;
    uint32_t level = 0;
    line.n -= eol;
    m->held = 0;
    m->line_size = line.n;
    if (ends || m->ended)
        level = match_boundary(m, line, &closing);
    if (level && m->state == HEADER) {
        /* A part without an empty line: its header first, then again. */
        buf_reset(&m->spill);
        buf_add(&m->spill, line);
        m->replay = REPLAY_BOUNDARY;
        m->replay_ends = ends;
        m->replay_eol = eol;
        if (m->head.n)
            part_fault(m, mime_part(m), MIME_FAULT_HEADER_END);
        return finish_header(m, m->head.n, m->line_at, m->line_newlines);
    }
    if (level) {
        at_boundary(m, level, closing);
        if (!m->blind) {
            start_line(m);
            m->bol = ends;
            return MIME_INPUT;
        }
    }
    if (!ends && line.n && line.p[line.n - 1] == '\r') {
        line.n--;
        m->line_size--;
        m->cr = true;
    }
    enum mime_event e = content(m, line, ends, eol);
    if (ends)
        start_line(m);
    else
        m->bol = false;
    return e;
}

/* At the start of a line that begins with "-". */
static enum mime_event take_candidate(struct mime *m, str *in) {
    /* First the two hyphens, then the line: what is held depends on the bytes alone, not on how they came. */
    size_t room = (m->held < 2 ? 2 : sizeof m->hold) - m->held;
    size_t end = str_find(str_head(*in, room), '\n');
    bool ends = end != SIZE_MAX;
    str part = take(m, in, ends ? end + 1 : room);
    memcpy(m->hold + m->held, part.p, part.n);
    m->held += part.n;
    bool candidate = m->held < 2 || m->hold[1] == '-';
    if (ends || !candidate || m->held == sizeof m->hold)
        return held_line(m, ends);
    return MIME_INPUT;
}

/* How much of `in` is surely content of the leaf: up to the end of the last line before one that begins with "-". */
static size_t body_run(const struct mime *m, str in) {
    if (!boundaries_matter(m))
        return in.n;
    for (size_t n = 0;;) {
        size_t end = str_find(str_tail(in, n), '\n');
        if (end == SIZE_MAX)
            return in.n;
        n += end + 1;
        if (n == in.n || in.p[n] == '-')
            return n;
    }
}

/* Many lines at once, where they are content of a leaf (or of nothing). */
static void take_run(struct mime *m, str *in) {
    str run = take(m, in, body_run(m, *in));
    size_t newline = str_rfind(run, '\n');
    bool ends = run.p[run.n - 1] == '\n';
    unsigned eol = 0;
    if (ends) {
        str before = str_head(run, run.n - 1);
        size_t previous = str_rfind(before, '\n');
        eol = before.n && before.p[before.n - 1] == '\r' ? 2 : 1;
        /* line_size is that of the line which ends here */
        m->line_size = previous == SIZE_MAX ? m->line_size + run.n - eol : run.n - eol - previous - 1;
    } else {
        m->line_size = newline == SIZE_MAX ? m->line_size + run.n : run.n - newline - 1;
        m->bol = false;
        if (run.p[run.n - 1] == '\r') {
            m->cr = true;
            m->line_size--;
        }
    }
    str piece = str_head(run, run.n - eol - (m->cr ? 1 : 0));
    body_content(m, piece, ends, eol);
    if (ends)
        start_line(m);
    else if (newline != SIZE_MAX) {
        /* line_at is only asked for at the start of a line or in a header */
        m->line_at = m->offset - (run.n - newline - 1);
        m->line_newlines = m->newlines;
    }
}

static enum mime_event take_header_line(struct mime *m, str *in) {
    /* At first only what tells whether it is a field: header_content() sees that much however the input came. */
    size_t look = m->checked || m->over || m->line_size >= NAME_LOOK ? SIZE_MAX : NAME_LOOK - (size_t)m->line_size;
    size_t end = str_find(str_head(*in, look), '\n');
    str line = take(m, in, end == SIZE_MAX ? look : end + 1);
    unsigned eol = 0;
    if (end != SIZE_MAX)
        eol = line.n > 1 && line.p[line.n - 2] == '\r' ? 2 : 1;
    else if (line.p[line.n - 1] == '\r')
        m->cr = true;
    line.n -= eol + (m->cr ? 1 : 0);
    m->line_size += line.n;
    m->bol = false;
    enum mime_event e = content(m, line, eol > 0, eol);
    if (eol)
        start_line(m);
    return e;
}

/* A CR was at the end of the input before: the line end, or a byte like any other. */
static enum mime_event take_after_cr(struct mime *m, str *in) {
    m->cr = false;
    if (in->n && in->p[0] == '\n') {
        take(m, in, 1);
        enum mime_event e = content(m, STR_NONE, true, 2);
        start_line(m);
        return e;
    }
    m->line_size++;
    return content(m, S("\r"), false, 0);
}

static enum mime_event take_input(struct mime *m, str *in) {
    if (m->held)
        return take_candidate(m, in);
    if (m->cr)
        return take_after_cr(m, in);
    if (m->bol && boundaries_matter(m) && in->p[0] == '-')
        return take_candidate(m, in);
    if (m->state == HEADER)
        return take_header_line(m, in);
    take_run(m, in);
    return MIME_INPUT;
}

/* --- the end --- */

static enum mime_event take_end(struct mime *m) {
    if (!m->ended && m->scan_last == '\r')
        fault(m, MIME_FAULT_BARE_CR, m->offset - 1);
    m->ended = true;
    if (m->held)
        return held_line(m, false);
    if (m->cr)
        return take_after_cr(m, &(str){NULL, 0});
    if (m->state == HEADER) {
        /* A last line without line end is a field or body like any other. */
        str line = str_tail(buf_str(&m->head), m->header_line);
        if (!m->over && line.n && !m->checked && !may_stand_in_header(m, line))
            return header_ends_early(m, false, 0);
        return finish_header(m, m->head.n, m->offset, m->newlines);
    }
    if (m->eol) {
        queue_piece(m, m->state == BODY ? eol_bytes(m->eol) : STR_NONE);
        m->eol = 0;
        return MIME_INPUT;
    }
    close_above(m, 0, m->offset, m->newlines, m->line_size > 0);
    m->state = BETWEEN;
    return MIME_DONE;
}

/* The line is put where it belongs as if it came now; in a header again when that of a message inside follows. */
static enum mime_event replay_content(struct mime *m) {
    bool ends = m->replay_ends;
    m->replay = REPLAY_NONE;
    if (ends) {
        m->line_at = m->replay_at;
        m->line_newlines = m->replay_newlines;
        m->line_size = m->replay_size;
    }
    enum mime_event e = content(m, buf_str(&m->spill), ends, m->replay_eol);
    if (ends)
        start_line(m);
    return e;
}

static enum mime_event replay_boundary(struct mime *m) {
    str line = buf_str(&m->spill);
    bool closing = false;
    if (m->state == HEADER)
        return finish_header(m, 0, m->line_at, m->line_newlines);
    m->replay = REPLAY_NONE;
    uint32_t level = match_boundary(m, line, &closing);
    assert(level);
    at_boundary(m, level, closing);
    if (m->blind)
        body_content(m, line, m->replay_ends, m->replay_eol);
    start_line(m);
    m->bol = m->replay_ends;
    return MIME_INPUT;
}

enum mime_event mime_next(struct mime *m, str *in, bool last) {
    if (m->parts == NULL)
        return last ? MIME_DONE : (*in = str_tail(*in, in->n), MIME_INPUT);
    for (;;) {
        enum mime_event e = MIME_INPUT;
        if (m->queue_first < m->queue_count) {
            m->piece = m->queue[m->queue_first++];
            return MIME_BODY;
        }
        m->queue_first = m->queue_count = 0;
        if (m->enter)
            enter_part(m);
        if (m->replay)
            e = m->replay == REPLAY_CONTENT ? replay_content(m) : replay_boundary(m);
        else if (in->n)
            e = take_input(m, in);
        else if (!last)
            return MIME_INPUT;
        else
            e = take_end(m);
        if (e != MIME_INPUT)
            return e;
    }
}
