/* directory_db.h - domains, accounts, aliases and tokens in the database: rows for the follower, all of them into a
 * struct directory at the start, and changes by who finds no server running.
 *
 *     struct directory_db *o;
 *     if (directory_db_open(&o, data, &w) == OK) {          ERR_EXISTS: a server runs, ask it
 *         e = directory_conf(directory_db_directory(o), conf, &w);      the configuration's entries stand before
 *         e = directory_db_put(o, DIRECTORY_ACCOUNT, key, changes, 1, &w);
 *         directory_db_close(o);
 *     }
 * While it is open no server can start. */
#ifndef STORE_DIRECTORY_DB_H
#define STORE_DIRECTORY_DB_H

#include "policy/directory.h"
#include "store/sqlite.h"

/* Within a transaction of the writer.  The key is one of directory_key(). */
enum err db_entry_put(struct db *db, uint8_t kind, str key, str fields, uint64_t changed_ms, uint64_t *num,
                      struct why *w) MUST_CHECK;
enum err db_entry_delete(struct db *db, uint8_t kind, str key, struct why *w) MUST_CHECK;
/* As it was in a database that is lost, with its number. */
enum err db_entry_again(struct db *db, uint8_t kind, str key, str fields, uint64_t changed_ms, uint64_t num,
                        struct why *w) MUST_CHECK;

struct db_entry {
    uint64_t num;
    uint8_t kind; /* those of later versions, too */
    str key, fields;
};
typedef enum err db_entry_each(void *arg, const struct db_entry *entry); /* its error ends it and is returned */
enum err db_entries(struct db *db, db_entry_each *each, void *arg, struct why *w) MUST_CHECK;
/* All rows, and what the accounts' mailboxes hold. */
enum err db_entries_load(struct db *db, struct directory *d, struct why *w) MUST_CHECK;

/* Into d, without the lock and changing nothing, whether a server runs or not.  ERR_NOT_FOUND: there is no database.
 * After an error d may have some of them. */
enum err directory_db_read(struct directory *d, const char *data, struct why *w) MUST_CHECK;

struct directory_db;
/* The data directory must be there; a database that is not is made.  ERR_EXISTS: another process has it. */
enum err directory_db_open(struct directory_db **out, const char *data, struct why *w) MUST_CHECK;
struct directory *directory_db_directory(struct directory_db *o); /* to look into, and to tell the configuration */
/* As directory_check_put() and directory_check_remove(); OK: it is on stable storage. */
enum err directory_db_put(struct directory_db *o, enum directory_kind kind, str key, str changes, unsigned how,
                          struct why *w) MUST_CHECK;
enum err directory_db_remove(struct directory_db *o, enum directory_kind kind, str key, struct why *w) MUST_CHECK;
void directory_db_close(struct directory_db *o); /* NULL too */

#endif
