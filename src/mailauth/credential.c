#include "mailauth/credential.h"

#include <crypt.h>
#include <gsasl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/code.h"

enum { SALT_SIZE = 16, KEY_SIZE = 32, ITERATIONS_MAX = 1000000, CRYPT_RANDOM = CREDENTIAL_RANDOM - SALT_SIZE };

static const str scram_prefix = S_INIT("SCRAM-SHA-256$");

/* ---- passwords ---- */

static bool password_good(str password) {
    return password.n > 0 && password.n <= CREDENTIAL_PASSWORD_MAX && !str_has(password, '\0');
}

/* As SASLprep has it (RFC 4013), with a NUL, so that one typed on another keyboard is the same; as it is where that has
 * no opinion. */
static char *prepared(str password) {
    char *plain = malloc(password.n + 1), *prep = NULL;
    if (!plain)
        return NULL;
    memcpy(plain, password.p, password.n);
    plain[password.n] = '\0';
    if (gsasl_saslprep(plain, GSASL_ALLOW_UNASSIGNED, &prep, NULL) != GSASL_OK || !prep || !*prep ||
        strlen(prep) > CREDENTIAL_PASSWORD_MAX)
        return plain;
    explicit_bzero(plain, password.n);
    free(plain);
    return prep;
}

static void forget(char *password) {
    if (password)
        explicit_bzero(password, strlen(password));
    free(password);
}

/* ---- crypt(5) ---- */

static bool equal(const char *a, str b) {
    unsigned char differ = strlen(a) != b.n;
    for (size_t i = 0; i < b.n && a[i]; i++)
        differ |= (unsigned char)(a[i] ^ b.p[i]);
    return differ == 0;
}

static bool hash_is(str hash, const char *password) {
    char setting[CRYPT_OUTPUT_SIZE];
    struct crypt_data *data = calloc(1, sizeof(*data));
    if (!data || hash.n >= sizeof(setting)) {
        free(data);
        return false;
    }
    memcpy(setting, hash.p, hash.n);
    setting[hash.n] = '\0';
    const char *got = crypt_rn(password, setting, data, (int)sizeof(*data));
    bool same = got && equal(got, hash);
    explicit_bzero(data, sizeof(*data));
    free(data);
    return same;
}

static bool is_hash(str word) {
    return str_starts(word, S("$")) && word.n < CRYPT_OUTPUT_SIZE;
}

static bool put_hash(const char *password, const uint8_t random[CRYPT_RANDOM], struct buf *out) {
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    struct crypt_data *data = calloc(1, sizeof(*data));
    const char *hash = NULL;
    if (data && crypt_gensalt_rn("$y$", 0, (const char *)random, CRYPT_RANDOM, setting, sizeof(setting)))
        hash = crypt_rn(password, setting, data, (int)sizeof(*data));
    if (hash)
        buf_add(out, str_of(hash));
    if (data)
        explicit_bzero(data, sizeof(*data));
    free(data);
    return hash != NULL;
}

bool credential_verify(str lines, str password) {
    str line, word;
    bool good = false, tried = false;
    char *p = password_good(password) ? prepared(password) : NULL;
    while (p && !good && str_line(&lines, &line))
        while (!good && str_word(&line, &word))
            if (is_hash(word)) {
                tried = true;
                good = hash_is(word, p);
            }
    forget(p);
    return tried ? good : credential_verify_nobody(password);
}

bool credential_verify_nobody(str password) {
    static const str dummy = S_INIT("$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7");
    char *p = password_good(password) ? prepared(password) : NULL;
    if (p)
        (void)hash_is(dummy, p);
    forget(p);
    return false;
}

/* ---- SCRAM ---- */

struct keys {
    char salted[GSASL_HASH_MAX_SIZE], client[GSASL_HASH_MAX_SIZE], server[GSASL_HASH_MAX_SIZE],
        stored[GSASL_HASH_MAX_SIZE];
};

static bool keys_of(const char *password, unsigned iterations, str salt, struct keys *k) {
    return gsasl_scram_secrets_from_password(GSASL_HASH_SHA256, password, iterations, salt.p, salt.n, k->salted,
                                             k->client, k->server, k->stored) == GSASL_OK;
}

static void put_base64(const void *bytes, size_t n, char *to, size_t room) {
    struct buf b = {.p = to, .cap = room - 1, .limit = room - 1};
    base64_encode(str_n(bytes, n), &b);
    to[b.n] = '\0';
}

