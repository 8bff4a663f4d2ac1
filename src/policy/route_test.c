#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "frame/job.h"
#include "policy/route.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const char *kind_name(uint32_t kind) {
    static const char *const names[] = {
        [JOB_MAILBOX] = "mailbox", [JOB_CAPTURE] = "capture", [JOB_DISCARD] = "discard",
        [JOB_REFUSED] = "refused", [JOB_RELAY] = "relay",     [JOB_SMARTHOST] = "smarthost",
        [JOB_LMTP] = "lmtp",       [JOB_PIPE] = "pipe",       [JOB_WEBHOOK] = "webhook"};
    return kind < COUNT(names) && names[kind] ? names[kind] : "?";
}

/* A configuration with its directory, and what was looked up. */
struct world {
    struct conf c;
    struct conf_errors errors;
    struct directory *d;
    struct arena a;
    struct route_known *known;
    unsigned lookups, rounds;
};

static void world_open(struct world *o, const char *text) {
    struct why w;
    *o = (struct world){.a = ARENA(64 << 20)};
    conf_defaults(&o->c);
    enum err e = conf_read(str_of(text), "f", &o->c, &o->errors);
    if (e) {
        struct buf out = BUF(1 << 20);
        conf_errors_put(&out, &o->errors);
        fprintf(stderr, "%s", buf_cstr(&out));
        buf_free(&out);
    }
    assert_int_equal(e, OK);
    o->d = directory_new(1);
    assert_int_equal(directory_conf(o->d, &o->c, &w), OK);
}

static void world_close(struct world *o) {
    directory_free(o->d);
    conf_free(&o->c);
    conf_errors_free(&o->errors);
    arena_free(&o->a);
}

static void learn(struct world *o, str address, str user) {
    struct directory_answer *answer = arena_alloc(&o->a, sizeof *answer);
    struct route_known *known = arena_alloc(&o->a, sizeof *known);
    directory_lookup(o->d, address, user, &o->a, answer);
    *known = (struct route_known){answer, o->known};
    o->known = known;
    o->lookups++;
}

/* Asks, learns what is missing, asks again. */
static void decide(struct world *o, const struct route_ask *ask, struct route_decision *d) {
    enum err e;
    o->known = NULL;
    o->lookups = o->rounds = 0;
    while ((e = route_decide(&o->c, ask, o->known, &o->a, d)) == ERR_MORE) {
        assert_true(d->missing_count > 0);
        o->rounds++;
        for (size_t i = 0; i < d->missing_count; i++)
            learn(o, d->missing[i], ask->user);
    }
    assert_int_equal(e, OK);
}

static void put_delivery(struct buf *out, const struct envelope_delivery *v) {
    buf_printf(out, "%s %.*s", kind_name(v->kind), STR_ARG(v->address));
    if (v->target.n && !str_eq(v->target, v->address))
        buf_printf(out, " at %.*s", STR_ARG(v->target));
    if (v->detail.n)
        buf_printf(out, " / %.*s", STR_ARG(v->detail));
    if (v->rule.n)
        buf_printf(out, " by %.*s", STR_ARG(v->rule));
    if (v->has_sender)
        buf_printf(out, " as %.*s", STR_ARG(v->sender));
}

/* "mailbox ada@example.org", "550 5.1.1 ...", "later: ..."; several deliveries stand on lines of their own. */
static const char *outcome(struct world *o, const struct route_ask *ask) {
    static struct buf out = BUF(1 << 20);
    struct route_decision d = {0};
    decide(o, ask, &d);
    buf_reset(&out);
    if (d.verdict == ROUTE_LATER)
        buf_add(&out, S("later: "));
    if (d.delivery_count == 0)
        buf_printf(&out, "%u %.*s", d.code, STR_ARG(d.text));
    for (size_t i = 0; i < d.delivery_count; i++) {
        assert_int_equal(d.deliveries[i].rcpt, ask->rcpt);
        buf_add(&out, i ? S("\n") : S(""));
        put_delivery(&out, &d.deliveries[i]);
    }
    assert_true(d.verdict != ROUTE_ACCEPT || d.delivery_count);
    assert_true(d.verdict != ROUTE_REJECT || (d.code >= 400 && d.text.n));
    return buf_cstr(&out);
}

struct row {
    const char *from, *to, *user, *client, *expected;
};

