/* reader.h - asking the store: requests by tag over the link, answers to whoever asked, changes to one listener.
 * When the link is lost every pending request fails with ERR_CLOSED; a new link takes over what comes after. */
#ifndef WEB_READER_H
#define WEB_READER_H

#include "frame/frame.h"

struct event_base;

/* A frame of the answer; its strs are valid until return.  FAILED (also made up here when the link is lost), DONE,
 * BYTES and STATS are the last of their request: after them the tag is forgotten. */
typedef void reader_answer(void *arg, const struct frame *f);

void reader_start(struct event_base *base, void (*on_change)(const struct frame *f), void (*on_link)(void));
void reader_link(int fd); /* a new link to the store */
bool reader_up(void);
void reader_stop(void);

/* Sends f, whose tag is filled in here, and returns the tag.  The answer never comes before this returns. */
uint32_t reader_ask(struct frame *f, reader_answer *answer, void *arg);
void reader_cancel(uint32_t tag); /* 0 is nobody */

/* What needs no answer. */
void reader_tell(const struct frame *f);

#endif