static void scram_set(struct credential_scram *out, str salt, const struct keys *k) {
    snprintf(out->iterations, sizeof(out->iterations), "%d", CREDENTIAL_ITERATIONS);
    put_base64(salt.p, salt.n, out->salt, sizeof(out->salt));
    put_base64(k->stored, KEY_SIZE, out->stored_key, sizeof(out->stored_key));
    put_base64(k->server, KEY_SIZE, out->server_key, sizeof(out->server_key));
}

static bool put_scram(const char *password, str salt, struct buf *out) {
    struct keys k;
    struct credential_scram s;
    bool good = keys_of(password, CREDENTIAL_ITERATIONS, salt, &k);
    if (good) {
        scram_set(&s, salt, &k);
        buf_printf(out, "%.*s%s:%s$%s:%s", STR_ARG(scram_prefix), s.iterations, s.salt, s.stored_key, s.server_key);
    }
    explicit_bzero(&k, sizeof(k));
    return good;
}

static bool copy_base64(str s, size_t bytes_min, size_t bytes_max, char *to, size_t room) {
    char space[128];
    struct buf b = {.p = space, .cap = sizeof(space), .limit = sizeof(space)};
    if (s.n >= room || !base64_decode(s, &b) || b.n < bytes_min || b.n > bytes_max)
        return false;
    memcpy(to, s.p, s.n);
    to[s.n] = '\0';
    return true;
}

static bool scram_word(str word, struct credential_scram *out) {
    str iterations, salt, stored;
    uint64_t n;
    if (!str_skip(&word, scram_prefix) || !str_cut(&word, ':', &iterations) || !str_cut(&word, '$', &salt) ||
        !str_cut(&word, ':', &stored) || !str_u64(iterations, &n) || n == 0 || n > ITERATIONS_MAX)
        return false;
    snprintf(out->iterations, sizeof(out->iterations), "%u", (unsigned)n);
    return copy_base64(salt, 1, 64, out->salt, sizeof(out->salt)) &&
           copy_base64(stored, KEY_SIZE, KEY_SIZE, out->stored_key, sizeof(out->stored_key)) &&
           copy_base64(word, KEY_SIZE, KEY_SIZE, out->server_key, sizeof(out->server_key));
}

bool credential_scram(str lines, struct credential_scram *out) {
    for (str line, word; str_line(&lines, &line);)
        while (str_word(&line, &word))
            if (scram_word(word, out))
                return true;
    *out = (struct credential_scram){0};
    return false;
}

bool credential_scram_nobody(str secret, str name, struct credential_scram *out) {
    struct keys k;
    struct buf salt = BUF(4096), key = BUF(4096);
    buf_add(&salt, S("nobody "));
    for (size_t i = 0; i < name.n && i < 1024; i++)
        buf_char(&salt, char_lower(name.p[i]));
    hex_encode(str_head(secret, 1024), &key); /* a text for the library, without NUL */
    buf_char(&key, '.');
    bool good = !salt.full && !key.full && keys_of(buf_cstr(&key), 1, buf_str(&salt), &k);
    if (good)
        scram_set(out, str_n(k.salted, SALT_SIZE), &k);
    buf_free(&salt);
    buf_wipe(&key);
    explicit_bzero(&k, sizeof(k));
    return good;
}

/* ---- both ---- */

enum err credential_make(str password, const uint8_t random[CREDENTIAL_RANDOM], struct buf *out, struct why *w) {
    if (!password_good(password))
        return why(w, ERR_SYNTAX, "a password is 1 to %d bytes without NUL", CREDENTIAL_PASSWORD_MAX);
    char *p = prepared(password);
    bool good = p && put_hash(p, random, out);
    if (good && utf8_valid(str_of(p))) { /* SCRAM's passwords are text */
        buf_char(out, ' ');
        good = put_scram(p, str_n(random + CRYPT_RANDOM, SALT_SIZE), out);
    }
    forget(p);
    return good && !out->full ? OK : why(w, ERR_NOMEM, "no memory to hash a password");
}

bool credential_valid(str line) {
    struct credential_scram s;
    bool good = false;
    char setting[CRYPT_OUTPUT_SIZE];
    if (line.n > CREDENTIAL_MAX)
        return false;
    for (str word; str_word(&line, &word);) {
        bool hash = is_hash(word);
        if (hash) {
            memcpy(setting, word.p, word.n);
            setting[word.n] = '\0';
            int kind = crypt_checksalt(setting);
            hash = kind == CRYPT_SALT_OK || kind == CRYPT_SALT_METHOD_LEGACY || kind == CRYPT_SALT_TOO_CHEAP;
        }
        if (!hash && !scram_word(word, &s))
            return false;
        good = true;
    }
    return good;
}
