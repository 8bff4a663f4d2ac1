/* route.h - where a recipient's mail goes: the route blocks of the configuration over what the directory says.  Pure,
 * and asks and retries: an answer it has not got yet is named in missing, ERR_MORE is returned, and the caller comes
 * again once it knows it.
 *
 * Routes are asked in order, the first that matches decides; one with `copy` adds its ending and the next are asked,
 * too; a copy alone accepts nothing.  Behind the last of them stand the built-in ones:
 *     in a sandbox (mode sandbox): capture
 *     a local address that is known: mailbox; an alias: its targets
 *     a local address that is not known: reject 550 5.1.1, unless it is a postmaster: the setting postmaster
 *     authenticated, or client in relay_networks: relay
 *     else: reject 550 5.7.1
 * The addresses an alias or the action forward leads to are routed anew, from the first rule on; but a rule that made a
 * copy, or led here, is not asked again.  Depth and number are limited, a loop is cut, of two ways to one ending one is
 * left.  Where they lie elsewhere, they are ours to send to: no relay guard, and `auth yes` holds.  One of several that
 * cannot be reached becomes a delivery JOB_REFUSED, which is returned; all of them: the recipient is refused.
 *
 * A route's relay or smarthost takes mail of strangers only where its `to` or `client` names whom (checked by conf
 * check, and here again); the domain is what the parsed address says: % and ! and source routes mean nothing.
 *
 * A route with header (or size, while it is not known) cannot be decided before the message is there: at RCPT the
 * verdict is ROUTE_LATER when such a rule may still match.  But an address that is unknown here is refused at once, so
 * that nothing has to be returned; and so is one that only the relay guard keeps out, unless the rule's `to` names it.
 *
 * Mail that goes on to elsewhere gets a sender of ours (SRS) unless it has one: else the next server would find that we
 * may not send for its sender's domain.  What is returned (by the null sender) to such an address goes to the sender it
 * stands for, before any rule is asked. */
#ifndef POLICY_ROUTE_H
#define POLICY_ROUTE_H

#include "policy/directory.h"
#include "policy/glob.h"
#include "policy/srs.h"
#include "smtp/envelope.h"

/* Of a transaction; texts are the caller's. */
struct route_ask {
    str sender;    /* "" is the null sender */
    str recipient; /* as the client said it, without <> */
    uint32_t rcpt; /* its index, for the deliveries */
    str user;      /* authenticated account; empty: none */
    str client;    /* address, or "unix" */
    str listener;
    uint64_t size;         /* 0: not known yet */
    str header;            /* header section; p NULL: not known yet */
    uint8_t *header_said;  /* one for each route, 0 at first: what the header said is not asked again; or NULL */
    bool internal;         /* a report or the like: of Penfold itself, may go anywhere */
    const struct srs *srs; /* to make senders with, and to know them again; NULL: senders stay as they are */
};

/* The answers known so far, one snapshot for one evaluation: a chain the caller adds to. */
struct route_known {
    const struct directory_answer *answer; /* to the question answer->address */
    struct route_known *next;
};

enum { ROUTE_MISSING_MAX = 64 };

enum route_verdict { ROUTE_ACCEPT, ROUTE_LATER, ROUTE_REJECT };

struct route_decision {
    enum route_verdict verdict;
    struct envelope_delivery *deliveries; /* ACCEPT: at least one; LATER: what would come if no such rule matched */
    size_t delivery_count;                /* LATER: 0 when that would be the rejection below */
    unsigned code;                        /* REJECT */
    str text;                             /* "5.1.1 no such address here" */
    str rule;                             /* REJECT: of the route that said so; empty: built in */
    str missing[ROUTE_MISSING_MAX];       /* ERR_MORE: addresses to look up */
    size_t missing_count;
    struct buf *story; /* in: NULL, or where to tell in words what each rule said, a line each */
};

/* OK, ERR_MORE, ERR_NOMEM.  Results live in the arena. */
enum err route_decide(const struct conf *c, const struct route_ask *ask, const struct route_known *known,
                      struct arena *a, struct route_decision *d) MUST_CHECK;

/* Does a pattern of a route match?  "ada@example.org" and "*@example.org" are for the whole address, "example.org" and
 * "*.example.org" (also ".example.org") for its domain; "<>" is the null sender, which nothing else matches; "local":
 * is its domain ours (as the caller knows).  Without regard to case and to a dot behind the domain. */
bool route_pattern(str pattern, str address, bool local);

#endif
