/* mbox.h - many messages in one file, each behind a "From sender date" line (RFC 4155): reading what others wrote,
 * writing mboxrd.  Pure. A message begins at a "From " line with a time in it, at the front of the file or behind an
 * empty line.  Where its Content-Length says that it is longer (and just there is the end of the file, or the next such
 * line), that is believed: writers of mboxcl2 do not quote. */
#ifndef MIME_MBOX_H
#define MIME_MBOX_H

#include "base/buf.h"
#include "base/date.h"

enum mbox_quoting {
    MBOX_QUOTES_RD,   /* every ">...>From " was quoted: mboxrd; the default */
    MBOX_QUOTES_O,    /* only ">From " was: mboxo */
    MBOX_QUOTES_NONE, /* mboxcl2 */
};

struct mbox_iter {
    str rest;
};

struct mbox_message {
    str sender;       /* of the From line */
    struct date date; /* likewise; us 0: none */
    str raw;          /* header and body as they stand in the file */
    bool counted;     /* its Content-Length was right: not quoted, most likely */
    bool ours;        /* written by the writer below: raw begins behind its fields, no other field tells its end */
    unsigned flags;   /* maildir.h's, of the fields Status and X-Status */
};

/* False at the end.  Bytes before the first message are skipped. */
bool mbox_next(struct mbox_iter *it, struct mbox_message *m);
/* Appends the message as it was before it came into a mailbox: without the fields for its flags, quotes undone, with
 * CRLF line ends. */
void mbox_message_put(const struct mbox_message *m, struct buf *out);
/* The same of a piece of raw, told how it is quoted. */
void mbox_unquote(str raw, enum mbox_quoting quoting, struct buf *out);
/* maildir.h's flags, of the fields Status and X-Status. */
unsigned mbox_flags(str header);

/* Writing: begin, the message (with CRLF or LF line ends) in any pieces, end.  What is written comes back equal, but
 * for a last line without its end, which it gets. */
struct mbox_writer {
    size_t quotes, matched; /* of the beginning of the line at hand */
    bool inside, cr;        /* inside: it cannot become a From line any more */
};
void mbox_write_begin(struct mbox_writer *w, str sender, struct date date, unsigned flags, struct buf *out);
void mbox_write_put(struct mbox_writer *w, str bytes, struct buf *out);
void mbox_write_end(struct mbox_writer *w, struct buf *out);

#endif
