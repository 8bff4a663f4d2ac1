/* The journal's promise, on a disk that fails: what was committed is there after any crash, what was not is not. */
#include "store/journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <ftw.h>

#include "store/file_fault.h"

enum { SEGMENT = 64 * 1024, RECORDS = 4000, BODY = 3000 };

/* What a run wrote, and what the journal said of it. */
struct model {
    struct fault_disk *f;
    struct journal *j;
    uint64_t seq[RECORDS];
    struct journal_place place[RECORDS];
    uint32_t seed[RECORDS], size[RECORDS];
    bool acknowledged[RECORDS], refused[RECORDS];
    unsigned found[RECORDS];
    size_t count;
    bool ghost; /* a record that nobody gave */
};

static void fill(char *p, uint32_t seed, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        seed = seed * 1664525 + 1013904223;
        p[i] = (char)(seed >> 24);
    }
}

static enum err found_one(void *arg, const struct journal_record *r, struct why *w) {
    struct model *m = arg;
    char expected[BODY];
    (void)w;
    if (r->type == JOURNAL_START)
        return OK;
    for (size_t i = 0; i < m->count; i++)
        if (m->seq[i] == r->place.seq && m->size[i] == r->body.n) {
            fill(expected, m->seed[i], m->size[i]);
            if (!memcmp(expected, r->body.p, r->body.n)) {
                m->found[i]++;
                return OK;
            }
        }
    m->ghost = true;
    return OK;
}

static enum err open_model(struct model *m, struct journal_position from, struct why *w) {
    struct journal_recovery found;
    memset(m->found, 0, sizeof(m->found));
    m->ghost = false;
    m->j = NULL;
    return journal_open(&m->j, fault_disk(m->f), "/j", SEGMENT, fault_random(m->f), from, found_one, m, &found, w);
}

/* One group of up to 8 records; each is acknowledged, refused, or (when the machine stops) neither. */
static enum err write_group(struct model *m, bool power) {
    static char bodies[8][BODY];
    size_t n = 1 + fault_random(m->f) % 8, first = m->count;
    struct why w;
    enum err e = OK;
    for (size_t k = 0; k < n && m->count < RECORDS; k++) {
        size_t i = m->count;
        m->seed[i] = (uint32_t)fault_random(m->f);
        m->size[i] = (uint32_t)(fault_random(m->f) % BODY);
        fill(bodies[k], m->seed[i], m->size[i]);
        struct iovec part = {bodies[k], m->size[i]};
        e = journal_add(m->j, JOURNAL_ACCEPTED, &part, 1, &m->place[i], &w);
        if (e)
            break;
        m->seq[i] = m->place[i].seq;
        m->acknowledged[i] = m->refused[i] = false;
        m->count++;
    }
    if (e && e != ERR_MORE && m->count == first)
        return e;
    e = journal_commit(m->j, &w);
    for (size_t i = first; i < m->count; i++) {
        m->acknowledged[i] = e == OK;
        m->refused[i] = e != OK && !power;
    }
    return e;
}

static void assert_kept(struct model *m) {
    assert_false(m->ghost);
    for (size_t i = 0; i < m->count; i++) {
        if (m->acknowledged[i])
            assert_int_equal(m->found[i], 1);
        if (m->refused[i])
            assert_int_equal(m->found[i], 0);
        assert_true(m->found[i] <= 1);
    }
}

static struct model *model_new(uint64_t seed) {
    struct model *m = calloc(1, sizeof(*m));
    struct why w;
    m->f = fault_disk_new(seed);
    assert_int_equal(disk_mkdir(fault_disk(m->f), "/j", &w), OK);
    assert_int_equal(open_model(m, (struct journal_position){0}, &w), OK);
    return m;
}

static void model_free(struct model *m) {
    journal_close(m->j);
    fault_disk_free(m->f);
    free(m);
}

static void reopen(struct model *m) {
    struct why w = {0};
    journal_close(m->j);
    enum err e = open_model(m, (struct journal_position){0}, &w);
    if (e)
        print_message("%s\n", w.text);
    assert_int_equal(e, OK);
}

