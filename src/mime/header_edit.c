#include "mime/header_edit.h"

#include "base/code.h"
#include "mime/address.h"
#include "mime/edit.h"
#include "mime/header.h"
#include "mime/mime_build.h"
#include "mime/word.h"

enum {
    FIELD_NAME_MAX = 70,
    LINE_LENGTH_MAX = 998,
    TEXT_MAX = 10000,
    TAG_MAX = 200,
    FIELD_MAX = 64 * 1024,
    NEW_ADDRESS_MAX = 1024,
};

/* What stands instead of `length` bytes at `offset`; an empty `now` is a cut, no length an added field. */
struct header_change {
    struct header_change *next;
    size_t offset, length;
    str now;
};

/* ---- walking the fields as they are now ---- */

struct walk {
    struct header_iter it;
    struct header_change **at;    /* the first change behind the field at hand: where one for it belongs */
    struct header_change *change; /* of the field at hand; NULL: it is as it came */
    struct header field;
};

static struct walk walk_begin(const struct header_edit *h) {
    return (struct walk){.it = HEADER_ITER(str_head(h->header, h->end)), .at = (struct header_change **)&h->changes};
}

static bool walk_next(struct walk *w) {
    for (;;) {
        struct header_change *c = *w->at;
        if (!c || c->offset != w->it.at) {
            w->change = NULL;
            return header_next(&w->it, &w->field);
        }
        w->at = &c->next;
        w->it.at = c->offset + c->length;
        w->change = c;
        struct header_iter now = HEADER_ITER(c->now);
        if (header_next(&now, &w->field))
            return true;
    }
}

static bool walk_to(struct walk *w, str name) {
    while (walk_next(w))
        if (str_ieq(w->field.name, name))
            return true;
    return false;
}

static struct header_change *new_change(struct header_edit *h, size_t offset, size_t length, str now) {
    struct header_change *c = arena_alloc(h->mem, sizeof *c);
    h->no_memory = h->no_memory || !c;
    if (c)
        *c = (struct header_change){.offset = offset, .length = length, .now = now};
    return c;
}

/* The field at hand becomes `now`, which is in the arena. */
static void put_now(struct header_edit *h, struct walk *w, str now) {
    if (w->change) {
        w->change->now = now;
        return;
    }
    struct header_change *c = new_change(h, w->field.offset, w->field.length, now);
    if (!c)
        return;
    c->next = *w->at;
    *w->at = c;
    w->at = &c->next;
    w->change = c;
}

/* Moves what was built into the arena. */
static str keep(struct header_edit *h, const struct buf *b) {
    str s = b->full ? STR_NONE : arena_str(h->mem, buf_str(b));
    h->no_memory = h->no_memory || s.n == 0;
    return s;
}

/* ---- the beginning ---- */

void header_edit_begin(struct header_edit *h, str header, struct arena *mem) {
    struct header_iter it = HEADER_ITER(header);
    struct header field;
    *h = (struct header_edit){.header = header, .mem = mem};
    /* A folded line without a field before it would become part of one that is put before it, and "From " of an mbox is
     * taken at the very front only: such a line stays the first. */
    if (header_next(&it, &field) && field.name.n == 0)
        h->front = it.at;
    /* Any later line that is no field begins the body for Postfix, Exim and others: what is added behind it would be
     * text there. */
    bool odd = false;
    for (h->back = it.at; header_next(&it, &field); h->back = odd ? h->back : it.at)
        odd = odd || field.name.n == 0;
    h->end = it.at;
    h->torn = h->end > 0 && header.p[h->end - 1] != '\n';
}

bool header_edit_get(const struct header_edit *h, str name, str *value) {
    struct walk w = walk_begin(h);
    if (!walk_to(&w, name))
        return false;
    *value = w.field.value;
    return true;
}

unsigned header_edit_remove(struct header_edit *h, str name) {
    struct walk w = walk_begin(h);
    unsigned count = 0;
    for (; walk_to(&w, name); count++)
        put_now(h, &w, STR_NONE);
    return count;
}

/* ---- adding and replacing ---- */

static bool name_good(str name) {
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= 32 || name.p[i] >= 127 || name.p[i] == ':')
            return false;
    return name.n > 0 && name.n <= FIELD_NAME_MAX;
}

static bool text_good(str s) {
    for (size_t i = 0; i < s.n; i++)
        if (char_is_ctl(s.p[i]) && s.p[i] != '\t')
            return false;
    return s.n <= TEXT_MAX && utf8_valid(s);
}

static bool line_good(str line, size_t column) {
    return text_good(line) && column + line.n <= LINE_LENGTH_MAX;
}

/* Folded lines begin with a blank and have more than blanks: an empty one would end the header for some readers. */
static bool value_good(str value, size_t column) {
    for (;;) {
        size_t end = str_find_str(value, S("\r\n"));
        if (!line_good(str_head(value, end), column))
            return false;
        if (end == SIZE_MAX)
            return true;
        value = str_tail(value, end + 2);
        str line = str_head(value, str_find_str(value, S("\r\n")));
        if (value.n == 0 || !char_is_space(value.p[0]) || str_trim(line).n == 0)
            return false;
        column = 0;
    }
}

