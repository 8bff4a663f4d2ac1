/* downgrade.h - a message for a server that takes less: 7-bit bodies for one without 8BITMIME (RFC 6152 3), lines of at
 * most 998 bytes for all of them, an ASCII header for one without SMTPUTF8.  Pure, streaming, memory bounded.
 * What is decoded from it is what was decoded before: bodies of text become quoted-printable, others base64, and the
 * Content-Transfer-Encoding fields say so.  As the header of a part goes out before its body is seen, every body that
 * is not encoded yet is: run it only over what needs it.  Signed and encrypted parts (RFC 1847) are left alone; where
 * one of them has what the server cannot take, the message cannot be converted (but long lines may pass).
 *
 *     struct downgrade d;                  downgrade_init(&d, DOWNGRADE_EIGHT_BIT | DOWNGRADE_LINES);
 *     e = downgrade_put(&d, piece, &out);  for every piece; out is filled with what can go, at most some more than came
 *     e = downgrade_end(&d, &out);
 *     downgrade_free(&d);
 *
 * ERR_UNSUPPORTED (and d.why): it cannot be; the message is not to be finished: 5.6.3, or 5.6.7 for a local part that
 * has no ASCII form (d.address).  ERR_FULL: the limit of out was reached.  ERR_NOMEM. */
#ifndef MIME_DOWNGRADE_H
#define MIME_DOWNGRADE_H

#include "base/err.h"
#include "mime/encode.h"
#include "mime/mime.h"

enum downgrade_mode {
    DOWNGRADE_EIGHT_BIT = 1, /* no byte above 127 in a body */
    DOWNGRADE_LINES = 2,     /* no line over 998 bytes in a body, where that can be: most servers take them */
    DOWNGRADE_UTF8 = 4,      /* no byte above 127 in a header */
    DOWNGRADE_BINARY = 8,    /* lines meant nothing so far (BINARYMIME), and must: always with EIGHT_BIT */
};

struct downgrade {
    unsigned mode;
    enum err failed;
    bool address; /* it failed by an address */
    struct why why;

    /* inside */
    struct mime parser;
    struct buf window; /* bytes of the message that are not written yet; they begin at `done` */
    size_t window_at;  /* where in the window */
    uint64_t done;
    uint32_t leaf; /* whose body is at hand; MIME_NONE: none */
    bool raw;      /* it passes as it is */
    struct transfer decode;
    struct encode encode;
    struct buf decoded;
    size_t line; /* bytes of the line at hand that passed as they are */
    bool after_cr;
    char last[2]; /* that were written */
};

void downgrade_init(struct downgrade *d, unsigned mode);
enum err downgrade_put(struct downgrade *d, str in, struct buf *out) MUST_CHECK;
enum err downgrade_end(struct downgrade *d, struct buf *out) MUST_CHECK;
void downgrade_free(struct downgrade *d);

#endif
