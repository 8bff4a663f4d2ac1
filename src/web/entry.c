/* entry.c - the directory over HTTP: domains, accounts, aliases, tokens.  An entry is a JSON object of the settings
 * that its block in the configuration would have; values are texts, and may be given as numbers, truths or lists.
 * Passwords go in ("password": plain text, hashed by keyd before anybody keeps it) and never come out. */
#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/fields.h"
#include "policy/directory.h"
#include "web/handlers.h"
#include "web/hash.h"
#include "web/rows.h"
#include "web/summary.h"

enum { FIELDS_MAX = 48 * 1024 };

static const struct {
    str plural;
    enum directory_kind kind;
} kinds[] = {
    {S_INIT("domains"), DIRECTORY_DOMAIN},
    {S_INIT("accounts"), DIRECTORY_ACCOUNT},
    {S_INIT("aliases"), DIRECTORY_ALIAS},
    {S_INIT("tokens"), DIRECTORY_TOKEN},
};

static bool take_kind(struct http_req *r, enum directory_kind *kind) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (str_eq(kinds[i].plural, r->id)) {
            *kind = kinds[i].kind;
            return true;
        }
    http_error(r, 404, "There are domains, accounts, aliases and tokens.");
    return false;
}

/* ---- out ---- */

static void put_entry(struct buf *out, const struct frame *f) {
    str rest = f->entry.fields, name, value;
    bool has_password = false, first = true;
    struct buf apps = BUF(FIELDS_MAX);
    buf_char(out, '{');
    json_text(out, "Key", f->entry.key);
    while (fields_take(&rest, &name, &value)) {
        str app = name;
        if (str_eq(name, S("password"))) {
            has_password = true;
        } else if (str_skip(&app, S("app."))) {
            buf_add(&apps, first ? S("") : S(","));
            json_str(&apps, app);
            first = false;
        } else {
            buf_char(out, ',');
            json_str(out, name);
            buf_char(out, ':');
            json_str(out, value);
        }
    }
    if (f->entry.kind == DIRECTORY_ACCOUNT) {
        json_bool(out, "HasPassword", has_password);
        buf_printf(out, ",\"AppPasswords\":[%.*s]", STR_ARG(buf_str(&apps)));
    }
    buf_char(out, '}');
    buf_free(&apps);
}

void entry_list(struct http_req *r) {
    static const struct rows_kind kind_rows = {.name = "Entries", .row = FRAME_ENTRY, .put = put_entry};
    struct buf prefix = BUF(CONF_TITLE_MAX), after = BUF(CONF_TITLE_MAX);
    enum directory_kind kind;
    if (take_kind(r, &kind)) {
        (void)http_query(r->head->query, S("prefix"), &prefix);
        (void)http_query(r->head->query, S("after"), &after);
        struct frame f = {.type = FRAME_ENTRY_LIST};
        f.entry_list = (struct frame_entry_list){0, (uint8_t)kind, buf_str(&prefix), buf_str(&after),
                                                 (uint32_t)query_number(r, S("limit"), 1000)};
        rows_reply(r, &f, &kind_rows);
    }
    buf_free(&prefix);
    buf_free(&after);
}

void entry_get(struct http_req *r) {
    static const struct rows_kind one = {.row = FRAME_ENTRY, .put = put_entry, .missing = "There is no such entry."};
    enum directory_kind kind;
    if (!take_kind(r, &kind))
        return;
    struct frame f = {.type = FRAME_ENTRY_GET, .entry_get = {0, (uint8_t)kind, r->part}};
    rows_reply(r, &f, &one);
}

void entry_delete(struct http_req *r) {
    enum directory_kind kind;
    if (!take_kind(r, &kind))
        return;
    struct frame f = {.type = FRAME_ENTRY_DELETE, .entry_delete = {0, (uint8_t)kind, r->part}};
    rows_done(r, &f);
}

/* ---- in ---- */

static str json_value(json_t *v) {
    return str_n(json_string_value(v), json_string_length(v));
}

