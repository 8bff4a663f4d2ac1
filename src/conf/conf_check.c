/* conf_check.c - what must be true of the settings together. */
#include <string.h>

#include "conf/conf_check.h"

static struct conf_place place_of(const struct conf_listen *l, enum conf_listen_key key) {
    return PLACE(l, key);
}

static void resolve_auto(const struct conf *c, struct conf_listen *l) {
    static const enum conf_framing framing_of[] = {
        [CONF_POLICY_AUTO] = CONF_FRAMING_REJECT,
        [CONF_POLICY_SANDBOX] = CONF_FRAMING_KEEP,
        [CONF_POLICY_MX] = CONF_FRAMING_REJECT,
        [CONF_POLICY_SUBMISSION] = CONF_FRAMING_NORMALIZE,
    };
    if (l->policy == CONF_POLICY_AUTO)
        l->policy = c->mode == CONF_MODE_SANDBOX ? CONF_POLICY_SANDBOX : CONF_POLICY_MX;
    if (l->framing == CONF_FRAMING_AUTO)
        l->framing = framing_of[l->policy];
}

/* Settings that mean nothing to HTTP are a misunderstanding that should be told. */
static void check_http(struct check *k, const struct conf_listen *l) {
    static const enum conf_listen_key smtp_only[] = {
        CONF_LISTEN_KEY_policy,  CONF_LISTEN_KEY_framing,     CONF_LISTEN_KEY_auth, CONF_LISTEN_KEY_proxy,
        CONF_LISTEN_KEY_xclient, CONF_LISTEN_KEY_certificate, CONF_LISTEN_KEY_key};
    if (l->tls != CONF_TLS_NONE)
        COMPLAIN(k, place_of(l, CONF_LISTEN_KEY_tls),
                 "listen %.*s: an http listener speaks no TLS; put a TLS proxy before it", STR_ARG(l->name));
    for (size_t i = 0; i < sizeof smtp_only / sizeof *smtp_only; i++)
        if (!conf_row_is_default(&conf_listen_rows[smtp_only[i]], l))
            COMPLAIN(k, place_of(l, smtp_only[i]), "listen %.*s: an http listener has no setting %.*s",
                     STR_ARG(l->name), STR_ARG(conf_listen_rows[smtp_only[i]].name));
}

static void check_tls(struct check *k, const struct conf_listen *l) {
    const struct conf *c = k->c;
    if (!l->certificate.n != !l->key.n)
        COMPLAIN(k, place_of(l, l->key.n ? CONF_LISTEN_KEY_key : CONF_LISTEN_KEY_certificate), "listen %.*s: %s",
                 STR_ARG(l->name), l->key.n ? "key needs certificate beside it" : "certificate needs key beside it");
    if (l->tls != CONF_TLS_NONE && !l->certificate.n && !c->tls_certificate.n && c->mode == CONF_MODE_SERVER)
        COMPLAIN(k, place_of(l, CONF_LISTEN_KEY_tls),
                 "listen %.*s: TLS needs a certificate: set tls_certificate and tls_key, or certificate and key here",
                 STR_ARG(l->name));
    if (l->certificate.n && l->tls == CONF_TLS_NONE)
        COMPLAIN(k, place_of(l, CONF_LISTEN_KEY_certificate),
                 "listen %.*s: certificate has no effect while tls is none", STR_ARG(l->name));
}

static bool same_address(const struct conf_address *a, const struct conf_address *b) {
    if (a->kind != b->kind)
        return false;
    if (a->kind == CONF_ADDRESS_UNIX)
        return str_eq(a->path, b->path);
    return a->port && a->port == b->port && a->ip.version == b->ip.version &&
           memcmp(a->ip.bytes, b->ip.bytes, sizeof a->ip.bytes) == 0;
}

