/* directory_impl.h - what the files of the directory share; nobody else includes it. */
#ifndef POLICY_DIRECTORY_IMPL_H
#define POLICY_DIRECTORY_IMPL_H

#include "base/map.h"
#include "policy/directory.h"

enum { DIRECTORY_KINDS = DIRECTORY_TOKEN + 1 };

struct directory_item {
    uint64_t num;
    str key, fields; /* in bytes */
    char bytes[];
};

/* The entries of one kind in the order of their keys. */
struct directory_shelf {
    struct directory_item **list;
    size_t count, room;
};

/* Two layers, the configuration's before the database's. */
enum { LAYER_CONF, LAYER_DB, LAYERS };

struct directory_layer {
    struct directory_shelf shelves[DIRECTORY_KINDS];
};

struct directory_limits {
    uint64_t messages_hour, messages_day, recipients_hour, recipients_day;
};

struct directory {
    struct directory_layer layers[LAYERS];
    struct directory_limits limits; /* account_*: of accounts that have none of their own */
    struct buf first_domain;        /* of the configuration; empty: it has none */
    struct buf postmaster;          /* of the configuration */
    struct map used;                /* struct directory_used by account */
};

struct directory_used {
    uint64_t bytes;
    str account;
    char name[];
};

const struct directory_item *directory_find(const struct directory *d, enum directory_kind kind, str key,
                                            bool *from_conf);
const struct conf_block_kind *directory_block_kind(enum directory_kind kind); /* NULL: a token */
/* The next word of a list of the configuration. */
bool directory_word(str *list, str *word);

#endif
