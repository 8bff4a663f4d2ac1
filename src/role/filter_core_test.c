#include "role/filter_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dns/dns.h"

static const char *const conf_text =
    "mode sandbox\n"
    "route hook {\naction webhook\nurl http://u:p@192.0.2.1:81/a?secret\npost_max 100KiB\ntimeout 7s\n}\n"
    "route named {\naction webhook\nurl https://Shop.example/\n}\n"
    "route local {\naction webhook\nurl http://localhost\nformat message\n}\n"
    "route file {\naction webhook\nurl http://inside/\n}\n"
    "route signed {\naction webhook\nurl http://[2001:db8::1]/\nsecret_file /nowhere\n}\n"
    "route large {\naction webhook\nurl http://192.0.2.1/\npost_max 100MiB\n}\n"
    "route other {\naction capture\n}\n";

/* What the core has said, line by line; the job that is posted; what the host answers. */
static struct world {
    struct filter_core core;
    struct conf conf;
    struct buf said;
    struct filter_job *posted;
    uint64_t asked[4];
    size_t asked_count;
    bool no_resolver, sent, no_post;
} w;

static void to_store(const struct frame *f) {
    switch ((int)f->type) {
    case FRAME_JOB_INTENT: buf_printf(&w.said, "intent %u\n", (unsigned)f->job_intent.job); break;
    case FRAME_JOB_MORE:
        buf_printf(&w.said, "more %u %u\n", (unsigned)f->job_more.job, (unsigned)f->job_more.bytes);
        break;
    case FRAME_JOB_RESULT:
        buf_printf(&w.said, "result %u/%u %u %u %.*s\n", (unsigned)f->job_result.job, f->job_result.index,
                   f->job_result.outcome, f->job_result.code, STR_ARG(f->job_result.text));
        break;
    case FRAME_JOB_DONE:
        buf_printf(&w.said, "done %u %u %.*s %.*s\n", (unsigned)f->job_done.job, f->job_done.trouble,
                   STR_ARG(f->job_done.host), STR_ARG(f->job_done.address));
        break;
    default: break;
    }
}

static bool to_resolver(const struct frame *f) {
    if (w.no_resolver)
        return false;
    buf_printf(&w.said, "ask %.*s %u\n", STR_ARG(f->dns_ask.name), f->dns_ask.type);
    w.asked[w.asked_count++ % 4] = f->dns_ask.tag;
    return true;
}

static bool post(struct filter_job *j, struct why *reason) {
    if (w.no_post)
        return why(reason, ERR_NOMEM, "4.3.0 no") == OK;
    const struct filter_request *r = &j->request;
    buf_printf(&w.said, "post %s %s %s %zu", r->url, r->login, r->type, j->host.count);
    for (size_t i = 0; i < j->host.count; i++)
        buf_printf(&w.said, " %.*s", STR_ARG(j->host.addresses[i]));
    buf_char(&w.said, '\n');
    w.posted = j;
    j->host_data = &w;
    return true;
}

static bool is_sent(const struct filter_job *j) {
    (void)j;
    return w.sent;
}

static void abandon(struct filter_job *j) {
    buf_add(&w.said, S("abandon\n"));
    j->host_data = NULL;
}

static void log_nothing(enum event_id e, str id, str where, str text) {
    (void)e, (void)id, (void)where, (void)text;
}

static const struct filter_ops ops = {to_store, to_resolver, post, is_sent, abandon, log_nothing};

static int begin(void **state) {
    struct conf_errors errors = {0};
    (void)state;
    memset(&w, 0, sizeof w);
    w.said = BUF(1024 * 1024);
    assert_int_equal(conf_parse(str_of(conf_text), "f", &w.conf, &errors), OK);
    conf_errors_free(&errors);
    filter_core_init(&w.core, &ops, 1, 2);
    buf_add(&w.core.hosts, S("192.0.2.7 inside\n2001:db8::7 inside\n"));
    filter_core_configure(&w.core, &w.conf);
    w.core.wall_us = 1700000000123456;
    return 0;
}

static int finish(void **state) {
    (void)state;
    filter_core_free(&w.core);
    conf_free(&w.conf);
    buf_free(&w.said);
    return 0;
}

/* What was said since the last time. */
static void said(const char *lines) {
    assert_string_equal(buf_cstr(&w.said), lines);
    buf_reset(&w.said);
}

static void body(uint64_t job, str bytes) {
    struct frame f = {.type = FRAME_JOB_BODY, .job_body = {job, bytes}};
    filter_core_store(&w.core, &f);
}

static void head(uint64_t job, const char *route, uint64_t size) {
    struct envelope v = {.client_address = S("192.0.2.99")};
    struct buf envelope = BUF(1000);
    envelope_put(&envelope, &v);
    struct frame f = {.type = FRAME_JOB};
    f.job = (struct frame_job){.job = job,
                               .kind = JOB_WEBHOOK,
                               .id = S("0123456789abcdefghijkl"),
                               .route = str_of(route),
                               .sender = S("s@example.org"),
                               .size = size};
    filter_core_store(&w.core, &f);
    f = (struct frame){.type = FRAME_JOB_ENVELOPE, .job_envelope = {job, buf_str(&envelope)}};
    filter_core_store(&w.core, &f);
    f = (struct frame){.type = FRAME_JOB_RCPT};
    f.job_rcpt = (struct frame_job_rcpt){.job = job, .index = 3, .address = S("r@example.org")};
    filter_core_store(&w.core, &f);
    buf_free(&envelope);
}

