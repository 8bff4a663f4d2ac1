/* A client that sends any bytes.  The first byte chooses the mechanism, the second the policy; responses stand between
 * 0xff bytes.  The server must come to an end, and let nobody in that the table does not know. */
#include <assert.h>
#include <string.h>

#include "base/code.h"
#include "mailauth/sasl_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Credentials that are kept: joe's password is pencil. */
static enum sasl_result host(struct sasl_server *s, enum sasl_result r) {
    struct credential_scram scram;
    bool joe = str_eq(buf_str(&s->user), S("joe"));
    if (r == SASL_WANT_VERDICT)
        return sasl_server_verdict(s,
                                   joe && str_eq(buf_str(&s->password), S("pencil")) ? SASL_OK : SASL_BAD_CREDENTIALS);
    if (r != SASL_WANT_CREDENTIAL)
        return r;
    bool good = credential_scram_nobody(S("secret"), buf_str(&s->user), &scram);
    assert(good);
    return sasl_server_credential(s, &scram, joe);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct sasl_user users[] = {{S_INIT("joe"), S_INIT("pencil")}};
    static const struct sasl_policy table = {.users = users, .user_count = 1}, any = {.any = true},
                                    stored = {.stored = true};
    if (size < 2)
        return 0;
    const struct sasl_mechanism *m = &sasl_mechanisms[data[0] % SASL_COUNT];
    const struct sasl_policy *policy = data[1] % 3 == 0 ? &table : data[1] % 3 == 1 ? &any : &stored;
    str rest = str_n(data + 2, size - 2), response = rest;
    if (!sasl_server_offers(policy, m, true))
        return 0;
    struct sasl_server s = {0};
    enum sasl_result r = sasl_server_start(&s, policy, m, S("binding"), NULL);
    for (int i = 0; r == SASL_CHALLENGE && i < 6; i++) {
        response = rest;
        if (!str_cut(&rest, '\xff', &response))
            rest = STR_NONE;
        r = host(&s, sasl_server_step(&s, response));
    }
    assert(r != SASL_CHALLENGE);
    assert(utf8_valid(buf_str(&s.user)));
    if (r == SASL_DONE && policy != &any)
        assert(str_eq(buf_str(&s.user), S("joe")));
    sasl_server_end(&s);
    return 0;
}
