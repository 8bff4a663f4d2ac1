#include "policy/webhook.h"

#include "base/code.h"
#include "base/date.h"
#include "crypto/crypto.h"
#include "mime/address.h"
#include "mime/header.h"
#include "mime/word.h"

enum {
    VALUE_MAX = 64 * 1024, /* of a decoded header field */
    SECRET_MAX = 1024,
    SHOWN_MAX = 500, /* of what was said, in a reason */
};

/* ---- JSON ---- */

static void put_text(struct buf *out, const char *name, str value) {
    buf_printf(out, "\"%s\":\"", name);
    escape_json(value, out);
    buf_char(out, '"');
}

static void put_time(struct buf *out, const char *name, bool known, int64_t us, unsigned digits) {
    buf_printf(out, "\"%s\":", name);
    if (!known) {
        buf_add(out, S("null"));
        return;
    }
    buf_char(out, '"');
    date_put_3339(out, (struct date){.us = us}, digits);
    buf_char(out, '"');
}

static str field(str header, const char *name) {
    struct header h;
    return header_find(header, str_of(name), &h) ? h.value : STR_NONE;
}

static void put_decoded(struct buf *out, const char *name, str value) {
    struct buf b = BUF(VALUE_MAX);
    word_decode(value, &b);
    put_text(out, name, str_trim(buf_str(&b)));
    buf_free(&b);
}

static void put_addresses(struct buf *out, const char *name, str value) {
    struct address_iter it = ADDRESS_ITER(value);
    struct address a;
    buf_printf(out, ",\"%s\":[", name);
    for (bool first = true; address_next(&it, &a); first = false) {
        buf_add(out, first ? S("{") : S(",{"));
        put_text(out, "name", a.name);
        buf_char(out, ',');
        put_text(out, "address", a.address);
        buf_char(out, '}');
    }
    buf_char(out, ']');
    address_iter_free(&it);
}

static void put_envelope(struct buf *out, const struct webhook_post *p) {
    buf_add(out, S(",\"envelope\":{"));
    put_text(out, "from", p->sender);
    buf_char(out, ',');
    put_text(out, "to", p->recipient);
    buf_char(out, '}');
}

