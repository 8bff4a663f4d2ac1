#include "cli/cli_resolver.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli_conf.h"
#include "sys/dns_files.h"
#include "sys/link.h"

enum { CONTROL_FD = 3, WAIT_S = 60 };

struct cli_resolver {
    struct event_base *base;
    struct event *patience;
    struct link *control, *link;
    pid_t pid;
    bool ready, told, late;
    struct why fault;  /* text: it cannot go on */
    struct buf answer; /* when told */
};

/* ---- settings ---- */

static int load(const struct cli_args *args, struct conf *c, struct buf *text, struct conf_errors *errors) {
    const char *file = cli_text(args, "config");
    struct why w;
    if (!file && access(CLI_CONF_FILE, R_OK) == 0)
        file = CLI_CONF_FILE;
    if (file && cli_conf_load(file, text, &w) != OK)
        return cli_error(args->page, EX_NOINPUT, "%s", w.text);
    return conf_parse(buf_str(text), file ? file : "no configuration", c, errors) == OK
               ? CLI_GO_ON
               : cli_conf_complain(errors, EX_CONFIG);
}

static bool set(const struct cli_args *args, const char *option, const char *key, struct conf *c,
                struct conf_errors *errors) {
    const char *value = cli_text(args, option);
    return !value || conf_set(c, str_of(key), str_of(value), cli_source(args, option), errors) == OK;
}

int cli_resolver_conf(const struct cli_args *args, struct conf *c, struct buf *text) {
    struct conf_errors errors = {0};
    *c = (struct conf){0};
    int status = load(args, c, text, &errors);
    if (status == CLI_GO_ON && !(set(args, "dns", "dns", c, &errors) && set(args, "anchor", "dns_anchor", c, &errors) &&
                                 cli_conf_fill_hostname(c, &errors) == OK))
        status = cli_conf_complain(&errors, EX_USAGE);
    conf_errors_free(&errors);
    return status;
}

/* ---- the process ---- */

static _Noreturn void become(const char *path, int control) {
    if (control == CONTROL_FD) /* dup2 would leave it to be closed */
        fcntl(control, F_SETFD, 0);
    else
        dup2(control, CONTROL_FD);
    execl(path, "resolver", (char *)NULL);
    _exit(EX_OSERR);
}

static enum err spawn(struct cli_resolver *r, const char *path, int *control, struct why *w) {
    int fd[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0)
        return why(w, ERR_IO, "%s", strerror(errno));
    r->pid = fork();
    if (r->pid == 0)
        become(path, fd[1]);
    close(fd[1]);
    *control = fd[0];
    if (r->pid > 0)
        return OK;
    close(fd[0]);
    return why(w, ERR_IO, "%s: %s", path, strerror(errno));
}

static void on_control(void *arg, struct link *l, const struct frame *f, int fd) {
    struct cli_resolver *r = arg;
    (void)l, (void)fd;
    if (f->type == FRAME_READY)
        r->ready = true;
    else if (f->type == FRAME_FATAL)
        why(&r->fault, ERR_IO, "%.*s", STR_ARG(f->fatal.text));
    else
        return; /* counters */
    event_base_loopbreak(r->base);
}

static void on_told(void *arg, struct link *l, const struct frame *f, int fd) {
    struct cli_resolver *r = arg;
    (void)l, (void)fd;
    if (f->type != FRAME_DNS_TOLD)
        return;
    buf_reset(&r->answer);
    buf_add(&r->answer, f->dns_told.answer);
    r->told = true;
    event_base_loopbreak(r->base);
}

static void gone(struct cli_resolver *r) {
    if (!*r->fault.text)
        why(&r->fault, ERR_CLOSED, "the resolver has ended");
    event_base_loopbreak(r->base);
}

static void on_control_closed(void *arg, struct link *l) {
    struct cli_resolver *r = arg;
    (void)l;
    r->control = NULL;
    gone(r);
}

static void on_link_closed(void *arg, struct link *l) {
    struct cli_resolver *r = arg;
    (void)l;
    r->link = NULL;
    gone(r);
}

static void on_late(evutil_socket_t fd, short what, void *arg) {
    struct cli_resolver *r = arg;
    (void)fd, (void)what;
    r->late = true;
    event_base_loopbreak(r->base);
}

/* Until *done, or it is clear that it never will be. */
static enum err wait_for(struct cli_resolver *r, const bool *done, struct why *w) {
    static const struct timeval patience = {.tv_sec = WAIT_S};
    r->late = false;
    evtimer_add(r->patience, &patience);
    while (!*done && !r->late && !*r->fault.text)
        event_base_dispatch(r->base);
    evtimer_del(r->patience);
    if (*done)
        return OK;
    return r->late ? why(w, ERR_TIMEOUT, "the resolver does not answer") : why(w, ERR_DOWN, "%s", r->fault.text);
}

