#include "smtp/smtp_path.h"

#include "base/code.h"
#include "base/ip.h"

#include <string.h>

/* Which bytes may stand where, so that the grammar below is a walk and a look-up. */
enum { ATEXT = 1, QTEXT = 2, LABEL = 4, DTEXT = 8 };

static unsigned kinds_of(unsigned char c) {
    unsigned k = 0;
    if (char_is_alnum((char)c) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c)))
        k |= ATEXT;
    if (c >= 32 && c < 127 && c != '"' && c != '\\')
        k |= QTEXT;
    if (char_is_alnum((char)c) || c == '-' || c == '_')
        k |= LABEL;
    if (c > 32 && c < 127 && c != '[' && c != ']' && c != '\\')
        k |= DTEXT;
    return k;
}

/* The length of the character at the front of s if it is of the kind, or well-formed UTF-8 where allowed; else 0. */
static size_t char_of(str s, unsigned kind, bool utf8) {
    if (s.n == 0)
        return 0;
    if ((unsigned char)s.p[0] < 128)
        return kinds_of((unsigned char)s.p[0]) & kind ? 1 : 0;
    uint32_t code_point;
    return utf8 ? utf8_char(s, &code_point) : 0;
}

static str skip_kind(str s, unsigned kind, bool utf8) {
    for (size_t n; (n = char_of(s, kind, utf8)) > 0;)
        s = str_tail(s, n);
    return s;
}

/* Dot-string: atoms with single dots between them. */
static bool take_dot_string(str *s) {
    for (;;) {
        str rest = skip_kind(*s, ATEXT, true);
        if (rest.n == s->n)
            return false;
        *s = rest;
        if (!str_skip_char(s, '.'))
            return true;
    }
}

static bool take_quoted(str *s) {
    str rest = *s;
    if (!str_skip_char(&rest, '"'))
        return false;
    for (;;) {
        rest = skip_kind(rest, QTEXT, true);
        if (str_skip_char(&rest, '"')) {
            *s = rest;
            return true;
        }
        if (!str_skip_char(&rest, '\\') || rest.n == 0 || rest.p[0] < 32 || rest.p[0] == 127)
            return false;
        rest = str_tail(rest, 1);
    }
}

static bool take_local(str *s, str *local) {
    const char *from = s->p;
    bool ok = s->n && s->p[0] == '"' ? take_quoted(s) : take_dot_string(s);
    *local = str_n(from, (size_t)(s->p - from));
    return ok;
}

static bool take_label(str *s) {
    str rest = skip_kind(*s, LABEL, true);
    str label = str_head(*s, s->n - rest.n);
    if (label.n == 0 || label.n > SMTP_LABEL_MAX || label.p[0] == '-' || label.p[label.n - 1] == '-')
        return false;
    *s = rest;
    return true;
}

static bool take_name(str *s) {
    do {
        if (!take_label(s))
            return false;
    } while (str_skip_char(s, '.'));
    return true;
}

bool smtp_address_literal_valid(str s) {
    str tag;
    uint8_t ip[IP6_SIZE];
    if (s.n < 3 || s.n > SMTP_DOMAIN_MAX || s.p[0] != '[' || s.p[s.n - 1] != ']')
        return false;
    s = str_sub(s, 1, s.n - 2);
    if (str_iskip(&s, S("IPv6:")))
        return ip6_parse(s, ip);
    if (ip4_parse_padded(s, ip))
        return true;
    /* General-address-literal: a tag, a colon, printable characters. */
    return str_cut(&s, ':', &tag) && tag.n && s.n && skip_kind(tag, LABEL, false).n == 0 &&
           skip_kind(s, DTEXT, false).n == 0;
}

bool smtp_ip_valid(str s) {
    uint8_t ip[IP6_SIZE];
    return ip4_parse(s, ip) || ip6_parse(s, ip);
}

