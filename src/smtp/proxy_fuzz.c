/* A header must mean the same whole and in pieces, and never be longer than what was given. */
#include <assert.h>
#include <string.h>

#include "smtp/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct proxy_header whole, part;
    if (size > 2 * PROXY_SIZE_MAX)
        return 0;
    enum err e = proxy_parse(str_n(data, size), &whole);
    for (size_t n = 0; n <= size; n++) {
        enum err p = proxy_parse(str_n(data, n), &part);
        if (p == ERR_MORE) {
            assert(n < PROXY_SIZE_MAX);
            continue;
        }
        assert(p == e);
        if (p == OK)
            assert(part.size == n && whole.size == n && strcmp(whole.source, part.source) == 0);
        break;
    }
    return 0;
}
