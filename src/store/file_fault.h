/* file_fault.h - a disk for tests, in memory.  It counts the calls that change something; the n-th of them can be made
 * to fail, and so can all behind it.  fault_power_cut() leaves what a real disk would: what was synced, and of the rest
 * any subset of 512-byte sectors and of directory entries. */
#ifndef STORE_FILE_FAULT_H
#define STORE_FILE_FAULT_H

#include "store/file.h"

enum fault_kind {
    FAULT_NONE,
    FAULT_EIO,
    FAULT_ENOSPC,
    FAULT_SHORT, /* a write stops half way, then fails for want of space */
    FAULT_POWER, /* the machine stops: this call and all later ones fail, until fault_power_cut() */
};

struct fault_disk;

struct fault_disk *fault_disk_new(uint64_t seed);
void fault_disk_free(struct fault_disk *f);
struct disk *fault_disk(struct fault_disk *f);

/* The at-th changing call from now (1: the next) fails in this way, and so do the following, `times` in all
 * (0: all of them until the next fault_set). */
void fault_set(struct fault_disk *f, enum fault_kind kind, uint64_t at, uint64_t times);
uint64_t fault_calls(const struct fault_disk *f); /* changing calls so far */
void fault_space(struct fault_disk *f, uint64_t free_bytes);

/* All descriptors are gone and so is what was not synced; then the disk works again. */
void fault_power_cut(struct fault_disk *f);
/* The process died, the machine did not: nothing is lost but the descriptors. */
void fault_process_death(struct fault_disk *f);

uint64_t fault_random(struct fault_disk *f);
bool fault_flip(struct fault_disk *f, const char *path, uint64_t offset, unsigned bit); /* false: not there */

#endif
