#include "sys/tls.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ip.h"

enum {
    NAME_MAX_SIZE = 64,
    PEM_MAX = 1024 * 1024,
    CERTIFICATES_MAX = 256,
    SELF_SIGNED_DAYS = 3650,
};

/* One certificate of the set, by the name in its secrets. */
struct tls_entry {
    char name[NAME_MAX_SIZE];
    struct buf cert, key;
    SSL_CTX *context; /* of the last load */
};

struct tls_set {
    struct tls_entry *entries[CERTIFICATES_MAX];
    size_t count;
    uint8_t tickets[TLS_TICKET_KEYS][TLS_TICKET_KEY];
    size_t ticket_count;
};

const char *tls_reason(char *space, size_t size) {
    unsigned long e = ERR_peek_last_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;
    snprintf(space, size, "%s", reason ? reason : "unknown TLS error");
    ERR_clear_error();
    return space;
}

/* ---- PEM ---- */

static BIO *pem_open(str pem) {
    return pem.n <= PEM_MAX ? BIO_new_mem_buf(pem.n ? pem.p : "", (int)pem.n) : NULL;
}

/* No terminal to ask for a passphrase: an encrypted key is an error, not a prompt. */
static int no_passphrase(char *p, int size, int writing, void *arg) {
    (void)p, (void)size, (void)writing, (void)arg;
    return -1;
}

static X509 *pem_cert(str pem) {
    BIO *b = pem_open(pem);
    X509 *x = b ? PEM_read_bio_X509(b, NULL, no_passphrase, NULL) : NULL;
    BIO_free(b);
    return x;
}

static EVP_PKEY *pem_key(str pem) {
    BIO *b = pem_open(pem);
    EVP_PKEY *k = b ? PEM_read_bio_PrivateKey(b, NULL, no_passphrase, NULL) : NULL;
    BIO_free(b);
    return k;
}

static enum err check_times(const X509 *x, const char *file, struct why *w) {
    if (X509_cmp_current_time(X509_get0_notAfter(x)) < 0)
        return why(w, ERR_TLS, "%s: the certificate has expired", file);
    if (X509_cmp_current_time(X509_get0_notBefore(x)) > 0)
        return why(w, ERR_TLS, "%s: the certificate is not valid yet", file);
    return OK;
}

enum err tls_check_pair(str cert, str key, const char *cert_file, const char *key_file, struct why *w) {
    X509 *x = pem_cert(cert);
    EVP_PKEY *k = pem_key(key);
    enum err e = OK;
    if (!x)
        e = why(w, ERR_TLS, "%s: no certificate in PEM format", cert_file);
    else if (!k)
        e = why(w, ERR_TLS, "%s: no private key in PEM format that can be read without a passphrase", key_file);
    else if (X509_check_private_key(x, k) != 1)
        e = why(w, ERR_TLS, "%s: not the key of the certificate in %s", key_file, cert_file);
    else
        e = check_times(x, cert_file, w);
    X509_free(x);
    EVP_PKEY_free(k);
    ERR_clear_error();
    return e;
}

static bool use_chain(SSL_CTX *context, str pem) {
    BIO *b = pem_open(pem);
    X509 *x = b ? PEM_read_bio_X509(b, NULL, no_passphrase, NULL) : NULL;
    bool ok = x && SSL_CTX_use_certificate(context, x) == 1;
    X509_free(x);
    while (ok && (x = PEM_read_bio_X509(b, NULL, no_passphrase, NULL)))
        if (SSL_CTX_add0_chain_cert(context, x) != 1) {
            X509_free(x);
            ok = false;
        }
    ERR_clear_error(); /* "no more certificates" is how the chain ends */
    BIO_free(b);
    return ok;
}

static bool use_key(SSL_CTX *context, str pem) {
    EVP_PKEY *k = pem_key(pem);
    bool ok = k && SSL_CTX_use_PrivateKey(context, k) == 1 && SSL_CTX_check_private_key(context) == 1;
    EVP_PKEY_free(k);
    return ok;
}

