/* link.h - a stream of frames between two roles over a socketpair, on a libevent loop.
 * Frames are written behind each other and flushed once per turn of the loop, so many small ones cost one system call.
 * Credits: a side sends at most LINK_WINDOW bytes that the other has not consumed; more waits in the link's queue
 * (link_queued), where the role feels it and slows down whoever feeds it.  A frame counts as consumed when on_frame
 * returns, unless the link is paused.  A malformed frame, or one of the wrong direction, closes the link with a log
 * event, never the process.  Descriptors ride only on LISTENER, PEER, LOG_FD, PIPE_STARTED and SPOOLED (always
 * exactly one), and only from the supervisor. */
#ifndef SYS_LINK_H
#define SYS_LINK_H

#include "frame/frame.h"

struct event_base;
struct link;

enum { LINK_WINDOW = 1024 * 1024 };

struct link_ops {
    /* One frame came; its strs are valid until return.  fd is -1, or a descriptor that rode along and is now the
     * callee's. */
    void (*on_frame)(void *arg, struct link *l, const struct frame *f, int fd);
    /* The peer is gone or was dropped; the link is freed after return: forget it. */
    void (*on_close)(void *arg, struct link *l);
    /* Optional: what was queued has shrunk below a quarter of LINK_WINDOW after having been above LINK_WINDOW. */
    void (*on_drained)(void *arg, struct link *l);
    /* Optional: all frames of this turn's read have been given to on_frame (where a store commits its group). */
    void (*on_batch)(void *arg, struct link *l);
};

/* Takes over fd (non-blocking from now on).  `incoming` is the one direction of frames that is accepted (beside
 * CREDIT).  NULL: no memory. */
struct link *link_open(struct event_base *base, int fd, enum frame_direction incoming, const struct link_ops *ops,
                       void *arg);
void link_send(struct link *l, const struct frame *f);
void link_send_fd(struct link *l, const struct frame *f,
                  int fd);                /* fd is duplicated into the message; the caller keeps his */
size_t link_queued(const struct link *l); /* bytes not yet taken by the system or without credit */
void link_pause(struct link *l);          /* call on_frame no more, leave bytes with the sender */
void link_resume(struct link *l);
/* Blocking; for shutdown.  Calls nothing; within on_frame the frame's strs are gone afterwards. */
enum err link_flush(struct link *l, unsigned timeout_ms) MUST_CHECK;
void link_close(struct link *l); /* by our side: on_close is not called */

#endif
