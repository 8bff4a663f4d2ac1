/* Every list ends, entries are clean UTF-8 within their limits. */
#include "base/code.h"
#include "mime/address.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(str s) {
    assert(utf8_valid(s));
    for (size_t i = 0; i < s.n; i++)
        assert(!char_is_ctl(s.p[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct address_iter it = ADDRESS_ITER(str_n(data, size));
    struct address a;
    size_t count = 0;
    while (address_next(&it, &a)) {
        count++;
        check_text(a.name);
        check_text(a.address);
        check_text(a.group);
        assert(a.name.n || a.address.n);
        assert(a.local.n + a.domain.n + str_has(a.address, '@') == a.address.n);
    }
    assert(count <= size && count <= ADDRESS_LIST_MAX);
    address_iter_free(&it);
    return 0;
}
