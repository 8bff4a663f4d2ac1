/* notify.h - tells the service manager how we are (sd_notify(3): one datagram to $NOTIFY_SOCKET).  Without the
 * variable nothing happens. */
#ifndef SYS_NOTIFY_H
#define SYS_NOTIFY_H

void notify_init(void); /* reads the variable and removes it, so that no child speaks for us */
void notify_ready(const char *status);
void notify_reloading(void);
void notify_stopping(void);

#endif
