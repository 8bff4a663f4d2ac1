#include "crypto/crypto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/code.h"

static void hex_is(const uint8_t bytes[CRYPTO_SHA256_SIZE], const char *expected) {
    struct buf hex = BUF(100);
    hex_encode(str_n(bytes, CRYPTO_SHA256_SIZE), &hex);
    assert_string_equal(buf_cstr(&hex), expected);
    buf_free(&hex);
}

static void test_vectors(void **state) {
    (void)state;
    uint8_t out[CRYPTO_SHA256_SIZE];
    assert_true(crypto_sha256(S("abc"), out)); /* FIPS 180-2 */
    hex_is(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_true(crypto_sha256(STR_NONE, out));
    hex_is(out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_true(crypto_hmac_sha256(S("Jefe"), S("what do ya want for nothing?"), out)); /* RFC 4231 4.3 */
    hex_is(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_false(crypto_hmac_sha256(STR_NONE, S("x"), out));
}

static void test_same(void **state) {
    (void)state;
    assert_true(crypto_same(S("aB\xff"), S("aB\xff")) && crypto_same(STR_NONE, STR_NONE));
    assert_false(crypto_same(S("a"), S("A")) || crypto_same(S("a"), S("ab")) || crypto_same(S("\x80"), S("\x00")));
    assert_true(crypto_same_text(S("aBZz[@"), S("AbzZ[@")));
    assert_false(crypto_same_text(S("["), S("{")) || crypto_same_text(S("@"), S("`")));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors), cmocka_unit_test(test_same)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
