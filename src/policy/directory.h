/* directory.h - who is here: domains, accounts, aliases, and tokens of the API, in memory.  Pure.
 * The store holds one, filled from the configuration's blocks and from the database; it answers LOOKUP frames with it.
 * `penfold route` and the tests of a configuration hold another.  A key is kept, compared and given back as
 * directory_key() makes it: local part (ASCII) and domain in lower case, the domain with A-labels; wherever a function
 * takes a key, any spelling of it does.
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

/* The key as it is kept: a domain's, an address (with its domain), or 64 hex digits of a token.  ERR_SYNTAX with a
 * sentence. */
enum err directory_key(enum directory_kind kind, str key, struct buf *out, struct why *w) MUST_CHECK;

enum { DIRECTORY_TARGETS_MAX = 48 * 1024 }; /* bytes of an alias's `to` */

struct directory;
struct directory *directory_new(uint64_t random_seed); /* NULL: no memory */
void directory_free(struct directory *d);

/* Is that an entry?  ERR_SYNTAX with a sentence: a bad key, an unknown field, a bad value.  ERR_NOT_FOUND: its domain
 * is not there. */
enum err directory_check(const struct directory *d, enum directory_kind kind, str key, str fields,
                         struct why *w) MUST_CHECK;
/* A change as ENTRY_PUT asks for it: how 0 either, 1 only a new one, 2 only one that is there.  OK: its key and the
 * fields it will have, the old ones with those of `changes` in place of theirs (an empty value removes).  Besides
 * directory_check()'s: ERR_EXISTS, ERR_NOT_FOUND, and ERR_DENIED for an entry of the configuration. */
enum err directory_check_put(const struct directory *d, enum directory_kind kind, str key, str changes, unsigned how,
                             struct buf *new_key, struct buf *new_fields, struct why *w) MUST_CHECK;
/* May it go?  ERR_NOT_FOUND, ERR_DENIED, or ERR_EXISTS: a domain that has accounts or aliases. */
enum err directory_check_remove(const struct directory *d, enum directory_kind kind, str key, struct buf *its_key,
                                struct why *w) MUST_CHECK;
/* num: of its row, for accounts the number their mailboxes go by; 0: from the configuration, whose entries cannot be
 * changed and stand before those of the database.  Replaces. */
enum err directory_put(struct directory *d, enum directory_kind kind, str key, str fields, uint64_t num) MUST_CHECK;
bool directory_remove(struct directory *d, enum directory_kind kind, str key);
/* The configuration's blocks and limits in place of those it had; on an error nothing has changed. */
enum err directory_conf(struct directory *d, const struct conf *c, struct why *w) MUST_CHECK;
/* So many bytes are in the account's mailboxes: from then on answers say `full` when that is its quota or more. */
enum err directory_use(struct directory *d, str account, uint64_t bytes) MUST_CHECK;
void directory_used_more(struct directory *d, str account, uint64_t bytes); /* so many more */

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

/* The account somebody means who logs in with this name: its address, with the first local domain when it has none, a
 * spelling of it, or the same name in a domain that is alias_of its own. */
bool directory_account(const struct directory *d, str name, struct directory_entry *e);

void directory_lookup(const struct directory *d, str address, str user, struct arena *a, struct directory_answer *out);
void directory_answer_put(struct buf *out, const struct directory_answer *a);
enum err directory_answer_take(str bytes, struct arena *a, struct directory_answer *out) MUST_CHECK;

/* An address cut at its last @ outside of quotes; false: there is none (local is all of it). */
bool address_cut(str address, str *local, str *domain);
/* As a key: domain in lower case and without its trailing dot, local part in lower case and unquoted where it need not
 * be quoted.  ERR_SYNTAX, ERR_LIMIT. */
enum err address_key(str address, struct buf *out) MUST_CHECK;

#endif
