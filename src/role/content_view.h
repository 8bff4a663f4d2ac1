/* content_view.h - what httpd can ask content for: one message in (VIEW_BEGIN, its envelope, its bytes), one view out.
 * JSON views hold what the mail and its envelope tell; what the store knows (ID, Read, Created, Size, Tags) is joined
 * by httpd.  Field names and shapes are those of the Mailpit API (docs/api.md). */
#ifndef ROLE_CONTENT_VIEW_H
#define ROLE_CONTENT_VIEW_H

enum view_kind {
    VIEW_SUMMARY = 1, /* JSON: MessageID From To Cc Bcc ReplyTo Subject Username Attachments Snippet */
    VIEW_MESSAGE,     /* JSON: the fields of Message, without ID Tags Size */
    VIEW_HEADERS,     /* JSON: {"Subject": ["..."], ...} names in canonical case, values unfolded, not decoded */
    VIEW_PART,        /* argument: PartID.  The decoded bytes; VIEW_HEAD has type and file name */
    VIEW_HTML,        /* argument: prefix for cid: links ("../api/v1/message/ID/part/").  text/html; charset=utf-8 */
    VIEW_TEXT,        /* text/plain; charset=utf-8; made from the HTML when there is no text part */
    VIEW_STRUCTURE,   /* JSON: the tree of MIME parts with offsets, types, encodings, sizes and faults */
    VIEW_KIND_COUNT
};

#endif