static void run(const char *conf, const struct row *rows, size_t n) {
    struct world o;
    world_open(&o, conf);
    for (size_t i = 0; i < n; i++) {
        const struct row *r = &rows[i];
        struct route_ask ask = {.sender = str_of(r->from),
                                .recipient = str_of(r->to),
                                .rcpt = 7,
                                .user = str_of(r->user),
                                .client = str_of(r->client ? r->client : "192.0.2.1"),
                                .listener = S("mx"),
                                .size = 1000,
                                .header = S("Subject: x\r\n")};
        const char *got = outcome(&o, &ask);
        if (strcmp(got, r->expected) != 0)
            fprintf(stderr, "row %zu, to %s\n", i, r->to);
        assert_string_equal(got, r->expected);
    }
    world_close(&o);
}
#define RUN(conf, rows) run(conf, rows, COUNT(rows))

#define PLACES                                                                                                         \
    "mode server\n"                                                                                                    \
    "relay_networks 10.0.0.0/8 unix\n"                                                                                 \
    "domain example.org {\n}\n"                                                                                        \
    "domain example.com {\nalias_of example.org\n}\n"                                                                  \
    "domain all.example {\ncatch_all ada@example.org\n}\n"                                                             \
    "account ada@example.org {\n}\n"                                                                                   \
    "account bob@example.org {\n}\n"                                                                                   \
    "alias team@example.org {\nto ada@example.org bob@example.org eve@far.example\n}\n"                                \
    "alias postmaster@example.org {\nto ada@example.org\n}\n"

#define NO_RELAY "550 5.7.1 relaying needs authentication"
#define NOBODY "550 5.1.1 no such address here"

static void built_in_rules(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"x@far.example", "ada@example.org", "", NULL, "mailbox ada@example.org"},
        {"", "ada@example.org", "", NULL, "mailbox ada@example.org"},
        {"x@far.example", "Ada@EXAMPLE.org", "", NULL, "mailbox Ada@EXAMPLE.org at ada@example.org"},
        {"x@far.example", "ada+lists@example.org", "", NULL,
         "mailbox ada+lists@example.org at ada@example.org / lists"},
        {"x@far.example", "ada@example.com", "", NULL, "mailbox ada@example.com at ada@example.org"},
        {"x@far.example", "nobody@example.org", "", NULL, NOBODY},
        {"x@far.example", "nobody@example.com", "", NULL, NOBODY},
        {"x@far.example", "any@all.example", "", NULL, "mailbox ada@example.org"},
        {"x@far.example", "Postmaster", "", NULL, "mailbox ada@example.org"},
        {"x@far.example", "y@far.example", "", NULL, NO_RELAY},
        {"ada@example.org", "y@far.example", "", NULL, NO_RELAY}, /* a sender proves nothing */
        {"ada@example.org", "y@far.example", "ada@example.org", NULL, "relay y@far.example at far.example"},
        {"x@far.example", "y@Far.Example", "", "10.1.2.3", "relay y@Far.Example at far.example"},
        {"x@far.example", "y@far.example", "", "unix", "relay y@far.example at far.example"},
        {"x@far.example", "team@example.org", "", NULL,
         "mailbox ada@example.org\nmailbox bob@example.org\nrelay eve@far.example at far.example"},
        {"ada@example.org", "nobody@example.org", "ada@example.org", NULL, NOBODY},
    };
    RUN(PLACES, rows);
}

static void postmasters(void **state) {
    (void)state;
    static const struct row none[] = {
        {"x@far.example", "postmaster@example.org", "", NULL, NOBODY},
        {"x@far.example", "Postmaster", "", NULL, NOBODY},
    };
    static const struct row set[] = {
        {"x@far.example", "postmaster@example.org", "", NULL, "mailbox ada@example.org"},
        {"x@far.example", "Postmaster@b.example", "", NULL, "mailbox ada@example.org"},
        {"", "Postmaster", "", NULL, "mailbox ada@example.org"},
        {"x@far.example", "postmaster@far.example", "", NULL, NO_RELAY},
        {"x@far.example", "hostmaster@example.org", "", NULL, NOBODY},
    };
    static const struct row itself[] = {{"x@far.example", "postmaster@example.org", "", NULL, NOBODY}};
    RUN("domain example.org {\n}\n", none);
    RUN("postmaster ada@example.org\ndomain example.org {\n}\ndomain b.example {\n}\naccount ada@example.org {\n}\n",
        set);
    RUN("postmaster postmaster@example.org\ndomain example.org {\n}\n", itself);
}

