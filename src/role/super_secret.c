#include "role/super_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/code.h"
#include "sys/clock.h"
#include "sys/tls.h"
#include "sys/whole.h"

static struct buf *add(struct super_secrets *s, str listener, const char *what) {
    struct super_secret *more = realloc(s->list, (s->count + 1) * sizeof *more);
    if (!more)
        return NULL;
    s->list = more;
    struct super_secret *one = &s->list[s->count++];
    *one = (struct super_secret){.bytes = {.limit = SUPER_SECRET_MAX}};
    if (listener.n)
        snprintf(one->name, sizeof one->name, "tls.%.*s.%s", STR_ARG(listener), what);
    else
        snprintf(one->name, sizeof one->name, "%s", what);
    return &one->bytes;
}

/* A file is there with these bytes, or not at all: written aside, synced, renamed. */
static enum err write_file(const char *path, str bytes, struct why *w) {
    char aside[PATH_MAX];
    if (snprintf(aside, sizeof aside, "%s.new", path) >= (int)sizeof aside)
        return why(w, ERR_LIMIT, "%s: the path is too long", path);
    int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write(fd, bytes.p, bytes.n) == (ssize_t)bytes.n && fsync(fd) == 0;
    int reason = errno;
    if (fd >= 0 && close(fd) != 0)
        ok = false;
    if (ok && rename(aside, path) == 0)
        return OK;
    return why(w, ERR_IO, "%s: %s", path, strerror(ok ? errno : reason));
}

static bool load_pair(struct super_secrets *s, str listener, str cert, str key, struct conf_errors *errors) {
    struct why w;
    struct super_secret pair[2] = {{.bytes = {.limit = SUPER_SECRET_MAX}}, {.bytes = {.limit = SUPER_SECRET_MAX}}};
    enum err e = whole_read_file(cert.p, SUPER_SECRET_MAX, &pair[0].bytes, &w);
    if (e == OK)
        e = whole_read_file(key.p, SUPER_SECRET_MAX, &pair[1].bytes, &w);
    if (e == OK)
        e = tls_check_pair(buf_str(&pair[0].bytes), buf_str(&pair[1].bytes), cert.p, key.p, &w);
    for (int i = 0; i < 2 && e == OK; i++) {
        struct buf *b = add(s, listener, i ? "key" : "cert");
        if (!b) {
            e = why(&w, ERR_NOMEM, "no memory");
            break;
        }
        *b = pair[i].bytes;
        pair[i].bytes = (struct buf){0};
    }
    for (int i = 0; i < 2; i++)
        buf_wipe(&pair[i].bytes);
    if (e != OK)
        conf_errors_add(errors, NULL, 0, "%s", w.text);
    return e == OK;
}

static enum err make_own(const struct conf *c, const char *cert_file, const char *key_file, struct why *w) {
    struct buf cert = BUF(SUPER_SECRET_MAX), key = BUF(SUPER_SECRET_MAX);
    enum err e = tls_self_signed(c->hostname, &cert, &key, w);
    if (e == OK)
        e = write_file(key_file, buf_str(&key), w);
    if (e == OK)
        e = write_file(cert_file, buf_str(&cert), w);
    buf_free(&cert);
    buf_wipe(&key);
    return e;
}

static bool own_is_usable(const char *cert_file, const char *key_file) {
    struct buf cert = BUF(SUPER_SECRET_MAX), key = BUF(SUPER_SECRET_MAX);
    bool ok = whole_read_file(cert_file, SUPER_SECRET_MAX, &cert, NULL) == OK &&
              whole_read_file(key_file, SUPER_SECRET_MAX, &key, NULL) == OK &&
              tls_check_pair(buf_str(&cert), buf_str(&key), cert_file, key_file, NULL) == OK;
    buf_free(&cert);
    buf_wipe(&key);
    return ok;
}

/* <data>/tls/cert.pem and key.pem, made on the first start and whenever they are of no use any more. */
static bool load_own(struct super_secrets *s, const struct conf *c, struct conf_errors *errors) {
    char folder[PATH_MAX], cert[PATH_MAX], key[PATH_MAX];
    struct why w;
    enum err e = OK;
    if (snprintf(folder, sizeof folder, "%s/tls", c->data.p) >= (int)sizeof folder ||
        snprintf(cert, sizeof cert, "%s/tls/cert.pem", c->data.p) >= (int)sizeof cert ||
        snprintf(key, sizeof key, "%s/tls/key.pem", c->data.p) >= (int)sizeof key)
        e = why(&w, ERR_LIMIT, "data: the path is too long");
    else if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        e = why(&w, ERR_IO, "%s: %s", folder, strerror(errno));
    else if (!own_is_usable(cert, key))
        e = make_own(c, cert, key, &w);
    if (e == OK)
        return load_pair(s, S("default"), str_of(cert), str_of(key), errors);
    conf_errors_add(errors, NULL, 0, "%s", w.text);
    return false;
}

static bool check_auth_lines(str text, const char *path, struct conf_errors *errors) {
    str line;
    bool ok = true;
    for (unsigned n = 1; str_line(&text, &line); n++) {
        size_t colon = str_find(line, ':');
        if (line.n == 0 || str_starts(line, S("#")) || (colon != SIZE_MAX && colon > 0))
            continue;
        conf_errors_add(errors, path, n, "not user:password");
        ok = false;
    }
    return ok;
}

