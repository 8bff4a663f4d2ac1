#include "role/super_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
    int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
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
    return ok;
}

void super_secret_free(struct super_secrets *s) {
    for (size_t i = 0; i < s->count; i++)
        buf_wipe(&s->list[i].bytes);
    free(s->list);
    *s = (struct super_secrets){0};
}
