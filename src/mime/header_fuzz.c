/* The fields cover the block from its start without gaps; parameters are clean UTF-8. */
#include "base/code.h"
#include "mime/header.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_param(str value, str name) {
    struct buf out = BUF(64 * 1024);
    if (header_param(value, name, &out))
        for (size_t i = 0; i < out.n; i++)
            assert(!char_is_ctl(out.p[i]));
    assert(utf8_valid(buf_str(&out)));
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    str block = str_n(data, size);
    struct header_iter it = HEADER_ITER(block);
    struct header h;
    size_t at = 0;
    while (header_next(&it, &h)) {
        struct buf out = BUF(64 * 1024);
        assert(h.offset == at && h.length > 0);
        at += h.length;
        assert(h.name.n + h.value.n <= h.length);
        assert(header_token(h.value).n <= h.value.n);
        header_unfold(h.value, &out);
        assert(!str_has(buf_str(&out), '\n'));
        buf_free(&out);
        check_param(h.value, S("filename"));
        check_param(h.value, S("a"));
    }
    assert(at <= size);
    return 0;
}
