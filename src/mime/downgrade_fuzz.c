/* A converted message has the parts it had, each with the content it had, and nothing in it that the server cannot
 * take; how the bytes came makes no difference. */
#include "base/code.h"
#include "mime/downgrade.h"
#include "mime/mime.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err convert(unsigned mode, str in, size_t step, struct buf *out) {
    struct downgrade d;
    enum err e = OK;
    downgrade_init(&d, mode);
    for (; in.n && e == OK; in = str_tail(in, step))
        e = downgrade_put(&d, str_head(in, step), out);
    if (e == OK)
        e = downgrade_end(&d, out);
    assert(e != OK || !out->full);
    downgrade_free(&d);
    return e;
}

/* Types and decoded contents of the leaves, and whether every header is ASCII. */
static void contents(str message, struct buf *out, bool *ascii) {
    struct mime m;
    struct transfer t = {0};
    bool open = false;
    enum mime_event e;
    mime_init(&m);
    *ascii = true;
    do {
        e = mime_next(&m, &message, true);
        if (open && e != MIME_BODY) {
            transfer_end(&t, out);
            open = false;
        }
        const struct mime_part *p = e == MIME_PART || e == MIME_BODY ? mime_part(&m) : NULL;
        if (e == MIME_PART) {
            *ascii = *ascii && utf8_is_ascii(m.header);
            buf_printf(out, "\n[%u %d]", (unsigned)p->depth, p->container);
            buf_add(out, p->type);
            open = !p->container;
            if (open)
                transfer_init(&t, p->encoding);
        } else if (e == MIME_BODY) {
            transfer_put(&t, m.piece, out);
        }
    } while (e != MIME_DONE);
    mime_free(&m);
}

/* What ends a whole message is its line end, which is added where it was missing. */
static str without_end(str s) {
    while (s.n && (s.p[s.n - 1] == '\n' || s.p[s.n - 1] == '\r'))
        s.n--;
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    unsigned mode = data[0] % 16;
    str in = str_n(data + 1, size - 1);
    struct buf once = BUF(32 << 20), pieces = BUF(32 << 20), before = BUF(32 << 20), after = BUF(32 << 20);
    enum err e = convert(mode, in, SIZE_MAX, &once);
    assert(e == OK || e == ERR_UNSUPPORTED || e == ERR_NOMEM);
    assert(convert(mode, in, 1 + size / 7, &pieces) == e);
    if (e == OK) {
        bool ascii_before, ascii_after;
        assert(str_eq(buf_str(&once), buf_str(&pieces)));
        contents(in, &before, &ascii_before);
        contents(buf_str(&once), &after, &ascii_after);
        if (!(mode & DOWNGRADE_UTF8)) /* a header that is changed may say something else of its part */
            assert(str_eq(without_end(buf_str(&before)), without_end(buf_str(&after))));
        if (mode & DOWNGRADE_UTF8)
            assert(ascii_after);
        if ((mode & DOWNGRADE_EIGHT_BIT) && ascii_after)
            assert(utf8_is_ascii(buf_str(&once)));
    }
    buf_free(&once);
    buf_free(&pieces);
    buf_free(&before);
    buf_free(&after);
    return 0;
}
