#include "store/reader_mailbox.h"

#include "store/delivery_rows.h"

enum { NAME_TEXT = 1000 };

bool reader_mailbox_take(struct request *r, str account, str mailbox) {
    r->filter = BUF(NAME_TEXT);
    buf_add(&r->filter, account);
    buf_add(&r->ids, str_head(mailbox, NAME_TEXT));
    return !r->filter.full && !r->ids.full;
}

static enum err done(struct request *r) {
    struct frame f = {.type = FRAME_DONE, .done = {r->tag, r->count, r->state.total, r->state.unread}};
    frame_put(&r->out, &f);
    r->done = true;
    return OK;
}

static enum err put_mailbox(void *arg, const struct db_mailbox *m) {
    struct request *r = arg;
    if (r->out.n >= READER_STEP)
        return ERR_MORE;
    struct frame f = {.type = FRAME_MAILBOX};
    f.mailbox =
        (struct frame_mailbox){r->tag, m->name, m->role, m->uidvalidity, m->uidnext, m->messages, m->unseen, m->bytes};
    frame_put(&r->out, &f);
    r->cursor = m->id;
    r->count++;
    return OK;
}

enum err reader_mailbox_list(struct db *db, struct request *r, struct why *w) {
    enum err e = db_mailboxes(db, buf_str(&r->filter), r->cursor, put_mailbox, r, w);
    if (e == ERR_MORE)
        return OK; /* this step is full */
    return e ? e : done(r);
}

static enum err put_message(void *arg, const struct db_mailbox_message *m) {
    struct request *r = arg;
    if (r->out.n >= READER_STEP || r->count >= r->limit)
        return ERR_MORE;
    struct frame f = {.type = FRAME_MAILBOX_ROW};
    f.mailbox_row = (struct frame_mailbox_row){r->tag, m->uid, m->id, m->flags, m->size, m->received_ms};
    frame_put(&r->out, &f);
    r->index = m->uid;
    r->count++;
    return OK;
}

enum err reader_mailbox_rows(struct db *db, struct request *r, struct why *w) {
    enum err e = db_mailbox_messages(db, buf_str(&r->filter), buf_str(&r->ids), r->index, put_message, r, w);
    if (e == ERR_MORE && r->count < r->limit)
        return OK;
    return e && e != ERR_MORE ? e : done(r);
}
