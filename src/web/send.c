/* send.c - POST /api/v1/send: a message from its parts, in the shapes of the Mailpit API, into the way of all mail, as
 * the account of the token.  Bcc recipients are in the envelope alone. */
#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/code.h"
#include "mime/mime_build.h"
#include "sys/clock.h"
#include "web/access.h"
#include "web/handlers.h"
#include "web/inject.h"
#include "web/rows.h"
#include "web/summary.h"

enum { RECIPIENTS_MAX = 1000, HEADERS_MAX = 200, FILES_MAX = 100, MESSAGE_MAX = 16 * 1024 * 1024 };

struct sending {
    struct http_req *r; /* NULL: the client has gone */
    struct arena arena;
    struct mime_build mail;
    str to[RECIPIENTS_MAX], recipients[RECIPIENTS_MAX], headers[HEADERS_MAX];
    struct mime_build_file files[FILES_MAX];
    size_t to_count, recipient_count, header_count, file_count;
    str sender;
    struct why why; /* what is wrong with the request */
    bool wrong;
};

static void complain(struct sending *s, const char *what, str value) {
    struct buf shown = BUF(256);
    escape_print(str_head(value, 60), &shown);
    if (!s->wrong)
        (void)why(&s->why, ERR_SYNTAX, "%s%s%s", what, shown.n ? ": " : "", buf_cstr(&shown));
    s->wrong = true;
    buf_free(&shown);
}

/* Keys match whatever their case, as clients of this API expect. */
static json_t *member(json_t *object, const char *name) {
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        if (str_ieq(str_of(key), str_of(name)))
            return value;
    }
    return NULL;
}

static str text(json_t *v) {
    return json_is_string(v) ? str_n(json_string_value(v), json_string_length(v)) : STR_NONE;
}

static bool address_good(str s) {
    size_t at = str_rfind(s, '@');
    for (size_t i = 0; i < s.n; i++)
        if (char_is_ctl(s.p[i]) || s.p[i] == ' ' || s.p[i] == '<' || s.p[i] == '>')
            return false;
    return at != SIZE_MAX && at > 0 && at + 1 < s.n && s.n <= 320;
}

/* {"Email":"a@b","Name":"Ann"} to "Ann <a@b>". */
static str mailbox_of(struct sending *s, json_t *who, str *address, const char *what) {
    struct buf b = BUF(2048);
    str name = text(member(who, "Name"));
    *address = text(member(who, "Email"));
    if (!address_good(*address))
        complain(s, what, *address);
    if (name.n)
        buf_printf(&b, "%.*s <%.*s>", STR_ARG(name), STR_ARG(*address));
    else
        buf_add(&b, *address);
    str copy = arena_str(&s->arena, buf_str(&b));
    buf_free(&b);
    return copy;
}

static void add_recipient(struct sending *s, str address) {
    if (s->recipient_count == RECIPIENTS_MAX)
        complain(s, "too many recipients", STR_NONE);
    else
        s->recipients[s->recipient_count++] = address;
}

static void add_header(struct sending *s, const char *name, str value) {
    struct buf b = BUF(64 * 1024);
    buf_printf(&b, "%s: ", name);
    buf_add(&b, value);
    if (s->header_count == HEADERS_MAX || b.full)
        complain(s, "too many headers", STR_NONE);
    else
        s->headers[s->header_count++] = arena_str(&s->arena, buf_str(&b));
    buf_free(&b);
}

static void take_to(struct sending *s, json_t *list) {
    size_t i;
    json_t *who;
    json_array_foreach(list, i, who) {
        str address, mailbox = mailbox_of(s, who, &address, "invalid To address");
        add_recipient(s, address);
        if (s->to_count < RECIPIENTS_MAX)
            s->to[s->to_count++] = mailbox;
    }
}

/* Cc and ReplyTo: a list of people as one header field. */
static void take_people(struct sending *s, json_t *list, const char *field, bool receive) {
    struct buf b = BUF(64 * 1024);
    size_t i;
    json_t *who;
    json_array_foreach(list, i, who) {
        str address, mailbox = mailbox_of(s, who, &address, "invalid address");
        buf_add(&b, i ? S(", ") : STR_NONE);
        buf_add(&b, mailbox);
        if (receive)
            add_recipient(s, address);
    }
    if (b.n)
        add_header(s, field, buf_str(&b));
    buf_free(&b);
}

static void take_bcc(struct sending *s, json_t *list) {
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v) {
        str address = json_is_object(v) ? text(member(v, "Email")) : text(v);
        if (!address_good(address))
            complain(s, "invalid Bcc address", address);
        add_recipient(s, address);
    }
}

static void take_headers(struct sending *s, json_t *object) {
    const char *name;
    json_t *v;
    json_object_foreach(object, name, v) {
        if (json_is_string(v))
            add_header(s, name, text(v));
        else
            complain(s, "a header's value must be a text", str_of(name));
    }
}

