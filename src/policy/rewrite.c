#include "policy/rewrite.h"

#include "policy/glob.h"
#include "policy/route.h"
#include "smtp/smtp_path.h"

enum { ADDRESS_MAX = 2048 };

/* ---- conditions ---- */

static bool says_local(const struct conf_list *l) {
    for (size_t i = 0; i < l->count; i++)
        if (str_ieq(l->list[i], S("local")))
            return true;
    return false;
}

bool rewrite_asks_local(const struct conf *c) {
    for (size_t i = 0; i < c->rewrite_count; i++)
        if (says_local(&c->rewrites[i].from) || says_local(&c->rewrites[i].to))
            return true;
    return false;
}

static bool in_patterns(const struct conf_list *l, str address, bool local) {
    for (size_t i = 0; i < l->count; i++)
        if (route_pattern(l->list[i], address, local))
            return true;
    return l->count == 0;
}

static bool in_words(const struct conf_list *l, str word) {
    for (size_t i = 0; i < l->count; i++)
        if (str_eq(l->list[i], word))
            return true;
    return false;
}

bool rewrite_matches(const struct conf_rewrite *r, const struct rewrite_ask *ask) {
    if (r->auth != CONF_YESNO_ANY && (ask->user.n > 0) != (r->auth == CONF_YESNO_YES))
        return false;
    if (r->client.count && !conf_network_match(&r->client, ask->client))
        return false;
    if (r->listener.count && !in_words(&r->listener, ask->listener))
        return false;
    if (r->to.count && ask->recipient.n == 0)
        return false;
    return in_patterns(&r->from, ask->sender, ask->sender_local) &&
           in_patterns(&r->to, ask->recipient, ask->recipient_local);
}

/* ---- addresses ---- */

static bool is_for(const struct conf_rewrite *r, enum rewrite_place place) {
    static const str words[] = {[REWRITE_SENDER] = S_INIT("sender"),
                                [REWRITE_RECIPIENT] = S_INIT("recipient"),
                                [REWRITE_FROM] = S_INIT("from"),
                                [REWRITE_TO] = S_INIT("to")};
    return r->match.n && in_words(&r->where, words[place]);
}

static void tell(struct buf *story, const struct conf_rewrite *r, str from, str to, const char *how) {
    if (story)
        buf_printf(story, "rewrite %.*s: %.*s%s%.*s\n", STR_ARG(r->title), STR_ARG(from), how, STR_ARG(to));
}

/* "$1@$2.example.org" with what the stars stood for. */
static void fill_in(str replace, const str *stars, size_t star_count, struct buf *out) {
    for (size_t i = 0; i < replace.n; i++) {
        size_t star =
            i + 1 < replace.n && char_is_digit(replace.p[i + 1]) ? (size_t)(replace.p[i + 1] - '1') : SIZE_MAX;
        if (replace.p[i] != '$' || star >= star_count) {
            buf_char(out, replace.p[i]);
            continue;
        }
        buf_add(out, stars[star]);
        i++;
    }
}

static bool is_address(str s) {
    struct buf path = BUF(ADDRESS_MAX);
    struct smtp_path p;
    buf_printf(&path, "<%.*s>", STR_ARG(s));
    str rest = buf_str(&path);
    bool good = !path.full && s.n && smtp_path_take(&rest, SMTP_REVERSE, &p) == SMTP_PATH_GOOD && rest.n == 0 &&
                str_eq(p.address, s);
    buf_free(&path);
    return good;
}

/* One rule over one address; false: it stays. */
static bool apply(const struct conf_rewrite *r, str address, struct buf *out, struct buf *story) {
    str stars[GLOB_STARS_MAX];
    size_t star_count = 0;
    if (!glob_match(r->match, address, stars, GLOB_STARS_MAX, &star_count))
        return false;
    struct buf made = BUF(ADDRESS_MAX);
    fill_in(r->replace, stars, star_count, &made);
    str result = buf_str(&made);
    bool good = !made.full && is_address(result), other = good && !str_eq(result, address);
    if (other)
        buf_add(out, result);
    if (other || !good)
        tell(story, r, address, result, good ? " -> " : " stays: it would become what is no address: ");
    buf_free(&made);
    return other && !out->full;
}

bool rewrite_address(const struct conf *c, const struct rewrite_ask *ask, enum rewrite_place place, str address,
                     struct buf *out, struct buf *story) {
    struct buf now = BUF(ADDRESS_MAX), next = BUF(ADDRESS_MAX);
    bool changed = false;
    if (address.n == 0 || address.n > ADDRESS_MAX)
        return false;
    buf_add(&now, address);
    for (size_t i = 0; i < c->rewrite_count; i++) {
        const struct conf_rewrite *r = &c->rewrites[i];
        if (!is_for(r, place) || !rewrite_matches(r, ask))
            continue;
        buf_reset(&next);
        if (!apply(r, buf_str(&now), &next, story))
            continue;
        struct buf swap = now;
        now = next;
        next = swap;
        changed = true;
    }
    changed = changed && !str_eq(buf_str(&now), address);
    if (changed)
        buf_add(out, buf_str(&now));
    buf_free(&now);
    buf_free(&next);
    return changed && !out->full;
}

/* ---- header ---- */

struct header_work {
    const struct conf_rewrite *r;
    struct buf *story;
};

static bool ask_address(void *arg, str address, struct buf *out) {
    struct header_work *w = arg;
    return apply(w->r, address, out, w->story);
}

static unsigned header_addresses(struct header_work *w, struct header_edit *h) {
    static const struct {
        enum rewrite_place place;
        str name;
    } fields[] = {
        {REWRITE_FROM, S_INIT("From")}, {REWRITE_FROM, S_INIT("Sender")}, {REWRITE_FROM, S_INIT("Reply-To")},
        {REWRITE_TO, S_INIT("To")},     {REWRITE_TO, S_INIT("Cc")},
    };
    unsigned n = 0;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (is_for(w->r, fields[i].place))
            n += header_edit_addresses(h, fields[i].name, ask_address, w);
    return n;
}

/* "Name: value" */
static unsigned put_field(struct header_work *w, struct header_edit *h, str field, bool in_place) {
    struct why why;
    str name;
    if (!str_cut(&field, ':', &name))
        return 0;
    name = str_trim(name);
    str value = str_trim(field);
    enum err e = in_place ? header_edit_set_text(h, name, value, &why)
                          : header_edit_add_text(h, HEADER_EDIT_END, name, value, &why);
    tell(w->story, w->r, name, e ? str_of(why.text) : value, e ? " cannot be set: " : " is set to ");
    return e == OK;
}

static unsigned apply_header(struct header_work *w, struct header_edit *h) {
    const struct conf_rewrite *r = w->r;
    struct why why;
    unsigned n = header_addresses(w, h);
    for (size_t i = 0; i < r->remove.count; i++)
        n += header_edit_remove(h, r->remove.list[i]);
    if (r->set.n)
        n += put_field(w, h, r->set, true);
    if (r->add.n)
        n += put_field(w, h, r->add, false);
    if (r->subject.n)
        n += header_edit_subject(h, r->subject, &why) == OK;
    return n;
}

unsigned rewrite_header(const struct conf *c, const struct rewrite_ask *asks, size_t ask_count, struct header_edit *h,
                        struct buf *story) {
    unsigned n = 0;
    for (size_t i = 0; i < c->rewrite_count; i++) {
        struct header_work w = {&c->rewrites[i], story};
        for (size_t k = 0; k < ask_count; k++)
            if (rewrite_matches(w.r, &asks[k])) {
                n += apply_header(&w, h);
                break;
            }
    }
    return n;
}
