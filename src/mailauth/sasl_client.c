#include "mailauth/sasl_client.h"

#include <assert.h>
#include <gsasl.h>
#include <string.h>

#include "base/code.h"

static bool problem(struct sasl_client *c, const char *sentence) {
    c->problem = sentence;
    return false;
}

static bool respond(struct sasl_client *c, str bytes) {
    buf_reset(&c->response);
    buf_add(&c->response, bytes);
    return c->response.full ? problem(c, "the response is too long") : true;
}

/* ---- PLAIN, RFC 4616 ---- */

static bool plain_first(struct sasl_client *c) {
    buf_char(&c->response, '\0');
    buf_add(&c->response, c->account.user);
    buf_char(&c->response, '\0');
    buf_add(&c->response, c->account.secret);
    return true;
}

/* Only when the server asks for the response that was sent with AUTH already. */
static bool no_step(struct sasl_client *c, str challenge) {
    (void)challenge;
    return problem(c, "the server sent a challenge that the mechanism does not have");
}

/* ---- LOGIN: the questions are answered in order, whatever their words ---- */

static bool login_step(struct sasl_client *c, str challenge) {
    (void)challenge;
    if (c->state > 1)
        return problem(c, "the server asked a third question in LOGIN");
    return respond(c, c->state++ == 0 ? c->account.user : c->account.secret);
}

/* ---- bearer tokens ---- */

static bool xoauth2_first(struct sasl_client *c) {
    buf_printf(&c->response, "user=%.*s\1auth=Bearer %.*s\1\1", STR_ARG(c->account.user), STR_ARG(c->account.secret));
    return true;
}

/* RFC 7628 3.1; the user name as a saslname, RFC 5801 section 4. */
static bool oauthbearer_first(struct sasl_client *c) {
    buf_add(&c->response, S("n,a="));
    for (size_t i = 0; i < c->account.user.n; i++) {
        char letter = c->account.user.p[i];
        if (letter == ',' || letter == '=')
            buf_add(&c->response, letter == ',' ? S("=2C") : S("=3D"));
        else
            buf_char(&c->response, letter);
    }
    buf_add(&c->response, S(","));
    if (c->account.host.n)
        buf_printf(&c->response, "\1host=%.*s\1port=%u", STR_ARG(c->account.host), c->account.port);
    buf_printf(&c->response, "\1auth=Bearer %.*s\1\1", STR_ARG(c->account.secret));
    return true;
}

/* The challenge says why the token was refused; it is acknowledged and then the server says no (RFC 7628 3.2.3). */
static bool token_step(struct sasl_client *c, str challenge) {
    (void)challenge;
    if (c->state++ > 0)
        return problem(c, "the server does not come to an end");
    return respond(c, c->mechanism->id == SASL_OAUTHBEARER ? S("\1") : S(""));
}

/* ---- SCRAM, by libgsasl ---- */

enum { SCRAM_RUNNING, SCRAM_PROVEN, SCRAM_ITERATIONS_MAX = 1000000 };

static int property_set(Gsasl_session *exchange, Gsasl_property property, str value) {
    return gsasl_property_set_raw(exchange, property, value.p ? value.p : "", value.n);
}

static int scram_ask(Gsasl *library, Gsasl_session *exchange, Gsasl_property property) {
    const struct sasl_client *c = gsasl_callback_hook_get(library);
    if (property == GSASL_AUTHID)
        return property_set(exchange, property, c->account.user);
    if (property == GSASL_PASSWORD)
        return property_set(exchange, property, c->account.secret);
    if (property == GSASL_CB_TLS_EXPORTER && c->binding.n)
        return property_set(exchange, property, buf_str(&c->binding));
    return GSASL_NO_CALLBACK;
}

