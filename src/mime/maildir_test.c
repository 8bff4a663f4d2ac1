#include "mime/maildir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mime/mutf7.h"

static void test_names(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t time_s, size;
        unsigned flags;
    } rows[] = {
        {"1764072000.M1P2Q3.host,S=123:2,FS", 1764072000, 123, MAILDIR_FLAGGED | MAILDIR_SEEN},
        {"1764072000.x.h", 1764072000, 0, 0},
        {"1764072000.x.h:2,", 1764072000, 0, 0},
        {"1764072000.x.h!2,DPRTab", 1764072000, 0, MAILDIR_DRAFT | MAILDIR_PASSED | MAILDIR_ANSWERED | MAILDIR_DELETED},
        {"odd,S=x;2,S", 0, 0, MAILDIR_SEEN},
        {"99999999999999999999999.x", 0, 0, 0},
    };
    struct maildir_name n;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_true(maildir_name_read(str_of(rows[i].name), &n));
        assert_int_equal(n.time_s, rows[i].time_s);
        assert_int_equal(n.size, rows[i].size);
        assert_int_equal(n.flags, rows[i].flags);
    }
    assert_false(maildir_name_read(S(".hidden"), &n) || maildir_name_read(STR_NONE, &n));
    struct buf out = BUF(200);
    n = (struct maildir_name){.time_s = 5, .size = 7, .flags = MAILDIR_SEEN | MAILDIR_DRAFT};
    maildir_name_put(&n, S("U1"), S("a/b:c"), &out);
    assert_string_equal(buf_cstr(&out), "5.U1.a\\057b\\072c,S=7:2,DS");
    buf_free(&out);
}

static void test_folders(void **state) {
    (void)state;
    static const struct {
        const char *folder, *directory;
    } rows[] = {
        {"", ""},
        {"Sent", ".Sent"},
        {"Sent/2024", ".Sent.2024"},
        {"Entw\xc3\xbcrfe & mehr", ".Entw&APw-rfe &- mehr"},
        {"\xf0\x9f\x98\x80", ".&2D3eAA-"},
        {"../etc/a.b", ".&AC4-&AC4-.etc.a&AC4-b"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf there = BUF(300), back = BUF(300);
        assert_true(maildir_folder_put(str_of(rows[i].folder), &there));
        assert_string_equal(buf_cstr(&there), rows[i].directory);
        assert_true(maildir_folder_read(buf_str(&there), &back));
        assert_string_equal(buf_cstr(&back), rows[i].folder);
        buf_free(&there);
        buf_free(&back);
    }
    static const char *const no_folders[] = {"/", "a//b", "a/", "a\nb", "\xff"};
    static const char *const no_directories[] = {"cur", ".", "..", ".a..b", ".&", ".&x", ".&AC8-", ".a\nb", ".\xff"};
    struct buf out = BUF(300);
    for (size_t i = 0; i < sizeof no_folders / sizeof *no_folders; i++)
        assert_false(maildir_folder_put(str_of(no_folders[i]), &out));
    for (size_t i = 0; i < sizeof no_directories / sizeof *no_directories; i++)
        assert_false(maildir_folder_read(str_of(no_directories[i]), &out));
    assert_int_equal(out.n, 0);
    assert_true(maildir_folder_put(S("inbox"), &out) && out.n == 0);
    assert_true(maildir_folder_read(S(".Gr\xc3\xbcn"), &out));
    buf_free(&out);
}

static void test_messages(void **state) {
    (void)state;
    static const struct {
        const char *message, *file;
    } rows[] = {
        {"A: 1\r\n\r\nx\r\n", "A: 1\n\nx\n"},
        {"A: 1\r\n\r\nlast", "A: 1\n\nlast"},
        {"x", "x"},
        {"", ""},
        {"A: 1\r\n\r\nx\n", "A: 1\r\n\r\nx\n"},
        {"A\r\nx\ry\r\n", "A\r\nx\ry\r\n"},
        {"A\r\nx\r\r\n", "A\r\nx\r\r\n"},
        {"A\r\nx\r", "A\r\nx\r"},
    };
    struct buf file = BUF(100), back = BUF(100);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_reset(&file);
        buf_reset(&back);
        maildir_message_put(str_of(rows[i].message), &file);
        assert_string_equal(buf_cstr(&file), rows[i].file);
        maildir_message_read(buf_str(&file), &back);
        assert_string_equal(buf_cstr(&back), rows[i].message);
    }
    buf_reset(&back);
    maildir_message_read(S("mixed\n\r\nas many are\r\n"), &back);
    assert_string_equal(buf_cstr(&back), "mixed\r\n\r\nas many are\r\n");
    buf_free(&file);
    buf_free(&back);
}

static void test_mutf7(void **state) {
    (void)state;
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"~peter/mail/&U,BTFw-/&ZeVnLIqe-",
         "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"}, /* RFC 3501 */
        {"&-", "&"},
        {"&2D0-", NULL}, /* half a pair */
        {"&3gA-", NULL},
        {"&AAA-", NULL},
        {"&APx-", NULL}, /* bits that mean nothing */
        {"&A-", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf out = BUF(300), back = BUF(300);
        assert_int_equal(mutf7_decode(str_of(rows[i].in), &out), rows[i].out != NULL);
        if (rows[i].out) {
            assert_string_equal(buf_cstr(&out), rows[i].out);
            assert_true(mutf7_encode(buf_str(&out), &back));
            assert_string_equal(buf_cstr(&back), rows[i].in);
        }
        buf_free(&out);
        buf_free(&back);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_mutf7),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
