#include "role/content_core.h"

#include "base/code.h"
#include "base/date.h"
#include "mime/address.h"
#include "mime/charset.h"
#include "mime/header.h"
#include "mime/mime.h"
#include "mime/word.h"
#include "role/content_html.h"
#include "smtp/envelope.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum {
    DIGESTS = 3,
    DIGEST_MAX = 32,
    SUMMARY_TEXT_MAX = 64 * 1024, /* decoded bytes that are looked at for a snippet */
    SUMMARY_HTML_MAX = 512 * 1024,
    ENVELOPE_ARENA = 4 * 1024 * 1024,
    VALUE_MAX = 1024 * 1024, /* one header, decoded */
    KNOWN_MAX = 16 * 1024 * 1024,
    UNSUBSCRIBE_MAX = 100,
    ARGUMENT_MAX = 4096,
    CID_WORK_MAX = 20 * 1000 * 1000,
};

/* What a leaf of the message is to its reader. */
enum use { USE_OTHER, USE_TEXT, USE_HTML, USE_ATTACHMENT, USE_INLINE };

struct leaf {
    uint64_t size; /* decoded */
    uint64_t faults;
    enum use use;
    bool hashed;
    unsigned char digests[DIGESTS][DIGEST_MAX];
};

struct content {
    enum view_kind kind;
    struct content_result result;
    size_t held; /* as last counted in shared.held */
    struct buf argument, filename, type;
    struct buf envelope_bytes;
    struct envelope envelope;
    struct arena arena;
    struct mime mime;
    bool mime_started;
    struct buf head;     /* header block of the message */
    struct leaf *leaves; /* one per part of mime */
    uint32_t leaf_count, leaf_capacity;
    /* the leaf whose body is passing */
    bool passing;
    struct transfer transfer;
    struct charset_check charset; /* of text */
    struct buf decoded;
    EVP_MD_CTX *hash[DIGESTS];
    uint64_t cid_work; /* parts looked at for cid: links */
    struct buf raw;    /* its text, before the charset is converted */
    bool selected;     /* VIEW_PART: it is the one */
    /* results */
    struct buf text, html, out;
};

static const struct {
    const char *name; /* in JSON */
    const char *algorithm;
    size_t size;
} digests[DIGESTS] = {{"MD5", "MD5", 16}, {"SHA1", "SHA1", 20}, {"SHA256", "SHA256", 32}};
static EVP_MD *digest_of[DIGESTS];

/* What all views hold. */
static struct {
    size_t held;
    unsigned large; /* views beyond VIEW_SMALL */
} shared;

static const char json_type[] = "application/json";

enum err content_prepare(void) {
    struct buf utf8 = BUF(64);
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    for (int i = 0; i < DIGESTS; i++) {
        if (!digest_of[i])
            digest_of[i] = EVP_MD_fetch(NULL, digests[i].algorithm, NULL);
        if (!digest_of[i])
            return ERR_UNSUPPORTED;
    }
    bool known = charset_to_utf8(S("iso-2022-jp"), S("x"), &utf8);
    buf_free(&utf8);
    return known ? OK : ERR_UNSUPPORTED;
}

/* --- JSON --- */

static void json_key(struct buf *out, const char *key) {
    if (out->n && out->p[out->n - 1] != '{' && out->p[out->n - 1] != '[')
        buf_char(out, ',');
    buf_printf(out, "\"%s\":", key);
}

static void json_value(struct buf *out, str value) {
    buf_char(out, '"');
    escape_json(value, out);
    buf_char(out, '"');
}

static void json_str(struct buf *out, const char *key, str value) {
    json_key(out, key);
    json_value(out, value);
}

static void json_num(struct buf *out, const char *key, uint64_t value) {
    json_key(out, key);
    buf_printf(out, "%llu", (unsigned long long)value);
}

static void json_item(struct buf *out) {
    if (out->n && out->p[out->n - 1] != '[')
        buf_char(out, ',');
}

/* --- results --- */

static void fail(struct content *v, enum err e, const char *text) {
    if (v->result.done)
        return;
    v->result.done = true;
    v->result.err = e;
    v->result.text = text;
}

static void set_head(struct content *v, const char *type, uint32_t attachments) {
    v->result.head = true;
    v->result.type = type;
    v->result.attachments = attachments;
}

static size_t measure(const struct content *v) {
    const struct mime *m = &v->mime;
    return v->envelope_bytes.cap + v->head.cap + v->decoded.cap + v->raw.cap + v->text.cap + v->html.cap + v->out.cap +
           v->arena.used + v->transfer.blanks.cap + m->head.cap + m->spill.cap + m->strings.used +
           m->capacity * sizeof *m->parts + v->leaf_capacity * sizeof *v->leaves;
}

static void count(struct content *v, size_t held) {
    shared.held += held - v->held;
    shared.large += (held > VIEW_SMALL) - (unsigned)(v->held > VIEW_SMALL);
    v->held = held;
}

