/* access.h - who may do what over HTTP.  A listener with access `open` asks nothing (the sandbox: whoever reaches it).
 * One with access `token` wants "Authorization: Bearer TOKEN" (or Basic, with the token as password, for browsers), or
 * a client on its unix socket that is root or the user Penfold runs as: an administrator.  A token is kept as its
 * SHA-256 alone; its entry in the directory says its role and, for sending, its account. */
#ifndef WEB_ACCESS_H
#define WEB_ACCESS_H

#include "conf/conf.h"
#include "web/http.h"

enum access_right {
    RIGHT_OPEN,    /* no secret of anybody */
    RIGHT_SEND,    /* send as the token's account */
    RIGHT_READ,    /* look at everything */
    RIGHT_WRITE,   /* change and delete messages */
    RIGHT_OPERATE, /* hold, release, retry, delete what is queued */
    RIGHT_ADMIN,   /* accounts, tokens, traces */
};

void access_configure(const struct conf *c); /* c lives until the next one */
/* Calls then(r) at once or later, or answers 401 or 403 instead. */
void access_check(struct http_req *r, enum access_right right, void (*then)(struct http_req *r));
/* Within `then`: the account a token sends as; empty: it may name any (an administrator, an open listener). */
str access_account(void);

#endif
