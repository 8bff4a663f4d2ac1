#include "mime/mime_build.h"

#include <assert.h>

#include "base/code.h"

enum { LINE = 76, WORD_MAX = 75, HEADER_LINE_MAX = 900 };

/* ---- encoded words, RFC 2047 ---- */

/* What Q may show as it is in any place, also inside a phrase (section 5 (3)). */
static bool q_plain(char c) {
    return char_is_alnum(c) || (c != '\0' && str_has(S("!*+-/"), c));
}

static size_t q_size(str s) {
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += q_plain(s.p[i]) || s.p[i] == ' ' ? 1 : 3;
    return n;
}

static void q_put(str s, struct buf *out) {
    for (size_t i = 0; i < s.n; i++) {
        if (q_plain(s.p[i]))
            buf_char(out, s.p[i]);
        else if (s.p[i] == ' ')
            buf_char(out, '_');
        else
            buf_printf(out, "=%02X", (unsigned char)s.p[i]);
    }
}

static size_t coded_size(str s, bool q) {
    return 12 + (q ? q_size(s) : (s.n + 2) / 3 * 4); /* =?UTF-8?x?…?= */
}

/* The longest front of s, cut between characters, whose word has at most `room` bytes; at least one character. */
static str word_front(str s, size_t room, bool q) {
    size_t n = 0;
    while (n < s.n) {
        size_t one = utf8_char(str_tail(s, n), &(uint32_t){0});
        assert(one > 0);
        if (n > 0 && coded_size(str_head(s, n + one), q) > room)
            break;
        n += one;
    }
    return str_head(s, n);
}

/* Text (well-formed UTF-8) as words of at most 75 bytes, a folded line each; the column behind the last is returned. */
static size_t words_put(str text, size_t column, struct buf *out) {
    bool q = q_size(text) <= 2 * text.n; /* people read Q, and base64 is shorter */
    while (text.n > 0) {
        size_t room = column + 20 < LINE ? LINE - column : 0;
        if (room == 0) {
            buf_add(out, S("\r\n "));
            column = 1;
            room = WORD_MAX;
        }
        str front = word_front(text, room < WORD_MAX ? room : WORD_MAX, q);
        buf_printf(out, "=?UTF-8?%c?", q ? 'Q' : 'B');
        if (q)
            q_put(front, out);
        else
            base64_encode(front, out);
        buf_add(out, S("?="));
        column += coded_size(front, q);
        text = str_tail(text, front.n);
        if (text.n > 0)
            column = LINE;
    }
    return column;
}

/* ---- header values ---- */

static bool printable(str s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 32 || s.p[i] > 126)
            return false;
    return true;
}

static bool has_long_word(str s) {
    for (str word; str_word(&s, &word);)
        if (word.n > HEADER_LINE_MAX)
            return true;
    return false;
}

static void fold_plain(str value, size_t column, struct buf *out) {
    while (value.n > 0) {
        size_t end = 0;
        while (end < value.n && value.p[end] == ' ')
            end++;
        while (end < value.n && value.p[end] != ' ')
            end++;
        str word = str_head(value, end); /* with the blanks before it, which a fold keeps */
        if (column > 1 && column + word.n > LINE && word.p[0] == ' ' && str_trim(word).n > 0) {
            buf_add(out, S("\r\n"));
            column = 0;
        }
        buf_add(out, word);
        column += word.n;
        value = str_tail(value, end);
    }
}

void mime_build_unstructured(str value, size_t column, struct buf *out) {
    struct buf clean = BUF(4 * value.n + 4);
    utf8_clean(value, &clean);
    str text = buf_str(&clean);
    if (printable(text) && str_find_str(text, S("=?")) == SIZE_MAX && !has_long_word(text))
        fold_plain(text, column, out);
    else
        (void)words_put(text, column, out);
    buf_free(&clean);
}

void mime_build_mailbox(str mailbox, str *name, str *address) {
    mailbox = str_trim(mailbox);
    size_t open = str_rfind(mailbox, '<');
    *name = STR_NONE;
    *address = mailbox;
    if (open == SIZE_MAX || !str_ends(mailbox, S(">")))
        return;
    *address = str_sub(mailbox, open + 1, mailbox.n - open - 2);
    *name = str_trim(str_head(mailbox, open));
    if (name->n >= 2 && str_starts(*name, S("\"")) && str_ends(*name, S("\"")))
        *name = str_sub(*name, 1, name->n - 2);
}

