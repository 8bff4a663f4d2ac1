/* super_secret.h - what the supervisor reads from files for roles that may not: certificates, keys, passwords; and the
 * sandbox's own certificate, made when it is missing. */
#ifndef ROLE_SUPER_SECRET_H
#define ROLE_SUPER_SECRET_H

#include "conf/conf.h"

enum { SUPER_SECRET_NAME = 80, SUPER_SECRET_MAX = 1024 * 1024 };

struct super_secret {
    char name[SUPER_SECRET_NAME]; /* as in SECRET frames: "tls.default.cert" */
    struct buf bytes;
};

struct super_secrets {
    struct super_secret *list;
    size_t count;
};

/* Everything the configuration names; each complaint goes to errors.  False: there was one (free what is there). */
bool super_secret_load(struct super_secrets *s, const struct conf *c, struct conf_errors *errors) MUST_CHECK;
void super_secret_free(struct super_secrets *s); /* wiped */

#endif
