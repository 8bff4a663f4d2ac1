/* directory.h - who is here: domains, accounts, aliases, and tokens of the API, in memory.  Pure.
 * The store holds one, filled from the configuration's blocks and from the database; it answers LOOKUP frames with it.
 * `penfold route` and the tests of a configuration hold another.  Keys are compared with domains and local parts in
 * lower case (ASCII) and domains as A-labels where they can be; what is kept is what was given.
 *
 * An entry is a kind, a key and fields (base/fields.h) whose names are the settings of the block of that kind
 * (conf.def): an account's "password" is a credential (mailauth/credential.h), several app passwords are fields
 * "app.NAME".  A token's key is the hex SHA-256 of what the client shows; its fields: "name", "role" (admin, operator,
 * reader, send), "account". */
#ifndef POLICY_DIRECTORY_H
#define POLICY_DIRECTORY_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "conf/conf.h"

enum directory_kind { /* stored: never reuse a number */
                      DIRECTORY_DOMAIN = 1,
                      DIRECTORY_ACCOUNT,
                      DIRECTORY_ALIAS,
                      DIRECTORY_TOKEN,
};
const char *directory_kind_name(enum directory_kind kind); /* "account" */

struct directory;
struct directory *directory_new(uint64_t random_seed); /* NULL: no memory */
void directory_free(struct directory *d);

/* Is that an entry?  ERR_SYNTAX with a sentence: a bad key, an unknown field, a bad value.  ERR_NOT_FOUND: its domain
 * is not there. */
enum err directory_check(const struct directory *d, enum directory_kind kind, str key, str fields,
                         struct why *w) MUST_CHECK;
/* num: of its row, for accounts the number their mailboxes go by; 0: from the configuration, whose entries cannot be
 * changed and stand before those of the database.  Replaces. */
enum err directory_put(struct directory *d, enum directory_kind kind, str key, str fields, uint64_t num) MUST_CHECK;
bool directory_remove(struct directory *d, enum directory_kind kind, str key);
enum err directory_conf(struct directory *d, const struct conf *c, struct why *w) MUST_CHECK; /* its blocks, anew */

struct directory_entry {
    enum directory_kind kind;
    str key, fields; /* the directory's, until the next change */
    uint64_t num;
    bool from_conf;
};
bool directory_get(const struct directory *d, enum directory_kind kind, str key, struct directory_entry *e);
/* Those of a kind with this prefix, in order of their keys, behind `after`; false: no more. */
bool directory_next(const struct directory *d, enum directory_kind kind, str prefix, str after,
                    struct directory_entry *e);

enum directory_status {
    DIRECTORY_NOT_LOCAL, /* its domain is not ours */
    DIRECTORY_UNKNOWN,   /* its domain is, the address is not */
    DIRECTORY_IS_ACCOUNT,
    DIRECTORY_IS_ALIAS,
};

/* What the directory says of an address, looked up exactly, then without its detail, then by its domain's alias_of and
 * catch_all; "postmaster" without a domain is that of the first local domain; an address without a domain is of the
 * first local one. */
struct directory_answer {
    str address; /* that was asked for, as it was asked */
    enum directory_status status;
    str account;  /* IS_ACCOUNT (or alias with keep): its key ... */
    uint64_t num; /* ... and number */
    str detail;   /* "lists" of ada+lists@: a folder, if there is one of that name */
    str *targets; /* IS_ALIAS */
    size_t target_count;
    bool keep;     /* IS_ALIAS of an account's own address: it gets a copy */
    str via;       /* for explain: "catch_all of example.org", "alias team@example.org"; empty for an account */
    bool may_send; /* the user that was named may send as this address */
    bool full;     /* the account is over its quota: answered 452 */
    uint64_t messages_hour, messages_day, recipients_hour, recipients_day; /* of the account */
};

void directory_lookup(const struct directory *d, str address, str user, struct arena *a, struct directory_answer *out);
void directory_answer_put(struct buf *out, const struct directory_answer *a);
enum err directory_answer_take(str bytes, struct arena *a, struct directory_answer *out) MUST_CHECK;

/* An address cut at its last @ outside of quotes; false: there is none (local is all of it). */
bool address_cut(str address, str *local, str *domain);
/* As a key: domain in lower case and without its trailing dot, local part in lower case and unquoted where it need not
 * be quoted.  ERR_SYNTAX, ERR_LIMIT. */
enum err address_key(str address, struct buf *out) MUST_CHECK;

#endif
