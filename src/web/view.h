/* view.h - views of a message: its envelope and bytes are read from the store, streamed to the content role, and what
 * that makes of them comes back in pieces.  A few run at a time, the others wait their turn.
 * Life: view_start ... row, head, out*, done.  With done, or view_cancel, it is over and its pointer is void. */
#ifndef WEB_VIEW_H
#define WEB_VIEW_H

#include "base/code.h"
#include "frame/frame.h"
#include "frame/view_kind.h"

struct event_base;
struct view;

/* Views that wait for their reader do not count as running: others have their turn meanwhile. */
enum { VIEWS_RUNNING_MAX = 16, VIEWS_BEGUN_MAX = 200 };

struct view_ops {
    /* Optional.  What the store knows of the message, "latest" resolved; view_argument() may be called here. */
    void (*row)(void *arg, const struct frame_row *row);
    void (*head)(void *arg, const struct frame_view_head *head); /* optional */
    void (*out)(void *arg, str bytes);                           /* may pause the view, not end it */
    /* OK, or: ERR_NOT_FOUND (no such message when row never came, else no such part), ERR_CLOSED (the store is gone),
     * ERR_DOWN (the content role is not running),
     * ERR_IO (the content role is gone: it may have died of this very message), others from the content role. */
    void (*done)(void *arg, enum err e, str text);
};

void view_start_all(struct event_base *base);
void view_link(int fd); /* a new link to the content role */
bool view_up(void);
void view_stop_all(void);

/* id and argument are copied.  mark_read: the message is marked read before the view begins.  No callback comes
 * before this returns. */
struct view *view_start(enum view_kind kind, str id, str argument, bool mark_read, const struct view_ops *ops,
                        void *arg);
void view_argument(struct view *v, str argument);
/* Whoever reads is slow: at most VIEW_WINDOW bytes come before view_resume(). */
void view_pause(struct view *v);
void view_resume(struct view *v);
void view_cancel(struct view *v);

#endif
