#include "mime/transfer.h"

#include <string.h>

#include "base/code.h"

/* A run of blanks longer than this at the end of a line is no accident and stays. */
enum { BLANKS_MAX = 1024, BASE64_SKIP = 64, BASE64_PAD = 65 };

static const struct {
    str name;
    enum transfer_encoding encoding;
} names[] = {
    {S_INIT("7bit"), TRANSFER_IDENTITY},
    {S_INIT("8bit"), TRANSFER_IDENTITY},
    {S_INIT("binary"), TRANSFER_IDENTITY},
    {S_INIT("base64"), TRANSFER_BASE64},
    {S_INIT("quoted-printable"), TRANSFER_QUOTED_PRINTABLE},
    {S_INIT("x-uuencode"), TRANSFER_UUENCODE},
    {S_INIT("uuencode"), TRANSFER_UUENCODE},
    {S_INIT("x-uue"), TRANSFER_UUENCODE},
    /* seen in the wild */
    {S_INIT("7-bit"), TRANSFER_IDENTITY},
    {S_INIT("8-bit"), TRANSFER_IDENTITY},
    {S_INIT("7 bit"), TRANSFER_IDENTITY},
    {S_INIT("8 bit"), TRANSFER_IDENTITY},
    {S_INIT("none"), TRANSFER_IDENTITY},
    {S_INIT("base-64"), TRANSFER_BASE64},
    {S_INIT("quotedprintable"), TRANSFER_QUOTED_PRINTABLE},
};

enum transfer_encoding transfer_named(str name) {
    size_t at = str_find(name, '(');
    size_t semicolon = str_find(name, ';');
    name = str_trim(str_head(name, at < semicolon ? at : semicolon));
    if (name.n >= 2 && name.p[0] == '"' && name.p[name.n - 1] == '"')
        name = str_sub(name, 1, name.n - 2);
    if (name.n == 0)
        return TRANSFER_IDENTITY;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_ieq(name, names[i].name))
            return names[i].encoding;
    return TRANSFER_UNKNOWN;
}

const char *transfer_name(enum transfer_encoding e) {
    switch (e) {
    case TRANSFER_IDENTITY: return "identity";
    case TRANSFER_BASE64: return "base64";
    case TRANSFER_QUOTED_PRINTABLE: return "quoted-printable";
    case TRANSFER_UUENCODE: return "uuencode";
    case TRANSFER_UNKNOWN: break;
    }
    return "unknown";
}

void transfer_init(struct transfer *t, enum transfer_encoding e) {
    *t = (struct transfer){.encoding = e, .blanks = BUF(BLANKS_MAX)};
}

/* --- base64 --- */

static unsigned base64_value(char c) {
    if (c >= 'A' && c <= 'Z')
        return (unsigned)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (unsigned)(c - 'a') + 26;
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0') + 52;
    switch (c) {
    case '+':
    case '-': return 62; /* RFC 4648 5 */
    case '/':
    case '_': return 63;
    case '=': return BASE64_PAD;
    default: return BASE64_SKIP;
    }
}

/* Bits that make no whole byte are dropped: the end, or padding in the middle (bodies pasted together). */
static void base64_flush(struct transfer *t, struct buf *out) {
    if (t->count == 1)
        t->faults++;
    if (t->count >= 2)
        buf_char(out, (char)(t->bits >> (t->count == 2 ? 4 : 10)));
    if (t->count == 3)
        buf_char(out, (char)(t->bits >> 2));
    t->count = 0;
    t->bits = 0;
}

static void base64_put(struct transfer *t, str in, struct buf *out) {
    for (size_t i = 0; i < in.n; i++) {
        unsigned v = base64_value(in.p[i]);
        if (v == BASE64_PAD) {
            base64_flush(t, out);
        } else if (v == BASE64_SKIP) {
            t->faults += !char_is_space(in.p[i]) && in.p[i] != '\r' && in.p[i] != '\n';
        } else {
            t->bits = t->bits << 6 | v;
            if (++t->count == 4) {
                char bytes[3] = {(char)(t->bits >> 16), (char)(t->bits >> 8), (char)t->bits};
                buf_add(out, (str){bytes, 3});
                t->count = 0;
                t->bits = 0;
            }
        }
    }
}

/* --- quoted-printable --- */

enum { QP_TEXT, QP_ESCAPE };

static void qp_blanks(struct transfer *t, struct buf *out) {
    buf_add(out, buf_str(&t->blanks));
    buf_reset(&t->blanks);
}

static void qp_text(struct transfer *t, char c, struct buf *out) {
    if (char_is_space(c)) {
        if (t->blanks.n == BLANKS_MAX)
            qp_blanks(t, out);
        buf_char(&t->blanks, c);
        return;
    }
    /* Blanks at the end of a line were added on the way.  A CR may be a line end: it waits among the blanks. */
    if (c == '\n') {
        bool cr = t->blanks.n && t->blanks.p[t->blanks.n - 1] == '\r';
        buf_reset(&t->blanks);
        buf_add(out, cr ? S("\r\n") : S("\n"));
        return;
    }
    if (c == '\r') {
        if (t->blanks.n == BLANKS_MAX)
            qp_blanks(t, out);
        buf_char(&t->blanks, c);
        return;
    }
    qp_blanks(t, out);
    if (c == '=') {
        t->state = QP_ESCAPE;
        t->hold[0] = '=';
        t->held = 1;
    } else {
        buf_char(out, c);
    }
}

