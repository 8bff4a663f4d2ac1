/* http_head.h - HTTP/1.1 requests, strictly (RFC 9112): where a head ends, what it says, where its body ends.
 * Pure: bytes in, values out; results point into the head that was parsed.  Whatever two parsers could read
 * differently (bare LF, folded lines, two lengths, `Host :`) is refused, never repaired: that is how requests are
 * smuggled. */
#ifndef WEB_HTTP_HEAD_H
#define WEB_HTTP_HEAD_H

#include "base/buf.h"
#include "base/err.h"

enum {
    HTTP_HEAD_MAX = 32 * 1024,
    HTTP_HEADERS_MAX = 100,
    HTTP_CHUNK_DIGITS_MAX = 8,
};

enum http_method {
    HTTP_GET = 1,
    HTTP_HEAD = 2,
    HTTP_POST = 4,
    HTTP_PUT = 8,
    HTTP_DELETE = 16,
    HTTP_OPTIONS = 32,
    HTTP_OTHER = 64,
};
const char *http_method_name(enum http_method m);

/* The end of a head, found as bytes come.  Zero to start. */
struct http_scan {
    size_t n;
    bool after_cr, line_used, any_line;
};

/* Looks at the next bytes; *used is how many of them belong to the head.  OK: the head ends there.
 * ERR_MORE; ERR_SYNTAX: a CR or LF alone, or a NUL; ERR_LIMIT: over HTTP_HEAD_MAX. */
enum err http_scan(struct http_scan *s, str piece, size_t *used) MUST_CHECK;

struct http_field {
    str name, value;
};

struct http_head {
    enum http_method method;
    unsigned minor; /* HTTP/1.minor */
    str path;       /* as sent: percent-encoded, begins with '/' (or is "*") */
    str query;      /* behind the '?', as sent */
    str host;       /* "name", "1.2.3.4", "[::1]": without the port */
    str authority;  /* the whole Host header */
    str origin;     /* empty when there is none */
    bool has_length, chunked, close, wants_continue;
    uint64_t length;
    struct http_field fields[HTTP_HEADERS_MAX];
    size_t field_count;
};

/* 0, or the status to answer before closing (400, 431, 505), with the sentence in w. */
unsigned http_head_parse(str head, struct http_head *h, struct why *w) MUST_CHECK;

/* The first value of a header; empty when absent. */
str http_head_field(const struct http_head *h, str name);

/* A word of a comma-separated header ("gzip" in Accept-Encoding, not with q=0; "upgrade" in Connection). */
bool http_head_has_token(const struct http_head *h, str name, str token);

/* DNS rebinding defence: only a name can be rebound, so address literals pass, names must be known:
 * localhost, *.localhost or one of `names`. */
bool http_host_allowed(str host, const str *names, size_t count);

/* Origin is absent, or "scheme://" and exactly the Host of the request. */
bool http_origin_is_own(const struct http_head *h);

/* A value of the query, percent-decoded into out; false when absent.  `out` is appended to. */
bool http_query(str query, str name, struct buf *out);

/* Percent-decodes a path, runs of '/' become one.  False: bad coding, an encoded '/', or a control. */
bool http_path_decode(str path, struct buf *out) MUST_CHECK;

/* A body as it comes. */
struct http_body {
    bool chunked;
    enum {
        HTTP_CHUNK_SIZE,
        HTTP_CHUNK_SIZE_LF,
        HTTP_CHUNK_DATA,
        HTTP_CHUNK_CR,
        HTTP_CHUNK_LF,
        HTTP_CHUNK_END_CR,
        HTTP_CHUNK_END_LF
    } state;
    unsigned digits;
    uint64_t left;
};
void http_body_begin(struct http_body *b, const struct http_head *h);

/* Appends what belongs to the body to out.  OK: it is whole.  ERR_MORE; ERR_SYNTAX; ERR_LIMIT: more than out may hold.
 * Chunk extensions and trailers are refused: nobody needs them. */
enum err http_body_take(struct http_body *b, str piece, size_t *used, struct buf *out) MUST_CHECK;

#endif
