#include "sys/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/code.h"

enum { LINE_MAX_SIZE = 8 * 1024, VALUE_MAX = 1024 };

static _Atomic uint64_t counts[EV_COUNT];
static char role_label[32] = "penfold";
static uint32_t role_number;
static bool has_number;
static enum log_format format_now = LOG_TEXT;
static enum event_level level_now = EVENT_INFO;

/* The line is built in memory that is there already: logging works when nothing else does.  The mutex makes a line
 * whole among the threads of one process; one write(2) makes it whole among processes. */
static pthread_mutex_t line_mutex = PTHREAD_MUTEX_INITIALIZER;
static char line_memory[LINE_MAX_SIZE];
static struct buf line = {.p = line_memory, .cap = LINE_MAX_SIZE, .limit = LINE_MAX_SIZE};

void log_setup(const char *role, uint32_t instance, enum log_format format, enum event_level level) {
    struct buf b = {.p = role_label, .cap = sizeof role_label, .limit = sizeof role_label};
    buf_add(&b, str_head(str_of(role), sizeof role_label - 1));
    buf_char(&b, '\0');
    role_number = instance;
    has_number = instance != LOG_NO_INSTANCE;
    format_now = format;
    level_now = level;
}

uint64_t log_count(enum event_id e) {
    return atomic_load_explicit(&counts[e], memory_order_relaxed);
}

static void put_time(void) {
    struct timespec t;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    buf_printf(&line, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
               tm.tm_min, tm.tm_sec, t.tv_nsec / 1000000);
}

static void put_text_head(enum event_id e) {
    static const char priority[] = {
        [EVENT_DEBUG] = '7', [EVENT_INFO] = '6', [EVENT_WARNING] = '4', [EVENT_ERROR] = '3'};
    if (format_now == LOG_JOURNAL) {
        buf_printf(&line, "<%c>", priority[event_level(e)]);
    } else {
        put_time();
        buf_printf(&line, " %s ", event_level_name(event_level(e)));
    }
    buf_add(&line, str_of(role_label));
    if (has_number)
        buf_printf(&line, "[%u]", role_number);
    buf_printf(&line, " %s: %s", event_name(e), event_sentence(e));
}

static void put_json_head(enum event_id e) {
    buf_add(&line, S("{\"time\":\""));
    put_time();
    buf_printf(&line, "\",\"level\":\"%s\",\"role\":\"%s\"", event_level_name(event_level(e)), role_label);
    if (has_number)
        buf_printf(&line, ",\"instance\":%u", role_number);
    buf_printf(&line, ",\"event\":\"%s\",\"text\":\"", event_name(e));
    escape_json(str_of(event_sentence(e)), &line);
    buf_char(&line, '"');
}

static void put_value(const struct log_field *f) {
    if (f->is_number) {
        buf_printf(&line, "%lld", (long long)f->number);
        return;
    }
    str value = str_head(f->text, VALUE_MAX);
    buf_char(&line, '"');
    if (format_now == LOG_JSON)
        escape_json(value, &line);
    else
        escape_print(value, &line);
    buf_char(&line, '"');
}

/* A field that does not fit is left out whole: half an escape would break the line. */
static void put_field(const struct log_field *f) {
    size_t before = line.n;
    buf_printf(&line, format_now == LOG_JSON ? ",\"%s\":" : " %s=", f->key);
    put_value(f);
    if (line.full || line.n > LINE_MAX_SIZE - 4) {
        line.full = false;
        buf_shrink(&line, before);
    }
}

static void write_line(void) {
    str s = buf_str(&line);
    while (s.n) {
        ssize_t n = write(STDERR_FILENO, s.p, s.n);
        if (n <= 0)
            return; /* nowhere to tell it */
        s = str_tail(s, (size_t)n);
    }
}

void log_event(enum event_id e, ...) {
    atomic_fetch_add_explicit(&counts[e], 1, memory_order_relaxed);
    if (event_level(e) < level_now)
        return;
    pthread_mutex_lock(&line_mutex);
    buf_reset(&line);
    if (format_now == LOG_JSON)
        put_json_head(e);
    else
        put_text_head(e);
    va_list ap;
    va_start(ap, e);
    for (;;) {
        struct log_field f = va_arg(ap, struct log_field);
        if (!f.key)
            break;
        put_field(&f);
    }
    va_end(ap);
    buf_add(&line, format_now == LOG_JSON ? S("}\n") : S("\n"));
    write_line();
    pthread_mutex_unlock(&line_mutex);
}