static void take_file(struct sending *s, json_t *a) {
    struct buf bytes = BUF(MESSAGE_MAX);
    str name = text(member(a, "Filename")), type = text(member(a, "ContentType"));
    if (!base64_decode(text(member(a, "Content")), &bytes))
        complain(s, "the content of an attachment is not base64", name);
    else if (s->file_count == FILES_MAX)
        complain(s, "too many attachments", STR_NONE);
    else
        s->files[s->file_count++] = (struct mime_build_file){arena_str(&s->arena, name), arena_str(&s->arena, type),
                                                             arena_str(&s->arena, buf_str(&bytes))};
    buf_free(&bytes);
}

static str random_text(struct sending *s) {
    uint8_t bytes[16];
    char id[ID_SIZE];
    random_bytes(bytes, sizeof bytes);
    id_encode(bytes, id);
    return arena_str(&s->arena, str_n(id, ID_SIZE));
}

static str message_id(struct sending *s) {
    struct buf b = BUF(512);
    size_t at = str_rfind(s->sender, '@');
    buf_printf(&b, "%.*s@%.*s", STR_ARG(random_text(s)), STR_ARG(str_tail(s->sender, at == SIZE_MAX ? 0 : at + 1)));
    str copy = arena_str(&s->arena, buf_str(&b));
    buf_free(&b);
    return copy;
}

static void take_request(struct sending *s, json_t *root) {
    size_t i;
    json_t *file;
    s->mail.from = mailbox_of(s, member(root, "From"), &s->sender, "invalid From address");
    take_to(s, member(root, "To"));
    take_people(s, member(root, "Cc"), "Cc", true);
    take_people(s, member(root, "ReplyTo"), "Reply-To", false);
    take_bcc(s, member(root, "Bcc"));
    take_headers(s, member(root, "Headers"));
    json_array_foreach(member(root, "Attachments"), i, file) take_file(s, file);
    if (s->recipient_count == 0)
        complain(s, "no recipients: To, Cc or Bcc", STR_NONE);
    s->mail.subject = text(member(root, "Subject"));
    s->mail.text = text(member(root, "Text"));
    s->mail.html = text(member(root, "HTML"));
    s->mail.to = s->to;
    s->mail.to_count = s->to_count;
    s->mail.headers = s->headers;
    s->mail.header_count = s->header_count;
    s->mail.files = s->files;
    s->mail.file_count = s->file_count;
    s->mail.date = (struct date){(int64_t)clock_wall_us(), 0};
    s->mail.message_id = message_id(s);
    s->mail.random = random_text(s);
}

static void sending_free(struct sending *s) {
    arena_free(&s->arena);
    free(s);
}

static void sending_gone(void *arg) {
    ((struct sending *)arg)->r = NULL;
}

/* The shapes that clients of this API know: {"ID":"..."} and {"Error":"..."}. */
static void answer(struct http_req *r, unsigned status, const char *name, str value) {
    struct buf out = BUF(4096);
    buf_char(&out, '{');
    json_text(&out, name, value);
    buf_char(&out, '}');
    http_reply(r, status, JSON_TYPE, buf_str(&out));
    buf_free(&out);
}

static void on_sent(void *arg, enum err e, str id, str why_not) {
    struct sending *s = arg;
    if (s->r) {
        s->r->on_gone = NULL;
        unsigned status = e == OK                             ? 200
                          : e == ERR_DOWN || e == ERR_TIMEOUT ? 503
                          : e == ERR_FULL || e == ERR_IO      ? 507
                          : e == ERR_DENIED                   ? 403
                          : e == ERR_LIMIT                    ? 429
                                                              : 400;
        answer(s->r, status, e ? "Error" : "ID", e ? why_not : id);
    }
    sending_free(s);
}

static void send_built(struct sending *s) {
    struct buf bytes = BUF(MESSAGE_MAX);
    if (s->wrong || mime_build_message(&s->mail, &bytes, &s->why) != OK) {
        answer(s->r, 400, "Error", str_of(s->why.text));
        sending_free(s);
    } else {
        struct inject_mail m = {.user = access_account(),
                                .sender = s->sender,
                                .recipients = s->recipients,
                                .recipient_count = s->recipient_count,
                                .client = S("api"),
                                .bytes = buf_str(&bytes)};
        s->r->arg = s;
        s->r->on_gone = sending_gone;
        inject(&m, on_sent, s);
    }
    buf_free(&bytes);
}

void send_message(struct http_req *r) {
    json_error_t error;
    json_t *root = json_loadb(r->body.p ? r->body.p : "", r->body.n, 0, &error);
    if (!json_is_object(root)) {
        answer(r, 400, "Error", S("the body must be a JSON object"));
    } else {
        struct sending *s = calloc(1, sizeof *s);
        assert(s);
        s->r = r;
        s->arena = ARENA(2 * MESSAGE_MAX);
        take_request(s, root);
        send_built(s);
    }
    json_decref(root);
}
