#include "mime/header_edit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mime/edit.h"

/* The header as the edits make it. */
static void view(str header, str list, struct buf *out) {
    struct edit_piece p;
    uint64_t size, at = 0;
    assert_int_equal(edit_check(list, header.n, &size), OK);
    while (edit_piece(list, header.n, at, &p)) {
        str bytes = p.put.n ? p.put : str_sub(header, (size_t)p.from, (size_t)p.n);
        buf_add(out, bytes);
        at += bytes.n;
    }
    assert_int_equal(at, size);
}

typedef void (*change)(struct header_edit *h);

static void check(const char *header, change c, const char *expected) {
    struct arena mem = ARENA(1 << 20);
    struct buf list = BUF(1 << 20), out = BUF(1 << 20);
    struct header_edit h;
    header_edit_begin(&h, str_of(header), &mem);
    c(&h);
    assert_int_equal(header_edit_finish(&h, &list), OK);
    view(str_of(header), buf_str(&list), &out);
    assert_string_equal(buf_cstr(&out), expected);
    buf_free(&list);
    buf_free(&out);
    arena_free(&mem);
}

static void no_bcc(struct header_edit *h) {
    header_edit_remove(h, S("Bcc"));
}

static void test_remove(void **state) {
    (void)state;
    check("A: 1\r\nBcc: x\r\n y\r\nB: 2\r\nbcc : z\r\n\r\n", no_bcc, "A: 1\r\nB: 2\r\n\r\n");
    check("Bcc: x", no_bcc, "");
    check("Bcc: x\r\n \r\n y\r\nB: 2\r\n", no_bcc, "B: 2\r\n"); /* a folded line of blanks */
    check("A: 1\r\n\r\nBcc: of the body\r\n", no_bcc, "A: 1\r\n\r\nBcc: of the body\r\n");
    check("A: 1\nBcc: x\nB\r: 2\n\n", no_bcc, "A: 1\nB\r: 2\n\n");
    check("", no_bcc, "");
}

static void add_both(struct header_edit *h) {
    assert_int_equal(header_edit_add(h, HEADER_EDIT_END, S("X"), S("end"), NULL), OK);
    assert_int_equal(header_edit_add(h, HEADER_EDIT_FRONT, S("R"), S("1\r\n\tfolded"), NULL), OK);
    assert_int_equal(header_edit_add(h, HEADER_EDIT_FRONT, S("R"), S("2"), NULL), OK);
    assert_int_equal(header_edit_add_text(h, HEADER_EDIT_END, S("Y"), S("\xc3\xbc"), NULL), OK);
}

static void test_add(void **state) {
    (void)state;
    check("A: 1\r\n\r\n", add_both, "R: 2\r\nR: 1\r\n\tfolded\r\nA: 1\r\nX: end\r\nY: =?UTF-8?B?w7w=?=\r\n\r\n");
    check("", add_both, "R: 2\r\nR: 1\r\n\tfolded\r\nX: end\r\nY: =?UTF-8?B?w7w=?=\r\n");
    check("A: torn", add_both, "R: 2\r\nR: 1\r\n\tfolded\r\nA: torn\r\nX: end\r\nY: =?UTF-8?B?w7w=?=\r\n");
    /* a folded line at the very front must not become part of what is added */
    check(" odd\r\nA: 1\r\n", add_both,
          " odd\r\nR: 2\r\nR: 1\r\n\tfolded\r\nA: 1\r\nX: end\r\nY: =?UTF-8?B?w7w=?=\r\n");
    /* what others take for the first line of the body */
    check("A: 1\r\nodd\r\nB: 2\r\nodder\r\n\r\n", add_both,
          "R: 2\r\nR: 1\r\n\tfolded\r\nA: 1\r\nX: end\r\nY: =?UTF-8?B?w7w=?=\r\nodd\r\nB: 2\r\nodder\r\n\r\n");
    check("odd\r\nodder\r\nA: 1\r\n", add_both,
          "odd\r\nR: 2\r\nR: 1\r\n\tfolded\r\nX: end\r\nY: =?UTF-8?B?w7w=?=\r\nodder\r\nA: 1\r\n");
    check("A: 1\r\ntorn", add_both, "R: 2\r\nR: 1\r\n\tfolded\r\nA: 1\r\nX: end\r\nY: =?UTF-8?B?w7w=?=\r\ntorn");
}