bool smtp_domain_valid(str s) {
    return s.n <= SMTP_DOMAIN_MAX && take_name(&s) && s.n == 0;
}

static bool take_domain(str *s, str *domain) {
    str rest = *s;
    if (rest.n && rest.p[0] == '[') {
        size_t end = str_find(rest, ']');
        if (end == SIZE_MAX || !smtp_address_literal_valid(str_head(rest, end + 1)))
            return false;
        rest = str_tail(rest, end + 1);
    } else if (!take_name(&rest)) {
        return false;
    }
    *domain = str_head(*s, s->n - rest.n);
    *s = rest;
    return true;
}

/* A-d-l: "@a,@b:", obsolete and without meaning today. */
static bool take_route(str *s) {
    str domain;
    do {
        if (!str_skip_char(s, '@') || !take_domain(s, &domain))
            return false;
    } while (str_skip_char(s, ','));
    return str_skip_char(s, ':');
}

static enum smtp_path_fault take_mailbox(str *s, enum smtp_path_kind kind, struct smtp_path *p) {
    const char *from = s->p;
    if (!take_local(s, &p->local))
        return SMTP_PATH_LOCAL;
    if (p->local.n > SMTP_LOCAL_MAX)
        return SMTP_PATH_LENGTH;
    if (kind == SMTP_FORWARD && str_ieq(p->local, S("postmaster")) && s->n && s->p[0] == '>') {
        p->address = p->local;
        return SMTP_PATH_GOOD;
    }
    if (!str_skip_char(s, '@'))
        return s->n && s->p[0] == '>' ? SMTP_PATH_NO_DOMAIN : SMTP_PATH_LOCAL;
    if (!take_domain(s, &p->domain))
        return SMTP_PATH_DOMAIN;
    if (p->domain.n > SMTP_DOMAIN_MAX)
        return SMTP_PATH_LENGTH;
    p->address = str_n(from, (size_t)(s->p - from));
    return SMTP_PATH_GOOD;
}

enum smtp_path_fault smtp_path_take(str *s, enum smtp_path_kind kind, struct smtp_path *path) {
    *path = (struct smtp_path){0};
    str rest = *s;
    str_skip_spaces(&rest);
    const char *from = rest.p;
    if (!str_skip_char(&rest, '<'))
        return SMTP_PATH_NO_BRACKETS;
    if (str_skip_char(&rest, '>')) {
        if (kind == SMTP_FORWARD)
            return SMTP_PATH_NULL;
        *s = rest;
        return SMTP_PATH_GOOD;
    }
    if (rest.n && rest.p[0] == '@') {
        path->routed = true;
        if (!take_route(&rest))
            return SMTP_PATH_DOMAIN;
    }
    enum smtp_path_fault fault = take_mailbox(&rest, kind, path);
    if (fault)
        return fault;
    if (!str_skip_char(&rest, '>'))
        return path->domain.n ? SMTP_PATH_DOMAIN : SMTP_PATH_LOCAL;
    str whole = str_n(from, (size_t)(rest.p - from));
    if (whole.n > SMTP_PATH_MAX)
        return SMTP_PATH_LENGTH;
    path->utf8 = !utf8_is_ascii(whole);
    *s = rest;
    return SMTP_PATH_GOOD;
}

const char *smtp_path_fault_text(enum smtp_path_fault f) {
    static const char *const texts[] = {
        [SMTP_PATH_GOOD] = "Ok",
        [SMTP_PATH_NO_BRACKETS] = "An address stands between < and >",
        [SMTP_PATH_LOCAL] = "Bad local part in the address",
        [SMTP_PATH_DOMAIN] = "Bad domain in the address",
        [SMTP_PATH_NO_DOMAIN] = "An address needs a domain",
        [SMTP_PATH_LENGTH] = "Address too long",
        [SMTP_PATH_NULL] = "The null address cannot be a recipient",
    };
    return texts[f];
}
