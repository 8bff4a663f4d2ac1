/* tls.h - TLS for those who listen and those who call: contexts from PEM bytes, never from files.
 * TLS 1.2 and 1.3; buffers are released while idle; sessions resume by tickets whose keys come from the supervisor, so
 * that all workers and their successors know them.
 *
 * A server role keeps one struct tls_set:
 *     secret(name, bytes):  if (tls_set_secret(set, name, bytes)) return;         "tls.*" and "ticket"
 *     configure(...):       e = tls_set_load(set, &w);                            new handshakes use what is new
 *     a session:            conn_start_tls(c, tls_set_context(set, listener_name))  sys/conn.h
 * The certificate is the listener's own, else the default one, unless the client names (SNI) a host that another
 * certificate of the set is for. */
#ifndef SYS_TLS_H
#define SYS_TLS_H

#include "base/buf.h"
#include "base/err.h"

struct ssl_ctx_st; /* OpenSSL's SSL_CTX and SSL */
struct ssl_st;
struct tls_set;

enum {
    TLS_TICKET_KEY = 80, /* name 16, HMAC key 32, AES-256 key 32 */
    TLS_TICKET_KEYS = 3, /* the "ticket" secret: one to three keys; the first seals, all open */
    TLS_BINDING_SIZE = 32,
};

struct tls_set *tls_set_new(void); /* NULL: no memory */
void tls_set_free(struct tls_set *t);
/* Remembers a secret ("tls.<name>.cert", "tls.<name>.key", "ticket"); false: not one of these.  Tickets hold at once.
 */
bool tls_set_secret(struct tls_set *t, str name, str bytes);
/* Makes contexts of what is remembered.  ERR_TLS with a sentence: everything stays as it was. */
enum err tls_set_load(struct tls_set *t, struct why *w) MUST_CHECK;
/* For handshakes on this listener; NULL: there is no certificate.  Belongs to the set, valid until the next load; a
 * session that has begun with it is not touched by a load. */
struct ssl_ctx_st *tls_set_context(struct tls_set *t, str listener);

/* For a caller.  ca_file NULL: the system's authorities.  verify false: any certificate will do.  SSL_CTX_free ends it.
 */
struct ssl_ctx_st *tls_client_context(bool verify, const char *ca_file, struct why *w);
/* Reads the system's file of authorities, or that of SSL_CERT_FILE, into the context now: a role opens no file later,
 * and a directory of them would be read when needed.  False: there is none, and nobody can be verified. */
bool tls_load_authorities(struct ssl_ctx_st *c);
/* Sets the name to ask for (SNI) and to find in the certificate; an address is compared as one. */
enum err tls_client_name(struct ssl_st *ssl, const char *host, struct why *w) MUST_CHECK;

/* tls-exporter channel binding (RFC 9266), for SCRAM-SHA-256-PLUS.  False: no handshake yet. */
bool tls_binding(struct ssl_st *ssl, uint8_t binding[TLS_BINDING_SIZE]) MUST_CHECK;

/* What went wrong last in OpenSSL, in words, and clears it: for struct why. */
const char *tls_reason(char *space, size_t size);

/* A certificate (ECDSA P-256, ten years) for hostname, localhost and the loopback addresses, as PEM. */
enum err tls_self_signed(str hostname, struct buf *cert, struct buf *key, struct why *w) MUST_CHECK;

/* Is this a usable pair?  ERR_TLS with a sentence that names the files: no PEM, key of another certificate, expired. */
enum err tls_check_pair(str cert, str key, const char *cert_file, const char *key_file, struct why *w) MUST_CHECK;

#endif
