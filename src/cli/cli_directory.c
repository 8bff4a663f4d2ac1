#include "cli/cli_directory.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fields.h"
#include "cli/cli_conf.h"
#include "cli/cli_http.h"
#include "mailauth/credential.h"
#include "store/directory_db.h"
#include "sys/clock.h"

enum { PAGE = 1000, ANSWER_MAX = 16 * 1024 * 1024, FIELDS_MAX = 48 * 1024, NAME_MAX_BYTES = 80 };

struct cli_directory {
    const struct cli_args *args;
    struct directory_db *db; /* NULL: the server is asked */
    struct conf c;
    struct buf text;
};

static const char *const plurals[] = {
    [DIRECTORY_DOMAIN] = "domains",
    [DIRECTORY_ACCOUNT] = "accounts",
    [DIRECTORY_ALIAS] = "aliases",
    [DIRECTORY_TOKEN] = "tokens",
};

/* ---- is there a server? ---- */

/* Who must not connect is told so by the request that follows. */
static bool answers(str path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (path.n == 0 || path.n >= sizeof a.sun_path)
        return false;
    memcpy(a.sun_path, path.p, path.n);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && (connect(fd, (struct sockaddr *)&a, sizeof a) == 0 || errno == EACCES || errno == EAGAIN);
    if (fd >= 0)
        close(fd);
    return good;
}

static bool usual_answers(const struct cli_args *args) {
    str url = str_of(cli_text(args, "url"));
    return str_skip(&url, S("unix:")) && answers(url);
}

bool cli_directory_server(const struct cli_args *args, const struct conf *c, struct buf *url) {
    for (size_t i = 0; i < c->listen_count; i++) {
        const struct conf_listen *l = &c->listens[i];
        if (l->protocol != CONF_PROTOCOL_HTTP || l->address.kind != CONF_ADDRESS_UNIX || !answers(l->address.path))
            continue;
        buf_printf(url, "unix:%.*s", STR_ARG(l->address.path));
        return true;
    }
    if (cli_source(args, "config") || !usual_answers(args))
        return false;
    buf_add(url, str_of(cli_text(args, "url")));
    return true;
}

/* ---- the database ---- */

static int load_conf(struct cli_directory *d) {
    const char *file = cli_text(d->args, "config");
    struct conf_errors errors = {0};
    struct why w;
    if (cli_conf_load(file, &d->text, &w) != OK)
        return cli_error(d->args->page, EX_UNAVAILABLE,
                         "no server answers at %s, and there is no configuration that says where its database is: %s",
                         cli_text(d->args, "url"), w.text);
    enum err e = conf_read(buf_str(&d->text), file, &d->c, &errors);
    enum err checked = conf_check(&d->c, &errors);
    enum err made = cli_conf_absolute(&d->c, &errors);
    int status = e || checked || made ? cli_conf_complain(&errors, EX_CONFIG) : EX_OK;
    conf_errors_free(&errors);
    return status;
}

