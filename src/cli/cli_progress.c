#include "cli/cli_progress.h"

#include <stdio.h>
#include <unistd.h>

#include "cli/cli_http.h"
#include "sys/clock.h"

enum { EVERY_MS = 100, BAR = 24, WHAT_COLUMNS = 24 };

static void put_bar(struct buf *line, uint64_t done, uint64_t total) {
    unsigned percent = done >= total ? 100 : (unsigned)(done * 100 / total), filled = percent * BAR / 100;
    buf_add(line, S(" ["));
    buf_fill(line, '=', filled);
    buf_fill(line, ' ', BAR - filled);
    buf_printf(line, "] %u%%", percent);
}

void cli_progress_show(struct cli_progress *p, str what, uint64_t count, uint64_t done, uint64_t total) {
    uint64_t now = clock_mono_ms();
    struct buf line = BUF(1024);
    if (now < p->next_ms || !isatty(STDERR_FILENO))
        return;
    p->next_ms = now + EVERY_MS;
    p->shown = true;
    cli_cell(what, WHAT_COLUMNS, &line);
    if (total)
        put_bar(&line, done, total);
    fprintf(stderr, "\r%s, %llu message%s\033[K", buf_cstr(&line), (unsigned long long)count, count == 1 ? "" : "s");
    buf_free(&line);
}

void cli_progress_clear(struct cli_progress *p) {
    if (p->shown)
        fputs("\r\033[K", stderr);
    p->shown = false;
    p->next_ms = 0;
}
