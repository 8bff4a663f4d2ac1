/* cli_conf.h - configuration at the edge: reads files, asks the system what the pure parser cannot, and starts the
 * supervisor. */
#ifndef CLI_CLI_CONF_H
#define CLI_CLI_CONF_H

#include <limits.h>

#include "cli/cli_options.h"
#include "conf/conf.h"

#define CLI_CONF_FILE "/etc/penfold/penfold.conf"

/* The text of a configuration file, "-" is stdin.  ERR_NOT_FOUND, ERR_IO, ERR_LIMIT with a sentence. */
enum err cli_conf_load(const char *path, struct buf *text, struct why *w) MUST_CHECK;

/* Conf_check, and what only the system knows: relative paths become absolute (those of a file count from its directory,
 * others from the current one), named files must be there and fit, the user must exist.  All complaints go to errors.
 */
enum err cli_conf_check(struct conf *c, struct conf_errors *errors) MUST_CHECK;

/* The paths alone. */
enum err cli_conf_absolute(struct conf *c, struct conf_errors *errors) MUST_CHECK;

/* Prints the errors to stderr and returns status. */
int cli_conf_complain(struct conf_errors *errors, int status);

/* $XDG_STATE_HOME/penfold or ~/.local/state/penfold into path; "" when there is no home. */
void cli_conf_state_home(char *path, size_t size);

/* A command that works on a data directory: parses its arguments, reads the configuration that --config names (without
 * it c has the defaults), and calls run with both; frees all and returns run's status, or that of what was wrong. */
int cli_conf_run(const struct cli_page *page, int argc, char **argv,
                 int (*run)(const struct cli_args *args, struct conf *c));

/* The data directory that a command's --data or --config names, else a sandbox's, which is written into home. */
const char *cli_conf_data(const struct cli_args *args, const struct conf *c, char home[PATH_MAX]);

/* The data directory, made 0700 (with its parents, and given to c->user when root makes it) unless it is there. */
enum err cli_conf_make_data(const struct conf *c, struct why *w) MUST_CHECK;

/* The system's name, for a hostname that is not set. */
enum err cli_conf_fill_hostname(struct conf *c, struct conf_errors *errors) MUST_CHECK;

/* Where the executable of a role is, beside this program or in $PENFOLD_LIBEXEC; false: nowhere. */
bool cli_conf_find_role(const char *role, char path[PATH_MAX]) MUST_CHECK;

/* Becomes the supervisor; returns only on failure, with the status.  The contract with src/role/supervisor.c:
 * descriptor 3 is a memory file with conf_write()'s text, at its beginning; sockets from the service manager
 * (LISTEN_FDS) follow from 4 on instead of 3; argv is "supervisor", "sandbox" or "server", and then a command that
 * prints the configuration anew (stdout: conf_write's text, status 0) or says what is wrong with it (stderr): for
 * SIGHUP. */
int cli_conf_launch(const struct cli_page *page, const struct conf *c, int argc, char **argv);

#endif