static size_t rounds(size_t normal, size_t soak) {
    const char *s = getenv("SOAK");
    return s && *s == '1' ? soak : normal;
}

static void keeps_what_it_was_given(void **state) {
    (void)state;
    struct model *m = model_new(1);
    for (int i = 0; i < 300; i++)
        assert_int_equal(write_group(m, false), OK);
    reopen(m);
    assert_kept(m);
    model_free(m);
}

static void a_prepared_segment_is_used(void **state) {
    (void)state;
    struct model *m = model_new(2);
    struct journal_job job;
    for (int i = 0; i < 200; i++) {
        if (journal_want(m->j, UINT64_MAX, &job)) {
            journal_prepare(&job);
            assert_int_equal(job.result, OK);
            journal_prepared(m->j, &job);
        }
        assert_int_equal(write_group(m, false), OK);
    }
    reopen(m);
    assert_kept(m);
    model_free(m);
}

static void a_segment_needs_room(void **state) {
    (void)state;
    struct model *m = model_new(2);
    struct journal_job job;
    struct why w;
    assert_false(journal_shrink(m->j));
    assert_false(journal_want(m->j, 100, &job));
    assert_true(journal_want(m->j, UINT64_MAX, &job));
    journal_prepare(&job);
    assert_int_equal(job.result, OK);
    journal_prepared(m->j, &job);
    assert_true(journal_shrink(m->j)); /* the one made ahead goes back to the disk */
    assert_false(journal_shrink(m->j));
    for (int i = 0; i < 40; i++) {
        assert_int_equal(write_group(m, false), OK);
        if (i % 10 == 9) {
            uint64_t was = journal_current(m->j)->epoch;
            assert_int_equal(journal_turn(m->j, &w), OK);
            assert_true(journal_current(m->j)->epoch > was);
        }
    }
    reopen(m);
    assert_kept(m);
    model_free(m);
}

/* The machine stops at a random call; some sectors of what was not synced survive, some do not. */
static void torn_tails_lose_nothing(void **state) {
    (void)state;
    size_t all = rounds(2000, 20000);
    for (size_t round = 0; round < all; round++) {
        struct model *m = model_new(1000 + round);
        for (int life = 0; life < 3; life++) {
            fault_set(m->f, FAULT_POWER, 1 + fault_random(m->f) % 60, 0);
            for (int i = 0; i < 40 && write_group(m, true) == OK; i++)
                ;
            journal_close(m->j);
            m->j = NULL;
            fault_power_cut(m->f);
            struct why w = {0};
            enum err e = open_model(m, (struct journal_position){0}, &w);
            if (e)
                print_message("round %zu life %d: %s\n", round, life, w.text);
            assert_int_equal(e, OK);
            assert_kept(m);
            for (size_t k = 0; k < m->count; k++) { /* what came back unacknowledged is durable from now on */
                m->acknowledged[k] = m->found[k] == 1;
                m->refused[k] = m->found[k] == 0;
            }
        }
        model_free(m);
    }
}

/* A flipped bit in what was acknowledged is never taken for a torn tail: as long as a later group or the database knows
 * that it was durable, opening fails and names the place. */
static void flipped_bits_are_damage(void **state) {
    (void)state;
    size_t all = rounds(500, 5000), noticed = 0;
    for (size_t round = 0; round < all; round++) {
        struct model *m = model_new(50000 + round);
        for (int i = 0; i < 30; i++)
            assert_int_equal(write_group(m, false), OK);
        size_t sure = m->count;
        assert_int_equal(write_group(m, false), OK); /* its records know that the earlier ones are durable */
        size_t victim = fault_random(m->f) % sure;
        char path[JOURNAL_PATH];
        journal_path(path, "/j", m->place[victim].epoch);
        uint64_t at = m->place[victim].offset + fault_random(m->f) % m->place[victim].length;
        assert_true(fault_flip(m->f, path, at, (unsigned)(fault_random(m->f) % 8)));
        journal_close(m->j);
        struct why w = {0};
        enum err e = open_model(m, (struct journal_position){0}, &w);
        assert_int_equal(e, ERR_CORRUPT);
        assert_non_null(strstr(w.text, path));
        assert_non_null(strstr(w.text, "penfold store check"));
        noticed++;
        m->j = NULL;
        model_free(m);
    }
    assert_int_equal(noticed, all);
}

