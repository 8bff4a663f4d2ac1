#include "role/smtpd_report.h"

bool smtpd_report_frame(struct smtpd_core *core, const struct frame *f) {
    (void)core, (void)f;
    return false;
}
void smtpd_reports_down(struct smtpd_core *core) {
    (void)core;
}
