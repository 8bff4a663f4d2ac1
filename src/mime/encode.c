#include "mime/encode.h"

#include "base/code.h"

enum { LINE = 76, TRIPLES = LINE / 4 };

/* ---- base64 ---- */

static void base64_line_end(struct encode *c, struct buf *out) {
    if (c->column == TRIPLES) {
        buf_add(out, S("\r\n"));
        c->column = 0;
    }
}

static void base64_put(struct encode *c, str in, struct buf *out) {
    while (in.n) {
        if (c->held_count == 0 && in.n >= 3) {
            size_t room = (TRIPLES - c->column) * 3, n = in.n / 3 * 3 < room ? in.n / 3 * 3 : room;
            if (n == 0) {
                base64_line_end(c, out);
                continue;
            }
            base64_encode(str_head(in, n), out);
            c->column += n / 3;
            in = str_tail(in, n);
            continue;
        }
        c->held[c->held_count++] = in.p[0];
        in = str_tail(in, 1);
        if (c->held_count == 3) {
            base64_line_end(c, out);
            base64_encode(str_n(c->held, 3), out);
            c->column++;
            c->held_count = 0;
        }
    }
}

/* ---- quoted-printable ---- */

static void qp_room(struct encode *c, size_t need, struct buf *out) {
    if (c->column + need < LINE)
        return;
    buf_add(out, S("=\r\n"));
    c->column = 0;
}

static void qp_escape(struct encode *c, char byte, struct buf *out) {
    qp_room(c, 3, out);
    buf_printf(out, "=%02X", (unsigned char)byte);
    c->column += 3;
}

static void qp_plain(struct encode *c, char byte, struct buf *out) {
    qp_room(c, 1, out);
    buf_char(out, byte);
    c->column++;
}

/* A blank or a CR is held until it is known what follows. */
static void qp_release(struct encode *c, bool line_ends, struct buf *out) {
    char held = c->held[0];
    if (c->held_count == 0)
        return;
    c->held_count = 0;
    if (held == '\r' || line_ends)
        qp_escape(c, held, out);
    else
        qp_plain(c, held, out);
}

static void qp_byte(struct encode *c, char byte, struct buf *out) {
    if (byte == '\n' && c->held_count && c->held[0] == '\r') {
        c->held_count = 0;
        buf_add(out, S("\r\n"));
        c->column = 0;
        return;
    }
    qp_release(c, byte == '\r', out);
    bool first = c->column == 0;
    if (byte == '\r' || char_is_space(byte)) {
        c->held[0] = byte;
        c->held_count = 1;
    } else if (byte > 32 && byte < 127 && byte != '=' && !(first && (byte == '.' || byte == 'F'))) {
        qp_plain(c, byte, out);
    } else {
        qp_escape(c, byte, out);
    }
}

/* ---- either ---- */

void encode_put(struct encode *c, str in, struct buf *out) {
    switch (c->encoding) {
    case TRANSFER_BASE64: base64_put(c, in, out); break;
    case TRANSFER_QUOTED_PRINTABLE:
        for (size_t i = 0; i < in.n; i++)
            qp_byte(c, in.p[i], out);
        break;
    default: buf_add(out, in); break;
    }
}

void encode_end(struct encode *c, struct buf *out) {
    if (c->encoding == TRANSFER_QUOTED_PRINTABLE) {
        qp_release(c, true, out);
    } else if (c->encoding == TRANSFER_BASE64 && c->held_count) {
        base64_line_end(c, out);
        base64_encode(str_n(c->held, c->held_count), out);
    }
    *c = ENCODE(c->encoding);
}