/* Item by item what open relays fell for; none of them goes out, whatever it looks like. */
static void no_open_relay(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"x@far.example", "user%victim.example@example.org", "", NULL, NOBODY},
        {"x@far.example", "user%victim.example", "", NULL, NOBODY},
        {"x@far.example", "victim.example!user@example.org", "", NULL, NOBODY},
        {"x@far.example", "victim.example!user", "", NULL, NOBODY},
        {"x@far.example", "\"user@victim.example\"@example.org", "", NULL, NOBODY},
        {"x@far.example", "\"user%victim.example\"@example.org", "", NULL, NOBODY},
        {"x@far.example", "\"user\\@victim.example\"@example.org", "", NULL, NOBODY},
        {"x@far.example", "user@victim.example@example.org", "", NULL, NO_RELAY}, /* is no address at all */
        {"x@far.example", "user@example.org@victim.example", "", NULL, NO_RELAY},
        {"x@far.example", "@example.org:user@victim.example", "", NULL, NO_RELAY},
        {"x@far.example", "\"@example.org:user\"@victim.example", "", NULL, NO_RELAY},
        {"x@far.example", "user@victim.example.", "", NULL, NO_RELAY},
        {"x@far.example", "user@VICTIM.example", "", NULL, NO_RELAY},
        {"x@far.example", "user@[192.0.2.9]", "", NULL, NO_RELAY},
        {"x@far.example", "user@[IPv6:2001:db8::9]", "", NULL, NO_RELAY},
        {"x@far.example", "user@3221225993", "", NULL, NO_RELAY},
        {"x@far.example", "ada@example.org.", "", NULL, "mailbox ada@example.org. at ada@example.org"},
        {"x@far.example", "ada@example.org.victim.example", "", NULL, NO_RELAY},
        {"x@far.example", "ada@xexample.org", "", NULL, NO_RELAY},
        {"x@far.example", "ada@sub.example.org", "", NULL, NO_RELAY},
        {"x@far.example", "ada@ex\xd0\xb0mple.org", "", NULL, NO_RELAY}, /* a cyrillic a */
        /* A wide dot is a dot (UTS 46): ours, and not elsewhere. */
        {"x@far.example", "ada@example\xef\xbc\x8eorg", "", NULL,
         "mailbox ada@example\xef\xbc\x8eorg at ada@example.org"},
        {"x@far.example",
         "\xd0\xb0"
         "da@example.org",
         "", NULL, NOBODY},
        {"ada@example.org", "user@victim.example", "", "192.0.2.1", NO_RELAY},
        {"", "user@victim.example", "", NULL, NO_RELAY},
        {"x@far.example", "user+ada@victim.example", "", NULL, NO_RELAY},
        {"x@far.example", "ada+user@victim.example@example.org", "", NULL, NO_RELAY},
        {"x@far.example", "user@localhost", "", NULL, NO_RELAY},
        {"x@far.example", "user@", "", NULL, NO_RELAY},
        {"x@far.example", "@", "", NULL, NO_RELAY},
    };
    RUN(PLACES, rows);
    /* A smarthost for who is authenticated, and a backup's relay, open nothing more. */
    RUN(PLACES "route out {\nauth yes\naction smarthost\nhost smart.example\n}\n"
               "route backup {\nto other.example\naction relay\n}\n",
        rows);
    /* Nor does a rule that conf check would have refused. */
    RUN(PLACES "route open {\nfrom *\naction relay\nlistener never\n}\n", rows);
}

static void open_rules_are_guarded(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"x@far.example", "y@far.example", "", NULL, NO_RELAY},
        {"x@far.example", "y@far.example", "ada@example.org", NULL, "smarthost y@far.example at s:25 by open"},
        {"x@far.example", "y@far.example", "", "10.0.0.1", "smarthost y@far.example at s:25 by open"},
    };
    RUN(PLACES "route open {\naction smarthost\nhost s:25\n}\n", rows);
}

