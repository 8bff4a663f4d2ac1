#include "smtp/smtp_param.h"

#include "base/code.h"

enum { ENVID_MAX = 100, ORCPT_MAX = 500, AUTH_MAX = 500, SIZE_DIGITS_MAX = 20 };

static int hex_upper(char c) {
    if (char_is_digit(c))
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The next decoded character of xtext; -1 when there is none. */
static int xtext_char(str *s) {
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
    return v >= 32 && v < 127 ? v : -1;
}

bool smtp_xtext_decode(str s, struct buf *out) {
    while (s.n) {
        int c = xtext_char(&s);
        if (c < 0)
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

static bool value_orcpt(str v, struct smtp_params *p) {
    str type, address = v;
    p->orcpt = v;
    if (v.n > ORCPT_MAX || !str_cut(&address, ';', &type) || type.n == 0 || address.n == 0)
        return false;
    for (size_t i = 0; i < type.n; i++)
        if (!char_is_alnum(type.p[i]) && type.p[i] != '-')
            return false;
    return str_ieq(type, S("utf-8")) ? utf8_address_valid(address) : smtp_xtext_valid(address);
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
    while (str_word(&text, &word)) {
        enum err e = parse_one(word, where, p);
        if (e)
            return e;
    }
    p->bad = STR_NONE;
    return OK;
}
