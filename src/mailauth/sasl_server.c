#include "mailauth/sasl_server.h"

#include <assert.h>
#include <gsasl.h>
#include <string.h>

#include "base/code.h"

/* ---- the table of users ---- */

/* A name is shown in logs and pages: UTF-8 without controls. */
static bool name_good(str name) {
    for (size_t i = 0; i < name.n; i++)
        if (char_is_ctl(name.p[i]))
            return false;
    return name.n > 0 && name.n <= SASL_NAME_MAX && utf8_valid(name);
}

static size_t count_lines(str text) {
    size_t n = 0;
    for (str line; str_line(&text, &line);)
        n++;
    return n;
}

static bool name_taken(const struct sasl_policy *policy, str name) {
    for (size_t i = 0; i < policy->user_count; i++)
        if (str_eq(policy->users[i].name, name))
            return true;
    return false;
}

static enum err user_line(str line, unsigned number, struct arena *a, struct sasl_policy *policy, struct why *w) {
    str name;
    if (!str_cut(&line, ':', &name))
        return why(w, ERR_SYNTAX, "line %u: no colon between user and password", number);
    if (!name_good(name))
        return why(w, ERR_SYNTAX, "line %u: a user name is 1 to %d bytes of UTF-8 without controls", number,
                   SASL_NAME_MAX);
    if (line.n == 0 || line.n > SASL_SECRET_MAX || str_has(line, '\0'))
        return why(w, ERR_SYNTAX, "line %u: a password is 1 to %d bytes without NUL", number, SASL_SECRET_MAX);
    if (name_taken(policy, name))
        return why(w, ERR_EXISTS, "line %u: a second line for this user", number);
    policy->users[policy->user_count++] = (struct sasl_user){arena_str(a, name), arena_str(a, line)};
    return OK;
}

enum err sasl_users_parse(str text, struct arena *a, struct sasl_policy *policy, struct why *w) {
    unsigned number = 0;
    size_t lines = count_lines(text);
    *policy = (struct sasl_policy){0};
    if (lines > SASL_USERS_MAX)
        return why(w, ERR_LIMIT, "more than %d lines", SASL_USERS_MAX);
    policy->users = arena_alloc(a, (lines + 1) * sizeof *policy->users);
    if (!policy->users)
        return why(w, ERR_NOMEM, "no memory for the users");
    for (str line; str_line(&text, &line);) {
        number++;
        if (line.n == 0 || str_starts(line, S("#")))
            continue;
        enum err e = user_line(line, number, a, policy, w);
        if (e != OK)
            return e;
    }
    return a->full ? why(w, ERR_NOMEM, "no memory for the users") : OK;
}

/* ---- what is offered ---- */

bool sasl_server_offers(const struct sasl_policy *policy, const struct sasl_mechanism *m, bool has_binding) {
    if (policy->any && (m->flags & SASL_F_PASSWORD))
        return false;
    if (policy->stored && (m->flags & SASL_F_TOKEN))
        return false;
    if (!policy->any && !policy->stored && policy->user_count == 0)
        return false;
    return has_binding || !(m->flags & SASL_F_BINDING);
}

void sasl_server_list(const struct sasl_policy *policy, bool has_binding, bool plaintext, struct buf *out) {
    bool first = true;
    for (size_t i = 0; i < SASL_COUNT; i++) {
        const struct sasl_mechanism *m = &sasl_mechanisms[i];
        if (!sasl_server_offers(policy, m, has_binding) || (!plaintext && (m->flags & SASL_F_PLAINTEXT)))
            continue;
        if (!first)
            buf_char(out, ' ');
        buf_add(out, m->name);
        first = false;
    }
}

/* ---- checking ---- */

/* The time taken depends on what the client sent, not on the secret or where the two differ. */
static bool secret_equal(str given, str secret) {
    unsigned char differ = given.n != secret.n;
    for (size_t i = 0; i < given.n; i++)
        differ |= (unsigned char)(given.p[i] ^ secret.p[i % secret.n]);
    return differ == 0;
}

/* Unknown names meet a secret as well, so that they cost what known ones cost. */
static str secret_of(const struct sasl_policy *policy, str name, bool *known) {
    str secret = S("an unknown user has this secret");
    *known = false;
    for (size_t i = 0; i < policy->user_count; i++) {
        if (!secret_equal(name, policy->users[i].name))
            continue;
        secret = policy->users[i].secret;
        *known = true;
    }
    return secret;
}

static enum sasl_result fail(struct sasl_server *s, enum sasl_failure why_not) {
    assert(why_not != SASL_OK);
    s->failure = why_not;
    return SASL_FAILED;
}

static enum sasl_result challenge(struct sasl_server *s, str bytes, unsigned next_state) {
    buf_reset(&s->challenge);
    buf_add(&s->challenge, bytes);
    s->state = next_state;
    return s->challenge.full ? fail(s, SASL_UNAVAILABLE) : SASL_CHALLENGE;
}

