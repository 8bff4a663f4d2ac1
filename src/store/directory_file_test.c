/* The second copy of the directory: what was added is there again, whatever happened to the file's end. */
#include "store/directory_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/file_fault.h"

struct bench { /* a database in memory, and the file on a disk that fails when told to */
    struct fault_disk *disk;
    struct directory_file file;
    struct db *db;
};

static void open_new(struct bench *b) {
    struct why w;
    db_close(b->db);
    assert_int_equal(db_open(&b->db, ":memory:", DB_WRITE, &w), OK);
    directory_file_init(&b->file, fault_disk(b->disk), "/d");
}

static struct bench bench_new(void) {
    struct bench b = {.disk = fault_disk_new(7)};
    struct why w;
    assert_int_equal(disk_mkdir(fault_disk(b.disk), "/d", &w), OK);
    open_new(&b);
    return b;
}

static void bench_free(struct bench *b) {
    db_close(b->db);
    fault_disk_free(b->disk);
}

/* As the follower does it: the database first. */
static enum err change(struct bench *b, const char *key, const char *fields) {
    struct why w;
    uint64_t num = 0;
    struct buf changes = BUF(10000);
    assert_int_equal(db_begin(b->db, true, &w), OK);
    if (fields)
        assert_int_equal(db_entry_put(b->db, DIRECTORY_ACCOUNT, str_of(key), str_of(fields), 1, &num, &w), OK);
    else
        assert_int_equal(db_entry_delete(b->db, DIRECTORY_ACCOUNT, str_of(key), &w), OK);
    assert_int_equal(db_commit(b->db, &w), OK);
    directory_file_put(&changes, DIRECTORY_ACCOUNT, str_of(key), fields ? str_of(fields) : STR_NONE, num, !fields);
    enum err e = directory_file_add(&b->file, b->db, buf_str(&changes), &w);
    buf_free(&changes);
    return e;
}

static enum err tell_row(void *arg, const struct db_entry *entry) {
    buf_printf(arg, "%llu %d %.*s=%.*s\n", (unsigned long long)entry->num, entry->kind, STR_ARG(entry->key),
               STR_ARG(entry->fields));
    return OK;
}

static void assert_rows(struct bench *b, const char *expected) {
    struct buf out = BUF(10000);
    struct why w;
    assert_int_equal(db_entries(b->db, tell_row, &out, &w), OK);
    assert_string_equal(buf_cstr(&out), expected);
    buf_free(&out);
}

/* The database is lost; what comes back? */
static void assert_recalled(struct bench *b, const char *expected, uint64_t count) {
    struct why w;
    uint64_t rows = 0;
    open_new(b);
    assert_int_equal(directory_file_recall(&b->file, b->db, &rows, &w), OK);
    assert_int_equal(rows, count);
    assert_rows(b, expected);
}

static void what_was_added_comes_back(void **state) {
    (void)state;
    struct bench b = bench_new();
    assert_recalled(&b, "", 0);
    assert_int_equal(change(&b, "a@x", "name"), OK);
    assert_int_equal(change(&b, "b@x", "other"), OK);
    assert_int_equal(change(&b, "a@x", "changed"), OK);
    assert_int_equal(change(&b, "c@x", ""), OK);
    assert_int_equal(change(&b, "b@x", NULL), OK);
    assert_rows(&b, "1 2 a@x=changed\n4 2 c@x=\n");
    fault_power_cut(b.disk);
    assert_recalled(&b, "1 2 a@x=changed\n4 2 c@x=\n", 2);
    bench_free(&b);
}

static void the_database_goes_before(void **state) {
    (void)state;
    struct bench b = bench_new();
    struct why w;
    uint64_t rows = 7;
    assert_int_equal(change(&b, "a@x", "name"), OK);
    open_new(&b);
    uint64_t num;
    assert_int_equal(db_entry_put(b.db, DIRECTORY_ACCOUNT, S("b@x"), S(""), 1, &num, &w), OK);
    assert_int_equal(directory_file_recall(&b.file, b.db, &rows, &w), OK);
    assert_int_equal(rows, 0);
    assert_rows(&b, "1 2 b@x=\n");
    assert_int_equal(directory_file_make(&b.file, b.db, &w), OK);
    assert_recalled(&b, "1 2 b@x=\n", 1);
    bench_free(&b);
}

