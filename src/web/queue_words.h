/* queue_words.h - states, outcomes and kinds of frame/job.h as words, and a row of the queue as JSON. */
#ifndef WEB_QUEUE_WORDS_H
#define WEB_QUEUE_WORDS_H

#include "base/buf.h"
#include "frame/frame.h"

const char *queue_state_word(unsigned state);     /* "waiting" */
const char *queue_outcome_word(unsigned outcome); /* "deferred" */
const char *queue_kind_word(unsigned kind);       /* "relay" */
void queue_row_json(struct buf *out, const struct frame *f);

#endif
