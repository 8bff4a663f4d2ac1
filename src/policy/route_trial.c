#include "policy/route_trial.h"

#include <string.h>

#include "frame/job.h"
#include "smtp/smtp_path.h"

enum { LINE_MAX_BYTES = 4096 };

/* ---- asking ---- */

static enum err learn(const struct directory *dir, const struct route_ask *ask, const struct route_decision *d,
                      struct arena *a, struct route_known **known) {
    for (size_t i = 0; i < d->missing_count; i++) {
        struct directory_answer *answer = arena_alloc(a, sizeof *answer);
        struct route_known *k = arena_alloc(a, sizeof *k);
        if (!answer || !k)
            return ERR_NOMEM;
        directory_lookup(dir, d->missing[i], ask->user, a, answer);
        *k = (struct route_known){answer, *known};
        *known = k;
    }
    return a->full ? ERR_NOMEM : OK;
}

/* The recipient as RCPT takes it: without its source route. */
static enum smtp_path_fault recipient_of(str address, struct arena *a, str *recipient) {
    struct buf whole = BUF(LINE_MAX_BYTES);
    struct smtp_path path;
    buf_printf(&whole, "<%.*s>", STR_ARG(address));
    str rest = buf_str(&whole);
    enum smtp_path_fault fault = whole.full ? SMTP_PATH_LENGTH : smtp_path_take(&rest, SMTP_FORWARD, &path);
    if (!fault && rest.n)
        fault = SMTP_PATH_DOMAIN;
    *recipient = fault ? STR_NONE : arena_str(a, path.address);
    buf_free(&whole);
    return fault;
}

static enum err refuse_syntax(struct route_decision *d, enum smtp_path_fault fault, struct arena *a) {
    struct buf text = BUF(LINE_MAX_BYTES);
    buf_printf(&text, "5.1.3 %s", smtp_path_fault_text(fault));
    *d = (struct route_decision){
        .verdict = ROUTE_REJECT, .code = 553, .text = arena_str(a, buf_str(&text)), .rule = S(""), .story = d->story};
    if (d->story)
        buf_add(d->story, S("no route is asked: this is no address\n"));
    buf_free(&text);
    return a->full ? ERR_NOMEM : OK;
}

enum err route_trial(const struct conf *c, const struct directory *dir, const struct route_ask *ask, struct arena *a,
                     struct route_decision *d) {
    struct route_ask question = *ask;
    struct route_known *known = NULL;
    enum err e;
    enum smtp_path_fault fault = recipient_of(ask->recipient, a, &question.recipient);
    if (fault)
        return refuse_syntax(d, fault, a);
    while ((e = route_decide(c, &question, known, a, d)) == ERR_MORE)
        if ((e = learn(dir, &question, d, a, &known)) != OK)
            return e;
    return e;
}

static bool takes_mail(const struct conf_listen *l) {
    return l->protocol != CONF_PROTOCOL_HTTP;
}

str route_trial_listener(const struct conf *c, bool authenticated) {
    enum conf_policy wanted = authenticated ? CONF_POLICY_SUBMISSION : CONF_POLICY_MX;
    for (size_t i = 0; i < c->listen_count; i++)
        if (takes_mail(&c->listens[i]) && c->listens[i].policy == wanted)
            return c->listens[i].name;
    for (size_t i = 0; i < c->listen_count; i++)
        if (takes_mail(&c->listens[i]))
            return c->listens[i].name;
    return S("");
}

static str bare(str address) {
    if (str_skip(&address, S("<")) && str_ends(address, S(">")))
        address.n--;
    return address;
}

enum err route_trial_test(const struct conf *c, const struct directory *dir, const struct conf_test *t, struct arena *a,
                          struct route_decision *d) {
    struct buf header = BUF(LINE_MAX_BYTES);
    if (t->header.n)
        buf_printf(&header, "%.*s\r\n", STR_ARG(t->header));
    struct route_ask ask = {
        .sender = bare(t->from),
        .recipient = bare(t->to),
        .user = t->user,
        .client = t->client,
        .listener = t->listener.n ? t->listener : route_trial_listener(c, t->user.n > 0),
        .size = t->size ? t->size : 1, /* 0 would mean: not known yet */
        .header = arena_str(a, buf_str(&header)),
    };
    buf_free(&header);
    return a->full ? ERR_NOMEM : route_trial(c, dir, &ask, a, d);
}

/* ---- telling ---- */

static const struct ending {
    enum job_kind kind;
    str name;
} endings[] = {
    {JOB_MAILBOX, S_INIT("mailbox")}, {JOB_CAPTURE, S_INIT("capture")}, {JOB_DISCARD, S_INIT("discard")},
    {JOB_REFUSED, S_INIT("refused")}, {JOB_RELAY, S_INIT("relay")},     {JOB_SMARTHOST, S_INIT("smarthost")},
    {JOB_LMTP, S_INIT("lmtp")},       {JOB_PIPE, S_INIT("pipe")},       {JOB_WEBHOOK, S_INIT("webhook")},
};
enum { ENDINGS = sizeof endings / sizeof *endings };

const char *route_ending_name(uint32_t kind) {
    for (size_t i = 0; i < ENDINGS; i++)
        if (endings[i].kind == kind)
            return endings[i].name.p;
    return "?";
}

