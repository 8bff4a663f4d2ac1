#include "base/date.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_parse(void **state) {
    (void)state;
    static const struct {
        const char *in, *out; /* out: NULL when it is no date */
    } rows[] = {
        {"Mon, 23 Nov 2026 06:13:31 +0000", "2026-11-23T06:13:31Z"},
        {" mon,23 nov 2026 6:13:31 -0800 (PST)", "2026-11-23T06:13:31-08:00"},
        {"23 Nov 26 06:13 EST", "2026-11-23T06:13:00-05:00"}, /* obsolete year and zone */
        {"1 Jan 49 0:0 Z", "2049-01-01T00:00:00Z"},           /* RFC 5322 4.3 */
        {"1 Jan 50 0:0 Z", "1950-01-01T00:00:00Z"},
        {"1 Jan 126 0:0 Z", "2026-01-01T00:00:00Z"},
        {"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", "1997-11-21T09:55:06-06:00"}, /* RFC 5322 A.6.3 */
        {"Mon,\r\n 23 Nov 2026\r\n\t06:13:31 GMT", "2026-11-23T06:13:31Z"},
        {"Mon, 23 Nov 2026 06:13:31 XYZ", "2026-11-23T06:13:31Z"}, /* a zone nobody knows */
        {"Mon, 23 Nov 2026 06:13:31 A", "2026-11-23T06:13:31Z"},   /* military: as -0000 */
        {"Mon, 23 Nov 2026 06:13:31", "2026-11-23T06:13:31Z"},
        {"Mon, 23 Nov 2026 06:13:31 +9999", "2026-11-23T06:13:31Z"},
        {"Mon, 23 Nov 2026 06:13:31 GMT+0100", "2026-11-23T06:13:31+01:00"},
        {"Mon Nov 23 06:13:31 2026", "2026-11-23T06:13:31Z"},
        {"Mon Nov 23 06:13:31 -0800 2026", "2026-11-23T06:13:31-08:00"},
        {"23-Nov-2026 12:05 AM", "2026-11-23T00:05:00Z"},
        {"23 November 2026 6:13 PM", "2026-11-23T18:13:00Z"},
        {"2026-11-23T06:13:31.5+01:00", "2026-11-23T06:13:31+01:00"},
        {"2026-11-23 06:13:31 +0100", "2026-11-23T06:13:31+01:00"},
        {"29 Feb 2000 12:00:00 +0000", "2000-02-29T12:00:00Z"},
        {"31 Dec 2016 23:59:60 +0000", "2017-01-01T00:00:00Z"}, /* a leap second */
        {"29 Feb 1900 12:00:00 +0000", NULL},
        {"31 Apr 2026 1:1 Z", NULL},
        {"0 Apr 2026 1:1 Z", NULL},
        {"1 Apr 2026 24:00 Z", NULL},
        {"1 Apr 2026 1:60 Z", NULL},
        {"1 Apr 20266 1:1 Z", NULL},
        {"Nov 2026", NULL},
        {"yesterday", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf b = BUF(100);
        struct date d;
        bool ok = date_parse(str_of(rows[i].in), &d);
        if (ok)
            date_put_3339(&b, d, 0);
        assert_string_equal(ok ? buf_cstr(&b) : "no", rows[i].out ? rows[i].out : "no");
        buf_free(&b);
    }
}

static void test_known_instants(void **state) {
    (void)state;
    static const struct {
        const char *in;
        int64_t us;
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1969-12-31T23:59:59.999999Z", -1},
        {"2001-09-09T01:46:40Z", 1000000000000000},
        {"2026-11-23T06:13:31.123456789Z", 1795414411123456},
        {"0000-01-01T00:00:00Z", -62167219200000000},
        {"2026-11-23", 1795392000000000},
        {"2000-03-01T00:00:00+00:30", 951867000000000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct date d;
        assert_true(date_parse_3339(str_of(rows[i].in), &d));
        assert_true(d.us == rows[i].us);
    }
    struct date d;
    assert_false(date_parse_3339(S("2026-11-23T"), &d));
    assert_false(date_parse_3339(S("2026-13-01"), &d));
    assert_false(date_parse_3339(S("2026-11-23x06:13"), &d));
}

static void test_every_day_there_and_back(void **state) {
    (void)state;
    for (int64_t day = -719528; day < 2932896; day += 13) {
        struct date d = {day * 86400000000 + 12345678, 0};
        struct date_civil c = date_civil(d);
        assert_true(date_of_civil(&c, 0).us == d.us);
        assert_int_equal(c.weekday, ((day + 4) % 7 + 7) % 7);
    }
}

static void test_write(void **state) {
    (void)state;
    struct buf b = BUF(200);
    date_put_5322(&b, (struct date){1795414411123456, -570});
    assert_string_equal(buf_cstr(&b), "Sun, 22 Nov 2026 20:43:31 -0930");
    buf_reset(&b);
    date_put_3339(&b, (struct date){1795414411123456, 330}, 3);
    assert_string_equal(buf_cstr(&b), "2026-11-23T11:43:31.123+05:30");
    buf_reset(&b);
    date_put_3339(&b, (struct date){1795414411123456, 0}, 9);
    assert_string_equal(buf_cstr(&b), "2026-11-23T06:13:31.123456000Z");
    buf_reset(&b);
    date_put_3339(&b, (struct date){INT64_MAX, 0}, 0);
    assert_string_equal(buf_cstr(&b), "9999-12-31T23:59:59Z");
    buf_reset(&b);
    date_put_3339(&b, (struct date){INT64_MIN, 0}, 6);
    assert_string_equal(buf_cstr(&b), "0000-01-01T00:00:00.224192Z");
    buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_known_instants),
        cmocka_unit_test(test_every_day_there_and_back),
        cmocka_unit_test(test_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
