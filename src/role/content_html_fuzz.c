/* Text made of any bytes stays text and in proportion; with no part known, links are left as they are. */
#include "base/code.h"
#include "role/content_html.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool none(void *arg, str id, struct buf *out) {
    (void)arg, (void)id, (void)out;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf utf8 = BUF(size * 3 + 1), text = BUF(size * 16 + 64), same = BUF(size * 3 + 1);
    utf8_clean(str_n(data, size), &utf8);
    content_html_text(buf_str(&utf8), &text);
    assert(utf8_valid(buf_str(&text)));
    content_html_cid(buf_str(&utf8), none, NULL, &same);
    assert(str_eq(buf_str(&utf8), buf_str(&same)));
    buf_free(&utf8);
    buf_free(&text);
    buf_free(&same);
    return 0;
}
