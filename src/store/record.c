#include "store/record.h"

enum { FORMAT = 1 };

void record_put_head(struct buf *out, const struct record *r, uint32_t envelope_size, uint32_t transcript_size) {
    buf_u8(out, FORMAT);
    buf_lstr(out, r->id);
    buf_lstr(out, r->session);
    buf_u64(out, r->created_ms);
    buf_u64(out, r->size);
    buf_u64(out, r->big);
    buf_u32(out, envelope_size);
    buf_u32(out, transcript_size);
}

size_t record_blocks(uint64_t size) {
    return (size_t)((size + RECORD_BLOCK - 1) / RECORD_BLOCK);
}

enum err record_take(str body, struct record *r) {
    uint8_t format = 0;
    uint32_t envelope = 0, transcript = 0;
    if (!take_u8(&body, &format))
        return ERR_CORRUPT;
    if (format != FORMAT)
        return ERR_VERSION;
    if (!take_lstr(&body, &r->id) || !take_lstr(&body, &r->session) || !take_u64(&body, &r->created_ms) ||
        !take_u64(&body, &r->size) || !take_u64(&body, &r->big) || !take_u32(&body, &envelope) ||
        !take_u32(&body, &transcript) || (uint64_t)envelope + transcript > body.n)
        return ERR_CORRUPT;
    r->envelope = str_head(body, envelope);
    r->transcript = str_sub(body, envelope, transcript);
    r->bytes = str_tail(body, (size_t)envelope + transcript);
    if (r->big ? r->bytes.n != 4 * record_blocks(r->size) : r->bytes.n != r->size)
        return ERR_CORRUPT;
    return id_valid(r->id) ? OK : ERR_CORRUPT;
}
