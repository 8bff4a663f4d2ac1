/* conn.h - a connection on the loop: plain or TLS on the same descriptor, taken over from a listening socket or made by
 * calling somebody; and the listening sockets.
 *
 *   conn_connect -> connecting -> on_connected
 *           conn_start_tls           handshake done
 *   plain --------------> handshake ---------------> tls        on_read, conn_write: plain text in both
 *     \______________________|______________________/
 *                            | conn_close: output is flushed, our end shut, the peer's rest read away for a while
 *                         closing -> freed                      (no more callbacks)
 *
 * Output is collected and written once per turn of the loop.  What a callback is given is valid until it returns.
 * A conn is freed by itself: after on_close has returned, or, silently, after conn_close or conn_abort.  Within a
 * callback of the conn these two may be called, and conn is not to be used afterwards.
 * An idle one costs about half a KiB; the read buffer is one for all. */
#ifndef SYS_CONN_H
#define SYS_CONN_H

#include "base/buf.h"
#include "base/err.h"

struct conn;
struct event_base;
struct ssl_ctx_st;
struct ssl_st;
struct sockaddr;

enum {
    CONN_READ_SIZE = 64 * 1024,   /* the most bytes on_read gets at once */
    CONN_UNSENT_MAX = 256 * 1024, /* output beyond this that the peer does not take ends the connection */
    CONN_UNSENT_HIGH = 64 * 1024, /* above it on_drained will be called: a good point to conn_pause */
    CONN_LINGER_MS = 5000,        /* closing takes no longer */
};

/* Keep one static const of it: the conn keeps the pointer. */
struct conn_ops {
    void (*on_read)(void *arg, struct conn *c, str bytes);
    /* The peer sends no more (half close); NULL: treated as on_close(ERR_CLOSED).  Writing is still possible. */
    void (*on_end)(void *arg, struct conn *c);
    /* The handshake is complete; NULL: nobody cares.  A failed one is on_close(ERR_TLS). */
    void (*on_tls)(void *arg, struct conn *c);
    /* All output is written, after there was more than CONN_UNSENT_HIGH of it.  May be NULL. */
    void (*on_drained)(void *arg, struct conn *c);
    /* The time of conn_deadline has come. */
    void (*on_deadline)(void *arg, struct conn *c);
    /* The connection is gone and freed after return: ERR_CLOSED by the peer, ERR_IO, ERR_TLS, ERR_LIMIT (output). */
    void (*on_close)(void *arg, struct conn *c, enum err e, const char *reason);
    /* Of conn_connect: the other side has answered.  May be NULL. */
    void (*on_connected)(void *arg, struct conn *c);
};

/* Takes over fd (a connected stream socket).  NULL: no memory, fd is closed. */
struct conn *conn_open(struct event_base *base, int fd, const struct conn_ops *ops, void *arg);
/* Calls an address: "192.0.2.1", "2001:db8::1" with a port, or "unix:/path"; source is a local address of that family,
 * NULL or "" for any.  NULL: not an address, or the system says no at once (w tells why).  What fails later is
 * on_close; conn_deadline bounds the wait.  What is written before on_connected is sent then. */
struct conn *conn_connect(struct event_base *base, const char *address, uint16_t port, const char *source,
                          const struct conn_ops *ops, void *arg, struct why *w);
void conn_set_ops(struct conn *c, const struct conn_ops *ops, void *arg);

void conn_write(struct conn *c, str bytes);
size_t conn_unsent(const struct conn *c);
/* As server: what was written so far goes out in plain, then the handshake begins.  Bytes the caller has already been
 * given are his to judge.  on_read is called no more until on_tls. */
void conn_start_tls(struct conn *c, struct ssl_ctx_st *context);
/* As caller of `host` (a name, for SNI and the certificate, or an address).  The context is a verifying one
 * (tls_client_context); enforce false: any certificate will do, and conn_tls_verdict tells what was wrong with it. */
void conn_call_tls(struct conn *c, struct ssl_ctx_st *context, const char *host, bool enforce);
void conn_pause(struct conn *c); /* no on_read; the bytes stay with the sender */
void conn_resume(struct conn *c);
/* on_deadline in so many ms, instead of what was set before; 0: never.  Cheap enough for every command. */
void conn_deadline(struct conn *c, uint64_t ms);
void conn_half_close(struct conn *c); /* our end, after what was written; reading goes on.  Plain ones only */
void conn_close(struct conn *c);      /* after what was written has been sent; bounded by CONN_LINGER_MS */
void conn_abort(struct conn *c);      /* at once, with a reset: for attackers */

bool conn_is_tls(const struct conn *c);             /* a handshake has been completed */
struct ssl_st *conn_ssl(const struct conn *c);      /* for tls_binding(); NULL: plain */
const char *conn_tls_version(const struct conn *c); /* "TLSv1.3", "" when plain */
const char *conn_tls_cipher(const struct conn *c);  /* "TLS_AES_256_GCM_SHA384" */
const char *conn_tls_name(const struct conn *c);    /* what the client asked for by SNI, "" for none */
const char *conn_tls_verdict(const struct conn *c); /* of a called server's certificate: "" is good, else in words */
int conn_fd(const struct conn *c);

/* Addresses of a socket as text: "127.0.0.1", "2001:db8::1" (IPv4 inside IPv6 as IPv4), "unix". */
enum { CONN_ADDRESS_MAX = 64 };
struct conn_address {
    char text[CONN_ADDRESS_MAX];
    uint16_t port; /* 0 for unix */
};
void conn_peer_address(int fd, struct conn_address *a);
void conn_local_address(int fd, struct conn_address *a);

/* A listening socket.  on_accept gets a non-blocking, close-on-exec descriptor that is its own from now on.  A few are
 * accepted per turn, so that sessions go on and other workers get their share; out of descriptors or memory it pauses
 * by itself for half a second (ACCEPT_PAUSED) instead of spinning. */
struct acceptor;
struct acceptor *acceptor_open(struct event_base *base, int fd, void (*on_accept)(void *arg, int fd), void *arg);
void acceptor_pause(struct acceptor *a);
void acceptor_resume(struct acceptor *a);
void acceptor_close(struct acceptor *a); /* closes the descriptor too */

#endif