static void check_address(struct check *k, size_t i) {
    const struct conf_listen *l = &k->c->listens[i];
    if (l->address.kind == CONF_ADDRESS_NONE) {
        if (!AT(l, CONF_LISTEN_KEY_address).where) /* else its value has been complained about */
            COMPLAIN(k, l->place, "listen %.*s: the address is missing", STR_ARG(l->name));
        return;
    }
    for (size_t j = 0; j < i; j++) {
        if (!same_address(&k->c->listens[j].address, &l->address))
            continue;
        struct buf text = BUF(256);
        conf_address_put(&text, &l->address);
        COMPLAIN(k, place_of(l, CONF_LISTEN_KEY_address), "listen %.*s: %s is the address of listen %.*s already",
                 STR_ARG(l->name), buf_cstr(&text), STR_ARG(k->c->listens[j].name));
        buf_free(&text);
        return;
    }
}

static void check_listen(struct check *k, size_t i) {
    struct conf_listen *l = &k->c->listens[i];
    check_address(k, i);
    if (l->protocol == CONF_PROTOCOL_HTTP)
        check_http(k, l);
    else {
        check_tls(k, l);
        if (l->access != CONF_ACCESS_AUTO)
            COMPLAIN(k, place_of(l, CONF_LISTEN_KEY_access), "listen %.*s: only an http listener has a setting access",
                     STR_ARG(l->name));
    }
}

/* What may stand in a greeting and a Received field: a domain (UTF-8 allowed) or an address literal, RFC 5321 4.1.2. */
static bool hostname_good(str s) {
    for (size_t i = 0; i < s.n; i++)
        if (!char_is_alnum(s.p[i]) && !(s.p[i] & 0x80) && !memchr("-._:[]", s.p[i], 6))
            return false;
    return true;
}

static void check_globals(struct check *k) {
    const struct conf *c = k->c;
    if (!hostname_good(c->hostname))
        COMPLAIN(k, AT(c, CONF_KEY_hostname), "hostname: a name has letters, digits, hyphens and dots");
    if (!c->tls_certificate.n != !c->tls_key.n)
        COMPLAIN(k, AT(c, c->tls_key.n ? CONF_KEY_tls_key : CONF_KEY_tls_certificate), "%s",
                 c->tls_key.n ? "tls_key needs tls_certificate beside it" : "tls_certificate needs tls_key beside it");
    if ((c->log == CONF_LOG_FILE) != (c->log_file.n > 0))
        COMPLAIN(k, AT(c, c->log_file.n ? CONF_KEY_log_file : CONF_KEY_log), "%s",
                 c->log_file.n ? "log_file has no effect unless log is file" : "log file needs log_file");
    if (c->smtp_errors_slow > c->smtp_errors_max)
        COMPLAIN(k,
                 AT(c, AT(c, CONF_KEY_smtp_errors_slow).where ? CONF_KEY_smtp_errors_slow : CONF_KEY_smtp_errors_max),
                 "smtp_errors_slow is above smtp_errors_max");
    if (c->smtp_header_max > c->smtp_message_max)
        COMPLAIN(k, AT(c, AT(c, CONF_KEY_smtp_header_max).where ? CONF_KEY_smtp_header_max : CONF_KEY_smtp_message_max),
                 "smtp_header_max is above smtp_message_max");
    if (c->body_big_min > c->journal_segment_size / 2)
        COMPLAIN(k, AT(c, AT(c, CONF_KEY_body_big_min).where ? CONF_KEY_body_big_min : CONF_KEY_journal_segment_size),
                 "body_big_min is above half of journal_segment_size");
}

static void drop_off(struct conf *c) {
    size_t kept = 0;
    for (size_t i = 0; i < c->listen_count; i++)
        if (c->listens[i].address.kind != CONF_ADDRESS_OFF)
            c->listens[kept++] = c->listens[i];
    c->listen_count = kept;
}

enum err conf_check(struct conf *c, struct conf_errors *errors) {
    struct check k = {.c = c, .errors = errors};
    if (c->arena.full)
        return ERR_NOMEM;
    drop_off(c);
    check_globals(&k);
    for (size_t i = 0; i < c->listen_count; i++)
        check_listen(&k, i);
    conf_check_blocks(&k);
    for (size_t i = 0; i < c->listen_count; i++)
        if (c->listens[i].protocol != CONF_PROTOCOL_HTTP)
            resolve_auto(c, &c->listens[i]);
    return k.nomem ? ERR_NOMEM : k.failed ? ERR_SYNTAX : OK;
}
