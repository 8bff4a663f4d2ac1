#include "role/smtpd_auth.h"

#include <stdlib.h>

static void answer_failure(struct smtpd_session *s, enum sasl_failure failure) {
    static const enum smtp_auth_failure failures[] = {[SASL_OK] = SMTP_AUTH_UNAVAILABLE,
                                                      [SASL_MALFORMED] = SMTP_AUTH_MALFORMED,
                                                      [SASL_TOO_LONG] = SMTP_AUTH_TOO_LONG,
                                                      [SASL_BAD_CREDENTIALS] = SMTP_AUTH_BAD,
                                                      [SASL_UNAVAILABLE] = SMTP_AUTH_UNAVAILABLE};
    bool known = failure < sizeof failures / sizeof *failures;
    smtp_server_auth_failed(&s->smtp, known ? failures[failure] : SMTP_AUTH_UNAVAILABLE);
}

/* ---- by keyd ---- */

static void wait_for_keyd(struct smtpd_session *s, const struct frame *f) {
    s->waits = SMTPD_FOR_KEYD;
    smtpd_core_send(s->core, ROLE_KEYD, f);
}

static void begin_keyd(struct smtpd_session *s) {
    uint8_t bytes[32];
    struct smtp_server *smtp = &s->smtp;
    bool bound = s->core->ops->binding(s, bytes);
    bool unbound = str_iends(smtp->auth.mechanism, S("-PLUS")) && !bound;
    smtpd_auth_end(s);
    uint32_t tag = smtpd_core_tag(s->core);
    if (unbound || !s->core->up[ROLE_KEYD] || !map_put(&s->core->waiting, tag, s)) {
        smtp_server_auth_failed(smtp, SMTP_AUTH_UNAVAILABLE);
        return;
    }
    s->auth_tag = tag;
    s->keyd = true;
    struct frame f = {FRAME_AUTH_BEGIN,
                      .auth_begin = {tag, smtp->auth.mechanism, smtp->auth.has_response, smtp->auth.response,
                                     bound ? str_n(bytes, sizeof bytes) : STR_NONE, smtp->envelope.client_address}};
    wait_for_keyd(s, &f);
}

static void step_keyd(struct smtpd_session *s) {
    if (s->smtp.auth.first) {
        begin_keyd(s);
        return;
    }
    if (!s->keyd) { /* keyd has gone meanwhile */
        smtp_server_auth_failed(&s->smtp, SMTP_AUTH_UNAVAILABLE);
        return;
    }
    struct frame f = {FRAME_AUTH_STEP, .auth_step = {s->auth_tag, s->smtp.auth.response}};
    wait_for_keyd(s, &f);
}

/* The session whose turn it is, or NULL. */
static struct smtpd_session *waiter(struct smtpd_core *core, uint64_t tag) {
    struct smtpd_session *s = map_get(&core->waiting, tag);
    bool waits = s && s->waits == SMTPD_FOR_KEYD && s->auth_tag == tag;
    if (waits)
        s->waits = SMTPD_FOR_NOTHING;
    return waits && !smtpd_session_over(s) ? s : NULL;
}

static void forget_keyd(struct smtpd_session *s) {
    map_remove(&s->core->waiting, s->auth_tag);
    s->keyd = false;
}

static void challenge(struct smtpd_core *core, const struct frame_auth_challenge *f) {
    struct smtpd_session *s = waiter(core, f->tag);
    if (!s)
        return;
    smtp_server_auth_challenge(&s->smtp, f->challenge);
    smtpd_session_answered(s);
}

static void succeed(struct smtpd_core *core, const struct frame_auth_ok *f) {
    struct smtpd_session *s = waiter(core, f->tag);
    if (!s)
        return;
    forget_keyd(s);
    s->account = arena_str(&s->smtp.session, f->account);
    core->ops->log(EV_SMTP_AUTH, s, f->user);
    smtp_server_auth_ok(&s->smtp, f->user);
    smtpd_session_answered(s);
}

static void failed(struct smtpd_core *core, uint64_t tag, enum sasl_failure failure, str user) {
    struct smtpd_session *s = waiter(core, tag);
    if (!s)
        return;
    forget_keyd(s);
    core->ops->log(EV_SMTP_AUTH_FAILED, s, user);
    answer_failure(s, failure);
    smtpd_session_answered(s);
}

bool smtpd_auth_frame(struct smtpd_core *core, const struct frame *f) {
    switch ((int)f->type) {
    case FRAME_AUTH_CHALLENGE: challenge(core, &f->auth_challenge); return true;
    case FRAME_AUTH_OK: succeed(core, &f->auth_ok); return true;
    case FRAME_AUTH_FAILED:
        failed(core, f->auth_failed.tag, (enum sasl_failure)f->auth_failed.failure, f->auth_failed.user);
        return true;
    default: return false;
    }
}

void smtpd_auth_down(struct smtpd_core *core) {
    struct smtpd_session *s;
    for (size_t at = 0; (s = map_next(&core->waiting, &at));) {
        if (!s->keyd)
            continue;
        if (s->waits == SMTPD_FOR_KEYD && !smtpd_session_over(s))
            failed(core, s->auth_tag, SASL_UNAVAILABLE, STR_NONE);
        else
            forget_keyd(s);
        at = 0;
    }
}

/* ---- here ---- */

static enum sasl_result start_here(struct smtpd_session *s) {
    uint8_t bytes[32];
    const struct smtp_server *smtp = &s->smtp;
    bool bound = s->core->ops->binding(s, bytes);
    return sasl_server_start(s->sasl, &s->generation->users, sasl_mechanism_find(smtp->auth.mechanism),
                             bound ? str_n(bytes, sizeof bytes) : STR_NONE,
                             smtp->auth.has_response ? &smtp->auth.response : NULL);
}

static void step_here(struct smtpd_session *s) {
    bool first = s->smtp.auth.first;
    if (first) {
        smtpd_auth_end(s);
        s->sasl = calloc(1, sizeof *s->sasl);
    }
    if (!s->sasl) {
        smtp_server_auth_failed(&s->smtp, SMTP_AUTH_UNAVAILABLE);
        return;
    }
    enum sasl_result r = first ? start_here(s) : sasl_server_step(s->sasl, s->smtp.auth.response);
    if (r == SASL_CHALLENGE) {
        smtp_server_auth_challenge(&s->smtp, buf_str(&s->sasl->challenge));
        return;
    }
    s->core->ops->log(r == SASL_DONE ? EV_SMTP_AUTH : EV_SMTP_AUTH_FAILED, s, buf_str(&s->sasl->user));
    if (r == SASL_DONE)
        smtp_server_auth_ok(&s->smtp, buf_str(&s->sasl->user));
    else
        answer_failure(s, s->sasl->failure);
    smtpd_auth_end(s);
}

/* ---- either ---- */

void smtpd_auth_step(struct smtpd_session *s) {
    if (s->generation->keyd)
        step_keyd(s);
    else
        step_here(s);
}

void smtpd_auth_end(struct smtpd_session *s) {
    if (s->keyd) {
        struct frame f = {FRAME_AUTH_END, .auth_end = {s->auth_tag}};
        smtpd_core_send(s->core, ROLE_KEYD, &f);
        forget_keyd(s);
    }
    if (!s->sasl)
        return;
    sasl_server_end(s->sasl);
    free(s->sasl);
    s->sasl = NULL;
}
