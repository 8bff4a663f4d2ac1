/* Every view of any bytes ends, with a result or a reason. */
#include "role/content_core.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void show(unsigned kind, str bytes) {
    struct content *c = content_new(kind, S("1"));
    assert(c);
    for (; bytes.n && !content_result(c)->done; bytes = str_tail(bytes, 1000)) {
        content_body(c, str_head(bytes, 1000));
        assert(content_out(c).n == 0 || content_result(c)->head);
        content_taken(c);
    }
    content_end(c);
    const struct content_result *r = content_result(c);
    assert(r->done && (r->err ? r->text != NULL : r->head));
    content_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (content_prepare() != OK)
        return 0;
    for (unsigned kind = VIEW_SUMMARY; kind < VIEW_KIND_COUNT; kind++)
        show(kind, str_n(data, size));
    return 0;
}
