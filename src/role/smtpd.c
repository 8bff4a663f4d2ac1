/* smtpd.c - the host of smtpd_core.h: listeners, connections, TLS, deadlines and the link to the store.
 * A session (struct client here) is in one of: reading; waiting for the store, for the peer to take output, or for a
 * deadline, with its connection paused and what it has not eaten in `rest`; in a handshake.
 * Names of local users are read before the sandbox closes: one that is made later is "uidNUMBER" until a new start. */
#include "role/smtpd_core.h"

#include "mime/charset.h"
#include "mime/idna.h"
#include "role/smtpd_spool.h"
#include "smtp/proxy.h"
#include "sys/conn.h"
#include "sys/log.h"
#include "sys/role.h"
#include "sys/tls.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    AUTH_TEXT_MAX = 16 * 1024 * 1024,
    REST_HIGH = CONN_READ_SIZE / 2, /* who sends so much ahead of his answer is not read from */
    EXIT_MS = 100,                  /* last words are on their way */
    FLUSH_MS = 2000,
    USERS_MAX = 65536,
};

struct client {
    struct conn *conn;
    struct smtpd_session *session;
    struct buf rest;  /* input the session has not eaten */
    bool ended;       /* the peer sends no more */
    bool credit;      /* paused until the link to the store has drained */
    struct list node; /* of smtpd.starved */
    /* Before there is a conn: a PROXY header that a TLS handshake follows. */
    struct event *early;
};

struct listener {
    struct listener *next;
    struct acceptor *acceptor;
    int fd;    /* until there is an acceptor */
    bool kept; /* named by the configuration */
    char name[CONF_NAME_MAX + 1];
};

/* A login name of this machine. */
struct user {
    uid_t uid;
    char name[CONF_NAME_MAX + 1];
};

/* A file of the sendmail spool; the first one of the list is being said. */
struct spooled {
    struct spooled *next;
    uint64_t tag;
    uid_t uid;
    int fd;
};

static struct {
    struct smtpd_core core;
    struct tls_set *tls;
    struct link *links[ROLE_COUNT]; /* to the store, keyd and httpd */
    struct spooled *spool;
    struct user *users;
    size_t user_count;
    struct listener *listeners;
    struct list starved; /* clients without credit */
    struct buf auth;
    bool has_auth, draining;
    struct event *exit_timer;
} smtpd;

static void run_client(struct client *c, str bytes);

/* ---- what the core needs ---- */

static void spool_next(bool done);

static void send_frame(enum role to, const struct frame *f) {
    if (to == ROLE_SUPERVISOR) {
        role_send(f);
        spool_next(f->type == FRAME_SPOOL_DONE);
        return;
    }
    assert(smtpd.links[to]);
    link_send(smtpd.links[to], f);
}

static void wake(struct smtpd_session *s) {
    run_client(s->host, STR_NONE);
}

static bool binding(struct smtpd_session *s, uint8_t bytes[32]) {
    struct client *c = s->host;
    return c->conn && conn_is_tls(c->conn) && tls_binding(conn_ssl(c->conn), bytes);
}

static const char *detail_key(enum event_id event) {
    switch (event) {
    case EV_SMTP_ACCEPTED:
    case EV_REPORT_FORGOTTEN: return "id";
    case EV_SMTP_AUTH:
    case EV_SMTP_AUTH_FAILED: return "user";
    case EV_SMTP_REJECTED: return "reply";
    case EV_SMTP_TLS: return "version";
    default: return "reason";
    }
}

static void log_session(enum event_id event, struct smtpd_session *s, str detail) {
    const struct envelope *e = &s->smtp.envelope;
    struct log_field end = LOG_END, more = detail.n ? LOG_STR(detail_key(event), detail) : end;
    log_event(event, LOG_STR("session", e->session), LOG_STR("client", e->client_address),
              LOG_STR("listener", e->listener), more, LOG_END);
}

static const struct smtpd_ops core_ops = {.send = send_frame,
                                          .random = random_bytes,
                                          .now_ms = clock_mono_ms,
                                          .wall_us = clock_wall_us,
                                          .on_wake = wake,
                                          .binding = binding,
                                          .log = log_session};

/* ---- ending ---- */