static enum err field_put(str name, str value, bool text, struct buf *out, struct why *w) {
    if (!name_good(name))
        return why(w, ERR_SYNTAX, "not the name of a header field");
    if (text ? !text_good(value) : !value_good(value, name.n + 2))
        return why(w, ERR_SYNTAX, "%.*s: the value has control characters, is too long or not UTF-8", STR_ARG(name));
    buf_printf(out, "%.*s: ", STR_ARG(name));
    if (text)
        mime_build_unstructured(value, name.n + 2, out);
    else
        buf_add(out, value);
    buf_add(out, S("\r\n"));
    return OK;
}

static void insert(struct header_edit *h, enum header_edit_place place, str field) {
    bool front = place == HEADER_EDIT_FRONT;
    struct header_change *c = new_change(h, front ? h->front : h->back, 0, field), **at = &h->changes;
    if (!c)
        return;
    while (*at && ((*at)->offset < c->offset || (!front && (*at)->offset == c->offset && (*at)->length == 0)))
        at = &(*at)->next;
    c->next = *at;
    *at = c;
}

static enum err add(struct header_edit *h, enum header_edit_place place, str name, str value, bool text,
                    struct why *w) {
    struct buf b = BUF(FIELD_MAX);
    enum err e = field_put(name, value, text, &b, w);
    str field = e == OK ? keep(h, &b) : STR_NONE;
    if (field.n)
        insert(h, place, field);
    buf_free(&b);
    return e;
}

enum err header_edit_add(struct header_edit *h, enum header_edit_place place, str name, str value, struct why *w) {
    return add(h, place, name, value, false, w);
}

enum err header_edit_add_text(struct header_edit *h, enum header_edit_place place, str name, str value, struct why *w) {
    return add(h, place, name, value, true, w);
}

/* The first field of that name becomes the bytes of b, all others vanish; b is used up. */
static enum err replace(struct header_edit *h, str name, struct buf *b) {
    struct walk w = walk_begin(h);
    str field = keep(h, b);
    buf_free(b);
    if (field.n == 0)
        return OK; /* told by header_edit_finish() */
    if (!walk_to(&w, name)) {
        insert(h, HEADER_EDIT_END, field);
        return OK;
    }
    put_now(h, &w, field);
    while (walk_to(&w, name))
        put_now(h, &w, STR_NONE);
    return OK;
}

enum err header_edit_set_text(struct header_edit *h, str name, str value, struct why *w) {
    struct buf b = BUF(FIELD_MAX);
    enum err e = field_put(name, value, true, &b, w);
    if (e == OK)
        return replace(h, name, &b);
    buf_free(&b);
    return e;
}

/* ---- addresses ---- */

/* Would a reader find just this address where it is put? */
static bool address_good(str address) {
    struct address_iter it = ADDRESS_ITER(address);
    struct address a;
    bool good = line_good(address, 0) && address.n > 0 && !char_is_space(address.p[0]) && address.p[0] != '<' &&
                address_next(&it, &a) && str_eq(a.address, address) && a.domain.n > 0 && a.group.n == 0 &&
                !address_next(&it, &a);
    address_iter_free(&it);
    return good;
}

/* The list with its addresses exchanged. */
static unsigned exchange(str list, header_edit_address *ask, void *arg, struct buf *out) {
    struct address_iter it = ADDRESS_ITER(list);
    struct address a;
    unsigned count = 0;
    const char *from = list.p, *end = list.p + list.n;
    struct buf becomes = BUF(NEW_ADDRESS_MAX);
    while (address_next(&it, &a)) {
        buf_reset(&becomes);
        if (a.raw.n == 0 || !ask(arg, a.address, &becomes) || becomes.full || !address_good(buf_str(&becomes)))
            continue;
        buf_add(out, str_n(from, (size_t)(a.raw.p - from)));
        buf_add(out, buf_str(&becomes));
        from = a.raw.p + a.raw.n;
        count++;
    }
    buf_add(out, str_n(from, (size_t)(end - from)));
    buf_free(&becomes);
    address_iter_free(&it);
    return count;
}

unsigned header_edit_addresses(struct header_edit *h, str name, header_edit_address *ask, void *arg) {
    struct walk w = walk_begin(h);
    unsigned total = 0;
    while (walk_to(&w, name)) {
        struct buf b = BUF(h->header.n + (size_t)ADDRESS_LIST_MAX * NEW_ADDRESS_MAX + FIELD_MAX);
        buf_printf(&b, "%.*s: ", STR_ARG(w.field.name));
        unsigned count = exchange(w.field.value, ask, arg, &b);
        buf_add(&b, S("\r\n"));
        str field = count ? keep(h, &b) : STR_NONE;
        if (field.n)
            put_now(h, &w, field);
        total += field.n ? count : 0;
        buf_free(&b);
    }
    return total;
}

/* ---- every field ---- */

