/* Whatever parses can be written, and what was written parses to the same instant. */
#include "base/date.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct date d) {
    struct buf out = BUF(256);
    struct date again;
    date_put_3339(&out, d, 6);
    if (date_civil(d).year > 0 && date_civil(d).year < 9999) {
        bool parsed = date_parse(buf_str(&out), &again);
        assert(parsed && again.us == d.us && again.offset_min == d.offset_min);
    }
    buf_reset(&out);
    date_put_5322(&out, d);
    assert(!out.full);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct date d;
    if (date_parse(str_n(data, size), &d))
        check(d);
    if (date_parse_3339(str_n(data, size), &d))
        check(d);
    return 0;
}
