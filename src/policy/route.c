#include "policy/route.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "frame/job.h"
#include "mime/header.h"

enum { KNOWN_FEW = 16, TEXT_MAX = 4096, HEADER_VALUE_MAX = 64 * 1024 };

/* Why an address got nowhere; code 0: it did. */
struct refusal {
    unsigned code;
    str text;
    str rule;
    enum { REFUSED_BY_RULE, REFUSED_UNKNOWN, REFUSED_RELAY, REFUSED_CIRCLE } why;
};

/* A rule that is spent for the addresses below: it copied, or led to them. */
struct spent {
    const struct conf_route *route;
    const struct spent *next;
};

/* One address on its way from the recipient down; those above it are the way. */
struct step {
    str address; /* as it was given */
    str key;     /* as patterns see it, and as it is compared */
    str via;
    unsigned depth;
    const struct step *up;
    const struct spent *spent;
    struct refusal result;
};

struct work {
    const struct conf *c;
    const struct route_ask *ask;
    str sender; /* its key */
    const struct route_known *known;
    struct arena *a;
    struct route_decision *d;
    struct map answers; /* of known, when there are many */
    struct map asked;   /* in missing */
    struct map visited; /* keys of addresses: struct step */
    struct map made;    /* deliveries by what they do */
    size_t capacity;    /* of d->deliveries */
    bool more, later, later_named, too_many, nomem;
};

/* ---- memory and words ---- */

static str text_of(struct work *w, const struct buf *b) {
    str s = arena_str(w->a, buf_str(b));
    w->nomem |= b->full || w->a->full;
    return s;
}

static bool remember(struct work *w, struct map *m, str key, void *value) {
    bool ok = map_put_str(m, key, value);
    w->nomem |= !ok;
    return ok;
}

