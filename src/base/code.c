#include "base/code.h"

#include <string.h>
#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

static const char base64_chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base62_chars[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
static const char hex_chars[] = "0123456789abcdef";

static int base64_value(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_decode(str s, struct buf *out) {
    if (s.n % 4)
        return false;
    for (; s.n; s = str_tail(s, 4)) {
        size_t pad = s.n > 4 ? 0 : (size_t)(s.p[3] == '=') + (size_t)(s.p[2] == '=' && s.p[3] == '=');
        uint32_t v = 0;
        for (size_t i = 0; i < 4; i++) {
            int d = i < 4 - pad ? base64_value(s.p[i]) : 0;
            if (d < 0)
                return false;
            v = v << 6 | (uint32_t)d;
        }
        if ((pad == 1 && (v & 0xff)) || (pad == 2 && (v & 0xffff)))
            return false; /* RFC 4648 3.5: pad bits must be zero */
        char bytes[3] = {(char)(v >> 16), (char)(v >> 8), (char)v};
        buf_add(out, (str){bytes, 3 - pad});
    }
    return !out->full;
}

void base64_encode(str s, struct buf *out) {
    for (; s.n; s = str_tail(s, 3)) {
        uint32_t v = 0;
        for (size_t i = 0; i < 3; i++)
            v = v << 8 | (i < s.n ? (unsigned char)s.p[i] : 0);
        char quad[4];
        for (size_t i = 0; i < 4; i++)
            quad[i] = i <= s.n ? base64_chars[v >> (18 - 6 * i) & 63] : '=';
        buf_add(out, (str){quad, 4});
    }
}

void hex_encode(str s, struct buf *out) {
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        char two[2] = {hex_chars[c >> 4], hex_chars[c & 15]};
        buf_add(out, (str){two, 2});
    }
}

int hex_value(char c) {
    if (char_is_digit(c))
        return c - '0';
    c = char_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex_decode(str s, struct buf *out) {
    if (s.n % 2)
        return false;
    for (; s.n; s = str_tail(s, 2)) {
        int high = hex_value(s.p[0]), low = hex_value(s.p[1]);
        if (high < 0 || low < 0)
            return false;
        buf_char(out, (char)(high << 4 | low));
    }
    return !out->full;
}

void percent_decode(str s, struct buf *out) {
    for (; s.n; s = str_tail(s, 1)) {
        char c = s.p[0];
        if (c == '%' && s.n >= 3 && hex_value(s.p[1]) >= 0 && hex_value(s.p[2]) >= 0) {
            c = (char)(hex_value(s.p[1]) << 4 | hex_value(s.p[2]));
            s = str_tail(s, 2);
        }
        buf_char(out, c);
    }
}

void id_encode(const uint8_t random[16], char id[ID_SIZE]) {
    unsigned __int128 v;
    memcpy(&v, random, sizeof v);
    for (int i = 0; i < ID_SIZE; i++) {
        id[i] = base62_chars[v % 62];
        v /= 62;
    }
}

bool id_valid(str s) {
    if (s.n != ID_SIZE)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!char_is_alnum(s.p[i]))
            return false;
    return true;
}

static uint32_t crc32c_table(uint32_t crc, str s) {
    /* Per half byte: small, and constant, so that threads may share it. */
    static const uint32_t table[16] = {
        0x00000000u, 0x105ec76fu, 0x20bd8edeu, 0x30e349b1u, 0x417b1dbcu, 0x5125dad3u, 0x61c69362u, 0x7198540du,
        0x82f63b78u, 0x92a8fc17u, 0xa24bb5a6u, 0xb21572c9u, 0xc38d26c4u, 0xd3d3e1abu, 0xe330a81au, 0xf36e6f75u,
    };
    crc = ~crc;
    for (size_t i = 0; i < s.n; i++) {
        crc ^= (unsigned char)s.p[i];
        crc = table[crc & 15] ^ crc >> 4;
        crc = table[crc & 15] ^ crc >> 4;
    }
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, str s) {
    uint64_t c = ~crc;
    while (s.n >= 8) {
        uint64_t word;
        memcpy(&word, s.p, 8);
        c = _mm_crc32_u64(c, word);
        s.p += 8;
        s.n -= 8;
    }
    uint32_t c32 = (uint32_t)c;
    for (; s.n; s.p++, s.n--)
        c32 = _mm_crc32_u8(c32, (unsigned char)*s.p);
    return ~c32;
}
#endif

uint32_t crc32c(uint32_t crc, str s) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_sse42(crc, s);
#endif
    return crc32c_table(crc, s);
}

