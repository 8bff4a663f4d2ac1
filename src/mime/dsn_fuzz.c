/* Whatever others said, a report has its three parts, its fields are those of RFC 3464 for each recipient, and nothing
 * in it is a control character. */
#include "base/code.h"
#include "mime/dsn.h"
#include "mime/header.h"
#include "mime/mime.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RCPTS_MAX = 4 };

/* The body of part 2: what programs read. */
static void parse(str message, struct buf *status, uint32_t *parts) {
    struct mime m;
    enum mime_event e;
    mime_init(&m);
    while ((e = mime_next(&m, &message, true)) != MIME_DONE)
        if (e == MIME_BODY && m.current == 2)
            buf_add(status, m.piece);
    *parts = m.count;
    assert(mime_is(&m.parts[0], S("multipart"), S("report")));
    assert(mime_is(&m.parts[1], S("text"), S("plain")) && m.parts[1].parent == 0);
    assert(mime_is(&m.parts[2], S("message"), STR_NONE) && m.parts[2].parent == 0);
    for (unsigned f = 0; f < MIME_FAULT_COUNT; f++)
        assert(m.faults[f].count == 0);
    mime_free(&m);
}

static void check_group(str group, size_t *rcpts) {
    struct header_iter it = HEADER_ITER(group);
    struct header h;
    while (header_next(&it, &h))
        assert(h.name.n);
    if (!header_find(group, S("Final-Recipient"), &h))
        return;
    ++*rcpts;
    assert(header_find(group, S("Action"), &h) && header_find(group, S("Status"), &h) && h.value.n >= 5);
}

static void check_status(str status, size_t count) {
    size_t rcpts = 0;
    struct header h;
    assert(header_find(status, S("Reporting-MTA"), &h));
    while (status.n) {
        size_t end = str_find_str(status, S("\r\n\r\n"));
        check_group(str_head(status, end == SIZE_MAX ? end : end + 2), &rcpts);
        status = end == SIZE_MAX ? STR_NONE : str_tail(status, end + 4);
    }
    assert(rcpts == count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    str in = str_n(data, size), field[8 + 6 * RCPTS_MAX] = {{0}};
    struct dsn_rcpt rcpts[RCPTS_MAX];
    uint8_t flags = 0;
    if (!take_u8(&in, &flags))
        return 0;
    for (size_t i = 0; i < sizeof field / sizeof *field; i++)
        if (!str_cut(&in, '|', &field[i])) {
            field[i] = in;
            in = STR_NONE;
        }
    size_t count = 1 + flags % RCPTS_MAX;
    for (size_t i = 0; i < count; i++) {
        str *f = &field[8 + 6 * i];
        uint64_t code = 0;
        (void)!str_u64(f[5], &code);
        rcpts[i] = (struct dsn_rcpt){.action = (enum dsn_action)((flags / 4 + i) % 5),
                                     .address = f[0],
                                     .orcpt = f[1],
                                     .status = f[2],
                                     .text = f[3],
                                     .remote = f[4],
                                     .code = (unsigned)code};
    }
    struct dsn d = {.host = S("mx.example.org"),
                    .to = field[0],
                    .message_id = S("a@b"),
                    .boundary = S("B"),
                    .id = field[1],
                    .envid = field[2],
                    .original_message_id = field[3],
                    .original_subject = field[4],
                    .rcpts = rcpts,
                    .rcpt_count = count,
                    .utf8 = flags & 128,
                    .returns = (enum dsn_returns)(flags / 32 % 2)};
    struct buf out = BUF(1 << 22), tail = BUF(1000), status = BUF(1 << 22);
    struct why w;
    uint32_t parts;
    if (dsn_build(&d, &out, &tail, &w) == OK) {
        if (d.returns != DSN_RETURNS_NOTHING)
            buf_add(&out, S("A: b\r\n"));
        buf_add(&out, buf_str(&tail));
        if (!dsn_is_utf8(&d)) {
            for (size_t i = 0; i < out.n; i++)
                assert((out.p[i] >= 32 && out.p[i] < 127) || out.p[i] == '\r' || out.p[i] == '\n');
            parse(buf_str(&out), &status, &parts);
            assert(parts == (d.returns != DSN_RETURNS_NOTHING ? 4 : 3));
            check_status(buf_str(&status), count);
        }
        assert(utf8_valid(buf_str(&out)));
    }
    buf_free(&out);
    buf_free(&tail);
    buf_free(&status);
    return 0;
}