static bool atoms(str name) {
    for (size_t i = 0; i < name.n; i++)
        if (!char_is_alnum(name.p[i]) && !str_has(S(" !#$%&'*+-/=?^_`{|}~"), name.p[i]))
            return false;
    return str_find_str(name, S("=?")) == SIZE_MAX;
}

static void quoted_put(str s, struct buf *out) {
    buf_char(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if ((s.p[i] == '"' || s.p[i] == '\\'))
            buf_char(out, '\\');
        buf_char(out, s.p[i]);
    }
    buf_char(out, '"');
}

size_t mime_build_phrase(str name, size_t column, struct buf *out) {
    struct buf clean = BUF(4 * name.n + 4);
    size_t before = out->n;
    utf8_clean(name, &clean);
    str text = buf_str(&clean);
    if (!printable(text) || str_find_str(text, S("=?")) != SIZE_MAX || text.n > LINE)
        column = words_put(text, column, out);
    else {
        if (atoms(text))
            buf_add(out, text);
        else
            quoted_put(text, out);
        column += out->n - before;
    }
    buf_free(&clean);
    return column;
}

static void mailbox_put(str mailbox, size_t *column, struct buf *out) {
    str name, address;
    mime_build_mailbox(mailbox, &name, &address);
    if (name.n == 0) {
        buf_add(out, address);
        *column += address.n;
        return;
    }
    *column = mime_build_phrase(name, *column, out);
    bool fold = *column + address.n + 3 > LINE;
    buf_add(out, fold ? S("\r\n <") : S(" <"));
    buf_add(out, address);
    buf_char(out, '>');
    *column = (fold ? 1 : *column + 1) + address.n + 2;
}

static void mailboxes_put(const char *field, const str *list, size_t count, struct buf *out) {
    size_t column = str_of(field).n + 2;
    buf_printf(out, "%s: ", field);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            bool fold = column + list[i].n + 2 > LINE;
            buf_add(out, fold ? S(",\r\n ") : S(", "));
            column = fold ? 1 : column + 2;
        }
        mailbox_put(list[i], &column, out);
    }
    buf_add(out, S("\r\n"));
}

/* ---- bodies ---- */

static struct buf crlf(str text) {
    struct buf out = BUF(2 * text.n + 2);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\r' && i + 1 < text.n && text.p[i + 1] == '\n')
            continue;
        if (text.p[i] == '\n' || text.p[i] == '\r')
            buf_add(&out, S("\r\n"));
        else
            buf_char(&out, text.p[i]);
    }
    if (out.n > 0 && !str_ends(buf_str(&out), S("\r\n")))
        buf_add(&out, S("\r\n"));
    return out;
}

/* How many bytes 7bit cannot carry, and the longest line. */
static void measure(str text, size_t *odd, size_t *longest) {
    size_t line = 0;
    *odd = *longest = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        line = c == '\n' ? 0 : line + 1;
        if (line > *longest)
            *longest = line;
        *odd += c != '\t' && c != '\r' && c != '\n' && (c < 32 || c > 126);
    }
}

static void base64_lines(str bytes, struct buf *out) {
    while (bytes.n > 0) {
        str line = str_head(bytes, LINE / 4 * 3);
        base64_encode(line, out);
        buf_add(out, S("\r\n"));
        bytes = str_tail(bytes, line.n);
    }
}

/* Quoted-printable (RFC 2045 6.7); text has CRLF line ends. */
static void qp_put(str text, struct buf *out) {
    for (str line; str_line(&text, &line);) {
        size_t column = 0;
        for (size_t i = 0; i < line.n; i++) {
            char c = line.p[i];
            bool last = i + 1 == line.n;
            bool plain = (c > 32 && c < 127 && c != '=') || (char_is_space(c) && !last);
            size_t need = plain ? 1 : 3;
            if (column + need > (last ? (size_t)LINE : LINE - 1)) {
                buf_add(out, S("=\r\n"));
                column = 0;
            }
            if (plain)
                buf_char(out, c);
            else
                buf_printf(out, "=%02X", (unsigned char)c);
            column += need;
        }
        buf_add(out, S("\r\n"));
    }
}

