/* filter.c - the host of filter_core.h: libcurl on the role's loop.  libcurl is given the addresses and the
 * authorities: it opens no file and asks no DNS. */
#include "role/filter_core.h"

#include <curl/curl.h>
#include <event2/event.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dns/hosts.h"
#include "role/worker.h"
#include "sys/log.h"
#include "sys/role.h"
#include "sys/whole.h"

enum {
    IDLE_CONNECTIONS_MAX = 50,
    IDLE_S = 30,           /* a connection without a request is used again so long */
    SAID_STOP = 64 * 1024, /* an answer that goes on behind this is not waited for */
};

static struct {
    struct filter_core core;
    CURLM *multi;
    struct event *timer;
} host;

/* A post under way. */
struct post {
    struct filter_job *job;
    CURL *easy;
    struct curl_slist *headers, *addresses;
    struct buf said;
    size_t said_size;
    char reason[CURL_ERROR_SIZE], wait[64], tls[96];
};

/* Before anything is handed to the core. */
static struct filter_core *core_now(void) {
    host.core.now_ms = clock_mono_ms();
    host.core.wall_us = clock_wall_us();
    return &host.core;
}

/* ---- a request ---- */

static void post_free(struct post *p) {
    if (p->easy) {
        curl_multi_remove_handle(host.multi, p->easy);
        curl_easy_cleanup(p->easy);
    }
    curl_slist_free_all(p->headers);
    curl_slist_free_all(p->addresses);
    buf_free(&p->said);
    free(p);
}

static bool add(struct curl_slist **list, const char *line) {
    struct curl_slist *more = curl_slist_append(*list, line);
    if (more)
        *list = more;
    return more != NULL;
}

static bool add_header(struct post *p, const char *name, const char *value) {
    char line[1024];
    return snprintf(line, sizeof line, "%s: %s", name, value) < (int)sizeof line && add(&p->headers, line);
}

/* "Expect:" without a value: libcurl would wait for a 100 before it sends a large body. */
static bool fill_headers(struct post *p, const struct filter_request *r) {
    bool ok = add_header(p, "Content-Type", r->type) && add_header(p, "webhook-id", r->id) &&
              add_header(p, "webhook-timestamp", r->timestamp) && add(&p->headers, "Expect:");
    if (*r->signature)
        ok = ok && add_header(p, "webhook-signature", r->signature);
    for (size_t i = 0; r->extra[i]; i++)
        ok = ok && add(&p->headers, r->extra[i]);
    return ok;
}

/* "HOST:PORT:ADDRESS,[ADDRESS]": what libcurl would else ask the system for. */
static bool fill_addresses(struct post *p) {
    const struct filter_host *h = &p->job->host;
    struct buf b = BUF(4096);
    if (h->literal)
        return true;
    buf_printf(&b, "%s:%u:", p->job->request.host, p->job->request.port);
    for (size_t i = 0; i < h->count; i++) {
        bool v6 = str_has(h->addresses[i], ':');
        buf_printf(&b, "%s%s%.*s%s", i ? "," : "", v6 ? "[" : "", STR_ARG(h->addresses[i]), v6 ? "]" : "");
    }
    bool ok = add(&p->addresses, buf_cstr(&b));
    buf_free(&b);
    return ok;
}

/* ---- an answer ---- */

/* More than is kept is read for a while, so that the connection can be used again; then it is left. */
static size_t on_body(char *bytes, size_t size, size_t n, void *arg) {
    struct post *p = arg;
    (void)size;
    buf_add(&p->said, str_head(str_n(bytes, n), WEBHOOK_SAID_MAX - p->said.n));
    p->said_size += n;
    return p->said_size > SAID_STOP ? 0 : n;
}