static void give(uint64_t job, const char *route, str message) {
    head(job, route, message.n);
    body(job, message);
}

static void go(uint64_t job) {
    struct frame f = {.type = FRAME_JOB_GO, .job_go = {job}};
    filter_core_store(&w.core, &f);
}

static void answer(unsigned status) {
    struct webhook_answer a = {.status = status};
    w.posted->host_data = NULL;
    filter_core_answered(w.posted, &a, S("192.0.2.1:81"), STR_NONE);
}

static void told(uint64_t tag, const char *name, uint32_t type, const char *address) {
    struct dns_record r = {.value = str_of(address)};
    struct dns_answer a = {.name = str_of(name),
                           .type = type,
                           .status = address ? DNS_FOUND : DNS_NO_DATA,
                           .canonical = str_of(name),
                           .text = S(""),
                           .ttl_s = 60,
                           .records = &r,
                           .record_count = address != NULL};
    struct buf coded = BUF(4096);
    dns_answer_put(&coded, &a);
    struct frame f = {.type = FRAME_DNS_TOLD, .dns_told = {tag, buf_str(&coded)}};
    filter_core_resolver(&w.core, &f);
    buf_free(&coded);
}

static void a_whole_life(void **state) {
    (void)state;
    head(1, "hook", 8);
    body(1, S("a: b\r\n"));
    said("");
    body(1, S("\r\n"));
    said("intent 1\n");
    go(1);
    said("post http://192.0.2.1:81/a?secret u:p application/json 1 192.0.2.1\n");
    const struct filter_request *r = &w.posted->request;
    assert_string_equal(r->id, "0123456789abcdefghijkl_3");
    assert_string_equal(r->timestamp, "1700000000");
    assert_string_equal(r->signature, "");
    assert_int_equal(r->total_ms, 7000);
    assert_int_equal(r->connect_ms, 7000);
    assert_true(str_starts(r->body, S("{\"type\":")) && str_ends(r->body, S("\"raw\":\"YTogYg0KDQo=\"}}")));
    assert_true(str_find_str(r->body, S("192.0.2.99")) != SIZE_MAX);
    go(1); /* once is enough */
    said("");
    answer(200);
    said("result 1/3 1 250 2.0.0 the webhook answered 200\ndone 1 0 192.0.2.1 192.0.2.1:81\n");
    assert_true(filter_core_empty(&w.core));
}

static void a_name_is_asked_for(void **state) {
    (void)state;
    give(1, "named", S("x"));
    said("ask shop.example 28\nask shop.example 1\n");
    told(w.asked[0], "shop.example", DNS_AAAA, "2001:db8::5");
    said("");
    told(w.asked[1], "shop.example", DNS_A, "192.0.2.5");
    said("intent 1\n");
    go(1);
    said("post https://shop.example/  application/json 2 2001:db8::5 192.0.2.5\n");
    answer(500);
    said("result 1/3 2 451 4.3.0 the webhook answered 500\ndone 1 0 shop.example 192.0.2.1:81\n");
}

static void names_that_lead_nowhere(void **state) {
    (void)state;
    give(1, "named", S("x"));
    said("ask shop.example 28\nask shop.example 1\n");
    told(w.asked[0], "shop.example", DNS_AAAA, NULL);
    told(w.asked[1], "shop.example", DNS_A, NULL);
    said("result 1/3 2 451 4.3.5 the server of the route cannot be used: shop.example has no address that can be used\n"
         "done 1 1 shop.example \n");
    w.no_resolver = true;
    give(2, "named", S("x"));
    said("result 2/3 2 451 4.4.3 the resolver does not answer now\ndone 2 1 shop.example \n");
    w.no_resolver = false;
    give(3, "named", S("x"));
    filter_core_resolver_down(&w.core);
    buf_reset(&w.said);
    assert_true(filter_core_empty(&w.core));
    give(4, "named", S("x"));
    buf_reset(&w.said);
    w.core.now_ms += 61000;
    filter_core_tick(&w.core);
    said("result 4/3 2 451 4.4.3 the resolver does not answer in time\ndone 4 1 shop.example \n");
    told(w.asked[2], "shop.example", DNS_A, "192.0.2.5"); /* nobody waits for it any more */
    said("");
}

