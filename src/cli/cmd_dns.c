/* cmd_dns.c - penfold dns: what the resolver says; penfold mx: what becomes of it, where mail for a domain would go. */
#include <stdio.h>
#include <string.h>

#include "base/code.h"
#include "cli/cli.h"
#include "cli/cli_resolver.h"
#include "policy/mx.h"
#include "sys/clock.h"

static const struct cli_option dns_options[] = {
    CLI_RESOLVER_OPTIONS,
    {.name = "json", .sentence = "As JSON."},
};

const struct cli_page cli_dns_page = {
    .name = "dns",
    .operands = "TYPE NAME",
    .operands_min = 2,
    .operands_max = 2,
    .sentence = "Ask the DNS as the server does, with its validation.",
    .options = dns_options,
    .option_count = sizeof dns_options / sizeof *dns_options,
};

static const struct cli_option mx_options[] = {
    CLI_RESOLVER_OPTIONS,
    {.name = "host", .sentence = "The name is a host, as of a smarthost: no mail exchangers are looked for."},
    {.name = "loopback", .sentence = "Allow hosts that are this machine."},
    {.name = "json", .sentence = "As JSON."},
};

const struct cli_page cli_mx_page = {
    .name = "mx",
    .operands = "DOMAIN",
    .operands_min = 1,
    .operands_max = 1,
    .sentence = "Show which servers mail for a domain would go to, and why.",
    .options = mx_options,
    .option_count = sizeof mx_options / sizeof *mx_options,
};

static int print(struct buf *out) {
    fwrite(out->p, 1, out->n, stdout);
    buf_free(out);
    return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}

static int status_of(enum err e) {
    switch (e) {
    case ERR_SYNTAX: return EX_USAGE;
    case ERR_NOT_FOUND: return EX_UNAVAILABLE;
    case ERR_DOWN:
    case ERR_TIMEOUT: return EX_TEMPFAIL;
    default: return EX_SOFTWARE;
    }
}

static void json_text(struct buf *out, const char *name, str value) {
    buf_printf(out, "\"%s\":\"", name);
    escape_json(value, out);
    buf_add(out, S("\""));
}

static const char *json_bool(bool b) {
    return b ? "true" : "false";
}

/* ---- penfold dns ---- */

static bool is_text(uint32_t type) {
    return type == DNS_A || type == DNS_AAAA || type == DNS_MX || type == DNS_NS || type == DNS_CNAME ||
           type == DNS_PTR || type == DNS_TXT;
}

/* What has no form of its own is hexadecimal. */
static void put_value(struct buf *out, uint32_t type, str value, bool json) {
    if (!is_text(type))
        hex_encode(value, out);
    else if (json)
        escape_json(value, out);
    else
        escape_print(value.n || type == DNS_TXT ? value : S("."), out);
}

static void put_type(struct buf *out, uint32_t type) {
    if (*dns_type_name(type))
        buf_printf(out, "%s", dns_type_name(type));
    else
        buf_printf(out, "TYPE%u", (unsigned)type);
}

static void answer_text(struct buf *out, const struct dns_answer *a) {
    buf_printf(out, "%.*s ", STR_ARG(a->name));
    put_type(out, a->type);
    buf_printf(out, ": %s%s", dns_status_name(a->status), a->secure ? ", validated by DNSSEC" : "");
    if (a->status < DNS_FAILED)
        buf_printf(out, ", %u s", (unsigned)a->ttl_s);
    if (a->text.n) {
        buf_add(out, S(": "));
        escape_print(a->text, out);
    }
    buf_char(out, '\n');
    if (a->canonical.n && !str_eq(a->canonical, a->name))
        buf_printf(out, "  alias of %.*s\n", STR_ARG(a->canonical));
    for (size_t i = 0; i < a->record_count; i++) {
        buf_add(out, S("  "));
        if (a->type == DNS_MX)
            buf_printf(out, "%u ", a->records[i].preference);
        put_value(out, a->type, a->records[i].value, false);
        buf_char(out, '\n');
    }
}

