#include "mime/charset.h"

#include "base/code.h"

#include <string.h>
#include <unicode/ucnv.h>

enum { NAME_MAX_SIZE = 64, PIVOT_SIZE = 512 };

enum own { OWN_NONE, OWN_UNKNOWN, OWN_ASCII, OWN_UTF8, OWN_1252, OWN_ICU };

/* Labels that we convert ourselves, and labels of mail programs that ICU does not know or takes otherwise than mail
 * means them. */
static const struct {
    str label;
    enum own own;
    const char *icu;
} labels[] = {
    {S_INIT("utf-8"), OWN_UTF8, NULL},
    {S_INIT("utf8"), OWN_UTF8, NULL},
    {S_INIT("unicode-1-1-utf-8"), OWN_UTF8, NULL},
    {S_INIT("utf-8mb4"), OWN_UTF8, NULL},
    {S_INIT("utf8mb4"), OWN_UTF8, NULL},
    {S_INIT("us-ascii"), OWN_ASCII, NULL},
    {S_INIT("ascii"), OWN_ASCII, NULL},
    {S_INIT("ansi_x3.4-1968"), OWN_ASCII, NULL},
    {S_INIT("iso646-us"), OWN_ASCII, NULL},
    {S_INIT("unknown-8bit"), OWN_UNKNOWN, NULL},
    {S_INIT("x-unknown"), OWN_UNKNOWN, NULL},
    {S_INIT("unknown"), OWN_UNKNOWN, NULL},
    {S_INIT("default"), OWN_UNKNOWN, NULL},
    {S_INIT("iso-8859-1"), OWN_1252, NULL},
    {S_INIT("iso8859-1"), OWN_1252, NULL},
    {S_INIT("iso_8859-1"), OWN_1252, NULL},
    {S_INIT("latin1"), OWN_1252, NULL},
    {S_INIT("latin-1"), OWN_1252, NULL},
    {S_INIT("l1"), OWN_1252, NULL},
    {S_INIT("windows-1252"), OWN_1252, NULL},
    {S_INIT("cp1252"), OWN_1252, NULL},
    {S_INIT("cp-1252"), OWN_1252, NULL},
    {S_INIT("x-ansi"), OWN_1252, NULL},
    {S_INIT("ansi"), OWN_1252, NULL},
    /* supersets that senders mean (WHATWG encoding standard) */
    {S_INIT("gb2312"), OWN_ICU, "gb18030"},
    {S_INIT("gb_2312-80"), OWN_ICU, "gb18030"},
    {S_INIT("gbk"), OWN_ICU, "gb18030"},
    {S_INIT("x-gbk"), OWN_ICU, "gb18030"},
    {S_INIT("cp936"), OWN_ICU, "gb18030"},
    {S_INIT("ks_c_5601-1987"), OWN_ICU, "windows-949"},
    {S_INIT("ks_c_5601"), OWN_ICU, "windows-949"},
    {S_INIT("ksc5601"), OWN_ICU, "windows-949"},
    {S_INIT("euc-kr"), OWN_ICU, "windows-949"},
    {S_INIT("cp949"), OWN_ICU, "windows-949"},
    {S_INIT("shift_jis"), OWN_ICU, "ibm-943_P15A-2003"},
    {S_INIT("shift-jis"), OWN_ICU, "ibm-943_P15A-2003"},
    {S_INIT("sjis"), OWN_ICU, "ibm-943_P15A-2003"},
    {S_INIT("x-sjis"), OWN_ICU, "ibm-943_P15A-2003"},
    {S_INIT("cp932"), OWN_ICU, "ibm-943_P15A-2003"},
    {S_INIT("iso-2022-jp-ms"), OWN_ICU, "iso-2022-jp-2"},
    {S_INIT("cp50220"), OWN_ICU, "iso-2022-jp-2"},
    {S_INIT("big5-hkscs"), OWN_ICU, "big5-hkscs"},
    {S_INIT("iso-8859-9"), OWN_ICU, "windows-1254"},
    {S_INIT("iso-8859-11"), OWN_ICU, "windows-874"},
    {S_INIT("tis-620"), OWN_ICU, "windows-874"},
    {S_INIT("iso-8859-8-i"), OWN_ICU, "iso-8859-8"},
    {S_INIT("iso-8859-8-e"), OWN_ICU, "iso-8859-8"},
    {S_INIT("cp-850"), OWN_ICU, "cp850"},
    {S_INIT("koi8-ru"), OWN_ICU, "koi8-u"},
    {S_INIT("x-mac-roman"), OWN_ICU, "macintosh"},
    {S_INIT("macroman"), OWN_ICU, "macintosh"},
    {S_INIT("unicode-1-1-utf-7"), OWN_ICU, "utf-7"},
};

