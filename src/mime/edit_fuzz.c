/* A list that passes its check gives a view of just the size it told, in the same bytes from every offset. */
#include "mime/edit.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ARRIVAL = 4096 };

static void read_view(str list, uint64_t size, uint64_t at, struct buf *out) {
    struct edit_piece p;
    while (edit_piece(list, size, at, &p)) {
        assert(p.put.n ? p.n == 0 : p.n > 0 && p.from <= size && p.n <= size - p.from);
        if (p.put.n)
            buf_add(out, p.put);
        else
            buf_fill(out, (char)p.from, (size_t)p.n);
        at += p.put.n ? p.put.n : p.n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    str list = str_n(data, size);
    uint64_t arrival = size % ARRIVAL, edited;
    struct edit_piece p;
    if (edit_check(list, arrival, &edited) != OK) {
        (void)edit_piece(list, arrival, size, &p); /* a damaged one must do no harm either */
        return 0;
    }
    struct buf all = BUF(1 << 20), part = BUF(1 << 20);
    read_view(list, arrival, 0, &all);
    assert(all.n == edited);
    read_view(list, arrival, edited / 2, &part);
    assert(part.n == edited - edited / 2);
    buf_free(&all);
    buf_free(&part);
    return 0;
}
