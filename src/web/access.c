#include "web/access.h"

#include <assert.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/code.h"
#include "base/fields.h"
#include "policy/directory.h"
#include "sys/log.h"
#include "web/handlers.h"
#include "web/reader.h"

enum { TOKEN_MAX = 512, KEY_SIZE = 2 * SHA256_DIGEST_LENGTH };

static struct {
    const struct conf *conf;
    str account; /* of the request that is in hand */
} access_state;

#define CAN(right) (1u << RIGHT_##right)
static const struct {
    str name;
    unsigned rights;
} roles[] = {
    {S_INIT("admin"), ~0u},
    {S_INIT("operator"), CAN(OPEN) | CAN(READ) | CAN(WRITE) | CAN(OPERATE) | CAN(SEND)},
    {S_INIT("reader"), CAN(OPEN) | CAN(READ)},
    {S_INIT("send"), CAN(OPEN) | CAN(SEND)},
};

struct asking {
    struct http_req *r;
    uint32_t tag;
    enum access_right right;
    void (*then)(struct http_req *r);
    bool found, allowed;
    char account[CONF_TITLE_MAX];
    size_t account_size;
};

void access_configure(const struct conf *c) {
    access_state.conf = c;
}

str access_account(void) {
    return access_state.account;
}

static bool wants_token(const struct http_req *r) {
    const struct conf *c = access_state.conf;
    for (size_t i = 0; c && i < c->listen_count; i++)
        if (str_eq(c->listens[i].name, http_listener(r)))
            return c->listens[i].access == CONF_ACCESS_TOKEN ||
                   (c->listens[i].access == CONF_ACCESS_AUTO && c->mode == CONF_MODE_SERVER);
    return true; /* a listener that is on its way out */
}

/* "Bearer TOKEN", or "Basic base64(anything:TOKEN)". */
static bool shown_token(const struct http_req *r, struct buf *token) {
    str s = http_head_field(r->head, S("Authorization"));
    if (str_iskip(&s, S("Bearer "))) {
        buf_add(token, str_trim(s));
        return token->n > 0 && !token->full;
    }
    struct buf pair = BUF(TOKEN_MAX);
    bool good = str_iskip(&s, S("Basic ")) && base64_decode(str_trim(s), &pair);
    size_t colon = str_find(buf_str(&pair), ':');
    if (good && colon != SIZE_MAX)
        buf_add(token, str_tail(buf_str(&pair), colon + 1));
    buf_wipe(&pair);
    return token->n > 0 && !token->full;
}

static void token_key(str token, char key[KEY_SIZE]) {
    static const char digits[] = "0123456789abcdef";
    unsigned char hash[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)token.p, token.n, hash);
    for (size_t i = 0; i < sizeof hash; i++) {
        key[2 * i] = digits[hash[i] >> 4];
        key[2 * i + 1] = digits[hash[i] & 15];
    }
}

static bool role_allows(str role, enum access_right right) {
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (str_eq(roles[i].name, role))
            return roles[i].rights & 1u << right;
    return false;
}

static void refuse(struct http_req *r, bool known) {
    log_event(EV_HTTP_REFUSED, LOG_NUM("status", known ? 403 : 401), LOG_STR("why", S("access")), LOG_END);
    if (known) {
        http_error(r, 403, "This token does not allow that.");
        return;
    }
    http_header(r, "WWW-Authenticate",
                S("Bearer realm=\"Penfold\", Basic realm=\"Penfold: any user, the token as password\""));
    http_error(r, 401, "A token is needed: Authorization: Bearer TOKEN (penfold token add makes one).");
}

static void go_on(struct http_req *r, str account, void (*then)(struct http_req *r)) {
    access_state.account = account;
    then(r);
    access_state.account = STR_NONE;
}

static void asking_gone(void *arg) {
    struct asking *a = arg;
    reader_cancel(a->tag);
    free(a);
}

static void take_entry(struct asking *a, const struct frame_entry *e) {
    str account = fields_get(e->fields, S("account"));
    a->found = true;
    a->allowed = role_allows(fields_get(e->fields, S("role")), a->right) && account.n <= sizeof a->account;
    a->account_size = a->allowed ? account.n : 0;
    if (a->account_size)
        memcpy(a->account, account.p, account.n);
}

static void on_entry(void *arg, const struct frame *f) {
    struct asking *a = arg;
    if (f->type == FRAME_ENTRY) {
        take_entry(a, &f->entry);
        return;
    }
    struct http_req *r = a->r;
    r->on_gone = NULL;
    r->arg = NULL;
    if (f->type == FRAME_FAILED && f->failed.err != ERR_NOT_FOUND)
        answer_error(r, (enum err)f->failed.err, f->failed.text);
    else if (a->allowed)
        go_on(r, str_n(a->account, a->account_size), a->then);
    else
        refuse(r, a->found);
    free(a);
}

static void ask_token(struct http_req *r, str token, enum access_right right, void (*then)(struct http_req *r)) {
    char key[KEY_SIZE];
    struct asking *a = calloc(1, sizeof *a);
    assert(a);
    token_key(token, key);
    a->r = r;
    a->right = right;
    a->then = then;
    r->arg = a;
    r->on_gone = asking_gone;
    struct frame f = {.type = FRAME_ENTRY_GET, .entry_get = {0, DIRECTORY_TOKEN, str_n(key, KEY_SIZE)}};
    a->tag = reader_ask(&f, on_entry, a);
}

void access_check(struct http_req *r, enum access_right right, void (*then)(struct http_req *r)) {
    uint32_t uid;
    struct buf token = BUF(TOKEN_MAX);
    bool ours = http_peer_user(r, &uid) && (uid == 0 || uid == geteuid());
    if (right == RIGHT_OPEN || ours || !wants_token(r))
        go_on(r, STR_NONE, then);
    else if (shown_token(r, &token))
        ask_token(r, buf_str(&token), right, then);
    else
        refuse(r, false);
    buf_wipe(&token);
}
