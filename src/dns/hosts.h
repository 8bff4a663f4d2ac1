/* hosts.h - names that the system's file of hosts knows (hosts(5)): "ADDRESS NAME NAME...  # comment".  Pure. */
#ifndef DNS_HOSTS_H
#define DNS_HOSTS_H

#include "base/str.h"

enum { HOSTS_FILE_MAX = 1024 * 1024 };

/* The addresses of the name, in the order of the text, at most max; they point into it.  How many. */
size_t hosts_find(str text, str name, str *addresses, size_t max);

#endif
