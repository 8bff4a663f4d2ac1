/* A folder's directory reads as that folder, and is never a path out of its place; a name that was read is UTF-8
 * without controls. */
#include "base/code.h"
#include "mime/maildir.h"
#include "mime/mutf7.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    str in = str_n(data, size);
    struct buf there = BUF(1 << 16), back = BUF(1 << 16);
    struct maildir_name n;
    (void)maildir_name_read(in, &n);
    if (maildir_folder_put(in, &there) && there.n) {
        assert(!str_has(buf_str(&there), '/') && !str_eq(buf_str(&there), S("..")) && there.p[0] == '.');
        assert(maildir_folder_read(buf_str(&there), &back));
        assert(str_eq(buf_str(&back), in));
    }
    buf_reset(&there);
    buf_reset(&back);
    if (maildir_folder_read(in, &there)) {
        assert(utf8_valid(buf_str(&there)));
        for (size_t i = 0; i < there.n; i++)
            assert(!char_is_ctl(there.p[i]));
    }
    buf_reset(&there);
    buf_reset(&back);
    maildir_message_put(in, &there);
    maildir_message_read(buf_str(&there), &back);
    size_t line = str_find(in, '\n');
    assert(str_eq(buf_str(&back), in) || (line != SIZE_MAX && (line == 0 || in.p[line - 1] != '\r')));
    buf_reset(&there);
    buf_reset(&back);
    if (mutf7_decode(in, &there)) {
        bool ascii = utf8_valid(buf_str(&there));
        if (ascii && utf8_is_ascii(in))
            assert(mutf7_encode(buf_str(&there), &back));
    }
    buf_free(&there);
    buf_free(&back);
    return 0;
}
