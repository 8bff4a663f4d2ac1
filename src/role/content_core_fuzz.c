/* Every view of any bytes ends, with a result or a reason, and gives everything back.  An envelope may stand before the
 * message: the byte 0, its length (two bytes, little-endian) and its bytes. */
#include "role/content_core.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void show(unsigned kind, str envelope, str bytes) {
    struct content *c = content_new(kind, S("1"));
    assert(c);
    for (; envelope.n; envelope = str_tail(envelope, 100))
        content_envelope(c, str_head(envelope, 100));
    for (; bytes.n && !content_result(c)->done; bytes = str_tail(bytes, 1000)) {
        content_body(c, str_head(bytes, 1000));
        assert(content_out(c).n == 0 || content_result(c)->head);
        content_taken(c);
    }
    content_end(c);
    const struct content_result *r = content_result(c);
    assert(r->done && (r->err ? r->text != NULL : r->head));
    content_free(c);
    assert(content_held() == 0);
}

static str cut_envelope(str *bytes) {
    uint16_t n;
    str rest = *bytes, envelope;
    if (!str_skip_char(&rest, '\0') || !take_u16(&rest, &n))
        return STR_NONE;
    envelope = str_head(rest, n);
    *bytes = str_tail(rest, n);
    return envelope;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (content_prepare() != OK)
        return 0;
    str bytes = str_n(data, size), envelope = cut_envelope(&bytes);
    for (unsigned kind = VIEW_SUMMARY; kind < VIEW_KIND_COUNT; kind++)
        show(kind, envelope, bytes);
    return 0;
}