static void on_exit_timer(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    if (smtpd.links[ROLE_STORE] && link_flush(smtpd.links[ROLE_STORE], FLUSH_MS) != OK)
        log_event(EV_LINK_DROPPED, LOG_STR("peer", S("store")), LOG_END);
    role_exit(0);
}

static void exit_when_empty(void) {
    struct timeval soon = {0, EXIT_MS * 1000};
    if (!smtpd.draining || smtpd_core_busy(&smtpd.core) || smtpd.exit_timer)
        return;
    smtpd.exit_timer = evtimer_new(role_base(), on_exit_timer, NULL);
    if (!smtpd.exit_timer || event_add(smtpd.exit_timer, &soon) != 0)
        on_exit_timer(-1, 0, NULL);
}

static void end_early(struct client *c, bool close_fd) {
    if (!c->early)
        return;
    int fd = event_get_fd(c->early);
    event_free(c->early);
    c->early = NULL;
    if (close_fd)
        close(fd);
}

static void client_free(struct client *c) {
    smtpd_session_free(c->session);
    if (c->credit)
        list_remove(&c->node);
    buf_free(&c->rest);
    end_early(c, true);
    free(c);
    exit_when_empty();
}

/* ---- one client ---- */

static void flush_output(struct client *c) {
    struct smtp_server *smtp = &c->session->smtp;
    if (smtp->out.n && c->conn)
        conn_write(c->conn, buf_str(&smtp->out));
    smtp_server_sent(smtp);
}

/* Keeps what was not eaten.  `left` may be a part of rest itself. */
static void keep_rest(struct client *c, str left, bool from_rest) {
    if (from_rest) {
        buf_drop(&c->rest, c->rest.n - left.n);
        if (c->rest.n == 0)
            buf_free(&c->rest);
        return;
    }
    buf_add(&c->rest, left);
}

static void set_deadline(struct client *c) {
    if (!c->conn)
        return;
    uint64_t at = smtpd_session_deadline(c->session), now = clock_mono_ms();
    conn_deadline(c->conn, at == UINT64_MAX ? 0 : at > now ? at - now : 1);
}

static void pause_client(struct client *c) {
    conn_pause(c->conn);
    set_deadline(c);
}

static void starve(struct client *c) {
    c->credit = true;
    list_add_tail(&smtpd.starved, &c->node);
    pause_client(c);
}

static void start_tls(struct client *c) {
    struct ssl_ctx_st *context = tls_set_context(smtpd.tls, c->session->listener->smtp.listener);
    if (!context) {
        smtpd_session_lost(c->session, "there is no certificate");
        run_client(c, STR_NONE);
        return;
    }
    conn_start_tls(c->conn, context);
    set_deadline(c);
}

static void close_client(struct client *c) {
    struct conn *conn = c->conn;
    flush_output(c);
    client_free(c);
    if (conn)
        conn_close(conn);
}

/* More input is wanted. */
static void read_more(struct client *c) {
    if (c->ended) {
        smtpd_session_lost(c->session, "the client closed the connection");
        run_client(c, STR_NONE);
        return;
    }
    if (smtpd.links[ROLE_STORE] && link_queued(smtpd.links[ROLE_STORE]) > LINK_WINDOW && c->session->mail) {
        starve(c);
        return;
    }
    conn_resume(c->conn);
    set_deadline(c);
}

/* The commands of the next message may come before the answer to this one: they are kept.  Only who sends much more is
 * paused, which saves two system calls a message. */
static void wait_for_store(struct client *c) {
    if (c->rest.n > REST_HIGH)
        conn_pause(c->conn);
    set_deadline(c);
}

static void act(struct client *c, enum smtpd_do what) {
    if (what != SMTPD_DELAY && what != SMTPD_CLOSE)
        flush_output(c);
    switch (what) {
    case SMTPD_READ: read_more(c); break;
    case SMTPD_WAIT: wait_for_store(c); break;
    case SMTPD_DELAY:
    case SMTPD_FLUSH: pause_client(c); break;
    case SMTPD_TLS: start_tls(c); break;
    case SMTPD_CLOSE: close_client(c); break;
    }
}

