/* conf.h - the configuration: text in, struct conf out, and back.  Pure.
 *
 * The language: one setting a line, `key value`; the value is the rest of the line, or a "quoted string" with \" and
 * \\;
 * `#` at the start of a line or behind a space begins a comment; blocks are `listen NAME {`, settings, `}`.
 * The settings are the rows of conf.def.  A unit belongs to every size (B KiB MiB GiB, also K M G, KB MB GB: all
 * binary) and every duration (ms s m h d, also 1h30m); only 0 may stand without.
 *
 * All errors are found at once and kept in struct conf_errors, each with file and line.
 *
 *     struct conf c;
 *     struct conf_errors errors = {0};
 *     if (conf_parse(text, "penfold.conf", &c, &errors) != OK)
 *         conf_errors_put(&out, &errors);     "penfold.conf:12: unknown setting "x" ...\n"
 *     conf_errors_free(&errors);
 *     conf_free(&c);                          always, also after an error
 *
 * After conf_check (and so after conf_parse) no listen block is off, and none of SMTP or LMTP has policy or framing
 * auto. */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include "conf/conf_net.h"

/* The words of conf.def's CHOICE rows. */
enum conf_mode { CONF_MODE_SANDBOX, CONF_MODE_SERVER };
enum conf_log { CONF_LOG_STDERR, CONF_LOG_FILE, CONF_LOG_JOURNAL };
enum conf_log_format { CONF_LOG_FORMAT_TEXT, CONF_LOG_FORMAT_JSON };
enum conf_log_level { CONF_LOG_LEVEL_DEBUG, CONF_LOG_LEVEL_INFO, CONF_LOG_LEVEL_WARNING, CONF_LOG_LEVEL_ERROR };
enum conf_protocol { CONF_PROTOCOL_SMTP, CONF_PROTOCOL_LMTP, CONF_PROTOCOL_HTTP };
enum conf_tls { CONF_TLS_NONE, CONF_TLS_STARTTLS, CONF_TLS_IMPLICIT };
enum conf_policy { CONF_POLICY_AUTO, CONF_POLICY_SANDBOX, CONF_POLICY_MX, CONF_POLICY_SUBMISSION };
enum conf_framing { CONF_FRAMING_AUTO, CONF_FRAMING_KEEP, CONF_FRAMING_REJECT, CONF_FRAMING_NORMALIZE };
enum conf_auth { CONF_AUTH_NONE, CONF_AUTH_OFFERED, CONF_AUTH_REQUIRED };
enum conf_access { CONF_ACCESS_AUTO, CONF_ACCESS_OPEN, CONF_ACCESS_TOKEN };
enum conf_yesno { CONF_YESNO_ANY, CONF_YESNO_YES, CONF_YESNO_NO };
enum conf_action {
    CONF_ACTION_MAILBOX,
    CONF_ACTION_RELAY,
    CONF_ACTION_SMARTHOST,
    CONF_ACTION_LMTP,
    CONF_ACTION_CAPTURE,
    CONF_ACTION_FORWARD,
    CONF_ACTION_PIPE,
    CONF_ACTION_WEBHOOK,
    CONF_ACTION_DISCARD,
    CONF_ACTION_REJECT
};
enum conf_route_tls {
    CONF_ROUTE_TLS_AUTO,
    CONF_ROUTE_TLS_NONE,
    CONF_ROUTE_TLS_OPPORTUNISTIC,
    CONF_ROUTE_TLS_REQUIRED,
    CONF_ROUTE_TLS_VERIFY,
    CONF_ROUTE_TLS_IMPLICIT
};

enum conf_format { CONF_FORMAT_JSON, CONF_FORMAT_MESSAGE };

/* What a setting is in C.  Texts are never NULL and have a NUL behind them; sizes are bytes, durations milliseconds. */
#define CONF_C_BOOL bool
#define CONF_C_INT uint64_t
#define CONF_C_SIZE uint64_t
#define CONF_C_DURATION uint64_t
#define CONF_C_TEXT str
#define CONF_C_PATH str
#define CONF_C_ENUM(type) enum conf_##type
#define CONF_C_ADDRESS struct conf_address
#define CONF_C_NETWORKS struct conf_networks
#define CONF_C_LIST struct conf_list

/* Words, separated by commas or spaces; each is never empty and has a NUL behind it. */
struct conf_list {
    str *list;
    size_t count;
};

/* Where a setting was given; where is NULL for one that has its default, line is 0 when there are no lines. */
struct conf_place {
    const char *where;
    unsigned line;
};

enum conf_key {
#define CONF(name, type, fallback, min, max, sentence) CONF_KEY_##name,
#include "conf/conf.def"
    CONF_KEYS
};

enum conf_listen_key {
#define LISTEN(name, type, fallback, min, max, sentence) CONF_LISTEN_KEY_##name,
#include "conf/conf.def"
    CONF_LISTEN_KEYS
};

