/* err.h - the one error type.  A function that can fail for a reason of the world returns an
 * enum err and puts the sentence for a person into a struct why; only the edge logs it.
 * Our own mistakes are asserts. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/str.h"

enum err {
    OK = 0,
    ERR_MORE,        /* not an error: more input or an answer is needed */
    ERR_SYNTAX,      /* the input does not follow its grammar */
    ERR_LIMIT,       /* larger, deeper or more than allowed */
    ERR_IO,          /* the system refused: disk, socket, file */
    ERR_FULL,        /* no space: disk, quota, budget */
    ERR_NOMEM,       /* no memory */
    ERR_NOT_FOUND,   /* no such thing */
    ERR_EXISTS,      /* there already, or held by another process */
    ERR_DENIED,      /* not allowed */
    ERR_CORRUPT,     /* stored or framed bytes fail their checks */
    ERR_VERSION,     /* written by a newer or unknown version */
    ERR_TIMEOUT,     /* a deadline passed */
    ERR_CLOSED,      /* the peer is gone */
    ERR_TLS,         /* handshake or certificate */
    ERR_UNSUPPORTED, /* understood, but not offered */
    ERR_DOWN,        /* who should answer is not running */
    ERR_COUNT
};

const char *err_name(enum err e); /* "not found": a few lower-case words */

struct why {
    char text[512];
};

/* Formats the sentence (when w is not NULL) and returns e, so that a guard reads
 *     return why(w, ERR_IO, "%s: %s", path, strerror(errno)); */
enum err why(struct why *w, enum err e, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
