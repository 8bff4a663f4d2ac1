#include "role/smtpd_route.h"

#include "frame/job.h"
#include "role/smtpd_edit.h"
#include "role/smtpd_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROUTE_MEMORY_MAX = 32 * 1024 * 1024, /* of what is decided about one mail; as much again while it is */
    HEADER_SLACK = 4096,
    TEXT_MAX = 1024,
};

/* A pinned answer: one evaluation sees one directory. */
struct smtpd_known {
    struct route_known link; /* first: link.next is the next of these */
    struct smtpd_answer *answer;
};

struct smtpd_decided {
    str recipient; /* that was routed */
    bool local;    /* as it came; known where rewrite rules ask */
    enum route_verdict verdict;
    struct envelope_delivery *deliveries;
    size_t count;
    unsigned code; /* REJECT */
    str text, rule;
};

/* ---- what is known ---- */

static void pin(struct smtpd_route *r, struct smtpd_answer *a) {
    struct smtpd_known *k = calloc(1, sizeof *k);
    if (!k) {
        r->asker.failed = true;
        return;
    }
    smtpd_answer_ref(a);
    *k = (struct smtpd_known){{&a->answer, r->known ? &r->known->link : NULL}, a};
    r->known = k;
}

static void unpin_all(struct smtpd_route *r) {
    while (r->known) {
        struct smtpd_known *k = r->known;
        r->known = (struct smtpd_known *)k->link.next;
        smtpd_answer_unref(k->answer);
        free(k);
    }
}

static void on_answer(struct smtpd_asker *a, struct smtpd_answer *answer) {
    pin(LIST_ENTRY(a, struct smtpd_route, asker), answer);
}

static void on_known(struct smtpd_asker *a) {
    smtpd_session_known(LIST_ENTRY(a, struct smtpd_route, asker)->session);
}

/* OK: it is among the known now; ERR_MORE: asked. */
static enum err learn(struct smtpd_route *r, str address, str user) {
    struct smtpd_core *core = r->session->core;
    struct smtpd_answer *a = smtpd_directory_get(core, address, user);
    if (!a) {
        enum err e = smtpd_directory_ask(core, &r->asker, address, user);
        return e ? e : ERR_MORE;
    }
    pin(r, a);
    smtpd_answer_unref(a);
    return OK;
}

static const struct directory_answer *known_answer(const struct smtpd_route *r, str address) {
    for (const struct smtpd_known *k = r->known; k; k = (const struct smtpd_known *)k->link.next)
        if (str_eq(k->answer->answer.address, address))
            return &k->answer->answer;
    return NULL;
}

static enum err one_answer(struct smtpd_route *r, str address, str user, const struct directory_answer **answer) {
    if (r->asker.failed)
        return ERR_IO;
    enum err e = known_answer(r, address) ? OK : learn(r, address, user);
    *answer = e ? NULL : known_answer(r, address);
    return e ? e : *answer ? OK : ERR_NOMEM;
}

/* A decision was made: the next one asks anew. */
static enum err decided(struct smtpd_route *r, enum err e) {
    if (e == ERR_MORE)
        return e;
    smtpd_asker_end(r->session->core, &r->asker);
    unpin_all(r);
    r->asker.failed = false;
    return e;
}

/* ---- the sender ---- */

static enum err local_account(struct smtpd_route *r) {
    struct smtpd_session *s = r->session;
    const struct directory_answer *a;
    enum err e = one_answer(r, s->smtp.envelope.auth_user, S(""), &a);
    if (e)
        return e;
    if (a->status == DIRECTORY_IS_ACCOUNT)
        s->account = arena_str(&s->smtp.session, a->account);
    unpin_all(r); /* the next question is another user's */
    return OK;
}

static bool is_login_here(const struct smtpd_session *s, str sender) {
    str local, domain;
    return address_cut(sender, &local, &domain) && str_eq(local, s->smtp.envelope.auth_user) &&
           str_ieq(domain, s->listener->smtp.hostname);
}

static str user_of(const struct smtpd_session *s) {
    if (s->account.n)
        return s->account;
    return s->smtp.authenticated ? s->smtp.envelope.auth_user : S("");
}

