/* smtp_transcript.h - what was said in a session, for people: a line per command, reply and event.
 *     12 C: MAIL FROM:<a@b>          milliseconds since the connection began; C client, S server, * what happened
 *     12 S: 250 2.1.0 Ok
 *     14 *: 10240 bytes of message
 * Controls and stray bytes are escaped as \xHH, the backslash as \\.  It keeps the head and the tail within its limit
 * and says how much is left out between.  The host takes it piece by piece.  Pure. */
#ifndef SMTP_SMTP_TRANSCRIPT_H
#define SMTP_SMTP_TRANSCRIPT_H

#include "base/buf.h"

struct smtp_transcript {
    struct buf head, tail;
    uint64_t left_out; /* bytes */
    /* Optional: sees each line as it comes. */
    void (*tap)(void *arg, uint64_t ms, char who, str text);
    void *tap_arg;
};

void smtp_transcript_init(struct smtp_transcript *t, size_t limit);
void smtp_transcript_free(struct smtp_transcript *t);

void smtp_transcript_line(struct smtp_transcript *t, uint64_t ms, char who, str text);

/* How a line is written, with its LF. */
void smtp_transcript_put(struct buf *out, uint64_t ms, char who, str text);

/* Appends all of it to out and forgets it. */
void smtp_transcript_take(struct smtp_transcript *t, struct buf *out);

#endif