static void put_client(struct buf *out, const struct envelope *v) {
    const struct {
        const char *name;
        str value;
    } rows[] = {{"address", v->client_address},
                {"helo", v->helo},
                {"user", v->auth_user},
                {"protocol", v->protocol},
                {"tls", v->tls_version}};
    buf_add(out, S(",\"client\":{"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (i)
            buf_char(out, ',');
        put_text(out, rows[i].name, rows[i].value);
    }
    buf_char(out, '}');
}

static void put_header(struct buf *out, str header) {
    struct date date;
    bool dated = date_parse(field(header, "Date"), &date);
    buf_char(out, ',');
    put_decoded(out, "message_id", field(header, "Message-ID"));
    buf_char(out, ',');
    put_time(out, "date", dated, dated ? date.us : 0, 0);
    buf_char(out, ',');
    put_decoded(out, "subject", field(header, "Subject"));
    put_addresses(out, "from", field(header, "From"));
    put_addresses(out, "to", field(header, "To"));
    put_addresses(out, "cc", field(header, "Cc"));
    put_addresses(out, "reply_to", field(header, "Reply-To"));
}

size_t webhook_header_size(str message) {
    for (size_t at = 0, end; at < message.n; at = end + 1) {
        str rest = str_tail(message, at);
        if (str_starts(rest, S("\n")))
            return at + 1;
        if (str_starts(rest, S("\r\n")))
            return at + 2;
        size_t n = str_find(rest, '\n');
        if (n == SIZE_MAX)
            return 0;
        end = at + n;
    }
    return 0;
}

void webhook_id(str message, uint32_t index, struct buf *out) {
    buf_printf(out, "%.*s_%u", STR_ARG(message), index);
}

void webhook_json(const struct webhook_post *p, struct buf *out) {
    size_t n = webhook_header_size(p->message);
    buf_add(out, S("{\"type\":\"message.received\","));
    put_time(out, "timestamp", true, (int64_t)p->envelope->received_us, 6);
    buf_add(out, S(",\"data\":{"));
    put_text(out, "id", p->id);
    buf_char(out, ',');
    put_text(out, "route", p->route);
    put_envelope(out, p);
    put_client(out, p->envelope);
    buf_printf(out, ",\"size\":%llu", (unsigned long long)p->size);
    put_header(out, n ? str_head(p->message, n) : p->message);
    buf_printf(out, ",\"complete\":%s,\"raw\":\"", p->cut ? "false" : "true");
    base64_encode(p->message, out);
    buf_add(out, S("\"}}"));
}

/* ---- the signature ---- */

static enum err take_secret(str line, struct buf *key, struct why *w) {
    bool coded = str_skip(&line, S("whsec_"));
    if (!coded)
        buf_add(key, line);
    else if (!base64_decode(line, key))
        return why(w, ERR_SYNTAX, "behind whsec_ the secret is no base64");
    return key->n && !key->full ? OK : why(w, ERR_SYNTAX, "the secret is empty or longer than %d bytes", SECRET_MAX);
}

static enum err sign_one(str line, str signed_text, struct buf *out, struct why *w) {
    uint8_t mac[CRYPTO_SHA256_SIZE];
    struct buf key = BUF(SECRET_MAX);
    enum err e = take_secret(line, &key, w);
    if (!e && !crypto_hmac_sha256(buf_str(&key), signed_text, mac))
        e = why(w, ERR_NOMEM, "no memory to sign");
    buf_wipe(&key);
    if (e)
        return e;
    buf_add(out, out->n ? S(" v1,") : S("v1,"));
    base64_encode(str_n(mac, sizeof mac), out);
    return OK;
}

enum err webhook_sign(str secrets, str signed_text, struct buf *out, struct why *w) {
    enum err e = OK;
    unsigned n = 0;
    for (str line; !e && n < WEBHOOK_SECRETS_MAX && str_line(&secrets, &line);) {
        line = str_trim(line);
        if (!line.n)
            continue;
        e = sign_one(line, signed_text, out, w);
        n++;
    }
    return e || n ? e : why(w, ERR_SYNTAX, "the file with the secret is empty");
}

/* ---- the answer ---- */

/* What a status means where its class does not say it.  What only a person can put right (who we are, where it is) is
 * no reason to return mail; 409 is the answer to a second attempt while the first one is still worked at. */
static const struct {
    unsigned status, code;
    const char *text;
    enum job_trouble trouble;
} statuses[] = {
    {401, 451, "4.7.8", JOB_FINE}, {403, 550, "5.7.1", JOB_FINE}, {404, 550, "5.1.1", JOB_FINE},
    {407, 451, "4.7.8", JOB_FINE}, {408, 451, "4.4.2", JOB_FINE}, {409, 451, "4.3.0", JOB_FINE},
    {410, 550, "5.1.6", JOB_FINE}, {413, 552, "5.3.4", JOB_FINE}, {415, 554, "5.6.0", JOB_FINE},
    {422, 554, "5.6.0", JOB_FINE}, {425, 451, "4.3.0", JOB_FINE}, {429, 451, "4.3.2", JOB_BUSY},
    {502, 451, "4.3.2", JOB_BUSY}, {503, 451, "4.3.2", JOB_BUSY}, {504, 451, "4.4.2", JOB_BUSY},
    {507, 452, "4.3.1", JOB_FINE},
};

static const struct {
    unsigned code;
    const char *text;
} classes[] = {{451, "4.5.0"}, {451, "4.5.0"}, {250, "2.0.0"}, {451, "4.3.5"}, {554, "5.3.0"}, {451, "4.3.0"}};

static const struct {
    enum job_trouble trouble;
    const char *text;
} ends[] = {
    [WEBHOOK_NO_CONNECT] = {JOB_NO_CONNECT, "4.4.1 the webhook could not be reached"},
    [WEBHOOK_NO_TLS] = {JOB_HANDSHAKE, "4.7.5 no TLS with the webhook"},
    [WEBHOOK_TIMEOUT] = {JOB_BROKEN, "4.4.2 the webhook did not answer in time"},
    [WEBHOOK_BROKEN] = {JOB_BROKEN, "4.4.2 the connection to the webhook broke"},
    [WEBHOOK_NONSENSE] = {JOB_HANDSHAKE, "4.5.0 the webhook does not speak HTTP"},
};

/* On one line, without what could be mistaken for ours. */
static void put_said(str said, struct buf *text) {
    struct buf line = BUF(WEBHOOK_SAID_MAX * 3);
    word_clean(str_head(said, WEBHOOK_SAID_MAX), &line);
    str shown = str_trim(buf_str(&line));
    if (shown.n) {
        buf_add(text, S(": "));
        escape_print(str_head(shown, SHOWN_MAX), text);
    }
    buf_free(&line);
}

static struct webhook_verdict judge_status(unsigned status, const char **text) {
    struct webhook_verdict v = {.trouble = JOB_FINE};
    unsigned class = status / 100 < sizeof classes / sizeof *classes ? status / 100 : 0;
    v.code = classes[class].code;
    *text = classes[class].text;
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        if (statuses[i].status != status)
            continue;
        v.code = statuses[i].code;
        v.trouble = statuses[i].trouble;
        *text = statuses[i].text;
    }
    v.outcome = v.code < 400 ? JOB_DELIVERED : v.code < 500 ? JOB_DEFERRED : JOB_FAILED;
    return v;
}

static struct webhook_verdict judge_answer(const struct webhook_answer *a, struct buf *text) {
    const char *enhanced;
    struct webhook_verdict v = judge_status(a->status, &enhanced);
    buf_printf(text, "%s the webhook answered %u", enhanced, a->status);
    if (a->status / 100 == 3)
        buf_add(text, S(", a redirect, which is not followed"));
    if (a->wait.n && v.outcome == JOB_DEFERRED) {
        buf_add(text, S(" (Retry-After "));
        escape_print(str_head(a->wait, 40), text);
        buf_char(text, ')');
    }
    put_said(a->said, text);
    return v;
}

struct webhook_verdict webhook_judge(const struct webhook_answer *a, struct buf *text) {
    if (a->end == WEBHOOK_ANSWERED)
        return judge_answer(a, text);
    buf_add(text, str_of(ends[a->end].text));
    put_said(a->reason, text);
    return (struct webhook_verdict){
        .outcome = a->sent ? JOB_UNKNOWN : JOB_DEFERRED, .trouble = ends[a->end].trouble, .code = 451};
}
