/* talk_test.c - conversations as text: every tests/talk/ *.talk is one test, run twice: each group of client lines at
 * once, and one byte at a time; the replies must be the same.  A script is lines of
 *     config: policy=mx tls=starttls auth=required lmtp xclient proxy framing=normalize size=1000 ...   (first line)
 *     C: text      the client's line (CRLF is added); \r \n \0 \\ \xHH are bytes
 *     B: text      bytes without CRLF
 *     R: 100 x     100 times x
 *     S: text      the reply line that must come now; a final ... stands for any rest
 *     M: text      the next message that was accepted has these bytes
 *     N: 2         so many messages were accepted so far
 *     K: sender=a@b   of the envelope of the last of them; K: rcpts=2
 *     H: begin=full   how the host answers from now on: begin, commit, mail, rcpt = ok full io denied limit, or a code
 * and text (rcpt=550 5.1.1 nobody), or an error and a text (begin=limit Enough for today); lost: the store is
 * gone W: 300       so many seconds pass X: quit      the session has ended, for this reason T: text      the
 * transcript so far contains this # comment */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/code.h"
#include "mailauth/sasl_server.h"
#include "smtp/smtp_server.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "tests/talk"

struct talk {
    const char *file;
    unsigned line;
    bool bytewise;
    struct smtp_config config;
    struct smtp_peer peer;
    struct smtp_server s;
    struct sasl_policy users;
    struct sasl_server sasl;
    struct arena arena;
    struct buf input;  /* of the group */
    struct buf output; /* not yet expected */
    struct buf body, messages, transcript, envelope;
    unsigned accepted, committed;
    struct answer {
        enum err e;
        unsigned code;
        char text[100];
    } begin, commit, mail, rcpt;
    uint64_t now;
    bool closed, ready;
};

static void bad(struct talk *t, const char *what, str got) {
    struct buf shown = BUF(4000);
    escape_print(str_head(got, 400), &shown);
    print_error("%s:%u (%s): %s\n  got: %s\n", t->file, t->line, t->bytewise ? "byte by byte" : "whole", what,
                buf_cstr(&shown));
    buf_free(&shown);
    fail();
}

static void unescape(str s, struct buf *out) {
    while (s.n) {
        char c = s.p[0];
        size_t n = 1;
        if (c == '\\' && s.n > 1) {
            char k = s.p[1];
            n = 2;
            c = k == 'r' ? '\r' : k == 'n' ? '\n' : k == '0' ? '\0' : k;
            if (k == 'x') {
                struct buf b = BUF(1);
                assert_true(hex_decode(str_sub(s, 2, 2), &b));
                c = b.p[0];
                n = 4;
                buf_free(&b);
            }
        }
        buf_char(out, c);
        s = str_tail(s, n);
    }
}

static void answer_auth(struct talk *t) {
    struct smtp_server *s = &t->s;
    static const enum smtp_auth_failure failures[] = {[SASL_MALFORMED] = SMTP_AUTH_MALFORMED,
                                                      [SASL_TOO_LONG] = SMTP_AUTH_TOO_LONG,
                                                      [SASL_BAD_CREDENTIALS] = SMTP_AUTH_BAD,
                                                      [SASL_UNAVAILABLE] = SMTP_AUTH_UNAVAILABLE};
    enum sasl_result r;
    if (s->auth.first) {
        sasl_server_end(&t->sasl);
        r = sasl_server_start(&t->sasl, &t->users, sasl_mechanism_find(s->auth.mechanism), S(""),
                              s->auth.has_response ? &s->auth.response : NULL);
    } else {
        r = sasl_server_step(&t->sasl, s->auth.response);
    }
    if (r == SASL_CHALLENGE)
        smtp_server_auth_challenge(s, buf_str(&t->sasl.challenge));
    else if (r == SASL_DONE)
        smtp_server_auth_ok(s, buf_str(&t->sasl.user));
    else
        smtp_server_auth_failed(s, failures[t->sasl.failure]);
}

