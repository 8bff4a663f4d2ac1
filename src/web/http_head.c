#include "web/http_head.h"

#include "base/code.h"
#include "base/ip.h"

#include <string.h>

static const struct {
    str name;
    enum http_method method;
} methods[] = {
    {S_INIT("GET"), HTTP_GET}, {S_INIT("HEAD"), HTTP_HEAD},     {S_INIT("POST"), HTTP_POST},
    {S_INIT("PUT"), HTTP_PUT}, {S_INIT("DELETE"), HTTP_DELETE}, {S_INIT("OPTIONS"), HTTP_OPTIONS},
};
enum { METHOD_COUNT = sizeof methods / sizeof methods[0] };

const char *http_method_name(enum http_method m) {
    for (size_t i = 0; i < METHOD_COUNT; i++)
        if (methods[i].method == m)
            return methods[i].name.p;
    return "other";
}

static enum http_method method_of(str name) {
    for (size_t i = 0; i < METHOD_COUNT; i++)
        if (str_eq(methods[i].name, name))
            return methods[i].method;
    return HTTP_OTHER;
}

/* One byte of a head; OK: it was the last. */
static enum err scan_byte(struct http_scan *s, char c) {
    if (s->after_cr != (c == '\n') || c == '\0')
        return ERR_SYNTAX;
    s->after_cr = c == '\r';
    if (c == '\n') {
        if (!s->line_used && s->any_line)
            return OK;
        s->line_used = false;
    } else if (c != '\r') {
        s->line_used = s->any_line = true;
    }
    return ERR_MORE;
}

enum err http_scan(struct http_scan *s, str piece, size_t *used) {
    for (*used = 0; *used < piece.n;) {
        if (s->n == HTTP_HEAD_MAX)
            return ERR_LIMIT;
        enum err e = scan_byte(s, piece.p[*used]);
        ++*used;
        s->n++;
        if (e != ERR_MORE)
            return e;
    }
    return ERR_MORE;
}