static void see_tls(struct post *p) {
    struct curl_tlssessioninfo *info = NULL;
    if (*p->tls || curl_easy_getinfo(p->easy, CURLINFO_TLS_SSL_PTR, &info) != CURLE_OK || !info || !info->internals)
        return;
    SSL *ssl = info->internals;
    snprintf(p->tls, sizeof p->tls, "%s %s verified", SSL_get_version(ssl), SSL_get_cipher_name(ssl));
}

static size_t on_header(char *bytes, size_t size, size_t n, void *arg) {
    struct post *p = arg;
    str line = str_n(bytes, n);
    (void)size;
    see_tls(p);
    if (str_iskip(&line, S("Retry-After:"))) {
        line = str_trim(line);
        snprintf(p->wait, sizeof p->wait, "%.*s", STR_ARG(line));
    }
    return n; /* how long a header may be libcurl says (300 KiB) */
}

static CURLcode on_tls(CURL *easy, void *context, void *arg) {
    (void)easy, (void)arg;
    SSL_CTX_set1_cert_store(context, SSL_CTX_get_cert_store(worker_tls()));
    return CURLE_OK;
}

/* ---- libcurl's settings ---- */

#define SET(option, value) (curl_easy_setopt(p->easy, (option), (value)) == CURLE_OK)

/* Where it may go: this URL, by these addresses, by nothing else. */
static bool set_way(struct post *p, const struct filter_request *r) {
    return SET(CURLOPT_URL, r->url) && SET(CURLOPT_PROTOCOLS_STR, "http,https") && SET(CURLOPT_FOLLOWLOCATION, 0L) &&
           SET(CURLOPT_PROXY, "") && SET(CURLOPT_RESOLVE, p->addresses) && SET(CURLOPT_NETRC, CURL_NETRC_IGNORED) &&
           (!*r->login || SET(CURLOPT_USERPWD, r->login)) && SET(CURLOPT_HTTPAUTH, CURLAUTH_BASIC) &&
           SET(CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1) && SET(CURLOPT_MAXAGE_CONN, (long)IDLE_S);
}

static bool set_tls(struct post *p) {
    return SET(CURLOPT_SSL_VERIFYPEER, 1L) && SET(CURLOPT_SSL_VERIFYHOST, 2L) && SET(CURLOPT_CAINFO, NULL) &&
           SET(CURLOPT_CAPATH, NULL) && SET(CURLOPT_CA_CACHE_TIMEOUT, 0L) && SET(CURLOPT_SSL_CTX_FUNCTION, on_tls) &&
           SET(CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
}

static bool set_request(struct post *p, const struct filter_request *r) {
    return SET(CURLOPT_POST, 1L) && SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.n) &&
           SET(CURLOPT_POSTFIELDS, r->body.p) && SET(CURLOPT_HTTPHEADER, p->headers) &&
           SET(CURLOPT_USERAGENT, "Penfold/" PENFOLD_VERSION) && SET(CURLOPT_NOSIGNAL, 1L) &&
           SET(CURLOPT_CONNECTTIMEOUT_MS, (long)r->connect_ms) && SET(CURLOPT_TIMEOUT_MS, (long)r->total_ms);
}

static bool set_answer(struct post *p) {
    return SET(CURLOPT_WRITEFUNCTION, on_body) && SET(CURLOPT_WRITEDATA, p) && SET(CURLOPT_HEADERFUNCTION, on_header) &&
           SET(CURLOPT_HEADERDATA, p) && SET(CURLOPT_ERRORBUFFER, p->reason) && SET(CURLOPT_PRIVATE, p) &&
           SET(CURLOPT_HTTP09_ALLOWED, 0L);
}

static bool post_begin(struct filter_job *j, struct why *w) {
    struct post *p = calloc(1, sizeof *p);
    if (p) {
        *p = (struct post){.job = j, .easy = curl_easy_init(), .said = BUF(WEBHOOK_SAID_MAX)};
        if (p->easy && fill_headers(p, &j->request) && fill_addresses(p) && set_way(p, &j->request) && set_tls(p) &&
            set_request(p, &j->request) && set_answer(p) && curl_multi_add_handle(host.multi, p->easy) == CURLM_OK) {
            j->host_data = p;
            return true;
        }
        post_free(p);
    }
    (void)why(w, ERR_NOMEM, "4.3.0 the request could not be made");
    return false;
}

