#include "role/smtpd_edit.h"

#include "base/date.h"
#include "base/ip.h"
#include "mime/edit.h"
#include "mime/header_edit.h"
#include "smtp/smtp_path.h"

enum { VALUE_MAX = 4096, EDITS_MAX = 1024 * 1024 };

/* ---- Received ---- */

/* RFC 5321 4.1.3, or nothing for a client that has no address. */
static void put_literal(struct buf *out, str address) {
    uint8_t ip[IP6_SIZE];
    if (ip4_parse(address, ip))
        buf_printf(out, "[%.*s]", STR_ARG(address));
    else if (ip6_parse(address, ip))
        buf_printf(out, "[IPv6:%.*s]", STR_ARG(address));
}

static bool helo_fits(str helo) {
    return helo.n && (smtp_domain_valid(helo) || smtp_address_literal_valid(helo));
}

static void put_from(struct buf *out, const struct envelope *e) {
    struct buf literal = BUF(128);
    put_literal(&literal, e->client_address);
    if (helo_fits(e->helo))
        buf_printf(out, "from %.*s", STR_ARG(e->helo));
    else if (literal.n)
        buf_printf(out, "from %.*s", STR_ARG(buf_str(&literal)));
    else
        buf_add(out, S("from localhost"));
    if (literal.n)
        buf_printf(out, " (%.*s)", STR_ARG(buf_str(&literal)));
    buf_add(out, S("\r\n\t"));
    buf_free(&literal);
}

static void put_with(struct buf *out, const struct envelope *e) {
    buf_printf(out, " with %.*s", STR_ARG(e->protocol));
    if (e->tls_version.n)
        buf_printf(out, " (%.*s %.*s)", STR_ARG(e->tls_version), STR_ARG(e->tls_cipher));
}

void smtpd_received_put(struct buf *out, const struct envelope *e, str hostname) {
    if (e->client_address.n)
        put_from(out, e);
    buf_printf(out, "by %.*s", STR_ARG(hostname));
    put_with(out, e);
    buf_printf(out, "\r\n\tid %.*s", STR_ARG(e->id));
    if (e->rcpt_count == 1)
        buf_printf(out, "\r\n\tfor <%.*s>", STR_ARG(e->rcpts[0].address));
    buf_add(out, S(";\r\n\t"));
    date_put_5322(out, (struct date){(int64_t)e->received_us, 0});
}

/* ---- all edits ---- */

static enum err submitted(struct header_edit *h, const struct smtpd_edit *a, struct arena *mem, struct why *w) {
    const struct envelope *e = a->envelope;
    struct buf id = BUF(VALUE_MAX);
    buf_printf(&id, "%.*s@%.*s", STR_ARG(e->id), STR_ARG(a->hostname));
    struct header_edit_submission s = {
        .date = {(int64_t)e->received_us, 0}, .message_id = arena_str(mem, buf_str(&id)), .from = e->sender};
    buf_free(&id);
    return header_edit_submission(h, &s, w);
}

static enum err add_received(struct header_edit *h, const struct smtpd_edit *a, struct why *w) {
    struct buf received = BUF(VALUE_MAX);
    smtpd_received_put(&received, a->envelope, a->hostname);
    enum err e = received.full ? why(w, ERR_FULL, "the Received field is too long")
                               : header_edit_add(h, HEADER_EDIT_FRONT, S("Received"), buf_str(&received), w);
    buf_free(&received);
    return e;
}

enum err smtpd_edit(const struct smtpd_edit *a, struct arena *mem, struct why *w) {
    struct envelope *e = a->envelope;
    struct header_edit h;
    struct buf list = BUF(EDITS_MAX);
    header_edit_begin(&h, a->header, mem);
    header_edit_remove(&h, S("Return-Path"));
    enum err err = a->submission ? submitted(&h, a, mem, w) : OK;
    if (!err && a->conf)
        rewrite_header(a->conf, a->asks, a->ask_count, &h, NULL);
    if (!err)
        err = add_received(&h, a, w);
    if (!err)
        err = header_edit_finish(&h, &list);
    if (!err) {
        e->edits = arena_str(mem, buf_str(&list));
        err = edit_check(e->edits, a->size, &e->edited_size);
    }
    buf_free(&list);
    return err;
}

/* ---- looking ---- */

bool smtpd_header_is_utf8(str header) {
    for (size_t i = 0; i < header.n; i++)
        if (header.p[i] & 0x80)
            return true;
    return false;
}

bool smtpd_header_tls_optional(str header) {
    struct header h;
    return header_find(header, S("TLS-Required"), &h) && str_ieq(str_trim(h.value), S("No"));
}

bool smtpd_header_delivered_to(struct header_iter *it, str *address) {
    struct header h;
    while (header_next(it, &h)) {
        if (!str_ieq(h.name, S("Delivered-To")))
            continue;
        str value = str_trim(h.value);
        if (str_skip_char(&value, '<') && str_ends(value, S(">")))
            value = str_head(value, value.n - 1);
        *address = value;
        return true;
    }
    return false;
}
