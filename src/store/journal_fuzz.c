/* Segments of any content: recovery reads nothing outside of them, names damage instead of crashing, and where it opens
 * them it is stable: written to and opened again, the journal has the same records and the new one.
 * Input: u8 flags, u16 where the second segment begins, the bytes of both.  Unless flags say otherwise the checksums
 * are put right first, so that mutations get beyond them. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/code.h"
#include "store/file_fault.h"
#include "store/journal.h"
#include "store/record.h"

enum { SEGMENT = 64 * 1024, RAW = 1, VERIFY = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t count, last;
};

static enum err each(void *arg, const struct journal_record *r, struct why *w) {
    struct seen *s = arg;
    struct record record;
    str body = r->body;
    uint64_t num = 0;
    (void)w;
    assert(r->place.length >= JOURNAL_HEADER + body.n);
    if ((r->type != JOURNAL_MOVED || take_u64(&body, &num)) && record_take(body, &record) == OK)
        assert(record.id.n == ID_SIZE && record.envelope.n + record.transcript.n + record.bytes.n <= body.n);
    s->last = r->place.seq;
    s->count += r->type != JOURNAL_START;
    return OK;
}

static void put(char *p, uint64_t v, int n) {
    for (int i = 0; i < n; i++)
        p[i] = (char)(v >> (8 * i));
}

/* Walks the records as they say where they end, and corrects what is behind the type: epoch and checksum. */
static void put_right(char *p, size_t size, uint64_t epoch) {
    while (size >= JOURNAL_HEADER) {
        str h = str_n(p + 12, 4);
        uint32_t length = 0;
        bool whole = take_u32(&h, &length);
        size_t all = JOURNAL_HEADER + (((size_t)length + 7) & ~(size_t)7);
        if (!whole || all > size)
            return;
        p[21] = p[22] = p[23] = 0; /* a seq that can be counted on from */
        put(p + 24, epoch, 8);
        put(p + 4, crc32c(0, str_n(p + 8, all - 8)), 4);
        p += all;
        size -= all;
    }
}

static void make(struct disk *d, uint64_t epoch, str bytes, bool raw) {
    char path[JOURNAL_PATH], *p = malloc(bytes.n + 1);
    struct why w;
    int fd = -1;
    assert(p);
    if (bytes.n)
        memcpy(p, bytes.p, bytes.n);
    if (!raw)
        put_right(p, bytes.n, epoch);
    journal_path(path, "/j", epoch);
    struct iovec part = {p, bytes.n};
    enum err e = disk_open(d, path, O_RDWR | O_CREAT, &fd, &w);
    assert(e == OK);
    e = disk_write(d, fd, &part, 1, 0, path, &w);
    assert(e == OK);
    d->ops->close(d, fd);
    free(p);
}

static enum err open_it(struct disk *d, struct journal **j, struct seen *s) {
    struct journal_recovery found;
    struct why w = {0};
    *s = (struct seen){0};
    return journal_open(j, d, "/j", SEGMENT, 7, (struct journal_position){0}, each, s, &found, &w);
}

static void go_on(struct disk *d) {
    struct journal *j = NULL;
    struct seen before, after;
    struct journal_place place;
    struct why w = {0};
    if (open_it(d, &j, &before) != OK)
        return;
    struct iovec part = {(void *)"new", 3};
    enum err e = journal_add(j, JOURNAL_GONE, &part, 1, &place, &w);
    assert(e == OK);
    e = journal_commit(j, &w);
    assert(e == OK);
    journal_close(j);
    e = open_it(d, &j, &after);
    assert(e == OK && after.count == before.count + 1 && after.last == place.seq);
    journal_close(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    str in = str_n(data, size);
    uint8_t flags = 0;
    uint16_t split = 0;
    struct why w;
    if (!take_u8(&in, &flags) || !take_u16(&in, &split))
        return 0;
    struct fault_disk *f = fault_disk_new(1);
    struct disk *d = fault_disk(f);
    enum err e = disk_mkdir(d, "/j", &w);
    assert(e == OK);
    make(d, 0x100000001, str_head(in, split), flags & RAW);
    if (split < in.n)
        make(d, 0x200000002, str_tail(in, split), flags & RAW);
    if (flags & VERIFY) {
        struct journal_recovery found;
        struct seen s = {0};
        struct journal_position none = {0};
        e = journal_verify(d, "/j", SEGMENT, none, each, &s, &found, &w);
        assert(e != OK || found.last_seq <= UINT64_MAX - 1);
    } else
        go_on(d);
    fault_disk_free(f);
    return 0;
}
