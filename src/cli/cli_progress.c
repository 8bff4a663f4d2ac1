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

static bool is_due(struct cli_progress *p) {
    uint64_t now = clock_mono_ms();
    if (now < p->next_ms || !isatty(STDERR_FILENO))
        return false;
    p->next_ms = now + EVERY_MS;
    return p->shown = true;
}

void cli_progress_show(struct cli_progress *p, str what, uint64_t count, uint64_t done, uint64_t total) {
    struct buf line = BUF(1024);
    if (!is_due(p))
        return;
    cli_cell(what, WHAT_COLUMNS, &line);
    if (total)
        put_bar(&line, done, total);
    fprintf(stderr, "\r%s, %llu message%s\033[K", buf_cstr(&line), (unsigned long long)count, count == 1 ? "" : "s");
    buf_free(&line);
}

void cli_progress_bytes(struct cli_progress *p, str what, uint64_t done, uint64_t total) {
    char so_far[32], all[32];
    struct buf line = BUF(1024);
    if (!is_due(p))
        return;
    cli_cell(what, WHAT_COLUMNS, &line);
    if (total)
        put_bar(&line, done, total);
    cli_progress_size(so_far, done);
    cli_progress_size(all, total);
    fprintf(stderr, "\r%s, %s of %s\033[K", buf_cstr(&line), so_far, all);
    buf_free(&line);
}

void cli_progress_size(char text[32], uint64_t bytes) {
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB", "PB"};
    double n = (double)bytes;
    size_t unit = 0;
    while (n >= 999.5 && unit + 1 < sizeof units / sizeof *units) {
        n /= 1000;
        unit++;
    }
    snprintf(text, 32, unit && n < 9.95 ? "%.1f %s" : "%.0f %s", n, units[unit]);
}

void cli_progress_clear(struct cli_progress *p) {
    if (p->shown)
        fputs("\r\033[K", stderr);
    p->shown = false;
    p->next_ms = 0;
}
