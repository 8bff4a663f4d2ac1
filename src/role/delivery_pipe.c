#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/code.h"
#include "role/delivery_core.h"

enum {
    SAID_MAX = 1000, /* of what a command prints */
    UNSENT_HIGH = 64 * 1024,
    GRACE_MS = 10000, /* from the kill to its end */
    WORDS_MS = 2000,  /* from its end to the end of its output, which a child of its may hold open */
};

/* sysexits.h, as mail programs have always used it. */
static const struct {
    unsigned status;
    bool later;
    const char *text;
} exits[] = {
    {64, false, "5.3.0 the command was called wrongly"},
    {65, false, "5.6.0 the command does not take this message"},
    {66, false, "5.3.0 the command has no input"},
    {67, false, "5.1.1 the command knows no such user"},
    {68, false, "5.1.2 the command knows no such host"},
    {69, false, "5.3.0 the command's service is not available"},
    {70, false, "5.3.0 the command failed"},
    {71, true, "4.3.0 the system failed the command"},
    {72, false, "5.3.0 a file of the system is missing"},
    {73, false, "5.2.0 the command cannot write its output"},
    {74, true, "4.3.0 the command could not read or write"},
    {75, true, "4.3.0 the command asks to try again later"},
    {76, false, "5.5.0 the command met a fault of protocol"},
    {77, false, "5.7.0 the command has no permission"},
    {78, true, "4.3.5 the command is not configured"},
    {126, true, "4.3.5 the command cannot be run"},
    {127, true, "4.3.5 the command is not there"},
};

static const struct conf_route *route_of(const struct delivery_job *j) {
    const struct conf *c = j->core->conf;
    for (size_t i = 0; i < c->route_count; i++)
        if (str_eq(c->routes[i].title, j->route))
            return &c->routes[i];
    return NULL;
}

static void pipe_free(struct delivery_pipe *p) {
    struct delivery_core *core = p->job->core;
    map_remove(&core->pipes, p->tag);
    list_remove(&p->node);
    p->job->pipe_count--;
    if (p->host_data)
        core->ops->pipe_close(p);
    buf_free(&p->said);
    free(p);
}

static void decide(struct delivery_job *j, size_t rcpt, enum smtp_client_outcome o, const char *text, str said) {
    char space[SAID_MAX * 4 + 200];
    struct buf b = {.p = space, .cap = sizeof space, .limit = sizeof space};
    buf_printf(&b, "%s%s", text, said.n ? ": " : "");
    escape_print(said, &b);
    j->rcpts[rcpt].outcome = o;
    j->rcpts[rcpt].text = arena_str(&j->arena, buf_str(&b));
    delivery_job_note(j, "%.*s: %.*s", STR_ARG(j->rcpts[rcpt].address), STR_ARG(j->rcpts[rcpt].text));
}

/* Ended: the last one ends the job. */
static void pipe_over(struct delivery_pipe *p) {
    struct delivery_job *j = p->job;
    pipe_free(p);
    if (j->pipe_count > 0)
        delivery_pipe_feed(j);
    else
        delivery_job_end(j, false);
}

static void judge_exit(struct delivery_pipe *p, uint32_t status) {
    enum smtp_client_outcome o = status ? SMTP_CLIENT_REFUSED : SMTP_CLIENT_DELIVERED;
    const char *text = status ? "5.3.0 the command failed" : "2.0.0 the command has taken it";
    for (size_t i = 0; i < sizeof exits / sizeof *exits; i++) {
        if (exits[i].status != status)
            continue;
        o = exits[i].later ? SMTP_CLIENT_DEFERRED : SMTP_CLIENT_REFUSED;
        text = exits[i].text;
    }
    decide(p->job, p->rcpt, o, text, str_trim(buf_str(&p->said)));
}

/* Its end is known and all it printed has been read, or is waited for no longer. */
static void finish(struct delivery_pipe *p) {
    char text[80];
    if (!p->signaled) {
        judge_exit(p, p->status);
    } else {
        snprintf(text, sizeof text, "4.3.0 the command was ended by signal %u", p->status);
        decide(p->job, p->rcpt, SMTP_CLIENT_DEFERRED, text, str_trim(buf_str(&p->said)));
    }
    pipe_over(p);
}

/* The supervisor tells of the end by another way than the one the output comes by: it may be the faster one. */
static void on_ended(struct delivery_pipe *p, const struct frame_pipe_ended *f) {
    p->exited = true;
    p->status = f->status;
    p->signaled = f->signaled;
    p->deadline_ms = p->job->core->now_ms + WORDS_MS;
    if (p->silent)
        finish(p);
}

static void run(struct delivery_job *j, size_t rcpt) {
    const struct conf_route *r = route_of(j);
    struct delivery_core *core = j->core;
    struct delivery_pipe *p = calloc(1, sizeof *p);
    if (!p || !map_put(&core->pipes, core->next_tag, p)) {
        free(p);
        decide(j, rcpt, SMTP_CLIENT_DEFERRED, "4.3.0 no memory to run the command", STR_NONE);
        return;
    }
    *p = (struct delivery_pipe){.job = j, .rcpt = rcpt, .tag = core->next_tag++, .said = BUF(SAID_MAX)};
    p->deadline_ms = core->now_ms + (r ? r->timeout : 0);
    list_add_tail(&j->pipes, &p->node);
    j->pipe_count++;
    struct frame f = {.type = FRAME_PIPE_RUN,
                      .pipe_run = {p->tag, j->route, j->sender, j->rcpts[rcpt].address, j->name}};
    core->ops->to_supervisor(&f);
}

