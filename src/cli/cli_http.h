/* cli_http.h - asking a running Penfold over HTTP, for the subcommands that look at mail.
 * Every failure is told on stderr in one sentence; the result is the exit status: 64 the address makes no sense,
 * 69 nothing answers there or there is no such message, 75 it may work later, 77 its socket is not for this user. */
#ifndef CLI_CLI_HTTP_H
#define CLI_CLI_HTTP_H

#include <stdio.h>

#include "cli/cli_options.h"

#define CLI_HTTP_URL_OPTION                                                                                            \
    {                                                                                                                  \
        .name = "url", .value = "URL", .fallback = "http://127.0.0.1:8025", .variable = "PENFOLD_URL",                 \
        .sentence = "Where the running Penfold answers."                                                               \
    }

/* For what operates a server: its unix socket, where root and the user it runs as need no token. */
#define CLI_HTTP_ADMIN_OPTION                                                                                          \
    {                                                                                                                  \
        .name = "url", .value = "URL", .fallback = "unix:/run/penfold/admin.sock", .variable = "PENFOLD_URL",          \
        .sentence = "Where the server answers: unix:/PATH, or http(s)://HOST:PORT with a token in PENFOLD_TOKEN."      \
    }

enum { CLI_HTTP_ANSWER_MAX = 512 * 1024 * 1024 };

/* From now on requests go there, whatever --url says (which must not have been given). */
void cli_http_at(const char *url);
/* The answer to GET url + path, in out.  missing: what to say on 404. */
int cli_http_get(const struct cli_args *args, const char *path, const char *missing, struct buf *out) MUST_CHECK;
/* The same; what is not there (404) is told to nobody but `refusal`: 65. */
int cli_http_find(const struct cli_args *args, const char *path, struct buf *out, struct buf *refusal) MUST_CHECK;
/* The same, written to a file as it comes; nothing is written unless the status is 200. */
int cli_http_copy(const struct cli_args *args, const char *path, const char *missing, FILE *to) MUST_CHECK;

/* Another method ("PUT"), with a body (p NULL: none). */
int cli_http_ask(const struct cli_args *args, const char *method, const char *path, str body, const char *missing,
                 struct buf *out) MUST_CHECK;
/* POST of bytes of that type.  A request that is refused for what it carries (400, 413, 422) is told to nobody but
 * `refusal`: 65. */
int cli_http_post(const struct cli_args *args, const char *path, const char *type, str body, struct buf *out,
                  struct buf *refusal) MUST_CHECK;
/* Like copy, for what comes line by line until it is interrupted. */
int cli_http_follow(const struct cli_args *args, const char *path, FILE *to) MUST_CHECK;
/* Percent-encodes s as one segment of a path or a value of a query. */
void cli_http_escape(str s, struct buf *out);
/* The same of each level of a folder's name. */
void cli_http_escape_levels(str s, struct buf *out);

/* For a terminal: text with its line ends and tabs; every other control, and bytes that are not UTF-8, as '?'. */
void cli_clean(str s, struct buf *out);
/* One line of at most `width` columns (0: any), cut with an ellipsis; returns the columns it takes. */
unsigned cli_cell(str s, unsigned width, struct buf *out);
/* Columns of the terminal that stdout is; 0 when it is none. */
unsigned cli_columns(void);

#endif
