/* smtp_server_in.h - what smtp_server.c (reading, data, lifecycle) and smtp_server_cmd.c (commands) share; for no one
 * else. */
#ifndef SMTP_SMTP_SERVER_IN_H
#define SMTP_SMTP_SERVER_IN_H

#include "smtp/smtp_server.h"

/* Not a want: go on. */
#define SMTP_GO_ON SMTP_WANTS

void smtp_server_say(struct smtp_server *s, enum smtp_reply_id id, str detail);
/* A reply of other words. */
void smtp_server_say_text(struct smtp_server *s, unsigned code, bool more, str status, str text, str detail);
void smtp_server_end(struct smtp_server *s, const char *reason);
void smtp_server_greet(struct smtp_server *s);
/* Forgets the transaction; GO_ON, or ABORT when the host knows of it. */
enum smtp_want smtp_server_reset(struct smtp_server *s);
/* A command was read. */
enum smtp_want smtp_server_command(struct smtp_server *s, str line);
enum smtp_want smtp_server_auth_line(struct smtp_server *s, str line);
/* Answers to MAIL, RCPT, BEGIN, AUTH have come. */
enum smtp_want smtp_server_after_mail(struct smtp_server *s);
enum smtp_want smtp_server_after_rcpt(struct smtp_server *s);
enum smtp_want smtp_server_after_begin(struct smtp_server *s);
enum smtp_want smtp_server_after_auth(struct smtp_server *s);
enum smtp_reply_id smtp_server_refusal(enum err e); /* what a host's error is called */
/* The host's answer, which is no: its code and words, or those of id. */
void smtp_server_say_no(struct smtp_server *s, enum smtp_reply_id id);

static inline enum smtp_want smtp_server_reply(struct smtp_server *s, enum smtp_reply_id id) {
    smtp_server_say(s, id, STR_NONE);
    return SMTP_GO_ON;
}

#endif
