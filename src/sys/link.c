#include "sys/link.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sys/clock.h"
#include "sys/log.h"

/* Where bytes are:  link_send -> queue (no credit) -> wire (credit spent, not yet taken by the system) -> peer
 *                   peer -> read buffer (shared by all links) -> part (start of a frame) or held (paused) -> on_frame
 */
enum {
    READ_SIZE = 256 * 1024,
    KEEP_SIZE = 128 * 1024,             /* an empty buffer larger than this is given back */
    QUEUE_MAX = 256 * 1024 * 1024,      /* more than this queued: the peer is as good as dead */
    HELD_MAX = LINK_WINDOW + FRAME_MAX, /* the peer may overshoot its credit by less than one frame */
    CREDIT_STEP = LINK_WINDOW / 4,
    FDS_MAX = 8, /* received descriptors that wait for their frame */
};

/* Bytes with a moving front: memory is compacted only when the used part is the smaller half. */
struct pipe_buf {
    struct buf b;
    size_t front;
};

struct fds {
    int *fd;
    size_t *at; /* the offset in wire.b that the descriptor travels with */
    size_t n, cap;
};

struct link {
    int fd;
    enum frame_direction incoming;
    struct link_ops ops;
    void *arg;
    struct event *read_ev, *write_ev;
    struct event *turn_ev; /* activated by hand: flush, deliver what was held, close */
    struct pipe_buf wire, queue, held;
    struct buf part;
    struct fds queue_fds, wire_fds;
    int fds_in[FDS_MAX];
    size_t fds_in_n;
    int64_t credit;    /* what may still be sent; may go below zero by less than a frame */
    uint64_t consumed; /* not yet told to the peer */
    bool paused, was_full, write_broken, turn_pending;
    bool broken; /* to be closed with on_close at the end of what is running */
    bool dead;   /* closed by our side while something of it runs */
    unsigned busy;
};

/* One read buffer for all links of a process: who needs one while it is taken gets another. */
static char *spare_buffer;

static char *take_buffer(void) {
    char *p = spare_buffer;
    spare_buffer = NULL;
    return p ? p : malloc(READ_SIZE);
}

static void give_buffer(char *p) {
    if (spare_buffer)
        free(p);
    else
        spare_buffer = p;
}

static str pipe_str(const struct pipe_buf *p) {
    return str_tail(buf_str(&p->b), p->front);
}

static void pipe_take(struct pipe_buf *p, size_t n) {
    p->front += n;
    if (p->front == p->b.n) {
        p->front = 0;
        buf_reset(&p->b);
        if (p->b.cap > KEEP_SIZE)
            buf_trim(&p->b);
    }
}

/* Before an append: without this a pipe that never runs empty would grow forever. */
static size_t pipe_compact(struct pipe_buf *p) {
    size_t moved = 0;
    if (p->front > KEEP_SIZE && p->front > p->b.n / 2) {
        moved = p->front;
        buf_drop(&p->b, p->front);
        p->front = 0;
    }
    return moved;
}

static bool carries_fd(enum frame_type type) {
    return type == FRAME_LISTENER || type == FRAME_PEER || type == FRAME_LOG_FD || type == FRAME_PIPE_STARTED ||
           type == FRAME_SPOOLED;
}

static bool fds_add(struct fds *f, int fd, size_t at) {
    if (f->n == f->cap) {
        size_t cap = f->cap ? f->cap * 2 : 8;
        int *a = realloc(f->fd, cap * sizeof *a);
        if (a)
            f->fd = a;
        size_t *b = realloc(f->at, cap * sizeof *b);
        if (b)
            f->at = b;
        if (!a || !b)
            return false;
        f->cap = cap;
    }
    f->fd[f->n] = fd;
    f->at[f->n++] = at;
    return true;
}

static int fds_shift(struct fds *f) {
    assert(f->n > 0);
    int fd = f->fd[0];
    f->n--;
    memmove(f->fd, f->fd + 1, f->n * sizeof *f->fd);
    memmove(f->at, f->at + 1, f->n * sizeof *f->at);
    return fd;
}

static void fds_free(struct fds *f) {
    for (size_t i = 0; i < f->n; i++)
        close(f->fd[i]);
    free(f->fd);
    free(f->at);
}

static void link_free(struct link *l) {
    event_free(l->read_ev);
    event_free(l->write_ev);
    event_free(l->turn_ev);
    close(l->fd);
    for (size_t i = 0; i < l->fds_in_n; i++)
        close(l->fds_in[i]);
    fds_free(&l->queue_fds);
    fds_free(&l->wire_fds);
    buf_free(&l->wire.b);
    buf_free(&l->queue.b);
    buf_free(&l->held.b);
    buf_free(&l->part);
    free(l);
}

