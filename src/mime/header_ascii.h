/* header_ascii.h - header fields with bytes above 127, in ASCII (RFC 6857's aim, with the means of RFC 2047, 2231 and
 * 5890): text and display names as encoded words, parameters in their extended form, domains as A-labels.  Pure. */
#ifndef MIME_HEADER_ASCII_H
#define MIME_HEADER_ASCII_H

#include "base/buf.h"
#include "base/err.h"
#include "mime/header_edit.h"

/* Replaces every such field.  ERR_UNSUPPORTED: the local part of an address has no form in ASCII (RFC 6531 3.6). */
enum err header_ascii(struct header_edit *h, struct why *w) MUST_CHECK;

/* Appends an address of the envelope with its domain as A-labels; the same ERR_UNSUPPORTED. */
enum err header_ascii_address(str address, struct buf *out) MUST_CHECK;

#endif
