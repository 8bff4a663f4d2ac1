/* What is written comes back, one message for one; reading whatever there is ends. */
#include "mime/mbox.h"
#include "mime/maildir.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The message as it will come back: CRLF line ends, and one at its end; CRs before it are lost among them. */
static void normal(str s, struct buf *out) {
    str line;
    while (str_line(&s, &line)) {
        while (str_ends(line, S("\r")))
            line.n--;
        buf_add(out, line);
        buf_add(out, S("\r\n"));
    }
}

static void check_round(str message, size_t step) {
    struct buf file = BUF(1 << 20), back = BUF(1 << 20), expected = BUF(1 << 20), again = BUF(1 << 20);
    struct mbox_writer w;
    mbox_write_begin(&w, S("a@b"), (struct date){.us = 1}, 1, &file);
    for (str rest = message; rest.n; rest = str_tail(rest, step))
        mbox_write_put(&w, str_head(rest, step), &file);
    mbox_write_end(&w, &file);
    buf_add(&file, S("From c Tue Nov 25 12:00:00 2025\n\n"));
    struct mbox_iter it = {buf_str(&file)};
    struct mbox_message m;
    assert(mbox_next(&it, &m) && str_eq(m.sender, S("a@b")));
    assert(m.ours && m.flags == MAILDIR_SEEN);
    mbox_message_put(&m, &back);
    normal(message, &expected);
    normal(buf_str(&back), &again);
    assert(str_eq(buf_str(&again), buf_str(&expected)));
    assert(mbox_next(&it, &m) && str_eq(m.sender, S("c")));
    assert(!mbox_next(&it, &m));
    buf_free(&file);
    buf_free(&back);
    buf_free(&expected);
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    str in = str_n(data, size);
    struct mbox_iter it = {in};
    struct mbox_message m;
    size_t total = 0;
    while (mbox_next(&it, &m)) {
        struct buf out = BUF(4 << 20);
        mbox_message_put(&m, &out);
        assert(!out.full);
        total += m.raw.n;
        buf_free(&out);
    }
    assert(total <= size);
    check_round(in, size ? 1 + data[0] % 16u : 1);
    return 0;
}
