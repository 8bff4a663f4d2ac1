/* reader_queue.h - requests about deliveries, for reader.c: what waits, what an operator's filter means, and the rows
 * of a story.  A filter is fields (base/fields.h): id, sender, recipient (with stars), domain of the recipient or next
 * hop, state, route; all that are given must fit. */
#ifndef STORE_READER_QUEUE_H
#define STORE_READER_QUEUE_H

#include "store/reader.h"

bool reader_queue_filter(struct request *r, str filter); /* false: no filter */
enum err reader_queue_list(struct db *db, struct request *r, struct why *w) MUST_CHECK;
enum err reader_queue_pick(struct db *db, struct request *r, struct why *w) MUST_CHECK; /* pairs into r->nums */
/* QUEUE_ROWs, then ATTEMPTs of message r->before_ms (its number); *over: all are put. */
enum err reader_story_rows(struct db *db, struct request *r, bool *over, struct why *w) MUST_CHECK;

#endif