static void put_ending(struct buf *out, const struct envelope_delivery *v) {
    buf_add(out, str_of(route_ending_name(v->kind)));
    if (v->kind == JOB_MAILBOX)
        buf_printf(out, " %.*s%s%.*s", STR_ARG(v->target), v->detail.n ? "/" : "", STR_ARG(v->detail));
    else if (v->kind != JOB_CAPTURE && v->kind != JOB_DISCARD)
        buf_printf(out, " %.*s", STR_ARG(v->address));
}

void route_outcome_put(struct buf *out, const struct route_decision *d) {
    if (d->verdict == ROUTE_REJECT || !d->delivery_count)
        buf_printf(out, "reject %u %.*s", d->code, STR_ARG(d->text));
    for (size_t i = 0; i < d->delivery_count; i++) {
        buf_add(out, i ? S(", ") : S(""));
        put_ending(out, &d->deliveries[i]);
    }
    if (d->verdict == ROUTE_LATER)
        buf_add(out, S(", unless a rule that has to see the message says otherwise"));
}

/* ---- comparing ---- */

struct item {
    str word, rest;
};

static bool next_item(str *expect, struct item *item) {
    str part = *expect;
    if (!expect->n)
        return false;
    if (!str_cut(expect, ',', &part))
        *expect = STR_NONE;
    item->rest = str_trim(part);
    if (!str_word(&item->rest, &item->word))
        item->word = S("");
    return true;
}

static const struct ending *find_ending(str word) {
    for (size_t i = 0; i < ENDINGS; i++)
        if (str_eq(endings[i].name, word))
            return &endings[i];
    return NULL;
}

static bool leads_to(const struct envelope_delivery *v, str pattern) {
    struct buf with_folder = BUF(LINE_MAX_BYTES);
    str local, domain;
    buf_printf(&with_folder, "%.*s/%.*s", STR_ARG(v->target), STR_ARG(v->detail.n ? v->detail : S("INBOX")));
    bool match = glob_match(pattern, v->address, NULL, 0, NULL) || glob_match(pattern, v->target, NULL, 0, NULL) ||
                 glob_match(pattern, buf_str(&with_folder), NULL, 0, NULL) ||
                 (address_cut(v->address, &local, &domain) && glob_match(pattern, domain, NULL, 0, NULL));
    buf_free(&with_folder);
    return match;
}

static bool covers(const struct item *item, const struct envelope_delivery *v) {
    const struct ending *ending = find_ending(item->word);
    return ending && ending->kind == v->kind && (!item->rest.n || leads_to(v, item->rest));
}

static bool rule_decided(str name, const struct route_decision *d) {
    for (size_t i = 0; i < d->delivery_count; i++)
        if (str_eq(d->deliveries[i].rule, name))
            return true;
    return d->verdict == ROUTE_REJECT && str_eq(d->rule, name);
}

static bool rejected_so(str rest, const struct route_decision *d) {
    struct buf reply = BUF(LINE_MAX_BYTES);
    buf_printf(&reply, "%u %.*s", d->code, STR_ARG(d->text));
    bool match = d->verdict == ROUTE_REJECT && str_istarts(buf_str(&reply), rest);
    buf_free(&reply);
    return match;
}

static enum err item_holds(const struct item *item, const struct route_decision *d, struct why *w) {
    bool holds = false;
    if (str_eq(item->word, S("route")) && item->rest.n)
        holds = rule_decided(item->rest, d);
    else if (str_eq(item->word, S("reject")))
        holds = rejected_so(item->rest, d);
    else if (str_eq(item->word, S("accept")) && !item->rest.n)
        holds = d->verdict == ROUTE_ACCEPT;
    else if (find_ending(item->word))
        for (size_t i = 0; !holds && i < d->delivery_count; i++)
            holds = covers(item, &d->deliveries[i]);
    else
        return why(w, ERR_SYNTAX,
                   "expect: \"%.*s\" is not one of mailbox, relay, smarthost, lmtp, capture, pipe, webhook, discard, "
                   "refused, accept, reject, route NAME",
                   STR_ARG(str_head(item->word, 60)));
    if (holds)
        return OK;
    return why(w, ERR_NOT_FOUND, "%.*s%s%.*s did not come", STR_ARG(item->word), item->rest.n ? " " : "",
               STR_ARG(str_head(item->rest, 200)));
}

static bool covered(str expect, const struct envelope_delivery *v, bool *any) {
    bool found = false;
    for (struct item item; next_item(&expect, &item);) {
        *any |= find_ending(item.word) != NULL;
        found |= covers(&item, v);
    }
    return found;
}

enum err route_expected(str expect, const struct route_decision *d, struct why *w) {
    str rest = expect;
    for (struct item item; next_item(&rest, &item);) {
        enum err e = item_holds(&item, d, w);
        if (e)
            return e;
    }
    for (size_t i = 0; i < d->delivery_count; i++) {
        bool any = false;
        if (covered(expect, &d->deliveries[i], &any) || !any)
            continue;
        struct buf shown = BUF(LINE_MAX_BYTES);
        put_ending(&shown, &d->deliveries[i]);
        why(w, ERR_NOT_FOUND, "%.300s came, too", buf_cstr(&shown));
        buf_free(&shown);
        return ERR_NOT_FOUND;
    }
    return OK;
}
