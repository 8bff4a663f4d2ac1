/* send_run.h - carries out a plan of `penfold send`: connections to one server, each running the client conversation
 * of smtp/smtp_client.h, all in one poll loop, every wait bounded. */
#ifndef CLI_SEND_RUN_H
#define CLI_SEND_RUN_H

#include "base/buf.h"
#include "base/err.h"
#include "smtp/smtp_client.h"

struct send_plan {
    struct smtp_client_config config; /* TLS_ACTIVE: the connection begins with the handshake */
    const char *host, *port;
    const char *path; /* a Unix socket instead; NULL: none */
    bool verify;
    const char *ca_file; /* NULL: the system's authorities */
    int64_t connect_ms;  /* for connecting, and for a handshake */
    str sender, params;
    const str *rcpts;
    size_t rcpt_count;
    str rcpt_params;
    uint64_t count;       /* messages */
    unsigned connections; /* at most so many at once */
    bool transcript;      /* print it on stdout */
    bool progress;        /* tell on stderr how far we are */
    /* The bytes of the number-th message, valid until the next call with the same space. */
    enum err (*message)(void *arg, uint64_t number, struct buf *space, str *bytes, struct why *w);
    /* What became of each recipient of a message; NULL: not wanted. */
    void (*told)(void *arg, const struct smtp_client_rcpt *rcpt);
    void *arg;
};

enum { SEND_REPORTS_MAX = 1000 };

struct send_result {
    uint64_t sent;     /* messages that all their recipients got */
    uint64_t tried;    /* messages that were begun */
    uint64_t rcpts[6]; /* recipients by enum smtp_client_outcome */
    double seconds;
    struct smtp_client_failure failure; /* the gravest of a connection; FINE: none failed */
    uint64_t failures;
    bool no_host;       /* the name does not exist */
    struct buf reports; /* JSON objects with commas between: each recipient, the first SEND_REPORTS_MAX of them */
    unsigned report_count;
    struct buf problems; /* a line for each recipient that was not delivered to, likewise */
    unsigned problem_count;
};

/* ERR_IO, ERR_TLS: nothing could be begun.  What servers did is in the result; send_result_free() ends it always. */
enum err send_run(const struct send_plan *plan, struct send_result *result, struct why *w) MUST_CHECK;
void send_result_free(struct send_result *r);

#endif