/* The escape turned out to be none: it stands for itself. */
static void qp_broken(struct transfer *t, struct buf *out) {
    t->faults++;
    t->state = QP_TEXT;
    buf_add(out, (str){t->hold, t->held});
    t->held = 0;
}

/* "=" blanks CRLF: a soft line break (blanks after the "=" are forgiven). */
static void qp_escape(struct transfer *t, char c, struct buf *out) {
    char first = t->held > 1 ? t->hold[1] : '\0';
    bool blank_run = t->held > 1 && (char_is_space(first) || first == '\r');
    if (c == '\n' && (t->held == 1 || blank_run)) {
        t->state = QP_TEXT;
        t->held = 0;
    } else if (t->held < sizeof t->hold && (char_is_space(c) || c == '\r') && (t->held == 1 || blank_run)) {
        t->hold[t->held++] = c;
    } else if (t->held == 1 && hex_value(c) >= 0) {
        t->hold[t->held++] = c;
    } else if (t->held == 2 && !blank_run && hex_value(c) >= 0) {
        buf_char(out, (char)(hex_value(first) << 4 | hex_value(c)));
        t->state = QP_TEXT;
        t->held = 0;
    } else {
        qp_broken(t, out);
        qp_text(t, c, out);
    }
}

static void qp_put(struct transfer *t, str in, struct buf *out) {
    for (size_t i = 0; i < in.n; i++) {
        if (t->state == QP_ESCAPE)
            qp_escape(t, in.p[i], out);
        else
            qp_text(t, in.p[i], out);
    }
}

static void qp_end(struct transfer *t, struct buf *out) {
    if (t->state == QP_ESCAPE && t->held > 1 && !char_is_space(t->hold[1]) && t->hold[1] != '\r')
        qp_broken(t, out);
    /* A lone "=" at the very end is a soft break before nothing; blanks before nothing end a line. */
    t->held = 0;
    t->state = QP_TEXT;
}

/* --- uuencode (POSIX): "begin 644 name", lines of a length and sixes, "end" --- */

enum { UU_BEFORE, UU_INSIDE };

static unsigned uu_value(char c) {
    return ((unsigned)(unsigned char)c - 32) & 63;
}

static void uu_data(struct transfer *t, str line, struct buf *out) {
    size_t n = uu_value(line.p[0]);
    line = str_tail(line, 1);
    for (; n && line.n; line = str_tail(line, 4)) {
        uint32_t v = 0;
        for (size_t i = 0; i < 4; i++)
            v = v << 6 | (i < line.n ? uu_value(line.p[i]) : 0);
        char bytes[3] = {(char)(v >> 16), (char)(v >> 8), (char)v};
        buf_add(out, (str){bytes, n < 3 ? n : 3});
        n -= n < 3 ? n : 3;
    }
    t->faults += n > 0;
}

static void uu_line(struct transfer *t, struct buf *out) {
    str line = {t->hold, t->held}; /* blanks are data, at both ends */
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    if (t->state == UU_BEFORE) {
        if (str_starts(line, S("begin ")))
            t->state = UU_INSIDE;
    } else if (str_eq(line, S("end"))) {
        t->ended = true;
    } else if (line.n) {
        uu_data(t, line, out);
    }
    t->held = 0;
}

static void uu_put(struct transfer *t, str in, struct buf *out) {
    for (size_t i = 0; i < in.n && !t->ended; i++) {
        if (in.p[i] == '\n')
            uu_line(t, out);
        else if (t->held < sizeof t->hold)
            t->hold[t->held++] = in.p[i];
    }
}

void transfer_put(struct transfer *t, str in, struct buf *out) {
    switch (t->encoding) {
    case TRANSFER_BASE64: base64_put(t, in, out); break;
    case TRANSFER_QUOTED_PRINTABLE: qp_put(t, in, out); break;
    case TRANSFER_UUENCODE: uu_put(t, in, out); break;
    case TRANSFER_IDENTITY:
    case TRANSFER_UNKNOWN: buf_add(out, in); break;
    }
}

void transfer_end(struct transfer *t, struct buf *out) {
    switch (t->encoding) {
    case TRANSFER_BASE64: base64_flush(t, out); break;
    case TRANSFER_QUOTED_PRINTABLE: qp_end(t, out); break;
    case TRANSFER_UUENCODE:
        if (t->held && !t->ended)
            uu_line(t, out);
        break;
    case TRANSFER_IDENTITY:
    case TRANSFER_UNKNOWN: break;
    }
    buf_free(&t->blanks);
}

void transfer_decode(enum transfer_encoding e, str in, struct buf *out) {
    struct transfer t;
    transfer_init(&t, e);
    transfer_put(&t, in, out);
    transfer_end(&t, out);
}