static bool load_auth(struct super_secrets *s, const struct conf *c, struct conf_errors *errors) {
    struct why w;
    struct buf *b = add(s, STR_NONE, "auth");
    enum err e = b ? whole_read_file(c->auth_file.p, SUPER_SECRET_MAX, b, &w) : why(&w, ERR_NOMEM, "no memory");
    if (e == OK)
        return check_auth_lines(buf_str(b), c->auth_file.p, errors);
    conf_errors_add(errors, NULL, 0, "auth_file: %s", w.text);
    return false;
}

/* The secrets of routes, by the names that their roles know: route.NAME.password, route.NAME.secret. */
static bool load_route(struct super_secrets *s, const struct conf_route *r, str path, const char *what,
                       struct conf_errors *errors) {
    char name[SUPER_SECRET_NAME];
    struct why w;
    if (!path.n)
        return true;
    snprintf(name, sizeof name, "route.%.*s.%s", STR_ARG(r->title), what);
    struct buf *b = add(s, STR_NONE, name);
    enum err e = b ? whole_read_file(path.p, SUPER_SECRET_MAX, b, &w) : why(&w, ERR_NOMEM, "no memory");
    while (e == OK && b->n && (b->p[b->n - 1] == '\n' || b->p[b->n - 1] == '\r'))
        buf_shrink(b, b->n - 1);
    if (e)
        conf_errors_add(errors, r->place.where, r->place.line, "route %.*s: %s", STR_ARG(r->title), w.text);
    return e == OK;
}

static enum err make_secret(const char *path, struct buf *out, struct why *w) {
    uint8_t random[32];
    random_bytes(random, sizeof random);
    base64_encode(str_n(random, sizeof random), out);
    return write_file(path, buf_str(out), w);
}

/* <data>/secrets/NAME, made on the first start.  The directory belongs to the roles' user, whom root does not trust: it
 * is entered as that user. */
static enum err own_secret(const struct conf *c, const char *name, struct buf *out, struct why *w) {
    char folder[PATH_MAX], path[PATH_MAX];
    if (snprintf(folder, sizeof folder, "%s/secrets", c->data.p) >= (int)sizeof folder ||
        snprintf(path, sizeof path, "%s/secrets/%s", c->data.p, name) >= (int)sizeof path)
        return why(w, ERR_LIMIT, "data: the path is too long");
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return why(w, ERR_IO, "%s: %s", folder, strerror(errno));
    enum err e = whole_read_file(path, SUPER_SECRET_MAX, out, w);
    return e == ERR_NOT_FOUND ? make_secret(path, out, w) : e;
}

static bool load_own_secret(struct super_secrets *s, const struct conf *c, const char *name,
                            struct conf_errors *errors) {
    const struct passwd *p = geteuid() == 0 ? getpwnam(c->user.p) : NULL;
    struct why w;
    gid_t gid = getegid();
    struct buf *b = add(s, STR_NONE, name);
    enum err e = b ? OK : why(&w, ERR_NOMEM, "no memory");
    if (e == OK && p && p->pw_uid != 0 && (setegid(p->pw_gid) != 0 || seteuid(p->pw_uid) != 0))
        e = why(&w, ERR_DENIED, "cannot act as %s: %s", c->user.p, strerror(errno));
    if (e == OK)
        e = own_secret(c, name, b, &w);
    if (p && p->pw_uid != 0 && (seteuid(0) != 0 || setegid(gid) != 0))
        e = why(&w, ERR_DENIED, "cannot be root again: %s", strerror(errno));
    if (e)
        conf_errors_add(errors, NULL, 0, "%s", w.text);
    return e == OK;
}

/* The key of rewritten senders (policy/srs.h), and the one that hides from strangers which users there are (keyd). */
static bool load_keys(struct super_secrets *s, const struct conf *c, struct conf_errors *errors) {
    struct why w;
    if (c->mode != CONF_MODE_SERVER)
        return true;
    bool ok = load_own_secret(s, c, "keyd", errors);
    if (!c->srs_secret_file.n)
        return load_own_secret(s, c, "srs", errors) && ok;
    struct buf *b = add(s, STR_NONE, "srs");
    enum err e = b ? whole_read_file(c->srs_secret_file.p, SUPER_SECRET_MAX, b, &w) : why(&w, ERR_NOMEM, "no memory");
    if (e)
        conf_errors_add(errors, NULL, 0, "srs_secret_file: %s", w.text);
    return e == OK && ok;
}

static bool wants_tls(const struct conf *c) {
    for (size_t i = 0; i < c->listen_count; i++)
        if (c->listens[i].tls != CONF_TLS_NONE)
            return true;
    return false;
}

bool super_secret_load(struct super_secrets *s, const struct conf *c, struct conf_errors *errors) {
    bool ok = true;
    *s = (struct super_secrets){0};
    if (c->tls_certificate.n)
        ok &= load_pair(s, S("default"), c->tls_certificate, c->tls_key, errors);
    else if (c->mode == CONF_MODE_SANDBOX && wants_tls(c))
        ok &= load_own(s, c, errors);
    for (size_t i = 0; i < c->listen_count; i++)
        if (c->listens[i].certificate.n)
            ok &= load_pair(s, c->listens[i].name, c->listens[i].certificate, c->listens[i].key, errors);
    if (c->auth_file.n)
        ok &= load_auth(s, c, errors);
    for (size_t i = 0; i < c->route_count; i++) {
        const struct conf_route *r = &c->routes[i];
        ok &= load_route(s, r, r->password_file, "password", errors);
        ok &= load_route(s, r, r->secret_file, "secret", errors);
    }
    ok &= load_keys(s, c, errors);
    return ok;
}

void super_secret_free(struct super_secrets *s) {
    for (size_t i = 0; i < s->count; i++)
        buf_wipe(&s->list[i].bytes);
    free(s->list);
    *s = (struct super_secrets){0};
}
