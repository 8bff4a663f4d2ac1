/* directory_file.h - domains, accounts, aliases and tokens a second time, for the day when the database is lost:
 * <data>/directory.  A change is appended and synced before it is answered; when the file has grown by much it is
 * written anew.  The database goes before: the file is read where that is new, and never compared.
 *
 *     "PFD1", then for each change:  u32 crc32c of all that follows  u32 length of what follows
 *         u64 row's number  u8 kind  u8 removed  lstr key  lstr fields
 * What fails its check ends it: it was being written when the power failed, and nobody was told of it. */
#ifndef STORE_DIRECTORY_FILE_H
#define STORE_DIRECTORY_FILE_H

#include "store/directory_db.h"

struct directory_file {
    struct disk *disk;
    const char *data;
    char path[JOURNAL_PATH], next[JOURNAL_PATH];
    uint64_t size, made; /* bytes in it, 0: there is none; and when it was written anew */
    bool behind;         /* it could not be written: it is to be made anew */
};

void directory_file_init(struct directory_file *f, struct disk *d, const char *data); /* data: the caller's */

/* For a database that is new: puts into it what the file has.  *rows: how many these are. */
enum err directory_file_recall(const struct directory_file *f, struct db *db, uint64_t *rows, struct why *w) MUST_CHECK;
/* Writes it anew, of what the database has; without entries there is no file. */
enum err directory_file_make(struct directory_file *f, struct db *db, struct why *w) MUST_CHECK;

/* A change that the database has already, for directory_file_add(). */
void directory_file_put(struct buf *out, uint8_t kind, str key, str fields, uint64_t num, bool removed);
/* On stable storage when it is OK.  Else it is made anew with the next one. */
enum err directory_file_add(struct directory_file *f, struct db *db, str changes, struct why *w) MUST_CHECK;

#endif
