#include "dns/dns.h"

#include <stdio.h>
#include <string.h>

#include "base/ip.h"

enum {
    CODED_VERSION = 1,
    HEADER_SIZE = 12,
    LABEL_MAX = 63,
    WIRE_NAME_MAX = 255,
    TEXT_NAME_MAX = 4 * WIRE_NAME_MAX, /* every byte as \DDD */
    CLASS_IN = 1,
    TYPE_SOA = 6,
    SOA_NUMBERS = 20, /* serial refresh retry expire minimum */
    CODED_RECORD = 8, /* beside its value */
};

/* ---- words ---- */

const char *dns_status_name(enum dns_status status) {
    static const char *const names[] = {
        [DNS_FOUND] = "found",   [DNS_NO_DATA] = "no data", [DNS_NO_NAME] = "no such name",
        [DNS_FAILED] = "failed", [DNS_BOGUS] = "bogus",
    };
    return (size_t)status < sizeof names / sizeof *names ? names[status] : "?";
}

static const struct {
    const char *name;
    uint32_t type;
} types[] = {
    {"A", DNS_A},   {"NS", DNS_NS},   {"CNAME", DNS_CNAME}, {"PTR", DNS_PTR},
    {"MX", DNS_MX}, {"TXT", DNS_TXT}, {"AAAA", DNS_AAAA},   {"TLSA", DNS_TLSA},
};

const char *dns_type_name(uint32_t type) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].type == type)
            return types[i].name;
    return "";
}

bool dns_type_parse(str name, uint32_t *type) {
    uint64_t number;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (str_ieq(name, str_of(types[i].name))) {
            *type = types[i].type;
            return true;
        }
    if (!str_iskip(&name, S("TYPE")) || !str_u64(name, &number) || number == 0 || number > UINT16_MAX)
        return false;
    *type = (uint32_t)number;
    return true;
}

static bool name_char(char c) {
    return char_is_alnum(c) || c == '-' || c == '_';
}

enum err dns_name_check(str name) {
    size_t label = 0;
    if (name.n == 0 || name.n > DNS_NAME_MAX)
        return ERR_SYNTAX;
    for (size_t i = 0; i < name.n; i++) {
        bool dot = name.p[i] == '.';
        if (dot ? label == 0 : !name_char(name.p[i]))
            return ERR_SYNTAX;
        label = dot ? 0 : label + 1;
        if (label > LABEL_MAX)
            return ERR_SYNTAX;
    }
    return label ? OK : ERR_SYNTAX;
}

static str lower(str s, struct arena *a) {
    str copy = arena_str(a, s);
    for (size_t i = 0; i < copy.n; i++)
        ((char *)copy.p)[i] = char_lower(copy.p[i]); /* ours, made just now */
    return copy;
}

/* ---- coded answers ---- */

void dns_answer_put(struct buf *out, const struct dns_answer *a) {
    buf_u8(out, CODED_VERSION);
    buf_lstr(out, a->name);
    buf_u32(out, a->type);
    buf_u8(out, (uint8_t)a->status);
    buf_u8(out, a->secure);
    buf_u32(out, a->ttl_s);
    buf_lstr(out, a->canonical);
    buf_lstr(out, a->text);
    buf_u32(out, (uint32_t)a->record_count);
    for (size_t i = 0; i < a->record_count; i++) {
        buf_u32(out, a->records[i].preference);
        buf_lstr(out, a->records[i].value);
    }
}

/* A name as packets give it: no blanks, controls or capitals in it. */
static bool name_fits(str s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || (s.p[i] >= 'A' && s.p[i] <= 'Z'))
            return false;
    return s.n <= TEXT_NAME_MAX;
}

static bool value_fits(uint32_t type, str value) {
    uint8_t ip[IP6_SIZE];
    switch (type) {
    case DNS_A: return ip4_parse(value, ip);
    case DNS_AAAA: return ip6_parse(value, ip);
    case DNS_NS:
    case DNS_CNAME:
    case DNS_PTR:
    case DNS_MX: return name_fits(value);
    default: return value.n <= DNS_VALUE_MAX;
    }
}

static bool take_head(str *s, struct dns_answer *out, uint32_t *count) {
    uint8_t version, status, secure;
    if (!take_u8(s, &version) || version != CODED_VERSION || !take_lstr(s, &out->name) || !take_u32(s, &out->type) ||
        !take_u8(s, &status) || !take_u8(s, &secure) || !take_u32(s, &out->ttl_s) || !take_lstr(s, &out->canonical) ||
        !take_lstr(s, &out->text) || !take_u32(s, count))
        return false;
    out->status = (enum dns_status)status;
    out->secure = secure == 1;
    return status <= DNS_BOGUS && secure <= 1 && *count <= DNS_RECORDS_MAX && (*count > 0) == (status == DNS_FOUND) &&
           dns_name_check(out->name) == OK && name_fits(out->canonical);
}

