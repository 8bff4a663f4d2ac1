/* record.h - the body of an ACCEPTED record of the journal: everything that is known of a message, and its bytes. Pure.
 *   u8 format  STR id  STR session  u64 created_ms  u64 size  u64 big  u32 envelope length  u32 transcript length
 *   envelope (smtp/envelope.h)  transcript  bytes
 * When big is not 0 the bytes lie in big/<16 hex> and here stands the crc32c of each MiB of them, u32 each.
 * A MOVED record is the u64 number of the message and the same again. */
#ifndef STORE_RECORD_H
#define STORE_RECORD_H

#include "base/buf.h"
#include "base/code.h"
#include "base/err.h"

enum { RECORD_BLOCK = 1024 * 1024, RECORD_HEAD_MAX = 128 };

struct record {
    str id, session;
    uint64_t created_ms, size, big;
    str envelope, transcript;
    str bytes; /* of the message, or the checksums of its blocks */
};

/* What stands before the envelope; the lengths of envelope and transcript are said apart, as they may lie in pieces. */
void record_put_head(struct buf *out, const struct record *r, uint32_t envelope_size, uint32_t transcript_size);
/* ERR_CORRUPT, ERR_VERSION. */
enum err record_take(str body, struct record *r) MUST_CHECK;
size_t record_blocks(uint64_t size);

#endif
