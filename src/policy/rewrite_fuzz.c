/* rewrite_fuzz.c - rewrites of anybody over addresses and headers of anybody: what comes out is an address, the header
 * keeps its shape, and no value becomes a second field.  Input: a configuration, then lines behind a line "--": an
 * address, then a header. */
#include <assert.h>
#include <stdlib.h>

#include "mime/edit.h"
#include "mime/header.h"
#include "policy/rewrite.h"
#include "smtp/smtp_path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_address(const struct conf *c, const struct rewrite_ask *ask, str address) {
    for (enum rewrite_place place = REWRITE_SENDER; place <= REWRITE_TO; place++) {
        struct buf out = BUF(4096), path = BUF(8192), story = BUF(1 << 20);
        struct smtp_path p;
        if (rewrite_address(c, ask, place, address, &out, &story)) {
            buf_printf(&path, "<%.*s>", STR_ARG(buf_str(&out)));
            str rest = buf_str(&path);
            assert(smtp_path_take(&rest, SMTP_REVERSE, &p) == SMTP_PATH_GOOD && rest.n == 0);
        } else {
            assert(out.n == 0);
        }
        buf_free(&out);
        buf_free(&path);
        buf_free(&story);
    }
}

static void check_header(const struct conf *c, const struct rewrite_ask *ask, str header) {
    struct arena a = ARENA(64 << 20);
    struct header_edit h;
    struct buf list = BUF(16 << 20);
    uint64_t edited;
    header_edit_begin(&h, header, &a);
    rewrite_header(c, ask, 1, &h, NULL);
    if (header_edit_finish(&h, &list) == OK)
        assert(edit_check(buf_str(&list), header.n, &edited) == OK);
    buf_free(&list);
    arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct conf c;
    struct conf_errors errors = {0};
    str all = str_n(data, size), lines = STR_NONE, address = S("");
    size_t cut = str_find_str(all, S("\n--\n"));
    if (cut != SIZE_MAX)
        lines = str_tail(all, cut + 4);
    if (!str_line(&lines, &address))
        address = S("");
    struct rewrite_ask ask = {
        .sender = address, .recipient = S("y@far.example"), .client = S("192.0.2.1"), .listener = S("mx")};
    if (conf_parse(str_head(all, cut == SIZE_MAX ? all.n : cut + 1), "fuzz", &c, &errors) == OK) {
        check_address(&c, &ask, address);
        check_header(&c, &ask, lines.p ? lines : S(""));
    }
    conf_errors_free(&errors);
    conf_free(&c);
    return 0;
}