/* ---- tickets (RFC 5077, RFC 8446 4.6.1): sealed by the first key, opened by any ---- */

static bool ticket_use(EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, const uint8_t *key, const uint8_t *iv, int seal) {
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(key + 16), 32),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key + 48, iv, seal) == 1 &&
           EVP_MAC_CTX_set_params(mac, params) == 1;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                     int seal) {
    const struct tls_set *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    if (t->ticket_count == 0)
        return 0; /* no ticket, a full handshake next time */
    if (seal) {
        memcpy(name, t->tickets[0], 16);
        if (RAND_bytes(iv, EVP_MAX_IV_LENGTH) != 1)
            return -1;
        return ticket_use(cipher, mac, t->tickets[0], iv, 1) ? 1 : -1;
    }
    for (size_t i = 0; i < t->ticket_count; i++)
        if (CRYPTO_memcmp(name, t->tickets[i], 16) == 0)
            return !ticket_use(cipher, mac, t->tickets[i], iv, 0) ? -1 : i == 0 ? 1 : 2; /* 2: give a new one */
    return 0;
}

/* ---- contexts ---- */

static struct tls_entry *entry(struct tls_set *t, str name) {
    for (size_t i = 0; i < t->count; i++)
        if (str_eq(str_of(t->entries[i]->name), name))
            return t->entries[i];
    return NULL;
}

static struct tls_entry *entry_make(struct tls_set *t, str name) {
    struct tls_entry *e = entry(t, name);
    if (e || t->count == CERTIFICATES_MAX || name.n == 0 || name.n >= NAME_MAX_SIZE)
        return e;
    e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    memcpy(e->name, name.p, name.n);
    e->cert = e->key = BUF(PEM_MAX);
    t->entries[t->count++] = e;
    return e;
}

static bool cert_is_for(SSL_CTX *context, const char *host) {
    X509 *x = context ? SSL_CTX_get0_certificate(context) : NULL;
    return x && X509_check_host(x, host, 0, 0, NULL) == 1;
}

/* SNI (RFC 6066 3): the context the listener chose stays when it fits, or when nothing fits better. */
static int on_server_name(SSL *ssl, int *alert, void *arg) {
    (void)alert;
    const struct tls_set *t = arg;
    const char *host = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (!host || cert_is_for(SSL_get_SSL_CTX(ssl), host))
        return host ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
    for (size_t i = 0; i < t->count; i++)
        if (cert_is_for(t->entries[i]->context, host)) {
            SSL_set_SSL_CTX(ssl, t->entries[i]->context);
            return SSL_TLSEXT_ERR_OK;
        }
    return SSL_TLSEXT_ERR_NOACK;
}

static void common_options(SSL_CTX *c) {
    SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    /* TLS 1.2: forward secrecy and authenticated encryption only (RFC 9325 4.2). */
    SSL_CTX_set_cipher_list(c, "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20");
}

