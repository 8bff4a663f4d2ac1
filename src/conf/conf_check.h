/* conf_check.h - what the files of conf_check share. */
#ifndef CONF_CONF_CHECK_H
#define CONF_CONF_CHECK_H

#include "conf/conf.h"

struct check {
    struct conf *c;
    struct conf_errors *errors;
    bool failed, nomem;
};

#define COMPLAIN(k, place, ...)                                                                                        \
    do {                                                                                                               \
        conf_errors_add((k)->errors, (place).where, (place).line, __VA_ARGS__);                                        \
        (k)->failed = true;                                                                                            \
    } while (0)

/* A complaint about a setting: at its own place, or at that of its block when it has its default. */
#define AT(base, KEY) ((base)->places[KEY])
#define PLACE(block, KEY) (AT(block, KEY).where ? AT(block, KEY) : (block)->place)

/* All blocks but listen. */
void conf_check_blocks(struct check *k);

#endif
