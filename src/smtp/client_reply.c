#include "smtp/client_reply.h"

static void begin(struct client_reply *r) {
    r->code = r->lines = 0;
    r->bytes = 0;
    r->done = false;
    buf_reset(&r->text);
    buf_reset(&r->line);
}

static bool code_of(str line, unsigned *code) {
    uint64_t v;
    if (line.n < 3 || !str_u64(str_head(line, 3), &v) || v < 200 || v > 599)
        return false;
    *code = (unsigned)v;
    return true;
}

static enum err end_line(struct client_reply *r) {
    str line = buf_str(&r->line);
    unsigned code;
    if (str_ends(line, S("\r")))
        line.n--;
    if (!code_of(line, &code) || (r->lines > 0 && code != r->code))
        return ERR_SYNTAX;
    bool more = line.n > 3 && line.p[3] == '-';
    if (line.n > 3 && !more && line.p[3] != ' ')
        return ERR_SYNTAX;
    if (++r->lines > CLIENT_REPLY_LINES_MAX)
        return ERR_LIMIT;
    if (r->lines > 1)
        buf_char(&r->text, '\n');
    r->code = code;
    buf_add(&r->text, str_tail(line, 4));
    buf_reset(&r->line);
    r->done = !more;
    return r->done ? OK : ERR_MORE;
}

/* What does not fit is dropped; the three digits and the separator always fit. */
static void keep(struct client_reply *r, str part) {
    size_t room = CLIENT_REPLY_LINE_MAX - r->line.n;
    buf_add(&r->line, str_head(part, room));
}

enum err client_reply_push(struct client_reply *r, str *bytes) {
    if (r->done)
        begin(r);
    while (bytes->n > 0) {
        size_t end = str_find(*bytes, '\n');
        bool whole = end != SIZE_MAX;
        str part = whole ? str_head(*bytes, end) : *bytes;
        *bytes = str_tail(*bytes, part.n + whole);
        r->bytes += part.n + whole;
        if (r->bytes > CLIENT_REPLY_BYTES_MAX)
            return ERR_LIMIT;
        keep(r, part);
        enum err e = whole ? end_line(r) : ERR_MORE;
        if (e != ERR_MORE)
            return e;
    }
    return ERR_MORE;
}

void client_reply_free(struct client_reply *r) {
    buf_free(&r->text);
    buf_free(&r->line);
}

str client_reply_status(str text) {
    size_t at = 1, digits, part;
    if (text.n < 5 || !(text.p[0] == '2' || text.p[0] == '4' || text.p[0] == '5'))
        return STR_NONE;
    for (part = 0; part < 2; part++) {
        if (at >= text.n || text.p[at] != '.')
            return STR_NONE;
        at++;
        for (digits = 0; at < text.n && char_is_digit(text.p[at]) && digits < 4; digits++)
            at++;
        if (digits < 1 || digits > 3)
            return STR_NONE;
    }
    return at == text.n || text.p[at] == ' ' || text.p[at] == '\n' ? str_head(text, at) : STR_NONE;
}
