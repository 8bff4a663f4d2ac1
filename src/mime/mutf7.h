/* mutf7.h - modified UTF-7 (RFC 3501 5.1.3): names of mailboxes in IMAP and Maildir++.  Pure. */
#ifndef MIME_MUTF7_H
#define MIME_MUTF7_H

#include "base/buf.h"

/* Well-formed UTF-8 in, ASCII out.  False: it is not. */
bool mutf7_encode(str utf8, struct buf *out) MUST_CHECK;
/* False: it is not such a name; what was appended is of no use. */
bool mutf7_decode(str name, struct buf *out) MUST_CHECK;

#endif