enum err dns_answer_take(str bytes, struct arena *a, struct dns_answer *out) {
    uint32_t count;
    *out = (struct dns_answer){0};
    if (bytes.n > DNS_ANSWER_MAX)
        return ERR_CORRUPT;
    str s = arena_str(a, bytes); /* once, and all views point into it */
    if (a->full)
        return ERR_NOMEM;
    if (!take_head(&s, out, &count))
        return ERR_CORRUPT;
    out->records = count ? arena_alloc(a, count * sizeof *out->records) : NULL;
    if (count && !out->records)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < count; i++) {
        struct dns_record *r = &out->records[i];
        if (!take_u32(&s, &r->preference) || !take_lstr(&s, &r->value) || !value_fits(out->type, r->value))
            return ERR_CORRUPT;
    }
    out->record_count = count;
    return s.n == 0 ? OK : ERR_CORRUPT;
}

enum err dns_answer_failed(str name, uint32_t type, enum dns_status status, str text, struct arena *a,
                           struct dns_answer *out) {
    *out = (struct dns_answer){.type = type, .status = status};
    out->name = lower(name, a);
    out->canonical = out->name;
    out->text = arena_str(a, text);
    return a->full ? ERR_NOMEM : OK;
}

/* ---- packets ---- */

struct packet {
    str all;
    size_t at; /* next byte to read */
};

/* A name as text in fixed room. */
struct name {
    size_t n;
    char text[TEXT_NAME_MAX];
};

struct rr {
    struct name owner;
    unsigned type, class;
    uint32_t ttl_s;
    size_t data, size; /* where its data stands */
};

static bool get_u8(struct packet *p, unsigned *v) {
    if (p->at >= p->all.n)
        return false;
    *v = (unsigned char)p->all.p[p->at++];
    return true;
}

static bool get_u16(struct packet *p, unsigned *v) {
    unsigned high, low;
    if (!get_u8(p, &high) || !get_u8(p, &low))
        return false;
    *v = high << 8 | low;
    return true;
}

static bool get_u32(struct packet *p, uint32_t *v) {
    unsigned high, low;
    if (!get_u16(p, &high) || !get_u16(p, &low))
        return false;
    *v = (uint32_t)high << 16 | low;
    return true;
}

static void name_add_byte(struct name *name, char c) {
    c = char_lower(c);
    if (c > ' ' && c <= '~' && c != '.' && c != '\\')
        name->text[name->n++] = c;
    else
        name->n += (size_t)snprintf(name->text + name->n, 5, "\\%03u", (unsigned)(unsigned char)c);
}

/* The length bounds what is written: at most 255 bytes of the wire, each at most four of text.  snprintf's NUL needs
 * one more, which the dot or length byte that every label has pays for. */
static bool name_add_label(struct packet *p, unsigned length, struct name *name, size_t *wire) {
    *wire += 1 + length;
    if (*wire > WIRE_NAME_MAX || length > p->all.n - p->at)
        return false;
    if (name->n)
        name->text[name->n++] = '.';
    for (unsigned i = 0; i < length; i++)
        name_add_byte(name, p->all.p[p->at++]);
    return true;
}

/* RFC 1035 4.1.4.  A pointer must lead before the labels that came last: so there are no loops. */
static bool get_name(struct packet *p, struct name *name) {
    size_t wire = 1, back = 0, before = p->at;
    unsigned length, low;
    name->n = 0;
    for (;;) {
        if (!get_u8(p, &length))
            return false;
        if (length == 0)
            break;
        if (length <= LABEL_MAX) {
            if (!name_add_label(p, length, name, &wire))
                return false;
            continue;
        }
        if (length < 0xc0 || !get_u8(p, &low))
            return false;
        size_t target = (length & 0x3f) << 8 | low;
        if (target >= before)
            return false;
        if (!back)
            back = p->at;
        p->at = before = target;
    }
    if (back)
        p->at = back;
    return true;
}

static str name_str(const struct name *name) {
    return str_n(name->text, name->n);
}

static bool get_rr(struct packet *p, struct rr *r) {
    unsigned size;
    if (!get_name(p, &r->owner) || !get_u16(p, &r->type) || !get_u16(p, &r->class) || !get_u32(p, &r->ttl_s) ||
        !get_u16(p, &size) || size > p->all.n - p->at)
        return false;
    if (r->ttl_s > INT32_MAX)
        r->ttl_s = 0; /* RFC 2181 8 */
    r->data = p->at;
    r->size = size;
    p->at += size;
    return true;
}

