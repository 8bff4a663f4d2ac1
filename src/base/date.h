/* date.h - instants and how mail writes them: RFC 5322 3.3 with the obsolete forms of 4.3, and RFC 3339.
 * Pure: own civil-date arithmetic (proleptic Gregorian, no leap seconds), no clock.  An instant is microseconds
 * since 1970-01-01T00:00Z; the offset it was written with is kept beside it. */
#ifndef BASE_DATE_H
#define BASE_DATE_H

#include "base/buf.h"

struct date {
    int64_t us;     /* since 1970, UTC */
    int offset_min; /* local time minus UTC, in minutes: how it was (or is to be) written */
};

struct date_civil {
    int year;                                           /* 0 to 9999 */
    unsigned month, day, weekday, hour, minute, second; /* month and day from 1; weekday 0 is Sunday */
    uint32_t us;
};

/* The calendar fields of d at its offset, and back (c->weekday is not looked at, fields must be in range). */
struct date_civil date_civil(struct date d);
struct date date_of_civil(const struct date_civil *c, int offset_min);

/* The value of a Date field, liberally: folded, with comments, without weekday or seconds, two-digit years, named
 * zones, asctime order, RFC 3339, "23-Nov-2026", AM and PM.  A zone nobody knows counts as +0000 (RFC 5322 4.3). */
bool date_parse(str s, struct date *d) MUST_CHECK;

/* RFC 3339, a space or 't' for the 'T' taken, time and zone may be missing ("2026-11-23": midnight UTC). */
bool date_parse_3339(str s, struct date *d) MUST_CHECK;

/* "Mon, 23 Nov 2026 06:13:31 +0000".  Years outside 0 to 9999 are clamped to those. */
void date_put_5322(struct buf *out, struct date d);

/* "2026-11-23T06:13:31.123Z" (or "+01:00"), with so many digits behind the point: 0 to 9. */
void date_put_3339(struct buf *out, struct date d, unsigned digits);

#endif