static enum err judge_sender(struct smtpd_route *r) {
    struct smtpd_session *s = r->session;
    const struct directory_answer *a;
    str sender = s->smtp.envelope.sender;
    bool ours = s->inside && (s->inside->internal || s->inside->folder.n);
    bool sandbox = s->generation->conf->mode == CONF_MODE_SANDBOX; /* where anybody is let in, and stays anybody */
    if (ours || sandbox || !s->smtp.authenticated || s->trusted)
        return OK;
    enum err e = s->local && !s->account.n ? local_account(r) : OK;
    if (e)
        return e;
    if (sender.n == 0 || (s->local && is_login_here(s, sender)))
        return OK;
    if (s->local && !s->account.n)
        return ERR_DENIED;
    e = one_answer(r, sender, user_of(s), &a);
    return e ? e : a->may_send ? OK : ERR_DENIED;
}

/* ---- rewriting ---- */

/* What comes from within, and not from a user, is as it should be. */
static bool rewrites(const struct smtpd_route *r) {
    const struct smtpd_inside *c = r->session->inside;
    return r->session->generation->conf->rewrite_count && !(c && (c->internal || c->folder.n));
}

static enum err is_local(struct smtpd_route *r, str address, bool *local) {
    const struct directory_answer *a;
    *local = false;
    if (!address.n || !rewrite_asks_local(r->session->generation->conf))
        return OK;
    enum err e = one_answer(r, address, S(""), &a);
    if (!e)
        *local = a->status != DIRECTORY_NOT_LOCAL;
    return e;
}

static struct rewrite_ask rewrite_ask_of(const struct smtpd_route *r, str recipient, bool local) {
    const struct envelope *e = &r->session->smtp.envelope;
    return (struct rewrite_ask){.sender = e->sender,
                                .recipient = recipient,
                                .user = user_of(r->session),
                                .client = e->client_address,
                                .listener = e->listener,
                                .sender_local = r->sender_local,
                                .recipient_local = local};
}

/* The address as it goes on, in the arena. */
static str rewritten(struct smtpd_route *r, enum rewrite_place place, str address, str recipient, bool local) {
    struct rewrite_ask ask = rewrite_ask_of(r, recipient, local);
    struct buf out = BUF(TEXT_MAX), story = BUF(TEXT_MAX);
    bool other = rewrite_address(r->session->generation->conf, &ask, place, address, &out, &story);
    if (other)
        smtp_server_note(&r->session->smtp, str_trim(buf_str(&story)));
    str result = arena_str(&r->arena, other ? buf_str(&out) : address);
    buf_free(&out);
    buf_free(&story);
    return result;
}

static enum err take_sender(struct smtpd_route *r) {
    str sender = r->session->smtp.envelope.sender;
    enum err e = rewrites(r) ? is_local(r, sender, &r->sender_local) : OK;
    if (e)
        return e;
    r->sender = rewrites(r) ? rewritten(r, REWRITE_SENDER, sender, S(""), false) : arena_str(&r->arena, sender);
    return r->arena.full ? ERR_NOMEM : OK;
}

enum err smtpd_route_sender(struct smtpd_route *r) {
    enum err e = judge_sender(r);
    return decided(r, e ? e : take_sender(r));
}

/* ---- one recipient ---- */

static struct route_ask ask_of(const struct smtpd_route *r, str recipient, size_t index) {
    const struct smtpd_session *s = r->session;
    return (struct route_ask){.sender = r->sender,
                              .recipient = recipient,
                              .rcpt = (uint32_t)index,
                              .user = user_of(s),
                              .client = s->smtp.envelope.client_address,
                              .listener = s->smtp.envelope.listener,
                              .internal = s->inside && s->inside->internal,
                              .srs = r->srs.secret_count ? &r->srs : NULL};
}

static enum err evaluate(struct smtpd_route *r, const struct route_ask *ask, struct route_decision *d) {
    for (;;) {
        arena_reset(&r->work);
        *d = (struct route_decision){0};
        if (r->asker.failed)
            return ERR_IO;
        enum err e = route_decide(r->session->generation->conf, ask, r->known ? &r->known->link : NULL, &r->work, d);
        if (e != ERR_MORE)
            return e;
        assert(d->missing_count);
        bool asked = false;
        for (size_t i = 0; i < d->missing_count; i++) {
            e = learn(r, d->missing[i], S(""));
            if (e && e != ERR_MORE)
                return e;
            asked = asked || e == ERR_MORE;
        }
        if (asked)
            return ERR_MORE;
    }
}

static struct envelope_delivery copy_delivery(struct arena *a, const struct envelope_delivery *d) {
    struct envelope_delivery copy = *d;
    str *texts[] = {&copy.address, &copy.sender, &copy.target, &copy.detail, &copy.rule, &copy.via};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        *texts[i] = arena_str(a, *texts[i]);
    return copy;
}