static void flipped_front_of_a_segment_is_damage(void **state) {
    (void)state;
    struct model *m = model_new(77);
    for (int i = 0; i < 60; i++)
        assert_int_equal(write_group(m, false), OK);
    char path[JOURNAL_PATH];
    journal_path(path, "/j", journal_position(m->j).epoch);
    assert_true(fault_flip(m->f, path, 20, 3));
    journal_close(m->j);
    struct why w = {0};
    assert_int_equal(open_model(m, (struct journal_position){0}, &w), ERR_CORRUPT);
    m->j = NULL;
    model_free(m);
}

/* Every changing call of a run fails once, in every way.  What is answered is true, service resumes, and nothing of a
 * refused group comes back, not even after a power cut. */
static void each_failing_call(void **state) {
    (void)state;
    static const enum fault_kind kinds[] = {FAULT_EIO, FAULT_ENOSPC, FAULT_SHORT};
    for (size_t k = 0; k < 3; k++)
        for (uint64_t at = 1; at < 120; at++) {
            struct model *m = model_new(900000 + at + 1000 * k);
            struct why w = {0};
            fault_set(m->f, kinds[k], at, 1 + at % 3);
            for (int i = 0; i < 60; i++)
                if (write_group(m, false) && journal_broken(m->j)) {
                    enum err e = journal_repair(m->j, &w);
                    assert_true(e == OK || journal_broken(m->j));
                }
            while (journal_broken(m->j)) /* the fault lasts three calls at most */
                if (journal_repair(m->j, &w) == OK)
                    break;
            assert_int_equal(write_group(m, false), OK);
            journal_close(m->j);
            m->j = NULL;
            fault_power_cut(m->f);
            enum err e = open_model(m, (struct journal_position){0}, &w);
            if (e)
                print_message("kind %zu at %llu: %s\n", k, (unsigned long long)at, w.text);
            assert_int_equal(e, OK);
            assert_kept(m);
            model_free(m);
        }
}

/* A write or sync fails, and so do the attempts to go on elsewhere; then the process dies, or the machine.  What was
 * refused does not come back, as long as the journal is sure of it; and it is, when the disk took one more call. */
static void a_refused_group_stays_away(void **state) {
    (void)state;
    size_t sure = 0;
    for (size_t round = 0; round < rounds(1500, 15000); round++) {
        struct model *m = model_new(300000 + round);
        static const enum fault_kind kinds[] = {FAULT_EIO, FAULT_ENOSPC, FAULT_SHORT};
        fault_set(m->f, kinds[round % 3], 1 + fault_random(m->f) % 40, 1 + fault_random(m->f) % 6);
        for (int i = 0; i < 30 && !journal_broken(m->j); i++)
            if (write_group(m, false))
                break;
        struct why w = {0};
        if (journal_broken(m->j) && round % 2) {
            enum err repaired = journal_repair(m->j, &w);
            assert_true(repaired == OK || journal_broken(m->j));
        }
        bool unsure = journal_unsure(m->j);
        sure += journal_broken(m->j) && !unsure;
        journal_close(m->j);
        m->j = NULL;
        round % 4 < 2 ? fault_power_cut(m->f) : fault_process_death(m->f);
        enum err e = open_model(m, (struct journal_position){0}, &w);
        if (e)
            print_message("round %zu: %s\n", round, w.text);
        assert_int_equal(e, OK);
        for (size_t k = 0; k < m->count; k++)
            m->refused[k] = m->refused[k] && !unsure;
        assert_kept(m);
        model_free(m);
    }
    assert_true(sure > 100);
}

