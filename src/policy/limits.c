#include "policy/limits.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"

enum {
    MINUTE_MS = 60 * 1000,
    HOUR_MS = 60 * MINUTE_MS,
    STEPS = 25, /* one more than a window has, for the oldest is only half out of it */
    SWEEP_EVERY = 1000,
};

enum window { HOUR, DAY, WINDOWS };
enum what { MESSAGES, RECIPIENTS, WHATS };

static const struct {
    uint64_t step_ms, steps;
    const char *name;
} windows[WINDOWS] = {
    [HOUR] = {5 * MINUTE_MS, 12, "an hour"},
    [DAY] = {HOUR_MS, 24, "a day"},
};

struct count {
    uint64_t newest; /* number of the step that sum[newest % STEPS] is of */
    uint32_t sum[WHATS][STEPS];
};

struct account {
    struct count counts[WINDOWS];
    uint64_t last_ms;
    str name;
    char text[];
};

struct limits {
    struct map accounts;
    size_t takes;
};

struct limits *limits_new(uint64_t random_seed) {
    struct limits *l = calloc(1, sizeof(*l));
    if (l)
        l->accounts = MAP(random_seed);
    return l;
}

void limits_free(struct limits *l) {
    size_t at = 0;
    if (!l)
        return;
    for (struct account *a; (a = map_next(&l->accounts, &at));)
        free(a);
    map_free(&l->accounts);
    free(l);
}

size_t limits_count(const struct limits *l) {
    return l->accounts.used;
}

/* ---- who is remembered ---- */

static bool is_over(const struct account *a, uint64_t now_ms) {
    return now_ms > a->last_ms + (windows[DAY].steps + 1) * windows[DAY].step_ms;
}

/* Removing leaves the walk as it is: a slot is marked, not moved. */
static void sweep(struct limits *l, uint64_t now_ms) {
    size_t at = 0;
    for (struct account *a; (a = map_next(&l->accounts, &at));)
        if (is_over(a, now_ms)) {
            (void)map_remove_str(&l->accounts, a->name);
            free(a);
        }
}

static struct account *account_of(struct limits *l, str name) {
    struct account *a = map_get_str(&l->accounts, name);
    if (a)
        return a;
    a = calloc(1, sizeof(*a) + name.n);
    if (!a)
        return NULL;
    memcpy(a->text, name.p, name.n);
    a->name = str_n(a->text, name.n);
    if (map_put_str(&l->accounts, a->name, a))
        return a;
    free(a);
    return NULL;
}

/* ---- one window ---- */

/* Steps that have passed since are empty. */
static void move_on(struct count *c, uint64_t now_step) {
    if (now_step <= c->newest) /* a clock that was set back: the newest step takes it */
        return;
    uint64_t passed = now_step - c->newest < STEPS ? now_step - c->newest : STEPS;
    for (uint64_t i = 0; i < passed; i++)
        for (int what = 0; what < WHATS; what++)
            c->sum[what][(now_step - i) % STEPS] = 0;
    c->newest = now_step;
}

static uint64_t sum_since(const struct count *c, enum what what, uint64_t first) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < STEPS && c->newest >= first + i; i++)
        sum += c->sum[what][(c->newest - i) % STEPS];
    return sum;
}

/* When there is room for `want` more; 0: now, UINT64_MAX: never. */
static uint64_t room_at(const struct count *c, enum window window, enum what what, uint64_t max, uint64_t want) {
    uint64_t steps = windows[window].steps, oldest = c->newest > steps ? c->newest - steps : 0;
    if (max == 0)
        return 0;
    if (want > max)
        return UINT64_MAX;
    uint64_t first = oldest;
    while (sum_since(c, what, first) + want > max)
        first++;
    return first == oldest ? 0 : (first + steps) * windows[window].step_ms;
}

/* ---- what is said ---- */

static enum err refuse(enum window window, enum what what, uint64_t max, uint64_t at_ms, uint64_t now_ms,
                       struct why *w) {
    static const char *const words[WHATS] = {[MESSAGES] = "messages", [RECIPIENTS] = "recipients"};
    if (at_ms == UINT64_MAX)
        return why(w, ERR_LIMIT, "too many %s at once: this account may send to %llu in %s", words[what],
                   (unsigned long long)max, windows[window].name);
    uint64_t minutes = at_ms > now_ms ? (at_ms - now_ms + MINUTE_MS - 1) / MINUTE_MS : 1;
    bool hours = minutes > 120;
    uint64_t wait = hours ? (minutes + 59) / 60 : minutes;
    return why(w, ERR_LIMIT, "this account has reached its limit of %llu %s in %s: try again in %llu %s%s",
               (unsigned long long)max, words[what], windows[window].name, (unsigned long long)wait,
               hours ? "hour" : "minute", wait == 1 ? "" : "s");
}

enum err limits_take(struct limits *l, str account, const struct limits_max *max, uint64_t now_ms, uint32_t messages,
                     uint32_t recipients, struct why *w) {
    const uint64_t most[WHATS][WINDOWS] = {{max->messages_hour, max->messages_day},
                                           {max->recipients_hour, max->recipients_day}};
    const uint32_t want[WHATS] = {messages, recipients};
    if (++l->takes % SWEEP_EVERY == 0)
        sweep(l, now_ms);
    struct account *a = account_of(l, account);
    if (!a)
        return why(w, ERR_NOMEM, "no memory");
    for (enum window i = 0; i < WINDOWS; i++)
        move_on(&a->counts[i], now_ms / windows[i].step_ms);
    for (enum what what = 0; what < WHATS; what++)
        for (enum window i = WINDOWS; i-- > 0;) {
            uint64_t at = want[what] ? room_at(&a->counts[i], i, what, most[what][i], want[what]) : 0;
            if (at)
                return refuse(i, what, most[what][i], at, now_ms, w);
        }
    for (enum what what = 0; what < WHATS; what++)
        for (enum window i = 0; i < WINDOWS; i++)
            a->counts[i].sum[what][a->counts[i].newest % STEPS] += want[what];
    a->last_ms = now_ms;
    return OK;
}
