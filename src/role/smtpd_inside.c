#include "role/smtpd_inside.h"

#include <limits.h>
#include <string.h>

enum { IN_SLACK = 4 * 1024 * 1024, OUT_MAX = 256 * 1024 };

/* What goes to a folder may come from anywhere, and goes nowhere from there. */
static void keep_as_it_is(struct smtp_config *smtp) {
    smtp->framing = SMTP_FRAMING_KEEP;
    smtp->hops_max = UINT_MAX;
    smtp->header_max = UINT64_MAX;
}

enum err smtpd_inside_begin(struct smtpd_core *core, struct smtpd_inside *c, str listener, str client, str user,
                            bool trusted, str account) {
    struct smtpd_caller caller = {.client = client, .server = S("inside"), .user = user, .trusted = trusted};
    if (!core->generation)
        return ERR_DOWN;
    listener = str_head(listener.n ? listener : S("inside"), CONF_NAME_MAX);
    memcpy(c->name, listener.p, listener.n);
    c->listener = core->generation->inside;
    c->listener.smtp.listener = str_n(c->name, listener.n);
    if (c->folder.n)
        keep_as_it_is(&c->listener.smtp);
    c->in = BUF(c->listener.smtp.message_max + IN_SLACK);
    c->out = BUF(OUT_MAX);
    c->id = str_n(c->id_space, 0);
    c->session = smtpd_session_inside(core, c, &caller, &c->listener);
    if (!c->session)
        return ERR_NOMEM;
    c->session->account = arena_str(&c->session->smtp.session, account);
    return OK;
}

void smtpd_inside_began(struct smtpd_inside *c, const char id[ID_SIZE]) {
    memcpy(c->id_space, id, ID_SIZE);
    c->id = str_n(c->id_space, ID_SIZE);
}

void smtpd_inside_say(struct smtpd_inside *c, str bytes) {
    buf_add(&c->in, bytes);
}

/* "250-more" is not the last line of a reply. */
static void read_replies(struct smtpd_inside *c) {
    str rest = buf_str(&c->out), line;
    while (c->session && str_line(&rest, &line)) {
        uint64_t code;
        if (line.n > 3 && line.p[3] != '-' && str_u64(str_head(line, 3), &code))
            c->on_reply(c, (unsigned)code, str_tail(line, 4));
    }
    buf_reset(&c->out);
}

static enum smtpd_do one_run(struct smtpd_inside *c) {
    struct smtpd_session *s = c->session;
    str in = buf_str(&c->in);
    size_t before = in.n;
    enum smtpd_do what = smtpd_session_run(s, &in, s->core->ops->now_ms());
    buf_drop(&c->in, before - in.n);
    if (c->in.n == 0)
        buf_free(&c->in);
    buf_add(&c->out, buf_str(&s->smtp.out));
    smtp_server_sent(&s->smtp);
    return what;
}

static void closed(struct smtpd_inside *c) {
    smtpd_inside_end(c);
    c->on_reply(c, 0, S("the session has ended"));
}

void smtpd_inside_run(struct smtpd_inside *c) {
    if (c->runs || !c->session)
        return;
    c->runs = true;
    enum smtpd_do what;
    do {
        if (c->in.full)
            smtpd_session_lost(c->session, "more than a message may have");
        what = one_run(c);
        read_replies(c);
    } while (what == SMTPD_FLUSH || what == SMTPD_DELAY || (what == SMTPD_READ && c->in.n));
    c->runs = false;
    if (what == SMTPD_CLOSE)
        closed(c);
}

void smtpd_inside_end(struct smtpd_inside *c) {
    struct smtpd_session *s = c->session;
    str none = STR_NONE;
    if (!s)
        return;
    c->session = NULL;
    if (!smtpd_session_over(s) || s->smtp.want != SMTP_WANT_CLOSE) {
        smtpd_session_lost(s, "over");
        while (s->smtp.want != SMTP_WANT_CLOSE && smtpd_session_run(s, &none, s->core->ops->now_ms()) != SMTPD_CLOSE)
            ;
    }
    smtpd_session_free(s);
    buf_free(&c->in);
    buf_free(&c->out);
}