static void names_that_need_no_dns(void **state) {
    (void)state;
    give(1, "local", S("x: y\r\n\r\n"));
    go(1);
    said("intent 1\npost http://localhost/  message/rfc822 2 127.0.0.1 ::1\n");
    assert_true(str_eq(w.posted->request.body, S("x: y\r\n\r\n")));
    assert_string_equal(w.posted->request.extra[1], "Penfold-From: s@example.org");
    assert_string_equal(w.posted->request.extra[2], "Penfold-To: r@example.org");
    give(2, "file", S("x"));
    go(2);
    said("intent 2\npost http://inside/  application/json 2 192.0.2.7 2001:db8::7\n");
    filter_core_secret(&w.core, S("route.signed.secret"), S("key"));
    give(3, "signed", S("x"));
    go(3);
    said("intent 3\npost http://[2001:db8::1]/  application/json 1 2001:db8::1\n");
    assert_true(strncmp(w.posted->request.signature, "v1,", 3) == 0);
}

static void what_cannot_be_posted_is_kept(void **state) {
    (void)state;
    give(1, "nowhere", S("x"));
    said("result 1/3 2 451 4.3.5 there is no such webhook in the configuration now\ndone 1 6  \n");
    give(2, "other", S("x"));
    said("result 2/3 2 451 4.3.5 there is no such webhook in the configuration now\ndone 2 6  \n");
    give(3, "signed", S("x"));
    said(
        "result 3/3 2 451 4.3.5 the post cannot be signed: the file with the secret is empty\ndone 3 6 2001:db8::1 \n");
    w.no_post = true;
    give(4, "hook", S("x"));
    go(4);
    said("intent 4\nresult 4/3 2 451 4.3.0 no\ndone 4 6 192.0.2.1 \n");
}

static void an_empty_message(void **state) {
    (void)state;
    head(1, "hook", 0);
    filter_core_tick(&w.core);
    said("intent 1\n");
}

static char zeros[JOB_WINDOW];

static void of_a_large_message_the_header_goes(void **state) {
    (void)state;
    head(1, "hook", 200 * 1024);
    body(1, S("a: b\r\n\r\n"));
    body(1, str_n(zeros, sizeof zeros));
    said("intent 1\n");
    go(1);
    assert_true(str_ends(w.posted->request.body, S("\"complete\":false,\"raw\":\"YTogYg0KDQo=\"}}")));
    buf_reset(&w.said);
    head(2, "hook", 200 * 1024); /* a header without an end */
    for (int i = 0; i < 2; i++)
        body(2, str_n(zeros, sizeof zeros));
    said("more 2 65536\nintent 2\n");
    go(2);
    assert_true(w.posted->request.body.n < 150 * 1024);
}

static void a_message_flows(void **state) {
    (void)state;
    head(1, "hook", 100 * 1024);
    body(1, str_n(zeros, 60 * 1024));
    said("more 1 61440\n");
    body(1, str_n(zeros, 4 * 1024));
    said("");
    body(1, str_n(zeros, 36 * 1024));
    said("intent 1\n");
}

/* Two of a hundred MiB are more than there is room for: the second one waits in the store until the first is over. */
static void large_messages_take_turns(void **state) {
    (void)state;
    for (uint64_t n = 1; n <= 3; n++) {
        head(n, "large", 100 * 1024 * 1024);
        body(n, str_n(zeros, 60 * 1024));
    }
    said("more 1 61440\n");
    body(2, str_n(zeros, 4 * 1024));
    said("");
    struct frame f = {.type = FRAME_JOB_CANCEL, .job_cancel = {1, 0, STR_NONE}};
    filter_core_store(&w.core, &f);
    said("result 1/3 2 0 4.3.2 cancelled\ndone 1 6  \nmore 2 65536\n");
    filter_core_store_down(&w.core);
    assert_int_equal(w.core.reserved, 0);
}

static void the_end_of_the_process(void **state) {
    (void)state;
    give(1, "hook", S("x"));
    go(1);
    give(2, "hook", S("x"));
    buf_reset(&w.said);
    w.sent = true;
    filter_core_drain(&w.core, true);
    said("result 2/3 2 0 4.3.2 the server stops\ndone 2 6 192.0.2.1 \n");
    assert_false(filter_core_empty(&w.core)); /* it is out: what is said of it is worth waiting for */
    give(3, "hook", S("x"));
    said("result 3/3 2 0 4.3.2 this process is about to end\ndone 3 6  \n");
    w.sent = false;
    filter_core_drain(&w.core, true);
    said("abandon\nresult 1/3 2 0 4.3.2 the server stops\ndone 1 6 192.0.2.1 \n");
    assert_true(filter_core_empty(&w.core));
}

static void without_a_store_all_is_forgotten(void **state) {
    (void)state;
    give(1, "hook", S("x"));
    go(1);
    give(2, "named", S("x"));
    buf_reset(&w.said);
    filter_core_store_down(&w.core);
    said("abandon\n");
    assert_true(filter_core_empty(&w.core));
    told(w.asked[0], "shop.example", DNS_AAAA, NULL);
    said("");
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(a_whole_life),
        T(a_name_is_asked_for),
        T(names_that_lead_nowhere),
        T(names_that_need_no_dns),
        T(what_cannot_be_posted_is_kept),
        T(an_empty_message),
        T(of_a_large_message_the_header_goes),
        T(a_message_flows),
        T(large_messages_take_turns),
        T(the_end_of_the_process),
        T(without_a_store_all_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
