/* The directory as its peers see it: lookups at once, changes when they are on stable storage, and found again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <ftw.h>
#include <poll.h>
#include <unistd.h>

#include "base/fields.h"
#include "role/store_core.h"
#include "store/directory_db.h"
#include "sys/link.h"

struct peer {
    struct core_link *link;
    struct buf got; /* frames */
};

static struct {
    char dir[200];
    struct store *store;
    struct store_core *core;
    struct store_directory *directory;
    struct peer smtpd, reader;
    uint64_t now_ms;
} bench;

static void on_send(void *peer, const struct frame *f) {
    frame_put(&((struct peer *)peer)->got, f);
}
static size_t on_queued(void *peer) {
    (void)peer;
    return 0;
}
static void on_pause(void *peer, bool on) {
    (void)peer, (void)on;
}
static void on_soon(void *arg) {
    (void)arg;
}
static uint64_t on_now(void *arg) {
    (void)arg;
    return bench.now_ms;
}

static enum err configure(const char *text) {
    struct conf c;
    struct conf_errors errors = {0};
    struct why w;
    assert_int_equal(conf_parse(str_of(text), "test", &c, &errors), OK);
    enum err e = store_directory_configure(bench.directory, &c, &w);
    conf_errors_free(&errors);
    conf_free(&c);
    return e;
}

static void start(void) {
    static const struct store_core_ops ops = {
        .send = on_send, .queued = on_queued, .pause = on_pause, .soon = on_soon, .now_ms = on_now};
    struct why w = {{0}};
    struct store_options o = {.data = bench.dir,
                              .disk = disk_system(),
                              .segment_size = 1024 * 1024,
                              .big_min = 100 * 1024,
                              .memory_budget = 8 * 1024 * 1024,
                              .lag_max = 1000,
                              .message_max = 1024 * 1024,
                              .disk_reserve = 1,
                              .random_seed = 42};
    bench.core = store_core_new(&ops, NULL);
    bench.directory = store_core_directory(bench.core, 7);
    assert_non_null(bench.directory);
    o.directory = store_directory_entries(bench.directory);
    if (store_open(&bench.store, &o, store_core_store_ops(), bench.core, &w) != OK)
        fail_msg("%s", w.text);
    store_core_attach(bench.core, bench.store);
    store_directory_attach(bench.directory, bench.store);
    assert_int_equal(configure("account_messages_hour 5\ndomain file.example {\n}\naccount ada@file.example {\n"
                               " password \"$y$file\"\n}\n"),
                     OK);
    bench.smtpd.got = bench.reader.got = BUF(16 * 1024 * 1024);
    bench.smtpd.link = store_core_link(bench.core, &bench.smtpd, true);
    bench.reader.link = store_core_link(bench.core, &bench.reader, false);
    assert_true(bench.smtpd.link && bench.reader.link);
    buf_reset(&bench.smtpd.got);
}

