/* Bytes that are an envelope give the same envelope again when it is written and read. */
#include "smtp/envelope.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena a = ARENA(1 << 20);
    struct buf once = BUF(1 << 20), twice = BUF(1 << 20);
    struct envelope e, again;
    if (size < 1 << 16 && envelope_take(str_n(data, size), &a, &e) == OK) {
        envelope_put(&once, &e);
        enum err err = envelope_take(buf_str(&once), &a, &again);
        assert(err == OK && again.rcpt_count == e.rcpt_count && str_eq(again.sender, e.sender));
        envelope_put(&twice, &again);
        assert(str_eq(buf_str(&once), buf_str(&twice)));
    }
    buf_free(&once);
    buf_free(&twice);
    arena_free(&a);
    return 0;
}
