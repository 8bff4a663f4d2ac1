#include "mime/edit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const str arrival = S_INIT("0123456789");

/* The view from `at` on. */
static void read_view(str list, uint64_t at, struct buf *out) {
    struct edit_piece p;
    while (edit_piece(list, arrival.n, at, &p)) {
        str bytes = p.put.n ? p.put : str_sub(arrival, (size_t)p.from, (size_t)p.n);
        buf_add(out, bytes);
        at += bytes.n;
    }
}

static void test_views(void **state) {
    (void)state;
    static const struct {
        struct {
            uint64_t offset, cut;
            const char *put;
        } edits[4];
        const char *view;
    } rows[] = {
        {{{0}}, "0123456789"},
        {{{0, 0, "ab"}}, "ab0123456789"},
        {{{10, 0, "ab"}}, "0123456789ab"},
        {{{0, 10, ""}}, ""},
        {{{0, 10, "ab"}}, "ab"},
        {{{3, 2, ""}, {5, 1, "x"}}, "012x6789"},
        {{{3, 0, "a"}, {3, 0, "b"}, {3, 1, "c"}}, "012abc456789"},
        {{{0, 1, "a"}, {9, 1, "z"}}, "a12345678z"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf list = BUF(1000);
        for (unsigned k = 0; k < 4 && rows[i].edits[k].put; k++)
            edit_put(&list, rows[i].edits[k].offset, rows[i].edits[k].cut, str_of(rows[i].edits[k].put));
        uint64_t size = 0;
        assert_int_equal(edit_check(buf_str(&list), arrival.n, &size), OK);
        assert_int_equal(size, strlen(rows[i].view));
        for (size_t at = 0; at <= size; at++) { /* from every offset */
            struct buf view = BUF(1000);
            read_view(buf_str(&list), at, &view);
            assert_string_equal(buf_cstr(&view), rows[i].view + at);
            buf_free(&view);
        }
        struct edit_piece p;
        assert_false(edit_piece(buf_str(&list), arrival.n, size + 1, &p));
        buf_free(&list);
    }
}

static void test_wrong_lists(void **state) {
    (void)state;
    static const struct {
        uint64_t first_offset, first_cut, second_offset, second_cut;
    } rows[] = {
        {11, 0, 11, 0},        /* behind the end */
        {5, 6, 11, 0},         /* cuts more than there is */
        {5, 2, 6, 0},          /* overlap */
        {5, 0, 4, 0},          /* out of order */
        {5, UINT64_MAX, 5, 0}, /* an end that wraps around */
        {UINT64_MAX, 1, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf list = BUF(1000);
        uint64_t size;
        edit_put(&list, rows[i].first_offset, rows[i].first_cut, S("a"));
        edit_put(&list, rows[i].second_offset, rows[i].second_cut, S("b"));
        assert_int_equal(edit_check(buf_str(&list), arrival.n, &size), ERR_CORRUPT);
        buf_free(&list);
    }
    struct buf list = BUF(1000);
    uint64_t size;
    edit_put(&list, 1, 1, S("ab"));
    for (size_t n = 1; n < list.n; n++) /* a torn one */
        assert_int_equal(edit_check(str_head(buf_str(&list), n), arrival.n, &size), ERR_CORRUPT);
    assert_int_equal(edit_check(buf_str(&list), UINT64_MAX, &size), ERR_CORRUPT); /* no size for such a view */
    buf_free(&list);
}

static void test_a_full_list_has_whole_edits(void **state) {
    (void)state;
    struct buf list = BUF(60);
    uint64_t size;
    edit_put(&list, 1, 1, S("abc"));
    edit_put(&list, 3, 1, S("a value that is longer than the room there is"));
    assert_true(list.full);
    assert_int_equal(edit_check(buf_str(&list), arrival.n, &size), OK);
    assert_int_equal(size, 12);
    buf_free(&list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_wrong_lists),
        cmocka_unit_test(test_a_full_list_has_whole_edits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
