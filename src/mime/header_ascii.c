#include "mime/header_ascii.h"

#include "base/code.h"
#include "mime/address.h"
#include "mime/header.h"
#include "mime/idna.h"
#include "mime/mime_build.h"
#include "mime/word.h"

enum { NAMES_MAX = 64, TEXT_MAX = 64 * 1024, ADDRESS_MAX = 1024 };

/* ---- addresses ---- */

enum err header_ascii_address(str address, struct buf *out) {
    str local, domain;
    size_t before = out->n;
    address_split(address, &local, &domain);
    if (!utf8_is_ascii(local))
        return ERR_UNSUPPORTED;
    buf_add(out, local);
    if (local.n < address.n)
        buf_char(out, '@');
    if (utf8_is_ascii(domain)) {
        buf_add(out, domain);
    } else if (!idna_ascii(domain, out)) {
        buf_shrink(out, before);
        return ERR_UNSUPPORTED;
    }
    return OK;
}

/* An entry on a line of its own. */
static enum err put_entry(const struct address *a, struct buf *out) {
    struct buf address = BUF(ADDRESS_MAX);
    enum err e = header_ascii_address(a->address, &address);
    if (a->name.n)
        (void)mime_build_phrase(a->name, 20, out);
    if (a->name.n && a->address.n)
        buf_add(out, S("\r\n "));
    if (a->address.n) {
        buf_char(out, '<');
        buf_add(out, buf_str(&address));
        buf_char(out, '>');
    }
    buf_free(&address);
    return e;
}

static enum err put_addresses(str value, struct buf *out) {
    struct address_iter it = ADDRESS_ITER(value);
    struct address a;
    struct buf group = BUF(4 * ADDRESS_NAME_MAX);
    bool in_group = false, first = true;
    enum err e = OK;
    while (e == OK && address_next(&it, &a)) {
        bool same = str_eq(buf_str(&group), a.group) && in_group == (a.group.n > 0);
        if (!same && in_group)
            buf_char(out, ';');
        if (!first)
            buf_add(out, S(",\r\n "));
        if (!same && a.group.n) {
            (void)mime_build_phrase(a.group, 20, out);
            buf_char(out, ':');
            buf_add(out, S("\r\n "));
        }
        in_group = a.group.n > 0;
        first = false;
        buf_reset(&group);
        buf_add(&group, a.group);
        e = put_entry(&a, out);
    }
    if (in_group)
        buf_char(out, ';');
    buf_free(&group);
    address_iter_free(&it);
    return e;
}

/* ---- parameters ---- */

/* "filename" of "filename*0*" */
static str base_name(str name) {
    return str_head(name, str_find(name, '*'));
}

static bool seen(const str *names, size_t count, str name) {
    for (size_t i = 0; i < count; i++)
        if (str_ieq(names[i], name))
            return true;
    return false;
}

static enum err put_parameters(str value, struct buf *out) {
    str names[NAMES_MAX], rest = value, name;
    size_t count = 0;
    struct buf token = BUF(200);
    utf8_clean(str_head(header_token(value), 100), &token);
    for (size_t i = 0; i < token.n; i++)
        buf_char(out, (unsigned char)token.p[i] > 32 && (unsigned char)token.p[i] < 127 ? token.p[i] : '?');
    buf_free(&token);
    while (count < NAMES_MAX && header_param_next(&rest, &name)) {
        name = base_name(name);
        bool plain = name.n > 0 && name.n <= 60;
        for (size_t i = 0; i < name.n; i++)
            plain = plain && (char_is_alnum(name.p[i]) || str_has(S("-_."), name.p[i]));
        if (!plain || seen(names, count, name))
            continue;
        struct buf text = BUF(TEXT_MAX);
        if (header_param(value, name, &text))
            mime_build_parameter(name, buf_str(&text), out);
        buf_free(&text);
        names[count++] = name;
    }
    return OK;
}

/* ---- text, and what has no form for it ---- */

static enum err put_text(str value, struct buf *out) {
    struct buf text = BUF(4 * value.n + 16);
    word_decode(value, &text);
    mime_build_unstructured(str_trim(buf_str(&text)), 30, out);
    buf_free(&text);
    return OK;
}

/* Identifiers, dates, trace: a mark in place of each character. */
static enum err put_marks(str value, struct buf *out) {
    struct buf text = BUF(4 * value.n + 16);
    header_unfold(value, &text);
    str s = buf_str(&text);
    while (s.n) {
        size_t n = utf8_char(s, &(uint32_t){0});
        buf_char(out, n == 1 && !char_is_ctl(s.p[0]) ? s.p[0] : n == 1 ? ' ' : '?');
        s = str_tail(s, n ? n : 1);
        if (out->n > 60 && s.n && s.p[0] == ' ' && str_trim(s).n && out->n - str_rfind(buf_str(out), '\n') > 60)
            buf_add(out, S("\r\n"));
    }
    buf_free(&text);
    return OK;
}

/* An address of trace, which shall not make the whole impossible. */
static enum err put_path(str value, struct buf *out) {
    size_t before = out->n;
    if (put_addresses(value, out) == OK)
        return OK;
    buf_shrink(out, before);
    return put_marks(value, out);
}

/* ---- fields ---- */

static const struct {
    str name;
    enum err (*put)(str value, struct buf *out);
} kinds[] = {
    {S_INIT("From"), put_addresses},
    {S_INIT("Sender"), put_addresses},
    {S_INIT("Reply-To"), put_addresses},
    {S_INIT("To"), put_addresses},
    {S_INIT("Cc"), put_addresses},
    {S_INIT("Bcc"), put_addresses},
    {S_INIT("Resent-From"), put_addresses},
    {S_INIT("Resent-Sender"), put_addresses},
    {S_INIT("Resent-Reply-To"), put_addresses},
    {S_INIT("Resent-To"), put_addresses},
    {S_INIT("Resent-Cc"), put_addresses},
    {S_INIT("Resent-Bcc"), put_addresses},
    {S_INIT("Disposition-Notification-To"), put_addresses},
    {S_INIT("Content-Type"), put_parameters},
    {S_INIT("Content-Disposition"), put_parameters},
    {S_INIT("Received"), put_marks},
    {S_INIT("Return-Path"), put_path},
    {S_INIT("Delivered-To"), put_path},
    {S_INIT("Date"), put_marks},
    {S_INIT("Message-ID"), put_marks},
    {S_INIT("In-Reply-To"), put_marks},
    {S_INIT("References"), put_marks},
    {S_INIT("Content-ID"), put_marks},
    {S_INIT("Content-Transfer-Encoding"), put_marks},
    {S_INIT("MIME-Version"), put_marks},
    {S_INIT("DKIM-Signature"), put_marks},
    {S_INIT("Authentication-Results"), put_marks},
};

static enum err field_ascii(void *arg, str name, str value, struct buf *out, enum header_edit_verdict *verdict) {
    (void)arg;
    if (!utf8_is_ascii(name) || (name.n == 0 && !utf8_is_ascii(value))) {
        *verdict = HEADER_EDIT_CUT;
        return OK;
    }
    if (utf8_is_ascii(value))
        return OK;
    *verdict = HEADER_EDIT_REPLACED;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (str_ieq(kinds[i].name, name))
            return kinds[i].put(value, out);
    return put_text(value, out);
}

enum err header_ascii(struct header_edit *h, struct why *w) {
    enum err e = header_edit_fields(h, field_ascii, NULL);
    return e == ERR_UNSUPPORTED ? why(w, e, "an address that has no form in ASCII") : e;
}