static void rules_in_order(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"x@spam.example", "ada@example.org", "", NULL, "550 5.7.1 no spam by nospam"},
        {"x@a.spam.example", "ada@example.org", "", NULL, "451 4.7.1 try again later"},
        {"x@far.example", "list@example.org", "", NULL, "pipe list@example.org at list by list"},
        {"x@far.example", "hook@example.org", "", NULL, "webhook hook@example.org at hook by hook"},
        {"x@far.example", "trap@example.org", "", NULL, "discard trap@example.org at trap by trap"},
        {"x@far.example", "any@lmtp.example", "", NULL, "lmtp any@lmtp.example at unix:/run/l h:24 by lmtp"},
        {"x@far.example", "any@backup.example", "", NULL, "relay any@backup.example at backup.example by backup"},
        {"x@far.example", "q@example.org", "", NULL, "mailbox q@example.org at bob@example.org / Junk by junk"},
        {"", "ada@example.org", "", NULL, "capture ada@example.org at nulls by nulls"},
        {"ada@example.org", "y@far.example", "ada@example.org", NULL, "smarthost y@far.example at s:587 by out"},
        {"ada@example.org", "bob@example.org", "ada@example.org", NULL, "mailbox bob@example.org"},
        {"x@far.example", "y@far.example", "", NULL, NO_RELAY},
        /* by an alias elsewhere: our mail, so by our smarthost */
        {"x@far.example", "eve@example.org", "", NULL, "smarthost eve@far.example at s:587 by out"},
    };
    static const char conf[] = PLACES "alias eve@example.org {\nto eve@far.example\n}\n"
                                      "route nospam {\nfrom spam.example\naction reject\ntext \"no spam\"\n}\n"
                                      "route grey {\nfrom .spam.example\naction reject\ncode 451\n}\n"
                                      "route nulls {\nfrom <>\naction capture\n}\n"
                                      "route list {\nto list@example.org\naction pipe\ncommand /bin/x\n}\n"
                                      "route hook {\nto hook@*\naction webhook\nurl http://h\n}\n"
                                      "route trap {\nto trap@example.org\naction discard\n}\n"
                                      "route lmtp {\nto lmtp.example\naction lmtp\nhost unix:/run/l h:24\n}\n"
                                      "route backup {\nto backup.example\naction relay\n}\n"
                                      "route junk {\nto q@example.org\naction mailbox\naccount bob@example.org\n"
                                      "folder Junk\n}\n"
                                      "route home {\nto local\naction mailbox\n}\n"
                                      "route out {\nauth yes\naction smarthost\nhost s:587\n}\n";
    struct row fixed[COUNT(rows)];
    memcpy(fixed, rows, sizeof rows);
    fixed[0].expected = "550 5.7.1 no spam";
    fixed[10].expected = "mailbox bob@example.org by home";
    RUN(conf, fixed);
}

static void conditions(void **state) {
    (void)state;
    static const char conf[] = PLACES "route sub {\nlistener submission\naction capture\n}\n"
                                      "route net {\nclient 198.51.100.0/24\naction capture\n}\n"
                                      "route anon {\nauth no\nto bob@example.org\naction reject\n}\n"
                                      "route ours {\nfrom local\nauth no\naction reject\ntext \"not you\"\n}\n";
    static const struct row rows[] = {
        {"x@far.example", "ada@example.org", "", "198.51.100.9", "capture ada@example.org at net by net"},
        {"x@far.example", "bob@example.org", "", NULL, "550 5.7.1 not accepted here"},
        {"x@far.example", "bob@example.org", "ada@example.org", NULL, "mailbox bob@example.org"},
        {"y@example.com", "ada@example.org", "", NULL, "550 5.7.1 not you"},
        {"y@sub.example.com", "ada@example.org", "", NULL, "mailbox ada@example.org"},
        /* an alias does not lead around a rule for what it leads to; what remains is delivered, the rest returned */
        {"x@far.example", "team@example.org", "", NULL,
         "mailbox ada@example.org\nrelay eve@far.example at far.example\n"
         "refused bob@example.org / 550 5.7.1 not accepted here by anon"},
    };
    RUN(conf, rows);
}

