/* openssl3.c - loaded before OpenSMTPD 6.8 as Debian 12 has it, which can not be a TLS server there: it marks the RSA
 * key that it gets of a certificate, and OpenSSL 3 gives it a copy, so the mark is lost and with it the way to the
 * private key ("missing private key").  Here the copy takes the place of the key it was made of.  Later versions of
 * OpenSMTPD do the same themselves. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <openssl/evp.h>

struct rsa_st *EVP_PKEY_get1_RSA(EVP_PKEY *key) {
    struct rsa_st *(*get)(EVP_PKEY *) = (struct rsa_st * (*)(EVP_PKEY *)) dlsym(RTLD_NEXT, "EVP_PKEY_get1_RSA");
    int (*set)(EVP_PKEY *, struct rsa_st *) =
        (int (*)(EVP_PKEY *, struct rsa_st *))dlsym(RTLD_NEXT, "EVP_PKEY_set1_RSA");
    struct rsa_st *rsa = get(key);
    if (rsa)
        set(key, rsa);
    return rsa;
}
