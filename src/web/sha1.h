/* sha1.h - SHA-1 (RFC 3174), for the one place that demands it: the websocket handshake (RFC 6455 4.2.2).  Nothing is
 * kept secret or proved by it.  Here so that httpd need not link a TLS library. */
#ifndef WEB_SHA1_H
#define WEB_SHA1_H

#include "base/str.h"

enum { SHA1_SIZE = 20 };
void sha1(str s, uint8_t digest[SHA1_SIZE]);

#endif
