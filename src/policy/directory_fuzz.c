/* A key is the key of itself, a lookup ends and says what it was asked, answers read back what was written, and
 * whatever is not an answer is refused.  The first byte chooses; the rest is an address, an answer or an entry. */
#include <assert.h>
#include <stdlib.h>

#include "base/fields.h"
#include "policy/directory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char conf_text[] = "domain example.org {\n}\n"
                                "domain a.example {\n alias_of example.org\n}\n"
                                "domain b.example {\n catch_all ada@example.org\n}\n"
                                "account ada@example.org {\n senders \"x@y.example @z.example\"\n}\n"
                                "alias team@example.org {\n to \"ada@example.org x@y.example\"\n}\n";

static struct directory *fixed(void) {
    static struct directory *d;
    struct conf c;
    struct conf_errors errors = {0};
    if (d)
        return d;
    d = directory_new(1);
    enum err e = conf_parse(str_of(conf_text), "fuzz", &c, &errors);
    assert(d && e == OK);
    e = directory_conf(d, &c, NULL);
    assert(e == OK);
    conf_errors_free(&errors);
    conf_free(&c);
    return d;
}

static void check_key(str address) {
    struct buf key = BUF(1000), again = BUF(1000);
    if (address_key(address, &key) == OK) {
        enum err e = address_key(buf_str(&key), &again);
        assert(e == OK && str_eq(buf_str(&key), buf_str(&again)));
    } else {
        assert(key.n == 0);
    }
    buf_free(&key);
    buf_free(&again);
}

static void check_lookup(str address) {
    struct arena a = ARENA(1 << 20);
    struct directory_answer answer;
    directory_lookup(fixed(), address, S("ada"), &a, &answer);
    assert(str_starts(address, answer.address));
    assert((answer.status == DIRECTORY_IS_ALIAS) == (answer.target_count > 0));
    assert(answer.status != DIRECTORY_IS_ACCOUNT || answer.account.n);
    arena_free(&a);
}

static void check_answer(str bytes) {
    struct arena a = ARENA(1 << 20);
    struct buf out = BUF(1 << 20), again = BUF(1 << 20);
    struct directory_answer answer, told;
    if (directory_answer_take(bytes, &a, &answer) == OK) {
        directory_answer_put(&out, &answer);
        enum err e = directory_answer_take(buf_str(&out), &a, &told);
        assert(e == OK);
        directory_answer_put(&again, &told);
        assert(str_eq(buf_str(&out), buf_str(&again)));
    }
    buf_free(&out);
    buf_free(&again);
    arena_free(&a);
}

/* kind, length of the key, the key, fields */
static void check_entry(str bytes) {
    uint8_t kind = 0, n = 0;
    struct why w;
    if (!take_u8(&bytes, &kind) || !take_u8(&bytes, &n))
        return;
    str key = str_head(bytes, n), fields = str_tail(bytes, n);
    struct directory *d = directory_new(2);
    assert(d);
    enum err e = directory_put(d, DIRECTORY_DOMAIN, S("example.org"), STR_NONE, 1);
    assert(e == OK);
    if (directory_check(d, kind, key, fields, &w) == OK) {
        struct directory_entry entry;
        e = directory_put(d, kind, key, fields, 2);
        assert(e == OK && directory_get(d, kind, key, &entry));
        assert(str_eq(entry.fields, fields) && directory_get(d, kind, entry.key, &entry));
        check_lookup(key);
        assert(directory_remove(d, kind, key));
    }
    directory_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    str s = str_n(data, size);
    uint8_t choice;
    if (!take_u8(&s, &choice))
        return 0;
    switch (choice % 4) {
    case 0: check_key(s); break;
    case 1: check_lookup(s); break;
    case 2: check_answer(s); break;
    default: check_entry(s); break;
    }
    return 0;
}
