#include "cli/cli_http.h"

#include <curl/curl.h>
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "base/code.h"

enum {
    CONNECT_SECONDS = 5,
    STALL_SECONDS = 60,
    ERROR_TEXT_MAX = 500,
    COLUMNS_MIN = 60, /* a table has this many at least */
    COLUMNS_MAX = 500,
};

struct fetch {
    const struct cli_args *args;
    CURL *curl;
    struct buf *out; /* or */
    FILE *to;
    const char *method; /* NULL: GET */
    const char *type;   /* of the body; NULL: JSON */
    str body;
    struct buf *refusal; /* gets what is said against the body, unless NULL */
    bool follow;         /* it may come for ever */
    struct buf said;     /* the body of an answer that is not 200 */
    bool write_failed;
};

static size_t on_data(char *p, size_t size, size_t n, void *arg) {
    struct fetch *f = arg;
    long status = 0;
    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    n *= size;
    if (status != 200) {
        buf_add(&f->said, str_n(p, n < ERROR_TEXT_MAX ? n : ERROR_TEXT_MAX));
        return n;
    }
    if (f->out)
        buf_add(f->out, str_n(p, n));
    else if (fwrite(p, 1, n, f->to) != n)
        f->write_failed = true;
    return (f->out && f->out->full) || f->write_failed ? 0 : n;
}

static char found_url[256];

void cli_http_at(const char *url) {
    snprintf(found_url, sizeof found_url, "%s", url);
}

static const char *base_url(const struct cli_args *args) {
    return found_url[0] ? found_url : cli_text(args, "url");
}

static bool is_unix(const char *url) {
    return str_starts(str_of(url), S("unix:/"));
}

/* What curl says, as a sentence that helps. */
static int fetch_failed(const struct fetch *f, CURLcode code, const char *detail) {
    const struct cli_page *page = f->args->page;
    const char *url = base_url(f->args);
    if (f->write_failed)
        return cli_error(page, EX_IOERR, "the output could not be written");
    switch (code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        if (str_istarts(str_of(url), S("http://")) || str_istarts(str_of(url), S("https://")))
            return cli_error(page, EX_UNAVAILABLE, "what answers at %s does not speak HTTP", url);
        return cli_usage_error(page, "\"%s\" is not an http or https address, nor unix:/PATH", url);
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
        if (is_unix(url) && access(url + sizeof "unix:" - 1, W_OK) != 0 && errno == EACCES)
            return cli_error(page, EX_NOPERM, "%s is for root and the user the server runs as", url);
        if (is_unix(url))
            return cli_error(page, EX_UNAVAILABLE,
                             "no server answers at %s: start one with `penfold serve`, or name another with --url",
                             url);
        return cli_error(page, EX_UNAVAILABLE,
                         "no Penfold answers at %s: start one with `penfold sandbox`, or name another with --url", url);
    case CURLE_OPERATION_TIMEDOUT: return cli_error(page, EX_TEMPFAIL, "%s did not answer in time", url);
    case CURLE_WRITE_ERROR: return cli_error(page, EX_UNAVAILABLE, "the answer of %s is too large", url);
    default: return cli_error(page, EX_TEMPFAIL, "%s: %s", url, *detail ? detail : curl_easy_strerror(code));
    }
}

/* Something is wrong with what was asked for or sent, and not with the rest. */
static bool is_about_this(const struct fetch *f, long status) {
    return f->method ? status == 400 || status == 413 || status == 422 : status == 404;
}

static int refused(const struct fetch *f, long status, const char *missing) {
    struct buf said = BUF(4 * ERROR_TEXT_MAX);
    str first = str_trim(buf_str(&f->said));
    escape_print(str_head(first, str_find(first, '\n')), &said);
    int exit_status = status >= 500 ? EX_TEMPFAIL : EX_UNAVAILABLE;
    if (f->refusal && is_about_this(f, status)) {
        buf_add(f->refusal, buf_str(&said));
        exit_status = EX_DATAERR;
    } else if (status == 404 && missing)
        cli_error(f->args->page, exit_status, "%s", missing);
    else
        cli_error(f->args->page, exit_status, "%s answered %ld: %s", base_url(f->args), status, buf_cstr(&said));
    buf_free(&said);
    return exit_status;
}

static void set_request(struct fetch *f, struct curl_slist **headers) {
    const char *token = getenv("PENFOLD_TOKEN");
    CURL *c = f->curl;
    if (f->method)
        curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, f->method);
    if (f->body.p) {
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)f->body.n);
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, f->body.p);
        struct buf line = BUF(1024);
        buf_printf(&line, "Content-Type: %s", f->type ? f->type : "application/json");
        *headers = curl_slist_append(*headers, buf_cstr(&line));
        buf_free(&line);
    }
    if (token && *token) {
        struct buf line = BUF(1024);
        buf_printf(&line, "Authorization: Bearer %s", token);
        *headers = curl_slist_append(*headers, buf_cstr(&line));
        buf_wipe(&line);
    }
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, *headers);
    if (is_unix(base_url(f->args)))
        curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, base_url(f->args) + sizeof "unix:" - 1);
}

static void set_options(struct fetch *f, const char *url, char *detail) {
    CURL *c = f->curl;
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L); /* a folder may be called ".." */
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_NOPROXY, "localhost,127.0.0.1,::1,[::1]"); /* a proxy does not know our loopback */
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, detail);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, f->follow ? 0L : 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)STALL_SECONDS);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "penfold/" PENFOLD_VERSION);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, f);
}

