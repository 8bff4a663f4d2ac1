/* content - what needs charsets and HTML: the host of content_core.  One link per httpd; views are told apart by tag.
 */
#include <event2/event.h>
#include <malloc.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/list.h"
#include "role/content_core.h"
#include "sys/log.h"
#include "sys/role.h"

enum { VIEWS_MAX = 256, IDLE_MS = 2000, LAST_WORDS_MS = 1000 };

struct reader;

/* A view in the making. */
struct job {
    struct list node;
    struct reader *reader;
    uint32_t tag;
    bool head_sent;
    size_t sent;    /* bytes of its output */
    uint64_t room;  /* bytes that may still be sent: VIEW_MORE */
    uint64_t eaten; /* bytes of the body, not yet told: VIEW_TAKEN */
    struct content *view;
};

struct reader {
    struct list node;
    struct link *link;
    struct list jobs;
    unsigned job_count;
};

static struct {
    struct event *idle;  /* armed by work: gives memory back when it fires */
    struct event *leave; /* drained: the last views are on their way */
    struct list readers;
    unsigned job_count;
    bool draining;
} host;

static void job_end(struct job *j) {
    list_remove(&j->node);
    j->reader->job_count--;
    host.job_count--;
    content_free(j->view);
    free(j);
    const struct timeval soon = {IDLE_MS / 1000, 0};
    if (host.idle)
        evtimer_add(host.idle, &soon);
    if (host.draining && host.job_count == 0)
        event_active(host.leave, EV_TIMEOUT, 0);
}

/* What links have queued does not outlive the process. */
static void on_leave(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    if (host.job_count)
        return;
    LIST_EACH_SAFE(&host.readers, node)
    if (link_flush(LIST_ENTRY(node, struct reader, node)->link, LAST_WORDS_MS) != OK)
        log_event(EV_VIEW_FAILED, LOG_STR("why", S("the reader of the last views takes nothing")), LOG_END);
    role_exit(EX_OK);
}

/* A big mail leaves big holes in the heap. */
static void on_idle(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    malloc_trim(0); /* views that wait for their readers may be there all the same */
}

static struct job *find_job(struct reader *r, uint32_t tag) {
    LIST_EACH(&r->jobs, node) {
        struct job *j = LIST_ENTRY(node, struct job, node);
        if (j->tag == tag)
            return j;
    }
    return NULL;
}

static void send_done(struct reader *r, uint32_t tag, enum err e, const char *text) {
    struct frame f = {.type = FRAME_VIEW_DONE, .view_done = {tag, (uint8_t)e, str_of(text)}};
    link_send(r->link, &f);
}

static void send_head(struct job *j, const struct content_result *result) {
    struct frame f = {.type = FRAME_VIEW_HEAD,
                      .view_head = {j->tag, str_of(result->type), result->filename, result->attachments}};
    link_send(j->reader->link, &f);
    j->head_sent = true;
}

static void send_taken(struct job *j) {
    struct frame f = {.type = FRAME_VIEW_TAKEN, .view_taken = {j->tag, j->eaten}};
    if (j->eaten)
        link_send(j->reader->link, &f);
    j->eaten = 0;
}

/* As much of the output as was granted; false: there is more, for VIEW_MORE. */
static bool send_out(struct job *j) {
    str rest = str_tail(content_out(j->view), j->sent), piece;
    while ((piece = str_head(str_head(rest, FRAME_CHUNK), j->room)).n) {
        struct frame f = {.type = FRAME_VIEW_OUT, .view_out = {j->tag, piece}};
        link_send(j->reader->link, &f);
        j->sent += piece.n;
        j->room -= piece.n;
        rest = str_tail(rest, piece.n);
    }
    return rest.n == 0;
}

/* What the view has produced goes out; the job ends with the view. */
static void pass_on(struct job *j) {
    const struct content_result *result = content_result(j->view);
    bool failed = result->done && result->err != OK;
    if (result->head && !j->head_sent && !failed)
        send_head(j, result);
    if (!failed && !send_out(j))
        return;
    content_taken(j->view);
    j->sent = 0;
    if (!result->done) {
        send_taken(j);
        return;
    }
    send_done(j->reader, j->tag, result->err, result->text);
    job_end(j);
}

