#include <assert.h>
#include <stdint.h>

#include "web/http_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A request as bytes: the head found whole and byte by byte must be the same; what parses must hold together. */
static enum err find_head(str s, size_t step, size_t *n) {
    struct http_scan scan = {0};
    enum err e = ERR_MORE;
    for (*n = 0; s.n && e == ERR_MORE;) {
        size_t used;
        e = http_scan(&scan, str_head(s, step), &used);
        *n += used;
        s = str_tail(s, used);
    }
    return e;
}

static enum err read_body(const struct http_head *h, str s, size_t step, struct buf *out) {
    struct http_body b;
    enum err e = ERR_MORE;
    http_body_begin(&b, h);
    while (s.n && e == ERR_MORE) {
        size_t used;
        e = http_body_take(&b, str_head(s, step), &used, out);
        assert(used > 0 || e == OK || e == ERR_LIMIT || e == ERR_SYNTAX);
        s = str_tail(s, used);
    }
    return e;
}

static void check_head(const struct http_head *h) {
    struct buf out = BUF(HTTP_HEAD_MAX);
    assert(h->host.n > 0 && !(h->has_length && h->chunked));
    if (http_path_decode(h->path, &out))
        assert(out.n <= h->path.n && str_find_str(buf_str(&out), S("//")) == SIZE_MAX);
    buf_reset(&out);
    (void)http_query(h->query, S("limit"), &out);
    (void)http_host_allowed(h->host, NULL, 0);
    (void)http_origin_is_own(h);
    (void)http_head_has_token(h, S("Accept-Encoding"), S("gzip"));
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    str s = str_n(data, size);
    size_t n, bytewise;
    struct http_head h;
    struct why w;
    enum err e = find_head(s, SIZE_MAX, &n);
    enum err again = find_head(s, 1, &bytewise);
    assert(again == e && bytewise == n);
    if (e != OK || http_head_parse(str_head(s, n), &h, &w) != 0)
        return 0;
    check_head(&h);
    struct buf whole = BUF(64 * 1024), pieces = BUF(64 * 1024);
    s = str_tail(s, n);
    e = read_body(&h, s, SIZE_MAX, &whole);
    again = read_body(&h, s, 1, &pieces);
    assert(e == again || whole.full || pieces.full);
    assert(whole.full || pieces.full || str_eq(buf_str(&whole), buf_str(&pieces)));
    buf_free(&whole);
    buf_free(&pieces);
    return 0;
}