static bool put_value(struct buf *fields, const char *name, json_t *v) {
    struct buf text = BUF(FIELDS_MAX);
    bool good = true;
    size_t i;
    json_t *item;
    if (json_is_string(v))
        buf_add(&text, json_value(v));
    else if (json_is_integer(v))
        buf_printf(&text, "%lld", (long long)json_integer_value(v));
    else if (json_is_boolean(v))
        buf_add(&text, json_is_true(v) ? S("yes") : S("no"));
    else if (json_is_array(v)) {
        json_array_foreach(v, i, item) {
            good &= json_is_string(item);
            buf_add(&text, i ? S(" ") : S(""));
            buf_add(&text, json_value(item));
        }
    } else
        good = json_is_null(v);
    fields_put(fields, str_of(name), buf_str(&text));
    good &= !text.full;
    buf_free(&text);
    return good;
}

struct putting {
    struct http_req *r; /* NULL: the client has gone */
    enum directory_kind kind;
    uint8_t how;
    struct buf key, fields;
    char password_field[CONF_TITLE_MAX];
};

static void putting_free(struct putting *p) {
    buf_free(&p->key);
    buf_wipe(&p->fields);
    free(p);
}

static void put_now(struct putting *p) {
    struct frame f = {.type = FRAME_ENTRY_PUT};
    f.entry_put = (struct frame_entry_put){0, (uint8_t)p->kind, buf_str(&p->key), buf_str(&p->fields), p->how};
    p->r->on_gone = NULL;
    rows_done(p->r, &f);
    putting_free(p);
}

static void putting_gone(void *arg) {
    ((struct putting *)arg)->r = NULL;
}

static void on_hashed(void *arg, enum err e, str credential) {
    struct putting *p = arg;
    if (p->r && e == OK) {
        fields_put(&p->fields, str_of(p->password_field), credential);
        put_now(p);
        return;
    }
    if (p->r) {
        p->r->on_gone = NULL;
        answer_error(p->r, e, S("The password could not be hashed. Try again in a moment."));
    }
    putting_free(p);
}

/* What is a password in the clear: "password", "app_password.NAME".  "credential", "app.NAME" are hashed already. */
static bool clear_password(const char *name, char field[CONF_TITLE_MAX]) {
    str s = str_of(name);
    if (str_eq(s, S("password"))) {
        snprintf(field, CONF_TITLE_MAX, "password");
        return true;
    }
    if (!str_skip(&s, S("app_password.")) || s.n == 0 || s.n > 64)
        return false;
    snprintf(field, CONF_TITLE_MAX, "app.%.*s", STR_ARG(s));
    return true;
}

static const char *take_fields(struct putting *p, json_t *root, str *password) {
    const char *name;
    json_t *v;
    json_object_foreach(root, name, v) {
        char field[CONF_TITLE_MAX];
        bool clear = p->kind == DIRECTORY_ACCOUNT && clear_password(name, field);
        if (clear && json_is_string(v) && json_string_length(v)) {
            if (password->n)
                return "Only one password at a time.";
            memcpy(p->password_field, field, sizeof field);
            *password = json_value(v);
        } else if (clear) {
            fields_put(&p->fields, str_of(field), STR_NONE);
        } else if (!put_value(&p->fields, strcmp(name, "credential") == 0 ? "password" : name, v)) {
            return "A value is a text, a number, true or false, or a list of texts.";
        }
    }
    return p->fields.full ? "The entry is too large." : NULL;
}

static void begin_put(struct putting *p, json_t *root) {
    str password = STR_NONE;
    const char *wrong = take_fields(p, root, &password);
    if (wrong) {
        http_error(p->r, 400, wrong);
        putting_free(p);
    } else if (password.n) {
        p->r->arg = p;
        p->r->on_gone = putting_gone;
        hash_ask(password, on_hashed, p);
    } else {
        put_now(p);
    }
}

static uint8_t how_of(const struct http_req *r) {
    return query_is(r, S("how"), S("new")) ? 1 : query_is(r, S("how"), S("old")) ? 2 : 0;
}

void entry_put(struct http_req *r) {
    enum directory_kind kind;
    json_error_t error;
    if (!take_kind(r, &kind))
        return;
    str body = str_trim(r->body).n ? r->body : S("{}");
    json_t *root = json_loadb(body.p, body.n, 0, &error);
    if (!json_is_object(root)) {
        http_error(r, 400, "The body must be a JSON object.");
    } else {
        struct putting *p = calloc(1, sizeof *p);
        assert(p);
        *p = (struct putting){.r = r, .kind = kind, .how = how_of(r), .key = BUF(1024), .fields = BUF(FIELDS_MAX)};
        buf_add(&p->key, r->part);
        begin_put(p, root);
    }
    json_decref(root);
}
