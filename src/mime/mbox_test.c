#include "mime/mbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mime/maildir.h"

static const struct date noon = {.us = INT64_C(1764072000000000)};

static void test_read(void **state) {
    (void)state;
    struct mbox_iter it = {
        S("junk\nFrom ann@x.org Tue Nov 25 12:00:00 2025\nA: 1\n\nFrom here on\n>From x\n>>From y\n\n"
          "From me to you\n\nFrom - Tue Nov 25 12:00:01 2025\r\nB: 2\r\n\r\nlast")};
    struct mbox_message m;
    struct buf out = BUF(1000);
    assert_true(mbox_next(&it, &m));
    assert_true(str_eq(m.sender, S("ann@x.org")) && m.date.us == noon.us && !m.counted);
    mbox_unquote(m.raw, MBOX_QUOTES_RD, &out);
    assert_string_equal(buf_cstr(&out), "A: 1\r\n\r\nFrom here on\r\nFrom x\r\n>From y\r\n\r\nFrom me to you\r\n");
    buf_reset(&out);
    mbox_unquote(m.raw, MBOX_QUOTES_O, &out);
    assert_string_equal(buf_cstr(&out), "A: 1\r\n\r\nFrom here on\r\nFrom x\r\n>>From y\r\n\r\nFrom me to you\r\n");
    assert_true(mbox_next(&it, &m) && str_eq(m.sender, S("-")) && str_eq(m.raw, S("B: 2\r\n\r\nlast")));
    assert_false(mbox_next(&it, &m));
    buf_free(&out);
}

static void test_content_length(void **state) {
    (void)state;
    str right = S("From a Tue Nov 25 12:00:00 2025\nContent-Length: 37\n\nx\n\nFrom b Tue Nov 25 12:00:00 2025\ny\n\n"
                  "From c Tue Nov 25 12:00:00 2025\n\nz\n");
    str wrong = S("From a Tue Nov 25 12:00:00 2025\nContent-Length: 30\n\nx\n\nFrom b Tue Nov 25 12:00:00 2025\n\ny\n");
    struct mbox_iter it = {right};
    struct mbox_message m;
    assert_true(mbox_next(&it, &m) && m.counted && str_ends(m.raw, S("\ny\n")));
    assert_true(mbox_next(&it, &m) && str_eq(m.sender, S("c")) && str_eq(m.raw, S("\nz\n")));
    assert_false(mbox_next(&it, &m));
    it = (struct mbox_iter){wrong};
    assert_true(mbox_next(&it, &m) && !m.counted && str_ends(m.raw, S("\n\nx\n")));
    assert_true(mbox_next(&it, &m) && str_eq(m.sender, S("b")));
}

static void write_message(str message, size_t step, struct buf *out) {
    struct mbox_writer w;
    mbox_write_begin(&w, S("ann b@x"), noon, MAILDIR_SEEN | MAILDIR_FLAGGED, out);
    for (; message.n; message = str_tail(message, step))
        mbox_write_put(&w, str_head(message, step), out);
    mbox_write_end(&w, out);
}

static void test_write(void **state) {
    (void)state;
    for (size_t step = 1; step < 40; step++) {
        struct buf out = BUF(1000);
        write_message(S("A: 1\r\n\r\nFrom x\r\n>From y\r\n>>Fro\r\n>\r\nF\ra From"), step, &out);
        assert_string_equal(buf_cstr(&out), "From ann-b@x Tue Nov 25 12:00:00 2025\nStatus: RO\nX-Status: F\n"
                                            "A: 1\n\n>From x\n>>From y\n>>Fro\n>\nF\ra From\n\n");
        buf_free(&out);
    }
}

static void read_one(str file, struct mbox_message *m, struct buf *out) {
    struct mbox_iter it = {file};
    buf_reset(out);
    assert_true(mbox_next(&it, m));
    mbox_message_put(m, out);
}

/* A stranger's fields are his message's; those of a mailbox are not part of it. */
static void test_fields_of_mailboxes(void **state) {
    (void)state;
    static const str own[] = {
        S_INIT("Status: O\r\nX-Status: FD\r\nA: 1\r\n\r\n>From x\r\nFrom y\r\n"),
        S_INIT("X-Status: D\r\n\r\n"),
        S_INIT("Content-Length: 4\r\n\r\n>From\r\n"),
        S_INIT("\r\nno header\r\n\r\n\r\n"),
        S_INIT("From here, no header\r\n"),
        S_INIT("a\r\rb\r\n\r\n\r\n\r\n"),
    };
    struct buf file = BUF(1000), out = BUF(1000);
    struct mbox_message m;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        buf_reset(&file);
        write_message(own[i], 7, &file);
        write_message(S("other\r\n"), 7, &file);
        read_one(buf_str(&file), &m, &out);
        assert_true(m.ours && m.flags == (MAILDIR_SEEN | MAILDIR_FLAGGED));
        assert_string_equal(buf_cstr(&out), own[i].p);
    }
    read_one(S("From a Tue Nov 25 12:00:00 2025\nA: 1\n 2\nX-Status: A\nStatus: RO\nB: 3\n\nStatus: x\n>From z\n\n"),
             &m, &out);
    assert_true(!m.ours && m.flags == (MAILDIR_SEEN | MAILDIR_ANSWERED));
    assert_string_equal(buf_cstr(&out), "A: 1\r\n 2\r\nB: 3\r\n\r\nStatus: x\r\nFrom z\r\n");
    read_one(S("From a Tue Nov 25 12:00:00 2025\nContent-Length: 8\n\n>From z\n\n"), &m, &out);
    assert_string_equal(buf_cstr(&out), "Content-Length: 8\r\n\r\n>From z\r\n");
    buf_free(&file);
    buf_free(&out);
}

static void test_flags(void **state) {
    (void)state;
    assert_int_equal(mbox_flags(S("Status: RO\nX-Status: AD\n")), MAILDIR_SEEN | MAILDIR_ANSWERED | MAILDIR_DELETED);
    assert_int_equal(mbox_flags(S("Status: O\n")), 0);
    assert_int_equal(mbox_flags(STR_NONE), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),  cmocka_unit_test(test_content_length),
        cmocka_unit_test(test_write), cmocka_unit_test(test_fields_of_mailboxes),
        cmocka_unit_test(test_flags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