static bool post_sent(const struct filter_job *j) {
    const struct post *p = j->host_data;
    curl_off_t n = 0;
    curl_easy_getinfo(p->easy, CURLINFO_SIZE_UPLOAD_T, &n);
    return (size_t)n >= j->request.body.n;
}

static void post_abandon(struct filter_job *j) {
    post_free(j->host_data);
    j->host_data = NULL;
    worker_look();
}

/* ---- how a request ended ---- */

static bool passed(CURL *easy, CURLINFO what) {
    curl_off_t us = 0;
    return curl_easy_getinfo(easy, what, &us) == CURLE_OK && us > 0;
}

static enum webhook_end late_end(const struct post *p) {
    if (!passed(p->easy, CURLINFO_CONNECT_TIME_T))
        return WEBHOOK_NO_CONNECT;
    if (p->job->url.tls && !passed(p->easy, CURLINFO_APPCONNECT_TIME_T))
        return WEBHOOK_NO_TLS;
    return WEBHOOK_TIMEOUT;
}

static enum webhook_end end_of(const struct post *p, CURLcode code) {
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT: return late_end(p);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT: return WEBHOOK_NO_CONNECT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_PEER_FAILED_VERIFICATION: return WEBHOOK_NO_TLS;
    case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9 */
    case CURLE_WEIRD_SERVER_REPLY: return WEBHOOK_NONSENSE;
    default: return WEBHOOK_BROKEN;
    }
}

static void see_address(const struct post *p, struct buf *out) {
    char *address = NULL;
    long port = 0;
    curl_easy_getinfo(p->easy, CURLINFO_PRIMARY_IP, &address);
    curl_easy_getinfo(p->easy, CURLINFO_PRIMARY_PORT, &port);
    if (address && *address)
        buf_printf(out, strchr(address, ':') ? "[%s]:%ld" : "%s:%ld", address, port);
}

/* A status is an answer, also when what follows it does not end, or ends too early. */
static void post_end(struct post *p, CURLcode code) {
    struct filter_job *j = p->job;
    char space[80];
    struct buf address = {.p = space, .cap = sizeof space, .limit = sizeof space};
    long status = 0;
    curl_easy_getinfo(p->easy, CURLINFO_RESPONSE_CODE, &status);
    struct webhook_answer a = {.status = status >= 200 ? (unsigned)status : 0,
                               .sent = post_sent(j),
                               .said = buf_str(&p->said),
                               .reason = str_of(*p->reason ? p->reason : curl_easy_strerror(code)),
                               .wait = str_of(p->wait)};
    a.end = a.status || code == CURLE_OK ? WEBHOOK_ANSWERED : end_of(p, code);
    see_address(p, &address);
    j->host_data = NULL;
    core_now();
    filter_core_answered(j, &a, buf_str(&address), str_of(p->tls));
    post_free(p);
}

static void take_ends(void) {
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(host.multi, &left)) != NULL;) {
        struct post *p = NULL;
        if (m->msg == CURLMSG_DONE && curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &p) == CURLE_OK)
            post_end(p, m->data.result);
    }
    worker_look();
}

/* ---- libcurl on the loop ---- */

static void act(curl_socket_t fd, int what) {
    int running;
    curl_multi_socket_action(host.multi, fd, what, &running);
    take_ends();
}

