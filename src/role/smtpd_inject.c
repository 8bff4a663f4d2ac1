#include "role/smtpd_inject.h"

#include "mime/folder.h"
#include "role/smtpd_inside.h"

#include <stdlib.h>

enum { HEAD_MAX = 1024 * 1024, TEXT_MAX = 1000, INJECTIONS_MAX = 1000 };

struct smtpd_injection {
    struct smtpd_inside inside;
    struct smtpd_core *core;
    uint32_t tag;
    struct arena arena;               /* account and folder */
    struct buf mail;                  /* what MAIL has behind its colon */
    struct buf rcpts;                 /* likewise for each RCPT, with its line end */
    bool utf8;                        /* an address needs it */
    bool started, whole, last, quits; /* MAIL has been said; END has come; the last chunk, QUIT have been said */
    unsigned said, replies, rcpt_count;
    unsigned code; /* of the first reply that was no */
    struct buf text;
};

enum err smtpd_reply_err(unsigned code) {
    switch (code) {
    case 450: return ERR_LIMIT;
    case 452: return ERR_FULL;
    case 553: return ERR_DENIED;
    default: return code < 400 ? OK : code < 500 ? ERR_IO : ERR_DENIED;
    }
}

bool smtpd_text_fits(str s, bool blanks) {
    for (size_t i = 0; i < s.n; i++)
        if (char_is_ctl(s.p[i]) || (s.p[i] == ' ' && !blanks))
            return false;
    return true;
}

static void injection_free(struct smtpd_injection *i) {
    map_remove(&i->core->injections, i->tag);
    smtpd_inside_end(&i->inside);
    arena_free(&i->arena);
    buf_free(&i->mail);
    buf_free(&i->rcpts);
    buf_free(&i->text);
    free(i);
}

static void say_injected(struct smtpd_core *core, uint32_t tag, enum err e, str id, str text) {
    struct frame f = {FRAME_INJECTED, .injected = {tag, (uint8_t)e, id, str_head(text, TEXT_MAX)}};
    smtpd_core_send(core, ROLE_HTTPD, &f);
}

/* ---- the conversation ---- */

static void say(struct smtpd_injection *i, str command, unsigned replies) {
    smtpd_inside_say(&i->inside, command);
    i->said += replies;
}

static void start(struct smtpd_injection *i) {
    if (i->started)
        return;
    i->started = true;
    say(i, S("EHLO localhost\r\nMAIL FROM:"), 3); /* with the greeting */
    say(i, buf_str(&i->mail), 0);
    if (i->utf8 && str_ifind_str(buf_str(&i->mail), S("SMTPUTF8")) == SIZE_MAX)
        say(i, S(" SMTPUTF8"), 0);
    say(i, S("\r\n"), 0);
    say(i, buf_str(&i->rcpts), i->rcpt_count);
}

static void say_chunk(struct smtpd_injection *i, str bytes, bool last) {
    char space[40];
    struct buf b = {.p = space, .cap = sizeof space, .limit = sizeof space};
    buf_printf(&b, "BDAT %zu%s\r\n", bytes.n, last ? " LAST" : "");
    say(i, buf_str(&b), 1);
    say(i, bytes, 0);
}

/* The end of the message is said only when nothing before it was refused. */
static void end_when_told(struct smtpd_injection *i) {
    if (i->quits || i->replies < i->said)
        return;
    if (i->last || (i->code && i->whole)) {
        i->quits = true;
        smtpd_inside_say(&i->inside, S("QUIT\r\n"));
    } else if (i->whole) {
        i->last = true;
        say_chunk(i, STR_NONE, true);
    }
}

/* "<b@example.org> NOTIFY=NEVER" of the n-th RCPT. */
static str nth_rcpt(const struct smtpd_injection *i, unsigned n) {
    str rest = buf_str(&i->rcpts), line = STR_NONE;
    for (unsigned k = 0; k <= n; k++)
        if (!str_line(&rest, &line))
            return STR_NONE;
    str_iskip(&line, S("RCPT TO:"));
    return str_head(str_trim(line), 330);
}

static void keep_refusal(struct smtpd_injection *i, unsigned code, str text) {
    unsigned n = i->replies - 4; /* behind greeting, EHLO, MAIL; this one is counted */
    i->code = code;
    if (i->replies > 3 && n < i->rcpt_count)
        buf_printf(&i->text, "%.*s: ", STR_ARG(nth_rcpt(i, n)));
    buf_printf(&i->text, "%u %.*s", code, STR_ARG(text));
}

static void conclude(struct smtpd_injection *i) {
    enum err e = i->code ? smtpd_reply_err(i->code) : i->last ? OK : ERR_CLOSED;
    say_injected(i->core, i->tag, e, e ? STR_NONE : i->inside.id, buf_str(&i->text));
    injection_free(i);
}

static void on_reply(struct smtpd_inside *c, unsigned code, str text) {
    struct smtpd_injection *i = LIST_ENTRY(c, struct smtpd_injection, inside);
    if (code == 0) {
        conclude(i);
        return;
    }
    if (i->quits)
        return;
    i->replies++;
    if (code >= 400 && !i->code)
        keep_refusal(i, code, text);
    end_when_told(i);
}

static void go_on(struct smtpd_injection *i) {
    end_when_told(i);
    smtpd_inside_run(&i->inside);
}

/* ---- the frames ---- */