static void copies(void **state) {
    (void)state;
    static const char conf[] = PLACES "route all {\ncopy yes\naction capture\n}\n"
                                      "route watch {\ncopy yes\nto team@example.org\naction forward\n"
                                      "address boss@far.example\n}\n";
    static const struct row rows[] = {
        {"x@far.example", "ada@example.org", "", NULL,
         "capture ada@example.org at all by all\nmailbox ada@example.org"},
        {"x@far.example", "nobody@example.org", "", NULL, NOBODY}, /* a copy alone accepts nothing */
        {"x@far.example", "y@far.example", "", NULL, NO_RELAY},
        /* once, not once for each whom the alias stands for */
        {"x@far.example", "team@example.org", "", NULL,
         "capture team@example.org at all by all\nrelay boss@far.example at far.example\nmailbox ada@example.org\n"
         "mailbox bob@example.org\nrelay eve@far.example at far.example"},
    };
    RUN(conf, rows);
}

static void forwards(void **state) {
    (void)state;
    static const char conf[] = PLACES "route ops {\nto ops@example.org\naction forward\n"
                                      "address ada@example.org ops@far.example\n}\n"
                                      "route rest {\nto example.org\naction forward\naddress bob@example.org\n}\n";
    static const struct row rows[] = {
        {"x@far.example", "ops@example.org", "", NULL, "mailbox bob@example.org\nrelay ops@far.example at far.example"},
        /* the rule does not forward what it forwarded */
        {"x@far.example", "anything@example.org", "", NULL, "mailbox bob@example.org"},
        {"x@far.example", "bob@example.org", "", NULL, "550 5.4.6 the addresses lead in a circle"},
    };
    RUN(conf, rows);
}

static void circles_and_depth(void **state) {
    (void)state;
    static const char conf[] = PLACES "alias a@example.org {\nto b@example.org\n}\n"
                                      "alias b@example.org {\nto c@example.org ada@example.org\n}\n"
                                      "alias c@example.org {\nto A@example.org\n}\n"
                                      "alias self@example.org {\nto self@example.org\n}\n"
                                      "alias bob@example.org {\nto bob@far.example\nkeep yes\n}\n"
                                      "alias gone@example.org {\nto x1@example.org x2@example.org\n}\n"
                                      "alias half@example.org {\nto x1@example.org ada@example.org\n}\n"
                                      "alias twice@example.org {\nto ada@example.org team@example.org Ada@example.org\n"
                                      "}\n";
    static const struct row rows[] = {
        {"x@far.example", "a@example.org", "", NULL, "mailbox ada@example.org"},
        {"x@far.example", "self@example.org", "", NULL, "550 5.4.6 the addresses lead in a circle"},
        {"x@far.example", "bob@example.org", "", NULL, "mailbox bob@example.org\nrelay bob@far.example at far.example"},
        {"x@far.example", "gone@example.org", "", NULL, NOBODY},
        {"x@far.example", "half@example.org", "", NULL, "mailbox ada@example.org\nrefused x1@example.org / " NOBODY},
        {"x@far.example", "twice@example.org", "", NULL,
         "mailbox ada@example.org\nmailbox bob@example.org\nrelay bob@far.example at far.example\n"
         "relay eve@far.example at far.example"},
    };
    RUN(conf, rows);
}

/* A chain of aliases of this length, each to the next; the last one to ada. */
static const char *chain(unsigned n, const char *settings) {
    static struct buf conf = BUF(1 << 20);
    buf_reset(&conf);
    buf_printf(&conf, "%s" PLACES, settings);
    for (unsigned i = 1; i < n; i++)
        buf_printf(&conf, "alias n%u@example.org {\nto n%u@example.org\n}\n", i, i + 1);
    buf_printf(&conf, "alias n%u@example.org {\nto ada@example.org\n}\n", n);
    return buf_cstr(&conf);
}

static const char *wide(unsigned n, const char *settings) {
    static struct buf conf = BUF(1 << 20);
    buf_reset(&conf);
    buf_printf(&conf, "%s" PLACES "alias many@example.org {\nto", settings);
    for (unsigned i = 0; i < n; i++)
        buf_printf(&conf, " u%u@far.example", i);
    buf_add(&conf, S("\n}\n"));
    return buf_cstr(&conf);
}

