#include "role/smtpd_spool.h"

#include "role/smtpd_inject.h"
#include "role/smtpd_inside.h"

#include <stdlib.h>

enum { COMMANDS_MAX = 4 * 1024 * 1024, TEXT_MAX = 500 };

struct smtpd_spool {
    struct smtpd_inside inside;
    struct smtpd_core *core;
    uint64_t tag;
    struct buf file;
    str rest; /* of the file: not said yet */
    unsigned accepted;
    bool data, quits; /* the lines of a message, QUIT have been said */
    enum err e;
    struct buf text;
};

static void say_done(struct smtpd_core *core, uint64_t tag, enum err e, str text) {
    struct frame f = {FRAME_SPOOL_DONE, .spool_done = {tag, (uint8_t)e, text}};
    smtpd_core_send(core, ROLE_SUPERVISOR, &f);
}

static void spool_end(struct smtpd_spool *p) {
    if (!p->e && !p->accepted) {
        p->e = ERR_SYNTAX;
        buf_add(&p->text, S("there is no message in it"));
    }
    say_done(p->core, p->tag, p->e, buf_str(&p->text));
    smtpd_inside_end(&p->inside);
    buf_free(&p->file);
    buf_free(&p->text);
    free(p);
}

static void fail_with(struct smtpd_spool *p, enum err e, str text) {
    if (p->e)
        return;
    p->e = e;
    buf_add(&p->text, str_head(text, TEXT_MAX));
}

/* ---- the conversation ---- */

static void say_line(struct smtpd_spool *p, str line) {
    smtpd_inside_say(&p->inside, line);
    smtpd_inside_say(&p->inside, S("\r\n"));
}

static void quit(struct smtpd_spool *p) {
    p->quits = true;
    say_line(p, S("QUIT"));
}

/* All lines of a message, with its dot.  A file that ends before it was not finished. */
static void say_message(struct smtpd_spool *p) {
    str line;
    bool dot = false;
    while (!dot && str_line(&p->rest, &line)) {
        dot = str_eq(line, S("."));
        say_line(p, line);
    }
    p->data = true;
    if (dot)
        return;
    fail_with(p, ERR_SYNTAX, S("the message has no end"));
    smtpd_session_lost(p->inside.session, "the message has no end");
}

/* One command at a time: after one that is refused for now the next must not be said. */
static void say_next(struct smtpd_spool *p) {
    str line;
    bool temporary = p->e && p->e != ERR_SYNTAX && p->e != ERR_DENIED;
    if (temporary || !str_line(&p->rest, &line) || str_ieq(line, S("QUIT")))
        quit(p);
    else
        say_line(p, line);
}

static void on_reply(struct smtpd_inside *c, unsigned code, str text) {
    struct smtpd_spool *p = LIST_ENTRY(c, struct smtpd_spool, inside);
    if (code == 0) {
        if (!p->quits)
            fail_with(p, ERR_CLOSED, text);
        spool_end(p);
        return;
    }
    if (p->quits)
        return;
    if (code >= 400)
        fail_with(p, smtpd_reply_err(code), text);
    p->accepted += p->data && code < 300;
    p->data = false;
    if (code == 354)
        say_message(p);
    else
        say_next(p);
}

/* ---- life ---- */

struct smtpd_spool *smtpd_spool_new(struct smtpd_core *core, uint64_t tag, str user, bool trusted) {
    struct smtpd_spool *p = core->generation ? calloc(1, sizeof *p) : NULL;
    if (!p) {
        say_done(core, tag, ERR_NOMEM, S("no memory"));
        return NULL;
    }
    *p = (struct smtpd_spool){.core = core,
                              .tag = tag,
                              .file = BUF(core->generation->inside.smtp.message_max + COMMANDS_MAX),
                              .text = BUF(TEXT_MAX)};
    p->inside.on_reply = on_reply;
    p->inside.returns = true;
    enum err e = smtpd_inside_begin(core, &p->inside, S("spool"), S("unix"), user, trusted, STR_NONE);
    if (!e)
        return p;
    fail_with(p, e, S("no session could begin"));
    spool_end(p);
    return NULL;
}

bool smtpd_spool_add(struct smtpd_spool *p, str bytes) {
    buf_add(&p->file, bytes);
    return !p->file.full;
}

void smtpd_spool_run(struct smtpd_spool *p, enum err e) {
    if (e || p->file.full) {
        fail_with(p, e ? e : ERR_DENIED, e ? S("the file cannot be read") : S("the file is too large"));
        spool_end(p);
        return;
    }
    p->rest = buf_str(&p->file);
    smtpd_inside_run(&p->inside);
}
