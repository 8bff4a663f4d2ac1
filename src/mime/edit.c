#include "mime/edit.h"

void edit_put(struct buf *list, uint64_t offset, uint64_t cut, str put) {
    size_t before = list->n;
    buf_u64(list, offset);
    buf_u64(list, cut);
    buf_lstr(list, put);
    if (list->full) /* an edit is there whole or not at all */
        buf_shrink(list, before);
}

struct edit {
    uint64_t offset, cut;
    str put;
};

/* The next edit of *list, which must begin at or behind `from` and end inside size. */
static bool take(str *list, uint64_t from, uint64_t size, struct edit *e) {
    return take_u64(list, &e->offset) && take_u64(list, &e->cut) && take_lstr(list, &e->put) && e->offset >= from &&
           e->offset <= size && e->cut <= size - e->offset;
}

enum err edit_check(str list, uint64_t size, uint64_t *edited_size) {
    struct edit e;
    uint64_t from = 0, edited = size;
    while (list.n) {
        if (!take(&list, from, size, &e))
            return ERR_CORRUPT;
        edited -= e.cut;
        if (e.put.n > UINT64_MAX - edited)
            return ERR_CORRUPT;
        edited += e.put.n;
        from = e.offset + e.cut;
    }
    *edited_size = edited;
    return OK;
}

static bool range(uint64_t from, uint64_t n, struct edit_piece *out) {
    *out = (struct edit_piece){.from = from, .n = n};
    return true;
}

bool edit_piece(str list, uint64_t size, uint64_t at, struct edit_piece *out) {
    struct edit e;
    uint64_t from = 0; /* in the arrival; `at` counts down to the piece */
    while (list.n) {
        if (!take(&list, from, size, &e))
            return false;
        uint64_t kept = e.offset - from;
        if (at < kept)
            return range(from + at, kept - at, out);
        at -= kept;
        if (at < e.put.n) {
            *out = (struct edit_piece){.put = str_tail(e.put, (size_t)at)};
            return true;
        }
        at -= e.put.n;
        from = e.offset + e.cut;
    }
    return at < size - from && range(from + at, size - from - at, out);
}