static void text_part(const char *subtype, str body, struct buf *out) {
    struct buf clean = BUF(4 * body.n + 4);
    size_t odd, longest;
    utf8_clean(body, &clean);
    struct buf text = crlf(buf_str(&clean));
    measure(buf_str(&text), &odd, &longest);
    bool seven = odd == 0 && longest <= 900, base64 = odd > text.n / 4;
    buf_printf(out, "Content-Type: text/%s; charset=%s\r\n", subtype, odd == 0 ? "us-ascii" : "utf-8");
    buf_printf(out, "Content-Transfer-Encoding: %s\r\n\r\n", seven ? "7bit" : base64 ? "base64" : "quoted-printable");
    if (seven)
        buf_add(out, buf_str(&text));
    else if (base64)
        base64_lines(buf_str(&text), out);
    else
        qp_put(buf_str(&text), out);
    out->full |= clean.full || text.full;
    buf_free(&clean);
    buf_free(&text);
}

/* ---- attachments ---- */

static const struct {
    str end, type;
} types[] = {
    {S_INIT(".txt"), S_INIT("text/plain")},        {S_INIT(".csv"), S_INIT("text/csv")},
    {S_INIT(".html"), S_INIT("text/html")},        {S_INIT(".ics"), S_INIT("text/calendar")},
    {S_INIT(".vcf"), S_INIT("text/vcard")},        {S_INIT(".pdf"), S_INIT("application/pdf")},
    {S_INIT(".json"), S_INIT("application/json")}, {S_INIT(".xml"), S_INIT("application/xml")},
    {S_INIT(".zip"), S_INIT("application/zip")},   {S_INIT(".gz"), S_INIT("application/gzip")},
    {S_INIT(".png"), S_INIT("image/png")},         {S_INIT(".jpg"), S_INIT("image/jpeg")},
    {S_INIT(".jpeg"), S_INIT("image/jpeg")},       {S_INIT(".gif"), S_INIT("image/gif")},
    {S_INIT(".svg"), S_INIT("image/svg+xml")},     {S_INIT(".webp"), S_INIT("image/webp")},
    {S_INIT(".mp3"), S_INIT("audio/mpeg")},        {S_INIT(".mp4"), S_INIT("video/mp4")},
};

str mime_build_type(str file_name) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (str_iends(file_name, types[i].end))
            return types[i].type;
    return S("application/octet-stream");
}

/* RFC 2231 section 4.1: pieces that no line is too short for; only the first names the charset. */
static void parameter_extended(str name, str value, struct buf *out) {
    unsigned piece = 0;
    bool whole = 3 * value.n < 50;
    while (value.n > 0 || piece == 0) {
        str front = str_head(value, 18);
        buf_printf(out, whole ? ";\r\n %.*s*=" : ";\r\n %.*s*%u*=", STR_ARG(name), piece);
        if (piece++ == 0)
            buf_add(out, S("UTF-8''"));
        for (size_t i = 0; i < front.n; i++)
            if (char_is_alnum(front.p[i]) || str_has(S("-._~"), front.p[i]))
                buf_char(out, front.p[i]);
            else
                buf_printf(out, "%%%02X", (unsigned char)front.p[i]);
        value = str_tail(value, front.n);
    }
}

void mime_build_parameter(str name, str value, struct buf *out) {
    struct buf clean = BUF(4 * value.n + 4);
    utf8_clean(value, &clean);
    str text = buf_str(&clean);
    if (printable(text) && text.n <= 60) {
        buf_printf(out, ";\r\n %.*s=", STR_ARG(name));
        quoted_put(text, out);
    } else {
        parameter_extended(name, text, out);
    }
    buf_free(&clean);
}

static void file_part(const struct mime_build_file *f, struct buf *out) {
    str type = f->type.n ? f->type : mime_build_type(f->name);
    buf_printf(out, "Content-Type: %.*s\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment",
               STR_ARG(type));
    mime_build_parameter(S("filename"), f->name, out);
    buf_add(out, S("\r\n\r\n"));
    base64_lines(f->bytes, out);
}

/* ---- the message ---- */

static void boundary(const struct mime_build *m, const char *kind, const char *end, struct buf *out) {
    buf_printf(out, "\r\n--=_%s_%.*s%s\r\n", kind, STR_ARG(m->random), end);
}

