#include "policy/srs.h"

#include "crypto/crypto.h"

enum { HASH_SIZE = 5, DAY_SIZE = 2, DAYS = 32 * 32, ADDRESS_MAX = 256 };

static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/* ---- pieces ---- */

/* What is signed: everything behind the hash, in lower case. */
static bool make_hash(str secret, str kind, str text, char hash[HASH_SIZE]) {
    uint8_t digest[CRYPTO_SHA256_SIZE];
    struct buf b = BUF(4 * ADDRESS_MAX);
    buf_add(&b, kind);
    for (size_t i = 0; i < text.n; i++)
        buf_char(&b, char_lower(text.p[i]));
    bool made = !b.full && crypto_hmac_sha256(secret, buf_str(&b), digest);
    for (size_t i = 0; made && i < HASH_SIZE; i++)
        hash[i] = base32[digest[i] % 32];
    buf_free(&b);
    return made;
}

static bool hash_right(const struct srs *s, str kind, str text, str given) {
    bool right = false;
    for (size_t i = 0; i < s->secret_count; i++) {
        char hash[HASH_SIZE];
        if (make_hash(s->secrets[i], kind, text, hash) && crypto_same_text(str_n(hash, HASH_SIZE), given))
            right = true;
    }
    return right;
}

static void day_put(uint32_t day, struct buf *out) {
    buf_char(out, base32[day / 32 % 32]);
    buf_char(out, base32[day % 32]);
}

static bool day_take(str s, uint32_t *day) {
    *day = 0;
    for (size_t i = 0; i < s.n; i++) {
        size_t value = str_find(str_n(base32, 32), char_upper(s.p[i]));
        if (value == SIZE_MAX)
            return false;
        *day = *day * 32 + (uint32_t)value;
    }
    return s.n == DAY_SIZE;
}

/* Local part, without the quotes around it, and domain. */
static bool split(str address, str *local, str *domain, bool *quoted) {
    size_t at = str_rfind(address, '@');
    if (at == SIZE_MAX || address.n > ADDRESS_MAX)
        return false;
    *local = str_head(address, at);
    *domain = str_tail(address, at + 1);
    *quoted = local->n >= 2 && str_starts(*local, S("\"")) && str_ends(*local, S("\""));
    if (*quoted)
        *local = str_sub(*local, 1, local->n - 2);
    for (size_t i = 0; i < address.n; i++)
        if (char_is_ctl(address.p[i]))
            return false;
    return local->n > 0 && domain->n > 0 && domain->p[0] != '[' && !str_has(*domain, '=');
}

/* "SRS0=" off the front; other makers write "+" or "-" behind it. */
static bool take_kind(str *local, str kind) {
    str rest = *local;
    if (!str_iskip(&rest, kind) || rest.n == 0 || !str_has(S("=+-"), rest.p[0]))
        return false;
    *local = rest;
    return true;
}

static void address_put(bool quoted, str local, str domain, struct buf *out) {
    str quote = quoted ? S("\"") : STR_NONE;
    buf_add(out, quote);
    buf_add(out, local);
    buf_add(out, quote);
    buf_char(out, '@');
    buf_add(out, domain);
}

/* ---- forward ---- */

/* KIND=HASH=text@ours */
static enum err sign(const struct srs *s, str kind, str text, bool quoted, struct buf *out) {
    char hash[HASH_SIZE];
    if (s->secret_count == 0 || !make_hash(s->secrets[0], kind, text, hash))
        return ERR_NOMEM;
    if (kind.n + HASH_SIZE + 2 + text.n + 2 * quoted > SRS_LOCAL_MAX)
        return ERR_LIMIT;
    struct buf local = BUF(ADDRESS_MAX);
    buf_add(&local, kind);
    buf_char(&local, '=');
    buf_add(&local, str_n(hash, HASH_SIZE));
    buf_char(&local, '=');
    buf_add(&local, text);
    address_put(quoted, buf_str(&local), s->domain, out);
    enum err e = local.full || out->full ? ERR_NOMEM : OK;
    buf_free(&local);
    return e;
}

/* Of "=HASH=host=rest": host and the rest with the separator it begins with. */
static bool take_srs1(str local, str *hash, str *text) {
    local = str_tail(local, 1);
    return str_cut(&local, '=', hash) && (*text = local, str_has(local, '=')) && local.p[0] != '=';
}

enum err srs_forward(const struct srs *s, str sender, struct buf *out) {
    str local, domain, hash, text;
    bool quoted;
    if (!split(sender, &local, &domain, &quoted))
        return ERR_UNSUPPORTED;
    struct buf b = BUF(4 * ADDRESS_MAX);
    str rest = local, kind = S("SRS1");
    if (take_kind(&rest, S("SRS1")) && take_srs1(rest, &hash, &text)) {
        buf_add(&b, text); /* the first forwarder stays, the one between is left out */
    } else if (rest = local, take_kind(&rest, S("SRS0"))) {
        buf_add(&b, domain);
        buf_char(&b, '=');
        buf_add(&b, rest);
    } else {
        kind = S("SRS0");
        day_put(s->day, &b);
        buf_char(&b, '=');
        buf_add(&b, domain);
        buf_char(&b, '=');
        buf_add(&b, local);
    }
    enum err e = sign(s, kind, buf_str(&b), quoted, out);
    buf_free(&b);
    return e;
}

/* ---- reverse ---- */

static enum err reverse_srs0(const struct srs *s, str local, bool quoted, struct buf *out) {
    str hash, text, day_text, domain;
    uint32_t day;
    local = str_tail(local, 1);
    if (!str_cut(&local, '=', &hash))
        return ERR_SYNTAX;
    text = local;
    if (!str_cut(&local, '=', &day_text) || !day_take(day_text, &day) || !str_cut(&local, '=', &domain) ||
        domain.n == 0 || local.n == 0)
        return ERR_SYNTAX;
    if (!hash_right(s, S("SRS0"), text, hash))
        return ERR_DENIED;
    if ((s->day % DAYS + DAYS - day) % DAYS > SRS_DAYS_MAX)
        return ERR_TIMEOUT;
    address_put(quoted, local, domain, out);
    return OK;
}

static enum err reverse_srs1(const struct srs *s, str local, bool quoted, struct buf *out) {
    str hash, text, host;
    if (!take_srs1(local, &hash, &text))
        return ERR_SYNTAX;
    if (!hash_right(s, S("SRS1"), text, hash))
        return ERR_DENIED;
    str rest = text;
    struct buf b = BUF(ADDRESS_MAX);
    (void)!str_cut(&rest, '=', &host);
    buf_add(&b, S("SRS0"));
    buf_add(&b, rest);
    if (rest.n && str_has(S("=+-"), rest.p[0]))
        address_put(quoted, buf_str(&b), host, out);
    enum err e = rest.n && str_has(S("=+-"), rest.p[0]) ? OK : ERR_SYNTAX;
    buf_free(&b);
    return e;
}

enum err srs_reverse(const struct srs *s, str address, struct buf *out) {
    str local, domain, rest;
    bool quoted;
    size_t before = out->n;
    enum err e = ERR_NOT_FOUND;
    if (!split(address, &local, &domain, &quoted))
        return ERR_NOT_FOUND;
    if (rest = local, take_kind(&rest, S("SRS0")))
        e = reverse_srs0(s, rest, quoted, out);
    else if (rest = local, take_kind(&rest, S("SRS1")))
        e = reverse_srs1(s, rest, quoted, out);
    if (e == OK && out->full)
        e = ERR_NOMEM;
    if (e != OK)
        buf_shrink(out, before);
    return e;
}
