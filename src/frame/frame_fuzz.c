/* Whatever frame_take accepts, frame_put gives the same bytes; and it never reads beyond its input. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "frame/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    str in = str_n(data, size);
    struct frame f;
    for (;;) {
        str before = in;
        if (frame_take(&in, &f) != OK)
            break;
        struct buf out = BUF(FRAME_MAX);
        frame_put(&out, &f);
        assert(!out.full && str_eq(buf_str(&out), str_head(before, before.n - in.n)));
        assert(strcmp(frame_name(f.type), "unknown") != 0);
        buf_free(&out);
    }
    return 0;
}
