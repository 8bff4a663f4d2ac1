#include "dns/hosts.h"

static bool line_names(str line, str name) {
    for (str word; str_word(&line, &word);)
        if (str_ieq(word, name))
            return true;
    return false;
}

size_t hosts_find(str text, str name, str *addresses, size_t max) {
    size_t n = 0;
    for (str line, address; n < max && str_line(&text, &line);) {
        (void)str_skip_spaces(&line);
        line = str_head(line, str_find(line, '#'));
        if (str_word(&line, &address) && line_names(line, name))
            addresses[n++] = address;
    }
    return n;
}