/* What the decision said, out of the arena of its evaluation. */
static void keep(struct smtpd_route *r, struct smtpd_decided *to, const struct route_decision *d) {
    to->verdict = d->verdict;
    to->code = d->code;
    to->text = arena_str(&r->arena, d->text);
    to->count = 0;
    to->deliveries = arena_alloc(&r->arena, (d->delivery_count + 1) * sizeof *to->deliveries);
    for (size_t i = 0; to->deliveries && i < d->delivery_count; i++)
        to->deliveries[to->count++] = copy_delivery(&r->arena, &d->deliveries[i]);
}

/* "550 5.1.1 text": there is no later try, so what was for now is for good. */
static str refusal_detail(struct smtpd_route *r, unsigned code, str text) {
    char space[TEXT_MAX];
    struct buf b = {.p = space, .cap = sizeof space, .limit = sizeof space};
    buf_printf(&b, "%u ", code < 500 ? code + 100 : code);
    if (str_starts(text, S("4.")))
        buf_char(&b, '5'), text = str_tail(text, 1);
    buf_add(&b, str_head(text, TEXT_MAX - 16));
    return arena_str(&r->arena, buf_str(&b));
}

/* It will be returned: one delivery that is a refusal. */
static void refuse(struct smtpd_route *r, struct smtpd_decided *to, size_t index, unsigned code, str text) {
    struct envelope_delivery *d = arena_alloc(&r->arena, sizeof *d);
    to->deliveries = d;
    to->count = d != NULL;
    if (d)
        *d = (struct envelope_delivery){.rcpt = (uint32_t)index,
                                        .kind = JOB_REFUSED,
                                        .address = to->recipient,
                                        .detail = refusal_detail(r, code, text)};
}

static struct smtpd_decided *add_decided(struct smtpd_route *r) {
    if (r->count == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 4;
        struct smtpd_decided *more = arena_alloc(&r->arena, cap * sizeof *more);
        if (!more)
            return NULL;
        if (r->count)
            memcpy(more, r->decided, r->count * sizeof *more);
        r->decided = more;
        r->cap = cap;
    }
    r->decided[r->count] = (struct smtpd_decided){0};
    return &r->decided[r->count++];
}

/* Where the caller from within wants it, whatever the routes say. */
static bool is_told(const struct smtpd_session *s) {
    return s->inside && (s->inside->folder.n || s->inside->forgets);
}

static void take_told(struct smtpd_route *r, struct smtpd_decided *to, size_t index) {
    const struct smtpd_inside *c = r->session->inside;
    struct envelope_delivery d = {
        .rcpt = (uint32_t)index, .kind = JOB_MAILBOX, .address = c->account, .target = c->account, .detail = c->folder};
    if (c->forgets)
        d = (struct envelope_delivery){.rcpt = (uint32_t)index, .kind = JOB_DISCARD, .address = to->recipient};
    struct route_decision decision = {.verdict = ROUTE_ACCEPT, .deliveries = &d, .delivery_count = 1};
    keep(r, to, &decision);
}

static enum err route_rcpt(struct smtpd_route *r) {
    struct smtpd_session *s = r->session;
    struct route_decision d = {0};
    size_t index = s->smtp.envelope.rcpt_count;
    str recipient = s->smtp.rcpt.address;
    bool local = false;
    enum err e = rewrites(r) ? is_local(r, recipient, &local) : OK;
    if (e)
        return e;
    if (rewrites(r))
        recipient = rewritten(r, REWRITE_RECIPIENT, recipient, recipient, local);
    struct route_ask ask = ask_of(r, recipient, index);
    e = is_told(s) ? OK : evaluate(r, &ask, &d);
    if (e)
        return e;
    bool returned = s->inside && s->inside->returns;
    r->code = d.code;
    r->text = arena_str(&r->arena, d.text);
    if (d.verdict == ROUTE_REJECT && !returned)
        return ERR_DENIED;
    struct smtpd_decided *to = add_decided(r);
    if (!to)
        return ERR_NOMEM;
    to->recipient = arena_str(&r->arena, recipient);
    to->local = local;
    if (is_told(s))
        take_told(r, to, index);
    else
        keep(r, to, &d);
    if (d.verdict == ROUTE_REJECT)
        refuse(r, to, index, d.code, d.text);
    return r->arena.full ? ERR_NOMEM : OK;
}

