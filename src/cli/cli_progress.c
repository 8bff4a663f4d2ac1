#include "cli/cli_progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sys/clock.h"

enum { EVERY_MS = 100, WIDTH = 30 };

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

static void draw(struct cli_progress *p) {
    char bar[WIDTH + 1], done[32], all[32];
    uint64_t part = p->all && p->done < p->all ? p->done * 1000 / p->all : p->all ? 1000 : 0;
    memset(bar, '-', WIDTH);
    memset(bar, '#', part * WIDTH / 1000);
    bar[WIDTH] = '\0';
    cli_progress_size(done, p->done);
    cli_progress_size(all, p->all);
    fprintf(stderr, "\r[%s] %3u %%  %s of %s\033[K", bar, (unsigned)(part / 10), done, all);
    p->drawn = true;
}

void cli_progress_start(struct cli_progress *p, uint64_t all) {
    *p = (struct cli_progress){.all = all, .on = isatty(STDERR_FILENO)};
}

void cli_progress_more(struct cli_progress *p, uint64_t bytes) {
    uint64_t now = p->on ? clock_mono_ms() : 0;
    p->done += bytes;
    if (!p->on || now < p->next_ms)
        return;
    p->next_ms = now + EVERY_MS;
    draw(p);
}

void cli_progress_end(struct cli_progress *p) {
    if (p->drawn)
        fputs("\r\033[K", stderr);
    p->drawn = p->on = false;
}
