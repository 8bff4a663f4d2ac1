/* cli_directory.h - the entries of the directory (policy/directory.h) for the commands: told to the running server, or
 * to its database when none runs.  An entry is a JSON object as the HTTP interface has it, its settings texts.
 * What fails is told on stderr, the result is the exit status.
 *
 *   --url given      that server
 *   else             the admin socket that is usual, then those of the configuration: a server that answers
 *   else             the database in the configuration's data directory, under its lock: no server can start meanwhile
 */
#ifndef CLI_CLI_DIRECTORY_H
#define CLI_CLI_DIRECTORY_H

#include <jansson.h>

#include "cli/cli_options.h"
#include "conf/conf.h"
#include "policy/directory.h"

#define CLI_DIRECTORY_OPTIONS                                                                                          \
    {.name = "url",                                                                                                    \
     .value = "URL",                                                                                                   \
     .fallback = "unix:/run/penfold/admin.sock",                                                                       \
     .variable = "PENFOLD_URL",                                                                                        \
     .sentence = "Where the server answers: unix:/PATH, or http(s)://HOST:PORT with a token in PENFOLD_TOKEN. Given, " \
                 "the server must run."},                                                                              \
    {                                                                                                                  \
        .name = "config", .letter = 'c', .value = "FILE", .variable = "PENFOLD_CONFIG",                                \
        .fallback = "/etc/penfold/penfold.conf",                                                                       \
        .sentence = "The configuration, which says where the database is when no server runs."                         \
    }

struct cli_directory;

int cli_directory_open(const struct cli_args *args, struct cli_directory **d) MUST_CHECK;
void cli_directory_close(struct cli_directory *d); /* NULL too */

enum cli_directory_how { CLI_DIRECTORY_EITHER, CLI_DIRECTORY_NEW, CLI_DIRECTORY_OLD };
/* Null removes a setting; "password" and "app_password.NAME" are in the clear and are hashed before they are kept. */
int cli_directory_put(struct cli_directory *d, enum directory_kind kind, const char *key, json_t *entry,
                      enum cli_directory_how how) MUST_CHECK;
int cli_directory_remove(struct cli_directory *d, enum directory_kind kind, const char *key) MUST_CHECK;
/* To be decref'ed; NULL when the status is not EX_OK. */
int cli_directory_get(struct cli_directory *d, enum directory_kind kind, const char *key, json_t **entry) MUST_CHECK;
int cli_directory_list(struct cli_directory *d, enum directory_kind kind, json_t **entries) MUST_CHECK;

/* ---- to look into, as `penfold route` does ---- */

/* The address of a server's admin socket that answers, into url: the configuration's first, unless c was not given by
 * hand and the usual one does.  False: none. */
bool cli_directory_server(const struct cli_args *args, const struct conf *c, struct buf *url) MUST_CHECK;
/* All entries of the server at --url, or where cli_http_at() says, but for passwords. */
int cli_directory_copy(const struct cli_args *args, struct directory *to) MUST_CHECK;

#endif
