/* What is encoded, in any pieces, is 7-bit in short lines and comes back byte by byte. */
#include "mime/encode.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(enum transfer_encoding e, str in) {
    struct encode c = ENCODE(e);
    struct buf out = BUF(4 << 20), back = BUF(4 << 20);
    size_t step = in.n ? (unsigned char)in.p[0] + 1u : 1;
    for (str rest = in; rest.n; rest = str_tail(rest, step))
        encode_put(&c, str_head(rest, step), &out);
    encode_end(&c, &out);
    size_t column = 0;
    for (size_t i = 0; i < out.n; i++) {
        column = out.p[i] == '\n' ? 0 : column + 1;
        assert(column <= 77 && out.p[i] > 0 && out.p[i] < 127);
    }
    transfer_decode(e, buf_str(&out), &back);
    assert(str_eq(buf_str(&back), in));
    buf_free(&out);
    buf_free(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check(TRANSFER_BASE64, str_n(data, size));
    check(TRANSFER_QUOTED_PRINTABLE, str_n(data, size));
    return 0;
}
