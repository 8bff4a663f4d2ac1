/* cli_resolver.h - a resolver of one's own for a command that looks something up: the role, started with the settings a
 * server would give it, asked over its link, ended with the command. */
#ifndef CLI_CLI_RESOLVER_H
#define CLI_CLI_RESOLVER_H

#include "cli/cli_options.h"
#include "conf/conf.h"
#include "dns/dns.h"

#define CLI_RESOLVER_OPTIONS                                                                                           \
    {.name = "config",                                                                                                 \
     .letter = 'c',                                                                                                    \
     .value = "FILE",                                                                                                  \
     .variable = "PENFOLD_CONFIG",                                                                                     \
     .sentence = "The configuration whose settings hold; without it /etc/penfold/penfold.conf, if there is one."},     \
        {.name = "dns",                                                                                                \
         .value = "ADDRESS[:PORT]",                                                                                    \
         .sentence = "The DNS server to ask, in place of the setting dns; system: those of resolv.conf."},             \
    {                                                                                                                  \
        .name = "anchor", .value = "FILE",                                                                             \
        .sentence = "The DNSSEC trust anchor, in place of the setting dns_anchor; "                                    \
                    "none: answers are not validated."                                                                 \
    }

/* The configuration by those options.  CLI_GO_ON, or the status to exit with (told on stderr).  conf_free(c) always;
 * `text` backs it. */
int cli_resolver_conf(const struct cli_args *args, struct conf *c, struct buf *text);

struct cli_resolver;
enum err cli_resolver_start(const struct conf *c, struct cli_resolver **r, struct why *w) MUST_CHECK;
/* Waits for the answer, which lives in the arena; a question that cannot be asked is ERR_SYNTAX. */
enum err cli_resolver_ask(struct cli_resolver *r, str name, uint32_t type, struct arena *a, struct dns_answer *out,
                          struct why *w) MUST_CHECK;
void cli_resolver_end(struct cli_resolver *r); /* NULL is fine */

#endif
