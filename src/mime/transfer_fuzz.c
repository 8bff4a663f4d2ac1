/* The first byte chooses the encoding.  The result does not depend on how the input was cut. */
#include "mime/transfer.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf whole = BUF(1 << 20), cut = BUF(1 << 20);
    struct transfer t;
    if (size == 0 || size > 100000)
        return 0;
    enum transfer_encoding e = (enum transfer_encoding)(data[0] % (TRANSFER_UNKNOWN + 1));
    str in = str_n(data + 1, size - 1);
    transfer_decode(e, in, &whole);
    transfer_init(&t, e);
    for (size_t i = 0; i < in.n; i++)
        transfer_put(&t, str_sub(in, i, 1), &cut);
    transfer_end(&t, &cut);
    assert(str_eq(buf_str(&whole), buf_str(&cut)));
    assert(whole.n <= in.n + 2);
    buf_free(&whole);
    buf_free(&cut);
    return 0;
}
