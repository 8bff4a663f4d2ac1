/* smtpd_auth.h - AUTH of a session: judged by keyd in a server, by the auth file's users or nobody (the sandbox) else.
 */
#ifndef ROLE_SMTPD_AUTH_H
#define ROLE_SMTPD_AUTH_H

#include "role/smtpd_core.h"

void smtpd_auth_step(struct smtpd_session *s); /* answers WANT_AUTH, or the session waits FOR_KEYD */
void smtpd_auth_end(struct smtpd_session *s);  /* the exchange, if there is one, is given up */
bool smtpd_auth_frame(struct smtpd_core *core, const struct frame *f); /* false: not one of keyd's */
void smtpd_auth_down(struct smtpd_core *core);

#endif
