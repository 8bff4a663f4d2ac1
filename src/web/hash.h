/* hash.h - passwords to credentials, by keyd: httpd itself keeps none and hashes none. */
#ifndef WEB_HASH_H
#define WEB_HASH_H

#include "base/err.h"
#include "base/str.h"

struct event_base;

void hash_start_all(struct event_base *base);
void hash_link(int fd); /* a new link to keyd */
void hash_stop_all(void);
/* Calls done once, never before this returns: the credential, or ERR_DOWN, ERR_LIMIT ... */
void hash_ask(str password, void (*done)(void *arg, enum err e, str credential), void *arg);

#endif