static void answer_json(struct buf *out, const struct dns_answer *a) {
    buf_add(out, S("{"));
    json_text(out, "name", a->name);
    buf_add(out, S(",\"type\":\""));
    put_type(out, a->type);
    buf_add(out, S("\","));
    json_text(out, "status", str_of(dns_status_name(a->status)));
    buf_printf(out, ",\"secure\":%s,\"ttl\":%u,", json_bool(a->secure), (unsigned)a->ttl_s);
    json_text(out, "canonical", a->canonical);
    buf_char(out, ',');
    json_text(out, "reason", a->text);
    buf_add(out, S(",\"records\":["));
    for (size_t i = 0; i < a->record_count; i++) {
        buf_add(out, i ? S(",{") : S("{"));
        if (a->type == DNS_MX)
            buf_printf(out, "\"preference\":%u,", a->records[i].preference);
        buf_add(out, S("\"value\":\""));
        put_value(out, a->type, a->records[i].value, true);
        buf_add(out, S("\"}"));
    }
    buf_add(out, S("]}\n"));
}

static int answer_status(enum dns_status status) {
    switch (status) {
    case DNS_FOUND: return EX_OK;
    case DNS_NO_DATA:
    case DNS_NO_NAME: return EX_UNAVAILABLE;
    case DNS_FAILED:
    case DNS_BOGUS: break;
    }
    return EX_TEMPFAIL;
}

static int ask_dns(const struct cli_args *args, struct cli_resolver *r) {
    struct arena arena = ARENA(1024 * 1024);
    struct buf out = BUF(1024 * 1024);
    struct dns_answer a;
    struct why w;
    uint32_t type;
    if (!dns_type_parse(str_of(args->operands[0]), &type))
        return cli_usage_error(args->page,
                               "\"%.40s\" is no type of record: A AAAA CNAME MX NS PTR TLSA TXT TYPE<number>",
                               args->operands[0]);
    enum err e = cli_resolver_ask(r, str_of(args->operands[1]), type, &arena, &a, &w);
    int status = e == OK ? answer_status(a.status) : cli_error(args->page, status_of(e), "%s", w.text);
    if (e == OK) {
        (cli_flag(args, "json") ? answer_json : answer_text)(&out, &a);
        if (print(&out) != EX_OK)
            status = EX_IOERR;
    }
    arena_free(&arena);
    return status;
}

/* ---- penfold mx ---- */

struct look {
    const struct cli_args *args;
    struct cli_resolver *resolver;
    struct mx_options options;
    struct mx_known *known;
    struct arena arena;
};

static enum err fetch(struct look *l, const struct mx_question *q, struct why *w) {
    struct dns_answer *a = arena_alloc(&l->arena, sizeof *a);
    struct mx_known *k = arena_alloc(&l->arena, sizeof *k);
    if (!a || !k)
        return why(w, ERR_NOMEM, "no memory");
    *k = (struct mx_known){a, l->known};
    enum err e = cli_resolver_ask(l->resolver, q->name, q->type, &l->arena, a, w);
    if (e == OK)
        l->known = k;
    return e;
}

/* Asks and retries; the story is of the last time, when all was known. */
static enum err decide(struct look *l, struct mx_result *r, struct why *w) {
    str name = str_of(l->args->operands[0]);
    for (;;) {
        buf_reset(r->story);
        enum err e =
            (cli_flag(l->args, "host") ? mx_decide_host : mx_decide)(name, &l->options, l->known, &l->arena, r);
        if (e != ERR_MORE)
            return e == ERR_NOMEM ? why(w, e, "no memory") : e;
        for (size_t i = 0; i < r->missing_count; i++)
            if ((e = fetch(l, &r->missing[i], w)) != OK)
                return e;
    }
}

