/* smtp_data.h - the bytes of a message on the wire: framing of DATA (RFC 5321 4.1.1.4, 4.5.2) and what is wrong with
 * them.  Only <CRLF>.<CRLF> ends a message, whatever the policy; a dot that begins a line behind a true CRLF is taken
 * away. Long work is a cursor: each step gives one slice of the input (nothing is copied) until the input is used up.
 *     while ((event = smtp_data_step(&d, &in, &slice)) == SMTP_DATA_SLICE)  hand on slice
 * Pure: no allocation.  The counters go on over all steps of one message. */
#ifndef SMTP_SMTP_DATA_H
#define SMTP_SMTP_DATA_H

#include "base/str.h"

/* What a lone CR, a lone LF and a NUL become. */
enum smtp_framing {
    SMTP_FRAMING_KEEP,      /* stay as they are, counted */
    SMTP_FRAMING_REJECT,    /* FAULT: the session must end, for what follows cannot be trusted */
    SMTP_FRAMING_NORMALIZE, /* LF becomes CRLF, CR and NUL a space; counted */
};

enum smtp_data_kind { SMTP_DATA_DOTS /* DATA */, SMTP_DATA_TEXT /* BDAT */, SMTP_DATA_BINARY /* BDAT, BINARYMIME */ };

struct smtp_data {
    enum smtp_framing framing;
    enum smtp_data_kind kind;
    uint8_t state;
    uint64_t column; /* bytes of the line so far */
    uint64_t bare_cr, bare_lf, nul, long_lines, eight_bit;
};

enum { SMTP_TEXT_LINE_MAX = 998 };

enum smtp_data_event {
    SMTP_DATA_MORE,  /* the input is used up */
    SMTP_DATA_SLICE, /* hand on the slice: part of the input, or a constant; step again */
    SMTP_DATA_END,   /* the final dot; *in is what follows it */
    SMTP_DATA_FAULT, /* only with REJECT */
};

void smtp_data_init(struct smtp_data *d, enum smtp_framing framing, enum smtp_data_kind kind);
enum smtp_data_event smtp_data_step(struct smtp_data *d, str *in, str *slice) MUST_CHECK;
/* The last chunk of BDAT is complete: what was held back (a CR that no LF follows).  Call until it is not SLICE. */
enum smtp_data_event smtp_data_finish(struct smtp_data *d, str *slice) MUST_CHECK;

/* The header section as it passes by: its size and its Received fields (RFC 5321 6.3), until the first empty line. */
struct smtp_header {
    uint64_t size;
    unsigned hops;
    uint8_t match; /* bytes of "received:" seen, or past it */
    bool blank;    /* nothing on this line yet but perhaps CR */
    bool done;
};

void smtp_header_init(struct smtp_header *h);
void smtp_header_feed(struct smtp_header *h, str slice);

#endif
