#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "frame/frame.h"

static struct frame sample(enum frame_type type) {
    struct frame f = {.type = type};
    switch (type) {
#define U8(x) v->x = 7;
#define U32(x) v->x = 0x01020304;
#define U64(x) v->x = 0x0102030405060708;
#define STR(x) v->x = S("some bytes");
#define FRAME(NAME, name, number, direction, fields)                                                                   \
    case FRAME_##NAME: {                                                                                               \
        struct frame_##name *v = &f.name;                                                                              \
        fields break;                                                                                                  \
    }
#include "frame/frames.def"
#undef FRAME
#undef U8
#undef U32
#undef U64
#undef STR
    }
    return f;
}

static const enum frame_type types[] = {
#define FRAME(NAME, name, number, direction, fields) FRAME_##NAME,
#include "frame/frames.def"
#undef FRAME
};
enum { TYPES = sizeof types / sizeof *types };

static void every_frame_comes_back_as_it_was(void **state) {
    (void)state;
    for (size_t i = 0; i < TYPES; i++) {
        struct buf one = BUF(FRAME_MAX), two = BUF(FRAME_MAX);
        struct frame f = sample(types[i]), g;
        frame_put(&one, &f);
        str in = buf_str(&one);
        assert_int_equal(frame_take(&in, &g), OK);
        assert_int_equal(in.n, 0);
        assert_int_equal(g.type, types[i]);
        frame_put(&two, &g);
        assert_true(str_eq(buf_str(&one), buf_str(&two)));
        buf_free(&one);
        buf_free(&two);
    }
}

static void numbers_and_names_are_unique(void **state) {
    (void)state;
    for (size_t i = 0; i < TYPES; i++)
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(types[i], types[j]);
            assert_string_not_equal(frame_name(types[i]), frame_name(types[j]));
        }
    assert_string_equal(frame_name((enum frame_type)9999), "unknown");
}

static void a_front_is_not_a_frame(void **state) {
    (void)state;
    for (size_t i = 0; i < TYPES; i++) {
        struct buf b = BUF(FRAME_MAX);
        struct frame f = sample(types[i]), g;
        frame_put(&b, &f);
        for (size_t n = 0; n < b.n; n++) {
            str in = str_head(buf_str(&b), n);
            assert_int_equal(frame_take(&in, &g), ERR_MORE);
            assert_int_equal(in.n, n);
        }
        buf_free(&b);
    }
}

static void what_is_wrong_is_told(void **state) {
    static const struct {
        str bytes;
        enum err e;
    } rows[] = {
        {S_INIT("\x07\x00\x00\x00\x11\x00\x01"), ERR_LIMIT},                       /* shorter than its header */
        {S_INIT("\x01\x00\x01\x00\x11\x00\x01\x00"), ERR_LIMIT},                   /* 64 KiB and one */
        {S_INIT("\x08\x00\x00\x00\x24\x00\x02\x00"), ERR_VERSION},                 /* another version */
        {S_INIT("\x08\x00\x00\x00\xff\xff\x01\x00"), ERR_CORRUPT},                 /* no such type */
        {S_INIT("\x09\x00\x00\x00\x10\x00\x01\x01\x00"), ERR_CORRUPT},             /* the zero is none */
        {S_INIT("\x0a\x00\x00\x00\x10\x00\x01\x00\x00\x00"), ERR_CORRUPT},         /* a byte too many */
        {S_INIT("\x08\x00\x00\x00\x10\x00\x01\x00"), ERR_CORRUPT},                 /* a byte too few */
        {S_INIT("\x0c\x00\x00\x00\x02\x00\x01\x00\xff\xff\xff\xff"), ERR_CORRUPT}, /* a text beyond the end */
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct frame f;
        str in = rows[i].bytes;
        assert_int_equal(frame_take(&in, &f), rows[i].e);
        assert_int_equal(in.n, rows[i].bytes.n);
    }
}

static void chunks_cover_the_value(void **state) {
    static char bytes[3 * FRAME_CHUNK + 5];
    size_t sum = 0, count = 0;
    (void)state;
    FRAME_CHUNKS(str_n(bytes, sizeof bytes), piece) {
        sum += piece.n;
        count++;
    }
    assert_int_equal(sum, sizeof bytes);
    assert_int_equal(count, 4);
    FRAME_CHUNKS(STR_NONE, none) {
        fail_msg("an empty value has no chunk");
    }
}

static void the_longest_chunk_fits_a_frame(void **state) {
    static char bytes[FRAME_CHUNK];
    struct buf b = BUF(FRAME_MAX);
    (void)state;
    frame_put(&b, &(struct frame){.type = FRAME_MAIL_BODY, .mail_body = {1, str_n(bytes, sizeof bytes)}});
    assert_false(b.full);
    buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_frame_comes_back_as_it_was), cmocka_unit_test(numbers_and_names_are_unique),
        cmocka_unit_test(a_front_is_not_a_frame),           cmocka_unit_test(what_is_wrong_is_told),
        cmocka_unit_test(chunks_cover_the_value),           cmocka_unit_test(the_longest_chunk_fits_a_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