static void on_socket(evutil_socket_t fd, short what, void *arg) {
    (void)arg;
    act(fd, (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static void on_timer(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    act(CURL_SOCKET_TIMEOUT, 0);
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg) {
    struct event *ev = socket_arg;
    (void)easy, (void)arg;
    if (ev)
        event_free(ev);
    ev = NULL;
    if (what != CURL_POLL_REMOVE) {
        short flags = (short)((what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0));
        ev = event_new(role_base(), fd, (short)(flags | EV_PERSIST), on_socket, NULL);
        if (!ev || event_add(ev, NULL) != 0)
            return -1;
    }
    curl_multi_assign(host.multi, fd, ev);
    return 0;
}

static int want_timer(CURLM *multi, long ms, void *arg) {
    (void)multi, (void)arg;
    struct timeval t = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    if (ms < 0)
        event_del(host.timer);
    else
        event_add(host.timer, &t);
    return 0;
}

/* ---- what the core asks, and is told ---- */

static void log_job(enum event_id e, str id, str where, str text) {
    log_event(e, LOG_STR("id", id), LOG_STR("host", where), LOG_STR("text", text), LOG_END);
}

static const struct filter_ops core_ops = {.to_store = worker_to_store,
                                           .to_resolver = worker_to_resolver,
                                           .post = post_begin,
                                           .is_sent = post_sent,
                                           .abandon = post_abandon,
                                           .log = log_job};

static void on_store(const struct frame *f) {
    filter_core_store(core_now(), f);
}

static void on_store_down(void) {
    filter_core_store_down(core_now());
}

static void on_resolver(const struct frame *f) {
    filter_core_resolver(core_now(), f);
}

static void on_resolver_down(void) {
    filter_core_resolver_down(core_now());
}

static void on_tick(void) {
    filter_core_tick(core_now());
}

static void on_drain(bool stop) {
    filter_core_drain(core_now(), stop);
}

static bool is_empty(void) {
    return filter_core_empty(&host.core);
}

static const struct worker_ops worker_ops = {.store = on_store,
                                             .store_down = on_store_down,
                                             .resolver = on_resolver,
                                             .resolver_down = on_resolver_down,
                                             .tick = on_tick,
                                             .drain = on_drain,
                                             .empty = is_empty};

/* ---- the role ---- */

static void on_secret(str name, str bytes) {
    filter_core_secret(&host.core, name, bytes);
}

static enum err prepare_curl(struct why *w) {
    host.timer = evtimer_new(role_base(), on_timer, NULL);
    host.multi = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_multi_init() : NULL;
    if (host.timer && host.multi && curl_multi_setopt(host.multi, CURLMOPT_SOCKETFUNCTION, want_socket) == CURLM_OK &&
        curl_multi_setopt(host.multi, CURLMOPT_TIMERFUNCTION, want_timer) == CURLM_OK &&
        curl_multi_setopt(host.multi, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNECTIONS_MAX) == CURLM_OK)
        return OK;
    return why(w, ERR_NOMEM, "libcurl cannot be used");
}

/* Read now: later no file can be opened.  Without it names are asked of the DNS alone. */
static void read_hosts(void) {
    struct why w;
    if (whole_read_file("/etc/hosts", HOSTS_FILE_MAX, &host.core.hosts, &w) != OK)
        buf_free(&host.core.hosts);
}

static enum err prepare(struct why *w) {
    enum err e = worker_start(w);
    read_hosts();
    return e ? e : prepare_curl(w);
}

static enum err configure(const struct conf *c, bool first, struct why *w) {
    filter_core_configure(core_now(), c);
    return first ? prepare(w) : OK;
}

static const struct role_ops filter_role = {
    .role = ROLE_FILTER,
    .secret = on_secret,
    .peer = worker_peer,
    .configure = configure,
    .drain = worker_drain,
    .stop = worker_stop,
};

int main(void) {
    worker_init(&worker_ops);
    uint64_t seeds[2];
    random_bytes(seeds, sizeof seeds);
    filter_core_init(&host.core, &core_ops, seeds[0], seeds[1]);
    return role_main(&filter_role);
}
