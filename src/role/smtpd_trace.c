#include "role/smtpd_trace.h"

#include <stdlib.h>
#include <string.h>

enum { TRACES_MAX = 32, LINE_MAX_SENT = 16 * 1024 };

struct smtpd_trace {
    struct list node; /* of core->traces */
    uint32_t tag;
    str filter;
    char text[];
};

static bool has(str s, str filter) {
    return str_ifind_str(s, filter) != SIZE_MAX;
}

static bool matches(const struct smtpd_session *s, str filter) {
    const struct envelope *e = &s->smtp.envelope;
    if (!filter.n || has(e->client_address, filter) || has(e->listener, filter) || has(e->auth_user, filter) ||
        has(s->account, filter) || has(e->sender, filter) || has(s->smtp.rcpt.address, filter))
        return true;
    for (size_t i = 0; i < e->rcpt_count; i++)
        if (has(e->rcpts[i].address, filter))
            return true;
    return false;
}

static void tap(void *arg, uint64_t ms, char who, str text) {
    struct smtpd_session *s = arg;
    struct buf line = BUF(LINE_MAX_SENT);
    LIST_EACH(&s->core->traces, node) {
        const struct smtpd_trace *t = LIST_ENTRY(node, struct smtpd_trace, node);
        if (!matches(s, t->filter))
            continue;
        if (!line.n)
            smtp_transcript_put(&line, ms, who, text);
        struct frame f = {FRAME_TRACE,
                          .trace = {t->tag, str_n(s->id, ID_SIZE), str_head(buf_str(&line), line.n ? line.n - 1 : 0)}};
        smtpd_core_send(s->core, ROLE_HTTPD, &f);
    }
    buf_free(&line);
}

void smtpd_trace_session(struct smtpd_session *s) {
    bool traced = !list_empty(&s->core->traces);
    s->smtp.transcript.tap = traced ? tap : NULL;
    s->smtp.transcript.tap_arg = s;
}

static void all_sessions(struct smtpd_core *core) {
    LIST_EACH(&core->sessions, node)
    smtpd_trace_session(LIST_ENTRY(node, struct smtpd_session, node));
}

static void trace_on(struct smtpd_core *core, const struct frame_trace_on *f) {
    size_t count = 0;
    LIST_EACH(&core->traces, node)
    count++;
    struct smtpd_trace *t = count < TRACES_MAX ? calloc(1, sizeof *t + f->filter.n) : NULL;
    if (!t)
        return;
    t->tag = f->tag;
    if (f->filter.n)
        memcpy(t->text, f->filter.p, f->filter.n);
    t->filter = str_n(t->text, f->filter.n);
    list_add_tail(&core->traces, &t->node);
    all_sessions(core);
}

static void trace_off(struct smtpd_core *core, uint32_t tag, bool all) {
    LIST_EACH_SAFE(&core->traces, node) {
        struct smtpd_trace *t = LIST_ENTRY(node, struct smtpd_trace, node);
        if (!all && t->tag != tag)
            continue;
        list_remove(&t->node);
        free(t);
    }
    all_sessions(core);
}

bool smtpd_trace_frame(struct smtpd_core *core, const struct frame *f) {
    switch ((int)f->type) {
    case FRAME_TRACE_ON: trace_on(core, &f->trace_on); return true;
    case FRAME_TRACE_OFF: trace_off(core, f->trace_off.tag, false); return true;
    default: return false;
    }
}

void smtpd_traces_down(struct smtpd_core *core) {
    trace_off(core, 0, true);
}
