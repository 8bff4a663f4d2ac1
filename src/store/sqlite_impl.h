/* sqlite_impl.h - what the files of the database share (sqlite.c, delivery_rows.c, mailbox_rows.c); nobody else
 * includes it. A statement is a row of statements.def: query_begin, bind in order, then query_run, or query_row until
 * there are no more and query_end. */
#ifndef STORE_SQLITE_IMPL_H
#define STORE_SQLITE_IMPL_H

#include <sqlite3.h>

#include "base/arena.h"
#include "store/sqlite.h"

enum sql {
#define SQL(NAME, text) SQL_##NAME,
#include "store/statements.def"
#undef SQL
    SQL_COUNT
};

struct db {
    sqlite3 *sqlite;
    sqlite3_stmt *statements[SQL_COUNT];
    struct db_state state, before; /* before: as at BEGIN */
    bool durable;                  /* synchronous=FULL is on */
    struct arena arena;            /* for what one call takes apart */
};

struct query {
    struct db *db;
    sqlite3_stmt *s;
    int next; /* parameter to bind, or column to read */
};

enum err db_refused(struct db *db, struct why *w);
enum err query_begin(struct db *db, enum sql which, struct query *q, struct why *w) MUST_CHECK;
void bind_u64(struct query *q, uint64_t v);
void bind_text(struct query *q, str v);
void bind_blob(struct query *q, str v);
/* A row: *more is true and its columns can be taken, in order. */
enum err query_row(struct query *q, bool *more, struct why *w) MUST_CHECK;
uint64_t column_u64(struct query *q);
str column_text(struct query *q);
void query_end(struct query *q);
enum err query_run(struct query *q, struct why *w) MUST_CHECK;
enum err run_num(struct db *db, enum sql which, uint64_t a, struct why *w) MUST_CHECK;

#endif
