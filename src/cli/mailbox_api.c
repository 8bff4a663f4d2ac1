#include "cli/mailbox_api.h"

#include <string.h>

#include "base/date.h"
#include "cli/cli_http.h"

enum { PAGE = 1000, PAGE_BYTES = 16 * 1024 * 1024, PATH_MAX_BYTES = 8192 };

/* The JSON at a path; NULL with a status told. */
static json_t *ask(const struct cli_args *args, const char *path, const char *missing, int *status) {
    struct buf answer = BUF(PAGE_BYTES);
    json_error_t error;
    *status = cli_http_get(args, path, missing, &answer);
    json_t *root = *status == EX_OK ? json_loadb(answer.p, answer.n, 0, &error) : NULL;
    if (*status == EX_OK && !json_is_object(root))
        *status = cli_error(args->page, EX_UNAVAILABLE, "%s does not answer as a Penfold does", cli_text(args, "url"));
    buf_free(&answer);
    if (*status != EX_OK) {
        json_decref(root);
        return NULL;
    }
    return root;
}

int mailbox_account(const struct cli_args *args, const char *address, struct buf *account) {
    struct buf path = BUF(PATH_MAX_BYTES);
    int status;
    buf_add(&path, S("/api/v1/admin/accounts/"));
    cli_http_escape(str_of(address), &path);
    json_t *root = ask(args, buf_cstr(&path), "there is no such account", &status);
    const char *key = json_string_value(json_object_get(root, "Key"));
    if (status == EX_OK && !key)
        status = cli_error(args->page, EX_UNAVAILABLE, "there is no such account");
    if (key)
        buf_add(account, str_of(key));
    json_decref(root);
    buf_free(&path);
    return status;
}

int mailbox_folders(const struct cli_args *args, str account, json_t **folders) {
    struct buf path = BUF(PATH_MAX_BYTES);
    int status;
    buf_add(&path, S("/api/v1/admin/mailboxes/"));
    cli_http_escape(account, &path);
    json_t *root = ask(args, buf_cstr(&path), NULL, &status);
    *folders = json_incref(json_object_get(root, "Mailboxes"));
    json_decref(root);
    buf_free(&path);
    if (status == EX_OK && !json_is_array(*folders))
        status = cli_error(args->page, EX_UNAVAILABLE, "%s does not answer as a Penfold does", cli_text(args, "url"));
    return status;
}

/* ---- messages ---- */

static void folder_path(str account, str folder, struct buf *path) {
    buf_add(path, S("/api/v1/admin/mailboxes/"));
    cli_http_escape(account, path);
    buf_char(path, '/');
    cli_http_escape_levels(folder, path);
}

static int next_page(struct mailbox_rows *m) {
    struct buf path = BUF(PATH_MAX_BYTES);
    int status;
    folder_path(m->account, m->folder, &path);
    buf_printf(&path, "?limit=%d&after=%llu", PAGE, (unsigned long long)m->after);
    json_t *root = ask(m->args, buf_cstr(&path), "there is no such folder", &status);
    json_decref(m->page);
    m->page = json_incref(json_object_get(root, "Messages"));
    m->at = 0;
    json_decref(root);
    buf_free(&path);
    return status;
}

static uint64_t number(const json_t *row, const char *name) {
    json_int_t n = json_integer_value(json_object_get(row, name));
    return n > 0 ? (uint64_t)n : 0;
}

int mailbox_rows_next(struct mailbox_rows *m, struct mailbox_row *row) {
    struct date d = {0};
    *row = (struct mailbox_row){0};
    if (m->at >= json_array_size(m->page)) {
        int status = next_page(m);
        if (status != EX_OK || json_array_size(m->page) == 0)
            return status;
    }
    const json_t *one = json_array_get(m->page, m->at++);
    m->after = number(one, "UID");
    if (!date_parse_3339(str_of(json_string_value(json_object_get(one, "Received"))), &d))
        d.us = 0;
    *row = (struct mailbox_row){.id = json_string_value(json_object_get(one, "ID")),
                                .uid = m->after,
                                .size = number(one, "Size"),
                                .received_us = d.us > 0 ? (uint64_t)d.us : 0,
                                .flags = (unsigned)number(one, "Flags")};
    return row->id ? EX_OK : cli_error(m->args->page, EX_UNAVAILABLE, "a message without an id came");
}

void mailbox_rows_end(struct mailbox_rows *m) {
    json_decref(m->page);
    m->page = NULL;
}

int mailbox_fetch(const struct cli_args *args, const char *id, struct buf *bytes) {
    struct buf path = BUF(PATH_MAX_BYTES), refusal = BUF(4096);
    buf_add(&path, S("/api/v1/message/"));
    cli_http_escape(str_of(id), &path);
    buf_add(&path, S("/raw?edited=1"));
    int status = cli_http_find(args, buf_cstr(&path), bytes, &refusal);
    buf_free(&path);
    buf_free(&refusal);
    return status;
}

int mailbox_append(const struct cli_args *args, str account, const struct mail_item *item, struct buf *refusal) {
    struct buf path = BUF(PATH_MAX_BYTES), answer = BUF(64 * 1024);
    folder_path(account, item->folder, &path);
    buf_printf(&path, "?flags=%u", item->flags);
    if (item->received_us) {
        buf_add(&path, S("&received="));
        date_put_3339(&path, (struct date){.us = (int64_t)item->received_us}, 6);
    }
    int status = cli_http_post(args, buf_cstr(&path), "message/rfc822", item->bytes, &answer, refusal);
    buf_free(&path);
    buf_free(&answer);
    return status;
}