static bool claim(struct sasl_server *s, str name) {
    buf_reset(&s->user);
    if (name.n == 0)
        return true;
    if (!name_good(name))
        return false;
    buf_add(&s->user, name);
    return !s->user.full;
}

static bool credentials_good(const struct sasl_server *s, str secret) {
    bool known;
    if (s->policy->any)
        return true;
    str want = secret_of(s->policy, buf_str(&s->user), &known);
    return secret_equal(secret, want) & known;
}

static enum sasl_result want(struct sasl_server *s, enum sasl_result what) {
    s->wanting = true;
    return what;
}

static enum sasl_result want_verdict(struct sasl_server *s, str password, bool foreign) {
    buf_add(&s->password, password);
    s->foreign = foreign;
    return s->password.full ? fail(s, SASL_BAD_CREDENTIALS) : want(s, SASL_WANT_VERDICT);
}

enum sasl_result sasl_server_verdict(struct sasl_server *s, enum sasl_failure verdict) {
    assert(s->wanting);
    s->wanting = false;
    buf_wipe(&s->password);
    if (verdict != SASL_OK)
        return fail(s, verdict);
    return s->foreign ? fail(s, SASL_BAD_CREDENTIALS) : SASL_DONE;
}

/* ---- PLAIN, RFC 4616: [authzid] NUL authcid NUL passwd ---- */

static enum sasl_result plain_step(struct sasl_server *s, str response) {
    str authzid, authcid, password = response;
    if (!str_cut(&password, '\0', &authzid) || !str_cut(&password, '\0', &authcid) || str_has(password, '\0'))
        return fail(s, SASL_MALFORMED);
    if (authcid.n == 0 || password.n == 0 || !claim(s, authcid))
        return fail(s, SASL_MALFORMED);
    if (s->policy->stored)
        return want_verdict(s, password, authzid.n && !str_eq(authzid, authcid));
    if (!credentials_good(s, password) || (authzid.n && !str_eq(authzid, authcid)))
        return fail(s, SASL_BAD_CREDENTIALS);
    return SASL_DONE;
}

/* ---- LOGIN, draft-murchison-sasl-login: two questions ---- */

enum { LOGIN_NAME, LOGIN_PASSWORD };

static enum sasl_result login_step(struct sasl_server *s, str response) {
    if (response.n == 0 || str_has(response, '\0'))
        return fail(s, SASL_MALFORMED);
    if (s->state == LOGIN_NAME)
        return claim(s, response) ? challenge(s, S("Password:"), LOGIN_PASSWORD) : fail(s, SASL_MALFORMED);
    if (s->policy->stored)
        return want_verdict(s, response, false);
    return credentials_good(s, response) ? SASL_DONE : fail(s, SASL_BAD_CREDENTIALS);
}

/* ---- bearer tokens ---- */

enum { TOKEN_SENT, TOKEN_REFUSED };

/* The value behind "auth=Bearer ", RFC 6750 2.1 b64token. */
static bool bearer(str value, str *token) {
    if (!str_iskip(&value, S("Bearer")) || str_skip_spaces(&value) == 0 || value.n == 0)
        return false;
    for (size_t i = 0; i < value.n; i++)
        if (!char_is_alnum(value.p[i]) && !str_has(S("-._~+/="), value.p[i]))
            return false;
    *token = value;
    return true;
}

/* key=value pairs, each ended by ^A, and one more ^A at the very end. */
static bool token_pairs(str pairs, str *token) {
    bool seen = false;
    for (str pair; str_cut(&pairs, '\1', &pair);) {
        if (pair.n == 0)
            return seen && pairs.n == 0;
        if (str_iskip(&pair, S("auth="))) {
            if (seen || !bearer(pair, token))
                return false;
            seen = true;
        } else if (str_find(pair, '=') == SIZE_MAX) {
            return false;
        }
    }
    return false;
}

/* RFC 5801 section 4 saslname: "=2C" and "=3D" stand for , and =. */
static bool saslname(str coded, struct buf *name) {
    while (coded.n > 0) {
        if (str_skip(&coded, S("=2C")))
            buf_char(name, ',');
        else if (str_skip(&coded, S("=3D")))
            buf_char(name, '=');
        else if (coded.p[0] == '=' || coded.p[0] == ',')
            return false;
        else {
            buf_char(name, coded.p[0]);
            coded = str_tail(coded, 1);
        }
    }
    return !name->full;
}

