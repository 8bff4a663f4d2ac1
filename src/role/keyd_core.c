#include "role/keyd_core.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "mailauth/auth_failures.h"

enum { OPEN_MAX = 50000 /* of one peer */, CLIENT_MAX = 64, ACCOUNT_MAX = 400, LINES_MAX = FRAME_MAX };

struct keyd_core {
    struct keyd_ops ops;
    void *arg;
    struct list peers;
    struct map open; /* struct exchange, by number: also those whose peer has only a hash in work */
    uint64_t last_number, failures_max;
    struct auth_failures *failures;
    struct buf secret;
};

struct keyd_peer {
    struct list node;
    struct keyd_core *core;
    void *peer;
    struct map exchanges; /* by the peer's tag */
};

enum exchange_state {
    EXCHANGE_TALKING, /* the client is to answer a challenge */
    EXCHANGE_ASKING,  /* the store is to say what it keeps */
    EXCHANGE_WORKING, /* a thread looks at the password */
    EXCHANGE_HASHING, /* no exchange at all: HASH */
};

struct exchange {
    struct keyd_peer *peer;
    uint64_t tag, number;
    enum exchange_state state;
    enum sasl_result want; /* ASKING: for what */
    struct sasl_server sasl;
    struct buf client, account; /* account empty: not known, or nobody's */
};

static const struct sasl_policy policy = {.stored = true};

/* ---- work ---- */

void keyd_work_run(struct keyd_work *w) {
    switch (w->kind) {
    case KEYD_VERIFY: w->good = credential_verify(buf_str(&w->credential), buf_str(&w->password)); return;
    case KEYD_NOBODY: w->good = credential_verify_nobody(buf_str(&w->password)); return;
    case KEYD_HASH: w->err = credential_make(buf_str(&w->password), w->random, &w->credential, NULL); return;
    }
}

void keyd_work_free(struct keyd_work *w) {
    buf_wipe(&w->password);
    buf_wipe(&w->credential);
    explicit_bzero(w->random, sizeof(w->random));
    free(w);
}

static bool start_work(struct exchange *x, enum keyd_work_kind kind, str password, str credential) {
    struct keyd_core *c = x->peer->core;
    struct keyd_work *w = calloc(1, sizeof(*w));
    if (!w)
        return false;
    w->number = x->number;
    w->kind = kind;
    w->password = BUF(FRAME_MAX);
    w->credential = BUF(LINES_MAX);
    buf_add(&w->password, password);
    buf_add(&w->credential, credential);
    if (kind == KEYD_HASH)
        c->ops.random(w->random, sizeof(w->random));
    if (!w->password.full && !w->credential.full && c->ops.work(c->arg, w))
        return true;
    keyd_work_free(w);
    return false;
}

/* ---- exchanges ---- */

static void exchange_free(struct exchange *x) {
    (void)map_remove(&x->peer->core->open, x->number);
    if (x->state != EXCHANGE_HASHING)
        (void)map_remove(&x->peer->exchanges, x->tag);
    sasl_server_end(&x->sasl);
    buf_free(&x->client);
    buf_free(&x->account);
    free(x);
}

static struct exchange *exchange_new(struct keyd_peer *p, uint64_t tag, enum exchange_state state) {
    struct exchange *x = calloc(1, sizeof(*x));
    if (!x)
        return NULL;
    *x = (struct exchange){.peer = p, .tag = tag, .state = state, .number = ++p->core->last_number};
    x->client = BUF(CLIENT_MAX);
    x->account = BUF(ACCOUNT_MAX);
    bool kept = state == EXCHANGE_HASHING || map_put(&p->exchanges, tag, x);
    if (kept && map_put(&p->core->open, x->number, x))
        return x;
    if (kept && state != EXCHANGE_HASHING)
        (void)map_remove(&p->exchanges, tag);
    free(x);
    return NULL;
}

static void send(struct keyd_peer *p, struct frame f) {
    p->core->ops.send(p->peer, &f);
}

static void send_failed(struct keyd_peer *p, uint64_t tag, enum sasl_failure failure, str user) {
    send(p, (struct frame){.type = FRAME_AUTH_FAILED, .auth_failed = {tag, (uint8_t)failure, user}});
}

/* ---- failures ---- */

/* The account, or what somebody claimed to be: both are counted alike, so that nobody learns which it is. */
static str account_of(const struct exchange *x) {
    return x->account.n ? buf_str(&x->account) : buf_str(&x->sasl.user);
}

static bool is_over(const struct exchange *x, enum auth_failures_of of, str name) {
    const struct keyd_core *c = x->peer->core;
    return auth_failures_over(c->failures, of, name, c->failures_max, c->ops.now_ms(c->arg));
}

/* Looked at again before each verdict: who begins a thousand exchanges at a time has as few tries as one who begins
 * them one after the other. */
