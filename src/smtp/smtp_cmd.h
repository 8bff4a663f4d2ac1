/* smtp_cmd.h - one SMTP command line in, one value out (RFC 5321 4.1.1).  The commands are the rows of smtp_cmd.def:
 * what argument each takes and in which states it is allowed.
 * Pure: no I/O, no allocation, no clock.  Results point into the input. */
#ifndef SMTP_SMTP_CMD_H
#define SMTP_SMTP_CMD_H

#include "base/err.h"
#include "smtp/smtp_path.h"

/* Where a session stands between commands.
 *      NEW --EHLO/HELO/LHLO--> READY --MAIL--> MAIL --RCPT ok--> RCPT --BDAT (not LAST)--> CHUNK
 *                                ^--------- RSET, EHLO, end of message, from all ----------'
 *      STARTTLS done, XCLIENT: back to NEW */
enum smtp_state { SMTP_NEW, SMTP_READY, SMTP_MAIL, SMTP_RCPT, SMTP_CHUNK, SMTP_STATES };

enum smtp_verb {
    SMTP_V_UNKNOWN,
#define VERB(NAME, argument, states, syntax) SMTP_V_##NAME,
#include "smtp/smtp_cmd.def"
#undef VERB
    SMTP_VERBS
};

struct smtp_cmd {
    enum smtp_verb verb;
    str name;              /* the verb as given */
    str arg;               /* all behind it, trimmed; AUTH: the mechanism; BDAT: the size */
    struct smtp_path path; /* MAIL, RCPT */
    str params;            /* MAIL, RCPT */
    uint64_t size;         /* BDAT */
    bool last;             /* BDAT */
    str initial;           /* AUTH: the initial response, still base64 */
    bool has_initial;
    enum smtp_path_fault fault; /* after ERR_SYNTAX of MAIL and RCPT: what of the path */
};

/* OK; ERR_NOT_FOUND: no such verb; ERR_UNSUPPORTED: another protocol's (HTTP); ERR_SYNTAX: bad argument; ERR_LIMIT:
 * a BDAT size beyond 64 bits.  line is without its CRLF and has none of CR, LF, NUL in it. */
enum err smtp_cmd_parse(str line, struct smtp_cmd *cmd) MUST_CHECK;

bool smtp_cmd_allowed(enum smtp_verb v, enum smtp_state s);
str smtp_cmd_name(enum smtp_verb v);
str smtp_cmd_syntax(enum smtp_verb v); /* "RCPT TO:<address> [parameters]": for HELP and for 501 */

#endif