static bool char_is_token(char c) { /* RFC 9110 5.6.2 */
    return char_is_alnum(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool all_token(str s) {
    for (size_t i = 0; i < s.n; i++)
        if (!char_is_token(s.p[i]))
            return false;
    return s.n > 0;
}

static bool has_control(str s, bool tab_allowed) {
    for (size_t i = 0; i < s.n; i++)
        if (char_is_ctl(s.p[i]) && !(tab_allowed && s.p[i] == '\t'))
            return true;
    return false;
}

static unsigned refuse(struct why *w, unsigned status, const char *sentence) {
    (void)why(w, ERR_SYNTAX, "%s", sentence);
    return status;
}

/* RFC 9112 3.2: origin-form, absolute-form, and "*" for OPTIONS. */
static unsigned parse_target(struct http_head *h, str target, str *authority, struct why *w) {
    for (size_t i = 0; i < target.n; i++)
        if ((unsigned char)target.p[i] < 0x21 || (unsigned char)target.p[i] > 0x7e || target.p[i] == '#')
            return refuse(w, 400, "a byte in the request target that must be percent-encoded");
    if (str_iskip(&target, S("http://"))) {
        size_t slash = str_find(target, '/');
        *authority = str_head(target, slash);
        target = slash == SIZE_MAX ? S("/") : str_tail(target, slash);
    } else if (!(target.n && target.p[0] == '/') && !(h->method == HTTP_OPTIONS && str_eq(target, S("*")))) {
        return refuse(w, 400, "the request target must begin with a slash");
    }
    if (!str_cut(&target, '?', &h->path)) {
        h->path = target;
        return 0;
    }
    h->query = target;
    return 0;
}

static unsigned parse_request_line(struct http_head *h, str line, str *authority, struct why *w) {
    str method, target;
    if (!str_cut(&line, ' ', &method) || !str_cut(&line, ' ', &target) || !all_token(method))
        return refuse(w, 400, "not an HTTP request line");
    h->method = method_of(method);
    if (str_eq(line, S("HTTP/1.1")))
        h->minor = 1;
    else if (str_eq(line, S("HTTP/1.0")))
        h->minor = 0;
    else if (str_starts(line, S("HTTP/")) && !str_has(line, ' '))
        return refuse(w, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    else
        return refuse(w, 400, "not an HTTP request line");
    return parse_target(h, target, authority, w);
}

static unsigned parse_field(struct http_head *h, str line, struct why *w) {
    struct http_field f;
    if (h->field_count == HTTP_HEADERS_MAX)
        return refuse(w, 431, "too many headers");
    if (char_is_space(line.p[0]))
        return refuse(w, 400, "a folded header line");
    if (!str_cut(&line, ':', &f.name) || !all_token(f.name))
        return refuse(w, 400, "a header line without a proper name");
    f.value = str_trim(line);
    if (has_control(f.value, true))
        return refuse(w, 400, "a control character in a header");
    h->fields[h->field_count++] = f;
    return 0;
}

static size_t count_fields(const struct http_head *h, str name) {
    size_t n = 0;
    for (size_t i = 0; i < h->field_count; i++)
        n += str_ieq(h->fields[i].name, name);
    return n;
}

str http_head_field(const struct http_head *h, str name) {
    for (size_t i = 0; i < h->field_count; i++)
        if (str_ieq(h->fields[i].name, name))
            return h->fields[i].value;
    return STR_NONE;
}

/* Headers that frame the body or name the place must not come twice (RFC 9112 3.2, 6.3). */
static unsigned check_singles(const struct http_head *h, struct why *w) {
    static const str singles[] = {
        S_INIT("Host"),    S_INIT("Content-Length"),    S_INIT("Transfer-Encoding"),    S_INIT("Origin"),
        S_INIT("Upgrade"), S_INIT("Sec-WebSocket-Key"), S_INIT("Sec-WebSocket-Version")};
    for (size_t i = 0; i < sizeof singles / sizeof singles[0]; i++)
        if (count_fields(h, singles[i]) > 1) {
            (void)why(w, ERR_SYNTAX, "more than one %s header", singles[i].p);
            return 400;
        }
    return 0;
}

static unsigned parse_framing(struct http_head *h, struct why *w) {
    bool length = count_fields(h, S("Content-Length")) > 0, coding = count_fields(h, S("Transfer-Encoding")) > 0;
    if (length && coding)
        return refuse(w, 400, "both Content-Length and Transfer-Encoding");
    if (length && !str_u64(http_head_field(h, S("Content-Length")), &h->length))
        return refuse(w, 400, "Content-Length is not a number");
    if (coding && (h->minor == 0 || !str_ieq(http_head_field(h, S("Transfer-Encoding")), S("chunked"))))
        return refuse(w, 400, "the only Transfer-Encoding taken is chunked");
    h->has_length = length;
    h->chunked = coding;
    return 0;
}

/* host [":" port], RFC 3986 3.2.2, without user and without percent-encoding. */
static bool parse_authority(str s, str *host) {
    str port;
    size_t end = s.n && s.p[0] == '[' ? str_find(s, ']') : SIZE_MAX;
    if (end != SIZE_MAX) {
        *host = str_head(s, end + 1);
        port = str_tail(s, end + 1);
    } else {
        size_t colon = str_find(s, ':');
        *host = str_head(s, colon);
        port = colon == SIZE_MAX ? STR_NONE : str_tail(s, colon);
    }
    uint64_t number;
    if (port.n && (!str_skip_char(&port, ':') || !str_u64(port, &number) || number > 65535))
        return false;
    bool literal = host->n && host->p[0] == '[';
    str inner = literal ? str_sub(*host, 1, host->n - 2) : *host;
    for (size_t i = 0; i < inner.n; i++)
        if (!char_is_alnum(inner.p[i]) && !strchr(literal ? ":." : "-._", inner.p[i]))
            return false;
    return inner.n > 0 && (!literal || host->p[host->n - 1] == ']');
}

static unsigned parse_host(struct http_head *h, str target_authority, struct why *w) {
    h->authority = http_head_field(h, S("Host"));
    if (!parse_authority(h->authority, &h->host))
        return refuse(w, 400, "no valid Host header");
    if (target_authority.n && !str_ieq(target_authority, h->authority))
        return refuse(w, 400, "the request target and the Host header differ");
    return 0;
}

unsigned http_head_parse(str head, struct http_head *h, struct why *w) {
    str line, authority = STR_NONE;
    unsigned status;
    *h = (struct http_head){0};
    str_skip(&head, S("\r\n")); /* RFC 9112 2.2: one empty line before a request is forgiven */
    if (!str_line(&head, &line))
        return refuse(w, 400, "an empty request");
    if ((status = parse_request_line(h, line, &authority, w)) != 0)
        return status;
    while (str_line(&head, &line) && line.n)
        if ((status = parse_field(h, line, w)) != 0)
            return status;
    if ((status = check_singles(h, w)) != 0 || (status = parse_framing(h, w)) != 0 ||
        (status = parse_host(h, authority, w)) != 0)
        return status;
    h->origin = http_head_field(h, S("Origin"));
    h->close = h->minor == 0 || http_head_has_token(h, S("Connection"), S("close"));
    h->wants_continue = h->minor == 1 && str_ieq(http_head_field(h, S("Expect")), S("100-continue"));
    return 0;
}

/* "gzip;q=0.5": the word, unless its weight is zero. */
static bool token_is(str item, str token) {
    str word = item;
    if (str_cut(&item, ';', &word)) {
        item = str_trim(item);
        if (str_iskip(&item, S("q=0"))) {
            while (str_skip_char(&item, '.') || str_skip_char(&item, '0'))
                ;
            if (item.n == 0)
                return false;
        }
    }
    return str_ieq(str_trim(word), token);
}

bool http_head_has_token(const struct http_head *h, str name, str token) {
    for (size_t i = 0; i < h->field_count; i++) {
        if (!str_ieq(h->fields[i].name, name))
            continue;
        str rest = h->fields[i].value, item;
        while (str_cut(&rest, ',', &item))
            if (token_is(item, token))
                return true;
        if (token_is(rest, token))
            return true;
    }
    return false;
}

/* 192.0.2.1 or [2001:db8::1] */
static bool is_ip(str host) {
    uint8_t ip[IP6_SIZE];
    if (str_skip_char(&host, '['))
        return str_ends(host, S("]")) && ip6_parse(str_head(host, host.n - 1), ip);
    return ip4_parse(host, ip);
}

bool http_host_allowed(str host, const str *names, size_t count) {
    if (is_ip(host))
        return true;
    if (str_ends(host, S(".")))
        host = str_head(host, host.n - 1);
    if (str_ieq(host, S("localhost")) || str_iends(host, S(".localhost")))
        return true;
    for (size_t i = 0; i < count; i++)
        if (names[i].n && str_ieq(host, names[i]))
            return true;
    return false;
}

bool http_origin_is_own(const struct http_head *h) {
    str o = h->origin;
    if (o.n == 0)
        return true;
    if (!str_iskip(&o, S("http://")) && !str_iskip(&o, S("https://")))
        return false;
    return str_ieq(o, h->authority);
}

/* The byte that "%41" at the front stands for, eaten; -1 when it is not one. */
static int take_percent(str *s) {
    if (s->n < 3 || s->p[0] != '%')
        return -1;
    int high = hex_value(s->p[1]), low = hex_value(s->p[2]);
    if (high < 0 || low < 0)
        return -1;
    *s = str_tail(*s, 3);
    return high << 4 | low;
}

static void query_decode(str s, struct buf *out) {
    while (s.n) {
        int c = take_percent(&s);
        if (c < 0) {
            c = s.p[0] == '+' ? ' ' : (unsigned char)s.p[0];
            s = str_tail(s, 1);
        }
        buf_char(out, (char)c);
    }
}

bool http_query(str query, str name, struct buf *out) {
    for (bool more = true; more;) {
        str pair = query, key;
        more = str_cut(&query, '&', &pair);
        if (!str_cut(&pair, '=', &key)) {
            key = pair;
            pair = STR_NONE;
        }
        if (str_eq(key, name)) {
            query_decode(pair, out);
            return true;
        }
    }
    return false;
}

bool http_path_decode(str path, struct buf *out) {
    char last = 0;
    while (path.n) {
        char c = path.p[0];
        if (c == '%') {
            int v = take_percent(&path);
            if (v < 0 || v == '/' || char_is_ctl((char)v))
                return false;
            c = (char)v;
        } else {
            path = str_tail(path, 1);
        }
        if (c != '/' || last != '/')
            buf_char(out, c);
        last = c;
    }
    return !out->full;
}

void http_body_begin(struct http_body *b, const struct http_head *h) {
    *b = (struct http_body){.chunked = h->chunked, .left = h->length};
}

static enum err take_data(struct http_body *b, str piece, size_t *used, struct buf *out) {
    str part = str_head(piece, b->left < piece.n ? (size_t)b->left : piece.n);
    buf_add(out, part);
    *used += part.n;
    b->left -= part.n;
    return out->full ? ERR_LIMIT : b->left ? ERR_MORE : OK;
}

/* One byte of what stands around the data of a chunk (RFC 9112 7.1). */
static enum err chunk_byte(struct http_body *b, char c) {
    switch (b->state) {
    case HTTP_CHUNK_SIZE:
        if (hex_value(c) >= 0 && b->digits < HTTP_CHUNK_DIGITS_MAX) {
            b->left = b->left << 4 | (unsigned)hex_value(c);
            b->digits++;
            return ERR_MORE;
        }
        if (c != '\r' || b->digits == 0)
            return ERR_SYNTAX;
        b->state = HTTP_CHUNK_SIZE_LF;
        return ERR_MORE;
    case HTTP_CHUNK_SIZE_LF:
        b->state = b->left ? HTTP_CHUNK_DATA : HTTP_CHUNK_END_CR;
        return c == '\n' ? ERR_MORE : ERR_SYNTAX;
    case HTTP_CHUNK_CR: b->state = HTTP_CHUNK_LF; return c == '\r' ? ERR_MORE : ERR_SYNTAX;
    case HTTP_CHUNK_LF:
        b->state = HTTP_CHUNK_SIZE;
        b->digits = 0;
        return c == '\n' ? ERR_MORE : ERR_SYNTAX;
    case HTTP_CHUNK_END_CR: b->state = HTTP_CHUNK_END_LF; return c == '\r' ? ERR_MORE : ERR_SYNTAX;
    case HTTP_CHUNK_END_LF: return c == '\n' ? OK : ERR_SYNTAX;
    case HTTP_CHUNK_DATA: break;
    }
    return ERR_SYNTAX;
}

enum err http_body_take(struct http_body *b, str piece, size_t *used, struct buf *out) {
    *used = 0;
    if (!b->chunked)
        return take_data(b, piece, used, out);
    while (*used < piece.n) {
        if (b->state == HTTP_CHUNK_DATA) {
            enum err e = take_data(b, str_tail(piece, *used), used, out);
            if (e == ERR_LIMIT)
                return e;
            if (e == OK)
                b->state = HTTP_CHUNK_CR;
            continue;
        }
        enum err e = chunk_byte(b, piece.p[*used]);
        ++*used;
        if (e != ERR_MORE)
            return e;
    }
    return ERR_MORE;
}
