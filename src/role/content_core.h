/* content_core.h - one view of one message: its envelope and bytes in, as they come; text, JSON or a part out.
 * Sans-I/O.  Memory does not grow with the message, only with what is shown of it (the limits below): parts are
 * hashed and streamed as they pass.  All views together hold about VIEW_TOTAL_MAX, too: a large view that grows beyond
 * it beside another large one ends with ERR_FULL.  Small views, and one large one, always go on.
 *
 *     v = content_new(kind, argument);  content_envelope(v, ...)*  content_body(v, ...)*  content_end(v);
 *
 * After each call the host takes what is in v->out (content_out() is the piece, content_taken() ends it) and looks at
 * v->done. */
#ifndef ROLE_CONTENT_CORE_H
#define ROLE_CONTENT_CORE_H

#include "base/buf.h"
#include "base/err.h"
#include "frame/view_kind.h"

enum {
    VIEW_ENVELOPE_MAX = 4 * 1024 * 1024,
    VIEW_TEXT_MAX = 8 * 1024 * 1024,     /* of text, and of HTML; what is beyond is cut */
    VIEW_HTML_TO_TEXT = 2 * 1024 * 1024, /* of HTML that is made into text */
    VIEW_OUT_MAX = 128 * 1024 * 1024,
    VIEW_SNIPPET = 200,
    VIEW_TOTAL_MAX = 64 * 1024 * 1024, /* held by all views */
    VIEW_SMALL = 256 * 1024,           /* what every view may hold whatever the others do */
};

struct content;

struct content_result {
    bool head;            /* type, filename, attachments are known; set before the first byte of output */
    const char *type;     /* media type for the answer; valid as long as the view */
    str filename;         /* of a part; UTF-8 without controls */
    uint32_t attachments; /* VIEW_SUMMARY, VIEW_MESSAGE */
    bool done;            /* the view is complete, or has failed: nothing more is needed */
    enum err err;
    const char *text; /* for people, when err is set */
};

/* Call once before the process gives up its rights: libraries read their files and tables. */
enum err content_prepare(void) MUST_CHECK;

/* NULL: no memory, an unknown kind, or an argument that is too long. */
struct content *content_new(unsigned kind, str argument);
void content_envelope(struct content *v, str bytes);
void content_body(struct content *v, str bytes);
void content_end(struct content *v);
void content_free(struct content *v);

size_t content_held(void); /* bytes, by all views */

const struct content_result *content_result(const struct content *v);
str content_out(const struct content *v); /* valid until the next call */
void content_taken(struct content *v);

#endif
