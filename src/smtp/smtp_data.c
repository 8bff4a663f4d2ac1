#include "smtp/smtp_data.h"

#include <assert.h>
#include <string.h>

enum {
    AT_START,   /* behind CRLF, or nothing read yet */
    AT_TEXT,    /* within a line */
    AT_CR,      /* a CR stands before; handed on already */
    AT_CR_HELD, /* a CR stands before; not handed on (NORMALIZE) */
    AT_DOT,     /* CRLF "." stands before; the dot is not handed on */
    AT_DOT_CR,  /* CRLF "." CR; neither is handed on */
};

void smtp_data_init(struct smtp_data *d, enum smtp_framing framing, enum smtp_data_kind kind) {
    *d = (struct smtp_data){.framing = framing, .kind = kind, .state = AT_START};
}

#define EVERY_BYTE(c) (UINT64_C(0x0101010101010101) * (unsigned char)(c))
#define HIGH_BITS EVERY_BYTE(0x80)

/* A bit in each byte of w (all below 128) that equals c.  Only whether there is one is exact, which is enough here. */
static uint64_t has_byte(uint64_t w, char c) {
    uint64_t x = w ^ EVERY_BYTE(c);
    return (x - EVERY_BYTE(1)) & ~x & HIGH_BITS;
}

/* How many bytes from p on are plain: not CR, LF or NUL.  Eight at a time; counts those above 127. */
static size_t plain_run(const char *p, size_t n, uint64_t *eight_bit) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t w;
        memcpy(&w, p + i, 8);
        if (has_byte(w, '\r') | has_byte(w, '\n') | has_byte(w, '\0'))
            break;
        if (w & HIGH_BITS)
            *eight_bit += (uint64_t)__builtin_popcountll(w & HIGH_BITS);
    }
    for (; i < n && p[i] != '\r' && p[i] != '\n' && p[i] != '\0'; i++)
        *eight_bit += (unsigned char)p[i] >> 7;
    return i;
}

static void end_line(struct smtp_data *d) {
    d->long_lines += d->column > SMTP_TEXT_LINE_MAX;
    d->column = 0;
}

/* One scan over *in: `at` is how far it came, and in->p..at is to be handed on. */
struct scan {
    str in;
    size_t at;
};

static enum smtp_data_event give(struct scan *s, size_t skip, str *in, str *slice) {
    *slice = str_head(s->in, s->at);
    *in = str_tail(s->in, s->at + skip);
    return SMTP_DATA_SLICE;
}

/* A byte that follows CRLF: only a dot is special.  True: the dot is to be left out. */
static bool begin_line(struct smtp_data *d, char c) {
    d->state = AT_TEXT;
    if (c != '.' || d->kind != SMTP_DATA_DOTS)
        return false;
    d->state = AT_DOT;
    return true;
}

/* What comes of states that hold bytes back, once the next byte is known.  False: nothing is to be done any more. */
static bool resolve_held(struct smtp_data *d, str *in, str *slice, enum smtp_data_event *event) {
    char c = in->p[0];
    *event = SMTP_DATA_SLICE;
    switch (d->state) {
    case AT_DOT:
        d->state = c == '\r' ? AT_DOT_CR : AT_TEXT;
        if (d->state == AT_TEXT)
            return false;
        *in = str_tail(*in, 1);
        *event = SMTP_DATA_MORE;
        return true;
    case AT_DOT_CR:
        if (c == '\n') {
            *in = str_tail(*in, 1);
            d->state = AT_START;
            *event = SMTP_DATA_END;
            return true;
        }
        break;
    case AT_CR_HELD:
        if (c == '\n') {
            *in = str_tail(*in, 1);
            *slice = S("\r\n");
            d->state = AT_START;
            end_line(d);
            return true;
        }
        break;
    default: return false;
    }
    d->bare_cr++;
    d->column++;
    d->state = AT_TEXT;
    *slice = d->framing == SMTP_FRAMING_NORMALIZE ? S(" ") : S("\r");
    if (d->framing == SMTP_FRAMING_REJECT)
        *event = SMTP_DATA_FAULT;
    return true;
}

/* All bytes are data: there is nothing to count. */
static enum smtp_data_event step_binary(str *in, str *slice) {
    *slice = *in;
    *in = str_tail(*in, in->n);
    return slice->n ? SMTP_DATA_SLICE : SMTP_DATA_MORE;
}

