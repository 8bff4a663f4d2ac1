/* content_html.h - what content does with HTML: links to parts replaced, and text made of it.
 * Both are one linear pass over the bytes with a bounded state, so that no nesting and no unclosed thing costs more
 * than any other byte.  (libxml2's parser was measured first: 140 KB of <b>…</i>… took 0.7 s, growing with the square;
 * only its table of named entities is used.)  Input and output are UTF-8. */
#ifndef ROLE_CONTENT_HTML_H
#define ROLE_CONTENT_HTML_H

#include "base/buf.h"

/* Appends what the link cid:`id` becomes; false: no such part, the link stays. */
typedef bool content_cid_fn(void *arg, str id, struct buf *out);

/* Appends html verbatim but for the values of attributes (src=, href=, background= ...) and url() that are cid: links.
 */
void content_html_cid(str html, content_cid_fn *lookup, void *arg, struct buf *out);

/* Appends html as plain text: no scripts and styles, blocks on lines of their own, links as "text (https://...)",
 * images by their alternative text. */
void content_html_text(str html, struct buf *out);

/* The charset that a <meta> near the front names, or empty. */
str content_html_charset(str html);

#endif