static void a_full_disk_resumes(void **state) {
    (void)state;
    struct model *m = model_new(5);
    struct why w;
    assert_int_equal(write_group(m, false), OK);
    fault_set(m->f, FAULT_ENOSPC, 1, 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(write_group(m, false), ERR_FULL);
    assert_true(journal_broken(m->j));
    assert_int_equal(journal_repair(m->j, &w), ERR_FULL);
    fault_set(m->f, FAULT_NONE, 1, 0);
    assert_int_equal(journal_repair(m->j, &w), OK);
    assert_int_equal(write_group(m, false), OK);
    reopen(m);
    assert_kept(m);
    model_free(m);
}

/* ---- recycling ---- */

static void fill_segments(struct model *m, size_t count) {
    while (journal_segments(m->j) < count)
        assert_int_equal(write_group(m, false), OK);
}

static uint64_t first_epoch(struct model *m) {
    return m->place[0].epoch;
}

static void living_segments_stay(void **state) {
    (void)state;
    struct model *m = model_new(6);
    fill_segments(m, 4);
    uint64_t epoch = first_epoch(m), durable = journal_durable(m->j);
    journal_live(m->j, epoch, 5000, 2, 0);
    assert_int_equal(journal_recycle(m->j, durable), 2); /* the second and third: nobody lives there */
    assert_non_null(journal_find(m->j, epoch));
    journal_live(m->j, epoch, -5000, -2, durable);
    assert_int_equal(journal_recycle(m->j, durable), 1);
    assert_null(journal_find(m->j, epoch));
    model_free(m);
}

static void a_checkpoint_must_have_passed(void **state) {
    (void)state;
    struct model *m = model_new(7);
    fill_segments(m, 3);
    uint64_t epoch = first_epoch(m), durable = journal_durable(m->j);
    uint64_t last = journal_find(m->j, epoch)->last_seq;
    assert_int_equal(journal_recycle(m->j, last), 0); /* all applied, but recovery would begin in it */
    assert_int_equal(journal_recycle(m->j, last + 1), 1);
    journal_live(m->j, m->place[m->count - 1].epoch, 1, 1, 0);
    (void)durable;
    model_free(m);
}

static void a_deletion_must_be_checkpointed(void **state) {
    (void)state;
    struct model *m = model_new(8);
    fill_segments(m, 4);
    uint64_t epoch = first_epoch(m), durable = journal_durable(m->j);
    journal_live(m->j, epoch, 100, 1, 0);
    journal_live(m->j, epoch, -100, -1, durable); /* the deletion was applied at `durable` ... */
    journal_recycle(m->j, durable - 1);           /* ... which this checkpoint has not reached */
    assert_non_null(journal_find(m->j, epoch));
    journal_recycle(m->j, durable);
    assert_null(journal_find(m->j, epoch));
    model_free(m);
}

static void recycled_segments_hold_no_ghosts(void **state) {
    (void)state;
    struct model *m = model_new(9);
    struct journal_position applied = {0};
    for (int round = 0; round < 30; round++) {
        struct journal_job job;
        if (journal_want(m->j, UINT64_MAX, &job)) {
            journal_prepare(&job);
            journal_prepared(m->j, &job);
        }
        m->count = 0;
        for (int i = 0; i < 12; i++)
            assert_int_equal(write_group(m, false), OK);
        applied = journal_position(m->j);
        journal_recycle(m->j, applied.seq);
    }
    m->count = 0;
    for (int i = 0; i < 10; i++)
        assert_int_equal(write_group(m, false), OK);
    journal_close(m->j);
    fault_power_cut(m->f);
    struct why w = {0};
    enum err e = open_model(m, applied, &w);
    if (e)
        print_message("%s\n", w.text);
    assert_int_equal(e, OK);
    assert_kept(m);
    model_free(m);
}

static void a_missing_segment_is_said(void **state) {
    (void)state;
    struct model *m = model_new(10);
    struct why w = {0};
    assert_int_equal(write_group(m, false), OK);
    journal_close(m->j);
    struct journal_position nowhere = {5, 0x123456789, 40};
    assert_int_equal(open_model(m, nowhere, &w), ERR_CORRUPT);
    assert_non_null(strstr(w.text, "is missing"));
    m->j = NULL;
    model_free(m);
}

/* Real files, written in whole blocks: groups larger than the staging buffer, ends at every kind of place. */
enum { LARGE = 3 * 1024 * 1024, LARGE_COUNT = 12 };

struct large {
    size_t seen, wrong;
};

static const uint32_t large_sizes[LARGE_COUNT] = {1,       4096 - 64 - 40, 4096 - 40, 4096,    1048576 - 40, 1048576,
                                                  1048577, LARGE,          17,        1000000, 2097152 - 80, 5000};

static enum err large_one(void *arg, const struct journal_record *r, struct why *w) {
    struct large *l = arg;
    (void)w;
    if (r->type == JOURNAL_START)
        return OK;
    char *expected = malloc(LARGE);
    size_t i = l->seen++ % LARGE_COUNT;
    fill(expected, (uint32_t)i, large_sizes[i]);
    l->wrong += r->body.n != large_sizes[i] || memcmp(expected, r->body.p, r->body.n);
    free(expected);
    return OK;
}

static void write_large(struct journal *j, size_t together) {
    char *bodies[LARGE_COUNT];
    struct why w;
    for (size_t i = 0; i < LARGE_COUNT; i++) {
        bodies[i] = malloc(LARGE);
        fill(bodies[i], (uint32_t)i, large_sizes[i]);
        struct iovec part = {bodies[i], large_sizes[i]};
        struct journal_place place;
        enum err e = journal_add(j, JOURNAL_ACCEPTED, &part, 1, &place, &w);
        if (e == ERR_MORE) {
            assert_int_equal(journal_commit(j, &w), OK);
            e = journal_add(j, JOURNAL_ACCEPTED, &part, 1, &place, &w);
        }
        assert_int_equal(e, OK);
        if (i % together == together - 1)
            assert_int_equal(journal_commit(j, &w), OK);
    }
    assert_int_equal(journal_commit(j, &w), OK);
    for (size_t i = 0; i < LARGE_COUNT; i++)
        free(bodies[i]);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static void large_groups_in_real_files(void **state) {
    (void)state;
    char dir[] = "journal_test.XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct journal_recovery found;
    struct why w;
    for (size_t round = 0; round < 4; round++) { /* each goes on where the one before ended */
        struct large l = {0};
        struct journal *j;
        assert_int_equal(journal_open(&j, disk_system(), dir, 8u << 20, 7 + round, (struct journal_position){0},
                                      large_one, &l, &found, &w),
                         OK);
        assert_int_equal(l.seen, round * LARGE_COUNT);
        assert_int_equal(l.wrong, 0);
        write_large(j, round + 1);
        journal_close(j);
    }
    assert_int_equal(nftw(dir, remove_one, 4, FTW_DEPTH | FTW_PHYS), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_it_was_given),
        cmocka_unit_test(a_prepared_segment_is_used),
        cmocka_unit_test(a_segment_needs_room),
        cmocka_unit_test(torn_tails_lose_nothing),
        cmocka_unit_test(flipped_bits_are_damage),
        cmocka_unit_test(flipped_front_of_a_segment_is_damage),
        cmocka_unit_test(each_failing_call),
        cmocka_unit_test(a_refused_group_stays_away),
        cmocka_unit_test(a_full_disk_resumes),
        cmocka_unit_test(living_segments_stay),
        cmocka_unit_test(a_checkpoint_must_have_passed),
        cmocka_unit_test(a_deletion_must_be_checkpointed),
        cmocka_unit_test(recycled_segments_hold_no_ghosts),
        cmocka_unit_test(a_missing_segment_is_said),
        cmocka_unit_test(large_groups_in_real_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