struct head {
    unsigned flags, questions, answers, authorities;
    size_t answers_at;
};

enum { FLAG_RESPONSE = 0x8000, FLAG_TRUNCATED = 0x0200, RCODE = 0x000f };

/* The question, where one is repeated, must be ours. */
static bool get_question(struct packet *p, str name, uint32_t type) {
    struct name asked;
    unsigned t, class;
    return get_name(p, &asked) && get_u16(p, &t) && get_u16(p, &class) && str_ieq(name_str(&asked), name) &&
           t == type && class == CLASS_IN;
}

static bool get_head(struct packet *p, str name, uint32_t type, struct head *h) {
    unsigned id, additional;
    if (!get_u16(p, &id) || !get_u16(p, &h->flags) || !get_u16(p, &h->questions) || !get_u16(p, &h->answers) ||
        !get_u16(p, &h->authorities) || !get_u16(p, &additional))
        return false;
    if (!(h->flags & FLAG_RESPONSE) || h->questions > 1)
        return false;
    if (h->questions && !get_question(p, name, type))
        return false;
    h->answers_at = p->at;
    return true;
}

struct taking {
    struct packet p;
    struct head head;
    struct arena *arena;
    struct dns_answer *out;
    size_t size; /* coded, so far */
    bool ttl_known;
};

static void use_ttl(struct taking *t, uint32_t ttl_s) {
    if (!t->ttl_known || ttl_s < t->out->ttl_s)
        t->out->ttl_s = ttl_s < DNS_TTL_MAX_S ? ttl_s : DNS_TTL_MAX_S;
    t->ttl_known = true;
}

/* The name that is all of the data from `skip` on. */
static bool data_name(struct packet p, const struct rr *r, size_t skip, struct name *name) {
    p.at = r->data + skip;
    return skip <= r->size && get_name(&p, name) && p.at == r->data + r->size;
}

static str joined(struct taking *t, str data, bool *good) {
    char *text = arena_alloc(t->arena, data.n + 1);
    size_t n = 0;
    for (*good = text != NULL; *good && data.n;) {
        size_t length = (unsigned char)data.p[0];
        str piece = str_sub(data, 1, length);
        *good = piece.n == length;
        memcpy(text + n, piece.p, piece.n);
        n += piece.n;
        data = str_tail(data, 1 + length);
    }
    return str_n(text, n);
}

static enum err take_address(struct taking *t, str data, struct dns_record *record) {
    char text[IP_TEXT_SIZE];
    bool v4 = t->out->type == DNS_A;
    if (data.n != (v4 ? (size_t)IP4_SIZE : (size_t)IP6_SIZE))
        return ERR_CORRUPT;
    (v4 ? ip4_text : ip6_text)((const uint8_t *)data.p, text);
    record->value = arena_str(t->arena, str_of(text));
    return OK;
}

static enum err take_name(struct taking *t, const struct rr *r, struct dns_record *record) {
    struct name name;
    struct packet p = t->p;
    unsigned preference = 0;
    size_t skip = t->out->type == DNS_MX ? 2 : 0;
    p.at = r->data;
    if ((skip && !get_u16(&p, &preference)) || !data_name(t->p, r, skip, &name))
        return ERR_CORRUPT;
    record->preference = preference;
    record->value = arena_str(t->arena, name_str(&name));
    return OK;
}

static enum err take_data(struct taking *t, const struct rr *r, struct dns_record *record) {
    str data = str_sub(t->p.all, r->data, r->size);
    bool good = true;
    switch (t->out->type) {
    case DNS_A:
    case DNS_AAAA: return take_address(t, data, record);
    case DNS_NS:
    case DNS_CNAME:
    case DNS_PTR:
    case DNS_MX: return take_name(t, r, record);
    case DNS_TXT: record->value = joined(t, data, &good); return good || t->arena->full ? OK : ERR_CORRUPT;
    default: record->value = arena_str(t->arena, data); return OK;
    }
}

static enum err take_record(struct taking *t, const struct rr *r) {
    struct dns_record record = {0};
    enum err e = take_data(t, r, &record);
    if (e != OK)
        return e;
    if (t->arena->full)
        return ERR_NOMEM;
    if (record.value.n > DNS_VALUE_MAX)
        return OK;
    t->size += CODED_RECORD + record.value.n;
    if (t->out->record_count == DNS_RECORDS_MAX || t->size > DNS_ANSWER_MAX)
        return ERR_LIMIT;
    t->out->records[t->out->record_count++] = record;
    use_ttl(t, r->ttl_s);
    return OK;
}