/* "ada@example.org/Archive/2026": the account, and the folder behind it. */
static str cut_mailbox(str mailbox, str *folder) {
    size_t at = str_find(mailbox, '@'), slash = at == SIZE_MAX ? SIZE_MAX : str_find(str_tail(mailbox, at), '/');
    size_t cut = slash == SIZE_MAX ? mailbox.n : at + slash;
    *folder = str_tail(mailbox, cut + (cut < mailbox.n));
    return str_head(mailbox, cut);
}

static void set_mailbox(struct smtpd_injection *i, str mailbox) {
    str folder, account = cut_mailbox(mailbox, &folder);
    i->inside.account = arena_str(&i->arena, account);
    i->inside.folder = arena_str(&i->arena, folder.n ? folder : S("INBOX"));
    buf_printf(&i->rcpts, "RCPT TO:<%.*s>\r\n", STR_ARG(i->inside.account));
    i->rcpt_count = 1;
}

/* Without a folder it is INBOX. */
static bool mailbox_fits(str mailbox) {
    str folder;
    cut_mailbox(mailbox, &folder);
    return mailbox.n == 0 || folder.n == 0 || folder_name_valid(folder);
}

static bool fits(const struct frame_inject_begin *f) {
    return mailbox_fits(f->mailbox) && smtpd_text_fits(f->sender, false) && smtpd_text_fits(f->sender_params, true) &&
           smtpd_text_fits(f->mailbox, true) && smtpd_text_fits(f->user, true);
}

static void begin(struct smtpd_core *core, const struct frame_inject_begin *f) {
    struct smtpd_injection *i = NULL;
    if (core->injections.used < INJECTIONS_MAX && !map_get(&core->injections, f->tag) && fits(f))
        i = calloc(1, sizeof *i);
    if (!i) {
        say_injected(core, f->tag, fits(f) ? ERR_LIMIT : ERR_SYNTAX, STR_NONE, S("the message cannot be taken"));
        return;
    }
    *i = (struct smtpd_injection){.core = core,
                                  .tag = f->tag,
                                  .arena = ARENA(TEXT_MAX * 8),
                                  .mail = BUF(HEAD_MAX),
                                  .rcpts = BUF(HEAD_MAX),
                                  .text = BUF(TEXT_MAX)};
    i->inside.on_reply = on_reply;
    buf_printf(&i->mail, "<%.*s> %.*s", STR_ARG(f->sender), STR_ARG(f->sender_params));
    i->utf8 = !utf8_is_ascii(f->sender);
    if (f->mailbox.n)
        set_mailbox(i, f->mailbox);
    enum err e = smtpd_inside_begin(core, &i->inside, f->listener, f->client, f->user, false, f->user);
    if (e || i->mail.full || i->arena.full || !map_put(&core->injections, f->tag, i)) {
        say_injected(core, f->tag, e ? e : ERR_NOMEM, STR_NONE, S("the message cannot be taken now"));
        injection_free(i);
    }
}

static void rcpt(struct smtpd_injection *i, const struct frame_inject_rcpt *f) {
    if (i->started || i->inside.folder.n)
        return; /* too late, or there is but one place */
    bool good = smtpd_text_fits(f->address, false) && smtpd_text_fits(f->params, true);
    buf_printf(&i->rcpts, "RCPT TO:<%.*s> %.*s\r\n", STR_ARG(good ? f->address : S("?")),
               STR_ARG(good ? f->params : S("")));
    if (i->rcpts.full && !i->code) {
        i->code = 452;
        buf_add(&i->text, S("452 4.5.3 Too many recipients"));
    }
    if (i->rcpts.full)
        return;
    i->rcpt_count++;
    i->utf8 = i->utf8 || !utf8_is_ascii(f->address);
}

bool smtpd_inject_frame(struct smtpd_core *core, const struct frame *f) {
    struct smtpd_injection *i = NULL;
    switch ((int)f->type) {
    case FRAME_INJECT_BEGIN: begin(core, &f->inject_begin); return true;
    case FRAME_INJECT_RCPT: i = map_get(&core->injections, f->inject_rcpt.tag); break;
    case FRAME_INJECT_APPEND: i = map_get(&core->injections, f->inject_append.tag); break;
    case FRAME_INJECT_BODY: i = map_get(&core->injections, f->inject_body.tag); break;
    case FRAME_INJECT_END: i = map_get(&core->injections, f->inject_end.tag); break;
    case FRAME_INJECT_CANCEL: i = map_get(&core->injections, f->inject_cancel.tag); break;
    default: return false;
    }
    if (!i)
        return true; /* it has been answered already */
    switch ((int)f->type) {
    case FRAME_INJECT_RCPT: rcpt(i, &f->inject_rcpt); break;
    case FRAME_INJECT_APPEND:
        i->inside.append_flags = f->inject_append.flags;
        i->inside.append_date_us = f->inject_append.received_us;
        break;
    case FRAME_INJECT_BODY:
        start(i);
        say_chunk(i, f->inject_body.bytes, false);
        go_on(i);
        break;
    case FRAME_INJECT_END:
        start(i);
        i->whole = true;
        go_on(i);
        break;
    default: injection_free(i);
    }
    return true;
}

void smtpd_injections_down(struct smtpd_core *core) {
    struct smtpd_injection *i;
    for (size_t at = 0; (i = map_next(&core->injections, &at)); at = 0)
        injection_free(i);
}
