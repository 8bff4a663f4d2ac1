#include "obs/events.h"

static const struct {
    const char *name, *sentence;
    enum event_level level;
} events[EV_COUNT] = {
#define EVENT(NAME, name, level, sentence) [EV_##NAME] = {#name, sentence, EVENT_##level},
#include "obs/events.def"
#undef EVENT
};

const char *event_name(enum event_id e) {
    return events[e].name;
}

const char *event_sentence(enum event_id e) {
    return events[e].sentence;
}

enum event_level event_level(enum event_id e) {
    return events[e].level;
}

const char *event_level_name(enum event_level l) {
    static const char *const names[] = {"debug", "info", "warning", "error"};
    return names[l];
}
