/* crypto.h - digests and keyed digests of bytes, over OpenSSL's EVP: bytes in, bytes out.  Pure: no files, no state, no
 * randomness. */
#ifndef CRYPTO_CRYPTO_H
#define CRYPTO_CRYPTO_H

#include "base/buf.h"

enum { CRYPTO_SHA256_SIZE = 32 };

/* False: the library refused (no memory); out is undefined then. */
bool crypto_sha256(str bytes, uint8_t out[CRYPTO_SHA256_SIZE]) MUST_CHECK;
bool crypto_hmac_sha256(str key, str bytes, uint8_t out[CRYPTO_SHA256_SIZE]) MUST_CHECK; /* RFC 2104; no empty key */

/* Equal bytes; how long it takes tells nothing but the lengths. */
bool crypto_same(str a, str b);
bool crypto_same_text(str a, str b); /* without regard to ASCII case */

#endif