enum err smtpd_route_rcpt(struct smtpd_route *r) {
    /* What was decided of a recipient that the session then had no room for is gone. */
    if (r->count > r->session->smtp.envelope.rcpt_count)
        r->count = r->session->smtp.envelope.rcpt_count;
    return decided(r, route_rcpt(r));
}

/* ---- the message ---- */

void smtpd_route_body(struct smtpd_route *r, str piece) {
    const struct smtp_header *h = &r->session->smtp.header;
    if (r->header_over)
        return;
    size_t left = h->size > r->header.n ? (size_t)(h->size - r->header.n) : 0;
    size_t room = r->header.limit - r->header.n;
    buf_add(&r->header, str_head(piece, left < room ? left : room));
    r->header_over = h->done || room == 0 || r->header.full;
}

static str header_of(const struct smtpd_route *r) {
    return r->header.n ? buf_str(&r->header) : S("");
}

static enum err decide_later(struct smtpd_route *r) {
    for (; r->next < r->count; r->next++) {
        struct smtpd_decided *to = &r->decided[r->next];
        struct route_decision d;
        if (to->verdict != ROUTE_LATER)
            continue;
        struct route_ask ask = ask_of(r, to->recipient, r->next);
        ask.header = header_of(r);
        ask.size = r->session->smtp.size;
        enum err e = decided(r, evaluate(r, &ask, &d));
        if (e)
            return e;
        keep(r, to, &d);
    }
    return OK;
}

static void find_loops(struct smtpd_route *r) {
    for (size_t i = 0; i < r->count; i++)
        for (size_t j = 0; j < r->decided[i].count; j++) {
            struct envelope_delivery *d = &r->decided[i].deliveries[j];
            if (d->kind != JOB_MAILBOX || is_told(r->session) || !smtpd_header_delivered_to(header_of(r), d->address))
                continue;
            d->kind = JOB_REFUSED;
            d->detail = S("554 5.4.6 delivered here before: a mail loop");
        }
}

static bool is_refused(const struct smtpd_decided *d) {
    for (size_t i = 0; i < d->count && d->verdict != ROUTE_REJECT; i++)
        if (d->deliveries[i].kind != JOB_REFUSED)
            return false;
    return true;
}

/* What the client is told of a recipient that is refused. */
static unsigned refusal_of(const struct smtpd_decided *d, str *text) {
    *text = d->text;
    if (d->verdict == ROUTE_REJECT)
        return d->code;
    str detail = d->count ? d->deliveries[0].detail : STR_NONE, code;
    uint64_t number;
    if (!str_word(&detail, &code) || !str_u64(code, &number) || number < 400 || number > 599)
        return 550;
    *text = detail;
    return (unsigned)number;
}

/* In LMTP each has its own answer, and nothing needs to be returned (RFC 2033 4.2). */
static bool tell_refusal(struct smtpd_route *r, size_t index) {
    str text;
    if (r->session->inside || !is_refused(&r->decided[index]))
        return false;
    unsigned code = refusal_of(&r->decided[index], &text);
    return smtp_server_refuse_rcpt(&r->session->smtp, index, code, text);
}

/* When nobody gets it the client is told, and nothing needs to be returned. */
static bool refuse_all(struct smtpd_route *r) {
    if (r->session->inside && r->session->inside->returns)
        return false;
    for (size_t i = 0; i < r->count; i++)
        if (!is_refused(&r->decided[i]))
            return false;
    for (size_t i = 0; i < r->count; i++)
        (void)tell_refusal(r, i);
    r->code = refusal_of(&r->decided[0], &r->text);
    return true;
}

static enum err gather(struct smtpd_route *r) {
    struct envelope *e = &r->session->smtp.envelope;
    size_t total = 0;
    for (size_t i = 0; i < r->count; i++) {
        if (r->decided[i].verdict == ROUTE_REJECT)
            refuse(r, &r->decided[i], i, r->decided[i].code, r->decided[i].text);
        if (tell_refusal(r, i))
            r->decided[i].count = 0;
        total += r->decided[i].count;
    }
    e->deliveries = arena_alloc(&r->arena, (total + 1) * sizeof *e->deliveries);
    if (!e->deliveries)
        return ERR_NOMEM;
    e->delivery_count = 0;
    for (size_t i = 0; i < r->count; i++)
        for (size_t j = 0; j < r->decided[i].count; j++) {
            struct envelope_delivery d = r->decided[i].deliveries[j];
            if (!d.has_sender && !str_eq(r->sender, e->sender))
                d.has_sender = true, d.sender = r->sender;
            e->deliveries[e->delivery_count++] = d;
        }
    return OK;
}