static void take_out(struct talk *t) {
    buf_add(&t->output, buf_str(&t->s.out));
    smtp_server_sent(&t->s);
}

static void answer(struct talk *t, const struct answer *a) {
    if (a->code)
        smtp_server_refusal_answer(&t->s, a->code, str_of(a->text));
    else
        smtp_server_answer(&t->s, a->e, str_of(a->text));
}

static void do_commit(struct talk *t) {
    t->committed++;
    if (t->commit.e == OK) {
        t->accepted++;
        buf_lstr(&t->messages, buf_str(&t->body));
        buf_reset(&t->envelope);
        envelope_put(&t->envelope, &t->s.envelope);
    }
    buf_reset(&t->body);
    answer(t, &t->commit);
}

/* One step; false when it waits for input, time or the end of the group. */
static bool step(struct talk *t, str *in) {
    char id[32];
    switch (smtp_server_step(&t->s, in, t->now)) {
    case SMTP_WANT_INPUT: return false;
    case SMTP_WANT_STARTTLS: return false;
    case SMTP_WANT_BODY: buf_add(&t->body, t->s.body); return true;
    case SMTP_WANT_ABORT: buf_reset(&t->body); return true;
    case SMTP_WANT_MAIL: answer(t, &t->mail); return true;
    case SMTP_WANT_RCPT: answer(t, &t->rcpt); return true;
    case SMTP_WANT_BEGIN:
        buf_reset(&t->body);
        snprintf(id, sizeof id, "ID%u", t->committed + 1);
        if (t->begin.e)
            answer(t, &t->begin);
        else
            smtp_server_answer(&t->s, OK, str_of(id));
        return true;
    case SMTP_WANT_COMMIT: do_commit(t); return true;
    case SMTP_WANT_AUTH: answer_auth(t); return true;
    case SMTP_WANT_FLUSH: take_out(t); return true;
    case SMTP_WANT_DELAY: t->now = smtp_server_deadline(&t->s); return true;
    case SMTP_WANT_CLOSE: t->closed = true; return false;
    default: fail();
    }
    return false;
}

static void run(struct talk *t, str in) {
    do {
        str before = in;
        while (!t->closed && step(t, &in))
            ;
        take_out(t);
        if (t->s.want == SMTP_WANT_STARTTLS && before.p == in.p)
            break;
    } while (in.n && !t->closed);
}

static void feed(struct talk *t) {
    str in = buf_str(&t->input);
    if (in.n == 0 || t->closed)
        return;
    for (size_t n = t->bytewise ? 1 : in.n; in.n; in = str_tail(in, n))
        if (!t->closed)
            run(t, str_head(in, n));
    buf_reset(&t->input);
    if (!t->closed && t->s.want == SMTP_WANT_STARTTLS) {
        smtp_server_tls(&t->s, S("TLSv1.3"), S("TLS_AES_256_GCM_SHA384"), S("mail.example"));
        run(t, STR_NONE);
    }
}

static uint64_t number(str s) {
    uint64_t v = 0;
    assert_true(str_u64(s, &v));
    return v;
}

static void set_policy(struct talk *t, str v) {
    struct smtp_config *c = &t->config;
    c->policy = str_eq(v, S("mx"))           ? SMTP_POLICY_MX
                : str_eq(v, S("submission")) ? SMTP_POLICY_SUBMISSION
                                             : SMTP_POLICY_SANDBOX;
    c->framing = c->policy == SMTP_POLICY_MX           ? SMTP_FRAMING_REJECT
                 : c->policy == SMTP_POLICY_SUBMISSION ? SMTP_FRAMING_NORMALIZE
                                                       : SMTP_FRAMING_KEEP;
}

