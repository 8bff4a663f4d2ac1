/* httpd - REST, the web page and the websocket: the host of src/web. */
#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "sys/role.h"
#include "web/api.h"
#include "web/hash.h"
#include "web/inject.h"
#include "web/reader.h"
#include "web/view.h"

enum { HOSTS_MAX = 64, NAME_SIZE = 256 };

static struct {
    struct http_server *server;
    str hosts[HOSTS_MAX];
    char hostname[NAME_SIZE];
} httpd;

/* The first call of any kind finds nothing made yet: role_base() is there from the start. */
static void need_server(void) {
    if (httpd.server)
        return;
    api_start(role_base());
    httpd.server = http_server_new(role_base(), api_request);
    assert(httpd.server);
}

static void on_listener(str name, int fd) {
    struct sockaddr_storage sa;
    socklen_t n = sizeof sa;
    need_server();
    bool local = getsockname(fd, (struct sockaddr *)&sa, &n) == 0 && sa.ss_family == AF_UNIX;
    if (!http_server_listen(httpd.server, name, fd, local))
        close(fd);
}

static void on_peer(enum role peer, uint32_t instance, int fd) {
    need_server();
    if (peer == ROLE_STORE)
        reader_link(fd);
    else if (peer == ROLE_CONTENT)
        view_link(fd);
    else if (peer == ROLE_SMTPD)
        inject_link(instance, fd);
    else if (peer == ROLE_KEYD)
        hash_link(fd);
    else
        close(fd);
}

/* The names of http_hosts, and our own. */
static size_t take_hosts(const struct conf *c) {
    size_t count = 0;
    str rest = c->http_hosts;
    if (c->hostname.n)
        httpd.hosts[count++] = c->hostname;
    else if (httpd.hostname[0] || gethostname(httpd.hostname, sizeof httpd.hostname - 1) == 0)
        httpd.hosts[count++] = str_of(httpd.hostname);
    while (rest.n && count < HOSTS_MAX) {
        size_t end = 0;
        while (end < rest.n && rest.p[end] != ',' && !char_is_space(rest.p[end]))
            end++;
        if (end)
            httpd.hosts[count++] = str_head(rest, end);
        rest = str_tail(rest, end + 1);
    }
    return count;
}

static bool is_configured(void *arg, str name) {
    const struct conf *c = arg;
    for (size_t i = 0; i < c->listen_count; i++)
        if (c->listens[i].protocol == CONF_PROTOCOL_HTTP && str_eq(c->listens[i].name, name))
            return true;
    return false;
}

static enum err configure(const struct conf *c, bool first, struct why *w) {
    (void)first, (void)w;
    need_server();
    struct http_settings settings = {
        .connections_max = (unsigned)c->http_max_connections,
        .header_ms = (unsigned)c->http_header_timeout,
        .idle_ms = (unsigned)c->http_idle_timeout,
        .hosts = httpd.hosts,
        .host_count = take_hosts(c),
        .local_body_max = c->smtp_message_max,
    };
    http_server_keep(httpd.server, is_configured, (void *)(uintptr_t)c);
    http_server_set(httpd.server, &settings);
    api_configure(c);
    return OK;
}

static void metrics(str text) {
    need_server();
    api_metrics_text(text);
}

static void drained(void) {
    role_exit(0);
}

static void drain(void) {
    need_server();
    http_server_drain(httpd.server, drained);
}

static void stop(void) {
    if (httpd.server) {
        http_server_free(httpd.server);
        api_stop();
        httpd.server = NULL;
    }
    role_exit(0);
}

int main(void) {
    static const struct role_ops ops = {
        .role = ROLE_HTTPD,
        .listener = on_listener,
        .peer = on_peer,
        .configure = configure,
        .drain = drain,
        .stop = stop,
        .metrics = metrics,
    };
    return role_main(&ops);
}
