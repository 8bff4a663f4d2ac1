#include "crypto/crypto.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

bool crypto_sha256(str bytes, uint8_t out[CRYPTO_SHA256_SIZE]) {
    unsigned size = 0;
    return EVP_Digest(bytes.p ? bytes.p : "", bytes.n, out, &size, EVP_sha256(), NULL) == 1 &&
           size == CRYPTO_SHA256_SIZE;
}

bool crypto_hmac_sha256(str key, str bytes, uint8_t out[CRYPTO_SHA256_SIZE]) {
    unsigned size = 0;
    if (key.n == 0 || key.n > INT32_MAX)
        return false;
    const uint8_t *p = (const uint8_t *)(bytes.p ? bytes.p : "");
    return HMAC(EVP_sha256(), key.p, (int)key.n, p, bytes.n, out, &size) && size == CRYPTO_SHA256_SIZE;
}

static unsigned char lower(char c) {
    unsigned byte = (unsigned char)c;
    unsigned upper = (byte - 'A') < 26u; /* no branch on what is secret */
    return (unsigned char)(byte | upper << 5);
}

bool crypto_same(str a, str b) {
    unsigned different = 0;
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        different |= (unsigned)(a.p[i] ^ b.p[i]) & 0xff;
    return different == 0;
}

bool crypto_same_text(str a, str b) {
    unsigned different = 0;
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        different |= (unsigned)(lower(a.p[i]) ^ lower(b.p[i]));
    return different == 0;
}