static void set_x(struct header_edit *h) {
    assert_int_equal(header_edit_set_text(h, S("X"), S("new"), NULL), OK);
}
static void set_then_cut(struct header_edit *h) {
    set_x(h);
    header_edit_remove(h, S("X"));
    assert_int_equal(header_edit_add(h, HEADER_EDIT_END, S("X"), S("last"), NULL), OK);
    set_x(h);
}

static void test_set(void **state) {
    (void)state;
    check("X: 1\r\nA: 1\r\nx: 2\r\n f\r\n\r\n", set_x, "X: new\r\nA: 1\r\n\r\n");
    check("A: 1\r\n\r\n", set_x, "A: 1\r\nX: new\r\n\r\n");
    check("A: 1\r\nX: torn", set_x, "A: 1\r\nX: new\r\n");
    check("X: 1\r\nA: 1\r\n\r\n", set_then_cut, "A: 1\r\nX: new\r\n\r\n");
    check("A: 1\r\nX: torn", set_then_cut, "A: 1\r\nX: new\r\n");
}

static void test_injection_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *name, *value;
    } rows[] = {
        {"", "x"},          {"A b", "x"},          {"A:", "x"},           {"A\r\n", "x"},          {"\xc3\xbc", "x"},
        {"A", "x\r\nB: y"}, {"A", "x\ny"},         {"A", "x\ry"},         {"A", "x\x01"},          {"A", "x\r\n\r\n y"},
        {"A", "x\r\n"},     {"A", "x\r\n \r\n y"}, {"A", "x\r\n y\r\nz"}, {"A", "\xff not utf-8"}, {"A", "x\r\n  "},
    };
    struct arena mem = ARENA(1 << 16);
    struct buf list = BUF(1 << 16);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct header_edit h;
        struct why w;
        header_edit_begin(&h, S("A: 1\r\n"), &mem);
        str name = str_of(rows[i].name), value = str_of(rows[i].value);
        assert_int_equal(header_edit_add(&h, HEADER_EDIT_END, name, value, &w), ERR_SYNTAX);
        assert_int_equal(header_edit_add_text(&h, HEADER_EDIT_FRONT, name, value, &w), ERR_SYNTAX);
        assert_int_equal(header_edit_set_text(&h, name, value, &w), ERR_SYNTAX);
        assert_int_equal(header_edit_finish(&h, &list), OK);
        assert_int_equal(list.n, 0);
    }
    buf_free(&list);
    arena_free(&mem);
}

static bool to_example(void *arg, str address, struct buf *out) {
    (void)arg;
    if (!str_ends(address, S("@old")))
        return false;
    buf_printf(out, "%.*s@example.org", STR_ARG(str_head(address, address.n - 4)));
    return true;
}
static bool to_poison(void *arg, str address, struct buf *out) {
    (void)address;
    buf_add(out, str_of(arg));
    return true;
}
static const char *poison[] = {"a@b\r\nBcc: c@d", "a@b, c@d", "a@b>", "a", "", "g: a@b;", "<a@b>", "a@b (c)", " a@b"};
static void change_to(struct header_edit *h) {
    (void)header_edit_addresses(h, S("To"), to_example, NULL);
}
static void poison_to(struct header_edit *h) {
    for (size_t i = 0; i < sizeof poison / sizeof *poison; i++)
        assert_int_equal(header_edit_addresses(h, S("To"), to_poison, (void *)poison[i]), 0);
}

static void test_addresses(void **state) {
    (void)state;
    check("To: Ann <a@old>, b@old (Bob),\r\n =?utf-8?q?C=C3?= <c@new>; d@old\r\nCc: x@old\r\n\r\n", change_to,
          "To: Ann <a@example.org>, b@example.org (Bob),\r\n =?utf-8?q?C=C3?= <c@new>; d@example.org\r\nCc: "
          "x@old\r\n\r\n");
    check("To: g: a@old, \"x y\"@old;\r\nto: <@r,@s:z@old>\r\n", change_to,
          "To: g: a@example.org, \"x y\"@example.org;\r\nto: <@r,@s:z@example.org>\r\n");
    check("To: a . b (c) @ old(d)\r\n", change_to, "To: a.b@example.org(d)\r\n");
    check("To: \"unclosed <a@old>\r\n", change_to, "To: \"unclosed <a@old>\r\n");
    check("To: a@old\r\nTo: b@old\r\n", poison_to, "To: a@old\r\nTo: b@old\r\n");
}

