#include <string.h>

#include "base/code.h"
#include "mime/maildir.h"
#include "store/delivery_rows.h"
#include "store/sqlite_impl.h"

/* IMAP's special uses (RFC 6154); made with the first message of an owner, so that every client finds them. */
static const struct folder {
    str name, role;
} standard[] = {
    {S_INIT("INBOX"), S_INIT("inbox")}, {S_INIT("Sent"), S_INIT("sent")},   {S_INIT("Drafts"), S_INIT("drafts")},
    {S_INIT("Junk"), S_INIT("junk")},   {S_INIT("Trash"), S_INIT("trash")}, {S_INIT("Archive"), S_INIT("archive")},
};
enum { STANDARD = sizeof(standard) / sizeof(standard[0]), NAME_MAX_BYTES = 255 };

/* A mailbox's UIDVALIDITY is above every one its owner has had (RFC 9051 2.3.1.1), also under a name used before. */
static enum err make_folder(struct db *db, uint64_t owner, str name, str role, uint64_t received_ms, struct why *w) {
    struct query q;
    enum err e = query_begin(db, SQL_OWNER_VALIDITY, &q, w);
    if (e)
        return e;
    bind_u64(&q, owner);
    bind_u64(&q, received_ms / 1000 & 0xffffffff);
    e = query_run(&q, w);
    if (!e)
        e = query_begin(db, SQL_MAILBOX_ADD, &q, w);
    if (e)
        return e;
    bind_u64(&q, owner);
    bind_text(&q, name);
    bind_text(&q, role);
    return query_run(&q, w);
}

static enum err make_owner(struct db *db, const struct db_mailbox_put *p, struct why *w) {
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_OWNER_ADD, &q, w);
    if (e)
        return e;
    bind_text(&q, p->account);
    bind_u64(&q, p->received_ms / 1000 & 0xffffffff);
    e = query_row(&q, &more, w);
    uint64_t owner = !e && more ? column_u64(&q) : 0;
    query_end(&q);
    for (size_t i = 0; !e && i < STANDARD; i++)
        e = make_folder(db, owner, standard[i].name, standard[i].role, p->received_ms, w);
    return e;
}

static enum err grow_owner(struct db *db, const struct db_mailbox_put *p, uint64_t *owner, uint64_t *modseq,
                           struct why *w) {
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_OWNER_GROW, &q, w);
    if (e)
        return e;
    bind_text(&q, p->account);
    bind_u64(&q, p->size);
    e = query_row(&q, &more, w);
    *owner = !e && more ? column_u64(&q) : 0;
    *modseq = !e && more ? column_u64(&q) : 0;
    query_end(&q);
    return e;
}

/* The folder's own spelling; INBOX where there is none of that name and none may be made. */
static enum err find_folder(struct db *db, uint64_t owner, const struct db_mailbox_put *p, char name[NAME_MAX_BYTES],
                            size_t *n, struct why *w) {
    struct query q;
    bool more = false;
    str folder = p->folder.n <= NAME_MAX_BYTES && utf8_valid(p->folder) ? p->folder : STR_NONE;
    memcpy(name, "INBOX", *n = 5);
    if (folder.n == 0 || str_ieq(folder, S("INBOX")))
        return OK;
    enum err e = query_begin(db, SQL_MAILBOX_FIND, &q, w);
    if (e)
        return e;
    bind_u64(&q, owner);
    bind_text(&q, folder);
    e = query_row(&q, &more, w);
    str found = !e && more ? column_text(&q) : STR_NONE;
    if (found.n && found.n <= NAME_MAX_BYTES)
        memcpy(name, found.p, *n = found.n);
    query_end(&q);
    if (e || more || !p->make)
        return e;
    memcpy(name, folder.p, *n = folder.n);
    return make_folder(db, owner, folder, STR_NONE, p->received_ms, w);
}

