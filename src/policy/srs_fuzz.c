/* What we rewrite we know again; what we have not made we do not. */
#include "policy/srs.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const str secret = S_INIT("secret"), other = S_INIT("other");
    struct srs s = {.secrets = &secret, .secret_count = 1, .domain = S("b.example"), .day = (uint32_t)size * 77};
    struct srs stranger = s;
    struct buf there = BUF(2000), back = BUF(2000);
    str in = str_n(data, size);
    stranger.secrets = &other;
    if (srs_forward(&s, in, &there) == OK) {
        assert(str_rfind(buf_str(&there), '@') <= SRS_LOCAL_MAX);
        enum err e = srs_reverse(&s, buf_str(&there), &back);
        assert(e == OK || str_istarts(in, S("SRS1")) || str_istarts(in, S("\"SRS1")) || str_has(in, '='));
        if (e == OK && !str_istarts(in, S("SRS")) && !str_istarts(in, S("\"SRS")))
            assert(str_eq(buf_str(&back), in));
        buf_reset(&back);
        assert(srs_reverse(&stranger, buf_str(&there), &back) != OK);
    }
    buf_reset(&back);
    (void)!srs_reverse(&s, in, &back);
    buf_free(&there);
    buf_free(&back);
    return 0;
}