static void describe(struct smtpd_route *r) {
    struct smtpd_session *s = r->session;
    struct envelope *e = &s->smtp.envelope;
    e->account = s->account;
    e->utf8 = e->utf8 || smtpd_header_is_utf8(header_of(r));
    if (!e->require_tls && smtpd_header_tls_optional(header_of(r)))
        e->require_tls = 2;
    if (s->inside && s->inside->folder.n) {
        e->appended = 1;
        e->append_flags = s->inside->append_flags;
        e->append_date_us = s->inside->append_date_us;
    }
    if (s->inside && s->inside->report_of.n) {
        e->report_of = s->inside->report_of;
        e->report_rcpts = s->inside->report_rcpts;
        e->report_kind = s->inside->report_kind;
    }
}

/* What the rules are asked for the header: the message has one for all its recipients. */
static void ask_rules(struct smtpd_route *r, struct smtpd_edit *a) {
    struct rewrite_ask *asks = arena_alloc(&r->arena, r->count * sizeof *asks);
    if (!asks)
        return;
    for (size_t i = 0; i < r->count; i++)
        asks[i] = rewrite_ask_of(r, a->envelope->rcpts[i].address, r->decided[i].local);
    a->conf = r->session->generation->conf;
    a->asks = asks;
    a->ask_count = r->count;
}

/* A header of which only a part was kept cannot be edited at its end. */
static enum err edit(struct smtpd_route *r) {
    struct smtpd_session *s = r->session;
    struct why w = {0};
    bool whole = r->header.n == s->smtp.header.size;
    bool user = s->listener->smtp.policy == SMTP_POLICY_SUBMISSION && !(s->inside && s->inside->internal);
    struct smtpd_edit a = {.envelope = &s->smtp.envelope,
                           .size = s->smtp.size,
                           .header = whole ? header_of(r) : S(""),
                           .hostname = s->listener->smtp.hostname,
                           .submission = user && whole};
    if (whole && rewrites(r))
        ask_rules(r, &a);
    enum err e = smtpd_edit(&a, &r->arena, &w);
    if (e)
        smtp_server_note(&s->smtp, str_of(w.text[0] ? w.text : err_name(e)));
    return e;
}

enum err smtpd_route_finish(struct smtpd_route *r) {
    struct smtpd_session *s = r->session;
    if (r->count > s->smtp.envelope.rcpt_count)
        r->count = s->smtp.envelope.rcpt_count;
    assert(r->count == s->smtp.envelope.rcpt_count && r->count);
    enum err e = decide_later(r);
    if (e)
        return e;
    find_loops(r);
    if (refuse_all(r))
        return ERR_DENIED;
    e = gather(r);
    describe(r);
    if (!e && s->generation->edits && !(s->inside && s->inside->folder.n))
        e = edit(r);
    return e ? e : r->arena.full ? ERR_NOMEM : OK;
}

/* ---- life ---- */

static void take_srs(struct smtpd_route *r) {
    const struct smtpd_session *s = r->session;
    const struct conf *c = s->generation->conf;
    str rest = arena_str(&r->arena, buf_str(&s->core->srs_secret)), line; /* the next configuration has another */
    r->srs = (struct srs){.secrets = r->secrets,
                          .domain = c->domain_count ? c->domains[0].title : s->listener->smtp.hostname,
                          .day = (uint32_t)(smtp_server_time_us(&s->smtp) / 1000000 / 86400)};
    while (r->srs.secret_count < SMTPD_SECRETS_MAX && str_line(&rest, &line))
        if (str_trim(line).n)
            r->secrets[r->srs.secret_count++] = str_trim(line);
}

struct smtpd_route *smtpd_route_new(struct smtpd_session *s) {
    struct smtpd_route *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    *r = (struct smtpd_route){.session = s,
                              .asker = {.on_answer = on_answer, .on_known = on_known},
                              .arena = ARENA(ROUTE_MEMORY_MAX),
                              .work = ARENA(ROUTE_MEMORY_MAX),
                              .header = BUF(s->listener->smtp.header_max + HEADER_SLACK)};
    smtpd_asker_init(&r->asker);
    take_srs(r);
    return r;
}

void smtpd_route_free(struct smtpd_route *r) {
    if (!r)
        return;
    smtpd_asker_end(r->session->core, &r->asker);
    unpin_all(r);
    buf_free(&r->header);
    arena_free(&r->arena);
    arena_free(&r->work);
    free(r);
}