enum err db_mailbox_deliver(struct db *db, const struct db_mailbox_put *p, struct why *w) {
    struct query q;
    bool more = false;
    char name[NAME_MAX_BYTES];
    size_t name_n = 0;
    uint64_t owner = 0, modseq = 0;
    enum err e = grow_owner(db, p, &owner, &modseq, w);
    if (!e && !owner) {
        e = make_owner(db, p, w);
        if (!e)
            e = grow_owner(db, p, &owner, &modseq, w);
    }
    if (!e)
        e = find_folder(db, owner, p, name, &name_n, w);
    if (!e)
        e = query_begin(db, SQL_MAILBOX_GROW, &q, w);
    if (e)
        return e;
    bind_u64(&q, owner);
    bind_text(&q, str_n(name, name_n));
    bind_u64(&q, modseq);
    bind_u64(&q, p->size);
    bind_u64(&q, !(p->flags & MAILDIR_SEEN));
    e = query_row(&q, &more, w);
    uint64_t mailbox = !e && more ? column_u64(&q) : 0, uid = !e && more ? column_u64(&q) : 0;
    query_end(&q);
    if (!e && !mailbox)
        e = why(w, ERR_CORRUPT, "database: the mailbox %.*s of %.*s is missing", (int)name_n, name,
                STR_ARG(p->account));
    if (!e)
        e = query_begin(db, SQL_MAILBOX_MESSAGE_ADD, &q, w);
    if (e)
        return e;
    bind_u64(&q, mailbox);
    bind_u64(&q, uid);
    bind_u64(&q, p->num);
    bind_u64(&q, p->flags);
    bind_u64(&q, modseq);
    bind_u64(&q, p->size);
    bind_u64(&q, p->date_ms);
    bind_u64(&q, p->index);
    return query_run(&q, w);
}

/* ---- looking into them ---- */

enum err db_mailboxes(struct db *db, str account, uint64_t after, db_mailbox_each *each, void *arg, struct why *w) {
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_MAILBOX_LIST, &q, w);
    if (e)
        return e;
    bind_text(&q, account);
    bind_u64(&q, after);
    while (!(e = query_row(&q, &more, w)) && more) {
        struct db_mailbox m = {.id = column_u64(&q)};
        m.name = column_text(&q);
        m.role = column_text(&q);
        m.uidvalidity = (uint32_t)column_u64(&q);
        m.uidnext = (uint32_t)column_u64(&q);
        m.messages = column_u64(&q);
        m.unseen = column_u64(&q);
        m.bytes = column_u64(&q);
        if ((e = each(arg, &m)))
            break;
    }
    query_end(&q);
    return e;
}

static enum err mailbox_known(struct db *db, str account, str name, struct why *w) {
    struct query q;
    bool more = false;
    enum err e = query_begin(db, SQL_MAILBOX_KNOWN, &q, w);
    if (e)
        return e;
    bind_text(&q, account);
    bind_text(&q, name);
    e = query_row(&q, &more, w);
    query_end(&q);
    return e || more ? e : why(w, ERR_NOT_FOUND, "there is no such folder");
}

enum err db_mailbox_messages(struct db *db, str account, str name, uint32_t after, db_mailbox_message_each *each,
                             void *arg, struct why *w) {
    struct query q;
    bool more = false;
    enum err e = mailbox_known(db, account, name, w);
    if (!e)
        e = query_begin(db, SQL_MAILBOX_MESSAGES, &q, w);
    if (e)
        return e;
    bind_text(&q, account);
    bind_text(&q, name);
    bind_u64(&q, after);
    while (!(e = query_row(&q, &more, w)) && more) {
        struct db_mailbox_message m = {.uid = (uint32_t)column_u64(&q)};
        m.id = column_text(&q);
        m.flags = column_u64(&q);
        m.size = column_u64(&q);
        m.received_ms = column_u64(&q);
        if ((e = each(arg, &m)))
            break;
    }
    query_end(&q);
    return e;
}