static void stop(void) {
    store_core_unlink(bench.smtpd.link);
    if (bench.reader.link)
        store_core_unlink(bench.reader.link);
    buf_free(&bench.smtpd.got);
    buf_free(&bench.reader.got);
    store_close(bench.store);
    store_core_free(bench.core);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static int set_up(void **state) {
    (void)state;
    bench.now_ms = 1000000000;
    snprintf(bench.dir, sizeof(bench.dir), "%s/penfold-directory-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(bench.dir));
    start();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    stop();
    return nftw(bench.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static unsigned count_of(struct peer *p, enum frame_type type, struct frame *last) {
    struct frame f;
    unsigned n = 0;
    for (str s = buf_str(&p->got); s.n && frame_take(&s, &f) == OK;)
        if (f.type == type) {
            n++;
            if (last)
                *last = f;
        }
    return n;
}

static void turn(void) {
    struct pollfd p = {store_fd(bench.store), POLLIN, 0};
    store_commit(bench.store);
    if (poll(&p, 1, 10) > 0)
        store_news(bench.store);
    store_moment(bench.store);
}

/* What it comes to in the end: DONE, or why not. */
static enum err ended(struct peer *p) {
    struct frame f = {0};
    for (int i = 0; i < 1000 && !count_of(p, FRAME_DONE, NULL) && !count_of(p, FRAME_FAILED, NULL); i++)
        turn();
    if (count_of(p, FRAME_DONE, NULL))
        return OK;
    assert_int_equal(count_of(p, FRAME_FAILED, &f), 1);
    assert_true(f.failed.text.n > 0);
    return (enum err)f.failed.err;
}

static void give(struct peer *p, struct frame f) {
    assert_true(store_core_frame(p->link, &f));
}

static void give_put(uint8_t kind, const char *key, const char *name, const char *value, uint8_t how) {
    struct buf fields = BUF(2000);
    if (name)
        fields_put(&fields, str_of(name), str_of(value));
    struct frame f = {.type = FRAME_ENTRY_PUT};
    f.entry_put = (struct frame_entry_put){1, kind, str_of(key), buf_str(&fields), how};
    give(&bench.reader, f);
    buf_free(&fields);
}

static enum err put(uint8_t kind, const char *key, const char *name, const char *value, uint8_t how) {
    buf_reset(&bench.reader.got);
    give_put(kind, key, name, value, how);
    return ended(&bench.reader);
}

static enum err gone(uint8_t kind, const char *key) {
    buf_reset(&bench.reader.got);
    give(&bench.reader, (struct frame){.type = FRAME_ENTRY_DELETE, .entry_delete = {1, kind, str_of(key)}});
    return ended(&bench.reader);
}

static enum directory_status look(const char *address) {
    struct frame f = {0};
    struct arena a = ARENA(100000);
    struct directory_answer answer;
    buf_reset(&bench.smtpd.got);
    give(&bench.smtpd, (struct frame){.type = FRAME_LOOKUP, .lookup = {9, str_of(address), STR_NONE}});
    assert_int_equal(count_of(&bench.smtpd, FRAME_LOOKED_UP, &f), 1);
    assert_int_equal(f.looked_up.tag, 9);
    assert_int_equal(directory_answer_take(f.looked_up.answer, &a, &answer), OK);
    enum directory_status status = answer.status;
    arena_free(&a);
    return status;
}

static void test_changes(void **state) {
    (void)state;
    assert_int_equal(look("ada@example.org"), DIRECTORY_NOT_LOCAL);
    assert_int_equal(put(DIRECTORY_ACCOUNT, "ada@example.org", NULL, NULL, 0), ERR_NOT_FOUND); /* its domain */
    assert_int_equal(put(DIRECTORY_DOMAIN, "Example.org", NULL, NULL, 1), OK);
    assert_int_equal(look("ada@example.org"), DIRECTORY_UNKNOWN);
    assert_int_equal(put(DIRECTORY_ACCOUNT, "Ada@example.org", "name", "Ada", 1), OK);
    assert_int_equal(look("ada@example.org"), DIRECTORY_IS_ACCOUNT);
    assert_int_equal(put(DIRECTORY_ACCOUNT, "ada@example.org", "name", "Ada", 1), ERR_EXISTS);
    assert_int_equal(put(DIRECTORY_ACCOUNT, "bob@example.org", "name", "Bob", 2), ERR_NOT_FOUND);
    assert_int_equal(put(DIRECTORY_ALIAS, "team@example.org", "to", "ada@example.org x@y.example", 0), OK);
    assert_int_equal(look("team@example.org"), DIRECTORY_IS_ALIAS);
    assert_int_equal(put(DIRECTORY_ACCOUNT, "ada@file.example", "name", "Ada", 0), ERR_DENIED);
    assert_int_equal(gone(DIRECTORY_ACCOUNT, "ada@file.example"), ERR_DENIED);
    assert_int_equal(gone(DIRECTORY_DOMAIN, "example.org"), ERR_EXISTS);
    assert_int_equal(gone(DIRECTORY_ALIAS, "TEAM@example.org"), OK);
    assert_int_equal(look("team@example.org"), DIRECTORY_UNKNOWN);
    assert_int_equal(gone(DIRECTORY_ALIAS, "team@example.org"), ERR_NOT_FOUND);
    assert_int_equal(put(77, "x", NULL, NULL, 0), ERR_SYNTAX);
    stop(); /* and they are there again */
    start();
    assert_int_equal(look("ada@example.org"), DIRECTORY_IS_ACCOUNT);
    assert_int_equal(look("team@example.org"), DIRECTORY_UNKNOWN);
}

static void test_news(void **state) {
    (void)state;
    static const char *const token = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    assert_int_equal(put(DIRECTORY_DOMAIN, "example.org", NULL, NULL, 1), OK);
    assert_int_equal(count_of(&bench.smtpd, FRAME_DIRECTORY_CHANGED, NULL), 1);
    assert_int_equal(put(DIRECTORY_ACCOUNT, "ada@example.com", NULL, NULL, 0), ERR_NOT_FOUND);
    assert_int_equal(put(DIRECTORY_TOKEN, token, "role", "admin", 0), OK); /* not smtpd's affair */
    assert_int_equal(count_of(&bench.smtpd, FRAME_DIRECTORY_CHANGED, NULL), 1);
    assert_int_equal(configure("domain new.example {\n}\n"), OK);
    assert_int_equal(count_of(&bench.smtpd, FRAME_DIRECTORY_CHANGED, NULL), 2);
    assert_int_equal(look("ada@new.example"), DIRECTORY_UNKNOWN);
    assert_int_equal(look("ada@example.org"), DIRECTORY_UNKNOWN);
    assert_int_equal(configure("domain other.example {\n}\naccount a@missing.example {\n}\n"), ERR_NOT_FOUND);
    assert_int_equal(look("ada@new.example"), DIRECTORY_UNKNOWN); /* what was stays */
}

/* Changes that come without waiting for each other are done in their order, also those of one entry. */
static void test_in_order(void **state) {
    (void)state;
    struct directory_entry e;
    buf_reset(&bench.reader.got);
    give_put(DIRECTORY_DOMAIN, "example.org", NULL, NULL, 0);
    give_put(DIRECTORY_ACCOUNT, "ada@example.org", "name", "Ada", 1);
    give_put(DIRECTORY_ACCOUNT, "ada@example.org", "quota", "1GiB", 2);
    give_put(DIRECTORY_ACCOUNT, "ada@example.org", "name", "", 2);
    give_put(DIRECTORY_ACCOUNT, "bob@example.org", NULL, NULL, 1);
    for (int i = 0; i < 1000 && count_of(&bench.reader, FRAME_DONE, NULL) < 5; i++)
        turn();
    assert_int_equal(count_of(&bench.reader, FRAME_DONE, NULL), 5);
    assert_true(directory_get(store_directory_entries(bench.directory), DIRECTORY_ACCOUNT, S("ada@example.org"), &e));
    assert_true(str_eq(fields_get(e.fields, S("quota")), S("1GiB")));
    assert_int_equal(fields_get(e.fields, S("name")).n, 0);
    assert_true(e.num > 0);
}

/* Who asked has gone: it is done all the same. */
static void test_asker_gone(void **state) {
    (void)state;
    give_put(DIRECTORY_DOMAIN, "example.org", NULL, NULL, 0);
    give_put(DIRECTORY_ACCOUNT, "ada@example.org", NULL, NULL, 0);
    store_core_unlink(bench.reader.link);
    bench.reader.link = NULL;
    for (int i = 0; i < 1000 && look("ada@example.org") != DIRECTORY_IS_ACCOUNT; i++)
        turn();
    assert_int_equal(look("ada@example.org"), DIRECTORY_IS_ACCOUNT);
}

static void test_list(void **state) {
    (void)state;
    struct frame f = {0};
    assert_int_equal(put(DIRECTORY_DOMAIN, "example.org", NULL, NULL, 0), OK);
    assert_int_equal(put(DIRECTORY_ACCOUNT, "bob@example.org", "password", "$y$secret", 0), OK);
    buf_reset(&bench.reader.got);
    struct frame list = {.type = FRAME_ENTRY_LIST};
    list.entry_list = (struct frame_entry_list){3, DIRECTORY_ACCOUNT, STR_NONE, STR_NONE, 0};
    give(&bench.reader, list);
    assert_int_equal(count_of(&bench.reader, FRAME_ENTRY, &f), 2);
    assert_true(str_eq(f.entry.key, S("bob@example.org")));
    assert_true(str_eq(fields_get(f.entry.fields, S("password")), S("set")));
    assert_int_equal(fields_get(f.entry.fields, S("configured")).n, 0);
    assert_int_equal(count_of(&bench.reader, FRAME_DONE, &f), 1);
    assert_int_equal(f.done.count, 2);
    buf_reset(&bench.reader.got);
    list.entry_list.limit = 1;
    give(&bench.reader, list);
    assert_int_equal(count_of(&bench.reader, FRAME_ENTRY, &f), 1);
    assert_true(str_eq(f.entry.key, S("ada@file.example")));
    assert_true(str_eq(fields_get(f.entry.fields, S("configured")), S("yes")));
    buf_reset(&bench.reader.got);
    give(&bench.reader,
         (struct frame){.type = FRAME_ENTRY_GET, .entry_get = {4, DIRECTORY_ACCOUNT, S("who@example.org")}});
    assert_int_equal(ended(&bench.reader), ERR_NOT_FOUND);
}

static enum err credential(const char *user, struct frame *f) {
    buf_reset(&bench.reader.got);
    give(&bench.reader, (struct frame){.type = FRAME_CREDENTIAL_ASK, .credential_ask = {5, str_of(user)}});
    assert_int_equal(count_of(&bench.reader, FRAME_CREDENTIAL, f), 1);
    return (enum err)f->credential.err;
}

static void test_credentials(void **state) {
    (void)state;
    struct frame f = {0};
    assert_int_equal(credential("ada", &f), OK); /* in the first domain */
    assert_true(str_eq(f.credential.account, S("ada@file.example")));
    assert_true(str_eq(f.credential.credential, S("$y$file")));
    assert_int_equal(put(DIRECTORY_DOMAIN, "example.org", NULL, NULL, 0), OK);
    assert_int_equal(put(DIRECTORY_ACCOUNT, "bob@example.org", "app.phone", "$y$phone", 0), OK);
    assert_int_equal(put(DIRECTORY_ACCOUNT, "bob@example.org", "password", "$y$main", 0), OK);
    assert_int_equal(credential("BOB@example.org", &f), OK);
    assert_true(str_eq(f.credential.credential, S("$y$main\n$y$phone")));
    assert_int_equal(put(DIRECTORY_ACCOUNT, "none@example.org", NULL, NULL, 0), OK);
    assert_int_equal(credential("none@example.org", &f), ERR_NOT_FOUND);
    assert_int_equal(credential("who@example.org", &f), ERR_NOT_FOUND);
}

static enum err take(const char *account, struct frame *f) {
    buf_reset(&bench.smtpd.got);
    give(&bench.smtpd, (struct frame){.type = FRAME_LIMIT_TAKE, .limit_take = {6, str_of(account), 1, 3}});
    assert_int_equal(count_of(&bench.smtpd, FRAME_LIMIT_TAKEN, f), 1);
    return (enum err)f->limit_taken.err;
}

static void test_limits(void **state) {
    (void)state;
    struct frame f = {0};
    for (int i = 0; i < 5; i++)
        assert_int_equal(take("ada@file.example", &f), OK);
    assert_int_equal(take("ada@file.example", &f), ERR_LIMIT);
    assert_true(str_find_str(f.limit_taken.text, S("5 messages in an hour")) != SIZE_MAX);
    bench.now_ms += 2 * 3600 * 1000;
    assert_int_equal(take("ada@file.example", &f), OK);
    assert_int_equal(take("who@file.example", &f), ERR_DENIED);
}

/* ---- without a server ---- */

static void lose_database(void) {
    static const char *const ends[] = {"", "-wal", "-shm"};
    char path[300];
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/penfold.db%s", bench.dir, ends[i]);
        (void)unlink(path);
    }
}

static void test_offline(void **state) {
    (void)state;
    struct directory_db *o;
    struct why w;
    struct directory_entry e;
    struct buf fields = BUF(1000);
    assert_int_equal(directory_db_open(&o, bench.dir, &w), ERR_EXISTS);
    struct directory *copy = directory_new(1);
    assert_int_equal(directory_db_read(copy, bench.dir, &w), OK); /* that may be */
    stop();
    assert_int_equal(directory_db_open(&o, bench.dir, &w), OK);
    assert_int_equal(directory_db_put(o, DIRECTORY_DOMAIN, S("off.example"), STR_NONE, 1, &w), OK);
    fields_put(&fields, S("name"), S("Off"));
    assert_int_equal(directory_db_put(o, DIRECTORY_ACCOUNT, S("a@off.example"), buf_str(&fields), 1, &w), OK);
    assert_int_equal(directory_db_put(o, DIRECTORY_ACCOUNT, S("a@off.example"), buf_str(&fields), 1, &w), ERR_EXISTS);
    assert_int_equal(directory_db_remove(o, DIRECTORY_DOMAIN, S("off.example"), &w), ERR_EXISTS);
    assert_int_equal(directory_db_put(o, DIRECTORY_ACCOUNT, S("b@off.example"), STR_NONE, 0, &w), OK);
    assert_int_equal(directory_db_remove(o, DIRECTORY_ACCOUNT, S("b@off.example"), &w), OK);
    assert_true(directory_get(directory_db_directory(o), DIRECTORY_ACCOUNT, S("a@off.example"), &e));
    assert_int_equal(directory_db_read(copy, bench.dir, &w), OK);
    assert_true(directory_get(copy, DIRECTORY_ACCOUNT, S("a@off.example"), &e));
    assert_int_equal(directory_db_read(copy, "/nonexistent/penfold", &w), ERR_NOT_FOUND);
    directory_free(copy);
    directory_db_close(o);
    buf_free(&fields);
    assert_int_equal(directory_db_open(&o, "/nonexistent/penfold", &w), ERR_NOT_FOUND);
    lose_database(); /* what was changed here is in the other file too */
    assert_int_equal(directory_db_open(&o, bench.dir, &w), OK);
    assert_true(directory_get(directory_db_directory(o), DIRECTORY_ACCOUNT, S("a@off.example"), &e));
    assert_false(directory_get(directory_db_directory(o), DIRECTORY_ACCOUNT, S("b@off.example"), &e));
    directory_db_close(o);
    start();
    assert_int_equal(look("a@off.example"), DIRECTORY_IS_ACCOUNT);
    assert_int_equal(look("b@off.example"), DIRECTORY_UNKNOWN);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_changes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_news, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_asker_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_list, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_credentials, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_limits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_offline, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
