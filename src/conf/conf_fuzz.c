/* conf_fuzz.c - a configuration from anybody: never a crash, errors where there is an error, and what is written parses
 * back to the same. */
#include <stdlib.h>

#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void reread(const struct buf *written) {
    struct conf c;
    struct conf_errors errors = {0};
    struct buf again = BUF(2 * CONF_FILE_MAX);
    if (conf_parse(buf_str(written), "again", &c, &errors) != OK)
        abort();
    conf_write(&again, &c);
    if (!str_eq(buf_str(written), buf_str(&again)))
        abort();
    buf_free(&again);
    conf_errors_free(&errors);
    conf_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct conf c;
    struct conf_errors errors = {0};
    struct buf out = BUF(2 * CONF_FILE_MAX);
    enum err e = conf_parse(str_n(data, size), "fuzz", &c, &errors);
    if (e == OK) {
        conf_write(&out, &c);
        reread(&out);
    } else {
        conf_errors_put(&out, &errors);
        if (e == ERR_SYNTAX && out.n == 0)
            abort();
    }
    buf_free(&out);
    conf_errors_free(&errors);
    conf_free(&c);
    return 0;
}