enum conf_domain_key {
#define DOMAIN(name, type, fallback, min, max, sentence) CONF_DOMAIN_KEY_##name,
#include "conf/conf.def"
    CONF_DOMAIN_KEYS
};

enum conf_account_key {
#define ACCOUNT(name, type, fallback, min, max, sentence) CONF_ACCOUNT_KEY_##name,
#include "conf/conf.def"
    CONF_ACCOUNT_KEYS
};

enum conf_alias_key {
#define ALIAS(name, type, fallback, min, max, sentence) CONF_ALIAS_KEY_##name,
#include "conf/conf.def"
    CONF_ALIAS_KEYS
};

enum conf_route_key {
#define ROUTE(name, type, fallback, min, max, sentence) CONF_ROUTE_KEY_##name,
#include "conf/conf.def"
    CONF_ROUTE_KEYS
};

enum conf_rewrite_key {
#define REWRITE(name, type, fallback, min, max, sentence) CONF_REWRITE_KEY_##name,
#include "conf/conf.def"
    CONF_REWRITE_KEYS
};

enum conf_site_key {
#define SITE(name, type, fallback, min, max, sentence) CONF_SITE_KEY_##name,
#include "conf/conf.def"
    CONF_SITE_KEYS
};

enum conf_test_key {
#define TEST(name, type, fallback, min, max, sentence) CONF_TEST_KEY_##name,
#include "conf/conf.def"
    CONF_TEST_KEYS
};

/* Every block begins with these; its settings and where they were given follow.  `title` is the name in its opening
 * line: a domain for domain blocks, an address for account and alias, else 1 to CONF_NAME_MAX of a-z 0-9 _ -. */
struct conf_listen {
    str name;
    struct conf_place place; /* of the block */
    struct conf_place places[CONF_LISTEN_KEYS];
#define LISTEN(name, type, fallback, min, max, sentence) CONF_C_##type name;
#include "conf/conf.def"
};

struct conf_domain {
    str title;
    struct conf_place place; /* of the block */
    struct conf_place places[CONF_DOMAIN_KEYS];
#define DOMAIN(name, type, fallback, min, max, sentence) CONF_C_##type name;
#include "conf/conf.def"
};

struct conf_account {
    str title;
    struct conf_place place; /* of the block */
    struct conf_place places[CONF_ACCOUNT_KEYS];
#define ACCOUNT(name, type, fallback, min, max, sentence) CONF_C_##type name;
#include "conf/conf.def"
};

struct conf_alias {
    str title;
    struct conf_place place; /* of the block */
    struct conf_place places[CONF_ALIAS_KEYS];
#define ALIAS(name, type, fallback, min, max, sentence) CONF_C_##type name;
#include "conf/conf.def"
};

struct conf_route {
    str title;
    struct conf_place place; /* of the block */
    struct conf_place places[CONF_ROUTE_KEYS];
#define ROUTE(name, type, fallback, min, max, sentence) CONF_C_##type name;
#include "conf/conf.def"
};

struct conf_rewrite {
    str title;
    struct conf_place place; /* of the block */
    struct conf_place places[CONF_REWRITE_KEYS];
#define REWRITE(name, type, fallback, min, max, sentence) CONF_C_##type name;
#include "conf/conf.def"
};

struct conf_site {
    str title;
    struct conf_place place; /* of the block */
    struct conf_place places[CONF_SITE_KEYS];
#define SITE(name, type, fallback, min, max, sentence) CONF_C_##type name;
#include "conf/conf.def"
};

struct conf_test {
    str title;
    struct conf_place place; /* of the block */
    struct conf_place places[CONF_TEST_KEYS];
#define TEST(name, type, fallback, min, max, sentence) CONF_C_##type name;
#include "conf/conf.def"
};

struct conf {
#define CONF(name, type, fallback, min, max, sentence) CONF_C_##type name;
#include "conf/conf.def"
    struct conf_listen *listens;
    size_t listen_count;
    struct conf_domain *domains;
    size_t domain_count;
    struct conf_account *accounts;
    size_t account_count;
    struct conf_alias *aliases;
    size_t alias_count;
    struct conf_route *routes;
    size_t route_count;
    struct conf_rewrite *rewrites;
    size_t rewrite_count;
    struct conf_site *sites;
    size_t site_count;
    struct conf_test *tests;
    size_t test_count;
    struct conf_place places[CONF_KEYS];
    struct arena arena; /* owns all texts and arrays */
};

enum {
    CONF_FILE_MAX = 1024 * 1024, /* bytes of a configuration */
    CONF_LISTENS_MAX = 256,
    CONF_BLOCKS_MAX = 100000, /* of domains, of accounts, of aliases */
    CONF_RULES_MAX = 10000,   /* of routes, of rewrites, of sites, of tests */
    CONF_TITLE_MAX = 320,     /* of a domain, an account, an alias */
    CONF_NAME_MAX = 32,       /* of a block: a-z 0-9 _ - */
    CONF_ERRORS_MAX = 200,
};

