#include "sys/role.h"

#include <assert.h>
#include <event2/event.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "sys/log.h"
#include "sys/sandbox.h"

enum {
    CONTROL_FD = 3,
    SECRET_MAX = 4 * 1024 * 1024,
    METRICS_MAX = 1024 * 1024,
    ORPHAN_SECONDS = 30, /* a role whose supervisor is gone has so long to end by itself */
    LAST_WORDS_MS = 1000,
};

static struct {
    const struct role_ops *ops;
    struct event_base *base;
    struct link *control;
    struct event *second;
    uint32_t instance;
    char run_id[64];
    size_t run_id_size;
    struct buf config;  /* CONFIG chunks since the last GO */
    struct buf secret;  /* SECRET chunks of secret_name */
    struct buf metrics; /* METRICS chunks */
    struct conf *conf;
    uint64_t counted[EV_COUNT]; /* as last sent */
    bool ready, stopping;
    int status;
} role = {.config = {.limit = CONF_FILE_MAX}, .secret = {.limit = SECRET_MAX}, .metrics = {.limit = METRICS_MAX}};

struct event_base *role_base(void) {
    return role.base;
}

uint32_t role_instance(void) {
    return role.instance;
}

str role_run_id(void) {
    return str_n(role.run_id, role.run_id_size);
}

void role_exit(int status) {
    role.status = status;
    event_base_loopbreak(role.base);
}

/* ---- to the supervisor ---- */

static void send_counters(void) {
    uint64_t now[EV_COUNT];
    for (size_t i = 0; i < EV_COUNT; i++)
        now[i] = log_count((enum event_id)i);
    if (!role.control || memcmp(now, role.counted, sizeof now) == 0)
        return;
    memcpy(role.counted, now, sizeof now);
    char space[sizeof now];
    struct buf b = {.p = space, .cap = sizeof space, .limit = sizeof space};
    for (size_t i = 0; i < EV_COUNT; i++)
        buf_u64(&b, now[i]);
    link_send(role.control, &(struct frame){.type = FRAME_COUNTERS, .counters = {.values = buf_str(&b)}});
}

static void on_second(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    send_counters();
}

/* Everything said so far has to reach the supervisor; when it does not, there is nobody to tell. */
static void last_words(void) {
    if (role.control && link_flush(role.control, LAST_WORDS_MS) != OK)
        return;
}

static _Noreturn void fatal(enum err e, const char *text) {
    if (role.control) {
        struct frame f = {.type = FRAME_FATAL, .fatal = {.err = (uint8_t)e, .text = str_head(str_of(text), 4096)}};
        send_counters();
        link_send(role.control, &f);
        last_words();
    } else {
        fprintf(stderr, "%s: %s\n", role_name(role.ops->role), text);
    }
    _exit(EX_SOFTWARE);
}

void role_fatal(enum err e, const char *format, ...) {
    char text[sizeof((struct why){0}).text];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    fatal(e, text);
}

void role_send(const struct frame *f) {
    if (role.control)
        link_send(role.control, f);
}

/* ---- configuration ---- */

static void configure_log(const struct conf *c) {
    enum log_format format = c->log == CONF_LOG_JOURNAL              ? LOG_JOURNAL
                             : c->log_format == CONF_LOG_FORMAT_JSON ? LOG_JSON
                                                                     : LOG_TEXT;
    uint32_t shown = role.ops->role == ROLE_SMTPD ? role.instance : LOG_NO_INSTANCE;
    log_setup(role_name(role.ops->role), shown, format, (enum event_level)c->log_level);
}

/* Takes the configuration apart; the supervisor has checked it, so a fault means that we do not understand each other.
 */
static struct conf *parse_config(void) {
    struct conf_errors errors = {0};
    struct conf *c = calloc(1, sizeof *c);
    if (!c)
        fatal(ERR_NOMEM, "no memory for the configuration");
    if (conf_parse(buf_str(&role.config), "configuration", c, &errors) != OK) {
        struct buf out = BUF(CONF_FILE_MAX);
        conf_errors_put(&out, &errors);
        fatal(ERR_SYNTAX, buf_cstr(&out));
    }
    conf_errors_free(&errors);
    buf_reset(&role.config);
    buf_trim(&role.config);
    return c;
}

/* Before the role opens anything: the user and, for one that works on files, its directory (threads started later
 * inherit this). */
static void sandbox_first_half(const struct conf *c) {
    struct why w = {0};
    enum err e = sandbox_drop_root(c->user.p, c->mode == CONF_MODE_SERVER, &w);
    if (e != OK)
        fatal(e, w.text);
    sandbox_outlive_not(role.ops->needs_files ? 0 : SIGKILL);
    if (role.ops->needs_files)
        sandbox_files(c->data.p);
}

static void sandbox_second_half(void) {
    if (!role.ops->needs_files)
        sandbox_files(NULL);
    sandbox_close(role.ops->role);
}