/* RFC 7628 3.1: gs2-header kvsep *kvpair kvsep, as "n,a=user@example.com,^Ahost=…^Aauth=Bearer …^A^A". */
static bool oauthbearer_parse(struct sasl_server *s, str response, str *token) {
    char room[SASL_NAME_MAX];
    struct buf name = {.p = room, .cap = sizeof room, .limit = sizeof room};
    str header, authzid;
    if (!str_cut(&response, '\1', &header) || !str_ends(header, S(",")))
        return false;
    header.n--;
    if (!str_skip(&header, S("n,")) && !str_skip(&header, S("y,")))
        return false;
    authzid = header;
    if (header.n && !str_skip(&authzid, S("a=")))
        return false;
    return saslname(authzid, &name) && claim(s, buf_str(&name)) && token_pairs(response, token);
}

/* "user=someone@example.com^Aauth=Bearer …^A^A" */
static bool xoauth2_parse(struct sasl_server *s, str response, str *token) {
    str user;
    return str_skip(&response, S("user=")) && str_cut(&response, '\1', &user) && claim(s, user) &&
           token_pairs(response, token);
}

/* A refused token is answered with a reason; the client acknowledges it, then it has failed (RFC 7628 3.2.3). */
static enum sasl_result token_step(struct sasl_server *s, str response) {
    bool standard = s->mechanism->id == SASL_OAUTHBEARER;
    str token = STR_NONE;
    if (s->state == TOKEN_REFUSED)
        return fail(s, SASL_BAD_CREDENTIALS);
    if (!(standard ? oauthbearer_parse : xoauth2_parse)(s, response, &token))
        return fail(s, SASL_MALFORMED);
    if (credentials_good(s, token))
        return SASL_DONE;
    return challenge(s,
                     standard ? S("{\"status\":\"invalid_token\"}") : S("{\"status\":\"401\",\"schemes\":\"bearer\"}"),
                     TOKEN_REFUSED);
}

/* ---- SCRAM, RFC 5802 and 7677, by libgsasl ---- */

enum { SCRAM_RUNNING, SCRAM_PROVEN };

/* What is kept of a password instead of it. */
static int scram_stored(const struct sasl_server *s, Gsasl_session *exchange, Gsasl_property property) {
    switch ((int)property) {
    case GSASL_SCRAM_ITER: return gsasl_property_set(exchange, property, s->scram.iterations);
    case GSASL_SCRAM_SALT: return gsasl_property_set(exchange, property, s->scram.salt);
    case GSASL_SCRAM_STOREDKEY: return gsasl_property_set(exchange, property, s->scram.stored_key);
    case GSASL_SCRAM_SERVERKEY: return gsasl_property_set(exchange, property, s->scram.server_key);
    default: return GSASL_NO_CALLBACK;
    }
}

static int scram_ask(Gsasl *library, Gsasl_session *exchange, Gsasl_property property) {
    const struct sasl_server *s = gsasl_callback_hook_get(library);
    char password[SASL_SECRET_MAX + 1];
    bool known;
    if (property == GSASL_CB_TLS_EXPORTER && s->binding.n)
        return gsasl_property_set_raw(exchange, property, s->binding.p, s->binding.n);
    if (s->policy->stored)
        return scram_stored(s, exchange, property);
    if (property != GSASL_PASSWORD)
        return GSASL_NO_CALLBACK;
    str secret = secret_of(s->policy, str_of(gsasl_property_fast(exchange, GSASL_AUTHID)), &known);
    memcpy(password, secret.p, secret.n);
    password[secret.n] = '\0';
    int rc = gsasl_property_set(exchange, property, password);
    explicit_bzero(password, sizeof password);
    return rc;
}

static bool scram_begin(struct sasl_server *s) {
    Gsasl *library = NULL;
    Gsasl_session *exchange = NULL;
    if (gsasl_init(&library) != GSASL_OK)
        return false;
    s->library = library;
    gsasl_callback_set(library, scram_ask);
    gsasl_callback_hook_set(library, s);
    if (gsasl_server_start(library, s->mechanism->name.p, &exchange) != GSASL_OK)
        return false;
    s->exchange = exchange;
    return true;
}

/* The user must be one of ours: the made-up secret of unknown ones must not let anybody in. */
static bool scram_user_good(struct sasl_server *s) {
    bool known;
    str name = str_of(gsasl_property_fast(s->exchange, GSASL_AUTHID));
    str authzid = str_of(gsasl_property_fast(s->exchange, GSASL_AUTHZID));
    if (s->policy->stored)
        known = s->known;
    else
        (void)secret_of(s->policy, name, &known);
    return known && (authzid.n == 0 || str_eq(authzid, name));
}

/* The user's name in the first message, "n,a=other,n=user,r=..." (RFC 5802 section 7): the library would ask for what
 * is kept of him before it gave the name back. */
static bool scram_claim(struct sasl_server *s, str first) {
    char room[SASL_NAME_MAX];
    struct buf name = {.p = room, .cap = sizeof room, .limit = sizeof room};
    str part;
    return str_cut(&first, ',', &part) && str_cut(&first, ',', &part) && str_skip(&first, S("n=")) &&
           str_cut(&first, ',', &part) && part.n > 0 && saslname(part, &name) && claim(s, buf_str(&name));
}

