/* backup_files.h - the files of a backup: copying them with a digest, the list of them, and the end of what is only
 * half there.
 *
 * <backup>/backup.json   the list, written last: without it there is no backup
 *          penfold.db, journal/, big/, secrets/, tls/   as they are in a data directory
 *
 * A data directory belongs to the user of the roles, whom root does not trust: folders are opened one by one and no
 * link is followed. */
#ifndef CLI_BACKUP_FILES_H
#define CLI_BACKUP_FILES_H

#include "base/arena.h"
#include "base/err.h"

enum { BACKUP_FORMAT = 1, BACKUP_NAME = 256, BACKUP_SUM = 32 /* of SHA-256 */ };

/* The folders of a data directory that a backup has; "" is the directory itself. */
enum backup_folder { BACKUP_TOP, BACKUP_JOURNAL, BACKUP_BIG, BACKUP_SECRETS, BACKUP_TLS, BACKUP_FOLDERS };
const char *backup_folder_name(enum backup_folder folder);

struct backup_file {
    enum backup_folder folder;
    char name[BACKUP_NAME];
    uint64_t size;
    bool zeros; /* there is nothing else in it; of what was copied */
    uint8_t sum[BACKUP_SUM];
};

struct backup_list {
    uint64_t made_ms, segment_size, bytes;
    struct backup_file *files;
    size_t count, room;
};

enum err backup_list_add(struct backup_list *l, const struct backup_file *f, struct why *w) MUST_CHECK;
void backup_list_free(struct backup_list *l);
/* Synced under another name, then renamed: it is there or it is not. */
enum err backup_list_write(const struct backup_list *l, int dir, struct why *w) MUST_CHECK;
/* ERR_NOT_FOUND: no backup, or one that was not finished.  ERR_VERSION: of a newer Penfold.  ERR_CORRUPT. */
enum err backup_list_read(struct backup_list *l, int dir, struct why *w) MUST_CHECK;

/* A folder of a directory.  Opening: -1 and errno; made 0700 with `make`.  BACKUP_TOP: another descriptor of dir. */
int backup_folder_open(int dir, enum backup_folder folder, bool make);

/* Called after each piece; its error ends the copying and is returned. */
typedef enum err backup_piece(void *arg, uint64_t bytes, struct why *w);

/* Copies f->name from one folder to another, where it must not be: `limit` bytes of it (UINT64_MAX: all), synced.
 * Zeros become holes.  f->size and f->sum tell what was copied.  ERR_NOT_FOUND: it is not there (any more). */
enum err backup_copy(int from, int to, uint64_t limit, struct backup_file *f, backup_piece *piece, void *arg,
                     struct why *w) MUST_CHECK;
/* The digest of a file that is there already, which is synced, too. */
enum err backup_sum(int dir, struct backup_file *f, backup_piece *piece, void *arg, struct why *w) MUST_CHECK;

/* Names of the plain files in a folder; closed folders and those that are not there have none. */
typedef enum err backup_each(void *arg, const char *name, uint64_t size, struct why *w);
enum err backup_names(int dir, backup_each *each, void *arg, struct why *w) MUST_CHECK;

bool backup_is_empty(int dir);
void backup_clear(int dir); /* removes all that is in it, two folders deep; what cannot be removed stays */

#endif
