#include "mime/folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_names(void **state) {
    (void)state;
    static const struct {
        const char *name;
        bool valid;
    } rows[] = {
        {"INBOX", true},  {"Archive/2026", true}, {"Entw\xc3\xbcrfe & mehr", true},
        {"../etc", true}, /* dots are letters; who makes paths of names codes them */
        {"", false},      {"/", false},           {"/a", false},
        {"a/", false},    {"a//b", false},        {"a\nb", false},
        {"\xff", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(folder_name_valid(str_of(rows[i].name)), rows[i].valid);
    char longest[FOLDER_NAME_MAX + 1];
    memset(longest, 'x', sizeof longest);
    assert_true(folder_name_valid(str_n(longest, FOLDER_NAME_MAX)));
    assert_false(folder_name_valid(str_n(longest, FOLDER_NAME_MAX + 1)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