size_t utf8_char(str s, uint32_t *code_point) {
    if (s.n == 0)
        return 0;
    unsigned char c = (unsigned char)s.p[0];
    if (c < 0x80) {
        *code_point = c;
        return 1;
    }
    size_t n = c >= 0xf0 && c <= 0xf4 ? 4 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xc2 && c < 0xe0 ? 2 : 0;
    if (n == 0 || s.n < n)
        return 0;
    uint32_t v = c & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        unsigned char next = (unsigned char)s.p[i];
        if ((next & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (next & 0x3f);
    }
    bool overlong = (n == 3 && v < 0x800) || (n == 4 && v < 0x10000);
    if (overlong || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
        return 0;
    *code_point = v;
    return n;
}

bool utf8_valid(str s) {
    uint32_t code_point;
    while (s.n) {
        size_t n = utf8_char(s, &code_point);
        if (n == 0)
            return false;
        s = str_tail(s, n);
    }
    return true;
}

bool utf8_is_ascii(str s) {
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] > 127)
            return false;
    return true;
}

void utf8_put(struct buf *out, uint32_t c) {
    char b[4];
    size_t n = 0;
    if (c < 0x80) {
        b[n++] = (char)c;
    } else if (c < 0x800) {
        b[n++] = (char)(0xc0 | c >> 6);
        b[n++] = (char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        b[n++] = (char)(0xe0 | c >> 12);
        b[n++] = (char)(0x80 | (c >> 6 & 63));
        b[n++] = (char)(0x80 | (c & 63));
    } else {
        b[n++] = (char)(0xf0 | c >> 18);
        b[n++] = (char)(0x80 | (c >> 12 & 63));
        b[n++] = (char)(0x80 | (c >> 6 & 63));
        b[n++] = (char)(0x80 | (c & 63));
    }
    buf_add(out, (str){b, n});
}

void utf8_clean(str s, struct buf *out) {
    uint32_t code_point;
    while (s.n) {
        size_t n = utf8_char(s, &code_point);
        buf_add(out, n ? str_head(s, n) : S("\xef\xbf\xbd"));
        s = str_tail(s, n ? n : 1);
    }
}

bool utf8_shows(uint32_t c) {
    bool control = c < 32 || (c >= 127 && c < 0xa0);
    bool trick =
        (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x200e || c == 0x200f || c == 0x61c;
    return !control && !trick;
}

void escape_print(str s, struct buf *out) {
    while (s.n) {
        uint32_t c = 0;
        size_t n = utf8_char(s, &c);
        char byte = s.p[0];
        if (byte == '\r')
            buf_add(out, S("\\r"));
        else if (byte == '\n')
            buf_add(out, S("\\n"));
        else if (byte == '\t')
            buf_add(out, S("\\t"));
        else if (byte == '"' || byte == '\\')
            buf_printf(out, "\\%c", byte);
        else if (n && utf8_shows(c))
            buf_add(out, str_head(s, n));
        else
            for (size_t i = 0; i < (n ? n : 1); i++)
                buf_printf(out, "\\x%02x", (unsigned char)s.p[i]);
        s = str_tail(s, n ? n : 1);
    }
}

void escape_json(str s, struct buf *out) {
    while (s.n) {
        uint32_t c = 0;
        size_t n = utf8_char(s, &c);
        if (n == 0)
            buf_add(out, S("\\ufffd"));
        else if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", (char)c);
        else if (c == '\n')
            buf_add(out, S("\\n"));
        else if (c == '\r')
            buf_add(out, S("\\r"));
        else if (c == '\t')
            buf_add(out, S("\\t"));
        else if (c < 32 || (c >= 127 && c < 0xa0) || c == '<') /* C1 too: JSON is shown on terminals */
            buf_add(out, (str){(char[6]){'\\', 'u', '0', '0', hex_chars[c >> 4], hex_chars[c & 15]}, 6});
        else if (c == 0x2028 || c == 0x2029)
            buf_add(out, c == 0x2028 ? S("\\u2028") : S("\\u2029"));
        else
            buf_add(out, str_head(s, n));
        s = str_tail(s, n ? n : 1);
    }
}

void escape_html(str s, struct buf *out) {
    for (size_t i = 0; i < s.n; i++)
        switch (s.p[i]) {
        case '&': buf_add(out, S("&amp;")); break;
        case '<': buf_add(out, S("&lt;")); break;
        case '>': buf_add(out, S("&gt;")); break;
        case '"': buf_add(out, S("&quot;")); break;
        case '\'': buf_add(out, S("&#39;")); break;
        default: buf_char(out, s.p[i]);
        }
}
