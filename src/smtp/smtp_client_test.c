/* Conversations as rows: what the server says at each turn, what the client must have said, how it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "smtp/smtp_client.h"

enum { TURNS = 14, RCPTS = 3 };
enum give_up { NEVER, AT_MAIL, AT_BODY };

struct row {
    const char *name;
    struct smtp_client_config config;
    str turns[TURNS]; /* one is handed over whenever the client waits; none left: the server closes */
    const char *sent; /* all the client wrote */
    enum smtp_client_trouble trouble;
    unsigned code;
    const char *outcomes; /* a letter for each recipient and mail: D delivered, L later, R refused, ? unknown */
    size_t rcpts, mails;  /* default 1 */
    const char *body;     /* default "hi\r\n" */
    struct smtp_client_mail mail;
    str addresses[RCPTS], ascii[RCPTS], rcpt_params;
    unsigned convert;
    enum give_up give_up;
    bool whole_body; /* chunks show how the body was cut */
};

#define GREET S_INIT("220 mx ESMTP\r\n")
#define OK_EHLO S_INIT("250-mx\r\n250-SIZE 1000\r\n250 8BITMIME\r\n")
#define OK_PIPE S_INIT("250-mx\r\n250 PIPELINING\r\n")
#define OK250 S_INIT("250 2.0.0 ok\r\n")
#define GO S_INIT("354 go\r\n")
#define BYE S_INIT("221 bye\r\n")
#define MAIL_A "MAIL FROM:<a@b>\r\n"
#define RCPT_1 "RCPT TO:<1@d>\r\n"
#define RCPTS_3 RCPT_1 "RCPT TO:<2@d>\r\nRCPT TO:<3@d>\r\n"
#define HI "EHLO me\r\n"
#define BODY_END "hi\r\n.\r\n"
#define JOE .user = S_INIT("joe"), .secret = S_INIT("pencil")

