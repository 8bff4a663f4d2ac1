#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "conf/conf_more.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define LISTEN_A "listen a {\naddress 127.0.0.1:25\n}\n"

/* What conf_parse says of a text, "" when it is fine. */
static void expect(const char *text, const char *errors_expected) {
    struct conf c;
    struct conf_errors errors = {0};
    struct buf out = BUF(1 << 20);
    enum err e = conf_parse(str_of(text), "f", &c, &errors);
    conf_errors_put(&out, &errors);
    if (strcmp(buf_cstr(&out), errors_expected) != 0)
        fprintf(stderr, "---- of\n%s\n", text);
    assert_string_equal(buf_cstr(&out), errors_expected);
    assert_int_equal(e, *errors_expected ? ERR_SYNTAX : OK);
    buf_free(&out);
    conf_errors_free(&errors);
    conf_free(&c);
}

static void complaints(void **state) {
    (void)state;
    static const struct {
        const char *text, *errors;
    } rows[] = {
        {"", ""},
        {"\n  # nothing\n\r\n", ""},
        {LISTEN_A, ""},
        {"smtp_mesage_max 50MiB", "f:1: unknown setting \"smtp_mesage_max\" (did you mean \"smtp_message_max\"?)\n"},
        {"frobnicate 1", "f:1: unknown setting \"frobnicate\"\n"},
        {"x\x1b[31m 1", "f:1: unknown setting \"x\\x1b[31m\"\n"},
        {"listen a {\naddress 127.0.0.1:25\nproxy \"\x1b[31m\"\n}\n",
         "f:3: proxy: \"\\x1b[31m\" is not addresses, networks (10.0.0.0/8) or unix, separated by commas or spaces\n"},
        {"workers x", "f:1: workers: \"x\" is not a number from 0 to 256\n"},
        {"workers 257", "f:1: workers: \"257\" is not a number from 0 to 256\n"},
        {"workers -1", "f:1: workers: \"-1\" is not a number from 0 to 256\n"},
        {"workers 99999999999999999999", "f:1: workers: \"99999999999999999999\" is not a number from 0 to 256\n"},
        {"body_big_min 100000", "f:1: body_big_min: \"100000\" has no unit; it must be a size with a unit (B KiB MiB "
                                "GiB) from 64KiB to 1GiB\n"},
        {"stop_timeout 10",
         "f:1: stop_timeout: \"10\" has no unit; it must be a duration with a unit (ms s m h d) from 0 to 1h\n"},
        {"stop_timeout 1y", "f:1: stop_timeout: \"1y\" is not a duration with a unit (ms s m h d) from 0 to 1h\n"},
        {"stop_timeout 99999999999999999d",
         "f:1: stop_timeout: \"99999999999999999d\" is not a duration with a unit (ms s m h d) from 0 to 1h\n"},
        {"log_level loud", "f:1: log_level: \"loud\" is not one of debug, info, warning, error\n"},
        {"user \"\"", "f:1: user: \"\" is not a text of 1 to 32 bytes\n"},
        {"greeting \xff", "f:1: greeting: \"\\xff\" is not a text of at most 200 bytes\n"},
        {"hostname a b", "f:1: hostname: a name has letters, digits, hyphens and dots\n"},
        {"workers", "f:1: workers has no value (an empty one is written \"\")\n"},
        {"workers 1\nworkers 2", "f:2: workers is set twice, first in line 1\n"},
        {"greeting \"a", "f:1: the closing quote is missing\n"},
        {"greeting \"a\" b", "f:1: nothing may stand behind the closing quote\n"},
        {"greeting \"a\\n\"", "f:1: in quotes a \\ stands only before \" or \\\n"},
        {"}", "f:1: there is no block that this } ends\n"},
        {"listen a {\naddress off", "f:1: the } of this block is missing\n"},
        {"listen a {\naddress off\nlisten b {\naddress off\n}",
         "f:3: the } of the block that begins in line 1 is missing\n"},
        {"listen a\naddress off\n}", "f:1: a block begins with listen NAME { on one line\n"},
        {"listen A {\naddress off\n}", "f:1: a listen has a name of 1 to 32 of the characters a-z 0-9 _ -\n"},
        {"listen a {\naddress off\n}\nlisten a {\naddress x\n}", "f:4: there is a listen a already, in line 1\n"},
        {"lisen a {\naddress 1.2.3.4:5\n}\nworkers x",
         "f:1: unknown setting \"lisen\" (did you mean \"listen\"?)\nf:4: workers: \"x\" is not a number from 0 to "
         "256\n"},
        {"listen a {\nadress off\n}", "f:1: listen a: the address is missing\nf:2: unknown setting \"adress\" of a "
                                      "listen (did you mean \"address\"?)\n"},
        {"listen a {\naddress 1.2.3.4\n}",
         "f:2: address: \"1.2.3.4\": an address ends in a colon and a port from 0 to 65535\n"},
        {LISTEN_A "listen b {\naddress localhost:25\n}",
         "f:5: listen b: 127.0.0.1:25 is the address of listen a already\n"},
        {"listen a {\naddress 127.0.0.1:0\n}\nlisten b {\naddress 127.0.0.1:0\n}", ""}, /* any two free ports */
        {"listen a {\naddress unix:/a:0600\n}\nlisten b {\naddress unix:/a\n}",
         "f:5: listen b: unix:/a is the address of listen a already\n"},
        {"listen a {\naddress off\n}\nlisten b {\naddress off\n}", ""},
        {"tls_key /k", "f:1: tls_key needs tls_certificate beside it\n"},
        {"tls_certificate /c", "f:1: tls_certificate needs tls_key beside it\n"},
        {"listen a {\naddress [::1]:25\ntls starttls\n}",
         "f:3: listen a: TLS needs a certificate: set tls_certificate and tls_key, or certificate and key here\n"},
        {"mode sandbox\nlisten a {\naddress [::1]:25\ntls starttls\n}", ""},
        {"listen a {\naddress [::1]:25\ntls starttls\ncertificate /c\nkey /k\n}", ""},
        {"listen a {\naddress [::1]:25\ntls starttls\ncertificate /c\n}",
         "f:4: listen a: certificate needs key beside it\n"},
        {"listen a {\naddress [::1]:25\ncertificate /c\nkey /k\n}",
         "f:3: listen a: certificate has no effect while tls is none\n"},
        {"listen a {\naddress [::1]:80\nprotocol http\ntls implicit\nauth offered\n}",
         "f:4: listen a: an http listener speaks no TLS; put a TLS proxy before it\n"
         "f:5: listen a: an http listener has no setting auth\n"},
        {"log file", "f:1: log file needs log_file\n"},
        {"log_file /l", "f:1: log_file has no effect unless log is file\n"},
        {"smtp_errors_slow 30", "f:1: smtp_errors_slow is above smtp_errors_max\n"},
        {"smtp_message_max 100KiB", "f:1: smtp_header_max is above smtp_message_max\n"},
        {"body_big_min 60MiB", "f:1: body_big_min is above half of journal_segment_size\n"},
        /* all at once, in the order of lines, whatever found them */
        {"tls_key /k\nlog file\nx 1\nworkers y\nlisten a {\n}\nretain_age 5",
         "f:1: tls_key needs tls_certificate beside it\n"
         "f:2: log file needs log_file\n"
         "f:3: unknown setting \"x\"\n"
         "f:4: workers: \"y\" is not a number from 0 to 256\n"
         "f:5: listen a: the address is missing\n"
         "f:7: retain_age: \"5\" has no unit; it must be a duration with a unit (ms s m h d) from 0 to 36500d\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        expect(rows[i].text, rows[i].errors);
}

static void parse_ok(const char *text, struct conf *c) {
    struct conf_errors errors = {0};
    assert_int_equal(conf_parse(str_of(text), "f", c, &errors), OK);
    conf_errors_free(&errors);
}

/* Every row by itself: value given, value as it is written back. */
static void values(void **state) {
    (void)state;
    static const struct {
        const char *line, *canonical;
    } rows[] = {
        {"smtp_message_max 52428800B", ""}, /* the default, in other words */
        {"smtp_message_max 51200K", ""},
        {"smtp_message_max 1gib", "smtp_message_max 1GiB\n"},
        {"smtp_message_max 1MB1B", "smtp_message_max 1048577B\n"},
        {"retain_age 0", ""},
        {"retain_age 1h30m", "retain_age 90m\n"},
        {"retain_age 7d", "retain_age 7d\n"},
        {"retain_age 1500ms", "retain_age 1500ms\n"},
        {"retain_bytes 0", "retain_bytes 0\n"},
        {"workers 8   # cores", "workers 8\n"},
        {"greeting Hello # there", "greeting \"Hello\"\n"},
        {"greeting Hello#there", "greeting \"Hello#there\"\n"},
        {"greeting \"a # \\\"b\\\" \\\\\" # c", "greeting \"a # \\\"b\\\" \\\\\"\n"},
        {"greeting \"\"", "greeting \"\"\n"},
        {"greeting two  words", "greeting \"two  words\"\n"},
        {"\tworkers\t8\t\r", "workers 8\n"},
        {"log_format json", "log_format json\n"},
        {"data /tmp/a b", "data \"/tmp/a b\"\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct conf c;
        struct buf out = BUF(1 << 20);
        parse_ok(rows[i].line, &c);
        conf_write(&out, &c);
        assert_string_equal(buf_cstr(&out), rows[i].canonical);
        buf_free(&out);
        conf_free(&c);
    }
}

static void defaults_are_values(void **state) {
    (void)state;
    struct conf c;
    conf_defaults(&c); /* asserts that every default parses */
    for (size_t i = 0; i < CONF_KEYS; i++) {
        assert_true(conf_row_is_default(&conf_rows[i], &c));
        assert_true(conf_rows[i].sentence.n && str_ends(conf_rows[i].sentence, S(".")));
    }
    struct conf_listen *l = conf_listen_named(&c, S("x"), "f");
    for (size_t i = 0; i < CONF_LISTEN_KEYS; i++)
        assert_true(conf_row_is_default(&conf_listen_rows[i], l));
    assert_int_equal(c.smtp_command_timeout, 300 * 1000);
    assert_int_equal(c.smtp_message_max, 50 * 1024 * 1024);
    assert_true(str_eq(c.user, S("penfold")));
    conf_free(&c);
}

/* The enums of conf.h and the words of conf.def are one list. */
static void choices_match(void **state) {
    (void)state;
    static const struct {
        str type;
        size_t value;
        str word;
    } rows[] = {
        {S_INIT("mode"), CONF_MODE_SERVER, S_INIT("server")},
        {S_INIT("log"), CONF_LOG_JOURNAL, S_INIT("journal")},
        {S_INIT("log_format"), CONF_LOG_FORMAT_JSON, S_INIT("json")},
        {S_INIT("log_level"), CONF_LOG_LEVEL_ERROR, S_INIT("error")},
        {S_INIT("protocol"), CONF_PROTOCOL_HTTP, S_INIT("http")},
        {S_INIT("tls"), CONF_TLS_IMPLICIT, S_INIT("implicit")},
        {S_INIT("policy"), CONF_POLICY_SUBMISSION, S_INIT("submission")},
        {S_INIT("framing"), CONF_FRAMING_NORMALIZE, S_INIT("normalize")},
        {S_INIT("auth"), CONF_AUTH_REQUIRED, S_INIT("required")},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        str word;
        assert_true(conf_choice(rows[i].type, rows[i].value, &word));
        assert_true(str_eq(word, rows[i].word));
        assert_false(conf_choice(rows[i].type, rows[i].value + 1, &word)); /* each row names the last one */
    }
}

static void round_trip(void **state) {
    (void)state;
    static const char text[] =
        "mode sandbox\nhostname mx.example.org\ndata \"/srv/\\\"mail\\\" \\\\x\"\nretain_age 90m\n"
        "listen one {\naddress [2001:db8::1]:25\ntls starttls\nproxy 10.0.0.0/8 ::1,unix\n}\n"
        "listen gone {\naddress off\n}\n"
        "listen two {\naddress unix:/run/x.sock:660\nprotocol lmtp\npolicy submission\n}\n";
    struct conf a, b;
    struct buf once = BUF(1 << 20), twice = BUF(1 << 20);
    parse_ok(text, &a);
    assert_int_equal(a.listen_count, 2);
    assert_int_equal(a.listens[0].policy, CONF_POLICY_SANDBOX);
    assert_int_equal(a.listens[0].framing, CONF_FRAMING_KEEP);
    assert_int_equal(a.listens[1].framing, CONF_FRAMING_NORMALIZE);
    assert_int_equal(a.listens[1].address.mode, 0660);
    assert_string_equal(a.data.p, "/srv/\"mail\" \\x");
    conf_write(&once, &a);
    parse_ok(buf_cstr(&once), &b);
    conf_write(&twice, &b);
    assert_string_equal(buf_cstr(&once), buf_cstr(&twice));
    assert_string_equal(buf_cstr(&once),
                        "mode sandbox\nhostname \"mx.example.org\"\ndata \"/srv/\\\"mail\\\" \\\\x\"\n"
                        "retain_age 90m\nlisten one {\n    address \"[2001:db8::1]:25\"\n    tls starttls\n"
                        "    policy sandbox\n    framing keep\n    proxy 10.0.0.0/8, ::1, unix\n}\n"
                        "listen two {\n    address \"unix:/run/x.sock:0660\"\n    protocol lmtp\n"
                        "    policy submission\n    framing normalize\n}\n");
    buf_free(&once);
    buf_free(&twice);
    conf_free(&a);
    conf_free(&b);
}

static void set_outranks_file(void **state) {
    (void)state;
    struct conf c;
    struct conf_errors errors = {0};
    struct buf out = BUF(1 << 20);
    conf_defaults(&c);
    assert_int_equal(conf_read(S("workers 3\nretain_count 7"), "f", &c, &errors), OK);
    assert_int_equal(conf_set(&c, S("workers"), S("5"), "--workers", &errors), OK);
    assert_int_equal(c.workers, 5);
    assert_int_equal(conf_set(&c, S("wrkers"), S("5"), "--set", &errors), ERR_SYNTAX);
    assert_int_equal(conf_set(&c, S("workers"), S("no"), "--workers", &errors), ERR_SYNTAX);
    conf_errors_put(&out, &errors);
    assert_string_equal(buf_cstr(&out), "--set: unknown setting \"wrkers\" (did you mean \"workers\"?)\n"
                                        "--workers: workers: \"no\" is not a number from 0 to 256\n");
    buf_free(&out);
    conf_errors_free(&errors);
    conf_free(&c);
}

static void many_errors_and_blocks(void **state) {
    (void)state;
    struct conf c;
    struct conf_errors errors = {0};
    struct buf text = BUF(CONF_FILE_MAX), out = BUF(1 << 20);
    for (int i = 0; i < 1000; i++)
        buf_printf(&text, "listen l%d {\naddress 127.0.0.1:%d\n}\n", i, i + 1);
    assert_int_equal(conf_parse(buf_str(&text), "f", &c, &errors), ERR_SYNTAX);
    assert_int_equal(c.listen_count, CONF_LISTENS_MAX);
    assert_int_equal(errors.count + errors.more, 1000 - CONF_LISTENS_MAX);
    conf_errors_put(&out, &errors);
    assert_true(str_ends(buf_str(&out), S("and 544 more\n")));
    conf_errors_free(&errors);
    conf_free(&c);
    buf_fill(&text, '#', CONF_FILE_MAX - text.n);
    assert_false(text.full);
    text.limit++;
    buf_char(&text, '\n');
    assert_int_equal(conf_parse(buf_str(&text), "f", &c, &errors), ERR_LIMIT);
    conf_errors_free(&errors);
    conf_free(&c);
    buf_free(&text);
    buf_free(&out);
}

/* What must be true of the blocks of a mail server; each sentence says what to do. */
static void block_complaints(void **state) {
    (void)state;
    static const struct {
        const char *text, *errors;
    } rows[] = {
        {"domain example.org {\n}\naccount ada@example.org {\npassword $y$x\n}\nalias a@example.org {\nto "
         "ada@example.org\n}\n",
         ""},
        {"domain example.org. {\n}", "f:1: domain example.org.: a domain is written example.org, without @ or a dot at "
                                     "its end\n"},
        {"domain ada@example.org {\n}", "f:1: domain ada@example.org: a domain is written example.org, without @ or a "
                                        "dot at its end\n"},
        {"domain b\xc3\xbc"
         "cher.example {\n}",
         ""},
        {"domain a.example {\n}\ndomain A.example {\n}",
         "f:3: domain A.example: there is one of this name already, in f:1\n"},
        {"domain a.example {\nalias_of A.example\n}", "f:2: domain a.example: alias_of names itself\n"},
        {"domain a.example {\nalias_of b.example\ncatch_all x@b.example\n}",
         "f:3: domain a.example: with alias_of, catch_all has no effect: set it at b.example\n"},
        {"domain a.example {\ncatch_all ada\n}", "f:2: domain a.example: catch_all: \"ada\" is not an address\n"},
        {"domain a.example {\nseparator +@\n}",
         "f:2: domain a.example: separator: a separator is a character such as + - _ =\n"},
        {"account ada {\n}", "f:1: account ada: its name is an address such as ada@example.org\n"},
        {"account a@b.example {\npassword secret\n}",
         "f:2: account a@b.example: password is no hash; penfold account hash makes one\n"},
        {"account a@b.example {\nsenders c@d.example @e.example f\n}",
         "f:2: account a@b.example: senders: \"f\" is not an address such as ada@example.org, nor @example.org for a "
         "whole domain\n"},
        {"account a@b.example {\n}\naccount A@B.example {\n}",
         "f:3: account A@B.example: there is one of this name already, in f:1\n"},
        {"alias a@b.example {\n}", "f:1: alias a@b.example: to is missing: the addresses it stands for\n"},
        {"alias a@b.example {\nto x\n}",
         "f:2: alias a@b.example: to: \"x\" is not an address such as ada@example.org\n"},
        {"route a {\naction smarthost\nauth yes\n}", "f:1: route a: host is missing: the server to hand it to\n"},
        {"route a {\naction lmtp\nhost h\n}", "f:3: route a: host: h needs a port: LMTP has none of its own\n"},
        {"route a {\naction lmtp\nhost h:24 unix:/run/l [::1]:24 192.0.2.1:24\n}", ""},
        {"route a {\naction lmtp\nhost h:99999 unix:l ::1\n}",
         "f:3: route a: host: \"h:99999\" is not HOST, HOST:PORT, [V6ADDRESS]:PORT or unix:/PATH\n"
         "f:3: route a: host: \"unix:l\" is not HOST, HOST:PORT, [V6ADDRESS]:PORT or unix:/PATH\n"
         "f:3: route a: host: \"::1\" is not HOST, HOST:PORT, [V6ADDRESS]:PORT or unix:/PATH\n"},
        {"route a {\naction forward\n}", "f:1: route a: address is missing: the addresses it goes to\n"},
        {"route a {\naction pipe\n}", "f:1: route a: command is missing: the program to run\n"},
        {"route a {\naction pipe\ncommand cat\nrun_as root\n}",
         "f:3: route a: command begins with the program's whole path\n"
         "f:4: route a: no command ever runs as root: name another user\n"},
        {"route a {\naction webhook\n}", "f:1: route a: url is missing: where to post it\n"},
        {"route a {\naction webhook\nurl ftp://x\n}", "f:3: route a: url begins with https:// or http://\n"},
        {"route a {\naction webhook\nurl https://x:y/\n}",
         "f:3: route a: url is not https://[USER:PASSWORD@]HOST[:PORT][/PATH][?QUERY]\n"},
        {"route a {\naction webhook\nurl https://x\nformat message\npost_max 1MiB\nsecret_file f\ntimeout 10s\n}", ""},
        {"route a {\naction capture\nformat message\n}", "f:3: route a: format means nothing to the action capture\n"},
        {"route a {\nurl http://x\nhost h\ncode 450\n}", "f:2: route a: url means nothing to the action mailbox\n"
                                                         "f:3: route a: host means nothing to the action mailbox\n"
                                                         "f:4: route a: code means nothing to the action mailbox\n"},
        {"route a {\naccount bob@example.org\nfolder Junk\n}", ""}, /* a setting named as a block */
        {"route a {\naccount bob\n}", "f:2: route a: account: \"bob\" is not an address\n"},
        {"route a {\naction relay\n}",
         "f:2: route a: this would send anybody's mail to anywhere, an open relay: set auth yes, or name in to or "
         "client whom it is for\n"},
        {"route a {\naction relay\nto *@* x.example\n}",
         "f:2: route a: this would send anybody's mail to anywhere, an open relay: set auth yes, or name in to or "
         "client whom it is for\n"},
        {"route a {\naction smarthost\nhost h\nclient 0.0.0.0/0\n}",
         "f:2: route a: this would send anybody's mail to anywhere, an open relay: set auth yes, or name in to or "
         "client whom it is for\n"},
        {"route a {\naction relay\nto x.example\n}\nroute b {\naction relay\nclient 10.0.0.0/8\n}\n"
         "route c {\naction relay\nauth yes\n}",
         ""},
        {"route a {\naction smarthost\nauth yes\nhost h\nuser u\n}",
         "f:5: route a: user needs password_file beside it\n"},
        {"route a {\naction smarthost\nauth yes\nhost h\nuser u\npassword_file /p\ntls none\n}",
         "f:7: route a: a password is not sent without TLS\n"},
        {"route a {\naction relay\nauth yes\nsource eth0\n}",
         "f:4: route a: source: \"eth0\" is not an address of this machine such as 192.0.2.1\n"},
        {"route a {\naction reject\ncode 450\ntext \"5.7.1 no\"\n}",
         "f:4: route a: text begins with a code 5.x.x, but the reply's is 450\n"},
        {"route a {\naction reject\ncode 421\n}", "f:3: route a: code 421 ends a whole session; take 450 or 550\n"},
        {"route a {\naction reject\ncode 399\n}", "f:3: code: \"399\" is not a number from 400 to 599\n"},
        {"route a {\naction reject\ncopy yes\n}", "f:3: route a: a copy that is rejected or discarded is none\n"},
        {"route a {\nto <a@b.example>\nfrom <> b@\n}",
         "f:2: route a: to: \"<a@b.example>\": a pattern stands without < and >\n"
         "f:3: route a: from: \"b@\": behind the @ a domain is missing\n"},
        {"route a {\nto <>\n}", "f:2: route a: to: \"<>\": <> is a sender, no recipient\n"},
        {LISTEN_A "route a {\nlistener b\n}", "f:5: route a: there is no listen block b\n"},
        {LISTEN_A "route a {\nlistener a\n}", ""},
        {"listen submission {\naddress 127.0.0.1:587\n}\nroute a {\nlistener submision\n}",
         "f:5: route a: there is no listen block submision (did you mean \"submission\"?)\n"},
        {"route a {\nsize_min 2KiB\nsize_max 1KiB\n}", "f:2: route a: size_min is above size_max\n"},
        {"route a {\nheader Subject\n}", "f:2: route a: header is written Name: pattern\n"},
        {"rewrite a {\n}", "f:1: rewrite a: it does nothing: set match and replace, or add, set, remove or subject\n"},
        {"rewrite a {\nmatch *@a.example\n}", "f:2: rewrite a: match needs replace beside it\n"},
        {"rewrite a {\nmatch *@*.a.example\nreplace $1@$2.b.example\n}", ""},
        {"rewrite a {\nmatch *@a.example\nreplace $2@b.example\n}",
         "f:3: rewrite a: replace: a $ stands before a number from 1 to the count of stars in match, here 1\n"},
        {"rewrite a {\nwhere cc\nremove \"X-A X:B\"\nadd nothing\n}",
         "f:2: rewrite a: where: \"cc\" is not one of sender, recipient, from, to\n"
         "f:3: rewrite a: remove: \"X:B\" is no name of a field\nf:4: rewrite a: add is written Name: value\n"},
        {"site big.example {\n}",
         "f:1: site big.example: match is missing: the domains or mail exchangers it is for\n"},
        {"site a {\nmatch a@b.example\nrate 100\n}",
         "f:2: site a: match: \"a@b.example\" is an address; a domain is wanted\n"
         "f:3: site a: rate is written NUMBER/DURATION, as 100/1m\n"},
        {"site a {\nmatch *.b.example\nrate 100/1m30s\n}", ""},
        {"test a {\n}", "f:1: test a: to is missing: the recipient\n"
                        "f:1: test a: expect is missing: what must come of it\n"},
        {"test a {\nto x@y.example\nexpect reject\nclient here\nlistener l\n}",
         "f:4: test a: client: \"here\" is neither an address nor unix\nf:5: test a: there is no listen block l\n"},
        {"queue_retry 5m,10\n", "f:1: queue_retry is a list of durations above 0, each with its unit: 5m 20m 1h\n"},
        {"queue_retry 5m 0\n", "f:1: queue_retry is a list of durations above 0, each with its unit: 5m 20m 1h\n"},
        {"relay_networks 10.0.0.0/8 ::/0\n",
         "f:1: relay_networks: a network of all addresses would make an open relay\n"},
        {"postmaster ada\n", "f:1: postmaster: \"ada\" is not an address\n"},
        {"listen a {\naddress 127.0.0.1:25\naccess token\n}",
         "f:3: listen a: only an http listener has a setting access\n"},
        {"listen a {\naddress unix:/run/p.sock:0660\nprotocol http\naccess token\n}", ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        expect(rows[i].text, rows[i].errors);
}

/* As many as a file holds, and no more than a moment for them. */
static void many_aliases(void **state) {
    (void)state;
    struct conf c;
    struct conf_errors errors = {0};
    struct buf text = BUF(CONF_FILE_MAX);
    size_t n = 0;
    for (; !text.full; n++)
        buf_printf(&text, "alias a%zu@b.example {\nto c@d.e\n}\n", n);
    assert_int_equal(conf_parse(buf_str(&text), "f", &c, &errors), OK);
    assert_int_equal(c.alias_count, n - 1);
    conf_free(&c);
    buf_free(&text);
}

static void inner_values(void **state) {
    (void)state;
    uint64_t count, ms[3];
    size_t n;
    struct conf_host h;
    assert_true(conf_rate_parse(S("100/1m"), &count, &ms[0]));
    assert_int_equal(count, 100);
    assert_int_equal(ms[0], 60000);
    static const char *const bad[] = {"", "100", "/1m", "0/1m", "100/", "100/0", "100/1", "-1/1m", "1/1m/1m"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(conf_rate_parse(str_of(bad[i]), &count, &ms[0]));
    str words[] = {S("5m"), S("1h30m"), S("2d"), S("3d")};
    struct conf_list l = {words, 4};
    assert_true(conf_durations(&l, ms, 3, &n));
    assert_int_equal(n, 3);
    assert_int_equal(ms[1], 5400000);
    assert_true(conf_host_parse(S("[2001:db8::1]:24"), &h) && h.port == 24 && str_eq(h.host, S("2001:db8::1")));
    assert_true(conf_host_parse(S("smart.example"), &h) && h.port == 0 && h.path.n == 0);
    assert_true(conf_host_parse(S("unix:/run/lmtp"), &h) && str_eq(h.path, S("/run/lmtp")));
}

static void urls(void **state) {
    (void)state;
    static const struct {
        str text, login, host;
        unsigned port;
        str place, query;
    } good[] = {
        {S_INIT("http://h"), S_INIT(""), S_INIT("h"), 80, S_INIT(""), S_INIT("")},
        {S_INIT("https://h.example/a?b=c"), S_INIT(""), S_INIT("h.example"), 443, S_INIT("/a?b=c"), S_INIT("b=c")},
        {S_INIT("https://h:8443?q"), S_INIT(""), S_INIT("h"), 8443, S_INIT("?q"), S_INIT("q")},
        {S_INIT("http://u:p%40@[::1]:81/"), S_INIT("u:p%40"), S_INIT("::1"), 81, S_INIT("/"), S_INIT("")},
        {S_INIT("http://h/@x:1"), S_INIT(""), S_INIT("h"), 80, S_INIT("/@x:1"), S_INIT("")},
        {S_INIT("https://m\xc3\xbcller.example/"), S_INIT(""), S_INIT("m\xc3\xbcller.example"), 443, S_INIT("/"),
         S_INIT("")},
    };
    static const char *const bad[] = {
        "",           "http://",         "ftp://h",        "http:///p",   "http://h:0/",
        "http://h:x", "http://h/a#b",    "http://h/a b",   "http://[::1", "http://::1/",
        "h",          "http://h\\@evil", "http://h:99999", "http://a@",   "http://unix:/x"};
    struct conf_url u;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_true(conf_url_parse(good[i].text, &u));
        assert_int_equal(u.tls, str_starts(good[i].text, S("https:")));
        assert_int_equal(u.port, good[i].port);
        assert_true(str_eq(u.login, good[i].login) && str_eq(u.host, good[i].host));
        assert_true(str_eq(u.place, good[i].place) && str_eq(u.query, good[i].query));
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(conf_url_parse(str_of(bad[i]), &u));
}

static void guesses(void **state) {
    (void)state;
    static const struct {
        str word, best;
    } rows[] = {
        {S_INIT("workrs"), S_INIT("workers")},
        {S_INIT("wrokers"), S_INIT("workers")},
        {S_INIT("WORKERS"), S_INIT("workers")},
        {S_INIT("log-level"), S_INIT("log_level")},
        {S_INIT("completely"), S_INIT("")},
        {S_INIT(""), S_INIT("")},
        {S_INIT("0123456789012345678901234567890123456789012345"), S_INIT("")},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct conf_guess g = {.word = rows[i].word};
        for (size_t k = 0; k < CONF_KEYS; k++)
            conf_guess_try(&g, conf_rows[k].name);
        assert_true(str_eq(g.best, rows[i].best));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(complaints),
        cmocka_unit_test(values),
        cmocka_unit_test(defaults_are_values),
        cmocka_unit_test(choices_match),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(set_outranks_file),
        cmocka_unit_test(many_errors_and_blocks),
        cmocka_unit_test(block_complaints),
        cmocka_unit_test(many_aliases),
        cmocka_unit_test(inner_values),
        cmocka_unit_test(urls),
        cmocka_unit_test(guesses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
