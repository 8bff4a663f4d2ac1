#include "base/date.h"

#include <assert.h>

static const int64_t DAY_S = 86400, SECOND_US = 1000000;
static const int64_t YEAR_0_S = -62167219200, YEAR_10000_S = 253402300800;
static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char day_names[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

enum { DATE_SIZE_MAX = 1000, OFFSET_MAX_MIN = 16 * 60 };

static bool is_leap(int year) {
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static unsigned month_days(int year, unsigned month) {
    static const unsigned char days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && is_leap(year) ? 1u : 0u);
}

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

/* Days before January 1st of the year, counted from year 0. */
static int64_t days_before_year(int64_t year) {
    return year * 365 + floor_div(year + 3, 4) - floor_div(year + 99, 100) + floor_div(year + 399, 400);
}

static int64_t days_of(int year, unsigned month, unsigned day) {
    int64_t days = days_before_year(year) - days_before_year(1970);
    for (unsigned m = 1; m < month; m++)
        days += month_days(year, m);
    return days + day - 1;
}

struct date date_of_civil(const struct date_civil *c, int offset_min) {
    assert(c->month >= 1 && c->month <= 12 && c->day >= 1 && c->day <= 31);
    int64_t s = days_of(c->year, c->month, c->day) * DAY_S + c->hour * 3600 + c->minute * 60 + c->second;
    return (struct date){(s - (int64_t)offset_min * 60) * SECOND_US + c->us, offset_min};
}

struct date_civil date_civil(struct date d) {
    int64_t s = floor_div(d.us, SECOND_US), rest_us = d.us % SECOND_US;
    uint32_t us = (uint32_t)(rest_us < 0 ? rest_us + SECOND_US : rest_us);
    s += (int64_t)d.offset_min * 60;
    s = s < YEAR_0_S ? YEAR_0_S : s >= YEAR_10000_S ? YEAR_10000_S - 1 : s;
    int64_t days = floor_div(s, DAY_S), rest = s - days * DAY_S;
    int year = 1970 + (int)floor_div(days, 366); /* never too late, at most some years too early */
    if (days < 0)
        year = 1970 + (int)floor_div(days, 365);
    while (days >= days_of(year + 1, 1, 1))
        year++;
    unsigned day = (unsigned)(days - days_of(year, 1, 1)), month = 1;
    for (; day >= month_days(year, month); month++)
        day -= month_days(year, month);
    return (struct date_civil){.year = year,
                               .month = month,
                               .day = day + 1,
                               .weekday = (unsigned)(((days + 4) % 7 + 7) % 7), /* 1970-01-01 was a Thursday */
                               .hour = (unsigned)(rest / 3600),
                               .minute = (unsigned)(rest / 60 % 60),
                               .second = (unsigned)(rest % 60),
                               .us = us};
}

void date_put_5322(struct buf *out, struct date d) {
    struct date_civil c = date_civil(d);
    unsigned offset = (unsigned)(d.offset_min < 0 ? -d.offset_min : d.offset_min);
    buf_printf(out, "%s, %02u %s %04d %02u:%02u:%02u %c%02u%02u", day_names[c.weekday], c.day, month_names[c.month - 1],
               c.year, c.hour, c.minute, c.second, d.offset_min < 0 ? '-' : '+', offset / 60, offset % 60);
}

void date_put_3339(struct buf *out, struct date d, unsigned digits) {
    assert(digits <= 9);
    struct date_civil c = date_civil(d);
    unsigned offset = (unsigned)(d.offset_min < 0 ? -d.offset_min : d.offset_min);
    buf_printf(out, "%04d-%02u-%02uT%02u:%02u:%02u", c.year, c.month, c.day, c.hour, c.minute, c.second);
    uint32_t rest = c.us;
    if (digits)
        buf_char(out, '.');
    for (unsigned i = 0; i < digits; i++, rest = rest % 100000 * 10)
        buf_char(out, (char)('0' + rest / 100000));
    if (offset == 0)
        buf_char(out, 'Z');
    else
        buf_printf(out, "%c%02u:%02u", d.offset_min < 0 ? '-' : '+', offset / 60, offset % 60);
}

/* --- reading --- */

/* What has been understood so far. */
struct reading {
    struct date_civil civil;
    bool has_day, has_month, has_year, has_time, has_zone;
    int offset_min;
};

/* Up to 9 digits off the front; how many, 0 when there is none or are more. */
static size_t take_number(str *s, unsigned *value) {
    size_t n = 0;
    unsigned v = 0;
    while (n < s->n && n < 10 && char_is_digit(s->p[n]))
        v = v * 10 + (unsigned)(s->p[n++] - '0');
    if (n == 0 || n > 9)
        return 0;
    *value = v;
    *s = str_tail(*s, n);
    return n;
}

/* ".123456789": more digits than microseconds have are skipped. */
static uint32_t take_fraction(str *s) {
    uint32_t us = 0, unit = 100000;
    if (s->n < 2 || (s->p[0] != '.' && s->p[0] != ',') || !char_is_digit(s->p[1]))
        return 0;
    *s = str_tail(*s, 1);
    for (; s->n && char_is_digit(s->p[0]); *s = str_tail(*s, 1), unit /= 10)
        us += unit * (uint32_t)(s->p[0] - '0');
    return us;
}

/* Behind the hour: ":06[:31[.5]]" */
static bool take_time(str *s, unsigned hour, struct reading *r) {
    unsigned minute, second = 0;
    if (r->has_time || !str_skip_char(s, ':'))
        return false;
    str_skip_spaces(s);
    if (!take_number(s, &minute))
        return false;
    str rest = *s;
    str_skip_spaces(&rest);
    if (str_skip_char(&rest, ':')) {
        str_skip_spaces(&rest);
        if (!take_number(&rest, &second))
            return false;
        *s = rest;
    }
    r->civil.us = take_fraction(s);
    r->civil.hour = hour;
    r->civil.minute = minute;
    r->civil.second = second;
    r->has_time = true;
    return hour <= 23 && minute <= 59 && second <= 60;
}

/* "+0100", "+01:00", "+1": an absurd offset counts as zero, as one that nobody knows. */
static bool take_offset(str *s, struct reading *r) {
    bool negative = s->p[0] == '-';
    unsigned value, minutes;
    str rest = str_tail(*s, 1);
    size_t digits = take_number(&rest, &value);
    if (digits == 0)
        return false;
    if (digits <= 2) {
        unsigned m = 0;
        str colon = rest;
        if (str_skip_char(&colon, ':') && take_number(&colon, &m) == 2)
            rest = colon;
        minutes = value * 60 + m;
    } else {
        minutes = value / 100 * 60 + value % 100;
    }
    *s = rest;
    r->has_zone = true;
    r->offset_min = minutes < OFFSET_MAX_MIN ? (negative ? -(int)minutes : (int)minutes) : 0;
    return true;
}

static bool digits_word(str *s, struct reading *r) {
    unsigned value;
    size_t digits = take_number(s, &value);
    if (digits == 0)
        return false;
    str rest = *s;
    str_skip_spaces(&rest);
    if (!r->has_time && digits <= 2 && rest.n && rest.p[0] == ':') {
        *s = rest;
        return take_time(s, value, r);
    }
    if (!r->has_day && digits <= 2) {
        r->civil.day = value;
        r->has_day = true;
        return true;
    }
    if (r->has_year || digits > 4)
        return false;
    /* RFC 5322 4.3: two digits below 50 are of this century, other two and three digits count from 1900. */
    r->civil.year = (int)(digits == 2 && value < 50 ? value + 2000 : digits <= 3 ? value + 1900 : value);
    r->has_year = true;
    return digits >= 2;
}

static int name_index(str word, const char (*names)[4], int count) {
    for (int i = 0; word.n >= 3 && i < count; i++)
        if (str_ieq(str_head(word, 3), (str){names[i], 3}))
            return i;
    return -1;
}

static int zone_offset(str word) {
    static const struct {
        str name;
        int minutes;
    } zones[] = {
        {S_INIT("EST"), -300}, {S_INIT("EDT"), -240}, {S_INIT("CST"), -360}, {S_INIT("CDT"), -300},
        {S_INIT("MST"), -420}, {S_INIT("MDT"), -360}, {S_INIT("PST"), -480}, {S_INIT("PDT"), -420},
        {S_INIT("CET"), 60},   {S_INIT("CEST"), 120}, {S_INIT("MET"), 60},   {S_INIT("MEST"), 120},
        {S_INIT("BST"), 60},   {S_INIT("EET"), 120},  {S_INIT("EEST"), 180}, {S_INIT("MSK"), 180},
        {S_INIT("JST"), 540},  {S_INIT("KST"), 540},  {S_INIT("AEST"), 600}, {S_INIT("AEDT"), 660},
    };
    for (size_t i = 0; i < sizeof zones / sizeof *zones; i++)
        if (str_ieq(word, zones[i].name))
            return zones[i].minutes;
    return 0; /* UT, GMT, Z, and what nobody knows */
}

static bool alpha_word(str *s, struct reading *r) {
    size_t n = 0;
    while (n < s->n && char_is_alpha(s->p[n]))
        n++;
    str word = str_head(*s, n);
    *s = str_tail(*s, n);
    int month = name_index(word, month_names, 12);
    if (month >= 0 && !r->has_month) {
        r->civil.month = (unsigned)month + 1;
        r->has_month = true;
        return true;
    }
    if (r->has_time && (str_ieq(word, S("AM")) || str_ieq(word, S("PM")))) {
        bool pm = char_lower(word.p[0]) == 'p';
        if (r->civil.hour == 12)
            r->civil.hour = pm ? 12 : 0;
        else if (pm && r->civil.hour < 12)
            r->civil.hour += 12;
        return true;
    }
    if (r->has_time && !r->has_zone) {
        r->offset_min = zone_offset(word);
        r->has_zone = true;
        return true;
    }
    return true; /* weekdays, in any language, and chatter */
}

/* Comments and line ends may stand between any two words, even inside of the time: they become blanks. */
static str without_comments(str s, char flat[DATE_SIZE_MAX]) {
    unsigned depth = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        depth += c == '(';
        flat[i] = depth || c == '\r' || c == '\n' ? ' ' : c;
        depth -= depth && c == ')';
        if (depth && c == '\\' && i + 1 < s.n)
            flat[++i] = ' ';
    }
    return str_n(flat, s.n);
}