static void configure(struct talk *t, str settings) {
    struct smtp_config *c = &t->config;
    str word;
    while (str_word(&settings, &word)) {
        str v = word, key;
        if (!str_cut(&v, '=', &key)) {
            key = word;
            v = STR_NONE;
        }
        if (str_eq(key, S("policy")))
            set_policy(t, v);
        else if (str_eq(key, S("tls")))
            c->tls = str_eq(v, S("implicit"))   ? SMTP_TLS_IMPLICIT
                     : str_eq(v, S("starttls")) ? SMTP_TLS_STARTTLS
                                                : SMTP_TLS_NONE;
        else if (str_eq(key, S("auth")))
            c->auth = str_eq(v, S("required"))  ? SMTP_AUTH_REQUIRED
                      : str_eq(v, S("offered")) ? SMTP_AUTH_OFFERED
                                                : SMTP_AUTH_NONE;
        else if (str_eq(key, S("framing")))
            c->framing = str_eq(v, S("reject"))      ? SMTP_FRAMING_REJECT
                         : str_eq(v, S("normalize")) ? SMTP_FRAMING_NORMALIZE
                                                     : SMTP_FRAMING_KEEP;
        else if (str_eq(key, S("lmtp")))
            c->lmtp = true;
        else if (str_eq(key, S("proxy")))
            t->peer.proxy = true;
        else if (str_eq(key, S("user")))
            t->peer.user = v;
        else if (str_eq(key, S("hold")))
            c->hold_max_ms = number(v) * 1000;
        else if (str_eq(key, S("xclient")))
            t->peer.xclient = true;
        else if (str_eq(key, S("size")))
            c->message_max = number(v);
        else if (str_eq(key, S("rcpts")))
            c->rcpt_max = (unsigned)number(v);
        else if (str_eq(key, S("mails")))
            c->mail_max = (unsigned)number(v);
        else if (str_eq(key, S("header")))
            c->header_max = number(v);
        else if (str_eq(key, S("errors")))
            c->errors_max = (unsigned)number(v);
        else
            bad(t, "unknown setting", key);
    }
    if (c->policy != SMTP_POLICY_SANDBOX) {
        assert_int_equal(sasl_users_parse(S("tim:tanstaaftanstaaf\n"), &t->arena, &t->users, NULL), OK);
        t->users.any = false;
    }
    if (c->policy != SMTP_POLICY_SANDBOX && c->tls == SMTP_TLS_STARTTLS)
        c->mechanisms_plain = STR_NONE;
}

static void start(struct talk *t) {
    smtp_server_init(&t->s, &t->config, &t->peer, t->now, 1800000000000000);
    t->ready = true;
    run(t, STR_NONE);
    if (t->s.want == SMTP_WANT_STARTTLS) {
        smtp_server_tls(&t->s, S("TLSv1.3"), S("TLS_AES_256_GCM_SHA384"), S("mail.example"));
        run(t, STR_NONE);
    }
}

static void expect_reply(struct talk *t, str want) {
    str rest = buf_str(&t->output), got;
    size_t end = str_find_str(rest, S("\r\n"));
    if (end == SIZE_MAX)
        bad(t, "no reply", rest);
    got = str_head(rest, end);
    bool same = str_ends(want, S("...")) ? str_starts(got, str_head(want, want.n - 3)) : str_eq(got, want);
    if (!same)
        bad(t, "another reply", got);
    buf_drop(&t->output, end + 2);
}

static void expect_message(struct talk *t, str want) {
    str rest = buf_str(&t->messages), got;
    if (!take_lstr(&rest, &got))
        bad(t, "no message", rest);
    if (!str_eq(got, want))
        bad(t, "another message", got);
    buf_drop(&t->messages, 4 + got.n);
}