/* One command for each recipient, all at once: they share the pieces of the body as these come. */
void delivery_pipe_begin(struct delivery_job *j) {
    snprintf(j->seen.host, sizeof j->seen.host, "%.*s", STR_ARG(j->route));
    for (size_t i = 0; i < j->rcpt_count; i++)
        run(j, i);
    if (j->pipe_count == 0)
        delivery_job_end(j, false);
}

/* ---- the body ---- */

static bool all_take(const struct delivery_job *j) {
    LIST_EACH(&j->pipes, node) {
        struct delivery_pipe *p = LIST_ENTRY(node, struct delivery_pipe, node);
        if (!p->started || (p->host_data && !p->closed && j->core->ops->pipe_unsent(p) > UNSENT_HIGH))
            return false;
    }
    return true;
}

static void write_all(struct delivery_job *j, str piece) {
    LIST_EACH(&j->pipes, node) {
        struct delivery_pipe *p = LIST_ENTRY(node, struct delivery_pipe, node);
        if (p->host_data && !p->closed)
            j->core->ops->pipe_write(p, piece);
    }
}

static void end_all(struct delivery_job *j) {
    LIST_EACH(&j->pipes, node) {
        struct delivery_pipe *p = LIST_ENTRY(node, struct delivery_pipe, node);
        if (p->host_data && !p->closed && !p->ended)
            j->core->ops->pipe_end(p);
        p->ended = true;
    }
}

/* The end of its input is for a command what the final dot is for a server. */
void delivery_pipe_feed(struct delivery_job *j) {
    bool last = false;
    str piece;
    if (!all_take(j))
        return;
    delivery_job_intent(j);
    while (all_take(j) && (piece = delivery_job_body(j, SMTP_CLIENT_BODY_MAX, &last)).n > 0) {
        write_all(j, piece);
        delivery_job_used(j, piece.n);
    }
    if (j->consumed < j->total)
        return;
    j->out = true;
    if (j->go)
        end_all(j);
}

/* ---- from outside ---- */

static void on_started(struct delivery_pipe *p, const struct frame_pipe_started *f, struct delivery_pipe **started) {
    p->started = true;
    if (f->err == OK) {
        *started = p;
        return;
    }
    decide(p->job, p->rcpt, SMTP_CLIENT_DEFERRED, "4.3.5 the command could not be started", f->text);
    pipe_over(p);
}

void delivery_pipe_supervisor(struct delivery_core *core, const struct frame *f, struct delivery_pipe **started) {
    struct delivery_pipe *p;
    *started = NULL;
    if (f->type == FRAME_PIPE_STARTED && (p = map_get(&core->pipes, f->pipe_started.tag)) != NULL)
        on_started(p, &f->pipe_started, started);
    else if (f->type == FRAME_PIPE_ENDED && (p = map_get(&core->pipes, f->pipe_ended.tag)) != NULL)
        on_ended(p, &f->pipe_ended);
}

void delivery_pipe_said(struct delivery_pipe *p, str bytes) {
    buf_add(&p->said, str_head(bytes, SAID_MAX - p->said.n));
}

void delivery_pipe_drained(struct delivery_pipe *p) {
    delivery_pipe_feed(p->job);
}

void delivery_pipe_silent(struct delivery_pipe *p) {
    p->silent = true;
    if (p->exited)
        finish(p);
}

void delivery_pipe_lost(struct delivery_pipe *p) {
    p->host_data = NULL;
    p->closed = p->silent = true;
    if (p->exited)
        finish(p);
    else
        delivery_pipe_feed(p->job);
}

static void kill_pipe(struct delivery_pipe *p) {
    struct frame f = {.type = FRAME_PIPE_KILL, .pipe_kill = {p->tag}};
    p->job->core->ops->to_supervisor(&f);
}

void delivery_pipe_end_all(struct delivery_job *j) {
    LIST_EACH_SAFE(&j->pipes, node) {
        struct delivery_pipe *p = LIST_ENTRY(node, struct delivery_pipe, node);
        kill_pipe(p);
        pipe_free(p);
    }
}

void delivery_pipe_sweep(struct delivery_core *core) {
    size_t at = 0;
    for (struct delivery_pipe *p; (p = map_next(&core->pipes, &at));) {
        if (p->deadline_ms > core->now_ms)
            continue;
        if (p->exited) {
            finish(p);
            continue;
        }
        if (core->now_ms - p->deadline_ms < GRACE_MS) {
            kill_pipe(p);
            continue;
        }
        decide(p->job, p->rcpt, SMTP_CLIENT_DEFERRED, "4.3.0 the command does not end", STR_NONE);
        pipe_over(p);
    }
}
