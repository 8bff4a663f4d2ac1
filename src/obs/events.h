/* events.h - the events of events.def as an enum, with level and sentence.  Pure. */
#ifndef OBS_EVENTS_H
#define OBS_EVENTS_H

#include "base/str.h"

enum event_level { EVENT_DEBUG, EVENT_INFO, EVENT_WARNING, EVENT_ERROR };

enum event_id {
#define EVENT(NAME, name, level, sentence) EV_##NAME,
#include "obs/events.def"
#undef EVENT
    EV_COUNT
};

const char *event_name(enum event_id e);     /* "smtp_connect": also the label of its metric */
const char *event_sentence(enum event_id e); /* "a client connected" */
enum event_level event_level(enum event_id e);
const char *event_level_name(enum event_level l); /* "info" */

#endif
