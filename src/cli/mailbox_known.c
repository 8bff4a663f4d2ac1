#include "cli/mailbox_known.h"

#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "base/code.h"

struct known {
    uint64_t size;
    char id[ID_SIZE + 1];
    bool hashed, used;
    uint8_t hash[SHA256_DIGEST_LENGTH];
};

struct mailbox_known {
    const struct cli_args *args;
    struct known *list; /* by size */
    size_t count;
};

static bool add(struct mailbox_known *k, const struct mailbox_row *row) {
    if ((k->count & (k->count - 1)) == 0) {
        void *p = reallocarray(k->list, k->count ? 2 * k->count : 1, sizeof *k->list);
        if (!p)
            return false;
        k->list = p;
    }
    struct known *n = &k->list[k->count++];
    *n = (struct known){.size = row->size};
    strncpy(n->id, row->id, ID_SIZE);
    return true;
}

static int by_size(const void *a, const void *b) {
    const struct known *x = a, *y = b;
    return x->size == y->size ? 0 : x->size < y->size ? -1 : 1;
}

/* A folder that is not there yet has nothing. */
static int is_there(const struct cli_args *args, str account, str folder, bool *there) {
    json_t *folders = NULL, *one;
    size_t i;
    int status = mailbox_folders(args, account, &folders);
    *there = false;
    json_array_foreach(folders, i, one) *there |=
        str_ieq(str_of(json_string_value(json_object_get(one, "Name"))), folder);
    json_decref(folders);
    return status;
}

static int fill(struct mailbox_known *k, str account, str folder) {
    struct mailbox_rows rows = {.args = k->args, .account = account, .folder = folder};
    struct mailbox_row row;
    bool there;
    int status = is_there(k->args, account, folder, &there);
    while (status == EX_OK && there) {
        status = mailbox_rows_next(&rows, &row);
        if (status == EX_OK && row.id && !add(k, &row))
            status = cli_error(k->args->page, EX_OSERR, "out of memory");
        there = row.id != NULL;
    }
    mailbox_rows_end(&rows);
    if (k->count)
        qsort(k->list, k->count, sizeof *k->list, by_size);
    return status;
}

int mailbox_known_new(struct mailbox_known **out, const struct cli_args *args, str account, str folder) {
    *out = calloc(1, sizeof **out);
    if (!*out)
        return cli_error(args->page, EX_OSERR, "out of memory");
    (*out)->args = args;
    return fill(*out, account, folder);
}

static int read_hash(struct mailbox_known *k, struct known *n) {
    struct buf bytes = BUF(MAIL_ITEM_MAX);
    int status = n->hashed ? EX_OK : mailbox_fetch(k->args, n->id, &bytes);
    if (status == EX_OK && !n->hashed)
        SHA256((const uint8_t *)(bytes.p ? bytes.p : ""), bytes.n, n->hash);
    n->hashed = status == EX_OK;
    n->used = n->used || status == EX_DATAERR; /* it went away */
    buf_free(&bytes);
    return status == EX_DATAERR ? EX_OK : status;
}

static size_t first_of_size(const struct mailbox_known *k, uint64_t size) {
    size_t low = 0, high = k->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (k->list[mid].size < size)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

int mailbox_known_take(struct mailbox_known *k, str bytes, bool *known) {
    uint8_t hash[SHA256_DIGEST_LENGTH];
    *known = false;
    SHA256((const uint8_t *)bytes.p, bytes.n, hash);
    for (size_t i = first_of_size(k, bytes.n); i < k->count && k->list[i].size == bytes.n; i++) {
        struct known *n = &k->list[i];
        int status = n->used ? EX_OK : read_hash(k, n);
        if (status != EX_OK)
            return status;
        if (!n->used && memcmp(n->hash, hash, sizeof hash) == 0) {
            n->used = *known = true;
            return EX_OK;
        }
    }
    return EX_OK;
}

void mailbox_known_free(struct mailbox_known *k) {
    if (!k)
        return;
    free(k->list);
    free(k);
}
