/* dns_files.h - the files that the resolver works by, read for it by who may read: it gets them as SECRET frames, and
 * on every reload anew.  What does not apply, or is missing where it may be, is empty. */
#ifndef SYS_DNS_FILES_H
#define SYS_DNS_FILES_H

#include "conf/conf.h"

enum dns_file {
    DNS_FILE_ANCHOR,  /* DNSSEC trust anchors: dns_anchor, or the system's */
    DNS_FILE_HINTS,   /* root servers: with an empty `dns` */
    DNS_FILE_SERVERS, /* resolv.conf: with dns system */
    DNS_FILES
};

enum { DNS_FILE_MAX = 256 * 1024 };

const char *dns_file_secret(enum dns_file f); /* "dns.anchor": the SECRET's name */
/* out is an empty buf.  Errors: the named dns_anchor, or resolv.conf, cannot be read. */
enum err dns_file_read(enum dns_file f, const struct conf *c, struct buf *out, struct why *w) MUST_CHECK;

#endif
