/* cmd_route.c - penfold route: which rule takes a message, and why; nothing is sent.
 * Who is here is told by the running server, else by its database, else by the configuration alone. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/code.h"
#include "cli/cli.h"
#include "cli/cli_conf.h"
#include "cli/cli_directory.h"
#include "cli/cli_http.h"
#include "policy/route_trial.h"
#include "store/directory_db.h"

enum { REJECTED = 1, STORY_MAX = 1024 * 1024, HEADER_MAX = 1024 * 1024 };

static const struct cli_option options[] = {
    CLI_DIRECTORY_OPTIONS,
    {.name = "directory",
     .words = "auto|server|database|configuration",
     .fallback = "auto",
     .sentence = "Who is here: what the running server says, what its database has, or the blocks of the configuration "
                 "alone. auto: the first of them that is there."},
    {.name = "from", .value = "ADDRESS", .fallback = "", .sentence = "The sender; <> or none: the null sender."},
    {.name = "to", .value = "ADDRESS", .repeatable = true, .sentence = "A recipient."},
    {.name = "client", .value = "IP|unix", .fallback = "192.0.2.1", .sentence = "The client's address."},
    {.name = "auth", .value = "USER", .fallback = "", .sentence = "The account that is authenticated."},
    {.name = "listener",
     .value = "NAME",
     .sentence = "The listen block. Without it: with --auth the first one with policy submission, else with mx."},
    {.name = "size", .value = "SIZE", .fallback = "1KiB", .sentence = "The message's size, with its unit."},
    {.name = "header",
     .value = "FIELD",
     .repeatable = true,
     .sentence = "A header field it has, as \"Subject: hello\"."},
    {.name = "json", .sentence = "As JSON."},
};

const struct cli_page cli_route_page = {
    .name = "route",
    .operands = "",
    .sentence = "Show which rule takes a message and why.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
};

struct trial {
    const struct cli_args *args;
    struct conf c;
    struct buf text, header, out;
    struct buf source; /* which directory it is, for a person */
    struct directory *dir;
    struct route_ask ask;
    bool rejected;
};

static str bare(const char *address) {
    str s = str_of(address);
    if (str_skip(&s, S("<")) && str_ends(s, S(">")))
        s.n--;
    return s;
}

/* ---- as text ---- */

static void put_delivery(struct buf *out, const struct envelope_delivery *v) {
    buf_printf(out, "  %s %.*s", route_ending_name(v->kind), STR_ARG(v->address));
    if (v->target.n && !str_eq(v->target, v->address))
        buf_printf(out, " at %.*s", STR_ARG(v->target));
    if (v->detail.n)
        buf_printf(out, ", %.*s", STR_ARG(v->detail));
    if (v->has_sender)
        buf_printf(out, ", as sender %.*s", STR_ARG(v->sender));
    if (v->rule.n)
        buf_printf(out, " (route %.*s)", STR_ARG(v->rule));
    buf_char(out, '\n');
}

static void put_text(struct trial *t, const struct route_decision *d) {
    struct buf *out = &t->out, rejected = BUF(8192);
    buf_add(out, buf_str(d->story));
    if (d->verdict == ROUTE_REJECT) {
        buf_printf(&rejected, "rejected: %u %.*s\n", d->code, STR_ARG(d->text));
        if (!str_ends(buf_str(d->story), buf_str(&rejected))) /* the story may end in just that */
            buf_add(out, buf_str(&rejected));
        buf_free(&rejected);
        return;
    }
    buf_add(out, S("accepted:\n"));
    for (size_t i = 0; i < d->delivery_count; i++)
        put_delivery(out, &d->deliveries[i]);
}

/* ---- as JSON ---- */

static void member(struct buf *out, const char *name, str value) {
    buf_printf(out, "\"%s\":\"", name);
    escape_json(value, out);
    buf_char(out, '"');
}

static void json_delivery(struct buf *out, const struct envelope_delivery *v) {
    const struct {
        const char *name;
        str value;
    } members[] = {
        {"address", v->address}, {"target", v->target}, {"detail", v->detail}, {"rule", v->rule}, {"via", v->via}};
    buf_char(out, '{');
    member(out, "kind", str_of(route_ending_name(v->kind)));
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        buf_char(out, ',');
        member(out, members[i].name, members[i].value);
    }
    if (v->has_sender) {
        buf_char(out, ',');
        member(out, "sender", v->sender);
    }
    buf_char(out, '}');
}

