#include "smtp/smtp_param.h"

#include "base/code.h"
#include "base/date.h"

enum { SECONDS_DIGITS_MAX = 9, ENVID_MAX = 100, ORCPT_MAX = 500, AUTH_MAX = 500, SIZE_DIGITS_MAX = 20 };

static int hex_upper(char c) {
    if (char_is_digit(c))
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The next decoded byte of xtext; -1 when there is none. */
static int xtext_byte(str *s) {
    char c = s->p[0];
    if (c < 33 || c > 126 || c == '=')
        return -1;
    if (c != '+') {
        *s = str_tail(*s, 1);
        return c;
    }
    if (s->n < 3 || hex_upper(s->p[1]) < 0 || hex_upper(s->p[2]) < 0)
        return -1;
    int v = hex_upper(s->p[1]) * 16 + hex_upper(s->p[2]);
    *s = str_tail(*s, 3);
    return v;
}

bool smtp_xtext_decode(str s, struct buf *out) {
    while (s.n) {
        int c = xtext_byte(&s);
        if (c < 32 || c > 126)
            return false;
        if (out)
            buf_char(out, (char)c);
    }
    return true;
}

bool smtp_xtext_valid(str s) {
    return smtp_xtext_decode(s, NULL);
}

static bool value_size(str v, struct smtp_params *p) {
    return v.n <= SIZE_DIGITS_MAX && str_u64(v, &p->size);
}

static bool value_body(str v, struct smtp_params *p) {
    static const str names[] = {S_INIT("7BIT"), S_INIT("8BITMIME"), S_INIT("BINARYMIME")};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (str_ieq(v, names[i])) {
            p->body = (enum smtp_body)i;
            return true;
        }
    return false;
}

static bool value_smtputf8(str v, struct smtp_params *p) {
    p->smtputf8 = v.p == NULL;
    return p->smtputf8;
}

static bool value_requiretls(str v, struct smtp_params *p) {
    p->requiretls = v.p == NULL;
    return p->requiretls;
}

static bool value_ret(str v, struct smtp_params *p) {
    p->ret = str_ieq(v, S("FULL")) ? SMTP_RET_FULL : str_ieq(v, S("HDRS")) ? SMTP_RET_HDRS : SMTP_RET_NONE;
    return p->ret != SMTP_RET_NONE;
}

static bool value_envid(str v, struct smtp_params *p) {
    p->envid = v;
    return v.n && v.n <= ENVID_MAX && smtp_xtext_valid(v);
}

/* RFC 4954 5: an address in xtext, or <> for nobody known. */
static bool value_auth(str v, struct smtp_params *p) {
    p->auth = v;
    return str_eq(v, S("<>")) || (v.n && v.n <= AUTH_MAX && smtp_xtext_valid(v));
}

/* RFC 4865 6: one of the two; no leading zero. */
static bool value_holdfor(str v, struct smtp_params *p) {
    return !p->hold_until_us && v.n && v.n <= SECONDS_DIGITS_MAX && v.p[0] != '0' && str_u64(v, &p->hold_s);
}

static bool value_holduntil(str v, struct smtp_params *p) {
    struct date d;
    if (p->hold_s || !v.n || !date_parse_3339(v, &d) || d.us <= 0)
        return false;
    p->hold_until_us = d.us;
    return true;
}

/* RFC 2852 4: [+-]seconds;mode[T].  What must be returned when it is late cannot be late already. */
static bool value_by(str v, struct smtp_params *p) {
    str digits;
    uint64_t seconds;
    if (!str_cut(&v, ';', &digits))
        return false;
    bool minus = str_skip_char(&digits, '-');
    if (!minus)
        str_skip_char(&digits, '+');
    if (digits.n > SECONDS_DIGITS_MAX || !str_u64(digits, &seconds))
        return false;
    p->by_s = minus ? -(int64_t)seconds : (int64_t)seconds;
    p->by_mode = v.n == 0 ? 0 : char_upper(v.p[0]) == 'N' ? 1 : char_upper(v.p[0]) == 'R' ? 2 : 0;
    if (!p->by_mode || (p->by_mode == 2 && p->by_s <= 0))
        return false;
    if (v.n == 2 && char_upper(v.p[1]) == 'T')
        p->by_mode += 4;
    return v.n == 1 || p->by_mode > 4;
}

/* RFC 6710 2: -9 to 9. */
static bool value_priority(str v, struct smtp_params *p) {
    bool minus = str_skip_char(&v, '-');
    if (v.n != 1 || !char_is_digit(v.p[0]))
        return false;
    unsigned digit = (unsigned)(v.p[0] - '0');
    p->priority = minus ? 10 - digit : 10 + digit;
    return true;
}

static bool value_notify(str v, struct smtp_params *p) {
    static const str names[] = {S_INIT("NEVER"), S_INIT("SUCCESS"), S_INIT("FAILURE"), S_INIT("DELAY")};
    unsigned set = 0;
    for (bool more = true; more;) {
        str word;
        more = str_cut(&v, ',', &word);
        if (!more)
            word = v;
        unsigned bit = 0;
        for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
            if (str_ieq(word, names[i]))
                bit = 1u << i;
        if (!bit || (set & bit))
            return false;
        set |= bit;
    }
    p->notify = set;
    return !(set & SMTP_NOTIFY_NEVER) || set == SMTP_NOTIFY_NEVER;
}

/* A utf-8-addr in one of the three forms of RFC 6533 section 3: they are kept, so only what could inject is refused. */
static bool utf8_address_valid(str v) {
    for (size_t i = 0; i < v.n; i++)
        if (char_is_ctl(v.p[i]) || v.p[i] == ' ' || v.p[i] == '=')
            return false;
    return utf8_valid(v);
}

/* RFC 3461 4.2 has ASCII alone behind the "+", but Postfix writes an address beyond ASCII as xtext of its UTF-8, with
 * the type rfc822, and a refusal would send the mail back. */
static bool xtext_address_valid(str v) {
    char space[ORCPT_MAX];
    size_t n = 0;
    while (v.n && n < sizeof space) {
        int c = xtext_byte(&v);
        if (c < 32 || c == 127)
            return false;
        space[n++] = (char)c;
    }
    return v.n == 0 && utf8_valid(str_n(space, n));
}

static bool value_orcpt(str v, struct smtp_params *p) {
    str type, address = v;
    p->orcpt = v;
    if (v.n > ORCPT_MAX || !str_cut(&address, ';', &type) || type.n == 0 || address.n == 0)
        return false;
    for (size_t i = 0; i < type.n; i++)
        if (!char_is_alnum(type.p[i]) && type.p[i] != '-')
            return false;
    return str_ieq(type, S("utf-8")) ? utf8_address_valid(address) : xtext_address_valid(address);
}

static const struct {
    str name;
    unsigned where;
    bool (*value)(str v, struct smtp_params *p); /* v.p is NULL when there was no "=" */
} rows[] = {
#define PARAM(NAME, where, value) {S_INIT(#NAME), where, value},
#include "smtp/smtp_param.def"
#undef PARAM
};

static enum err parse_one(str word, enum smtp_param_where where, struct smtp_params *p) {
    str key, value = word;
    p->bad = word;
    if (!str_cut(&value, '=', &key)) {
        key = word;
        value = STR_NONE;
    } else if (value.n == 0) {
        return ERR_SYNTAX;
    }
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!str_ieq(key, rows[i].name))
            continue;
        if (!(rows[i].where & where))
            return ERR_UNSUPPORTED;
        if (p->seen & 1u << i)
            return ERR_EXISTS;
        p->seen |= 1u << i;
        return rows[i].value(value, p) ? OK : ERR_SYNTAX;
    }
    return ERR_UNSUPPORTED;
}

enum err smtp_params_parse(str text, enum smtp_param_where where, struct smtp_params *p) {
    str word;
    *p = (struct smtp_params){0};
    text = str_trim(text);
    p->bad = str_head(text, 40);
    if (text.n > SMTP_PARAMS_MAX)
        return ERR_SYNTAX;
    while (str_word(&text, &word)) {
        enum err e = parse_one(word, where, p);
        if (e)
            return e;
    }
    p->bad = STR_NONE;
    return OK;
}