/* One for all requests of this process: they share its connection. */
static CURL *handle(void) {
    static CURL *curl;
    if (!curl)
        curl = curl_easy_init();
    return curl;
}

static int fetch(struct fetch *f, const char *path, const char *missing) {
    char detail[CURL_ERROR_SIZE] = "";
    long status = 0;
    str base = str_of(base_url(f->args));
    bool local = is_unix(base_url(f->args));
    struct curl_slist *headers = NULL;
    if (local)
        base = S("http://localhost");
    while (str_ends(base, S("/")))
        base = str_head(base, base.n - 1);
    struct buf url = BUF(8192);
    buf_printf(&url, "%.*s%s", STR_ARG(base), path);
    f->curl = handle();
    if (!f->curl)
        return cli_error(f->args->page, EX_OSERR, "out of memory");
    f->said = BUF(ERROR_TEXT_MAX);
    set_options(f, buf_cstr(&url), detail);
    set_request(f, &headers);
    CURLcode code = str_istarts(base, S("http://")) || str_istarts(base, S("https://")) ? curl_easy_perform(f->curl)
                                                                                        : CURLE_UNSUPPORTED_PROTOCOL;
    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    int result = EX_OK;
    if (code != CURLE_OK)
        result = fetch_failed(f, code, detail);
    else if (status != 200)
        result = refused(f, status, missing);
    curl_easy_reset(f->curl);
    curl_slist_free_all(headers);
    buf_free(&url);
    buf_free(&f->said);
    return result;
}

int cli_http_get(const struct cli_args *args, const char *path, const char *missing, struct buf *out) {
    struct fetch f = {.args = args, .out = out};
    return fetch(&f, path, missing);
}

int cli_http_find(const struct cli_args *args, const char *path, struct buf *out, struct buf *refusal) {
    struct fetch f = {.args = args, .out = out, .refusal = refusal};
    return fetch(&f, path, NULL);
}

int cli_http_ask(const struct cli_args *args, const char *method, const char *path, str body, const char *missing,
                 struct buf *out) {
    struct fetch f = {.args = args, .out = out, .method = method, .body = body};
    return fetch(&f, path, missing);
}

int cli_http_post(const struct cli_args *args, const char *path, const char *type, str body, struct buf *out,
                  struct buf *refusal) {
    struct fetch f = {.args = args, .out = out, .method = "POST", .type = type, .body = body, .refusal = refusal};
    return fetch(&f, path, NULL);
}

int cli_http_follow(const struct cli_args *args, const char *path, FILE *to) {
    struct fetch f = {.args = args, .to = to, .follow = true};
    setvbuf(to, NULL, _IOLBF, 0);
    return fetch(&f, path, NULL);
}

void cli_http_escape(str s, struct buf *out) {
    for (size_t i = 0; i < s.n; i++)
        if (char_is_alnum(s.p[i]) || memchr("-_.~@", s.p[i], 5))
            buf_char(out, s.p[i]);
        else
            buf_printf(out, "%%%02X", (unsigned char)s.p[i]);
}

void cli_http_escape_levels(str s, struct buf *out) {
    str level;
    while (str_cut(&s, '/', &level)) {
        cli_http_escape(level, out);
        buf_char(out, '/');
    }
    cli_http_escape(s, out);
}

int cli_http_copy(const struct cli_args *args, const char *path, const char *missing, FILE *to) {
    struct fetch f = {.args = args, .to = to};
    int status = fetch(&f, path, missing);
    if (fflush(to) != 0 && status == EX_OK)
        return cli_error(args->page, EX_IOERR, "the output could not be written");
    return status;
}

/* ---- for a terminal ---- */

void cli_clean(str s, struct buf *out) {
    while (s.n) {
        uint32_t c;
        size_t n = utf8_char(s, &c);
        bool line_end = n == 1 && (c == '\n' || c == '\t');
        bool crlf = n == 1 && c == '\r' && s.n > 1 && s.p[1] == '\n';
        if (n && (line_end || utf8_shows(c)))
            buf_add(out, str_head(s, n));
        else if (!crlf)
            buf_char(out, '?');
        s = str_tail(s, n ? n : 1);
    }
}

static unsigned columns_of(uint32_t c) {
    static bool ready;
    if (!ready)
        setlocale(LC_CTYPE, "C.UTF-8");
    ready = true;
    int n = wcwidth((wchar_t)c);
    return n < 0 ? 1 : (unsigned)n;
}

unsigned cli_cell(str s, unsigned width, struct buf *out) {
    unsigned used = 0;
    size_t fits = out->n; /* where to cut for the ellipsis */
    unsigned fits_used = 0;
    while (s.n) {
        uint32_t c;
        size_t n = utf8_char(s, &c);
        bool good = n && utf8_shows(c);
        unsigned columns = good ? columns_of(c) : 1;
        if (width && used + columns > width) {
            buf_shrink(out, fits);
            buf_add(out, S("\u2026"));
            return fits_used + 1;
        }
        buf_add(out, good ? str_head(s, n) : S("?"));
        used += columns;
        if (used < width) {
            fits = out->n;
            fits_used = used;
        }
        s = str_tail(s, n ? n : 1);
    }
    return used;
}

unsigned cli_columns(void) {
    struct winsize w;
    uint64_t told;
    if (!isatty(STDOUT_FILENO))
        return 0;
    const char *columns = getenv("COLUMNS");
    unsigned n = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col ? w.ws_col : 80;
    if (columns && str_u64(str_of(columns), &told) && told <= COLUMNS_MAX)
        n = (unsigned)told;
    return n < COLUMNS_MIN ? COLUMNS_MIN : n;
}