/* One walk over the answer section: the records of the current name, or its alias (false in found: neither). */
static enum err walk_answers(struct taking *t, struct name *current, bool *alias) {
    struct packet p = t->p;
    struct name target = {0};
    uint32_t alias_ttl = 0;
    p.at = t->head.answers_at;
    *alias = false;
    for (unsigned i = 0; i < t->head.answers; i++) {
        struct rr r;
        if (!get_rr(&p, &r))
            return ERR_CORRUPT;
        if (r.class != CLASS_IN || !str_eq(name_str(&r.owner), name_str(current)))
            continue;
        enum err e = r.type == t->out->type ? take_record(t, &r) : OK;
        if (e != OK)
            return e;
        if (r.type != DNS_CNAME || t->out->type == DNS_CNAME)
            continue;
        if (!data_name(t->p, &r, 0, &target))
            return ERR_CORRUPT;
        alias_ttl = r.ttl_s;
        *alias = true;
    }
    if (t->out->record_count)
        *alias = false;
    if (!*alias)
        return OK;
    *current = target;
    use_ttl(t, alias_ttl);
    return OK;
}

/* How long a "no" may be remembered (RFC 2308 5).  Nothing else is read there, and damage there is no damage. */
static void take_negative_ttl(struct taking *t) {
    struct packet p = t->p;
    p.at = t->head.answers_at;
    for (unsigned i = 0; i < t->head.answers + t->head.authorities; i++) {
        struct rr r;
        uint32_t minimum;
        if (!get_rr(&p, &r))
            return;
        if (i < t->head.answers || r.type != TYPE_SOA || r.size < SOA_NUMBERS)
            continue;
        struct packet soa = {p.all, r.data + r.size - 4};
        if (get_u32(&soa, &minimum))
            use_ttl(t, minimum < r.ttl_s ? minimum : r.ttl_s);
        return;
    }
}

static const char *refusal(unsigned flags) {
    static const char *const words[] = {
        [1] = "FORMERR: the server did not understand the question",
        [2] = "SERVFAIL: the server could not find out",
        [4] = "NOTIMP: the server does not do that",
        [5] = "REFUSED: the server does not want to answer",
    };
    unsigned code = flags & RCODE;
    if (flags & FLAG_TRUNCATED)
        return "the answer was cut short";
    if (code == 0 || code == 3)
        return NULL;
    return code < sizeof words / sizeof *words && words[code] ? words[code] : "the server answered with an error";
}

static enum err fail(struct taking *t, const char *text) {
    t->out->status = DNS_FAILED;
    t->out->text = arena_str(t->arena, str_of(text));
    t->out->records = NULL;
    t->out->record_count = 0;
    return t->arena->full ? ERR_NOMEM : OK;
}

static enum err follow(struct taking *t) {
    struct name current = {.n = t->out->name.n};
    memcpy(current.text, t->out->name.p, current.n);
    bool alias = true;
    for (unsigned hops = 0; alias; hops++) {
        enum err e = walk_answers(t, &current, &alias);
        if (e != OK)
            return e;
        if (alias && hops == DNS_CNAME_MAX)
            return fail(t, "more aliases (CNAME) behind each other than are followed");
    }
    t->out->canonical = arena_str(t->arena, name_str(&current));
    if (!t->out->record_count)
        take_negative_ttl(t);
    t->out->status = t->out->record_count ? DNS_FOUND : (t->head.flags & RCODE) == 3 ? DNS_NO_NAME : DNS_NO_DATA;
    return t->arena->full ? ERR_NOMEM : OK;
}

enum err dns_packet_take(str packet, str name, uint32_t type, struct arena *a, struct dns_answer *out) {
    struct taking t = {.p = {.all = packet}, .arena = a, .out = out};
    *out = (struct dns_answer){.type = type};
    if (dns_name_check(name) != OK || !get_head(&t.p, name, type, &t.head))
        return ERR_CORRUPT;
    out->name = out->canonical = lower(name, a);
    const char *words = refusal(t.head.flags);
    if (words)
        return fail(&t, words);
    size_t room = t.head.answers < DNS_RECORDS_MAX ? t.head.answers : DNS_RECORDS_MAX;
    out->records = room ? arena_alloc(a, room * sizeof *out->records) : NULL;
    if (a->full)
        return ERR_NOMEM;
    t.size = 64 + 2 * name.n + TEXT_NAME_MAX;
    return follow(&t);
}