static void tag(struct header_edit *h) {
    assert_int_equal(header_edit_subject(h, S("[list]"), NULL), OK);
}
static void tag_utf8(struct header_edit *h) {
    assert_int_equal(header_edit_subject(h, S("[\xc3\xbc]"), NULL), OK);
}

static void test_subject(void **state) {
    (void)state;
    check("Subject: hello\r\n world\r\n", tag, "Subject: [list] hello\r\n world\r\n");
    check("Subject: Re: [List] hello\r\n", tag, "Subject: Re: [List] hello\r\n");
    check("Subject: =?utf-8?q?Re:_=5Blist=5D_x?=\r\n", tag, "Subject: =?utf-8?q?Re:_=5Blist=5D_x?=\r\n");
    check("Subject: =?utf-8?q?=C3=BC?=\r\n =?utf-8?q?x?=\r\n", tag,
          "Subject: [list] =?utf-8?q?=C3=BC?=\r\n =?utf-8?q?x?=\r\n");
    check("A: 1\r\n\r\n", tag, "A: 1\r\nSubject: [list]\r\n\r\n");
    check("Subject:\r\n folded\r\n", tag, "Subject: [list]\r\n folded\r\n");
    check("Subject:\r\n", tag, "Subject: [list]\r\n");
    check("Subject: =?utf-8?q?a?=\r\n", tag_utf8, "Subject: =?UTF-8?B?W8O8XSA=?= =?utf-8?q?a?=\r\n");
    check("Subject: a\r\n", tag_utf8, "Subject: =?UTF-8?B?W8O8XQ==?= a\r\n");
}

static void submit(struct header_edit *h) {
    struct header_edit_submission s = {
        .date = {.us = 0}, .message_id = S("id@mx.example.org"), .from = S("ann@example.org")};
    assert_int_equal(header_edit_submission(h, &s, NULL), OK);
}

static void test_submission(void **state) {
    (void)state;
    check("To: x@y\r\nBcc: z@y\r\nReturn-Path: <q@y>\r\nResent-Bcc: a@b\r\n\r\n", submit,
          "To: x@y\r\nDate: Thu, 01 Jan 1970 00:00:00 +0000\r\nMessage-ID: <id@mx.example.org>\r\n"
          "From: ann@example.org\r\n\r\n");
    check("Bcc: z@y\r\nodd\r\nFrom: a@b\r\nDate: now\r\nBcc: x@y\r\n\r\n", submit,
          "Message-ID: <id@mx.example.org>\r\nodd\r\nFrom: a@b\r\nDate: now\r\n\r\n");
    check("date: junk\r\nMessage-Id:\r\nFROM: a@b\r\n\r\n", submit, "date: junk\r\nMessage-Id:\r\nFROM: a@b\r\n\r\n");
}

static void test_memory(void **state) {
    (void)state;
    struct arena mem = ARENA(16);
    struct buf list = BUF(1 << 16), small = BUF(10);
    struct header_edit h;
    header_edit_begin(&h, S("Bcc: 1\r\n"), &mem);
    header_edit_remove(&h, S("Bcc"));
    assert_int_equal(header_edit_finish(&h, &list), ERR_NOMEM);
    arena_free(&mem);
    mem = ARENA(1 << 16);
    header_edit_begin(&h, S("Bcc: 1\r\n"), &mem);
    header_edit_remove(&h, S("Bcc"));
    assert_int_equal(header_edit_finish(&h, &small), ERR_FULL);
    assert_int_equal(small.n, 0);
    arena_free(&mem);
    buf_free(&list);
    buf_free(&small);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_remove),     cmocka_unit_test(test_add),
        cmocka_unit_test(test_set),        cmocka_unit_test(test_injection_is_refused),
        cmocka_unit_test(test_addresses),  cmocka_unit_test(test_subject),
        cmocka_unit_test(test_submission), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
