/* cli.h - the subcommands of penfold: a function and a page each, in the table of main.c.
 * argv[0] is the subcommand's name; the result is the exit status (sysexits.h). */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "cli/cli_options.h"

int cmd_sandbox(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_conf(int argc, char **argv);
int cmd_route(int argc, char **argv);
int cmd_store(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_show(int argc, char **argv);
int cmd_send(int argc, char **argv);
int cmd_account(int argc, char **argv);
int cmd_alias(int argc, char **argv);
int cmd_domain(int argc, char **argv);
int cmd_mailbox(int argc, char **argv);
int cmd_queue(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_trace(int argc, char **argv);
int cmd_token(int argc, char **argv);
int cmd_log(int argc, char **argv);
int cmd_dns(int argc, char **argv);
int cmd_mx(int argc, char **argv);
int cmd_init(int argc, char **argv);
int cmd_backup(int argc, char **argv);
int cmd_restore(int argc, char **argv);
int cmd_sendmail(int argc, char **argv); /* argv[0]: sendmail, mailq or newaliases */

extern const struct cli_page cli_sandbox_page;
extern const struct cli_page cli_serve_page;
extern const struct cli_page cli_conf_page;
extern const struct cli_page cli_route_page;
extern const struct cli_page cli_store_page;
extern const struct cli_page cli_list_page;
extern const struct cli_page cli_show_page;
extern const struct cli_page cli_send_page;
extern const struct cli_page cli_account_page;
extern const struct cli_page cli_alias_page;
extern const struct cli_page cli_domain_page;
extern const struct cli_page cli_mailbox_page;
extern const struct cli_page cli_queue_page;
extern const struct cli_page cli_explain_page;
extern const struct cli_page cli_trace_page;
extern const struct cli_page cli_token_page;
extern const struct cli_page cli_log_page;
extern const struct cli_page cli_dns_page;
extern const struct cli_page cli_mx_page;
extern const struct cli_page cli_init_page;
extern const struct cli_page cli_sendmail_page;
extern const struct cli_page cli_backup_page;
extern const struct cli_page cli_restore_page;

#endif
