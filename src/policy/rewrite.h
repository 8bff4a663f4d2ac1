/* rewrite.h - the rewrite blocks of the configuration: canonical addresses, masquerading, domain maps, and changes of
 * the header.  Pure.  All rules that match are applied, in the order of the file, each to what the one before it made.
 *
 * An address of the envelope is rewritten when it comes, before it is looked up or routed:
 *     if (rewrite_address(c, &ask, REWRITE_SENDER, sender, &out, NULL)) ... out is the sender now
 * and the header at the end of the message:
 *     header_edit_begin(&h, header, &arena);
 *     rewrite_header(c, asks, recipient_count, &h, &story);
 *     e = header_edit_finish(&h, &edits); */
#ifndef POLICY_REWRITE_H
#define POLICY_REWRITE_H

#include "conf/conf.h"
#include "mime/header_edit.h"

enum rewrite_place { REWRITE_SENDER, REWRITE_RECIPIENT, REWRITE_FROM, REWRITE_TO };

/* A message and one of its recipients; at MAIL recipient is empty, and rules with `to` do not match.  Texts are the
 * caller's. */
struct rewrite_ask {
    str sender, recipient; /* as they came, without <> */
    str user;              /* authenticated account; empty: none */
    str client;            /* address, or "unix" */
    str listener;
    bool sender_local, recipient_local; /* see rewrite_asks_local() */
};

/* Does a rule speak of "local" addresses?  Then whether they are has to be known. */
bool rewrite_asks_local(const struct conf *c);

/* Do its conditions hold? */
bool rewrite_matches(const struct conf_rewrite *r, const struct rewrite_ask *ask);

/* Appends what the address becomes there; false: it stays, and nothing is appended.  What a rule makes of it must be an
 * address (RFC 5321), else that rule is passed over.  The null sender stays.  story: NULL, or where each rule that did
 * something, or could not, gets a line. */
bool rewrite_address(const struct conf *c, const struct rewrite_ask *ask, enum rewrite_place place, str address,
                     struct buf *out, struct buf *story);

/* The changes of the header into h: the message has one for all its recipients, so a rule is for it when it matches for
 * one of them.  Of a rule first its addresses (From, Sender, Reply-To are from; To, Cc are to), then remove, set, add,
 * subject.  How many changes were made. */
unsigned rewrite_header(const struct conf *c, const struct rewrite_ask *asks, size_t ask_count, struct header_edit *h,
                        struct buf *story);

#endif