static void take_configuration(void) {
    bool first = !role.ready;
    struct why w = {0};
    struct conf *c = parse_config();
    configure_log(c);
    if (first)
        sandbox_first_half(c);
    enum err e = role.ops->configure(c, first, &w);
    if (e != OK && first)
        fatal(e, w.text);
    if (e != OK) {
        log_event(EV_RELOAD_REFUSED, LOG_WHY(&w), LOG_END);
        conf_free(c);
        free(c);
        return;
    }
    if (role.conf) {
        conf_free(role.conf);
        free(role.conf);
    }
    role.conf = c;
    if (!first)
        return;
    sandbox_second_half();
    role.ready = true;
    link_send(role.control, &(struct frame){.type = FRAME_READY});
}

/* ---- from the supervisor ---- */

static void on_config(str text) {
    buf_add(&role.config, text);
    if (role.config.full)
        fatal(ERR_LIMIT, "the configuration is too large");
}

/* A chunk shorter than the longest ends a long value. */
static void on_secret(str name, str bytes) {
    buf_add(&role.secret, bytes);
    if (role.secret.full)
        fatal(ERR_LIMIT, "a secret is too large");
    if (bytes.n == FRAME_CHUNK)
        return;
    if (role.ops->secret)
        role.ops->secret(name, buf_str(&role.secret));
    if (role.secret.p)
        explicit_bzero(role.secret.p, role.secret.cap);
    buf_free(&role.secret);
}

static void on_metrics(str text) {
    buf_add(&role.metrics, text);
    if (text.n == FRAME_CHUNK)
        return;
    if (role.ops->metrics && !role.metrics.full)
        role.ops->metrics(buf_str(&role.metrics));
    buf_reset(&role.metrics);
}

static void on_listener(str name, int fd) {
    if (role.ops->listener)
        role.ops->listener(name, fd);
    else
        close(fd);
}

static void on_peer(const struct frame_peer *p, int fd) {
    if (role.ops->peer && p->role < ROLE_COUNT)
        role.ops->peer((enum role)p->role, p->instance, fd);
    else
        close(fd);
}

static void on_log_fd(int fd) {
    dup2(fd, STDERR_FILENO);
    close(fd);
}

static void on_go(const struct frame_go *g) {
    role.instance = g->instance;
    role.run_id_size = g->run_id.n < sizeof role.run_id ? g->run_id.n : 0;
    if (role.run_id_size)
        memcpy(role.run_id, g->run_id.p, role.run_id_size);
    take_configuration();
}

static void on_stop(void) {
    if (role.stopping)
        return;
    role.stopping = true;
    if (role.ops->stop && role.ready)
        role.ops->stop();
    else
        role_exit(0);
}

static void on_drain(void) {
    if (role.ops->drain && role.ready)
        role.ops->drain();
    else
        on_stop();
}

static void on_control(void *arg, struct link *l, const struct frame *f, int fd) {
    (void)arg, (void)l;
    switch ((int)f->type) {
    case FRAME_CONFIG: on_config(f->config.text); break;
    case FRAME_SECRET: on_secret(f->secret.name, f->secret.bytes); break;
    case FRAME_LISTENER: on_listener(f->listener.name, fd); break;
    case FRAME_PEER: on_peer(&f->peer, fd); break;
    case FRAME_LOG_FD: on_log_fd(fd); break;
    case FRAME_GO: on_go(&f->go); break;
    case FRAME_DRAIN: on_drain(); break;
    case FRAME_STOP: on_stop(); break;
    case FRAME_METRICS: on_metrics(f->metrics.text); break;
    default:
        if (role.ops->other)
            role.ops->other(f, fd);
        else if (fd >= 0)
            close(fd);
    }
}

/* The supervisor is gone: end in order, but end. */
static void on_orphaned(void *arg, struct link *l) {
    (void)arg, (void)l;
    role.control = NULL;
    alarm(ORPHAN_SECONDS);
    on_stop();
}

/* The terminal's Ctrl-C and hang-up reach the whole group; only the supervisor decides what they mean. */
static void ignore_signals(void) {
    static const int ignored[] = {SIGINT, SIGHUP, SIGTERM, SIGPIPE, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        signal(ignored[i], SIG_IGN);
}

int role_main(const struct role_ops *ops) {
    static const struct link_ops control_ops = {.on_frame = on_control, .on_close = on_orphaned};
    static const struct timeval second = {.tv_sec = 1};
    assert(ops->configure);
    role.ops = ops;
    ignore_signals();
    sandbox_begin();
    log_setup(role_name(ops->role), LOG_NO_INSTANCE, LOG_TEXT, EVENT_INFO);
    role.base = event_base_new();
    if (!role.base || !(role.control = link_open(role.base, CONTROL_FD, FRAME_TO_ROLE, &control_ops, NULL))) {
        fprintf(stderr, "%s is started by penfold, not by hand\n", role_name(ops->role));
        return EX_USAGE;
    }
    role.second = event_new(role.base, -1, EV_PERSIST, on_second, NULL);
    if (!role.second || event_add(role.second, &second) != 0)
        role_fatal(ERR_NOMEM, "no memory for a timer");
    event_base_dispatch(role.base);
    send_counters();
    last_words();
    return role.status;
}
