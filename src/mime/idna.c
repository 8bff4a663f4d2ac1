#include "mime/idna.h"

#include <unicode/uidna.h>

#include "base/code.h"

static void lower(str s, struct buf *out) {
    for (size_t i = 0; i < s.n; i++)
        buf_char(out, char_lower(s.p[i]));
}

/* A wide "@" or "/" is mapped to the narrow one: no name may come out that could not have been written. */
static bool name_only(str s) {
    for (size_t i = 0; i < s.n; i++)
        if (!char_is_alnum(s.p[i]) && !str_has(S("-_."), s.p[i]))
            return false;
    return s.n > 0;
}

static bool convert(str domain, char *ascii, int32_t room, str *result) {
    UErrorCode status = U_ZERO_ERROR;
    UIDNAInfo info = UIDNA_INFO_INITIALIZER;
    UIDNA *rules = uidna_openUTS46(UIDNA_NONTRANSITIONAL_TO_ASCII | UIDNA_CHECK_BIDI | UIDNA_CHECK_CONTEXTJ, &status);
    if (U_FAILURE(status))
        return false;
    int32_t n = uidna_nameToASCII_UTF8(rules, domain.p, (int32_t)domain.n, ascii, room, &info, &status);
    uidna_close(rules);
    *result = str_n(ascii, n > 0 && n <= room ? (size_t)n : 0);
    return U_SUCCESS(status) && info.errors == 0 && name_only(*result);
}

bool idna_ascii(str domain, struct buf *out) {
    char ascii[IDNA_DOMAIN_MAX];
    if (domain.n == 0 || domain.n > 4 * IDNA_DOMAIN_MAX)
        return false;
    if (!utf8_is_ascii(domain)) {
        if (!utf8_valid(domain) || !convert(domain, ascii, sizeof(ascii), &domain))
            return false;
    } else if (domain.n > IDNA_DOMAIN_MAX) {
        return false;
    }
    lower(domain, out);
    return !out->full;
}