static enum sasl_result scram_run(struct sasl_server *s, str response);

static enum sasl_result scram_step(struct sasl_server *s, str response) {
    if (s->state == SCRAM_PROVEN)
        return response.n == 0 ? SASL_DONE : fail(s, SASL_MALFORMED);
    if (response.n == 0 || str_has(response, '\0')) /* the library would answer an empty one for ever */
        return fail(s, SASL_MALFORMED);
    if (!s->policy->stored || s->scram.iterations[0])
        return scram_run(s, response);
    if (!scram_claim(s, response))
        return fail(s, SASL_MALFORMED);
    buf_add(&s->held, response);
    return s->held.full ? fail(s, SASL_UNAVAILABLE) : want(s, SASL_WANT_CREDENTIAL);
}

enum sasl_result sasl_server_credential(struct sasl_server *s, const struct credential_scram *scram, bool known) {
    assert(s->wanting && s->exchange && scram->iterations[0]);
    s->wanting = false;
    s->scram = *scram;
    s->known = known;
    return scram_run(s, buf_str(&s->held));
}

static enum sasl_result scram_run(struct sasl_server *s, str response) {
    char *out = NULL;
    size_t out_size = 0;
    int rc = gsasl_step(s->exchange, response.p, response.n, &out, &out_size);
    enum sasl_result r;
    bool named = claim(s, str_of(gsasl_property_fast(s->exchange, GSASL_AUTHID)));
    if (rc == GSASL_MALLOC_ERROR || rc == GSASL_CRYPTO_ERROR)
        r = fail(s, SASL_UNAVAILABLE);
    else if (rc == GSASL_MECHANISM_PARSE_ERROR || rc == GSASL_SASLPREP_ERROR || !named)
        r = fail(s, SASL_MALFORMED);
    else if (rc == GSASL_NEEDS_MORE)
        r = challenge(s, str_n(out, out_size), SCRAM_RUNNING);
    else if (rc != GSASL_OK || !scram_user_good(s))
        r = fail(s, SASL_BAD_CREDENTIALS);
    else /* the server's proof goes as a challenge: SMTP has no data with 235 (RFC 4954 section 4) */
        r = challenge(s, str_n(out, out_size), SCRAM_PROVEN);
    gsasl_free(out);
    return r;
}

/* ---- one exchange ---- */

static const struct {
    enum sasl_result (*step)(struct sasl_server *, str);
    str question; /* sent when the client has not begun by himself */
} rows[SASL_COUNT] = {
    [SASL_SCRAM_SHA_256_PLUS] = {scram_step, S_INIT("")},
    [SASL_SCRAM_SHA_256] = {scram_step, S_INIT("")},
    [SASL_OAUTHBEARER] = {token_step, S_INIT("")},
    [SASL_XOAUTH2] = {token_step, S_INIT("")},
    [SASL_PLAIN] = {plain_step, S_INIT("")},
    [SASL_LOGIN] = {login_step, S_INIT("Username:")},
};

enum sasl_result sasl_server_start(struct sasl_server *s, const struct sasl_policy *policy,
                                   const struct sasl_mechanism *mechanism, str binding, const str *initial) {
    assert(sasl_server_offers(policy, mechanism, binding.n > 0));
    *s = (struct sasl_server){
        .policy = policy,
        .mechanism = mechanism,
        .challenge = BUF(SASL_MESSAGE_MAX),
        .user = BUF(SASL_NAME_MAX + 1),
        .binding = BUF(1024),
        .password = BUF(SASL_SECRET_MAX),
        .held = BUF(SASL_MESSAGE_MAX),
    };
    base64_encode(binding, &s->binding);
    if ((mechanism->flags & SASL_F_PASSWORD) && (s->binding.full || !scram_begin(s)))
        return fail(s, SASL_UNAVAILABLE);
    if (initial)
        return sasl_server_step(s, *initial);
    return challenge(s, rows[mechanism->id].question, 0);
}

enum sasl_result sasl_server_step(struct sasl_server *s, str response) {
    assert(!s->wanting);
    if (response.n > SASL_MESSAGE_MAX)
        return fail(s, SASL_TOO_LONG);
    return rows[s->mechanism->id].step(s, response);
}

void sasl_server_end(struct sasl_server *s) {
    if (s->exchange)
        gsasl_finish(s->exchange);
    if (s->library)
        gsasl_done(s->library);
    buf_free(&s->challenge);
    buf_free(&s->user);
    buf_free(&s->binding);
    buf_free(&s->held);
    buf_wipe(&s->password);
    explicit_bzero(&s->scram, sizeof s->scram);
    *s = (struct sasl_server){0};
}