/* Runs the session over what was kept and the new bytes. */
static void run_client(struct client *c, str bytes) {
    for (;;) {
        bool from_rest = c->rest.n > 0;
        if (from_rest && bytes.n) {
            buf_add(&c->rest, bytes);
            bytes = STR_NONE;
        }
        str in = from_rest ? buf_str(&c->rest) : bytes;
        enum smtpd_do what = smtpd_session_run(c->session, &in, clock_mono_ms());
        bool again = what == SMTPD_FLUSH && c->conn && conn_unsent(c->conn) <= CONN_UNSENT_HIGH;
        keep_rest(c, in, from_rest);
        if (!again) {
            act(c, what);
            return;
        }
        flush_output(c);
        bytes = STR_NONE;
    }
}

static void on_read(void *arg, struct conn *conn, str bytes) {
    (void)conn;
    run_client(arg, bytes);
}

static void on_end(void *arg, struct conn *conn) {
    struct client *c = arg;
    (void)conn;
    c->ended = true;
    if (c->session->smtp.want == SMTP_WANT_INPUT || c->session->smtp.want == SMTP_WANT_STARTTLS) {
        smtpd_session_lost(c->session, "the client closed the connection");
        run_client(c, STR_NONE);
    }
}

static void on_tls(void *arg, struct conn *conn) {
    struct client *c = arg;
    smtpd_session_tls(c->session, str_of(conn_tls_version(conn)), str_of(conn_tls_cipher(conn)),
                      str_of(conn_tls_name(conn)));
    run_client(c, STR_NONE);
}

static void on_drained(void *arg, struct conn *conn) {
    struct client *c = arg;
    (void)conn;
    if (c->session->smtp.want == SMTP_WANT_FLUSH)
        run_client(c, STR_NONE);
}

static void on_deadline(void *arg, struct conn *conn) {
    struct client *c = arg;
    (void)conn;
    smtpd_session_expire(c->session, clock_mono_ms());
    bool due = c->session->smtp.mode == SMTP_MODE_END || c->session->smtp.want == SMTP_WANT_DELAY;
    if (due)
        run_client(c, STR_NONE);
    else
        set_deadline(c);
}

static const char *lost_reason(enum err e) {
    switch (e) {
    case ERR_TLS: return "TLS failed";
    case ERR_LIMIT: return "the client does not read its replies";
    case ERR_IO: return "the connection was lost";
    default: return "the client closed the connection";
    }
}

static void on_close(void *arg, struct conn *conn, enum err e, const char *reason) {
    struct client *c = arg;
    (void)conn;
    if (e == ERR_TLS)
        log_session(EV_SMTP_TLS_FAILED, c->session, str_of(reason));
    if (e == ERR_TLS || e == ERR_IO)
        smtp_server_note(&c->session->smtp, str_of(reason));
    c->conn = NULL;
    smtpd_session_lost(c->session, lost_reason(e));
    str none = STR_NONE;
    while (smtpd_session_run(c->session, &none, clock_mono_ms()) != SMTPD_CLOSE)
        ;
    client_free(c);
}

static const struct conn_ops conn_ops = {.on_read = on_read,
                                         .on_end = on_end,
                                         .on_tls = on_tls,
                                         .on_drained = on_drained,
                                         .on_deadline = on_deadline,
                                         .on_close = on_close};

/* ---- local users ---- */

static void read_users(void) {
    struct passwd *p;
    if (smtpd.users)
        return;
    smtpd.users = calloc(USERS_MAX, sizeof *smtpd.users);
    setpwent();
    while (smtpd.users && smtpd.user_count < USERS_MAX && (p = getpwent())) {
        struct user *u = &smtpd.users[smtpd.user_count];
        if (strlen(p->pw_name) >= sizeof u->name)
            continue;
        u->uid = p->pw_uid;
        memcpy(u->name, p->pw_name, strlen(p->pw_name)); /* the array was zero */
        smtpd.user_count++;
    }
    endpwent();
}

static str user_name(uid_t uid, char space[CONF_NAME_MAX + 1]) {
    for (size_t i = 0; i < smtpd.user_count; i++)
        if (smtpd.users[i].uid == uid)
            return str_of(smtpd.users[i].name);
    snprintf(space, CONF_NAME_MAX + 1, "uid%lu", (unsigned long)uid);
    return str_of(space);
}

static bool is_trusted(uid_t uid) {
    return uid == 0 || uid == geteuid();
}

