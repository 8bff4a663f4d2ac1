/* A domain, a zero, and answers coded behind each other (u16 length each): whatever the DNS says, the choice ends in
 * hosts with addresses, questions, or words. */
#include <assert.h>

#include "policy/mx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct mx_known *take_answers(str s, struct arena *a) {
    struct mx_known *known = NULL;
    uint16_t size;
    while (take_u16(&s, &size)) {
        struct dns_answer *answer = arena_alloc(a, sizeof *answer);
        struct mx_known *k = arena_alloc(a, sizeof *k);
        if (!answer || !k)
            break;
        if (dns_answer_take(str_head(s, size), a, answer) == OK) {
            *k = (struct mx_known){answer, known};
            known = k;
        }
        s = str_tail(s, size);
    }
    return known;
}

static void check(enum err e, const struct mx_result *r) {
    assert(r->site.n <= MX_SITE_MAX && r->host_count <= MX_HOSTS_MAX);
    assert((e == OK) == (r->host_count > 0) && (e == ERR_MORE) == (r->missing_count > 0 && r->code == 0));
    assert(e == OK || e == ERR_MORE || e == ERR_NOMEM || (r->code >= 400 && r->text.n > 0));
    for (size_t i = 0; i < r->host_count; i++)
        assert(r->hosts[i].address_count > 0 && (i == 0 || r->hosts[i - 1].preference <= r->hosts[i].preference));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const str names[] = {S_INIT("us.example")}, addresses[] = {S_INIT("192.0.2.7")};
    const struct mx_options o = {names, 1, addresses, 1, .seed = size};
    struct arena a = ARENA(4 << 20);
    struct buf story = BUF(1 << 20);
    struct mx_result r = {.story = &story};
    str domain, rest = str_n(data, size);
    if (str_cut(&rest, '\0', &domain)) {
        struct mx_known *known = take_answers(rest, &a);
        check(mx_decide(domain, &o, known, &a, &r), &r);
        check(mx_decide_host(domain, &o, known, &a, &r), &r);
    }
    buf_free(&story);
    arena_free(&a);
    return 0;
}