/* What root made in the data directory, the server could not open. */
static int become_user(const struct cli_directory *d) {
    if (geteuid() != 0)
        return EX_OK;
    const struct passwd *pw = getpwnam(d->c.user.p);
    if (!pw)
        return cli_error(d->args->page, EX_CONFIG, "user: there is no user \"%s\" on this system", d->c.user.p);
    if (pw->pw_uid != 0 &&
        (initgroups(pw->pw_name, pw->pw_gid) != 0 || setgid(pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0))
        return cli_error(d->args->page, EX_NOPERM, "the user %s cannot be used: %s", pw->pw_name, strerror(errno));
    return EX_OK;
}

static int open_failed(const struct cli_directory *d, enum err e, const struct why *w) {
    const struct cli_page *page = d->args->page;
    switch (e) {
    case ERR_EXISTS:
        return cli_error(page, EX_TEMPFAIL,
                         "%s, but does not answer at an admin socket: wait until it has started, or name its address "
                         "with --url",
                         w->text);
    case ERR_DENIED: return cli_error(page, EX_NOPERM, "%s", w->text);
    case ERR_NOT_FOUND: return cli_error(page, EX_UNAVAILABLE, "%s", w->text);
    case ERR_VERSION: return cli_error(page, EX_DATAERR, "%s", w->text);
    case ERR_NOMEM: return cli_error(page, EX_OSERR, "%s", w->text);
    default: return cli_error(page, EX_IOERR, "%s", w->text);
    }
}

static int open_database(struct cli_directory *d) {
    struct why w;
    enum err made = cli_conf_make_data(&d->c, &w);
    if (made)
        return cli_error(d->args->page, made == ERR_DENIED ? EX_NOPERM : EX_CANTCREAT, "%s", w.text);
    int status = become_user(d);
    if (status != EX_OK)
        return status;
    umask(0077);
    enum err e = directory_db_open(&d->db, d->c.data.p, &w);
    if (e)
        return open_failed(d, e, &w);
    e = directory_conf(directory_db_directory(d->db), &d->c, &w);
    return e ? cli_error(d->args->page, EX_CONFIG, "%s", w.text) : EX_OK;
}

static int find(struct cli_directory *d) {
    struct buf url = BUF(8192);
    if (cli_source(d->args, "url") || (!cli_source(d->args, "config") && usual_answers(d->args)))
        return EX_OK;
    int status = load_conf(d);
    if (status == EX_OK && cli_directory_server(d->args, &d->c, &url))
        cli_http_at(buf_cstr(&url));
    else if (status == EX_OK)
        status = open_database(d);
    buf_free(&url);
    return status;
}

int cli_directory_open(const struct cli_args *args, struct cli_directory **out) {
    struct cli_directory *d = calloc(1, sizeof *d);
    if (!d)
        return cli_error(args->page, EX_OSERR, "out of memory");
    d->args = args;
    conf_defaults(&d->c);
    int status = find(d);
    if (status == EX_OK)
        *out = d;
    else
        cli_directory_close(d);
    return status;
}

void cli_directory_close(struct cli_directory *d) {
    if (!d)
        return;
    directory_db_close(d->db);
    conf_free(&d->c);
    buf_wipe(&d->text);
    free(d);
}

/* As the server would refuse it. */
static int refused(const struct cli_directory *d, enum err e, const struct why *w) {
    bool disk = e == ERR_IO || e == ERR_FULL || e == ERR_CORRUPT;
    return cli_error(d->args->page, disk ? EX_IOERR : e == ERR_NOMEM ? EX_OSERR : EX_UNAVAILABLE, "%s", w->text);
}

/* ---- entries of the database, as the server shows them (web/entry.c) ---- */

struct shown {
    json_t *entry, *apps; /* the object, and its app passwords' names */
    bool has_password;
};

static void put_member(struct shown *s, str name, str value) {
    str app = name;
    if (str_eq(name, S("password")))
        s->has_password = true;
    else if (str_skip(&app, S("app.")))
        json_array_append_new(s->apps, json_stringn(app.p, app.n));
    else
        json_object_setn_new(s->entry, name.p, name.n, json_stringn(value.p, value.n));
}

static json_t *entry_json(const struct directory_entry *e) {
    struct shown s = {json_object(), json_array(), false};
    str rest = e->fields, name, value;
    json_object_set_new(s.entry, "Key", json_stringn(e->key.p, e->key.n));
    while (fields_take(&rest, &name, &value))
        put_member(&s, name, value);
    if (e->from_conf)
        json_object_set_new(s.entry, "configured", json_string("yes"));
    if (e->kind == DIRECTORY_ACCOUNT) {
        json_object_set_new(s.entry, "HasPassword", json_boolean(s.has_password));
        json_object_set(s.entry, "AppPasswords", s.apps);
    }
    json_decref(s.apps);
    return s.entry;
}

static int offline_get(struct cli_directory *d, enum directory_kind kind, const char *key, json_t **entry) {
    struct directory_entry e;
    if (!directory_get(directory_db_directory(d->db), kind, str_of(key), &e))
        return cli_error(d->args->page, EX_UNAVAILABLE, "there is no such entry");
    *entry = entry_json(&e);
    return EX_OK;
}

static json_t *offline_list(struct cli_directory *d, enum directory_kind kind) {
    json_t *entries = json_array();
    struct directory_entry e = {0};
    while (directory_next(directory_db_directory(d->db), kind, STR_NONE, e.key, &e))
        json_array_append_new(entries, entry_json(&e));
    return entries;
}

/* ---- changes of the database ---- */

static enum err put_hash(str name, json_t *password, struct buf *fields, struct why *w) {
    uint8_t random[CREDENTIAL_RANDOM];
    struct buf line = BUF(CREDENTIAL_MAX);
    random_bytes(random, sizeof random);
    enum err e = credential_make(str_n(json_string_value(password), json_string_length(password)), random, &line, w);
    if (!e)
        fields_put(fields, name, buf_str(&line));
    explicit_bzero(random, sizeof random);
    buf_wipe(&line);
    return e;
}

static enum err put_field(enum directory_kind kind, const char *name, json_t *value, struct buf *fields,
                          struct why *w) {
    struct buf credential = BUF(NAME_MAX_BYTES);
    str app = str_of(name);
    bool clear = kind == DIRECTORY_ACCOUNT && (str_eq(app, S("password")) || str_skip(&app, S("app_password.")));
    enum err e = OK;
    if (clear && str_eq(app, S("password")))
        buf_add(&credential, app);
    else if (clear)
        buf_printf(&credential, "app.%.*s", STR_ARG(app));
    if (credential.full)
        e = why(w, ERR_SYNTAX, "this name is too long for a password");
    else if (clear && json_is_string(value))
        e = put_hash(buf_str(&credential), value, fields, w);
    else if (clear)
        fields_put(fields, buf_str(&credential), STR_NONE);
    else
        fields_put(fields, str_of(name), str_n(json_string_value(value), json_string_length(value)));
    buf_free(&credential);
    return e;
}

static int offline_put(struct cli_directory *d, enum directory_kind kind, const char *key, json_t *entry,
                       unsigned how) {
    struct buf fields = BUF(FIELDS_MAX);
    struct why w;
    const char *name;
    json_t *value;
    enum err e = OK;
    json_object_foreach(entry, name, value) e = e ? e : put_field(kind, name, value, &fields, &w);
    if (!e && fields.full)
        e = why(&w, ERR_LIMIT, "the entry is too large");
    if (!e)
        e = directory_db_put(d->db, kind, str_of(key), buf_str(&fields), how, &w);
    buf_wipe(&fields);
    return e ? refused(d, e, &w) : EX_OK;
}

static int offline_remove(struct cli_directory *d, enum directory_kind kind, const char *key) {
    struct why w;
    enum err e = directory_db_remove(d->db, kind, str_of(key), &w);
    return e ? refused(d, e, &w) : EX_OK;
}

/* ---- the server ---- */

static int ask(const struct cli_args *args, const char *method, enum directory_kind kind, const char *key,
               const char *query, str body, struct buf *answer) {
    struct buf path = BUF(4096);
    buf_printf(&path, "/api/v1/admin/%s/", plurals[kind]);
    cli_http_escape(str_of(key), &path);
    buf_add(&path, str_of(query));
    int status = cli_http_ask(args, method, buf_cstr(&path), body, "there is no such entry", answer);
    buf_free(&path);
    return status;
}

static int api_put(const struct cli_args *args, enum directory_kind kind, const char *key, json_t *entry,
                   unsigned how) {
    static const char *const queries[] = {"", "?how=new", "?how=old"};
    struct buf answer = BUF(64 * 1024);
    char *body = json_dumps(entry, JSON_COMPACT);
    int status = body ? ask(args, "PUT", kind, key, queries[how], str_of(body), &answer)
                      : cli_error(args->page, EX_OSERR, "out of memory");
    if (body)
        explicit_bzero(body, strlen(body));
    free(body);
    buf_free(&answer);
    return status;
}

static int no_penfold(const struct cli_args *args) {
    return cli_error(args->page, EX_UNAVAILABLE, "%s does not answer as a Penfold does", cli_text(args, "url"));
}

static int api_get(const struct cli_args *args, enum directory_kind kind, const char *key, json_t **entry) {
    struct buf answer = BUF(ANSWER_MAX);
    json_error_t error;
    int status = ask(args, "GET", kind, key, "", STR_NONE, &answer);
    *entry = status == EX_OK ? json_loadb(answer.p, answer.n, 0, &error) : NULL;
    if (status == EX_OK && !*entry)
        status = no_penfold(args);
    buf_free(&answer);
    return status;
}

/* Those behind `after`: an array, empty at the end. */
static int api_page(const struct cli_args *args, enum directory_kind kind, const char *after, json_t **page) {
    struct buf path = BUF(8192), answer = BUF(ANSWER_MAX);
    json_error_t error;
    buf_printf(&path, "/api/v1/admin/%s?limit=%d&after=", plurals[kind], PAGE);
    cli_http_escape(str_of(after), &path);
    int status = cli_http_get(args, buf_cstr(&path), NULL, &answer);
    json_t *root = status == EX_OK ? json_loadb(answer.p, answer.n, 0, &error) : NULL;
    *page = json_incref(json_object_get(root, "Entries"));
    if (status == EX_OK && !json_is_array(*page))
        status = no_penfold(args);
    json_decref(root);
    buf_free(&path);
    buf_free(&answer);
    return status;
}

static const char *last_key(const json_t *entries) {
    const json_t *last = json_array_get(entries, json_array_size(entries) - 1);
    const char *key = json_string_value(json_object_get(last, "Key"));
    return key ? key : "";
}

static int api_list(const struct cli_args *args, enum directory_kind kind, json_t **entries) {
    json_t *page = NULL;
    size_t count = 1;
    int status = EX_OK;
    *entries = json_array();
    while (status == EX_OK && count) {
        status = api_page(args, kind, last_key(*entries), &page);
        count = json_array_size(page);
        json_array_extend(*entries, page);
        json_decref(page);
    }
    return status;
}

/* ---- either ---- */

int cli_directory_put(struct cli_directory *d, enum directory_kind kind, const char *key, json_t *entry,
                      enum cli_directory_how how) {
    return d->db ? offline_put(d, kind, key, entry, how) : api_put(d->args, kind, key, entry, how);
}

int cli_directory_remove(struct cli_directory *d, enum directory_kind kind, const char *key) {
    struct buf answer = BUF(64 * 1024);
    int status = d->db ? offline_remove(d, kind, key) : ask(d->args, "DELETE", kind, key, "", STR_NONE, &answer);
    buf_free(&answer);
    return status;
}

int cli_directory_get(struct cli_directory *d, enum directory_kind kind, const char *key, json_t **entry) {
    *entry = NULL;
    return d->db ? offline_get(d, kind, key, entry) : api_get(d->args, kind, key, entry);
}

int cli_directory_list(struct cli_directory *d, enum directory_kind kind, json_t **entries) {
    if (d->db)
        *entries = offline_list(d, kind);
    int status = d->db ? EX_OK : api_list(d->args, kind, entries);
    if (status != EX_OK) {
        json_decref(*entries);
        *entries = NULL;
    }
    return status;
}

/* ---- a copy ---- */

/* "Key", "HasPassword", "AppPasswords" and "configured" are no settings. */
static enum err copy_entry(enum directory_kind kind, json_t *entry, struct directory *to) {
    struct buf fields = BUF(FIELDS_MAX);
    const char *name, *key = json_string_value(json_object_get(entry, "Key"));
    json_t *value;
    json_object_foreach(entry, name, value) if (json_is_string(value) && strcmp(name, "Key") != 0)
        fields_put(&fields, str_of(name), str_n(json_string_value(value), json_string_length(value)));
    enum err e = key && !fields.full ? directory_put(to, kind, str_of(key), buf_str(&fields), 1) : ERR_SYNTAX;
    buf_free(&fields);
    return e;
}

static int copy_kind(const struct cli_args *args, enum directory_kind kind, struct directory *to) {
    json_t *entries = NULL, *entry;
    size_t i;
    enum err e = OK;
    int status = api_list(args, kind, &entries);
    json_array_foreach(entries, i, entry) if (status == EX_OK && !e && !json_object_get(entry, "configured")) e =
        copy_entry(kind, entry, to);
    json_decref(entries);
    return status != EX_OK || !e ? status : cli_error(args->page, EX_UNAVAILABLE, "an entry came that is none");
}

int cli_directory_copy(const struct cli_args *args, struct directory *to) {
    int status = EX_OK;
    for (enum directory_kind kind = DIRECTORY_DOMAIN; status == EX_OK && kind <= DIRECTORY_ALIAS; kind++)
        status = copy_kind(args, kind, to);
    return status;
}
