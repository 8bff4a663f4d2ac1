#include "smtp/smtp_reply.h"

#include "base/code.h"

#include <assert.h>

enum { DETAIL_MAX = 200 };

static const struct smtp_reply rows[SMTP_REPLIES] = {
#define REPLY(NAME, code, status, errors, text) [SMTP_R_##NAME] = {code, errors, S_INIT(status), S_INIT(text)},
#include "smtp/smtp_reply.def"
#undef REPLY
};

const struct smtp_reply *smtp_reply_of(enum smtp_reply_id id) {
    assert(id > SMTP_R_NONE && id < SMTP_REPLIES);
    return &rows[id];
}

static void put_detail(struct buf *out, str s) {
    uint32_t c;
    s = str_head(s, DETAIL_MAX);
    while (s.n) {
        size_t n = utf8_char(s, &c);
        bool shown = n && c >= 32 && (c < 127 || c > 0xa0);
        buf_add(out, shown ? str_head(s, n) : S("?"));
        s = str_tail(s, shown ? n : 1);
    }
}

void smtp_reply_put(struct buf *out, unsigned code, bool more, str status, str text, str detail) {
    char head[] = {(char)('0' + code / 100 % 10), (char)('0' + code / 10 % 10), (char)('0' + code % 10),
                   more ? '-' : ' '};
    assert(code >= 200 && code <= 599);
    buf_add(out, str_n(head, sizeof head));
    buf_add(out, status);
    if (status.n)
        buf_char(out, ' ');
    buf_add(out, text);
    if (detail.n) {
        buf_add(out, str_ends(text, S(" as")) ? S(" ") : S(": "));
        put_detail(out, detail);
    }
}
