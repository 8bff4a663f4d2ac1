#include "mailauth/sasl_mech.h"

const struct sasl_mechanism sasl_mechanisms[SASL_COUNT] = {
    {S_INIT("SCRAM-SHA-256-PLUS"), SASL_SCRAM_SHA_256_PLUS, SASL_F_PASSWORD | SASL_F_BINDING},
    {S_INIT("SCRAM-SHA-256"), SASL_SCRAM_SHA_256, SASL_F_PASSWORD},
    {S_INIT("OAUTHBEARER"), SASL_OAUTHBEARER, SASL_F_PLAINTEXT | SASL_F_TOKEN},
    {S_INIT("XOAUTH2"), SASL_XOAUTH2, SASL_F_PLAINTEXT | SASL_F_TOKEN},
    {S_INIT("PLAIN"), SASL_PLAIN, SASL_F_PLAINTEXT},
    {S_INIT("LOGIN"), SASL_LOGIN, SASL_F_PLAINTEXT},
};

const struct sasl_mechanism *sasl_mechanism_find(str name) {
    for (size_t i = 0; i < SASL_COUNT; i++)
        if (str_ieq(sasl_mechanisms[i].name, name))
            return &sasl_mechanisms[i];
    return NULL;
}
