/* smtp_param.h - the ESMTP parameters of MAIL and RCPT (RFC 5321 4.1.2), one row each in smtp_param.def: SIZE BODY
 * SMTPUTF8 RET ENVID AUTH REQUIRETLS HOLDFOR HOLDUNTIL BY MT-PRIORITY, NOTIFY ORCPT.
 * Pure: no allocation.  Texts point into the input and are still encoded (xtext): they are kept as given, but are
 * refused when what they encode could inject anything (controls). */
#ifndef SMTP_SMTP_PARAM_H
#define SMTP_SMTP_PARAM_H

#include "base/buf.h"
#include "base/err.h"

enum smtp_body { SMTP_BODY_7BIT, SMTP_BODY_8BITMIME, SMTP_BODY_BINARYMIME };
enum smtp_ret { SMTP_RET_NONE, SMTP_RET_FULL, SMTP_RET_HDRS };
enum smtp_notify { SMTP_NOTIFY_NEVER = 1, SMTP_NOTIFY_SUCCESS = 2, SMTP_NOTIFY_FAILURE = 4, SMTP_NOTIFY_DELAY = 8 };

enum smtp_param_where { SMTP_PARAM_MAIL = 1, SMTP_PARAM_RCPT = 2 };

struct smtp_params {
    unsigned seen; /* 1 << row */
    uint64_t size; /* 0: not given */
    enum smtp_body body;
    bool smtputf8, requiretls;
    enum smtp_ret ret;
    str envid, auth, orcpt;
    uint64_t hold_s;       /* HOLDFOR: so many seconds; 0: not given */
    int64_t hold_until_us; /* HOLDUNTIL: since 1970; 0: not given */
    int64_t by_s;          /* BY: may be negative with mode N */
    unsigned by_mode;      /* 1: N, 2: R, + 4: T, as in the envelope; 0: not given */
    unsigned priority;     /* MT-PRIORITY + 10: 1 to 19; 0: not given */
    unsigned notify;       /* set of smtp_notify; 0: not given */
    str bad;               /* after an error: the parameter at fault */
};

/* Bytes of all parameters: however long a command may be, they travel in one frame with what else is known. */
enum { SMTP_PARAMS_MAX = 8 * 1024 };

/* OK; ERR_UNSUPPORTED: unknown or not for this command (555 5.5.4); ERR_EXISTS: given twice (501); ERR_SYNTAX: its
 * value is none, or there are too many bytes (501 5.5.4). */
enum err smtp_params_parse(str text, enum smtp_param_where where, struct smtp_params *p) MUST_CHECK;

/* RFC 3461 4: decoded into out.  False: not xtext, or it encodes a control character or a byte above 126. */
bool smtp_xtext_decode(str s, struct buf *out) MUST_CHECK;
bool smtp_xtext_valid(str s);

#endif
