/* clock.h - time and randomness, for hosts: pure code gets them as arguments. */
#ifndef SYS_CLOCK_H
#define SYS_CLOCK_H

#include <stddef.h>
#include <stdint.h>

uint64_t clock_wall_us(void); /* since 1970, UTC; may jump */
uint64_t clock_mono_ms(void); /* since some moment, never backwards, not even while the wall clock is set */
/* Random bytes for ids, seeds and keys; getrandom(2), buffered.  For one thread of a process. */
void random_bytes(void *p, size_t n);

#endif
