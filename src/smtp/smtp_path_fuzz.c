/* A path that is taken is within the limits, and what is inside it is a path again. */
#include "smtp/smtp_path.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct smtp_path *p, enum smtp_path_kind kind) {
    char space[SMTP_PATH_MAX + 2];
    struct smtp_path again;
    assert(p->local.n <= SMTP_LOCAL_MAX && p->domain.n <= SMTP_DOMAIN_MAX && p->address.n <= SMTP_PATH_MAX - 2);
    for (size_t i = 0; i < p->address.n; i++)
        assert(!char_is_ctl(p->address.p[i]));
    space[0] = '<';
    if (p->address.n)
        memcpy(space + 1, p->address.p, p->address.n);
    space[p->address.n + 1] = '>';
    str s = str_n(space, p->address.n + 2);
    enum smtp_path_fault fault = smtp_path_take(&s, kind, &again);
    assert(fault == SMTP_PATH_GOOD && s.n == 0 && str_eq(again.address, p->address) && !again.routed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct smtp_path path;
    for (enum smtp_path_kind kind = SMTP_REVERSE; kind <= SMTP_FORWARD; kind++) {
        str s = str_n(data, size);
        if (smtp_path_take(&s, kind, &path) == SMTP_PATH_GOOD)
            check(&path, kind);
    }
    return 0;
}