static enum err send_files(struct cli_resolver *r, const struct conf *c, struct why *w) {
    enum err e = OK;
    for (enum dns_file f = 0; e == OK && f < DNS_FILES; f++) {
        struct buf bytes = BUF(DNS_FILE_MAX);
        e = dns_file_read(f, c, &bytes, w);
        bool last = false;
        for (str rest = buf_str(&bytes); e == OK && !last; rest = str_tail(rest, FRAME_CHUNK)) {
            str piece = str_head(rest, FRAME_CHUNK);
            last = piece.n < FRAME_CHUNK;
            link_send(r->control, &(struct frame){.type = FRAME_SECRET,
                                                  .secret = {.name = str_of(dns_file_secret(f)), .bytes = piece}});
        }
        buf_free(&bytes);
    }
    return e;
}

/* Only what it needs: a role that is told less needs less. */
static enum err send_settings(struct cli_resolver *r, const struct conf *c, struct why *w) {
    const struct {
        str key, value;
    } rows[] = {{S("mode"), S("sandbox")},
                {S("log_level"), S("error")},
                {S("user"), c->user},
                {S("dns"), c->dns},
                {S("dns_anchor"), c->dns_anchor}};
    struct conf few;
    struct conf_errors errors = {0};
    struct buf text = BUF(CONF_FILE_MAX);
    enum err e = OK;
    conf_defaults(&few);
    for (size_t i = 0; e == OK && i < sizeof rows / sizeof *rows; i++)
        e = conf_set(&few, rows[i].key, rows[i].value, NULL, &errors);
    conf_write(&text, &few);
    link_send(r->control, &(struct frame){.type = FRAME_CONFIG, .config = {.text = buf_str(&text)}});
    buf_free(&text);
    conf_errors_free(&errors);
    conf_free(&few);
    return e == OK ? OK : why(w, e, "the settings cannot be handed over");
}

static enum err open_links(struct cli_resolver *r, int control, struct why *w) {
    static const struct link_ops control_ops = {.on_frame = on_control, .on_close = on_control_closed};
    static const struct link_ops link_ops = {.on_frame = on_told, .on_close = on_link_closed};
    int fd[2];
    r->control = link_open(r->base, control, FRAME_TO_SUPERVISOR, &control_ops, r);
    if (!r->control)
        close(control);
    if (!r->control || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) != 0)
        return why(w, ERR_IO, "no link to the resolver: %s", strerror(errno));
    r->link = link_open(r->base, fd[0], FRAME_FROM_RESOLVER, &link_ops, r);
    if (r->link)
        link_send_fd(r->control, &(struct frame){.type = FRAME_PEER, .peer = {.role = ROLE_DELIVERY}}, fd[1]);
    else
        close(fd[0]);
    close(fd[1]);
    return r->link ? OK : why(w, ERR_NOMEM, "no memory");
}

static enum err begin(struct cli_resolver *r, const struct conf *c, struct why *w) {
    char path[PATH_MAX];
    int control = -1;
    r->answer.limit = DNS_ANSWER_MAX;
    r->base = event_base_new();
    r->patience = r->base ? evtimer_new(r->base, on_late, r) : NULL;
    if (!r->patience)
        return why(w, ERR_NOMEM, "no memory");
    if (!cli_conf_find_role("resolver", path))
        return why(w, ERR_NOT_FOUND, "the resolver is not installed beside this program (libexec/penfold/resolver)");
    enum err e = spawn(r, path, &control, w);
    if (e == OK)
        e = open_links(r, control, w);
    if (e == OK)
        e = send_files(r, c, w);
    if (e == OK)
        e = send_settings(r, c, w);
    if (e != OK)
        return e;
    link_send(r->control, &(struct frame){.type = FRAME_GO});
    return wait_for(r, &r->ready, w);
}

enum err cli_resolver_start(const struct conf *c, struct cli_resolver **out, struct why *w) {
    struct cli_resolver *r = calloc(1, sizeof *r);
    signal(SIGPIPE, SIG_IGN);
    enum err e = r ? begin(r, c, w) : why(w, ERR_NOMEM, "no memory");
    *out = e == OK ? r : NULL;
    if (e != OK)
        cli_resolver_end(r);
    return e;
}

enum err cli_resolver_ask(struct cli_resolver *r, str name, uint32_t type, struct arena *a, struct dns_answer *out,
                          struct why *w) {
    if (dns_name_check(name) != OK)
        return why(w, ERR_SYNTAX, "\"%.*s\" is no name that the DNS could be asked for", STR_ARG(str_head(name, 200)));
    r->told = false;
    link_send(r->link, &(struct frame){.type = FRAME_DNS_ASK, .dns_ask = {.tag = 1, .name = name, .type = type}});
    enum err e = wait_for(r, &r->told, w);
    if (e == OK && (e = dns_answer_take(buf_str(&r->answer), a, out)) != OK)
        why(w, e, "the resolver's answer is damaged");
    return e;
}

void cli_resolver_end(struct cli_resolver *r) {
    if (!r)
        return;
    if (r->link)
        link_close(r->link);
    if (r->control)
        link_close(r->control); /* it ends with its supervisor */
    if (r->pid > 0)
        waitpid(r->pid, NULL, 0);
    if (r->patience)
        event_free(r->patience);
    if (r->base)
        event_base_free(r->base);
    buf_free(&r->answer);
    free(r);
}