static struct client *client_new(struct listener *l, int fd) {
    struct conn_address peer, local;
    char name[CONF_NAME_MAX + 1];
    struct client *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    conn_peer_address(fd, &peer);
    conn_local_address(fd, &local);
    list_init(&c->node);
    c->rest = BUF(CONN_READ_SIZE * 2);
    struct smtpd_caller caller = {.listener = str_of(l->name),
                                  .client = str_of(peer.text),
                                  .client_port = peer.port,
                                  .server = str_of(local.text),
                                  .server_port = local.port};
    struct ucred who;
    socklen_t size = sizeof who;
    if (str_eq(caller.client, S("unix")) && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0) {
        caller.user = user_name(who.uid, name);
        caller.trusted = is_trusted(who.uid);
    }
    c->session = smtpd_session_new(&smtpd.core, &caller, clock_mono_ms(), clock_wall_us());
    if (c->session)
        c->session->host = c;
    else
        free(c);
    return c->session ? c : NULL;
}

/* False: the client is gone. */
static bool open_conn(struct client *c, int fd) {
    c->conn = conn_open(role_base(), fd, &conn_ops, c);
    if (c->conn)
        return true;
    smtpd_session_lost(c->session, "no memory");
    close_client(c);
    return false;
}

/* Where TLS follows the PROXY header at once, no byte of the handshake may be read with it: look first, then take what
 * the session has eaten. */
static void on_early(evutil_socket_t fd, short what, void *arg) {
    struct client *c = arg;
    char bytes[PROXY_SIZE_MAX];
    ssize_t n = what & EV_READ ? recv(fd, bytes, sizeof bytes, MSG_PEEK) : -1;
    if (n < 0 && what & EV_READ && (errno == EAGAIN || errno == EINTR))
        return;
    smtpd_session_expire(c->session, clock_mono_ms());
    if (n <= 0)
        smtpd_session_lost(c->session, n < 0 ? "no PROXY header in time" : "the client closed the connection");
    str in = str_n(bytes, n > 0 ? (size_t)n : 0);
    enum smtpd_do todo = smtpd_session_run(c->session, &in, clock_mono_ms());
    size_t eaten = (n > 0 ? (size_t)n : 0) - in.n;
    if (eaten && recv(fd, bytes, eaten, 0) != (ssize_t)eaten)
        smtpd_session_lost(c->session, "the connection was lost");
    if (todo == SMTPD_CLOSE) {
        close_client(c);
    } else if (todo == SMTPD_TLS) {
        end_early(c, false);
        if (open_conn(c, fd))
            start_tls(c);
    }
}

static void open_early(struct client *c, int fd) {
    uint64_t ms = smtpd_session_deadline(c->session) - clock_mono_ms();
    struct timeval limit = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
    c->early = event_new(role_base(), fd, EV_READ | EV_PERSIST, on_early, c);
    if (c->early && event_add(c->early, &limit) == 0)
        return;
    if (!c->early)
        close(fd);
    smtpd_session_lost(c->session, "no memory");
    close_client(c);
}

static void on_accept(void *arg, int fd) {
    struct client *c = client_new(arg, fd);
    if (!c) {
        close(fd);
        return;
    }
    const struct smtp_server *smtp = &c->session->smtp;
    if (smtp->may_proxy && smtp->config->tls == SMTP_TLS_IMPLICIT && smtp->mode != SMTP_MODE_END) {
        open_early(c, fd);
        return;
    }
    if (open_conn(c, fd))
        run_client(c, STR_NONE);
}

/* ---- the sendmail spool ---- */

static void spool_free(void) {
    struct spooled *p = smtpd.spool;
    smtpd.spool = p->next;
    close(p->fd);
    free(p);
}

/* An ordinary file: reading does not wait for anybody. */
static enum err read_spooled(struct smtpd_spool *session, int fd) {
    char bytes[16 * 1024];
    for (;;) {
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? ERR_IO : OK;
        if (!smtpd_spool_add(session, str_n(bytes, (size_t)n)))
            return OK; /* smtpd_spool_run() says so; a file may have a hole as large as the disk never was */
    }
}

static void on_spool(evutil_socket_t fd, short what, void *arg) {
    char name[CONF_NAME_MAX + 1];
    (void)fd, (void)what, (void)arg;
    struct spooled *p = smtpd.spool;
    if (!p)
        return;
    struct smtpd_spool *session = smtpd_spool_new(&smtpd.core, p->tag, user_name(p->uid, name), is_trusted(p->uid));
    if (session)
        smtpd_spool_run(session, read_spooled(session, p->fd));
}

