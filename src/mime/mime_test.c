#include "mime/mime.h"

#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The structure as text: per part "path type lines [body]", containers without body; then the faults. */
static void describe(str bytes, size_t step, struct buf *out) {
    struct mime m;
    struct buf *bodies = calloc(MIME_PARTS_MAX, sizeof *bodies);
    mime_init(&m);
    for (size_t at = 0;; at += step) {
        str in = str_sub(bytes, at, step);
        bool last = at + step >= bytes.n;
        enum mime_event e;
        while ((e = mime_next(&m, &in, last)) == MIME_PART || e == MIME_BODY) {
            bodies[m.current].limit = SIZE_MAX;
            if (e == MIME_BODY)
                buf_add(&bodies[m.current], m.piece);
        }
        assert_int_equal(in.n, 0);
        if (last)
            break;
    }
    for (uint32_t i = 0; i < m.count; i++) {
        const struct mime_part *p = &m.parts[i];
        mime_path(&m, i, out);
        buf_printf(out, " %.*s/%.*s", STR_ARG(p->type), STR_ARG(p->subtype));
        if (!p->container) {
            assert_true(str_eq(buf_str(&bodies[i]), str_sub(bytes, p->body_offset, p->body_length)));
            buf_printf(out, " %u [%.*s]", (unsigned)p->lines, STR_ARG(buf_str(&bodies[i])));
        }
        buf_add(out, S(";"));
        buf_free(&bodies[i]);
    }
    for (int f = 0; f < MIME_FAULT_COUNT; f++)
        if (m.faults[f].count)
            buf_printf(out, " %s*%u", mime_fault_name((enum mime_fault)f), (unsigned)m.faults[f].count);
    mime_free(&m);
    free(bodies);
}

#define MULTI "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
static const struct {
    str in;
    const char *out;
} rows[] = {
    {S_INIT(""), "0 text/plain 0 [];"},
    {S_INIT("A: b\r\n\r\nx\r\ny"), "0 text/plain 2 [x\r\ny];"},
    {S_INIT("A: b\n\nx\n"), "0 text/plain 1 [x\n]; bare-lf*3"},
    {S_INIT("\r\nbody\r\n"), "0 text/plain 1 [body\r\n];"},
    {S_INIT("A: b\r\n"), "0 text/plain 0 [];"},
    /* the line end before a boundary belongs to it, RFC 2046 5.1.1 */
    {S_INIT(MULTI "pre\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: TEXT/Html\r\n\r\ntwo\r\n\r\n--b--\r\nepilogue\r\n"),
     "0 multipart/mixed;1 text/plain 1 [one];2 text/html 1 [two\r\n];"},
    {S_INIT(MULTI "--b\r\n\r\n--b--"), "0 multipart/mixed;1 text/plain 0 [];"},
    {S_INIT(MULTI "--b \t\r\n\r\nx\r\n--bc\r\n--b--x\r\n --b\r\n--b--\r\n"),
     "0 multipart/mixed;1 text/plain 4 [x\r\n--bc\r\n--b--x\r\n --b];"},
    {S_INIT(MULTI "--b\r\n\r\nx\r\n-\r\n--\r\n-"), "0 multipart/mixed;1 text/plain 4 [x\r\n-\r\n--\r\n-]; no-close*1"},
    {S_INIT(MULTI "nothing"), "0 multipart/mixed; no-close*1 no-parts*1"},
    {S_INIT("Content-Type: multipart/mixed\r\n\r\nx"), "0 multipart/mixed 1 [x]; no-boundary*1"},
    /* an outer boundary ends what is open inside; equal boundaries belong to the innermost */
    {S_INIT(
         MULTI
         "--b\r\nContent-Type: multipart/alternative; boundary=\"b c\"\r\n\r\n--b c\r\n\r\nx\r\n--b\r\n\r\ny\r\n--b--"),
     "0 multipart/mixed;1 multipart/alternative;1.1 text/plain 1 [x];2 text/plain 1 [y]; no-close*1"},
    {S_INIT(MULTI "--b\r\n" MULTI "--b\r\n\r\nx\r\n--b--\r\n--b\r\n\r\ny\r\n--b--\r\n"),
     "0 multipart/mixed;1 multipart/mixed;1.1 text/plain 1 [x];2 text/plain 1 [y];"},
    /* messages inside; a digest's parts are messages unless they say otherwise, RFC 2046 5.1.5 */
    {S_INIT("Content-Type: message/rfc822\r\n\r\nA: b\r\n\r\nx"), "0 message/rfc822;1 text/plain 1 [x];"},
    {S_INIT("Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nA: b\r\n\r\nx\r\n--b\r\nContent-Type: "
            "text/plain\r\n\r\ny\r\n--b--"),
     "0 multipart/digest;1 message/rfc822;1.1 text/plain 1 [x];2 text/plain 1 [y];"},
    {S_INIT(MULTI "--b\r\nContent-Type: message/rfc822\r\n--b\r\nA: b\r\n--b--"),
     "0 multipart/mixed;1 message/rfc822;1.1 text/plain 0 [];2 text/plain 0 []; header-end*2"},
    {S_INIT("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nx"),
     "0 message/rfc822 1 [x]; encoded-container*1"},
    /* headers that are none */
    {S_INIT("A: b\r\nnot a field\r\nC: d\r\n"), "0 text/plain 2 [not a field\r\nC: d\r\n]; header-end*1"},
    {S_INIT("Content-Type: message/rfc822\r\nnot a field\r\nC: d\r\n"),
     "0 message/rfc822;1 text/plain 2 [not a field\r\nC: d\r\n]; header-end*2"},
    {S_INIT("From x@y\r\nA: b\r\n\r\nz"), "0 text/plain 1 [z]; header-junk*1"},
    {S_INIT("A: b\r\n\r\nx\ry\r\0\r\r\n"), "0 text/plain 1 [x\ry\r]; bare-cr*3 nul*1"},
    {S_INIT("Content-Type: nonsense\r\nContent-Type: a/b\r\nX: \xff\r\n\r\n"),
     "0 text/plain 0 []; header-8bit*1 duplicate-field*1 bad-type*1"},
};

