/* Any line gives a value or an error; what it points to lies within the line. */
#include "smtp/smtp_cmd.h"
#include "smtp/smtp_param.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_within(str part, str whole) {
    assert(part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    str line = str_n(data, size);
    struct smtp_cmd cmd;
    struct smtp_params params;
    enum err e = smtp_cmd_parse(line, &cmd);
    check_within(cmd.arg, line);
    check_within(cmd.path.address, line);
    check_within(cmd.params, line);
    check_within(cmd.initial, line);
    assert(cmd.verb < SMTP_VERBS);
    if (e == OK && (cmd.verb == SMTP_V_MAIL || cmd.verb == SMTP_V_RCPT)) {
        enum smtp_param_where where = cmd.verb == SMTP_V_MAIL ? SMTP_PARAM_MAIL : SMTP_PARAM_RCPT;
        e = smtp_params_parse(cmd.params, where, &params);
        check_within(e ? params.bad : params.orcpt, line);
    }
    return 0;
}