/* Many hostile mails looked at at once must not add up; one alone has its own limits. */
static void check_budget(struct content *v) {
    size_t before = v->held;
    count(v, measure(v));
    if (v->held > before && v->held > VIEW_SMALL && shared.held > VIEW_TOTAL_MAX && shared.large > 1)
        fail(v, ERR_FULL, "Too many large messages are being read at once. Try again in a moment.");
}

size_t content_held(void) {
    return shared.held;
}

const struct content_result *content_result(const struct content *v) {
    return &v->result;
}

str content_out(const struct content *v) {
    return buf_str(&v->out);
}

void content_taken(struct content *v) {
    buf_reset(&v->out);
    if (v->result.done)
        buf_trim(&v->out);
    count(v, measure(v));
}

/* --- header fields of the message --- */

static bool field(const struct content *v, str name, struct header *h) {
    return header_find(buf_str(&v->head), name, h);
}

static void json_decoded(struct content *v, const char *key, str name) {
    struct buf value = BUF(VALUE_MAX);
    struct header h;
    if (field(v, name, &h))
        word_decode(h.value, &value);
    json_str(&v->out, key, str_trim(buf_str(&value)));
    buf_free(&value);
}

static void json_address(struct buf *out, str name, str address) {
    buf_char(out, '{');
    json_str(out, "Name", name);
    json_str(out, "Address", address);
    buf_char(out, '}');
}

/* The addresses of all fields of that name.  Those of recipients are put down in `known` as well. */
static void put_addresses(struct content *v, str name, struct buf *known) {
    struct header_iter fields = HEADER_ITER(buf_str(&v->head));
    struct header h;
    struct address a;
    while (header_next(&fields, &h)) {
        if (!str_ieq(h.name, name))
            continue;
        struct address_iter it = ADDRESS_ITER(h.value);
        while (address_next(&it, &a) && !v->out.full) {
            json_item(&v->out);
            json_address(&v->out, a.name, a.address);
            if (known)
                buf_lstr(known, a.address);
        }
        address_iter_free(&it);
    }
}

static void json_addresses(struct content *v, const char *key, str name, struct buf *known) {
    json_key(&v->out, key);
    buf_char(&v->out, '[');
    put_addresses(v, name, known);
    buf_char(&v->out, ']');
}

struct person {
    str address;
    size_t order;
};

static int by_address(const void *a, const void *b) {
    const struct person *x = a, *y = b;
    int c = address_cmp(x->address, y->address);
    return c ? c : (x->order > y->order) - (x->order < y->order);
}

static int by_order(const void *a, const void *b) {
    const struct person *x = a, *y = b;
    return (x->order > y->order) - (x->order < y->order);
}

/* Those in `known` have order 0 and stand before the recipients. */
static size_t list_people(struct content *v, str known, struct person *people) {
    size_t n = 0;
    for (str one; take_lstr(&known, &one); n++)
        people[n].address = one;
    for (size_t i = 0; i < v->envelope.rcpt_count; i++)
        people[n++] = (struct person){v->envelope.rcpts[i].address, i + 1};
    return n;
}

/* Recipients of the envelope that no header names were blind ones.  There may be many of both: they are sorted. */
static void put_blind(struct content *v, str known) {
    size_t n = v->envelope.rcpt_count, blind = 0;
    for (str rest = known, one; take_lstr(&rest, &one);)
        n++;
    struct person *people = calloc(n ? n : 1, sizeof *people);
    if (!people) {
        fail(v, ERR_NOMEM, "out of memory");
        return;
    }
    n = list_people(v, known, people);
    qsort(people, n, sizeof *people, by_address);
    str last = STR_NONE;
    for (size_t i = 0; i < n; i++) {
        bool first = i == 0 || !address_same(last, people[i].address);
        last = people[i].address;
        if (first && people[i].order)
            people[blind++] = people[i];
    }
    qsort(people, blind, sizeof *people, by_order);
    for (size_t i = 0; i < blind; i++) {
        json_item(&v->out);
        json_address(&v->out, STR_NONE, people[i].address);
    }
    free(people);
}

static void json_bcc(struct content *v, struct buf *known) {
    json_key(&v->out, "Bcc");
    buf_char(&v->out, '[');
    put_addresses(v, S("Bcc"), known);
    put_blind(v, buf_str(known));
    buf_char(&v->out, ']');
}

static void json_from(struct content *v) {
    struct header h;
    struct address a = {0};
    bool found = field(v, S("From"), &h);
    struct address_iter it = ADDRESS_ITER(found ? h.value : STR_NONE);
    (void)address_next(&it, &a);
    json_key(&v->out, "From");
    json_address(&v->out, a.name, a.address);
    address_iter_free(&it);
}

static void json_message_id(struct content *v) {
    struct buf value = BUF(VALUE_MAX);
    struct header h;
    if (field(v, S("Message-ID"), &h))
        word_decode(h.value, &value);
    str id = str_trim(buf_str(&value));
    if (str_skip_char(&id, '<'))
        id = str_head(id, str_find(id, '>'));
    json_str(&v->out, "MessageID", id);
    buf_free(&value);
}