/* The one place where a link ends.  Called last by everything that the loop or the role calls. */
static void settle(struct link *l) {
    if (l->busy || (!l->broken && !l->dead))
        return;
    if (!l->dead) {
        l->busy++;
        l->ops.on_close(l->arg, l);
    }
    link_free(l);
}

static void turn(struct link *l) {
    if (!l->turn_pending)
        event_active(l->turn_ev, 0, 0);
    l->turn_pending = true;
}

static void drop(struct link *l, enum err e, const char *what) {
    if (l->broken || l->dead)
        return;
    l->broken = true;
    log_event(EV_LINK_DROPPED, LOG_STR("fault", str_of(err_name(e))), LOG_STR("frame", str_of(what)), LOG_END);
}

/* ---- sending ---- */

static void wire_add(struct link *l, const struct frame *f) {
    size_t moved = pipe_compact(&l->wire);
    for (size_t i = 0; i < l->wire_fds.n; i++)
        l->wire_fds.at[i] -= moved;
    frame_put(&l->wire.b, f);
    if (l->wire.b.full)
        drop(l, ERR_NOMEM, "wire");
    turn(l);
}

static void send_credit(struct link *l) {
    if (l->consumed < CREDIT_STEP || l->paused)
        return;
    struct frame f = {.type = FRAME_CREDIT, .credit = {.bytes = l->consumed}};
    l->consumed = 0;
    wire_add(l, &f);
}

/* Whole frames from the queue to the wire, as far as the credit goes. */
static void spend_credit(struct link *l) {
    str s = pipe_str(&l->queue);
    if (s.n == 0 || l->credit <= 0)
        return;
    size_t moved = pipe_compact(&l->wire);
    for (size_t i = 0; i < l->wire_fds.n; i++)
        l->wire_fds.at[i] -= moved;
    size_t done = 0;
    while (l->credit > 0 && done < s.n) {
        str rest = str_tail(s, done);
        uint32_t length = 0;
        uint16_t type = 0;
        bool whole = take_u32(&rest, &length) && take_u16(&rest, &type);
        assert(whole && length <= s.n - done);
        if (carries_fd(type) && !fds_add(&l->wire_fds, fds_shift(&l->queue_fds), l->wire.b.n))
            drop(l, ERR_NOMEM, "descriptor");
        buf_add(&l->wire.b, str_sub(s, done, length));
        l->credit -= length;
        done += length;
    }
    if (l->wire.b.full)
        drop(l, ERR_NOMEM, "wire");
    pipe_take(&l->queue, done);
    turn(l);
}

/* Up to the next descriptor, or together with it when it stands at the front. */
static ssize_t write_some(struct link *l) {
    str s = pipe_str(&l->wire);
    struct iovec io = {.iov_base = (char *)s.p, .iov_len = s.n};
    struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    bool with_fd = l->wire_fds.n && l->wire_fds.at[0] == l->wire.front;
    size_t next = with_fd ? 1 : 0;
    if (l->wire_fds.n > next)
        io.iov_len = l->wire_fds.at[next] - l->wire.front;
    if (with_fd) {
        memset(&control, 0, sizeof control);
        m.msg_control = &control;
        m.msg_controllen = sizeof control.space;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &l->wire_fds.fd[0], sizeof(int));
    }
    ssize_t n = sendmsg(l->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0 && with_fd)
        close(fds_shift(&l->wire_fds));
    return n;
}

static void tell_drained(struct link *l) {
    size_t queued = link_queued(l);
    if (queued > LINK_WINDOW)
        l->was_full = true;
    if (!l->was_full || queued >= LINK_WINDOW / 4)
        return;
    l->was_full = false;
    if (l->ops.on_drained && !l->broken && !l->dead)
        l->ops.on_drained(l->arg, l);
}

/* Writes until the system takes no more.  A broken pipe only ends writing: what the peer has sent before it went is
 * still to be read, and the end of file behind it closes the link. */
static void flush_wire(struct link *l) {
    while (!l->write_broken && l->wire.b.n) {
        ssize_t n = write_some(l);
        if (n > 0) {
            pipe_take(&l->wire, (size_t)n);
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS)) {
            event_add(l->write_ev, NULL);
            return;
        }
        l->write_broken = true;
    }
    if (l->write_broken)
        pipe_take(&l->wire, l->wire.b.n - l->wire.front);
}

/* ---- receiving ---- */