static void json_story(struct buf *out, str story) {
    bool first = true;
    for (str line; str_line(&story, &line); first = false) {
        buf_add(out, first ? S("\"") : S(",\""));
        escape_json(line, out);
        buf_char(out, '"');
    }
}

static void put_json(struct trial *t, const struct route_decision *d) {
    struct buf *out = &t->out;
    buf_char(out, '{');
    member(out, "recipient", t->ask.recipient);
    buf_char(out, ',');
    member(out, "directory", buf_str(&t->source));
    buf_char(out, ',');
    member(out, "verdict", d->verdict == ROUTE_REJECT ? S("reject") : S("accept"));
    if (d->verdict == ROUTE_REJECT) {
        buf_printf(out, ",\"code\":%u,", d->code);
        member(out, "text", d->text);
        buf_char(out, ',');
        member(out, "rule", d->rule);
    }
    buf_add(out, S(",\"deliveries\":["));
    for (size_t i = 0; i < d->delivery_count; i++) {
        buf_add(out, i ? S(",") : S(""));
        json_delivery(out, &d->deliveries[i]);
    }
    buf_add(out, S("],\"story\":["));
    json_story(out, buf_str(d->story));
    buf_add(out, S("]}\n"));
}

/* ---- the trial ---- */

static int try_recipient(struct trial *t, const char *to) {
    struct arena a = ARENA(64 * 1024 * 1024);
    struct buf story = BUF(STORY_MAX);
    struct route_decision d = {.story = &story};
    t->ask.recipient = bare(to);
    enum err e = route_trial(&t->c, t->dir, &t->ask, &a, &d);
    if (e == OK) {
        t->rejected |= d.verdict == ROUTE_REJECT;
        (cli_flag(t->args, "json") ? put_json : put_text)(t, &d);
    }
    arena_free(&a);
    buf_free(&story);
    return e == OK ? EX_OK : cli_error(t->args->page, EX_OSERR, "out of memory");
}

/* ---- who is here ---- */

/* A unix socket may be for others alone. */
static bool may_ask(const char *url) {
    str path = str_of(url);
    return !str_skip(&path, S("unix:")) || access(path.p, W_OK) == 0;
}

/* CLI_GO_ON: no server answers us. */
static int ask_server(struct trial *t) {
    struct buf url = BUF(8192);
    bool given = cli_source(t->args, "url") != NULL, found = given;
    if (given)
        buf_add(&url, str_of(cli_text(t->args, "url")));
    else
        found = cli_directory_server(t->args, &t->c, &url) && may_ask(buf_cstr(&url));
    if (found && !given)
        cli_http_at(buf_cstr(&url));
    if (found)
        buf_printf(&t->source, "the running server at %s", buf_cstr(&url));
    buf_free(&url);
    return found ? cli_directory_copy(t->args, t->dir) : CLI_GO_ON;
}

/* CLI_GO_ON: there is none, or it cannot be read, which the source says. */
static int read_database(struct trial *t, bool needed) {
    struct why w;
    enum err e = directory_db_read(t->dir, t->c.data.p, &w);
    if (!e)
        buf_printf(&t->source, "the database in %s", t->c.data.p);
    else if (needed || e == ERR_NOMEM)
        return cli_error(t->args->page, EX_UNAVAILABLE, "%s", w.text);
    else if (e != ERR_NOT_FOUND)
        buf_printf(&t->source, "the configuration alone: %s", w.text);
    if (!e)
        return EX_OK;
    directory_free(t->dir); /* what was read of it is not all */
    t->dir = directory_new(0);
    return t->dir ? CLI_GO_ON : cli_error(t->args->page, EX_OSERR, "out of memory");
}

static int fill_directory(struct trial *t) {
    const char *which = cli_text(t->args, "directory");
    bool any = strcmp(which, "auto") == 0, server = strcmp(which, "server") == 0,
         database = strcmp(which, "database") == 0;
    int status = any || server ? ask_server(t) : CLI_GO_ON;
    if (status == CLI_GO_ON && server)
        return cli_error(t->args->page, EX_UNAVAILABLE, "no server answers: name its address with --url");
    if (status == CLI_GO_ON && (any || database))
        status = read_database(t, database);
    if (status == CLI_GO_ON && t->source.n == 0)
        buf_add(&t->source, S("the configuration alone"));
    return status == CLI_GO_ON ? EX_OK : status;
}

