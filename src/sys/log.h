/* log.h - events to the log and to the counters.  A row of obs/events.def is an event: its level, its sentence.
 * Each call counts the event; it is written when its level is at or above the configured one.
 *     log_event(EV_SMTP_CONNECT, LOG_STR("client", s->client), LOG_NUM("port", port), LOG_END);
 * Text:  2026-11-23T06:13:31.123Z info smtpd[0] smtp_connect: a client connected client="127.0.0.1" port=4242
 * JSON:
 * {"time":"…","level":"info","role":"smtpd","instance":0,"event":"smtp_connect","text":"…","client":"127.0.0.1","port":4242}
 * Values are escaped here (base/code.h escape_print / escape_json): hand them over raw. */
#ifndef SYS_LOG_H
#define SYS_LOG_H

#include "base/err.h"
#include "obs/events.h"

struct log_field {
    const char *key; /* NULL ends */
    str text;
    int64_t number;
    bool is_number;
};

#define LOG_STR(key, value) ((struct log_field){(key), (value), 0, false})
#define LOG_NUM(key, value) ((struct log_field){(key), STR_NONE, (int64_t)(value), true})
#define LOG_WHY(w) ((struct log_field){"why", str_of((w)->text), 0, false})
#define LOG_END ((struct log_field){0})

void log_event(enum event_id e, ...); /* safe from any thread; struct log_field values, ended by LOG_END */
uint64_t log_count(enum event_id e);  /* since start, this process */

enum log_format { LOG_TEXT, LOG_JSON, LOG_JOURNAL /* text with <n> level prefix, no time: systemd adds it */ };
enum { LOG_NO_INSTANCE = 0xffffffff }; /* there is only one of its kind: no [0] */
void log_setup(const char *role, uint32_t instance, enum log_format format, enum event_level level);

#endif