static void apply_credit(struct link *l, const struct frame *f) {
    if (f->credit.bytes > LINK_WINDOW + FRAME_MAX || l->credit + (int64_t)f->credit.bytes > LINK_WINDOW) {
        drop(l, ERR_LIMIT, "credit");
        return;
    }
    l->credit += (int64_t)f->credit.bytes;
    spend_credit(l);
}

static int shift_fd_in(struct link *l) {
    int fd = l->fds_in[0];
    l->fds_in_n--;
    memmove(l->fds_in, l->fds_in + 1, l->fds_in_n * sizeof l->fds_in[0]);
    return fd;
}

static void deliver(struct link *l, const struct frame *f, size_t size) {
    int fd = -1;
    if (carries_fd(f->type)) {
        if (l->fds_in_n == 0) {
            drop(l, ERR_CORRUPT, frame_name(f->type));
            return;
        }
        fd = shift_fd_in(l);
    }
    l->ops.on_frame(l->arg, l, f, fd);
    l->consumed += size;
    if (!l->dead && !l->broken)
        send_credit(l);
}

static bool direction_ok(const struct link *l, enum frame_type type) {
    return (frame_direction(type) & l->incoming) != 0;
}

/* All whole frames off the front of *in: CREDIT at once, the others to on_frame or, while paused, to `held`. */
static bool eat_frames(struct link *l, str *in) {
    bool delivered = false;
    while (!l->broken && !l->dead) {
        struct frame f;
        str at = *in;
        enum err e = frame_take(in, &f);
        if (e == ERR_MORE)
            break;
        if (e == OK && f.type != FRAME_CREDIT && !direction_ok(l, f.type))
            e = ERR_DENIED;
        if (e != OK) {
            drop(l, e, e == ERR_DENIED ? frame_name(f.type) : "malformed");
            break;
        }
        size_t size = at.n - in->n;
        if (f.type == FRAME_CREDIT) {
            apply_credit(l, &f);
        } else if (l->paused || l->held.b.n) {
            pipe_compact(&l->held);
            buf_add(&l->held.b, str_head(at, size));
            if (l->held.b.full || l->held.b.n - l->held.front > HELD_MAX)
                drop(l, ERR_LIMIT, "held");
        } else {
            deliver(l, &f, size);
            delivered = true;
        }
    }
    return delivered;
}

static void deliver_held(struct link *l) {
    bool delivered = false;
    while (!l->paused && !l->broken && !l->dead && l->held.b.n) {
        str s = pipe_str(&l->held);
        size_t before = s.n;
        struct frame f;
        enum err e = frame_take(&s, &f);
        assert(e == OK); /* eat_frames has decoded it before */
        deliver(l, &f, before - s.n);
        pipe_take(&l->held, before - s.n);
        delivered = true;
    }
    if (delivered && l->ops.on_batch && !l->broken && !l->dead)
        l->ops.on_batch(l->arg, l);
}

static void keep_fds(struct link *l, struct msghdr *m) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (l->fds_in_n < FDS_MAX) {
                l->fds_in[l->fds_in_n++] = fd;
            } else {
                close(fd);
                drop(l, ERR_LIMIT, "descriptors");
            }
        }
    }
}

/* Descriptors are taken only from the supervisor; from anybody else the kernel closes them for want of space. */
static ssize_t receive(struct link *l, char *p, size_t size) {
    struct iovec io = {.iov_base = p, .iov_len = size};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * FDS_MAX)];
    } control;
    struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1};
    if (l->incoming == FRAME_TO_ROLE || l->incoming == FRAME_ANY) {
        m.msg_control = &control;
        m.msg_controllen = sizeof control.space;
    }
    ssize_t n = recvmsg(l->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n >= 0 && m.msg_control)
        keep_fds(l, &m);
    return n;
}

/* One system call's worth.  False: nothing came. */
static bool read_some(struct link *l) {
    char *space = take_buffer();
    if (!space) {
        drop(l, ERR_NOMEM, "read");
        return false;
    }
    size_t n = l->part.n;
    if (n)
        memcpy(space, l->part.p, n);
    ssize_t got = receive(l, space + n, READ_SIZE - n);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        l->broken = true;
    if (got > 0) {
        str in = {space, n + (size_t)got};
        bool delivered = eat_frames(l, &in);
        if (!l->broken && !l->dead) {
            buf_reset(&l->part);
            buf_add(&l->part, in);
            if (in.n == 0)
                buf_trim(&l->part);
            if (l->part.full)
                drop(l, ERR_NOMEM, "part");
        }
        if (delivered && l->ops.on_batch && !l->dead)
            l->ops.on_batch(l->arg, l);
    }
    give_buffer(space);
    return got > 0;
}

/* ---- the loop ---- */

static void on_read(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct link *l = arg;
    l->busy++;
    read_some(l);
    l->busy--;
    settle(l);
}