static SSL_CTX *server_context(struct tls_set *t) {
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    if (!c)
        return NULL;
    common_options(c);
    SSL_CTX_set_options(c, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_dh_auto(c, 1);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF); /* tickets remember, we do not */
    SSL_CTX_set_session_id_context(c, (const unsigned char *)"penfold", 7);
    SSL_CTX_set_num_tickets(c, 1);
    SSL_CTX_set_app_data(c, t);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(c, on_ticket);
    SSL_CTX_set_tlsext_servername_callback(c, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(c, t);
    return c;
}

static SSL_CTX *entry_context(struct tls_set *t, const struct tls_entry *e, struct why *w) {
    char space[128];
    SSL_CTX *c = server_context(t);
    if (c && use_chain(c, buf_str(&e->cert)) && use_key(c, buf_str(&e->key)))
        return c;
    (void)why(w, ERR_TLS, "the certificate \"%s\" cannot be used: %s", e->name, tls_reason(space, sizeof space));
    SSL_CTX_free(c);
    return NULL;
}

/* ---- the set ---- */

struct tls_set *tls_set_new(void) {
    return calloc(1, sizeof(struct tls_set));
}

void tls_set_free(struct tls_set *t) {
    for (size_t i = 0; t && i < t->count; i++) {
        SSL_CTX_free(t->entries[i]->context);
        buf_wipe(&t->entries[i]->cert);
        buf_wipe(&t->entries[i]->key);
        free(t->entries[i]);
    }
    free(t);
}

static void set_tickets(struct tls_set *t, str bytes) {
    size_t n = bytes.n / TLS_TICKET_KEY;
    t->ticket_count = n < TLS_TICKET_KEYS ? n : TLS_TICKET_KEYS;
    for (size_t i = 0; i < t->ticket_count; i++)
        memcpy(t->tickets[i], str_tail(bytes, i * TLS_TICKET_KEY).p, TLS_TICKET_KEY);
}

bool tls_set_secret(struct tls_set *t, str name, str bytes) {
    if (str_eq(name, S("ticket"))) {
        set_tickets(t, bytes);
        return true;
    }
    if (!str_skip(&name, S("tls.")))
        return false;
    size_t dot = str_rfind(name, '.');
    bool is_key = str_ends(name, S(".key"));
    if (dot == SIZE_MAX || (!is_key && !str_ends(name, S(".cert"))))
        return false;
    struct tls_entry *e = entry_make(t, str_head(name, dot));
    if (!e)
        return true;
    struct buf *b = is_key ? &e->key : &e->cert;
    buf_wipe(b);
    buf_add(b, bytes);
    return true;
}

enum err tls_set_load(struct tls_set *t, struct why *w) {
    SSL_CTX *fresh[CERTIFICATES_MAX] = {0};
    for (size_t i = 0; i < t->count; i++) {
        fresh[i] = entry_context(t, t->entries[i], w);
        if (fresh[i])
            continue;
        while (i-- > 0)
            SSL_CTX_free(fresh[i]);
        return ERR_TLS;
    }
    for (size_t i = 0; i < t->count; i++) {
        SSL_CTX_free(t->entries[i]->context);
        t->entries[i]->context = fresh[i];
    }
    return OK;
}

struct ssl_ctx_st *tls_set_context(struct tls_set *t, str listener) {
    struct tls_entry *e = entry(t, listener);
    if (!e || !e->context)
        e = entry(t, S("default"));
    return e ? e->context : NULL;
}

/* ---- callers ---- */

struct ssl_ctx_st *tls_client_context(bool verify, const char *ca_file, struct why *w) {
    char space[128];
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());
    if (!c) {
        (void)why(w, ERR_TLS, "TLS: %s", tls_reason(space, sizeof space));
        return NULL;
    }
    common_options(c);
    SSL_CTX_set_verify(c, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    int ok = !verify ? 1 : ca_file ? SSL_CTX_load_verify_file(c, ca_file) : SSL_CTX_set_default_verify_paths(c);
    if (ok == 1)
        return c;
    (void)why(w, ERR_TLS, "%s: %s", ca_file ? ca_file : "the system's certificate authorities",
              tls_reason(space, sizeof space));
    SSL_CTX_free(c);
    return NULL;
}

bool tls_load_authorities(struct ssl_ctx_st *c) {
    const char *named = getenv(X509_get_default_cert_file_env());
    const char *files[] = {named, "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                           "/etc/ssl/cert.pem", X509_get_default_cert_file()};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (files[i] && SSL_CTX_load_verify_file(c, files[i]) == 1)
            return true;
    return false;
}

static bool is_address(const char *host) {
    uint8_t space[IP6_SIZE];
    return ip4_parse(str_of(host), space) || ip6_parse(str_of(host), space);
}

enum err tls_client_name(struct ssl_st *ssl, const char *host, struct why *w) {
    bool ok;
    if (is_address(host)) /* RFC 6066 3: no SNI for addresses */
        ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    else
        ok = SSL_set_tlsext_host_name(ssl, host) == 1 && SSL_set1_host(ssl, host) == 1;
    return ok ? OK : why(w, ERR_TLS, "\"%s\" cannot be a name in a certificate", host);
}

bool tls_binding(struct ssl_st *ssl, uint8_t binding[TLS_BINDING_SIZE]) {
    static const char label[] = "EXPORTER-Channel-Binding"; /* RFC 9266 4.2; the context is empty, not absent */
    return SSL_is_init_finished(ssl) && SSL_export_keying_material(ssl, binding, TLS_BINDING_SIZE, label,
                                                                   sizeof label - 1, (const uint8_t *)"", 0, 1) == 1;
}

/* ---- the sandbox's own certificate ---- */

static bool add_extension(X509 *x, int nid, const char *value) {
    X509V3_CTX c;
    X509V3_set_ctx_nodb(&c);
    X509V3_set_ctx(&c, x, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &c, nid, value);
    bool ok = e && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

/* What goes into an extension is a small language of OpenSSL's own: only names that cannot be mistaken for it. */
static bool plain_name(str s) {
    if (s.n == 0 || s.n > 200)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = str_sub(s, i, 1).p[0];
        if (!char_is_alnum(c) && c != '-' && c != '.')
            return false;
    }
    return true;
}

static bool fill_certificate(X509 *x, EVP_PKEY *key, str hostname) {
    char names[400];
    uint64_t serial;
    bool named = plain_name(hostname) && !str_ieq(hostname, S("localhost"));
    if (!named)
        hostname = STR_NONE;
    snprintf(names, sizeof names, "DNS:localhost%s%.*s,IP:127.0.0.1,IP:::1", named ? ",DNS:" : "", STR_ARG(hostname));
    if (RAND_bytes((unsigned char *)&serial, sizeof serial) != 1)
        return false;
    X509_NAME *subject = X509_get_subject_name(x);
    return X509_set_version(x, X509_VERSION_3) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1) == 1 &&
           X509_gmtime_adj(X509_getm_notBefore(x), -3600) && /* clocks of containers differ a little */
           X509_time_adj_ex(X509_getm_notAfter(x), SELF_SIGNED_DAYS, 0, NULL) && X509_set_pubkey(x, key) == 1 &&
           X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC, (const uint8_t *)"Penfold sandbox", -1, -1, 0) == 1 &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)"localhost", -1, -1, 0) == 1 &&
           X509_set_issuer_name(x, subject) == 1 && add_extension(x, NID_basic_constraints, "critical,CA:TRUE") &&
           add_extension(x, NID_key_usage, "critical,digitalSignature,keyCertSign") &&
           add_extension(x, NID_ext_key_usage, "serverAuth") && add_extension(x, NID_subject_alt_name, names) &&
           add_extension(x, NID_subject_key_identifier, "hash") && X509_sign(x, key, EVP_sha256()) > 0;
}

static bool bio_to_buf(BIO *b, struct buf *out) {
    char *p;
    long n = BIO_get_mem_data(b, &p);
    buf_add(out, str_n(p, n > 0 ? (size_t)n : 0));
    return n > 0 && !out->full;
}

enum err tls_self_signed(str hostname, struct buf *cert, struct buf *key, struct why *w) {
    char space[128];
    EVP_PKEY *k = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    BIO *cert_pem = BIO_new(BIO_s_mem());
    BIO *key_pem = BIO_new(BIO_s_mem());
    bool ok = k && x && cert_pem && key_pem && fill_certificate(x, k, hostname) &&
              PEM_write_bio_X509(cert_pem, x) == 1 &&
              PEM_write_bio_PrivateKey(key_pem, k, NULL, NULL, 0, NULL, NULL) == 1 && bio_to_buf(cert_pem, cert) &&
              bio_to_buf(key_pem, key);
    EVP_PKEY_free(k);
    X509_free(x);
    BIO_free(cert_pem);
    BIO_free(key_pem);
    return ok ? OK : why(w, ERR_TLS, "cannot make a certificate: %s", tls_reason(space, sizeof space));
}