/* One file after the other, each in a turn of its own. */
static void spool_next(bool done) {
    static const struct timeval now;
    if (done && smtpd.spool)
        spool_free();
    if (smtpd.spool && !smtpd.draining)
        event_base_once(role_base(), -1, EV_TIMEOUT, on_spool, NULL, &now);
    exit_when_empty();
}

static void on_other(const struct frame *f, int fd) {
    if (f->type != FRAME_SPOOLED) {
        if (fd >= 0)
            close(fd);
        return;
    }
    struct spooled *p = calloc(1, sizeof *p), **at = &smtpd.spool;
    if (!p || smtpd.draining) {
        free(p);
        close(fd);
        struct frame no = {.type = FRAME_SPOOL_DONE, .spool_done = {f->spooled.tag, ERR_DOWN, S("not now")}};
        role_send(&no);
        return;
    }
    *p = (struct spooled){.tag = f->spooled.tag, .uid = (uid_t)f->spooled.uid, .fd = fd};
    while (*at)
        at = &(*at)->next;
    *at = p;
    if (smtpd.spool == p)
        spool_next(false);
}

/* ---- the other roles ---- */

static void on_peer_frame(void *arg, struct link *l, const struct frame *f, int fd) {
    (void)arg, (void)l;
    if (fd >= 0)
        close(fd);
    smtpd_core_frame(&smtpd.core, f);
    exit_when_empty(); /* a report or the like was the last to end */
}

static void on_peer_close(void *arg, struct link *l) {
    (void)arg;
    for (enum role r = 0; r < ROLE_COUNT; r++) {
        if (smtpd.links[r] != l)
            continue;
        smtpd.links[r] = NULL;
        smtpd_core_down(&smtpd.core, r);
    }
    exit_when_empty();
}

static void on_store_drained(void *arg, struct link *l) {
    (void)arg, (void)l;
    while (!list_empty(&smtpd.starved)) {
        struct client *c = LIST_ENTRY(list_first(&smtpd.starved), struct client, node);
        list_remove(&c->node);
        c->credit = false;
        conn_resume(c->conn);
    }
}

static const struct link_ops store_ops = {
    .on_frame = on_peer_frame, .on_close = on_peer_close, .on_drained = on_store_drained};
static const struct link_ops peer_ops = {.on_frame = on_peer_frame, .on_close = on_peer_close};

/* ---- the role ---- */

static void on_secret(str name, str bytes) {
    if (str_eq(name, S("srs"))) {
        buf_reset(&smtpd.core.srs_secret);
        buf_add(&smtpd.core.srs_secret, bytes);
        return;
    }
    if (tls_set_secret(smtpd.tls, name, bytes) || !str_eq(name, S("auth")))
        return;
    buf_reset(&smtpd.auth);
    buf_add(&smtpd.auth, bytes);
    smtpd.has_auth = true;
}

static struct listener *listener_named(str name) {
    for (struct listener *l = smtpd.listeners; l; l = l->next)
        if (str_eq(str_of(l->name), name))
            return l;
    return NULL;
}

static void listener_end(struct listener *l) {
    if (l->acceptor)
        acceptor_close(l->acceptor);
    if (l->fd >= 0)
        close(l->fd);
    l->acceptor = NULL;
    l->fd = -1;
}

static void on_listener(str name, int fd) {
    struct listener *l = listener_named(name);
    if (!l) {
        l = calloc(1, sizeof *l);
        if (!l || name.n > CONF_NAME_MAX) {
            free(l);
            close(fd);
            return;
        }
        memcpy(l->name, name.p, name.n);
        l->fd = -1;
        l->next = smtpd.listeners;
        smtpd.listeners = l;
    }
    listener_end(l);
    l->fd = fd;
}

static unsigned accepted_from(enum role peer) {
    switch ((int)peer) {
    case ROLE_STORE: return FRAME_STORE_TO_SMTPD | FRAME_STORE_TO_WORKER;
    case ROLE_KEYD: return FRAME_FROM_KEYD;
    case ROLE_HTTPD: return FRAME_HTTPD_TO_SMTPD;
    default: return 0;
    }
}

