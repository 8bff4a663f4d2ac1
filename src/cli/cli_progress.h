/* cli_progress.h - how far a long command is, as one line of the terminal that stderr is; without one: nothing.
 *     INBOX [=========               ] 41%, 1234 messages */
#ifndef CLI_CLI_PROGRESS_H
#define CLI_CLI_PROGRESS_H

#include "base/str.h"

struct cli_progress {
    uint64_t next_ms; /* not before, so that showing costs nothing */
    bool shown;
};

/* `count` things are done, and of `total` (0: nobody knows) units `done`.  what: as it came, it is cleaned here. */
void cli_progress_show(struct cli_progress *p, str what, uint64_t count, uint64_t done, uint64_t total);
/* The same of bytes. */
void cli_progress_bytes(struct cli_progress *p, str what, uint64_t done, uint64_t total);
void cli_progress_clear(struct cli_progress *p); /* before anything else is written, and at the end */

void cli_progress_size(char text[32], uint64_t bytes); /* "1.5 GB" */

#endif
