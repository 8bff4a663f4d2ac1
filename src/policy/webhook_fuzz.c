/* Whatever a message and an answer are, what is posted is one line of UTF-8 that JSON can be, and what is shown fits.
 */
#include "policy/webhook.h"

#include <assert.h>

#include "base/code.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_line(str s) {
    assert(utf8_valid(s));
    for (size_t i = 0; i < s.n; i++)
        assert(!char_is_ctl(s.p[i]));
}

static void check_post(str in) {
    struct envelope v = {.helo = in, .client_address = str_head(in, 3), .received_us = in.n * 77777777};
    struct webhook_post p = {.id = S("id"),
                             .route = S("hook"),
                             .sender = in,
                             .recipient = str_tail(in, in.n / 2),
                             .size = in.n,
                             .envelope = &v,
                             .message = in,
                             .cut = in.n & 1};
    struct buf out = BUF(WEBHOOK_ROOM + 2 * in.n);
    webhook_json(&p, &out);
    assert(!out.full && webhook_header_size(in) <= in.n);
    assert(str_starts(buf_str(&out), S("{\"type\"")) && str_ends(buf_str(&out), S("\"}}")));
    check_line(buf_str(&out));
    buf_free(&out);
}

static void check_answer(str in, unsigned status) {
    struct webhook_answer a = {
        .end = (enum webhook_end)(status % 6), .status = status, .said = in, .reason = in, .wait = in};
    struct buf text = BUF(8000);
    struct webhook_verdict v = webhook_judge(&a, &text);
    assert(!text.full && v.outcome);
    check_line(buf_str(&text));
    buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    str in = str_n(data, size);
    struct buf out = BUF(4096);
    if (size < 2 || size > 65536)
        return 0;
    check_post(str_tail(in, 2));
    check_answer(str_tail(in, 2), data[0] << 8 | data[1]);
    (void)!webhook_sign(in, S("text"), &out, NULL);
    buf_free(&out);
    return 0;
}
