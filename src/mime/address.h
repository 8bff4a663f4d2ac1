/* address.h - address lists of From, To, Cc ... (RFC 5322 3.4, 4.4; RFC 6532), read liberally.
 * Pure.  Groups, comments, quoted local parts, routes, domain literals, spaces around dots, ";" between addresses,
 * names in comments, names with unquoted dots and encoded words, missing ">" ...: whatever comes, an entry comes out
 * of it and the walk goes on.
 *     struct address_iter it = ADDRESS_ITER(value);
 *     while (address_next(&it, &a)) ...
 *     address_iter_free(&it); */
#ifndef MIME_ADDRESS_H
#define MIME_ADDRESS_H

#include "base/buf.h"

enum { ADDRESS_LIST_MAX = 10000, ADDRESS_NAME_MAX = 4096, ADDRESS_SIZE_MAX = 2048 };

/* All are UTF-8 without controls, valid until the next call of address_next(). */
struct address {
    str name;    /* decoded display name, or the comment in its place; may be empty */
    str address; /* local@domain without blanks and comments; without "@" when the mail gave none; may be empty */
    str local;   /* of address, quotes included */
    str domain;  /* empty without "@" */
    str group;   /* decoded name of the group it stands in, else empty */
    str raw;     /* where the address stands in the list, as it was written; empty without one */
};

struct address_iter {
    str rest;
    unsigned count;
    bool in_group;
    /* one entry in the making */
    bool angle, closed, quoted, bare_done;
    size_t word_from, word_to;     /* where in phrase the word that is in `bare` stands */
    const char *raw_from, *raw_to; /* where in the list it stands */
    struct buf phrase, bare, comment, name, address, group;
};

#define ADDRESS_ITER(list)                                                                                             \
    ((struct address_iter){.rest = (list),                                                                             \
                           .phrase = BUF(ADDRESS_NAME_MAX),                                                            \
                           .bare = BUF(ADDRESS_SIZE_MAX),                                                              \
                           .comment = BUF(ADDRESS_NAME_MAX),                                                           \
                           .name = BUF(4 * ADDRESS_NAME_MAX),                                                          \
                           .address = BUF(4 * ADDRESS_SIZE_MAX),                                                       \
                           .group = BUF(4 * ADDRESS_NAME_MAX)})

/* False at the end of the list, or after ADDRESS_LIST_MAX entries. */
bool address_next(struct address_iter *it, struct address *a);
void address_iter_free(struct address_iter *it);

/* local@domain at the last "@"; domain is empty when there is none. */
void address_split(str address, str *local, str *domain);

/* The same mailbox for people: domains compare without case, so do local parts.  address_cmp() is an order in which
 * the same ones are neighbours. */
bool address_same(str a, str b);
int address_cmp(str a, str b);

#endif
