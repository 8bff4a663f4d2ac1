/* smtpd_report.h - reports (RFC 3464): the store asks by a JOB of kind JOB_REPORT, with the envelope of the message
 * that is told of, its recipients and what came of them, and as much of the message as is returned.  The report is
 * built here and goes the way of all mail, from the null sender to the one who sent it; its acceptance is what settles
 * its recipients (envelope.report_of). */
#ifndef ROLE_SMTPD_REPORT_H
#define ROLE_SMTPD_REPORT_H

#include "role/smtpd_core.h"

bool smtpd_report_frame(struct smtpd_core *core, const struct frame *f); /* false: not one of these */
void smtpd_reports_down(struct smtpd_core *core);

#endif
