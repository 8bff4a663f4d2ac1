/* Whatever a header is like: what was to go is gone, what was to come is there once, every other field stands as it
 * stood, and the body begins where it began. */
#include "mime/edit.h"
#include "mime/header.h"
#include "mime/header_edit.h"
#include "mime/mime.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The header as the parser sees it, and the length of the body. */
static uint64_t parse(str message, struct buf *header) {
    struct mime m;
    enum mime_event e;
    str in = message;
    uint64_t body;
    bool first = true;
    mime_init(&m);
    do {
        e = mime_next(&m, &in, true);
        if (e == MIME_PART && first) {
            buf_add(header, m.header);
            first = false;
        }
    } while (e != MIME_DONE);
    body = m.count ? m.parts[0].body_length : 0;
    mime_free(&m);
    return body;
}

static bool change(void *arg, str address, struct buf *out) {
    (void)arg;
    buf_printf(out, "%.*s.changed@example.org", STR_ARG(str_head(address, str_rfind(address, '@'))));
    return true;
}

static const str touched[] = {S_INIT("Bcc"),     S_INIT("Resent-Bcc"), S_INIT("Return-Path"),
                              S_INIT("Subject"), S_INIT("To"),         S_INIT("X-Set")};
static const str added[] = {S_INIT("Date"), S_INIT("Message-ID"), S_INIT("From"), S_INIT("X-Front")};

static bool in(const str *names, size_t count, str name) {
    for (size_t i = 0; i < count; i++)
        if (str_ieq(names[i], name))
            return true;
    return false;
}

/* The next field that nobody wanted to change. */
static bool next_other(struct header_iter *it, struct header *h, bool skip_added) {
    while (header_next(it, h))
        if (!in(touched, sizeof touched / sizeof *touched, h->name) &&
            !(skip_added && in(added, sizeof added / sizeof *added, h->name)))
            return true;
    return false;
}

static void compare(str before, str after) {
    struct header_iter a = HEADER_ITER(before), b = HEADER_ITER(after);
    struct header x, y;
    for (;;) {
        bool more = next_other(&a, &x, true);
        assert(more == next_other(&b, &y, true));
        if (!more)
            return;
        assert(str_eq(x.name, y.name) && str_eq(x.value, y.value));
    }
}

static unsigned count(str header, str name) {
    struct header_iter it = HEADER_ITER(header);
    struct header h;
    unsigned n = 0;
    while (header_next(&it, &h))
        n += str_ieq(h.name, name);
    return n;
}

static void edit(str header, struct buf *list) {
    struct arena mem = ARENA(64 << 20);
    struct header_edit h;
    struct header_edit_submission s = {.message_id = S("a@b"), .from = S("c@d")};
    header_edit_begin(&h, header, &mem);
    assert(header_edit_submission(&h, &s, NULL) == OK);
    assert(header_edit_add(&h, HEADER_EDIT_FRONT, S("X-Front"), S("a\r\n b"), NULL) == OK);
    assert(header_edit_set_text(&h, S("X-Set"), S("\xc3\xbc"), NULL) == OK);
    assert(header_edit_subject(&h, S("[tag]"), NULL) == OK);
    assert(header_edit_subject(&h, S("[tag]"), NULL) == OK);
    (void)header_edit_addresses(&h, S("To"), change, NULL);
    assert(header_edit_finish(&h, list) == OK);
    arena_free(&mem);
}

static void view(str message, str list, struct buf *out) {
    struct edit_piece p;
    uint64_t edited, at = 0;
    assert(edit_check(list, message.n, &edited) == OK);
    for (; edit_piece(list, message.n, at, &p); at += p.put.n ? p.put.n : p.n)
        buf_add(out, p.put.n ? p.put : str_sub(message, (size_t)p.from, (size_t)p.n));
    assert(at == edited);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    str message = str_n(data, size);
    struct buf before = BUF(1 << 20), after = BUF(8 << 20), list = BUF(8 << 20), edited = BUF(8 << 20);
    uint64_t body = parse(message, &before);
    str header = buf_str(&before);
    edit(header, &list);
    view(message, buf_str(&list), &edited);
    assert(parse(buf_str(&edited), &after) == body);
    compare(header, buf_str(&after));
    for (size_t i = 0; i < 3; i++)
        assert(count(buf_str(&after), touched[i]) == 0);
    for (size_t i = 0; i < 3; i++) {
        unsigned was = count(header, added[i]);
        assert(count(buf_str(&after), added[i]) == (was ? was : 1));
    }
    assert(count(buf_str(&after), S("X-Front")) == count(header, S("X-Front")) + 1);
    assert(count(buf_str(&after), S("X-Set")) == 1);
    buf_free(&before);
    buf_free(&after);
    buf_free(&list);
    buf_free(&edited);
    return 0;
}