/* 0x80 to 0x9f; the five holes map to the C1 controls of the same number, as browsers do. */
static const uint16_t windows_1252[32] = {
    0x20ac, 0x81,   0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021, 0x2c6,  0x2030, 0x160,
    0x2039, 0x152,  0x8d,   0x17d,  0x8f,   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0x9d,   0x17e,  0x178,
};

static str clean_label(str s) {
    s = str_trim(s);
    while (s.n && (s.p[0] == '"' || s.p[0] == '\''))
        s = str_tail(s, 1);
    while (s.n && (s.p[s.n - 1] == '"' || s.p[s.n - 1] == '\''))
        s.n--;
    return s;
}

static enum own lookup(str label, const char **icu) {
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++)
        if (str_ieq(label, labels[i].label)) {
            *icu = labels[i].icu;
            return labels[i].own;
        }
    return OWN_NONE;
}

static void from_1252(str bytes, struct buf *out) {
    while (bytes.n) {
        size_t n = 0;
        while (n < bytes.n && (unsigned char)bytes.p[n] < 0x80)
            n++;
        buf_add(out, str_head(bytes, n));
        bytes = str_tail(bytes, n);
        if (bytes.n == 0)
            return;
        unsigned char c = (unsigned char)bytes.p[0];
        utf8_put(out, c < 0xa0 ? windows_1252[c - 0x80] : c);
        bytes = str_tail(bytes, 1);
    }
}

static void ascii_or_replacement(str bytes, struct buf *out) {
    for (size_t i = 0; i < bytes.n; i++)
        buf_add(out, (unsigned char)bytes.p[i] < 0x80 ? str_sub(bytes, i, 1) : S("\xef\xbf\xbd"));
}

static void put_utf16(const UChar *p, const UChar *end, uint32_t *high, struct buf *out) {
    for (; p < end; p++) {
        uint32_t c = *p;
        if (*high && c >= 0xdc00 && c <= 0xdfff) {
            utf8_put(out, 0x10000 + ((*high - 0xd800) << 10) + (c - 0xdc00));
            *high = 0;
            continue;
        }
        if (*high)
            utf8_put(out, 0xfffd);
        *high = c >= 0xd800 && c <= 0xdbff ? c : 0;
        if (!*high)
            /* U+001A is what ICU puts for a single byte that means nothing. */
            utf8_put(out, (c >= 0xdc00 && c <= 0xdfff) || c == 0x1a ? 0xfffd : c);
    }
}

