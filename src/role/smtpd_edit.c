#include "role/smtpd_edit.h"

#include "base/date.h"
#include "base/ip.h"
#include "mime/edit.h"
#include "mime/header.h"
#include "smtp/smtp_path.h"

enum { RECEIVED_MAX = 4096, EDITS_MAX = 1024 * 1024 };

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
    buf_add(out, S("Received: "));
    if (e->client_address.n)
        put_from(out, e);
    buf_printf(out, "by %.*s", STR_ARG(hostname));
    put_with(out, e);
    buf_printf(out, "\r\n\tid %.*s", STR_ARG(e->id));
    if (e->rcpt_count == 1)
        buf_printf(out, "\r\n\tfor <%.*s>", STR_ARG(e->rcpts[0].address));
    buf_add(out, S(";\r\n\t"));
    date_put_5322(out, (struct date){(int64_t)e->received_us, 0});
    buf_add(out, S("\r\n"));
}

/* ---- all edits ---- */

static void put_edits(struct buf *list, const struct envelope *e, str hostname, str header) {
    struct buf received = BUF(RECEIVED_MAX);
    struct header_iter it = HEADER_ITER(header);
    struct header h;
    smtpd_received_put(&received, e, hostname);
    edit_put(list, 0, 0, buf_str(&received));
    buf_free(&received);
    while (header_next(&it, &h))
        if (str_ieq(h.name, S("Return-Path")))
            edit_put(list, h.offset, h.length, STR_NONE);
}

enum err smtpd_edit(struct envelope *e, uint64_t size, str hostname, str header, struct arena *a) {
    struct buf list = BUF(EDITS_MAX);
    put_edits(&list, e, hostname, header);
    e->edits = arena_str(a, buf_str(&list));
    enum err err = list.full || a->full ? ERR_NOMEM : edit_check(e->edits, size, &e->edited_size);
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

bool smtpd_header_delivered_to(str header, str address) {
    struct header_iter it = HEADER_ITER(header);
    struct header h;
    while (header_next(&it, &h)) {
        str value = str_trim(h.value);
        if (!str_ieq(h.name, S("Delivered-To")))
            continue;
        if (str_skip_char(&value, '<') && str_ends(value, S(">")))
            value = str_head(value, value.n - 1);
        if (str_ieq(value, address))
            return true;
    }
    return false;
}
