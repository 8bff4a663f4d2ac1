/* smtpd_generation.h - what one configuration makes of smtpd: a copy of it, its listeners, its limits.  New sessions
 * have the newest; one lives until its last session has ended. */
#ifndef ROLE_SMTPD_GENERATION_H
#define ROLE_SMTPD_GENERATION_H

#include "conf/conf.h"
#include "mailauth/sasl_server.h"
#include "smtp/smtp_server.h"

struct smtpd_listener {
    struct smtp_config smtp;
    struct conf_networks proxy, xclient; /* the generation's */
};

struct smtpd_generation {
    size_t refs;
    struct arena arena;
    struct conf *conf;
    bool routes, edits, keyd; /* mail is routed; is edited; credentials are keyd's to judge */
    struct sasl_policy users; /* else: these */
    struct smtpd_listener *listeners;
    size_t listener_count;
    struct smtpd_listener inside; /* of sessions that come from within */
    size_t connections_max, connections_per_client;
    uint64_t messages_per_client; /* in an hour; 0: any number */
};

/* With one reference.  has_tls: is there a certificate for this listener?  users: the auth file's text, p NULL: none.
 * ERR_SYNTAX, ERR_TLS, ERR_NOMEM with a sentence. */
enum err smtpd_generation_new(const struct conf *c, str users, unsigned workers, bool (*has_tls)(str listener),
                              struct smtpd_generation **g, struct why *w) MUST_CHECK;
void smtpd_generation_unref(struct smtpd_generation *g);

struct smtpd_listener *smtpd_generation_listener(struct smtpd_generation *g, str name); /* NULL: none of that name */

#endif
