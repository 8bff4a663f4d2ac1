/* route_fuzz.c - routes and recipients of anybody: a decision always comes, it is one, and a stranger's mail goes out
 * only where a rule or an alias said so.  Input: a configuration, then lines behind a line "--": sender, recipient,
 * user, header. */
#include <assert.h>
#include <stdlib.h>

#include "frame/job.h"
#include "policy/route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROUNDS_MAX = 4000 };

static void check_delivery(const struct conf *c, const struct route_ask *ask, const struct envelope_delivery *v) {
    assert(v->rcpt == ask->rcpt && v->kind >= JOB_MAILBOX && v->kind <= JOB_WEBHOOK);
    assert(v->kind != JOB_MAILBOX || v->target.n);
    bool out = v->kind == JOB_RELAY || v->kind == JOB_SMARTHOST;
    bool stranger = !ask->user.n && !conf_network_match(&c->relay_networks, ask->client);
    assert(!out || !stranger || v->via.n || v->rule.n);
}

static void check_decision(const struct conf *c, const struct route_ask *ask, const struct route_decision *d) {
    assert(d->verdict != ROUTE_ACCEPT || d->delivery_count);
    assert(d->verdict != ROUTE_REJECT || (d->code >= 400 && d->code < 600 && d->text.n && !d->delivery_count));
    assert(d->verdict != ROUTE_LATER || !ask->header.p || !ask->size);
    for (size_t i = 0; i < d->delivery_count; i++)
        check_delivery(c, ask, &d->deliveries[i]);
}

static void decide(const struct conf *c, const struct directory *dir, const struct route_ask *ask) {
    struct arena a = ARENA(64 << 20);
    struct buf story = BUF(1 << 20);
    struct route_decision d = {.story = &story};
    struct route_known *known = NULL;
    enum err e;
    unsigned rounds = 0;
    while ((e = route_decide(c, ask, known, &a, &d)) == ERR_MORE) {
        assert(d.missing_count && rounds < ROUNDS_MAX);
        rounds++;
        for (size_t i = 0; i < d.missing_count; i++) {
            struct directory_answer *answer = arena_alloc(&a, sizeof *answer);
            struct route_known *k = arena_alloc(&a, sizeof *k);
            if (!answer || !k)
                goto out;
            directory_lookup(dir, d.missing[i], ask->user, &a, answer);
            *k = (struct route_known){answer, known};
            known = k;
        }
    }
    if (e == OK)
        check_decision(c, ask, &d);
    else
        assert(e == ERR_NOMEM);
out:
    arena_free(&a);
    buf_free(&story);
}

static void ask_both(const struct conf *c, const struct directory *dir, str lines) {
    static const str secret = S_INIT("secret");
    struct srs srs = {&secret, 1, S("example.org"), 20000};
    struct route_ask ask = {.rcpt = 3, .client = S("192.0.2.1"), .listener = S("mx"), .srs = &srs};
    str *parts[] = {&ask.sender, &ask.recipient, &ask.user};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!str_line(&lines, parts[i]))
            *parts[i] = S("");
    decide(c, dir, &ask);
    ask.size = 1000;
    ask.header = lines.p ? lines : S("");
    decide(c, dir, &ask);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct conf c;
    struct conf_errors errors = {0};
    struct why w;
    str all = str_n(data, size), lines = STR_NONE;
    size_t cut = str_find_str(all, S("\n--\n"));
    if (cut != SIZE_MAX)
        lines = str_tail(all, cut + 4);
    struct directory *dir = directory_new(1);
    conf_defaults(&c);
    enum err e = conf_read(str_head(all, cut == SIZE_MAX ? all.n : cut + 1), "fuzz", &c, &errors);
    if (dir && e == OK && directory_conf(dir, &c, &w) == OK) /* not conf_check: rules it would refuse are asked, too */
        ask_both(&c, dir, lines);
    directory_free(dir);
    conf_errors_free(&errors);
    conf_free(&c);
    return 0;
}
