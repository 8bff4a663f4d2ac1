#include <stdlib.h>

#include "mime/downgrade.h"
#include "role/delivery_core.h"

enum {
    SLICE = 16 * 1024,
    OUT_MAX = 8 * 1024 * 1024, /* a header of the largest size may become so long */
};

struct delivery_convert {
    struct downgrade d;
    struct buf out; /* converted; before `at` it was handed over */
    size_t at;
    bool ended;
};

static const struct {
    unsigned convert, mode;
} modes[] = {
    {SMTP_CLIENT_CONVERT_BODY, DOWNGRADE_EIGHT_BIT},
    {SMTP_CLIENT_CONVERT_BINARY, DOWNGRADE_BINARY},
    {SMTP_CLIENT_CONVERT_HEADER, DOWNGRADE_UTF8},
    {SMTP_CLIENT_CONVERT_LINES, DOWNGRADE_LINES},
};

static unsigned mode_of(const struct delivery_job *j) {
    unsigned mode = 0;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (j->mail.convert & modes[i].convert)
            mode |= modes[i].mode;
    return mode;
}

/* Why it failed, as an answer to the sender. */
static enum err failed(const struct downgrade *d, enum err e, struct why *w) {
    if (e == ERR_NOMEM)
        return why(w, e, "4.3.0 no memory to convert the message");
    return why(w, ERR_UNSUPPORTED, "%s the message cannot be converted to what the server takes: %s",
               d->address ? "5.6.7" : "5.6.3", d->why.text);
}

/* Nothing is used up: should the connection end before the body begins, another host may get it as it is. */
enum err delivery_convert_try(struct delivery_job *j, struct why *w) {
    struct downgrade d;
    struct buf out = BUF(OUT_MAX);
    bool whole;
    str in = delivery_job_body(j, SIZE_MAX, &whole);
    enum err e = OK;
    downgrade_init(&d, mode_of(j));
    for (; in.n && e == OK; in = str_tail(in, SLICE)) {
        e = downgrade_put(&d, str_head(in, SLICE), &out);
        buf_reset(&out);
    }
    if (e == OK && whole)
        e = downgrade_end(&d, &out);
    if (e != OK)
        e = failed(&d, e, w);
    downgrade_free(&d);
    buf_free(&out);
    return e;
}

enum err delivery_convert_begin(struct delivery_job *j) {
    struct delivery_convert *k = calloc(1, sizeof *k);
    if (!k)
        return ERR_NOMEM;
    downgrade_init(&k->d, mode_of(j));
    k->out = BUF(OUT_MAX);
    j->convert = k;
    return OK;
}

static enum err convert_more(struct delivery_job *j, str in, bool last) {
    struct delivery_convert *k = j->convert;
    enum err e = downgrade_put(&k->d, in, &k->out);
    if (e == OK && last)
        e = downgrade_end(&k->d, &k->out);
    k->ended = last;
    delivery_job_used(j, in.n);
    return e;
}

enum err delivery_convert_next(struct delivery_job *j, size_t max, str *piece, bool *last, struct why *w) {
    struct delivery_convert *k = j->convert;
    if (k->at == k->out.n) {
        buf_reset(&k->out);
        k->at = 0;
    }
    while (k->out.n - k->at < max && !k->ended) {
        bool whole;
        str in = delivery_job_body(j, SLICE, &whole);
        if (in.n == 0 && !whole)
            break;
        enum err e = convert_more(j, in, whole);
        if (e != OK)
            return failed(&k->d, e, w);
    }
    *piece = str_sub(buf_str(&k->out), k->at, max);
    k->at += piece->n;
    *last = k->ended && k->at == k->out.n;
    return OK;
}

void delivery_convert_end(struct delivery_job *j) {
    struct delivery_convert *k = j->convert;
    if (!k)
        return;
    downgrade_free(&k->d);
    buf_free(&k->out);
    free(k);
    j->convert = NULL;
}
