#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "conf/conf.h"

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
        cmocka_unit_test(guesses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