enum err header_edit_fields(struct header_edit *h, header_edit_field *ask, void *arg) {
    struct walk w = walk_begin(h);
    struct buf value = BUF(h->header.n * 8 + FIELD_MAX), field = BUF(h->header.n * 8 + FIELD_MAX);
    enum err e = OK;
    while (e == OK && walk_next(&w)) {
        enum header_edit_verdict verdict = HEADER_EDIT_STAYS;
        buf_reset(&value);
        buf_reset(&field);
        e = ask(arg, w.field.name, w.field.value, &value, &verdict);
        if (e != OK || verdict == HEADER_EDIT_STAYS)
            continue;
        if (verdict == HEADER_EDIT_CUT) {
            put_now(h, &w, STR_NONE);
            continue;
        }
        buf_add(&field, w.field.name);
        buf_add(&field, S(": "));
        buf_add(&field, buf_str(&value));
        buf_add(&field, S("\r\n"));
        str now = value.full ? STR_NONE : keep(h, &field);
        if (now.n)
            put_now(h, &w, now);
        h->no_memory = h->no_memory || now.n == 0;
    }
    buf_free(&value);
    buf_free(&field);
    return e;
}

/* ---- the subject ---- */

static bool tagged(str subject, str tag) {
    struct buf text = BUF(FIELD_MAX);
    word_decode(subject, &text);
    bool found = str_ifind_str(buf_str(&text), tag) != SIZE_MAX;
    buf_free(&text);
    return found;
}

/* Blanks between two encoded words are not shown (RFC 2047 6.2): then the one behind the tag goes into its word. */
static void subject_put(str tag, str subject, struct buf *out) {
    struct buf front = BUF(FIELD_MAX);
    bool words = !utf8_is_ascii(tag) && str_starts(subject, S("=?"));
    buf_add(&front, tag);
    if (words)
        buf_char(&front, ' ');
    size_t before = out->n;
    mime_build_unstructured(buf_str(&front), 9, out);
    size_t column = 9 + out->n - before;
    str first = str_head(subject, str_find(subject, '\n'));
    if (first.n > 0 && first.p[0] != '\r')
        buf_add(out, column + first.n < LINE_LENGTH_MAX - 1 ? S(" ") : S("\r\n "));
    buf_add(out, subject);
    buf_free(&front);
}

enum err header_edit_subject(struct header_edit *h, str tag, struct why *why_) {
    struct walk w = walk_begin(h);
    if (tag.n == 0 || tag.n > TAG_MAX || !line_good(tag, 0))
        return why(why_, ERR_SYNTAX, "not a tag for a subject");
    if (!walk_to(&w, S("Subject")))
        return header_edit_add_text(h, HEADER_EDIT_END, S("Subject"), tag, why_);
    if (tagged(w.field.value, tag))
        return OK;
    struct buf b = BUF(h->header.n + FIELD_MAX);
    buf_printf(&b, "%.*s: ", STR_ARG(w.field.name));
    subject_put(tag, w.field.value, &b);
    buf_add(&b, S("\r\n"));
    str field = keep(h, &b);
    if (field.n)
        put_now(h, &w, field);
    buf_free(&b);
    return OK;
}

/* ---- submission ---- */

static enum err add_missing(struct header_edit *h, str name, const struct buf *value, struct why *w) {
    str there;
    if (header_edit_get(h, name, &there) || value->n == 0)
        return OK;
    return header_edit_add(h, HEADER_EDIT_END, name, buf_str(value), w);
}

enum err header_edit_submission(struct header_edit *h, const struct header_edit_submission *s, struct why *w) {
    struct buf date = BUF(100), id = BUF(LINE_LENGTH_MAX), from = BUF(LINE_LENGTH_MAX);
    date_put_5322(&date, s->date);
    if (s->message_id.n)
        buf_printf(&id, "<%.*s>", STR_ARG(s->message_id));
    buf_add(&from, s->from);
    enum err e = add_missing(h, S("Date"), &date, w);
    if (e == OK)
        e = add_missing(h, S("Message-ID"), &id, w);
    if (e == OK)
        e = add_missing(h, S("From"), &from, w);
    header_edit_remove(h, S("Bcc"));
    header_edit_remove(h, S("Resent-Bcc"));
    header_edit_remove(h, S("Return-Path"));
    buf_free(&date);
    buf_free(&id);
    buf_free(&from);
    return e;
}

/* ---- the end ---- */

enum err header_edit_finish(struct header_edit *h, struct buf *list) {
    size_t before = list->n;
    bool torn = h->torn;
    if (h->no_memory)
        return ERR_NOMEM;
    for (const struct header_change *c = h->changes; c; c = c->next) {
        bool added = c->length == 0;
        if (added && c->now.n == 0)
            continue;
        /* Behind a last field without line end, which stands as it is. */
        if (added && torn && c->offset == h->end) {
            edit_put(list, c->offset, 0, h->header.p[h->end - 1] == '\r' ? S("\n") : S("\r\n"));
            torn = false;
        }
        if (!added && c->offset + c->length == h->end)
            torn = false;
        edit_put(list, c->offset, c->length, c->now);
    }
    if (!list->full)
        return OK;
    buf_shrink(list, before);
    return ERR_FULL;
}