struct conf_error {
    const char *where;
    unsigned line;
    unsigned group, order; /* of the first error of this file, of this error */
    str text;
};

struct conf_errors {
    struct conf_error *list;
    size_t count;
    size_t more; /* beyond CONF_ERRORS_MAX, only counted */
    struct arena arena;
};

/* Adds "where:line: sentence" (line 0: "where: sentence"; where NULL: "sentence").  where must live as long as errors.
 */
void conf_errors_add(struct conf_errors *errors, const char *where, unsigned line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void conf_errors_put(struct buf *out, struct conf_errors *errors); /* by file and line, one error a line */
void conf_errors_free(struct conf_errors *errors);

/* Defaults, then the text, then the checks.  OK, ERR_SYNTAX (see errors), ERR_NOMEM.  `file` must live as long as c. */
enum err conf_parse(str text, const char *file, struct conf *c, struct conf_errors *errors) MUST_CHECK;
void conf_free(struct conf *c);

/* The same in steps, for who adds settings from elsewhere.  conf_read: ERR_SYNTAX if it added errors. */
void conf_defaults(struct conf *c);
enum err conf_read(str text, const char *file, struct conf *c, struct conf_errors *errors) MUST_CHECK;
/* One setting by name, as if it stood in a file called `where`; replaces what was there. */
enum err conf_set(struct conf *c, str key, str value, const char *where, struct conf_errors *errors) MUST_CHECK;
bool conf_name_valid(str name); /* of a block: 1 to CONF_NAME_MAX of a-z 0-9 _ - */
/* A listen block: the one of that (valid) name, or a new one; NULL: no memory or too many.  The pointer holds until the
 * next call. */
struct conf_listen *conf_listen_named(struct conf *c, str name, const char *where);
enum err conf_listen_set(struct conf *c, struct conf_listen *l, str key, str value, const char *where,
                         struct conf_errors *errors) MUST_CHECK;
/* What must be true of the settings together; resolves auto, drops listen blocks that are off. */
enum err conf_check(struct conf *c, struct conf_errors *errors) MUST_CHECK;

/* Every setting that differs from its default, as text that parses back to the same. */
void conf_write(struct buf *out, const struct conf *c);

/* The tables, for help and manual. */
enum conf_type {
    CONF_T_BOOL,
    CONF_T_INT,
    CONF_T_SIZE,
    CONF_T_DURATION,
    CONF_T_TEXT,
    CONF_T_PATH,
    CONF_T_ENUM,
    CONF_T_ADDRESS,
    CONF_T_NETWORKS,
    CONF_T_LIST
};

struct conf_row {
    str name;
    enum conf_type type;
    str choice;   /* of an ENUM: its type, "mode" */
    str fallback; /* the default, as text */
    uint64_t min, max;
    str sentence;
    size_t offset; /* in struct conf or struct conf_listen */
};

extern const struct conf_row conf_rows[CONF_KEYS];
extern const struct conf_row conf_listen_rows[CONF_LISTEN_KEYS];

/* The kinds of blocks, listen first: for who walks over all settings. */
struct conf_block_kind {
    str name;                    /* "route" */
    const struct conf_row *rows; /* of its settings */
    size_t row_count;
    size_t size;        /* of one struct conf_<kind> */
    size_t list, count; /* offsets of the array and its count in struct conf */
    size_t max;         /* how many there may be */
    size_t
        places; /* offset of its struct conf_place[row_count]; the block's own title and place are its first members */
    bool (*title)(str s); /* is this a name for one? */
    const char *title_is; /* "1 to 32 of the characters a-z 0-9 _ -" */
};
extern const struct conf_block_kind conf_block_kinds[];
extern const size_t conf_block_kind_count;
/* The i-th block of a kind, or NULL behind the last. */
void *conf_block(const struct conf *c, const struct conf_block_kind *kind, size_t i);

/* One value of the row's type into its field: ERR_SYNTAX or ERR_LIMIT with a sentence, ERR_NOMEM. */
enum err conf_row_take(const struct conf_row *row, str value, struct arena *a, void *base, struct why *w) MUST_CHECK;
/* What the type wants to see, in words: "one of text, json", "a size with its unit, 64KiB to 4GiB". */
void conf_row_values(struct buf *out, const struct conf_row *row);
/* The value a setting has, as text without quotes; base: the struct conf or struct conf_listen. */
void conf_row_put(struct buf *out, const struct conf_row *row, const void *base);
bool conf_row_is_default(const struct conf_row *row, const void *base);

/* The words of an ENUM in order: false when there is no i-th. */
bool conf_choice(str type, size_t i, str *word);

/* "Did you mean": try all candidates, then guess.best is the nearest one, or empty when none is near. */
struct conf_guess {
    str word, best;
    unsigned distance;
};

void conf_guess_try(struct conf_guess *g, str candidate);

#endif