static void json_people(struct content *v) {
    struct buf known = BUF(KNOWN_MAX);
    json_message_id(v);
    json_from(v);
    json_addresses(v, "To", S("To"), &known);
    json_addresses(v, "Cc", S("Cc"), &known);
    json_bcc(v, &known);
    json_addresses(v, "ReplyTo", S("Reply-To"), NULL);
    buf_free(&known);
}

static void json_date(struct content *v) {
    struct header h;
    struct date d = {(int64_t)v->envelope.received_us, 0};
    json_key(&v->out, "Date");
    buf_char(&v->out, '"');
    if (field(v, S("Date"), &h) && date_parse(h.value, &d))
        date_put_3339(&v->out, d, 0);
    else
        date_put_3339(&v->out, (struct date){(int64_t)v->envelope.received_us, 0}, 3);
    buf_char(&v->out, '"');
}

/* --- List-Unsubscribe (RFC 2369, RFC 8058) --- */

static bool link_kind(str link, bool *mail) {
    *mail = str_istarts(link, S("mailto:"));
    return *mail || str_istarts(link, S("http://")) || str_istarts(link, S("https://"));
}

static void add_error(struct buf *errors, const char *text) {
    buf_add(errors, errors->n ? S(", ") : S(""));
    buf_add(errors, str_of(text));
}

static void put_unsubscribe_links(struct content *v, str value, struct buf *errors) {
    unsigned seen[2] = {0}; /* of http, of mailto */
    str before, link;
    for (unsigned i = 0; i < UNSUBSCRIBE_MAX && str_cut(&value, '<', &before) && str_cut(&value, '>', &link); i++) {
        bool mail;
        link = str_trim(link);
        if (!link_kind(link, &mail)) {
            add_error(errors, "neither a mailto nor an http link");
        } else if (seen[mail]++) {
            add_error(errors, mail ? "more than one mailto link" : "more than one http link");
        } else {
            json_item(&v->out);
            json_value(&v->out, link);
        }
    }
    if (seen[0] + seen[1] == 0)
        add_error(errors, "no link in angle brackets");
}

static void json_unsubscribe(struct content *v) {
    struct buf value = BUF(VALUE_MAX), post = BUF(VALUE_MAX), errors = BUF(8192);
    struct header h;
    bool has = field(v, S("List-Unsubscribe"), &h);
    if (has)
        word_decode(h.value, &value);
    bool has_post = field(v, S("List-Unsubscribe-Post"), &h);
    if (has_post)
        word_decode(h.value, &post);
    json_key(&v->out, "ListUnsubscribe");
    buf_char(&v->out, '{');
    json_str(&v->out, "Header", buf_str(&value));
    json_key(&v->out, "Links");
    buf_char(&v->out, '[');
    if (has)
        put_unsubscribe_links(v, buf_str(&value), &errors);
    buf_char(&v->out, ']');
    if (has_post && !str_ieq(buf_str(&post), S("List-Unsubscribe=One-Click")))
        add_error(&errors, "List-Unsubscribe-Post is not List-Unsubscribe=One-Click");
    if (has_post && !has)
        add_error(&errors, "List-Unsubscribe-Post without List-Unsubscribe");
    json_str(&v->out, "Errors", buf_str(&errors));
    json_str(&v->out, "HeaderPost", buf_str(&post));
    buf_char(&v->out, '}');
    buf_free(&value);
    buf_free(&post);
    buf_free(&errors);
}

/* --- text --- */

/* Text of the HTML where there is no other. */
static void complete_text(struct content *v) {
    if (v->text.n == 0 && v->html.n)
        content_html_text(str_head(buf_str(&v->html), VIEW_HTML_TO_TEXT), &v->text);
}

static void json_snippet(struct content *v) {
    struct buf flat = BUF(VIEW_SNIPPET * 4);
    str rest = buf_str(&v->text);
    uint32_t c;
    bool space = false;
    while (rest.n && flat.n <= VIEW_SNIPPET) {
        size_t n = utf8_char(rest, &c);
        bool blank =
            n == 0 || c <= 32 || c == 0x7f || (c >= 0x80 && c <= 0xa0) || c == 0x200c || c == 0xfeff || c == 0x34f;
        if (!blank) {
            if (space && flat.n)
                buf_char(&flat, ' ');
            buf_add(&flat, str_head(rest, n));
        }
        space = blank;
        rest = str_tail(rest, n ? n : 1);
    }
    bool cut = flat.n > VIEW_SNIPPET;
    size_t n = cut ? VIEW_SNIPPET : flat.n;
    while (cut && n && ((unsigned char)flat.p[n] & 0xc0) == 0x80)
        n--;
    buf_shrink(&flat, n);
    if (cut)
        buf_add(&flat, S("..."));
    json_str(&v->out, "Snippet", buf_str(&flat));
    buf_free(&flat);
}

/* --- attachments --- */