static const struct row rows[] = {
    {"plain",
     {0},
     {GREET, OK_EHLO, OK250, OK250, GO, OK250, BYE},
     HI MAIL_A RCPT_1 "DATA\r\n" BODY_END "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "D"},
    {"a bare LF in replies, no text, a long greeting",
     {0},
     {S_INIT("220-hello\n220-\n220\n"), S_INIT("250\n"), S_INIT("250\r\n"), OK250, GO, OK250, BYE},
     HI MAIL_A RCPT_1 "DATA\r\n" BODY_END "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "D"},
    {"HELO when EHLO is not known",
     {0},
     {GREET, S_INIT("502 what?\r\n"), OK250, OK250, OK250, GO, OK250, BYE},
     HI "HELO me\r\n" MAIL_A RCPT_1 "DATA\r\n" BODY_END "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "D"},
    {"pipelining, one of three refused",
     {0},
     {GREET, OK_PIPE, S_INIT("250 ok\r\n250 ok\r\n550 5.1.1 no\r\n250 ok\r\n354 go\r\n"), OK250, BYE},
     HI MAIL_A RCPTS_3 "DATA\r\n" BODY_END "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "DRD",
     3},
    {"pipelining, all refused, and still 354",
     {0},
     {GREET, OK_PIPE, S_INIT("250 ok\r\n550 no\r\n354 go\r\n"), S_INIT("554 nobody\r\n"), BYE},
     HI MAIL_A RCPT_1 "DATA\r\n.\r\nQUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "R"},
    {"pipelining, MAIL refused",
     {0},
     {GREET, OK_PIPE, S_INIT("451 later\r\n503 no\r\n503 no\r\n"), BYE},
     HI MAIL_A RCPT_1 "DATA\r\nQUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "L"},
    {"pipelining is offered and not wanted",
     {.no_pipelining = true},
     {GREET, OK_PIPE, OK250, S_INIT("450 later\r\n"), OK250, BYE},
     HI MAIL_A RCPT_1 "RSET\r\nQUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "L"},
    {"lock-step, all refused: RSET",
     {0},
     {GREET, OK_EHLO, OK250, S_INIT("550 no\r\n"), S_INIT("552 too many\r\n"), S_INIT("450 later\r\n"), OK250, BYE},
     HI MAIL_A RCPTS_3 "RSET\r\nQUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "RLL",
     3},
    {"lock-step, MAIL refused",
     {0},
     {GREET, OK_EHLO, S_INIT("550 no\r\n"), BYE},
     HI MAIL_A "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "R"},
    {"DATA refused",
     {0},
     {GREET, OK_EHLO, OK250, OK250, S_INIT("554 no\r\n"), OK250, BYE},
     HI MAIL_A RCPT_1 "DATA\r\nRSET\r\nQUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "R"},
    {"the message is refused",
     {0},
     {GREET, OK_EHLO, OK250, OK250, GO, S_INIT("550-5.7.1 spam\r\n550 5.7.1 away\r\n"), BYE},
     HI MAIL_A RCPT_1 "DATA\r\n" BODY_END "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "R"},
    {"two mails",
     {0},
     {GREET, OK_EHLO, OK250, OK250, GO, OK250, OK250, OK250, GO, S_INIT("452 full\r\n"), BYE},
     HI MAIL_A RCPT_1 "DATA\r\n" BODY_END MAIL_A RCPT_1 "DATA\r\n" BODY_END "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "DL",
     1,
     2},
    {"LMTP answers for each recipient",
     {.lmtp = true},
     {GREET, OK_PIPE, S_INIT("250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n"), S_INIT("250 ok\r\n452 full\r\n"),
      BYE},
     "LHLO me\r\n" MAIL_A RCPTS_3 "DATA\r\n" BODY_END "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "DRL",
     3},
    {"LMTP, the second answer never comes",
     {.lmtp = true},
     {GREET, OK_PIPE, S_INIT("250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"), S_INIT("250 ok\r\n")},
     "LHLO me\r\n" MAIL_A RCPTS_3 "DATA\r\n" BODY_END,
     SMTP_CLIENT_NETWORK,
     0,
     "D??",
     3},
    {"parameters",
     {0},
     {GREET, S_INIT("250-mx\r\n250-SIZE 1000\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n"), OK250, OK250, GO, OK250, BYE},
     HI "MAIL FROM:<a@b> SIZE=4 BODY=8BITMIME SMTPUTF8 RET=HDRS\r\n" RCPT_1 "DATA\r\n" BODY_END "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "D",
     1,
     1,
     NULL,
     {.size = 4, .eight_bit = true, .utf8 = true, .params = S_INIT("RET=HDRS")}},
    {"parameters that are given are not given twice",
     {0},
     {GREET, OK_EHLO, OK250, OK250, GO, OK250, BYE},
     HI "MAIL FROM:<a@b> SIZE=9 BODY=7BIT\r\n" RCPT_1 "DATA\r\n" BODY_END "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "D",
     1,
     1,
     NULL,
     {.size = 4, .eight_bit = true, .params = S_INIT("SIZE=9 BODY=7BIT")}},
    {"too large for the server",
     {0},
     {GREET, OK_EHLO, BYE},
     HI "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "R",
     1,
     1,
     NULL,
     {.size = 1001}},
    {"SMTPUTF8 is needed and not there",
     {0},
     {GREET, OK_EHLO, BYE},
     HI "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "R",
     1,
     1,
     NULL,
     {.utf8 = true}},
    {"line ends and dots",
     {0},
     {GREET, OK_EHLO, OK250, OK250, GO, OK250, BYE},
     HI MAIL_A RCPT_1 "DATA\r\n..a\r\n..\r\n..\r\nb\r\nc\r\n\r\n...d\r\n.\r\nQUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "D",
     1,
     1,
     ".a\n.\r\n.\rb\r\nc\r\r..d"},
    {"an empty message",
     {0},
     {GREET, OK_EHLO, OK250, OK250, GO, OK250, BYE},
     HI MAIL_A RCPT_1 "DATA\r\n.\r\nQUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "D",
     1,
     1,
     ""},
    /* relaying to servers that take less */
    {"no 8BITMIME: converted, of unknown size",
     {.relay = true},
     {GREET, S_INIT("250-mx\r\n250-SMTPUTF8\r\n250 SIZE 1000\r\n"), OK250, OK250, GO, OK250, BYE},
     HI MAIL_A RCPT_1 "DATA\r\n" BODY_END "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "D",
     .mail = {.size = 4, .eight_bit = true},
     .convert = SMTP_CLIENT_CONVERT_BODY},
    {"no SMTPUTF8: the header, and addresses as they can be",
     {.relay = true},
     {GREET, OK_EHLO, OK250, OK250, OK250, GO, OK250, BYE},
     HI "MAIL FROM:<a@xn--b-x> BODY=8BITMIME\r\nRCPT TO:<1@d>\r\nRCPT TO:<3@xn--d-x>\r\nDATA\r\n" BODY_END "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "DDR", /* the one that has no form stands behind the others */
     3,
     .mail = {.size = 4,
              .eight_bit = true,
              .utf8 = true,
              .sender = S_INIT("a@\xc3\xbc"),
              .sender_ascii = S_INIT("a@xn--b-x")},
     .addresses = {S_INIT("1@d"), S_INIT("\xc3\xbc@d"), S_INIT("3@\xc3\xbc")},
     .ascii = {{0}, {0}, S_INIT("3@xn--d-x")},
     .convert = SMTP_CLIENT_CONVERT_HEADER},
    {"SMTPUTF8: as they are",
     {.relay = true},
     {GREET, S_INIT("250-mx\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n"), OK250, OK250, GO, OK250, BYE},
     HI "MAIL FROM:<a@b> BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<3@\xc3\xbc>\r\nDATA\r\n" BODY_END "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "D",
     .mail = {.eight_bit = true},
     .addresses = {S_INIT("3@\xc3\xbc")},
     .ascii = {S_INIT("3@xn--d-x")}},
    {"a sender without a form",
     {.relay = true},
     {GREET, OK_EHLO, BYE},
     HI "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "RR",
     2,
     .mail = {.sender = S_INIT("\xc3\xbc@b")}},
    {"ORCPT in ASCII",
     {.relay = true},
     {GREET, S_INIT("250-mx\r\n250 DSN\r\n"), OK250, OK250, GO, OK250, BYE},
     HI MAIL_A "RCPT TO:<1@d> ORCPT=utf-8;\\x{FC}\\x{1F600}?@d\r\nDATA\r\n" BODY_END "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "D",
     .rcpt_params = S_INIT("ORCPT=utf-8;\xc3\xbc\xf0\x9f\x98\x80\xff@d")},
    {"BINARYMIME as it is",
     {.relay = true},
     {GREET, S_INIT("250-mx\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250 SMTPUTF8\r\n"), OK250, OK250, OK250, BYE},
     HI "MAIL FROM:<a@b> BODY=BINARYMIME\r\n" RCPT_1 "BDAT 3 LAST\r\n.\n\rQUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "D",
     .body = ".\n\r",
     .mail = {.binary = true, .eight_bit = true},
     .whole_body = true},
    {"BINARYMIME to LMTP, which has DATA alone",
     {.relay = true, .lmtp = true},
     {GREET, S_INIT("250-mx\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n"), OK250, OK250, GO,
      OK250, BYE},
     "LHLO me\r\n" MAIL_A RCPT_1 "DATA\r\n" BODY_END "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "D",
     .mail = {.binary = true, .eight_bit = true},
     .convert = SMTP_CLIENT_CONVERT_BODY | SMTP_CLIENT_CONVERT_BINARY | SMTP_CLIENT_CONVERT_LINES},
    {"given up before MAIL: the connection stays",
     {.relay = true},
     {GREET, OK250, BYE},
     HI "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "R",
     .mail = {.eight_bit = true},
     .convert = SMTP_CLIENT_CONVERT_BODY | SMTP_CLIENT_CONVERT_HEADER,
     .give_up = AT_MAIL},
    {"given up within DATA: only the end of the connection ends it",
     {.relay = true},
     {GREET, OK250, OK250, S_INIT("450 later\r\n"), OK250, GO},
     HI MAIL_A "RCPT TO:<1@d>\r\nRCPT TO:<2@d>\r\nDATA\r\n",
     SMTP_CLIENT_FINE,
     0,
     "LR",
     2,
     .mail = {.eight_bit = true},
     .convert = SMTP_CLIENT_CONVERT_BODY | SMTP_CLIENT_CONVERT_HEADER,
     .give_up = AT_BODY},
    {"given up within BDAT: taken back",
     {.relay = true},
     {GREET, S_INIT("250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n"), S_INIT("250 ok\r\n250 ok\r\n"), OK250, BYE},
     HI MAIL_A RCPT_1 "RSET\r\nQUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "R",
     .mail = {.eight_bit = true, .size = 100000},
     .convert = SMTP_CLIENT_CONVERT_BODY | SMTP_CLIENT_CONVERT_HEADER,
     .give_up = AT_BODY},
    /* STARTTLS */
    {"STARTTLS",
     {.tls = SMTP_CLIENT_TLS_REQUIRED},
     {GREET, S_INIT("250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n"), S_INIT("220 go\r\n"), OK_EHLO, OK250, OK250, GO,
      OK250, BYE},
     HI "STARTTLS\r\n" HI MAIL_A RCPT_1 "DATA\r\n" BODY_END "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "D"},
    {"bytes behind the 220",
     {.tls = SMTP_CLIENT_TLS_REQUIRED},
     {GREET, S_INIT("250-mx\r\n250 STARTTLS\r\n"), S_INIT("220 go\r\n250 AUTH PLAIN\r\n")},
     HI "STARTTLS\r\n",
     SMTP_CLIENT_PROTOCOL,
     0,
     ""},
    {"STARTTLS is required and not offered",
     {.tls = SMTP_CLIENT_TLS_REQUIRED},
     {GREET, OK_EHLO},
     HI,
     SMTP_CLIENT_NO_TLS,
     0,
     ""},
    {"STARTTLS is required and refused",
     {.tls = SMTP_CLIENT_TLS_REQUIRED},
     {GREET, S_INIT("250-mx\r\n250 STARTTLS\r\n"), S_INIT("454 not now\r\n")},
     HI "STARTTLS\r\n",
     SMTP_CLIENT_NO_TLS,
     454,
     ""},
    {"STARTTLS when offered, and refused",
     {.tls = SMTP_CLIENT_TLS_IF_OFFERED},
     {GREET, S_INIT("250-mx\r\n250 STARTTLS\r\n"), S_INIT("454 not now\r\n"), OK250, OK250, GO, OK250, BYE},
     HI "STARTTLS\r\n" MAIL_A RCPT_1 "DATA\r\n" BODY_END "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "D"},
    /* AUTH */
    {"AUTH PLAIN, chosen before LOGIN and XOAUTH2",
     {JOE, .tls = SMTP_CLIENT_TLS_ACTIVE},
     {GREET, S_INIT("250-mx\r\n250-AUTH LOGIN XOAUTH2 GSSAPI\r\n250-AUTH=PLAIN\r\n250 HELP\r\n"), S_INIT("235 in\r\n"),
      OK250, OK250, GO, OK250, BYE},
     HI "AUTH PLAIN AGpvZQBwZW5jaWw=\r\n" MAIL_A RCPT_1 "DATA\r\n" BODY_END "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "D"},
    {"AUTH LOGIN",
     {JOE, .tls = SMTP_CLIENT_TLS_ACTIVE},
     {GREET, S_INIT("250-mx\r\n250 auth login\r\n"), S_INIT("334 VXNlcm5hbWU6\r\n"), S_INIT("334 UGFzc3dvcmQ6\r\n"),
      S_INIT("535 5.7.8 no\r\n")},
     HI "AUTH LOGIN\r\nam9l\r\ncGVuY2ls\r\n",
     SMTP_CLIENT_AUTH_REFUSED,
     535,
     ""},
    {"AUTH that does not end",
     {JOE, .tls = SMTP_CLIENT_TLS_ACTIVE},
     {GREET, S_INIT("250-mx\r\n250 AUTH LOGIN\r\n"), S_INIT("334 \r\n"), S_INIT("334 \r\n"), S_INIT("334 \r\n")},
     HI "AUTH LOGIN\r\nam9l\r\ncGVuY2ls\r\n",
     SMTP_CLIENT_PROTOCOL,
     334,
     ""},
    {"a challenge that is no base64",
     {JOE, .tls = SMTP_CLIENT_TLS_ACTIVE},
     {GREET, S_INIT("250-mx\r\n250 AUTH LOGIN\r\n"), S_INIT("334 ???\r\n")},
     HI "AUTH LOGIN\r\n",
     SMTP_CLIENT_PROTOCOL,
     334,
     ""},
    {"no password in clear",
     {JOE},
     {GREET, S_INIT("250-mx\r\n250 AUTH PLAIN LOGIN\r\n")},
     HI,
     SMTP_CLIENT_NO_AUTH,
     0,
     ""},
    {"a password in clear when told so",
     {JOE, .secret_in_clear = true},
     {GREET, S_INIT("250-mx\r\n250 AUTH PLAIN\r\n"), S_INIT("235 in\r\n"), OK250, OK250, GO, OK250, BYE},
     HI "AUTH PLAIN AGpvZQBwZW5jaWw=\r\n" MAIL_A RCPT_1 "DATA\r\n" BODY_END "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "D"},
    {"AUTH is not offered", {JOE}, {GREET, OK_EHLO}, HI, SMTP_CLIENT_NO_AUTH, 0, ""},
    {"AUTH of before TLS is forgotten",
     {JOE, .tls = SMTP_CLIENT_TLS_REQUIRED},
     {GREET, S_INIT("250-mx\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n"), S_INIT("220 go\r\n"), OK_EHLO},
     HI "STARTTLS\r\n" HI,
     SMTP_CLIENT_NO_AUTH,
     0,
     ""},
    /* servers that misbehave */
    {"no greeting", {0}, {{0}}, "", SMTP_CLIENT_NETWORK, 0, ""},
    {"refused at the door", {0}, {S_INIT("554 no\r\n")}, "", SMTP_CLIENT_SAID_NO, 554, ""},
    {"a greeting of another kind", {0}, {S_INIT("250 hi\r\n")}, "", SMTP_CLIENT_PROTOCOL, 250, ""},
    {"an HTTP server", {0}, {S_INIT("HTTP/1.1 400 Bad Request\r\n\r\n")}, "", SMTP_CLIENT_PROTOCOL, 0, ""},
    {"a NUL for a code", {0}, {S_INIT("22\0 hi\r\n")}, "", SMTP_CLIENT_PROTOCOL, 0, ""},
    {"a code out of range", {0}, {S_INIT("600 hi\r\n")}, "", SMTP_CLIENT_PROTOCOL, 0, ""},
    {"a code that changes", {0}, {S_INIT("220-hi\r\n221 hi\r\n")}, "", SMTP_CLIENT_PROTOCOL, 0, ""},
    {"no separator", {0}, {S_INIT("220hi\r\n")}, "", SMTP_CLIENT_PROTOCOL, 0, ""},
    {"421 at MAIL", {0}, {GREET, OK_EHLO, S_INIT("421 busy\r\n")}, HI MAIL_A, SMTP_CLIENT_SAID_NO, 421, "L"},
    {"closes after MAIL", {0}, {GREET, OK_EHLO, OK250}, HI MAIL_A RCPT_1, SMTP_CLIENT_NETWORK, 0, "L"},
    {"closes behind the dot",
     {0},
     {GREET, OK_EHLO, OK250, OK250, GO},
     HI MAIL_A RCPT_1 "DATA\r\n" BODY_END,
     SMTP_CLIENT_NETWORK,
     0,
     "?"},
    {"421 behind the dot",
     {0},
     {GREET, OK_EHLO, OK250, OK250, GO, S_INIT("421 no\r\n")},
     HI MAIL_A RCPT_1 "DATA\r\n" BODY_END,
     SMTP_CLIENT_SAID_NO,
     421,
     "L"},
    {"garbage behind the dot",
     {0},
     {GREET, OK_EHLO, OK250, OK250, GO, S_INIT("what\r\n")},
     HI MAIL_A RCPT_1 "DATA\r\n" BODY_END,
     SMTP_CLIENT_PROTOCOL,
     0,
     "?"},
    {"354 for RCPT", {0}, {GREET, OK_EHLO, OK250, GO}, HI MAIL_A RCPT_1, SMTP_CLIENT_PROTOCOL, 354, "L"},
    {"250 for DATA",
     {0},
     {GREET, OK_EHLO, OK250, OK250, OK250},
     HI MAIL_A RCPT_1 "DATA\r\n",
     SMTP_CLIENT_PROTOCOL,
     250,
     "L"},
    {"closes at QUIT",
     {0},
     {GREET, OK_EHLO, OK250, OK250, GO, OK250},
     HI MAIL_A RCPT_1 "DATA\r\n" BODY_END "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "D"},
    {"garbage at QUIT",
     {0},
     {GREET, OK_EHLO, OK250, OK250, GO, OK250, S_INIT("see you\r\n")},
     HI MAIL_A RCPT_1 "DATA\r\n" BODY_END "QUIT\r\n",
     SMTP_CLIENT_FINE,
     0,
     "D"},
};

static const char letters[] = {
    [SMTP_CLIENT_PENDING] = 'p',  [SMTP_CLIENT_ACCEPTED] = 'a', [SMTP_CLIENT_DELIVERED] = 'D',
    [SMTP_CLIENT_DEFERRED] = 'L', [SMTP_CLIENT_REFUSED] = 'R',  [SMTP_CLIENT_UNKNOWN] = '?'};

struct play {
    struct smtp_client c;
    struct smtp_client_mail mail;
    struct smtp_client_rcpt rcpts[RCPTS];
    struct arena mem;
    struct buf sent, outcomes;
    size_t mails, turn, body;
    str rest; /* of the turn, handed over byte by byte */
};

static void note_outcomes(struct play *p) {
    for (size_t i = 0; p->mails > 0 && i < p->mail.rcpt_count; i++)
        buf_char(&p->outcomes, letters[p->rcpts[i].outcome]);
}

static void on_ready(struct play *p, const struct row *row) {
    static const str addresses[RCPTS] = {S_INIT("1@d"), S_INIT("2@d"), S_INIT("3@d")};
    note_outcomes(p);
    if (p->mails++ == (row->mails ? row->mails : 1)) {
        p->mails = 0;
        smtp_client_quit(&p->c);
        return;
    }
    p->mail = row->mail;
    if (!p->mail.sender.n)
        p->mail.sender = S("a@b");
    p->mail.rcpts = p->rcpts;
    p->mail.rcpt_count = row->rcpts ? row->rcpts : 1;
    p->mail.mem = &p->mem;
    for (size_t i = 0; i < RCPTS; i++)
        p->rcpts[i] = (struct smtp_client_rcpt){.address = row->addresses[i].n ? row->addresses[i] : addresses[i],
                                                .ascii = row->ascii[i],
                                                .params = row->rcpt_params};
    p->body = 0;
    assert_int_equal(smtp_client_send(&p->c, &p->mail, NULL), OK);
    if (p->c.mail && p->mail.convert != row->convert)
        fail_msg("%s: convert %u", row->name, p->mail.convert);
    if (row->give_up == AT_MAIL)
        smtp_client_give_up(&p->c, SMTP_CLIENT_REFUSED, S("5.6.3 no"));
}

static void on_input(struct play *p, const struct row *row, bool bytewise) {
    if (p->rest.n == 0 && p->turn < TURNS)
        p->rest = row->turns[p->turn++];
    if (p->rest.n == 0) {
        smtp_client_closed(&p->c);
        return;
    }
    str part = bytewise ? str_head(p->rest, 1) : p->rest;
    p->rest = str_tail(p->rest, part.n);
    smtp_client_input(&p->c, part);
}

static void on_body(struct play *p, const struct row *row, bool bytewise) {
    str left = str_tail(str_of(row->body ? row->body : "hi\r\n"), p->body);
    if (row->give_up == AT_BODY) {
        smtp_client_give_up(&p->c, SMTP_CLIENT_REFUSED, S("5.6.3 no"));
        return;
    }
    str part = bytewise && !row->whole_body ? str_head(left, 1) : left;
    p->body += part.n;
    smtp_client_body(&p->c, part, part.n == left.n);
}

static void on_output(struct play *p, bool bytewise) {
    str out = buf_str(&p->c.out);
    /* Byte by byte reading must not see an answer before its question has left whole. */
    size_t n = bytewise && out.n > 1 ? 1 : out.n;
    buf_add(&p->sent, str_head(out, n));
    smtp_client_wrote(&p->c, n);
}

static void play(const struct row *row, bool bytewise) {
    struct smtp_client_config config = row->config;
    struct play p = {.mem = ARENA(65536), .sent = BUF(65536), .outcomes = BUF(64)};
    enum smtp_client_want want;
    config.helo = S("me");
    config.transcript = true;
    smtp_client_init(&p.c, &config, 0);
    int64_t now = 0;
    do {
        want = smtp_client_step(&p.c, now++);
        if (want == SMTP_CLIENT_OUTPUT)
            on_output(&p, bytewise);
        else if (want == SMTP_CLIENT_INPUT)
            on_input(&p, row, bytewise);
        else if (want == SMTP_CLIENT_BODY)
            on_body(&p, row, bytewise);
        else if (want == SMTP_CLIENT_READY)
            on_ready(&p, row);
        else if (want == SMTP_CLIENT_STARTTLS && p.rest.n > 0) /* split at the wrong place: same thing */
            on_input(&p, row, bytewise);
        else if (want == SMTP_CLIENT_STARTTLS)
            smtp_client_tls(&p.c, STR_NONE);
    } while (want != SMTP_CLIENT_DONE && want != SMTP_CLIENT_FAILED);
    if (want == SMTP_CLIENT_FAILED || p.mails) {
        str left = buf_str(&p.c.out);
        buf_add(&p.sent, left);
        note_outcomes(&p);
    }
    if (p.c.failure.trouble != row->trouble || p.c.failure.code != row->code)
        fail_msg("%s: trouble %d code %u (%s)", row->name, p.c.failure.trouble, p.c.failure.code, p.c.failure.why.text);
    if (strcmp(buf_cstr(&p.sent), row->sent) != 0)
        fail_msg("%s: sent\n%s", row->name, buf_cstr(&p.sent));
    if (strcmp(buf_cstr(&p.outcomes), row->outcomes) != 0)
        fail_msg("%s: outcomes %s", row->name, buf_cstr(&p.outcomes));
    assert_int_equal(str_find_str(buf_str(&p.c.transcript), S("cGVuY2ls")), SIZE_MAX); /* the password */
    smtp_client_free(&p.c);
    arena_free(&p.mem);
    buf_free(&p.sent);
    buf_free(&p.outcomes);
}

static void test_rows(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        play(&rows[i], false);
        play(&rows[i], true);
    }
}

static void start(struct smtp_client *c, const struct smtp_client_config *config) {
    smtp_client_init(c, config, 1000);
    assert_int_equal(smtp_client_step(c, 1000), SMTP_CLIENT_INPUT);
}

static void test_deadlines(void **state) {
    (void)state;
    struct smtp_client c;
    start(&c, &(struct smtp_client_config){.helo = S("me")});
    assert_int_equal(smtp_client_deadline(&c), 301000); /* RFC 5321 4.5.3.2.1 */
    /* A byte now and then does not buy time. */
    smtp_client_input(&c, S("2"));
    assert_int_equal(smtp_client_step(&c, 200000), SMTP_CLIENT_INPUT);
    assert_int_equal(smtp_client_deadline(&c), 301000);
    smtp_client_input(&c, S("20 hi\r\n"));
    assert_int_equal(smtp_client_step(&c, 300000), SMTP_CLIENT_OUTPUT);
    assert_int_equal(smtp_client_deadline(&c), 600000);
    smtp_client_expire(&c);
    assert_int_equal(smtp_client_step(&c, 600000), SMTP_CLIENT_FAILED);
    assert_int_equal(c.failure.trouble, SMTP_CLIENT_TIMEOUT);
    smtp_client_free(&c);

    start(&c, &(struct smtp_client_config){.helo = S("me"), .phase_max_ms = 2000, .total_ms = 2500});
    assert_int_equal(smtp_client_deadline(&c), 3000);
    smtp_client_input(&c, S("220 hi\r\n"));
    assert_int_equal(smtp_client_step(&c, 2900), SMTP_CLIENT_OUTPUT);
    assert_int_equal(smtp_client_deadline(&c), 3500);
    smtp_client_free(&c);
}

/* The answer to EHLO in one piece with the greeting: who wrote it did not read ours. */
static void test_early_answer(void **state) {
    (void)state;
    struct smtp_client c;
    start(&c, &(struct smtp_client_config){.helo = S("me")});
    smtp_client_input(&c, S("220 hi\r\n250 mx\r\n"));
    assert_int_equal(smtp_client_step(&c, 1000), SMTP_CLIENT_FAILED);
    assert_int_equal(c.failure.trouble, SMTP_CLIENT_PROTOCOL);
    smtp_client_free(&c);
}

/* A refusal that comes while the last of the message is being written is one, not an end that nobody knows; a yes at
 * that moment is nobody's. */
static void test_refused_before_the_end(void **state) {
    (void)state;
    static const struct {
        str words;
        enum smtp_client_outcome outcome;
        enum smtp_client_trouble trouble;
    } answers[] = {{S_INIT("552 5.3.4 too large\r\n"), SMTP_CLIENT_REFUSED, SMTP_CLIENT_SAID_NO},
                   {S_INIT("452 4.3.1 full\r\n"), SMTP_CLIENT_DEFERRED, SMTP_CLIENT_SAID_NO},
                   {S_INIT("250 ok\r\n"), SMTP_CLIENT_UNKNOWN, SMTP_CLIENT_PROTOCOL}};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        static const str turns[] = {GREET, S_INIT("250 mx\r\n"), OK250, OK250, GO};
        struct arena mem = ARENA(4096);
        struct smtp_client c;
        struct smtp_client_rcpt r = {.address = S("x@y")};
        struct smtp_client_mail m = {.sender = S("a@b"), .rcpts = &r, .rcpt_count = 1, .mem = &mem};
        start(&c, &(struct smtp_client_config){.helo = S("me")});
        for (size_t t = 0; t < sizeof turns / sizeof *turns; t++) {
            smtp_client_input(&c, turns[t]);
            if (smtp_client_step(&c, 1000) == SMTP_CLIENT_READY) {
                assert_int_equal(smtp_client_send(&c, &m, NULL), OK);
                (void)smtp_client_step(&c, 1000);
            }
            smtp_client_wrote(&c, c.out.n);
        }
        smtp_client_body(&c, S("hi\r\n"), true);
        smtp_client_input(&c, answers[i].words);
        assert_int_equal(smtp_client_step(&c, 1000), SMTP_CLIENT_FAILED);
        assert_int_equal(c.failure.trouble, answers[i].trouble);
        assert_int_equal(r.outcome, answers[i].outcome);
        smtp_client_free(&c);
        arena_free(&mem);
    }
}

/* Whatever the server sends, memory and patience are bounded. */
static void test_endless(void **state) {
    (void)state;
    static const str forms[] = {S_INIT("220-and so on\r\n"), S_INIT("2"), S_INIT("220-\r\n"), S_INIT("\0"),
                                S_INIT("\r\n")};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct smtp_client c;
        size_t bytes = 0;
        start(&c, &(struct smtp_client_config){.helo = S("me")});
        for (; bytes < 200000 && smtp_client_step(&c, 1000) == SMTP_CLIENT_INPUT; bytes += forms[i].n)
            smtp_client_input(&c, forms[i]);
        assert_int_equal(smtp_client_step(&c, 1000), SMTP_CLIENT_FAILED);
        assert_int_equal(c.failure.trouble, SMTP_CLIENT_PROTOCOL);
        smtp_client_free(&c);
    }
}

/* Nobody smuggles a command in an address. */
static void test_unsafe(void **state) {
    (void)state;
    static const str bad[] = {S_INIT("a@b\r\nRSET"), S_INIT("a\nb"), S_INIT("a\0b"), S_INIT("a\x7f")};
    struct arena mem = ARENA(4096);
    struct smtp_client c;
    struct smtp_client_rcpt r = {.address = S("x@y")};
    start(&c, &(struct smtp_client_config){.helo = S("me")});
    smtp_client_input(&c, S("220 hi\r\n"));
    smtp_client_wrote(&c, c.out.n);
    smtp_client_input(&c, S("250 hi\r\n"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct smtp_client_mail m = {.sender = bad[i], .rcpts = &r, .rcpt_count = 1, .mem = &mem};
        assert_int_equal(smtp_client_send(&c, &m, NULL), ERR_SYNTAX);
        m = (struct smtp_client_mail){.params = bad[i], .rcpts = &r, .rcpt_count = 1, .mem = &mem};
        assert_int_equal(smtp_client_send(&c, &m, NULL), ERR_SYNTAX);
        assert_int_equal(smtp_client_step(&c, 1000), SMTP_CLIENT_READY);
    }
    smtp_client_free(&c);
    arena_free(&mem);
}

static const struct {
    str text;
    const char *status;
} statuses[] = {
    {S_INIT("5.1.1 no such user"), "5.1.1"},
    {S_INIT("2.0.0"), "2.0.0"},
    {S_INIT("4.7.650 x"), "4.7.650"},
    {S_INIT("3.0.0 x"), ""},
    {S_INIT("5.1 x"), ""},
    {S_INIT("5.1.1x"), ""},
    {S_INIT("5.1.1234 x"), ""},
    {S_INIT(""), ""},
};

static void test_status(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        assert_true(str_eq(client_reply_status(statuses[i].text), str_of(statuses[i].status)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),         cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_endless),      cmocka_unit_test(test_unsafe),
        cmocka_unit_test(test_early_answer), cmocka_unit_test(test_refused_before_the_end),
        cmocka_unit_test(test_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
