/* idna.h - names of domains in the form that is compared and looked up (RFC 5890, UTS 46).  Pure.
 * ASCII is only lowered; ICU is asked for the rest. */
#ifndef MIME_IDNA_H
#define MIME_IDNA_H

#include "base/buf.h"

enum { IDNA_DOMAIN_MAX = 255 };

/* Appends the domain in lower case and with A-labels.  False, and nothing appended: it has none, or is too long. */
bool idna_ascii(str domain, struct buf *out) MUST_CHECK;

#endif
