/* view_kind.h - what httpd can ask content for: one message in (VIEW_BEGIN, its envelope, its bytes), one view out.
 * JSON views hold what the mail and its envelope tell; what the store knows (ID, Read, Created, Size, Tags) is joined
 * by httpd.  Field names and shapes are those of the Mailpit API (docs/api.md); JSON is one object on one line.
 *
 * The message is read as a stream and need not be held by anybody.  VIEW_DONE may come before VIEW_END: content needs
 * no more bytes and has forgotten the tag; frames that still come for it are ignored.
 *
 * A reader who takes nothing holds up his own view alone, and little memory: content sends VIEW_WINDOW bytes of output
 * and then as many as VIEW_MORE grants; httpd sends about VIEW_WINDOW bytes of the body beyond those that VIEW_TAKEN
 * has named, which are those whose output is on its way. */
#ifndef FRAME_VIEW_KIND_H
#define FRAME_VIEW_KIND_H

#include <stdint.h>

enum { VIEW_WINDOW = 64 * 1024 };

enum view_kind {
    VIEW_SUMMARY = 1, /* JSON: MessageID From To Cc Bcc ReplyTo Subject Username Attachments Snippet */
    VIEW_MESSAGE,     /* JSON: the fields of Message, without ID Tags Size */
    VIEW_HEADERS,     /* JSON: {"Subject": ["..."], ...} in order of first appearance, canonical; values unfolded */
    VIEW_PART,        /* argument: PartID.  The decoded bytes; VIEW_HEAD has type and file name */
    VIEW_HTML,        /* argument: prefix for cid: links ("../api/v1/message/ID/part/").  text/html; charset=utf-8 */
    VIEW_TEXT,        /* text/plain; charset=utf-8; made from the HTML when there is no text part */
    VIEW_STRUCTURE,   /* JSON: the tree of MIME parts with offsets, types, encodings, sizes and faults */
    VIEW_KIND_COUNT
};

/* The first so many bytes of the message are enough for this view.  (A summary counts attachments: it needs all.) */
static inline uint64_t view_bytes(enum view_kind kind) {
    return kind == VIEW_HEADERS ? 257 * 1024 : UINT64_MAX;
}

#endif