static bool is_listed(const struct content *v, uint32_t i, enum use use) {
    const struct mime_part *p = &v->mime.parts[i];
    return v->leaves[i].use == use && (p->filename.n || p->content_id.n);
}

static uint32_t count_listed(const struct content *v, enum use use) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < v->leaf_count; i++)
        n += is_listed(v, i, use);
    return n;
}

static void json_type_of(struct buf *out, const char *key, const struct mime_part *p) {
    struct buf type = BUF(512);
    buf_add(&type, p->type);
    buf_char(&type, '/');
    buf_add(&type, p->subtype);
    json_str(out, key, buf_str(&type));
    buf_free(&type);
}

static void json_path(struct content *v, uint32_t i) {
    json_key(&v->out, "PartID");
    buf_char(&v->out, '"');
    mime_path(&v->mime, i, &v->out);
    buf_char(&v->out, '"');
}

static void json_checksums(struct content *v, const struct leaf *l) {
    json_key(&v->out, "Checksums");
    buf_char(&v->out, '{');
    for (int i = 0; i < DIGESTS; i++) {
        json_key(&v->out, digests[i].name);
        buf_char(&v->out, '"');
        hex_encode(str_n(l->digests[i], digests[i].size), &v->out);
        buf_char(&v->out, '"');
    }
    buf_char(&v->out, '}');
}

static void json_attachments(struct content *v, const char *key, enum use use) {
    json_key(&v->out, key);
    buf_char(&v->out, '[');
    for (uint32_t i = 0; i < v->leaf_count && !v->out.full; i++) {
        const struct mime_part *p = &v->mime.parts[i];
        if (!is_listed(v, i, use))
            continue;
        json_item(&v->out);
        buf_char(&v->out, '{');
        json_path(v, i);
        json_str(&v->out, "FileName", p->filename.n ? p->filename : p->content_id);
        json_type_of(&v->out, "ContentType", p);
        json_str(&v->out, "ContentID", p->content_id);
        json_num(&v->out, "Size", v->leaves[i].size);
        json_checksums(v, &v->leaves[i]);
        buf_char(&v->out, '}');
    }
    buf_char(&v->out, ']');
}

/* --- the views --- */

static void end_summary(struct content *v) {
    uint32_t attachments = count_listed(v, USE_ATTACHMENT);
    complete_text(v);
    set_head(v, json_type, attachments);
    buf_char(&v->out, '{');
    json_people(v);
    json_decoded(v, "Subject", S("Subject"));
    json_str(&v->out, "Username", v->envelope.auth_user);
    json_num(&v->out, "Attachments", attachments);
    json_snippet(v);
    buf_char(&v->out, '}');
}

static void end_message(struct content *v) {
    complete_text(v);
    set_head(v, json_type, count_listed(v, USE_ATTACHMENT));
    buf_char(&v->out, '{');
    json_people(v);
    json_str(&v->out, "ReturnPath", v->envelope.sender);
    json_decoded(v, "Subject", S("Subject"));
    json_unsubscribe(v);
    json_date(v);
    json_str(&v->out, "Username", v->envelope.auth_user);
    json_str(&v->out, "Text", buf_str(&v->text));
    json_str(&v->out, "HTML", buf_str(&v->html));
    json_attachments(v, "Inline", USE_INLINE);
    json_attachments(v, "Attachments", USE_ATTACHMENT);
    buf_char(&v->out, '}');
}

struct named {
    str name; /* canonical, in a buf of its own */
    size_t name_at;
    str value;
    size_t order, first; /* where it stands, and where the first one of this name */
};

static int by_name(const void *a, const void *b) {
    const struct named *x = a, *y = b;
    int c = str_cmp(x->name, y->name);
    return c ? c : (x->order > y->order) - (x->order < y->order);
}

static int by_appearance(const void *a, const void *b) {
    const struct named *x = a, *y = b;
    int c = (x->first > y->first) - (x->first < y->first);
    return c ? c : (x->order > y->order) - (x->order < y->order);
}

/* Names in the order in which they first appear, and all fields of a name together.  A mail may have tens of thousands
 * of both: they are sorted. */
static void group_fields(struct named *fields, size_t n) {
    if (n == 0)
        return;
    qsort(fields, n, sizeof *fields, by_name);
    for (size_t i = 0; i < n; i++)
        fields[i].first = i && str_eq(fields[i].name, fields[i - 1].name) ? fields[i - 1].first : fields[i].order;
    qsort(fields, n, sizeof *fields, by_appearance);
}

/* A value on one line: each fold becomes one blank. */
static void json_unfolded(struct buf *out, str value) {
    struct buf flat = BUF(value.n + 1), utf8 = BUF(value.n * 3 + 1);
    str line;
    while (str_line(&value, &line)) {
        line = str_trim(line);
        if (flat.n && line.n)
            buf_char(&flat, ' ');
        buf_add(&flat, line);
    }
    charset_guess(buf_str(&flat), &utf8);
    json_value(out, buf_str(&utf8));
    buf_free(&flat);
    buf_free(&utf8);
}

