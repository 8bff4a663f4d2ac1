/* cmd_token.c - penfold token: who may use the HTTP interface.  The token itself is shown once and kept nowhere. */
#include <jansson.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "base/code.h"
#include "cli/cli.h"
#include "cli/cli_directory.h"
#include "cli/cli_table.h"
#include "sys/clock.h"

static const struct cli_option options[] = {
    CLI_DIRECTORY_OPTIONS,
    {.name = "role",
     .words = "admin|operator|reader|send",
     .fallback = "send",
     .sentence = "What it allows: everything, all but accounts, looking, or sending as its account."},
    {.name = "account", .value = "ADDRESS", .sentence = "The account that messages are sent as."},
    {.name = "json", .sentence = "As the JSON of the API."},
};

const struct cli_page cli_token_page = {
    .name = "token",
    .operands = "add|list|remove [NAME]",
    .operands_min = 1,
    .operands_max = 2,
    .sentence = "Make, list and remove the tokens of the HTTP interface.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
};

enum { TOKEN_SIZE = 2 * ID_SIZE, KEY_SIZE = 2 * SHA256_DIGEST_LENGTH };

static void make_token(char token[TOKEN_SIZE + 1]) {
    uint8_t bytes[32];
    random_bytes(bytes, sizeof bytes);
    id_encode(bytes, token);
    id_encode(bytes + 16, token + ID_SIZE);
    token[TOKEN_SIZE] = '\0';
}

static void token_key(const char *token, char key[KEY_SIZE + 1]) {
    unsigned char hash[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)token, strlen(token), hash);
    for (size_t i = 0; i < sizeof hash; i++)
        snprintf(key + 2 * i, 3, "%02x", hash[i]);
}

static const char *key_of(json_t *entries, const char *name) {
    size_t i;
    json_t *e;
    json_array_foreach(entries, i, e) {
        const char *text = json_string_value(json_object_get(e, "name"));
        if (text && strcmp(text, name) == 0)
            return json_string_value(json_object_get(e, "Key"));
    }
    return NULL;
}

static void show_token(const struct cli_args *args, const char *token) {
    if (cli_flag(args, "json"))
        printf("{\"Token\":\"%s\"}\n", token);
    else
        printf("%s\n", token);
}

static int add(const struct cli_args *args, struct cli_directory *d, json_t *entries) {
    const char *name = args->operands[1], *account = cli_text(args, "account");
    char token[TOKEN_SIZE + 1], key[KEY_SIZE + 1];
    if (key_of(entries, name))
        return cli_error(args->page, EX_UNAVAILABLE, "there is a token %s already", name);
    make_token(token);
    token_key(token, key);
    json_t *entry = json_pack("{ssss}", "name", name, "role", cli_text(args, "role"));
    if (!entry || (account && json_object_set_new(entry, "account", json_string(account)) != 0)) {
        json_decref(entry);
        return cli_error(args->page, EX_DATAERR, "the name is not UTF-8");
    }
    int status = cli_directory_put(d, DIRECTORY_TOKEN, key, entry, CLI_DIRECTORY_NEW);
    if (status == EX_OK)
        show_token(args, token);
    json_decref(entry);
    return status;
}

static int remove_one(const struct cli_args *args, struct cli_directory *d, json_t *entries) {
    const char *key = key_of(entries, args->operands[1]);
    if (!key)
        return cli_error(args->page, EX_UNAVAILABLE, "there is no token %s", args->operands[1]);
    return cli_directory_remove(d, DIRECTORY_TOKEN, key);
}

static int list(const struct cli_args *args, struct cli_directory *d, json_t *entries) {
    static const struct cli_column columns[] = {{"name", 20, 0}, {"role", 8, 8}, {"account", 20, 0}};
    (void)d;
    return cli_table_put(args, entries, "Entries", columns, sizeof columns / sizeof *columns, "No tokens.");
}

static const struct action {
    const char *name;
    unsigned operands;
    int (*run)(const struct cli_args *args, struct cli_directory *d, json_t *entries);
} actions[] = {{"list", 1, list}, {"add", 2, add}, {"remove", 2, remove_one}};

static const struct action *action_of(const struct cli_args *args) {
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (strcmp(actions[i].name, args->operands[0]) == 0 && actions[i].operands == args->operand_count)
            return &actions[i];
    return NULL;
}

static int run(const struct cli_args *args) {
    const struct action *a = action_of(args);
    struct cli_directory *d = NULL;
    json_t *entries = NULL;
    if (!a)
        return cli_usage_error(args->page, "say list, add NAME or remove NAME");
    int status = cli_directory_open(args, &d);
    if (status == EX_OK)
        status = cli_directory_list(d, DIRECTORY_TOKEN, &entries);
    if (status == EX_OK)
        status = a->run(args, d, entries);
    json_decref(entries);
    cli_directory_close(d);
    return status;
}

int cmd_token(int argc, char **argv) {
    struct cli_args args;
    int status = cli_parse(&cli_token_page, argc, argv, &args);
    if (status == CLI_GO_ON)
        status = run(&args);
    cli_args_free(&args);
    return status;
}
