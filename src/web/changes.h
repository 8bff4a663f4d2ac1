/* changes.h - what changes in the store, told to the websockets as the events of docs/api.md.  The store is asked for
 * changes only while somebody listens. */
#ifndef WEB_CHANGES_H
#define WEB_CHANGES_H

#include "frame/frame.h"

struct event_base;

void changes_start_all(struct event_base *base);
void changes_frame(const struct frame *f); /* a CHANGED_* frame */
void changes_linked(void);                 /* the link to the store is new, or gone */
void changes_clients(size_t count);        /* so many websockets there are now */
void changes_stop_all(void);

#endif