static void begin(struct reader *r, const struct frame_view_begin *f) {
    struct job *old = find_job(r, f->tag);
    if (old)
        job_end(old);
    if (r->job_count == VIEWS_MAX) {
        send_done(r, f->tag, ERR_FULL, "Too many messages are being read at once. Try again in a moment.");
        return;
    }
    struct job *j = calloc(1, sizeof *j);
    struct content *v = j ? content_new(f->kind, f->argument) : NULL;
    if (!v) {
        free(j);
        send_done(r, f->tag, ERR_UNSUPPORTED, "no such view, or no memory for it");
        return;
    }
    *j = (struct job){.reader = r, .tag = f->tag, .room = VIEW_WINDOW, .view = v};
    list_add_tail(&r->jobs, &j->node);
    r->job_count++;
    host.job_count++;
}

static void grant(struct job *j, uint64_t bytes) {
    j->room = bytes < VIEW_OUT_MAX - j->room ? j->room + bytes : VIEW_OUT_MAX;
}

static void on_frame(void *arg, struct link *l, const struct frame *f, int fd) {
    struct reader *r = arg;
    struct job *j;
    (void)l;
    if (fd >= 0)
        close(fd);
    switch (f->type) {
    case FRAME_VIEW_BEGIN: begin(r, &f->view_begin); return;
    case FRAME_VIEW_ENVELOPE:
        if ((j = find_job(r, f->view_envelope.tag)) != NULL) {
            content_envelope(j->view, f->view_envelope.bytes);
            pass_on(j);
        }
        return;
    case FRAME_VIEW_BODY:
        if ((j = find_job(r, f->view_body.tag)) != NULL) {
            content_body(j->view, f->view_body.bytes);
            j->eaten += f->view_body.bytes.n;
            pass_on(j);
        }
        return;
    case FRAME_VIEW_END:
        if ((j = find_job(r, f->view_end.tag)) != NULL) {
            content_end(j->view);
            pass_on(j);
        }
        return;
    case FRAME_VIEW_MORE:
        if ((j = find_job(r, f->view_more.tag)) != NULL) {
            grant(j, f->view_more.bytes);
            pass_on(j);
        }
        return;
    case FRAME_VIEW_CANCEL:
        if ((j = find_job(r, f->view_cancel.tag)) != NULL)
            job_end(j);
        return;
    default: return;
    }
}

static void on_close(void *arg, struct link *l) {
    struct reader *r = arg;
    (void)l;
    LIST_EACH_SAFE(&r->jobs, node) {
        job_end(LIST_ENTRY(node, struct job, node));
    }
    list_remove(&r->node);
    free(r);
}

static void on_peer(enum role peer, uint32_t instance, int fd) {
    static const struct link_ops ops = {.on_frame = on_frame, .on_close = on_close};
    (void)instance;
    struct reader *r = peer == ROLE_HTTPD ? calloc(1, sizeof *r) : NULL;
    if (!r) {
        close(fd);
        return;
    }
    list_init(&r->jobs);
    r->link = link_open(role_base(), fd, FRAME_HTTPD_TO_CONTENT, &ops, r);
    if (!r->link) {
        close(fd);
        free(r);
        return;
    }
    list_add_tail(&host.readers, &r->node);
}

static enum err configure(const struct conf *c, bool first, struct why *w) {
    (void)c;
    if (!first)
        return OK;
    enum err e = content_prepare();
    if (e != OK)
        return why(w, e, "a digest or a charset table that every view needs is missing");
    host.idle = evtimer_new(role_base(), on_idle, NULL);
    host.leave = evtimer_new(role_base(), on_leave, NULL);
    return host.idle && host.leave ? OK : why(w, ERR_NOMEM, "no memory");
}

static void drain(void) {
    host.draining = true;
    if (host.job_count == 0)
        event_active(host.leave, EV_TIMEOUT, 0);
}

static void stop(void) {
    role_exit(EX_OK);
}

static const struct role_ops content_role = {
    .role = ROLE_CONTENT,
    .peer = on_peer,
    .configure = configure,
    .drain = drain,
    .stop = stop,
};

int main(void) {
    list_init(&host.readers);
    return role_main(&content_role);
}
