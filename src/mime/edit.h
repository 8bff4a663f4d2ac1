/* edit.h - recorded edits: what a message became, beside bytes that never change.  Pure.
 * An edit says: at this offset of the arrival, cut so many bytes and put these in their place.  A list of them is in
 * order, without overlap; it travels and is kept encoded (u64 offset, u64 cut, STR put, again and again), and the view
 * it makes can be read at any offset without reading what stands before. */
#ifndef MIME_EDIT_H
#define MIME_EDIT_H

#include "base/buf.h"
#include "base/err.h"

void edit_put(struct buf *list, uint64_t offset, uint64_t cut, str put);
/* In order, inside size, without overlap; ERR_CORRUPT.  *edited_size: of the view. */
enum err edit_check(str list, uint64_t size, uint64_t *edited_size) MUST_CHECK;

/* The piece of the view that begins at `at`: either bytes of the edits themselves (put), or a range of the arrival
 * (from, n).  False: `at` is the end. */
struct edit_piece {
    str put;
    uint64_t from, n; /* put.n == 0 */
};
bool edit_piece(str list, uint64_t size, uint64_t at, struct edit_piece *out);

#endif