static bool is_barred(const struct exchange *x) {
    str account = account_of(x);
    return is_over(x, AUTH_FAILURES_CLIENT, buf_str(&x->client)) ||
           (account.n && is_over(x, AUTH_FAILURES_ACCOUNT, account));
}

static void count_failure(const struct exchange *x) {
    struct keyd_core *c = x->peer->core;
    uint64_t now = c->ops.now_ms(c->arg);
    str client = buf_str(&x->client);
    bool reached = auth_failures_add(c->failures, AUTH_FAILURES_CLIENT, client, c->failures_max, now);
    reached |= auth_failures_add(c->failures, AUTH_FAILURES_ACCOUNT, account_of(x), c->failures_max, now);
    if (reached)
        c->ops.log(EV_AUTH_LIMITED, client, account_of(x));
}

/* ---- where an exchange goes on ---- */

static void end_good(struct exchange *x) {
    struct keyd_core *c = x->peer->core;
    auth_failures_forget(c->failures, AUTH_FAILURES_ACCOUNT, buf_str(&x->account));
    send(x->peer,
         (struct frame){.type = FRAME_AUTH_OK, .auth_ok = {x->tag, buf_str(&x->sasl.user), buf_str(&x->account)}});
    exchange_free(x);
}

static void end_bad(struct exchange *x, enum sasl_failure failure) {
    if (failure == SASL_BAD_CREDENTIALS)
        count_failure(x);
    send_failed(x->peer, x->tag, failure, buf_str(&x->sasl.user));
    exchange_free(x);
}

static void ask_store(struct exchange *x, enum sasl_result want) {
    struct keyd_core *c = x->peer->core;
    struct frame f = {.type = FRAME_CREDENTIAL_ASK, .credential_ask = {x->number, buf_str(&x->sasl.user)}};
    x->state = EXCHANGE_ASKING;
    x->want = want;
    if (!c->ops.ask(c->arg, &f))
        end_bad(x, SASL_UNAVAILABLE);
}

static void go_on(struct exchange *x, enum sasl_result r) {
    switch (r) {
    case SASL_CHALLENGE:
        x->state = EXCHANGE_TALKING;
        send(x->peer,
             (struct frame){.type = FRAME_AUTH_CHALLENGE, .auth_challenge = {x->tag, buf_str(&x->sasl.challenge)}});
        return;
    case SASL_DONE: end_good(x); return;
    case SASL_FAILED: end_bad(x, x->sasl.failure); return;
    case SASL_WANT_CREDENTIAL:
    case SASL_WANT_VERDICT: ask_store(x, r); return;
    }
}

static void go_on_scram(struct exchange *x, str lines) {
    struct credential_scram scram;
    str secret = buf_str(&x->peer->core->secret);
    bool known = x->account.n && credential_scram(lines, &scram);
    if (!known && !credential_scram_nobody(secret, buf_str(&x->sasl.user), &scram)) {
        end_bad(x, SASL_UNAVAILABLE);
        return;
    }
    go_on(x, sasl_server_credential(&x->sasl, &scram, known));
    explicit_bzero(&scram, sizeof(scram));
}

void keyd_core_credential(struct keyd_core *c, const struct frame_credential *f) {
    struct exchange *x = map_get(&c->open, f->tag);
    if (!x || x->state != EXCHANGE_ASKING)
        return;
    if (f->err != OK && f->err != ERR_NOT_FOUND) {
        end_bad(x, SASL_UNAVAILABLE);
        return;
    }
    buf_add(&x->account, f->err == OK ? f->account : STR_NONE);
    if (is_barred(x)) {
        end_bad(x, SASL_UNAVAILABLE);
    } else if (x->want == SASL_WANT_CREDENTIAL) {
        go_on_scram(x, f->credential);
    } else {
        x->state = EXCHANGE_WORKING;
        if (!start_work(x, x->account.n ? KEYD_VERIFY : KEYD_NOBODY, buf_str(&x->sasl.password), f->credential))
            end_bad(x, SASL_UNAVAILABLE);
    }
}

static void hashed(struct exchange *x, const struct keyd_work *w) {
    str credential = w->err ? STR_NONE : buf_str(&w->credential);
    send(x->peer, (struct frame){.type = FRAME_HASHED, .hashed = {(uint32_t)x->tag, (uint8_t)w->err, credential}});
    exchange_free(x);
}

void keyd_core_worked(struct keyd_core *c, struct keyd_work *w) {
    struct exchange *x = map_get(&c->open, w->number);
    if (x && x->state == EXCHANGE_HASHING)
        hashed(x, w);
    else if (x)
        go_on(x, sasl_server_verdict(&x->sasl, is_barred(x) ? SASL_UNAVAILABLE
                                               : w->good    ? SASL_OK
                                                            : SASL_BAD_CREDENTIALS));
    keyd_work_free(w);
}

