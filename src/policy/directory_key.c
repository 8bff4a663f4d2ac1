/* directory_key.c - addresses and domains as keys. */
#include <string.h>

#include "base/code.h"
#include "mime/idna.h"
#include "policy/directory_impl.h"
#include "smtp/smtp_path.h"

bool address_cut(str address, str *local, str *domain) {
    bool quoted = false;
    size_t at = SIZE_MAX;
    for (size_t i = 0; i < address.n; i++) {
        if (quoted && address.p[i] == '\\')
            i++;
        else if (address.p[i] == '"')
            quoted = !quoted;
        else if (address.p[i] == '@' && !quoted)
            at = i;
    }
    *local = str_head(address, at);
    *domain = at == SIZE_MAX ? STR_NONE : str_tail(address, at + 1);
    return at != SIZE_MAX;
}

/* ---- local parts ---- */

static bool is_atom(char c) {
    return (unsigned char)c > 127 || char_is_alnum(c) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* Words with single dots between them need no quotes. */
static bool is_dot_atom(str s) {
    char before = '.';
    for (size_t i = 0; i < s.n; before = s.p[i++])
        if (s.p[i] == '.' ? before == '.' : !is_atom(s.p[i]))
            return false;
    return before != '.';
}

static bool is_text(str s) {
    for (size_t i = 0; i < s.n; i++)
        if (char_is_ctl(s.p[i]))
            return false;
    return s.n > 0 && utf8_valid(s);
}

/* The inside of a quoted string, without what quotes. */
static bool unquote(str s, struct buf *out) {
    if (s.n < 2 || s.p[0] != '"' || s.p[s.n - 1] != '"')
        return false;
    s = str_sub(s, 1, s.n - 2);
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || (s.p[i] == '\\' && ++i == s.n))
            return false;
        buf_char(out, s.p[i]);
    }
    return true;
}

static void quote(str s, struct buf *out) {
    buf_char(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            buf_char(out, '\\');
        buf_char(out, char_lower(s.p[i]));
    }
    buf_char(out, '"');
}

static void lower(str s, struct buf *out) {
    for (size_t i = 0; i < s.n; i++)
        buf_char(out, char_lower(s.p[i]));
}

static enum err local_key(str local, struct buf *out) {
    char room[SMTP_LOCAL_MAX];
    struct buf plain = {.p = room, .cap = sizeof(room), .limit = sizeof(room)};
    size_t before = out->n;
    if (local.n > SMTP_LOCAL_MAX)
        return ERR_LIMIT;
    if (str_starts(local, S("\"")) ? !unquote(local, &plain) : !is_dot_atom(local))
        return ERR_SYNTAX;
    if (plain.n)
        local = buf_str(&plain);
    if (!is_text(local))
        return ERR_SYNTAX;
    if (is_dot_atom(local))
        lower(local, out);
    else
        quote(local, out);
    return out->n - before > SMTP_LOCAL_MAX || out->full ? ERR_LIMIT : OK;
}

/* ---- domains ---- */

static enum err domain_key(str domain, struct buf *out) {
    if (str_ends(domain, S(".")))
        domain.n--;
    if (domain.n > 4 * SMTP_DOMAIN_MAX)
        return ERR_LIMIT;
    if (smtp_address_literal_valid(domain)) {
        lower(domain, out);
        return out->full ? ERR_LIMIT : OK;
    }
    char room[IDNA_DOMAIN_MAX];
    struct buf name = {.p = room, .cap = sizeof(room), .limit = sizeof(room)};
    if (!idna_ascii(domain, &name))
        return domain.n > SMTP_DOMAIN_MAX ? ERR_LIMIT : ERR_SYNTAX;
    if (!smtp_domain_valid(buf_str(&name)))
        return ERR_SYNTAX;
    buf_add(out, buf_str(&name));
    return out->full ? ERR_LIMIT : OK;
}

static enum err address_parts(str address, struct buf *out) {
    str local, domain;
    bool has_domain = address_cut(address, &local, &domain);
    enum err e = local_key(local, out);
    if (e || !has_domain)
        return e;
    buf_char(out, '@');
    return domain_key(domain, out);
}

enum err address_key(str address, struct buf *out) {
    size_t before = out->n;
    enum err e = address_parts(address, out);
    if (e)
        buf_shrink(out, before);
    return e;
}

/* ---- keys of entries ---- */

static bool is_token(str s) {
    for (size_t i = 0; i < s.n; i++)
        if (hex_value(s.p[i]) < 0)
            return false;
    return s.n == 64;
}

enum err directory_key(enum directory_kind kind, str key, struct buf *out, struct why *w) {
    str local, domain;
    struct buf shown = BUF(512);
    size_t before = out->n;
    enum err e = OK;
    escape_print(str_head(key, 80), &shown);
    if (kind == DIRECTORY_DOMAIN) {
        if (domain_key(key, out) || str_has(key, '['))
            e = why(w, ERR_SYNTAX, "\"%s\" is not a domain", buf_cstr(&shown));
    } else if (kind == DIRECTORY_TOKEN) {
        if (!is_token(key))
            e = why(w, ERR_SYNTAX, "the key of a token is 64 hex digits");
        lower(key, out);
    } else if (!address_cut(key, &local, &domain)) {
        e = why(w, ERR_SYNTAX, "\"%s\" is not an address: it has no @ and domain", buf_cstr(&shown));
    } else if (address_parts(key, out)) {
        e = why(w, ERR_SYNTAX, "\"%s\" is not an address", buf_cstr(&shown));
    }
    buf_free(&shown);
    if (e)
        buf_shrink(out, before);
    return e;
}