static void the_last_one_takes_the_file_with_it(void **state) {
    (void)state;
    struct bench b = bench_new();
    struct why w;
    assert_int_equal(change(&b, "a@x", "name"), OK);
    assert_int_equal(change(&b, "a@x", NULL), OK);
    assert_int_equal(directory_file_make(&b.file, b.db, &w), OK);
    assert_int_equal(b.file.size, 0);
    assert_int_equal(directory_file_make(&b.file, b.db, &w), OK);
    assert_recalled(&b, "", 0);
    bench_free(&b);
}

/* Any byte of a file that ends in its middle: what stands before it counts, the rest never was. */
static void a_torn_end_is_none(void **state) {
    (void)state;
    struct bench b = bench_new();
    struct why w;
    int fd;
    assert_int_equal(change(&b, "a@x", "name"), OK);
    uint64_t whole = b.file.size;
    assert_int_equal(change(&b, "b@x", "other"), OK);
    for (uint64_t end = b.file.size; end-- > whole;) {
        assert_int_equal(disk_open(fault_disk(b.disk), "/d/directory", O_RDWR, &fd, &w), OK);
        assert_int_equal(fault_disk(b.disk)->ops->truncate(fault_disk(b.disk), fd, end), 0);
        fault_disk(b.disk)->ops->close(fault_disk(b.disk), fd);
        assert_recalled(&b, "1 2 a@x=name\n", 1);
    }
    assert_true(fault_flip(b.disk, "/d/directory", whole - 1, 3));
    assert_recalled(&b, "", 0);
    bench_free(&b);
}

/* At each call that can fail: what was told to be there is, before and after a power cut. */
static void every_failing_call(void **state) {
    (void)state;
    static const enum fault_kind kinds[] = {FAULT_EIO, FAULT_ENOSPC, FAULT_SHORT, FAULT_POWER};
    for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
        for (uint64_t at = 1; at < 15; at++) {
            struct bench b = bench_new();
            fault_set(b.disk, kinds[k], at, 1);
            char expected[1000] = "", key[20];
            uint64_t count = 0;
            bool told = true;
            for (int i = 1; i <= 4 && told; i++) {
                snprintf(key, sizeof(key), "%d@x", i);
                told = change(&b, key, "f") == OK;
                if (told)
                    snprintf(expected + strlen(expected), 100, "%d 2 %s=f\n", i, key);
                count += told;
            }
            if (!told && kinds[k] != FAULT_POWER) { /* with the next one it is made anew */
                snprintf(expected + strlen(expected), 100, "%d 2 %s=f\n9 2 9@x=f\n", (int)count + 1, key);
                struct why w;
                assert_int_equal(db_entry_again(b.db, DIRECTORY_ACCOUNT, S("9@x"), S("f"), 1, 9, &w), OK);
                assert_int_equal(directory_file_add(&b.file, b.db, STR_NONE, &w), OK);
                count += 2;
                told = true;
            }
            fault_power_cut(b.disk);
            struct why w;
            uint64_t rows = 0;
            open_new(&b);
            assert_int_equal(directory_file_recall(&b.file, b.db, &rows, &w), OK);
            if (told)
                assert_rows(&b, expected);
            assert_true(rows == count || (!told && rows == count + 1)); /* the one that was not answered may be there */
            bench_free(&b);
        }
}

static void it_does_not_grow_for_ever(void **state) {
    (void)state;
    struct bench b = bench_new();
    char fields[1000];
    uint64_t most = 0;
    memset(fields, 'x', sizeof(fields) - 1);
    fields[sizeof(fields) - 1] = 0;
    for (int i = 0; i < 500; i++) {
        assert_int_equal(change(&b, "a@x", fields), OK);
        most = b.file.size > most ? b.file.size : most;
    }
    assert_true(most > 50000 && most < 100000);
    assert_int_equal(change(&b, "a@x", "name"), OK);
    assert_recalled(&b, "1 2 a@x=name\n", 1);
    bench_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_comes_back),
        cmocka_unit_test(the_database_goes_before),
        cmocka_unit_test(the_last_one_takes_the_file_with_it),
        cmocka_unit_test(a_torn_end_is_none),
        cmocka_unit_test(every_failing_call),
        cmocka_unit_test(it_does_not_grow_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