static size_t count_fields(str block) {
    struct header_iter it = HEADER_ITER(block);
    struct header h;
    size_t n = 0;
    while (header_next(&it, &h))
        n += h.name.n > 0;
    return n;
}

static struct named *grouped_fields(str block, size_t count, struct buf *names) {
    struct header_iter it = HEADER_ITER(block);
    struct header h;
    size_t n = 0;
    struct named *fields = calloc(count ? count : 1, sizeof *fields);
    while (fields && header_next(&it, &h)) {
        if (h.name.n == 0)
            continue;
        fields[n] = (struct named){.name_at = names->n, .value = h.value, .order = n};
        header_canonical_name(h.name, names);
        fields[n].name.n = names->n - fields[n].name_at;
        n++;
    }
    for (size_t i = 0; i < n; i++)
        fields[i].name = str_sub(buf_str(names), fields[i].name_at, fields[i].name.n);
    group_fields(fields, n);
    return fields;
}

static void end_headers(struct content *v) {
    str block = buf_str(&v->head);
    struct buf names = BUF(block.n + 1);
    size_t count = count_fields(block);
    struct named *fields = grouped_fields(block, count, &names);
    if (!fields) {
        fail(v, ERR_NOMEM, "out of memory");
        return;
    }
    set_head(v, json_type, 0);
    buf_char(&v->out, '{');
    for (size_t i = 0; i < count; i++) {
        bool first = i == 0 || fields[i].first != fields[i - 1].first;
        bool last = i + 1 == count || fields[i].first != fields[i + 1].first;
        if (first) {
            buf_add(&v->out, i ? S(",") : S(""));
            json_value(&v->out, fields[i].name);
            buf_add(&v->out, S(":["));
        }
        json_item(&v->out);
        json_unfolded(&v->out, fields[i].value);
        if (last)
            buf_char(&v->out, ']');
    }
    buf_char(&v->out, '}');
    free(fields);
    buf_free(&names);
}

/* Of links to parts: the path of the part with that Content-ID. */
static bool put_cid(void *arg, str id, struct buf *out) {
    struct content *v = arg;
    /* Parts times links would be a long time for a mail that has thousands of both. */
    v->cid_work += v->leaf_count;
    if (v->cid_work > CID_WORK_MAX)
        return false;
    for (uint32_t i = 0; i < v->leaf_count; i++) {
        if (id.n == 0 || !str_eq(v->mime.parts[i].content_id, id))
            continue;
        escape_html(buf_str(&v->argument), out);
        mime_path(&v->mime, i, out);
        return true;
    }
    return false;
}

static void end_html(struct content *v) {
    if (v->html.n == 0) {
        fail(v, ERR_NOT_FOUND, "This message does not contain a HTML part");
        return;
    }
    set_head(v, "text/html; charset=utf-8", 0);
    content_html_cid(buf_str(&v->html), put_cid, v, &v->out);
}

static void end_text(struct content *v) {
    complete_text(v);
    set_head(v, "text/plain; charset=utf-8", 0);
    buf_add(&v->out, buf_str(&v->text));
}

static void end_part(struct content *v) {
    if (!v->result.head)
        fail(v, ERR_NOT_FOUND, "This message has no such part");
}

/* --- structure --- */

static void json_fault(struct buf *out, const char *name, const char *text, uint64_t count, uint64_t first) {
    json_item(out);
    buf_char(out, '{');
    json_str(out, "Name", str_of(name));
    json_str(out, "Text", str_of(text));
    json_num(out, "Count", count);
    json_num(out, "Offset", first);
    buf_char(out, '}');
}

/* RFC 5322 3.6: how often a field must and may stand. */
static const struct {
    str name;
    bool required;
    const char *missing, *twice;
} once[] = {
    {S_INIT("Date"), true, "missing-date", "duplicate-date"},
    {S_INIT("From"), true, "missing-from", "duplicate-from"},
    {S_INIT("Message-ID"), true, "missing-message-id", "duplicate-message-id"},
    {S_INIT("Sender"), false, "", "duplicate-sender"},
    {S_INIT("Reply-To"), false, "", "duplicate-reply-to"},
    {S_INIT("To"), false, "", "duplicate-to"},
    {S_INIT("Cc"), false, "", "duplicate-cc"},
    {S_INIT("Bcc"), false, "", "duplicate-bcc"},
    {S_INIT("In-Reply-To"), false, "", "duplicate-in-reply-to"},
    {S_INIT("References"), false, "", "duplicate-references"},
    {S_INIT("Subject"), false, "", "duplicate-subject"},
    {S_INIT("MIME-Version"), false, "", "duplicate-mime-version"},
};
enum { ONCE_COUNT = sizeof once / sizeof *once };

static void count_once(str block, uint64_t counts[ONCE_COUNT], uint64_t offsets[ONCE_COUNT]) {
    struct header_iter it = HEADER_ITER(block);
    struct header h;
    while (header_next(&it, &h))
        for (size_t i = 0; i < ONCE_COUNT; i++)
            if (str_ieq(h.name, once[i].name) && ++counts[i] == 2)
                offsets[i] = h.offset;
}