static void limits(void **state) {
    (void)state;
    static const struct row deep[] = {{"x@far.example", "n1@example.org", "", NULL, "mailbox ada@example.org"}};
    static const struct row too_deep[] = {
        {"x@far.example", "n1@example.org", "", NULL, "550 5.4.6 too many aliases lead to each other"}};
    static const struct row too_wide[] = {
        {"x@far.example", "many@example.org", "", NULL, "550 5.4.6 the address stands for too many others"}};
    RUN(chain(10, ""), deep);
    RUN(chain(11, ""), too_deep);
    RUN(chain(100, "alias_depth_max 100\n"), deep);
    RUN(wide(1001, ""), too_wide);
    RUN(wide(6, "alias_recipients_max 5\n"), too_wide);

    struct world o;
    world_open(&o, wide(1000, ""));
    struct route_ask ask = {.sender = S("x@far.example"),
                            .recipient = S("many@example.org"),
                            .client = S("192.0.2.1"),
                            .size = 1,
                            .header = S("")};
    struct route_decision d = {0};
    decide(&o, &ask, &d);
    assert_int_equal(d.delivery_count, 1000);
    assert_true(o.rounds <= 1 + (1000 + ROUTE_MISSING_MAX - 1) / ROUTE_MISSING_MAX);
    assert_int_equal(o.lookups, 1001);
    world_close(&o);
}

static void sandbox_captures(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"x@far.example", "y@far.example", "", NULL, "capture y@far.example"},
        {"", "ada@example.org", "", NULL, "capture ada@example.org"},
    };
    RUN("mode sandbox\n", rows);
    static const struct row staging[] = {
        {"x@far.example", "y@far.example", "", NULL, "capture y@far.example"},
        {"x@far.example", "qa@team.example", "", NULL, "smarthost qa@team.example at s:25 by allowed"},
    };
    RUN("mode sandbox\nroute allowed {\nto team.example\naction smarthost\nhost s:25\n}\n", staging);
}

static void waits_for_the_message(void **state) {
    (void)state;
    static const char conf[] = PLACES "route junk {\nheader \"X-Spam-Flag: yes*\"\naction mailbox\nfolder Junk\n}\n"
                                      "route gate {\nto gate.example\nheader \"X-Gate: *open*\"\naction capture\n}\n"
                                      "route big {\nsize_min 1MiB\naction reject\ncode 552\ntext \"5.3.4 too big\"\n"
                                      "}\n"
                                      "route shut {\nto shut@example.org\naction reject\n}\n";
    static const struct {
        const char *to, *header;
        uint64_t size;
        const char *expected;
    } rows[] = {
        {"ada@example.org", NULL, 0, "later: mailbox ada@example.org"},
        {"ada@example.org", NULL, 10, "later: mailbox ada@example.org"},
        {"ada@example.org", "", 10, "mailbox ada@example.org"},
        {"ada@example.org", "x-spam-flag:\r\n YES, surely\r\n", 10, "mailbox ada@example.org / Junk by junk"},
        {"ada@example.org", "X-Spam-Flag: no\r\nX-Spam-Flag: Yes\r\n", 10, "mailbox ada@example.org / Junk by junk"},
        {"ada@example.org", "Subject: X-Spam-Flag: yes\r\n", 10, "mailbox ada@example.org"},
        {"ada@example.org", NULL, 2 << 20, "later: 552 5.3.4 too big"},
        {"ada@example.org", "", 2 << 20, "552 5.3.4 too big"},
        {"nobody@example.org", NULL, 0, NOBODY}, /* at once: nothing will have to be returned */
        {"y@far.example", NULL, 0, NO_RELAY},
        {"y@gate.example", NULL, 0, "later: " NO_RELAY}, /* the rule names it */
        {"y@gate.example", "", 10, NO_RELAY},
        {"y@gate.example", "X-Gate: is open\r\n", 10, "capture y@gate.example at gate by gate"},
        {"shut@example.org", NULL, 0, "later: 550 5.7.1 not accepted here"},
    };
    struct world o;
    world_open(&o, conf);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct route_ask ask = {.sender = S("x@far.example"),
                                .recipient = str_of(rows[i].to),
                                .client = S("192.0.2.1"),
                                .size = rows[i].size,
                                .header = rows[i].header ? str_of(rows[i].header) : STR_NONE};
        const char *got = outcome(&o, &ask);
        if (strcmp(got, rows[i].expected) != 0)
            fprintf(stderr, "row %zu\n", i);
        assert_string_equal(got, rows[i].expected);
    }
    world_close(&o);
}