static bool next_word(str *s, struct reading *r) {
    char c = s->p[0];
    if (char_is_digit(c))
        return digits_word(s, r);
    if (char_is_alpha(c))
        return alpha_word(s, r);
    if ((c == '+' || c == '-') && r->has_time && take_offset(s, r))
        return true;
    *s = str_tail(*s, 1);
    return true;
}

static bool finish(struct reading *r, struct date *d) {
    if (!r->has_day || !r->has_month || !r->has_year)
        return false;
    if (r->civil.day < 1 || r->civil.day > month_days(r->civil.year, r->civil.month))
        return false;
    *d = date_of_civil(&r->civil, r->offset_min);
    return true;
}

bool date_parse(str s, struct date *d) {
    struct reading r = {0};
    char flat[DATE_SIZE_MAX];
    s = str_trim(without_comments(str_head(s, DATE_SIZE_MAX), flat));
    if (date_parse_3339(s, d))
        return true;
    while (s.n)
        if (!next_word(&s, &r))
            return false;
    return finish(&r, d);
}

static bool take_fixed(str *s, size_t digits, unsigned *value) {
    str part = str_head(*s, digits);
    *s = str_tail(*s, digits);
    return take_number(&part, value) == digits;
}

static bool take_zone_3339(str *s, struct reading *r) {
    str_skip_spaces(s);
    if (s->n == 0 || str_iskip(s, S("Z")))
        return s->n == 0;
    return (s->p[0] == '+' || s->p[0] == '-') && take_offset(s, r) && s->n == 0;
}

bool date_parse_3339(str s, struct date *d) {
    struct reading r = {.has_day = true, .has_month = true, .has_year = true};
    unsigned year, hour;
    s = str_trim(s);
    if (!take_fixed(&s, 4, &year) || !str_skip_char(&s, '-') || !take_fixed(&s, 2, &r.civil.month) ||
        !str_skip_char(&s, '-') || !take_fixed(&s, 2, &r.civil.day) || r.civil.month < 1 || r.civil.month > 12)
        return false;
    r.civil.year = (int)year;
    if (s.n == 0)
        return finish(&r, d);
    if (!str_iskip(&s, S("T")) && !str_skip_char(&s, ' '))
        return false;
    if (!take_fixed(&s, 2, &hour) || !take_time(&s, hour, &r) || !take_zone_3339(&s, &r))
        return false;
    return finish(&r, d);
}