static void put_field_faults(struct content *v) {
    uint64_t counts[ONCE_COUNT] = {0}, offsets[ONCE_COUNT] = {0};
    struct header h;
    struct date d;
    count_once(buf_str(&v->head), counts, offsets);
    for (size_t i = 0; i < ONCE_COUNT; i++) {
        if (once[i].required && counts[i] == 0)
            json_fault(&v->out, once[i].missing, "a field that every message should have is missing (RFC 5322 3.6)", 1,
                       0);
        if (counts[i] > 1)
            json_fault(&v->out, once[i].twice, "a field that may stand once stands more often (RFC 5322 3.6)",
                       counts[i] - 1, offsets[i]);
    }
    if (field(v, S("Date"), &h) && !date_parse(h.value, &d))
        json_fault(&v->out, "bad-date", "the Date field cannot be read (RFC 5322 3.3)", 1, h.offset);
    if (field(v, S("Content-Type"), &h) && !field(v, S("MIME-Version"), &h))
        json_fault(&v->out, "missing-mime-version", "Content-Type without MIME-Version (RFC 2045 4)", 1, 0);
}

static void json_faults(struct content *v) {
    json_key(&v->out, "Faults");
    buf_char(&v->out, '[');
    for (int f = 0; f < MIME_FAULT_COUNT; f++)
        if (v->mime.faults[f].count)
            json_fault(&v->out, mime_fault_name((enum mime_fault)f), mime_fault_sentence((enum mime_fault)f),
                       v->mime.faults[f].count, v->mime.faults[f].first);
    put_field_faults(v);
    buf_char(&v->out, ']');
}

static void json_part_faults(struct buf *out, const struct mime_part *p) {
    json_key(out, "Faults");
    buf_char(out, '[');
    for (int f = 0; f < MIME_FAULT_COUNT; f++)
        if (p->faults & 1u << f) {
            json_item(out);
            json_value(out, str_of(mime_fault_name((enum mime_fault)f)));
        }
    buf_char(out, ']');
}

/* Without the closing brace: the children follow. */
static void json_part(struct content *v, uint32_t i) {
    const struct mime_part *p = &v->mime.parts[i];
    struct buf *out = &v->out;
    buf_char(out, '{');
    json_path(v, i);
    json_type_of(out, "ContentType", p);
    json_str(out, "Charset", p->charset);
    json_str(out, "Encoding", p->encoding_name);
    json_str(out, "Disposition", p->disposition);
    json_str(out, "FileName", p->filename);
    json_str(out, "ContentID", p->content_id);
    json_num(out, "HeaderOffset", p->header_offset);
    json_num(out, "HeaderSize", p->header_length);
    json_num(out, "BodyOffset", p->body_offset);
    json_num(out, "BodySize", p->body_length);
    json_num(out, "Lines", p->lines);
    json_num(out, "Size", p->container ? p->body_length : v->leaves[i].size);
    json_num(out, "EncodingFaults", v->leaves[i].faults);
    json_part_faults(out, p);
}

/* Parts stand in the order in which they begin, so the depth alone says where brackets open and close. */
static void json_tree(struct content *v) {
    json_key(&v->out, "Parts");
    buf_char(&v->out, '[');
    for (uint32_t i = 0; i < v->leaf_count && !v->out.full; i++) {
        uint32_t depth = v->mime.parts[i].depth, next = i + 1 < v->leaf_count ? v->mime.parts[i + 1].depth : 0;
        json_item(&v->out);
        json_part(v, i);
        buf_add(&v->out, S(",\"Parts\":["));
        if (i + 1 == v->leaf_count) {
            next = 0;
        } else if (next > depth) {
            continue;
        }
        buf_add(&v->out, S("]}"));
        for (; depth > next; depth--)
            buf_add(&v->out, S("]}"));
    }
    buf_char(&v->out, ']');
}

static void end_structure(struct content *v) {
    set_head(v, json_type, 0);
    buf_char(&v->out, '{');
    json_num(&v->out, "Size", v->mime.offset);
    json_faults(v);
    json_tree(v);
    buf_char(&v->out, '}');
}

static const struct {
    void (*end)(struct content *);
    size_t text_max, html_max; /* decoded bytes that are kept */
    bool hashes;
    bool descends; /* into message/rfc822 */
} kinds[VIEW_KIND_COUNT] = {
    [VIEW_SUMMARY] = {end_summary, SUMMARY_TEXT_MAX, SUMMARY_HTML_MAX, false, false},
    [VIEW_MESSAGE] = {end_message, VIEW_TEXT_MAX, VIEW_TEXT_MAX, true, false},
    [VIEW_HEADERS] = {end_headers, 0, 0, false, false},
    [VIEW_PART] = {end_part, 0, 0, false, true},
    [VIEW_HTML] = {end_html, 0, VIEW_TEXT_MAX, false, false},
    [VIEW_TEXT] = {end_text, VIEW_TEXT_MAX, VIEW_TEXT_MAX, false, false},
    [VIEW_STRUCTURE] = {end_structure, 0, 0, false, true},
};

