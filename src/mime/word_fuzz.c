/* Decoded header text is well-formed UTF-8 without controls, however broken the words are. */
#include "base/code.h"
#include "mime/word.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf out = BUF(1 << 20);
    word_decode(str_n(data, size), &out);
    assert(utf8_valid(buf_str(&out)));
    for (size_t i = 0; i < out.n; i++)
        assert(!char_is_ctl(out.p[i]));
    buf_free(&out);
    return 0;
}
