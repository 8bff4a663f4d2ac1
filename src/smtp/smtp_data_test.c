#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "smtp/smtp_data.h"

#include <string.h>

enum { NEVER = -1, FAULT = -2 };

struct row {
    enum smtp_framing framing;
    str in;
    int end; /* bytes up to and with the final dot, NEVER or FAULT */
    str out;
};

#define KEEP SMTP_FRAMING_KEEP
#define REJECT SMTP_FRAMING_REJECT
#define NORMALIZE SMTP_FRAMING_NORMALIZE
static const struct row rows[] = {
    {REJECT, S_INIT(".\r\n"), 3, S_INIT("")},
    {REJECT, S_INIT("a\r\n.\r\nNOOP\r\n"), 6, S_INIT("a\r\n")},
    {REJECT, S_INIT("..\r\n.a\r\n...\r\na.\r\n.\r\n"), 20, S_INIT(".\r\na\r\n..\r\na.\r\n")},
    /* the twelve: only the last one ends */
    {REJECT, S_INIT("a\n.\n"), FAULT, S_INIT("")},
    {REJECT, S_INIT("a\n.\r\n"), FAULT, S_INIT("")},
    {REJECT, S_INIT("a\r\n.\n"), FAULT, S_INIT("")},
    {REJECT, S_INIT("a\r.\r"), FAULT, S_INIT("")},
    {REJECT, S_INIT("a\r.\n"), FAULT, S_INIT("")},
    {REJECT, S_INIT("a\r.\r\n"), FAULT, S_INIT("")},
    {REJECT, S_INIT("a\n.\r"), FAULT, S_INIT("")},
    {REJECT, S_INIT("a\r\n.\rb"), FAULT, S_INIT("")},
    {REJECT, S_INIT("a\r\n\0.\r\n"), FAULT, S_INIT("")},
    {REJECT, S_INIT("a\r\n.\r\r\n"), FAULT, S_INIT("")},
    {REJECT, S_INIT("a\r\r\n.\r\r\n"), FAULT, S_INIT("")},
    {REJECT, S_INIT("a\r\n.\r\n"), 6, S_INIT("a\r\n")},
    {KEEP, S_INIT("a\n.\nb"), NEVER, S_INIT("a\n.\nb")},
    {KEEP, S_INIT("a\n.\r\nb"), NEVER, S_INIT("a\n.\r\nb")},
    {KEEP, S_INIT("a\r\n.\nb"), NEVER, S_INIT("a\r\n\nb")},
    {KEEP, S_INIT("a\r.\rb"), NEVER, S_INIT("a\r.\rb")},
    {KEEP, S_INIT("a\r.\nb"), NEVER, S_INIT("a\r.\nb")},
    {KEEP, S_INIT("a\r.\r\nb"), NEVER, S_INIT("a\r.\r\nb")},
    {KEEP, S_INIT("a\n.\rb"), NEVER, S_INIT("a\n.\rb")},
    {KEEP, S_INIT("a\r\n.\rb"), NEVER, S_INIT("a\r\n\rb")},
    {KEEP, S_INIT("a\r\n\0.\r\nb"), NEVER, S_INIT("a\r\n\0.\r\nb")},
    {KEEP, S_INIT("a\r\n.\r\r\nb"), NEVER, S_INIT("a\r\n\r\r\nb")},
    {KEEP, S_INIT("a\r\r\n.\r\n"), 7, S_INIT("a\r\r\n")}, /* CRLF "." CRLF, with a CR too many before it */
    {NORMALIZE, S_INIT("a\n.\nb\r\n.\r\n"), 10, S_INIT("a\r\n.\r\nb\r\n")},
    {NORMALIZE, S_INIT("a\rb\0c\r\r\n.\r\n"), 11, S_INIT("a b c \r\n")},
    {NORMALIZE, S_INIT("\n\n\r\n.\r\n"), 7, S_INIT("\r\n\r\n\r\n")},
    {NORMALIZE, S_INIT("a\r\n.\rb\r\n.\r\n"), 11, S_INIT("a\r\n b\r\n")},
    {KEEP, S_INIT("0123456789abcdef\xc3\xa4 0123456789abcdef\r\n.\r\n"), 40,
     S_INIT("0123456789abcdef\xc3\xa4 0123456789abcdef\r\n")},
};

