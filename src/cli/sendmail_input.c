#include "cli/sendmail_input.h"

#include "mime/address.h"
#include "mime/header.h"
#include "mime/mime_build.h"

enum { FROM_MAX = 8192, RCPTS_FIRST = 16, RCPTS_MAX = 20000 };

/* ---- the message ---- */

/* The next line, which ends with LF, CRLF or a CR alone. */
static bool next_line(str *s, str *line) {
    size_t n = 0;
    if (s->n == 0)
        return false;
    while (n < s->n && s->p[n] != '\n' && s->p[n] != '\r')
        n++;
    *line = str_head(*s, n);
    *s = str_tail(*s, n);
    if (!str_skip(s, S("\r\n")))
        *s = str_tail(*s, 1);
    return true;
}

/* A program that begins with its text, without a header, gets an empty line before it. */
static bool begins_with_header(str input) {
    str line, name;
    return !next_line(&input, &line) || line.n == 0 || header_line_name(line, &name);
}

enum err sendmail_message(str input, bool dot_ends, struct buf *out, struct why *w) {
    str line;
    if (str_has(input, '\0'))
        return why(w, ERR_SYNTAX, "a NUL in the message");
    if (str_starts(input, S("From ")))
        (void)next_line(&input, &line);
    if (!begins_with_header(input))
        buf_add(out, S("\r\n"));
    while (next_line(&input, &line) && !(dot_ends && str_eq(line, S(".")))) {
        buf_add(out, line);
        buf_add(out, S("\r\n"));
    }
    return out->full ? why(w, ERR_LIMIT, "the message is too large") : OK;
}

enum err sendmail_add_from(struct buf *message, str name, str address, struct why *w) {
    struct header h;
    struct buf b = BUF(message->limit);
    if (header_find(buf_str(message), S("From"), &h))
        return OK;
    for (size_t i = 0; i < name.n; i++)
        if (char_is_ctl(name.p[i]))
            return why(w, ERR_SYNTAX, "a control character in the name");
    buf_add(&b, S("From: "));
    if (name.n) {
        (void)mime_build_phrase(str_head(name, FROM_MAX), 6, &b);
        buf_add(&b, S("\r\n "));
    }
    buf_printf(&b, "<%.*s>\r\n", STR_ARG(address));
    buf_add(&b, buf_str(message));
    if (b.full) {
        buf_free(&b);
        return why(w, ERR_LIMIT, "the message is too large");
    }
    buf_free(message);
    *message = b;
    return OK;
}

/* ---- recipients ---- */

static bool grow(struct sendmail_rcpts *r) {
    size_t capacity = r->capacity ? 2 * r->capacity : RCPTS_FIRST;
    str *list = capacity <= RCPTS_MAX ? arena_alloc(r->mem, capacity * sizeof *list) : NULL;
    if (!list)
        return false;
    for (size_t i = 0; i < r->count; i++)
        list[i] = r->list[i];
    r->list = list;
    r->capacity = capacity;
    return true;
}

static void add(struct sendmail_rcpts *r, const struct address *a, str host) {
    struct buf b = BUF(ADDRESS_SIZE_MAX * 5);
    buf_add(&b, a->address);
    if (a->domain.n == 0) {
        buf_char(&b, '@');
        buf_add(&b, host);
    }
    for (size_t i = 0; i < r->count; i++)
        if (address_same(r->list[i], buf_str(&b))) {
            buf_free(&b);
            return;
        }
    if (r->count < r->capacity || grow(r))
        r->list[r->count] = arena_str(r->mem, buf_str(&b));
    if (r->count < r->capacity && r->list[r->count].n)
        r->count++;
    else
        r->full = true;
    buf_free(&b);
}

void sendmail_add_rcpts(struct sendmail_rcpts *r, str list, str host) {
    struct address_iter it = ADDRESS_ITER(list);
    struct address a;
    while (address_next(&it, &a))
        if (a.address.n)
            add(r, &a, host);
    address_iter_free(&it);
}

void sendmail_header_rcpts(struct sendmail_rcpts *r, str message, str host) {
    static const str names[2][3] = {{S_INIT("To"), S_INIT("Cc"), S_INIT("Bcc")},
                                    {S_INIT("Resent-To"), S_INIT("Resent-Cc"), S_INIT("Resent-Bcc")}};
    struct header h;
    bool resent = header_find(message, names[1][0], &h) || header_find(message, names[1][1], &h) ||
                  header_find(message, names[1][2], &h);
    struct header_iter it = HEADER_ITER(message);
    while (header_next(&it, &h))
        for (size_t i = 0; i < 3; i++)
            if (str_ieq(h.name, names[resent][i]))
                sendmail_add_rcpts(r, h.value, host);
}
