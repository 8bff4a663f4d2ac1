#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const names[ERR_COUNT] = {
    [OK] = "ok",
    [ERR_MORE] = "more needed",
    [ERR_SYNTAX] = "syntax error",
    [ERR_LIMIT] = "over a limit",
    [ERR_IO] = "input/output error",
    [ERR_FULL] = "no space",
    [ERR_NOMEM] = "out of memory",
    [ERR_NOT_FOUND] = "not found",
    [ERR_EXISTS] = "exists already",
    [ERR_DENIED] = "not allowed",
    [ERR_CORRUPT] = "damaged",
    [ERR_VERSION] = "unknown version",
    [ERR_TIMEOUT] = "timed out",
    [ERR_CLOSED] = "closed by the peer",
    [ERR_TLS] = "TLS failed",
    [ERR_UNSUPPORTED] = "not supported",
    [ERR_DOWN] = "not running",
};

const char *err_name(enum err e) {
    return (unsigned)e < ERR_COUNT ? names[e] : "unknown error";
}

enum err why(struct why *w, enum err e, const char *format, ...) {
    if (!w)
        return e;
    va_list args;
    va_start(args, format);
    vsnprintf(w->text, sizeof w->text, format, args);
    va_end(args);
    return e;
}
