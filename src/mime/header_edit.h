/* header_edit.h - changes of a message's header, as recorded edits (mime/edit.h).  Pure.
 * One sees the header as the changes before have made it: a field that was added can be replaced, one that was cut is
 * not there.  Fields that are not touched keep every byte, however odd they are.
 *
 *     header_edit_begin(&h, header, &arena);     `header` is the header section, from the first byte of the message
 *     header_edit_remove(&h, S("Bcc"));          any number of these, in any order
 *     e = header_edit_finish(&h, &list);         the list of edits; ERR_NOMEM when memory ran out on the way
 *
 * Names and values that are none are refused (ERR_SYNTAX, with a sentence) and change nothing: a value never becomes a
 * second field.  It may be folded (CRLF and a blank) or be on one line. */
#ifndef MIME_HEADER_EDIT_H
#define MIME_HEADER_EDIT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/date.h"
#include "base/err.h"

struct header_change;

struct header_edit {
    str header;
    struct arena *mem;
    struct header_change *changes; /* in the order of their places */
    size_t front, back, end;       /* where fields can be added, and where the header is over */
    bool torn;                     /* the last field has no line end */
    bool no_memory;
};

/* The empty line at the end of the header may be in it or not.  The bytes and the arena outlive h. */
void header_edit_begin(struct header_edit *h, str header, struct arena *mem);

/* The first field of that name as it is now, folded; false: there is none. */
bool header_edit_get(const struct header_edit *h, str name, str *value);

/* All fields of that name; how many there were. */
unsigned header_edit_remove(struct header_edit *h, str name);

/* A field before all others (as trace fields are) or behind them, but before any line that is no field.  `text`: the
 * value is text for people, which becomes encoded words where it is not ASCII, and is folded; else it stands as it is.
 */
enum header_edit_place { HEADER_EDIT_FRONT, HEADER_EDIT_END };
enum err header_edit_add(struct header_edit *h, enum header_edit_place place, str name, str value,
                         struct why *w) MUST_CHECK;
enum err header_edit_add_text(struct header_edit *h, enum header_edit_place place, str name, str value,
                              struct why *w) MUST_CHECK;
/* In place of the first field of that name, the others are cut; behind all others when there was none. */
enum err header_edit_set_text(struct header_edit *h, str name, str value, struct why *w) MUST_CHECK;

/* The addresses of all fields of that name, each asked for: the callback puts what it becomes into out and returns
 * true, or returns false and it stays.  Display names, groups and comments around it stay; what is no address (as an
 * address_iter would read it again) is not put in.  How many were changed. */
typedef bool header_edit_address(void *arg, str address, struct buf *out);
unsigned header_edit_addresses(struct header_edit *h, str name, header_edit_address *ask, void *arg);

/* Every field asked for: its value (folded as it is) stays, is replaced by what was put into out, or is cut with its
 * field.  A line that is no field has no name and can only be cut.  An error of the callback ends the walk. */
enum header_edit_verdict { HEADER_EDIT_STAYS, HEADER_EDIT_REPLACED, HEADER_EDIT_CUT };
typedef enum err header_edit_field(void *arg, str name, str value, struct buf *out, enum header_edit_verdict *verdict);
enum err header_edit_fields(struct header_edit *h, header_edit_field *ask, void *arg) MUST_CHECK;

/* The tag before the subject, unless it is there anywhere already ("Re: [tag] ..."). */
enum err header_edit_subject(struct header_edit *h, str tag, struct why *w) MUST_CHECK;

/* What a submission server does to a message of a user (RFC 6409 8): adds Date, Message-ID and From where there are
 * none, cuts Bcc, Resent-Bcc (RFC 5322 3.6.3) and Return-Path (RFC 5321 4.4). */
struct header_edit_submission {
    struct date date;
    str message_id; /* "id@host", without <> */
    str from;       /* an address; empty: no From is added */
};
enum err header_edit_submission(struct header_edit *h, const struct header_edit_submission *s,
                                struct why *w) MUST_CHECK;

/* Appends the edits; nothing when nothing changed.  ERR_NOMEM, ERR_FULL: list is what it was. */
enum err header_edit_finish(struct header_edit *h, struct buf *list) MUST_CHECK;

#endif
