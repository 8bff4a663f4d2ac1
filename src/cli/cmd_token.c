/* cmd_token.c - penfold token: who may use the HTTP interface.  The token itself is shown once and kept nowhere. */
#include <jansson.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "base/code.h"
#include "cli/cli.h"
#include "cli/cli_http.h"
#include "cli/cli_table.h"
#include "sys/clock.h"

static const struct cli_option options[] = {
    CLI_HTTP_ADMIN_OPTION,
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

static json_t *entries(const struct cli_args *args, int *status) {
    struct buf answer = BUF(CLI_HTTP_ANSWER_MAX);
    json_error_t error;
    *status = cli_http_get(args, "/api/v1/admin/tokens", NULL, &answer);
    json_t *root = *status == EX_OK ? json_loadb(answer.p, answer.n, 0, &error) : NULL;
    buf_free(&answer);
    return root;
}

static const char *key_of(json_t *root, const char *name) {
    size_t i;
    json_t *e;
    json_array_foreach(json_object_get(root, "Entries"), i, e) {
        const char *text = json_string_value(json_object_get(e, "name"));
        if (text && strcmp(text, name) == 0)
            return json_string_value(json_object_get(e, "Key"));
    }
    return NULL;
}

static int add(const struct cli_args *args, const char *name) {
    char token[TOKEN_SIZE + 1], key[KEY_SIZE + 1], path[128];
    int status;
    json_t *root = entries(args, &status);
    if (status == EX_OK && key_of(root, name))
        status = cli_error(args->page, EX_UNAVAILABLE, "there is a token %s already", name);
    json_decref(root);
    if (status != EX_OK)
        return status;
    make_token(token);
    token_key(token, key);
    snprintf(path, sizeof path, "/api/v1/admin/tokens/%s?how=new", key);
    json_t *entry = json_pack("{ssss}", "name", name, "role", cli_text(args, "role"));
    if (cli_text(args, "account"))
        json_object_set_new(entry, "account", json_string(cli_text(args, "account")));
    char *body = json_dumps(entry, JSON_COMPACT);
    struct buf answer = BUF(64 * 1024);
    status = cli_http_ask(args, "PUT", path, str_of(body), NULL, &answer);
    if (status == EX_OK && cli_flag(args, "json"))
        printf("{\"Token\":\"%s\"}\n", token);
    else if (status == EX_OK)
        printf("%s\n", token);
    buf_free(&answer);
    free(body);
    json_decref(entry);
    return status;
}

static int remove_one(const struct cli_args *args, const char *name) {
    int status;
    json_t *root = entries(args, &status);
    const char *key = key_of(root, name);
    if (status == EX_OK && !key)
        status = cli_error(args->page, EX_UNAVAILABLE, "there is no token %s", name);
    if (status == EX_OK) {
        struct buf answer = BUF(64 * 1024), path = BUF(256);
        buf_printf(&path, "/api/v1/admin/tokens/%s", key);
        status = cli_http_ask(args, "DELETE", buf_cstr(&path), STR_NONE, NULL, &answer);
        buf_free(&answer);
        buf_free(&path);
    }
    json_decref(root);
    return status;
}

static int run(const struct cli_args *args) {
    static const struct cli_column columns[] = {{"name", 20, 0}, {"role", 8, 8}, {"account", 20, 0}};
    const char *what = args->operands[0], *name = args->operand_count > 1 ? args->operands[1] : NULL;
    if (strcmp(what, "list") == 0 && !name)
        return cli_table_print(args, "/api/v1/admin/tokens", "Entries", columns, sizeof columns / sizeof *columns,
                               "No tokens.");
    if (strcmp(what, "add") == 0 && name)
        return add(args, name);
    if (strcmp(what, "remove") == 0 && name)
        return remove_one(args, name);
    return cli_usage_error(args->page, "say list, add NAME or remove NAME");
}

int cmd_token(int argc, char **argv) {
    struct cli_args args;
    int status = cli_parse(&cli_token_page, argc, argv, &args);
    if (status == CLI_GO_ON)
        status = run(&args);
    cli_args_free(&args);
    return status;
}