/* Walks to the next thing that cannot be handed on as it is. */
static enum smtp_data_event scan_text(struct smtp_data *d, struct scan *s, str *in, str *slice) {
    bool normalize = d->framing == SMTP_FRAMING_NORMALIZE;
    while (s->at < s->in.n) {
        const char *p = s->in.p + s->at;
        char c = *p;
        if (d->state == AT_START && begin_line(d, c)) {
            if (s->at)
                return give(s, 1, in, slice);
            *in = str_tail(s->in, 1);
            return SMTP_DATA_MORE;
        }
        if (d->state == AT_CR && c == '\n') {
            d->column--; /* the CR, which was counted when it came */
            end_line(d);
            d->state = AT_START;
            s->at++;
            continue;
        }
        if (d->state == AT_CR) {
            d->bare_cr++;
            d->state = AT_TEXT;
            if (d->framing == SMTP_FRAMING_REJECT)
                return SMTP_DATA_FAULT;
        }
        if (c == '\r') {
            if (normalize && s->at + 1 < s->in.n && p[1] == '\n') {
                end_line(d);
                d->state = AT_START;
                s->at += 2;
                continue;
            }
            d->state = normalize ? AT_CR_HELD : AT_CR;
            if (normalize)
                return give(s, 1, in, slice);
            d->column++;
            s->at++;
            continue;
        }
        if (c == '\n' || c == '\0') {
            if (d->framing == SMTP_FRAMING_REJECT) {
                d->bare_lf += c == '\n';
                d->nul += c == '\0';
                return SMTP_DATA_FAULT;
            }
            if (normalize && s->at)
                return give(s, 0, in, slice);
            d->bare_lf += c == '\n';
            d->nul += c == '\0';
            if (c == '\n')
                end_line(d);
            else
                d->column++;
            if (normalize) {
                *slice = c == '\n' ? S("\r\n") : S(" ");
                *in = str_tail(s->in, 1);
                return SMTP_DATA_SLICE;
            }
            s->at++;
            continue;
        }
        size_t n = plain_run(p, s->in.n - s->at, &d->eight_bit);
        d->column += n;
        s->at += n;
    }
    return give(s, 0, in, slice);
}

enum smtp_data_event smtp_data_step(struct smtp_data *d, str *in, str *slice) {
    enum smtp_data_event event;
    if (d->kind == SMTP_DATA_BINARY)
        return step_binary(in, slice);
    for (;;) {
        *slice = STR_NONE;
        if (in->n == 0)
            return SMTP_DATA_MORE;
        if (resolve_held(d, in, slice, &event)) {
            if (event == SMTP_DATA_MORE)
                continue;
            return event;
        }
        struct scan s = {*in, 0};
        event = scan_text(d, &s, in, slice);
        if (event == SMTP_DATA_FAULT || (event == SMTP_DATA_SLICE && slice->n))
            return event;
    }
}

enum smtp_data_event smtp_data_finish(struct smtp_data *d, str *slice) {
    if (d->state == AT_CR || d->state == AT_CR_HELD) {
        bool held = d->state == AT_CR_HELD;
        d->bare_cr++;
        d->state = AT_TEXT;
        if (d->framing == SMTP_FRAMING_REJECT)
            return SMTP_DATA_FAULT;
        *slice = S(" ");
        if (held)
            return SMTP_DATA_SLICE;
    }
    if (d->column)
        end_line(d);
    return SMTP_DATA_END;
}

void smtp_header_init(struct smtp_header *h) {
    *h = (struct smtp_header){.blank = true};
}

static const char received[] = "received:";
enum { MATCH_FAILED = 255 };

static void header_char(struct smtp_header *h, char c) {
    if (c == '\n') {
        h->done = h->blank;
        h->blank = true;
        h->match = 0;
        return;
    }
    if (c != '\r')
        h->blank = false;
    if (h->match == MATCH_FAILED)
        return;
    h->match = char_lower(c) == received[h->match] ? h->match + 1 : MATCH_FAILED;
    if (h->match == sizeof received - 1) {
        h->hops++;
        h->match = MATCH_FAILED;
    }
}

/* The rest of a line whose beginning is known to be of no interest. */
static size_t skip_line(const struct smtp_header *h, str s) {
    if (h->match != MATCH_FAILED || h->blank)
        return 0;
    const char *end = memchr(s.p, '\n', s.n);
    return end ? (size_t)(end - s.p) : s.n;
}

void smtp_header_feed(struct smtp_header *h, str slice) {
    while (slice.n && !h->done) {
        size_t n = skip_line(h, slice);
        h->size += n;
        slice = str_tail(slice, n);
        if (slice.n == 0)
            break;
        header_char(h, slice.p[0]);
        h->size++;
        slice = str_tail(slice, 1);
    }
}