static bool is_stateful_unsafe(const char *name) {
    /* Converters that are no charsets of mail, or that let plain ASCII bytes mean something else at length. */
    static const char *const refused[] = {"scsu", "bocu-1", "imap-mailbox-name", "lmbcs-1", "cesu-8"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (str_ieq(str_of(name), str_of(refused[i])))
            return true;
    return false;
}

static UConverter *open_icu(str label, const char *icu) {
    char name[NAME_MAX_SIZE];
    UErrorCode e = U_ZERO_ERROR;
    if (!icu) {
        if (label.n == 0 || label.n >= sizeof name)
            return NULL;
        for (size_t i = 0; i < label.n; i++) {
            /* Names only: an option such as ",locale=" or ",version=" is no business of a mail. */
            if (!char_is_alnum(label.p[i]) && !str_has(S("-_.:"), label.p[i]))
                return NULL;
            name[i] = label.p[i];
        }
        name[label.n] = '\0';
        icu = name;
    }
    if (is_stateful_unsafe(icu))
        return NULL;
    UConverter *c = ucnv_open(icu, &e);
    return U_FAILURE(e) ? NULL : c;
}

static void from_icu(UConverter *c, str bytes, struct buf *out) {
    const char *p = bytes.p, *end = bytes.p + bytes.n;
    uint32_t high = 0;
    UErrorCode e;
    do {
        UChar pivot[PIVOT_SIZE], *to = pivot;
        e = U_ZERO_ERROR;
        ucnv_toUnicode(c, &to, pivot + PIVOT_SIZE, &p, end, NULL, true, &e);
        put_utf16(pivot, to, &high, out);
    } while (e == U_BUFFER_OVERFLOW_ERROR && !out->full);
    if (high || U_FAILURE(e))
        utf8_put(out, 0xfffd);
}

bool charset_to_utf8(str charset, str bytes, struct buf *out) {
    const char *icu = NULL;
    charset = clean_label(charset);
    switch (charset.n ? lookup(charset, &icu) : OWN_UNKNOWN) {
    case OWN_UNKNOWN:
    case OWN_ASCII: charset_guess(bytes, out); return true;
    case OWN_UTF8: utf8_clean(bytes, out); return true;
    case OWN_1252: from_1252(bytes, out); return true;
    case OWN_ICU:
    case OWN_NONE: break;
    }
    if (bytes.n == 0)
        return true;
    UConverter *c = open_icu(charset, icu);
    if (!c) {
        ascii_or_replacement(bytes, out);
        return false;
    }
    from_icu(c, bytes, out);
    ucnv_close(c);
    return true;
}

void charset_guess(str bytes, struct buf *out) {
    if (utf8_valid(bytes))
        buf_add(out, bytes);
    else
        from_1252(bytes, out);
}

bool charset_known(str charset) {
    const char *icu = NULL;
    charset = clean_label(charset);
    enum own own = charset.n ? lookup(charset, &icu) : OWN_ASCII;
    if (own != OWN_NONE && own != OWN_ICU)
        return true;
    UConverter *c = open_icu(charset, icu);
    if (c)
        ucnv_close(c);
    return c != NULL;
}

/* ---- bytes that a charset does not have ---- */

static bool check_ascii(struct charset_check *k, str bytes, bool last) {
    (void)k, (void)last;
    return utf8_is_ascii(bytes);
}

/* Where the last character of bytes begins, if it may be cut off; else the end. */
static size_t last_character(str bytes) {
    for (size_t back = 1; back < 4 && back <= bytes.n; back++) {
        unsigned char c = (unsigned char)bytes.p[bytes.n - back];
        if (c >= 0xc0)
            return bytes.n - back;
        if (c < 0x80)
            break;
    }
    return bytes.n;
}

/* A beginning that four bytes do not complete is none. */
static bool complete_carried(struct charset_check *k, str *bytes) {
    uint32_t c;
    while (k->carried && bytes->n) {
        if (k->carried == sizeof k->carry)
            return false;
        k->carry[k->carried++] = bytes->p[0];
        *bytes = str_tail(*bytes, 1);
        if (utf8_char(str_n(k->carry, k->carried), &c))
            k->carried = 0;
    }
    return true;
}

static bool check_utf8(struct charset_check *k, str bytes, bool last) {
    if (!complete_carried(k, &bytes))
        return false;
    size_t n = last_character(bytes);
    str end = str_tail(bytes, n);
    if (!utf8_valid(str_head(bytes, n)))
        return false;
    if (!utf8_valid(end)) {
        memcpy(k->carry, end.p, end.n);
        k->carried = end.n;
    }
    return !last || k->carried == 0;
}

static bool check_icu(struct charset_check *k, str bytes, bool last) {
    const char *p = bytes.n ? bytes.p : "", *end = p + bytes.n;
    UErrorCode e;
    do {
        UChar pivot[PIVOT_SIZE], *to = pivot;
        e = U_ZERO_ERROR;
        ucnv_toUnicode(k->icu, &to, pivot + PIVOT_SIZE, &p, end, NULL, last, &e);
    } while (e == U_BUFFER_OVERFLOW_ERROR);
    return U_SUCCESS(e);
}

static struct UConverter *open_strict(str charset, const char *name) {
    UErrorCode e = U_ZERO_ERROR;
    UConverter *c = open_icu(charset, name);
    if (c)
        ucnv_setToUCallBack(c, UCNV_TO_U_CALLBACK_STOP, NULL, NULL, NULL, &e);
    return c;
}

void charset_check_begin(struct charset_check *k, str charset) {
    const char *name = NULL;
    *k = (struct charset_check){0};
    charset = clean_label(charset);
    switch (charset.n ? lookup(charset, &name) : OWN_UNKNOWN) {
    case OWN_UNKNOWN:
    case OWN_1252: return; /* each byte is a character */
    case OWN_ASCII: k->put = check_ascii; return;
    case OWN_UTF8: k->put = check_utf8; return;
    case OWN_ICU:
    case OWN_NONE: break;
    }
    k->icu = open_strict(charset, name);
    k->put = k->icu ? check_icu : NULL;
}

void charset_check_put(struct charset_check *k, str bytes) {
    if (k->put && !k->wrong && bytes.n)
        k->wrong = !k->put(k, bytes, false);
}

bool charset_check_end(struct charset_check *k) {
    if (k->put && !k->wrong)
        k->wrong = !k->put(k, STR_NONE, true);
    if (k->icu)
        ucnv_close(k->icu);
    k->icu = NULL;
    return !k->wrong;
}