static int load_directory(struct trial *t) {
    struct why w;
    t->dir = directory_new(0);
    if (!t->dir)
        return cli_error(t->args->page, EX_OSERR, "out of memory");
    int status = fill_directory(t);
    if (status == EX_OK && directory_conf(t->dir, &t->c, &w) != OK)
        status = cli_error(t->args->page, EX_CONFIG, "%s", w.text);
    if (status == EX_OK && !cli_flag(t->args, "json"))
        buf_printf(&t->out, "directory: %s\n", buf_cstr(&t->source));
    return status;
}

static int load(struct trial *t) {
    const char *file = cli_text(t->args, "config");
    struct conf_errors errors = {0};
    struct why w;
    conf_defaults(&t->c);
    if (cli_conf_load(file, &t->text, &w) != OK)
        return cli_error(t->args->page, EX_NOINPUT, "%s", w.text);
    enum err e = conf_read(buf_str(&t->text), strcmp(file, "-") == 0 ? "stdin" : file, &t->c, &errors);
    enum err checked = conf_check(&t->c, &errors);
    enum err made = cli_conf_absolute(&t->c, &errors);
    int status = e || checked || made ? cli_conf_complain(&errors, EX_CONFIG) : EX_OK;
    conf_errors_free(&errors);
    return status == EX_OK ? load_directory(t) : status;
}

/* ---- the question ---- */

static bool listener_there(const struct conf *c, str name) {
    for (size_t i = 0; i < c->listen_count; i++)
        if (str_eq(c->listens[i].name, name))
            return true;
    return false;
}

/* The size as the configuration writes one: it may have no bound here. */
static bool size_of(const char *text, uint64_t *size) {
    static const struct conf_row row = {.type = CONF_T_SIZE, .max = UINT64_MAX};
    return conf_row_take(&row, str_of(text), NULL, size, NULL) == OK;
}

static int question(struct trial *t) {
    const struct cli_args *args = t->args;
    const char *client = cli_text(args, "client"), *listener = cli_text(args, "listener");
    struct conf_ip ip;
    for (unsigned i = 0; i < cli_count(args, "header"); i++)
        buf_printf(&t->header, "%s\r\n", cli_item(args, "header", i));
    t->ask = (struct route_ask){
        .sender = bare(cli_text(args, "from")),
        .user = str_of(cli_text(args, "auth")),
        .client = str_of(client),
        .listener = listener ? str_of(listener) : route_trial_listener(&t->c, *cli_text(args, "auth") != '\0'),
        .header = t->header.n ? buf_str(&t->header) : S(""),
    };
    if (cli_count(args, "to") == 0)
        return cli_usage_error(args->page, "--to is missing: a recipient");
    if (strcmp(client, "unix") != 0 && !conf_ip_parse(str_of(client), &ip))
        return cli_usage_error(args->page, "--client: \"%.60s\" is neither an address nor unix", client);
    if (listener && !listener_there(&t->c, t->ask.listener))
        return cli_usage_error(args->page, "--listener: there is no listen block %.60s", listener);
    if (!size_of(cli_text(args, "size"), &t->ask.size))
        return cli_usage_error(args->page, "--size: \"%.60s\" is no size with its unit, as 10MiB",
                               cli_text(args, "size"));
    if (t->ask.size == 0)
        t->ask.size = 1; /* 0 would mean: not known yet */
    return EX_OK;
}

static int run(struct trial *t) {
    int status = load(t);
    if (status == EX_OK)
        status = question(t);
    for (unsigned i = 0; status == EX_OK && i < cli_count(t->args, "to"); i++)
        status = try_recipient(t, cli_item(t->args, "to", i));
    fwrite(t->out.p ? t->out.p : "", 1, t->out.n, stdout);
    if (fflush(stdout) != 0)
        return EX_IOERR;
    return status == EX_OK && t->rejected ? REJECTED : status;
}

int cmd_route(int argc, char **argv) {
    struct cli_args args;
    int status = cli_parse(&cli_route_page, argc, argv, &args);
    if (status == CLI_GO_ON) {
        struct trial t = {.args = &args, .header = BUF(HEADER_MAX), .out = BUF(16 * STORY_MAX), .source = BUF(8192)};
        status = run(&t);
        directory_free(t.dir);
        conf_free(&t.c);
        buf_free(&t.text);
        buf_free(&t.header);
        buf_free(&t.source);
        buf_free(&t.out);
    }
    cli_args_free(&args);
    return status;
}