/* Each iteration is work that the server makes us do: libgsasl would do two thousand million (RFC 5802 section 9). */
static bool iterations_bounded(str challenge) {
    for (size_t at; (at = str_find_str(challenge, S(",i="))) != SIZE_MAX;) {
        uint64_t n;
        challenge = str_tail(challenge, at + 3);
        if (!str_u64(str_head(challenge, str_find(challenge, ',')), &n) || n > SCRAM_ITERATIONS_MAX)
            return false;
    }
    return true;
}

static bool scram_step(struct sasl_client *c, str challenge) {
    char *out = NULL;
    size_t out_size = 0;
    if (c->state == SCRAM_PROVEN)
        return problem(c, "the server sent a challenge behind its proof");
    if (str_has(challenge, '\0'))
        return problem(c, "a NUL in the server's challenge");
    if (!iterations_bounded(challenge))
        return problem(c, "the server asks for too many SCRAM iterations");
    int rc = gsasl_step(c->exchange, challenge.p ? challenge.p : "", challenge.n, &out, &out_size);
    if (rc == GSASL_OK)
        c->state = SCRAM_PROVEN;
    bool good = rc == GSASL_OK || rc == GSASL_NEEDS_MORE;
    if (good)
        good = respond(c, str_n(out, out_size));
    else
        problem(c, gsasl_strerror(rc));
    gsasl_free(out);
    return good;
}

static bool scram_first(struct sasl_client *c) {
    Gsasl *library = NULL;
    Gsasl_session *exchange = NULL;
    if (gsasl_init(&library) != GSASL_OK)
        return problem(c, "libgsasl does not start");
    c->library = library;
    gsasl_callback_set(library, scram_ask);
    gsasl_callback_hook_set(library, c);
    int rc = gsasl_client_start(library, c->mechanism->name.p, &exchange);
    if (rc != GSASL_OK)
        return problem(c, gsasl_strerror(rc));
    c->exchange = exchange;
    return scram_step(c, STR_NONE);
}

/* ---- one exchange ---- */

static const struct {
    bool (*first)(struct sasl_client *); /* NULL: the server begins */
    bool (*step)(struct sasl_client *, str);
} rows[SASL_COUNT] = {
    [SASL_SCRAM_SHA_256_PLUS] = {scram_first, scram_step},
    [SASL_SCRAM_SHA_256] = {scram_first, scram_step},
    [SASL_OAUTHBEARER] = {oauthbearer_first, token_step},
    [SASL_XOAUTH2] = {xoauth2_first, token_step},
    [SASL_PLAIN] = {plain_first, no_step},
    [SASL_LOGIN] = {NULL, login_step},
};

bool sasl_client_start(struct sasl_client *c, const struct sasl_mechanism *m, const struct sasl_account *account) {
    assert(account->user.n > 0 && !str_has(account->user, '\0') && !str_has(account->secret, '\0'));
    *c = (struct sasl_client){
        .mechanism = m,
        .account = *account,
        .initial = rows[m->id].first != NULL,
        .response = BUF(SASL_MESSAGE_MAX),
        .binding = BUF(1024),
    };
    /* libgsasl will not run the plain variant when it sees a binding, so that one says "n" (RFC 5802 section 6). */
    if (m->flags & SASL_F_BINDING)
        base64_encode(account->binding, &c->binding);
    if ((m->flags & SASL_F_BINDING) && c->binding.n == 0)
        return problem(c, "no channel binding without TLS");
    if (!c->initial)
        return true;
    return rows[m->id].first(c) && !c->response.full;
}

bool sasl_client_step(struct sasl_client *c, str challenge) {
    return rows[c->mechanism->id].step(c, challenge);
}

bool sasl_client_accept(struct sasl_client *c) {
    if ((c->mechanism->flags & SASL_F_PASSWORD) && c->state != SCRAM_PROVEN)
        return problem(c, "the server has not proven that it knows the password");
    return true;
}

void sasl_client_end(struct sasl_client *c) {
    if (c->exchange)
        gsasl_finish(c->exchange);
    if (c->library)
        gsasl_done(c->library);
    buf_wipe(&c->response);
    buf_free(&c->binding);
    *c = (struct sasl_client){0};
}