static void expect_envelope(struct talk *t, str text) {
    struct envelope e;
    char num[24];
    str key;
    assert_int_equal(envelope_take(buf_str(&t->envelope), &t->arena, &e), OK);
    assert_true(str_cut(&text, '=', &key));
    const struct {
        str name, value;
    } strs[] = {
#define STR(tag, name) {S(#name), e.name},
#define NUM(tag, name)
#include "smtp/envelope.def"
#undef STR
#undef NUM
    };
    const struct {
        str name;
        uint64_t value;
    } nums[] = {
        {S("rcpts"), e.rcpt_count},
#define STR(tag, name)
#define NUM(tag, name) {S(#name), e.name},
#include "smtp/envelope.def"
#undef STR
#undef NUM
    };
    str got = STR_NONE;
    for (size_t i = 0; i < sizeof strs / sizeof *strs; i++)
        if (str_eq(key, strs[i].name))
            got = strs[i].value;
    for (size_t i = 0; i < sizeof nums / sizeof *nums; i++)
        if (str_eq(key, nums[i].name)) {
            snprintf(num, sizeof num, "%llu", (unsigned long long)nums[i].value);
            got = str_of(num);
        }
    if (str_eq(key, S("rcpt")))
        got = e.rcpts[e.rcpt_count - 1].address;
    if (str_eq(key, S("rcpt_params")))
        got = e.rcpts[e.rcpt_count - 1].params;
    if (!str_eq(got, text))
        bad(t, "another value in the envelope", got);
}

static struct answer named_answer(str v) {
    struct answer a = {OK};
    str word;
    uint64_t code;
    assert_true(str_word(&v, &word));
    a.code = str_u64(word, &code) ? (unsigned)code : 0;
    a.e = str_eq(word, S("full"))     ? ERR_FULL
          : str_eq(word, S("io"))     ? ERR_IO
          : str_eq(word, S("denied")) ? ERR_DENIED
          : str_eq(word, S("limit"))  ? ERR_LIMIT
          : a.code                    ? ERR_DENIED
                                      : OK;
    snprintf(a.text, sizeof a.text, "%.*s", STR_ARG(v));
    return a;
}

static void host(struct talk *t, str text) {
    str key = text;
    if (str_eq(text, S("lost")))
        smtp_server_mail_lost(&t->s, ERR_IO);
    else if (str_eq(text, S("drain")))
        smtp_server_drain(&t->s, t->now);
    else if (str_eq(text, S("gone")))
        smtp_server_lost(&t->s, "the client is gone"), run(t, STR_NONE);
    else if (str_cut(&text, '=', &key))
        *(str_eq(key, S("begin"))  ? &t->begin
          : str_eq(key, S("mail")) ? &t->mail
          : str_eq(key, S("rcpt")) ? &t->rcpt
                                   : &t->commit) = named_answer(text);
}

static void pass_time(struct talk *t, uint64_t seconds) {
    t->now += seconds * 1000;
    smtp_server_expire(&t->s, t->now);
    run(t, STR_NONE);
}

static void one_line(struct talk *t, str line) {
    struct buf text = BUF(1 << 20);
    char kind = line.p[0];
    str rest = str_tail(line, line.n > 2 && line.p[2] == ' ' ? 3 : 2);
    bool input = kind == 'C' || kind == 'B' || kind == 'R';
    if (!t->ready)
        start(t);
    if (!input)
        feed(t);
    else if (t->input.n == 0 && t->output.n)
        bad(t, "a reply too many", buf_str(&t->output));
    unescape(rest, &text);
    str words = buf_str(&text), word;
    switch (kind) {
    case 'C':
        buf_add(&t->input, words);
        buf_add(&t->input, S("\r\n"));
        break;
    case 'B': buf_add(&t->input, words); break;
    case 'R':
        assert_true(str_word(&words, &word));
        buf_fill(&t->input, words.p[0], number(word));
        break;
    case 'S': expect_reply(t, words); break;
    case 'M': expect_message(t, words); break;
    case 'N':
        if (t->accepted != number(words))
            bad(t, "another number of messages", S(""));
        break;
    case 'K': expect_envelope(t, words); break;
    case 'H': host(t, words); break;
    case 'W': pass_time(t, number(words)); break;
    case 'X':
        if (!t->closed || !str_eq(words, str_of(t->s.reason)))
            bad(t, "did not end so", t->closed ? str_of(t->s.reason) : S("open"));
        break;
    case 'T':
        smtp_transcript_take(&t->s.transcript, &t->transcript);
        if (str_find_str(buf_str(&t->transcript), words) == SIZE_MAX)
            bad(t, "not in the transcript", buf_str(&t->transcript));
        break;
    default: bad(t, "unknown line", line);
    }
    buf_free(&text);
}