static void reports_go_anywhere(void **state) {
    (void)state;
    struct world o;
    world_open(&o, PLACES "route out {\nauth yes\naction smarthost\nhost s:25\n}\n");
    struct route_ask ask = {.sender = S(""),
                            .recipient = S("y@far.example"),
                            .client = S("192.0.2.1"),
                            .size = 1,
                            .header = S(""),
                            .internal = true};
    assert_string_equal(outcome(&o, &ask), "smarthost y@far.example at s:25 by out");
    world_close(&o);
}

/* What passes through goes out with a sender of ours, and is returned by it. */
static void senders_of_forwarded_mail(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *user;
        bool rewritten;
    } rows[] = {
        {"x@far.example", "away@example.org", "", true},
        {"", "away@example.org", "", false},
        {"bob@example.com", "away@example.org", "bob@example.org", false}, /* ours already */
        {"ada@example.org", "y@far.example", "ada@example.org", false},    /* does not pass through */
        {"x@[192.0.2.1]", "away@example.org", "", false},
    };
    str secret = S("secret");
    struct srs srs = {&secret, 1, S("example.org"), 20000};
    struct world o;
    world_open(&o, PLACES "alias away@example.org {\nto eve@else.example\n}\n"
                          "route home {\nto local\naction mailbox\n}\n");
    str sender = STR_NONE;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct route_ask ask = {.sender = str_of(rows[i].from),
                                .recipient = str_of(rows[i].to),
                                .user = str_of(rows[i].user),
                                .client = S("192.0.2.1"),
                                .size = 1,
                                .header = S(""),
                                .srs = &srs};
        struct route_decision d = {0};
        decide(&o, &ask, &d);
        assert_int_equal(d.delivery_count, 1);
        assert_int_equal(d.deliveries[0].has_sender, rows[i].rewritten);
        if (rows[i].rewritten)
            sender = d.deliveries[0].sender;
    }
    assert_true(str_starts(sender, S("SRS0=")) && str_ends(sender, S("@example.org")));

    struct route_ask ask = {
        .sender = S(""), .recipient = sender, .client = S("192.0.2.1"), .size = 1, .header = S(""), .srs = &srs};
    assert_string_equal(outcome(&o, &ask), "relay x@far.example at far.example");
    ask.sender = S("x@spam.example"); /* only what is returned */
    assert_string_equal(outcome(&o, &ask), NOBODY);
    ask.sender = S("");
    srs.day += SRS_DAYS_MAX + 2;
    assert_string_equal(outcome(&o, &ask), NOBODY);
    srs.day = 20000;
    ask.recipient = S("SRS0=AAAA=AA=victim.example=user@example.org"); /* nobody else makes them */
    assert_string_equal(outcome(&o, &ask), NOBODY);
    world_close(&o);
}

static void asks_no_more_than_it_must(void **state) {
    (void)state;
    struct world o;
    world_open(&o, PLACES "route cap {\nto *.cap.example\naction capture\n}\n");
    struct route_ask ask = {.sender = S("x@far.example"),
                            .recipient = S("y@a.cap.example"),
                            .client = S("192.0.2.1"),
                            .size = 1,
                            .header = S("")};
    struct route_decision d = {0};
    decide(&o, &ask, &d);
    assert_int_equal(o.lookups, 0);
    ask.recipient = S("team@example.org");
    decide(&o, &ask, &d);
    assert_int_equal(o.lookups, 4); /* the alias, then its three targets at once */
    assert_int_equal(o.rounds, 2);
    world_close(&o);
}

static void tells_its_story(void **state) {
    (void)state;
    struct world o;
    struct buf story = BUF(1 << 16);
    world_open(&o, PLACES "route spam {\nfrom spam.example\naction reject\n}\n");
    struct route_ask ask = {.sender = S("x@far.example"),
                            .recipient = S("postmaster@example.org"),
                            .client = S("192.0.2.1"),
                            .size = 1,
                            .header = S("")};
    struct route_decision d = {.story = &story};
    decide(&o, &ask, &d);
    assert_string_equal(buf_cstr(&story), "postmaster@example.org\n"
                                          "route spam (f:21) does not match: the sender is not in `from`\n"
                                          "no route matches: postmaster@example.org is an alias\n"
                                          "alias postmaster@example.org: 1 address\n"
                                          "  ada@example.org\n"
                                          "  route spam (f:21) does not match: the sender is not in `from`\n"
                                          "  no route matches: ada@example.org is an account's\n"
                                          "  into the mailbox of ada@example.org\n");
    assert_int_equal(d.delivery_count, 1);
    assert_string_equal(d.deliveries[0].via.p, "alias postmaster@example.org -> ada@example.org");
    buf_free(&story);
    world_close(&o);
}