static void choice_text(struct buf *out, const struct mx_result *r) {
    buf_add(out, buf_str(r->story)); /* names in it are printable: dns/dns.h */
    if (!r->host_count)
        return;
    buf_add(out, S("in this order:\n"));
    for (size_t i = 0; i < r->host_count; i++) {
        buf_printf(out, "  %u %.*s%s\n", r->hosts[i].preference, STR_ARG(r->hosts[i].name),
                   r->secure && r->hosts[i].secure ? " (validated)" : "");
        for (size_t k = 0; k < r->hosts[i].address_count; k++)
            buf_printf(out, "    %.*s\n", STR_ARG(r->hosts[i].addresses[k]));
    }
    buf_printf(out, "site: %.*s\n", STR_ARG(r->site));
}

static void host_json(struct buf *out, const struct mx_host *h) {
    buf_add(out, S("{"));
    json_text(out, "name", h->name);
    buf_printf(out, ",\"preference\":%u,\"secure\":%s,", h->preference, json_bool(h->secure));
    json_text(out, "canonical", h->canonical);
    buf_add(out, S(",\"addresses\":["));
    for (size_t i = 0; i < h->address_count; i++)
        buf_printf(out, "%s\"%.*s\"", i ? "," : "", STR_ARG(h->addresses[i]));
    buf_add(out, S("]}"));
}

static void choice_json(struct buf *out, const struct mx_result *r) {
    buf_printf(out, "{\"code\":%u,", r->code);
    json_text(out, "text", r->text);
    buf_char(out, ',');
    json_text(out, "site", r->site);
    buf_printf(out, ",\"secure\":%s,\"implicit\":%s,\"ttl\":%u,", json_bool(r->secure), json_bool(r->implicit),
               (unsigned)r->ttl_s);
    json_text(out, "story", buf_str(r->story));
    buf_add(out, S(",\"hosts\":["));
    for (size_t i = 0; i < r->host_count; i++) {
        if (i)
            buf_char(out, ',');
        host_json(out, &r->hosts[i]);
    }
    buf_add(out, S("]}\n"));
}

static int ask_mx(const struct cli_args *args, struct cli_resolver *resolver, const struct conf *c) {
    struct look l = {.args = args, .resolver = resolver, .arena = ARENA(16 * 1024 * 1024)};
    struct buf story = BUF(1024 * 1024), out = BUF(1024 * 1024);
    struct mx_result r = {.story = &story};
    struct why w = {0};
    l.options.own_names = &c->hostname;
    l.options.own_name_count = 1;
    l.options.allow_loopback = cli_flag(args, "loopback");
    random_bytes(&l.options.seed, sizeof l.options.seed);
    enum err e = decide(&l, &r, &w);
    int status = e == OK ? EX_OK : status_of(e);
    if (e != OK && !r.code) {
        status = cli_error(args->page, status, "%s", w.text);
    } else {
        (cli_flag(args, "json") ? choice_json : choice_text)(&out, &r);
        if (print(&out) != EX_OK)
            status = EX_IOERR;
    }
    buf_free(&story);
    arena_free(&l.arena);
    return status;
}

/* ---- both ---- */

static int with_resolver(const struct cli_args *args) {
    struct conf c;
    struct buf text = BUF(CONF_FILE_MAX);
    struct cli_resolver *r = NULL;
    struct why w;
    int status = cli_resolver_conf(args, &c, &text);
    if (status == CLI_GO_ON && cli_resolver_start(&c, &r, &w) != OK)
        status = cli_error(args->page, EX_CONFIG, "%s", w.text);
    if (status == CLI_GO_ON)
        status = args->page == &cli_dns_page ? ask_dns(args, r) : ask_mx(args, r, &c);
    cli_resolver_end(r);
    conf_free(&c);
    buf_free(&text);
    return status;
}

static int run(const struct cli_page *page, int argc, char **argv) {
    struct cli_args args;
    int status = cli_parse(page, argc, argv, &args);
    if (status == CLI_GO_ON)
        status = with_resolver(&args);
    cli_args_free(&args);
    return status;
}

int cmd_dns(int argc, char **argv) {
    return run(&cli_dns_page, argc, argv);
}

int cmd_mx(int argc, char **argv) {
    return run(&cli_mx_page, argc, argv);
}