/* --- parts as they pass --- */

/* As a mail reader chooses: text that is nobody's attachment is body, what has a name or an id is listed. */
static enum use use_of(const struct mime_part *p) {
    bool attachment = str_eq(p->disposition, S("attachment"));
    bool body = !attachment && p->filename.n == 0;
    if (p->container)
        return USE_OTHER;
    if (body && mime_is(p, S("text"), S("plain")))
        return USE_TEXT;
    if (body && mime_is(p, S("text"), S("html")))
        return USE_HTML;
    if (!attachment && (p->content_id.n || str_eq(p->disposition, S("inline"))))
        return USE_INLINE;
    return USE_ATTACHMENT;
}

static size_t keep_max(const struct content *v, enum use use) {
    return use == USE_TEXT ? kinds[v->kind].text_max : use == USE_HTML ? kinds[v->kind].html_max : 0;
}

static void start_hashes(struct content *v) {
    for (int i = 0; i < DIGESTS; i++) {
        if (!v->hash[i])
            v->hash[i] = EVP_MD_CTX_new();
        if (!v->hash[i] || !EVP_DigestInit_ex2(v->hash[i], digest_of[i], NULL))
            fail(v, ERR_NOMEM, "out of memory");
    }
}

static bool add_leaf(struct content *v) {
    if (v->leaf_count == v->leaf_capacity) {
        uint32_t capacity = v->leaf_capacity ? v->leaf_capacity * 2 : 4;
        struct leaf *l = realloc(v->leaves, capacity * sizeof *l);
        if (!l) {
            fail(v, ERR_NOMEM, "out of memory");
            return false;
        }
        v->leaves = l;
        v->leaf_capacity = capacity;
    }
    v->leaves[v->leaf_count++] = (struct leaf){0};
    return true;
}

/* The text of the leaf that has passed joins the body. */
static void add_text(struct content *v, const struct mime_part *p, struct buf *to) {
    str raw = buf_str(&v->raw), charset = p->charset;
    if (charset.n == 0 && to == &v->html && !utf8_valid(raw))
        charset = content_html_charset(raw);
    if (to->n && raw.n)
        buf_char(to, '\n');
    struct buf utf8 = BUF(raw.n * 4 + 16);
    charset_to_utf8(charset, raw, &utf8);
    buf_add(to, str_head(buf_str(&utf8), to->limit - to->n));
    buf_free(&utf8);
}

static void use_decoded(struct content *v) {
    struct leaf *l = &v->leaves[v->leaf_count - 1];
    str bytes = buf_str(&v->decoded);
    size_t max = keep_max(v, l->use);
    l->size += bytes.n;
    for (int i = 0; l->hashed && i < DIGESTS && bytes.n; i++)
        EVP_DigestUpdate(v->hash[i], bytes.p, bytes.n);
    if (max > v->raw.n)
        buf_add(&v->raw, str_head(bytes, max - v->raw.n));
    charset_check_put(&v->charset, bytes);
    if (v->selected)
        buf_add(&v->out, bytes);
    if (v->decoded.full || v->raw.full || v->out.full)
        fail(v, ERR_NOMEM, "out of memory");
    buf_reset(&v->decoded);
}

static void finish_leaf(struct content *v) {
    if (!v->passing)
        return;
    struct leaf *l = &v->leaves[v->leaf_count - 1];
    const struct mime_part *p = &v->mime.parts[v->leaf_count - 1];
    transfer_end(&v->transfer, &v->decoded);
    use_decoded(v);
    v->passing = false;
    if (!charset_check_end(&v->charset))
        mime_body_fault(&v->mime, v->leaf_count - 1, MIME_FAULT_BAD_CHARSET);
    l->faults = v->transfer.faults;
    for (int i = 0; l->hashed && i < DIGESTS; i++)
        EVP_DigestFinal_ex(v->hash[i], l->digests[i], NULL);
    if (keep_max(v, l->use))
        add_text(v, p, l->use == USE_TEXT ? &v->text : &v->html);
    buf_reset(&v->raw);
    if (v->selected)
        v->result.done = true;
}

static bool is_selected(struct content *v) {
    struct buf path = BUF(1024);
    mime_path(&v->mime, v->mime.current, &path);
    bool same = str_eq(buf_str(&path), buf_str(&v->argument));
    buf_free(&path);
    return same;
}

static void select_part(struct content *v) {
    const struct mime_part *p = mime_part(&v->mime);
    v->selected = true;
    mime_keep(&v->mime);
    buf_add(&v->type, p->type);
    buf_char(&v->type, '/');
    buf_add(&v->type, p->subtype);
    buf_add(&v->filename, p->filename.n ? p->filename : p->content_id);
    set_head(v, buf_cstr(&v->type), 0);
    v->result.filename = buf_str(&v->filename);
}

