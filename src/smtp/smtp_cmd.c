#include "smtp/smtp_cmd.h"

typedef enum err argument_parser(str rest, struct smtp_cmd *cmd);

static enum err arg_NONE(str rest, struct smtp_cmd *cmd) {
    (void)cmd;
    return rest.n == 0 ? OK : ERR_SYNTAX;
}

static enum err arg_OPTIONAL(str rest, struct smtp_cmd *cmd) {
    cmd->arg = rest;
    return OK;
}

static enum err arg_TEXT(str rest, struct smtp_cmd *cmd) {
    cmd->arg = rest;
    return rest.n ? OK : ERR_SYNTAX;
}

/* What clients call themselves is seldom a domain ("[::1]", "my_pc"): any one printable word will do. */
static enum err arg_NAME(str rest, struct smtp_cmd *cmd) {
    for (size_t i = 0; i < rest.n; i++)
        if ((unsigned char)rest.p[i] <= 32 || (unsigned char)rest.p[i] >= 127)
            return ERR_SYNTAX;
    cmd->arg = rest;
    return rest.n && rest.n <= SMTP_DOMAIN_MAX ? OK : ERR_SYNTAX;
}

static enum err take_path(str rest, str keyword, enum smtp_path_kind kind, struct smtp_cmd *cmd) {
    if (!str_iskip(&rest, keyword))
        return ERR_SYNTAX;
    cmd->fault = smtp_path_take(&rest, kind, &cmd->path);
    if (cmd->fault)
        return ERR_SYNTAX;
    if (rest.n && !char_is_space(rest.p[0]))
        return ERR_SYNTAX;
    cmd->params = str_trim(rest);
    return OK;
}

static enum err arg_FROM(str rest, struct smtp_cmd *cmd) {
    return take_path(rest, S("FROM:"), SMTP_REVERSE, cmd);
}

static enum err arg_TO(str rest, struct smtp_cmd *cmd) {
    return take_path(rest, S("TO:"), SMTP_FORWARD, cmd);
}

static bool all_digits(str s) {
    for (size_t i = 0; i < s.n; i++)
        if (!char_is_digit(s.p[i]))
            return false;
    return s.n > 0;
}

static enum err arg_CHUNK(str rest, struct smtp_cmd *cmd) {
    str last = STR_NONE;
    if (!str_word(&rest, &cmd->arg))
        return ERR_SYNTAX;
    cmd->last = str_word(&rest, &last);
    if (rest.n || (cmd->last && !str_ieq(last, S("LAST"))) || !all_digits(cmd->arg))
        return ERR_SYNTAX;
    return str_u64(cmd->arg, &cmd->size) ? OK : ERR_LIMIT;
}

static enum err arg_SASL(str rest, struct smtp_cmd *cmd) {
    if (!str_word(&rest, &cmd->arg))
        return ERR_SYNTAX;
    cmd->has_initial = str_word(&rest, &cmd->initial);
    return rest.n == 0 ? OK : ERR_SYNTAX;
}

#define IN(state) (1u << SMTP_##state)
#define ANY ((1u << SMTP_STATES) - 1)
static const struct {
    str name;
    argument_parser *argument;
    unsigned states;
    str syntax;
} rows[SMTP_VERBS] = {
#define VERB(NAME, argument, states, syntax) [SMTP_V_##NAME] = {S_INIT(#NAME), arg_##argument, states, S_INIT(syntax)},
#include "smtp/smtp_cmd.def"
#undef VERB
};

static bool is_http(str verb) {
    static const str verbs[] = {S_INIT("GET"),   S_INIT("POST"),    S_INIT("PUT"),     S_INIT("HEAD"), S_INIT("DELETE"),
                                S_INIT("PATCH"), S_INIT("OPTIONS"), S_INIT("CONNECT"), S_INIT("TRACE")};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (str_ieq(verb, verbs[i]))
            return true;
    return false;
}

static enum smtp_verb verb_of(str name) {
    for (enum smtp_verb v = SMTP_V_UNKNOWN + 1; v < SMTP_VERBS; v++)
        if (str_ieq(name, rows[v].name))
            return v;
    return SMTP_V_UNKNOWN;
}

enum err smtp_cmd_parse(str line, struct smtp_cmd *cmd) {
    *cmd = (struct smtp_cmd){0};
    str rest = line;
    while (rest.n && char_is_space(rest.p[rest.n - 1]))
        rest.n--;
    if (!str_word(&rest, &cmd->name))
        return ERR_NOT_FOUND;
    cmd->verb = verb_of(cmd->name);
    if (cmd->verb == SMTP_V_UNKNOWN)
        return is_http(cmd->name) ? ERR_UNSUPPORTED : ERR_NOT_FOUND;
    return rows[cmd->verb].argument(rest, cmd);
}

bool smtp_cmd_allowed(enum smtp_verb v, enum smtp_state s) {
    return rows[v].states >> s & 1;
}

str smtp_cmd_name(enum smtp_verb v) {
    return rows[v].name;
}

str smtp_cmd_syntax(enum smtp_verb v) {
    return rows[v].syntax;
}