static void full_mailboxes(void **state) {
    (void)state;
    struct world o;
    world_open(&o, PLACES);
    struct directory_answer full = {
        .address = S("ada@example.org"), .status = DIRECTORY_IS_ACCOUNT, .account = S("ada@example.org"), .full = true};
    str both[] = {S("ada@example.org"), S("bob@example.org")};
    struct directory_answer bob = {
        .address = S("bob@example.org"), .status = DIRECTORY_IS_ACCOUNT, .account = S("bob@example.org")};
    struct directory_answer team = {
        .address = S("team@example.org"), .status = DIRECTORY_IS_ALIAS, .targets = both, .target_count = 2};
    struct route_known k3 = {&team, NULL}, k2 = {&bob, &k3}, k1 = {&full, &k2};
    struct route_ask ask = {.recipient = S("ada@example.org"), .size = 1, .header = S("")};
    struct route_decision d = {0};
    assert_int_equal(route_decide(&o.c, &ask, &k1, &o.a, &d), OK);
    assert_int_equal(d.verdict, ROUTE_REJECT);
    assert_int_equal(d.code, 452);
    ask.recipient = S("team@example.org"); /* there is no later for one of several: its part is returned */
    assert_int_equal(route_decide(&o.c, &ask, &k1, &o.a, &d), OK);
    assert_int_equal(d.delivery_count, 2);
    assert_true(str_eq(d.deliveries[1].detail, S("552 5.2.2 the mailbox is full")));
    world_close(&o);
}

static void patterns(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *address;
        bool local, match;
    } rows[] = {
        {"ada@example.org", "ada@example.org", false, true},
        {"ada@example.org", "ADA@Example.ORG.", false, true},
        {"ada@example.org", "ada@example.org.evil", false, false},
        {"*@example.org", "x@example.org", false, true},
        {"@example.org", "x@example.org", false, true},
        {"@example.org", "x@sub.example.org", false, false},
        {"example.org", "x@example.org", false, true},
        {"example.org", "example.org@evil.example", false, false},
        {"example.org", "\"x@example.org\"@evil.example", false, false},
        {"*@example.org", "\"x@example.org\"@evil.example", false, false},
        {"*.example.org", "x@a.example.org", false, true},
        {"*.example.org", "x@example.org", false, false},
        {".example.org", "x@a.b.example.org", false, true},
        {".example.org", "x@example.org", false, false},
        {"<>", "", false, true},
        {"<>", "x@y", false, false},
        {"*", "", false, false},
        {"*", "x@y", false, true},
        {"local", "x@y", true, true},
        {"local", "x@local", false, false},
        {"example.org", "postmaster", false, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        bool match = route_pattern(str_of(rows[i].pattern), str_of(rows[i].address), rows[i].local);
        if (match != rows[i].match)
            fprintf(stderr, "row %zu: %s %s\n", i, rows[i].pattern, rows[i].address);
        assert_int_equal(match, rows[i].match);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(built_in_rules),
        cmocka_unit_test(postmasters),
        cmocka_unit_test(no_open_relay),
        cmocka_unit_test(open_rules_are_guarded),
        cmocka_unit_test(rules_in_order),
        cmocka_unit_test(conditions),
        cmocka_unit_test(copies),
        cmocka_unit_test(forwards),
        cmocka_unit_test(circles_and_depth),
        cmocka_unit_test(limits),
        cmocka_unit_test(sandbox_captures),
        cmocka_unit_test(waits_for_the_message),
        cmocka_unit_test(reports_go_anywhere),
        cmocka_unit_test(senders_of_forwarded_mail),
        cmocka_unit_test(asks_no_more_than_it_must),
        cmocka_unit_test(tells_its_story),
        cmocka_unit_test(full_mailboxes),
        cmocka_unit_test(patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