static void on_peer(enum role peer, uint32_t instance, int fd) {
    unsigned directions = accepted_from(peer);
    (void)instance;
    if (!directions) {
        close(fd);
        return;
    }
    if (smtpd.links[peer]) {
        struct link *old = smtpd.links[peer];
        smtpd.links[peer] = NULL;
        smtpd_core_down(&smtpd.core, peer);
        link_close(old);
    }
    smtpd.links[peer] =
        link_open(role_base(), fd, (enum frame_direction)directions, peer == ROLE_STORE ? &store_ops : &peer_ops, NULL);
    if (smtpd.links[peer])
        smtpd_core_up(&smtpd.core, peer);
    if (peer == ROLE_STORE)
        on_store_drained(NULL, NULL);
}

static bool has_tls(str listener) {
    return tls_set_context(smtpd.tls, listener) != NULL;
}

/* Sockets that the configuration does not name any more are closed, new ones begin to accept. */
static enum err take_listeners(const struct conf *c, struct why *w) {
    for (struct listener *l = smtpd.listeners; l; l = l->next) {
        l->kept = false;
        for (size_t i = 0; i < c->listen_count; i++)
            l->kept = l->kept || str_eq(c->listens[i].name, str_of(l->name));
        if (!l->kept)
            listener_end(l);
        if (l->fd < 0)
            continue;
        l->acceptor = acceptor_open(role_base(), l->fd, on_accept, l);
        l->fd = -1;
        if (!l->acceptor)
            return why(w, ERR_NOMEM, "listen %s: no memory", l->name);
    }
    return OK;
}

static unsigned workers_of(const struct conf *c) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return c->workers ? (unsigned)c->workers : cores > 0 ? (unsigned)cores : 1;
}

static enum err configure(const struct conf *c, bool first, struct why *w) {
    if (first && c->mode == CONF_MODE_SERVER)
        read_users();
    enum err e = tls_set_load(smtpd.tls, w);
    if (e)
        return e;
    str users = smtpd.has_auth && c->auth_file.n ? buf_str(&smtpd.auth) : STR_NONE;
    if (smtpd.has_auth && c->auth_file.n && !users.p)
        users = S("");
    e = smtpd_core_configure(&smtpd.core, c, users, workers_of(c), has_tls, w);
    return e ? e : take_listeners(c, w);
}

static void stop_accepting(void) {
    for (struct listener *l = smtpd.listeners; l; l = l->next)
        listener_end(l);
}

static void drain(void) {
    smtpd.draining = true;
    stop_accepting();
    smtpd_core_drain(&smtpd.core, clock_mono_ms());
    LIST_EACH(&smtpd.core.sessions, node) {
        struct client *c = LIST_ENTRY(node, struct smtpd_session, node)->host;
        if (c)
            set_deadline(c);
    }
    exit_when_empty();
}

/* Who waits for the store's answer to a complete message gets it; everybody else is told to come back. */
static void stop(void) {
    drain();
    LIST_EACH_SAFE(&smtpd.core.sessions, node) {
        struct smtpd_session *s = LIST_ENTRY(node, struct smtpd_session, node);
        if (s->waits == SMTPD_FOR_STORE || s->inside)
            continue;
        smtp_server_refuse(&s->smtp, SMTP_R_SHUTDOWN, "shutdown");
        run_client(s->host, STR_NONE);
    }
}

static const struct role_ops smtpd_role = {.role = ROLE_SMTPD,
                                           .secret = on_secret,
                                           .listener = on_listener,
                                           .peer = on_peer,
                                           .configure = configure,
                                           .drain = drain,
                                           .stop = stop,
                                           .other = on_other};

/* ICU finds its data on first use: that is before the sandbox closes. */
static bool warm_up(void) {
    struct buf b = BUF(512);
    bool good = charset_to_utf8(S("iso-2022-jp"), S("x"), &b) && idna_ascii(S("b\xc3\xbc"
                                                                              "cher.example"),
                                                                            &b);
    buf_free(&b);
    return good;
}

static bool prepare(void) {
    smtpd.tls = tls_set_new();
    smtpd.auth = BUF(AUTH_TEXT_MAX);
    list_init(&smtpd.starved);
    smtpd_core_init(&smtpd.core, &core_ops);
    smtpd_core_up(&smtpd.core, ROLE_SUPERVISOR);
    return smtpd.tls != NULL && warm_up();
}

int main(void) {
    return prepare() ? role_main(&smtpd_role) : 71; /* EX_OSERR */
}
