#include "sys/clock.h"

#include <assert.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

uint64_t clock_wall_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t clock_mono_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* getrandom(2) gives up to 256 bytes whole; it fails only for our mistakes. */
static void fill(uint8_t *p, size_t n) {
    while (n) {
        size_t want = n < 256 ? n : 256;
        ssize_t got = getrandom(p, want, 0);
        assert(got == (ssize_t)want);
        p += want;
        n -= want;
    }
}

void random_bytes(void *p, size_t n) {
    static uint8_t pool[256];
    static size_t left;
    if (n > sizeof pool / 2) {
        fill(p, n);
        return;
    }
    if (left < n) {
        fill(pool, sizeof pool);
        left = sizeof pool;
    }
    left -= n;
    memcpy(p, pool + left, n);
    explicit_bzero(pool + left, n); /* what was given out is not to be found here again */
}