/* Feeds the pieces; where it ended, NEVER or FAULT. */
static int feed(struct smtp_data *d, str in, size_t cut, struct buf *out) {
    str pieces[] = {str_head(in, cut), str_tail(in, cut)};
    size_t before = 0;
    for (size_t i = 0; i < 2; i++) {
        str rest = pieces[i], slice;
        for (;;) {
            enum smtp_data_event event = smtp_data_step(d, &rest, &slice);
            if (event == SMTP_DATA_MORE)
                break;
            if (event == SMTP_DATA_FAULT)
                return FAULT;
            if (event == SMTP_DATA_END)
                return (int)(before + pieces[i].n - rest.n);
            buf_add(out, slice);
        }
        before += pieces[i].n;
    }
    return NEVER;
}

static void test_rows(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        for (size_t cut = 0; cut <= r->in.n; cut++) {
            struct buf out = BUF(1000);
            struct smtp_data d;
            smtp_data_init(&d, r->framing, SMTP_DATA_DOTS);
            int end = feed(&d, r->in, cut, &out);
            if (end != r->end || (end != FAULT && !str_eq(buf_str(&out), r->out)))
                print_error("row %zu cut at %zu: %d\n", i, cut, end);
            assert_int_equal(end, r->end);
            assert_true(end == FAULT || str_eq(buf_str(&out), r->out));
            buf_free(&out);
        }
    }
}

static void test_counters(void **state) {
    (void)state;
    char text[4096];
    size_t n = 0;
    memset(text, 'a', sizeof text);
    n += 998;
    memcpy(text + n, "\r\n", 2);
    n += 2 + 999;
    memcpy(text + n, "\r\n", 2);
    n += 2;
    memcpy(text + n, "a\rb\nc\0d\xff\xfe\r\n.\r\n", 14);
    n += 14;
    for (size_t cut = 0; cut <= n; cut += 7) {
        struct buf out = BUF(8192);
        struct smtp_data d;
        smtp_data_init(&d, KEEP, SMTP_DATA_DOTS);
        assert_int_equal(feed(&d, str_n(text, n), cut, &out), (int)n);
        assert_int_equal(d.long_lines, 1);
        assert_int_equal(d.bare_cr, 1);
        assert_int_equal(d.bare_lf, 1);
        assert_int_equal(d.nul, 1);
        assert_int_equal(d.eight_bit, 2);
        buf_free(&out);
    }
}

static void test_chunks(void **state) {
    (void)state;
    struct buf out = BUF(100);
    struct smtp_data d;
    str slice;
    smtp_data_init(&d, NORMALIZE, SMTP_DATA_TEXT);
    assert_int_equal(feed(&d, S(".\r\n.\r\nx\r"), 4, &out), NEVER); /* dots mean nothing in BDAT */
    assert_int_equal(smtp_data_finish(&d, &slice), SMTP_DATA_SLICE);
    buf_add(&out, slice);
    assert_int_equal(smtp_data_finish(&d, &slice), SMTP_DATA_END);
    assert_true(str_eq(buf_str(&out), S(".\r\n.\r\nx ")));
    buf_reset(&out);
    smtp_data_init(&d, REJECT, SMTP_DATA_BINARY);
    assert_int_equal(feed(&d, S("\0\r\n\n"), 2, &out), NEVER);
    assert_true(str_eq(buf_str(&out), S("\0\r\n\n")));
    buf_free(&out);
}

static void test_header(void **state) {
    (void)state;
    str text =
        S("Received: a\r\nReceivedX: b\r\nRECEIVED:c\r\n Received: folded\r\nReceived : no\r\n\r\nReceived: body\r\n");
    for (size_t piece = 1; piece < text.n; piece++) {
        struct smtp_header h;
        smtp_header_init(&h);
        for (str rest = text; rest.n; rest = str_tail(rest, piece))
            smtp_header_feed(&h, str_head(rest, piece));
        assert_int_equal(h.hops, 2);
        assert_true(h.done);
        assert_int_equal(h.size, text.n - sizeof "Received: body\r\n" + 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_counters),
                                       cmocka_unit_test(test_chunks), cmocka_unit_test(test_header)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