static void on_part(struct content *v) {
    struct mime_part *p = mime_part(&v->mime);
    finish_leaf(v);
    if (v->result.done || !add_leaf(v))
        return;
    if (v->mime.current == 0)
        buf_add(&v->head, v->mime.header);
    if (v->kind == VIEW_PART && is_selected(v))
        select_part(v);
    else if (str_eq(p->type, S("message")) && !kinds[v->kind].descends)
        mime_keep(&v->mime);
    struct leaf *l = &v->leaves[v->leaf_count - 1];
    if (v->kind == VIEW_HEADERS) {
        end_headers(v);
        v->result.done = true;
        return;
    }
    if (p->container)
        return;
    l->use = use_of(p);
    l->hashed = kinds[v->kind].hashes && (l->use == USE_ATTACHMENT || l->use == USE_INLINE);
    if (l->hashed)
        start_hashes(v);
    bool checked = v->kind == VIEW_STRUCTURE && mime_is(p, S("text"), S(""));
    charset_check_begin(&v->charset, checked ? p->charset : STR_NONE);
    transfer_init(&v->transfer, p->encoding);
    v->passing = true;
}

static void feed(struct content *v, str in, bool last) {
    for (;;) {
        enum mime_event e = v->result.done ? MIME_DONE : mime_next(&v->mime, &in, last);
        if (e == MIME_PART) {
            on_part(v);
        } else if (e == MIME_BODY && v->passing) {
            transfer_put(&v->transfer, v->mime.piece, &v->decoded);
            use_decoded(v);
        } else if (e != MIME_BODY) { /* a body that nobody passes: there was no memory to look into it */
            return;
        }
    }
}

/* --- life --- */

struct content *content_new(unsigned kind, str argument) {
    bool possible = kind > 0 && kind < VIEW_KIND_COUNT && argument.n <= ARGUMENT_MAX;
    /* A reader may be there before the role has been configured. */
    struct content *v = possible && (digest_of[0] || content_prepare() == OK) ? calloc(1, sizeof *v) : NULL;
    if (!v)
        return NULL;
    v->kind = (enum view_kind)kind;
    v->argument = BUF(ARGUMENT_MAX);
    v->filename = BUF(8192);
    v->type = BUF(512);
    v->envelope_bytes = BUF(VIEW_ENVELOPE_MAX);
    v->arena = ARENA(ENVELOPE_ARENA);
    v->head = BUF(MIME_HEADER_MAX);
    v->decoded = BUF(1024 * 1024);
    v->raw = BUF(VIEW_TEXT_MAX);
    v->text = BUF(VIEW_TEXT_MAX);
    v->html = BUF(VIEW_TEXT_MAX);
    v->out = BUF(VIEW_OUT_MAX);
    buf_add(&v->argument, argument);
    mime_init(&v->mime);
    return v;
}

void content_free(struct content *v) {
    if (!v)
        return;
    count(v, 0);
    if (v->passing) {
        transfer_end(&v->transfer, &v->decoded);
        (void)charset_check_end(&v->charset);
    }
    struct buf *bufs[] = {&v->argument, &v->filename, &v->type, &v->envelope_bytes, &v->head,
                          &v->decoded,  &v->raw,      &v->text, &v->html,           &v->out};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        buf_free(bufs[i]);
    for (int i = 0; i < DIGESTS; i++)
        EVP_MD_CTX_free(v->hash[i]);
    mime_free(&v->mime);
    arena_free(&v->arena);
    free(v->leaves);
    free(v);
}

void content_envelope(struct content *v, str bytes) {
    buf_add(&v->envelope_bytes, bytes);
    if (v->envelope_bytes.full)
        fail(v, ERR_LIMIT, "the envelope is too large to be shown");
    check_budget(v);
}

void content_body(struct content *v, str bytes) {
    /* In pieces that `decoded` holds whatever the encoding. */
    for (str piece; bytes.n && !v->result.done; bytes = str_tail(bytes, piece.n)) {
        piece = str_head(bytes, v->decoded.limit / 4);
        feed(v, piece, false);
        check_budget(v);
    }
}

/* What the output was made of is not needed while it waits to be taken. */
static void release_inputs(struct content *v) {
    struct buf *bufs[] = {&v->envelope_bytes, &v->head, &v->raw, &v->text, &v->html};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        buf_free(bufs[i]);
    buf_trim(&v->out);
}

void content_end(struct content *v) {
    if (v->result.done)
        return;
    feed(v, STR_NONE, true);
    finish_leaf(v);
    check_budget(v);
    if (v->result.done)
        return;
    if (envelope_take(buf_str(&v->envelope_bytes), &v->arena, &v->envelope) != OK) {
        fail(v, ERR_CORRUPT, "the envelope cannot be read");
        return;
    }
    kinds[v->kind].end(v);
    if (v->out.full)
        fail(v, ERR_LIMIT, "the message is too large to be shown");
    release_inputs(v);
    check_budget(v);
    v->result.done = true;
}
