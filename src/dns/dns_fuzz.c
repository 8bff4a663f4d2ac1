/* First byte even: a packet of the wire; what is taken from it, coded and read again, is the same.  Odd: a coded
 * answer. */
#include <assert.h>

#include "dns/dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct dns_answer *in, struct arena *a) {
    struct buf once = BUF(1 << 20), twice = BUF(1 << 20);
    struct dns_answer again;
    dns_answer_put(&once, in);
    assert(once.n <= DNS_ANSWER_MAX);
    enum err e = dns_answer_take(buf_str(&once), a, &again);
    assert(e == OK);
    dns_answer_put(&twice, &again);
    assert(str_eq(buf_str(&once), buf_str(&twice)));
    buf_free(&once);
    buf_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint32_t types[] = {DNS_MX, DNS_A, DNS_AAAA, DNS_TXT, DNS_NS, DNS_TLSA, DNS_CNAME, DNS_PTR};
    struct arena a = ARENA(4 << 20);
    struct dns_answer answer;
    if (size == 0)
        return 0;
    str rest = str_n(data + 1, size - 1);
    enum err e = data[0] & 1 ? dns_answer_take(rest, &a, &answer)
                             : dns_packet_take(rest, S("a.example"), types[data[0] >> 1 & 7], &a, &answer);
    if (e == OK)
        check_same(&answer, &a);
    arena_free(&a);
    return 0;
}
