#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "mime/edit.h"
#include "policy/rewrite.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void parse(struct conf *c, const char *text) {
    struct conf_errors errors = {0};
    struct buf out = BUF(1 << 16);
    if (conf_parse(str_of(text), "f", c, &errors) != OK) {
        conf_errors_put(&out, &errors);
        fail_msg("%s", buf_cstr(&out));
    }
    buf_free(&out);
    conf_errors_free(&errors);
}

static struct rewrite_ask ask_of(const char *sender, const char *recipient) {
    return (struct rewrite_ask){
        .sender = str_of(sender), .recipient = str_of(recipient), .client = S("192.0.2.1"), .listener = S("mx")};
}

static void addresses(void **state) {
    (void)state;
    static const struct {
        const char *rules, *address, *becomes; /* NULL: stays */
    } rows[] = {
        {"rewrite a {\nmatch *@*.example.org\nreplace $1@example.org\n}", "ada@pc1.example.org", "ada@example.org"},
        {"rewrite a {\nmatch *@*.example.org\nreplace $1@example.org\n}", "ada@example.org", NULL},
        {"rewrite a {\nmatch *@old.example\nreplace $1@new.example\n}", "Ada@OLD.example", "Ada@new.example"},
        {"rewrite a {\nmatch root@*\nreplace ops@$1\n}", "root@h.example", "ops@h.example"},
        {"rewrite a {\nmatch *.*@x.example\nreplace $2.$1@x.example\n}", "ada.byron@x.example", "byron.ada@x.example"},
        {"rewrite a {\nmatch ada@x.example\nreplace a.byron@x.example\n}", "ada@x.example", "a.byron@x.example"},
        /* in order, each to what the one before it made */
        {"rewrite a {\nmatch *@a.example\nreplace $1@b.example\n}\nrewrite b {\nmatch *@b.example\nreplace "
         "$1@c.example\n}",
         "x@a.example", "x@c.example"},
        {"rewrite a {\nmatch *@a.example\nreplace $1@b.example\n}\nrewrite b {\nmatch *@b.example\nreplace "
         "$1@a.example\n}",
         "x@a.example", NULL},
        /* what is no address is passed over */
        {"rewrite a {\nmatch *@a.example\nreplace $1\n}", "x@a.example", NULL},
        {"rewrite a {\nmatch *@a.example\nreplace $1.@b.example\n}", "x@a.example", NULL},
        {"rewrite a {\nmatch \"*@a.example\"\nreplace \"<$1@b.example>\"\n}", "x@a.example", NULL},
        {"rewrite a {\nmatch \"*@a.example\"\nreplace \"@b.example:$1@c.example\"\n}", "x@a.example", NULL},
        {"rewrite a {\nmatch \"*@a.example\"\nreplace \"$1@b.example> SIZE=1\"\n}", "x@a.example", NULL},
        {"rewrite a {\nmatch *@a.example\nreplace $1@b.example\n}", "\"x y\"@a.example", "\"x y\"@b.example"},
        {"rewrite a {\nmatch *\nreplace x@b.example\n}", "", NULL}, /* the null sender */
        {"rewrite a {\nmatch *@*.*.a.example\nreplace $1+$3+$2@a.example\n}", "u@v.w.a.example", "u+w+v@a.example"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct conf c;
        struct buf out = BUF(4096);
        struct rewrite_ask ask = ask_of(rows[i].address, "");
        parse(&c, rows[i].rules);
        bool changed = rewrite_address(&c, &ask, REWRITE_SENDER, str_of(rows[i].address), &out, NULL);
        if (changed != (rows[i].becomes != NULL))
            fprintf(stderr, "row %zu: %s\n", i, buf_cstr(&out));
        assert_int_equal(changed, rows[i].becomes != NULL);
        assert_string_equal(buf_cstr(&out), rows[i].becomes ? rows[i].becomes : "");
        buf_free(&out);
        conf_free(&c);
    }
}

static void conditions_and_places(void **state) {
    (void)state;
    struct conf c;
    struct buf out = BUF(4096), story = BUF(4096);
    parse(&c, "listen sub {\naddress 127.0.0.1:587\n}\n"
              "rewrite ours {\nauth yes\nlistener sub\nclient 10.0.0.0/8\nfrom local\nto far.example\n"
              "where sender\nmatch *@*.example.org\nreplace $1@example.org\n}\n");
    struct rewrite_ask good = {S("a@h.example.org"), S("y@far.example"), S("a"), S("10.1.1.1"), S("sub"), true, false};
    struct rewrite_ask bad[6];
    for (size_t i = 0; i < COUNT(bad); i++)
        bad[i] = good;
    bad[0].user = S("");
    bad[1].listener = S("mx");
    bad[2].client = S("192.0.2.1");
    bad[3].sender_local = false;
    bad[4].recipient = S("y@near.example");
    bad[5].recipient = S("");
    assert_true(rewrite_asks_local(&c));
    assert_true(rewrite_matches(&c.rewrites[0], &good));
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(rewrite_matches(&c.rewrites[0], &bad[i]));
    assert_false(rewrite_address(&c, &good, REWRITE_RECIPIENT, S("x@h.example.org"), &out, &story));
    assert_int_equal(story.n, 0);
    assert_true(rewrite_address(&c, &good, REWRITE_SENDER, S("x@h.example.org"), &out, &story));
    assert_string_equal(buf_cstr(&out), "x@example.org");
    assert_string_equal(buf_cstr(&story), "rewrite ours: x@h.example.org -> x@example.org\n");
    buf_free(&out);
    buf_free(&story);
    conf_free(&c);
}

static const char *edited(const struct conf *c, const struct rewrite_ask *asks, size_t n, const char *header,
                          struct buf *out) {
    struct arena a = ARENA(1 << 20);
    struct header_edit h;
    struct buf list = BUF(1 << 20);
    struct edit_piece piece;
    str whole = str_of(header);
    header_edit_begin(&h, whole, &a);
    (void)rewrite_header(c, asks, n, &h, NULL);
    assert_int_equal(header_edit_finish(&h, &list), OK);
    buf_reset(out);
    while (edit_piece(buf_str(&list), whole.n, out->n, &piece))
        buf_add(out, piece.put.n ? piece.put : str_sub(whole, piece.from, piece.n));
    buf_free(&list);
    arena_free(&a);
    return buf_cstr(out);
}

static void headers(void **state) {
    (void)state;
    static const struct {
        const char *rules, *header, *becomes;
    } rows[] = {
        {"rewrite a {\nmatch *@*.example.org\nreplace $1@example.org\n}",
         "From: Ada <ada@pc.example.org>\r\nTo: bob@x.example.org, c@far.example\r\nX: d@pc.example.org\r\n\r\n",
         "From: Ada <ada@example.org>\r\nTo: bob@example.org, c@far.example\r\nX: d@pc.example.org\r\n\r\n"},
        {"rewrite a {\nwhere from\nmatch *@*.example.org\nreplace $1@example.org\n}",
         "From: ada@pc.example.org\r\nCc: bob@x.example.org\r\n\r\n",
         "From: ada@example.org\r\nCc: bob@x.example.org\r\n\r\n"},
        {"rewrite a {\nremove X-A X-B\nset X-C: new\nadd X-D: more\nsubject [list]\n}",
         "X-A: 1\r\nSubject: hi\r\nX-C: old\r\nX-B: 2\r\nX-C: older\r\n\r\n",
         "Subject: [list] hi\r\nX-C: new\r\nX-D: more\r\n\r\n"},
        {"rewrite a {\nfrom far.example\nadd X-D: more\n}", "Subject: x\r\n\r\n", "Subject: x\r\n\r\n"},
        {"rewrite a {\nto two.example\nadd X-D: more\n}", "Subject: x\r\n\r\n", "Subject: x\r\nX-D: more\r\n\r\n"},
    };
    struct buf out = BUF(1 << 16);
    struct rewrite_ask asks[] = {ask_of("ada@pc.example.org", "x@one.example"),
                                 ask_of("ada@pc.example.org", "x@two.example")};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct conf c;
        parse(&c, rows[i].rules);
        assert_string_equal(edited(&c, asks, COUNT(asks), rows[i].header, &out), rows[i].becomes);
        conf_free(&c);
    }
    buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(conditions_and_places),
        cmocka_unit_test(headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