/* Whole, and in pieces of 1, 2, 3 and 7 bytes. */
static void test_rows(void **state) {
    (void)state;
    static const size_t steps[] = {SIZE_MAX / 2, 1, 2, 3, 7};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
            struct buf out = BUF(10000);
            describe(rows[i].in, steps[s], &out);
            assert_string_equal(buf_cstr(&out), rows[i].out);
            buf_free(&out);
        }
}

static void parse(struct mime *m, str in) {
    mime_init(m);
    while (mime_next(m, &in, true) != MIME_DONE) {
    }
}

static void test_what_a_part_tells(void **state) {
    (void)state;
    struct mime m;
    parse(&m, S("Content-Type: Image/PNG (c); name=\"n.png\"; charset=X\r\nContent-Transfer-Encoding: BASE64\r\n"
                "Content-Disposition: Attachment;\r\n filename*=utf-8''%c3%bc.png\r\nContent-ID: <a@b>\r\n\r\nx"));
    const struct mime_part *p = m.parts;
    assert_true(mime_is(p, S("image"), S("png")) && mime_is(p, S("image"), S("")));
    assert_int_equal(p->encoding, TRANSFER_BASE64);
    assert_true(str_eq(p->filename, S("\xc3\xbc.png")) && str_eq(p->content_id, S("a@b")));
    assert_true(str_eq(p->disposition, S("attachment")) && str_eq(p->charset, S("X")));
    assert_int_equal(p->body_length, 1);
    mime_free(&m);
}

static void test_keep(void **state) {
    (void)state;
    struct mime m;
    str in = S("Content-Type: message/rfc822\r\n\r\nA: b\r\n\r\nx");
    mime_init(&m);
    assert_int_equal(mime_next(&m, &in, true), MIME_PART);
    mime_keep(&m);
    assert_int_equal(mime_next(&m, &in, true), MIME_BODY);
    assert_true(str_eq(m.piece, S("A: b\r\n\r\nx")));
    assert_int_equal(mime_next(&m, &in, true), MIME_DONE);
    assert_int_equal(m.count, 1);
    mime_free(&m);
}

static void test_limits(void **state) {
    (void)state;
    struct buf in = BUF(16 << 20);
    struct mime m;
    for (int i = 0; i < 200; i++)
        buf_printf(&in, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i);
    parse(&m, buf_str(&in));
    assert_int_equal(m.count, MIME_DEPTH_MAX + 1);
    assert_true(m.parts[MIME_DEPTH_MAX].faults & 1u << MIME_FAULT_DEPTH_LIMIT);
    assert_false(m.parts[MIME_DEPTH_MAX].container);
    mime_free(&m);
    buf_reset(&in);
    buf_add(&in, S(MULTI));
    for (int i = 0; i < 10000; i++)
        buf_add(&in, S("--b\r\n\r\nx\r\n"));
    parse(&m, buf_str(&in));
    assert_int_equal(m.count, MIME_PARTS_MAX);
    assert_int_equal(m.faults[MIME_FAULT_PARTS_LIMIT].count, 1);
    const struct mime_part *last = &m.parts[MIME_PARTS_MAX - 1];
    assert_int_equal(last->body_offset + last->body_length, in.n);
    mime_free(&m);
    buf_reset(&in);
    buf_add(&in, S(MULTI));
    buf_shrink(&in, in.n - 2);
    for (int i = 0; i < 30000; i++)
        buf_add(&in, S("X: 0123456789\r\n"));
    buf_add(&in, S("\r\n--b\r\n\r\nx"));
    parse(&m, buf_str(&in));
    assert_int_equal(m.count, 1);
    assert_true(m.parts[0].faults & 1u << MIME_FAULT_HEADER_LIMIT && !m.parts[0].container);
    assert_int_equal(m.parts[0].body_length, 8);
    mime_free(&m);
    buf_reset(&in);
    buf_add(&in, S(MULTI));
    for (int i = 0; i < 2000; i++) {
        buf_add(&in, S("--b\r\nContent-Type: a/b; name="));
        buf_fill(&in, 'n', 4000);
        buf_add(&in, S("\r\n\r\nx\r\n"));
    }
    parse(&m, buf_str(&in));
    assert_int_equal(m.count, 2001);
    assert_false(m.parts[1000].faults & 1u << MIME_FAULT_STRINGS_LIMIT);
    assert_int_equal(m.parts[1000].filename.n, 4000);
    assert_true(m.parts[2000].faults & 1u << MIME_FAULT_STRINGS_LIMIT);
    mime_free(&m);
    buf_free(&in);
}

/* Megabytes of what makes careless parsers slow. */
static void test_linear(void **state) {
    (void)state;
    static const char *const units[] = {"--",  "-",         "\r",    "--b\r\n",
                                        "--b", "--b--\r\n", "\r\n-", "--b\r\nContent-Type: message/rfc822\r\n\r\n"};
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        struct buf in = BUF(2 << 20);
        struct mime m;
        buf_add(&in, S(MULTI "--b\r\n\r\n"));
        while (!in.full)
            buf_add(&in, str_of(units[u]));
        parse(&m, buf_str(&in));
        mime_free(&m);
        buf_free(&in);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),   cmocka_unit_test(test_what_a_part_tells),
        cmocka_unit_test(test_keep),   cmocka_unit_test(test_limits),
        cmocka_unit_test(test_linear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
