/* smtpd_inside.h - a client without a socket: mail that comes from within takes the way of all mail, as commands and
 * replies of a session whose caller is in this process. */
#ifndef ROLE_SMTPD_INSIDE_H
#define ROLE_SMTPD_INSIDE_H

#include "role/smtpd_core.h"

struct smtpd_inside {
    struct smtpd_session *session; /* NULL: it has ended */
    struct smtpd_listener listener;
    struct buf in;  /* commands and bytes it has not eaten */
    struct buf out; /* replies not read yet */
    bool runs;
    char name[CONF_NAME_MAX + 1];

    bool internal;       /* Penfold's own: may go anywhere, and nobody asks who sent it */
    bool returns;        /* a recipient that is refused is returned by a report: nobody is there to be told */
    str account, folder; /* append there as it is, without routing; empty: route */
    uint64_t append_flags, append_date_us; /* how it is marked there, and since when; 0: now */
    bool forgets;                          /* whoever it is for, it is discarded */
    str report_of, report_rcpts;
    uint64_t report_kind;
    str id; /* of the last message that began; empty: none did */
    char id_space[ID_SIZE];

    /* A reply has come, its last line; or, code 0, the session has ended.  Not to be freed within, but for code 0. */
    void (*on_reply)(struct smtpd_inside *c, unsigned code, str text);
};

/* Fills in all but what stands above on_reply's line; the caller is of policy submission.  listener: the name routes
 * see.  ERR_NOMEM. */
enum err smtpd_inside_begin(struct smtpd_core *core, struct smtpd_inside *c, str listener, str client, str user,
                            bool trusted, str account) MUST_CHECK;
void smtpd_inside_say(struct smtpd_inside *c, str bytes); /* gathered: run takes it */
void smtpd_inside_run(struct smtpd_inside *c);
void smtpd_inside_began(struct smtpd_inside *c, const char id[ID_SIZE]); /* from the core: a message, by this id */
void smtpd_inside_end(struct smtpd_inside *c);                           /* at once; on_reply is not called any more */

#endif
