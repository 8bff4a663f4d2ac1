/* cli_progress.h - a bar on stderr for what takes long; nothing where stderr is no terminal. */
#ifndef CLI_CLI_PROGRESS_H
#define CLI_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct cli_progress {
    uint64_t all, done; /* bytes; all may be corrected on the way */
    uint64_t next_ms;
    bool on, drawn;
};

void cli_progress_start(struct cli_progress *p, uint64_t all);
void cli_progress_more(struct cli_progress *p, uint64_t bytes);
void cli_progress_end(struct cli_progress *p); /* the line is free again; before anything else is written */

/* "1.5 GB" */
void cli_progress_size(char text[32], uint64_t bytes);

#endif
