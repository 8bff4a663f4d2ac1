/* summary.h - the rows of the message list: what the store knows joined with what the content role says, which the
 * store caches (SUMMARY_PUT).  A few are made at a time; a message that cannot be read still has a row. */
#ifndef WEB_SUMMARY_H
#define WEB_SUMMARY_H

#include "base/code.h"
#include "frame/frame.h"

struct event_base;
struct summary;

enum { SUMMARIES_RUNNING_MAX = 8, SUMMARY_MAX = 48 * 1024 };

void summary_start_all(struct event_base *base);
void summary_stop_all(void);

/* Makes the summary of a message; done is called once, never before this returns, unless cancelled. */
struct summary *summary_start(str id, void (*done)(void *arg, str json), void *arg);
void summary_cancel(struct summary *s);

/* One element of "messages": summary is what was cached or made. */
void summary_put(struct buf *out, const struct frame_row *row, str summary);

/* "2026-11-23T06:13:31.123Z" with quotes; 0: null. */
void json_time_ms(struct buf *out, uint64_t ms);
void json_str(struct buf *out, str s); /* with quotes */

#endif
