/* smtpd_trace.h - live transcripts: from TRACE_ON to TRACE_OFF every line of the sessions that match goes to httpd. */
#ifndef ROLE_SMTPD_TRACE_H
#define ROLE_SMTPD_TRACE_H

#include "role/smtpd_core.h"

void smtpd_trace_session(struct smtpd_session *s);                      /* a new one */
bool smtpd_trace_frame(struct smtpd_core *core, const struct frame *f); /* false: not one of these */
void smtpd_traces_down(struct smtpd_core *core);                        /* nobody listens any more */

#endif
