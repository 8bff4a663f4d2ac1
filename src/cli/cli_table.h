/* cli_table.h - rows of the API as a table: aligned and cut for a terminal, whole with tabs for other programs, or the
 * JSON itself with --json. */
#ifndef CLI_CLI_TABLE_H
#define CLI_CLI_TABLE_H

#include <jansson.h>

#include "cli/cli_options.h"

struct cli_column {
    const char *name; /* the member of a row, and the heading on a terminal */
    unsigned width_min;
    unsigned width_max; /* 0: takes what is left over, shared among those that do */
};

/* GET path, whose answer has an array of that name.  The page must have a flag "json". */
int cli_table_print(const struct cli_args *args, const char *path, const char *array, const struct cli_column *columns,
                    size_t count, const char *nothing) MUST_CHECK;
/* Rows that are there already: as a table, or with --json as an object with the array of that name and Count. */
int cli_table_put(const struct cli_args *args, json_t *rows, const char *array, const struct cli_column *columns,
                  size_t count, const char *nothing) MUST_CHECK;
/* The story of a message, in words or as JSON. */
int cli_explain(const struct cli_args *args, const char *id) MUST_CHECK;

#endif