static void run_script(const char *file, str script, bool bytewise) {
    struct talk t = {
        .file = file,
        .bytewise = bytewise,
        .now = 1000,
        .arena = ARENA(1 << 20),
        .input = BUF(1 << 22),
        .output = BUF(1 << 22),
        .body = BUF(1 << 22),
        .messages = BUF(1 << 22),
        .envelope = BUF(1 << 20),
        .transcript = BUF(1 << 20),
        .users = {.any = true},
        .peer = {S_INIT("SESSION"), S_INIT("192.0.2.9"), S_INIT("192.0.2.1"), 4242, 25, false, false, STR_NONE},
        .config = {.listener = S_INIT("smtp"),
                   .hostname = S_INIT("mail.example"),
                   .greeting = S_INIT("Penfold"),
                   .mechanisms_plain = S_INIT("PLAIN LOGIN"),
                   .mechanisms_tls = S_INIT("SCRAM-SHA-256 OAUTHBEARER XOAUTH2 PLAIN LOGIN"),
                   .command_max = 2048,
                   .transcript_max = 65536,
                   .header_max = 262144,
                   .message_max = 1000000,
                   .rcpt_max = 1000,
                   .errors_slow = 10,
                   .errors_max = 20,
                   .hops_max = 50,
                   .command_ms = 300000,
                   .data_ms = 180000,
                   .message_ms = 3600000,
                   .session_ms = 86400000,
                   .handshake_ms = 60000}};
    str line;
    while (str_line(&script, &line)) {
        t.line++;
        if (str_skip(&line, S("config:")))
            configure(&t, line);
        else if (line.n > 1 && line.p[0] != '#')
            one_line(&t, line);
    }
    feed(&t);
    if (t.output.n)
        bad(&t, "a reply too many at the end", buf_str(&t.output));
    smtp_server_free(&t.s);
    sasl_server_end(&t.sasl);
    struct buf *bufs[] = {&t.input, &t.output, &t.body, &t.messages, &t.envelope, &t.transcript};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        buf_free(bufs[i]);
    arena_free(&t.arena);
}

static void test_talk(void **state) {
    const char *file = *state;
    char path[512];
    struct buf text = BUF(1 << 20);
    snprintf(path, sizeof path, FOLDER "/%s", file);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    for (size_t n = 1; n;) {
        char *at = buf_room(&text, 4096);
        assert_non_null(at);
        n = fread(at, 1, 4096, f);
        buf_grew(&text, n);
    }
    fclose(f);
    run_script(file, buf_str(&text), false);
    run_script(file, buf_str(&text), true);
    buf_free(&text);
}

static int is_script(const struct dirent *d) {
    return str_ends(str_of(d->d_name), S(".talk"));
}

int main(void) {
    struct dirent **names;
    int n = scandir(FOLDER, &names, is_script, alphasort);
    if (n <= 0) {
        fprintf(stderr, "no scripts in %s\n", FOLDER);
        return 1;
    }
    struct CMUnitTest *tests = calloc((size_t)n, sizeof *tests);
    for (int i = 0; i < n; i++)
        tests[i] = (struct CMUnitTest){names[i]->d_name, test_talk, NULL, NULL, names[i]->d_name};
    int failed = _cmocka_run_group_tests("talk", tests, (size_t)n, NULL, NULL);
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
    free(tests);
    return failed;
}
