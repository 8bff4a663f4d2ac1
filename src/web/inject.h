/* inject.h - messages from here into the way of all mail, and transcripts from there: httpd's links to the smtpd
 * processes.  A message goes to one of them as INJECT frames and is answered INJECTED when it is on stable storage. */
#ifndef WEB_INJECT_H
#define WEB_INJECT_H

#include "base/err.h"
#include "base/str.h"

struct event_base;

void inject_start_all(struct event_base *base);
void inject_link(unsigned instance, int fd); /* a new link to that smtpd */
void inject_stop_all(void);

struct inject_mail {
    str user; /* the account it is sent as; empty: one that may do anything */
    str sender;
    const str *recipients;
    size_t recipient_count;
    str mailbox;                 /* "ACCOUNT/FOLDER": appended there, no recipients ... */
    uint64_t flags, received_us; /* ... so marked (mime/maildir.h), and received then; 0: now */
    str client;                  /* address, for the envelope */
    str bytes;
};
/* Copies what it needs.  done comes once, never before this returns: OK with the id; else the sentence. */
void inject(const struct inject_mail *m, void (*done)(void *arg, enum err e, str id, str text), void *arg);

/* Lines of sessions as they happen, from all workers, until inject_trace_end(). */
struct inject_trace;
struct inject_trace *inject_trace(str filter, void (*line)(void *arg, str session, str text), void *arg);
void inject_trace_end(struct inject_trace *t);

#endif