static void multipart(const struct mime_build *m, const char *kind, struct buf *out) {
    buf_printf(out, "Content-Type: multipart/%s;\r\n boundary=\"=_%s_%.*s\"\r\n", kind, kind, STR_ARG(m->random));
}

static void content(const struct mime_build *m, struct buf *out) {
    if (m->text.n == 0 || m->html.n == 0) {
        m->html.n ? text_part("html", m->html, out) : text_part("plain", m->text, out);
        return;
    }
    multipart(m, "alternative", out);
    boundary(m, "alternative", "", out);
    text_part("plain", m->text, out);
    boundary(m, "alternative", "", out);
    text_part("html", m->html, out);
    boundary(m, "alternative", "--", out);
}

static void body(const struct mime_build *m, struct buf *out) {
    if (m->file_count == 0) {
        content(m, out);
        return;
    }
    multipart(m, "mixed", out);
    boundary(m, "mixed", "", out);
    content(m, out);
    for (size_t i = 0; i < m->file_count; i++) {
        boundary(m, "mixed", "", out);
        file_part(&m->files[i], out);
    }
    boundary(m, "mixed", "--", out);
}

static bool field_name(str header, str *name) {
    if (!str_cut(&header, ':', name) || name->n == 0 || name->n > 70)
        return false;
    for (size_t i = 0; i < name->n; i++)
        if (name->p[i] <= 32 || name->p[i] >= 127)
            return false;
    return true;
}

static bool given(const struct mime_build *m, const char *field) {
    str name;
    for (size_t i = 0; i < m->header_count; i++)
        if (field_name(m->headers[i], &name) && str_ieq(name, str_of(field)))
            return true;
    return false;
}

static bool value_good(str s) {
    for (size_t i = 0; i < s.n; i++)
        if (char_is_ctl(s.p[i]) && s.p[i] != '\t')
            return false;
    return true;
}

static enum err check(const struct mime_build *m, struct why *w) {
    str name;
    bool good = value_good(m->from) && value_good(m->subject);
    for (size_t i = 0; i < m->to_count; i++)
        good &= value_good(m->to[i]);
    for (size_t i = 0; i < m->file_count; i++)
        good &= value_good(m->files[i].name) && value_good(m->files[i].type);
    if (!good)
        return why(w, ERR_SYNTAX, "a control character in an address, the subject or a file name");
    for (size_t i = 0; i < m->header_count; i++)
        if (!field_name(m->headers[i], &name) || !value_good(m->headers[i]))
            return why(w, ERR_SYNTAX, "not a header field (\"Name: value\"): number %zu", i + 1);
    return OK;
}

static void header(const struct mime_build *m, struct buf *out) {
    if (!given(m, "Date")) {
        buf_add(out, S("Date: "));
        date_put_5322(out, m->date);
        buf_add(out, S("\r\n"));
    }
    if (m->from.n && !given(m, "From"))
        mailboxes_put("From", &m->from, 1, out);
    if (m->to_count && !given(m, "To"))
        mailboxes_put("To", m->to, m->to_count, out);
    if (m->subject.n && !given(m, "Subject")) {
        buf_add(out, S("Subject: "));
        mime_build_unstructured(m->subject, 9, out);
        buf_add(out, S("\r\n"));
    }
    if (m->message_id.n && !given(m, "Message-ID"))
        buf_printf(out, "Message-ID: <%.*s>\r\n", STR_ARG(m->message_id));
    if (!given(m, "MIME-Version"))
        buf_add(out, S("MIME-Version: 1.0\r\n"));
    for (size_t i = 0; i < m->header_count; i++) {
        str value = m->headers[i], name;
        (void)str_cut(&value, ':', &name);
        buf_printf(out, "%.*s: ", STR_ARG(name));
        mime_build_unstructured(str_trim(value), name.n + 2, out);
        buf_add(out, S("\r\n"));
    }
}

enum err mime_build_message(const struct mime_build *m, struct buf *out, struct why *w) {
    enum err e = check(m, w);
    if (e != OK)
        return e;
    header(m, out);
    body(m, out);
    return out->full ? why(w, ERR_FULL, "the message is larger than %zu bytes", out->limit) : OK;
}