static void tell(struct work *w, const struct step *s, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void tell(struct work *w, const struct step *s, const char *format, ...) {
    if (!w->d->story)
        return;
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    buf_fill(w->d->story, ' ', 2 * s->depth);
    buf_add(w->d->story, str_of(line));
    buf_char(w->d->story, '\n');
}

/* "route out (penfold.conf:12)" */
static const char *rule_name(const struct conf_route *r, char out[400]) {
    if (r->place.line)
        snprintf(out, 400, "route %.*s (%.300s:%u)", STR_ARG(r->title), r->place.where ? r->place.where : "",
                 r->place.line);
    else
        snprintf(out, 400, "route %.*s", STR_ARG(r->title));
    return out;
}

/* ---- what is known ---- */

static void index_known(struct work *w) {
    size_t n = 0;
    for (const struct route_known *k = w->known; k; k = k->next)
        n++;
    for (const struct route_known *k = w->known; k && n > KNOWN_FEW; k = k->next)
        remember(w, &w->answers, k->answer->address, (void *)k->answer);
}

static const struct directory_answer *find_answer(const struct work *w, str address) {
    if (w->answers.used)
        return map_get_str(&w->answers, address);
    for (const struct route_known *k = w->known; k; k = k->next)
        if (str_eq(k->answer->address, address))
            return k->answer;
    return NULL;
}

/* NULL: it is missing, and has been asked for. */
static const struct directory_answer *answer_of(struct work *w, str address) {
    const struct directory_answer *answer = find_answer(w, address);
    if (answer)
        return answer;
    w->more = true;
    if (w->d->missing_count < ROUTE_MISSING_MAX && !map_get_str(&w->asked, address) &&
        remember(w, &w->asked, address, w))
        w->d->missing[w->d->missing_count++] = address;
    return NULL;
}

/* ---- patterns ---- */

static str undotted(str domain) {
    return str_ends(domain, S(".")) ? str_head(domain, domain.n - 1) : domain;
}

static bool domain_pattern(str pattern, str domain) {
    pattern = undotted(pattern);
    if (str_starts(pattern, S(".")))
        return domain.n > pattern.n && str_iends(domain, pattern);
    return glob_match(pattern, domain, NULL, 0, NULL);
}

bool route_pattern(str pattern, str address, bool local) {
    str user, domain;
    if (str_eq(pattern, S("<>")) || address.n == 0)
        return str_eq(pattern, S("<>")) && address.n == 0;
    if (str_eq(pattern, S("*")))
        return true;
    if (str_ieq(pattern, S("local")))
        return local;
    address = undotted(address);
    if (str_has(pattern, '@')) {
        bool any_user = str_starts(pattern, S("@"));
        return any_user ? address_cut(address, &user, &domain) && domain_pattern(str_tail(pattern, 1), domain)
                        : glob_match(undotted(pattern), address, NULL, 0, NULL);
    }
    return address_cut(address, &user, &domain) && domain_pattern(pattern, domain);
}

enum match { NO, YES, UNKNOWN };

/* `question`: what the directory is asked, to know what "local" means for it. */
static enum match match_list(struct work *w, const struct conf_list *patterns, str address, str question, bool *named) {
    bool asks_local = false;
    for (size_t i = 0; i < patterns->count; i++) {
        if (str_ieq(patterns->list[i], S("local")))
            asks_local = true;
        else if (route_pattern(patterns->list[i], address, false)) {
            *named = true;
            return YES;
        }
    }
    if (!asks_local || address.n == 0)
        return NO;
    const struct directory_answer *answer = answer_of(w, question);
    if (!answer)
        return UNKNOWN;
    return answer->status != DIRECTORY_NOT_LOCAL ? YES : NO;
}

/* ---- conditions ---- */

/* An address elsewhere that an alias or a forward of ours leads to: whoever wrote the mail, we send it there. */
static enum match elsewhere_by_us(struct work *w, const struct step *s) {
    if (!s->up)
        return w->ask->internal ? YES : NO;
    const struct directory_answer *answer = answer_of(w, s->address);
    return !answer ? UNKNOWN : answer->status == DIRECTORY_NOT_LOCAL ? YES : NO;
}

static enum match match_auth(struct work *w, const struct conf_route *r, const struct step *s) {
    if (r->auth == CONF_YESNO_ANY)
        return YES;
    enum match ours = w->ask->user.n ? YES : elsewhere_by_us(w, s);
    return ours == UNKNOWN ? UNKNOWN : (ours == YES) == (r->auth == CONF_YESNO_YES) ? YES : NO;
}

static bool listener_in(const struct conf_list *names, str listener) {
    for (size_t i = 0; i < names->count; i++)
        if (str_eq(names->list[i], listener))
            return true;
    return false;
}

/* "X-Spam-Flag: yes*" */
static bool header_matches(str wanted, str section) {
    str name, pattern = wanted;
    struct header_iter it = HEADER_ITER(section);
    if (!str_cut(&pattern, ':', &name))
        return false;
    bool found = false;
    for (struct header h; !found && header_next(&it, &h);) {
        if (!str_ieq(h.name, str_trim(name)))
            continue;
        struct buf value = BUF(HEADER_VALUE_MAX);
        header_unfold(str_head(h.value, HEADER_VALUE_MAX), &value);
        found = glob_match(str_trim(pattern), str_trim(buf_str(&value)), NULL, 0, NULL);
        buf_free(&value);
    }
    return found;
}

/* The same for all recipients of a message. */
static bool header_says(const struct work *w, const struct conf_route *r) {
    enum { SAID_NOTHING, SAID_YES, SAID_NO };
    uint8_t *said = w->ask->header_said ? &w->ask->header_said[r - w->c->routes] : NULL;
    if (said && *said != SAID_NOTHING)
        return *said == SAID_YES;
    bool yes = header_matches(r->header, w->ask->header);
    if (said)
        *said = yes ? SAID_YES : SAID_NO;
    return yes;
}

static bool has_size(const struct conf_route *r) {
    return r->size_min || r->size_max;
}

static bool size_matches(const struct conf_route *r, uint64_t size) {
    return size >= r->size_min && (!r->size_max || size <= r->size_max);
}

struct outcome {
    enum { MISSED, MATCHED, PENDING, ASKED } is;
    const char *condition; /* MISSED, PENDING: because of which */
    bool named;            /* `to` names the recipient by more than "local" */
};

static bool is_spent(const struct step *s, const struct conf_route *r) {
    for (const struct spent *u = s->spent; u; u = u->next)
        if (u->route == r)
            return true;
    return false;
}

#define MISSED_BY(words) ((struct outcome){MISSED, (words), false})

/* What is cheap first, what needs the directory next, what needs the message last. */
static struct outcome match_rule(struct work *w, const struct conf_route *r, const struct step *s) {
    const struct route_ask *ask = w->ask;
    bool named = false, unused = false;
    if (is_spent(s, r))
        return MISSED_BY("it has done its part already");
    if (r->client.count && !conf_network_match(&r->client, ask->client))
        return MISSED_BY("the client is in none of its networks");
    if (r->listener.count && !listener_in(&r->listener, ask->listener))
        return MISSED_BY("the listener is another");
    if (has_size(r) && ask->size && !size_matches(r, ask->size))
        return MISSED_BY("the size is out of its range");
    if (r->header.n && ask->header.p && !header_says(w, r))
        return MISSED_BY("no header field matches");
    enum match to = r->to.count ? match_list(w, &r->to, s->key, s->address, &named) : YES;
    if (to == NO)
        return MISSED_BY("the recipient is not in `to`");
    enum match from = r->from.count ? match_list(w, &r->from, w->sender, ask->sender, &unused) : YES;
    if (from == NO)
        return MISSED_BY("the sender is not in `from`");
    enum match auth = match_auth(w, r, s);
    if (auth == NO)
        return MISSED_BY(r->auth == CONF_YESNO_YES ? "the client is not authenticated" : "the client is authenticated");
    if (to == UNKNOWN || from == UNKNOWN || auth == UNKNOWN)
        return (struct outcome){ASKED, NULL, named};
    if (r->header.n && !ask->header.p)
        return (struct outcome){PENDING, "the header is not there yet", named};
    if (has_size(r) && !ask->size)
        return (struct outcome){PENDING, "the size is not known yet", named};
    return (struct outcome){MATCHED, NULL, named};
}

/* ---- deliveries ---- */

static bool make_room(struct work *w) {
    struct route_decision *d = w->d;
    if (d->delivery_count < w->capacity)
        return true;
    size_t capacity = w->capacity ? 2 * w->capacity : 4;
    struct envelope_delivery *more = arena_alloc(w->a, capacity * sizeof *more);
    if (!more) {
        w->nomem = true;
        return false;
    }
    if (d->delivery_count)
        memcpy(more, d->deliveries, d->delivery_count * sizeof *more);
    d->deliveries = more;
    w->capacity = capacity;
    return true;
}

/* What two deliveries have in common that would be one and the same: a mailbox's copy is one whatever address led to
 * it, so is one that is captured, discarded or posted by a rule. */
static str delivery_key(struct work *w, const struct envelope_delivery *v) {
    struct buf key = BUF(64 * 1024);
    bool by_address = v->kind != JOB_MAILBOX && v->kind != JOB_CAPTURE && v->kind != JOB_DISCARD;
    buf_u32(&key, v->kind);
    buf_lstr(&key, v->target);
    buf_lstr(&key, v->detail);
    buf_add(&key, by_address ? v->address : STR_NONE);
    str s = text_of(w, &key);
    buf_free(&key);
    return s;
}

static void deliver(struct work *w, struct envelope_delivery v) {
    str key = delivery_key(w, &v);
    if (w->nomem || map_get_str(&w->made, key) || !make_room(w) || !remember(w, &w->made, key, w))
        return;
    v.rcpt = w->ask->rcpt;
    v.address = arena_str(w->a, v.address);
    v.sender = arena_str(w->a, v.sender);
    v.target = arena_str(w->a, v.target);
    v.detail = arena_str(w->a, v.detail);
    v.rule = arena_str(w->a, v.rule);
    w->nomem |= w->a->full;
    w->d->deliveries[w->d->delivery_count++] = v;
}

static struct envelope_delivery delivery_of(const struct step *s, const struct conf_route *r, enum job_kind kind) {
    return (struct envelope_delivery){.kind = kind, .address = s->address, .rule = r ? r->title : S(""), .via = s->via};
}

static str joined(struct work *w, const struct conf_list *l) {
    struct buf out = BUF(64 * 1024);
    for (size_t i = 0; i < l->count; i++) {
        buf_add(&out, i ? S(" ") : S(""));
        buf_add(&out, l->list[i]);
    }
    str s = text_of(w, &out);
    buf_free(&out);
    return s;
}

/* ---- refusals ---- */

static const struct refusal no_refusal = {0};

static struct refusal refuse(struct work *w, const struct step *s, unsigned code, const char *text) {
    tell(w, s, "rejected: %u %s", code, text);
    return (struct refusal){.code = code, .text = str_of(text), .rule = S("")};
}

static struct refusal refuse_unknown(struct work *w, const struct step *s) {
    struct refusal f = refuse(w, s, 550, "5.1.1 no such address here");
    f.why = REFUSED_UNKNOWN;
    return f;
}

static struct refusal refuse_relay(struct work *w, const struct step *s) {
    struct refusal f = refuse(w, s, 550, "5.7.1 relaying needs authentication");
    f.why = REFUSED_RELAY;
    return f;
}

static bool has_enhanced_code(str text) {
    return text.n > 5 && (text.p[0] == '4' || text.p[0] == '5') && text.p[1] == '.' && char_is_digit(text.p[2]);
}

static struct refusal refuse_by_rule(struct work *w, const struct step *s, const struct conf_route *r) {
    struct buf text = BUF(TEXT_MAX);
    if (!has_enhanced_code(r->text))
        buf_add(&text, r->code < 500 ? S("4.7.1 ") : S("5.7.1 "));
    buf_add(&text, r->text.n ? r->text : r->code < 500 ? S("try again later") : S("not accepted here"));
    struct refusal f = {.code = (unsigned)r->code, .text = text_of(w, &text), .rule = r->title};
    tell(w, s, "rejected: %u %.*s", f.code, STR_ARG(f.text));
    buf_free(&text);
    return f;
}

/* A part of what a recipient stands for cannot be reached while another can: that part is returned. */
static void return_part(struct work *w, const struct step *s, const struct refusal *f) {
    struct buf detail = BUF(TEXT_MAX);
    struct envelope_delivery v = delivery_of(s, NULL, JOB_REFUSED);
    buf_printf(&detail, "%u %.*s", f->code < 500 ? f->code + 100 : f->code, STR_ARG(f->text));
    if (detail.n > 4 && detail.p[4] == '4')
        detail.p[4] = '5'; /* there is no later try */
    v.detail = text_of(w, &detail);
    v.rule = f->rule;
    buf_free(&detail);
    deliver(w, v);
}

/* ---- the way down ---- */

static struct refusal decide(struct work *w, const struct step *s);

static str key_of(struct work *w, str address) {
    struct buf key = BUF(TEXT_MAX);
    bool ok = address_key(address, &key) == OK;
    str s = ok ? text_of(w, &key) : arena_str(w->a, undotted(address));
    buf_free(&key);
    w->nomem |= w->a->full;
    return s;
}

static str via_of(struct work *w, const struct step *up, const char *what, str how, str to) {
    struct buf via = BUF(256 * 1024);
    if (up->via.n)
        buf_printf(&via, "%.*s\n", STR_ARG(up->via));
    buf_printf(&via, "%s%.*s -> %.*s", what, STR_ARG(how), STR_ARG(to));
    str s = text_of(w, &via);
    buf_free(&via);
    return s;
}

static bool on_the_way(const struct step *s, str key) {
    for (; s; s = s->up)
        if (str_eq(s->key, key))
            return true;
    return false;
}

struct targets {
    const str *list;
    size_t count;
    const char *what; /* "alias ", "forward by route " ... */
    str how;
    const struct conf_route *rule; /* that led there */
};

/* One of the targets: decided, or left out since it was decided before. */
static struct refusal go_down(struct work *w, const struct step *up, const struct targets *t, str to,
                              const struct step **reached) {
    struct step *s = arena_alloc(w->a, sizeof *s);
    struct spent *spent = arena_alloc(w->a, sizeof *spent);
    *reached = NULL;
    if (!s || !spent) {
        w->nomem = true;
        return no_refusal;
    }
    *spent = (struct spent){t->rule, up->spent};
    *s = (struct step){
        .address = to, .key = key_of(w, to), .depth = up->depth + 1, .up = up, .spent = t->rule ? spent : up->spent};
    if (on_the_way(up, s->key)) {
        tell(w, s, "%.*s leads back to itself: left out", STR_ARG(to));
        return (struct refusal){550, S("5.4.6 the addresses lead in a circle"), S(""), REFUSED_CIRCLE};
    }
    const struct step *before = map_get_str(&w->visited, s->key);
    if (before) {
        tell(w, s, "%.*s is among them already", STR_ARG(to));
        return before->result;
    }
    if (w->visited.used >= w->c->alias_recipients_max) {
        w->too_many = true;
        return no_refusal;
    }
    if (s->depth > w->c->alias_depth_max)
        return refuse(w, s, 550, "5.4.6 too many aliases lead to each other");
    if (!remember(w, &w->visited, s->key, s))
        return no_refusal;
    s->via = via_of(w, up, t->what, t->how, to);
    *reached = s;
    s->result = decide(w, s);
    return s->result;
}

struct part {
    const struct step *step;
    struct refusal refusal;
};

/* `kept`: something was delivered beside the targets.  Where others are reached, a circle is cut in silence. */
static struct refusal follow(struct work *w, const struct step *s, const struct targets *t, bool kept) {
    struct part *parts = arena_alloc(w->a, (t->count ? t->count : 1) * sizeof *parts);
    struct refusal first = no_refusal;
    size_t refused = 0;
    if (!parts) {
        w->nomem = true;
        return no_refusal;
    }
    bool reached = kept;
    for (size_t i = 0; i < t->count && !w->nomem && !w->too_many; i++) {
        struct part p;
        p.refusal = go_down(w, s, t, t->list[i], &p.step);
        reached |= !p.refusal.code;
        if (p.refusal.code && !first.code)
            first = p.refusal;
        if (p.refusal.code && p.refusal.why != REFUSED_CIRCLE)
            parts[refused++] = p;
    }
    if (!reached)
        return first.code ? first : refuse(w, s, 550, "5.1.1 the address leads to nobody");
    for (size_t i = 0; i < refused; i++)
        if (parts[i].step)
            return_part(w, parts[i].step, &parts[i].refusal);
    return no_refusal;
}

/* ---- endings ---- */

static struct refusal to_account(struct work *w, const struct step *s, const struct conf_route *r,
                                 const struct directory_answer *answer) {
    if (answer->full)
        return refuse(w, s, 452, "4.2.2 the mailbox is full");
    struct envelope_delivery v = delivery_of(s, r, JOB_MAILBOX);
    v.target = answer->account;
    v.detail = r && r->folder.n ? r->folder : answer->detail;
    tell(w, s, "into the mailbox of %.*s%s%.*s", STR_ARG(v.target), v.detail.n ? ", folder " : "", STR_ARG(v.detail));
    deliver(w, v);
    return no_refusal;
}

static struct refusal to_alias(struct work *w, const struct step *s, const struct conf_route *r,
                               const struct directory_answer *answer) {
    struct buf how = BUF(TEXT_MAX);
    bool kept = false;
    if (answer->via.n)
        buf_add(&how, answer->via);
    else
        buf_printf(&how, "alias %.*s", STR_ARG(s->address));
    struct targets t = {answer->targets, answer->target_count, "", text_of(w, &how), NULL};
    buf_free(&how);
    tell(w, s, "%.*s: %zu address%s", STR_ARG(t.how), t.count, t.count == 1 ? "" : "es");
    if (answer->keep && answer->account.n)
        kept = to_account(w, s, r, answer).code == 0;
    return follow(w, s, &t, kept);
}

static struct refusal to_known(struct work *w, const struct step *s, const struct conf_route *r,
                               const struct directory_answer *answer) {
    return answer->status == DIRECTORY_IS_ALIAS ? to_alias(w, s, r, answer) : to_account(w, s, r, answer);
}

static struct refusal do_mailbox(struct work *w, const struct step *s, const struct conf_route *r) {
    const struct directory_answer *answer = answer_of(w, r->account.n ? r->account : s->address);
    if (!answer)
        return no_refusal;
    if (answer->status == DIRECTORY_UNKNOWN || answer->status == DIRECTORY_NOT_LOCAL)
        return refuse_unknown(w, s);
    return to_known(w, s, r, answer);
}

static bool relay_permitted(struct work *w, const struct step *s) {
    return w->ask->internal || w->ask->user.n || s->up || conf_network_match(&w->c->relay_networks, w->ask->client);
}

/* Does the rule itself say whose mail may go out by it? */
static bool names_whom(const struct conf_route *r) {
    return r->auth == CONF_YESNO_YES || r->to.count || r->client.count;
}

/* Mail that only passes through gets a sender of ours.  False: the directory has yet to say whose its sender is. */
static bool make_sender(struct work *w, const struct step *s, struct envelope_delivery *v) {
    const struct route_ask *ask = w->ask;
    if (!s->up || !ask->srs || ask->sender.n == 0)
        return true;
    const struct directory_answer *answer = answer_of(w, ask->sender);
    if (!answer || answer->status != DIRECTORY_NOT_LOCAL)
        return answer != NULL;
    struct buf sender = BUF(TEXT_MAX);
    v->has_sender = srs_forward(ask->srs, ask->sender, &sender) == OK;
    v->sender = v->has_sender ? text_of(w, &sender) : STR_NONE;
    tell(w, s, v->has_sender ? "its sender becomes %.*s" : "its sender stays: it cannot be rewritten",
         STR_ARG(v->sender));
    buf_free(&sender);
    return true;
}

static struct refusal send_out(struct work *w, const struct step *s, struct envelope_delivery v) {
    if (make_sender(w, s, &v))
        deliver(w, v);
    return no_refusal;
}

static struct refusal do_relay(struct work *w, const struct step *s, const struct conf_route *r) {
    struct envelope_delivery v = delivery_of(s, r, JOB_RELAY);
    str local;
    if (!relay_permitted(w, s) && !(r && names_whom(r)))
        return refuse_relay(w, s);
    if (!address_cut(s->key, &local, &v.target))
        return refuse(w, s, 550, "5.1.3 the address has no domain");
    tell(w, s, "relayed to the mail exchangers of %.*s", STR_ARG(v.target));
    return send_out(w, s, v);
}

static struct refusal do_hosts(struct work *w, const struct step *s, const struct conf_route *r) {
    bool smarthost = r->action == CONF_ACTION_SMARTHOST;
    struct envelope_delivery v = delivery_of(s, r, smarthost ? JOB_SMARTHOST : JOB_LMTP);
    if (smarthost && !relay_permitted(w, s) && !names_whom(r))
        return refuse_relay(w, s);
    v.target = joined(w, &r->host);
    tell(w, s, "%s %.*s", smarthost ? "sent by the smarthost" : "delivered by LMTP to", STR_ARG(v.target));
    if (smarthost)
        return send_out(w, s, v);
    deliver(w, v);
    return no_refusal;
}

static struct refusal do_forward(struct work *w, const struct step *s, const struct conf_route *r) {
    struct targets t = {r->address.list, r->address.count, "forward by route ", r->title, r};
    tell(w, s, "forwarded to %zu address%s", t.count, t.count == 1 ? "" : "es");
    return follow(w, s, &t, false);
}

/* Kinds that need no more than the rule's name. */
static struct refusal do_simple(struct work *w, const struct step *s, const struct conf_route *r, enum job_kind kind,
                                const char *words) {
    struct envelope_delivery v = delivery_of(s, r, kind);
    v.target = r ? r->title : S("");
    tell(w, s, "%s", words);
    deliver(w, v);
    return no_refusal;
}

static struct refusal act(struct work *w, const struct step *s, const struct conf_route *r) {
    switch (r->action) {
    case CONF_ACTION_MAILBOX: return do_mailbox(w, s, r);
    case CONF_ACTION_RELAY: return do_relay(w, s, r);
    case CONF_ACTION_SMARTHOST:
    case CONF_ACTION_LMTP: return do_hosts(w, s, r);
    case CONF_ACTION_CAPTURE: return do_simple(w, s, r, JOB_CAPTURE, "captured");
    case CONF_ACTION_FORWARD: return do_forward(w, s, r);
    case CONF_ACTION_PIPE: return do_simple(w, s, r, JOB_PIPE, "piped into the command");
    case CONF_ACTION_WEBHOOK: return do_simple(w, s, r, JOB_WEBHOOK, "posted to the webhook");
    case CONF_ACTION_DISCARD: return do_simple(w, s, r, JOB_DISCARD, "discarded");
    case CONF_ACTION_REJECT: return refuse_by_rule(w, s, r);
    }
    assert(!"an action without a hand");
    return no_refusal;
}

/* RFC 5321 4.5.1: there is a postmaster in every domain; where none was named it is the configuration's. */
static bool is_postmaster(const struct step *s) {
    str local, domain;
    if (!address_cut(s->key, &local, &domain))
        local = s->key;
    return str_ieq(local, S("postmaster"));
}

static struct refusal to_unknown(struct work *w, const struct step *s) {
    struct targets t = {&w->c->postmaster, 1, "postmaster of ", S("the configuration"), NULL};
    if (!w->c->postmaster.n || !is_postmaster(s))
        return refuse_unknown(w, s);
    tell(w, s, "every domain has a postmaster: %.*s", STR_ARG(w->c->postmaster));
    struct refusal f = follow(w, s, &t, false);
    return f.why == REFUSED_CIRCLE ? refuse_unknown(w, s) : f;
}

static struct refusal built_in(struct work *w, const struct step *s) {
    if (w->c->mode == CONF_MODE_SANDBOX) {
        tell(w, s, "no route matches: a sandbox captures");
        return do_simple(w, s, NULL, JOB_CAPTURE, "captured");
    }
    const struct directory_answer *answer = answer_of(w, s->address);
    if (!answer)
        return no_refusal;
    tell(w, s, "no route matches: %.*s is %s", STR_ARG(s->address),
         answer->status == DIRECTORY_NOT_LOCAL    ? "elsewhere"
         : answer->status == DIRECTORY_UNKNOWN    ? "of a local domain, but unknown"
         : answer->status == DIRECTORY_IS_ACCOUNT ? "an account's"
                                                  : "an alias");
    switch (answer->status) {
    case DIRECTORY_IS_ACCOUNT:
    case DIRECTORY_IS_ALIAS: return to_known(w, s, NULL, answer);
    case DIRECTORY_UNKNOWN: return to_unknown(w, s);
    case DIRECTORY_NOT_LOCAL: return do_relay(w, s, NULL);
    }
    assert(!"a status without a rule");
    return no_refusal;
}

/* ---- the rules in order ---- */

static bool spend(struct work *w, struct step *s, const struct conf_route *r) {
    struct spent *spent = arena_alloc(w->a, sizeof *spent);
    w->nomem |= !spent;
    if (!spent)
        return false;
    *spent = (struct spent){r, s->spent};
    s->spent = spent;
    return true;
}

/* Its refusal is the copy's own affair. */
static void copy(struct work *w, struct step *s, const struct conf_route *r) {
    if (spend(w, s, r))
        (void)act(w, s, r);
}

static void tell_rule(struct work *w, const struct step *s, const struct conf_route *r, const struct outcome *o) {
    static const char *const words[] = {[MISSED] = "does not match: ",
                                        [PENDING] = "may match: ",
                                        [MATCHED] = "matches",
                                        [ASKED] = "asks the directory"};
    char name[400];
    if (w->d->story)
        tell(w, s, "%s %s%s%s", rule_name(r, name), words[o->is], o->condition ? o->condition : "",
             o->is == MATCHED && r->copy ? ", and makes a copy" : "");
}

/* A report for a sender of our making: it goes on to whom that stands for. */
static bool returned(struct work *w, const struct step *s, str *to) {
    struct buf out = BUF(TEXT_MAX);
    if (s->up || !w->ask->srs || w->ask->sender.n)
        return false;
    enum err e = srs_reverse(w->ask->srs, s->address, &out);
    if (e == OK)
        *to = text_of(w, &out);
    else if (e != ERR_NOT_FOUND)
        tell(w, s, "it looks like a sender of our making, but %s", e == ERR_TIMEOUT ? "is too old" : "is not");
    buf_free(&out);
    return e == OK;
}

static struct refusal decide(struct work *w, const struct step *at) {
    struct step s = *at;
    str to;
    tell(w, &s, "%.*s", STR_ARG(s.address));
    if (returned(w, &s, &to)) {
        tell(w, &s, "a sender of our making: returned to %.*s", STR_ARG(to));
        struct targets t = {&to, 1, "sender ", s.address, NULL};
        return follow(w, &s, &t, false);
    }
    for (size_t i = 0; i < w->c->route_count && !w->nomem; i++) {
        const struct conf_route *r = &w->c->routes[i];
        struct outcome o = match_rule(w, r, &s);
        tell_rule(w, &s, r, &o);
        if (o.is == ASKED)
            return no_refusal;
        if (o.is == PENDING) {
            w->later = true;
            w->later_named |= o.named;
        }
        if (o.is == MATCHED && !r->copy)
            return act(w, &s, r);
        if (o.is == MATCHED)
            copy(w, &s, r);
    }
    return built_in(w, &s);
}

/* ---- the verdict ---- */

/* May a rule that waits for the message still take what would be refused now?  See route.h. */
static bool worth_waiting(const struct work *w, const struct refusal *f) {
    return w->later && f->why != REFUSED_UNKNOWN && (f->why != REFUSED_RELAY || w->later_named);
}

static void conclude(struct work *w, const struct refusal *f) {
    struct route_decision *d = w->d;
    d->verdict = w->later ? ROUTE_LATER : ROUTE_ACCEPT;
    if (!f->code)
        return;
    d->verdict = worth_waiting(w, f) ? ROUTE_LATER : ROUTE_REJECT;
    d->delivery_count = 0;
    d->code = f->code;
    d->text = arena_str(w->a, f->text);
    d->rule = arena_str(w->a, f->rule);
    w->nomem |= w->a->full;
}

enum err route_decide(const struct conf *c, const struct route_ask *ask, const struct route_known *known,
                      struct arena *a, struct route_decision *d) {
    size_t told = d->story ? d->story->n : 0;
    *d = (struct route_decision){.story = d->story};
    struct work w = {.c = c, .ask = ask, .known = known, .a = a, .d = d};
    struct step s = {.address = ask->recipient, .key = key_of(&w, ask->recipient), .via = S("")};
    w.sender = ask->sender.n ? key_of(&w, ask->sender) : S("");
    index_known(&w);
    struct refusal f = decide(&w, &s);
    if (w.too_many)
        f = refuse(&w, &s, 550, "5.4.6 the address stands for too many others");
    if (!w.more && !w.nomem)
        conclude(&w, &f);
    if (w.more && d->story)
        buf_shrink(d->story, told);
    map_free(&w.answers);
    map_free(&w.asked);
    map_free(&w.visited);
    map_free(&w.made);
    return w.nomem ? ERR_NOMEM : w.more ? ERR_MORE : OK;
}