static void on_write(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct link *l = arg;
    l->busy++;
    flush_wire(l);
    tell_drained(l);
    l->busy--;
    settle(l);
}

static void on_turn(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct link *l = arg;
    l->turn_pending = false;
    l->busy++;
    if (!l->paused)
        deliver_held(l);
    if (!l->broken && !l->dead) {
        flush_wire(l);
        tell_drained(l);
    }
    l->busy--;
    settle(l);
}

/* ---- what the header promises ---- */

static bool make_events(struct link *l, struct event_base *base) {
    l->read_ev = event_new(base, l->fd, EV_READ | EV_PERSIST, on_read, l);
    l->write_ev = event_new(base, l->fd, EV_WRITE, on_write, l);
    l->turn_ev = event_new(base, -1, 0, on_turn, l);
    return l->read_ev && l->write_ev && l->turn_ev && event_add(l->read_ev, NULL) == 0;
}

struct link *link_open(struct event_base *base, int fd, enum frame_direction incoming, const struct link_ops *ops,
                       void *arg) {
    struct link *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    *l = (struct link){.fd = fd, .incoming = incoming, .ops = *ops, .arg = arg, .credit = LINK_WINDOW};
    l->wire.b = BUF(QUEUE_MAX);
    l->queue.b = BUF(QUEUE_MAX);
    l->held.b = BUF(2 * HELD_MAX);
    l->part = BUF(FRAME_MAX);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (make_events(l, base))
        return l;
    if (l->read_ev)
        event_free(l->read_ev);
    if (l->write_ev)
        event_free(l->write_ev);
    if (l->turn_ev)
        event_free(l->turn_ev);
    free(l);
    return NULL;
}

void link_send(struct link *l, const struct frame *f) {
    assert(f->type != FRAME_CREDIT && !carries_fd(f->type));
    if (l->broken || l->dead || l->write_broken)
        return;
    if (l->queue.b.n == 0 && l->credit > 0) {
        size_t before = l->wire.b.n - l->wire.front;
        wire_add(l, f);
        l->credit -= (int64_t)(l->wire.b.n - l->wire.front - before);
    } else {
        pipe_compact(&l->queue);
        frame_put(&l->queue.b, f);
        if (l->queue.b.full) {
            drop(l, ERR_LIMIT, "queue");
            turn(l);
        }
    }
    if (link_queued(l) > LINK_WINDOW)
        l->was_full = true;
}

void link_send_fd(struct link *l, const struct frame *f, int fd) {
    assert(carries_fd(f->type));
    if (l->broken || l->dead || l->write_broken)
        return;
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0 || !fds_add(&l->queue_fds, copy, 0)) {
        if (copy >= 0)
            close(copy);
        drop(l, ERR_IO, "descriptor");
        turn(l);
        return;
    }
    pipe_compact(&l->queue);
    frame_put(&l->queue.b, f);
    spend_credit(l);
}

size_t link_queued(const struct link *l) {
    return l->wire.b.n - l->wire.front + l->queue.b.n - l->queue.front;
}

void link_pause(struct link *l) {
    l->paused = true;
}

void link_resume(struct link *l) {
    if (!l->paused)
        return;
    l->paused = false;
    send_credit(l);
    turn(l);
}

/* May read (for credit), so frames that come meanwhile are held back as if paused: nobody expects them in here. */
enum err link_flush(struct link *l, unsigned timeout_ms) {
    uint64_t end = clock_mono_ms() + timeout_ms;
    bool paused = l->paused;
    enum err e = OK;
    l->paused = true;
    l->busy++;
    while (e == OK && !l->broken && !l->dead && !l->write_broken) {
        flush_wire(l);
        if (link_queued(l) == 0)
            break;
        uint64_t now = clock_mono_ms();
        struct pollfd p = {.fd = l->fd, .events = (short)(POLLIN | (l->wire.b.n ? POLLOUT : 0))};
        int n = now < end ? poll(&p, 1, (int)(end - now)) : 0;
        if (n == 0)
            e = ERR_TIMEOUT;
        else if (n > 0 && (p.revents & (POLLIN | POLLHUP)))
            read_some(l);
    }
    if (e == OK && link_queued(l) != 0)
        e = ERR_CLOSED;
    if (e == OK && l->write_broken)
        e = ERR_CLOSED;
    l->paused = paused;
    l->busy--;
    if (!l->busy && !l->dead) /* on_close comes from the loop, not from in here */
        turn(l);
    return e;
}

void link_close(struct link *l) {
    if (!l->broken && !l->dead)
        flush_wire(l);
    l->dead = true;
    settle(l);
}
