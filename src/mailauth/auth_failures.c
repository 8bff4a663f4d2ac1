#include "mailauth/auth_failures.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/ip.h"
#include "base/map.h"

enum {
    STEP_MS = 60 * 1000,
    STEPS = 11,         /* ten minutes, and the one that is half out of them */
    NAMES_MAX = 200000, /* of some 150 bytes: what a botnet can make us remember */
    NAME_MAX_BYTES = 256,
    SWEEP_EVERY = 5000,
};

struct failures {
    uint64_t newest; /* number of the minute that sum[newest % STEPS] is of */
    uint32_t sum[STEPS];
    str name;
    char text[];
};

struct auth_failures {
    struct map names;
    size_t adds;
};

struct auth_failures *auth_failures_new(uint64_t random_seed) {
    struct auth_failures *f = calloc(1, sizeof(*f));
    if (f)
        f->names = MAP(random_seed);
    return f;
}

void auth_failures_free(struct auth_failures *f) {
    size_t at = 0;
    if (!f)
        return;
    for (struct failures *one; (one = map_next(&f->names, &at));)
        free(one);
    map_free(&f->names);
    free(f);
}

/* ---- names ---- */

/* False: it is of this machine, or none. */
static bool client_name(str client, struct buf *out) {
    uint8_t ip[IP6_SIZE];
    uint8_t *four = ip;
    char text[IP_TEXT_SIZE];
    if (ip6_parse(client, ip)) {
        static const uint8_t loopback[IP6_SIZE] = {[15] = 1};
        if (!memcmp(ip, loopback, sizeof ip))
            return false;
        if (!ip6_is_mapped(ip)) {
            memset(ip + IP6_SIZE / 2, 0, IP6_SIZE / 2);
            ip6_text(ip, text);
            buf_add(out, str_of(text));
            return true;
        }
        four = ip + IP6_SIZE - IP4_SIZE;
    } else if (!ip4_parse(client, ip)) {
        return false;
    }
    if (four[0] == 127)
        return false;
    ip4_text(four, text);
    buf_add(out, str_of(text));
    return true;
}

static bool name_of(enum auth_failures_of of, str name, struct buf *out) {
    buf_char(out, of == AUTH_FAILURES_CLIENT ? 'c' : 'a');
    if (of == AUTH_FAILURES_CLIENT)
        return client_name(name, out);
    for (size_t i = 0; i < name.n; i++)
        buf_char(out, char_lower(name.p[i]));
    return !out->full;
}

#define NAME_BUF(room) ((struct buf){.p = (room), .cap = sizeof(room), .limit = sizeof(room)})

/* ---- counting ---- */

static uint64_t sum_of(const struct failures *one, uint64_t minute) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < STEPS; i++)
        if (one->newest >= i && one->newest - i + STEPS > minute)
            sum += one->sum[(one->newest - i) % STEPS];
    return sum;
}

static void move_on(struct failures *one, uint64_t minute) {
    if (minute <= one->newest)
        return;
    uint64_t passed = minute - one->newest < STEPS ? minute - one->newest : STEPS;
    for (uint64_t i = 0; i < passed; i++)
        one->sum[(minute - i) % STEPS] = 0;
    one->newest = minute;
}

static void sweep(struct auth_failures *f, uint64_t minute) {
    size_t at = 0;
    for (struct failures *one; (one = map_next(&f->names, &at));)
        if (one->newest + STEPS <= minute) {
            (void)map_remove_str(&f->names, one->name);
            free(one);
        }
}

static struct failures *failures_of(struct auth_failures *f, str name) {
    struct failures *one = map_get_str(&f->names, name);
    if (one || f->names.used >= NAMES_MAX)
        return one;
    one = calloc(1, sizeof(*one) + name.n);
    if (!one)
        return NULL;
    memcpy(one->text, name.p, name.n);
    one->name = str_n(one->text, name.n);
    if (map_put_str(&f->names, one->name, one))
        return one;
    free(one);
    return NULL;
}

bool auth_failures_over(const struct auth_failures *f, enum auth_failures_of of, str name, uint64_t max,
                        uint64_t now_ms) {
    char room[NAME_MAX_BYTES];
    struct buf key = NAME_BUF(room);
    const struct failures *one = max && name_of(of, name, &key) ? map_get_str(&f->names, buf_str(&key)) : NULL;
    return one && sum_of(one, now_ms / STEP_MS) >= max;
}

bool auth_failures_add(struct auth_failures *f, enum auth_failures_of of, str name, uint64_t max, uint64_t now_ms) {
    char room[NAME_MAX_BYTES];
    struct buf key = NAME_BUF(room);
    uint64_t minute = now_ms / STEP_MS;
    if (++f->adds % SWEEP_EVERY == 0)
        sweep(f, minute);
    struct failures *one = name_of(of, name, &key) ? failures_of(f, buf_str(&key)) : NULL;
    if (!one)
        return false;
    move_on(one, minute);
    one->sum[one->newest % STEPS]++;
    return max && sum_of(one, minute) == max;
}

void auth_failures_forget(struct auth_failures *f, enum auth_failures_of of, str name) {
    char room[NAME_MAX_BYTES];
    struct buf key = NAME_BUF(room);
    if (name_of(of, name, &key))
        free(map_remove_str(&f->names, buf_str(&key)));
}