void keyd_core_store_gone(struct keyd_core *c) {
    size_t at = 0;
    for (struct exchange *x; (x = map_next(&c->open, &at));)
        if (x->state == EXCHANGE_ASKING)
            end_bad(x, SASL_UNAVAILABLE);
}

/* ---- frames of a peer ---- */

static bool auth_begin(struct keyd_peer *p, const struct frame_auth_begin *f) {
    const struct sasl_mechanism *m = sasl_mechanism_find(f->mechanism);
    if (map_get(&p->exchanges, f->tag))
        return false;
    if (!m || !sasl_server_offers(&policy, m, f->binding.n > 0)) {
        send_failed(p, f->tag, SASL_MALFORMED, STR_NONE);
        return true;
    }
    struct exchange *x = p->exchanges.used < OPEN_MAX ? exchange_new(p, f->tag, EXCHANGE_TALKING) : NULL;
    if (!x) {
        send_failed(p, f->tag, SASL_UNAVAILABLE, STR_NONE);
        return true;
    }
    buf_add(&x->client, f->client);
    if (is_barred(x))
        end_bad(x, SASL_UNAVAILABLE);
    else
        go_on(x, sasl_server_start(&x->sasl, &policy, m, f->binding, f->has_response ? &f->response : NULL));
    return true;
}

/* Too late a step is no fault: the exchange failed meanwhile. */
static bool auth_step(struct keyd_peer *p, const struct frame_auth_step *f) {
    struct exchange *x = map_get(&p->exchanges, f->tag);
    if (x && x->state != EXCHANGE_TALKING)
        return false;
    if (x && is_barred(x))
        end_bad(x, SASL_UNAVAILABLE);
    else if (x)
        go_on(x, sasl_server_step(&x->sasl, f->response));
    return true;
}

static bool auth_end(struct keyd_peer *p, uint64_t tag) {
    struct exchange *x = map_get(&p->exchanges, tag);
    if (x)
        exchange_free(x);
    return true;
}

static bool hash(struct keyd_peer *p, const struct frame_hash *f) {
    struct exchange *x = exchange_new(p, f->tag, EXCHANGE_HASHING);
    if (x && start_work(x, KEYD_HASH, f->password, STR_NONE))
        return true;
    send(p, (struct frame){.type = FRAME_HASHED, .hashed = {f->tag, x ? ERR_LIMIT : ERR_NOMEM, STR_NONE}});
    if (x)
        exchange_free(x);
    return true;
}

bool keyd_core_frame(struct keyd_peer *p, const struct frame *f) {
    switch ((int)f->type) {
    case FRAME_AUTH_BEGIN: return auth_begin(p, &f->auth_begin);
    case FRAME_AUTH_STEP: return auth_step(p, &f->auth_step);
    case FRAME_AUTH_END: return auth_end(p, f->auth_end.tag);
    case FRAME_HASH: return hash(p, &f->hash);
    default: return false;
    }
}

/* ---- peers ---- */

struct keyd_core *keyd_core_new(const struct keyd_ops *ops, void *arg) {
    struct keyd_core *c = calloc(1, sizeof(*c));
    uint64_t seed;
    if (!c)
        return NULL;
    c->ops = *ops;
    c->arg = arg;
    list_init(&c->peers);
    ops->random(&seed, sizeof(seed));
    c->open = MAP(seed);
    c->secret = BUF(1024);
    c->failures = auth_failures_new(seed);
    if (c->failures)
        return c;
    free(c);
    return NULL;
}

void keyd_core_free(struct keyd_core *c) {
    if (!c)
        return;
    LIST_EACH_SAFE(&c->peers, node)
    keyd_core_unpeer(LIST_ENTRY(node, struct keyd_peer, node));
    assert(c->open.used == 0);
    map_free(&c->open);
    auth_failures_free(c->failures);
    buf_wipe(&c->secret);
    free(c);
}

void keyd_core_failures_max(struct keyd_core *c, uint64_t max) {
    c->failures_max = max;
}

void keyd_core_secret(struct keyd_core *c, str secret) {
    buf_reset(&c->secret);
    buf_add(&c->secret, str_head(secret, c->secret.limit));
}

struct keyd_peer *keyd_core_peer(struct keyd_core *c, void *peer) {
    struct keyd_peer *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->core = c;
    p->peer = peer;
    c->ops.random(&p->exchanges.seed, sizeof(p->exchanges.seed));
    list_add_tail(&c->peers, &p->node);
    return p;
}

void keyd_core_unpeer(struct keyd_peer *p) {
    size_t at = 0;
    for (struct exchange *x; (x = map_next(&p->core->open, &at));)
        if (x->peer == p)
            exchange_free(x);
    map_free(&p->exchanges);
    list_remove(&p->node);
    free(p);
}

size_t keyd_core_open(const struct keyd_core *c) {
    return c->open.used;
}
