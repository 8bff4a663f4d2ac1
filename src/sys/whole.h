/* whole.h - all bytes of a file or a stream at once, up to a limit.  Blocking.  `out` is an empty buf, whose limit is
 * set here; what was read before a failure stays in it, for its owner to free or wipe. */
#ifndef SYS_WHOLE_H
#define SYS_WHOLE_H

#include "base/buf.h"
#include "base/err.h"

/* `name` is for the sentence.  ERR_LIMIT: more than max bytes; ERR_IO; ERR_NOMEM. */
enum err whole_read_fd(int fd, const char *name, size_t max, struct buf *out, struct why *w) MUST_CHECK;
/* ERR_NOT_FOUND, too: there is no such file. */
enum err whole_read_file(const char *path, size_t max, struct buf *out, struct why *w) MUST_CHECK;

#endif
